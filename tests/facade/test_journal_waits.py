"""Waits and watches of clients with a journal: what need not be asked, what goes on after its process died, what is late."""

import asyncio
import sqlite3
import subprocess
import sys
import textwrap
from contextlib import closing, suppress
from datetime import timedelta

import anyio
import anyio.lowlevel
import msgspec
import pytest

from bulkstatus import (
    AsyncClient,
    Client,
    ConfigError,
    Journal,
    JournalError,
    State,
    Unavailable,
    Verdict,
    WaitTerms,
)
from bulkstatus._adapter import realm
from bulkstatus._record import Place, Sighting
from bulkstatus._times import Stamp
from bulkstatus.adapter import BulkStatus
from bulkstatus.testing import Fault, Life, serve
from bulkstatus_weavr.fake import WeavrFake
from support import NOT_THERE
from virtual import BIRTH, VirtualClock, VirtualLoop, World, loop_now, run_virtually

CF = ["0" * 31 + digit for digit in "0123456789"]
REF = f"c:{CF[1]}"


@pytest.fixture(autouse=True)
def in_step(monkeypatch):
    """The loop's time is that of the journal's threads as well."""
    loops: list[VirtualLoop] = []

    def moment():
        with suppress(RuntimeError):  # on the journal's thread
            loops[:] = [loop_now()]
        return loops[0].time() if loops else 0.0

    monkeypatch.setattr(VirtualClock, "moment", staticmethod(moment))
    monkeypatch.setattr(Stamp, "take", lambda: Stamp("a-boot", moment()))


@pytest.fixture
def path(tmp_path):
    """Where the journal will be."""
    return tmp_path / "state" / "journal.db"


def remembering(world, path, *sources, **adapters):
    """A client of a world, with a journal."""
    chosen = {name: world.adapters[name] for name in sources or world.adapters} | adapters
    return AsyncClient(chosen, transport=world.transport, journal=path)


def paths(fake):
    """What a fake was asked for."""
    return [request.path.rpartition("/")[2] for request in fake.requests]


def verdicts(outcome):
    """The verdicts, in order."""
    return list(outcome.verdicts.values())


async def left_behind(client, refs, *, after=30.0, **options):
    """Begin a wait and be cancelled in the midst of it."""
    with anyio.move_on_after(after):
        await client.wait(refs, **options)
        raise AssertionError("the wait ended before it was cancelled")


# --- what need not be asked ---


@pytest.mark.parametrize("begin", ["wait", "watch"])
def test_ended_bulks_are_not_asked_for(path, begin):
    """Those that go on are, and the outcome is the same as ever."""

    async def main():
        world = World()
        world.cloudflare.add(CF[1], Life.of((0, "completed")))
        world.cloudflare.add(CF[2], Life.of((0, "running"), (50, "failed")))
        world.weavr.add("1", Life.of((0, "PARTIALLY_COMPLETED")), operations=9, failing=3)
        async with remembering(world, path) as client:
            await client.get_many([REF, "w:1"])
        sent = world.requests
        async with remembering(world, path) as client:
            if begin == "wait":
                outcome = await client.wait([REF, "w:1", f"c:{CF[2]}"])
            else:
                async with client.watch([REF, "w:1", f"c:{CF[2]}"]) as watch:
                    assert [change.kind async for change in watch]
                    outcome = watch.outcome()
            return outcome, world.fakes["c"].requests[1:], len(world.weavr.requests), sent

    outcome, asked, weavr, sent = run_virtually(main)
    assert verdicts(outcome) == [Verdict.SUCCEEDED, Verdict.PARTIAL, Verdict.FAILED]
    assert {request.path.rpartition("/")[2] for request in asked} == {CF[2]}
    assert (weavr, sent) == (1, 2)
    assert outcome["w:1"].status.counts.failed == 3


def test_a_wait_for_ended_bulks_alone_is_over_at_once(path):
    """Also while their provider is down."""

    async def main():
        world = World()
        world.cloudflare.add(CF[1], Life.of((0, "completed")))
        async with remembering(world, path) as client:
            await client.get(REF)
            world.cloudflare.fail(Fault(drop=True, times=None))
            sent, began = world.requests, world.now
            told = []
            outcome = await client.wait([REF], on_change=told.append)
            return outcome, told, world.requests - sent, world.now - began

    outcome, told, sent, took = run_virtually(main)
    assert verdicts(outcome) == [Verdict.SUCCEEDED]
    assert (sent, took < 1) == (0, True)
    assert [(change.kind, change.verdict) for change in told] == [("state", Verdict.SUCCEEDED)]
    assert "From the journal" in told[0].status.evidence[-1]


