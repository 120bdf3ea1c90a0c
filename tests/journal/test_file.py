"""The journal's file: nobody else reads it, and whatever is wrong with it is told, and loses nothing."""

import json
import os
import sqlite3
import stat
import subprocess
import sys
import textwrap
import threading
from contextlib import closing
from pathlib import Path

import pytest

from bulkstatus import ConfigError, JournalError, State
from bulkstatus import _sqlite as sqlite
from bulkstatus._file import JournalFile
from bulkstatus._journal import Journal
from bulkstatus._record import WaitTerms
from bulkstatus._sqlite import APPLICATION, MIGRATIONS
from journal.looks import PLACE, is_whole, look, miss, rows
from support import run_script

posix = pytest.mark.skipif(sys.platform == "win32", reason="modes and owners are those of POSIX")
rooted = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives files away"
)
PAGE = 4_096


@pytest.fixture
def path(tmp_path):
    """A file that is not there yet, in a folder that is not either."""
    return tmp_path / "state" / "journal.db"


@pytest.fixture
def brief(monkeypatch):
    """Who waits for a lock gives up soon."""
    monkeypatch.setattr(sqlite, "_BUSY", 0.05)


def fill(path, number=600):
    """A journal with so many bulks, in its own file and no log, and what it holds."""
    with Journal(path) as journal:
        journal.record([look(id=str(index), error="x" * 200) for index in range(number)])
        cursor = journal.cursor()
    assert not path.with_name("journal.db-wal").exists()
    return cursor


def refusal(path, work=Journal.changes):
    """Why the journal cannot be used; and by two tries in a row the same."""
    with Journal(path) as journal:
        with pytest.raises(JournalError) as first:
            work(journal)
        with pytest.raises(JournalError) as second:
            work(journal)
        assert journal.moved_to is None
    assert str(first.value) == str(second.value)
    assert first.value.reason == second.value.reason
    assert str(path) in str(first.value)
    return first.value


def overwrite(path, *, start, stop=None, byte=b"\xa5"):
    """Write nonsense over a part of a file."""
    data = bytearray(path.read_bytes())
    part = slice(start, stop)
    data[part] = byte * len(data[part])
    path.write_bytes(data)
    return bytes(data)


def mode(path):
    """Who may do what."""
    return oct(stat.S_IMODE(path.lstat().st_mode))


# --- who may read it ---


@posix
@pytest.mark.parametrize("umask", ["000", "022", "077"])
def test_nobody_else_reads_it(path, umask):
    """Nor its log, its index, its locks, or what was moved aside; the folder that is made for it is closed as well."""
    script = """
        import os, sys
        os.umask(int(sys.argv[2], 8))
        from bulkstatus._journal import Journal
        from bulkstatus._record import WaitTerms
        from journal.looks import look
        journal = Journal(sys.argv[1])
        journal.record([look()])
        journal.begin_wait(["payments:1"], WaitTerms())
        journal.path.with_name("broken.db").write_bytes(b"no database" * 999)
        journal.path.with_name("broken.db.lock").touch(0o600)
        os.chmod(journal.path.with_name("broken.db"), 0o600)
        broken = Journal(journal.path.with_name("broken.db"))
        broken.record([look()])
        for name in sorted(os.listdir(journal.path.parent)):
            print(name.partition(".corrupt-")[0], oct(os.lstat(journal.path.parent / name).st_mode & 0o7777))
    """
    done = run_script(script, str(path), umask)
    assert done.stderr == ""
    found = dict(line.split() for line in done.stdout.splitlines())
    names = ("", "-shm", "-wal", ".lock")
    with Journal(path) as journal:
        (wait,) = journal.waits()
    assert set(found) == {
        *(f"{stem}.db{name}" for stem in ("broken", "journal") for name in names),
        f"journal.db.{wait.journal}.wait-1.lock",
    }
    assert set(found.values()) == {"0o600"}
    assert mode(path.parent) == "0o700"


@posix
def test_nobody_else_may_change_the_folders_that_are_made_for_it(tmp_path):
    """Who may, puts another folder in its place."""
    path = tmp_path / "a" / "b" / "journal.db"
    script = """
        import os, sys
        os.umask(0)
        from bulkstatus._journal import Journal
        Journal(sys.argv[1]).changes()
    """
    assert run_script(script, str(path)).stderr == ""
    assert (mode(path.parent), mode(path.parent.parent)) == ("0o700", "0o700")


@posix
def test_a_folder_that_is_there_keeps_its_mode(tmp_path):
    """It is its owner's."""
    tmp_path.chmod(0o755)
    Journal(tmp_path / "journal.db").changes()
    assert mode(tmp_path) == "0o755"
    assert mode(tmp_path / "journal.db") == "0o600"


# --- what is no file of ours ---


@pytest.mark.row("B100")
@posix
def test_only_a_plain_file_is_opened(path):
    """No link, not even to a journal, no pipe, which would wait for ever, no folder and no device."""
    path.parent.mkdir()
    good = path.with_name("good.db")
    fill(good, 1)
    before = good.read_bytes()
    for make in (lambda: path.symlink_to(good), lambda: os.mkfifo(path), path.mkdir):
        make()
        error = refusal(path)
        assert (error.reason, "is not a plain file" in str(error)) == ("unusable", True)
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    assert good.read_bytes() == before
    assert refusal(Path(os.devnull)).reason == "unusable"


