"""From every version of the schema to this one: with all that was in the file, once, and all of it or nothing."""

import sqlite3
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest

from bulkstatus import JournalError, State, Verdict
from bulkstatus import _sqlite as sqlite
from bulkstatus._journal import Journal
from bulkstatus._sqlite import APPLICATION, MIGRATIONS
from journal.looks import PLACE, at, counted, is_whole, look, rows
from support import run_script

posix = pytest.mark.skipif(sys.platform == "win32", reason="signals are those of POSIX")
VERSIONS = Path(__file__).with_name("versions")
CURRENT = len(MIGRATIONS)
# What version 2 brought is in its file and in those after it.
DRIFT = {("edge", "aaaaa 9999", 1), ("payments", "ARCHIVING", 3), ("payments", "retries (number)", 2)}
# What a later version may do: a column, its values, an index, and a name of its own for each journal.
LATER = """
    ALTER TABLE bulks ADD COLUMN colour TEXT;
    UPDATE bulks SET colour = 'red';
    CREATE INDEX bulks_colour ON bulks (colour);
    INSERT INTO meta VALUES ('migrated', hex(randomblob(8)))
"""


@pytest.fixture
def path(tmp_path):
    """A file that is not there yet."""
    return tmp_path / "journal.db"


@pytest.fixture
def later(monkeypatch):
    """A version that comes after this one."""
    monkeypatch.setattr(sqlite, "MIGRATIONS", (*MIGRATIONS, LATER))
    return CURRENT + 1


def restore(path, version):
    """The file that a version has left behind."""
    path.touch(mode=0o600)
    with closing(sqlite3.connect(path)) as db:
        db.executescript((VERSIONS / f"{version}.sql").read_text("utf-8"))


def version_of(path):
    """The schema's number, and whose file it is."""
    ((version,),) = rows(path, "PRAGMA user_version")
    ((application,),) = rows(path, "PRAGMA application_id")
    return version, application


def schema_of(path):
    """All that the file is made of."""
    return sorted(rows(path, "SELECT type, name, tbl_name, sql FROM sqlite_master"), key=str)


def contents(path):
    """All rows of all tables that there have been from the first version on."""
    tables = ("meta", "sources", "bulks", "labels", "transitions", "waits", "prunes")
    return {name: rows(path, f"SELECT * FROM {name}") for name in tables}


# --- each version ---


def test_each_version_has_left_a_file_behind():
    """A new one comes with its own: what `.dump` prints of a file like those before it, between two pragmas."""
    assert {file.name for file in VERSIONS.iterdir()} == {f"{number}.sql" for number in range(1, CURRENT + 1)}


def test_an_empty_file_is_version_0(path):
    """And has all that a new one has."""
    path.touch(mode=0o600)
    with Journal(path) as journal:
        assert journal.changes() == ()
        assert journal.stats().schema == CURRENT
    assert version_of(path) == (CURRENT, APPLICATION)
    with Journal(path.with_name("other.db")) as other:
        other.changes()
    assert schema_of(path) == schema_of(other.path)
    assert rows(path, "PRAGMA journal_mode") == [("wal",)]


@pytest.mark.parametrize("version", range(1, CURRENT + 1))
def test_a_file_of_each_version_has_everything_afterwards(path, version):
    """Whatever it held is read, and it is used on as one that was made today."""
    restore(path, version)
    assert version_of(path) == (version, APPLICATION)
    with Journal(path) as journal:
        assert_everything(journal)
        assert journal.stats().schema == CURRENT
        journal.record([look(State.SUCCEEDED, 900, id="open")])
        assert [step.kind for step in journal.history("payments:open")] == ["first", "state"]
        assert journal.changes("0c0ffee0-8")[0].cursor == "0c0ffee0-9"
        assert {(one.source, one.sample, one.count) for one in journal.drift()} == (
            DRIFT if version > 1 else set()
        )
    assert is_whole(path)
    with Journal(path.with_name("new.db")) as new:
        new.changes()
    names = [[row[:3] for row in schema_of(one)] for one in (path, new.path)]
    assert names[0] == names[1]
    assert version_of(path) == (CURRENT, APPLICATION)


