"""Scale: how the cost grows with sources, tracked bulks and operations. Nothing may grow quicker than linear.

Each size is measured in a process of its own: seconds of CPU, and MiB beyond what the process had before. What counts
is the exponent between the two largest sizes.
"""

import asyncio
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from benchmarks.journal import BIRTH, made_up
from benchmarks.speed.children import in_child, peak
from benchmarks.speed.many import many
from benchmarks.speed.measure import Curve, Goal, Line, Spread
from benchmarks.speed.ways import ACCOUNT

MOST = 1.15
"""The largest exponent that counts as linear: a part of each size's cost is the machine's mood."""
_STREAM = 8.0
_ID = "112233445566000000"
_AT_ONCE = 1_000


class Cost(NamedTuple):
    """Seconds of CPU, and MiB by which the process grew."""

    cpu: float
    grown: float


def sources(base: str, number: int) -> Cost:
    """A client of so many sources: a get and a list of each."""
    found = many(f"{base}/0/100/multi", number)
    return Cost((found.get_cpu + found.list_cpu) * number, found.grown)


def operations(base: str, number: int) -> Cost:
    """A bulk of so many operations, read one after another."""
    from bulkstatus import AsyncClient
    from bulkstatus_weavr import Weavr

    adapter = Weavr(base_url=f"{base}/0/{number}/multi", api_key="k" * 20, auth_token="t" * 20, budget=())

    async def read() -> Cost:
        async with AsyncClient({"w": adapter}) as client:
            await client.get(f"w:{_ID}")
            before, cpu, rows = peak(), time.process_time(), 0
            async for _ in client.operations(f"w:{_ID}"):
                rows += 1
            if rows != number:
                raise RuntimeError(f"{rows} rows in place of {number}")
            return Cost(time.process_time() - cpu, peak() - before)

    return asyncio.run(read())


def _edge() -> Any:
    from bulkstatus_cloudflare import Cloudflare

    return Cloudflare(account_id=ACCOUNT, token="t" * 40, base_url="https://edge.test/client/v4", budget=())


def keep(path: Path, number: int) -> None:
    """Make a journal with so many tracked bulks, all of which have ended."""
    from bulkstatus._journal import Journal
    from bulkstatus._model import State
    from bulkstatus._record import Sighting
    from bulkstatus._recorder import _place
    from bulkstatus._times import Stamp

    place = _place("edge", _edge())
    with Journal(path) as journal:
        for start in range(0, number, _AT_ONCE):
            now = Stamp.take()
            journal.record(
                Sighting(place, _ended(place, index, State.SUCCEEDED), now, now, wanted=True)
                for index in range(start, min(start + _AT_ONCE, number))
            )


def _ended(place: Any, index: int, state: Any) -> Any:
    at = BIRTH + timedelta(seconds=index)
    status = made_up(f"{index:032x}", state, at, finished_at=at)
    return msgspec.structs.replace(
        status, source=place.source, provider=place.provider, native_state="completed"
    )


def tracked(path: str, number: int) -> Cost:
    """`tracked` of a client whose journal has so many."""
    return _of_journal(path, number, lambda client: client.tracked())


def listed(path: str, number: int) -> Cost:
    """`list(tracked=True)`, all of which have ended: they come from the journal, and nothing is sent."""
    return _of_journal(path, number, lambda client: client.list(tracked=True))


def _of_journal(path: str, number: int, ask: Callable[[Any], Any]) -> Cost:
    from bulkstatus import AsyncClient, Journal

    async def read() -> Cost:
        async with AsyncClient({"edge": _edge()}, journal=Journal(path)) as client:
            await client.changes(limit=1)
            before, cpu = peak(), time.process_time()
            found = await ask(client)
            spent = time.process_time() - cpu
            if len(getattr(found, "statuses", found)) != number:
                raise RuntimeError(f"not {number} bulks: {getattr(found, 'failures', ())[:1]}")
            return Cost(spent, peak() - before)

    return asyncio.run(read())


def waited(number: int) -> Cost:
    """One wait for so many bulks that begin at once, at a provider with a list, played by the simulator."""
    from benchmarks.world import Provider, together
    from bulkstatus._polling import PRESETS

    before, cpu = peak(), time.process_time()
    found = together(Provider(listing=True), "lognormal", number, PRESETS["default"])
    if found.jobs != number or found.missed:
        raise RuntimeError(f"{found.missed} of {number} bulks were not seen to end")
    return Cost(time.process_time() - cpu, peak() - before)


SIZES: dict[str, Sequence[int]] = {
    "sources": (1, 10, 100, 1_000),
    "tracked": (10, 100, 1_000, 10_000, 100_000),
    "waited": (10, 100, 1_000, 10_000, 100_000),
    "operations": (100, 1_000, 10_000, 100_000, 1_000_000),
}


def _taken(measure: Callable[[int], Cost], sizes: Sequence[int], rounds: int) -> dict[int, list[Cost]]:
    found: dict[int, list[Cost]] = {size: [] for size in sizes}
    for _ in range(rounds):
        for size, costs in found.items():
            costs.append(measure(size))
    return found


def _grown(
    row: str, what: str, of: str, found: dict[int, list[Cost]], *, streams: bool = False
) -> Iterator[Line]:
    """Two curves, and what they must not exceed."""

    def median(size: int, figure: str) -> float:
        return Spread.of([getattr(cost, figure) for cost in found[size]]).median

    cpu = Curve(row, what, of, "s of CPU", tuple((size, median(size, "cpu")) for size in found))
    memory = Curve(row, what, of, "MiB", tuple((size, median(size, "grown")) for size in found))
    yield cpu
    yield memory
    yield Goal(row, f"{what}: exponent of CPU", of, Spread.of([cpu.slope]), MOST, unit="")
    if streams:
        *_, before, largest = memory.points
        more = Spread.of([largest[1] - before[1]])
        yield Goal(row, f"{what}: memory, {largest[0]:,} over {before[0]:,}", of, more, _STREAM, unit="MiB")
    else:
        yield Goal(row, f"{what}: exponent of memory", of, Spread.of([memory.slope]), MOST, unit="")


def measured(base: str, rounds: int, *, quick: bool) -> Iterator[Line]:
    """Every curve; `quick` leaves out the largest size of each."""
    sizes = {name: all_[:-1] if quick else all_ for name, all_ in SIZES.items()}
    found = _taken(lambda size: in_child(sources, base, size), sizes["sources"], rounds)
    yield from _grown("S1", "a get and a list of each source", "sources", found)
    with tempfile.TemporaryDirectory() as folder:
        paths = {size: Path(folder) / f"{size}.db" for size in sizes["tracked"]}
        for size, path in paths.items():
            in_child(keep, path, size)
        for row, what, ask in (("S2", "`tracked`", tracked), ("S3", "`list(tracked=True)`", listed)):
            found = _taken(
                lambda size, ask=ask: in_child(ask, str(paths[size]), size), sizes["tracked"], rounds
            )
            yield from _grown(row, what, "tracked bulks", found)
    found = _taken(lambda size: in_child(waited, size), sizes["waited"], rounds)
    yield from _grown("S4", "one wait for all", "bulks", found)
    found = _taken(lambda size: in_child(operations, base, size), sizes["operations"], rounds)
    yield from _grown("S5", "operations, one after another", "operations", found, streams=True)
