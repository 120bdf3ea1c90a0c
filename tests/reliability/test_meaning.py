"""What an answer means: which statuses and bodies are a provider's word about a bulk, and which tell nothing of it."""

import json
import time
from contextlib import ExitStack
from itertools import pairwise

import anyio
import msgspec
import pytest

from bulkstatus import (
    AsyncClient,
    AuthError,
    Client,
    NotFound,
    Policy,
    ProtocolError,
    RateLimited,
    RequestRejected,
    State,
    Unavailable,
    Verdict,
)
from bulkstatus.testing import FakeResponse, FakeTransport, Fault, Life, serve
from bulkstatus_cloudflare.fake import CloudflareFake
from bulkstatus_druid.fake import DruidFake
from bulkstatus_weavr.fake import WeavrFake
from reliability.command import command_line
from support import NOT_THERE, Plain, Scripted, ask, raw_server, reply
from virtual import BIRTH, VirtualClock, World, run_virtually, virtual_clients

CF = "7be1c3f09a5d4e21b6c8d7f00a94e152"
HTML, TEXT, JSON = (
    {"Content-Type": kind} for kind in ("text/html; charset=utf-8", "text/plain", "application/json")
)
RUNNING = {"weavr": "RUNNING", "cloudflare": "running", "druid": "processing"}
BULKS = {"weavr": "1", "cloudflare": CF, "druid": "019a0b1c"}
FAKES = {"weavr": WeavrFake, "cloudflare": CloudflareFake, "druid": DruidFake}


class One:
    """A provider with one bulk that runs, and which questions about bulks it got."""

    def __init__(self, word):
        self.word = word
        self.fake = FAKES[word]()
        self.id = BULKS[word]
        self.fake.add(self.id, Life.of((0, RUNNING[word])))

    def fail(self, **fault):
        """Let questions about bulks fail, not those for tokens."""
        return self.fake.fail(Fault(where="bulk", **fault))

    @property
    def asked(self):
        """How many questions about bulks it got."""
        return sum("bulk" in request.path for request in self.fake.requests)

    def get(self, kind, **options):
        """Get the bulk over a real socket."""
        with serve(self.fake) as url:
            (status,) = ask(kind, self.fake.adapter(url), f"plain:{self.id}", **options)
            return status


@pytest.fixture(params=sorted(FAKES))
def one(request):
    """Each provider with one bulk."""
    return One(request.param)


@pytest.fixture
def impatient(monkeypatch, quick):
    """Pauses that last no time, unless the provider says how long they are."""
    monkeypatch.setattr("bulkstatus._budget._LONGEST_GUESS", 0.001)


def both(kind, adapters, work):
    """Run the coroutine function `work` with a client; its steps are `call(method, ...)`, whichever client it is."""

    async def main():
        if kind == "async":
            async with AsyncClient(adapters) as client:
                return await work(lambda name, *args, **options: getattr(client, name)(*args, **options))
        with Client(adapters) as client:

            async def call(name, *args, **options):
                return await anyio.to_thread.run_sync(lambda: getattr(client, name)(*args, **options))

            return await work(call)

    return anyio.run(main)


def virtual_wait(prepare, **options):
    """A wait on virtual time for what `prepare` gives; the outcome, when it ended, the world."""

    async def main():
        world = World()
        refs = prepare(world)
        async with world.client() as client:
            outcome = await client.wait(refs, **options)
            return outcome, world.now, world

    return run_virtually(main, longest=200_000)


@pytest.fixture
def line(monkeypatch, tmp_path, capsys):
    """Run the command line in this process, over fakes on real sockets that it is given by source."""
    with command_line(monkeypatch, tmp_path, capsys) as call:
        yield call


# --- outages and pauses ---


@pytest.mark.row("F41")
@pytest.mark.parametrize("status", [500, 502, 503, 504, 520, 529])
def test_one_outage_is_not_seen_by_the_caller(status, kind, transport, impatient):
    """One 5xx and then the answer are an answer, after two requests."""
    one = One("weavr")
    one.fail(status=status)
    assert one.get(kind).state is State.RUNNING
    assert one.asked == 2


