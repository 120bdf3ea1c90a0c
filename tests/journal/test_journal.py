"""The journal over real files: what is written, what is read, and which of it once."""

import re
import sqlite3
from contextlib import closing
from datetime import UTC, timedelta, timezone

import msgspec
import pytest

from bulkstatus import (
    BulkStatus,
    ConfigError,
    JournalError,
    Outcome,
    Ref,
    Result,
    State,
    Verdict,
    _ledger,
    _waits,
)
from bulkstatus._journal import Journal
from bulkstatus._ledger import Facts
from bulkstatus._record import WaitTerms, served
from bulkstatus._sqlite import MIGRATIONS, default_journal_path
from bulkstatus._times import utc_now
from bulkstatus._usual import FEWEST, Usual
from journal.looks import OTHER, PLACE, at, counted, is_whole, look, miss, rows

REF = "payments:1"


@pytest.fixture
def journal(tmp_path):
    """A journal in a folder of its own."""
    with Journal(tmp_path / "state" / "journal.db") as made:
        yield made


def kinds(steps):
    """What the steps are, in one word each, and where they lead."""
    return [(step.kind, step.to_state) for step in steps]


def bulk(journal, ref=REF):
    """The one bulk of that name."""
    (found,) = journal.find(ref)
    return found


def write(journal, statement):
    """Change the file as another version may have."""
    with closing(sqlite3.connect(journal.path)) as db:
        db.execute(statement)
        db.commit()


# --- where it is ---


def test_nothing_is_made_before_it_is_needed(tmp_path):
    """Neither the file nor its folder; and it is opened again when it is needed again."""
    path = tmp_path / "state" / "journal.db"
    journal = Journal(path)
    assert (journal.path, repr(journal)) == (path, f"Journal({str(path)!r})")
    assert not path.parent.exists()
    assert journal.changes() == ()
    journal.close()
    journal.close()
    assert journal.changes() == ()
    journal.close()


def test_without_a_path_it_is_the_users(isolated, monkeypatch):
    """In the folder for state, unless the environment names a file."""
    monkeypatch.delenv("BULKSTATUS_JOURNAL", raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    assert Journal().path == isolated / ".local" / "state" / "bulkstatus" / "journal.db"
    monkeypatch.setenv("XDG_STATE_HOME", "not/absolute")
    assert default_journal_path() == isolated / ".local" / "state" / "bulkstatus" / "journal.db"
    monkeypatch.setenv("XDG_STATE_HOME", str(isolated / "s"))
    assert default_journal_path() == isolated / "s" / "bulkstatus" / "journal.db"
    monkeypatch.setenv("BULKSTATUS_JOURNAL", "~/mine.db")
    assert Journal().path == isolated / "mine.db"


@pytest.mark.parametrize(
    ("platform", "variable", "expected"),
    [
        ("darwin", None, "Library/Application Support/bulkstatus/journal.db"),
        ("win32", None, "AppData/Local/bulkstatus/journal.db"),
        ("win32", "here", "here/bulkstatus/journal.db"),
    ],
)
def test_each_system_has_a_folder_for_state(platform, variable, expected, isolated, monkeypatch):
    """Its own."""
    monkeypatch.delenv("BULKSTATUS_JOURNAL", raising=False)
    monkeypatch.delenv("LOCALAPPDATA", raising=False)
    monkeypatch.setattr("sys.platform", platform)
    if variable:
        monkeypatch.setenv("LOCALAPPDATA", str(isolated / variable))
    assert default_journal_path() == isolated / expected


def test_a_journal_that_nobody_closed_makes_no_noise(tmp_path):
    """What was said to be written is."""
    path = tmp_path / "journal.db"
    journal = Journal(path)
    journal.track(PLACE, ["1"])
    del journal
    assert rows(path, "SELECT id FROM bulks") == [("1",)]


# --- what is kept in mind ---


def test_what_is_tracked_is_known(journal):
    """In the order it was asked for, with a note and labels, and no status yet."""
    journal.track(PLACE, ["2", "1"], note="for the release", labels={"release": "42", "team": "ops"})
    journal.track(PLACE, ["3"])
    found = journal.tracked(PLACE)
    assert [known.ref for known in found] == ["payments:2", "payments:1", "payments:3"]
    one = found[0]
    assert (one.source, one.provider, one.realm, one.id) == (*PLACE[:3], "2")
    assert (one.note, one.labels, one.status) == ("for the release", {"release": "42", "team": "ops"}, None)
    assert one.tracked_at.tzinfo is UTC
    assert timedelta(0) <= utc_now() - one.tracked_at < timedelta(minutes=1)
    assert (one.first_seen_at, one.moved_at, one.ended_at, one.gone_at, one.duration) == (None,) * 5
    assert journal.changes() == ()


def test_what_is_tracked_again_keeps_its_place(journal):
    """And what was said of it before, where nothing else is said now."""
    journal.track(PLACE, ["1"], note="one", labels={"release": "42", "team": "ops"})
    before = bulk(journal)
    journal.track(PLACE, ["1"], labels={"release": "43"})
    assert bulk(journal) == msgspec.structs.replace(before, labels={"release": "43", "team": "ops"})
    journal.track(PLACE, ["1"], note="two")
    assert bulk(journal).note == "two"


def test_the_tracked_are_found_by_their_labels(journal):
    """All of those that are named."""
    journal.track(PLACE, ["1"], labels={"release": "42", "team": "ops"})
    journal.track(PLACE, ["2"], labels={"release": "42"})
    journal.track(PLACE, ["3"], labels={"team": "42"})
    found = {
        words: [known.id for known in journal.tracked(PLACE, dict(words))]
        for words in ((("release", "42"),), (("release", "42"), ("team", "ops")), (("release", "4"),), ())
    }
    assert list(found.values()) == [["1", "2"], ["1"], [], ["1", "2", "3"]]


def test_what_is_untracked_stays_known(journal):
    """With all that was seen of it; what was not tracked is not told as untracked."""
    journal.track(PLACE, ["1", "2"], note="one")
    journal.record([look()])
    assert journal.untrack(PLACE, ["1", "3"]) == ("1",)
    assert journal.untrack(PLACE, ["1"]) == ()
    assert [known.id for known in journal.tracked(PLACE)] == ["2"]
    assert (bulk(journal).tracked_at, bulk(journal).note, bulk(journal).status.state) == (
        None,
        "one",
        State.RUNNING,
    )


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ({"note": ""}, "a note is 1 to 500"),
        ({"note": "x" * 501}, "a note is 1 to 500"),
        ({"note": "two\nlines"}, "printable"),
        ({"labels": {"": "x"}}, "the name of a label is 1 to 100"),
        ({"labels": {"a=b": "x"}}, "holds no '='"),
        ({"labels": {"a": "\x1b[31m"}}, "a label is 1 to 100 printable"),
        ({"labels": {"a": "x" * 101}}, "a label is 1 to 100"),
        ({"labels": {str(number): "x" for number in range(33)}}, "at most 32 labels"),
    ],
)
def test_notes_and_labels_have_to_be_short_and_printable(journal, words, told):
    """Nothing is tracked otherwise."""
    with pytest.raises(ConfigError, match=re.escape(told)):
        journal.track(PLACE, ["1"], **words)
    assert journal.find(REF) == ()


# --- what is seen ---


