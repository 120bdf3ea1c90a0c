"""DRUID's JSON: the fields that are read, and the shapes they may come in.

The provider's pages name the fields but show no sample, so every shape that they allow is accepted. Fields are
`object` here: an odd value in one of them must not fail the record, let alone the page.
"""

import re
from typing import NamedTuple, cast

import msgspec

from bulkstatus.adapter import Reader, Response, decode, is_collecting, note_members


class BulkRow(msgspec.Struct, frozen=True, rename="camel"):
    """One bulk (https://dru-id.com/developers/apis/bulk-api/bulk-get-status/)."""

    bulk_id: object = None
    status: object = None
    created_on: object = None
    updated_on: object = None


class BulkReply(NamedTuple):
    """The answer to both status calls. `fault` says why `content` cannot be read."""

    rows: list[BulkRow]
    result: object
    fault: str | None = None


class ResultsReply(NamedTuple):
    """One page of results: entries as sent, and the cursor for the next page. `fault` as in `BulkReply`.

    `conclusive` says that the answer is plainly one about results, so that no entries in it means that there are none.
    `missing` says that it counts entries, or failures, and holds none.
    """

    entries: list[msgspec.Raw]
    last: str | None
    result: object
    fault: str | None = None
    conclusive: bool = False
    missing: bool = False


class _Typed(msgspec.Struct, frozen=True):
    content: list[BulkRow] | BulkRow | msgspec.UnsetType | None = msgspec.UNSET
    result: object = None
    status: object = None
    error: object = None


class _UsualRow(BulkRow, frozen=True, rename="camel"):
    """One bulk as it usually comes."""

    bulk_id: str | None = None
    status: str | None = None
    created_on: str | None = None
    updated_on: str | None = None


class _Result(msgspec.Struct, frozen=True):
    """What is documented of `result`; the vendor's SDK has `elapsed` and `node` too, of every endpoint."""

    status: int | str | None = None
    message: str | None = None
    errors: str | None = None
    elapsed: int | float | str | None = None
    node: str | None = None


class _Usual(msgspec.Struct, frozen=True):
    """An answer as it usually comes."""

    content: list[_UsualRow] | _UsualRow | None = None
    result: _Result | None = None


class _Loose(msgspec.Struct, frozen=True):
    content: msgspec.Raw = msgspec.Raw(b"null")
    result: msgspec.Raw = msgspec.Raw(b"null")
    status: msgspec.Raw = msgspec.Raw(b"null")
    error: msgspec.Raw = msgspec.Raw(b"null")


# An answer with neither member is not the API's: "no bulks" and "no failed users" must be said, not missing.
_SAYS_NOTHING = "it holds neither content nor result"


_USUAL = Reader(_Usual)
_TYPED = msgspec.json.Decoder(_Typed)
_LOOSE = msgspec.json.Decoder(_Loose)
_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ROWS = msgspec.json.Decoder(list[msgspec.Raw])
_ANY = msgspec.json.Decoder(object)
_OK, _FAULTY = 200, 400
_REDIRECTS = 300
_LONGEST_CURSOR = 1_024
_STATUS = re.compile(r"[1-9][0-9]{2}")
# No number of entries is documented; these are the words such a member could not do without.
_COUNTING = re.compile("total|count|fail|error", re.IGNORECASE)


_ENVELOPE_MEMBERS = frozenset(_Typed.__struct_encode_fields__)
_ROW_MEMBERS = frozenset(BulkRow.__struct_encode_fields__)
_RESULT_MEMBERS = frozenset(_Result.__struct_encode_fields__)


def read_bulks(response: Response) -> BulkReply:
    """Read `content` as a list of bulks, one bulk, or none; what is new in it, and in its first bulk, is said.

    Raises ProtocolError for what is no JSON object, or beyond the bounds of its request.
    """
    usual = _USUAL.as_documented(response)
    if usual is None or usual.content is None:
        return decode(response, _read_and_note)
    rows: list[BulkRow] = [*usual.content] if isinstance(usual.content, list) else [usual.content]
    result = None if usual.result is None else msgspec.structs.asdict(usual.result)
    said = None if result is None else {name: value for name, value in result.items() if value is not None}
    return BulkReply(rows, said, _listed_errors(said))