@pytest.mark.row("F41", "F42")
def test_an_outage_costs_four_requests_and_then_fewer(one, kind, transport, impatient):
    """Ten questions cost 10 requests and the 10 retries that the quota pays for; each says that nobody could look."""
    one.fail(status=503, times=None)

    async def work(call):
        for _ in range(10):
            with pytest.raises(Unavailable) as caught:
                await call("get", f"s:{one.id}")
            assert (caught.value.status, caught.value.retryable) == (503, True)

    with serve(one.fake) as url:
        both(kind, {"s": one.fake.adapter(url)}, work)
    assert one.asked == 20


@pytest.mark.row("F42")
@pytest.mark.parametrize("fault", [Fault(status=503, times=None), Fault(drop=True, times=None)])
@pytest.mark.unrecorded
def test_a_long_outage_is_met_with_few_requests(fault):
    """After five minutes of it no source is asked more often than every other second, however many bulks it has."""

    def prepare(world):
        refs = []
        for number in range(1, 41):
            for source, fake in world.fakes.items():
                id = f"{number:032x}" if source == "c" else str(number)
                word = {"w": "RUNNING", "c": "running", "d": "processing"}[source]
                fake.add(id, Life.of((0, word)))
                refs.append(f"{source}:{id}")
        for fake in world.fakes.values():
            fake.fail(fault)
        return refs

    outcome, moment, world = virtual_wait(prepare, timeout=3_600, blind_after=3_600)
    assert set(outcome.verdicts.values()) == {Verdict.BLIND}
    assert moment == pytest.approx(3_600, abs=1)
    for fake in world.fakes.values():
        late = [at for at in fake.arrivals if at > 300]
        assert 5 <= len(late) <= 0.5 * 3_300
        for begin in range(300, 3_600, 60):
            assert len([at for at in late if begin <= at < begin + 60]) <= 30


@pytest.mark.row("F43")
def test_a_pause_that_the_provider_asks_for_is_kept(kind, transport, impatient):
    """`Retry-After: 1`: the next request comes a second later, and is the answer."""
    arrivals = []

    def respond(request):
        arrivals.append(time.monotonic())
        if len(arrivals) == 1:
            return FakeResponse(status=429, headers={"Retry-After": "1"})
        return FakeResponse.json({"id": "a1", "status": "running"})

    with serve(Scripted(respond)) as url:
        assert ask(kind, Plain(base_url=url))[0].state is State.RUNNING
    first, second = arrivals
    assert second - first >= 1.0


@pytest.mark.row("F43", "F44")
@pytest.mark.parametrize(("said", "least"), [({"Retry-After": "2"}, 2.0), ({}, 1.0)])
def test_throttling_is_answered_with_a_pause(said, least):
    """As long as the provider says; without a word of its own a second at first. Then the wait goes on to the end."""

    def prepare(world):
        world.weavr.add("1", Life.of((0, "RUNNING"), (30, "COMPLETED")))
        world.weavr.fail(Fault(status=429, headers=said))
        return "w:1"

    outcome, _, world = virtual_wait(prepare, timeout=600)
    assert outcome.succeeded
    assert world.weavr.arrivals[1] - world.weavr.arrivals[0] >= least


@pytest.mark.row("F44")
def test_throttling_without_a_word_slows_down_to_a_request_in_one_to_five_minutes():
    """And to no fewer: the provider may be well again any time."""

    def prepare(world):
        world.cloudflare.add(CF, Life.of((0, "running")))
        world.cloudflare.fail(Fault(status=429, times=None))
        return f"c:{CF}"

    outcome, _, world = virtual_wait(prepare, timeout=3_600, blind_after=3_600)
    assert outcome.verdicts == {f"c:{CF}": Verdict.PENDING}
    gaps = [later - earlier for earlier, later in pairwise(world.cloudflare.arrivals)]
    assert all(gap >= 1.0 for gap in gaps)
    assert max(gaps) <= 330
    assert min(gaps[-10:]) >= 59


@pytest.mark.row("F44")
def test_throttling_without_a_word_and_then_an_answer_is_an_answer(one, kind, transport, impatient):
    """429 once costs one more request."""
    one.fail(status=429)
    assert one.get(kind).state is State.RUNNING
    assert one.asked == 2


