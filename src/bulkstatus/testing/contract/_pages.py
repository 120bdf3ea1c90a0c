"""Promises about listings: every row once, whatever moves and whatever is odd."""

from collections.abc import Callable
from itertools import combinations
from typing import Any, cast

import msgspec

from bulkstatus import Report
from bulkstatus._adapter import addressed
from bulkstatus.adapter import BulkStatus, Confirms, Listing, ListQuery, Page, State
from bulkstatus.errors import BulkStatusError, NotFound
from bulkstatus.testing._fake import Fake, FakeRequest, FakeResponse
from bulkstatus.testing.contract import _todo
from bulkstatus.testing.contract._driver import Broken, Driver, Step, outcome, page_in
from bulkstatus.testing.contract._facade import Change, ask
from bulkstatus.testing.contract._mutation import (
    ABSENT,
    ODD,
    SENTINEL,
    Path,
    changed,
    is_leaf,
    kind_of,
    of_other_types,
    parsed,
    places,
    replaced,
    shown,
    value_at,
    written,
)
from bulkstatus.testing.contract._promise import PAGES, Promises, promise
from bulkstatus.testing.contract._questions import not_found
from bulkstatus.testing.contract._scenes import TIMES, name_of, place

_NEW = 500_000
_FEW = 7
_ENDLESS = 60
_NO_ROWS: tuple[object, ...] = (None, 7, "x", True, [], {}, [None])
_NO_IDS: tuple[object, ...] = (ABSENT, None, "", "..", "a/b", "?x=1", "\u202e", "x" * 10_000, {}, [])


