"""What the tests of the engine and the facade share: a stranger's adapter, and servers that do as they are told."""

import json
import os
import socket
import ssl
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import ClassVar

import anyio
import msgspec

from bulkstatus import AsyncClient, Client
from bulkstatus.adapter import (
    Adapter,
    Auth,
    BulkStatus,
    Call,
    IdGrammar,
    Request,
    Response,
    SecretText,
    State,
    Vocabulary,
    app_token,
    bearer,
    decode,
    status_error,
)
from bulkstatus.testing import Fake, FakeRequest, FakeResponse

NOT_THERE = (
    b'{"code": "404", "message": "none", "success": false, "errors": [], "result": {"message": "none"}}'
)
"""What stands in a 404 or 410 by which each of the three providers says itself that something is not there."""

WORDS = Vocabulary("plain bulk", {"running": State.RUNNING, "done": State.SUCCEEDED})


class Record(msgspec.Struct):
    """A bulk as the plain provider tells it."""

    id: str
    status: str


_RECORD = msgspec.json.Decoder(Record)


class Plain(Adapter, frozen=True, kw_only=True):
    """An adapter as a stranger would write it: one call, a bearer, or client credentials with a `token_url`."""

    provider: ClassVar[str] = "plain"
    id_grammar: ClassVar[IdGrammar] = IdGrammar(r"[a-z0-9-]{1,32}", "lower-case letters, digits and hyphens")

    base_url: str
    token: SecretText = "plain-token"
    token_url: str | None = None
    body_limit: int = 8 * 1024 * 1024

    def base_urls(self) -> tuple[str, ...]:
        return (self.base_url, *filter(None, [self.token_url]))

    def auth(self) -> Auth:
        if self.token_url is None:
            return bearer(self.token)
        return app_token(
            Request.to(self.token_url, "token"), client_id="plain-id", client_secret="plain-secret"
        )

    def status(self, id: str) -> Call[BulkStatus]:
        def read(response: Response) -> BulkStatus:
            if response.status != 200:
                raise status_error(response, own=True)
            record = decode(response, _RECORD.decode)
            state, why = WORDS.decide(record.status, None, self.state_map)
            return BulkStatus(
                source=response.source,
                provider=self.provider,
                id=record.id,
                state=state,
                native_state=record.status,
                observed_at=response.received_at,
                evidence=why,
            ).carrying(raw=response.body)

        return Call(Request.to(self.base_url, "bulks", id, body_limit=self.body_limit), read)


class Caseless(Plain, frozen=True, kw_only=True):
    """One of a provider to whom `a1` and `A1` are one bulk."""

    id_grammar: ClassVar[IdGrammar] = IdGrammar(r"[A-Za-z0-9-]{1,32}", "letters and digits", cased=False)


class Empty(Fake):
    """A provider without bulks, for tests of what stands between it and whoever asks: it answers what its subclass says."""

    def adapter(self, base_url: str) -> Plain:
        return Plain(base_url=base_url)

    @classmethod
    def demo(cls, *, clock=time.time):
        return cls(clock=clock)

    def bulk_ids(self) -> tuple[str, ...]:
        return ()

    def bulk_id(self, number):
        return f"a{number}"

    def place(self, id, life, *, total=100, failed=0):
        raise NotImplementedError


class Scripted(Empty):
    """A plain provider: bulks that all run, and tokens for whoever asks. `respond` answers in its place."""

    word = "plain"

    def __init__(self, respond: Callable[[FakeRequest], FakeResponse] | None = None) -> None:
        super().__init__()
        self._respond = respond
        self.tokens = 0
        self.revoked: set[str] = set()
        self.token_reply: dict[str, object] = {"token_type": "bearer", "expires_in": 3600}

    def answer(self, request: FakeRequest) -> FakeResponse:
        if self._respond is not None:
            return self._respond(request)
        if request.path == "/token":
            self.tokens += 1
            return FakeResponse.json({"access_token": f"t{self.tokens}", **self.token_reply})
        if request.headers.get("authorization") in self.revoked:
            return FakeResponse(status=401)
        return FakeResponse.json({"id": request.path.rpartition("/")[2], "status": "running"})

    @classmethod
    def demo(cls, *, clock=None) -> "Scripted":
        del clock
        return cls()

    def bulk_ids(self) -> tuple[str, ...]:
        return ("a1",)

    def paths(self) -> list[str]:
        """The paths that were asked for."""
        return [request.path for request in self.requests]


