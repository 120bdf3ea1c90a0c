"""The engine: credentials, deadlines, pauses and pools, over real sockets where that matters."""

import asyncio
import threading

import anyio
import anyio.lowlevel
import httpx
import msgspec
import pytest

import bulkstatus._pools
from bulkstatus import (
    AsyncClient,
    AuthError,
    BulkStatusError,
    Client,
    ConfigError,
    DeadlineExceeded,
    Policy,
    ProtocolError,
    RateLimited,
    Unavailable,
)
from bulkstatus._engine import Engine
from bulkstatus.adapter import Call, Request
from bulkstatus.testing import FakeResponse, FakeTransport, Fault, serve
from support import GOOD_BODY, Plain, Scripted, ask, dripping, raw_server, reply
from virtual import run_virtually

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Pauses between attempts that last no time, unless the provider asks for them."""
    monkeypatch.setattr("bulkstatus._retry._BASE", 0.001)
    monkeypatch.setattr("bulkstatus._retry._BASE_THROTTLED", 0.001)


@pytest.fixture(params=["blocking", "async"])
def kind(request):
    """Which of the two clients asks."""
    return request.param


async def outcomes(count, question):
    """What came of `count` questions asked at once: answers and errors."""
    found = []

    async def one(number):
        try:
            found.append(await question(number))
        except Exception as error:  # noqa: BLE001 - the tests look at it
            found.append(error)

    async with anyio.create_task_group() as group:
        for number in range(count):
            group.start_soon(one, number)
    return found


def ids(found):
    """The ids of the answers among `found`, each once; an error among them is raised."""
    for one in found:
        if isinstance(one, Exception):
            raise one
    return {one.id for one in found}


def in_process(fake, **settings):
    """An adapter and the transport that leads it to `fake`."""
    adapter = Plain(base_url="https://plain.test", **settings)
    return adapter, FakeTransport({"https://plain.test": fake})


# --- deadlines ---


def _silent(connection):
    connection.recv(1)


@pytest.mark.parametrize("case", ["silence", "endless 1xx"])
def test_a_server_that_never_finishes_meets_the_total_deadline(case, kind):
    """Bytes that keep coming do not keep a request alive; it ends and is asked again."""
    ended = threading.Event()
    step = {
        "silence": _silent,
        "endless 1xx": dripping(ended.is_set, b"", again=b"HTTP/1.1 103 X\r\n\r\n"),
    }[case]
    with raw_server(step) as server:
        with pytest.raises(Unavailable) as caught:
            ask(kind, Plain(base_url=server.url), policy=Policy(request_timeout=0.3, attempts=2))
        ended.set()
    assert (caught.value.reason, server.connections) == ("timeout", 2)


async def test_after_a_deadline_the_pool_is_a_new_one_and_works():
    """A request that was cut off takes its pool along; the next one succeeds at once."""
    with raw_server(_silent, reply()) as server:
        policy = Policy(request_timeout=0.3, attempts=1)
        async with AsyncClient({"plain": Plain(base_url=server.url)}, policy=policy) as client:
            with pytest.raises(Unavailable):
                await client.get("plain:a1")
            msgspec.structs.force_setattr(policy, "request_timeout", 20.0)
            assert (await client.get("plain:a1")).id == "a1"


async def test_a_retired_pool_serves_those_who_are_in_it():
    """When one request of a pool is cut off, the others in it still get their answers."""
    slow = threading.Event()

    def late(connection):
        slow.wait(5)
        connection.sendall(reply())

    with raw_server(_silent, late) as server:
        policy = Policy(request_timeout=1.0, attempts=1)
        async with AsyncClient({"plain": Plain(base_url=server.url)}, policy=policy) as client:

            async def question(number):
                await anyio.sleep(0.8 * number)
                try:
                    return await client.get("plain:a1")
                finally:
                    slow.set()  # the first was cut off: now the second may have its answer

            found = await outcomes(2, question)
    assert sorted(type(one).__name__ for one in found) == ["BulkStatus", "Unavailable"]


@pytest.mark.parametrize("whose", ["the caller's", "the engine's"])
async def test_thirty_of_thirty_succeed_after_a_hundred_deadlines(whose):
    """However many requests met a deadline, the pool is as good as new."""
    fake = Scripted()
    with serve(fake) as url:
        policy = Policy(attempts=1, request_timeout=1.0 if whose == "the engine's" else 20.0, connections=32)
        async with AsyncClient({"plain": Plain(base_url=url)}, policy=policy) as client:
            timeout = 0.05 if whose == "the caller's" else None
            fault = fake.fail(Fault(delay=0.2 if timeout else 1.5, times=None))
            ended = await outcomes(100, lambda _: client.get("plain:a1", timeout=timeout))
            assert {type(one) for one in ended} == {DeadlineExceeded if timeout else Unavailable}
            fake.heal(fault)
            found = await outcomes(30, lambda _: client.get("plain:a1"))
            assert (len(found), ids(found)) == (30, {"a1"})


async def test_a_caller_that_stops_waiting_cancels_no_request():
    """The request goes on to its end, the server sees no hang-up, and the connection is used again."""
    ended, left = [], threading.Event()

    def late(connection):
        left.wait(10)
        connection.setblocking(False)
        try:
            ended.append(connection.recv(1))
        except BlockingIOError:
            ended.append("still there")
        connection.setblocking(True)
        connection.sendall(reply())

    with raw_server(late, reply()) as server:
        async with AsyncClient({"plain": Plain(base_url=server.url)}) as client:
            with pytest.raises(DeadlineExceeded) as caught:
                await client.get("plain:a1", timeout=0.3)
            with anyio.move_on_after(0.3):
                await client.get("plain:a1")
            left.set()
            with anyio.fail_after(20):
                while not ended:  # noqa: ASYNC110 - a thread sets it, not a task
                    await anyio.sleep(0.01)
    assert ended[0] == "still there"
    error = caught.value
    assert (error.source, error.provider, error.id) == ("plain", "plain", "a1")
    assert isinstance(error, TimeoutError)


def _keep_alive(connection):
    """Answer one request after another."""
    answer = b"HTTP/1.1 200 X\r\nContent-Length: %d\r\n\r\n%s" % (len(GOOD_BODY), GOOD_BODY)
    connection.sendall(answer)
    while b"\r\n\r\n" in connection.recv(65536):
        connection.sendall(answer)


async def test_a_connection_is_used_again():
    """Ten questions one after another need one connection."""
    with raw_server(_keep_alive) as server:
        async with AsyncClient({"plain": Plain(base_url=server.url)}) as client:
            for _ in range(10):
                assert (await client.get("plain:a1")).id == "a1"
        assert server.connections == 1


def test_a_connection_that_the_server_closed_between_questions_is_replaced(kind):
    """A stale keep-alive connection costs no error."""
    with raw_server(reply()) as server:  # closes each connection after its reply
        found = ask(kind, Plain(base_url=server.url), *["plain:a1"] * 5)
    assert [status.id for status in found] == ["a1"] * 5
    assert server.connections == 5


async def test_no_more_requests_than_connections_are_under_way():
    """A burst of fifty meets a provider eight at a time: eight at once, and never a ninth."""
    under_way, most, opened = 0, 0, anyio.Event()

    class Counting(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request):
            nonlocal under_way, most
            under_way += 1
            most = max(most, under_way)
            await opened.wait()
            await anyio.lowlevel.checkpoint()
            under_way -= 1
            return httpx.Response(200, content=b'{"id":"a1","status":"running"}')

    async with (
        AsyncClient({"plain": Plain(base_url="https://plain.test")}, transport=Counting()) as client,
        anyio.create_task_group() as group,
    ):
        found = []

        async def ask_all():
            found.extend(await outcomes(50, lambda _: client.get("plain:a1")))

        group.start_soon(ask_all)
        await anyio.wait_all_tasks_blocked()
        assert under_way == 8
        opened.set()
    assert ids(found) == {"a1"}
    assert most == 8


# --- throttling ---


async def test_throttling_pauses_the_whole_source_and_no_other():
    """After a 429 nothing more goes to that source until its pause is over; other sources do not notice."""
    slow, free = Scripted(), Scripted()
    arrived = []
    for name, fake in (("slow", slow), ("free", free)):
        receive = fake.receive

        def noted(request, name=name, receive=receive):
            arrived.append(name)
            return receive(request)

        fake.receive = noted
    slow.fail(Fault(status=429, headers={"Retry-After": "1"}))
    transport = FakeTransport({"https://slow.test": slow, "https://free.test": free})
    adapters = {name: Plain(base_url=f"https://{name}.test") for name in ("slow", "free")}
    async with AsyncClient(adapters, transport=transport, policy=Policy(connections=1)) as client:

        async def question(number):
            return await client.get("slow:a1" if number < 5 else "free:a1")

        found = await outcomes(10, question)
    assert ids(found) == {"a1"}
    assert arrived == ["slow"] + ["free"] * 5 + ["slow"] * 5


def test_a_short_pause_that_is_told_after_a_long_one_does_not_shorten_it():
    """Two requests under way together: whichever answer comes last, the longer pause holds."""
    pauses = iter(["60", "1"])
    fake = Scripted(lambda _: FakeResponse(status=429, headers={"Retry-After": next(pauses)}))
    adapter, transport = in_process(fake)
    fake.fail(Fault(delay=0.01, times=None))
    policy = Policy(attempts=1, patience=50)

    async def main():
        async with AsyncClient({"plain": adapter}, transport=transport, policy=policy) as client:
            found = await outcomes(2, lambda _: client.get("plain:a1"))
            assert sorted(error.retry_after for error in found) == [1, 60]
            await anyio.sleep(2)
            with pytest.raises(RateLimited, match="nothing was sent") as caught:
                await client.get("plain:a1")
            assert caught.value.retry_after == pytest.approx(58)

    run_virtually(main)
    assert len(fake.requests) == 2


def test_a_question_that_comes_during_a_pause_waits_for_its_end():
    """A pause shorter than the patience is sat out, a longer one is an error without a request."""
    fake = Scripted()
    adapter, transport = in_process(fake)

    async def main():
        async with AsyncClient({"plain": adapter}, transport=transport, policy=Policy(attempts=1)) as client:
            fake.fail(Fault(status=429, headers={"Retry-After": "500"}))
            with pytest.raises(RateLimited):
                await client.get("plain:a1")
            with pytest.raises(RateLimited, match="nothing was sent") as caught:
                await client.get("plain:a1")
            assert caught.value.retry_after == pytest.approx(500)
            await anyio.sleep(450)
            with pytest.raises(DeadlineExceeded):
                await client.get("plain:a1", timeout=0.05)
            assert (await client.get("plain:a1")).id == "a1"
            assert anyio.current_time() == pytest.approx(500)

    run_virtually(main)
    assert len(fake.requests) == 2


@pytest.mark.parametrize(
    ("status", "headers"), [(404, {}), (429, {"Retry-After": "0"}), (400, {})], ids=["404", "429", "400"]
)
def test_only_refusals_and_outages_stop_others(status, headers):
    """A bulk that is not found, a pause and a rejected question say nothing about other questions: all are sent."""
    fake = Scripted(lambda _: FakeResponse(status=status, headers=headers))
    adapter, transport = in_process(fake)

    async def main():
        policy = Policy(attempts=1, connections=1)
        async with AsyncClient({"plain": adapter}, transport=transport, policy=policy) as client:
            return await outcomes(10, lambda number: client.get(f"plain:a{number}"))

    assert {error.status for error in run_virtually(main)} == {status}
    assert len(fake.requests) == 10


@pytest.mark.parametrize("status", [401, 403, 404, 500, 503])
def test_other_errors_ask_for_no_pause(status):
    """Only throttling holds the next question back."""
    fake = Scripted()
    adapter, transport = in_process(fake)

    async def main():
        policy = Policy(attempts=1)
        async with AsyncClient({"plain": adapter}, transport=transport, policy=policy) as client:
            fake.fail(Fault(status=status))
            with pytest.raises(BulkStatusError):
                await client.get("plain:a1")
            await anyio.sleep(0.001)  # who asks at the same moment shares the refusal
            await client.get("plain:a1")
            assert anyio.current_time() == 0.001

    run_virtually(main)


# --- credentials ---


async def test_fifty_first_questions_fetch_one_token():
    """The token is fetched once, however many need it."""
    fake = Scripted()
    with serve(fake) as url:
        fake.fail(Fault(delay=0.05, where="/token"))
        async with AsyncClient({"plain": Plain(base_url=url, token_url=url)}) as client:
            found = await outcomes(50, lambda _: client.get("plain:a1"))
    assert (len(found), ids(found)) == (50, {"a1"})
    assert fake.paths().count("/token") == 1


def test_a_token_is_renewed_before_it_ends():
    """30 seconds before its end a token is replaced, and no request fails for it."""
    fake = Scripted()
    fake.token_reply["expires_in"] = 100
    adapter, transport = in_process(fake, token_url="https://plain.test")

    async def main():
        async with AsyncClient({"plain": adapter}, transport=transport) as client:
            for seconds, tokens in ((0, 1), (69, 1), (1, 2), (69, 2), (2, 3)):
                await anyio.sleep(seconds)
                assert (await client.get("plain:a1")).id == "a1"
                assert fake.tokens == tokens

    run_virtually(main)


def test_a_revoked_token_is_renewed_once(kind):
    """A 401 costs one new token and one more request."""
    fake = Scripted()
    fake.revoked.add("Bearer t1")
    with serve(fake) as url:
        assert ask(kind, Plain(base_url=url, token_url=url))[0].id == "a1"
    assert fake.paths() == ["/token", "/bulks/a1", "/token", "/bulks/a1"]


def test_a_second_401_is_the_answer(kind):
    """Credentials that stay refused are refused; nobody hammers the provider with them."""
    fake = Scripted()
    fake.fail(Fault(status=401, where="/bulks", times=None))
    with serve(fake) as url, pytest.raises(AuthError) as caught:
        ask(kind, Plain(base_url=url, token_url=url))
    assert caught.value.status == 401
    assert fake.paths() == ["/token", "/bulks/a1", "/token", "/bulks/a1"]


async def test_fifty_refused_questions_renew_the_token_once():
    """A 401 for fifty questions at once is answered by one new token."""
    fake = Scripted()
    adapter, transport = in_process(fake, token_url="https://plain.test")
    async with AsyncClient({"plain": adapter}, transport=transport) as client:
        await client.get("plain:a1")
        fake.revoked.add("Bearer t1")
        found = await outcomes(50, lambda _: client.get("plain:a1"))
    assert ids(found) == {"a1"}
    assert fake.tokens == 2


def test_a_fixed_token_that_is_refused_is_not_sent_twice(kind):
    """There is nothing to renew: one request, and the error."""
    fake = Scripted()
    fake.fail(Fault(status=401, times=None))
    with serve(fake) as url, pytest.raises(AuthError):
        ask(kind, Plain(base_url=url))
    assert len(fake.requests) == 1


@pytest.mark.parametrize("refusals", [1, 2])
def test_a_token_from_a_function_is_asked_for_again_after_a_401(refusals, kind):
    """A function is called for the first request and after a refusal, not for every request."""
    tokens = iter(["one", "two", "three"])
    fake = Scripted()
    fake.revoked.update({"Bearer one", "Bearer two"} if refusals == 2 else {"Bearer one"})
    with serve(fake) as url:
        adapter = Plain(base_url=url, token=lambda: next(tokens))
        if refusals == 2:
            with pytest.raises(AuthError):
                ask(kind, adapter)
        else:
            ask(kind, adapter, *["plain:a1"] * 3)
    assert [request.headers["authorization"] for request in fake.requests] == (
        ["Bearer one", "Bearer two"] + [] * refusals if refusals == 2 else ["Bearer one"] + ["Bearer two"] * 3
    )


async def test_a_function_that_fails_is_an_auth_error_that_quotes_nothing():
    """The function's own error may hold the credential, so only its type is told."""

    def fetch():
        raise OSError("vault said S3CR3T")

    fake = Scripted()
    adapter, transport = in_process(fake, token=fetch)
    async with AsyncClient({"plain": adapter}, transport=transport) as client:
        with pytest.raises(AuthError, match="OSError") as caught:
            await client.get("plain:a1")
    assert "S3CR3T" not in repr(caught.value) + str(caught.value.__cause__) + str(caught.value.__dict__)
    assert fake.requests == []


