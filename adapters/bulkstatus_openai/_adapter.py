"""OpenAI's Batch API: https://developers.openai.com/api/docs/guides/batch."""

from datetime import datetime
from http import HTTPStatus
from typing import ClassVar

import msgspec

from bulkstatus import adapter
from bulkstatus.adapter import BulkStatus, Call, Notes, Page, Request, Response, State
from bulkstatus.errors import BulkStatusError

WORDS = adapter.Vocabulary(
    "openai batch",
    {
        "validating": State.QUEUED,
        "in_progress": State.RUNNING,
        "finalizing": State.RUNNING,  # all requests have ended, the results are being prepared
        "cancelling": State.RUNNING,  # up to 10 minutes, in which requests still end
        "completed": State.SUCCEEDED,  # it is over: how it went is for the counts to tell
        "failed": State.FAILED,  # the input file was refused
        "expired": State.EXPIRED,
        "cancelled": State.CANCELLED,
    },
    counted=True,  # LiteLLM says "completed" of Vertex AI's partial successes too, with an output file and no counts
)
_PHASES = ("finalizing", "cancelling")
_ENDS = ("completed_at", "failed_at", "expired_at", "cancelled_at")
_TIMES = ("created_at", "in_progress_at", "finalizing_at", "cancelling_at", *_ENDS)
_GOING, _CUT_SHORT = (State.QUEUED, State.RUNNING), (State.CANCELLED, State.EXPIRED)
Times = tuple[dict[str, datetime], Notes]


class RequestCounts(msgspec.Struct, frozen=True):
    """How many requests there are; those that are neither `completed` nor `failed` have not ended."""

    total: int | None = None
    completed: int | None = None
    failed: int | None = None


class Fault(msgspec.Struct, frozen=True):
    """Why a call was refused, or what is wrong with a batch's input file (in a `line` of it)."""

    message: str | None = None
    type: str | None = None
    code: str | int | None = None
    line: int | None = None

    def __str__(self) -> str:
        return ": ".join(map(str, filter(None, (self.line and f"line {self.line}", self.code, self.message))))


class Faults(msgspec.Struct, frozen=True):
    """The body of a refusal (`error`), or why a batch failed before any of its requests ran (`data`)."""

    error: Fault | None = None
    data: list[Fault] | None = None


class Batch(msgspec.Struct, frozen=True):
    """https://developers.openai.com/api/reference/resources/batches/methods/retrieve; times are left as they came."""

    id: str = ""
    status: str | None = None
    endpoint: str | None = None
    request_counts: RequestCounts | None = None
    errors: Faults | None = None
    output_file_id: str | None = None
    error_file_id: str | None = None
    created_at: object = None
    in_progress_at: object = None
    finalizing_at: object = None
    cancelling_at: object = None
    completed_at: object = None
    failed_at: object = None
    expired_at: object = None
    cancelled_at: object = None


class Batches(msgspec.Struct, frozen=True):
    """https://developers.openai.com/api/reference/resources/batches/methods/list."""

    data: list[Batch] | None = None
    has_more: bool | None = None
    last_id: str | None = None


def _refused(response: Response, asked: str | None) -> BulkStatusError:
    """The error for an answer that is no 200: https://developers.openai.com/api/docs/guides/error-codes."""
    fault = REFUSAL.glean(response).error or Fault()
    return adapter.status_error(
        response,
        code=str(fault.code or fault.type or "") or None,
        detail=None if response.status == HTTPStatus.UNAUTHORIZED else fault.message,  # it quotes the key
        request_id=response.headers.get("x-request-id"),
        # Servers without batches word the 404 of an address that leads nowhere as OpenAI words its errors.
        own=bool(fault.type) and adapter.says_missing(f"{fault}", noun="batch", id=asked),
    )


REFUSAL = adapter.Reader(Faults)
_UNREAD = ("object", "model", "input_file_id", "completion_window", "expires_at", "metadata", "usage")
BATCH = adapter.Reader(Batch, unread=_UNREAD)
BATCHES = adapter.PageReader(Batches, "data", row=BATCH, unread=("object", "first_id"))


