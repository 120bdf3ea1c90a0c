"""What is asked again, how often, and after how long."""

import logging
import random
from contextlib import suppress
from datetime import UTC, datetime

import anyio
import httpx
import pytest
import stamina.instrumentation
from hypothesis import given
from hypothesis import strategies as st

import bulkstatus._retry
from bulkstatus import (
    AsyncClient,
    AuthError,
    ConfigError,
    NotFound,
    Policy,
    ProtocolError,
    RateLimited,
    RequestRejected,
    Unavailable,
)
from bulkstatus._retry import Quota, attempts_for, backoff, with_retries
from bulkstatus.adapter import Call, retry_after
from bulkstatus.testing import FakeTransport, Fault, serve
from support import Plain, Scripted, ask

_POLICY = Policy()


@pytest.fixture
def quick(monkeypatch):
    """Pauses between attempts that last no time, unless the provider asks for them."""
    monkeypatch.setattr("bulkstatus._retry._BASE", 0.001)
    monkeypatch.setattr("bulkstatus._retry._BASE_THROTTLED", 0.001)
    monkeypatch.setattr("bulkstatus._budget._LONGEST_GUESS", 0.001)


@pytest.fixture(params=["blocking", "async"])
def kind(request):
    """Which of the two clients asks."""
    return request.param


STATUSES = {
    **dict.fromkeys([408, 425, 500, 502, 503, 504, 520, 521, 522, 523, 524, 529, 507], (Unavailable, 4)),
    429: (RateLimited, 4),
    **dict.fromkeys([400, 405, 406, 414, 422, 431, 451, 501, 505], (RequestRejected, 1)),
    **dict.fromkeys([409, 423], (RequestRejected, 3)),  # two retries at most
    401: (AuthError, 1),
    403: (AuthError, 1),
    404: (NotFound, 1),
    410: (NotFound, 1),
    307: (ProtocolError, 1),
    600: (ProtocolError, 2),
    204: (ProtocolError, 2),
}


@pytest.mark.parametrize("status", STATUSES)
def test_a_status_decides_the_error_and_the_number_of_attempts(status, quick):
    """The table of the retry policy, a row each."""
    error, attempts = STATUSES[status]
    fake = Scripted()
    fake.fail(Fault(status=status, times=None))
    with pytest.raises(error) as caught:
        ask(
            "async",
            Plain(base_url="https://plain.test"),
            transport=FakeTransport({"https://plain.test": fake}),
        )
    assert type(caught.value) is error
    assert (len(fake.requests), caught.value.status) == (attempts, status)


def test_a_provider_that_drops_connections_is_asked_again(quick, kind):
    """Three dropped connections and then an answer are an answer."""
    fake = Scripted()
    fake.fail(Fault(drop=True, times=3))
    with serve(fake) as url:
        assert ask(kind, Plain(base_url=url))[0].id == "a1"
    assert len(fake.requests) == 4


def test_attempts_can_be_limited_to_one(quick):
    """With `attempts=1` nothing is asked twice."""
    fake = Scripted()
    fake.fail(Fault(status=503, times=None))
    transport = FakeTransport({"https://plain.test": fake})
    with pytest.raises(Unavailable):
        ask("async", Plain(base_url="https://plain.test"), transport=transport, policy=Policy(attempts=1))
    assert len(fake.requests) == 1


@pytest.fixture
def waits():
    """The pauses before each retry, in seconds, as they are made."""
    made = []
    stamina.instrumentation.set_on_retry_hooks([lambda details: made.append(details.wait_for)])
    yield made
    stamina.instrumentation.set_on_retry_hooks(None)


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("pause", ["86400", "121", "999999999"])
def test_a_pause_longer_than_the_patience_ends_the_question_at_once(status, pause, kind):
    """The provider's own error comes, with the pause in it, after one request and no sleep."""
    fake = Scripted()
    fake.fail(Fault(status=status, headers={"Retry-After": pause}, times=None))
    with serve(fake) as url, pytest.raises((RateLimited, Unavailable)) as caught:
        ask(kind, Plain(base_url=url))
    assert caught.value.retry_after == float(pause)
    assert len(fake.requests) == 1


def test_after_a_long_pause_was_asked_for_nothing_is_sent(quick):
    """The source is told to wait a day: the next questions, for an hour at most, are refused without a request."""
    fake = Scripted()
    fake.fail(Fault(status=429, headers={"Retry-After": "86400"}))

    async def main():
        transport = FakeTransport({"https://plain.test": fake})
        async with AsyncClient(
            {"plain": Plain(base_url="https://plain.test")}, transport=transport
        ) as client:
            with pytest.raises(RateLimited) as caught:
                await client.get("plain:a1")
            assert caught.value.retry_after == 86_400
            for _ in range(3):
                with pytest.raises(RateLimited) as caught:
                    await client.get("plain:a1")
                assert 3_500 < caught.value.retry_after <= 3_600

    anyio.run(main)
    assert len(fake.requests) == 1


