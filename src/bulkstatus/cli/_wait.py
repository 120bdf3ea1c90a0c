"""`wait` and `watch`: follow bulks, and tell of it in every form."""

import os
import shlex
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Literal, NamedTuple, Self

import msgspec

from bulkstatus import (
    Change,
    Client,
    Config,
    ConfigError,
    Counts,
    HeldWait,
    JournalError,
    Outcome,
    Ref,
    Result,
    Verdict,
    WaitRecord,
    WaitTerms,
    Watch,
    WatchView,
    is_blocked,
    read_config,
)
from bulkstatus.cli import _exit
from bulkstatus.cli._ending import (
    MOST_TOLD,
    beyond,
    explain_what_was_not_seen,
    say_where_to_look,
    tell_how_to_go_on,
)
from bulkstatus.cli._explain import has_list
from bulkstatus.cli._options import (
    Format,
    PaceWord,
    UntilWord,
    hold_log,
    journal_of,
    left_by_signals,
    opened,
    release_log,
    seconds,
)
from bulkstatus.cli._output import (
    STATUS_COLUMNS,
    cell,
    console,
    document,
    lines,
    on_terminal,
    status_cells,
    table_csv,
    to_json,
)
from bulkstatus.cli._refs import of_sources, references, sources_of
from bulkstatus.cli._text import (
    by_verdict,
    change_line,
    clock,
    length,
    look_at,
    one_word,
    pause,
    progress,
    say,
    span,
    standing,
    summary,
    tell,
    trouble_line,
    waiting,
    word,
)

