"""The blocking client: an awaiting one on a private thread."""

import os
import threading
import warnings
from collections.abc import Collection, Generator, Iterable, Mapping
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self, Unpack
from weakref import WeakSet

from bulkstatus._adapter import Adapter
from bulkstatus._arguments import ListArguments, WaitArguments, WatchArguments
from bulkstatus._client import AsyncClient, SourceHealth
from bulkstatus._config import read_config
from bulkstatus._drift import Drift
from bulkstatus._journal import Journal
from bulkstatus._model import BulkOperation, BulkStatus, Ref, Report
from bulkstatus._outcome import Change, Outcome
from bulkstatus._pages import AsyncListPages, Rows
from bulkstatus._portal import LoopThread, keep_for_ever
from bulkstatus._record import KnownBulk, Transition, WaitTerms
from bulkstatus._recorder import JournalOrPath
from bulkstatus._retry import Policy
from bulkstatus._tasks import is_hurried
from bulkstatus._waits import HeldWait
from bulkstatus.errors import Unavailable

if TYPE_CHECKING:
    import httpx

    from bulkstatus._watch import AsyncWatch, OnChange, WatchView

_CLIENTS: "WeakSet[Client]" = WeakSet()


def _begin_anew_in_child() -> None:
    for client in tuple(_CLIENTS):
        client._begin_anew()  # noqa: SLF001 - no concern of callers


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew_in_child)


