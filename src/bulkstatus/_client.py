"""The facade: one client for all sources."""

import builtins
from collections.abc import (
    AsyncGenerator,
    Awaitable,
    Callable,
    Collection,
    Coroutine,
    Iterable,
    Mapping,
)
from datetime import datetime
from functools import partial
from importlib import import_module
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, Self, TypeVar, Unpack, get_args

import msgspec

from bulkstatus import _times
from bulkstatus._adapter import SOURCE_NAME, Adapter, Limit, Listing, Operations, Probe
from bulkstatus._arguments import ListArguments
from bulkstatus._budget import Allowance
from bulkstatus._call import ListQuery, OperationQuery
from bulkstatus._config import read_config
from bulkstatus._drift import Drift
from bulkstatus._engine import Engine
from bulkstatus._gather import (
    NO_LISTING,
    Gathering,
    get_of_source,
    list_source,
    list_tracked,
    no_list,
    side_by_side,
)
from bulkstatus._journal import Journal
from bulkstatus._model import BulkOperation, BulkStatus, Failure, Ref, Report, State, by_source
from bulkstatus._outcome import Outcome
from bulkstatus._pages import AsyncListPages
from bulkstatus._paging import pages
from bulkstatus._polling import PollPolicy, Preset
from bulkstatus._record import KnownBulk, Transition, WaitTerms
from bulkstatus._recorder import JournalOrPath, Recorder
from bulkstatus._retry import Policy
from bulkstatus._tasks import NotOpen, deadline, is_duration, is_hurried, now, together
from bulkstatus._text import nearest
from bulkstatus._times import Stamp
from bulkstatus._waits import HeldWait
from bulkstatus.errors import BulkStatusError, ConfigError, NotFound

if TYPE_CHECKING:
    import httpx

    # What follows bulks is imported when a client is opened: a command that asks once (`_brief`) has no use for it.
    from bulkstatus._follow import Follower
    from bulkstatus._subscription import Until
    from bulkstatus._track import Terms
    from bulkstatus._watch import AsyncWatch, OnChange

T = TypeVar("T")
# What a client that may be asked much and for long imports when it is opened, so that no question waits for it later.
_USED_LATER = ("bulkstatus._follow", "bulkstatus._watch", "stamina")


class SourceHealth(msgspec.Struct, frozen=True, kw_only=True):
    """What a look at a source showed.

    `reachable` and `accepted` (the credentials) are None where the look could not tell. `limits` are the
    provider's documented ones, `budget` is what bulkstatus keeps of them and what this client has left of that,
    `listing` and `operations` what it can do. `failure` is why it does not work.
    """

    source: str
    provider: str
    base_urls: tuple[str, ...]
    reachable: bool | None
    accepted: bool | None
    limits: tuple[Limit, ...]
    budget: tuple[Allowance, ...]
    listing: bool
    operations: bool
    failure: Failure | None = None


