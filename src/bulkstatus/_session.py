"""aiohttp's session, held to the bounds of httpx's own transport: it takes only what it asked for, and a bounded head."""

import asyncio
import socket
import ssl
from functools import partial
from typing import Any, Final, cast
from weakref import WeakSet

import aiohttp
import aiohttp.abc
from aiohttp.client_proto import ResponseHandler
from aiohttp.http_exceptions import LineTooLong

from bulkstatus._names import look_up
from bulkstatus.errors import ConfigError

_LONGEST_HEAD: Final = 100 * 1024
"""The most that is read of status line and headers, as on the other transport (httpcore's MAX_INCOMPLETE_EVENT_SIZE).

aiohttp knows a limit for each line and one for their number, 8,190 bytes and 128 unless told otherwise. Those refuse
what the other transport accepts, and raised they allow for a gigabyte.
"""
_MOST_AROUND: Final = 1024 * 1024
_MOST_HEADERS: Final = _LONGEST_HEAD // 4


class Unasked(aiohttp.ClientConnectionError):
    """The connection holds something that came before the request; nothing was sent on it."""


class Connection(ResponseHandler):
    """One connection of the pool, which knows when it cannot be used again, and when what is around a body does not end."""

    def __init__(self, loop: asyncio.AbstractEventLoop, made: "WeakSet[Connection]") -> None:
        super().__init__(loop)
        self._wire: asyncio.BaseTransport | None = None
        made.add(self)
        self._answered = False
        """Whether the head of the answer has been read."""
        self._received = 0
        """How many bytes came since the request, or since the head."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._wire = transport
        super().connection_made(transport)

    def abort_wire(self) -> None:
        """End the connection without a word; aiohttp's own close waits for the server's in TLS, longer than there is a loop."""
        if isinstance(self._wire, asyncio.WriteTransport):
            self._wire.abort()

    def set_response_params(self, **parameters: Any) -> None:  # noqa: ANN401 - handed on as they are
        # Called for each request, before it is sent. aiohttp looks at what is left over when a connection goes back
        # into the pool, while the packet that ended the answer is still being read.
        if self._began_another():
            self.force_close()
        super().set_response_params(**parameters)
        self._answered, self._received = False, 0

    def _began_another(self) -> bool:
        """Whether a further answer began on this connection, and has not come whole."""
        parser = self._parser
        try:
            return parser is not None and parser.feed_eof() is not None
        except Exception:  # noqa: BLE001 - what cannot even be ended is no head that came whole
            return True

    def feed_data(self, data: Any, size: int = 0) -> None:  # noqa: ANN401 - aiohttp's own pair
        message, _ = data
        informational = message.code < 200 and message.code != 101  # noqa: PLR2004 - RFC 9110, 15.2
        self._answered, self._received = not informational, 0
        if message.headers.get("Transfer-Encoding", "chunked").strip().lower() != "chunked":
            # Such an answer is refused (`_check_head` in _http.py), and nobody knows where one behind it would begin.
            # By then aiohttp would have put the connection back into the pool, if all of it has come.
            self.force_close()
        super().feed_data(data, size)

    def data_received(self, data: bytes) -> None:
        if data and self._answered and self._payload is not None and self._payload.is_eof():
            # Else whole answers that nobody asked for pile up while the connection waits in the pool.
            self._give_up()
            return
        self._received += len(data)
        super().data_received(data)
        if self._is_beyond_bounds():
            self.set_exception(LineTooLong("what is around the body", str(_LONGEST_HEAD)))
            self._give_up()

    def _is_beyond_bounds(self) -> bool:
        if not self._answered:
            return self._received > _LONGEST_HEAD
        # Chunks announced by more than they hold, or trailers: aiohttp keeps those, a gigabyte if it comes.
        body: int = 0 if self._payload is None else self._payload.total_bytes
        return self._received > 2 * body + _MOST_AROUND

    def _give_up(self) -> None:
        self.force_close()
        if self.transport is not None:
            self.transport.abort()

    def close(self) -> None:
        # A farewell by TLS waits for the server's own, which may not come: the client would be closed before the socket.
        self.abort()


class _Request(aiohttp.ClientRequest):
    async def send(self, conn: Any) -> aiohttp.ClientResponse:  # noqa: ANN401 - aiohttp's connection
        if conn.protocol.should_close:
            raise Unasked
        return await super().send(conn)


_OVERRIDDEN = (
    (aiohttp.ClientRequest, "send"),
    (ResponseHandler, "set_response_params"),
    (ResponseHandler, "feed_data"),
    (ResponseHandler, "data_received"),
)


class _Resolver:
    """An aiohttp.abc.AbstractResolver."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[aiohttp.abc.ResolveResult]:
        del family  # that of each address
        return [
            aiohttp.abc.ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in await look_up(host, port)
        ]

    async def close(self) -> None:
        """Nothing is kept."""


def session(
    context: ssl.SSLContext,
    made: "WeakSet[Connection]",
    *,
    connections: int,
    keepalive: float,
    middleware: aiohttp.ClientMiddlewareType,
) -> aiohttp.ClientSession:
    """A session for one source: a small pool, no cookies, no name kept longer than a connection.

    Its connections are put into `made`.
    Raises ConfigError for an aiohttp that would pass over what is overridden here.
    """
    connector = aiohttp.TCPConnector(
        limit=connections,
        keepalive_timeout=keepalive,
        ssl=context,
        resolver=cast("aiohttp.abc.AbstractResolver", _Resolver()),
        use_dns_cache=False,
    )
    if not (hasattr(connector, "_factory") and all(hasattr(cls, name) for cls, name in _OVERRIDDEN)):
        raise ConfigError(
            f"this release does not know aiohttp {aiohttp.__version__}; set BULKSTATUS_TRANSPORT=httpx, or install an"
            " older one",
            reason="transport",
        )
    # There is no public way to name the class of a connection; a test sees that this one works.
    connector._factory = cast("Any", partial(Connection, loop=asyncio.get_running_loop(), made=made))  # noqa: SLF001 - as said
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        max_line_size=_LONGEST_HEAD,
        max_field_size=_LONGEST_HEAD,
        max_headers=_MOST_HEADERS,
        request_class=_Request,
        middlewares=(middleware,),
    )
