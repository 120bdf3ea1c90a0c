"""What providers say, on a terminal and in a pipe: text, never a command to whoever shows it."""

import csv
import io
import json
import os
import re
import sys

import pexpect
import pyte
import pytest

from bulkstatus.cli import main
from reliability.canaries import inspect
from reliability.hostile import TEXTS, commands, hostile_world, left_raw

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
        assert out, form
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
