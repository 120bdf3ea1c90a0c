"""What is fuzzed: functions of bytes, each of which knows what must hold whatever the bytes are.

A target returns, or raises what says that something does not hold. `run.py` feeds them, `corpus/NAME/` keeps inputs
for each, and `test_corpus.py` plays those as tests.
"""

import io
import re
import sys
import tempfile
import tomllib
import zlib
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import cache, partial
from pathlib import Path

import httpx
import msgspec

from bulkstatus import (
    BulkOperation,
    BulkStatus,
    BulkStatusError,
    ConfigError,
    Failure,
    Journal,
    Outcome,
    Ref,
    Report,
    State,
    Transition,
    WaitRecord,
    WaitTerms,
    printable,
)
from bulkstatus import KnownBulk as Known
from bulkstatus._adapter import addressed
from bulkstatus._config import read_config
from bulkstatus._http import Heads, exchange
from bulkstatus._record import Place, Sighting
from bulkstatus._reply import retry_after, status_error, whole_seconds
from bulkstatus._rows import to_moment, to_status
from bulkstatus._text import nearest
from bulkstatus._times import Stamp, from_epoch, from_text
from bulkstatus._urls import check_base_url, join_path, origin
from bulkstatus.adapter import Call, ListQuery, OperationQuery, Page, Remaining, Request, app_token
from bulkstatus.cli import _changes, _export, _options, _output, _refs
from bulkstatus.cli._text import STDIN
from bulkstatus.errors import NotFound
from bulkstatus_cloudflare import Cloudflare
from bulkstatus_druid import Druid
from bulkstatus_openai import OpenAI
from bulkstatus_weavr import Weavr
from fuzz import oracles
from fuzz.inputs import replies, text_of
from fuzz.oracles import CANARY, NOW, PART, check_config_error, check_error, check_shown

TARGETS = {}
WEAVR_ID = "112233445566778899"
CLOUDFLARE_ID = "7be1c3f09a5d4e21b6c8d7f00a94e152"
DRUID_ID = "019a0a00-1111-7222-8333-444455556666"
OPENAI_ID = "batch_67c4cbe3b79881908feda6cb417cea47"
_MOST_CALLS = 12


def target(function):
    """Make `function` a target under its own name."""
    TARGETS[function.__name__] = function
    return function


# --- the adapters' readers ---


@cache
def _weavr(unit, pins):
    return Weavr(
        base_url="https://weavr.test/multi",
        api_key=f"{CANARY}-key",
        auth_token=f"{CANARY}-token",
        epoch_unit=unit,
        state_map=dict(pins),
    )


@cache
def _cloudflare(pins):
    return Cloudflare(account_id="023e105f4ecef8ad9ca31a8372d0c353", token=CANARY, state_map=dict(pins))


@cache
def _druid(pins):
    return Druid(
        api_base_url="https://graph.druid.test",
        client_id=f"{CANARY}-id",
        client_secret=f"{CANARY}-secret",
        state_map=dict(pins),
    )


@cache
def _openai(pins):
    return OpenAI(api_key=CANARY, state_map=dict(pins))


def _pins(text):
    """The user's own readings that an input asks for: `archiving=running, done=succeeded`."""
    pairs = (pair.partition("=") for pair in (text or "").split(","))
    return tuple((word.strip(), state.strip()) for word, _, state in pairs if state.strip() in list(State))


