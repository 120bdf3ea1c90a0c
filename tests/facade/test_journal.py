"""Clients with a journal: what is answered from it, what is asked again, what is listed, and what becomes of the forgotten."""

import gc
import subprocess
import sys
import textwrap
import threading
import time
import warnings
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import anyio
import httpx
import msgspec
import pytest

from bulkstatus import (
    AsyncClient,
    Client,
    ConfigError,
    Journal,
    JournalError,
    NotFound,
    ProtocolError,
    State,
    Verdict,
)
from bulkstatus._adapter import realm
from bulkstatus._record import Place, Sighting
from bulkstatus._times import Stamp
from bulkstatus.adapter import BulkStatus
from bulkstatus.testing import FakeResponse, FakeTransport, Fault, Life, ManualClock, serve
from bulkstatus_cloudflare.fake import CloudflareFake
from bulkstatus_druid.fake import DruidFake
from bulkstatus_weavr.fake import WeavrFake
from journal.looks import rows
from support import NOT_THERE, Caseless, Scripted

WEAVR, DRUID, CLOUDFLARE = (
    "https://weavr.test/multi",
    "https://druid.test",
    "https://cloudflare.test/client/v4",
)
CF = ["0" * 31 + digit for digit in "0123456789"]


class World:
    """The three providers, the library and its journal, all on one clock that is moved by hand."""

    def __init__(self, folder: Path) -> None:
        self.clock = ManualClock(time.time())
        self.weavr = WeavrFake(clock=self.clock)
        self.druid = DruidFake(clock=self.clock)
        self.cloudflare = CloudflareFake(clock=self.clock)
        self.fakes = {"w": self.weavr, "d": self.druid, "c": self.cloudflare}
        self.adapters = {
            "w": self.weavr.adapter(WEAVR),
            "d": self.druid.adapter(DRUID),
            "c": self.cloudflare.adapter(CLOUDFLARE),
        }
        self.transport = FakeTransport({WEAVR: self.weavr, DRUID: self.druid, CLOUDFLARE: self.cloudflare})
        self.path = folder / "state" / "journal.db"

    def wall(self) -> datetime:
        """The moment."""
        return datetime.fromtimestamp(self.clock(), UTC)

    def stamp(self) -> Stamp:
        """The moment, as the journal puts it in order."""
        return Stamp("a-boot", self.clock())

    def client(self, *sources: str, kind=Client, **adapters):
        """A client of the sources named, or of all; some adapters may be other ones. It is on the journal."""
        chosen = {name: self.adapters[name] for name in sources or self.adapters} | adapters
        return kind(chosen, transport=self.transport, journal=self.path)

    def place(self, source: str) -> Place:
        """Where the bulks of a source are."""
        adapter = self.adapters[source]
        return Place(source, adapter.provider, realm(adapter), "{}")

    def bare(self, *sources: str) -> Client:
        """A client without a journal."""
        chosen = {name: self.adapters[name] for name in sources or self.adapters}
        return Client(chosen, transport=self.transport)

    def asked(self) -> list[str]:
        """The paths that were asked for since this was called last, tokens left out."""
        found = [request.path for fake in self.fakes.values() for request in fake.requests]
        for fake in self.fakes.values():
            fake.requests.clear()
        return [
            path.rpartition("/multi/")[2].rpartition("bulk_operations/")[2]
            for path in found
            if "oauth" not in path
        ]

    def account(self, **settings) -> tuple[CloudflareFake, object]:
        """Another Cloudflare at the same address, and an adapter for it."""
        fake = CloudflareFake(clock=self.clock, **settings)
        self.transport = FakeTransport({WEAVR: self.weavr, DRUID: self.druid, CLOUDFLARE: fake})
        self.fakes["c"] = fake
        return fake, fake.adapter(CLOUDFLARE)


@pytest.fixture
def world(monkeypatch, tmp_path):
    """Providers without bulks, and no journal yet."""
    world = World(tmp_path)
    monkeypatch.setattr("bulkstatus._times.utc_now", world.wall)
    monkeypatch.setattr(Stamp, "take", world.stamp)
    return world


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """A busy disk is waited for: how long an answer waits for it is of no interest here. Retries last no time."""
    monkeypatch.setattr("bulkstatus._recorder._MOMENT", 30.0)
    monkeypatch.setattr("bulkstatus._recorder._READING", 30.0)
    monkeypatch.setattr("bulkstatus._retry._BASE", 0.001)


def refs_of(report):
    """The refs of a report's statuses, in order."""
    return [str(status.ref) for status in report]


def kinds(steps):
    """What kind of steps, in order."""
    return [step.kind for step in steps]


def words(steps):
    """The provider's words that steps lead to, in order."""
    return [step.to_word for step in steps]


def stands(fake, id, word):
    """Let a bulk stand at a word from now on."""
    fake.add(id, Life.of((0, word)))


# --- what is answered from the journal ---


ENDED = {
    "w:1": ("weavr", "1", ("RUNNING", "COMPLETED"), State.SUCCEEDED),
    "d:a-1": ("druid", "a-1", ("processing", "completed"), State.SUCCEEDED),
    f"c:{CF[1]}": ("cloudflare", CF[1], ("running", "failed"), State.FAILED),
}


@pytest.mark.parametrize("ref", ENDED)
@pytest.mark.parametrize("restarted", [False, True])
def test_a_bulk_that_has_ended_is_answered_without_a_request(world, ref, restarted):
    """By the client that saw it end, and by another one; a sentence says where it is from and when it was read."""
    fake, id, (_, end), state = ENDED[ref]
    stands(getattr(world, fake), id, end)
    with world.client() as client:
        seen = client.get(ref)
        read_at = world.wall()
        if not restarted:
            world.asked()
            world.clock.advance(3_600)
            again = client.get(ref)
    if restarted:
        world.asked()
        world.clock.advance(3_600)
        with world.client() as client:
            again = client.get(ref)
    assert world.asked() == []
    assert seen.state is again.state is state
    assert again.evidence[:-1] == seen.evidence
    assert again.evidence[-1] == f"From the journal, as it was read at {read_at:%Y-%m-%d %H:%M:%S} UTC."
    assert msgspec.structs.replace(again, evidence=seen.evidence) == seen
    assert again.raw is None


@pytest.mark.parametrize("ref", ENDED)
def test_fresh_asks_all_the_same(world, ref):
    """And what was asked is no quotation."""
    fake, id, (_, end), _ = ENDED[ref]
    stands(getattr(world, fake), id, end)
    with world.client() as client:
        seen = client.get(ref)
        world.asked()
        assert client.get(ref, fresh=True) == seen
        assert len(world.asked()) >= 1
        assert client.get_many([ref], fresh=True).statuses == (seen,)
        assert len(world.asked()) >= 1


@pytest.mark.parametrize("ref", ENDED)
def test_an_unfinished_bulk_is_asked_for_each_time(world, ref):
    """The journal does not know what became of it."""
    fake, id, (begin, _), _ = ENDED[ref]
    stands(getattr(world, fake), id, begin)
    with world.client() as client:
        for _ in range(3):
            assert client.get(ref).state is State.RUNNING
            assert len(world.asked()) == 1
            assert client.get_many([ref]).statuses[0].evidence == client.get(ref).evidence
            assert len(world.asked()) == 2
        assert words(client.history(ref)) == [begin]


def test_what_has_ended_is_answered_while_the_provider_is_down(world):
    """And after it has deleted it."""
    stands(world.weavr, "1", "COMPLETED")
    with world.client() as client:
        client.get("w:1")
        world.weavr.remove("1")
        world.weavr.fail(Fault(drop=True, times=None))
        assert client.get("w:1").state is State.SUCCEEDED


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_of_many_only_those_that_go_on_are_asked_for(world, kind):
    """The report is in the order that was asked for."""
    stands(world.weavr, "1", "COMPLETED")
    stands(world.weavr, "2", "RUNNING")
    stands(world.cloudflare, CF[1], "completed")
    stands(world.cloudflare, CF[2], "running")
    wanted = [f"c:{CF[2]}", "w:1", f"c:{CF[1]}", "w:2"]

    async def ask_twice():
        async with world.client(kind=AsyncClient) as client:
            first = await client.get_many(wanted)
            world.asked()
            return first, await client.get_many(wanted)

    if kind is AsyncClient:
        first, second = anyio.run(ask_twice)
    else:
        with world.client() as client:
            first = client.get_many(wanted)
            world.asked()
            second = client.get_many(wanted)
    assert sorted(world.asked()) == [CF[2], "bulks/2"]
    assert refs_of(first) == refs_of(second) == wanted
    assert [status.state for status in first] == [status.state for status in second]
    assert second.complete


