"""Goals 1 to 4: from the bytes of an answer to unified records, beside decoding alone and beside other models.

The limit is msgspec decoding the documented members into structs, and nothing else. The models of the official
`cloudflare` package are its own class for the envelope's result, and its base class for payloads that it has none for.
"""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec
import pydantic
from cloudflare import BaseModel as SdkModel
from cloudflare._models import construct_type

from benchmarks.speed.measure import Fact, Goal, Spread, cpu_per_call, ratios
from bulkstatus.adapter import Adapter, Call, ListQuery, OperationQuery, Response
from bulkstatus.testing import load_fake

_ID = "112233445566778899"
_NOW = datetime(2026, 6, 1, tzinfo=UTC)


def _operations(rows: int = 100) -> bytes:
    return json.dumps(
        {
            "count": rows,
            "responseCount": rows,
            "operations": [
                {
                    "operationId": f"9{number:017d}",
                    "sequence": number,
                    "method": "POST",
                    "path": "/transfers",
                    "status": "COMPLETED",
                    "requestPayload": json.dumps({"description": "x" * 150, "amount": number}),
                    "responsePayload": json.dumps({"id": f"7{number:017d}"}),
                }
                for number in range(rows)
            ],
        }
    ).encode()


def _processes(rows: int = 100, *, times: bool = True) -> bytes:
    begun = {"executionStart": 1_767_225_600_123, "executionFinish": 1_767_225_900_456} if times else {}
    return json.dumps(
        {
            "count": rows,
            "responseCount": rows,
            "bulkProcesses": [
                {
                    "bulkId": str(112233445566778899 + number),
                    "status": "COMPLETED",
                    "submittedItemsCount": 250,
                    **begun,
                    "operation": "/transfers",
                    "mode": "ON_FAILURE_CONTINUE",
                }
                for number in range(rows)
            ],
        }
    ).encode()


def _druid(rows: int = 1_000) -> bytes:
    row = {
        "bulkId": "019a0b1c-2d3e-7f40-8a51-62738495a6b7",
        "status": "processing",
        "createdOn": "2026-01-01T00:00:00.123Z",
        "updatedOn": "2026-01-01T00:10:00.456Z",
    }
    return json.dumps({"content": [row] * rows, "result": {"status": 200, "message": "OK"}}).encode()


def _envelope() -> bytes:
    result = {"id": "c" * 32, "status": "completed", "completed": "2026-01-01T00:00:00Z"}
    return json.dumps({"result": result, "success": True, "errors": [], "messages": []}).encode()


# --- the limit: structs of the documented members ---


class Operation(msgspec.Struct, rename="camel"):
    operation_id: str
    sequence: int
    method: str
    path: str
    status: str
    request_payload: str
    response_payload: str | None = None


class Operations(msgspec.Struct, rename="camel"):
    count: int
    response_count: int
    operations: list[Operation]


class Process(msgspec.Struct, rename="camel"):
    bulk_id: str
    status: str
    submitted_items_count: int
    operation: str
    mode: str
    execution_start: int | None = None
    execution_finish: int | None = None


class Processes(msgspec.Struct, rename="camel"):
    count: int
    response_count: int
    bulk_processes: list[Process]


class DruidBulk(msgspec.Struct, rename="camel"):
    bulk_id: str
    status: str
    created_on: str
    updated_on: str


class DruidBulks(msgspec.Struct):
    content: list[DruidBulk]
    result: dict[str, Any]


class CloudflareBulk(msgspec.Struct):
    id: str
    status: str
    completed: str | None = None
    error: str | None = None


class CloudflareAnswer(msgspec.Struct):
    result: CloudflareBulk
    success: bool
    errors: list[Any]
    messages: list[Any]


_FIELDS = {Operations: Operation, Processes: Process, DruidBulks: DruidBulk, CloudflareAnswer: CloudflareBulk}


