"""The commands, their options and their help."""

import time
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from bulkstatus import (
    BulkOperation,
    Client,
    ConfigError,
    DeadlineExceeded,
    Policy,
    Report,
    State,
    read_config,
)
from bulkstatus.cli import _exit
from bulkstatus.cli._options import (
    BlindOption,
    BlockedOption,
    ConfigOption,
    ExitStatusOption,
    ListExitStatusOption,
    OutputOption,
    PaceOption,
    SourceOption,
    StateOption,
    TimeoutOption,
    UntilOption,
    VerboseOption,
    VerdictOption,
    WaitTimeoutOption,
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
    version=lambda: version("bulkstatus"),
    help_format="markdown",
    help_epilogue="A bulk is called by its reference, source:id. Begin with 'bulkstatus demo', which needs no account.",
    result_action="return_value",
    suppress_keyboard_interrupt=False,
    default_parameter=Parameter(negative=()),
)
app.register_install_completion_command(  # pyright: ignore[reportUnknownMemberType] - its **kwargs are untyped
    help="""Install the completion of commands and options for your shell.

For example:

    bulkstatus --install-completion
    bulkstatus --install-completion --shell zsh
"""
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
    verbose: VerboseOption = False,
) -> int:
    """Show how bulks stand.

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
    with opened(Client(settings.build(names))) as client:
        found = client.get_many(wanted, timeout=limit)
    report(found, output)
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
    verbose: VerboseOption = False,
) -> int:
    """Wait for bulks to end; the exit code tells how.

    0 all succeeded, 3 one failed, was cancelled or expired, 6 partial, 5 not found or gone, 4 credentials refused,
    7 could not be looked at, 9 blocked, 8 not ended in time.

    An id that its provider does not know is asked for 20 s, in case it is new; it is not given up as not found before.

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
            verbose=verbose,
        )
    )


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
    verbose: VerboseOption = False,
) -> int:
    """Show bulks as they change: those named, or every unfinished one of all sources that have a list.

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
    verbose: VerboseOption = False,
) -> int:
    """List the bulks of all sources whose providers have a list.

    For example:

        bulkstatus list --state failed --state partial --confirm
        bulkstatus list --source payments -o csv --timeout 30s
    """
    from bulkstatus.cli._output import report

    start_log(verbose=verbose)
    limit = seconds(timeout)
    with opened(Client.from_config(config, sources=source or None)) as client:
        confirm = confirm or exit_status
        found = client.list(states=state or None, confirm=confirm, timeout=limit)
        asked = client.sources
    report(found, output)
    if output in ("table", "name", "csv"):
        _say_what_is_provisional(found, confirmed=confirm)
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
    client = Client.from_config(config, sources=sources_of([wanted]), policy=policy)
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
    with opened(Client.from_config(config, sources=sources_of([wanted]))) as client:
        status = client.get(wanted, timeout=limit)
    if output == "json":
        document(status)
    elif output == "table":
        from bulkstatus.cli._explain import explanation

        lines(explanation(status))
    else:
        report(Report(statuses=(status,), complete=True, observed_at=status.observed_at), output)
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
