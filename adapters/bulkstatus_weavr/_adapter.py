"""Weavr Multi, document version v3: bulk processes.

https://docs.weavr.io/bulk-operations/overview/ and https://api.weavr.io/products/multi/openapi/manage/bulks.md
"""

from collections.abc import Mapping
from datetime import datetime
from functools import partial
from http import HTTPStatus
from typing import ClassVar, Literal, TypeVar, get_args

import msgspec
from msgspec.structs import replace

from bulkstatus.adapter import (
    MIB,
    Adapter,
    Auth,
    BaseUrl,
    BulkOperation,
    BulkStatus,
    Call,
    Counts,
    EpochUnit,
    IdGrammar,
    Limit,
    ListQuery,
    Notes,
    OperationQuery,
    Page,
    PageReader,
    Request,
    Response,
    Rows,
    SecretText,
    State,
    Vocabulary,
    all_of,
    api_key,
    bad_shape,
    bearer,
    can_be_count,
    clean_counts,
    column_of_epochs,
    decode,
    from_epoch,
    is_unread,
    printable,
    status_error,
    unknown_word,
    whole_seconds,
    wrong_id,
)
from bulkstatus.errors import AuthError, BulkStatusError, ConfigError, ProtocolError
from bulkstatus_weavr._wire import (
    ERROR_CODE,
    OPERATIONS,
    PROCESS,
    PROCESSES,
    REFUSAL,
    Operation,
    OperationPage,
    Process,
    ProcessPage,
    Refusal,
    SyntaxErrors,
)

# https://docs.weavr.io/bulk-operations/multi-bulk-process lists the words and what they mean.
BULK_STATES = {
    "SUBMITTED": State.QUEUED,  # waits for somebody to execute it, and never expires
    "RUNNING": State.RUNNING,
    "PAUSED": State.PAUSED,
    "COMPLETED": State.SUCCEEDED,
    "PARTIALLY_COMPLETED": State.PARTIAL,
    "FAILED": State.FAILED,  # "none of the operations executed"
    "CANCELLED": State.CANCELLED,
}
# https://docs.weavr.io/bulk-operations/multi-bulk-operations
OPERATION_STATES = {
    "SUBMITTED": State.QUEUED,
    "RUNNING": State.RUNNING,
    "COMPLETED": State.SUCCEEDED,
    "FAILED": State.FAILED,
    "CANCELLED": State.CANCELLED,
}
ON_FAILURE: dict[str, Literal["stop", "continue"]] = {
    "ON_FAILURE_STOP": "stop",
    "ON_FAILURE_CONTINUE": "continue",
}

_BULK = Vocabulary("weavr bulk", BULK_STATES)
_OPERATION = Vocabulary("weavr operation", OPERATION_STATES)
# The states that operations are counted in are also the names of the counts.
_COUNTED = frozenset(OPERATION_STATES.values())
_NOTHING = Counts()
# The ends that counts may still correct.
_CORRIGIBLE = frozenset({State.SUCCEEDED, State.PARTIAL, State.FAILED})

_PAGE_SIZE = 100  # the documented maximum; a larger limit is a 400 or is cut, the pages disagree
_LIST_LIMIT, _OPERATIONS_LIMIT = 2 * MIB, 8 * MIB  # a hundred rows take a fraction of it, payloads included
_VALUE_LIMIT = (
    20_000  # a hundred rows are some three thousand; each of them costs up to 800 bytes when it is read
)
_MOST_LISTINGS = 3
# Of a total of none, or of far more, something may be to be said: such rows are looked at by themselves.
_USUAL_TOTAL = 1_000_000
_LONGEST_CODE = 64
_ERROR_KEY = b'"errorCode"'
_THROTTLED = "TOO_MANY_REQUESTS"
_NO_BULKS = "NO_CONFIG_FOUND"
_NOT_ALLOWED = "bulk operations are not permitted to this user, or not enabled for this account"
_NOT_COUNTED = "This answer does not count operations."
_NO_SUCCESS = "operationStatusCounts names no operation that succeeded: success is not proven."
_SESSION_OVER = "a Weavr session ends 5 minutes after its last call"

P = TypeVar("P", ProcessPage, OperationPage)
R = TypeVar("R", Process, Operation)


