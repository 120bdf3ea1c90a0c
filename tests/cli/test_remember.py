"""What `get`, `list`, `explain`, `wait`, `watch` and `resume` make of a journal: providers on loopback, real files."""

import csv
import io
import json
import re
import signal
import sqlite3
import subprocess
import threading
import time
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import jsonschema
import pytest

import bulkstatus
from bulkstatus import BulkStatus, Client, Journal, State
from bulkstatus._record import Miss, Place, Sighting
from bulkstatus._times import Stamp
from bulkstatus.testing import Fault, load_fake, serve

from .conftest import CANARIES, config_text, still
from .test_process import forking, look

FORMS = ("table", "json", "jsonl", "csv", "name")
CLOSED = "http://127.0.0.1:9"  # the discard port: nobody listens
HOUR = 3_600.0


def valid(document, kind):
    """Check a document against the published schema."""
    schema = bulkstatus.json_schema()
    jsonschema.validate(document, {"$ref": f"#/$defs/{kind}", "$defs": schema["$defs"]})


@pytest.fixture
def stage(here, environment, tmp_path, monkeypatch):
    """Fakes of this test's own, a configuration that names them, and a journal: the usual ones of every command here."""
    del here  # which has a configuration of its own: ours comes after it
    weavr = load_fake("weavr")(api_key=CANARIES["WEAVR_API_KEY"], auth_token=CANARIES["WEAVR_AUTH_TOKEN"])
    edge = load_fake("cloudflare")(token=CANARIES["CF_TOKEN"])
    crm = load_fake("druid")(client_id=CANARIES["DRUID_ID"], client_secret=CANARIES["DRUID_SECRET"])
    with ExitStack() as stack:
        urls = [stack.enter_context(serve(fake)) for fake in (weavr, edge, crm)]
        config = tmp_path / "stage.toml"
        config.write_text(config_text(*urls))
        journal = stack.enter_context(Journal(tmp_path / "journal.db"))
        usual = {"BULKSTATUS_CONFIG": str(config), "BULKSTATUS_JOURNAL": str(journal.path)}
        for name, value in usual.items():
            monkeypatch.setenv(name, value)
        environment.update(usual)
        yield SimpleNamespace(weavr=weavr, edge=edge, crm=crm, urls=urls, config=config, journal=journal)


@contextmanager
def asked(fake, paths):
    """The block sends `fake` as many requests for bulks as `paths` names, and to those."""
    before = len(fake.requests)
    yield
    sent = [request.path.rpartition("/")[2] for request in fake.requests[before:]]
    assert sorted(sent) == sorted(paths)


@contextmanager
def born(fake, seconds):
    """What is added in the block was born so many seconds ago."""
    clock, fake.clock = fake.clock, lambda: time.time() - seconds
    yield
    fake.clock = clock


def place(stage, source):
    """Where the bulks of a source are, as the journal keeps it."""
    with Client.from_config(stage.config, journal=stage.journal) as client:
        return Place(source, client.sources[source], client.realms[source], "{}")


def seen(where, id, state, ago, **more):
    """A look at a bulk so many seconds ago."""
    at = datetime.now(UTC) - timedelta(seconds=ago)
    facts = {"native_state": state.value, "observed_at": at, **more}
    status = BulkStatus(source=where.source, provider=where.provider, id=id, state=state, **facts)
    # Of another boot: it lies before all that is seen now.
    return Sighting(where, status, Stamp("before", 0.0), Stamp("before", 1.0), wanted=True)


def ended(where, number, *, action=None):
    """So many bulks that ended well the day before, each after a minute."""
    began = datetime.now(UTC) - timedelta(days=1)
    times = {"started_at": began, "finished_at": began + timedelta(seconds=60)}
    return [seen(where, f"{900 + n}", State.SUCCEEDED, 80_000, action=action, **times) for n in range(number)]


def rows_of(text):
    """A table in CSV as rows by their references."""
    return {f"{row['source']}:{row['id']}": row for row in csv.DictReader(io.StringIO(text))}


# --- get ---


def test_what_has_ended_is_asked_for_once(run, stage):
    """The next process sends nothing, and says that it is from the journal; what goes on is asked for again."""
    stage.edge.add("aa", still("completed"))
    stage.edge.add("bb", still("running"))
    with asked(stage.edge, ["aa", "bb"]):
        first = json.loads(run("get", "edge:aa", "edge:bb", "-o", "json").out)
    with asked(stage.edge, ["bb"]):
        again = run("get", "edge:aa", "edge:bb", "-o", "json")
    second = json.loads(again.out)
    assert (again.code, again.err) == (0, "")
    valid(second, "Report")
    before, now = first["statuses"][0], second["statuses"][0]
    told = now["evidence"].pop()
    assert now == before
    assert re.fullmatch(r"From the journal, as it was read at \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC\.", told)
    assert [row["id"] for row in second["statuses"]] == ["aa", "bb"]


