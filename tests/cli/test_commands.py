"""The commands, in this process, against providers on loopback."""

import csv
import io
import json
import logging
import os
import re
import stat
import sys
from contextlib import contextmanager
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import get_args

import jsonschema
import pytest

import bulkstatus
from bulkstatus.cli import _config, _options, _refs
from bulkstatus.cli._text import STDIN
from bulkstatus.testing import Fault, load_fake, serve
from reliability.canaries import PERSONAL

from .conftest import config_text

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
CLOSED = "http://127.0.0.1:9"  # the discard port: nobody listens


def valid(document, kind):
    """Check a document against the published schema."""
    schema = bulkstatus.json_schema()
    jsonschema.validate(document, {"$ref": f"#/$defs/{kind}", "$defs": schema["$defs"]})


def stdin_of(data):
    """A stdin that holds these bytes."""
    return SimpleNamespace(buffer=io.BytesIO(data), isatty=lambda: False)


def test_get_shows_every_reference_once(here):
    """In the order asked for; a state is not an exit code unless asked for."""
    done = here("get", "payments:2", "edge:aa11", "payments:2", "-o", "name")
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines() == ["payments:2", "edge:aa11"]


@pytest.mark.parametrize(
    ("refs", "code"),
    [
        (["payments:1", "edge:aa11"], 0),
        (["payments:2"], 6),
        (["payments:3", "payments:2"], 3),
        (["payments:4"], 8),
        (["payments:5"], 9),
        (["payments:6"], 7),
        (["payments:8"], 9),
        (["edge:bb22"], 3),
    ],
)
def test_the_exit_code_tells_states_when_asked(here, refs, code):
    """With --exit-status only."""
    assert here("get", *refs).code == 0
    assert here("get", *refs, "--exit-status").code == code


def test_get_as_json_is_a_report_of_the_schema(here):
    """Whatever the number of references."""
    done = here("get", "payments:2", "-o", "json")
    document = json.loads(done.out)
    valid(document, "Report")
    assert document["complete"] is True
    assert document["statuses"][0]["counts"]["failed"] == 3
    assert document["statuses"][0]["id"] == "2"


def test_get_as_jsonl_is_one_status_a_line(here):
    """Each of the schema."""
    rows = [json.loads(line) for line in here("get", "payments:1", "crm:d-1", "-o", "jsonl").out.splitlines()]
    for row in rows:
        valid(row, "BulkStatus")
    assert [row["state"] for row in rows] == ["succeeded", "succeeded"]


def test_get_as_csv_is_guarded(here):
    """A formula of the provider's is text, and a hostile word is escaped."""
    (row,) = csv.DictReader(io.StringIO(here("get", "payments:6", "-o", "csv").out))
    assert row["action"] == "'=HYPERLINK(\\x1b]0;x\\x07)"
    assert row["native_state"] == "EVIL\\x1b[31m\\u202eword"
    assert row["state"] == "unknown"
    assert row["finished_at"] == ""


