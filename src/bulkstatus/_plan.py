"""When which bulk of a source is looked at, and whether in its list or by its id. No clock, no network.

Times are monotonic seconds, given by the caller.
"""

import heapq
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from bulkstatus._model import State

OPEN: frozenset[State] = frozenset({State.QUEUED, State.RUNNING, State.PAUSED})

_FORGET = 600.0
_LIST_REST = 300.0
_LATE = 5.0
_LONG_OUTAGE = 600.0
_SHORTEST_PROBE, _LONGEST_PROBE, _LONGEST_PROBE_OF_ALL = 2.0, 30.0, 300.0

Key = frozenset[State] | None
_GROUNDED, _LOOK, _SWEEP = 0, 1, 2


class Look(NamedTuple):
    """Ask for one bulk by its id."""

    id: str


class Sweep(NamedTuple):
    """Look for the bulks `ids` in the list of those that are in `states` (None: in any). `scan` wants every row."""

    ids: tuple[str, ...]
    states: Key
    scan: bool = False


class _Item:
    __slots__ = ("alone", "due", "flying", "id", "known", "ripe_at", "wait")

    def __init__(self, id: str, due: float) -> None:
        self.id = id
        self.due: float | None = due
        self.ripe_at = due
        self.wait = 0.0
        self.alone = False
        self.flying = _GROUNDED
        self.known: State | None = None


