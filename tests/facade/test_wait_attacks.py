"""Waits and watches against providers, lists, clocks and adapters that are out to break them, on virtual time."""

import asyncio
import json
import threading
from collections import Counter
from datetime import timedelta
from typing import ClassVar

import anyio
import httpx
import pytest

from bulkstatus import AsyncClient, ConfigError, Policy, PollPolicy, State, Verdict, _times
from bulkstatus.adapter import BulkStatus, Call, Counts, Limit, Page, Remaining, Request, status_error
from bulkstatus.testing import Life
from support import Plain
from virtual import World, current_job, loop_now, run_virtually

SUCCEEDED, PENDING, BLIND = Verdict.SUCCEEDED, Verdict.PENDING, Verdict.BLIND
ROWS_PER_PAGE = 100
OUTAGE, UNKNOWN, GARBLED = (503, b"{}"), (404, b"{}"), (200, b"garbage")
# More than what is read on the loop itself.
LARGE = 600_000


def status(response, record):
    """A record, or a row of the list, as a status."""
    return BulkStatus(
        source=response.source,
        provider="plain",
        id=record["id"],
        state=State(record["state"]),
        native_state=record["state"],
        provisional=record.get("provisional", False),
        observed_at=response.received_at,
    )


class Single(Plain, frozen=True, kw_only=True):
    """A provider that is asked for each bulk by its id."""

    base_url: str = "https://lab.test"
    budget: tuple[Limit, ...] | None = ()

    def call(self, id, read):
        """The call for the record of a bulk, read by a function of the test's."""
        return Call(Request.to(self.base_url, "bulks", id), read)

    def status(self, id):
        def read(response):
            if response.status != 200:
                raise status_error(response, own=True)
            return status(response, json.loads(response.body))

        return self.call(id, read)


class Listed(Single, frozen=True, kw_only=True):
    """A provider with a list of all its bulks, paged by offset."""

    rows_per_page: ClassVar[int | None] = ROWS_PER_PAGE

    def page(self, offset):
        """The page that begins at `offset`."""

        def read(response):
            if response.status != 200:
                raise status_error(response, own=True)
            found = json.loads(response.body)
            rows = tuple(status(response, row) for row in found["rows"])
            return Page(items=rows, at=self.page, offset=offset, received=len(rows), total=found["total"])

        return Call(Request.to(self.base_url, "list", query={"offset": offset}), read)

    def listing(self, query):
        return (self.page(0),)


class Confirming(Listed, frozen=True, kw_only=True):
    """A provider whose rows leave something open."""

    def confirm(self, row):
        return self.status(row.id) if row.provisional else None


class Server(httpx.AsyncBaseTransport):
    """Answers with what `one` gives for an id and `many` for an offset at that moment: a body, or status and body."""

    def __init__(self, one, many=None, *, delay=0.0):
        self.one, self.many, self.delay = one, many, delay
        self.log = []

    async def handle_async_request(self, request):
        moment, path = loop_now().time(), request.url.path
        self.log.append((moment, path))
        id = path.removeprefix("/bulks/")
        found = self.many(int(request.url.params["offset"]), moment) if id == path else self.one(id, moment)
        await asyncio.sleep(self.delay)
        code, body = found if isinstance(found, tuple) else (200, found)
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return httpx.Response(code, content=content, headers={"content-type": "application/json"})

    def asked(self, id):
        """How often a bulk's own record was asked for."""
        return sum(path == f"/bulks/{id}" for _, path in self.log)


def in_state(word):
    """Every bulk, always in that state."""
    return lambda bulk, moment: {"id": bulk, "state": word}


def ends_at(end):
    """Every bulk runs, and succeeds at `end`."""
    return lambda bulk, moment: {"id": bulk, "state": "running" if moment < end else "succeeded"}


def listed(number, row, size=ROWS_PER_PAGE):
    """A list of the bulks 0, 1, ..., each as `row` tells it."""

    def many(offset, moment):
        rows = [row(str(id), moment) for id in range(offset, min(number, offset + size))]
        return {"total": number, "rows": rows}

    return many


def refs(number):
    """The references of so many bulks."""
    return [f"l:{id}" for id in range(number)]


def verdicts(outcome):
    """How many bulks have which verdict."""
    return Counter(outcome.verdicts.values())


def told(outcome):
    """How many bulks were seen at all."""
    return sum(result.status is not None for result in outcome)


# --- long lists, and budgets that are small for them ---


