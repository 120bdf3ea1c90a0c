"""Promises about the operations inside a bulk."""

from collections.abc import Iterator
from typing import Any

import msgspec

from bulkstatus import AsyncClient
from bulkstatus.adapter import BulkOperation, OperationQuery, Operations, Page, State
from bulkstatus.errors import BulkStatusError, ConfigError
from bulkstatus.testing._fake import Life
from bulkstatus.testing.contract import _todo
from bulkstatus.testing.contract._driver import SOURCE, Broken, Driver, Step, outcome
from bulkstatus.testing.contract._facade import ask
from bulkstatus.testing.contract._mutation import (
    ODD,
    SENTINEL,
    changed,
    kind_of,
    parsed,
    places,
    shown,
    written,
)
from bulkstatus.testing.contract._pages import Repeating, rows_at
from bulkstatus.testing.contract._promise import CLOCK, PAGES, Promises, promise
from bulkstatus.testing.contract._questions import operations_call
from bulkstatus.testing.contract._scenes import SOME, TOTAL, name_of, pages

_MANY = 250
_SHORTEST_PAYLOAD = 8
_ENDLESS = 60


class OperationPromises(Promises):
    """What is told of a bulk's operations."""

    @promise(_todo.OPERATIONS, level=CLOCK, needs=Operations)
    def test_every_operation_is_told_once(self) -> None:
        """A bulk that has ended tells each of its operations once, however many pages they take."""
        driver, id = self._ended(State.SUCCEEDED, total=_MANY)
        keys = [operation.key for operation in _told(driver, id)]
        named = [key for key in keys if key]  # nothing tells those without a key from one another
        if len(keys) != _MANY or len(set(named)) != len(named):
            raise Broken(f"of {_MANY} operations {len(keys)} came, {len(set(named))} of them different")

    @promise(_todo.OPERATIONS, level=CLOCK, needs=Operations)
    def test_failed_operations_can_be_asked_for(self) -> None:
        """A question for the failed operations gives those that failed, or ConfigError where they cannot be told."""
        state = State.PARTIAL if State.PARTIAL in self.fake.states else State.SUCCEEDED
        driver, id = self._ended(state, total=TOTAL, failed=SOME)
        found = outcome(_told, driver, id, OperationQuery(states=frozenset({State.FAILED})))
        if isinstance(found, ConfigError):
            return
        if isinstance(found, BulkStatusError):
            raise Broken(f"asked for failed operations, it is {type(found).__name__}")
        failed = [operation for operation in found if operation.state is State.FAILED]
        if len(failed) != SOME:
            raise Broken(f"of {TOTAL} operations {SOME} failed, and {len(failed)} are told as failed")

    @promise(_todo.OPERATIONS, level=PAGES, needs=Operations)
    def test_any_question_about_operations_has_an_answer(self) -> None:
        """A question for any states, or for one position, gets all that fit, or is refused with ConfigError."""
        driver, id = self._some()
        queries = [OperationQuery(states=frozenset({state})) for state in State]
        everything = _told(driver, id)
        for query in (*queries, OperationQuery(states=frozenset()), OperationQuery(sequence=1)):
            found = outcome(_told, driver, id, query)
            if isinstance(found, BulkStatusError):
                if not isinstance(found, ConfigError):
                    raise Broken(f"asked for {_shown(query)}, it is {type(found).__name__}")
                continue
            right, told = (
                sum(_fits(each, query) for each in operations) for operations in (everything, found)
            )
            if told < right:
                raise Broken(f"asked for {_shown(query)}, {told} of {right} such operations are told")

    @promise(_todo.OPERATIONS, level=PAGES, needs=Operations)
    def test_payloads_are_not_shown(self) -> None:
        """What an operation was sent and was answered is in no repr and in no JSON: it holds personal data."""
        driver, id = self._some()
        for operation in _told(driver, id):
            written_down = f"{operation!r} {msgspec.json.encode(operation).decode()} {operation.error}"
            for text in (operation.request, operation.response):
                if text and len(text) >= _SHORTEST_PAYLOAD and text in written_down:
                    raise Broken("a payload stands in the repr or the JSON of its operation")

    @promise(_todo.MEMBERS, level=PAGES, needs=Operations)
    def test_an_odd_operation_costs_only_itself(self) -> None:
        """An operation with an odd member, or that is no record at all, costs no other one."""
        driver, id = self._some()
        step, page = _first(driver, id)
        if not page.items:
            return
        array = rows_at(driver, step, page)
        document = parsed(step.response.body)
        for path in places(document):
            if path[: len(array)] != array or path == array:
                continue
            index = int(path[len(array)])
            for value in ODD:
                what = f"{shown(path)} {kind_of(value)}"
                found = self._changed(driver, step, changed(document, path, value), what)
                others = [item.key for at, item in enumerate(page.items) if at != index and item.key]
                if set(others) - {item.key for item in found.items} and not _counted_by_place(page):
                    raise Broken(f"{what}; other operations are lost too")
                if len(found.items) + found.left_out < len(page.items) - 1:
                    raise Broken(f"{what}; of {len(page.items)} operations {len(found.items)} are left")

    @promise(_todo.WORDS, level=PAGES, needs=Operations)
    def test_an_operation_with_an_unknown_word_is_unknown(self) -> None:
        """An operation in a word that nobody has documented is `unknown`, and keeps the word."""
        driver, id = self._some()
        step, page = _first(driver, id)
        document = parsed(step.response.body)
        for path in places(document) if page.items else ():
            body = written(changed(document, path, SENTINEL))
            found = outcome(driver.reread, step, body)
            if isinstance(found, BulkStatusError):
                continue
            for item in found.items:
                if item.native_state == SENTINEL and item.state is not State.UNKNOWN:
                    raise Broken(
                        f"{shown(path)} replaced by an unknown word is read as {name_of(item.state)}"
                    )

    @promise(_todo.PAGES, level=PAGES, needs=Operations)
    def test_operations_without_end_end(self) -> None:
        """A provider that gives the same page of operations again and again is told from one with many pages."""
        driver, id = self._some(total=_MANY)
        seen = Repeating()

        async def all_of_them(client: AsyncClient) -> int:
            return len([operation async for operation in client.operations(f"{SOURCE}:{id}")])

        outcome(ask, driver.adapter, driver.fake, all_of_them, seen)
        if seen.asked > _ENDLESS:
            raise Broken(f"the same page was asked for more than {_ENDLESS} times")

    def _ended(self, state: State, *, total: int, failed: int = 0) -> tuple[Driver, str]:
        """A bulk that ended in `state`, on a fake of its own."""
        driver = self.bench().fresh()
        id = driver.fake.bulk_id(0)
        word = self.fake.states.get(state) or next(iter(self.fake.states.values()))
        driver.fake.place(id, Life.of((0.0, word)), total=total, failed=failed)
        return driver, id

    def _some(self, *, total: int = TOTAL) -> tuple[Driver, str]:
        """A bulk with operations to look at."""
        if self.fake.states:
            ended = State.PARTIAL if State.PARTIAL in self.fake.states else State.SUCCEEDED
            return self._ended(ended, total=total, failed=SOME)
        bench = self.bench()
        return bench.driver, bench.scenes[-1].id

    def _changed(self, driver: Driver, step: Step, document: object, what: str) -> Page[BulkOperation]:
        found: Page[BulkOperation] | BulkStatusError = outcome(driver.reread, step, written(document))
        if isinstance(found, BulkStatusError):
            raise Broken(f"{what}; the whole page is {type(found).__name__}")
        return found


def _fits(operation: BulkOperation, query: OperationQuery) -> bool:
    if query.states is not None and operation.state not in query.states:
        return False
    return query.sequence is None or operation.sequence == query.sequence


def _told(driver: Driver, id: str, query: OperationQuery | None = None) -> list[BulkOperation]:
    return list(_each(driver, id, query))


def _each(driver: Driver, id: str, query: OperationQuery | None) -> Iterator[BulkOperation]:
    for page in pages(driver, operations_call(driver, id, query)):
        yield from page.items


def _first(driver: Driver, id: str) -> tuple[Step, Page[BulkOperation]]:
    trail = driver.trail(operations_call(driver, id))
    return trail.steps[-1], trail.answer


def _counted_by_place(page: Page[Any]) -> bool:
    """Whether operations are known by where they stand alone, so that one that is lost moves those behind it."""
    return all(item.id is None for item in page.items)


def _shown(query: OperationQuery) -> str:
    return f"position {query.sequence}" if query.states is None else f"states {sorted(query.states)}"
