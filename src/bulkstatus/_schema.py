"""The JSON form of the model, and the schema that documents it."""

from inspect import cleandoc
from typing import Any, Literal

import msgspec

from bulkstatus._client import SourceHealth
from bulkstatus._drift import Drift
from bulkstatus._model import BulkOperation, BulkStatus, Failure, Report
from bulkstatus._outcome import Change, Outcome
from bulkstatus._record import JournalStats, KnownBulk, Pruned, Transition, WaitRecord


class BulkOperationWithPayload(
    BulkOperation,
    frozen=True,
    kw_only=True,
    rename={"request_payload": "request", "response_payload": "response"},
):
    """A BulkOperation with its payloads, which are given only when asked for by name. They hold personal data."""

    request_payload: str | None = None
    response_payload: str | None = None


class OutcomeWithExitCode(Outcome, frozen=True, kw_only=True):
    """What `bulkstatus wait -o json` writes: an Outcome, and the code that the command exits with."""

    exit_code: int


class ChangesHead(msgspec.Struct, frozen=True, kw_only=True):
    """The first line of `-o jsonl` of `bulkstatus wait` and `bulkstatus watch`; one Change a line follows."""

    bulkstatus: Literal["changes"]
    version: Literal[1]


class ChangesEnd(msgspec.Struct, frozen=True, kw_only=True):
    """The last line of `-o jsonl`: how many bulks had which verdict, without those that none had, and the exit code."""

    summary: dict[str, int]
    exit_code: int


class History(msgspec.Struct, frozen=True, kw_only=True):
    """What `bulkstatus history -o json` writes: a bulk as the journal knows it, and its steps, the oldest first.

    `bulks` are several where the source has stood for several accounts.
    """

    bulks: tuple[KnownBulk, ...]
    steps: tuple[Transition, ...]


def with_payload(operation: BulkOperation) -> BulkOperationWithPayload:
    """The operation with its payloads as fields, to be written out."""
    return BulkOperationWithPayload(
        **msgspec.structs.asdict(operation),
        request_payload=operation.request,
        response_payload=operation.response,
    )


def json_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of everything that is written as JSON; each kind is under `$defs`."""
    kinds = (
        BulkStatus,
        BulkOperation,
        BulkOperationWithPayload,
        Failure,
        Report,
        SourceHealth,
        Outcome,
        OutcomeWithExitCode,
        Change,
        ChangesHead,
        ChangesEnd,
        Transition,
        KnownBulk,
        History,
        JournalStats,
        Pruned,
        WaitRecord,
        Drift,
    )
    _, components = msgspec.json.schema_components(kinds, ref_template="#/$defs/{name}")
    for component in components.values():
        component["description"] = cleandoc(component.get("description", ""))
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "bulkstatus",
        "description": "What bulkstatus writes as JSON. All times are RFC 3339 in UTC; null means not said.",
        "anyOf": [{"$ref": f"#/$defs/{kind.__name__}"} for kind in kinds],
        "$defs": dict(sorted(components.items())),
    }
