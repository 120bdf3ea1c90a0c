"""The demonstration: every provider's fake on this machine, and bulks that end in every way."""

from collections import Counter
from collections.abc import Callable, Generator, Iterable
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta

from bulkstatus import BulkStatus, Change, Client, Failure, Ref, Result, State, WatchView
from bulkstatus.cli import _exit
from bulkstatus.cli._options import left_by_signals, opened
from bulkstatus.cli._output import console, lines, on_terminal
from bulkstatus.cli._text import about, change_line, failure_line, tell
from bulkstatus.testing import fake_names, load_fake, serve

# What users might call these; a provider that is not here lends its own word.
_NAMES = {"weavr": "payments", "cloudflare": "edge", "druid": "crm", "openai": "batches"}
_EVERY = 0.5
_SETTLED = 15.0  # fakes promise that their bulks end by then

_STORY = (
    "Several vocabularies in one: the state is ours, the word is the provider's own.",
    "A paused bulk waits for somebody; a word that nobody documented is unknown, never an end.",
    "All of it ran on this machine; nothing was sent anywhere else. Next: bulkstatus config init",
)


def demo(seconds: float) -> int:
    """Serve the fakes and watch their bulks, for `seconds` at most; return the exit code."""
    with _stage() as (client, refs):
        watch = _on_terminal if on_terminal() else _in_a_pipe
        statuses, failures = watch(client, refs, seconds)
    ends = Counter(status.state for status in statuses)
    told = ", ".join(f"{ends[state]} {state}" for state in State if ends[state]) or "none was seen"
    lines([f"{len(statuses)} bulks of {len({status.provider for status in statuses})} providers: {told}."])
    if on_terminal():
        screen = console()
        for sentence in _STORY:
            screen.print(sentence)
    for failure in failures:
        tell(failure_line(failure))
    return _exit.combine(_exit.for_kind(failure.kind) for failure in failures)


@contextmanager
def _stage() -> Generator[tuple[Client, list[Ref]]]:
    with ExitStack() as stack:
        fakes = {_NAMES.get(name, name): load_fake(name).demo() for name in fake_names()}
        urls = {source: stack.enter_context(serve(fake)) for source, fake in fakes.items()}
        client = Client({source: fake.adapter(urls[source]) for source, fake in fakes.items()})
        refs = [Ref(source, id) for source, fake in fakes.items() for id in fake.bulk_ids()]
        yield stack.enter_context(opened(client)), refs


Seen = tuple[list[BulkStatus], list[Failure]]


def _on_terminal(client: Client, refs: list[Ref], seconds: float) -> Seen:
    from bulkstatus.cli._live import Board

    with Board(console(), refs) as board:
        return _follow(client, refs, seconds, board.update)


def _in_a_pipe(client: Client, refs: list[Ref], seconds: float) -> Seen:
    def show(changes: Iterable[Change]) -> None:
        lines(line for change in changes if (line := change_line(change)) is not None)

    return _follow(client, refs, seconds, show)


def _follow(
    client: Client, refs: list[Ref], seconds: float, show: Callable[[Iterable[Change]], None]
) -> Seen:
    """Watch all bulks until nothing moves any more: some stay paused, or at a word that nobody knows."""
    last = datetime.now(UTC) + timedelta(seconds=_SETTLED)
    watched = client.watch(refs, timeout=seconds, polling="eager", detail=True)
    with left_by_signals(watched) as watch:
        while not watch.is_over and not _settled(watch.view(), last):
            show(watch.changes(within=_EVERY))
        show(watch.changes(within=0.0))
        results = tuple(watch.outcome())
    return _seen(results)


def _settled(view: WatchView, last: datetime) -> bool:
    """True when each bulk has ended, or was looked at after the moment `last`."""
    going = (bulk.status for bulk in view.bulks if bulk.verdict is None)
    return all(status is not None and status.observed_at >= last for status in going)


def _seen(results: Iterable[Result]) -> Seen:
    """The statuses there are, and why others are not; once for each source, as bulks share its trouble."""
    statuses: list[BulkStatus] = []
    failures: dict[str, Failure] = {}
    for result in results:
        if result.status is not None:
            statuses.append(result.status)
        elif result.failure is not None:
            failures.setdefault(result.failure.source, about(result.failure, None))
    return statuses, list(failures.values())