def test_nothing_is_sent_to_a_provider_all_of_whose_bulks_are_known(here, stage):
    """No token is fetched either."""
    stage.crm.add("d-1", still("completed"), users=5)
    assert here("get", "crm:d-1").code == 0
    number = len(stage.crm.requests)
    done = here("get", "crm:d-1", "-o", "name")
    assert (done.code, done.out, len(stage.crm.requests)) == (0, "crm:d-1\n", number)


@pytest.mark.parametrize("command", ["get", "explain", "wait", "watch"])
def test_fresh_asks_all_the_same(here, stage, command):
    """And the journal has what it was told."""
    stage.edge.add("aa", still("completed"))
    for words in ((), ("--fresh",), ("--no-journal",)):
        with asked(stage.edge, ["aa"]):
            assert here(command, "edge:aa", *words).code == 0
    with asked(stage.edge, []):
        assert here(command, "edge:aa").code == 0


def test_a_word_that_is_read_otherwise_now_is_asked_for_again(here, stage):
    """Once: then it is known by its new reading."""
    stage.edge.add("aa", still("completed"))
    assert here("get", "edge:aa", "--exit-status").code == 0
    text = stage.config.read_text()
    stage.config.write_text(
        text.replace("[sources.crm]", 'state_map = { completed = "failed" }\n[sources.crm]')
    )
    with asked(stage.edge, ["aa"]):
        assert here("get", "edge:aa", "--exit-status").code == 3
    with asked(stage.edge, []):
        assert here("get", "edge:aa", "--exit-status").code == 3


def test_the_same_id_of_another_account_is_another_bulk(here, stage):
    """What is known of the one is not told of the other."""
    stage.edge.add("aa", still("completed"))
    assert here("get", "edge:aa").code == 0
    other = load_fake("cloudflare")(token=CANARIES["CF_TOKEN"])
    other.add("aa", still("failed"))
    with serve(other) as url:
        stage.config.write_text(config_text(stage.urls[0], url, stage.urls[2]))
        assert here("get", "edge:aa", "--exit-status").code == 3
    assert len(stage.journal.find("edge:aa")) == 2


@pytest.mark.parametrize(
    "case",
    [
        (("--journal", "named.db"), {}, "named.db"),
        ((), {"BULKSTATUS_JOURNAL": "named.db"}, "named.db"),
        ((), {"BULKSTATUS_JOURNAL": None, "XDG_STATE_HOME": "."}, "bulkstatus/journal.db"),
        (("--no-journal",), {"BULKSTATUS_JOURNAL": None, "XDG_STATE_HOME": "."}, None),
    ],
)
def test_where_the_journal_is(run, stage, tmp_path, case):
    """Named by the option, by the variable, else in the folder for state; with none, nothing is written at all."""
    words, variables, file = case
    home = tmp_path / "place"
    home.mkdir()
    stage.edge.add("aa", still("completed"))
    words = [home / word if word.endswith(".db") else word for word in words]
    variables = {name: None if text is None else str(home / text) for name, text in variables.items()}
    done = run("get", "edge:aa", *words, HOME=str(home), **variables)
    assert (done.code, done.err) == (0, "")
    found = {path.relative_to(home).as_posix() for path in home.rglob("*") if path.is_file()}
    assert {name for name in found if not name.endswith(".lock")} == ({file} if file else set())
    if file:
        assert (home / file).stat().st_mode & 0o777 == 0o600
    assert not stage.journal.path.exists()


@pytest.mark.parametrize("command", [["get", "edge:aa"], ["list", "--tracked"], ["wait", "edge:aa"]])
def test_a_command_closes_its_journal(here, stage, tmp_path, monkeypatch, command):
    """Nothing is left beside the file, whoever still holds the journal when the command ends."""
    held = []

    def journal(path):
        held.append(Journal(path))
        return held[-1]

    monkeypatch.setattr("bulkstatus.cli._options.Journal", journal)
    stage.edge.add("aa", still("completed"))
    assert here(*command, "--journal", tmp_path / "place" / "x.db").code == 0
    assert held
    assert {file.name for file in (tmp_path / "place").iterdir()} <= {"x.db", "x.db.lock"}


@pytest.mark.parametrize(
    "command", [["get", "edge:aa"], ["explain", "edge:aa"], ["list"], ["wait", "edge:aa"], ["watch"]]
)
def test_a_journal_and_none_is_wrong_usage(here, stage, tmp_path, command):
    """Code 2 with nothing sent and no file made."""
    with asked(stage.edge, []):
        done = here(*command, "--no-journal", "--journal", tmp_path / "x.db")
    assert (done.code, done.out) == (2, "")
    assert "contradict each other" in done.err
    assert not (tmp_path / "x.db").exists()


# --- list ---


@pytest.fixture
def listed(stage, here):
    """Bulks of all providers, some of which were asked for: two of Cloudflare's, one with a label, and one of Weavr's."""
    stage.weavr.add("1", still("COMPLETED"), operations=10)
    stage.weavr.add("4", still("RUNNING"), operations=100)
    for id, word in (("aa", "completed"), ("bb", "running"), ("cc", "running")):
        stage.edge.add(id, still(word))
    assert here("get", "edge:aa", "edge:bb", "payments:1").code == 0
    assert here("track", "edge:bb", "--label", "release=42").code == 0
    return stage


