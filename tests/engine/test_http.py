"""One exchange: what is sent, what may come back, and what is made of replies that are broken."""

import itertools
import socket
import struct

import httpx
import pytest

from bulkstatus import (
    ConfigError,
    ProtocolError,
    State,
    Unavailable,
)
from bulkstatus._http import Heads, build, new_client
from bulkstatus.adapter import Call, Request, Secret
from support import GOOD_BODY, Plain, ask, dripping, raw_server, reply

_MIB = 1024 * 1024


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Pauses between attempts that last no time."""
    monkeypatch.setattr("bulkstatus._retry._BASE", 0.001)
    monkeypatch.setattr("bulkstatus._retry._BASE_THROTTLED", 0.001)


@pytest.fixture(params=["blocking", "async"])
def kind(request):
    """Which of the two clients asks."""
    return request.param


def _reset(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _head(*lines: str) -> bytes:
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"


_CUT = GOOD_BODY[:-8]
_CHUNKED = ("HTTP/1.1 200 X", "Transfer-Encoding: chunked")

BROKEN = {
    "reset": (_reset, Unavailable, 4),
    "HTML": (reply(b"<html>Log in</html>", 200, "Content-Type: text/html"), ProtocolError, 2),
    "204": (_head("HTTP/1.1 204 X"), ProtocolError, 2),
    "206": (reply(GOOD_BODY, 206), ProtocolError, 2),
    "304": (_head("HTTP/1.1 304 X"), ProtocolError, 2),
    "empty body": (reply(b""), ProtocolError, 2),
    "no status": (reply(b'{"id":"a1"}'), ProtocolError, 2),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_reply_is_asked_for_again_and_then_is_an_error(case, kind):
    """A reply that is not whole is never taken for an answer; how often it is asked for follows from what broke."""
    step, error, attempts = BROKEN[case]
    with raw_server(step) as server, pytest.raises(error) as caught:
        ask(kind, Plain(base_url=server.url))
    assert type(caught.value) is error
    assert server.connections == attempts
    assert (caught.value.source, caught.value.provider, caught.value.id) == ("plain", "plain", "a1")


def test_a_reply_that_comes_a_byte_at_a_time_is_an_answer():
    """However it is cut on the way."""
    with raw_server(dripping(lambda: True, reply(), every=0)) as server:
        (status,) = ask("async", Plain(base_url=server.url))
    assert (status.id, status.state, server.connections) == ("a1", State.RUNNING, 1)


# --- sizes ---


@pytest.mark.parametrize("limit", [1000, 10])
def test_a_transport_may_give_replies_that_are_read_already(limit):
    """The replies that httpx's own mock transport is usually given work too, within the same limit."""
    transport = httpx.MockTransport(lambda request: httpx.Response(200, content=GOOD_BODY))
    adapter = Plain(base_url="https://plain.test", body_limit=limit)
    if limit < len(GOOD_BODY):
        with pytest.raises(ProtocolError, match="larger than"):
            ask("async", adapter, transport=transport)
    else:
        assert ask("async", adapter, transport=transport)[0].id == "a1"


# --- where requests go and what is in them ---


class _Elsewhere(Plain, frozen=True, kw_only=True):
    """An adapter that asks for an address which its base URLs do not name."""

    target: str

    def status(self, id):
        call = super().status(id)
        return Call(Request.to(self.target, "bulks", id), call.read)


def test_nothing_is_sent_outside_the_base_urls():
    """An adapter that addresses another origin gets an error; neither credentials nor a packet leave."""
    with raw_server(reply()) as target, raw_server(reply()) as server, pytest.raises(ConfigError) as caught:
        ask("async", _Elsewhere(base_url=server.url, target=target.url))
    assert caught.value.reason == "url"
    assert (target.connections, server.connections) == (0, 0)


@pytest.mark.parametrize("path", ["/bulks/..", "/a/../b", "/bulks/a b", "/bulks/é", "@evil.test/x", ":1/x"])
def test_a_path_that_the_http_client_would_rewrite_is_not_sent(path):
    """What goes out is byte for byte what the adapter described, or nothing."""
    with pytest.raises(ConfigError):
        build(Request(base_url="https://api.test", path=path), {})


@pytest.mark.parametrize(
    "segment", ["a/b", "a%2fb", "a?x=1", "a#f", "a;b", "a\\b", "a b", "é", "%2e%2e", "a+b"]
)
def test_an_encoded_segment_arrives_as_one_segment(segment):
    """Any text can be a segment: it is encoded, and the path keeps its shape."""
    request = build(Request.to("https://api.test/v1", "bulks", segment, query={"q": "a&b=ü"}), {})
    assert request.url.raw_path.partition(b"?")[0].count(b"/") == 3
    assert request.url.params["q"] == "a&b=ü"
    assert request.url.host == "api.test"