@pytest.mark.parametrize("until", ["any", "first_failure"])
def test_an_ended_bulk_ends_a_wait_for_the_first(path, until):
    """What is known counts."""

    async def main():
        world = World()
        world.cloudflare.add(CF[1], Life.of((0, "failed")))
        world.weavr.add("1", Life.of((0, "RUNNING")))
        async with remembering(world, path) as client:
            await client.get(REF)
            return (await client.wait(["w:1", REF], until=until, timeout=600)), world.now

    outcome, moment = run_virtually(main)
    assert verdicts(outcome) == [Verdict.PENDING, Verdict.FAILED]
    assert moment < 60


@pytest.mark.parametrize("begin", ["wait", "resume"])
def test_fresh_asks_for_ended_ones_too(path, begin):
    """They may have moved again."""

    async def main():
        world = World()
        world.cloudflare.add(CF[1], Life.of((0, "failed")))
        async with remembering(world, path) as client:
            await client.wait([REF])
            world.cloudflare.add(CF[1], Life.of((0, "completed")))
            if begin == "wait":
                return await client.wait([REF], fresh=True)
            return await client.resume(1, fresh=True)

    assert verdicts(run_virtually(main)) == [Verdict.SUCCEEDED]


def test_a_watch_without_end_looks_at_ended_ones_again(path):
    """Seldom, as it does without a journal."""

    async def main():
        world = World()
        world.cloudflare.add(CF[1], Life.of((0, "failed"), (1_000, "running")))
        async with remembering(world, path) as client:
            await client.get(REF)
            sent = world.requests
            async with client.watch([REF], until=None) as watch:
                (first,) = await watch.changes()
                at_first = world.requests - sent
                (second,) = await watch.changes()
            return first, at_first, second, world.requests - sent, await client.history(REF)

    first, at_first, second, sent, steps = run_virtually(main)
    assert (first.status.native_state, at_first) == ("failed", 0)
    assert second.status.native_state == "running"
    assert sent <= 3
    assert [(step.to_word, step.regressed) for step in steps] == [("failed", False), ("running", True)]


# --- what the provider has forgotten ---


def test_a_bulk_that_was_seen_before_the_restart_is_gone_and_not_unknown(path):
    """The journal remembers it, so the provider has forgotten it; what was seen last is told.

    Whoever waits for one that is known to be gone has it asked for once more: it might have come back.
    """

    async def main():
        world = World()
        world.cloudflare.add(CF[1], Life.of((0, "running")))
        async with remembering(world, path) as client:
            await client.get(REF)
        world.cloudflare.remove(CF[1])
        await anyio.sleep(3_600)
        async with remembering(world, path) as client:
            began = world.now
            outcome = await client.wait([REF, f"c:{CF[2]}"], timeout=600)
            took, sent = world.now - began, world.requests
            steps = await client.history(REF)
            again = await client.wait([REF])
            return outcome, took, again, world.requests - sent, steps, world.now - began - took

    outcome, took, again, sent, steps, took_again = run_virtually(main)
    assert verdicts(outcome) == [Verdict.GONE, Verdict.NOT_FOUND]
    assert outcome[REF].status.state is State.RUNNING
    assert outcome[f"c:{CF[2]}"].status is None
    assert 4 <= took <= 60
    assert [step.kind for step in steps] == ["first", "gone"]
    assert verdicts(again) == [Verdict.GONE]
    assert again[REF].status.state is State.RUNNING
    assert (sent, took_again < 1) == (1, True)


def test_one_that_was_gone_and_is_there_again_is_waited_for(path):
    """To its end, as if nothing had happened; the journal tells that it returned."""

    async def main():
        world = World()
        world.cloudflare.add(CF[1], Life.of((0, "running")))
        async with remembering(world, path) as client:
            await client.get(REF)
            world.cloudflare.remove(CF[1])
            await client.wait([REF])
        world.cloudflare.add(CF[1], Life.of((0, "running"), (60, "completed")))
        async with remembering(world, path) as client:
            return await client.wait([REF], timeout=600), await client.history(REF)

    outcome, steps = run_virtually(main)
    assert verdicts(outcome) == [Verdict.SUCCEEDED]
    assert [step.kind for step in steps] == ["first", "gone", "returned", "state"]


def test_one_that_goes_while_it_is_waited_for_is_gone_in_the_journal_too(path):
    """By the same two answers."""

    async def main():
        world = World()
        world.cloudflare.add(CF[1], Life.of((0, "running")))
        world.at(100, lambda: world.cloudflare.remove(CF[1]))
        async with remembering(world, path) as client:
            outcome = await client.wait([REF])
            return outcome, await client.history(REF), await client.get(REF)

    outcome, steps, status = run_virtually(main)
    assert verdicts(outcome) == [Verdict.GONE]
    assert [step.kind for step in steps] == ["first", "gone"]
    assert status.gone_at is not None


