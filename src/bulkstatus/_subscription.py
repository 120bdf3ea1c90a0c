"""One wait or watch: which bulks, on what terms, what it has been told, and how it ended. No clock, no network."""

from collections import deque
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Literal

import msgspec

from bulkstatus._model import BulkStatus, Failure, Ref
from bulkstatus._outcome import Change, ChangeKind, Outcome, Result, Verdict
from bulkstatus._polling import PollPolicy
from bulkstatus._track import Sight, Terms, Track

Until = Literal["all", "any", "first_failure"]

_MOST_UNREAD = 10_000


class Subscription:
    """A wait or watch as the sources' desks see it.

    `refs` are its bulks in the order of the outcome. `until` says what ends it: `all` (every bulk has a verdict), `any` (one has ended), `first_failure` (one ended
    badly, or is not there), None (nothing but its owner). `began` and `deadline` are in monotonic seconds. `scan` follows every
    unfinished bulk of its sources, those that come later included. `notify` is called when there is something to
    read, or it is over.
    """

    def __init__(
        self,
        *,
        terms: Terms,
        polling: PollPolicy,
        refs: Iterable[Ref] = (),
        until: Until | None,
        began: float = 0.0,
        deadline: float | None = None,
        scan: bool = False,
        detail: bool = False,
        notify: Callable[[], None] = lambda: None,
    ) -> None:
        self._order = tuple(refs)
        self.terms = terms
        self.polling = polling
        self.until = until
        self.began = began
        self.deadline = deadline
        self.scan = scan
        self.detail = detail
        self.tracks: dict[Ref, Track] = {}
        self.results: dict[Ref, Result] = {}
        self._unfinished: dict[Ref, Result] = {}
        self._is_done = False
        self.over = False
        self.broken = False
        """True when the client was closed before it was over."""
        self._notify = notify
        self._unread: deque[Change] = deque()
        self._most = _MOST_UNREAD
        self._seen: set[Ref] = set()
        self._marked: set[tuple[Ref, str]] = set()
        self.pressed: dict[str, float] = {}
        """When each source was asked once more because the deadline is near."""

    def follow(self, ref: Ref, track: Track) -> None:
        """Add a bulk."""
        self.tracks[ref] = track

    def forget(self, ref: Ref) -> None:
        """Leave out a bulk that a scan found and that has ended."""
        del self.tracks[ref]
        self.results.pop(ref, None)
        self._unfinished.pop(ref, None)
        self._seen.discard(ref)

    def is_settled(self, ref: Ref) -> bool:
        """True when nothing more has to be known about the bulk."""
        return self.over or ref in self.results

    @property
    def ends_at(self) -> float:
        """The deadline; infinity without one."""
        return float("inf") if self.deadline is None else self.deadline

    @property
    def goes_on(self) -> bool:
        """True for a watch that follows bulks also after they ended, if they move again."""
        return self.until is None and not self.over

    def read(self) -> list[Change]:
        """The changes that nobody has read yet."""
        found = list(self._unread)
        self._unread.clear()
        return found

    # --- what the desks tell ---

    def mark(self, ref: Ref, provider: str, status: BulkStatus, at: datetime) -> None:
        """A bulk is late: it takes longer than usual, or has not moved for long. Told once for each of the two."""
        marks = {(ref, name) for name in ("overdue", "stuck") if getattr(status, name) is not None}
        if self.is_settled(ref) or not marks - self._marked:
            return
        self._marked |= marks
        self.tell(
            Change(
                kind="late",
                source=ref.source,
                provider=provider,
                ref=str(ref),
                before=status,
                status=status,
                observed_at=at,
            )
        )

    def note(self, ref: Ref, provider: str, sight: Sight | None, now: float, at: datetime) -> None:
        """Something about a bulk may have changed: what was seen, or that it could not be seen."""
        if self.over:
            return
        track = self.tracks[ref]
        if track.status is not None and ref not in self._seen:
            self._seen.add(ref)  # others may have followed it before
            sight = Sight(None, track.status, moved=True, warnings=() if sight is None else sight.warnings)
        verdict = None if ref in self.results else track.verdict(self.terms, now, since=self.began)
        if verdict is not None:
            self.results[ref] = _result(ref, track, verdict, at)
        if sight is None and verdict is None:
            return
        self._tell_of(ref, provider, sight, verdict, at)
        if verdict is not None:
            self._is_done = self._is_done or self._is_enough(verdict)

    def settle_up(self) -> None:
        """All of an answer has been told: end, if it was what was waited for."""
        if self._is_done:
            self.end()

    def tell(self, change: Change) -> None:
        """Keep a change until it is read. When very many wait, those of one bulk are joined into one."""
        self._unread.append(change)
        if len(self._unread) > self._most:
            self._join()
        self._notify()

    def give_up(self, refs: Iterable[Ref], failure: Failure, at: datetime) -> None:
        """Nothing will be learned of these bulks before the deadline: what is said then is said now, and why."""
        for ref in refs:
            if not self.is_settled(ref):
                track = self.tracks[ref]
                track.failure = track.failure or failure
                verdict = _unsettled(track, at_deadline=True)
                self.results[ref] = _result(ref, track, verdict, at)
                self._tell_of(ref, failure.provider, None, verdict, at)
        self._is_done = self.until is not None and len(self.results) == len(self.tracks)
        self.settle_up()

    def _tell_of(
        self, ref: Ref, provider: str, sight: Sight | None, verdict: Verdict | None, at: datetime
    ) -> None:
        track = self.tracks[ref]
        kind: ChangeKind = "verdict" if sight is None else "state" if sight.moved else "progress"
        self.tell(
            Change(
                kind=kind,
                source=ref.source,
                provider=provider,
                ref=str(ref),
                before=sight.before if sight else track.last_known,
                status=_as_of(track, verdict, at),
                verdict=verdict,
                stale_since=track.stale_since,
                failure=track.failure,
                warnings=sight.warnings if sight else (),
                observed_at=sight.status.observed_at if sight else at,
            )
        )

    def end(self, *, at_deadline: bool = False) -> None:
        """The deadline has come, or what was waited for, or the owner has had enough. What is said then stays said."""
        if not self.over:
            self.over = True
            for ref, track in self.tracks.items():
                if ref not in self.results:
                    self._unfinished[ref] = _result(ref, track, _unsettled(track, at_deadline=at_deadline))
        self._notify()

    def outcome(self, at: datetime) -> Outcome:
        """How it stands for each bulk: final for those that are settled."""
        refs = [ref for ref in dict.fromkeys((*self._order, *self.tracks)) if ref in self.tracks]
        results = (
            self.result(ref) or _result(ref, track, _unsettled(track, at_deadline=False))
            for ref, track in ((ref, self.tracks[ref]) for ref in refs)
        )
        return Outcome(results=tuple(results), observed_at=at)

    def result(self, ref: Ref) -> Result | None:
        """What is said of a bulk for good, or None while it goes on."""
        return self.results.get(ref) or self._unfinished.get(ref)

    def _is_enough(self, verdict: Verdict) -> bool:
        """True when `verdict`, the latest, ends the wait."""
        if self.until is None:
            return False
        if len(self.results) == len(self.tracks):
            return True
        return verdict.stops(self.until)

    def _join(self) -> None:
        """Make one of all changes of the same bulk that nobody has read."""
        joined: dict[tuple[str, str | None], Change] = {}
        for change in self._unread:
            key = change.source, change.ref
            earlier = joined.pop(key, None)
            joined[key] = change if earlier is None or change.ref is None else _joined(earlier, change)
        self._unread = deque(joined.values())
        self._most = max(_MOST_UNREAD, 2 * len(self._unread))


