"""How long bulks usually take, and which take longer. No file, no clock.

An unfinished bulk is measured at its last look: what has not been looked at since is not called late for that.
"""

import math
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from bulkstatus._model import BulkStatus, Overdue, State, Stuck
from bulkstatus._outcome import is_blocked

FEWEST = 20
"""So many ended bulks it takes to say what is usual."""
LATEST = 1_000
"""So many, the latest ones, are looked at."""
RAN_TO_AN_END = (State.SUCCEEDED, State.PARTIAL, State.FAILED)
"""Whose durations count: one that was cancelled, or ran out of time, says nothing about how long such bulks take."""

_SHARE = 0.95
# Stuck is what has not moved for half of what is usual, and never what moved within ten minutes.
_SHORTEST_STANDSTILL = 600.0
_STANDSTILL = 3_600.0


class Usual(NamedTuple):
    """What 95 of 100 of the last `of` ended bulks stayed below, in seconds."""

    of: int
    seconds: float


def usual(durations: Sequence[float]) -> Usual | None:
    """What is usual, by the nearest rank; None for fewer than 20."""
    if len(durations) < FEWEST:
        return None
    ordered = sorted(durations)
    return Usual(len(ordered), ordered[math.ceil(_SHARE * len(ordered)) - 1])


def overdue(status: BulkStatus, began_at: datetime | None, known: Usual | None) -> Overdue | None:
    """By how much a running bulk is late, or None. One that waits to begin takes no part in what is compared."""
    if known is None or began_at is None or status.state is not State.RUNNING or status.gone_at is not None:
        return None
    age = (status.observed_at - began_at).total_seconds()
    return Overdue(age=age, usual=known.seconds, of=known.of) if age > known.seconds else None


def stuck(status: BulkStatus, moved_at: datetime | None, known: Usual | None) -> Stuck | None:
    """Since when nothing has moved in an unfinished bulk, if that is long and would have been seen.

    None for one that waits for somebody, and for one that runs and counts nothing: it may be well on its way.
    """
    counted = status.counts is not None and status.counts.finished is not None
    watched = status.state is State.QUEUED or (status.state is State.RUNNING and counted)
    if moved_at is None or not watched or status.gone_at is not None or is_blocked(status):
        return None
    idle = (status.observed_at - moved_at).total_seconds()
    limit = _STANDSTILL if known is None else max(_SHORTEST_STANDSTILL, known.seconds / 2)
    if idle <= limit:
        return None
    return Stuck(since=moved_at, idle=idle, limit=limit, of=None if known is None else known.of)
