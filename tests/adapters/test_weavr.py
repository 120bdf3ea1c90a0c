"""The Weavr adapter, handed bytes."""

import json
import pickle
from datetime import UTC, datetime
from unittest.mock import Mock

import msgspec
import pytest

import bulkstatus
import bulkstatus_weavr
from bulkstatus.adapter import (
    MIB,
    Confirms,
    Counts,
    Listing,
    ListQuery,
    OperationQuery,
    Operations,
    Page,
    Probe,
    Response,
    State,
)
from bulkstatus.errors import (
    AuthError,
    ConfigError,
    NotFound,
    ProtocolError,
    RateLimited,
    RequestRejected,
    Unavailable,
)
from bulkstatus.testing import FakeResponse, FakeTransport
from bulkstatus_weavr import Weavr
from bulkstatus_weavr.fake import WeavrFake

BASE = "https://sandbox.weavr.io/multi"
ID = "112233445566778899"
KEY, TOKEN = "S3CR3T-key", "S3CR3T-token"
NOT_COUNTED = "This answer does not count operations."


def weavr(**settings) -> Weavr:
    """An adapter with settings that do."""
    return Weavr(**{"base_url": BASE, "api_key": KEY, "auth_token": TOKEN, **settings})


def answer(value: object, status: int = 200, **headers: str) -> Response:
    """A reply whose body is `value` as JSON, or as it is when it is bytes."""
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    headers = {name.replace("_", "-"): text for name, text in headers.items()}
    return Response.now(status, body, headers, source="payments", provider="weavr")


def status(record: object, *, id: str = ID, **settings):
    """What is read from the answer about one bulk."""
    return weavr(**settings).status(id).read(answer(record))


def bulk(**members: object) -> dict[str, object]:
    """A bulk process on the wire."""
    return {"bulkId": ID, "status": "RUNNING", "submittedItemsCount": 250, **members}


def counted(*pairs: tuple[object, object]) -> list[dict[str, object]]:
    """The operationStatusCounts of some words."""
    return [{"status": word, "count": count} for word, count in pairs]


def listed(body: object, *, states=None, **settings) -> Page:
    """The first page of a list."""
    (call,) = weavr(**settings).listing(ListQuery(states=states))
    return call.read(answer(body))


# Settings


def test_the_package_exports_the_adapter():
    """The package's door holds the adapter and nothing else."""
    assert bulkstatus_weavr.__all__ == ["Weavr"]


def test_settings_come_from_a_table_as_well_as_from_code():
    """The same type validates a configuration table; a slash at the end of the base URL is dropped."""
    table = {"base_url": f"{BASE}/", "epoch_unit": "s", "state_map": {"ARCHIVING": "running"}}
    made = msgspec.convert(
        {**table, "api_key": KEY, "auth_token": TOKEN},
        Weavr,
        dec_hook=lambda kind, text: kind(text),
    )
    assert made.base_url == BASE
    assert made.base_urls() == (BASE,)
    assert made.epoch_unit == "s"
    assert made.state_map == {"ARCHIVING": State.RUNNING}


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"base_url": "http://sandbox.weavr.io/multi"}, "base_url"),
        ({"base_url": "https://u:p@sandbox.weavr.io/multi"}, "base_url"),
        ({"epoch_unit": "minutes"}, "epoch_unit"),
        ({"api_key": "two words"}, "api_key"),
        ({"auth_token": ""}, "auth_token"),
        ({"state_map": {"X": "finished"}}, "state_map"),
    ],
)
def test_an_impossible_setting_is_refused_by_name(settings, named):
    """A setting that cannot be is a ConfigError that names it."""
    with pytest.raises(ConfigError, match=named):
        weavr(**settings)


def test_both_credentials_are_sent_and_neither_is_shown():
    """Every request carries the key and the token; no repr holds them."""
    made = weavr()
    assert made.auth().headers() == {"api-key": KEY, "Authorization": f"Bearer {TOKEN}"}
    assert "S3CR3T" not in repr(made) + repr(made.auth())


def test_a_token_from_a_function_is_asked_again_after_a_401():
    """That is how a source outlives Weavr's five-minute sessions."""
    tokens = iter(["one", "two"])
    auth = weavr(auth_token=lambda: next(tokens)).auth()
    sent = auth.headers()
    assert auth.rejected(sent)
    assert auth.headers()["Authorization"] == "Bearer two"


def test_the_adapter_declares_what_weavr_can_do():
    """Limits, poll times and capabilities are declared."""
    made = weavr()
    assert [(limit.requests, limit.seconds) for limit in made.limits] == [
        (100, 60),
        (1000, 3600),
        (10000, 86400),
    ]
    assert (made.poll_floor, made.poll_ceiling, made.rows_per_page) == (2.0, 60.0, 100)
    assert made.allowed() == made.limits
    assert made.counted_by == ("api_key",)
    assert all(isinstance(made, kind) for kind in (Listing, Operations, Confirms, Probe))


@pytest.mark.parametrize("id", ["", " ", "12a", "-1", "1" * 33, "..", "1/2", "\uff11\uff12", "1\n"])
def test_an_id_that_is_not_digits_is_refused(id):
    """Ids are ASCII digits, 1 to 32 of them."""
    with pytest.raises(ConfigError, match="1 to 32 digits"):
        Weavr.id_grammar.check(id)


# One bulk


def test_a_bulk_is_asked_for_by_id():
    """A status is one GET of the bulk."""
    request = weavr().status(ID).request
    assert (request.method, request.base_url, request.path, request.query) == (
        "GET",
        BASE,
        f"/bulks/{ID}",
        (),
    )


