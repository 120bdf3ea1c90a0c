"""What is known of one bulk, and what that makes of a wait for it."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkstatus import (
    AuthError,
    BulkStatus,
    Counts,
    DeadlineExceeded,
    NotFound,
    ProtocolError,
    RequestRejected,
    State,
    Unavailable,
    Verdict,
)
from bulkstatus._track import Terms, Track

BIRTH = datetime(2026, 1, 1, tzinfo=UTC)
TERMS = Terms()
ENDS = [state for state in State if state.is_terminal]
OPEN = [state for state in State if not state.is_terminal]
GONE = NotFound("gone", reason="gone")
SILENCE = DeadlineExceeded("no answer for 7 s", reason="unanswered")


def at(seconds):
    """The moment `seconds` after the birth of all bulks here."""
    return BIRTH + timedelta(seconds=seconds)


def status(state=State.RUNNING, seen=0.0, *, done=None, total=None, **more):
    """An answer that was seen `seen` seconds after the birth."""
    counts = None if done is None and total is None else Counts(succeeded=done, total=total)
    return BulkStatus(
        source="s", provider="p", id="1", state=state, observed_at=at(seen), **{"counts": counts, **more}
    )


def track_of(*statuses):
    """A track that saw these, each when it was observed."""
    track = Track("1", 0.0)
    for one in statuses:
        track.saw(one, (one.observed_at - BIRTH).total_seconds())
    return track


def fail(track, error, now, **more):
    """A look at `now` that went wrong."""
    return track.failed(error, now, at(now), **more)


# --- what answers change ---


def test_the_first_answer_is_news():
    """Whatever it says."""
    track = Track("1", 0.0)
    assert track.verdict(TERMS, 0.0) is None
    sight = track.saw(status(), 1.0)
    assert (sight.before, sight.moved, sight.warnings) == (None, True, ())
    assert sight.status is track.status


def test_the_same_again_is_no_news():
    """But the bulk was seen, which counts."""
    track = track_of(status())
    assert track.saw(status(seen=10), 10.0) is None
    assert track.seen_at == 10.0


@pytest.mark.parametrize(
    ("more", "moved"),
    [
        ({"state": State.PAUSED}, True),
        ({"native_state": "RUN"}, True),
        ({"phase": "importing"}, True),
        ({"error": "no"}, True),
        ({"done": 5}, False),
        ({"done": 4, "total": 9}, False),
        ({"updated_at": at(3)}, False),
        ({"finished_at": at(3)}, False),
        ({"action": "/transfers", "evidence": ("x",), "on_failure": "stop"}, None),
    ],
)
def test_what_is_another_state_and_what_is_progress(more, moved):
    """State, word, phase and error move a bulk; counts and times are progress; the rest is no news."""
    track = track_of(status(done=4))
    more = {"done": 4, **more} if "total" not in more else more
    sight = track.saw(status(**{"state": State.RUNNING, **more}, seen=5), 5.0)
    assert (sight and sight.moved) is moved


def test_a_list_that_counts_nothing_takes_no_count_back():
    """Rows with less in them are no progress, and no step back."""
    track = track_of(status(done=4, total=9))
    assert track.saw(status(seen=5), 5.0) is None
    assert track.saw(status(seen=6, total=9), 6.0) is None
    assert track.saw(status(seen=7, done=4, total=9), 7.0) is None


@given(older=st.floats(0.001, 1e6), state=st.sampled_from(State))
def test_an_answer_older_than_the_last_is_no_news(older, state):
    """Answers overtake each other; the one to the latest question counts, whatever the clock on the wall says."""
    track = track_of()
    track.saw(status(seen=0.0), 100.0, asked_at=99.0)
    before = track.status
    assert track.saw(status(state, seen=5.0), 101.0, asked_at=99.0 - older) is None
    assert track.status is before
    track.saw(status(state, seen=-3_600.0), 102.0, asked_at=101.0)
    assert track.status.state is state


@pytest.mark.parametrize("end", ENDS)
def test_an_end_that_a_list_tells_takes_nothing_from_one_that_is_certain(end):
    """The same word again says less than the bulk's own record did; another word is news."""
    track = track_of(status(State.PARTIAL, native_state="DONE"))
    assert track.saw(status(end, seen=1, native_state="DONE", provisional=True), 1.0) is None
    assert track.verdict(TERMS, 1.0) is Verdict.PARTIAL
    assert track.saw(status(end, seen=2, native_state="OTHER", provisional=True), 2.0) is not None


# --- warnings ---


