"""How soon Ctrl-C ends a command and a script, wherever it meets them: a table in markdown.

python tests/benchmarks/interrupts.py              every situation, three times each
python tests/benchmarks/interrupts.py --times 1    less sure, and quicker
python tests/benchmarks/interrupts.py --check      ends with 1 where one in twenty takes longer than 200 ms
python tests/benchmarks/interrupts.py --only dns   the situations whose name holds that word

Each child is a process of its own against a server on loopback; it is sent SIGINT once it is seen to be in the
situation, and the time runs until it has ended, by the interrupt and without a word of complaint. Linux only: that a
child tries to connect, or waits for a file, is read from /proc.
"""

import argparse
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, suppress
from pathlib import Path
from statistics import median
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))  # as pytest does: this file may be run by itself

from bulkstatus import Journal
from support import Step, raw_server, reply

GOAL = 0.2
_PATIENCE = 20.0
_SETTLED = 0.05
BULK = {"bulkId": "1", "status": "RUNNING"}
# What a script that was interrupted may say: the traceback of the interrupt itself.
_NOISE = ("Exception ignored", "never retrieved", "was destroyed", "Unclosed", "ResourceWarning", "Fatal")


class Child(NamedTuple):
    """A process, what is known of it, and the files it works with."""

    process: subprocess.Popen[str]
    folder: Path

    def until(self, is_so: Callable[[], bool]) -> None:
        """Wait until something is so, and a moment longer. Raises RuntimeError when the process ends before."""
        ends = time.monotonic() + _PATIENCE
        while not is_so():
            if self.process.poll() is not None or time.monotonic() > ends:
                self.process.kill()
                raise RuntimeError(f"not in its situation: {self.process.communicate()}")
            time.sleep(0.005)
        time.sleep(_SETTLED)

    def has_open(self, file: Path) -> bool:
        """True while it has a file open."""
        with suppress(OSError):
            return any(link.readlink() == file for link in Path(f"/proc/{self.process.pid}/fd").iterdir())
        return False

    def reads(self, text: str) -> None:
        """Wait until it has written a line that begins so."""
        assert self.process.stdout is not None
        while not (line := self.process.stdout.readline()).startswith(text):
            if not line:
                raise RuntimeError(f"ended early: {self.process.communicate()}")
        time.sleep(_SETTLED)


class Stage(NamedTuple):
    """Where a child is to be: the address it asks, how one sees that it is there, and what it is told to do."""

    url: str
    until: Callable[[Child], None]
    does: str = "get"
    begins: str = ""


# --- situations ---


@contextmanager
def connecting(_: Path) -> Generator[Stage]:
    """Nobody answers: the queue of a listener that accepts nobody is full, so Linux drops what comes."""
    with socket.socket() as listener, ExitStack() as stack:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        time.sleep(_SETTLED)
        before = _trying(port)
        yield Stage(
            f"http://127.0.0.1:{port}", lambda child: child.until(lambda: len(_trying(port) - before) > 0)
        )


def _trying(port: int) -> set[str]:
    """The sockets that try to connect to a port, as Linux names them."""
    lines = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
    return {words[1] for words in lines if words[3] == "02" and int(words[2].rpartition(":")[2], 16) == port}


@contextmanager
def _served(*steps: Step, does: str = "get") -> Generator[Stage]:
    with raw_server(*steps) as server:
        yield Stage(server.url, lambda child: child.until(lambda: len(server.requests) >= 1), does)
        server.stop.set()


def _silence(connection: socket.socket) -> None:
    connection.settimeout(60)
    connection.recv(1)  # until the client hangs up


@contextmanager
def answerless(_: Path) -> Generator[Stage]:
    """The request was read, and no answer comes."""
    with _served(_silence) as stage:
        yield stage


@contextmanager
def unread(folder: Path) -> Generator[Stage]:
    """As before, and whoever is to read the output does not: the pipe is full, and there is more for it."""
    full = """
    import os, sys
    from bulkstatus.cli import _main
    prepare = _main._prepare
    def fill():
        prepare()
        os.set_blocking(1, False)
        try:
            while True:
                os.write(1, b"x")
        except BlockingIOError:
            os.set_blocking(1, True)
        sys.stdout.write("more")
    _main._prepare = fill
    """
    with answerless(folder) as stage:
        yield stage._replace(begins=full)


@contextmanager
def backing_off(_: Path) -> Generator[Stage]:
    """The provider wants to be left alone for a minute."""
    with _served(reply(b"", 503, "Retry-After: 60")) as stage:
        yield stage


