"""The journal under several processes of the command line at once, and under faults: answers come all the same."""

import fcntl
import json
import os
import pwd
import re
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import ExitStack, closing, contextmanager, suppress
from itertools import product
from pathlib import Path
from types import SimpleNamespace

import pytest

from bulkstatus import Journal, WaitTerms
from bulkstatus.testing import Life, load_fake, serve
from journal.looks import is_whole
from support import PATIENT, STUBBORN

from .conftest import CANARIES, config_text, still

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals and locks are those of POSIX")

PROGRAM = (sys.executable, "-m", "bulkstatus.cli")


@pytest.fixture
def stage(here, environment, tmp_path, monkeypatch):
    """Fakes of this test's own, with bulks that have ended and one that goes on, and a journal for all commands."""
    del here  # which has a configuration of its own: ours comes after it
    weavr = load_fake("weavr")(api_key=CANARIES["WEAVR_API_KEY"], auth_token=CANARIES["WEAVR_AUTH_TOKEN"])
    edge = load_fake("cloudflare")(token=CANARIES["CF_TOKEN"])
    edge.add("aa", still("completed"))
    edge.add("bb", still("failed"), error="no room")
    edge.add("cc", still("running"))
    weavr.add("1", still("COMPLETED"), operations=10)
    with ExitStack() as stack:
        urls = [stack.enter_context(serve(fake)) for fake in (weavr, edge)]
        config, file = tmp_path / "stage.toml", tmp_path / "state" / "journal.db"
        text, _, _ = config_text(*urls, "").partition("[sources.crm]")
        config.write_text(text)
        usual = {"BULKSTATUS_CONFIG": str(config), "BULKSTATUS_JOURNAL": str(file)}
        for name, value in usual.items():
            monkeypatch.setenv(name, value)
        environment.update(usual)
        yield SimpleNamespace(weavr=weavr, edge=edge, config=config, file=file, environment=environment)