def test_a_bulk_that_is_met_is_taken_up(journal):
    """With its first step, but not as tracked."""
    facts = journal.record([look(seen=5, counts=counted(1), phase="importing")], observer="here:1")
    assert facts == {Ref("payments", "1"): Facts(at(5), at(5))}
    (step,) = journal.changes()
    assert (step.ref, step.source, step.provider) == (REF, "payments", "plain")
    assert (step.kind, step.from_state, step.to_state) == ("first", None, State.RUNNING)
    assert (step.from_word, step.to_word, step.phase) == (None, "RUNNING", "importing")
    assert (step.counts, step.observed_at, step.observer) == (counted(1), at(5), "here:1")
    assert (step.regressed, step.passed_over) == (False, ())
    assert (bulk(journal).tracked_at, bulk(journal).first_seen_at) == (None, at(5))


def test_a_step_says_from_where_to_where(journal):
    """In our words and the provider's."""
    journal.record([look(), look(State.PARTIAL, 9, counts=counted(4))])
    step = journal.changes()[-1]
    assert (step.kind, step.from_state, step.to_state) == ("state", State.RUNNING, State.PARTIAL)
    assert (step.from_word, step.to_word, step.counts) == ("RUNNING", "PARTIAL", counted(4))
    assert step.observed_at == at(9)
    assert re.fullmatch(r"\S+:\d+", step.observer)


def test_all_times_are_utc(journal):
    """Whatever zone they were given in."""
    elsewhere = at(0).astimezone(timezone(timedelta(hours=5, minutes=30)))
    seen = look()
    journal.record([seen._replace(status=msgspec.structs.replace(seen.status, observed_at=elsewhere))])
    (step,) = journal.changes()
    known = bulk(journal)
    for moment in (step.observed_at, known.first_seen_at, known.moved_at):
        assert (moment, moment.utcoffset()) == (at(0), timedelta(0))


def test_the_same_again_makes_no_step(journal):
    """Not the counts either, though they move it."""
    journal.record([look()])
    facts = journal.record([look(seen=5)])
    assert facts[Ref.parse(REF)] == Facts(at(0), at(0))
    facts = journal.record([look(seen=6, counts=counted(3))])
    assert facts[Ref.parse(REF)] == Facts(at(0), at(6))
    assert kinds(journal.changes()) == [("first", State.RUNNING)]
    assert (bulk(journal).status.counts, bulk(journal).status.observed_at) == (counted(3), at(6))


def test_a_status_is_kept_whole(journal):
    """But for what the provider sent beside it, which may hold personal data."""
    seen = look(
        State.FAILED,
        5,
        wanted=True,
        counts=counted(3),
        created_at=at(1),
        started_at=at(2),
        updated_at=at(3),
        finished_at=at(4),
        action="/transfers",
        on_failure="stop",
        error="refused",
        evidence=("a line",),
    )
    seen.status.carrying(raw=b'{"secret": 1}')
    journal.record([seen])
    assert bulk(journal).status == seen.status
    assert bulk(journal).status.raw is None
    journal.close()
    assert b"secret" not in journal.path.read_bytes()


def test_an_end_that_only_a_list_told_is_not_kept(journal):
    """The bulk's own record may correct it."""
    assert journal.record([look(State.SUCCEEDED, provisional=True, wanted=True)]) == {}
    journal.record([look(), look(State.SUCCEEDED, 5, provisional=True)])
    assert kinds(journal.changes()) == [("first", State.RUNNING)]
    journal.record([look(State.PARTIAL, 6)])
    assert kinds(journal.changes())[1:] == [("state", State.PARTIAL)]


def test_what_had_ended_before_it_was_met_is_kept_only_when_somebody_asked_for_it(journal):
    """A listing of a year's bulks would fill the journal."""
    assert journal.record([look(State.SUCCEEDED, id="1")]) == {}
    journal.record([look(State.SUCCEEDED, id="2", wanted=True)])
    journal.track(PLACE, ["3"])
    journal.record([look(State.SUCCEEDED, id="3")])
    assert [(step.ref, step.kind) for step in journal.changes()] == [
        ("payments:2", "first"),
        ("payments:3", "first"),
    ]
    assert journal.find("payments:1") == ()


def test_what_is_asked_for_by_name_is_tracked(journal):
    """From the first time on."""
    journal.record([look(seen=3)])
    assert bulk(journal).tracked_at is None
    journal.record([look(seen=4, wanted=True), look(seen=5, wanted=True)])
    assert bulk(journal).tracked_at == at(4)


def test_a_step_back_is_recorded_and_marked(journal):
    """An end that was no end takes its duration back."""
    journal.record([look(seen=0), look(State.SUCCEEDED, 60)])
    assert (bulk(journal).duration, bulk(journal).ended_at) == (60.0, at(60))
    journal.record([look(State.RUNNING, 70)])
    assert (bulk(journal).duration, bulk(journal).ended_at) == (None, None)
    assert [step.regressed for step in journal.changes()] == [False, False, True]


def test_an_answer_that_is_late_does_not_end_a_bulk_that_has_gone_back(journal):
    """It was asked for before the bulk went back, read after it, and tells an end that is none any more."""
    journal.record([look(seen=0), look(State.SUCCEEDED, 10), look(State.RUNNING, 20)])
    journal.record([look(State.SUCCEEDED, 20.1, asked=19.5)])
    assert [step.to_state for step in journal.changes()] == [State.RUNNING, State.SUCCEEDED, State.RUNNING]
    assert (bulk(journal).status.state, bulk(journal).ended_at) == (State.RUNNING, None)
    journal.record([look(State.SUCCEEDED, 30)])
    assert kinds(journal.changes())[3:] == [("state", State.SUCCEEDED)]
    assert bulk(journal).is_settled


def test_that_a_bulk_has_gone_back_is_kept_for_good(journal):
    """Once is enough to know that further along is not later, also after it went forward again."""
    journal.record([look(State.RUNNING, 0), look(State.QUEUED, 10), look(State.RUNNING, 20)])
    journal.close()
    journal.record([look(State.SUCCEEDED, 20.5, asked=19)])
    assert bulk(journal).status.state is State.RUNNING
    assert rows(journal.path, "SELECT wavers FROM bulks") == [(1,)]


def test_an_end_that_an_answer_contradicts_is_not_served(journal):
    """Both were under way at once, so nobody knows which was given first: it is looked at again."""
    journal.record([look(seen=0), look(State.SUCCEEDED, 10)])
    assert served(bulk(journal)).state is State.SUCCEEDED
    journal.record([look(State.RUNNING, 11, asked=9)])
    known = bulk(journal)
    assert (known.status.state, known.is_current, known.is_settled, served(known)) == (
        State.SUCCEEDED,
        False,
        False,
        None,
    )
    assert not journal.known(PLACE, ["1"])["1"].is_settled
    assert not journal.tracked(PLACE)
    assert len(journal.changes()) == 2


@pytest.mark.parametrize(("state", "settled"), [(State.SUCCEEDED, True), (State.RUNNING, False)])
def test_the_next_look_settles_a_doubt(journal, state, settled):
    """One that was asked for after both: it says how the bulk stands."""
    journal.record([look(seen=0), look(State.SUCCEEDED, 10), look(State.RUNNING, 11, asked=9)])
    journal.record([look(state, 12)])
    known = bulk(journal)
    assert (known.status.state, known.is_current, known.is_settled) == (state, True, settled)
    assert [step.regressed for step in journal.changes()][2:] == ([] if settled else [True])