class Client:
    """All sources behind one facade, for callers that block. The methods are those of AsyncClient.

    It drives an AsyncClient on a private thread, started at first use, so calls from several threads run side by
    side. Close it, best by a `with` statement. A child process that was forked may go on with it: it gets a thread
    and connections of its own there. What was under way (a watch, a list that is being read) stays the parent's.
    """

    def __init__(
        self,
        sources: Mapping[str, Adapter],
        *,
        policy: Policy | None = None,
        transport: "httpx.AsyncBaseTransport | None" = None,
        journal: JournalOrPath | None = None,
        _brief: bool = False,
    ) -> None:
        self._new = partial(
            AsyncClient, dict(sources), policy=policy, transport=transport, journal=journal, _brief=_brief
        )
        self._client = self._new()
        self._guard = threading.Lock()
        self._thread: LoopThread | None = None
        self._opened: AbstractContextManager[AsyncClient] | None = None
        _CLIENTS.add(self)

    @classmethod
    def from_config(
        cls,
        path: str | Path | None = None,
        *,
        sources: Collection[str] | None = None,
        policy: Policy | None = None,
        transport: "httpx.AsyncBaseTransport | None" = None,
        journal: JournalOrPath | None = None,
    ) -> Self:
        """As AsyncClient.from_config."""
        return cls(read_config(path).build(sources), policy=policy, transport=transport, journal=journal)

    def __enter__(self) -> Self:
        self._loop()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close(kind, error, trace)

    def __del__(self) -> None:
        if getattr(self, "_thread", None) is not None:
            warnings.warn("a bulkstatus.Client was not closed", ResourceWarning, source=self, stacklevel=2)

    def close(self) -> None:
        """Close all connections and end the thread. The client can be used again after it."""
        self._close(None, None, None)

    def _close(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._guard:  # held to the end: whoever reopens meanwhile would meet an engine half closed
            thread, opened = self._thread, self._opened
            self._thread = self._opened = None
            if thread is not None and opened is not None:
                try:
                    opened.__exit__(kind, error, trace)
                except BaseException as interrupt:
                    error = interrupt
                    raise
                finally:
                    thread.close(hurried=is_hurried(error))

    def _begin_anew(self) -> None:
        """Have nothing of the parent's in a child process that was just born; called by itself.

        What the parent has open stays as it is, and is never collected: that would take the parent's connections out
        of what its loop looks at, since both share that.
        """
        if self._thread is not None or self._guard.locked():
            keep_for_ever((self._client, self._thread, self._opened))
            self._client = self._new()
            self._thread = self._opened = None
        self._guard = threading.Lock()

    def _loop(self) -> LoopThread:
        with self._guard:
            if self._thread is None:
                thread = LoopThread()
                opened = thread.enter(self._client)
                try:
                    opened.__enter__()
                except BaseException:
                    # Interrupted, it may be open or not; what comes next begins with one that is not.
                    thread.close(hurried=True)
                    self._client = self._new()
                    raise
                self._thread, self._opened = thread, opened
            return self._thread

    @property
    def realms(self) -> dict[str, str]:
        """As AsyncClient.realms."""
        return self._client.realms

    @property
    def sources(self) -> dict[str, str]:
        """As AsyncClient.sources."""
        return self._client.sources

    @property
    def journal(self) -> Journal | None:
        """As AsyncClient.journal."""
        return self._client.journal

    def get(self, ref: str | Ref, *, fresh: bool = False, timeout: float | None = None) -> BulkStatus:
        """As AsyncClient.get."""
        return self._loop().call(partial(self._client.get, ref, fresh=fresh, timeout=timeout))

    def get_many(
        self, refs: Iterable[str | Ref], *, fresh: bool = False, timeout: float | None = None
    ) -> Report:
        """As AsyncClient.get_many."""
        asked = refs if isinstance(refs, str | Ref) else tuple(refs)
        return self._loop().call(partial(self._client.get_many, asked, fresh=fresh, timeout=timeout))

    def list(self, **arguments: Unpack[ListArguments]) -> Report:
        """As AsyncClient.list, with the same arguments."""
        return self._loop().call(partial(self._client.list, **arguments))

    def list_pages(self, **arguments: Unpack[ListArguments]) -> "ListPages":
        """As AsyncClient.list_pages, with the same arguments; the result is iterated over with `for`."""

        async def begin() -> AsyncListPages:
            return self._client.list_pages(**arguments)

        loop = self._loop()
        return ListPages(loop, loop.call(begin))

    def track(
        self,
        refs: Iterable[str | Ref],
        *,
        note: str | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> None:
        """As AsyncClient.track."""
        asked = refs if isinstance(refs, str | Ref) else tuple(refs)
        self._loop().call(partial(self._client.track, asked, note=note, labels=labels))

    def untrack(self, refs: Iterable[str | Ref]) -> tuple[str, ...]:
        """As AsyncClient.untrack."""
        asked = refs if isinstance(refs, str | Ref) else tuple(refs)
        return self._loop().call(partial(self._client.untrack, asked))

    def tracked(
        self, *, sources: Collection[str] | None = None, labels: Mapping[str, str] | None = None
    ) -> tuple[KnownBulk, ...]:
        """As AsyncClient.tracked."""
        return self._loop().call(partial(self._client.tracked, sources=sources, labels=labels))

    def history(self, ref: str | Ref, *, limit: int = 1_000) -> tuple[Transition, ...]:
        """As AsyncClient.history."""
        return self._loop().call(partial(self._client.history, ref, limit=limit))

    def changes(self, after: str | None = None, *, limit: int = 1_000) -> tuple[Transition, ...]:
        """As AsyncClient.changes."""
        return self._loop().call(partial(self._client.changes, after, limit=limit))

    def drift(self, *, sources: Collection[str] | None = None) -> tuple[Drift, ...]:
        """As AsyncClient.drift."""
        return self._loop().call(partial(self._client.drift, sources=sources))

    def operations(
        self, ref: str | Ref, *, states: Collection[str] | None = None, sequence: int | None = None
    ) -> Generator[BulkOperation]:
        """As AsyncClient.operations."""
        batches = self._client.operation_pages(ref, states=states, sequence=sequence)

        async def next_batch() -> tuple[BulkOperation, ...] | None:
            return await anext(batches, None)

        def rows() -> Generator[BulkOperation]:
            while (batch := self._loop().call(next_batch)) is not None:
                yield from batch

        return rows()

    def check(
        self, *, sources: Collection[str] | None = None, timeout: float | None = None
    ) -> tuple[SourceHealth, ...]:
        """As AsyncClient.check."""
        return self._loop().call(partial(self._client.check, sources=sources, timeout=timeout))

    def wait(
        self,
        refs: Iterable[str | Ref],
        *,
        on_change: "OnChange | None" = None,
        **arguments: Unpack[WaitArguments],
    ) -> Outcome:
        """As AsyncClient.wait, with the same arguments."""
        asked = refs if isinstance(refs, str | Ref) else tuple(refs)
        return self._loop().call(partial(self._client.wait, asked, on_change=on_change, **arguments))

    def begin_wait(self, refs: Iterable[str | Ref], terms: WaitTerms) -> HeldWait | None:
        """As AsyncClient.begin_wait."""
        asked = refs if isinstance(refs, str | Ref) else tuple(refs)
        return self._loop().call(partial(self._client.begin_wait, asked, terms))

    def end_wait(self, held: HeldWait, outcome: Outcome) -> None:
        """As AsyncClient.end_wait."""
        self._loop().call(partial(self._client.end_wait, held, outcome))

    def resume(
        self, wait: int | None = None, *, fresh: bool = False, on_change: "OnChange | None" = None
    ) -> Outcome:
        """As AsyncClient.resume."""
        return self._loop().call(partial(self._client.resume, wait, fresh=fresh, on_change=on_change))

    def watch(self, refs: Iterable[str | Ref] | None = None, **arguments: Unpack[WatchArguments]) -> "Watch":
        """As AsyncClient.watch, with the same arguments; the result is iterated over with `for`."""
        asked = refs if refs is None or isinstance(refs, str | Ref) else tuple(refs)

        async def begin() -> "AsyncWatch":
            return self._client.watch(asked, **arguments)

        loop = self._loop()
        return Watch(loop, loop.call(begin))


class Watch:
    """Changes as they are noticed; made by `Client.watch`.

    Iterate over it with `for`. The methods are those of AsyncWatch. Leave it early with `close`, or use it in a
    `with` statement.
    """

    def __init__(self, loop: LoopThread, watch: "AsyncWatch") -> None:
        self._loop = loop
        self._watch = watch
        self._closed = False

    def __del__(self) -> None:
        self.close()

    @property
    def is_over(self) -> bool:
        """As AsyncWatch.is_over."""
        return self._watch.is_over

    def changes(self, within: float | None = None) -> tuple[Change, ...]:
        """As AsyncWatch.changes."""
        return self._loop.call(partial(self._watch.changes, within))

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Change:
        try:
            return self._loop.call(self._watch.__anext__)
        except StopAsyncIteration:
            raise StopIteration from None

    def outcome(self) -> Outcome:
        """As AsyncWatch.outcome, also after the client was closed."""
        try:
            return self._loop.run(self._watch.outcome)
        except Unavailable:
            return self._watch.outcome()

    def view(self) -> "WatchView":
        """As AsyncWatch.view."""
        return self._loop.run(self._watch.view)

    def close(self) -> None:
        """As AsyncWatch.close."""
        if not self._closed:
            self._closed = True
            self._loop.post(self._watch.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class ListPages:
    """The rows of a list as they become known; made by `Client.list_pages`.

    Iterate over it with `for`. The methods are those of AsyncListPages.
    """

    def __init__(self, loop: LoopThread, pages: AsyncListPages) -> None:
        self._loop = loop
        self._pages = pages

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Rows:
        try:
            return self._loop.call(self._pages.__anext__)
        except StopAsyncIteration:
            raise StopIteration from None

    def rows(self, within: float) -> Rows:
        """As AsyncListPages.rows."""
        return self._loop.call(partial(self._pages.rows, within))

    def report(self) -> Report:
        """As AsyncListPages.report."""
        return self._loop.run(self._pages.report)

    def close(self) -> None:
        """As AsyncListPages.close."""
        self._loop.post(self._pages.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
