"""One SVG of all goals, each a dot at its figure over its bound, and of the curves of growth."""

import math
from collections.abc import Iterable, Sequence
from html import escape

from benchmarks.speed.measure import Curve, Goal, Line

GOALS = {
    "1": "operations page / decoding alone",
    "2": "DRUID, Cloudflare / decoding alone",
    "3": "Weavr bulk page / decoding alone",
    "4": "reading, against official models",
    "5": "CPU of a request / raw httpx",
    "6": "requests a second, httpx, against the SDK",
    "7": "requests a second, aiohttp, against the SDK",
    "8": "many callers and sources: connections, CPU",
    "9": "1,000 pages: time, first row, memory",
    "10": "waiting by age: requests",
    "11": "waiting with counts: requests, delay",
    "12": "waiting with a list: requests, delay",
    "13": "start-up of the command line",
    "14": "connections and TLS contexts made again",
    "S1": "growth with sources",
    "S2": "growth of tracked",
    "S3": "growth of list --tracked",
    "S4": "growth of a wait",
    "S5": "growth with operations",
}
"""What each row of goals is about, in a few words."""

_WIDTH, _LEFT, _RIGHT, _STEP = 860, 320, 20, 20
_DECADES = 1.5  # on each side of the bound; what is further off stands at the edge
_COLOURS = ("#1f6feb", "#8250df", "#bf8700", "#0a7f6f", "#cf222e")
_GOOD, _BAD, _INK, _GRID = "#1a7f37", "#cf222e", "#1f2328", "#d0d7de"


def position(goal: Goal) -> float:
    """Where a goal stands: -1 at the left edge, 0 at its bound, 1 at the right; it holds where that is not above 0."""
    figure, bound = goal.figure.median, goal.bound
    over, under = (bound, figure) if goal.at_least else (figure, bound)
    if over <= 0:
        return -1.0 if under > 0 or goal.holds else 1.0
    if under <= 0:
        return 1.0
    return max(-1.0, min(1.0, math.log10(over / under) / _DECADES))


def drawn(lines: Iterable[Line]) -> str:
    """The SVG."""
    found = list(lines)
    goals = [line for line in found if isinstance(line, Goal)]
    curves = [line for line in found if isinstance(line, Curve)]
    rows = [row for row in GOALS if any(goal.row == row for goal in goals)]
    bottom = 60 + _STEP * len(rows)
    parts = [*_dots(goals, rows)]
    for index, unit in enumerate(dict.fromkeys(curve.unit for curve in curves)):
        left = 60 + index * (_WIDTH // 2)
        parts += _panel([curve for curve in curves if curve.unit == unit], unit, left, bottom + 40)
    height = bottom + (330 if curves else 10)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
        f'font-family="sans-serif" font-size="12" fill="{_INK}">\n'
        f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def _text(x: float, y: float, words: str, more: str = "") -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" {more}>{escape(words)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, more: str = f'stroke="{_GRID}"') -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" {more}/>'


def _dots(goals: Sequence[Goal], rows: Sequence[str]) -> Iterable[str]:
    half = (_WIDTH - _LEFT - _RIGHT) / 2
    middle, bottom = _LEFT + half, 46 + _STEP * len(rows)
    yield _text(10, 20, "Goals: figure over bound", 'font-weight="bold"')
    for power in (-1, 0, 1):
        x = middle + half * power / _DECADES
        yield _line(x, 34, x, bottom, f'stroke="{_INK if not power else _GRID}"')
        yield _text(
            x, 28, {-1: "10 times better", 0: "bound", 1: "10 times worse"}[power], 'text-anchor="middle"'
        )
    for index, row in enumerate(rows):
        y = 50 + _STEP * index
        yield _text(10, y + 4, f"{row}  {GOALS[row]}")
        for goal in sorted((goal for goal in goals if goal.row == row), key=lambda goal: not goal.holds):
            colour, x = _GOOD if goal.holds else _BAD, middle + half * position(goal)
            said = f"{goal.what} {goal.where}: {goal.figure.median:.3g} {goal.unit}, bound {goal.bound:g}"
            yield (
                f'<circle cx="{x:.1f}" cy="{y}" r="5" fill="{colour}" fill-opacity="0.7">'
                f"<title>{escape(said)}</title></circle>"
            )


def _panel(curves: Sequence[Curve], unit: str, left: int, top: int) -> Iterable[str]:
    """The curves of one unit on two logarithmic axes, and a line that is linear."""
    width, height, floor = _WIDTH // 2 - 90, 180, 1e-3
    points = [point for curve in curves for point in curve.points]
    wide = math.ceil(math.log10(max(size for size, _ in points)))
    values = [max(value, floor) for _, value in points]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))

    def at(size: float, value: float) -> tuple[float, float]:
        x = left + width * math.log10(size) / wide
        y = top + height * (high - math.log10(max(value, floor))) / (high - low or 1)
        return x, y

    yield _text(left, top - 10, f"How cost grows: {unit}", 'font-weight="bold"')
    for power in range(wide + 1):
        x, _ = at(10**power, 1)
        yield _line(x, top, x, top + height)
        yield _text(x, top + height + 16, f"{10**power:,}", 'text-anchor="middle" font-size="9"')
    for power in range(low, high + 1):
        _, y = at(1, 10**power)
        yield _line(left, y, left + width, y)
        yield _text(left - 6, y + 4, f"{10.0**power:g}", 'text-anchor="end" font-size="9"')
    reach = min(wide, high - low)
    (x1, y1), (x2, y2) = at(1, 10.0**low), at(10.0**reach, 10.0 ** (low + reach))
    yield _line(x1, y1, x2, y2, f'stroke="{_INK}" stroke-dasharray="4 4"')
    for index, curve in enumerate(curves):
        colour = _COLOURS[index % len(_COLOURS)]
        corners = " ".join(f"{x:.1f},{y:.1f}" for x, y in (at(size, value) for size, value in curve.points))
        yield f'<polyline points="{corners}" fill="none" stroke="{colour}" stroke-width="2"/>'
        x, y = left + (index % 3) * (width // 3 + 10), top + height + 36 + 16 * (index // 3)
        yield _line(x, y - 4, x + 14, y - 4, f'stroke="{colour}" stroke-width="2"')
        yield _text(x + 18, y, f"{curve.row} {curve.of}", 'font-size="10"')
