"""`watch` through the public client, on virtual time: what it tells, in which order, and how it is left."""

import asyncio
import gc
from contextlib import suppress
from datetime import timedelta
from itertools import pairwise

import anyio
import msgspec
import pytest

from bulkstatus import Change, ConfigError, PollPolicy, State, Unavailable, Verdict
from bulkstatus.testing import Fault, Life
from virtual import BIRTH, World, run_virtually

CF = ["0" * 31 + digit for digit in "0123456789"]
LIFE = Life.of((0, "SUBMITTED"), (20, "RUNNING"), (80, "COMPLETED"))


def watching(prepare, *sources, leave_at=None, **options):
    """Read a watch to its end, or up to a moment; the changes, the watch's outcome, its end, the world."""

    async def main():
        world = World()
        refs = prepare(world)
        changes = []
        async with world.client(*sources) as client, client.watch(refs, **options) as watch:
            with anyio.move_on_after(float("inf") if leave_at is None else leave_at):
                await keep(watch, changes)
            return changes, watch.outcome(), world.now, world

    return run_virtually(main, longest=1_000_000)


async def keep(watch, changes):
    """Read a watch to its end; what was read before it is cancelled stays."""
    async for change in watch:
        changes.append(change)


def words(changes, ref):
    """The provider's words that changes of state told of a bulk."""
    return [change.status.native_state for change in changes if change.ref == ref and change.kind == "state"]


# --- what is told ---


def test_a_watch_tells_each_change_of_a_bulk_in_order():
    """The first sight, the steps, the counts, and the verdict with the last; then it is over."""

    def prepare(world):
        world.weavr.add("1", LIFE, operations=100)
        return "w:1"

    changes, outcome, moment, _ = watching(prepare, timeout=600)
    assert words(changes, "w:1") == ["SUBMITTED", "RUNNING", "COMPLETED"]
    assert changes[0].before is None
    assert [change.verdict for change in changes[:-1]] == [None] * (len(changes) - 1)
    assert changes[-1].verdict is Verdict.SUCCEEDED
    assert outcome.succeeded
    assert 80 <= moment <= 110
    progress = [change for change in changes if change.kind == "progress"]
    done = [change.status.counts.finished for change in progress]
    assert done == sorted(done)
    assert len(done) >= 3
    for change in progress:
        assert change.before.state is change.status.state is State.RUNNING
        assert change.warnings == ()


def test_from_and_to_of_a_change_are_what_was_seen():
    """A state that came and went between two looks is passed over, not made up."""

    def prepare(world):
        world.cloudflare.add(CF[1], Life.of((0, "pending"), (5.001, "running"), (5.002, "completed")))
        return f"c:{CF[1]}"

    changes, _, _, _ = watching(prepare, timeout=600, polling=PollPolicy(jitter=0.0))
    last = changes[-1]
    assert (last.before.state, last.status.state) == (State.QUEUED, State.SUCCEEDED)


def test_changes_come_through_json_whole():
    """They are plain structs."""

    def prepare(world):
        world.weavr.add("1", LIFE, operations=100)
        world.at(30, lambda: world.weavr.fail(Fault(status=500, times=12)))
        return "w:1"

    changes, _, _, _ = watching(prepare, timeout=600)
    assert {change.kind for change in changes} >= {"state", "progress", "unobservable", "observable"}
    assert msgspec.json.decode(msgspec.json.encode(changes), type=list[Change]) == changes


def test_a_bulk_that_takes_back_its_end_is_told_by_an_endless_watch():
    """It is looked at seldom after its end; the change is told with a warning, and no second verdict."""

    def prepare(world):
        world.cloudflare.add(CF[1], Life.of((0, "running"), (20, "completed")))
        world.at(60, lambda: world.cloudflare.add(CF[1], Life.of((0, "running"), (100, "failed"))))
        return f"c:{CF[1]}"

    changes, outcome, _, world = watching(prepare, "c", until=None, leave_at=3_000)
    assert [change.verdict for change in changes if change.verdict] == [Verdict.SUCCEEDED]
    assert outcome[f"c:{CF[1]}"].verdict is Verdict.SUCCEEDED
    (back,) = [change for change in changes if change.warnings]
    assert (back.before.state, back.status.state) == (State.SUCCEEDED, State.FAILED)
    assert any("regressed: succeeded before, failed now" in warning for warning in back.warnings)
    assert len([told for told in world.cloudflare.told if told.moment > 60]) <= 10


