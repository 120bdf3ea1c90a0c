"""The fake Weavr: it answers as documented, and the adapter understands it."""

import json

import pytest

from bulkstatus.adapter import ListQuery, OperationQuery, Page, Response, State
from bulkstatus.errors import AuthError, NotFound, RateLimited, RequestRejected
from bulkstatus.testing import FakeRequest, Life, ManualClock, load_fake
from bulkstatus_weavr import Weavr
from bulkstatus_weavr.fake import WeavrFake

BASE = "https://weavr.test/multi"
ID = "112233445566778899"
BOTH = {"api-key": "weavr-demo-key", "authorization": "Bearer weavr-demo-token"}
DONE = Life.of((0, "SUBMITTED"), (10, "RUNNING"), (110, "COMPLETED"))


@pytest.fixture
def clock():
    """A clock that moves when told to."""
    return ManualClock()


@pytest.fixture
def fake(clock):
    """A Weavr without bulks."""
    return WeavrFake(clock=clock)


def ask(fake, path="/bulks", headers=BOTH, method="GET", **query):
    """What the fake answers."""
    request = FakeRequest(method=method, path=f"/multi{path}", query=query, headers=headers)
    return fake.answer(request)


def told(fake, path="/bulks", **query):
    """The JSON of an answer that is a 200."""
    answer = ask(fake, path, **query)
    assert answer.status == 200
    return json.loads(answer.body)


def send(fake, call, adapter=None):
    """What the adapter makes of the fake's answer."""
    made = (adapter or fake.adapter(BASE)).auth().headers()
    headers = {name.lower(): value for name, value in made.items()}
    answer = ask(fake, call.request.path, headers, **dict(call.request.query))
    return call.read(Response.now(answer.status, answer.body, answer.headers, provider="weavr"))


def counts(fake, id=ID):
    """The counts of a bulk's operations, by word."""
    return {each["status"]: each["count"] for each in told(fake, f"/bulks/{id}")["operationStatusCounts"]}


def test_the_fake_is_found_by_name():
    """The entry point leads to it."""
    assert load_fake("weavr") is WeavrFake
    assert (WeavrFake.word, WeavrFake.prefix) == ("weavr", "/multi")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"api-key": "weavr-demo-key"},
        {"authorization": "Bearer weavr-demo-token"},
        {**BOTH, "api-key": "other"},
        {**BOTH, "authorization": "weavr-demo-token"},
    ],
)
def test_both_credentials_are_needed(fake, headers):
    """One credential is as good as none: a 401 without a body."""
    answer = ask(fake, headers=headers)
    assert (answer.status, answer.body) == (401, b"")


def test_the_adapter_it_gives_is_let_in_and_another_is_not(fake):
    """The settings it names reach it."""
    adapter = fake.adapter(BASE)
    assert send(fake, adapter.probe()) is None
    stranger = Weavr(base_url=BASE, api_key="other", auth_token="other")
    with pytest.raises(AuthError):
        send(fake, stranger.probe(), stranger)


@pytest.mark.parametrize(
    ("path", "query", "field", "error"),
    [
        ("/bulks", {"limit": "0"}, "limit", "RANGE"),
        ("/bulks", {"limit": "101"}, "limit", "RANGE"),
        ("/bulks", {"limit": "ten"}, "limit", "REGEX"),
        ("/bulks", {"offset": "-1"}, "offset", "RANGE"),
        ("/bulks", {"offset": str(2**31)}, "offset", "RANGE"),
        ("/bulks", {"status": "running"}, "status", "IN"),
        (f"/bulks/{ID}/operations", {"status": "PAUSED"}, "status", "IN"),
        (f"/bulks/{ID}/operations", {"sequence": "x"}, "sequence", "REGEX"),
        ("/bulks/abc", {}, "bulk_id", "REGEX"),
    ],
)
def test_a_bad_request_gets_the_documented_400(fake, path, query, field, error):
    """Each invalid field is named, and the adapter's error names it too."""
    fake.add(ID, DONE)
    answer = ask(fake, path, **query)
    body = json.loads(answer.body)
    assert answer.status == 400
    assert [(each["fieldName"], each["error"]) for each in body["syntaxErrors"]["invalidFields"]] == [
        (field, error)
    ]
    with pytest.raises(RequestRejected, match=f"{field} {error}"):
        fake.adapter(BASE).status(ID).read(Response.now(400, answer.body))