def _read_and_note(body: bytes) -> BulkReply:
    reply = _read_bulks(body)
    if not reply.rows:
        # Fails on a name that is no text: it may be that of the content, which is not missed then.
        _MEMBERS.decode(body)
    if is_collecting():
        note_members("envelope", body, _ENVELOPE_MEMBERS)
        note_members("result", _LOOSE.decode(body).result, _RESULT_MEMBERS)
        for row in split_bulks(body)[:1]:
            note_members("bulk", row, _ROW_MEMBERS)
    return reply


def _read_bulks(body: bytes) -> BulkReply:
    try:
        typed = _TYPED.decode(body)
    except msgspec.ValidationError:
        return _read_bulks_loosely(body)
    content = typed.content
    fault = _beside(typed.status, typed.error) or _listed_errors(typed.result)
    if content is msgspec.UNSET:
        return BulkReply(
            [], typed.result, fault or (None if isinstance(typed.result, dict) else _SAYS_NOTHING)
        )
    rows = content if isinstance(content, list) else [] if content is None else [content]
    return BulkReply(rows, typed.result, fault)


def _read_bulks_loosely(body: bytes) -> BulkReply:
    loose = _LOOSE.decode(body)
    result = _value(loose.result)
    fault = _beside(_value(loose.status), _value(loose.error)) or _listed_errors(result)
    match _kind(loose.content):
        case b"[":
            return BulkReply([_loose_row(row) for row in _ROWS.decode(loose.content)], result, fault)
        case b"{":
            return BulkReply([_loose_row(loose.content)], result, fault)
        case b"n":
            return BulkReply([], result, fault)
        case _:
            return BulkReply([], result, "the value at `$.content` is neither an object nor a list")


def _loose_row(raw: msgspec.Raw) -> BulkRow:
    """What can be read of a row; nothing when it is not an object."""
    if _kind(raw) != b"{":
        return BulkRow()
    members = _MEMBERS.decode(raw)
    return BulkRow(*(_value(members.get(name)) for name in BulkRow.__struct_encode_fields__))


def split_bulks(body: bytes) -> list[msgspec.Raw]:
    """Cut a list answer into its records, in the order of `read_bulks`."""
    content = _LOOSE.decode(body).content
    return _ROWS.decode(content) if _kind(content) == b"[" else [content]


def read_result(body: bytes) -> object:
    """The `result` member of any answer, or None."""
    return _value(_LOOSE.decode(body).result)


def read_results(response: Response) -> ResultsReply:
    """Read a page of results; entries and cursor may be in several places.

    https://dru-id.com/developers/apis/bulk-api/bulk-get-results/ names `lastId` and says that each entry explains
    why a user was not updated; where either sits cannot be read there. Raises ProtocolError as `read_bulks` does.
    """
    return decode(response, _read_results)


def _read_results(body: bytes) -> ResultsReply:
    top = _MEMBERS.decode(body)
    result, content = top.get("result"), top.get("content")
    inner = _MEMBERS.decode(content) if content is not None and _kind(content) == b"{" else {}
    found = _entries(top, content, inner)
    last, fault = _last_id(top, inner, _members(result))
    fault = fault or _beside(_value(top.get("status")), _value(top.get("error")))
    # A content of null stands for a missing bulk in the status calls, so it proves nothing here.
    explicit = content is not None and _kind(content) != b"n"
    said = found.listed or (explicit and bool(_members(result)))
    status = _members(result).get("status")
    well = (status is None or _value(status) == _OK) and not denies_success(_value(result))
    missing = not found.rows and any(map(_counts_some, (inner, top)))
    return ResultsReply(
        found.rows,
        last,
        _value(result),
        found.fault or fault,
        conclusive=well and said and not missing,
        missing=missing,
    )


def _counts_some(members: dict[str, msgspec.Raw]) -> bool:
    """True where a member tells a number of entries or failures above 0."""
    named = (_value(value) for name, value in members.items() if _COUNTING.search(name))
    return any(isinstance(value, int | float) and value is not True and value > 0 for value in named)


class _Entries(NamedTuple):
    """Entries found in a page, whether there was any list of them, and why it cannot be told."""

    rows: list[msgspec.Raw]
    listed: bool
    fault: str | None = None


