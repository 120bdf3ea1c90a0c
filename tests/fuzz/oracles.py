"""What must hold of every answer, whatever the provider sent: checked by the fuzz targets and by the shapes.

Nothing here uses the readers: what a payload says about a state is read anew, by Python's own JSON parser and from
the tables of the documentation, so that the two readings are held against each other.
"""

import json
import math
import pickle
import re
import sys
import tomllib
from datetime import UTC, datetime, timedelta
from functools import cache
from urllib.parse import unquote

import msgspec

from bulkstatus import BulkOperation, BulkStatus, BulkStatusError, Failure, Report, State
from bulkstatus._http import build
from bulkstatus._times import utc_now
from bulkstatus.adapter import Page, Request
from bulkstatus.cli import _explain, _output, _text
from bulkstatus.errors import ConfigError

NOW = datetime(2026, 6, 1, 12, 0, 0, 250_000, tzinfo=UTC)
CANARY = "S3CR3T-canary-0123456789abcdef"
PART = 12
_LONGEST_EVIDENCE = 1_000
_MOST_SECONDS = 1e9

# What is installed does not change meanwhile, and looking for it takes longer than all the rest.
_explain.load = cache(_explain.load)


def check_shown(text, *, longest=None):
    """Nothing in `text` moves, hides or reorders what stands beside it."""
    assert isinstance(text, str), type(text)
    assert text.isprintable(), ascii(text[:200])
    assert longest is None or len(text) <= longest, len(text)


def check_error(error, *, canary=True, part_of_it=True):
    """An error may be shown, kept, sent to another process and written as JSON, and holds no credential.

    `canary` is false where the error may quote it, `part_of_it` where the beginning of it.
    """
    assert isinstance(error, BulkStatusError), type(error)
    for text in (error.message, error.detail, error.code, error.request_id, error.reason):
        if text is not None:
            check_shown(text)
    check_shown(str(error))
    if canary:
        looked_for = CANARY[:PART] if part_of_it else CANARY
        assert looked_for not in f"{error!s} {error!r} {error.args!r} {vars(error)!r}"
    assert error.retry_after is None or 0 <= error.retry_after <= _MOST_SECONDS
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), vars(again)) == (type(error), vars(error))
    failure = Failure.of(error)
    assert _round_trip(failure) == failure
    check_shown(_text.failure_line(failure))
    _check_json(failure)


def check_status(status, adapter, *, id=None):
    """A bulk's record is sound in itself: times, counts, evidence, id, its JSON and its line on a screen."""
    assert isinstance(status, BulkStatus), type(status)
    assert (status.source, status.provider) == ("source", adapter.provider)
    assert status.id
    assert id is None or adapter.id_grammar.check(status.id) == id
    for line in status.evidence:
        check_shown(line, longest=_LONGEST_EVIDENCE)
    if status.error is not None:
        check_shown(status.error)
    for moment in (status.created_at, status.started_at, status.updated_at, status.finished_at):
        check_moment(moment, utc_now() if status.observed_at != NOW else NOW)
    if status.counts is not None:
        assert all(count is None or count >= 0 for count in msgspec.structs.astuple(status.counts))
        assert status.counts.progress is None or 0 <= status.counts.progress <= 1
    assert not status.provisional or status.state.is_terminal
    assert status.phase is None or status.state in (State.QUEUED, State.RUNNING)
    assert _round_trip(status) == status
    report = Report(statuses=(status,), complete=True, observed_at=NOW)
    assert _round_trip(report) == report
    assert isinstance(status.raw, bytes)
    _check_json(status)
    for text in (
        *_output.status_cells(status),
        *_output._status_row(status, NOW),
        _output.name(status),
        _text.moved(None, status),
        *_explain.explanation(status, NOW),
    ):
        check_shown(text)
    check_advice(status)


def check_operation(operation):
    """The same for an operation."""
    assert isinstance(operation, BulkOperation), type(operation)
    if operation.error is not None:
        assert operation.state is State.FAILED
        check_shown(operation.error)
    assert _round_trip(operation) == operation
    assert isinstance(operation.raw, bytes)
    _check_json(operation)
    with_payload = _output.with_payload(operation)
    _check_json(with_payload)
    columns = (*_output.OPERATION_COLUMNS, *_output._PAYLOADS)
    for text in _output.operation_cells(with_payload, columns):
        check_shown(text)


_ADVISED = re.compile(r"state_map = .*")


def check_advice(status):
    """The line of configuration that is advised for a word nobody has explained does what it says."""
    for line in _explain.advice(status):
        if _ADVISED.fullmatch(line):
            pins = tomllib.loads(line)["state_map"]
            assert pins == {status.native_state: "running"}


def check_row(call, status, adapter):
    """The `call` that confirms a row of a list goes to that row's bulk; none does for what cannot be an id."""
    if call is None:
        return
    assert adapter.id_grammar.check(status.id) == status.id
    assert status.provisional
    assert status.id in [unquote(segment) for segment in call.request.path.split("/")]
    check_request(call.request, adapter)