def test_a_finished_bulk_is_read_whole():
    """All that Weavr says about a bulk arrives in the model."""
    record = bulk(
        status="PARTIALLY_COMPLETED",
        executionStart=1760000000000,
        executionFinish="1760000095500",
        operation="/transfers",
        mode="ON_FAILURE_CONTINUE",
        operationStatusCounts=counted(("FAILED", 3), ("COMPLETED", 247)),
        somethingNew={"a": [1]},
    )
    response = answer(record)
    found = weavr().status(ID).read(response)
    assert (found.source, found.provider, found.id) == ("payments", "weavr", ID)
    assert (found.state, found.native_state, found.phase) == (State.PARTIAL, "PARTIALLY_COMPLETED", None)
    assert found.counts == Counts(total=250, succeeded=247, failed=3)
    assert found.started_at == datetime(2025, 10, 9, 8, 53, 20, tzinfo=UTC)
    assert found.finished_at == datetime(2025, 10, 9, 8, 54, 55, 500000, tzinfo=UTC)
    assert (found.created_at, found.updated_at, found.error) == (None, None, None)
    assert found.observed_at == response.received_at
    assert (found.action, found.on_failure) == ("/transfers", "continue")
    assert found.evidence == ("weavr bulk word 'PARTIALLY_COMPLETED' means partial.",)
    assert found.raw == response.body


@pytest.mark.parametrize(
    ("word", "state", "phase"),
    [
        ("SUBMITTED", State.QUEUED, "awaiting_action"),
        ("submitted", State.QUEUED, "awaiting_action"),
        ("RUNNING", State.RUNNING, None),
        ("PAUSED", State.PAUSED, None),
        ("COMPLETED", State.SUCCEEDED, None),
        ("PARTIALLY_COMPLETED", State.PARTIAL, None),
        ("PARTIALLY COMPLETED", State.PARTIAL, None),
        ("FAILED", State.FAILED, None),
        ("CANCELLED", State.CANCELLED, None),
        ("ARCHIVING", State.UNKNOWN, None),
        ("\x1b[31msecret", State.UNKNOWN, None),
        ("", State.UNKNOWN, None),
    ],
)
def test_words_mean_states(word, state, phase):
    """Each documented word has its state; any other is unknown, and kept."""
    found = status(bulk(status=word))
    assert (found.state, found.native_state, found.phase) == (state, word, phase)


def test_a_bulk_without_a_word_is_unknown():
    """A missing status is not an error and not a state."""
    found = status({"bulkId": ID})
    assert (found.state, found.native_state, found.counts) == (State.UNKNOWN, None, None)
    assert found.evidence == ("The provider sent no status word.", NOT_COUNTED)


def test_a_pinned_word_counts_as_the_user_says():
    """A pin needs no release, and gives no phase that Weavr did not name."""
    found = status(bulk(status="ARCHIVING"), state_map={"archiving": State.QUEUED})
    assert (found.state, found.phase) == (State.QUEUED, None)
    moved = status(bulk(status="SUBMITTED"), state_map={"SUBMITTED": State.PAUSED})
    assert (moved.state, moved.phase) == (State.PAUSED, None)


@pytest.mark.parametrize(
    ("pins", "pairs", "state", "counts"),
    [
        # A word that both know is an operation's own here, whatever it is pinned to for bulks.
        ({"COMPLETED": "failed"}, [("COMPLETED", 250)], State.PARTIAL, Counts(total=250, succeeded=250)),
        ({"COMPLETED": "running"}, [("COMPLETED", 250)], State.RUNNING, Counts(total=250, succeeded=250)),
        (
            {"FAILED": "succeeded"},
            [("COMPLETED", 247), ("FAILED", 3)],
            State.PARTIAL,
            Counts(total=250, succeeded=247, failed=3),
        ),
        # A pin explains a word that the table does not have.
        (
            {"SKIPPED": "cancelled"},
            [("COMPLETED", 247), ("SKIPPED", 3)],
            State.PARTIAL,
            Counts(total=250, succeeded=247, cancelled=3),
        ),
        # No count stands for what this word is pinned to.
        (
            {"SKIPPED": "paused"},
            [("COMPLETED", 247), ("SKIPPED", 3)],
            State.UNKNOWN,
            Counts(total=250, succeeded=247),
        ),
    ],
)
def test_pins_speak_of_bulks_and_counts_correct_them(pins, pairs, state, counts):
    """A pin does not change what is counted as what, and the counts correct a pinned word like any other."""
    word = next((word for word in ("FAILED", "COMPLETED") if word in pins), "COMPLETED")
    found = status(bulk(status=word, operationStatusCounts=counted(*pairs)), state_map=pins)
    assert (found.state, found.counts) == (state, counts)