def _entries(
    top: dict[str, msgspec.Raw], content: msgspec.Raw | None, inner: dict[str, msgspec.Raw]
) -> _Entries:
    if _value(_members(top.get("result")).get("errors")):
        return _Entries([], False, "`result.errors` is filled in")
    kind = b"n" if content is None else _kind(content)
    if kind not in (b"n", b"[", b"{"):
        return _Entries([], False, "the value at `$.content` is neither an object nor a list")
    lists = [_ROWS.decode(content)] if content is not None and kind == b"[" else []
    # Entries may stand beside a content that holds none.
    beside = {name: value for name, value in top.items() if name not in ("content", "result", "lastId")}
    places = [(name, value) for holder in (inner, beside) for name, value in _results_first(holder)]
    lists += [_ROWS.decode(value) for _, value in places if _kind(value) == b"["]
    filled = next((rows for rows in lists if rows), None)
    if filled is not None:
        return _Entries(filled, True)
    others = [_value(value) for name, value in places if name != "lastId" and _kind(value) != b"["]
    if any(_object(value) for value in others) or (not lists and any(map(bool, others))):
        # Taking this for "no entries" would turn failed users into a success.
        return _Entries([], bool(lists), "the results hold something else than a list of entries")
    if not lists and "content" not in top and "lastId" not in top and not _members(top.get("result")):
        return _Entries([], False, _SAYS_NOTHING)
    return _Entries([], bool(lists))


def _results_first(members: dict[str, msgspec.Raw]) -> list[tuple[str, msgspec.Raw]]:
    return sorted(members.items(), key=lambda member: member[0] != "results")


def _last_id(*places: dict[str, msgspec.Raw]) -> tuple[str | None, str | None]:
    for place in places:
        value = _value(place.get("lastId"))
        if value is None or value == "":
            continue
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        if not isinstance(value, str):
            return None, "`lastId` is not text"
        return (value, None) if len(value) <= _LONGEST_CURSOR else (None, "`lastId` is too long to be sent")
    return None, None


def _members(raw: msgspec.Raw | None) -> dict[str, msgspec.Raw]:
    return _MEMBERS.decode(raw) if raw is not None and _kind(raw) == b"{" else {}


def _kind(raw: msgspec.Raw) -> bytes:
    """The first byte of a JSON value, which tells its type."""
    return bytes(memoryview(raw)[:1])


def _value(raw: msgspec.Raw | None) -> object:
    """A JSON value; one that Python cannot hold (a number out of range) stays as it was sent."""
    if raw is None:
        return None
    try:
        return _ANY.decode(raw)
    except msgspec.DecodeError:
        return raw


def said_status(result: object) -> int | None:
    """The HTTP status that the provider repeats in `result.status`, or None."""
    return _status_in(_object(result).get("status"))


def _status_in(value: object) -> int | None:
    if isinstance(value, str) and _STATUS.fullmatch(value):
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def denies_success(result: object) -> bool:
    """True where `result` says, or may say, that there is no answer: by a status that is no success, or is not read."""
    if result is None:
        return False
    members = _object(result)
    if members.get("errors") or (not members and result != {}):
        return True
    status = said_status(members)
    if status is None:
        return members.get("status") is not None
    return not _OK <= status < _REDIRECTS


def tells_errors(result: object) -> bool:
    """True for a `result` in the form that errors have: with a status, a message or errors in it."""
    return any(_object(result).get(name) for name in ("status", "message", "errors"))


def _listed_errors(result: object) -> str | None:
    return "`result.errors` is filled in" if _object(result).get("errors") else None


def _beside(status: object, error: object) -> str | None:
    """Why an answer cannot be believed that tells an error outside of its envelope, as gateways and frameworks do."""
    if error:
        return "`error` is filled in"
    number = _status_in(status)
    return f"its status is {number}" if number is not None and number >= _FAULTY else None


def error_text(result: object) -> str | None:
    """What `result` says went wrong: `message` as documented, or `errors` as the vendor's iOS SDK models it.

    The SDK's model: https://github.com/dru-id/sdk-ios-lib (ResultData.swift).
    """
    members = _object(result)
    errors = members.get("errors")
    holders = [_object(item) for item in cast("list[object]", errors)] if isinstance(errors, list) else []
    texts = [members.get("message")]
    texts += [holder.get(name) for name in ("details", "message") for holder in holders]
    return next((text for text in texts if isinstance(text, str) and text), None)


def _object(value: object) -> dict[str, object]:
    return cast("dict[str, object]", value) if isinstance(value, dict) else {}
