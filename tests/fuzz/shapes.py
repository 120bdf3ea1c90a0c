"""The providers' documented replies as strategies of hypothesis, and what is wrong with them in every other way.

Weavr: https://api.weavr.io/products/multi/openapi/manage/bulkid.md. Cloudflare:
https://developers.cloudflare.com/api/resources/rules/subresources/lists/subresources/bulk_operations/methods/get/.
DRUID: https://dru-id.com/developers/apis/bulk-api/ and https://dru-id.com/developers/apis/oauth-2/client-token/.
"""

import json
from typing import NamedTuple

from hypothesis import strategies as st

from bulkstatus import State
from fuzz.inputs import BETWEEN, ODD, Members, written
from fuzz.oracles import WEAVR_WORDS
from fuzz.targets import CLOUDFLARE_ID, DRUID_ID, OPENAI_ID, WEAVR_ID


class Told(NamedTuple):
    """A reply, and the state that the documents give it."""

    reply: dict
    state: State


# --- Weavr ---

_MOMENTS = st.integers(1_500_000_000_000, 1_780_000_000_000)
_SOME = st.integers(1, 5_000)
# What operations there can be of a bulk with each word, as its documentation explains the words.
_WEAVR_COUNTS = {
    "SUBMITTED": st.fixed_dictionaries({"SUBMITTED": _SOME}),
    "RUNNING": st.fixed_dictionaries(
        {"RUNNING": _SOME}, optional=dict.fromkeys(("SUBMITTED", "COMPLETED", "FAILED"), _SOME)
    ),
    "PAUSED": st.fixed_dictionaries({"SUBMITTED": _SOME}, optional={"COMPLETED": _SOME, "FAILED": _SOME}),
    "COMPLETED": st.fixed_dictionaries({"COMPLETED": _SOME}),
    "PARTIALLY_COMPLETED": st.fixed_dictionaries({"COMPLETED": _SOME, "FAILED": _SOME}),
    "FAILED": st.sampled_from(["SUBMITTED", "FAILED"]).flatmap(
        lambda word: st.fixed_dictionaries({word: _SOME})
    ),
    "CANCELLED": st.fixed_dictionaries({"CANCELLED": _SOME}, optional={"COMPLETED": _SOME, "FAILED": _SOME}),
}
# Counts that correct the word: the states that the design gives to them.
_WEAVR_CORRECTED = (
    ("COMPLETED", {"COMPLETED": _SOME, "FAILED": _SOME}, State.PARTIAL),
    ("COMPLETED", {"FAILED": _SOME}, State.FAILED),
    ("FAILED", {"COMPLETED": _SOME, "FAILED": _SOME}, State.PARTIAL),
    ("PARTIALLY_COMPLETED", {"FAILED": _SOME}, State.FAILED),
    ("CANCELLED", {"COMPLETED": _SOME, "FAILED": _SOME}, State.CANCELLED),
)


def _weavr_record(word, counts, *, id=WEAVR_ID):
    def record(counts, extra):
        entries = [{"status": status, "count": count} for status, count in counts.items()]
        reply = {"bulkId": id, "status": word, "submittedItemsCount": sum(counts.values()), **extra}
        return {**reply, "operationStatusCounts": entries}

    extra = st.fixed_dictionaries(
        {},
        optional={
            "executionStart": _MOMENTS | _MOMENTS.map(str) | st.none(),
            "executionFinish": _MOMENTS | st.none(),
            "operation": st.sampled_from(["/transfers", "/users", "/sends"]),
            "mode": st.sampled_from(["ON_FAILURE_STOP", "ON_FAILURE_CONTINUE"]),
            "somethingNew": st.none() | st.booleans(),
        },
    )
    return st.builds(record, counts, extra)


weavr_bulks = st.one_of(
    *(
        st.builds(Told, _weavr_record(word, _WEAVR_COUNTS[word]), st.just(state))
        for word, state in WEAVR_WORDS.items()
    ),
    *(
        st.builds(Told, _weavr_record(word, st.fixed_dictionaries(counts)), st.just(state))
        for word, counts, state in _WEAVR_CORRECTED
    ),
    st.builds(Told, _weavr_record("ARCHIVING", _WEAVR_COUNTS["COMPLETED"]), st.just(State.UNKNOWN)),
)