@pytest.mark.parametrize(
    ("word", "pairs", "state"),
    [
        ("COMPLETED", [("COMPLETED", 250)], State.SUCCEEDED),
        ("COMPLETED", [("COMPLETED", 247), ("FAILED", 3)], State.PARTIAL),
        ("COMPLETED", [("FAILED", 250)], State.FAILED),
        ("COMPLETED", [], State.UNKNOWN),
        ("COMPLETED", [("FAILED", 0)], State.UNKNOWN),
        ("COMPLETED", [("SUBMITTED", 250)], State.UNKNOWN),
        ("COMPLETED", [("COMPLETED", 240), ("SUBMITTED", 10)], State.UNKNOWN),
        ("COMPLETED", [("COMPLETED", 249), ("RUNNING", 1)], State.UNKNOWN),
        ("PARTIALLY_COMPLETED", [("FAILED", 250)], State.FAILED),
        ("COMPLETED", [("COMPLETED", 0)], State.UNKNOWN),
        ("COMPLETED", [("COMPLETED", 247)], State.UNKNOWN),
        ("COMPLETED", [("COMPLETED", 247), ("FAILED", 0)], State.UNKNOWN),
        ("COMPLETED", [("COMPLETED", 247), ("SKIPPED", 3)], State.UNKNOWN),
        ("COMPLETED", [("COMPLETED", 247), ("FAILED", 1), ("SKIPPED", 2)], State.PARTIAL),
        ("COMPLETED", [("COMPLETED", 250), ("SKIPPED", 0)], State.SUCCEEDED),
        ("COMPLETED", [("COMPLETED", 250), (None, 3)], State.UNKNOWN),
        ("COMPLETED", [("COMPLETED", 250), ("FAILED", "3")], State.UNKNOWN),
        ("COMPLETED", [("COMPLETED", 247), ("FAILED", 3), ("FAILED", -3)], State.PARTIAL),
        ("COMPLETED", [("COMPLETED", 250), ("FAILED", -3)], State.UNKNOWN),
        ("PARTIALLY_COMPLETED", [("COMPLETED", 250)], State.PARTIAL),
        ("FAILED", [("SUBMITTED", 250)], State.FAILED),
        ("FAILED", [("FAILED", 249), ("RUNNING", 1)], State.UNKNOWN),
        ("FAILED", [("FAILED", 249), ("SKIPPED", 1)], State.UNKNOWN),
        ("FAILED", [("FAILED", 250), ("SKIPPED", True)], State.UNKNOWN),
        ("FAILED", [("FAILED", 240), ("COMPLETED", 10)], State.PARTIAL),
        ("CANCELLED", [("COMPLETED", 100), ("CANCELLED", 150)], State.CANCELLED),
        ("RUNNING", [("COMPLETED", 250)], State.RUNNING),
    ],
)
def test_counts_correct_a_finished_word(word, pairs, state):
    """What the operations did decides between succeeded, partial and failed."""
    found = status(bulk(status=word, operationStatusCounts=counted(*pairs)))
    assert found.state is state
    assert not found.provisional
    assert NOT_COUNTED not in found.evidence


@pytest.mark.parametrize("total", [None, 250, -1, 20_000, "odd"])
@pytest.mark.parametrize("odd", ["text", 7, {"COMPLETED": 250}, [["COMPLETED", 250]], [7]])
@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("COMPLETED", State.UNKNOWN),
        ("FAILED", State.UNKNOWN),
        ("PARTIALLY_COMPLETED", State.PARTIAL),
        ("CANCELLED", State.CANCELLED),
        ("RUNNING", State.RUNNING),
    ],
)
def test_counts_of_another_type_prove_nothing(odd, total, word, state):
    """Counts that are there and cannot be read are not the same as none, whatever the total is."""
    found = status(bulk(status=word, operationStatusCounts=odd, submittedItemsCount=total))
    assert found.state is state
    assert any(line.startswith("operationStatusCounts is not") for line in found.evidence)
    assert NOT_COUNTED in found.evidence


@pytest.mark.parametrize("members", [{}, {"operationStatusCounts": None}])
def test_an_answer_without_counts_says_so(members):
    """The word alone decides, and the evidence says that nothing was counted."""
    found = status(bulk(status="COMPLETED", **members))
    assert (found.state, found.provisional) == (State.SUCCEEDED, False)
    assert found.evidence[-1] == NOT_COUNTED


@pytest.mark.parametrize(
    ("pairs", "counts", "evidence"),
    [
        ([("RUNNING", 1), ("SUBMITTED", 9)], Counts(total=250, running=1, queued=9), ""),
        ([("COMPLETED", 2), ("COMPLETED", 3)], Counts(total=250, succeeded=5), ""),
        ([("completed", 2), ("Cancelled", 1)], Counts(total=250, succeeded=2, cancelled=1), ""),
        ([("SKIPPED", 4)], Counts(total=250), "4 operations have the word 'SKIPPED'"),
        ([("FAILED", True)], Counts(total=250), "operationStatusCounts"),
        ([("FAILED", 1.5), ("COMPLETED", 1)], Counts(total=250, succeeded=1), "operationStatusCounts"),
        ([("FAILED", "1")], Counts(total=250), "operationStatusCounts"),
        ([(None, 1), (7, 2)], Counts(total=250), "operationStatusCounts"),
        ([("FAILED", -1)], Counts(total=250), "operationStatusCounts"),
        ([("FAILED", 3), ("FAILED", -3)], Counts(total=250, failed=3), "operationStatusCounts"),
        ([("FAILED", 10**10)], Counts(total=250, failed=10**10), "implausibly high"),
        ([("FAILED", 2**63)], Counts(total=250), "operationStatusCounts"),
        ([("FAILED", 2**52), ("FAILED", 2**52)], Counts(total=250), "beyond 2**53"),
        ([("FAILED", 251)], Counts(total=250, failed=251), "more than the total of 250"),
    ],
)
def test_operation_counts_are_read_as_they_come(pairs, counts, evidence):
    """In any order, incomplete, doubled or odd: what can be read is counted, what cannot is named."""
    found = status(bulk(operationStatusCounts=counted(*pairs)))
    assert found.counts == counts
    assert evidence in "\n".join(found.evidence)


@pytest.mark.parametrize("counts", [[None], [None, None], None, []])
def test_empty_entries_of_the_counts_cost_nothing_else(counts):
    """A null among the counts leaves the record readable; the same note is written once."""
    found = status(bulk(operationStatusCounts=counts))
    assert found.counts == Counts(total=250)
    assert len(found.evidence) == (1 if counts == [] else 2)


@pytest.mark.parametrize(
    ("total", "counts", "evidence"),
    [
        (None, None, ""),
        (0, Counts(total=0), ""),
        (-1, None, "was -1"),
        (10**10, Counts(total=10**10), "implausibly high"),
        (2**63, None, "beyond 2**53"),
        ("250", None, "submittedItemsCount is not of the documented type"),
        (True, None, "submittedItemsCount"),
        (2.5, None, "submittedItemsCount"),
    ],
)
def test_the_total_is_read_or_named(total, counts, evidence):
    """An odd total costs the total, never the record."""
    found = status(bulk(submittedItemsCount=total))
    assert (found.state, found.counts) == (State.RUNNING, counts)
    assert evidence in "\n".join(found.evidence)