@posix
def test_a_link_to_nowhere_is_not_followed(path):
    """Nothing is made where it leads."""
    path.parent.mkdir()
    path.symlink_to(path.with_name("nowhere.db"))
    assert refusal(path).reason == "unusable"
    assert [file.name for file in path.parent.iterdir()] == ["journal.db"]


@posix
def test_a_lock_that_is_a_link_is_not_followed(path):
    """Nothing is made where it leads."""
    path.parent.mkdir()
    path.with_name("journal.db.lock").symlink_to(path.with_name("elsewhere"))
    assert refusal(path).reason == "unusable"
    assert not path.with_name("elsewhere").exists()


@rooted
def test_a_file_of_another_user_is_left_alone(path):
    """Who owns it may read what is written into it."""
    fill(path, 1)
    os.chown(path, 12_345, -1)
    before = path.read_bytes()
    assert "belongs to another user" in str(refusal(path))
    assert path.read_bytes() == before


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    """Where a file is in its place."""
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "journal.db", tmp_path / "file" / "deeper" / "journal.db"):
        assert refusal(path).reason == "unusable"


def test_a_database_of_another_program_is_left_as_it_is(path):
    """Whether it says whose it is or not, whatever version it names."""
    path.parent.mkdir()
    for number, version in enumerate((0, len(MIGRATIONS), len(MIGRATIONS) + 1, 1_000)):
        for application in (0, 77, APPLICATION) if version == 0 else (0, 77):
            other = path.with_name(f"{number}-{application}.db")
            with closing(sqlite3.connect(other)) as db:
                db.execute("CREATE TABLE theirs (x)")
                db.execute(f"PRAGMA user_version = {version}")
                db.execute(f"PRAGMA application_id = {application}")
                db.commit()
            before = other.read_bytes()
            for work in (Journal.changes, lambda journal: journal.record([look()])):
                error = refusal(other, work)
                assert (error.reason, "of another program" in str(error)) == ("foreign", True)
            assert other.read_bytes() == before


@pytest.mark.row("F65", "B100")
@pytest.mark.parametrize("work", [Journal.changes, Journal.vacuum, lambda journal: journal.record([look()])])
def test_a_file_of_a_newer_version_is_left_byte_for_byte_as_it_is(path, work):
    """It says which version it is, and which is known here."""
    fill(path)
    newer = len(MIGRATIONS) + 1
    with closing(sqlite3.connect(path)) as db:
        db.execute("ALTER TABLE bulks ADD COLUMN colour TEXT")
        db.execute(f"PRAGMA user_version = {newer}")
        db.commit()
    before = path.read_bytes()
    error = refusal(path, work)
    assert error.reason == "newer"
    assert f"schema {newer}, this one knows {newer - 1}" in str(error)
    assert path.read_bytes() == before


# --- what is broken ---


def assert_begun_anew(journal, before):
    """The journal works, and what was there before lies beside it, byte for byte."""
    journal.record([look(id="new")])
    assert [step.ref for step in journal.changes()] == ["payments:new"]
    assert is_whole(journal.path)
    assert journal.moved_to.parent == journal.path.parent
    assert journal.moved_to.name.startswith("journal.db.corrupt-")
    assert journal.moved_to.read_bytes() == before
    assert len(list(journal.path.parent.glob("*.corrupt-*[0-9]Z"))) == 1


def told_once(journal, work):
    """The journal says that it was damaged, and where it is kept; the next time it says nothing."""
    with pytest.raises(
        JournalError, match=r"was damaged; it is kept as \S+, and a new one was begun"
    ) as caught:
        work(journal)
    assert caught.value.reason == "corrupt"
    assert journal.moved_to.name in str(caught.value)
    work(journal)


def damaged(path, data):
    """A file that was a journal before it came to this."""
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    path.chmod(0o600)
    path.with_name(f"{path.name}.lock").touch(0o600)  # every journal has had one since it was made


NO_DATABASES = [b"no database", b"no database" * 9_999, b"SQLite format 3\0" + b"\xa5" * 9_999]


@pytest.mark.row("F65", "B100")
@pytest.mark.parametrize("data", NO_DATABASES)
@pytest.mark.parametrize("work", [Journal.changes, Journal.stats])
def test_what_is_no_database_is_moved_aside(path, data, work):
    """And a new journal begun, which nobody takes for the old one; nothing is lost."""
    damaged(path, data)
    with Journal(path) as journal:
        told_once(journal, work)
        assert_begun_anew(journal, data)


@pytest.mark.parametrize("data", NO_DATABASES)
def test_what_is_recorded_goes_on_with_the_new_file(path, data):
    """Who records asks nothing of the old one."""
    damaged(path, data)
    with Journal(path) as journal:
        journal.record([])
        assert_begun_anew(journal, data)


def test_a_wait_that_begins_goes_on_with_the_new_file(path):
    """It is held in that, and found there."""
    damaged(path, b"no database" * 999)
    with Journal(path) as journal:
        held = journal.begin_wait(["payments:1"], WaitTerms())
        assert journal.moved_to is not None
        assert (journal.waits(), held.is_kept, journal.is_held(held.record)) == ((held.record,), True, True)
        held.leave()


