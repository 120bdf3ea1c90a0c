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
    """One promise, tried."""

    level: int
    offers: str
    lacks: str
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
                    word, cls, level, offers, lacks = value
                    yield (word, cls), _Kept(level, offers, lacks, outcome == "passed")


def _line(word: str, promises: list[_Kept]) -> str:
    broken = [promise for promise in promises if not promise.held]
    _, offers, lacks, _ = promises[-1]
    reach = max(LEVELS) - bool(lacks)
    level = min([reach, *(promise.level - 1 for promise in broken)])
    line = (
        f"bulkstatus contract: {word}: level {level} ({offers}), "
        f"{len(promises) - len(broken)} promises held, {len(broken)} broken"
    )
    if broken:
        return f"{line}; for level {level + 1}: mend what is broken there"
    return f"{line}; for level {level + 1}: {lacks}" if lacks else line