def test_all_ended_is_a_report_without_a_request(world):
    """However many; also of a source that could not be asked now."""
    wanted = [f"w:{number}" for number in range(600)]
    for number in range(600):
        world.weavr.add(str(number), Life.of((0, "COMPLETED")), operations=0)
    place, now = world.place("w"), world.stamp()
    with world.client() as client:
        client.get_many(wanted[:2])
        assert client.realms["w"] == place.realm
        made_up = [
            BulkStatus(
                source="w", provider="weavr", id=str(number), state=State.SUCCEEDED, observed_at=world.wall()
            )
            for number in range(2, 600)
        ]
        client.journal.record([Sighting(place, status, now, now, wanted=True) for status in made_up])
        world.weavr.fail(Fault(status=500, times=None))
        world.asked()
        report = client.get_many(wanted)
        assert refs_of(report) == wanted
        assert report.complete
        assert world.asked() == []


def test_an_end_that_a_list_alone_tells_is_neither_kept_nor_served(world):
    """The bulk's own record may yet say otherwise; once it was read, it is."""
    world.weavr.add("1", Life.of((0, "RUNNING"), (10, "COMPLETED")), operations=10, failing=4)
    with world.client("w") as client:
        client.list()
        world.clock.advance(20)
        (row,) = client.list()
        assert (row.state, row.provisional) == (State.SUCCEEDED, True)
        assert words(client.history("w:1")) == ["RUNNING"]
        world.asked()
        assert client.get("w:1").state is State.PARTIAL
        assert world.asked() == ["bulks/1"]
        assert [step.to_state for step in client.history("w:1")] == [State.RUNNING, State.PARTIAL]
        assert client.get("w:1").state is State.PARTIAL
        assert world.asked() == []


def test_an_end_that_was_confirmed_is_not_taken_back_by_a_list(world):
    """The list says less than the bulk's own record, which the journal holds; `fresh` gives the list's word."""
    world.weavr.add("1", Life.of((0, "COMPLETED")), operations=10, failing=4)
    with world.client("w") as client:
        assert client.get("w:1").state is State.PARTIAL
        world.clock.advance(20)
        (row,) = client.list()
        assert (row.state, row.provisional) == (State.PARTIAL, False)
        (row,) = client.list(fresh=True)
        assert (row.state, row.provisional) == (State.SUCCEEDED, True)
        assert kinds(client.history("w:1")) == ["first"]
        assert client.get("w:1").state is State.PARTIAL


def test_another_end_that_a_list_tells_is_not_hidden_by_the_one_that_was_confirmed(world):
    """The provider says another word now, so nobody knows what has become of the bulk; its own record tells."""
    world.weavr.add("1", Life.of((0, "COMPLETED")), operations=10)
    with world.client("w") as client:
        assert client.get("w:1").state is State.SUCCEEDED
        world.weavr.add("1", Life.of((0, "FAILED")), operations=10)
        world.clock.advance(20)
        (row,) = client.list()
        assert (row.state, row.provisional) == (State.FAILED, True)
        (row,) = client.list(confirm=True)
        assert (row.state, row.provisional) == (State.FAILED, False)
        assert [step.regressed for step in client.history("w:1")] == [False, True]


def test_each_tracked_bulk_that_had_no_answer_in_time_is_a_failure(world):
    """By its id: nobody shall take it for one that is not tracked."""
    for id in CF[1:4]:
        stands(world.cloudflare, id, "running")
    with world.client("c") as client:
        client.track([f"c:{id}" for id in CF[1:4]])
        world.cloudflare.fail(Fault(delay=5, times=None))
        report = client.list(timeout=0.3)
    assert not report.complete
    assert {(failure.kind, failure.id) for failure in report.failures} == {("deadline", id) for id in CF[1:4]}


def test_what_had_ended_when_a_list_first_showed_it_is_not_taken_up(world):
    """Else the first list would fill the journal with years of history."""
    stands(world.druid, "old", "failed")
    stands(world.druid, "new", "processing")
    with world.client("d") as client:
        assert len(client.list()) == 2
        assert [step.ref for step in client.changes()] == ["d:new"]


def test_words_that_are_pinned_otherwise_since_are_asked_for_again(world):
    """What was read with other pins is not how it would be read now; but the bulk has not moved, so that is no step."""
    stands(world.cloudflare, CF[1], "lapsed")
    ref, plain = f"c:{CF[1]}", world.adapters["c"]
    pinned = msgspec.structs.replace(plain, state_map={"lapsed": State.EXPIRED})
    with world.client(c=pinned) as client:
        assert client.get(ref).state is State.EXPIRED
        world.asked()
        assert client.get(ref).state is State.EXPIRED
        assert world.asked() == []
    with world.client() as client:
        assert client.get(ref).state is State.UNKNOWN
        assert world.asked() == [CF[1]]
        assert client.journal.find(ref)[0].status.state is State.UNKNOWN
    with world.client(c=pinned) as client:
        assert client.get(ref).state is State.EXPIRED
        assert world.asked() == [CF[1]]
        assert client.journal.find(ref)[0].status.state is State.EXPIRED
        assert [(step.kind, step.to_state) for step in client.history(ref)] == [("first", State.EXPIRED)]


def test_another_account_under_the_same_name_is_asked(world):
    """The same id is another bulk there; neither shows up in the other's list."""
    ref = f"c:{CF[1]}"
    stands(world.cloudflare, CF[1], "failed")
    with world.client("c") as client:
        assert client.get(ref).state is State.FAILED
    fake, adapter = world.account(account_id="f" * 32)
    stands(fake, CF[1], "running")
    with world.client("c", c=adapter) as client:
        assert client.list().statuses == ()
        assert client.get(ref).state is State.RUNNING
        assert [status.state for status in client.list()] == [State.RUNNING]
        assert {bulk.realm.rpartition("=")[2] for bulk in client.journal.find(ref)} == {
            CloudflareFake().account_id,
            "f" * 32,
        }
    world.account()
    with world.client("c") as client:
        assert client.get(ref).state is State.FAILED
        assert world.asked() == []


def test_another_base_url_under_the_same_name_is_asked(world):
    """A bulk of a sandbox is none of production."""
    stands(world.weavr, "1", "COMPLETED")
    with world.client("w") as client:
        client.get("w:1")
    other = WeavrFake(clock=world.clock)
    url = "https://elsewhere.test/multi"
    with Client(
        {"w": other.adapter(url)}, transport=FakeTransport({url: other}), journal=world.path
    ) as client:
        with pytest.raises(NotFound):
            client.get("w:1")
        assert len(other.requests) == 1


def test_another_name_for_the_same_account_is_another_source(world):
    """Refs begin with it."""
    stands(world.weavr, "1", "COMPLETED")
    with world.client("w", v=world.adapters["w"]) as client:
        client.get("w:1")
        world.asked()
        assert client.get("v:1").state is State.SUCCEEDED
        assert world.asked() == ["bulks/1"]


def test_nothing_but_the_journal_remembers(world):
    """A client without one asks each time."""
    stands(world.weavr, "1", "COMPLETED")
    with world.bare() as client:
        first = client.get("w:1")
        assert client.get("w:1") == first
        assert len(world.asked()) == 2
        assert (client.journal, client.realms) == (None, {})


def renaming(status):
    """A provider that writes ids in capitals, whatever case they are asked for in."""
    word = [status]

    def respond(request):
        if word[0] is None:
            return FakeResponse(status=404)
        return FakeResponse.json({"id": request.path.rpartition("/")[2].upper(), "status": word[0]})

    return Scripted(respond), word


def test_an_id_that_the_provider_writes_in_another_case_was_asked_for_by_name(tmp_path):
    """It is tracked, and listed once."""
    fake, word = renaming("running")
    url = "https://plain.test"
    adapters = {"plain": Caseless(base_url=url)}
    with Client(adapters, transport=FakeTransport({url: fake}), journal=tmp_path / "j.db") as client:
        assert client.get("plain:a1").id == "A1"
        word[0] = "done"
        assert refs_of(client.list(tracked=True)) == ["plain:A1"]
        assert words(client.journal.history("plain:A1")) == ["running", "done"]


