"""The DRUID adapter: its words, its settings, its calls."""

import re
import string
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from functools import partial
from typing import ClassVar, NamedTuple, TypeVar

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
    IdGrammar,
    Limit,
    ListQuery,
    OperationQuery,
    Page,
    RawRows,
    Request,
    Response,
    SecretText,
    State,
    Vocabulary,
    app_token,
    bad_shape,
    column_of_texts,
    decode,
    from_epoch,
    from_text,
    status_error,
    unreadable_time,
    wrong_id,
)
from bulkstatus.errors import (
    BulkStatusError,
    ConfigError,
    NotFound,
    ProtocolError,
    RequestRejected,
)
from bulkstatus_druid import _wire

# https://dru-id.com/developers/apis/bulk-api/bulk-get-status/ is the only page that explains the words.
_BULK = Vocabulary(
    "druid bulk",
    {
        "received": State.QUEUED,
        "scheduled": State.QUEUED,
        "processing": State.RUNNING,
        "completed": State.SUCCEEDED,  # not an end by itself: `confirm` reads the failed results
        "failed": State.FAILED,
    },
)

_NOT_READ = "The provider says completed; item results not read."
_NONE_FAILED = "The failed item results were read and none was found."
_SOME_FAILED = "completed, but the item results name users that failed, so it is partial."
_UNPROVEN = "The provider says completed, but its item results can no longer be read: success is not proven."
_INCONCLUSIVE = "The provider says completed, but its answer about item results holds none of them in any known form: success is not proven."
_SOME_DONE = "Some users may have been updated before the bulk failed; the provider does not say."
_NO_TEXT = "status is not text, so it is not used."
_ENDED = "updatedOn is the time of the last status change, so it is taken as the end."

_GONE = "not found or expired: the provider deletes results after a configurable time"
_NO_RESULTS = "no results are there: the bulk is not known, has none yet, or the provider has deleted them"
_FORBIDDEN = "the app lacks the permission for this; it is granted in the provider's cockpit"
# Documented so: https://dru-id.com/developers/apis/bulk-api/bulk-get-all/
_AUTH_SERVER = "the provider could not reach its own authorisation server"

_HEADER_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,254}[\x21-\x7e])?")
_PLAIN_IN_ID = f"{string.ascii_letters}{string.digits}-".encode()
_LONGEST_ID = 128
_LIMIT = 100  # no default and no maximum is documented
_MAX_PAGES = 10_000
_VALUE_LIMIT = 60_000  # a list of 12,000 bulks; the shortest rows that count as bulks then take 27 MiB
_FAILED_ONLY: frozenset[str] = frozenset({State.FAILED})
_TELLABLE: frozenset[str] = frozenset({State.FAILED, State.UNKNOWN})
_OK, _PART, _REDIRECTS, _BAD_REQUEST, _FAULTY = 200, 206, 300, 400, 400

_Read = tuple[datetime | None, str | None]
_Reply = TypeVar("_Reply", _wire.BulkReply, _wire.ResultsReply)
_Answer = TypeVar("_Answer")


class _Ask(msgspec.Struct, frozen=True, kw_only=True):
    """One page of results to be asked for.

    `start` is how many entries came before, `seen` which cursors did, and `doubtful` whether a page before was not
    plainly one of results.
    """

    id: str
    failed_only: bool
    last: str | None = None
    limit: int | None = _LIMIT
    start: int = 0
    seen: frozenset[str] = frozenset()
    doubtful: bool = False

    def after(self, reply: _wire.ResultsReply, *, remember: bool = False) -> "_Ask | None":
        """The page that follows `reply`, or None at the end: only a missing cursor ends the results."""
        if reply.last is None:
            return None
        seen = self.seen | {reply.last} if remember else self.seen
        return replace(
            self,
            last=reply.last,
            start=self.start + len(reply.entries),
            seen=seen,
            doubtful=self.doubtful or not reply.conclusive,
        )


