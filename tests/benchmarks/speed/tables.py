"""What was found, as text: a line at a time on the terminal, and the tables of docs/performance.md."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from benchmarks.speed.measure import Curve, Fact, Goal, Line

HEAD = "| goal | what | where | median (quarters) | bound | holds |\n|---|---|---|---|---|---|"
_BEGIN, _END = "<!-- figures: begin -->", "<!-- figures: end -->"
_AT = re.compile(r"(?P<what>.*), (?P<callers>\d+) callers?, (?P<latency>\d+) ms")
_SHOWN = 3
"""So many goals of a kind get a row each; of more the worst is shown."""


def number(value: float) -> str:
    """With as many digits as mean something."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def row(line: Line) -> str:
    """A row of the table that is printed."""
    if isinstance(line, Curve):
        points = ", ".join(f"{size:,}: {number(value)}" for size, value in line.points)
        return f"| {line.row} | {line.what}, {line.unit} | {line.of} | {points} | | |"
    if isinstance(line, Fact):
        return f"| | {line.what} | {line.where} | {_shown(line)} | | |"
    return f"| {line.row} | {line.what} | {line.where} | {_shown(line)} | {_bound(line)} | {_holds(line)} |"


def _shown(line: Goal | Fact) -> str:
    median, low, high = line.figure
    middle = f"{number(median)} {line.unit}".rstrip()
    return middle if low == high else f"{middle} ({number(low)} to {number(high)})"


def _bound(goal: Goal) -> str:
    return f"{'≥' if goal.at_least else '≤'} {goal.bound:g}"


def _holds(goal: Goal) -> str:
    return "yes" if goal.holds else "**no**"


def document(lines: Iterable[Line], machine: Mapping[str, object]) -> str:
    """The generated part of the page."""
    found = list(lines)
    goals = [line for line in found if isinstance(line, Goal)]
    missed = sum(not goal.holds for goal in goals)
    facts = [line for line in found if isinstance(line, Fact)]
    crowds = [fact for fact in facts if _AT.fullmatch(fact.what)]
    spent = [fact for fact in facts if fact.unit == "%"]
    others = [fact for fact in facts if fact not in crowds and fact not in spent]
    machine_said = (
        f"{machine['date']}, {machine['cpus']} cores, Python {machine['python']}, {machine['system']}"
    )
    parts = [
        f"*Measured {machine_said}: {len(goals) - missed} of {len(goals)} goals hold.*",
        f"### Goals\n\n{HEAD}\n" + "\n".join(map(row, sorted(_worst(goals), key=_place))),
        "### Callers at once\n\n" + "\n\n".join(_crowds(crowds)),
        "### What it is spent on\n\n" + _spent(spent),
        "### How cost grows\n\n" + _curves([line for line in found if isinstance(line, Curve)]),
        "### Other figures\n\n| what | where | median (quarters) |\n|---|---|---|\n"
        + "\n".join(map(_other, others)),
    ]
    return "\n\n".join(part for part in parts if part.strip().count("\n") or part.startswith("*")) + "\n"


def _place(goal: Goal) -> tuple[bool, int]:
    """Goals 1 to 14 come first, then S1 and those behind it."""
    return goal.row.startswith("S"), int(goal.row.removeprefix("S"))


def _worst(goals: Sequence[Goal]) -> Iterable[Goal]:
    """Of many goals that differ in the number of callers alone, the one that is nearest to being missed, or furthest beyond."""
    kinds: dict[tuple[object, ...], list[Goal]] = {}
    for goal in goals:
        said = _AT.fullmatch(goal.what)
        kinds.setdefault((goal.row, said["what"] if said else goal.what, goal.where, goal.bound), []).append(
            goal
        )
    for (_, what, *_), alike in kinds.items():
        if len(alike) <= _SHOWN:
            yield from alike
        else:
            sign = 1 if alike[0].at_least else -1
            worst = min(alike, key=lambda goal: sign * goal.figure.median)
            yield worst._replace(what=f"{what}, the worst of {len(alike)}")


def _crowds(facts: Sequence[Fact]) -> Iterable[str]:
    tables: dict[tuple[str, str, str], dict[str, dict[int, str]]] = {}
    for fact in facts:
        if said := _AT.fullmatch(fact.what):
            table = tables.setdefault((said["what"], said["latency"], fact.unit), {})
            table.setdefault(fact.where, {})[int(said["callers"])] = number(fact.figure.median)
    for (what, latency, unit), rows in tables.items():
        if all(len(cells) == 1 for cells in rows.values()) or "SDK's" in what:
            continue
        callers = sorted({one for cells in rows.values() for one in cells})
        heads = " | ".join(f"{one:,}" for one in callers)
        lines = [f"| {what} ({unit}), {latency} ms; callers: | {heads} |", f"|---|{'---:|' * len(callers)}"]
        lines += [
            f"| {where} | {' | '.join(cells.get(one, '') for one in callers)} |"
            for where, cells in rows.items()
        ]
        yield "\n".join(lines)


def _spent(facts: Sequence[Fact]) -> str:
    rows: dict[str, list[str]] = {}
    for fact in facts:
        rows.setdefault(fact.what, []).append(f"{fact.where} {fact.figure.median:.0f} %")
    lines = ["| CPU of | the most of it |", "|---|---|"]
    return "\n".join(lines + [f"| {what} | {' · '.join(parts)} |" for what, parts in rows.items()])


def _curves(curves: Sequence[Curve]) -> str:
    lines = ["| | what | figure | at | exponent |", "|---|---|---|---|---:|"]
    for curve in curves:
        points = " · ".join(f"{size:,}: {number(value)}" for size, value in curve.points)
        lines.append(
            f"| {curve.row} | {curve.what} ({curve.of}) | {curve.unit} | {points} | {curve.slope:.2f} |"
        )
    return "\n".join(lines)


def _other(fact: Fact) -> str:
    return f"| {fact.what} | {fact.where} | {_shown(fact)} |"


def replaced(page: str, tables: str) -> str:
    """The page with these tables between its marks. Raises ValueError for one without them."""
    before, begin, rest = page.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise ValueError(f"the page has no {_BEGIN} followed by {_END}")
    return f"{before}{begin}\n\n{tables}\n{end}{after}"


def write(page: Path, lines: Iterable[Line], machine: Mapping[str, object]) -> None:
    """Put the tables into the page."""
    page.write_text(replaced(page.read_text(), document(lines, machine)))
