"""The commands about the journal: over real files, in this process and as processes of their own."""

import csv
import io
import json
import signal
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from functools import cache
from itertools import chain
from types import SimpleNamespace

import jsonschema
import pytest

import bulkstatus
from bulkstatus import ConfigError, Counts, Journal, State
from bulkstatus.cli import _export, _options
from bulkstatus.cli._export import BULK_COLUMNS, STEP_COLUMNS
from journal.looks import PLACE, counted, look, miss

from .conftest import ESCAPES

FORMS = ("table", "json", "jsonl", "csv", "name")
SHOWN = "EVIL\\x1b[31m\\u202eword"


@cache
def validator(kind):
    """What checks documents against the published schema."""
    schema = bulkstatus.json_schema()
    return jsonschema.Draft202012Validator({"$ref": f"#/$defs/{kind}", "$defs": schema["$defs"]})


def valid(document, kind):
    """Check a document against the published schema."""
    validator(kind).validate(document)


@pytest.fixture
def empty(tmp_path, monkeypatch):
    """A journal in which nothing is kept, and which is the usual one."""
    path = tmp_path / "journal.db"
    monkeypatch.setenv("BULKSTATUS_JOURNAL", str(path))
    with Journal(path) as made:
        yield made


@pytest.fixture
def journal(empty):
    """Three bulks and eight steps: one went back, one was passed over and speaks in escapes, one is gone."""
    empty.track(PLACE, ["1", "4"], note="=block list", labels={"release": "42"})
    empty.record(
        [
            look(State.QUEUED, 0, wanted=True),
            look(State.RUNNING, 5, counts=counted(3)),
            look(State.QUEUED, 6, id="2", phase="awaiting_action"),
            look(State.FAILED, 60, counts=Counts(total=9, succeeded=7, failed=2)),
            look(State.SUCCEEDED, 80, id="2", native_state=ESCAPES),
            look(State.RUNNING, 90, native_state="=1+1"),
            look(State.RUNNING, 91, id="3", phase="odd\x1b"),
            miss(99, id="3", final=True),
        ],
        observer="here:1",
    )
    return empty


def cursors(journal):
    """The cursors of all steps, in order."""
    return [step.cursor for step in journal.all_changes()]


def to_go_on(cursor, *more):
    """What is said of how to go on."""
    return f"bulkstatus: to go on: {' '.join(('bulkstatus changes --after', cursor, *more))}\n"


# --- changes ---


def test_changes_are_one_line_a_step(here, journal):
    """Aligned below a header, each with its cursor first, whatever the provider says; then how to go on."""
    done = here("changes")
    header, *rows = done.out.splitlines()
    assert done.code == 0
    assert done.err == to_go_on(cursors(journal)[-1])
    assert header.split() == ["CURSOR", "TIME", "REF", "STEP", "WORD", "PROGRESS", "NOTES", "OBSERVER"]
    assert [row.split()[0] for row in rows] == cursors(journal)
    assert all(row.isprintable() and row.endswith("  here:1") for row in rows)
    for name in ("STEP", "WORD", "OBSERVER"):
        start = header.index(name)
        assert all(row[start - 2 : start] == "  " and row[start] != " " for row in rows)


@pytest.mark.parametrize(
    ("number", "parts"),
    [
        (0, ["2026-01-01T00:00:00Z", "payments:1", "new -> queued", "  QUEUED  ", "  -  "]),
        (1, ["queued -> running", "QUEUED -> RUNNING", "  3/9  "]),
        (2, ["payments:2", "new -> queued, awaits somebody"]),
        (3, ["running -> failed", "9/9, 2 failed"]),
        (4, ["queued -> succeeded", f"QUEUED -> {SHOWN}", "running passed over"]),
        (5, ["failed -> running", "FAILED -> =1+1", "regressed"]),
        (6, ["payments:3", "phase odd\\x1b"]),
        (7, ["running -> gone", "  RUNNING  ", "gone: the provider does not know it any more"]),
    ],
)
def test_a_line_says_what_there_is_to_say(here, journal, number, parts):
    """The words, the counts, and what is odd about the step."""
    line = here("changes").out.splitlines()[1 + number]
    for part in parts:
        assert part in line


