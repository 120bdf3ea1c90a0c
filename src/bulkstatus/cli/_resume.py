"""`resume`: go on with a wait that the journal keeps."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from bulkstatus import ConfigError, Journal, WaitRecord
from bulkstatus.cli import _exit
from bulkstatus.cli._options import Format, aside
from bulkstatus.cli._output import cell, document, lines, table, table_csv, to_json
from bulkstatus.cli._text import clock, length, say
from bulkstatus.cli._wait import Asked, follow

_COLUMNS = ("wait", "begun_at", "deadline_at", "waiter", "bulks")


def resume(
    number: int | None,
    *,
    journal: Path | None,
    config: Path | None,
    output: Format | None,
    fresh: bool,
    verbose: bool,
) -> int:
    """Go on with the wait `number`, or the last that nobody waits for, and return the exit code."""
    with Journal(journal) as record:
        held = aside(lambda: record.resume_wait(number))
        asked = Asked.again_from(held.record, verbose=verbose)
        asked = msgspec.structs.replace(
            asked, config=config or asked.config, output=output or asked.output, fresh=fresh, journal=journal
        )
        rest = held.record.rest(datetime.now(UTC))
        within = "" if rest is None else f" for {length(math.ceil(rest))} at most"
        say(f"going on with wait {held.record.id} for {len(held.record.refs):,} bulks{within}")
        try:
            return follow(asked, held)
        except ConfigError:
            aside(held.put_back)  # nothing was asked
            raise
        finally:
            held.leave()


def show(journal: Path | None, form: Format) -> int:
    """Write the waits that are open, the latest first."""
    with Journal(journal) as record:
        found = aside(record.waits)
    if form == "json":
        document({"waits": found})
    elif form == "jsonl":
        lines(map(to_json, found))
    elif form == "csv":
        table_csv(_COLUMNS, ([cell(value) for value in _row(wait)] for wait in found))
    elif form == "name":
        lines(str(wait.id) for wait in found)
    else:
        table(_COLUMNS, [[_shown(value) for value in _row(wait)] for wait in found])
    return _exit.OK


def _row(wait: WaitRecord) -> Sequence[object]:
    return wait.id, wait.begun_at, wait.deadline_at, wait.waiter, len(wait.refs)


def _shown(value: object) -> str:
    if value is None:
        return ""
    return clock(value) if isinstance(value, datetime) else str(value)
