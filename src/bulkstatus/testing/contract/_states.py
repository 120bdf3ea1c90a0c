"""Promises about one bulk: its word, and what odd and missing members make of it."""

from collections.abc import Iterable, Iterator
from itertools import product

import msgspec

from bulkstatus.adapter import BulkStatus, State
from bulkstatus.errors import NotFound
from bulkstatus.testing.contract import _todo
from bulkstatus.testing.contract._driver import Broken, Driver, Step, outcome
from bulkstatus.testing.contract._mutation import (
    ABSENT,
    SENTINEL,
    Path,
    changed,
    is_leaf,
    kind_of,
    parsed,
    places,
    value_at,
    written,
)
from bulkstatus.testing.contract._promise import CLOCK, Promises, promise
from bulkstatus.testing.contract._scenes import Case, Roles, Scene, name_of, said

_MIXED = "Zz Never-HEARD_of"
_NO_WORD: tuple[object, ...] = (ABSENT, None, "", 7, True, [], {})


class StatePromises(Promises):
    """What is said of one bulk, and what is not said of it."""

    @promise(_todo.STATES, level=CLOCK)
    def test_every_word_of_the_provider_is_read(self) -> None:
        """Each state that the fake puts a bulk in is the state that the adapter reads, by one look or several."""
        for scene in self.bench().scenes:
            if scene.state is not None and scene.status.state is not scene.state:
                raise Broken(
                    f"{scene.name} was put in {name_of(scene.state)} and is read as {name_of(scene.status.state)}"
                )

    @promise(_todo.WORDS)
    def test_the_provider_s_word_is_kept(self) -> None:
        """A status tells the provider's word beside ours, and says in its evidence how the state was found."""
        for scene in self.bench().scenes:
            if not scene.status.native_state:
                raise Broken(f"{scene.name}: native_state is {kind_of(scene.status.native_state)}")
            if not scene.status.evidence:
                raise Broken(f"{scene.name}: there is no line of evidence")
        for scene, path, step in self._words():
            case = self.bench().case(scene, step, path, _MIXED)
            if isinstance(case.outcome, BulkStatus) and _MIXED not in (case.outcome.native_state or ""):
                raise Broken(f"{case.where}; native_state is written otherwise")

    @promise(_todo.WORDS)
    def test_an_unknown_word_is_unknown(self) -> None:
        """A word that nobody has documented is `unknown`, which is no end, and stands in native_state."""
        for scene, path, step in self._words():
            case = self.bench().case(scene, step, path, SENTINEL)
            if case.state is not State.UNKNOWN:
                raise Broken(f"{scene.name}, its word replaced by an unknown one: {case.said}")

    @promise(_todo.WORDS)
    def test_no_word_is_unknown(self) -> None:
        """A status without a word, or with one that is no text, is `unknown` or an error, and no end."""
        for scene, path, step in self._words():
            for value in _NO_WORD:
                case = self.bench().case(scene, step, path, value)
                if isinstance(case.outcome, BulkStatus) and case.outcome.state is not State.UNKNOWN:
                    raise Broken(f"{case.where}; the state is {name_of(case.outcome.state)}")

    @promise(_todo.WORDS)
    def test_a_word_can_be_pinned(self) -> None:
        """A word in the user's `state_map`, be it a documented one, has the state that the user says."""
        bench = self.bench()
        for scene, path, number in self._words():
            if number:
                continue  # what follows the first answer was decided without the word
            step = scene.trail.steps[number]
            document = parsed(step.response.body)
            for word in (SENTINEL, str(value_at(document, path))):
                adapter = msgspec.structs.replace(bench.adapter, state_map={word: State.PAUSED})
                pinned = Driver(bench.fake, adapter)
                body = written(changed(document, path, word))
                found = outcome(pinned.reread, step._replace(call=adapter.status(scene.id)), body)
                if not isinstance(found, BulkStatus) or found.state is not State.PAUSED:
                    raise Broken(f"{scene.name}, its word pinned to `paused`: {said(found)}")

    @promise(_todo.MEMBERS)
    def test_whatever_comes_is_read_or_an_error_of_ours(self) -> None:
        """No member, absent, null, of another type or out of all bounds, raises anything but bulkstatus.errors."""
        for case in self.bench().sweep:
            if isinstance(case.outcome, Broken):
                raise Broken(f"{case.where}; {case.outcome.seen}", case.outcome.todo)

    @promise(_todo.SUCCESS)
    def test_nothing_odd_makes_a_success(self) -> None:
        """A bulk that has not succeeded does not succeed because a member is odd or missing."""
        for case in self.bench().sweep:
            was = case.scene.status.state
            if (
                was is not State.SUCCEEDED
                and case.state is State.SUCCEEDED
                and not self._roles(case).touch(case.path)
                and not _is_emptied(case)
            ):
                raise Broken(f"{case.where}; the state was {name_of(was)} and is now `succeeded`")

    @promise(_todo.NO_END)
    def test_nothing_odd_makes_an_end(self) -> None:
        """A bulk that goes on, or that nobody understands, does not end because a member is odd or missing."""
        for case in self.bench().sweep:
            was, now = case.scene.status.state, case.state
            if not was.is_terminal and now is not None and now.is_terminal:
                raise Broken(f"{case.where}; the state was {name_of(was)} and is now {name_of(now)}")

    @promise(_todo.KNOWN_FORM)
    def test_nothing_odd_makes_a_bulk_missing(self) -> None:
        """A bulk that is told of is not NotFound because a member is odd or missing: somebody may submit it again."""
        for case in self.bench().sweep:
            was = value_at(parsed(case.scene.trail.steps[case.step].response.body), case.path)
            # Some providers say "no such bulk" by a success with nothing in it.
            is_void = not is_leaf(was) and case.value in (ABSENT, None, [], {})
            if isinstance(case.outcome, NotFound) and not is_void:
                raise Broken(f"{case.where}; it is NotFound")

    @promise(_todo.NO_END)
    def test_only_the_word_makes_an_end(self) -> None:
        """A bulk that goes on does not end because its record has the times, counts and errors of one that ended."""
        for scene, body, step in self._mixed(ended=True):
            found = outcome(self.bench().driver.reread, step, body)
            if isinstance(found, BulkStatus) and found.state.is_terminal:
                raise Broken(
                    f"the record of {scene.name}, with the word of one that goes on, is {name_of(found.state)}"
                )

    @promise(_todo.SUCCESS)
    def test_a_success_that_the_counts_deny_is_none(self) -> None:
        """A bulk is not `succeeded` where its own counts say that operations have not."""
        for scene, body, step in self._mixed(ended=False):
            found = outcome(self.bench().driver.reread, step, body)
            if (
                not isinstance(found, BulkStatus)
                or found.state is not State.SUCCEEDED
                or found.counts is None
            ):
                continue
            good, total = found.counts.succeeded, found.counts.total
            if good is not None and total is not None and good < total:
                what = f"the record of {scene.name}, with the word of one that ended,"
                raise Broken(f"{what} is `succeeded` with {good} of {total} operations")

    @promise(_todo.FAILURE)
    def test_a_failure_that_the_counts_deny_is_none(self) -> None:
        """A bulk is not `failed` where its own counts say that operations succeeded: they would be carried out twice."""
        bench = self.bench()
        failed = [scene for scene in bench.scenes if scene.status.state is State.FAILED]
        rest = [scene for scene in bench.scenes if scene.status.counts and scene.status.counts.succeeded]
        for scene, body, step in self._with_words(rest, failed):
            found = outcome(bench.driver.reread, step, body)
            if (
                isinstance(found, BulkStatus)
                and found.state is State.FAILED
                and found.counts
                and found.counts.succeeded
            ):
                good = found.counts.succeeded
                raise Broken(
                    f"the record of {scene.name}, with the word of one that failed, is `failed` with {good} successes"
                )

    @promise(_todo.MEMBERS)
    def test_new_members_change_nothing(self) -> None:
        """Members that the provider adds one day are left alone, wherever they stand."""
        bench = self.bench()
        for scene in bench.scenes:
            for number, step in enumerate(scene.trail.steps):
                document = parsed(step.response.body)
                objects = [
                    path for path in ((), *places(document)) if isinstance(value_at(document, path), dict)
                ]
                for path in objects:
                    case = bench.case(scene, number, (*path, SENTINEL), "new")
                    if case.state is not scene.status.state:
                        raise Broken(f"{case.where}; {case.said}")

    def _mixed(self, *, ended: bool) -> Iterator[tuple[Scene, bytes, Step]]:
        """Records of bulks that ended with the words of those that go on, or the other way round."""
        scenes = self.bench().scenes
        ends = [scene for scene in scenes if scene.status.state.is_terminal]
        rest = [scene for scene in scenes if not scene.status.state.is_terminal]
        return self._with_words(ends, rest) if ended else self._with_words(rest, ends)

    def _with_words(
        self, scenes: Iterable[Scene], others: Iterable[Scene]
    ) -> Iterator[tuple[Scene, bytes, Step]]:
        """The records of `scenes`, each with the word of each of `others`."""
        bench = self.bench()
        for scene, other in product(scenes, others):
            document = parsed(scene.trail.steps[0].response.body)
            words = bench.roles[scene.name, 0].word
            for path in words:
                document = changed(document, path, other.status.native_state)
            if words:
                yield scene, written(document), scene.trail.steps[0]

    def _words(self) -> Iterator[tuple[Scene, Path, int]]:
        """Where the word stands in each scene. Breaks the promise where it stands nowhere."""
        roles = self.bench().roles
        found = [
            (scene, path, number)
            for scene in self.bench().scenes
            for number in range(len(scene.trail.steps))
            for path in roles[scene.name, number].word
        ]
        if not found:
            raise Broken(
                "no text in the answers, replaced by an unknown word, comes back in native_state", _todo.WORDS
            )
        return iter(found)

    def _roles(self, case: Case) -> Roles:
        return self.bench().roles[case.scene.name, case.step]


def _is_emptied(case: Case) -> bool:
    """Whether a container lost what was in it: a provider that lists its failures has then listed none."""
    was = value_at(parsed(case.scene.trail.steps[case.step].response.body), case.path)
    return not is_leaf(was) and case.value in ([], {})