READS = {
    "changes": Journal.changes,
    "history": lambda journal: journal.history("payments:1"),
    "find": lambda journal: journal.find("payments:1"),
    "known": lambda journal: journal.known(PLACE, ["1"]),
    "tracked": lambda journal: journal.tracked(PLACE),
    "usual": lambda journal: journal.usual(PLACE, None),
    "waits": Journal.waits,
    "stats": Journal.stats,
    "cursor": Journal.cursor,
    "all changes": lambda journal: list(journal.all_changes()),
    "all bulks": lambda journal: list(journal.all_bulks()),
    "track": lambda journal: journal.track(PLACE, ["1"]),
    "untrack": lambda journal: journal.untrack(PLACE, ["1"]),
    "prune": lambda journal: journal.prune(60),
    "vacuum": Journal.vacuum,
}


@pytest.mark.parametrize("work", READS.values(), ids=READS)
def test_who_asks_is_told_once_that_the_journal_was_damaged(path, work):
    """An empty answer of the new one would be taken for the old one's."""
    fill(path, 5)
    before = overwrite(path, start=100)
    with Journal(path) as journal:
        told_once(journal, work)
        assert journal.moved_to.read_bytes() == before
        assert len(list(path.parent.glob("*.corrupt-*[0-9]Z"))) == 1


def test_who_would_go_on_with_a_wait_is_told_too(path):
    """The wait is in the file that was moved aside."""
    fill(path, 1)
    overwrite(path, start=100)
    with Journal(path) as journal:
        with pytest.raises(JournalError, match="was damaged") as caught:
            journal.resume_wait()
        assert caught.value.reason == "corrupt"
        with pytest.raises(ConfigError, match="there is no wait to go on with"):
            journal.resume_wait()


@pytest.mark.parametrize("name", ["all_changes", "all_bulks"])
def test_who_reads_page_by_page_is_told_when_the_journal_is_replaced(path, name):
    """Half of one and half of another are nothing whole."""
    fill(path, 2_100)
    with Journal(path) as journal:
        reading = getattr(journal, name)()
        next(reading)
        path.unlink()
        for companion in path.parent.glob("journal.db-*"):
            companion.unlink()
        with Journal(path) as other:
            other.record([look(id=f"new {number}") for number in range(3)])
        with pytest.raises(JournalError, match="was replaced while it was read") as caught:
            list(reading)
        assert caught.value.reason == "corrupt"
        assert len(list(getattr(journal, name)())) == 3
        assert journal.moved_to is None


@pytest.mark.parametrize("data", [b"my notes", *NO_DATABASES])
@pytest.mark.parametrize("work", [Journal.changes, Journal.vacuum, lambda journal: journal.record([look()])])
def test_a_file_that_never_was_a_journal_stays_where_it_is(path, data, work):
    """Somebody named the wrong one; also the second time."""
    path.parent.mkdir()
    path.write_bytes(data)
    error = refusal(path, work)
    assert (error.reason, "name another" in str(error)) == ("foreign", True)
    assert path.read_bytes() == data
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_damaged_journal_without_its_lock_stays_where_it_is(path):
    """It may be anything; the error says so."""
    fill(path)
    path.with_name("journal.db.lock").unlink()
    before = overwrite(path, start=0)
    error = refusal(path)
    assert (error.reason, "or a damaged one" in str(error)) == ("foreign", True)
    assert path.read_bytes() == before


def test_what_lies_where_the_users_journal_is_kept_was_one(tmp_path, monkeypatch):
    """Nobody has named it by mistake."""
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    path = tmp_path / "bulkstatus" / "journal.db"
    path.parent.mkdir()
    path.write_bytes(b"no database")
    with Journal() as journal:
        assert journal.path == path
        told_once(journal, Journal.changes)
        assert_begun_anew(journal, b"no database")


def test_a_file_that_the_environment_names_may_be_the_wrong_one(path, monkeypatch):
    """As any other that somebody named."""
    monkeypatch.setenv("BULKSTATUS_JOURNAL", str(path))
    path.parent.mkdir()
    path.write_bytes(b"my notes")
    with Journal() as journal, pytest.raises(JournalError, match="name another") as caught:
        journal.changes()
    assert caught.value.reason == "foreign"
    assert path.read_bytes() == b"my notes"


@rooted
def test_a_file_that_never_was_a_journal_is_told_to_a_user_without_a_home(open_path):
    """As in a container: there is no usual place to compare it with."""
    open_path.parent.mkdir()
    open_path.write_bytes(b"my notes")
    for one in (open_path.parent, open_path):
        os.chown(one, 54_321, 54_321)
    script = """
        import os, pathlib, sys
        for name in ("HOME", "XDG_STATE_HOME", "BULKSTATUS_JOURNAL"):
            os.environ.pop(name, None)
        from bulkstatus import JournalError
        from bulkstatus._journal import Journal
        os.setgid(54321)
        os.setuid(54321)
        try:
            Journal(sys.argv[1]).changes()
        except JournalError as error:
            print(error.reason, pathlib.Path(sys.argv[1]).read_text(), flush=True)
        os._exit(0)  # what records coverage cannot write its file as this user, and would say so
    """
    done = run_script(script, str(open_path))
    assert (done.stderr, done.stdout) == ("", "foreign my notes\n")


