"""The credentials of a source while it is used: fetched once, renewed, and kept out of sight."""

import json
import pickle
import random
import traceback

import anyio
import pytest

from bulkstatus import AuthError, ConfigError, Unavailable
from bulkstatus._credentials import Credentials, Headers, NoCredentials
from bulkstatus.adapter import Request, Response, app_token, bearer
from bulkstatus.testing import ManualClock
from canaries import frames

pytestmark = pytest.mark.anyio
_CANARY = "S3CR3T-canary-of-the-tests"


class Endpoint:
    """Gives tokens t1, t2, ...; `before` is awaited with the number of each request first."""

    def __init__(self, clock, *, expires_in=3600, before=None):
        self.clock = clock
        self.expires_in = expires_in
        self.before = before
        self.asked = 0

    async def fetch(self, call):
        self.asked += 1
        number = self.asked
        await anyio.sleep(0.001)
        if self.before is not None:
            await self.before(number)
        body = f'{{"access_token":"t{number}","token_type":"bearer","expires_in":{self.expires_in}}}'
        call.read(Response.now(200, body))


def by_token(endpoint):
    """Client credentials whose tokens come from `endpoint`."""
    scheme = app_token(Request.to("https://auth.test", "token"), client_id="id", client_secret="secret")
    return Credentials(scheme, endpoint.fetch, endpoint.clock)


def by_function(function):
    """A bearer whose value comes from `function`."""

    async def fetch(call):
        raise AssertionError("there is no token endpoint here")

    return Credentials(bearer(function), fetch, ManualClock(0.0))


async def headers_for(credentials, count):
    """What `count` questions at once get: headers or errors."""
    found = []

    async def one():
        try:
            found.append(await credentials.headers())
        except NoCredentials as stop:
            found.append(stop.error)

    async with anyio.create_task_group() as group:
        for _ in range(count):
            group.start_soon(one)
    return found


@pytest.fixture
def clock():
    """A clock moved by hand."""
    return ManualClock(1000.0)


# --- one for all ---


async def test_those_who_wait_share_one_fetch(clock):
    """Fifty questions, one token."""
    endpoint = Endpoint(clock)
    found = await headers_for(by_token(endpoint), 50)
    assert found == [{"Authorization": "Bearer t1"}] * 50
    assert endpoint.asked == 1


async def test_a_function_is_called_once_for_those_who_wait():
    """It may be slow, or show a prompt."""
    calls = []

    def token():
        calls.append(1)
        return "from-a-function"

    found = await headers_for(by_function(token), 50)
    assert found == [{"Authorization": "Bearer from-a-function"}] * 50
    assert len(calls) == 1


async def test_a_failure_is_shared_by_those_who_wait_and_by_nobody_else(clock):
    """Fifty waiting questions cost one request; whoever comes later tries anew."""

    async def fail(number):
        raise Unavailable(f"failure {number}")

    endpoint = Endpoint(clock, before=fail)
    credentials = by_token(endpoint)
    found = await headers_for(credentials, 50)
    assert {error.message for error in found} == {"failure 1"}
    assert len(set(map(id, found))) == 50
    assert endpoint.asked == 1
    (later,) = await headers_for(credentials, 1)
    assert later.message == "failure 2"


async def test_after_a_failed_renewal_the_next_one_answers_all_who_wait(clock):
    """An old failure is not handed to those who wait for a renewal that succeeds."""

    async def fail_once(number):
        if number == 1:
            raise Unavailable("down")

    endpoint = Endpoint(clock, before=fail_once)
    credentials = by_token(endpoint)
    (first,) = await headers_for(credentials, 1)
    assert first.message == "down"
    assert await headers_for(credentials, 2) == [{"Authorization": "Bearer t2"}] * 2
    assert endpoint.asked == 2


async def test_a_function_that_fails_once_is_asked_again_by_the_next_question():
    """A failure of the store is no lasting state."""
    answers = iter([OSError("x"), "good"])

    def token():
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    credentials = by_function(token)
    found = [*await headers_for(credentials, 1), *await headers_for(credentials, 1)]
    assert isinstance(found[0], AuthError)
    assert found[1] == {"Authorization": "Bearer good"}


