"""Sentences and short forms for people. Everything from a provider passes `printable` here."""

import math
import os
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

from bulkstatus import (
    BulkStatus,
    Change,
    Counts,
    Failure,
    Outcome,
    Ref,
    Result,
    Skipped,
    State,
    Verdict,
    is_blocked,
    printable,
)

if TYPE_CHECKING:
    from bulkstatus import Allowance, BulkView, SourceView

STDIN = "\0-"
"""Stands for the argument `-`. No argument of a process can hold a NUL, so it cannot be typed."""

_MINUTE, _HOUR, _DAY = 60, 3_600, 86_400
_SENTENCE = 2_000
_LONG_PAUSE = 10 * _MINUTE
_LONGEST_ERROR = 500

GONE = "it was there before; find out how it ended before anything is run again"
"""What to do about a bulk that its provider has forgotten."""
PATIENCE = "asking for 20 s, in case it is new"
"""What becomes of an id that its provider does not know, at first. As long as the `grace` of `Client.watch`."""

_ADVICE = {
    "auth": "check its credentials, then try 'bulkstatus sources'",
    "not_found": "check the id, and that it is this source's",
    "unavailable": "try again, or try 'bulkstatus sources' to see whether it answers",
    "protocol": "try again with -v to see what was asked",
    "deadline": "try a longer --timeout",
}
_ADVICE_BY_REASON: dict[str, str] = {
    "bad_token_reply": "check auth_base_url",
    "no_token_endpoint": "check auth_base_url",
    "gone": GONE,
}


def say(text: str, *, limit: int = _SENTENCE) -> None:
    """Write one line to stderr, if that can be written to."""
    _write(f"bulkstatus: {printable(text, limit)}")


def tell(text: str, *, limit: int = _SENTENCE) -> None:
    """Write one line about a source to stderr, as it is, if that can be written to."""
    _write(printable(text, limit))


def _write(line: str) -> None:
    # print() would take stdout in place of a stderr that is closed (`2>&-`).
    if sys.stderr is not None:
        with suppress(OSError, ValueError):
            print(line, file=sys.stderr)


def settle_stderr() -> None:
    """Let go of what stderr does not take: Python would try again at its end, and end with 120 for it."""
    if sys.stderr is None:
        return
    try:
        sys.stderr.flush()
    except (OSError, ValueError):
        with suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, sys.stderr.fileno())
            os.close(nowhere)


def section(source: str) -> str:
    """The header of a source in a configuration: a name with a dot in it would be two keys."""
    return f'[sources."{source}"]' if "." in source else f"[sources.{source}]"


def one_word(text: str) -> str:
    """`text` as what the next command takes for one word: as `printable` has it, blanks escaped too."""
    return printable(text).replace(" ", "\\x20")


def failure_line(failure: Failure, advice: str | None = None) -> str:
    """What could not be asked, why, and what to try: `advice`, or what fits the failure."""
    error = failure.error()
    error.source = error.provider = ""
    what = f"{who} cannot ask: {error}" if (who := _who(failure)) else str(error)
    advice = advice or _advice(failure)
    return f"{what}; {advice}" if advice else what


def skipped_line(skipped: Skipped) -> str:
    """Which source was not asked, and why."""
    return f"{skipped.source} ({skipped.provider}): not asked: {skipped.reason}, as in 'bulkstatus get {skipped.source}:ID'"


def _who(failure: Failure) -> str:
    if not failure.source:
        return ""
    ref = failure.source if failure.id is None else f"{failure.source}:{failure.id}"
    return f"{ref} ({failure.provider}):" if failure.provider else f"{ref}:"


def _advice(failure: Failure) -> str | None:
    if failure.kind in ("rate_limited", "unavailable") and failure.retry_after:
        return f"try again in {pause(failure.retry_after)}"
    if failure.kind == "rate_limited":
        return "try again in a minute"
    return _ADVICE_BY_REASON.get(failure.reason or "") or _ADVICE.get(failure.kind)


def pause(seconds: float) -> str:
    """How long to wait, rounded up: `100 s` below ten minutes, then `12 min`, from two hours on `3 h`."""
    whole = math.ceil(seconds)
    if whole < _LONG_PAUSE:
        return f"{whole} s"
    if whole < 2 * _HOUR:
        return f"{math.ceil(whole / _MINUTE)} min"
    return f"{math.ceil(whole / _HOUR)} h"


def span(seconds: float) -> str:
    """A length of time in its largest whole unit: `42s`, `3m`, `5h`, `12d`."""
    whole = max(0, int(seconds))
    for unit, size in (("d", _DAY), ("h", _HOUR), ("m", _MINUTE)):
        if whole >= 2 * size or (whole >= size and unit != "d"):
            return f"{whole // size}{unit}"
    return f"{whole}s"


