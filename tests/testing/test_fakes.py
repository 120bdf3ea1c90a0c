"""Fakes that play a scenario: every step with every provider, in process and on sockets; and their clients."""

import asyncio
import http.client
import random
import stat
import threading
from datetime import UTC, datetime
from urllib.parse import urlsplit

import anyio
import pytest

from bulkstatus import AuthError, Client, NotFound, Policy, State, Verdict, _blocking, _times
from bulkstatus.errors import ConfigError
from bulkstatus.testing import (
    FakeRequest,
    Fakes,
    Fault,
    _virtual,
    cancelled,
    delayed,
    dropped,
    expired,
    failed,
    fake_names,
    load_fake,
    outage,
    partial,
    paused,
    queued,
    refused,
    running,
    says,
    succeeded,
    throttled,
    vanished,
)
from support import Scripted, held_port

NAMES = fake_names()
MAKE = {
    State.QUEUED: queued,
    State.RUNNING: running,
    State.PAUSED: paused,
    State.SUCCEEDED: succeeded,
    State.PARTIAL: partial,
    State.FAILED: failed,
    State.CANCELLED: cancelled,
    State.EXPIRED: expired,
}


@pytest.fixture
def fakes():
    """Fakes in process, on virtual time."""
    with Fakes() as made:
        yield made


def raw(url, path, method="GET"):
    """What a plain HTTP client gets: status, headers and body; None when the connection is closed."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=20)
    try:
        connection.request(method, parts.path + path)
        reply = connection.getresponse()
        return reply.status, reply.headers, reply.read()
    except http.client.RemoteDisconnected:
        return None
    finally:
        connection.close()


@pytest.mark.parametrize("sockets", [False, True], ids=["in process", "sockets"])
@pytest.mark.parametrize("name", NAMES)
def test_each_state_of_each_provider_is_read_as_that_state(name, sockets):
    """What a scenario calls it, the client calls it: the fake says it in its provider's word."""
    with Fakes(sockets=sockets) as fakes:
        states = load_fake(name).states
        refs = {state: fakes.add("s", name, MAKE[state]()) for state in states}
        report = fakes.client.get_many(list(refs.values()))
        report.raise_for_failures()
        found = {str(status.ref): status for status in report}
    for state, ref in refs.items():
        assert found[ref].state is state
        assert found[ref].native_state == states[state]


@pytest.mark.parametrize("name", NAMES)
def test_a_whole_life_is_seen_step_by_step(name, fakes):
    """Each state in its time, a word that nobody documented, and a bulk that is not there for a while."""
    ref = fakes.add(
        "s", name, queued(10), running(10), says("oddity", 10), vanished(10), running(10), succeeded()
    )
    seen = []
    for _ in range(6):
        fakes.advance(5)
        try:
            seen.append(fakes.client.get(ref).state)
        except NotFound:
            seen.append(None)
        fakes.advance(5)
    assert seen == [State.QUEUED, State.RUNNING, State.UNKNOWN, None, State.RUNNING, State.SUCCEEDED]


@pytest.mark.parametrize(
    ("trouble", "requests"),
    [
        (throttled(retry_after=2), 2),
        (outage(times=2), 3),
        (outage(status=502, html="<h1>down</h1>"), 2),
        (dropped(), 2),
        (delayed(3), 1),
        (Fault(status=500, body=b"{}"), 2),
    ],
    ids=["throttled", "outage", "page", "dropped", "delayed", "fault"],
)
@pytest.mark.parametrize("name", NAMES)
def test_trouble_of_a_bulk_is_met_and_survived(name, trouble, requests, fakes):
    """It strikes requests about that bulk and no other, as often as it says; the client asks again."""
    ref, other = fakes.add("s", name, trouble, running()), fakes.add("s", name, running())
    before = fakes.clock()
    assert fakes.client.get(other).state is State.RUNNING
    assert fakes.client.get(ref).state is State.RUNNING
    id = ref.partition(":")[2]
    assert sum(request.is_about(id) for request in fakes.requests["s"]) == requests
    assert fakes.clock() - before >= (trouble.retry_after or 0) + trouble.delay


