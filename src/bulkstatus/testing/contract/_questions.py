"""What an adapter can be asked, each with the answers that it truly gets."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from bulkstatus.adapter import (
    BulkOperation,
    Call,
    Confirms,
    Listing,
    ListQuery,
    OperationQuery,
    Operations,
    Page,
    Probe,
    Response,
)
from bulkstatus.testing.contract._driver import Driver, Step
from bulkstatus.testing.contract._scenes import Bench

NOBODY = 987_654
"""The number of a bulk that no fake here holds."""


class Question(NamedTuple):
    """One request of a call of the adapter's. `kind` is the method's name."""

    kind: str
    driver: Driver
    step: Step

    def __str__(self) -> str:
        return f"{self.kind}()"


def questions(bench: Bench) -> Iterator[Question]:
    """Every kind of request that the adapter makes."""
    driver, adapter = bench.driver, bench.adapter
    longest = max(bench.present, key=lambda scene: len(scene.trail.steps))
    for step in longest.trail.steps:
        yield Question("status", driver, step)
    if isinstance(adapter, Listing):
        for call in adapter.listing(ListQuery()):
            yield from (Question("listing", driver, step) for step in driver.trail(call).steps)
    if isinstance(adapter, Operations):
        trail = driver.trail(operations_call(driver, longest.id))
        yield from (Question("operations", driver, step) for step in trail.steps)
    if isinstance(adapter, Probe):
        yield from (Question("probe", driver, step) for step in driver.trail(adapter.probe()).steps)
    if isinstance(adapter, Confirms):
        rows = [row for row in bench.rows(driver) if row.provisional]
        for row in rows[:1]:
            call_ = adapter.confirm(row)
            if call_ is not None:
                yield from (Question("confirm", driver, step) for step in driver.trail(call_).steps)


def operations_call(
    driver: Driver, id: str, query: OperationQuery | None = None
) -> Call[Page[BulkOperation]]:
    """The call for the first page of a bulk's operations."""
    adapter = driver.adapter
    if not isinstance(adapter, Operations):
        raise TypeError("only for adapters that tell operations")
    return adapter.operations(id, OperationQuery() if query is None else query)


def not_found(bench: Bench) -> Response:
    """How the fake itself says that there is no such bulk."""
    call: Call[Any] = bench.adapter.status(bench.fake.bulk_id(NOBODY))
    return bench.driver.send(call.request)
