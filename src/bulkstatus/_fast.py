"""httpx on the transport of aiohttp, where the extra `fast` is installed.

That transport has neither the fault that loses a pool to cancelled requests (encode/httpcore#1093) nor the pool whose
every request walks over all connections (encode/httpcore, pull request 1000). What it raises is put into httpx's
words here, so that nothing above knows which of the two carried a request.
"""

import os
import ssl
from collections.abc import AsyncIterator, Generator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING
from urllib.request import getproxies

import httpx

if TYPE_CHECKING:
    import aiohttp

CHOICE = "BULKSTATUS_TRANSPORT"
"""The environment variable that keeps to httpx's own transport (`httpx`) although the extra is installed."""


def fast_transport(
    context: ssl.SSLContext, *, connections: int, keepalive: float, proxied: bool
) -> httpx.AsyncBaseTransport | None:
    """The transport of aiohttp for one source; None where it is not installed, not wanted, or a proxy is set.

    `proxied` says that the environment's proxies count for this source: aiohttp's transport knows none of them.
    """
    wanted = os.environ.get(CHOICE, "") != "httpx"
    if not wanted or (proxied and getproxies()) or find_spec("httpx_aiohttp") is None:
        return None
    from httpx_aiohttp import AiohttpTransport

    from bulkstatus._session import session

    def open_session() -> "aiohttp.ClientSession":
        return session(context, connections=connections, keepalive=keepalive)

    return _Fast(AiohttpTransport(verify=context, client=open_session))


class _Fast(httpx.AsyncBaseTransport):
    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self._inner = inner

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        import yarl

        # aiohttp writes a path in its own way; one that it would change is not the one that was asked for.
        if yarl.URL(str(request.url)).raw_path_qs.encode("ascii") != request.url.raw_path:
            raise httpx.UnsupportedProtocol("this path cannot be sent as it stands")
        with _in_words_of_httpx():
            reply = await self._inner.handle_async_request(request)
        return httpx.Response(
            reply.status_code,
            headers=reply.headers,
            stream=_Body(reply.stream),
            request=request,
            extensions=reply.extensions,
        )

    async def aclose(self) -> None:
        await self._inner.aclose()


class _Body(httpx.AsyncByteStream):
    def __init__(self, inner: httpx.AsyncByteStream | httpx.SyncByteStream) -> None:
        assert isinstance(inner, httpx.AsyncByteStream)  # noqa: S101 - narrows for the checkers; async transports give no other
        self._inner = inner

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _in_words_of_httpx():
            async for chunk in self._inner:
                yield chunk

    async def aclose(self) -> None:
        with _in_words_of_httpx():
            await self._inner.aclose()


@contextmanager
def _in_words_of_httpx() -> Generator[None]:
    """httpx_aiohttp maps some errors, others come through, and a server that hangs up becomes a ConnectTimeout."""
    import aiohttp

    try:
        yield
    except (httpx.TransportError, aiohttp.ClientError) as error:
        original = error if isinstance(error, aiohttp.ClientError) else error.__cause__
        if isinstance(original, BaseException):
            raise _kind_of(original)(str(error)) from original
        raise


def _kind_of(error: BaseException) -> type[httpx.TransportError]:
    import aiohttp

    kinds: tuple[
        tuple[type[BaseException] | tuple[type[BaseException], ...], type[httpx.TransportError]], ...
    ] = (
        (aiohttp.InvalidURL, httpx.UnsupportedProtocol),
        (aiohttp.ConnectionTimeoutError, httpx.ConnectTimeout),
        (aiohttp.SocketTimeoutError, httpx.ReadTimeout),
        (aiohttp.ServerTimeoutError, httpx.ReadTimeout),
        (aiohttp.ClientConnectorError, httpx.ConnectError),
        (aiohttp.ServerDisconnectedError, httpx.RemoteProtocolError),
        (aiohttp.ClientPayloadError, httpx.RemoteProtocolError),
        (aiohttp.ClientResponseError, httpx.RemoteProtocolError),
        (aiohttp.ClientConnectionError, httpx.ReadError),
    )
    return next((kind for cause, kind in kinds if isinstance(error, cause)), httpx.ReadError)