class OpenAI(adapter.Adapter, frozen=True, kw_only=True):
    """The batches of a project at OpenAI, or at an API that copied its shape and is at `base_url`.

    `api_key` is the project's. `organization` and `project` are their ids, for keys that reach several. Raises
    ConfigError for a setting that cannot be. https://developers.openai.com/api/reference/overview
    """

    provider: ClassVar[str] = "openai"
    # OpenAI's are batch_ and hex digits, those of others UUIDs and the like; nobody documents a grammar.
    id_grammar: ClassVar[adapter.IdGrammar] = adapter.IdGrammar(r"\w[\w.:=-]*", "letters, digits and _.:=-")
    # No limit for reading batches is documented; this is less than any that is for other calls.
    share: ClassVar[tuple[adapter.Limit, ...] | None] = (adapter.Limit(60, 60),)
    account_by: ClassVar[tuple[str, ...]] = ("organization", "project")
    poll_floor: ClassVar[float] = 5.0
    rows_per_page: ClassVar[int | None] = 100  # the documented maximum

    api_key: adapter.SecretText
    base_url: adapter.BaseUrl = "https://api.openai.com/v1"
    organization: str | None = None
    project: str | None = None

    def auth(self) -> adapter.Auth:
        return adapter.bearer(self.api_key, name="api_key")

    def status(self, id: str) -> Call[BulkStatus]:
        def read(response: Response) -> BulkStatus:
            read = BATCH.read(response, refused=lambda it: _refused(it, id))
            if read[0].id != id:
                raise adapter.wrong_id(response, asked=id, got=read[0].id)
            times = adapter.from_epochs(read[0], _TIMES, "s", now=response.received_at)
            return self._bulk(response, read, times).carrying(raw=response.body)

        return Call(self._request(id), read)

    def listing(self, query: adapter.ListQuery) -> tuple[Call[Page[BulkStatus]], ...]:
        del query  # the API filters by nothing
        return (self._page(None),)

    def probe(self) -> Call[Page[BulkStatus]]:
        return self._page(None, limit=1)

    def _request(self, *id: str, **query: str | int | None) -> Request:
        headers = {"OpenAI-Organization": self.organization, "OpenAI-Project": self.project}
        return Request.to(self.base_url, "batches", *id, query=query, headers=headers)

    def _page(self, after: str | None, limit: int | None = None) -> Call[Page[BulkStatus]]:
        def read(response: Response) -> Page[BulkStatus]:
            rows = BATCHES.read(response, refused=lambda it: _refused(it, after))
            times = adapter.from_epochs_of(rows.records, _TIMES, "s", now=response.received_at)
            items = rows.attach(self._bulk(response, it[:2], at) for it, at in zip(rows, times, strict=True))
            # Where a copy leaves has_more out, only an empty page is the end; so OpenAI's own client has it.
            more = bool(items) if rows.page.has_more is None else rows.page.has_more
            last = rows.page.last_id or (items[-1].id if items else "")
            if not rows.found or (more and not last):
                raise adapter.bad_shape(response, "it holds no data, or more follows and nothing says where")
            return Page(items=items, next=self._page(last) if more else None, cursor=last if more else None)

        return Call(self._request(limit=limit or self.rows_per_page, after=after), read)

    def _bulk(self, response: Response, read: tuple[Batch, Notes], at: Times) -> BulkStatus:
        (batch, notes), (times, odd_times) = read, at
        said = batch.request_counts or RequestCounts()
        told = adapter.Counts(total=said.total, succeeded=said.completed, failed=said.failed)
        if not (told.total or told.succeeded or told.failed):
            told = adapter.Counts()  # zeros stand there before anything is counted, and are no "0 of 0"
        counts, odd_counts = adapter.clean_counts(told)
        unclear = told.total is not None and (counts.total is None or (told.finished or 0) > told.total)
        unclear |= adapter.is_unread(notes, "request_counts")
        good, bad = batch.output_file_id and "output_file_id", batch.error_file_id and "error_file_id"
        files = {"some_succeeded": good, "some_failed": bad}
        state, why = WORDS.decide(batch.status, told, self.state_map, unread=unclear, **files)
        if state in _CUT_SHORT and (good or bad):
            why = (*why, "Requests that had ended keep their results: it has an output or error file.")
        ends = [] if state in _GOING else [times[name] for name in _ENDS if name in times]
        faults = batch.errors and batch.errors.data
        return BulkStatus(
            source=response.source,
            provider=self.provider,
            id=batch.id,
            state=state,
            native_state=batch.status,
            phase=batch.status if state is State.RUNNING and batch.status in _PHASES else None,
            counts=counts if any(msgspec.structs.astuple(counts)) else None,
            created_at=times.get("created_at"),
            started_at=times.get("in_progress_at"),
            updated_at=max(times.values(), default=None),
            finished_at=max(ends, default=None),
            observed_at=response.received_at,
            action=batch.endpoint,
            error=(adapter.printable("; ".join(map(str, faults[:3]))) or None) if faults else None,
            evidence=(*why, *odd_counts, *odd_times, *notes),
        )
