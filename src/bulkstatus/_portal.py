"""A private event loop on a thread of its own, for callers that block."""

import asyncio
import os
import sys
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, AbstractContextManager, suppress
from typing import Any, Generic, TypeVar

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


class _Call(Generic[T]):
    """What another thread waits for."""

    def __init__(self, function: Callable[[], Awaitable[T]]) -> None:
        self.future: Future[T] = Future()
        self._function = function
        self._scope: anyio.CancelScope | None = None
        self._unwanted = False

    async def carry_out(self) -> None:
        """Run it, on the loop."""
        try:
            with anyio.CancelScope() as self._scope:
                if not self._unwanted:
                    self.future.set_result(await self._function())
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError):
                raise
            self.future.set_exception(error)
        finally:
            self.give_up()

    def give_up(self) -> None:
        """Let the thread go that waits, if it still does."""
        if not self.future.done():
            self.future.set_exception(_closed())

    def cancel(self) -> None:
        """End it, on the loop."""
        self._unwanted = True
        if self._scope is not None:
            self._scope.cancel()


class LoopThread:
    """Runs coroutines on a private loop. The thread is a daemon: a script that forgets to close still ends."""

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._ready: Future[BlockingPortal] = Future()
        self._waiting: set[_Call[Any]] = set()
        self._tasks: dict[_Call[Any], asyncio.Task[None]] = {}
        self._stopping = False
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
        finally:
            for call in tuple(self._waiting):  # they came when the loop turned for the last time
                call.give_up()

    def _options(self) -> dict[str, Any]:
        """What anyio makes the loop with."""
        return {}

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        async with BlockingPortal() as portal:
            self._ready.set_result(portal)
            await portal.sleep_until_stopped()
        while self._tasks:
            await asyncio.wait(self._tasks.values())

    def call(self, function: Callable[[], Awaitable[T]]) -> T:
        """Run `function` on the loop and wait for it. An interrupt of the waiting cancels it."""
        _only_here(self._pid)
        if threading.current_thread() is self._thread:
            raise RuntimeError(
                "the blocking client was called from its own event loop, which it would block for ever: call it from a"
                " plain function, such as an on_change that is no coroutine function"
            )
        call = _Call(function)
        self._waiting.add(call)
        try:
            # Not by the portal, which waits for the loop twice: until it has begun, and until it is done.
            self._loop.call_soon_threadsafe(self._begin, call)
        except RuntimeError:
            self._waiting.discard(call)
            raise _closed() from None
        try:
            return call.future.result()
        except NotOpen:  # it came to the loop while another thread closed the client
            raise _closed() from None
        except BaseException:
            if not call.future.done():
                self.post(call.cancel)
            raise
        finally:
            self._waiting.discard(call)

    def _begin(self, call: _Call[Any]) -> None:
        if self._stopping:
            call.give_up()
            return
        library: Any = sys.modules.get("sniffio")
        if (
            library is not None
        ):  # the context is the caller's, which may say that another library's loop runs there
            library.current_async_library_cvar.set("asyncio")
        self._tasks[call] = self._loop.create_task(self._carry_out(call))

    async def _carry_out(self, call: _Call[Any]) -> None:
        try:
            await call.carry_out()
        finally:
            del self._tasks[call]

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

    async def _stop(self) -> None:
        self._stopping = True
        for call in self._tasks:
            call.cancel()
        await self._portal.stop(cancel_remaining=True)

    def close(self, *, hurried: bool = False) -> None:
        """Stop the loop and wait for the thread, but not for ever, and hardly at all when `hurried`."""
        if os.getpid() != self._pid:
            return  # the thread is the parent's
        self._portal.start_task_soon(self._stop)
        self._thread.join(_GRACE_HURRIED if hurried else _GRACE)
