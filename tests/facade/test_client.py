"""The facade: what each question gives, who is asked, and what a source that is down does to the others."""

import gc
import json
import pickle
import threading
import warnings
from collections import deque
from concurrent.futures import ThreadPoolExecutor

import anyio
import pytest

from bulkstatus import (
    AsyncClient,
    AuthError,
    BulkStatusError,
    Client,
    ConfigError,
    DeadlineExceeded,
    NotFound,
    Policy,
    ProtocolError,
    Ref,
    Report,
    State,
    Unavailable,
)
from bulkstatus.testing import FakeResponse, FakeTransport, Fault, Life, serve
from bulkstatus_cloudflare import Cloudflare
from bulkstatus_cloudflare.fake import CloudflareFake
from bulkstatus_druid import Druid
from bulkstatus_druid.fake import DruidFake
from bulkstatus_weavr import Weavr
from bulkstatus_weavr.fake import WeavrFake
from support import Plain, Scripted

URLS = {
    "payments": "https://weavr.test/multi",
    "edge": "https://cloudflare.test/client/v4",
    "crm": "https://druid.test",
}
EDGE_ID = "7be1c3f09a5d4e21b6c8d7f00a94e152"
CRM_IDS = ("019a0a00-1111-7222-8333-444455556666", "019a0a00-2222-7333-8444-555566667777")


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Pauses between attempts that last no time."""
    monkeypatch.setattr("bulkstatus._retry._BASE", 0.001)
    monkeypatch.setattr("bulkstatus._retry._BASE_THROTTLED", 0.001)


class World:
    """Three providers with a few bulks each, in process, and a client of them."""

    def __init__(self):
        self.weavr = WeavrFake()
        for id, word in (("1", "RUNNING"), ("2", "PAUSED"), ("3", "COMPLETED"), ("4", "SUBMITTED")):
            self.weavr.add(id, Life.of((0, word)), operations=4)
        self.cloudflare = CloudflareFake()
        self.cloudflare.add(EDGE_ID, Life.of((0, "running")))
        self.druid = DruidFake()
        self.druid.add(CRM_IDS[0], Life.of((0, "completed")), failed=2)
        self.druid.add(CRM_IDS[1], Life.of((0, "processing")))
        self.fakes = {"payments": self.weavr, "edge": self.cloudflare, "crm": self.druid}

    @property
    def transport(self):
        return FakeTransport({URLS[name]: fake for name, fake in self.fakes.items()})

    @property
    def adapters(self):
        return {name: fake.adapter(URLS[name]) for name, fake in self.fakes.items()}

    def client(self, **options):
        return Client(self.adapters, transport=self.transport, **options)


@pytest.fixture
def world():
    """The three providers."""
    return World()


@pytest.fixture
def client(world):
    """A blocking client of the three."""
    with world.client() as client:
        yield client


# --- get ---


def test_get_gives_one_status_from_each_provider(client):
    """The same words, whoever runs the bulk."""
    states = {ref: client.get(ref).state for ref in ("payments:1", f"edge:{EDGE_ID}", f"crm:{CRM_IDS[0]}")}
    assert list(states.values()) == ["running", "running", "partial"]


def test_a_status_tells_where_it_is_from(client):
    """Source, provider, id and the provider's own word are there, and the times are in UTC."""
    status = client.get("payments:1")
    assert (status.source, status.provider, status.id) == ("payments", "weavr", "1")
    assert status.ref == Ref("payments", "1")
    assert status.native_state == "RUNNING"
    assert status.observed_at.utcoffset().total_seconds() == 0
    assert status.evidence
    assert b'"bulkId"' in status.raw


def test_a_ref_may_be_a_ref(client):
    """Text and Ref address the same."""
    assert client.get(Ref("payments", "1")).id == "1"