def test_one_that_comes_back_is_waited_for(path):
    """A restart in between makes no difference."""

    async def main():
        world = World()
        world.cloudflare.add(CF[1], Life.of((0, "running")))
        async with remembering(world, path) as client:
            await client.get(REF)
        world.cloudflare.fail(Fault(status=404, body=NOT_THERE, times=1))
        world.at(50, lambda: world.cloudflare.add(CF[1], Life.of((0, "completed"))))
        async with remembering(world, path) as client:
            return await client.wait([REF], timeout=600), await client.history(REF)

    outcome, steps = run_virtually(main)
    assert verdicts(outcome) == [Verdict.SUCCEEDED]
    assert [step.kind for step in steps] == ["first", "state"]


# --- every step of a wait is in the journal ---


def test_all_that_a_wait_saw_is_in_the_journal_once(path):
    """Of each source, through lists and by id."""

    async def main():
        world = World()
        for number in range(1, 8):
            world.weavr.add(str(number), Life.of((0, "SUBMITTED"), (30, "RUNNING"), (120, "COMPLETED")))
        world.druid.add("a-1", Life.of((0, "received"), (30, "processing"), (120, "completed")), failed=2)
        world.cloudflare.add(CF[1], Life.of((0, "pending"), (30, "running"), (120, "failed")))
        refs = [*(f"w:{number}" for number in range(1, 8)), "d:a-1", REF]
        async with remembering(world, path) as client:
            told = []
            outcome = await client.wait(refs, on_change=told.append)
            return outcome, told, {ref: await client.history(ref) for ref in refs}

    outcome, told, histories = run_virtually(main)
    for ref, steps in histories.items():
        words = [
            change.status.native_state for change in told if change.ref == ref and change.kind == "state"
        ]
        assert [step.to_word for step in steps] == list(dict.fromkeys(words))
        assert len(steps) == 3
        assert steps[-1].to_state.value == outcome.verdicts[ref].value


# --- waits that are recorded ---


def test_a_wait_is_recorded_with_its_terms_and_its_end(path):
    """It is open while it goes on, and its verdicts are kept."""

    async def main():
        world = World()
        world.cloudflare.add(CF[1], Life.of((0, "running"), (60, "failed")))
        async with remembering(world, path) as client:
            found = []
            world.at(30, lambda: found.extend(Journal(path).waits()))
            await client.wait([REF, REF], timeout=600, until="first_failure", blind_after=99, polling="eager")
            return found, client.journal.waits(), client.journal.waits(open_only=False), client.realms

    (going_on,), after, (ended,), realms = run_virtually(main)
    assert going_on.refs == ended.refs == (REF,)
    assert going_on.terms == WaitTerms(
        timeout=600, until="first_failure", blind_after=99, polling="eager", realms={"c": realms["c"]}
    )
    assert (going_on.begun_at - BIRTH).total_seconds() < 1
    assert going_on.deadline_at == going_on.begun_at + timedelta(seconds=600)
    assert (going_on.ended_at, going_on.verdicts) == (None, None)
    assert after == ()
    assert ended.verdicts == {REF: Verdict.FAILED}
    assert (ended.ended_at - BIRTH).total_seconds() >= 60
    assert not list(path.parent.glob("*wait-*"))


def test_a_wait_that_cannot_be_is_not_recorded(path):
    """Nothing is sent either."""

    async def main():
        world = World()
        async with remembering(world, path) as client:
            for arguments in ({"refs": []}, {"refs": ["x:1"]}, {"refs": [REF], "until": "ever"}):
                with pytest.raises(ConfigError):
                    await client.wait(**arguments)
            return client.journal.waits(open_only=False), world.requests

    assert run_virtually(main) == ((), 0)


