"""How a wait ended, and what is told on the way."""

from collections.abc import Iterator
from datetime import datetime
from enum import StrEnum
from typing import Literal

import msgspec

from bulkstatus._model import BulkStatus, Failure, Ref, State
from bulkstatus.errors import VerdictError


class Verdict(StrEnum):
    """How a wait ended for one bulk. The wire values are frozen.

    `succeeded`, `partial`, `failed`, `cancelled` and `expired` are the provider's own ends. `pending`: it had not
    ended when the wait did. `blocked`: it is paused or awaits somebody, and the wait was to stop there. `blind`: it
    could not be observed, which says nothing about how it stands. `not_found`: the provider does not know it.
    `gone`: the provider knew it before and has forgotten it, so how it ended is not known.
    """

    SUCCEEDED = "succeeded"
    PARTIAL = "partial"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    PENDING = "pending"
    BLOCKED = "blocked"
    BLIND = "blind"
    NOT_FOUND = "not_found"
    GONE = "gone"

    @property
    def is_end(self) -> bool:
        """True for what the provider itself said last."""
        return self in _ENDS

    @property
    def is_failure(self) -> bool:
        """True for what `until="first_failure"` stops at: a bad end, and a bulk that the provider does not have."""
        return self in _FAILURES

    def stops(self, until: str | None) -> bool:
        """True for what ends a wait `until` any, or the first failure, though others go on."""
        return (until == "any" and self.is_end) or (until == "first_failure" and self.is_failure)


_ENDS = frozenset(Verdict(state.value) for state in State if state.is_terminal)
_FAILURES = (_ENDS - {Verdict.SUCCEEDED}) | {Verdict.NOT_FOUND, Verdict.GONE}
_SHOWN = 5


def is_blocked(status: BulkStatus) -> bool:
    """True for a bulk that does not go on before somebody does something."""
    return status.state is State.PAUSED or (
        status.phase == "awaiting_action" and not status.state.is_terminal
    )


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """How a wait ended for one bulk.

    `ref` is `source:id`. `status` is the last one that was seen, None when there was none. `stale_since` is set when
    the bulk could not be looked at any more after that: since when, in UTC. `failure` is why.
    """

    ref: str
    verdict: Verdict
    status: BulkStatus | None = None
    stale_since: datetime | None = None
    failure: Failure | None = None


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How a wait ended: one result for each bulk, in the order they were asked for. Iterating gives the results."""

    results: tuple[Result, ...]
    observed_at: datetime

    def __iter__(self) -> Iterator[Result]:
        return iter(self.results)

    def __len__(self) -> int:
        return len(self.results)

    def __getitem__(self, ref: str | Ref) -> Result:
        """The result of one bulk. Raises KeyError for one that was not waited for."""
        for result in self.results:
            if result.ref == str(ref):
                return result
        raise KeyError(str(ref))

    @property
    def verdicts(self) -> dict[str, Verdict]:
        """The verdict of each reference."""
        return {result.ref: result.verdict for result in self.results}

    @property
    def succeeded(self) -> bool:
        """True when every bulk succeeded."""
        return all(result.verdict is Verdict.SUCCEEDED for result in self.results)

    def raise_for_verdict(self) -> None:
        """Raise VerdictError unless every bulk succeeded; its `outcome` is this one."""
        if self.succeeded:
            return
        others = [result for result in self.results if result.verdict is not Verdict.SUCCEEDED]
        named = ", ".join(f"{result.ref} {result.verdict}" for result in others[:_SHOWN])
        more = f" and {len(others) - _SHOWN:,} more" if len(others) > _SHOWN else ""
        number = f"{len(others):,} of {len(self.results):,} bulks did not succeed"
        raise VerdictError(f"{number}: {named}{more}", outcome=self)


ChangeKind = Literal["state", "progress", "verdict", "late", "unobservable", "observable"]


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """Something that was noticed while watching.

    `kind` is `state` (the state, the provider's word, the phase or the error text changed, or the bulk was seen for
    the first time), `progress` (counts or times alone did), `verdict` (nothing changed, but the wait is over for this
    bulk), `late` (with a journal: the bulk takes longer than usual, or has not moved for long; its status says which),
    `unobservable` and `observable` (the source, or with a `ref` one bulk of it, could not be asked, and could
    be again). `before` and `status` are what was seen before and what is seen now; between the two, states may have
    been passed over. `verdict` is set on the change that ends the wait for the bulk. `warnings` are sentences
    about what should not happen, such as a step backwards. `observed_at` is in UTC.
    """

    kind: ChangeKind
    source: str
    provider: str
    ref: str | None = None
    before: BulkStatus | None = None
    status: BulkStatus | None = None
    verdict: Verdict | None = None
    stale_since: datetime | None = None
    failure: Failure | None = None
    warnings: tuple[str, ...] = ()
    observed_at: datetime
