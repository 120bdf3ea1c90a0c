"""`wait` through the public client, on virtual time: verdicts, ends, deadlines, and what it costs."""

import asyncio
import gc
import math
import pickle
import random
import threading
from itertools import pairwise

import anyio
import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bulkstatus import (
    AsyncWatch,
    Client,
    ConfigError,
    Failure,
    Outcome,
    Policy,
    PollPolicy,
    Ref,
    State,
    Unavailable,
    Verdict,
    VerdictError,
)
from bulkstatus._subscription import Subscription
from bulkstatus._track import Track
from bulkstatus.testing import FakeTransport, Fault, Life
from support import NOT_THERE
from virtual import LoggedWeavr, World, examples, loop_now, rest, run_virtually

CF = ["0" * 31 + digit for digit in "0123456789"]
STEADY = PollPolicy(jitter=0.0)
SECOND = 1.0


def life(end, word="COMPLETED", start=0.0):
    """A Weavr bulk that runs from `start` and ends at `end`."""
    first = () if start <= 0 else ((0, "SUBMITTED"),)
    return Life.of(*first, (start, "RUNNING"), (end, word))


def weavr_bulks(world, ends, *, counted=True, word="COMPLETED"):
    """Bulks at Weavr that end when they are told to; their refs."""
    for number, end in enumerate(ends, 1):
        world.weavr.add(str(number), life(end, word), operations=200 if counted else 0)
    return [f"w:{number}" for number in range(1, len(ends) + 1)]


def waiting(prepare, *sources, timeout=None, policy=None, **options):
    """Run one wait in a world of its own; `prepare` fills it and gives the refs. The outcome, its moment, the world."""

    async def main():
        world = World()
        refs = prepare(world)
        async with world.client(*sources, policy=policy) as client:
            outcome = await client.wait(refs, timeout=timeout, **options)
            return outcome, world.now, world

    return run_virtually(main, longest=100_000)


# --- verdicts ---


def test_bulks_of_three_providers_are_waited_for_at_once():
    """Each gets its verdict, in the order they were asked for, and the wait ends soon after the last."""

    def prepare(world):
        world.weavr.add("1", life(90, "PARTIALLY_COMPLETED", 5), failing=3)
        world.cloudflare.add(CF[1], Life.of((0, "pending"), (2, "running"), (40, "completed")))
        world.druid.add("019a-1", Life.of((0, "received"), (3, "processing"), (120, "failed")), users=0)
        return [f"c:{CF[1]}", "d:019a-1", "w:1"]

    outcome, moment, _ = waiting(prepare)
    assert list(outcome.verdicts.items()) == [
        (f"c:{CF[1]}", Verdict.SUCCEEDED),
        ("d:019a-1", Verdict.FAILED),
        ("w:1", Verdict.PARTIAL),
    ]
    assert 120 <= moment <= 150
    assert [result.status.state.is_terminal for result in outcome] == [True] * 3


@pytest.mark.parametrize(
    ("word", "verdict"),
    [
        ("COMPLETED", Verdict.SUCCEEDED),
        ("PARTIALLY_COMPLETED", Verdict.PARTIAL),
        ("FAILED", Verdict.FAILED),
        ("CANCELLED", Verdict.CANCELLED),
    ],
)
@pytest.mark.parametrize("number", [1, 5])
def test_each_end_of_a_provider_is_its_verdict(word, verdict, number):
    """Whether the bulk is alone, or one of several that are looked for in the list."""

    def prepare(world):
        for id in range(1, number + 1):
            failing = 3 if word == "PARTIALLY_COMPLETED" else 0
            world.weavr.add(str(id), life(30, word), failing=failing)
        return [f"w:{id}" for id in range(1, number + 1)]

    outcome, _, _ = waiting(prepare, timeout=600)
    assert set(outcome.verdicts.values()) == {verdict}
    assert len(outcome) == number


def test_a_word_that_is_pinned_to_expired_gives_that_verdict():
    """`expired` is an end like the others."""

    async def main():
        world = World()
        world.adapters["c"] = msgspec.structs.replace(
            world.adapters["c"], state_map={"lapsed": State.EXPIRED}
        )
        world.cloudflare.add(CF[1], Life.of((0, "running"), (30, "lapsed")))
        async with world.client("c") as client:
            return await client.wait(f"c:{CF[1]}", timeout=600)

    outcome = run_virtually(main)
    assert outcome[f"c:{CF[1]}"].verdict is Verdict.EXPIRED


@pytest.mark.row("F81")
def test_a_word_that_nobody_knows_is_no_end():
    """The bulk is pending when the time is up, with its last status."""

    def prepare(world):
        world.weavr.add("1", life(20, "ARCHIVING"))
        return "w:1"

    outcome, moment, _ = waiting(prepare, timeout=100)
    assert outcome["w:1"].verdict is Verdict.PENDING
    assert outcome["w:1"].status.state is State.UNKNOWN
    assert 100 <= moment <= 101


@pytest.mark.parametrize(
    ("steps", "state"),
    [
        (((0, "RUNNING"), (30, "PAUSED")), State.PAUSED),
        (((0, "SUBMITTED"),), State.QUEUED),
    ],
)
def test_a_wait_that_stops_when_blocked_says_so(steps, state):
    """For a bulk that is paused, and for one that awaits somebody."""

    def prepare(world):
        world.weavr.add("1", Life.of(*steps))
        return "w:1"

    outcome, moment, _ = waiting(prepare, timeout=600, stop_when_blocked=True)
    assert outcome["w:1"].verdict is Verdict.BLOCKED
    assert outcome["w:1"].status.state is state
    assert moment < 60