@pytest.mark.row("F45")
@pytest.mark.parametrize("status", [429, 503])
def test_a_pause_beyond_the_deadline_ends_a_wait_at_once(status, kind, transport):
    """The provider wants a day and the wait has half an hour: one request, `pending`, and the pause is named."""
    one = One("weavr")
    one.fail(status=status, headers={"Retry-After": "86400"}, times=None)

    async def work(call):
        with anyio.fail_after(60):
            return await call("wait", f"s:{one.id}", timeout=1_800)

    with serve(one.fake) as url:
        (result,) = both(kind, {"s": one.fake.adapter(url)}, work)
    assert result.verdict is Verdict.PENDING
    assert one.asked == 1
    assert "pause of 86400 s" in result.failure.message


@pytest.mark.row("F46")
def test_throttling_of_one_source_is_kept_to_it(kind, transport):
    """Its other bulks are not asked for either, and the sources of other credentials answer as before."""
    throttled, well = One("weavr"), One("cloudflare")
    throttled.fail(status=429, headers={"Retry-After": "300"}, times=None)

    async def work(call):
        for id in ("1", "2", "3"):
            with pytest.raises(RateLimited) as caught:
                await call("get", f"w:{id}")
            assert caught.value.retry_after >= 290
            assert (await call("get", f"c:{well.id}")).state is State.RUNNING
        report = await call("get_many", ["w:1", f"c:{well.id}"])
        assert [status.source for status in report] == ["c"]
        assert [failure.kind for failure in report.failures] == ["rate_limited"]

    with ExitStack() as stack:
        adapters = {
            name: each.fake.adapter(stack.enter_context(serve(each.fake)))
            for name, each in (("w", throttled), ("c", well))
        }
        both(kind, adapters, work)
    assert (throttled.asked, well.asked) == (1, 4)


SLOW = Fault(delay=19.0, times=None)


def lateness(slow):
    """How late the ends of 170 bulks of two providers are seen, beside 830 of a third that is slow or not."""

    async def main():
        world = World()
        ends = {}
        for number in range(1, 1_001):
            source = "w" if number <= 150 else "c" if number <= 170 else "d"
            id = f"{number:032x}" if source == "c" else str(number)
            words = {"w": ("RUNNING", "COMPLETED"), "c": ("running", "failed"), "d": ("processing", "failed")}
            end = 20.0 + number % 97
            world.fakes[source].add(id, Life.of((0, words[source][0]), (end, words[source][1])))
            ends[f"{source}:{id}"] = end
        if slow:
            world.druid.fail(SLOW)
        seen = {}

        async def note(change):
            if change.verdict is not None and change.source != "d":
                seen[change.ref] = world.now - ends[change.ref]

        async with world.client() as client:
            outcome = await client.wait(list(ends), timeout=900, on_change=note)
        return outcome, sorted(seen.values())

    return run_virtually(main)


@pytest.mark.row("F59")
@pytest.mark.unrecorded
def test_a_slow_provider_of_three_delays_no_other():
    """All of a thousand bulks get their verdict; 95 of 100 of the other two's not two seconds later than without it."""
    (_, usual), (outcome, late) = lateness(slow=False), lateness(slow=True)
    assert {result.verdict for result in outcome} == {Verdict.SUCCEEDED, Verdict.FAILED}
    assert len(late) == len(usual) == 170
    assert late[161] <= usual[161] + 2.0
    assert late[-1] <= usual[-1] + 10.0


# --- redirects ---


@pytest.mark.row("F47")
@pytest.mark.parametrize("status", [300, 301, 302, 303, 307, 308])
def test_a_redirect_is_never_followed(status, kind, transport):
    """The target gets no connection, and the error names its host without the rest of the address."""
    with raw_server(reply()) as target:
        location = f"Location: http://user:pw@127.0.0.1:{target.port}/bulks/a1?key=1"
        with (
            raw_server(reply(b"", status, location)) as server,
            pytest.raises(ProtocolError) as caught,
        ):
            ask(kind, Plain(base_url=server.url))
    assert (caught.value.reason, caught.value.retryable) == ("redirect_refused", False)
    assert (server.connections, target.connections) == (1, 0)
    assert f"127.0.0.1:{target.port}" in str(caught.value)
    assert "pw" not in str(caught.value)
    assert "key=1" not in str(caught.value)


