"""Exit codes: what a script may rely on. Pure functions."""

from collections.abc import Collection, Iterable

from bulkstatus import BulkStatus, Failure, Report, State

OK = 0
BUG = 1
USAGE = 2
FAILED = 3
AUTH = 4
NOT_FOUND = 5
PARTIAL = 6
BLIND = 7
PENDING = 8
BLOCKED = 9
INTERRUPTED = 130
BROKEN_PIPE = 141
TERMINATED = 143

# Wrong usage comes first because nothing was sent then; of all else, what needs a human most urgently.
_ORDER = (USAGE, BUG, FAILED, PARTIAL, NOT_FOUND, AUTH, BLIND, BLOCKED, PENDING, OK)

_BY_KIND = {"config": USAGE, "auth": AUTH, "not_found": NOT_FOUND}

_BY_STATE = {
    State.SUCCEEDED: OK,
    State.FAILED: FAILED,
    State.CANCELLED: FAILED,
    State.EXPIRED: FAILED,
    State.PARTIAL: PARTIAL,
    State.UNKNOWN: BLIND,
    State.PAUSED: BLOCKED,
    State.QUEUED: PENDING,
    State.RUNNING: PENDING,
}


def combine(codes: Iterable[int]) -> int:
    """The one code for several; 0 for none."""
    found = set(codes)
    return next((code for code in _ORDER if code in found), OK)


def for_kind(kind: str) -> int:
    """The code for an error of this kind."""
    return _BY_KIND.get(kind, BLIND)


def for_failures(failures: Collection[Failure], answered: Collection[str]) -> int:
    """The code for what could not be asked, beside the sources `answered`.

    USAGE promises that nothing was sent, so a setting that is wrong gives it only where that holds for all.
    """
    nothing_sent = not answered and all(failure.kind == "config" for failure in failures)
    codes = {for_kind(failure.kind) for failure in failures}
    return combine(BLIND if code == USAGE and not nothing_sent else code for code in codes)


def for_status(status: BulkStatus) -> int:
    """The code for how a bulk stands, as `--exit-status` asks for it."""
    if status.phase == "awaiting_action" and not status.state.is_terminal:
        return BLOCKED
    code = _BY_STATE[status.state]
    return BLIND if status.provisional and code == OK else code


def for_report(
    report: Report, *, asked: Collection[str], by_state: bool, allow_incomplete: bool = False
) -> int:
    """The code for a report: its failures, unless those are allowed, and its states, where they are asked for.

    `asked` names the sources that the report is about.
    """
    silent = {failure.source for failure in report.failures} | {skipped.source for skipped in report.skipped}
    answered = (set(asked) - silent) | {status.source for status in report.statuses}
    codes = [] if allow_incomplete else [for_failures(report.failures, answered)]
    if by_state:
        codes += map(for_status, report.statuses)
    return combine(codes)
