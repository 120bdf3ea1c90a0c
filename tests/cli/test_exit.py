"""Exit codes as pure functions."""

from datetime import UTC, datetime

import pytest

from bulkstatus import BulkStatus, Failure, Outcome, Report, Result, Skipped, State, Verdict
from bulkstatus.cli import _exit

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)


def status(state, **more):
    """A bulk in this state."""
    return BulkStatus(source="s", provider="p", id="1", state=state, observed_at=NOW, **more)


def failure(kind, source="s"):
    """A source that could not be asked."""
    return Failure(source=source, provider="p", kind=kind, message="m", retryable=False)


@pytest.mark.parametrize(
    ("codes", "code"),
    [
        ([], 0),
        ([0, 0], 0),
        ([0, 8], 8),
        ([8, 9], 9),
        ([9, 7], 7),
        ([7, 4], 4),
        ([4, 5], 5),
        ([5, 6], 6),
        ([6, 3], 3),
        ([3, 1], 1),
        ([1, 2], 2),
        ([8, 0, 3, 7], 3),
    ],
)
def test_of_several_codes_the_most_urgent_wins(codes, code):
    """The order is 2, 1, 3, 6, 5, 4, 7, 9, 8, 0."""
    assert _exit.combine(codes) == code
    assert _exit.combine(reversed(codes)) == code


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("config", 2),
        ("auth", 4),
        ("not_found", 5),
        ("rate_limited", 7),
        ("unavailable", 7),
        ("protocol", 7),
        ("rejected", 7),
        ("deadline", 7),
        ("a kind of tomorrow", 7),
    ],
)
def test_each_kind_of_error_has_a_code(kind, code):
    """What is not known is taken for "could not look"."""
    assert _exit.for_kind(kind) == code


@pytest.mark.parametrize(
    ("state", "code"),
    [
        ("succeeded", 0),
        ("failed", 3),
        ("cancelled", 3),
        ("expired", 3),
        ("partial", 6),
        ("unknown", 7),
        ("paused", 9),
        ("queued", 8),
        ("running", 8),
    ],
)
def test_each_state_has_a_code(state, code):
    """No state is without one."""
    assert _exit.for_status(status(State(state))) == code


def test_every_state_is_in_the_table():
    """A state that is added later cannot be forgotten here."""
    assert set(_exit._BY_STATE) == set(State)


def test_a_bulk_that_waits_for_somebody_is_blocked():
    """The phase tells; an end stays an end whatever the phase."""
    assert _exit.for_status(status(State.QUEUED, phase="awaiting_action")) == 9
    assert _exit.for_status(status(State.FAILED, phase="awaiting_action")) == 3


@pytest.mark.parametrize(
    ("by_state", "allowed", "code"),
    [(False, False, 4), (True, False, 3), (False, True, 0), (True, True, 3)],
)
def test_a_report_tells_states_only_when_asked(by_state, allowed, code):
    """Failures count unless they are allowed, states only when they are asked for."""
    report = Report(
        statuses=(status(State.FAILED),), failures=(failure("auth"),), complete=False, observed_at=NOW
    )
    assert _exit.for_report(report, asked=["s"], by_state=by_state, allow_incomplete=allowed) == code


@pytest.mark.parametrize(
    ("state", "code"), [("succeeded", 7), ("failed", 3), ("cancelled", 3), ("partial", 6), ("running", 8)]
)
def test_an_end_that_a_list_alone_told_is_never_0(state, code):
    """What is bad already stays that; what is good is not known to be."""
    assert _exit.for_status(status(State(state), provisional=True)) == code


@pytest.mark.parametrize(
    ("failures", "asked", "skipped", "statuses", "code"),
    [
        ([("config", "a")], "a", "", (), 2),
        ([("config", "a"), ("config", "b")], "ab", "", (), 2),
        ([("config", "a")], "ab", "b", (), 2),
        ([("config", "a")], "ab", "", (), 7),
        ([("config", "a"), ("unavailable", "b")], "ab", "", (), 7),
        ([("config", "a"), ("auth", "b")], "ab", "", (), 4),
        ([("config", "s")], "s", "", (status(State.RUNNING),), 7),
        ([], "ab", "", (), 0),
    ],
)
def test_a_wrong_setting_is_2_only_when_nothing_was_sent(failures, asked, skipped, statuses, code):
    """Beside a source that was asked it is one more that could not be."""
    report = Report(
        statuses=statuses,
        failures=tuple(failure(kind, source) for kind, source in failures),
        skipped=tuple(Skipped(source=source, provider="p", reason="r") for source in skipped),
        complete=False,
        observed_at=NOW,
    )
    assert _exit.for_report(report, asked=list(asked), by_state=False) == code


def outcome(*verdicts):
    """An outcome of these verdicts; a pair is a verdict and the kind of the failure behind it."""
    pairs = [(verdict, None) if isinstance(verdict, str) else verdict for verdict in verdicts]
    results = (
        Result(ref=f"s:{number}", verdict=Verdict(verdict), failure=None if kind is None else failure(kind))
        for number, (verdict, kind) in enumerate(pairs)
    )
    return Outcome(results=tuple(results), observed_at=NOW)


@pytest.mark.parametrize(
    ("verdict", "code"),
    [
        ("succeeded", 0),
        ("failed", 3),
        ("cancelled", 3),
        ("expired", 3),
        ("partial", 6),
        ("not_found", 5),
        ("gone", 5),
        ("blind", 7),
        ("pending", 8),
        ("blocked", 9),
    ],
)
def test_each_verdict_has_a_code(verdict, code):
    """No verdict is without one."""
    assert _exit.for_verdict(Verdict(verdict)) == code
    assert set(_exit._BY_VERDICT) == set(Verdict)


@pytest.mark.parametrize(("kind", "code"), [("auth", 4), ("config", 2), ("unavailable", 7), ("protocol", 7)])
def test_why_a_bulk_could_not_be_observed_tells_the_code(kind, code):
    """And only of one that could not be observed: the failure of a pending one is its latest trouble."""
    assert _exit.for_verdict(Verdict.BLIND, failure(kind)) == code
    assert _exit.for_verdict(Verdict.PENDING, failure(kind)) == 8


@pytest.mark.parametrize(
    ("verdicts", "until", "code"),
    [
        ((), "all", 0),
        (("succeeded", "succeeded"), "all", 0),
        (("succeeded", "pending"), "all", 8),
        (("partial", "failed", "pending"), "all", 3),
        (("gone", ("blind", "auth")), "all", 5),
        ((("blind", "config"), ("blind", "config")), "all", 2),
        ((("blind", "config"), "succeeded"), "all", 7),
        (("succeeded", "pending", "blind"), "any", 0),
        (("succeeded", "not_found"), "any", 5),
        (("failed", "pending"), "any", 3),
        (("pending", "pending"), "any", 8),
        (("succeeded", "pending", "failed"), "first_failure", 3),
    ],
)
def test_an_outcome_has_one_code(verdicts, until, code):
    """With `any`, what has not ended does not count once something has."""
    assert _exit.for_outcome(outcome(*verdicts), until=until) == code


@pytest.mark.parametrize(
    ("verdicts", "code"),
    [
        (("failed", "pending", "blocked", "partial"), 0),
        (("failed", "blind"), 7),
        (("failed", ("blind", "auth")), 4),
        (("gone", "blind"), 5),
        (("not_found",), 5),
    ],
)
def test_looking_on_fails_only_where_nothing_could_be_seen(verdicts, code):
    """How the bulks stand is no matter."""
    assert _exit.for_sight(outcome(*verdicts)) == code
