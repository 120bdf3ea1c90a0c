"""Waiting for several things at once, and not for ever."""

from collections.abc import Callable, Coroutine, Iterable
from contextlib import AbstractContextManager
from types import TracebackType

import anyio

from bulkstatus.errors import ConfigError, DeadlineExceeded

_EONS = 1e12


def now() -> float:
    """Seconds on the monotonic clock of the event loop; all of the engine goes by it."""
    return anyio.current_time()


def is_duration(value: object) -> bool:
    """True for a number of seconds above 0, and not beyond what a clock can count."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < _EONS


class deadline(AbstractContextManager[None]):  # noqa: N801 - reads as a statement where it is used
    """End the block after `timeout` seconds, if it is not None, and raise DeadlineExceeded then."""

    def __init__(self, timeout: float | None) -> None:
        if timeout is not None and not is_duration(timeout):
            raise ConfigError(f"timeout is a number of seconds above 0, or None, not {timeout!r}")
        self._timeout = timeout
        self._scope = anyio.CancelScope()

    def __enter__(self) -> None:
        if self._timeout is not None:
            self._scope.deadline = anyio.current_time() + self._timeout
        self._scope.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        handled = self._scope.__exit__(kind, error, trace)
        if self._scope.cancelled_caught:
            raise DeadlineExceeded(f"no answer within {self._timeout:g} s; the bulk may be in any state")
        return handled


async def together(jobs: Iterable[Callable[[], Coroutine[object, object, None]]]) -> None:
    """Run all jobs side by side and wait for the last. The first that raises ends the others."""
    async with anyio.create_task_group() as group:
        for job in jobs:
            group.start_soon(job)