def test_what_could_not_be_asked_is_told(here):
    """An id that the provider does not know: code 5, one line on stderr, the others answered."""
    done = here("get", "payments:1", "payments:999", "-o", "json")
    assert done.code == 5
    (line,) = done.err.splitlines()
    assert line.startswith("payments:999 (weavr): cannot ask: ")
    assert "check the id" in line
    document = json.loads(done.out)
    valid(document, "Report")
    assert not document["complete"]
    assert len(document["statuses"]) == len(document["failures"]) == 1


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["get", "paymants:1"], "did you mean 'payments'?"),
        (["get", "payments"], "source:id"),
        (["get", "payments:abc"], "not a bulk id here"),
        (["list", "--source", "crn"], "did you mean 'crm'?"),
        (["list", "--state", "runing"], "did you mean 'running'?"),
        (["list", "--state", "Running"], "lower case: running"),
        (["list", "--state", "FAILED,partial"], "repeat the option: --state failed --state partial"),
        (["list", "--state", "x\x1b[2J"], "there are queued, running, "),
        (["get", "payments:1", "--source", "crn"], "did you mean 'crm'?"),
        (["get", "payments:1", "--source", "crm", "--source", "crn"], "did you mean 'crm'?"),
        (["list", "--source", "edge", "--no-journal"], "get edge:ID"),
        (["operations", "edge:aa11"], "no operations"),
        (["operations", "payments:1", "--state", "x"], "not a state"),
        (["operations", "payments:1", "--state", "Failed"], "lower case: failed"),
        (["operations", "payments:1", "--limit", "0"], "1 or more"),
        (["operations", "payments:1", "--sequence", "-1"], "negative"),
        (["sources", "--source", "crn"], "did you mean 'crm'?"),
        (["get", "payments:1", "--outptu", "json"], "Did you mean --output?"),
        (["get", "payments:1", "-o", "jsn"], 'Did you mean "json"?'),
        (["gett"], 'Did you mean "get"?'),
        (["get"], "See 'bulkstatus get --help'."),
        (["config", "chek"], 'Did you mean "check"?'),
        (["list", "extra"], "See 'bulkstatus list --help'."),
        (["get", "--config", "/nowhere/b.toml", "payments:1"], "config init"),
        (["demo", "--seconds", "0"], "1 to 3600"),
        (["demo", "--seconds", "0.9"], "1 to 3600"),
        (["demo", "--seconds", "3601"], "1 to 3600"),
        (["demo", "--seconds", "nan"], "1 to 3600"),
        (["get", "x\x1b[2J"], "\\x1b[2J"),
        (["get", "--x\x1b[2J"], "\\x1b[2J"),
    ],
)
def test_wrong_usage_is_2_with_a_hint(here, world, words, hint):
    """One line on stderr, nothing on stdout, nothing sent."""
    before = len(world.weavr.requests) + len(world.cloudflare.requests) + len(world.druid.requests)
    done = here(*words)
    assert (done.code, done.out) == (2, "")
    (line,) = done.err.splitlines()
    assert hint in line
    assert line.isprintable()
    assert len(world.weavr.requests) + len(world.cloudflare.requests) + len(world.druid.requests) == before


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (None, None),
        ("90", 90),
        ("90s", 90),
        ("3m", 180),
        ("1h30m", 5_400),
        ("1h30m5s", 5_405),
        ("0.5", 0.5),
        ("1.5m", 90),
    ],
)
def test_a_duration_is_read(text, value):
    """Plain numbers are seconds."""
    assert _options.seconds(text) == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "s",
        "0",
        "0s",
        "-5",
        "+5",
        "nan",
        "inf",
        "1e3",
        "1e400",
        "banana",
        "5 s",
        "3D",
        "30m1h",
        "1h2d",
        "9" * 400,
        "\u0665",
        "8761h",
    ],
)
def test_a_duration_that_is_none_is_refused(text):
    """With an example of one."""
    with pytest.raises(bulkstatus.ConfigError, match="1h30m"):
        _options.seconds(text)


def test_a_bad_timeout_is_wrong_usage(here):
    """Also one that looks like an option."""
    for value in ("-5", "nan", "soon"):
        done = here("get", "payments:1", "--timeout", value)
        assert (done.code, done.out) == (2, "")
        assert "1h30m" in done.err


def test_a_timeout_that_ends_is_7(here, world):
    """The source is named; it says nothing about the bulk."""
    slow = world.weavr.fail(Fault(delay=1.0, where="/bulks/4"))
    try:
        done = here("get", "payments:4", "--timeout", "0.1s")
    finally:
        world.weavr.heal(slow)
    assert done.code == 7
    assert "try a longer --timeout" in done.err


def test_references_come_from_stdin(here, monkeypatch):
    """Separated by white space or NUL, CRLF too, blanks and doubles dropped, a BOM skipped."""
    data = b"\xef\xbb\xbfpayments:1\r\n\r\n payments:2\tpayments:1\0edge:aa11\0\n"
    monkeypatch.setattr(sys, "stdin", stdin_of(data))
    done = here("get", "crm:d-1", "-", "-o", "name")
    assert done.out.split() == ["crm:d-1", "payments:1", "payments:2", "edge:aa11"]


@pytest.mark.parametrize("data", [b"\xff\xfe", b"payments:1\x01", b"\x7fELF", b"a\x1b[0m"])
def test_rubbish_on_stdin_is_wrong_usage(here, monkeypatch, data):
    """Nothing is sent for it."""
    monkeypatch.setattr(sys, "stdin", stdin_of(data))
    done = here("get", "-")
    assert (done.code, done.out) == (2, "")
    assert "stdin is not text" in done.err


