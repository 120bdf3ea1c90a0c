"""A fake on a real loopback socket."""

import socket
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any, cast
from urllib.parse import parse_qsl

from bulkstatus.testing._fake import Fake, FakeRequest, FakeResponse

OnRequest = Callable[[FakeRequest, FakeResponse | None], object]

_LONGEST_BODY = 8 * 1024 * 1024
# A body behind one of these would be read as the beginning of the next answer (RFC 9110, 6.4.1).
_WITHOUT_BODY = (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int, fake: Fake[Any], on_request: OnRequest | None) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.fake = fake
        self.on_request = on_request
        self._connections: set[socket.socket] = set()
        self._guard = threading.Lock()

    def server_bind(self) -> None:
        """Bind without asking a name server for the name of the address, as the base does."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = "127.0.0.1", self.socket.getsockname()[1]

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - as in the base
        """Remember the connection before its thread is there: one that has hardly begun is closed with the others."""
        with self._guard:
            self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:  # noqa: ANN401 - as in the base
        """Forget the connection, and close it."""
        with self._guard:
            self._connections.discard(request)
        super().shutdown_request(request)

    def close_all(self) -> None:
        """Close every connection, once no more are taken."""
        with self._guard:
            connections = tuple(self._connections)
        for connection in connections:
            with suppress(OSError):  # the client may have hung up
                connection.shutdown(socket.SHUT_RDWR)  # also wakes the thread that reads from it
            self.shutdown_request(connection)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - as in the base
        """Say what went wrong, unless the client hung up."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Refused(Exception):
    """A request whose end cannot be told, so that the connection is of no more use."""

    def __init__(self, status: int) -> None:
        super().__init__()
        self.status = status


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    @property
    def owner(self) -> _Server:
        return cast("_Server", self.server)

    def __getattr__(self, name: str) -> Callable[[], None]:
        """Answer every method (`do_GET`, ...): which of them there are is for the fake to say."""
        if name.startswith("do_"):
            return self._answer
        raise AttributeError(name)

    def _answer(self) -> None:
        path, _, query = self.path.partition("?")
        try:
            body = self._body()
        except _Refused as refused:
            self.close_connection = True
            self._send(FakeResponse(status=refused.status, headers={"Connection": "close"}))
            return
        request = FakeRequest(
            method=self.command,
            path=path,
            query=dict(parse_qsl(query, keep_blank_values=True)),
            headers={name.lower(): value for name, value in self.headers.items()},
            body=body,
        )
        response = self._played(request)
        if self.owner.on_request is not None:
            self.owner.on_request(request, response)
        if response is None:
            self.close_connection = True
        else:
            self._send(response)

    def _played(self, request: FakeRequest) -> FakeResponse | None:
        """What the fake answers; None where it closes the connection."""
        fault, reply = self.owner.fake.receive(request)
        if fault is not None and fault.delay:
            time.sleep(fault.delay)
        if fault is not None and fault.drop:
            return None
        try:
            return reply()
        except Exception as error:  # noqa: BLE001 - a bug of the fake, which has logged it
            told = f"the fake of {self.owner.fake.word} has a bug: {type(error).__name__}\n"
            return FakeResponse(status=500, body=told.encode(), headers={"Content-Type": "text/plain"})

    def _body(self) -> bytes:
        """The body of the request. Raises _Refused when its length is not told, or is too much, or when it is cut off."""
        if "Transfer-Encoding" in self.headers:
            raise _Refused(HTTPStatus.LENGTH_REQUIRED)
        told, *others = set(self.headers.get_all("Content-Length", ["0"]))
        if others or not (told.isascii() and told.isdigit()):
            raise _Refused(HTTPStatus.BAD_REQUEST)
        if len(told) > len(str(_LONGEST_BODY)) or int(told) > _LONGEST_BODY:
            raise _Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        body = self.rfile.read(int(told))
        if len(body) < int(told):
            raise _Refused(HTTPStatus.BAD_REQUEST)  # the client has hung up
        return body

    def _send(self, response: FakeResponse) -> None:
        try:
            reason = HTTPStatus(response.status).phrase
        except ValueError:
            reason = "Unknown"
        is_bare = response.status in _WITHOUT_BODY
        length = {} if is_bare else {"Content-Length": str(len(response.body))}
        headers = {**length, **response.headers}
        lines = [
            f"HTTP/1.1 {response.status} {reason}",
            *(f"{name}: {value}" for name, value in headers.items()),
        ]
        body = b"" if is_bare or self.command == "HEAD" else response.body
        with suppress(OSError):  # the client may have hung up
            # One write: two would wait for the client's delayed acknowledgement.
            self.wfile.write("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the fake keeps its own log."""


@contextmanager
def serve(fake: Fake[Any], *, port: int = 0, on_request: OnRequest | None = None) -> Generator[str]:
    """Serve `fake` over HTTP on 127.0.0.1 and give its base URL, the provider's path included.

    `on_request` is called with each request and what is answered (None: the connection is closed), on the connection's
    thread. Leaving the context closes the socket and every connection: to a client, the provider is switched off.
    """
    server = _Server(port, fake, on_request)
    thread = threading.Thread(
        target=server.serve_forever, args=(0.02,), name=f"fake-{fake.word}", daemon=True
    )
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}{fake.prefix}"
    finally:
        server.shutdown()
        thread.join()
        server.close_all()
        server.server_close()