@pytest.mark.parametrize(
    ("before", "now", "warned"),
    [
        (State.SUCCEEDED, State.RUNNING, True),
        (State.SUCCEEDED, State.FAILED, True),
        (State.FAILED, State.PARTIAL, True),
        (State.SUCCEEDED, State.UNKNOWN, True),
        (State.RUNNING, State.QUEUED, True),
        (State.PAUSED, State.QUEUED, True),
        (State.PAUSED, State.RUNNING, False),
        (State.RUNNING, State.PAUSED, False),
        (State.QUEUED, State.UNKNOWN, False),
        (State.UNKNOWN, State.QUEUED, False),
        (State.UNKNOWN, State.FAILED, False),
        (State.QUEUED, State.SUCCEEDED, False),
    ],
)
def test_a_step_backwards_is_warned_of(before, now, warned):
    """Both states are named."""
    sight = track_of(status(before)).saw(status(now, seen=1), 1.0)
    regressed = tuple(warning for warning in sight.warnings if not warning.startswith("unknown"))
    assert regressed == ((f"regressed: {before} before, {now} now",) if warned else ())


def test_an_end_that_a_list_told_may_be_corrected_without_a_warning():
    """That is what provisional means."""
    sight = track_of(status(State.FAILED, provisional=True)).saw(status(State.PARTIAL, seen=1), 1.0)
    assert sight.warnings == ()


def test_counts_that_go_down_are_warned_of():
    """The total, and what has ended; not where one of the two is not said."""
    track = track_of(status(done=5, total=9))
    sight = track.saw(status(seen=1, done=4, total=8), 1.0)
    assert sight.warnings == (
        "counts went down: total 9 before, 8 now",
        "counts went down: finished 5 before, 4 now",
    )
    assert track.saw(status(seen=2, done=5), 2.0).warnings == ()


@pytest.mark.parametrize(("ahead", "warned"), [(299, False), (300, False), (301, True)])
def test_a_change_from_the_future_is_warned_of(ahead, warned):
    """From 5 minutes on; the first answer is looked at too."""
    for before in ((), (status(State.QUEUED),)):
        sight = track_of(*before).saw(status(seen=1, updated_at=at(1 + ahead)), 1.0)
        assert any("clock skew" in warning for warning in sight.warnings) is warned


# --- verdicts ---


@pytest.mark.parametrize("end", ENDS)
def test_an_end_that_the_provider_told_is_the_verdict(end):
    """Unless only a list told it."""
    assert track_of(status(end)).verdict(TERMS, 0.0).value == end.value
    assert track_of(status(end, provisional=True)).verdict(TERMS, 0.0) is None


@pytest.mark.parametrize("state", OPEN)
def test_what_goes_on_has_no_verdict(state):
    """A word that nobody knows, however long, is never an end."""
    assert track_of(status(state)).verdict(TERMS, 1e9) is None


def test_a_wait_may_stop_where_a_bulk_is_blocked():
    """Paused, or awaiting somebody; only when asked to."""
    stopping = Terms(stop_when_blocked=True)
    for blocked in (status(State.PAUSED), status(State.QUEUED, phase="awaiting_action")):
        assert track_of(blocked).verdict(stopping, 0.0) is Verdict.BLOCKED
        assert track_of(blocked).verdict(TERMS, 0.0) is None
    assert track_of(status()).verdict(stopping, 0.0) is None


def test_who_was_never_seen_is_not_found_after_the_grace():
    """A bulk that was just submitted may not be there yet; one miss is never enough."""
    track = Track("1", 100.0)
    for now, verdict in ((100, None), (105, None), (119, None), (120, Verdict.NOT_FOUND)):
        fail(track, NotFound("no"), now)
        assert track.verdict(TERMS, now) is verdict
    late = Track("1", 100.0)
    fail(late, NotFound("no"), 500)
    assert late.verdict(TERMS, 500) is None


def test_time_alone_does_not_make_a_bulk_not_found():
    """It was missing when it was last looked for; whether it still is, nobody knows."""
    track = Track("1", 0.0)
    for now in (0, 5):
        fail(track, NotFound("no"), now)
    assert track.verdict(TERMS, 1e6) is None


def test_without_a_grace_the_first_miss_counts():
    """For bulks that are known to be there."""
    track = Track("1", 0.0)
    fail(track, NotFound("no"), 0)
    assert track.verdict(Terms(grace=0), 0.0) is Verdict.NOT_FOUND


def test_who_was_seen_has_to_be_missing_twice_to_be_gone():
    """A replica that lags behind makes one miss."""
    track = track_of(status())
    fail(track, NotFound("no"), 1)
    assert track.verdict(TERMS, 1.0) is None
    fail(track, NotFound("no"), 2)
    assert track.verdict(TERMS, 2.0) is None  # two questions that met the same moment
    fail(track, NotFound("no"), 6)
    assert track.verdict(TERMS, 6.0) is Verdict.GONE
    assert track.failure.kind == "not_found"


