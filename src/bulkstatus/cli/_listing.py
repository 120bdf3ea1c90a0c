"""`list`: rows as they become known, so that a long list begins at once."""

import sys
from collections.abc import Iterator, Sequence

from bulkstatus import BulkStatus, ListPages, Report
from bulkstatus.cli._options import Format
from bulkstatus.cli._output import (
    STATUS_COLUMNS,
    document,
    lines,
    name,
    on_terminal,
    status_cells,
    status_tables,
    table_csv,
    tell_what_is_missing,
    to_json,
)

# What comes within so many seconds is shown together: on a terminal a table, which cannot be mended afterwards.
_TOGETHER, _TOGETHER_ON_TERMINAL = 0.2, 0.6


def show(pages: ListPages, form: Format, sources: Sequence[str]) -> Report:
    """Write a list to stdout as it comes, and what could not be asked to stderr; the whole of it."""
    batches = _batches(pages, sources, _TOGETHER_ON_TERMINAL if on_terminal() else _TOGETHER)
    if form == "json":
        for _ in batches:
            pass
        document(pages.report())
    elif form == "csv":
        table_csv(STATUS_COLUMNS, (status_cells(row) for batch in _flushed(batches) for row in batch))
    elif form == "table":
        status_tables(batches)
    else:
        to_line = to_json if form == "jsonl" else name
        lines(to_line(row) for batch in _flushed(batches) for row in batch)
    sys.stdout.flush()
    found = pages.report()
    tell_what_is_missing(found)
    return found


def _batches(pages: ListPages, sources: Sequence[str], within: float) -> Iterator[Sequence[BulkStatus]]:
    """What came together, in the order of the sources."""
    while batch := pages.rows(within):
        yield sorted(batch, key=lambda row: sources.index(row.source))


def _flushed(batches: Iterator[Sequence[BulkStatus]]) -> Iterator[Sequence[BulkStatus]]:
    for batch in batches:
        yield batch
        sys.stdout.flush()
