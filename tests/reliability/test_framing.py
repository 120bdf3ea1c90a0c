"""What comes back is not HTTP, or not quite: how often it is asked for again, and what is never read from it."""

import errno
import gc
import itertools
import json
import pickle
import socket
import ssl
import struct
import threading
import traceback
from functools import partial

import anyio
import pytest
import trustme

from bulkstatus import AsyncClient, Client, Policy, ProtocolError, State, Unavailable
from bulkstatus._http import _tls_context
from support import GOOD_BODY, Plain, ask, dripping, held_port, raw_server, reply

SHORT = Policy(request_timeout=0.5, attempts=1)


def head(*lines: str) -> bytes:
    """Status line and headers, byte for byte."""
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"


def chunks(*parts: bytes) -> bytes:
    """A chunked body."""
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (*parts, b""))


OK = "HTTP/1.1 200 X"
CHUNKED = (OK, "Transfer-Encoding: chunked")
LENGTH = f"Content-Length: {len(GOOD_BODY)}"


def case(row, name, *values):
    """One input of a row."""
    return pytest.param(*values, id=name, marks=pytest.mark.row(row))


NO_HTTP = [
    case("F22", "hangs up", b""),
    case("F22", "hangs up after a 1xx", head("HTTP/1.1 100 X")),
    case("F23", "less than announced", reply(length=5000)),
    case("F26", "chunk cut", head(*CHUNKED) + b"40\r\n" + GOOD_BODY),
    case("F26", "no last chunk", head(*CHUNKED) + chunks(GOOD_BODY)[:-5]),
    case("F27", "chunk size in words", head(*CHUNKED) + b"zz\r\n" + GOOD_BODY),
    case("F27", "chunk size of 30 digits", head(*CHUNKED) + b"1" * 30 + b"\r\n" + GOOD_BODY),
    case("F27", "negative chunk size", head(*CHUNKED) + b"-1\r\n" + GOOD_BODY),
    case("F28", "two lengths", reply(GOOD_BODY, 200, "Content-Length: 7")),
    case("F28", "two lengths in one header", reply(length=f"{len(GOOD_BODY)}, 7")),
    case("F29", "another coding than chunks", head(OK, "Transfer-Encoding: gzip") + GOOD_BODY),
    case(
        "F29", "another coding and chunks", head(OK, "Transfer-Encoding: gzip, chunked") + chunks(GOOD_BODY)
    ),
    case("F30", "negative length", reply(length=-1)),
    case("F30", "length in words", reply(length="many")),
    case("F30", "length with a sign", reply(length=f"+{len(GOOD_BODY)}")),
    case("F30", "length of an exabyte", reply(length=10**18)),
    case("F30", "length of 31 digits", reply(length=10**30)),
    case("F31", "SSH", b"SSH-2.0-OpenSSH_9.6\r\n"),
    case("F31", "HTTP/0.9", GOOD_BODY),
    case("F31", "status 000", reply(status="000")),
    case("F31", "status 099", reply(status="099")),
    case("F31", "status 99", reply(status="99")),
    case("F31", "status 2000", reply(status="2000")),
    case("F31", "status in words", reply(status="OK")),
    case(
        "F33", "101 with an upgrade", head("HTTP/1.1 101 X", "Connection: upgrade", "Upgrade: x") + GOOD_BODY
    ),
    case("F33", "101 before an answer", head("HTTP/1.1 101 X") + reply()),
    case("F33", "1xx with a body", head("HTTP/1.1 103 X", LENGTH) + GOOD_BODY + reply()),
    case("F35", "one header of 150 KB", reply(GOOD_BODY, 200, "X: " + "a" * 150_000)),
    case("F35", "headers of 600 KB", reply(GOOD_BODY, 200, *["X: " + "a" * 60_000] * 10)),
    case("F35", "a status line of 150 KB", reply(status="200 " + "a" * 150_000)),
    case("F38", "NUL in a header", reply(GOOD_BODY, 200, "X: a\0b")),
    case("F38", "space before a colon", reply(GOOD_BODY, 200, "X : a")),
    case("F38", "space before the colon of the length", head(OK, LENGTH.replace(":", " :")) + GOOD_BODY),
    case("F38", "a header without a colon", reply(GOOD_BODY, 200, "X")),
]


