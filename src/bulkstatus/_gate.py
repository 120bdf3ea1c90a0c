"""What the answers of a source say about asking it again. No clock of its own, no network."""

from collections.abc import Callable
from copy import copy

from bulkstatus.errors import AuthError, BulkStatusError, RateLimited, Unavailable

_LONGEST_PAUSE = 3_600.0
_LONGEST_GUESS = 60.0
_DOWN_AFTER = 5


class Gate:
    """Pauses a provider wants, credentials it refused, and outages: for all questions to one source.

    A throttled credential is throttled for every question, a refused one is refused for every question, and a
    provider that is down is down for all of them. So what one question learned is not asked again by the hundreds
    that were queueing behind it; who comes later may try anew. `clock` gives monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._opens_at = 0.0
        self._throttled = 0
        self._failed = 0
        self._stopped_at = 0.0
        self._stop: BulkStatusError | None = None

    def answered(self) -> None:
        """A question was answered: whatever was wrong is over."""
        self._throttled = self._failed = 0
        self._stop = None

    def learn(self, error: BulkStatusError) -> None:
        """Take in how a question ended."""
        now = self._clock()
        if isinstance(error, RateLimited):
            if now >= self._opens_at:  # else it was sent before the pause began
                self._throttled += 1
            guess = min(_LONGEST_GUESS, 2.0 ** (self._throttled - 1))
            pause = min(_LONGEST_PAUSE, guess if error.retry_after is None else error.retry_after)
            self._opens_at = max(self._opens_at, now + pause)
        elif isinstance(error, AuthError):
            self._stop, self._stopped_at = error, now
        elif isinstance(error, Unavailable):
            self._failed += 1
            if self._failed >= _DOWN_AFTER:
                self._stop, self._stopped_at = error, now

    def pause(self) -> float:
        """Seconds until the provider wants requests again."""
        return max(0.0, self._opens_at - self._clock())

    def standstill(self, since: float) -> BulkStatusError | None:
        """What others met while a question that began at `since` waited its turn, so that it need not; or None."""
        if self._stop is None or self._stopped_at < since:
            return None
        error = copy(self._stop)
        error.message = f"{error.message} (others were just told so; not asked again)"
        return error