class _Played:
    """Calls to an adapter, answered by the replies of an input, one after another and the last again and again."""

    def __init__(self, adapter, answers):
        self.adapter = adapter
        self.answers = answers
        self.read = []
        self.error = None

    def result(self, call):
        """What reading comes to, or None after an error of ours and after too many calls."""
        while len(self.read) < _MOST_CALLS:
            assert isinstance(call, Call), type(call)
            oracles.check_request(call.request, self.adapter)
            response = self.answers[min(len(self.read), len(self.answers) - 1)].response
            self.read.append(response)
            echoed = CANARY[:PART].encode() in response.body
            try:
                found = call.read(response)
            except BulkStatusError as error:
                check_error(error, canary=not echoed)
                self.error = error
                return None
            if not isinstance(found, Call):
                return found
            call = found
        return None

    def pages(self, call, check):
        """Every item of a listing, and of the pages that follow its first."""
        while call is not None:
            page = self.result(call)
            if page is None:
                return
            oracles.check_page(page)
            for item in addressed(page, self.adapter.id_grammar).items:
                check(item)
            call = _following(page)


def _following(page: Page):
    if page.at is not None and page.received:
        return page.at(page.offset + page.received)
    return page.next


_QUERIES = {"listing": ListQuery(), "filtered": ListQuery(states=frozenset({"running", "paused"}))}
_OPERATIONS = {"operations": OperationQuery(), "failed": OperationQuery(states=frozenset({"failed"}))}


@target
def weavr(data):
    """Weavr's readers: one bulk, lists, operations, the confirming of a row, the probe, and its errors."""
    answers = replies(data, "weavr")
    options = answers[0].options
    unit = options.get("unit") if options.get("unit") in ("s", "ms", "us", "ns") else "ms"
    pins = _pins(options.get("pins"))
    adapter = _weavr(unit, pins)
    played = _Played(adapter, answers)

    def check(status, id=None):
        oracles.check_status(status, adapter, id=id)
        oracles.check_row(adapter.confirm(status), status, adapter)
        assert str(oracles.parsed(status.raw)["bulkId"]) == status.id
        if not pins:
            oracles.check_weavr_state(status)

    def check_operation(operation):
        oracles.check_operation(operation)
        if not pins:
            oracles.check_weavr_operation(operation)

    ask = options.get("ask")
    if ask in _QUERIES:
        for call in adapter.listing(_QUERIES[ask]):
            played.pages(call, check)
    elif ask in _OPERATIONS:
        played.pages(adapter.operations(WEAVR_ID, _OPERATIONS[ask]), check_operation)
    elif ask == "probe":
        assert played.result(adapter.probe()) is None
    elif (status := played.result(adapter.status(WEAVR_ID))) is not None:
        check(status, WEAVR_ID)


@target
def cloudflare(data):
    """Cloudflare's readers: one bulk, the probe, its envelope of errors, and what its headers say is left."""
    answers = replies(data, "cloudflare")
    options = answers[0].options
    pins = _pins(options.get("pins"))
    adapter = _cloudflare(pins)
    left = adapter.remaining(answers[0].response)
    assert left is None or isinstance(left, Remaining)
    assert left is None or (left.left >= 0 and left.of >= 0 and 0 <= left.seconds <= 1e9)
    played = _Played(adapter, answers)
    if options.get("ask") == "probe":
        assert played.result(adapter.probe()) is None
    elif (status := played.result(adapter.status(CLOUDFLARE_ID))) is not None:
        oracles.check_status(status, adapter, id=CLOUDFLARE_ID)
        if not pins:
            oracles.check_cloudflare_state(status)


@target
def druid(data):
    """DRUID's readers: one bulk and the failed results behind it, the list, rows of it, results, and its errors."""
    answers = replies(data, "druid")
    options = answers[0].options
    pins = _pins(options.get("pins"))
    adapter = _druid(pins)
    played = _Played(adapter, answers)

    def check(status, results, id=None):
        oracles.check_status(status, adapter, id=id)
        if not pins:
            oracles.check_druid_state(status, results)

    def check_rows():
        rows = []
        played.pages(adapter.listing(ListQuery())[0], rows.append)
        for row in rows:
            check(row, None)
            call, before = adapter.confirm(row), len(played.read)
            oracles.check_row(call, row, adapter)
            settled = None if call is None else played.result(call)
            if settled is not None:
                check(settled, _pages(played.read[before:]), row.id)

    ask = options.get("ask")
    if ask in _QUERIES:
        check_rows()
    elif ask in _OPERATIONS:
        played.pages(adapter.operations(DRUID_ID, _OPERATIONS[ask]), oracles.check_operation)
    elif ask == "probe":
        assert played.result(adapter.probe()) is None
    elif (status := played.result(adapter.status(DRUID_ID))) is not None:
        check(status, _pages(played.read[1:]), DRUID_ID)


