"""What a look at a bulk means for the record, and how long bulks usually take. No file, no clock."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkstatus import BulkStatus, ConfigError, Counts, State, Verdict
from bulkstatus._record import (
    KnownBulk,
    Last,
    WaitRecord,
    WaitTerms,
    contradicts,
    goes_on,
    long_gone,
    passed_over,
    position,
    served,
    took,
    weigh,
)
from bulkstatus._usual import FEWEST, Usual, overdue, stuck, usual
from journal.looks import PLACE, at, counted, look, stamp, status

ENDS = [state for state in State if state.is_terminal]
OPEN = [state for state in State if not state.is_terminal]
PINNED = PLACE._replace(pins="archiving=running")


def last(state=State.RUNNING, seen=0.0, *, gone=False, wavers=False, **more):
    """What the journal knew since `seen`."""
    return Last(status(state, seen=seen, **more), stamp(seen), gone, wavers)


def known_bulk(answer=None, **more):
    """What the journal knows of the bulk that `answer` is about."""
    facts = {"ref": "payments:1", "source": "payments", "provider": "plain", "realm": "", "id": "1"}
    return KnownBulk(**facts, status=answer, **more)


# --- what an answer changes ---


@pytest.mark.parametrize("state", State)
def test_the_first_answer_is_a_step_whatever_it_says(state):
    """And never one backwards."""
    weighed = weigh(None, look(state))
    assert (weighed.kind, weighed.moved, weighed.regressed, weighed.passed_over) == ("first", True, False, ())


def test_the_same_again_is_no_step():
    """But it was seen, and its time is kept."""
    weighed = weigh(last(), look(seen=10))
    assert (weighed.kind, weighed.moved, weighed.status.observed_at) == (None, False, at(10))


@pytest.mark.parametrize(
    ("more", "kind", "moved"),
    [
        ({"native_state": "GOING"}, "state", True),
        ({"phase": "importing"}, "state", True),
        ({"counts": counted(3)}, None, True),
        ({"updated_at": at(3)}, None, True),
        ({"error": "odd"}, None, False),
        ({"evidence": ("a word",)}, None, False),
    ],
)
def test_words_and_phases_make_steps_and_counts_and_times_movement(more, kind, moved):
    """The text of an error makes neither: a list leaves it out."""
    weighed = weigh(last(), look(seen=10, **more))
    assert (weighed.kind, weighed.moved) == (kind, moved)


def test_counts_make_a_step_after_the_end_alone():
    """An end that is counted anew is not the end that was told; what one of the two does not say does not differ."""
    ended = last(State.PARTIAL, counts=counted(3))
    assert weigh(ended, look(State.PARTIAL, 10, counts=counted(4))).kind == "state"
    assert weigh(ended, look(State.PARTIAL, 10, counts=counted(3))).kind is None
    assert weigh(ended, look(State.PARTIAL, 10, counts=Counts(total=9))).kind is None
    assert weigh(ended, look(State.PARTIAL, 10)).kind is None


def test_a_row_of_a_list_takes_nothing_back():
    """What it leaves out was said before, of the same position; what it says counts."""
    before = last(State.FAILED, error="refused", counts=counted(3), finished_at=at(-1), action="/transfers")
    kept = weigh(before, look(State.FAILED, 10)).status
    assert (kept.error, kept.counts, kept.finished_at, kept.action) == (
        "refused",
        counted(3),
        at(-1),
        "/transfers",
    )
    assert weigh(before, look(State.FAILED, 10, error="other")).status.error == "other"


def test_only_what_never_changes_is_carried_into_another_state():
    """An error of a bulk that runs again is none of its now."""
    before = last(State.FAILED, error="refused", counts=counted(3), finished_at=at(-1), created_at=at(-9))
    kept = weigh(before, look(State.RUNNING, 10)).status
    assert (kept.error, kept.counts, kept.finished_at, kept.created_at) == (None, None, None, at(-9))


def test_what_the_journal_says_itself_is_not_recorded():
    """`gone_at`, `overdue` and `stuck` are drawn from it, not from the provider."""
    said = weigh(None, look(gone_at=at(1))).status
    assert (said.gone_at, said.overdue, said.stuck) == (None, None, None)


def test_a_bulk_that_is_known_again_has_returned():
    """In the same position or in another one."""
    for state in (State.RUNNING, State.SUCCEEDED):
        weighed = weigh(last(gone=True), look(state, 10))
        assert (weighed.kind, weighed.moved) == ("returned", True)


@pytest.mark.parametrize(
    ("before", "now", "regressed"),
    [
        (State.QUEUED, State.RUNNING, False),
        (State.RUNNING, State.PAUSED, False),
        (State.PAUSED, State.RUNNING, False),
        (State.RUNNING, State.QUEUED, True),
        (State.SUCCEEDED, State.RUNNING, True),
        (State.SUCCEEDED, State.FAILED, True),
        (State.FAILED, State.UNKNOWN, True),
        (State.UNKNOWN, State.QUEUED, False),
        (State.UNKNOWN, State.FAILED, False),
    ],
)
def test_a_step_that_no_bulk_should_take_is_marked(before, now, regressed):
    """And kept: it happened."""
    weighed = weigh(last(before), look(now, 10))
    assert (weighed.kind, weighed.regressed) == ("state", regressed)


# --- words that are read otherwise ---


def test_a_word_that_is_read_otherwise_is_no_step():
    """The bulk stands where it stood; and what was said of it before stays, where nothing else is said now."""
    before = last(State.SUCCEEDED, native_state="ARCHIVING", counts=counted(3))
    weighed = weigh(before, look(State.RUNNING, 10, native_state="ARCHIVING", place=PINNED))
    assert (weighed.kind, weighed.moved, weighed.regressed) == (None, False, False)
    assert (weighed.status.state, weighed.status.counts) == (State.RUNNING, counted(3))


def test_another_word_is_a_step_however_it_is_read():
    """It is the provider's own that changed."""
    weighed = weigh(last(), look(State.RUNNING, 10, native_state="ARCHIVING", place=PINNED))
    assert (weighed.kind, weighed.moved) == ("state", True)