@pytest.mark.row("F90")
def test_a_wait_that_does_not_stop_when_blocked_goes_on():
    """A bulk that is resumed is waited for to its end."""

    def prepare(world):
        world.weavr.add(
            "1",
            Life.of((0, "SUBMITTED"), (20, "RUNNING"), (40, "PAUSED"), (200, "RUNNING"), (300, "COMPLETED")),
        )
        return "w:1"

    outcome, moment, _ = waiting(prepare, timeout=900)
    assert outcome["w:1"].verdict is Verdict.SUCCEEDED
    assert moment >= 300


# --- until ---


@pytest.mark.parametrize(
    ("until", "words", "ends"),
    [
        ("all", ("COMPLETED", "FAILED", "COMPLETED"), (200, 260)),
        ("any", ("COMPLETED", "FAILED", "COMPLETED"), (50, 70)),
        ("first_failure", ("COMPLETED", "FAILED", "COMPLETED"), (100, 135)),
        ("first_failure", ("COMPLETED", "COMPLETED", "COMPLETED"), (200, 260)),
    ],
)
def test_until_says_what_ends_a_wait(until, words, ends):
    """Bulks that had not ended by then are pending, with their last status."""

    def prepare(world):
        for number, (end, word) in enumerate(zip((50, 100, 200), words, strict=True), 1):
            world.weavr.add(str(number), life(end, word))
        return ["w:1", "w:2", "w:3"]

    outcome, moment, _ = waiting(prepare, timeout=900, until=until)
    assert ends[0] <= moment <= ends[1]
    for result, end in zip(outcome, (50, 100, 200), strict=True):
        assert result.verdict.is_end == (end <= moment)
        assert result.status is not None


def test_until_any_is_not_ended_by_a_bulk_that_is_not_there():
    """Only a bulk that ended does that."""

    def prepare(world):
        world.weavr.add("1", life(100))
        return ["w:1", "w:404"]

    outcome, moment, _ = waiting(prepare, timeout=900, until="any")
    assert outcome.verdicts == {"w:1": Verdict.SUCCEEDED, "w:404": Verdict.NOT_FOUND}
    assert moment >= 100


def test_until_first_failure_is_ended_by_a_bulk_that_is_not_there():
    """It will not end well any more."""

    def prepare(world):
        world.weavr.add("1", life(500))
        return ["w:1", "w:404"]

    outcome, moment, _ = waiting(prepare, timeout=900, until="first_failure")
    assert outcome.verdicts == {"w:1": Verdict.PENDING, "w:404": Verdict.NOT_FOUND}
    assert moment < 60


# --- the deadline ---


class TwoWay(FakeTransport):
    """Answers that take their time on the way there and on the way back."""

    def __init__(self, fakes, there, back):
        super().__init__(fakes)
        self._there, self._back = there, back

    async def handle_async_request(self, request):
        await anyio.sleep(self._there)
        response = await super().handle_async_request(request)
        await anyio.sleep(self._back)
        return response


def waited_to_the_edge(end, *, number, counted, timeout, there=0.0, back=0.0):
    """The verdicts of bulks of which the first ends at `end`, the moment of the wait's end, and the requests."""

    async def main():
        world = World()
        world.transport = TwoWay({"https://weavr.test/multi": world.weavr}, there, back)
        refs = weavr_bulks(world, [end, *(10 * timeout for _ in range(number - 1))], counted=counted)
        async with world.client("w") as client:
            outcome = await client.wait(refs, timeout=timeout)
            return outcome, world.now, world.weavr.arrivals

    return run_virtually(main, longest=10_000, seed=None)


@settings(max_examples=examples(150))
@given(
    share=st.floats(0.0, 1.0),
    number=st.sampled_from([1, 2, 6]),
    counted=st.booleans(),
    timeout=st.sampled_from([3.0, 10.0, 47.0, 300.0]),
)
def test_a_bulk_that_ends_just_before_the_deadline_is_seen(share, number, counted, timeout):
    """All that still goes on is looked at once more, a second before the deadline or a fifth of a short wait."""
    last_look = timeout - min(1.0, 0.2 * timeout)
    end = share * (last_look - 0.01)
    outcome, moment, _ = waited_to_the_edge(end, number=number, counted=counted, timeout=timeout)
    assert outcome["w:1"].verdict is Verdict.SUCCEEDED
    assert moment <= timeout + SECOND
    assert [result.verdict for result in outcome][1:] == [Verdict.PENDING] * (number - 1)


@example(share=1.0, number=6, counted=False, there=0.01, back=0.7)
@settings(max_examples=examples(150))
@given(
    share=st.floats(0.0, 1.0),
    number=st.sampled_from([1, 6]),
    counted=st.booleans(),
    there=st.sampled_from([0.01, 0.2, 0.7]),
    back=st.sampled_from([0.01, 0.2, 0.7]),
)
def test_a_bulk_that_ends_just_before_the_deadline_is_seen_over_a_slow_line(
    share, number, counted, there, back
):
    """The last look is made as long before the deadline as answers take, there and back, and twice."""
    timeout = 60.0
    lead = max(1.0, 3 * (there + back))
    end = share * (timeout - lead)
    outcome, moment, _ = waited_to_the_edge(
        end, number=number, counted=counted, timeout=timeout, there=there, back=back
    )
    assert outcome["w:1"].verdict is Verdict.SUCCEEDED
    assert moment <= timeout + SECOND