def length(seconds: float) -> str:
    """A length of time in its two largest units: `42s`, `1m20s`, `2h5m`, `3d4h`."""
    rest = max(0, int(seconds))
    parts: list[str] = []
    for unit, size in (("d", _DAY), ("h", _HOUR), ("m", _MINUTE), ("s", 1)):
        count, rest = divmod(rest, size)
        if count and len(parts) < 2:  # noqa: PLR2004 - what the docstring says
            parts.append(f"{count}{unit}")
        elif parts:
            break
    return "".join(parts) or "0s"


def clock(moment: datetime) -> str:
    """A time in UTC, to the second: `2026-01-31T12:00:00Z`."""
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def latest(status: BulkStatus) -> tuple[str, datetime] | None:
    """The last that the provider dated in the life of a bulk, and when it was; None when it dated nothing."""
    known = (
        ("finished", status.finished_at),
        ("started", status.started_at),
        ("updated", status.updated_at),
        ("created", status.created_at),
    )
    return next(((word, moment) for word, moment in known if moment is not None), None)


def age(status: BulkStatus, now: datetime) -> str:
    """`finished 3m ago`, `started 42s ago`; empty when the provider dated nothing."""
    last = latest(status)
    if last is None:
        return ""
    word, moment = last
    seconds = (now - moment).total_seconds()
    return f"{word} in {span(-seconds)}" if seconds <= -_MINUTE else f"{word} {span(seconds)} ago"


def progress(counts: Counts | None) -> str:
    """`247/250`: operations that have ended, of all; `?` for what was not said, empty when neither was."""
    if counts is None or (counts.finished is None and counts.total is None):
        return ""
    ended = "?" if counts.finished is None else f"{counts.finished}"
    return f"{ended}/{'?' if counts.total is None else counts.total}"


def state(status: BulkStatus) -> str:
    """The state, with `?` behind an end that is a list's word only; `gone` for what its provider has forgotten."""
    if status.gone_at is not None and not status.state.is_terminal:
        return f"gone ({status.state} before)"
    return f"{status.state}?" if status.provisional else str(status.state)


def standing(status: BulkStatus) -> str:
    """The state, and that it awaits somebody where it does: else it would look as if it went on by itself."""
    waits = status.phase == "awaiting_action" and not status.state.is_terminal
    return f"{state(status)}, awaits somebody" if waits else state(status)


def waiting(number: int) -> str:
    """`1 waits for somebody`, `2 wait for somebody`."""
    return f"{number:,} {'waits' if number == 1 else 'wait'} for somebody"


def detail(status: BulkStatus) -> str:
    """What is late, what went wrong, else what the bulk does."""
    return "; ".join(filter(None, (late(status), printable(status.error or status.action or ""))))


def late_mark(status: BulkStatus) -> str:
    """A word behind the state where there is no room for the figures."""
    return ", late" if status.overdue is not None or status.stuck is not None else ""


def late(status: BulkStatus) -> str:
    """That a bulk takes longer than usual, or does not move, and by which figures; empty for any other."""
    facts: list[str] = []
    if status.overdue is not None:
        age, usual = length(status.overdue.age), length(math.ceil(status.overdue.usual))
        facts.append(f"overdue: {age}, and 95 % of the last {status.overdue.of:,} took at most {usual}")
    if status.stuck is not None:
        limit = length(status.stuck.limit)
        told = "" if status.stuck.of is None else f", half of what is usual for the last {status.stuck.of:,}"
        facts.append(f"stuck: nothing has moved for {length(status.stuck.idle)} (limit {limit}{told})")
    return "; ".join(facts)


def word(status: BulkStatus) -> str:
    """The provider's word, made printable; empty when there was none."""
    return printable(status.native_state or "", 80)


def moved(before: BulkStatus | None, status: BulkStatus) -> str:
    """One line for one step of a bulk: when, which, from where to where, the word, the counts, what went wrong."""
    was = "new" if before is None else standing(before)
    facts = (
        clock(status.observed_at),
        printable(str(status.ref)),
        f"{was} -> {standing(status)}",
        word(status),
    )
    return "  ".join(filter(None, (*facts, progress(status.counts), wrong(status))))


def wrong(status: BulkStatus) -> str:
    """How many operations failed and the error text of a bulk that did not end well; empty for any other."""
    if not status.state.is_terminal or status.state is State.SUCCEEDED:
        return ""
    number = None if status.counts is None else status.counts.failed
    failed = f"{number:,} {'operation' if number == 1 else 'operations'} failed" if number else ""
    return ": ".join(filter(None, (failed, printable(status.error or "", _LONGEST_ERROR))))