HEARTBEAT = 60.0
_REDRAW = 0.25
_PATIENCE = 0.15
_DRAWING = 10.0  # so many times as long as a picture took, the next one waits
_MOST_SOURCES = 5
_BLIND_AFTER = "10m"
_UNTIL: dict[UntilWord, Literal["all", "any", "first_failure"]] = {
    "all": "all",
    "any": "any",
    "first-failure": "first_failure",
}
_OPEN = (Verdict.PENDING, Verdict.BLIND)
# A bulk is called by its reference here, which tells source and id.
_COLUMNS = ("ref", "verdict", *STATUS_COLUMNS[2:], "stale_since", "failure")


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line asked for, as it was written. `refs` None: every unfinished bulk."""

    command: Literal["wait", "watch"]
    refs: tuple[str, ...] | None
    config: Path | None
    source: tuple[str, ...]
    output: Format
    timeout: str | None
    until: UntilWord = "all"
    stop_when_blocked: bool
    blind_after: str = _BLIND_AFTER
    pace: PaceWord
    by_verdict: bool = True
    labels: dict[str, str] = {}
    fresh: bool = False
    journal: Path | None = None
    no_journal: bool = False
    verbose: bool

    def again(self, refs: Sequence[str]) -> str:
        """The command line that asks the same of `refs`, which are of the right sources."""
        pairs = (
            ("--timeout", self.timeout),
            ("--config", None if self.config is None else str(self.config)),
            ("--journal", None if self.journal is None else str(self.journal)),
            ("--until", None if self.until == "all" else self.until),
            ("--blind-after", None if self.blind_after == _BLIND_AFTER else self.blind_after),
            ("--pace", None if self.pace == "default" else self.pace),
            ("-o", None if self.output == "table" else self.output),
        )
        flags = (
            ("--stop-when-blocked", self.stop_when_blocked),
            ("--exit-status", self.by_verdict and self.command == "watch"),
            ("--fresh", self.fresh),
            ("--no-journal", self.no_journal),
            ("-v", self.verbose),
        )
        given = [text for name, value in pairs if value is not None for text in (name, value)]
        given += [name for name, on in flags if on]
        return shlex.join(["bulkstatus", self.command, *refs, *given])

    def terms(self) -> WaitTerms:
        """What the journal keeps of it, so that `resume` can ask the same again."""
        config = self.config or os.environ.get("BULKSTATUS_CONFIG")
        command = {"output": self.output, "config": None if config is None else str(Path(config).absolute())}
        return WaitTerms(
            timeout=seconds(self.timeout),
            until=_UNTIL[self.until],
            stop_when_blocked=self.stop_when_blocked,
            blind_after=seconds(self.blind_after, "--blind-after") or 0.0,
            polling=self.pace,
            command={name: value for name, value in command.items() if value is not None},
        )

    @classmethod
    def again_from(cls, wait: WaitRecord, *, verbose: bool) -> "Asked":
        """What was asked for when `wait` was begun, by the command line or by a program."""
        command = wait.terms.command
        return cls(
            command="wait",
            refs=wait.refs,
            config=Path(command["config"]) if "config" in command else None,
            source=(),
            output=msgspec.convert(command.get("output", "table"), Format),
            timeout=None,
            until=next(word for word, until in _UNTIL.items() if until == wait.terms.until),
            stop_when_blocked=wait.terms.stop_when_blocked,
            pace="default",
            verbose=verbose,
        )


def follow(asked: Asked, resumed: HeldWait | None = None) -> int:
    """Wait or watch, or go on with a wait that is `resumed`, and return the exit code."""
    terms = asked.terms() if resumed is None else resumed.record.terms
    settings = read_config(asked.config)
    refs = _references(asked, settings)
    names = (asked.source or None) if refs is None else sources_of(refs)
    client = Client(settings.build(names), journal=journal_of(asked.journal, off=asked.no_journal))
    timeout = terms.timeout
    if resumed is not None:
        resumed.record.check_realms(client.realms)
        timeout = resumed.record.rest(datetime.now(UTC))
    # Made before the client's thread is at work: an interrupt during an import may leave the lock of all imports held
    # (seen with CPython 3.11), and that thread would then wait for it for ever.
    teller = _teller(asked, timeout)
    with opened(client):
        watched = client.watch(
            refs,
            timeout=timeout,
            until=terms.until,
            stop_when_blocked=terms.stop_when_blocked,
            blind_after=terms.blind_after,
            grace=terms.grace,
            polling=terms.polling,
            detail=_draws(asked),
            fresh=asked.fresh,
        )
        with left_by_signals(watched) as watch:
            if refs is None:
                _say_what_is_left_out(client, watch)
            held = resumed or _record(client, asked, refs, terms)
            code, outcome = _Follower(asked, watch, teller, timeout, held).run()
            if held is not None:
                client.end_wait(held, outcome)
            return code


def _record(client: Client, asked: Asked, refs: list[str] | None, terms: WaitTerms) -> HeldWait | None:
    """Keep the wait in the journal, and the labels that its bulks are given."""
    if refs is None:
        return None
    if asked.labels:
        try:
            client.track(refs, labels=asked.labels)
        except JournalError as error:
            say(f"{error.message}; the labels are not kept")
    return client.begin_wait(refs, terms) if asked.command == "wait" else None


def _say_what_is_left_out(client: Client, watch: Watch) -> None:
    watched = {source.source for source in watch.view().sources}
    reason = "its provider has no list of bulks"
    for name, provider in client.sources.items():
        if name in watched and (has_list(provider) or _has_tracked(client, name)):
            continue
        why = f"{reason}, and none that goes on is tracked" if name in watched else reason
        tell(f"{name} ({provider}): not watched: {why}; name them, as in 'bulkstatus watch {name}:ID'")


def _has_tracked(client: Client, source: str) -> bool:
    try:
        return any(not bulk.is_settled and bulk.gone_at is None for bulk in client.tracked(sources=[source]))
    except JournalError:
        return False


def _references(asked: Asked, settings: Config) -> list[str] | None:
    if asked.refs is None:
        return None
    wanted = references(asked.refs)
    if asked.source:
        wanted = of_sources(wanted, asked.source, settings)
    if not wanted:
        raise ConfigError("no references were given, so there is nothing to wait for")
    return wanted


class _Follower:
    """Reads a watch to its end and has it told."""

    def __init__(
        self,
        asked: Asked,
        watch: Watch,
        teller: "_Teller",
        timeout: float | None,
        held: HeldWait | None,
    ) -> None:
        self._asked = asked
        self._held = held
        self._watch = watch
        self._timeout = timeout
        self._teller = teller

    def run(self) -> tuple[int, Outcome]:
        with self._teller as teller:
            try:
                while not self._watch.is_over:
                    teller.take(self._watch.changes(within=teller.rest()))
                    if teller.rest() <= 0:
                        teller.beat(self._watch.view())
                teller.take(self._watch.changes())
            except BaseException as error:
                if isinstance(error, Exception):
                    raise
                self._interrupted(_exit.for_signal(error) or _exit.INTERRUPTED)
                raise
            return self._end()

    def _end(self) -> tuple[int, Outcome]:
        outcome, view = self._watch.outcome(), self._watch.view()
        code = self._code(outcome, view)
        self._teller.end(_End(outcome, view, code))
        self._teller.remind(outcome)
        unnamed = view if self._asked.refs is None else None
        explain_what_was_not_seen(outcome, unnamed, told=self._teller.told)
        say_where_to_look(outcome, self._asked.config)
        if self._asked.refs is not None and self._deadline_came(outcome):
            within = length(self._timeout or 0.0)
            number = sum(result.verdict in _OPEN for result in outcome)
            say(f"{number:,} of {len(outcome):,} are not known to have ended within {within}; to go on:")
            self._tell_how_to_go_on(outcome)
        return code, outcome

    def _code(self, outcome: Outcome, view: WatchView) -> int:
        until = _UNTIL[self._asked.until]
        code = _exit.for_outcome(outcome, until=until) if self._asked.by_verdict else _exit.for_sight(outcome)
        if self._asked.refs is not None:
            return code
        # A source that could not be asked may have bulks that nobody has heard of.
        down = [source.failure for source in view.sources if source.failure is not None]
        seen = [source.source for source in view.sources if source.failure is None]
        return _exit.combine([code, _exit.for_failures(down, seen)])

    def _interrupted(self, code: int) -> None:
        known = self._last_known()
        if known is None:
            return
        changes, outcome, view = known
        self._teller.take(changes)
        self._teller.last_known(outcome, view)
        self._teller.end(_End(outcome, view, code))
        if self._asked.refs is not None and any(result.verdict in _OPEN for result in outcome):
            say("to go on:")
            self._tell_how_to_go_on(outcome)

    def _last_known(self) -> tuple[tuple[Change, ...], Outcome, WatchView] | None:
        """What the watch knows, unless its thread takes too long to say so: an interrupt waits for nobody."""
        found: list[tuple[tuple[Change, ...], Outcome, WatchView]] = []

        def ask() -> None:
            changes = self._watch.changes(within=0.0)
            found.append((changes, self._watch.outcome(), self._watch.view()))

        asking = threading.Thread(target=ask, daemon=True)
        asking.start()
        asking.join(_PATIENCE)
        return found[0] if found else None

    def _deadline_came(self, outcome: Outcome) -> bool:
        until = _UNTIL[self._asked.until]
        verdicts = [result.verdict for result in outcome]
        return Verdict.PENDING in verdicts and not any(verdict.stops(until) for verdict in verdicts)

    def _tell_how_to_go_on(self, outcome: Outcome) -> None:
        if self._held is not None and self._held.is_kept:
            where = () if self._asked.journal is None else ("--journal", str(self._asked.journal))
            tell(f"  {shlex.join(('bulkstatus', 'resume', str(self._held.record.id), *where))}")
            return
        left = [result.ref for result in outcome if result.verdict in _OPEN]
        tell_how_to_go_on(self._asked.again(left), self._asked.again(["-"]))


def _teller(asked: Asked, timeout: float | None) -> "_Teller":
    # A watch of everything does not end by itself, blocked or not.
    hint = not asked.stop_when_blocked and asked.refs is not None
    if _draws(asked):
        return _OnTerminal("waiting" if asked.command == "wait" else "watching", timeout, hint=hint)
    forms = {"table": _Lines, "jsonl": _JsonLines, "json": _Document, "csv": _Csv, "name": _Names}
    return forms[asked.output](hint=hint)


def _draws(asked: Asked) -> bool:
    """True where a picture is drawn; not beside a log of requests, as they would write over each other."""
    return asked.output == "table" and on_terminal() and not asked.verbose


class _End(NamedTuple):
    """How it ended."""

    outcome: Outcome
    view: WatchView
    code: int


class _Teller:
    """Tells what happens, as it happens: here on stderr, so that stdout is free for what comes at the end.

    With `hint` it mentions, once, that a wait need not go on for bulks that wait for somebody.
    """

    def __init__(self, *, hint: bool = False) -> None:
        self._hint = hint
        self._wrote_at = time.monotonic()
        self.told: set[tuple[str, str]] = set()
        """What cannot be asked, as far as it was said, and the kind of the reason."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return

    def rest(self) -> float:
        """How long, in seconds, nothing has to be said."""
        return self._wrote_at + HEARTBEAT - time.monotonic()

    def take(self, changes: Iterable[Change]) -> None:
        """Tell these changes."""
        for change in changes:
            self._change(change)
            self._wrote()

    def beat(self, view: WatchView) -> None:
        """Say that it still goes on."""
        blocked = _blocked(view)
        say("; ".join(_heartbeat(view, blocked)))
        if blocked:
            self._mention()
        self._wrote()

    def remind(self, outcome: Outcome) -> None:
        """Mention what would have ended a wait for bulks that wait for somebody."""
        pending = (result.status for result in outcome if result.verdict is Verdict.PENDING)
        if any(status is not None and is_blocked(status) for status in pending):
            self._mention()

    def _mention(self) -> None:
        if self._hint:
            self._hint = False
            say("--stop-when-blocked ends the wait for bulks that wait for somebody")

    def last_known(self, outcome: Outcome, view: WatchView) -> None:
        """Say how the bulks that have not ended stood when they were last seen."""
        counts = {bulk.ref: bulk.counts for bulk in view.bulks}
        left = [result for result in outcome if result.verdict in _OPEN]
        for result in left[:MOST_TOLD]:
            tell(_last_line(result, counts.get(result.ref), outcome.observed_at))
        if len(left) > MOST_TOLD:
            say(f"and {len(left) - MOST_TOLD:,} more")

    def end(self, end: _End) -> None:
        """Tell how it ended."""

    def _wrote(self) -> None:
        self._wrote_at = time.monotonic()

    def _change(self, change: Change) -> None:
        self._line(change)
        trouble = trouble_line(change)
        if trouble is not None:
            name = change.ref or change.source
            self.told = {(other, kind) for other, kind in self.told if other != name}
            # That an id is looked for is not yet why it was not found.
            if change.failure is not None and change.failure.kind != "not_found":
                self.told.add((name, change.failure.kind))
            tell(trouble)
        for warning in change.warnings:
            say(f"{change.ref or change.source}: {warning}")

    def _line(self, change: Change) -> None:
        line = change_line(change)
        if line is not None:
            tell(line)