def test_too_many_references_are_refused(monkeypatch):
    """10,000 are allowed, and doubles do not count."""
    refs = [f"payments:{number}" for number in range(10_001)]
    assert len(_refs.references([*refs[:-1], *refs[:5]])) == 10_000
    with pytest.raises(bulkstatus.ConfigError, match="more than 10,000"):
        _refs.references(refs)
    monkeypatch.setattr(sys, "stdin", stdin_of(b"x" * 5_000_000))
    with pytest.raises(bulkstatus.ConfigError, match="stdin holds more than 10,000"):
        _refs.references([STDIN])
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(bulkstatus.ConfigError, match="closed"):
        _refs.references([STDIN])


def test_a_keyboard_is_told_what_is_awaited(here, monkeypatch):
    """A person who types `-` by mistake sees why nothing happens."""
    keyboard = stdin_of(b"payments:1\n")
    keyboard.isatty = lambda: True
    monkeypatch.setattr(sys, "stdin", keyboard)
    assert "Ctrl-D" in here("get", "-").err


NOTHING = "bulkstatus: no references were given, so nothing was asked and nothing is known\n"


def test_no_references_are_wrong_usage(here, monkeypatch):
    """An empty pipe does not pass for bulks that are all well."""
    monkeypatch.setattr(sys, "stdin", stdin_of(b"\n"))
    done = here("get", "-", "-o", "json")
    assert (done.code, done.out, done.err) == (2, "", NOTHING)


def test_no_references_left_are_wrong_usage(here):
    """As when --source leaves none."""
    done = here("get", "payments:1", "--source", "crm", "--exit-status")
    assert (done.code, done.out) == (2, "")
    assert done.err.endswith(NOTHING)
    assert "1 of 1 references" in done.err


def test_one_reference_is_needed_for_operations(here, monkeypatch):
    """It may come from stdin too."""
    monkeypatch.setattr(sys, "stdin", stdin_of(b"payments:1\n"))
    assert len(here("operations", "-", "-o", "name").out.splitlines()) == 10
    monkeypatch.setattr(sys, "stdin", stdin_of(b"payments:1 payments:2\n"))
    assert here("operations", "-").code == 2


def test_get_opens_only_the_sources_it_needs(here, monkeypatch):
    """A source whose credentials are missing does not hinder the others."""
    monkeypatch.delenv("CF_TOKEN")
    assert here("get", "payments:1", "-o", "name").out == "payments:1\n"
    done = here("get", "payments:1", "edge:aa11")
    assert done.code == 2
    assert "CF_TOKEN" in done.err


@pytest.mark.parametrize(
    ("words", "brief"),
    [
        (["get", "payments:1"], True),
        (["get", *(f"payments:{number}" for number in range(1, 1_002))], False),
        (["explain", "payments:1"], True),
        (["operations", "payments:1"], False),
        (["operations", "payments:1", "--limit", "1000"], True),
        (["operations", "payments:1", "--limit", "1001"], False),
        (["operations", "payments:1", "--sequence", "3"], True),
        (["sources"], True),
        (["list"], False),
    ],
)
def test_whoever_may_ask_a_thousand_times_has_what_makes_that_quick(here, monkeypatch, words, brief):
    """Importing the transport of the extra `fast` takes longer than it saves those who ask less."""
    told = []
    real = bulkstatus.AsyncClient.__init__

    def spy(self, *args, _brief=False, **options):
        told.append(_brief)
        real(self, *args, _brief=_brief, **options)
        raise bulkstatus.ConfigError("enough is known")

    monkeypatch.setattr(bulkstatus.AsyncClient, "__init__", spy)
    assert here(*words).code == 2
    assert told == [brief]


def test_get_keeps_to_the_sources_named(here):
    """What is left out is said."""
    done = here("get", "payments:1", "edge:aa11", "--source", "payments", "-o", "name")
    assert (done.code, done.out) == (0, "payments:1\n")
    assert "1 of 2 references" in done.err


def test_get_sets_up_only_the_sources_it_needs(here, monkeypatch):
    """Not every one that --source names."""
    monkeypatch.delenv("CF_TOKEN")
    done = here("get", "payments:1", "--source", "payments", "--source", "edge", "-o", "name")
    assert (done.code, done.out) == (0, "payments:1\n")


HINT = "bulkstatus: {} the list's word only; --confirm asks for each"


