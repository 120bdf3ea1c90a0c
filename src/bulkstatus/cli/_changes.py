"""What the journal tells of steps: all of them behind a cursor, and those of one bulk."""

import errno
import os
import select
import shlex
import shutil
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import chain
from pathlib import Path

import msgspec

from bulkstatus import Counts, Journal, KnownBulk, Transition, printable
from bulkstatus.cli import _exit
from bulkstatus.cli._options import Format, with_journal
from bulkstatus.cli._output import array, cell, document, lines, on_terminal, table_csv, to_json
from bulkstatus.cli._text import clock, length, one_word, progress, say, standing, tell, word
from bulkstatus.errors import ConfigError

NOW = "now"
"""Stands for the cursor at the end of the journal."""
_PAGE = 1_000
_PAUSE = 0.5
_WIDE = 120
_LONGEST_WORD = 80
_LONGEST_COMMAND = 4_500

COUNT_COLUMNS = tuple(f"counts_{name}" for name in Counts.__struct_fields__)
STEP_COLUMNS = (
    "cursor",
    "ref",
    "source",
    "provider",
    "kind",
    "from_state",
    "to_state",
    "from_word",
    "to_word",
    "phase",
    *COUNT_COLUMNS,
    "observed_at",
    "observer",
    "regressed",
    "passed_over",
)
_HEADERS = ("CURSOR", "TIME", "REF", "STEP", "WORD", "PROGRESS", "NOTES", "OBSERVER")


def changes(path: Path | None, after: str | None, form: Format, *, follow: bool, limit: int | None) -> int:
    """Write the steps behind the cursor `after`, with `follow` for ever; return the exit code."""
    if limit is not None and limit < 1:
        raise ConfigError(f"--limit {limit} is too small: write 1 or more")
    if follow and form == "json":
        raise ConfigError(
            "--follow goes on for ever, and a JSON document has an end: write -o jsonl, a step a line"
        )
    end = with_journal(path, partial(_write, after=after, form=form, follow=follow, limit=limit))
    if end is not None:
        given = () if path is None else ("--journal", str(path))
        command = shlex.join(("bulkstatus", "changes", "--after", end, *given))
        say(f"to go on: {command}", limit=_LONGEST_COMMAND)
    return _exit.OK


def _write(
    journal: Journal, *, after: str | None, form: Format, follow: bool, limit: int | None
) -> str | None:
    """Write the steps, and give the cursor behind the last; None when there is nothing to go on with."""
    coming = _Coming(journal, journal.cursor() if after == NOW else after, limit)
    steps(coming.followed() if follow else coming.kept(), form)
    sys.stdout.flush()  # what is behind the cursor that is named then has been given away
    if follow:
        return None
    if not coming.number:
        say(f"no step is kept in {journal.path}{'' if after is None else ' behind this cursor'}")
    return coming.after or journal.cursor()


class _Coming:
    """The steps behind the cursor `after`, a page at a time, at most `limit` in all.

    `after` moves on with them, and `number` counts them.
    """

    def __init__(self, journal: Journal, after: str | None, limit: int | None) -> None:
        self.after = after
        self.number = 0
        self._journal = journal
        self._limit = limit

    def kept(self) -> Iterator[Sequence[Transition]]:
        """Those that are kept now."""
        while (most := self._most()) and (page := self._journal.changes(self.after, limit=most)):
            self.after = page[-1].cursor
            self.number += len(page)
            yield page

    def followed(self) -> Iterator[Sequence[Transition]]:
        """Those that are kept now and those that come; what was given is on its way to its reader meanwhile."""
        yield from self.kept()
        while self._most():
            sys.stdout.flush()
            _pause()
            yield from self.kept()

    def _most(self) -> int:
        return _PAGE if self._limit is None else min(_PAGE, self._limit - self.number)


def _pause() -> None:
    """Wait a little. Raises BrokenPipeError when nobody reads the output any more: it may be long until the next step."""
    if sys.platform == "win32":
        time.sleep(_PAUSE)
        return
    reader = select.poll()
    reader.register(sys.stdout.fileno(), 0)
    events = reader.poll(_PAUSE * 1_000)
    if any(event & (select.POLLERR | select.POLLHUP) for _, event in events):
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
    if events:
        time.sleep(_PAUSE)  # what cannot be polled, as terminals on macOS


# --- the forms of steps ---


def steps(pages: Iterable[Sequence[Transition]], form: Format, *, of_one: bool = False) -> None:
    """Write steps to stdout as their pages come; with `of_one` they are all of the same bulk."""
    rows = chain.from_iterable(pages)
    if form == "csv":
        table_csv(STEP_COLUMNS, (cells(flat_step(row)) for row in rows))
    elif form == "name":
        lines(one_word(row.ref) for row in rows)
    elif form == "table":
        lines(_step_lines(pages, _columns(of_one=of_one)))
    else:
        encoded = map(to_json, rows)
        lines(encoded if form == "jsonl" else array(encoded))


def flat_step(step: Transition) -> list[object]:
    """The values of a step, one for each of STEP_COLUMNS."""
    facts = {
        **msgspec.structs.asdict(step),
        **flat_counts(step.counts),
        "passed_over": " ".join(step.passed_over) or None,
    }
    return [facts[name] for name in STEP_COLUMNS]