def test_a_bulk_that_is_known_again_is_said_to_be(here, journal):
    """Its step is not one back to life: it may stand where it stood."""
    journal.record([look(State.RUNNING, 120, id="3", phase="odd")])
    line = here("changes", "--after", cursors(journal)[-2]).out.splitlines()[-1]
    assert "running -> running" in line
    assert "back: the provider knows it again" in line


def test_changes_as_json_are_of_the_schema(here, journal):
    """An array, or a step a line: the same ones."""
    array = json.loads(here("changes", "-o", "json").out)
    rows = [json.loads(line) for line in here("changes", "-o", "jsonl").out.splitlines()]
    for row in rows:
        valid(row, "Transition")
    assert array == rows
    assert [row["cursor"] for row in rows] == cursors(journal)
    assert rows[4]["to_word"] == ESCAPES
    assert rows[4]["passed_over"] == ["running"]


def test_changes_as_csv_are_flat_and_guarded(here, journal):
    """Counts in columns of their own, nothing for what was not said, no formula and no escape of the provider's."""
    rows = list(csv.DictReader(io.StringIO(here("changes", "-o", "csv").out)))
    assert tuple(rows[0]) == STEP_COLUMNS
    assert [row["counts_total"] for row in rows] == ["", "9", "", "9", "", "", "", ""]
    assert (rows[3]["counts_failed"], rows[3]["counts_cancelled"]) == ("2", "")
    assert (rows[4]["to_word"], rows[4]["passed_over"]) == (SHOWN, "running")
    assert (rows[5]["to_word"], rows[5]["regressed"]) == ("'=1+1", "true")
    assert (rows[7]["to_state"], rows[7]["kind"]) == ("", "gone")


def test_changes_as_names_are_what_the_next_command_takes(here, journal):
    """A reference a step."""
    assert here("changes", "-o", "name").out.split() == [step.ref for step in journal.all_changes()]


def test_changes_go_on_behind_a_cursor(here, journal):
    """Whoever does as told on stderr sees each step once."""
    after, seen = [], []
    for _ in range(4):
        done = here("changes", *after, "--limit", "3", "-o", "jsonl")
        seen.append([json.loads(line)["cursor"] for line in done.out.splitlines()])
        after = done.err.split()[-2:]
    assert [len(batch) for batch in seen] == [3, 3, 2, 0]
    assert list(chain(*seen)) == cursors(journal)
    assert done.err.splitlines()[0] == f"bulkstatus: no step is kept in {journal.path} behind this cursor"


def test_changes_can_begin_at_the_end(here, journal):
    """With `now`: nothing yet, and the cursor from which on it will be seen."""
    done = here("changes", "--after", "now")
    assert (done.code, done.out) == (0, "")
    assert done.err.endswith(to_go_on(cursors(journal)[-1]))


@pytest.mark.parametrize(("form", "shown"), [*zip(FORMS, ["", "[]\n", "", None, ""], strict=True)])
def test_where_nothing_is_kept_that_is_said(here, empty, form, shown):
    """On stderr, with the file that was looked at; it is no error."""
    done = here("changes", "-o", form)
    assert done.code == 0
    assert done.out == (f"{','.join(STEP_COLUMNS)}\n" if shown is None else shown)
    first, second = done.err.splitlines(keepends=True)
    assert first == f"bulkstatus: no step is kept in {empty.path}\n"
    assert second == to_go_on(empty.cursor())


def test_the_journal_is_named_by_the_option_first(here, journal, tmp_path):
    """And so it is in what is said of how to go on."""
    other = tmp_path / "an other.db"
    with Journal(other) as made:
        made.record([look(id="7")])
        end = made.cursor()
    done = here("changes", "--journal", other, "-o", "name")
    assert done.out == "payments:7\n"
    assert done.err == to_go_on(end, f"--journal '{other}'")