def change_line(change: Change) -> str | None:
    """One line for a change of a bulk's state or verdict, and for one that is late; None for any other change."""
    if change.kind == "state" and change.status is not None:
        line = moved(change.before, change.status)
        # An end tells itself; what is not one has to be said.
        return (
            line if change.verdict is None or change.verdict.is_end else f"{line}  ({words(change.verdict)})"
        )
    if change.kind == "late" and change.status is not None and change.ref is not None:
        return f"{clock(change.observed_at)}  {printable(change.ref)}  {late(change.status)}"
    if change.verdict is None or change.ref is None:
        return None
    facts = (clock(change.observed_at), change.ref, words(change.verdict))
    why = reason(change.verdict, change.failure)
    if change.verdict.is_end:
        wrongs = "" if change.status is None else wrong(change.status)
        return printable("  ".join(filter(None, (*facts, wrongs))), _SENTENCE)
    return printable("  ".join(facts) + (f": {why}" if why else ""), _SENTENCE)


def reason(verdict: Verdict | None, failure: Failure | None) -> str:
    """Why a bulk could not be looked at, unless the verdict says just that; empty when it could."""
    if failure is None or (verdict is not None and failure.message == words(verdict)):
        return ""
    return printable(failure.message, _LONGEST_ERROR)


def words(verdict: Verdict) -> str:
    """A verdict as a person writes it."""
    return verdict.replace("_", " ")


def trouble_line(change: Change) -> str | None:
    """One line for a source, or one bulk of it, that cannot be asked any more or can be again; else None."""
    if change.kind == "observable":
        return f"{change.ref or change.source} ({change.provider}): can be asked again"
    if change.kind != "unobservable" or change.failure is None:
        return None
    if change.failure.kind == "not_found" and change.ref is not None:
        was = f"; {PATIENCE}" if change.status is None else ", although it was there before; asking once more"
        return f"{change.ref} ({change.provider}): not found{was}"
    return failure_line(about(change.failure, change.ref))


def about(failure: Failure, ref: str | None) -> Failure:
    """The failure as one of the bulk `ref`, or of its whole source when None."""
    return msgspec.structs.replace(failure, id=None if ref is None else Ref.parse(ref).id)


def summary(outcome: Outcome) -> str:
    """`10 bulks: 7 succeeded, 1 partial, 2 pending (1 waits for somebody, 1 not seen for 28s)`."""
    number = f"{len(outcome):,} {'bulk' if len(outcome) == 1 else 'bulks'}"
    told = [f"{count:,} {words(verdict)}" for verdict, count in by_verdict(outcome).items()]
    if pending := [result for result in outcome if result.verdict is Verdict.PENDING]:
        at = list(by_verdict(outcome)).index(Verdict.PENDING)
        told[at] += _about_pending(pending, outcome.observed_at)
    return f"{number}: {', '.join(told)}" if told else number


def _about_pending(pending: Sequence[Result], now: datetime) -> str:
    """What keeps bulks from going on, or from being seen to: else `pending` reads as if all were well."""
    blocked = sum(result.status is not None and is_blocked(result.status) for result in pending)
    stale = [result.stale_since for result in pending if result.stale_since is not None]
    facts = [waiting(blocked)] if blocked else []
    if stale:
        number = "" if len(stale) == len(pending) else f"{len(stale):,} "
        facts.append(f"{number}not seen for {span((now - min(stale)).total_seconds())}")
    return f" ({', '.join(facts)})" if facts else ""


def by_verdict(outcome: Outcome) -> dict[Verdict, int]:
    """How many bulks have which verdict, without those that none has."""
    counts = Counter(result.verdict for result in outcome)
    return {verdict: counts[verdict] for verdict in Verdict if counts[verdict]}


def look_at(bulk: "BulkView", source: "SourceView | None") -> datetime | None:
    """When the bulk will be asked about: not before its source will be. None while it is being asked for."""
    question = None if source is None else source.next_question
    if source is not None and source.down_since is not None and question is None:
        return None
    moments = [moment for moment in (bulk.next_look, question) if moment is not None]
    return max(moments, default=None)


def is_sought(bulk: "BulkView") -> bool:
    """True for an id that its provider does not know and that is asked for all the same, as it may be new."""
    unknown = bulk.failure is not None and bulk.failure.kind == "not_found"
    return bulk.verdict is None and bulk.status is None and unknown


def tightest(budget: "Sequence[Allowance]") -> "Allowance | None":
    """The limit of which the smallest share is left; None when none is kept."""
    return min(budget, key=lambda allowance: allowance.left / max(1, allowance.requests), default=None)
