"""An event loop whose time passes only when nothing is left to be done at a moment: hours of waiting in milliseconds.

For tests with `FakeTransport`, where nothing waits for a socket. Loop time begins at 0; the wall clock that the
library reads (`_times.utc_now`) and the fakes' clock move with it.
"""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import anyio
import pytest

T = TypeVar("T")
BIRTH = datetime(2026, 1, 1, tzinfo=UTC)


class _Selector(selectors.DefaultSelector):
    """Never sleeps while something is planned: it moves the loop's time to the moment of that instead."""

    loop: "VirtualLoop"

    def select(self, timeout: float | None = None):
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None:
            return super().select(None)  # something on another thread will wake the loop
        self.loop.moment += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop on a clock of its own."""

    def __init__(self) -> None:
        selector = _Selector()
        selector.loop = self
        self.moment = 0.0
        super().__init__(selector)

    def time(self) -> float:
        return self.moment


class VirtualClock:
    """The time of the loop that runs, in epoch seconds: for fakes. `wall` gives it as UTC."""

    def __call__(self) -> float:
        return (BIRTH + timedelta(seconds=self.moment())).timestamp()

    @staticmethod
    def moment() -> float:
        try:
            return asyncio.get_running_loop().time()
        except RuntimeError:
            return 0.0

    def wall(self) -> datetime:
        return BIRTH + timedelta(seconds=self.moment())


def run_virtually(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run `main` on a virtual loop, the library's wall clock moving with it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bulkstatus._times.utc_now", VirtualClock().wall)
        return anyio.run(main, backend_options={"loop_factory": VirtualLoop})
