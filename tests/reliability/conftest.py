"""What the numbered rows share: both clients, both transports, and pauses that last no time."""

import socket

import httpx
import pytest


@pytest.fixture(params=["blocking", "async"])
def kind(request):
    """Which client asks: `support.ask(kind, ...)`."""
    return request.param


@pytest.fixture(params=["httpx", "aiohttp"])
def transport(request, monkeypatch):
    """What carries the requests: httpx's own transport, or that of the extra `fast`."""
    if request.param == "aiohttp":
        monkeypatch.delenv("BULKSTATUS_TRANSPORT")
    return request.param


@pytest.fixture
def quick(monkeypatch):
    """Pauses between attempts that last no time."""
    monkeypatch.setattr("bulkstatus._retry._BASE", 0.001)
    monkeypatch.setattr("bulkstatus._retry._BASE_THROTTLED", 0.001)


@pytest.fixture
def short_connect(monkeypatch):
    """A connection, its handshake included, may take a tenth of a second."""
    monkeypatch.setattr("bulkstatus._http._STEP_TIMEOUT", httpx.Timeout(10.0, connect=0.1, pool=0.1))


@pytest.fixture
def short_read(monkeypatch):
    """A server may be silent for a tenth of a second."""
    monkeypatch.setattr("bulkstatus._http._STEP_TIMEOUT", httpx.Timeout(10.0, read=0.1))


class Names:
    """A resolver that knows what it is told: names with their addresses, or with the error they end in."""

    def __init__(self):
        self.known = {}
        self.asked = []

    def __call__(self, host, port, *args, **kwargs):
        """As socket.getaddrinfo."""
        if host not in self.known:
            return _getaddrinfo(host, port, *args, **kwargs)
        self.asked.append(host)
        found = self.known[host]
        if isinstance(found, Exception):
            raise found
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", (address, port, 0, 0))
            if ":" in address
            else (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
            for address in found
        ]


_getaddrinfo = socket.getaddrinfo


@pytest.fixture
def names(monkeypatch):
    """What the resolver of this machine answers; each lookup is counted."""
    made = Names()
    monkeypatch.setattr(socket, "getaddrinfo", made)
    return made


@pytest.fixture
def command(monkeypatch, tmp_path, capsys):
    """Run `bulkstatus get edge:...` for a Cloudflare at a base URL: its exit code, what it wrote, and on stderr."""
    from bulkstatus.cli import main

    def call(base_url):
        config = tmp_path / "bulkstatus.toml"
        config.write_text(
            f'[sources.edge]\nprovider = "cloudflare"\nbase_url = "{base_url}"\n'
            f'account_id = "023e105f4ecef8ad9ca31a8372d0c353"\ntoken = "env:EDGE_TOKEN"\n'
        )
        monkeypatch.setenv("EDGE_TOKEN", "canary-token-5d1e")
        code = main(["get", "edge:7be1c3f09a5d4e21b6c8d7f00a94e152", "--no-journal", "--config", str(config)])
        out, err = capsys.readouterr()
        assert "canary-token-5d1e" not in out + err
        return code, out, err

    return call
