"""Waits and watches while providers fail in every way, on virtual time: what holds whatever happens."""

import asyncio
import json
from collections import defaultdict
from typing import NamedTuple

import anyio
import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bulkstatus import Verdict
from bulkstatus.adapter import Limit
from bulkstatus.testing import Fault, Life
from support import NOT_THERE
from virtual import World, examples, run_virtually

MOST, WINDOW = 40, 20.0
SETTLED = 45.0
LEAD = 10.0
ENDS = {
    "w": {
        "COMPLETED": "succeeded",
        "PARTIALLY_COMPLETED": "partial",
        "FAILED": "failed",
        "CANCELLED": "cancelled",
    },
    "c": {"completed": "succeeded", "failed": "failed"},
    "d": {"completed": "succeeded", "failed": "failed"},
}
RUNS = {"w": "RUNNING", "c": "running", "d": "processing"}
KINDS = {
    "500": Fault(status=500, times=None),
    "503": Fault(status=503, headers={"Retry-After": "6"}, times=None),
    "429": Fault(status=429, headers={"Retry-After": "6"}, times=None),
    "429 unsaid": Fault(status=429, times=None),
    "drop": Fault(drop=True, times=None),
    "401": Fault(status=401, times=None),
    "401 once": Fault(status=401, times=1),
    "404": Fault(status=404, body=NOT_THERE, times=None),
    "404 once": Fault(status=404, body=NOT_THERE, times=1),
    "denied by a gateway": Fault(status=404, times=None),
    "garbage": Fault(status=200, body=b"<html>maintenance</html>", times=None),
    "slow": Fault(delay=4.0, times=None),
    "silent": Fault(delay=1_000.0, times=None),
}


class Bulk(NamedTuple):
    """A bulk that runs from the beginning and ends at `end` in `word`."""

    source: str
    id: str
    end: float
    word: str

    @property
    def ref(self):
        """Its reference."""
        return f"{self.source}:{self.id}"


class Trouble(NamedTuple):
    """Something that is wrong with a source for a while."""

    source: str
    kind: str
    begin: float
    length: float
    where: str


class Story(NamedTuple):
    """What happens in one example."""

    bulks: tuple[Bulk, ...]
    troubles: tuple[Trouble, ...]
    timeout: float


class Run(NamedTuple):
    """What came of it."""

    world: World
    outcome: object
    changes: list
    watched: list
    ended: float


@st.composite
def stories(draw):
    """A handful of bulks, up to five troubles, and a deadline."""
    timeout = draw(st.sampled_from([15.0, 90.0, 400.0]))
    moments = st.floats(0.0, timeout, allow_nan=False).map(lambda at: round(at, 3))
    bulks = []
    for number in range(draw(st.integers(1, 6))):
        source = draw(st.sampled_from("wcd"))
        id = f"{number + 1:032x}" if source == "c" else str(number + 1)
        bulks.append(Bulk(source, id, draw(moments), draw(st.sampled_from(sorted(ENDS[source])))))
    trouble = st.builds(
        Trouble,
        source=st.sampled_from(sorted({bulk.source for bulk in bulks})),
        kind=st.sampled_from(sorted(KINDS)),
        begin=moments,
        length=st.sampled_from([0.5, 5.0, 30.0, 200.0]),
        where=st.sampled_from(["", *(bulk.id for bulk in bulks)]),
    )
    return Story(tuple(bulks), tuple(draw(st.lists(trouble, max_size=5))), timeout)


def furnished(story):
    """A world with the bulks and the troubles of a story, every source with a budget. To be made on its loop."""
    world = World()
    for source, adapter in world.adapters.items():
        world.adapters[source] = msgspec.structs.replace(adapter, budget=(Limit(MOST, WINDOW),))
    for bulk in story.bulks:
        ends = Life.of((0, RUNS[bulk.source]), (max(bulk.end, 0.001), bulk.word))
        world.fakes[bulk.source].add(bulk.id, ends)
    for trouble in story.troubles:
        fake = world.fakes[trouble.source]
        fault = msgspec.structs.replace(KINDS[trouble.kind], where=trouble.where)
        world.at(trouble.begin, lambda fake=fake, fault=fault: fake.fail(fault))
        world.at(trouble.begin + trouble.length, lambda fake=fake, fault=fault: fake.heal(fault))
    return world


