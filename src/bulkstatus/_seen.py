"""Which rows have come, in few bytes for each of them.

While they are few, or where nothing says how many there are, their keys are kept. Beyond that a row is known by some
60 bits of a hash of its key, in 8 bytes and no more: a million keys in a set are 110 MiB. Two of a million look the
same once in nine million such lists. One of them is taken for the other then and left out, which makes the list one
row shorter than its provider says it is: that is an error, and no row is missing without one. Where nothing says how
many rows there are, that could not be told, so their keys are kept, however many.
"""

import sys
from array import array
from secrets import token_hex

_FEW = 10_000
# For so many there is room at once; whoever says more may be wrong, and there are more tables.
_MOST_EXPECTED = 1_000_000
_HASH_BITS = sys.hash_info.width
_MARK_BITS = 64
_MARK = (1 << _MARK_BITS) - 1
_WIDTH = 6
_REST = (1 << 8 * _WIDTH) - 1
# So many marks share a place on average, and so many find room there: two standard deviations more, which leaves one of
# a thousand over. More in a place take longer to search, fewer leave more room unused.
_SHARE, _ROOM = 64, 82
_SPAN = _ROOM * _WIDTH
# The place is a part of what a row is known by, so the fewer there are, the more look the same.
_FEWEST_PLACES = 256


class Seen:
    """The keys of the rows that have come. `expected` is how many rows there are, as far as anybody says so."""

    def __init__(self, expected: int | None) -> None:
        self._keys: set[str] = set()
        # A build of Python whose hashes have 32 bits would take many for others.
        self._most = _FEW if expected is not None and _MARK_BITS <= _HASH_BITS else sys.maxsize
        self._expected = min(expected or 0, _MOST_EXPECTED)
        self._table: _Table | None = None
        self._full: list[_Table] = []
        self._salt = token_hex(4)  # so that two that were taken for one are not so in the next list too

    def __contains__(self, key: str) -> bool:
        if self._table is None:
            return key in self._keys
        mark = self._mark(key)
        return mark in self._table or any(mark in table for table in self._full)

    def add(self, key: str) -> bool:
        """Take in a key; True for one that has not come before."""
        if self._table is not None:
            return self._add_mark(self._table, self._mark(key))
        if key in self._keys:
            return False
        self._keys.add(key)
        if len(self._keys) > self._most:
            self._forget_keys()
        return True

    def _mark(self, key: str) -> int:
        return hash(self._salt + key) & _MARK

    def _add_mark(self, table: "_Table", mark: int) -> bool:
        for full in self._full:
            if mark in full:
                return False
        if table.count >= table.most:  # there are more than was said
            if mark in table:
                return False
            self._full.append(table)
            table = self._table = _Table(sum(full.count for full in self._full) // 2)
        return table.add(mark)

    def _forget_keys(self) -> None:
        self._table = table = _Table(max(self._expected, 2 * len(self._keys)))
        for key in self._keys:
            table.add(self._mark(key))
        self._keys.clear()


class _Table:
    """About so many marks: in one piece of memory that does not grow, and so leaves no holes behind."""

    def __init__(self, number: int) -> None:
        self._places = max(_FEWEST_PLACES, -(-number // _SHARE))
        self.most = self._places * _SHARE
        self._marks = bytearray(self._places * _SPAN)
        self._ends = array("Q", range(0, len(self._marks), _SPAN))
        self._over: set[int] = set()
        self.count = 0

    def __contains__(self, mark: int) -> bool:
        rest, place = divmod(mark, self._places)
        found, start, end = (rest & _REST).to_bytes(_WIDTH), place * _SPAN, self._ends[place]
        at = self._marks.find(found, start, end)
        return self._is_at(at, found, start, end) or mark in self._over

    def add(self, mark: int) -> bool:
        """Take in a mark; True for one that is not there."""
        rest, place = divmod(mark, self._places)
        found = (rest & _REST).to_bytes(_WIDTH)
        start, end = place * _SPAN, self._ends[place]
        at = self._marks.find(found, start, end)
        if (at >= 0 and self._is_at(at, found, start, end)) or mark in self._over:
            return False
        self.count += 1
        if end - start == _SPAN:
            self._over.add(mark)
        else:
            self._ends[place] = after = end + _WIDTH
            self._marks[end:after] = found
        return True

    def _is_at(self, at: int, mark: bytes, start: int, end: int) -> bool:
        """True where `mark` stands at `at`, or behind it: what is found may be half of one mark and half of the next."""
        while at >= 0 and (at - start) % _WIDTH:
            at = self._marks.find(mark, at + 1, end)
        return at >= 0