def by_source(refs):
    """In the order of the sources, of which whichever answers first is told first; each source's own order stays."""
    return sorted(refs, key=lambda ref: ref.partition(":")[0])


def test_a_list_has_what_was_asked_for_where_there_is_no_other(here, listed):
    """Beside the lists of the others; what has ended is not asked for again."""
    with asked(listed.edge, ["bb"]):
        done = here("list", "-o", "name")
    assert done.code == 0
    assert by_source(done.out.split()) == ["edge:aa", "edge:bb", "payments:4", "payments:1"]
    with asked(listed.edge, ["aa", "bb"]):
        here("list", "--fresh")


@pytest.mark.parametrize(
    ("words", "refs"),
    [
        (["--tracked"], ["payments:1", "edge:aa", "edge:bb"]),
        (["--tracked", "--source", "payments"], ["payments:1"]),
        (["--tracked", "--state", "running"], ["edge:bb"]),
        (["--label", "release=42"], ["edge:bb"]),
        (["--label", "release=42", "--label", "team=x"], []),
        (["--label", "release=43"], []),
    ],
)
def test_a_list_of_what_is_tracked(here, listed, words, refs):
    """Of every source, whether its provider has a list or not; narrowed by labels, all of which a bulk has to bear."""
    done = here("list", *words, "-o", "name")
    assert (done.code, by_source(done.out.split())) == (0, by_source(refs))


def test_tracked_bulks_that_have_ended_cost_nothing(here, listed):
    """They are what was verified, so they are not provisional as a row of a list would be."""
    with asked(listed.weavr, []):
        done = here("list", "--tracked", "--source", "payments", "-o", "jsonl")
    (row,) = map(json.loads, done.out.splitlines())
    assert (row["provisional"], row["state"], row["counts"]["succeeded"]) == (False, "succeeded", 10)
    assert done.err == ""


def test_a_list_by_age(here, stage):
    """By when the provider says that they began, else by when they were first seen."""
    with born(stage.weavr, 3 * HOUR):
        stage.weavr.add("1", still("RUNNING"))
    stage.weavr.add("2", still("RUNNING"))
    for id in ("aa", "bb"):
        stage.edge.add(id, still("running"))
    stage.journal.record([seen(place(stage, "edge"), "aa", State.RUNNING, 3 * HOUR)])
    assert here("get", "edge:bb").code == 0
    old, new = ["payments:1", "edge:aa"], ["payments:2", "edge:bb"]
    for words in (["--older-than", "2h"], ["--older-than", "2h", "--newer-than", "1d"]):
        assert sorted(here("list", *words, "-o", "name").out.split()) == sorted(old)
    assert sorted(here("list", "--newer-than", "2h", "-o", "name").out.split()) == sorted(new)
    assert here("list", "--newer-than", "2h", "--older-than", "3h", "-o", "name").out == ""


def test_all_forms_of_a_list_have_the_same_rows(here, listed):
    """In the order of the sources; JSON is one document of the schema."""
    expected = ["payments:4", "payments:1", "edge:aa", "edge:bb"]
    said = {form: here("list", "-o", form) for form in FORMS}
    assert {done.code for done in said.values()} == {0}
    document = json.loads(said["json"].out)
    valid(document, "Report")
    assert document["complete"]
    refs = {
        "json": [f"{row['source']}:{row['id']}" for row in document["statuses"]],
        "jsonl": [f"{row['source']}:{row['id']}" for row in map(json.loads, said["jsonl"].out.splitlines())],
        "csv": list(rows_of(said["csv"].out)),
        "table": [line.split()[0] for line in said["table"].out.splitlines()[1:]],
        "name": said["name"].out.split(),
    }
    # What comes while others are still on their way is shown first; here nothing takes long enough for that.
    assert refs == dict.fromkeys(FORMS, expected)


@pytest.mark.parametrize("form", ["name", "table", "csv", "jsonl"])
def test_rows_that_the_journal_settles_wait_for_nobody(process, listed, monkeypatch, form):
    """They are out while a source has not answered yet, also in a pipe; the others follow when it does."""
    answers, answer = threading.Event(), listed.weavr.answer

    def slow(request):
        answers.wait(15)
        return answer(request)

    monkeypatch.setattr(listed.weavr, "answer", slow)
    child = process("list", "--source", "payments", "--source", "edge", "-o", form)
    try:
        first = [child.stdout.readline() for _ in range(3 if form in ("table", "csv") else 2)]
        assert not answers.is_set()
    finally:
        answers.set()
    rest, err = child.communicate(timeout=50)
    assert (child.returncode, err) == (0, "")
    whole = (*first, *rest.splitlines(keepends=True))
    assert len(whole) == 4 + (form in ("table", "csv"))
    assert [re.search(r"\b(aa|bb)\b", line) is not None for line in first][-2:] == [True, True]
    assert sum("payments" in line for line in rest.splitlines()) == 2