@pytest.mark.parametrize("limit", [Limit(6, 50), Limit(6, 60), Limit(10, 120)], ids=str)
@pytest.mark.parametrize(
    ("word", "verdict"),
    [("succeeded", SUCCEEDED), pytest.param("running", PENDING, marks=pytest.mark.unrecorded)],
)
def test_a_list_that_takes_longer_than_blind_after_makes_nobody_blind(word, verdict, limit):
    """While its pages come, be it slowly for want of budget, the bulks on later pages are not blind, and get seen."""

    async def main():
        server = Server(in_state(word), listed(3_000, in_state(word)), delay=0.05)
        async with AsyncClient({"l": Listed(budget=(limit,))}, transport=server) as client:
            return await client.wait(refs(3_000), timeout=2_000, blind_after=100)

    outcome = run_virtually(main)
    assert verdicts(outcome) == {verdict: 3_000}
    assert told(outcome) == 3_000


def test_rows_of_pages_that_were_read_are_told_before_the_list_ends():
    """At a deadline in the middle of a long list those that were read have their ends, and they were told at once."""

    async def main():
        moments = {}

        async def note(change):
            if change.verdict is SUCCEEDED:
                moments[change.ref] = loop_now().time()

        server = Server(in_state("succeeded"), listed(3_000, in_state("succeeded")), delay=0.5)
        async with AsyncClient({"l": Listed()}, transport=server) as client:
            outcome = await client.wait(refs(3_000), timeout=10, on_change=note)
            return outcome, moments

    outcome, moments = run_virtually(main)
    assert verdicts(outcome)[SUCCEEDED] == len(moments) > 1_000
    assert max(moments[ref] for ref in refs(ROWS_PER_PAGE)) < 2
    assert max(moments.values()) > 8


@pytest.mark.parametrize(("number", "limit"), [(100, Limit(10, 120)), (200, Limit(10, 60))])
@pytest.mark.unrecorded
def test_our_own_budget_makes_no_bulk_blind(number, limit):
    """A bulk that has to wait for its turn longer than blind_after is pending, and nothing is unobservable."""
    kinds = Counter()

    async def main():
        server = Server(in_state("running"))
        async with AsyncClient({"l": Single(budget=(limit,))}, transport=server) as client:
            outcome = await client.wait(
                refs(number), timeout=4_000, on_change=lambda change: kinds.update([change.kind])
            )
            return outcome, {path for _, path in server.log}

    outcome, asked = run_virtually(main)
    assert verdicts(outcome) == {PENDING: number}
    assert len(asked) == number
    assert not kinds["unobservable"]


def test_a_long_list_ends_when_nobody_wants_it_any_more():
    """When the wait that began it is over, it costs no more requests, and who comes next has the budget."""

    async def main():
        many = listed(50_000, in_state("running"))
        server = Server(in_state("succeeded"), many, delay=0.2)
        async with AsyncClient({"l": Listed(budget=(Limit(60, 60),))}, transport=server) as client:
            await client.wait(refs(50_000)[::10], timeout=5)
            await anyio.sleep(1)
            before = len(server.log)
            await anyio.sleep(600)
            idle = len(server.log) - before
            began = loop_now().time()
            outcome = await client.wait(["l:5"], timeout=300)
            return idle, outcome.verdicts, loop_now().time() - began

    idle, found, took = run_virtually(main)
    assert idle <= 1
    assert found == {"l:5": SUCCEEDED}
    assert took < 60


@pytest.mark.parametrize("everything", [False, True])
def test_a_long_list_does_not_keep_others_waiting(everything):
    """While one watches, or waits for, all bulks of a list of 500 pages, another sees its bulk's end in a minute or two."""

    async def main():
        many = listed(50_000, in_state("running"))
        server = Server(
            lambda bulk, moment: in_state("succeeded" if bulk == "5" else "running")(bulk, moment), many
        )
        server.delay = 0.2
        async with AsyncClient({"l": Listed(budget=(Limit(60, 60),))}, transport=server) as client:
            watch = client.watch(sources=["l"]) if everything else client.watch(refs(50_000)[10::10])
            async with watch:
                await anyio.sleep(1)
                began = loop_now().time()
                outcome = await client.wait(["l:5"], timeout=900)
                return outcome.verdicts, loop_now().time() - began

    found, took = run_virtually(main)
    assert found == {"l:5": SUCCEEDED}
    assert took < 120


# --- lists that fail alone ---