def _until(moment: datetime, now: datetime) -> float:
    return (moment - now).total_seconds()


def _blocked(view: WatchView) -> int:
    going = (bulk.status for bulk in view.bulks if bulk.verdict is None)
    return sum(status is not None and is_blocked(status) for status in going)


def _heartbeat(view: WatchView, blocked: int) -> list[str]:
    """How far it is, what cannot be asked, and when something will be asked next."""
    ended = sum(bulk.verdict is not None for bulk in view.bulks)
    number = f"still waiting: {ended:,} of {len(view.bulks):,} ended"
    facts = [f"{number}, {waiting(blocked)}" if blocked else number]
    down = [(source.source, source.down_since) for source in view.sources if source.down_since is not None]
    for name, since in down[:_MOST_SOURCES]:
        passed = span(_until(view.observed_at, since))
        facts.append(f"{name} cannot be asked since {clock(since)} ({passed})")
    if len(down) > _MOST_SOURCES:
        facts.append(f"nor can {len(down) - _MOST_SOURCES:,} more sources")
    due = _next_look(view)
    if due is not None:
        facts.append(f"next look in {pause(max(0.0, _until(due, view.observed_at)))}")
    return facts


def _next_look(view: WatchView) -> datetime | None:
    sources = {source.source: source for source in view.sources}
    going = (bulk for bulk in view.bulks if bulk.verdict is None)
    moments = [look_at(bulk, sources.get(Ref.parse(bulk.ref).source)) for bulk in going]
    if not view.bulks:
        moments = [source.next_question for source in view.sources]
    return min((moment for moment in moments if moment is not None), default=None)