def test_a_step_backwards_in_a_list_is_told_with_a_warning():
    """A list that is read for others shows bulks that had ended; they are followed again."""

    def prepare(world):
        for number in range(1, 5):
            world.druid.add(f"b{number}", Life.of((0, "processing"), (2_000, "completed")))
        world.druid.add("b0", Life.of((0, "processing"), (20, "completed")))
        world.at(60, lambda: world.druid.add("b0", Life.of((0, "processing"), (300, "failed"))))
        return [f"d:b{number}" for number in range(5)]

    changes, outcome, _, _ = watching(prepare, "d", until=None, leave_at=900)
    mine = [change for change in changes if change.ref == "d:b0"]
    assert [change.status.state for change in mine if change.kind == "state"] == [
        State.RUNNING,
        State.SUCCEEDED,
        State.RUNNING,
        State.FAILED,
    ]
    warned = [change for change in mine if change.warnings]
    assert any("regressed: succeeded before, running now" in warning for warning in warned[0].warnings)
    assert [change.verdict for change in mine if change.verdict] == [Verdict.SUCCEEDED]
    assert outcome["d:b0"].verdict is Verdict.SUCCEEDED


def test_a_step_back_before_the_end_and_counts_that_fall_are_told_with_warnings():
    """From running to queued, and from many to few; each once."""

    def prepare(world):
        world.weavr.add("1", Life.of((0, "RUNNING"), (100, "COMPLETED")), operations=100)
        world.at(50, lambda: world.weavr.add("1", LIFE, operations=80))
        return "w:1"

    changes, _, _, _ = watching(prepare, timeout=600)
    back = next(change for change in changes if change.warnings)
    assert (back.before.state, back.status.state) == (State.RUNNING, State.QUEUED)
    assert "regressed: running before, queued now" in back.warnings
    assert any("total 100 before, 80 now" in warning for warning in back.warnings)
    warnings = [warning for change in changes for warning in change.warnings]
    assert len(warnings) == len(set(warnings))


@pytest.mark.parametrize("number", [1, 5])
def test_an_outage_is_told_once_and_its_end_once(number):
    """However many bulks and questions it meets; nothing about a bulk's state is told meanwhile."""

    def prepare(world):
        for id in range(1, number + 1):
            world.weavr.add(str(id), Life.of((0, "RUNNING"), (700, "COMPLETED")))
        off = Fault(drop=True, times=None)
        for begin, end in ((60, 300), (400, 520)):
            world.at(begin, lambda: world.weavr.fail(off))
            world.at(end, lambda: world.weavr.heal(off))
        return [f"w:{id}" for id in range(1, number + 1)]

    changes, outcome, _, _ = watching(prepare, "w", timeout=1_200)
    outages = [change for change in changes if change.kind in ("unobservable", "observable")]
    assert [change.kind for change in outages] == ["unobservable", "observable"] * 2
    lost, found = outages[:2]
    assert (lost.source, lost.ref, lost.failure.kind) == ("w", None, "unavailable")
    assert lost.stale_since is not None
    assert 60 <= (lost.observed_at - BIRTH).total_seconds() <= 120
    assert 300 <= (found.observed_at - BIRTH).total_seconds() <= 340
    assert found.failure is None
    assert outcome.succeeded


def test_one_bulk_that_cannot_be_looked_at_is_told_alone():
    """Its source can be asked, so the change names the bulk."""

    def prepare(world):
        for id in (CF[1], CF[2]):
            world.cloudflare.add(id, Life.of((0, "running"), (300, "completed")))
        fault = Fault(status=200, body=b"<html>", where=CF[2], times=None)
        world.at(40, lambda: world.cloudflare.fail(fault))
        world.at(150, lambda: world.cloudflare.heal(fault))
        return [f"c:{CF[1]}", f"c:{CF[2]}"]

    changes, outcome, _, _ = watching(prepare, "c", timeout=600)
    told = [(change.kind, change.ref) for change in changes if change.kind in ("unobservable", "observable")]
    assert told == [("unobservable", f"c:{CF[2]}"), ("observable", f"c:{CF[2]}")]
    assert outcome.succeeded