@pytest.mark.parametrize("code", [500, 503, 504])
def test_bulks_on_pages_that_fail_are_asked_for_by_their_ids(code):
    """A list that fails from some page on costs nobody a verdict."""
    many = listed(600, in_state("succeeded"))

    def broken(offset, moment):
        return (code, b"{}") if offset >= 300 else many(offset, moment)

    async def main():
        server = Server(in_state("succeeded"), broken, delay=0.05)
        async with AsyncClient({"l": Listed()}, transport=server) as client:
            return await client.wait(refs(600), timeout=3_600)

    assert verdicts(run_virtually(main)) == {SUCCEEDED: 600}


@pytest.mark.parametrize("code", [400, 403, 404, 500, 502, 503])
def test_bulks_of_a_list_that_always_fails_are_asked_for_by_their_ids(code):
    """A list that is out of order, or out of the credentials' scope, costs nobody a verdict."""

    async def main():
        server = Server(ends_at(100), lambda offset, moment: (code, b"{}"), delay=0.05)
        async with AsyncClient({"l": Listed()}, transport=server) as client:
            return await client.wait(refs(20), timeout=3_600)

    assert verdicts(run_virtually(main)) == {SUCCEEDED: 20}


# --- watches that go on ---


async def states_of(watch, until):
    """The states that `watch` tells until that moment, one after another."""
    found = []
    while (left := until - loop_now().time()) > 0:
        found += [change.status.state for change in await watch.changes(left) if change.kind == "state"]
    return found


@pytest.mark.parametrize("trouble", [OUTAGE, UNKNOWN, GARBLED])
@pytest.mark.parametrize("until", [150, 1_000, 1_500])
@pytest.mark.unrecorded
def test_an_endless_watch_sees_an_end_after_trouble(trouble, until):
    """However long a bulk could not be seen, or was unknown: the watch goes on, and sees it when it is back."""

    def one(id, moment):
        return trouble if 100 < moment < until else ends_at(3_000)(id, moment)

    async def main():
        server = Server(one)
        async with (
            AsyncClient({"l": Single()}, transport=server) as client,
            client.watch(["l:1"], until=None) as watch,
        ):
            return await states_of(watch, 6_000)

    assert run_virtually(main) == [State.RUNNING, State.SUCCEEDED]


@pytest.mark.parametrize("trouble", [OUTAGE, UNKNOWN, GARBLED])
def test_an_endless_watch_of_an_ended_bulk_survives_a_bad_look(trouble):
    """It looks every ten minutes whether the bulk has moved again, also after a look that failed."""

    def one(id, moment):
        if 600 < moment < 660:
            return trouble
        return in_state("running" if moment < 20 or moment > 3_000 else "succeeded")(id, moment)

    async def main():
        server = Server(one)
        async with (
            AsyncClient({"l": Single()}, transport=server) as client,
            client.watch(["l:1"], until=None) as watch,
        ):
            found = await states_of(watch, 6_000)
            return found, any(600 < moment < 660 for moment, _ in server.log)

    found, was_bad = run_virtually(main)
    assert was_bad
    assert found == [State.RUNNING, State.SUCCEEDED, State.RUNNING]


# --- clocks, and answers that meet ---


@pytest.mark.row("F63")
@pytest.mark.parametrize("by", [timedelta(hours=-1), timedelta(days=-1), timedelta(days=1)])
@pytest.mark.parametrize(("ends", "verdict"), [(60, SUCCEEDED), (10_000, PENDING)])
def test_a_wall_clock_that_is_set_changes_no_duration(by, ends, verdict):
    """After 20 s: a bulk that ends is seen as soon as otherwise, and one that goes on is waited for as long."""

    async def main():
        virtual = _times.utc_now

        def set_anew():
            return virtual() + by * (loop_now().time() > 20)

        server = Server(ends_at(ends))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("bulkstatus._times.utc_now", set_anew)
            async with AsyncClient({"l": Single()}, transport=server) as client:
                outcome = await client.wait(["l:1"], timeout=300, blind_after=60)
                return outcome.verdicts, loop_now().time(), len(server.log)

    found, ended, asked = run_virtually(main)
    assert found == {"l:1": verdict}
    assert 60 <= ended < 90 if verdict is SUCCEEDED else 300 <= ended < 301
    assert 3 < asked < 100


