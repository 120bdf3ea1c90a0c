"""Walks over listings: every row once and in order, whatever the provider does between the pages."""

import asyncio
import random
import weakref
from functools import partial
from typing import ClassVar

import anyio
import httpx
import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bulkstatus import NotFound, Policy, ProtocolError, Unavailable
from bulkstatus._engine import Engine
from bulkstatus._paging import pages
from bulkstatus.adapter import Adapter, Call, IdGrammar, Page, Request, Response, api_key

pytestmark = pytest.mark.anyio
_URL = "https://listing.test"


class Row(msgspec.Struct, frozen=True, weakref=True):
    """A row with a key."""

    key: str


class Stranger(Adapter, frozen=True, kw_only=True):
    """A stranger's adapter, as far as the engine needs one."""

    provider: ClassVar[str] = "stranger"
    id_grammar: ClassVar[IdGrammar] = IdGrammar(".*", "anything")

    def auth(self):
        return api_key("key")

    def base_urls(self):
        return (_URL,)


class Sheet(msgspec.Struct):
    """What the provider answers with."""

    rows: list[str]
    total: int | None = None
    next: str | None = None


_SHEET = msgspec.json.Decoder(Sheet)


def by_offset(offset=0, *, moving=False) -> Call[Page[Row]]:
    """The call for the page at `offset`."""

    def read(response: Response) -> Page[Row]:
        sheet = _SHEET.decode(response.body)
        return Page(
            items=tuple(map(Row, sheet.rows)),
            at=partial(by_offset, moving=moving),
            offset=offset,
            received=len(sheet.rows),
            total=sheet.total,
            moving=moving,
        )

    return Call(Request.to(_URL, "rows", query={"offset": offset}), read)


def by_cursor(cursor: str | None = None) -> Call[Page[Row]]:
    """The call for the page behind `cursor`."""

    def read(response: Response) -> Page[Row]:
        sheet = _SHEET.decode(response.body)
        return Page(
            items=tuple(map(Row, sheet.rows)),
            next=None if sheet.next is None else by_cursor(sheet.next),
            cursor=sheet.next,
        )

    return Call(Request.to(_URL, "rows", query={"cursor": cursor}), read)


class Provider:
    """Rows that may change with every page that is read. `size` rows a page, or what `sizes` says next."""

    def __init__(self, rows, *, size=3, total=True, sizes=(), change=lambda rows, read: None):
        self.rows = list(rows)
        self.size = size
        self.total = total
        self.sizes = list(sizes)
        self.change = change
        self.read = 0
        self.asked: list[int] = []

    def sheet(self, query) -> Sheet:
        """The page that `query` asks for."""
        if self.read:
            self.change(self.rows, self.read)
        self.read += 1
        offset = int(query.get("offset", 0))
        self.asked.append(offset)
        size = self.sizes.pop(0) if self.sizes else self.size
        total = self.total(self.rows) if callable(self.total) else len(self.rows) if self.total else None
        return Sheet(self.rows[offset : offset + size], total)


class InProcess:
    """An engine that answers from `sheet`, at once or when asked for the result, and counts what is under way."""

    def __init__(self, sheet, *, late=None):
        self.sheet = sheet
        self.late = late
        self.under_way = 0
        self.most = 0

    def start(self, source, call):
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        answer = None if self.late and self.late() else self._answer(call)
        outer = self

        class Pending:
            async def result(self):
                outer.under_way -= 1
                return answer or outer._answer(call)

        return Pending()

    async def answer(self, source, pending):
        return await pending.result()

    async def perform(self, source, call):
        return await self.answer(source, self.start(source, call))

    def _answer(self, call):
        body = msgspec.json.encode(self.sheet(dict(call.request.query)))
        return call.read(Response.now(200, body))


