"""Sentences, cells and tables, without a process."""

import csv
import errno
import io
import json
import os
import tomllib
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from bulkstatus import BulkOperation, BulkStatus, Counts, Failure, Report, Skipped, State, Unavailable
from bulkstatus.adapter import Vocabulary
from bulkstatus.cli import _explain, _output, _text
from bulkstatus.cli._live import bar, status_table

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
BIDI = "a\u202eb"


def status(**more):
    """A running bulk, with other fields as given."""
    fields = {
        "source": "payments",
        "provider": "weavr",
        "id": "1",
        "state": State.RUNNING,
        "observed_at": NOW,
    }
    return BulkStatus(**{**fields, **more})


def report(*statuses, **more):
    """A report of these statuses."""
    return Report(statuses=statuses, complete=not more, observed_at=NOW, **more)


@pytest.mark.row("B88", "B89", "B90", "B91")
@pytest.mark.parametrize(
    ("value", "cell"),
    [
        (None, ""),
        (0, "0"),
        ("plain", "plain"),
        ("=cmd|x", "'=cmd|x"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@x", "'@x"),
        ("  =1", "'  =1"),
        ("\t=1", "'\\t=1"),
        ("\r=1", "'\\r=1"),
        ("\0=1", "'\\x00=1"),
        ("\uff1d1", "'\uff1d1"),
        ("\uff0b1", "'\uff0b1"),
        ("\uff0d1", "'\uff0d1"),
        ("\uff201", "'\uff201"),
        ("'=1", "'=1"),
        ("a\r\nb", "a\\r\\nb"),
        (BIDI, "a\\u202eb"),
        (NOW, "2026-01-31T12:00:00Z"),
    ],
)
def test_a_cell_is_never_a_formula(value, cell):
    """What a spreadsheet would run is guarded by an apostrophe; None is empty and 0 is 0."""
    assert _output.cell(value) == cell


@pytest.mark.parametrize(("value", "cell"), [("-1", "-1"), (-1.5, "-1.5"), ("-1+1", "'-1+1"), (None, "")])
def test_a_number_in_a_numeric_column_is_left_alone(value, cell):
    """Only a plain number is one."""
    assert _output.cell(value, numeric=True) == cell


def test_csv_keeps_not_said_apart_from_none(capsys):
    """A count that was not said is an empty cell, and 0 is 0."""
    _output.report(report(status(counts=Counts(total=3, failed=0), error='a "b", c')), "csv")
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert tuple(row) == _output.STATUS_COLUMNS
    assert (row["total"], row["failed"], row["succeeded"]) == ("3", "0", "")
    assert row["error"] == 'a "b", c'
    assert row["observed_at"] == "2026-01-31T12:00:00Z"


def test_a_bulk_without_counts_has_empty_cells(capsys):
    """None of them becomes 0."""
    _output.report(report(status()), "csv")
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert [row[name] for name in ("total", "succeeded", "failed", "cancelled", "running", "queued")] == [
        ""
    ] * 6


def test_a_plain_table_is_aligned_and_cuts_nothing(capsys):
    """A header, columns under each other, `-` for what was not said, no escapes."""
    long = "x" * 300
    _output.report(
        report(status(native_state="RUNNING\x1b[1m", action=long), status(id="22", started_at=NOW)), "table"
    )
    header, first, second = capsys.readouterr().out.splitlines()
    assert header.split() == ["REF", "STATE", "PROGRESS", "WORD", "SINCE", "DETAIL"]
    assert first.index("running") == header.index("STATE") == second.index("running")
    assert long in first
    assert "RUNNING\\x1b[1m" in first
    assert "(2026-01-31T12:00:00Z)" in second
    assert second.split()[2:4] == ["-", "-"]


def test_failures_are_told_whatever_the_form(capsys):
    """One line each on stderr, with what to try; stdout stays data."""
    failures = (Failure.of(Unavailable("no answer\x1b", source="payments", provider="weavr", status=503)),)
    skipped = (Skipped(source="edge", provider="cloudflare", reason="no list"),)
    for form in ("table", "json", "jsonl", "csv", "name"):
        _output.report(report(failures=failures, skipped=skipped), form)
        first, second = capsys.readouterr().err.splitlines()
        assert first.startswith("payments (weavr): cannot ask: no answer\\x1b [HTTP 503]; try again")
        assert second == "edge (cloudflare): not asked: no list, as in 'bulkstatus get edge:ID'"


@pytest.mark.parametrize(
    ("fields", "end"),
    [
        ({"kind": "rate_limited", "retry_after": 99.1}, "m; try again in 100 s"),
        ({"kind": "unavailable", "retry_after": 30.0}, "m; try again in 30 s"),
        ({"kind": "unavailable"}, "m; try again, or try 'bulkstatus sources' to see whether it answers"),
        ({"kind": "rate_limited"}, "m; try again in a minute"),
        ({"kind": "rejected"}, "m"),
        ({"kind": "config"}, "m"),
        ({"kind": "auth"}, "m; check its credentials, then try 'bulkstatus sources'"),
        (
            {"kind": "auth", "reason": "client_credentials"},
            "m; check its credentials, then try 'bulkstatus sources'",
        ),
        ({"kind": "auth", "reason": "bad_token_reply"}, "m; check auth_base_url"),
        ({"kind": "protocol", "reason": "no_token_endpoint"}, "m; check auth_base_url"),
        ({"kind": "deadline", "id": "9"}, "m; try a longer --timeout"),
    ],
)
def test_a_failure_line_says_what_to_try(fields, end):
    """And names the bulk when one is meant."""
    line = _text.failure_line(Failure(source="s", provider="p", message="m", retryable=True, **fields))
    assert line == f"{'s:9' if 'id' in fields else 's'} (p): cannot ask: {end}"


def test_a_failure_line_without_provider_or_source():
    """An error of nobody in particular is only its sentence."""
    assert (
        _text.failure_line(Failure(source="", provider="", kind="config", message="m", retryable=False))
        == "m"
    )
    line = _text.failure_line(Failure(source="s", provider="", kind="config", message="m", retryable=False))
    assert line == "s: cannot ask: m"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0s"),
        (0, "0s"),
        (59.9, "59s"),
        (60, "1m"),
        (3_599, "59m"),
        (3_600, "1h"),
        (90_000, "25h"),
        (172_800, "2d"),
    ],
)
def test_a_span_is_its_largest_whole_unit(seconds, text):
    """Never rounded up; days only from two on."""
    assert _text.span(seconds) == text


