"""What is said once a wait is over: why, and what to do next."""

import shlex
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from bulkstatus import Failure, Outcome, Result, Verdict, WatchView, printable
from bulkstatus.cli._explain import shows_operations
from bulkstatus.cli._text import GONE, about, failure_line, reason, say, tell, word, words, wrong

MOST_TOLD = 20
_MOST_BEYOND = 1_000
_LONGEST_COMMAND = 100_000
_LONGEST_LINE = 1_000
_OF_ONE_BULK = frozenset({"not_found", "protocol", "rejected"})
# The first is what was waited for; the second is named by the command that goes on.
_NOT_BEYOND = (Verdict.SUCCEEDED, Verdict.PENDING)
_LIST = "bulkstatus list --state queued --state running --state paused --state unknown -o name"


def explain_what_was_not_seen(
    outcome: Outcome, view: WatchView | None, *, told: Collection[tuple[str, str]] = ()
) -> None:
    """Say why what could not be learned could not: once for each source, or bulk that is meant alone.

    What was `told` is not said again, but for bulks that are pending: to those it may have come to an end unseen.
    """
    found: dict[tuple[str, str], str] = {}
    again: set[tuple[str, str]] = set()
    for result in outcome:
        if result.failure is not None and not result.verdict.is_end:
            alone = result.failure.kind in _OF_ONE_BULK
            failure = about(result.failure, result.ref if alone else None)
            key = (result.ref if alone else failure.source, failure.kind)
            found.setdefault(key, _line(failure, result.verdict))
            if result.verdict is Verdict.PENDING:
                again.add(key)
    for source in () if view is None else view.sources:
        if source.failure is not None:
            failure = about(source.failure, None)
            found.setdefault((source.source, failure.kind), failure_line(failure))
    left = [line for key, line in found.items() if key in again or key not in told]
    for line in left[:MOST_TOLD]:
        tell(line)
    if len(left) > MOST_TOLD:
        say(f"and {len(left) - MOST_TOLD:,} more of that kind")


def _line(failure: Failure, verdict: Verdict) -> str:
    if verdict is Verdict.GONE:
        return failure_line(failure, GONE)
    # One that was not found and yet is not `not_found` had no time to appear.
    young = failure.kind == "not_found" and verdict is Verdict.BLIND
    return failure_line(failure, "check the id, or wait 20 s and more, in case it is new" if young else None)


def say_where_to_look(outcome: Outcome, config: Path | None) -> None:
    """Name the commands that tell why the first bad end was one, and which operations of a partial one failed."""
    bad = [result for result in outcome if result.verdict.is_end and result.verdict.is_failure]
    if not bad:
        return
    told = f"to see why: {_command(config, 'explain', bad[0].ref)}"
    partial = next((result.ref for result in bad if _has_operations(result)), None)
    if partial is not None:
        told += f"; what failed in it: {_command(config, 'operations', partial, '--state', 'failed')}"
    say(told)


def _has_operations(result: Result) -> bool:
    if result.verdict is not Verdict.PARTIAL or result.status is None:
        return False
    return shows_operations(result.status.provider)


def _command(config: Path | None, *words: str) -> str:
    given = () if config is None else ("--config", str(config))
    return shlex.join(("bulkstatus", *words, *given))


def tell_how_to_go_on(command: str, of_any: str) -> None:
    """Name the `command` that goes on; where it is too long to be typed, how to give `of_any`, which reads stdin, its references."""
    if len(command) <= _LONGEST_COMMAND:
        tell(f"  {command}", limit=_LONGEST_COMMAND + 2)
    else:
        say(f"too many to name; list what is unfinished with '{_LIST}', and pipe it to '{of_any}'")


def beyond(outcome: Outcome, shown: Collection[str]) -> Iterator[str]:
    """A line for each bulk that did not succeed and is not among those `shown`; pending ones are left out."""
    left = [result for result in outcome if result.verdict not in _NOT_BEYOND and result.ref not in shown]
    yield from map(_result_line, left[:_MOST_BEYOND])
    if len(left) > _MOST_BEYOND:
        yield f"and {len(left) - _MOST_BEYOND:,} more that did not succeed"


def _result_line(result: Result) -> str:
    status = result.status
    why = "" if status is None else wrong(status)
    if not result.verdict.is_end:
        why = reason(result.verdict, result.failure)
    facts: Sequence[str] = (result.ref, words(result.verdict), "" if status is None else word(status), why)
    return printable("  ".join(filter(None, facts)), _LONGEST_LINE)