def test_a_source_that_is_down_hides_no_row_that_is_known(here, listed):
    """What it was known to have ended is there, what was not is a failure; code 7, and 0 where that is allowed."""
    text = listed.config.read_text().replace(listed.urls[0], CLOSED)
    listed.config.write_text(text)
    listed.edge.fail(Fault(status=200, body=b"<html>", times=None))
    done = here("list", "--timeout", "2s", "-o", "json")
    document = json.loads(done.out)
    assert (done.code, document["complete"]) == (7, False)
    assert [row["id"] for row in document["statuses"]] == ["aa"]
    assert {failure["source"] for failure in document["failures"]} == {"payments", "edge"}
    assert "edge:bb (cloudflare): cannot ask" in done.err
    assert here("list", "--timeout", "1s", "-o", "name", "--allow-incomplete").code == 0


@pytest.mark.parametrize("form", FORMS)
def test_a_list_of_nothing(here, stage, form):
    """No error, whatever the form; what to do about it is on stderr."""
    done = here("list", "--source", "edge", "-o", form)
    assert done.code == 0
    (line,) = done.err.splitlines()
    assert "none is tracked yet" in line
    assert "bulkstatus get edge:ID" in line
    if form == "json":
        document = json.loads(done.out)
        valid(document, "Report")
        assert (document["statuses"], document["skipped"][0]["source"]) == ([], "edge")
    else:
        assert len(done.out.splitlines()) == (form in ("table", "csv"))


@pytest.mark.parametrize(
    "words",
    [
        ["--source", "edge", "--no-journal"],
        ["--tracked", "--no-journal"],
        ["--label", "a=1", "--no-journal"],
        ["--label", "a"],
        ["--older-than", "soon"],
        ["--newer-than", "0"],
    ],
)
def test_a_list_that_cannot_be_is_wrong_usage(here, stage, words):
    """Code 2, nothing on stdout, nothing sent."""
    with asked(stage.weavr, []):
        done = here("list", *words)
    assert (done.code, done.out) == (2, "")
    assert len(done.err.splitlines()) == 1


# --- gone ---


@pytest.fixture
def gone(stage, here):
    """A bulk that ran when it was seen, and that its provider has forgotten since."""
    stage.edge.add("aa", still("running"))
    assert here("get", "edge:aa").code == 0
    stage.edge.remove("aa")
    return stage


def test_a_bulk_that_was_forgotten_is_gone(here, gone):
    """In every form, with what was seen last; by its state only when asked."""
    said = {form: here("get", "edge:aa", "-o", form) for form in FORMS}
    assert {(done.code, done.err) for done in said.values()} == {(0, "")}
    assert "gone (running before)" in said["table"].out
    assert said["name"].out == "edge:aa\n"
    row = rows_of(said["csv"].out)["edge:aa"]
    (status,) = json.loads(said["json"].out)["statuses"]
    assert row["gone_at"].endswith("Z")
    assert (row["state"], status["state"], status["native_state"]) == ("running", "running", "running")
    assert status["gone_at"] > status["observed_at"]
    assert "does not know it any more since" in status["evidence"][-1]
    assert json.loads(said["jsonl"].out)["gone_at"]
    assert here("get", "edge:aa", "--exit-status").code == 5
    assert here("list", "--source", "edge", "--exit-status").code == 5


def test_what_to_do_about_one_that_is_gone(here, gone):
    """Nothing that would run it again."""
    done = here("explain", "edge:aa")
    assert done.code == 0
    assert "  gone        the provider does not know it any more; found " in done.out
    assert done.out.splitlines()[-2:] == [
        "  Find out at the provider how it ended before anything is run again.",
        "  bulkstatus history edge:aa    # what was seen of it",
    ]


def forgotten(stage, id, ago):
    """The provider said so many seconds ago that a bulk is gone for good; when that was."""
    at = datetime.now(UTC) - timedelta(seconds=ago)
    stage.journal.record([Miss(place(stage, "edge"), id, Stamp.take(), Stamp.take(), at, final=True)])
    return at


def test_one_that_is_known_to_be_gone_is_asked_for_again(here, gone):
    """It may yet come back; until it does, it is gone since it was first missed. Known again, it is no longer gone."""
    at = forgotten(gone, "aa", HOUR)
    with asked(gone.edge, ["aa", "aa"]):
        assert here("get", "edge:aa", "--exit-status").code == 5
        assert "gone (running before)" in here("list", "--source", "edge").out
    assert json.loads(here("get", "edge:aa", "-o", "jsonl").out)["gone_at"][:19] == f"{at:%Y-%m-%dT%H:%M:%S}"
    gone.edge.add("aa", still("running"))
    assert json.loads(here("get", "edge:aa", "-o", "jsonl").out)["gone_at"] is None
    assert here("get", "edge:aa", "--exit-status").code == 8
    assert [step.kind for step in gone.journal.history("edge:aa")] == ["first", "gone", "returned"]


def test_one_that_is_gone_for_a_day_is_left_alone_by_a_list(here, gone):
    """It is shown as it was seen last; by name, and with --fresh, it is asked for."""
    forgotten(gone, "aa", 25 * HOUR)
    with asked(gone.edge, []):
        assert "gone (running before)" in here("list", "--source", "edge").out
        assert here("list", "--tracked", "--exit-status").code == 5
    with asked(gone.edge, ["aa", "aa"]):
        assert here("list", "--source", "edge", "--fresh").code == 0
        assert here("get", "edge:aa", "--exit-status").code == 5