def test_the_word_of_a_list_is_marked_as_such(here):
    """With what settles it; JSON has it in each row."""
    done = here("list", "--source", "crm")
    assert done.code == 0
    assert "succeeded?" in done.out
    assert done.err.splitlines() == [HINT.format("1 ended state is")]
    for form in ("csv", "name"):
        done = here("list", "--source", "payments", "--state", "succeeded", "-o", form)
        assert done.err.splitlines() == [HINT.format("2 ended states are")]
    done = here("list", "--source", "crm", "-o", "json")
    assert done.err == ""
    document = json.loads(done.out)
    valid(document, "Report")
    assert document["statuses"][0]["provisional"] is True


def test_a_list_can_be_confirmed(here, world):
    """By a request for each bulk that has ended."""
    before = len(world.druid.requests)
    done = here("list", "--source", "crm", "--confirm")
    assert (done.code, done.err) == (0, "")
    assert "succeeded " in done.out
    assert [request.path.rpartition("/")[2] for request in world.druid.requests[before:]][-2:] == [
        "bulk",
        "results",
    ]


@pytest.mark.parametrize(("state", "code"), [("succeeded", 0), ("partial", 6), ("failed", 3), ("running", 8)])
def test_the_exit_code_of_a_list_is_confirmed(here, state, code):
    """--exit-status takes no list's word for it."""
    done = here("list", "--source", "payments", "--state", state, "--exit-status")
    assert done.code == code
    assert "?" not in done.out.replace("?/100", "").replace("?/4", "")
    assert done.err == ""


def test_what_cannot_be_confirmed_is_told(here, world):
    """By its id, and as code 7."""
    broken = world.druid.fail(Fault(status=400, where="/d-1/results", times=None))
    try:
        done = here("list", "--source", "crm", "--confirm", "-o", "name")
    finally:
        world.druid.heal(broken)
    assert (done.code, done.out) == (7, "")
    assert done.err.startswith("crm:d-1 (druid): cannot ask: ")


def test_what_nothing_confirms_stays_the_word_of_a_list(here, monkeypatch):
    """It is said, it is not recommended again, and success is not concluded from it."""
    row = bulkstatus.BulkStatus(
        source="crm",
        provider="druid",
        id="d-1",
        state=bulkstatus.State.SUCCEEDED,
        observed_at=NOW,
        provisional=True,
    )
    found = bulkstatus.Report(statuses=(row,), complete=True, observed_at=NOW)
    batches = [(row,), ()]
    pages = SimpleNamespace(rows=lambda _within: batches.pop(0), report=lambda: found)
    monkeypatch.setattr(bulkstatus.Client, "list_pages", lambda _client, **_more: pages)
    done = here("list", "--exit-status")
    assert done.code == 7
    assert done.err == "bulkstatus: 1 ended state is the list's word only\n"


def test_the_states_are_completed():
    """Shells offer the nine words, and they are the library's."""
    from bulkstatus.cli._app import app

    assert get_args(_options.StateWord) == tuple(bulkstatus.State)
    assert '"queued" "running" "paused"' in app.generate_completion(shell="bash")


def test_the_librarys_warnings_are_shown(here, monkeypatch):
    """One plain line each, on stderr, without -v; nobody else's."""

    def warn(client, refs, **more):
        logging.getLogger("bulkstatus").warning("payments: the provider asks to wait %d s\x1b", 100)
        logging.getLogger("bulkstatus").info("no")
        logging.getLogger("httpx").warning("no")
        return ask(client, refs, **more)

    ask = bulkstatus.Client.get_many
    monkeypatch.setattr(bulkstatus.Client, "get_many", warn)
    done = here("get", "payments:1", "-o", "name")
    assert (done.code, done.out) == (0, "payments:1\n")
    assert done.err == "payments: the provider asks to wait 100 s\\x1b\n"


def test_a_wrong_setting_beside_sources_that_answer_is_7(here, monkeypatch):
    """2 says that nothing was sent, which would not be true."""
    failure = bulkstatus.Failure(
        source="edge", provider="cloudflare", kind="config", message="m", retryable=False
    )
    found = bulkstatus.Report(statuses=(), failures=(failure,), complete=False, observed_at=NOW)
    monkeypatch.setattr(bulkstatus.Client, "get_many", lambda _client, _refs, **_more: found)
    done = here("get", "payments:1", "edge:aa11")
    assert (done.code, done.err) == (7, "edge (cloudflare): cannot ask: m\n")
    assert here("get", "edge:aa11").code == 2


