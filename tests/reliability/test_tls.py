"""TLS that cannot be trusted, is not there, or breaks off: with certificates made for the purpose."""

import socket
import ssl
import threading
import time
import warnings
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
import trustme

from bulkstatus import BulkStatusError, Client, ConfigError, ProtocolError, Unavailable
from bulkstatus._http import _tls_context
from support import GOOD_BODY, Plain, ask, raw_server, reply, run_script

pytestmark = pytest.mark.usefixtures("quick", "transport")

HOST = "plain.localhost"


@pytest.fixture(scope="module")
def authority():
    """A certificate authority that nobody trusts until told to."""
    return trustme.CA()


@pytest.fixture(autouse=True)
def fresh(names):
    """The certificates to trust are read once a process; and HOST is at one address."""
    names.known[HOST] = ["127.0.0.1"]
    _tls_context.cache_clear()
    yield
    _tls_context.cache_clear()


@pytest.fixture
def trusting(authority, monkeypatch, tmp_path):
    """The environment that trusts the authority."""
    bundle = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(bundle))
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))


def tls(authority, name=HOST, **validity):
    """What a server needs that has a certificate of the authority for `name`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name, **validity).configure_cert(context)
    return context


def at(server) -> Plain:
    """The provider at that server."""
    return Plain(base_url=f"https://{HOST}:{server.port}")


@contextmanager
def speaking(answer):
    """A port that sends `answer` to whatever a client says first, or just hangs up where that is None."""

    class Server:
        accepted = 0
        port = 0

    with socket.create_server(("127.0.0.1", 0)) as listener:
        Server.port = listener.getsockname()[1]

        def serve():
            with suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    Server.accepted += 1
                    with suppress(OSError), connection:
                        connection.settimeout(10)
                        connection.recv(65536)
                        if answer is not None:
                            connection.sendall(answer)
                            connection.shutdown(socket.SHUT_WR)
                            connection.recv(1)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield Server
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.mark.row("F13", "F14", "F15")
def test_a_trusted_certificate_is_accepted(authority, trusting, kind):
    """The tests below fail for the reason they name: with the right name, time and authority, all is well."""
    with raw_server(reply(), context=tls(authority)) as server:
        assert ask(kind, at(server))[0].id == "a1"


def refused(kind, server):
    """The error of a question that is not to be asked twice, and in which no request was sent."""
    with pytest.raises(Unavailable) as caught:
        ask(kind, at(server))
    error = caught.value
    assert (error.reason, error.retryable) == ("tls_untrusted", False)
    assert (server.connections, server.requests) == (1, [])
    assert error.message.startswith(f"no trusted TLS connection to {HOST}; ")
    return error


@pytest.mark.row("F13")
def test_an_unknown_authority_is_not_asked_twice(authority, kind):
    """One connection, no request, and a hint at SSL_CERT_FILE."""
    with raw_server(reply(), context=tls(authority)) as server:
        error = refused(kind, server)
    assert error.message.endswith("if a private CA signs it, point SSL_CERT_FILE at its certificate")
    assert error.detail == "unable to get local issuer certificate"


@pytest.mark.row("F14")
def test_a_certificate_for_another_host_is_not_asked_twice(authority, trusting, kind):
    """A certificate of a trusted authority for another name is as good as none; it says which name it lacks."""
    with raw_server(reply(), context=tls(authority, "other.test")) as server:
        error = refused(kind, server)
    assert error.message.endswith("its certificate is for another host; check base_url")
    assert HOST in error.detail


NOW = datetime.now(UTC)
EXPIRED = {"not_before": NOW - timedelta(days=30), "not_after": NOW - timedelta(days=2)}
NOT_YET = {"not_before": NOW + timedelta(days=2), "not_after": NOW + timedelta(days=30)}


@pytest.mark.row("F15")
@pytest.mark.parametrize(
    ("validity", "detail"),
    [(EXPIRED, "certificate has expired"), (NOT_YET, "certificate is not yet valid")],
    ids=["expired", "not yet"],
)
def test_a_certificate_at_the_wrong_time_is_not_asked_twice(authority, trusting, kind, validity, detail):
    """It may be the provider's certificate or this machine's clock, and no other authority helps: it says so."""
    with raw_server(reply(), context=tls(authority, **validity)) as server:
        error = refused(kind, server)
    assert error.detail == detail
    assert "check this machine's clock" in error.message
    assert "SSL_CERT_FILE" not in error.message


ALERT = b"\x15\x03\x01\x00\x02\x02\x46"
"""The alert "protocol version", as a server sends it that knows nothing newer than TLS 1.1."""


@pytest.mark.row("F16")
@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", b"SSH-2.0-x\r\n", ALERT]
)
def test_a_port_without_tls_we_speak_is_not_asked_twice(kind, answer):
    """Plain HTTP, another protocol, or TLS of old: one connection, and base_url is to be looked at."""
    with speaking(answer) as server, pytest.raises(Unavailable) as caught:
        ask(kind, at(server))
    assert (caught.value.reason, caught.value.retryable, server.accepted) == ("tls_untrusted", False, 1)
    assert "check that base_url is an https address, port included" in caught.value.message
    assert "SSL_CERT_FILE" not in caught.value.message


@pytest.mark.row("F16")
def test_tls_of_old_is_not_spoken(authority, trusting, kind):
    """A server whose newest is TLS 1.1 gets no request, however well its certificate is signed."""
    context = tls(authority)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # that it is of old is the point
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with suppress(ssl.SSLError):
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
    with raw_server(reply(), context=context) as server:
        error = refused(kind, server)
    assert "TLS 1.2 or newer" in error.message


@pytest.mark.row("F17")
def test_a_handshake_that_falls_silent_is_tried_again(names, kind, short_connect):
    """A port that accepts and says nothing: four attempts, and nothing is said about trust."""
    with raw_server(reply()) as server, pytest.raises(Unavailable) as caught:
        ask(kind, at(server))  # the server waits for a request in plain text
    assert (caught.value.reason, caught.value.retryable) == ("connect", True)
    assert caught.value.message == f"no connection within 0.1 s to {HOST}"
    assert len(names.asked) == 4


@pytest.mark.row("F17")
def test_a_handshake_that_is_cut_off_is_tried_again(kind):
    """A connection that drops while TLS begins says nothing about trust."""
    with speaking(None) as server, pytest.raises(Unavailable) as caught:
        ask(kind, at(server))
    assert (caught.value.reason, caught.value.retryable, server.accepted) == ("connect", True, 4)
    assert caught.value.message == f"cannot connect to {HOST}"


CHUNKED = b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.row("F18")
@pytest.mark.parametrize(
    ("answer", "ends"),
    [
        (reply(length=len(GOOD_BODY) + 1), (Unavailable, 4)),
        (CHUNKED + b"%x\r\n%b\r\n" % (len(GOOD_BODY), GOOD_BODY), (Unavailable, 4)),
        (b"HTTP/1.1 200 X\r\n\r\n" + GOOD_BODY[:-1], (ProtocolError, 2)),
        (b"HTTP/1.1 200 X\r\nContent-", (Unavailable, 4)),
    ],
    ids=["length", "chunks", "until close", "headers"],
)
def test_an_answer_cut_off_under_tls_is_never_read(authority, trusting, kind, answer, ends):
    """The connection ends in the middle without TLS saying that it ends: no answer, though a whole record came."""
    with raw_server(answer, context=tls(authority)) as server, pytest.raises(BulkStatusError) as caught:
        ask(kind, at(server))
    assert (type(caught.value), len(server.requests)) == ends


@pytest.mark.row("F18")
def test_a_whole_answer_needs_no_farewell(authority, trusting, kind):
    """All that was announced came; that TLS was not ended in order takes nothing away from it."""
    with raw_server(reply(), context=tls(authority)) as server:
        assert ask(kind, at(server))[0].id == "a1"
    assert len(server.requests) == 1


@pytest.mark.row("F13")
def test_the_command_says_what_to_do_about_an_unknown_authority(authority, command):
    """Exit code 7, after one connection."""
    with raw_server(reply(), context=tls(authority)) as server:
        code, _, err = command(f"https://{HOST}:{server.port}")
    assert (code, server.connections) == (7, 1)
    assert "point SSL_CERT_FILE at its certificate" in err


# --- the certificates to trust ---


def _nothing(path):
    del path


def _folder(path):
    path.mkdir()


def _no_certificate(path):
    path.write_text("-----BEGIN CERTIFICATE-----\nnonsense\n")


BUNDLES = {
    "missing": (_nothing, "No such file or directory"),
    "a folder": (_folder, "Is a directory"),
    "empty": (lambda path: path.write_bytes(b""), "it holds no certificate"),
    "not PEM": (_no_certificate, "it holds no certificate"),
    "binary": (lambda path: path.write_bytes(b"\x00\xff" * 99), "it holds no certificate"),
}


@pytest.mark.parametrize("case", ["missing", "a folder", "empty", "not PEM", "binary"])
def test_certificates_that_cannot_be_read_are_a_config_error(monkeypatch, tmp_path, kind, case):
    """It says which variable names which file, what is wrong with it, and what to do; nothing is sent."""
    make, why = BUNDLES[case]
    bundle = tmp_path / "ca.pem"
    make(bundle)
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    with raw_server(reply()) as server, pytest.raises(ConfigError) as caught:
        ask(kind, at(server))
    assert caught.value.message == (
        f"SSL_CERT_FILE names {str(bundle)!r}, which cannot be used ({why}); "
        "point it at a PEM file of the certificates to trust, or unset it"
    )
    assert (caught.value.source, server.connections) == ("plain", 0)


def test_certificates_are_read_for_https_alone(monkeypatch, tmp_path, kind):
    """Whoever asks without TLS, as of a fake on this machine, neither waits for them nor fails for them."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "missing.pem"))
    with raw_server(reply()) as server:
        (status,) = ask(kind, Plain(base_url=f"http://127.0.0.1:{server.port}"))
    assert status.id == "a1"
    assert _tls_context.cache_info().currsize == 0


