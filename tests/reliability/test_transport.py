"""Which transport carries the requests."""

import subprocess
import sys
from importlib.metadata import PackageNotFoundError

import aiohttp
import httpcore
import httpx
import pytest

from bulkstatus import ConfigError
from bulkstatus._aiohttp import Transport
from bulkstatus._http import new_client
from bulkstatus._session import _OVERRIDDEN
from support import Plain, ask, raw_server, reply

URLS = ("https://plain.test",)


@pytest.fixture
def wanted(monkeypatch):
    """Nobody keeps to httpx's own."""
    monkeypatch.delenv("BULKSTATUS_TRANSPORT")


def chosen():
    """The transport of a new client."""
    return type(new_client(URLS, connections=1, transport=None)._transport)


def installed(monkeypatch, **versions):
    """These versions are installed, and no others."""

    def version(name):
        if name.replace("-", "_") not in versions:
            raise PackageNotFoundError(name)
        return versions[name.replace("-", "_")]

    monkeypatch.setattr("bulkstatus._fast.version", version)


def test_that_of_aiohttp_is_used_where_it_is_installed(wanted):
    """Nothing has to be configured."""
    assert chosen() is Transport


_OPENED = """
import sys
from bulkstatus import Client
from bulkstatus_cloudflare import Cloudflare

adapter = Cloudflare(account_id="a" * 32, token="t" * 40)
with Client({"edge": adapter}, **OPTIONS):
    wanted = ("aiohttp", "stamina", "bulkstatus._follow", "bulkstatus._watch")
    print(*(name for name in wanted if name in sys.modules))
"""


@pytest.mark.parametrize(
    ("options", "modules"),
    [({}, ["aiohttp", "stamina", "bulkstatus._follow", "bulkstatus._watch"]), ({"_brief": True}, [])],
)
def test_what_a_client_may_need_is_imported_when_it_is_opened(wanted, options, modules):
    """No question waits for an import, nor ends by one; but the command line's, which asks once, does without."""
    code = f"OPTIONS = {options}\n{_OPENED}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == modules


def test_a_variable_keeps_to_that_of_httpx(wanted, monkeypatch):
    """For whoever meets a fault of the other."""
    monkeypatch.setenv("BULKSTATUS_TRANSPORT", "httpx")
    assert chosen() is httpx.AsyncHTTPTransport


@pytest.mark.parametrize(
    ("versions", "transport"),
    [
        ({}, httpx.AsyncHTTPTransport),
        ({"aiohttp": "3.14.5"}, httpx.AsyncHTTPTransport),
        ({"aiohttp": "3.13.3", "httpx_aiohttp": "0.2.0"}, httpx.AsyncHTTPTransport),
        ({"aiohttp": "3.13.4", "httpx_aiohttp": "0.2.0"}, Transport),
        ({"aiohttp": "4.0.0a1", "httpx_aiohttp": "0.2.0"}, Transport),
    ],
)
def test_one_that_is_too_old_is_not_used(wanted, monkeypatch, versions, transport):
    """Another package may have brought an aiohttp that cannot do what is asked of it here."""
    installed(monkeypatch, **versions)
    assert chosen() is transport


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "all_proxy"])
def test_behind_a_proxy_that_of_httpx_is_used(wanted, monkeypatch, variable):
    """Aiohttp's takes no proxy from the environment, and would go past it."""
    monkeypatch.setenv(variable, "http://127.0.0.1:1")
    assert chosen() is httpx.AsyncHTTPTransport


def test_hosts_without_a_proxy_are_no_proxy(wanted, monkeypatch):
    """NO_PROXY alone changes nothing."""
    monkeypatch.setenv("NO_PROXY", "plain.test")
    assert chosen() is Transport


@pytest.mark.parametrize("gone", ["send", "set_response_params", "feed_data", "data_received", "_factory"])
def test_an_aiohttp_that_passes_over_our_bounds_sends_nothing(wanted, monkeypatch, gone):
    """Else an answer that nobody asked for could be taken for the answer to a question."""

    class Connector(aiohttp.TCPConnector):
        def __init__(self, **options):
            super().__init__(**options)
            if gone == "_factory":
                del self._factory

    monkeypatch.setattr(aiohttp, "TCPConnector", Connector)
    monkeypatch.setattr("bulkstatus._session._OVERRIDDEN", [(Without(gone), name) for _, name in _OVERRIDDEN])
    with raw_server(reply()) as server, pytest.raises(ConfigError, match="BULKSTATUS_TRANSPORT=httpx"):
        ask("blocking", Plain(base_url=server.url))
    assert server.connections == 0


class Without:
    """Has every attribute but one."""

    def __init__(self, gone):
        self._gone = gone

    def __getattr__(self, name):
        if name == self._gone:
            raise AttributeError(name)
        return name


def test_an_httpcore_that_is_not_known_sends_nothing(monkeypatch):
    """Else a name of this machine could lead plain requests to another."""

    class Pool(httpcore.AsyncConnectionPool):
        def __init__(self, **options):
            super().__init__(**options)
            del self._network_backend

    monkeypatch.setenv("BULKSTATUS_TRANSPORT", "httpx")
    monkeypatch.setattr(httpcore, "AsyncConnectionPool", Pool)
    with raw_server(reply()) as server, pytest.raises(ConfigError, match="does not know httpcore"):
        ask("blocking", Plain(base_url=server.url))
    assert server.connections == 0