def _last_line(result: Result, counts: Counts | None, now: datetime) -> str:
    status = result.status
    facts = ["not seen"] if status is None else [standing(status), word(status), progress(counts)]
    if result.stale_since is not None:
        facts.append(f"stale {span(_until(now, result.stale_since))}")
    return "  ".join(filter(None, (result.ref, *facts)))


class _Lines(_Teller):
    """A line for each step of a bulk, and one for all at the end."""

    def _line(self, change: Change) -> None:
        line = change_line(change)
        if line is not None:
            lines([line])

    def end(self, end: _End) -> None:
        lines([summary(end.outcome)])


class _Document(_Teller):
    """One document at the end."""

    def end(self, end: _End) -> None:
        outcome = end.outcome
        document({"results": outcome.results, "observed_at": outcome.observed_at, "exit_code": end.code})
        sys.stdout.flush()


class _Csv(_Teller):
    """A table of the results at the end."""

    def end(self, end: _End) -> None:
        table_csv(_COLUMNS, map(_row, end.outcome))
        sys.stdout.flush()


def _row(result: Result) -> list[str]:
    status = [""] * len(STATUS_COLUMNS) if result.status is None else status_cells(result.status)
    why = None if result.failure is None else result.failure.message
    return [cell(result.ref), cell(result.verdict), *status[2:], cell(result.stale_since), cell(why)]