def test_one_that_ended_and_is_gone_has_ended(here, stage):
    """Well: that its provider has forgotten it since does not change that, nor what the code says."""
    stage.edge.add("aa", still("completed"))
    assert here("get", "edge:aa").code == 0
    stage.edge.remove("aa")
    for words in ((), ("--fresh",), ()):
        done = here("get", "edge:aa", "--exit-status", *words)
        assert (done.code, done.err) == (0, "")
        assert done.out.splitlines()[1].split()[1] == "succeeded"


def test_one_that_nobody_has_ever_seen_is_not_found(here, stage):
    """That it is tracked does not make it one that is gone."""
    assert here("track", "edge:aa").code == 0
    done = here("get", "edge:aa")
    assert (done.code, done.out.splitlines()[1:]) == (5, [])
    assert "edge:aa (cloudflare): cannot ask: " in done.err


def test_a_wait_for_one_that_is_gone(here, gone):
    """Asked for twice, then it is over: code 5, the verdict and how it stood. Once that is known, it is asked for once."""
    done = here("wait", "edge:aa", "-o", "json", "--timeout", "30s")
    document = json.loads(done.out)
    (result,) = document["results"]
    assert (done.code, document["exit_code"], result["verdict"]) == (5, 5, "gone")
    assert result["status"]["state"] == "running"
    assert "find out how it ended" in done.err
    steps = [(step.kind, step.to_state) for step in gone.journal.history("edge:aa")]
    assert steps == [("first", State.RUNNING), ("gone", None)]
    with asked(gone.edge, ["aa"]):
        assert here("wait", "edge:aa").code == 5


# --- late ---

OVERDUE = r"overdue: 3h(?:\d+s)?, and 95 % of the last 25 took at most 1m"
STUCK = r"stuck: nothing has moved for 2h(?:\d+s)? \(limit 10m, half of what is usual for the last 25\)"


@pytest.fixture
def late(stage):
    """Bulks that have run for three hours, two of them without a move, where such bulks take a minute.

    That of Weavr counts what is finished, so it is stuck; that of Cloudflare may be well on its way.
    """
    with born(stage.weavr, 3 * HOUR):
        stage.weavr.add("1", still("RUNNING"), operations=10, action="/sends")
    stage.edge.add("aa", still("running"))
    with Client.from_config(stage.config) as client:
        status = client.get("payments:1")
    weavr, edge = place(stage, "payments"), place(stage, "edge")
    at, before = datetime.now(UTC) - timedelta(hours=2), Stamp("before", 0.0)
    stage.journal.record(
        [
            *ended(weavr, 25, action="/sends"),
            *ended(edge, 25),
            Sighting(weavr, status.changed(observed_at=at), before, Stamp("before", 1.0), wanted=True),
            seen(edge, "aa", State.RUNNING, 3 * HOUR, native_state="running"),
        ]
    )
    return stage


LATE = [("payments:1", f"{OVERDUE}; {STUCK}", "true"), ("edge:aa", OVERDUE, "")]


@pytest.mark.parametrize(("ref", "why", "is_stuck"), LATE)
def test_one_that_is_late_is_marked(here, late, ref, why, is_stuck):
    """By which figures, in the table; as `true` in CSV, and whole in JSON."""
    words = ("get", ref)
    assert re.search(rf"^{ref} +running .* {why}(?:; /sends)?$", here(*words).out, re.MULTILINE)
    row = rows_of(here(*words, "-o", "csv").out)[ref]
    assert (row["overdue"], row["stuck"]) == ("true", is_stuck)
    status = json.loads(here(*words, "-o", "jsonl").out)
    valid(status, "BulkStatus")
    assert (status["overdue"]["usual"], status["overdue"]["of"]) == (60.0, 25)
    assert 3 * HOUR <= status["overdue"]["age"] < 4 * HOUR
    if is_stuck:
        assert (status["stuck"]["limit"], status["stuck"]["of"]) == (600.0, 25)
    listed = here("list", "--source", ref.partition(":")[0], "--state", "running").out
    assert re.search(rf"^{ref} +running .* {OVERDUE}", listed, re.MULTILINE)


@pytest.mark.parametrize(("ref", "why", "is_stuck"), LATE)
def test_why_one_is_called_late(here, late, ref, why, is_stuck):
    """In `explain` too; without a journal nothing tells."""
    out = here("explain", ref).out
    assert re.search(rf"^  late        {why}$", out, re.MULTILINE)
    assert ("stuck" in out) == (is_stuck == "true")
    assert not re.search("late|overdue|stuck", here("get", ref, "--no-journal").out)