# --- without references ---


def test_a_watch_of_everything_finds_bulks_that_come_later():
    """Of every source that has a list; what ended before it began is not told."""

    async def main():
        world = World()
        world.weavr.add("1", Life.of((0, "RUNNING"), (300, "COMPLETED")))
        world.weavr.add("9", Life.of((0, "COMPLETED")))
        world.druid.add("b1", Life.of((0, "processing"), (100, "failed")))
        world.at(200, lambda: world.weavr.add("2", LIFE))
        world.at(250, lambda: world.druid.add("b2", Life.of((0, "received"), (40, "completed"))))
        changes = []
        async with world.client() as client, client.watch() as watch:
            with anyio.move_on_after(600):
                await keep(watch, changes)
            ongoing = watch.is_over
        return changes, ongoing, len(world.cloudflare.requests)

    changes, over, asked = run_virtually(main)
    assert not over
    assert asked == 0
    verdicts = {change.ref: change.verdict for change in changes if change.verdict}
    assert verdicts == {
        "w:1": Verdict.SUCCEEDED,
        "w:2": Verdict.SUCCEEDED,
        "d:b1": Verdict.FAILED,
        "d:b2": Verdict.SUCCEEDED,
    }
    assert "w:9" not in {change.ref for change in changes}


def test_a_watch_of_everything_is_narrowed_by_sources():
    """The others are not asked."""

    async def main():
        world = World()
        world.weavr.add("1", LIFE)
        world.druid.add("b1", Life.of((0, "processing"), (50, "completed")))
        changes = []
        async with world.client() as client, client.watch(sources=["d"]) as watch:
            with anyio.move_on_after(200):
                await keep(watch, changes)
        return changes, world

    changes, world = run_virtually(main)
    assert {change.source for change in changes} == {"d"}
    assert (len(world.weavr.requests), len(world.cloudflare.requests)) == (0, 0)


def test_a_watch_of_everything_ends_by_its_timeout():
    """And not before, although all there was has ended."""

    async def main():
        world = World()
        world.druid.add("b1", Life.of((0, "processing"), (50, "completed")))
        async with world.client() as client, client.watch(timeout=200) as watch:
            changes = [change async for change in watch]
            return changes, world.now, watch.outcome()

    changes, moment, outcome = run_virtually(main)
    assert changes[-1].verdict is Verdict.SUCCEEDED
    assert moment == pytest.approx(200, abs=1)
    assert outcome.verdicts == {"d:b1": Verdict.SUCCEEDED}


def test_an_outage_is_told_to_a_watch_that_has_found_nothing_yet():
    """It would else look as if there were nothing."""

    async def main():
        world = World()
        world.weavr.fail(Fault(drop=True, times=None))
        async with world.client("w") as client, client.watch() as watch:
            return await watch.changes(within=60)

    (change,) = run_virtually(main)
    assert (change.kind, change.source, change.ref) == ("unobservable", "w", None)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"sources": ["c"]}, "no list|cannot list|lists"),
        ({"sources": ["x"]}, "no source 'x'"),
        ({"refs": ["w:1"], "sources": ["w"]}, "leave it out"),
        ({"refs": []}, "no references"),
        ({"refs": ["w:1"], "until": "ever"}, "until"),
        ({"timeout": -3}, "timeout"),
    ],
)
def test_a_watch_that_cannot_be_is_refused_before_anything_is_sent(arguments, says):
    """By the call itself, not by the first reading."""

    async def main():
        world = World()
        async with world.client() as client:
            with pytest.raises(ConfigError, match=says):
                client.watch(**arguments)
            await anyio.sleep(30)
        return world.requests

    assert run_virtually(main) == 0


# --- reading ---


