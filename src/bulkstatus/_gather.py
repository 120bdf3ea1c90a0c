"""Asking many: every source side by side, and each of them as seldom as its provider allows."""

from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable, Iterator, Mapping
from copy import copy
from functools import partial

from bulkstatus import _times
from bulkstatus._adapter import Adapter, Confirms, Listing
from bulkstatus._call import Call, ListQuery, Page
from bulkstatus._engine import Engine
from bulkstatus._model import BulkStatus, Failure, Ref, Report, Skipped, State
from bulkstatus._paging import pages
from bulkstatus._record import long_gone, served
from bulkstatus._recorder import Recorder
from bulkstatus._sweep import Swept, sweep
from bulkstatus._tasks import deadline, together
from bulkstatus._times import Stamp
from bulkstatus.errors import BulkStatusError, DeadlineExceeded, JournalError, NotFound, ProtocolError

# From this many bulks of one source on, a look at its list can be cheaper than asking for each.
_WORTH_A_LIST, _WORTH_A_PAGE = 2, 3
# What may be wrong with the list alone; anything else would only happen again with every bulk.
_ABOUT_THE_LIST = frozenset({"not_found", "protocol", "rejected"})
# The ends that a list may tell before it knows: a filter on one of them is a filter on what may turn into it.
_CORRIGIBLE = frozenset({State.SUCCEEDED, State.PARTIAL, State.FAILED})
NO_LISTING = "the provider has no list of bulks; ask for each by its id"
_NONE_TRACKED = "the provider has no list of bulks, and none is tracked yet; ask for each by its id once"


class Gathering:
    """What came together so far of a question to several sources; also what is left when time runs out."""

    def __init__(
        self,
        adapters: Mapping[str, Adapter],
        recorder: Recorder,
        wanted: Mapping[str, Collection[str]] | None = None,
        keeps: Callable[[BulkStatus], bool] = lambda _: True,
    ) -> None:
        self._adapters = adapters
        self.recorder = recorder
        self._wanted = dict(wanted or {})
        self._keeps = keeps
        self.tell: Callable[[tuple[BulkStatus, ...]], None] | None = None
        """Hears of rows as soon as they will not change any more."""
        self._told: dict[str, set[str]] = {}
        # By source and by what ids of one bulk have in common. No reference is kept: of a hundred thousand rows, those
        # were what the collector of cycles was busiest with.
        self._found: dict[str, dict[str, BulkStatus]] = {}
        self.failures: list[Failure] = []
        self.skipped: list[Skipped] = []

    def add(self, status: BulkStatus) -> None:
        """Keep `status`; of two of the same bulk the later one."""
        found = self._found.get(status.source)
        if found is None:
            found = self._found[status.source] = {}
        found[self._key(status.source, status.id)] = status

    def _key(self, source: str, id: str) -> str:
        """What a bulk is kept under, in whatever case it was asked for and its provider writes it."""
        return self._adapters[source].id_grammar.key(id)

    def take_back(self, ref: Ref) -> None:
        """Forget what was read of a bulk: nobody knows how it stands."""
        self._found.get(ref.source, {}).pop(self._key(*ref), None)

    async def miss(self, ref: Ref, error: NotFound, asked: Stamp) -> None:
        """Note that the provider does not know a bulk: it is gone if it was seen before, and else a failure."""
        gone = await self.recorder.missed(ref, error, asked)
        if gone is None:
            self.fail(ref.source, error, ref.id)
        else:
            self.add(gone)

    def expect(self, source: str, ids: Collection[str]) -> None:
        """These will be asked for by name; without an answer each of them is a failure."""
        self._wanted[source] = ids

    def finish(self, source: str, ids: Iterable[str] | None = None) -> None:
        """These rows of `source`, or all that there are, will not change any more."""
        if self.tell is None:
            return
        found, told = self._found.get(source, {}), self._told.setdefault(source, set())
        keys = list(found) if ids is None else [self._key(source, id) for id in ids]
        fresh = [key for key in dict.fromkeys(keys) if key not in told]
        told.update(fresh)
        rows = tuple(self._narrowed(found[key] for key in fresh if key in found))
        if rows:
            self.tell(rows)

    def _narrowed(self, found: Iterable[BulkStatus]) -> Iterator[BulkStatus]:
        return (self.recorder.marked(status) for status in found if self._keeps(status))

    def of(self, refs: Iterable[Ref]) -> Iterator[BulkStatus]:
        """What is known of these bulks, in their order, each once."""
        for source, key in dict.fromkeys((ref.source, self._key(*ref)) for ref in refs):
            status = self._found.get(source, {}).get(key)
            if status is not None:
                yield status

    def of_source(self, source: str) -> Collection[BulkStatus]:
        """What is known of one source."""
        return self._found.get(source, {}).values()

    def fail(self, source: str, error: BulkStatusError, id: str | None = None) -> None:
        """Note that `source`, or one bulk of it, could not be asked."""
        self.failures.append(
            Failure.of(error.about(source=source, provider=self._adapters[source].provider, id=id))
        )

    def fail_unanswered(self, source: str, error: BulkStatusError) -> None:
        """Note that time ran out for `source`: for each bulk that was asked for by name and has no answer yet."""
        failed = (failure.id for failure in self.failures if failure.source == source)
        answered = {self._key(source, id) for id in failed if id is not None} | {*self._found.get(source, ())}
        wanted = self._wanted.get(source, ())
        unanswered: list[str | None] = [id for id in wanted if self._key(source, id) not in answered]
        for id in unanswered or [None]:
            self.fail(source, copy(error), id)

    def provisional(self, source: str) -> list[BulkStatus]:
        """The rows of `source` whose state its list alone has told."""
        return [status for status in self.of_source(source) if status.provisional]

    async def add_confirmed(self, source: str) -> None:
        """Where the journal holds the end that a list tells, and the bulk's own record has confirmed it, keep that."""
        rows = {row.ref: row for row in self.provisional(source)}
        known = await self.recorder.known(tuple(rows)) if rows else {}
        for ref, bulk in known.items():
            status = served(bulk)
            if status is not None and status.native_state == rows[ref].native_state:
                self.add(status)

    def skip(self, source: str, reason: str) -> None:
        """Note that there was nothing to ask `source` for."""
        self.skipped.append(Skipped(source=source, provider=self._adapters[source].provider, reason=reason))

    def report(self, found: Iterable[BulkStatus]) -> Report:
        """The report on what was `found`, narrowed to what is kept."""
        return Report(
            statuses=tuple(self._narrowed(found)),
            failures=tuple(self.failures),
            skipped=tuple(self.skipped),
            complete=not self.failures,
            observed_at=_times.utc_now(),
        )