async def walk(sheet, first, *, take=None, late=None):
    """The keys that came, and the error that ended the walk, if one did."""
    engine = InProcess(sheet, late=late)
    found = []
    try:
        async for rows in pages(engine, "listing", first):
            found.extend(row.key for row in rows)
            if take is not None and len(found) >= take:
                break
    except ProtocolError as error:
        return found, error, engine
    return found, None, engine


def keys(count, prefix="r"):
    """So many keys, in order."""
    return [f"{prefix}{number}" for number in range(count)]


# --- offsets ---


@pytest.mark.parametrize("moving", [False, True])
@pytest.mark.parametrize("total", [True, False])
@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5, 6, 7, 29, 30, 31])
async def test_every_row_comes_once_and_in_order(count, total, moving):
    """Whether or not the provider says how many there are, and wherever the last page ends."""
    provider = Provider(keys(count), total=total)
    found, error, _ = await walk(provider.sheet, by_offset(moving=moving))
    assert (found, error) == (keys(count), None)


@pytest.mark.parametrize("count", [0, 1, 2, 3])
async def test_a_list_that_fits_on_a_page_costs_one_request(count):
    """With the total known nothing is asked for to make sure."""
    provider = Provider(keys(count))
    await walk(provider.sheet, by_offset())
    assert len(provider.asked) == 1


@pytest.mark.parametrize("moving", [False, True])
async def test_short_pages_lose_nothing(moving):
    """A page may hold fewer rows than the one before it, and the next one begins where it ended."""
    provider = Provider(keys(40), sizes=[5, 3, 5, 2, 2, 4, 2, 5], size=5)
    found, error, _ = await walk(provider.sheet, by_offset(moving=moving))
    assert (found, error) == (keys(40), None)


async def test_a_total_that_grows_is_believed():
    """Rows that are added at the end while pages are read come too."""
    provider = Provider(keys(9), change=lambda rows, read: rows.append(f"new{read}") if read <= 3 else None)
    found, error, _ = await walk(provider.sheet, by_offset())
    assert error is None
    assert found == [*keys(9), "new1", "new2", "new3"]


async def test_a_total_that_shrinks_ends_the_walk():
    """Rows that are removed at the end are not waited for, and are no error."""
    provider = Provider(keys(30), change=lambda rows, read: rows.pop() if len(rows) > 20 else None)
    found, error, _ = await walk(provider.sheet, by_offset())
    assert error is None
    assert found[:20] == keys(20)
    assert len(found) == len(set(found))


@pytest.mark.parametrize("total", [lambda rows: 12, lambda rows: len(rows) + 1])
async def test_more_rows_promised_than_given_is_said_after_the_rows(total):
    """All rows there are come first; then the caller learns that they are not all."""
    provider = Provider(keys(10), total=total)
    found, error, _ = await walk(provider.sheet, by_offset())
    assert found == keys(10)
    assert isinstance(error, ProtocolError)
    assert (error.reason, error.source) == ("short_listing", "listing")


async def test_an_empty_page_before_the_end_is_said_after_the_rows():
    """Pages that empty while the total stands are an incomplete list, not a complete one."""
    provider = Provider(keys(30), sizes=[3, 3, 0], size=0)
    found, error, _ = await walk(provider.sheet, by_offset())
    assert found[:6] == keys(6)
    assert isinstance(error, ProtocolError)


async def test_rows_without_a_key_are_all_kept():
    """What cannot be told apart is not taken for the same."""
    provider = Provider([""] * 10)
    found, error, _ = await walk(provider.sheet, by_offset())
    assert (found, error) == ([""] * 10, None)


@pytest.mark.parametrize("size", [3, 5])
async def test_rows_without_a_key_that_are_read_again_do_not_make_up_the_number(size):
    """Nothing tells whether one that comes again was seen: it stands for none of those that are missing."""
    provider = Provider([""] * 8, size=size, total=lambda rows: 10)
    found, error, _ = await walk(provider.sheet, by_offset())
    assert found == [""] * 8
    assert (type(error), error.reason) == (ProtocolError, "short_listing")