def test_a_word_that_is_read_otherwise_is_left_out_when_it_overlaps():
    """It says nothing that is newer."""
    before = last(State.SUCCEEDED, 10, native_state="ARCHIVING")
    assert weigh(before, look(State.RUNNING, 12, asked=9, native_state="ARCHIVING", place=PINNED)) is None


def test_what_was_gone_returns_however_it_is_read():
    """That is a step, whatever the word."""
    weighed = weigh(last(gone=True), look(State.PAUSED, 10, native_state="RUNNING", place=PINNED))
    assert weighed.kind == "returned"


# --- answers that overlap ---


def test_an_answer_from_before_the_last_reading_is_believed_when_it_is_further_along():
    """It was asked for before that was read, so nothing else tells which of the two was given first."""
    known = last(State.RUNNING, 10)
    assert weigh(known, look(State.SUCCEEDED, 12, asked=9)).kind == "state"
    assert weigh(known, look(State.SUCCEEDED, 9.5, asked=9)).kind == "state"
    assert weigh(known, look(State.QUEUED, 12, asked=9)) is None
    assert weigh(known, look(State.PAUSED, 12, asked=9)) is None
    assert weigh(known, look(State.PAUSED, 12, asked=10)).kind == "state"


@pytest.mark.parametrize("now", [State.PAUSED, State.SUCCEEDED])
def test_of_a_bulk_that_has_gone_back_no_answer_that_overlaps_is_believed(now):
    """Further along may be where it was before; only what was asked for afterwards is surely newer."""
    known = last(State.RUNNING, 10, wavers=True)
    assert weigh(known, look(now, 12, asked=9)) is None
    assert weigh(known, look(now, 9.5, asked=9)) is None
    assert weigh(known, look(now, 12, asked=10)).kind == "state"


def test_of_a_bulk_that_has_gone_back_counts_that_overlap_are_taken():
    """They are of the same position, so they make no step."""
    known = last(State.RUNNING, 10, wavers=True, counts=counted(3))
    weighed = weigh(known, look(State.RUNNING, 12, asked=9, counts=counted(4)))
    assert (weighed.kind, weighed.status.counts) == (None, counted(4))


def test_an_answer_contradicts_when_it_says_something_else():
    """In the state, the word or the phase; counts and texts contradict nobody."""
    known = last(State.SUCCEEDED, 10)
    assert contradicts(known, look(State.RUNNING, 12, asked=9))
    assert contradicts(known, look(State.SUCCEEDED, 12, asked=9, native_state="DONE"))
    assert contradicts(known, look(State.SUCCEEDED, 12, asked=9, phase="x"))
    assert not contradicts(known, look(State.SUCCEEDED, 12, asked=9, counts=counted(1), error="no"))


