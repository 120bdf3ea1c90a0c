"""Connection pools: when one is given up, who may stay in it, and when it is closed."""

from contextlib import AsyncExitStack, suppress

import httpx
import pytest

import bulkstatus._pools
from bulkstatus import ProtocolError, Unavailable
from bulkstatus._http import _tls_context
from bulkstatus._pools import Pools
from bulkstatus.testing import FakeTransport
from support import Scripted

pytestmark = pytest.mark.anyio
_URLS = ("https://plain.test",)


@pytest.fixture
def pools():
    """Two connections to a provider."""
    return Pools(_URLS, connections=2, transport=None)


async def _end(pools, error):
    with pytest.raises(type(error)):
        async with pools.borrow():
            raise error


def _broken_pool():
    return Unavailable("no connection became free", reason="pool")


async def test_questions_share_a_pool(pools):
    """At once and one after another."""
    async with pools.borrow() as first, pools.borrow() as second:
        assert first is second
    async with pools.borrow() as third:
        assert third is first
    await pools.aclose()
    assert first.is_closed


@pytest.mark.parametrize("error", [TimeoutError(), _broken_pool()], ids=["cancelled", "pool"])
async def test_a_pool_that_cannot_be_trusted_takes_no_new_questions(pools, error):
    """Those under way end in it; with the last of them it is closed."""
    async with pools.borrow() as old:
        async with pools.borrow() as other:
            await _end(pools, error)
            async with pools.borrow() as new:
                assert new is not old
                assert other is old
            assert not old.is_closed
        assert not old.is_closed
    assert old.is_closed
    assert not new.is_closed
    async with pools.borrow() as again:
        assert again is new
    await pools.aclose()


@pytest.mark.parametrize("error", [TimeoutError(), _broken_pool()], ids=["cancelled", "pool"])
async def test_a_retired_pool_with_nobody_in_it_is_closed_at_once(pools, error):
    """Its connections do not pile up."""
    clients = []
    for _ in range(3):
        async with pools.borrow() as client:
            clients.append(client)
        await _end(pools, error)
    assert [client.is_closed for client in clients] == [True] * 3
    assert len(set(map(id, clients))) == 3


@pytest.mark.parametrize(
    "error", [Unavailable("x", reason="connect"), Unavailable("x"), ProtocolError("x"), ZeroDivisionError()]
)
async def test_other_errors_leave_the_pool_in_use(pools, error):
    """A provider that is down says nothing about our connections."""
    async with pools.borrow() as old:
        pass
    await _end(pools, error)
    async with pools.borrow() as new:
        assert new is old
    await pools.aclose()


async def test_two_that_fail_in_one_pool_retire_it_once(pools):
    """The second does not take the new pool along."""
    with suppress(TimeoutError):
        async with pools.borrow() as old:
            await _end(pools, TimeoutError())
            async with pools.borrow() as new:
                assert new is not old
            raise TimeoutError
    async with pools.borrow() as again:
        assert again is new
    assert old.is_closed
    assert not new.is_closed
    await pools.aclose()


@pytest.fixture
async def many():
    """Twenty connections to a provider: three pools, of seven, seven and six."""
    pools = Pools(_URLS, connections=20, transport=None)
    yield pools
    await pools.aclose()


async def test_many_connections_are_several_small_pools(monkeypatch):
    """Those of httpx walk over all their connections for every request. They are made when they are needed."""
    made = []

    def new_client(urls, *, connections, transport, fast):
        made.append(connections)
        return httpx.AsyncClient(transport=FakeTransport({"https://plain.test": Scripted()}))

    monkeypatch.setattr(bulkstatus._pools, "new_client", new_client)
    for connections, sizes in [(1, [1]), (9, [9]), (10, [5, 5]), (20, [7, 7, 6]), (33, [9, 8, 8, 8])]:
        made.clear()
        pools = Pools(_URLS, connections=connections, transport=None)
        async with AsyncExitStack() as under_way:
            for number in range(connections):
                await under_way.enter_async_context(pools.borrow())
                assert sum(made) - made[-1] <= number
        assert made == sizes
        await pools.aclose()


async def test_a_request_goes_to_the_first_pool_that_has_room(many):
    """So there are no more connections than requests were under way together; the rooms that are free are used first."""
    async with AsyncExitStack() as under_way:
        first = [await under_way.enter_async_context(many.borrow()) for _ in range(6)]
        async with many.borrow() as seventh:
            async with many.borrow() as eighth:
                assert seventh is first[0]
                assert eighth is not seventh
            async with many.borrow() as again:
                assert again is eighth
        async with many.borrow() as freed:
            assert freed is first[0]
    assert len(set(map(id, first))) == 1


@pytest.mark.parametrize("error", [TimeoutError(), _broken_pool()], ids=["cancelled", "pool"])
async def test_a_request_that_was_cancelled_retires_its_own_pool_alone(many, error):
    """The connections of the others are kept, and a new pool takes its place."""
    async with AsyncExitStack() as under_way:
        clients = [await under_way.enter_async_context(many.borrow()) for _ in range(14)]
        first, second = clients[0], clients[-1]
        async with many.borrow() as third:
            await _end(many, error)
            assert not third.is_closed
        assert third.is_closed
        async with many.borrow() as in_its_place:
            assert in_its_place not in (first, second, third)
    assert not first.is_closed
    assert not second.is_closed
    async with many.borrow() as again:
        assert again is first


async def test_all_pools_share_one_tls_context(many):
    """Loading the certificates is nearly all that a new one costs."""
    _tls_context.cache_clear()
    async with AsyncExitStack() as under_way:
        for _ in range(20):
            await under_way.enter_async_context(many.borrow())
        await _end(many, TimeoutError())
    assert _tls_context.cache_info().misses == 1


async def test_all_pools_are_closed(many):
    """Not the first alone."""
    async with AsyncExitStack() as under_way:
        clients = {await under_way.enter_async_context(many.borrow()) for _ in range(20)}
    await many.aclose()
    assert [client.is_closed for client in clients] == [True] * 3


async def test_closing_pools_that_were_never_used_does_nothing(pools):
    """And they can be used after it, and after a real end."""
    await pools.aclose()
    for _ in range(2):
        async with pools.borrow() as client:
            assert not client.is_closed
        await pools.aclose()
        assert client.is_closed


async def test_a_transport_that_was_handed_in_is_not_closed_with_a_pool():
    """It is the caller's, and the next pool goes through it."""

    class Watched(FakeTransport):
        closed = 0

        async def aclose(self):
            self.closed += 1

    transport = Watched({"https://plain.test": Scripted()})
    pools = Pools(_URLS, connections=2, transport=transport)
    async with pools.borrow() as old:
        pass
    await _end(pools, TimeoutError())
    assert transport.closed == 0
    async with pools.borrow() as new:
        assert new is not old
        assert (await new.get("https://plain.test/bulks/a1")).status_code == 200


async def test_a_pool_is_made_with_what_it_was_told(monkeypatch):
    """The base URLs, the number of connections, the transport, and whether that of aiohttp may take its place."""
    made = []

    def new_client(urls, *, connections, transport, fast):
        made.append((urls, connections, transport, fast))
        return httpx.AsyncClient(transport=transport)

    monkeypatch.setattr(bulkstatus._pools, "new_client", new_client)
    transport = FakeTransport({"https://plain.test": Scripted()})
    async with Pools(_URLS, connections=5, transport=transport, fast=False).borrow():
        pass
    assert made == [(_URLS, 5, transport, False)]