def test_an_end_that_overlaps_is_kept_and_asked_for_once_more(journal):
    """It may have been given before the answer that was read first, and have been taken back since."""
    journal.record([look(State.RUNNING, 0, wanted=True), look(State.RUNNING, 10)])
    journal.record([look(State.SUCCEEDED, 11, asked=9)])
    assert [step.to_state for step in journal.changes()] == [State.RUNNING, State.SUCCEEDED]
    assert not journal.known(PLACE, ["1"])["1"].is_settled
    journal.record([look(State.SUCCEEDED, 12)])
    assert journal.known(PLACE, ["1"])["1"].is_settled
    assert len(journal.changes()) == 2


def test_an_answer_as_old_as_the_end_settles_no_doubt(journal):
    """It was asked for before what casts the doubt was read."""
    journal.record([look(State.RUNNING, 0, wanted=True), look(State.SUCCEEDED, 10, asked=5)])
    journal.record([look(State.RUNNING, 11, asked=8), look(State.SUCCEEDED, 12, asked=5.5)])
    assert not journal.known(PLACE, ["1"])["1"].is_settled
    journal.record([look(State.SUCCEEDED, 20)])
    assert journal.known(PLACE, ["1"])["1"].is_settled


def test_a_row_of_a_list_ends_the_counting_of_misses(journal):
    """Between the two the provider knew the bulk, though not how it had ended."""
    seen = look(State.SUCCEEDED, 12, provisional=True)
    journal.record([look(seen=0), miss(10), seen, miss(15)])
    assert [step.kind for step in journal.changes()] == ["first"]
    journal.record([miss(20)])
    assert [step.kind for step in journal.changes()] == ["first", "gone"]


def test_a_miss_that_is_older_than_a_row_of_a_list_takes_nothing_away(journal):
    """It was asked for before the list was read."""
    seen = look(State.SUCCEEDED, 31, asked=30, provisional=True)
    journal.record([look(seen=0), miss(10, final=True), seen, miss(32, asked=25, final=True)])
    assert [step.kind for step in journal.changes()] == ["first", "gone", "returned"]


def test_another_phase_is_a_step_however_words_are_read(journal):
    """The provider says something else; a state that is only read otherwise is none."""
    pinned = PLACE._replace(pins="x")
    journal.record([look(State.QUEUED, 0, phase="checking", wanted=True)])
    journal.record([look(State.QUEUED, 5, phase="awaiting_action", place=pinned)])
    assert [step.phase for step in journal.changes()] == ["checking", "awaiting_action"]


def test_labels_are_counted_over_all_calls(journal):
    """What is too many is not kept in part."""
    journal.track(PLACE, ["1"], labels={str(number): "x" for number in range(32)})
    with pytest.raises(ConfigError, match="at most 32"):
        journal.track(PLACE, ["1"], labels={"one": "more"})
    (known,) = journal.find("payments:1")
    assert len(known.labels) == 32


def test_an_answer_that_is_late_and_says_the_same_casts_no_doubt(journal):
    """Nor do older counts of what still goes on."""
    journal.record([look(seen=0, counts=counted(1)), look(State.SUCCEEDED, 10)])
    journal.record([look(State.SUCCEEDED, 9.9, asked=9, counts=counted(2))])
    assert bulk(journal).is_settled


def test_states_that_were_passed_over_are_noted(journal):
    """As far as a later look proves them."""
    journal.record([look(State.QUEUED), look(State.SUCCEEDED, 9)])
    assert journal.changes()[-1].passed_over == (State.RUNNING,)


def test_all_of_a_record_is_written_or_nothing(journal):
    """An answer that cannot be kept takes those before it along."""

    def answers():
        yield look(id="1")
        raise KeyError("no more")

    with pytest.raises(KeyError, match="no more"):
        journal.record(answers())
    assert journal.changes() == ()
    journal.record([look(id="1")])
    assert len(journal.changes()) == 1


# --- what is gone ---


def test_two_answers_that_do_not_know_a_bulk_make_it_gone(journal):
    """At least 4 s apart: a replica that lags behind makes one of them, or several at one moment."""
    journal.record([look(), miss(10), miss(13.9)])
    assert kinds(journal.changes()) == [("first", State.RUNNING)]
    journal.record([miss(14)])
    step = journal.changes()[-1]
    assert (step.kind, step.from_state, step.to_state, step.to_word) == ("gone", State.RUNNING, None, None)
    assert step.observed_at == at(14)
    known = bulk(journal)
    assert (known.gone_at, known.status.gone_at, known.status.state) == (at(14), at(14), State.RUNNING)
    assert not known.is_settled
    journal.record([miss(20), miss(30)])
    assert len(journal.changes()) == 2
    assert bulk(journal).gone_at == at(14)


@pytest.mark.parametrize("wall", [15.0, 10.1 + 86_400, 10.1 - 86_400])
def test_a_clock_that_is_set_between_two_misses_does_not_part_them(journal, wall):
    """They lie a tenth of a second apart, by the time since the machine was started."""
    journal.record([look(), miss(10), miss(10.1, wall=wall)])
    assert kinds(journal.changes()) == [("first", State.RUNNING)]


@pytest.mark.parametrize("wall", [10.0, 14.0 - 86_400])
def test_a_clock_that_is_set_between_two_misses_does_not_join_them_either(journal, wall):
    """They lie four seconds apart."""
    journal.record([look(), miss(10), miss(14, wall=wall)])
    assert kinds(journal.changes())[1:] == [("gone", None)]
    assert bulk(journal).gone_at == at(wall)


@pytest.mark.parametrize(("wall", "gone"), [(11.0, False), (13.9, False), (14.0, True)])
def test_misses_of_two_starts_of_the_machine_are_parted_by_the_clock_on_the_wall(journal, wall, gone):
    """There is nothing else to tell by."""
    journal.record([look(), miss(10), miss(3, boot="another-boot", wall=wall)])
    assert (len(journal.changes()) == 2) is gone


def test_a_bulk_that_is_gone_for_good_is_gone_at_once(journal):
    """Its provider says so."""
    journal.record([look(), miss(1, final=True)])
    assert kinds(journal.changes()) == [("first", State.RUNNING), ("gone", None)]


def test_a_look_between_two_misses_begins_the_counting_anew(journal):
    """Whatever it tells."""
    journal.record([look(), miss(10), look(seen=12), miss(20)])
    assert len(journal.changes()) == 1


def test_a_miss_that_was_asked_for_before_the_last_look_is_none(journal):
    """Somebody has seen the bulk since."""
    journal.record([look(seen=10), miss(11, asked=9, final=True)])
    assert len(journal.changes()) == 1


def test_misses_count_from_the_first_of_them_in_whichever_order_they_are_recorded(journal):
    """Two processes may meet one blip, and the earlier of them be the later to write it down."""
    journal.record([look(), miss(10.5), miss(10.0)])
    assert kinds(journal.changes()) == [("first", State.RUNNING)]
    journal.record([miss(14.5)])
    assert kinds(journal.changes())[1:] == [("gone", None)]


def test_an_answer_that_was_asked_for_before_a_bulk_was_gone_does_not_bring_it_back(journal):
    """It took its time, and says how things were."""
    journal.record([look(seen=5), miss(20), miss(26), look(seen=27, asked=10)])
    assert [step.kind for step in journal.changes()] == ["first", "gone"]


def test_nobody_misses_what_was_never_seen(journal):
    """Tracked or not."""
    journal.track(PLACE, ["1"])
    journal.record([miss(1, final=True), miss(1, id="2", final=True)])
    assert journal.changes() == ()
    assert bulk(journal).gone_at is None