class Druid(Adapter, frozen=True, kw_only=True):
    """Bulk user updates of DRUID (https://dru-id.com/developers/apis/bulk-api/).

    `api_base_url` is the host of the ActivityID API (usually `https://graph.` and the tenant's domain),
    `auth_base_url` that of the token endpoint (`https://auth.` and the domain); one of them serves for both.
    `client_id` and `client_secret` are the app's credentials from the provider's cockpit. `from_header` is the
    entry point id that other ActivityID calls want as `From`; `accept_language` asks for messages in a language.
    Both headers are left out when None.

    A single look at a `completed` bulk reads its failed results too, and says `succeeded` only when there is none.
    A listing does not: its `completed` rows say in their evidence that the results were not read. Times are UTC;
    digits are epoch milliseconds. Raises ConfigError for settings that cannot be right.
    """

    provider: ClassVar[str] = "druid"
    id_grammar: ClassVar[IdGrammar] = IdGrammar(
        r"[A-Za-z0-9][A-Za-z0-9_.:~-]{0,127}",
        "up to 128 letters, digits and _ . : ~ -, the first a letter or a digit",
    )
    # None are documented, so this is only what seems gentle: five a second, at most for a minute on end.
    share: ClassVar[tuple[Limit, ...] | None] = (Limit(300, 60),)
    counted_by: ClassVar[tuple[str, ...]] = ("client_id",)
    poll_floor: ClassVar[float] = 5.0
    poll_ceiling: ClassVar[float] = 60.0
    rows_per_page: ClassVar[int | None] = None

    api_base_url: BaseUrl | None = None
    auth_base_url: BaseUrl | None = None
    client_id: SecretText
    client_secret: SecretText
    from_header: str | None = None
    accept_language: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for setting in ("from_header", "accept_language"):
            value = getattr(self, setting)
            if value is not None and _HEADER_VALUE.fullmatch(value) is None:
                raise ConfigError(
                    f"{setting} must be printable ASCII, without blanks at its ends, of at most 256 characters"
                )
        self._bases()

    def _bases(self) -> tuple[str, str]:
        api = self.api_base_url or self.auth_base_url
        auth = self.auth_base_url or self.api_base_url
        if api is None or auth is None:
            raise ConfigError("api_base_url or auth_base_url is needed; one of them serves for both")
        return api, auth

    def auth(self) -> Auth:
        """Client credentials in the form body (https://dru-id.com/developers/apis/oauth-2/client-token/)."""
        _, auth = self._bases()
        return app_token(
            Request.to(auth, "oauth2", "token", headers={"Accept": "application/json"}),
            client_id=self.client_id,
            client_secret=self.client_secret,
            expires_at_unit="ms",
        )

    def _request(
        self,
        *segments: str,
        query: Mapping[str, str | int | None] | None = None,
        body_limit: int = 8 * MIB,
    ) -> Request:
        # The pages demand Content-Type on these GETs, though they have no body.
        headers = {
            "Accept": "application/json",
            "Content-Type": "application/json",
            "From": self.from_header,
            "Accept-Language": self.accept_language,
        }
        sent = {name: value for name, value in headers.items() if value is not None}
        api, _ = self._bases()
        path = ("activityid", "v1", "user", "bulk", *segments)
        return Request.to(
            api, *path, query=query, headers=sent, body_limit=body_limit, value_limit=_VALUE_LIMIT
        )

    def status(self, id: str) -> Call[BulkStatus]:
        """How bulk `id` stands (https://dru-id.com/developers/apis/bulk-api/bulk-get-status/).

        `completed` is followed by a look at the failed results, unless `state_map` pins it. Raises NotFound for an
        id that the provider does not know or has forgotten.
        """

        def read(response: Response) -> BulkStatus | Call[BulkStatus]:
            reply = _checked(response, _wire.read_bulks, missing=_GONE)
            row = _row_of(id, reply, response)
            now = response.received_at
            created = _time(row.created_on, label="createdOn", now=now)
            updated = _time(row.updated_on, label="updatedOn", now=now)
            found = self._status(id, row, response, created, updated).carrying(raw=response.body)
            _check_well(reply, response, [found])
            return self.confirm(found) or found

        return Call(self._request(id), read)

    def listing(self, query: ListQuery) -> tuple[Call[Page[BulkStatus]], ...]:
        """Every bulk still held, in one answer (https://dru-id.com/developers/apis/bulk-api/bulk-get-all/).

        The provider has no filter, so `query` narrows nothing. A row without a `bulkId` cannot be addressed: it is
        counted in `left_out`.
        """
        del query
        return (Call(self._request(body_limit=8 * MIB), self._read_list),)

    def _read_list(self, response: Response) -> Page[BulkStatus]:
        reply = _checked(response, _wire.read_bulks, missing=None)
        rows, raw = reply.rows, RawRows(response.body, _wire.split_bulks)
        ids = _ids_of(rows)
        if all(ids):
            items = raw.attach(self._listed(response, rows, ids), len(rows))
        else:
            places = [at for at, id in enumerate(ids) if id]
            found = self._listed(response, [rows[at] for at in places], [ids[at] for at in places])
            items = tuple(row.carrying(raw=raw.row(at)) for row, at in zip(found, places, strict=True))
        _check_well(reply, response, items)
        return Page(items=items, left_out=len(rows) - len(items))

    def confirm(self, row: BulkStatus) -> Call[BulkStatus] | None:
        """The look at the failed results that decides a `completed` row; None for a row that is decided."""
        if not row.provisional or not self.id_grammar.fits(row.id):
            return None
        return self._look(row, _Ask(id=row.id, failed_only=True))

    def _look(self, row: BulkStatus, ask: _Ask) -> Call[BulkStatus]:
        return self._results(
            ask, lambda asked, outcome, response: self._decide(row, asked, outcome, response)
        )

    def _decide(
        self, row: BulkStatus, ask: _Ask, outcome: _wire.ResultsReply | NotFound, response: Response
    ) -> BulkStatus | Call[BulkStatus]:
        if isinstance(outcome, NotFound):
            return _decided(row, State.UNKNOWN, _UNPROVEN, response)
        if outcome.entries:
            state, why = (
                (State.UNKNOWN, _INCONCLUSIVE)
                if _wire.denies_success(outcome.result)
                else (State.PARTIAL, _SOME_FAILED)
            )
            return _decided(row, state, why, response)
        following = ask.after(outcome, remember=True)
        if following is None:
            if ask.doubtful or not outcome.conclusive:
                return _decided(row, State.UNKNOWN, _INCONCLUSIVE, response)
            return _decided(row, State.SUCCEEDED, _NONE_FAILED, response)
        if following.seen == ask.seen or len(following.seen) > _MAX_PAGES:
            raise ProtocolError(
                "the results do not end: a page's lastId came before, or there are too many pages",
                status=response.status,
                reason="endless",
            )
        return self._look(row, following)

    def operations(self, id: str, query: OperationQuery) -> Call[Page[BulkOperation]]:
        """The results of bulk `id` (https://dru-id.com/developers/apis/bulk-api/bulk-get-results/).

        Asked for `failed` alone, the provider sends failed users only, and they are `failed`. Asked for all, it
        does not say in a documented way which ones failed, so they are `unknown`. `sequence` counts the entries
        read, from 0; the entry itself is the `response` payload. Raises ConfigError for other states and for one
        position.
        """
        if query.sequence is not None:
            raise ConfigError("druid results have no positions, so one of them cannot be asked for")
        if query.states is not None and not query.states <= _TELLABLE:
            raise ConfigError("druid can only be asked for failed operations, or for all of them")
        return self._results(_Ask(id=id, failed_only=query.states == _FAILED_ONLY), self._read_operations)

    def _read_operations(
        self, ask: _Ask, outcome: _wire.ResultsReply | NotFound, response: Response
    ) -> Page[BulkOperation]:
        if isinstance(outcome, NotFound):
            raise outcome
        following = ask.after(outcome)
        if outcome.missing and not ask.start and following is None:
            raise bad_shape(response, "it counts results and holds none")
        return Page(
            items=tuple(
                _operation(entry, ask.start + index, failed=ask.failed_only)
                for index, entry in enumerate(outcome.entries)
            ),
            next=None if following is None else self._results(following, self._read_operations),
            cursor=outcome.last,
        )

    def _results(
        self,
        ask: _Ask,
        use: Callable[[_Ask, _wire.ResultsReply | NotFound, Response], _Answer | Call[_Answer]],
    ) -> Call[_Answer]:
        """Ask for one page of results and hand `use` what came of it."""
        query: dict[str, str | int | None] = {"limit": ask.limit, "last": ask.last}
        if ask.failed_only:
            query["failedOnly"] = "true"

        def read(response: Response) -> _Answer | Call[_Answer]:
            outcome: _wire.ResultsReply | NotFound
            try:
                outcome = _checked(response, _wire.read_results, missing=_NO_RESULTS)
            except NotFound as error:
                outcome = error
            except RequestRejected as error:
                # The largest limit is not documented; without one the provider's own default holds.
                if error.status != _BAD_REQUEST or ask.limit is None:
                    raise
                return self._results(replace(ask, limit=None), use)
            return use(ask, outcome, response)

        return Call(self._request(ask.id, "results", query=query), read)

    def probe(self) -> Call[None]:
        """The list of bulks, asked for to see whether the credentials are accepted."""

        def read(response: Response) -> None:
            _checked(response, _wire.read_bulks, missing=None)

        return Call(self._request(body_limit=8 * MIB), read)

    def _listed(self, response: Response, rows: list[_wire.BulkRow], ids: list[str]) -> list[BulkStatus]:
        """Rows of a list, and their ids. Those of one word differ in nothing but ids and times."""
        now = response.received_at
        created = column_of_texts(
            [row.created_on for row in rows],
            now=now,
            each=partial(_time, label="createdOn", now=now),
        )
        updated = column_of_texts(
            [row.updated_on for row in rows],
            now=now,
            each=partial(_time, label="updatedOn", now=now),
        )
        odd = {*created.odd, *updated.odd}
        alike: dict[object, BulkStatus] = {}
        found: list[BulkStatus] = []
        for at, (row, id, begun, changed) in enumerate(
            zip(rows, ids, created.times, updated.times, strict=True)
        ):
            word = row.status
            usual = at not in odd and isinstance(word, str)
            kind = word if changed is not None else (word, None)
            like = alike.get(kind) if usual else None
            if like is not None:
                ended = None if like.finished_at is None else changed
                status = replace(like, id=id, created_at=begun, updated_at=changed, finished_at=ended)
            else:
                times = (begun, created.odd.get(at)), (changed, updated.odd.get(at))
                status = self._status(id, row, response, *times)
                if usual:
                    alike[kind] = status
            found.append(status)
        return found

    def _status(
        self, id: str, row: _wire.BulkRow, response: Response, read_created: _Read, read_updated: _Read
    ) -> BulkStatus:
        """What one row says by itself, and what was read of its times."""
        word = row.status if isinstance(row.status, str) and row.status else None
        said = self._say(word)
        (created, odd_created), (updated, odd_updated) = read_created, read_updated
        ended = updated if said.state.is_terminal else None
        told = (
            None if row.status is None or isinstance(row.status, str) else _NO_TEXT,
            odd_created,
            odd_updated,
            None if ended is None else _ENDED,
        )
        return BulkStatus(
            source=response.source,
            provider=self.provider,
            id=id,
            state=said.state,
            native_state=word,
            created_at=created,
            updated_at=updated,
            finished_at=ended,
            observed_at=response.received_at,
            provisional=said.provisional,
            evidence=(*said.evidence, *filter(None, told)),
        )

    def _say(self, word: str | None) -> "_Said":
        said = _BULK.read(word, self.state_map)
        pinned = bool(self.state_map) and said != _BULK.read(word, {})
        told: tuple[str, ...] = ()
        if not pinned and said.state is State.SUCCEEDED:
            told = (_NOT_READ,)
        if not pinned and said.state is State.FAILED:
            told = (_SOME_DONE,)
        provisional = not pinned and said.state is State.SUCCEEDED
        return _Said(said.state, (*said.evidence, *told), provisional)


