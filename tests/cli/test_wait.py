"""`wait` and `watch`: exit codes, every form of output, time-outs, signals and terminals."""

import csv
import io
import json
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import jsonschema
import pyte
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bulkstatus
from bulkstatus import BulkStatus, BulkView, Change, Counts, Failure, SourceView, State, Verdict, WatchView
from bulkstatus.cli import _ending, _text, _wait
from bulkstatus.cli._app import app
from bulkstatus.cli._text import STDIN
from bulkstatus.testing import Fault, Life, load_fake, serve

from .conftest import CANARIES, config_text, still
from .test_process import forking, look

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
CLOSED = "http://127.0.0.1:9"  # the discard port: nobody listens


def valid(document, kind):
    """Check a document against the published schema."""
    schema = bulkstatus.json_schema()
    jsonschema.validate(document, {"$ref": f"#/$defs/{kind}", "$defs": schema["$defs"]})


@pytest.fixture
def stage(tmp_path):
    """Fakes of this test's own, born when it begins, and a configuration that names them."""
    weavr = load_fake("weavr")(api_key=CANARIES["WEAVR_API_KEY"], auth_token=CANARIES["WEAVR_AUTH_TOKEN"])
    edge = load_fake("cloudflare")(token=CANARIES["CF_TOKEN"])
    crm = load_fake("druid")(client_id=CANARIES["DRUID_ID"], client_secret=CANARIES["DRUID_SECRET"])
    with ExitStack() as stack:
        urls = [stack.enter_context(serve(fake)) for fake in (weavr, edge, crm)]
        config = tmp_path / "stage.toml"
        config.write_text(config_text(*urls))
        yield SimpleNamespace(weavr=weavr, edge=edge, crm=crm, config=config)


def command_in(text):
    """The command line that a message names."""
    (line,) = (line for line in text.splitlines() if line.startswith("  bulkstatus "))
    return shlex.split(line)


# --- exit codes ---


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["payments:1", "edge:aa11"], 0),
        (["payments:2"], 6),
        (["payments:3"], 3),
        (["payments:1", "payments:2", "edge:bb22"], 3),
        (["payments:404", "--timeout", "1s"], 7),  # it may be new
        (["payments:4", "--timeout", "1s"], 8),
        (["payments:5", "--stop-when-blocked"], 9),
        (["payments:8", "payments:1", "--stop-when-blocked"], 9),
        (["payments:4", "payments:1", "--until", "any"], 0),
        (["payments:4", "payments:3", "--until", "first-failure"], 3),
    ],
)
def test_wait_exits_by_verdict(here, words, code):
    """Without being asked to; a bulk that goes on does not count once `any` has what it waited for."""
    assert here("wait", *words).code == code


def test_credentials_that_are_refused_end_the_wait_at_once(here, monkeypatch):
    """Nobody waits for what asking again would not change; the code is that of credentials."""
    monkeypatch.setenv("CF_TOKEN", "wrong")
    done = here("wait", "edge:aa11", "payments:1")
    assert done.code == 4
    assert "edge (cloudflare): cannot ask" in done.err
    assert "bulkstatus sources" in done.err
    assert len(done.err.splitlines()) == 1
    assert "edge:aa11  blind" in done.out


def test_a_source_that_never_answers_leaves_one_blind(here, tmp_path):
    """After --blind-after, whatever the time-out."""
    config = tmp_path / "b.toml"
    config.write_text(config_text(CLOSED, CLOSED, CLOSED))
    done = here("wait", "edge:aa11", "--blind-after", "1s", "--timeout", "30s", "--config", config)
    assert done.code == 7
    assert done.out.splitlines()[-1] == "1 bulk: 1 blind"
    assert "edge (cloudflare): cannot ask" in done.err


@pytest.mark.parametrize(
    "words",
    [
        ["payments:1", "--timeout", "soon"],
        ["payments:1", "--blind-after", "0"],
        ["payments:1", "--until", "first_failure"],
        ["payments:1", "--pace", "fast"],
        ["nothing"],
        ["nobody:1"],
        ["payments:1", "--source", "nobody"],
        ["payments:1", "--source", "edge"],
        [],
    ],
)
def test_what_cannot_be_asked_is_wrong_usage(here, words):
    """Code 2, with nothing on stdout."""
    done = here("wait", *words)
    assert (done.code, done.out) == (2, "")
    assert done.err


def test_no_reference_on_stdin_is_not_every_bulk(here, monkeypatch):
    """An empty pipe into `watch -` must not turn into a watch of everything."""
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"\n"), isatty=lambda: False))
    done = here("watch", "-")
    assert (done.code, done.out) == (2, "")
    assert "no references" in done.err


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["edge:bb22", "payments:2"], 0),
        (["edge:bb22", "payments:2", "--exit-status"], 3),
        (["payments:2", "--exit-status"], 6),
        (["payments:4", "--timeout", "1s"], 0),
        (["payments:4", "--timeout", "1s", "--exit-status"], 8),
        (["payments:404", "payments:1", "--timeout", "1s"], 7),
        (["payments:8", "--stop-when-blocked"], 0),
    ],
)
def test_watch_exits_by_verdict_only_when_asked(here, words, code):
    """Unless a bulk was not there or could not be seen."""
    assert here("watch", *words).code == code


# What a watch says of a word that nobody knows, if its provider answers before the time is over.
STRANGE = r"bulkstatus: payments:6: unknown: the word 'EVIL\x1b[31m\u202eword' does not tell how it stands"


def test_watch_without_references_follows_what_is_unfinished(here):
    """Of all sources that have a list; what has ended already is not in it."""
    done = here("watch", "--source", "payments", "--timeout", "2s")
    assert done.code == 0
    told = {line.split()[1] for line in done.out.splitlines()[:-1]}
    assert {"payments:4", "payments:5", "payments:8"} <= told
    assert not told & {"payments:1", "payments:2", "payments:3", "payments:7"}
    assert re.fullmatch(r"\d bulks: \d pending \(\d wait for somebody\)", done.out.splitlines()[-1])
    assert set(done.err.splitlines()) <= {STRANGE}
    assert here("watch", "--source", "edge", "--timeout", "2s", "--no-journal").code == 2


