"""The journal's file in hostile hands and odd places: no verdict comes out of it that no provider gave."""

import logging
import os
import shutil
import sqlite3
import stat
import sys
from contextlib import closing

import pytest

from bulkstatus import Journal, JournalError, State
from bulkstatus.testing import serve
from journal.looks import is_whole, look
from support import Plain, Scripted, ask, run_script

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="modes and owners are those of POSIX")
rooted = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives files away"
)
STRANGER = 12_345
REF = "plain:a1"


@pytest.fixture
def path(tmp_path):
    """A journal in a folder of its own."""
    return tmp_path / "state" / "journal.db"


@pytest.fixture(scope="module")
def url():
    """A provider whose bulks all run."""
    with serve(Scripted()) as url:
        yield url


_WRITE = """
    import os, sys
    from bulkstatus import Client, _times
    from bulkstatus.testing import FakeResponse, serve
    from support import Plain, Scripted

    url, journal, word = sys.argv[1:]
    fake = Scripted(lambda request: FakeResponse.json({"id": "a1", "status": word}))
    from bulkstatus.testing import FakeTransport
    with Client({"plain": Plain(base_url=url)}, journal=journal, transport=FakeTransport({url: fake})) as client:
        client.get("plain:a1")
        client.history("plain:a1")
        sys.stdout.flush()
        os._exit(0)  # what was written stays in -wal
"""


@pytest.fixture(scope="module")
def forged(url, tmp_path_factory):
    """A folder with a journal that holds a running bulk, and beside it a log that says it has ended."""
    folder = tmp_path_factory.mktemp("forged")
    path, theirs = folder / "journal.db", folder / "theirs.db"
    assert run_script(_WRITE, url, str(path), "running").returncode == 0
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    shutil.copyfile(path, theirs)
    assert run_script(_WRITE, url, str(theirs), "done").returncode == 0
    theirs.with_name("theirs.db-wal").rename(folder / "journal.db-wal")
    for left in folder.glob("theirs.db*"):
        left.unlink()
    return folder


@pytest.fixture
def log(forged, path):
    """The log of a copy of it."""
    shutil.copytree(forged, path.parent)
    for file in path.parent.iterdir():
        file.chmod(0o600)
    path.parent.chmod(0o700)
    return path.with_name("journal.db-wal")


def linked(log):
    """The log lies elsewhere."""
    log.rename(log.with_name("elsewhere"))
    log.symlink_to(log.with_name("elsewhere"))


HANDS = {
    "another user's log": (
        lambda log: os.chown(log, STRANGER, -1),
        "journal.db-wal beside it that belongs to",
    ),
    "a log that is a link": (linked, "journal.db-wal beside it that is not a plain file"),
    "a log all may write": (lambda log: log.chmod(0o666), "journal.db-wal beside it that may be written by"),
    "a log a group may write": (
        lambda log: log.chmod(0o660),
        "journal.db-wal beside it that may be written by",
    ),
    "another user's index": (
        lambda log: os.chown(made(log.with_name("journal.db-shm")), STRANGER, -1),
        "journal.db-shm beside it that belongs to",
    ),
    "another user's rollback": (
        lambda log: os.chown(made(log.with_name("journal.db-journal")), STRANGER, -1),
        "journal.db-journal beside it that belongs to",
    ),
    "another user's file": (
        lambda log: os.chown(log.with_name("journal.db"), STRANGER, -1),
        "belongs to another user; name another",
    ),
    "a file all may write": (
        lambda log: log.with_name("journal.db").chmod(0o606),
        "may be written by other users; chmod 600 it",
    ),
    "another user's folder": (
        lambda log: os.chown(log.parent, STRANGER, -1),
        "is in a folder that belongs to another user",
    ),
    "a folder all may write": (
        lambda log: log.parent.chmod(0o777),
        "is in a folder where every user may replace files; chmod o-w the folder",
    ),
}


def made(file):
    """The file, made if it is not there."""
    file.touch(mode=0o600)
    return file


def warnings_of(caplog):
    """What the library warned of."""
    return [
        record.getMessage()
        for record in caplog.records
        if record.name.startswith("bulkstatus") and record.levelno >= logging.WARNING
    ]


@pytest.mark.usefixtures("log")
def test_a_log_beside_the_journal_decides_what_is_answered(path, url):
    """Which is why it matters whose it is: of ours, an end is told that nobody asks the provider for any more."""
    (status,) = ask("blocking", Plain(base_url=url), REF, journal=path)
    assert status.state is State.SUCCEEDED


