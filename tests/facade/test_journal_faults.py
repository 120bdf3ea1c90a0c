"""Whatever is wrong with the journal: the answers are those of a client without one, one warning tells, and nothing hangs."""

import json
import logging
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import textwrap
import threading
import time
from contextlib import ExitStack, closing, contextmanager, suppress

import msgspec
import pytest

from bulkstatus import Client, Journal, JournalError, Verdict
from bulkstatus._scribe import Complaints, Scribe
from bulkstatus._sqlite import MIGRATIONS
from bulkstatus.testing import FakeTransport, Life, serve
from bulkstatus_cloudflare.fake import CloudflareFake
from bulkstatus_druid.fake import DruidFake
from bulkstatus_weavr.fake import WeavrFake
from journal.looks import is_whole, look
from support import run_script

WEAVR, DRUID, CLOUDFLARE = (
    "https://weavr.test/multi",
    "https://druid.test",
    "https://cloudflare.test/client/v4",
)
CF = ["0" * 31 + digit for digit in "0123456789"]
REFS = ["w:1", "w:2", "d:a-1", "d:a-2", f"c:{CF[1]}", f"c:{CF[2]}"]
posix = pytest.mark.skipif(sys.platform == "win32", reason="modes, owners and limits are those of POSIX")
rooted = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives files away, or mounts"
)


@pytest.fixture(autouse=True)
def brief(monkeypatch):
    """Who waits for a lock gives up soon, and what could not be written is tried again soon; a busy disk is waited for."""
    monkeypatch.setattr("bulkstatus._recorder._MOMENT", 30.0)
    monkeypatch.setattr("bulkstatus._recorder._READING", 30.0)
    monkeypatch.setattr("bulkstatus._sqlite._BUSY", 0.1)
    monkeypatch.setattr("bulkstatus._scribe._SHORTEST_PAUSE", 0.05)
    monkeypatch.setattr("bulkstatus._scribe._LONGEST_PAUSE", 0.2)


@pytest.fixture
def path(tmp_path):
    """Where the journal is to be."""
    return tmp_path / "state" / "journal.db"


class World:
    """The three providers with two bulks each: one that goes on, and one that has ended."""

    def __init__(self):
        self.weavr, self.druid, self.cloudflare = WeavrFake(), DruidFake(), CloudflareFake()
        for id, word in (("1", "RUNNING"), ("2", "COMPLETED")):
            self.weavr.add(id, Life.of((0, word)), operations=0)
        for id, word in (("a-1", "processing"), ("a-2", "failed")):
            self.druid.add(id, Life.of((0, word)))
        for id, word in ((CF[1], "running"), (CF[2], "completed")):
            self.cloudflare.add(id, Life.of((0, word)))
        fakes = {WEAVR: self.weavr, DRUID: self.druid, CLOUDFLARE: self.cloudflare}
        self.adapters = dict(zip("wdc", (fake.adapter(url) for url, fake in fakes.items()), strict=True))
        self.transport = FakeTransport(fakes)

    def client(self, journal=None):
        """A client of all three."""
        return Client(self.adapters, transport=self.transport, journal=journal)


@pytest.fixture
def world():
    """The three providers."""
    return World()


ENDED = [REFS[1], REFS[3], REFS[5]]
CALLS = {
    "get": lambda client: [client.get(ref) for ref in REFS],
    "get_many": lambda client: client.get_many(REFS),
    "list": lambda client: client.list(sources=["w", "d"]),
    "list_pages": lambda client: _read(client.list_pages(sources=["w", "d"])),
    "wait": lambda client: client.wait(ENDED, timeout=20),
    "not found": lambda client: client.get_many(["w:77", f"c:{CF[7]}"]),
}


def _read(pages):
    with pages:
        return sorted((status for rows in pages for status in rows), key=lambda status: status.ref)


def asked(client, calls=CALLS):
    """What a client answers to each call, but for the moments and how it came by it."""
    return {name: _bare(msgspec.to_builtins(CALLS[name](client))) for name in calls}


# A list says less of an end than the journal does where it can be read; which of the two is told is another question.
_OF_ITS_MOMENT = ("observed_at", "evidence", "request_id", "provisional", "counts")