def test_a_watch_says_that_one_is_late(process, late):
    """Once, in a line of its own; in JSON lines as a change of its own kind."""
    words = ("watch", "payments:1", "edge:aa", "--timeout", "4s", "-o")
    table, stream = (
        child.communicate(timeout=50)[0] for child in [process(*words, "table"), process(*words, "jsonl")]
    )
    told = sorted(line for line in table.splitlines() if "overdue" in line)
    changes = [json.loads(line) for line in stream.splitlines()[1:-1]]
    marked = {change["ref"]: change for change in changes if change["kind"] == "late"}
    assert len(told) == len(marked) == sum(change["kind"] == "late" for change in changes) == 2
    for ref, why, is_stuck in LATE:
        (line,) = (line for line in told if f"  {ref}  " in line)
        assert re.fullmatch(rf"\S+Z  {ref}  {why}", line)
        valid(marked[ref], "Change")
        assert marked[ref]["status"]["overdue"]["of"] == 25
        assert (marked[ref]["status"]["stuck"] is not None) == (is_stuck == "true")


@forking
@pytest.mark.usefixtures("late")
@pytest.mark.parametrize("command", ["get", "watch"])
@pytest.mark.parametrize(("ref", "why"), [("payments:1", f"{OVERDUE}; stuck: "), ("edge:aa", OVERDUE)])
def test_a_wide_terminal_says_that_one_is_late(program, environment, command, ref, why):
    """In the cell of its state and the details of its row."""
    interrupt = {"until": "overdue", "act": lambda child: child.sendintr()} if command == "watch" else {}
    display, _, code = look(program, [command, ref], environment, columns=200, **interrupt)
    assert code == (130 if command == "watch" else 0)
    (row,) = (line for line in display if line.startswith(f"{ref} "))
    assert "running, late" in row
    assert re.search(why, row)


def test_too_few_ended_ones_say_nothing(here, stage):
    """From twenty on; those of another action do not count."""
    where = place(stage, "payments")
    with born(stage.weavr, 2 * HOUR):
        stage.weavr.add("1", still("RUNNING"), action="/sends")
    stage.journal.record([*ended(where, 25), *ended(where, 19, action="/sends")])
    assert "overdue" not in here("list", "--source", "payments").out
    stage.journal.record(ended(where, 20, action="/sends"))
    assert "overdue: 2h, and 95 % of the last 20 took at most 1m" in here("list", "--source", "payments").out


# --- wait and resume ---


def killed(process, stage, *words, lines, stdin=None):
    """Begin a wait as a process, and kill it after so many lines; what it had written by then."""
    child = process("wait", *words, stdin=None if stdin is None else subprocess.PIPE)
    if stdin is not None:
        child.stdin.write(stdin)
        child.stdin.close()
        child.stdin = None
    stream = child.stderr if "json" in words else child.stdout
    told = [stream.readline() for _ in range(lines)]
    child.kill()
    child.wait()
    (wait,) = stage.journal.waits()
    assert wait.waiter.endswith(f":{child.pid}")
    return told


@pytest.fixture
def left(stage, process):
    """A wait, number 1, whose process was killed once it had seen all: one bulk had ended by then, one goes on."""
    stage.edge.add("aa", still("completed"))
    stage.edge.add("bb", still("running"))
    killed(process, stage, "edge:aa", "edge:bb", "--timeout", "2h", "--pace", "eager", "-o", "json", lines=2)
    return stage


def test_a_wait_that_was_killed_is_gone_on_with(run, left):
    """For what has not ended, to the same end, in the same form: as if nothing had happened."""
    left.edge.add("bb", still("failed"), error="no room")
    with asked(left.edge, ["bb"]):
        done = run("resume")
    document = json.loads(done.out)
    valid(document, "OutcomeWithExitCode")
    assert (done.code, document["exit_code"]) == (3, 3)
    assert [(row["ref"], row["verdict"]) for row in document["results"]] == [
        ("edge:aa", "succeeded"),
        ("edge:bb", "failed"),
    ]
    assert re.match(r"bulkstatus: going on with wait 1 for 2 bulks for (2h|1h59m\S*) at most\n", done.err)
    (wait,) = left.journal.waits(open_only=False)
    assert (wait.verdicts, wait.ended_at is None) == ({"edge:aa": "succeeded", "edge:bb": "failed"}, False)


def test_whoever_comes_second_is_told_who_waits(process, here, left):
    """Code 7, nothing on stdout, nothing sent; once the first has gone, it may go on."""
    first = process("resume", "-o", "jsonl")
    for _ in range(3):
        first.stdout.readline()
    for words in (("resume",), ("resume", "1")):
        done = here(*words)
        assert (done.code, done.out) == (7, "")
        assert re.fullmatch(
            rf"bulkstatus: wait 1 is in the hands of another process \(\S+:{first.pid}\); "
            r"go on with it when that has ended\n",
            done.err,
        )
    first.kill()
    first.wait()
    left.edge.add("bb", still("completed"))
    assert here("resume").code == 0