@contextmanager
def dripping_body(_: Path) -> Generator[Stage]:
    """The answer comes a byte at a time."""

    def drip(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while True:
            connection.sendall(b" ")
            time.sleep(0.02)

    with _served(drip) as stage:
        yield stage


@contextmanager
def name_lookup(_: Path) -> Generator[Stage]:
    """The system's resolver does not come back, as with a name server that is down."""
    hang = """
    import socket, time
    def getaddrinfo(*_, **__):
        print("looking up", flush=True)
        time.sleep(30)
        raise OSError("no")
    socket.getaddrinfo = getaddrinfo
    """
    yield Stage("https://provider.test", lambda child: child.reads("looking up"), begins=hang)


@contextmanager
def _locked(folder: Path) -> Generator[Path]:
    """A journal that somebody writes into and does not finish."""
    file = folder / "state" / "journal.db"
    Journal(file).changes()
    with closing(sqlite3.connect(file, isolation_level=None)) as db:
        db.execute("BEGIN IMMEDIATE")
        yield file


# So that no patience with the journal ends before ours with the child does.
_STUBBORN = """
    from bulkstatus import _recorder, _sqlite
    _sqlite._BUSY = _recorder._LAST_WORDS = 600.0
"""


@contextmanager
def writing(folder: Path) -> Generator[Stage]:
    """The journal is to be written, and is locked."""
    with _locked(folder) as file, raw_server(reply(json.dumps(BULK).encode())) as server:
        yield Stage(server.url, lambda child: child.until(lambda: child.has_open(file)), "track", _STUBBORN)


@contextmanager
def closing_down(folder: Path) -> Generator[Stage]:
    """The answer was told; what is left is to write it into a journal that is locked."""
    with _locked(folder), raw_server(reply(json.dumps(BULK).encode())) as server:
        yield Stage(server.url, lambda child: child.reads("p:1"), begins=_STUBBORN)


@contextmanager
def _followed(does: str) -> Generator[Stage]:
    with _served(reply(json.dumps(BULK).encode()), does=does) as stage:
        yield stage


@contextmanager
def waiting(_: Path) -> Generator[Stage]:
    """A bulk goes on; the next look is some seconds away."""
    with _followed("wait") as stage:
        yield stage


@contextmanager
def watching(_: Path) -> Generator[Stage]:
    """The same, watched."""
    with _followed("watch") as stage:
        yield stage


@contextmanager
def listing(_: Path) -> Generator[Stage]:
    """A list was asked for, and does not come."""
    with _served(_silence, does="list") as stage:
        yield stage


@contextmanager
def idle(_: Path) -> Generator[Stage]:
    """Nothing is asked at all: what is left is what any script with these libraries takes to end."""
    yield Stage("http://127.0.0.1:9", lambda child: child.reads("idle"), "nothing")


SITUATIONS: dict[str, Callable[[Path], AbstractContextManager[Stage]]] = {
    "connect": connecting,
    "answer": answerless,
    "back-off": backing_off,
    "dripping body": dripping_body,
    "DNS": name_lookup,
    "locked journal, write": writing,
    "locked journal, close": closing_down,
    "wait": waiting,
    "watch": watching,
    "list": listing,
    "full pipe": unread,
    "(asks nothing)": idle,
}
# Not by a script, whose output Python itself writes at its end; and not by a command, which always asks something.
_DOORS = {"full pipe": slice(1), "(asks nothing)": slice(1, None)}

# --- children ---

_COMMANDS = {
    "get": ["get", "p:1", "-o", "name"],
    "track": ["track", "p:1"],
    "wait": ["wait", "p:1"],
    "watch": ["watch", "p:1", "-o", "jsonl"],
    "list": ["list"],
}
_CALLS = {
    "get": "print({}client.get('p:1')).ref, flush=True)",
    "track": "{}client.track('p:1')",
    "wait": "{}client.wait('p:1')",
    "watch": "{}for _ in client.watch('p:1'): pass",
    "list": "{}client.list()",
    "nothing": "print('idle', flush=True); {}pause(60)",
}

COMMAND = """
    import json, sys
    from bulkstatus.cli import main
    sys.exit(main(json.loads(sys.argv[1])))
"""
BLOCKING = """
    import sys
    from time import sleep as pause
    from bulkstatus import Client
    from bulkstatus_weavr import Weavr
    sources = {"p": Weavr(base_url=sys.argv[1], api_key="k", auth_token="t")}
    with Client(sources, journal=sys.argv[2] or None) as client:
        CALL
"""
AWAITING = """
    import asyncio, sys
    from asyncio import sleep as pause
    from bulkstatus import AsyncClient
    from bulkstatus_weavr import Weavr
    sources = {"p": Weavr(base_url=sys.argv[1], api_key="k", auth_token="t")}
    async def main():
        async with AsyncClient(sources, journal=sys.argv[2] or None) as client:
            CALL
    asyncio.run(main())
"""
_FIRST = """
    import signal
    signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever starts us may ignore it
"""


def _script(door: str, stage: Stage) -> str:
    if door == "command line":
        body = COMMAND
    elif door == "blocking client":
        call = _CALLS[stage.does].format("").replace("client.get('p:1'))", "client.get('p:1')")
        body = BLOCKING.replace("CALL", call)
    else:
        call = _CALLS[stage.does].format("await ").replace("print(await ", "print((await ")
        body = AWAITING.replace("CALL", call.replace("await for", "async for"))
    return "".join(map(textwrap.dedent, (_FIRST, stage.begins, body)))


DOORS = ("command line", "blocking client", "async client")
TRANSPORTS = ("httpx", "aiohttp")


def _arguments(door: str, stage: Stage, folder: Path, journal: str) -> list[str]:
    url = f"{stage.url}/multi"
    if door != "command line":
        return [url, journal]
    config = folder / "bulkstatus.toml"
    config.write_text(
        f'[sources.p]\nprovider = "weavr"\nbase_url = "{url}"\napi_key = "env:K"\nauth_token = "env:K"\n'
    )
    return [json.dumps([*_COMMANDS[stage.does], "--config", str(config)])]


def interrupted(situation: str, door: str, transport: str) -> float:
    """Seconds from the interrupt of one child to its end. Raises RuntimeError where it ends in another way."""
    with tempfile.TemporaryDirectory() as home, SITUATIONS[situation](Path(home)) as stage:
        folder = Path(home)
        file = folder / "state" / "journal.db"
        environment = {
            **os.environ,
            "HOME": home,
            "XDG_STATE_HOME": str(folder / "xdg"),
            "BULKSTATUS_JOURNAL": str(file),
            "K": "secret",
        }
        for name in ("BULKSTATUS_TRANSPORT", "PYTHONUNBUFFERED"):
            environment.pop(name, None)
        if transport == "httpx":
            environment["BULKSTATUS_TRANSPORT"] = "httpx"
        journal = str(file) if file.exists() else ""
        with subprocess.Popen(
            [sys.executable, "-c", _script(door, stage), *_arguments(door, stage, folder, journal)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        ) as process:
            try:
                stage.until(Child(process, folder))
                began = time.perf_counter()
                process.send_signal(signal.SIGINT)
                process.wait(_PATIENCE)
                took = time.perf_counter() - began
                _, said = process.communicate()
            except subprocess.TimeoutExpired:
                raise RuntimeError(f"{situation}, {door}, {transport}: not ended by the interrupt") from None
            finally:
                process.kill()
        code = 130 if door == "command line" else -signal.SIGINT
        noise = [word for word in _NOISE if word in said]
        if process.returncode != code or noise:
            raise RuntimeError(f"{situation}, {door}, {transport}: {process.returncode} {said}")
        if file.exists() and not is_whole(file):
            raise RuntimeError(f"{situation}, {door}, {transport}: the journal was damaged")
        return took


def is_whole(file: Path) -> bool:
    """True for a journal that was not damaged."""
    with closing(sqlite3.connect(file)) as db:
        return db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


# --- tables ---


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - a command line


def _percentile(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def _cells(values: Sequence[float]) -> str:
    three = (median(values), _percentile(values, 0.95), max(values))
    return " | ".join(f"{value * 1e3:.0f}" for value in three)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--times", type=int, default=3, help="how often each situation is tried")
    parser.add_argument("--check", action="store_true", help="end with 1 where the goal is missed")
    parser.add_argument("--only", default="", help="a part of the name of a situation")
    chosen = parser.parse_args()
    _say("| interrupted in | by | over | p50 ms | p95 ms | max ms |\n|---|---|---|---|---|---|")
    found: list[float] = []
    wrong: list[str] = []
    for situation in SITUATIONS:
        if chosen.only.lower() not in situation.lower():
            continue
        for door in DOORS[_DOORS.get(situation, slice(None))]:
            for transport in TRANSPORTS:
                try:
                    values = [interrupted(situation, door, transport) for _ in range(chosen.times)]
                except RuntimeError as error:
                    wrong.append(str(error))
                    _say(f"| {situation} | {door} | {transport} | not ended as it should | | |")
                    continue
                found += values
                _say(f"| {situation} | {door} | {transport} | {_cells(values)} |")
    if found:
        _say(f"| all {len(found)} | | | {_cells(found)} |")
    if wrong:
        sys.exit("\n".join(wrong))
    if chosen.check and _percentile(found, 0.95) > GOAL:
        sys.exit(f"one in twenty took longer than {GOAL * 1e3:.0f} ms")


if __name__ == "__main__":
    main()
