"""How long until the next look at a bulk: policy, provider, budget and what went wrong, put together. No clock."""

from collections.abc import Callable, Sequence

from bulkstatus._adapter import Adapter
from bulkstatus._budget import Budget
from bulkstatus._subscription import Subscription
from bulkstatus._track import Track
from bulkstatus.errors import BulkStatusError, NotFound

AFTER_ITS_END = 600.0
_SECOND_LOOK = 5.0
_LOOKS_IN_GRACE = 4
_SCAN_EVERY = 30.0


class Pacing:
    """The intervals of one source. `requests` says how many it takes to look at everything once."""

    def __init__(
        self,
        adapter: Adapter,
        budget: Callable[[], Budget],
        requests: Callable[[float], int],
        chance: Callable[[], float],
    ) -> None:
        self._floor = adapter.poll_floor
        self._ceiling = adapter.poll_ceiling
        self._budget = budget
        self._requests = requests
        self._chance = chance

    def interval(self, track: Track, followers: Sequence[Subscription], now: float) -> float:
        """Seconds until the next look at a bulk that was seen, as its most eager follower wants it."""
        policy = min((sub.polling for sub in followers), key=lambda polling: polling.base)
        return policy.interval(
            track.age(now),
            rest=track.rest(now),
            spacing=self._spacing(now),
            floor=self._floor,
            ceiling=self._ceiling,
            chance=self._chance(),
        )

    def first(self, now: float) -> float:
        """Seconds within which a new bulk is looked at: where the budget is short, it waits to be worth a list."""
        return min(self._spacing(now), self._ceiling)

    def scan(self, now: float) -> float:
        """Seconds until all that is unfinished is listed again."""
        return max(_SCAN_EVERY, self._spacing(now)) * (0.9 + 0.2 * self._chance())

    def after_failure(
        self, track: Track, error: BulkStatusError, followers: Sequence[Subscription], now: float
    ) -> float:
        """Seconds until the next look at a bulk that alone could not be looked at."""
        if not isinstance(error, NotFound):
            patience = min(sub.terms.blind_after for sub in followers) / _LOOKS_IN_GRACE
            return max(self._floor, min(patience, self.interval(track, followers, now)))
        if track.last_known is not None:
            return max(_SECOND_LOOK, self._floor)
        waits = [sub for sub in followers if not sub.over]
        after = max(sub.terms.grace for sub in waits) / _LOOKS_IN_GRACE
        left = max(max(track.since, sub.began) + sub.terms.grace for sub in waits) - now
        return max(self._floor, min(after, left) if left > 0 else after)

    def _spacing(self, now: float) -> float:
        """How far apart the budget wants the looks at one bulk, all others having theirs between.

        Beyond the ceiling no farther than it sustains: longer intervals for some would only be shorter ones for others.
        """
        spacing = self._budget().spacing(now)
        if not spacing:
            return 0.0
        requests = self._requests(now)
        if spacing * requests > self._ceiling:
            return max(self._ceiling, self._budget().spacing(now, most=1.0) * requests)
        return spacing * requests