def test_a_bulk_that_ends_while_its_last_but_one_look_is_under_way_is_seen():
    """That look's answer is older than the end, and there is time for another before the deadline."""
    there, back = 0.01, 0.7

    async def looks(end, timeout):
        world = World()
        world.transport = TwoWay({"https://cloudflare.test/client/v4": world.cloudflare}, there, back)
        world.cloudflare.add(CF[1], Life.of((0, "running"), (end, "completed")))
        async with world.client("c") as client:
            outcome = await client.wait(f"c:{CF[1]}", timeout=timeout, polling=STEADY)
        return outcome, [told.moment for told in world.cloudflare.told]

    _, moments = run_virtually(lambda: looks(10_000.0, 300.0))
    answered = next(at for at in moments if at > 60)
    # The last look would be made two and a half round trips before the deadline, while this one is on its way back.
    deadline = answered + 2.5 * (there + back) + back / 2
    outcome, _ = run_virtually(lambda: looks(answered + 0.1, deadline))
    assert outcome.succeeded


FAULTS = {
    "dropped": Fault(drop=True, times=None),
    "500": Fault(status=500, times=None),
    "503 for a while": Fault(status=503, headers={"Retry-After": "7"}, times=None),
    "503 for long": Fault(status=503, headers={"Retry-After": "3000"}, times=None),
    "429": Fault(status=429, times=None),
    "429 for a while": Fault(status=429, headers={"Retry-After": "7"}, times=None),
    "429 for long": Fault(status=429, headers={"Retry-After": "3000"}, times=None),
    "401": Fault(status=401, times=None),
    "403": Fault(status=403, times=None),
    "404": Fault(status=404, body=NOT_THERE, times=None),
    "410": Fault(status=410, body=NOT_THERE, times=None),
    "400": Fault(status=400, times=None),
    "302": Fault(status=302, headers={"Location": "https://elsewhere.test/"}, times=None),
    "garbage": Fault(status=200, body=b"<html>maintenance</html>", times=None),
    "empty": Fault(status=200, body=b"", times=None),
    "slow": Fault(delay=15.0, times=None),
    "silent": Fault(delay=100_000.0, times=None),
    "large": Fault(status=200, body=b" " * 3_000_000, times=None),
}


@pytest.mark.parametrize("timeout", [0.5, 7.0, 60.0])
@pytest.mark.parametrize("begins", [0.0, 3.3])
@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.unrecorded
def test_no_fault_holds_up_the_end_of_a_wait(name, begins, timeout):
    """The deadline is passed by no more than a second, and what the provider did not say is no verdict."""

    async def main():
        world = World()
        refs = weavr_bulks(world, [10_000] * 3)
        world.at(begins, lambda: world.weavr.fail(msgspec.structs.replace(FAULTS[name])))
        async with world.client("w") as client:
            outcome = await client.wait(refs, timeout=timeout)
            return outcome, world.now

    outcome, moment = run_virtually(main, longest=1_000)
    assert moment <= timeout + SECOND
    assert not [result for result in outcome if result.verdict.is_end]


# --- what cannot be observed ---


@pytest.mark.parametrize("blind_after", [5.0, 60.0, 600.0])
def test_a_bulk_is_blind_after_so_long_without_an_answer(blind_after):
    """Not before, and not much later than the next attempt."""

    def prepare(world):
        weavr_bulks(world, [100, 100])
        world.weavr.fail(Fault(status=500, times=None))
        return ["w:1", "w:2"]

    outcome, moment, _ = waiting(prepare, blind_after=blind_after)
    assert set(outcome.verdicts.values()) == {Verdict.BLIND}
    assert blind_after <= moment <= blind_after + 60
    for result in outcome:
        assert result.status is None
        assert result.failure.kind == "unavailable"
        assert result.stale_since is not None


def test_a_bulk_that_was_seen_keeps_its_status_when_it_is_blind():
    """`stale_since` says since when nothing was learned."""

    def prepare(world):
        refs = weavr_bulks(world, [10_000])
        world.at(50, lambda: world.weavr.fail(Fault(drop=True, times=None)))
        return refs

    outcome, moment, world = waiting(prepare, blind_after=100)
    result = outcome["w:1"]
    assert result.verdict is Verdict.BLIND
    assert result.status.state is State.RUNNING
    assert result.status.observed_at < result.stale_since
    seen = max(told.moment for told in world.weavr.told)
    assert seen + 100 <= moment <= seen + 100 + 60


@pytest.mark.parametrize("status", [401, 403])
def test_credentials_that_are_refused_before_any_answer_end_a_wait_at_once(status):
    """Nobody waits for ten minutes to learn that."""

    def prepare(world):
        refs = weavr_bulks(world, [100, 200])
        world.weavr.fail(Fault(status=status, times=None))
        return refs

    outcome, moment, _ = waiting(prepare, timeout=600)
    assert {result.verdict for result in outcome} == {Verdict.BLIND}
    assert {result.failure.kind for result in outcome} == {"auth"}
    assert moment <= 5


def test_credentials_that_are_refused_after_answers_do_not_end_a_wait():
    """They may be renewed; the bulk's end is seen then."""

    def prepare(world):
        refs = weavr_bulks(world, [120, 150])
        refused = Fault(status=401, times=None)
        world.at(30, lambda: world.weavr.fail(refused))
        world.at(200, lambda: world.weavr.heal(refused))
        return refs

    outcome, moment, _ = waiting(prepare, timeout=900)
    assert outcome.succeeded
    assert 200 <= moment <= 260