@pytest.mark.parametrize(
    "token", ["tok\n", "tok\r\nX-Evil: 1", "a\0b", " tok", "tok ", "", "é", "\u202e", "\x1b", "x" * 65536]
)
async def test_a_token_that_cannot_be_one_is_not_sent(token):
    """What a function gives is checked like what is written down, and never quoted."""
    fake = Scripted()
    adapter, transport = in_process(fake, token=lambda: token)
    async with AsyncClient({"plain": adapter}, transport=transport) as client:
        with pytest.raises(ConfigError, match="token") as caught:
            await client.get("plain:a1")
    assert fake.requests == []
    assert not token.strip() or len(token) < 5 or token not in str(caught.value)


@pytest.mark.parametrize(
    "fault",
    [Fault(status=500, times=None), Fault(status=429, times=None), Fault(drop=True, times=None)],
    ids=["500", "429", "dropped"],
)
@pytest.mark.parametrize("callers", [1, 50])
async def test_a_token_endpoint_in_trouble_is_asked_twice_at_most(fault, callers):
    """Two attempts, shared by all who wait, and the error is not one of the credentials."""
    fake = Scripted()
    fault.where, fault.times = "/token", None
    fake.fail(fault)
    with serve(fake) as url:
        async with AsyncClient({"plain": Plain(base_url=url, token_url=url)}) as client:
            found = await outcomes(callers, lambda _: client.get("plain:a1"))
    assert {type(one) for one in found} <= {Unavailable, RateLimited}
    assert {one.retryable for one in found} == {True}
    assert fake.paths() == ["/token"] * 2


