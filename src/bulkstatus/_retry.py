"""When a question that could not be answered is asked again, and after how long."""

import logging
import math
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec

from bulkstatus._tasks import is_duration, now
from bulkstatus.errors import BulkStatusError, ConfigError, ProtocolError, RateLimited, RequestRejected

T = TypeVar("T")


_MOST_CONNECTIONS = 32


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """How patient one question is. All times in seconds.

    `request_timeout` ends a single request whatever the server does; `attempts` is how often a question is asked in
    all; `patience` bounds the whole of it, pauses included: a pause the provider asks for that does not fit into it
    ends the question at once with the provider's own error, `retry_after` set. `connections` is how many requests of
    one source may be under way together, 32 at most. Raises ConfigError for values that cannot be.
    """

    attempts: int = 4
    request_timeout: float = 20.0
    patience: float = 120.0
    connections: int = 8

    def __post_init__(self) -> None:
        for name, most in (("attempts", math.inf), ("connections", _MOST_CONNECTIONS)):
            value: object = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
                bounds = "1 up" if most == math.inf else f"1 to {most}"
                raise ConfigError(f"Policy.{name} is a whole number from {bounds}, not {value!r}")
        for name in ("request_timeout", "patience"):
            if not is_duration(getattr(self, name)):
                raise ConfigError(
                    f"Policy.{name} is a number of seconds above 0, not {getattr(self, name)!r}"
                )


LONGEST_PAUSE = 300.0
_BASE, _BASE_THROTTLED, _LONGEST_BACKOFF = 0.25, 1.0, 8.0
_WORTH_SAYING = 5.0
_LOG = logging.getLogger("bulkstatus")
_LOG.addHandler(logging.NullHandler())
# Else a program that has set up no logging finds stamina's records of retries on its stderr.
logging.getLogger("stamina").addHandler(logging.NullHandler())
_FEW: dict[str | None, int] = {"dns": 2, "pool": 2}


def attempts_for(error: BulkStatusError, policy: Policy) -> int:
    """How often in all a question that met `error` may be asked."""
    if not error.retryable:
        return 1
    if isinstance(error, ProtocolError):
        return min(2, policy.attempts)
    if isinstance(error, RequestRejected):
        return min(3, policy.attempts)
    return min(_FEW.get(error.reason, policy.attempts), policy.attempts)


def backoff(error: BulkStatusError, failed: int, *, jitter: Callable[[], float] = random.random) -> float:
    """Seconds to wait after the `failed`-th attempt: full jitter, or the pause the provider asked for if longer."""
    base = _BASE_THROTTLED if isinstance(error, RateLimited) else _BASE
    wait = jitter() * min(_LONGEST_BACKOFF, base * 2.0**failed)
    return max(wait, error.retry_after or 0.0)


class Quota:
    """How many retries a source may still cost. Successes earn them, so an outage is not met with a flood.

    Retries cost 5 (2 when throttled, since then the pause is already given) of at most 50; a success earns 1.
    """

    _FULL, _TRANSIENT, _THROTTLED = 50, 5, 2

    def __init__(self) -> None:
        self._left = self._FULL

    def earn(self) -> None:
        """A question was answered."""
        self._left = min(self._FULL, self._left + 1)

    def spend(self, error: BulkStatusError) -> bool:
        """Pay for one retry after `error`; False when there is not enough left."""
        cost = self._THROTTLED if isinstance(error, RateLimited) else self._TRANSIENT
        if cost > self._left:
            return False
        self._left -= cost
        return True


def log_retries() -> None:
    """Have retries recorded by the standard library's logging alone, in this whole process.

    For programs. stamina would use structlog where that is installed, which prints to stdout unless configured.
    """
    import stamina.instrumentation

    stamina.instrumentation.set_on_retry_hooks([stamina.instrumentation.LoggingOnRetryHook])


async def with_retries(
    once: Callable[[], Awaitable[T]], policy: Policy, quota: Quota, *, name: str = "bulkstatus"
) -> T:
    """Await `once` until it answers, as often and as long as `policy` and `quota` allow; raise the last error.

    `name` is how a warning of a long pause speaks of it, in the log "bulkstatus".

    The first try is made by hand: entering stamina costs about a tenth of a request, importing it as much as ten, and
    nearly every question is answered at once.
    """
    began = now()
    try:
        return await once()
    except BulkStatusError as error:
        if attempts_for(error, policy) == 1:
            raise
        first = error
    import stamina

    failed = 0

    def pause(error: Exception) -> bool | float:
        nonlocal failed
        failed += 1
        if not isinstance(error, BulkStatusError) or failed >= attempts_for(error, policy):
            return False
        wait = backoff(error, failed)
        fits = wait <= LONGEST_PAUSE and now() + wait < began + policy.patience
        if not fits or not quota.spend(error):
            return False
        if wait > _WORTH_SAYING:
            _LOG.warning("%s: %s; asking again in %.0f s", name, error.message, wait)
        return wait

    async for attempt in stamina.retry_context(on=pause, attempts=None, timeout=None):
        with attempt:
            if attempt.num == 1:
                raise first
            return await once()
    raise AssertionError("stamina ends by an answer or an error")  # pragma: no cover
