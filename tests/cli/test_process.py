"""The command line as processes: pipes, signals, terminals, encodings."""

import json
import os
import re
import signal
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pexpect
import pyte
import pytest

import bulkstatus
from reliability.canaries import PERSONAL, inspect

forking = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


def look(program, words, environment, *, columns, rows=50, until=None, act=None):
    """Run on a terminal of `columns` and `rows`; give its screen's lines, the raw output and the exit code."""
    screen = pyte.HistoryScreen(columns, rows)
    stream = pyte.Stream(screen)
    child = pexpect.spawn(
        program,
        words,
        dimensions=(rows, columns),
        encoding="utf-8",
        timeout=40,
        env={**environment, "TERM": "xterm-256color"},
    )
    raw = ""
    while True:
        try:
            chunk = child.read_nonblocking(65_536, timeout=40)
        except pexpect.EOF:
            break
        raw += chunk
        stream.feed(chunk)
        if act is not None and until in raw:
            act(child)
            act = None
    child.close()
    assert "Traceback" not in raw
    assert not screen.cursor.hidden
    inspect(raw, "the terminal")
    return [line.rstrip() for line in screen.display], raw, child.exitstatus


_TELL = "print(*sorted(set(sys.modules) - before), file=sys.stderr); sys.exit(code)"


def imported(code, environment):
    """What a process imports besides what Python itself does, and what it wrote: `code` ends the work."""
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            f"import sys; before = set(sys.modules)\n{code}\n{_TELL}",
        ],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return set(done.stderr.split()), done.stdout


def test_the_version_costs_little_more_than_python(environment):
    """It imports two modules of ours and none of others: it is what scripts ask first."""
    modules, said = imported(
        "from bulkstatus.cli import main; sys.argv = ['bulkstatus', '--version']; code = main()", environment
    )
    assert modules == {"bulkstatus", "bulkstatus.cli"}
    assert said == f"{bulkstatus.__version__}\n"


def test_the_version_is_that_of_the_distribution():
    """It is written in one place, which the build reads too."""
    assert version("bulkstatus") == bulkstatus.__version__


def test_a_single_question_imports_what_it_needs_alone(environment):
    """No command line but ours, no picture, no aiohttp, none of what waits or retries: most of what a `get` costs."""
    del environment["BULKSTATUS_TRANSPORT"]
    modules, said = imported(
        # With either of these, stamina is imported to be told that the log is ours.
        "sys.modules |= {'structlog': None, 'prometheus_client': None}\n"
        "from bulkstatus.cli import main; sys.argv = ['bulkstatus', 'get', 'payments:1', '-o', 'name']; code = main()",
        environment,
    )
    assert said == "payments:1\n"
    needless = {"aiohttp", "rich", "click", "pygments", "dateutil", "stamina", "trio", "cyclopts.completion"}
    needless |= {"bulkstatus._follow", "bulkstatus._watch", "bulkstatus.cli._wait", "bulkstatus.cli._journal"}
    assert modules.isdisjoint(needless), modules & needless
    assert "httpx" in modules


def test_a_program_that_calls_the_command_line_stays_as_it_is(environment):
    """Its httpx keeps a command line there, and what the program holds goes on being looked through for garbage."""
    modules, said = imported(
        "import gc; from bulkstatus.cli import main; code = main(['get', 'payments:1', '-o', 'name'])\n"
        "print(gc.isenabled(), gc.get_freeze_count(), sys.modules.get('httpx._main', 0) is None)",
        environment,
    )
    assert said.split() == ["payments:1", "True", "0", "False"]
    assert "httpx" in modules


