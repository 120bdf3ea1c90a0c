"""No reading of the journal goes through all of a table that grows, whatever SQLite has counted of it."""

import pytest

from benchmarks.journal import TRACKED, analyse, faults, plans, populate, readings, scans
from bulkstatus._journal import Journal
from journal.looks import rows

STEPS = 5_000


@pytest.fixture(scope="module", params=["at first", "after ANALYZE"])
def journal(request, tmp_path_factory):
    """A journal in the shape of real ones, but small."""
    with Journal(tmp_path_factory.mktemp("plans") / "journal.db") as made:
        populate(made.path, STEPS, tracked=100)
        if request.param == "after ANALYZE":
            analyse(made)
            assert rows(made.path, "SELECT count(*) > 0 FROM sqlite_stat1") == [(1,)]
        yield made


@pytest.mark.parametrize("name", readings(0))
def test_nothing_that_grows_is_gone_through(journal, name):
    """Nor sorted: readers come for a few rows, every few seconds."""
    found = plans(journal, readings(STEPS // 5)[name])
    assert found
    assert [(statement, line) for statement, plan in found for line in scans(plan)] == []


def test_a_scan_would_be_noticed(journal):
    """That is what the others here rely on."""
    journal.changes()
    (found,) = plans(
        journal, lambda one: one._file.use(lambda db: db.execute("SELECT count(kind) FROM transitions"))
    )
    assert len(scans(found[1])) == 1
    assert scans(["SCAN meta", "SEARCH t USING INDEX x"]) == []
    assert scans(["USE TEMP B-TREE FOR ORDER BY"]) == ["USE TEMP B-TREE FOR ORDER BY"]


def test_the_journal_that_is_measured_is_like_real_ones(tmp_path):
    """Its rows are read as any others, it is whole, and nothing of it is scanned."""
    path = tmp_path / "journal.db"
    assert populate(path, 100, tracked=10) == 30
    with Journal(path) as journal:
        stats = journal.stats()
        assert (stats.bulks, stats.tracked, stats.ended, stats.transitions) == (30, 10, 20, 110)
        assert len(list(journal.all_bulks())) == 30
        assert len(list(journal.all_changes())) == 110
        assert len(journal.history("edge2:20")) == 5
        assert faults(journal, 30) == []
    assert rows(path, "PRAGMA integrity_check") == [("ok",)]
    assert rows(path, "PRAGMA foreign_key_check") == []
    assert TRACKED == 10_000