@pytest.mark.parametrize("between", [status(seen=2), Unavailable("down"), ProtocolError("odd")])
def test_misses_have_to_follow_one_another(between):
    """An answer, or a look that failed, between two misses begins the counting anew."""
    track = track_of(status())
    fail(track, NotFound("no"), 1)
    if isinstance(between, BulkStatus):
        track.saw(between, 2.0)
    else:
        fail(track, between, 2)
    fail(track, NotFound("no"), 3)
    assert track.verdict(TERMS, 3.0) is None


def test_a_bulk_that_came_back_has_to_be_missing_twice_again():
    """What was said of it before it was seen counts no more."""
    track = Track("1", 0.0)
    fail(track, GONE, 1.0)
    track.saw(status(seen=2), 2.0)
    fail(track, NotFound("no"), 3.0)
    assert track.verdict(TERMS, 3.0) is None


def test_a_wait_has_a_grace_and_a_patience_of_its_own():
    """Counted from its own beginning, however long others have followed the bulk in vain."""
    missing = Track("1", 0.0)
    for now in (0.0, 100.0, 110.0):
        fail(missing, NotFound("no"), now)
    assert missing.verdict(TERMS, 110.0) is Verdict.NOT_FOUND
    assert missing.verdict(TERMS, 110.0, since=100.0) is None
    unseen = Track("1", 0.0)
    fail(unseen, Unavailable("down"), 0.0)
    assert unseen.verdict(TERMS, 700.0) is Verdict.BLIND
    assert unseen.verdict(TERMS, 700.0, since=650.0) is None


def test_a_provider_that_says_a_bulk_is_gone_for_good_is_believed_at_once():
    """Whether it was seen or not; an answer after that is believed as well."""
    seen, unseen = track_of(status()), Track("1", 0.0)
    for track, verdict in ((seen, Verdict.GONE), (unseen, Verdict.NOT_FOUND)):
        fail(track, GONE, 1)
        assert track.verdict(TERMS, 1.0) is verdict
        track.saw(status(seen=2), 2.0)
        assert track.verdict(TERMS, 2.0) is None


@given(blind_after=st.floats(1, 1e4), seen=st.booleans(), now=st.floats(1, 2e4))
def test_a_bulk_is_blind_so_long_after_the_last_good_answer(blind_after, seen, now):
    """Or after it was first followed, if looks have failed for half as long; not before, however many did."""
    track = Track("1", 0.0)
    if seen:
        track.saw(status(seen=0.5), 0.5)
    for _ in range(3):
        fail(track, Unavailable("down"), 1)
    blind = now - (0.5 if seen else 0.0) >= blind_after and now - 1 >= blind_after / 2
    assert track.verdict(Terms(blind_after=blind_after), now) is (Verdict.BLIND if blind else None)


def test_time_without_a_failure_makes_nothing_blind():
    """A long interval is no trouble."""
    assert track_of(status()).verdict(TERMS, 1e9) is None


def test_while_it_cannot_be_looked_at_an_old_answer_is_no_verdict():
    """A blocked bulk may have gone on meanwhile; one that ended has ended."""
    blocked = track_of(status(State.PAUSED))
    fail(blocked, Unavailable("down"), 5)
    assert blocked.verdict(Terms(stop_when_blocked=True), 5.0) is None


def test_nobody_waits_for_what_will_never_be_answered():
    """Refused credentials end it at once, where there never was an answer; else they may be renewed in time."""
    fresh, seen = Track("1", 0.0), track_of(status())
    for track, verdict in ((fresh, Verdict.BLIND), (seen, None)):
        fail(track, AuthError("no"), 1, hopeless=True)
        assert track.verdict(TERMS, 1.0) is verdict
        fail(track, Unavailable("down"), 2)
        assert track.verdict(TERMS, 2.0) is None


def test_only_the_first_of_several_failures_is_news():
    """And it says since when the last answer is stale; an answer ends that."""
    track = track_of(status())
    assert fail(track, Unavailable("one"), 3)
    assert not fail(track, RequestRejected("two"), 4)
    assert (track.stale_since, track.failing_since, track.failure.message) == (at(3), 3, "two")
    track.saw(status(seen=5), 5.0)
    assert (track.stale_since, track.failing_since, track.failure) == (None, None, None)
    assert fail(track, Unavailable("three"), 6)


def test_a_miss_is_an_answer():
    """The source could be asked, so what is known is not stale, and the failure before it is over."""
    track = track_of(status())
    fail(track, Unavailable("down"), 1)
    assert not fail(track, NotFound("no"), 2)
    assert (track.stale_since, track.failing_since) == (None, None)