@pytest.fixture
def start(stage):
    """Start commands as processes; those that still run in the end are killed."""
    started = []

    def begin(*words, before=(), program=PROGRAM):
        child = subprocess.Popen(
            [*before, *program, *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=stage.environment,
        )
        started.append(child)
        return child

    yield begin
    for child in started:
        child.kill()
        child.communicate()


# --- several at once ---


REFS = [f"{source}:{number}" for source in ("edge", "payments") for number in range(100, 106)]


def begin_lives(stage):
    """Bulks that wait from now on live for some seconds, each in its own way; how each of them ends."""
    ends = {}
    for number in range(100, 106):
        at, end = 1 + (number - 100) / 4, ("completed", "failed")[number % 2]
        stage.edge.add(f"{number}", Life.of((0, "pending"), (at, "running"), (at + 2, end)))
        stage.weavr.add(f"{number}", Life.of((0, "SUBMITTED"), (at, "RUNNING"), (at + 2, "COMPLETED")))
        ends[f"edge:{number}"] = ("succeeded", "failed")[number % 2]
        ends[f"payments:{number}"] = "succeeded"
    return ends


@pytest.mark.row("F66")
def test_eight_processes_keep_each_step_once(stage, start, here):
    """Waits and watches over the same bulks, two of them killed on the way: whoever sees a step, it is there once."""
    for number in range(100, 106):
        stage.edge.add(f"{number}", still("pending"))
        stage.weavr.add(f"{number}", still("SUBMITTED"))
    waits = [start("wait", *REFS, "--pace", "eager", "-o", "json", program=PATIENT) for _ in range(4)]
    watches = [start("watch", *REFS, "--pace", "eager", "-o", "jsonl", program=PATIENT) for _ in range(4)]
    for stream in (*(child.stderr for child in waits), *(child.stdout for child in watches)):
        stream.readline()
    ends = begin_lives(stage)
    for child in (waits.pop(), watches.pop()):
        child.kill()
        child.wait()
    for child in (*waits, *watches):
        assert child.wait(timeout=50) == (3 if child in waits else 0)
        assert "journal" not in child.stderr.read()
    steps = [json.loads(line) for line in here("changes", "-o", "jsonl").out.splitlines()]
    for ref, end in ends.items():
        told = [step["to_state"] for step in steps if step["ref"] == ref]
        # What was over between two looks of all of them nobody can have seen.
        assert told in (["queued", "running", end], ["queued", end])
    assert {step["ref"] for step in steps} == set(REFS)
    assert len({step["cursor"] for step in steps}) == len(steps)
    assert not any(step["regressed"] for step in steps)
    assert is_whole(stage.file)
    with Journal(stage.file) as journal:
        assert len(journal.waits()) == 1
        assert [wait.verdicts for wait in journal.waits(open_only=False) if wait.ended_at] == [ends] * 3


def test_processes_that_make_the_file_at_the_same_time(stage, start):
    """Its folder, its schema and their own records: nobody is in another's way."""
    children = [
        start("get", "edge:aa", "edge:cc", "payments:1", "-o", "name", program=PATIENT) for _ in range(5)
    ]
    for child in children:
        out, err = child.communicate(timeout=50)
        assert (child.returncode, err) == (0, "")
        assert out.split() == ["edge:aa", "edge:cc", "payments:1"]
    with Journal(stage.file) as journal:
        assert sorted(step.ref for step in journal.all_changes()) == ["edge:aa", "edge:cc", "payments:1"]


def test_of_several_that_resume_at_once_one_goes_on(stage, start):
    """The others are told who: code 7, and nothing on stdout."""
    first = start("wait", "edge:aa", "edge:cc", "-o", "name", program=PATIENT)
    assert first.stdout.readline() == "edge:aa\n"
    first.kill()
    first.wait()
    children = [start("resume", "1", "-o", "jsonl", program=PATIENT) for _ in range(3)]
    (winner,) = (child for child in children if child.stdout.readline())
    for child in children:
        if child is not winner:
            _, err = child.communicate(timeout=50)
            assert child.returncode == 7
            # Whoever is refused just before the winner is written down is told of the one before it.
            assert re.search(rf"in the hands of another process \(\S+:({winner.pid}|{first.pid})\)", err)
    stage.edge.add("cc", still("completed"))
    winner.communicate(timeout=50)
    assert winner.returncode == 0
    with Journal(stage.file) as journal:
        assert journal.waits() == ()


# --- faults ---


def of_another_program(file):
    """A database that is not ours."""
    with closing(sqlite3.connect(file)) as db:
        db.execute("CREATE TABLE theirs (x)")


def of_a_newer_version(file):
    """A journal of a version to come."""
    with Journal(file) as journal:
        journal.stats()
    with closing(sqlite3.connect(file)) as db:
        db.execute("PRAGMA user_version = 99")


def damaged(file):
    """A journal that was written over."""
    with Journal(file) as journal:
        journal.stats()
    file.write_bytes(b"this is no database, " * 500)


def cut_short(file):
    """A journal of which the end is missing."""
    with Journal(file) as journal:
        journal.stats()
    os.truncate(file, 5_000)


def nowhere(file):
    """A link to where everything is lost."""
    file.symlink_to("/dev/null")


def writable_log(file):
    """A journal whose log anybody may have written."""
    with Journal(file) as journal:
        journal.stats()
    log = file.with_name("journal.db-wal")
    log.touch()
    log.chmod(0o666)


def writable_folder(file):
    """A journal in whose place anybody may put another."""
    with Journal(file) as journal:
        journal.stats()
    file.parent.chmod(0o777)


FAULTS = {
    "a folder": (lambda file: file.mkdir(), "is not a plain file"),
    "a FIFO": (os.mkfifo, "is not a plain file"),
    "a device": (nowhere, "is not a plain file"),
    "of another program": (of_another_program, "is a database of another program"),
    "of a newer version": (of_a_newer_version, "was written by a newer version"),
    "damaged": (damaged, "was damaged; it is kept as journal.db.corrupt-"),
    "cut short": (cut_short, "was damaged; it is kept as journal.db.corrupt-"),
}
# Where another user may have written what would be answered.
OPEN_TO_OTHERS = {
    "a log others may write": (
        writable_log,
        "has a file journal.db-wal beside it that may be written by other users",
    ),
    "a folder others may write": (writable_folder, "is in a folder where every user may replace files"),
}
COMMANDS = (
    "get edge:aa edge:bb payments:1 payments:404 -o name",
    "get edge:aa edge:bb --exit-status",
    "list -o name",
    "explain payments:1 -o name",
    "wait edge:aa edge:bb payments:1 -o name",
    "watch edge:aa edge:bb -o name",
)
GOES_ON = "wait edge:cc --timeout 1s -o csv"


def without_times(text):
    """What is shown, but for when it was seen."""
    text = re.sub(r"finished \d+\w ago", "finished", text)
    return re.sub(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[.\d]*Z?", "TIME", text)


def same_but_for_one_line(done, plain, why, file):
    """As without a journal, with the same code; stderr has one line more, which says what is wrong with it."""
    assert done.code == plain.code
    assert sorted(without_times(done.out).splitlines()) == sorted(without_times(plain.out).splitlines())
    (line,) = (line for line in done.err.splitlines() if "journal" in line and "--no-journal" not in line)
    assert line.startswith(f"bulkstatus: the journal {file} ")
    assert why in line


@pytest.fixture(scope="module")
def known_plain():
    """What commands say without a journal, each asked for once."""
    return {}


@pytest.mark.row("F65", "B100")
@pytest.mark.parametrize(
    ("fault", "command"),
    [
        *product(FAULTS, COMMANDS),
        *product(OPEN_TO_OTHERS, (COMMANDS[1], COMMANDS[4])),
        ("damaged", GOES_ON),
        ("a folder", GOES_ON),
    ],
)
def test_a_journal_that_cannot_be_used_changes_no_answer(here, stage, known_plain, fault, command):
    """One warning; what is at its place stays as it is, or is kept beside it."""
    if command not in known_plain:
        known_plain[command] = here(*shlex.split(command), "--no-journal")
    make, why = (FAULTS | OPEN_TO_OTHERS)[fault]
    stage.file.parent.mkdir()
    make(stage.file)
    before = stage.file.read_bytes() if stage.file.is_file() else None
    done = here(*shlex.split(command))
    same_but_for_one_line(done, known_plain[command], why, stage.file)
    if before is not None:
        kept = [
            path for path in stage.file.parent.iterdir() if path.is_file() and path.read_bytes() == before
        ]
        assert len(kept) == 1
        assert ("corrupt-" in kept[0].name) == ("was damaged" in why)


@pytest.mark.parametrize("words", [("--tracked",), ("--label", "a=1")])
def test_what_only_the_journal_knows_is_missing_without_it(here, stage, words):
    """Code 7, as for a source that could not be asked; nothing is sent."""
    stage.file.parent.mkdir()
    of_another_program(stage.file)
    done = here("list", *words, "-o", "json")
    document = json.loads(done.out)
    assert (done.code, document["complete"], document["statuses"]) == (7, False, [])
    assert {failure["kind"] for failure in document["failures"]} == {"journal"}
    assert stage.edge.requests == stage.weavr.requests == []


@pytest.mark.parametrize(
    "words", [("resume",), ("resume", "1"), ("resume", "--list"), ("history", "edge:aa"), ("changes",)]
)
def test_commands_about_the_journal_fail_without_it(here, stage, words):
    """Code 7 and one line: there is no other answer."""
    stage.file.parent.mkdir()
    of_a_newer_version(stage.file)
    done = here(*words)
    assert (done.code, done.out) == (7, "")
    (line,) = done.err.splitlines()
    assert line.startswith(f"bulkstatus: the journal {stage.file} was written by a newer version")


@pytest.mark.row("F65")
@pytest.mark.parametrize("fault", [damaged, cut_short])
@pytest.mark.parametrize(
    "words",
    [
        ("resume",),
        ("resume", "1"),
        ("resume", "--list"),
        ("history", "edge:aa"),
        ("changes",),
        ("journal", "stats"),
        ("journal", "export"),
        ("journal", "prune", "--older-than", "1d"),
        ("journal", "vacuum"),
    ],
)
def test_commands_about_a_damaged_journal_say_once_where_it_is_kept(here, stage, words, fault):
    """Code 7 and one line; the next command is about the new one."""
    fault(stage.file)
    before = stage.file.read_bytes()
    done = here(*words)
    (aside,) = stage.file.parent.glob("journal.db.corrupt-*Z")
    why = f"the journal {stage.file} was damaged; it is kept as {aside.name}, and a new one was begun"
    assert (done.code, done.out, done.err) == (7, "", f"bulkstatus: {why}\n")
    assert aside.read_bytes() == before
    assert here("journal", "stats").code == 0
    assert is_whole(stage.file)


@pytest.mark.parametrize("what", ["steps", "bulks"])
def test_an_export_of_a_damaged_journal_leaves_what_was_there(here, stage, tmp_path, what):
    """An empty one in its place would pass for all there is."""
    file = tmp_path / "out" / "export.jsonl"
    file.parent.mkdir()
    file.write_text("before")
    damaged(stage.file)
    done = here("journal", "export", what, "--to", file)
    assert (done.code, done.out, len(done.err.splitlines())) == (7, "", 1)
    assert file.read_text() == "before"
    assert list(file.parent.iterdir()) == [file]


@pytest.mark.row("B100")
@pytest.mark.parametrize("command", [*COMMANDS[:3], "wait edge:aa edge:bb -o name"])
def test_a_file_that_never_was_a_journal_is_left_as_it_is(here, stage, command):
    """As when somebody names the configuration for it: one warning, and the answer is that without a journal."""
    before = stage.config.read_bytes()
    plain = here(*shlex.split(command), "--no-journal")
    done = here(*shlex.split(command), "--journal", stage.config)
    same_but_for_one_line(done, plain, "is not a journal, or a damaged one", stage.config)
    assert stage.config.read_bytes() == before
    assert not list(stage.config.parent.glob("*corrupt*"))


@pytest.mark.parametrize("words", [("journal", "stats"), ("resume",), ("changes",), ("journal", "vacuum")])
def test_commands_about_what_never_was_a_journal_leave_it_as_it_is(here, stage, words):
    """Code 7 and one line."""
    before = stage.config.read_bytes()
    done = here(*words, "--journal", stage.config)
    assert (done.code, done.out) == (7, "")
    assert re.fullmatch(r"bulkstatus: the journal \S+ is not a journal, or a damaged one; .*\n", done.err)
    assert stage.config.read_bytes() == before
    assert not list(stage.config.parent.glob("*corrupt*"))


@pytest.fixture
def homeless(stage, monkeypatch):
    """A user whom the system does not know, as in a container: without a home folder."""

    def unknown(_):
        raise KeyError("getpwuid(): uid not found")

    for name in ("HOME", "BULKSTATUS_JOURNAL", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    return stage


@pytest.mark.parametrize("command", [*COMMANDS[:3], "wait edge:aa edge:bb -o name"])
def test_without_a_home_the_answers_are_given_without_a_journal(here, homeless, command):
    """One warning says how to name one; named, it is used."""
    plain = here(*shlex.split(command), "--no-journal")
    done = here(*shlex.split(command))
    # Two that end side by side may end in any order.
    told, expected = (sorted(without_times(each.out).splitlines()) for each in (done, plain))
    assert (done.code, told) == (plain.code, expected)
    (line,) = (line for line in done.err.splitlines() if "home" in line)
    assert len(done.err.splitlines()) == len(plain.err.splitlines()) + 1
    assert line.startswith(
        "bulkstatus: there is no home folder to keep the journal in; name a file with --journal"
    )
    assert line.endswith("; the answers are given without it")
    named = here(*shlex.split(command), "--journal", homeless.file)
    assert (named.code, named.err.count("home")) == (plain.code, 0)
    assert homeless.file.exists()


@pytest.mark.parametrize(
    "words", [("journal", "stats"), ("resume",), ("history", "edge:aa"), ("track", "edge:aa")]
)
@pytest.mark.usefixtures("homeless")
def test_commands_about_the_journal_of_a_user_without_a_home_are_wrong_usage(here, words):
    """Code 2 and one line: there is none before it is named."""
    done = here(*words)
    assert (done.code, done.out, len(done.err.splitlines())) == (2, "", 1)
    assert "name a file with --journal or $BULKSTATUS_JOURNAL" in done.err


@pytest.fixture
def without_rights():
    """What runs a command without the right to write where a mode forbids it, also as root."""
    if os.geteuid() != 0:
        return ()
    if shutil.which("setpriv") is None:
        pytest.skip("root writes everywhere, and there is nothing to take that from it")
    rights = "-dac_override,-dac_read_search"
    return ("setpriv", f"--bounding-set={rights}", f"--inh-caps={rights}")


@pytest.mark.row("F64", "B100")
@pytest.mark.parametrize("folder", [0o500, 0o700])
def test_a_journal_that_is_read_only(here, stage, start, without_rights, folder):
    """Its file, or its folder too: the answer is the same, and one line says so."""
    words = ("get", "edge:aa", "edge:bb", "--exit-status", "-o", "name")
    assert here("get", "edge:cc").code == 0
    plain = here(*words, "--no-journal")
    stage.file.chmod(0o400)
    stage.file.parent.chmod(folder)
    child = start(*words, before=without_rights)
    out, err = child.communicate(timeout=50)
    stage.file.parent.chmod(0o700)
    done = SimpleNamespace(code=child.returncode, out=out, err=err)
    same_but_for_one_line(done, plain, "read-only" if folder == 0o700 else "", stage.file)


@pytest.mark.row("F64")
@pytest.mark.parametrize(("blocks", "command"), [(0, GOES_ON), (20, COMMANDS[1])])
def test_a_journal_that_can_grow_no_more(here, stage, start, blocks, command):
    """As on a full disk: from its first page on, or later."""
    plain = here(*shlex.split(command), "--no-journal")
    script = f'ulimit -f {blocks}; exec "$@"'
    child = start(*shlex.split(command), before=("bash", "-c", script, "bash"))
    out, err = child.communicate(timeout=50)
    same_but_for_one_line(SimpleNamespace(code=child.returncode, out=out, err=err), plain, "", stage.file)
    if stage.file.exists() and stage.file.stat().st_size:
        assert is_whole(stage.file)


HOLDER = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
for statement in sys.argv[2:]:
    db.execute(statement).fetchall()
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def holding(stage, *statements):
    """A process that keeps the journal, and does not come to an end."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(stage.file), *statements],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        try:
            assert holder.stdout.readline() == "held\n"
            yield holder
        finally:
            holder.kill()


@pytest.fixture
def locked(stage, here):
    """A process that has begun to write into the journal."""
    assert here("get", "edge:cc").code == 0
    with holding(stage, "BEGIN IMMEDIATE") as holder:
        yield holder


@pytest.fixture
def kept_for_one(stage):
    """A process that lets nobody read the journal either; a wait in it was left behind."""
    with Journal(stage.file) as journal:
        journal.begin_wait(["edge:cc"], WaitTerms()).leave()
    with holding(stage, "PRAGMA locking_mode = EXCLUSIVE", "BEGIN EXCLUSIVE") as holder:
        yield holder


@pytest.mark.row("F64")
def test_a_journal_that_is_locked(here, stage, locked, start):
    """For longer than anybody waits for it: one warning, and the same code."""
    words = {
        "get": ("get", "edge:aa", "edge:bb", "--exit-status", "-o", "name"),
        "wait": ("wait", "edge:aa", "edge:bb", "-o", "name"),
    }
    children = {name: start(*line) for name, line in words.items()}
    for name, child in children.items():
        out, err = child.communicate(timeout=50)
        done = SimpleNamespace(code=child.returncode, out=out, err=err)
        plain = here(*words[name], "--no-journal")
        same_but_for_one_line(done, plain, "is locked by another process for more than 5 s", stage.file)


@pytest.mark.row("F60")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_locked_journal_holds_up_no_signal(stage, locked, start, number):
    """The command ends while the other process still writes."""
    child = start("get", "edge:aa", "-o", "name")
    assert child.stdout.readline() == "edge:aa\n"
    child.send_signal(number)
    out, err = child.communicate(timeout=50)
    assert locked.poll() is None
    assert (child.returncode, out, err) == ({signal.SIGINT: 130, signal.SIGTERM: 143}[number], "", "")


def has_open(child, file):
    """True while a process has a file open."""
    with suppress(OSError):
        return any(link.readlink() == file for link in Path(f"/proc/{child.pid}/fd").iterdir())
    return False


LOCKED_OUT = (
    "journal prune --older-than 1d",
    "journal vacuum",
    "journal stats",
    "journal export",
    "history edge:cc",
    "changes",
    "resume",
    "resume --list",
    "track edge:cc",
    "get edge:aa",
    "list",
)


@pytest.mark.row("F60")
@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="what a process has open is told by Linux")
def test_an_interrupt_waits_for_no_lock(stage, kept_for_one, start):
    """Each command is stopped while it waits for the journal: it ends by that, and not because its patience does."""
    for four in (LOCKED_OUT[:4], LOCKED_OUT[4:8], LOCKED_OUT[8:]):
        children = {command: start(*command.split(), program=STUBBORN) for command in four}
        for command, child in children.items():
            while not has_open(child, stage.file):
                assert child.poll() is None, command
                time.sleep(0.01)
            child.send_signal(signal.SIGINT)
            _, err = child.communicate(timeout=50)  # of the 600 s that it would wait for the lock
            assert (child.returncode, "Traceback" in err) == (130, False), command
    assert kept_for_one.poll() is None


def test_a_journal_that_is_free_again_has_all(stage, locked, start):
    """What was seen while it was locked is kept as soon as that can be."""
    child = start("watch", "edge:aa", "edge:cc", "-o", "name")
    assert child.stdout.readline() == "edge:aa\n"
    locked.stdin.close()
    child.send_signal(signal.SIGINT)
    child.communicate(timeout=50)
    again = start("wait", "edge:aa", "edge:bb", "-o", "name")
    _, err = again.communicate(timeout=50)
    assert (again.returncode, "journal" in err) == (3, False)
    with Journal(stage.file) as journal:
        assert {bulk.ref for bulk in journal.all_bulks()} == {"edge:aa", "edge:bb", "edge:cc"}


def test_the_opening_of_a_journal_that_another_makes(stage, start):
    """Whoever holds the lock of its making holds up no answer, and no interrupt."""
    stage.file.parent.mkdir(mode=0o700)
    with stage.file.with_name("journal.db.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        child = start("get", "edge:aa", "-o", "name")
        assert child.stdout.readline() == "edge:aa\n"
        child.send_signal(signal.SIGINT)
        assert child.wait(timeout=20) == 130
