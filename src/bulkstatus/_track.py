"""What is known of one bulk while it is followed, and what that makes of a wait for it. No clock, no network."""

from datetime import datetime, timedelta
from typing import NamedTuple

import msgspec

from bulkstatus._model import BulkStatus, Counts, Failure, State
from bulkstatus._outcome import Verdict, is_blocked
from bulkstatus._text import printable
from bulkstatus.errors import BulkStatusError, NotFound

_SKEW = timedelta(minutes=5)
_STEADY = 5.0
_APART = 4.0
# So long, in seconds, an answer that is older than the last by its provider's own time is some replica's that lags.
_LAG = 120.0


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What a wait is asked to do. All times in seconds.

    `stop_when_blocked`: a bulk that is paused or awaits somebody ends it. `blind_after`: so long without one good
    answer ends it. `grace`: so long a bulk that was never seen may be unknown to its provider.
    """

    stop_when_blocked: bool = False
    blind_after: float = 600.0
    grace: float = 20.0


class Sight(NamedTuple):
    """What an answer changed: the status before, the status now, whether its state is another, what was odd."""

    before: BulkStatus | None
    status: BulkStatus
    moved: bool
    warnings: tuple[str, ...]


class Track:
    """One bulk: its last status, and what has come in the way of newer ones. Times are monotonic seconds."""

    __slots__ = (
        "_asked_at",
        "_base",
        "_counted",
        "_lags",
        "failing_since",
        "failure",
        "forgotten",
        "hopeless",
        "id",
        "missed_at",
        "misses",
        "remembered",
        "seen_at",
        "since",
        "stale_since",
        "status",
    )

    def __init__(self, id: str, now: float) -> None:
        self.id = id
        self.since = now
        self.status: BulkStatus | None = None
        self.remembered: BulkStatus | None = None
        """How it was seen last before it was followed."""
        self.seen_at: float | None = None
        self.misses = 0
        self.missed_at = now
        self.forgotten = False
        self.failing_since: float | None = None
        self.stale_since: datetime | None = None
        self.failure: Failure | None = None
        self.hopeless = False
        self._asked_at = now
        self._base: tuple[float, int] | None = None
        self._counted: tuple[float, BulkStatus] | None = None
        self._lags = False

    # --- what comes in ---

    def recall(self, status: BulkStatus, known_for: float) -> None:
        """Take in how it stood before it was followed; it has been known for so many seconds."""
        self.remembered = status
        self.since -= known_for

    def saw(self, status: BulkStatus, now: float, *, asked_at: float | None = None) -> Sight | None:
        """Take in an answer; what it changed, or None. An answer to an earlier question than the last one is no news.

        That is told by `asked_at` and not by `observed_at`: the wall clock may be set back. Nor is one that `lags`.
        """
        before = self.status
        asked_at = now if asked_at is None else asked_at
        if before is not None and (asked_at < self._asked_at or says_less(status, before)):
            return None
        self._asked_at = asked_at
        self.failing_since = self.stale_since = self.failure = None
        self.misses = 0
        self.forgotten = False
        if before is not None and self.seen_at is not None and lags(status, before, now - self.seen_at):
            told, self._lags = self._lags, True
            return None if told else Sight(before, before, moved=False, warnings=(_left_out(status, before),))
        self._lags = False
        self.status, self.seen_at = status, now
        counts = None if self._counted is None else self._counted[1].counts
        self._pace(status, now)
        if before is None:
            return Sight(None, status, moved=True, warnings=(*_skew(status), *_unread(status)))
        moved = _position(before) != _position(status)
        counted = _done(status) is not None and status.counts != counts
        if not moved and not counted and _times(before) == _times(status):
            return None
        return Sight(before, status, moved, _warnings(before, status, _finished(counts)))

    def failed(self, error: BulkStatusError, now: float, at: datetime, *, hopeless: bool = False) -> bool:
        """Take in that it could not be looked at; True when the look before had gone well.

        `hopeless` says that asking again will meet the same: nobody waits for that who never had an answer.
        """
        self.failure = Failure.of(error)
        if isinstance(error, NotFound):
            # Which is an answer, so it is not failing; whether it is believed is another question.
            self.failing_since = self.stale_since = None
            if self.last_known is not None and self.misses and now - self.missed_at < _APART:
                return False  # one blip that two questions met
            self.misses += 1
            self.missed_at = now
            self.forgotten = self.forgotten or error.reason == "gone"
            return False
        self.misses = 0
        first = self.failing_since is None
        if first:
            self.failing_since, self.stale_since = now, at
        self.hopeless = hopeless
        return first

    def silent(self, error: BulkStatusError, asked_at: float, now: float, at: datetime) -> None:
        """Take in that a question which was asked at `asked_at` has had no answer yet."""
        if self.misses:
            return
        if self.failing_since is None:
            self.failing_since, self.stale_since = asked_at, at - timedelta(seconds=now - asked_at)
            self.failure = None
        self.failure = Failure.of(error) if self._is_silence(self.failure) else self.failure

    @staticmethod
    def _is_silence(failure: Failure | None) -> bool:
        return failure is None or failure.reason == "unanswered" or failure.kind == "rate_limited"

    def _pace(self, status: BulkStatus, now: float) -> None:
        """Keep where counting began, for the speed: the first count since the bulk was last seen to start."""
        done = _done(status)
        if done is not None:  # a list that counts nothing takes no count back
            self._counted = (now, status)
        if status.state is not State.RUNNING:
            self._base = None
        elif done is not None and (self._base is None or done < self._base[1]):
            self._base = (now, done)

    # --- what that means ---

    @property
    def counts(self) -> Counts | None:
        """The last counts that were told, which a list's row since may not have repeated."""
        latest = None if self.status is None else self.status.counts
        known = None if self._counted is None else self._counted[1].counts
        return latest if known is None or _finished(latest) is not None else known

    def age(self, now: float) -> float:
        """How long the bulk has been going on, in seconds: by its own times, else since it is followed."""
        status = self.status
        began = None if status is None else status.started_at or status.created_at
        if status is None or began is None or self.seen_at is None:
            return max(0.0, now - self.since)
        return max(0.0, (status.observed_at - began).total_seconds() + now - self.seen_at)

    def rest(self, now: float) -> float | None:
        """How long it will still take if it goes on as it did, in seconds; None where its counts do not tell."""
        if self._counted is None or self.status is None or self.status.state is not State.RUNNING:
            return None
        counted_at, status = self._counted
        done, total = _done(status), status.counts.total if status.counts else None
        if done is None or not total or done > total:
            return None
        speed = self._speed(counted_at, status, done)
        return None if speed is None else max(0.0, (total - done) / speed - (now - counted_at))

    def _speed(self, counted_at: float, status: BulkStatus, done: int) -> float | None:
        """Operations a second: while it was watched, else since it started."""
        if self._base is not None:
            since, at_first = self._base
            if counted_at - since >= _STEADY and done > at_first:
                return (done - at_first) / (counted_at - since)
        if status.started_at is None or not done:
            return None
        elapsed = (status.observed_at - status.started_at).total_seconds()
        return done / elapsed if elapsed > 0 else None

    def verdict(self, terms: Terms, now: float, *, since: float = 0.0) -> Verdict | None:
        """What ends a wait that began at `since` for this bulk, or None while it goes on."""
        since = max(since, self.since)
        if self.misses:
            return self._missing(terms, since)
        if self.failing_since is not None:
            good = since if self.seen_at is None else max(since, self.seen_at)
            # One question that failed after a long interval is not blindness yet.
            lost = now - good >= terms.blind_after and now - self.failing_since >= terms.blind_after / 2
            return Verdict.BLIND if lost or (self.hopeless and self.status is None) else None
        status = self.status
        if status is None:
            return None
        if status.state.is_terminal:
            return None if status.provisional else Verdict(status.state.value)
        return Verdict.BLOCKED if terms.stop_when_blocked and is_blocked(status) else None

    @property
    def last_known(self) -> BulkStatus | None:
        """How it was seen last, by this client or before; None when nobody has seen it."""
        return self.status or self.remembered

    @property
    def not_seen_since(self) -> datetime | None:
        """Since when `last_known` has been all there is, if it could not be looked at since."""
        if self.status is None and self.remembered is not None:
            return self.remembered.observed_at
        return self.stale_since

    def _missing(self, terms: Terms, since: float) -> Verdict | None:
        known = self.last_known
        if known is not None:
            missed_before = known.gone_at is not None
            return Verdict.GONE if self.forgotten or self.misses > 1 or missed_before else None
        patient = self.misses > 1 and self.missed_at - since >= terms.grace
        return Verdict.NOT_FOUND if self.forgotten or patient or not terms.grace else None