def test_a_form_is_encoded_and_reveals_its_secrets_only_there():
    """A form's blanks and signs arrive as they were meant."""
    asked = Request.to("https://api.test", "t", form={"a": "x y&z", "s": Secret("a+b=c")})
    request = build(asked, {"X-Key": "k"})
    assert (request.method, request.content) == ("POST", b"a=x+y%26z&s=a%2Bb%3Dc")
    assert request.headers["x-key"] == "k"
    assert "a+b=c" not in repr(asked)


def test_a_client_is_made_with_these_limits():
    """Each step of a request has a limit, idle connections outlive the pause between polls, and pools are small."""
    client = new_client(("https://api.test",), connections=7, transport=None)
    asked = build(Request.to("https://api.test", "bulks"), {})
    assert asked.extensions["timeout"] == {"connect": 5.0, "read": 10.0, "write": 10.0, "pool": 5.0}
    pool = client._transport._pool
    assert pool._max_connections == 7
    assert pool._max_keepalive_connections == 7
    assert pool._keepalive_expiry == 90.0


@pytest.mark.parametrize(
    ("error", "reason", "attempts"),
    [
        (httpx.ProxyError("407"), "proxy", 1),
        (httpx.ProxyError("Proxy Server could not connect: Host unreachable."), "proxy", 4),
        (httpx.ConnectTimeout("x"), "connect", 4),
        (httpx.PoolTimeout("x"), "pool", 2),
        (httpx.ReadTimeout("x"), "timeout", 4),
        (httpx.WriteError("x"), "connection", 4),
        (RuntimeError("the handler is closed"), "connection", 4),
    ],
)
def test_what_broke_is_told_and_decides_how_often_it_is_asked(error, reason, attempts):
    """Each way for an exchange to fail has its reason and its number of attempts."""
    asked = itertools.count(1)
    calls = []

    def handle(request):
        calls.append(next(asked))
        raise error

    with pytest.raises(Unavailable) as caught:
        ask("async", Plain(base_url="https://api.test"), transport=httpx.MockTransport(handle))
    assert (caught.value.reason, len(calls)) == (reason, attempts)


_KEPT = Request.to("https://api.test/v1", "bulks", "a1", query={"n": 1}, headers={"X-Account": "7"})


@pytest.mark.parametrize(
    ("asked", "credentials"),
    [
        (_KEPT, {"X-Key": "other"}),
        (Request.to("https://api.test/v1", "bulks", "a2"), {"X-Key": "k"}),
        (Request.to("https://other.test", "bulks", "a1", headers={"X-Account": "7"}), {"X-Key": "k"}),
        (Request.to("https://api.test/v1", "bulks", "a1", headers={"X-Account": "8"}), {"X-Key": "k"}),
        (Request.to("https://api.test/v1", "t", form={"a": "b"}), {"X-Key": "k"}),
    ],
    ids=["credentials", "path", "host", "headers", "form"],
)
def test_a_request_says_the_same_whatever_was_sent_before_it(asked, credentials):
    """What is kept of a head is for the same credentials, host and headers alone; each request has its own copy."""
    heads, usual = Heads(), {"X-Key": "k"}
    for request, sent in [(_KEPT, usual), (_KEPT, usual), (asked, credentials), (_KEPT, usual)]:
        made, anew = heads.build(request, sent), build(request, sent)
        assert made.headers.raw == anew.headers.raw
        assert (made.method, made.url, made.content) == (anew.method, anew.url, anew.content)
        assert made.extensions == anew.extensions
        made.headers["X-Key"] = "of a transport that writes into it"


def test_headers_in_a_list_are_sent_as_they_are_at_that_moment():
    """Types ask for a tuple, but adapters are written without them too: what may change is not kept."""
    heads, headers = Heads(), [("X-Account", "7")]
    asked = Request(base_url="https://api.test", path="/bulks", headers=headers)
    assert heads.build(asked, {"X-Key": "k"}).headers["x-account"] == "7"
    headers[0] = ("X-Account", "8")
    assert heads.build(asked, {"X-Key": "k"}).headers["x-account"] == "8"


def test_what_is_kept_of_heads_is_bounded():
    """An adapter that says something else with each request fills no memory."""
    heads, usual = Heads(), {"X-Key": "k"}
    for number in range(200):
        asked = Request.to("https://api.test", "bulks", headers={"X-Number": str(number)})
        assert heads.build(asked, usual).headers["x-number"] == str(number)
    assert len(heads._kept) <= 40
