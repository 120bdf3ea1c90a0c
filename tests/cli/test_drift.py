"""`bulkstatus drift`: what was counted, what to do about it, and that doing so ends it."""

import csv
import io
import json
import os
import tomllib
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import jsonschema
import pytest

from bulkstatus import Journal, json_schema
from bulkstatus._record import Place
from bulkstatus.cli import main
from bulkstatus.testing import Life, serve
from bulkstatus_weavr.fake import WeavrFake
from journal.looks import odd

PAYMENTS, CRM = Place("payments", "weavr", "weavr 1"), Place("crm.eu", "acme", "acme 1")
SECRETS = ("S3CR3T-drift-key-7c1f", "S3CR3T-drift-token-7c1f")
CONFIG = """
[sources.payments]
provider = "weavr"
base_url = "{url}"
api_key = "env:KEY"
auth_token = "env:TOKEN"
"""


@pytest.fixture
def path(tmp_path):
    """A journal in which two sources have been odd."""
    path = tmp_path / "journal.db"
    with Journal(path) as journal:
        journal.record(
            [
                odd("ARCHIVING", 3, place=PAYMENTS, word="ARCHIVING"),
                odd("ON HOLD", 1, place=PAYMENTS, word="ON HOLD", seen=60),
                odd("=cmd() (number)", 2, place=PAYMENTS, kind="field"),
                odd("99.99.9999", 1, place=CRM, kind="time"),
                odd("MERGING", 1, place=CRM, word="MERGING"),
            ]
        )
    return path


@pytest.fixture
def run(capsys):
    """Run a command in this process; what it wrote and its code. None of the credentials may come out."""

    def call(*words):
        code = main([str(word) for word in words])
        said = capsys.readouterr()
        for secret in SECRETS:
            assert secret not in said.out + said.err
        return SimpleNamespace(code=code, out=said.out, err=said.err)

    return call


@pytest.fixture
def drift(run):
    """Run `drift` on a journal."""

    def call(path, *words):
        done = run("drift", "--journal", path, *words)
        assert done.code == 0
        return done

    return call


def test_a_table_shows_what_was_seen_and_what_to_do(path, drift, run):
    """Below it stand the lines of the configuration; for what no line can settle, to whom it is to be reported."""
    done = drift(path)
    table, *advice = done.out.split("\n\n")
    assert [line.split()[:3] for line in table.splitlines()] == [
        ["SOURCE", "KIND", "WHERE"],
        ["crm.eu", "word", "plain"],
        ["crm.eu", "time", "plain"],
        ["payments", "word", "plain"],
        ["payments", "word", "plain"],
        ["payments", "field", "plain"],
    ]
    assert "ARCHIVING" in table
    assert "2026-01-01T00:01:00Z" in table
    settings = tomllib.loads("\n".join(advice))["sources"]
    assert settings == {
        "crm.eu": {"state_map": {"MERGING": "running"}},
        "payments": {"state_map": {"ARCHIVING": "running", "ON HOLD": "running"}},
    }
    assert "queued, running, paused, succeeded, partial, failed, cancelled or expired" in advice[1]
    assert (
        "# crm.eu: report the times above to the author of the adapter acme, which is not installed"
        in advice[0]
    )
    assert (
        f"# payments: report the fields above to the author of the adapter weavr (in bulkstatus {version('bulkstatus')})"
        in advice[1]
    )
    assert done.err == ""


def test_the_other_forms_hold_the_same(path, drift, run):
    """JSON by the schema, with the line for each word; CSV that no spreadsheet takes for a formula; names of sources."""
    document = json.loads(drift(path, "-o", "json").out)
    schema = {"$ref": "#/$defs/Drift", "$defs": json_schema()["$defs"]}
    validator = jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())
    for one in document:
        validator.validate(one)
    assert len(document) == 5
    assert document[2] == {
        "source": "payments",
        "provider": "weavr",
        "kind": "word",
        "where": "plain bulk",
        "sample": "ARCHIVING",
        "count": 3,
        "first_seen": "2026-01-01T00:00:00Z",
        "last_seen": "2026-01-01T00:00:00Z",
        "pin": 'state_map.ARCHIVING = "running"',
    }
    lines = drift(path, "-o", "jsonl", "--source", "payments").out.splitlines()
    assert list(map(json.loads, lines)) == document[2:]
    rows = list(csv.DictReader(io.StringIO(drift(path, "-o", "csv").out)))
    assert [(row["source"], row["count"]) for row in rows] == [
        (one["source"], str(one["count"])) for one in document
    ]
    assert rows[-1]["sample"] == "'=cmd() (number)"
    assert drift(path, "-o", "name").out == "crm.eu\npayments\n"


