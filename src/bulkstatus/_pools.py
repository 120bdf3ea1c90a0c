"""The connections of one source, replaced when the pool they are in can no longer be trusted."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import httpx

from bulkstatus._http import new_client
from bulkstatus.errors import Unavailable


class _Pool:
    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client
        self.busy = 0
        self.retired = False


class Pools:
    """One httpx client at a time.

    One in which a request was cancelled is retired: it takes no new requests, those under way end in it, and then it
    is closed (encode/httpcore#1093).
    """

    def __init__(
        self, base_urls: tuple[str, ...], *, connections: int, transport: httpx.AsyncBaseTransport | None
    ) -> None:
        self._base_urls = base_urls
        self._connections = connections
        self._transport = transport
        self._pool: _Pool | None = None

    @asynccontextmanager
    async def borrow(self) -> AsyncGenerator[httpx.AsyncClient]:
        """The client to send one request with. A TimeoutError or a broken pool in the block retires it."""
        pool = self._pool = self._pool or _Pool(self._new())
        pool.busy += 1
        try:
            yield pool.client
        except (TimeoutError, Unavailable) as error:
            if isinstance(error, TimeoutError) or error.reason == "pool":
                pool.retired = True
                self._pool = None if self._pool is pool else self._pool
            raise
        finally:
            pool.busy -= 1
            if pool.retired and not pool.busy and self._transport is None:
                with anyio.CancelScope(shield=True):
                    await pool.client.aclose()

    def _new(self) -> httpx.AsyncClient:
        return new_client(self._base_urls, connections=self._connections, transport=self._transport)

    async def aclose(self) -> None:
        """Close all connections."""
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.client.aclose()