def test_watch_says_which_sources_it_cannot_follow(here):
    """Those whose providers have no list; their bulks have to be named."""
    done = here("watch", "--timeout", "1s")
    assert done.code == 0
    (line,) = (line for line in done.err.splitlines() if line != STRANGE)
    assert line.startswith("edge (cloudflare): not watched: ")
    assert "bulkstatus watch edge:ID" in line


def test_a_watch_of_everything_that_saw_nothing_is_no_success(here, monkeypatch):
    """Nobody knows what bulks a source has that did not answer."""
    monkeypatch.setenv("WEAVR_AUTH_TOKEN", "wrong")
    done = here("watch", "--source", "payments", "--timeout", "1s")
    assert (done.code, done.out) == (4, "0 bulks\n")
    assert "payments (weavr): cannot ask" in done.err


# --- forms of output ---


def test_each_step_is_a_line(here, stage):
    """From the first sight to the end, on stdout, and one line for all at the end; nothing on stderr."""
    stage.edge.add("ab", Life.of((0, "pending"), (1.5, "running"), (3.5, "completed")))
    done = here("wait", "edge:ab", "--pace", "eager", "--config", stage.config)
    assert (done.code, done.err) == (0, "")
    *steps, last = done.out.splitlines()
    clock = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
    expected = ("new -> queued  pending", "queued -> running  running", "running -> succeeded  completed")
    assert len(steps) == len(expected)
    for line, step in zip(steps, expected, strict=True):
        assert re.fullmatch(f"{clock}  edge:ab  {re.escape(step)}", line)
    assert last == "1 bulk: 1 succeeded"


def test_progress_alone_is_no_line(here, stage):
    """Off a terminal; as JSON it is one."""
    stage.weavr.add("1", Life.of((0, "RUNNING"), (3, "COMPLETED")), operations=500)
    done = here("wait", "payments:1", "--config", stage.config, "--pace", "eager")
    assert [line.split()[2:5] for line in done.out.splitlines()[:-1]] == [
        ["new", "->", "running"],
        ["running", "->", "succeeded"],
    ]
    stage.weavr.add("2", Life.of((0, "RUNNING"), (3, "COMPLETED")), operations=500)
    done = here("watch", "payments:2", "--config", stage.config, "--pace", "eager", "-o", "jsonl")
    kinds = [json.loads(line).get("kind") for line in done.out.splitlines()]
    assert "progress" in kinds


def test_a_wait_as_json_is_one_document(here):
    """The results in the order asked for, and the exit code; the steps go to stderr."""
    done = here("wait", "payments:2", "edge:aa11", "payments:4", "--timeout", "2s", "-o", "json")
    document = json.loads(done.out)
    valid(document, "OutcomeWithExitCode")
    assert document["exit_code"] == done.code == 6
    assert [(result["ref"], result["verdict"]) for result in document["results"]] == [
        ("payments:2", "partial"),
        ("edge:aa11", "succeeded"),
        ("payments:4", "pending"),
    ]
    assert "payments:2  new -> partial" in done.err


def test_a_wait_as_json_lines_is_a_stream(here, stage):
    """A line that tells the version, a change a line, and the end."""
    stage.edge.add("ab", Life.of((0, "pending"), (2, "completed")))
    stage.edge.add("cd", still("failed"), error="no room")
    done = here("wait", "edge:ab", "edge:cd", "-o", "jsonl", "--pace", "eager", "--config", stage.config)
    first, *changes, last = map(json.loads, done.out.splitlines())
    valid(first, "ChangesHead")
    valid(last, "ChangesEnd")
    assert last == {"summary": {"succeeded": 1, "failed": 1}, "exit_code": 3}
    for change in changes:
        valid(change, "Change")
        valid(change["status"], "BulkStatus")
    steps = [(change["ref"], change["status"]["state"], change["verdict"]) for change in changes]
    assert [step for step in steps if step[0] == "edge:ab"] == [
        ("edge:ab", "queued", None),
        ("edge:ab", "succeeded", "succeeded"),
    ]
    assert ("edge:cd", "failed", "failed") in steps
    why = f"bulkstatus: to see why: bulkstatus explain edge:cd --config {stage.config}\n"
    assert (done.code, done.err) == (3, why)


def test_a_wait_as_csv_is_a_table(here):
    """A row for each bulk, also for one that nobody knows."""
    done = here("wait", "payments:2", "payments:404", "edge:bb22", "-o", "csv", "--timeout", "2s")
    rows = list(csv.DictReader(io.StringIO(done.out)))
    assert list(rows[0])[:5] == ["ref", "verdict", "state", "provisional", "native_state"]
    assert [(row["ref"], row["verdict"], row["state"]) for row in rows] == [
        ("payments:2", "partial", "partial"),
        ("payments:404", "blind", ""),
        ("edge:bb22", "failed", "failed"),
    ]
    assert rows[0]["total"] == "250"
    assert rows[1]["failure"]
    assert rows[2]["error"] == "list is full\\x1b[2J"


def test_a_wait_as_names_gives_those_that_have_ended(here):
    """For the next command; those that go on, or are not there, are not among them."""
    done = here(
        "wait", "payments:4", "payments:3", "payments:404", "edge:aa11", "-o", "name", "--timeout", "2s"
    )
    assert sorted(done.out.splitlines()) == ["edge:aa11", "payments:3"]


@pytest.mark.parametrize("form", ["table", "json", "jsonl", "csv", "name"])
def test_a_hostile_word_stays_text(here, form):
    """In every form, on both streams."""
    done = here("wait", "payments:6", "edge:bb22", "--timeout", "1s", "-o", form)
    for said in (done.out, done.err):
        assert "\x1b" not in said
        assert "\u202e" not in said


def test_references_come_from_stdin(run):
    """As a process: all of them, each once."""
    done = run("wait", "-", "-o", "name", stdin="edge:aa11\npayments:1\nedge:aa11\n")
    assert done.code == 0
    assert sorted(done.out.split()) == ["edge:aa11", "payments:1"]


def test_a_wait_of_one_source_leaves_the_others_out(here):
    """And says so."""
    done = here("wait", "payments:1", "edge:aa11", "--source", "edge", "-o", "name")
    assert done.out == "edge:aa11\n"
    assert "1 of 2 references" in done.err


def test_a_long_silence_is_broken(here, monkeypatch):
    """On stderr: how far it is, and when it looks next."""
    monkeypatch.setattr(_wait, "HEARTBEAT", 0.5)
    done = here("wait", "payments:4", "payments:1", "--timeout", "3s")
    assert re.search(r"^bulkstatus: still waiting: 1 of 2 ended; next look in \d+ s$", done.err, re.MULTILINE)
    assert "still waiting" not in done.out


