"""Promises that are kept by whoever uses the adapter through a client: what comes out, and how it can be kept."""

import pickle
from typing import Any

import anyio
import msgspec

from bulkstatus import AsyncClient, BulkOperation, BulkStatus, Client, Failure, Report
from bulkstatus.adapter import Listing, Operations
from bulkstatus.errors import BulkStatusError
from bulkstatus.testing._server import serve
from bulkstatus.testing.contract import _todo
from bulkstatus.testing.contract._answers import GATEWAYS
from bulkstatus.testing.contract._driver import SOURCE, Broken, outcome
from bulkstatus.testing.contract._facade import ask
from bulkstatus.testing.contract._mutation import parsed
from bulkstatus.testing.contract._promise import PAGES, Promises, promise
from bulkstatus.testing.contract._questions import NOBODY, operations_call, questions


class ClientPromises(Promises):
    """What a user of the facade has of it."""

    @promise(_todo.FAKE)
    def test_blocking_and_async_say_the_same(self) -> None:
        """Over a real socket, both clients give the same status, list and operations."""
        bench = self.bench()
        refs = [f"{SOURCE}:{scene.id}" for scene in bench.present]
        with serve(bench.fake) as url:
            adapter = self.make_adapter(bench.fake, url)
            listed, told = isinstance(adapter, Listing), isinstance(adapter, Operations)
            with Client({SOURCE: adapter}) as client:
                one = [client.get(ref) for ref in refs]
                one_list = client.list() if listed else None
                one_inside = list(client.operations(refs[-1])) if told else []

            async def main() -> tuple[list[BulkStatus], Report | None, list[BulkOperation]]:
                async with AsyncClient({SOURCE: self.make_adapter(bench.fake, url)}) as client:
                    found = [await client.get(ref) for ref in refs]
                    rows = await client.list() if listed else None
                    inside = [row async for row in client.operations(refs[-1])] if told else []
                    return found, rows, inside

            other, other_list, other_inside = anyio.run(main)
        pairs = (
            ("get()", one, other),
            ("list()", list(one_list or ()), list(other_list or ())),
            ("operations()", one_inside, other_inside),
        )
        for name, mine, yours in pairs:
            if _timeless(mine) != _timeless(yours):
                raise Broken(f"{name} of the two clients differ")

    @promise(_todo.FAKE)
    def test_many_bulks_are_one_report(self) -> None:
        """`get_many` says of each bulk what `get` says, and names the one that is not there."""
        bench = self.bench()
        unknown = bench.fake.bulk_id(NOBODY)
        refs = [f"{SOURCE}:{id}" for id in (*dict.fromkeys(scene.id for scene in bench.present), unknown)]
        report = ask(bench.adapter, bench.fake, lambda client: client.get_many(refs))
        states = {scene.id: scene.status.state for scene in bench.present}
        for status in report:
            if status.state is not states.get(status.id):
                raise Broken("a bulk has another state in get_many() than by itself")
        if [failure.kind for failure in report.failures] != ["not_found"] or len(report) != len(refs) - 1:
            raise Broken(
                f"of {len(refs)} bulks, one of them unknown, {len(report)} came and {len(report.failures)} failed"
            )

    @promise(_todo.RAW)
    def test_a_status_carries_its_record(self) -> None:
        """The provider's record as received travels beside a status, and is in neither its repr nor its JSON."""
        for scene in self.bench().scenes:
            raw = scene.status.raw
            if raw is None or parsed(raw) != parsed(scene.trail.steps[0].response.body):
                raise Broken(f"{scene.name}: raw is {'None' if raw is None else 'not what was received'}")
            if raw.decode() in repr(scene.status):
                raise Broken(f"{scene.name}: raw stands in the repr")

    @promise(_todo.SETTINGS)
    def test_a_status_survives_json(self) -> None:
        """A status, and a report of all of them, is the same after a round trip through JSON."""
        statuses = [scene.status for scene in self.bench().scenes]
        for status in statuses:
            if msgspec.json.decode(msgspec.json.encode(status), type=BulkStatus) != status:
                raise Broken("a status is another after JSON")
        observed = statuses[0].observed_at
        report = Report(statuses=tuple(statuses), complete=True, observed_at=observed)
        if msgspec.json.decode(msgspec.json.encode(report), type=Report) != report:
            raise Broken("a report is another after JSON")

    @promise(_todo.OPERATIONS, level=PAGES, needs=Operations)
    def test_an_operation_survives_json(self) -> None:
        """An operation is the same after a round trip through JSON."""
        bench = self.bench()
        for scene in bench.scenes:
            page = outcome(bench.driver.ask, operations_call(bench.driver, scene.id))
            for operation in () if isinstance(page, BulkStatusError) else page.items:
                if msgspec.json.decode(msgspec.json.encode(operation), type=BulkOperation) != operation:
                    raise Broken("an operation is another after JSON")

    @promise(_todo.STATUS)
    def test_errors_survive_being_kept(self) -> None:
        """An error is the same after pickle, and as the failure of a report."""
        for question in questions(self.bench()):
            for status in (400, 401, 404, 429, 500):
                found = GATEWAYS[2]._replace(status=status).to(question)
                if not isinstance(found, BulkStatusError):
                    continue
                copy = pickle.loads(pickle.dumps(found))  # noqa: S301 - written a moment ago, here
                kept = msgspec.json.decode(msgspec.json.encode(Failure.of(found)), type=Failure).error()
                for other in (copy, kept):
                    if type(other) is not type(found) or str(other) != str(found):
                        raise Broken(
                            f"the {type(found).__name__} of HTTP {status} is another once it was kept"
                        )


def _timeless(rows: list[Any]) -> list[Any]:
    """The fields of rows, without the moment they were read at."""
    values = [msgspec.structs.asdict(row) for row in rows]
    return [{name: value for name, value in row.items() if name != "observed_at"} for row in values]
