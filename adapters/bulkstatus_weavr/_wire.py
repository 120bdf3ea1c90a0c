"""The members of Weavr's answers that are read, and how they are decoded.

No schema of Weavr's names required members, so each of them may be absent or null:
https://api.weavr.io/products/multi/openapi/manage/bulkid.md. A member of another type than the documented one costs
that member, with a note for the evidence, and neither its record nor the page.
"""

from typing import Annotated

import msgspec

from bulkstatus.adapter import PageReader, Reader

# What is negative, or too large to be told exactly in JSON, is no place.
Place = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]


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
    sequence: Place | None = None
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


class ProcessPage(msgspec.Struct, frozen=True, rename="camel"):
    """A page of bulk processes, and what it counts. With an `error_code` it is none, but an error."""

    count: int | None = None
    response_count: int | None = None
    bulk_processes: list[Process] | None = None
    # The name in documents up to 3.56: https://weavr-multi-api.redoc.ly/3.56.0/tag/Manage
    older: list[Process] | None = msgspec.field(name="bulk_processes", default=None)
    error_code: object = None


class OperationPage(msgspec.Struct, frozen=True, rename="camel"):
    """A page of operations, and what it counts. With an `error_code` it is none, but an error."""

    count: int | None = None
    response_count: int | None = None
    operations: list[Operation] | None = None
    error_code: object = None


PROCESS = Reader(Process)
PROCESSES = PageReader(ProcessPage, "bulk_processes", "older", row=PROCESS)
OPERATIONS = PageReader(OperationPage, "operations", row=Reader(Operation))
REFUSAL = Reader(Refusal)
ERROR_CODE = msgspec.json.Decoder(ErrorCode)