def test_a_provider_that_is_off_for_half_of_a_wait_costs_nothing_but_time():
    """Bulks that ended meanwhile are seen soon after, and it was asked seldom."""

    def prepare(world):
        refs = weavr_bulks(world, [150, 200, 400])
        off = Fault(drop=True, times=None)
        world.at(60, lambda: world.weavr.fail(off))
        world.at(360, lambda: world.weavr.heal(off))
        return refs

    outcome, moment, world = waiting(prepare, timeout=600)
    assert outcome.succeeded
    assert moment <= 460
    asked = [moment for moment in world.weavr.arrivals if 60 < moment < 360]
    assert len(asked) <= 150


def test_one_bulk_that_is_refused_hurts_no_other():
    """A bulk whose own record is refused again and again is blind after a while, alone."""

    def prepare(world):
        world.weavr.fail(Fault(status=400, where="/bulks/2", times=None))
        return weavr_bulks(world, [50, 50])

    outcome, moment, _ = waiting(prepare, timeout=600, blind_after=90)
    assert outcome.verdicts["w:1"] is Verdict.SUCCEEDED
    assert outcome.verdicts["w:2"] is Verdict.BLIND
    assert 90 <= moment <= 180
    assert outcome["w:2"].failure.kind == "rejected"


# --- unknown bulks ---


@pytest.mark.row("F49")
@pytest.mark.parametrize("born", [0.5, 4.0, 10.0, 19.0])
def test_a_young_bulk_may_be_unknown_for_a_while(born):
    """A provider that has not stored it yet says 404."""

    def prepare(world):
        world.at(born, lambda: world.cloudflare.add(CF[1], Life.of((0, "running"), (30, "completed"))))
        return f"c:{CF[1]}"

    outcome, _, _ = waiting(prepare, timeout=600)
    assert outcome.succeeded


@pytest.mark.parametrize("grace", [0, 1.0, 20.0, 120.0])
def test_a_bulk_that_stays_unknown_is_not_found_after_the_grace(grace):
    """Not before, and soon after it."""
    outcome, moment, _ = waiting(lambda _: f"c:{CF[1]}", timeout=600, grace=grace)
    result = outcome[f"c:{CF[1]}"]
    assert result.verdict is Verdict.NOT_FOUND
    assert result.failure.kind == "not_found"
    assert grace <= moment <= grace + 5


def test_a_bulk_that_is_gone_for_good_needs_no_grace():
    """A 410 says that asking again is in vain."""

    def prepare(world):
        world.weavr.fail(Fault(status=410, body=NOT_THERE, times=None))
        return "w:1"

    outcome, moment, _ = waiting(prepare, timeout=600)
    assert outcome["w:1"].verdict in (Verdict.NOT_FOUND, Verdict.GONE)
    assert moment < 1


@pytest.mark.parametrize("number", [1, 4])
def test_a_bulk_that_was_seen_and_is_unknown_twice_is_gone(number):
    """Its last status stays with it."""

    def prepare(world):
        refs = weavr_bulks(world, [10_000] * number)
        world.at(40, lambda: world.weavr.remove("1"))
        return refs

    outcome, _, _ = waiting(prepare, timeout=300)
    result = outcome["w:1"]
    assert result.verdict is Verdict.GONE
    assert result.status.state is State.RUNNING
    assert result.failure.kind == "not_found"
    assert [each.verdict for each in outcome][1:] == [Verdict.PENDING] * (number - 1)


def test_a_bulk_that_was_seen_and_is_unknown_once_is_not_gone():
    """One such answer may be a provider's slip."""

    def prepare(world):
        refs = weavr_bulks(world, [100])
        world.at(40, lambda: world.weavr.fail(Fault(status=404, body=NOT_THERE, times=1)))
        return refs

    outcome, _, _ = waiting(prepare, timeout=600)
    assert outcome.succeeded


def test_a_bulk_that_was_seen_and_is_told_to_be_gone_is_so_at_once():
    """After a 410 nobody asks again."""

    def prepare(world):
        refs = weavr_bulks(world, [10_000])
        world.at(40, lambda: world.weavr.fail(Fault(status=410, body=NOT_THERE, times=None)))
        return refs

    outcome, moment, world = waiting(prepare, timeout=600)
    assert outcome["w:1"].verdict is Verdict.GONE
    assert moment == pytest.approx(world.weavr.arrivals[-1], abs=1)
    assert len([at for at in world.weavr.arrivals if at >= 40]) == 1


# --- limits ---


@pytest.mark.row("F45")
@pytest.mark.parametrize("begins", [0.0, 50.0])
def test_a_pause_longer_than_the_deadline_ends_a_wait(begins):
    """At once, since nothing will be learned before the deadline; the results say why."""

    def prepare(world):
        refs = weavr_bulks(world, [10_000] * 3)
        headers = {"Retry-After": "3600"}
        world.at(begins, lambda: world.weavr.fail(Fault(status=429, headers=headers, times=None)))
        return refs

    outcome, moment, world = waiting(prepare, timeout=600)
    refused = next(at for at in world.weavr.arrivals if at >= begins)
    assert refused <= moment <= refused + SECOND
    for result in outcome:
        assert result.verdict is Verdict.PENDING
        assert result.failure.kind == "rate_limited"
        assert result.failure.retry_after == pytest.approx(3600, abs=2)


@pytest.mark.row("F46")
def test_a_pause_of_one_source_does_not_end_the_wait_for_others():
    """Only its own bulks are given up."""

    def prepare(world):
        world.weavr.fail(Fault(status=429, headers={"Retry-After": "3600"}, times=None))
        world.cloudflare.add(CF[1], Life.of((0, "running"), (100, "completed")))
        return [*weavr_bulks(world, [50]), f"c:{CF[1]}"]

    outcome, moment, _ = waiting(prepare, timeout=600)
    assert outcome.verdicts == {"w:1": Verdict.PENDING, f"c:{CF[1]}": Verdict.SUCCEEDED}
    assert 100 <= moment <= 130