def _done(status: BulkStatus) -> int | None:
    return _finished(status.counts)


def _position(status: BulkStatus) -> tuple[object, ...]:
    return status.state, status.native_state, status.phase, status.error


def _times(status: BulkStatus) -> tuple[datetime | None, ...]:
    return status.created_at, status.started_at, status.updated_at, status.finished_at


def says_less(status: BulkStatus, before: BulkStatus) -> bool:
    """True for an end that a list tells again after the bulk's own record told it for certain."""
    settled = before.state.is_terminal and not before.provisional
    return settled and status.provisional and status.native_state == before.native_state


def lags(status: BulkStatus, before: BulkStatus, since: float) -> bool:
    """True for an answer from before what was told `since` seconds ago: its own time and its state go back.

    A provider may answer from copies that do not hear of everything at once. What it still says after two minutes is
    believed.
    """
    if (
        status.updated_at is None
        or before.updated_at is None
        or State.UNKNOWN in (status.state, before.state)
    ):
        return False
    return since < _LAG and status.updated_at < before.updated_at and rank(status) < rank(before)


def went_back(before: BulkStatus, status: BulkStatus) -> bool:
    """True for a step that no bulk should take: away from an end, or to what lies before."""
    ended = before.state.is_terminal and not before.provisional
    known = State.UNKNOWN not in (before.state, status.state)
    return (ended and status.state is not before.state) or (known and rank(status) < rank(before))


