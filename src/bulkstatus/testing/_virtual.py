"""Time that passes only when nothing is left to be done at a moment: hours of waiting in milliseconds.

For fakes in process, where nothing waits for a socket. Time stands still while a worker thread is at work for
somebody who awaits it, and, with blocking clients, while nobody waits for an answer.
"""

import asyncio
import random
import selectors
import threading
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, ExitStack, contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from functools import partial
from types import TracebackType
from typing import Any, TypeVar

import anyio
import anyio.to_thread

from bulkstatus import _blocking, _follow, _tasks, _times, _watch
from bulkstatus._portal import LoopThread
from bulkstatus._times import Stamp

T = TypeVar("T")
BIRTH = datetime(2026, 1, 1, tzinfo=UTC)
LONGEST = 86_400.0

# Seconds of real time: how long a thread may keep the loop's time from passing, and how long a loop with nothing
# planned waits for somebody to wake it.
_PATIENCE = 20.0
_STILL = "nothing happens any more: no timer is set, or a thread does not come back"
# Passes of the loop at one moment: whoever needs more goes round in circles.
_MOST_PASSES = 300_000


class VirtualTime:
    """A clock that moves by itself over the time in which nothing happens. Calling it gives epoch seconds.

    It begins at `BIRTH`, the first of January 2026; `moment` is the seconds since then.
    """

    def __init__(self) -> None:
        self.moment = 0.0
        self.threads: set[VirtualLoopThread] = set()

    def __call__(self) -> float:
        return self.now().timestamp()

    def advance(self, seconds: float) -> None:
        """Let time pass, and all that blocking clients have planned for it happen."""
        if is_virtual():
            raise RuntimeError("this would block the event loop: await anyio.sleep(seconds) instead")
        until = self.moment + seconds
        for thread in tuple(self.threads):
            thread.sleep_until(until)
        self.moment = max(self.moment, until)

    def now(self) -> datetime:
        """The time, in UTC."""
        return BIRTH + timedelta(seconds=self.moment)


class Job:
    """A function on a worker thread that somebody on the loop awaits."""

    def __init__(self) -> None:
        self.resting = False


current_job: ContextVar[Job] = ContextVar("current_job")


class _Selector(selectors.DefaultSelector):
    """Never sleeps while something is planned: it moves the loop's time to the moment of that instead."""

    loop: "VirtualLoop"

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or (timeout is not None and timeout <= 0):
            self.loop.passed()
            return ready
        if self.loop.is_idle:
            self.loop.rested()
            return super().select(None)
        if self.loop.is_busy:
            ready = super().select(_PATIENCE)
            if not ready:
                self.loop.give_up_jobs()
            return ready
        if timeout is None:
            ready = super().select(self.loop.patience)
            if not ready:
                self.loop.stop_with(_STILL)
            return ready
        self.loop.move(timeout)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop on a clock of its own, or on one that it shares."""

    def __init__(self, clock: VirtualTime | None = None) -> None:
        selector = _Selector()
        selector.loop = self
        self.clock = VirtualTime() if clock is None else clock
        self.longest = float("inf")
        self.patience: float | None = _PATIENCE
        self.jobs: set[Job] = set()
        self.callers: int | None = None
        """How many wait for an answer of it; None where whoever runs it does."""
        self._guard = threading.Lock()
        self._passes = 0
        self._stopped = False
        super().__init__(selector)

    def time(self) -> float:
        return self.clock.moment

    @property
    def is_busy(self) -> bool:
        """True while a worker thread is at work for somebody on the loop."""
        return any(not job.resting for job in tuple(self.jobs))

    @property
    def is_idle(self) -> bool:
        """True while nobody waits for anything."""
        return self.callers == 0

    def count(self, change: int) -> None:
        """One more waits for an answer, or one less."""
        with self._guard:
            self.callers = (self.callers or 0) + change

    @contextmanager
    def awaited(self) -> Generator[None]:
        """In this block another thread waits for it."""
        self.count(+1)
        try:
            yield
        finally:
            self.count(-1)

    def move(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.moment += seconds
        self._passes = 0
        if self.clock.moment > self.longest:
            self.stop_with(f"it is not over after {self.longest:,.0f} s")

    def rested(self) -> None:
        """Nothing is asked of it."""
        self._passes = 0

    def passed(self) -> None:
        """Count a pass at which no time went by."""
        self._passes += 1
        if self._passes > _MOST_PASSES:
            self.stop_with(f"{_MOST_PASSES:,} passes of the loop at {self.clock.moment} s")

    def stop_with(self, why: str) -> None:
        """Fail the test, once: what is left to be done then may still end in order."""
        if not self._stopped:
            self._stopped = True
            raise AssertionError(f"virtual time: {why}")

    def give_up_jobs(self) -> None:
        """Threads do not come back: fail the test, or where callers have timers of their own, let time come to those."""
        if self.patience is not None:
            self.stop_with(_STILL)
        for job in tuple(self.jobs):
            job.resting = True

    def begin_rest(self, job: Job, seconds: float, over: threading.Event) -> None:
        """Let time pass although `job` has not ended."""
        job.resting = True

        def end() -> None:
            job.resting = False
            over.set()

        self.call_later(seconds, end)


class _Waiting:
    """A thread that waits for an answer of a loop. Where that loop awaits this very thread, it need not stand still for it."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self._job = current_job.get(None)
        self._is_over = False
        if self._job is not None:
            self._job.resting = True
        loop.count(+1)

    def end(self) -> None:
        """It has its answer; again is as good as once."""
        if not self._is_over:
            self._is_over = True
            self._loop.count(-1)
            if self._job is not None:
                self._job.resting = False