@pytest.mark.parametrize("step", NO_HTTP)
def test_what_is_not_http_is_asked_for_four_times_and_is_no_answer(step, kind, transport, quick):
    """No part of it is read, though most of these hold a whole answer; nor is it asked for more often by anybody."""
    with raw_server(step) as server, pytest.raises(Unavailable) as caught:
        ask(kind, Plain(base_url=server.url))
    error = caught.value
    assert (error.reason, error.retryable, error.source, error.id) == ("framing", True, "plain", "a1")
    assert "no proper HTTP answer from 127.0.0.1" in str(error)
    assert (server.connections, len(server.requests)) == (4, 4)


def test_a_connection_whose_answer_was_framed_oddly_is_not_used_again(kind, transport, quick):
    """Also where all of that answer has come and the server keeps the connection: nobody knows where the next begins."""
    oddly = head(OK, "Transfer-Encoding: gzip, chunked") + chunks(GOOD_BODY)
    came_behind = []

    def answer(connection):
        connection.sendall(oddly)
        came_behind.append(connection.recv(65536))

    with raw_server(answer) as server, pytest.raises(Unavailable):
        ask(kind, Plain(base_url=server.url))
    assert server.connections == 4
    assert set(came_behind) <= {b""}


CUT = [
    case("F25", "in the middle", head(OK) + GOOD_BODY[:-8]),
    case("F25", "before the first byte", head(OK)),
    case("F25", "to JSON that lacks a field", head(OK) + b'{"id":"a1"}'),
    case("F25", "to a number", head(OK) + b"1"),
]


@pytest.mark.parametrize("step", CUT)
def test_a_body_that_ends_with_its_connection_is_an_answer_only_if_it_is_whole(step, kind, transport, quick):
    """Nobody can tell that it was cut, so the fields that must be there decide; it is asked for once more."""
    with raw_server(step) as server, pytest.raises(ProtocolError) as caught:
        ask(kind, Plain(base_url=server.url))
    assert (caught.value.reason, server.connections) == ("bad_payload", 2)


@pytest.mark.row("F24")
@pytest.mark.parametrize("length", [2, len(GOOD_BODY) - 1])
def test_a_body_cut_by_its_own_length_is_no_answer(length, kind, transport, quick):
    """What the length says is read, and is no JSON; aiohttp may see what comes after it, and refuses that."""
    with (
        raw_server(reply(length=length)) as server,
        pytest.raises((Unavailable, ProtocolError)) as caught,
    ):
        ask(kind, Plain(base_url=server.url))
    seen = (caught.value.reason, server.connections)
    assert seen == ("bad_payload", 2) or (transport == "aiohttp" and seen == ("framing", 4))


# What httpx's transport reads and aiohttp's parser does not, with no way to tell it otherwise: never a wrong answer,
# only none.
STRICTER = [
    case("F28", "the same length twice", reply(GOOD_BODY, 200, LENGTH)),
    case("F29", "chunks and a length", head(*CHUNKED, "Content-Length: 3") + chunks(GOOD_BODY)),
    case("F29", "a length and chunks", head(OK, "Content-Length: 3", CHUNKED[1]) + chunks(GOOD_BODY)),
    case("F40", "HTTP/9.9", head("HTTP/9.9 200 X", LENGTH) + GOOD_BODY),
]
ANSWERS = [
    case("F25", "body until the connection ends", head(OK) + GOOD_BODY),
    case(
        "F33", "1xx before the answer", head("HTTP/1.1 100 X") + head("HTTP/1.1 103 X", "Link: x") + reply()
    ),
    case("F36", "8000 headers", reply(GOOD_BODY, 200, *(f"X-{n}: a" for n in range(8000)))),
    case("F36", "one header of 90 KB", reply(GOOD_BODY, 200, "X: " + "a" * 90_000)),
    case("F37", "ESC in reason and header", reply(GOOD_BODY, "200 \x1b[31mred", "X: \x1b[31m")),
    case("F37", "latin-1 in reason and header", reply(GOOD_BODY, "200 \xe9", "X: \xe9")),
    case("F37", "a cookie that is none", reply(GOOD_BODY, 200, "Set-Cookie: \x01;;=\xff")),
    case("F40", "HTTP/1.0", head("HTTP/1.0 200 X") + GOOD_BODY),
    case("F40", "a folded header", reply(GOOD_BODY, 200, "X: a\r\n b")),
    case("F40", "no reason", reply().replace(b" 200 X", b" 200")),
    case("F40", "lines that end in LF", reply().replace(b"\r\n", b"\n")),
    case("F40", "chunks of a byte", head(*CHUNKED) + chunks(*(bytes([byte]) for byte in GOOD_BODY))),
]


