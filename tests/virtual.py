"""The library on virtual time (`bulkstatus.testing`), as the tests of it need it: each run has a time of its own, from 0.

For tests with `FakeTransport`, where nothing waits for a socket. The wall clock that the library reads
(`_times.utc_now`) and the fakes' clock move with the loop. Time stands still while a worker thread is at work for
somebody who awaits it; a function on such a thread that wants to take its time calls `rest`.
"""

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeVar

import msgspec

from bulkstatus import AsyncClient, Policy, _blocking
from bulkstatus.testing import FakeRequest, FakeResponse, FakeTransport
from bulkstatus.testing._virtual import (
    BIRTH,
    VirtualLoop,
    VirtualLoopThread,
    VirtualTime,
    current_job,
    library_on,
    run,
    seeded,
)
from bulkstatus_cloudflare.fake import CloudflareFake
from bulkstatus_druid.fake import DruidFake
from bulkstatus_weavr.fake import WeavrFake

T = TypeVar("T")

WEAVR, CLOUDFLARE, DRUID = (
    "https://weavr.test/multi",
    "https://cloudflare.test/client/v4",
    "https://druid.test",
)

_PATIENCE = 20.0


def rest(loop: VirtualLoop, seconds: float) -> None:
    """Block this worker thread for so many seconds of the loop's time."""
    over = threading.Event()
    loop.call_soon_threadsafe(loop.begin_rest, current_job.get(), seconds, over)
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


def examples(number: int) -> int:
    """So many examples when HYPOTHESIS_PROFILE=random looks further, and a tenth of them in each check."""
    return number if os.environ.get("HYPOTHESIS_PROFILE") == "random" else number // 10


def run_virtually(
    main: Callable[[], Coroutine[Any, Any, T]], *, longest: float = 1_000_000.0, seed: int | None = 1
) -> T:
    """Run `main` on a virtual loop, the library's wall clock moving with it.

    It fails after `longest` seconds of the loop's time. `seed` makes the library's chances the same each time; None
    leaves them alone.
    """
    with seeded(seed), library_on(VirtualClock().wall):
        return run(main, longest=longest)


@contextmanager
def virtual_clients(seed: int = 1) -> Generator[None]:
    """Blocking clients that are opened in this block have a virtual loop, so what they wait for takes no time.

    The loop stands still while nobody waits for an answer. Each client has a time of its own, and is told it.
    """
    new_thread = partial(_OwnTime, longest=10_000_000.0)
    with seeded(seed), library_on(VirtualClock().wall, (_blocking, "LoopThread", new_thread)):
        yield


class _OwnTime(VirtualLoopThread):
    def __init__(self, *, longest: float) -> None:
        super().__init__(VirtualTime(), longest)


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