class Plan:
    """The looks of one source.

    `listings` says how many listings one has to read for the bulks in certain states (None: in any), 0 where there is
    no list. Bulks that are due soon are taken along when the list is read: all within the second half of their wait.
    """

    def __init__(self, listings: Callable[[Key], int]) -> None:
        self._listings = listings
        self._items: dict[str, _Item] = {}
        self._due: list[tuple[float, str]] = []
        self._alone: list[tuple[float, str]] = []
        self._ripening: list[tuple[float, str]] = []
        self._ripe: dict[str, None] = {}
        self._ripe_states: Counter[State | None] = Counter()
        self._left: dict[str, int] = {}
        self._looks = 0
        self._sweeping = False
        self._costs: dict[Key, tuple[int, float, float]] = {}
        self._list_from = float("-inf")
        self._down_since: float | None = None
        self._probe_at = 0.0
        self._pressed = False
        self._scan_due: float | None = None
        self.detail = 0
        """Up to so many bulks are rather asked for one by one, for what the list does not say."""

    def __len__(self) -> int:
        return len(self._items)

    def __contains__(self, id: str) -> bool:
        return id in self._items

    @property
    def is_sweeping(self) -> bool:
        """True while a list is being read."""
        return self._sweeping

    @property
    def down_since(self) -> float | None:
        """Since when the source could not be asked, or None."""
        return self._down_since

    # --- what is followed ---

    def add(self, id: str, now: float, *, within: float = 0.0) -> None:
        """Look at `id` within so many seconds, and then as `settle` says; also at one that is there already.

        Until then it is taken along when the list is read.
        """
        item = self._items.get(id)
        if item is None:
            self._items[id] = item = _Item(id, now)
            item.flying = self._left.pop(id, _GROUNDED)
            item.due = None if item.flying else now
        if not item.flying:
            self._unripen(item)
            self._schedule(item, now + within, 2 * within)

    def drop(self, id: str) -> None:
        """Look at `id` no more. The answer to a question that is under way is awaited all the same."""
        item = self._items.pop(id, None)
        if item is not None:
            self._unripen(item)
            if item.flying:
                self._left[id] = item.flying

    def press(self) -> None:
        """Somebody's deadline is near: a source that is down is asked once more before."""
        self._pressed = True

    def scan(self, due: float | None) -> None:
        """Read the whole list of unfinished bulks at `due`; None: not at all."""
        self._scan_due = due

    # --- what to do ---

    def next_at(self) -> float | None:
        """When `take` will next have something to do, as far as is known; None while answers are awaited."""
        heaps = ((self._alone, 0.0), (self._due, self._later()))
        times = [heap[0][0] + wait for heap, wait in heaps if self._clean(heap)]
        if self._scan_due is not None and not self._sweeping:
            times.append(self._scan_due)
        if not times:
            return None
        if self._down_since is None:
            return min(times)
        if self._looks or self._sweeping:
            return None
        return min(times) if self._pressed else max(min(times), self._probe_at)

    def due_at(self, id: str) -> float | None:
        """When `id` will next be looked at; None while it is being asked for, and when it is not followed."""
        item = self._items.get(id)
        return None if item is None else item.due

    def take(self, now: float) -> Look | Sweep | None:
        """What to ask now, or None. Whatever it gives must be answered for each id: by `landed`, or one of those below."""
        if not self._may_ask(now):
            return None
        self._ripen(now)
        if self._scan_due is not None and self._scan_due <= now and not self._sweeping:
            self._scan_due = None
            return self._begin_sweep(self._choose_scan(now), scan=True)
        alone = self._clean(self._alone) and self._alone[0][0] <= now
        # While a list is being read, what has fallen due since may well be in it; but a long list keeps nobody waiting.
        folded = self._clean(self._due) and self._due[0][0] + self._later() <= now
        if alone and (not folded or self._alone[0][0] <= self._due[0][0]):
            return self._begin_look(self._alone)
        if not folded:
            return None
        choice = None if self._sweeping else self._choose(now)
        return self._begin_look(self._due) if choice is None else self._begin_sweep(choice[0], scan=False)

    def overdue(self, now: float) -> list[str]:
        """The bulks that should have been looked at by now."""
        return [item.id for item in self._items.values() if item.due is not None and item.due <= now]

    # --- what came of it ---

    def landed(self, id: str) -> None:
        """The question about `id` was answered, if it was under way, whatever came of it."""
        item = self._items.get(id)
        flying = self._left.pop(id, _GROUNDED) if item is None else item.flying
        self._looks -= flying == _LOOK
        if item is not None:
            item.flying = _GROUNDED

    def settle(self, id: str, now: float, wait: float, *, known: State | None) -> None:
        """`id` was answered for, in the state `known` if that is known, and is due again in `wait` seconds."""
        self.landed(id)
        item = self._items.get(id)
        if item is not None:
            item.alone = False
            self._unripen(item)
            item.known = known
            self._schedule(item, now + wait, wait)

    def again(self, id: str, now: float, *, after: float = 0.0) -> None:
        """`id` is to be asked for by its id, in `after` seconds."""
        self.landed(id)
        item = self._items.get(id)
        if item is not None:
            self._unripen(item)
            item.alone = True
            self._schedule(item, now + after, 0.0)

    def retry(self, id: str, now: float) -> None:
        """`id` could not be asked for: it stays due."""
        self.landed(id)
        item = self._items.get(id)
        if item is not None:
            self._unripen(item)
            self._schedule(item, now, item.wait)

    def swept(self, sweep: Sweep, now: float, *, cost: int, found: int) -> None:
        """A sweep is over: how many requests it takes, and how many of its `ids` it found. Remembered for a while."""
        self._sweeping = False
        hits = found / len(sweep.ids) if sweep.ids else 1.0
        self._costs[sweep.states] = (cost, hits, now + _FORGET)

    def broke_off(self, now: float, *, for_now: bool) -> None:
        """A sweep failed: leave the list alone for some minutes, or `for_now`, until `list_again`."""
        self._sweeping = False
        self._list_from = float("inf") if for_now else now + _LIST_REST

    def list_again(self, now: float) -> None:
        """The list may be tried again, if it was left alone for now."""
        if self._list_from == float("inf"):
            self._list_from = now

    def seen_in(self, states: frozenset[State]) -> list[str]:
        """The bulks that were last seen in one of `states` and are not being asked for."""
        return [item.id for item in self._items.values() if item.known in states and not item.flying]

    def is_asked(self, id: str) -> bool:
        """True while the answer to a look at `id` is awaited."""
        item = self._items.get(id)
        return item is not None and item.flying == _LOOK

    def round(self, now: float) -> int:
        """How many requests it takes to look at everything once."""
        number = len(self._items)
        lists = [cost for key in (None, OPEN) if (cost := self._cost(key, now)[0])]
        return min(number, *lists) if lists and now >= self._list_from else number

    def down(self, now: float) -> None:
        """The source could not be asked: from now on one question at a time, more and more seldom.

        Half as long as it has been down already, 30 s at most; after ten minutes up to 5 minutes.
        """
        if self._down_since is None:
            self._down_since = now
        outage = now - self._down_since
        if outage < _LONG_OUTAGE:
            pause = min(max(outage / 2, _SHORTEST_PROBE), _LONGEST_PROBE)
        else:
            pause = min(max(outage / 20, _LONGEST_PROBE), _LONGEST_PROBE_OF_ALL)
        self._probe_at = now + pause

    def up(self) -> None:
        """The source answered."""
        self._down_since = None

    # --- inside ---

    def _later(self) -> float:
        return _LATE if self._sweeping else 0.0

    def _schedule(self, item: _Item, due: float, wait: float) -> None:
        item.due, item.wait, item.ripe_at = due, wait, due - wait / 2
        if item.alone:
            heapq.heappush(self._alone, (due, item.id))
        else:
            heapq.heappush(self._due, (due, item.id))
            heapq.heappush(self._ripening, (item.ripe_at, item.id))

    def _clean(self, heap: list[tuple[float, str]]) -> bool:
        """Drop what is not so any more from the top of a heap; True when something is left."""
        while heap:
            due, id = heap[0]
            item = self._items.get(id)
            if item is not None and item.due == due and item.alone == (heap is self._alone):
                return True
            heapq.heappop(heap)
        return False

    def _ripen(self, now: float) -> None:
        while self._ripening and self._ripening[0][0] <= now:
            ripe_at, id = heapq.heappop(self._ripening)
            item = self._items.get(id)
            if item is not None and item.due is not None and not item.alone and item.ripe_at == ripe_at:
                self._unripen(item)
                self._ripe[id] = None
                self._ripe_states[item.known] += 1

    def _unripen(self, item: _Item) -> None:
        if item.id in self._ripe:
            del self._ripe[item.id]
            self._ripe_states[item.known] -= 1

    def _begin_look(self, heap: list[tuple[float, str]]) -> Look:
        item = self._items[heapq.heappop(heap)[1]]
        self._unripen(item)
        item.due = None
        item.flying = _LOOK
        self._looks += 1
        return Look(item.id)

    def _begin_sweep(self, states: Key, *, scan: bool) -> Sweep:
        ids = tuple(self._ripe)
        for id in ids:
            item = self._items[id]
            self._unripen(item)
            item.due = None
            item.flying = _SWEEP
        self._sweeping = True
        return Sweep(ids, states, scan)

    def _may_ask(self, now: float) -> bool:
        """False while the source is down, but for a probe now and then, and one before somebody's deadline."""
        asked = self._looks or self._sweeping
        if self._down_since is not None and (asked or not (now >= self._probe_at or self._pressed)):
            return False
        self._pressed = False
        return True

    def _choose(self, now: float) -> tuple[Key] | None:
        """Which list to read for what is ripe, if that takes fewer requests than looking at each."""
        ripe = len(self._ripe)
        if ripe <= self.detail or now < self._list_from:
            return None
        states = {state for state, number in self._ripe_states.items() if number}
        best: tuple[float, Key] | None = None
        for key in dict.fromkeys((None, _narrowed(states))):
            cost, hits = self._cost(key, now)
            if cost and (best is None or ripe * hits - cost > best[0]):
                best = (ripe * hits - cost, key)
        return (best[1],) if best is not None and best[0] > 0 else None

    def _choose_scan(self, now: float) -> Key:
        """The list of what is unfinished; the whole list only where it is known to take fewer requests."""
        known = None in self._costs and now < self._costs[None][2]
        return None if known and self._costs[None][0] < self._cost(OPEN, now)[0] else OPEN

    def _cost(self, key: Key, now: float) -> tuple[int, float]:
        """How many requests a list takes, and which share of what was looked for is in it; 0 where there is no list."""
        cost, hits, until = self._costs.get(key, (0, 1.0, 0.0))
        return (cost, hits) if now < until else (self._listings(key), 1.0)


def _narrowed(states: set[State | None]) -> Key:
    """The states to look in for bulks last seen in `states`: those, and what a queued one will have moved on to."""
    if State.UNKNOWN in states:
        return None
    known = frozenset(state for state in states if state is not None)
    if len(known) < len(states):
        return OPEN
    return known | {State.RUNNING} if State.QUEUED in known else known
