"""The commands about the journal itself: where it is, how much it holds, how it is kept small and taken elsewhere."""

from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from bulkstatus import Client, ConfigError, Journal, JournalStats, Pruned, printable
from bulkstatus.cli import _exit
from bulkstatus.cli._options import ExportFormat, ExportKind, JournalOption, opened, seconds, with_journal
from bulkstatus.cli._output import clock_exact, document, lines
from bulkstatus.cli._refs import references, sources_of
from bulkstatus.cli._text import STDIN, say

_CENTURY = 36_500 * 86_400.0
_LONGEST_PATH = 4_096

DocumentOption = Annotated[
    Literal["table", "json"], Parameter(name=("--output", "-o"), help="The form of the output.")
]

journal_app = App(name="journal")


@journal_app.command(name="path")
def show_path(*, journal: JournalOption = None) -> int:
    """Say where the journal is.

    For example:

        bulkstatus journal path
        bulkstatus journal path --journal ./staging.db
    """
    file = Journal(journal).path
    lines([printable(str(file), _LONGEST_PATH)])
    if not file.exists():
        say("it does not exist yet; the first command that uses it makes it")
    return _exit.OK


@journal_app.command
def stats(*, journal: JournalOption = None, output: DocumentOption = "table") -> int:
    """Say how much the journal holds.

    For example:

        bulkstatus journal stats
        bulkstatus journal stats -o json
    """
    found = with_journal(journal, Journal.stats)
    if output == "json":
        document(found)
    else:
        lines(_stats_lines(found))
    return _exit.OK


def _stats_lines(found: JournalStats) -> Iterator[str]:
    facts = (
        ("file", printable(found.path, _LONGEST_PATH)),
        ("schema", f"{found.schema}"),
        ("size", f"{found.size:,} bytes"),
        ("bulks", f"{found.bulks:,}"),
        ("tracked", f"{found.tracked:,}"),
        ("unfinished", f"{found.unfinished:,}"),
        ("ended", f"{found.ended:,}"),
        ("gone", f"{found.gone:,}"),
        ("steps", f"{found.transitions:,}"),
        ("open waits", f"{found.open_waits:,}"),
        ("oldest step", "none" if found.oldest is None else clock_exact(found.oldest)),
        ("newest step", "none" if found.newest is None else clock_exact(found.newest)),
        ("cursor", found.cursor),
    )
    yield from (f"{label:<11}  {text}" for label, text in facts)


@journal_app.command
def prune(
    *,
    older_than: Annotated[
        str,
        Parameter(
            name="--older-than", allow_leading_hyphen=True, help="How long ago, with its unit: 90d, 12h, 30m."
        ),
    ],
    journal: JournalOption = None,
    output: DocumentOption = "table",
) -> int:
    """Take out what ended, or was forgotten by its provider, so long ago. What is tracked and has not ended stays.

    For example:

        bulkstatus journal prune --older-than 90d
        bulkstatus journal prune --older-than 36h -o json
    """
    age = seconds(older_than, "--older-than", most=_CENTURY)
    if age is None or older_than[-1].isdigit():
        raise ConfigError(f"--older-than {older_than} ends without a unit: write 90d for days, 12h or 30m")
    found = with_journal(journal, lambda opened_journal: opened_journal.prune(age))
    if output == "json":
        document(found)
    else:
        lines([_pruned_line(found)])
        if found != Pruned(bulks=0, transitions=0, waits=0):
            say("the file keeps its size until 'bulkstatus journal vacuum'")
    return _exit.OK


def _pruned_line(found: Pruned) -> str:
    numbers = (found.bulks, "bulk"), (found.transitions, "step"), (found.waits, "wait")
    told = [f"{number:,} {noun}{'' if number == 1 else 's'}" for number, noun in numbers]
    drift = f", and {found.drift:,} of drift" if found.drift else ""
    return f"{told[0]}, {told[1]} and {told[2]} taken out{drift}"


@journal_app.command
def vacuum(*, journal: JournalOption = None) -> int:
    """Give back the room that pruning left in the file.

    For example:

        bulkstatus journal vacuum
        bulkstatus journal vacuum --journal ./staging.db
    """
    saved = with_journal(journal, Journal.vacuum)
    lines([f"{max(0, saved):,} bytes given back"])
    return _exit.OK


@journal_app.command
def export(
    what: Annotated[
        ExportKind, Parameter(name="WHAT", help="Every step, or every bulk as it is known now.")
    ] = "steps",
    /,
    *,
    to: Annotated[
        Path | None,
        Parameter(
            name="--to",
            help="The file to write, there once it is whole, for its owner alone. Default: stdout.",
        ),
    ] = None,
    output: Annotated[
        ExportFormat,
        Parameter(
            name=("--output", "-o"),
            help="The form; parquet needs --to, and the extra bulkstatus[parquet].",
        ),
    ] = "jsonl",
    journal: JournalOption = None,
) -> int:
    """Write all that the journal holds, a row at a time.

    For example:

        bulkstatus journal export > steps.jsonl
        bulkstatus journal export bulks -o parquet --to bulks.parquet
    """
    from bulkstatus.cli._export import export as write

    write(journal, what, output, None if to is not None and str(to) == STDIN else to)
    return _exit.OK


# --- what is kept in mind ---


def track(
    refs: Iterable[str],
    config: Path | None,
    journal: Path | None,
    *,
    note: str | None,
    labels: Mapping[str, str],
) -> None:
    """Keep bulks in mind, and write their references."""
    wanted = references(refs)
    with _client(wanted, config, journal) as client:
        client.track(wanted, note=note, labels=labels)
    lines(map(printable, wanted))
    say("nothing was sent; 'bulkstatus get' asks how they stand")


def untrack(refs: Iterable[str], config: Path | None, journal: Path | None) -> None:
    """Keep bulks in mind no longer, and write the references of those that were."""
    wanted = references(refs)
    with _client(wanted, config, journal) as client:
        were = client.untrack(wanted)
    lines(map(printable, were))
    if left := [ref for ref in wanted if ref not in were]:
        say(f"{len(left)} of {len(wanted)} references were not tracked: {', '.join(left)}")


@contextmanager
def _client(wanted: list[str], config: Path | None, journal: Path | None) -> Generator[Client]:
    if not wanted:
        raise ConfigError("no references were given, so nothing was done")
    with opened(Client.from_config(config, sources=sources_of(wanted), journal=Journal(journal))) as client:
        yield client