def _bare(value):
    if isinstance(value, dict):
        return {key: _bare(part) for key, part in value.items() if key not in _OF_ITS_MOMENT}
    return [_bare(part) for part in value] if isinstance(value, list | tuple) else value


def warnings_of(caplog):
    """What was said by the library's logger, at any level that is shown."""
    return [
        record.getMessage()
        for record in caplog.records
        if record.name.startswith("bulkstatus") and record.levelno >= logging.WARNING
    ]


def until(condition):
    """Wait for something that will be so, and say whether it is."""
    for _ in range(1_000):
        if condition():
            return True
        time.sleep(0.02)
    return False


def fill(path):
    """A journal of old, of a source that no client here has."""
    with Journal(path) as journal:
        journal.record([look(id=str(number), error="x" * 200) for number in range(300)])


def refs_in(path):
    """The refs of all steps in the file, read by a connection of its own."""
    with Journal(path) as journal:
        return {step.ref for step in journal.all_changes()}


# --- troubles: each is there while its block lasts, with what is said of it ---


LOCKER = """
    import sqlite3, sys
    db = sqlite3.connect(sys.argv[1], isolation_level=None)
    for statement in sys.argv[2].split(";"):
        db.execute(statement).fetchall()
    print("locked", flush=True)
    sys.stdin.read()
"""


@contextmanager
def locking(path, statements):
    """Another process holds the file."""
    fill(path)
    command = [sys.executable, "-c", textwrap.dedent(LOCKER), str(path), statements]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as locker:
        assert locker.stdout.readline() == "locked\n"
        yield "is locked by another process"


def locked(path):
    """By somebody who writes."""
    return locking(path, "BEGIN IMMEDIATE")


def locked_for_readers(path):
    """By somebody who lets nobody read either."""
    return locking(path, "PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE")


@contextmanager
def newer(path):
    """It is of a later version."""
    fill(path)
    version = len(MIGRATIONS)
    _execute(path, f"PRAGMA user_version = {version + 1}")
    yield "newer version"
    _execute(path, f"PRAGMA user_version = {version}")


@contextmanager
def foreign(path):
    """It is another program's."""
    path.parent.mkdir()
    _execute(path, "CREATE TABLE theirs (x)")
    yield "another program"
    path.unlink()


@contextmanager
def folder_in_its_place(path):
    """It is no file."""
    path.mkdir(parents=True)
    yield "is not a plain file"
    path.rmdir()


@contextmanager
def pipe_in_its_place(path):
    """Whoever opened it would wait for ever."""
    path.parent.mkdir()
    os.mkfifo(path)
    yield "is not a plain file"
    path.unlink()


@contextmanager
def link_in_its_place(path):
    """It leads to somebody's file."""
    path.parent.mkdir()
    path.with_name("other").write_text("somebody's")
    path.symlink_to(path.with_name("other"))
    yield "is not a plain file"
    assert path.read_text() == "somebody's"
    path.unlink()


@contextmanager
def file_for_its_folder(path):
    """There is no room for a folder."""
    path.parent.write_text("")
    yield "cannot be opened"
    path.parent.unlink()


def _execute(path, statement):
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute(statement).fetchall()


TROUBLES = [
    locked,
    locked_for_readers,
    newer,
    foreign,
    folder_in_its_place,
    pytest.param(pipe_in_its_place, marks=posix),
    pytest.param(link_in_its_place, marks=posix),
    file_for_its_folder,
]


@pytest.mark.row("F64", "F65", "B100")
@pytest.mark.parametrize("trouble", TROUBLES)
def test_the_answers_are_those_of_a_client_without_a_journal(world, path, caplog, trouble):
    """One warning says what is wrong; closing waits for nothing, and raises nothing."""
    with world.client() as client:
        expected = asked(client)
    with trouble(path) as says:
        with world.client(path) as client:
            assert asked(client) == expected
            client.wait(ENDED, timeout=20)
        (said,) = warnings_of(caplog)
    assert says in said
    assert str(path) in said
    assert said.endswith("the answers are given without it")