def _joined(first: Change, later: Change) -> Change:
    state = "state" in (first.kind, later.kind)
    return msgspec.structs.replace(
        later,
        kind="state" if state else later.kind,
        before=first.before,
        verdict=later.verdict or first.verdict,
        warnings=(*first.warnings, *later.warnings),
    )


def _result(ref: Ref, track: Track, verdict: Verdict, at: datetime | None = None) -> Result:
    """What is said of a bulk, as of `at`."""
    return Result(
        ref=str(ref),
        verdict=verdict,
        status=_as_of(track, verdict, at),
        stale_since=None if verdict is Verdict.GONE else track.not_seen_since,
        failure=track.failure,
    )


def _as_of(track: Track, verdict: Verdict | None, at: datetime | None) -> BulkStatus | None:
    """How a bulk was seen last; marked, when that is the verdict, as one that its provider has forgotten."""
    status = track.last_known
    if verdict is not Verdict.GONE or status is None or status.gone_at is not None:
        return status
    return status.changed(gone_at=at)


def _unsettled(track: Track, *, at_deadline: bool) -> Verdict:
    """What can be said of a bulk when the wait ends before it does: pending, if it was seen or need not have been."""
    if track.status is not None:
        return Verdict.PENDING
    kind = None if track.failure is None else track.failure.kind
    # Within its grace a bulk that is not found may yet appear.
    unasked = kind in (None, "not_found") and not at_deadline
    return Verdict.PENDING if unasked or kind == "rate_limited" else Verdict.BLIND
