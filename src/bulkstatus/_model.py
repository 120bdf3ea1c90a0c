"""The model: what a bulk, an operation and a report are, whoever runs them.

All times are aware and in UTC. None means "not said", in counts as everywhere else, and is never shown as 0.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from enum import StrEnum
from itertools import repeat
from typing import Any, Literal, NamedTuple, Protocol, Self, TypeVar

import msgspec

from bulkstatus.errors import BulkStatusError, ConfigError, error_for_kind

_LONGEST_TEXT = 16_384
_MOST_EVIDENCE, _FIRST_EVIDENCE, _LAST_EVIDENCE = 50, 30, 10


class State(StrEnum):
    """Where a bulk, or an operation inside it, stands. The wire values are frozen.

    `queued`, `running` and `paused` can still change. `succeeded`, `partial`, `failed`, `cancelled` and `expired`
    are ends. `unknown` is a provider's word that nobody has explained yet: never an end, never a guess.
    """

    is_terminal: bool
    """True when the provider will not move the bulk any more; false for `unknown`."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    SUCCEEDED = "succeeded"
    PARTIAL = "partial"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    UNKNOWN = "unknown"

    def __init__(self, word: str) -> None:
        # Once for each, since it is asked of every record, often several times.
        self.is_terminal = word in {"succeeded", "partial", "failed", "cancelled", "expired"}


class Ref(NamedTuple):
    """The address of a bulk: the name of a source and the provider's id. Written `source:id`."""

    source: str
    id: str

    def __str__(self) -> str:
        return f"{self.source}:{self.id}"

    @classmethod
    def parse(cls, text: "str | Ref") -> "Ref":
        """Read `source:id`; the id is all behind the first colon.

        Raises ConfigError when there is no colon, or nothing on one side of it.
        """
        if isinstance(text, Ref):
            return text
        if not isinstance(text, str):
            raise ConfigError(f"a reference is a text such as payments:112233, not a {type(text).__name__}")
        source, colon, id = text.partition(":")
        if not (colon and source and id):
            raise ConfigError(
                f"{text[:80]!r} is not a reference: write source:id, for example payments:112233"
            )
        return cls(source, id)


def by_source(refs: Iterable[Ref]) -> dict[str, list[str]]:
    """The ids that references name at each source, in their order."""
    found: dict[str, list[str]] = {}
    for source, id in refs:
        found.setdefault(source, []).append(id)
    return found