def test_a_source_that_is_off_and_comes_back(here, stage):
    """A line on stderr for each, and the wait goes on to its end."""
    stage.edge.add("ab", Life.of((0, "running"), (3, "completed")))
    outage = Fault(status=503, times=None)
    timers = [threading.Timer(0.5, stage.edge.fail, [outage]), threading.Timer(8.0, stage.edge.heal)]
    for timer in timers:
        timer.start()
    done = here("wait", "edge:ab", "--pace", "eager", "--config", stage.config)
    for timer in timers:
        timer.join()
    assert done.code == 0
    off, on = done.err.splitlines()
    assert off.startswith("edge (cloudflare): cannot ask: ")
    assert on == "edge (cloudflare): can be asked again"
    assert done.out.splitlines()[-1] == "1 bulk: 1 succeeded"


def test_a_pause_longer_than_the_time_out_is_told(here, stage):
    """The bulk is pending, and it is said why."""
    stage.edge.add("ab", still("running"))
    stage.edge.fail(Fault(status=429, headers={"Retry-After": "600"}, times=None))
    done = here("wait", "edge:ab", "--timeout", "4s", "--config", stage.config)
    assert done.code == 8
    assert "edge (cloudflare): cannot ask" in done.err
    assert "try again in" in done.err


# --- going on ---


def test_the_command_that_goes_on_does(here, stage):
    """It names the bulks that were left, with the same options; run, it waits for their end."""
    stage.edge.add("ab", still("completed"))
    stage.edge.add("cd", Life.of((0, "running"), (4, "completed")))
    options = ("--timeout", "2s", "--config", stage.config, "--pace", "eager", "--no-journal")
    done = here("wait", "edge:ab", "edge:cd", *options)
    assert done.code == 8
    assert "1 of 2 are not known to have ended within 2s" in done.err
    program, *words = command_in(done.err)
    assert program == "bulkstatus"
    assert words[:2] == ["wait", "edge:cd"]
    assert {"--timeout", "2s", "--pace", "eager", "--no-journal", str(stage.config)} <= set(words)
    deadline = time.monotonic() + 20
    while (again := here(*words)).code == 8 and time.monotonic() < deadline:
        assert command_in(again.err)[1:] == words
    assert (again.code, again.err) == (0, "")


def test_all_that_are_left_are_named_again(here, stage, monkeypatch):
    """However many came from stdin, which cannot be read again."""
    refs = [f"payments:{number}" for number in range(1, 102)]
    for ref in refs:
        stage.weavr.add(ref.partition(":")[2], still("RUNNING"), operations=2)
    data = io.BytesIO("\n".join(refs).encode())
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=data, isatty=lambda: False))
    done = here("wait", "-", "--timeout", "2s", "--config", stage.config, "--no-journal")
    assert done.code == 8
    again = command_in(done.err)
    assert again[:2] + again[2 + len(refs) :] == [
        "bulkstatus",
        "wait",
        "--timeout",
        "2s",
        "--config",
        str(stage.config),
        "--no-journal",
    ]
    assert again[2 : 2 + len(refs)] == refs
    assert done.out.splitlines()[-1] == "101 bulks: 101 pending"


@pytest.mark.parametrize("length", [100_000, 100_001])
def test_a_command_too_long_to_type_is_not_printed(capsys, length):
    """How to list what is left, and what to pipe it to, is said in one line."""
    command = "bulkstatus wait ".ljust(length, "x")
    _ending.tell_how_to_go_on(command, "bulkstatus wait - --until any")
    said = capsys.readouterr().err
    if length == 100_000:
        assert said == f"  {command}\n"
    else:
        assert said.count("\n") == 1
        assert "-o name', and pipe it to 'bulkstatus wait - --until any'" in said


words = st.text(st.characters(codec="ascii", categories=("L", "N", "P", "S", "Z")), min_size=1, max_size=12)


@given(
    refs=st.lists(words.map(lambda text: f"a:{text}"), min_size=1, max_size=3, unique=True),
    config=st.none() | words.filter(lambda text: not text.startswith("-")).map(Path),
    timeout=st.none() | st.sampled_from(["90", "3m", "1h30m"]),
    until=st.sampled_from(["all", "any", "first-failure"]),
    blind_after=st.sampled_from(["10m", "30s"]),
    pace=st.sampled_from(["default", "eager", "frugal"]),
    output=st.sampled_from(["table", "json", "jsonl", "csv", "name"]),
    flags=st.tuples(st.booleans(), st.booleans(), st.booleans()),
    command=st.sampled_from(["wait", "watch"]),
)
def test_the_command_that_goes_on_asks_the_same(refs, command, flags, **options):
    """Read by a shell and by the command line, it has every option it was made from."""
    blocked, verbose, by_verdict = flags
    if command == "watch":
        options["until"] = "all"
    else:
        by_verdict = True
    asked = _wait.Asked(
        command=command,
        refs=(STDIN,),
        source=(),
        stop_when_blocked=blocked,
        by_verdict=by_verdict,
        verbose=verbose,
        **options,
    )
    program, *tokens = shlex.split(asked.again(refs))
    function, bound, _ = app.parse_args(tokens, exit_on_error=False, print_error=False)
    bound.apply_defaults()
    read = bound.arguments
    assert (program, function.__name__) == ("bulkstatus", command)
    assert tuple(read["refs"]) == tuple(refs)
    assert (read["stop_when_blocked"], read["verbose"]) == (blocked, verbose)
    assert read.get("exit_status", True) == by_verdict
    for name, value in options.items():
        assert read.get(name, "all") == value


# --- signals ---


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_leaves_the_last_known_states(process, number, code):
    """A line for each bulk that goes on, the summary on stdout, and the command that goes on."""
    child = process("wait", "payments:4", "payments:5", "payments:1")
    for _ in range(3):
        assert " new -> " in child.stdout.readline()
    child.send_signal(number)
    out, err = child.communicate(timeout=50)
    assert child.returncode == code
    assert out.splitlines() == ["3 bulks: 1 succeeded, 2 pending (1 waits for somebody)"]
    assert err.splitlines()[:2] == ["payments:4  running  RUNNING  ?/100", "payments:5  paused  PAUSED  ?/7"]
    assert command_in(err) == ["bulkstatus", "resume", "1"]