def check_page(page):
    """What a page says about itself can be counted with."""
    assert isinstance(page, Page), type(page)
    assert page.received >= 0
    assert page.offset >= 0
    assert page.total is None or page.total >= 0
    assert page.left_out >= 0
    assert page.cursor is None or page.next is not None


def check_request(request, adapter):
    """A question that is built from an answer goes where the adapter may ask, and can be sent."""
    assert isinstance(request, Request), type(request)
    assert request.base_url in adapter.base_urls()
    assert request.path.startswith("/")
    assert not {"", ".", ".."} & set(request.path[1:].split("/"))
    sent = build(request, {})
    assert len(str(sent.url)) <= 16_000


def check_moment(moment, now):
    """A provider's time is None, or aware, in UTC and believable."""
    if moment is not None:
        assert moment.utcoffset() == timedelta(0)
        assert datetime(2000, 1, 1, tzinfo=UTC) <= moment <= now + timedelta(days=3654)


def check_config_error(error):
    """A refusal of what somebody wrote: one line that can be shown."""
    assert isinstance(error, ConfigError)
    check_shown(error.message)
    check_error(error, canary=False)


def check_seconds(seconds, most=_MOST_SECONDS):
    """A pause is None, or a number of seconds that can be waited for."""
    assert seconds is None or (isinstance(seconds, float) and math.isfinite(seconds) and 0 <= seconds <= most)


def _round_trip(value):
    return msgspec.json.decode(msgspec.json.encode(value), type=type(value))


def _check_json(value):
    check_json(_output.to_json(value))


# Control and bidirectional characters, zero width, line separators, interlinear, tags, surrogates: what JSON on a
# screen must not hold either. It may hold blanks of other widths, which a line for people may not.
_OBEYED = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2064\u2066-\u2069\ufeff\ufff9-\ufffb\ud800-\udfff"
    "\U000e0000-\U000e007f]"
)


def check_json(text):
    """One line of JSON, with nothing in it that a screen obeys."""
    assert _OBEYED.search(text) is None, ascii(text[:200])
    json.loads(text)


# --- what the documents say, read anew ---


def parsed(body):
    """A payload by Python's own parser: the last of several members counts; None where it is not JSON to it."""
    try:
        return json.loads(
            bytes(body).decode("utf-8", "surrogateescape"), strict=False, parse_int=_int, parse_constant=str
        )
    except (ValueError, RecursionError):
        return None


def texts(value):
    """Every text in a parsed payload, names of members too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for inner in value:
            yield from texts(inner)
    elif isinstance(value, dict):
        yield from texts([*value, *value.values()])


def _int(digits):
    return int(digits) if len(digits) <= sys.int_info.default_max_str_digits else digits


def _folded(word):
    if not isinstance(word, str) or not word.isascii():
        return None
    return word.strip().upper().replace(" ", "_").replace("-", "_")


WEAVR_WORDS = {
    "SUBMITTED": State.QUEUED,
    "RUNNING": State.RUNNING,
    "PAUSED": State.PAUSED,
    "COMPLETED": State.SUCCEEDED,
    "PARTIALLY_COMPLETED": State.PARTIAL,
    "FAILED": State.FAILED,
    "CANCELLED": State.CANCELLED,
}
_WEAVR_COUNTED = {"SUBMITTED", "RUNNING", "COMPLETED", "FAILED", "CANCELLED"}


def check_weavr_state(status):
    """No end but one that the word and the counts of Weavr's own record say."""
    record = parsed(status.raw)
    if not isinstance(record, dict):
        assert not status.state.is_terminal
        return
    said = WEAVR_WORDS.get(_folded(record.get("status")), State.UNKNOWN)
    counts = _weavr_counts(record.get("operationStatusCounts"))
    good, bad, dropped = (counts.get(word, 0) for word in ("COMPLETED", "FAILED", "CANCELLED"))
    found = status.state
    if not said.is_terminal:
        assert found is said, (said, found)
        return
    allowed = {
        State.SUCCEEDED: said is State.SUCCEEDED and not bad and not dropped,
        State.PARTIAL: said is State.PARTIAL or good or bad or dropped,
        State.FAILED: not good and (said is State.FAILED or bad),
        State.CANCELLED: said is State.CANCELLED or (not good and not bad and dropped),
        State.UNKNOWN: said is not State.CANCELLED,
    }
    assert allowed.get(found), (said, counts, found)
    assert said is not State.CANCELLED or found is State.CANCELLED


def _weavr_counts(entries):
    sums = {}
    for entry in entries if isinstance(entries, list) else ():
        word = _folded(entry.get("status")) if isinstance(entry, dict) else None
        count = entry.get("count") if isinstance(entry, dict) else None
        if word in _WEAVR_COUNTED and type(count) is int and count > 0:
            sums[word] = sums.get(word, 0) + count
    return sums


