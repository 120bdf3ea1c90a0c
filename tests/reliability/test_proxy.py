"""Proxies of the environment: what they refuse is told with their name, and without their password."""

import base64
import socket
import ssl
import sys
import threading
import traceback
from contextlib import contextmanager, suppress

import pytest
import trustme

from bulkstatus import ConfigError, Policy, Unavailable
from bulkstatus._http import _tls_context, new_client
from support import Plain, ask, held_port, raw_server, reply

pytestmark = pytest.mark.usefixtures("quick", "transport")

PASSWORD = "S3CR3T-proxy"
ADAPTER = Plain(base_url="https://plain.test")


class FakeProxy:
    """Answers CONNECT with a status line, or passes on to a port of this machine where that is given."""

    def __init__(self, answer, upstream):
        self.requests = []
        self._answer, self._upstream = answer, upstream
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.host = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def close(self):
        """Listen no more."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _accept(self):
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, client):
        with suppress(OSError), client:
            client.settimeout(10)
            request = b""
            while b"\r\n\r\n" not in request:
                request += client.recv(65536) or b"\r\n\r\n"
            self.requests.append(request)
            client.sendall(b"HTTP/1.1 %b\r\n\r\n" % self._answer)
            if self._upstream is None:
                return
            with socket.create_connection(("127.0.0.1", self._upstream)) as server:
                back = threading.Thread(target=_copy, args=(server, client), daemon=True)
                back.start()
                _copy(client, server)
                back.join()


def _copy(source, target):
    with suppress(OSError):
        while piece := source.recv(65536):
            target.sendall(piece)
        target.shutdown(socket.SHUT_WR)


@contextmanager
def proxy(monkeypatch, answer, upstream=None, variable="HTTPS_PROXY"):
    """A proxy that the environment names, with a user and a password."""
    made = FakeProxy(answer, upstream)
    monkeypatch.setenv(variable, f"http://user:{PASSWORD}@{made.host}")
    try:
        yield made
    finally:
        made.close()


def shown(error):
    """All that anybody can see of an error."""
    return "".join(traceback.format_exception(error)) + repr(error) + str(vars(error))


REFUSALS = {
    "407": (
        b"407 Proxy Authentication Required",
        1,
        "refused the connection with 407; give HTTPS_PROXY a user and password it accepts",
    ),
    "403": (
        b"403 Forbidden \x1b[31m",
        1,
        "refused the connection with 403; check HTTPS_PROXY, or let NO_PROXY name the provider's host",
    ),
    "502": (
        b"502 Bad Gateway",
        4,
        "refused the connection with 502; check HTTPS_PROXY, or let NO_PROXY name the provider's host",
    ),
}


@pytest.mark.row("F19")
@pytest.mark.parametrize("case", REFUSALS)
@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "ALL_PROXY"])
def test_a_proxy_that_refuses_is_named(monkeypatch, kind, case, variable):
    """What it refuses for good is not asked for again; its password, and its own words, are in no message."""
    answer, attempts, words = REFUSALS[case]
    with (
        proxy(monkeypatch, answer, variable=variable) as refusing,
        pytest.raises(Unavailable) as caught,
    ):
        ask(kind, ADAPTER)
    error = caught.value
    assert (error.reason, error.message) == ("proxy", f"the proxy {refusing.host} {words}")
    assert error.retryable is (attempts == 4)
    assert len(refusing.requests) == attempts
    assert all(request.startswith(b"CONNECT plain.test:443 ") for request in refusing.requests)
    assert PASSWORD not in shown(error)
    assert base64.b64encode(f"user:{PASSWORD}".encode()).decode() not in shown(error)
    assert "plain-token" not in str(refusing.requests)


@pytest.mark.row("F19")
@pytest.mark.parametrize("case", ["refuses", "is unknown"])
def test_a_proxy_that_cannot_be_reached_is_not_taken_for_the_provider(monkeypatch, names, kind, case):
    """Four attempts, and the message is about the proxy: base_url has nothing to do with it."""
    names.known["proxy.nowhere.test"] = socket.gaierror(socket.EAI_NONAME, "no")
    with held_port() as port:
        host = f"127.0.0.1:{port}" if case == "refuses" else "proxy.nowhere.test:3128"
        monkeypatch.setenv("HTTPS_PROXY", f"http://user:{PASSWORD}@{host}")
        with pytest.raises(Unavailable) as caught:
            ask(kind, ADAPTER)
    error = caught.value
    assert (error.reason, error.retryable) == ("proxy", True)
    assert error.message == f"cannot connect to the proxy {host}; check HTTPS_PROXY and ALL_PROXY"
    assert PASSWORD not in shown(error)


@pytest.mark.parametrize(
    "written",
    [
        "proxy.nowhere.test:3128",
        f"user:{PASSWORD}@proxy.nowhere.test:3128",
        f"http://user:{PASSWORD}@x@proxy.nowhere.test:3128",
        f"http://user:1/{PASSWORD}@proxy.nowhere.test:3128/",
    ],
)
def test_a_proxy_is_named_without_its_user_however_it_is_written(monkeypatch, names, kind, written):
    """Without a scheme, or with signs in the password that belong in none: what stands behind the last @."""
    for name in ("proxy.nowhere.test", "user"):
        names.known[name] = socket.gaierror(socket.EAI_NONAME, "no")
    monkeypatch.setenv("HTTPS_PROXY", written)
    with pytest.raises(Unavailable, match=r"the proxy proxy\.nowhere\.test:3128;") as caught:
        ask(kind, ADAPTER, policy=Policy(attempts=1))
    assert PASSWORD not in shown(caught.value)


@pytest.mark.row("F19")
def test_requests_go_through_a_proxy_that_is_willing(monkeypatch, tmp_path, kind):
    """Whatever transport is installed: the proxy gets its user, and of the request nothing but the host."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    _tls_context.cache_clear()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("plain.test").configure_cert(context)
    try:
        with (
            raw_server(reply(), context=context) as server,
            proxy(monkeypatch, b"200 Connection established", server.port) as willing,
        ):
            assert ask(kind, ADAPTER)[0].id == "a1"
    finally:
        _tls_context.cache_clear()
    (connect,) = willing.requests
    assert base64.b64encode(f"user:{PASSWORD}".encode()) in connect
    assert b"plain-token" not in connect
    (request,) = server.requests
    assert b"plain-token" in request
    assert b"roxy" not in request


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_proxy_stays_out_of_loopback(monkeypatch, kind, host):
    """What this machine says to itself goes past every proxy."""
    monkeypatch.setenv("HTTP_PROXY", "http://192.0.2.1:1")
    with raw_server(reply()) as server, proxy(monkeypatch, b"403 X", variable="ALL_PROXY") as refusing:
        assert ask(kind, Plain(base_url=f"http://{host}:{server.port}"))[0].id == "a1"
    assert refusing.requests == []


