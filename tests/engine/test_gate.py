"""What a source's answers say about asking it again: pauses, refused credentials, outages."""

import pytest

from bulkstatus import AuthError, NotFound, RateLimited, Unavailable
from bulkstatus._gate import Gate
from bulkstatus.testing import ManualClock


@pytest.fixture
def clock():
    """A clock moved by hand."""
    return ManualClock(1000.0)


@pytest.fixture
def gate(clock):
    """A gate on that clock."""
    return Gate(clock)


def throttled(seconds=None):
    """A 429, with or without a number."""
    return RateLimited("slow down", retry_after=seconds)


# --- pauses ---


def test_a_gate_that_learned_nothing_is_open(gate):
    """No pause, no standstill."""
    assert gate.pause() == 0.0
    assert gate.standstill(0.0) is None


def test_a_pause_is_kept_to_its_end(gate, clock):
    """It runs down with the clock, and then it is over."""
    gate.learn(throttled(10))
    for advance, left in ((0, 10), (4, 6), (6, 0), (5, 0)):
        clock.advance(advance)
        assert gate.pause() == left


@pytest.mark.parametrize("later", [0, 1, 59, None])
def test_a_later_shorter_pause_does_not_shorten_an_earlier_longer_one(gate, clock, later):
    """Answers to requests that were under way together arrive in any order."""
    gate.learn(throttled(60))
    clock.advance(1)
    gate.learn(throttled(later))
    assert gate.pause() == max(59, later or 0)


def test_a_later_longer_pause_counts(gate):
    """The longest of all that were asked for."""
    gate.learn(throttled(5))
    gate.learn(throttled(50))
    assert gate.pause() == 50


def test_an_answer_does_not_shorten_a_pause(gate):
    """A question sent before the pause may be answered during it."""
    gate.learn(throttled(30))
    gate.answered()
    assert gate.pause() == 30


@pytest.mark.parametrize("seconds", [3_601, 86_400, 1e9])
def test_a_pause_lasts_an_hour_at_most(gate, seconds):
    """A mistaken header does not shut a source off for days."""
    gate.learn(throttled(seconds))
    assert gate.pause() == 3_600


def test_without_a_number_pauses_double_up_to_a_minute(gate, clock):
    """1, 2, 4 ... 60 s, as long as each attempt after a pause is throttled again."""
    pauses = []
    for _ in range(9):
        gate.learn(throttled())
        pauses.append(gate.pause())
        clock.advance(pauses[-1])
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_a_burst_counts_once(gate, clock):
    """Eight 429s for eight requests that were under way together are one sign, not eight."""
    for _ in range(8):
        gate.learn(throttled())
        clock.advance(0.01)
    assert gate.pause() == pytest.approx(0.99)  # from the last of them on
    clock.advance(2)
    for _ in range(8):
        gate.learn(throttled())
    assert gate.pause() == 2


def test_an_answer_begins_the_doubling_anew(gate, clock):
    """Who was answered is no longer throttled."""
    for _ in range(5):
        gate.learn(throttled())
        clock.advance(gate.pause())
    gate.answered()
    gate.learn(throttled())
    assert gate.pause() == 1


@pytest.mark.parametrize("error", [Unavailable("x"), AuthError("x"), NotFound("x")])
def test_other_errors_ask_for_no_pause(gate, error):
    """Only throttling closes the gate for a time."""
    gate.learn(error)
    assert gate.pause() == 0


# --- standstill ---


def test_refused_credentials_stop_who_began_before(gate, clock):
    """One refusal is enough; who comes later may try anew."""
    clock.advance(5)
    gate.learn(AuthError("refused", status=401))
    assert isinstance(gate.standstill(1004.9), AuthError)
    assert isinstance(gate.standstill(1005.0), AuthError)
    assert gate.standstill(1005.1) is None


@pytest.mark.parametrize(("failures", "stopped"), [(1, False), (4, False), (5, True), (6, True)])
def test_five_failures_in_a_row_are_an_outage(gate, failures, stopped):
    """Fewer may be chance."""
    for _ in range(failures):
        gate.learn(Unavailable("down"))
    assert isinstance(gate.standstill(0.0), Unavailable) is stopped


def test_an_answer_between_failures_makes_them_no_outage(gate):
    """The five have to follow one another."""
    for _ in range(4):
        gate.learn(Unavailable("down"))
    gate.answered()
    for _ in range(4):
        gate.learn(Unavailable("down"))
    assert gate.standstill(0.0) is None


@pytest.mark.parametrize("error", [AuthError("refused"), Unavailable("down")])
def test_an_answer_ends_a_standstill(gate, error):
    """Whatever was wrong is over, for those who wait as well."""
    for _ in range(5):
        gate.learn(error)
    assert gate.standstill(0.0) is not None
    gate.answered()
    assert gate.standstill(0.0) is None


def test_an_outage_stops_only_who_began_before_its_last_failure(gate, clock):
    """A question asked a moment later is sent."""
    for _ in range(5):
        clock.advance(1)
        gate.learn(Unavailable("down"))
    assert gate.standstill(1005.0) is not None
    assert gate.standstill(1005.5) is None


@pytest.mark.parametrize("error", [throttled(1), NotFound("x"), AuthError("x", status=403)])
def test_only_refusals_and_outages_stop_others(gate, error):
    """A bulk that is not found and a pause say nothing about other questions."""
    for _ in range(9):
        gate.learn(error)
    assert (gate.standstill(0.0) is None) is not isinstance(error, AuthError)


def test_who_is_stopped_gets_an_error_of_their_own(gate):
    """A copy, which says that nothing was sent, with the facts of the first."""
    error = AuthError("refused", status=401, code="E7")
    gate.learn(error)
    first, second = gate.standstill(0.0), gate.standstill(0.0)
    assert first is not second
    assert first is not error
    assert error.message == "refused"
    assert "not asked again" in first.message
    assert (first.status, first.code) == (401, "E7")
