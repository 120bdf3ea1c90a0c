"""Asking for many bulks: in as few requests as the providers allow, and with nothing lost on the way."""

import pytest

from bulkstatus import Client, ConfigError, Policy, ProtocolError, State
from bulkstatus.adapter import Call
from bulkstatus.testing import FakeTransport, Fault, Life
from bulkstatus_cloudflare.fake import CloudflareFake
from bulkstatus_druid.fake import DruidFake
from bulkstatus_weavr.fake import WeavrFake
from support import Plain, Scripted

WEAVR, DRUID, CLOUDFLARE = (
    "https://weavr.test/multi",
    "https://druid.test",
    "https://cloudflare.test/client/v4",
)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Pauses between attempts that last no time."""
    monkeypatch.setattr("bulkstatus._retry._BASE", 0.001)
    monkeypatch.setattr("bulkstatus._retry._BASE_THROTTLED", 0.001)


@pytest.fixture
def weavr():
    """A Weavr without bulks."""
    return WeavrFake()


@pytest.fixture
def druid():
    """A DRUID without bulks."""
    return DruidFake()


@pytest.fixture
def cloudflare():
    """A Cloudflare without bulks."""
    return CloudflareFake()


@pytest.fixture
def client(weavr, druid, cloudflare):
    """A client of the three."""
    adapters = {"w": weavr.adapter(WEAVR), "d": druid.adapter(DRUID), "c": cloudflare.adapter(CLOUDFLARE)}
    transport = FakeTransport({WEAVR: weavr, DRUID: druid, CLOUDFLARE: cloudflare})
    with Client(adapters, transport=transport, policy=Policy()) as client:
        yield client


def fill(weavr, count, word="RUNNING", first=1):
    """So many bulks with one word; their refs."""
    for number in range(first, first + count):
        weavr.add(str(number), Life.of((0, word)), operations=5)
    return [f"w:{number}" for number in range(first, first + count)]


def paths(fake):
    """What a fake was asked for, queries left out."""
    return [request.path for request in fake.requests]


def refs_of(report):
    """The refs of a report's statuses, in order."""
    return [str(status.ref) for status in report]


def test_statuses_come_in_the_order_asked_for_across_sources(weavr, druid, client):
    """Whoever answers first."""
    fill(weavr, 3)
    for id in ("a-1", "a-2"):
        druid.add(id, Life.of((0, "processing")))
    wanted = ["d:a-2", "w:3", "d:a-1", "w:1", "w:2"]
    report = client.get_many(wanted)
    assert refs_of(report) == wanted
    assert report.complete


def test_a_reference_that_repeats_counts_once(weavr, client):
    """In the report and in the requests."""
    fill(weavr, 2)
    assert refs_of(client.get_many(["w:2", "w:1", "w:2", "w:2"])) == ["w:2", "w:1"]
    assert len(weavr.requests) == 2


def test_nothing_asked_is_an_empty_report(weavr, client):
    """And no request."""
    report = client.get_many([])
    assert (len(report), report.complete, weavr.requests) == (0, True, [])


def test_refs_may_come_from_an_iterator(weavr, client):
    """They are read once."""
    assert refs_of(client.get_many(iter(fill(weavr, 4)))) == ["w:1", "w:2", "w:3", "w:4"]


def test_one_bad_reference_stops_all_before_anything_is_sent(weavr, client):
    """No half of a question is asked."""
    with pytest.raises(ConfigError):
        client.get_many([*fill(weavr, 50), "w:not-a-number"])
    assert weavr.requests == []


@pytest.mark.parametrize("count", [1, 2])
def test_one_or_two_bulks_of_a_paged_list_are_asked_for_by_id(weavr, client, count):
    """A look at the list would cost as much."""
    client.get_many(fill(weavr, 100)[:count])
    assert sorted(paths(weavr)) == [f"/multi/bulks/{number}" for number in range(1, count + 1)]


@pytest.mark.parametrize("count", [3, 50, 100])
def test_many_running_bulks_cost_a_page(weavr, client, count):
    """One list request answers for a hundred."""
    wanted = fill(weavr, count)
    assert refs_of(client.get_many(wanted)) == wanted
    assert paths(weavr) == ["/multi/bulks"]


@pytest.mark.parametrize(("count", "requests"), [(101, 2), (250, 3), (1000, 10)])
def test_more_bulks_than_a_page_holds_cost_the_pages(weavr, client, count, requests):
    """As many pages as there are, and nothing by id."""
    wanted = fill(weavr, count)
    assert refs_of(client.get_many(wanted)) == wanted
    assert len(weavr.requests) == requests


def test_bulks_far_down_a_long_list_are_asked_for_by_id(weavr, client):
    """Four old bulks below a thousand new ones are not looked for page by page."""
    wanted = fill(weavr, 4)
    fill(weavr, 1000, first=100)
    assert refs_of(client.get_many(wanted)) == wanted
    assert len(weavr.requests) <= 5


def test_a_bulk_that_the_list_lacks_is_asked_for_by_id(weavr, client):
    """Missing from a list is not finished and not gone: its own record decides."""
    wanted = fill(weavr, 5)
    answer = weavr.answer

    def without_three(request):
        if request.path == "/multi/bulks":
            hidden = weavr._bulks.pop("3")
            response = answer(request)
            weavr._bulks["3"] = hidden
            return response
        return answer(request)

    weavr.answer = without_three
    report = client.get_many(wanted)
    assert refs_of(report) == wanted
    assert paths(weavr) == ["/multi/bulks", "/multi/bulks/3"]