def test_list_narrows_by_state_and_names_what_it_skips(here):
    """A provider without a list is skipped, not missing in silence."""
    done = here("list", "--state", "running", "--state", "partial", "-o", "name")
    assert done.code == 0
    assert set(done.out.split()) == {"payments:2", "payments:4"}
    assert done.err.startswith("edge (cloudflare): not asked:")
    assert "get edge:ID" in done.err


def test_list_as_a_table_has_a_header(here):
    """And no control characters whatever the provider says."""
    done = here("list", "--source", "payments")
    assert len(done.out.splitlines()) == 9
    assert "\x1b" not in done.out
    assert "EVIL\\x1b[31m\\u202eword" in done.out


@pytest.fixture
def quick(monkeypatch):
    """Retries without a pause to speak of."""
    monkeypatch.setattr("bulkstatus._retry._BASE", 0.001)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(("off", "code"), [("payments", 7), ("edge", 0), ("crm", 7)])
def test_one_of_three_sources_switched_off(here, world, tmp_path, off, code):
    """The others are listed, the one is named, and the code says so unless that is allowed."""
    urls = [
        url if name != off else CLOSED
        for name, url in zip(("payments", "edge", "crm"), world.urls, strict=True)
    ]
    config = tmp_path / "b.toml"
    config.write_text(config_text(*urls))
    done = here("list", "--config", config, "-o", "json")
    assert done.code == code
    document = json.loads(done.out)
    valid(document, "Report")
    assert document["complete"] == (code == 0)
    assert ({"payments", "crm"} - {off}) == {row["source"] for row in document["statuses"]}
    if code:
        (line,) = [line for line in done.err.splitlines() if "edge" not in line]
        assert line.startswith(f"{off} (")
        assert "cannot ask" in line
        assert here("list", "--config", config, "--allow-incomplete").code == 0


def test_wrong_credentials_are_4(here, monkeypatch):
    """Refused by the provider, and said so without showing them."""
    monkeypatch.setenv("WEAVR_AUTH_TOKEN", "another-canary")
    done = here("get", "payments:1", "edge:aa11")
    assert done.code == 4
    assert "edge:aa11" in done.out
    assert "another-canary" not in done.out + done.err
    assert here("explain", "payments:1").code == 4
    assert here("list", "--source", "payments").code == 4


def test_a_misspelt_key_is_2(here, world, tmp_path):
    """With the file, the line and the nearest right key."""
    config = tmp_path / "b.toml"
    config.write_text(world.config.read_text().replace("api_key =", "api_kee ="))
    done = here("list", "--config", config)
    assert (done.code, done.out) == (2, "")
    assert f"{config}:5" in done.err
    assert "did you mean 'api_key'?" in done.err


@pytest.mark.payloads
@pytest.mark.parametrize("form", ["json", "jsonl", "csv", "table", "name"])
def test_operations_have_no_payload_unless_asked(here, form):
    """In any form, with names as in the schema."""
    words = ("operations", "payments:2", "--limit", "3", "-o", form)
    plain = here(*words)
    assert plain.code == 0
    assert PERSONAL not in plain.out
    shown = here(*words, "--show-payload")
    assert (PERSONAL in shown.out) == (form != "name")
    if form == "json":
        for row in json.loads(plain.out):
            valid(row, "BulkOperation")
        for row in json.loads(shown.out):
            valid(row, "BulkOperationWithPayload")
            assert PERSONAL in row["request"]


def test_operations_are_narrowed(here):
    """By state, by position and by number."""
    rows = [
        json.loads(line)
        for line in here("operations", "payments:2", "--state", "failed", "-o", "jsonl").out.splitlines()
    ]
    assert [row["state"] for row in rows] == ["failed"] * 3
    (row,) = csv.DictReader(io.StringIO(here("operations", "payments:1", "--sequence", "4", "-o", "csv").out))
    assert row["sequence"] == "4"
    assert len(here("operations", "payments:7", "--limit", "150", "-o", "name").out.splitlines()) == 150


def test_an_operation_that_is_not_there_is_said(here):
    """On stderr; the output is as empty as the answer."""
    done = here("operations", "payments:1", "--sequence", "99", "-o", "json")
    assert (done.code, done.out) == (0, "[]\n")
    assert done.err == "bulkstatus: payments:1 has no operation at position 99\n"
    done = here("operations", "payments:1", "--sequence", "4", "--state", "failed", "-o", "name")
    assert done.err == "bulkstatus: payments:1 has no operation at position 4 in these states\n"