async def test_a_token_endpoint_that_recovers_is_asked_again_by_the_next_question():
    """A failed renewal is no lasting state."""
    fake = Scripted()
    fault = fake.fail(Fault(status=500, where="/token", times=None))
    adapter, transport = in_process(fake, token_url="https://plain.test")
    async with AsyncClient({"plain": adapter}, transport=transport) as client:
        with pytest.raises(Unavailable):
            await client.get("plain:a1")
        fake.heal(fault)
        assert (await client.get("plain:a1")).id == "a1"


async def test_refused_client_credentials_are_an_auth_error_at_once():
    """One request, and the provider's words in a printable form."""
    fake = Scripted()
    body = b'{"error":"invalid_client","error_description":"no \\u001b[31mred"}'
    fake.fail(Fault(status=400, body=body, where="/token", times=None))
    adapter, transport = in_process(fake, token_url="https://plain.test")
    async with AsyncClient({"plain": adapter}, transport=transport) as client:
        with pytest.raises(AuthError, match="invalid_client") as caught:
            await client.get("plain:a1")
    assert fake.paths() == ["/token"]
    assert "\x1b" not in str(caught.value)
    assert "plain-secret" not in str(caught.value) + repr(caught.value)


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b"<html>",
        b'{"access_token":"t","token_type":"mac"}',
        b'{"access_token":""}',
        b'{"access_token":"a b"}',
        b'{"access_token":7}',
        b"[]",
    ],
)
async def test_a_token_reply_without_a_usable_token_is_an_auth_error(body):
    """What cannot be sent as a bearer is not sent."""
    fake = Scripted()
    fake.fail(Fault(status=200, body=body, where="/token", times=None))
    adapter, transport = in_process(fake, token_url="https://plain.test")
    async with AsyncClient({"plain": adapter}, transport=transport) as client:
        with pytest.raises(AuthError) as caught:
            await client.get("plain:a1")
    assert caught.value.reason == "bad_token_reply"
    assert set(fake.paths()) == {"/token"}


