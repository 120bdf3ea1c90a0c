"""The table of bulks on a terminal: printed once, or redrawn while it changes."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from bulkstatus import BulkStatus, Counts, Ref, State, printable
from bulkstatus.cli._text import age, detail, progress, word

_WIDE = 110
_BAR = 12
_REDRAWS = 8

COLOURS = {
    State.QUEUED: "blue",
    State.RUNNING: "cyan",
    State.PAUSED: "yellow",
    State.SUCCEEDED: "green",
    State.PARTIAL: "yellow",
    State.FAILED: "red",
    State.CANCELLED: "magenta",
    State.EXPIRED: "magenta",
    State.UNKNOWN: "bold magenta",
}


def status_table(statuses: Iterable[BulkStatus], console: Console, now: datetime) -> Table:
    """The bulks as a table as wide as the console. References and states are never cut; what is behind them may be."""
    wide = console.width >= _WIDE
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("ref", overflow="fold", header_style="bold")
    table.add_column("state", no_wrap=True, min_width=9, header_style="bold")
    table.add_column("progress", no_wrap=True, header_style="bold")
    table.add_column("word", no_wrap=True, overflow="ellipsis", header_style="bold")
    if wide:
        table.add_column("since", no_wrap=True, overflow="ellipsis", header_style="bold")
        table.add_column("detail", no_wrap=True, overflow="ellipsis", header_style="bold")
    for status in statuses:
        table.add_row(*_cells(status, now, wide=wide, blocks=console.encoding.startswith("utf")))
    return table


def _cells(status: BulkStatus, now: datetime, *, wide: bool, blocks: bool) -> list[Text]:
    said = word(status)
    counts = progress(status.counts)
    cells = [Text(printable(str(status.ref))), Text(str(status.state), style=COLOURS[status.state])]
    if wide:
        drawn = bar(status.counts, blocks=blocks)
        if counts:
            drawn.append(f" {counts}" if drawn else counts)
        return [*cells, drawn, Text(said), Text(age(status, now), style="dim"), Text(detail(status))]
    more = f"{said}: {detail(status)}" if status.error else said
    return [*cells, Text(counts), Text(more)]


def bar(counts: Counts | None, *, blocks: bool, width: int = _BAR) -> Text:
    """A bar of what succeeded (green), failed (red) and was cancelled (magenta); empty when counts do not tell."""
    drawn = Text()
    if counts is None or counts.progress is None or not counts.total:
        return drawn
    full, rest = ("\u2501", "\u2500") if blocks else ("#", "-")
    ended = 0
    for count, colour in (
        (counts.succeeded, "green"),
        (counts.failed, "red"),
        (counts.cancelled, "magenta"),
    ):
        if count:
            cells = max(1, round(width * count / counts.total))
            cells = min(cells, width - ended)
            drawn.append(full * cells, style=colour)
            ended += cells
    drawn.append(rest * (width - ended), style="dim")
    return drawn


class Board:
    """A table of bulks that is redrawn in place, on a terminal only. A context manager.

    It keeps the order in which bulks first came, and leaves its last picture on the screen.
    """

    def __init__(self, console: Console, order: Sequence[Ref] = ()) -> None:
        self._console = console
        self._rows: dict[Ref, BulkStatus | None] = dict.fromkeys(order)
        self._live = Live(
            console=console,
            get_renderable=self._draw,
            refresh_per_second=_REDRAWS,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def update(self, statuses: Iterable[BulkStatus]) -> None:
        """Take over newer statuses."""
        for status in statuses:
            self._rows[status.ref] = status

    def _draw(self) -> Table:
        known = [status for status in list(self._rows.values()) if status is not None]
        return status_table(known, self._console, datetime.now(UTC))