def test_a_stderr_that_takes_nothing_is_let_go(monkeypatch, tmp_path, capsys):
    """What it still holds is not tried again, and stdout gets none of it."""
    full = SimpleNamespace(write=refuse, flush=refuse)
    with (tmp_path / "stderr").open("wb") as file:
        full.fileno = file.fileno
        monkeypatch.setattr("sys.stderr", full)
        _text.say("one")
        _text.tell("two")
        _text.settle_stderr()
        os.write(file.fileno(), b"lost")
    assert (tmp_path / "stderr").read_bytes() == b""
    monkeypatch.setattr("sys.stderr", None)
    _text.say("three")
    _text.settle_stderr()
    assert capsys.readouterr().out == ""


def refuse(*_more):
    """Fail as a full disk does."""
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.1, "1 s"),
        (99.1, "100 s"),
        (598.5, "599 s"),
        (600, "10 min"),
        (601, "11 min"),
        (7_199, "120 min"),
        (7_200, "2 h"),
        (7_201, "3 h"),
    ],
)
def test_a_pause_is_never_too_short(seconds, text):
    """Rounded up, and to the second below ten minutes."""
    assert _text.pause(seconds) == text


@pytest.mark.parametrize(
    ("counts", "text"),
    [
        (None, ""),
        (Counts(), ""),
        (Counts(total=250), "?/250"),
        (Counts(failed=2), "2/?"),
        (Counts(total=250, succeeded=247, failed=0), "247/250"),
    ],
)
def test_progress_says_what_was_not_said(counts, text):
    """A question mark, never 0."""
    assert _text.progress(counts) == text


