"""The connections of one source, in pools that are replaced when they can no longer be trusted."""

from types import TracebackType

import anyio
import httpx

from bulkstatus._http import new_client
from bulkstatus.errors import Unavailable

# httpx walks over all connections of a pool for every request (encode/httpcore, pull request 1000).
_MOST_IN_ONE = 9


class _Pool:
    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client
        self.busy = 0
        self.retired = False


class Pools:
    """A few small httpx clients, made when they are needed: the next only when those before it have no room.

    So there are never more connections than there were requests under way together.

    One in which a request was cancelled is retired: it takes no new requests, those under way end in it, and then it
    is closed (encode/httpcore#1093). The others stay as they are.
    """

    def __init__(
        self,
        base_urls: tuple[str, ...],
        *,
        connections: int,
        transport: httpx.AsyncBaseTransport | None,
        fast: bool = True,
    ) -> None:
        self._base_urls = base_urls
        self._transport = transport
        self._fast = fast
        self._rooms = _shared_out(connections)
        self._pools: list[_Pool | None] = [None for _ in self._rooms]

    def borrow(self) -> "_Loan":
        """The client to send one request with. A TimeoutError or a broken pool in the block retires it."""
        return _Loan(self)

    def take(self) -> _Pool:
        """The first pool that has room, one request more under way in it."""
        pool = self._pools[0] or self._fill(0)
        place = 0
        while pool.busy >= self._rooms[place] and place + 1 < len(self._rooms):
            place += 1
            pool = self._pools[place] or self._fill(place)
        pool.busy += 1
        return pool

    def _fill(self, place: int) -> _Pool:
        client = new_client(
            self._base_urls, connections=self._rooms[place], transport=self._transport, fast=self._fast
        )
        pool = self._pools[place] = _Pool(client)
        return pool

    async def give_back(self, pool: _Pool, error: BaseException | None) -> None:
        """One request less is under way in it; `error` is what it ended with."""
        pool.busy -= 1
        if isinstance(error, TimeoutError) or (isinstance(error, Unavailable) and error.reason == "pool"):
            pool.retired = True
            self._pools = [None if one is pool else one for one in self._pools]
        if pool.retired and not pool.busy and self._transport is None:
            with anyio.CancelScope(shield=True):
                await pool.client.aclose()

    async def aclose(self) -> None:
        """Close all connections."""
        pools = [pool for pool in self._pools if pool is not None]
        self._pools = [None for _ in self._rooms]
        for pool in pools:
            await pool.client.aclose()


class _Loan:
    """One request's time in a pool. A class, since `asynccontextmanager` takes three times as long."""

    __slots__ = ("_pool", "_pools")
    _pool: _Pool

    def __init__(self, pools: Pools) -> None:
        self._pools = pools

    async def __aenter__(self) -> httpx.AsyncClient:
        self._pool = self._pools.take()
        return self._pool.client

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._pools.give_back(self._pool, error)


def _shared_out(connections: int) -> list[int]:
    """The sizes of as few pools as hold so many, the larger ones first."""
    pools = -(-connections // _MOST_IN_ONE)
    few, more = divmod(connections, pools)
    return [few + (place < more) for place in range(pools)]
