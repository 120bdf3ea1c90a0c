"""When the last look before each deadline is made. No clock, no network."""

import bisect

from bulkstatus._subscription import Subscription

_SHORTEST_LEAD, _LONGEST_LEAD, _MOST_OF_WAIT, _MARGIN = 1.0, 10.0, 0.2, 1.25


class Deadlines:
    """The waits of one source that have a deadline before them, and no last look made for them yet."""

    def __init__(self) -> None:
        self._waits: list[Subscription] = []
        self._round_trip = 0.0

    def add(self, subscription: Subscription) -> None:
        """Make a last look for a wait, if it has a deadline."""
        if subscription.deadline is not None:
            bisect.insort(self._waits, subscription, key=_ends_at)

    def discard(self, subscription: Subscription) -> None:
        """Make none for it."""
        if subscription in self._waits:
            self._waits.remove(subscription)

    def took(self, seconds: float) -> None:
        """So long an answer took."""
        self._round_trip = max(seconds, 0.9 * self._round_trip)

    def next_edge(self, requests: int) -> float | None:
        """When the first of the last looks is made, each of which takes so many requests; None for none."""
        lead = self._lead(requests)
        first: float | None = None
        for subscription in self._waits:
            if first is not None and subscription.ends_at - lead >= first:
                break
            edge = _edge(subscription, lead)
            first = edge if first is None else min(first, edge)
        return first

    def take(self, now: float, requests: int) -> list[Subscription]:
        """The waits whose last look is due; each is given once."""
        lead = self._lead(requests)
        due = [subscription for subscription in self._waits if _edge(subscription, lead) <= now]
        if due:
            self._waits = [subscription for subscription in self._waits if subscription not in due]
        return due

    def _lead(self, requests: int) -> float:
        """How long before a deadline: early enough for the answers, as long as they took lately.

        They are a page, or as many as the list has, and then each end by its id.
        """
        length = self._round_trip * (requests + 1)
        return min(max(_SHORTEST_LEAD, _MARGIN * length), _LONGEST_LEAD)


def _edge(subscription: Subscription, lead: float) -> float:
    length = subscription.ends_at - subscription.began
    return subscription.ends_at - min(lead, _MOST_OF_WAIT * length)


def _ends_at(subscription: Subscription) -> float:
    return subscription.ends_at