def blip(begin, end, join):
    """Wait for a bulk that is unknown from `begin` to `end`; at `join` another wait joins. Verdicts and looks."""

    async def main():
        server = Server(
            lambda bulk, moment: UNKNOWN if begin < moment < end else in_state("running")(bulk, moment),
            delay=0.01,
        )
        async with AsyncClient({"l": Single()}, transport=server) as client:
            found = {}

            async def wait(name, after, timeout):
                await anyio.sleep(after)
                found[name] = (await client.wait(["l:1"], timeout=timeout))["l:1"].verdict

            async with anyio.create_task_group() as group:
                group.start_soon(wait, "first", 0, 100)
                if join:
                    group.start_soon(wait, "second", join, 20)
            return found, [moment for moment, _ in server.log]

    return run_virtually(main)


@pytest.mark.parametrize("after", [0.2, 0.8, 1.5])
def test_two_waits_that_meet_one_blip_do_not_take_a_bulk_for_gone(after):
    """That a second wait asks at once makes no second opinion of what is one blip of 2 s."""
    _, looks = blip(0, 0, 0)
    moment = next(look for look in looks if look > 30)
    found, with_blip = blip(moment - 0.1, moment + 2, moment + after)
    assert sum(moment - 0.1 < look < moment + 2 for look in with_blip) > 1
    assert found == {"first": PENDING, "second": PENDING}


def test_one_bad_look_after_a_long_interval_is_no_blindness():
    """A bulk that is looked at less often than blind_after says is not blind for one garbled answer."""
    bad = []

    def one(id, moment):
        if moment > 2_000 and not bad:
            bad.append(moment)
            return GARBLED
        return ends_at(3_000)(id, moment)

    async def main():
        async with AsyncClient({"l": Single()}, transport=Server(one)) as client:
            return (await client.wait(["l:1"], timeout=5_000, blind_after=30)).verdicts

    assert run_virtually(main) == {"l:1": SUCCEEDED}
    assert bad


# --- functions and adapters of others ---


def test_slow_functions_of_many_waits_keep_no_answer_from_being_read():
    """A record so large that it is read on a thread is read although 45 `on_change` sit on threads of theirs."""
    released = threading.Event()

    def one(id, moment):
        big = {"id": id, "state": "succeeded", "pad": "x" * LARGE}
        return big if id == "big" else in_state("running")(id, moment)

    async def main():
        server, loop = Server(one), loop_now()
        async with (
            AsyncClient({"l": Single()}, transport=server) as client,
            anyio.create_task_group() as group,
        ):
            for number in range(45):
                group.start_soon(slow_wait, client, f"l:b{number}", loop)
            await anyio.sleep(2)
            began = loop.time()
            outcome = await client.wait(["l:big"], timeout=8)
            return outcome.verdicts, loop.time() - began

    async def slow_wait(client, ref, loop):
        await client.wait([ref], timeout=30, on_change=lambda change: sit(loop))

    def sit(loop):
        # Not `rest`, which gives up after a while of real time: so would those that keep others from a thread.
        loop.call_soon_threadsafe(loop.begin_rest, current_job.get(), 25, released)
        released.wait(60)

    found, took = run_virtually(main)
    assert found == {"l:big": SUCCEEDED}
    assert took < 1


class ReadsNone(Listed, frozen=True, kw_only=True):
    """Reads nothing out of any answer."""

    def status(self, id):
        return self.call(id, lambda response: None)

    def page(self, offset):
        return Call(Request.to(self.base_url, "list", query={"offset": offset}), lambda response: None)


class Exits(Single, frozen=True, kw_only=True):
    """Ends the program when it is to make a call."""

    def status(self, id):
        raise SystemExit(3)


class ExitsOnReading(Single, frozen=True, kw_only=True):
    """Ends the program when it is to read an answer."""

    def status(self, id):
        def read(response):
            raise SystemExit(3)

        return self.call(id, read)


class Misreads(Single, frozen=True, kw_only=True):
    """Reads every answer as that of another bulk, which has ended."""

    def status(self, id):
        return self.call(id, lambda response: status(response, {"id": "another", "state": "succeeded"}))


