"""A wait or watch in the caller's hands."""

import inspect
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime, timedelta
from functools import partial
from types import TracebackType
from typing import NamedTuple, Self

import anyio
import msgspec

from bulkstatus import _times
from bulkstatus._budget import Allowance
from bulkstatus._follow import Follower
from bulkstatus._model import BulkStatus, Counts, Failure, Ref
from bulkstatus._outcome import Change, Outcome, Verdict
from bulkstatus._subscription import Subscription
from bulkstatus._tasks import Home, now, on_daemon_thread
from bulkstatus.errors import Unavailable


class BulkView(msgspec.Struct, frozen=True, kw_only=True):
    """One bulk of a watch, as of now.

    `counts` are the last that were told, possibly before `status`, whose row in a list may count nothing. `next_look` is when it will be asked about again, None while it is being asked for and when it will not be.
    `expected_end` is when it will have ended if it goes on as it did, None where its counts do not tell. Times in UTC.
    """

    ref: str
    status: BulkStatus | None
    counts: Counts | None
    verdict: Verdict | None
    stale_since: datetime | None
    failure: Failure | None
    next_look: datetime | None
    expected_end: datetime | None


class SourceView(msgspec.Struct, frozen=True, kw_only=True):
    """One source of a watch, as of now.

    `down_since` is set while it cannot be asked, and `failure` is why; for a watch of everything `failure` alone tells why
    the list of its bulks cannot be read as a whole. `resumes_at` is set while nothing may be sent,
    since the provider wants a pause or the budget is used up. `next_question` is when it will be asked next while one of
    these is so, None while a question is under way. `budget` is what is left of each limit.
    """

    source: str
    provider: str
    down_since: datetime | None
    failure: Failure | None
    resumes_at: datetime | None
    next_question: datetime | None
    budget: tuple[Allowance, ...]


class WatchView(msgspec.Struct, frozen=True, kw_only=True):
    """All of a watch, as of now."""

    bulks: tuple[BulkView, ...]
    sources: tuple[SourceView, ...]
    observed_at: datetime


_TEN_YEARS = 3653 * 86_400.0


class _Bell:
    """Rung when there is something to read. Apart from the watch, so that one which is let go can be collected."""

    def __init__(self) -> None:
        self.event = anyio.Event()

    def ring(self) -> None:
        self.event.set()

    def reset(self) -> None:
        if self.event.is_set():  # else others may be listening to it
            self.event = anyio.Event()


class AsyncWatch:
    """Changes as they are noticed; made by `AsyncClient.watch`.

    Iterate over it with `async for`. It ends when what it was to wait for has come, or at its timeout; `outcome` says
    then, and at any time before, how each bulk stands. Leave it early with `close`, or use it in an `async with`
    statement. What is being asked at that moment is not cancelled.
    """

    def __init__(
        self,
        follower: Follower,
        make: Callable[[Callable[[], None]], Subscription],
        refs: Iterable[Ref],
        scans: Iterable[str],
        *,
        fresh: bool = False,
    ) -> None:
        self._home = Home()
        self._follower = follower
        self._bell = _Bell()
        self._ahead: deque[Change] = deque()
        self._subscription = make(self._bell.ring)
        self._sources = tuple(dict.fromkeys((*(ref.source for ref in refs), *scans)))
        follower.subscribe(self._subscription, refs, scans, fresh=fresh)

    def __del__(self) -> None:
        if hasattr(self, "_subscription"):
            self.close()

    @property
    def is_over(self) -> bool:
        """True when nothing more will come, but for changes that have not been read."""
        return self._subscription.over

    async def changes(self, within: float | None = None) -> tuple[Change, ...]:
        """The changes since the last reading, waiting for the first one, at most `within` seconds.

        Empty when none came in that time, and when the watch is over: `is_over` tells.
        """
        self._home.check("this watch")
        until = float("inf") if within is None else now() + within
        while True:
            self._bell.reset()
            found = self._subscription.read()
            if found or self._subscription.over:
                break
            if now() >= until:
                break
            with anyio.CancelScope(deadline=min(until, self._subscription.ends_at)):
                await self._bell.event.wait()
            if now() >= self._subscription.ends_at:
                self._follower.end(self._subscription)
        if self._subscription.over:
            self._follower.unsubscribe(self._subscription)
        if self._subscription.broken:
            raise Unavailable("the client was closed before the wait was over", reason="closed")
        return tuple(found)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Change:
        while not self._ahead:
            self._ahead += await self.changes()
            if not self._ahead and self.is_over:
                raise StopAsyncIteration
        return self._ahead.popleft()

    def outcome(self) -> Outcome:
        """How it stands for each bulk; final once the watch is over."""
        return self._subscription.outcome(_times.utc_now())

    def view(self) -> WatchView:
        """Everything there is to show: each bulk, each source, what is planned next."""
        moment, at = now(), _times.utc_now()

        def when(time: float | None) -> datetime | None:
            return None if time is None else at + timedelta(seconds=time - moment)

        bulks: list[BulkView] = []
        for ref, track in self._subscription.tracks.items():
            result = self._subscription.result(ref)
            rest = None if result is not None else track.rest(moment)
            if rest is not None and rest > _TEN_YEARS:
                rest = None
            due = self._follower.desk(ref.source).plan.due_at(ref.id)
            bulks.append(
                BulkView(
                    ref=str(ref),
                    status=self._marked(track.last_known),
                    counts=track.counts,
                    verdict=None if result is None else result.verdict,
                    stale_since=track.not_seen_since,
                    failure=track.failure,
                    next_look=None if result is not None else when(due),
                    expected_end=None if rest is None else when(moment + rest),
                )
            )
        return WatchView(
            bulks=tuple(bulks), sources=tuple(map(self._source_view, self._sources)), observed_at=at
        )

    def _marked(self, status: BulkStatus | None) -> BulkStatus | None:
        return None if status is None else self._follower.recorder.marked(status)

    def _source_view(self, source: str) -> SourceView:
        desk = self._follower.desk(source)
        budget, moment, at = desk.budget(), now(), _times.utc_now()
        hold = desk.hold(moment)
        due = desk.next_at(moment)
        troubled = hold > 0 or desk.down_at is not None
        wait = None if due is None or not troubled else max(due - moment, hold, 0.0)
        return SourceView(
            source=source,
            provider=desk.adapter.provider,
            down_since=desk.down_at,
            failure=desk.failure or (desk.list_failure if self._subscription.scan else None),
            resumes_at=at + timedelta(seconds=hold) if hold > 0 else None,
            next_question=None if wait is None else at + timedelta(seconds=wait),
            budget=budget.left(moment),
        )

    def close(self) -> None:
        """End it now."""
        self._follower.unsubscribe(self._subscription)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