async def test_rows_without_a_key_that_moved_are_no_complete_list():
    """The number of rows tells that some came or went, and reading them again would only tell the same ones twice."""
    provider = Provider([""] * 9, change=lambda rows, read: rows.pop() if read == 1 else None)
    found, error, _ = await walk(provider.sheet, by_offset())
    assert found == [""] * 8
    assert (type(error), error.reason) == (ProtocolError, "moving_listing")


async def test_pages_without_an_end_are_bounded(monkeypatch):
    """A provider that always has another page is stopped, and that is an error."""

    def sheet(query):
        offset = int(query.get("offset", 0))
        return Sheet([f"r{offset}", f"r{offset + 1}"], offset + 10)

    monkeypatch.setattr("bulkstatus._paging._MOST_PAGES", 100)
    found, error, _ = await walk(sheet, by_offset())
    assert error is not None
    assert error.reason == "endless_listing"
    assert found == keys(len(found))
    assert 100 <= len(found) <= 210


async def test_the_same_page_for_ever_ends():
    """A provider that ignores the offset gives one page's rows and an end."""
    found, error, _ = await walk(lambda query: Sheet(keys(3), 3000), by_offset(moving=True))
    assert found == keys(3)
    assert isinstance(error, ProtocolError)


@pytest.mark.parametrize("moving", [False, True])
@pytest.mark.parametrize("total", [None, 3000])
async def test_a_provider_that_repeats_its_page_is_given_up_soon(moving, total):
    """After a dozen requests and those that were under way beside them, not after ten thousand."""
    asked = []

    def sheet(query):
        asked.append(query)
        return Sheet(keys(3), total)

    found, error, _ = await walk(sheet, by_offset(moving=moving))
    assert found == keys(3)
    assert len(asked) <= 12 + 8
    if total is not None or not moving:
        assert isinstance(error, ProtocolError)
        assert error.reason in ("endless_listing", "short_listing")


@pytest.mark.parametrize("moving", [False, True])
async def test_reading_ahead_is_bounded(moving):
    """At most eight questions are under way, and all of them are needed."""
    provider = Provider(keys(10_000), size=100)
    found, _, engine = await walk(provider.sheet, by_offset(moving=moving))
    assert found == keys(10_000)
    assert engine.most <= 8
    assert engine.under_way == 0
    assert len(provider.asked) <= (102 if moving else 100)


async def test_one_row_of_ten_thousand_costs_a_page():
    """Nothing is asked for that nobody takes."""
    provider = Provider(keys(10_000), size=100)
    found, _, _ = await walk(provider.sheet, by_offset(), take=1)
    assert len(found) == 100
    assert len(provider.asked) == 1


async def test_reading_ahead_grows_with_what_is_taken():
    """Whoever takes three pages has not paid for a dozen."""
    provider = Provider(keys(10_000), size=100)
    await walk(provider.sheet, by_offset(), take=300)
    assert len(provider.asked) <= 6


# --- offsets, while rows move ---


def _front(rows, read):
    rows.insert(0, f"new{read}")


@pytest.mark.parametrize("moves", [1, 2, 3, 5])
async def test_rows_inserted_at_the_front_double_nothing(moves):
    """What stood in the list all the time comes once; the new rows come at the end or not at all."""

    def change(rows, read):
        if read <= 4:
            for number in range(moves):
                rows.insert(0, f"new{read}-{number}")

    provider = Provider(keys(30), size=5, change=change)
    found, error, _ = await walk(provider.sheet, by_offset(moving=True))
    assert error is None
    assert [key for key in found if not key.startswith("new")] == keys(30)
    assert len(found) == len(set(found))