@pytest.mark.parametrize("path", ["/bulks/5", "/bulks/5/operations", "/users", "/bulks/5/other"])
def test_what_is_not_there_is_a_404(fake, path):
    """A 404 has a code and a message."""
    answer = ask(fake, path)
    assert answer.status == 404
    assert sorted(json.loads(answer.body)) == ["code", "message"]


def test_paths_outside_the_prefix_are_not_there(fake):
    """Weavr's API begins at /multi."""
    assert fake.answer(FakeRequest(method="GET", path="/bulks", headers=BOTH)).status == 404


def test_only_reading_is_answered(fake):
    """The fake starts and stops nothing."""
    assert ask(fake, method="POST").status == 405


def test_every_answer_but_a_list_has_a_request_ref(fake):
    """The one 200 that is documented without the header comes without it."""
    fake.add(ID, DONE)
    answers = [ask(fake, f"/bulks/{ID}"), ask(fake, "/bulks/5"), ask(fake, headers={}), ask(fake, limit="0")]
    refs = [answer.headers["request-ref"] for answer in answers]
    assert len(set(refs)) == 4
    assert "request-ref" not in ask(fake).headers


def test_a_list_is_newest_first_and_without_counts(fake, clock):
    """List rows lack the counts; offset and limit cut the list, and count is the whole."""
    for number in range(25):
        fake.add(str(number), DONE)
        clock.advance(1)
    page = told(fake, limit="2", offset="3")
    assert [row["bulkId"] for row in page["bulkProcesses"]] == ["21", "20"]
    assert (page["count"], page["responseCount"]) == (25, 2)
    assert all("operationStatusCounts" not in row for row in page["bulkProcesses"])
    assert told(fake)["responseCount"] == 10
    assert told(fake, offset="25")["bulkProcesses"] == []
    running = told(fake, status="RUNNING", limit="100")
    assert (running["count"], {row["status"] for row in running["bulkProcesses"]}) == (16, {"RUNNING"})


def test_old_names_are_those_of_older_documents(clock):
    """Older answers name the array otherwise and say less; the adapter reads them all the same."""
    fake = WeavrFake(clock=clock, old_names=True)
    fake.add(ID, DONE)
    page = told(fake)
    assert sorted(page["bulk_processes"][0]) == ["bulkId", "status", "submittedItemsCount"]
    (call,) = fake.adapter(BASE).listing(ListQuery())
    read = send(fake, call)
    assert isinstance(read, Page)
    assert [(row.id, row.state) for row in read.items] == [(ID, State.QUEUED)]


def test_a_bulk_lives_through_its_words(fake, clock):
    """Times are epoch milliseconds, and there only once they have come."""
    fake.add(ID, DONE, action="/users", mode="ON_FAILURE_STOP")
    born = clock.now
    first = told(fake, f"/bulks/{ID}")
    assert (first["status"], first["operation"], first["mode"]) == ("SUBMITTED", "/users", "ON_FAILURE_STOP")
    assert not {"executionStart", "executionFinish"} & set(first)
    clock.advance(50)
    second = told(fake, f"/bulks/{ID}")
    assert (second["status"], second["executionStart"]) == ("RUNNING", int((born + 10) * 1000))
    assert "executionFinish" not in second
    clock.advance(100)
    third = told(fake, f"/bulks/{ID}")
    assert (third["status"], third["executionFinish"]) == ("COMPLETED", int((born + 110) * 1000))