def test_a_question_that_the_provider_can_answer_is_named(here):
    """Where its operations do not tell how they ended; not where they do, or none came."""
    assert "--state failed" in here("operations", "crm:d-1", "-o", "jsonl").err
    assert here("operations", "crm:d-1", "--state", "failed").err == ""
    assert here("operations", "payments:1", "--limit", "1").err == ""


def test_operations_that_break_off_keep_their_rows(here, monkeypatch):
    """The code tells, and so does stderr."""

    def rows(*_words, **_more):
        yield bulkstatus.BulkOperation(id="first", state=bulkstatus.State.SUCCEEDED)
        raise bulkstatus.AuthError("refused", source="payments", provider="weavr")

    monkeypatch.setattr(bulkstatus.Client, "operations", rows)
    done = here("operations", "payments:7", "-o", "name")
    assert (done.code, done.out) == (4, "first\n")
    assert done.err.startswith("bulkstatus: payments (weavr): cannot ask: refused; ")


def test_operations_of_a_bulk_that_is_not_there(here):
    """As for any other question about it."""
    done = here("operations", "payments:404", "-o", "json")
    assert (done.code, done.out) == (5, "")


def test_operations_end_at_the_timeout(monkeypatch, here):
    """What came before it is printed."""
    moments = iter([0.0, 0.1, 99.0])
    monkeypatch.setattr("bulkstatus.cli._app.time", SimpleNamespace(monotonic=lambda: next(moments)))
    done = here("operations", "payments:1", "-o", "name", "--timeout", "5s")
    assert done.code == 7
    assert len(done.out.splitlines()) == 1
    assert "not done within 5 s" in done.err


def test_explain_speaks_plainly(here):
    """State, word, counts and the next command."""
    done = here("explain", "payments:2")
    assert done.code == 0
    for part in (
        "payments:2 (weavr)",
        "partial, an end",
        "'PARTIALLY_COMPLETED'",
        "247 succeeded",
        "--state failed",
    ):
        assert part in done.out
    valid(json.loads(here("explain", "payments:2", "-o", "json").out), "BulkStatus")
    assert here("explain", "payments:2", "-o", "name").out == "payments:2\n"
    assert here("explain", "payments:404").code == 5


def test_sources_are_looked_at(here):
    """Each with what it can do; a source that cannot be set up is shown among them."""
    done = here("sources")
    assert done.code == 0
    payments, edge, crm = done.out.splitlines()[1:]
    assert payments.split()[:4] == ["payments", "weavr", "yes", "yes"]
    assert payments.endswith("get, list, operations")
    assert "100 in 60 s, 1,000 in 3600 s" in payments
    assert edge.split()[:4] == ["edge", "cloudflare", "yes", "yes"]
    assert edge.endswith("get")
    assert re.search(r"  (99|[1-8]?\d|9[0-8]) of 100 in 60 s  ", payments)
    assert "none documented" in crm
    for row in json.loads(here("sources", "-o", "json").out):
        valid(row, "SourceHealth")
    for line in here("sources", "-o", "jsonl").out.splitlines():
        valid(json.loads(line), "SourceHealth")
    assert here("sources", "-o", "name", "--source", "crm").out == "crm\n"
    assert here("sources", "-o", "csv").out.startswith("source,provider,reachable,accepted,limits,left,can\n")


def test_a_source_that_cannot_be_set_up_hides_no_other(here, monkeypatch, world, tmp_path):
    """An unset variable, refused credentials and a provider that is not installed: each in its own row."""
    monkeypatch.delenv("WEAVR_API_KEY")
    monkeypatch.setenv("CF_TOKEN", "wrong")
    config = tmp_path / "b.toml"
    config.write_text(f'{world.config.read_text()}\n[sources.other]\nprovider = "nobody"\n')
    done = here("sources", "--config", config)
    assert done.code == 4
    rows = {line.split()[0]: line.split()[1:4] for line in done.out.splitlines()}
    assert rows["payments"] == ["weavr", "?", "?"]
    assert rows["edge"] == ["cloudflare", "yes", "no"]
    assert rows["crm"] == ["druid", "yes", "yes"]
    assert rows["other"] == ["nobody", "?", "?"]
    assert "WEAVR_API_KEY" in done.err
    assert len(done.err.splitlines()) == 3
    assert here("sources", "--config", config, "--source", "payments").code == 2