def test_a_bulk_that_is_known_again_has_returned(journal):
    """And may be gone once more."""
    journal.record([look(), miss(1, final=True), look(seen=2), miss(3, final=True)])
    assert [step.kind for step in journal.changes()] == ["first", "gone", "returned", "gone"]
    journal.record([look(State.SUCCEEDED, 9)])
    assert (bulk(journal).gone_at, bulk(journal).status.gone_at, bulk(journal).ended_at) == (
        None,
        None,
        at(9),
    )


def test_a_row_of_a_list_shows_that_a_bulk_is_there_again(journal):
    """Though the end that it tells is not believed: the bulk stands as it was last seen, and is asked for."""
    journal.record([look(counts=counted(3), wanted=True), miss(10, final=True)])
    assert journal.record([look(State.SUCCEEDED, 20, provisional=True)]) == {}
    step = journal.changes()[-1]
    assert (step.kind, step.from_state, step.to_state) == ("returned", State.RUNNING, State.RUNNING)
    assert (step.observed_at, step.regressed) == (at(20), False)
    known = bulk(journal)
    assert (known.gone_at, known.status.gone_at, known.ended_at, known.is_settled) == (
        None,
        None,
        None,
        False,
    )
    assert (known.status.state, known.status.counts) == (State.RUNNING, counted(3))
    journal.record([look(State.SUCCEEDED, 25, provisional=True)])
    assert [step.kind for step in journal.changes()] == ["first", "gone", "returned"]
    journal.record([look(State.PARTIAL, 30)])
    assert kinds(journal.changes())[3:] == [("state", State.PARTIAL)]


def test_a_row_of_a_list_that_was_asked_for_before_a_bulk_was_gone_does_not_bring_it_back(journal):
    """It says how things were."""
    journal.record([look(), miss(10, final=True), look(State.SUCCEEDED, 12, asked=9, provisional=True)])
    assert [step.kind for step in journal.changes()] == ["first", "gone"]
    assert bulk(journal).gone_at == at(10)


def test_after_a_return_it_takes_two_misses_again(journal):
    """Those from before it are over, whoever told that it is there."""
    for number, provisional in enumerate((False, True)):
        id = str(number)
        state = State.SUCCEEDED if provisional else State.RUNNING
        journal.record([look(id=id), miss(10, id=id), miss(20, id=id)])
        journal.record([look(state, 30, id=id, provisional=provisional), miss(40, id=id)])
        assert [step.kind for step in journal.history(f"payments:{id}")] == ["first", "gone", "returned"]
        journal.record([miss(44, id=id)])
        assert journal.history(f"payments:{id}")[-1].kind == "gone"


# --- by which name ---


def asked_as(name, seen, **more):
    """An answer to a question for `name`, in which the bulk bears the provider's own."""
    return look(seen=seen, wanted=True, **more)._replace(name=name)


def test_what_was_asked_for_in_another_case_is_kept_under_the_providers_name(journal):
    """With all that was said of it when nobody knew that name."""
    journal.track(PLACE, ["ABC"], note="mine", labels={"release": "42"})
    since = bulk(journal, "payments:ABC").tracked_at
    journal.record([asked_as("ABC", 5, id="abc")])
    assert journal.find("payments:ABC") == ()
    (known,) = journal.tracked(PLACE, {"release": "42"})
    assert (known.id, known.note, known.tracked_at) == ("abc", "mine", since)
    assert [step.ref for step in journal.changes()] == ["payments:abc"]
    assert is_whole(journal.path)


def test_what_was_said_under_the_providers_name_stays(journal):
    """What was said under the other one fills what is missing."""
    journal.record([look(id="abc", wanted=True)])
    journal.track(PLACE, ["abc"], labels={"release": "42"})
    journal.track(PLACE, ["ABC"], note="mine", labels={"release": "43", "team": "ops"})
    journal.record([asked_as("ABC", 5, id="abc")])
    (known,) = journal.tracked(PLACE)
    assert (known.id, known.note, known.labels) == ("abc", "mine", {"release": "42", "team": "ops"})
    assert known.tracked_at == at(0)
    assert rows(journal.path, "SELECT count(*) FROM labels") == [(2,)]


def test_what_is_tracked_under_two_names_is_one_bulk_also_when_the_answer_is_left_out(journal):
    """It tells the name, whatever else it tells."""
    journal.record([look(State.SUCCEEDED, 10, id="abc", wanted=True)])
    journal.track(PLACE, ["ABC"])
    journal.record([asked_as("ABC", 12, asked=9, id="abc")])
    assert [known.id for known in journal.all_bulks()] == ["abc"]


def test_a_bulk_that_was_seen_under_the_other_name_is_another_bulk(journal):
    """Its steps are its own."""
    journal.record([look(id="ABC", wanted=True)])
    journal.record([asked_as("ABC", 5, id="abc")])
    assert [known.id for known in journal.all_bulks()] == ["ABC", "abc"]
    assert [step.ref for step in journal.changes()] == ["payments:ABC", "payments:abc"]


def test_a_name_that_nobody_tracked_leaves_no_trace(journal):
    """The answer is kept under the provider's."""
    journal.record([asked_as("ABC", 5, id="abc")])
    assert [known.id for known in journal.all_bulks()] == ["abc"]


# --- each step once ---


def walk(id="1", start=0.0):
    """A bulk's life."""
    states = (State.QUEUED, State.RUNNING, State.PAUSED, State.RUNNING, State.SUCCEEDED)
    return [look(state, start + 10 * number, id=id) for number, state in enumerate(states)]


def test_a_reader_sees_each_step_once_and_may_go_on_at_any_time(journal):
    """In the order they were recorded, whatever the number it takes at a time."""
    journal.record(walk("1"))
    journal.record(walk("2"))
    whole = journal.changes()
    assert len(whole) == 10
    assert len({step.cursor for step in whole}) == 10
    for limit in (1, 3, 100):
        after, read = None, []
        while batch := journal.changes(after, limit=limit):
            read += batch
            after = batch[-1].cursor
        assert tuple(read) == whole
    assert tuple(journal.all_changes()) == whole
    assert journal.changes(whole[3].cursor) == whole[4:]


def test_the_cursor_at_the_end_gives_what_comes_later(journal):
    """From the beginning on, when nothing has been recorded yet."""
    empty = journal.cursor()
    journal.record(walk())
    end = journal.cursor()
    assert end == journal.changes()[-1].cursor
    assert journal.changes(end) == ()
    assert len(journal.changes(empty)) == 5
    journal.record([look(id="2")])
    assert [step.ref for step in journal.changes(end)] == ["payments:2"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-",
        "7",
        "-7",
        "x-",
        "0c0ffee0-y",
        "0c0ffee0.-7",
        "0c0ffee0-²",
        "0c0ffee0-7 ",
        f"0c0ffee0-{'9' * 40}",
    ],
)
def test_what_is_no_cursor_is_told(journal, text):
    """With one that is."""
    with pytest.raises(ConfigError, match=r"is not a cursor: .* such as [0-9a-f]{8}-0"):
        journal.changes(text)


def test_a_cursor_of_another_journal_or_of_the_future_is_told(journal, tmp_path):
    """A restored file has fewer steps than the reader has seen."""
    journal.record(walk())
    with Journal(tmp_path / "other.db") as other:
        other.record(walk())
        foreign = other.cursor()
    name = journal.cursor().partition("-")[0]
    for cursor in (foreign, f"{name}-6", f"{name}-{'9' * 18}", f"{name}.1-5"):
        with pytest.raises(ConfigError, match=rf"is of another journal.* {name}-5$"):
            journal.changes(cursor)