def test_a_pause_that_ends_before_the_deadline_is_kept_and_then_over():
    """Nothing is sent meanwhile, and the bulk's end is seen after it."""

    def prepare(world):
        refs = weavr_bulks(world, [100] * 2)
        world.at(30, lambda: world.weavr.fail(Fault(status=429, headers={"Retry-After": "200"}, times=1)))
        return refs

    outcome, moment, world = waiting(prepare, timeout=600)
    assert outcome.succeeded
    before, after = max(pairwise(world.weavr.arrivals), key=lambda pair: pair[1] - pair[0])
    assert after - before >= 200
    assert moment <= after + 10


class StrictWeavr(LoggedWeavr):
    """A Weavr that keeps its three documented limits over every window, and refuses what goes beyond."""

    WINDOWS = ((100, 60.0), (1_000, 3_600.0), (10_000, 86_400.0))

    def __init__(self, **options):
        super().__init__(limits=True, **options)
        self.throttled = 0

    def _throttled(self):
        now = self.clock()
        start = self.clock() - self.clock.moment()
        times = [start + moment for moment in self.arrivals]
        for most, length in self.WINDOWS:
            recent = [at for at in times if at > now - length]
            if len(recent) > most:
                self.throttled += 1
                return {"x-ratelimit-reset": str(math.ceil(recent[0] + length - now))}
        return None


@pytest.mark.unrecorded
@pytest.mark.parametrize(("longest", "seed"), [(300.0, 1), (7_200.0, 2)])
@pytest.mark.unrecorded
def test_two_hundred_bulks_cost_a_tenth_of_what_pollers_would(longest, seed):
    """None of the requests is throttled by the provider's limits, over a minute, an hour and a day."""
    chances = random.Random(seed)
    ends = [chances.uniform(0.2 * longest, longest) for _ in range(200)]

    async def main():
        world = World()
        world.fakes["w"] = world.weavr = strict = StrictWeavr(clock=world.clock)
        strict.arrivals, strict.told = [], []
        world.adapters["w"] = strict.adapter("https://weavr.test/multi")
        world.transport = FakeTransport({"https://weavr.test/multi": strict})
        refs = weavr_bulks(world, ends)
        async with world.client("w") as client:
            outcome = await client.wait(refs, timeout=2 * longest)
            return outcome, world.now, strict

    outcome, moment, strict = run_virtually(main)
    pollers = sum(math.ceil(end / 5.0) + 1 for end in ends)
    assert outcome.succeeded
    assert strict.throttled == 0
    assert len(strict.requests) <= pollers / 10
    assert moment <= max(ends) + 130


# --- side by side ---


def changes_of(slow):
    """When the changes of two quick sources were noticed, with DRUID slow or not."""

    async def main():
        world = World()
        refs = weavr_bulks(world, [95, 140, 33])
        world.cloudflare.add(CF[1], Life.of((0, "running"), (77, "completed")))
        world.druid.add("019a-1", Life.of((0, "processing"), (60, "completed")))
        if slow:
            world.druid.fail(Fault(delay=19.0, times=None))
        changes = []

        async def keep(change):
            if change.source != "d":
                changes.append((change.ref, change.kind, change.observed_at))

        async with world.client() as client:
            outcome = await client.wait(
                [*refs, f"c:{CF[1]}", "d:019a-1"], timeout=900, polling=STEADY, on_change=keep
            )
        return outcome, changes

    # Chances decide when a list is taken instead of single bulks; here all of them are the same.
    return run_virtually(main)


@pytest.mark.row("F59")
def test_a_slow_source_holds_up_no_other():
    """All changes of the others are noticed at the same moments as without it."""
    quick, slow = changes_of(slow=False), changes_of(slow=True)
    assert quick[0].succeeded
    assert slow[0].succeeded
    assert quick[1] == slow[1]


def requests_for(number):
    """How many requests so many waits for one bulk cost."""

    async def main():
        world = World()
        (ref,) = weavr_bulks(world, [200])
        outcomes = []

        async def wait():
            outcomes.append(await client.wait(ref, polling=STEADY, timeout=900))

        async with world.client("w") as client, anyio.create_task_group() as group:
            for _ in range(number):
                group.start_soon(wait)
        return outcomes, world.requests

    return run_virtually(main)


def test_waits_for_one_bulk_at_the_same_time_share_their_requests():
    """Ten cost what one does, and all get the same end."""
    one, alone = requests_for(1)
    ten, together = requests_for(10)
    assert together == alone
    assert {outcome["w:1"].verdict for outcome in (*one, *ten)} == {Verdict.SUCCEEDED}
    assert len(ten) == 10


def test_references_that_repeat_count_once():
    """Their result is there once, and they are asked for once."""

    def prepare(world):
        weavr_bulks(world, [0])
        return ["w:1", "w:1", "w:1"]

    outcome, _, world = waiting(prepare)
    assert [result.ref for result in outcome] == ["w:1"]
    assert world.requests == 1


# --- leaving ---


class Finishing(FakeTransport):
    """Keeps count of requests that began, came to their end, and were cancelled."""

    def __init__(self, fakes):
        super().__init__(fakes)
        self.began = self.finished = self.cancelled = 0

    async def handle_async_request(self, request):
        self.began += 1
        try:
            response = await super().handle_async_request(request)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        self.finished += 1
        return response