async def side_by_side(
    jobs: Mapping[str, Callable[[], Coroutine[object, object, None]]],
    gathering: Gathering,
    timeout: float | None,
) -> None:
    """Run one job a source together. A source that fails, or is not done after `timeout` seconds, hurts only itself."""
    waiting = set(jobs)

    async def run(source: str, job: Callable[[], Coroutine[object, object, None]]) -> None:
        try:
            await job()
        except BulkStatusError as error:
            gathering.fail(source, error)
        except Exception as error:  # noqa: BLE001 - a fault of one adapter hides no other source
            # Its text may quote a setting, and so a credential.
            why = f"the adapter failed ({type(error).__name__})"
            gathering.fail(source, ProtocolError(why, reason="adapter"))
        waiting.discard(source)

    try:
        with deadline(timeout):
            await together(partial(run, source, job) for source, job in jobs.items())
    except DeadlineExceeded as error:
        for source in sorted(waiting):
            gathering.fail_unanswered(source, error)
    for source in jobs:
        gathering.finish(source)  # those of a list that broke off too


def no_list(error: NotFound) -> ProtocolError:
    """What "not found" means when no bulk was asked for: this is not the provider's API."""
    return ProtocolError(
        "there is no list of bulks at this address; check base_url",
        status=error.status,
        code=error.code,
        detail=error.detail,
        request_id=error.request_id,
        reason="no_list",
    )


async def list_source(
    engine: Engine,
    source: str,
    adapter: Adapter,
    query: ListQuery,
    into: Gathering,
    *,
    confirm: bool,
    fresh: bool,
) -> None:
    """Read all of a source's listings into `into`; with `confirm` ask for each bulk whose end the list alone tells."""
    if not isinstance(adapter, Listing):
        into.skip(source, NO_LISTING)
        return
    if confirm and query.states is not None and query.states & _CORRIGIBLE:
        query = ListQuery(states=query.states | _CORRIGIBLE)
    try:
        for listing in adapter.listing(query):
            async for rows in pages(engine, source, listing):
                for row in rows:
                    into.add(row)
    except NotFound as error:
        raise no_list(error) from error
    if not fresh:
        await into.add_confirmed(source)
    if confirm and isinstance(adapter, Confirms):
        await _confirm(engine, source, adapter, into)
    into.finish(source)