def test_a_signal_shows_twenty_and_says_how_many_more(process, stage):
    """Nobody reads a thousand lines."""
    refs = [f"payments:{number}" for number in range(1, 31)]
    for ref in refs:
        stage.weavr.add(ref.partition(":")[2], still("RUNNING"), operations=2)
    child = process("wait", *refs, "--config", stage.config)
    for _ in refs:
        assert " new -> running" in child.stdout.readline()
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=50)
    lines = err.splitlines()
    assert sum(line.startswith("payments:") for line in lines) == 20
    assert lines[20] == "bulkstatus: and 10 more"


def test_a_signal_does_not_wait_for_a_provider(process, stage):
    """A question that hangs is left alone; the bulk was not seen."""
    stage.edge.add("ab", still("running"))
    stage.edge.fail(Fault(delay=30.0, times=None))
    stage.weavr.add("1", still("RUNNING"))
    child = process("wait", "payments:1", "edge:ab", "--config", stage.config)
    assert "payments:1" in child.stdout.readline()
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=15)  # far less than the 20 s that a request may take
    assert child.returncode == 130
    assert "edge:ab  not seen" in err.splitlines()


@pytest.mark.parametrize(("form", "kind"), [("json", "OutcomeWithExitCode"), ("jsonl", "ChangesEnd")])
def test_a_signal_ends_json_properly(process, form, kind):
    """What is known is written, with the exit code."""
    child = process("wait", "payments:4", "-o", form)
    stream = child.stdout if form == "jsonl" else child.stderr
    while "payments:4" not in stream.readline():
        pass
    child.send_signal(signal.SIGINT)
    out, _ = child.communicate(timeout=50)
    document = json.loads(out if form == "json" else out.splitlines()[-1])
    valid(document, kind)
    assert document["exit_code"] == child.returncode == 130


def test_a_reader_that_goes_away_ends_a_watch(environment):
    """Code 141, without a word."""
    script = (
        f"{sys.executable} -m bulkstatus.cli watch payments:1 payments:2 payments:3 -o jsonl | head -1; "
        "echo ${PIPESTATUS[0]}"
    )
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, env=environment, timeout=50, check=False
    )
    assert done.stderr == ""
    assert done.stdout.splitlines()[1] == "141"


# --- terminals ---


@forking
@pytest.mark.parametrize("columns", [80, 200])
def test_a_terminal_shows_a_watch(program, environment, columns):
    """Every bulk, every source with what is left, and the whole; the last picture stays."""
    refs = ["payments:2", "payments:4", "payments:6", "edge:bb22", "edge:aa11"]
    display, raw, code = look(program, ["wait", *refs, "--timeout", "3s"], environment, columns=columns)
    assert code == 3
    assert display[0].split()[:4] == ["ref", "state", "progress", "word"]
    rows = {line.split()[0]: line for line in display[1 : 1 + len(refs)]}
    assert list(rows) == refs
    assert "\u2501" in rows["payments:2"]
    assert "250/250" in rows["payments:2"]
    assert "list is full" in rows["edge:bb22"] or columns == 80
    assert re.match(r"payments \(weavr\): ok; \d+ of 100 in 60 s left", display[6])
    assert display[7].startswith("edge (cloudflare): ok")
    assert display[8].startswith("5 bulks: 1 succeeded, 1 partial, 1 failed, 2 pending; took ")
    assert all(len(line) <= columns for line in display)
    assert "\u202e" not in raw
    assert "\x1b[31mword" not in raw
    assert "EVIL\\x1b" in rows["payments:6"]


@forking
def test_no_progress_is_invented(program, environment, stage):
    """Where a provider counts nothing there is no bar, and no end is foretold."""
    stage.edge.add("ab", still("running"))
    stage.crm.add("d-1", still("processing"))
    display, raw, code = look(
        program,
        ["wait", "edge:ab", "crm:d-1", "--timeout", "3s", "--config", str(stage.config)],
        environment,
        columns=120,
    )
    assert code == 8
    assert [line.split()[:3] for line in display[1:3]] == [
        ["edge:ab", "running", "running"],
        ["crm:d-1", "running", "processing"],
    ]
    assert not set("\u2501\u2500") & set(raw)
    assert "~" not in raw


@forking
def test_an_interrupted_wait_leaves_the_terminal_whole(program, environment):
    """Code 130, the last picture, the cursor back (`look` checks it), and the command that goes on."""
    display, raw, code = look(
        program,
        ["wait", "payments:4", "payments:1"],
        environment,
        columns=100,
        until="1 of 2 ended",
        act=lambda child: child.sendintr(),
    )
    assert code == 130
    assert raw.count("\x1b[?25l") == raw.count("\x1b[?25h") == 1
    assert display[1].split()[:2] == ["payments:4", "running"]
    assert display[2].split()[:2] == ["payments:1", "succeeded"]
    assert display[4].startswith("2 bulks: 1 succeeded, 1 pending")
    assert display[5:7] == ["bulkstatus: to go on:", "  bulkstatus resume 1"]


@forking
def test_more_bulks_than_rows_do_not_scroll(program, environment, stage):
    """What went wrong is on top; how many are not shown is said."""
    for number in range(1, 61):
        word = "FAILED" if number == 57 else "PAUSED" if number == 58 else "RUNNING"
        stage.weavr.add(str(number), still(word), operations=9)
    refs = [f"payments:{number}" for number in range(1, 61)]
    seen = []

    def act(child):
        seen.append(child)
        child.sendintr()

    display, raw, code = look(
        program,
        ["wait", *refs, "--config", str(stage.config)],
        environment,
        columns=80,
        rows=20,
        until="1 of 60 ended",
        act=act,
    )
    assert (code, len(seen)) == (130, 1)
    assert any("to go on" in line for line in display)
    before = raw.partition("\x1b[?25h")[0]
    screen = pyte.HistoryScreen(80, 20)
    pyte.Stream(screen).feed(before)
    lines = [line.rstrip() for line in screen.display]
    assert not screen.history.top
    assert {line.split()[0] for line in lines[1:3]} == {"payments:57", "payments:58"}
    assert lines[-4].startswith("and ")
    assert lines[-4].endswith(" more that are not shown")
    hidden = int(lines[-4].split()[1])
    assert hidden + sum(line.startswith("payments:") for line in lines) == 60


