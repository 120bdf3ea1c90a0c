"""What the numbered rows share: both clients, both transports, and pauses that last no time."""

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