def check_weavr_operation(operation):
    """The state of an operation is its word's, in a table of five."""
    record = parsed(operation.raw)
    word = _folded(record.get("status")) if isinstance(record, dict) else None
    assert operation.state is (WEAVR_WORDS[word] if word in _WEAVR_COUNTED else State.UNKNOWN)


_CLOUDFLARE = {
    "PENDING": State.QUEUED,
    "RUNNING": State.RUNNING,
    "COMPLETED": State.SUCCEEDED,
    "FAILED": State.FAILED,
}


def check_cloudflare_state(status):
    """The state is the word's; an answer that says `success: false`, or something odd there, gives none."""
    envelope = parsed(status.raw)
    if not isinstance(envelope, dict):
        assert not status.state.is_terminal
        return
    assert envelope.get("success") in (True, None)
    result = envelope["result"]
    assert status.state is _CLOUDFLARE.get(_folded(result.get("status")), State.UNKNOWN)
    assert status.finished_at is None or status.state.is_terminal


_OPENAI = {
    "VALIDATING": State.QUEUED,
    "IN_PROGRESS": State.RUNNING,
    "FINALIZING": State.RUNNING,
    "CANCELLING": State.RUNNING,
    "COMPLETED": State.SUCCEEDED,
    "FAILED": State.FAILED,
    "EXPIRED": State.EXPIRED,
    "CANCELLED": State.CANCELLED,
}


def check_openai_state(status):
    """Success is what the counts show of `completed`, failure what no count and no file denies; other words stand alone."""
    record = parsed(status.raw)
    record = record if isinstance(record, dict) else {}
    said, found = _OPENAI.get(_folded(record.get("status")), State.UNKNOWN), status.state
    assert status.finished_at is None or found not in (State.QUEUED, State.RUNNING)
    if said not in (State.SUCCEEDED, State.FAILED):
        assert found is said, (said, found)
        return
    counts = record.get("request_counts")
    counts = counts if isinstance(counts, dict) else {}
    total, good, bad = (counts.get(name) for name in ("total", "completed", "failed"))
    proven = _is_number(good) and good > 0 and not bad and (good == total or (total is None and bad == 0))
    kept = isinstance(record.get("output_file_id"), str) and record["output_file_id"]
    denied = (_is_number(good) and good > 0) or (kept and not _is_number(good))
    allowed = {
        State.SUCCEEDED: said is State.SUCCEEDED and proven,
        State.FAILED: not denied and (said is State.FAILED or (_is_number(bad) and bad > 0)),
        State.PARTIAL: kept
        or record.get("error_file_id")
        or (_is_number(good) and good)
        or (_is_number(bad) and bad),
        State.UNKNOWN: True,
    }
    assert allowed.get(found), (said, counts, found)


def _is_number(value):
    return isinstance(value, int | float) and not isinstance(value, bool)


def check_openai_missing(response, id, *, asked):
    """No batch is missing but one that was asked for, where a 404 has the form of the API's errors and is about it."""
    assert asked, "a list is not a batch"
    assert response.status in (404, 410)
    fault = parsed(response.body)["error"]
    text = f"{fault.get('code')} {fault.get('message')}"
    assert isinstance(fault["type"], str)
    assert id is None or id in text or "batch" in text.lower()
    assert id is None or "url" not in text.replace(id, "").lower()


_DRUID = {
    "RECEIVED": State.QUEUED,
    "SCHEDULED": State.QUEUED,
    "PROCESSING": State.RUNNING,
    "COMPLETED": State.SUCCEEDED,
    "FAILED": State.FAILED,
}


def check_druid_state(status, results):
    """The state is the word's; after `completed` it is what the pages of failed results say that were read.

    `results` are their bodies; None for a row of a list, which is only provisional.
    """
    payload = parsed(status.raw)
    content = payload.get("content", payload) if isinstance(payload, dict) else payload
    rows = content if isinstance(content, list) else [content]
    words = {_folded(row.get("status")) for row in rows if isinstance(row, dict)}
    said = {_DRUID.get(word, State.UNKNOWN) for word in words} or {State.UNKNOWN}
    undecided = {State.PARTIAL, State.UNKNOWN} if State.SUCCEEDED in said and results is not None else set()
    assert status.state in said | undecided, (said, status.state)
    if results is None:
        assert status.provisional == (status.state is State.SUCCEEDED)
        return
    assert not status.provisional, (said, results)
    if status.state is State.SUCCEEDED:
        assert State.SUCCEEDED in said
        assert results, "nothing was read that proves it"
        assert not any(map(_names_users, results))
    if status.state is State.PARTIAL:
        assert State.SUCCEEDED in said
        assert any(map(_names_users, results))


def _names_users(body):
    """True when a page of results holds any list with something in it, beside those of `result`."""
    page = parsed(body)
    if isinstance(page, dict):
        page = {name: value for name, value in page.items() if name != "result"}
        inner = page.pop("content", None)
        places = [inner, *page.values(), *(inner.values() if isinstance(inner, dict) else ())]
        return any(isinstance(place, list) and place for place in places)
    return isinstance(page, list) and bool(page)