def test_what_is_kept_of_an_id_moves_to_the_case_its_provider_writes(tmp_path):
    """Note and labels, and that it was asked for; nothing is left under the other."""
    fake, _ = renaming("running")
    url = "https://plain.test"
    adapters = {"plain": Caseless(base_url=url)}
    with Client(adapters, transport=FakeTransport({url: fake}), journal=tmp_path / "j.db") as client:
        client.track("plain:a1", note="nightly", labels={"release": "42"})
        assert client.get("plain:a1").id == "A1"
        assert refs_of(client.list(labels={"release": "42"})) == ["plain:A1"]
        (bulk,) = client.journal.all_bulks()
        assert (bulk.ref, bulk.note, dict(bulk.labels)) == ("plain:A1", "nightly", {"release": "42"})
        client.track("plain:a1", labels={"team": "a"})
        assert refs_of(client.list(tracked=True)) == ["plain:A1"]
        assert dict(client.journal.find("plain:A1")[0].labels) == {"release": "42", "team": "a"}
        assert len(list(client.journal.all_bulks())) == 1


def test_the_answer_about_another_bulk_is_not_recorded(tmp_path):
    """Whoever asked is told that it cannot be read, and the journal knows neither of the two."""
    fake = Scripted(lambda _: FakeResponse.json({"id": "b2", "status": "done"}))
    url = "https://plain.test"
    adapters = {"plain": fake.adapter(url)}
    with Client(adapters, transport=FakeTransport({url: fake}), journal=tmp_path / "j.db") as client:
        with pytest.raises(ProtocolError, match="something else than the bulk that was asked for"):
            client.get("plain:a1")
        report = client.get_many(["plain:a1", "plain:c3"])
        assert [failure.kind for failure in report.failures] == ["protocol"] * 2
        assert client.wait("plain:a1", timeout=0.5).verdicts == {"plain:a1": Verdict.BLIND}
        assert (client.changes(), list(client.journal.all_bulks())) == ((), [])
        assert client.get("plain:b2").state is State.SUCCEEDED
        assert [step.ref for step in client.changes()] == ["plain:b2"]


def test_a_row_whose_id_is_in_another_case_is_told_as_it_comes(tmp_path):
    """It is in the report, so it is among the rows."""
    fake, _ = renaming("running")
    url = "https://plain.test"
    adapters = {"plain": Caseless(base_url=url)}
    with Client(adapters, transport=FakeTransport({url: fake}), journal=tmp_path / "j.db") as client:
        client.track("plain:a1")
        with client.list_pages() as pages:
            told = [status for batch in pages for status in batch]
        assert refs_of(told) == refs_of(pages.report()) == ["plain:A1"]


# --- answers that overtake each other ---


class Held(httpx.AsyncBaseTransport):
    """Keeps what a provider has answered back until it is let out."""

    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        self.inner = transport
        self.there, self.out = anyio.Event(), anyio.Event()

    async def handle_async_request(self, request):
        response = await self.inner.handle_async_request(request)
        self.there.set()
        await self.out.wait()
        return response


def overtaken(world, *, before, stale, then):
    """A bulk stood at a word; an answer of a second one is on its way while another client reads a third.

    What a client is told after all that, how many requests it took, and the same once more; and the steps.
    """
    ref = f"c:{CF[1]}"

    async def look():
        slow = Held(world.transport)
        late = AsyncClient({"c": world.adapters["c"]}, transport=slow, journal=world.path)
        async with world.client("c", kind=AsyncClient) as client, late:
            stands(world.cloudflare, CF[1], before)
            await client.get(ref)
            stands(world.cloudflare, CF[1], stale)
            world.clock.advance(1)
            async with anyio.create_task_group() as group:
                group.start_soon(partial(late.get, ref, fresh=True))
                await slow.there.wait()
                stands(world.cloudflare, CF[1], then)
                world.clock.advance(1)
                await client.get(ref, fresh=True)
                world.clock.advance(1)
                slow.out.set()
            told = []
            for _ in range(2):
                world.clock.advance(1)
                world.asked()
                told.append(((await client.get(ref)).native_state, len(world.asked())))
            return told, [(step.to_word, step.regressed) for step in await client.history(ref)]

    return anyio.run(look)


def test_an_end_that_its_provider_took_back_is_not_served(world):
    """A slow answer that still tells of it comes last, and is the older one all the same."""
    told, steps = overtaken(world, before="failed", stale="failed", then="running")
    assert told == [("running", 1), ("running", 1)]
    assert steps == [("failed", False), ("running", True)]


def test_an_end_that_a_slow_answer_contradicts_is_asked_for_once_more(world):
    """Nobody knows which of the two was given later; after that it is known."""
    told, steps = overtaken(world, before="pending", stale="running", then="failed")
    assert told == [("failed", 1), ("failed", 0)]
    assert steps == [("pending", False), ("failed", False)]


# --- what the provider has forgotten ---


def seen_then_removed(world, client, *, word="running"):
    """A bulk that was seen, and which Cloudflare does not know any more; its ref."""
    stands(world.cloudflare, CF[1], word)
    client.get(f"c:{CF[1]}")
    world.cloudflare.remove(CF[1])
    world.clock.advance(60)
    return f"c:{CF[1]}"


@pytest.mark.parametrize("kind", ["get", "get_many", "list"])
def test_a_bulk_that_the_provider_has_forgotten_is_as_it_was_seen_last(world, kind):
    """That is no error: `gone_at` says since when, and a sentence that all else is older."""
    with world.client() as client:
        ref = seen_then_removed(world, client)
        world.asked()
        ask = {
            "get": lambda: client.get(ref),
            "get_many": lambda: client.get_many([ref]).statuses[0],
            "list": lambda: client.list(sources=["c"]).statuses[0],
        }[kind]
        status = ask()
        assert world.asked() == [CF[1]]
        assert (status.state, status.gone_at) == (State.RUNNING, world.wall())
        assert (status.gone_at - status.observed_at).total_seconds() == pytest.approx(60)
        assert "does not know it any more" in status.evidence[-1]


def test_it_is_gone_when_it_is_missed_twice_some_seconds_apart(world):
    """One bad moment is no proof; after it each who asks is told since when, and nothing more is written."""
    with world.client() as client:
        ref = seen_then_removed(world, client)
        for pause in (0.0, 1.0, 2.0):
            world.clock.advance(pause)
            assert client.get(ref).gone_at == world.wall()
            assert kinds(client.history(ref)) == ["first"]
        world.clock.advance(4.0)
        gone_at = world.wall()
        assert client.get(ref).gone_at == gone_at
        assert kinds(client.history(ref)) == ["first", "gone"]
        world.asked()
        world.clock.advance(600)
        for status in (client.get(ref), *client.get_many([ref]), *client.list(sources=["c"])):
            assert (status.state, status.gone_at) == (State.RUNNING, gone_at)
            assert "does not know it any more since" in status.evidence[-1]
        assert world.asked() == [CF[1]] * 3  # it may yet come back
        assert kinds(client.history(ref)) == ["first", "gone"]
        (known,) = client.journal.find(ref)
        assert (known.gone_at, known.ended_at, known.is_settled) == (gone_at, None, False)


def test_one_that_is_gone_for_a_day_is_left_alone_by_a_list(world):
    """It is told as it was seen last; who asks for it by name, or afresh, has its provider asked all the same."""
    with world.client("c") as client:
        ref = seen_then_removed(world, client)
        client.get(ref)
        world.clock.advance(5)
        gone_at = client.get(ref).gone_at
        world.clock.advance(86_390)
        world.asked()
        assert client.list().statuses[0].gone_at == gone_at
        assert world.asked() == [CF[1]]
        world.clock.advance(20)
        for arguments, sent in (({}, []), ({"tracked": True}, []), ({"fresh": True}, [CF[1]])):
            (status,) = client.list(**arguments)
            assert (status.state, status.gone_at) == (State.RUNNING, gone_at)
            assert world.asked() == sent
        assert client.get(ref).gone_at == gone_at
        assert world.asked() == [CF[1]]


@pytest.mark.parametrize(("source", "ids"), [("c", CF[:5]), ("w", ["1", "2", "3", "4", "5"])])
def test_after_an_outage_that_denies_all_bulks_they_are_asked_for_again(world, source, ids):
    """A proxy that answers 404 for minutes makes all of them gone, and none for good."""
    fake, refs = world.fakes[source], [f"{source}:{id}" for id in ids]
    for id in ids:
        stands(fake, id, {"c": "running", "w": "RUNNING"}[source])
    with world.client(source) as client:
        client.get_many(refs)
        fake.fail(Fault(status=404, body=NOT_THERE, times=None))
        for _ in range(2):
            world.clock.advance(60)
            report = client.list(tracked=True)
            assert [status.gone_at is not None for status in report] == [True] * 5
        assert [kinds(client.history(ref)) for ref in refs] == [["first", "gone"]] * 5
        fake.heal()
        world.clock.advance(60)
        world.asked()
        report = client.list(tracked=True)
        assert world.asked() != []
        assert {(status.state, status.gone_at) for status in report} == {(State.RUNNING, None)}
        assert [kinds(client.history(ref)) for ref in refs] == [["first", "gone", "returned"]] * 5
        assert (sorted(refs_of(report)), report.complete) == (refs, True)