@pytest.mark.parametrize("moves", [1, 2, 4, 7])
@pytest.mark.parametrize("total", [True, False])
async def test_rows_removed_from_the_front_lose_nothing(moves, total):
    """The pages move up by what was removed; the walk steps back and reads what slid past it."""

    def change(rows, read):
        if read <= 3:
            del rows[:moves]

    provider = Provider(keys(40), size=5, total=total, change=change)
    found, error, _ = await walk(provider.sheet, by_offset(moving=True))
    assert error is None
    assert len(found) == len(set(found))
    assert set(provider.rows) <= set(found)


@pytest.mark.parametrize("moves", [1, 2, 4])
async def test_pages_that_cannot_overlap_are_read_once_more_when_rows_went(moves):
    """As pages by number cannot. The total tells that rows went; what slid through a gap is in the second reading."""

    def change(rows, read):
        if read <= 3:
            del rows[:moves]

    provider = Provider(keys(40), size=5, change=change)
    found, error, _ = await walk(provider.sheet, by_offset())
    assert error is None
    assert len(found) == len(set(found))
    assert set(provider.rows) <= set(found)


async def test_pages_that_cannot_overlap_and_never_keep_still_are_no_complete_list():
    """Rows may be missing after the third reading too: an error says so, after all that could be read."""
    provider = Provider(keys(400), size=5, change=lambda rows, read: rows.pop(0))
    found, error, _ = await walk(provider.sheet, by_offset())
    assert (type(error), error.reason) == (ProtocolError, "moving_listing")
    assert len(found) == len(set(found)) > 200


@pytest.mark.parametrize("total", [True, False])
async def test_a_row_that_moves_to_the_front_while_another_goes_is_not_lost(total):
    """It was on no page, and the number of rows is as it was: the front is read again, since rows were seen to move."""

    def change(rows, read):
        if read == 2:
            rows.insert(0, rows.pop(17))
        if read == 3:
            del rows[1]

    provider = Provider(keys(20), size=5, total=total, change=change)
    found, error, _ = await walk(provider.sheet, by_offset(moving=True))
    assert error is None
    assert set(keys(20)) == set(found)
    assert len(found) == len(set(found))


@pytest.mark.parametrize("first", [0, 11_000])
async def test_a_row_that_comes_again_after_ten_thousand_others_is_left_out(first):
    """However far it has moved, and whether it came before or after keys were no longer kept."""

    def change(rows, read):
        if read == 13:
            rows.insert(12_100, rows.pop(first))

    provider = Provider(keys(12_500), size=1_000, change=change)
    found, error, _ = await walk(provider.sheet, by_offset(moving=True))
    assert error is None
    assert sorted(found) == sorted(keys(12_500))


@pytest.mark.parametrize("moving", [False, True])
async def test_a_row_that_is_taken_for_another_makes_the_list_incomplete(moving, monkeypatch):
    """It is left out, which happens once in many millions of lists; and never without an error that says so."""
    monkeypatch.setattr("bulkstatus._seen._FEW", 5)
    monkeypatch.setattr("bulkstatus._seen.Seen._mark", lambda _, key: int(key[1:].replace("17", "8")))
    found, error, _ = await walk(Provider(keys(30)).sheet, by_offset(moving=moving))
    assert sorted(found) == sorted({*keys(30)} - {"r17"})
    assert (type(error), error.reason) == (ProtocolError, "short_listing")


async def test_without_a_total_no_row_is_taken_for_another(monkeypatch):
    """Nothing would tell that one is missing, so rows are told apart by their keys, however many."""
    monkeypatch.setattr("bulkstatus._seen._FEW", 5)
    monkeypatch.setattr("bulkstatus._seen.Seen._mark", lambda *_: 8)
    found, error, _ = await walk(Provider(keys(30), total=False).sheet, by_offset(moving=True))
    assert (found, error) == (keys(30), None)


async def test_the_front_is_read_again_only_where_rows_moved():
    """A list that stands still costs its pages and no more."""
    provider = Provider(keys(20), size=5)
    _, error, _ = await walk(provider.sheet, by_offset(moving=True))
    assert (error, provider.asked.count(0)) == (None, 1)