@pytest.mark.parametrize(
    ("times", "text"),
    [
        ({}, ""),
        ({"created_at": 5}, "created 5m ago"),
        ({"created_at": 5, "updated_at": 4}, "updated 4m ago"),
        ({"updated_at": 4, "started_at": 3}, "started 3m ago"),
        ({"started_at": 3, "finished_at": 2}, "finished 2m ago"),
        ({"finished_at": -10}, "finished in 10m"),
        ({"finished_at": -0.1}, "finished 0s ago"),
    ],
)
def test_age_is_that_of_the_last_dated_step(times, text):
    """A clock that is ahead shows."""
    known = {name: NOW - timedelta(minutes=minutes) for name, minutes in times.items()}
    assert _text.age(status(**known), NOW) == text


def test_json_is_valid_in_any_encoding(capsys, monkeypatch):
    """What would hide or reorder text is escaped as JSON escapes, and all else too where stdout is not UTF-8."""
    text = f"é {BIDI} \x7f \U000e0041 \U0001f600"
    encoded = _output.to_json({"a": text})
    assert json.loads(encoded) == {"a": text}
    assert "é" in encoded
    assert not set(encoded) & set("\u202e\x7f\U000e0041")
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    assert json.loads(_output.to_json({"a": text})) == {"a": text}
    assert _output.to_json({"a": text}).isascii()


@pytest.mark.parametrize("text", ["\x7f", "a\x7fb", "\x9b", "\x00"])
def test_control_characters_are_escaped_in_plain_text_too(text):
    """Of ASCII, JSON itself leaves only the delete character as it is."""
    assert _output.to_json({"a": text}).isprintable()
    assert json.loads(_output.to_json({"a": text})) == {"a": text}


OPERATION = BulkOperation(id="o\x1b1", sequence=1, state=State.FAILED, error="=1").carrying(
    request='{"name": "Ada Example"}', response="Ada's answer"
)


@pytest.mark.payloads
@pytest.mark.parametrize("form", ["table", "json", "jsonl", "csv", "name"])
def test_payloads_are_shown_only_by_name(capsys, form):
    """No form holds them unless asked, and every form but name does then."""
    _output.operations([OPERATION], form, payload=False)
    assert "Ada" not in capsys.readouterr().out
    _output.operations([OPERATION], form, payload=True)
    out = capsys.readouterr().out
    assert ("Ada Example" in out) == (form != "name")
    assert "\x1b" not in out


@pytest.mark.payloads
@pytest.mark.parametrize("number", [0, 1, 3])
def test_operations_are_one_array(capsys, number):
    """Also when there are none."""
    _output.operations([OPERATION] * number, "json", payload=True)
    rows = json.loads(capsys.readouterr().out)
    assert len(rows) == number
    assert all(row["request"] == '{"name": "Ada Example"}' for row in rows)


def test_an_array_that_breaks_off_is_no_valid_json(capsys):
    """Rows that came are there, and nobody takes them for all."""

    def rows():
        yield OPERATION
        yield OPERATION
        raise Unavailable("gone")

    with pytest.raises(Unavailable):
        _output.operations(rows(), "json", payload=False)
    out = capsys.readouterr().out
    assert out.startswith('[\n{"id"')
    with pytest.raises(json.JSONDecodeError):
        json.loads(out)


def test_operations_of_many_rows(capsys):
    """Every row comes out, beyond what is flushed together."""
    _output.operations([OPERATION] * 250, "csv", payload=False)
    assert len(capsys.readouterr().out.splitlines()) == 251
    _output.operations([BulkOperation(state=State.QUEUED), OPERATION], "name", payload=False)
    assert capsys.readouterr().out == "o\\x1b1\n"
    _output.operations([BulkOperation(state=State.QUEUED)], "table", payload=False)
    assert capsys.readouterr().out.splitlines()[1].split() == ["-", "-", "queued", "-", "-", "-", "-"]