async def test_a_token_that_is_slow_and_short_lived_is_used(clock):
    """It may be over before it is here by our reckoning; it is tried once, not fetched for ever."""

    async def slow(number):
        assert number < 5, "fetched for ever"
        clock.advance(40)

    endpoint = Endpoint(clock, expires_in=1, before=slow)
    credentials = by_token(endpoint)
    assert await headers_for(credentials, 1) == [{"Authorization": "Bearer t1"}]
    assert await headers_for(credentials, 1) == [{"Authorization": "Bearer t2"}]
    assert endpoint.asked == 2


async def test_rejected_headers_are_replaced_by_others(clock):
    """The scheme decides whether others can be had."""
    endpoint = Endpoint(clock)
    credentials = by_token(endpoint)
    sent = await credentials.headers()
    assert credentials.rejected(sent)
    assert await credentials.headers() == {"Authorization": "Bearer t2"}
    assert credentials.rejected(sent)  # it is not in use any more, so nothing is thrown away
    assert await credentials.headers() == {"Authorization": "Bearer t2"}


# --- functions of the user's ---


class _Odd(BaseException):
    """Not even an Exception."""


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit, _Odd, OSError, RuntimeError])
async def test_whatever_a_function_raises_is_an_auth_error_without_its_text(kind):
    """Its text may hold the credential, and what ends a program must not end the client's loop."""

    def token():
        raise kind(f"vault said {_CANARY}")

    (error,) = await headers_for(by_function(token), 1)
    assert isinstance(error, AuthError)
    assert error.reason == "secret"
    assert kind.__name__ in str(error)
    assert error.__cause__ is None
    assert _CANARY not in frames(error)


async def test_an_error_of_the_library_comes_through_as_it_is():
    """A value that cannot be a credential is said in the words of the check, which quote nothing."""
    (error,) = await headers_for(by_function(lambda: f"{_CANARY}\n"), 1)
    assert type(error) is ConfigError
    assert "line break" in str(error)
    assert _CANARY not in str(error)


# --- headers ---


def test_headers_show_their_names_alone():
    """In repr and str, and so in a frame whose locals somebody prints."""
    headers = Headers({"Authorization": f"Bearer {_CANARY}", "api-key": _CANARY})
    assert repr(headers) == str(headers) == f"{headers}" == "<Authorization, api-key: ***>"
    with pytest.raises(ZeroDivisionError) as caught:
        _ = 1 / 0
    shown = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
    assert "<Authorization, api-key: ***>" in shown
    assert headers["api-key"] == _CANARY


def test_credentials_are_told_without_the_word_for_their_kind():
    """Providers repeat the token, not the header."""
    headers = Headers({"Authorization": "Bearer one", "api-key": "two"})
    assert headers.values_alone() == ["one", "two"]


@pytest.mark.parametrize(
    ("value", "taken_out"),
    [
        (_CANARY, True),
        ("abcdefghijklmnop", True),
        ("123456789012345x", True),
        ("abcdefghijklmno", False),  # 15 characters
        ("1234567890123456", False),
        ("112233445566778899", False),  # as ids are written
        ("running", False),
    ],
)
def test_a_telling_credential_is_taken_out_of_a_reply(value, taken_out):
    """What is short or all digits may stand there by chance: taking it out would change an id or a word."""
    body = f'{{"id":"{value}","note":"you sent {value}"}}'
    response = Response.now(200, body, {"X": "y"}, source="payments")
    scrubbed = Headers({"Authorization": f"Bearer {value}"}).scrub(response)
    expected = body.replace(value, "***") if taken_out else body
    assert scrubbed.body == expected.encode()
    assert (scrubbed.status, scrubbed.headers, scrubbed.source) == (200, {"x": "y"}, "payments")


@pytest.mark.parametrize(
    "written", ["S3CR3T/abcdefghi+==", "S3CR3T\\/abcdefghi+==", "S3CR3T%2Fabcdefghi%2B%3D%3D"]
)
def test_a_credential_is_taken_out_however_it_is_written(written):
    """As it is, as some writers of JSON escape it, and as forms and URLs do."""
    headers = Headers({"Authorization": "Bearer S3CR3T/abcdefghi+=="})
    assert headers.scrub(Response.now(200, f'{{"sent":"{written}"}}')).body == b'{"sent":"***"}'


