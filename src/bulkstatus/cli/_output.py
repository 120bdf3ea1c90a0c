"""Writing to stdout: tables, JSON, CSV and names. Only data goes there."""

import csv
import errno
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import chain
from typing import TYPE_CHECKING

import msgspec

from bulkstatus import BulkOperation, BulkStatus, Report, printable, with_payload
from bulkstatus.cli._options import Format
from bulkstatus.cli._text import (
    age,
    clock,
    detail,
    failure_line,
    latest,
    one_word,
    progress,
    say,
    skipped_line,
    state,
    tell,
    word,
)

if TYPE_CHECKING:
    from rich.console import Console

_FLUSH_EVERY = 100
_MOST_TOLD = 20
_CELL = 32_000  # a spreadsheet's cell holds 32,767 characters
_PLAIN_NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]+)?(?:e[+-][0-9]+)?", re.ASCII)
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\0", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_NOT_ASCII = re.compile(r"[^\x00-\x7e]")
# What printable() would escape, as far as JSON does not escape it already.
_HIDDEN = re.compile(
    "[\x7f-\x9f\u00ad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u180e\u200b-\u200f\u2028-\u202e"
    "\u2060-\u206f\ufe00-\ufe0f\ufeff\ufff9-\ufffb\U000110bd\U000110cd\U00013430-\U0001343f"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)

STATUS_COLUMNS = (
    "source",
    "id",
    "state",
    "provisional",
    "native_state",
    "phase",
    "total",
    "succeeded",
    "failed",
    "cancelled",
    "running",
    "queued",
    "created_at",
    "started_at",
    "updated_at",
    "finished_at",
    "observed_at",
    "action",
    "error",
    "gone_at",
    "overdue",
    "stuck",
)
_MARKS = frozenset({"overdue", "stuck"})
_COUNTS = frozenset({"total", "succeeded", "failed", "cancelled", "running", "queued"})
OPERATION_COLUMNS = ("sequence", "id", "state", "native_state", "method", "path", "error")
_PAYLOADS = ("request", "response")
# Rows of operations are printed as they come, so their columns are as wide as the values usually are.
_OPERATION_WIDTHS = (8, 24, 9, 12, 6, 24, 0)


def report(found: Report, form: Format) -> None:
    """Write a report to stdout, and what could not be asked to stderr."""
    if form == "json":
        document(found)
    elif form == "jsonl":
        lines(map(to_json, found))
    elif form == "csv":
        table_csv(STATUS_COLUMNS, map(status_cells, found))
    elif form == "name":
        lines(map(name, found))
    else:
        status_tables([found.statuses])
    sys.stdout.flush()
    tell_what_is_missing(found)


def tell_what_is_missing(found: Report) -> None:
    """Write to stderr what could not be asked, and what was not."""
    for failure in found.failures[:_MOST_TOLD]:
        tell(failure_line(failure))
    if len(found.failures) > _MOST_TOLD:
        say(f"and {len(found.failures) - _MOST_TOLD:,} more could not be asked; -o json names all")
    for skipped in found.skipped:
        tell(skipped_line(skipped))


def name(status: BulkStatus) -> str:
    """A bulk as the next command takes it."""
    return one_word(str(status.ref))


def operations(rows: Iterable[BulkOperation], form: Format, *, payload: bool) -> None:
    """Write operations to stdout as they come. Payloads only where `payload` asks for them.

    When the rows end in an error, those before it are written, and a JSON array is left open: nobody shall take it
    for the whole.
    """
    columns = OPERATION_COLUMNS + (_PAYLOADS if payload else ())
    if form == "csv":
        table_csv(columns, (operation_cells(row, columns) for row in rows))
    elif form == "name":
        lines(one_word(row.id) for row in rows if row.id)
    elif form == "table":
        lines(_operation_lines(rows, columns))
    else:
        encoded = (to_json(with_payload(row) if payload else row) for row in rows)
        lines(encoded if form == "jsonl" else array(encoded))


def to_json(value: object) -> str:
    """One line of JSON that any terminal and any encoding can take."""
    return _escape(msgspec.json.encode(value).decode())


def document(value: object) -> None:
    """Write one JSON document, indented."""
    lines([_escape(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())])


def _escape(text: str) -> str:
    if text.isascii() and "\x7f" not in text:
        return text  # nearly always, and told in a hundredth of the time that looking for all of them takes
    encoding = (sys.stdout.encoding or "ascii").lower().replace("-", "").replace("_", "")
    unsafe = _HIDDEN if encoding.startswith("utf") else _NOT_ASCII
    return unsafe.sub(lambda match: json.dumps(match.group())[1:-1], text)


def lines(texts: Iterable[str]) -> None:
    """Write lines; the first at once, so that a reader sees that there is something."""
    for number, text in enumerate(texts):
        sys.stdout.write(f"{text}\n")
        if number % _FLUSH_EVERY == 0:
            sys.stdout.flush()