@pytest.mark.parametrize(
    ("expires_in", "renewed_after"),
    [
        (-5, 15),
        ("soon", 270),
        (1e18, 86_370),
        (None, 270),
        (3600, 3570),
        ("3600", 3570),
        (True, 270),
        (60, 30),
    ],
)
def test_the_life_of_a_token_is_clamped(expires_in, renewed_after):
    """From 30 seconds to a day, five minutes when unsaid; renewed 30 seconds before, or at half of a short life."""
    fake = Scripted()
    fake.token_reply = {"expires_in": expires_in}
    adapter, transport = in_process(fake, token_url="https://plain.test")

    async def main():
        async with AsyncClient({"plain": adapter}, transport=transport) as client:
            await client.get("plain:a1")
            await anyio.sleep(renewed_after - 1)
            await client.get("plain:a1")
            assert fake.tokens == 1
            await anyio.sleep(2)
            await client.get("plain:a1")
            assert fake.tokens == 2

    run_virtually(main)


def test_a_redirected_token_request_sends_the_secret_once(kind):
    """The target of the redirect gets nothing, and the endpoint is not asked again."""
    with (
        raw_server(reply(b"{}")) as target,
        raw_server(reply(b"", 307, f"Location: {target.url}/token")) as server,
        pytest.raises(ProtocolError) as caught,
    ):
        ask(kind, Plain(base_url=server.url, token_url=server.url))
    assert caught.value.reason == "redirect_refused"
    assert (server.connections, target.connections) == (1, 0)


