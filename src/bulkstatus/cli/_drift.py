"""`drift`: what sources answered that their adapters do not know, and how to be rid of each."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import groupby
from pathlib import Path

import msgspec

from bulkstatus import ConfigError, Drift, Journal, printable, providers, read_config
from bulkstatus.cli import _exit
from bulkstatus.cli._options import Format, with_journal
from bulkstatus.cli._output import array, cell, lines, table, table_csv, to_json
from bulkstatus.cli._text import clock, one_word, say, section

COLUMNS = Drift.__struct_fields__
_SHOWN = ("source", "kind", "where", "sample", "count", "first_seen", "last_seen")
_CHOICE = "queued, running, paused, succeeded, partial, failed, cancelled or expired"


def drift(path: Path | None, names: Sequence[str], form: Format, config: Path | None) -> int:
    """Write what the journal knows of it; return the exit code."""
    if not _is_there(path):
        return _exit.OK
    pins = _pins(config)
    found = with_journal(path, lambda journal: journal.drift(sources=names or None, pins=pins))
    if form == "csv":
        table_csv(COLUMNS, (_cells(one) for one in found))
    elif form == "name":
        lines(map(one_word, dict.fromkeys(one.source for one in found)))
    elif form != "table":
        encoded = map(to_json, found)
        lines(encoded if form == "jsonl" else array(encoded))
    elif found:
        headers = [name.removesuffix("_seen") for name in _SHOWN]
        table(headers, [[_text(getattr(one, name)) for name in _SHOWN] for one in found])
        lines(_advice(found))
    if not found:
        say(f"no drift{_of(names)} has been counted in {Journal(path).path}")
    return _exit.OK


def clear(path: Path | None, names: Sequence[str]) -> int:
    """Forget it, of all sources or of those named; return the exit code."""
    if not _is_there(path):
        return _exit.OK
    number = with_journal(path, lambda journal: journal.clear_drift(sources=names or None))
    lines([f"{number:,} {'line' if number == 1 else 'lines'} of drift forgotten{_of(names)}"])
    return _exit.OK


def _is_there(path: Path | None) -> bool:
    file = Journal(path).path
    if not file.exists():
        say(f"there is no journal at {file}: commands that ask a provider make it, and count drift there")
    return file.exists()


def _of(names: Collection[str]) -> str:
    return f" of {', '.join(names)}" if names else ""


def _pins(config: Path | None) -> Mapping[str, Collection[str]]:
    """The words that the configuration gives a meaning by now; none where there is no configuration to be read."""
    try:
        return read_config(config).pins
    except ConfigError:
        if config is not None:
            raise
        return {}


def _cells(one: Drift) -> list[str]:
    return [cell(value, numeric=isinstance(value, int)) for value in msgspec.structs.astuple(one)]


def _text(value: object) -> str:
    return clock(value) if isinstance(value, datetime) else str(value)


def _advice(found: Sequence[Drift]) -> Iterator[str]:
    """What to do, in lines that a configuration may hold: what is not for it stands behind a `#`."""
    for source, of_source in groupby(found, key=lambda one: (one.source, one.provider)):
        name, provider = map(printable, source)
        rows = list(of_source)
        pins = dict.fromkeys(one.pin for one in rows if one.pin is not None)
        yield ""
        if pins:
            yield f"# {name}: say in its section of the configuration what its new words mean. In the place of running"
            yield f"# stands one of {_CHOICE}."
            yield "# Where a state_map is there already, the words go in there."
            yield section(name)
            yield from (printable(pin) for pin in pins)
        if others := sorted({one.kind for one in rows if one.pin is None}):
            what = " and ".join(f"{kind}s" for kind in others)
            yield f"# {name}: report the {what} above to the author of the adapter {provider}{_by(provider)}"


def _by(provider: str) -> str:
    names = [known.distribution for known in providers() if known.word == provider]
    return f" (in {printable(names[0], 100)})" if names else ", which is not installed"