@pytest.mark.parametrize("step", ANSWERS)
def test_what_is_odd_but_whole_is_read_at_once(step, kind, transport):
    """HTTP allows it, or always has."""
    with raw_server(step) as server:
        (status,) = ask(kind, Plain(base_url=server.url))
    assert (status.id, status.state, server.connections) == ("a1", State.RUNNING, 1)


@pytest.mark.parametrize("step", STRICTER)
def test_what_one_parser_refuses_is_an_answer_or_none(step, kind, transport, quick):
    """The right one over httpx; over aiohttp it is as if there had been none."""
    with raw_server(step) as server:
        adapter = Plain(base_url=server.url)
        if transport == "httpx":
            assert ask(kind, adapter)[0].state is State.RUNNING
        else:
            with pytest.raises(Unavailable) as caught:
                ask(kind, adapter)
            assert caught.value.reason == "framing"
        assert server.connections == (1 if transport == "httpx" else 4)


@pytest.mark.row("F37")
@pytest.mark.parametrize("name", ["Content-Type", "X"])
def test_control_characters_of_a_header_are_not_repeated(name, kind, transport, quick):
    """An error that names the content type names it without them."""
    step = reply(b"<html>", "200 \x1b[2J", f"{name}: \x1b[31mtext/html")
    with raw_server(step) as server, pytest.raises(ProtocolError) as caught:
        ask(kind, Plain(base_url=server.url))
    assert caught.value.reason == "bad_payload"
    assert "\x1b" not in f"{caught.value}{caught.value!r}{vars(caught.value)}"


@pytest.mark.row("F32")
@pytest.mark.parametrize("status", [600, 700, 999])
def test_a_status_beyond_599_is_never_an_answer(status, kind, transport, quick):
    """Whatever an adapter makes of statuses it does not know: it is asked for once more, and given up."""
    with raw_server(reply(status=status)) as server, pytest.raises(ProtocolError) as caught:
        ask(kind, _Trusting(base_url=server.url))
    error = caught.value
    assert (error.reason, error.status, server.connections) == ("protocol", status, 2)


class _Trusting(Plain, frozen=True, kw_only=True):
    """An adapter that reads every answer as a 200."""

    def status(self, id):
        call = super().status(id)
        return type(call)(call.request, lambda response: call.read(_as_200(response)))


def _as_200(response):
    return type(response)(body=response.body, status=200, received_at=response.received_at, source="plain")


@pytest.mark.row("F33")
@pytest.mark.parametrize("status", [205, 206])
def test_a_part_or_nothing_is_not_taken_for_the_whole(status, kind, transport, quick):
    """Nobody asked for a part, or for an answer without content, whatever the adapter makes of it."""
    with raw_server(reply(status=status)) as server, pytest.raises(ProtocolError) as caught:
        ask(kind, _Trusting(base_url=server.url))
    assert (caught.value.reason, server.connections) == ("protocol", 2)


@pytest.mark.row("F33")
@pytest.mark.parametrize("status", [204, 304])
def test_an_answer_without_a_body_is_none(status, kind, transport, quick):
    """What would be the body is left on the wire, and is not the next answer either."""
    empty = head(f"HTTP/1.1 {status} X")
    with raw_server(empty, empty + reply()) as server:
        with pytest.raises(ProtocolError) as caught:
            ask(kind, _Trusting(base_url=server.url), policy=Policy(attempts=1))
        assert (caught.value.reason, caught.value.status) == ("protocol", status)
        with pytest.raises((ProtocolError, Unavailable)):
            ask(kind, _Trusting(base_url=server.url))


# --- what does not end ---


def _until_it_hangs_up(connection, data):
    while True:
        connection.sendall(data)


ENDLESS = [
    case("F34", "1xx for ever", lambda connection: _until_it_hangs_up(connection, head("HTTP/1.1 102 X"))),
    case("F34", "1xx drips", dripping(lambda: False, b"", again=head("HTTP/1.1 102 X"), every=0.01)),
]