def flat_counts(counts: Counts | None) -> dict[str, int | None]:
    """Counts as columns; None for what was not said."""
    values = (None,) * len(COUNT_COLUMNS) if counts is None else msgspec.structs.astuple(counts)
    return dict(zip(COUNT_COLUMNS, values, strict=True))


def cells(values: Iterable[object]) -> list[str]:
    """Values as a row of CSV."""
    return [cell(value, numeric=isinstance(value, int | float)) for value in values]


def _columns(*, of_one: bool) -> list[int]:
    """Which columns are shown: not what is the same in all rows, and on a narrow terminal not what can be spared."""
    left_out = {"REF"} if of_one else set[str]()
    if on_terminal() and shutil.get_terminal_size().columns < _WIDE:
        left_out |= {"PROGRESS", "OBSERVER"}
    return [index for index, header in enumerate(_HEADERS) if header not in left_out]


def _step_lines(pages: Iterable[Sequence[Transition]], columns: Sequence[int]) -> Iterator[str]:
    """One line a step, below a header; columns are as wide as the widest value so far."""
    headers = [_HEADERS[index] for index in columns]
    widths = [len(header) for header in headers]
    header: Sequence[Sequence[str]] = [headers]
    for page in pages:
        values = (_step_row(step) for step in page)
        rows = [*header, *([row[index] for index in columns] for row in values)]
        header = ()
        widths = [max(width, *map(len, column)) for width, *column in zip(widths, *rows, strict=True)]
        for row in rows:
            yield "  ".join(f"{value:<{width}}" for value, width in zip(row, widths, strict=True)).rstrip()


def _step_row(step: Transition) -> tuple[str, ...]:
    row = (
        step.cursor,
        clock(step.observed_at),
        printable(step.ref),
        f"{step.from_state or 'new'} -> {_standing(step)}",
        _words(step),
        _counted(step.counts),
        ", ".join(_notes(step)),
        printable(step.observer),
    )
    return tuple(value or "-" for value in row)


def _standing(step: Transition) -> str:
    waits = step.phase == "awaiting_action" and step.to_state is not None and not step.to_state.is_terminal
    return f"{step.to_state or 'gone'}{', awaits somebody' if waits else ''}"


def _words(step: Transition) -> str:
    """The provider's words, the one alone where there is only one or it stayed the same."""
    known = [printable(text, _LONGEST_WORD) for text in (step.from_word, step.to_word) if text]
    return " -> ".join(dict.fromkeys(known))


def _counted(counts: Counts | None) -> str:
    failed = f"{counts.failed:,} failed" if counts is not None and counts.failed else ""
    return ", ".join(filter(None, (progress(counts), failed)))


def _notes(step: Transition) -> Iterator[str]:
    if step.regressed:
        yield "regressed"
    if step.passed_over:
        yield f"{' and '.join(step.passed_over)} passed over"
    if step.kind == "gone":
        yield "gone: the provider does not know it any more"
    if step.kind == "returned":
        yield "back: the provider knows it again"
    if step.phase and step.phase != "awaiting_action":
        yield f"phase {printable(step.phase, _LONGEST_WORD)}"


# --- one bulk ---


def history(path: Path | None, ref: str, form: Format) -> int:
    """Write what the journal knows of the bulk `ref`; return the exit code."""
    bulks, found, file = with_journal(
        path, lambda journal: (journal.find(ref), journal.history(ref, limit=sys.maxsize), journal.path)
    )
    if not bulks:
        shown = printable(ref)
        say(
            f"{shown} is not in {file}: 'bulkstatus get {shown}' asks for it, 'bulkstatus track {shown}' keeps it"
        )
        return _exit.NOT_FOUND
    if form == "json":
        document({"bulks": bulks, "steps": found})
    elif form == "name":
        lines([one_word(ref)])
    elif form == "table":
        for bulk in bulks:
            lines(_about(bulk))
        if found:
            lines(["steps"])
            steps([found], form, of_one=True)
        else:
            tell(f"{printable(ref)} has not been seen yet: no step is kept")
    else:
        steps([found], form)
    return _exit.OK


def _about(bulk: KnownBulk) -> Iterator[str]:
    status = bulk.status
    yield f"{printable(bulk.ref)} ({printable(bulk.provider)})"
    yield _line("realm", printable(bulk.realm))
    yield _line("tracked", "no" if bulk.tracked_at is None else f"since {clock(bulk.tracked_at)}")
    if bulk.note is not None:
        yield _line("note", printable(bulk.note))
    if bulk.labels:
        yield _line("labels", printable(", ".join(f"{key}={value}" for key, value in bulk.labels.items())))
    if status is None:
        return
    yield _line("state", "  ".join(filter(None, (standing(status), word(status), _counted(status.counts)))))
    moments = (
        ("first seen", bulk.first_seen_at),
        ("last moved", bulk.moved_at),
        ("last seen", status.observed_at),
        ("ended", bulk.ended_at),
    )
    for label, moment in moments:
        if moment is not None:
            yield _line(label, clock(moment))
    if bulk.duration is not None:
        yield _line("took", length(bulk.duration))
    if bulk.gone_at is not None:
        how = "" if status.state.is_terminal else "; how it ended is not known"
        yield _line("gone", f"{clock(bulk.gone_at)}: the provider does not know it any more{how}")


def _line(label: str, text: str) -> str:
    return f"  {label:<11} {text}"