def test_the_version_ends_as_every_command_does(program, environment, tmp_path):
    """A reader that is gone is 141, a disk that is full a sentence and 7, an output that is closed no matter."""
    reader, writer = os.pipe()
    os.close(reader)
    endings = []
    for stdout in (writer, os.open("/dev/full", os.O_WRONLY)):
        done = subprocess.run(
            [program, "--version"],
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            check=False,
        )
        os.close(stdout)
        endings.append((done.returncode, done.stderr))
    closed = subprocess.run(
        ["/bin/sh", "-c", f"'{program}' --version >&-"],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    endings.append((closed.returncode, closed.stderr))
    full = "bulkstatus: cannot write the output: No space left on device\n"
    assert endings == [(141, ""), (7, full), (0, "")]


def test_the_console_script_is_the_same_program(program, environment):
    """As `python -m bulkstatus.cli`."""
    done = subprocess.run(
        [program, "get", "payments:1", "-o", "name"],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "payments:1\n", "")


def test_references_are_piped_from_command_to_command(run):
    """`list -o name | get -`."""
    refs = run("list", "--state", "succeeded", "--source", "payments", "-o", "name").out
    done = run("get", "-", "-o", "jsonl", stdin=refs.replace("\n", "\r\n"))
    assert done.code == 0
    assert {json.loads(line)["id"] for line in done.out.splitlines()} == {"1", "7"}


def test_the_log_shows_requests_and_no_secret(run):
    """One line a request on stderr; `run` looks for the secrets."""
    done = run("get", "payments:1", "crm:d-1", "-v", "-o", "name")
    assert done.code == 0
    assert done.out.split() == ["payments:1", "crm:d-1"]
    assert "/multi/bulks/1" in done.err
    assert "/oauth2/token" in done.err
    assert run("operations", "payments:2", "-v").err.count(PERSONAL) == 0


@pytest.mark.parametrize("other", [None, "structlog", "prometheus_client"])
def test_the_log_shows_retries(run, tmp_path, other):
    """Why it takes longer; also where a library is installed that stamina would tell it to instead."""
    if other:
        (tmp_path / f"{other}.py").touch()
    config = tmp_path / "b.toml"
    config.write_text(
        '[sources.p]\nprovider = "cloudflare"\naccount_id = "023e105f4ecef8ad9ca31a8372d0c353"\n'
        'base_url = "http://127.0.0.1:9"\ntoken = "env:CF_TOKEN"\n'
    )
    done = run("get", "p:aa11", "-v", "--config", config, PYTHONPATH=str(tmp_path) if other else None)
    assert done.code == 7
    assert "asking again in" in done.err


@pytest.mark.row("F61")
@pytest.mark.parametrize("words", ["operations payments:7 -o jsonl", "operations payments:7"])
def test_a_reader_that_goes_away_ends_it_quietly(environment, words):
    """Code 141, no traceback."""
    script = f"{sys.executable} -m bulkstatus.cli {words} | head -1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, env=environment, timeout=50, check=False
    )
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == 2
    assert done.stdout.splitlines()[-1] == "141"


