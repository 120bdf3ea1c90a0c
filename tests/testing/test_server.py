"""A fake on a real loopback socket."""

import http.client
import json
import socket
import struct
import threading
from contextlib import contextmanager
from socketserver import ThreadingMixIn
from urllib.parse import urlsplit

import pytest

from bulkstatus.testing import FakeResponse, Fault, ManualClock, serve
from support import Empty, held_port


class Echo(Empty):
    """A provider that answers with what it was asked."""

    word = "echo"
    prefix = "/client/v4"

    def answer(self, request):
        return FakeResponse.json({"path": request.path, "now": self.clock()}, headers={"X-Answer": "yes"})


@pytest.fixture
def fake():
    """A fake whose clock stands still."""
    return Echo(clock=ManualClock(100.0))


@pytest.fixture
def url(fake):
    """The base URL at which it is served."""
    with serve(fake) as url:
        yield url


@contextmanager
def connection(url):
    """A connection to the server behind `url`."""
    parts = urlsplit(url)
    opened = http.client.HTTPConnection(parts.hostname, parts.port, timeout=10)
    try:
        yield opened
    finally:
        opened.close()


def ask(opened, path="/client/v4/bulks", method="GET", **options):
    """Status, headers and body of one answer."""
    opened.request(method, path, **options)
    reply = opened.getresponse()
    return reply.status, dict(reply.getheaders()), reply.read()


def test_the_url_is_on_loopback_and_ends_in_the_providers_path(url):
    """An adapter can take it as its base URL."""
    parts = urlsplit(url)
    assert (parts.scheme, parts.hostname, parts.path) == ("http", "127.0.0.1", "/client/v4")
    assert parts.port > 0


def test_a_port_can_be_chosen(fake):
    """The demo can be found where it was the last time."""
    with held_port() as port, serve(fake, port=port) as url:
        assert urlsplit(url).port == port


def test_a_get_arrives_as_it_was_sent(fake, url):
    """The path stays percent-encoded, header names become lower-case, empty query values are kept."""
    with connection(url) as opened:
        status, headers, body = ask(
            opened, "/client/v4/a%2Fb/%2e%2e?x=%2F&empty=&y=a+b", headers={"X-API-Key": "k"}
        )
    assert (status, headers["X-Answer"], headers["Content-Type"]) == (200, "yes", "application/json")
    assert json.loads(body) == {"path": "/client/v4/a%2Fb/%2e%2e", "now": 100.0}
    (request,) = fake.requests
    assert (request.method, request.path) == ("GET", "/client/v4/a%2Fb/%2e%2e")
    assert request.query == {"x": "/", "empty": "", "y": "a b"}
    assert request.headers["x-api-key"] == "k"
    assert all(name == name.lower() for name in request.headers)
    assert request.body == b""


def test_a_post_brings_its_body(fake, url):
    """A form can be read by the fake."""
    with connection(url) as opened:
        ask(
            opened,
            "/oauth2/token",
            "POST",
            body="grant_type=client_credentials&a=b%26c",
            headers={"Content-Type": "application/x-www-form-urlencoded"},
        )
    (request,) = fake.requests
    assert (request.method, request.form) == ("POST", {"grant_type": "client_credentials", "a": "b&c"})


def test_one_connection_serves_many_requests(fake, url):
    """Connections are kept alive, bodies read or empty."""
    with connection(url) as opened:
        ask(opened)
        first = opened.sock
        for _ in range(5):
            assert ask(opened)[0] == 200
            assert ask(opened, method="POST", body=b"a=b")[0] == 200
        assert opened.sock is first
    assert len(fake.requests) == 11


def test_many_connections_are_served_at_once(fake, url):
    """Each request in its own thread, all of them logged."""
    statuses = []

    def work():
        with connection(url) as opened:
            statuses.extend(ask(opened)[0] for _ in range(5))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [200] * 40
    assert len(fake.requests) == 40


