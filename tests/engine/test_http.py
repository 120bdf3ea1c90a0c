"""One exchange: what is sent, what may come back, and what is made of replies that are broken."""

import itertools
import re
import socket
import ssl
import struct
import sys
import traceback

import httpx
import pytest
import trustme

from bulkstatus import (
    ConfigError,
    ProtocolError,
    State,
    Unavailable,
)
from bulkstatus._http import _tls_context, build, new_client
from bulkstatus.adapter import Call, Request, Secret
from bulkstatus.testing import FakeResponse, serve
from support import GOOD_BODY, Plain, Scripted, ask, dripping, held_port, raw_server, reply

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


def test_an_html_page_names_its_content_type_and_is_not_quoted():
    """The error says what came instead of JSON, and none of its text."""
    step = reply(b"<html>internal host db7</html>", 200, "Content-Type: text/html; charset=utf-8")
    with raw_server(step) as server, pytest.raises(ProtocolError) as caught:
        ask("async", Plain(base_url=server.url))
    assert caught.value.reason == "bad_payload"
    assert "text/html" in str(caught.value)
    assert "db7" not in str(caught.value)


def test_an_edge_that_blocks_is_no_refusal_of_the_credentials():
    """An HTML challenge under 403 is asked for again like a 503, and says that the edge did it."""
    step = reply(b"<html>", 403, "Content-Type: text/html")
    with raw_server(step) as server, pytest.raises(Unavailable) as caught:
        ask("async", Plain(base_url=server.url))
    assert (caught.value.reason, server.connections) == ("edge", 4)


def test_a_refused_connection_is_tried_four_times(kind):
    """A closed port is unavailable, retryable, and names the host."""
    with (
        held_port() as port,
        pytest.raises(Unavailable, match=r"cannot connect to 127\.0\.0\.1") as caught,
    ):
        ask(kind, Plain(base_url=f"http://127.0.0.1:{port}"))
    assert caught.value.retryable


@pytest.mark.parametrize(
    ("number", "attempts", "words"),
    [
        (socket.EAI_NONAME, 2, "check base_url"),
        (socket.EAI_AGAIN, 4, "cannot look up"),
    ],
    ids=["unknown", "for now"],
)
def test_a_name_that_cannot_be_looked_up(monkeypatch, number, attempts, words):
    """A host that does not exist is tried twice and blamed on base_url; a resolver in trouble is tried four times."""
    looked_up = []

    def lookup(*args, **kwargs):
        looked_up.append(args[0])
        raise socket.gaierror(number, "no")

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    with pytest.raises(Unavailable, match=words):
        ask("async", Plain(base_url="https://api.nowhere.test"))
    assert len(looked_up) == attempts


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


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_never_followed(status, kind):
    """The target gets no connection, and the error names its host without the rest of the address."""
    with raw_server(reply()) as target:
        location = f"Location: http://user:pw@127.0.0.1:{target.port}/bulks/a1?key=1"
        step = reply(b"", status, location)
        with raw_server(step) as server, pytest.raises(ProtocolError) as caught:
            ask(kind, Plain(base_url=server.url))
    assert (caught.value.reason, caught.value.retryable) == ("redirect_refused", False)
    assert (server.connections, target.connections) == (1, 0)
    assert f"127.0.0.1:{target.port}" in str(caught.value)
    assert "pw" not in str(caught.value)
    assert "key=1" not in str(caught.value)


@pytest.mark.parametrize("location", ["/bulks/a1", "file:///etc/passwd", "http://[::1", "", "\x1b[31m"])
def test_no_redirect_is_followed_wherever_it_leads(location):
    """To itself, to a file, to nowhere: refused after one request."""
    with (
        raw_server(reply(b"", 302, f"Location: {location}")) as server,
        pytest.raises(ProtocolError) as caught,
    ):
        ask("async", Plain(base_url=server.url))
    assert (caught.value.reason, server.connections) == ("redirect_refused", 1)
    assert "\x1b" not in str(caught.value)


def test_a_get_sends_these_headers_and_no_others():
    """Host, who we are, what we read, and the credentials: nothing else leaves."""
    fake = Scripted()
    with serve(fake) as url:
        ask("async", Plain(base_url=url))
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


def test_a_token_post_carries_the_form_and_no_bearer():
    """The credentials of the token endpoint are in the form, and no other host sees them."""
    fake, tokens = Scripted(), Scripted()
    with serve(fake) as url, serve(tokens) as token_url:
        ask("async", Plain(base_url=url, token_url=token_url))
    (post,) = tokens.requests
    assert (post.method, post.path) == ("POST", "/token")
    assert post.form == {
        "grant_type": "client_credentials",
        "client_id": "plain-id",
        "client_secret": "plain-secret",
    }
    assert post.headers["content-type"] == "application/x-www-form-urlencoded"
    assert "authorization" not in post.headers
    (get,) = fake.requests
    assert get.headers["authorization"] == "Bearer t1"
    assert "plain-secret" not in str(get)


def test_cookies_are_not_kept():
    """A cookie that a provider sets is not sent back."""

    def answer(request):
        return FakeResponse.json({"id": "a1", "status": "running"}, headers={"Set-Cookie": "sid=1; Path=/"})

    fake = Scripted(answer)
    with serve(fake) as url:
        ask("async", Plain(base_url=url), *["plain:a1"] * 3)
    assert len(fake.requests) == 3
    assert not any("cookie" in request.headers for request in fake.requests)


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