@pytest.mark.parametrize("number", [None, 1])
def test_a_wait_that_was_cancelled_is_left_open_and_can_be_resumed(path, number):
    """By another client, for the same bulks; what ended meanwhile and was seen is not asked for."""

    async def main():
        world = World()
        world.cloudflare.add(CF[1], Life.of((0, "running"), (200, "failed")))
        world.cloudflare.add(CF[2], Life.of((0, "running"), (100, "completed")))
        async with remembering(world, path) as client:
            await left_behind(client, [REF, f"c:{CF[2]}"])
            await anyio.sleep(100)
            await client.get(f"c:{CF[2]}")
            (left,) = client.journal.waits()
        world.cloudflare.requests.clear()
        async with remembering(world, path) as client:
            told = []
            outcome = await client.resume(number, on_change=told.append)
            return left, outcome, told, paths(world.cloudflare), client.journal.waits(open_only=False)

    left, outcome, told, asked, (wait,) = run_virtually(main)
    assert (left.id, left.ended_at) == (1, None)
    assert verdicts(outcome) == [Verdict.FAILED, Verdict.SUCCEEDED]
    assert set(asked) == {CF[1]}
    assert {change.ref for change in told if change.verdict} == {REF, f"c:{CF[2]}"}
    assert wait.verdicts == outcome.verdicts
    assert wait.begun_at == left.begun_at


def test_a_wait_whose_client_was_closed_is_left_open(path):
    """Whoever waited is told that it was not over."""

    async def main():
        world = World()
        world.cloudflare.add(CF[1], Life.of((0, "running"), (200, "failed")))
        async with anyio.create_task_group() as group:
            async with remembering(world, path) as client:

                async def waits():
                    with pytest.raises(Unavailable):
                        await client.wait([REF])

                group.start_soon(waits)
                await anyio.sleep(30)
            await anyio.sleep(1)
        open_waits = Journal(path).waits()
        async with client:
            return open_waits, await client.resume()

    (left,), outcome = run_virtually(main)
    assert left.ended_at is None
    assert verdicts(outcome) == [Verdict.FAILED]


def test_the_last_wait_that_nobody_waits_for_is_the_one_to_go_on_with(path):
    """First those that were left, then one that ran out of time; those that ended only when they are named."""

    async def main():
        world = World()
        for index in range(1, 5):
            world.cloudflare.add(CF[index], Life.of((0, "running"), (900, "completed")))
        async with remembering(world, path) as client, anyio.create_task_group() as group:
            await left_behind(client, [f"c:{CF[1]}"])
            await left_behind(client, [f"c:{CF[2]}"])
            await client.wait([f"c:{CF[3]}"], timeout=20)
            group.start_soon(client.wait, [f"c:{CF[4]}"])
            await anyio.sleep(5)
            outcomes = [await client.resume() for _ in range(3)]
            await anyio.sleep(60)
            with pytest.raises(ConfigError, match="no wait to go on with"):
                await client.resume()
            with pytest.raises(ConfigError, match="no wait 77"):
                await client.resume(77)
            named = await client.resume(3)
            return [list(outcome.verdicts) for outcome in (*outcomes, named)], verdicts(named)

    refs, named = run_virtually(main)
    assert refs == [[f"c:{CF[index]}"] for index in (2, 1, 3, 3)]
    assert named == [Verdict.SUCCEEDED]


def test_what_is_left_of_a_timeout_goes_on(path):
    """By the clock on the wall: the time in between counts."""

    async def main():
        world = World()
        world.cloudflare.add(CF[1], Life.of((0, "running")))
        async with remembering(world, path) as client:
            await left_behind(client, [REF], timeout=500)
        await anyio.sleep(200)
        async with remembering(world, path) as client:
            outcome = await client.resume()
            return outcome, world.now, client.journal.waits(open_only=False)

    outcome, moment, (wait,) = run_virtually(main)
    assert verdicts(outcome) == [Verdict.PENDING]
    assert moment == pytest.approx(500, abs=2)
    assert (wait.deadline_at - BIRTH).total_seconds() == pytest.approx(500, abs=1)


def test_a_timeout_that_has_run_out_begins_anew(path):
    """Whoever resumes wants to wait."""

    async def main():
        world = World()
        world.cloudflare.add(CF[1], Life.of((0, "running")))
        async with remembering(world, path) as client:
            await left_behind(client, [REF], timeout=500)
        await anyio.sleep(10_000)
        async with remembering(world, path) as client:
            began = world.now
            outcome = await client.resume()
            return outcome, world.now - began

    outcome, took = run_virtually(main)
    assert verdicts(outcome) == [Verdict.PENDING]
    assert took == pytest.approx(500, abs=2)


def test_a_resumed_wait_is_on_the_same_terms(path):
    """It stops where the first would have."""

    async def main():
        world = World()
        world.weavr.add("1", Life.of((0, "RUNNING"), (100, "PAUSED")))
        async with remembering(world, path) as client:
            await left_behind(client, ["w:1"], stop_when_blocked=True)
        async with remembering(world, path) as client:
            return await client.resume()

    assert verdicts(run_virtually(main)) == [Verdict.BLOCKED]