@pytest.mark.parametrize(
    ("status", "reason"),
    [(503, "Service Unavailable"), (429, "Too Many Requests"), (529, "Unknown"), (999, "Unknown")],
)
def test_a_fault_answers_in_the_fakes_place(fake, url, status, reason):
    """Any status can be sent, those without a name too."""
    fake.fail(Fault(status=status, body=b"down", headers={"Retry-After": "7"}))
    with connection(url) as opened:
        opened.request("GET", "/")
        reply = opened.getresponse()
        assert (reply.status, reply.reason, reply.getheader("Retry-After")) == (status, reason, "7")
        assert reply.getheader("Content-Length") == "4"
        assert reply.read() == b"down"
        assert ask(opened)[0] == 200


def test_a_wrong_content_length_can_be_sent(fake, url):
    """A fault's headers win over ours: a body that ends too early."""
    fake.fail(Fault(status=200, body=b"{}", headers={"Content-Length": "10", "Connection": "close"}))
    with connection(url) as opened:
        opened.request("GET", "/")
        reply = opened.getresponse()
        assert reply.getheader("Content-Length") == "10"
        assert reply.fp.read(2) == b"{}"


@pytest.mark.parametrize("method", ["HEAD", "PUT", "DELETE", "OPTIONS", "PROPFIND"])
def test_every_method_is_answered_by_the_fake(fake, url, method):
    """It says itself which it takes; an answer to HEAD has no body, and the connection goes on."""
    with connection(url) as opened:
        status, headers, body = ask(opened, method=method)
        assert (status, fake.requests[0].method) == (200, method)
        assert (len(body) == int(headers["Content-Length"])) is (method != "HEAD")
        assert ask(opened)[0] == 200


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"Content-Length: x", 400),
        (b"Content-Length: -1", 400),
        (b"Content-Length: 99999999999", 413),
        (b"Transfer-Encoding: chunked", 411),
    ],
)
def test_a_request_whose_end_cannot_be_told_is_refused(fake, url, line, status, capfd):
    """And the connection closed, for nobody knows where the next one begins; the fake hears of none."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), timeout=10) as raw:
        raw.sendall(b"POST / HTTP/1.1\r\nHost: x\r\n" + line + b"\r\n\r\n")
        answer = b"".join(iter(lambda: raw.recv(4096), b""))
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert fake.requests == []
    with connection(url) as opened:
        assert ask(opened)[0] == 200
    assert capfd.readouterr().err == ""


def test_a_request_that_is_cut_off_has_not_been_asked(fake, url):
    """Half of a body is none, and nothing has come of it."""
    parts = urlsplit(url)
    for head in ("Content-Length: 9", "Content-Length: 2\r\nContent-Length: 3"):
        with socket.create_connection((parts.hostname, parts.port), timeout=10) as opened:
            opened.sendall(f"POST /client/v4/token HTTP/1.1\r\n{head}\r\n\r\nabc".encode())
            opened.shutdown(socket.SHUT_WR)
            assert opened.recv(64).startswith(b"HTTP/1.1 400 ")
    assert fake.requests == []


def test_what_is_no_http_and_who_hangs_up_disturbs_nobody(fake, url, capfd):
    """The next client is answered, and nothing is written."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), timeout=10) as raw:
        raw.sendall(b"\x16\x03\x01\r\n\r\n")
        assert b"400" in b"".join(iter(lambda: raw.recv(4096), b""))
    with socket.create_connection((parts.hostname, parts.port), timeout=10) as raw:
        raw.sendall(b"POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\nabc")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset, not an end
    with connection(url) as opened:
        assert ask(opened)[0] == 200
    assert capfd.readouterr().err == ""


def test_a_bug_of_the_fake_is_told_as_one(fake, url, caplog):
    """Its author finds the traceback in the log; the client gets a 500 that names the error."""
    fake.answer = lambda request: {}["nothing"]
    with connection(url) as opened:
        status, _, body = ask(opened, "/client/v4/bulks")
        assert (status, body) == (500, b"the fake of echo has a bug: KeyError\n")
        assert ask(opened)[0] == 500
    assert "the fake of echo cannot answer GET /client/v4/bulks" in caplog.text
    assert "KeyError: 'nothing'" in caplog.text


def test_whoever_serves_is_told_of_each_request(fake):
    """With what was answered; None where the connection was closed."""
    told = []
    with serve(fake, on_request=lambda *each: told.append(each)) as url:
        fake.fail(Fault(drop=True, where="/drop"))
        with connection(url) as opened:
            ask(opened, "/one")
            with pytest.raises(http.client.RemoteDisconnected):
                ask(opened, "/drop")
    assert [(request.path, answer and answer.status) for request, answer in told] == [
        ("/one", 200),
        ("/drop", None),
    ]