# --- life ---


async def test_a_client_that_is_not_entered_says_so():
    """Every question outside of `async with` is a plain RuntimeError that says what to do."""
    adapter, transport = in_process(Scripted())
    client = AsyncClient({"plain": adapter}, transport=transport)
    for question in (
        lambda: client.get("plain:a1"),
        lambda: client.get_many(["plain:a1"]),
        client.check,
    ):
        with pytest.raises(RuntimeError, match="with"):
            await question()


async def test_a_client_cannot_be_entered_twice_at_once():
    """The second entry is an error, and the first goes on."""
    adapter, transport = in_process(Scripted())
    async with AsyncClient({"plain": adapter}, transport=transport) as client:
        with pytest.raises(RuntimeError, match="open already"):
            await client.__aenter__()
        assert (await client.get("plain:a1")).id == "a1"


async def test_a_client_can_be_entered_again_after_its_end():
    """Leaving closes the connections, not the client."""
    adapter, transport = in_process(Scripted())
    client = AsyncClient({"plain": adapter}, transport=transport)
    for _ in range(3):
        async with client:
            assert (await client.get("plain:a1")).id == "a1"
    await client.__aexit__(None, None, None)


def test_a_client_can_be_used_on_one_loop_after_another():
    """Nothing of a client stays bound to a loop that has ended."""
    fake = Scripted()
    with serve(fake) as url:
        client = AsyncClient({"plain": Plain(base_url=url, token_url=url)}, policy=Policy(connections=2))

        async def main():
            async with client:
                return await outcomes(10, lambda _: client.get("plain:a1"))

        for _ in range(2):
            assert ids(anyio.run(main)) == {"a1"}


