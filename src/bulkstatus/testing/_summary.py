"""Which level of the contract each adapter keeps, as the end of a run of pytest tells it.

The tests of `bulkstatus.testing.contract` note on themselves what is told here, so that it also comes from other
processes (pytest-xdist).
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

PROPERTY = "bulkstatus_contract"
LEVELS = (1, 2, 3)


class Note(NamedTuple):
    """One promise that was tried; what the adapter offers, lacks for the next level, and how many promises are due of it.

    `left_out` are the levels of those that its tests have taken out.
    """

    word: str
    name: str
    level: int
    offers: str
    lacks: str
    due: int
    left_out: list[int]


Tried = tuple[Note, bool]
"""A promise, and whether it held."""


def lines(stats: Mapping[str, Sequence[Any]]) -> Iterator[str]:
    """One line for each adapter, by its provider's word and the name of its test class; `stats` are pytest's reports."""
    tried: dict[tuple[str, str], list[Tried]] = {}
    for note, held in _tried(stats):
        tried.setdefault((note.word, note.name), []).append((note, held))
    words = [word for word, _ in tried]
    for (word, name), promises in sorted(tried.items()):
        yield _line(word if words.count(word) == 1 else f"{word} ({name})", promises)


def _tried(stats: Mapping[str, Sequence[Any]]) -> Iterator[Tried]:
    for outcome in ("passed", "failed", "error"):
        for report in stats.get(outcome, ()):
            for name, value in getattr(report, "user_properties", ()):
                if name == PROPERTY:
                    yield Note(*value), outcome == "passed"


def _line(word: str, promises: Sequence[Tried]) -> str:
    broken = [note.level for note, held in promises if not held]
    last, _ = promises[-1]
    score = f"{len(promises) - len(broken)} promises held, {len(broken)} broken"
    if last.left_out:
        score += f", {len(last.left_out)} left out"
    if len(promises) + len(last.left_out) < last.due:
        return f"bulkstatus contract: {word}: {len(promises)} of {last.due} promises tried, {score}"
    level = min([max(LEVELS) - bool(last.lacks), *(each - 1 for each in (*broken, *last.left_out))])
    line = f"bulkstatus contract: {word}: level {level} ({last.offers}), {score}"
    missing = (
        "mend what is broken there"
        if broken
        else "keep what is left out there"
        if last.left_out
        else last.lacks
    )
    return f"{line}; for level {level + 1}: {missing}" if missing else line