@pytest.mark.parametrize(
    "change", [{"account_id": "f" * 32}, {"base_url": "https://elsewhere.test/client/v4"}]
)
def test_a_wait_is_not_resumed_with_another_account(path, change):
    """Its ids would be other bulks there. Nothing is sent, and it stays open for the right one."""

    async def main():
        world = World()
        world.cloudflare.add(CF[1], Life.of((0, "running"), (100, "completed")))
        async with remembering(world, path) as client:
            await left_behind(client, [REF])
        sent = world.requests
        other = msgspec.structs.replace(world.adapters["c"], **change)
        async with remembering(world, path, c=other) as client:
            for number in (None, 1):
                with pytest.raises(ConfigError, match="wait 1 was begun when the source 'c' was") as caught:
                    await client.resume(number)
            assert "cloudflare-demo-token" not in str(caught.value)
            assert world.requests == sent
        async with remembering(world, path) as client:
            return await client.resume()

    assert verdicts(run_virtually(main)) == [Verdict.SUCCEEDED]


def test_a_wait_for_a_source_that_is_no_more_is_not_resumed(path):
    """It stays open for a client that has the source."""

    async def main():
        world = World()
        world.cloudflare.add(CF[1], Life.of((0, "running"), (100, "completed")))
        async with remembering(world, path) as client:
            await left_behind(client, [REF])
        async with remembering(world, path, "w") as client:
            with pytest.raises(ConfigError, match="no source 'c'"):
                await client.resume()
        async with remembering(world, path) as client:
            return await client.resume()

    assert verdicts(run_virtually(main)) == [Verdict.SUCCEEDED]


@pytest.mark.parametrize("sources", [("c", "w"), ("w",)])
def test_a_wait_that_has_ended_and_is_refused_stays_ended(path, sources):
    """With its verdicts: a look at it with the wrong configuration changes nothing."""

    async def main():
        world = World()
        world.cloudflare.add(CF[1], Life.of((0, "completed")))
        async with remembering(world, path) as client:
            await client.wait([REF])
        other = {"c": msgspec.structs.replace(world.adapters["c"], account_id="f" * 32)}
        chosen = other if "c" in sources else {}
        async with remembering(world, path, "w", **chosen) as client:
            before = client.journal.waits(open_only=False)
            with pytest.raises(ConfigError):
                await client.resume(1)
            return before, client.journal.waits(open_only=False)

    before, after = run_virtually(main)
    assert after == before


def test_a_wait_in_the_hands_of_another_client_is_busy(path):
    """Its waiter is named; the answers of neither suffer."""

    async def main():
        world = World()
        world.cloudflare.add(CF[1], Life.of((0, "running"), (100, "completed")))
        async with (
            remembering(world, path) as one,
            remembering(world, path) as other,
            anyio.create_task_group() as group,
        ):
            outcomes = []

            async def waits():
                outcomes.append(await one.wait([REF]))

            group.start_soon(waits)
            await anyio.sleep(20)
            for number in (None, 1):
                with pytest.raises(JournalError, match="in the hands of another process") as caught:
                    await other.resume(number)
                assert caught.value.reason == "busy"
            status = await other.get(REF)
            await anyio.sleep(200)
            with pytest.raises(ConfigError):
                await other.resume()
            return outcomes, status.state

    (outcome,), state = run_virtually(main)
    assert (verdicts(outcome), state) == ([Verdict.SUCCEEDED], State.RUNNING)


def test_a_tool_that_watches_records_its_wait_itself(path):
    """What it adds to the terms is kept for whoever resumes it."""

    async def main():
        world = World()
        world.cloudflare.add(CF[1], Life.of((0, "running"), (100, "completed")))
        async with remembering(world, path) as client:
            terms = WaitTerms(timeout=600, command={"output": "json"})
            held = await client.begin_wait([REF, REF], terms)
            assert client.journal.waits() == (held.record,)
            assert held.record.terms.command == {"output": "json"}
            with pytest.raises(JournalError):
                await client.resume()
            async with client.watch(held.record.refs) as watch:
                async for _ in watch:
                    pass
                await client.end_wait(held, watch.outcome())
            (ended,) = client.journal.waits(open_only=False)
            second = await client.begin_wait([REF], WaitTerms())
            second.leave()
            return ended, await client.resume(), len(client.journal.waits())

    ended, outcome, left = run_virtually(main)
    assert ended.verdicts == {REF: Verdict.SUCCEEDED}
    assert verdicts(outcome) == [Verdict.SUCCEEDED]
    assert left == 0


