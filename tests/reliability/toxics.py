"""A proxy on loopback that spoils what goes through it: slow, in slices, narrow, cut, or not there at all."""

import random
import socket
import struct
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager, suppress

from support import held_port

Toxic = Callable[[Iterator[bytes]], Iterator[bytes]]
"""What is made of the bytes that a server sends to a client."""


def latency(seconds: float, jitter: float) -> Toxic:
    """Every piece comes `seconds` late, give or take `jitter`."""
    chances = random.Random(1)

    def late(pieces: Iterator[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            time.sleep(seconds + chances.uniform(-jitter, jitter))
            yield piece

    return late


def sliced(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Every byte is a packet of its own."""
    for piece in pieces:
        for byte in piece:
            yield bytes([byte])


def bandwidth(bytes_a_second: int) -> Toxic:
    """No more than so many bytes pass in a second, a tenth of that at a time."""
    size = max(1, bytes_a_second // 10)

    def narrow(pieces: Iterator[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            for start in range(0, len(piece), size):
                time.sleep(0.1)
                yield piece[start : start + size]

    return narrow


class Cut(Exception):
    """Break the connection: with a RST if `reset`, else with the end of the stream."""

    def __init__(self, *, reset: bool) -> None:
        super().__init__()
        self.reset = reset


def cut_after(size: int, *, reset: bool) -> Toxic:
    """The connection breaks once so many bytes have come through."""

    def cut(pieces: Iterator[bytes]) -> Iterator[bytes]:
        left = size
        for piece in pieces:
            yield piece[:left]
            left -= len(piece)
            if left <= 0:
                raise Cut(reset=reset)

    return cut


class ToxicProxy:
    """Passes connections on to a port of this machine. Its own port stays its own while it is down."""

    def __init__(self, upstream: int, port: int) -> None:
        self.port = port
        self.connections = 0
        self.toxic: Toxic = iter
        self._upstream = upstream
        self._listener: socket.socket | None = None
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"http://127.0.0.1:{self.port}"

    def up(self) -> None:
        """Listen (again)."""
        listener = socket.create_server(("127.0.0.1", self.port), backlog=64)
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def down(self) -> None:
        """As an unplugged network that says so: what is open is reset, and what comes is refused."""
        listener, self._listener = self._listener, None
        if listener is not None:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        with self._lock:
            still = list(self._open)
        for connection in still:
            _reset(connection)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._pass_on, args=(connection,), daemon=True).start()

    def _pass_on(self, client: socket.socket) -> None:
        with suppress(OSError), client, socket.create_connection(("127.0.0.1", self._upstream)) as server:
            with self._lock:
                self._open |= {client, server}
            try:
                threading.Thread(target=_copy, args=(client, server), daemon=True).start()
                for piece in self.toxic(_pieces(server)):
                    client.sendall(piece)
            except Cut as cut:
                if cut.reset:
                    _reset(client)
            finally:
                with self._lock:
                    self._open -= {client, server}
                for one in (client, server):
                    with suppress(OSError):
                        one.shutdown(socket.SHUT_RDWR)


def _reset(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.shutdown(socket.SHUT_RD)  # wakes whoever reads; the RST goes out with the close
        connection.close()


def _pieces(source: socket.socket) -> Iterator[bytes]:
    while piece := source.recv(65536):
        yield piece


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        for piece in _pieces(source):
            target.sendall(piece)
        target.shutdown(socket.SHUT_WR)


@contextmanager
def toxic_proxy(upstream: int, toxic: Toxic = iter) -> Generator[ToxicProxy]:
    """Run a ToxicProxy in front of a port."""
    with ExitStack() as stack:
        proxy = ToxicProxy(upstream, stack.enter_context(held_port()))
        proxy.toxic = toxic
        proxy.up()
        try:
            yield proxy
        finally:
            proxy.down()


@contextmanager
def black_hole(host: str = "127.0.0.1", port: int = 0) -> Generator[int]:
    """A port whose connections are never made: its queue is full, so what knocks is dropped and not refused.

    Raises OSError when the port is taken, or there is no such address here.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket(family))
        listener.bind((host, port))
        listener.listen(0)
        for _ in range(8):
            waiting = stack.enter_context(socket.socket(family))
            waiting.setblocking(False)
            with suppress(BlockingIOError):
                waiting.connect(listener.getsockname()[:2])
        yield listener.getsockname()[1]
