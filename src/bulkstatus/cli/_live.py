"""The table of bulks on a terminal: printed once, or redrawn while it changes."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from types import TracebackType
from typing import Literal, NamedTuple, Self

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from bulkstatus import BulkStatus, Change, Counts, Ref, State, printable
from bulkstatus.cli._text import age, detail, late_mark, progress, state, word

_WIDE = 110
_BAR, _SHORT_BAR = 12, 5
_REDRAWS = 8
_GAP = 2
# How narrow a column may become. A reference is folded then, the others are cut.
_SHRINKS = {"ref": 20, "word": 8, "since": 8, "detail": 8}
# So wide they have to be before a column that can be spared gets room.
_EASED = {"word": 16, "detail": 24}
_ALWAYS = 2  # the columns that no screen is too narrow for: ref and state

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
    return next(status_tables([statuses], console, now))


def status_tables(
    batches: Iterable[Iterable[BulkStatus]], console: Console, now: datetime
) -> Iterator[Table]:
    """Batches of bulks as tables that read as one: the first has the headers, and its columns are those of all."""
    wide = is_wide(console)
    blocks = console.encoding.startswith("utf")
    headers = ("ref", "state", "progress", "word", *(("since", "detail") if wide else ()))
    layout: _Layout | None = None
    for statuses in batches:
        rows = [_cells(status, now, wide=wide, blocks=blocks) for status in statuses]
        first = layout is None
        layout = layout or _layout(headers, rows, console.width)
        yield _table(layout, rows, headed=first)


def grid(
    headers: Sequence[str], rows: Sequence[Sequence[Text]], console: Console, *, spare: Sequence[str] = ()
) -> Table:
    """Columns of text as wide as the console. The first, a reference, is folded; the others are cut.

    The columns in `spare` are left out, one after another, until the others have room.
    """
    return _table(_layout(headers, rows, console.width, spare), rows)


class _Layout(NamedTuple):
    """Which columns are shown, and how wide."""

    columns: tuple[int, ...]
    headers: tuple[str, ...]
    widths: tuple[int, ...]


def _layout(
    headers: Sequence[str], rows: Sequence[Sequence[Text]], room: int, spare: Sequence[str] = ()
) -> _Layout:
    kept = _roomy(headers, rows, room, spare)
    headers = [headers[index] for index in kept]
    rows = [[row[index] for index in kept] for row in rows]
    # Columns that do not fit are left out at the end: rich would cut all of them, the state too.
    widths = _widths(headers, rows, room)
    while len(widths) > _ALWAYS and _sum(widths) > room:
        headers = headers[:-1]
        widths = _widths(headers, rows, room)
    widths[0] = max(1, widths[0] - max(0, _sum(widths) - room))
    return _Layout(tuple(kept[: len(headers)]), tuple(headers), tuple(widths))


def _table(layout: _Layout, rows: Sequence[Sequence[Text]], *, headed: bool = True) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), show_header=headed)
    for header, width in zip(layout.headers, layout.widths, strict=True):
        overflow: Literal["fold", "ellipsis"] = "fold" if header == "ref" else "ellipsis"
        table.add_column(header, width=width, no_wrap=header != "ref", overflow=overflow, header_style="bold")
    for row in rows:
        table.add_row(*(row[index] for index in layout.columns))
    return table


def _roomy(
    headers: Sequence[str], rows: Sequence[Sequence[Text]], room: int, spare: Sequence[str]
) -> list[int]:
    """The columns that stay."""
    needed = _needed(headers, rows)
    eased = [min(width, _EASED.get(header, width)) for header, width in zip(headers, needed, strict=True)]
    kept = list(range(len(headers)))
    for name in spare:
        if _sum([eased[index] for index in kept]) > room:
            kept.remove(headers.index(name))
    return kept


def _sum(widths: Sequence[int]) -> int:
    return sum(widths) + _GAP * (len(widths) - 1)


def _widths(headers: Sequence[str], rows: Sequence[Sequence[Text]], room: int) -> list[int]:
    """The width of each column: what it needs, the last ones less when there is no room for all."""
    needed = _needed(headers, rows)
    spare = room - _sum(needed)
    for index, header in reversed(list(enumerate(headers))):
        if spare < 0 and header in _SHRINKS:
            width = max(min(_SHRINKS[header], needed[index]), needed[index] + spare)
            spare += needed[index] - width
            needed[index] = width
    return needed


def _needed(headers: Sequence[str], rows: Sequence[Sequence[Text]]) -> list[int]:
    return [
        max(len(header), *(row[index].cell_len for row in rows), 0) for index, header in enumerate(headers)
    ]


def _cells(status: BulkStatus, now: datetime, *, wide: bool, blocks: bool) -> list[Text]:
    cells = [
        Text(printable(str(status.ref))),
        Text(state(status) + late_mark(status), style=COLOURS[status.state]),
        progress_cell(status.counts, wide=wide, blocks=blocks),
    ]
    if wide:
        return [*cells, Text(word(status)), Text(age(status, now), style="dim"), Text(detail(status))]
    return [*cells, Text(word_cell(status))]


def is_wide(console: Console) -> bool:
    """True when there is room for whole sentences."""
    return console.width >= _WIDE


def progress_cell(counts: Counts | None, *, wide: bool, blocks: bool) -> Text:
    """The bar and the numbers; either is left out where counts do not tell."""
    numbers = progress(counts)
    drawn = bar(counts, blocks=blocks, width=_BAR if wide else _SHORT_BAR)
    if numbers:
        drawn.append(f" {numbers}" if drawn else numbers)
    return drawn


def word_cell(status: BulkStatus) -> str:
    """The provider's word, and its error text where it gave one: for screens without a column of details."""
    return f"{word(status)}: {detail(status)}" if status.error else word(status)


def bar(counts: Counts | None, *, blocks: bool, width: int = _BAR) -> Text:
    """A bar of what succeeded (green), failed (red) and was cancelled (magenta); empty when counts do not tell."""
    drawn = Text()
    if counts is None or counts.progress is None or not counts.total or counts.total < 0:
        return drawn
    full, rest = ("\u2501", "\u2500") if blocks else ("#", "-")
    ended = drawn_to = 0
    for count, colour in (
        (counts.succeeded, "green"),
        (counts.failed, "red"),
        (counts.cancelled, "magenta"),
    ):
        ended += max(0, count or 0)
        # Rounded down, so that a bar is full only when all have ended.
        until = max(drawn_to, min(width, width * ended // counts.total))
        drawn.append(full * (until - drawn_to), style=colour)
        drawn_to = until
    drawn.append(rest * (width - drawn_to), style="dim")
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

    def update(self, changes: Iterable[Change]) -> None:
        """Take over what changed."""
        for change in changes:
            if change.status is not None:
                self._rows[change.status.ref] = change.status

    def _draw(self) -> Table:
        known = [status for status in list(self._rows.values()) if status is not None]
        return status_table(known, self._console, datetime.now(UTC))