def test_without_a_journal_nothing_is_recorded_and_waiting_is_as_ever():
    """`begin_wait` says so by None."""

    async def main():
        world = World()
        world.cloudflare.add(CF[1], Life.of((0, "running"), (100, "completed")))
        async with world.client("c") as client:
            held = await client.begin_wait([REF], WaitTerms())
            return held, await client.wait([REF])

    held, outcome = run_virtually(main)
    assert (held, verdicts(outcome)) == (None, [Verdict.SUCCEEDED])


# --- a process of its own ---

WAITER = """
    import sys
    from bulkstatus import Client, _recorder
    from bulkstatus_weavr import Weavr
    _recorder._MOMENT = _recorder._READING = 30.0  # a busy disk is waited for
    url, journal, work = sys.argv[1:]
    adapter = Weavr(base_url=url, api_key="weavr-demo-key", auth_token="weavr-demo-token", budget=())
    with Client({"w": adapter}, journal=journal) as client:
        tell = lambda change: print(change.status.native_state, flush=True)
        if work == "wait":
            client.wait(["w:1", "w:2"], timeout=900, on_change=tell)
        else:
            print(client.resume(on_change=tell).verdicts)
"""


class Waiter:
    """A process that waits; it is killed at the end, if it has not ended."""

    def __init__(self, url, path, work):
        command = [sys.executable, "-c", textwrap.dedent(WAITER), url, str(path), work]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def word(self):
        """The next word that it has seen."""
        return self.process.stdout.readline().strip()


def test_a_wait_of_a_process_that_was_killed_is_gone_on_with(path, monkeypatch):
    """While that lives it is busy; what it saw is in the journal, and its deadline still stands."""
    monkeypatch.undo()  # this one is on real time
    fake = WeavrFake()
    fake.add("1", Life.of((0, "RUNNING")))
    fake.add("2", Life.of((0, "RUNNING")))
    with serve(fake) as url:
        with (
            Waiter(url, path, "wait") as waiter,
            Client({"w": fake.adapter(url)}, journal=path) as client,
        ):
            assert [waiter.word(), waiter.word()] == ["RUNNING"] * 2
            for number in (None, 1):
                with pytest.raises(JournalError) as caught:
                    client.resume(number)
                assert caught.value.reason == "busy"
                assert f":{waiter.process.pid})" in caught.value.message
            assert client.get("w:1").state is State.RUNNING
        fake.add("1", Life.of((0, "COMPLETED")))
        fake.add("2", Life.of((0, "FAILED")))
        with Client({"w": fake.adapter(url)}, journal=path) as client:
            (left,) = client.journal.waits()
            outcome = client.resume()
            assert [step.to_word for step in client.history("w:1")] == ["RUNNING", "COMPLETED"]
            assert client.journal.waits() == ()
            (ended,) = client.journal.waits(open_only=False)
    assert outcome.verdicts == {"w:1": Verdict.SUCCEEDED, "w:2": Verdict.FAILED}
    assert ended.verdicts == outcome.verdicts
    assert ended.deadline_at == left.deadline_at
    assert ended.waiter != left.waiter


# --- what is late ---


def remember(path, took, *, action="/transfers", source="w"):
    """Bulks of the past in the journal, which took so many seconds each."""
    adapter = World().adapters[source]
    place = Place(source, adapter.provider, realm(adapter), "{}")
    then, stamp = BIRTH - timedelta(days=1), Stamp("another-boot", 0.0)
    seen = [
        BulkStatus(
            source=source,
            provider=place.provider,
            id=f"9{number:05d}",
            state=State.SUCCEEDED,
            started_at=then - timedelta(seconds=seconds),
            finished_at=then,
            observed_at=then,
            action=action,
        )
        for number, seconds in enumerate(took)
    ]
    with Journal(path) as journal:
        journal.record([Sighting(place, status, stamp, stamp, wanted=True) for status in seen])


def watched(path, life, *, moments, operations=0, source="w", limits=900):
    """The changes of a watch of one bulk, and how it was marked at some moments; and the outcome of a wait for it."""

    async def main():
        world = World()
        if source == "w":
            world.weavr.add("1", life, operations=operations)
        else:
            world.cloudflare.add(CF[1], life)
        ref = "w:1" if source == "w" else REF
        views = {}
        async with remembering(world, path) as client, client.watch([ref], timeout=limits) as watch:
            for moment in moments:

                def look(moment=moment):
                    (view,) = watch.view().bulks
                    views[moment] = view.status

                world.at(moment, look)
            return [change async for change in watch], views

    return run_virtually(main)