@pytest.mark.row("F48")
@pytest.mark.parametrize(
    "location", ["/bulks/a1", "file:///etc/passwd", "http://[::1", "", "\x1b[31m", "//evil.test/x", "itself"]
)
def test_no_redirect_is_followed_wherever_it_leads(location, kind, transport):
    """To itself, to a file, to nowhere: refused after one request."""
    with raw_server(b"") as server:
        target = f"{server.url}/bulks/a1" if location == "itself" else location
        server.script = (reply(b"", 302, f"Location: {target}"),)
        with pytest.raises(ProtocolError) as caught:
            ask(kind, Plain(base_url=server.url))
    assert (caught.value.reason, server.connections) == ("redirect_refused", 1)
    assert "\x1b" not in str(caught.value)


# --- what is not there ---

DENIALS = {
    "a page": (b"<html><h1>404 Not Found</h1></html>", HTML),
    "a page that is called JSON": (b"<html>", JSON),
    "a sentence": (b"default backend - 404", TEXT),
    "a sentence without a type": (b"404 page not found\n", {}),
    "nothing": (b"", {}),
    "nothing, as JSON": (b"", JSON),
    "blanks": (b" \r\n ", JSON),
    "a gateway's JSON": (b'{"message": "no Route matched with those values"}', JSON),
    "a framework's JSON": (b'{"timestamp": 1, "status": 404, "error": "Not Found", "path": "/"}', JSON),
    "an empty object": (b"{}", JSON),
    "a list": (b"[]", JSON),
    "null": (b"null", JSON),
    "its own words, as text": (NOT_THERE, TEXT),
    "its own words, of a challenge": (NOT_THERE, {**JSON, "cf-mitigated": "challenge"}),
}


@pytest.mark.row("F50", "F52")
@pytest.mark.parametrize("status", [404, 410])
@pytest.mark.parametrize("denial", DENIALS)
@pytest.mark.unrecorded
def test_only_the_provider_itself_can_say_that_a_bulk_is_not_there(one, status, denial, impatient):
    """What a proxy or a gateway answers in its place is an outage: somebody would run the bulk again."""
    body, headers = DENIALS[denial]
    one.fail(status=status, body=body, headers=headers, times=None)
    with pytest.raises(Unavailable) as caught:
        one.get("async")
    assert (caught.value.reason, caught.value.status, caught.value.retryable) == ("edge", status, True)
    assert "base_url" in caught.value.message
    assert one.asked == 4


@pytest.mark.row("F50", "F52")
@pytest.mark.parametrize(("status", "reason"), [(404, None), (410, "gone")])
def test_the_providers_own_word_that_a_bulk_is_not_there_is_believed(one, status, reason, kind, transport):
    """After one request; a 410 says besides that it will not come back."""
    one.fail(status=status, body=NOT_THERE, headers=JSON, times=None)
    with pytest.raises(NotFound) as caught:
        one.get(kind)
    assert (caught.value.reason, caught.value.retryable) == (reason, False)
    assert one.asked == 1


@pytest.mark.row("F50")
def test_a_bulk_that_no_provider_has_is_not_found(one, kind, transport):
    """By the answers that the providers' pages tell of."""
    one.fake.remove(one.id)
    with pytest.raises(NotFound):
        one.get(kind)
    assert one.asked == 1


def waited(kind, one, **options):
    """The outcome of a wait for its bulk on virtual time, with a client of that kind."""
    url = f"https://one.test{one.fake.prefix}"
    adapters, transport = {"s": one.fake.adapter(url)}, FakeTransport({url: one.fake})
    if kind == "blocking":
        with virtual_clients(), Client(adapters, transport=transport) as client:
            return client.wait(f"s:{one.id}", **options)

    async def main():
        async with AsyncClient(adapters, transport=transport) as client:
            return await client.wait(f"s:{one.id}", **options)

    return run_virtually(main)


def living(word, *steps):
    """A provider on the loop's time, with one bulk that lives through `steps`."""
    one = One(word)
    one.fake.clock = VirtualClock()
    one.fake.add(one.id, Life.of(*steps), **({"succeeding": 250} if word == "weavr" else {}))
    return one


@pytest.mark.row("F49")
def test_a_young_bulk_that_is_not_known_yet_is_waited_for(kind):
    """404 in its first seconds, then its status, then its end."""
    one = living("cloudflare", (0, "running"), (30, "completed"))
    one.fail(status=404, body=NOT_THERE, headers=JSON, times=2)
    outcome = waited(kind, one, timeout=600)
    assert outcome.succeeded