def assert_everything(journal):
    """The journal holds what the files of all versions hold."""
    assert journal.cursor() == "0c0ffee0-8"
    steps = [(step.ref, step.kind, step.to_state, step.regressed) for step in journal.changes()]
    assert steps == [
        ("payments:done", "first", "queued", False),
        ("payments:done", "state", "succeeded", False),
        ("payments:back", "first", "failed", False),
        ("payments:back", "state", "running", True),
        ("payments:gone", "first", "running", False),
        ("payments:gone", "gone", None, False),
        ("edge:done", "first", "partial", False),
        ("payments:open", "first", "running", False),
    ]
    assert journal.history("payments:done")[1].passed_over == (State.RUNNING,)
    assert journal.history("edge:done")[0].counts == counted(4)
    assert [known.id for known in journal.tracked(PLACE)] == ["done", "back", "never"]
    assert [known.id for known in journal.tracked(PLACE, {"release": "42"})] == ["done"]
    (done,) = journal.find("payments:done")
    assert (done.note, done.duration, done.ended_at) == ("für später", 60.0, at(60))
    assert done.status.native_state == "SUCCEEDED"
    (gone,) = journal.find("payments:gone")
    assert gone.gone_at == at(90)
    assert [(wait.id, wait.refs) for wait in journal.waits()] == [(2, ("payments:open",))]
    ended = journal.waits(open_only=False)[1]
    assert (ended.verdicts, ended.terms.timeout) == ({"payments:done": Verdict.SUCCEEDED}, 60.0)


# --- the mechanism ---


def test_a_later_version_brings_a_file_up_to_date(path, later):
    """It keeps all that was there, and its name, so that cursors stay good."""
    restore(path, CURRENT)
    before = contents(path)
    with Journal(path) as journal:
        assert_everything(journal)
        assert journal.stats().schema == later
    after = contents(path)
    assert [row[:-1] for row in after["bulks"]] == before["bulks"]
    assert {row[-1] for row in after["bulks"]} == {"red"}
    assert dict(after["meta"]).keys() - dict(before["meta"]).keys() == {"migrated"}
    for name in ("sources", "labels", "transitions", "waits", "prunes"):
        assert after[name] == before[name]
    assert (version_of(path), is_whole(path)) == ((later, APPLICATION), True)


def test_a_new_file_goes_through_all_versions(path, later):
    """As one that was there from the first on."""
    with Journal(path) as journal:
        journal.record([look()])
        assert journal.stats().schema == later
    restore(path.with_name("old.db"), 1)
    with Journal(path.with_name("old.db")) as old:
        old.changes()
    assert schema_of(path) == schema_of(old.path)


def test_who_has_the_old_version_open_is_not_disturbed(path, monkeypatch):
    """It goes on with what it knows; the next one that knows less is told."""
    restore(path, CURRENT)
    with Journal(path) as old:
        old.changes()
        with monkeypatch.context() as patched:
            patched.setattr(sqlite, "MIGRATIONS", (*MIGRATIONS, LATER))
            with Journal(path) as new:
                new.record([look(id="new")])
        old.record([look(id="old")])
        assert len(old.changes("0c0ffee0-8")) == 2
    with pytest.raises(JournalError) as caught:
        Journal(path).changes()
    assert caught.value.reason == "newer"


def test_threads_that_open_it_at_once_bring_it_up_to_date_once(path, later):
    """And find all of it."""
    restore(path, CURRENT)
    found = []

    def use():
        with Journal(path) as journal:
            found.append((journal.stats().schema, journal.cursor()))

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [(later, "0c0ffee0-8")] * 8
    assert is_whole(path)


AT_ONCE = r"""
    import os, sys
    from bulkstatus import _sqlite as sqlite
    from bulkstatus._journal import Journal
    from journal.looks import at_once
    sqlite.MIGRATIONS = (*sqlite.MIGRATIONS, *sys.argv[2:])

    def work(_):
        with Journal(sys.argv[1]) as journal:
            assert journal.stats().schema == len(sqlite.MIGRATIONS)
            os.write(1, f"{journal.cursor()}\n".encode())

    print(at_once(8, work))
"""