@pytest.mark.parametrize("moment", [0.5, 2.0, 9.0, 40.0])
def test_a_wait_that_is_cancelled_cancels_no_request_and_leaves_nothing_running(moment):
    """What was asked is answered; after that no task is left and nothing more is sent."""

    async def main():
        world = World()
        world.transport = transport = Finishing({"https://weavr.test/multi": world.weavr})
        refs = weavr_bulks(world, [10_000] * 3)
        world.weavr.fail(Fault(delay=1.0, times=None))
        async with world.client("w") as client:
            before = len(asyncio.all_tasks())
            with anyio.move_on_after(moment):
                await client.wait(refs)
            await anyio.sleep(5)
            sent = transport.began
            await anyio.sleep(600)
            return transport, sent, len(asyncio.all_tasks()) - before

    transport, sent, tasks = run_virtually(main)
    assert transport.cancelled == 0
    assert transport.began == transport.finished == sent
    assert tasks == 0


def test_a_wait_that_is_over_leaves_nothing_running():
    """No task and no timer stays behind at an open client."""

    async def main():
        world = World()
        refs = weavr_bulks(world, [50] * 3)
        async with world.client("w") as client:
            before = len(asyncio.all_tasks())
            await client.wait(refs, timeout=600)
            await anyio.sleep(2)
            sent = world.requests
            await anyio.sleep(600)
            return len(asyncio.all_tasks()) - before, world.requests - sent

    assert run_virtually(main) == (0, 0)


def test_waits_that_are_over_leave_nothing_in_memory():
    """However they ended: done, out of time, cancelled; with bulks that ended, go on, or are not there."""

    def kept():
        gc.collect()
        return sum(isinstance(each, Track | Subscription | AsyncWatch) for each in gc.get_objects())

    async def main():
        world = World()
        refs = weavr_bulks(world, [50, 10_000])
        async with world.client("w") as client:
            await client.wait(refs[:1], timeout=600)
            await anyio.sleep(1)
            before = kept()
            for _ in range(20):
                await client.wait(["w:1", "w:404"], timeout=100)
                await client.wait(refs, timeout=20)
                with anyio.move_on_after(7):
                    await client.wait(refs)
            await anyio.sleep(1)
            return kept() - before

    assert run_virtually(main) == 0


@pytest.mark.parametrize("blind_after", [30.0, 100.0, 300.0])
def test_a_bulk_of_a_silent_provider_is_blind_in_time(blind_after):
    """A question to it takes as long as the client's policy lets it; the verdict comes with the next one's end."""
    policy = Policy(attempts=2, request_timeout=10.0)

    def prepare(world):
        world.cloudflare.fail(Fault(delay=100_000.0, times=None))
        return f"c:{CF[1]}"

    outcome, moment, _ = waiting(prepare, blind_after=blind_after, policy=policy)
    assert outcome[f"c:{CF[1]}"].verdict is Verdict.BLIND
    assert blind_after <= moment <= blind_after + 60


@pytest.mark.parametrize("moment", [0.0, 0.5, 30.0])
def test_closing_the_client_ends_its_waits(moment):
    """With Unavailable, reason "closed", and at once."""

    async def main():
        world = World()
        refs = weavr_bulks(world, [10_000] * 3)
        ends = []

        async def wait():
            try:
                await client.wait(refs, timeout=600)
            except Unavailable as error:
                ends.append((error.reason, world.now))

        async with anyio.create_task_group() as group, world.client("w") as client:
            for _ in range(3):
                group.start_soon(wait)
            await anyio.sleep(moment)
            await anyio.lowlevel.checkpoint()
            await anyio.lowlevel.checkpoint()
        return ends

    ends = run_virtually(main)
    assert [reason for reason, _ in ends] == ["closed"] * 3
    assert max(at for _, at in ends) <= moment + SECOND


def test_a_client_that_was_closed_and_opened_again_waits_as_before():
    """Whatever was going on when it was closed."""

    async def main():
        world = World()
        refs = weavr_bulks(world, [100] * 3)
        client = world.client("w")
        for _ in range(3):
            async with client:
                with anyio.move_on_after(10.5):
                    await client.wait(refs)
        async with client:
            return await client.wait(refs, timeout=600)

    assert run_virtually(main).succeeded


# --- on_change ---


def told(on_change, *, end=60.0, timeout=600.0):
    """Wait for two bulks with `on_change`, made by the function given; the outcome, its moment, what was made."""

    async def main():
        world = World()
        refs = weavr_bulks(world, [end / 2, end])
        function, kept = on_change(world)
        async with world.client("w") as client:
            outcome = await client.wait(refs, timeout=timeout, on_change=function)
            return outcome, world.now, kept

    return run_virtually(main, longest=10_000)


def plain(_):
    """A function that keeps what it is told, and on which thread."""
    kept = []
    return lambda change: kept.append((change, threading.get_ident())), kept


def coroutine(_):
    """As `plain`, a coroutine function."""
    kept = []

    async def keep(change):
        await anyio.sleep(0.1)
        kept.append((change, threading.get_ident()))

    return keep, kept


@pytest.mark.parametrize("kind", [plain, coroutine])
def test_on_change_is_told_every_change_in_order(kind):
    """The last ones too, and for each bulk up to its verdict. A plain function runs on a thread of its own."""
    outcome, _, kept = told(kind)
    assert outcome.succeeded
    changes = [change for change, _ in kept]
    threads = {thread for _, thread in kept}
    assert (threading.get_ident() in threads) == (kind is coroutine)
    assert {change.ref: change.verdict for change in changes if change.verdict} == outcome.verdicts
    assert [change.observed_at for change in changes] == sorted(change.observed_at for change in changes)
    for ref in outcome.verdicts:
        mine = [change for change in changes if change.ref == ref]
        assert mine[0].before is None
        # What is no news, such as a list without counts, is told to nobody, and is `before` all the same.
        assert [change.before.state for change in mine[1:]] == [change.status.state for change in mine[:-1]]
        assert mine[-1].verdict is not None


