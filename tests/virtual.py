"""An event loop whose time passes only when nothing is left to be done at a moment: hours of waiting in milliseconds.

For tests with `FakeTransport`, where nothing waits for a socket. Loop time begins at 0; the wall clock that the
library reads (`_times.utc_now`) and the fakes' clock move with it. Time stands still while a worker thread is at
work for somebody who awaits it; a function on such a thread that wants to take its time calls `rest`.
"""

import asyncio
import os
import random
import selectors
import threading
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, TypeVar

import anyio
import anyio.to_thread
import msgspec
import pytest

from bulkstatus import AsyncClient, Policy
from bulkstatus._tasks import on_daemon_thread
from bulkstatus.testing import FakeRequest, FakeResponse, FakeTransport
from bulkstatus_cloudflare.fake import CloudflareFake
from bulkstatus_druid.fake import DruidFake
from bulkstatus_weavr.fake import WeavrFake

T = TypeVar("T")
BIRTH = datetime(2026, 1, 1, tzinfo=UTC)

WEAVR, CLOUDFLARE, DRUID = (
    "https://weavr.test/multi",
    "https://cloudflare.test/client/v4",
    "https://druid.test",
)

# Seconds of real time: how long a thread may keep the loop's time from passing, and how long a loop with nothing
# planned waits for somebody to wake it.
_PATIENCE = 20.0
# Passes of the loop at one moment: whoever needs more goes round in circles.
_MOST_PASSES = 300_000


class _Job:
    """A function on a worker thread that somebody on the loop awaits."""

    def __init__(self) -> None:
        self.resting = False


_job: ContextVar[_Job] = ContextVar("_job")


class _Selector(selectors.DefaultSelector):
    """Never sleeps while something is planned: it moves the loop's time to the moment of that instead."""

    loop: "VirtualLoop"

    def select(self, timeout: float | None = None):
        ready = super().select(0)
        if ready or (timeout is not None and timeout <= 0):
            self.loop.passed()
            return ready
        if self.loop.is_busy or timeout is None:
            ready = super().select(_PATIENCE)
            if not ready:
                self.loop.stop_with(
                    "nothing happens any more: no timer is set, or a thread does not come back"
                )
            return ready
        self.loop.move(timeout)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop on a clock of its own."""

    def __init__(self) -> None:
        selector = _Selector()
        selector.loop = self
        self.moment = 0.0
        self.longest = float("inf")
        self.jobs: set[_Job] = set()
        self._passes = 0
        self._stopped = False
        super().__init__(selector)

    def time(self) -> float:
        return self.moment

    @property
    def is_busy(self) -> bool:
        """True while a worker thread is at work for somebody on the loop."""
        return any(not job.resting for job in self.jobs)

    def move(self, seconds: float) -> None:
        """Let time pass."""
        self.moment += seconds
        self._passes = 0
        if self.moment > self.longest:
            self.stop_with(f"it is not over after {self.longest:,.0f} s")

    def passed(self) -> None:
        """Count a pass at which no time went by."""
        self._passes += 1
        if self._passes > _MOST_PASSES:
            self.stop_with(f"{_MOST_PASSES:,} passes of the loop at {self.moment} s")

    def stop_with(self, why: str) -> None:
        """Fail the test, once: what is left to be done then may still end in order."""
        if not self._stopped:
            self._stopped = True
            raise AssertionError(f"virtual time: {why}")

    def begin_rest(self, job: _Job, seconds: float, over: threading.Event) -> None:
        """Let time pass although `job` has not ended."""
        job.resting = True

        def end() -> None:
            job.resting = False
            over.set()

        self.call_later(seconds, end)


def rest(loop: VirtualLoop, seconds: float) -> None:
    """Block this worker thread for so many seconds of the loop's time."""
    over = threading.Event()
    loop.call_soon_threadsafe(loop.begin_rest, _job.get(), seconds, over)
    over.wait(_PATIENCE)


