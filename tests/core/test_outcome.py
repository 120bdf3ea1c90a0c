"""How a wait ended, and what is told on the way."""

from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkstatus import BulkStatus, Outcome, Ref, Result, State, Verdict, VerdictError
from bulkstatus._outcome import Change, is_blocked

AT = datetime(2026, 1, 1, tzinfo=UTC)


def status(state, phase=None):
    """A bulk in a state."""
    return BulkStatus(source="s", provider="p", id="1", state=state, phase=phase, observed_at=AT)


def outcome(*verdicts):
    """An outcome of bulks s:0, s:1 ... with these verdicts."""
    results = tuple(Result(ref=f"s:{number}", verdict=verdict) for number, verdict in enumerate(verdicts))
    return Outcome(results=results, observed_at=AT)


def test_the_words_of_verdicts_are_frozen():
    """Scripts compare them."""
    assert [verdict.value for verdict in Verdict] == [
        "succeeded",
        "partial",
        "failed",
        "cancelled",
        "expired",
        "pending",
        "blocked",
        "blind",
        "not_found",
        "gone",
    ]


@pytest.mark.parametrize("state", State)
def test_every_end_of_a_bulk_is_a_verdict_and_no_other_state_is(state):
    """The provider's ends have the same words in both."""
    same = [verdict for verdict in Verdict if verdict.value == state.value]
    assert bool(same) is state.is_terminal
    assert all(verdict.is_end for verdict in same)


@pytest.mark.parametrize("verdict", Verdict)
def test_ends_are_what_the_provider_said_last(verdict):
    """That we stopped looking, or could not look, is no end."""
    assert verdict.is_end is (verdict.value in {"succeeded", "partial", "failed", "cancelled", "expired"})


@pytest.mark.parametrize("verdict", Verdict)
def test_failures_are_bad_ends_and_bulks_that_are_not_there(verdict):
    """A bulk that goes on, or could not be observed, has not failed."""
    failures = {"partial", "failed", "cancelled", "expired", "not_found", "gone"}
    assert verdict.is_failure is (verdict.value in failures)


@pytest.mark.parametrize(
    ("state", "phase", "blocked"),
    [
        (State.PAUSED, None, True),
        (State.QUEUED, "awaiting_action", True),
        (State.RUNNING, "awaiting_action", True),
        (State.UNKNOWN, "awaiting_action", True),
        (State.QUEUED, None, False),
        (State.RUNNING, "importing", False),
        (State.SUCCEEDED, "awaiting_action", False),
        (State.FAILED, None, False),
    ],
)
def test_a_bulk_is_blocked_while_somebody_has_to_do_something(state, phase, blocked):
    """Paused, or awaiting an action; not after its end."""
    assert is_blocked(status(state, phase)) is blocked


def test_results_keep_their_order_and_are_found_by_reference():
    """By text or Ref; one that was not waited for is a KeyError that names it."""
    found = outcome(Verdict.FAILED, Verdict.SUCCEEDED)
    assert [result.ref for result in found] == ["s:0", "s:1"]
    assert len(found) == 2
    assert found["s:1"] is found[Ref("s", "1")] is found.results[1]
    assert found.verdicts == {"s:0": Verdict.FAILED, "s:1": Verdict.SUCCEEDED}
    with pytest.raises(KeyError, match="s:2"):
        _ = found["s:2"]


@given(verdicts=st.lists(st.sampled_from(Verdict), max_size=12))
def test_a_wait_succeeded_only_when_every_bulk_did(verdicts):
    """Else `raise_for_verdict` raises the number, at most five by name, and the whole outcome."""
    found = outcome(*verdicts)
    others = [verdict for verdict in verdicts if verdict is not Verdict.SUCCEEDED]
    assert found.succeeded is (not others)
    if not others:
        found.raise_for_verdict()
        return
    with pytest.raises(VerdictError) as caught:
        found.raise_for_verdict()
    assert caught.value.outcome is found
    assert f"{len(others)} of {len(verdicts)} bulks did not succeed" in str(caught.value)
    assert str(caught.value).count("s:") == min(5, len(others))
    assert ("more" in str(caught.value)) is (len(others) > 5)


@given(
    verdict=st.sampled_from(Verdict),
    seen=st.none() | st.sampled_from(State).map(status),
    stale=st.none() | st.just(AT),
)
def test_outcomes_and_changes_go_through_json_and_back(verdict, seen, stale):
    """Nothing is lost on the wire."""
    result = Result(ref="s:1", verdict=verdict, status=seen, stale_since=stale)
    change = Change(
        kind="verdict", source="s", provider="p", ref="s:1", status=seen, verdict=verdict, observed_at=AT
    )
    for value in (Outcome(results=(result,), observed_at=AT), change):
        assert msgspec.json.decode(msgspec.json.encode(value), type=type(value)) == value
