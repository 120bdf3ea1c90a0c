"""All that waits and watches want of one source, made into one plan. No clock, no network.

The desk says what to ask next and is told what came of it. Times are monotonic seconds; `at` is the same moment in UTC.
"""

import bisect
from collections import deque
from collections.abc import Callable, Iterable
from datetime import datetime

from bulkstatus._adapter import Adapter, Confirms, Listing
from bulkstatus._budget import Budget
from bulkstatus._call import Call, ListQuery, Page
from bulkstatus._model import BulkStatus, Failure, Ref
from bulkstatus._outcome import Change, ChangeKind
from bulkstatus._plan import Key, Look, Plan, Sweep
from bulkstatus._subscription import Subscription
from bulkstatus._sweep import Swept
from bulkstatus._track import Sight, Track
from bulkstatus.errors import BulkStatusError, NotFound, RequestRejected

# What is wrong with the whole source when one question meets it.
_ABOUT_THE_SOURCE = frozenset({"unavailable", "rate_limited", "auth", "deadline", "config"})
_SECOND_LOOK = 5.0
_LOOKS_IN_GRACE = 4
_SCAN_EVERY = 30.0
_DETAIL = 8
_AFTER_ITS_END = 600.0
LONG_HOLD = 60.0
_MOST_ENDED = 50
_SHORTEST_LEAD, _LONGEST_LEAD, _MOST_OF_WAIT, _MARGIN = 1.0, 10.0, 0.2, 1.25
_SILENT, _SILENT_AT_LAST = 5.0, 1.0
# What will be met again by every question: nobody waits for that whom the source never answered.
_HOPELESS_KINDS = frozenset({"auth", "config"})
_HOPELESS_REASONS = frozenset({"tls_untrusted", "redirect_refused"})
# What stands where tokens are given out is a maintenance page, as far as anybody knows.
_NO_REFUSAL = frozenset({"bad_token_reply", "no_token_endpoint"})


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
        self.plan = Plan(self._number_of_listings)
        self._chance = chance
        self._tracks: dict[str, Track] = {}
        self._followers: dict[str, list[Subscription]] = {}
        self._scanning: list[Subscription] = []
        self._subscriptions: dict[Subscription, None] = {}
        self._deadlines: list[Subscription] = []
        self._left_open: dict[str, BulkStatus] = {}
        self._asked: dict[str, float] = {}
        self._landed: dict[str, float] = {}
        self._told: dict[Subscription, None] = {}
        self._ended: deque[str] = deque()
        self._list_lost = False
        self._answered = False
        self._numbers: dict[Key, int] = {}
        self._troubled: set[str] = set()
        self._round_trip = 0.0

    @property
    def is_idle(self) -> bool:
        """True when nobody waits for anything here."""
        return not self._subscriptions

    # --- who waits for what ---

    def subscribe(self, subscription: Subscription, ids: Iterable[str], now: float) -> None:
        """Follow the bulks `ids` for `subscription`; all that are unfinished if it scans."""
        # Where the budget is short, who comes waits until it is worth a look at the list.
        spacing = self.budget().spacing(now)
        within = min(spacing * self.plan.round(now), self.adapter.poll_ceiling) if spacing else 0.0
        for id in ids:
            self._follow(subscription, id, now)
            self.plan.add(id, now, within=within)
        if subscription.deadline is not None:
            bisect.insort(self._deadlines, subscription, key=_deadline)
        if subscription.scan and isinstance(self.adapter, Listing):
            self._scanning.append(subscription)
            self.plan.scan(now)
        if self._ids_of(subscription) or subscription in self._scanning:
            self._subscriptions[subscription] = None
        self._set_detail()

    def unsubscribe(self, subscription: Subscription) -> None:
        """Follow nothing for `subscription` any more. Questions that are under way go on."""
        for id in self._ids_of(subscription):
            self._leave(id, subscription)
        self._subscriptions.pop(subscription, None)
        if subscription in self._deadlines:
            self._deadlines.remove(subscription)
        if subscription in self._scanning:
            self._scanning.remove(subscription)
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
        times = (self.plan.next_at(), self._next_edge(now))
        return min((time for time in times if time is not None), default=None)

    def take(self, now: float) -> Look | Sweep | None:
        """What to ask now, or None. Before a deadline, all that still goes on is looked at once more."""
        while (edge := self._next_edge(now)) is not None and edge <= now:
            self._press(min(self._deadlines, key=lambda sub: self._edge(sub, self._lead(now))), now)
        question = self.plan.take(now)
        if question is not None:
            self._asked.update(dict.fromkeys(_ids(question), now))
        return question

    def _press(self, subscription: Subscription, now: float) -> None:
        self._deadlines.remove(subscription)
        subscription.pressed[self.source] = now
        self.plan.press()
        for id in self._ids_of(subscription):
            if id in self.plan and not subscription.is_settled(Ref(self.source, id)):
                self.plan.add(id, now)

    def _lead(self, now: float) -> float:
        """How long before a deadline the last look is made: early enough for the answers, as long as they took lately.

        They are a page, or as many as the list has, and then each end by its id.
        """
        length = self._round_trip * (self.plan.round(now) + 1)
        return min(max(_SHORTEST_LEAD, _MARGIN * length), _LONGEST_LEAD)

    @staticmethod
    def _edge(subscription: Subscription, lead: float) -> float:
        deadline = _deadline(subscription)
        return deadline - min(lead, _MOST_OF_WAIT * (deadline - subscription.began))

    def _next_edge(self, now: float) -> float | None:
        """When the first of the last looks is made."""
        if not self._deadlines or not len(self.plan):
            return None
        lead = self._lead(now)
        first: float | None = None
        for subscription in self._deadlines:
            if first is not None and _deadline(subscription) - lead >= first:
                break
            edge = self._edge(subscription, lead)
            first = edge if first is None else min(first, edge)
        return first

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
        self._land([look.id])
        self._is_up(at)
        self._take_in(look.id, status, now, at)
        self._settle_up()

    def look_failed(self, look: Look, error: BulkStatusError, now: float, at: datetime) -> None:
        """The bulk could not be looked at."""
        self._land([look.id])
        if error.kind in _ABOUT_THE_SOURCE:
            self.plan.retry(look.id, now)
            self._is_down([look.id], error, now, at)
            self._settle_up()
            return
        self._is_up(at)
        track = self._tracks.get(look.id)
        if track is None:
            return
        rejected = isinstance(error, RequestRejected) and not error.retryable
        track.failed(error, now, at, hopeless=rejected)
        if look.id not in self._troubled:
            self._troubled.add(look.id)
            self._tell(look.id, "unobservable", at)
        self._note(look.id, None, now, at)
        self._after_failure(track, error, now)
        self._settle_up()

    def swept(self, sweep: Sweep, swept: Swept, now: float, at: datetime) -> None:
        """The list was read."""
        asked = set(sweep.ids)
        self._land(sweep.ids)
        self._is_up(at)
        if sweep.scan and self._list_lost:
            self._list_lost = False
            self._tell(None, "observable", at)
        for id, row in swept.rows.items():
            self._discover(id, row, now)
            # While a bulk is asked for by its id, its own record, which says more, is on its way.
            if id in self._tracks and not self.plan.is_asked(id):
                self._read_row(id, row, now, at)
        gone = asked.difference(swept.rows)
        if swept.whole:
            gone.update(id for id in self.others(sweep) if id not in swept.rows)
        for id in gone:
            self.plan.again(id, now)  # missing from a list is not finished
        self.plan.swept(sweep, now, cost=swept.cost, found=len(asked.intersection(swept.rows)))
        self._settle_up()
        self._next_scan(sweep, now)

    def _read_row(self, id: str, row: BulkStatus, now: float, at: datetime) -> None:
        if not row.provisional:
            self._take_in(id, row, now, at)
        elif self._is_wanted(id):
            self._left_open[id] = row
            self.plan.again(id, now)
        else:
            self.plan.drop(id)

    def sweep_failed(self, sweep: Sweep, error: BulkStatusError, now: float, at: datetime) -> None:
        """The list could not be read."""
        self._land(sweep.ids)
        about_the_source = error.kind in _ABOUT_THE_SOURCE
        self.plan.broke_off(now, rest=not about_the_source and not sweep.scan)
        if about_the_source:
            for id in sweep.ids:
                self.plan.retry(id, now)
            self._is_down(sweep.ids, error, now, at)
        else:
            for id in sweep.ids:
                self.plan.again(id, now)
            if sweep.scan and not self._list_lost:
                self._list_lost = True
                self._tell(None, "unobservable", at, failure=Failure.of(error))
        self._settle_up()
        self._next_scan(sweep, now)

    def review(self, now: float, at: datetime, *, last: bool = False) -> None:
        """Look at the clock: who has waited long enough for an answer is told, though no question has ended.

        A question that has had no answer for some seconds is as good as one that failed. `last` is for the end of a
        wait: then one is enough, or none where there was no answer at all.
        """
        for id, asked_at in self._asked.items():
            track = self._tracks.get(id)
            if track is not None:
                patience = _SILENT if not last else _SILENT_AT_LAST if track.status is not None else 0.0
                if now - asked_at > patience:
                    track.silent(asked_at, now, at)
        for id in [id for id, track in self._tracks.items() if track.failing_since is not None]:
            if id in self._tracks:
                self._note(id, None, now, at)
                if not self._is_wanted(id):
                    self.plan.drop(id)
        self._settle_up()

    def _land(self, ids: Iterable[str]) -> None:
        for id in ids:
            self.plan.landed(id)
            self._landed[id] = self._asked.pop(id, 0.0)

    def _was_pressed_since(self, asked_at: float, id: str) -> bool:
        """True when the last look before somebody's deadline was due while this one was under way."""
        return any(
            subscription.pressed.get(self.source, asked_at) > asked_at
            for subscription in self._followers[id]
            if not subscription.over
        )

    def took(self, seconds: float) -> None:
        """So long an answer took."""
        self._round_trip = max(seconds, 0.9 * self._round_trip)

    def woke(self, now: float) -> None:
        """The machine was asleep: everything is due."""
        for id in self._tracks:
            if id in self.plan:
                self.plan.add(id, now)

    def held(self, until: float, error: BulkStatusError, now: float, at: datetime) -> None:
        """Nothing may be sent before `until`: whoever has to know earlier is told so now."""
        failure = Failure.of(error)
        overdue = self.plan.overdue(now)
        if overdue and until - now > LONG_HOLD:
            self._lose(overdue, error, now, at, hopeless=False)
            self._settle_up()
        for subscription in tuple(self._subscriptions):
            if subscription.deadline is not None and subscription.deadline < until:
                refs = [Ref(self.source, id) for id in self._ids_of(subscription)]
                subscription.give_up(refs, failure, at)

    # --- inside ---

    def _take_in(self, id: str, status: BulkStatus, now: float, at: datetime) -> None:
        track = self._tracks.get(id)
        if track is None:
            return
        sight = track.saw(status, now)
        if id in self._troubled:
            self._troubled.discard(id)
            self._tell(id, "observable", at)
        self._note(id, sight, now, at)
        if self._is_wanted(id):
            if id not in self.plan:
                self.plan.add(id, now)
            self.plan.settle(id, now, self._interval(track, now), known=status.state)
            if self._was_pressed_since(self._landed.pop(id, now), id):
                self.plan.add(id, now)
        else:
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
            self._landed.pop(id, None)
            self.plan.drop(id)

    def _interval(self, track: Track, now: float) -> float:
        if not self._is_open(track.id) and track.status is not None and track.status.state.is_terminal:
            return _AFTER_ITS_END
        policy = min((sub.polling for sub in self._followers[track.id]), key=lambda polling: polling.base)
        spacing = self.budget().spacing(now)
        return policy.interval(
            track.age(now),
            rest=track.rest(now),
            spacing=spacing * self.plan.round(now) if spacing else 0.0,
            floor=self.adapter.poll_floor,
            ceiling=self.adapter.poll_ceiling,
            chance=self._chance(),
        )

    def _after_failure(self, track: Track, error: BulkStatusError, now: float) -> None:
        """Say when to look again at a bulk that alone could not be looked at."""
        if not self._is_open(track.id):
            self.plan.drop(track.id)
        elif not isinstance(error, NotFound):
            self.plan.again(track.id, now, after=self._interval(track, now))
        elif track.status is not None:
            self.plan.again(track.id, now, after=max(_SECOND_LOOK, self.adapter.poll_floor))
        else:
            waits = [sub for sub in self._followers[track.id] if not sub.over]
            grace = max(sub.terms.grace for sub in waits)
            after = max(self.adapter.poll_floor, grace / _LOOKS_IN_GRACE)
            left = max(max(track.since, sub.began) + sub.terms.grace for sub in waits) - now
            self.plan.again(track.id, now, after=min(after, left) if left > 0 else after)

    def _is_up(self, at: datetime) -> None:
        self._answered = True
        self.plan.up()
        if self.down_at is not None:
            self.failure = self.down_at = None
            self._tell(None, "observable", at)

    def _is_down(self, ids: Iterable[str], error: BulkStatusError, now: float, at: datetime) -> None:
        """The source could not be asked: so nothing new is known of anything that was due."""
        self.plan.down(now)
        error.id = None  # it met one bulk by chance
        refused = error.kind in _HOPELESS_KINDS and error.reason not in _NO_REFUSAL
        final = refused or error.reason in _HOPELESS_REASONS
        due = (*ids, *self.plan.overdue(now))
        self._lose(dict.fromkeys(due), error, now, at, hopeless=final and not self._answered)

    def _lose(
        self, ids: Iterable[str], error: BulkStatusError, now: float, at: datetime, *, hopeless: bool
    ) -> None:
        """Nothing of the source can be observed."""
        self.failure = Failure.of(error)
        if self.down_at is None:
            self.down_at = at
            self._tell(None, "unobservable", at)
        for id in ids:
            track = self._tracks.get(id)
            if track is None:
                continue
            track.failed(error, now, at, hopeless=hopeless)
            self._note(id, None, now, at)
            if not self._is_open(id):
                self.plan.drop(id)

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
            before=None if track is None else track.status,
            status=None if track is None else track.status,
            stale_since=self.down_at if track is None else track.stale_since,
            failure=failure or (self.failure if track is None else track.failure),
            observed_at=at,
        )
        for subscription in tuple(self._subscriptions) if id is None else self._followers[id]:
            if not subscription.over:
                subscription.tell(change)

    def _discover(self, id: str, row: BulkStatus, now: float) -> None:
        """Follow an unfinished bulk for those who scan."""
        ref = Ref(self.source, id)
        fresh = [sub for sub in self._scanning if ref not in sub.tracks]
        if row.state.is_terminal or not fresh:
            return
        for subscription in fresh:
            self._follow(subscription, id, now)
        if id not in self.plan:
            self.plan.add(id, now)
        self._set_detail()

    def _next_scan(self, sweep: Sweep, now: float) -> None:
        if self._scanning and sweep.scan:
            spacing = self.budget().spacing(now) * self.plan.round(now)
            self.plan.scan(now + max(_SCAN_EVERY, spacing) * (0.9 + 0.2 * self._chance()))


def _ids(question: Look | Sweep) -> tuple[str, ...]:
    return (question.id,) if isinstance(question, Look) else question.ids


def _deadline(subscription: Subscription) -> float:
    return float("inf") if subscription.deadline is None else subscription.deadline