@pytest.mark.row("F61")
@pytest.mark.parametrize("words", ["--help", "get payments:1"])
def test_a_reader_that_has_gone_ends_it_quietly(environment, words):
    """Also when the little that there is to write would have fitted into the pipe."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "bulkstatus.cli", *words.split()],
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            timeout=50,
            check=False,
        )
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")


def test_a_full_disk_is_said(environment):
    """And is not 0."""
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "bulkstatus.cli", "schema"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            check=False,
        )
    assert done.returncode == 7
    assert done.stderr == "bulkstatus: cannot write the output: No space left on device\n"


@pytest.mark.parametrize("stderr", ["2>/dev/full", "2>&-", "2> >(exec 0<&-)"])
@pytest.mark.parametrize(
    ("words", "code"),
    [("get payments:999 -v -o name", 5), ("schemaa", 2)],
)
def test_a_stderr_that_takes_nothing_changes_no_code(environment, words, code, stderr):
    """A full disk, a closed one, a reader that has gone: and nothing of it comes out on stdout."""
    script = f"{sys.executable} -m bulkstatus.cli {words} {stderr}; echo $?"
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, env=environment, timeout=50, check=False
    )
    assert (done.stdout, done.stderr) == (f"{code}\n", "")


def test_a_closed_stdout_is_no_error(environment):
    """As `>&-` in a shell."""
    script = f"{sys.executable} -m bulkstatus.cli get payments:1 >&-"
    done = subprocess.run(
        ["bash", "-c", script], stderr=subprocess.PIPE, text=True, env=environment, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("form", ["table", "json", "csv"])
def test_an_ascii_locale_takes_any_text(run, form):
    """Escaped where it must be, and JSON stays JSON."""
    done = run("get", "payments:6", "-o", form, LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    assert done.code == 0
    assert done.out.isascii()
    if form == "json":
        assert json.loads(done.out)["statuses"][0]["native_state"] == "EVIL\x1b[31m\u202eword"


def test_a_bug_shows_its_traceback_when_asked(environment):
    """With -v, line by line and made printable."""
    code = (
        "import sys; from bulkstatus import cli; import bulkstatus.cli._refs as refs\n"
        "import bulkstatus.cli._app as app\n"
        "def broken(words): raise KeyError('x\\x1b[2J')\n"
        "app.references = broken\n"
        "sys.exit(cli.main(['get', 'payments:1', '-v']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "\x1b" not in done.stderr
    assert done.stderr.splitlines()[-1] == "bulkstatus: internal error (KeyError); please report it"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it(environment, number, code):
    """Quickly, with its code and nothing on stderr."""
    child = subprocess.Popen(
        [sys.executable, "-m", "bulkstatus.cli", "demo"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert "-> queued" in child.stdout.readline()
    child.send_signal(number)
    _, err = child.communicate(timeout=50)
    assert (child.returncode, err) == (code, "")


@forking
@pytest.mark.parametrize("columns", [80, 200])
def test_a_terminal_shows_the_rows(program, environment, columns):
    """Each on a line, hostile text escaped, progress where counts are known."""
    display, raw, code = look(
        program,
        ["get", *(f"payments:{number}" for number in range(1, 3)), "payments:6", "edge:bb22"],
        environment,
        columns=columns,
    )
    assert code == 0
    header = next(line for line in display if line)
    assert header.split()[:4] == ["ref", "state", "progress", "word"]
    rows = {line.split()[0]: line for line in display if ":" in line}
    assert list(rows) == ["payments:1", "payments:2", "payments:6", "edge:bb22"]
    assert "250/250" in rows["payments:2"]
    assert "partial" in rows["payments:2"]
    assert "EVIL\\x1b[31m\\u202eword" in rows["payments:6"]
    assert "list is full\\x1b[2J" in rows["edge:bb22"]
    assert "\u2501" in rows["payments:2"]
    assert "\u202e" not in raw
    assert "\x1b]0;" not in raw


@forking
def test_a_terminal_without_colour(program, environment):
    """NO_COLOR is honoured."""
    _, raw, code = look(program, ["get", "payments:2"], {**environment, "NO_COLOR": "1"}, columns=120)
    assert code == 0
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]", raw)


@forking
def test_a_terminal_shows_sources(program, environment):
    """Folded to its width."""
    display, _, code = look(program, ["sources"], environment, columns=80)
    assert code == 0
    assert sum("yes" in line for line in display) == 3


@forking
def test_the_demo_on_a_terminal(program, environment):
    """A table that lives, then what it meant and what to try."""
    display, raw, code = look(program, ["demo", "--seconds", "4"], environment, columns=160)
    assert code == 0
    text = "\n".join(display)
    for part in (
        "payments:",
        "edge:",
        "crm:",
        "batches:",
        "RUNNING",
        "processing",
        "\u2501",
        "of 4 providers",
        "bulkstatus config init",
    ):
        assert part in text
    assert raw.count("\x1b[?25l") == raw.count("\x1b[?25h") == 1


@forking
def test_an_interrupt_leaves_the_terminal_whole(program, environment):
    """Code 130, the cursor back; `look` checks that it is."""
    _, raw, code = look(
        program, ["demo"], environment, columns=100, until="payments:", act=lambda child: child.sendintr()
    )
    assert code == 130
    assert "\x1b[?25h" in raw


def test_the_demo_in_a_pipe(run):
    """Every bulk to its last word, one line a change, and a summary."""
    done = run("demo")
    assert (done.code, done.err) == (0, "")
    *changes, summary = done.out.splitlines()
    step = r"\w+\??(, awaits somebody)?"
    for line in changes:
        assert re.match(
            rf"\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\dZ  (payments|edge|crm|batches):\S+  {step} -> {step}  ", line
        )
    last = {line.split()[1]: line.partition(" -> ")[2].split()[0] for line in changes}
    assert {"succeeded", "partial", "failed", "cancelled", "expired", "paused", "unknown"} <= set(
        last.values()
    )
    assert summary.startswith(f"{len(last)} bulks of 4 providers: ")
    assert os.linesep not in summary


@forking
@pytest.mark.parametrize("columns", [60, 120])
@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["list", "--source", "payments"], "payments:2"),
        (["operations", "payments:2", "--state", "failed"], "failed"),
    ],
)
def test_a_terminal_shows_lists_and_operations(program, environment, words, shown, columns):
    """They fit the screen, and end with the terminal as it was."""
    display, _, code = look(program, words, environment, columns=columns)
    assert code == 0
    rows = [line for line in display if line.strip()]
    assert any(shown in line for line in rows[1:])
    assert all(len(line.rstrip()) <= columns for line in rows)


_LOST = """
import signal, sys, time, types, weakref
from bulkstatus.cli import main

class Thing:
    pass

def command(*_, **__):
    thing = Thing()
    watched = weakref.ref(thing, lambda _: signal.raise_signal(signal.{name}))
    del thing
    time.sleep(30)

sys.modules["bulkstatus.cli._app"] = types.SimpleNamespace(app=command)
sys.exit(main())
"""


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_signal_that_python_drops_ends_the_command_all_the_same(name, code):
    """What its handler raises is lost where it comes in a callback of the collector or of an import, as at the start."""
    done = subprocess.run(
        [sys.executable, "-c", _LOST.format(name=name), "list"],
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (code, "", "")