@pytest.mark.parametrize("start", [100, PAGE, 5 * PAGE])
def test_a_file_that_was_overwritten_is_moved_aside(path, start):
    """From its schema, or from somewhere in the middle on; found when it is opened, or when the part is needed."""
    fill(path)
    before = overwrite(path, start=start)
    told = []
    with Journal(path) as journal:
        for name in ("changes", "tracked", "stats", "all bulks"):
            try:
                READS[name](journal)
            except JournalError as error:
                told.append(error.reason)
        journal.record([look(id=str(index)) for index in range(0, 600, 60)])
        journal.prune(1)
        journal.record([miss(9, id="1")])
        assert journal.moved_to is not None
    assert told == ["corrupt"]
    with Journal(path) as journal:
        journal.record([look(id="new")])
        assert journal.moved_to is None
    assert is_whole(path)
    (aside,) = path.parent.glob("*.corrupt-*Z")
    assert aside.stat().st_size == len(before)


def test_a_file_that_was_cut_off_is_moved_aside(path):
    """As after a disk that lied."""
    fill(path)
    before = path.read_bytes()[: 3 * PAGE + 17]
    path.write_bytes(before)
    with Journal(path) as journal:
        told_once(journal, Journal.stats)
        assert_begun_anew(journal, before)


def test_what_was_to_be_recorded_is_recorded_into_the_new_file(path):
    """All of it, though the damage was met in the middle, and the answers come one by one."""
    fill(path)
    overwrite(path, start=5 * PAGE)
    with Journal(path) as journal:
        journal.record(look(id=str(index), seen=9, phase="x") for index in range(600))
        assert journal.moved_to is not None
        assert len(journal.changes()) == 600


@pytest.mark.parametrize("byte", [b"#", b"\xff"])
def test_text_that_was_overwritten_is_damage_too(path, byte):
    """Which SQLite does not notice: it does not look into texts."""
    fill(path, 1)
    begin = path.read_bytes().index(b'"state":')
    before = overwrite(path, start=begin, stop=begin + 8, byte=byte)
    with Journal(path) as journal:
        journal.record([look(State.SUCCEEDED, 9, id="0", wanted=True)])
        assert_begun_anew_after(journal, before)


def assert_begun_anew_after(journal, before):
    """The journal holds what was seen since, and what was there before lies beside it."""
    assert [step.kind for step in journal.changes()] == ["first"]
    assert journal.moved_to.read_bytes() == before


def test_an_open_journal_notices_that_its_file_was_overwritten(path):
    """Its answers come from the disk, but for what it has just read."""
    fill(path)
    with Journal(path) as journal:
        journal.changes(limit=1)
        journal.record([look(State.SUCCEEDED, 9, id="0")])
        overwrite(path, start=2 * PAGE)
        with closing(sqlite3.connect(path)) as db:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        journal.record([look(id=str(index), seen=5, phase="x") for index in range(600)])
        journal.stats()
        assert journal.moved_to is not None
        assert is_whole(path)


def test_what_others_have_open_is_theirs_until_they_look_again(path):
    """Then they use the new file too, and harm nothing that was written into it meanwhile."""
    fill(path)
    with Journal(path) as first, Journal(path) as second, Journal(path) as third:
        for journal in (first, second, third):
            journal.changes(limit=1)
        overwrite(path, start=PAGE)
        first.close()
        told_once(first, Journal.stats)
        first.record([look(id="first")])
        second.record([look(id="second")])
        third.close()
        first.record([look(id="third")])
        assert (second.moved_to, third.moved_to) == (None, None)
        refs = ["payments:first", "payments:second", "payments:third"]
        for journal in (first, second, third):
            assert [step.ref for step in journal.changes()] == refs
    with Journal(path) as fourth:
        assert [step.ref for step in fourth.changes()] == refs
    assert len(list(path.parent.glob("*.corrupt-*Z"))) == 1