def test_counts_move_evenly_while_it_runs(fake, clock):
    """Zero counts are left out, one operation runs at a time, and the sum is always the whole."""
    fake.add(ID, DONE, operations=200, failing=10)
    seen = []
    for step in (0, 10, 50, 48, 2):
        clock.advance(step)
        seen.append(counts(fake))
    assert seen == [
        {"SUBMITTED": 200},
        {"SUBMITTED": 199, "RUNNING": 1},
        {"COMPLETED": 100, "SUBMITTED": 99, "RUNNING": 1},
        {"COMPLETED": 190, "FAILED": 6, "RUNNING": 1, "SUBMITTED": 3},
        {"COMPLETED": 190, "FAILED": 10},
    ]


def test_the_order_of_the_counts_is_nothing_to_rely_on(fake, clock):
    """The same words come in more than one order."""
    fake.add(ID, DONE)
    clock.advance(15)
    orders = set()
    for _ in range(10):
        clock.advance(1)
        orders.add(tuple(each["status"] for each in told(fake, f"/bulks/{ID}")["operationStatusCounts"]))
    assert len(orders) > 1


@pytest.mark.parametrize(
    ("steps", "options", "expected"),
    [
        ([(0, "COMPLETED")], {}, {"COMPLETED": 100}),
        ([(0, "FAILED")], {}, {"SUBMITTED": 100}),
        ([(0, "FAILED")], {"failing": 1}, {"FAILED": 1, "SUBMITTED": 99}),
        ([(0, "RUNNING"), (1, "CANCELLED")], {}, {"COMPLETED": 50, "CANCELLED": 50}),
        ([(0, "RUNNING"), (1, "PAUSED")], {"failing": 2}, {"COMPLETED": 49, "FAILED": 2, "SUBMITTED": 49}),
        ([(0, "PAUSED")], {}, {"COMPLETED": 50, "SUBMITTED": 50}),
        ([(0, "SUBMITTED")], {}, {"SUBMITTED": 100}),
        ([(0, "RUNNING")], {}, {"COMPLETED": 99, "RUNNING": 1}),
        ([(0, "RUNNING")], {"succeeding": 0}, {"SUBMITTED": 100}),
        ([(0, "COMPLETED")], {"operations": 0}, {}),
        ([(0, "COMPLETED")], {"succeeding": 7, "failing": 3}, {"COMPLETED": 7, "FAILED": 3, "SUBMITTED": 90}),
    ],
)
def test_each_end_leaves_its_counts(fake, clock, steps, options, expected):
    """How many succeed follows from the life's last word, unless it is said."""
    fake.add(ID, Life.of(*steps), **{"operations": 100, **options})
    clock.advance(100)
    assert counts(fake) == expected


def test_a_pause_stops_the_counts(fake, clock):
    """Only the time spent running moves them."""
    fake.add(
        ID,
        Life.of((0, "RUNNING"), (10, "PAUSED"), (100, "RUNNING"), (110, "COMPLETED")),
        operations=100,
    )
    clock.advance(10)
    assert counts(fake) == {"COMPLETED": 50, "SUBMITTED": 50}
    clock.advance(80)
    assert counts(fake) == {"COMPLETED": 50, "SUBMITTED": 50}
    clock.advance(15)
    assert counts(fake) == {"COMPLETED": 75, "RUNNING": 1, "SUBMITTED": 24}


def test_operations_agree_with_the_counts(fake, clock):
    """Every operation has the word it is counted under, and running ones come between ended and waiting ones."""
    fake.add(ID, DONE, operations=60, failing=5)
    clock.advance(107)
    rows = told(fake, f"/bulks/{ID}/operations", limit="100")["operations"]
    assert [row["sequence"] for row in rows] == list(range(1, 61))
    words = [row["status"] for row in rows]
    assert words == ["COMPLETED"] * 55 + ["FAILED"] * 3 + ["RUNNING"] + ["SUBMITTED"]
    assert {word: words.count(word) for word in words} == counts(fake)
    assert all(isinstance(json.loads(row["requestPayload"]), dict) for row in rows)
    assert [("responsePayload" in row) for row in rows[57:60]] == [True, False, False]
    assert len({row["operationId"] for row in rows}) == 60


