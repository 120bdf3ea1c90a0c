"""No verdict says what the provider did not: many waits, providers that fail in every way, and a judge.

A million requests of this take some minutes: `python tests/benchmarks/simulate.py --truth 1000000`.
"""

from functools import cache

import pytest

from benchmarks.truth import campaign, judge, play
from bulkstatus._budget import Budget
from bulkstatus._model import BulkStatus, State
from bulkstatus._outcome import Verdict
from bulkstatus._track import Track

pytestmark = pytest.mark.unrecorded

POLLS = 10_000


@cache
def played():
    """What came of many scenarios."""
    return campaign(POLLS, say=lambda _: None)


def test_no_verdict_is_false():
    """No answer is missing behind any verdict, and whoever could be told the end before the deadline was."""
    wrong, summary = played()
    assert not wrong, "\n".join((*wrong[:20], summary))


def test_every_fault_and_every_verdict_is_among_them():
    """The scenarios hold all the faults there are, and end in all the ways there are."""
    _, summary = played()
    assert all(verdict.value in summary for verdict in Verdict)
    for kind in (
        "outage",
        "slow",
        "rate_limited",
        "auth",
        "not_found_twice",
        "gone",
        "rows_missing",
        "stale",
    ):
        assert f"{kind} " in summary


def test_a_scenario_is_reproduced_by_its_number():
    """The same number gives the same requests at the same moments."""
    assert play(17).loop.sent == play(17).loop.sent


def gullible(self, status, now, saw=Track.saw, **when):
    """A track that takes a paused bulk for one that succeeded."""
    if status.state is State.PAUSED:
        status = BulkStatus(
            source="sim",
            provider="scripted",
            id=status.id,
            state=State.SUCCEEDED,
            observed_at=status.observed_at,
        )
    return saw(self, status, now, **when)


def impatient(self, *_, **__):
    """A track that believes the first NotFound."""
    return Verdict.GONE if self.status is not None else Verdict.NOT_FOUND


@pytest.mark.parametrize(
    ("owner", "name", "broken", "sentence"),
    [
        (Track, "saw", gullible, "the provider never said so"),
        (Track, "_missing", impatient, "it was not missed twice in a row"),
        (Track, "verdict", lambda self, *_, **__: None, "the provider answered well until the deadline"),
        (Budget, "wait", lambda self, now, **_: 0.0, "requests beyond the budget"),
    ],
    ids=["gullible", "impatient", "mute", "spendthrift"],
)
def test_the_judge_finds_what_is_wrong(monkeypatch, owner, name, broken, sentence):
    """A library that was broken on purpose is found out: the judge can fail."""
    monkeypatch.setattr(owner, name, broken)
    found = [fault for number in range(60) for fault in judge(play(number)).wrong]
    assert any(sentence in fault for fault in found)