def test_one_end_does_not_replace_another_that_overlaps_it():
    """Nor its counts; what was asked for afterwards does."""
    known = last(State.PARTIAL, 10, counts=counted(3))
    assert weigh(known, look(State.FAILED, 12, asked=9)) is None
    assert weigh(known, look(State.PARTIAL, 12, asked=9, counts=counted(4))) is None
    assert weigh(known, look(State.FAILED, 12, asked=10)).regressed


def test_older_counts_of_the_same_position_are_left_out():
    """When they were asked for and read before the last reading."""
    known = last(State.RUNNING, 10, counts=counted(5))
    assert weigh(known, look(State.RUNNING, 9, asked=8, counts=counted(4))) is None


def test_a_word_that_nobody_knows_is_not_further_along_than_others():
    """It does not overtake what is known, and no end is left out for it."""
    assert weigh(last(State.RUNNING, 10), look(State.UNKNOWN, 12, asked=9)) is None
    assert weigh(last(State.PAUSED, 10), look(State.UNKNOWN, 9.5, asked=9)) is None
    assert weigh(last(State.UNKNOWN, 10), look(State.SUCCEEDED, 12, asked=9)).kind == "state"
    assert weigh(last(State.UNKNOWN, 10), look(State.SUCCEEDED, 9.5, asked=9)).kind == "state"


def test_what_was_seen_before_the_machine_was_started_is_older():
    """Though its ticks were higher."""
    known = Last(status(State.RUNNING), stamp(1e6), gone=False)
    weighed = weigh(known, look(State.QUEUED, 5, boot="another-boot"))
    assert (weighed.kind, weighed.regressed) == ("state", True)


WAYS = [
    (State.QUEUED, None),
    (State.QUEUED, "awaiting_action"),
    (State.RUNNING, "checking"),
    (State.RUNNING, "importing"),
    (State.PAUSED, None),
    (State.RUNNING, "finishing"),
    (State.SUCCEEDED, None),
]


@st.composite
def readings(draw):
    """Overlapping looks at a bulk that only goes forward, each at its position when it was answered; recorded anyhow."""
    moments = sorted(draw(st.lists(st.integers(1, 99), min_size=6, max_size=6)))
    looks = []
    for answered in draw(st.lists(st.integers(0, 100), min_size=1, max_size=12)):
        asked = answered - draw(st.integers(0, 30))
        read = answered + draw(st.integers(0, 30))
        step = sum(moment <= answered for moment in moments)
        state, phase = WAYS[step]
        looks.append((step, look(state, read + 0.5, asked=asked, phase=phase)))
    looks.sort(key=lambda one: one[1].read)
    # A process may be held up between its reading and its writing, so neighbours change places.
    for index in draw(st.lists(st.integers(0, max(0, len(looks) - 2)), max_size=8)):
        looks[index : index + 2] = looks[index : index + 2][::-1]
    return looks


def recorded(looks):
    """The steps that are kept of looks that are recorded in this order."""
    known, steps = None, []
    for number, seen in looks:
        weighed = weigh(known, seen)
        if weighed is None:
            continue
        if weighed.kind is not None:
            steps.append((number, weighed))
        known = Last(weighed.status, seen.read, gone=False)
    return steps


@given(looks=readings())
def test_of_a_bulk_that_goes_forward_no_step_back_is_recorded(looks):
    """However the answers overlapped, and in whichever order they were recorded; so no position twice either."""
    steps = recorded(looks)
    numbers = [number for number, _ in steps]
    assert numbers == sorted(set(numbers))
    assert not any(weighed.regressed for _, weighed in steps)


@given(looks=readings(), data=st.data())
def test_what_is_recorded_again_is_no_step(looks, data):
    """All of it, by another process, anyhow mixed with the first."""
    again = data.draw(st.permutations(looks + looks))
    again.sort(key=lambda one: one[1].read)
    numbers = [number for number, _ in recorded(again)]
    assert numbers == sorted(set(numbers))


@given(looks=readings())
def test_the_end_is_never_left_out(looks):
    """Who has seen it does not look again."""
    steps = recorded(looks)
    assert any(number == 6 for number, _ in steps) is any(number == 6 for number, _ in looks)


