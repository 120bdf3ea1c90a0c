"""The demonstration: every provider's fake on this machine, and bulks that end in every way."""

import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial

from bulkstatus import BulkStatus, BulkStatusError, Client, Failure, Ref, State, printable
from bulkstatus.cli import _exit
from bulkstatus.cli._options import opened
from bulkstatus.cli._output import console, lines, on_terminal
from bulkstatus.cli._text import clock, failure_line, progress, tell, word
from bulkstatus.testing import fake_names, load_fake, serve

# What users might call these; a provider that is not here lends its own word.
_NAMES = {"weavr": "payments", "cloudflare": "edge", "druid": "crm"}
_EVERY = 0.5
_SETTLED = 15.0  # fakes promise that their bulks end by then
_QUIET = 2.0
_TIMEOUT = 5.0
_SIDE_BY_SIDE = 8

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
Show = Callable[[Iterable[BulkStatus]], None]


def _on_terminal(client: Client, refs: list[Ref], seconds: float) -> Seen:
    from bulkstatus.cli._live import Board

    with Board(console(), refs) as board:
        return _follow(client, refs, seconds, board.update)


def _in_a_pipe(client: Client, refs: list[Ref], seconds: float) -> Seen:
    before: dict[Ref, BulkStatus] = {}

    def show(statuses: Iterable[BulkStatus]) -> None:
        for status in statuses:
            old = before.get(status.ref)
            if old is None or (old.state, old.native_state) != (status.state, status.native_state):
                lines([change(old, status)])
            before[status.ref] = status

    return _follow(client, refs, seconds, show)


def change(old: BulkStatus | None, new: BulkStatus) -> str:
    """One line for one change: when it was seen, which bulk, from where to where, the word, the counts."""
    was = "new" if old is None else str(old.state)
    facts = (clock(new.observed_at), printable(str(new.ref)), f"{was} -> {new.state}", word(new))
    return "  ".join(filter(None, (*facts, progress(new.counts))))


def _follow(client: Client, refs: list[Ref], seconds: float, show: Show) -> Seen:
    """Look at all bulks that have not ended, again and again, until nothing moves any more."""
    began = moved = time.monotonic()
    known: dict[Ref, BulkStatus] = {}
    with ThreadPoolExecutor(_SIDE_BY_SIDE) as threads:
        while True:
            open_ones = [ref for ref in refs if ref not in known or not known[ref].state.is_terminal]
            answers = list(threads.map(partial(_look, client), open_ones))
            found = [answer for answer in answers if isinstance(answer, BulkStatus)]
            show(found)
            now = time.monotonic()
            if any(_word_of(known, status.ref) != status.native_state for status in found):
                moved = now
            known.update((status.ref, status) for status in found)
            settled = now - began >= _SETTLED and now - moved >= _QUIET
            if not open_ones or settled or now - began + _EVERY >= seconds:
                failures = [answer for answer in answers if isinstance(answer, Failure)]
                return [known[ref] for ref in refs if ref in known], failures
            time.sleep(_EVERY)


def _look(client: Client, ref: Ref) -> BulkStatus | Failure:
    """One bulk by its id: rows of a list lack the counts of what is running, and with them the progress."""
    try:
        return client.get(ref, timeout=_TIMEOUT)
    except BulkStatusError as error:
        return Failure.of(error)


def _word_of(known: dict[Ref, BulkStatus], ref: Ref) -> str | None:
    return known[ref].native_state if ref in known else None