class VirtualLoopThread(LoopThread):
    """The thread of a blocking client, on virtual time. `longest` is how much of it one call may take, in seconds."""

    def __init__(self, clock: VirtualTime, longest: float) -> None:
        self._clock = clock
        self._longest = longest
        super().__init__()

    def _options(self) -> dict[str, Any]:
        return {"loop_factory": self._new_loop}

    def _new_loop(self) -> VirtualLoop:
        self._virtual = VirtualLoop(self._clock)
        self._virtual.callers = 0
        self._virtual.patience = None
        self._clock.threads.add(self)
        return self._virtual

    def call(self, function: Callable[[], Awaitable[T]]) -> T:
        longest = self._longest
        waiting = _Waiting(self._virtual)

        async def awaited() -> T:
            try:
                with anyio.move_on_after(longest):
                    return await function()
                raise AssertionError(
                    f"virtual time: the call is not over after {longest:,.0f} s; give it a timeout, or its bulk a life "
                    "that ends"
                )
            finally:
                # Here and not on the caller's thread, where it would be too late: time would pass meanwhile.
                waiting.end()

        try:
            return super().call(awaited)
        finally:
            waiting.end()

    def enter(self, resource: AbstractAsyncContextManager[T]) -> AbstractContextManager[T]:
        return _Awaited(self._virtual, super().enter(resource))

    def close(self, *, hurried: bool = False) -> None:
        with self._virtual.awaited():
            super().close(hurried=hurried)
        self._clock.threads.discard(self)

    def sleep_until(self, moment: float) -> None:
        """Let all that is planned until then happen."""

        async def sleep() -> None:
            await anyio.sleep_until(moment)

        self.call(sleep)


class _Awaited(AbstractContextManager[T]):
    """Both ends of a context manager, which take their time on a loop."""

    def __init__(self, loop: VirtualLoop, inner: AbstractContextManager[T]) -> None:
        self._loop = loop
        self._inner = inner

    def __enter__(self) -> T:
        with self._loop.awaited():
            return self._inner.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        with self._loop.awaited():
            return self._inner.__exit__(kind, error, trace)


def is_virtual() -> bool:
    """True on a loop whose time is virtual."""
    return running_loop() is not None


def running_loop() -> VirtualLoop | None:
    """The virtual loop that runs here, if one does."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return None
    return loop if isinstance(loop, VirtualLoop) else None


def _counted(runner: Callable[..., Any]) -> Callable[..., Any]:
    """As `runner`, which runs a function on a thread, known meanwhile to the virtual loop that awaits it."""

    async def run(function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:  # noqa: ANN401 - as `runner`
        loop = running_loop()
        if loop is None:
            return await runner(function, *arguments, **options)
        job = Job()
        loop.jobs.add(job)
        token = current_job.set(job)
        try:
            return await runner(function, *arguments, **options)
        finally:
            current_job.reset(token)
            loop.jobs.discard(job)

    return run


def _counted_future(wrap: Callable[..., Any]) -> Callable[..., Any]:
    """As `asyncio.wrap_future`, which awaits what another thread does."""

    def wrapped(future: Any, **options: Any) -> Any:  # noqa: ANN401 - as `wrap`
        found, loop, job = wrap(future, **options), running_loop(), Job()
        if loop is not None:
            loop.jobs.add(job)
            found.add_done_callback(partial(_forget, loop.jobs, job))
        return found

    return wrapped


def _forget(jobs: set[Job], job: Job, _: object) -> None:
    jobs.discard(job)


@contextmanager
def patched(*changes: tuple[object, str, object]) -> Generator[None]:
    """Attributes of modules and classes, changed in this block and put back after it."""
    with ExitStack() as stack:
        for owner, name, value in changes:
            stack.callback(setattr, owner, name, vars(owner)[name])
            setattr(owner, name, value)
        yield


@contextmanager
def library_on(now: Callable[[], datetime], *more: tuple[object, str, object]) -> Generator[None]:
    """In this block the library takes the time from `now`, and virtual loops know of the threads it waits for."""
    with patched(
        (_times, "utc_now", now),
        (anyio.to_thread, "run_sync", _counted(anyio.to_thread.run_sync)),
        (_watch, "on_daemon_thread", _counted(_tasks.on_daemon_thread)),
        (asyncio, "wrap_future", _counted_future(asyncio.wrap_future)),
        # The machine may have slept; this clock has not.
        (_follow, "_slept", lambda: 0.0),
        *more,
    ):
        yield


@contextmanager
def seeded(seed: int | None) -> Generator[None]:
    """Chances that are the same each time, in this block; None leaves them alone."""
    chances = random.getstate()
    try:
        if seed is not None:
            random.seed(seed)
        yield
    finally:
        random.setstate(chances)


@contextmanager
def virtual_clients(clock: VirtualTime, *, longest: float = LONGEST, seed: int | None = 1) -> Generator[None]:
    """Blocking clients that begin to ask in this block are on `clock`, and so is the whole library in this process."""
    new_thread = partial(VirtualLoopThread, clock, longest)
    boot = f"virtual-{id(clock)}"

    def take() -> Stamp:
        return Stamp(boot, clock.moment)

    with (
        seeded(seed),
        library_on(clock.now, (_blocking, "LoopThread", new_thread), (Stamp, "take", staticmethod(take))),
    ):
        yield


def run(
    main: Callable[[], Coroutine[Any, Any, T]], clock: VirtualTime | None = None, *, longest: float = LONGEST
) -> T:
    """Run `main` on a virtual loop; it fails after `longest` seconds of that loop's time."""

    def new_loop() -> VirtualLoop:
        loop = VirtualLoop(clock)
        loop.longest = loop.time() + longest
        return loop

    return anyio.run(main, backend_options={"loop_factory": new_loop})