def test_nothing_is_said_on_stderr(path, tmp_path, drift, run):
    """Where nothing is known of a source, and where there is no journal, which is not made for that."""
    done = drift(path, "--source", "edge")
    assert (done.out, done.err) == (
        "",
        f"bulkstatus: no drift of edge has been counted in {path}\n",
    )
    assert drift(path, "--source", "edge", "-o", "json").out == "[]\n"
    none = tmp_path / "none.db"
    done = drift(none)
    assert done.out == ""
    assert f"there is no journal at {none}" in done.err
    assert drift(none, "--clear").out == ""
    assert not none.exists()


def test_it_can_be_forgotten(path, drift, run):
    """For one source, or for all."""
    done = drift(path, "--clear", "--source", "payments")
    assert (done.out, done.err) == ("3 lines of drift forgotten of payments\n", "")
    assert drift(path, "-o", "name").out == "crm.eu\n"
    assert drift(path, "--clear").out == "2 lines of drift forgotten\n"
    assert "no drift has been counted" in drift(path).err


def test_pruning_tells_of_it(path, drift, run):
    """With the rest of the journal."""
    done = run("journal", "prune", "--older-than", "30d", "--journal", path)
    assert done.out == "0 bulks, 0 steps and 0 waits taken out, and 5 of drift\n"
    assert "no drift has been counted" in drift(path).err


def test_the_printed_lines_end_it(tmp_path, run, monkeypatch):
    """A word is met, the lines are put into the configuration as they are, and it is read as they say."""
    fake = WeavrFake(api_key=SECRETS[0], auth_token=SECRETS[1])
    fake.add("1", Life.of((0, "ARCHIVING")))
    monkeypatch.setenv("KEY", SECRETS[0])
    monkeypatch.setenv("TOKEN", SECRETS[1])
    journal, config = tmp_path / "journal.db", tmp_path / "bulkstatus.toml"
    with serve(fake) as url:
        config.write_text(CONFIG.format(url=url))
        config.chmod(0o600)
        given = ("--journal", journal, "--config", config)
        asked = run("get", "payments:1", *given, "-o", "csv")
        assert "payments,1,unknown" in asked.out
        told = run("drift", *given).out
        lines = told.partition("[sources.payments]\n")[2]
        assert lines == 'state_map.ARCHIVING = "running"\n'
        config.write_text(CONFIG.format(url=url) + lines)
        monkeypatch.delenv("KEY")  # nothing is sent, and no adapter is set up
        done = run("drift", *given)
        assert (done.code, done.out) == (0, "")
        monkeypatch.setenv("KEY", SECRETS[0])
        asked = run("get", "payments:1", *given, "-o", "csv")
        assert "payments,1,running" in asked.out
        assert run("drift", *given).out == ""
        config.write_text(CONFIG.format(url=url) + lines.replace("running", "runing"))
        done = run("config", "check", "--config", config)
        assert done.code == 2
        assert f"{config}:7" in done.err + done.out


def test_a_configuration_that_is_named_has_to_be_there(path, tmp_path, drift, run, monkeypatch):
    """The usual one need not be: then words that it would pin are shown."""
    done = run("drift", "--journal", path, "--config", tmp_path / "none.toml")
    assert (done.code, done.out) == (2, "")
    broken = Path(os.environ["HOME"]) / "broken.toml"
    broken.write_text("[sources")
    monkeypatch.setenv("BULKSTATUS_CONFIG", str(broken))
    assert "ARCHIVING" in drift(path).out


def test_samples_are_safe_to_show(tmp_path, drift, run):
    """Whatever stands in a journal that somebody else has written."""
    path = tmp_path / "journal.db"
    evil = "EVIL\x1b[31m\u202e"
    place = PAYMENTS._replace(provider=evil)
    with Journal(path) as journal:
        journal.record([odd(evil, place=place, word=evil), odd(evil, place=place, kind="field")])
    for form in ("table", "csv", "json", "jsonl", "name"):
        out = drift(path, "-o", form).out
        assert "\x1b" not in out
        assert "\u202e" not in out
