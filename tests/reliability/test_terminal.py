"""What providers say, on a terminal and in a pipe: text, never a command to whoever shows it."""

import csv
import io
import json
import os
import re
import shlex
import subprocess
import sys
from types import SimpleNamespace

import pexpect
import pyte
import pytest

from bulkstatus.cli import main
from bulkstatus.testing import Life, serve
from bulkstatus_weavr.fake import WeavrFake
from reliability.canaries import inspect
from reliability.hostile import KEY, TEXTS, TOKEN, commands, hostile_world, left_raw

pytestmark = pytest.mark.unrecorded

MAY_BE_EMPTY = ("resume", "wait for a time")  # how far it gets is the machine's affair
FORMS = ("table", "json", "jsonl", "csv", "name")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Providers that attack, and a journal that has kept all of it."""
    with hostile_world(tmp_path_factory.mktemp("hostile")) as found:
        yield found


@pytest.fixture
def call(world, monkeypatch, capsys):
    """Run the command line in this process, into a pipe."""
    for name, value in world.variables.items():
        monkeypatch.setenv(name, value)

    def run(*words):
        capsys.readouterr()
        code = main([str(word) for word in words])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


@pytest.fixture
def environment(world, isolated):
    """The variables of a process of the command line."""
    return {
        **world.variables,
        "PATH": os.environ["PATH"],
        "HOME": str(isolated),
        "XDG_CONFIG_HOME": str(isolated / ".config"),
        "BULKSTATUS_TRANSPORT": "httpx",
        "PYTHONWARNINGS": "error",
        "LC_ALL": "C.UTF-8",
    }


def forms_of(words):
    """The forms that a command has."""
    return ("jsonl", "csv") if words[:2] == ["journal", "export"] else FORMS


@pytest.mark.row("B92")
@pytest.mark.parametrize("name", commands(["x"] * 22))
def test_a_pipe_gets_no_control_character(call, world, name):
    """In any form of any command, on stdout or stderr; JSON gives the text back as it was, the others escape it."""
    call("get", *world.refs, "-o", "name")  # what the journal shall know
    words = commands(world.refs)[name]
    for form in forms_of(words):
        _, out, err = call(*words, "-o", form)
        assert out or name in MAY_BE_EMPTY, form
        assert not left_raw(out), form
        assert not left_raw(err), form
        if form == "name":
            assert all(line.split() == [line] for line in out.splitlines())
        if form == "jsonl":
            assert all(json.loads(line) for line in out.splitlines())
        if form == "json":
            assert json.loads(out)
        if form == "csv":
            assert len({len(row) for row in csv.reader(io.StringIO(out))}) == 1


@pytest.mark.row("B92")
def test_a_hostile_word_is_one_row_of_a_table(call, world):
    """A line break makes no second one, whoever wrote it; and what stood in it can be read."""
    code, out, _ = call("get", *world.refs)
    header, *rows = out.splitlines()
    assert len(rows) == len(world.refs)
    assert [row.split()[0] for row in rows] == world.refs
    assert r"a\nFAKE ROW" in out
    assert r"\x1b]0;owned\x07" in out
    assert code == 0
    longest = max(len(row) - header.index("DETAIL") for row in rows)
    assert longest <= 512


@pytest.mark.row("B92")
def test_json_gives_the_text_back_as_it_was(call, world):
    """Escaped on the way, and nothing lost."""
    _, out, _ = call("operations", "payments:1", "--show-payload", "-o", "json")
    assert [row["path"] for row in json.loads(out)] == [
        text[:512] if len(text) <= 512 else row["path"]
        for text, row in zip(TEXTS.values(), json.loads(out), strict=True)
    ]
    assert [row["request"] for row in json.loads(out)] == list(TEXTS.values())


@pytest.mark.row("B92")
def test_an_error_of_a_provider_is_one_line(call, world):
    """Its words stand in it, escaped, and the advice behind them."""
    code, out, err = call("get", "payments:999")
    assert code == 7
    (line,) = [line for line in err.splitlines() if "payments:999" in line]
    assert r"\x1b]0;owned" in line
    assert not left_raw(err + out)


SCRIPT = """
import json, pathlib, sys
from bulkstatus.cli import main
for words in json.loads(pathlib.Path(sys.argv[1]).read_text()):
    print("=====", *words[:2], flush=True)
    main(words)