def test_an_endless_watch_goes_on_after_all_have_ended():
    """Until its owner leaves it."""

    def prepare(world):
        world.weavr.add("1", LIFE)
        return "w:1"

    changes, outcome, moment, _ = watching(prepare, until=None, leave_at=500)
    assert moment == pytest.approx(500)
    assert changes[-1].verdict is Verdict.SUCCEEDED
    assert outcome.succeeded


def test_changes_waits_for_the_first_and_no_longer_than_it_is_told():
    """Empty when none came in that time; the watch is not over then."""

    async def main():
        world = World()
        world.weavr.add("1", Life.of((0, "SUBMITTED"), (100, "RUNNING"), (105, "COMPLETED")))
        async with world.client("w") as client, client.watch("w:1") as watch:
            first = await watch.changes()
            at_first = world.now
            none = await watch.changes(within=20)
            at_none = world.now
            nothing = await watch.changes(within=0)
            rest = []
            while not watch.is_over:
                rest += await watch.changes()
            after = await watch.changes()
            return first, at_first, none, at_none, nothing, rest, after

    first, at_first, none, at_none, nothing, rest, after = run_virtually(main)
    assert len(first) == 1
    assert at_first < 1
    assert (none, nothing, after) == ((), (), ())
    assert at_none == pytest.approx(at_first + 20)
    assert rest[-1].verdict is Verdict.SUCCEEDED


def test_the_view_tells_of_the_next_look_the_expected_end_and_the_outage():
    """All of it as of the moment it is asked for."""

    async def main():
        world = World(limits=True)
        world.weavr.add("1", Life.of((0, "RUNNING"), (200, "COMPLETED")), operations=1_000)
        world.cloudflare.add(CF[1], Life.of((0, "running"), (400, "completed")))
        views = []
        async with world.client("w", "c") as client, client.watch(["w:1", f"c:{CF[1]}"]) as watch:
            views.append(watch.view())
            await anyio.sleep(60)
            views.append(watch.view())
            world.weavr.fail(Fault(status=500, times=None))
            await anyio.sleep(40)
            views.append(watch.view())
            world.weavr.heal()
            await anyio.sleep(240)
            views.append(watch.view())
            return views

    begin, middle, down, after = run_virtually(main)
    assert [bulk.ref for bulk in begin.bulks] == ["w:1", f"c:{CF[1]}"]
    assert [bulk.status for bulk in begin.bulks] == [None, None]
    assert [source.source for source in begin.sources] == ["w", "c"]
    assert begin.sources[0].budget[0].left == begin.sources[0].budget[0].requests == 100

    counted, uncounted = middle.bulks
    assert (counted.expected_end - BIRTH).total_seconds() == pytest.approx(200, abs=10)
    assert uncounted.expected_end is None
    for bulk in middle.bulks:
        assert middle.observed_at <= bulk.next_look <= middle.observed_at + timedelta(seconds=60)
    assert [source.down_since for source in middle.sources] == [None, None]
    assert 0 < middle.sources[0].budget[0].left < 100

    weavr, cloudflare = down.sources
    assert middle.observed_at <= weavr.down_since <= down.observed_at
    assert weavr.failure.kind == "unavailable"
    assert (cloudflare.down_since, cloudflare.failure) == (None, None)
    assert down.bulks[0].stale_since is not None
    assert down.bulks[0].status.state is State.RUNNING

    assert [source.down_since for source in after.sources] == [None, None]
    assert after.bulks[0].verdict is Verdict.SUCCEEDED
    assert after.bulks[0].next_look is None
    assert after.bulks[1].verdict is None


def test_the_view_tells_when_a_provider_wants_requests_again():
    """While it asks for a pause."""

    async def main():
        world = World()
        world.weavr.add("1", Life.of((0, "RUNNING"), (900, "COMPLETED")))
        world.at(50, lambda: world.weavr.fail(Fault(status=429, headers={"Retry-After": "250"}, times=1)))
        async with world.client("w") as client, client.watch("w:1") as watch:
            await anyio.sleep(150)
            return watch.view(), world.weavr.arrivals[-1]

    view, refused = run_virtually(main)
    (source,) = view.sources
    assert (source.resumes_at - BIRTH).total_seconds() == pytest.approx(refused + 250, abs=1)