@pytest.mark.parametrize(
    "value",
    [
        "",
        "abc",
        "-1",
        "1.5",
        "1e3",
        "inf",
        "nan",
        "+5",
        "9" * 400,
        "2026-01-01T00:00:00Z",
        "Wed, 99 Oct 2026 10:00:00 GMT",
    ],
)
def test_a_pause_that_cannot_be_read_is_ignored(value, quick):
    """A senseless Retry-After changes nothing: the question is asked again after the usual pause."""
    fake = Scripted()
    fake.fail(Fault(status=429, headers={"Retry-After": value}))
    transport = FakeTransport({"https://plain.test": fake})
    assert ask("async", Plain(base_url="https://plain.test"), transport=transport)[0].id == "a1"
    assert len(fake.requests) == 2


_NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": " 5 "}, 5.0),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "5, 10"}, 10.0),
        ({"retry-after": "\u0665"}, None),
        ({"retry-after": "999999999"}, 999_999_999.0),
        ({"retry-after": "1000000000"}, None),
        ({"retry-after": "Thu, 01 Jan 2026 12:00:30 GMT"}, 30.0),
        ({"retry-after": "Thu, 01 Jan 2026 11:00:00 GMT"}, 0.0),
        ({"retry-after": "Thu, 01 Jan 2026 12:00:30"}, None),
        (
            {"retry-after": "Thu, 01 Jan 2026 15:00:30 GMT", "date": "Thu, 01 Jan 2026 15:00:00 GMT"},
            30.0,
        ),
    ],
)
def test_retry_after_is_whole_seconds_or_a_date_against_the_replys_own(headers, seconds):
    """A clock that is hours apart from the provider's does not change the pause."""
    assert retry_after(headers, now=_NOW) == seconds


@given(st.text(max_size=40))
def test_retry_after_never_raises_and_is_never_negative(text):
    """Whatever a provider puts there."""
    wait = retry_after({"retry-after": text, "date": text}, now=_NOW)
    assert wait is None or 0 <= wait < 1e12


@given(st.integers(1, 50), st.floats(0, 1, exclude_max=True))
def test_backoff_is_bounded(failed, jitter):
    """Full jitter from nothing to eight seconds."""
    for error in (Unavailable("x"), RateLimited("x")):
        assert 0 <= backoff(error, failed, jitter=lambda: jitter) <= 8


@pytest.mark.parametrize(
    ("error", "failed", "longest"),
    [
        (Unavailable("x"), 1, 0.5),
        (Unavailable("x"), 2, 1.0),
        (Unavailable("x"), 9, 8.0),
        (RateLimited("x"), 1, 2.0),
        (RateLimited("x"), 3, 8.0),
        (RateLimited("x", retry_after=60.0), 1, 60.0),
        (Unavailable("x", retry_after=0.1), 1, 0.5),
    ],
)
def test_backoff_doubles_and_the_providers_pause_counts_if_longer(error, failed, longest):
    """A quarter of a second at base, one when throttled; the longer of ours and the provider's."""
    assert backoff(error, failed, jitter=lambda: 1.0) == longest


@pytest.mark.parametrize(
    ("error", "attempts"),
    [
        (Unavailable("x"), 4),
        (Unavailable("x", retryable=False), 1),
        (Unavailable("x", reason="dns"), 2),
        (Unavailable("x", reason="pool"), 2),
        (RateLimited("x"), 4),
        (ProtocolError("x"), 1),
        (ProtocolError("x", retryable=True), 2),
        (RequestRejected("x", retryable=True), 3),
        (AuthError("x"), 1),
        (ConfigError("x"), 1),
    ],
)
def test_the_attempts_of_an_error(error, attempts):
    """Only what is retryable is asked again, each branch as often as the policy says, and never more than allowed."""
    assert attempts_for(error, _POLICY) == attempts
    assert attempts_for(error, Policy(attempts=1)) == 1


@pytest.mark.anyio
async def test_the_last_error_is_the_one_raised(quick):
    """When the attempts are used up, the caller learns how the last one failed."""
    errors = [Unavailable("one"), Unavailable("two"), ProtocolError("three"), Unavailable("four")]

    async def once():
        raise errors.pop(0)

    with pytest.raises(ProtocolError, match="three"):
        await with_retries(once, _POLICY, Quota())
    assert len(errors) == 1