class AsyncClient:
    """All sources behind one facade, for asyncio.

    `sources` maps names of your choice to adapters. `policy` says how patient each question is. `transport` replaces
    the network, as tests do. `journal` is a Journal, or the path of one, in which everything that is seen is recorded,
    and from which bulks that have ended are answered; without it nothing is remembered. Use the client in an `async
    with` statement; every method may be called any number of times side by side. Raises ConfigError for a name that
    cannot be one, before anything is sent.

    Methods take a `timeout` in seconds for the whole call. When it ends, the call raises DeadlineExceeded or, where
    it gives a Report, names the sources that were not done. No request is cancelled by it.
    """

    # `_brief` is the command line's, for a client that is asked once: it goes without what takes long to import.
    def __init__(
        self,
        sources: Mapping[str, Adapter],
        *,
        policy: Policy | None = None,
        transport: "httpx.AsyncBaseTransport | None" = None,
        journal: JournalOrPath | None = None,
        _brief: bool = False,
    ) -> None:
        if not sources:
            raise ConfigError("no sources are configured")
        for name, adapter in sources.items():
            if SOURCE_NAME.fullmatch(name) is None:
                raise ConfigError(
                    f"{name[:64]!r} cannot name a source: use letters, digits, '.', '_' and '-'"
                )
            if not isinstance(adapter, Adapter):
                raise ConfigError(f"source {name!r} is not an adapter but a {type(adapter).__name__}")
        self._adapters = dict(sources)
        self._is_open, self._brief = False, _brief
        self._follower: Follower | None = None
        self._recorder = Recorder(journal, self._adapters)
        witness = self._recorder.saw if self._recorder.is_on else None
        self._engine = Engine(
            self._adapters,
            policy=policy or Policy(),
            transport=transport,
            fast=not _brief,
            witness=witness,
            notice=self._recorder.noticed,
        )

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
        """A client for the sources of a configuration file, or for those named in `sources`.

        The file is `path`, else the one `$BULKSTATUS_CONFIG` names, else `bulkstatus.toml` in the user's
        configuration folder. Raises ConfigError, with file and line, for anything wrong in it.
        """
        return cls(read_config(path).build(sources), policy=policy, transport=transport, journal=journal)

    async def __aenter__(self) -> Self:
        if not self._brief:
            for module in _USED_LATER:
                import_module(module)
        await self._engine.__aenter__()
        self._recorder.open()
        self._is_open = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._is_open:
            self._engine.tasks()  # raises in another event loop, before anything is taken apart
            self._is_open = False
            if self._follower is not None:
                self._follower.close()
                self._follower = None
        try:
            await self._engine.__aexit__(kind, error, trace)
        finally:
            await self._recorder.close(hurried=is_hurried(error))

    @property
    def journal(self) -> Journal | None:
        """The journal, if there is one."""
        return self._recorder.journal

    @property
    def realms(self) -> dict[str, str]:
        """Whose bulks each source has: provider, base URLs, account, no credential. Empty without a journal."""
        return self._recorder.realms

    @property
    def sources(self) -> dict[str, str]:
        """The names of the sources, each with its provider's word."""
        return {name: adapter.provider for name, adapter in self._adapters.items()}

    async def get(self, ref: str | Ref, *, fresh: bool = False, timeout: float | None = None) -> BulkStatus:
        """How one bulk stands.

        With a journal, one that is known to have ended is answered from there, unless `fresh`; and one that was seen
        before and that the provider has forgotten since comes back as it was seen last, with `gone_at` set.

        Raises ConfigError for a reference that cannot be one (nothing is sent), NotFound when the provider does not
        know the bulk, and the other errors of `bulkstatus.errors` when it could not be asked. A bulk that failed is
        no error: its `state` says so.
        """
        wanted = self._resolve(ref)
        adapter = self._adapters[wanted.source]
        if self._recorder.is_on:
            settled = {} if fresh else await self._recorder.settled([wanted])
            if wanted in settled:
                return settled[wanted]
            self._recorder.wants([wanted])
        asked = Stamp.take()
        try:
            with deadline(timeout):
                status = await self._engine.perform(wanted.source, adapter.status(wanted.id), id=wanted.id)
        except BulkStatusError as error:
            error.about(source=wanted.source, provider=adapter.provider, id=wanted.id)
            if isinstance(error, NotFound):
                gone = await self._recorder.missed(wanted, error, asked)
                if gone is not None:
                    return gone
            raise
        return self._recorder.marked(status)

    async def get_many(
        self, refs: Iterable[str | Ref], *, fresh: bool = False, timeout: float | None = None
    ) -> Report:
        """How many bulks stand, with as few requests as their providers allow. References that repeat count once.

        With a journal, as with `get`, those that have ended are not asked for again, unless `fresh`.

        Raises ConfigError when a reference cannot be one; nothing is sent then. All else that goes wrong is in the
        report's `failures`.
        """
        asked = [refs] if isinstance(refs, str | Ref) else refs
        wanted = list(dict.fromkeys(map(self._resolve, asked)))
        self._engine.tasks()  # raises when not open, before there are tasks to raise in
        settled = {} if fresh else await self._recorder.settled(wanted)
        left = by_source(ref for ref in wanted if ref not in settled)
        gathering = Gathering(self._adapters, self._recorder, left)
        for status in settled.values():
            gathering.add(status)
        self._recorder.wants(wanted)
        jobs = {
            source: partial(get_of_source, self._engine, source, self._adapters[source], ids, gathering)
            for source, ids in left.items()
        }
        await side_by_side(jobs, gathering, timeout)
        return gathering.report(gathering.of(wanted))

    async def list(
        self,
        *,
        sources: Collection[str] | None = None,
        states: Collection[str] | None = None,
        confirm: bool = False,
        tracked: bool = False,
        labels: Mapping[str, str] | None = None,
        older_than: float | None = None,
        newer_than: float | None = None,
        fresh: bool = False,
        timeout: float | None = None,
    ) -> Report:
        """The bulks of all sources, or of those named, in all states or in those named.

        A source that cannot be asked is in the report's `failures`, with the rows it gave before that kept; one whose
        provider has no list is in `skipped`. Raises ConfigError for an unknown source or state, and when no source
        has a list.

        Rows come from the provider's list, which may say less than `get`. An end that only the list tells is
        `provisional`: a bulk it calls failed may hold operations that succeeded, and the other way round, and a filter
        on states goes by the list's word too. With a journal, one that is known to have ended so is told from there, unless
        `fresh`. With `confirm` each such bulk is asked for by its id, at the cost of
        a request each; one that cannot be asked is then among the failures.

        With a journal, a source whose provider has no list gives the bulks that are tracked: those that were asked for
        by name, or `track`ed. So does every source with `tracked`, and with `labels`, which they have to bear. They are
        asked for afresh, but for those that have ended, or have been gone for a day, unless `fresh`. `older_than` and `newer_than`
        narrow by age, in seconds since a bulk began, or was first seen; one whose age nobody knows is kept.
        """
        _, gather, report = self._listing(
            sources=sources,
            states=states,
            confirm=confirm,
            tracked=tracked,
            labels=labels,
            older_than=older_than,
            newer_than=newer_than,
            fresh=fresh,
            timeout=timeout,
        )
        await gather()
        return report()

    def list_pages(self, **arguments: Unpack[ListArguments]) -> AsyncListPages:
        """As `list`, with the same arguments, the rows as they become known; see AsyncListPages."""
        gathering, gather, report = self._listing(**arguments)
        return AsyncListPages(gathering, gather, report, self._engine.tasks())

    def _listing(
        self,
        *,
        sources: Collection[str] | None = None,
        states: Collection[str] | None = None,
        confirm: bool = False,
        tracked: bool = False,
        labels: Mapping[str, str] | None = None,
        older_than: float | None = None,
        newer_than: float | None = None,
        fresh: bool = False,
        timeout: float | None = None,
    ) -> tuple[Gathering, Callable[[], Awaitable[None]], Callable[[], Report]]:
        """What a list is made of: where it comes together, what brings it there, and what is made of it."""
        names, ages = self._select(sources), _ages(older_than, newer_than)
        by_journal = tracked or bool(labels)
        if by_journal and not self._recorder.is_on:
            raise ConfigError(
                "tracked bulks are listed from a journal, and this client has none: give it one, or leave out --no-journal"
            )
        if not self._recorder.is_on and not any(isinstance(self._adapters[name], Listing) for name in names):
            raise ConfigError(f"{', '.join(names)}: {NO_LISTING}, as in get {names[0]}:ID")
        wanted = _states(states)
        self._engine.tasks()

        def keeps(status: BulkStatus) -> bool:
            in_state = wanted is None or status.state in wanted
            return in_state and (ages == _ANY_AGE or ages.hold(self._recorder.began(status)))

        gathering = Gathering(self._adapters, self._recorder, keeps=keeps)
        jobs: dict[str, Callable[[], Coroutine[object, object, None]]] = {}
        for name in names:
            adapter = self._adapters[name]
            if self._recorder.is_on and (by_journal or not isinstance(adapter, Listing)):
                jobs[name] = partial(
                    list_tracked,
                    self._engine,
                    name,
                    adapter,
                    gathering,
                    labels=labels,
                    fresh=fresh,
                    asked_for=by_journal,
                )
            else:
                query = ListQuery(states=wanted)
                jobs[name] = partial(
                    list_source,
                    self._engine,
                    name,
                    adapter,
                    query,
                    gathering,
                    confirm=confirm,
                    fresh=fresh,
                )

        def report() -> Report:
            return gathering.report(chain.from_iterable(map(gathering.of_source, names)))

        return gathering, partial(side_by_side, jobs, gathering, timeout), report

    async def track(
        self,
        refs: Iterable[str | Ref],
        *,
        note: str | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> None:
        """Keep bulks in mind, so that `list` shows them; what is asked for by name is tracked anyway. Nothing is sent.

        `note` replaces an earlier one, `labels` those of the same names. Never write secrets or personal data there.

        Raises ConfigError for what cannot be a reference, a note or a label, and JournalError.
        """
        for source, ids in self._by_source(refs).items():
            place = self._recorder.place(source)
            await self._recorder.do(partial(Journal.track, place=place, ids=ids, note=note, labels=labels))

    async def untrack(self, refs: Iterable[str | Ref]) -> tuple[str, ...]:
        """Keep bulks in mind no longer; what was seen of them stays. Gives those that were tracked. Nothing is sent.

        Raises as `track` does.
        """
        found: list[str] = []
        for source, ids in self._by_source(refs).items():
            place = self._recorder.place(source)
            done = await self._recorder.do(partial(Journal.untrack, place=place, ids=ids))
            found += (f"{source}:{id}" for id in done)
            self._recorder.wants_no_more(Ref(source, id) for id in ids)
        return tuple(found)

    async def tracked(
        self, *, sources: Collection[str] | None = None, labels: Mapping[str, str] | None = None
    ) -> tuple[KnownBulk, ...]:
        """The tracked bulks as the journal knows them, those that were asked for first before others. Nothing is sent.

        Raises ConfigError without a journal, and JournalError.
        """
        found: builtins.list[KnownBulk] = []
        for source in self._select(sources):
            self._recorder.place(source)
            found += await self._recorder.tracked(source, labels)
        return tuple(found)

    async def history(self, ref: str | Ref, *, limit: int = 1_000) -> tuple[Transition, ...]:
        """The last `limit` steps of one bulk that the journal holds, the oldest first. Nothing is sent.

        Raises ConfigError without a journal, and JournalError.
        """
        return await self._recorder.look(partial(Journal.history, ref=self._resolve(ref), limit=limit))

    async def changes(self, after: str | None = None, *, limit: int = 1_000) -> tuple[Transition, ...]:
        """The steps of all bulks behind a cursor, as of Journal.changes. Nothing is sent."""
        return await self._recorder.look(partial(Journal.changes, after=after, limit=limit))

    async def drift(self, *, sources: Collection[str] | None = None) -> tuple[Drift, ...]:
        """What was in the sources' answers that their adapters do not know: words, fields, times that cannot be read.

        With a journal, what every process has seen that uses it; without one, what this client has seen. A word that
        `state_map` gives a meaning by now is left out. Nothing is sent.

        Raises ConfigError for a source that there is not, and JournalError.
        """
        if self._recorder.is_on:
            self._engine.tasks()  # raises when not open: what others have counted cannot be read then
        providers = {name: self._adapters[name].provider for name in self._select(sources)}
        found = await self._recorder.drift()
        return tuple(one for one in found if providers.get(one.source) == one.provider)

    def _by_source(self, refs: Iterable[str | Ref]) -> dict[str, "builtins.list[str]"]:
        asked = [refs] if isinstance(refs, str | Ref) else refs
        return by_source(dict.fromkeys(map(self._resolve, asked)))

    def operations(
        self, ref: str | Ref, *, states: Collection[str] | None = None, sequence: int | None = None
    ) -> AsyncGenerator[BulkOperation]:
        """The operations inside a bulk, page after page as they are taken, in the provider's order.

        Raises ConfigError at once when the provider has no operations or cannot tell the states asked for; while it
        goes on, what `get` raises, and ProtocolError when the pages turn out not to be complete.
        """
        batches = self.operation_pages(ref, states=states, sequence=sequence)

        async def rows() -> AsyncGenerator[BulkOperation]:
            async for batch in batches:
                for operation in batch:
                    yield operation

        return rows()

    def operation_pages(
        self, ref: str | Ref, *, states: Collection[str] | None = None, sequence: int | None = None
    ) -> AsyncGenerator[tuple[BulkOperation, ...]]:
        """As `operations`, a page at a time."""
        source, id = self._resolve(ref)
        adapter = self._adapters[source]
        if not isinstance(adapter, Operations):
            raise ConfigError(f"{adapter.provider} shows no operations inside a bulk", source=source)
        wanted = _states(states)
        about = partial(BulkStatusError.about, source=source, provider=adapter.provider, id=id)
        try:
            first = adapter.operations(id, OperationQuery(states=wanted, sequence=sequence))
        except BulkStatusError as error:
            about(error)
            raise

        async def batches() -> AsyncGenerator[tuple[BulkOperation, ...]]:
            try:
                async for rows in pages(self._engine, source, first):
                    batch = rows
                    if wanted is not None or sequence is not None:
                        batch = tuple(row for row in rows if _fits(row, wanted, sequence))
                    if batch:
                        yield batch
            except BulkStatusError as error:
                about(error)
                raise

        return batches()

    async def wait(
        self,
        refs: Iterable[str | Ref],
        *,
        timeout: float | None = None,
        until: "Until" = "all",
        stop_when_blocked: bool = False,
        blind_after: float = 600.0,
        grace: float = 20.0,
        polling: PollPolicy | Preset = "default",
        fresh: bool = False,
        on_change: "OnChange | None" = None,
    ) -> Outcome:
        """Wait for bulks to end, and say for each how the wait ended.

        `until` is `all`, `any` (the first that ends, however) or `first_failure` (the first that ends otherwise than
        well, else all). After `timeout` seconds, bulks that go on are `pending`; what is last known of each is in
        its result. With `stop_when_blocked` the wait is over for a bulk that is paused or awaits somebody.

        A source that cannot be asked is asked again and again, more and more seldom: a bulk is `blind` after
        `blind_after` seconds without one good answer, or at once where its source never answered and refuses the
        credentials or the connection. A bulk that was never seen may be unknown for `grace` seconds before it is
        `not_found`; one that was seen has to be unknown twice to be `gone`.

        `polling` says how often to look: `eager`, `default`, `frugal`, or a PollPolicy. All waits and watches of a
        client share one plan for each source, so a bulk that several wait for is asked for once. `on_change` is
        called for each Change, in order: a coroutine function is awaited, any other is called on a thread of its own.

        With a journal, the wait is recorded, so that `resume` can go on with it should this process die; and bulks that
        are known to have ended need not be asked for, unless `fresh`.

        Raises ConfigError for what cannot be asked; nothing is sent then.
        """
        asked = tuple([refs] if isinstance(refs, str | Ref) else refs)
        terms = WaitTerms(
            timeout=timeout,
            until=until,
            stop_when_blocked=stop_when_blocked,
            blind_after=blind_after,
            grace=grace,
            polling=polling,
        )
        watch = self._watch_for(asked, terms, timeout=timeout, fresh=fresh)
        return await self._drained(watch, await self.begin_wait(asked, terms), on_change)

    async def begin_wait(self, refs: Iterable[str | Ref], terms: WaitTerms) -> HeldWait | None:
        """Record that a wait begins, for a tool that follows it with `watch`; `wait` does so by itself.

        The wait is in the hands of this process until `end_wait`, `HeldWait.leave`, or its own end. None without a
        journal, and when it cannot be written: then nothing but the warning of the logger `bulkstatus` tells.
        """
        wanted = self._by_source(refs)
        named = tuple(f"{source}:{id}" for source, ids in wanted.items() for id in ids)
        realms = {name: self.realms[name] for name in wanted if name in self.realms}
        whole = msgspec.structs.replace(terms, realms=realms)
        begin = partial(Journal.begin_wait, refs=named, terms=whole)
        return await self._recorder.try_to(begin, undo=HeldWait.forget)

    async def end_wait(self, held: HeldWait, outcome: Outcome) -> None:
        """Record how a wait ended. Where that cannot be written, it stays open."""
        await self._recorder.try_to(lambda _: held.end(outcome))

    async def resume(
        self, wait: int | None = None, *, fresh: bool = False, on_change: "OnChange | None" = None
    ) -> Outcome:
        """Go on with a wait that was recorded: the one with this number, or the last unfinished one that nobody waits for.

        It is for the same bulks and on the same terms. What is left of its timeout goes on; one that has run out begins
        anew. Bulks that ended meanwhile, and were seen by anybody, are not asked for again.

        Raises ConfigError when there is no such wait, or one of its sources stands for another account now, and
        JournalError, with the reason `busy` when another process waits for it.
        """
        held = await self._recorder.do(partial(Journal.resume_wait, number=wait), undo=HeldWait.put_back)
        try:
            held.record.check_realms(self._recorder.realms)
            watch = self._watch_for(
                held.record.refs, held.record.terms, timeout=held.record.rest(_times.utc_now()), fresh=fresh
            )
        except BaseException:
            await self._recorder.try_to(lambda _: held.put_back())
            raise
        return await self._drained(watch, held, on_change)

    def _watch_for(
        self, refs: Iterable[str | Ref], terms: WaitTerms, *, timeout: float | None, fresh: bool
    ) -> "AsyncWatch":
        return self.watch(
            refs,
            timeout=timeout,
            until=terms.until,
            stop_when_blocked=terms.stop_when_blocked,
            blind_after=terms.blind_after,
            grace=terms.grace,
            polling=terms.polling,
            fresh=fresh,
        )

    async def _drained(
        self, watch: "AsyncWatch", held: HeldWait | None, on_change: "OnChange | None"
    ) -> Outcome:
        from bulkstatus._watch import drain

        if held is None:
            return await drain(watch, on_change)
        try:
            outcome = await drain(watch, on_change)
        except BaseException:
            held.leave()
            raise
        await self.end_wait(held, outcome)
        return outcome

    def watch(
        self,
        refs: Iterable[str | Ref] | None = None,
        *,
        sources: Collection[str] | None = None,
        timeout: float | None = None,
        until: "Until | None" = "all",
        stop_when_blocked: bool = False,
        blind_after: float = 600.0,
        grace: float = 20.0,
        polling: PollPolicy | Preset = "default",
        detail: bool = False,
        fresh: bool = False,
    ) -> "AsyncWatch":
        """Follow bulks, and give each Change as it is noticed; see AsyncWatch.

        It ends as `wait` does; with `until` None it goes on until it is closed, and looks every ten minutes whether a
        bulk that ended has moved again. Without `refs` it follows every unfinished bulk of all sources that have a list, or of those
        named in `sources`, those that appear later too, and does not end by itself; with a journal, of a source without a list
        those that are tracked. With `detail` up to eight bulks
        of a source are asked for one by one, for the counts that a list may lack.

        The other arguments are those of `wait`. Raises ConfigError for what cannot be asked; nothing is sent then.
        """
        from bulkstatus._follow import Follower
        from bulkstatus._subscription import Subscription, Until
        from bulkstatus._watch import AsyncWatch

        terms = _terms(stop_when_blocked=stop_when_blocked, blind_after=blind_after, grace=grace)
        policy = PollPolicy.of(polling)
        if until not in (*get_args(Until), None):
            raise ConfigError(f"until is one of {', '.join(get_args(Until))}, or None, not {until!r}")
        if timeout is not None and not is_duration(timeout):
            raise ConfigError(f"timeout is a number of seconds above 0, or None, not {timeout!r}")
        wanted, scans = self._watched(refs, sources)
        self._engine.tasks()
        if not self._is_open:
            raise NotOpen
        if self._follower is None:
            self._follower = Follower(self._engine, self._adapters, self._recorder)
        began = now()

        def make(notify: Callable[[], None]) -> Subscription:
            return Subscription(
                terms=terms,
                polling=policy,
                refs=wanted,
                until=None if refs is None else until,
                began=began,
                deadline=None if timeout is None else began + timeout,
                scan=refs is None,
                detail=detail,
                notify=notify,
            )

        self._recorder.follows(wanted)
        return AsyncWatch(self._follower, make, wanted, scans, fresh=fresh)

    def _watched(
        self, refs: Iterable[str | Ref] | None, sources: Collection[str] | None
    ) -> tuple[tuple[Ref, ...], tuple[str, ...]]:
        """The bulks to follow, and the sources of which all are."""
        if refs is None:
            names = self._select(sources)
            scans = tuple(
                name for name in names if self._recorder.is_on or isinstance(self._adapters[name], Listing)
            )
            if not scans:
                raise ConfigError(f"{', '.join(names)}: {NO_LISTING}, as in watch {names[0]}:ID")
            return (), scans
        if sources is not None:
            raise ConfigError("sources narrows a watch of everything; with references leave it out")
        asked = [refs] if isinstance(refs, str | Ref) else refs
        wanted = tuple(dict.fromkeys(map(self._resolve, asked)))
        if not wanted:
            raise ConfigError("no references were given, so there is nothing to wait for")
        return wanted, ()

    async def check(
        self, *, sources: Collection[str] | None = None, timeout: float | None = None
    ) -> tuple[SourceHealth, ...]:
        """Ask each source one cheap question that shows whether it is reachable and takes the credentials."""
        names = self._select(sources)
        self._engine.tasks()
        found: dict[str, SourceHealth] = {}

        async def look(name: str) -> None:
            found[name] = await self._look(name, timeout)

        await together(partial(look, name) for name in names)
        return tuple(found[name] for name in names)

    async def _look(self, name: str, timeout: float | None) -> SourceHealth:
        adapter = self._adapters[name]
        failure: Failure | None = None
        if isinstance(adapter, Probe):
            try:
                with deadline(timeout):
                    await self._engine.perform(name, adapter.probe())
            except BulkStatusError as error:
                told = no_list(error) if isinstance(error, NotFound) else error
                failure = Failure.of(told.about(source=name, provider=adapter.provider))
        reachable, accepted = _health(failure) if isinstance(adapter, Probe) else (None, None)
        return SourceHealth(
            source=name,
            provider=adapter.provider,
            base_urls=tuple(dict.fromkeys(adapter.base_urls())),
            reachable=reachable,
            accepted=accepted,
            limits=adapter.limits,
            listing=isinstance(adapter, Listing),
            operations=isinstance(adapter, Operations),
            budget=self._engine.budget(name).left(now()),
            failure=failure,
        )

    def _resolve(self, ref: str | Ref) -> Ref:
        parsed = Ref.parse(ref)
        try:
            adapter = self._adapters[parsed.source]
        except (KeyError, TypeError):
            adapter = None
        if adapter is None:  # out here, else what is raised would tell of that first
            (source,) = self._select([parsed.source])
            adapter = self._adapters[source]
        try:
            adapter.id_grammar.check(parsed.id)
        except ConfigError as error:
            error.about(source=parsed.source, provider=adapter.provider)
            raise
        return parsed

    def _select(self, names: Collection[str] | None) -> tuple[str, ...]:
        if names is None:
            return tuple(self._adapters)
        wanted = _words(names, "sources")
        for name in wanted:
            if name not in self._adapters:
                raise ConfigError(f"there is no source {name[:64]!r}{nearest(name, self._adapters)}")
        return tuple(name for name in self._adapters if name in wanted)


def _words(words: Collection[str], argument: str) -> list[str]:
    """`words` as a list; a single text is one word, and anything but texts, or none at all, is an error."""
    found = [words] if isinstance(words, str) else list(words)
    if not found or not all(isinstance(word, str) for word in found):
        raise ConfigError(f"{argument} takes texts, one or more, or None for all of them")
    return found


def _states(states: Collection[str] | None) -> frozenset[State] | None:
    if states is None:
        return None
    words = _words(states, "states")
    for word in words:
        if word not in State.__members__.values():
            raise ConfigError(f"{word[:64]!r} is not a state{nearest(word, map(str, State))}")
    return frozenset(map(State, words))


class _Ages(NamedTuple):
    """How old a bulk has to be, in seconds; None for any age."""

    at_least: float | None
    at_most: float | None

    def hold(self, began_at: datetime | None) -> bool:
        """True for a bulk that began then; for one whose age nobody knows too."""
        if began_at is None:
            return True
        age = (_times.utc_now() - began_at).total_seconds()
        return (self.at_least is None or age >= self.at_least) and (
            self.at_most is None or age <= self.at_most
        )


_ANY_AGE = _Ages(None, None)


def _ages(older_than: float | None, newer_than: float | None) -> _Ages:
    for name, value in (("older_than", older_than), ("newer_than", newer_than)):
        if value is not None and not is_duration(value):
            raise ConfigError(f"{name} is a number of seconds above 0, or None, not {value!r}")
    return _Ages(older_than, newer_than)


def _terms(*, stop_when_blocked: bool, blind_after: float, grace: float) -> "Terms":
    from bulkstatus._track import Terms

    if not is_duration(blind_after):
        raise ConfigError(f"blind_after is a number of seconds above 0, not {blind_after!r}")
    if grace != 0 and not is_duration(grace):
        raise ConfigError(f"grace is a number of seconds, 0 or more, not {grace!r}")
    return Terms(stop_when_blocked=stop_when_blocked, blind_after=blind_after, grace=grace)


def _fits(row: BulkOperation, states: Collection[State] | None, sequence: int | None) -> bool:
    return (states is None or row.state in states) and (sequence is None or row.sequence == sequence)


_UNTOLD: dict[str, tuple[bool | None, bool | None]] = {
    "unavailable": (False, None),
    "deadline": (False, None),
    "config": (None, None),
    "auth": (True, False),
}


def _health(failure: Failure | None) -> tuple[bool | None, bool | None]:
    """Whether the source is reachable, and whether it takes the credentials."""
    if failure is None:
        return True, True
    if failure.kind == "auth" and failure.status is None:
        return None, False  # the credentials could not even be fetched from where they are kept
    if failure.reason == "bad_token_reply":
        return True, None  # something answered, and not as a token endpoint does
    return _UNTOLD.get(failure.kind, (True, None))