class _Said(NamedTuple):
    """What a word tells."""

    state: State
    evidence: tuple[str, ...]
    provisional: bool


def _time(value: object, *, label: str, now: datetime) -> _Read:
    """Read a time; its format is undocumented."""
    if isinstance(value, str) and not (value.isdigit() and value.isascii()):
        return from_text(value, label=label, now=now, naive_is_utc=True)
    if value is None or (isinstance(value, str | int) and not isinstance(value, bool)):
        # Milliseconds, like the vendor's own expires_at.
        return from_epoch(value, "ms", label=label, now=now)
    unreadable_time(label, value)
    return None, f"{label} is neither text nor a whole number, so it is not used."


def _decided(row: BulkStatus, state: State, why: str, response: Response) -> BulkStatus:
    """`row` once its failed results have been looked at."""
    dropped = (_NOT_READ,) if state.is_terminal else (_NOT_READ, _ENDED)
    return row.changed(
        state=state,
        provisional=False,
        finished_at=row.finished_at if state.is_terminal else None,
        observed_at=response.received_at,
        evidence=(*(line for line in row.evidence if line not in dropped), why),
    )


def _operation(entry: msgspec.Raw, sequence: int, *, failed: bool) -> BulkOperation:
    """One entry; what is in it is undocumented, so nothing but the question asked tells its state."""
    raw = bytes(entry)
    return BulkOperation(sequence=sequence, state=State.FAILED if failed else State.UNKNOWN).carrying(
        response=raw.decode(errors="replace"), raw=raw
    )