@pytest.mark.parametrize("member", ["executionStart", "executionFinish"])
@pytest.mark.parametrize(
    ("value", "evidence"),
    [
        (None, None),
        (0, None),
        ("", None),
        (1760000000, "not plausible"),
        (-5, "not plausible"),
        (10**30, "plausible"),
        ("soon", "not an epoch time"),
        (1.5, "documented type"),
        (True, "documented type"),
        ({}, "documented type"),
    ],
)
def test_a_time_that_cannot_be_read_costs_only_itself(member, value, evidence):
    """Odd times are None with evidence; the unit is never guessed from the size."""
    found = status(bulk(**{member: value}))
    assert (found.state, found.started_at, found.finished_at) == (State.RUNNING, None, None)
    about = [sentence for sentence in found.evidence if member in sentence]
    assert (evidence in about[0]) if evidence else not about


def test_the_epoch_unit_is_a_setting():
    """Seconds are read as seconds when the user says so."""
    assert status(bulk(executionStart=1760000000), epoch_unit="s").started_at == datetime(
        2025, 10, 9, 8, 53, 20, tzinfo=UTC
    )


@pytest.mark.parametrize(
    ("mode", "on_failure", "evidence"),
    [
        ("ON_FAILURE_STOP", "stop", False),
        ("ON_FAILURE_CONTINUE", "continue", False),
        ("on_failure_stop", "stop", False),
        (None, None, False),
        ("ON_FAILURE_ASK", None, True),
        (7, None, True),
    ],
)
def test_the_mode_is_read_or_named(mode, on_failure, evidence):
    """An unknown mode is None, and the evidence names it."""
    found = status(bulk(mode=mode))
    assert found.on_failure == on_failure
    assert any("mode" in sentence for sentence in found.evidence) is evidence


@pytest.mark.parametrize("id", [ID, int(ID)])
def test_an_id_may_be_a_number(id):
    """A number loses nothing."""
    assert status(bulk(bulkId=id)).id == ID


@pytest.mark.parametrize("id", [None, "", ["odd"], True, {}])
@pytest.mark.parametrize("word", ["COMPLETED", "FAILED", "RUNNING", None])
def test_an_answer_without_an_id_is_no_state(id, word):
    """An object that names no bulk is not about one, even with a word that could be a bulk's."""
    with pytest.raises(ProtocolError, match=r"\$\.bulkId") as caught:
        status(bulk(bulkId=id, status=word))
    assert (caught.value.reason, caught.value.retryable) == ("bad_payload", True)


@pytest.mark.parametrize("id", ["1", 12345, "../admin"])
def test_an_answer_about_another_bulk_is_refused(id):
    """Nothing is concluded from somebody else's status."""
    with pytest.raises(ProtocolError) as caught:
        status(bulk(bulkId=id))
    assert caught.value.reason == "id_mismatch"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"null",
        b"[]",
        b'"text"',
        b'{"bulkId":"1122',
        b"{} x",
        b"<html>maintenance</html>",
        b"\xef\xbb\xbf{}",
        b'{"status":"\xff"}',
        b'{"status":"\\ud800"}',
        b'{"status":NaN}',
        b"[" * 1100,
        b'{"x":' + b"[" * 65 + b"]" * 65 + b"}",
        b"{}",
        b'{"message":"maintenance"}',
        b'{"status":"failed","error":"x"}',
        b'{"status":"COMPLETED","submittedItemsCount":250}',
    ],
)
def test_a_body_that_is_no_bulk_is_a_protocol_error(body):
    """A 200 is believed only when it holds a bulk."""
    with pytest.raises(ProtocolError) as caught:
        weavr().status(ID).read(answer(body))
    assert caught.value.reason == "bad_payload"
    assert caught.value.retryable


def test_numbers_out_of_range_cost_their_member():
    """A number with 5,000 digits, or beyond a float, is an odd member like any other."""
    members = b'"status":"PAUSED","submittedItemsCount":' + b"1" * 5000 + b',"mode":1e999'
    found = weavr().status(ID).read(answer(b'{"bulkId":"%s",%s}' % (ID.encode(), members)))
    assert (found.state, found.counts, found.on_failure) == (State.PAUSED, None, None)
    assert [line.split()[0] for line in found.evidence[1:-1]] == ["submittedItemsCount", "mode"]


def test_the_last_of_two_equal_members_counts():
    """JSON leaves it open; it is settled here."""
    body = f'{{"bulkId":"{ID}","status":"FAILED","status":"COMPLETED"}}'
    assert weavr().status(ID).read(answer(body.encode())).state is State.SUCCEEDED


# Lists


def requests(states: set[str] | None, **settings) -> list[dict[str, str]]:
    """The queries of the listings that answer a question."""
    query = ListQuery(states=None if states is None else frozenset(states))
    calls = weavr(**settings).listing(query)
    assert all(call.request.path == "/bulks" and call.request.body_limit == 2 * MIB for call in calls)
    return [dict(call.request.query) for call in calls]


@pytest.mark.parametrize(
    ("states", "words"),
    [
        (None, [None]),
        ({"running"}, ["RUNNING"]),
        ({"failed", "partial", "cancelled"}, ["PARTIALLY_COMPLETED", "FAILED", "CANCELLED"]),
        ({"running", "queued"}, ["SUBMITTED", "RUNNING"]),
        ({"paused", "queued"}, ["SUBMITTED", "PAUSED"]),
        ({"running", "paused"}, ["RUNNING", "PAUSED", "RUNNING"]),
        ({"running", "paused", "queued"}, ["SUBMITTED", "RUNNING", "PAUSED", "RUNNING"]),
        ({"queued", "running", "paused", "failed"}, [None]),
        ({"expired"}, []),
        ({"unknown"}, [None]),
        ({"running", "unknown"}, [None]),
    ],
)
def test_a_list_is_narrowed_by_words_where_that_costs_little(states, words):
    """Up to three words are a listing each, in the order of a bulk's life; a bulk resumed meanwhile is not missed."""
    assert [query.get("status") for query in requests(states)] == words
    assert all(query["limit"] == "100" and "offset" not in query for query in requests(states))