@pytest.mark.parametrize("trouble", TROUBLES)
def test_a_source_without_a_list_is_left_out_as_it_is_without_a_journal(world, path, trouble):
    """Unless the tracked ones were asked for: then it is a failure, and no empty answer."""
    with trouble(path), world.client(path) as client:
        report = client.list()
        if trouble is locked:  # it can be read
            assert (client.list(tracked=True).failures, report.complete) == ((), True)
            return
        assert [skipped.source for skipped in report.skipped] == ["c"]
        assert report.complete
        report = client.list(tracked=True)
        assert {failure.kind for failure in report.failures} == {JournalError.kind}
        assert not report.complete


@pytest.mark.row("F64", "F65")
@pytest.mark.parametrize("trouble", TROUBLES)
def test_once_it_is_over_what_was_seen_meanwhile_is_written(world, path, caplog, trouble):
    """Each step, in its order; the wait that could not be recorded is not open."""
    with ExitStack() as stack:
        with trouble(path):
            client = stack.enter_context(world.client(path))
            for word in ("SUBMITTED", "RUNNING", "PAUSED"):
                world.weavr.add("1", Life.of((0, word)), operations=0)
                client.get("w:1", fresh=True)
            assert client.get("w:2").native_state == "COMPLETED"
        assert until(lambda: {"w:1", "w:2"} <= refs_in(path))
        assert until(lambda: len(client.history("w:1")) == 3)
        assert [step.to_word for step in client.history("w:1")] == ["SUBMITTED", "RUNNING", "PAUSED"]
        assert client.list(tracked=True, sources=["w"]).complete
        assert client.journal.waits() == ()
        client.wait("w:2")
        assert len(client.journal.waits(open_only=False)) == 1
    assert len(warnings_of(caplog)) == 1
    assert is_whole(path)


@pytest.mark.parametrize("trouble", [locked, newer])
def test_what_could_not_be_written_while_it_was_open_is_written_when_it_is_closed(world, path, trouble):
    """If the trouble is over by then."""
    with trouble(path):
        client = world.client(path)
        client.get("w:1")
        client.get("w:2")
    time.sleep(0.3)  # longer than the pause before it is tried again
    client.close()
    assert {"w:1", "w:2"} <= refs_in(path)


def test_a_client_that_was_opened_again_says_what_is_wrong_again(world, path, caplog):
    """Once each time."""
    with folder_in_its_place(path):
        client = world.client(path)
        for number in (1, 2):
            with client:
                client.get("w:1")
                client.get("w:2")
            assert len(warnings_of(caplog)) == number


def test_a_lock_that_is_held_for_a_while_holds_up_no_answer_for_good(world, path, caplog, monkeypatch):
    """A writer that is done before patience ends costs nobody anything, and nobody is warned."""
    monkeypatch.setattr("bulkstatus._sqlite._BUSY", 30.0)
    fill(path)
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        release = threading.Timer(0.6, lambda: other.execute("COMMIT"))
        release.start()
        with world.client(path) as client:
            assert client.get("w:1").native_state == "RUNNING"
            assert client.get_many(REFS).complete
        release.join()
    assert warnings_of(caplog) == []
    assert {"w:1", "w:2"} <= refs_in(path)


