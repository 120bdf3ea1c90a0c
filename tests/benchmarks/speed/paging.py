"""Goal 9: a listing of 1,000 pages, 20 ms each, beside the time that its latency alone takes.

A child reads the operations of one bulk, page after page, as a caller does who wants them all and keeps none. Beside it
another asks for the same pages over as many bare sockets, and reads nothing in them: that is what the server, and the
machine with all that runs on it, take in that round.
"""

import asyncio
import time
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import urlsplit

from benchmarks.speed.children import in_child, peak
from benchmarks.speed.measure import Fact, Goal, Spread
from benchmarks.speed.server import TOTAL

_LATENCY = 0.020
_ID = "112233445566000000"
_PAGES = TOTAL // 100
_WINDOW = 8


class Read(NamedTuple):
    """Seconds to the first row and to the last, seconds of CPU, and MiB by which the process grew."""

    first: float
    all: float
    cpu: float
    grown: float


async def _read(url: str) -> Read:
    from bulkstatus import AsyncClient
    from bulkstatus_weavr import Weavr

    adapter = Weavr(base_url=url, api_key="k" * 20, auth_token="t" * 20, budget=())
    async with AsyncClient({"w": adapter}) as client:
        await client.get(f"w:{_ID}")  # the connection is there, as it is for a service
        before = peak()
        cpu, began = time.process_time(), time.perf_counter()
        first = 0.0
        rows = 0
        async for _ in client.operations(f"w:{_ID}"):
            rows += 1
            first = first or time.perf_counter() - began
        took = time.perf_counter() - began
        if rows != TOTAL:
            raise RuntimeError(f"{rows} rows in place of {TOTAL}")
        return Read(first, took, time.process_time() - cpu, peak() - before)


def _measured(url: str) -> Read:
    return asyncio.run(_read(url))


async def _ask_bare(url: str) -> float:
    address = urlsplit(url)
    pages = iter(range(_PAGES))

    async def ask() -> None:
        answers, questions = await asyncio.open_connection(address.hostname, address.port)
        for page in pages:
            path = f"{address.path}/bulks/{_ID}/operations?offset={page * 100}&limit=100"
            questions.write(f"GET {path} HTTP/1.1\r\nhost: {address.netloc}\r\n\r\n".encode())
            head = await answers.readuntil(b"\r\n\r\n")
            lengths = (
                line.split(b":")[1] for line in head.splitlines() if b"content-length:" in line.lower()
            )
            await answers.readexactly(int(next(lengths)))
        questions.close()

    began = time.perf_counter()
    await asyncio.gather(*(ask() for _ in range(_WINDOW)))
    return time.perf_counter() - began


def _bare(url: str) -> float:
    return asyncio.run(_ask_bare(url))


def measured(base: str, rounds: int) -> Iterator[Goal | Fact]:
    """Over both transports."""
    limit = _LATENCY * _PAGES / _WINDOW
    found: dict[str, list[Read]] = {"httpx": [], "aiohttp": []}
    in_child(
        _measured, f"{base}/0/multi"
    )  # the server makes each page once, which takes it longer than to send it
    bare: list[float] = []
    for _ in range(rounds):
        bare.append(in_child(_bare, f"{base}/20/multi"))
        for transport, runs in found.items():
            runs.append(in_child(_measured, f"{base}/20/multi", BULKSTATUS_TRANSPORT=transport))
    for transport, runs in found.items():
        most = Spread.of([run.all / max(limit, run.cpu) for run in runs])
        yield Goal("9", f"{_PAGES:,} pages / the longer of latency and CPU", transport, most, 1.2)
        firsts = Spread.of([run.first / _LATENCY for run in runs])
        yield Goal("9", "the first row, in round trips", transport, firsts, 1.2)
        yield Goal("9", "memory growth", transport, Spread.of([run.grown for run in runs]), 8, unit="MiB")
        yield Fact(f"{_PAGES:,} pages", transport, Spread.of([run.all for run in runs]), "s")
        yield Fact(f"{_PAGES:,} pages, CPU", transport, Spread.of([run.cpu for run in runs]), "s")
        more = Spread.of([run.all / least for run, least in zip(runs, bare, strict=True)])
        yield Fact(f"{_PAGES:,} pages / bare sockets", transport, more, "x")
    yield Fact(f"{_PAGES:,} pages", "bare sockets, nothing read", Spread.of(bare), "s")
