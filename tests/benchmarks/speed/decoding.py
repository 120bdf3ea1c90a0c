"""Goals 1 to 4: from the bytes of an answer to unified records, beside decoding alone and beside other models.

The limit is msgspec decoding the documented members into structs, and nothing else. The official clients' models are
what they read their own answers into: `cloudflare` its envelope, `openai` its page of batches. For providers that have
no official client the same members are made into models of the kind that `cloudflare` has.

Rows differ in ids, times and numbers, as those of a real list do. What is new in an answer is looked for meanwhile, as
it is in use.
"""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import msgspec
import pydantic
from cloudflare import BaseModel as SdkModel
from cloudflare._models import construct_type
from cloudflare._wrappers import ResultWrapper
from cloudflare.types.rules.lists import BulkOperationGetResponse
from msgspec.structs import replace

from benchmarks.speed.measure import Fact, Goal, Spread, cpu_per_call, ratios
from bulkstatus._drift import collecting
from bulkstatus.adapter import Adapter, Call, ListQuery, OperationQuery, Page, Response
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
    def ran(number: int) -> dict[str, int]:
        start = 1_767_225_600_123 + 60_007 * number
        return {"executionStart": start, "executionFinish": start + 300_333} if times else {}

    return json.dumps(
        {
            "count": rows,
            "responseCount": rows,
            "bulkProcesses": [
                {
                    "bulkId": str(112233445566778899 + number),
                    "status": "COMPLETED",
                    "submittedItemsCount": 250 + number,
                    **ran(number),
                    "operation": "/transfers",
                    "mode": "ON_FAILURE_CONTINUE",
                }
                for number in range(rows)
            ],
        }
    ).encode()


def _druid(rows: int = 1_000) -> bytes:
    begun = datetime(2026, 1, 1, tzinfo=UTC)

    def at(seconds: float) -> str:
        when = begun + timedelta(seconds=seconds)
        return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    content = [
        {
            "bulkId": f"019a0b1c-2d3e-7f40-8a51-{number:012x}",
            "status": "processing",
            "createdOn": at(61.007 * number),
            "updatedOn": at(61.007 * number + 600.456),
        }
        for number in range(rows)
    ]
    return json.dumps({"content": content, "result": {"status": 200, "message": "OK"}}).encode()


def _envelope() -> bytes:
    result = {"id": "c" * 32, "status": "completed", "completed": "2026-01-01T00:00:00Z"}
    return json.dumps({"result": result, "success": True, "errors": [], "messages": []}).encode()


def _batches(rows: int = 100) -> bytes:
    """https://developers.openai.com/api/reference/resources/batches/methods/list: all documented members."""
    batch = {
        "object": "batch",
        "endpoint": "/v1/responses",
        "errors": None,
        "input_file_id": "file-abc123",
        "completion_window": "24h",
        "status": "completed",
        "output_file_id": "file-cvaTdG",
        "error_file_id": "file-HOWS94",
        "failed_at": None,
        "expired_at": None,
        "cancelling_at": None,
        "cancelled_at": None,
        "metadata": {"customer_id": "user_123456789", "batch_description": "Nightly eval job"},
    }

    def own(number: int) -> dict[str, Any]:
        created = 1_767_225_600 + 61 * number
        return {
            "created_at": created,
            "in_progress_at": created + 60,
            "expires_at": created + 86_400,
            "finalizing_at": created + 3_400,
            "completed_at": created + 3_600,
            "request_counts": {"total": 100 + number, "completed": 95 + number, "failed": 5},
        }

    data = [{"id": f"batch_{number:032x}", **batch, **own(number)} for number in range(rows)]
    page = {"object": "list", "data": data, "first_id": data[0]["id"], "last_id": data[-1]["id"]}
    return json.dumps(page | {"has_more": True}).encode()


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


class BatchCounts(msgspec.Struct):
    total: int
    completed: int
    failed: int


class Batch(msgspec.Struct):
    id: str
    object: str
    endpoint: str
    input_file_id: str
    completion_window: str
    status: str
    created_at: int
    errors: dict[str, Any] | None = None
    output_file_id: str | None = None
    error_file_id: str | None = None
    in_progress_at: int | None = None
    expires_at: int | None = None
    finalizing_at: int | None = None
    completed_at: int | None = None
    failed_at: int | None = None
    expired_at: int | None = None
    cancelling_at: int | None = None
    cancelled_at: int | None = None
    request_counts: BatchCounts | None = None
    metadata: dict[str, str] | None = None


class Batches(msgspec.Struct):
    object: str
    data: list[Batch]
    has_more: bool
    first_id: str | None = None
    last_id: str | None = None


_INNER = (Operation, Process, DruidBulk, CloudflareBulk, Batch, BatchCounts)