@pytest.mark.parametrize(
    ("counts", "text"),
    [
        (None, ""),
        (Counts(total=0, succeeded=0), ""),
        (Counts(total=10), ""),
        (Counts(total=4, succeeded=2, failed=1), "#########---"),
        (Counts(total=250, succeeded=249), "###########-"),
        (Counts(total=250, succeeded=247, failed=3), "############"),
        (Counts(total=2, succeeded=2, cancelled=2), "############"),
    ],
)
def test_a_bar_is_full_only_at_the_end(counts, text):
    """It is drawn only where counts tell."""
    assert bar(counts, blocks=False).plain == text


@pytest.mark.parametrize("width", [80, 200])
def test_the_terminal_table_never_cuts_a_reference(width):
    """Provider text is text, never markup and never a control sequence."""
    from rich.console import Console

    hostile = status(
        id="9" * 32,
        state=State.FAILED,
        native_state="[bold]\x1b[2J",
        error="[link=https://x]\u202e",
        counts=Counts(total=4, succeeded=1, failed=1),
    )
    screen = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    screen.print(status_table([hostile, status(counts=Counts(total=7)), status()], screen, NOW))
    out = screen.file.getvalue()
    assert "9" * 32 in out
    assert "\x1b" not in out
    assert "[bold]\\x1b[2J" in out
    assert "\u202e" not in out
    assert ("[link=https://x]\\u202e" in out) == (width == 200)


def test_an_explanation_says_what_was_not_said():
    """State, word, counts, times, evidence and the next step, one a line."""
    text = "\n".join(
        _explain.explanation(
            status(
                state=State.PARTIAL,
                native_state="PARTLY\x1b",
                phase="winding_down",
                counts=Counts(total=250, succeeded=247, failed=3),
                on_failure="stop",
                error="3 failed",
                action="/transfers",
                evidence=("one", "two\n"),
                started_at=NOW - timedelta(minutes=3),
                finished_at=NOW + timedelta(minutes=3),
            ),
            NOW,
        )
    )
    assert text.splitlines()[0] == "payments:1 (weavr)"
    for part in (
        "partial, an end: some operations went well",
        "'PARTLY\\x1b'",
        "winding_down",
        "250 in all: 247 succeeded, 3 failed, cancelled not said, running not said, queued not said",
        "stops at the first operation",
        "3 failed",
        "created     not said",
        "started     2026-01-31T11:57:00Z (3m ago)",
        "finished    2026-01-31T12:03:00Z (in 3m)",
        "  - one",
        "  - two\\n",
        "bulkstatus operations payments:1 --state failed",
    ):
        assert part in text
    assert "\x1b" not in text


def test_an_explanation_of_a_bulk_that_says_nothing():
    """Nothing is made up."""
    text = "\n".join(_explain.explanation(status(state=State.UNKNOWN, native_state=None)))
    assert "word        not said" in text
    assert "operations  not said" in text
    assert "unknown, not an end" in text
    assert "None was given." in text


@pytest.mark.parametrize(
    ("fields", "advice"),
    [
        ({"state": State.SUCCEEDED}, "Nothing."),
        ({"state": State.FAILED, "provider": "weavr"}, "operations payments:1 --state failed"),
        (
            {"state": State.FAILED, "provider": "cloudflare"},
            "check at the provider before anything is repeated",
        ),
        (
            {"state": State.FAILED, "provider": "not installed"},
            "check at the provider before anything is repeated",
        ),
        ({"state": State.CANCELLED, "provider": "weavr"}, "operations payments:1 --state succeeded"),
        (
            {"state": State.CANCELLED, "provider": "cloudflare"},
            "check at the provider before anything is repeated",
        ),
        ({"state": State.QUEUED, "phase": "awaiting_action"}, "has to start it"),
        ({"state": State.PAUSED}, "resume or cancel"),
        ({"state": State.RUNNING}, "bulkstatus get payments:1"),
    ],
)
def test_there_is_always_a_next_step(fields, advice):
    """It fits the state and what the provider can do."""
    assert advice in "\n".join(_explain.advice(status(**fields)))


