"""Drift in the journal: counted by any number of processes, bounded, and forgotten with the rest."""

import sys

import pytest

from bulkstatus import ConfigError
from bulkstatus import _times as times
from bulkstatus._drift import OTHERS
from bulkstatus._journal import Journal
from bulkstatus._tally import MOST
from journal.looks import OTHER, PLACE, at, is_whole, look, odd, rows
from support import run_script


@pytest.fixture
def journal(tmp_path):
    """A journal with nothing in it."""
    with Journal(tmp_path / "journal.db") as journal:
        yield journal


def counts(journal):
    """How often each thing was seen."""
    return {(one.source, one.sample): one.count for one in journal.drift()}


def test_counts_add_up(journal):
    """The first time and the last are kept, whichever is written first."""
    journal.record([odd(answers=3, seen=60, word="ARCHIVING"), look()])
    journal.record([odd(answers=2, seen=30, word="ARCHIVING"), odd(answers=1, seen=90, word="ARCHIVING")])
    (one,) = journal.drift()
    assert (one.source, one.provider, one.kind, one.where) == ("payments", "plain", "word", "plain bulk")
    assert (one.sample, one.count, one.first_seen, one.last_seen) == ("ARCHIVING", 6, at(30), at(90))
    assert one.pin == 'state_map.ARCHIVING = "running"'
    assert [bulk.id for bulk in journal.all_bulks()] == ["1"]


def test_a_source_that_stands_for_two_accounts_is_one(journal):
    """A name is what the configuration knows; its accounts are counted together."""
    second = PLACE._replace(realm="plain https://plain.example 3")
    journal.record([odd(answers=3), odd(answers=4, place=second), odd(place=OTHER)])
    assert counts(journal) == {("edge", "ARCHIVING"): 1, ("payments", "ARCHIVING"): 7}


def test_a_word_that_is_pinned_by_now_is_left_out(journal):
    """In whatever case; the same word of another source stays, and so does a field of that name."""
    journal.record([odd(word="ARCHIVING"), odd(word="ARCHIVING", place=OTHER), odd(kind="field")])
    found = journal.drift(pins={"payments": ["archiving"]})
    assert [(one.source, one.kind) for one in found] == [("edge", "word"), ("payments", "field")]
    for name in ("edge", ["edge"]):
        assert [one.source for one in journal.drift(sources=name)] == ["edge"]


def test_a_source_has_a_bounded_number_of_rows(journal):
    """Of each kind; what there is no room for is counted together, and what is known goes on being counted."""
    journal.record([odd(f"f{number}", kind="field") for number in range(MOST + 50)])
    journal.record(
        [odd("f0", kind="field"), odd("another", kind="field"), odd(), odd("f0", kind="field", place=OTHER)]
    )
    found = counts(journal)
    assert len(found) == MOST + 3
    assert (found["payments", OTHERS], found["payments", "f0"], found["payments", "ARCHIVING"]) == (51, 2, 1)


def test_it_is_pruned_with_the_rest(journal, monkeypatch):
    """By when it was seen last."""
    journal.record([odd("old", seen=10), odd("new", seen=100), look()])
    monkeypatch.setattr(times, "utc_now", lambda: at(150))
    assert journal.prune(100).drift == 1
    assert counts(journal) == {("payments", "new"): 1}


def test_it_is_forgotten_when_that_is_asked_for(journal):
    """All of it, or that of some sources."""
    journal.record([odd(), odd("ODD"), odd(place=OTHER)])
    assert journal.clear_drift(sources=["payments", "nobody"]) == 2
    assert journal.clear_drift(sources="payments") == 0
    assert counts(journal) == {("edge", "ARCHIVING"): 1}
    assert journal.clear_drift() == 1
    assert journal.drift() == ()


def test_text_that_is_no_utf_8_is_kept_as_it_is_shown(journal):
    """What is kept has been made printable before, so nothing of it can keep out the rest of a batch."""
    with pytest.raises(ConfigError):
        journal.record([odd("\ud800"), odd()])
    assert journal.drift() == ()


MANY = """
    import sys
    from bulkstatus._journal import Journal
    from journal.looks import at_once, odd

    def work(number):
        with Journal(sys.argv[1]) as journal:
            for turn in range(25):
                journal.record([odd(), odd(f"of {number}", kind="field", seen=turn)])

    print(at_once(4, work))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="processes here are forked")
def test_processes_count_side_by_side(tmp_path):
    """No count of any of them is lost."""
    path = tmp_path / "journal.db"
    done = run_script(MANY, str(path))
    assert (done.stderr, done.stdout) == ("", f"{[0] * 4}\n")
    with Journal(path) as journal:
        assert counts(journal) == {
            ("payments", "ARCHIVING"): 100,
            **{("payments", f"of {number}"): 25 for number in range(4)},
        }
    assert is_whole(path)
    assert rows(path, "SELECT count(*) FROM drift") == [(5,)]