@rooted
@pytest.mark.row("B100")
@pytest.mark.parametrize("hands", HANDS)
def test_an_end_that_somebody_else_may_have_written_is_not_told(url, log, hands, kind, caplog):
    """The provider is asked; one warning says what is wrong and what to do, and all files stay as they are."""
    (give, why), path = HANDS[hands], log.with_name("journal.db")
    give(log)
    before = {
        file: (file.lstat().st_uid, file.lstat().st_mode, file.read_bytes()) for file in path.parent.iterdir()
    }
    statuses = ask(kind, Plain(base_url=url), REF, REF, journal=path)
    assert [status.state for status in statuses] == [State.RUNNING] * 2
    (said,) = warnings_of(caplog)
    assert said.startswith(f"the journal {path} ")
    assert why in said
    assert said.endswith("; the answers are given without it")
    assert "--journal" in said
    after = {
        file: (file.lstat().st_uid, file.lstat().st_mode, file.read_bytes()) for file in path.parent.iterdir()
    }
    assert after == before


@rooted
@pytest.mark.row("B100")
def test_a_folder_for_everybody_is_fine_where_nobody_replaces_files_of_others(path, url, caplog):
    """As /tmp: sticky. And so is one of root's."""
    path.parent.mkdir()
    path.parent.chmod(0o1777)
    ask("blocking", Plain(base_url=url), REF, journal=path)
    assert [step.ref for step in Journal(path).changes()] == [REF]
    os.chown(path, STRANGER, STRANGER)
    script = """
        import os, sys
        from bulkstatus._journal import Journal
        os.setgid(12345)
        os.setuid(12345)
        print(len(Journal(sys.argv[1]).changes()), flush=True)
        os._exit(0)
    """
    for folder in path.parents[1:5]:
        folder.chmod(folder.stat().st_mode | stat.S_IXOTH)
    for left in path.parent.glob("journal.db?*"):
        left.unlink()
    assert run_script(script, str(path)).stdout == "1\n"
    assert warnings_of(caplog) == []


@pytest.mark.row("B100")
def test_a_log_that_comes_while_the_file_is_opened_is_not_read(path, monkeypatch):
    """In a folder where everybody may make files: it is looked for once more when the file is open."""
    with Journal(path) as journal:
        journal.record([look()])
    connect = sqlite3.connect

    def late(*arguments, **options):
        log = path.with_name("journal.db-wal")
        log.write_bytes(b"\xa5" * 99)  # an empty one SQLite takes into its own hands
        log.chmod(0o606)
        return connect(*arguments, **options)

    with monkeypatch.context() as patched, Journal(path) as journal:
        patched.setattr("bulkstatus._sqlite.sqlite3.connect", late)
        with pytest.raises(JournalError, match="-wal beside it that may be written"):
            journal.changes()


@pytest.mark.row("B100")
@pytest.mark.parametrize("content", ["nothing", "nonsense", "frames"])
def test_a_log_of_fifty_gigabytes_holds_up_nothing(url, log, content, kind, caplog):
    """What was written is there, what is seen is written, and nobody is warned."""
    path = log.with_name("journal.db")
    if content != "frames":
        log.write_bytes(b"" if content == "nothing" else b"\xa5" * 4_096)
    try:
        os.truncate(log, 50 * 1024**3)
    except OSError:
        pytest.skip("no sparse files here")
    (status,) = ask(kind, Plain(base_url=url), REF, journal=path)
    assert status.state is (State.SUCCEEDED if content == "frames" else State.RUNNING)
    assert warnings_of(caplog) == []
    assert is_whole(path)
    assert not log.exists() or log.stat().st_size < 1024**3


@pytest.mark.parametrize("umask", ["000", "022"])
def test_nothing_that_is_made_can_be_read_by_others_for_a_moment(path, url, umask):
    """The system's own record of every file that is made: each with the mode it keeps."""
    script = """
        import os, sys
        url, journal, umask = sys.argv[1:]
        from bulkstatus import Client
        from support import Plain
        os.umask(int(umask, 8))
        modes, real = [], os.open

        def recorded(file, flags, mode=0o777, **more):
            if flags & os.O_CREAT:
                modes.append((oct(mode), bool(flags & os.O_NOFOLLOW)))
            return real(file, flags, mode, **more)

        os.open = recorded
        with Client({"plain": Plain(base_url=url)}, journal=journal) as client:
            client.get("plain:a1")
            for name in sorted(os.listdir(os.path.dirname(journal))):
                modes.append(oct(os.lstat(os.path.join(os.path.dirname(journal), name)).st_mode & 0o777))
        print(set(modes), oct(os.stat(os.path.dirname(journal)).st_mode & 0o777))
    """
    done = run_script(script, url, str(path), umask)
    assert done.stderr == ""
    assert done.stdout in (
        "{('0o600', True), '0o600'} 0o700\n",
        "{'0o600', ('0o600', True)} 0o700\n",
    )
