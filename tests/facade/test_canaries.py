"""No credential comes out: not by errors, not by states, not by the frames behind an error."""

import socket
import struct
import traceback

import httpx
import pytest

from bulkstatus import AuthError, BulkStatusError, Client, Policy
from bulkstatus.adapter import Auth, Call, Request, all_of, api_key, app_token, bearer, status_error
from bulkstatus.testing import FakeResponse, FakeTransport, Life, serve
from bulkstatus_cloudflare.fake import CloudflareFake
from canaries import frames
from support import Plain, Scripted, held_port, raw_server, reply

TOKEN, KEY, SECRET = "S3CR3T-canary-token-0001", "S3CR3T-canary-key-000002", "S3CR3T-canary-secret-03"
ISSUED = "S3CR3T-canary-issued-0004"
EDGE_ID = "7be1c3f09a5d4e21b6c8d7f00a94e152"


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Pauses between attempts that last no time."""
    monkeypatch.setattr("bulkstatus._retry._BASE", 0.001)
    monkeypatch.setattr("bulkstatus._retry._BASE_THROTTLED", 0.001)


class Telling(Plain, frozen=True, kw_only=True):
    """Quotes the provider's own words in its errors and as the text of a bulk. Two headers, or client credentials."""

    scheme: str = "two headers"

    def auth(self) -> Auth:
        if self.scheme == "two headers":
            return all_of(api_key(KEY), bearer(TOKEN))
        return app_token(Request.to(self.base_url, "token"), client_id="plain-id", client_secret=SECRET)

    def status(self, id):
        call = super().status(id)

        def read(response):
            if response.status != 200:
                raise status_error(
                    response,
                    own=True,
                    code=response.body.decode()[:60],
                    detail=response.body.decode(),
                    request_id=response.headers.get("x-request"),
                )
            return call.read(response)

        return Call(call.request, read)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 429, 500, 503])
def test_a_provider_that_repeats_the_credentials_is_not_quoted(status):
    """Wherever they stand in its error: text, code, request id."""

    def respond(request):
        text = f"you sent {request.headers['authorization']} and {request.headers['api-key']}"
        headers = {"X-Request": request.headers["api-key"], "Retry-After": "0"}
        return FakeResponse(status=status, body=text.encode(), headers=headers)

    transport = FakeTransport({"https://plain.test": Scripted(respond)})
    adapter = Telling(base_url="https://plain.test")
    with (
        Client({"plain": adapter}, transport=transport, policy=Policy(attempts=2)) as client,
        pytest.raises(BulkStatusError) as caught,
    ):
        client.get("plain:a1")
    error = caught.value
    shown = f"{error} {error!r} {vars(error)} {error.args}"
    assert KEY not in shown
    assert TOKEN not in shown
    assert "***" in error.detail
    assert "***" in error.request_id


def test_a_bulk_whose_error_repeats_the_credentials_does_not_show_them():
    """A failed bulk in a 200 is a status, and is as careful as an error."""
    fake = CloudflareFake(token=TOKEN)
    fake.add(EDGE_ID, Life.of((0, "failed")), error=f"cannot use {TOKEN} here")
    adapter = fake.adapter("https://edge.test/client/v4")
    transport = FakeTransport({"https://edge.test/client/v4": fake})
    with Client({"edge": adapter}, transport=transport) as client:
        status = client.get(f"edge:{EDGE_ID}")
    assert (status.state, status.error) == ("failed", "cannot use *** here")
    assert fake.requests[0].headers["authorization"] == f"Bearer {TOKEN}"
    assert TOKEN not in f"{status!r} {status.raw}"


def _reset(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


STEPS = {
    "reset": _reset,
    "garbage": b"SSH-2.0-OpenSSH_9.6\r\n",
    "cut body": reply(length=5000),
    "no JSON": reply(b"<html>"),
    "refusal": reply(b"no", 401),
}


def _ask(url, scheme):
    with (
        Client({"plain": Telling(base_url=url, scheme=scheme)}, policy=Policy(attempts=2)) as client,
        pytest.raises(BulkStatusError) as caught,
    ):
        client.get("plain:a1")
    return caught.value


def _holds_no_canary(error):
    shown = frames(error)
    assert "Traceback" in shown
    for canary in (TOKEN, KEY, SECRET, ISSUED):
        assert canary not in shown


@pytest.mark.parametrize("scheme", ["two headers", "app token"])
def test_a_refused_connection_leaves_no_credential_in_any_frame(scheme):
    """Error trackers print the locals of every frame, of the causes as well."""
    with held_port() as port:
        error = _ask(f"http://127.0.0.1:{port}", scheme)
    _holds_no_canary(error)


@pytest.mark.parametrize("case", STEPS)
@pytest.mark.parametrize("scheme", ["two headers", "app token"])
def test_a_broken_reply_leaves_no_credential_in_any_frame(case, scheme):
    """For an app token it is the token endpoint that breaks."""
    with raw_server(STEPS[case]) as server:
        error = _ask(server.url, scheme)
    sent = b"".join(server.requests)
    assert not sent or (KEY if scheme == "two headers" else "POST /token").encode() in sent
    _holds_no_canary(error)


@pytest.mark.parametrize("case", STEPS)
def test_a_reply_that_breaks_after_a_token_was_issued_leaves_none_in_any_frame(case):
    """The token that came back is as secret as what it was had for."""
    token = reply(f'{{"access_token":"{ISSUED}","token_type":"bearer"}}'.encode())
    with raw_server(token, STEPS[case], token if case == "refusal" else STEPS[case], STEPS[case]) as server:
        error = _ask(server.url, "app token")
    assert ISSUED.encode() in b"".join(server.requests)
    _holds_no_canary(error)


class Breaking(httpx.AsyncBaseTransport):
    """Breaks off while it has a request in its hands, with an error `kind` that has another behind it."""

    def __init__(self, kind):
        self.kind = kind
        self.written = []

    async def handle_async_request(self, request):
        buffer = f"{list(request.headers.values())} {(await request.aread()).decode()}"
        self.written.append(buffer)
        try:
            self.write(buffer)
        except BrokenPipeError as error:
            raise self.kind("x") from error

    def write(self, buffer):
        raise BrokenPipeError


@pytest.mark.parametrize("kind", [httpx.WriteError, httpx.ReadError, RuntimeError])
@pytest.mark.parametrize("scheme", ["two headers", "app token"])
def test_a_connection_that_breaks_while_a_request_is_written_leaves_no_credential(scheme, kind):
    """The frames that write hold it as it goes out, and so do those of the errors behind the error."""
    transport = Breaking(kind)
    adapter = Telling(base_url="https://plain.test", scheme=scheme)
    with (
        Client({"plain": adapter}, transport=transport) as client,
        pytest.raises(BulkStatusError) as caught,
    ):
        client.get("plain:a1")
    assert (KEY if scheme == "two headers" else SECRET) in transport.written[0]
    assert kind.__name__ in "".join(traceback.format_exception(caught.value))
    _holds_no_canary(caught.value)


def test_a_token_endpoint_that_repeats_the_secret_is_not_quoted():
    """Nor in the frames behind the error."""

    def respond(request):
        return FakeResponse.json({"error": "invalid_client", "error_description": request.body.decode()}, 401)

    fake = Scripted(respond)
    with serve(fake) as url:
        error = _ask(url, "app token")
    assert isinstance(error, AuthError)
    assert "invalid_client" in str(error)
    assert SECRET in fake.requests[0].body.decode()
    _holds_no_canary(error)