@pytest.mark.parametrize("form", ["table", "json", "jsonl", "csv", "name"])
def test_providers_are_named(here, form):
    """In every form, all four of them."""
    done = here("providers", "-o", form)
    assert done.code == 0
    for word in ("weavr", "cloudflare", "druid", "openai"):
        assert word in done.out


def test_a_provider_with_a_problem_is_marked(here, monkeypatch):
    """And it is no error of the command."""
    doubled = bulkstatus.Provider("weavr", "a 1, b 2", "claimed by a 1 and by b 2: uninstall one")
    monkeypatch.setattr("bulkstatus.cli._sources.providers", lambda: (doubled,))
    done = here("providers")
    assert done.code == 0
    assert "uninstall one" in done.out


def test_the_configuration_is_found(here, world, tmp_path):
    """Where it is looked for, and whether it is there."""
    assert here("config", "path").out == f"{world.config}\n"
    done = here("config", "path", "--config", tmp_path / "none.toml")
    assert done.out == f"{tmp_path / 'none.toml'}\n"
    assert "config init" in done.err


def test_the_configuration_is_checked(here, monkeypatch):
    """Every source by itself, nothing sent."""
    assert here("config", "check").out.splitlines() == [
        "payments (weavr): ok",
        "edge (cloudflare): ok",
        "crm (druid): ok",
    ]
    monkeypatch.delenv("WEAVR_API_KEY")
    monkeypatch.delenv("DRUID_SECRET")
    done = here("config", "check")
    assert (done.code, done.out) == (2, "edge (cloudflare): ok\n")
    assert "WEAVR_API_KEY" in done.err
    assert "DRUID_SECRET" in done.err
    assert "2 of 3" in done.err


@pytest.fixture
def password_store(tmp_path, monkeypatch):
    """A program `pass`, which the starter names."""
    program = tmp_path / "bin" / "pass"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho secret\n")
    program.chmod(0o700)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")


def test_the_starter_is_private_and_overwrites_nothing(here, tmp_path):
    """Mode 0600 in a folder of mode 0700."""
    file = tmp_path / "folder" / "bulkstatus.toml"
    done = here("config", "init", file)
    assert (done.code, done.out) == (0, f"{file}\n")
    assert "config check" in done.err
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    file.write_text("mine")
    again = here("config", "init", file)
    assert again.code == 2
    assert file.read_text() == "mine"
    assert here("config", "init", file / "below").code == 2


def test_the_starter_goes_where_the_configuration_is_looked_for(here, monkeypatch, tmp_path):
    """Without a path."""
    monkeypatch.setenv("BULKSTATUS_CONFIG", str(tmp_path / "a" / "b.toml"))
    assert here("config", "init").out == f"{tmp_path / 'a' / 'b.toml'}\n"


def test_the_starter_follows_no_link(here, tmp_path):
    """A link that somebody laid there is left alone."""
    link = tmp_path / "b.toml"
    link.symlink_to(tmp_path / "target")
    assert here("config", "init", link).code == 2
    assert not (tmp_path / "target").exists()


def test_the_starter_is_right_once_its_settings_are_taken_in(tmp_path, monkeypatch, password_store):
    """Every setting in it is one of the adapter's, for all four providers."""
    lines = [
        line[1:] if line[:1] == "#" and line[1:2].strip() else line for line in _config.STARTER.splitlines()
    ]
    file = tmp_path / "bulkstatus.toml"
    file.write_text("\n".join(lines))
    (tmp_path / "cloudflare-token").write_text("token\n")
    for name in ("WEAVR_API_KEY", "WEAVR_AUTH_TOKEN", "DRUID_CLIENT_ID", "OPENAI_API_KEY"):
        monkeypatch.setenv(name, "value")
    built = bulkstatus.read_config(file).build()
    assert {adapter.provider for adapter in built.values()} == {"weavr", "cloudflare", "druid", "openai"}


def test_the_schema_is_json_schema(here):
    """Valid by its own rules."""
    document = json.loads(here("schema").out)
    jsonschema.Draft202012Validator.check_schema(document)
    assert document == json.loads(json.dumps(bulkstatus.json_schema()))