OnChange = Callable[[Change], Awaitable[object] | object]

_LAST_WORDS = 0.5
_LONGEST_CALL = 30.0
_LOG = logging.getLogger("bulkstatus")


async def drain(watch: AsyncWatch, on_change: OnChange | None) -> Outcome:
    """Wait for the end of `watch`, hand each change to `on_change`, and give the outcome.

    What `on_change` raises is logged and hurts nothing; one that is slow holds up its own next call alone, and that
    for half a minute, and is not waited for at the end.
    """
    async with watch:
        if on_change is None:
            while not watch.is_over:
                await watch.changes()
        else:
            await _drain_into(watch, _Caller(on_change))
    return watch.outcome()


async def _drain_into(watch: AsyncWatch, caller: "_Caller") -> None:
    closed: Unavailable | None = None
    async with anyio.create_task_group() as group:
        group.start_soon(caller.run)
        try:
            while not watch.is_over:
                caller.add(await watch.changes())
            caller.add(await watch.changes())
        except Unavailable as error:
            closed = error  # not raised in here: it would come out in a group
        with anyio.move_on_after(_LAST_WORDS):
            await caller.finished()
        group.cancel_scope.cancel()
    if closed is not None:
        raise closed


class _Caller:
    """Calls a function of the user's for one change after another."""

    def __init__(self, function: OnChange) -> None:
        self._function = function
        self._waiting: deque[Change] = deque()
        self._bell = _Bell()
        self._idle = anyio.Event()

    def add(self, changes: Iterable[Change]) -> None:
        self._waiting += changes
        self._bell.ring()

    async def finished(self) -> None:
        while self._waiting or not self._idle.is_set():
            self._idle = anyio.Event()
            self._bell.ring()
            await self._idle.wait()

    async def run(self) -> None:
        while True:
            self._bell.reset()
            while self._waiting:
                await self._call(self._waiting.popleft())
            self._idle.set()
            await self._bell.event.wait()

    async def _call(self, change: Change) -> None:
        with anyio.move_on_after(_LONGEST_CALL) as scope:
            await self._call_out(change)
        if scope.cancelled_caught:
            told = "on_change took longer than %.0f s and is not waited for; the wait goes on"
            _LOG.warning(told, _LONGEST_CALL)

    async def _call_out(self, change: Change) -> None:
        try:
            if inspect.iscoroutinefunction(self._function):
                await self._function(change)
                return
            # On a thread of its own: it may block, and then nothing else waits for it.
            result = await on_daemon_thread(partial(self._kept, change))
            if isinstance(result, _Raised):
                _warn(result.error)
            elif inspect.isawaitable(result):
                await result
        except (Exception, SystemExit, KeyboardInterrupt) as error:  # noqa: BLE001 - it says nothing about any bulk
            _warn(error)

    def _kept(self, change: Change) -> "object | _Raised":
        try:
            return self._function(change)
        except BaseException as error:  # noqa: BLE001 - one that ends a program would end the event loop instead
            return _Raised(error)


class _Raised(NamedTuple):
    error: BaseException


def _warn(error: BaseException) -> None:
    _LOG.warning("on_change raised %s; the wait goes on", type(error).__name__)