@pytest.mark.parametrize(
    ("urls", "trusted"),
    [
        (("https://api.test",), True),
        (("http://127.0.0.1:1",), False),
        (("http://localhost", "http://[::1]:2"), False),
        (("http://localhost", "https://api.test"), True),
    ],
)
def test_a_client_trusts_the_proxies_of_the_environment(urls, trusted):
    """Unless all it asks is this machine."""
    assert new_client(urls, connections=1, transport=None).trust_env is trusted


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "ALL_PROXY", "https_proxy"])
@pytest.mark.parametrize(
    "value",
    [
        f"http://user:{PASSWORD}@[::1",
        f"http://user:{PASSWORD}@proxy.test:port",
        f"gopher://user:{PASSWORD}@proxy.test",
        f"socks5://user:{PASSWORD}@proxy.test:1080",
    ],
)
def test_proxy_settings_that_cannot_be_used_are_a_config_error(monkeypatch, variable, value):
    """It names the variables and not the password, which often stands in them; nothing behind it does."""
    monkeypatch.setitem(sys.modules, "socksio", None)  # what httpx needs for socks5; it may be installed here
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigError, match=r"HTTPS_PROXY.*ALL_PROXY") as caught:
        ask("async", ADAPTER)
    error = caught.value
    assert (error.source, error.retryable) == ("plain", False)
    assert PASSWORD not in shown(error)


@pytest.mark.row("F19")
def test_the_command_names_the_proxy(monkeypatch, command):
    """Exit code 7, the proxy's host, and never its password."""
    with proxy(monkeypatch, b"407 X") as refusing:
        code, out, err = command("https://plain.test")
    assert (code, len(refusing.requests)) == (7, 1)
    assert f"the proxy {refusing.host} refused the connection with 407" in err
    assert PASSWORD not in out + err


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "ALL_PROXY"])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_no_proxy_hears_what_this_machine_says_to_itself_beside_another_host(
    monkeypatch, kind, host, variable
):
    """It is not encrypted, and holds the client secret: a source whose other base URL needs the proxy changes nothing."""
    token = reply(b'{"access_token": "plain-app-token"}')
    with raw_server(token) as server, proxy(monkeypatch, b"403 X", variable=variable) as refusing:
        monkeypatch.setenv("HTTPS_PROXY", f"http://{refusing.host}")
        adapter = Plain(base_url="https://plain.test", token_url=f"http://{host}:{server.port}")
        with pytest.raises(Unavailable) as caught:
            ask(kind, adapter)
    assert caught.value.reason == "proxy"
    assert [request.partition(b" ")[0] for request in server.requests] == [b"POST"]
    assert [request.partition(b" ")[0] for request in refusing.requests] == [b"CONNECT"]