@posix
@pytest.mark.parametrize("version", [0, CURRENT])
def test_processes_that_open_it_at_once_bring_it_up_to_date_once(path, version):
    """From nothing, or from the version before: all of them use the same journal."""
    if version:
        restore(path, version)
    done = run_script(AT_ONCE, str(path), LATER)
    *cursors, codes = done.stdout.splitlines()
    assert (done.stderr, codes) == ("", str([0] * 8))
    assert len(cursors) == 8
    assert len(set(cursors)) == 1
    assert is_whole(path)


@pytest.mark.parametrize("wrong", ["SELECT * FROM nowhere", "INSERT INTO meta VALUES ('id', 'again')"])
def test_a_migration_that_fails_leaves_the_old_version_whole(path, monkeypatch, wrong):
    """Those who know the old version use it on."""
    restore(path, CURRENT)
    before = (contents(path), schema_of(path))
    with monkeypatch.context() as patched:
        patched.setattr(sqlite, "MIGRATIONS", (*MIGRATIONS, LATER, wrong))
        for _ in range(2):
            with pytest.raises(JournalError) as caught:
                Journal(path).changes()
            assert caught.value.reason == "io"
    assert (contents(path), schema_of(path)) == before
    assert version_of(path) == (CURRENT, APPLICATION)
    with Journal(path) as journal:
        assert_everything(journal)
        assert journal.moved_to is None


@pytest.mark.parametrize("wrong", ["SELECT * FROM nowhere"])
def test_a_new_file_that_could_not_be_made_is_made_the_next_time(path, monkeypatch, wrong):
    """It is empty until then."""
    with monkeypatch.context() as patched:
        patched.setattr(sqlite, "MIGRATIONS", (*MIGRATIONS, wrong))
        with pytest.raises(JournalError):
            Journal(path).changes()
    assert (version_of(path), schema_of(path)) == ((0, 0), [])
    with Journal(path) as journal:
        journal.record([look()])
        assert len(journal.changes()) == 1


KILLED = """
    import os, sqlite3, sys
    from bulkstatus import _sqlite as sqlite
    from bulkstatus._journal import Journal
    sqlite.MIGRATIONS = (*sqlite.MIGRATIONS, sys.argv[3])
    connect, left = sqlite3.connect, int(sys.argv[2])

    def dying(*words, **more):
        def count(statement):
            global left
            left -= 1
            if not left:
                os.kill(os.getpid(), 9)
        db = connect(*words, **more)
        db.set_trace_callback(count)
        return db

    sqlite3.connect = dying
    Journal(sys.argv[1]).changes()
    print("lived")
"""
_FIRST_STATEMENTS, _STEP = 8, 3


@posix
@pytest.mark.parametrize("version", [0, CURRENT])
def test_a_process_that_is_killed_while_it_migrates_leaves_one_version_or_the_other(path, version):
    """Before each of some of its statements; who comes next finds the old one, or the new one, and goes on."""
    seen = set()
    for number in range(_FIRST_STATEMENTS, 200, _STEP):
        one = path.with_name(f"{number}.db")
        if version:
            restore(one, version)
        done = run_script(KILLED, str(one), str(number), LATER)
        if done.stdout:
            assert done.stdout == "lived\n"
            break
        assert done.returncode == -9
        found = version_of(one)
        assert found in ((version, APPLICATION if version else 0), (CURRENT + 1, APPLICATION))
        seen.add(found)
        assert is_whole(one)
        if found[0] == CURRENT + 1:
            continue
        with Journal(one) as journal:
            if version:
                assert_everything(journal)
            else:
                assert journal.changes() == ()
            assert journal.moved_to is None
    assert (version, APPLICATION if version else 0) in seen
    assert done.stdout == "lived\n"


@posix
def test_what_a_killed_process_had_begun_is_no_obstacle(path):
    """Its locks went with it."""
    script = """
        import os, pathlib, sys
        from bulkstatus import _sqlite as sqlite
        with sqlite.locked(sqlite._lock_of(pathlib.Path(sys.argv[1]))):
            os.kill(os.getpid(), 9)
    """
    assert run_script(script, str(path)).returncode == -9
    assert path.with_name("journal.db.lock").exists()
    with Journal(path) as journal:
        assert journal.changes() == ()