def test_the_position_is_the_state_the_word_and_the_phase():
    """Nothing else of an answer."""
    one = status(native_state="GO", phase="x")
    assert position(one) == (State.RUNNING, "GO", "x")
    assert position(one) == position(msgspec.structs.replace(one, error="no", counts=counted(1)))


# --- between two looks ---


@pytest.mark.parametrize("end", ENDS)
def test_a_bulk_that_has_begun_ran(end):
    """By its start, or by operations that have ended."""
    queued = status(State.QUEUED)
    assert passed_over(queued, status(end, started_at=at(1))) == (State.RUNNING,)
    assert passed_over(queued, status(end, counts=Counts(failed=1))) == (State.RUNNING,)


def test_only_what_an_answer_proves_was_passed_over():
    """A bulk may be cancelled, refused or paused before it begins."""
    queued = status(State.QUEUED)
    assert passed_over(queued, status(State.SUCCEEDED)) == passed_over(queued, status(State.PARTIAL))
    assert passed_over(queued, status(State.SUCCEEDED)) == (State.RUNNING,)
    for state in (State.FAILED, State.CANCELLED, State.EXPIRED, State.PAUSED):
        assert passed_over(queued, status(state, counts=counted(0))) == ()
    for state in (State.QUEUED, State.RUNNING, State.UNKNOWN):
        assert passed_over(queued, status(state, started_at=at(1))) == ()


@given(
    before=st.sampled_from([state for state in State if state is not State.QUEUED]),
    now=st.sampled_from(State),
)
def test_nothing_lies_between_other_states(before, now):
    """Running may lead anywhere."""
    assert passed_over(status(before), status(now, started_at=at(1))) == ()


# --- how long it took ---


@pytest.mark.parametrize(
    ("times", "first_seen", "seconds"),
    [
        ({"started_at": at(10), "created_at": at(5), "finished_at": at(40)}, at(20), 30),
        ({"created_at": at(5), "finished_at": at(40)}, at(20), 35),
        ({"finished_at": at(40)}, at(20), 20),
        ({}, at(20), 80),
        ({"started_at": at(10)}, at(20), 90),
        ({"started_at": at(10)}, None, None),
        ({"finished_at": at(40)}, None, None),
        ({"started_at": at(10), "finished_at": at(40)}, None, 30),
        ({"started_at": at(50), "finished_at": at(40)}, at(20), 0),
    ],
)
def test_a_bulk_took_what_its_own_times_say_else_what_was_watched(times, first_seen, seconds):
    """Never below 0; unknown where it had ended when it was first seen and its own times are missing."""
    assert took(status(State.SUCCEEDED, seen=100, **times), first_seen) == seconds


def test_a_known_bulk_began_by_its_own_times_else_when_it_was_first_seen():
    """And unknown without a status."""
    assert known_bulk(first_seen_at=at(3)).began_at is None
    assert known_bulk(status(), first_seen_at=at(3)).began_at == at(3)
    assert known_bulk(status(created_at=at(1)), first_seen_at=at(3)).began_at == at(1)


# --- what need not be asked for again ---


@pytest.mark.parametrize("state", State)
def test_a_bulk_that_has_ended_is_settled(state):
    """Gone or not; one that is gone before its end is not, it may come back, and one that was never seen is not."""
    assert known_bulk(status(state)).is_settled is state.is_terminal
    assert known_bulk(status(state), gone_at=at(1)).is_settled is state.is_terminal
    assert not known_bulk(status(state), is_current=False).is_settled
    assert not known_bulk().is_settled


@pytest.mark.parametrize("state", State)
def test_only_what_is_settled_is_served(state):
    """With a sentence that says from when it is."""
    answer = served(known_bulk(status(state, seen=5)))
    if not state.is_terminal:
        assert answer is None
        return
    assert answer.state is state
    assert answer.evidence[-1] == "From the journal, as it was read at 2026-01-01 00:00:05 UTC."
    assert served(known_bulk(status(state), is_current=False)) is None


def test_an_end_that_its_provider_has_forgotten_is_served_as_such():
    """It ended, and nobody can read it again."""
    answer = served(known_bulk(status(State.FAILED, seen=5, gone_at=at(9)), gone_at=at(9)))
    assert (answer.state, answer.gone_at) == (State.FAILED, at(9))
    assert "does not know it any more since 2026-01-01 00:00:09 UTC" in answer.evidence[-1]