def test_a_bulk_that_is_overdue_is_told_once(path):
    """In the view from then on, and not any more when it has ended."""
    remember(path, [float(seconds) for seconds in range(1, 101)])
    life = Life.of((0, "RUNNING"), (400, "COMPLETED"))
    changes, views = watched(path, life, moments=(60, 200, 399, 880), limits=900)
    late = [change for change in changes if change.kind == "late"]
    assert [change.ref for change in late] == ["w:1"]
    overdue = late[0].status.overdue
    assert (overdue.usual, overdue.of) == (95.0, 100)
    assert 95 < overdue.age < 160
    assert late[0].verdict is None
    assert views[60].overdue is None
    assert overdue.age <= views[200].overdue.age <= views[399].overdue.age
    assert views.get(880) is None or views[880].overdue is None
    assert changes[-1].verdict is Verdict.SUCCEEDED


def test_a_wait_tells_what_is_late_as_well(path):
    """It goes on; that is news, and no verdict."""
    remember(path, [10.0] * 20)

    async def main():
        world = World()
        world.weavr.add("1", Life.of((0, "RUNNING"), (100, "COMPLETED")))
        told = []
        async with remembering(world, path, "w") as client:
            outcome = await client.wait(["w:1"], on_change=told.append)
        return outcome, [change.kind for change in told]

    outcome, kinds = run_virtually(main)
    assert verdicts(outcome) == [Verdict.SUCCEEDED]
    assert kinds.count("late") == 1


@pytest.mark.parametrize("history", [{"took": [10.0] * 19}, {"took": [10.0] * 50, "action": "/cards"}])
def test_what_is_usual_elsewhere_or_seldom_seen_makes_nothing_late(path, history):
    """Fewer than twenty, or of another action."""
    remember(path, **history)
    changes, views = watched(path, Life.of((0, "RUNNING"), (300, "COMPLETED")), moments=(250,))
    assert [change for change in changes if change.kind == "late"] == []
    assert (views[250].overdue, views[250].stuck) == (None, None)


def test_a_bulk_without_times_is_measured_since_it_was_seen_first(path):
    """Cloudflare tells no start."""
    remember(path, [30.0] * 20, source="c", action=None)
    changes, views = watched(path, Life.of((0, "running"), (500, "completed")), moments=(20, 300), source="c")
    (late,) = [change for change in changes if change.kind == "late"]
    assert late.status.overdue.of == 20
    assert views[20].overdue is None
    assert views[300].overdue.age == pytest.approx(300, abs=60)


def test_a_bulk_that_stands_still_is_stuck_and_told_once(path):
    """One that waits to begin, after an hour where nothing is known; one that moves again is marked no more."""
    life = Life.of((0, "pending"), (5_000, "running"), (5_500, "completed"))
    changes, views = watched(path, life, moments=(3_000, 4_900, 5_400), source="c", limits=9_000)
    late = [change for change in changes if change.kind == "late"]
    assert len(late) == 1
    stuck = late[0].status.stuck
    assert (stuck.limit, stuck.of) == (3_600, None)
    assert (stuck.since - BIRTH).total_seconds() < 60
    assert 3_600 < stuck.idle < 4_300
    assert views[3_000].stuck is None
    assert views[4_900].stuck.since == stuck.since
    assert views[5_400].stuck is None


@pytest.mark.unrecorded
def test_one_that_runs_and_counts_nothing_is_not_stuck(path):
    """Cloudflare tells no counts: it may be well on its way."""
    life = Life.of((0, "running"), (9_000, "completed"))
    changes, views = watched(path, life, moments=(8_000,), source="c", limits=10_000)
    assert [change for change in changes if change.kind == "late"] == []
    assert views[8_000].stuck is None


def test_one_that_is_paused_is_not_stuck(path):
    """It waits for somebody."""
    life = Life.of((0, "RUNNING"), (10, "PAUSED"), (6_000, "COMPLETED"))
    changes, views = watched(path, life, moments=(5_500,), limits=7_000)
    assert [change for change in changes if change.kind == "late"] == []
    assert views[5_500].stuck is None


def test_a_watch_of_everything_marks_what_is_late(path):
    """Found by a scan, and tracked by nobody."""
    remember(path, [10.0] * 30)

    async def main():
        world = World()
        world.weavr.add("1", Life.of((0, "RUNNING"), (300, "COMPLETED")))
        world.weavr.add("2", Life.of((0, "RUNNING"), (5, "COMPLETED")))
        async with remembering(world, path, "w") as client, client.watch() as watch:
            await anyio.sleep(400)
            changes = await watch.changes()
        return changes, [
            bulk.ref for bulk in Journal(path).all_bulks() if bulk.tracked_at and bulk.id in ("1", "2")
        ]

    changes, tracked = run_virtually(main)
    assert {change.ref for change in changes if change.kind == "late"} == {"w:1"}
    assert tracked == []


