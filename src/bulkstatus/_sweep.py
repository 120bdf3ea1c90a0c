"""Looking for many bulks in a provider's list, as far as that takes fewer requests than asking for each.

The walk says what to ask and is handed the pages; it sends nothing itself.
"""

from collections.abc import Collection, Generator, Iterable
from typing import NamedTuple

from bulkstatus._call import Call, Page
from bulkstatus._model import BulkStatus
from bulkstatus.errors import ProtocolError

_BARREN = 2
_MOST_PAGES = 10_000


class Swept(NamedTuple):
    """What a walk over the list gave.

    `rows` by id, how many requests it takes as far as is known, and whether it was read to its end: what is not in
    the rows was then not in the list either. `left_out` counts records by which no bulk can be asked for.
    """

    rows: dict[str, BulkStatus]
    cost: int
    whole: bool = False
    left_out: int = 0


def left_out(source: str, number: int) -> ProtocolError:
    """The error for a list of which so many records are left out."""
    return ProtocolError(
        f"{number:,} records name no bulk that could be asked for, so the list is not complete",
        source=source,
        reason="left_out",
    )


def sweep(
    listings: Iterable[Call[Page[BulkStatus]]],
    wanted: Collection[str] | None,
    rows: dict[str, BulkStatus] | None = None,
    *,
    others: Collection[str] = (),
) -> Generator[Call[Page[BulkStatus]], Page[BulkStatus], Swept]:
    """Walk over `listings` for the bulks `wanted`; None wants every row there is.

    It ends early when all are found, and with them all `others`, of whom it is good to know whether they are in the list, as far
    as that takes fewer pages than they are; when asking for those that are left takes no more requests than the rest of the
    list; and, where that is not known, after two pages in a row that held none of them, or nothing new. Rows are put into `rows` as
    they come, if it is given, so that those of a walk that breaks off are there.
    """
    walk = _Walk({} if rows is None else rows, wanted, others)
    whole = True
    for first in listings:
        whole = (yield from _read(first, walk)) and whole
        if not whole and walk.left is not None and not walk.left:
            break
    return Swept(walk.rows, max(1, walk.cost), whole, walk.left_out)


class _Walk:
    """What is still looked for, None being everything, and what it took so far."""

    def __init__(
        self, rows: dict[str, BulkStatus], wanted: Collection[str] | None, others: Collection[str]
    ) -> None:
        self.rows = rows
        self.left = None if wanted is None else set(wanted)
        self.cost = 0
        self.left_out = 0
        self._aside = set(others)
        self._barren = 0

    def begin(self) -> None:
        """Another listing."""
        self._barren = 0

    def take(self, page: Page[BulkStatus]) -> None:
        """Take in a page."""
        self.cost += 1
        self.left_out += page.left_out
        before = self._found()
        ids = [row.id for row in page.items]
        self.rows.update(zip(ids, page.items, strict=True))
        self._aside.difference_update(ids)
        if self.left is not None:
            self.left.difference_update(ids)
        self._barren = 0 if self._found() > before else self._barren + 1

    def is_enough(self, more: int | None) -> bool:
        """True when the `more` pages that follow, None if their number is not known, are not worth their requests."""
        if self.cost >= _MOST_PAGES:
            return True
        worth = None if self.left is None else len(self.left or self._aside)
        if more is None:
            return self._barren >= _BARREN or (self.left is not None and not self.left)
        return worth is not None and more >= worth

    def _found(self) -> int:
        return len(self.rows) if self.left is None else -len(self.left)


def _read(
    first: Call[Page[BulkStatus]], walk: _Walk
) -> Generator[Call[Page[BulkStatus]], Page[BulkStatus], bool]:
    """Walk over one listing; True when it was read to its end."""
    walk.begin()
    call = first
    cursors: set[str] = set()
    while True:
        page = yield call
        walk.take(page)
        following, more = _following(page, cursors)
        if following is None:
            return True
        if walk.is_enough(more):
            walk.cost += (more or 0) if walk.left else 0
            return False
        call = following


def _following(page: Page[BulkStatus], cursors: set[str]) -> tuple[Call[Page[BulkStatus]] | None, int | None]:
    """The call for the next page, and how many pages are left where that is known."""
    if page.at is not None:
        read = page.offset + page.received
        if not page.received or (page.total is not None and read >= page.total):
            return None, 0
        more = None if page.total is None else -(-(page.total - read) // page.received)
        return page.at(read), more
    if page.next is None or (page.cursor is not None and page.cursor in cursors):
        return None, 0
    if page.cursor is not None:
        cursors.add(page.cursor)
    return page.next, None
