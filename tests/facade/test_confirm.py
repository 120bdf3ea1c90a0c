"""Lists and what they cannot know: provisional rows, their confirmation, and addresses without a list."""

import pytest

from bulkstatus import Client, State
from bulkstatus.testing import FakeTransport, Fault, Life
from bulkstatus_druid.fake import DruidFake
from bulkstatus_weavr.fake import WeavrFake
from support import NOT_THERE

WEAVR, DRUID = "https://weavr.test/multi", "https://druid.test"
SETTLED = {
    "w:1": State.RUNNING,
    "w:2": State.SUCCEEDED,
    "w:3": State.PARTIAL,
    "w:4": State.FAILED,
    "w:5": State.PARTIAL,
    "d:a-1": State.SUCCEEDED,
    "d:a-2": State.PARTIAL,
    "d:a-3": State.RUNNING,
}
LISTED = SETTLED | {"w:3": State.SUCCEEDED, "w:5": State.FAILED, "d:a-2": State.SUCCEEDED}


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Pauses between attempts that last no time."""
    monkeypatch.setattr("bulkstatus._retry._BASE", 0.001)
    monkeypatch.setattr("bulkstatus._retry._BASE_THROTTLED", 0.001)


@pytest.fixture
def weavr():
    """Bulks whose list rows say succeeded or failed where their own records say partial."""
    fake = WeavrFake()
    fake.add("1", Life.of((0, "RUNNING")))
    fake.add("2", Life.of((0, "COMPLETED")), operations=10)
    fake.add("3", Life.of((0, "COMPLETED")), operations=10, failing=4)
    fake.add("4", Life.of((0, "FAILED")), operations=10)
    fake.add("5", Life.of((0, "FAILED")), operations=10, failing=4, succeeding=6)
    return fake


@pytest.fixture
def druid():
    """A completed bulk with failed results, one without, and one that goes on."""
    fake = DruidFake()
    fake.add("a-1", Life.of((0, "completed")), users=10)
    fake.add("a-2", Life.of((0, "completed")), users=10, failed=3)
    fake.add("a-3", Life.of((0, "processing")))
    return fake


@pytest.fixture
def client(weavr, druid):
    """A client of the two."""
    adapters = {"w": weavr.adapter(WEAVR), "d": druid.adapter(DRUID)}
    with Client(adapters, transport=FakeTransport({WEAVR: weavr, DRUID: druid})) as client:
        yield client


def states(report):
    """The states of a report by ref."""
    return {str(status.ref): status.state for status in report}


def one_by_one(fake):
    """How many requests were about a single bulk."""
    return sum("/bulks/" in request.path or "/bulk/" in request.path for request in fake.requests)


def test_a_list_tells_ends_that_are_provisional(weavr, druid, client):
    """Without `confirm` nothing is asked about a single bulk, and what may be corrected says so."""
    report = client.list()
    assert states(report) == LISTED
    provisional = {str(status.ref) for status in report if status.provisional}
    assert provisional == {"w:2", "w:3", "w:4", "w:5", "d:a-1", "d:a-2"}
    assert one_by_one(weavr) == one_by_one(druid) == 0


def test_with_confirm_each_of_them_is_settled(weavr, druid, client):
    """By a request each, and the states are those that `get` gives."""
    report = client.list(confirm=True)
    assert states(report) == SETTLED
    assert not any(status.provisional for status in report)
    assert report.complete
    assert (one_by_one(weavr), one_by_one(druid)) == (4, 2)
    assert {ref: client.get(ref).state for ref in SETTLED} == SETTLED


def test_confirmed_rows_keep_their_places(client):
    """The order is that of the lists."""
    assert [status.ref for status in client.list(confirm=True)] == [status.ref for status in client.list()]


@pytest.mark.parametrize(
    "wanted",
    [{"partial"}, {"failed"}, {"succeeded"}, {"failed", "partial"}, {"running", "partial"}, {"running"}],
)
def test_a_filter_holds_for_the_confirmed_states(client, wanted):
    """What the list calls failed or succeeded may be partial: it is looked at, and left out if it is not."""
    report = client.list(states=wanted, confirm=True)
    assert states(report) == {ref: state for ref, state in SETTLED.items() if state in wanted}
    assert report.complete


def test_a_filter_without_confirm_goes_by_the_word_of_the_list(client):
    """As documented; the rows are marked."""
    report = client.list(states={"failed"})
    assert states(report) == {"w:4": State.FAILED, "w:5": State.FAILED}
    assert all(status.provisional for status in report)


def test_a_filter_on_other_states_asks_for_nothing_more(weavr, client):
    """Running is not corrected by anything."""
    client.list(states={"running"}, sources=["w"], confirm=True)
    assert [request.query.get("status") for request in weavr.requests] == ["RUNNING"]


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault(status=404, body=NOT_THERE, times=None), "not_found"),
        (Fault(status=400, times=None), "rejected"),
    ],
    ids=["404", "400"],
)
def test_a_row_that_cannot_be_confirmed_is_a_failure_and_no_status(weavr, client, fault, kind):
    """Nobody knows its state, so none is shown; the others are."""
    fault.where = "/bulks/5"
    weavr.fail(fault)
    report = client.list(confirm=True)
    assert states(report) == {ref: state for ref, state in SETTLED.items() if ref != "w:5"}
    (failure,) = report.failures
    assert (failure.source, failure.id, failure.kind) == ("w", "5", kind)
    assert not report.complete


def test_a_row_that_cannot_be_confirmed_is_a_failure_under_a_filter_too(weavr, client):
    """It might have been one of those asked for."""
    weavr.fail(Fault(status=400, where="/bulks/5", times=None))
    report = client.list(states={"partial"}, sources=["w"], confirm=True)
    assert states(report) == {"w:3": State.PARTIAL}
    assert [failure.id for failure in report.failures] == ["5"]


# --- no list at this address ---


@pytest.mark.parametrize("source", ["w", "d"])
@pytest.mark.parametrize("confirm", [True, False])
def test_an_address_without_a_list_is_no_missing_bulk(weavr, druid, client, source, confirm):
    """A 404 for the list says that base_url is wrong; `not_found` would read as a bulk that is gone."""
    fake, where = {"w": (weavr, "/bulks"), "d": (druid, "/user/bulk")}[source]
    fake.fail(Fault(status=404, body=NOT_THERE, where=where, times=None))
    report = client.list(confirm=confirm)
    (failure,) = report.failures
    assert (failure.source, failure.kind, failure.reason) == (source, "protocol", "no_list")
    assert (failure.status, failure.id, failure.retryable) == (404, None, False)
    assert "base_url" in failure.message
    assert {status.source for status in report} == {"w", "d"} - {source}


@pytest.mark.parametrize("source", ["w", "d"])
def test_check_says_the_same(weavr, druid, client, source):
    """Something answers there, and whether it takes the credentials cannot be told from a 404."""
    fake, where = {"w": (weavr, "/bulks"), "d": (druid, "/user/bulk")}[source]
    fake.fail(Fault(status=404, body=NOT_THERE, where=where, times=None))
    (look,) = client.check(sources=[source])
    assert (look.failure.kind, look.failure.reason, look.failure.status) == ("protocol", "no_list", 404)
    assert (look.failure.source, look.failure.provider) == (source, fake.word)
    assert (look.reachable, look.accepted) == (True, None)