# --- a journal that changes under a wait ---


def replaced(path):
    """Move the journal away, as somebody does who finds it damaged, and begin another: with a wait of its own."""
    for file in (path, path.with_name("journal.db-wal"), path.with_name("journal.db-shm")):
        file.rename(file.with_name(f"{file.name}-before"))
    with Journal(path) as journal:
        journal.begin_wait(["c:theirs"], WaitTerms()).leave()


@pytest.mark.parametrize("change", [replaced, lambda path: path.unlink()])
def test_a_wait_whose_journal_is_replaced_still_records_how_its_bulks_end(path, change):
    """In the new one, where they are tracked; a wait there that has its number is another, and stays as it is."""

    async def main():
        world = World()
        world.cloudflare.add(CF[1], Life.of((0, "running"), (200, "failed")))
        world.weavr.add("1", Life.of((0, "RUNNING"), (300, "COMPLETED")))
        async with remembering(world, path) as client:
            world.at(100, lambda: change(path))
            outcome = await client.wait([REF, "w:1"])
            tracked = await client.list(tracked=True)
            return outcome, {str(status.ref): status.state for status in tracked}, await client.changes()

    outcome, tracked, steps = run_virtually(main)
    assert verdicts(outcome) == [Verdict.FAILED, Verdict.SUCCEEDED]
    assert tracked == {REF: State.FAILED, "w:1": State.SUCCEEDED}
    ends = {step.ref: step.to_state for step in steps}
    assert ends == {REF: State.FAILED, "w:1": State.SUCCEEDED}
    with Journal(path) as journal:
        found = [(wait.id, wait.refs, wait.ended_at) for wait in journal.waits(open_only=False)]
    assert found == ([(1, ("c:theirs",), None)] if change is replaced else [])


def test_what_is_untracked_while_it_is_waited_for_stays_so(path):
    """Its end is in the journal all the same."""

    async def main():
        world = World()
        world.cloudflare.add(CF[1], Life.of((0, "running"), (200, "failed")))
        async with remembering(world, path) as client, anyio.create_task_group() as group:
            group.start_soon(client.wait, [REF])
            await anyio.sleep(50)
            untracked = await client.untrack(REF)
            await anyio.sleep(400)
            return untracked, await client.tracked(), await client.history(REF)

    untracked, tracked, steps = run_virtually(main)
    assert (untracked, tracked) == ((REF,), ())
    assert [step.to_word for step in steps] == ["running", "failed"]


def test_a_watch_of_everything_follows_what_is_tracked_where_there_is_no_list(path):
    """Those that go on, also one that is tracked later; those that have ended are left alone."""

    async def main():
        world = World()
        for index, word in enumerate(("completed", "running", "running")):
            world.cloudflare.add(CF[index], Life.of((0, word)))
        async with remembering(world, path, "c") as client:
            await client.get_many([f"c:{CF[0]}", f"c:{CF[1]}"])
            world.cloudflare.requests.clear()
            seen = []
            async with client.watch() as watch:
                world.at(100, lambda: Journal(path).track(place_of(world), [CF[2]]))
                while (left := 300 - world.now) > 0:
                    changes = await watch.changes(within=left)
                    seen += [(change.ref, change.kind, world.now > 100) for change in changes]
            return seen, set(paths(world.cloudflare))

    def place_of(world):
        return Place("c", "cloudflare", realm(world.adapters["c"]), "{}")

    seen, asked = run_virtually(main)
    assert asked == {CF[1], CF[2]}
    first = {ref: later for ref, kind, later in reversed(seen) if kind == "state"}
    assert first.get(f"c:{CF[2]}") is True
    assert {ref for ref, _, _ in seen} <= {f"c:{CF[1]}", f"c:{CF[2]}"}


# --- a busy journal ---


@pytest.mark.parametrize("begin", ["wait", "resume"])
def test_being_cancelled_while_the_journal_is_asked_holds_no_wait(path, begin):
    """Another may go on with it."""

    async def main():
        world = World()
        world.cloudflare.add(CF[1], Life.of((0, "running"), (100, "completed")))
        async with remembering(world, path) as client:
            if begin == "resume":
                await left_behind(client, [REF])
            await client.changes()
            with closing(sqlite3.connect(path, isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                task = asyncio.ensure_future(client.wait([REF]) if begin == "wait" else client.resume())
                await anyio.lowlevel.checkpoint()
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            await client.track(REF)  # behind all that was to be written before
            if begin == "wait" and not client.journal.waits():
                return [Verdict.SUCCEEDED]
            return verdicts(await client.resume())

    assert run_virtually(main) == [Verdict.SUCCEEDED]