class Weavr(Adapter, frozen=True, kw_only=True):
    """Bulk processes of one identity at Weavr Multi.

    `base_url` is the Multi API's, with its path: `https://sandbox.weavr.io/multi`, or the live one that Weavr gives.
    `api_key` is the account's key, `auth_token` the user's token; Weavr ends it 5 minutes after its last call and
    cannot renew it, so a function or a `cmd:` reference, which is asked again after a 401, lasts longer than a text.
    `epoch_unit` is the unit of Weavr's times, which its documentation does not state: milliseconds unless set.

    Raises ConfigError for a setting that cannot be. https://docs.weavr.io/start/multi-multi-api
    """

    provider: ClassVar[str] = "weavr"
    id_grammar: ClassVar[IdGrammar] = IdGrammar(r"[0-9]{1,32}", "1 to 32 digits")
    # https://docs.weavr.io/apis/rate-limit/ gives the standard limits; more are had on request.
    limits: ClassVar[tuple[Limit, ...]] = (Limit(100, 60), Limit(1_000, 3_600), Limit(10_000, 86_400))
    # What the limits are counted by is not said; the key is what all calls of one account have in common.
    counted_by: ClassVar[tuple[str, ...]] = ("api_key",)
    poll_floor: ClassVar[float] = 2.0
    # A session ends 5 minutes after its last call (https://docs.weavr.io/apis/authentication/account/).
    poll_ceiling: ClassVar[float] = 60.0
    rows_per_page: ClassVar[int | None] = _PAGE_SIZE

    base_url: BaseUrl
    api_key: SecretText
    auth_token: SecretText
    epoch_unit: EpochUnit = "ms"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.epoch_unit not in get_args(EpochUnit):
            raise ConfigError(f"epoch_unit is one of {', '.join(get_args(EpochUnit))}")

    def auth(self) -> Auth:
        return all_of(api_key(self.api_key), bearer(self.auth_token, name="auth_token"))

    def status(self, id: str) -> Call[BulkStatus]:
        """One bulk with the counts of its operations.

        https://api.weavr.io/products/multi/openapi/manage/bulkid.md
        """

        def read(response: Response) -> BulkStatus:
            record, notes = _process(response)
            if record.bulk_id in (None, ""):
                raise bad_shape(response, "the value at `$.bulkId` is not there, or no id")
            if str(record.bulk_id) != id:
                raise wrong_id(response, asked=id, got=record.bulk_id)
            unit, now = self.epoch_unit, response.received_at
            started = from_epoch(record.execution_start, unit, label="executionStart", now=now)
            finished = from_epoch(record.execution_finish, unit, label="executionFinish", now=now)
            return self._bulk(response, record, notes, started, finished).carrying(raw=response.body)

        return Call(Request.to(self.base_url, "bulks", id), read)

    def listing(self, query: ListQuery) -> tuple[Call[Page[BulkStatus]], ...]:
        """Every bulk of the identity, or one listing for each word when up to three words say it.

        None at all for states that Weavr's bulks never have.

        https://api.weavr.io/products/multi/openapi/manage/bulks.md
        """
        words = self._words(_BULK, query.states)
        if words is None or len(words) > _MOST_LISTINGS:
            return (self._bulks(None, 0),)
        if "RUNNING" in words and "PAUSED" in words:
            # A bulk that is resumed after RUNNING was read and before PAUSED is would be in neither listing. The
            # order of the words does as much for the moves that lead one way.
            words = (*words, "RUNNING")
        return tuple(self._bulks(word, 0) for word in words)

    def confirm(self, row: BulkStatus) -> Call[BulkStatus] | None:
        """An ended bulk of a list comes without counts, which may turn `succeeded` or `failed` into `partial`."""
        return self.status(row.id) if row.provisional and self.id_grammar.fits(row.id) else None

    def operations(self, id: str, query: OperationQuery) -> Call[Page[BulkOperation]]:
        """The operations of a bulk, in the order they run in. Raises ConfigError for states they never have.

        https://api.weavr.io/products/multi/openapi/manage/bulkidoperations
        """
        words = self._words(_OPERATION, query.states)
        if words == ():
            raise ConfigError(
                "weavr operations are queued, running, succeeded, failed or cancelled, nothing else"
            )
        word = words[0] if words is not None and len(words) == 1 else None
        return self._operations(id, word, query.sequence, 0)

    def probe(self) -> Call[None]:
        """The shortest list."""

        def read(response: Response) -> None:
            _page(response, PROCESSES, "bulkProcesses")

        return Call(Request.to(self.base_url, "bulks", query={"limit": 1}), read)

    def _words(self, vocabulary: Vocabulary, states: frozenset[str] | None) -> tuple[str, ...] | None:
        if states is None:
            return None
        return vocabulary.words(tuple(state for state in State if state in states), self.state_map)

    def _bulks(self, word: str | None, offset: int) -> Call[Page[BulkStatus]]:
        def read(response: Response) -> Page[BulkStatus]:
            rows = _page(response, PROCESSES, "bulkProcesses")
            items = rows.attach(self._listed(response, rows))
            received, total = _extent(response, rows, offset)
            return Page(
                items=items,
                at=partial(self._bulks, word),
                offset=offset,
                received=received,
                total=total,
                moving=True,
            )

        request = self._page_request("bulks", offset=offset, status=word, body_limit=_LIST_LIMIT)
        return Call(request, read)

    def _operations(
        self, id: str, word: str | None, sequence: int | None, offset: int
    ) -> Call[Page[BulkOperation]]:
        def read(response: Response) -> Page[BulkOperation]:
            rows = _page(response, OPERATIONS, "operations")
            items = rows.attach(
                self._steps(response, rows.records), request="request_payload", response="response_payload"
            )
            received, total = _extent(response, rows, offset)
            return Page(
                items=items,
                at=partial(self._operations, id, word, sequence),
                offset=offset,
                received=received,
                total=total,
                moving=word is not None,  # the operations of a bulk are fixed, only their statuses change
            )

        filters = {"status": word, "sequence": sequence}
        path = ("bulks", id, "operations")
        request = self._page_request(*path, offset=offset, body_limit=_OPERATIONS_LIMIT, **filters)
        return Call(request, read)

    def _page_request(
        self, *segments: str, offset: int, body_limit: int, **filters: str | int | None
    ) -> Request:
        # The first page is asked for by leaving offset out.
        query = {"limit": _PAGE_SIZE, "offset": offset or None, **filters}
        return Request.to(
            self.base_url, *segments, query=query, body_limit=body_limit, value_limit=_VALUE_LIMIT
        )

    def _listed(self, response: Response, rows: Rows[ProcessPage, Process]) -> list[BulkStatus]:
        """The rows of a list. Usual ones of one word, mode and action differ in nothing but ids, totals and times."""
        records, unit, now = rows.records, self.epoch_unit, response.received_at
        starts = column_of_epochs(
            [record.execution_start for record in records],
            unit,
            now=now,
            each=partial(from_epoch, unit=unit, label="executionStart", now=now),
        )
        ends = column_of_epochs(
            [record.execution_finish for record in records],
            unit,
            now=now,
            each=partial(from_epoch, unit=unit, label="executionFinish", now=now),
        )
        odd = {*rows.row_notes, *starts.odd, *ends.odd}
        alike: dict[tuple[str | None, str | None, str | None], BulkStatus] = {}
        found: list[BulkStatus] = []
        for at, (record, start, end) in enumerate(zip(records, starts.times, ends.times, strict=True)):
            id, total = record.bulk_id, record.submitted_items_count
            kind = (record.status, record.mode, record.operation)
            usual = (
                at not in odd
                and record.operation_status_counts is None
                and (total is None or 0 < total <= _USUAL_TOTAL)
            )
            like = alike.get(kind) if usual else None
            if like is not None:
                row = replace(
                    like,
                    id="" if id is None else str(id),
                    counts=None if total is None else Counts(total=total),
                    started_at=start,
                    finished_at=end,
                )
            else:
                times = (start, starts.odd.get(at)), (end, ends.odd.get(at))
                row = self._bulk(response, record, rows.row_notes.get(at, ()), *times, listed=True)
                if usual:
                    alike[kind] = row
            found.append(row)
        return found

    def _bulk(
        self,
        response: Response,
        record: Process,
        notes: Notes,
        *times: tuple[datetime | None, str | None],
        listed: bool = False,
    ) -> BulkStatus:
        """The status that a record tells; `times` are what was read of its start and its finish."""
        told, unread, left_out = _counts(record, self.state_map, notes)
        state, why = _BULK.decide(record.status, told, self.state_map, unread=unread)
        counts, doubts = _believed(told)
        # Lists are documented to leave the counts out; an empty array there is another way to do that.
        uncounted = record.operation_status_counts is None or (listed and not record.operation_status_counts)
        if state is State.SUCCEEDED and not uncounted and not _shows_success(counts):
            state, why = State.UNKNOWN, (*why, _NO_SUCCESS)
        on_failure, odd_mode = _on_failure(record.mode)
        (started, odd_start), (finished, odd_finish) = times
        doubted = filter(None, (odd_start, odd_finish, odd_mode))
        return BulkStatus(
            source=response.source,
            provider=self.provider,
            id="" if record.bulk_id is None else str(record.bulk_id),
            state=state,
            native_state=record.status,
            phase="awaiting_action" if state is State.QUEUED and _is_submitted(record.status) else None,
            counts=counts,
            started_at=started,
            finished_at=finished,
            observed_at=response.received_at,
            action=record.operation,
            on_failure=on_failure,
            provisional=listed and state in _CORRIGIBLE and not _has_counts(counts),
            evidence=(
                *why,
                *left_out,
                *doubts,
                *doubted,
                *notes,
                *((_NOT_COUNTED,) if uncounted else ()),
            ),
        )

    def _steps(self, response: Response, records: list[Operation]) -> list[BulkOperation]:
        """The operations in rows."""
        failed = State.FAILED
        words = dict.fromkeys(
            [record.status for record in records]
        )  # in their order, as drift keeps the first ones
        states = {word: _counted_as(word, self.state_map) for word in words}
        return [
            BulkOperation(
                id=record.operation_id if record.operation_id is None else str(record.operation_id),
                sequence=record.sequence,
                state=(state := states[record.status]),
                native_state=record.status,
                method=record.method,
                path=record.path,
                error=_error_code(response, record.response_payload) if state is failed else None,
            )
            for record in records
        ]