def play(story):
    """Wait for the bulks of a story, and watch them for a little longer."""

    async def main():
        world = furnished(story)
        refs = [bulk.ref for bulk in story.bulks]
        changes, watched = [], []

        async def note(change):
            changes.append(change)

        async def watch():
            async for change in client.watch(refs, until=None, timeout=story.timeout + 30.0):
                watched.append(change)  # noqa: PERF401 - kept as they come, also when an error ends the watch

        async with world.client() as client, anyio.create_task_group() as group:
            group.start_soon(watch)
            outcome = await client.wait(refs, timeout=story.timeout, on_change=note)
            ended = world.now
        return Run(world, outcome, changes, watched, ended)

    return run_virtually(main, longest=10_000, seed=None)


def words_told(fake, source):
    """Which words the provider itself told of which bulk, and when."""
    told = defaultdict(list)
    for each in fake.told:
        if each.response.status != 200 or each.request.path.endswith("/token"):
            continue
        body = json.loads(each.response.body)
        listed = {"w": lambda body: body.get("bulkProcesses", body), "c": lambda body: body["result"]}
        content = listed.get(source, lambda body: body["content"])(body)
        for record in content if isinstance(content, list) else [content]:
            id = record.get("bulkId", record.get("id"))
            told[id].append((each.moment, record["status"]))
    return told


def checked_verdicts(story, run):
    """An end is a verdict only where the provider told it, and no bulk has two of them."""
    told = {source: words_told(fake, source) for source, fake in run.world.fakes.items()}
    for bulk in story.bulks:
        for changes in (run.changes, run.watched):
            mine = [change.verdict for change in changes if change.ref == bulk.ref and change.verdict]
            assert len(mine) <= 1
            if changes is run.changes:
                assert mine in ([], [run.outcome[bulk.ref].verdict])
            for verdict in mine:
                if verdict.is_end:
                    assert verdict == ENDS[bulk.source][bulk.word]
                    assert bulk.word in {word for _, word in told[bulk.source][bulk.id]}
        result = run.outcome[bulk.ref]
        if result.verdict.is_end:
            assert result.verdict == ENDS[bulk.source][bulk.word]
            assert bulk.word in {word for at, word in told[bulk.source][bulk.id] if at <= run.ended}


def checked_times(run):
    """What is known of a bulk is never older than what was known before."""
    for changes in (run.changes, run.watched):
        last = {}
        for change in changes:
            if change.ref is not None and change.status is not None:
                seen = change.status.observed_at
                assert last.get(change.ref, seen) <= seen
                last[change.ref] = seen


def checked_budget(run):
    """In no window were there more requests than the budget allows."""
    for fake in run.world.fakes.values():
        for first, at in enumerate(fake.arrivals):
            assert len([other for other in fake.arrivals[first:] if other < at + WINDOW]) <= MOST


def could_be_seen(story, bulk):
    """True where a bulk ended in time and its source was well for long enough before the deadline."""
    latest = story.timeout - LEAD
    mine = [trouble for trouble in story.troubles if trouble.source == bulk.source]
    return bulk.end < latest and all(
        trouble.begin >= story.timeout or trouble.begin + trouble.length + SETTLED < latest
        for trouble in mine
    )


def may_have_ended_otherwise(story, bulk):
    """True where a provider said of a bulk that it is not there, or refused the credentials from the start."""
    kinds = {trouble.kind[:3] for trouble in story.troubles if trouble.source == bulk.source}
    return bool(kinds & {"404", "401"})