# A command waits a moment for the journal, and then goes on without it; on a busy machine that moment passes.
_PATIENT = """
import sys
from bulkstatus import _recorder, _sqlite
from bulkstatus.cli import main
_recorder._MOMENT = _recorder._READING = 30.0
sys.exit(main())
"""
PATIENT = (sys.executable, "-c", _PATIENT)
"""The command line, which waits for a journal until that is read and written."""
STUBBORN = (sys.executable, "-c", _PATIENT.replace("sys.exit", "_sqlite._BUSY = 600.0\nsys.exit"))
"""The same, which does not give a journal up that is locked either."""

Step = bytes | Callable[[socket.socket], None]
GOOD_BODY = json.dumps({"id": "a1", "status": "running"}).encode()


def reply(
    body: bytes = GOOD_BODY, status: int | str = 200, *headers: str, length: int | str | None = None
) -> bytes:
    """An HTTP reply, byte for byte, that announces its length truthfully unless told otherwise."""
    announced = len(body) if length is None else length
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {announced}", "Connection: close", *headers]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


class RawServer:
    """Sends what a script says to one connection after another, and keeps what came in. The last step repeats."""

    def __init__(self, script: tuple[Step, ...], context: ssl.SSLContext | None) -> None:
        self.script = script
        self.requests: list[bytes] = []
        self.connections = 0
        self.hung_up = 0
        self.stop = threading.Event()
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"http://127.0.0.1:{self.port}"

    def close(self) -> None:
        """Stop listening; scripts that look at `stop` end."""
        self.stop.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            step = self.script[min(self.connections, len(self.script) - 1)]
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection, step), daemon=True).start()

    def _serve(self, connection: socket.socket, step: Step) -> None:
        # A client that hangs up, or refuses the handshake, is what many tests are about.
        with suppress(OSError), connection:
            connection.settimeout(10)
            if self._context is not None:
                connection = self._context.wrap_socket(connection, server_side=True)
            with connection:
                request = b""
                while b"\r\n\r\n" not in request:
                    chunk = connection.recv(65536)
                    if not chunk:
                        return
                    request += chunk
                self.requests.append(request)
                if isinstance(step, bytes):
                    connection.sendall(step)
                    connection.shutdown(socket.SHUT_WR)
                    connection.recv(1)  # until the client has read all of it
                else:
                    step(connection)


@contextmanager
def held_port() -> Generator[int]:
    """A port at which nobody listens, and which nobody else gets: a server of this test that is told of it may listen.

    A port that was merely free a moment ago is given to whoever asks for any (port 0), such as another test that runs
    beside this one. Linux gives none away that a socket is bound to: of 300 that were held so, 12,000 servers at port
    0 got not one. By its number it is had all the same, where both sides set SO_REUSEADDR and only one listens.
    """
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


@contextmanager
def raw_server(*script: Step, context: ssl.SSLContext | None = None) -> Generator[RawServer]:
    """Run a RawServer."""
    server = RawServer(script, context)
    try:
        yield server
    finally:
        server.close()


def dripping(
    server_stop: Callable[[], bool], data: bytes, *, again: bytes = b"", every: float = 0.02
) -> Step:
    """A step that sends `data` a byte at a time, then `again` for ever."""

    def drip(connection: socket.socket) -> None:
        wait = threading.Event()
        for byte in data:
            connection.sendall(bytes([byte]))
            wait.wait(every)
        while again and not server_stop():
            connection.sendall(again)
            wait.wait(every)

    return drip


def ask(kind: str, adapter: Adapter, *refs: str, **options) -> list[BulkStatus]:
    """Get bulks one after another through a client of its own, `blocking` or `async`."""
    wanted = refs or ("plain:a1",)
    if kind == "blocking":
        with Client({"plain": adapter}, **options) as client:
            return [client.get(ref) for ref in wanted]

    async def main() -> list[BulkStatus]:
        async with AsyncClient({"plain": adapter}, **options) as client:
            return [await client.get(ref) for ref in wanted]

    return anyio.run(main)


def run_script(script: str, *arguments: str, strict: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a script in an interpreter of its own that finds this module; `strict` makes warnings errors."""
    path = os.pathsep.join(filter(None, [str(Path(__file__).parent), os.environ.get("PYTHONPATH")]))
    return subprocess.run(
        [sys.executable, *(["-W", "error"] if strict else []), "-c", textwrap.dedent(script), *arguments],
        capture_output=True,
        text=True,
        timeout=90,  # a guard against a hang: a busy machine takes seconds to begin
        env={**os.environ, "PYTHONPATH": path},
        check=False,
    )