async def list_tracked(
    engine: Engine,
    source: str,
    adapter: Adapter,
    into: Gathering,
    *,
    labels: Mapping[str, str] | None,
    fresh: bool,
    asked_for: bool,
) -> None:
    """Read the bulks of a source that the journal tracks; those that are settled are not asked for again.

    `asked_for` says that the tracked ones are wanted, and not merely all there is to list: without a journal that can
    be read there is an error then.
    """
    try:
        bulks = await into.recorder.tracked(source, labels)
    except JournalError as error:
        if asked_for:
            raise
        if error.reason != "corrupt":  # who moved it aside says so
            into.recorder.complain(error)
        into.skip(source, NO_LISTING)
        return
    if not bulks and not asked_for:
        into.skip(source, _NONE_TRACKED)
    now = _times.utc_now()
    known = ((bulk.id, served(bulk) or long_gone(bulk, now)) for bulk in bulks if not fresh)
    settled = {id: status for id, status in known if status is not None}
    for status in settled.values():
        into.add(status)
    into.finish(source)
    left = [bulk.id for bulk in bulks if bulk.id not in settled]
    into.expect(source, left)
    await get_of_source(engine, source, adapter, left, into)


async def _confirm(engine: Engine, source: str, adapter: Confirms, into: Gathering) -> None:
    """Settle what the list left open. A row that cannot be settled is taken back: nobody knows its state."""
    rows = into.provisional(source)
    await together(
        partial(_settle, engine, Ref(source, row.id), adapter.confirm(row), row, into) for row in rows
    )


async def _settle(
    engine: Engine, ref: Ref, call: Call[BulkStatus] | None, row: BulkStatus | None, into: Gathering
) -> None:
    """Keep what `call` says of one bulk; the list's `row` where there is nothing to be asked."""
    asked = Stamp.take()
    try:
        status = row
        if call is not None:
            status = await engine.perform(ref.source, call, id=ref.id)
        if status is not None:
            into.add(status)
    except NotFound as error:
        into.take_back(ref)
        await into.miss(ref, error, asked)
    except BulkStatusError as error:
        into.take_back(ref)
        into.fail(ref.source, error, ref.id)
    into.finish(ref.source, [ref.id])


async def get_of_source(
    engine: Engine, source: str, adapter: Adapter, ids: Collection[str], into: Gathering
) -> None:
    """Find out about the bulks `ids` of a source, from its list where that takes fewer requests than asking for each.

    A bulk that is not in the list is asked for by its id, since missing from a list is not finished; and a row that
    says less than the bulk's own record would is settled by asking for that.
    """
    rows: dict[str, BulkStatus] = {}
    if isinstance(adapter, Listing) and len(ids) >= (
        _WORTH_A_LIST if adapter.rows_per_page is None else _WORTH_A_PAGE
    ):
        rows = await _rows_for(engine, source, adapter, ids)

    def call(id: str) -> Call[BulkStatus] | None:
        if id not in rows:
            return adapter.status(id)
        return adapter.confirm(rows[id]) if isinstance(adapter, Confirms) else None

    await together(partial(_settle, engine, Ref(source, id), call(id), rows.get(id), into) for id in ids)


async def _rows_for(
    engine: Engine, source: str, adapter: Listing, ids: Collection[str]
) -> dict[str, BulkStatus]:
    """The rows of `ids` that a list gives for fewer requests than they would take one by one."""
    found: dict[str, BulkStatus] = {}
    try:
        await look_through(engine, source, adapter.listing(ListQuery()), ids, found)
    except BulkStatusError as error:
        if error.kind not in _ABOUT_THE_LIST:
            raise
    return found


async def look_through(
    engine: Engine,
    source: str,
    listings: Iterable[Call[Page[BulkStatus]]],
    wanted: Collection[str] | None,
    rows: dict[str, BulkStatus] | None = None,
    *,
    others: Collection[str] = (),
    between: Callable[[tuple[BulkStatus, ...]], Awaitable[bool]] | None = None,
) -> Swept:
    """Walk over `listings` as `sweep` says.

    `between` is handed each page's rows before the next one is asked for, and may end the walk by giving False.
    """
    rows = {} if rows is None else rows
    walk = sweep(listings, wanted, rows, others=others)
    page: Page[BulkStatus] | None = None
    while True:
        try:
            call = next(walk) if page is None else walk.send(page)
        except StopIteration as end:
            swept: Swept = end.value
            return swept
        if page is not None and between is not None and not await between(page.items):
            return Swept(rows, len(rows))
        page = await engine.perform(source, call)