def test_pins_are_not_sent_to_weavr():
    """With pinned words Weavr's filter cannot express the question, so everything is read."""
    assert requests({"running"}, state_map={"ARCHIVING": State.RUNNING}) == [{"limit": "100"}]


ROWS = [
    {"bulkId": "1", "status": "RUNNING", "submittedItemsCount": 250, "executionStart": 1760000000000},
    {"bulkId": "2", "status": "COMPLETED"},
]


@pytest.mark.parametrize("array", ["bulkProcesses", "bulk_processes"])
def test_a_page_is_read_under_both_names(array):
    """Older documents call the array bulk_processes."""
    page = listed({"count": 7, array: ROWS, "responseCount": 2})
    assert [(row.id, row.state, row.counts) for row in page.items] == [
        ("1", State.RUNNING, Counts(total=250)),
        ("2", State.SUCCEEDED, None),
    ]
    assert [json.loads(row.raw or b"") for row in page.items] == ROWS
    assert (page.offset, page.received, page.total, page.moving, page.next) == (0, 2, 7, True, None)
    assert {row.observed_at for row in page.items} == {page.items[0].observed_at}
    assert (page.items[0].source, page.items[0].provider) == ("payments", "weavr")


def test_the_evidence_of_a_row_says_that_nothing_was_counted():
    """A list has no operation counts, so nothing is concluded from any, and the row says so."""
    page = listed({"bulkProcesses": ROWS})
    assert [row.evidence for row in page.items] == [
        ("weavr bulk word 'RUNNING' means running.", NOT_COUNTED),
        ("weavr bulk word 'COMPLETED' means succeeded.", NOT_COUNTED),
    ]


def test_the_first_of_two_arrays_that_is_there_is_read():
    """A null under the new name gives way to the old one, in the records and in what was received."""
    page = listed({"bulkProcesses": None, "bulk_processes": ROWS, "count": "odd"})
    assert [row.id for row in page.items] == ["1", "2"]
    assert json.loads(page.items[1].raw or b"") == ROWS[1]


def test_other_pages_are_asked_for_by_offset():
    """A page knows the call for any other, with the same filter; the first needs no offset."""
    (call,) = weavr().listing(ListQuery(states=frozenset({"failed"})))
    page = call.read(answer({"bulkProcesses": ROWS}))
    assert page.at is not None
    later = page.at(100)
    assert dict(later.request.query) == {"limit": "100", "offset": "100", "status": "FAILED"}
    assert page.at(0).request == call.request
    read = later.read(answer({"count": 102, "bulkProcesses": ROWS}))
    assert isinstance(read, Page)
    assert (read.offset, read.received, read.total) == (100, 2, 102)


@pytest.mark.parametrize(
    ("members", "received", "total"),
    [
        ({}, 2, None),
        ({"count": 2, "responseCount": 2}, 2, 2),
        ({"count": 9, "responseCount": 5}, 2, 9),
        ({"count": 9, "responseCount": 1}, 2, 9),
        ({"count": 9, "responseCount": 101}, 2, 9),
        ({"count": 9, "responseCount": -1}, 2, 9),
        ({"count": 1}, 2, None),
        ({"count": -1}, 2, None),
        ({"count": "9", "responseCount": True}, 2, None),
        ({"count": 9, "responseCount": 1.5}, 2, 9),
    ],
)
def test_a_page_is_as_long_as_its_rows_allow(members, received, total):
    """Counts that the rows contradict are not believed."""
    page = listed({"bulkProcesses": ROWS, **members})
    assert (page.received, page.total) == (received, total)


class Short(WeavrFake):
    """A Weavr whose list holds two rows, counts nine, and says that a page holds `claimed`."""

    def __init__(self, claimed):
        super().__init__()
        self.claimed = claimed

    def answer(self, request):
        rows = ROWS[int(request.query.get("offset", 0)) :]
        return FakeResponse.json({"count": 9, "bulkProcesses": rows, "responseCount": self.claimed})


@pytest.mark.parametrize("claimed", [2, 5, 100, 101, None])
def test_a_page_that_claims_more_rows_than_it_holds_ends_in_an_error(claimed):
    """Rows that are counted and do not come are missing: a list without them is never complete."""
    fake = Short(claimed)
    with bulkstatus.Client({"payments": weavr()}, transport=FakeTransport({BASE: fake})) as client:
        report = client.list()
    assert [row.id for row in report] == ["1", "2"]
    assert not report.complete
    (failure,) = report.failures
    assert (failure.kind, failure.reason) == ("protocol", "short_listing")
    assert len(fake.requests) < 10


@pytest.mark.parametrize(
    "body", [{"bulkProcesses": []}, {"count": 0}, {"responseCount": 0, "count": 3, "bulkProcesses": None}]
)
def test_a_page_may_be_empty(body):
    """An empty array is an empty page, and so is no array where a count says that nothing was to come."""
    page = listed(body)
    assert (page.items, page.received) == ((), 0)


@pytest.mark.parametrize(
    "body", [{}, {"message": "maintenance"}, {"count": 3}, {"bulkProcesses": {}}, {"count": "x"}, [], None]
)
def test_a_body_that_is_no_page_is_a_protocol_error(body):
    """A body without bulks is never read as "there are none"."""
    with pytest.raises(ProtocolError) as caught:
        listed(body)
    assert caught.value.reason == "bad_payload"