def test_operations_are_filtered_and_cut(fake, clock):
    """Status and sequence narrow, count counts what is left, and a page is cut out of it."""
    fake.add(ID, DONE, operations=10_000, failing=150)
    clock.advance(200)
    path = f"/bulks/{ID}/operations"
    failed = told(fake, path, status="FAILED", offset="100", limit="100")
    assert (failed["count"], failed["responseCount"], failed["operations"][0]["sequence"]) == (150, 50, 9951)
    assert told(fake, path, offset="9995")["responseCount"] == 5
    (one,) = told(fake, path, sequence="17")["operations"]
    assert (one["sequence"], one["status"]) == (17, "COMPLETED")
    for query in ({"sequence": "0"}, {"sequence": "17", "status": "FAILED"}, {"status": "RUNNING"}):
        assert told(fake, path, **query) == {"count": 0, "operations": [], "responseCount": 0}


def test_the_adapter_reads_the_operations(fake, clock):
    """Failed operations come with their code and with their payloads."""
    fake.add(ID, DONE, failing=3)
    clock.advance(200)
    query = OperationQuery(states=frozenset({"failed"}))
    page = send(fake, fake.adapter(BASE).operations(ID, query))
    assert isinstance(page, Page)
    assert [(each.sequence, each.error) for each in page.items] == [
        (number, "FUNDS_INSUFFICIENT") for number in (248, 249, 250)
    ]
    assert "Ada" in (page.items[0].request or "")


def test_the_limit_of_a_minute_is_kept_when_asked_for(clock):
    """The 101st call in a minute is told when the window ends; then calls are answered again."""
    fake = WeavrFake(clock=clock, limits=True)
    assert {ask(fake).status for _ in range(100)} == {200}
    clock.advance(20.5)
    answer = ask(fake)
    assert (answer.status, answer.body) == (429, b"")
    assert answer.headers["x-ratelimit-reset"] == "40"
    assert answer.headers["x-ratelimit-limit"].startswith("100, 100;w=60")
    with pytest.raises(RateLimited) as caught:
        send(fake, fake.adapter(BASE).probe())
    assert caught.value.retry_after == 40
    clock.advance(40)
    assert ask(fake).status == 200


def test_without_limits_any_number_of_calls_is_answered(fake):
    """The limit is off unless asked for."""
    assert {ask(fake).status for _ in range(150)} == {200}


def test_a_removed_bulk_is_gone(fake):
    """After its retention a bulk is not found."""
    fake.add(ID, DONE)
    assert fake.bulk_ids() == (ID,)
    fake.remove(ID)
    assert fake.bulk_ids() == ()
    with pytest.raises(NotFound):
        send(fake, fake.adapter(BASE).status(ID))


def test_the_demo_shows_every_end(clock):
    """Six bulks begin as submitted and are where they stay after 15 seconds, as the adapter reads them."""
    fake = WeavrFake.demo(clock=clock)
    adapter = fake.adapter(BASE)
    ids = fake.bulk_ids()
    assert ids[0] == ID
    assert len(ids) == 6
    assert {send(fake, adapter.status(id)).state for id in ids} == {State.QUEUED}
    seen_running = set()
    for _ in range(15):
        clock.advance(1)
        for id in ids:
            found = send(fake, adapter.status(id))
            if found.state is State.RUNNING and found.counts.progress:
                seen_running.add(id)
    ends = [send(fake, adapter.status(id)) for id in ids]
    assert [each.state for each in ends] == [
        State.SUCCEEDED,
        State.PARTIAL,
        State.FAILED,
        State.CANCELLED,
        State.PAUSED,
        State.UNKNOWN,
    ]
    assert ends[5].native_state == "ARCHIVING"
    assert (ends[0].counts.succeeded, ends[1].counts.failed, ends[2].counts.finished) == (250, 3, None)
    assert seen_running == set(ids) - {ids[2]}
    clock.advance(1000)
    assert [send(fake, adapter.status(id)).state for id in ids] == [each.state for each in ends]