@pytest.mark.parametrize(
    ("ref", "words"),
    [
        ("payments", "source:id"),
        (":1", "source:id"),
        ("payments:", "source:id"),
        ("", "source:id"),
        ("payment:1", "did you mean 'payments'"),
        ("nobody:1", "there are: payments, edge, crm"),
        ("payments:abc", "1 to 32 digits"),
        ("payments:../1", "digits"),
        ("payments:\uff11\uff12", "digits"),
        ("payments:1\n", "digits"),
        ("payments:1\0", "digits"),
        ("payments:-1", "digits"),
        ("payments:" + "1" * 300, "digits"),
        ("payments:" + "1" * 70_000, "digits"),
        ("edge:..", "letters"),
        ("edge:a/b", "letters"),
        ("edge:-rf", "letters"),
        ("edge:a%2fb", "letters"),
        ("crm:a?x=1", "letters"),
        ("crm:https://evil.test", "letters"),
        ("crm:\x1b[31m", "letters"),
        ("crm:\u202e", "letters"),
    ],
)
def test_a_reference_that_cannot_be_one_is_refused_before_anything_is_sent(world, client, ref, words):
    """The error says what an id looks like here, in printable text, and no provider hears of it."""
    for question in (lambda: client.get(ref), lambda: client.get_many(["payments:1", ref])):
        with pytest.raises(ConfigError, match=words) as caught:
            question()
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 400
    assert [fake.requests for fake in world.fakes.values()] == [[], [], []]


def test_a_source_that_is_not_there_is_all_that_is_told(client):
    """Not what came before it in here: a traceback begins with the error that says what to do."""
    with pytest.raises(ConfigError, match="there is no source 'payment'; did you") as caught:
        client.get("payment:1")
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)


def test_an_unknown_bulk_is_not_found(client):
    """The error is a LookupError, and tells who was asked for what."""
    with pytest.raises(NotFound) as caught:
        client.get("payments:404")
    error = caught.value
    assert isinstance(error, LookupError)
    assert (error.source, error.provider, error.id, error.status) == ("payments", "weavr", "404", 404)
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error)


def test_a_bulk_that_failed_is_an_answer(world, client):
    """Failure of a bulk is a state and never an exception."""
    world.weavr.add("9", Life.of((0, "FAILED")))
    assert client.get("payments:9").state is State.FAILED


# --- list ---


def test_list_gives_the_bulks_of_all_sources_and_names_those_without_a_list(client):
    """Rows in the order of the sources; the provider without a list is skipped, which is no failure."""
    report = client.list()
    assert {status.id for status in report if status.source == "payments"} == {"1", "2", "3", "4"}
    assert {status.id for status in report if status.source == "crm"} == set(CRM_IDS)
    assert [status.source for status in report] == ["payments"] * 4 + ["crm"] * 2
    assert len(report) == 6
    assert [skipped.source for skipped in report.skipped] == ["edge"]
    assert report.complete
    report.raise_for_failures()


@pytest.mark.parametrize(
    ("states", "ids"),
    [
        ({"running"}, {"1", CRM_IDS[1]}),
        ({"running", "paused"}, {"1", "2", CRM_IDS[1]}),
        ([State.QUEUED], {"4"}),
        ("paused", {"2"}),
        ({"expired"}, set()),
        (None, {"1", "2", "3", "4", *CRM_IDS}),
    ],
)
def test_list_can_be_narrowed_to_states(client, states, ids):
    """Only rows in those states come, whatever the providers can filter."""
    assert {status.id for status in client.list(states=states)} == ids


@pytest.mark.parametrize("wrong", [set(), [], [None], [1], b"paused"])
@pytest.mark.parametrize("argument", ["states", "sources"])
def test_nothing_named_is_not_everything_and_not_nothing(client, argument, wrong):
    """An empty filter is a mistake somewhere, and an empty report would read as an answer."""
    with pytest.raises(ConfigError, match=argument):
        client.list(**{argument: wrong})


@pytest.mark.parametrize("wrong", [0, -1, float("nan"), float("inf"), "3", True])
def test_a_timeout_is_a_number_of_seconds(client, wrong):
    """What cannot be one is refused before anything is sent."""
    with pytest.raises(ConfigError, match="timeout"):
        client.get("payments:1", timeout=wrong)
    with pytest.raises(ConfigError, match="timeout"):
        client.list(timeout=wrong)


@pytest.mark.parametrize("wrong", [None, 1, b"payments:1", ["payments:1"]])
def test_a_reference_is_a_text(client, wrong):
    """Anything else is refused with what it should look like."""
    with pytest.raises(ConfigError, match="reference"):
        client.get(wrong)


def test_one_reference_may_stand_alone(client):
    """A text is not taken apart into letters."""
    assert [status.id for status in client.get_many("payments:1")] == ["1"]