@target
def openai(data):
    """OpenAI's readers: one batch, lists, the probe, and its errors."""
    answers = replies(data, "openai")
    options = answers[0].options
    pins = _pins(options.get("pins"))
    adapter = _openai(pins)
    played = _Played(adapter, answers)

    def check(status, id=None):
        oracles.check_status(status, adapter, id=id)
        assert oracles.parsed(status.raw)["id"] == status.id
        if not pins:
            oracles.check_openai_state(status)

    ask = options.get("ask")
    if ask in _QUERIES:
        played.pages(adapter.listing(_QUERIES[ask])[0], check)
    elif ask == "probe":
        played.pages(adapter.probe(), check)
    elif (status := played.result(adapter.status(OPENAI_ID))) is not None:
        check(status, OPENAI_ID)
    if isinstance(played.error, NotFound):
        # Of a list, a page after the first is about the batch that it goes on after.
        listed = ask in _QUERIES or ask == "probe"
        oracles.check_openai_missing(
            played.read[-1], None if listed else OPENAI_ID, asked=len(played.read) > listed
        )


def _pages(answers):
    """The bodies of the answers that were pages of results, as against refusals."""
    return [answer.body for answer in answers if answer.status == 200]


@target
def token(data):
    """The answer of a token endpoint, which may repeat the credentials: a token that can be sent, or an error of ours."""
    for unit in ("ms", "s", None):
        auth = app_token(
            Request.to("https://auth.test", "token"),
            client_id="client-0001",
            client_secret=CANARY,
            expires_at_unit=unit,
        )
        call = auth.renewal(1_000.0)
        response = replies(data)[0].response
        told = list(oracles.texts(oracles.parsed(response.body)))
        try:
            call.read(response)
        except BulkStatusError as error:
            # All of the secret is taken out, however it was written; a part of it that was sent alone is not known.
            check_error(error, part_of_it=not any(CANARY[:PART] in text.replace(CANARY, "") for text in told))
            continue
        value = auth.headers()["Authorization"]
        assert re.fullmatch(r"Bearer [\x21-\x7e]{1,16384}", value)
        assert 1_015.0 <= auth._renew_at <= 1_000.0 + 86_400.0
        assert auth.renewal(1_000.0) is None
        assert auth.renewal(1_000.0 + 86_400.0) is not None
        assert value not in repr(auth)


@target
def refusals(data):
    """Any answer taken for an error: one of ours, which says no more than it may."""
    reply = replies(data)[0]
    text = text_of(reply.response.body)
    error = status_error(
        reply.response,
        code=text[:300],
        detail=text,
        request_id=reply.response.headers.get("request-ref"),
        pause=whole_seconds(reply.response.headers.get("x-ratelimit-reset")),
    )
    check_error(error, canary=False)
    assert error.status == reply.response.status


# --- what stands in headers and members ---


@target
def pause(data):
    """`Retry-After`, with and without a `Date` beside it."""
    value, _, date = text_of(data).partition("\n")
    for headers in ({"retry-after": value}, {"retry-after": value, "date": date}):
        seconds = retry_after(headers, now=NOW)
        oracles.check_seconds(seconds)
        if seconds is not None and not value.strip().endswith("GMT"):
            assert str(int(seconds)) in [part.strip().lstrip("0") or "0" for part in value.split(",")]
    oracles.check_seconds(whole_seconds(value))


