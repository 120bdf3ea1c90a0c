"""A fake on a real loopback socket."""

import threading
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast
from urllib.parse import parse_qsl

from bulkstatus.testing._fake import Fake, FakeRequest, FakeResponse


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int, fake: Fake[Any]) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.fake = fake
        self.connections: set[_Handler] = set()
        self.guard = threading.Lock()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    @property
    def owner(self) -> _Server:
        return cast("_Server", self.server)

    def setup(self) -> None:
        super().setup()
        with self.owner.guard:
            self.owner.connections.add(self)

    def finish(self) -> None:
        with self.owner.guard:
            self.owner.connections.discard(self)
        super().finish()

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path, _, query = self.path.partition("?")
        length = int(self.headers.get("Content-Length") or 0)
        request = FakeRequest(
            method=self.command,
            path=path,
            query=dict(parse_qsl(query, keep_blank_values=True)),
            headers={name.lower(): value for name, value in self.headers.items()},
            body=self.rfile.read(length),
        )
        fault, reply = self.owner.fake.receive(request)
        if fault is not None and fault.delay:
            time.sleep(fault.delay)
        if fault is not None and fault.drop:
            self.close_connection = True
            return
        self._send(reply())

    def _send(self, response: FakeResponse) -> None:
        try:
            reason = HTTPStatus(response.status).phrase
        except ValueError:
            reason = "Unknown"
        headers = {"Content-Length": str(len(response.body)), **response.headers}
        lines = [
            f"HTTP/1.1 {response.status} {reason}",
            *(f"{name}: {value}" for name, value in headers.items()),
        ]
        with suppress(OSError):  # the client may have hung up
            # One write: two would wait for the client's delayed acknowledgement.
            self.wfile.write("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + response.body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the fake keeps its own log."""


@contextmanager
def serve(fake: Fake[Any], *, port: int = 0) -> Generator[str]:
    """Serve `fake` over HTTP on 127.0.0.1 and give its base URL, the provider's path included.

    Leaving the context closes the socket and every connection: to a client, the provider is switched off.
    """
    server = _Server(port, fake)
    thread = threading.Thread(
        target=server.serve_forever, args=(0.02,), name=f"fake-{fake.word}", daemon=True
    )
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}{fake.prefix}"
    finally:
        server.shutdown()
        thread.join()
        with server.guard:
            connections = list(server.connections)
        for handler in connections:
            server.shutdown_request(handler.request)
        server.server_close()