@pytest.mark.parametrize("wrong", [-1, "a", 1.5, True])
def test_a_sequence_is_a_whole_number(client, wrong):
    """It is checked at once."""
    with pytest.raises(ConfigError, match="sequence"):
        client.operations("payments:1", sequence=wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"attempts": 0},
        {"connections": 0},
        {"connections": True},
        {"request_timeout": 0},
        {"request_timeout": "x"},
        {"patience": -1},
        {"patience": float("nan")},
    ],
)
def test_a_policy_that_cannot_work_is_refused(wrong):
    """It would hang, or never ask."""
    (name,) = wrong
    with pytest.raises(ConfigError, match=f"Policy.{name}"):
        Policy(**wrong)


def test_list_can_be_narrowed_to_sources(world, client):
    """The others are not asked."""
    assert {status.source for status in client.list(sources=["crm"])} == {"crm"}
    assert world.weavr.requests == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"states": {"runing"}}, "did you mean 'running'"),
        ({"states": "done"}, "not a state"),
        ({"sources": ["payment"]}, "did you mean 'payments'"),
        ({"sources": ["edge"]}, "no list of bulks"),
        ({"sources": []}, "source"),
    ],
)
def test_a_list_that_cannot_be_asked_for_is_a_config_error(world, client, options, words):
    """A wrong word is named with the right one, and nothing is sent."""
    with pytest.raises(ConfigError, match=words):
        client.list(**options)
    assert world.weavr.requests == world.druid.requests == []


def test_a_source_that_is_down_hides_no_other_and_is_not_silent(world, client):
    """The rows of the others come, the report is not complete, and the failure says what happened."""
    world.weavr.fail(Fault(drop=True, times=None))
    report = client.list()
    assert {status.source for status in report} == {"crm"}
    assert not report.complete
    (failure,) = report.failures
    assert (failure.source, failure.provider, failure.kind) == ("payments", "weavr", "unavailable")
    assert failure.retryable
    assert failure.id is None
    with pytest.raises(Unavailable, match="payments"):
        report.raise_for_failures()


def test_a_list_that_breaks_off_keeps_the_rows_before_it(world, client):
    """What a source gave before it failed is in the report, beside the failure."""
    for number in range(100, 350):
        world.weavr.add(str(number), Life.of((0, "RUNNING")))
    answers = []
    answer = world.weavr.answer

    def failing(request):
        answers.append(request)
        if request.query.get("offset"):
            raise_it = Fault(status=500, times=None)
            world.weavr.fail(raise_it)
        return answer(request)

    world.weavr.answer = failing
    report = client.list(sources=["payments"])
    assert len(report) >= 100
    assert [failure.kind for failure in report.failures] == ["unavailable"]


@pytest.mark.parametrize("sent", [0, 1, 3])
def test_rows_that_are_claimed_and_not_sent_are_missed(world, client, sent):
    """A page that counts more rows than it holds does not make a short list a complete one."""
    answer = world.weavr.answer

    def short(request):
        response = answer(request)
        if request.path != "/multi/bulks":
            return response
        body = json.loads(response.body)
        offset = int(request.query.get("offset", 0))
        rows = body["bulkProcesses"][: max(0, sent - offset)]
        body |= {"bulkProcesses": rows, "responseCount": 4 - offset, "count": 4}
        return FakeResponse.json(body)

    world.weavr.answer = short
    report = client.list(sources=["payments"])
    assert len(report) == sent
    assert [(failure.kind, failure.reason) for failure in report.failures] == [("protocol", "short_listing")]
    assert not report.complete


def test_several_failures_are_raised_as_one_with_notes(world, client):
    """The first is raised, and the others are named in its notes."""
    world.weavr.fail(Fault(status=401, times=None))
    world.druid.fail(Fault(status=503, times=None))
    report = client.list()
    assert (len(report), len(report.failures)) == (0, 2)
    with pytest.raises(BulkStatusError) as caught:
        report.raise_for_failures()
    assert len(caught.value.__notes__) == 1
    assert {failure.kind for failure in report.failures} == {"auth", "unavailable"}


def test_a_source_that_is_not_done_in_time_is_named(world):
    """The rows of those that were in time come; the other is a failure of kind `deadline`."""
    world.weavr.fail(Fault(delay=5, times=None))
    with world.client() as client:
        report = client.list(timeout=2)
    assert {status.source for status in report} == {"crm"}
    (failure,) = report.failures
    assert (failure.source, failure.provider, failure.kind) == ("payments", "weavr", "deadline")
    with pytest.raises(DeadlineExceeded):
        report.raise_for_failures()