def test_a_row_of_a_list_shows_that_one_is_not_gone(world):
    """Although it tells an end that is not kept before the bulk's own record says so."""
    world.weavr.add("1", Life.of((0, "RUNNING"), (200, "COMPLETED")), operations=10, failing=4)
    with world.client("w") as client:
        client.get("w:1")
        world.weavr.fail(Fault(status=410, body=NOT_THERE, times=1))
        assert client.get("w:1").gone_at is not None
        world.clock.advance(300)
        assert [(row.state, row.gone_at) for row in client.list()] == [(State.SUCCEEDED, None)]
        assert kinds(client.history("w:1")) == ["first", "gone", "returned"]
        assert client.get("w:1").state is State.PARTIAL
        assert [step.to_state for step in client.history("w:1")][-1] is State.PARTIAL


def test_one_that_is_known_again_has_returned(world):
    """Whoever asks learns of it; then it is asked for as others are."""
    with world.client() as client:
        ref = seen_then_removed(world, client)
        client.get(ref)
        world.clock.advance(9)
        client.get(ref)
        stands(world.cloudflare, CF[1], "running")
        world.clock.advance(9)
        assert client.get(ref).gone_at is None
        assert kinds(client.history(ref)) == ["first", "gone", "returned"]
        assert client.get(ref).gone_at is None
        assert client.journal.find(ref)[0].gone_at is None


def test_a_miss_between_two_sights_counts_for_nothing(world):
    """Neither does one before it and one after it make two."""
    with world.client() as client:
        ref = seen_then_removed(world, client)
        client.get(ref)
        stands(world.cloudflare, CF[1], "running")
        world.clock.advance(20)
        assert client.get(ref).gone_at is None
        world.cloudflare.remove(CF[1])
        world.clock.advance(20)
        assert client.get(ref).gone_at is not None
        assert kinds(client.history(ref)) == ["first"]


def test_gone_for_good_is_believed_at_once(world):
    """HTTP 410 says so."""
    stands(world.weavr, "1", "RUNNING")
    with world.client() as client:
        client.get("w:1")
        world.weavr.fail(Fault(status=410, body=NOT_THERE, times=None))
        assert client.get("w:1").gone_at == world.wall()
        assert kinds(client.history("w:1")) == ["first", "gone"]
        gone_at = world.wall()
        world.clock.advance(60)
        assert client.get("w:1").gone_at == gone_at
        assert kinds(client.history("w:1")) == ["first", "gone"]


@pytest.mark.parametrize("status", [404, 410])
@pytest.mark.parametrize("tracked", [False, True])
def test_a_bulk_that_was_never_seen_is_not_found(world, status, tracked):
    """Also one that was tracked; the error is that of a client without a journal, word for word."""
    world.weavr.fail(Fault(status=status, body=NOT_THERE, times=None))
    with world.bare() as client, pytest.raises(NotFound) as bare:
        client.get("w:1")
    with world.client() as client:
        if tracked:
            client.track(["w:1"])
        for _ in range(2):
            world.clock.advance(10)
            with pytest.raises(NotFound) as caught:
                client.get("w:1")
            assert str(caught.value) == str(bare.value)
            (failure,) = client.get_many(["w:1"]).failures
            assert (failure.kind, failure.id) == ("not_found", "1")
        assert client.changes() == ()


@pytest.mark.parametrize("ask", ["get", "wait"])
def test_words_that_are_pinned_otherwise_since_make_nothing_unknown(world, ask):
    """It was seen before, however its words are read now; the journal says so too."""
    with world.client("c") as client:
        ref = seen_then_removed(world, client)
    pinned = msgspec.structs.replace(world.adapters["c"], state_map={"lapsed": State.EXPIRED})
    world.cloudflare.fail(Fault(status=410, body=NOT_THERE, times=None))
    with world.client(c=pinned) as client:
        if ask == "get":
            assert client.get(ref).gone_at is not None
        else:
            assert client.wait(ref, timeout=30).verdicts == {ref: Verdict.GONE}
        assert kinds(client.history(ref)) == ["first", "gone"]


def test_a_provider_that_cannot_be_asked_has_forgotten_nothing(world):
    """Neither an outage nor refused credentials say anything about a bulk."""
    stands(world.weavr, "1", "RUNNING")
    with world.client() as client:
        client.get("w:1")
        for status in (500, 401, 403, 400):
            world.weavr.fail(Fault(status=status, body=NOT_THERE, times=None))
            report = client.get_many(["w:1"])
            assert (len(report), report.complete) == (0, False)
            world.weavr.heal()
            world.clock.advance(20)
        assert kinds(client.history("w:1")) == ["first"]


# --- list ---


def test_a_source_without_a_list_gives_the_bulks_that_were_asked_for(world):
    """By whatever means they were asked for, and those that are tracked; those that ended are not asked again."""
    for number, word in enumerate(("running", "completed", "failed", "running", "pending")):
        stands(world.cloudflare, CF[number], word)
    with world.client("c") as client:
        assert client.list() == client.list()
        assert client.list().statuses == ()
        client.get(f"c:{CF[0]}")
        client.get_many([f"c:{CF[1]}", f"c:{CF[2]}"])
        client.track([f"c:{CF[3]}"])
        world.asked()
        report = client.list()
        assert refs_of(report) == [f"c:{id}" for id in (CF[1], CF[2], CF[0], CF[3])]
        assert sorted(world.asked()) == [CF[0], CF[3]]
        assert (report.complete, report.skipped) == (True, ())
    with world.client("c") as client:
        client.list()
        assert sorted(world.asked()) == [CF[0], CF[3]]
        client.list(fresh=True)
        assert sorted(world.asked()) == CF[:4]
        assert refs_of(client.list(states={"failed"})) == [f"c:{CF[2]}"]


def test_other_sources_are_listed_as_ever_beside_it(world):
    """By their provider, and not by what is tracked."""
    stands(world.weavr, "1", "RUNNING")
    stands(world.weavr, "2", "RUNNING")
    stands(world.druid, "a-1", "processing")
    stands(world.cloudflare, CF[1], "running")
    with world.client() as client:
        client.get_many(["w:1", f"c:{CF[1]}"])
        assert sorted(refs_of(client.list())) == [f"c:{CF[1]}", "d:a-1", "w:1", "w:2"]
        assert sorted(refs_of(client.list(tracked=True))) == [f"c:{CF[1]}", "w:1"]


def test_the_tracked_ones_of_all_sources_are_asked_for_afresh(world):
    """But for those that have ended; several of one source from its list where that costs less."""
    for number in range(5):
        world.weavr.add(str(number), Life.of((0, "RUNNING"), (100, "PAUSED")), operations=0)
    world.weavr.add("5", Life.of((0, "FAILED")), operations=0)
    world.druid.add("a-1", Life.of((0, "processing"), (100, "scheduled")))
    with world.client() as client:
        client.track([f"w:{number}" for number in range(6)])
        client.track("d:a-1", note="nightly", labels={"release": "42"})
        client.list(tracked=True)
        world.clock.advance(200)
        world.asked()
        report = client.list(tracked=True)
        assert {str(status.ref): status.state for status in report} == {
            **{f"w:{number}": State.PAUSED for number in range(5)},
            "w:5": State.FAILED,
            "d:a-1": State.QUEUED,
        }
        assert sorted(world.asked()) == ["/activityid/v1/user/bulk/a-1", "bulks"]


def test_labels_choose_among_the_tracked(world):
    """All of them have to be borne; a label of the same name is replaced, others stay."""
    for id in ("1", "2", "3"):
        stands(world.weavr, id, "RUNNING")
    stands(world.druid, "a-1", "processing")
    with world.client() as client:
        client.track(["w:1", "d:a-1"], labels={"release": "42", "team": "a"})
        client.track(["w:2"], labels={"release": "43"})
        client.get("w:3")
        assert refs_of(client.list(labels={"release": "42"})) == ["w:1", "d:a-1"]
        assert refs_of(client.list(labels={"release": "42", "team": "b"})) == []
        assert refs_of(client.list(labels={"release": "42"}, sources=["d"])) == ["d:a-1"]
        client.track("w:1", labels={"release": "43"})
        assert refs_of(client.list(labels={"release": "43"})) == ["w:1", "w:2"]
        assert dict(client.journal.find("w:1")[0].labels) == {"release": "43", "team": "a"}


