"""httpx over aiohttp. What aiohttp raises is put into httpx's words, so that nothing above knows what carried a request."""

import ssl
from collections.abc import AsyncIterator
from contextvars import ContextVar
from weakref import WeakSet

import aiohttp
import httpx
import yarl
from httpx_aiohttp import AiohttpTransport

from bulkstatus._session import Connection, session

_asked_for: ContextVar[yarl.URL] = ContextVar("_asked_for")


class Transport(httpx.AsyncBaseTransport):
    """The connections of one source: at most `connections`, idle ones kept for `keepalive` seconds."""

    def __init__(self, context: ssl.SSLContext, *, connections: int, keepalive: float) -> None:
        self._made: WeakSet[Connection] = WeakSet()

        def open_session() -> aiohttp.ClientSession:
            return session(
                context, self._made, connections=connections, keepalive=keepalive, middleware=_once
            )

        self._inner = AiohttpTransport(verify=context, client=open_session)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        url = yarl.URL(str(request.url), encoded=True)
        if url.raw_path_qs.encode("ascii") != request.url.raw_path:
            raise httpx.UnsupportedProtocol("this path cannot be sent as it stands")
        _asked_for.set(url)
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
        for connection in self._made:
            connection.abort_wire()


class _Body(httpx.AsyncByteStream):
    def __init__(self, inner: httpx.AsyncByteStream | httpx.SyncByteStream) -> None:
        assert isinstance(inner, httpx.AsyncByteStream)  # noqa: S101 - narrows for the checkers; async transports give no other
        self._inner = inner

    async def __aiter__(self) -> AsyncIterator[bytes]:
        broken: BaseException | None = None
        try:
            async for chunk in self._inner:
                yield chunk
        except (httpx.TransportError, aiohttp.ClientError) as error:
            # httpx_aiohttp has some in httpx's words already, a payload that was cut as a ReadError.
            broken = error.__cause__ if isinstance(error.__cause__, aiohttp.ClientError) else error
        if broken is not None:
            raise _in_words_of_httpx(broken)

    async def aclose(self) -> None:
        await self._inner.aclose()


async def _once(request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Send a request once and as it was written, errors in httpx's words.

    Left to themselves, aiohttp sends a GET again when the connection breaks, on a new connection too, so that a server
    in trouble would get twice the requests, and takes away percent signs that it finds needless (`%2F` in a query);
    httpx_aiohttp calls a server that hangs up a ConnectTimeout.
    """
    request.url = _asked_for.get()
    broken: Exception
    try:
        reply = await send(request)
    except (aiohttp.ClientError, OSError) as error:
        broken = error
    except ValueError:
        broken = httpx.LocalProtocolError("a header cannot be sent as it stands")
    else:
        # Nobody reads it, and httpx_aiohttp fails to encode one that is not UTF-8.
        reply.reason = None
        return reply
    raise _in_words_of_httpx(broken)


_KINDS: tuple[tuple[type[BaseException], type[httpx.TransportError]], ...] = (
    (aiohttp.InvalidURL, httpx.UnsupportedProtocol),
    (aiohttp.ConnectionTimeoutError, httpx.ConnectTimeout),
    (aiohttp.ClientConnectorError, httpx.ConnectError),
    (aiohttp.ServerDisconnectedError, httpx.RemoteProtocolError),
    (aiohttp.ClientPayloadError, httpx.RemoteProtocolError),
    (aiohttp.ClientResponseError, httpx.RemoteProtocolError),
    (TimeoutError, httpx.ReadTimeout),
)


def _in_words_of_httpx(error: BaseException) -> httpx.TransportError:
    """The same error as httpx would have raised it, what caused it behind it.

    aiohttp's own is left out: it claims to be an ssl.SSLError or an OSError without being whole as one.
    """
    if isinstance(error, httpx.TransportError):
        return error
    kind = next((kind for cause, kind in _KINDS if isinstance(error, cause)), httpx.ReadError)
    told = kind(type(error).__name__)
    told.__cause__ = error.__cause__
    return told