@pytest.mark.parametrize("step", ENDLESS)
@pytest.mark.unrecorded
def test_an_answer_that_does_not_end_is_ended_by_the_time_for_a_request(step, kind, transport):
    """Each read brings something, so only the time for the whole can end it."""
    with raw_server(step) as server, pytest.raises(Unavailable, match=r"within 0\.5 s") as caught:
        ask(kind, Plain(base_url=server.url), policy=SHORT)
    assert (caught.value.reason, server.connections) == ("timeout", 1)


# --- connections that are kept ---


class Kept:
    """A server that keeps its connections: `script(n)` is what it sends upon request n of a connection."""

    def __init__(self, script):
        self.script = script
        self.sent = threading.Semaphore(0)
        """Released when all that belongs to a request was sent."""
        self.asked = 0

    def __call__(self, connection):
        for number in itertools.count(1):
            self.asked += 1
            try:
                self._send(connection, number)
            finally:
                self.sent.release()
            if connection.fileno() < 0 or not self._next(connection):
                return

    def _send(self, connection, number):
        for part in self.script(number):
            if part is None:
                connection.close()
            elif callable(part):
                part()
            else:
                connection.sendall(part)

    def _next(self, connection):
        request = b""
        while b"\r\n\r\n" not in request:
            chunk = connection.recv(65536)
            if not chunk:
                return False
            request += chunk
        return True


def answer(state: str = "running", id: str = "a1") -> bytes:
    """An answer that leaves the connection open."""
    body = json.dumps({"id": id, "status": state}).encode()
    return head(OK, f"Content-Length: {len(body)}") + body


def states(kind, url, kept, count, **options):
    """Ask so often through one client, each time after the server has sent all it will; give the states."""
    adapter = {"plain": Plain(base_url=url)}
    found = []
    if kind == "blocking":
        with Client(adapter, **options) as client:
            for _ in range(count):
                found.append(client.get("plain:a1").state)
                assert kept.sent.acquire(timeout=30)
        return found

    async def main():
        async with AsyncClient(adapter, **options) as client:
            for _ in range(count):
                found.append((await client.get("plain:a1")).state)
                assert await anyio.to_thread.run_sync(lambda: kept.sent.acquire(timeout=30))

    anyio.run(main)
    return found


@pytest.fixture(scope="module")
def authority():
    """A certificate authority."""
    return trustme.CA()


@pytest.fixture(params=["plain", "TLS"])
def wire(request, authority, monkeypatch, tmp_path):
    """What a server has to be given so that it speaks it, and its address: `wire(server)`."""
    if request.param == "plain":
        yield None
        return
    bundle = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(bundle))
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    _tls_context.cache_clear()  # it is read once a process
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    yield context
    _tls_context.cache_clear()


def _url(server, wire):
    return server.url if wire is None else f"https://localhost:{server.port}"


def test_a_connection_is_kept_between_questions(kind, transport, wire):
    """What the rows about connections rest on: five questions, one connection."""
    kept = Kept(lambda number: [answer()])
    with raw_server(kept, context=wire) as server:
        assert states(kind, _url(server, wire), kept, 5) == [State.RUNNING] * 5
        assert (server.connections, kept.asked) == (1, 5)


def _pause():
    threading.Event().wait(
        0.05
    )  # the two parts shall not come in one packet; if they do, the case is another's


UNASKED = {
    "in one packet": lambda number: [answer() + answer("done")],
    "in two records": lambda number: [answer(), answer("done")],
    "across packets": lambda number: [answer()[:-5], _pause, answer()[-5:] + answer("done")],
    "a moment later": lambda number: [answer(), _pause, answer("done")],
    "cut": lambda number: [
        answer() + answer("done")[:30] if number == 1 else answer("done")[30:] + answer("done")
    ],
    "after a 204": lambda number: [answer() + head("HTTP/1.1 204 X") + answer("done")],
    "after a 1xx": lambda number: [answer() + head("HTTP/1.1 100 X")],
}


@pytest.mark.row("F39")
@pytest.mark.parametrize("case", UNASKED)
def test_an_answer_that_nobody_asked_for_is_not_the_next_answer(case, kind, transport, wire):
    """It came before the question, so whatever it says, it does not answer it: the connection is not used again."""
    kept = Kept(UNASKED[case])
    with raw_server(kept, context=wire) as server:
        assert states(kind, _url(server, wire), kept, 3) == [State.RUNNING] * 3
        assert (server.connections, kept.asked) == (3, 3)


