"""The published JSON: its schema, and that what is written fits it."""

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import jsonschema
import msgspec
import pytest

from bulkstatus import (
    BulkOperation,
    BulkStatus,
    Change,
    Client,
    Counts,
    Failure,
    Outcome,
    Report,
    Result,
    Skipped,
    State,
    Verdict,
    json_schema,
    with_payload,
)
from bulkstatus.errors import RateLimited
from bulkstatus.testing import FakeTransport, Life
from bulkstatus_weavr.fake import WeavrFake

PUBLISHED = Path(__file__).parents[2] / "docs" / "schema.json"
REFRESH = (
    "import json, pathlib, bulkstatus; pathlib.Path('docs/schema.json')"
    ".write_text(json.dumps(bulkstatus.json_schema(), indent=2) + chr(10))"
)
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
STATUS = BulkStatus(
    source="payments",
    provider="weavr",
    id="1",
    state=State.PARTIAL,
    native_state="PARTIALLY_COMPLETED",
    counts=Counts(total=3, succeeded=2, failed=1),
    observed_at=NOW,
    evidence=("Because.",),
)
FAILURE = Failure.of(
    RateLimited("slow down", source="edge", provider="cloudflare", retry_after=3.0, status=429)
)
OUTCOME = Outcome(
    results=(
        Result(ref="payments:1", verdict=Verdict.PARTIAL, status=STATUS),
        Result(ref="edge:2", verdict=Verdict.BLIND, stale_since=NOW, failure=FAILURE),
    ),
    observed_at=NOW,
)
CHANGE = Change(
    kind="state",
    source="payments",
    provider="weavr",
    ref="payments:1",
    status=STATUS,
    verdict=Verdict.PARTIAL,
    warnings=("clock skew",),
    observed_at=NOW,
)


def validator(kind: str) -> jsonschema.Draft202012Validator:
    """A validator for one kind of the schema."""
    schema = json_schema()
    return jsonschema.Draft202012Validator({"$ref": f"#/$defs/{kind}", "$defs": schema["$defs"]})


def test_the_published_schema_is_the_one_the_code_has():
    """The file in the documentation is current. To refresh it, run what the failure says."""
    published = json.loads(PUBLISHED.read_text()) if PUBLISHED.exists() else None
    present = json.loads(json.dumps(json_schema()))
    assert in_one_order(published) == in_one_order(present), f'refresh it: python -c "{REFRESH}"'


def in_one_order(schema):
    """The schema with the choices of each `anyOf` sorted: their order means nothing, and versions of msgspec differ."""
    if isinstance(schema, dict):
        return {
            key: sorted(map(in_one_order, value), key=str) if key == "anyOf" else in_one_order(value)
            for key, value in schema.items()
        }
    return [in_one_order(item) for item in schema] if isinstance(schema, list) else schema


def test_the_command_that_refreshes_it_works(tmp_path):
    """It writes the file, from the folder above."""
    (tmp_path / "docs").mkdir()
    subprocess.run([sys.executable, "-c", REFRESH], cwd=tmp_path, check=True)
    assert json.loads((tmp_path / "docs" / "schema.json").read_text()) == json.loads(
        json.dumps(json_schema())
    )


def test_it_is_a_schema():
    """JSON Schema 2020-12, each kind under its name."""
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    assert {"BulkStatus", "BulkOperation", "Counts", "Failure", "Report", "Skipped"} <= set(schema["$defs"])
    assert all("$defs" in entry["$ref"] for entry in schema["anyOf"])


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (STATUS, "BulkStatus"),
        (FAILURE, "Failure"),
        (BulkOperation(sequence=1, state=State.FAILED), "BulkOperation"),
        (
            with_payload(BulkOperation(id="1", state=State.FAILED).carrying(request="{}", response=None)),
            "BulkOperationWithPayload",
        ),
        (
            Report(
                statuses=(STATUS,),
                failures=(FAILURE,),
                skipped=(Skipped(source="edge", provider="cloudflare", reason="no list"),),
                complete=False,
                observed_at=NOW,
            ),
            "Report",
        ),
        (OUTCOME, "Outcome"),
        (CHANGE, "Change"),
    ],
)
def test_what_is_written_fits_the_schema_and_comes_back(value, kind):
    """JSON and back is the same value."""
    written = msgspec.json.encode(value)
    validator(kind).validate(json.loads(written))
    assert msgspec.json.decode(written, type=type(value)) == value


def test_verdicts_and_kinds_of_change_are_closed_lists_in_the_schema():
    """The ten words of how a wait ended, the five of what was noticed, and no others."""
    defs = json_schema()["$defs"]
    assert set(defs["Verdict"]["enum"]) == set(map(str, Verdict))
    changed = json.loads(msgspec.json.encode(CHANGE))
    for kind in ("state", "progress", "verdict", "unobservable", "observable"):
        validator("Change").validate({**changed, "kind": kind})
    with pytest.raises(jsonschema.ValidationError):
        validator("Change").validate({**changed, "kind": "rumour"})


def test_what_the_command_line_adds_has_its_own_kinds():
    """The exit code of `wait -o json`, and the first and the last line of `-o jsonl`."""
    written = json.loads(msgspec.json.encode(OUTCOME))
    validator("OutcomeWithExitCode").validate({**written, "exit_code": 7})
    validator("ChangesHead").validate({"bulkstatus": "changes", "version": 1})
    validator("ChangesEnd").validate({"summary": {"partial": 1, "blind": 1}, "exit_code": 7})
    for kind, wrong in (
        ("OutcomeWithExitCode", written),
        ("ChangesHead", {"bulkstatus": "changes", "version": 2}),
        ("ChangesEnd", {"summary": {"partial": 1}}),
    ):
        with pytest.raises(jsonschema.ValidationError):
            validator(kind).validate(wrong)


def test_states_are_a_closed_list_in_the_schema():
    """The nine words, and no others."""
    assert set(json_schema()["$defs"]["State"]["enum"]) == set(map(str, State))
    with pytest.raises(jsonschema.ValidationError):
        validator("BulkStatus").validate({**json.loads(msgspec.json.encode(STATUS)), "state": "done"})


def test_what_was_not_said_is_null_and_never_0():
    """Counts that nobody gave are null in JSON too."""
    counts = json.loads(msgspec.json.encode(STATUS))["counts"]
    assert (counts["queued"], counts["failed"]) == (None, 1)


def test_times_are_in_utc():
    """RFC 3339 with Z."""
    assert json.loads(msgspec.json.encode(STATUS))["observed_at"] == "2026-01-02T03:04:05Z"


def test_a_real_report_and_real_operations_fit_the_schema():
    """What a client gives is what the schema says; payloads and raw records are in neither."""
    fake = WeavrFake()
    fake.add("1", Life.of((0, "PARTIALLY_COMPLETED")), operations=5, failing=2)
    transport = FakeTransport({"https://weavr.test/multi": fake})
    with Client({"p": fake.adapter("https://weavr.test/multi")}, transport=transport) as client:
        report, operations = client.list(), list(client.operations("p:1"))
        health = client.check()
    validator("Report").validate(json.loads(msgspec.json.encode(report)))
    validator("SourceHealth").validate(json.loads(msgspec.json.encode(health[0])))
    for operation in operations:
        plain = msgspec.json.encode(operation)
        validator("BulkOperation").validate(json.loads(plain))
        assert b"Ada" not in plain
        full = msgspec.json.encode(with_payload(operation))
        validator("BulkOperationWithPayload").validate(json.loads(full))
        assert b"Ada" in full
    assert b"submittedItemsCount" not in msgspec.json.encode(report)