def test_without_a_name_the_journal_is_the_users(here, isolated, monkeypatch):
    """In the folder for state, where nobody else can read it."""
    monkeypatch.delenv("BULKSTATUS_JOURNAL", raising=False)
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    file = isolated / ".local" / "state" / "bulkstatus" / "journal.db"
    done = here("journal", "path")
    assert (done.out, done.err.count("does not exist yet")) == (f"{file}\n", 1)
    assert here("changes").code == 0
    assert here("journal", "path").err == ""
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["changes", "--after", "yesterday"], "is not a cursor"),
        (["changes", "--after", "-5"], "is not a cursor"),
        (["changes", "--after", "0badcafe-1"], "of another journal"),
        (["changes", "--after", "0badcafe-1", "--follow"], "of another journal"),
        (["changes", "--follow", "-o", "json"], "write -o jsonl"),
        (["changes", "--limit", "0"], "1 or more"),
        (["changes", "--journl", "x"], "Did you mean --journal?"),
        (["history"], "See 'bulkstatus history --help'."),
        (["history", "payments"], "source:id"),
        (["journal", "prune"], "--older-than"),
        (["journal", "prune", "--older-than", "90"], "90d for days"),
        (["journal", "prune", "--older-than", "1h30"], "90d for days"),
        (["journal", "prune", "--older-than", "0d"], "more than 0"),
        (["journal", "prune", "--older-than", "-1d"], "more than 0"),
        (["journal", "prune", "--older-than", "40000d"], "is not a duration"),
        (["journal", "export", "bulk"], 'Did you mean "bulks"?'),
        (["journal", "export", "-o", "xlsx"], "parquet"),
        (["journal", "export", "-o", "parquet"], "--to"),
        (["journal", "stat"], 'Did you mean "stats"?'),
        (["track", "payments:1", "--label", "release"], "NAME=VALUE"),
        (["track", "payments:1", "--label", "=42"], "NAME=VALUE"),
        (["track", "payments:1", "--label", "a=1", "--label", "a=2"], "given twice"),
        (["track", "payments:1", "--note", "x" * 501], "1 to 500 printable characters"),
        (["track", "paymants:1"], "did you mean 'payments'?"),
        (["untrack", "payments:abc"], "not a bulk id here"),
    ],
)
def test_wrong_usage_is_2_with_a_hint(here, journal, words, hint):
    """One line on stderr, nothing on stdout, nothing changed."""
    before = journal.stats()
    done = here(*words)
    assert (done.code, done.out) == (2, "")
    (line,) = done.err.splitlines()
    assert hint in line
    assert line.isprintable()
    assert journal.stats() == before


@pytest.mark.parametrize(
    "words",
    [
        ["changes"],
        ["changes", "--follow"],
        ["history", "payments:1"],
        ["journal", "stats"],
        ["journal", "export"],
    ],
)
def test_a_journal_that_cannot_be_used_is_7(here, tmp_path, words):
    """One plain line; the file of another program is left as it is."""
    file = tmp_path / "other.db"
    with closing(sqlite3.connect(file)) as db:
        db.execute("CREATE TABLE theirs (x)")
    before = file.read_bytes()
    done = here(*words, "--journal", file)
    assert (done.code, done.out) == (7, "")
    assert done.err == f"bulkstatus: the journal {file} is a database of another program; name another file\n"
    assert file.read_bytes() == before
    assert here(*words, "--journal", tmp_path).code == 7


# --- changes --follow ---


def test_a_follower_can_be_told_when_to_stop(here, journal):
    """After so many steps, of those that are kept and those that come."""
    done = here("changes", "--follow", "--limit", "5", "-o", "jsonl")
    assert (done.code, done.err) == (0, "")
    assert len(done.out.splitlines()) == 5