def test_a_wait_that_did_not_wait_for_the_journal_is_not_recorded_later(world, path, monkeypatch):
    """It would stay open although it has ended, and be what is gone on with next."""
    monkeypatch.setattr("bulkstatus._sqlite._BUSY", 30.0)
    monkeypatch.setattr("bulkstatus._recorder._MOMENT", 0.1)
    monkeypatch.setattr("bulkstatus._recorder._READING", 0.1)
    fill(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as other, world.client(path) as client:
        other.execute("BEGIN IMMEDIATE")
        outcome = client.wait("w:2")
        other.execute("COMMIT")
        assert outcome.verdicts == {"w:2": Verdict.SUCCEEDED}
        client.track("w:2")  # behind all that was to be written before
        assert client.journal.waits(open_only=False) == ()


@pytest.mark.parametrize("ref", ["w:1", "w:2"])
def test_a_wait_with_a_short_timeout_ends_as_one_without_a_journal(world, path, caplog, monkeypatch, ref):
    """Although another connection writes for longer than that: what was seen in time counts."""
    monkeypatch.setattr("bulkstatus._sqlite._BUSY", 30.0)
    monkeypatch.setattr("bulkstatus._recorder._MOMENT", 0.25)
    monkeypatch.setattr("bulkstatus._recorder._READING", 0.5)
    with world.client() as client:
        expected = _bare(msgspec.to_builtins(client.wait(ref, timeout=2).results))
    fill(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as other, world.client(path) as client:
        other.execute("BEGIN IMMEDIATE")
        outcome = client.wait(ref, timeout=2)
        other.execute("COMMIT")
        assert _bare(msgspec.to_builtins(outcome.results)) == expected
        assert [step.to_word for step in client.journal.history(ref)] in (
            [],
            [outcome[ref].status.native_state],
        )
    assert ref in refs_in(path)
    assert warnings_of(caplog) == []


# --- what is broken, or taken away ---


def damaged(path):
    """Overwrite all of a file with nonsense."""
    data = b"\xa5" * path.stat().st_size
    path.write_bytes(data)
    return data


@pytest.mark.row("F65", "B100")
def test_a_journal_that_is_damaged_is_moved_aside_and_begun_anew(world, path, caplog):
    """Nothing of it is lost; the warning says where it is."""
    with world.client() as client:
        expected = asked(client)
    fill(path)
    before = damaged(path)
    with world.client(path) as client:
        assert asked(client) == expected
        assert client.history("w:1")
    (aside,) = path.parent.glob("*.corrupt-*Z")
    (said,) = warnings_of(caplog)
    assert said == f"the journal {path} was damaged; it is kept as {aside.name}, and a new one was begun"
    assert aside.read_bytes() == before
    assert {"w:1", "w:2", "d:a-1", "d:a-2", f"c:{CF[1]}", f"c:{CF[2]}"} <= refs_in(path)
    assert is_whole(path)


@pytest.mark.row("F65")
def test_a_journal_that_is_damaged_while_it_is_open_is_begun_anew(world, path, caplog):
    """At the next thing that is to be written or read there."""
    fill(path)
    with world.client() as client:
        expected = asked(client)
    with world.client(path) as client:
        client.get("w:1")
        _execute(path, "PRAGMA wal_checkpoint(TRUNCATE)")
        damaged(path)
        assert asked(client) == expected
        assert asked(client) == expected
        client.track("w:2", note="after")
    (said,) = warnings_of(caplog)
    assert "was damaged; it is kept as" in said
    assert is_whole(path)
    assert "w:2" in refs_in(path)


@pytest.mark.parametrize("name", ["journal.db", "journal.db-wal", "journal.db-shm"])
def test_a_file_that_is_removed_while_it_is_open_harms_no_answer(world, path, name):
    """What is seen from then on is in the new file, or in what is left of the old one; nothing is damaged."""
    with world.client() as client:
        expected = asked(client)
    with world.client(path) as client:
        assert asked(client) == expected
        path.with_name(name).unlink()
        assert asked(client) == expected
        world.weavr.add("3", Life.of((0, "RUNNING")))
        client.get("w:3")
        assert [step.ref for step in client.history("w:3")] == ["w:3"]
    assert is_whole(path)


def test_a_folder_that_is_removed_while_it_is_open_harms_no_answer(world, path, caplog):
    """It is made anew, as it was at first."""
    with world.client() as client:
        expected = asked(client)
    with world.client(path) as client:
        client.get("w:1")
        shutil.rmtree(path.parent)
        assert asked(client) == expected
        world.weavr.add("3", Life.of((0, "RUNNING")))
        client.get("w:3")
        assert [step.ref for step in client.history("w:3")] == ["w:3"]
    assert warnings_of(caplog) == []
    assert is_whole(path)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700 or sys.platform == "win32"


@pytest.mark.parametrize(("column", "warned"), [("status", 1), ("gone_at", 0)])
def test_a_record_that_cannot_be_read_changes_no_answer(world, path, caplog, column, warned):
    """The file holds nonsense about one bulk; what is seen from then on is kept all the same, of that one too."""
    with world.client() as client:
        expected = asked(client)
    with world.client(path) as client:
        client.get_many(REFS)
    _execute(path, f"UPDATE bulks SET {column} = 'nonsense' WHERE id IN ('1', '{CF[2]}')")
    with world.client(path) as client:
        assert asked(client) == expected
        for id in ("1", "3"):
            world.weavr.add(id, Life.of((0, "PAUSED")))
            assert client.get(f"w:{id}").native_state == "PAUSED"
            assert client.history(f"w:{id}")[-1].to_word == "PAUSED"
    assert len(warnings_of(caplog)) == warned


# --- what cannot be written, for somebody without rights ---

AS_NOBODY = """
    import json, logging, os, sys
    logging.basicConfig(format="%(name)s %(levelname)s %(message)s")
    import msgspec
    from bulkstatus import Client
    from bulkstatus_weavr import Weavr
    url, journal = sys.argv[1:]
    adapter = Weavr(base_url=url, api_key="weavr-demo-key", auth_token="weavr-demo-token", budget=())

    def asked(journal):
        with Client({"w": adapter}, journal=journal) as client:
            yield client.get("w:1").state
            yield client.get("w:2").state
            yield [status.state for status in client.list()]
            yield list(client.wait(["w:2"], timeout=10).verdicts.values())
            yield client.get("w:1").state

    list(asked(os.path.dirname(journal) + "-of-root/journal.db"))  # all modules are loaded then: where they are, not everybody may read
    os.setgid(65534)
    os.setuid(65534)
    found = list(asked(journal))
    print(json.dumps(found), flush=True)
    os._exit(0)  # what records coverage cannot write its file as this user, and would say so
"""


@pytest.mark.row("F64", "B100")
@rooted
@pytest.mark.parametrize(
    ("file", "folder"), [(0o400, 0o500), (0o600, 0o500), (0o400, 0o700), (0o000, 0o700), (0o600, 0o000)]
)
def test_what_may_not_be_written_changes_no_answer(world, path, file, folder):
    """A user without rights hears of it in one line."""
    for one in path.parents[1:4]:
        one.chmod(one.stat().st_mode | stat.S_IXOTH)
    fill(path)
    for one in (path.parent, *path.parent.iterdir()):
        os.chown(one, 65_534, 65_534)
    path.chmod(file)
    path.parent.chmod(folder)
    with serve(world.weavr) as url:
        done = run_script(AS_NOBODY, url, str(path))
    assert done.stdout, done.stderr
    answers = ["running", "succeeded", ["succeeded", "running"], ["succeeded"], "running"]
    assert json.loads(done.stdout) == answers
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"bulkstatus WARNING the journal {path} cannot be ")


FULL = """
    import json, logging, resource, sys, time
    logging.basicConfig(format="%(name)s %(levelname)s %(message)s")
    from bulkstatus import Client, _scribe
    from bulkstatus_weavr import Weavr
    _scribe._SHORTEST_PAUSE, _scribe._LONGEST_PAUSE = 0.05, 0.2
    url, journal, begin = sys.argv[1:]
    adapter = Weavr(base_url=url, api_key="weavr-demo-key", auth_token="weavr-demo-token", budget=())
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Client({"w": adapter}, journal=journal) as client:
        if begin == "open":
            client.get("w:1")
        resource.setrlimit(resource.RLIMIT_FSIZE, (1, hard))
        found = [client.get("w:1").state, client.get("w:2").state, len(client.list())]
        found += client.wait(["w:2"], timeout=10).verdicts.values()
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        for _ in range(500):
            if len(client.history("w:1")) and len(client.history("w:2")):
                break
            time.sleep(0.02)
        found += [step.to_word for ref in ("w:1", "w:2") for step in client.history(ref)]
    print(json.dumps(found))
"""


@pytest.mark.row("F64")
@posix
@pytest.mark.parametrize("begin", ["new", "open"])
def test_a_file_that_may_not_grow_changes_no_answer(world, path, begin):
    """What was seen meanwhile is written once it may."""
    with serve(world.weavr) as url:
        done = run_script(FULL, url, str(path), begin)
    assert done.stdout, done.stderr
    answers = ["running", "succeeded", 2, "succeeded"]
    assert json.loads(done.stdout) == [*answers, "RUNNING", "COMPLETED"]
    (line,) = done.stderr.splitlines()
    assert line.startswith("bulkstatus WARNING the journal ")
    assert is_whole(path)


@pytest.fixture
def small_disk(tmp_path):
    """A disk of some kilobytes, where one can be had."""
    folder = tmp_path / "disk"
    folder.mkdir()
    try:
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=512k", "none", str(folder)],
            capture_output=True,
            check=False,
        )
    except OSError:
        pytest.skip("no mount here")
    if done.returncode:
        pytest.skip("a disk cannot be mounted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill_up(path):
    """Leave no room on a disk."""
    with path.open("wb", buffering=0) as filler, suppress(OSError):
        while True:
            filler.write(b"x" * 4_096)


@pytest.mark.row("F64")
@rooted
def test_a_full_disk_changes_no_answer(world, small_disk, caplog):
    """What was seen meanwhile is written once there is room."""
    with world.client() as client:
        expected = asked(client)
    path = small_disk / "journal.db"
    with world.client(path) as client:
        client.get("w:1")
        fill_up(small_disk / "filler")
        assert asked(client) == expected
        (said,) = warnings_of(caplog)
        assert "the disk is full" in said
        (small_disk / "filler").unlink()
        assert until(lambda: {"w:1", "w:2"} <= {step.ref for step in client.changes()})
    assert is_whole(path)
    assert len(warnings_of(caplog)) == 1


def test_what_nobody_waits_for_any_more_is_not_done(path):
    """What was cancelled before its turn came changes nothing."""
    with Journal(path) as journal:
        scribe, go_on, done = Scribe(journal, Complaints()), threading.Event(), []
        scribe.ask(lambda _: go_on.wait(10))
        cancelled = scribe.ask(done.append)
        assert cancelled.cancel()
        go_on.set()
        scribe.end().result(10)
        assert done == []


def test_of_what_cannot_be_written_only_the_latest_is_kept(path, monkeypatch):
    """A journal that stays full for days fills no memory."""
    monkeypatch.setattr("bulkstatus._scribe._MOST_UNWRITTEN", 2)

    def refuse(answers):
        raise JournalError("the disk is full", reason="full")

    with Journal(path) as journal:
        scribe = Scribe(journal, Complaints())
        with monkeypatch.context() as patched:
            patched.setattr(journal, "record", refuse)
            scribe.write([look(id=str(number)) for number in range(4)]).result(10)
        ends = time.monotonic() + 10
        while not (steps := journal.changes()) and time.monotonic() < ends:
            time.sleep(0.02)
        scribe.end().result(10)
        assert [step.ref for step in steps] == ["payments:2", "payments:3"]


def test_who_asks_sees_what_was_to_be_written_before(path):
    """Also when both come while the journal is at work."""
    with Journal(path) as journal:
        scribe, go_on = Scribe(journal, Complaints()), threading.Event()
        scribe.ask(lambda _: go_on.wait(10))
        scribe.write([look()])
        asked = scribe.ask(Journal.changes)
        scribe.write([look(id="2")])
        go_on.set()
        assert [step.ref for step in asked.result(10)] == ["payments:1"]
        scribe.end().result(10)


def test_records_that_are_written_one_by_one_are_told_as_well(path, monkeypatch):
    """One that cannot be written takes nothing from the others, nor what is known of them now."""
    with Journal(path) as journal:
        record = journal.record

        def choosy(answers):
            if any(answer.status.id == "bad" for answer in answers):
                raise ValueError("no")
            return record(answers)

        monkeypatch.setattr(journal, "record", choosy)
        scribe = Scribe(journal, Complaints())
        found = scribe.write([look(id="1"), look(id="bad"), look(id="2")]).result(10)
        scribe.end().result(10)
        assert sorted(map(str, found)) == ["payments:1", "payments:2"]
