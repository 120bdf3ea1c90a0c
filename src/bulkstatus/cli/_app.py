"""The commands, their options and their help."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from bulkstatus import (
    BulkOperation,
    Client,
    ConfigError,
    DeadlineExceeded,
    Policy,
    Report,
    State,
    __version__,
    read_config,
)
from bulkstatus.cli import _exit
from bulkstatus.cli._options import (
    AgeOption,
    BlindOption,
    BlockedOption,
    ConfigOption,
    ExitStatusOption,
    Format,
    FreshOption,
    JournalOption,
    LabelOption,
    ListExitStatusOption,
    NewerOption,
    NoJournalOption,
    OutputOption,
    PaceOption,
    SourceOption,
    StateOption,
    TimeoutOption,
    UntilOption,
    VerboseOption,
    VerdictOption,
    WaitTimeoutOption,
    is_brief,
    journal_of,
    labels_of,
    opened,
    seconds,
    start_log,
)
from bulkstatus.cli._refs import of_sources, one_reference, references, sources_of
from bulkstatus.cli._text import say

app = App(
    name="bulkstatus",
    help="""One status for every bulk job of several providers.

For example:

    bulkstatus demo
    bulkstatus list --state failed --state partial --confirm
""",
    version=__version__,
    help_format="markdown",
    help_epilogue="A bulk is called by its reference, source:id. Begin with 'bulkstatus demo', which needs no account.",
    result_action="return_value",
    suppress_keyboard_interrupt=False,
    default_parameter=Parameter(negative=()),
)
config_app = App(
    name="config",
    help="""Find, check or begin the configuration file.

For example:

    bulkstatus config init
    bulkstatus config check
""",
)
app.command(config_app)
# Named by their places, these two are imported when they are used.
app.command(
    "bulkstatus.cli._journal:journal_app",
    name="journal",
    help="""Look after the journal: the record of bulks and of every step they took.

For example:

    bulkstatus journal stats
    bulkstatus journal prune --older-than 90d
""",
)
app.command(
    "bulkstatus.cli._completion:install_completion",
    name="--install-completion",
    help="""Install the completion of commands and options for your shell.

For example:

    bulkstatus --install-completion
    bulkstatus --install-completion --shell zsh