@pytest.mark.parametrize("what", ["missing", "a file"])
def test_a_folder_of_certificates_that_is_none_is_a_config_error(monkeypatch, tmp_path, kind, what):
    """OpenSSL would trust nobody without a word."""
    folder = tmp_path / "certs"
    if what == "a file":
        folder.write_text("x")
    monkeypatch.setenv("SSL_CERT_DIR", str(folder))
    with pytest.raises(ConfigError, match=r"SSL_CERT_DIR names .*certs.*point it at a folder"):
        ask(kind, Plain(base_url="https://plain.test"))


def test_the_command_says_which_file_of_certificates_is_broken(monkeypatch, command):
    """Wrong usage: exit code 2, and the variable and its file."""
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/ca.pem")
    code, _, err = command("https://plain.test")
    assert code == 2
    assert "SSL_CERT_FILE names '/nowhere/ca.pem'" in err


def test_a_client_leaves_no_connection_to_a_silent_server(authority, trusting):
    """Closed while a question is under way: nobody waits for the server's part of the end of TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    asked, over = threading.Event(), threading.Event()

    def silent(_connection):
        asked.set()
        over.wait(30)

    with raw_server(silent, context=context) as server:
        done = run_script(
            """
            import gc, sys
            from bulkstatus import Client
            from support import Plain

            with Client({"plain": Plain(base_url=sys.argv[1])}) as client:
                try:
                    client.get("plain:a1", timeout=1)
                except TimeoutError:
                    print("no answer")
            del client
            gc.collect()
            """,
            server.url.replace("http", "https"),
        )
        over.set()
    assert asked.is_set()
    assert (done.stdout, done.stderr) == ("no answer\n", "")


def _kept(connection):
    """Answer one request after another."""
    answer = b"HTTP/1.1 200 X\r\nContent-Length: %d\r\n\r\n%s" % (len(GOOD_BODY), GOOD_BODY)
    connection.sendall(answer)
    while b"\r\n\r\n" in connection.recv(65536):
        connection.sendall(answer)


@pytest.fixture
def clock(monkeypatch):
    """What both transports go by when they look how long a connection was idle: the real time, and what is added."""
    ahead = SimpleNamespace(seconds=0.0)

    def monotonic():
        return time.monotonic() + ahead.seconds

    monkeypatch.setattr("httpcore._async.http11.time", SimpleNamespace(monotonic=monotonic))
    monkeypatch.setattr("aiohttp.connector.monotonic", monotonic)
    return ahead


@pytest.mark.usefixtures("trusting")
@pytest.mark.parametrize(("pause", "connections"), [(59.0, 1), (100.0, 3)])
def test_a_poll_within_a_minute_of_the_last_opens_no_connection(authority, clock, pause, connections):
    """A handshake costs several requests. What was idle for longer is not tried: servers close it, or forget it."""
    with raw_server(_kept, context=tls(authority)) as server, Client({"plain": at(server)}) as client:
        for _ in range(3):
            assert client.get("plain:a1").state == "running"
            clock.seconds += pause
        assert server.connections == connections


@pytest.mark.usefixtures("trusting")
def test_all_sources_of_a_process_share_one_tls_context(authority, monkeypatch):
    """Reading the certificates to trust is nearly all that a new client costs."""
    made = []
    make = ssl.SSLContext.__new__

    def counted(kind, *arguments, **options):
        made.append(kind)
        return make(kind, *arguments, **options)

    with raw_server(_kept, context=tls(authority)) as server:
        sources = {f"plain{number}": at(server) for number in range(3)}
        with Client(sources) as client:
            client.get("plain0:a1")
            monkeypatch.setattr(ssl.SSLContext, "__new__", counted)
            assert not client.get_many([f"{name}:a1" for name in sources]).failures
        with Client(sources) as client:
            client.get("plain1:a1")
    assert made == []
