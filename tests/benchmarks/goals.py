"""How fast bulkstatus is, side by side with others, and whether the goals hold.

python tests/benchmarks/goals.py              all of it, some ten minutes; needs --group bench
python tests/benchmarks/goals.py --check      ends with 1 when a goal is missed
python tests/benchmarks/goals.py --only decoding --rounds 5
python tests/benchmarks/goals.py --json FILE  the figures, as well as the table
"""

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # as pytest does: this file may be run by itself

from benchmarks.speed import asking, decoding, paging, server, starting
from benchmarks.speed.measure import Fact, Goal, Spread

Line = Goal | Fact


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - a command line


def _waiting(_base: str, _rounds: int) -> Iterator[Line]:
    """Goals 10 to 12: the simulator, on virtual time."""
    from benchmarks import simulate

    found = [("10", simulate.by_age(law)) for law in simulate.DURATIONS]
    found += [("11", goal) for goal in simulate.by_counts()]
    found += [("12", goal) for goal in (*simulate.by_list(), simulate.by_list_in_an_hour())]
    for row, goal in found:
        unit = "s" if goal.name.endswith(", s") else "x"
        figure = Spread(goal.reached, goal.reached, goal.reached)
        yield Goal(row, goal.name.removesuffix(", s"), "", figure, goal.most, unit=unit)


PARTS: dict[str, Callable[[str, int], Iterator[Line]]] = {
    "decoding": lambda _, rounds: decoding.measured(rounds * 3),
    "asking": asking.measured,
    "paging": paging.measured,
    "starting": lambda base, rounds: starting.measured(base, rounds * 3),
    "waiting": _waiting,
}


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _row(line: Line) -> str:
    figure = line.figure
    shown = f"{_number(figure.median)} {line.unit} ({_number(figure.low)} to {_number(figure.high)})"
    if isinstance(line, Fact):
        return f"| | {line.what} | {line.where} | {shown} | | |"
    bound = f"{'≥' if line.at_least else '≤'} {line.bound:g}"
    return f"| {line.row} | {line.what} | {line.where} | {shown} | {bound} | {'yes' if line.holds else '**no**'} |"


def _document(lines: Iterable[Line]) -> dict[str, object]:
    machine = {
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "system": platform.system(),
        "machine": platform.machine(),
    }
    figures = [
        {"kind": type(line).__name__.lower(), **line._asdict(), "figure": line.figure._asdict()}
        | ({"holds": line.holds} if isinstance(line, Goal) else {})
        for line in lines
    ]
    return {"machine": machine, "figures": figures}


def main() -> int:
    """The command."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--check", action="store_true")
    words.add_argument("--only", choices=PARTS, action="append")
    words.add_argument("--rounds", type=int, default=5)
    words.add_argument("--json", type=Path)
    asked = words.parse_args()
    began = time.perf_counter()
    found: list[Line] = []
    _say("| goal | what | where | median (quarters) | bound | holds |\n|---|---|---|---|---|---|")
    with server.running() as base:
        for name in asked.only or PARTS:
            for line in PARTS[name](base, asked.rounds):
                found.append(line)
                _say(_row(line))
    if asked.json:
        asked.json.write_text(json.dumps(_document(found), indent=1) + "\n")
    goals = [line for line in found if isinstance(line, Goal)]
    missed = [goal for goal in goals if not goal.holds]
    _say(f"\n{len(goals) - len(missed)} of {len(goals)} goals hold; {time.perf_counter() - began:.0f} s.")
    return 1 if asked.check and missed else 0


if __name__ == "__main__":
    sys.exit(main())