def _check_well(reply: _wire.BulkReply, response: Response, found: Iterable[BulkStatus]) -> None:
    """Raise ProtocolError for an end in an answer whose own `result` does not say that all is well."""
    if _wire.denies_success(reply.result) and any(status.state.is_terminal for status in found):
        raise bad_shape(response, "it tells an end, and its `result` is not that of a success")


def _text_of(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _ids_of(rows: list[_wire.BulkRow]) -> list[str]:
    """The ids by which the rows' bulks can be asked for, an empty text for a row without one."""
    ids = [row.bulk_id if isinstance(row.bulk_id, str) else "" for row in rows]
    if _are_plain(ids):
        return ids
    return [id if Druid.id_grammar.fits(id) else "" for id in ids]


def _are_plain(ids: list[str]) -> bool:
    """True where each is plainly an id, of letters, digits and hyphens, as UUIDs are; the grammar takes longer to tell."""
    if not ids or "".join(ids).encode().translate(None, _PLAIN_IN_ID):
        return False
    # Of these characters only the hyphen is before 0, and nothing at all is before both.
    return min(ids) >= "0" and max(map(len, ids)) <= _LONGEST_ID


def _row_of(id: str, reply: _wire.BulkReply, response: Response) -> _wire.BulkRow:
    """The row about bulk `id`. Raises NotFound for an envelope without any row that says that all is well."""
    if not reply.rows:
        if reply.result is None or _wire.denies_success(reply.result):
            raise bad_shape(response, "it holds no bulk, and does not say that this is as it should be")
        raise NotFound(_GONE, status=response.status)
    named = {found: row for row in reply.rows if (found := _text_of(row.bulk_id)) is not None}
    if id in named:
        return named[id]
    if not named:
        raise bad_shape(response, "the value at `$.content.bulkId` is not there, or not text")
    raise wrong_id(response, asked=id, got=next(iter(named)))


def _checked(response: Response, read: Callable[[Response], _Reply], *, missing: str | None) -> _Reply:
    """The reply, once neither the HTTP status nor the one repeated in the body says that there is an error.

    `missing` is what a 404 means here; None leaves it in general words.
    """
    if response.status != _OK:
        raise _error(response, _result_of(response), missing)
    reply = read(response)
    if (said_status := _wire.said_status(reply.result)) is not None and said_status >= _FAULTY:
        raise _error(response, reply.result, missing)
    if reply.fault is not None:
        raise bad_shape(response, reply.fault)
    return reply


def _result_of(response: Response) -> object:
    """What the body of an error says; gateways send HTML or nothing."""
    try:
        return decode(response, _wire.read_result)
    except ProtocolError:
        return None


def _error(response: Response, result: object, missing: str | None) -> BulkStatusError:
    said = _wire.said_status(result)
    succeeds = _OK <= response.status < _REDIRECTS and response.status != _PART
    body_decides = succeeds and said is not None and said >= _FAULTY
    status = said if body_decides else response.status
    detail = _wire.error_text(result)
    # Errors come in the envelope; its pages warn of gateways that answer with HTML, or with nothing.
    own = _wire.tells_errors(result) and said in (None, status)
    error = status_error(response, status=status, detail=detail, own=own)
    message = {404: missing, 403: _FORBIDDEN, 504: _AUTH_SERVER}.get(error.status or 0)
    if message is None or error.reason is not None:  # with a reason: the network edge, not the provider
        return error
    return type(error)(message, status=error.status, detail=detail, retry_after=error.retry_after)
