"""A private event loop on a thread of its own, for callers that block."""

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, AbstractContextManager, suppress
from typing import Any, TypeVar

import anyio
from anyio.from_thread import BlockingPortal

from bulkstatus._tasks import NotOpen
from bulkstatus.errors import Unavailable

T = TypeVar("T")

# Replies are decoded on this thread, and a decoder that recurses can overrun the small default stack of some systems.
_STACK = 16 * 1024 * 1024
# The size is one for all threads that are started: two that start side by side would give it back to each other.
_STARTING = threading.Lock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_STARTING.acquire, after_in_parent=_STARTING.release, after_in_child=_STARTING.release
    )
_GRACE, _GRACE_HURRIED = 2.0, 0.1
_KEPT: list[object] = []


def keep_for_ever(thing: object) -> None:
    """Never let `thing` be collected."""
    _KEPT.append(thing)


def _only_here(pid: int) -> None:
    if os.getpid() != pid:
        raise RuntimeError("this was begun before a fork and belongs to the parent process: begin it anew")


def _closed() -> Unavailable:
    return Unavailable("the client was closed", reason="closed", retryable=False)


class LoopThread:
    """Runs coroutines on a private loop. The thread is a daemon: a script that forgets to close still ends."""

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._ready: Future[BlockingPortal] = Future()
        self._thread = threading.Thread(target=self._run, name="bulkstatus", daemon=True)
        with _STARTING:
            previous = threading.stack_size(_STACK)
            try:
                self._thread.start()
            finally:
                threading.stack_size(previous)
        self._portal = self._ready.result()

    def _run(self) -> None:
        try:
            anyio.run(self._serve, backend_options=self._options())
        except BaseException as error:
            if self._ready.done():
                raise
            self._ready.set_exception(error)  # a loop needs files, and there may be no more to be had

    def _options(self) -> dict[str, Any]:
        """What anyio makes the loop with."""
        return {}

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        async with BlockingPortal() as portal:
            self._ready.set_result(portal)
            await portal.sleep_until_stopped()

    def call(self, function: Callable[[], Awaitable[T]]) -> T:
        """Run `function` on the loop and wait for it. An interrupt of the waiting cancels it."""
        _only_here(self._pid)
        if threading.current_thread() is self._thread:
            raise RuntimeError(
                "the blocking client was called from its own event loop, which it would block for ever: call it from a"
                " plain function, such as an on_change that is no coroutine function"
            )
        try:
            future: Future[T] = self._portal.start_task_soon(function)
        except RuntimeError:
            raise _closed() from None
        try:
            return future.result()
        except NotOpen:  # it came to the loop while another thread closed the client
            raise _closed() from None
        except BaseException:
            future.cancel()
            raise

    def run(self, function: Callable[[], T]) -> T:
        """Call a plain function on the loop and wait for what it gives."""

        async def called() -> T:
            return function()

        return self.call(called)

    def post(self, function: Callable[[], object]) -> None:
        """Call a plain function on the loop, some time soon; not at all when the loop has ended."""
        if os.getpid() != self._pid:
            return
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(function)

    def enter(self, resource: AbstractAsyncContextManager[T]) -> AbstractContextManager[T]:
        """An async context manager as a blocking one; both ends run in one task, as task groups require."""
        return self._portal.wrap_async_context_manager(resource)

    def close(self, *, hurried: bool = False) -> None:
        """Stop the loop and wait for the thread, but not for ever, and hardly at all when `hurried`."""
        if os.getpid() != self._pid:
            return  # the thread is the parent's
        self._portal.start_task_soon(self._portal.stop, True)
        self._thread.join(_GRACE_HURRIED if hurried else _GRACE)