@settings(max_examples=examples(150))
@given(stories())
def test_whatever_fails_no_wait_tells_an_end_that_the_provider_did_not(story):
    """Nor two ends, nor older news after newer ones, nor too many requests, nor goes on past its deadline."""
    run = play(story)
    assert run.ended <= story.timeout + 1.0
    checked_verdicts(story, run)
    checked_times(run)
    checked_budget(run)
    for bulk in story.bulks:
        result = run.outcome[bulk.ref]
        if may_have_ended_otherwise(story, bulk):
            continue
        assert result.verdict not in (Verdict.NOT_FOUND, Verdict.GONE)
        if could_be_seen(story, bulk):
            assert result.verdict == ENDS[bulk.source][bulk.word]


# --- waits that come and go ---


class Visit(NamedTuple):
    """A wait that begins at `begin` for some of the bulks, and is left after `leaves` seconds if that is set."""

    begin: float
    timeout: float
    which: frozenset
    leaves: float | None


@st.composite
def visits(draw):
    """A story with few troubles, and up to six waits."""
    story = draw(stories())
    number = len(story.bulks)
    visit = st.builds(
        Visit,
        begin=st.floats(0.0, 200.0).map(lambda at: round(at, 3)),
        timeout=st.sampled_from([5.0, 60.0, 300.0]),
        which=st.frozensets(st.integers(0, number - 1), min_size=1),
        leaves=st.none() | st.floats(0.0, 100.0).map(lambda at: round(at, 3)),
    )
    return story._replace(troubles=story.troubles[:1]), draw(st.lists(visit, min_size=1, max_size=6))


def receive(story, visits):
    """Let the waits come and go; each with its outcome and its end, the world, and what went on long after."""

    async def main():
        world = furnished(story)
        found = []

        async def come(visit):
            await anyio.sleep(visit.begin)
            refs = [story.bulks[index].ref for index in sorted(visit.which)]
            with anyio.move_on_after(float("inf") if visit.leaves is None else visit.leaves):
                outcome = await client.wait(refs, timeout=visit.timeout)
                found.append((visit, outcome, world.now))

        async with world.client() as client:
            before = len(asyncio.all_tasks())
            async with anyio.create_task_group() as group:
                for visit in visits:
                    group.start_soon(come, visit)
            await anyio.sleep(200.0)  # a question that nobody awaits may go on with its attempts for so long
            sent = world.requests
            await anyio.sleep(600.0)
            return found, world, (world.requests - sent, len(asyncio.all_tasks()) - before)

    return run_virtually(main, longest=10_000, seed=None)


# The last wait leaves while a list is read that shows the end of a bulk the third one has its verdict for.
_LEFT_WHILE_A_LIST_IS_READ = (
    Story(
        (
            *(Bulk("w", str(number), end, "CANCELLED") for number, end in ((1, 0.0), (2, 0.0), (3, 7.0))),
            Bulk("d", "4", 0.0, "completed"),
            Bulk("d", "5", 0.0, "completed"),
        ),
        (),
        15.0,
    ),
    [
        Visit(0.0, 5.0, frozenset({0}), None),
        Visit(7.0, 5.0, frozenset({0, 4}), None),
        Visit(0.0, 60.0, frozenset({0, 2, 4}), None),
        Visit(6.0, 5.0, frozenset(range(5)), 0.0),
    ],
)


@example(_LEFT_WHILE_A_LIST_IS_READ)
@settings(max_examples=examples(80))
@given(visits())
def test_waits_that_come_and_go_do_not_disturb_each_other(given_visits):
    """Each ends by its own deadline with the right verdicts, and when the last has gone nothing goes on."""
    story, all_visits = given_visits
    found, world, after = receive(story, all_visits)
    assert after == (0, 0)
    checked_budget(Run(world, None, [], [], 0.0))
    for visit, outcome, ended in found:
        deadline = visit.begin + visit.timeout
        assert ended <= deadline + 1.0
        for index in visit.which:
            bulk = story.bulks[index]
            verdict = outcome[bulk.ref].verdict
            if verdict.is_end:
                assert verdict == ENDS[bulk.source][bulk.word]
                assert bulk.end <= ended
            if may_have_ended_otherwise(story, bulk):
                continue
            assert verdict not in (Verdict.NOT_FOUND, Verdict.GONE)
            if could_be_seen(story._replace(timeout=deadline), bulk):
                assert verdict == ENDS[bulk.source][bulk.word]