@pytest.mark.row("F39")
def test_answers_without_end_that_nobody_asked_for_end_their_connection(kind, monkeypatch):
    """Over aiohttp, which reads on while a connection is not used; httpx leaves them where they are."""
    monkeypatch.delenv("BULKSTATUS_TRANSPORT")
    kept = Kept(lambda number: itertools.chain([answer()], itertools.repeat(answer("done") * 100)))
    with raw_server(kept) as server:
        assert states(kind, server.url, kept, 3) == [State.RUNNING] * 3
        assert (server.connections, kept.asked) == (3, 3)


@pytest.mark.row("F39")
@pytest.mark.parametrize("what", ["asked for", "unasked", "to be closed"])
def test_a_connection_that_is_not_used_again_is_closed_at_once(what, kind, transport, wire):
    """Without waiting for the server to say farewell: none is left behind when the client is closed."""
    sent = {"asked for": answer(), "unasked": answer() + answer("done"), "to be closed": reply()}[what]
    ended = threading.Event()

    def silent(connection):
        connection.sendall(sent)
        ended.wait(30)

    with raw_server(silent, context=wire) as server:
        (status,) = ask(kind, Plain(base_url=_url(server, wire)))
        gc.collect()  # a connection that was left to it would warn, and warnings fail here
        ended.set()
    assert status.state is State.RUNNING


@pytest.mark.row("F39")
def test_a_connection_that_was_closed_meanwhile_costs_nothing(kind, transport, wire):
    """The server ends each connection after its answer without a word: the next question is asked once, on a new one."""
    kept = Kept(lambda number: [answer(), None])
    with raw_server(kept, context=wire) as server:
        found = states(kind, _url(server, wire), kept, 20, policy=Policy(attempts=1))
        assert found == [State.RUNNING] * 20
        assert (server.connections, kept.asked) == (20, 20)


# --- what stands behind an error ---


def _reset(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


BEHIND = {
    "F06 reset": (_reset, "connection"),
    "F22 hangs up": (b"", "framing"),
    "F23 less than announced": (reply(length=5000), "framing"),
    "F31 SSH": (b"SSH-2.0-OpenSSH_9.6\r\n", "framing"),
    "F34 no end": (dripping(lambda: False, b"", again=head("HTTP/1.1 102 X"), every=0.01), "timeout"),
    "B67 broken gzip": (reply(GOOD_BODY, 200, "Content-Encoding: gzip"), "encoding"),
}


def _all_behind(error):
    found, ahead = [], [error.__cause__, error.__context__]
    while ahead:
        one = ahead.pop()
        if one is not None and one not in found:
            found.append(one)
            ahead += [one.__cause__, one.__context__]
    return found


@pytest.mark.parametrize("case", [pytest.param(name, marks=pytest.mark.row(name[:3])) for name in BEHIND])
def test_behind_an_error_stand_names_and_no_request(case, kind, transport, quick):
    """An error is pickled, its variables are printed: the objects of an HTTP library hold the headers of the request."""
    step, reason = BEHIND[case]
    adapter = partial(Plain, token="S3CR3T-canary-token")
    with raw_server(step) as server, pytest.raises((Unavailable, ProtocolError)) as caught:
        ask(kind, adapter(base_url=server.url), policy=SHORT if reason == "timeout" else Policy(attempts=1))
    assert caught.value.reason == reason
    assert b"S3CR3T-canary-token" in b"".join(server.requests)
    for one in _all_behind(caught.value):
        assert type(one).__module__.partition(".")[0] in {"bulkstatus", "builtins", "zlib"}
        assert not vars(one)
        assert one.__traceback__ is None or "S3CR3T" not in _locals_of(one)
    assert b"S3CR3T" not in pickle.dumps(caught.value)


def _locals_of(error):
    return "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())


def test_an_error_names_what_was_behind_it(kind, transport):
    """Whoever looks into a fault sees the kinds of all errors that led to it, and the number of the system's."""
    with held_port() as port, pytest.raises(Unavailable) as caught:
        ask(kind, Plain(base_url=f"http://127.0.0.1:{port}"), policy=Policy(attempts=1))
    shown = "".join(traceback.format_exception(caught.value))
    assert "httpx.ConnectError, from " in shown
    assert f"[errno {errno.ECONNREFUSED}]" in shown