@pytest.mark.row("F69")
@pytest.mark.parametrize("awaited", [True, False])
def test_an_on_change_that_raises_hurts_nothing(awaited, caplog):
    """It is called for the next change all the same, and its text, which may hold a secret, is not logged."""

    def failing(_):
        kept = []

        async def keep(change):
            kept.append(change)
            raise ValueError("hunter2")

        def keep_plainly(change):
            kept.append(change)
            raise ValueError("hunter2")

        return (keep if awaited else keep_plainly), kept

    outcome, _, kept = told(failing)
    assert outcome.succeeded
    assert {change.ref for change in kept if change.verdict} == {"w:1", "w:2"}
    assert "ValueError" in caplog.text
    assert "hunter2" not in caplog.text


@pytest.mark.row("F69")
def test_an_on_change_that_blocks_holds_up_neither_the_wait_nor_its_end():
    """A minute for each change: the wait ends when it would have without it."""

    def blocking(_):
        kept, loop = [], loop_now()

        def keep(change):
            kept.append(change)
            rest(loop, 60.0)

        return keep, kept

    slow, late, kept = told(blocking)
    quick, on_time, _ = told(plain)
    assert slow.verdicts == quick.verdicts
    assert late <= on_time + SECOND
    assert kept


@pytest.mark.row("F69")
def test_an_on_change_that_blocks_cannot_pass_the_deadline():
    """A wait that ends by its timeout ends then."""

    def blocking(_):
        kept, loop = [], loop_now()

        def keep(change):
            kept.append(change)
            rest(loop, 60.0)

        return keep, kept

    outcome, moment, _ = told(blocking, end=10_000.0, timeout=45.0)
    assert set(outcome.verdicts.values()) == {Verdict.PENDING}
    assert 45 <= moment <= 46


@pytest.mark.row("F69")
def test_an_on_change_that_is_awaited_for_long_does_not_hold_up_the_end():
    """A coroutine function that takes a minute for each change."""

    def slow(_):
        kept = []

        async def keep(change):
            kept.append(change)
            await anyio.sleep(60)

        return keep, kept

    late, moment, kept = told(slow)
    quick, on_time, _ = told(coroutine)
    assert late.verdicts == quick.verdicts
    assert moment <= on_time + SECOND
    assert kept


@pytest.mark.row("F69")
@pytest.mark.parametrize("awaited", [True, False])
def test_an_on_change_that_takes_too_long_is_left_behind(awaited, caplog):
    """After half a minute the next change is told, while the first call, where it is on a thread, still goes on."""

    def stuck(_):
        kept, loop = [], loop_now()

        async def keep(change):
            kept.append((change.ref, loop.time()))
            if len(kept) == 1:
                await anyio.sleep(600)

        def keep_plainly(change):
            kept.append((change.ref, loop.time()))
            if len(kept) == 1:
                rest(loop, 600.0)

        return (keep if awaited else keep_plainly), kept

    outcome, _, kept = told(stuck, end=200.0)
    assert outcome.succeeded
    assert len(kept) > 2
    assert kept[1][1] - kept[0][1] == pytest.approx(30, abs=1)
    assert "on_change took longer than 30 s and is not waited for; the wait goes on" in caplog.text


def test_an_on_change_may_use_the_client():
    """It may ask for more about the bulk, and wait for another."""

    async def main():
        world = World()
        refs = weavr_bulks(world, [40, 100])
        found = []

        async def ask(change):
            if change.verdict is not None:
                found.append(await client.get(change.ref))
                found.append(await client.wait("w:2", timeout=600))

        async with world.client("w") as client:
            outcome = await client.wait(refs[:1], on_change=ask, timeout=600)
            await client.wait(refs[1:], on_change=ask, timeout=600)
        return outcome, found

    outcome, found = run_virtually(main)
    assert outcome.succeeded
    assert found[0].state is State.SUCCEEDED
    assert found[-1].succeeded


@pytest.mark.parametrize(
    "refs", ["w:1", Ref("w", "1"), ("w:1",), {"w:1"}, iter(["w:1"]), (ref for ref in ["w:1"])]
)
def test_references_come_in_any_form(refs):
    """One, or any number of them, as text or as Ref."""
    outcome, _, _ = waiting(lambda world: weavr_bulks(world, [5]) and refs, timeout=60)
    assert list(outcome.verdicts) == ["w:1"]
    assert outcome[Ref("w", "1")].verdict is Verdict.SUCCEEDED


# --- outcomes ---


def test_an_outcome_raises_for_bulks_that_did_not_succeed():
    """The error says which, carries the outcome, and comes through pickle whole, as the outcome itself does."""

    def prepare(world):
        world.weavr.add("1", life(10))
        world.weavr.add("2", life(10, "FAILED"))
        return ["w:1", "w:2", "w:404"]

    outcome, _, _ = waiting(prepare, timeout=100)
    with pytest.raises(
        VerdictError, match="2 of 3 bulks did not succeed: w:2 failed, w:404 not_found"
    ) as caught:
        outcome.raise_for_verdict()
    assert caught.value.outcome == outcome
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (str(copy), copy.outcome) == (str(caught.value), outcome)
    assert pickle.loads(pickle.dumps(outcome)) == outcome
    assert msgspec.json.decode(msgspec.json.encode(outcome), type=Outcome) == outcome
    assert isinstance(outcome["w:404"].failure, Failure)


