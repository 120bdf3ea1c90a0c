"""Where the CPU goes: that of reading each payload by function, that of a get by package."""

import asyncio
import sys
from collections.abc import Iterator, Mapping
from types import FrameType

from benchmarks.speed import decoding, ways
from benchmarks.speed.children import in_child
from benchmarks.speed.measure import Fact, Spread
from benchmarks.speed.sampling import shares
from bulkstatus._drift import collecting

_SHOWN = 7
_OURS = "bulkstatus"
# Where an interrupt finds a module of theirs, or of none: whoever called it.
_NOBODYS = sys.stdlib_module_names - {"asyncio"} | {"benchmarks"}


def _package(frame: FrameType) -> str | None:
    package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
    if package.startswith(_OURS):
        return _OURS
    return None if package in _NOBODYS else package


def _function(frame: FrameType) -> str | None:
    return f"`{frame.f_code.co_qualname}`" if _package(frame) == _OURS else None


def of_get(url: str, seconds: float) -> dict[str, float]:
    """Of one question after another. For a process of its own."""

    def ask() -> None:
        asyncio.run(ways.facade(url, 1, 500))

    ask()
    return shares(ask, seconds, _package)


def measured(base: str, seconds: float) -> Iterator[Fact]:
    """So many seconds of each. What is read is let go at once: that is `elsewhere`."""
    for payload in decoding.payloads():
        with collecting():
            found = shares(payload.read, seconds, _function)
        yield from _told(f"reading {payload.what}", found)
    for transport in ("httpx", "aiohttp"):
        found = in_child(of_get, f"{base}/0/client/v4", seconds, BULKSTATUS_TRANSPORT=transport)
        yield from _told(f"a get over {transport}", found)


def _told(what: str, found: Mapping[str, float]) -> Iterator[Fact]:
    for name, share in list(found.items())[:_SHOWN]:
        yield Fact(what, name, Spread.of([share * 100]), "%")