@forking
def test_a_log_of_requests_is_no_picture(program, environment):
    """They would write over each other: with -v it is lines on a terminal too."""
    display, raw, code = look(program, ["wait", "edge:aa11", "-v"], environment, columns=160)
    assert code == 0
    assert "new -> succeeded" in raw
    assert "\x1b[?25l" not in raw
    assert any("HTTP Request: GET" in line for line in display)


# --- what is drawn, without a terminal ---


def bulk(**more):
    """A bulk of a watch that runs and was just seen, with other fields as given."""
    status = BulkStatus(
        source="p", provider="weavr", id="1", state=State.RUNNING, native_state="RUNNING", observed_at=NOW
    )
    fields = dict.fromkeys(("verdict", "stale_since", "failure", "next_look", "expected_end"))
    known = more.get("status", status)
    counts = None if known is None else known.counts
    return BulkView(**{"ref": "p:1", "status": status, "counts": counts, **fields, **more})


def counted(done, total=100):
    """A running bulk of which so many operations are done, and which is to end in 200 seconds."""
    status = bulk().status
    status = BulkStatus(
        source="p",
        provider="weavr",
        id="1",
        state=status.state,
        observed_at=NOW,
        counts=Counts(total=total, succeeded=done),
    )
    return bulk(status=status, expected_end=NOW + timedelta(seconds=200))


def drawn(*bulks, sources=(), width=160, height=30):
    """The lines of a picture."""
    from rich.console import Console

    from bulkstatus.cli._picture import Picture

    screen = Console(file=io.StringIO(), width=width, height=height, color_system=None)
    view = WatchView(bulks=bulks, sources=sources, observed_at=NOW)
    lines = Picture(screen)._lines(view, "headline")
    return ["".join(segment.text for segment in line).rstrip() for line in lines]


def source(**more):
    """A source of a watch that answers and keeps no limit."""
    fields = dict.fromkeys(("down_since", "failure", "resumes_at", "next_question"))
    return SourceView(**{"source": "p", "provider": "weavr", "budget": (), **fields, **more})


def failed(kind, message="it broke"):
    """Why a source or bulk could not be asked."""
    return Failure(source="p", provider="weavr", kind=kind, message=message, retryable=True)


@pytest.mark.parametrize(("done", "shown"), [(4, ""), (5, "~3m"), (60, "~3m")])
def test_an_end_is_foretold_once_enough_is_done(done, shown):
    """From 5 % on."""
    from bulkstatus.cli._picture import eta

    assert eta(counted(done), NOW) == shown
    assert eta(bulk(expected_end=NOW), NOW) == ""


def test_a_bulk_that_could_not_be_looked_at_keeps_its_last_state_with_a_mark():
    """And says since when, on every screen."""
    stale = bulk(stale_since=NOW - timedelta(minutes=2), failure=failed("unavailable"))
    for width in (50, 80, 160):
        assert "running ! stale 2m" in drawn(stale, width=width)[1]
    assert "it broke" in drawn(stale)[1]


@pytest.mark.parametrize(
    ("more", "shown"),
    [
        ({"status": None}, "not seen"),
        ({"status": None, "verdict": Verdict.NOT_FOUND}, "not found"),
        ({"status": None, "verdict": Verdict.BLIND}, "not seen ! blind"),
        ({"verdict": Verdict.GONE}, "running ! gone"),
        ({"verdict": Verdict.BLOCKED}, "running ! blocked"),
        ({"verdict": Verdict.PENDING}, "running"),
    ],
)
def test_a_verdict_that_is_no_end_stands_beside_the_state(more, shown):
    """The state alone would look as if it still went on."""
    row = drawn(bulk(**more), width=40)[1]
    assert row.removeprefix("p:1").removesuffix("now").strip().removesuffix("RUNNING").strip() == shown


@pytest.mark.parametrize(
    ("more", "shown"),
    [
        ({}, "ok"),
        (
            {"down_since": NOW - timedelta(seconds=40), "failure": failed("unavailable")},
            "not answering for 40s: it broke",
        ),
        (
            {"down_since": NOW - timedelta(seconds=80), "failure": failed("auth", "no\x1b[2J")},
            "cannot be asked for 1m20s: no\\x1b[2J",
        ),
        ({"resumes_at": NOW + timedelta(seconds=29.5)}, "paused for 30s"),
        (
            {
                "budget": (
                    bulkstatus.Allowance(requests=1_000, seconds=3_600, left=900),
                    bulkstatus.Allowance(requests=100, seconds=60, left=87),
                )
            },
            "ok; 87 of 100 in 60 s left",
        ),
    ],
)
def test_a_source_has_a_line(more, shown):
    """How it is, and what is left of the limit that is nearest to its end."""
    assert drawn(bulk(), sources=(source(**more),))[-2] == f"p (weavr): {shown}"


def test_the_next_look_is_told():
    """In seconds, until there is none."""
    from bulkstatus.cli._picture import next_look

    assert next_look(bulk(next_look=NOW + timedelta(seconds=4.5)), None, NOW) == "4s"
    assert next_look(bulk(), None, NOW) == "now"
    assert next_look(bulk(verdict=Verdict.FAILED), None, NOW) == ""


@given(
    height=st.integers(8, 40),
    width=st.integers(30, 220),
    states=st.lists(st.sampled_from(list(State)), max_size=60),
    sources=st.integers(1, 12),
    long=st.booleans(),
)
def test_a_picture_is_never_larger_than_the_screen(height, width, states, sources, long):
    """However many bulks and sources; every bulk is shown or counted, and bad ones before others."""
    name = "p:" + ("x" * 60 if long else "")
    bulks = [
        bulk(
            ref=f"{name}{number}",
            status=BulkStatus(source="p", provider="weavr", id="1", state=state, observed_at=NOW),
        )
        for number, state in enumerate(states)
    ]
    lines = drawn(*bulks, sources=tuple(source() for _ in range(sources)), width=width, height=height)
    assert len(lines) < height
    assert all(len(line) <= width for line in lines)
    assert lines[-1] == "headline"
    if not long and width > 60:
        shown = sum(line.startswith("p:") for line in lines)
        hidden = [int(line.split()[1]) for line in lines if line.endswith("not shown")]
        assert shown + sum(hidden) == len(bulks)