@target
def times(data):
    """Times as text and as a number of an epoch: a believable one in UTC, or a sentence that can be shown."""
    text = text_of(data)
    values = [text, int(text)] if re.fullmatch(r"-?[0-9]{1,4000}", text, re.ASCII) else [text]
    readings = [from_text(text, label="at", now=NOW, naive_is_utc=naive) for naive in (False, True)]
    readings += [
        from_epoch(value, unit, label="at", now=NOW) for value in values for unit in ("s", "ms", "us", "ns")
    ]
    for moment, note in readings:
        oracles.check_moment(moment, NOW)
        if note is not None:
            check_shown(note, longest=400)
        assert moment is not None or note is not None or text.strip("0") in ("", "-")


class _Stream(httpx.AsyncByteStream):
    """A body that arrives in two pieces."""

    def __init__(self, content):
        self._content = content

    async def __aiter__(self):
        half = len(self._content) // 2
        yield self._content[:half]
        yield self._content[half:]


class _Sender(httpx.AsyncBaseTransport):
    """Answers with what it is given, from no network at all."""

    encoding, content = "", b""

    async def handle_async_request(self, request):
        """The reply."""
        headers = [(b"content-encoding", self.encoding.encode("latin-1"))]
        return httpx.Response(200, headers=headers, stream=_Stream(self.content), request=request)


@target
def body(data):
    """A body in any encoding: what was sent, within its bounds, or an error of ours."""
    head, _, rest = data.partition(b"\n")
    encoding = head.decode("latin-1")
    for limit in (16, 1 << 20):
        found = _read(encoding, rest, limit)
        assert found is None or len(found) <= limit
        if encoding in _WINDOWS:
            made = zlib.compressobj(wbits=_WINDOWS[encoding])
            found = _read(encoding, made.compress(rest) + made.flush(), limit)
            assert found == (rest if len(rest) <= limit else None)


_WINDOWS = {"gzip": 31, "deflate": 15}
_SENDER = _Sender()
_CLIENT = httpx.AsyncClient(transport=_SENDER)


def _read(encoding, content, limit):
    """What is read of a body; None after an error of ours."""
    _SENDER.encoding, _SENDER.content = encoding, content
    request = Request.to("https://api.test", "bulks", body_limit=limit)
    reading = exchange(_CLIENT, request, {}, heads=Heads(), source="source", provider="plain")
    try:
        reading.send(None)  # nothing in it waits, so it comes to its end at once
    except StopIteration as done:
        return done.value.body
    except BulkStatusError as error:
        check_error(error, canary=False)
        return None
    raise AssertionError("reading does not end")


# --- what is shown ---


@target
def text(data):
    """The sanitiser: one line of what can be seen, never longer than asked for, and no change at the second time."""
    found = text_of(data)
    for limit in (1, 2, 40, 512):
        shown = printable(found, limit)
        check_shown(shown, longest=limit)
        assert printable(shown, limit) == shown
        assert shown == found or not found.isprintable() or len(found) > limit
    assert isinstance(nearest(found[:100], ["payments", "edge"]), str)


_LEADING = re.compile(r"'?[ \u00a0\u3000]*[=+\-@\t\r\0\uff1d\uff0b\uff0d\uff20]")