_MOVES = st.lists(st.lists(st.tuples(st.booleans(), st.integers(0, 10**6)), max_size=3), max_size=12)


@settings(max_examples=200, deadline=None)
@example(count=4, size=2, moves=[[], [(False, 0), (False, 0)], [(True, 0)]], total=False, seed=0, few=9)
@given(
    count=st.integers(0, 40),
    size=st.integers(2, 7),
    moves=_MOVES,
    total=st.booleans(),
    seed=st.integers(0, 9),
    few=st.sampled_from([0, 9]),
)
def test_whatever_stood_all_the_time_comes_exactly_once(*, count, size, moves, total, seed, few):
    """Rows come and go anywhere between the readings: no row that stayed is lost, none is doubled.

    Neither where their keys are kept, nor where, beyond so `few`, a mark of each is.

    When the provider's own total shows that rows are missing, the walk may say so instead of giving them.
    """
    born = 0
    ever = set(keys(count))

    def change(rows, read):
        nonlocal born
        for insert, place in moves[read - 1] if read <= len(moves) else ():
            if insert:
                born += 1
                rows.insert(place % (len(rows) + 1), f"new{born}")
                ever.add(f"new{born}")
            elif rows:
                del rows[place % len(rows)]

    provider = Provider(keys(count), size=size, total=total, change=change)
    late = random.Random(seed)

    async def main():
        return await walk(
            provider.sheet, by_offset(moving=True), late=lambda: late.random() < 0.5 if seed else None
        )

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bulkstatus._seen._FEW", few)
        found, error, _ = asyncio.run(main())
    stayed = [key for key in keys(count) if key in provider.rows]
    assert len(found) == len(set(found))
    assert set(found) <= ever
    if error is None:
        assert set(stayed) <= set(found)
    else:
        assert error.reason == "short_listing"


# --- cursors ---


def cursors(sheets):
    """A provider whose cursors are the positions of its pages."""
    return lambda query: sheets[int(query.get("cursor", 0))]


async def test_a_cursor_leads_through_all_pages():
    """In order, also over pages that hold nothing but a cursor."""
    sheets = [Sheet(["a", "b"], next="1"), Sheet([], next="2"), Sheet(["c"], next="3"), Sheet(["d"])]
    found, error, _ = await walk(cursors(sheets), by_cursor())
    assert (found, error) == (["a", "b", "c", "d"], None)


async def test_one_answer_without_a_cursor_is_all():
    """A listing in one answer is one request."""
    assert (await walk(lambda query: Sheet(["a"]), by_cursor()))[:2] == (["a"], None)


@pytest.mark.parametrize("length", [1, 2, 5])
async def test_a_cursor_that_comes_twice_is_an_error_after_the_rows(length):
    """A circle of pages is noticed, and what it holds is not given again and again."""
    sheets = [Sheet([f"r{n}"], next=str((n + 1) % length)) for n in range(length)]
    found, error, _ = await walk(cursors(sheets), by_cursor())
    assert error is not None
    assert error.reason == "endless_listing"
    assert found[:length] == keys(length)
    assert len(found) <= 2 * length + 1


async def test_a_cursor_that_leads_nowhere_any_more_is_an_error_after_the_rows():
    """What it stands for may be gone meanwhile: that makes no list complete, and no bulk "not found"."""

    def sheet(query):
        if "cursor" in query:
            raise NotFound("no such row", status=404)
        return Sheet(["a"], next="1")

    found, error, _ = await walk(sheet, by_cursor())
    assert found == ["a"]
    assert (type(error), error.reason, error.status) == (ProtocolError, "moving_listing", 404)


