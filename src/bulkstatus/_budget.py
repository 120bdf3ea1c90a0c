"""How many requests one credential may still cost, and when the next one may go. No clock of its own, no network."""

import math
from collections import deque
from collections.abc import Iterable

import msgspec

from bulkstatus._adapter import Limit, Remaining
from bulkstatus.errors import BulkStatusError, RateLimited

_LONGEST_PAUSE = 3_600.0
_LONGEST_GUESS, _MOST_DOUBLINGS = 60.0, 6
# Requests arrive later than they are sent, and not all equally so: two that are a window apart here may be less there.
_SLACK, _LONGEST_SLACK = 0.02, 1.0
_AT_EASE, _STEEP = 0.5, 0.9
_MOST_PRESSURE = 5.0
_SOON = 0.25
_TOO_MANY = 10**12


class Allowance(msgspec.Struct, frozen=True, kw_only=True):
    """One limit that bulkstatus keeps: at most `requests` in any `seconds`, of which `left` may be sent now."""

    requests: int
    seconds: float
    left: int

    def __str__(self) -> str:
        return f"{self.left:,} of {self.requests:,} in {self.seconds:g} s"


class _Window:
    """The requests of the last so many seconds."""

    def __init__(self, limit: Limit) -> None:
        self.limit = limit
        self.length = limit.seconds + min(_LONGEST_SLACK, _SLACK * limit.seconds)
        self.times: deque[float] = deque()

    def used(self, now: float) -> int:
        while self.times and self.times[0] + self.length <= now:
            self.times.popleft()
        return len(self.times)

    def wait(self, now: float, reserve: float, ahead: int) -> float:
        over = self.used(now) + ahead - max(1, int(self.limit.requests * (1.0 - reserve)))
        if over < 0:
            return 0.0
        if over >= len(self.times):
            return _SOON  # those ahead will be in the window in a moment
        return max(0.0, self.times[over] + self.length - now)

    def spacing(self, now: float, most: float) -> float:
        pressure = _pressure(self.used(now) / self.limit.requests)
        return self.length / self.limit.requests * min(pressure, most)


def _pressure(used: float) -> float:
    """How much slower than what a limit sustains to go: 0 while no more than half is used, 1 at 70 %, then steep.

    So what goes on for long settles at 70 %, and does not run into the end of the window and stand still there.
    """
    if used >= _STEEP:
        return _MOST_PRESSURE
    return min(_MOST_PRESSURE, max(0.0, (used - _AT_EASE) / (_STEEP - used)))


class Budget:
    """The requests that one credential may cost: our own limits, and the pauses its provider asks for.

    All questions with that credential go through it, whatever they are about. Times are seconds on one monotonic
    clock, the caller's.
    """

    def __init__(self, limits: Iterable[Limit]) -> None:
        self._windows = tuple(map(_Window, limits))
        self._opens_at = 0.0
        self._asked_for = 0.0
        self._throttled = 0
        self._told: Remaining | None = None
        self._told_until = 0.0

    def keep(self, limits: Iterable[Limit]) -> None:
        """Keep these limits too, what was sent already counted."""
        known = {window.limit for window in self._windows}
        sent = max((window.times for window in self._windows), key=len, default=())
        for limit in limits:
            if limit not in known:
                window = _Window(limit)
                window.times.extend(sent)
                self._windows += (window,)

    def wait(self, now: float, *, reserve: float = 0.0, ahead: int = 0) -> float:
        """Seconds until one more request may be sent.

        `reserve` is the share of each limit that is left alone, `ahead` how many are about to be sent already.
        """
        told = self._remaining(now)
        used_up = told is not None and told.left <= reserve * told.of
        until_reset = self._told_until - now if used_up else 0.0
        waits = (window.wait(now, reserve, ahead) for window in self._windows)
        return max(self.pause(now), until_reset, *waits)

    def pause(self, now: float) -> float:
        """Seconds until the provider wants requests again."""
        return max(0.0, self._opens_at - now)

    def refusal(self, now: float, *, reserve: float = 0.0, ahead: int = 0) -> RateLimited:
        """Why `wait` is not 0; its `reason` is `budget` where that is our own doing."""
        wait = self.wait(now, reserve=reserve, ahead=ahead)
        told = self._remaining(now)
        reason: str | None = "budget"
        if self.pause(now) > 0:
            length = f" of {self._asked_for:.0f} s" if self._asked_for > _LONGEST_PAUSE else ""
            why, reason = f"the provider asked for a pause{length}", None
        elif told is not None and told.left <= reserve * told.of:
            why = f"the provider says that these credentials have {max(0, told.left):,} of {told.of:,} requests left"
        else:
            limits = ", ".join(str(window.limit) for window in self._windows)
            why = f"the request budget of these credentials ({limits}) is used up"
        return RateLimited(
            f"{why}; nothing was sent, the next request may go in {wait:.0f} s",
            retry_after=wait,
            reason=reason,
        )

    def take(self, now: float) -> None:
        """A request is sent now."""
        for window in self._windows:
            window.times.append(now)
        if self._told is not None:
            self._told = msgspec.structs.replace(self._told, left=self._told.left - 1)

    def spacing(self, now: float, *, most: float = _MOST_PRESSURE) -> float:
        """Seconds between requests that the limits sustain; 0 while half of each is free.

        So a limit for a day slows what goes on all day, long before it is used up. `most` bounds by how many times they
        may be longer than what the limits sustain.
        """
        told = self._remaining(now)
        told_spacing = 0.0
        if told is not None:
            share = min(_pressure(1.0 - told.left / told.of), most)
            told_spacing = share * (self._told_until - now) / max(1, told.left)
        return max(told_spacing, *(window.spacing(now, most) for window in self._windows), 0.0)

    def left(self, now: float) -> tuple[Allowance, ...]:
        """What is left of each limit."""
        return tuple(
            Allowance(
                requests=window.limit.requests,
                seconds=window.limit.seconds,
                left=max(0, window.limit.requests - window.used(now)),
            )
            for window in self._windows
        )

    def told(self, remaining: Remaining, now: float) -> None:
        """The provider says what is left, others' requests counted: the last of it is not ours to use up."""
        if 0 < remaining.of < _TOO_MANY and 0 < remaining.seconds < math.inf:
            left = max(0, min(remaining.left, remaining.of))
            self._told = Remaining(left, remaining.of, remaining.seconds)
            self._told_until = now + min(_LONGEST_PAUSE, remaining.seconds)

    def _remaining(self, now: float) -> Remaining | None:
        if now >= self._told_until:
            self._told = None
        return self._told

    def throttled(self, error: BulkStatusError, now: float) -> None:
        """The provider asked for a pause, as its errors tell: nobody sends until it wants requests again.

        Without a number of its own the pause is 1 s, and twice the last one each time it does not help. After an hour
        it is asked again, however long the pause was to be.
        """
        if now >= self._opens_at:  # else it was sent before the pause began
            self._throttled += 1
        guess = min(_LONGEST_GUESS, 2.0 ** min(self._throttled - 1, _MOST_DOUBLINGS))
        pause = min(_LONGEST_PAUSE, guess if error.retry_after is None else error.retry_after)
        if now + pause >= self._opens_at:
            self._opens_at, self._asked_for = now + pause, error.retry_after or 0.0

    def answered(self) -> None:
        """A question was answered, so the provider is not throttling any more."""
        self._throttled = 0
