"""Where a stranger's adapter may send its credentials, and what the transports make of an address."""

import re
import traceback

import pytest

from bulkstatus import AsyncClient, Client, ConfigError
from bulkstatus.adapter import Call, Request, Secret
from bulkstatus.testing import FakeResponse, FakeTransport, serve
from canaries import frames
from support import Plain, Scripted, ask, raw_server, reply

pytestmark = pytest.mark.usefixtures("quick", "transport")

NOWHERE = FakeTransport({"https://plain.test": Scripted()})

FORBIDDEN = {
    "http://plain.test": "is not https",
    "http://192.0.2.1:8080": "is not https",
    "http://169.254.169.254": "link-local",
    "https://169.254.169.254/latest": "link-local",
    "https://[fe80::1]": "link-local",
    "https://[fd00:ec2::254]": "link-local",
    "https://[::ffff:169.254.169.254]": "link-local",
    "https://user:pass-w0rd@plain.test": "user info",
    "http://user:pass-w0rd@127.0.0.1:1": "user info",
    "https://plain.test?key=pass-w0rd": "a query",
    "https://plain.test#pass-w0rd": "a fragment",
    "file:///etc/passwd": "does not begin with https",
    "https://0x7f.1": "does not name a host",
    "https://plain.test:0": "needs a port",
    "https://plain.test/a/../b": "dot segments",
}


@pytest.mark.parametrize("url", FORBIDDEN)
@pytest.mark.parametrize("setting", ["base_url", "token_url"])
@pytest.mark.parametrize("client", [Client, AsyncClient])
def test_every_base_url_of_an_adapter_is_checked_when_its_source_is_made(client, url, setting):
    """An adapter that checks nothing itself gets no request: the error names the source and quotes no secret."""
    adapter = Plain(**{"base_url": "https://plain.test", setting: url})
    with pytest.raises(ConfigError, match=FORBIDDEN[url]) as caught:
        client({"plain": adapter}, transport=NOWHERE)
    assert (caught.value.reason, caught.value.source, caught.value.provider) == ("base_url", "plain", "plain")
    assert "pass-w0rd" not in str(caught.value)


class Later(Plain, frozen=True, kw_only=True):
    """An adapter that addresses its requests differently from what it declared."""

    target: str

    def status(self, id):
        call = super().status(id)
        return Call(Request(base_url=self.target, path=f"/bulks/{id}"), call.read)


def test_a_request_with_user_info_is_not_sent(kind):
    """It goes to the declared origin, and yet other credentials than the source's would go along."""
    with raw_server(reply()) as server, pytest.raises(ConfigError) as caught:
        ask(kind, Later(base_url=server.url, target=server.url.replace("//", "//user:pass-w0rd@")))
    assert server.connections == 0
    assert "pass-w0rd" not in str(caught.value)


@pytest.mark.parametrize(
    "id",
    ["a;b=c", "a~b", "a!b", "a(b)", "a'b", "a*b", "a,b", "a@b", "a:b", "a&b", "a+b", "a%2fb", "a b", "é"],
)
def test_a_path_goes_out_byte_for_byte(kind, id):
    """Each transport writes what the adapter described, percent signs and all, or sends nothing."""
    request = Request.to("http://127.0.0.1:1", "bulks", id, query={"q": "a b&c=d+e/ü"})

    class Asks(Plain, frozen=True, kw_only=True):
        def status(self, ref):
            call = super().status(ref)
            return Call(Request(base_url=self.base_url, path=request.path, query=request.query), call.read)

    with raw_server(reply()) as server:
        ask(kind, Asks(base_url=server.url))
    (sent,) = server.requests
    line = sent.partition(b"\r\n")[0].decode("ascii")
    assert line == f"GET {request.path}?q=a+b%26c%3Dd%2Be%2F%C3%BC HTTP/1.1"


def test_cookies_are_not_kept(kind):
    """A cookie that a provider sets is not sent back, whoever keeps the connection."""
    fake = Scripted(
        lambda _: FakeResponse.json(
            {"id": "a1", "status": "running"}, headers={"Set-Cookie": "sid=1; Path=/"}
        )
    )
    with serve(fake) as url:
        ask(kind, Plain(base_url=url), *["plain:a1"] * 3)
    assert len(fake.requests) == 3
    assert not any("cookie" in request.headers for request in fake.requests)