async def test_cursors_without_an_end_are_bounded():
    """Ten thousand pages are enough."""
    reads = 0

    def sheet(query):
        nonlocal reads
        reads += 1
        return Sheet([f"r{reads - 1}"], next=str(reads))

    found, error, _ = await walk(sheet, by_cursor())
    assert error is not None
    assert error.reason == "endless_listing"
    assert found == keys(10_000)
    assert reads <= 10_001


# --- over the real engine ---


def _transport(provider, delay=lambda: 0.0, fail=lambda offset: False):
    async def handle(request):
        await anyio.sleep(delay())
        query = dict(request.url.params)
        if fail(int(query.get("offset", 0))):
            raise httpx.ReadError("x")
        return httpx.Response(200, content=msgspec.json.encode(provider.sheet(query)))

    return httpx.MockTransport(handle)


async def test_pages_that_answer_out_of_order_come_in_order():
    """Pages are asked for side by side, and given one after another."""
    provider = Provider(keys(500), size=10)
    delay = partial(random.Random(7).uniform, 0, 0.004)
    found = []
    async with Engine({"s": Stranger()}, policy=Policy(), transport=_transport(provider, delay)) as engine:
        async for rows in pages(engine, "s", by_offset()):
            found.extend(row.key for row in rows)
    assert found == keys(500)
    assert sorted(provider.asked) == list(range(0, 500, 10))


async def test_a_page_that_was_taken_is_let_go():
    """Of a long list only the pages under way are held: not by their questions' timers either, which the loop keeps."""
    provider = Provider(keys(300), size=10)
    taken = []
    async with Engine({"s": Stranger()}, policy=Policy(), transport=_transport(provider)) as engine:
        async for rows in pages(engine, "s", by_offset()):
            assert [row() for row in taken[:-1]] == [None] * len(taken[:-1])
            taken.append(weakref.ref(rows[0]))
    assert len(taken) == 30


async def test_a_page_that_cannot_be_had_ends_the_walk_after_those_before_it():
    """The rows up to there have come, and the error says who was asked."""
    provider = Provider(keys(100), size=10)
    transport = _transport(provider, fail=lambda offset: offset == 50)
    found = []
    async with Engine({"s": Stranger()}, policy=Policy(attempts=1), transport=transport) as engine:
        with pytest.raises(Unavailable) as caught:  # noqa: PT012 - what came before the error counts too
            async for rows in pages(engine, "s", by_offset()):
                found.extend(row.key for row in rows)
    assert found == keys(50)
    assert (caught.value.source, caught.value.provider) == ("s", "stranger")


@pytest.mark.parametrize("paging", ["cursor", "offset"])
async def test_rows_that_could_not_be_read_are_said_after_the_others(paging):
    """A record that names nothing cannot be given; the caller learns that the list is not complete."""

    def first():
        call = by_cursor() if paging == "cursor" else by_offset()

        def read(response):
            page = call.read(response)
            return msgspec.structs.replace(page, items=page.items[1:], left_out=1)

        return Call(call.request, read)

    found, error, _ = await walk(lambda query: Sheet(["a", "b", "c"], 3), first())
    assert found == ["b", "c"]
    assert error is not None
    assert error.reason == "left_out"


async def test_moving_rows_without_keys_are_read_like_rows_that_stand():
    """Where nothing tells rows apart, pages cannot be joined; the walk ends all the same."""
    provider = Provider([""] * 10)
    found, error, _ = await walk(provider.sheet, by_offset(moving=True))
    assert (found, error) == ([""] * 10, None)


async def test_moving_rows_that_are_all_replaced_end_the_walk():
    """A list that is another one at every reading is read to an end, or said not to have one."""
    provider = Provider(keys(30), size=5)

    def change(rows, read):
        rows[:] = keys(30, prefix=f"x{read}-")

    provider.change = change
    found, _, _ = await walk(provider.sheet, by_offset(moving=True))
    assert len(found) == len(set(found))
    assert len(provider.asked) <= 20_010  # those asked for ahead of time count too