def test_a_cursor_behind_which_steps_were_pruned_is_told(journal):
    """With one that goes on with those that are left; a reader that had seen what was pruned goes on as it is."""
    journal.record(walk("1"))
    journal.record([look(id="2", seen=100, wanted=True)])
    steps = journal.changes()
    name = steps[0].cursor.partition("-")[0]
    assert journal.prune(0).transitions == 5
    with pytest.raises(ConfigError, match=rf"were pruned before they were read; {name}.1-2 goes on"):
        journal.changes(steps[1].cursor)
    left = journal.changes()
    assert [step.ref for step in left] == ["payments:2"]
    assert journal.changes(steps[4].cursor) == journal.changes(f"{name}.1-2") == left


def test_a_cursor_survives_all_that_is_pruned(journal):
    """Numbers are never given twice."""
    journal.record(walk("1"))
    before = journal.cursor()
    journal.prune(0)
    journal.vacuum()
    journal.close()
    after = journal.cursor()
    assert before.partition("-")[2] == after.partition("-")[2] == "5"
    journal.record([look(id="2", seen=100, wanted=True)])
    for cursor in (before, after):
        assert [step.ref for step in journal.changes(cursor)] == ["payments:2"]


def test_what_is_pruned_while_it_is_read_is_told(journal, monkeypatch):
    """Pruning takes a part at a time, and a reader may come between two of them."""
    monkeypatch.setattr(_ledger, "AT_ONCE", 1)
    journal.record([look(State.SUCCEEDED, id=str(number), wanted=True) for number in range(4)])
    pruned, parts, given = _ledger.prune_some, [], []

    def prune_some(*words):
        if len(parts) == 1:
            with Journal(journal.path) as reader:
                given.append(reader.changes(limit=1)[0].cursor)
        parts.append(pruned(*words))
        return parts[-1]

    monkeypatch.setattr(_ledger, "prune_some", prune_some)
    journal.prune(60)
    with pytest.raises(ConfigError, match="were pruned before they were read"):
        journal.changes(given[0])


# --- what is read ---


def test_the_history_of_a_bulk_is_its_own(journal):
    """The last steps, the oldest of them first."""
    for one, two in zip(walk("1"), walk("2"), strict=True):
        journal.record([one, two])
    history = journal.history(REF)
    assert [step.to_state for step in history] == [seen.status.state for seen in walk()]
    assert {step.ref for step in history} == {REF}
    assert journal.history(Ref("payments", "1"), limit=2) == history[-2:]
    assert journal.history("payments:3") == ()
    with pytest.raises(ConfigError, match="is not a reference"):
        journal.history("payments")


def test_realms_are_kept_apart(journal):
    """A source that was given another account has other bulks under the same ids."""
    moved = PLACE._replace(realm="plain https://plain.example 9")
    journal.record([look(State.QUEUED)])
    journal.track(PLACE, ["1"])
    journal.record([look(State.PAUSED, 5, place=moved), look(State.PAUSED, 5, place=OTHER)])
    assert [known.realm for known in journal.find(REF)] == [PLACE.realm, moved.realm]
    assert [step.kind for step in journal.changes()] == ["first"] * 3
    assert [step.to_state for step in journal.history(REF)] == [State.QUEUED, State.PAUSED]
    assert journal.known(PLACE, ["1"])["1"].status.state is State.QUEUED
    assert journal.known(moved, ["1"])["1"].status.state is State.PAUSED
    assert (len(journal.tracked(PLACE)), journal.tracked(moved)) == (1, [])
    assert journal.untrack(moved, ["1"]) == ()


def test_the_known_are_found_by_their_ids(journal):
    """However many are asked for."""
    journal.record([look(id=str(number)) for number in range(0, 1_200, 2)])
    found = journal.known(PLACE, [str(number) for number in range(1_200)])
    assert sorted(found, key=int) == [str(number) for number in range(0, 1_200, 2)]
    assert all(known.id == id for id, known in found.items())
    assert journal.known(PLACE, []) == {}


def test_what_was_read_with_other_pins_is_not_served(journal):
    """Its words may mean something else now; all that is not of them stays."""
    pinned = PLACE._replace(pins="archiving=running")
    journal.track(PLACE, ["1"], note="mine")
    journal.record([look(State.SUCCEEDED)])
    assert journal.known(PLACE, ["1"])["1"].status.state is State.SUCCEEDED
    known = journal.known(pinned, ["1"])["1"]
    assert (known.is_current, known.note, known.is_settled) == (False, "mine", False)
    assert known.status.state is State.SUCCEEDED
    assert not journal.tracked(pinned)[0].is_settled
    assert bulk(journal).status.state is State.SUCCEEDED
    journal.record([look(State.RUNNING, 5, place=pinned)])
    assert journal.known(pinned, ["1"])["1"].status.state is State.RUNNING


def test_two_who_read_a_word_otherwise_make_no_steps(journal):
    """However often they take turns: the bulk stays where it is, and its end is that of who asks."""
    pinned = PLACE._replace(pins="archiving=succeeded")
    for turn in range(3):
        seen = 20.0 * turn
        journal.record([look(State.RUNNING, seen, native_state="ARCHIVING", wanted=True)])
        assert not bulk(journal).is_settled
        journal.record([look(State.SUCCEEDED, seen + 10, native_state="ARCHIVING", place=pinned)])
        known = journal.known(pinned, ["1"])["1"]
        assert (known.is_settled, known.ended_at) == (True, at(seen + 10))
        assert not journal.known(PLACE, ["1"])["1"].is_settled
    assert kinds(journal.changes()) == [("first", State.RUNNING)]
    journal.record([look(State.RUNNING, 90, native_state="DONE", place=pinned)])
    assert kinds(journal.changes())[1:] == [("state", State.RUNNING)]


# --- what another version has written ---


@pytest.mark.parametrize(
    "change",
    [
        "kind = 'weird'",
        "observed_at = 'x'",
        'counts = \'{"total": "many"}\'',
        "passed_over = 'running archived'",
    ],
)
def test_a_step_that_this_version_does_not_understand_is_told(journal, change):
    """The file is left as it is, and all else of it is read."""
    journal.record([look(id="1"), look(id="2")])
    write(journal, f"UPDATE transitions SET {change} WHERE seq = 1")
    for work in (journal.changes, lambda: journal.history(REF), lambda: list(journal.all_changes())):
        with pytest.raises(JournalError, match="holds what this version does not understand") as caught:
            work()
        assert caught.value.reason == "newer"
    assert journal.moved_to is None
    assert len(journal.history("payments:2")) == 1
    assert len(journal.changes(f"{journal.cursor().partition('-')[0]}-1")) == 1
    journal.record([look(State.PAUSED, 9, id="2")])
    assert journal.stats().transitions == 3


def test_a_state_of_another_version_is_unknown(journal):
    """The step is there, with the provider's word."""
    journal.record([look(), look(State.PAUSED, 5)])
    write(journal, "UPDATE transitions SET to_state = 'archived' WHERE seq = 1")
    write(journal, "UPDATE transitions SET from_state = 'archived' WHERE seq = 2")
    first, second = journal.changes()
    assert (first.to_state, first.to_word, second.from_state, second.to_state) == (
        State.UNKNOWN,
        "RUNNING",
        State.UNKNOWN,
        State.PAUSED,
    )