def test_age_is_by_the_provider_or_else_since_it_was_seen_first(world):
    """Weavr tells when a bulk began, Cloudflare does not."""
    world.weavr.add("1", Life.of((0, "RUNNING")))
    stands(world.cloudflare, CF[1], "running")
    world.clock.advance(1_000)
    with world.client() as client:
        client.get(f"c:{CF[1]}")
        world.weavr.add("2", Life.of((0, "RUNNING")))
        world.clock.advance(500)
        assert refs_of(client.list(older_than=1_200)) == ["w:1"]
        assert sorted(refs_of(client.list(newer_than=1_200))) == [f"c:{CF[1]}", "w:2"]
        assert sorted(refs_of(client.list(older_than=400, newer_than=600))) == [f"c:{CF[1]}", "w:2"]
        assert refs_of(client.list(older_than=9_000)) == []
    with world.client() as client:  # what is known of it is not this client's alone
        assert refs_of(client.list(older_than=400, sources=["c"])) == [f"c:{CF[1]}"]
        assert refs_of(client.list(older_than=600, sources=["c"])) == []


def test_one_whose_age_nobody_knows_is_listed_at_any_age(world):
    """Without a journal nothing tells when it was seen first."""
    stands(world.weavr, "1", "SUBMITTED")
    with world.bare("w") as client:
        assert refs_of(client.list(older_than=5)) == refs_of(client.list(newer_than=5)) == ["w:1"]


@pytest.mark.parametrize("age", [0, -1, float("nan"), float("inf"), "1h", True])
@pytest.mark.parametrize("name", ["older_than", "newer_than"])
def test_an_age_that_cannot_be_is_refused(world, name, age):
    """Before anything is sent."""
    with world.client() as client, pytest.raises(ConfigError, match=name):
        client.list(**{name: age})
    assert world.asked() == []


def test_a_source_that_fails_hides_no_other_and_its_ended_ones_are_there(world):
    """What has ended needs no provider."""
    stands(world.cloudflare, CF[1], "completed")
    stands(world.cloudflare, CF[2], "running")
    stands(world.weavr, "1", "RUNNING")
    with world.client() as client:
        client.get_many([f"c:{CF[1]}", f"c:{CF[2]}", "w:1"])
        world.cloudflare.fail(Fault(status=500, times=None))
        report = client.list(tracked=True)
        assert sorted(refs_of(report)) == [f"c:{CF[1]}", "w:1"]
        (failure,) = report.failures
        assert (failure.source, failure.id, report.complete) == ("c", CF[2], False)


def test_a_tracked_bulk_that_is_not_there_is_a_failure_of_its_own(world):
    """Until it is there."""
    with world.client("c") as client:
        client.track([f"c:{CF[1]}"])
        (failure,) = client.list().failures
        assert (failure.kind, failure.id) == ("not_found", CF[1])
        stands(world.cloudflare, CF[1], "running")
        assert refs_of(client.list()) == [f"c:{CF[1]}"]


def test_without_a_journal_all_is_as_it_was(world):
    """In the words of old."""
    stands(world.weavr, "1", "RUNNING")
    with world.bare() as client:
        report = client.list()
        assert refs_of(report) == ["w:1"]
        (skipped,) = report.skipped
        reason = "the provider has no list of bulks; ask for each by its id"
        assert (skipped.source, skipped.reason) == ("c", reason)
        for arguments in ({"tracked": True}, {"labels": {"release": "42"}}):
            with pytest.raises(ConfigError, match="this client has none"):
                client.list(**arguments)
    with world.bare("c") as client, pytest.raises(ConfigError) as caught:
        client.list()
    assert caught.value.message == f"c: {reason}, as in get c:ID"


# --- list, page by page ---


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_what_is_settled_comes_first_and_the_report_is_that_of_a_list(world, kind):
    """Each row once; the providers are asked meanwhile."""
    for number, word in enumerate(("completed", "running", "failed", "running")):
        stands(world.cloudflare, CF[number], word)
    stands(world.weavr, "1", "RUNNING")
    with world.client() as client:
        client.get_many([f"c:{id}" for id in CF[:4]])
        world.asked()

    async def read():
        async with world.client(kind=AsyncClient) as client, client.list_pages() as pages:
            return [rows async for rows in pages], pages.report(), await client.list()

    if kind is AsyncClient:
        batches, report, whole = anyio.run(read)
    else:
        with world.client() as client, client.list_pages() as pages:
            batches, report, whole = list(pages), pages.report(), client.list()
    assert refs_of(batches[0]) == [f"c:{CF[0]}", f"c:{CF[2]}"]
    told = [status for batch in batches for status in batch]
    assert all(batches)
    assert sorted(refs_of(told)) == sorted(refs_of(report)) == sorted(["w:1", *(f"c:{id}" for id in CF[:4])])
    assert [report.statuses, report.failures] == [whole.statuses, whole.failures]


def test_settled_rows_come_although_their_provider_does_not_answer(world):
    """And those of other sources; what fails is in the report at the end."""
    stands(world.cloudflare, CF[1], "completed")
    stands(world.cloudflare, CF[2], "running")
    stands(world.weavr, "1", "RUNNING")
    with world.client() as client:
        client.get_many([f"c:{CF[1]}", f"c:{CF[2]}"])
        world.cloudflare.fail(Fault(status=500, times=None))
        with client.list_pages() as pages:
            told = [status for batch in pages for status in batch]
            report = pages.report()
    assert sorted(refs_of(told)) == sorted(refs_of(report)) == [f"c:{CF[1]}", "w:1"]
    assert [(failure.source, failure.id) for failure in report.failures] == [("c", CF[2])]
    assert not report.complete


def test_rows_that_a_list_gave_before_it_broke_off_come_too(world):
    """Whoever reads them as they come has them like whoever reads the report."""
    for number in range(150):
        stands(world.weavr, str(number), "RUNNING")
    world.weavr.fail(Fault(delay=0.001))  # the first page comes
    world.weavr.fail(Fault(status=500, times=None))
    with world.client("w") as client, client.list_pages() as pages:
        told = [status for batch in pages for status in batch]
        report = pages.report()
    assert (len(report), report.complete) == (100, False)
    assert sorted(refs_of(told)) == sorted(refs_of(report))


def test_every_page_of_a_list_is_recorded(world):
    """Those that are asked for side by side too: what they tell is known, and an end that they take back is not served."""
    for number in range(250):
        stands(world.weavr, str(number), "RUNNING")
    stands(world.weavr, "249", "COMPLETED")
    with world.client("w") as client:
        assert client.get("w:249").state is State.SUCCEEDED
        stands(world.weavr, "249", "RUNNING")
        world.clock.advance(1)
        assert len(client.list()) == 250
        assert client.get("w:249").state is State.RUNNING
        assert client.journal.stats().bulks == 250
        assert [step.to_state for step in client.history("w:249")] == [State.SUCCEEDED, State.RUNNING]


def test_rows_are_narrowed_as_they_come(world):
    """By state and by age, as those of a list."""
    for number, word in enumerate(("completed", "running", "failed")):
        stands(world.cloudflare, CF[number], word)
    with world.client("c") as client:
        client.get_many([f"c:{id}" for id in CF[:3]])
        world.clock.advance(100)
        with client.list_pages(states={"running", "failed"}, older_than=50) as pages:
            told = [status for batch in pages for status in batch]
        assert sorted(refs_of(told)) == [f"c:{CF[1]}", f"c:{CF[2]}"]
        with client.list_pages(newer_than=50) as pages:
            assert list(pages) == []


def test_rows_within_a_time_are_joined(world):
    """Nothing is left then, and nothing comes at the end."""
    for number, word in enumerate(("completed", "running", "failed")):
        stands(world.cloudflare, CF[number], word)
    with world.client("c") as client:
        client.get_many([f"c:{id}" for id in CF[:3]])
        with client.list_pages() as pages:
            assert len(pages.rows(within=20)) == 3
            assert pages.rows(within=20) == ()


def test_a_list_that_is_left_early_asks_for_nothing_more(world):
    """What was told before is in its report."""
    stands(world.cloudflare, CF[0], "completed")
    for id in CF[1:5]:
        stands(world.cloudflare, id, "running")
    with world.client("c") as client:
        client.get_many([f"c:{id}" for id in CF[:5]])
        world.cloudflare.fail(Fault(delay=0.2, times=None))
        with client.list_pages() as pages:
            assert refs_of(next(pages)) == [f"c:{CF[0]}"]
        assert f"c:{CF[0]}" in refs_of(pages.report())
        world.cloudflare.heal()
        assert len(client.list()) == 5  # the client is none the worse for it