def test_an_interrupt_does_not_come_between():
    """It is held back while something is drawn, and comes right after."""
    from bulkstatus.cli._picture import undisturbed

    reached = []

    def draw():
        with undisturbed():
            signal.raise_signal(signal.SIGINT)
            reached.append("end")

    with pytest.raises(KeyboardInterrupt):
        draw()
    assert reached == ["end"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_drawing_on_another_thread_leaves_signals_alone():
    """They belong to the main thread."""
    from bulkstatus.cli._picture import undisturbed

    done = []

    def draw():
        with undisturbed():
            done.append(signal.getsignal(signal.SIGINT) is signal.default_int_handler)

    thread = threading.Thread(target=draw)
    thread.start()
    thread.join()
    assert done == [True]


# --- sentences ---


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (42.9, "42s"),
        (80, "1m20s"),
        (600, "10m"),
        (7_500, "2h5m"),
        (3_605, "1h"),
        (273_600, "3d4h"),
    ],
)
def test_a_length_has_two_units(seconds, text):
    """The two largest."""
    assert _text.length(seconds) == text


def changed(**more):
    """A change of one bulk, with other fields as given."""
    fields = {"kind": "verdict", "source": "p", "provider": "weavr", "ref": "p:1", "observed_at": NOW}
    return Change(**{**fields, **more})


@pytest.mark.parametrize(
    ("more", "line"),
    [
        ({"verdict": Verdict.NOT_FOUND, "failure": failed("not_found")}, "p:1  not found: it broke"),
        ({"verdict": Verdict.BLIND, "failure": failed("auth", "\x1b[2J")}, "p:1  blind: \\x1b[2J"),
        ({"verdict": Verdict.FAILED}, "p:1  failed"),
        ({"kind": "progress", "verdict": Verdict.SUCCEEDED}, "p:1  succeeded"),
        (
            {"kind": "state", "status": bulk().status, "verdict": Verdict.BLOCKED},
            "p:1  new -> running  RUNNING  (blocked)",
        ),
        ({"kind": "progress"}, None),
        ({"kind": "unobservable", "failure": failed("auth")}, None),
    ],
)
def test_a_verdict_is_a_line(more, line):
    """What is no end is said as it is, with the reason."""
    shown = _text.change_line(changed(**more))
    assert shown == (None if line is None else f"2026-01-31T12:00:00Z  {line}")


def test_a_warning_is_said(capsys):
    """A step backwards is shown and remarked on."""
    teller = _wait._Lines()
    teller.take([changed(kind="state", status=bulk().status, warnings=("regressed: a before, b now",))])
    said = capsys.readouterr()
    assert "new -> running" in said.out
    assert said.err == "bulkstatus: p:1: regressed: a before, b now\n"


def test_of_many_reasons_twenty_are_told(capsys):
    """And how many there are besides."""
    results = tuple(
        bulkstatus.Result(ref=f"p:{number}", verdict=Verdict.NOT_FOUND, failure=failed("not_found"))
        for number in range(25)
    )
    _ending.explain_what_was_not_seen(bulkstatus.Outcome(results=results, observed_at=NOW), None)
    err = capsys.readouterr().err.splitlines()
    assert len(err) == 21
    assert err[0].startswith("p:0 (weavr): cannot ask: it broke")
    assert err[-1] == "bulkstatus: and 5 more of that kind"


# --- what went wrong, and what holds it up ---


def status(state=State.RUNNING, **more):
    """How a bulk stands, with other fields as given."""
    fields = {"source": "p", "provider": "weavr", "id": "1", "native_state": "W", "observed_at": NOW}
    return BulkStatus(**{**fields, "state": state, **more})


def result(verdict, ref="p:1", **more):
    """How a wait ended for one bulk."""
    return bulkstatus.Result(ref=ref, verdict=verdict, **more)


def outcome(*results):
    """How a wait ended."""
    return bulkstatus.Outcome(results=results, observed_at=NOW)


SUBMITTED = status(State.QUEUED, phase="awaiting_action")


@pytest.mark.parametrize(
    ("after", "line"),
    [
        (status(State.PARTIAL, counts=Counts(total=9, succeeded=6, failed=3)), "W  9/9  3 operations failed"),
        (
            status(State.FAILED, counts=Counts(failed=1), error="no\x1b[2J"),
            "W  1/?  1 operation failed: no\\x1b[2J",
        ),
        (status(State.EXPIRED, error="too late"), "W  too late"),
        (status(State.CANCELLED, counts=Counts(total=9, failed=0)), "W  0/9"),
        (status(State.SUCCEEDED, error="odd"), "W"),
        (status(State.RUNNING, counts=Counts(total=9, failed=3)), "W  3/9"),
    ],
)
def test_a_bad_end_says_what_went_wrong(after, line):
    """How many operations failed, and the provider's text; what has not ended badly says neither."""
    shown = _text.change_line(changed(kind="state", status=after))
    assert shown == f"2026-01-31T12:00:00Z  p:1  new -> {after.state}  {line}"


def test_a_bad_end_that_was_seen_before_says_so_too():
    """When only the verdict is new."""
    after = status(State.FAILED, error="no room")
    shown = _text.change_line(changed(status=after, verdict=Verdict.FAILED))
    assert shown == "2026-01-31T12:00:00Z  p:1  failed  no room"


def test_where_to_look_is_named_last(here, world):
    """The first bad end, the operations of a partial one, and the configuration that was given."""
    done = here("wait", "edge:bb22", "payments:2", "--config", world.config)
    assert done.err == (
        f"bulkstatus: to see why: bulkstatus explain edge:bb22 --config {world.config}; what failed in it: "
        f"bulkstatus operations payments:2 --state failed --config {world.config}\n"
    )
    assert here("wait", "payments:1").err == ""
    assert here("wait", "payments:3").err == "bulkstatus: to see why: bulkstatus explain payments:3\n"


@pytest.mark.parametrize("provider", ["cloudflare", "nobody"])
def test_operations_are_named_only_where_there_are_some(capsys, provider):
    """A provider without operations, or one that is not installed, has none to show."""
    partial = result(Verdict.PARTIAL, status=status(State.PARTIAL, provider=provider))
    _ending.say_where_to_look(outcome(partial), None)
    assert capsys.readouterr().err == "bulkstatus: to see why: bulkstatus explain p:1\n"