OTHERS = [[], ["config"], ["journal"], ["--install-completion"]]
COMMANDS = [
    ["get"],
    ["list"],
    ["wait"],
    ["watch"],
    ["operations"],
    ["explain"],
    ["resume"],
    ["track"],
    ["untrack"],
    ["history"],
    ["changes"],
    ["drift"],
    ["journal", "path"],
    ["journal", "stats"],
    ["journal", "prune"],
    ["journal", "vacuum"],
    ["journal", "export"],
    ["sources"],
    ["providers"],
    ["config", "path"],
    ["config", "check"],
    ["config", "init"],
    ["schema"],
    ["new-adapter"],
    ["demo"],
    ["fake"],
]


@pytest.mark.parametrize("command", [*COMMANDS, *OTHERS], ids=" ".join)
def test_the_help_of_every_command_has_two_examples(here, command):
    """And says what the command does."""
    done = here(*command, "--help")
    assert done.code == 0
    examples = [line for line in done.out.splitlines() if line.startswith(f" bulkstatus {' '.join(command)}")]
    one_is_in_a_pipe = command in (["get"], ["config", "path"])
    assert len(examples) >= (1 if one_is_in_a_pipe else 2)
    assert (f"{' '.join(command)} [OPTIONS] REF..." in done.out) == (
        command in (["get"], ["wait"], ["track"], ["untrack"])
    )
    assert ("watch [OPTIONS] [REF...]" in done.out) == (command == ["watch"])


def test_the_help_names_every_command(here):
    """None is forgotten in the list above either."""
    from bulkstatus.cli._app import app, config_app
    from bulkstatus.cli._journal import journal_app

    done = here("--help")
    for command in COMMANDS:
        assert command[0] in done.out
    named = {name for name in app if not name.startswith("-")}
    assert named == {command[0] for command in COMMANDS}
    for group in (config_app, journal_app):
        named = {name for name in group if not name.startswith("-")}
        assert named == {command[1] for command in COMMANDS if command[0] == group.name[0]}
    assert here().out == done.out


def test_a_bug_is_one_line(here, monkeypatch):
    """The type only: its text may hold what nobody should see."""
    monkeypatch.setattr("bulkstatus.json_schema", lambda: 1 / 0)
    done = here("schema")
    assert (done.code, done.out) == (1, "")
    assert done.err == "bulkstatus: internal error (ZeroDivisionError); run again with -v for the traceback\n"


def test_credentials_in_clear_are_taken_where_allowed(here, tmp_path):
    """With allow_plaintext in the source, and still in no output."""
    fake = load_fake("weavr").demo()
    with serve(fake) as url:
        config = tmp_path / "b.toml"
        config.write_text(
            f'[sources.p]\nprovider = "weavr"\nbase_url = "{url}"\n'
            f'api_key = "{fake.api_key}"\nauth_token = "{fake.auth_token}"\nallow_plaintext = true\n'
        )
        config.chmod(0o600)
        refs = here("list", "--config", config, "-o", "name").out.split()
        log = here("explain", refs[0], "--config", config)
    assert len(refs) == len(fake.bulk_ids())
    assert fake.api_key not in log.out + log.err


def test_an_error_of_the_system_is_a_bug_too(here, monkeypatch):
    """As long as it is not about writing the output."""

    def broken():
        raise OSError(5_000, "odd")

    monkeypatch.setattr("bulkstatus.json_schema", broken)
    assert here("schema").err.startswith("bulkstatus: internal error (OSError);")


def test_the_demo_can_be_short(here):
    """One line for each bulk at least, and the states it had come to."""
    done = here("demo", "--seconds", "1.5")
    assert (done.code, done.err) == (0, "")
    assert len(done.out.splitlines()) > 16
    assert "16 bulks of 4 providers: " in done.out


def test_a_demo_that_sees_nothing_says_so(here, monkeypatch):
    """One line for each source that could not be asked, and a code that is not 0."""

    @contextmanager
    def nowhere(fake):
        yield f"{CLOSED}{fake.prefix}"

    monkeypatch.setattr("bulkstatus.cli._demo.serve", nowhere)
    done = here("demo", "--seconds", "3")
    assert done.code == 7
    assert done.out.splitlines()[-1] == "0 bulks of 0 providers: none was seen."
    assert len(done.err.splitlines()) == 4