def test_the_report_of_a_list_that_was_left_early_is_not_complete(world):
    """Nobody knows what the providers would have said."""
    stands(world.cloudflare, CF[1], "running")
    with world.client("c") as client:
        client.get(f"c:{CF[1]}")
        world.cloudflare.fail(Fault(delay=0.2, times=None))
        with client.list_pages() as pages:
            pass
        assert (len(pages.report()), pages.report().complete) == (0, False)


def test_reading_on_after_a_list_was_closed_ends_it(world):
    """As a watch that was closed ends."""
    stands(world.weavr, "1", "RUNNING")
    with world.client("w") as client, client.list_pages() as pages:
        for _ in pages:
            pages.close()
        assert pages.rows(within=1) == ()


def test_a_list_that_was_read_to_its_end_need_not_be_closed(world):
    """Nothing is left open that anybody would be warned of."""
    stands(world.weavr, "1", "RUNNING")
    with world.client("w") as client, warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        assert len(list(client.list_pages())) == 1
        gc.collect()
    assert [str(one.message) for one in told] == []


def test_a_list_that_cannot_be_is_refused_by_the_call_itself(world):
    """Not by the first reading."""
    with world.client() as client:
        for arguments in ({"sources": ["x"]}, {"states": ["running", "never"]}, {"older_than": -1}):
            with pytest.raises(ConfigError):
                client.list_pages(**arguments)
        assert world.asked() == []


# --- track, untrack, history, changes ---


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_tracking_asks_for_nothing(world, kind):
    """A note and labels are kept with it; untracking tells which had been tracked."""
    wanted = ["w:1", "w:1", "c:x", "d:a-1"]

    async def work():
        async with world.client(kind=AsyncClient) as client:
            await client.track(wanted, note="nightly", labels={"release": "42"})
            kept = list(client.journal.all_bulks())
            return kept, await client.untrack(["d:a-1", "w:7", "w:1"]), await client.untrack("w:1")

    if kind is AsyncClient:
        kept, first, second = anyio.run(work)
    else:
        with world.client() as client:
            client.track(iter(wanted), note="nightly", labels={"release": "42"})
            kept = list(client.journal.all_bulks())
            first, second = client.untrack(["d:a-1", "w:7", "w:1"]), client.untrack("w:1")
    assert [bulk.ref for bulk in kept] == ["w:1", "c:x", "d:a-1"]
    assert {(bulk.note, *bulk.labels.items(), bulk.status) for bulk in kept} == {
        ("nightly", ("release", "42"), None)
    }
    assert (sorted(first), second) == (["d:a-1", "w:1"], ())
    assert world.asked() == []


@pytest.mark.parametrize(
    "arguments",
    [
        {"labels": {"": "x"}},
        {"labels": {"a=b": "x"}},
        {"labels": {"a": ""}},
        {"labels": {"a": "x\ny"}},
        {"labels": {"a": "\x1b[31m"}},
        {"labels": {"a": "x" * 101}},
        {"labels": {str(number): "x" for number in range(33)}},
        {"note": ""},
        {"note": "x" * 501},
        {"note": "two\nlines"},
    ],
)
def test_a_note_or_label_that_cannot_be_printed_is_refused(world, arguments):
    """And nothing of the call is kept."""
    with world.client() as client:
        with pytest.raises(ConfigError):
            client.track(["w:1", "w:2"], **arguments)
        assert list(client.journal.all_bulks()) == []


@pytest.mark.parametrize("ref", ["x:1", "w:not-a-number", "w", ":1", ""])
def test_what_is_no_ref_of_a_source_is_refused(world, ref):
    """By every method that takes one; the good ones beside it are not kept either."""
    with world.client() as client:
        for call in (client.track, client.untrack):
            with pytest.raises(ConfigError):
                call(["w:1", ref])
        for call in (client.history, client.get):
            with pytest.raises(ConfigError):
                call(ref)
        assert list(client.journal.all_bulks()) == []
    assert world.asked() == []


def test_without_a_journal_there_is_nothing_to_track_and_no_history(world):
    """Each says that a journal is needed."""
    with world.bare() as client:
        for call in (
            lambda: client.track("w:1"),
            lambda: client.untrack("w:1"),
            lambda: client.history("w:1"),
            client.changes,
            client.resume,
        ):
            with pytest.raises(ConfigError, match="has no journal"):
                call()


def test_what_is_tracked_is_told_without_asking_anybody(world):
    """By source and labels, as the journal knows it, those that were asked for first before others."""
    stands(world.weavr, "1", "RUNNING")
    with world.client() as client:
        client.get("w:1")
        world.clock.advance(1)
        client.track(["w:2", "d:a-1"], note="nightly", labels={"release": "42"})
        world.asked()
        assert [bulk.ref for bulk in client.tracked()] == ["w:1", "w:2", "d:a-1"]
        assert [bulk.ref for bulk in client.tracked(sources=["w"])] == ["w:1", "w:2"]
        assert [bulk.ref for bulk in client.tracked(labels={"release": "42"})] == ["w:2", "d:a-1"]
        assert client.tracked(sources=["w"], labels={"release": "43"}) == ()
        first, second, _ = client.tracked()
        assert (first.status.state, second.status, second.note) == (State.RUNNING, None, "nightly")
        with pytest.raises(ConfigError):
            client.tracked(sources=["x"])
        assert world.asked() == []
    with world.bare() as client, pytest.raises(ConfigError, match="has no journal"):
        client.tracked()


def test_history_and_changes_tell_each_step_in_order(world):
    """Whatever call it was that saw it; a cursor goes on behind what was read."""
    world.weavr.add("1", Life.of((0, "SUBMITTED"), (10, "RUNNING"), (20, "PAUSED"), (30, "COMPLETED")))
    world.cloudflare.add(CF[1], Life.of((0, "pending"), (30, "completed")))
    with world.client() as client:
        for ask in (
            lambda: client.get("w:1"),
            client.list,
            lambda: client.get_many(["w:1", f"c:{CF[1]}"]),
            lambda: client.get_many(["w:1", f"c:{CF[1]}"]),
        ):
            ask()
            world.clock.advance(10)
        first, *rest = client.changes()
        assert (first.ref, first.kind, first.to_word, first.from_word) == ("w:1", "first", "SUBMITTED", None)
        assert client.changes(first.cursor) == tuple(rest)
        assert client.changes(rest[-1].cursor) == ()
        assert client.changes(limit=1) == (first,)
        assert words(client.history("w:1")) == ["SUBMITTED", "RUNNING", "PAUSED", "COMPLETED"]
        assert words(client.history("w:1", limit=2)) == ["PAUSED", "COMPLETED"]
        steps = client.history(f"c:{CF[1]}")
        assert words(steps) == ["pending", "completed"]
        assert steps[-1].passed_over == (State.RUNNING,)
        assert client.history("w:99") == ()
        with pytest.raises(ConfigError, match="cursor"):
            client.changes("nonsense")


def test_a_step_backwards_is_recorded_and_marked(world):
    """Somebody who asks afresh sees it."""
    stands(world.weavr, "1", "FAILED")
    with world.client() as client:
        client.get("w:1")
        stands(world.weavr, "1", "RUNNING")
        world.clock.advance(5)
        assert client.get("w:1").state is State.FAILED
        assert client.get("w:1", fresh=True).state is State.RUNNING
        assert [step.regressed for step in client.history("w:1")] == [False, True]
        assert client.get("w:1").state is State.RUNNING
        assert client.journal.find("w:1")[0].ended_at is None


def test_a_client_can_be_used_again_after_it_was_closed(world):
    """So can the journal that was handed to several; theirs to close is only what they opened."""
    stands(world.weavr, "1", "RUNNING")
    with Journal(world.path) as journal:
        clients = [
            Client({"w": world.adapters["w"]}, transport=world.transport, journal=journal) for _ in range(2)
        ]
        for turn, word in enumerate(("SUBMITTED", "RUNNING", "PAUSED", "COMPLETED")):
            stands(world.weavr, "1", word)
            world.clock.advance(1)
            with clients[turn % 2] as client:
                client.get("w:1")
        assert words(journal.history("w:1")) == ["SUBMITTED", "RUNNING", "PAUSED", "COMPLETED"]
        assert clients[0].journal is journal


def test_a_step_that_another_client_saw_is_not_the_last_for_this_one(world):
    """What this one sees again is news to the journal, which has heard otherwise meanwhile."""
    with world.client("w") as one, world.client("w") as other:
        for client, word in ((one, "RUNNING"), (other, "PAUSED"), (one, "RUNNING")):
            stands(world.weavr, "1", word)
            client.get("w:1")
            world.clock.advance(1)
        assert words(one.history("w:1")) == ["RUNNING", "PAUSED", "RUNNING"]


