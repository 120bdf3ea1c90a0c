"""Waiting for several things at once, and not for ever."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterable
from contextlib import AbstractContextManager, suppress
from contextvars import copy_context
from types import TracebackType
from typing import TypeVar

import anyio

from bulkstatus.errors import ConfigError, DeadlineExceeded

T = TypeVar("T")
_EONS = 1e12


def now() -> float:
    """Seconds on the monotonic clock of the event loop; all of the engine goes by it."""
    return (
        asyncio.get_running_loop().time()
    )  # anyio's way to it, which asks whose loop it is, takes ten times as long


def is_duration(value: object) -> bool:
    """True for a number of seconds above 0, and not beyond what a clock can count."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < _EONS


def is_hurried(error: BaseException | None) -> bool:
    """True for what leaves a block at once: an interrupt, the end of the program, a task that was cancelled."""
    return error is not None and not isinstance(error, Exception)


class NotOpen(RuntimeError):
    """A client that is asked before it is opened, or after it was closed."""

    def __init__(self) -> None:
        super().__init__("the client is not open: use it in a with statement")


class Home:
    """The event loop that something belongs to: what waits there would never be woken in another."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()

    def check(self, what: str) -> None:
        """Raises RuntimeError in any other loop."""
        if asyncio.get_running_loop() is not self._loop:
            state = "has been closed" if self._loop.is_closed() else "is another than this"
            raise RuntimeError(
                f"{what} belongs to the event loop it was opened in, which {state}: use a client within one asyncio.run()"
            )


class within(AbstractContextManager[None]):  # noqa: N801 - reads as a statement where it is used
    """End the block after so many seconds, if not None, and raise `error` then: `anyio.fail_after` for two thirds of its cost."""

    def __init__(self, seconds: float | None, error: Callable[[], Exception] = TimeoutError) -> None:
        self._seconds = seconds
        self._error = error
        self._scope: anyio.CancelScope | None = None

    def __enter__(self) -> None:
        if self._seconds is not None:
            self._scope = anyio.CancelScope(deadline=now() + self._seconds)
            self._scope.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        if self._scope is None:
            return None
        handled = self._scope.__exit__(kind, error, trace)
        if self._scope.cancelled_caught:
            raise self._error()
        return handled


def deadline(timeout: float | None) -> within:
    """End the block after `timeout` seconds, if it is not None, and raise DeadlineExceeded then.

    Raises ConfigError for a `timeout` that is no duration.
    """
    if timeout is not None and not is_duration(timeout):
        raise ConfigError(f"timeout is a number of seconds above 0, or None, not {timeout!r}")
    return within(
        timeout, lambda: DeadlineExceeded(f"no answer within {timeout:g} s; the bulk may be in any state")
    )


async def on_daemon_thread(function: Callable[[], T]) -> T:
    """Call `function` on a thread of its own, which keeps neither the loop nor the end of the process waiting."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def finish(set_: Callable[[T], None], value: T) -> None:
        if not done.done():
            set_(value)

    context = copy_context()

    def run() -> None:
        value = context.run(function)
        with suppress(RuntimeError):  # the loop has been closed meanwhile
            loop.call_soon_threadsafe(finish, done.set_result, value)

    threading.Thread(target=run, name="bulkstatus-call", daemon=True).start()
    return await done


async def together(jobs: Iterable[Callable[[], Coroutine[object, object, None]]]) -> None:
    """Run all jobs side by side and wait for the last. The first that raises ends the others."""
    jobs = tuple(jobs)
    if len(jobs) == 1:  # nothing to be beside
        await jobs[0]()
        return
    async with anyio.create_task_group() as group:
        for job in jobs:
            group.start_soon(job)
