"""What providers say, in logs and in errors: never a line of its own, and never a credential."""

import json
import logging
from datetime import UTC, datetime

import pytest

from bulkstatus import BulkOperation, BulkStatus, BulkStatusError, Policy, ProtocolError, Report, State
from bulkstatus.adapter import Call, Request
from bulkstatus.cli import _options, _output
from bulkstatus.cli._options import _Lines, start_log
from bulkstatus.testing import FakeResponse, FakeTransport
from reliability.hostile import TEXTS, left_raw
from support import Plain, Scripted, ask, raw_server

NOW = datetime(2026, 1, 31, tzinfo=UTC)
URL = "https://plain.test"


class Quoting(Plain, frozen=True, kw_only=True):
    """A stranger's adapter that puts the provider's words into its messages as they come."""

    def status(self, id):
        def read(response):
            raise ProtocolError(f"it said {json.loads(response.body)}", retryable=True)

        return Call(Request.to(self.base_url, "bulks", id), read)


class Ear(logging.Handler):
    """Keeps what is logged, as a file would get it."""

    def __init__(self):
        super().__init__(logging.DEBUG)
        self.lines = []

    def emit(self, record):
        self.lines.append(self.format(record))


@pytest.fixture
def heard():
    """What the library and all below it log, at DEBUG."""
    ear, names = Ear(), ("bulkstatus", "stamina")
    for name in names:
        logging.getLogger(name).addHandler(ear)
    yield ear.lines
    for name in names:
        logging.getLogger(name).removeHandler(ear)


@pytest.mark.parametrize("name", TEXTS)
def test_a_log_gets_no_line_that_a_provider_wrote(kind, quick, heard, monkeypatch, name):
    """Nor does an error: its text is one printable line, although an adapter quotes what it got."""
    monkeypatch.setattr("bulkstatus._retry._WORTH_SAYING", -1)
    transport = FakeTransport({URL: Scripted(lambda _: FakeResponse.json(TEXTS[name]))})
    with pytest.raises(BulkStatusError) as caught:
        ask(kind, Quoting(base_url=URL), transport=transport, policy=Policy(attempts=2))
    assert heard
    for text in (*heard, str(caught.value), caught.value.message, caught.value.args[0]):
        assert not left_raw(text, "")
        assert len(text) <= 5_000


@pytest.mark.parametrize("name", TEXTS)
def test_a_log_of_the_command_line_is_lines(capsys, name):
    """Whatever a record says, of whichever library."""
    handler = _Lines()
    handler.verbose = True
    handler.emit(logging.LogRecord("httpx", logging.INFO, "x", 1, "said %s", (TEXTS[name],), None))
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert not left_raw(err)


def test_the_reason_behind_a_status_is_not_believed(kind, transport, capsys):
    """A server may put an escape into it; neither an error nor the command line's log repeats that."""
    start_log(verbose=True)
    try:
        reason = b"HTTP/1.1 404 \x1b]0;owned\x07\r\nContent-Length: 0\r\n\r\n"
        with raw_server(reason) as server, pytest.raises(BulkStatusError) as caught:
            ask(kind, Plain(base_url=server.url))
    finally:
        start_log(verbose=False)
        for name in ("httpx", "stamina"):  # else it would log in the tests that come after this one
            logging.getLogger(name).removeHandler(_options._LINES)
    err = capsys.readouterr().err
    # aiohttp's transport passes no reason on.
    assert (r"404 \x1b]0;owned\x07" if transport == "httpx" else "404 Not Found") in err
    assert not left_raw(str(caught.value) + err)


@pytest.mark.row("B92")
@pytest.mark.parametrize(
    "text", [*TEXTS.values(), "", " ", "a b", "-rf", "a\u00a0b", "a\u3000b", "$(x) `y` *"]
)
def test_a_name_is_one_word(capsys, text):
    """Whatever a status, an operation or a step holds; else the next command would take it for two."""
    status = BulkStatus(source="payments", provider="weavr", id=text, state=State.RUNNING, observed_at=NOW)
    _output.report(Report(statuses=(status,), complete=True, observed_at=status.observed_at), "name")
    _output.operations([BulkOperation(id=text, state=State.FAILED)], "name", payload=False)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == (2 if text else 1)
    for line in lines:
        assert line.split() == [line]
        assert not left_raw(line, "")
