"""Looking for many bulks in a provider's list."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkstatus import BulkStatus, State
from bulkstatus._sweep import Swept, sweep
from bulkstatus.adapter import Call, Page, Request

AT = datetime(2026, 1, 1, tzinfo=UTC)


def row(id, state=State.RUNNING):
    """A row of a list."""
    return BulkStatus(source="s", provider="p", id=str(id), state=state, observed_at=AT)


def call(number):
    """A call that `answer` knows by its number."""
    return Call(Request.to("https://p.test", "list", str(number)), lambda response: None)


class OffsetList:
    """A list that pages by offset."""

    def __init__(self, ids, size, *, total=True):
        self.rows, self.size, self.total = [row(id) for id in ids], size, total
        self.asked = []

    def first(self):
        return call(0)

    def answer(self, asked):
        offset = int(asked.request.path.rpartition("/")[2])
        self.asked.append(offset)
        items = tuple(self.rows[offset : offset + self.size])
        return Page(
            items=items,
            at=call,
            offset=offset,
            received=len(items),
            total=len(self.rows) if self.total else None,
        )


class CursorList(OffsetList):
    """A list that pages by cursor; `loop` gives the second page's cursor at the end."""

    loop = False

    def answer(self, asked):
        page = super().answer(asked)
        following = page.offset + self.size
        if following >= len(self.rows):
            if not self.loop:
                return Page(items=page.items)
            following = self.size
        return Page(items=page.items, next=call(following), cursor=str(following))


def walk(lists, wanted, *, others=(), most=1_000):
    """Carry out a sweep over `lists`; what it gave."""
    owners = {}
    firsts = []
    for one in lists:
        firsts.append(one.first())
        owners[id(firsts[-1])] = one
    going = sweep(firsts, wanted, others=others)
    owner = None
    answer = None
    for _ in range(most):
        try:
            question = going.send(answer)
        except StopIteration as end:
            return end.value
        owner = owners.get(id(question), owner)
        answer = owner.answer(question)
    raise AssertionError(f"still asking after {most} requests")


kinds = pytest.mark.parametrize("kind", [OffsetList, CursorList])