@contextmanager
def following(environment, journal, *words):
    """A process that follows the journal, until it is ended."""
    with subprocess.Popen(
        [
            sys.executable,
            "-m",
            "bulkstatus.cli",
            "changes",
            "--follow",
            "--journal",
            str(journal.path),
            *words,
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    ) as child:
        try:
            yield child
        finally:
            child.kill()


def test_a_follower_sees_what_comes_until_an_interrupt_ends_it(environment, journal):
    """Each step is out as soon as it is seen, and nothing is on stderr."""
    end = journal.cursor()
    with following(environment, journal, "--after", end, "-o", "csv") as child:
        assert child.stdout.readline().startswith("cursor,ref,")
        for id in ("7", "8"):
            journal.record([look(id=id)])
            assert child.stdout.readline().split(",")[1] == f"payments:{id}"
        child.send_signal(signal.SIGINT)
        rest = child.stdout.read(), child.stderr.read()
        assert (child.wait(timeout=20), *rest) == (130, "", "")


def test_a_follower_that_has_seen_enough_ends_by_itself(environment, journal):
    """With 0, also when it had to wait for what it was told to see."""
    with following(environment, journal, "--limit", "9", "-o", "name") as child:
        seen = [child.stdout.readline() for _ in range(8)]
        journal.record([look(id="7")])
        assert child.stdout.read() == "payments:7\n"
        assert (child.wait(timeout=20), child.stderr.read()) == (0, "")
    assert seen[0] == "payments:1\n"


def test_followers_that_stop_and_go_on_see_each_step_once(environment, empty):
    """In order, wherever they are interrupted, and whatever is recorded before, meanwhile and after."""
    seen = {"a": [], "b": []}
    for turn in range(2):
        for name, found in seen.items():
            words = ("--after", found[-1]) if found else ()
            with following(environment, empty, "-o", "jsonl", *words) as child:
                empty.record([look(id=f"{name}{turn}x{number}") for number in range(25)])
                lines = [child.stdout.readline() for _ in range(20)]
                empty.record([look(id=f"{name}{turn}y{number}") for number in range(5)])
                child.send_signal(signal.SIGINT)
                lines += child.stdout.readlines()
                assert child.wait(timeout=20) == 130
            found += [json.loads(line)["cursor"] for line in lines]
    for found in seen.values():
        assert found + [step.cursor for step in empty.changes(found[-1])] == cursors(empty)


def into_head(words, environment, journal):
    """Run a command of which somebody reads one line, and give what it wrote; the last line is its code."""
    script = f"{sys.executable} -m bulkstatus.cli {words} | head -1; echo ${{PIPESTATUS[0]}}"
    return subprocess.run(
        ["bash", "-c", script],
        capture_output=True,
        text=True,
        env={**environment, "BULKSTATUS_JOURNAL": str(journal.path)},
        timeout=50,
        check=False,
    )


@pytest.mark.parametrize("words", ["changes -o jsonl", "changes --follow -o jsonl", "journal export"])
def test_a_reader_that_goes_away_ends_it_quietly(environment, journal, words):
    """Code 141, no traceback, and no word of how to go on: what was written has not all been read."""
    journal.record([look(id=f"{number}", native_state="x" * 500) for number in range(100, 300)])
    done = into_head(words, environment, journal)
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == 2
    assert done.stdout.splitlines()[-1] == "141"


def test_a_follower_whose_reader_has_gone_ends_without_another_step(environment, journal):
    """Although nothing is left for it to write."""
    done = into_head("changes --follow -o name", environment, journal)
    assert (done.stdout, done.stderr) == ("payments:1\n141\n", "")


# --- history ---


def test_history_says_what_is_known_of_one_bulk(here, journal):
    """When it was asked for, note and labels, how it stands, how long it took; then its steps, and no others."""
    done = here("history", "payments:1")
    assert (done.code, done.err) == (0, "")
    for part in (
        "payments:1 (plain)",
        "plain https://plain.example 1",
        "tracked     since 2",
        "note        =block list",
        "labels      release=42",
        "state       running  =1+1",
        "first seen  2026-01-01T00:00:00Z",
        "last moved  2026-01-01T00:01:30Z",
    ):
        assert f"{part}" in done.out
    steps = done.out.partition("steps\n")[2].splitlines()[1:]
    assert [line.split()[0] for line in steps] == [step.cursor for step in journal.history("payments:1")]
    assert "took" not in done.out


def test_history_of_a_bulk_that_ended(here, journal):
    """With its end and how long it took; it was never asked for by name."""
    out = here("history", "payments:2").out
    assert "tracked     no" in out
    assert f"succeeded  {SHOWN}" in out
    assert "ended       2026-01-01T00:01:20Z" in out
    assert "took        1m14s" in out


def test_history_of_a_bulk_that_is_gone(here, journal):
    """It is not said to have ended."""
    out = here("history", "payments:3").out
    assert (
        "gone        2026-01-01T00:01:39Z: the provider does not know it any more; how it ended is not" in out
    )
    assert "ended   " not in out


def test_history_of_a_bulk_that_was_never_seen(here, journal):
    """It is known, and no step of it."""
    done = here("history", "payments:4")
    assert done.code == 0
    assert "note        =block list" in done.out
    assert done.err == "payments:4 has not been seen yet: no step is kept\n"


@pytest.mark.parametrize("form", FORMS)
def test_history_of_a_bulk_that_is_not_known(here, journal, form):
    """Code 5, nothing on stdout, and what to do."""
    done = here("history", "payments:404", "-o", form)
    assert (done.code, done.out) == (5, "")
    assert "bulkstatus get payments:404" in done.err
    assert "bulkstatus track payments:404" in done.err
    assert str(journal.path) in done.err


def test_history_as_data(here, journal):
    """One JSON document of the schema; else the steps alone, or the reference."""
    document = json.loads(here("history", "payments:1", "-o", "json").out)
    valid(document, "History")
    valid(document["bulks"][0], "KnownBulk")
    rows = [json.loads(line) for line in here("history", "payments:1", "-o", "jsonl").out.splitlines()]
    assert document["steps"] == rows
    assert [row["to_state"] for row in rows] == ["queued", "running", "failed", "running"]
    assert len(list(csv.DictReader(io.StringIO(here("history", "payments:1", "-o", "csv").out)))) == 4
    assert here("history", "payments:1", "-o", "name").out == "payments:1\n"


def test_history_where_a_source_stood_for_two_accounts(here, journal):
    """Both bulks of that name are shown, each with whose it is."""
    journal.record([look(id="1", place=PLACE._replace(realm="plain https://elsewhere.example 2"), seen=99)])
    out = here("history", "payments:1").out
    assert out.count("payments:1 (plain)") == 2
    assert "https://elsewhere.example 2" in out
    assert len(json.loads(here("history", "payments:1", "-o", "json").out)["bulks"]) == 2


def test_the_reference_may_come_from_stdin(here, journal, monkeypatch):
    """As for any other command about one bulk."""
    stdin = SimpleNamespace(buffer=io.BytesIO(b"payments:3\n"), isatty=lambda: False)
    monkeypatch.setattr(sys, "stdin", stdin)
    assert here("history", "-", "-o", "name").out == "payments:3\n"


# --- the journal itself ---


def test_stats_say_how_much_there_is(here, journal):
    """As lines, or as JSON of the schema."""
    done = here("journal", "stats")
    lines = dict(line.split(maxsplit=1) for line in done.out.splitlines() if " step" not in line)
    assert done.code == 0
    assert (lines["file"], lines["bulks"], lines["steps"]) == (str(journal.path), "4", "8")
    assert (lines["tracked"], lines["gone"], lines["cursor"]) == ("2", "1", journal.cursor())
    assert "newest step  2026-01-01T00:01:39Z" in done.out
    document = json.loads(here("journal", "stats", "-o", "json").out)
    valid(document, "JournalStats")
    assert document["transitions"] == 8


def test_stats_of_an_empty_journal(here, empty):
    """There is no oldest step."""
    assert "oldest step  none" in here("journal", "stats").out


def test_a_journal_is_pruned_and_made_smaller(here, journal):
    """What ended long ago goes, with its steps; what is tracked and has not ended stays."""
    journal.record([look(State.RUNNING, 0, id=f"{n}", native_state="x" * 2_000) for n in range(100, 300)])
    done = here("journal", "prune", "--older-than", "30d")
    assert (done.code, done.out) == (0, "202 bulks, 204 steps and 0 waits taken out\n")
    assert "bulkstatus journal vacuum" in done.err
    assert {bulk.ref for bulk in journal.all_bulks()} == {"payments:1", "payments:4"}
    before = journal.stats().size
    done = here("journal", "vacuum")
    assert (done.code, done.err) == (0, "")
    saved = int(done.out.replace(",", "").removesuffix(" bytes given back\n"))
    assert 0 < saved <= before - journal.stats().size + 1
    assert here("journal", "vacuum").out == "0 bytes given back\n"


def test_pruning_says_what_it_took(here, journal):
    """As JSON of the schema too; nothing is taken out twice."""
    document = json.loads(here("journal", "prune", "--older-than", "12h", "-o", "json").out)
    valid(document, "Pruned")
    assert document == {"bulks": 2, "transitions": 4, "waits": 0, "drift": 0}
    done = here("journal", "prune", "--older-than", "12h")
    assert (done.out, done.err) == ("0 bulks, 0 steps and 0 waits taken out\n", "")


@pytest.mark.parametrize(
    ("text", "value"), [("90d", 7_776_000), ("1d12h", 129_600), ("1d5", 86_405), ("0.5d", 43_200)]
)
def test_a_duration_may_have_days(text, value):
    """Before the hours."""
    assert _options.seconds(text) == value


@pytest.mark.parametrize("text", ["d", "0d", "366d", "12h1d", "1dd", "1D"])
def test_days_are_held_to_the_rules_of_durations(text):
    """A year at most, unless the option takes more."""
    with pytest.raises(ConfigError, match="2d"):
        _options.seconds(text)
    assert _options.seconds("366d", most=1e9) == 366 * 86_400


def test_the_journal_of_a_command(tmp_path, empty):
    """The one that is named, else the usual one, or none; naming one and wanting none is wrong usage."""
    assert _options.journal_of(tmp_path / "x.db").path == tmp_path / "x.db"
    assert _options.journal_of(None).path == empty.path
    assert _options.journal_of(None, off=True) is None
    with pytest.raises(ConfigError, match="contradict"):
        _options.journal_of(tmp_path / "x.db", off=True)


def test_labels_are_read():
    """All behind the first `=` is the value; a label may be said twice if it says the same."""
    assert _options.labels_of(["release=42", "why=a=b", "release=42"]) == {"release": "42", "why": "a=b"}


# --- export ---


@pytest.mark.parametrize("form", ["jsonl", "csv"])
@pytest.mark.parametrize("kind", ["steps", "bulks"])
def test_an_export_is_the_same_in_a_file_and_on_stdout(here, journal, tmp_path, form, kind):
    """All of it; the file is its owner's alone, and there is nothing beside it."""
    number = {"steps": 8, "bulks": 4}[kind]
    file = tmp_path / "out" / f"{kind}.{form}"
    file.parent.mkdir()
    shown = here("journal", "export", kind, "-o", form)
    done = here("journal", "export", kind, "-o", form, "--to", file)
    assert (shown.code, shown.err) == (0, "")
    assert (done.code, done.out, done.err) == (0, "", f"bulkstatus: written to {file}\n")
    assert file.read_text("utf-8") == shown.out
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(file.parent.iterdir()) == [file]
    assert len(shown.out.splitlines()) == number + (form == "csv")


def test_an_export_of_steps_is_what_changes_gives(here, journal):
    """Without further words it is that; `-` stands for stdout."""
    done = here("journal", "export")
    assert done.out == here("changes", "-o", "jsonl").out
    assert here("journal", "export", "--to", "-").out == done.out
    assert here("journal", "export", "-o", "csv").out == here("changes", "-o", "csv").out


def test_an_export_of_bulks_holds_all_that_is_known(here, journal):
    """JSON of the schema; flat and guarded in CSV, the labels as one JSON object."""
    lines = here("journal", "export", "bulks").out.splitlines()
    for line in lines:
        valid(json.loads(line), "KnownBulk")
    rows = {
        row["id"]: row
        for row in csv.DictReader(io.StringIO(here("journal", "export", "bulks", "-o", "csv").out))
    }
    assert tuple(rows["1"]) == BULK_COLUMNS
    assert (rows["1"]["note"], json.loads(rows["1"]["labels"])) == ("'=block list", {"release": "42"})
    assert (rows["2"]["native_state"], rows["2"]["duration"]) == (SHOWN, "74.0")
    assert (rows["3"]["state"], rows["3"]["gone_at"]) == ("running", "2026-01-01T00:01:39Z")
    assert (rows["4"]["state"], rows["4"]["counts_total"], rows["4"]["tracked_at"][:2]) == ("", "", "20")


def test_an_export_replaces_a_plain_file_only(here, journal, tmp_path):
    """A link, what it leads to, a folder and the journal are left as they are."""
    file, link, loose = tmp_path / "steps.jsonl", tmp_path / "link", tmp_path / "loose"
    file.write_text("before")
    file.chmod(0o644)
    link.symlink_to(file)
    loose.symlink_to(tmp_path / "nothing")
    for target in (link, loose, tmp_path, journal.path, tmp_path / "none" / "x", file / "x"):
        done = here("journal", "export", "--to", target)
        assert (done.code, done.out) == (2, "")
        assert str(target) in done.err
    assert file.read_text() == "before"
    assert link.is_symlink()
    assert not (tmp_path / "nothing").exists()
    assert here("journal", "export", "--to", file).code == 0
    assert len(file.read_text().splitlines()) == 8
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_an_export_that_does_not_fit_leaves_what_was_there(environment, journal, tmp_path):
    """The old file is whole, nothing is beside it, and the code is not 0."""
    journal.record([look(id=f"{number}", native_state="x" * 500) for number in range(100, 300)])
    file = tmp_path / "out" / "steps.jsonl"
    file.parent.mkdir()
    file.write_text("before")
    script = f"ulimit -f 64; {sys.executable} -m bulkstatus.cli journal export --to {file}"
    done = subprocess.run(
        ["bash", "-c", script],
        capture_output=True,
        text=True,
        env={**environment, "BULKSTATUS_JOURNAL": str(journal.path)},
        check=False,
    )
    assert (done.returncode, done.stderr) == (7, "bulkstatus: cannot write the output: File too large\n")
    assert file.read_text() == "before"
    assert list(file.parent.iterdir()) == [file]


@pytest.mark.parametrize("batch", [3, 4_000])
def test_parquet_has_typed_columns(here, journal, tmp_path, monkeypatch, batch):
    """Read back by another reader: times in UTC, whole numbers, null for what was not said, words as they were."""
    from pyarrow import parquet

    monkeypatch.setattr(_export, "_BATCH", batch)
    file = tmp_path / "steps.parquet"
    assert here("journal", "export", "-o", "parquet", "--to", file).code == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    types = {field.name: str(field.type) for field in parquet.read_schema(file)}
    assert tuple(types) == STEP_COLUMNS
    assert types["observed_at"] == "timestamp[us, tz=UTC]"
    assert (types["counts_total"], types["regressed"], types["to_word"]) == ("int64", "bool", "string")
    rows = parquet.read_table(file).to_pylist()
    assert [row["cursor"] for row in rows] == cursors(journal)
    assert [row["counts_total"] for row in rows] == [None, 9, None, 9, None, None, None, None]
    assert (rows[4]["to_word"], rows[5]["regressed"]) == (ESCAPES, True)
    assert rows[1]["observed_at"] == datetime(2026, 1, 1, 0, 0, 5, tzinfo=UTC)


def test_parquet_of_bulks_and_of_nothing(here, journal, tmp_path):
    """As many rows as there are; a file without rows has its columns all the same."""
    from pyarrow import parquet

    file = tmp_path / "bulks.parquet"
    assert here("journal", "export", "bulks", "-o", "parquet", "--to", file).code == 0
    rows = {row["id"]: row for row in parquet.read_table(file).to_pylist()}
    assert (rows["2"]["duration"], rows["4"]["state"], rows["4"]["observed_at"]) == (74.0, None, None)
    assert rows["1"]["labels"] == '{"release":"42"}'
    empty = tmp_path / "empty.db"
    assert here("journal", "export", "-o", "parquet", "--to", file, "--journal", empty).code == 0
    assert parquet.read_table(file).num_rows == 0
    assert tuple(parquet.read_schema(file).names) == STEP_COLUMNS


def test_parquet_without_its_extra_is_wrong_usage(here, journal, tmp_path, monkeypatch):
    """With what to install; no file is made."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    file = tmp_path / "steps.parquet"
    done = here("journal", "export", "-o", "parquet", "--to", file)
    assert (done.code, done.out) == (2, "")
    assert done.err == "bulkstatus: Parquet needs pyarrow: pip install 'bulkstatus[parquet]'\n"
    assert not file.exists()


# --- track and untrack ---


@pytest.fixture
def silent(world):
    """No provider is asked anything."""
    fakes = (world.weavr, world.cloudflare, world.druid)
    before = [len(fake.requests) for fake in fakes]
    yield
    assert [len(fake.requests) for fake in fakes] == before


@pytest.mark.usefixtures("silent")
def test_bulks_are_kept_in_mind(here, empty):
    """With a note and labels, each reference once; nothing is sent."""
    words = ("--label", "release=42", "--label", "team=x", "--note", "block list of May")
    done = here("track", "payments:1", "edge:aa11", "payments:1", *words)
    assert (done.code, done.out) == (0, "payments:1\nedge:aa11\n")
    assert "nothing was sent" in done.err
    for ref in ("payments:1", "edge:aa11"):
        (bulk,) = empty.find(ref)
        assert bulk.tracked_at is not None
        assert (bulk.note, dict(bulk.labels)) == ("block list of May", {"release": "42", "team": "x"})
    assert "labels      release=42, team=x" in here("history", "edge:aa11").out


@pytest.mark.usefixtures("silent")
def test_bulks_are_dropped(here, empty):
    """Those that were tracked are named on stdout, the others on stderr; their history stays."""
    here("track", "payments:1", "edge:aa11", "--note", "mine")
    done = here("untrack", "payments:1", "payments:2")
    assert (done.code, done.out) == (0, "payments:1\n")
    assert done.err == "bulkstatus: 1 of 2 references were not tracked: payments:2\n"
    assert empty.find("payments:1")[0].tracked_at is None
    assert empty.find("payments:1")[0].note == "mine"
    assert empty.find("edge:aa11")[0].tracked_at is not None
    assert here("untrack", "payments:1").out == ""


@pytest.mark.usefixtures("silent")
def test_an_empty_pipe_is_wrong_usage(here, empty, monkeypatch):
    """It does not pass for bulks that are kept in mind."""
    for command in ("track", "untrack"):
        stdin = SimpleNamespace(buffer=io.BytesIO(b"\n"), isatty=lambda: False)
        monkeypatch.setattr(sys, "stdin", stdin)
        done = here(command, "-")
        assert (done.code, done.out) == (2, "")
        assert "no references were given" in done.err


def test_a_journal_that_cannot_be_used_keeps_nothing_in_mind(here, tmp_path):
    """Code 7 with the reason."""
    done = here("track", "payments:1", "--journal", tmp_path)
    assert (done.code, done.out) == (7, "")
    assert "is not a plain file" in done.err


def test_what_was_tracked_here_is_found_by_the_library(here, empty, world):
    """It is the same bulk: of the same source and the same account."""
    here("track", "payments:1", "--note", "mine")
    with bulkstatus.Client.from_config(world.config, journal=empty) as client:
        assert client.untrack(["payments:1"]) == ("payments:1",)