def test_one_odd_row_costs_itself_and_not_the_page():
    """Each odd member costs that member; a row that cannot be addressed has no id, and is still counted."""
    rows = [
        ROWS[0],
        {"bulkId": 3, "status": 5, "executionStart": 1.5, "submittedItemsCount": True},
        {"bulkId": None, "status": "RUNNING"},
        {"bulkId": {}, "status": "RUNNING"},
        None,
        "odd",
        {"bulkId": "4", "status": "PAUSED", "operation": ["odd"], "executionFinish": 1760000000000},
    ]
    page = listed({"bulkProcesses": rows, "count": 7, "responseCount": 7})
    assert [(row.id, row.state) for row in page.items] == [
        ("1", State.RUNNING),
        ("3", State.UNKNOWN),
        *[("", State.RUNNING)] * 2,
        *[("", State.UNKNOWN)] * 2,
        ("4", State.PAUSED),
    ]
    assert (page.received, page.total) == (7, 7)
    assert page.items[0].evidence == ("weavr bulk word 'RUNNING' means running.", NOT_COUNTED)
    assert page.items[1].evidence[-1] == NOT_COUNTED
    assert [sentence.split()[0] for sentence in page.items[1].evidence[1:-1]] == [
        "status",
        "submittedItemsCount",
        "executionStart",
    ]
    assert page.items[6].finished_at is not None
    assert json.loads(page.items[6].raw or b"") == rows[6]


# What a list does not say


@pytest.mark.parametrize(
    ("members", "provisional"),
    [
        ({"status": "COMPLETED", "submittedItemsCount": 9}, True),
        ({"status": "PARTIALLY_COMPLETED"}, True),
        ({"status": "FAILED"}, True),
        ({"status": "FAILED", "operationStatusCounts": []}, True),
        ({"status": "COMPLETED", "submittedItemsCount": 9, "operationStatusCounts": []}, True),
        ({"status": "CANCELLED"}, False),
        ({"status": "RUNNING"}, False),
        ({"status": "SUBMITTED"}, False),
        ({"status": "PAUSED"}, False),
        ({"status": "ARCHIVING"}, False),
        ({"status": None}, False),
        ({"status": "FAILED", "operationStatusCounts": counted(("FAILED", 9))}, False),
    ],
)
def test_an_end_that_a_list_tells_is_provisional_until_the_bulk_itself_is_asked(members, provisional):
    """Ends that counts could correct are marked where there are none, and only they are worth another request."""
    (row,) = listed({"bulkProcesses": [{"bulkId": "5", **members}]}).items
    assert row.provisional is provisional
    call = weavr().confirm(row)
    assert (call is not None) is provisional
    if call is not None:
        assert call.request == weavr().status("5").request
        settled = call.read(answer({"bulkId": "5", **members}))
        assert not settled.provisional


def test_a_pinned_end_is_provisional_too():
    """A pin says what a word means; how the operations went is in the bulk's own record."""
    pins = {"ARCHIVED": State.SUCCEEDED, "FAILED": State.RUNNING}
    rows = [{"bulkId": "5", "status": "ARCHIVED"}, {"bulkId": "6", "status": "FAILED"}]
    first, second = listed({"bulkProcesses": rows}, state_map=pins).items
    assert (first.state, first.provisional) == (State.SUCCEEDED, True)
    assert (second.state, second.provisional) == (State.RUNNING, False)


def test_a_row_with_an_id_that_cannot_be_asked_for_stays_provisional():
    """What is not an id is never put into a path."""
    (row,) = listed({"bulkProcesses": [{"bulkId": ID, "status": "FAILED"}]}).items
    odd = row.changed(id="../5")
    assert odd.provisional
    assert weavr().confirm(odd) is None


# Operations


def operations(body: object, query: OperationQuery | None = None, **settings) -> Page:
    """A first page of operations."""
    page = weavr(**settings).operations(ID, query or OperationQuery()).read(answer(body))
    assert isinstance(page, Page)
    return page


@pytest.mark.parametrize("state", ["paused", "partial", "expired"])
def test_a_state_that_operations_never_have_is_refused(state):
    """The whole listing would be read to give nothing."""
    with pytest.raises(ConfigError, match="nothing else"):
        weavr().operations(ID, OperationQuery(states=frozenset({state})))


def test_a_page_without_a_total_that_promises_more_rows_than_it_holds_is_refused():
    """Nothing else would show that rows are missing; with a total the end of the listing does."""
    with pytest.raises(ProtocolError, match="responseCount"):
        listed({"bulkProcesses": ROWS, "responseCount": 5})
    assert listed({"bulkProcesses": ROWS, "responseCount": 5, "count": 5}).received == 2


@pytest.mark.parametrize(
    ("query", "sent"),
    [
        (OperationQuery(), {}),
        (OperationQuery(states=frozenset({"failed"})), {"status": "FAILED"}),
        (OperationQuery(states=frozenset({"failed", "partial"})), {"status": "FAILED"}),
        (OperationQuery(states=frozenset({"failed", "cancelled"})), {}),
        (OperationQuery(states=frozenset({"unknown"})), {}),
        (OperationQuery(sequence=0), {"sequence": "0"}),
        (
            OperationQuery(states=frozenset({"queued"}), sequence=17),
            {"status": "SUBMITTED", "sequence": "17"},
        ),
    ],
)
def test_operations_are_narrowed_by_one_word_and_one_position(query, sent):
    """A single word is pushed down; such a listing moves while it is read, a whole one does not."""
    call = weavr().operations(ID, query)
    assert call.request.path == f"/bulks/{ID}/operations"
    assert dict(call.request.query) == {"limit": "100", **sent}
    assert call.request.body_limit == 8 * MIB
    page = call.read(answer({"count": 250, "operations": [{}], "responseCount": 1}))
    assert isinstance(page, Page)
    assert page.moving is ("status" in sent)
    assert page.at is not None
    assert dict(page.at(100).request.query) == {"limit": "100", "offset": "100", **sent}


OPERATION = {
    "operationId": "998877665544332211",
    "sequence": 17,
    "method": "POST",
    "path": "/transfers",
    "status": "FAILED",
    "requestPayload": '{"name": "Ada  Example"}',
    "responsePayload": '{"errorCode":"FUNDS_INSUFFICIENT","message":"Ada Example has too little"}',
}