def test_a_bulk_that_waits_for_somebody_is_shown_so():
    """In lines and tables; an end, and one that was started, is not."""
    line = _text.change_line(changed(kind="state", status=SUBMITTED))
    assert line.endswith("new -> queued, awaits somebody  W")
    line = _text.change_line(changed(kind="state", before=SUBMITTED, status=status()))
    assert line.endswith("queued, awaits somebody -> running  W")
    for width in (60, 80, 160):
        assert "queued, awaits somebody" in drawn(bulk(status=SUBMITTED), width=width)[1]
        assert "paused" in drawn(bulk(status=status(State.PAUSED)), width=width)[1]
    assert _text.standing(status(State.FAILED, phase="awaiting_action")) == "failed"


@pytest.mark.parametrize(
    ("results", "text"),
    [
        (
            [{"status": SUBMITTED}, {"status": status()}, {"status": status(State.PAUSED)}],
            "3 pending (2 wait for somebody)",
        ),
        ([{"status": status(), "stale_since": NOW - timedelta(seconds=28)}], "1 pending (not seen for 28s)"),
        (
            [{"status": SUBMITTED}, {"stale_since": NOW - timedelta(minutes=5)}],
            "2 pending (1 waits for somebody, 1 not seen for 5m)",
        ),
        ([{"status": status()}], "1 pending"),
    ],
)
def test_pending_says_what_holds_it_up(results, text):
    """Else it reads as if it went on."""
    results = [result(Verdict.PENDING, f"p:{number}", **more) for number, more in enumerate(results)]
    well = result(Verdict.SUCCEEDED, "p:well", status=status(State.SUCCEEDED))
    blind = result(Verdict.BLIND, "p:blind")
    shown = _text.summary(outcome(well, blind, *results))
    assert shown == f"{len(results) + 2} bulks: 1 succeeded, {text}, 1 blind"


@pytest.mark.parametrize("heartbeat", [0.3, 60.0])
def test_stopping_for_what_waits_is_mentioned_once(here, monkeypatch, heartbeat):
    """In the first silence, or at the end when there was none."""
    monkeypatch.setattr(_wait, "HEARTBEAT", heartbeat)
    done = here("wait", "payments:5", "payments:4", "--timeout", "1.5s")
    assert done.err.count("--stop-when-blocked ends the wait") == 1
    assert ("0 of 2 ended, 1 waits for somebody" in done.err) == (heartbeat < 1)
    assert done.out.splitlines()[-1] == "2 bulks: 2 pending (1 waits for somebody)"


@pytest.mark.parametrize("words", [["payments:5", "--stop-when-blocked"], ["payments:4"]])
def test_stopping_is_not_mentioned_in_vain(here, words):
    """Not to those who asked for it, nor where nothing waits."""
    assert "--stop-when-blocked ends" not in here("wait", *words, "--timeout", "1s").err


def view(*bulks, sources=()):
    """A watch as of now."""
    return WatchView(bulks=bulks, sources=sources, observed_at=NOW)


def test_a_silence_names_what_cannot_be_asked(capsys):
    """Since when, and when it will be asked next: no bulk of it is looked at before."""
    down = {"down_since": NOW - timedelta(minutes=5), "failure": failed("unavailable")}
    asked = source(**down, next_question=NOW + timedelta(seconds=11.5))
    overdue = bulk(next_look=NOW - timedelta(seconds=30))
    _wait._Lines().beat(view(overdue, bulk(ref="p:2", verdict=Verdict.FAILED), sources=(asked,)))
    assert capsys.readouterr().err == (
        "bulkstatus: still waiting: 1 of 2 ended; p cannot be asked since 2026-01-31T11:55:00Z (5m); "
        "next look in 12 s\n"
    )
    _wait._Lines().beat(view(sources=(asked,)))
    assert capsys.readouterr().err.endswith("next look in 12 s\n")
    _wait._Lines().beat(view(overdue, sources=(source(**down),)))
    assert "next look" not in capsys.readouterr().err
    many = [source(**{**down, "source": f"s{number}"}) for number in range(8)]
    _wait._Lines().beat(view(bulk(), sources=tuple(many)))
    assert "; nor can 3 more sources" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("look", "more", "shown"),
    [
        (-30, {"down_since": NOW, "next_question": NOW + timedelta(seconds=12)}, "12s"),
        (90, {"down_since": NOW, "next_question": NOW + timedelta(seconds=12)}, "1m"),
        (-30, {"down_since": NOW}, "now"),
        (1.5, {"resumes_at": NOW, "next_question": NOW + timedelta(seconds=40)}, "40s"),
        (5, {}, "5s"),
    ],
)
def test_no_bulk_is_looked_at_before_its_source(look, more, shown):
    """While that is down or held, the table tells when it will be asked."""
    shaken = source(**more, failure=failed("unavailable") if "down_since" in more else None)
    row = drawn(bulk(next_look=NOW + timedelta(seconds=look)), sources=(shaken,), width=80)[1]
    assert row.split()[-1] == shown


def test_counts_outlive_a_list_that_has_none():
    """The last ones are shown, by a bar and in numbers, in pictures and in what an interrupt leaves."""
    known = bulk(counts=Counts(total=250, succeeded=91), expected_end=NOW + timedelta(minutes=3))
    for width in (80, 160):
        row = drawn(known, width=width)[1]
        assert "91/250" in row
        assert "\u2501" in row
        assert "~3m" in row


def test_an_interrupt_tells_the_last_counts(capsys):
    """Those that a later row of a list did not repeat."""
    known = bulk(counts=Counts(total=250, succeeded=91))
    left = outcome(result(Verdict.PENDING, status=known.status))
    _wait._Lines().last_known(left, view(known))
    assert capsys.readouterr().err == "p:1  running  RUNNING  91/250\n"


def test_what_was_forgotten_has_its_own_advice(capsys):
    """Not that of a wrong id: it was there."""
    gone = result(Verdict.GONE, status=status(), failure=failed("not_found", "not found"))
    lost = result(Verdict.NOT_FOUND, "p:2", failure=failed("not_found", "not found"))
    new = result(Verdict.BLIND, "p:3", failure=failed("not_found", "not found"))
    _ending.explain_what_was_not_seen(outcome(gone, lost, new), None)
    first, second, third = capsys.readouterr().err.splitlines()
    assert first.endswith("; it was there before; find out how it ended before anything is run again")
    assert second.endswith("; check the id, and that it is this source's")
    assert third.endswith("; check the id, or wait 20 s and more, in case it is new")


