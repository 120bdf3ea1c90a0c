"""The members of Weavr's answers that are read, and how they are decoded.

No schema of Weavr's names required members, so each of them may be absent or null:
https://api.weavr.io/products/multi/openapi/manage/bulkid.md. A member of another type than the documented one costs
that member, with a note for the evidence, and neither its record nor the page.
"""

from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

Notes = tuple[str, ...]


class StatusCount(msgspec.Struct, frozen=True):
    """How many operations have one status; both members unchecked, so that one odd entry costs only itself."""

    status: object = None
    count: object = None


class Process(msgspec.Struct, frozen=True, rename="camel"):
    """A bulk process, in a list or by itself."""

    bulk_id: str | int | None = None
    status: str | None = None
    submitted_items_count: int | None = None
    execution_start: int | str | None = None
    execution_finish: int | str | None = None
    operation: str | None = None
    mode: str | None = None
    operation_status_counts: list[StatusCount | None] | None = None


class Operation(msgspec.Struct, frozen=True, rename="camel"):
    """An operation of a bulk process. The payloads are JSON written into strings, and hold personal data."""

    operation_id: str | int | None = None
    sequence: int | None = None
    method: str | None = None
    path: str | None = None
    status: str | None = None
    request_payload: str | None = None
    response_payload: str | None = None


class Refusal(msgspec.Struct, frozen=True, rename="camel"):
    """Any of the documented error bodies, unchecked."""

    error_code: object = None
    code: object = None
    message: object = None
    syntax_errors: object = None


class InvalidField(msgspec.Struct, frozen=True, rename="camel"):
    """One entry of a 400's `syntaxErrors.invalidFields`; its `params` are left alone."""

    field_name: str = ""
    error: str = ""


class SyntaxErrors(msgspec.Struct, frozen=True, rename="camel"):
    """What a 400 says about the request."""

    invalid_fields: list[InvalidField] = []


class ErrorCode(msgspec.Struct, frozen=True, rename="camel"):
    """The code inside the `responsePayload` of an operation that failed."""

    error_code: object = None
    code: object = None


class _ProcessPage(msgspec.Struct, frozen=True, rename="camel"):
    count: int | None = None
    response_count: int | None = None
    bulk_processes: list[Process] | None = None
    # The name in documents up to 3.56: https://weavr-multi-api.redoc.ly/3.56.0/tag/Manage
    older: list[Process] | None = msgspec.field(name="bulk_processes", default=None)


class _OperationPage(msgspec.Struct, frozen=True, rename="camel"):
    count: int | None = None
    response_count: int | None = None
    operations: list[Operation] | None = None


_NULL = msgspec.Raw(b"null")


class _LoosePage(msgspec.Struct, frozen=True, rename="camel"):
    """A page of either kind, cut into its members. By their names: other members may be called anything, even what is no text."""

    count: msgspec.Raw = _NULL
    response_count: msgspec.Raw = _NULL
    bulk_processes: msgspec.Raw = _NULL
    older: msgspec.Raw = msgspec.field(name="bulk_processes", default=_NULL)
    operations: msgspec.Raw = _NULL


R = TypeVar("R", Process, Operation)


class Rows(NamedTuple, Generic[R]):
    """A page: its records (None when the answer had no array of them), notes on odd ones, `count`, `responseCount`."""

    records: list[R] | None
    notes: dict[int, Notes]
    total: int | None
    received: int | None


_PROCESS = msgspec.json.Decoder(Process)
_PROCESS_PAGE = msgspec.json.Decoder(_ProcessPage)
_OPERATION_PAGE = msgspec.json.Decoder(_OperationPage)
_LOOSE_PAGE = msgspec.json.Decoder(_LoosePage)
_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ARRAY = msgspec.json.Decoder(list[msgspec.Raw] | None)
_WHOLE = msgspec.json.Decoder(int | None)
# Made once: for each row anew, 40 kB of odd rows took seconds, in which no other source was served.
_FIELDS: dict[type, list[tuple[str, str, msgspec.json.Decoder[Any]]]] = {
    cls: [
        (field.name, field.encode_name, msgspec.json.Decoder(field.type))
        for field in msgspec.structs.fields(cls)
    ]
    for cls in (Process, Operation)
}
REFUSAL = msgspec.json.Decoder(Refusal)
ERROR_CODE = msgspec.json.Decoder(ErrorCode)


def read_process(body: bytes) -> tuple[Process, Notes]:
    """Decode one bulk process."""
    try:
        return _PROCESS.decode(body), ()
    except msgspec.ValidationError:
        return _by_member(Process, _MEMBERS.decode(body))


def read_processes(body: bytes) -> Rows[Process]:
    """Decode a page of bulk processes."""
    try:
        page = _PROCESS_PAGE.decode(body)
    except msgspec.ValidationError:
        loose = _LOOSE_PAGE.decode(body)
        return _by_row(Process, loose, loose.bulk_processes, loose.older)
    records = page.older if page.bulk_processes is None else page.bulk_processes
    return Rows(records, {}, page.count, page.response_count)


def read_operations(body: bytes) -> Rows[Operation]:
    """Decode a page of operations."""
    try:
        page = _OPERATION_PAGE.decode(body)
    except msgspec.ValidationError:
        loose = _LOOSE_PAGE.decode(body)
        return _by_row(Operation, loose, loose.operations)
    return Rows(page.operations, {}, page.count, page.response_count)


def raw_processes(body: bytes) -> list[msgspec.Raw]:
    """Cut a page of bulk processes into its records, as received."""
    page = _LOOSE_PAGE.decode(body)
    return _array(page.bulk_processes, page.older) or []


def raw_operations(body: bytes) -> list[msgspec.Raw]:
    """Cut a page of operations into its records, as received."""
    return _array(_LOOSE_PAGE.decode(body).operations) or []


def _array(*places: msgspec.Raw) -> list[msgspec.Raw] | None:
    arrays = (_ARRAY.decode(raw) for raw in places)
    return next((array for array in arrays if array is not None), None)


def _by_row(cls: type[R], page: _LoosePage, *places: msgspec.Raw) -> Rows[R]:
    array = _array(*places)
    records: list[R] = []
    notes: dict[int, Notes] = {}
    for index, row in enumerate(array or ()):
        record, odd = _by_member(cls, _members(row))
        records.append(record)
        if odd:
            notes[index] = odd
    counts = _whole(page.count), _whole(page.response_count)
    return Rows(None if array is None else records, notes, *counts)


def _members(row: msgspec.Raw) -> dict[str, msgspec.Raw]:
    try:
        return _MEMBERS.decode(row)
    except msgspec.ValidationError:
        return {}


def _by_member(cls: type[R], members: dict[str, msgspec.Raw]) -> tuple[R, Notes]:
    kept: dict[str, Any] = {}
    notes: list[str] = []
    for name, encoded, decoder in _FIELDS[cls]:
        raw = members.get(encoded)
        if raw is None:
            continue
        try:
            kept[name] = decoder.decode(raw)
        except msgspec.ValidationError:
            notes.append(f"{encoded} is not of the documented type, so it is treated as not said.")
    return cls(**kept), tuple(notes)


def _whole(raw: msgspec.Raw) -> int | None:
    try:
        return _WHOLE.decode(raw)
    except msgspec.ValidationError:
        return None
