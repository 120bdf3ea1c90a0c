"""Many sources on one client: a `get` of each, and a `list` of all, against one server.

Each source has its own connections, so that one that is slow holds up no other: what that costs is what is measured.
"""

import asyncio
import time
from collections.abc import Iterator
from typing import NamedTuple

from benchmarks.speed.children import Connections, in_child, peak
from benchmarks.speed.measure import Fact, Goal, Spread

SOURCES = 200
_ROWS = 100
_FIRST = 112233445566000000


class Many(NamedTuple):
    """Seconds, and seconds of CPU, for each source; MiB by which the process grew; connections in all."""

    get: float
    get_cpu: float
    list: float
    list_cpu: float
    grown: float
    connections: int


async def _asked(url: str, sources: int) -> Many:
    from bulkstatus import AsyncClient
    from bulkstatus_weavr import Weavr

    def adapter(number: int) -> Weavr:
        return Weavr(base_url=url, api_key=f"k{number:019d}", auth_token=f"t{number:019d}", budget=())

    # What is imported and made once for all is not counted.
    async with AsyncClient({"first": adapter(sources)}) as client:
        await client.get(f"first:{_FIRST}")
    before, connections = peak(), Connections()
    async with AsyncClient({f"w{number}": adapter(number) for number in range(sources)}) as client:
        cpu, began = time.process_time(), time.perf_counter()
        got = await client.get_many(f"w{number}:{_FIRST + number}" for number in range(sources))
        cpu_got, got_at = time.process_time(), time.perf_counter()
        listed = await client.list()
        cpu_listed, listed_at = time.process_time(), time.perf_counter()
    if len(got.statuses) != sources or len(listed.statuses) != sources * _ROWS:
        raise RuntimeError(f"{len(got.statuses)} and {len(listed.statuses)} bulks: {got.failures[:1]}")
    each = ((got_at - began), (cpu_got - cpu), (listed_at - got_at), (cpu_listed - cpu_got))
    return Many(*(one / sources for one in each), peak() - before, connections.opened)


def many(url: str, sources: int) -> Many:
    """In this process: `url` is that of a server whose lists have one page."""
    return asyncio.run(_asked(url, sources))


def measured(base: str, rounds: int) -> Iterator[Goal | Fact]:
    """Over both transports."""
    found: dict[str, list[Many]] = {"httpx": [], "aiohttp": []}
    for _ in range(rounds):
        for transport, runs in found.items():
            runs.append(in_child(many, f"{base}/0/{_ROWS}/multi", SOURCES, BULKSTATUS_TRANSPORT=transport))
    for transport, runs in found.items():
        for what, figure, scale, unit in (
            ("a get of each, all of them", "get", 1e3 * SOURCES, "ms"),
            ("a get, CPU", "get_cpu", 1e6, "µs"),
            (f"a list of {_ROWS} bulks of each, all of them", "list", 1e3 * SOURCES, "ms"),
            (f"a list of {_ROWS} bulks, CPU", "list_cpu", 1e6, "µs"),
            ("memory of a source", "grown", 1024 / SOURCES, "KiB"),
        ):
            spread = Spread.of([getattr(run, figure) for run in runs]).scaled(scale)
            yield Fact(f"{SOURCES} sources: {what}", transport, spread, unit)
        opened = Spread.of([run.connections / SOURCES for run in runs])
        yield Goal("8", f"{SOURCES} sources: connections opened / sources", transport, opened, 1.1)
