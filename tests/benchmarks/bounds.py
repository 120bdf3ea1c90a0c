"""What one answer may cost in memory and time, whatever the server sends; and a few prices that are promised.

python tests/benchmarks/bounds.py             all of it, over both transports
python tests/benchmarks/bounds.py --check     ends with 1 when a goal is missed
python tests/benchmarks/bounds.py --tries 20  more tries for what is measured in time

Each figure of memory is the growth of the highest resident size of a process of its own, from after a first ordinary
answer to after the answer in question. The servers are another process, on loopback. Ctrl-C has a benchmark of its
own: interrupts.py.
"""

import argparse
import asyncio
import json
import multiprocessing
import resource
import socket
import statistics
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))  # as pytest does: this file may be run by itself

from benchmarks.speed.children import in_child
from bulkstatus import AsyncClient, BulkStatusError, Client, Policy
from bulkstatus.adapter import Response, decode
from bulkstatus.testing import Life, load_fake, serve

TRANSPORTS = ("httpx", "aiohttp")
_MIB = 1024 * 1024
_MOST_GROWTH = 32.0
_DEADLINE = 1.0
_ID = "112233445566778899"


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - a command line


# --- what a server may send ---


def _gzip(parts: Iterator[bytes]) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join([*map(packer.compress, parts), packer.flush()])