@pytest.mark.row("F50")
def test_a_bulk_that_stays_unknown_is_not_found_after_the_grace(kind):
    """Asked for again and again in its first 20 s, and then no more."""
    one = One("cloudflare")
    one.fail(status=404, body=NOT_THERE, headers=JSON, times=None)
    outcome = waited(kind, one, timeout=600)
    assert outcome.verdicts == {f"s:{one.id}": Verdict.NOT_FOUND}
    assert 20 <= (outcome.observed_at - BIRTH).total_seconds() <= 25
    assert one.asked >= 3


@pytest.mark.row("F51")
def test_a_bulk_that_was_seen_and_is_unknown_once_is_waited_for(kind):
    """One such answer in between changes nothing."""
    one = living("weavr", (0, "RUNNING"), (100, "COMPLETED"))
    answer = one.fake.answer

    def denies_once(request):
        hit = one.asked == 5
        return FakeResponse(status=404, body=NOT_THERE, headers=JSON) if hit else answer(request)

    one.fake.answer = denies_once
    outcome = waited(kind, one, timeout=600)
    assert outcome.succeeded
    assert one.asked > 6


@pytest.mark.row("F51", "F52")
@pytest.mark.parametrize(("status", "asked"), [(404, 2), (410, 1)])
def test_a_bulk_that_was_seen_and_is_denied_is_gone(kind, status, asked):
    """Twice by 404, or once by 410: its last status stays, and nothing more is asked."""
    one = living("weavr", (0, "RUNNING"))
    answer = one.fake.answer
    denials = []

    def denies(request):
        if one.asked <= 4:
            return answer(request)
        denials.append(request)
        return FakeResponse(status=status, body=NOT_THERE, headers=JSON)

    one.fake.answer = denies
    (result,) = waited(kind, one, timeout=600)
    assert result.verdict is Verdict.GONE
    assert result.status.state is State.RUNNING
    assert len(denials) == asked


@pytest.mark.row("F50", "F51")
def test_a_gateway_that_denies_everything_makes_no_bulk_missing():
    """Neither one that was never seen nor one that was: the wait goes on, and has their ends afterwards."""

    def prepare(world):
        world.weavr.add("1", Life.of((0, "RUNNING"), (100, "COMPLETED")))
        world.cloudflare.add(CF, Life.of((0, "running"), (100, "failed")))
        world.druid.add("b", Life.of((0, "processing"), (100, "completed")))
        for fake, begin in ((world.weavr, 0.0), (world.cloudflare, 20.0), (world.druid, 40.0)):
            fault = Fault(status=404, body=b"no healthy upstream", headers=TEXT, times=None, where="bulk")
            world.at(begin, lambda fake=fake, fault=fault: fake.fail(fault))
            world.at(300.0, lambda fake=fake, fault=fault: fake.heal(fault))
        return ["w:1", f"c:{CF}", "d:b"]

    outcome, moment, _ = virtual_wait(prepare, timeout=3_600)
    assert [result.verdict for result in outcome] == [
        Verdict.SUCCEEDED,
        Verdict.FAILED,
        Verdict.SUCCEEDED,
    ]
    assert 300 <= moment <= 400


# --- what stands in front of a provider ---


@pytest.mark.row("F53")
@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"<!DOCTYPE html><title>Just a moment...</title>", HTML),
        (b"error code: 1020", TEXT),
        (b"<html>Attention Required!</html>", {}),
        (b"{}", {**JSON, "cf-mitigated": "challenge"}),
    ],
)
@pytest.mark.usefixtures("impatient")
def test_a_challenge_is_no_refusal_of_credentials(one, body, headers, kind, transport):
    """A 403 of the network edge is an outage: asked four times, and nobody is told to check a token."""
    one.fail(status=403, body=body, headers=headers, times=None)
    with pytest.raises(Unavailable) as caught:
        one.get(kind)
    assert (caught.value.reason, caught.value.status) == ("edge", 403)
    assert "edge in front of the provider" in caught.value.message
    assert one.asked == 4


@pytest.mark.row("F53")
def test_the_providers_own_403_is_a_refusal(one, kind, impatient):
    """In JSON, or with no body, it is about the credentials."""
    one.fail(status=403, body=b'{"errorCode": "INSUFFICIENT_PERMISSIONS", "success": false}', headers=JSON)
    with pytest.raises(AuthError):
        one.get(kind)
    one.fail(status=403)
    with pytest.raises(AuthError):
        one.get(kind)
    assert one.asked == 2