def test_several_who_find_it_broken_move_it_once(path):
    """And all go on with the same new file."""
    damaged(path, b"no database" * 999)
    journals = [Journal(path) for _ in range(8)]

    def use(number):
        journals[number].record([look(id=str(number))])

    threads = [threading.Thread(target=use, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len([journal for journal in journals if journal.moved_to]) == 1
    assert {step.ref for step in journals[0].changes()} == {f"payments:{number}" for number in range(8)}
    for journal in journals:
        journal.close()
    assert len(list(path.parent.glob("*.corrupt-*Z"))) == 1


def test_several_who_ask_a_broken_one_move_it_once(path):
    """Each is told so, or has the new file already."""
    damaged(path, b"no database" * 999)
    journals = [Journal(path) for _ in range(8)]
    told = []

    def use(number):
        try:
            assert journals[number].changes() == ()
        except JournalError as error:
            told.append(error.reason)

    threads = [threading.Thread(target=use, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(told) == {"corrupt"}
    assert len([journal for journal in journals if journal.moved_to]) == 1
    for journal in journals:
        assert journal.changes() == ()
        journal.close()
    assert len(list(path.parent.glob("*.corrupt-*Z"))) == 1


@pytest.mark.parametrize("part", ["-wal", "-shm"])
def test_a_log_that_was_damaged_costs_at_most_what_it_held(path, part):
    """The file itself is whole and goes on; the index is made anew from the log."""
    script = """
        import os, sys
        from bulkstatus._journal import Journal
        from journal.looks import look
        journal = Journal(sys.argv[1])
        journal.record([look(id="in the file")])
        journal.vacuum()
        journal.record([look(id="in the log")])
        os.kill(os.getpid(), 9)
    """
    run_script(script, str(path))
    overwrite(path.with_name(f"journal.db{part}"), start=0)
    with Journal(path) as journal:
        found = [step.ref for step in journal.changes()]
        assert found == ["payments:in the file", "payments:in the log"][: 1 if part == "-wal" else 2]
        journal.record([look(id="new")])
        assert journal.moved_to is None
    assert is_whole(path)


def test_an_empty_file_is_a_journal_that_begins(path):
    """As one that was made by a process which died at once."""
    path.parent.mkdir()
    path.touch()
    with Journal(path) as journal:
        journal.record([look()])
        assert journal.moved_to is None
        assert len(journal.changes()) == 1


def test_a_file_that_was_removed_is_made_anew(path):
    """Also while it is open."""
    fill(path)
    with Journal(path) as journal:
        journal.changes(limit=1)
        path.unlink()
        journal.record([look(id="new")])
        assert [step.ref for step in journal.changes()] == ["payments:new"]
    assert is_whole(path)


# --- what cannot be written ---

AS_NOBODY = """
    import json, os, sys
    from bulkstatus import JournalError
    from bulkstatus._journal import Journal
    from journal.looks import look
    os.setgid(65534)
    os.setuid(65534)
    found = {}
    journal = Journal(sys.argv[1])
    for name, work in {"read": journal.changes, "write": lambda: journal.record([look(id="new")])}.items():
        try:
            found[name] = len(work())
        except JournalError as error:
            found[name] = error.reason
    print(json.dumps(found), flush=True)
    os._exit(0)  # what records coverage cannot write its file as this user, and would say so
"""


def as_nobody(path, *, file, folder):
    """What a user without rights gets from a journal of their own with these modes, in words or numbers."""
    for one in (path.parent, *path.parent.iterdir()):
        os.chown(one, 65_534, 65_534)
    path.chmod(file)
    path.parent.chmod(folder)
    done = run_script(AS_NOBODY, str(path))
    assert done.stderr == ""
    return json.loads(done.stdout)


@pytest.fixture
def open_path(tmp_path):
    """A file whose folder other users may reach."""
    for folder in (tmp_path, *tmp_path.parents[:3]):  # as deep as it lies with several workers
        if not folder.stat().st_mode & stat.S_IXOTH:
            folder.chmod(folder.stat().st_mode | stat.S_IXOTH)
    return tmp_path / "state" / "journal.db"


@rooted
def test_a_read_only_file_is_read(open_path):
    """And what cannot be written is told."""
    fill(open_path, 3)
    assert as_nobody(open_path, file=0o400, folder=0o700) == {"read": 3, "write": "readonly"}
    assert len(rows(open_path, "SELECT * FROM transitions")) == 3


@rooted
def test_a_file_that_may_not_be_read_is_told(open_path):
    """Not moved aside: it may be whole."""
    fill(open_path, 3)
    assert set(as_nobody(open_path, file=0o000, folder=0o700).values()) <= {"readonly", "unusable"}
    assert len(rows(open_path, "SELECT * FROM transitions")) == 3


@rooted
def test_a_read_only_folder_is_told(open_path):
    """The log has no place in it."""
    fill(open_path, 3)
    found = as_nobody(open_path, file=0o600, folder=0o500)
    assert found["read"] in (3, "readonly", "unusable")
    assert found["write"] in ("readonly", "unusable")
    assert len(rows(open_path, "SELECT * FROM transitions")) == 3


@rooted
def test_a_read_only_folder_without_a_journal_is_told(open_path):
    """No file can be made in it."""
    open_path.parent.mkdir()
    os.chown(open_path.parent, 65_534, 65_534)
    open_path.parent.chmod(0o500)
    done = run_script(AS_NOBODY, str(open_path))
    assert set(json.loads(done.stdout).values()) <= {"readonly", "unusable"}


ON_A_SMALL_DISK = """
    import json, os, sys
    from bulkstatus import JournalError
    from bulkstatus._journal import Journal
    from journal.looks import is_whole, look, rows
    journal = Journal(sys.argv[1])
    journal.track(look().place, ["tracked"])
    written, reasons = 0, []
    while len(reasons) < 3:
        try:
            journal.record([look(id=f"{written}-{number}", error="x" * 400) for number in range(20)])
            written += 20
        except JournalError as error:
            reasons.append(error.reason)
    found = [step.ref for step in journal.all_changes()]
    again = len(Journal(sys.argv[1]).changes())
    print(json.dumps([written, len(found), again, reasons, is_whole(journal.path), str(journal.moved_to)]))
"""


def assert_full_disk_is_told(done, reason):
    """What was said to be written is there, all else is not, and the file is whole."""
    assert done.stderr == ""
    written, found, again, reasons, whole, moved = json.loads(done.stdout)
    assert written == found == again > 0
    assert (reasons, whole, moved) == ([reason] * 3, True, "None")


@posix
def test_a_file_that_may_not_grow_is_told(path):
    """By a limit on the size of files, which is as a full disk; what was written before is there."""
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))\n"
    assert_full_disk_is_told(run_script(limit + textwrap.dedent(ON_A_SMALL_DISK), str(path)), "full")


def can_mount():
    """True where a small file system may be mounted that nobody else sees."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return False
    words = ["unshare", "-m", "sh", "-c", "mount -t tmpfs tmpfs /mnt"]
    try:
        return subprocess.run(words, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


def mounted(script, path, options):
    """Run a script where the folder of `path` is a file system of its own that nobody else sees."""
    path.parent.mkdir()
    tests = Path(__file__).parents[1]
    mount = f'mount -t tmpfs -o {options},mode=700 tmpfs "$1" && exec "$2" -W error -c "$3" "$4"'
    words = ["unshare", "-m", "sh", "-c", mount, "sh", str(path.parent), sys.executable]
    return subprocess.run(
        [*words, textwrap.dedent(script), str(path)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(tests)},
        check=False,
    )


@pytest.mark.row("F64")
@pytest.mark.skipif(not can_mount(), reason="takes a file system of its own")
def test_a_full_disk_is_told(path):
    """What was written before is there, and the file is whole."""
    assert_full_disk_is_told(mounted(ON_A_SMALL_DISK, path, "size=400k"), "full")


@pytest.mark.skipif(not can_mount(), reason="takes a file system of its own")
def test_a_disk_without_any_room_is_told(path):
    """Nothing is left half made."""
    script = """
        import pathlib, sys
        from bulkstatus import JournalError
        from bulkstatus._journal import Journal
        from journal.looks import look
        path = pathlib.Path(sys.argv[1])
        room = path.with_name("room")
        with room.open("wb", buffering=0) as file:
            try:
                while file.write(b"x" * 4096): pass
            except OSError: pass
        journal = Journal(path)
        for _ in range(2):
            try:
                journal.record([look()])
            except JournalError as error:
                print(error.reason)
        room.unlink()
        journal.record([look()])
        print(len(journal.changes()), journal.moved_to)
    """
    done = mounted(script, path, "size=512k")
    assert (done.stderr, done.stdout.splitlines()[2:]) == ("", ["1 None"])
    assert set(done.stdout.splitlines()[:2]) <= {"full", "io"}


@pytest.mark.row("F64")
@pytest.mark.skipif(not can_mount(), reason="takes a file system of its own")
def test_a_file_system_that_became_read_only_is_told(path):
    """As after an error of the disk, also to root."""
    script = """
        import subprocess, sys
        from bulkstatus import JournalError
        from bulkstatus._journal import Journal
        from journal.looks import look
        for new in (False, True):
            journal = Journal(sys.argv[1])
            if not new:
                journal.record([look()])
            journal.close()
            subprocess.run(["mount", "-o", "remount,ro", str(journal.path.parent)], check=True)
            for work in (journal.changes, lambda: journal.record([look(id="2")])):
                try:
                    print(len(work()))
                except JournalError as error:
                    print(error.reason)
            subprocess.run(["mount", "-o", "remount,rw", str(journal.path.parent)], check=True)
            print(len(journal.changes()))
            journal.close()
            journal.path.unlink()
    """
    script = textwrap.dedent(script).replace(
        "print(len(journal.changes()))", "print(journal.stats().transitions)"
    )
    done = mounted(script, path, "size=1m")
    assert done.stderr == ""
    found = done.stdout.split()
    assert (found[2], found[5]) == ("1", "0")
    assert set(found[:2] + found[3:5]) <= {"1", "readonly", "unusable"}
    assert {found[1], found[4]} <= {"readonly", "unusable"}


# --- who else is using it ---


def test_a_file_that_is_locked_for_too_long_is_told(path, brief):
    """Reading goes on; and what is written after that is."""
    fill(path, 3)
    with Journal(path) as journal, closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("BEGIN IMMEDIATE")
        for work in (
            lambda: journal.record([look(id="new")]),
            lambda: journal.track(PLACE, ["1"]),
            journal.vacuum,
        ):
            with pytest.raises(JournalError, match="is locked by another process") as caught:
                work()
            assert caught.value.reason == "locked"
        assert len(journal.changes()) == 3
        db.execute("ROLLBACK")
        journal.record([look(id="new")])
        assert len(journal.changes()) == 4
        assert journal.moved_to is None


def test_a_file_that_another_program_keeps_for_itself_is_told(path, brief):
    """Nothing can be read then; afterwards it can."""
    fill(path, 3)
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
        db.execute("BEGIN EXCLUSIVE")
        db.execute("UPDATE bulks SET note = 'x'")
        assert refusal(path).reason == "locked"
    assert len(Journal(path).changes()) == 3


def test_a_file_that_is_locked_while_it_is_made_is_told(path, brief):
    """By a process that has stood still since then."""
    path.parent.mkdir()
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("BEGIN IMMEDIATE")
        path.chmod(0o600)
        assert refusal(path, lambda journal: journal.record([look()])).reason == "locked"
    with Journal(path) as journal:
        journal.record([look()])
        assert len(journal.changes()) == 1


def test_a_file_that_another_process_is_making_is_waited_for(path):
    """As when one was killed over it: SQLite does not wait by itself where the way of writing is changed."""
    path.parent.mkdir()
    path.touch(mode=0o600)
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as db:
        db.execute("BEGIN IMMEDIATE")
        ending = threading.Timer(0.2, db.execute, ["ROLLBACK"])
        ending.start()
        try:
            with Journal(path) as journal:
                journal.record([look()])
                assert len(journal.changes()) == 1
        finally:
            ending.join()


@posix
def test_a_process_that_stands_still_while_it_makes_the_file_holds_up_nobody_for_ever(path, brief):
    """It has the lock under which files are made, and never gives it up."""
    path.parent.mkdir()
    reasons = []

    def use():
        try:
            Journal(path).changes()
        except JournalError as error:
            reasons.append(error.reason)

    with sqlite.locked(path.with_name("journal.db.lock")):
        thread = threading.Thread(target=use)
        thread.start()
        thread.join(2)
    thread.join()
    assert reasons == ["locked"]


def test_who_closes_it_does_not_wait_for_who_reads(path):
    """That thread reads on, and the file is closed when it is closed the next time."""
    fill(path, 3)
    file = JournalFile(path)
    reading, go = threading.Event(), threading.Event()
    found = []

    def work(db):
        reading.set()
        assert go.wait(9)
        return len(db.execute("SELECT * FROM bulks").fetchall())

    thread = threading.Thread(target=lambda: found.append(file.read(work)))
    thread.start()
    assert reading.wait(9)
    file.close()
    assert thread.is_alive()
    go.set()
    thread.join()
    assert found == [3]
    assert path.with_name("journal.db-wal").exists()
    file.close()
    assert not path.with_name("journal.db-wal").exists()


def test_what_went_wrong_inside_writes_nothing(path):
    """And the next try works."""
    file = JournalFile(path)

    def fail(db):
        db.execute("INSERT INTO sources (source, provider, realm) VALUES ('a', 'b', 'c')")
        db.execute("SELECT * FROM nowhere")

    with pytest.raises(JournalError, match=r"could not be used \(SQLITE_ERROR\)") as caught:
        file.write(fail)
    assert caught.value.reason == "io"
    assert file.read(lambda db: db.execute("SELECT * FROM sources").fetchall()) == []
    file.close()


def test_the_text_of_an_error_holds_nothing_that_was_to_be_written(path):
    """A note may be personal."""
    file = JournalFile(path)
    with pytest.raises(JournalError) as caught:
        file.write(lambda db: db.execute("SELECT 'a secret' FROM 'a secret'"))
    assert "a secret" not in repr(caught.value)
    assert caught.value.__cause__ is None
    file.close()


def test_threads_share_a_journal(path):
    """Each step once, and each answer of its own."""
    with Journal(path) as journal:

        def use():
            for seen, state in enumerate((State.QUEUED, State.RUNNING, State.SUCCEEDED)):
                journal.record([look(state, float(seen), id=str(number)) for number in range(5)])
                assert len(journal.history("payments:1")) > seen

        threads = [threading.Thread(target=use) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        found = [(step.ref, step.to_state) for step in journal.changes()]
        assert len(set(found)) == len(found) == 15


@posix
def test_a_child_has_a_connection_of_its_own(path):
    """What it does takes nothing from its parent: neither locks nor what either of them writes."""
    script = """
        import os, sys
        from bulkstatus import State
        from bulkstatus._journal import Journal
        from journal.looks import is_whole, look
        journal = Journal(sys.argv[1])
        journal.record([look(id="before")])
        for number in range(4):
            child = os.fork()
            if not child:
                journal.record([look(id=f"child {number}")])
                journal.close()
                os._exit(0)
            journal.record([look(id=f"parent {number}")])
            assert os.waitpid(child, 0)[1] == 0
        journal.record([look(id="after")])
        other = Journal(sys.argv[1])
        print(len(other.changes()), len(journal.changes()), is_whole(journal.path))
    """
    done = run_script(script, str(path))
    assert (done.stderr, done.stdout) == ("", "10 10 True\n")


@posix
def test_a_child_that_outlives_its_parent_harms_nothing(path):
    """Though it was born with the parent's connection, and lets go of it when others have the file open."""
    script = """
        import os, sys
        from bulkstatus._journal import Journal
        from journal.looks import is_whole, look
        journal = Journal(sys.argv[1])
        journal.record([look(id="before")])
        read, write = os.pipe()
        child = os.fork()
        if not child:
            os.read(read, 1)
            journal.record([look(id="child")])
            os._exit(0)
        journal.close()
        other = Journal(sys.argv[1])
        other.record([look(id="other")])
        os.write(write, b"x")
        assert os.waitpid(child, 0)[1] == 0
        other.record([look(id="after")])
        print(sorted(step.ref for step in Journal(sys.argv[1]).changes()), is_whole(other.path))
    """
    done = run_script(script, str(path))
    refs = [f"payments:{name}" for name in ("after", "before", "child", "other")]
    assert (done.stderr, done.stdout) == ("", f"{refs} True\n")


@posix
def test_a_child_that_is_born_while_another_thread_reads_may_use_the_journal(path):
    """It is born when that has read: no thread is there to give the parent's locks up in it."""
    script = """
        import os, signal, sys, threading, warnings
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads, which some callers do
        from bulkstatus._journal import Journal
        from journal.looks import look
        journal = Journal(sys.argv[1])
        journal.record([look()])
        reading, go = threading.Event(), threading.Event()
        thread = threading.Thread(target=journal._file.read, args=[lambda db: (reading.set(), go.wait(0.2))])
        thread.start()
        reading.wait()
        child = os.fork()
        if not child:
            signal.alarm(20)
            os._exit(len(journal.changes()))
        go.set()
        thread.join()
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """
    done = run_script(script, str(path))
    assert (done.stderr, done.stdout) == ("", "1\n")


@posix
def test_children_that_are_born_while_another_thread_writes_may_use_the_journal(path):
    """Each of them, and what the thread was about to write is written once."""
    script = """
        import os, signal, sys, threading, warnings
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads, which some callers do
        from bulkstatus._journal import Journal
        from journal.looks import is_whole, look
        journal, stop, turns = Journal(sys.argv[1]), threading.Event(), []
        def write():
            while not stop.wait(0.002):  # without a pause the children would hardly ever find the file free
                journal.record([look(id=f"parent {len(turns)}")])
                turns.append(1)
        thread = threading.Thread(target=write)
        thread.start()
        codes = []
        for number in range(12):
            child = os.fork()
            if not child:
                signal.alarm(20)
                journal.changes(limit=1)
                journal.record([look(id=f"child {number}")])
                os._exit(0)
            codes.append(os.waitpid(child, 0)[1])
        stop.set()
        thread.join()
        print(set(codes), len(list(journal.all_changes())) - len(turns), is_whole(journal.path))
    """
    done = run_script(script, str(path))
    assert (done.stderr, done.stdout) == ("", "{0} 12 True\n")


@posix
def test_a_wait_of_a_process_that_died_may_be_gone_on_with(path):
    """Its lock went with it, however it died."""
    script = """
        import os, sys
        from bulkstatus._journal import Journal
        from bulkstatus._record import WaitTerms
        Journal(sys.argv[1]).begin_wait(["payments:1"], WaitTerms())
        os.kill(os.getpid(), 9)
    """
    assert run_script(script, str(path)).returncode == -9
    with Journal(path) as journal:
        held = journal.resume_wait()
        assert (held.record.refs, held.record.terms) == (("payments:1",), WaitTerms())
        held.leave()


@posix
def test_a_wait_of_a_process_that_died_is_not_held_by_its_children(path):
    """They were born with its lock, and gave their copy up; those that end take nothing from it either."""
    script = """
        import os, sys
        from bulkstatus import JournalError
        from bulkstatus._journal import Journal
        from bulkstatus._record import WaitTerms

        def resume():
            with Journal(sys.argv[1]) as journal:
                try:
                    journal.resume_wait().leave()
                    return "resumed"
                except JournalError as error:
                    return error.reason

        ready, tell = os.pipe()
        rest, end = os.pipe()
        holder = os.fork()
        if not holder:
            held = Journal(sys.argv[1]).begin_wait(["payments:1"], WaitTerms())
            first = os.fork()
            if not first:
                held.leave()
                os._exit(0)
            os.waitpid(first, 0)
            if not os.fork():
                os.close(end)
                os.write(tell, b"x")
                os.read(rest, 1)  # until all others are through
                os._exit(0)
            os.read(rest, 1)
            os.kill(os.getpid(), 9)
        os.read(ready, 1)
        print(resume())
        os.kill(holder, 9)
        os.waitpid(holder, 0)
        print(resume())
        os.close(end)
    """
    done = run_script(script, str(path))
    assert (done.stderr, done.stdout) == ("", "busy\nresumed\n")


@posix
def test_a_process_that_is_born_finds_every_journal_closed(path):
    """It inherits no descriptor of theirs, and both may go on with all of them."""
    script = """
        import os, sys
        from bulkstatus._journal import Journal
        from journal.looks import is_whole, look
        journals = [Journal(f"{sys.argv[1]}{number}") for number in range(3)]
        for journal in journals:
            journal.record([look(id="before")])
        child = os.fork()
        if not child:
            if sys.platform == "linux":
                links = [os.readlink(entry.path) for entry in os.scandir("/proc/self/fd")]
                assert not [link for link in links if link.startswith(sys.argv[1])], links
            for journal in journals:
                journal.record([look(id="child")])
            os._exit(0)
        print(os.waitpid(child, 0)[1], [len(journal.changes()) for journal in journals])
    """
    done = run_script(script, str(path))
    assert (done.stderr, done.stdout) == ("", "0 [2, 2, 2]\n")


def test_a_new_file_in_the_place_of_a_broken_one_is_not_moved_aside(path):
    """Who found the old one broken, and comes second to the lock, leaves alone what the first has begun."""
    fill(path, 3)
    broken = sqlite.identity(path)
    path.rename(path.with_name("elsewhere.db"))
    fill(path, 2)
    assert sqlite.move_aside(path, broken) is None
    assert not list(path.parent.glob("*.corrupt-*"))
    with Journal(path) as journal:
        assert len(journal.changes()) == 2


def test_the_log_of_a_broken_file_goes_with_it(path):
    """A new file never meets the log of an old one."""
    fill(path, 3)
    for companion in ("-wal", "-shm"):
        path.with_name(path.name + companion).write_bytes(companion.encode())
    aside = sqlite.move_aside(path, sqlite.identity(path))
    for companion in ("-wal", "-shm"):
        assert not path.with_name(path.name + companion).exists()
        assert aside.with_name(aside.name + companion).read_bytes() == companion.encode()


def test_what_was_written_is_on_the_disk(path):
    """Each commit, so that a loss of power takes nothing back: 2 is FULL, and only then is the log synchronised."""
    with closing(sqlite.connect(path)) as db:
        assert db.execute("PRAGMA synchronous").fetchone() == (2,)


@posix
def test_a_lock_that_was_removed_before_it_was_taken_is_none(path, monkeypatch):
    """Who held it has removed it: the next who comes would make another, and both would hold one."""
    path.parent.mkdir()
    flock, removed = sqlite.fcntl.flock, []

    def late(descriptor, operation):
        if not removed:
            removed.append(path.unlink())
        flock(descriptor, operation)

    monkeypatch.setattr(sqlite.fcntl, "flock", late)
    descriptor = sqlite.take_lock(path)
    try:
        assert os.path.samestat(os.fstat(descriptor), path.stat())
    finally:
        os.close(descriptor)