def test_a_bug_in_one_adapter_hides_no_other_source(world):
    """A stranger's adapter that cannot even build its request costs its own rows only."""

    class Faulty(Weavr, frozen=True, kw_only=True):
        def listing(self, query):
            raise ZeroDivisionError

    faulty = Faulty(base_url=URLS["payments"], api_key="k", auth_token="t")
    adapters = {"faulty": faulty, **world.adapters}
    with Client(adapters, transport=world.transport) as client:
        report = client.list()
    assert {status.source for status in report} == {"payments", "crm"}
    assert [failure.source for failure in report.failures] == ["faulty"]


# --- operations ---


def test_ten_thousand_operations_come_complete_and_in_order_for_a_hundred_requests(world, client):
    """Pages are read side by side, and none is read twice."""
    world.weavr.add("77", Life.of((0, "COMPLETED")), operations=10_000)
    found = [operation.sequence for operation in client.operations("payments:77")]
    assert found == list(range(1, 10_001))
    assert len(world.weavr.requests) == 100


def test_a_few_operations_cost_a_few_requests(world, client):
    """Pages are asked for as they are taken."""
    world.weavr.add("77", Life.of((0, "COMPLETED")), operations=10_000)
    operations = client.operations("payments:77")
    assert [next(operations).sequence for _ in range(3)] == [1, 2, 3]
    assert len(world.weavr.requests) == 1
    operations.close()


def test_operations_can_be_narrowed_to_states_and_to_one_position(world, client):
    """Only the rows that were asked for come."""
    world.weavr.add("77", Life.of((0, "PARTIALLY_COMPLETED")), operations=250, failing=120)
    failed = list(client.operations("payments:77", states={"failed"}))
    assert len(failed) == 120
    assert {operation.state for operation in failed} == {State.FAILED}
    assert [operation.sequence for operation in client.operations("payments:77", sequence=5)] == [5]
    both = list(client.operations("payments:77", states={"failed", "succeeded"}))
    assert [operation.sequence for operation in both] == list(range(1, 251))


@pytest.mark.parametrize(
    ("ref", "options", "source"),
    [
        (f"edge:{EDGE_ID}", {}, "edge"),
        (f"crm:{CRM_IDS[0]}", {"sequence": 3}, "crm"),
        (f"crm:{CRM_IDS[0]}", {"states": {"succeeded"}}, "crm"),
        ("payments:1", {"states": {"nonsense"}}, ""),
        ("payments:1", {"sequence": -1}, ""),
    ],
)
def test_operations_that_cannot_be_had_are_refused_at_once(world, client, ref, options, source):
    """Before the first row is taken, and before anything is sent."""
    with pytest.raises(ConfigError) as caught:
        client.operations(ref, **options)
    assert source in {caught.value.source, ""}
    if source:
        assert caught.value.source == source
    assert [fake.requests for fake in world.fakes.values()] == [[], [], []]


def test_operations_of_an_unknown_bulk_are_not_found(client):
    """The error comes with the first row, and names the bulk."""
    operations = client.operations("payments:404")
    with pytest.raises(NotFound) as caught:
        next(operations)
    assert (caught.value.source, caught.value.provider, caught.value.id) == ("payments", "weavr", "404")


def test_operations_that_are_promised_and_do_not_come_are_said(world, client):
    """All rows there are come first; then an error that names source, provider and bulk."""
    world.weavr.add("77", Life.of((0, "COMPLETED")), operations=150)
    answer = world.weavr.answer

    def promising(request):
        response = answer(request)
        return type(response)(
            status=response.status,
            body=response.body.replace(b'"count": 150', b'"count": 170'),
            headers=response.headers,
        )

    world.weavr.answer = promising
    found = []
    with pytest.raises(ProtocolError) as caught:
        deque(map(found.append, client.operations("payments:77")), maxlen=0)
    assert [operation.sequence for operation in found] == list(range(1, 151))
    assert (caught.value.source, caught.value.provider, caught.value.id) == ("payments", "weavr", "77")


def test_payloads_show_up_only_where_asked_for(world, client):
    """They hold personal data: neither repr nor equality nor JSON has them."""
    world.weavr.add("77", Life.of((0, "COMPLETED")), operations=1)
    (operation,) = client.operations("payments:77")
    assert "Ada" in operation.request
    assert "Ada" not in repr(operation)


# --- check ---


