"""A watch on a terminal: its bulks, its sources and how far it is, redrawn in place and never larger than the screen."""

import signal
import threading
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from datetime import datetime
from types import TracebackType
from typing import Self

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.segment import Segment
from rich.text import Text

from bulkstatus import BulkView, Change, Ref, SourceView, State, Verdict, WatchView, is_blocked, printable
from bulkstatus.cli._live import COLOURS, grid, is_wide, progress_cell, word_cell
from bulkstatus.cli._text import (
    PATIENCE,
    age,
    detail,
    is_sought,
    late_mark,
    length,
    look_at,
    reason,
    span,
    standing,
    tightest,
    word,
    words,
)

_HEADER, _BELOW = 1, 3  # the headline, what is not shown, and the line where the cursor stays
_FEWEST = 3
_ETA_FROM = 0.05
_BAD = (State.FAILED, State.PARTIAL, State.CANCELLED, State.EXPIRED)
_NOT_ANSWERING = ("unavailable", "deadline")


class Picture:
    """Draws a watch. A context manager; its last picture stays on the screen."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._changed: dict[str, datetime] = {}
        self.shown: frozenset[str] = frozenset()
        """The references in the last picture."""
        self._live = Live(console=console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False)

    def __enter__(self) -> Self:
        try:
            with undisturbed():
                self._live.start()
        except BaseException:
            self._live.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with undisturbed():
            self._live.stop()

    def note(self, changes: Iterable[Change]) -> None:
        """Keep in mind which bulks changed last."""
        for change in changes:
            if change.ref is not None and (change.kind != "progress" or change.verdict is not None):
                self._changed[change.ref] = change.observed_at

    def draw(self, view: WatchView, headline: str) -> None:
        """Show how everything stands."""
        still = _Still(self._lines(view, headline))
        with undisturbed():
            self._live.update(still, refresh=True)

    def _lines(self, view: WatchView, headline: str) -> list[list[Segment]]:
        room = self._console.height - _HEADER - _BELOW
        sources = _first_in_trouble(view.sources, max(1, room - _FEWEST))
        below = [source_line(source, view.observed_at) for source in sources]
        below.append(Text(headline, style="bold"))
        rows = max(1, room - len(sources))
        chosen = self._chosen(view.bulks, rows)
        table = self._table(chosen, view)
        while len(table) > rows + _HEADER and len(chosen) > 1:  # a reference was folded
            chosen = chosen[: max(1, len(chosen) - (len(table) - rows - _HEADER))]
            table = self._table(chosen, view)
        self.shown = frozenset(bulk.ref for bulk in chosen)
        hidden = len(view.bulks) - len(chosen)
        if hidden:
            below.insert(0, Text(f"and {hidden:,} more that are not shown", style="dim"))
        return [*table, *(line for text in below for line in self._one_line(text))]

    def _chosen(self, bulks: Sequence[BulkView], rows: int) -> list[BulkView]:
        """All in their order, or as many as fit: what matters most first, and what changed last before the rest."""
        if len(bulks) <= rows:
            return list(bulks)

        def rank(bulk: BulkView) -> tuple[int, float]:
            at = self._changed.get(bulk.ref)
            return urgency(bulk), 0.0 if at is None else -at.timestamp()

        return sorted(bulks, key=rank)[:rows]

    def _table(self, bulks: Sequence[BulkView], view: WatchView) -> list[list[Segment]]:
        wide = is_wide(self._console)
        blocks = self._console.encoding.startswith("utf")
        headers = ("ref", "state", "progress", "word", "next", "eta", *(("age", "detail") if wide else ()))
        sources = {source.source: source for source in view.sources}
        rows = [
            _cells(
                bulk,
                sources.get(Ref.parse(bulk.ref).source),
                view.observed_at,
                wide=wide,
                blocks=blocks,
            )
            for bulk in bulks
        ]
        spare = ("age", "word", "next", "eta") if wide else ("word", "next", "eta")
        return self._console.render_lines(grid(headers, rows, self._console, spare=spare), pad=False)

    def _one_line(self, text: Text) -> list[list[Segment]]:
        text.no_wrap, text.overflow = True, "ellipsis"
        return self._console.render_lines(text, pad=False)


class _Still:
    """Lines that are rendered already, so that little is left to do while nothing may come between."""

    def __init__(self, lines: list[list[Segment]]) -> None:
        self._lines = lines

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for line in self._lines:
            yield from line
            yield Segment.line()


@contextmanager
def undisturbed() -> Generator[None]:
    """Hold an interrupt and a termination back for a moment: half a drawing would leave the terminal in disorder."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []

    def keep(number: int, _frame: object) -> None:
        came.append(number)

    before = {number: signal.signal(number, keep) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    for late in came:
        signal.raise_signal(late)


def urgency(bulk: BulkView) -> int:
    """What matters to whoever looks, 0 the most: what went wrong, what needs somebody, what runs, what waits, what is well."""
    status = bulk.status
    bad = bulk.verdict is Verdict.BLIND or (bulk.verdict is not None and bulk.verdict.is_failure)
    if bad or (status is not None and status.state in _BAD):
        return 0
    if bulk.stale_since is not None or (status is None and bulk.failure is not None):
        return 1
    if status is None:
        return 3
    if status.state is State.UNKNOWN or is_blocked(status):
        return 1
    return {State.RUNNING: 2, State.QUEUED: 3}.get(status.state, 4)


def _cells(
    bulk: BulkView, source: SourceView | None, now: datetime, *, wide: bool, blocks: bool
) -> list[Text]:
    status = bulk.status
    sought = PATIENCE if is_sought(bulk) else ""
    cells = [
        Text(printable(bulk.ref)),
        _state(bulk, now),
        progress_cell(bulk.counts, wide=wide, blocks=blocks),
        Text((sought if not wide else "") if status is None else word(status) if wide else word_cell(status)),
        Text(next_look(bulk, source, now), style="dim"),
        Text(eta(bulk, now)),
    ]
    if not wide:
        return cells
    why = sought or reason(bulk.verdict, bulk.failure)
    return [
        *cells,
        Text("" if status is None else age(status, now), style="dim"),
        Text(why or ("" if status is None else detail(status))),
    ]


def _state(bulk: BulkView, now: datetime) -> Text:
    """The last known state, marked where it may not be the present one."""
    status, verdict = bulk.status, bulk.verdict
    if status is None:
        last = Text("not seen")
    else:
        last = Text(standing(status) + late_mark(status), style=COLOURS[status.state])
    if status is not None and status.gone_at is not None:
        return last  # which says so
    if is_sought(bulk):
        return Text("not found yet", style="yellow")
    if verdict is Verdict.NOT_FOUND:
        return Text("not found", style="red")
    if verdict is not None and not verdict.is_end and verdict is not Verdict.PENDING:
        mark = Text(f"! {words(verdict)}", style="yellow" if verdict is Verdict.BLOCKED else "red")
        return Text.assemble(last, " ", mark)
    if bulk.stale_since is not None:
        stale = span((now - bulk.stale_since).total_seconds())
        return Text.assemble(last, " ", Text(f"! stale {stale}", style="yellow"))
    return last


def next_look(bulk: BulkView, source: SourceView | None, now: datetime) -> str:
    """In how long the bulk will be asked about; empty when it will not be."""
    if bulk.verdict is not None:
        return ""
    moment = look_at(bulk, source)
    rest = 0.0 if moment is None else (moment - now).total_seconds()
    return "now" if rest < 1 else span(rest)


def eta(bulk: BulkView, now: datetime) -> str:
    """In about how long the bulk will have ended; empty where too little is done to tell."""
    done = None if bulk.counts is None else bulk.counts.progress
    if bulk.expected_end is None or done is None or done < _ETA_FROM:
        return ""
    return f"~{span((bulk.expected_end - now).total_seconds())}"


def _first_in_trouble(sources: Sequence[SourceView], most: int) -> list[SourceView]:
    if len(sources) <= most:
        return list(sources)
    return sorted(sources, key=lambda source: (source.down_since is None, source.resumes_at is None))[:most]


def source_line(source: SourceView, now: datetime) -> Text:
    """Whether a source answers, and what may still be asked of it."""
    health, colour = _health(source, now)
    allowance = tightest(source.budget)
    left = "" if allowance is None else f"; {allowance} left"
    name = f"{printable(source.source)} ({printable(source.provider)}): "
    return Text.assemble(Text(name, style="dim"), Text(health, style=colour), Text(left, style="dim"))


def _health(source: SourceView, now: datetime) -> tuple[str, str]:
    if source.down_since is not None and source.failure is not None:
        what = "not answering" if source.failure.kind in _NOT_ANSWERING else "cannot be asked"
        since = length((now - source.down_since).total_seconds())
        return f"{what} for {since}: {printable(source.failure.message)}", "red"
    if source.resumes_at is not None:
        return f"paused for {length((source.resumes_at - now).total_seconds() + 1)}", "yellow"
    return "ok", "green"