def _model(base: type, struct: type[msgspec.Struct]) -> type:
    """The same members as a model of pydantic or of the official package, times read where a name says so."""
    annotations: dict[str, Any] = {}
    defaults: dict[str, Any] = {}
    for field in msgspec.structs.fields(struct):
        kind = field.type
        for inner in _INNER:
            if kind == list[inner]:
                kind = list[_model(base, inner)]  # type: ignore[misc] - a model that was made just now
            elif kind is inner:
                kind = _model(base, inner)
            elif kind == inner | None:
                kind = _model(base, inner) | None
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


class Payload(NamedTuple):
    """A body, the structs that are its limit, how bulkstatus reads it, and what makes an official client's models of it."""

    row: str
    what: str
    bound: float | None
    body: bytes
    struct: type[msgspec.Struct]
    read: Callable[[], object]
    official: Callable[[], Callable[[Any], object]] | None = None


def _constructed(kind: Any) -> Callable[[Any], object]:
    return lambda value: construct_type(type_=kind, value=value)


def _cloudflare() -> Callable[[Any], object]:
    return _constructed(ResultWrapper[BulkOperationGetResponse])


def _openai() -> Callable[[Any], object]:
    """Imported here: the package takes more than a second."""
    from openai._models import construct_type
    from openai.pagination import AsyncCursorPage
    from openai.types import Batch

    return lambda value: construct_type(type_=AsyncCursorPage[Batch], value=value)


def payloads() -> Iterator[Payload]:
    """All that are measured."""
    weavr = load_fake("weavr")().adapter("https://weavr.test/multi")
    druid = load_fake("druid")().adapter("https://druid.test")
    edge = load_fake("cloudflare")().adapter("https://cloudflare.test/client/v4")
    openai = load_fake("openai")().adapter("https://openai.test/v1")
    operations, untimed, timed = _operations(), _processes(times=False), _processes()
    listed, envelope, batches = _druid(), _envelope(), _batches()
    yield Payload(
        "1", "Weavr, a page of 100 operations", 1.3, operations, Operations,
        _answer(weavr, weavr.operations(_ID, OperationQuery()), operations),
    )  # fmt: skip
    yield Payload(
        "2", "DRUID, a list of 1,000 bulks", 3.2, listed, DruidBulks,
        _answer(druid, druid.listing(ListQuery())[0], listed),
    )  # fmt: skip
    yield Payload(
        "2", "Cloudflare, one bulk", 3.2, envelope, CloudflareAnswer,
        _answer(edge, edge.status("c" * 32), envelope), _cloudflare,
    )  # fmt: skip
    yield Payload(
        "3", "Weavr, a page of 100 bulks without times", 1.7, untimed, Processes,
        _answer(weavr, weavr.listing(ListQuery())[0], untimed),
    )  # fmt: skip
    yield Payload(
        "3", "Weavr, a page of 100 bulks, both times", 4.0, timed, Processes,
        _answer(weavr, weavr.listing(ListQuery())[0], timed),
    )  # fmt: skip
    # No goal was set for it: its batches have ten times and counts, all of which are read.
    yield Payload(
        "", "OpenAI, a page of 100 batches", None, batches, Batches,
        _answer(openai, openai.listing(ListQuery())[0], batches), _openai,
    )  # fmt: skip


def measured(rounds: int) -> Iterator[Goal | Fact]:
    """Each payload in each way."""
    for payload in payloads():
        yield from compared(payload, rounds)


def compared(payload: Payload, rounds: int) -> Iterator[Goal | Fact]:
    """One payload in each way."""
    what, body = payload.what, payload.body
    decoder = msgspec.json.Decoder(payload.struct)
    validated = pydantic.TypeAdapter(_model(pydantic.BaseModel, payload.struct))
    construct = payload.official() if payload.official else _constructed(_model(SdkModel, payload.struct))
    told = payload.read()
    records = told.items if isinstance(told, Page) else (told,)
    candidates = {
        "limit": lambda: decoder.decode(body),
        # The least that records cost, whatever was read for them: one field is another in each.
        "records": lambda: [replace(record, id=record.id) for record in records],
        "bulkstatus": payload.read,
        "pydantic": lambda: validated.validate_json(body),
        "official": lambda: construct(json.loads(body)),
    }
    with collecting() as odd:
        found = cpu_per_call(candidates, rounds)
    if odd:
        raise AssertionError(f"{what} has something new in it: {odd.found()}")
    models = "its official client's models" if payload.official else "models as of the official clients"
    share = ratios(found, "bulkstatus", "limit")
    against = f"{what}: bulkstatus / decoding alone"
    yield (
        Fact(against, "", share, "x")
        if payload.bound is None
        else Goal(payload.row, against, "", share, payload.bound)
    )
    figure = ratios(found, "official", "bulkstatus")
    yield Goal("4", f"{what}: {models} / bulkstatus", "", figure, 20, at_least=True)
    yield Fact(f"{what}: pydantic / decoding alone", "", ratios(found, "pydantic", "limit"), "x")
    yield Fact(
        f"{what}: making the records, nothing read / decoding alone",
        "",
        ratios(found, "records", "limit"),
        "x",
    )
    yield Fact(f"{what}: bulkstatus", "", Spread.of(found["bulkstatus"]).scaled(1e6), "µs")
