"""One exchange: what is sent, what may come back, and what is made of replies that are broken."""

import gzip
import itertools
import socket
import struct
import tracemalloc
import zlib

import httpx
import pytest

from bulkstatus import (
    ConfigError,
    Policy,
    ProtocolError,
    State,
    Unavailable,
)
from bulkstatus._http import build, new_client
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
    "nothing": (b"", Unavailable, 4),
    "body shorter than announced": (reply(length=5000), Unavailable, 4),
    "body longer than announced": (reply(length=2), ProtocolError, 2),
    "body until close, cut": (_head("HTTP/1.1 200 X") + _CUT, ProtocolError, 2),
    "chunks cut": (_head(*_CHUNKED) + b"40\r\n" + GOOD_BODY, Unavailable, 4),
    "no chunk size": (_head(*_CHUNKED) + b"zz\r\n" + GOOD_BODY, Unavailable, 4),
    "30 digits": (_head(*_CHUNKED) + b"1" * 30 + b"\r\n" + GOOD_BODY, Unavailable, 4),
    "two lengths": (reply(GOOD_BODY, 200, "Content-Length: 7"), Unavailable, 4),
    "negative length": (reply(length=-1), Unavailable, 4),
    "length in words": (reply(length="many"), Unavailable, 4),
    "status 600": (reply(GOOD_BODY, 600), ProtocolError, 2),
    "status 999": (reply(GOOD_BODY, 999), ProtocolError, 2),
    "HTML": (reply(b"<html>Log in</html>", 200, "Content-Type: text/html"), ProtocolError, 2),
    "204": (_head("HTTP/1.1 204 X"), ProtocolError, 2),
    "206": (reply(GOOD_BODY, 206), ProtocolError, 2),
    "304": (_head("HTTP/1.1 304 X"), ProtocolError, 2),
    "empty body": (reply(b""), ProtocolError, 2),
    "no status": (reply(b'{"id":"a1"}'), ProtocolError, 2),
}
# The same sorts of fault, worth one retry at least: they are no accidents of transport.
GARBAGE = {
    "no HTTP": b"SSH-2.0-OpenSSH_9.6\r\n",
    "HTTP/0.9": GOOD_BODY,
    "status 000": _head("HTTP/1.1 000 X"),
    "status 99": _head("HTTP/1.1 99 X"),
    "status 2000": _head("HTTP/1.1 2000 X"),
    "endless header": _head("HTTP/1.1 200 X", "X: " + "a" * 150_000),
    "NUL in a header": _head("HTTP/1.1 200 X", "X: a\0b"),
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


@pytest.mark.parametrize("case", GARBAGE)
def test_what_is_not_http_is_an_error_within_the_attempts(case):
    """Bytes that are not HTTP are no answer; asking again happens, and ends."""
    with raw_server(GARBAGE[case]) as server, pytest.raises((Unavailable, ProtocolError)) as caught:
        ask("async", Plain(base_url=server.url))
    assert 2 <= server.connections <= 4
    assert caught.value.reason in {"framing", "protocol"}


def test_an_unasked_switch_of_protocols_is_an_error():
    """A 101 nobody asked for is no answer."""
    step = _head("HTTP/1.1 101 X", "Upgrade: x") + GOOD_BODY
    with raw_server(step) as server, pytest.raises((Unavailable, ProtocolError)):
        ask("async", Plain(base_url=server.url), policy=Policy(request_timeout=2, attempts=1))


@pytest.mark.parametrize(
    "step",
    [
        pytest.param(_head("HTTP/1.1 200 X") + GOOD_BODY, id="body until close"),
        pytest.param(_head("HTTP/1.0 200 X") + GOOD_BODY, id="HTTP/1.0"),
        pytest.param(
            _head(*_CHUNKED, "Content-Length: 3") + b"%x\r\n%b\r\n0\r\n\r\n" % (len(GOOD_BODY), GOOD_BODY),
            id="chunks and a length",
        ),
        pytest.param(reply(GOOD_BODY, 200, *(f"X-{n}: a" for n in range(8000))), id="8000 headers"),
        pytest.param(reply(GOOD_BODY, "200 \x1b[31mred", "X: \x1b[31m\xe9"), id="ESC and latin-1"),
        pytest.param(dripping(lambda: True, reply(), every=0), id="a byte at a time"),
        pytest.param(reply(gzip.compress(GOOD_BODY), 200, "Content-Encoding: gzip"), id="gzip"),
        pytest.param(reply(zlib.compress(GOOD_BODY), 200, "Content-Encoding: deflate"), id="deflate"),
        pytest.param(reply(GOOD_BODY, 200, "Content-Encoding: identity"), id="identity"),
    ],
)
def test_an_odd_but_whole_reply_is_an_answer(step):
    """What HTTP allows is read at the first attempt."""
    with raw_server(step) as server:
        (status,) = ask("async", Plain(base_url=server.url))
    assert (status.id, status.state, server.connections) == ("a1", State.RUNNING, 1)


# --- sizes ---


def _bomb() -> bytes:
    packer = zlib.compressobj(9, wbits=31)
    block = bytes(_MIB)
    return b"".join([*(packer.compress(block) for _ in range(256)), packer.flush()])


def _flood(connection):
    connection.sendall(_head("HTTP/1.1 200 X"))
    while True:
        connection.sendall(b" " * 65536)


BOMBS = {
    "one byte too many": (reply(b" " * (8 * _MIB + 1)), "response_too_large"),
    "gzip": (reply(_bomb(), 200, "Content-Encoding: gzip"), "response_too_large"),
    "gzip twice": (reply(gzip.compress(_bomb()), 200, "Content-Encoding: gzip, gzip"), "encoding"),
    "endless": (_flood, "response_too_large"),
    "not asked for": (reply(GOOD_BODY, 200, "Content-Encoding: br"), "encoding"),
}


@pytest.mark.parametrize("case", BOMBS)
def test_a_reply_that_grows_is_given_up_within_bounded_memory(case):
    """Too large after decompression, or compressed more than once: an error after one attempt, memory kept."""
    step, reason = BOMBS[case]
    tracemalloc.start()
    with raw_server(step) as server, pytest.raises(ProtocolError) as caught:
        ask("async", Plain(base_url=server.url))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (caught.value.reason, server.connections) == (reason, 1)
    assert peak < 32 * _MIB


@pytest.mark.parametrize("size", [999, 1000, 1001])
@pytest.mark.parametrize("packed", [False, True])
def test_the_limit_of_a_body_is_exact(size, packed):
    """A body of exactly the limit is read, one byte more is not; decompressed bytes count."""
    body = GOOD_BODY + b" " * (size - len(GOOD_BODY))
    step = reply(gzip.compress(body), 200, "Content-Encoding: gzip") if packed else reply(body)
    with raw_server(step) as server:
        adapter = Plain(base_url=server.url, body_limit=1000)
        if size > 1000:
            with pytest.raises(ProtocolError, match="larger than 1,000 bytes"):
                ask("async", adapter)
        else:
            assert ask("async", adapter)[0].id == "a1"


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


@pytest.mark.parametrize(
    "packed",
    [gzip.compress(GOOD_BODY)[:-6], gzip.compress(GOOD_BODY) + b"more", b"\x1f\x8bnonsense", GOOD_BODY],
    ids=["cut", "with more behind", "nonsense", "not gzip"],
)
def test_broken_compression_is_tried_twice_and_is_no_answer(packed):
    """A body whose compression does not come out even is never read as if it were whole."""
    with raw_server(reply(packed, 200, "Content-Encoding: gzip")) as server, pytest.raises(ProtocolError):
        ask("async", Plain(base_url=server.url))
    assert server.connections == 2


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
    client = new_client(("https://api.test",), connections=1, transport=None)
    with pytest.raises(ConfigError):
        build(client, Request(base_url="https://api.test", path=path), {})


@pytest.mark.parametrize(
    "segment", ["a/b", "a%2fb", "a?x=1", "a#f", "a;b", "a\\b", "a b", "é", "%2e%2e", "a+b"]
)
def test_an_encoded_segment_arrives_as_one_segment(segment):
    """Any text can be a segment: it is encoded, and the path keeps its shape."""
    client = new_client(("https://api.test/v1",), connections=1, transport=None)
    request = build(client, Request.to("https://api.test/v1", "bulks", segment, query={"q": "a&b=ü"}), {})
    assert request.url.raw_path.partition(b"?")[0].count(b"/") == 3
    assert request.url.params["q"] == "a&b=ü"
    assert request.url.host == "api.test"


def test_a_form_is_encoded_and_reveals_its_secrets_only_there():
    """A form's blanks and signs arrive as they were meant."""
    client = new_client(("https://api.test",), connections=1, transport=None)
    asked = Request.to("https://api.test", "t", form={"a": "x y&z", "s": Secret("a+b=c")})
    request = build(client, asked, {"X-Key": "k"})
    assert (request.method, request.content) == ("POST", b"a=x+y%26z&s=a%2Bb%3Dc")
    assert request.headers["x-key"] == "k"
    assert "a+b=c" not in repr(asked)


def test_a_client_is_made_with_these_limits():
    """Each step of a request has a limit, idle connections outlive the pause between polls, and pools are small."""
    client = new_client(("https://api.test",), connections=7, transport=None)
    assert client.timeout == httpx.Timeout(connect=5.0, read=10.0, write=10.0, pool=5.0)
    pool = client._transport._pool
    assert pool._max_connections == 7
    assert pool._max_keepalive_connections == 7
    assert pool._keepalive_expiry == 90.0
    assert client.follow_redirects is False


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