""",
)

Refs = Annotated[
    list[str],
    Parameter(name="REF...", help="References (source:id); `-` takes them from stdin.", negative=()),
]
AnyRefs = Annotated[
    tuple[str, ...],
    Parameter(
        name="REF...",
        show_default=False,
        negative=(),
        help="References (source:id); `-` takes them from stdin. Default: every unfinished bulk.",
    ),
]
OneRef = Annotated[
    str, Parameter(name="REF", help="A reference (source:id); `-` takes it from stdin.", negative=())
]


def command_of(tokens: Sequence[str]) -> tuple[str, ...]:
    """The words of the command line that name a command, for the hint to its help."""
    chain, _, _ = app.parse_commands(list(tokens))
    return tuple(chain)


@app.command
def get(
    refs: Refs,
    /,
    *,
    config: ConfigOption = None,
    source: SourceOption = (),
    output: OutputOption = "table",
    timeout: TimeoutOption = None,
    exit_status: ExitStatusOption = False,
    fresh: FreshOption = False,
    journal: JournalOption = None,
    no_journal: NoJournalOption = False,
    verbose: VerboseOption = False,
) -> int:
    """Show how bulks stand; those that are known to have ended, from the journal.

    For example:

        bulkstatus get payments:112233445566778899
        bulkstatus list --state running -o name | bulkstatus get - -o json
    """
    from bulkstatus.cli._output import report

    start_log(verbose=verbose)
    limit = seconds(timeout)
    wanted = references(refs)
    settings = read_config(config)
    if source:
        wanted = of_sources(wanted, source, settings)
    if not wanted:
        raise ConfigError("no references were given, so nothing was asked and nothing is known")
    names = sources_of(wanted)
    with opened(
        Client(
            settings.build(names), journal=journal_of(journal, off=no_journal), _brief=is_brief(len(wanted))
        )
    ) as client:
        found = client.get_many(wanted, fresh=fresh, timeout=limit)
        report(found, output)  # before the client is closed: that waits for a journal that is locked
    return _exit.for_report(found, asked=names, by_state=exit_status)


@app.command
def wait(
    refs: Refs,
    /,
    *,
    config: ConfigOption = None,
    source: SourceOption = (),
    output: OutputOption = "table",
    timeout: WaitTimeoutOption = None,
    until: UntilOption = "all",
    stop_when_blocked: BlockedOption = False,
    blind_after: BlindOption = "10m",
    pace: PaceOption = "default",
    label: LabelOption = (),
    fresh: FreshOption = False,
    journal: JournalOption = None,
    no_journal: NoJournalOption = False,
    verbose: VerboseOption = False,
) -> int:
    """Wait for bulks to end; the exit code tells how.

    0 all succeeded, 3 one failed, was cancelled or expired, 6 partial, 5 not found or gone, 4 credentials refused,
    7 could not be looked at, 9 blocked, 8 not ended in time.

    An id that its provider does not know is asked for 20 s, in case it is new; it is not given up as not found before.

    The journal keeps the wait: should this process die, 'bulkstatus resume' goes on with it.

    For example:

        bulkstatus wait payments:112233445566778899 --timeout 30m
        bulkstatus wait payments:1 edge:aa11 --until first-failure -o json
    """
    from bulkstatus.cli._wait import Asked, follow

    start_log(verbose=verbose)
    return follow(
        Asked(
            command="wait",
            refs=tuple(refs),
            config=config,
            source=source,
            output=output,
            timeout=timeout,
            until=until,
            stop_when_blocked=stop_when_blocked,
            blind_after=blind_after,
            pace=pace,
            labels=labels_of(label),
            fresh=fresh,
            journal=journal,
            no_journal=no_journal,
            verbose=verbose,
        )
    )


@app.command
def resume(
    wait: Annotated[
        int | None,
        Parameter(
            name="WAIT",
            negative=(),
            help="Its number. Default: the last that died, else the last that ran out of time.",
        ),
    ] = None,
    /,
    *,
    waits: Annotated[
        bool,
        Parameter(
            name="--list", show_default=False, help="Name the waits that can be gone on with; ask nothing."
        ),
    ] = False,
    config: ConfigOption = None,
    output: Annotated[
        Format | None,
        Parameter(name=("--output", "-o"), help="The form of the output. Default: as the wait had it."),
    ] = None,
    fresh: FreshOption = False,
    journal: JournalOption = None,
    verbose: VerboseOption = False,
) -> int:
    """Go on with a wait that died, or that ended before its bulks did: for the same bulks, on the same terms.

    What is left of its timeout goes on; one that has run out begins anew. Exits as wait does, and with 7 when
    another process waits for it.

    For example:

        bulkstatus resume
        bulkstatus resume --list
    """
    from bulkstatus.cli import _resume

    start_log(verbose=verbose)
    if waits:
        return _resume.show(journal, output or "table")
    return _resume.resume(wait, journal=journal, config=config, output=output, fresh=fresh, verbose=verbose)


@app.command(usage="Usage: bulkstatus watch [OPTIONS] [REF...]")
def watch(
    refs: AnyRefs = (),
    /,
    *,
    config: ConfigOption = None,
    source: SourceOption = (),
    output: OutputOption = "table",
    timeout: WaitTimeoutOption = None,
    stop_when_blocked: BlockedOption = False,
    blind_after: BlindOption = "10m",
    pace: PaceOption = "default",
    exit_status: VerdictOption = False,
    fresh: FreshOption = False,
    journal: JournalOption = None,
    no_journal: NoJournalOption = False,
    verbose: VerboseOption = False,
) -> int:
    """Show bulks as they change: those named, or every unfinished one; where there is no list, those that are tracked.

    With references it ends when all of them have; without, by --timeout or Ctrl-C.

    For example:

        bulkstatus watch --source payments
        bulkstatus watch payments:112233445566778899 -o jsonl --timeout 1h
    """
    from bulkstatus.cli._wait import Asked, follow

    start_log(verbose=verbose)
    return follow(
        Asked(
            command="watch",
            refs=tuple(refs) or None,
            config=config,
            source=source,
            output=output,
            timeout=timeout,
            stop_when_blocked=stop_when_blocked,
            blind_after=blind_after,
            pace=pace,
            by_verdict=exit_status,
            fresh=fresh,
            journal=journal,
            no_journal=no_journal,
            verbose=verbose,
        )
    )


@app.command(name="list")
def list_(
    *,
    config: ConfigOption = None,
    source: SourceOption = (),
    state: StateOption = (),
    output: OutputOption = "table",
    timeout: TimeoutOption = None,
    confirm: Annotated[
        bool,
        Parameter(
            show_default=False,
            help="Ask for each ended bulk whose state the list alone told; costs a request each.",
        ),
    ] = False,
    exit_status: ListExitStatusOption = False,
    allow_incomplete: Annotated[
        bool, Parameter(show_default=False, help="Exit 0 although a source could not be asked.")
    ] = False,
    tracked: Annotated[
        bool,
        Parameter(
            show_default=False,
            help="The bulks that were asked for by name or tracked, of all sources; those that ended, from the journal.",
        ),
    ] = False,
    label: LabelOption = (),
    older_than: AgeOption = None,
    newer_than: NewerOption = None,
    fresh: FreshOption = False,
    journal: JournalOption = None,
    no_journal: NoJournalOption = False,
    verbose: VerboseOption = False,
) -> int:
    """List the bulks of all sources; where a provider has no list, those that the journal tracks.

    For example:

        bulkstatus list --state failed --state partial --confirm
        bulkstatus list --tracked --label release=42 --older-than 2h
    """
    from bulkstatus.cli._listing import show

    start_log(verbose=verbose)
    remembered = journal_of(journal, off=no_journal)
    with opened(Client.from_config(config, sources=source or None, journal=remembered)) as client:
        confirm = confirm or exit_status
        pages = client.list_pages(
            states=state or None,
            confirm=confirm,
            tracked=tracked,
            labels=labels_of(label) or None,
            older_than=seconds(older_than, "--older-than"),
            newer_than=seconds(newer_than, "--newer-than"),
            fresh=fresh,
            timeout=seconds(timeout),
        )
        found = show(pages, output, tuple(client.sources))
        asked = client.sources
    if output in ("table", "name", "csv"):
        _say_what_is_provisional(found, confirmed=confirm)
        if (tracked or label) and not (found.statuses or found.failures):
            say(
                "no tracked bulk fits; 'bulkstatus track REF' tracks one, and so does every get or wait by name"
            )
    return _exit.for_report(found, asked=asked, by_state=exit_status, allow_incomplete=allow_incomplete)


def _say_what_is_provisional(found: Report, *, confirmed: bool) -> None:
    number = sum(status.provisional for status in found)
    if number:
        what = "1 ended state is" if number == 1 else f"{number} ended states are"
        hint = "" if confirmed else "; --confirm asks for each"
        say(f"{what} the list's word only{hint}")


@app.command
def operations(
    ref: OneRef,
    /,
    *,
    config: ConfigOption = None,
    state: StateOption = (),
    sequence: Annotated[int | None, Parameter(help="Only the operation at this position.")] = None,
    limit: Annotated[int | None, Parameter(help="Stop after so many operations.")] = None,
    show_payload: Annotated[
        bool,
        Parameter(
            show_default=False,
            help="Show requests and responses too. They hold personal data.",
        ),
    ] = False,
    output: OutputOption = "table",
    timeout: TimeoutOption = None,
    verbose: VerboseOption = False,
) -> int:
    """List the operations inside a bulk, as they come.

    For example:

        bulkstatus operations payments:112233445566778899 --state failed
        bulkstatus operations payments:112233445566778899 -o jsonl --show-payload
    """
    from bulkstatus.cli._output import operations as write

    start_log(verbose=verbose)
    within = seconds(timeout)
    if limit is not None and limit < 1:
        raise ConfigError(f"--limit {limit} is too small: write 1 or more")
    wanted = one_reference(ref)
    policy = None if within is None else Policy(patience=within, request_timeout=min(within, 20.0))
    brief = sequence is not None or is_brief(limit)
    client = Client(read_config(config).build(sources_of([wanted])), policy=policy, _brief=brief)
    with opened(client):
        rows = client.operations(wanted, states=state or None, sequence=sequence)
        seen = _Seen(_some(rows, limit, within))
        write(seen, output, payload=show_payload)
    if sequence is not None and not seen.rows:
        say(f"{wanted} has no operation at position {sequence}{' in these states' if state else ''}")
    elif not state and seen.rows and seen.rows == seen.untold:
        say("the provider does not tell how each operation ended; --state failed asks for those that failed")
    return _exit.OK


class _Seen:
    """Rows on their way, counted: all of them, and those whose state the provider does not tell."""

    def __init__(self, rows: Iterator[BulkOperation]) -> None:
        self._coming = rows
        self.rows = self.untold = 0

    def __iter__(self) -> Iterator[BulkOperation]:
        for row in self._coming:
            self.rows += 1
            self.untold += row.state is State.UNKNOWN and row.native_state is None
            yield row


def _some(rows: Iterator[BulkOperation], limit: int | None, within: float | None) -> Iterator[BulkOperation]:
    """At most `limit` rows, and none later than `within` seconds from now."""
    began = time.monotonic()
    for number, row in enumerate(rows, 1):
        if within is not None and time.monotonic() - began > within:
            raise DeadlineExceeded(f"not done within {within:g} s", reason="deadline")
        yield row
        if number == limit:
            return


@app.command
def explain(
    ref: OneRef,
    /,
    *,
    config: ConfigOption = None,
    output: OutputOption = "table",
    timeout: TimeoutOption = None,
    fresh: FreshOption = False,
    journal: JournalOption = None,
    no_journal: NoJournalOption = False,
    verbose: VerboseOption = False,
) -> int:
    """Say in plain words how a bulk stands, why, and what to do next.

    For example:

        bulkstatus explain payments:112233445566778899
        bulkstatus explain crm:019a0a00-1111-7222-8333-444455556666 -o json
    """
    from bulkstatus.cli._output import document, lines, report

    start_log(verbose=verbose)
    limit = seconds(timeout)
    wanted = one_reference(ref)
    remembered = journal_of(journal, off=no_journal)
    with opened(
        Client(read_config(config).build(sources_of([wanted])), journal=remembered, _brief=True)
    ) as client:
        status = client.get(wanted, fresh=fresh, timeout=limit)
    if output == "json":
        document(status)
    elif output == "table":
        from bulkstatus.cli._explain import explanation

        lines(explanation(status))
    else:
        report(Report(statuses=(status,), complete=True, observed_at=status.observed_at), output)
    return _exit.OK


@app.command
def changes(
    *,
    after: Annotated[
        str | None,
        Parameter(
            name="--after",
            allow_leading_hyphen=True,
            help="Only the steps behind this cursor; now stands for the end. Default: from the beginning.",
        ),
    ] = None,
    follow: Annotated[
        bool, Parameter(name="--follow", show_default=False, help="Go on with those that come, until Ctrl-C.")
    ] = False,
    limit: Annotated[int | None, Parameter(help="Stop after so many steps.")] = None,
    journal: JournalOption = None,
    output: OutputOption = "table",
) -> int:
    """Show every step that bulks took, from the journal: each once, the oldest first. Nothing is sent.

    Each step has a cursor. Hand the last one you have dealt with to --after, and you see each step once.

    For example:

        bulkstatus changes --after now --follow
        bulkstatus changes --limit 100 -o jsonl
    """
    from bulkstatus.cli._changes import changes as show

    return show(journal, after, output, follow=follow, limit=limit)


@app.command
def history(ref: OneRef, /, *, journal: JournalOption = None, output: OutputOption = "table") -> int:
    """Show what the journal knows of a bulk, and every step it took. Nothing is sent.

    For example:

        bulkstatus history payments:112233445566778899
        bulkstatus history payments:112233445566778899 -o json
    """
    from bulkstatus.cli._changes import history as show

    return show(journal, one_reference(ref), output)


@app.command
def drift(
    *,
    source: SourceOption = (),
    clear: Annotated[
        bool,
        Parameter(
            name="--clear",
            show_default=False,
            help="Forget it, as once it was reported; what comes is counted anew.",
        ),
    ] = False,
    config: ConfigOption = None,
    journal: JournalOption = None,
    output: OutputOption = "table",
) -> int:
    """Show what sources answered that their adapters do not know: words, fields, times. From the journal; nothing is sent.

    Below the table stands what to do: for a word, the lines of the configuration that give it a meaning today.

    For example:

        bulkstatus drift
        bulkstatus drift --source payments -o json
    """
    from bulkstatus.cli import _drift

    if clear:
        return _drift.clear(journal, source)
    return _drift.drift(journal, source, output, config)


@app.command
def track(
    refs: Refs,
    /,
    *,
    note: Annotated[
        str | None, Parameter(name="--note", help="A line about them; it takes the place of an earlier one.")
    ] = None,
    label: LabelOption = (),
    config: ConfigOption = None,
    journal: JournalOption = None,
) -> int:
    """Keep bulks in mind, with a note and labels, in the journal. Nothing is sent.

    For example:

        bulkstatus track payments:112233445566778899 --label release=42
        bulkstatus track edge:aa11 edge:bb22 --note "block list of May"
    """
    from bulkstatus.cli._journal import track as keep

    keep(refs, config, journal, note=note, labels=labels_of(label))
    return _exit.OK


@app.command
def untrack(refs: Refs, /, *, config: ConfigOption = None, journal: JournalOption = None) -> int:
    """Keep bulks in mind no longer; what was seen of them stays. Nothing is sent.

    For example:

        bulkstatus untrack payments:112233445566778899
        bulkstatus untrack edge:aa11 edge:bb22
    """
    from bulkstatus.cli._journal import untrack as drop

    drop(refs, config, journal)
    return _exit.OK


@app.command
def sources(
    *,
    config: ConfigOption = None,
    source: SourceOption = (),
    output: OutputOption = "table",
    timeout: TimeoutOption = None,
    verbose: VerboseOption = False,
) -> int:
    """Ask every source whether it answers and takes the credentials.

    For example:

        bulkstatus sources
        bulkstatus sources --source payments -o json
    """
    from bulkstatus.cli._sources import sources as show

    start_log(verbose=verbose)
    return show(config, source, output, seconds(timeout))


@app.command
def providers(*, output: OutputOption = "table") -> int:
    """Name the providers that are installed. Nothing is sent.

    For example:

        bulkstatus providers
        bulkstatus providers -o json
    """
    from bulkstatus.cli._sources import installed

    installed(output)
    return _exit.OK


@app.command
def new_adapter(
    word: Annotated[str, Parameter(name="WORD", help="The provider's one word, such as acme.", negative=())],
    /,
    *,
    into: Annotated[Path, Parameter(help="The folder that the package's own folder is made in.")] = Path(),
) -> int:
    """Write a package for an adapter of your own: it installs, and its tests pass, before you have changed anything.

    Nothing is overwritten. What is to be filled in is marked; docs/writing-an-adapter.md leads through it.

    For example:

        bulkstatus new-adapter acme
        bulkstatus new-adapter acme --into ~/src
    """
    from bulkstatus.cli._scaffold import new_adapter as write

    write(word, into)
    return _exit.OK


@config_app.command
def path(*, config: ConfigOption = None) -> int:
    """Say where the configuration is looked for.

    For example:

        bulkstatus config path
        "$EDITOR" "$(bulkstatus config path)"
    """
    from bulkstatus.cli._config import show_path

    show_path(config)
    return _exit.OK


@config_app.command
def check(*, config: ConfigOption = None) -> int:
    """Set up every source of the configuration and report what is wrong. Nothing is sent.

    For example:

        bulkstatus config check
        bulkstatus config check --config ./staging.toml
    """
    from bulkstatus.cli._config import check as look

    return look(config)


@config_app.command
def init(
    file: Annotated[Path | None, Parameter(name="PATH", help="Where to write it.")] = None,
    /,
    *,
    config: ConfigOption = None,
) -> int:
    """Write a first configuration, everything in it commented out. Nothing is overwritten.

    For example:

        bulkstatus config init
        bulkstatus config init ./staging.toml
    """
    from bulkstatus.cli._config import write_starter

    write_starter(file or config)
    return _exit.OK


@app.command
def schema() -> int:
    """Write the JSON Schema of all JSON output.

    For example:

        bulkstatus schema
        bulkstatus schema > bulkstatus.schema.json
    """
    from bulkstatus import json_schema
    from bulkstatus.cli._output import document

    document(json_schema())
    return _exit.OK


@app.command
def demo(
    *,
    seconds: Annotated[
        float, Parameter(name="--seconds", help="How long to watch at most, in seconds: 1 to 3600.")
    ] = 18.0,
) -> int:
    """Watch bulks of every provider live and end, on this machine, without any account.

    For example:

        bulkstatus demo
        bulkstatus demo --seconds 8 | cat
    """
    from bulkstatus.cli._demo import demo as play

    start_log(verbose=False)
    if not 1 <= seconds <= 3_600:  # noqa: PLR2004 - an hour; also refuses what is no number
        raise ConfigError(f"--seconds {seconds:g} is out of range: write 1 to 3600")
    return play(seconds)


@app.command
def fake(
    what: Annotated[
        str | None,
        Parameter(name="SCENARIO", help="A TOML file, or the word of a provider whose demo is served."),
    ] = None,
    /,
    *,
    port: Annotated[
        int,
        Parameter(name="--port", help="Serve the first source at this port, the others at those behind it."),
    ] = 0,
    speed: Annotated[
        float, Parameter(name="--speed", help="Let the scenario's time pass so many times quicker.")
    ] = 1.0,
    write_config: Annotated[
        Path | None,
        Parameter(name="--write-config", help="Write a configuration that reaches the fakes to this file."),
    ] = None,
    log: Annotated[
        bool,
        Parameter(name="--log", show_default=False, help="Log every request to stderr, credentials masked."),
    ] = False,
    example: Annotated[
        bool, Parameter(name="--example", show_default=False, help="Print a scenario to begin with, and end.")
    ] = False,
    output: Annotated[
        Literal["table", "jsonl"],
        Parameter(name=("--output", "-o"), help="The form in which the sources are written."),
    ] = "table",
) -> int:
    """Serve providers that play a scenario on this machine, until Ctrl-C, for tests of tools in any language.

    For example:

        bulkstatus fake --example > scenario.toml
        bulkstatus fake scenario.toml --write-config fakes.toml --speed 10
    """
    from bulkstatus.cli._fake import EXAMPLE, serve
    from bulkstatus.cli._output import lines

    start_log(verbose=False)
    if example:
        lines(EXAMPLE.splitlines())
        return _exit.OK
    if what is None:
        raise ConfigError(
            "name a scenario, or a provider; 'bulkstatus fake --example' prints one to begin with"
        )
    serve(what, port=port, speed=speed, config=write_config, log=log, form=output)
    return _exit.OK