@pytest.mark.anyio
async def test_an_error_that_is_not_ours_is_not_retried(quick):
    """A bug does not become less of one by being repeated."""
    calls = []

    async def once():
        calls.append(1)
        raise Unavailable("first") if len(calls) == 1 else ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await with_retries(once, _POLICY, Quota())
    assert len(calls) == 2


@pytest.mark.anyio
async def test_patience_ends_the_attempts(monkeypatch):
    """A pause that would end after the patience does is not begun."""
    monkeypatch.setattr("bulkstatus._retry._BASE", 100.0)
    monkeypatch.setattr(random, "random", lambda: 1.0)
    calls = []

    async def once():
        calls.append(1)
        raise Unavailable("x", retry_after=5.0)

    with pytest.raises(Unavailable):
        await with_retries(once, Policy(patience=1.0), Quota())
    assert len(calls) == 1


class _Pausing(Plain, frozen=True, kw_only=True):
    """Is told to wait a moment, as often as `pauses` says, and then gets its answer."""

    pauses: list[float]

    def status(self, id):
        call = super().status(id)

        def read(response):
            if self.pauses:
                raise Unavailable("the provider cannot answer now", retry_after=self.pauses.pop())
            return call.read(response)

        return Call(call.request, read)


@pytest.mark.parametrize(("pauses", "said"), [([0.02], 1), ([0.02, 0.02], 2), ([0.001], 0)])
def test_a_long_pause_is_said_in_the_log(monkeypatch, quick, caplog, pauses, said):
    """With the source's name and the reason, so that nobody wonders why nothing happens."""
    monkeypatch.setattr("bulkstatus._retry._WORTH_SAYING", 0.01)
    caplog.set_level(logging.WARNING, "bulkstatus")
    transport = FakeTransport({"https://plain.test": Scripted()})
    ask("async", _Pausing(base_url="https://plain.test", pauses=list(pauses)), transport=transport)
    records = [record for record in caplog.records if record.name == "bulkstatus"]
    assert len(records) == said
    for record in records:
        assert record.levelno == logging.WARNING
        assert record.getMessage().startswith("plain: the provider cannot answer now; asking again in")


def test_more_than_five_seconds_are_worth_saying():
    """Shorter pauses are everyday business."""
    assert bulkstatus._retry._WORTH_SAYING == 5.0


@pytest.mark.parametrize("status", [429, 503])
def test_nobody_sits_through_a_pause_of_more_than_five_minutes(status):
    """However patient the policy is: the provider's error comes at once, after one request."""
    fake = Scripted()
    fake.fail(Fault(status=status, headers={"Retry-After": "400"}, times=None))
    transport = FakeTransport({"https://plain.test": fake})
    with pytest.raises((RateLimited, Unavailable)) as caught:
        ask("async", Plain(base_url="https://plain.test"), transport=transport, policy=Policy(patience=1000))
    assert caught.value.retry_after == 400
    assert len(fake.requests) == 1


def test_no_secret_is_in_what_retries_log(quick, caplog):
    """The retry library logs what it repeats; credentials are not among it."""
    caplog.set_level(0)
    asked = []

    def handle(request):
        asked.append(request)
        raise httpx.ReadError("x")

    with pytest.raises(Unavailable):
        ask(
            "async",
            Plain(base_url="https://plain.test", token="S3CR3T-canary"),
            transport=httpx.MockTransport(handle),
        )
    assert asked[0].headers["authorization"] == "Bearer S3CR3T-canary"
    assert "S3CR3T" not in caplog.text


def test_an_outage_is_not_met_with_a_flood(quick):
    """Retries are paid for out of 50, five each; when nothing is left a question is one request."""
    fake = Scripted()
    fault = fake.fail(Fault(status=503, times=None))
    requests = []

    async def main():
        transport = FakeTransport({"https://plain.test": fake})
        async with AsyncClient(
            {"plain": Plain(base_url="https://plain.test")}, transport=transport
        ) as client:

            async def question():
                before = len(fake.requests)
                with suppress(Unavailable):
                    await client.get("plain:a1")
                requests.append(len(fake.requests) - before)

            for _ in range(6):
                await question()
            fake.heal(fault)
            for _ in range(5):  # each answer earns one, so five pay for a retry
                await question()
            fake.fail(Fault(status=503, times=None))
            await question()
            await question()

    anyio.run(main)
    assert requests == [4, 4, 4, 2, 1, 1, 1, 1, 1, 1, 1, 2, 1]


def test_throttled_retries_cost_less(quick):
    """Two each: the pause is already given."""
    quota = Quota()
    assert [quota.spend(RateLimited("x")) for _ in range(26)] == [True] * 25 + [False]
    for _ in range(100):
        quota.earn()
    assert [quota.spend(Unavailable("x")) for _ in range(11)] == [True] * 10 + [False]
