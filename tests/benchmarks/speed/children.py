"""Work done in a process of its own, so that neither caches nor memory of one measure reach another."""

import multiprocessing
import os
import resource
import socket
from asyncio.selector_events import BaseSelectorEventLoop
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

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
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


class Connections:
    """Counts the connections that this process opens from now on, over whichever HTTP library."""

    def __init__(self) -> None:
        self.opened = 0
        connect = BaseSelectorEventLoop.sock_connect

        async def counted(loop: Any, sock: socket.socket, address: Any) -> None:
            self.opened += 1
            await connect(loop, sock, address)

        BaseSelectorEventLoop.sock_connect = counted  # type: ignore[method-assign] - all connections are made by it