_ORDER = {State.QUEUED: 0, State.RUNNING: 1, State.PAUSED: 1}


def _warnings(before: BulkStatus, status: BulkStatus, finished: int | None) -> tuple[str, ...]:
    found = [*_skew(status)]
    if (before.state, before.native_state) != (status.state, status.native_state):
        found += _unread(status)
    if went_back(before, status):
        found.append(f"regressed: {before.state} before, {status.state} now")
    if before.counts is not None and status.counts is not None:
        found += _fewer("total", before.counts.total, status.counts.total)
    found += _fewer("finished", finished, _done(status))
    return tuple(found)


def rank(status: BulkStatus) -> int:
    """How far along its way a bulk is: 0 before it begins, 1 on the way, 2 at an end, or nobody knows where."""
    return _ORDER.get(status.state, 2)


def _fewer(name: str, before: int | None, now: int | None) -> list[str]:
    if before is None or now is None or now >= before:
        return []
    return [f"counts went down: {name} {before} before, {now} now"]


def _finished(counts: Counts | None) -> int | None:
    return None if counts is None else counts.finished


def _left_out(status: BulkStatus, before: BulkStatus) -> str:
    older, newer = (f"{each.state} as of {each.updated_at:%H:%M:%S} UTC" for each in (status, before))
    return f"left out an older answer: {older}, after {newer}"


def _unread(status: BulkStatus) -> tuple[str, ...]:
    """Said once of each word that does not tell how a bulk stands."""
    if status.state is not State.UNKNOWN:
        return ()
    if not status.native_state:
        return ("unknown: the provider sent no word for how it stands",)
    return (f"unknown: the word '{printable(status.native_state, 80)}' does not tell how it stands",)


def _skew(status: BulkStatus) -> tuple[str, ...]:
    if status.updated_at is not None and status.updated_at - status.observed_at > _SKEW:
        return ("clock skew: the provider's last change lies more than 5 minutes ahead of this clock",)
    return ()