async def test_questions_under_way_end_when_the_client_closes():
    """Leaving while others wait gives them an error, and leaves nothing running."""
    fake = Scripted()
    fake.fail(Fault(delay=30, times=None))
    adapter, transport = in_process(fake)
    found = []
    async with anyio.create_task_group() as group:
        client = AsyncClient({"plain": adapter}, transport=transport)
        await client.__aenter__()

        async def wait():
            with pytest.raises(Unavailable) as caught:
                await client.get("plain:a1")
            found.append(caught.value.reason)

        for _ in range(3):
            group.start_soon(wait)
        await anyio.sleep(0.05)
        await client.__aexit__(None, None, None)
    assert found == ["closed"] * 3
    assert [task for task in asyncio.all_tasks() if "settle" in repr(task)] == []


async def test_each_caller_gets_an_error_of_its_own():
    """Callers that share a question do not share the object they catch, so none can spoil the other's."""
    fake = Scripted()
    fake.fail(Fault(status=404, times=None))
    adapter, transport = in_process(fake)
    engine = Engine({"plain": adapter}, policy=Policy(), transport=transport)
    async with engine:
        pending = engine.start("plain", adapter.status("a1"))
        first, second = await outcomes(2, lambda _: pending.result())
    assert first is not second
    assert str(first) == str(second)
    assert len(fake.requests) == 1


class _Broken(Plain, frozen=True, kw_only=True):
    """An adapter with a fault in it."""

    fault: str

    def status(self, id):
        call = super().status(id)
        if self.fault == "header":
            return Call(Request.to(self.base_url, "bulks", id, headers={"X": "é"}), call.read)
        if self.fault == "endless":
            return Call(call.request, lambda _: self.status(id))
        return Call(call.request, lambda _: 1 / 0)


async def test_a_chain_of_answers_that_never_ends_stops_after_a_thousand():
    """When each is quick, so that the patience is not used up."""
    fake = Scripted()
    broken = _Broken(base_url="https://plain.test", fault="endless")
    async with AsyncClient({"broken": broken}, transport=in_process(fake)[1]) as client:
        with pytest.raises(ProtocolError) as caught:
            await client.get("broken:a1")
    assert caught.value.reason == "endless"
    assert len(fake.requests) == 1_000


async def test_a_chain_of_answers_that_never_ends_stops_with_the_patience():
    """When they are slow, nobody waits for a thousand of them."""
    fake = Scripted()
    fake.fail(Fault(delay=0.02, times=None))
    broken = _Broken(base_url="https://plain.test", fault="endless")
    policy = Policy(patience=0.1)
    async with AsyncClient({"broken": broken}, transport=in_process(fake)[1], policy=policy) as client:
        with pytest.raises(ProtocolError) as caught:
            await client.get("broken:a1")
    assert caught.value.reason == "endless"
    assert len(fake.requests) <= 10


class _Watched(Plain, frozen=True, kw_only=True):
    """Notes which thread reads."""

    threads: list[str]

    def status(self, id):
        call = super().status(id)

        def read(response):
            self.threads.append(threading.current_thread().name)
            return call.read(response)

        return Call(call.request, read)


@pytest.mark.parametrize(("size", "aside"), [(100, False), (512 * 1024, False), (512 * 1024 + 1, True)])
def test_a_large_body_is_read_aside_and_a_small_one_is_not(size, aside):
    """Other sources do not wait for it, and the many small ones do not pay for a thread."""
    fake = Scripted(lambda _: FakeResponse(body=GOOD_BODY + b" " * (size - len(GOOD_BODY))))
    read_by = []
    adapter = _Watched(base_url="https://plain.test", threads=read_by)
    assert ask("blocking", adapter, transport=FakeTransport({"https://plain.test": fake}))[0].id == "a1"
    assert [name != "bulkstatus" for name in read_by] == [aside]


