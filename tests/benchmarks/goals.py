"""How fast bulkstatus is, side by side with others, how its cost grows, and whether the goals hold.

python tests/benchmarks/goals.py              all of it, in less than fifteen minutes; needs --group bench
python tests/benchmarks/goals.py --quick      fewer rounds and smaller sizes, in two to three minutes
python tests/benchmarks/goals.py --check      ends with 1 when a goal is missed
python tests/benchmarks/goals.py --only decoding --rounds 5
python tests/benchmarks/goals.py --json FILE --svg FILE   the figures, and a plot of them, besides the table
python tests/benchmarks/goals.py --docs       the tables and the plot of docs/performance.md, made anew
python tests/benchmarks/goals.py --from FILE  what was written with --json, once more; nothing is measured
"""

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))  # as pytest does: this file may be run by itself

from benchmarks.speed import picture, tables
from benchmarks.speed.measure import Curve, Fact, Goal, Line, Spread

_DOCS = Path(__file__).parents[2] / "docs"


class Plan(NamedTuple):
    """Where the server is, how many rounds, and whether sizes are small."""

    base: str
    rounds: int
    quick: bool


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - a command line


def _decoding(plan: Plan) -> Iterator[Line]:
    from benchmarks.speed import decoding

    return decoding.measured(plan.rounds * 3)


def _asking(plan: Plan) -> Iterator[Line]:
    from benchmarks.speed import asking

    return asking.measured(plan.base, plan.rounds, share=0.5 if plan.quick else 1.0)


def _profile(plan: Plan) -> Iterator[Line]:
    from benchmarks.speed import profile

    return profile.measured(plan.base, 1.0 if plan.quick else 3.0)


def _many(plan: Plan) -> Iterator[Line]:
    from benchmarks.speed import many

    return many.measured(plan.base, plan.rounds)


def _paging(plan: Plan) -> Iterator[Line]:
    from benchmarks.speed import paging

    return paging.measured(plan.base, plan.rounds)


def _streaming(plan: Plan) -> Iterator[Line]:
    from benchmarks.speed import streaming

    return streaming.measured(plan.base, plan.rounds)


def _starting(plan: Plan) -> Iterator[Line]:
    from benchmarks.speed import starting

    return starting.measured(plan.base, plan.rounds * 3)


def _idle(plan: Plan) -> Iterator[Line]:
    from benchmarks.speed import idle

    return idle.measured(idle.PAUSE, polls=2 if plan.quick else 3)


def _journal(plan: Plan) -> Iterator[Line]:
    from benchmarks.speed import streaming

    return streaming.journal(plan.rounds, 0.5 if plan.quick else 1.0)


def _waiting(_: Plan) -> Iterator[Line]:
    """Goals 10 to 12: the simulator, on virtual time."""
    from benchmarks import simulate

    found = [("10", simulate.by_age(law)) for law in simulate.DURATIONS]
    found += [("11", goal) for goal in simulate.by_counts()]
    found += [("12", goal) for goal in (*simulate.by_list(), simulate.by_list_in_an_hour())]
    for row, goal in found:
        unit = "s" if goal.name.endswith(", s") else "x"
        figure = Spread(goal.reached, goal.reached, goal.reached)
        yield Goal(row, goal.name.removesuffix(", s"), "", figure, goal.most, unit=unit)


def _growth(plan: Plan) -> Iterator[Line]:
    from benchmarks.speed import growth

    return growth.measured(plan.base, max(1, plan.rounds // 2), quick=plan.quick)


PARTS: dict[str, Callable[[Plan], Iterator[Line]]] = {
    "decoding": _decoding,
    "asking": _asking,
    "profile": _profile,
    "many": _many,
    "paging": _paging,
    "streaming": _streaming,
    "starting": _starting,
    "idle": _idle,
    "journal": _journal,
    "waiting": _waiting,
    "growth": _growth,
}


def measured(names: Iterable[str], rounds: int, *, quick: bool) -> Iterator[Line]:
    """What these parts find, as they find it."""
    from benchmarks.speed import server

    with server.running() as base:
        for name in names:
            yield from PARTS[name](Plan(base, rounds, quick))


def machine() -> dict[str, object]:
    """When and on what is measured."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def packed(lines: Iterable[Line], on: Mapping[str, object]) -> str:
    """The figures as JSON."""
    figures = []
    for line in lines:
        one: dict[str, object] = {"kind": type(line).__name__.lower(), **line._asdict()}
        if isinstance(line, Curve):
            one["slope"] = line.slope
        else:
            one["figure"] = line.figure._asdict()
        if isinstance(line, Goal):
            one["holds"] = line.holds
        figures.append(one)
    return json.dumps({"machine": on, "figures": figures}, indent=1) + "\n"


def unpacked(text: str) -> tuple[list[Line], dict[str, object]]:
    """The figures that `packed` wrote, and on what they were measured."""
    told = json.loads(text)
    kinds: dict[str, type[Line]] = {"goal": Goal, "fact": Fact, "curve": Curve}
    lines: list[Line] = []
    for one in told["figures"]:
        kind = kinds[one["kind"]]
        members = {name: one[name] for name in kind._fields}
        if kind is Curve:
            members["points"] = tuple((size, value) for size, value in members["points"])
        else:
            members["figure"] = Spread(**members["figure"])
        lines.append(kind(**members))
    return lines, told["machine"]


def _asked(arguments: Sequence[str] | None) -> argparse.Namespace:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--check", action="store_true")
    words.add_argument("--quick", action="store_true")
    words.add_argument("--only", choices=PARTS, action="append")
    words.add_argument("--rounds", type=int)
    words.add_argument("--json", type=Path)
    words.add_argument("--svg", type=Path)
    words.add_argument("--docs", action="store_true")
    words.add_argument("--from", type=Path, dest="source")
    return words.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    asked = _asked(arguments)
    began, on, found = time.perf_counter(), machine(), list[Line]()
    lines: Iterable[Line]
    if asked.source:
        lines, on = unpacked(asked.source.read_text())
    else:
        lines = measured(asked.only or PARTS, asked.rounds or (1 if asked.quick else 3), quick=asked.quick)
    _say(tables.HEAD)
    for line in lines:
        found.append(line)
        _say(tables.row(line))
    if asked.json:
        asked.json.write_text(packed(found, on))
    if asked.svg:
        asked.svg.write_text(picture.drawn(found))
    if asked.docs:
        tables.write(_DOCS / "performance.md", found, on)
        (_DOCS / "performance.svg").write_text(picture.drawn(found))
    goals = [line for line in found if isinstance(line, Goal)]
    missed = [goal for goal in goals if not goal.holds]
    _say(f"\n{len(goals) - len(missed)} of {len(goals)} goals hold; {time.perf_counter() - began:.0f} s.")
    return 1 if asked.check and missed else 0


if __name__ == "__main__":
    sys.exit(main())
