"""Looking for many bulks in a provider's list, as far as that takes fewer requests than asking for each.

The walk says what to ask and is handed the pages; it sends nothing itself.
"""

from collections.abc import Collection, Generator, Iterable
from typing import NamedTuple

from bulkstatus._call import Call, Page
from bulkstatus._model import BulkStatus

_BARREN = 2
_MOST_PAGES = 10_000


class Swept(NamedTuple):
    """What a walk over the list gave.

    `rows` by id, how many requests it takes as far as is known, and whether it was read to its end: what is not in
    the rows was then not in the list either.
    """

    rows: dict[str, BulkStatus]
    cost: int
    whole: bool = False


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
    rows = {} if rows is None else rows
    left = None if wanted is None else set(wanted)
    aside = set(others)
    cost = 0
    whole = True
    for first in listings:
        call: Call[Page[BulkStatus]] | None = first
        barren = 0
        cursors: set[str] = set()
        while call is not None:
            page = yield call
            cost += 1
            before = len(rows) if left is None else -len(left)
            rows.update((row.id, row) for row in page.items)
            if left is not None:
                left.difference_update(row.id for row in page.items)
            aside.difference_update(row.id for row in page.items)
            after = len(rows) if left is None else -len(left)
            barren = 0 if after > before else barren + 1
            call, more = _following(page, cursors)
            if call is None:
                break
            worth = None if left is None else len(left or aside)
            too_many = worth == 0 or (worth is not None and more is not None and more >= worth)
            blindly = more is None and (barren >= _BARREN or (not left and left is not None))
            if too_many or blindly or cost >= _MOST_PAGES:
                cost += (more or 0) if left else 0
                whole = False
                break
        if not whole and left is not None and not left:
            break
    return Swept(rows, max(1, cost), whole)


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
