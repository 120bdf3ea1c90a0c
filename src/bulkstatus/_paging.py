"""All pages of a listing, in order, each row once.

Pages of a cursor follow one another. Pages of an offset are asked for side by side once the total is known, within a
window that grows as pages are taken: whoever wants ten rows pays for a page, whoever wants all of them waits little.
"""

from collections import deque
from collections.abc import AsyncGenerator, Callable
from typing import Generic, Protocol, TypeVar

from bulkstatus._call import Call, Page
from bulkstatus._engine import Engine, Pending
from bulkstatus._seen import Seen
from bulkstatus._sweep import left_out
from bulkstatus.errors import NotFound, ProtocolError

_FIRST_WINDOW, _WINDOW = 2, 8
_MOST_PAGES = 10_000
_MOST_REPEATS = 10
_MOST_PASSES = 2


class Keyed(Protocol):
    """A record that can be told from others of its listing."""

    @property
    def key(self) -> str:
        """What tells it apart; empty when nothing does."""
        ...


T = TypeVar("T", bound=Keyed)


async def pages(engine: Engine, source: str, first: Call[Page[T]]) -> AsyncGenerator[tuple[T, ...]]:
    """Give the rows of a listing page by page.

    Raises ProtocolError when a cursor comes twice, when pages do not end, and, after the rows that could be had,
    when fewer rows came than the provider says there are, or some could not be read at all.
    """
    page = await engine.perform(source, first)
    if page.at is not None:
        walk = _OffsetWalk(engine, source, page.at, page.total).walk(page)
        del page  # or it were held as long as the walk goes on
        async for items in walk:
            yield items
        return
    cursors: set[str] = set()
    missing = 0
    for _ in range(_MOST_PAGES):
        yield page.items
        missing += page.left_out
        if page.next is None:
            _check_left_out(source, missing)
            return
        if page.cursor is not None:
            if page.cursor in cursors:
                raise _no_end(source, "the provider gave the same cursor twice")
            cursors.add(page.cursor)
        page = await _following(engine, source, page.next)
    raise _no_end(source, f"the listing has more than {_MOST_PAGES:,} pages")


async def _following(engine: Engine, source: str, call: Call[Page[T]]) -> Page[T]:
    """A later page. What its cursor stands for may be gone meanwhile, which says nothing of the list or of a bulk."""
    try:
        return await engine.perform(source, call)
    except NotFound as error:
        raise ProtocolError(
            "the place where the list goes on is not there any more; list again",
            source=source,
            provider=error.provider,
            status=error.status,
            reason="moving_listing",
        ) from error


def _check_left_out(source: str, number: int) -> None:
    if number:
        raise left_out(source, number)


def _no_end(source: str, why: str) -> ProtocolError:
    return ProtocolError(f"{why}; the rows so far are not all", source=source, reason="endless_listing")