@pytest.mark.parametrize(
    ("sent", "left"),
    [
        (rb"S3CR3T/abcdefghi\u002B==", b"***"),  # as .NET writes it
        (rb"S3CR3T\/abcdefghi\u002b\u003d=", b"***"),
        (rb"\u00533CR3T%2Fabcdefghi%2B%3D%3D", b"***"),
        (rb"\u0022\u005c\n\\u0053 S3CR3T/abcdefghi\u002B==", rb"\"\\\n\\u0053 ***"),
        (rb"\u002B\u00e9", rb"\u002B\u00e9"),
        (rb"\\u00533CR3T/abcdefghi\u002B==", rb"\\u00533CR3T/abcdefghi\u002B=="),
    ],
)
def test_a_credential_is_taken_out_whatever_json_escapes_of_it(sent, left):
    """The rest means what it meant, and is left as it is where there is no credential in it."""
    headers = Headers({"Authorization": "Bearer S3CR3T/abcdefghi+=="})
    assert headers.scrub(Response.now(200, b'{"sent":"%b"}' % sent)).body == b'{"sent":"%b"}' % left


def test_a_credential_with_signs_that_json_escapes_is_taken_out():
    """Wherever it stands, whatever of it is escaped, and nothing else changes: what was JSON stays JSON."""
    chances = random.Random(7)

    def written(text, share):
        for character in text:
            if chances.random() < share:
                yield f"\\u{ord(character):04x}"
            else:
                yield f"\\{character}" if character in '"\\' else character

    for secret in (
        '"quoted-at-both-ends"',
        "\\back/slash-and/slash\\",
        'in "the" middle/\\n of it'.replace(" ", "_"),
    ):
        headers = Headers({"api-key": secret})
        for share in (0.0, 0.1, 0.5, 1.0):
            texts = [f"\\{secret}", f'u0022 {secret}\\"', '\\u0041\\\\n"', f"{secret}{secret}"]
            quoted = ['"' + "".join(written(text, share)) + '"' for text in texts]
            body = f"[{','.join(quoted)}]"
            scrubbed = json.loads(headers.scrub(Response.now(200, body)).body)
            assert scrubbed == [text.replace(secret, "***") for text in texts]


def test_a_body_of_nothing_but_escapes_holds_nobody_up():
    """It is left as it is: no status is told in so many of them."""
    body = rb"\u0041" * 1_000_000
    response = Response.now(200, body)
    assert Headers({"api-key": "A" * 40}).scrub(response) is response


def test_a_reply_without_credentials_is_left_as_it_is():
    """Not even copied."""
    response = Response.now(200, b"{}")
    assert Headers({"api-key": _CANARY}).scrub(response) is response
    assert Headers().scrub(response) is response


def test_a_credential_with_slashes_is_taken_out_as_json_may_write_it():
    """Some writers escape them."""
    headers = Headers({"Authorization": "Bearer abc/def+ghi/jkl=="})
    response = Response.now(200, rb'{"error":"abc\/def+ghi\/jkl== abc/def+ghi/jkl=="}')
    assert headers.scrub(response).body == b'{"error":"*** ***"}'


def test_every_credential_is_taken_out():
    """A provider that wants two may repeat both."""
    headers = Headers({"api-key": f"{_CANARY}-1", "Authorization": f"Bearer {_CANARY}-2"})
    assert _CANARY.encode() not in headers.scrub(Response.now(401, f"{_CANARY}-1 {_CANARY}-2")).body


def test_the_error_behind_missing_credentials_pickles():
    """It is an error like all others."""
    error = NoCredentials(AuthError("x", reason="secret")).error
    assert pickle.loads(pickle.dumps(error)).reason == "secret"


async def test_the_same_text_fetched_again_is_not_fetched_a_third_time():
    """Of two questions that were refused with the same headers one renews them, also where the text stays the same."""
    calls = []

    def token():
        calls.append(1)
        return "the-same-text-again"

    async def fetch(call):
        raise AssertionError("a bearer has no call for a token")

    credentials = Credentials(bearer(token), fetch, lambda: 0.0)
    first, second = await credentials.headers(), await credentials.headers()
    assert credentials.rejected(first)
    await credentials.headers()
    assert credentials.rejected(second)
    await credentials.headers()
    assert len(calls) == 2