class _Names(_Teller):
    """Each reference once its bulk has ended."""

    def _line(self, change: Change) -> None:
        if change.ref is not None and change.verdict is not None and change.verdict.is_end:
            lines([one_word(change.ref)])
        super()._line(change)


class _JsonLines(_Teller):
    """Every change as JSON, between a line that tells the version and one that tells the end."""

    def __enter__(self) -> Self:
        lines([to_json({"bulkstatus": "changes", "version": 1})])
        return self

    def _change(self, change: Change) -> None:
        lines([to_json(change)])

    def last_known(self, outcome: Outcome, view: WatchView) -> None:
        """Say nothing: the changes have told it."""

    def end(self, end: _End) -> None:
        lines([to_json({"summary": by_verdict(end.outcome), "exit_code": end.code})])


class _OnTerminal(_Teller):
    """A picture that is redrawn."""

    def __init__(self, doing: str, timeout: float | None, *, hint: bool = False) -> None:
        super().__init__(hint=hint)
        from bulkstatus.cli._picture import Picture

        self._picture = Picture(console())
        self._took = 0.0
        self._doing = doing
        self._timeout = timeout
        self._began = time.monotonic()
        self._wrote_at = self._began - _REDRAW  # the first picture comes at once

    def __enter__(self) -> Self:
        hold_log()
        self._picture.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._picture.__exit__(kind, error, trace)
        release_log()

    def rest(self) -> float:
        """Until the next picture: later when there is so much of it that drawing takes its time."""
        gap = max(_REDRAW, _DRAWING * self._took)
        return max(0.0, self._wrote_at + gap - time.monotonic())

    def take(self, changes: Iterable[Change]) -> None:
        """Keep them in mind for the next picture."""
        self._picture.note(changes)

    def beat(self, view: WatchView) -> None:
        """Draw."""
        began = time.monotonic()
        self._picture.draw(view, self._headline(view))
        self._wrote()
        self._took = self._wrote_at - began

    def last_known(self, outcome: Outcome, view: WatchView) -> None:
        """Say nothing: the picture shows it."""

    def end(self, end: _End) -> None:
        """Draw the last picture, leave it, and tell below it what went wrong and has no room in it."""
        took = length(time.monotonic() - self._began)
        self._picture.draw(end.view, f"{summary(end.outcome)}; took {took}")
        self._picture.__exit__(None, None, None)
        release_log()
        lines(beyond(end.outcome, self._picture.shown))

    def _headline(self, view: WatchView) -> str:
        ended = [bulk.verdict for bulk in view.bulks if bulk.verdict is not None]
        bad = sum(verdict.is_failure for verdict in ended)
        told = f", {bad:,} of them did not succeed" if bad else ""
        if blocked := _blocked(view):
            told += f", {waiting(blocked)}"
        passed = time.monotonic() - self._began
        left = "" if self._timeout is None else f", {length(max(0.0, self._timeout - passed))} left"
        number = (
            f"{len(ended):,} of {len(view.bulks):,} ended{told}" if view.bulks else "nothing is unfinished"
        )
        return f"{number}; {self._doing} {length(passed)}{left}"