class PagePromises(Promises):
    """What a listing gives."""

    @promise(_todo.LISTING, level=PAGES, needs=Listing)
    def test_no_bulks_are_an_empty_list(self) -> None:
        """A provider that holds no bulk gives a list that is empty and complete."""
        driver = self.bench().fresh()
        report = _listed(driver)
        if report.statuses or not report.complete:
            raise Broken(f"without bulks, {_counted(report)}")

    @promise(_todo.PAGES, level=PAGES, needs=Listing)
    def test_every_bulk_is_listed_once(self) -> None:
        """All bulks are in the list, each of them once, however many pages they take."""
        driver, ids = self._full()
        report = _listed(driver)
        found = [status.id for status in report]
        if sorted(found) != sorted(ids) or not report.complete:
            raise Broken(f"of {len(ids)} bulks, {_counted(report)}")

    @promise(_todo.PAGES, level=PAGES, needs=Listing)
    def test_a_page_holds_what_is_declared(self) -> None:
        """`rows_per_page` is how many rows a full page holds, or None where one answer holds them all."""
        driver, ids = self._full()
        size = _size(driver)
        page = _first(driver)[1]
        wanted = len(ids) if size is None else min(size, len(ids))
        if len(page.items) != wanted:
            raise Broken(
                f"rows_per_page is {size}, and of {len(ids)} bulks the first page holds {len(page.items)}"
            )

    @promise(_todo.PAGES, level=PAGES, needs=Listing, states=True)
    def test_bulks_that_come_meanwhile_hide_none(self) -> None:
        """Bulks that are made while pages are read push none of the others out of the list unnoticed."""

        def more(fake: Fake[Any], number: int, ids: list[str]) -> None:
            del ids
            for extra in range(3):
                place(fake, fake.bulk_id(_NEW + 3 * number + extra), next(iter(fake.states)))

        self._shifted(more, "3 bulks come after each page")

    @promise(_todo.PAGES, level=PAGES, needs=Listing, states=True)
    def test_bulks_that_go_meanwhile_hide_none(self) -> None:
        """Bulks that the provider forgets while pages are read hide none of the others unnoticed."""

        def fewer(fake: Fake[Any], number: int, ids: list[str]) -> None:
            del number
            for id in (*ids[:2], *ids[-2:]):
                fake.remove(id)
                ids.remove(id)

        self._shifted(fewer, "4 bulks go after each page")

    def _shifted(self, move: Callable[[Fake[Any], int, list[str]], None], what: str) -> None:
        driver, ids = self._full()
        asked: list[FakeRequest] = []

        def change(request: FakeRequest, reply: FakeResponse) -> FakeResponse:
            asked.append(request)
            if len(asked) <= _FEW:
                move(driver.fake, len(asked), ids)
            return reply

        report = _listed(driver, change)
        missing = set(ids) - {status.id for status in report}
        if missing and report.complete:
            raise Broken(
                f"{what}: {len(missing)} bulks that stayed are missing from a list that is `complete`"
            )

    @promise(_todo.PAGES, level=PAGES, needs=Listing)
    def test_a_list_without_end_ends(self) -> None:
        """A provider that gives the same page again and again is told from one with many pages."""
        driver, ids = self._full()
        seen = Repeating()
        report = _listed(driver, seen)
        if seen.asked > _ENDLESS:
            raise Broken(f"the same page was asked for more than {_ENDLESS} times")
        if report.complete and len(report) < len(ids):
            raise Broken(f"the same page came each time: of {len(ids)} bulks, {_counted(report)}")

    @promise(_todo.PAGES, level=PAGES, needs=Listing)
    def test_an_empty_page_is_no_end(self) -> None:
        """A page without rows hides none of those on the pages after it unnoticed."""
        driver, ids = self._full()
        _, page, array, _ = _front(driver)
        first = {row.id for row in page.items}
        emptied: list[str] = []
        asked: list[FakeRequest] = []

        def change(request: FakeRequest, reply: FakeResponse) -> FakeResponse:
            asked.append(request)
            if len(asked) != 2:  # noqa: PLR2004 - the page after the first
                return reply
            document = parsed(reply.body)
            emptied.extend(id for id in ids if id.encode() in reply.body and id not in first)
            return msgspec.structs.replace(reply, body=written(changed(document, array, [])))

        report = _listed(driver, change)
        missing = set(ids) - {status.id for status in report} - set(emptied)
        if missing and report.complete:
            raise Broken(f"{len(missing)} bulks of other pages are missing from a list that is `complete`")

    @promise(_todo.CURSOR, level=PAGES, needs=Listing)
    def test_a_cursor_that_cannot_be_read_is_no_end(self) -> None:
        """A page that others follow is not the last because what leads to them is of another type."""
        driver, _ = self._full()
        step, page = _first(driver)
        if page.next is None and page.at is None:
            return
        array = rows_at(driver, step, page)
        document = parsed(step.response.body)
        for path in places(document):
            value = value_at(document, path)
            if path[: len(array)] == array or not is_leaf(value) or value is None:
                continue
            for other in of_other_types(value):
                found = page_in(outcome(driver.reread, step, written(changed(document, path, other))))
                if found is not None and found.next is None and found.at is None:
                    raise Broken(f"{shown(path)} {kind_of(other)}; the page is read as the last")

    @promise(_todo.PAGES, level=PAGES, needs=Listing)
    def test_a_later_page_that_is_none_is_no_end(self) -> None:
        """A list whose second page is "no such bulk", an outage or no page at all is not complete."""
        driver, ids = self._full()
        own = not_found(self.bench())
        headers = {"Content-Type": "application/json"}
        for what, status, body in (
            ('"no such bulk"', own.status, own.body),
            ('"no such bulk" with HTTP 200', 200, own.body),
            ("an empty object", 200, b"{}"),
            ("an outage", 503, b""),
        ):
            reply = FakeResponse(status=status, body=body, headers=headers)
            report = _listed(driver, Second(reply))
            missing = set(ids) - {row.id for row in report}
            if missing and report.complete:
                raise Broken(
                    f"the second page is {what}: {len(missing)} bulks are missing, and it is `complete`"
                )

    @promise(_todo.ROWS, level=PAGES, needs=Listing)
    def test_an_odd_row_costs_only_itself(self) -> None:
        """A row that is no record, or has no id that can be one, costs no other row, and is known to be missing."""
        bench = self.bench()
        step, page, array, document = _front(bench.driver)
        for index in range(len(page.items)):
            row = (*array, index)
            ids = [
                path
                for path in places(document)
                if path[: len(row)] == row and _is(document, path, page, index)
            ]
            odd = [(row, value) for value in _NO_ROWS] + [(path, value) for path in ids for value in _NO_IDS]
            for path, value in odd:
                if len(ids) > 1 and path != row:
                    continue  # the row repeats its id, so one of them may stand in for the other
                found = self._page(step, changed(document, path, value), f"{shown(path)} {kind_of(value)}")
                _check_others(page, index, found, f"{shown(path)} {kind_of(value)}")
                if not found.left_out:
                    raise Broken(f"{shown(path)} {kind_of(value)}; the row is not counted in left_out")

    @promise(_todo.ROWS, level=PAGES, needs=Listing)
    def test_an_odd_member_costs_only_itself(self) -> None:
        """A member of a row that is odd or missing costs no other row, and makes no end of that one."""
        bench = self.bench()
        step, page, array, document = _front(bench.driver)
        for index, true in enumerate(page.items):
            row = (*array, index)
            for path in places(document):
                if path[: len(row)] != row or path == row:
                    continue
                for value in ODD:
                    what = f"{shown(path)} {kind_of(value)}"
                    found = self._page(step, changed(document, path, value), what)
                    _check_others(page, index, found, what)
                    now = next((item for item in found.items if item.id == true.id), None)
                    if now is not None and not true.state.is_terminal and now.state.is_terminal:
                        raise Broken(
                            f"{what}; the state was {name_of(true.state)} and is now {name_of(now.state)}"
                        )

    @promise(_todo.ERRORS, level=PAGES, needs=Listing)
    def test_whatever_comes_as_a_page_is_read_or_an_error_of_ours(self) -> None:
        """No member of a page raises anything but bulkstatus.errors, and a page without its rows is no empty one."""
        bench = self.bench()
        step, _, array, document = _front(bench.driver)
        for path in places(document):
            if len(path) > len(array) and path[: len(array)] == array:
                continue  # inside the rows: held by the promise about odd members
            for value in ODD:
                what = f"{shown(path)} {kind_of(value)}"
                found = outcome(bench.driver.reread, step, written(changed(document, path, value)))
                if isinstance(found, NotFound):
                    raise Broken(f"{what}; the list is NotFound")
                # An absent or empty array may be how the provider says that there are none.
                said = path == array[: len(path)] and value not in ([], ABSENT, None)
                read = page_in(found)
                if said and read is not None and not read.items and not read.left_out:
                    raise Broken(f"{what}; the page is read as an empty one", _todo.EMPTY)

    @promise(_todo.LISTING, level=PAGES, needs=Listing)
    def test_a_question_for_states_gets_all_that_are_in_them(self) -> None:
        """A listing for some states holds every row that is in one of them in the listing of all, and perhaps more."""
        bench = self.bench()
        right = {row.id: row.state for row in bench.rows(bench.driver)}
        alone = [frozenset({state}) for state in State]
        for states in (*alone, *map(frozenset, combinations(State, 2)), frozenset(State)):
            query = ListQuery(states=frozenset(map(str, states)))
            found = {row.id for row in bench.rows(bench.driver, query)}
            missing = [id for id, state in right.items() if state in states and id not in found]
            if missing:
                lost = name_of(right[missing[0]])
                raise Broken(f"asked for {', '.join(sorted(states))}, a bulk that is {lost} is not listed")

    @promise(_todo.LISTING, level=PAGES, needs=Listing)
    def test_a_question_for_states_knows_pins_and_new_words(self) -> None:
        """A listing for some states holds bulks in words that the user's `state_map` reads so, and unknown ones too."""
        bench = self.bench()
        words = {scene.status.native_state for scene in bench.present if scene.status.native_state}
        for word in sorted(words):
            adapter = msgspec.structs.replace(bench.adapter, state_map={word: State.PAUSED})
            driver = Driver(bench.fake, adapter)
            query = ListQuery(states=frozenset({str(State.PAUSED)}))
            pinned = {row.id for row in bench.rows(driver) if row.state is State.PAUSED}
            if pinned - {row.id for row in bench.rows(driver, query)}:
                raise Broken(f"{word!r} is pinned to `paused`, and a question for `paused` does not find it")

        def change(request: FakeRequest, reply: FakeResponse) -> FakeResponse:
            del request
            body = written(replaced(parsed(reply.body), words, SENTINEL))
            return msgspec.structs.replace(reply, body=body)

        unknown = {row.id for row in _listed(bench.driver, change) if row.state is State.UNKNOWN}
        asked = ask(bench.adapter, bench.fake, lambda client: client.list(states={State.UNKNOWN}), change)
        if unknown - {row.id for row in asked}:
            raise Broken("asked for `unknown`, bulks in a new word are not listed")

    @promise(_todo.LISTING, level=PAGES, needs=Listing)
    def test_the_list_and_the_bulk_itself_agree(self) -> None:
        """A row says of its bulk what `status` says, unless it is marked as provisional."""
        bench = self.bench()
        rows = {row.id: row for row in bench.rows(bench.driver)}
        for scene in bench.present:
            row = rows.get(scene.id)
            if row is None:
                raise Broken(f"{scene.name} is not in the list")
            if row.native_state != scene.status.native_state:
                raise Broken(f"{scene.name} has another word in the list")
            if row.state is not scene.status.state and not row.provisional:
                raise Broken(
                    f"{scene.name} is {name_of(row.state)} in the list, not provisional, and "
                    f"{name_of(scene.status.state)} by itself",
                    _todo.CONFIRM,
                )
            for name in TIMES:
                one, other = getattr(row, name), getattr(scene.status, name)
                if one is not None and other is not None and one != other:
                    raise Broken(f"{scene.name}: {name} differs between the list and the bulk itself")

    @promise(_todo.CONFIRM, level=PAGES, needs=Confirms)
    def test_a_provisional_row_can_be_settled(self) -> None:
        """`confirm` turns a provisional row into what `status` says, and is None for other rows."""
        bench = self.bench()
        adapter = bench.adapter
        if not isinstance(adapter, Confirms) or not isinstance(adapter, Listing):
            raise Broken("an adapter that confirms rows lists none")
        states = {scene.id: scene.status.state for scene in bench.present}
        for row in bench.rows(bench.driver):
            call = adapter.confirm(row)
            if call is None and row.provisional:
                raise Broken(
                    f"a row that is {name_of(row.state)} is provisional, and confirm() of it is None"
                )
            settled = row if call is None else bench.driver.ask(call)
            if settled.provisional or (row.id in states and settled.state is not states[row.id]):
                raise Broken(
                    f"confirm() of a row that is {name_of(row.state)} gives {name_of(settled.state)}, and "
                    f"status() {name_of(states.get(row.id))}"
                )

    @promise(_todo.RAW, level=PAGES, needs=Listing)
    def test_a_row_carries_its_record(self) -> None:
        """Each row has the provider's record as received beside it."""
        bench = self.bench()
        _, page, array, document = _front(bench.driver)
        for index, item in enumerate(page.items):
            raw = item.raw
            if raw is None or parsed(raw) != value_at(document, (*array, index)):
                raise Broken(f"raw of row {index} is {'None' if raw is None else 'not its record'}")

    def _full(self) -> tuple[Driver, list[str]]:
        """A fake with bulks for two pages and a bit, and their ids."""
        bench = self.bench()
        if not bench.fake.states:
            return bench.driver, [bulk.id for bulk in bench.fake.known()]
        number = 2 * (_size(bench.driver) or 2) + 3
        driver = bench.fresh(number)
        return driver, [driver.fake.bulk_id(each) for each in range(number)]

    def _page(self, step: Step, document: object, what: str) -> Page[BulkStatus]:
        """A changed page, which must be read all the same."""
        driver = self.bench().driver
        found: Page[BulkStatus] | BulkStatusError = outcome(driver.reread, step, written(document))
        if isinstance(found, BulkStatusError):
            raise Broken(f"{what}; the whole page is {type(found).__name__}")
        return addressed(found, driver.adapter.id_grammar)


