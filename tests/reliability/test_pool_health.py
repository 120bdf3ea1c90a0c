"""What is left of the connections of a source after its requests were given up, a thousand times over."""

import itertools
import os
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.metadata import version

import anyio
import anyio.from_thread
import msgspec
import pytest

from bulkstatus import AsyncClient, Client, DeadlineExceeded, Policy, Unavailable
from bulkstatus._http import new_client
from bulkstatus.testing import serve
from support import GOOD_BODY, Plain, Scripted, held_port, raw_server, reply

pytestmark = pytest.mark.unrecorded

# With 10000 it takes a minute for each client and transport.
CHURN = int(os.environ.get("BULKSTATUS_CHURN", "1000"))
TOGETHER = 8


class BlackHole:
    """Takes every request and answers none, until it is healed; from then on it answers at once."""

    def __init__(self):
        self.healed = threading.Event()

    def __call__(self, connection):
        if not self.healed.is_set():
            connection.settimeout(60)
            connection.recv(1)  # until the client hangs up
            return
        connection.sendall(reply())


class Asker:
    """One client of either kind, asked from here as a blocking one."""

    def __init__(self, kind, adapter, policy):
        self.policy = policy
        self._made = kind, adapter

    def __enter__(self):
        kind, adapter = self._made
        if kind == "blocking":
            self._client = Client({"plain": adapter}, policy=self.policy)
            self.many = self._client.get_many
            self.get = self._client.get
            self._client.__enter__()
            return self
        self._portal = anyio.from_thread.start_blocking_portal()
        portal = self._portal.__enter__()
        self._opened = portal.wrap_async_context_manager(AsyncClient({"plain": adapter}, policy=self.policy))
        client = self._opened.__enter__()
        self.many = lambda refs: portal.call(client.get_many, refs)
        self.get = lambda ref, **options: portal.call(lambda: client.get(ref, **options))
        return self

    def __exit__(self, *error):
        if hasattr(self, "_portal"):
            self._opened.__exit__(*error)
            self._portal.__exit__(*error)
        else:
            self._client.__exit__(*error)

    def allow(self, seconds):
        """Give every request so long from now on."""
        msgspec.structs.force_setattr(self.policy, "request_timeout", seconds)


def _of_room(room, urls, *, connections, **options):
    assert connections == TOGETHER + 1
    return new_client(urls, connections=room, **options)


# Before 4.16, anyio leaves the socket of a connection that is cut off while it is made to the garbage collector, which
# closes it at once and warns: tried with 4.7, 4.9, 4.12, 4.13, 4.14 and 4.15.
closed_by_the_collector = (
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
    if tuple(map(int, version("anyio").split(".")[:2])) < (4, 16)
    else lambda test: test
)


# httpx's own pool loses a connection to a request that is cut off just when it was given one it had waited for
# (encode/httpcore#1093). Where there is one for each question nobody waits; where there is not, it comes to that.
@closed_by_the_collector
@pytest.mark.row("F57")
@pytest.mark.parametrize(
    ("kind", "room"), [("blocking", TOGETHER + 1), ("async", TOGETHER + 1), ("async", 3)]
)
def test_a_thousand_requests_that_were_cut_off_cost_no_connection(room, kind, transport, monkeypatch):
    """Each was ended by the time that a request may take; then thirty of thirty are answered."""
    monkeypatch.setattr("bulkstatus._pools.new_client", partial(_of_room, room))
    hole = BlackHole()
    policy = Policy(request_timeout=0.01, attempts=1, connections=TOGETHER)
    # From before a connection is made to long after, on a fast machine and on a busy one.
    moments = itertools.cycle([0.0002 * step for step in range(1, 41)])
    with raw_server(hole) as server, Asker(kind, Plain(base_url=server.url), policy) as asker:
        refs = [f"plain:b{number}" for number in range(TOGETHER)]
        met = Counter()
        for _ in range(CHURN // TOGETHER):
            asker.allow(next(moments))
            met.update(failure.reason for failure in asker.many(refs).failures)
        assert met == {"timeout": CHURN // TOGETHER * TOGETHER}
        hole.healed.set()
        asker.allow(30.0)
        assert [asker.get("plain:a1").id for _ in range(30)] == ["a1"] * 30


@pytest.mark.row("F57")
def test_a_thousand_callers_who_left_cost_no_connection(kind, transport):
    """Their requests are not cut off with them, and there are never more than the source may have."""
    there = threading.Event()

    def late(connection):
        there.wait(60)
        connection.sendall(reply())

    policy = Policy(request_timeout=60, attempts=1, connections=TOGETHER)
    with raw_server(late) as server, Asker(kind, Plain(base_url=server.url), policy) as asker:
        for _ in range(CHURN):
            with pytest.raises(DeadlineExceeded):
                asker.get("plain:a1", timeout=0.0005)
        assert server.connections <= TOGETHER
        there.set()
        assert [asker.get("plain:a1").id for _ in range(30)] == ["a1"] * 30


def _kept(connection):
    """Answers one request after another on a connection, the first of which has come."""
    head = b"HTTP/1.1 200 X\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    while True:
        connection.sendall(head % len(GOOD_BODY) + GOOD_BODY)
        asked = b""
        while not asked.endswith(b"\r\n\r\n"):
            chunk = connection.recv(65536)
            if not chunk:
                return
            asked += chunk


@pytest.mark.anyio
@pytest.mark.parametrize("connections", [8, 32])
async def test_there_are_no_more_connections_than_callers(connections, transport):
    """Ten callers who ask a dozen times each, over one pool or several: what is open is used again."""
    policy = Policy(connections=connections)
    with raw_server(_kept) as server:
        async with AsyncClient({"plain": Plain(base_url=server.url)}, policy=policy) as client:

            async def caller():
                for _ in range(12):
                    await client.get("plain:a1")

            async with anyio.create_task_group() as group:
                for _ in range(10):
                    group.start_soon(caller)
        assert server.connections <= min(10, connections)


def _two_hundred(client):
    def ask(number):
        try:
            return client.get(f"plain:b{number}").id
        except Unavailable as error:
            return error.reason

    with ThreadPoolExecutor(200) as threads:
        return Counter(threads.map(ask, range(200), timeout=60))


@pytest.mark.row("F58")
def test_two_hundred_threads_beside_a_closed_port(transport, quick):
    """All are told so; the first answer after it is there ends it, and nobody waited for a place in the pool."""
    with held_port() as port:
        adapter = Plain(base_url=f"http://127.0.0.1:{port}")
        with Client({"plain": adapter}) as client:
            assert _two_hundred(client) == {"connect": 200}
            with serve(Scripted(), port=port):
                assert client.get("plain:a1").id == "a1"
                assert len(client.get_many([f"plain:b{number}" for number in range(200)])) == 200
                assert _two_hundred(client) == {f"b{number}": 1 for number in range(200)}


@pytest.mark.row("F58")
def test_two_hundred_threads_beside_a_host_that_takes_and_never_answers(transport, quick):
    """Each gets its error, by time or by what others met; then thirty of thirty are answered."""
    hole = BlackHole()
    policy = Policy(request_timeout=0.2)
    with raw_server(hole) as server, Client({"plain": Plain(base_url=server.url)}, policy=policy) as client:
        assert _two_hundred(client) == {"timeout": 200}
        hole.healed.set()
        msgspec.structs.force_setattr(policy, "request_timeout", 30.0)
        assert [client.get("plain:a1").id for _ in range(30)] == ["a1"] * 30
