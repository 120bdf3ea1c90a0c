"""What the journal keeps, and what a look at a bulk means for it. No file, no clock."""

from collections.abc import Mapping
from datetime import datetime
from typing import Literal, NamedTuple

import msgspec

from bulkstatus._drift import Oddity
from bulkstatus._model import BulkStatus, Counts, State
from bulkstatus._outcome import Verdict
from bulkstatus._polling import PollPolicy, Preset
from bulkstatus._times import Stamp
from bulkstatus._track import lags, rank, went_back
from bulkstatus.errors import ConfigError


class Place(NamedTuple):
    """Where bulks are: a source, and whose bulks its ids name (`realm`), which a name alone does not tell.

    `pins` is how the configuration reads the provider's words, as text: what was read otherwise is not served again.
    """

    source: str
    provider: str
    realm: str
    pins: str = ""


class Sighting(NamedTuple):
    """An answer about one bulk: asked for at `asked`, read at `read`.

    `wanted` says that it was asked for by name, and `name` by which, where the provider writes its id in another case.
    """

    place: Place
    status: BulkStatus
    asked: Stamp
    read: Stamp
    wanted: bool = False
    name: str | None = None


class Miss(NamedTuple):
    """The provider said that it does not know a bulk; `final` when it said that the bulk is gone for good."""

    place: Place
    id: str
    asked: Stamp
    read: Stamp
    at: datetime
    final: bool = False


class Odd(NamedTuple):
    """Something odd that was seen in so many answers of a source, the first and the last of them then."""

    place: Place
    oddity: Oddity
    answers: int
    first: datetime
    last: datetime


TransitionKind = Literal["first", "state", "gone", "returned"]


