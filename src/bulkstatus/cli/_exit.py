"""Exit codes: what a script may rely on. Pure functions."""

from collections.abc import Collection, Iterable

from bulkstatus import BulkStatus, Failure, Outcome, Report, Result, State, Verdict

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
SIGNALLED = 128
"""Added to the number of the signal that ended the command: 129 SIGHUP, 130 SIGINT, 141 SIGPIPE, 143 SIGTERM."""
INTERRUPTED = 130
BROKEN_PIPE = 141

# Wrong usage comes first because nothing was sent then; of all else, what needs a human most urgently.
_ORDER = (USAGE, BUG, FAILED, PARTIAL, NOT_FOUND, AUTH, BLIND, BLOCKED, PENDING, OK)


class Ended(BaseException):
    """A signal has come that ends the command; with its exit code."""

    def __init__(self, code: int) -> None:
        super().__init__()
        self.code = code


def for_signal(error: BaseException | None) -> int | None:
    """The code for what a signal raised, or for what went wrong in dealing with that; None for anything else."""
    while error is not None:
        if isinstance(error, KeyboardInterrupt | Ended):
            return INTERRUPTED if isinstance(error, KeyboardInterrupt) else error.code
        error = error.__context__
    return None


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

_BY_VERDICT = {
    Verdict.SUCCEEDED: OK,
    Verdict.FAILED: FAILED,
    Verdict.CANCELLED: FAILED,
    Verdict.EXPIRED: FAILED,
    Verdict.PARTIAL: PARTIAL,
    Verdict.NOT_FOUND: NOT_FOUND,
    Verdict.GONE: NOT_FOUND,
    Verdict.BLIND: BLIND,
    Verdict.PENDING: PENDING,
    Verdict.BLOCKED: BLOCKED,
}
_UNSEEN = frozenset({Verdict.NOT_FOUND, Verdict.GONE, Verdict.BLIND})


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
    if status.gone_at is not None and not status.state.is_terminal:
        return NOT_FOUND
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


def for_verdict(verdict: Verdict, failure: Failure | None = None) -> int:
    """The code for how a wait ended for one bulk; for one that could not be observed, `failure` says why."""
    if verdict is Verdict.BLIND and failure is not None and failure.kind in ("auth", "config"):
        return for_kind(failure.kind)
    return _BY_VERDICT[verdict]


def for_outcome(outcome: Outcome, *, until: str = "all") -> int:
    """The code for how a wait ended.

    With `until` any, those that have not ended do not count once one has. A setting that is wrong gives USAGE only
    where that holds for all bulks, as in `for_failures`.
    """
    counted = list(outcome)
    if until == "any" and any(result.verdict.is_end for result in counted):
        counted = [result for result in counted if result.verdict.is_end or result.verdict.is_failure]
    return _together(counted)


def for_sight(outcome: Outcome) -> int:
    """The code for whether all bulks could be seen, however they stand."""
    return _together([result if result.verdict in _UNSEEN else None for result in outcome])


def _together(results: Collection[Result | None]) -> int:
    codes = [OK if result is None else for_verdict(result.verdict, result.failure) for result in results]
    nothing_sent = all(code == USAGE for code in codes)
    return combine(BLIND if code == USAGE and not nothing_sent else code for code in codes)