@pytest.mark.parametrize("kind", [ReadsNone, Exits, ExitsOnReading, Misreads])
@pytest.mark.parametrize("number", [1, 5])
def test_a_faulty_adapter_hurts_its_own_bulks_alone(kind, number):
    """They are blind, for a protocol error of the adapter's; a bulk of another source has its end."""

    async def main():
        server = Server(ends_at(30), listed(5, ends_at(30)))
        adapters = {"l": kind(), "ok": Single(base_url="https://ok.test")}
        async with AsyncClient(adapters, transport=server) as client:
            return await client.wait([*refs(number), "ok:1"], timeout=60)

    outcome = run_virtually(main)
    assert outcome["ok:1"].verdict is SUCCEEDED
    for ref in refs(number):
        assert outcome[ref].verdict is BLIND
        assert outcome[ref].status is None
        assert outcome[ref].failure is not None
        assert (outcome[ref].failure.kind, outcome[ref].failure.reason) == ("protocol", "adapter")


NONSENSE = {
    "none left": Remaining(None, 10, 10.0),
    "for a time that is no number": Remaining(5, 10, float("nan")),
    "for ever": Remaining(-5, 10, 1e300),
    "for a word": Remaining(5, 10.5, "x"),
    "no number left": Remaining(float("nan"), 10, 10.0),
    "of no number": Remaining(0, float("nan"), 10.0),
    "of too many": Remaining(0, 10**400, 10.0),
    "far below none": Remaining(-(10**400), 10, 10.0),
    "a text": "nonsense",
    "an error": KeyError("boom"),
}


@pytest.mark.parametrize("name", NONSENSE)
def test_nonsense_about_what_is_left_of_a_limit_disturbs_no_other_source(name):
    """The answer it came with counts all the same, and the wait for other sources goes on."""
    nonsense = NONSENSE[name]

    class Metered(Single, frozen=True, kw_only=True):
        def remaining(self, response):
            if isinstance(nonsense, Exception):
                raise nonsense
            return nonsense

    async def main():
        adapters = {"l": Metered(), "ok": Single(base_url="https://ok.test")}
        async with AsyncClient(adapters, transport=Server(ends_at(30))) as client:
            return await client.wait(["l:1", "ok:1"], timeout=120)

    outcome = run_virtually(main)
    assert outcome["ok:1"].verdict is SUCCEEDED
    assert outcome["l:1"].status is not None
    assert outcome["l:1"].verdict in (SUCCEEDED, PENDING)


@pytest.mark.parametrize("field", ["base", "floor", "ceiling", "jitter"])
@pytest.mark.parametrize("value", [10**400, float("inf"), float("nan")], ids=["huge", "inf", "nan"])
def test_a_policy_beyond_what_a_clock_can_count_is_refused(field, value):
    """A ConfigError names the field; no wait begins that could not end."""
    with pytest.raises(ConfigError, match=field):
        PollPolicy(**{field: value})


@pytest.mark.parametrize("argument", ["grace", "blind_after", "timeout"])
@pytest.mark.parametrize("value", [10**400, float("inf"), float("nan")], ids=["huge", "inf", "nan"])
def test_a_time_beyond_what_a_clock_can_count_is_refused(argument, value):
    """A ConfigError names the argument, before anything is sent."""

    async def main():
        server = Server(in_state("running"))
        async with AsyncClient({"l": Single()}, transport=server) as client:
            with pytest.raises(ConfigError, match=argument):
                await client.wait(["l:1"], **{argument: value})
        return server.log

    assert run_virtually(main) == []


# --- what can be read of a watch ---


class Slow(Single, frozen=True, kw_only=True):
    """A bulk that has done 1 of 100,000 operations in 60 days."""

    def status(self, id):
        def read(response):
            return BulkStatus(
                source=response.source,
                provider="plain",
                id=id,
                state=State.RUNNING,
                counts=Counts(total=100_000, succeeded=1),
                started_at=response.received_at - timedelta(days=60),
                observed_at=response.received_at,
            )

        return self.call(id, read)


def test_a_bulk_that_will_take_ten_thousand_years_can_be_viewed():
    """No end is expected of it that a calendar could not hold."""

    async def main():
        async with (
            AsyncClient({"l": Slow()}, transport=Server(in_state("running"))) as client,
            client.watch(["l:1"]) as watch,
        ):
            await watch.changes()
            return watch.view().bulks[0]

    bulk = run_virtually(main)
    assert bulk.status is not None
    assert bulk.expected_end is None


def test_a_watch_that_was_over_keeps_what_it_has_when_the_client_is_closed():
    """Its changes can be read, and its outcome stays, with no error for a client that closed later."""

    async def main():
        async with AsyncClient({"l": Single()}, transport=Server(in_state("succeeded"))) as client:
            watch = client.watch(["l:1"])
            await anyio.sleep(3)
            assert watch.is_over
        return [change.verdict for change in await watch.changes()], watch.outcome().verdicts

    assert run_virtually(main) == ([SUCCEEDED], {"l:1": SUCCEEDED})