@pytest.mark.row("F54")
@pytest.mark.parametrize(
    ("headers", "named"), [(HTML, "text/html"), (TEXT, "text/plain"), ({}, "no content type")]
)
@pytest.mark.usefixtures("impatient")
def test_a_page_in_place_of_an_answer_is_named(one, headers, named, kind, transport):
    """A login or maintenance page under 200: asked twice, and the error says what came instead of JSON."""
    page = b"<html><form action=/login>S3CR3T</form></html>"
    one.fail(status=200, body=page, headers=headers, times=None)
    with pytest.raises(ProtocolError) as caught:
        one.get(kind)
    assert (caught.value.reason, caught.value.status) == ("bad_payload", 200)
    assert named in caught.value.message
    assert "S3CR3T" not in str(caught.value)
    assert one.asked == 2


GOOD = {
    "weavr": {"bulkId": "1", "status": "COMPLETED", "submittedItemsCount": 0},
    "cloudflare": {
        "success": True,
        "errors": [],
        "messages": [],
        "result": {"id": CF, "status": "completed"},
    },
    "druid": {"content": {"bulkId": "019a0b1c", "status": "failed"}, "result": {"status": 200}},
}


@pytest.mark.row("F56")
@pytest.mark.parametrize("status", [204, 205, 206, 304])
def test_a_status_that_nobody_asked_for_is_no_answer(one, status, kind, transport, impatient):
    """Not modified, no content, a part: asked twice, and nothing is concluded, whatever the body says."""
    body = b"" if status in (204, 205, 304) else json.dumps(GOOD[one.word]).encode()
    one.fail(status=status, body=body, headers=JSON, times=None)
    with pytest.raises(ProtocolError) as caught:
        one.get(kind)
    assert caught.value.retryable
    assert one.asked == 2


# --- envelopes that say two things ---


def told(word, body, kind, **options):
    """What is made of a body under 200."""
    one = One(word)
    one.fail(status=200, body=json.dumps(body).encode(), headers=JSON, times=None)
    adapter = one.fake.adapter("https://one.test")
    transport = FakeTransport({"https://one.test": one.fake})
    (status,) = ask(kind, adapter, f"plain:{one.id}", transport=transport, **options)
    return status


ENDED = {"id": CF, "status": "completed", "completed": "2026-02-11T17:04:39Z"}


@pytest.mark.row("F55")
@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"success": False, "errors": [{"code": 10000}], "result": ENDED}, AuthError),
        ({"success": False, "errors": [{"code": 10040}], "result": ENDED}, RateLimited),
        ({"success": False, "errors": [{"code": 7003}], "result": ENDED}, NotFound),
        ({"success": False, "errors": [{"code": 99}], "result": ENDED}, RequestRejected),
        ({"success": False, "errors": [], "result": ENDED}, RequestRejected),
        ({"success": False, "result": ENDED}, RequestRejected),
        ({"errors": [{"code": 10000}], "result": ENDED}, AuthError),
        ({"errors": [{"message": "something broke"}], "result": ENDED}, RequestRejected),
        ({"success": "true", "errors": [], "result": ENDED}, ProtocolError),
        ({"success": 1, "errors": [], "result": ENDED}, ProtocolError),
        ({"success": True, "errors": [], "result": [ENDED]}, ProtocolError),
        ({"success": True, "errors": [], "result": None}, ProtocolError),
    ],
)
def test_cloudflares_envelope_goes_before_its_result(body, error, kind, impatient):
    """An answer that is no success is an error by its code, and never a bulk, whatever stands in `result`."""
    with pytest.raises(error) as caught:
        told("cloudflare", body, kind, policy=Policy(attempts=1))
    assert type(caught.value) is error


FINISHED = {"bulkId": "019a0b1c", "status": "completed", "updatedOn": "2026-02-11T17:04:39Z"}
BROKEN = {**FINISHED, "status": "failed"}