@st.composite
def weavr_pages(draw):
    """A page of a list, under either of the names that its array has had, and the states of its rows."""
    told = draw(st.lists(st.sampled_from(sorted(WEAVR_WORDS)), max_size=5))
    rows = [
        {
            key: value
            for key, value in draw(_weavr_record(word, _WEAVR_COUNTS[word], id=f"{number}")).items()
            if key != "operationStatusCounts"
        }
        for number, word in enumerate(told, 1)
    ]
    name = draw(st.sampled_from(["bulkProcesses", "bulk_processes"]))
    page = {"count": len(rows), "responseCount": len(rows), name: rows}
    return page, [WEAVR_WORDS[word] for word in told]


_OPERATION_WORDS = ("SUBMITTED", "RUNNING", "COMPLETED", "FAILED", "CANCELLED")


@st.composite
def weavr_operations(draw):
    """A page of operations, and their states."""
    words = draw(st.lists(st.sampled_from(_OPERATION_WORDS), max_size=5))
    rows = [
        {
            "operationId": f"{number}",
            "sequence": number,
            "method": "POST",
            "path": "/transfers",
            "status": word,
            "requestPayload": json.dumps(draw(st.sampled_from([{}, {"amount": 5}]))),
            "responsePayload": draw(st.sampled_from([None, "", '{"errorCode":"X"}', "<html>"])),
        }
        for number, word in enumerate(words)
    ]
    page = {"count": len(rows), "responseCount": len(rows), "operations": rows}
    return page, [WEAVR_WORDS[word] for word in words]


# --- Cloudflare ---

_STAMPS = st.sampled_from(
    ["2026-02-11T17:04:39Z", "2021-10-01T05:20:00.12345Z", "2026-02-11T17:04:39.535897932+01:00", "", None]
)
_ENDED = {"completed": _STAMPS}
_CLOUDFLARE = {
    "pending": (State.QUEUED, {}),
    "running": (State.RUNNING, {}),
    "completed": (State.SUCCEEDED, _ENDED),
    "failed": (State.FAILED, {**_ENDED, "error": st.text(max_size=40)}),
    "archiving": (State.UNKNOWN, {}),
}


def _enveloped(result):
    return {"result": result, "success": True, "errors": [], "messages": []}


cloudflare_bulks = st.one_of(
    *(
        st.builds(
            Told,
            st.fixed_dictionaries({"id": st.just(CLOUDFLARE_ID), "status": st.just(word), **more}).map(
                _enveloped
            ),
            st.just(state),
        )
        for word, (state, more) in _CLOUDFLARE.items()
    )
)

# --- DRUID ---

_DRUID_WORDS = {
    "received": State.QUEUED,
    "scheduled": State.QUEUED,
    "processing": State.RUNNING,
    "failed": State.FAILED,
    "archiving": State.UNKNOWN,
}
_DRUID_TIMES = st.sampled_from(
    [
        "2026-01-14T22:00:00Z",
        "2026-01-14T22:00:00+0200",
        "2026-01-14 22:00:00.5",
        1768430463000,
        "1768430463000",
    ]
)
_WELL = st.sampled_from([{"status": 200, "message": "OK"}, {"status": 200, "elapsed": 3.2, "node": "n1"}])


def _druid_rows(word, id=DRUID_ID):
    return st.fixed_dictionaries(
        {"bulkId": st.just(id), "status": st.just(word), "createdOn": _DRUID_TIMES, "updatedOn": _DRUID_TIMES}
    )


def _contained(content):
    return st.fixed_dictionaries({"content": content, "result": _WELL})


druid_unfinished = st.sampled_from(sorted(_DRUID_WORDS)).flatmap(
    lambda word: st.builds(Told, _contained(_druid_rows(word)), st.just(_DRUID_WORDS[word]))
)
druid_completed = _contained(_druid_rows("completed"))
_FAILED_USERS = st.lists(st.fixed_dictionaries({"object_id": st.uuids().map(str)}), min_size=1, max_size=3)
_CURSORS = st.uuids().map(str)


@st.composite
def druid_results(draw):
    """Pages of failed results, entries and cursor wherever they may stand, and what they make of a completed bulk."""
    pages = draw(st.lists(st.just([]) | _FAILED_USERS, min_size=1, max_size=3))
    told = []
    for number, entries in enumerate(pages):
        last = None if number == len(pages) - 1 else f"{number}-{draw(_CURSORS)}"
        form = draw(st.sampled_from(["content", "inner", "beside"]))
        reply = {
            "content": {"content": entries, "lastId": last, "result": {"status": 200, "message": "OK"}},
            "inner": {"content": {"results": entries, "lastId": last}, "result": {"status": 200}},
            "beside": {"results": entries, "content": {}, "result": {"status": 200, "lastId": last}},
        }[form]
        told.append(_without_nothing(reply) if draw(st.booleans()) else reply)
    return told, State.PARTIAL if any(pages) else State.SUCCEEDED