def array(encoded: Iterable[str]) -> Iterator[str]:
    """The lines of a JSON array of values that are JSON already."""
    rows = iter(encoded)
    first = next(rows, None)
    if first is None:
        yield "[]"
        return
    held = first
    yield "["
    for row in rows:
        yield f"{held},"
        held = row
    yield held
    yield "]"


def table_csv(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write a header and rows as CSV; cells are made by `cell`."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(columns)
    for number, row in enumerate(rows):
        writer.writerow(row)
        if number % _FLUSH_EVERY == 0:
            sys.stdout.flush()


def cell(value: object, *, numeric: bool = False) -> str:
    """One cell of CSV: empty for None, `true` or `false`, else one printable line, and never what a spreadsheet takes for a formula."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    text = clock_exact(value) if isinstance(value, datetime) else str(value)
    if numeric and _PLAIN_NUMBER.fullmatch(text):
        return text
    guard = "'" if text.lstrip(" \u00a0\u3000").startswith(_FORMULA) else ""
    return guard + printable(text, _CELL)


def clock_exact(moment: datetime) -> str:
    """A time in UTC with all its digits, as JSON has it."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def status_cells(status: BulkStatus) -> list[str]:
    """A bulk as a row of CSV. That it is late is `true` or empty: the figures are in the JSON forms."""
    return [_status_cell(status, name) for name in STATUS_COLUMNS]


def _status_cell(status: BulkStatus, name: str) -> str:
    if name in _COUNTS:
        return cell(None if status.counts is None else getattr(status.counts, name), numeric=True)
    value = getattr(status, name)
    return cell(None if value is None else True) if name in _MARKS else cell(value)


def operation_cells(row: BulkOperation, columns: Sequence[str]) -> list[str]:
    """An operation as a row of CSV."""
    return [cell(getattr(row, name), numeric=name == "sequence") for name in columns]


def _operation_lines(rows: Iterable[BulkOperation], columns: Sequence[str]) -> Iterator[str]:
    widths = (*_OPERATION_WIDTHS[:-1], *(24 for _ in columns[len(_OPERATION_WIDTHS) :]), 0)

    def line(values: Iterable[str]) -> str:
        return "  ".join(f"{value:<{width}}" for value, width in zip(values, widths, strict=True)).rstrip()

    yield line(name.replace("native_state", "word").upper() for name in columns)
    for row in rows:
        values = (getattr(row, name) for name in columns)
        yield line("-" if value is None else printable(str(value)) for value in values)


def on_terminal() -> bool:
    """True when stdout is a terminal that can do more than print lines."""
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def console() -> "Console":
    """A rich console on stdout that never reads markup, and leaves a broken pipe to `main`."""
    from rich.console import Console

    class Quiet(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))

    return Quiet(file=sys.stdout, markup=False, emoji=False, highlight=False, soft_wrap=False)


def status_tables(batches: Iterable[Sequence[BulkStatus]]) -> None:
    """Write batches of bulks as they come, as one table; its columns are as wide as the first batch needs."""
    now = datetime.now(UTC)
    coming = iter(batches)
    first = next(coming, ())
    if on_terminal():
        from bulkstatus.cli import _live

        screen = console()
        for grid in _live.status_tables(chain([first], coming), screen, now):
            screen.print(grid)
        return
    headers = ("REF", "STATE", "PROGRESS", "WORD", "SINCE", "DETAIL")
    widths = plain_table(headers, [_status_row(status, now) for status in first])
    sys.stdout.flush()
    for batch in coming:
        rows = [_status_row(status, now) for status in batch]
        widths = [
            max(width, *map(len, column))
            for width, column in zip(widths, zip(*rows, strict=True), strict=True)
        ]
        _aligned(rows, widths)
        sys.stdout.flush()


def _status_row(status: BulkStatus, now: datetime) -> tuple[str, ...]:
    return (
        printable(str(status.ref)),
        state(status),
        progress(status.counts),
        word(status),
        _since(status, now),
        detail(status),
    )


def _since(status: BulkStatus, now: datetime) -> str:
    last = latest(status)
    return "" if last is None else f"{age(status, now)} ({clock(last[1])})"


def plain_table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    """Write aligned columns without colour; `-` where nothing was said. Nothing is cut. Gives the columns' widths."""
    widths = [max(len(value or "-") for value in column) for column in zip(headers, *rows, strict=True)]
    _aligned([headers, *rows], widths)
    return widths


def _aligned(rows: Iterable[Sequence[str]], widths: Sequence[int]) -> None:
    lines(
        "  ".join(f"{value or '-':<{width}}" for value, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def table(
    headers: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    style: Callable[[str, str], str] = lambda _header, _value: "",
) -> None:
    """Write a table: folded to the screen on a terminal, with the style of each header and value; else plain."""
    rows = [[printable(value, _CELL) for value in row] for row in rows]
    if not on_terminal():
        plain_table([header.upper() for header in headers], rows)
        return
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for header in headers:
        grid.add_column(header, overflow="fold", header_style="bold")
    for row in rows:
        grid.add_row(
            *(
                Text(value or "-", style=style(header, value))
                for header, value in zip(headers, row, strict=True)
            )
        )
    console().print(grid)
