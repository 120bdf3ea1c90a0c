"""Measuring side by side: rounds in which each candidate has its turn, and the ratios within each round."""

import gc
import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

_ROUND = 0.03


class Spread(NamedTuple):
    """The median of several figures, and the quarters around it."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Of these figures."""
        if len(values) < 2:
            return cls(values[0], values[0], values[0])
        low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(middle, low, high)

    def scaled(self, factor: float) -> "Spread":
        """The same in another unit."""
        return Spread(self.median * factor, self.low * factor, self.high * factor)


class Goal(NamedTuple):
    """A figure beside what it must not exceed, or not fall below. `row` is the number of the goal."""

    row: str
    what: str
    where: str
    figure: Spread
    bound: float
    at_least: bool = False
    unit: str = "x"

    @property
    def holds(self) -> bool:
        """True where the median is within the bound."""
        figure = self.figure.median
        return figure >= self.bound if self.at_least else figure <= self.bound


class Fact(NamedTuple):
    """A figure without a goal."""

    what: str
    where: str
    figure: Spread
    unit: str


class Curve(NamedTuple):
    """A figure at several sizes, the smallest first: seconds of CPU, or MiB, for so many `of`."""

    row: str
    what: str
    of: str
    unit: str
    points: tuple[tuple[int, float], ...]

    @property
    def slope(self) -> float:
        """The exponent with which it grows between the last two sizes: 1 is linear, 0 not at all."""
        (small, low), (large, high) = self.points[-2:]
        return math.log(max(high, _LEAST) / max(low, _LEAST)) / math.log(large / small)


# Less than this is not told from nothing, and nothing has no logarithm.
_LEAST = 1e-6


Line = Goal | Fact | Curve
"""What a part finds."""


def cpu_per_call(candidates: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of CPU that one call of each candidate takes, once a round; in each round each has its turn."""
    loops = {name: _loops(call) for name, call in candidates.items()}
    found: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(rounds):
        for name, call in candidates.items():
            found[name].append(_timed(call, loops[name]))
    return found


def ratios(figures: Mapping[str, Sequence[float]], one: str, other: str) -> Spread:
    """How many times `other` `one` is, round by round."""
    return Spread.of([a / b for a, b in zip(figures[one], figures[other], strict=True)])


def _loops(call: Callable[[], object]) -> int:
    call()
    loops, taken = 1, 0.0
    while taken < _ROUND / 3:
        loops = max(loops * 2, 1)
        taken = _timed(call, loops) * loops
    return max(1, round(loops * _ROUND / taken))


def _timed(call: Callable[[], object], loops: int) -> float:
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        began = time.process_time()
        for _ in range(loops):
            call()
        return (time.process_time() - began) / loops
    finally:
        if enabled:
            gc.enable()