class Repeating:
    """Gives the first answer each time, and in the end an error to whoever does not stop."""

    def __init__(self) -> None:
        self.asked = 0
        self._first: FakeResponse | None = None

    def __call__(self, request: FakeRequest, reply: FakeResponse) -> FakeResponse:
        """The first answer."""
        del request
        self.asked += 1
        self._first = self._first or reply
        return self._first if self.asked <= _ENDLESS else FakeResponse(status=400)


class Second:
    """Gives `reply` for every answer but the first."""

    def __init__(self, reply: FakeResponse) -> None:
        self._reply = reply
        self._asked = 0

    def __call__(self, request: FakeRequest, reply: FakeResponse) -> FakeResponse:
        """The true answer the first time."""
        del request
        self._asked += 1
        return reply if self._asked == 1 else self._reply


def rows_at(driver: Driver, step: Step, page: Page[Any]) -> Path:
    """Where the rows stand in an answer: the array as long as the page, without which there are none."""
    document = parsed(step.response.body)
    for path in ((), *places(document)):
        value = value_at(document, path)
        if not isinstance(value, list) or len(cast("list[object]", value)) != len(page.items):
            continue
        found = outcome(driver.reread, step, written(changed(document, path, [])))
        if isinstance(found, BulkStatusError) or not found.items:
            return path
    raise Broken("no array in the answer holds the rows of the page: rows were left out", _todo.ROWS)