class Counts(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """How many operations of a bulk are in which state. None means that the provider did not say."""

    total: int | None = None
    queued: int | None = None
    running: int | None = None
    succeeded: int | None = None
    failed: int | None = None
    cancelled: int | None = None

    @property
    def finished(self) -> int | None:
        """How many operations have ended, or None when no ended ones were counted at all."""
        if self.succeeded is None and self.failed is None and self.cancelled is None:
            return None
        return (self.succeeded or 0) + (self.failed or 0) + (self.cancelled or 0)

    @property
    def unsaid(self) -> int | None:
        """How many of `total` no count speaks of; None without a total. Never negative."""
        if self.total is None:
            return None
        said = (self.queued or 0) + (self.running or 0) + (self.finished or 0)
        return max(0, self.total - said)

    @property
    def progress(self) -> float | None:
        """The share of operations that have ended, from 0 to 1, or None when it cannot be told."""
        if self.finished is None or not self.total:
            return None
        # Cut before it is divided: the quotient of two whole numbers may be too large for a float.
        return max(0, min(self.finished, self.total)) / self.total


class _Hidden(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """A struct with values that travel along beside its fields: not in repr, not in JSON, not compared."""

    def carrying(self, **values: object) -> Self:
        """Attach the values and return the same object. For adapters, while they build it."""
        vars(self).update(values)
        return self

    def changed(self, **fields: object) -> Self:
        """A copy with other values for some fields, and with the same values beside them."""
        copy = msgspec.structs.replace(self, **fields)
        vars(copy).update(vars(self))
        return copy

    @property
    def raw(self) -> bytes | None:
        """The provider's record as received (JSON), or None when it was not kept, as after a JSON round trip."""
        value: bytes | Callable[[], bytes] | None = self._beside("raw")
        return value() if callable(value) else value

    def _beside(self, name: str) -> Any:  # noqa: ANN401 - of the kind that the name says
        """What is carried under this name, or else what the row says that the record was made of."""
        carried = self.__dict__
        if name in carried or _ROWS not in carried:
            return carried.get(name)
        return carried[_ROWS].give(name, carried[_ROW])


class Received(Protocol):
    """The rows of an answer as received, from which what travels beside a record is taken once somebody asks for it."""

    def give(self, name: str, number: int) -> bytes | str | None:
        """The `raw`, `request` or `response` of row `number`."""
        ...


_ROWS, _ROW = "rows", "row"
H = TypeVar("H", bound=_Hidden)


def attach(items: Iterable[H], rows: Received, number: int) -> tuple[H, ...]:
    """Let each of `items`, made of the `number` rows in their order, know its row. Raises ValueError when they are others."""
    records = tuple(items)
    if len(records) != number:
        raise ValueError(f"{len(records)} items are attached to {number} rows")
    # A page has a hundred rows or more, so nothing here is a call of Python's; and no pair, which the collector looks at.
    given = msgspec.structs.force_setattr
    deque(map(given, records, repeat(_ROWS), repeat(rows)), maxlen=0)
    deque(map(given, records, repeat(_ROW), range(number)), maxlen=0)
    return records


class Overdue(msgspec.Struct, frozen=True, kw_only=True):
    """A bulk that takes longer than such bulks do, by the journal's own history of its source and action.

    `age` is how long it had been going on when it was last looked at, `usual` what 95 of 100 stayed below, both in
    seconds; `of` is how many ended bulks say so.
    """

    age: float
    usual: float
    of: int


class Stuck(msgspec.Struct, frozen=True, kw_only=True):
    """A bulk in which nothing has moved for long: no state, no count, no time of the provider's.

    `since` is when it last moved, in UTC, `idle` how long ago that was at the last look, `limit` from when on that is
    called long, both in seconds. `of` is how many ended bulks the limit is drawn from, None for a fixed one.
    """

    since: datetime
    idle: float
    limit: float
    of: int | None = None


class BulkStatus(_Hidden, frozen=True, kw_only=True):
    """How one bulk stood when it was last looked at.

    `source` is the user's name for where it runs, `provider` the vendor's API, `id` the vendor's id. `state` is
    ours, `native_state` the provider's word verbatim (of one that does not end, its beginning), `phase` a finer word of ours (an open list; `awaiting_action`
    means that somebody has to start it). `action` is what the bulk does (`/transfers`), `on_failure` what the
    provider was told to do when an operation fails. `error` is the provider's text about the bulk as a whole.
    `evidence` says in short sentences how `state` was derived and what could not be read. `observed_at` is the
    moment of our reading; the other times are the provider's. `provisional` is true for an end that a list told and
    that the bulk's own record, which says more, could still correct: `get` asks for that.

    With a journal: `gone_at` is set when the provider said that it does not know the bulk any more; all else is then
    what was seen last, and how the bulk ended is not known unless `state` is an end. `overdue` and `stuck` are set for
    an unfinished bulk that takes longer than usual, or does not move.
    """

    source: str
    provider: str
    id: str
    state: State
    native_state: str | None = None
    phase: str | None = None
    counts: Counts | None = None
    created_at: datetime | None = None
    started_at: datetime | None = None
    updated_at: datetime | None = None
    finished_at: datetime | None = None
    observed_at: datetime
    action: str | None = None
    on_failure: Literal["stop", "continue"] | None = None
    error: str | None = None
    provisional: bool = False
    evidence: tuple[str, ...] = ()
    gone_at: datetime | None = None
    overdue: Overdue | None = None
    stuck: Stuck | None = None

    def __post_init__(self) -> None:
        # Journals keep these for each step, and an answer may hold megabytes of any. Lists make many of these records, and
        # nearly none has an error or is long, so the first look is one condition.
        if (
            self.error is not None
            or len(self.native_state or "") > _LONGEST_TEXT
            or len(self.action or "") > _LONGEST_TEXT
            or len(self.evidence) > _MOST_EVIDENCE
        ):
            self._cut()

    def _cut(self) -> None:
        for name in ("native_state", "action", "error"):
            text: str | None = getattr(self, name)
            if text is not None and len(text) > _LONGEST_TEXT:
                msgspec.structs.force_setattr(self, name, f"{text[: _LONGEST_TEXT - 1]}…")
        if len(self.evidence) > _MOST_EVIDENCE:
            first, last = self.evidence[:_FIRST_EVIDENCE], self.evidence[-_LAST_EVIDENCE:]
            rest = len(self.evidence) - len(first) - len(last)
            left_out = f"{rest} more sentences are left out here."
            msgspec.structs.force_setattr(self, "evidence", (*first, left_out, *last))

    @property
    def ref(self) -> Ref:
        """The address of the bulk, `source:id`."""
        return Ref(self.source, self.id)

    @property
    def key(self) -> str:
        """What tells this record from others of the same listing."""
        return self.id


class BulkOperation(_Hidden, frozen=True, kw_only=True):
    """One item inside a bulk.

    `sequence` is its position as the provider counts (from 0 or from 1, providers do not say). `method` and `path`
    are the call it stands for. `error` is the provider's code or text for why it failed. `request` and `response`
    are the payloads as text: they hold personal data, so they are in no repr and no JSON unless asked for by name.
    """

    id: str | None = None
    sequence: int | None = None
    state: State
    native_state: str | None = None
    method: str | None = None
    path: str | None = None
    error: str | None = None

    @property
    def request(self) -> str | None:
        """The payload that was, or will be, sent for this operation. Personal data."""
        value: str | None = self._beside("request")
        return value

    @property
    def response(self) -> str | None:
        """The answer this operation got, as text. Personal data."""
        value: str | None = self._beside("response")
        return value

    @property
    def key(self) -> str:
        """What tells this record from others of the same listing; empty when nothing does."""
        if self.id:
            return self.id
        return "" if self.sequence is None else f"#{self.sequence}"


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """A source, or one bulk of it, that could not be asked. It says nothing about any bulk's state.

    `kind` is the error's branch (`auth`, `not_found`, `rate_limited`, `unavailable`, `protocol`, `rejected`,
    `deadline`, `config`), `reason` its fine print. `id` is None when the whole source is meant. `retry_after` is in
    seconds.
    """

    source: str
    provider: str
    kind: str
    message: str
    retryable: bool
    id: str | None = None
    reason: str | None = None
    status: int | None = None
    code: str | None = None
    detail: str | None = None
    request_id: str | None = None
    retry_after: float | None = None

    @classmethod
    def of(cls, error: BulkStatusError) -> "Failure":
        """Describe an error."""
        return cls(kind=error.kind, **{name: getattr(error, name) for name in _SHARED})

    def error(self) -> BulkStatusError:
        """The error to raise for this failure."""
        return error_for_kind(self.kind)(**{name: getattr(self, name) for name in _SHARED})


_SHARED = tuple(name for name in Failure.__struct_fields__ if name != "kind")


class Skipped(msgspec.Struct, frozen=True, kw_only=True):
    """A source that was not asked because its provider has nothing to ask: no listing, for example."""

    source: str
    provider: str
    reason: str


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of a call over several bulks or sources: statuses, and what could not be asked.

    Iterating gives the statuses. `complete` is true when nothing failed; `skipped` names sources that have no
    listing and so had nothing to be asked.
    """

    statuses: tuple[BulkStatus, ...]
    failures: tuple[Failure, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    complete: bool
    observed_at: datetime

    def __iter__(self) -> Iterator[BulkStatus]:
        return iter(self.statuses)

    def __len__(self) -> int:
        return len(self.statuses)

    def raise_for_failures(self) -> None:
        """Raise the first failure as its error, the others added as notes; do nothing when there is none."""
        if not self.failures:
            return
        first, *others = (failure.error() for failure in self.failures)
        for other in others:
            first.add_note(f"also: {other}")
        raise first