def _whole(body: bytes, *headers: str) -> bytes:
    lines = ["HTTP/1.1 200 OK", "Content-Type: application/json", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def _rows(row: bytes, size: int, array: bytes = b"operations") -> bytes:
    return b'{"count": 1, "%s": [%s]}' % (array, b",".join([row] * (size // (len(row) + 1) - 10)))


def _operation(number: int) -> dict[str, object]:
    return {
        "operationId": f"9{number:017d}",
        "sequence": number,
        "method": "POST",
        "path": "/transfers",
        "status": "COMPLETED",
        "requestPayload": json.dumps({"description": "x" * 300}),
        "responsePayload": json.dumps({"id": "7" * 300}),
    }


def _plain() -> bytes:
    return _whole(json.dumps({"bulkId": _ID, "status": "RUNNING"}).encode())


CELLS = {
    "ordinary": "Transfer 4711 of Ada Example, déjà vu. ",
    "one escape": f"{'Transfer 4711 of Ada Example. ' * 15}\x1b[31m{'x' * 30}",
    "an escape in each word": "Transfer\u202e déjà\u202e vu\u202e ",
}


def _zeros(size: int) -> Iterator[bytes]:
    return (bytes(_MIB) for _ in range(size // _MIB))


ANSWERS: dict[str, Callable[[], bytes]] = {
    "8 MiB and a byte": lambda: _whole(b" " * (8 * _MIB + 1)),
    "1 GiB in gzip": lambda: _whole(_gzip(_zeros(1024 * _MIB)), "Content-Encoding: gzip"),
    "gzip in gzip": lambda: _whole(_gzip(iter([_gzip(_zeros(256 * _MIB))])), "Content-Encoding: gzip, gzip"),
    "[ x 8 million": lambda: _whole(b"[" * (8 * _MIB - 1)),
    '{"a": x 100,000': lambda: _whole(b'{"a":' * 100_000),
    "8 MiB of empty records": lambda: _whole(_rows(b"{}", 8 * _MIB)),
    "8 MiB of empty arrays": lambda: _whole(_rows(b"[]", 8 * _MIB)),
    "8 MiB of numbers": lambda: _whole(_rows(b"1", 8 * _MIB)),
    "8 MiB of records with an id": lambda: _whole(_rows(b'{"operationId":"9"}', 8 * _MIB)),
    "8 MiB in one text": lambda: _whole(b'{"bulkId": "%s"}' % (b"a" * (8 * _MIB - 100))),
    "8 MiB of escapes in one text": lambda: _whole(
        b'{"status": "%s"}' % (rb"\u001b" * (8 * _MIB // 6 - 100))
    ),
    "8 MiB of members": lambda: _whole(
        b"{%s}" % b",".join(b'"k%d":1' % number for number in range(8 * _MIB // 12))
    ),
    "an honest page of 100 operations": lambda: _whole(
        json.dumps({"count": 100, "operations": [_operation(number) for number in range(100)]}).encode()
    ),
}


def _until_hung_up(connection: socket.socket, data: bytes, *, every: float = 0.0) -> None:
    while True:
        connection.sendall(data)
        time.sleep(every)


_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
ENDLESS: dict[str, Callable[[socket.socket], None]] = {
    "an endless body": lambda peer: (
        peer.sendall(_HEAD + b"\r\n"),
        _until_hung_up(peer, b"[" * 65536),
    )[1],
    "endless chunks of gzip that hold nothing": lambda peer: (
        peer.sendall(
            _HEAD
            + b"Content-Encoding: gzip\r\n\r\n"
            + zlib.compressobj(9, zlib.DEFLATED, 31).flush(zlib.Z_SYNC_FLUSH)
        ),
        _until_hung_up(peer, b"\x00\x00\x00\xff\xff" * 10_000),
    )[1],
}
SLOW: dict[str, Callable[[socket.socket], None]] = {
    "no answer": lambda peer: _until_hung_up(peer, b"", every=0.05) if not peer.recv(0) else None,
    "a head that drips": lambda peer: (peer.sendall(_HEAD), _until_hung_up(peer, b"x", every=0.02))[1],
    "a body that drips": lambda peer: (
        peer.sendall(_HEAD + b"\r\n"),
        _until_hung_up(peer, b" ", every=0.02),
    )[1],
    "endless 103": lambda peer: _until_hung_up(peer, b"HTTP/1.1 103 Early Hints\r\n\r\n", every=0.02),
}


def _serve(pipe: Any) -> None:
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    pipe.send(listener.getsockname()[1])
    made: dict[str, bytes] = {}

    def answer(peer: socket.socket) -> None:
        with suppress(OSError), peer:
            while True:
                head = b""
                while b"\r\n\r\n" not in head:
                    chunk = peer.recv(65536)
                    if not chunk:
                        return
                    head += chunk
                number = int(head.split(b"/")[1].split(b" ")[0])
                name = NAMES[number]
                if name in ENDLESS or name in SLOW:
                    (ENDLESS | SLOW)[name](peer)
                    return
                if name not in made:
                    made[name] = (ANSWERS | {"": _plain})[name]()
                peer.sendall(made[name])

    while True:
        peer, _ = listener.accept()
        threading.Thread(target=answer, args=(peer,), daemon=True).start()


NAMES = ("", *ANSWERS, *ENDLESS, *SLOW)


# --- measured in processes of their own ---


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _client(port: int, name: str, **policy: Any) -> Client:
    adapter = load_fake("weavr")().adapter(f"http://127.0.0.1:{port}/{NAMES.index(name)}")
    return Client({"w": adapter}, policy=Policy(attempts=1, **policy))


def _ask(client: Client, how: str) -> str:
    try:
        if how == "operations":
            return f"{len(list(client.operations('w:' + _ID)))} rows"
        return str(client.get("w:" + _ID).state)
    except BulkStatusError as error:
        return f"{type(error).__name__} {error.reason or ''}".strip()


def growth(port: int, name: str, how: str) -> tuple[float, str]:
    """By how many MiB an answer makes the process grow, and what was made of it."""
    with _client(port, "") as client:
        _ask(client, how)
    with _client(port, name, request_timeout=10.0) as client:
        before = _peak()
        said = _ask(client, how)
        return _peak() - before, said


def overshoot(port: int, name: str, tries: int) -> tuple[list[float], str]:
    """By how many ms a question outlasts its deadline."""
    beyond = []
    said = ""
    with _client(port, name, request_timeout=_DEADLINE) as client:
        for _ in range(tries):
            began = time.perf_counter()
            said = _ask(client, "get")
            beyond.append(1000 * (time.perf_counter() - began - _DEADLINE))
    return beyond, said


def rejection(port: int, name: str, tries: int) -> tuple[list[float], str]:
    """How many ms it takes from the question to its rejection."""
    taken = []
    said = ""
    with _client(port, name) as client:
        for _ in range(tries):
            began = time.perf_counter()
            said = _ask(client, "get")
            taken.append(1000 * (time.perf_counter() - began))
    return taken, said


def twin(tries: int) -> tuple[list[float], str]:
    """What the blocking client adds to a request of the awaiting one, in ms: medians of interleaved rounds."""
    fake = load_fake("weavr")()
    fake.add(_ID, Life.of((0, "RUNNING")))
    adapter = fake.adapter
    with serve(fake) as url:

        async def awaiting() -> float:
            async with AsyncClient({"w": adapter(url)}) as client:
                await client.get("w:" + _ID)
                began = time.perf_counter()
                for _ in range(100):
                    await client.get("w:" + _ID)
                return time.perf_counter() - began

        def blocking() -> float:
            with Client({"w": adapter(url)}) as client:
                client.get("w:" + _ID)
                began = time.perf_counter()
                for _ in range(100):
                    client.get("w:" + _ID)
                return time.perf_counter() - began

        return [10 * (blocking() - asyncio.run(awaiting())) for _ in range(tries)], "get"


def watched(bulks: int) -> tuple[float, str]:
    """The highest resident size, in MiB, of a process that waits for so many bulks, fakes included elsewhere."""
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    child = multiprocessing.get_context("spawn").Process(target=_fakes, args=(theirs, bulks))
    child.start()
    urls = ours.recv()
    sources = {word: load_fake(word)().adapter(url) for word, url in urls.items()}
    refs = [f"{list(urls)[number % 3]}:{number + 1:08d}" for number in range(bulks)]
    with Client(sources) as client:
        outcome = client.wait(refs, timeout=20)
    ours.send(None)
    child.join()
    return psutil.Process().memory_info().rss / _MIB, f"{len(outcome)} bulks pending"


def _fakes(pipe: Any, bulks: int) -> None:
    lives = {"weavr": "RUNNING", "cloudflare": "running", "druid": "processing"}
    fakes = {word: load_fake(word)() for word in lives}
    for number in range(bulks):
        word = list(lives)[number % 3]
        fakes[word].add(f"{number + 1:08d}", Life.of((0, lives[word])))
    with serve(fakes["weavr"]) as one, serve(fakes["cloudflare"]) as two, serve(fakes["druid"]) as three:
        pipe.send({"weavr": one, "cloudflare": two, "druid": three})
        pipe.recv()


def sanitising(cell: str, tries: int) -> tuple[list[float], str]:
    """How many µs a cell of 480 characters takes."""
    from bulkstatus._text import printable

    cell = (cell * 480)[:480]
    taken = []
    for _ in range(tries):
        began = time.perf_counter()
        for _ in range(1_000):
            printable(cell)
        taken.append(1000 * (time.perf_counter() - began))
    return taken, "480 characters"


def deep(tries: int) -> tuple[list[float], str]:
    """How many ms it takes to reject what is nested too deep, the network left out."""
    taken = []
    response = Response.now(body=b"[" * 1_000_000)
    for _ in range(tries):
        began = time.perf_counter()
        with suppress(BulkStatusError):
            decode(response, json.loads)
        taken.append(1000 * (time.perf_counter() - began))
    return taken, "1,000,000 brackets"


# --- the table ---


class Line(NamedTuple):
    """One figure beside its goal; `said` is what was made of the answer."""

    what: str
    transport: str
    figure: float
    goal: float
    unit: str
    said: str

    @property
    def holds(self) -> bool:
        return self.figure <= self.goal

    def __str__(self) -> str:
        cells = (
            self.what,
            self.transport,
            f"{self.figure:,.1f} {self.unit}",
            f"{self.goal:g} {self.unit}",
            "yes" if self.holds else "**no**",
            self.said,
        )
        return f"| {' | '.join(cells)} |"


def _p95(values: list[float]) -> float:
    return sorted(values)[min(len(values) - 1, int(0.95 * len(values)))]


def lines(port: int, tries: int) -> Iterator[Line]:
    """All figures, as they are taken."""
    for transport in TRANSPORTS:
        for name in (*ANSWERS, *ENDLESS):
            for how in ("get", "operations"):
                grown, said = in_child(growth, port, name, how, BULKSTATUS_TRANSPORT=transport)
                yield Line(f"{name}: memory, {how}", transport, grown, _MOST_GROWTH, "MiB", said)
        for name in SLOW:
            beyond, said = in_child(overshoot, port, name, tries, BULKSTATUS_TRANSPORT=transport)
            yield Line(f"{name}: beyond the deadline, p95", transport, _p95(beyond), 200, "ms", said)
            yield Line(f"{name}: beyond the deadline, at most", transport, max(beyond), 1000, "ms", said)
        taken, said = in_child(rejection, port, "8 MiB and a byte", tries, BULKSTATUS_TRANSPORT=transport)
        yield Line("8 MiB and a byte: rejected after", transport, statistics.median(taken), 200, "ms", said)
        added, said = in_child(twin, max(3, tries), BULKSTATUS_TRANSPORT=transport)
        yield Line(
            "blocking over awaiting, each request", transport, statistics.median(added), 0.3, "ms", said
        )
        size, said = in_child(watched, 1_000, BULKSTATUS_TRANSPORT=transport)
        yield Line("1,000 bulks watched: memory in all", transport, size, 150, "MiB", said)
    taken, said = in_child(deep, max(3, tries), BULKSTATUS_TRANSPORT="httpx")
    yield Line("nested too deep: rejected after", "", statistics.median(taken), 50, "ms", said)
    for what, cell in CELLS.items():
        taken, said = in_child(sanitising, cell, max(3, tries), BULKSTATUS_TRANSPORT="httpx")
        yield Line(f"a cell for the terminal, {what}", "", statistics.median(taken), 5, "µs", said)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--tries", type=int, default=4, help="how often each time is taken")
    parser.add_argument("--check", action="store_true", help="exit 1 when a goal is missed")
    options = parser.parse_args()
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    server = spawn.Process(target=_serve, args=(theirs,), daemon=True)
    server.start()
    port = ours.recv()
    _say("| what | transport | figure | goal | holds | what came of it |\n|---|---|---|---|---|---|")
    found = []
    for line in lines(port, options.tries):
        found.append(line)
        _say(str(line))
    server.terminate()
    missed = [line for line in found if not line.holds]
    _say(f"\n{len(found) - len(missed)} of {len(found)} goals hold")
    sys.exit(bool(missed and options.check))


if __name__ == "__main__":
    main()
