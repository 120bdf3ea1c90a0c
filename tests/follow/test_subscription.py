"""One wait or watch: what ends it, what it is told, and how it ended."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkstatus import (
    BulkStatus,
    Failure,
    NotFound,
    PollPolicy,
    RateLimited,
    Ref,
    State,
    Unavailable,
    Verdict,
)
from bulkstatus import _subscription as module
from bulkstatus._outcome import Change
from bulkstatus._subscription import Subscription
from bulkstatus._track import Terms, Track

BIRTH = datetime(2026, 1, 1, tzinfo=UTC)
PAUSE = Failure.of(RateLimited("slow down", source="s", provider="p", retry_after=600))


def at(seconds):
    """The moment `seconds` after the beginning."""
    return BIRTH + timedelta(seconds=seconds)


def status(id="1", state=State.RUNNING, seen=0.0, **more):
    """An answer."""
    return BulkStatus(source="s", provider="p", id=id, state=state, observed_at=at(seen), **more)


class Wait:
    """A subscription to bulks s:0, s:1 ..., and their tracks."""

    def __init__(self, number=1, until="all", tracks=None, **terms):
        self.rung = 0
        self.subscription = Subscription(
            terms=Terms(**terms), polling=PollPolicy(), until=until, notify=self.ring
        )
        self.tracks = tracks or [Track(str(index), 0.0) for index in range(number)]
        for track in self.tracks:
            self.subscription.follow(Ref("s", track.id), track)

    def ring(self):
        self.rung += 1

    def see(self, index, state, now=0.0, **more):
        track = self.tracks[index]
        sight = track.saw(status(track.id, state, now, **more), now)
        self.subscription.note(Ref("s", track.id), "p", sight, now, at(now))
        self.subscription.settle_up()

    def fail(self, index, error, now=0.0, **more):
        track = self.tracks[index]
        track.failed(error, now, at(now), **more)
        self.subscription.note(Ref("s", track.id), "p", None, now, at(now))
        self.subscription.settle_up()

    def kinds(self):
        return [(change.kind, change.ref, change.verdict) for change in self.subscription.read()]

    def verdicts(self):
        return list(self.subscription.outcome(at(0)).verdicts.values())


# --- what ends it ---


def test_all_waits_for_the_last():
    """However each of them ends."""
    wait = Wait(3)
    for index, state in enumerate((State.FAILED, State.SUCCEEDED)):
        wait.see(index, state)
        assert not wait.subscription.over
    wait.fail(2, NotFound("no", reason="gone"))
    assert wait.subscription.over
    assert wait.verdicts() == [Verdict.FAILED, Verdict.SUCCEEDED, Verdict.NOT_FOUND]


@pytest.mark.parametrize("state", State)
def test_any_ends_with_the_first_that_ends(state):
    """Well or badly."""
    wait = Wait(3, "any")
    wait.see(1, state)
    assert wait.subscription.over is state.is_terminal


@pytest.mark.parametrize("state", State)
def test_first_failure_ends_with_the_first_that_ends_otherwise_than_well(state):
    """One that succeeds is waited past."""
    wait = Wait(3, "first_failure")
    wait.see(1, state)
    assert wait.subscription.over is (state.is_terminal and state is not State.SUCCEEDED)


@pytest.mark.parametrize(
    ("until", "over"), [("all", False), ("any", False), ("first_failure", True), (None, False)]
)
def test_a_bulk_that_is_not_there_is_a_failure_and_no_end(until, over):
    """Who waits for any end waits for the others."""
    wait = Wait(2, until)
    wait.fail(0, NotFound("no", reason="gone"))
    assert wait.subscription.over is over


@pytest.mark.parametrize("until", ["any", "first_failure"])
def test_when_nothing_is_left_to_wait_for_it_is_over(until):
    """Also where what it was to wait for never came."""
    wait = Wait(2, until, stop_when_blocked=True)
    for index in range(2):
        assert not wait.subscription.over
        wait.see(index, State.PAUSED)
    assert wait.subscription.over
    assert wait.verdicts() == [Verdict.BLOCKED] * 2


def test_a_watch_without_an_end_goes_on():
    """And tells of bulks that move again after their end, with one verdict all the same."""
    wait = Wait(1, None)
    wait.see(0, State.FAILED, 0)
    assert wait.subscription.goes_on
    wait.see(0, State.RUNNING, 1)
    wait.see(0, State.SUCCEEDED, 2)
    assert wait.kinds() == [
        ("state", "s:0", Verdict.FAILED),
        ("state", "s:0", None),
        ("state", "s:0", None),
    ]
    assert wait.verdicts() == [Verdict.FAILED]


@given(
    until=st.sampled_from(["all", "any", "first_failure", None]),
    seen=st.lists(st.tuples(st.integers(0, 3), st.sampled_from(State)), max_size=20),
)
def test_each_bulk_has_one_verdict_and_nothing_is_told_after_the_end(until, seen):
    """Whatever comes in, in any order; the last change is the one that ends it."""
    wait = Wait(4, until)
    for now, (index, state) in enumerate(seen):
        over = wait.subscription.over
        wait.see(index, state, now)
        assert not over or wait.subscription.over
    changes = wait.subscription.read()
    told = [change.ref for change in changes if change.verdict is not None]
    assert len(told) == len(set(told)) == len(wait.subscription.results)
    if wait.subscription.over:
        assert changes[-1].verdict is not None
    outcome = wait.subscription.outcome(at(99))
    assert [result.ref for result in outcome] == ["s:0", "s:1", "s:2", "s:3"]


# --- what can be said before that ---


def test_what_is_not_settled_is_told_by_what_is_known():
    """Going on, not found within its grace, throttled, not observed, or not asked for yet."""
    wait = Wait(5)
    wait.see(0, State.RUNNING)
    wait.fail(1, NotFound("no"))
    wait.fail(2, RateLimited("slow down"))
    wait.fail(3, Unavailable("down"))
    assert wait.verdicts() == [
        Verdict.PENDING,
        Verdict.PENDING,
        Verdict.PENDING,
        Verdict.BLIND,
        Verdict.PENDING,
    ]
    wait.subscription.end(at_deadline=True)
    assert wait.verdicts() == [
        Verdict.PENDING,
        Verdict.BLIND,
        Verdict.PENDING,
        Verdict.BLIND,
        Verdict.BLIND,
    ]


def test_a_bulk_that_was_seen_and_cannot_be_any_more_is_pending_and_stale():
    """Since when, and why, is in its result."""
    wait = Wait(1)
    wait.see(0, State.RUNNING)
    wait.fail(0, Unavailable("down"), 5)
    (result,) = wait.subscription.outcome(at(9))
    assert (result.verdict, result.stale_since, result.failure.kind) == (
        Verdict.PENDING,
        at(5),
        "unavailable",
    )
    assert result.status.state is State.RUNNING


def test_a_deadline_settles_nothing_that_went_on():
    """`end` keeps what is known."""
    wait = Wait(2)
    wait.see(0, State.SUCCEEDED)
    wait.see(1, State.RUNNING)
    wait.subscription.end()
    assert (wait.subscription.over, wait.subscription.goes_on) == (True, False)
    assert wait.subscription.is_settled(Ref("s", "1"))
    assert wait.verdicts() == [Verdict.SUCCEEDED, Verdict.PENDING]


def test_who_gives_up_is_told_why_for_each_bulk_that_goes_on():
    """Those that ended keep their verdict; a reason of their own is kept, and what was never seen is blind for it."""
    wait = Wait(3)
    wait.see(0, State.SUCCEEDED)
    wait.fail(1, Unavailable("down"))
    wait.subscription.read()
    wait.subscription.give_up(list(wait.subscription.tracks), PAUSE, at(3))
    assert wait.subscription.over
    assert wait.kinds() == [("verdict", "s:1", Verdict.BLIND), ("verdict", "s:2", Verdict.PENDING)]
    outcome = wait.subscription.outcome(at(3))
    assert [result.failure and result.failure.kind for result in outcome] == [
        None,
        "unavailable",
        "rate_limited",
    ]


def test_giving_up_one_source_ends_no_wait_for_others():
    """The others may still answer in time."""
    wait = Wait(2)
    wait.subscription.give_up([Ref("s", "0")], PAUSE, at(3))
    assert not wait.subscription.over
    wait.see(1, State.SUCCEEDED)
    assert wait.subscription.over


# --- what is told ---


def test_changes_say_what_was_and_what_is():
    """The first sight has nothing before it; counts and times alone are progress; no change is not told."""
    wait = Wait(1)
    for now, (state, more) in enumerate(
        [
            (State.QUEUED, {}),
            (State.QUEUED, {}),
            (State.QUEUED, {"updated_at": at(1)}),
            (State.SUCCEEDED, {"updated_at": at(1)}),
        ]
    ):
        wait.see(0, state, now, **more)
    first, second, third = wait.subscription.read()
    assert (first.kind, first.before, first.status.state) == ("state", None, State.QUEUED)
    assert (second.kind, second.before.observed_at, second.verdict) == ("progress", at(1), None)
    assert (third.kind, third.before, third.verdict) == ("state", second.status, Verdict.SUCCEEDED)
    assert (third.source, third.provider, third.ref, third.observed_at) == ("s", "p", "s:0", at(3))
    assert wait.subscription.read() == []


def test_each_change_rings():
    """And the end does."""
    wait = Wait(1)
    wait.see(0, State.RUNNING, 0)
    wait.see(0, State.RUNNING, 1)
    assert wait.rung == 1
    wait.see(0, State.SUCCEEDED, 2)
    assert wait.rung >= 2


def test_a_second_subscriber_sees_the_first_status():
    """What others have seen before is new to it, from the next look on, also where nothing changed."""
    first = Wait(1)
    first.see(0, State.RUNNING, 0)
    second = Wait(tracks=first.tracks)
    sight = first.tracks[0].saw(status("0", State.RUNNING, 5), 5.0)
    assert sight is None
    second.subscription.note(Ref("s", "0"), "p", sight, 5.0, at(5))
    (change,) = second.subscription.read()
    assert (change.kind, change.before, change.status.observed_at) == ("state", None, at(5))


def test_a_bulk_that_was_left_out_and_is_found_again_is_new():
    """Nothing that was said of it before stands: neither its verdict, nor that it was told."""
    wait = Wait(1, None)
    wait.see(0, State.SUCCEEDED, 0)
    wait.subscription.read()
    wait.subscription.forget(Ref("s", "0"))
    assert wait.verdicts() == []
    wait.tracks[0].saw(status("0", State.RUNNING, 5), 5.0)
    wait.subscription.follow(Ref("s", "0"), wait.tracks[0])
    wait.see(0, State.RUNNING, 6)
    (change,) = wait.subscription.read()
    assert (change.kind, change.before, change.verdict) == ("state", None, None)
    assert wait.verdicts() == [Verdict.PENDING]


def test_a_verdict_without_anything_new_is_a_change_of_its_own():
    """The bulk was paused all along, and this wait stops there."""
    wait = Wait(1, blind_after=10)
    wait.see(0, State.RUNNING)
    wait.fail(0, Unavailable("down"), 5)
    wait.fail(0, Unavailable("down"), 10)
    _, change = wait.subscription.read()
    assert (change.kind, change.verdict, change.stale_since) == ("verdict", Verdict.BLIND, at(5))
    assert change.before is change.status is wait.tracks[0].status
    assert change.failure.kind == "unavailable"


# --- what nobody reads ---


def unread(number, monkeypatch, most=4):
    """A watch of many bulks that nobody reads, with room for a few changes."""
    monkeypatch.setattr(module, "_MOST_UNREAD", most)
    return Wait(number, None)


def test_of_a_bulk_whose_changes_nobody_reads_the_oldest_are_joined(monkeypatch):
    """From the first state to the last nothing is missing, and the verdict and the warnings are kept."""
    wait = unread(1, monkeypatch)
    for now, state in enumerate(
        [
            State.QUEUED,
            State.RUNNING,
            State.QUEUED,
            State.RUNNING,
            State.SUCCEEDED,
            State.RUNNING,
            State.PAUSED,
        ]
    ):
        wait.see(0, state, now)
    changes = wait.subscription.read()
    assert len(changes) <= 5
    assert changes[0].before is None
    for earlier, later in pairwise(changes):
        assert later.before is earlier.status
    assert changes[-1].status.state is State.PAUSED
    assert [change.verdict for change in changes if change.verdict] == [Verdict.SUCCEEDED]
    assert sum("regressed" in warning for change in changes for warning in change.warnings) == 2


def test_a_verdict_is_kept_whatever_comes_after_it(monkeypatch):
    """A watch that goes on may be told of more than it reads after the end."""
    wait = unread(1, monkeypatch)
    for now, state in enumerate([State.SUCCEEDED, *[State.RUNNING, State.PAUSED] * 5]):
        wait.see(0, state, now)
    assert [change.verdict for change in wait.subscription.read() if change.verdict] == [Verdict.SUCCEEDED]


def test_no_bulk_is_passed_over_however_many_there_are(monkeypatch):
    """The last change of each stays until it is read: it may be the one with its verdict."""
    wait = unread(9, monkeypatch)
    for index in range(9):
        wait.see(index, State.SUCCEEDED)
    assert {change.ref for change in wait.subscription.read() if change.verdict} == {
        f"s:{index}" for index in range(9)
    }


def test_what_is_said_of_a_source_is_not_mixed_with_what_is_said_of_its_bulks(monkeypatch):
    """Changes without a reference are joined with their like, of the same source."""
    wait = unread(1, monkeypatch, most=2)
    for number, (kind, source) in enumerate(
        [("unobservable", "s"), ("unobservable", "t"), ("observable", "s")]
    ):
        wait.subscription.tell(Change(kind=kind, source=source, provider="p", observed_at=at(number)))
    assert [(change.kind, change.source) for change in wait.subscription.read()] == [
        ("unobservable", "t"),
        ("observable", "s"),
    ]


def test_an_answer_that_tells_of_several_is_told_whole():
    """A page of a list in which two bulks ended gives both a verdict, also where one would have done."""
    wait = Wait(3, "any")
    for index in (0, 1):
        track = wait.tracks[index]
        sight = track.saw(status(track.id, State.SUCCEEDED), 1.0)
        wait.subscription.note(Ref("s", track.id), "p", sight, 1.0, at(1))
        assert not wait.subscription.over
    wait.subscription.settle_up()
    assert wait.subscription.over
    assert wait.verdicts() == [Verdict.SUCCEEDED, Verdict.SUCCEEDED, Verdict.PENDING]