# --- a watch of everything ---


@settings(max_examples=examples(80))
@given(stories(), st.lists(st.floats(0.0, 300.0).map(lambda at: round(at, 3)), min_size=6, max_size=6))
def test_a_watch_of_everything_misses_no_bulk_that_ran_for_long_enough(story, births):
    """Two rounds of looking for new ones, in which its source was well; and it tells no end that is none."""
    bulks = [
        (bulk, born, born + bulk.end)
        for bulk, born in zip(story.bulks, births, strict=False)
        if bulk.source != "c"
    ]
    troubles = [trouble for trouble in story.troubles if trouble.source != "c"]
    last = max([0.0, *(end for _, _, end in bulks), *(each.begin + each.length for each in troubles)])

    async def main():
        world = furnished(Story((), tuple(troubles), 0.0))
        for bulk, born, _ in bulks:
            ends = Life.of((0, RUNS[bulk.source]), (max(bulk.end, 0.001), bulk.word))
            world.at(born, lambda bulk=bulk, ends=ends: world.fakes[bulk.source].add(bulk.id, ends))
        changes = []
        async with world.client() as client, client.watch(timeout=last + 3 * SETTLED) as watch:
            async for change in watch:
                changes.append(change)  # noqa: PERF401 - as they come
            return Run(world, watch.outcome(), changes, [], world.now)

    run = run_virtually(main, longest=10_000, seed=None)
    checked_times(run)
    checked_budget(run)
    found = run.outcome.verdicts
    for bulk, born, end in bulks:
        told = [change.verdict for change in run.changes if change.ref == bulk.ref and change.verdict]
        assert len(told) <= 1
        assert all(verdict == ENDS[bulk.source][bulk.word] for verdict in told if verdict.is_end)
        mine = [trouble for trouble in troubles if trouble.source == bulk.source]
        if {trouble.kind[:3] for trouble in mine} & {"404", "401"}:
            continue
        well = all(
            trouble.begin > end or trouble.begin + trouble.length + SETTLED < max(born, end - 2 * SETTLED)
            for trouble in mine
        )
        if well and end - born > 2 * SETTLED:
            assert bulk.ref in found
        if bulk.ref in found:
            assert found[bulk.ref] == ENDS[bulk.source][bulk.word]


# --- single faults, each with what it must not do ---


def lasting(source, id, end=60.0):
    """A bulk that runs from the beginning and succeeds at `end`."""
    word = next(iter(ENDS[source]))
    return Bulk(source, id, end, word)


def one_wait(bulks, prepare, **options):
    """One wait for `bulks`; the outcome, its moment, the world."""

    async def main():
        world = World()
        for bulk in bulks:
            world.fakes[bulk.source].add(bulk.id, Life.of((0, RUNS[bulk.source]), (bulk.end, bulk.word)))
        prepare(world)
        async with world.client() as client:
            outcome = await client.wait([bulk.ref for bulk in bulks], **options)
            return outcome, world.now, world

    return run_virtually(main, longest=10_000)


def ill(world, source, begin, end, fault):
    """Let `fault` last from `begin` to `end`."""
    fake = world.fakes[source]
    world.at(begin, lambda: fake.fail(fault))
    world.at(end, lambda: fake.heal(fault))