@kinds
@given(number=st.integers(0, 30), size=st.integers(1, 7))
def test_without_a_wish_every_row_is_read(kind, number, size):
    """Each page once; the cost is the number of pages."""
    pages = kind(range(number), size)
    swept = walk([pages], None)
    assert list(swept.rows) == [str(id) for id in range(number)]
    assert swept.cost == len(pages.asked) == max(1, -(-number // size))


@kinds
def test_it_ends_when_all_are_found(kind):
    """The rest of the list is not read, nor are other lists."""
    first, second = kind(range(50), 10), kind(range(50, 100), 10)
    wanted = {"3", "11", "12", "13", "14", "15"}
    swept = walk([first, second], wanted)
    assert (first.asked, second.asked) == ([0, 10], [])
    assert wanted <= swept.rows.keys()


def test_it_ends_when_asking_for_those_that_are_left_is_no_dearer_than_the_rest():
    """Where the provider says how long the list is: 3 pages for 3 bulks are not read."""
    pages = OffsetList(range(50), 10)
    swept = walk([pages], {"1", "12", "13", "47", "48", "49"})
    assert pages.asked == [0, 10]
    assert "12" in swept.rows
    assert "47" not in swept.rows
    assert swept.cost == 5


def test_it_goes_on_while_the_rest_of_the_list_is_cheaper():
    """Two pages for three bulks are."""
    pages = OffsetList(range(40), 10)
    swept = walk([pages], {"1", "12", "13", "37", "38", "39"})
    assert pages.asked == [0, 10, 20, 30]
    assert swept.cost == 4
    assert {"37", "38", "39"} <= swept.rows.keys()


@pytest.mark.parametrize("pages", [CursorList(range(100), 10), OffsetList(range(100), 10, total=False)])
def test_where_the_length_is_not_known_it_ends_after_two_barren_pages(pages):
    """In a row: one that held something begins the count anew."""
    walk([pages], {"1", "22", *map(str, range(95, 100))})
    assert pages.asked == [0, 10, 20, 30, 40]


def test_barren_pages_are_counted_for_each_list():
    """The next list may hold what the first did not."""
    first, second = CursorList(range(50), 10), CursorList(range(50, 100), 10)
    swept = walk([first, second], {"65", "99"})
    assert "65" in swept.rows
    assert first.asked == [0, 10]


@pytest.mark.parametrize(
    ("others", "asked", "whole"),
    [
        pytest.param((), [0], False, id="nobody else"),
        pytest.param(("11", "12", "13", "25"), [0, 10], False, id="one is left, and one page"),
        pytest.param(("15", "25"), [0], False, id="as many as pages"),
        pytest.param(("x", "y", "z"), [0, 10, 20], True, id="three that left the list"),
    ],
)
def test_the_list_is_read_on_for_others_while_that_takes_fewer_pages_than_they_are(others, asked, whole):
    """Read to its end, it tells who left it. What the wanted cost is counted alone."""
    pages = OffsetList(range(30), 10)
    swept = walk([pages], {"1"}, others=others)
    assert (pages.asked, swept.whole) == (asked, whole)
    assert swept.cost == len(asked)


@pytest.mark.parametrize("pages", [CursorList(range(30), 10), OffsetList(range(30), 10, total=False)])
def test_for_others_alone_no_list_of_unknown_length_is_read(pages):
    """It ends when all that were wanted are found."""
    swept = walk([pages], {"1"}, others=[f"x{number}" for number in range(50)])
    assert (pages.asked, swept.whole) == ([0], False)


def test_a_page_without_rows_ends_a_list():
    """Whatever number of rows the provider says there is."""

    class Shrunk(OffsetList):
        def answer(self, asked):
            page = super().answer(asked)
            return page if page.offset == 0 else Page(items=(), at=call, offset=10, received=0, total=30)

    pages = Shrunk(range(30), 10)
    assert len(walk([pages], None).rows) == 10
    assert pages.asked == [0, 10]


def test_a_cursor_that_comes_again_ends_it():
    """A list that runs in a circle is read once."""
    pages = CursorList(range(20), 10)
    pages.loop = True
    assert len(walk([pages], None).rows) == 20
    assert len(pages.asked) <= 3


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(lambda: Page(items=(row(1),), at=call, offset=0, received=1), id="offset ignored"),
        pytest.param(lambda: Page(items=(row(1),), next=call(0)), id="no cursor told"),
    ],
)
def test_a_list_that_never_ends_is_not_read_for_ever(page):
    """A provider that gives the same page whatever it is asked costs a bounded number of requests."""

    class Stuck(OffsetList):
        def answer(self, asked):
            return page()

    assert len(walk([Stuck((), 1)], None, most=20_000).rows) == 1


def test_an_empty_list_costs_one_request():
    """And finds nothing."""
    for kind in (OffsetList, CursorList):
        assert walk([kind((), 10)], {"1"}) == Swept({}, 1, whole=True)


def test_no_list_at_all_costs_no_less_than_one():
    """So nothing ever divides by it, and a list is never taken for free."""
    assert walk([], {"1"}).cost == 1


def test_of_a_bulk_that_is_in_several_lists_the_last_reading_counts():
    """It moved on while they were read."""
    first, second = CursorList([1], 10), CursorList([1], 10)
    second.rows = [row(1, State.PAUSED)]
    assert walk([first, second], None).rows["1"].state is State.PAUSED


def test_rows_are_there_when_a_walk_breaks_off():
    """In what the caller gave for them."""
    rows = {}
    pages = OffsetList(range(30), 10)
    going = sweep([pages.first()], None, rows)
    question = next(going)
    going.send(pages.answer(question))
    going.close()
    assert len(rows) == 10


@kinds
@given(
    number=st.integers(0, 40),
    size=st.integers(1, 9),
    wanted=st.sets(st.integers(0, 45), min_size=1, max_size=12),
)
def test_what_a_walk_and_the_looks_after_it_cost_is_bounded(kind, number, size, wanted):
    """Rows are those of the list; and it never reads more pages than there are."""
    pages = kind(range(number), size)
    swept = walk([pages], {str(id) for id in wanted})
    assert set(swept.rows) <= {str(id) for id in range(number)}
    assert len(pages.asked) == len(set(pages.asked)) <= max(1, -(-number // size))
    assert swept.cost >= len(pages.asked)