def test_after_a_day_a_bulk_is_long_gone():
    """Before that it may yet come back; one that is not gone never is, nor one that was never seen."""
    gone = known_bulk(status(gone_at=at(9)), gone_at=at(9))
    assert long_gone(gone, at(9 + 86_399)) is None
    answer = long_gone(gone, at(9 + 86_400))
    assert (answer.state, answer.gone_at) == (State.RUNNING, at(9))
    assert "does not know it any more" in answer.evidence[-1]
    assert long_gone(known_bulk(status()), at(1e6)) is None
    assert long_gone(known_bulk(gone_at=at(9)), at(1e6)) is None


def test_what_has_not_ended_goes_on_until_it_is_long_gone():
    """Only then is there no reason to ask for it; a doubt about its end is one."""
    assert goes_on(known_bulk(), at(1e6))
    assert goes_on(known_bulk(status()), at(1e6))
    assert not goes_on(known_bulk(status(State.FAILED)), at(0))
    assert goes_on(known_bulk(status(State.FAILED), is_current=False), at(1e6))
    gone = known_bulk(status(gone_at=at(9)), gone_at=at(9))
    assert (goes_on(gone, at(86_408)), goes_on(gone, at(86_409))) == (True, False)


# --- waits that are gone on with ---


def wait(**more):
    """A wait that began at the birth, for a minute."""
    facts = {"id": 1, "refs": ("payments:1",), "terms": WaitTerms(timeout=60.0, realms={"payments": "one"})}
    return WaitRecord(**{**facts, "begun_at": at(0), "deadline_at": at(60), "waiter": "here:1", **more})


@pytest.mark.parametrize(
    ("now", "left"), [(0, 60.0), (20, 40.0), (60, 0.1), (900, 0.1), (-86_400, 60.0), (-1, 60.0)]
)
def test_what_is_left_of_a_wait_is_at_most_all_of_it(now, left):
    """Though the clock was set back since it began; and at least a moment, for one look."""
    assert wait().rest(at(now)) == left


def test_a_wait_without_a_deadline_has_no_rest():
    """It goes on for ever."""
    assert wait(terms=WaitTerms(), deadline_at=None).rest(at(20)) is None
    assert wait(terms=WaitTerms()).rest(at(20)) == 40.0


def test_a_wait_is_not_gone_on_with_under_another_account():
    """Its ids would mean other bulks; sources that it does not name may change."""
    wait().check_realms({"payments": "one", "edge": "two"})
    wait().check_realms({})
    with pytest.raises(ConfigError, match="wait 1 was begun when the source 'payments' was one"):
        wait().check_realms({"payments": "two"})


@pytest.mark.parametrize("verdict", Verdict)
def test_a_wait_is_unfinished_until_all_its_bulks_have_ended(verdict):
    """Or it was seen that they will not; an open one always is."""
    assert wait().is_unfinished
    ended = wait(ended_at=at(9), verdicts={"payments:1": verdict, "payments:2": Verdict.SUCCEEDED})
    assert ended.is_unfinished is (verdict in (Verdict.PENDING, Verdict.BLIND))


@pytest.mark.parametrize(
    ("until", "verdict", "unfinished"),
    [
        ("all", Verdict.SUCCEEDED, True),
        ("all", Verdict.FAILED, True),
        ("any", Verdict.SUCCEEDED, False),
        ("any", Verdict.FAILED, False),
        ("first_failure", Verdict.SUCCEEDED, True),
        ("first_failure", Verdict.FAILED, False),
        ("any", Verdict.PENDING, True),
        ("first_failure", Verdict.BLIND, True),
    ],
)
def test_a_wait_that_ended_as_it_was_asked_to_is_finished(until, verdict, unfinished):
    """Though other bulks of it go on."""
    verdicts = {"payments:1": verdict, "payments:2": Verdict.PENDING}
    ended = wait(terms=WaitTerms(until=until), ended_at=at(9), verdicts=verdicts)
    assert ended.is_unfinished is unfinished


# --- what is usual ---


def test_what_is_usual_takes_twenty():
    """The 19th of 20 is the 95th percentile by the nearest rank."""
    assert usual([float(number) for number in range(1, FEWEST)]) is None
    assert usual([float(number) for number in range(FEWEST, 0, -1)]) == Usual(20, 19.0)
    assert usual([float(number) for number in range(1, 101)]) == Usual(100, 95.0)