def _is_submitted(word: str | None) -> bool:
    return _BULK.read(word, {}).state is State.QUEUED


def _has_counts(counts: Counts | None) -> bool:
    return counts is not None and replace(counts, total=None) != _NOTHING


def _shows_success(counts: Counts | None) -> bool:
    """True where operations succeeded, or there were none at all."""
    return counts is not None and (bool(counts.succeeded) or counts.total == 0)


def _counts(record: Process, pins: Mapping[str, State], notes: Notes) -> tuple[Counts | None, int, Notes]:
    """The counts as they came, how many operations or entries they could not take up, and what is to be said of those."""
    total = record.submitted_items_count
    # An array that was there and could not be read is not the same as none.
    unread = int(is_unread(notes, "operationStatusCounts"))
    if record.operation_status_counts is None:
        return None if total is None else Counts(total=total), unread, ()
    sums: dict[str, int] = {}
    said: list[str] = []
    for entry in record.operation_status_counts or ():
        word, count = (None, None) if entry is None else (entry.status, entry.count)
        if not isinstance(word, str) or not can_be_count(count):
            # A negative count summed up would take failures away.
            said.append("An entry of operationStatusCounts holds no status and number; it is left out.")
            unread += 1
            continue
        state = _counted_as(word, pins)
        if state in _COUNTED:
            sums[state] = sums.get(state, 0) + count
        else:
            said.append(f"{count} operations have the word {word[:40]!r}, which no count here stands for.")
            unread += count
    counts = Counts(total=total, **sums)
    return (None if counts == _NOTHING else counts), unread, tuple(dict.fromkeys(said))