def test_an_interrupted_wait_says_how_to_go_on(process, here, stage, tmp_path):
    """With its number and its journal, in a line that can be typed; so it does once more when that is interrupted."""
    stage.edge.add("aa", still("running"))
    file = tmp_path / "an other.db"
    child = process("wait", "edge:aa", "--pace", "eager", "--journal", file)
    for number in (signal.SIGINT, signal.SIGTERM):
        assert "new -> running" in child.stdout.readline()
        child.send_signal(number)
        _, err = child.communicate(timeout=50)
        assert child.returncode == {signal.SIGINT: 130, signal.SIGTERM: 143}[number]
        assert err.splitlines()[-2:] == ["bulkstatus: to go on:", f"  bulkstatus resume 1 --journal '{file}'"]
        if number is signal.SIGINT:
            child = process("resume", "1", "--journal", file)
    stage.edge.add("aa", still("completed"))
    done = here("resume", "1", "--journal", file)
    assert done.code == 0
    assert done.out.splitlines()[-1] == "1 bulk: 1 succeeded"


@pytest.mark.parametrize("how", ["interrupted", "ended", "out of time"])
def test_a_wait_whose_journal_was_replaced(process, stage, tmp_path, how):
    """The number it had is that of another wait in the new one: nobody is told to go on with that, and it stays open."""
    stage.edge.add("aa", still("running"))
    limit = ("--timeout", "3s") if how == "out of time" else ()
    child = process("wait", "edge:aa", "--pace", "eager", *limit)
    assert "new -> running" in child.stdout.readline()
    for file in tmp_path.glob("journal.db*"):
        if not file.name.endswith(".lock"):
            file.rename(file.with_name(f"before-{file.name}"))
    with Journal(stage.journal.path) as other:
        other.begin_wait(["edge:theirs"], bulkstatus.WaitTerms()).leave()
        (before,) = other.waits()
    if how == "interrupted":
        child.send_signal(signal.SIGINT)
    elif how == "ended":
        stage.edge.add("aa", still("completed"))
    _, err = child.communicate(timeout=50)
    assert child.returncode == {"interrupted": 130, "ended": 0, "out of time": 8}[how]
    assert "resume" not in err
    if how != "ended":
        words = " --timeout 3s" if limit else ""
        assert err.splitlines()[-1] == f"  bulkstatus wait edge:aa{words} --pace eager"
    with Journal(stage.journal.path) as other:
        assert other.waits(open_only=False) == (before,)
        if how == "ended":
            assert [step.to_state for step in other.history("edge:aa")][-1] is State.SUCCEEDED


def test_a_wait_whose_time_has_run_out_begins_anew(here, stage):
    """It has as long again as it had; once its bulks have ended, it is none to go on with."""
    stage.edge.add("aa", still("running"))
    done = here("wait", "edge:aa", "--timeout", "1s", "-o", "name")
    assert done.code == 8
    assert done.err.endswith("; to go on:\n  bulkstatus resume 1\n")
    again = here("resume")
    assert (again.code, again.out) == (8, "")
    assert again.err.startswith("bulkstatus: going on with wait 1 for ")
    assert " for 1s at most" in again.err
    stage.edge.add("aa", still("completed"))
    assert (here("resume", "1").out, here("resume", "1").code) == ("edge:aa\n", 0)
    none = here("resume")
    assert (none.code, none.out) == (2, "")
    assert "there is no wait to go on with" in none.err


def test_a_wait_that_is_over_is_told_again_and_nothing_is_sent(here, stage):
    """From the journal; with --fresh its bulks are asked for."""
    stage.weavr.add("2", still("PARTIALLY_COMPLETED"), operations=250, failing=3)
    first = here("wait", "payments:2", "-o", "csv")
    with asked(stage.weavr, []):
        again = here("resume", "1")
    assert (first.code, again.code) == (6, 6)
    assert first.out == again.out
    before = len(stage.weavr.requests)
    assert here("resume", "1", "--fresh").code == 6
    assert len(stage.weavr.requests) > before


@pytest.mark.parametrize(("words", "code"), [(["2"], 2), (["0"], 2), (["-1"], 2), (["last"], 2)])
def test_no_such_wait_is_wrong_usage(here, stage, words, code):
    """One line, nothing on stdout."""
    done = here("resume", *words)
    assert (done.code, done.out, len(done.err.splitlines())) == (code, "", 1)


def test_open_waits_are_named(here, left):
    """In every form, the latest first; nothing is sent, and none is taken over."""
    held = left.journal.begin_wait(["edge:bb"], bulkstatus.WaitTerms())
    with asked(left.edge, []):
        said = {form: here("resume", "--list", "-o", form) for form in FORMS}
    held.leave()
    assert {(done.code, done.err) for done in said.values()} == {(0, "")}
    header, second, first = said["table"].out.splitlines()
    assert header.split() == ["WAIT", "STANDING", "BEGUN", "DEADLINE", "WAITER", "BULKS", "REFS"]
    assert second.startswith("2     under way ")
    assert second.endswith("  1      edge:bb")
    assert first.startswith("1     left behind ")
    document = json.loads(said["json"].out)
    assert [wait["id"] for wait in document["waits"]] == [2, 1]
    assert [json.loads(line) for line in said["jsonl"].out.splitlines()] == document["waits"]
    rows = list(csv.DictReader(io.StringIO(said["csv"].out)))
    assert [(row["wait"], row["bulks"]) for row in rows] == [("2", "1"), ("1", "2")]
    assert said["name"].out == "2\n1\n"
    assert len(left.journal.waits()) == 2