def test_a_maintenance_page_at_a_token_endpoint_is_no_refusal_of_credentials():
    """It says nothing about them, so the wait goes on as through any other outage."""

    def prepare(world):
        page = Fault(status=200, body=b"<html>maintenance</html>", where="/oauth2/token", times=None)
        ill(world, "d", 0.0, 30.0, page)

    outcome, moment, _ = one_wait([lasting("d", "b1")], prepare, timeout=600)
    assert outcome.succeeded
    assert moment >= 60


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("pause", [30, 200, 1_500])
def test_a_pause_that_a_provider_asks_for_is_kept(status, pause):
    """Whether it says that it was asked too often, or that it is not available; however long it is."""

    def prepare(world):
        fault = Fault(status=status, headers={"Retry-After": str(pause)}, times=1)
        world.at(30.0, lambda: world.weavr.fail(fault))

    _, _, world = one_wait([lasting("w", "1", 5_000.0)], prepare, timeout=2_000, blind_after=2_000)
    refused, *later = [at for at in world.weavr.arrivals if at >= 30.0]
    assert later[0] - refused >= pause


def test_a_bulk_that_could_not_be_seen_at_all_says_why():
    """Also when the first question has not come to its end with the wait."""
    off = Fault(drop=True, times=None)
    outcome, _, _ = one_wait(
        [lasting("c", "0" * 32)], lambda world: ill(world, "c", 0.0, 1_000.0, off), timeout=0.5
    )
    (result,) = outcome
    assert result.verdict is Verdict.BLIND
    assert result.failure is not None


@pytest.mark.parametrize("fault", [Fault(delay=1_000.0, times=None), Fault(drop=True, times=None)])
@pytest.mark.parametrize("source", ["w", "c", "d"])
def test_a_status_that_is_old_when_a_wait_ends_is_told_to_be_stale(fault, source):
    """A provider has said nothing for most of a minute: the last status is not how the bulk stands."""
    outcome, _, _ = one_wait(
        [lasting(source, "1" * 32, 5_000.0)],
        lambda world: ill(world, source, 10.0, 5_000.0, msgspec.structs.replace(fault)),
        timeout=60,
    )
    (result,) = outcome
    assert result.verdict is Verdict.PENDING
    assert result.stale_since is not None
    assert result.failure is not None


def beside(follow, begin, prepare, **options):
    """A wait that begins at `begin`, beside whatever `follow` does with the client all the time."""

    async def main():
        world = World()
        prepare(world)
        async with world.client("c") as client, anyio.create_task_group() as group:
            group.start_soon(follow, client)
            await anyio.sleep(begin)
            outcome = await client.wait("c:" + "1" * 32, **options)
            group.cancel_scope.cancel()
        return outcome

    return run_virtually(main, longest=10_000)


async def follow_for_long(client):
    """Follow a bulk for as long as it takes."""
    async for _ in client.watch("c:" + "1" * 32, until=None, blind_after=100_000.0):
        pass


async def follow_not_at_all(client):
    """Nobody else is there."""
    del client


@pytest.mark.parametrize("follow", [follow_not_at_all, follow_for_long])
def test_a_wait_is_as_patient_with_an_outage_as_if_it_were_alone(follow):
    """Its `blind_after` begins with it, and not with another watch of the bulk, long ago."""

    def prepare(world):
        world.cloudflare.add("1" * 32, Life.of((0, "running"), (100, "completed")))
        ill(world, "c", 0.0, 720.0, Fault(drop=True, times=None))

    assert beside(follow, 650.0, prepare, timeout=900).succeeded


@pytest.mark.parametrize("follow", [follow_not_at_all, follow_for_long])
def test_a_wait_is_as_patient_with_an_unknown_bulk_as_if_it_were_alone(follow):
    """Its `grace` begins with it."""

    def prepare(world):
        running = Life.of((0, "running"), (100, "completed"))
        world.at(660.0, lambda: world.cloudflare.add("1" * 32, running))

    assert beside(follow, 655.0, prepare, timeout=900).succeeded