@target
def cells(data):
    """Cells of CSV and lines of JSON: nothing that a spreadsheet takes for a formula, nothing that a screen obeys."""
    found = text_of(data)
    for numeric in (False, True):
        shown = _output.cell(found, numeric=numeric)
        check_shown(shown)
        if not (numeric and re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", shown, re.ASCII)):
            assert not shown.lstrip().startswith(("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20"))
    with suppress(UnicodeEncodeError):
        found.encode()
        line = _output.to_json([found])
        oracles.check_json(line)
        assert msgspec.json.decode(line) == [found]


# --- what people write ---


@target
def ref(data):
    """References, one and many: what is read is what was written, or is refused in words."""
    found = text_of(data)
    try:
        parsed = Ref.parse(found)
    except ConfigError as error:
        check_config_error(error)
    else:
        assert str(parsed) == found
        assert Ref.parse(str(parsed)) == parsed
        assert Ref.parse(parsed) is parsed
        for adapter in (Weavr, Cloudflare, Druid):
            try:
                assert adapter.id_grammar.check(parsed.id) == parsed.id
            except ConfigError as error:
                check_config_error(error)
            else:
                assert parsed.id.isascii()
                assert parsed.id.isprintable()
                assert not set(parsed.id) & set(" /\\?#%;\"'<>&")
                assert join_path(("bulks", parsed.id)).startswith("/bulks/")
    try:
        with _piped(data):
            many = _refs.references([STDIN])
    except ConfigError as error:
        check_config_error(error)
    else:
        assert len(set(many)) == len(many) <= _refs.MOST
        assert all(word and not set(word) & set(" \t\r\n\0\x1b\x7f") for word in many)


class _Pipe:
    """As much of a stdin as is read of it."""

    def __init__(self, data):
        self.buffer = io.BytesIO(data)

    def isatty(self):
        """A pipe is none."""
        return False


@contextmanager
def _piped(data):
    usual, sys.stdin = sys.stdin, _Pipe(data)
    try:
        yield
    finally:
        sys.stdin = usual


@target
def url(data):
    """Base URLs: refused in words, or an address of https with a host that can be asked."""
    found = text_of(data)
    try:
        checked = check_base_url(found, setting="base_url")
    except ConfigError as error:
        check_config_error(error)
        return
    assert check_base_url(checked, setting="base_url") == checked
    check_shown(checked)
    assert checked.isascii()
    assert re.fullmatch(r"https?://[^/@]+:[0-9]+", origin(checked))
    request = Request.to(checked, "bulks", "1")
    with suppress(ConfigError):
        sent = oracles.build(request, {})
        assert origin(str(sent.url)) == origin(checked)


@target
def words(data):
    """Words of the command line: durations, labels, states."""
    found = text_of(data)
    try:
        seconds = _options.seconds(found)
    except ConfigError as error:
        check_config_error(error)
    else:
        assert 0 < seconds <= 365 * 86_400
        assert re.fullmatch(r"[0-9.dhms]+", found, re.ASCII)
        parts = re.findall(r"([0-9.]+)([dhms]?)", found)
        size = {"d": 86_400, "h": 3_600, "m": 60, "s": 1, "": 1}
        assert abs(sum(float(number) * size[unit] for number, unit in parts) - seconds) < 1e-3
    try:
        labels = _options.labels_of(found.split("\n"))
    except ConfigError as error:
        check_config_error(error)
    else:
        assert all(key and value and "=" not in key for key, value in labels.items())


@cache
def _folder():
    folder = tempfile.TemporaryDirectory()
    return folder, Path(folder.name)


_SECRETS = ("api_key", "auth_token", "token", "client_id", "client_secret")


@target
def config(data):
    """A configuration file: adapters, or a refusal in one line; a secret that stands in it is in neither."""
    file = _folder()[1] / "bulkstatus.toml"
    if not file.exists():
        file.touch(0o600)
    file.write_bytes(data)
    hidden = _is_only_secret(data)
    try:
        read = read_config(file)
        assert all(isinstance(name, str) for name in read.sources)
        for name, adapter in read.build().items():
            assert adapter.provider == read.sources[name]
            assert CANARY not in repr(adapter)
    except BulkStatusError as error:
        check_error(error, canary=hidden)


def _is_only_secret(data):
    """True when the canary stands nowhere but where a credential belongs."""
    text = text_of(data)
    try:
        sources = tomllib.loads(text)["sources"]
        found = [
            value
            for table in sources.values()
            for name, value in table.items()
            if name in _SECRETS and CANARY[:PART] in str(value)
        ]
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
        return False
    return len(found) == text.count(CANARY[:PART]) and not any(":" in value for value in found)


# --- what is kept ---


@target
def cursors(data):
    """Cursors: a place in the journal, or a refusal in words."""
    found = text_of(data)
    kept = _journal()
    for cursor in (found, f"{kept.cursor().partition('-')[0]}{found}"):
        try:
            steps = kept.changes(cursor)
        except ConfigError as error:
            check_config_error(error)
        else:
            every = kept.changes()
            assert steps == every[len(every) - len(steps) :]


@cache
def _journal():
    kept = Journal(_folder()[1] / "cursors.db")
    place = Place("source", "weavr", "weavr")
    for number in range(3):
        status = BulkStatus(
            source="source", provider="weavr", id=f"{number}", state=State.RUNNING, observed_at=NOW
        )
        kept.record([Sighting(place, status, Stamp.take(), Stamp.take(), wanted=True)])
    return kept


_KINDS = (BulkStatus, BulkOperation, Failure, Report, Outcome, Transition, Known, WaitRecord, WaitTerms)


@target
def records(data):
    """JSON that was written, perhaps by another version or another program: read the same once more, or refused."""
    for kind in _KINDS:
        try:
            value = msgspec.json.decode(data, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            continue
        assert msgspec.json.decode(msgspec.json.encode(value), type=kind) == value
        oracles.check_json(_output.to_json(value))
    with suppress(UnicodeDecodeError):
        kept = data.decode()
        assert to_moment(kept) is None or isinstance(to_moment(kept), datetime)
        with suppress(msgspec.DecodeError):  # what is no JSON at all makes the journal a damaged one
            assert to_status(kept) is None or isinstance(to_status(kept), BulkStatus)


_PLACES = {"weavr": WEAVR_ID, "cloudflare": CLOUDFLARE_ID, "druid": DRUID_ID, "openai": OPENAI_ID}
_ADAPTERS = {
    "weavr": partial(_weavr, "ms"),
    "cloudflare": _cloudflare,
    "druid": _druid,
    "openai": _openai,
}
_FRESH = 500
_kept = [0]


@target
def journal(data):
    """Whatever an adapter reads can be recorded, and comes back as it was."""
    provider = replies(data)[0].options.get("provider")
    provider = provider if provider in _ADAPTERS else "weavr"
    answers = replies(data, provider)
    adapter = _ADAPTERS[provider](())
    status = _Played(adapter, answers).result(adapter.status(_PLACES[provider]))
    if status is None:
        return
    kept = _fresh_journal()
    _kept[0] += 1
    source = f"source{_kept[0]}"
    status = status.changed(source=source)
    place = Place(source, provider, provider)
    asked = Stamp.take()
    kept.record([Sighting(place, status, asked, Stamp.take(), wanted=True)])
    (found,) = kept.find(status.ref)
    assert found.status == status
    (step,) = kept.history(status.ref)
    lines = (_changes._about(found), _changes.cells(_export.flat_bulk(found)))
    for shown in (*lines, _changes._step_row(step), _changes.cells(_changes.flat_step(step))):
        for text in shown:
            check_shown(text)
    assert (step.to_state, step.to_word, step.counts) == (status.state, status.native_state, status.counts)
    assert kept.known(place, [status.id])[status.id].status == status
    # A second look that says the same is no step.
    kept.record([Sighting(place, status, Stamp.take(), Stamp.take(), wanted=True)])
    assert len(kept.history(status.ref)) == 1


def _fresh_journal():
    if _kept[0] % _FRESH == 0:
        for file in _folder()[1].glob("kept*"):
            file.unlink()
        _journals.append(Journal(_folder()[1] / f"kept{_kept[0]}.db"))
        for old in _journals[:-1]:
            old.close()
        del _journals[:-1]
    return _journals[-1]


_journals = []