def test_an_operation_keeps_its_payloads_to_itself():
    """Payloads are kept word for word, beside the record and never in its repr or JSON."""
    page = operations({"count": 40, "responseCount": 1, "operations": [OPERATION]})
    (found,) = page.items
    assert (found.id, found.sequence, found.method, found.path) == (
        "998877665544332211",
        17,
        "POST",
        "/transfers",
    )
    assert (found.state, found.native_state, found.error) == (State.FAILED, "FAILED", "FUNDS_INSUFFICIENT")
    assert found.request == OPERATION["requestPayload"]
    assert found.response == OPERATION["responsePayload"]
    assert json.loads(found.raw or b"") == OPERATION
    assert "Ada" not in repr(found) + msgspec.json.encode(found).decode()
    assert (page.offset, page.received, page.total) == (0, 1, 40)


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("SUBMITTED", State.QUEUED),
        ("RUNNING", State.RUNNING),
        ("COMPLETED", State.SUCCEEDED),
        ("Failed", State.FAILED),
        ("CANCELLED", State.CANCELLED),
        ("SKIPPED", State.UNKNOWN),
        (None, State.UNKNOWN),
    ],
)
def test_words_of_operations_mean_states(word, state):
    """Each documented word has its state, and only a failure has an error."""
    (found,) = operations({"operations": [{**OPERATION, "status": word}]}).items
    assert (found.state, found.native_state) == (state, word)
    assert (found.error is None) is (state is not State.FAILED)


@pytest.mark.parametrize(
    ("payload", "error"),
    [
        ('{"errorCode":"A","code":"B"}', "A"),
        ('{"code":"B"}', "B"),
        ('{"errorCode":null,"code":"B"}', "B"),
        ('{"errorCode":7}', None),
        ('{"message":"Ada Example"}', None),
        (json.dumps({"errorCode": "x" * 65}), None),
        (json.dumps({"errorCode": "A\x1b[31m"}), r"A\x1b[31m"),
        ("not JSON", None),
        ("[]", None),
        ('{"x":' * 5000, None),
        ("", None),
        (None, None),
        ({"errorCode": "A"}, None),
    ],
)
def test_the_error_of_an_operation_is_a_short_code(payload, error):
    """The code is read where it can be; the message never is."""
    (found,) = operations({"operations": [{**OPERATION, "responsePayload": payload}]}).items
    assert (found.state, found.error) == (State.FAILED, error)


def test_odd_operations_cost_themselves_and_not_the_page():
    """What can be read of an odd operation is kept."""
    rows = [None, {"operationId": 5, "sequence": "1", "status": "COMPLETED"}, OPERATION]
    page = operations({"operations": rows, "count": 3})
    assert [(each.id, each.sequence, each.state) for each in page.items] == [
        (None, None, State.UNKNOWN),
        ("5", None, State.SUCCEEDED),
        ("998877665544332211", 17, State.FAILED),
    ]
    assert json.loads(page.items[2].raw or b"") == OPERATION
    assert page.received == 3


def test_a_body_without_operations_is_a_protocol_error():
    """A body without operations is never read as "there are none"."""
    with pytest.raises(ProtocolError, match="holds no operations"):
        operations({"count": 5})


# Probe


def test_the_probe_is_the_shortest_list():
    """One row is asked for; a login page with status 200 proves nothing."""
    call = weavr().probe()
    assert (call.request.path, dict(call.request.query)) == ("/bulks", {"limit": "1"})
    assert call.read(answer({"count": 3, "bulkProcesses": [ROWS[0]]})) is None
    with pytest.raises(ProtocolError):
        call.read(answer(b"<html>"))


# Errors


def refused(status: int, body: object = b"", **headers: str):
    """The error of a refusal; it pickles and shows no secret."""
    with pytest.raises(Exception) as caught:
        weavr().status(ID).read(answer(body, status, **headers))
    assert "S3CR3T" not in str(caught.value)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    ("status", "body", "kind", "code", "retryable"),
    [
        (400, {"message": "Request validation failed"}, RequestRejected, None, False),
        (401, b"", AuthError, None, False),
        (403, {"errorCode": "INSUFFICIENT_PERMISSIONS"}, AuthError, "INSUFFICIENT_PERMISSIONS", False),
        (404, {"code": "BULK_NOT_FOUND", "message": "gone"}, NotFound, "BULK_NOT_FOUND", False),
        (404, {"code": 40401}, NotFound, None, False),
        (404, {"errorCode": "BULK_NOT_FOUND"}, NotFound, "BULK_NOT_FOUND", False),
        (404, b"<html>", Unavailable, None, True),
        (404, [], Unavailable, None, True),
        (404, b"", Unavailable, None, True),
        (404, {"message": "no Route matched with those values"}, Unavailable, None, True),
        (409, {"errorCode": "INVALID_STATE"}, RequestRejected, "INVALID_STATE", True),
        (409, {"errorCode": "NO_CONFIG_FOUND"}, RequestRejected, "NO_CONFIG_FOUND", False),
        (409, {"errorCode": "TOO_MANY_REQUESTS"}, RateLimited, "TOO_MANY_REQUESTS", True),
        (409, {"errorCode": 5, "code": "B"}, RequestRejected, "B", True),
        (410, {"code": "GONE", "message": "gone"}, NotFound, "GONE", False),
        (410, b"", Unavailable, None, True),
        (429, b"", RateLimited, None, True),
        (500, b"", Unavailable, None, True),
        (503, b"upstream", Unavailable, None, True),
        (204, b"", ProtocolError, None, True),
        (206, bulk(), ProtocolError, None, True),
        (302, b"", ProtocolError, None, False),
        (999, b"", ProtocolError, None, True),
    ],
)
def test_a_refusal_is_an_error_of_its_kind(status, body, kind, code, retryable):
    """Every shape of error body, and none at all, gives the error that the status stands for."""
    error = refused(status, body)
    assert type(error) is kind
    assert (error.status, error.code, error.retryable) == (status, code, retryable)