def test_not_found_is_said_once():
    """In the line, and in the table."""
    missing = failed("not_found", "not found")
    line = _text.change_line(changed(verdict=Verdict.NOT_FOUND, failure=missing))
    assert line.endswith("  p:1  not found")
    row = drawn(bulk(status=None, verdict=Verdict.NOT_FOUND, failure=missing))[1]
    assert row.count("not found") == 1
    assert _text.change_line(changed(verdict=Verdict.GONE, failure=missing)).endswith("gone: not found")


def test_why_a_pending_bulk_was_not_seen_is_said_at_the_end(capsys):
    """Again, as it may have ended meanwhile; why one is blind was said before."""
    failure = failed("unavailable")
    told = {("p", "unavailable")}
    pending = result(Verdict.PENDING, status=status(), stale_since=NOW, failure=failure)
    _ending.explain_what_was_not_seen(outcome(pending), None, told=told)
    assert capsys.readouterr().err.startswith("p (weavr): cannot ask: it broke")
    _ending.explain_what_was_not_seen(outcome(result(Verdict.BLIND, failure=failure)), None, told=told)
    assert capsys.readouterr().err == ""


def test_an_id_that_may_be_new_is_waited_for():
    """A line and a row say so, and for how long; one that was there before is another matter."""
    missing = failed("not_found", "not found")
    change = changed(kind="unobservable", failure=missing)
    assert _text.trouble_line(change) == "p:1 (weavr): not found; asking for 20 s, in case it is new"
    known = changed(kind="unobservable", failure=missing, status=status())
    assert _text.trouble_line(known).endswith("not found, although it was there before; asking once more")
    for width in (80, 160):
        row = drawn(bulk(status=None, failure=missing), width=width)[1]
        assert "not found yet" in row
        assert "asking for 20 s, in case it is new" in row


def test_a_wait_for_an_unknown_id_says_that_it_goes_on_asking(here):
    """And at the end why it is not known."""
    done = here("wait", "payments:404", "--timeout", "1s")
    first, second, *_ = done.err.splitlines()
    assert first == "payments:404 (weavr): not found; asking for 20 s, in case it is new"
    assert second.endswith("; check the id, or wait 20 s and more, in case it is new")


def test_the_word_goes_before_the_times():
    """On a narrow screen with long references."""
    long = bulk(
        ref="p:" + "x" * 40, next_look=NOW + timedelta(seconds=5), expected_end=NOW + timedelta(seconds=200)
    )
    running = status(native_state="PROCESSING_NOW", counts=Counts(total=100, succeeded=60))
    long = BulkView(
        **{name: getattr(long, name) for name in long.__struct_fields__}
        | {
            "status": running,
            "counts": running.counts,
        }
    )
    header, row, *_ = drawn(long, width=80)
    assert header.split() == ["ref", "state", "progress", "next", "eta"]
    assert row.split()[-2:] == ["5s", "~3m"]


def test_bad_ends_come_before_what_needs_somebody():
    """Where not all have room, whatever changed last."""
    from bulkstatus.cli._picture import urgency

    stale = bulk(stale_since=NOW)
    ended = [bulk(status=status(state)) for state in (State.FAILED, State.PARTIAL, State.EXPIRED)]
    ended += [bulk(verdict=verdict) for verdict in (Verdict.GONE, Verdict.NOT_FOUND, Verdict.BLIND)]
    needy = [
        bulk(status=status(State.PAUSED)),
        bulk(status=SUBMITTED),
        bulk(status=status(State.UNKNOWN)),
        stale,
    ]
    assert {urgency(one) for one in ended} == {0}
    assert {urgency(one) for one in needy} == {1}
    paused = [bulk(ref=f"p:{number}", status=status(State.PAUSED)) for number in range(50)]
    failing = bulk(ref="p:bad", status=status(State.FAILED), verdict=Verdict.FAILED)
    assert drawn(*paused, failing, width=80, height=20)[1].startswith("p:bad  failed")


def test_bad_ends_beyond_the_screen_are_told():
    """A line each, with the reason; those in the picture, those that are well, and pending ones are not."""
    bad = status(State.FAILED, counts=Counts(failed=2), error="no\x1b[2J")
    results = (
        result(Verdict.FAILED, "p:shown", status=bad),
        result(Verdict.FAILED, "p:1", status=bad),
        result(Verdict.SUCCEEDED, "p:2", status=status(State.SUCCEEDED)),
        result(Verdict.PENDING, "p:3", status=status()),
        result(Verdict.BLIND, "p:4", status=status(), failure=failed("unavailable")),
        result(Verdict.NOT_FOUND, "p:5", failure=failed("not_found", "not found")),
    )
    assert list(_ending.beyond(outcome(*results), {"p:shown"})) == [
        "p:1  failed  W  2 operations failed: no\\x1b[2J",
        "p:4  blind  W  it broke",
        "p:5  not found",
    ]
    many = [result(Verdict.FAILED, f"p:{number}") for number in range(1_005)]
    told = list(_ending.beyond(outcome(*many), ()))
    assert len(told) == 1_001
    assert told[-1] == "and 5 more that did not succeed"


@forking
def test_a_small_screen_is_followed_by_what_it_had_no_room_for(program, environment, stage):
    """Every bulk that failed can be read in the end, each once."""
    for number in range(1, 31):
        stage.weavr.add(str(number), still("FAILED"), operations=2, failing=2)
    refs = [f"payments:{number}" for number in range(1, 31)]
    words = ["wait", *refs, "--config", str(stage.config)]
    _, raw, code = look(program, words, environment, columns=80, rows=14)
    assert code == 3
    screen = pyte.HistoryScreen(80, 100)
    pyte.Stream(screen).feed(raw.rpartition("\x1b[?25h")[2])
    below = [line.split()[0] for line in screen.display if line.startswith("payments:")]
    picture = pyte.Screen(80, 14)
    pyte.Stream(picture).feed(raw.rpartition("\x1b[?25h")[0])
    above = [line.split()[0] for line in picture.display if line.startswith("payments:")]
    assert len(above) > 5
    assert sorted(above + below) == sorted(refs)
    assert "failed  FAILED  2 operations failed" in raw