@given(durations=st.lists(st.floats(0, 1e6), min_size=FEWEST, max_size=200))
def test_at_least_95_of_100_stay_within_what_is_usual(durations):
    """And it is one of the durations itself."""
    known = usual(durations)
    assert known.seconds in durations
    assert sum(one <= known.seconds for one in durations) >= 0.95 * len(durations)
    assert sum(one < known.seconds for one in durations) < 0.95 * len(durations)


def test_a_bulk_is_overdue_beyond_what_is_usual():
    """Measured at its last look, with the figures it is measured by."""
    known = Usual(20, 60.0)
    late = overdue(status(seen=61), at(0), known)
    assert (late.age, late.usual, late.of) == (61.0, 60.0, 20)
    assert overdue(status(seen=60), at(0), known) is None
    assert overdue(status(seen=61), None, known) is None
    assert overdue(status(seen=61), at(0), None) is None


@pytest.mark.parametrize("state", [state for state in State if state is not State.RUNNING])
def test_only_a_running_bulk_is_overdue(state):
    """One that waits to begin, or for somebody, takes no part in what is compared."""
    assert overdue(status(state, seen=1e6), at(0), Usual(20, 60.0)) is None


@pytest.mark.parametrize(
    "answer", [*map(status, ENDS), status(gone_at=at(1)), status(State.QUEUED, gone_at=at(1))]
)
def test_what_is_over_is_neither_overdue_nor_stuck(answer):
    """Ended, or forgotten by its provider."""
    later = msgspec.structs.replace(answer, observed_at=at(1e6), counts=counted(3))
    assert overdue(later, at(0), Usual(20, 60.0)) is None
    assert stuck(later, at(0), Usual(20, 60.0)) is None


@pytest.mark.parametrize(
    ("known", "limit", "of"),
    [
        (None, 3_600, None),
        (Usual(20, 60.0), 600, 20),
        (Usual(30, 7_200.0), 3_600, 30),
        (Usual(20, 9e3), 4_500, 20),
    ],
)
def test_a_bulk_is_stuck_after_half_of_what_is_usual(known, limit, of):
    """After ten minutes at the earliest, and after an hour where nothing is usual; queued, or counting what it does."""
    for state, counts in ((State.QUEUED, None), (State.RUNNING, counted(3))):
        assert stuck(status(state, seen=limit, counts=counts), at(0), known) is None
        late = status(state, seen=limit + 1, counts=counts)
        found = stuck(late, at(0), known)
        assert (found.since, found.idle, found.limit, found.of) == (at(0), limit + 1, limit, of)
        assert stuck(late, None, known) is None


@pytest.mark.parametrize("counts", [None, Counts(), Counts(total=9)])
def test_a_bulk_that_counts_nothing_is_never_stuck(counts):
    """Nothing of it moves while it is well on its way."""
    assert stuck(status(seen=1e6, counts=counts), at(0), Usual(20, 60.0)) is None
    assert stuck(status(State.UNKNOWN, seen=1e6, counts=counts), at(0), None) is None


@pytest.mark.parametrize(
    "answer",
    [
        status(State.PAUSED, seen=1e6, counts=counted(3)),
        status(State.QUEUED, seen=1e6, phase="awaiting_action"),
        status(seen=1e6, counts=counted(3), phase="awaiting_action"),
    ],
)
def test_what_waits_for_somebody_is_not_stuck(answer):
    """It does as it was told."""
    assert isinstance(answer, BulkStatus)
    assert stuck(answer, at(0), None) is None


@given(state=st.sampled_from(OPEN), seen=st.floats(0, 1e6), moved=st.floats(0, 1e6), known=st.floats(0, 1e6))
def test_whatever_is_late_is_late_by_the_figures_it_names(state, seen, moved, known):
    """For every unfinished bulk."""
    answer = status(state, seen=seen, counts=counted(3))
    late, still = overdue(answer, at(moved), Usual(20, known)), stuck(answer, at(moved), Usual(20, known))
    assert late is None or late.age > late.usual == known
    assert still is None or still.idle > still.limit >= max(600, known / 2)


def test_an_answer_that_was_read_before_the_last_one_says_nothing_new():
    """Also where it says the same, and counts nothing: its times, and what it was seen at, are older ones."""
    known = last(State.RUNNING, 10)
    assert weigh(known, look(State.RUNNING, 9, asked=8)) is None
    assert weigh(known, look(State.RUNNING, 12, asked=8)) is not None