def _believed(counts: Counts | None) -> tuple[Counts | None, Notes]:
    """The counts that can be, and what is to be said of the others."""
    if counts is None:
        return None, ()
    cleaned, doubts = clean_counts(counts)
    return (None if cleaned == _NOTHING else cleaned), doubts


def _counted_as(word: str | None, pins: Mapping[str, State]) -> State:
    """The state of operations with `word`. Pins speak of bulks, which share the words, so they only explain new ones."""
    state = _OPERATION.read(word, {}).state
    return _OPERATION.read(word, pins).state if state is State.UNKNOWN else state


def _on_failure(mode: str | None) -> tuple[Literal["stop", "continue"] | None, str | None]:
    if mode is None:
        return None, None
    known = ON_FAILURE.get(mode) or ON_FAILURE.get(mode.upper())
    if known is None:
        unknown_word("weavr mode", mode, pinnable=False)
    return known, None if known else f"mode {mode[:40]!r} is not a documented one."


def _error_code(response: Response, payload: str | None) -> str | None:
    """The code in what an operation was answered; never its message, which may speak of people."""
    if not payload:
        return None
    try:
        found = decode(replace(response, body=payload.encode()), ERROR_CODE.decode)
    except ProtocolError:
        return None
    codes = (_text(found.error_code), _text(found.code))
    return next((printable(code) for code in codes if code and len(code) <= _LONGEST_CODE), None)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _process(response: Response) -> tuple[Process, Notes]:
    answer = PROCESS.read(response, refused=_refused)
    # A bulk has no such member, so it would be drift; it is looked for where its name stands anywhere.
    if _ERROR_KEY in response.body and REFUSAL.glean(response).error_code is not None:
        raise _is_error(response)
    return answer


