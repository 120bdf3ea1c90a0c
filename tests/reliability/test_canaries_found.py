"""A leak that is planted is found: the watch of canaries.py can fail, wherever it looks."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]

PLANTED = """
import logging, socket, sqlite3, subprocess, sys
from contextlib import suppress
import pytest
from pathlib import Path
from bulkstatus import Client, ProtocolError, Unavailable
from bulkstatus.adapter import bearer
from library import raising, raising_from, repeating

TOKEN = "S3CR3T-token-0001"
GIVEN = "given-to-us-4711"      # no mark in it: known because the library took it for a credential
NAME = "Ada Example"

def test_nothing(): bearer(GIVEN); Unavailable("no answer")
def test_stdout(): print(TOKEN)
def test_stdout_that_is_read(capsys): print(TOKEN); capsys.readouterr()
def test_stderr(): print(TOKEN, file=sys.stderr)
def test_what_was_given(): bearer(GIVEN); print(f"it is {GIVEN}")
def test_a_demo_credential(): print("weavr-demo-key")
def test_personal_data(): print(NAME)
@pytest.mark.payloads
def test_nothing_but_what_was_asked_for(): print(NAME)
@pytest.mark.parametrize("name", ["bulkstatus", "stamina", "httpx", "httpcore.http11", "aiohttp.client", "asyncio"])
def test_log(name): logging.getLogger(name).debug("sent %s", TOKEN)
def test_log_field(): logging.getLogger("stamina").info("retry", extra={"args_": TOKEN})
def test_log_traceback():
    try:
        raising(TOKEN)
    except ProtocolError:
        logging.getLogger("bulkstatus").debug("odd", exc_info=True)
def test_repr(): ProtocolError(f"said {TOKEN}")
def test_field(): Unavailable("no answer", detail=TOKEN)
def test_locals():
    with pytest.raises(ProtocolError): raising(TOKEN)
def test_locals_of_a_cause():
    with pytest.raises(Unavailable): raising_from(TOKEN)
def test_locals_of_what_was_swallowed(): assert repeating(TOKEN) is None
def test_pickle():
    error = Unavailable("no answer")
    error.message = type("Quiet", (str,), {"__repr__": lambda self: "***", "__str__": lambda self: "***",
        "__format__": lambda self, spec: "***", "__reduce__": lambda self: (str, (TOKEN,))})("x")
def test_connection():
    with socket.socket() as visitor:
        visitor.settimeout(0.01)
        with suppress(OSError): visitor.connect(("10.255.255.1", 9))
def test_process():
    subprocess.run([sys.executable, "-c", "print('S3CR3T' + '-x')"], capture_output=True, text=True)
def test_process_stderr():
    subprocess.run([sys.executable, "-c", "import sys; print('S3CR3T' + '-x', file=sys.stderr)"], capture_output=True)
def test_process_that_is_read_by_lines():
    with subprocess.Popen([sys.executable, "-c", "print('S3CR3T' + '-x')"], stdout=subprocess.PIPE, text=True) as child:
        child.stdout.readline()
def test_journal(tmp_path):
    with sqlite3.connect(tmp_path / "journal.db") as db:
        db.execute("create table t (x)"); db.execute("insert into t values (?)", (TOKEN,))
    db.close()
def test_journal_beside(tmp_path):
    (tmp_path / "journal.db-wal").write_bytes(b"\\x37\\x7f\\x06\\x82" + TOKEN.encode())
@pytest.mark.parametrize("name", ["steps.csv", "steps.jsonl", "steps.parquet", "deep/er/log.txt"])
def test_export(tmp_path, name):
    file = tmp_path / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"a,{NAME}")
def test_nothing_of_what_a_test_hands_over(tmp_path):
    (tmp_path / "b.toml").write_text(TOKEN); (tmp_path / "token").write_text(TOKEN); (tmp_path / "p.py").write_text(TOKEN)
"""
LIBRARY = """
from bulkstatus import ProtocolError, Unavailable
from contextlib import suppress

def raising(token):
    raise ProtocolError("odd")

def send(headers):
    raise OSError("broken")

def raising_from(token):
    headers, token = {"authorization": token}, None
    try:
        send(headers)
    except OSError as error:
        del headers
        raise Unavailable("no answer") from error

class Held:
    def __init__(self, token): self.token = token
    def __repr__(self): return f"<Held {self.token}>"
    def fail(self): raise ProtocolError("odd")

def repeating(token):
    with suppress(ProtocolError):
        Held(token).fail()
"""
HARMLESS = {
    "test_nothing",
    "test_nothing_but_what_was_asked_for",
    "test_nothing_of_what_a_test_hands_over",
}


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    """How each test of a file of planted leaks ended."""
    folder = tmp_path_factory.mktemp("planted")
    (folder / "test_planted.py").write_text(PLANTED)
    (folder / "library.py").write_text(LIBRARY)
    (folder / "pytest.ini").write_text(f"[pytest]\npythonpath = {TESTS} {folder}\n")
    words = ["-v", "-p", "reliability.canaries", "-p", "no:cacheprovider", "--import-mode=importlib"]
    # Not by a pipe: what it writes holds all that is planted, and would be found in this process.
    with (folder / "said.txt").open("w") as said:
        code = subprocess.call(
            [sys.executable, "-m", "pytest", *words, "test_planted.py"],
            stdout=said,
            stderr=subprocess.STDOUT,
            cwd=folder,
            timeout=100,
            # Without the options of this run: the planted tests know none of its plugins.
            env={**os.environ, "PYTHONPATH": str(TESTS), "PYTEST_ADDOPTS": ""},
        )
    assert code == 1
    return dict(re.findall(r"::(\S+) (PASSED|FAILED|ERROR)", (folder / "said.txt").read_text()))


def test_every_planted_leak_is_found(outcome):
    """On stdout and stderr, in logs, texts, fields, frames, pickles, journals, exports and other processes."""
    missed = {name for name, how in outcome.items() if how == "PASSED"}
    assert missed == {name for name in outcome if name.partition("[")[0] in HARMLESS}
    assert len(outcome) == 33


def test_a_leak_is_a_failure_and_no_error(outcome):
    """So that it counts as one in the report of a run."""
    assert set(outcome.values()) == {"PASSED", "FAILED"}