def test_check_looks_at_every_source_once(world, client):
    """Reachable and accepted, with what the provider documents."""
    health = client.check()
    assert [(look.source, look.reachable, look.accepted) for look in health] == [
        ("payments", True, True),
        ("edge", True, True),
        ("crm", True, True),
    ]
    assert [look.listing for look in health] == [True, False, True]
    assert [look.operations for look in health] == [True, False, True]
    assert len(world.weavr.requests) == len(world.cloudflare.requests) == 1


def test_check_tells_a_refusal_from_an_outage(world, client):
    """A 401 shows that the provider is there; a dropped connection shows nothing about the credentials."""
    world.weavr.fail(Fault(status=401, times=None))
    world.druid.fail(Fault(drop=True, times=None))
    looks = {look.source: look for look in client.check()}
    assert (looks["payments"].reachable, looks["payments"].accepted) == (True, False)
    assert (looks["crm"].reachable, looks["crm"].accepted) == (False, None)
    assert looks["edge"].failure is None
    assert looks["crm"].failure.kind == "unavailable"


def test_check_of_a_provider_without_a_cheap_question_tells_nothing():
    """None is not false."""
    with Client({"plain": Plain(base_url="https://plain.test")}) as client:
        (look,) = client.check()
    assert (look.reachable, look.accepted, look.failure) == (None, None, None)


def test_credentials_that_cannot_be_fetched_show_nothing_about_the_provider(world):
    """Nobody was asked, so whether it is reachable is not known."""

    def fetch():
        raise OSError

    adapter = Cloudflare(account_id="0" * 32, token=fetch, base_url=URLS["edge"])
    with Client({"edge": adapter}, transport=world.transport) as client:
        (look,) = client.check()
    assert (look.reachable, look.accepted) == (None, False)


def test_check_of_one_source_in_a_short_time(world, client):
    """A source that takes too long is not reachable."""
    world.weavr.fail(Fault(delay=5, times=None))
    (look,) = client.check(sources=["payments"], timeout=0.1)
    assert (look.reachable, look.accepted, look.failure.kind) == (False, None, "deadline")


# --- building and life ---


@pytest.mark.parametrize("name", ["", "a:b", "a b", "../x", "-x", "é", "a" * 65, "a\n", "\x1b[31m"])
def test_a_source_has_a_plain_name(name):
    """A name that could not stand in a reference is refused."""
    with pytest.raises(ConfigError) as caught:
        Client({name: Plain(base_url="https://plain.test")})
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("sources", [{}, {"a": object()}, {"a": Plain}])
def test_sources_are_adapters(sources):
    """No source, or something else in its place, is an error at once."""
    with pytest.raises(ConfigError):
        Client(sources)


def test_sources_are_told_with_their_providers(client):
    """Names and provider words, in order."""
    assert client.sources == {"payments": "weavr", "edge": "cloudflare", "crm": "druid"}


def test_many_threads_may_share_a_client_from_its_first_question_on(world):
    """Thirty-two threads begin at once; all get their answers, over one loop thread."""
    client = world.client(policy=Policy(connections=4))
    begin = threading.Barrier(32)

    def question(_):
        begin.wait(10)
        return [client.get("payments:1").state, len(client.list(sources=["crm"]))]

    with ThreadPoolExecutor(32) as threads:
        found = list(threads.map(question, range(32)))
    loops = [thread for thread in threading.enumerate() if thread.name == "bulkstatus"]
    client.close()
    assert found == [[State.RUNNING, 2]] * 32
    assert len(loops) == 1


def test_a_client_can_be_used_after_it_was_closed(world):
    """Closing ends the connections and the thread; the next question begins anew."""
    client = world.client()
    for _ in range(3):
        assert client.get("payments:1").id == "1"
        client.close()
        assert not [thread for thread in threading.enumerate() if thread.name == "bulkstatus"]
    client.close()


def test_a_client_that_was_not_closed_warns(world):
    """A forgotten client is a ResourceWarning, a closed or unused one is none."""
    client = world.client()
    client.get("payments:1")
    thread = client._thread
    with pytest.warns(ResourceWarning, match="not closed"):  # noqa: PT031 - two steps make one end
        del client
        gc.collect()
    thread.close()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        unused = world.client()
        del unused
        gc.collect()