def test_a_wait_that_ran_out_of_time_is_named_as_well(here, stage):
    """It can be gone on with; one that came to its end is not named, also where others go on."""
    stage.edge.add("aa", still("running"))
    stage.edge.add("bb", still("completed"))
    assert here("wait", "edge:aa", "edge:bb", "--timeout", "1s").code == 8
    assert here("wait", "edge:bb").code == 0
    assert here("wait", "edge:aa", "edge:bb", "--until", "any").code == 0
    (row,) = here("resume", "--list").out.splitlines()[1:]
    assert row.startswith("1     out of time ")
    assert row.endswith("  2      edge:aa edge:bb")


@pytest.mark.parametrize("form", FORMS)
def test_a_host_with_a_hostile_name_writes_no_control_characters(here, stage, form):
    """Whatever a process called itself that recorded a wait: it is shown, and moves nothing on a terminal."""
    held = stage.journal.begin_wait(["edge:aa"], bulkstatus.WaitTerms())
    with closing(sqlite3.connect(stage.journal.path)) as db:
        db.execute("UPDATE waits SET waiter = ?", ("=evil\x1b]0;x\x07\u202e\x9b31m\r\n:1",))
        db.commit()
    shown, busy = here("resume", "--list", "-o", form), here("resume", "1")
    held.leave()
    assert (shown.code, shown.err, busy.code, busy.out) == (0, "", 7, "")
    assert "evil" in busy.err
    assert ("evil" in shown.out) == (form != "name")
    for line in (*shown.out.split("\n"), *busy.err.split("\n")):
        assert line.isprintable()
    assert form != "csv" or "'=evil" in shown.out
    assert busy.err.count("\n") == 1


def test_the_form_of_a_resumed_wait_can_be_chosen(here, left):
    """Else it is that which the wait had."""
    left.edge.add("bb", still("completed"))
    done = here("resume", "-o", "name")
    assert (done.code, sorted(done.out.split())) == (0, ["edge:aa", "edge:bb"])
    assert json.loads(here("resume", "1").out)["exit_code"] == 0


def test_a_wait_keeps_its_configuration_and_its_terms(process, here, stage, tmp_path, monkeypatch):
    """Whatever the environment of the process that goes on says, and wherever that runs."""
    config = tmp_path / "other.toml"
    config.write_text(stage.config.read_text().replace("[sources.edge]", "[sources.lists]"))
    stage.edge.add("aa", still("completed"))
    stage.edge.add("bb", still("running"))
    monkeypatch.chdir(tmp_path)
    words = ("lists:bb", "lists:aa", "--config", "other.toml", "--until", "any", "--blind-after", "90s")
    stage.edge.fail(Fault(where="/aa", status=503, times=None))
    killed(process, stage, *words, lines=1)
    stage.edge.heal()
    (wait,) = stage.journal.waits()
    assert (wait.terms.until, wait.terms.blind_after) == ("any", 90.0)
    monkeypatch.chdir("/")
    done = here("resume")
    assert done.code == 0
    assert done.out.splitlines()[-1].startswith("2 bulks: 1 succeeded, 1 pending")


def test_a_wait_for_references_from_stdin_needs_them_no_more(process, run, stage):
    """They are in the journal."""
    for id in ("aa", "bb"):
        stage.edge.add(id, still("running"))
    killed(process, stage, "-", "--stop-when-blocked", lines=2, stdin="edge:aa\nedge:bb edge:aa\n")
    for id in ("aa", "bb"):
        stage.edge.add(id, still("completed"))
    done = run("resume", "-o", "name")
    assert (done.code, sorted(done.out.split())) == (0, ["edge:aa", "edge:bb"])
    assert "going on with wait 1 for 2 bulks\n" in done.err


def test_a_source_that_stands_for_another_account_now_is_not_asked(here, left):
    """Its ids would mean other bulks: code 2, and the wait stays open."""
    text = left.config.read_text().replace("023e105f4ecef8ad9ca31a8372d0c353", "f" * 32)
    left.config.write_text(text)
    with asked(left.edge, []):
        done = here("resume")
    assert (done.code, done.out) == (2, "")
    assert "was begun when the source 'edge' was " in done.err
    assert [wait.id for wait in left.journal.waits()] == [1]


def test_a_wait_without_a_journal_says_how_to_begin_anew(here, stage):
    """There is nothing to go on with."""
    stage.edge.add("aa", still("running"))
    done = here("wait", "edge:aa", "--timeout", "1s", "--no-journal")
    assert done.code == 8
    assert done.err.splitlines()[-1] == "  bulkstatus wait edge:aa --timeout 1s --no-journal"
    assert not stage.journal.path.exists()


def test_a_wait_can_give_its_bulks_labels(here, stage):
    """By which they are found again."""
    stage.edge.add("aa", still("completed"))
    assert here("wait", "edge:aa", "--label", "release=42").code == 0
    assert here("list", "--label", "release=42", "-o", "name").out == "edge:aa\n"
    assert dict(stage.journal.find("edge:aa")[0].labels) == {"release": "42"}