def test_what_a_list_has_just_shown_is_tracked_once_it_is_asked_for(world):
    """Although nothing about it has changed meanwhile."""
    stands(world.druid, "a-1", "processing")
    with world.client("d") as client:
        client.list()
        client.get("d:a-1")
        assert refs_of(client.list(tracked=True)) == ["d:a-1"]


def test_what_is_answered_from_the_journal_is_tracked_as_well(world):
    """It was asked for by name."""
    world.weavr.add("1", Life.of((0, "RUNNING"), (10, "COMPLETED")))
    with world.client("w") as client:
        client.list()
        world.clock.advance(20)
        client.list(confirm=True)
        assert client.list(tracked=True).statuses == ()
        world.asked()
        client.get("w:1")
        assert world.asked() == []
        assert refs_of(client.list(tracked=True)) == ["w:1"]


def test_what_is_untracked_stays_so_although_it_moves(world):
    """Until somebody asks for it by name again."""
    world.druid.add("a-1", Life.of((0, "received"), (10, "processing")))
    with world.client("d") as client:
        client.get("d:a-1")
        client.untrack("d:a-1")
        world.clock.advance(20)
        client.list()
        assert words(client.history("d:a-1")) == ["received", "processing"]
        assert client.list(tracked=True).statuses == ()
        client.get("d:a-1", fresh=True)
        assert refs_of(client.list(tracked=True)) == ["d:a-1"]


# --- overdue and stuck ---


def remember(world, took, *, source="w", action="/transfers", state=State.SUCCEEDED, prefix="9"):
    """Bulks of the past in the journal, which took so many seconds each."""
    place, at = world.place(source), world.wall()
    seen = [
        BulkStatus(
            source=source,
            provider=place.provider,
            id=f"{prefix}{number:05d}",
            state=state,
            native_state="made up",
            started_at=datetime.fromtimestamp(world.clock() - seconds, UTC),
            finished_at=at,
            observed_at=at,
            action=action,
        )
        for number, seconds in enumerate(took)
    ]
    with Journal(world.path) as journal:
        journal.record(
            [Sighting(place, status, world.stamp(), world.stamp(), wanted=True) for status in seen]
        )


def marks(client, ref="w:1", *, listed=True):
    """How a bulk is marked by each call that can tell; without those that read their provider's list unless `listed`."""
    batches = []
    if listed:
        with client.list_pages(sources=[ref.partition(":")[0]]) as pages:
            batches += pages
    found = [
        client.get(ref),
        *client.get_many([ref]),
        *(status for status in client.list(tracked=True) if str(status.ref) == ref),
        *(status for batch in batches for status in batch if str(status.ref) == ref),
    ]
    assert len(found) == 3 + listed
    return {(status.overdue, status.stuck) for status in found}


def test_a_bulk_that_takes_longer_than_95_of_100_is_overdue(world):
    """In every answer about it; the figures are the bulks of the same source and action that ended."""
    remember(world, [float(seconds) for seconds in range(1, 101)])
    world.weavr.add("1", Life.of((0, "RUNNING")), action="/transfers")
    with world.client("w") as client:
        world.clock.advance(94.9)  # Weavr tells whole milliseconds
        assert marks(client) == {(None, None)}
        world.clock.advance(1.1)
        ((overdue, stuck),) = marks(client)
        assert (overdue.usual, overdue.of, stuck) == (95.0, 100, None)
        assert overdue.age == pytest.approx(96, abs=0.01)


@pytest.mark.parametrize(("number", "is_marked"), [(19, False), (20, True)])
def test_twenty_have_to_have_ended(world, number, is_marked):
    """Fewer say nothing of what is usual."""
    remember(world, [10.0] * number)
    world.weavr.add("1", Life.of((0, "RUNNING")))
    world.clock.advance(60)
    with world.client("w") as client:
        (marked,) = marks(client)
    assert (marked[0] is not None) == is_marked


@pytest.mark.parametrize(
    "other",
    [
        {"action": "/cards"},
        {"action": None},
        {"source": "d"},
        {"state": State.CANCELLED},
        {"state": State.EXPIRED},
    ],
)
def test_other_bulks_say_nothing(world, other):
    """Of another action or source, and those that were cancelled or ran out of time."""
    remember(world, [10.0] * 50, **other)
    world.weavr.add("1", Life.of((0, "RUNNING")), action="/transfers")
    world.clock.advance(60)
    with world.client("w") as client:
        assert marks(client) == {(None, None)}


def test_the_same_source_of_another_account_says_nothing(world):
    """Its bulks are others."""
    remember(world, [10.0] * 50)
    other = WeavrFake(clock=world.clock)
    other.add("1", Life.of((0, "RUNNING")))
    world.clock.advance(60)
    url = "https://elsewhere.test/multi"
    with Client(
        {"w": other.adapter(url)}, transport=FakeTransport({url: other}), journal=world.path
    ) as client:
        assert client.get("w:1").overdue is None


def test_one_that_has_ended_is_not_marked(world):
    """However long it took."""
    remember(world, [10.0] * 50)
    world.weavr.add("1", Life.of((0, "RUNNING"), (60, "COMPLETED")))
    with world.client("w") as client:
        world.clock.advance(50)
        assert client.get("w:1").overdue is not None
        world.clock.advance(50)
        for status in (client.get("w:1"), client.get("w:1"), *client.list(), *client.list(tracked=True)):
            if status.id == "1":
                assert (status.overdue, status.stuck) == (None, None)


@pytest.mark.parametrize("ref", ["w:1", "d:a-1"])
@pytest.mark.parametrize(("usual", "limit"), [(None, 3_600.0), (100.0, 600.0), (4_000.0, 2_000.0)])
def test_a_bulk_that_has_not_moved_for_long_is_stuck(world, ref, usual, limit):
    """One that counts what is finished, or waits to begin: for half of what is usual and ten minutes at least.

    An hour where nothing is known.
    """
    source, action = ref[0], "/transfers" if ref == "w:1" else None
    if usual is not None:
        remember(world, [usual] * 30, source=source, action=action)
    if ref == "w:1":
        world.weavr.add("1", Life.of((0, "RUNNING")), operations=10)
    else:
        world.druid.add("a-1", Life.of((0, "received")))
    world.clock.advance(90_000)  # of the ten operations nine are over by then
    with world.client(source) as client:
        since = world.wall()
        client.get(ref)
        world.clock.advance(limit)
        # A row of Weavr's list does not count what is finished.
        assert {stuck for _, stuck in marks(client, ref, listed=source == "d")} == {None}
        world.clock.advance(30)
        ((overdue, stuck),) = marks(client, ref, listed=source == "d")
        assert (stuck.since, stuck.limit, stuck.of) == (since, limit, None if usual is None else 30)
        assert stuck.idle == pytest.approx(limit + 30, abs=0.01)
        assert (overdue is not None) == (usual is not None and ref == "w:1")


@pytest.mark.parametrize("ref", ["w:1", "d:a-1", f"c:{CF[1]}"])
def test_one_that_runs_and_does_not_say_how_much_is_finished_is_not_stuck(world, ref):
    """It may be well on its way: nothing of it would move before its end."""
    world.weavr.add("1", Life.of((0, "RUNNING")), operations=0)
    stands(world.druid, "a-1", "processing")
    stands(world.cloudflare, CF[1], "running")
    with world.client(ref[0]) as client:
        client.get(ref)
        world.clock.advance(900_000)
        assert marks(client, ref) == {(None, None)}


def test_one_that_waits_to_begin_is_not_overdue(world):
    """What is usual is how long bulks run, and where they queue says nothing about that."""
    remember(world, [10.0] * 30, source="d", action=None)
    stands(world.druid, "a-1", "received")
    with world.client("d") as client:
        world.clock.advance(60)
        assert marks(client, "d:a-1") == {(None, None)}
        stands(world.druid, "a-1", "processing")
        world.clock.advance(60)
        ((overdue, _),) = marks(client, "d:a-1")
        assert overdue.of == 30


def test_a_bulk_whose_counts_move_is_not_stuck(world):
    """It is alive, though its state stays."""
    world.weavr.add("1", Life.of((0, "RUNNING"), (90_000, "COMPLETED")), operations=100)
    with world.client("w") as client:
        for _ in range(4):
            assert {stuck for _, stuck in marks(client)} == {None}
            world.clock.advance(2_500)