def test_detail_asks_for_the_counts_that_a_list_lacks():
    """Up to eight bulks are then asked for one by one."""

    def prepare(world):
        for number in range(1, 6):
            world.weavr.add(str(number), Life.of((0, "RUNNING"), (120, "COMPLETED")), operations=100)
        return [f"w:{number}" for number in range(1, 6)]

    changes, outcome, _, world = watching(prepare, "w", timeout=600, detail=True)
    assert outcome.succeeded
    assert not [request for request in world.weavr.requests if request.path.endswith("/bulks")]
    for ref in outcome.verdicts:
        counted = [change for change in changes if change.ref == ref and change.kind == "progress"]
        assert len(counted) >= 3


# --- leaving ---


async def quiet_after(world, leave):
    """Requests and tasks more than before, ten minutes after a watch was left by `leave`."""
    world.weavr.add("1", Life.of((0, "RUNNING"), (10_000, "COMPLETED")))
    world.weavr.add("2", Life.of((0, "RUNNING"), (10_000, "COMPLETED")))
    async with world.client("w") as client:
        before = len(asyncio.all_tasks())
        await leave(client)
        gc.collect()
        await anyio.sleep(5)
        sent = world.requests
        assert sent > 0
        await anyio.sleep(600)
        return world.requests - sent, len(asyncio.all_tasks()) - before


async def by_close(client):
    """Read one change and close."""
    watch = client.watch(["w:1", "w:2"])
    await watch.changes()
    watch.close()
    assert watch.is_over
    assert await watch.changes() == ()
    watch.close()


async def by_with(client):
    """Leave an `async with` statement."""
    async with client.watch(["w:1", "w:2"]) as watch:
        await watch.changes()


async def by_break(client):
    """Leave the loop, and with it the only name of the watch."""
    async for _ in client.watch(["w:1", "w:2"]):
        break


async def by_error(client):
    """Leave an `async with` statement by an error."""
    with suppress(ZeroDivisionError):
        async with client.watch(["w:1", "w:2"]) as watch:
            await watch.changes()
            raise ZeroDivisionError


async def by_cancelling(client):
    """Be cancelled while waiting for a change."""
    with anyio.move_on_after(30):
        async for _ in client.watch(["w:1", "w:2"]):
            pass


async def unread(client):
    """Let it go without having read anything."""
    client.watch(["w:1", "w:2"])
    await anyio.sleep(1)


@pytest.mark.parametrize("leave", [by_close, by_with, by_break, by_error, by_cancelling])
def test_a_watch_that_is_left_is_polled_for_no_more(leave):
    """No request and no task after it."""

    async def main():
        return await quiet_after(World(), leave)

    assert run_virtually(main) == (0, 0)


def test_a_watch_that_nobody_holds_is_polled_for_no_more():
    """Nor has it been, where nothing had been sent yet."""

    async def main():
        world = World()
        world.weavr.add("1", Life.of((0, "RUNNING"), (10_000, "COMPLETED")))
        async with world.client("w") as client:
            before = len(asyncio.all_tasks())
            await unread(client)
            gc.collect()
            sent = world.requests
            await anyio.sleep(600)
            return world.requests - sent, len(asyncio.all_tasks()) - before

    assert run_virtually(main) == (0, 0)


@pytest.mark.unrecorded
def test_a_watch_held_by_a_reader_in_another_task_is_not_ended_by_the_collector():
    """Somebody waits for its changes."""

    async def main():
        world = World()
        world.weavr.add("1", LIFE)
        changes = []

        async with world.client("w") as client, anyio.create_task_group() as group:
            group.start_soon(lambda: keep(client.watch("w:1"), changes))
            for _ in range(20):
                await anyio.sleep(3)
                gc.collect()
        return changes

    assert run_virtually(main)[-1].verdict is Verdict.SUCCEEDED


def test_closing_the_client_ends_a_watch_with_an_error():
    """What was told before can still be seen in its outcome."""

    async def main():
        world = World()
        world.weavr.add("1", LIFE)
        client = world.client("w")
        async with client:
            watch = client.watch("w:1")
            await watch.changes()
        with pytest.raises(Unavailable) as caught:
            await watch.changes()
        return caught.value.reason, watch.outcome(), watch.is_over

    reason, outcome, over = run_virtually(main)
    assert reason == "closed"
    assert over
    assert outcome["w:1"].verdict is Verdict.PENDING