def test_a_status_of_another_version_is_as_if_there_were_none(journal):
    """It is asked for again, and then it is known."""
    journal.record([look(State.SUCCEEDED, wanted=True)])
    journal.track(PLACE, ["1"], note="mine")
    write(journal, "UPDATE bulks SET status = replace(status, 'succeeded', 'archived')")
    for known in (
        bulk(journal),
        journal.known(PLACE, ["1"])["1"],
        *journal.tracked(PLACE),
        *journal.all_bulks(),
    ):
        assert (known.status, known.is_settled, known.note) == (None, False, "mine")
    journal.record([miss(5, final=True)])
    assert bulk(journal).gone_at is None
    journal.record([look(State.SUCCEEDED, 10)])
    assert bulk(journal).is_settled
    assert journal.moved_to is None


@pytest.mark.parametrize(
    "change",
    [
        "terms = '{\"new\": 1}'",
        "terms = 'x'",
        "refs = '7'",
        'verdicts = \'{"a:1": "odd"}\'',
        "begun_at = 'x'",
    ],
)
def test_a_wait_that_this_version_does_not_understand_is_passed_over(journal, change):
    """Nobody goes on with it, and it stands in nobody's way; the version that wrote it finds it as it was."""
    for number in (1, 2):
        journal.begin_wait([f"payments:{number}"], TERMS).leave()
    write(journal, f"UPDATE waits SET {change} WHERE wait_id = 2")
    before = rows(journal.path, "SELECT * FROM waits WHERE wait_id = 2")
    assert [wait.id for wait in journal.waits()] == [1]
    held = journal.resume_wait()
    assert held.record.id == 1
    held.end(outcome(payments=Verdict.SUCCEEDED))
    for number in (None, 2):
        with pytest.raises(ConfigError, match="there is no wait"):
            journal.resume_wait(number)
    assert journal.prune(0).waits == 1
    assert rows(journal.path, "SELECT * FROM waits") == before
    assert journal.moved_to is None


def test_all_bulks_are_read_a_page_at_a_time(journal):
    """Each once, with its labels, though more come and go meanwhile."""
    journal.record([look(id=str(number)) for number in range(4_100)])
    journal.track(PLACE, ["4000"], labels={"a": "b"})
    reading = journal.all_bulks()
    first = next(reading)
    journal.record([look(id="later")])
    found = [first, *reading]
    assert [known.id for known in found] == [*map(str, range(4_100)), "later"]
    assert found[4_000].labels == {"a": "b"}


# --- how long bulks take ---


def end(journal, number, seconds, *, state=State.SUCCEEDED, action="/transfers", place=PLACE):
    """A bulk that was watched to its end."""
    id = f"{action}-{number}-{state}"
    began = 1_000.0 * number
    journal.record([look(State.RUNNING, began, id=id, action=action, place=place)])
    journal.record([look(state, began + seconds, id=id, action=action, place=place)])


def test_what_is_usual_is_told_by_source_and_action(journal):
    """By at least 20 that ran to an end."""
    for number in range(1, FEWEST + 1):
        end(journal, number, number, state=(State.SUCCEEDED, State.PARTIAL, State.FAILED)[number % 3])
        end(journal, number, 500, state=State.CANCELLED)
        end(journal, number, 500, place=OTHER)
        end(journal, number, 700, action="/cards")
    for number in range(1, FEWEST):
        end(journal, number, 5, action=None)
    assert journal.usual(PLACE, "/transfers") == Usual(20, 19.0)
    assert journal.usual(OTHER, "/transfers") == Usual(20, 500.0)
    assert journal.usual(PLACE, "/cards") == Usual(20, 700.0)
    assert journal.usual(PLACE, None) is None
    end(journal, FEWEST, 6, action=None)
    assert journal.usual(PLACE, None) == Usual(20, 5.0)
    assert journal.usual(PLACE._replace(realm="elsewhere"), "/transfers") is None


def test_a_bulk_that_had_ended_when_it_was_met_took_what_its_provider_says(journal):
    """Or nobody knows how long."""
    journal.record([look(State.SUCCEEDED, id="1", wanted=True)])
    journal.record([look(State.SUCCEEDED, 90, id="2", wanted=True, started_at=at(10), finished_at=at(40))])
    assert (bulk(journal).duration, bulk(journal).ended_at) == (None, at(0))
    assert (bulk(journal, "payments:2").duration, bulk(journal, "payments:2").ended_at) == (30.0, at(40))


def test_what_was_said_of_an_end_stays(journal):
    """However often it is looked at again."""
    journal.record([look(), look(State.SUCCEEDED, 60), look(State.SUCCEEDED, 900)])
    assert (bulk(journal).duration, bulk(journal).ended_at) == (60.0, at(60))


@pytest.mark.parametrize("again", [look(State.PARTIAL, 900, counts=counted(4)), look(State.PARTIAL, 900)])
def test_an_end_that_is_told_anew_ended_when_it_ended(journal, again):
    """Counted anew, or known again after it was gone: it took no longer for that."""
    journal.record([look(), look(State.PARTIAL, 60, counts=counted(3))])
    if again.status.counts is None:
        journal.record([miss(70, final=True)])
    journal.record([again])
    assert [step.kind for step in journal.changes()][2:] in (["state"], ["gone", "returned"])
    assert (bulk(journal).duration, bulk(journal).ended_at) == (60.0, at(60))


# --- waits ---

REFS = ("payments:1", "edge:2")
TERMS = WaitTerms(
    timeout=60.0, until="any", polling="eager", realms={"payments": "r"}, command={"output": "json"}
)


def outcome(**verdicts):
    """How a wait ended, by source."""
    results = tuple(Result(ref=f"{name}:1", verdict=verdict) for name, verdict in verdicts.items())
    return Outcome(results=results, observed_at=at(0))


def test_a_wait_records_itself(journal):
    """With its terms and its deadline, until it ends."""
    held = journal.begin_wait(REFS, TERMS)
    (wait,) = journal.waits()
    assert wait == held.record
    assert (wait.id, wait.refs, wait.terms) == (1, REFS, TERMS)
    assert wait.deadline_at - wait.begun_at == timedelta(seconds=60)
    assert (wait.begun_at.tzinfo, wait.ended_at, wait.verdicts) == (UTC, None, None)
    held.end(outcome(payments=Verdict.SUCCEEDED))
    assert journal.waits() == ()
    (ended,) = journal.waits(open_only=False)
    assert ended.verdicts == {"payments:1": Verdict.SUCCEEDED}
    assert ended.ended_at.tzinfo is UTC
    assert not list(journal.path.parent.glob("*.wait-*"))


def test_a_wait_without_a_timeout_has_no_deadline(journal):
    """Nor when somebody goes on with it."""
    journal.begin_wait(REFS, WaitTerms()).leave()
    assert journal.resume_wait().record.deadline_at is None


def test_the_last_wait_that_nobody_waits_for_is_gone_on_with(journal):
    """Under its own terms and deadline."""
    first, second, third = (journal.begin_wait([f"payments:{number}"], TERMS) for number in (1, 2, 3))
    for wait in (first, second):
        wait.leave()
    held = journal.resume_wait()
    assert held.record == second.record
    assert [wait.id for wait in journal.waits()] == [3, 2, 1]
    third.leave()
    held.leave()


def test_a_wait_is_gone_on_with_by_its_number(journal):
    """One that has ended, too: that is open again."""
    held = journal.begin_wait(REFS, TERMS)
    journal.begin_wait(["payments:9"], TERMS).leave()
    held.end(outcome(payments=Verdict.PENDING))
    again = journal.resume_wait(1)
    assert (again.record.refs, again.record.ended_at, again.record.verdicts) == (REFS, None, None)
    assert [wait.id for wait in journal.waits()] == [2, 1]
    again.leave()