@pytest.mark.parametrize("word", ["PAUSED", "SUBMITTED"])
def test_a_bulk_that_waits_for_somebody_is_not_stuck(world, word):
    """Nobody expects it to move."""
    world.weavr.add("1", Life.of((0, word)), operations=0)
    with world.client("w") as client:
        client.get("w:1")
        world.clock.advance(90_000)
        assert {stuck for _, stuck in marks(client)} == {None}


def test_nothing_is_marked_without_a_journal(world):
    """There is no history to measure it by."""
    world.weavr.add("1", Life.of((0, "RUNNING")))
    world.clock.advance(900_000)
    with world.bare("w") as client:
        assert (client.get("w:1").overdue, client.get("w:1").stuck) == (None, None)


# --- several clients ---

STEPS = {
    "w": ("SUBMITTED", "RUNNING", "PAUSED", "RUNNING", "COMPLETED"),
    "c": ("pending", "running", "failed"),
}


def test_several_clients_on_threads_record_each_step_once(world):
    """All look at the same moments."""
    refs = [f"w:{number}" for number in range(1, 9)] + [f"c:{id}" for id in CF[:4]]
    gate = threading.Barrier(5)

    def work():
        with world.client() as client:
            for _ in STEPS["w"]:
                gate.wait(60)
                client.get_many(refs)
                gate.wait(60)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for turn, word in enumerate(STEPS["w"]):
        for ref in refs:
            source, _, id = ref.partition(":")
            stands(world.fakes[source], id, word if source == "w" else STEPS["c"][min(turn, 2)])
        world.clock.advance(1)
        gate.wait(60)
        gate.wait(60)
    for thread in threads:
        thread.join()
    with Journal(world.path) as journal:
        for ref in refs:
            steps = journal.history(ref)
            assert words(steps) == list(STEPS[ref[0]])
            assert not any(step.regressed for step in steps)


WATCHER = """
    import sys
    import time
    from bulkstatus import Client
    from bulkstatus_cloudflare import Cloudflare
    from bulkstatus_weavr import Weavr
    weavr, cloudflare, account, journal, *refs = sys.argv[1:]
    adapters = {
        "w": Weavr(base_url=weavr, api_key="weavr-demo-key", auth_token="weavr-demo-token", budget=()),
        "c": Cloudflare(base_url=cloudflare, account_id=account, token="cloudflare-demo-token", budget=()),
    }
    with Client(adapters, journal=journal) as client:
        over = False
        while not over:
            time.sleep(0.05)  # Cloudflare allows 1,200 requests in five minutes, to all four of them
            found = client.get_many(refs)
            found.raise_for_failures()
            over = all(status.state.is_terminal for status in found)
    print("done")
"""


@pytest.mark.unrecorded
def test_several_processes_record_each_step_once(tmp_path):
    """Each of them sees all bulks to their end, on sockets, one after another by chance."""
    weavr, cloudflare = WeavrFake(), CloudflareFake()
    path = tmp_path / "state" / "journal.db"
    with ExitStack() as stack:
        urls = [stack.enter_context(serve(fake)) for fake in (weavr, cloudflare)]
        refs = [f"w:{number}" for number in range(1, 6)] + [f"c:{id}" for id in CF[:3]]
        command = [sys.executable, "-W", "error", "-c", textwrap.dedent(WATCHER)]
        for ref in refs:
            source, _, id = ref.partition(":")
            lives = {"w": ("SUBMITTED", "RUNNING", "COMPLETED"), "c": ("pending", "running", "completed")}[
                source
            ]
            life = Life.of((0, lives[0]), (2.0, lives[1]), (2.6, lives[2]))
            {"w": weavr, "c": cloudflare}[source].add(id, life)
        arguments = [*urls, cloudflare.account_id, str(path), *refs]
        watchers = [
            subprocess.Popen(
                [*command, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
            for _ in range(4)
        ]
        ends = [watcher.communicate(timeout=60) for watcher in watchers]
    assert ends == [("done\n", "")] * 4
    with Journal(path) as journal:
        for ref in refs:
            steps = journal.history(ref)
            told = words(steps)
            assert len(set(told)) == len(told)
            assert told[-1].lower() == "completed"
            assert not any(step.regressed for step in steps)
            assert len({step.cursor for step in steps}) == len(steps)


# --- what is never written ---

CANARIES = {
    "api_key": "S3CR3T-canary-key-01",
    "auth_token": "S3CR3T-canary-token-02",
    "token": "S3CR3T-canary-edge-03",
    "client_id": "canary-client-id-04",
    "client_secret": "S3CR3T-canary-client-05",
}


def test_no_byte_of_the_journal_holds_a_credential_a_payload_or_a_raw_record(tmp_path):
    """Whatever the client was used for: file, log, index and locks, while it is open and afterwards."""
    weavr = WeavrFake(api_key=CANARIES["api_key"], auth_token=CANARIES["auth_token"])
    druid = DruidFake(client_id=CANARIES["client_id"], client_secret=CANARIES["client_secret"])
    cloudflare = CloudflareFake(token=CANARIES["token"])
    weavr.add("1", Life.of((0, "PARTIALLY_COMPLETED")), operations=30, failing=3)
    weavr.add("2", Life.of((0, "RUNNING")), operations=30)
    druid.add("a-1", Life.of((0, "completed")), users=30, failed=2)
    cloudflare.add(CF[1], Life.of((0, "failed")), error=f"cannot use {CANARIES['token']} here")
    path = tmp_path / "state" / "journal.db"
    with ExitStack() as stack:
        fakes = {"w": weavr, "d": druid, "c": cloudflare}
        adapters = {name: fake.adapter(stack.enter_context(serve(fake))) for name, fake in fakes.items()}
        client = stack.enter_context(Client(adapters, journal=path))
        refs = ["w:1", "w:2", "d:a-1", f"c:{CF[1]}"]
        client.track(refs, note="a note", labels={"release": "42"})
        assert client.get("w:1").raw is not None
        client.get_many(refs, fresh=True)
        client.list(confirm=True)
        client.wait(refs, timeout=0.5)
        assert any("Ada Example" in row.request for row in client.operations("w:1"))
        assert list(client.operations("d:a-1"))
        open_bytes = _all_bytes(path.parent)
    for held in (open_bytes, _all_bytes(path.parent)):
        assert b"cannot use *** here" in held
        assert b"a note" in held
        issued = [token.encode() for token in druid._tokens]
        assert issued
        for canary in (*(text.encode() for text in CANARIES.values()), *issued):
            assert canary not in held
        for part in (
            b"Ada Example",
            b"FUNDS_INSUFFICIENT",
            b"requestPayload",
            b"submittedItemsCount",
            b"createdOn",
        ):
            assert part not in held
    assert len(rows(path, "SELECT * FROM bulks")) == 4


def _all_bytes(folder: Path) -> bytes:
    """Every file of a folder, one behind the other."""
    names = sorted(file.name for file in folder.iterdir())
    assert "journal.db" in names
    return b"".join((folder / name).read_bytes() for name in names)


# --- what is wrong with the journal, and who is told ---


def test_whoever_wants_the_journal_itself_is_told_what_is_wrong_with_it(world):
    """While answers are given without it."""
    world.path.parent.mkdir()
    world.path.mkdir()
    stands(world.weavr, "1", "RUNNING")
    with world.client() as client:
        for call in (
            lambda: client.track("w:1"),
            lambda: client.untrack("w:1"),
            lambda: client.history("w:1"),
            client.changes,
            client.resume,
        ):
            with pytest.raises(JournalError, match="not a plain file"):
                call()
        for arguments in ({"tracked": True}, {"labels": {"release": "42"}}):
            report = client.list(**arguments)
            assert {failure.kind for failure in report.failures} == {JournalError.kind}
            assert (len(report), report.complete) == (0, False)


def test_a_row_that_has_not_changed_is_written_again_after_a_while(world):
    """So that the journal tells when the bulk was last looked at, and does not prune what is still listed."""
    stands(world.weavr, "1", "RUNNING")
    with world.client("w") as client:
        seen = []
        for seconds in (0, 5, 20):
            world.clock.advance(seconds)
            client.list()
            (known,) = client.journal.find("w:1")
            seen.append(known.status.observed_at)
        assert seen[0] == seen[1] < seen[2]
        assert kinds(client.history("w:1")) == ["first"]


def test_what_was_recorded_a_while_ago_is_not_kept_in_memory(world):
    """A client that lives for weeks meets bulk after bulk, and each may keep the page alive that it came with."""
    with world.client("w") as client:
        for number in range(1, 31):
            stands(world.weavr, str(number), "RUNNING")
            world.clock.advance(11)
            client.get(f"w:{number}")
        assert len(client._client._recorder._noted) <= 2
        assert len(client.changes()) == 30
