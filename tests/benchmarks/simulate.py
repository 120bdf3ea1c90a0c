"""What the waiting of bulkstatus costs and how late it notices, on virtual time: tables in markdown.

python tests/benchmarks/simulate.py              small sizes and the goals
python tests/benchmarks/simulate.py --full       sizes up to 20,000 jobs besides
python tests/benchmarks/simulate.py --million    a million jobs in a day, which takes most of an hour
python tests/benchmarks/simulate.py --check      small sizes; ends with 1 when a goal is missed
python tests/benchmarks/simulate.py --truth N    waits with N requests in which providers fail in every way
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))  # as pytest does: this file may be run by itself

from benchmarks.truth import campaign
from benchmarks.world import (
    DAY,
    DURATIONS,
    FIVE_MINUTES,
    HOUR,
    Doubling,
    Figures,
    Fixed,
    Limit,
    Provider,
    durations,
    fixed_alone,
    one_by_one,
    solve,
    spread,
    together,
    walk_alone,
)
from bulkstatus._polling import PRESETS, PollPolicy

POLICIES: dict[str, PollPolicy] = {
    **PRESETS,
    "fixed 5 s": Fixed(every=5),
    "fixed 30 s": Fixed(every=30),
    "fixed 60 s": Fixed(every=60),
    "doubling to 60 s": Doubling(),
}
_APART = 300.0
# So small that it does not hide what an interval does to jobs of 2 s.
_SHORT_LATENCY = 0.01


def alone(law: str, policy: PollPolicy, number: int = 300, **options: object) -> Figures:
    """Jobs by themselves, asked for by id, without a limit."""
    arrivals = [index * _APART for index in range(number)]
    return one_by_one(Provider(**options), law, arrivals, policy)


def within(number: int, seconds: float, limit: Limit, policy: PollPolicy, **options: object) -> Figures:
    """Jobs that appear at random moments within some time, each with a wait of its own, within a limit."""
    arrivals = spread(number, seconds, seed=1)
    return one_by_one(Provider(**options), "lognormal", arrivals, policy, limits=(limit,))


# --- goals ---


class Goal(NamedTuple):
    """A number to reach, and what was reached."""

    name: str
    reached: float
    most: float

    @property
    def is_met(self) -> bool:
        """True when it was reached."""
        return self.reached <= self.most


def by_age(law: str, number: int = 2_000, seed: int = 1) -> Goal:
    """10 % mean relative delay by age alone, against a fixed interval."""
    lasts = durations(law, number, seed)

    def ours(base: float) -> tuple[float, float]:
        policy = PollPolicy(base=base)
        return walk_alone(lasts, policy, _SHORT_LATENCY, floor=0.05, ceiling=1e6, seed=seed)

    base = solve(lambda base: ours(base)[1], 0.1, 1.0)
    every = solve(lambda every: fixed_alone(lasts, every, _SHORT_LATENCY)[2], 0.1, 1.0)
    fixed = fixed_alone(lasts, every, _SHORT_LATENCY)[0]
    return Goal(f"requests by age / fixed, 10 % late, {law}", ours(base)[0] / fixed, 0.4)


def by_counts() -> list[Goal]:
    """With counts, against a fixed interval of 5 s."""
    ours, fixed = (
        alone("lognormal", PRESETS["default"], counts=True),
        alone("lognormal", POLICIES["fixed 5 s"]),
    )
    return [
        Goal("requests with counts / fixed 5 s", ours.requests / fixed.requests, 0.35),
        Goal("mean delay with counts / fixed 5 s", ours.mean / fixed.mean, 1.0),
    ]


def by_list() -> list[Goal]:
    """A hundred jobs in a list, with the `base` that is no later than asking for each every 5 s."""
    fixed = together(Provider(), "lognormal", 100, POLICIES["fixed 5 s"])

    def run(base: float) -> Figures:
        return together(Provider(listing=True), "lognormal", 100, PollPolicy(base=base))

    base = solve(lambda base: run(base).mean, fixed.mean, 1.0)
    while run(base).mean > fixed.mean:  # it does not quite grow with `base`
        base *= 0.9
    ours = run(base)
    return [
        Goal("requests for 100 in a list / by id every 5 s", ours.requests / fixed.requests, 0.15),
        Goal("mean delay for 100 in a list / by id every 5 s", ours.mean / fixed.mean, 1.0),
    ]


def by_list_in_an_hour() -> Goal:
    """10,000 jobs within an hour in a list, under 1,200 requests in 5 minutes."""
    ours = within(10_000, HOUR, FIVE_MINUTES[0], PRESETS["default"], listing=True)
    late = ours.mean if not (ours.over_budget or ours.throttled or ours.missed) else float("inf")
    return Goal("mean delay of 10,000 in an hour in a list, s", late, 10.0)


# --- tables ---

_HEAD = (
    "requests per job",
    "mean delay, s",
    "median, s",
    "p95, s",
    "of the duration",
    "over budget",
    "unseen",
)


def row(name: str, found: Figures) -> str:
    """One line of a table."""
    cells = (
        name,
        f"{found.requests:.2f}",
        f"{found.mean:.1f}",
        f"{found.median:.1f}",
        f"{found.p95:.1f}",
        f"{found.relative:.0%}",
        f"{found.over_budget + found.throttled}",
        f"{found.missed:,}",
    )
    return f"| {' | '.join(cells)} |"


def table(title: str, rows: Iterable[tuple[str, Callable[[], Figures]]]) -> None:
    """Print a table, each line as soon as it is known."""
    _say(f"\n{title}\n\n| | {' | '.join(_HEAD)} |\n|---|{'---:|' * len(_HEAD)}")
    for name, run in rows:
        _say(row(name, run()))


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - a command line


def small_tables() -> None:
    """One job, and a hundred."""
    for law in DURATIONS:
        table(
            f"One job by itself, by id, {law} durations",
            ((name, lambda policy=policy, law=law: alone(law, policy)) for name, policy in POLICIES.items()),
        )
    table(
        "One job by itself, by id, with counts, lognormal durations",
        ((name, lambda name=name: alone("lognormal", PRESETS[name], counts=True)) for name in PRESETS),
    )
    for words, options in _WAYS.items():
        table(
            f"100 jobs that begin together, {words}",
            (
                (name, lambda p=policy, o=options: together(Provider(**o), "lognormal", 100, p))
                for name, policy in POLICIES.items()
            ),
        )


_WAYS: dict[str, dict[str, bool]] = {
    "by id": {},
    "in a list": {"listing": True},
    "in a list whose ends have to be confirmed by id": {"listing": True, "provisional": True},
}


def large_tables() -> None:
    """Ten thousand within an hour, and some minutes of a million a day."""
    for words, options in _WAYS.items():
        table(
            f"10,000 jobs within an hour, {words}, at most {FIVE_MINUTES[0]}",
            (
                (name, lambda p=policy, o=options: within(10_000, HOUR, FIVE_MINUTES[0], p, **o))
                for name, policy in POLICIES.items()
            ),
        )
    million_a_day(20_000)


def million_a_day(number: int) -> None:
    """The rate of a million a day, for so many jobs."""
    # Four questions side by side, each of which takes 0.2 s, are 6,000 in 5 minutes.
    ample = Limit(6_000, 300)
    table(
        f"1,000,000 jobs a day, of which {number:,} are followed, at most {ample}",
        [
            (
                "in a list, default",
                lambda: within(number, number * DAY / 1e6, ample, PRESETS["default"], listing=True),
            )
        ],
    )


def goals() -> bool:
    """Print how the goals stand; True when all are met."""
    found = [by_age(law) for law in DURATIONS] + by_counts() + by_list()
    found.append(by_list_in_an_hour())
    _say("\nGoals\n\n| goal | reached | at most | |\n|---|---:|---:|---|")
    for goal in found:
        _say(f"| {goal.name} | {goal.reached:.2f} | {goal.most:g} | {'met' if goal.is_met else 'MISSED'} |")
    return all(goal.is_met for goal in found)


def main() -> int:
    """Run the command."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--full", action="store_true")
    words.add_argument("--check", action="store_true")
    words.add_argument("--million", action="store_true")
    words.add_argument("--truth", type=int, metavar="N")
    asked = words.parse_args()
    began = time.perf_counter()
    if asked.truth:
        wrong, summary = campaign(asked.truth, say=_say)
        _say(summary)
        met = not wrong
    elif asked.million:
        million_a_day(1_000_000)
        met = True
    else:
        if not asked.check:
            small_tables()
        met = goals()
        if asked.full:
            large_tables()
    _say(f"\nTook {time.perf_counter() - began:.0f} s.")
    return 1 if (asked.check or asked.truth) and not met else 0


if __name__ == "__main__":
    sys.exit(main())