@pytest.mark.parametrize("name", NAMES)
def test_refused_credentials_are_told(name, fakes):
    """For as long as it lasts, everything of the source is refused; and then nothing is."""
    ref = fakes.add("s", name, running())
    fakes.fail("s", refused(60))
    with pytest.raises(AuthError):
        fakes.client.get(ref)
    fakes.advance(60)
    assert fakes.client.get(ref).state is State.RUNNING


@pytest.mark.parametrize("name", NAMES)
def test_trouble_on_sockets_is_what_any_client_meets(name):
    """Status, headers and page of the first answer; then the provider's own."""
    with Fakes(sockets=True) as fakes:
        kinds = {
            fakes.add("s", name, throttled(retry_after=7), running()): (429, "7", b""),
            fakes.add("s", name, outage(html="<h1>down</h1>"), running()): (503, None, b"<h1>down</h1>"),
            fakes.add("s", name, dropped(), running()): None,
        }
        for ref, expected in kinds.items():
            path = f"/any/{ref.partition(':')[2]}"
            answer = raw(fakes.urls["s"], path)
            told = None if answer is None else (answer[0], answer[1].get("Retry-After"), answer[2])
            assert told == expected
            assert raw(fakes.urls["s"], path)[0] in (400, 401, 404)


def test_a_window_opens_and_closes_by_the_fakes_clock(fakes):
    """Counted from the moment it was added; `heal` ends it early, one or all of a source."""
    id = fakes.add("s", "weavr", running()).partition(":")[2]
    fakes.fail("s", outage(20), after=10)

    def is_well(path=f"/multi/bulks/{id}"):
        return fakes["s"].receive(FakeRequest(method="GET", path=path))[0] is None

    seen = []
    for seconds in (9, 1, 19, 1):
        fakes.advance(seconds)
        seen.append(is_well())
    assert seen == [True, False, False, True]
    one = fakes.fail(f"s:{id}", outage(1_000))
    assert (is_well(), is_well("/multi/bulks"), is_well(f"/multi/bulks/{id}0")) == (False, True, True)
    fakes.fail("s", outage(1_000))
    fakes.heal("s", one)
    assert not is_well()
    fakes.heal("s")
    assert is_well()


def test_hours_of_waiting_take_no_time(fakes):
    """A wait of half an hour through a 429, an outage and a vanished bulk, in one call."""
    began = fakes.clock()
    ref = fakes.add(
        "s",
        "weavr",
        queued(2),
        running(60),
        throttled(retry_after=1),
        vanished(3),
        running(1_800),
        partial(failed=3),
    )
    fakes.fail("s", outage(8), after=5)
    outcome = fakes.client.wait([ref], timeout=7_200)
    assert outcome.verdicts == {ref: Verdict.PARTIAL}
    assert outcome[ref].status.counts.failed == 3
    assert 1_866 <= fakes.clock() - began < 1_930
    ended = fakes.clock()
    assert (
        ended - outcome[ref].status.created_at.timestamp() >= 1_865
        if outcome[ref].status.created_at
        else True
    )
    assert fakes.clock() == ended


def test_a_watch_goes_on_only_while_somebody_reads_it(fakes):
    """What is slow to read misses nothing, and time is the same however long the reader takes."""
    ref = fakes.add("s", "weavr", queued(100), running(100), succeeded())
    kinds, moments = [], []
    with fakes.client.watch([ref]) as watch:
        for change in watch:
            threading.Event().wait(0.01)  # the loop is given the time to run ahead, which it must not use
            kinds.append(change.status.native_state)
            moments.append((fakes.clock() - change.observed_at.timestamp()) < 1)
    assert list(dict.fromkeys(kinds)) == ["SUBMITTED", "RUNNING", "COMPLETED"]
    assert all(moments)


def test_a_call_that_never_ends_is_ended_with_the_reason():
    """It is an error of the test, and says what to do; the client goes on."""
    with Fakes(longest=600) as fakes:
        ref = fakes.add("s", "weavr", running())
        with pytest.raises(
            AssertionError, match="not over after 600 s; give it a timeout, or its bulk a life"
        ):
            fakes.client.wait([ref])
        assert fakes.client.get(ref).state is State.RUNNING


