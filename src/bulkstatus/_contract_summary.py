"""A pytest plug-in that says at the end of a run which level of the contract each adapter keeps.

It imports nothing of bulkstatus: every run of pytest loads it, where bulkstatus is installed. What it tells, the tests
of `bulkstatus.testing.contract` have noted on themselves, so that it also comes from other processes (pytest-xdist).
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import pytest

PROPERTY = "bulkstatus_contract"
LEVELS = (1, 2, 3)


class _Kept(NamedTuple):
    """One promise, tried; what the adapter offers, lacks for the next level, and how many promises are due of it.

    `left_out` are the levels of those that its tests have taken out.
    """

    level: int
    offers: str
    lacks: str
    due: int
    left_out: list[int]
    held: bool


def pytest_terminal_summary(terminalreporter: "pytest.TerminalReporter") -> None:
    """Write one line for each adapter."""
    tried: dict[tuple[str, str], list[_Kept]] = {}
    for who, kept in _tried(terminalreporter):
        tried.setdefault(who, []).append(kept)
    words = [word for word, _ in tried]
    for (word, name), promises in sorted(tried.items()):
        terminalreporter.write_line(_line(word if words.count(word) == 1 else f"{word} ({name})", promises))


def _tried(reporter: "pytest.TerminalReporter") -> Iterator[tuple[tuple[str, str], _Kept]]:
    """Every promise that was tried, by the provider's word and the name of the class."""
    for outcome in ("passed", "failed", "error"):
        reports: list[Any] = reporter.stats.get(outcome, [])
        for report in reports:
            for name, value in getattr(report, "user_properties", ()):
                if name == PROPERTY:
                    word, cls, level, offers, lacks, due, left_out = value
                    kept = _Kept(level, offers, lacks, due, left_out, outcome == "passed")
                    yield (word, cls), kept


def _line(word: str, promises: list[_Kept]) -> str:
    broken = [promise.level for promise in promises if not promise.held]
    _, offers, lacks, due, left_out, _ = promises[-1]
    score = f"{len(promises) - len(broken)} promises held, {len(broken)} broken"
    if left_out:
        score += f", {len(left_out)} left out"
    if len(promises) + len(left_out) < due:
        return f"bulkstatus contract: {word}: {len(promises)} of {due} promises tried, {score}"
    level = min([max(LEVELS) - bool(lacks), *(each - 1 for each in (*broken, *left_out))])
    line = f"bulkstatus contract: {word}: level {level} ({offers}), {score}"
    missing = "mend what is broken there" if broken else "keep what is left out there" if left_out else lacks
    return f"{line}; for level {level + 1}: {missing}" if missing else line