def _without_nothing(value):
    """The value without members of null: an absent one stands for the same."""
    if isinstance(value, dict):
        return {name: _without_nothing(inner) for name, inner in value.items() if inner is not None}
    return value


@st.composite
def druid_lists(draw):
    """The list of all bulks, and the states of its rows."""
    words = draw(st.lists(st.sampled_from([*sorted(_DRUID_WORDS), "completed"]), max_size=5))
    rows = [draw(_druid_rows(word, f"b{number}")) for number, word in enumerate(words)]
    states = {**_DRUID_WORDS, "completed": State.SUCCEEDED}
    return draw(_contained(st.just(rows))), [states[word] for word in words]


# --- whole replies, to be damaged ---


class Shape(NamedTuple):
    """A documented reply to one call; `after` are the replies that follow it."""

    target: str
    ask: str
    reply: object
    after: tuple[object, ...] = ()
    status: int = 200

    def __str__(self):
        return f"{self.target}-{self.ask}-{self.status}"

    def written(self, text):
        """The input of a target with `text` in the place of the reply."""
        first = f"ask: {self.ask}\nstatus: {self.status}\n\n".encode() + text
        return BETWEEN.join([first, *(json.dumps(reply).encode() for reply in self.after)])


_WEAVR_ROW = {
    "bulkId": WEAVR_ID,
    "status": "COMPLETED",
    "submittedItemsCount": 40,
    "executionStart": 1_760_000_000_000,
    "executionFinish": 1_760_000_095_500,
    "operation": "/transfers",
    "mode": "ON_FAILURE_CONTINUE",
}
_WEAVR_ONE = {
    **_WEAVR_ROW,
    "operationStatusCounts": [{"status": "COMPLETED", "count": 38}, {"status": "FAILED", "count": 2}],
}
_WEAVR_PAGE = {"count": 2, "responseCount": 2, "bulkProcesses": [_WEAVR_ROW, {"bulkId": "5"}]}
_WEAVR_NO_MORE = ({"count": 2, "responseCount": 0, "bulkProcesses": [], "operations": []},)
_WEAVR_OPERATION = {
    "operationId": "998877665544332211",
    "sequence": 17,
    "method": "POST",
    "path": "/transfers",
    "status": "FAILED",
    "requestPayload": '{"amount":500}',
    "responsePayload": '{"errorCode":"FUNDS_INSUFFICIENT"}',
}
_WEAVR_OPERATIONS = {"count": 1, "responseCount": 1, "operations": [_WEAVR_OPERATION]}
_DRUID_ROW = {
    "bulkId": DRUID_ID,
    "status": "completed",
    "createdOn": "2026-01-14T22:00:00Z",
    "updatedOn": "2026-01-14T22:41:03Z",
}
_DRUID_WELL = {"status": 200, "message": "OK"}
_DRUID_NONE = {"content": [], "result": _DRUID_WELL}
_DRUID_ONE = {"content": _DRUID_ROW, "result": _DRUID_WELL}
_DRUID_FAILED = {
    "content": {"results": [{"object_id": "u1", "message": "not there"}], "lastId": "019a0b1c"},
    "result": _DRUID_WELL,
}
_DRUID_REFUSAL = {
    "result": {"status": 404, "elapsed": 3.2, "errors": [{"message": "not_found", "details": "No"}]}
}
_OPENAI_ONE = {
    "id": OPENAI_ID,
    "endpoint": "/v1/embeddings",
    "status": "completed",
    "errors": {"data": [{"code": "empty_file", "line": 1}]},
    "output_file_id": "file-1",
    "error_file_id": None,
    "created_at": 1_780_000_000,
    "completed_at": 1_780_000_060,
    "request_counts": {"total": 9, "completed": 8, "failed": 1},
}
_OPENAI_NO_MORE = ({"data": [], "has_more": False},)
_OPENAI_MISSING = {
    "error": {"message": f"No batch found with id '{OPENAI_ID}'.", "type": "invalid_request_error"}
}
_INVALID = {"fieldName": "limit", "error": "RANGE", "params": ["1", "100"]}
_CHAIN = {"code": 6003, "message": "Invalid", "error_chain": [{"code": 6111, "message": "Invalid format"}]}

