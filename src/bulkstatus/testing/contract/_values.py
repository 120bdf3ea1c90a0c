"""Promises about the times and the counts of a bulk."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from bulkstatus.adapter import BulkStatus, State
from bulkstatus.testing._fake import Life, ManualClock
from bulkstatus.testing.contract import _todo
from bulkstatus.testing.contract._driver import SOURCE, Broken
from bulkstatus.testing.contract._mutation import (
    ABSENT,
    SENTINEL,
    Path,
    parsed,
    places,
    shown,
    value_at,
)
from bulkstatus.testing.contract._promise import CLOCK, Promises, promise
from bulkstatus.testing.contract._scenes import SOME, TIMES, TOTAL, Case, Scene, name_of, said

_UNREADABLE: tuple[object, ...] = (
    "yesterday",
    "2026-13-45T99:99:99Z",
    True,
    [],
    {},
    10**30,
    "9" * 40,
    SENTINEL,
)
_DATE = re.compile(r"20[0-9]{2}-[0-9]{2}-[0-9]{2}[T ]")
_NAIVE, _ELSEWHERE = "2025-10-09T09:00:00", "2025-10-09T11:00:00+02:00"
_UTC = datetime(2025, 10, 9, 9, tzinfo=UTC)
_SECOND, _HOUR = timedelta(seconds=1), 3_600.0
_ORDER = ("created_at", "started_at", "finished_at")
_GOING = (State.QUEUED, State.RUNNING, State.PAUSED)
_ENDED = {State.SUCCEEDED: 0, State.PARTIAL: SOME}
"""How many items failed of a bulk that was put in such a state; what became of those of others is not known."""
_NOT_SAID: tuple[object, ...] = (ABSENT, None)
_IMPOSSIBLE: tuple[object, ...] = (-1, 2**60, 10**30, SENTINEL, 1.5, True, [], {})


class ValuePromises(Promises):
    """What is told of a bulk in numbers."""

    @promise(_todo.TIMES)
    def test_times_are_aware_and_in_utc(self) -> None:
        """Every time has a zone, which is UTC, and one that comes in another zone is turned into it."""
        for scene in self.bench().scenes:
            _check_times(scene.name, scene.status)
        for scene, number, path, names in self._times():
            step = scene.trail.steps[number]
            if not isinstance(value_at(parsed(step.response.body), path), str):
                continue
            for text in (_NAIVE, _ELSEWHERE):
                case = self.bench().case(scene, number, path, text)
                if isinstance(case.outcome, BulkStatus):
                    _check_times(case.where, case.outcome)
                    wrong = {getattr(case.outcome, name) for name in names} - {None, _UTC}
                    if wrong:
                        raise Broken(f"{case.where}; it is not read as the moment that it names")

    @promise(_todo.TIMES)
    def test_an_unreadable_time_costs_only_itself(self) -> None:
        """A time that cannot be read is None, with a line of evidence, and neither an error nor another state."""
        bench = self.bench()
        for scene, number, path, names in self._times():
            plain = bench.case(scene, number, path, ABSENT).outcome
            lines = set(plain.evidence if isinstance(plain, BulkStatus) else scene.status.evidence)
            for value in _UNREADABLE:
                case = bench.case(scene, number, path, value)
                found = case.outcome
                if not isinstance(found, BulkStatus):
                    raise Broken(f"{case.where}; {said(found)}")
                if any(getattr(found, name) is not None for name in names):
                    raise Broken(f"{case.where}; {' and '.join(sorted(names))} is not None")
                if not set(found.evidence) - lines:
                    raise Broken(f"{case.where}; no line of evidence says so")
                if found.state is not scene.status.state:
                    raise Broken(f"{case.where}; the state is {name_of(found.state)}")

    @promise(_todo.TIMES)
    def test_the_unit_of_a_time_is_not_guessed(self) -> None:
        """A number that is a thousand times as large, or as small, is another time or none."""
        bench = self.bench()
        for scene, number, path, names in self._times():
            value = value_at(parsed(scene.trail.steps[number].response.body), path)
            if not isinstance(value, int):
                continue
            for other in (value * 1000, value // 1000):
                case = bench.case(scene, number, path, other)
                for name in sorted(names):
                    now, true = getattr(case.outcome, name, None), getattr(scene.status, name)
                    if now is not None and abs(now - true) <= _SECOND:
                        raise Broken(f"{case.where}; {name} is the same as before")

    @promise(_todo.TIMES, level=CLOCK)
    def test_times_are_in_their_order(self) -> None:
        """A bulk is made, begins and ends in this order, neither before its birth nor in the future."""
        going = [word for state, word in self.fake.states.items() if not state.is_terminal]
        for state, word in self.fake.states.items():
            clock = ManualClock()
            driver = self.bench().fresh(clock=clock)
            id = driver.fake.bulk_id(0)
            stages = [(0.0, going[0]), (_HOUR, word)] if going and state.is_terminal else [(0.0, word)]
            driver.fake.place(id, Life.of(*stages), total=TOTAL)
            born = datetime.fromtimestamp(clock(), UTC)
            clock.advance(2 * _HOUR)
            found = driver.ask(driver.adapter.status(id))
            moments = [
                ("its birth", born),
                *((name, getattr(found, name)) for name in _ORDER),
                ("now", found.observed_at),
            ]
            known = [(name, when) for name, when in moments if when is not None]
            for (name, earlier), (next_name, later) in pairwise(known):
                if later < earlier - _SECOND:
                    raise Broken(f"a bulk that comes to {word!r}: {next_name} is before {name}")

    @promise(_todo.NO_END)
    def test_a_bulk_that_goes_on_has_not_finished(self) -> None:
        """A bulk that is queued, running or paused has no finished_at."""
        for scene in self.bench().scenes:
            if scene.status.state in _GOING and scene.status.finished_at is not None:
                raise Broken(f"{scene.name} is {name_of(scene.status.state)} and has a finished_at")

    @promise(_todo.SOURCE)
    def test_a_status_says_whose_it_is_and_when(self) -> None:
        """A status has the source that was asked, its provider, and the moment at which the answer was there."""
        for scene in self.bench().scenes:
            came = [step.response.received_at for step in scene.trail.steps]
            if scene.status.observed_at not in came:
                raise Broken(f"{scene.name}: observed_at is not when the answer came")
            if (scene.status.source, scene.status.provider) != (SOURCE, self.bench().adapter.provider):
                raise Broken(f"{scene.name}: source or provider is not the one that was asked")

    @promise(_todo.COUNTS, level=CLOCK)
    def test_counts_say_what_became_of_items(self) -> None:
        """Where counts are told, they are those of the bulk: none failed where it goes on, as many as did at its end."""
        for scene in self.bench().scenes:
            counts, ended = scene.status.counts, _ENDED.get(scene.state or State.UNKNOWN)
            if counts is None:
                continue
            wanted = {"failed": 0} if scene.state in _GOING else {}
            if ended is not None:
                wanted = {"total": TOTAL, "succeeded": TOTAL - ended, "failed": ended}
            for name, number in wanted.items():
                told = getattr(counts, name)
                if told not in (None, number):
                    raise Broken(f"{scene.name}: of {TOTAL} items, counts.{name} is {told} and not {number}")

    @promise(_todo.UNREAD)
    def test_a_true_record_leaves_no_doubt(self) -> None:
        """A time in the fake's own answers is read: it does more than to add a line of evidence."""
        bench = self.bench()
        for scene in bench.scenes:
            document = parsed(scene.trail.steps[0].response.body)
            for path in places(document):
                if not _is_like_a_time(value_at(document, path)):
                    continue
                case = bench.case(scene, 0, path, ABSENT)
                found = case.outcome
                if not isinstance(found, BulkStatus) or found.changed(evidence=()) != scene.status.changed(
                    evidence=()
                ):
                    continue
                if set(found.evidence) < set(scene.status.evidence):
                    raise Broken(
                        f"{scene.name}: {shown(path)} tells nothing, and without it there is less evidence"
                    )

    @promise(_todo.COUNTS)
    def test_a_count_that_is_not_said_is_none(self) -> None:
        """A count that is absent or null is None, and never 0."""
        for case, names in self._counted(_NOT_SAID):
            found = case.counts
            wrong = [name for name in names if getattr(found, name, None) == 0]
            if wrong:
                raise Broken(f"{case.where}; the count of {wrong[0]} operations is 0")

    @promise(_todo.COUNTS)
    def test_a_count_that_cannot_be_is_not_believed(self) -> None:
        """A count that is negative, beyond 2**53 or no whole number is None, not shown as it came and not as 0."""
        for case, names in self._counted(_IMPOSSIBLE):
            found = case.counts
            wrong = [name for name in names if getattr(found, name, None) is not None]
            if wrong and not _is_sane(getattr(found, wrong[0])):
                raise Broken(
                    f"{case.where}; the count of {wrong[0]} operations is {getattr(found, wrong[0])}"
                )

    @promise(_todo.COUNTS)
    def test_failures_that_cannot_be_counted_are_no_success(self) -> None:
        """A number of failures that cannot be leaves no bulk `succeeded`, unless the other counts prove that it is."""
        bench = self.bench()
        told = [case for case, names in self._counted(_IMPOSSIBLE) if "failed" in names]
        # A word beside a number says what is counted.
        told += [
            bench.case(scene, number, path, value)
            for scene in bench.scenes
            if scene.status.counts is not None and scene.status.counts.failed
            for number in range(len(scene.trail.steps))
            for path in bench.roles[scene.name, number].counting
            for value in _IMPOSSIBLE
        ]
        for case in told:
            if case.state is State.SUCCEEDED and not _is_proven(case):
                raise Broken(f"{case.where}; the state is `succeeded`")

    def _times(self) -> Iterator[tuple[Scene, int, Path, frozenset[str]]]:
        for scene in self.bench().scenes:
            for number in range(len(scene.trail.steps)):
                for path, names in self.bench().roles[scene.name, number].times.items():
                    yield scene, number, path, names

    def _counted(self, values: tuple[object, ...]) -> Iterator[tuple[Case, frozenset[str]]]:
        for scene in self.bench().scenes:
            for number in range(len(scene.trail.steps)):
                for path, names in self.bench().roles[scene.name, number].numbers.items():
                    for value in values:
                        yield self.bench().case(scene, number, path, value), names


def _is_like_a_time(value: object) -> bool:
    """Whether a value looks like a time of these years, in any unit."""
    if isinstance(value, str):
        return _DATE.match(value) is not None
    return isinstance(value, int) and 10**9 <= value < 10**20


def _is_sane(value: object) -> bool:
    """Whether a count can be one that others were summed up to."""
    return isinstance(value, int) and 0 < value < 2**53


def _is_proven(case: Case) -> bool:
    counts = case.counts
    return counts is not None and counts.total is not None and counts.succeeded == counts.total


def _check_times(name: str, status: BulkStatus) -> None:
    for field in (*TIMES, "observed_at"):
        when: datetime | None = getattr(status, field)
        if when is not None and when.utcoffset() != timedelta(0):
            raise Broken(f"{name}: {field} is {'naive' if when.tzinfo is None else 'not in UTC'}")