def _model(base: type, struct: type[msgspec.Struct]) -> type:
    """The same members as a model of pydantic or of the official package, times read where a name says so."""
    annotations: dict[str, Any] = {}
    defaults: dict[str, Any] = {}
    for field in msgspec.structs.fields(struct):
        kind = field.type
        for inner in _FIELDS.values():
            if kind == list[inner]:
                kind = list[_model(base, inner)]  # type: ignore[misc] - a model that was made just now
            elif kind is inner:
                kind = _model(base, inner)
        if field.encode_name in _TIMES:
            kind = datetime | None
        annotations[field.encode_name] = kind
        if not field.required:
            defaults[field.encode_name] = field.default
    return type(
        struct.__name__, (base,), {"__annotations__": annotations, "__module__": __name__, **defaults}
    )


_TIMES = {"executionStart", "executionFinish", "createdOn", "updatedOn", "completed"}


def _answer(adapter: Adapter, call: Call[Any], body: bytes) -> Callable[[], object]:
    def read() -> object:
        response = Response(
            status=200,
            body=body,
            received_at=_NOW,
            source="s",
            provider=adapter.provider,
            value_limit=100_000,
        )
        return call.read(response)

    return read


def _payloads() -> Iterator[tuple[str, str, float | None, bytes, type[msgspec.Struct], Callable[[], object]]]:
    weavr = load_fake("weavr")().adapter("https://weavr.test/multi")
    druid = load_fake("druid")().adapter("https://druid.test")
    edge = load_fake("cloudflare")().adapter("https://cloudflare.test/client/v4")
    operations, untimed, timed = _operations(), _processes(times=False), _processes()
    listed, envelope = _druid(), _envelope()
    yield (
        "1", "Weavr, a page of 100 operations", 1.3, operations, Operations,
        _answer(weavr, weavr.operations(_ID, OperationQuery()), operations),
    )  # fmt: skip
    yield (
        "2", "DRUID, a list of 1,000 bulks", 3.2, listed, DruidBulks,
        _answer(druid, druid.listing(ListQuery())[0], listed),
    )  # fmt: skip
    yield (
        "2", "Cloudflare, one bulk", 3.2, envelope, CloudflareAnswer,
        _answer(edge, edge.status("c" * 32), envelope),
    )  # fmt: skip
    yield (
        "3", "Weavr, a page of 100 bulks without times", 1.7, untimed, Processes,
        _answer(weavr, weavr.listing(ListQuery())[0], untimed),
    )  # fmt: skip
    yield (
        "3", "Weavr, a page of 100 bulks, both times", 4.0, timed, Processes,
        _answer(weavr, weavr.listing(ListQuery())[0], timed),
    )  # fmt: skip


def measured(rounds: int) -> Iterator[Goal | Fact]:
    """Each payload in each way."""
    for row, what, bound, body, struct, ours in _payloads():
        decoder = msgspec.json.Decoder(struct)
        validated = pydantic.TypeAdapter(_model(pydantic.BaseModel, struct))
        constructed = _model(SdkModel, struct)
        found = cpu_per_call(
            {
                "limit": lambda decoder=decoder, body=body: decoder.decode(body),
                "bulkstatus": ours,
                "pydantic": lambda validated=validated, body=body: validated.validate_json(body),
                "sdk": lambda kind=constructed, body=body: construct_type(type_=kind, value=json.loads(body)),
            },
            rounds,
        )
        yield Goal(
            row, f"{what}: bulkstatus / decoding alone", "", ratios(found, "bulkstatus", "limit"), bound
        )
        yield Goal(
            "4",
            f"{what}: the SDK's models / bulkstatus",
            "",
            ratios(found, "sdk", "bulkstatus"),
            20,
            at_least=True,
        )
        yield Fact(f"{what}: pydantic / decoding alone", "", ratios(found, "pydantic", "limit"), "x")
        yield Fact(f"{what}: bulkstatus", "", Spread.of(found["bulkstatus"]).scaled(1e6), "µs")