def _listed(driver: Driver, change: Change | None = None) -> Report:
    return ask(driver.adapter, driver.fake, lambda client: client.list(), change)


def _first(driver: Driver) -> tuple[Step, Page[BulkStatus]]:
    """The first page of everything, and the step that gave it."""
    adapter = driver.adapter
    if not isinstance(adapter, Listing):
        raise TypeError("only for adapters that list")
    trail = driver.trail(adapter.listing(ListQuery())[0])
    return trail.steps[-1], trail.answer


def _front(driver: Driver) -> tuple[Step, Page[BulkStatus], Path, object]:
    """The same, with where the rows stand in the answer, and the answer itself."""
    step, page = _first(driver)
    return step, page, rows_at(driver, step, page), parsed(step.response.body)


def _size(driver: Driver) -> int | None:
    size: int | None = getattr(driver.adapter, "rows_per_page", None)
    return size


def _is(document: object, path: Path, page: Page[BulkStatus], index: int) -> bool:
    return str(value_at(document, path)) == page.items[index].id


def _check_others(page: Page[BulkStatus], index: int, found: Page[BulkStatus], what: str) -> None:
    """Break the promise where any row but that at `index` is missing or says something else."""
    states = {item.id: item.state for item in found.items}
    for other, item in enumerate(page.items):
        if other == index:
            continue
        if item.id not in states:
            raise Broken(f"{what}; row {other} is lost too")
        if states[item.id] is not item.state:
            raise Broken(
                f"{what}; row {other} was {name_of(item.state)} and is now {name_of(states[item.id])}"
            )


def _counted(report: Report) -> str:
    complete = "complete" if report.complete else "not complete"
    return f"the list has {len(report)} rows, {len({status.id for status in report})} of them different, and is {complete}"