def test_a_deadline_that_has_passed_is_given_anew(journal):
    """As long as it was at first."""
    journal.begin_wait(REFS, WaitTerms(timeout=0.0)).leave()
    journal.begin_wait(REFS, WaitTerms(timeout=3_600.0)).leave()
    late, early = journal.waits()[1], journal.waits()[0]
    before = utc_now()
    renewed = journal.resume_wait(1).record
    assert late.deadline_at <= before <= renewed.deadline_at
    assert journal.resume_wait(2).record.deadline_at == early.deadline_at


def test_who_goes_on_with_a_wait_that_another_waits_for_is_told(journal):
    """By whom; also when it is the only one, and with another connection to the same file."""
    held = journal.begin_wait(REFS, TERMS)
    with Journal(journal.path) as other:
        for number in (None, 1):
            with pytest.raises(
                JournalError, match=rf"wait 1 .* another process \({held.record.waiter}\)"
            ) as caught:
                other.resume_wait(number)
            assert caught.value.reason == "busy"
        held.leave()
        taken = other.resume_wait(1)
        with pytest.raises(JournalError, match="in the hands of another process"):
            journal.resume_wait()
        taken.leave()


def test_where_there_is_no_wait_that_is_told(journal):
    """None of that number, none at all, or none that is open."""
    with pytest.raises(ConfigError, match="there is no wait 7 in the journal"):
        journal.resume_wait(7)
    for _ in range(2):
        with pytest.raises(ConfigError, match="there is no wait to go on with"):
            journal.resume_wait()
        journal.begin_wait(REFS, TERMS).end(outcome(payments=Verdict.FAILED))


def test_waits_that_were_left_behind_come_before_those_that_ran_out_of_time(journal):
    """Though those began later; and a wait whose bulks have all ended is not gone on with."""
    for verdict in (None, Verdict.PENDING, Verdict.BLIND, Verdict.FAILED):
        held = journal.begin_wait(REFS, WaitTerms(timeout=60.0))
        held.leave() if verdict is None else held.end(outcome(payments=verdict))
    for number in (1, 3, 2):
        held = journal.resume_wait()
        assert (held.record.id, held.record.ended_at, held.record.verdicts) == (number, None, None)
        held.end(outcome(payments=Verdict.SUCCEEDED))
    with pytest.raises(ConfigError, match="there is no wait to go on with"):
        journal.resume_wait()


def test_a_wait_that_another_has_ended_meanwhile_is_not_gone_on_with(journal):
    """Between the look for it and the lock: it is told, and nothing of how it ended is lost."""
    held = journal.begin_wait(REFS, TERMS)
    taken = _waits._hold
    with pytest.MonkeyPatch.context() as patched:

        def hold(file, wait):
            held.end(outcome(payments=Verdict.SUCCEEDED))
            return taken(file, wait)

        patched.setattr(_waits, "_hold", hold)
        with pytest.raises(JournalError, match="wait 1 has ended meanwhile") as caught:
            journal.resume_wait(1)
    assert caught.value.reason == "busy"
    (wait,) = journal.waits(open_only=False)
    assert wait.verdicts == {"payments:1": Verdict.SUCCEEDED}
    assert not journal.is_held(wait)


def test_who_waits_is_told_by_its_lock(journal):
    """And by nothing else: one that was left is held by nobody, whatever stands in the file."""
    held = journal.begin_wait(REFS, TERMS)
    (wait,) = journal.waits()
    assert (journal.is_held(wait), held.is_kept) == (True, True)
    held.leave()
    assert not journal.is_held(wait)


def test_a_wait_that_was_begun_in_vain_leaves_no_trace(journal):
    """Neither in the file nor beside it; and its number is not given again."""
    journal.begin_wait(REFS, TERMS).forget()
    assert journal.waits(open_only=False) == ()
    assert not list(journal.path.parent.glob("*.wait-*"))
    held = journal.begin_wait(REFS, TERMS)
    assert held.record.id == 2
    held.leave()


@pytest.mark.parametrize("verdict", [None, Verdict.PENDING, Verdict.BLIND])
def test_a_wait_that_was_taken_over_in_vain_ended_as_it_had_ended(journal, verdict):
    """Or is still open."""
    held = journal.begin_wait(REFS, TERMS)
    held.leave() if verdict is None else held.end(outcome(payments=verdict))
    (before,) = journal.waits(open_only=False)
    again = journal.resume_wait()
    assert journal.waits()[0].verdicts is None
    again.put_back()
    (after,) = journal.waits(open_only=False)
    assert (after.ended_at, after.verdicts) == (before.ended_at, before.verdicts)
    assert not journal.is_held(after)


def replaced(journal):
    """The journal's file and its log are moved away, as by a user; a new one is made when it is needed."""
    journal.path.rename(journal.path.with_name("old.db"))
    for companion in journal.path.parent.glob("journal.db-*"):
        companion.unlink()


def test_a_wait_of_another_journal_has_another_lock(journal):
    """Of the same number and at the same place: neither holds up the other."""
    first = journal.begin_wait(["payments:1"], TERMS)
    replaced(journal)
    with Journal(journal.path) as other:
        assert other.waits() == ()
        second = other.begin_wait(["payments:2"], TERMS)
        assert (first.record.id, second.record.id) == (1, 1)
        assert first.record.journal != second.record.journal
        assert (first.is_kept, second.is_kept) == (False, True)
        names = {file.name for file in journal.path.parent.glob("*.wait-*")}
        assert names == {f"journal.db.{one.record.journal}.wait-1.lock" for one in (first, second)}
        first.leave()
        assert other.is_held(second.record)
        second.leave()


@pytest.mark.parametrize("how", ["end", "forget", "put back"])
def test_a_wait_writes_into_its_own_journal_alone(journal, how):
    """A new one in its place has a wait of that number which is another."""
    begun = journal.begin_wait(["payments:1"], TERMS)
    begun.end(outcome(payments=Verdict.PENDING))
    first = journal.resume_wait(1)
    replaced(journal)
    with Journal(journal.path) as other:
        second = other.begin_wait(["payments:2"], TERMS)
        work = {"forget": first.forget, "put back": first.put_back}
        work.get(how, lambda: first.end(outcome(payments=Verdict.FAILED)))()
        assert other.waits() == (second.record,)
        assert other.is_held(second.record)
        second.leave()
        assert [file.name for file in journal.path.parent.glob("*.wait-*")] == [
            f"journal.db.{second.record.journal}.wait-1.lock"
        ]


@pytest.mark.parametrize("number", [0, -1, 2**63, 2**70])
def test_waits_are_counted_from_1(journal, number):
    """And no further than the file can."""
    with pytest.raises(ConfigError, match="waits are counted from 1"):
        journal.resume_wait(number)


def test_a_wait_that_is_left_twice_is_left(journal):
    """Leaving after the end does nothing either."""
    held = journal.begin_wait(REFS, TERMS)
    held.end(outcome(payments=Verdict.FAILED))
    held.leave()
    held.leave()


# --- keeping it small ---


