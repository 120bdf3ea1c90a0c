"""Goals 5 to 8 and 14: the facade beside raw httpx and the official client, at several numbers of callers at once.

Each measure runs in a process of its own, which says what CPU it took, how long, and how many connections it opened.
"""

from collections.abc import Iterator

from benchmarks.speed import ways
from benchmarks.speed.children import in_child
from benchmarks.speed.measure import Fact, Goal, Spread
from benchmarks.speed.ways import Run

CALLERS = (1, 10, 50, 200)
LATENCIES = (0, 20)


_CONTENDERS = {
    "raw httpx": ("raw httpx", "httpx", 8),
    "SDK": ("SDK", "httpx", 8),
    "bulkstatus, httpx": ("bulkstatus", "httpx", 8),
    "bulkstatus, aiohttp": ("bulkstatus", "aiohttp", 8),
}
# Measured beside them where many callers meet a slow server,
_CROWDED = {
    "bulkstatus, httpx, 32 connections": ("bulkstatus", "httpx", 32),
    "bulkstatus, aiohttp, 32 connections": ("bulkstatus", "aiohttp", 32),
    "httpcore alone, 32 connections": ("httpcore alone", "httpx", 32),
    "httpx as it comes": ("httpx as it comes", "httpx", 8),
}
# and where one caller meets one that answers at once: what is below, and what is added.
_LAYERS = {
    "httpx's transport alone": ("httpx's transport alone", "httpx", 8),
    "bulkstatus, nothing sent": ("bulkstatus, nothing sent", "httpx", 8),
}
# Elsewhere 1,500: clients that collapse do so after the first requests of each caller.
_REQUESTS = {(0, 1): 600, (20, 1): 60, (0, 10): 1_200, (20, 10): 400}
# How many times the SDK's requests a second: over httpx's own transport, and over that of aiohttp.
_FASTER: dict[tuple[int, int], tuple[float, float | None]] = {
    (0, 1): (1.3, 2.0),
    (0, 10): (1.3, 3.0),
    (20, 50): (2.0, None),
    (20, 200): (2.0, 5.0),
}


def measured(base: str, rounds: int, *, share: float = 1.0) -> Iterator[Goal | Fact]:
    """Every way at every number of callers, round after round; each round begins with another way.

    `share` is that of the requests which a whole measure takes.
    """
    cpu: dict[tuple[str, int], list[float]] = {}
    for latency in LATENCIES:
        for callers in CALLERS:
            runs = _rounds(f"{base}/{latency}/client/v4", latency, callers, rounds, share)
            yield from _compared(latency, callers, runs)
            for name, found in runs.items():
                cpu.setdefault((name, callers), []).extend(one.cpu for one in found if not latency)
    yield from _blocking(f"{base}/0/client/v4", rounds, round(share * _REQUESTS[0, 1]))
    for name in ("bulkstatus, httpx", "bulkstatus, aiohttp"):
        growth = [many / few for many, few in zip(cpu[name, 200], cpu[name, 10], strict=True)]
        yield Goal("8", "CPU of a request, 200 callers / 10", name, Spread.of(growth), 2)


def _blocking(url: str, rounds: int, requests: int) -> Iterator[Fact]:
    """The blocking clients, one caller. httpx's own needs half the CPU of its async one, which ours stands on."""
    names = ["raw httpx", "SDK", "bulkstatus, httpx", "bulkstatus, aiohttp"]
    runs: dict[str, list[Run]] = {name: [] for name in names}
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            way, transport, _ = _CONTENDERS[name]
            runs[name].append(in_child(ways.blocked, way, url, requests, BULKSTATUS_TRANSPORT=transport))
    for name, found in runs.items():
        yield Fact(
            "blocking, 1 caller: CPU of a request", name, Spread.of([one.cpu * 1e6 for one in found]), "µs"
        )
        if name.startswith("bulkstatus"):
            cpu = [ours.cpu / raw.cpu for ours, raw in zip(found, runs["raw httpx"], strict=True)]
            yield Fact("blocking, 1 caller: CPU of a request / raw httpx", name, Spread.of(cpu), "x")
            quicker = [sdk.time / ours.time for sdk, ours in zip(runs["SDK"], found, strict=True)]
            yield Fact("blocking, 1 caller: requests a second / the SDK's", name, Spread.of(quicker), "x")


def _rounds(url: str, latency: int, callers: int, rounds: int, share: float) -> dict[str, list[Run]]:
    contenders = dict(_CONTENDERS)
    if latency and callers >= _MANY:
        contenders |= _CROWDED
    if callers > _MANY:
        contenders.pop("httpx as it comes", None)  # 50 show what becomes of it, and 200 would take minutes
    if not latency and callers == 1:
        contenders |= _LAYERS
    names = list(contenders)
    runs: dict[str, list[Run]] = {name: [] for name in names}
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            way, transport, connections = contenders[name]
            requests = round(share * _REQUESTS.get((latency, callers), 1_500))
            environment = {"BULKSTATUS_TRANSPORT": transport, "BULKSTATUS_CONNECTIONS": str(connections)}
            runs[name].append(in_child(ways.measured, way, url, callers, requests, **environment))
    return runs


_MANY = 50


def _compared(latency: int, callers: int, runs: dict[str, list[Run]]) -> Iterator[Goal | Fact]:
    at = f"{callers} {'caller' if callers == 1 else 'callers'}, {latency} ms"

    def ratio(one: str, other: str, figure: str) -> Spread:
        pairs = zip(runs[one], runs[other], strict=True)
        return Spread.of([getattr(a, figure) / getattr(b, figure) for a, b in pairs])

    if not latency and callers in (1, 10):
        for name in ("bulkstatus, httpx", "bulkstatus, aiohttp"):
            figure = ratio(name, "raw httpx", "cpu")
            yield Goal("5", f"CPU of a request / raw httpx, {at}", name, figure, 1.05)
    for row, transport, bound in zip(
        "67", ("httpx", "aiohttp"), _FASTER.get((latency, callers), ()), strict=False
    ):
        name = f"bulkstatus, {transport}{', 32 connections' if callers >= _MANY else ''}"
        what = f"requests a second / the SDK's, {at}"
        figure = ratio("SDK", name, "time")
        yield Goal(row, what, name, figure, bound, at_least=True) if bound else Fact(what, name, figure, "x")
    for name, found in runs.items():
        yield Fact(f"requests a second, {at}", name, Spread.of([1 / one.time for one in found]), "1/s")
        yield Fact(f"CPU of a request, {at}", name, Spread.of([one.cpu * 1e6 for one in found]), "µs")
        opened = Spread.of([one.connections / callers for one in found])
        if name == "bulkstatus, nothing sent":
            continue
        if name.startswith("bulkstatus"):
            yield Goal("8", f"connections opened / callers, {at}", name, opened, 1.1)
        else:
            yield Fact(f"connections opened / callers, {at}", name, opened, "x")