async def test_of_pages_that_arrive_together_the_first_is_not_kept_waiting_for_the_last():
    """Each is read in a round of the loop of its own, so that whoever waits for it can go on meanwhile."""
    asked, all_asked = [], anyio.Event()
    body = GOOD_BODY + b" " * 10_000

    async def handle(request):
        asked.append(request)
        if len(asked) == 8:
            all_asked.set()
        await all_asked.wait()
        return httpx.Response(200, content=body)

    log = []
    adapter = _Watched(base_url="https://plain.test", threads=log)
    async with AsyncClient({"plain": adapter}, transport=httpx.MockTransport(handle)) as client:

        async def one():
            await client.get("plain:a1")
            log.append("told")

        async with anyio.create_task_group() as group:
            for _ in range(8):
                group.start_soon(one)
    assert log.count("told") == 8
    assert log.index("told") <= 3


@pytest.mark.parametrize("questions", [1, 8])
async def test_after_a_pool_that_gives_no_connection_the_next_one_is_a_new_one(monkeypatch, questions):
    """A pool that has lost its connections does not fail every question until the program is started anew."""
    made = []
    real = bulkstatus._pools.new_client

    def new_client(*args, **options):
        made.append(real(*args, **options))
        return made[-1]

    monkeypatch.setattr("bulkstatus._pools.new_client", new_client)
    failing = [True]
    under_way, all_under_way = [], anyio.Event()

    async def handle(request):
        if failing[0]:
            under_way.append(request)
            if len(under_way) == questions:
                all_under_way.set()
            await all_under_way.wait()  # one that came after the first failure would be in a new pool
            raise httpx.PoolTimeout("x", request=request)
        return httpx.Response(200, content=GOOD_BODY)

    policy = Policy(attempts=1)
    adapter, transport = Plain(base_url="https://plain.test"), httpx.MockTransport(handle)
    async with AsyncClient({"plain": adapter}, transport=transport, policy=policy) as client:
        found = await outcomes(questions, lambda _: client.get("plain:a1"))
        assert {error.reason for error in found} == {"pool"}
        assert len(made) == 1
        failing[0] = False
        for _ in range(3):
            assert (await client.get("plain:a1")).id == "a1"
        assert len(made) == 2


@pytest.mark.parametrize("fault", ["header", "read", "endless"])
async def test_a_broken_adapter_hurts_only_itself(fault, monkeypatch):
    """Whatever an adapter does wrong is an error of its source; other sources of the client go on."""
    monkeypatch.setattr("bulkstatus._engine._LONGEST_CHAIN", 50)
    fake = Scripted()
    broken = _Broken(base_url="https://plain.test", fault=fault)
    adapter, transport = in_process(fake)
    async with AsyncClient({"broken": broken, "plain": adapter}, transport=transport) as client:
        with pytest.raises((ProtocolError, ConfigError)) as caught:
            await client.get("broken:a1")
        assert caught.value.source == "broken"
        assert (await client.get("plain:a1")).id == "a1"


def test_a_blocking_client_has_the_same_deadline(kind):
    """A timeout ends the waiting in both clients, with an error that is also a TimeoutError."""
    fake = Scripted()
    with serve(fake) as url:
        fake.fail(Fault(delay=0.5, times=None))
        if kind == "blocking":
            with Client({"plain": Plain(base_url=url)}) as client, pytest.raises(TimeoutError):
                client.get("plain:a1", timeout=0.05)
        else:

            async def main():
                async with AsyncClient({"plain": Plain(base_url=url)}) as client:
                    with pytest.raises(DeadlineExceeded):
                        await client.get("plain:a1", timeout=0.05)

            anyio.run(main)


class _Exit(BaseException):
    """What no library catches."""


class _Ending(Plain, frozen=True, kw_only=True):
    def status(self, id):
        def read(response):
            raise _Exit

        return Call(super().status(id).request, read)


async def test_what_no_question_may_catch_ends_the_client_and_comes_out_of_it():
    """And not into a log: the question that met it ends, others are ended with it, and the block raises it."""
    fake = Scripted()
    _, transport = in_process(fake)
    adapters = {
        "ending": _Ending(base_url="https://plain.test"),
        "plain": Plain(base_url="https://plain.test"),
    }
    with pytest.raises(BaseExceptionGroup) as caught:
        async with AsyncClient(adapters, transport=transport) as client:
            await client.get("ending:a1")
    assert [type(error) for error in caught.value.exceptions] == [_Exit]