# --- in the long run ---


def leftovers(client):
    """What the desk of `l` still keeps, by name."""
    desk = client._follower.desk("l")
    kept = {
        "tracks": desk._tracks,
        "followers": desk._followers,
        "subscriptions": desk._subscriptions,
        "asked": desk._asked,
        "suspects": desk._suspects,
        "left open": desk._left_open,
        "troubled": desk._troubled,
        "turned": desk._turned,
        "plan": desk.plan._items,
        "left": desk.plan._left,
        "ripe": desk.plan._ripe,
        "waits": client._follower._subscriptions,
    }
    return {name: len(each) for name, each in kept.items() if each}


@pytest.mark.parametrize("kind", [Single, Listed])
@pytest.mark.parametrize(
    "trouble",
    [None, *(pytest.param(each, marks=pytest.mark.unrecorded) for each in (UNKNOWN, GARBLED, OUTAGE))],
)
def test_waits_that_come_and_go_leave_nothing_behind(kind, trouble):
    """Whether their answers come after they have left, and whether these are good or bad."""

    def one(id, moment):
        return trouble if trouble and int(id) % 2 else in_state("running")(id, moment)

    async def main():
        server = Server(one, listed(300, in_state("running")), delay=0.2)
        policy = Policy(attempts=1)
        async with AsyncClient({"l": kind()}, transport=server, policy=policy) as client:
            for number in range(500):
                asked = [f"l:{number + 1_000 * each}" for each in range(1 + number % 3)]
                await client.wait(asked, timeout=0.1 if number % 5 else 0.5)
            await anyio.sleep(60)
            return leftovers(client)

    assert run_virtually(main) == {}


def test_ended_bulks_whose_rows_leave_something_open_are_confirmed_once():
    """A list read for those that go on asks for none of the others' records again."""

    def row(id, moment):
        ended = int(id) >= 5
        return {"id": id, "state": "succeeded" if ended else "running", "provisional": ended}

    async def main():
        server = Server(
            lambda bulk, moment: {**row(bulk, moment), "provisional": False}, listed(105, row, 200)
        )
        server.delay = 0.05
        async with (
            AsyncClient({"l": Confirming()}, transport=server) as client,
            client.watch(refs(105), until=None) as watch,
        ):
            found = await states_of(watch, 3_600)
            return found, Counter(server.asked(id) for id in range(5, 105))

    found, asked = run_virtually(main)
    assert Counter(found) == {State.RUNNING: 5, State.SUCCEEDED: 100}
    assert asked == {1: 100}


@pytest.mark.parametrize("number", [6, 60])
@pytest.mark.unrecorded
def test_one_bulk_that_always_fails_is_not_taken_for_its_source(number):
    """It alone is blind; its source is told to be down and up again once at most, and it is not asked for all the time."""
    kinds = Counter()

    async def main():
        server = Server(
            lambda bulk, moment: OUTAGE if bulk == "0" else in_state("running")(bulk, moment), delay=0.1
        )
        async with AsyncClient({"l": Single()}, transport=server, policy=Policy(attempts=1)) as client:
            outcome = await client.wait(
                refs(number), timeout=900, on_change=lambda change: kinds.update([(change.kind, change.ref)])
            )
            return outcome, server.asked(0), server.asked(1)

    outcome, poison, healthy = run_virtually(main)
    assert outcome["l:0"].verdict is BLIND
    assert verdicts(outcome) == {BLIND: 1, PENDING: number - 1}
    assert kinds["unobservable", None] <= 1
    assert poison <= 2 * healthy


def test_a_question_that_is_throttled_beyond_the_deadline_ends_its_wait_at_once():
    """It is pending: the provider is not out of sight. The failure says why, and which source it is."""

    async def main():
        world = World(limits=True)
        world.weavr.add("1", Life.of((0, "RUNNING")))
        # Others have used up the window.
        world.weavr._window, world.weavr._in_window = world.clock(), 100
        async with world.client("w") as client:
            return (await client.wait(["w:1"], timeout=20))["w:1"], world.now

    result, ended = run_virtually(main)
    assert result.verdict is PENDING
    assert (result.failure.kind, result.failure.source) == ("rate_limited", "w")
    assert ended < 5