def test_closing_lets_go_of_those_who_wait(world):
    """A question under way in another thread ends with an error when the client is closed."""
    world.weavr.fail(Fault(delay=30, times=None))
    client = world.client()
    began = threading.Event()

    def question():
        began.set()
        return client.get("payments:1")

    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(question)
        began.wait(5)
        while not world.weavr.requests:
            pass
        client.close()
        with pytest.raises(Unavailable, match="closed"):
            waiting.result(10)


def test_an_iteration_that_is_given_up_leaves_nothing_behind(world):
    """Dropping the iterator early is no error and no warning."""
    world.weavr.add("77", Life.of((0, "COMPLETED")), operations=1000)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with world.client() as client:
            operations = client.operations("payments:77")
            next(operations)
            del operations
            gc.collect()
            assert client.get("payments:1").id == "1"


@pytest.mark.anyio
async def test_the_async_client_has_the_same_methods(world):
    """The same questions, awaited."""
    async with AsyncClient(world.adapters, transport=world.transport) as client:
        assert (await client.get("payments:1")).state is State.RUNNING
        assert len(await client.list()) == 6
        assert len(await client.get_many(["payments:1", f"crm:{CRM_IDS[1]}"])) == 2
        assert [row.sequence async for row in client.operations("payments:3")] == [1, 2, 3, 4]
        assert len(await client.check()) == 3
        assert client.sources == {"payments": "weavr", "edge": "cloudflare", "crm": "druid"}


def test_the_two_clients_have_the_same_public_methods():
    """What one can do, the other can; only opening and closing differ."""
    names = {name for name in dir(AsyncClient) if not name.startswith("_")}
    assert {name for name in dir(Client) if not name.startswith("_")} - names == {"close"}
    assert names - set(dir(Client)) <= {"operation_pages"}


@pytest.mark.anyio
@pytest.mark.parametrize("method", ["get", "get_many", "list", "check", "operations"])
async def test_an_async_client_that_is_not_entered_says_so(world, method):
    """A plain RuntimeError, which names the way out."""
    client = AsyncClient(world.adapters, transport=world.transport)
    question = {
        "get": lambda: client.get("payments:1"),
        "get_many": lambda: client.get_many(["payments:1"]),
        "list": client.list,
        "check": client.check,
        "operations": lambda: anext(client.operations("payments:1")),
    }[method]
    with pytest.raises(RuntimeError, match="with statement"):
        await question()


def test_one_provider_switched_off_on_a_real_socket(world):
    """A closed port is a failure of that source; the rows of the others come."""
    with serve(world.druid) as druid_url:
        with serve(world.weavr) as weavr_url:
            pass
        adapters = {"crm": world.druid.adapter(druid_url), "payments": world.weavr.adapter(weavr_url)}
        with Client(adapters) as client:
            report = client.list()
    assert {status.source for status in report} == {"crm"}
    assert [failure.source for failure in report.failures] == ["payments"]


def test_an_auth_error_is_told_apart_from_an_outage(world, client):
    """Refused credentials are an AuthError, after one request."""
    world.weavr.fail(Fault(status=403, times=None))
    with pytest.raises(AuthError):
        client.get("payments:1")
    assert len(world.weavr.requests) == 1


def test_no_secret_is_in_the_repr_of_what_holds_it():
    """Adapters can be printed and logged."""
    adapters = [
        Weavr(base_url="https://weavr.test", api_key="S3CR3T", auth_token="S3CR3T"),
        Cloudflare(account_id="0" * 32, token="S3CR3T"),
        Druid(api_base_url="https://d.test", client_id="S3CR3T", client_secret="S3CR3T"),
    ]
    for adapter in adapters:
        assert "S3CR3T" not in f"{adapter!r} {adapter} {adapter.auth()!r} {adapter.auth().__dict__}"


def test_a_report_can_be_read_like_a_collection(client):
    """It iterates over its statuses and has their number."""
    report = client.list()
    assert isinstance(report, Report)
    assert list(report) == list(report.statuses)
    assert len(report) == len(report.statuses)


def test_a_caller_may_cancel_and_go_on():
    """A cancelled question leaves the client whole."""
    fake = Scripted()
    fake.fail(Fault(delay=0.2))

    async def main():
        transport = FakeTransport({"https://plain.test": fake})
        async with AsyncClient(
            {"plain": Plain(base_url="https://plain.test")}, transport=transport
        ) as client:
            with anyio.move_on_after(0.05) as scope:
                await client.get_many(["plain:a1"])
            assert scope.cancelled_caught
            return (await client.get("plain:a2")).id

    assert anyio.run(main) == "a2"