class _OffsetWalk(Generic[T]):
    """One walk over a listing that pages by offset.

    Rows may move while it goes on. Where the page says so (`moving`), neighbouring pages overlap by a row: a page
    that holds no row seen before does not join up with those before it, so the walk steps back until one does, and
    goes on from there. As only pages that join up are taken, all that stood before their last row has been seen. A
    row that comes again is left out. Where rows were seen to move, the front is read once more at the end: one that
    went there from further behind was on no page, and the count of rows does not tell when others are gone meanwhile.
    """

    def __init__(
        self, engine: Engine, source: str, at: Callable[[int], Call[Page[T]]], total: int | None
    ) -> None:
        self._engine = engine
        self._source = source
        self._at = at
        self._seen = Seen(total)
        self._rows = 0
        self._nameless = False
        self._left_out = 0
        self._total: int | None = None
        self._ahead: deque[tuple[int, Pending[Page[T]]]] = deque()
        self._window = _FIRST_WINDOW
        self._overlap = 0
        self._moved = False
        self._shifted = False
        self._pages = 0

    async def walk(self, page: Page[T]) -> AsyncGenerator[tuple[T, ...]]:
        stride = page.received
        overlap = self._overlap = int(page.moving and stride > 1 and all(item.key for item in page.items))
        yield self._take(page)
        covered = page.offset + page.received
        repeats = 0
        while page.received and not self._is_over(covered):
            self._count()
            asked = await self._next(covered - overlap, stride - overlap)
            page = await self._step_back(asked, stride) if overlap else asked
            items = self._take(page)
            yield items
            end = page.offset + page.received
            if overlap and page is asked and not items and end <= covered:
                break
            repeats = 0 if items or page.received > len(page.items) else repeats + 1
            if repeats > _MOST_REPEATS:
                raise _no_end(self._source, "the provider gives the same rows again and again")
            covered = end
        async for items in self._again():
            yield items
        async for items in self._top_up():
            yield items

    def _count(self) -> None:
        self._pages += 1
        if self._pages >= _MOST_PAGES:
            raise _no_end(self._source, f"the listing has more than {_MOST_PAGES:,} pages")

    def _is_over(self, covered: int) -> bool:
        return self._total is not None and covered >= self._total

    async def _next(self, offset: int, step: int) -> Page[T]:
        """The page at `offset`, others behind it being asked for meanwhile."""
        if self._ahead and self._ahead[0][0] != offset:
            # A page was shorter than the first one, or the walk stepped back: those asked for do not follow on.
            self._ahead.clear()
            self._window = 1
        behind = self._ahead[-1][0] + step if self._ahead else offset
        while len(self._ahead) < self._window and (not self._ahead or self._is_worth_asking(behind)):
            self._ahead.append((behind, self._engine.start(self._source, self._at(behind))))
            behind += step
        self._window = min(_WINDOW, self._window * 2)
        _, pending = self._ahead.popleft()
        return await self._engine.answer(self._source, pending)

    def _is_worth_asking(self, offset: int) -> bool:
        return self._total is not None and offset + self._overlap < self._total

    def _take(self, page: Page[T], *, again: bool = False) -> tuple[T, ...]:
        """The rows of a page that are new; `again` where it was read before, and nothing tells what has no key."""
        if page.total is not None:
            if self._total not in (None, page.total):
                self._moved = self._shifted = True
            self._total = page.total
        fresh: list[T] = []
        for item in page.items:
            key = item.key
            if not key:
                self._nameless = True
            if self._seen.add(key) if key else not again:
                fresh.append(item)
        self._moved = self._moved or len(page.items) - len(fresh) > self._overlap
        self._rows += len(fresh)
        if not again:
            self._rows += page.received - len(page.items)
            self._left_out += page.left_out
        return tuple(fresh)

    def _joins(self, page: Page[T]) -> bool:
        # The row that joins may be one that was left out.
        return page.received > len(page.items) or any(item.key in self._seen for item in page.items)

    async def _step_back(self, page: Page[T], stride: int) -> Page[T]:
        """The page itself if it joins up with what was seen, else the nearest before it that does, or the first."""
        while page.offset > 0 and not self._joins(page):
            self._count()
            before = max(0, page.offset - stride)
            page = await self._engine.perform(self._source, self._at(before))
        return page

    async def _again(self) -> AsyncGenerator[tuple[T, ...]]:
        """Read all pages once more where none could overlap and the total says that rows came or went between them.

        A row that slipped through a gap between two pages is in one of them then. Raises ProtocolError when rows come and go
        so quickly that this does not help.
        """
        passes = 0
        while self._shifted and not self._overlap:
            if passes == _MOST_PASSES or self._nameless:
                raise ProtocolError(
                    "rows came or went while the list was read, so some may be missing; the list is not complete",
                    source=self._source,
                    reason="moving_listing",
                )
            passes += 1
            self._shifted = False
            offset, page = 0, None
            while page is None or (page.received and not self._is_over(offset)):
                self._count()
                page = await self._engine.perform(self._source, self._at(offset))
                items = self._take(page, again=True)
                if items:
                    yield items
                offset += page.received

    async def _top_up(self) -> AsyncGenerator[tuple[T, ...]]:
        """Fetch what came to the front meanwhile, and say so when rows are still missing."""
        offset = 0
        while (self._overlap and self._moved) or (self._total is not None and self._rows < self._total):
            self._count()
            page = await self._engine.perform(self._source, self._at(offset))
            items = self._take(page, again=True)
            if items:
                yield items
                offset += page.received
            elif offset and self._total is not None and self._rows < self._total:
                offset = 0  # what is counted since came to the front behind our back
            else:
                break
        if self._total is not None and self._rows < self._total:
            raise ProtocolError(
                f"the provider counts {self._total:,} rows, and only {self._rows:,} came; the list is not complete",
                source=self._source,
                reason="short_listing",
            )
        _check_left_out(self._source, self._left_out)
