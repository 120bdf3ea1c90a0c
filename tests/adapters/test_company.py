"""What a list says of a row is the same whatever stands beside it: rows that are alike share what their words tell."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulkstatus._drift import collecting
from bulkstatus.adapter import ListQuery, OperationQuery, Response, State
from bulkstatus.testing import load_fake

ID = "112233445566778899"
MOMENTS = [1_760_000_000_123, 1_760_000_060_456, 1_760_000_000]
TEXTS = ["2026-01-01T00:00:00.123Z", "2026-01-01T00:10:00Z", "2026-01-01T01:00:00+01:00"]


def members(**values):
    """Rows in which each of these members is one of the values, or absent; mostly one of the usual ones."""
    absent = object()
    row = st.fixed_dictionaries(
        {name: st.sampled_from([*usual * 8, *odd, absent]) for name, (usual, odd) in values.items()}
    )
    return row.map(lambda found: {name: value for name, value in found.items() if value is not absent})


WEAVR = members(
    bulkId=(["1", "22", 333], [None, {}]),
    status=(["COMPLETED", "FAILED", "RUNNING", "SUBMITTED"], ["completed", "ARCHIVING", 5, None]),
    submittedItemsCount=([1, 250], [0, -1, 2**60, "x", None]),
    executionStart=(MOMENTS, [0, -1, "1760000000000", 10**17, None, 1.5]),
    executionFinish=(MOMENTS, [None, "soon"]),
    operation=(["/transfers", "/payments"], [[]]),
    mode=(["ON_FAILURE_STOP", "ON_FAILURE_CONTINUE"], ["LATER", None]),
    operationStatusCounts=([None, None], [[{"status": "FAILED", "count": 1}], [], 7]),
    added=([], [1]),
)
WEAVR_OPERATION = members(
    operationId=(["1", 22], [None]),
    sequence=([1, 2], [-1, "1", 2**60]),
    method=(["POST"], [1]),
    path=(["/transfers"], [None]),
    status=(["COMPLETED", "FAILED"], ["NEW", None, 3]),
    requestPayload=(['{"amount":1}', "é"], [None, {"amount": 1}]),
    responsePayload=(['{"errorCode":"NO_FUNDS"}', '{"id":"7"}'], [7, []]),
)
DRUID = members(
    bulkId=(["a", "b-2", "c:3"], [None, "", 7, "../x"]),
    status=(["completed", "failed", "processing"], ["Completed", "archived", {}, None]),
    createdOn=(TEXTS, [1_760_000_000_123, "1760000000123", "2026-01-01T00:00:00", "x", [], 1.5]),
    updatedOn=(TEXTS, [None, "2026-01-01T00:00:00.1234567Z"]),
    added=([], [{"a": [1]}]),
)
OPENAI = members(
    id=(["b1", "b2"], [None, 7]),
    object=(["batch"], [{"deep": [[1]]}]),
    status=(["completed", "failed", "in_progress", "cancelled"], ["paused", 3, None]),
    endpoint=(["/v1/responses"], []),
    request_counts=([{"total": 10, "completed": 9, "failed": 1}], [None, {"total": -1}, "x"]),
    created_at=(MOMENTS[2:], ["1760000000", 0, "x", None, 1.5]),
    completed_at=(MOMENTS[2:], [10**17, None]),
    output_file_id=(["f1", None], []),
    errors=([None], [{"data": [{"message": "bad line", "line": 3}]}, []]),
    metadata=([{"a": "b"}], [None, {"a": {"b": {"c": 1}}}]),
)


def listing(word, address, member, **beside):
    """What makes the items of a list with these rows."""
    (call,) = load_fake(word)().adapter(address).listing(ListQuery())
    return lambda rows: read(call, {member: rows, **beside})


def operations(rows):
    """The operations in rows of Weavr's."""
    adapter = load_fake("weavr")().adapter("https://weavr.test/multi")
    return read(adapter.operations(ID, OperationQuery()), {"operations": rows})


NOW = Response.now().received_at


def read(call, body):
    """The items of a page, and what was odd in it."""
    response = Response(status=200, body=json.dumps(body).encode(), received_at=NOW, source="s")
    with collecting() as odd:
        items = call.read(response).items
    # Of the times of one member, the first counts; new members are looked for in the first row.
    found = (one for one in odd.found() if one.kind != "field")
    return items, {(one.kind, one.where, one.sample if one.kind == "word" else "") for one in found}


READERS = {
    "weavr": (WEAVR, listing("weavr", "https://weavr.test/multi", "bulkProcesses")),
    "weavr operations": (WEAVR_OPERATION, operations),
    "druid": (DRUID, listing("druid", "https://druid.test", "content", result={"status": 200})),
    "openai": (OPENAI, listing("openai", "https://openai.test/v1", "data", has_more=False)),
}


def facts(items):
    """All that items say, also beside their fields."""
    return [
        (item, json.loads(item.raw), getattr(item, "request", None), getattr(item, "response", None))
        for item in items
    ]


@pytest.mark.parametrize("kind", READERS)
def test_a_row_says_the_same_alone_and_in_company(kind):
    """Every field, the record as received and the payloads; and in all, the same words and times are new."""
    rows, reader = READERS[kind]

    @settings(max_examples=150)
    @given(st.lists(rows, max_size=6))
    def check(page):
        together, odd = reader(page)
        alone = [reader([row]) for row in page]
        assert facts(together) == [fact for items, _ in alone for fact in facts(items)]
        assert odd == {one for _, found in alone for one in found}

    check()


@pytest.mark.parametrize("kind", READERS)
def test_rows_of_one_word_keep_what_is_their_own(kind):
    """Ids, times, numbers and payloads are each row's, however many are alike."""
    _, reader = READERS[kind]
    usual = {
        "weavr": lambda n: {
            "bulkId": str(n),
            "status": "COMPLETED",
            "submittedItemsCount": n + 1,
            "executionStart": MOMENTS[0] + n,
        },
        "weavr operations": lambda n: {"operationId": str(n), "sequence": n, "status": "COMPLETED"},
        "druid": lambda n: {"bulkId": str(n), "status": "failed", "updatedOn": f"2026-01-01T00:00:0{n}Z"},
        "openai": lambda n: {"id": str(n), "status": "failed", "failed_at": MOMENTS[2] + n},
    }[kind]
    items, odd = reader([usual(n) for n in range(9)])
    assert [item.id for item in items] == [str(n) for n in range(9)]
    assert {item.state for item in items} <= {State.SUCCEEDED, State.FAILED}
    assert [json.loads(item.raw) for item in items] == [usual(n) for n in range(9)]
    moments = {getattr(item, "started_at", None) or getattr(item, "finished_at", None) for item in items}
    assert len(moments) == (1 if kind == "weavr operations" else 9)
    assert not odd


def test_of_very_many_new_words_the_first_are_kept():
    """So that the same answer tells the same, whoever reads it."""
    _, odd = operations([{"operationId": str(number), "status": f"NEW{number}"} for number in range(100)])
    kept = {sample for _, _, sample in odd}
    assert 0 < len(kept) < 100
    assert kept == {f"NEW{number}" for number in range(len(kept))}
