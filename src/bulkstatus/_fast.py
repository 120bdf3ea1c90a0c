"""httpx on the transport of aiohttp, where the extra `fast` is installed.

That transport has neither the fault that loses a pool to cancelled requests (encode/httpcore#1093) nor the pool whose
every request walks over all connections (encode/httpcore, pull request 1000). What it raises is put into httpx's
words here, so that nothing above knows which of the two carried a request.
"""

import os
import ssl
from collections.abc import AsyncIterator, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from importlib.util import find_spec
from typing import Any
from urllib.request import getproxies

import httpx

CHOICE = "BULKSTATUS_TRANSPORT"
"""The environment variable that keeps to httpx's own transport (`httpx`) although the extra is installed."""

# aiohttp's own limits (8,190 bytes a line, 128 headers) refuse what the other transport accepts; a whole answer is
# bounded by the time and the memory it may take, not by the number of its headers.
_LONGEST_LINE, _MOST_HEADERS = 65_536, 10_000
# Left to itself, aiohttp writes some of what is percent-encoded in a URL plainly: `%3A` in the id of a bulk as `:`.
_URL: ContextVar[object] = ContextVar("_URL")


def fast_transport(
    context: ssl.SSLContext, *, connections: int, keepalive: float, proxied: bool
) -> httpx.AsyncBaseTransport | None:
    """The transport of aiohttp for one source; None where it is not installed, not wanted, or a proxy is set.

    `proxied` says that the environment's proxies count for this source: aiohttp's transport knows none of them.
    """
    wanted = os.environ.get(CHOICE, "") != "httpx"
    if not wanted or (proxied and getproxies()) or find_spec("httpx_aiohttp") is None:
        return None
    import aiohttp
    from httpx_aiohttp import AiohttpTransport

    new_request: Any = aiohttp.ClientRequest

    def as_written(method: str, _url: object, **options: object) -> object:
        return new_request(method, _URL.get(), **options)

    request_class: Any = as_written

    def session() -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=connections, keepalive_timeout=keepalive, ssl=context),
            cookie_jar=aiohttp.DummyCookieJar(),
            max_line_size=_LONGEST_LINE,
            max_field_size=_LONGEST_LINE,
            max_headers=_MOST_HEADERS,
            request_class=request_class,
        )

    return _Fast(AiohttpTransport(verify=context, client=session))


class _Fast(httpx.AsyncBaseTransport):
    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self._inner = inner

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        import yarl

        url = yarl.URL(str(request.url), encoded=True)
        if url.raw_path_qs.encode("ascii") != request.url.raw_path:
            raise httpx.UnsupportedProtocol("this path cannot be sent as it stands")
        _URL.set(url)  # for the task of this one request
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