def test_what_a_watch_has_planned_happens_while_time_is_moved(fakes):
    """`advance` leaves nothing out."""
    ref = fakes.add("s", "weavr", running(30), succeeded())
    with fakes.client.watch([ref]) as watch:
        fakes.advance(120)
        changes = watch.changes(within=0.0)
    assert changes[-1].verdict is Verdict.SUCCEEDED


def test_a_function_that_is_told_of_changes_may_ask_the_client(fakes):
    """Time stands still while it works, and goes on while it waits for an answer, less than it may take in all."""
    ref = fakes.add("s", "weavr", running(60), succeeded())
    other = fakes.add("s", "weavr", throttled(retry_after=20), running())
    told = []

    def on_change(change):
        if not told:
            told.append((change.status.state, fakes.client.get(other).state))

    assert fakes.client.wait([ref], timeout=600, on_change=on_change).succeeded
    assert told == [(State.RUNNING, State.RUNNING)]


def test_a_function_that_never_returns_is_not_waited_for_for_ever(fakes, monkeypatch):
    """As on real time: after a while time goes on, and with it the wait."""
    monkeypatch.setattr(_virtual, "_PATIENCE", 0.05)
    ref = fakes.add("s", "weavr", running(60), succeeded())
    over, returned = threading.Event(), []

    def on_change(_):
        returned.append(over.wait(20))

    assert fakes.client.wait([ref], timeout=600, on_change=on_change).succeeded
    assert returned == []
    over.set()


def test_a_journal_keeps_up_with_virtual_time(fakes, tmp_path):
    """What a client of one's own sees is written as it happens, a bulk that is gone too."""
    ref = fakes.add("s", "weavr", queued(20), running(30), vanished())
    with Client(fakes.adapters, transport=fakes.transport, journal=tmp_path / "journal.db") as client:
        assert client.wait([ref], timeout=600).verdicts == {ref: Verdict.GONE}
        assert [step.kind for step in client.history(ref)] == ["first", "state", "gone"]


def test_awaiting_clients_are_on_the_same_time(fakes):
    """`run` gives a loop for them; on another loop they say so rather than wait for real."""
    ref = fakes.add("s", "weavr", running(3_000), succeeded())

    async def main():
        async with fakes.async_client(policy=Policy(attempts=2)) as client:
            outcome = await client.wait([ref])
            with pytest.raises(RuntimeError, match=r"await anyio\.sleep"):
                fakes.advance(1)
            return outcome.verdicts

    assert fakes.run(main) == {ref: Verdict.SUCCEEDED}
    assert fakes.client.get(ref).state is State.SUCCEEDED
    with pytest.raises(RuntimeError, match=r"fakes\.run\(main\)"):
        asyncio.run(main())


def test_real_time_is_real():
    """In process without a virtual clock: an awaiting client runs on any loop, and nobody moves the time."""
    with Fakes(real_time=True) as fakes:
        ref = fakes.add("s", "weavr", running())

        async def main():
            async with fakes.async_client() as client:
                return (await client.get(ref)).state

        assert anyio.run(main) is State.RUNNING
        assert fakes.run(main) is State.RUNNING
        assert fakes.client.get(ref).state is State.RUNNING
        with pytest.raises(RuntimeError, match="real time"):
            fakes.advance(1)


def test_everything_is_put_back():
    """Clocks, threads and chances of the process are what they were, also after an error; one at a time has them."""
    before = (_times.utc_now, _blocking.LoopThread, asyncio.wrap_future, anyio.to_thread.run_sync)
    random.seed(3)
    expected = random.Random(3).random()

    def broken():
        with Fakes() as fakes:
            fakes.add("s", "weavr", running())
            fakes.client.list()
            with pytest.raises(RuntimeError, match="other fakes are on virtual time"):
                Fakes().__enter__()
            raise KeyError

    with pytest.raises(KeyError):
        broken()
    with pytest.raises(ConfigError, match="no scenario at"):
        Fakes("/nowhere/at.toml")
    assert (_times.utc_now, _blocking.LoopThread, asyncio.wrap_future, anyio.to_thread.run_sync) == before
    assert random.random() == expected
    with Fakes(), Fakes(real_time=True) as fakes, pytest.raises(ConfigError, match="no sources yet"):
        _ = fakes.client