def test_what_is_over_for_long_is_pruned(journal):
    """With its steps and labels: what ended, what is gone, and what was only met and not seen since."""
    journal.track(PLACE, ["ended", "gone", "tracked", "never seen"], labels={"a": "b"})
    journal.record([look(id=id) for id in ("ended", "gone", "tracked", "met")])
    journal.record([look(State.SUCCEEDED, 5, id="ended"), miss(5, id="gone", final=True)])
    lately = (utc_now() - at(0)).total_seconds()
    journal.record(
        [look(seen=lately, id="lately"), look(State.FAILED, lately, id="ended lately", wanted=True)]
    )
    pruned = journal.prune(3_600)
    assert (pruned.bulks, pruned.transitions, pruned.waits) == (3, 5, 0)
    left = ["tracked", "never seen", "lately", "ended lately"]
    assert [known.id for known in journal.all_bulks()] == left
    assert {step.ref for step in journal.changes()} == {f"payments:{left[index]}" for index in (0, 2, 3)}
    assert rows(journal.path, "SELECT count(*) FROM labels") == [(2,)]
    assert is_whole(journal.path)
    assert journal.prune(3_600).bulks == 0


def test_who_reads_all_changes_goes_on_while_others_prune(journal):
    """What is left is read; nobody has promised the rest."""
    journal.record([look(State.SUCCEEDED, id=str(number), wanted=True) for number in range(2_100)])
    journal.record([look(seen=9, id="open", wanted=True)])
    reading = journal.all_changes()
    next(reading)
    journal.prune(60)
    assert [step.ref for step in reading][-1] == "payments:open"


def test_an_end_of_last_year_that_was_seen_today_is_not_pruned(journal):
    """What counts is when we saw it."""
    lately = (utc_now() - at(0)).total_seconds()
    journal.record([look(State.SUCCEEDED, lately, wanted=True, finished_at=at(0))])
    assert journal.prune(3_600).bulks == 0


def test_any_number_is_pruned(journal):
    """A part at a time."""
    journal.record([look(State.SUCCEEDED, id=str(number), wanted=True) for number in range(1_201)])
    pruned = journal.prune(60)
    assert (pruned.bulks, pruned.transitions) == (1_201, 1_201)
    assert list(journal.all_bulks()) == []


def test_waits_are_pruned_but_for_those_under_way(journal):
    """Those left behind, too."""
    journal.begin_wait(REFS, TERMS).end(outcome(payments=Verdict.SUCCEEDED))
    journal.begin_wait(REFS, TERMS).leave()
    held = journal.begin_wait(REFS, TERMS)
    assert journal.prune(3_600).waits == 0
    assert journal.prune(0).waits == 2
    assert [wait.id for wait in journal.waits(open_only=False)] == [3]
    held.leave()
    assert [file.name for file in journal.path.parent.glob("*.wait-*")] == [
        f"journal.db.{held.record.journal}.wait-3.lock"
    ]


@pytest.mark.parametrize("age", [-1, -0.001, 3.2e9, float("inf"), float("nan")])
def test_an_age_that_is_none_prunes_nothing(journal, age):
    """Below 0 all would be old, and beyond a century the calendar ends."""
    journal.record([look(State.SUCCEEDED, wanted=True)])
    with pytest.raises(ConfigError, match="older_than is a number of seconds, at most a century"):
        journal.prune(age)
    assert journal.stats().bulks == 1


def test_the_oldest_age_prunes_nothing_that_is_younger(journal):
    """A century."""
    journal.record([look(State.SUCCEEDED, wanted=True)])
    assert journal.prune(100 * 365.25 * 86_400).bulks == 0


@pytest.mark.parametrize("limit", [0, -1, 2**63])
def test_a_limit_that_is_none_is_told(journal, limit):
    """A reader that takes nothing at a time would go on for ever."""
    for work in (journal.changes, lambda **more: journal.history(REF, **more)):
        with pytest.raises(ConfigError, match="limit is a number, 1 or more"):
            work(limit=limit)


def test_vacuum_gives_back_what_pruning_left(journal):
    """And keeps all else."""
    journal.record([look(State.SUCCEEDED, id=str(number), wanted=True) for number in range(2_000)])
    journal.record([look(id="open", wanted=True)])
    journal.prune(60)
    size = journal.stats().size
    saved = journal.vacuum()
    assert saved > 0
    assert journal.stats().size == size - saved
    assert [known.id for known in journal.all_bulks()] == ["open"]
    assert is_whole(journal.path)


def test_the_stats_count_what_there_is(journal):
    """All of it."""
    empty = journal.stats()
    assert (empty.bulks, empty.transitions, empty.oldest, empty.newest) == (0, 0, None, None)
    journal.track(PLACE, ["never seen"])
    journal.record([look(seen=5, id="running"), look(id="gone"), miss(8, id="gone", final=True)])
    journal.record([look(State.SUCCEEDED, 7, id="ended", wanted=True)])
    journal.record([look(State.SUCCEEDED, 7, id="both", wanted=True), miss(9, id="both", final=True)])
    held = journal.begin_wait(REFS, TERMS)
    stats = journal.stats()
    assert (stats.path, stats.schema) == (str(journal.path), len(MIGRATIONS))
    assert (stats.bulks, stats.tracked, stats.unfinished, stats.ended, stats.gone) == (5, 3, 2, 2, 2)
    assert (stats.transitions, stats.open_waits, stats.cursor) == (6, 1, journal.cursor())
    assert (stats.oldest, stats.newest) == (at(5), at(9))
    files = [journal.path, journal.path.with_name("journal.db-wal")]
    assert stats.size == sum(file.stat().st_size for file in files)
    held.leave()


def test_a_status_of_the_journal_is_a_status(journal):
    """As from a provider."""
    journal.record([look()])
    assert isinstance(bulk(journal).status, BulkStatus)
    assert bulk(journal).status == look().status


def test_a_note_under_the_providers_name_is_not_replaced_by_one_under_another(journal):
    """It was said of the bulk itself."""
    journal.track(PLACE, ["abc"], note="its own")
    journal.track(PLACE, ["ABC"], note="mine")
    journal.record([asked_as("ABC", 5, id="abc")])
    assert [(known.id, known.note) for known in journal.tracked(PLACE)] == [("abc", "its own")]


def test_two_misses_far_apart_count_in_whichever_order_they_are_recorded(journal):
    """A process that was held up writes the earlier of them later."""
    journal.record([look(), miss(20), miss(10)])
    assert kinds(journal.changes()) == [("first", State.RUNNING), ("gone", None)]


def test_a_cursor_before_the_last_step_that_was_pruned_is_told(journal):
    """One step that nobody read is as lost as many."""
    journal.record(walk("1"))
    steps = journal.changes()
    journal.prune(0)
    with pytest.raises(ConfigError, match="were pruned before they were read"):
        journal.changes(steps[-2].cursor)
    assert journal.changes(steps[-1].cursor) == ()


def test_a_wait_that_could_not_begin_is_held_by_nobody(journal, monkeypatch):
    """Whoever looks for it may go on with it."""

    def fail(*_):
        raise RuntimeError("no memory")

    with monkeypatch.context() as patched:
        patched.setattr(_waits, "HeldWait", fail)
        with pytest.raises(RuntimeError):
            journal.begin_wait(REFS, TERMS)
    (wait,) = journal.waits()
    assert not journal.is_held(wait)


def test_what_is_usual_goes_by_the_latest(journal, monkeypatch):
    """What bulks took long ago says little."""
    monkeypatch.setattr("bulkstatus._journal.LATEST", FEWEST)
    for number in range(1, 2 * FEWEST + 1):
        end(journal, number, 100 if number > FEWEST else 500)
    assert journal.usual(PLACE, "/transfers") == Usual(FEWEST, 100.0)