async def test_questions_end_before_the_client_is_closed():
    """Also those nobody awaits any more, those that wait their turn, and one that was begun a moment ago."""
    under_way, ended = [], []

    async def handle(request):
        under_way.append(request)
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.lowlevel.checkpoint()  # as a transport takes leave of a connection
                ended.append(request)

    adapter, policy = Plain(base_url="https://plain.test"), Policy(connections=2)
    call = adapter.status("a1")
    async with Engine({"plain": adapter}, policy=policy, transport=httpx.MockTransport(handle)) as engine:
        begun = [engine.start("plain", call) for _ in range(5)]
        while len(under_way) < 2:
            await anyio.lowlevel.checkpoint()
        begun.append(engine.start("plain", call))
    assert len(ended) == len(under_way) == 2
    for pending in begun:
        with pytest.raises(Unavailable, match="closed") as caught:
            await pending.result()
        assert caught.value.reason == "closed"


class _Interrupted(Plain, frozen=True, kw_only=True):
    def status(self, id):
        def read(response):
            raise KeyboardInterrupt

        return Call(super().status(id).request, read)


def test_an_interrupt_in_a_question_leaves_the_program_time_to_tidy_up():
    """It breaks the loop off once. When the client is closed it is told as part of an error, else it would do so again."""
    _, transport = in_process(Scripted())
    tidied = []

    async def main():
        try:
            async with AsyncClient(
                {"plain": _Interrupted(base_url="https://plain.test")}, transport=transport
            ) as client:
                await client.get("plain:a1")
        except BaseExceptionGroup as group:
            tidied.append([type(error) for error in group.exceptions])
        await anyio.lowlevel.checkpoint()
        tidied.append("all of it")

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(main())
    assert tidied == [[KeyboardInterrupt], "all of it"]


async def test_all_that_questions_failed_with_comes_out_of_the_client():
    """None is lost, and none is left to be found by the collector."""

    class Ending(Plain, frozen=True, kw_only=True):
        def status(self, id):
            def read(response):
                both.append(id)
                raise _Exit(id)

            return Call(super().status(id).request, read)

    async def handle(request):
        waiting.append(request)
        while len(waiting) < 2:
            await anyio.lowlevel.checkpoint()
        return httpx.Response(200, json={"id": "a1", "status": "running"})

    both, waiting = [], []
    adapters = {"plain": Ending(base_url="https://plain.test")}
    with pytest.raises(BaseExceptionGroup) as caught:
        async with AsyncClient(adapters, transport=httpx.MockTransport(handle)) as client:
            await client.get_many(["plain:a1", "plain:a2"])
    assert sorted(map(str, caught.value.exceptions)) == sorted(both)


async def test_a_question_that_was_cancelled_before_it_began_lets_its_caller_go():
    """By who cancels all tasks of a loop: nobody would answer, so the client ends, as by any task that fails."""
    _, transport = in_process(Scripted())
    adapter = Plain(base_url="https://plain.test")
    async with Engine({"plain": adapter}, policy=Policy(), transport=transport) as engine:
        before = asyncio.all_tasks()
        pending = engine.start("plain", adapter.status("a1"))
        for task in asyncio.all_tasks() - before:
            task.cancel()
        with anyio.fail_after(30, shield=True), pytest.raises(Unavailable, match="closed"):
            await pending.result()


async def test_a_question_that_is_begun_while_others_are_ended_is_ended_with_them():
    """Who asks once more while all around is being cancelled would else keep it from ending until there is an answer."""
    leave, ending, asked = asyncio.Event(), asyncio.Event(), []

    async def handle(request):
        asked.append(request)
        try:
            await anyio.sleep_forever()
        finally:
            ending.set()
            with anyio.CancelScope(shield=True):
                await leave.wait()

    adapter = Plain(base_url="https://plain.test")
    call = adapter.status("a1")
    transport = httpx.MockTransport(handle)
    with anyio.CancelScope() as around:
        async with Engine({"plain": adapter}, policy=Policy(), transport=transport) as engine:
            engine.start("plain", call)
            while not asked:
                await anyio.lowlevel.checkpoint()
            around.cancel()
            try:
                with anyio.fail_after(30, shield=True):
                    await ending.wait()
                    late = engine.start("plain", call)
                    with pytest.raises(Unavailable, match="closed"):
                        await late.result()
            finally:
                leave.set()
    assert len(asked) == 1
