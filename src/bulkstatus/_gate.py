"""What the answers of a source say about asking it again. No clock of its own, no network."""

from collections.abc import Callable
from copy import copy

from bulkstatus.errors import AuthError, BulkStatusError, Unavailable

_DOWN_AFTER = 5


class Gate:
    """Credentials that were refused, and outages: for all questions to one source.

    A refused credential is refused for every question, and a provider that is down is down for all of them. So what
    one question learned is not asked again by the hundreds that were queueing behind it; who comes later may try
    anew. `clock` gives monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._failed = 0
        self._stopped_at = 0.0
        self._stop: BulkStatusError | None = None

    def answered(self) -> None:
        """A question was answered: whatever was wrong is over."""
        self._failed = 0
        self._stop = None

    def learn(self, error: AuthError | Unavailable) -> None:
        """Take in how a question ended."""
        if isinstance(error, Unavailable):
            self._failed += 1
            if self._failed < _DOWN_AFTER:
                return
        self._stop, self._stopped_at = error, self._clock()

    def standstill(self, since: float) -> BulkStatusError | None:
        """What others met while a question that began at `since` waited its turn, so that it need not; or None."""
        if self._stop is None or self._stopped_at < since:
            return None
        error = copy(self._stop)
        error.message = f"{error.message} (others were just told so; not asked again)"
        return error