print("===== end", flush=True)
"""
# What rich says of its own: colours and styles, lines and pictures that are redrawn, the cursor hidden and shown.
OURS = re.compile(r"\x1b\[(?:(?:[0-9]|[349][0-7])(?:;(?:[0-9]|[349][0-7]))*m|1A|2K|0?m|\?25[lh])")


@pytest.mark.row("B92")
@pytest.mark.parametrize("columns", [20, 80, 200])
def test_a_terminal_obeys_nothing_that_a_provider_says(world, environment, tmp_path, columns):
    """On a real one, of any width: every command it gets is of ours, and its title, colours and screen stay ours."""
    words = {name: words for name, words in commands(world.refs).items() if "export" not in name}
    file = tmp_path / "words.json"
    file.write_text(json.dumps([["get", *world.refs], *words.values()]))
    screen = pyte.HistoryScreen(columns, 50, history=20_000)
    stream = pyte.Stream(screen)
    child = pexpect.spawn(
        sys.executable,
        ["-c", SCRIPT, str(file)],
        dimensions=(50, columns),
        encoding="utf-8",
        timeout=60,
        env={**environment, "TERM": "xterm-256color"},
    )
    raw = child.read()
    child.close()
    inspect(raw, "the terminal")
    stream.feed(raw)
    assert "===== end" in raw
    assert child.exitstatus == 0
    assert "Traceback" not in raw
    assert screen.title == ""
    assert not screen.cursor.hidden
    assert not left_raw(raw, "\r\n\x1b"), columns
    rest = OURS.sub("", raw)
    assert "\x1b" not in rest, re.findall(r".{40}\x1b.{40}", rest)


# --- a terminal that changes, or is none ---


@pytest.fixture
def going(tmp_path):
    """A bulk that runs until `end` is called, and what a process needs to ask for it."""
    fake = WeavrFake(api_key=KEY, auth_token=TOKEN)
    fake.add("1", Life.of((0, "RUNNING")), operations=250)
    with serve(fake) as url:
        config = tmp_path / "bulkstatus.toml"
        config.write_text(
            f'[sources.payments]\nprovider = "weavr"\nbase_url = "{url}"\napi_key = "env:WEAVR_API_KEY"\n'
            'auth_token = "env:WEAVR_AUTH_TOKEN"\nbudget = []\n'
        )

        def end(word):
            fake.add("1", Life.of((0, word)), operations=250, failing=3)

        yield SimpleNamespace(config=str(config), end=end, fake=fake)


def watching(program_words, environment, going, *, columns, rows=24, term="xterm-256color"):
    """A live wait on a terminal."""
    return pexpect.spawn(
        sys.executable,
        ["-m", "bulkstatus.cli", *program_words],
        dimensions=(rows, columns),
        encoding="utf-8",
        timeout=60,
        env={**environment, "BULKSTATUS_CONFIG": going.config, "TERM": term},
    )


WAIT = ["wait", "payments:1", "--pace", "eager", "--no-journal"]


@pytest.mark.row("F67")
def test_a_terminal_may_change_its_size_while_something_is_drawn(environment, going):
    """Down to a single character and up again: the picture goes on, and the end is told as ever."""
    child = watching(WAIT, environment, going, columns=80)
    child.expect("payments:1")
    raw = child.before + child.after
    for rows, columns in ((24, 20), (5, 10), (1, 1), (2, 3), (50, 200), (24, 80)):
        child.setwinsize(rows, columns)
        for _ in range(3):  # it lives, and draws meanwhile
            raw += child.read_nonblocking(65_536, timeout=30)
    going.end("PARTIALLY_COMPLETED")
    raw += child.read()
    child.close()
    assert "Traceback" not in raw
    assert child.exitstatus == 6
    assert "1 partial" in raw
    assert raw.rindex("\x1b[?25h") > raw.rindex("\x1b[?25l")
    inspect(raw, "the terminal")


@pytest.mark.row("F67")
@pytest.mark.parametrize(
    "words",
    [WAIT, ["get", "payments:1"], ["list"], ["watch", "payments:1", "--pace", "eager", "--no-journal"]],
)
def test_twenty_columns_are_enough(environment, going, words):
    """No line is longer than the screen, and no state is cut."""
    child = watching(words, environment, going, columns=20)
    child.expect("running")
    raw = child.before + child.after
    going.end("FAILED")
    raw += child.read()
    child.close()
    assert "Traceback" not in raw
    assert child.exitstatus == (3 if words is WAIT else 0)
    pictures = OURS.sub("", raw).replace("\r", "").splitlines()
    table = [line for line in pictures if "running" in line]
    assert table
    assert all(len(line) <= 20 for line in table)


@pytest.mark.row("F67")
def test_a_dumb_terminal_gets_lines(environment, going):
    """Nothing is redrawn or coloured where nothing can be."""
    child = watching(WAIT, environment, going, columns=80, term="dumb")
    child.expect("running")
    raw = child.before + child.after
    going.end("COMPLETED")
    raw += child.read()
    child.close()
    assert child.exitstatus == 6
    assert "\x1b" not in raw
    assert "Traceback" not in raw


@pytest.mark.row("F67")
@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("word", ["PARTIALLY_COMPLETED", "FAILED"])
def test_streams_that_are_closed_change_no_verdict(environment, going, closed, word):
    """Nobody reads it, and the code says it all the same."""
    going.end(word)
    line = f"{shlex.join([sys.executable, '-m', 'bulkstatus.cli', *WAIT])} {closed}"
    done = subprocess.run(
        ["sh", "-c", line],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**environment, "BULKSTATUS_CONFIG": going.config},
    )
    assert done.returncode == {"PARTIALLY_COMPLETED": 6, "FAILED": 3}[word]
    assert "Traceback" not in done.stdout + done.stderr
    assert not left_raw(done.stdout + done.stderr)
