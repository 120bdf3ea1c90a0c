"""What a source's answers say about asking it again: refused credentials and outages."""

import pytest

from bulkstatus import AuthError, Unavailable
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


def test_a_gate_that_learned_nothing_is_open(gate):
    """No standstill."""
    assert gate.standstill(0.0) is None


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