class Transition(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a bulk, as the journal keeps it: once, however many processes have seen it.

    `cursor` is where it stands in the journal: hand it to `changes(after=...)` to go on behind it. `kind` is `first`
    (the bulk was seen for the first time), `state` (its state, the provider's word or its phase changed, or counts did
    after its end), `gone` (the provider does not know it any more) or `returned` (and knows it again). `from_state`
    is None for the first one, `to_state` for one that is gone. The words are the provider's own. `observed_at` is when
    the answer was read, in UTC, `observer` the process that read it (`host:pid`). `regressed` marks a step that no
    bulk should take: away from an end, or back. `passed_over` names states that lay between two looks.
    """

    cursor: str
    ref: str
    source: str
    provider: str
    kind: TransitionKind
    from_state: State | None = None
    to_state: State | None = None
    from_word: str | None = None
    to_word: str | None = None
    phase: str | None = None
    counts: Counts | None = None
    observed_at: datetime
    observer: str
    regressed: bool = False
    passed_over: tuple[State, ...] = ()


class KnownBulk(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A bulk as the journal knows it.

    `realm` says whose bulk it is: the provider, its base URL and the account. `tracked_at` is when it was first asked
    for by name, None when it was only met; `first_seen_at` when it was first seen; `moved_at` when something of it
    last changed; `ended_at` when it ended, by the provider or else by our reading; `gone_at` when the provider had
    forgotten it. `status` is the last one seen. `duration` is how long it took, in seconds, where that is known. All
    times are in UTC.
    """

    ref: str
    source: str
    provider: str
    realm: str
    id: str
    status: BulkStatus | None = None
    note: str | None = None
    labels: Mapping[str, str] = {}
    tracked_at: datetime | None = None
    first_seen_at: datetime | None = None
    moved_at: datetime | None = None
    ended_at: datetime | None = None
    gone_at: datetime | None = None
    duration: float | None = None
    is_current: bool = True

    @property
    def began_at(self) -> datetime | None:
        """When the bulk began, by the provider, else when it was first seen."""
        return None if self.status is None else began(self.status, self.first_seen_at)

    @property
    def is_settled(self) -> bool:
        """True when it need not be asked for again: it has ended."""
        return self.status is not None and self.is_current and self.status.state.is_terminal


class WaitTerms(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """On what terms a wait was begun: the arguments of `Client.wait`, in seconds, and what the command line adds."""

    timeout: float | None = None
    until: Literal["all", "any", "first_failure"] = "all"
    stop_when_blocked: bool = False
    blind_after: float = 600.0
    grace: float = 20.0
    polling: PollPolicy | Preset = "default"
    realms: dict[str, str] = {}
    command: dict[str, str] = {}


class WaitRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A wait as the journal keeps it, so that another process can go on with it.

    `deadline_at` is when its timeout ends. `waiter` is the process that waits, or waited, for it (`host:pid`).
    `ended_at` is None while it is open: under way, or left behind by a process that died. `verdicts` is how it ended,
    by reference. Times are in UTC.
    """

    id: int
    refs: tuple[str, ...]
    terms: WaitTerms
    begun_at: datetime
    deadline_at: datetime | None = None
    waiter: str
    ended_at: datetime | None = None
    verdicts: dict[str, Verdict] | None = None
    journal: str = ""
    """The name of the journal that it stands in."""

    def check_realms(self, realms: Mapping[str, str]) -> None:
        """Raises ConfigError when a source of this wait stands for another account now: its ids would mean other bulks."""
        for source, was in self.terms.realms.items():
            now = realms.get(source, was)
            if now != was:
                raise ConfigError(
                    f"wait {self.id} was begun when the source {source!r} was {was}, and now it is {now}"
                )

    @property
    def is_unfinished(self) -> bool:
        """True when it is open, or has ended before what it waited for, as by its deadline."""
        if self.ended_at is None:
            return True
        verdicts = (self.verdicts or {}).values()
        if any(verdict.stops(self.terms.until) for verdict in verdicts):
            return False
        return any(verdict in (Verdict.PENDING, Verdict.BLIND) for verdict in verdicts)

    def rest(self, now: datetime) -> float | None:
        """How many seconds are left of its timeout, at least a moment and at most all of it; None without one."""
        if self.deadline_at is None:
            return None
        # The clock may have been set back since.
        most = float("inf") if self.terms.timeout is None else self.terms.timeout
        return max(0.1, min(most, (self.deadline_at - now).total_seconds()))


class JournalStats(msgspec.Struct, frozen=True, kw_only=True):
    """How much a journal holds. `size` is in bytes, with what has not been merged into the file yet; times in UTC."""

    path: str
    schema: int
    size: int
    bulks: int
    tracked: int
    unfinished: int
    ended: int
    gone: int
    transitions: int
    open_waits: int
    oldest: datetime | None
    newest: datetime | None
    cursor: str


class Pruned(msgspec.Struct, frozen=True, kw_only=True):
    """What was taken out of a journal: bulks, their steps, waits, and kinds of drift that were not seen any more."""

    bulks: int
    transitions: int
    waits: int
    drift: int = 0


# --- what a look means ---


class Last(NamedTuple):
    """What the journal last knew of a bulk, and when that was read.

    `wavers` is True for a bulk that has been seen to go back: then nobody knows which of two answers is the later one.
    `pins` is how words were read then.
    """

    status: BulkStatus
    read: Stamp
    gone: bool = False
    wavers: bool = False
    pins: str = ""


class Weighed(NamedTuple):
    """What becomes of the record: the new `status`, the step to be kept or None, and whether anything moved."""

    status: BulkStatus
    kind: TransitionKind | None
    moved: bool
    regressed: bool = False
    passed_over: tuple[State, ...] = ()


def weigh(last: Last | None, seen: Sighting) -> Weighed | None:
    """What an answer changes; None when it is not known to be newer than what was read before.

    Two processes ask side by side, and the answer that is read later may have been given earlier. Only what was asked
    for after the last reading is surely newer. Of all else, what lies further along the way is believed, as long as the
    bulk has only gone forward, and the rest left out: the next look tells. What is older by the provider's own time
    is left out, too.
    """
    status = msgspec.structs.replace(seen.status, gone_at=None, overdue=None, stuck=None)
    if last is None:
        return Weighed(status, "first", moved=True)
    before = last.status
    overlaps = overlap(last, seen)
    if last.pins != seen.place.pins and _word(before) == _word(status) and not last.gone:
        # Read otherwise, which is no step of the bulk.
        return None if overlaps else Weighed(_filled(status, before), None, moved=False)
    if position(before) == position(status) and not _recounted(before, status):
        if overlaps and (last.gone or seen.read.is_before(last.read) or _counts_less(status, before)):
            return None
        filled = _filled(status, before)
        moved = last.gone or _pulse(filled) != _pulse(before)
        return Weighed(filled, "returned" if last.gone else None, moved)
    if is_older(last, seen) or (overlaps and (last.gone or last.wavers or not _is_ahead(status, before))):
        return None
    kept = _carried(status, before)
    kind: TransitionKind = "returned" if last.gone else "state"
    return Weighed(kept, kind, True, went_back(before, kept), passed_over(before, kept))


def overlap(last: Last, seen: Sighting | Miss) -> bool:
    """True when an answer was asked for before the last one was read, so that nobody knows which is the newer."""
    return seen.asked.is_before(last.read) and seen.asked.boot == last.read.boot


def is_older(last: Last, seen: Sighting) -> bool:
    """True for an answer that is older than the last one by the provider's own time, as far as that is believed."""
    if last.gone:
        return False
    since = seen.asked.since(last.read)
    if since is None:
        since = abs((seen.status.observed_at - last.status.observed_at).total_seconds())
    return lags(seen.status, last.status, since)


def contradicts(last: Last, seen: Sighting) -> bool:
    """True for an answer that is left out, and yet says something else: the journal's own may be the older one."""
    return position(last.status) != position(seen.status)


def _word(status: BulkStatus) -> tuple[str | None, str | None]:
    """What the provider said, however it is read."""
    return status.native_state, status.phase


def _is_ahead(status: BulkStatus, before: BulkStatus) -> bool:
    """True when `status` surely came later in the life of a bulk. Where a word that nobody knows stands, nobody knows."""
    if State.UNKNOWN in (status.state, before.state):
        return status.state.is_terminal
    return rank(status) > rank(before)


def _counts_less(status: BulkStatus, before: BulkStatus) -> bool:
    done, was = (None if each.counts is None else each.counts.finished for each in (status, before))
    return done is not None and was is not None and done < was


def position(status: BulkStatus) -> tuple[object, ...]:
    """Where a bulk stands. The text of an error is not part of it: a list leaves it out."""
    return status.state, status.native_state, status.phase


def _recounted(before: BulkStatus, status: BulkStatus) -> bool:
    """True when an end was counted anew."""
    if not status.state.is_terminal or before.counts is None or status.counts is None:
        return False
    pairs = zip(_numbers(before.counts), _numbers(status.counts), strict=True)
    return any(None not in pair and pair[0] != pair[1] for pair in pairs)


def _numbers(counts: Counts) -> tuple[int | None, ...]:
    return msgspec.structs.astuple(counts)


def _pulse(status: BulkStatus) -> tuple[object, ...]:
    """What changes while a bulk is alive."""
    return status.counts, status.created_at, status.started_at, status.updated_at, status.finished_at


_FACTS = ("action", "on_failure", "created_at", "started_at")
_SAID = (*_FACTS, "counts", "updated_at", "finished_at", "error")


def _filled(status: BulkStatus, before: BulkStatus) -> BulkStatus:
    """`status` with what an earlier answer to the same said and this one does not: rows of lists say less."""
    return _with(_counted(status, before), before, _SAID)


def _counted(status: BulkStatus, before: BulkStatus) -> BulkStatus:
    """`status` with the numbers that were counted before and that it does not tell."""
    if status.counts is None or before.counts is None:
        return status
    pairs = zip(_numbers(status.counts), _numbers(before.counts), strict=True)
    merged = Counts(
        **dict(
            zip(
                Counts.__struct_fields__, (new if new is not None else old for new, old in pairs), strict=True
            )
        )
    )
    return msgspec.structs.replace(status, counts=merged)


def _carried(status: BulkStatus, before: BulkStatus) -> BulkStatus:
    """`status` with what does not change in the life of a bulk."""
    return _with(status, before, _FACTS)


def _with(status: BulkStatus, before: BulkStatus, names: tuple[str, ...]) -> BulkStatus:
    left = {name: getattr(before, name) for name in names if getattr(status, name) is None}
    return msgspec.structs.replace(status, **left) if left else status


def passed_over(before: BulkStatus, status: BulkStatus) -> tuple[State, ...]:
    """The states that lay between two looks, as far as the later one proves it."""
    if before.state is not State.QUEUED or status.state in (State.QUEUED, State.RUNNING, State.UNKNOWN):
        return ()
    done = status.counts is not None and bool(status.counts.finished)
    ran = status.started_at is not None or done or status.state in (State.SUCCEEDED, State.PARTIAL)
    return (State.RUNNING,) if ran else ()


def began(status: BulkStatus, first_seen_at: datetime | None) -> datetime | None:
    """When a bulk began: by the provider, else when it was first seen."""
    return status.started_at or status.created_at or first_seen_at


def took(status: BulkStatus, first_seen_at: datetime | None) -> float | None:
    """How long a bulk that has ended took, in seconds; None where nothing tells.

    `first_seen_at` is None for one that had ended when it was first seen: then only the provider's times count.
    """
    since = began(status, first_seen_at)
    until = status.finished_at or (None if first_seen_at is None else status.observed_at)
    if since is None or until is None:
        return None
    return max(0.0, (until - since).total_seconds())


_LONG_GONE = 86_400.0


def served(bulk: KnownBulk) -> BulkStatus | None:
    """How a bulk has ended, where the journal knows that and it need not be asked for again."""
    status = bulk.status
    if status is None or not bulk.is_settled:
        return None
    if status.gone_at is not None:
        return as_gone(status)
    return _with_evidence(status, f"From the journal, as it was read at {_clock(status.observed_at)}.")


def long_gone(bulk: KnownBulk, now: datetime) -> BulkStatus | None:
    """The last status of a bulk that its provider has not known for a day; before that it may yet come back."""
    if bulk.status is None or bulk.gone_at is None or (now - bulk.gone_at).total_seconds() < _LONG_GONE:
        return None
    return as_gone(bulk.status)


def goes_on(bulk: KnownBulk, now: datetime) -> bool:
    """True for a bulk that there is a reason to ask for."""
    return not bulk.is_settled and long_gone(bulk, now) is None


def as_gone(status: BulkStatus) -> BulkStatus:
    """The last status of a bulk that its provider has forgotten, with a sentence that says so."""
    at = "" if status.gone_at is None else f" since {_clock(status.gone_at)}"
    seen = f"all else is what was seen at {_clock(status.observed_at)}"
    return _with_evidence(status, f"The provider does not know it any more{at}; {seen}.")


def _with_evidence(status: BulkStatus, sentence: str) -> BulkStatus:
    # What the journal keeps has nothing beside its fields, and to look for that makes a dict.
    return msgspec.structs.replace(status, evidence=(*status.evidence, sentence))


def _clock(moment: datetime) -> str:
    return f"{moment.isoformat(' ')[:19]} UTC"  # a fourth of the time that a format takes