def test_a_question_without_an_answer_makes_it_stale_from_when_it_was_asked():
    """With the reason; a miss is an answer, and stays the reason."""
    track = track_of(status())
    track.silent(SILENCE, 5.0, 12.0, at(12))
    assert (track.stale_since, track.failure.reason) == (at(5), "unanswered")
    missing = Track("1", 0.0)
    fail(missing, NotFound("no"), 1.0)
    missing.silent(SILENCE, 5.0, 12.0, at(12))
    assert (missing.stale_since, missing.failure.kind) == (None, "not_found")


# --- age and rest ---


def test_the_age_goes_by_the_bulks_own_times():
    """Since it started, else since it was created, else since it is followed; it grows between looks."""
    track = Track("1", 10.0)
    assert track.age(25.0) == 15
    track.saw(status(seen=500), 30.0)
    assert track.age(35.0) == 25
    track.saw(status(seen=500, created_at=at(100)), 40.0)
    assert track.age(45.0) == 405
    track.saw(status(seen=500, created_at=at(100), started_at=at(300)), 50.0)
    assert track.age(57.0) == 207


def test_an_age_is_never_negative():
    """A provider's clock may be ahead."""
    track = track_of(status(created_at=at(1_000)))
    assert track.age(0.0) == 0


def test_the_rest_follows_the_speed_while_it_was_watched():
    """10 operations in 10 seconds, 70 to go."""
    track = track_of(status(done=20, total=100), status(seen=10, done=30, total=100))
    assert track.rest(10.0) == pytest.approx(70)
    assert track.rest(30.0) == pytest.approx(50)
    assert track.rest(500.0) == 0


def test_before_that_the_rest_follows_the_speed_since_the_start():
    """30 operations in 60 seconds, 70 to go."""
    track = track_of(status(seen=60, done=30, total=100, started_at=at(0)))
    assert track.rest(60.0) == pytest.approx(140)


def test_a_few_seconds_tell_no_speed():
    """10 operations that ended between two looks in quick succession may be a batch."""
    begun = {"total": 100, "started_at": at(-99)}
    track = track_of(status(done=0, **begun), status(seen=1, done=10, **begun))
    assert track.rest(1.0) == pytest.approx(900)


def test_counts_that_went_down_begin_the_speed_anew():
    """It is being done over: 10 operations in 10 seconds, 90 to go."""
    track = track_of(
        status(done=50, total=100),
        status(seen=10, done=0, total=100),
        status(seen=20, done=10, total=100),
    )
    assert track.rest(20.0) == pytest.approx(90)


def test_a_pause_does_not_count_as_slowness():
    """The speed begins anew when the bulk runs again."""
    track = track_of(
        status(done=0, total=100),
        status(seen=10, done=50, total=100),
        status(State.PAUSED, seen=20, done=50, total=100),
        status(seen=1_000, done=50, total=100),
        status(seen=1_010, done=60, total=100),
    )
    assert track.rest(1_010.0) == pytest.approx(40)


@pytest.mark.parametrize(
    "seen",
    [
        status(),
        status(done=5),
        status(total=9),
        status(done=5, total=0, started_at=at(-60)),
        status(done=10, total=9, started_at=at(-60)),
        status(done=0, total=9, started_at=at(-60)),
        status(done=5, total=9),
        status(done=5, total=9, started_at=at(60)),
        status(State.PAUSED, done=5, total=9, started_at=at(-60)),
        status(State.QUEUED, done=5, total=9, started_at=at(-60)),
        status(State.SUCCEEDED, done=9, total=9, started_at=at(-60)),
    ],
)
def test_where_counts_do_not_tell_there_is_no_rest(seen):
    """Nothing counted, more than all, nothing done, no time passed, or not running."""
    assert track_of(seen).rest(1.0) is None
    assert Track("1", 0.0).rest(1.0) is None


answers = st.builds(
    status,
    st.sampled_from(State),
    seen=st.floats(0, 1e4),
    done=st.none() | st.integers(0, 100),
    total=st.none() | st.integers(0, 100),
    started_at=st.none() | st.floats(-1e4, 1e4).map(at),
    provisional=st.booleans(),
)
errors = st.sampled_from(
    [NotFound("no"), GONE, Unavailable("down"), ProtocolError("odd"), AuthError("refused")]
)


@given(events=st.lists(answers | errors, max_size=12))
def test_whatever_comes_in_numbers_stay_possible_and_ends_are_the_providers(events):
    """No age or rest below 0; and no end that the last answer did not tell for certain."""
    track = Track("1", 0.0)
    for number, event in enumerate(events):
        now = float(number)
        if isinstance(event, BulkStatus):
            track.saw(event, now)
        else:
            fail(track, event, now)
        assert track.age(now) >= 0
        assert (track.rest(now) or 0.0) >= 0
        verdict = track.verdict(TERMS, now)
        if verdict is not None and verdict.is_end:
            assert track.status.state.value == verdict.value
            assert not track.status.provisional