def test_an_outcome_where_all_succeeded_raises_nothing():
    """And says so."""
    outcome, _, _ = waiting(lambda world: weavr_bulks(world, [10, 20]), timeout=100)
    outcome.raise_for_verdict()
    assert outcome.succeeded
    with pytest.raises(KeyError):
        outcome["w:3"]


BAD = [
    ({"refs": []}, "no references"),
    ({"refs": ["w:abc"]}, "w:abc|abc"),
    ({"refs": ["w:1", "nowhere:1"]}, "no source 'nowhere'"),
    ({"refs": ["w"]}, "is not a reference"),
    ({"refs": [7]}, "not a int|int"),
    ({"timeout": 0}, "timeout"),
    ({"timeout": -1}, "timeout"),
    ({"timeout": float("nan")}, "timeout"),
    ({"timeout": float("inf")}, "timeout"),
    ({"timeout": "10"}, "timeout"),
    ({"timeout": True}, "timeout"),
    ({"until": "some"}, "until"),
    ({"until": ["all"]}, "until"),
    ({"blind_after": 0}, "blind_after"),
    ({"blind_after": None}, "blind_after"),
    ({"grace": -1}, "grace"),
    ({"grace": float("nan")}, "grace"),
    ({"polling": "egaer"}, "eager"),
    ({"polling": 5}, "poll policy"),
]


@pytest.mark.parametrize(("wrong", "says"), BAD, ids=[str(wrong) for wrong, _ in BAD])
def test_what_cannot_be_asked_is_refused_before_anything_is_sent(wrong, says):
    """With an error that names it."""

    async def main():
        world = World()
        weavr_bulks(world, [10])
        async with world.client() as client:
            with pytest.raises(ConfigError, match=says):
                await client.wait(**({"refs": ["w:1"]} | wrong))
            await anyio.sleep(30)
            return world.requests

    assert run_virtually(main) == 0


@pytest.mark.parametrize("blocking", [True, False])
def test_a_client_that_is_not_open_says_so(blocking):
    """The blocking one opens itself."""

    async def main():
        world = World()
        weavr_bulks(world, [0])
        with pytest.raises(RuntimeError, match="not open"):
            await world.client("w").wait("w:1")

    if not blocking:
        return run_virtually(main)
    world = World()
    weavr_bulks(world, [0])
    with Client({"w": world.adapters["w"]}, transport=world.transport) as client:
        assert client.wait("w:1").succeeded
    return None


# --- a machine that sleeps ---


class Sleeper:
    """How long the machine has been asleep, as far as the library can tell."""

    def __init__(self, monkeypatch):
        self.seconds = 0.0
        self._monkeypatch = monkeypatch

    def install(self):
        self._monkeypatch.setattr("bulkstatus._follow._slept", lambda: self.seconds)

    def sleep(self, seconds):
        self.seconds += seconds


@pytest.fixture
def sleeper(monkeypatch):
    """A machine that sleeps when told to; to be installed on the virtual loop."""
    return Sleeper(monkeypatch)


@pytest.mark.row("F62")
def test_a_machine_that_slept_looks_at_everything_once_and_at_once(sleeper):
    """Within a second of its waking, whatever was due when."""

    async def main():
        sleeper.install()
        world = World()
        world.cloudflare.add(CF[1], Life.of((0, "running"), (10_000, "completed")))
        world.cloudflare.add(CF[2], Life.of((0, "running"), (10_000, "completed")))
        loop_now().call_at(400.2, sleeper.sleep, 1_000.0)
        async with world.client("c") as client:
            await client.wait([f"c:{CF[1]}", f"c:{CF[2]}"], timeout=3_000, polling=PollPolicy(floor=30.0))
        return world.cloudflare.told

    told = run_virtually(main)
    paths = sorted(each.request.path for each in told if 400.2 <= each.moment <= 401.3)
    assert len(paths) == len(set(paths)) == 2


@pytest.mark.row("F62")
@pytest.mark.parametrize(("slept", "ends"), [(300.0, 300.0), (10_000.0, 101.0)])
def test_the_time_that_a_machine_slept_counts(sleeper, slept, ends):
    """A wait of ten minutes ends ten minutes later by the clock on the wall."""

    async def main():
        sleeper.install()
        world = World()
        refs = weavr_bulks(world, [100_000])
        loop_now().call_at(100.0, sleeper.sleep, slept)
        async with world.client("w") as client:
            outcome = await client.wait(refs, timeout=600)
            return outcome, world.now

    outcome, moment = run_virtually(main)
    assert outcome["w:1"].verdict is Verdict.PENDING
    assert moment == pytest.approx(ends, abs=1.5)


@pytest.mark.row("F62")
def test_a_bulk_that_ended_while_the_machine_slept_past_the_deadline_is_seen(sleeper):
    """The one look at the waking comes before the wait's end."""

    async def main():
        sleeper.install()
        world = World()
        refs = weavr_bulks(world, [100.0])
        loop_now().call_at(100.1, sleeper.sleep, 10_000.0)
        async with world.client("w") as client:
            return await client.wait(refs, timeout=600, polling=PollPolicy(base=60.0, floor=60.0))

    assert run_virtually(main).succeeded


def test_patience_with_one_question_is_the_clients_own():
    """A client that asks each question once still waits through an outage."""

    def prepare(world):
        refs = weavr_bulks(world, [40])
        world.at(10, lambda: world.weavr.fail(Fault(status=503, times=5)))
        return refs

    outcome, _, _ = waiting(prepare, timeout=600, policy=Policy(attempts=1))
    assert outcome.succeeded
