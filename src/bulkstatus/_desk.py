"""All that waits and watches want of one source, made into one plan. No clock, no network.

The desk says what to ask next and is told what came of it. Times are monotonic seconds; `at` is the same moment in UTC.
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime

from bulkstatus._adapter import Adapter, Confirms, Listing
from bulkstatus._budget import Budget
from bulkstatus._call import Call, ListQuery, Page
from bulkstatus._deadlines import Deadlines
from bulkstatus._model import BulkStatus, Failure, Ref
from bulkstatus._outcome import Change, ChangeKind
from bulkstatus._pacing import AFTER_ITS_END, Pacing
from bulkstatus._plan import Key, Look, Plan, Sweep
from bulkstatus._record import KnownBulk, served
from bulkstatus._subscription import Subscription
from bulkstatus._sweep import Swept, left_out
from bulkstatus._track import Sight, Track, says_less
from bulkstatus.errors import (
    BulkStatusError,
    DeadlineExceeded,
    RateLimited,
    RequestRejected,
)

# What is wrong with the whole source when one question meets it.
_ABOUT_THE_SOURCE = frozenset({"unavailable", "rate_limited", "auth", "deadline", "config"})
# So much of each limit is left for those who ask one question and wait for the answer.
_RESERVE = 0.1
_DETAIL = 8
LONG_HOLD = 60.0
_MOST_ENDED = 50
_SILENT, _SILENT_AT_LAST, _LONG_SILENCE = 5.0, 1.0, 10.0
# What will be met again by every question: nobody waits for that whom the source never answered.
_HOPELESS_KINDS = frozenset({"auth", "config"})
_HOPELESS_REASONS = frozenset({"tls_untrusted", "redirect_refused"})
# What stands where tokens are given out is a maintenance page, as far as anybody knows.
_NO_REFUSAL = frozenset({"bad_token_reply"})


class Desk:
    """One source: its bulks, its plan, and who waits for what.

    `budget` gives the budget of its credentials, `chance` numbers from 0 to 1.
    """

    def __init__(
        self, source: str, adapter: Adapter, *, budget: Callable[[], Budget], chance: Callable[[], float]
    ) -> None:
        self.source = source
        self.adapter = adapter
        self.budget = budget
        self.failure: Failure | None = None
        self.down_at: datetime | None = None
        self.list_failure: Failure | None = None
        """Why the list of what is unfinished cannot be read as a whole, where it alone is at fault."""
        self.plan = Plan(self._number_of_listings)
        self._pacing = Pacing(adapter, budget, self.plan.round, chance)
        self._tracks: dict[str, Track] = {}
        self._followers: dict[str, list[Subscription]] = {}
        self._scanning: list[Subscription] = []
        self._subscriptions: dict[Subscription, None] = {}
        self._deadlines = Deadlines()
        self.took = self._deadlines.took
        self._left_open: dict[str, BulkStatus] = {}
        self._asked: dict[str, float] = {}
        self._told: dict[Subscription, None] = {}
        self._ended: deque[str] = deque()
        self._unlisted: set[Subscription] = set()
        self._answers = 0
        self._suspects: dict[str, int] = {}
        self._turned: set[str] = set()
        self._list_doubted = False
        self._answers_before = 0
        self._numbers: dict[Key, int] = {}
        self._troubled: set[str] = set()

    @property
    def is_idle(self) -> bool:
        """True when nobody waits for anything here."""
        return not self._subscriptions

    # --- who waits for what ---

    def subscribe(
        self, subscription: Subscription, ids: Iterable[str], now: float, *, recalls: bool = False
    ) -> None:
        """Follow the bulks `ids` for `subscription`; all that are unfinished if it scans.

        With `recalls` they are asked for once `recall` has told what is known of them.
        """
        within = self._pacing.first(now)
        for id in ids:
            self._follow(subscription, id, now)
            if not recalls:
                self.plan.add(id, now, within=within)
        self._deadlines.add(subscription)
        if subscription.scan and isinstance(self.adapter, Listing):
            self._scanning.append(subscription)
            self._unlisted.add(subscription)
            self.plan.scan(now)
        if self._ids_of(subscription) or subscription in self._scanning:
            self._subscriptions[subscription] = None
        self._set_detail()

    def recall(
        self,
        ids: Iterable[str],
        known: Mapping[str, KnownBulk],
        now: float,
        at: datetime,
        *,
        fresh: bool = False,
    ) -> None:
        """Take in what the journal knows of bulks that are followed from now on, and ask for those that go on.

        With `fresh` for all of them.
        """
        within = self._pacing.first(now)
        for id in ids:
            track, bulk = self._tracks.get(id), known.get(id)
            if track is None:
                continue
            if bulk is not None and bulk.status is not None and track.status is None:
                since = bulk.first_seen_at or at
                track.recall(bulk.status, max(0.0, (at - since).total_seconds()))
                status = None if fresh else served(bulk)
                if status is not None:
                    self._take_in(id, status, now, at, asked_at=now)
                    continue
            self.plan.add(id, now, within=within)
        self._settle_up()

    @property
    def has_list(self) -> bool:
        """True when the provider can list its bulks."""
        return isinstance(self.adapter, Listing)

    def adopt(self, subscription: Subscription, bulk: KnownBulk, now: float, at: datetime) -> None:
        """Follow a bulk that the journal tracks for one that follows everything."""
        if subscription.over or Ref(self.source, bulk.id) in subscription.tracks:
            return
        self._follow(subscription, bulk.id, now)
        self._subscriptions[subscription] = None
        self.recall([bulk.id], {bulk.id: bulk}, now, at)

    def unsubscribe(self, subscription: Subscription) -> None:
        """Follow nothing for `subscription` any more. Questions that are under way go on."""
        for id in self._ids_of(subscription):
            self._leave(id, subscription)
        self._subscriptions.pop(subscription, None)
        self._deadlines.discard(subscription)
        if subscription in self._scanning:
            self._scanning.remove(subscription)
            self._unlisted.discard(subscription)
            if not self._scanning:
                self.plan.scan(None)
        self._set_detail()

    def _follow(self, subscription: Subscription, id: str, now: float) -> Track:
        track = self._tracks.get(id)
        if track is None:
            track = self._tracks[id] = Track(id, now)
            self._followers[id] = []
        if subscription not in self._followers[id]:
            self._followers[id].append(subscription)
            subscription.follow(Ref(self.source, id), track)
        return track

    def _ids_of(self, subscription: Subscription) -> list[str]:
        return [ref.id for ref in subscription.tracks if ref.source == self.source]

    def _set_detail(self) -> None:
        self.plan.detail = _DETAIL if any(sub.detail for sub in self._subscriptions) else 0

    # --- what to ask ---

    def next_at(self, now: float) -> float | None:
        """When `take` will next have something to do, as far as is known."""
        edge = self._deadlines.next_edge(self.plan.round(now)) if len(self.plan) else None
        times = (self.plan.next_at(), edge)
        return min((time for time in times if time is not None), default=None)

    def take(self, now: float) -> Look | Sweep | None:
        """What to ask now, or None. Before a deadline, all that still goes on is looked at once more."""
        if len(self.plan):
            for subscription in self._deadlines.take(now, self.plan.round(now)):
                self._press(subscription, now)
        question = self.plan.take(now)
        if question is not None:
            self._asked.update(dict.fromkeys(_ids(question), now))
        return question

    def _press(self, subscription: Subscription, now: float) -> None:
        subscription.pressed[self.source] = now
        self.plan.press()
        open_ones = [
            id
            for id in self._ids_of(subscription)
            if id in self.plan and not subscription.is_settled(Ref(self.source, id))
        ]
        for id in open_ones:
            if self.plan.is_sweeping and len(open_ones) <= _DETAIL and id not in self._asked:
                self.plan.again(id, now)  # the list may take longer
            else:
                self.plan.add(id, now)

    def hold(self, now: float, *, ahead: int = 0) -> float:
        """Seconds until a request may be sent for those who wait; `ahead` are about to be already."""
        return self.budget().wait(now, reserve=_RESERVE, ahead=ahead)

    def refusal(self, now: float, *, ahead: int = 0) -> RateLimited:
        """Why `hold` is not 0."""
        error = self.budget().refusal(now, reserve=_RESERVE, ahead=ahead)
        error.about(source=self.source, provider=self.adapter.provider)
        return error

    @staticmethod
    def is_held(error: RateLimited, *, under_way: int, sent: int) -> bool:
        """True when those who wait have to be told of a refusal.

        Of the questions `under_way`, those that wait out a pause tell nothing meanwhile; the requests that were `sent`
        before it may yet be answered.
        """
        if error.reason is None:
            return not sent
        return not under_way and (error.retry_after or 0.0) > LONG_HOLD

    def call(self, look: Look) -> Call[BulkStatus]:
        """The call that looks at a bulk: what its row in the list leaves open, or its own record."""
        row = self._left_open.pop(look.id, None)
        confirmation = (
            self.adapter.confirm(row) if row is not None and isinstance(self.adapter, Confirms) else None
        )
        return self.adapter.status(look.id) if confirmation is None else confirmation

    def listings(self, states: Key) -> tuple[Call[Page[BulkStatus]], ...]:
        """The listings to read for the bulks in `states`."""
        if not isinstance(self.adapter, Listing):
            return ()
        return self.adapter.listing(ListQuery(states=states))

    def others(self, sweep: Sweep) -> list[str]:
        """The bulks that must be in the list of a sweep, too, unless they moved on."""
        return [] if sweep.states is None or sweep.scan else self.plan.seen_in(sweep.states)

    def _number_of_listings(self, states: Key) -> int:
        found = self._numbers.get(states)
        if found is None:
            try:
                found = len(self.listings(states))
            except Exception:  # noqa: BLE001 - an adapter that cannot list is asked for each bulk
                found = 0
            self._numbers[states] = found
        return found

    # --- what came of it ---

    def looked(self, look: Look, status: BulkStatus, now: float, at: datetime) -> None:
        """The bulk's own record was read."""
        asked_at = self._land(look.id, now)
        self._is_up(at)
        self.plan.list_again(now)
        self._take_in(look.id, status, now, at, asked_at=asked_at)
        self._settle_up()

    def look_failed(self, look: Look, error: BulkStatusError, now: float, at: datetime) -> None:
        """The bulk could not be looked at."""
        self._land(look.id, now)
        if error.reason == "budget":
            self.plan.retry(look.id, now)
            self._note_hold([look.id], Failure.of(error))
        elif error.kind in _ABOUT_THE_SOURCE and not self._is_alone(look.id):
            self.plan.retry(look.id, now)
            self._is_down([look.id], error, now, at)
        else:
            self._look_failed(look.id, error, now, at)
        self._settle_up()

    def _is_alone(self, id: str) -> bool:
        """True for a bulk that failed before as if its source were down, while others were answered for since."""
        answers = self._suspects.get(id)
        if id in self._tracks:
            self._suspects[id] = self._answers
        return answers is not None and self._answers > answers

    def _look_failed(self, id: str, error: BulkStatusError, now: float, at: datetime) -> None:
        """The fault is of this bulk alone."""
        if error.kind not in _ABOUT_THE_SOURCE:
            self._is_up(at)
        track = self._tracks.get(id)
        if track is None:
            return
        rejected = isinstance(error, RequestRejected) and not error.retryable
        track.failed(error, now, at, hopeless=rejected)
        if id not in self._troubled:
            self._troubled.add(id)
            self._tell(id, "unobservable", at)
        self._note(id, None, now, at)
        self._after_failure(track, error, now)

    def turned(self, sweep: Sweep, rows: Iterable[BulkStatus], now: float, at: datetime) -> None:
        """A page of a sweep was read, and the next one will be. What it says is taken in at once."""
        self._is_up(at)
        asked = set(sweep.ids)
        for row in rows:
            self._turned.add(row.id)
            self._read_row(row, now, at, asked_at=self._land(row.id, now) if row.id in asked else now)
        for id in sweep.ids:
            if id in self._asked:
                self._asked[id] = float("inf")  # not asked for while the budget keeps the next page waiting
        self._settle_up()

    def asks(self, sweep: Sweep, now: float) -> None:
        """The next page of a sweep is asked for."""
        for id in sweep.ids:
            if id in self._asked:
                self._asked[id] = now

    def goes_on(self, sweep: Sweep) -> bool:
        """True while somebody wants to know what a sweep may still tell."""
        return bool(sweep.scan and self._scanning) or any(
            id in self._asked and self._is_wanted(id) for id in sweep.ids
        )

    def swept(self, sweep: Sweep, swept: Swept, now: float, at: datetime) -> None:
        """The list was read, as far as that was of use."""
        self._is_up(at)
        self._list_doubted = False
        if sweep.scan:
            self._unlisted.clear()
            error = left_out(self.source, swept.left_out) if swept.left_out else None
            self._note_list(error, at)
        asked = set(sweep.ids)
        for id, row in swept.rows.items():
            if id not in self._turned:
                self._read_row(row, now, at, asked_at=self._land(id, now) if id in asked else now)
        self._turned.clear()
        gone = asked.difference(swept.rows)
        for id in gone:
            self._land(id, now)
        if swept.whole:
            gone.update(id for id in self.others(sweep) if id not in swept.rows)
        for id in gone:
            self.plan.again(id, now)  # missing from a list is not finished
        self.plan.swept(sweep, now, cost=swept.cost, found=len(asked.intersection(swept.rows)))
        self._settle_up()
        self._next_scan(sweep, now)

    def _read_row(self, row: BulkStatus, now: float, at: datetime, *, asked_at: float) -> None:
        id = row.id
        self._discover(id, row, now)
        # While a bulk is asked for by its id, its own record, which says more, is on its way.
        track = self._tracks.get(id)
        if track is None or self.plan.is_asked(id):
            return
        if not row.provisional:
            self._take_in(id, row, now, at, asked_at=asked_at)
        elif not self._is_wanted(id):
            self.plan.drop(id)
        elif not self._is_open(id) and track.status is not None and says_less(row, track.status):
            self.plan.settle(id, now, self._interval(track, now), known=track.status.state)
        else:
            self._left_open[id] = row
            self.plan.again(id, now)

    def sweep_failed(self, sweep: Sweep, error: BulkStatusError, now: float, at: datetime) -> None:
        """The list could not be read. Whether that is the list's fault or the source's, a look at one bulk tells."""
        self._turned.clear()
        left = [id for id in sweep.ids if id in self._asked]
        for id in left:
            self._land(id, now)
        about_the_source = error.kind in _ABOUT_THE_SOURCE
        doubted, self._list_doubted = self._list_doubted, about_the_source
        if error.reason == "budget":
            self.plan.broke_off(now, for_now=True)
            self.plan.list_again(now)
            self._retry(left, now)
            self._note_hold(left, Failure.of(error))
        elif about_the_source and not (doubted and self._answers > self._answers_before):
            self._answers_before = self._answers
            self.plan.broke_off(now, for_now=bool(left))
            self._retry(left, now)
            self._is_down(left, error, now, at, by_list=True)
            self.plan.press()
        else:
            self._list_doubted = False
            self.plan.broke_off(now, for_now=False)
            for id in left:
                self.plan.again(id, now)
            if sweep.scan:
                self._note_list(error, at)
        self._settle_up()
        self._next_scan(sweep, now)

    def _note_list(self, error: BulkStatusError | None, at: datetime) -> None:
        """Say once that the list of what is unfinished cannot be read as a whole, and once that it can again."""
        was_lost = self.list_failure is not None
        if error is None:
            self.list_failure = None
            if was_lost:
                self._tell(None, "observable", at)
            return
        self.list_failure = Failure.of(error.about(source=self.source, provider=self.adapter.provider))
        if not was_lost:
            self._tell(None, "unobservable", at, failure=self.list_failure)

    def _retry(self, ids: Iterable[str], now: float) -> None:
        for id in ids:
            self.plan.retry(id, now)

    def review(self, now: float, at: datetime, *, last: Subscription | None = None) -> None:
        """Look at the clock: who has waited long enough for an answer is told, though no question has ended.

        A question that has had no answer for some seconds is as good as one that failed. For the wait that ends now,
        `last`, one second is enough, or none where there was no answer at all.
        """
        for id, asked_at in self._asked.items():
            track = self._tracks.get(id)
            waited = now - asked_at
            if track is not None:
                patience = _SILENT
                if last is not None and Ref(self.source, id) in last.tracks:
                    patience = _SILENT_AT_LAST if track.status is not None else 0.0
                if waited > patience:
                    error = self._silence(waited, now)
                    track.silent(error, asked_at, now, at)
                    if waited > _LONG_SILENCE:
                        self._begin_outage(error, at)
        if last in self._unlisted and self.failure is None and self.list_failure is None:
            self._note_list(self._silence(now - last.began, now), at)
        for id in [id for id, track in self._tracks.items() if track.failing_since is not None]:
            if id in self._tracks:
                self._note(id, None, now, at)
                self._let_go(id)
        self._settle_up()

    def _silence(self, waited: float, now: float) -> BulkStatusError:
        """Why a question has had no answer for so long."""
        if self.hold(now) > 0:
            return self.refusal(now)
        why = f"no answer for {waited:.0f} s; the question is still under way"
        return DeadlineExceeded(why, reason="unanswered").about(
            source=self.source, provider=self.adapter.provider
        )

    def _begin_outage(self, error: BulkStatusError, at: datetime) -> None:
        """Say once that the source cannot be asked."""
        self.failure = Failure.of(error)
        if self.down_at is None:
            self.down_at = at
            self._tell(None, "unobservable", at)

    def _land(self, id: str, now: float) -> float:
        """The question about `id` is over; when it was asked."""
        self.plan.landed(id)
        asked_at = self._asked.pop(id, now)
        return now if asked_at == float("inf") else asked_at

    def _was_pressed_since(self, asked_at: float, id: str) -> bool:
        """True when the last look before somebody's deadline was due while this one was under way."""
        return any(
            subscription.pressed.get(self.source, asked_at) > asked_at
            for subscription in self._followers[id]
            if not subscription.over
        )

    def woke(self, now: float) -> None:
        """The machine was asleep: everything is due."""
        for id in self._tracks:
            if id in self.plan:
                self.plan.add(id, now)

    def held(self, until: float, error: BulkStatusError, now: float, at: datetime) -> None:
        """Nothing may be sent before `until`: whoever has to know earlier is told so now."""
        failure = Failure.of(error)
        overdue = self.plan.overdue(now)
        if error.reason == "budget":
            self._note_hold(overdue, failure)
        elif overdue and until - now > LONG_HOLD:
            self._lose(overdue, error, now, at, hopeless=False)
            self._settle_up()
        for subscription in tuple(self._subscriptions):
            if subscription.deadline is not None and subscription.deadline < until:
                ids = self._ids_of(subscription)
                subscription.give_up([Ref(self.source, id) for id in ids], failure, at)
                for id in ids:
                    self._let_go(id)

    # --- inside ---

    def _note_hold(self, ids: Iterable[str], failure: Failure) -> None:
        """Our own budget keeps these waiting: that is no blindness, and is told if the wait ends before it is over."""
        for id in ids:
            track = self._tracks.get(id)
            if track is not None:
                track.failure = track.failure or failure

    def _take_in(self, id: str, status: BulkStatus, now: float, at: datetime, *, asked_at: float) -> None:
        track = self._tracks.get(id)
        if track is None:
            return
        sight = track.saw(status, now, asked_at=asked_at)
        self._suspects.pop(id, None)
        if id in self._troubled:
            self._troubled.discard(id)
            self._tell(id, "observable", at)
        self._note(id, sight, now, at)
        if self._is_wanted(id):
            if id not in self.plan:
                self.plan.add(id, now)
            known = status if track.status is None else track.status
            self.plan.settle(id, now, self._interval(track, now), known=known.state)
            if self._was_pressed_since(asked_at, id):
                self.plan.add(id, now)
        self._let_go(id)

    def _let_go(self, id: str) -> None:
        """Look no more at a bulk that nobody wants to know anything of."""
        if id in self._tracks and not self._is_wanted(id):
            self.plan.drop(id)
            self._forget_old(id)

    def _note(self, id: str, sight: Sight | None, now: float, at: datetime) -> None:
        for subscription in tuple(self._followers.get(id, ())):
            subscription.note(Ref(self.source, id), self.adapter.provider, sight, now, at)
            self._told[subscription] = None

    def _settle_up(self) -> None:
        """All of an answer is told: now waits may end, and not by a row in the middle of a page."""
        for subscription in self._told:
            subscription.settle_up()
            if subscription.over:
                for id in self._ids_of(subscription):
                    if id in self.plan and not self._is_wanted(id):
                        self.plan.drop(id)
        self._told.clear()

    def _is_open(self, id: str) -> bool:
        ref = Ref(self.source, id)
        return any(not subscription.is_settled(ref) for subscription in self._followers.get(id, ()))

    def _is_wanted(self, id: str) -> bool:
        """True while somebody waits for it, or watches on: then also after its end, which it may take back."""
        track = self._tracks.get(id)
        if track is None:
            return False
        moves_again = track.status is not None and not track.status.state.is_terminal
        return self._is_open(id) or any(
            subscription.goes_on and (moves_again or not subscription.scan)
            for subscription in self._followers[id]
        )

    def _forget_old(self, id: str) -> None:
        """A scan keeps the bulks that ended last, and not all that ever ran."""
        if self._scanning and id not in self._ended:
            self._ended.append(id)
            if len(self._ended) > _MOST_ENDED:
                old = self._ended.popleft()
                for subscription in tuple(self._followers.get(old, ())):
                    if subscription.scan and old not in self.plan:
                        subscription.forget(Ref(self.source, old))
                        self._leave(old, subscription)

    def _leave(self, id: str, subscription: Subscription) -> None:
        self._followers[id].remove(subscription)
        if not self._followers[id]:
            del self._followers[id], self._tracks[id]
            self._troubled.discard(id)
            self._left_open.pop(id, None)
            self._suspects.pop(id, None)
            self.plan.drop(id)

    def _interval(self, track: Track, now: float) -> float:
        if not self._is_open(track.id) and track.status is not None and track.status.state.is_terminal:
            return AFTER_ITS_END
        return self._pacing.interval(track, self._followers[track.id], now)

    def _after_failure(self, track: Track, error: BulkStatusError, now: float) -> None:
        """Say when to look again at a bulk that alone could not be looked at."""
        if self._is_open(track.id):
            after = self._pacing.after_failure(track, error, self._followers[track.id], now)
            self.plan.again(track.id, now, after=after)
        else:
            self.plan.again(track.id, now, after=AFTER_ITS_END)
            self._let_go(track.id)

    def _is_up(self, at: datetime) -> None:
        self._answers += 1
        self.plan.up()
        if self.down_at is not None:
            self.failure = self.down_at = None
            self._tell(None, "observable", at)

    def _is_down(
        self, ids: Iterable[str], error: BulkStatusError, now: float, at: datetime, *, by_list: bool = False
    ) -> None:
        """The source could not be asked: so nothing new is known of anything that was due."""
        self.plan.down(now)
        error.id = None  # it met one bulk by chance
        refused = error.kind in _HOPELESS_KINDS and error.reason not in _NO_REFUSAL
        final = refused or error.reason in _HOPELESS_REASONS
        due = dict.fromkeys((*ids, *self.plan.overdue(now)))
        hopeless = final and not self._answers and not by_list
        self._lose(due, error, now, at, hopeless=hopeless)

    def _lose(
        self, ids: Iterable[str], error: BulkStatusError, now: float, at: datetime, *, hopeless: bool
    ) -> None:
        """Nothing of the source can be observed."""
        self._begin_outage(error, at)
        for id in ids:
            track = self._tracks.get(id)
            if track is None:
                continue
            track.failed(error, now, at, hopeless=hopeless)
            self._note(id, None, now, at)
            self._let_go(id)

    def _tell(
        self, id: str | None, kind: ChangeKind, at: datetime, *, failure: Failure | None = None
    ) -> None:
        """Tell those it concerns that the source, or one bulk of it, cannot be asked, or can be again."""
        track = None if id is None else self._tracks[id]
        change = Change(
            kind=kind,
            source=self.source,
            provider=self.adapter.provider,
            ref=None if id is None else str(Ref(self.source, id)),
            before=None if track is None else track.last_known,
            status=None if track is None else track.last_known,
            stale_since=self.down_at if track is None else track.stale_since,
            failure=failure or (self.failure if track is None else track.failure),
            observed_at=at,
        )
        for subscription in tuple(self._subscriptions) if id is None else self._followers[id]:
            if not subscription.over:
                subscription.tell(change)

    def _discover(self, id: str, row: BulkStatus, now: float) -> None:
        """Follow an unfinished bulk for those who scan. What is no id cannot be asked for, and is left alone."""
        ref = Ref(self.source, id)
        fresh = [sub for sub in self._scanning if ref not in sub.tracks]
        if row.state.is_terminal or not fresh or not self.adapter.id_grammar.fits(id):
            return
        for subscription in fresh:
            self._follow(subscription, id, now)
        if id not in self.plan:
            self.plan.add(id, now)
        self._set_detail()

    def _next_scan(self, sweep: Sweep, now: float) -> None:
        if self._scanning and sweep.scan:
            self.plan.scan(now + self._pacing.scan(now))


def _ids(question: Look | Sweep) -> tuple[str, ...]:
    return (question.id,) if isinstance(question, Look) else question.ids