def _is_error(response: Response) -> ProtocolError:
    return bad_shape(response, "an `errorCode` stands in it, as in Weavr's errors")


def _page(response: Response, reader: PageReader[P, R], array: str) -> Rows[P, R]:
    rows = reader.read(response, refused=_refused)
    if rows.page.error_code is not None:
        raise _is_error(response)
    if not rows.found and 0 not in (rows.page.count, rows.page.response_count):
        raise bad_shape(response, f"it holds no {array}")
    return rows


def _extent(response: Response, rows: Rows[P, R], offset: int) -> tuple[int, int | None]:
    """How many rows came, and how many there are; counts that the rows themselves contradict are not believed."""
    received, total = len(rows), rows.page.count
    if not can_be_count(total) or (received and total < offset + received):
        total = None
    if total is None and (rows.page.response_count or 0) > received:
        # With a total, rows that were promised and did not come are missed at the end of the listing.
        raise bad_shape(response, "its responseCount is larger than the number of its rows")
    return received, total


def _refused(response: Response) -> BulkStatusError:
    """The error for an answer that is not a 200. Its body may be empty, or have any of three shapes.

    https://api.weavr.io/products/multi/openapi/manage/bulks.md
    """
    body = REFUSAL.glean(response)
    code = _text(body.error_code) or _text(body.code)
    throttled = response.status == HTTPStatus.CONFLICT and code == _THROTTLED
    slow_down = throttled or response.status == HTTPStatus.TOO_MANY_REQUESTS
    error = status_error(
        response,
        status=HTTPStatus.TOO_MANY_REQUESTS if throttled else None,
        code=code,
        detail="; ".join(filter(None, (_text(body.message), _invalid_fields(body)))) or None,
        request_id=response.headers.get("request-ref"),
        pause=whole_seconds(response.headers.get("x-ratelimit-reset")) if slow_down else None,
        # Each 404 is documented with a code and a message. Gateways know other forms: a message alone, or no body.
        own=body.error_code is not None or body.code is not None,
    )
    error.status = response.status
    hint = _hint(error)
    if hint:
        error.message = f"{error.message}; {hint}"
    return error


def _hint(error: BulkStatusError) -> str | None:
    if isinstance(error, AuthError):
        return _SESSION_OVER if error.status == HTTPStatus.UNAUTHORIZED else _NOT_ALLOWED
    if error.code == _NO_BULKS:
        error.retryable = False
        return _NOT_ALLOWED
    return None


def _invalid_fields(body: Refusal) -> str | None:
    """The fields of a 400 and what is wrong with each; the values they had are not repeated."""
    try:
        found = msgspec.convert(body.syntax_errors, SyntaxErrors).invalid_fields
    except msgspec.ValidationError:
        return None
    return ", ".join(f"{field.field_name} {field.error}".strip() for field in found) or None