def test_everything_is_put_back_when_the_end_is_interrupted(fakes, monkeypatch):
    """Ctrl-C while the client is closed does not leave the process on virtual time."""
    fakes.add("s", "weavr", running())
    fakes.client.list()
    close = fakes.client.close

    def interrupted():
        close()
        raise KeyboardInterrupt

    monkeypatch.setattr(fakes.client, "close", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fakes.__exit__(None, None, None)
    assert abs((_times.utc_now() - datetime.now(UTC)).total_seconds()) < 3_600
    with Fakes():
        pass


@pytest.mark.parametrize("name", NAMES)
def test_the_configuration_reaches_the_fakes(name, tmp_path):
    """A file for its owner's eyes, gone afterwards; what it holds are the fake's own credentials."""
    with Fakes(sockets=True) as fakes:
        ref = fakes.add("a.b-c", name, running())
        path = fakes.config
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        with Client.from_config(path) as client:
            assert client.get(ref).state is State.RUNNING
    assert not path.exists()
    with Fakes() as fakes:
        ref = fakes.add("s", name, running())
        with Client.from_config(fakes.config, transport=fakes.transport) as client:
            assert client.get(ref).state is State.RUNNING


def test_sources_are_known_before_the_client_is_used(fakes):
    """One that comes later, twice, or with another provider is an error; a bulk may come at any time."""
    fakes.add("s", "weavr", running())
    fakes.client.list()
    with pytest.raises(ConfigError, match="add 'late' before the client is used"):
        fakes.add("late", "weavr", running())
    with pytest.raises(ConfigError, match="source 's' is of weavr, not of 'druid'"):
        fakes.add("s", "druid", running())
    with pytest.raises(ConfigError, match="no name of a source"):
        fakes.put("a b", load_fake("weavr")())
    with pytest.raises(ConfigError, match="there is a source 's' already"):
        fakes.put("s", load_fake("weavr")())
    with pytest.raises(ConfigError, match="is not a bulk id here"):
        fakes.add("s", "weavr", running(), id="x")
    assert len(fakes.client.list(states={"succeeded"}).statuses) == 0
    late = fakes.add("s", "weavr", succeeded(), id="7")
    assert [str(status.ref) for status in fakes.client.list(states={"succeeded"})] == [late]
    assert fakes["s"].word == "weavr"


@pytest.mark.parametrize("sockets", [False, True], ids=["in process", "sockets"])
def test_a_fake_of_a_strangers_is_reached_like_ours(sockets):
    """One that was made by hand, and is installed nowhere."""
    with Fakes(sockets=sockets) as fakes:
        fakes.put("plain", Scripted())
        fakes.fail("plain", dropped())
        assert fakes.client.get("plain:a1").state is State.RUNNING
        assert fakes.refs == ("plain:a1",)
        assert len(fakes.requests["plain"]) == 2


def test_ports_follow_one_another():
    """The first is the one that was named; one that is taken is an error that names it."""
    with held_port() as port, Fakes(sockets=True, port=port) as fakes:
        fakes.add("s", "weavr", running())
        assert urlsplit(fakes.urls["s"]).port == port
        with (
            pytest.raises(ConfigError, match=f"cannot serve 's' at port {port}: "),
            Fakes(sockets=True, port=port) as others,
        ):
            others.add("s", "weavr", running())


@pytest.mark.parametrize("speed", [0, -1, float("nan"), float("inf")])
def test_a_speed_that_is_none_is_refused(speed):
    """Time goes forward."""
    with pytest.raises(ConfigError, match="speed is above 0"):
        Fakes(speed=speed)


def test_a_scenario_is_a_file_or_a_scenario():
    """A marker takes whatever is written there; the error says what it can be."""
    with pytest.raises(
        ConfigError, match=r"scenario is a TOML file or a bulkstatus\.testing\.Scenario, not int"
    ):
        Fakes(7)  # type: ignore[arg-type] # on purpose