def test_a_dropped_connection_ends_without_an_answer(fake, url):
    """The request was received and logged; the next one, on a new connection, is answered."""
    fake.fail(Fault(drop=True))
    with connection(url) as opened:
        opened.request("GET", "/")
        with pytest.raises(http.client.RemoteDisconnected):
            opened.getresponse()
    with connection(url) as opened:
        assert ask(opened)[0] == 200
    assert len(fake.requests) == 2


def test_a_delay_comes_before_the_answer_is_made(fake, url, monkeypatch):
    """The fake waits as long as told, and then answers for the time it is then."""
    monkeypatch.setattr("bulkstatus.testing._server.time.sleep", fake.clock.advance)
    fake.fail(Fault(delay=30.0))
    with connection(url) as opened:
        assert json.loads(ask(opened)[2])["now"] == 130.0
        assert json.loads(ask(opened)[2])["now"] == 130.0


def test_leaving_switches_the_provider_off(fake):
    """Open connections end and no new one is taken; the port is free again."""
    with held_port() as port:
        leave_and_come_back(fake, port)


def leave_and_come_back(fake, port):
    """Serve at a port, leave, find nobody there, and serve there again."""
    with serve(fake, port=port) as url:
        parts = urlsplit(url)
        idle = socket.create_connection((parts.hostname, parts.port), timeout=10)
        opened = http.client.HTTPConnection(parts.hostname, parts.port, timeout=10)
        assert ask(opened)[0] == 200
    with idle:
        assert idle.recv(1) == b""
    with pytest.raises((http.client.HTTPException, OSError)):
        ask(opened)
    opened.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((parts.hostname, parts.port), timeout=10)
    with serve(fake, port=parts.port), connection(url) as again:
        assert ask(again)[0] == 200


def test_leaving_ends_a_connection_that_has_hardly_begun(fake, monkeypatch):
    """One whose thread has not come to it yet is closed like all others."""
    taken, gate = threading.Event(), threading.Event()
    begin = ThreadingMixIn.process_request_thread

    def late(*arguments):
        taken.set()
        gate.wait(10)
        begin(*arguments)

    monkeypatch.setattr(ThreadingMixIn, "process_request_thread", late)
    with serve(fake) as url:
        parts = urlsplit(url)
        opened = socket.create_connection((parts.hostname, parts.port), timeout=5)
        assert taken.wait(10)
    with opened:
        assert opened.recv(1) == b""
    gate.set()
    assert fake.requests == []


def test_no_name_server_is_asked(fake, monkeypatch):
    """A machine without one takes seconds to say so."""
    asked = []
    monkeypatch.setattr(socket, "getfqdn", asked.append)
    with serve(fake), serve(fake):
        assert asked == []


@pytest.mark.parametrize("status", [204, 304])
def test_an_answer_that_may_have_no_body_has_none(fake, url, status):
    """Otherwise the body would be taken for the next answer on that connection."""
    fake.fail(Fault(status=status, body=b"surplus"))
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), timeout=10) as opened:
        opened.sendall(b"GET /client/v4/bulks HTTP/1.1\r\nConnection: close\r\n\r\n")
        answer = b"".join(iter(lambda: opened.recv(4096), b""))
    head, _, rest = answer.partition(b"\r\n\r\n")
    assert (head.split()[1], rest) == (str(status).encode(), b"")
    assert b"content-length" not in head.lower()


def test_leaving_by_an_exception_switches_it_off_too(fake):
    """A test that fails leaves no server behind."""
    with held_port() as port:
        with pytest.raises(RuntimeError, match="boom"), serve(fake, port=port) as url:
            raise RuntimeError("boom")
        with pytest.raises(ConnectionRefusedError), connection(url) as opened:
            opened.connect()


def test_the_fake_says_nothing(fake, url, capfd):
    """Nothing is written to the terminal of whoever runs it."""
    with connection(url) as opened:
        ask(opened)
        ask(opened, "/nowhere")
    assert capfd.readouterr() == ("", "")