@pytest.mark.parametrize(
    ("status", "body", "headers", "pause"),
    [
        (429, b"", {"x_ratelimit_reset": "37"}, 37.0),
        (429, b"", {"x_ratelimit_reset": "37", "retry_after": "5"}, 37.0),
        (429, b"", {"x_ratelimit_reset": "1.5", "retry_after": "5"}, 5.0),
        (429, b"", {}, None),
        (409, {"errorCode": "TOO_MANY_REQUESTS"}, {"x_ratelimit_reset": "12"}, 12.0),
        (409, {"errorCode": "INVALID_STATE"}, {"x_ratelimit_reset": "12"}, None),
        (503, b"", {"x_ratelimit_reset": "12", "retry_after": "3"}, 3.0),
    ],
)
def test_throttling_says_how_long(status, body, headers, pause):
    """x-ratelimit-reset is believed where Weavr throttles, Retry-After otherwise."""
    assert refused(status, body, **headers).retry_after == pause


def test_a_401_speaks_of_the_session():
    """The likeliest cause of a 401 is named."""
    assert "5 minutes" in str(refused(401))


@pytest.mark.parametrize(
    ("status", "body"),
    [(403, {"errorCode": "INSUFFICIENT_PERMISSIONS"}), (409, {"errorCode": "NO_CONFIG_FOUND"})],
)
def test_an_account_without_bulks_is_told_so(status, body):
    """Weavr turns bulk operations on by request, and does not document how it refuses them."""
    text = str(refused(status, body))
    assert "not permitted" in text
    assert "not enabled" in text


def test_a_challenge_of_the_network_edge_is_no_question_of_permission():
    """An HTML 403 comes from the edge, not from Weavr's permissions."""
    error = refused(403, b"<html>", content_type="text/html")
    assert isinstance(error, Unavailable)
    assert "not enabled" not in str(error)


@pytest.mark.parametrize("status", [404, 410])
@pytest.mark.parametrize("kind", ["text/html; charset=utf-8", "text/plain"])
def test_a_page_in_html_or_text_does_not_say_that_a_bulk_is_not_there(status, kind):
    """Weavr speaks JSON: a page that says "not found" tells nothing of the bulk, whatever stands in it."""
    error = refused(status, {"code": "404", "message": "not found"}, content_type=kind)
    assert isinstance(error, Unavailable)
    assert (error.reason, error.status) == ("edge", status)


def test_invalid_fields_are_named_without_their_values():
    """A 400 says which fields are wrong and how."""
    fields = [
        {"fieldName": "limit", "error": "RANGE", "params": ["S3CR3T-param"]},
        {"fieldName": "status", "error": "IN"},
        {"error": "REQUIRES"},
    ]
    body = {"message": "Request validation failed", "syntaxErrors": {"invalidFields": fields}}
    error = refused(400, body, request_ref="ref-7")
    assert error.detail == "Request validation failed; limit RANGE, status IN, REQUIRES"
    assert error.request_id == "ref-7"
    assert "[HTTP 400, request ref-7]" in str(error)


@pytest.mark.parametrize("odd", ["text", {"invalidFields": "text"}, {"invalidFields": [None]}, {}, None])
def test_an_odd_400_is_still_a_400(odd):
    """What cannot be read of a 400 is left out."""
    error = refused(400, {"message": "no", "syntaxErrors": odd})
    assert isinstance(error, RequestRejected)
    assert error.detail == "no"


@pytest.mark.parametrize("code", ["INTERNAL", "", 5, {}])
@pytest.mark.parametrize(
    ("call", "body"),
    [
        (weavr().status("5"), {"bulkId": "5", "status": "COMPLETED"}),
        (weavr().status("5"), {"bulkId": "5", "status": "FAILED"}),
        (weavr().listing(ListQuery())[0], {"count": 0, "responseCount": 0, "bulkProcesses": []}),
        (weavr().listing(ListQuery())[0], {"count": 0}),
        (weavr().operations("5", OperationQuery()), {"operations": []}),
    ],
)
def test_an_error_under_a_200_is_neither_an_end_nor_an_empty_list(call, body, code):
    """Weavr's answers have no `errorCode`, its errors do; null is not one."""
    call.read(answer({**body, "errorCode": None}))
    with pytest.raises(ProtocolError, match="errorCode") as caught:
        call.read(answer({**body, "errorCode": code}))
    assert caught.value.retryable


def test_an_error_code_in_a_payload_or_a_row_is_no_error_of_the_answer():
    """That of an operation that failed is its own."""
    payload = json.dumps({"errorCode": "FUNDS_INSUFFICIENT"})
    rows = [{"operationId": "1", "status": "FAILED", "responsePayload": payload, "errorCode": "X"}]
    (row,) = weavr().operations("5", OperationQuery()).read(answer({"count": 1, "operations": rows})).items
    assert row.error == "FUNDS_INSUFFICIENT"


def test_the_types_of_a_record_are_not_looked_up_for_each_row(monkeypatch):
    """20,000 odd rows fit into 40 kB, and took seconds in which nothing else was served."""
    looked_up = Mock(wraps=msgspec.structs.fields)
    monkeypatch.setattr(msgspec.structs, "fields", looked_up)
    page = listed({"bulkProcesses": [{"bulkId": str(number), "status": 1} for number in range(100)]})
    assert len(page.items) == 100
    assert not looked_up.called


def test_what_is_said_of_entries_that_cannot_be_counted_is_bounded():
    """A count for each of 30,000 words: 2 MB of evidence, which a journal would keep."""
    entries = counted(*((f"WORD-{number}", 1) for number in range(30_000)))
    found = status(bulk(status="RUNNING", operationStatusCounts=entries))
    assert len(found.evidence) == 41
    assert found.evidence[-1] == "1 operations have the word 'WORD-29999', which no count here stands for."
