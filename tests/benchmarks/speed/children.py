"""Work done in a process of its own, so that neither caches nor memory of one measure reach another."""

import json
import multiprocessing
import os
import re
import resource
import socket
import subprocess
import sys
from asyncio.selector_events import BaseSelectorEventLoop
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")


def _child(
    work: Callable[..., Any], arguments: tuple[Any, ...], environment: Mapping[str, str], pipe: Any
) -> None:
    os.environ.update(environment)
    pipe.send(work(*arguments))


def in_child(work: Callable[..., T], *arguments: object, **environment: str) -> T:
    """What `work`, a function of a module, gives in a new process that has these variables in its environment.

    Raises RuntimeError where the process ends without an answer; it has printed why.
    """
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    child = spawn.Process(target=_child, args=(work, arguments, environment, theirs))
    child.start()
    theirs.close()
    try:
        found: T = ours.recv()
    except EOFError:
        raise RuntimeError(f"{work.__qualname__} ended without an answer") from None
    finally:
        child.join()
    return found


def peak() -> float:
    """The most memory that this process has had, in MiB."""
    # A child's ru_maxrss begins with its parent's, which may be more than it will ever have.
    status = Path("/proc/self/status")
    if status.exists() and (found := re.search(r"VmHWM:\s*(\d+) kB", status.read_text())):
        return int(found[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _RU_MAXRSS


_RU_MAXRSS = 1024 * 1024 if sys.platform == "darwin" else 1024


class Cost(NamedTuple):
    """Seconds, seconds of CPU, and the most memory in MiB, of a command."""

    time: float
    cpu: float
    memory: float


_RUN = """
import json, resource, subprocess, sys, time
began = time.perf_counter()
with open(sys.argv[1], "wb") as out:
    subprocess.run(sys.argv[2:], stdout=out, check=True)
took, used = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([took, used.ru_utime + used.ru_stime, used.ru_maxrss]))
"""


def cost(command: Sequence[str], environment: Mapping[str, str], out: str = os.devnull) -> Cost:
    """What a command costs whose output goes to the file `out`. A small process starts it, for `peak`'s reason."""
    done = subprocess.run(
        [sys.executable, "-c", _RUN, out, *command],
        check=True,
        capture_output=True,
        text=True,
        env=environment,
    )
    took, cpu, memory = json.loads(done.stdout)
    return Cost(took, cpu, memory / _RU_MAXRSS)


class Connections:
    """Counts the connections that this process opens from now on, over whichever HTTP library."""

    def __init__(self) -> None:
        self.opened = 0
        connect = BaseSelectorEventLoop.sock_connect

        async def counted(loop: Any, sock: socket.socket, address: Any) -> None:
            self.opened += 1
            await connect(loop, sock, address)

        BaseSelectorEventLoop.sock_connect = counted  # type: ignore[method-assign] - all connections are made by it