def test_a_get_sends_these_headers_and_no_others(kind):
    """Host, who we are, what we read, and the credentials: nothing else leaves."""
    fake = Scripted()
    with serve(fake) as url:
        ask(kind, Plain(base_url=url))
    (request,) = fake.requests
    assert request.headers.pop("host") == url.removeprefix("http://")
    assert re.fullmatch(r"bulkstatus/[0-9][\w.+]*", request.headers.pop("user-agent"))
    assert request.headers == {
        "accept": "application/json",
        "accept-encoding": "gzip",
        "connection": "keep-alive",
        "authorization": "Bearer plain-token",
    }
    assert (request.method, request.path, request.query, request.body) == ("GET", "/bulks/a1", {}, b"")


def test_a_token_post_carries_the_form_and_no_bearer(kind):
    """The credentials of the token endpoint are in the form, and no other host sees them."""
    fake, tokens = Scripted(), Scripted()
    with serve(fake) as url, serve(tokens) as token_url:
        ask(kind, Plain(base_url=url, token_url=token_url))
    (post,) = tokens.requests
    assert (post.method, post.path) == ("POST", "/token")
    assert post.form == {
        "grant_type": "client_credentials",
        "client_id": "plain-id",
        "client_secret": "plain-secret",
    }
    assert post.headers["content-type"] == "application/x-www-form-urlencoded"
    assert set(post.headers) == {
        "host",
        "user-agent",
        "accept",
        "accept-encoding",
        "connection",
        "content-type",
        "content-length",
    }
    (get,) = fake.requests
    assert get.headers["authorization"] == "Bearer t1"
    assert "plain-secret" not in str(get)


class Raw:
    """An auth scheme that checks nothing."""

    secrets = ()

    def __init__(self, value):
        self.value = value

    def renewal(self, now):
        """None is needed."""

    def headers(self):
        """The credential as it is."""
        return {"Authorization": self.value}

    def rejected(self, sent):
        """It has no other."""
        return False


@pytest.mark.parametrize("end", ["\n", "\r\nX-Evil: 1", "\r", "\0"])
def test_a_credential_that_cannot_be_a_header_is_not_quoted(kind, end):
    """A header that may not be sent is an error of ours which does not repeat it, nor does anything behind it."""

    class Bad(Plain, frozen=True, kw_only=True):
        def auth(self):
            return Raw("Bearer pass-w0rd" + end)

    with raw_server(reply()) as server, pytest.raises(ConfigError) as caught:
        ask(kind, Bad(base_url=server.url))
    assert server.requests == []
    assert "pass-w0rd" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.test"},
        {"content-length": "7"},
        {"Transfer-Encoding": "chunked"},
        {"Connection": "upgrade"},
        {"Expect": "100-continue"},
        {"X Y": "z"},
        {":path": "/"},
        {"é": "x"},
        {"X": "é"},
        {"X": "a\r\nEvil: 1"},
        {"X": "\ud800"},
        {"X": 7},
        {7: "x"},
    ],
    ids=repr,
)
def test_headers_of_an_adapter_change_neither_where_a_request_goes_nor_where_it_ends(kind, headers):
    """Nothing is sent, and nothing behind the error shows the credential that would have gone along."""

    class Asks(Plain, frozen=True, kw_only=True):
        def status(self, ref):
            call = super().status(ref)
            return Call(
                Request(base_url=self.base_url, path="/bulks/a1", headers=tuple(headers.items())), call.read
            )

    with raw_server(reply()) as server, pytest.raises(ConfigError, match="could not be written") as caught:
        ask(kind, Asks(base_url=server.url, token="S3CR3T-canary"))
    assert server.connections == 0
    assert "S3CR3T" not in frames(caught.value)


@pytest.mark.parametrize(
    "form",
    [(("a", "\ud800"), ("b", Secret("S3CR3T-canary"))), (("b", Secret("S3CR3T-canary")), ("a", "\ud800"))],
    ids=["before", "behind"],
)
def test_a_form_that_cannot_be_written_shows_no_secret(kind, form):
    """Not in the frames that were writing it either."""

    class Asks(Plain, frozen=True, kw_only=True):
        def status(self, ref):
            call = super().status(ref)
            return Call(Request(base_url=self.base_url, path="/bulks/a1", form=form), call.read)

    with raw_server(reply()) as server, pytest.raises(ConfigError, match="could not be written") as caught:
        ask(kind, Asks(base_url=server.url))
    assert server.connections == 0
    assert "S3CR3T" not in frames(caught.value)