def test_a_credential_that_cannot_be_a_header_is_not_quoted():
    """A header that may not be sent is an error of ours which does not repeat it."""

    class Bad(Plain, frozen=True, kw_only=True):
        def auth(self):
            class Raw:
                secrets = ()

                def renewal(self, now):
                    return None

                def headers(self):
                    return {"Authorization": "Bearer S3CR3T\n"}

                def rejected(self, sent):
                    return False

            return Raw()

    with raw_server(reply()) as server, pytest.raises(ConfigError) as caught:
        ask("async", Bad(base_url=server.url))
    assert server.requests == []
    chain = [caught.value, caught.value.__cause__, caught.value.__context__ and str(caught.value)]
    assert "S3CR3T" not in str(chain)


@pytest.mark.parametrize(
    ("urls", "trusted"),
    [
        (("https://api.test",), True),
        (("http://127.0.0.1:1",), False),
        (("http://localhost", "http://[::1]:2"), False),
        (("http://localhost", "https://api.test"), True),
    ],
)
def test_a_proxy_of_the_environment_stays_out_of_loopback(urls, trusted):
    """Requests to this machine do not go through a proxy; others may."""
    assert new_client(urls, connections=1, transport=None).trust_env is trusted


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "ALL_PROXY", "https_proxy"])
@pytest.mark.parametrize(
    "value",
    [
        "http://user:S3CR3T@[::1",
        "http://user:S3CR3T@proxy.test:port",
        "gopher://user:S3CR3T@proxy.test",
        "socks5://user:S3CR3T@proxy.test:1080",
    ],
)
def test_proxy_settings_that_cannot_be_used_are_a_config_error(monkeypatch, variable, value):
    """It names the variables and not the password, which often stands in them; nothing behind it does."""
    monkeypatch.setitem(sys.modules, "socksio", None)  # what httpx needs for socks5; it may be installed here
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigError, match=r"HTTPS_PROXY.*ALL_PROXY") as caught:
        ask("async", Plain(base_url="https://plain.test"))
    error = caught.value
    assert (error.source, error.retryable) == ("plain", False)
    shown = "".join(traceback.format_exception(error)) + repr(error) + str(vars(error))
    assert "S3CR3T" not in shown


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


# --- TLS ---


@pytest.fixture(scope="module")
def authority():
    """A certificate authority that nobody trusts until told to."""
    return trustme.CA()


@pytest.fixture
def trusting(authority, monkeypatch, tmp_path):
    """The environment that trusts it."""
    bundle = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(bundle))
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    _tls_context.cache_clear()  # it is read once a process
    yield
    _tls_context.cache_clear()


def _tls(authority, name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


def _at_localhost(server) -> Plain:
    return Plain(base_url=f"https://localhost:{server.port}")


def test_a_trusted_certificate_is_accepted(authority, trusting, kind):
    """The two tests below fail for the reason they name: with the right name and authority, all is well."""
    with raw_server(reply(), context=_tls(authority, "localhost")) as server:
        assert ask(kind, _at_localhost(server))[0].id == "a1"


def test_an_unknown_authority_is_not_asked_twice(authority, kind):
    """One connection, no request, and a hint at SSL_CERT_FILE."""
    context = _tls(authority, "localhost")
    with raw_server(reply(), context=context) as server, pytest.raises(Unavailable, match="SSL_") as caught:
        ask(kind, _at_localhost(server))
    assert (caught.value.reason, caught.value.retryable) == ("tls_untrusted", False)
    assert (server.connections, server.requests) == (1, [])


def test_a_certificate_for_another_host_is_not_asked_twice(authority, trusting):
    """A certificate of a trusted authority for another name is as good as none."""
    context = _tls(authority, "other.test")
    with raw_server(reply(), context=context) as server, pytest.raises(Unavailable) as caught:
        ask("async", _at_localhost(server))
    assert (caught.value.reason, server.connections, server.requests) == ("tls_untrusted", 1, [])
    assert "localhost" in str(caught.value)


def _speak_plainly(listener: socket.socket) -> None:
    connection, _ = listener.accept()
    with connection:
        connection.recv(1024)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def test_plain_http_where_tls_should_be_is_not_asked_twice():
    """A port that speaks no TLS is not asked again."""
    from threading import Thread

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = Thread(target=_speak_plainly, args=(listener,), daemon=True)
        thread.start()
        with pytest.raises(Unavailable) as caught:
            ask("async", Plain(base_url=f"https://localhost:{listener.getsockname()[1]}"))
        thread.join()
    assert caught.value.reason == "tls_untrusted"


def test_a_handshake_that_is_cut_off_is_tried_again():
    """A connection that drops while TLS begins says nothing about trust."""
    from threading import Thread

    accepted = []

    def hang_up(listener):
        for _ in range(4):
            connection, _ = listener.accept()
            accepted.append(1)
            connection.recv(1024)
            connection.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = Thread(target=hang_up, args=(listener,), daemon=True)
        thread.start()
        with pytest.raises(Unavailable) as caught:
            ask("async", Plain(base_url=f"https://localhost:{listener.getsockname()[1]}"))
        assert (len(accepted), caught.value.reason, caught.value.retryable) == (4, "connect", True)
        thread.join()