def loop_now() -> VirtualLoop:
    """The loop that runs."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    return loop


class VirtualClock:
    """The time of the loop that runs, in epoch seconds: for fakes. `wall` gives it as UTC."""

    def __call__(self) -> float:
        return (BIRTH + timedelta(seconds=self.moment())).timestamp()

    @staticmethod
    def moment() -> float:
        """Seconds since the loop began."""
        try:
            return asyncio.get_running_loop().time()
        except RuntimeError:
            return 0.0

    def wall(self) -> datetime:
        """The moment in UTC."""
        return BIRTH + timedelta(seconds=self.moment())


def _counted(runner: Callable[..., Any]) -> Callable[..., Any]:
    """As `runner`, which runs a function on a thread, known to the loop meanwhile."""

    async def run(function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        jobs, job = loop_now().jobs, _Job()
        jobs.add(job)
        token = _job.set(job)
        try:
            return await runner(function, *arguments, **options)
        finally:
            _job.reset(token)
            jobs.discard(job)

    return run


def examples(number: int) -> int:
    """So many examples when HYPOTHESIS_PROFILE=random looks further, and a tenth of them in each check."""
    return number if os.environ.get("HYPOTHESIS_PROFILE") == "random" else number // 10


def _patch_clocks(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("bulkstatus._times.utc_now", VirtualClock().wall)
    patch.setattr("anyio.to_thread.run_sync", _counted(anyio.to_thread.run_sync))
    patch.setattr("bulkstatus._watch.on_daemon_thread", _counted(on_daemon_thread))
    # The machine that runs the tests may have slept; this clock has not.
    patch.setattr("bulkstatus._follow._slept", lambda: 0.0)


def run_virtually(
    main: Callable[[], Coroutine[Any, Any, T]], *, longest: float = 1_000_000.0, seed: int | None = 1
) -> T:
    """Run `main` on a virtual loop, the library's wall clock moving with it.

    It fails after `longest` seconds of the loop's time. `seed` makes the library's chances the same each time; None
    leaves them alone.
    """

    async def bounded() -> T:
        loop_now().longest = longest
        return await main()

    chances = random.getstate()
    try:
        if seed is not None:
            random.seed(seed)
        with pytest.MonkeyPatch.context() as patch:
            _patch_clocks(patch)
            return anyio.run(bounded, backend_options={"loop_factory": VirtualLoop})
    finally:
        random.setstate(chances)


@contextmanager
def virtual_clients(seed: int = 1) -> Generator[None]:
    """Blocking clients that are opened in this block have a virtual loop, so what they wait for takes no time.

    The loop stands still while nobody asks anything of the client, and goes ahead of its caller while a watch is on.
    """
    chances = random.getstate()
    try:
        random.seed(seed)
        with pytest.MonkeyPatch.context() as patch:
            _patch_clocks(patch)
            patch.setattr("anyio.run", partial(anyio.run, backend_options={"loop_factory": VirtualLoop}))
            yield
    finally:
        random.setstate(chances)


class Told(msgspec.Struct, frozen=True):
    """A request that a fake got, at which moment of the loop's time, and what the provider itself answered."""

    moment: float
    request: FakeRequest
    response: FakeResponse | None = None


class _Logged:
    """A fake that keeps when it was asked, and what it answered itself, faults left out."""

    arrivals: list[float]
    told: list[Told]

    def receive(self, request: FakeRequest):
        self.arrivals.append(VirtualClock.moment())
        return super().receive(request)

    def answer(self, request: FakeRequest) -> FakeResponse:
        response = super().answer(request)
        self.told.append(Told(VirtualClock.moment(), request, response))
        return response


class LoggedWeavr(_Logged, WeavrFake):
    """A Weavr with a log."""


class LoggedCloudflare(_Logged, CloudflareFake):
    """A Cloudflare with a log."""


class LoggedDruid(_Logged, DruidFake):
    """A DRUID with a log."""


class World:
    """The three providers as fakes on the loop's clock: the sources `w`, `c` and `d` of its clients."""

    def __init__(self, *, limits: bool = False) -> None:
        self.clock = VirtualClock()
        self.weavr = LoggedWeavr(clock=self.clock, limits=limits)
        self.cloudflare = LoggedCloudflare(clock=self.clock)
        self.druid = LoggedDruid(clock=self.clock)
        self.fakes = {"w": self.weavr, "c": self.cloudflare, "d": self.druid}
        for fake in self.fakes.values():
            fake.arrivals, fake.told = [], []
        self.adapters = {
            "w": self.weavr.adapter(WEAVR),
            "c": self.cloudflare.adapter(CLOUDFLARE),
            "d": self.druid.adapter(DRUID),
        }
        self.transport = FakeTransport({WEAVR: self.weavr, CLOUDFLARE: self.cloudflare, DRUID: self.druid})

    @property
    def now(self) -> float:
        """The loop's time."""
        return self.clock.moment()

    @property
    def requests(self) -> int:
        """How many requests all of them got."""
        return sum(len(fake.requests) for fake in self.fakes.values())

    def client(self, *sources: str, policy: Policy | None = None) -> AsyncClient:
        """A client of the sources named, or of all."""
        adapters = {name: self.adapters[name] for name in sources or self.adapters}
        return AsyncClient(adapters, transport=self.transport, policy=policy)

    def at(self, moment: float, function: Callable[[], object]) -> None:
        """Call `function` at a moment of the loop's time."""
        loop_now().call_at(moment, function)