SHAPES = (
    Shape("weavr", "status", _WEAVR_ONE),
    Shape("weavr", "listing", _WEAVR_PAGE, _WEAVR_NO_MORE),
    Shape(
        "weavr", "filtered", {"count": 1, "responseCount": 1, "bulk_processes": [_WEAVR_ROW]}, _WEAVR_NO_MORE
    ),
    Shape("weavr", "operations", _WEAVR_OPERATIONS, _WEAVR_NO_MORE),
    Shape("weavr", "failed", _WEAVR_OPERATIONS, _WEAVR_NO_MORE),
    Shape("weavr", "probe", _WEAVR_PAGE),
    Shape("weavr", "status", {"message": "No", "syntaxErrors": {"invalidFields": [_INVALID]}}, status=400),
    Shape("weavr", "status", {"errorCode": "INSUFFICIENT_PERMISSIONS"}, status=403),
    Shape("weavr", "status", {"code": "X", "message": "No"}, status=404),
    Shape("weavr", "listing", {"errorCode": "TOO_MANY_REQUESTS"}, status=409),
    Shape("cloudflare", "status", _enveloped({"id": CLOUDFLARE_ID, "status": "running"})),
    Shape(
        "cloudflare",
        "probe",
        _enveloped({"id": "0" * 32, "status": "completed", "completed": "2026-02-11T17:04:39Z"}),
    ),
    Shape(
        "cloudflare",
        "failed",
        _enveloped(
            {"id": CLOUDFLARE_ID, "status": "failed", "completed": "2026-02-11T17:05:02Z", "error": "full"}
        ),
    ),
    Shape(
        "cloudflare",
        "status",
        {"success": False, "errors": [_CHAIN], "messages": [], "result": None},
        status=400,
    ),
    Shape(
        "cloudflare", "status", {"success": False, "errors": [{"code": 971, "message": "wait"}]}, status=429
    ),
    Shape("cloudflare", "status", {"success": False, "errors": [{"code": 10040, "message": "wait"}]}),
    Shape("druid", "status", _DRUID_ONE, (_DRUID_NONE,)),
    Shape("druid", "status", _DRUID_ONE, (_DRUID_FAILED,), status=200),
    Shape("druid", "listing", {"content": [_DRUID_ROW, {"bulkId": "b2"}], "result": _DRUID_WELL}),
    Shape("druid", "operations", _DRUID_FAILED, (_DRUID_NONE,)),
    Shape("druid", "failed", _DRUID_FAILED, (_DRUID_NONE,)),
    Shape("druid", "probe", _DRUID_NONE),
    Shape("druid", "status", _DRUID_REFUSAL, status=404),
    Shape("druid", "status", _DRUID_REFUSAL),
    Shape("openai", "status", _OPENAI_ONE),
    Shape("openai", "listing", {"data": [_OPENAI_ONE, {"id": "b2"}], "has_more": True}, _OPENAI_NO_MORE),
    Shape("openai", "status", _OPENAI_MISSING, status=404),
    Shape(
        "token",
        "token",
        {
            "access_token": "1|2.made-up.",
            "token_type": "bearer",
            "expires_in": 2739,
            "expires_at": 1479906956037,
        },
    ),
    Shape("token", "token", {"error": "not valid", "type": "InvalidGrantException"}, status=400),
    Shape("token", "token", {"error": "not valid", "type": "InvalidGrantException"}),
)
# The answers about results that follow a completed bulk are damaged as well.
FOLLOWING = (
    Shape("druid", "status", _DRUID_NONE),
    Shape("druid", "status", _DRUID_FAILED),
    Shape("druid", "status", _DRUID_REFUSAL, status=404),
)


def behind_completed(shape, text):
    """An input in which `text` answers the question after a completed bulk."""
    return BETWEEN.join([json.dumps(_DRUID_ONE).encode(), f"status: {shape.status}\n\n".encode() + text])


def damages(value):
    """Every way to spoil one place of a reply: each value replaced by each odd one, removed, or there twice."""
    whole = json.loads(json.dumps(value), object_pairs_hook=Members)
    for spoiled in _spoiled(whole):
        yield written(spoiled).encode("utf-8", "surrogatepass")


def _spoiled(value):
    yield from ODD
    if not isinstance(value, list):
        return
    named = isinstance(value, Members)
    for at, entry in enumerate(value):
        inner = entry[1] if named else entry
        yield type(value)(value[:at] + value[at + 1 :])
        for twice in (None, "FAILED", 7) if named else (inner,):
            other = (entry[0], twice) if named else twice
            yield type(value)([*value, other])
            yield type(value)([other, *value])
        for spoiled in _spoiled(inner):
            yield type(value)([*value[:at], (entry[0], spoiled) if named else spoiled, *value[at + 1 :]])
