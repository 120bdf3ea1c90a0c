"""Carries out what the desks plan: one loop a source, while somebody waits for something of it."""

import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial

import anyio

from bulkstatus import _times
from bulkstatus._adapter import Adapter
from bulkstatus._desk import LONG_HOLD, Desk
from bulkstatus._engine import Engine
from bulkstatus._gather import look_through, no_list
from bulkstatus._model import BulkStatus, Ref, by_source
from bulkstatus._plan import Look, Sweep
from bulkstatus._record import goes_on
from bulkstatus._recorder import Recorder
from bulkstatus._subscription import Subscription
from bulkstatus._tasks import now
from bulkstatus._times import Stamp
from bulkstatus.errors import BulkStatusError, JournalError, NotFound, ProtocolError

_SIDE_BY_SIDE = 4
_TICK = 0.5
_REVIEW = 2.0
_AWAKE = 1.0
_ASLEEP = 5.0
_LONGEST_NAP = 30.0
_CLOSED = "closed"


def _slept() -> float:
    """Seconds the machine has spent asleep, where that can be told; the event loop's clock stands still meanwhile."""
    try:
        return time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic()
    except (AttributeError, OSError):  # pragma: no cover - not Linux
        return 0.0


class Follower:
    """The desks of one client's sources, and the loops that work for them."""

    def __init__(
        self,
        engine: Engine,
        adapters: Mapping[str, Adapter],
        recorder: Recorder,
        *,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._engine = engine
        self.recorder = recorder
        self._loops = {
            name: _Loop(engine, name, adapter, recorder, chance) for name, adapter in adapters.items()
        }
        self._subscriptions: list[Subscription] = []
        self._ticking = False

    def subscribe(
        self,
        subscription: Subscription,
        refs: Iterable[Ref],
        scans: Iterable[str] = (),
        *,
        fresh: bool = False,
    ) -> None:
        """Begin to follow `refs`, and for one that scans all unfinished bulks of the sources `scans`.

        What the journal knows of them comes first: what has ended is not asked for, unless `fresh`.
        """
        tasks = self._engine.tasks()
        wanted: dict[str, list[str]] = {source: [] for source in scans} | by_source(refs)
        self._subscriptions.append(subscription)
        for source, ids in wanted.items():
            loop = self._loops[source]
            recalls = self.recorder.is_on and bool(ids)
            loop.desk.subscribe(subscription, ids, now(), recalls=recalls)
            if recalls:
                tasks.start_soon(partial(loop.recall, ids, fresh=fresh))
            if subscription.scan and self.recorder.is_on and not loop.desk.has_list:
                tasks.start_soon(loop.scan_tracked, subscription)
            loop.start()
        if not self._ticking:
            self._ticking = True
            tasks.start_soon(self._tick)

    def unsubscribe(self, subscription: Subscription) -> None:
        """Follow nothing for it any more. What is under way goes on; nothing new begins."""
        if subscription in self._subscriptions:
            self._subscriptions.remove(subscription)
            subscription.end()
            for loop in self._loops.values():
                loop.desk.unsubscribe(subscription)
                loop.wake()

    def close(self) -> None:
        """The client is closed: whoever waits is told so."""
        for subscription in self._subscriptions:
            subscription.broken = not subscription.over
            subscription.end()
        self._subscriptions.clear()

    def desk(self, source: str) -> Desk:
        """The desk of a source."""
        return self._loops[source].desk

    async def _tick(self) -> None:
        """End what is due to end, to the clock on the wall: time the machine slept through counts."""
        asleep, reviewed = _slept(), now()
        while self._subscriptions:
            gap = _slept() - asleep
            asleep += gap
            if gap > _ASLEEP:
                self._woke(gap)
            if now() - reviewed >= _REVIEW:
                reviewed = now()
                for loop in self._loops.values():
                    loop.review()
                if self.recorder.is_on:
                    self._mark_late()
            for subscription in tuple(self._subscriptions):
                if subscription.deadline is not None and now() > subscription.deadline + _TICK:
                    self.end(subscription)
            await anyio.sleep(_TICK)
        self._ticking = False

    def _mark_late(self) -> None:
        for subscription in self._subscriptions:
            for ref, track in subscription.tracks.items():
                status = None if track.status is None else self.recorder.marked(track.status)
                if status is not None and (status.overdue or status.stuck):
                    subscription.mark(ref, status.provider, status, _times.utc_now())

    def _woke(self, gap: float) -> None:
        """The machine slept for `gap` seconds: look at everything, and count them, but leave time for that look."""
        for subscription in self._subscriptions:
            if subscription.deadline is not None:
                soon = min(subscription.deadline, now() + _AWAKE)
                subscription.deadline = max(subscription.deadline - gap, soon)
        for loop in self._loops.values():
            loop.desk.woke(now())
            loop.wake()

    def end(self, subscription: Subscription) -> None:
        """The deadline has come. What was asked and not answered is told with the outcome."""
        if not subscription.over:
            for loop in self._loops.values():
                loop.desk.review(now(), _times.utc_now(), last=subscription)
            subscription.end(at_deadline=True)


class _Loop:
    """Works for one desk: asks what it plans, a few questions at a time, within the budget."""

    def __init__(
        self,
        engine: Engine,
        source: str,
        adapter: Adapter,
        recorder: Recorder,
        chance: Callable[[], float],
    ) -> None:
        self.desk = Desk(source, adapter, budget=lambda: engine.budget(source), chance=chance)
        self._engine = engine
        self._source = source
        self._adapter = adapter
        self._recorder = recorder
        self._under_way = 0
        self._running = False
        self._awake = anyio.Event()

    def start(self) -> None:
        """Work, unless it does already."""
        self.wake()
        if not self._running:
            self._running = True
            self._engine.tasks().start_soon(self._run)

    async def recall(self, ids: Sequence[str], *, fresh: bool) -> None:
        """Take in what the journal knows of bulks that are followed now, then ask for the others."""
        known = await self._recorder.known([Ref(self._source, id) for id in ids])
        by_id = {ref.id: bulk for ref, bulk in known.items()}
        self.desk.recall(ids, by_id, now(), _times.utc_now(), fresh=fresh)
        self.wake()

    async def scan_tracked(self, subscription: Subscription) -> None:
        """Follow the unfinished bulks that the journal tracks, those that are tracked later too."""
        while not subscription.over:
            with suppress(JournalError):
                for bulk in await self._recorder.tracked(self._source, None):
                    if goes_on(bulk, _times.utc_now()):
                        self.desk.adopt(subscription, bulk, now(), _times.utc_now())
                self.start()
            await anyio.sleep(_LONGEST_NAP)

    def wake(self) -> None:
        """Something may have become due."""
        self._awake.set()

    async def _run(self) -> None:
        try:
            while not self.desk.is_idle:
                self._awake = anyio.Event()
                until = self._act()
                if until is not None:
                    with anyio.CancelScope(deadline=until):
                        await self._awake.wait()
        finally:
            self._running = False

    def _act(self) -> float | None:
        """Begin one question, if one is due and may be sent; else say until when to wait."""
        moment = now()
        due = self.desk.next_at(moment)
        if due is None or self._under_way >= _SIDE_BY_SIDE:
            return float("inf")
        hold = self.desk.hold(moment, ahead=self._under_way)
        if hold > 0:
            self._hold(moment)
        if max(due, moment + hold) > moment:
            return max(due, moment + min(hold, LONG_HOLD))
        question = self.desk.take(moment)
        if question is None:
            return moment + _TICK
        self._under_way += 1
        self._engine.tasks().start_soon(self._ask, question)
        return None

    def review(self) -> None:
        """Look at the clock for those who wait, also while nothing is due: questions may be waiting out a pause."""
        moment = now()
        self.desk.review(moment, _times.utc_now())
        if self.desk.budget().pause(moment) > 0:
            self._hold(moment)

    def _hold(self, moment: float) -> None:
        """Nothing may be sent for now; whoever cannot wait so long is told."""
        error = self.desk.refusal(moment, ahead=self._under_way)
        if self.desk.is_held(error, under_way=self._under_way, sent=self._engine.sent(self._source)):
            self.desk.held(moment + (error.retry_after or 0.0), error, moment, _times.utc_now())

    async def _ask(self, question: Look | Sweep) -> None:
        began = now()
        try:
            if isinstance(question, Look):
                await self._look(question)
            else:
                await self._sweep(question)
            self.desk.took(now() - began)
        finally:
            self._under_way -= 1
            self.wake()

    async def _look(self, look: Look) -> None:
        asked = Stamp.take()
        try:
            status = await self._engine.perform(self._source, self.desk.call(look), id=look.id)
            self.desk.looked(look, status, now(), _times.utc_now())
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a fault of one adapter ends nobody's wait but for its bulks
            told = self._told(error, look.id)
            if isinstance(told, NotFound):
                await self._recorder.missed(Ref(self._source, look.id), told, asked)
            if told.reason != _CLOSED:
                self.desk.look_failed(look, told, now(), _times.utc_now())

    async def _sweep(self, question: Sweep) -> None:
        async def between(rows: tuple[BulkStatus, ...]) -> bool:
            self.desk.turned(question, rows, now(), _times.utc_now())
            wanted = await self._room(question)
            self.desk.asks(question, now())
            return wanted

        try:
            listings = self.desk.listings(question.states)
            wanted = None if question.scan else question.ids
            others = self.desk.others(question)
            swept = await look_through(
                self._engine, self._source, listings, wanted, others=others, between=between
            )
            self.desk.swept(question, swept, now(), _times.utc_now())
        except (Exception, SystemExit) as error:  # noqa: BLE001 - as above
            told = self._told(error, None)
            if isinstance(told, NotFound):
                told = self._told(no_list(told), None)
            if told.reason != _CLOSED:
                self.desk.sweep_failed(question, told, now(), _times.utc_now())

    async def _room(self, question: Sweep) -> bool:
        """Wait until the budget has a request to spare for the next page; False when nobody wants it any more."""
        while self.desk.goes_on(question):
            hold = self.desk.hold(now())
            if hold <= 0:
                return True
            await anyio.sleep(min(hold, _LONGEST_NAP))
        return False

    def _told(self, error: BaseException, id: str | None) -> BulkStatusError:
        if not isinstance(error, BulkStatusError):
            # Its text may quote a setting, and so a credential.
            error = ProtocolError(f"the adapter failed ({type(error).__name__})", reason="adapter")
        return error.about(source=self._source, provider=self._adapter.provider, id=id)