@pytest.mark.row("F55")
@pytest.mark.parametrize("content", [FINISHED, BROKEN, [BROKEN], None, []], ids=str)
@pytest.mark.parametrize(
    ("beside", "error"),
    [
        ({"result": {"status": 500}}, Unavailable),
        ({"result": {"status": "500"}}, Unavailable),
        ({"result": {"status": 401}}, AuthError),
        ({"result": {"status": 400, "message": "bad"}}, RequestRejected),
        ({"result": {"status": 500.0}}, ProtocolError),
        ({"result": {"status": "ERROR"}}, ProtocolError),
        ({"result": {"status": 302}}, ProtocolError),
        ({"result": {"status": 0}}, ProtocolError),
        ({"result": {"status": {"code": 500}}}, ProtocolError),
        ({"result": {"status": 200, "errors": [{"message": "x"}]}}, ProtocolError),
        ({"result": {"errors": "x"}}, ProtocolError),
        ({"result": "Internal error"}, ProtocolError),
        ({"result": ["x"]}, ProtocolError),
        ({"result": {"status": 200}, "error": "Internal Server Error"}, ProtocolError),
        ({"result": {"status": 200}, "status": 500}, ProtocolError),
        ({"status": "503"}, ProtocolError),
    ],
    ids=str,
)
def test_druids_envelope_goes_before_its_content(content, beside, error, kind, impatient):
    """An envelope that tells an error, or none in any known form, gives no verdict: no end, and no missing bulk."""
    with pytest.raises(error) as caught:
        told("druid", {"content": content, **beside}, kind, policy=Policy(attempts=1))
    assert type(caught.value) is error


@pytest.mark.row("F55")
@pytest.mark.parametrize(
    "body",
    [
        {"code": "INTERNAL", "message": "x"},
        {"errorCode": "TOO_MANY_REQUESTS"},
        {"message": "x", "status": "COMPLETED"},
        {"bulkId": None, "status": "COMPLETED"},
        {},
    ],
    ids=str,
)
def test_weavrs_errors_are_no_bulks_under_200_either(body, kind, impatient):
    """Without a bulk in it an answer says nothing of one."""
    with pytest.raises(ProtocolError) as caught:
        told("weavr", body, kind)
    assert caught.value.reason == "bad_payload"


# --- what the command line makes of it ---

ENDINGS = {
    "503": (Fault(status=503, times=None), 7, "cannot answer now"),
    "a day's pause": (
        Fault(status=429, headers={"Retry-After": "86400"}, times=None),
        7,
        "try again in 24 h",
    ),
    "a redirect": (
        Fault(status=302, headers={"Location": "https://evil.test/x?token=over-there"}, times=None),
        7,
        "redirect to evil.test",
    ),
    "its own 404": (Fault(status=404, body=NOT_THERE, headers=JSON, times=None), 5, "not found"),
    "its own 410": (Fault(status=410, body=NOT_THERE, headers=JSON, times=None), 5, "no longer there"),
    "a gateway's 404": (Fault(status=404, body=b"not found", headers=TEXT, times=None), 7, "check base_url"),
    "an empty 410": (Fault(status=410, times=None), 7, "check base_url"),
    "a challenge": (Fault(status=403, body=b"<html>", headers=HTML, times=None), 7, "network edge"),
    "its own 403": (Fault(status=403, times=None), 4, "check its credentials"),
    "a page": (Fault(status=200, body=b"<html>S3CR3T", headers=HTML, times=None), 7, "text/html"),
    "304": (Fault(status=304, times=None), 7, "means nothing here"),
}


@pytest.mark.row("F42", "F45", "F47", "F50", "F52", "F53", "F54", "F56")
@pytest.mark.parametrize("case", ENDINGS)
def test_the_command_line_says_what_an_answer_means(one, case, line):
    """By its exit code, by one line on stderr, and by a report without a status."""
    fault, code, words = ENDINGS[case]
    fault.where, one_ref = "bulk", f"s:{one.id}"
    one.fake.fail(msgspec.structs.replace(fault))
    done = line({"s": one.fake}, "get", one_ref, "-o", "json", "--no-journal")
    assert done.code == code
    assert json.loads(done.out)["statuses"] == []
    assert words in done.err
    assert "S3CR3T" not in done.out + done.err


@pytest.mark.row("F45")
def test_the_command_line_does_not_wait_for_what_cannot_come(one, line):
    """`wait` ends at once with 8, and says how long the provider wants to be left alone."""
    one.fail(status=429, headers={"Retry-After": "86400"}, times=None)
    done = line({"s": one.fake}, "wait", f"s:{one.id}", "--timeout", "30m", "--no-journal")
    assert done.code == 8
    assert "pause of 86400 s" in done.err
    assert one.asked == 1