def read(word, pins=None):
    """An unknown bulk whose evidence is what the library itself says about a word."""
    vocabulary = Vocabulary("weavr bulk", {"completed": State.UNKNOWN})
    said = vocabulary.read(word, pins or {})
    return status(state=said.state, native_state=word, evidence=said.evidence)


def test_a_source_with_a_dot_in_its_name_is_one_key():
    """The lines that are advised are a configuration of that very source."""
    told = _explain.advice(read("ARCHIVING").changed(source="eu.payments"))
    lines = [line for line in told if line.startswith(("[", "state_map"))]
    assert tomllib.loads("\n".join(lines)) == {
        "sources": {"eu.payments": {"state_map": {"ARCHIVING": "running"}}}
    }


def test_a_word_that_nobody_documented_may_be_pinned():
    """As a line of TOML, for a word that can be pinned."""
    assert 'state_map = { "a\\"b" = "running" }' in "\n".join(_explain.advice(read('a"b')))
    (line,) = (line for line in _explain.advice(read("a\x1b\U000e0041")) if line.startswith("state_map"))
    assert line.isprintable()
    assert tomllib.loads(line) == {"state_map": {"a\x1b\U000e0041": "running"}}
    assert "state_map" not in "\n".join(_explain.advice(read("x" * 81)))
    assert "what its word means" in "\n".join(_explain.advice(read("x" * 81)))


@pytest.mark.parametrize(
    "evidence",
    [
        ("The provider says completed, but its item results can no longer be read: success is not proven.",),
        ("mode 'odd' is not a documented one.", "The counts show no operation that succeeded."),
    ],
)
def test_a_word_that_is_known_is_not_to_be_pinned(evidence):
    """Its end is unknown because something else could not be read."""
    advice = "\n".join(
        _explain.advice(status(state=State.UNKNOWN, native_state="completed", evidence=evidence))
    )
    assert "Ask the provider" in advice
    assert "Do not pin the word" in advice
    assert "state_map" not in advice


def test_a_bulk_without_a_word_has_nothing_to_pin():
    """The provider is asked."""
    assert "state_map" not in "\n".join(_explain.advice(read(None)))


PROVISIONAL = status(state=State.SUCCEEDED, provisional=True)


def test_the_word_of_a_list_has_a_question_mark(capsys):
    """In tables; in JSON and CSV it is a field of its own."""
    _output.report(report(PROVISIONAL, status()), "table")
    out = capsys.readouterr().out
    assert [line.split()[1] for line in out.splitlines()] == ["STATE", "succeeded?", "running"]
    _output.report(report(PROVISIONAL, status()), "csv")
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [(row["state"], row["provisional"]) for row in rows] == [
        ("succeeded", "true"),
        ("running", "false"),
    ]
    _output.report(report(PROVISIONAL), "json")
    assert json.loads(capsys.readouterr().out)["statuses"][0]["provisional"] is True


@pytest.mark.parametrize("width", [14, 20, 30, 39, 45, 60, 110])
def test_a_narrow_terminal_cuts_no_state(width):
    """Columns are left out first; a reference is folded."""
    from rich.console import Console

    long = status(
        id="9" * 32, state=State.CANCELLED, native_state="CANCELLED", counts=Counts(total=250, cancelled=250)
    )
    screen = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    screen.print(status_table([long, PROVISIONAL], screen, NOW))
    lines = screen.file.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    text = "\n".join(lines)
    for part in ("state", "cancelled", "succeeded?"):
        assert part in text
    assert text.count("9") == 32


def test_counts_without_a_total_say_so():
    """The total is not made up from the others."""
    assert _explain.counted(Counts(failed=1)).startswith("total not said: succeeded not said, 1 failed")