# --- two watches ---


def test_two_watches_of_a_bulk_are_told_the_same_and_cost_one():
    """The later one begins with what is known; leaving the first does not end the second."""

    async def main():
        world = World()
        world.weavr.add("1", Life.of((0, "RUNNING"), (100, "COMPLETED")), operations=100)
        async with world.client("w") as client:
            one, two = client.watch("w:1"), client.watch("w:1")
            first, second = list(await one.changes()), list(await two.changes())
            assert world.requests == 1
            await anyio.sleep(30)
            first += await one.changes()
            one.close()
            second += [change async for change in two]
            late = [change async for change in client.watch("w:1")]
            return first, second, late

    first, second, late = run_virtually(main)
    assert len(first) > 1
    assert second[: len(first)] == first
    assert second[-1].verdict is Verdict.SUCCEEDED
    assert [change.verdict for change in late] == [Verdict.SUCCEEDED]


def test_a_watch_that_joins_another_is_told_where_the_bulk_stands():
    """As its first sight of it, soon, whenever the other's next look is due."""

    async def main():
        world = World()
        world.cloudflare.add(CF[1], Life.of((0, "running"), (5_000, "completed")))
        async with world.client("c") as client, client.watch(f"c:{CF[1]}") as one:
            await anyio.sleep(2_000)
            await one.changes()
            began = world.now
            async with client.watch(f"c:{CF[1]}") as two:
                (change,) = await two.changes()
            return change, world.now - began

    change, waited = run_virtually(main)
    assert (change.kind, change.before, change.status.state) == ("state", None, State.RUNNING)
    assert waited <= 1


@pytest.mark.parametrize("sleeps", [30.0, 1_000.0])
def test_a_slow_reader_misses_nothing_and_holds_up_nobody(sleeps):
    """Its changes are kept for it; a watch beside it is told at once."""

    async def main():
        world = World()
        for number in range(1, 4):
            world.weavr.add(str(number), LIFE, operations=100)
        refs = ["w:1", "w:2", "w:3"]
        quick, slow, ends = [], [], {}

        async def read_quickly(watch):
            quick.extend([change async for change in watch])
            ends["quick"] = world.now

        async def read_slowly(watch):
            async for change in watch:
                slow.append(change)
                await anyio.sleep(sleeps)

        async with world.client("w") as client, anyio.create_task_group() as group:
            group.start_soon(read_quickly, client.watch(refs))
            group.start_soon(read_slowly, client.watch(refs))
        return quick, slow, ends["quick"]

    quick, slow, end = run_virtually(main)
    assert slow == quick
    assert end <= 110


@pytest.mark.unrecorded
def test_a_reader_that_comes_much_later_is_told_states_and_not_every_change(monkeypatch):
    """Changes that nobody read are joined, and memory does not grow; what was begun with and ended in is kept.

    Ten thousand may wait; a hundred here, so that hours need not be played.
    """
    monkeypatch.setattr("bulkstatus._subscription._MOST_UNREAD", 100)

    async def main():
        world = World()
        to_and_fro = Life.of(
            *((float(at), ("pending", "running")[at // 30 % 2]) for at in range(0, 6_000, 30))
        )
        for number in range(1, 6):
            world.cloudflare.add(f"{number:032x}", to_and_fro)
        refs = [f"c:{number:032x}" for number in range(1, 6)]
        often = PollPolicy(ceiling=20.0)
        async with world.client("c") as client, client.watch(refs, until=None, polling=often) as watch:
            await anyio.sleep(3_000)
            return await watch.changes(), refs, watch.outcome()

    changes, refs, outcome = run_virtually(main)
    assert len(changes) <= 100
    assert {change.ref for change in changes} == set(refs)
    for ref in refs:
        mine = [change for change in changes if change.ref == ref]
        assert mine[0].before is None
        assert mine[-1].status.native_state == outcome[ref].status.native_state
        for earlier, later in pairwise(mine):
            assert later.before.native_state == earlier.status.native_state