def test_a_bulk_that_is_nowhere_is_a_failure_of_its_own(weavr, client):
    """The others come; the failure names the id."""
    report = client.get_many([*fill(weavr, 4), "w:999"])
    assert refs_of(report) == ["w:1", "w:2", "w:3", "w:4"]
    (failure,) = report.failures
    assert (failure.kind, failure.source, failure.id) == ("not_found", "w", "999")
    assert not report.complete


def test_ended_rows_are_confirmed_where_the_list_says_less(weavr, client):
    """A list row of an ended bulk has no counts, which may turn `succeeded` into `partial`: it is asked for."""
    wanted = fill(weavr, 4)
    weavr.add("5", Life.of((0, "COMPLETED")), operations=10, failing=4)
    report = client.get_many([*wanted, "w:5"])
    assert [status.state for status in report] == [State.RUNNING] * 4 + [State.PARTIAL]
    assert paths(weavr) == ["/multi/bulks", "/multi/bulks/5"]


@pytest.mark.parametrize("ended", [5, 20])
def test_get_many_says_what_get_says(weavr, client, ended):
    """However it was found out, the state is the same."""
    for number in range(ended):
        weavr.add(str(number), Life.of((0, "PARTIALLY_COMPLETED")), operations=10, failing=number % 11)
    wanted = [f"w:{number}" for number in range(ended)]
    many = [(status.state, status.counts) for status in client.get_many(wanted)]
    assert len(weavr.requests) <= ended + 1
    assert many == [(one.state, one.counts) for one in map(client.get, wanted)]


def test_completed_druid_bulks_are_decided_by_their_failed_results(druid, client):
    """One list, and one look at the failed results of each that says completed."""
    druid.add("a-1", Life.of((0, "completed")), users=10)
    druid.add("a-2", Life.of((0, "completed")), users=10, failed=1)
    druid.add("a-3", Life.of((0, "processing")))
    report = client.get_many(["d:a-1", "d:a-2", "d:a-3"])
    assert [status.state for status in report] == [State.SUCCEEDED, State.PARTIAL, State.RUNNING]
    bulk = "/activityid/v1/user/bulk"
    assert sorted(paths(druid)) == sorted(
        ["/oauth2/token", bulk, f"{bulk}/a-1/results", f"{bulk}/a-2/results"]
    )


def test_a_provider_without_a_list_is_asked_bulk_by_bulk(cloudflare, client):
    """As many requests as bulks."""
    for number in range(5):
        cloudflare.add(f"b{number}", Life.of((0, "running")))
    assert len(client.get_many([f"c:b{number}" for number in range(5)])) == 5
    assert len(cloudflare.requests) == 5


def test_a_list_that_cannot_be_read_costs_no_answer(weavr, client):
    """When the list is broken, each bulk is asked for by its id."""
    wanted = fill(weavr, 4)
    answer = weavr.answer

    def broken(request):
        response = answer(request)
        return type(response)(body=b"<html>") if request.path == "/multi/bulks" else response

    weavr.answer = broken
    report = client.get_many(wanted)
    assert refs_of(report) == wanted
    assert report.complete


@pytest.mark.parametrize(("status", "kind"), [(401, "auth"), (429, "rate_limited"), (503, "unavailable")])
def test_what_concerns_the_whole_source_is_one_failure(weavr, client, status, kind):
    """Refused or throttled once is not tried again for each of fifty bulks."""
    weavr.fail(Fault(status=status, headers={"X-RateLimit-Reset": "3600"}, times=None))
    report = client.get_many(fill(weavr, 50))
    assert [(failure.kind, failure.id) for failure in report.failures] == [(kind, None)]
    assert len(weavr.requests) <= 4


def test_a_source_that_is_down_hides_no_other(weavr, druid, client):
    """The statuses of the others come."""
    druid.add("a-1", Life.of((0, "processing")))
    weavr.fail(Fault(drop=True, times=None))
    report = client.get_many(["w:1", "d:a-1"])
    assert refs_of(report) == ["d:a-1"]
    assert [(failure.source, failure.id) for failure in report.failures] == [("w", "1")]


def test_what_is_not_done_in_time_is_named_and_the_rest_is_kept(weavr, cloudflare, client):
    """A deadline ends the waiting, not the answers that are there."""
    cloudflare.add("b1", Life.of((0, "running")))
    cloudflare.add("b2", Life.of((0, "running")))
    cloudflare.fail(Fault(delay=5, times=None, where="b2"))
    report = client.get_many([*fill(weavr, 3), "c:b1", "c:b2"], timeout=2)
    assert refs_of(report) == ["w:1", "w:2", "w:3", "c:b1"]
    assert [(failure.source, failure.kind) for failure in report.failures] == [("c", "deadline")]


class Misnamed(Plain, frozen=True, kw_only=True):
    """A stranger's adapter that writes a name of its own where the source belongs."""

    named: str

    def status(self, id):
        call = super().status(id)
        return Call(call.request, lambda response: call.read(response).changed(source=self.named))


@pytest.mark.parametrize("named", ["other", "plain", ""])
def test_an_adapter_that_names_another_source_is_found_out(named):
    """Else the bulk would be in no report, and the report complete, or it would be told of another source's bulk."""
    fakes = {"https://one.test": Scripted(), "https://two.test": Scripted()}
    adapters = {
        "s": Misnamed(base_url="https://one.test", named=named),
        "other": Plain(base_url="https://two.test"),
    }
    with Client(adapters, transport=FakeTransport(fakes)) as client:
        report = client.get_many(["s:a1", "other:a2"])
        with pytest.raises(ProtocolError, match="named another source"):
            client.get("s:a1")
    assert [str(status.ref) for status in report] == ["other:a2"]
    assert [(failure.source, failure.id, failure.reason) for failure in report.failures] == [
        ("s", "a1", "adapter")
    ]
