"""`resume`: go on with a wait that the journal keeps."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from bulkstatus import ConfigError, Journal, WaitRecord, printable
from bulkstatus.cli import _exit
from bulkstatus.cli._options import Format, aside, with_journal
from bulkstatus.cli._output import cell, document, lines, table, table_csv, to_json
from bulkstatus.cli._text import clock, length, say
from bulkstatus.cli._wait import Asked, follow

_COLUMNS = ("wait", "standing", "begun_at", "deadline_at", "waiter", "bulks", "refs")
_MOST_REFS = 2


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
        number_of = len(held.record.refs)
        bulks = "1 bulk" if number_of == 1 else f"{number_of:,} bulks"
        say(f"going on with wait {held.record.id} for {bulks}{within}")
        try:
            return follow(asked, held)
        except ConfigError:
            aside(held.put_back)  # nothing was asked
            raise
        finally:
            held.leave()


def show(journal: Path | None, form: Format) -> int:
    """Write the waits that can be gone on with, the latest first."""
    found, rows = with_journal(journal, _unfinished)
    if form == "json":
        document({"waits": found})
    elif form == "jsonl":
        lines(map(to_json, found))
    elif form == "csv":
        table_csv(_COLUMNS, ([cell(value) for value in row] for row in rows))
    elif form == "name":
        lines(str(wait.id) for wait in found)
    elif found:
        headers = [name.removesuffix("_at") for name in _COLUMNS]
        table(headers, [[_shown(value) for value in row] for row in rows])
    if not found:
        say("there is no wait to go on with")
    return _exit.OK


def _unfinished(journal: Journal) -> tuple[list[WaitRecord], list[Sequence[object]]]:
    found = [wait for wait in journal.waits(open_only=False) if wait.is_unfinished]
    return found, [_row(wait, journal) for wait in found]


def _row(wait: WaitRecord, journal: Journal) -> Sequence[object]:
    refs = " ".join(wait.refs[:_MOST_REFS]) + (" ..." if len(wait.refs) > _MOST_REFS else "")
    return (
        wait.id,
        _standing(wait, journal),
        wait.begun_at,
        wait.deadline_at,
        wait.waiter,
        len(wait.refs),
        refs,
    )


def _standing(wait: WaitRecord, journal: Journal) -> str:
    """Whether somebody waits for it, or it was left behind by one who died, or ran out of time."""
    if wait.ended_at is not None:
        return "out of time"
    return "under way" if journal.is_held(wait) else "left behind"


def _shown(value: object) -> str:
    if value is None:
        return ""
    return clock(value) if isinstance(value, datetime) else printable(str(value))
