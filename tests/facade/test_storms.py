"""Hundreds of questions against a provider in trouble: what they cost it, and what the callers are told."""

import threading
from concurrent.futures import ThreadPoolExecutor

import anyio
import httpx
import pytest

from bulkstatus import AsyncClient, AuthError, Client, DeadlineExceeded, Policy, Unavailable
from bulkstatus.testing import FakeTransport, Fault
from support import Plain, Scripted
from virtual import run_virtually

pytestmark = pytest.mark.anyio
_URL = "https://plain.test"


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Pauses between attempts that last no time."""
    monkeypatch.setattr("bulkstatus._retry._BASE", 0.001)
    monkeypatch.setattr("bulkstatus._retry._BASE_THROTTLED", 0.001)


def refs(count):
    """So many references to one source."""
    return [f"plain:b{number}" for number in range(count)]


class Gated(httpx.AsyncBaseTransport):
    """Keeps every request waiting until it is opened, and counts them."""

    def __init__(self):
        self.open = anyio.Event()
        self.requests = 0

    async def handle_async_request(self, request):
        self.requests += 1
        await self.open.wait()
        id = request.url.path.rpartition("/")[2]
        return httpx.Response(200, content=f'{{"id":"{id}","status":"running"}}'.encode())


# --- deadlines ---


def test_after_a_deadline_nothing_more_is_sent_and_every_bulk_is_accounted_for():
    """What was under way goes on; the rest of 200 is not asked, and each of them is a failure with its id."""

    async def main():
        transport = Gated()
        async with AsyncClient({"plain": Plain(base_url=_URL)}, transport=transport) as client:
            report = await client.get_many(refs(200), timeout=0.5)
            sent = transport.requests
            transport.open.set()
            await anyio.wait_all_tasks_blocked()
            assert (sent, transport.requests) == (8, 8)
            return report

    report = run_virtually(main)  # a busy machine may take longer than 0.5 s to send eight
    assert len(report) == 0
    assert {failure.id for failure in report.failures} == {f"b{number}" for number in range(200)}
    assert {failure.kind for failure in report.failures} == {"deadline"}
    assert not report.complete


def test_what_was_answered_before_a_deadline_is_kept_beside_the_failures():
    """Each of 200 is in the report exactly once."""

    async def main():
        fake = Scripted()
        fake.fail(Fault(delay=0.06, times=None))
        transport = FakeTransport({_URL: fake})
        async with AsyncClient({"plain": Plain(base_url=_URL)}, transport=transport) as client:
            report = await client.get_many(refs(200), timeout=0.3)
            sent = len(fake.requests)
            await anyio.sleep(0.2)
            assert len(fake.requests) == sent < 200
            return report

    # On a clock of its own: a busy machine may take longer than 0.3 s for the first answer.
    report = run_virtually(main)
    answered = [status.id for status in report]
    failed = [failure.id for failure in report.failures]
    assert answered
    assert sorted(answered + failed) == sorted(f"b{number}" for number in range(200))


async def test_a_poller_of_a_black_hole_leaves_no_backlog():
    """Sixty questions that nobody waits for any more are not asked when the provider comes back."""
    transport = Gated()
    async with AsyncClient({"plain": Plain(base_url=_URL)}, transport=transport) as client:
        for _ in range(60):
            with pytest.raises(DeadlineExceeded):
                await client.get("plain:a1", timeout=0.005)
        assert transport.requests == 8
        transport.open.set()
        await anyio.wait_all_tasks_blocked()
        assert transport.requests == 8
        assert (await client.get("plain:a1")).id == "a1"
        assert transport.requests == 9


async def test_a_question_that_one_caller_left_is_asked_for_the_other():
    """Only what nobody waits for is dropped."""
    transport = Gated()
    adapter = Plain(base_url=_URL)
    async with AsyncClient({"plain": adapter}, transport=transport, policy=Policy(connections=1)) as client:
        first = client._engine.start("plain", adapter.status("a1"))
        second = client._engine.start("plain", adapter.status("a2"))
        found = []

        async def wait():
            found.append((await second.result()).id)

        async with anyio.create_task_group() as group:
            group.start_soon(wait)
            with anyio.move_on_after(0.02):
                await second.result()
            assert not second.question.unwanted
            transport.open.set()
        assert (await first.result()).id == "a1"
    assert found == ["a2"]


# --- refusals and outages ---


async def test_refused_credentials_cost_a_provider_few_of_five_hundred_questions():
    """Those under way, and no more: a lockout counts failures. Each bulk is a failure of its own."""
    fake = Scripted()
    fake.fail(Fault(status=401, delay=0.005, times=None))
    transport = FakeTransport({_URL: fake})
    async with AsyncClient({"plain": Plain(base_url=_URL)}, transport=transport) as client:
        report = await client.get_many(refs(500))
        assert len(fake.requests) <= 16
        assert {failure.kind for failure in report.failures} == {"auth"}
        assert {failure.id for failure in report.failures} == {f"b{number}" for number in range(500)}
        assert any("not asked again" in failure.message for failure in report.failures)
        fake.heal()
        assert (await client.get("plain:a1")).id == "a1"


async def test_refused_credentials_from_a_function_are_renewed_a_few_times_at_most():
    """A store that gives the same refused token is not asked five hundred times, nor is the provider."""
    calls = []

    def token():
        calls.append(1)
        return "from-a-function"

    fake = Scripted()
    fake.fail(Fault(status=401, delay=0.005, times=None))
    transport = FakeTransport({_URL: fake})
    async with AsyncClient({"plain": Plain(base_url=_URL, token=token)}, transport=transport) as client:
        report = await client.get_many(refs(500))
    assert {failure.kind for failure in report.failures} == {"auth"}
    assert len(fake.requests) <= 20
    assert len(calls) <= 4


async def test_a_token_that_ends_early_costs_the_questions_under_way_a_second_request():
    """Those who queue behind them take the new token at once, and are asked once each."""
    fake = Scripted()
    transport = FakeTransport({_URL: fake})
    adapter = Plain(base_url=_URL, token_url=_URL)
    async with AsyncClient({"plain": adapter}, transport=transport) as client:
        await client.get("plain:a1")
        fake.requests.clear()
        fake.revoked.add("Bearer t1")
        fake.fail(Fault(delay=0.005, times=None))
        assert len(await client.get_many(refs(200))) == 200
    assert fake.paths().count("/token") == 1
    assert len(fake.requests) <= 200 + 8 + 1


@pytest.mark.parametrize("connections", [1, 2])
async def test_a_renewal_is_had_though_all_places_are_taken(connections):
    """Whoever holds a place needs no second one for the token."""
    fake = Scripted()
    fake.revoked.add("Bearer t1")
    transport = FakeTransport({_URL: fake})
    adapter = Plain(base_url=_URL, token_url=_URL)
    policy = Policy(connections=connections)
    async with AsyncClient({"plain": adapter}, transport=transport, policy=policy) as client:
        with anyio.fail_after(10):
            assert len(await client.get_many(refs(20))) == 20
    assert fake.tokens == 2


async def test_client_credentials_that_are_refused_when_a_token_ends_are_sent_once():
    """A lockout counts those as well: two hundred questions, one refusal."""
    fake = Scripted()
    transport = FakeTransport({_URL: fake})
    adapter = Plain(base_url=_URL, token_url=_URL)
    async with AsyncClient({"plain": adapter}, transport=transport) as client:
        await client.get("plain:a1")
        fake.requests.clear()
        fake.revoked.add("Bearer t1")
        fake.fail(Fault(status=400, where="/token", times=None))
        fake.fail(Fault(delay=0.005, times=None))
        report = await client.get_many(refs(200))
        assert {failure.kind for failure in report.failures} == {"auth"}
        assert fake.paths().count("/token") <= 2
        assert len(fake.requests) <= 20
        fake.heal()
        assert (await client.get("plain:a1")).id == "a1"


async def test_a_permission_that_lacks_for_one_bulk_stops_no_other():
    """A 403 may be about one bulk alone, so the others are asked."""
    fake = Scripted()
    fake.fail(Fault(status=403, where="/b7", times=None))
    transport = FakeTransport({_URL: fake})
    async with AsyncClient({"plain": Plain(base_url=_URL)}, transport=transport) as client:
        report = await client.get_many([f"plain:b{number}" for number in range(7, 60)])
    assert [failure.id for failure in report.failures] == ["b7"]
    assert len(report) == 52


async def test_an_outage_costs_a_provider_few_of_five_hundred_questions():
    """After five failures in a row those who queue are told, and nothing is sent for them."""
    fake = Scripted()
    fault = fake.fail(Fault(status=503, delay=0.002, times=None))
    transport = FakeTransport({_URL: fake})
    async with AsyncClient({"plain": Plain(base_url=_URL)}, transport=transport) as client:
        report = await client.get_many(refs(500))
        assert len(fake.requests) <= 40
        assert {failure.kind for failure in report.failures} == {"unavailable"}
        assert len({failure.id for failure in report.failures}) == 500
        fake.heal(fault)
        assert len(await client.get_many(refs(100))) == 100


# --- life ---


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_a_token_function_that_exits_ends_neither_the_client_nor_other_sources(kind):
    """It is a failure of its source; closing works, and no thread is left."""

    def token():
        raise kind("bye")

    transport = FakeTransport({_URL: Scripted(), "https://other.test": Scripted()})
    adapters = {"broken": Plain(base_url=_URL, token=token), "plain": Plain(base_url="https://other.test")}
    with Client(adapters, transport=transport) as client:
        with pytest.raises(AuthError) as caught:
            client.get("broken:a1")
        assert caught.value.source == "broken"
        report = client.get_many(["broken:a1", "plain:a1", "plain:a2"])
        assert [str(status.ref) for status in report] == ["plain:a1", "plain:a2"]
        assert [failure.source for failure in report.failures] == ["broken"]
        assert client.get("plain:a1").id == "a1"
    assert not [thread for thread in threading.enumerate() if thread.name == "bulkstatus"]


def test_closing_beside_twelve_threads_leaves_nothing_behind():
    """Each question is answered or ends with an error that says why; the engine is never opened twice."""
    transport = FakeTransport({_URL: Scripted()})
    client = Client({"plain": Plain(base_url=_URL)}, transport=transport)
    stop = threading.Event()
    odd, answers = [], []

    def ask_or_close(number):
        while not stop.is_set():
            try:
                if number < 4:
                    client.close()
                else:
                    answers.append(client.get("plain:a1", timeout=5).id)
            except Unavailable as error:
                if error.reason != "closed":
                    odd.append(error)
            except Exception as error:  # noqa: BLE001 - the assertions look at it
                odd.append(error)

    with ThreadPoolExecutor(12) as threads:
        running = [threads.submit(ask_or_close, number) for number in range(12)]
        stop.wait(1.5)
        stop.set()
        for each in running:
            each.result(20)
    client.close()
    assert not [repr(error) for error in odd if "open already" in str(error)]
    assert set(answers) == {"a1"}
    assert not [thread for thread in threading.enumerate() if thread.name == "bulkstatus"]
    assert {repr(error) for error in odd} == set()
