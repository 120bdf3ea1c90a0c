"""What was odd in a client's answers, counted: for as long as the client lives, and until the journal has it."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime
from typing import get_args

from bulkstatus._drift import OTHERS, Drift, DriftKind, Oddity, pin
from bulkstatus._record import Odd, Place
from bulkstatus._states import fold

MOST = 100
"""So many different things of a kind are told apart for one source: no provider can fill a memory, or a disk."""

_Key = tuple[str, str, str, str]


class Tally:
    """Counts oddities by source."""

    def __init__(self, providers: Mapping[str, str]) -> None:
        self._providers = dict(providers)
        self._counted: dict[_Key, _Counted] = {}
        self._news: dict[_Key, int] = {}
        self._different: dict[tuple[str, str], int] = {}

    def add(self, source: str, found: Iterable[Oddity], at: datetime) -> None:
        """Count what was found in one answer."""
        for each in found:
            odd = each if (source, *each[:3]) in self._counted else self._new(source, each)
            key = (source, *odd[:3])
            counted = self._counted.setdefault(key, _Counted(odd, at))
            counted.count += 1
            counted.first = min(counted.first, at)
            counted.last = max(counted.last, at)
            self._news[key] = self._news.get(key, 0) + 1

    def _new(self, source: str, odd: Oddity) -> Oddity:
        """One that was not met before, or what it is counted with when there is no room for it."""
        number = self._different.get((source, odd.kind), 0)
        if number == MOST:
            return others(odd)
        self._different[source, odd.kind] = number + 1
        return odd

    def take(self, places: Mapping[str, Place]) -> list[Odd]:
        """What was counted since this was called last."""
        news, self._news = self._news, {}
        found = ((key[0], self._counted[key], number) for key, number in news.items())
        return [
            Odd(places[source], counted.odd, number, counted.first, counted.last)
            for source, counted, number in found
        ]

    def drift(self) -> tuple[Drift, ...]:
        """All that was counted, in order."""
        return in_order(
            drift(source, self._providers[source], counted.odd, counted.count, counted.first, counted.last)
            for (source, *_), counted in self._counted.items()
        )


class _Counted:
    def __init__(self, odd: Oddity, at: datetime) -> None:
        self.odd = odd
        self.count = 0
        self.first = self.last = at


def others(odd: Oddity) -> Oddity:
    """What stands for an oddity that there is no room for."""
    return Oddity(odd.kind, OTHERS, OTHERS, OTHERS)


def drift(source: str, provider: str, odd: Oddity, count: int, first: datetime, last: datetime) -> Drift:  # noqa: PLR0917 - a row's columns
    """An oddity as callers get it."""
    return Drift(
        source=source,
        provider=provider,
        kind=odd.kind,
        where=odd.where,
        sample=odd.sample,
        count=count,
        first_seen=first,
        last_seen=last,
        pin=None if odd.word is None else pin(odd.word),
    )


_KINDS = get_args(DriftKind)


def unpinned(found: Iterable[Drift], pins: Mapping[str, Collection[str]]) -> Iterator[Drift]:
    """Without the words that the configuration gives a meaning by now; `pins` are those of each source."""
    folded = {source: frozenset(map(fold, words)) for source, words in pins.items()}
    return (one for one in found if one.pin is None or fold(one.sample) not in folded.get(one.source, ()))


def in_order(found: Iterable[Drift]) -> tuple[Drift, ...]:
    """By source, words before fields before times."""
    return tuple(
        sorted(
            found, key=lambda one: (one.source, one.provider, _KINDS.index(one.kind), one.where, one.sample)
        )
    )
