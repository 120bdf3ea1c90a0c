"""What all tests share: the event loop they run on, and an environment that holds nothing of its owner's."""

import os
import signal
import sys
import threading

import pytest
from hypothesis import HealthCheck, settings

# Who starts the tests in the background (`nohup pytest &`) has these ignored, and so would all that the tests start:
# those that are to be ended by them would never end. What is handled here is not ignored there, and ends nothing here.
for _name in ("SIGINT", "SIGQUIT", "SIGHUP"):
    _number = getattr(signal, _name, None)  # Windows has not all of them
    is_ignored = _number is not None and signal.getsignal(_number) is signal.SIG_IGN
    if is_ignored and threading.current_thread() is threading.main_thread():
        signal.signal(_number, lambda *_: None)

pytest_plugins = ["rows", "reliability.canaries"]

# How long an example takes to make or to run says how busy the machine is, and nothing about the code.
# The same examples each time: what a check says must not change by itself. HYPOTHESIS_PROFILE=random looks further.
settings.register_profile(
    "project", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("random", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "project"))

_OWNERS = (
    "BULKSTATUS_CONFIG",
    "BULKSTATUS_JOURNAL",
    "BULKSTATUS_TRANSPORT",
    "XDG_STATE_HOME",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    *(f"{scheme}_proxy" for scheme in ("http", "https", "all", "no")),
    *(f"{scheme}_PROXY" for scheme in ("HTTP", "HTTPS", "ALL", "NO")),
)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    """Leave tests that are marked `unrecorded` alone: recording what tests/benchmarks runs takes four times as long.

    pytest-cov's `no_cover` does not do: in a worker of pytest-xdist, which coverage's patch for subprocesses has been
    recording since it began, it ends one of two recordings, and the other goes on.
    """
    if item.get_closest_marker("unrecorded") is None:
        return (yield)
    tracer = sys.gettrace()
    sys.settrace(None)
    try:
        return (yield)
    finally:
        sys.settrace(tracer)


@pytest.fixture
def anyio_backend():
    """The library is for asyncio."""
    return "asyncio"


@pytest.fixture(autouse=True)
def isolated(monkeypatch, tmp_path_factory):
    """A home with nothing in it, no configuration, no proxies."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
    monkeypatch.setenv("APPDATA", str(home / "AppData"))
    monkeypatch.setenv("LOCALAPPDATA", str(home / "AppData" / "Local"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / ".config"))
    for variable in _OWNERS:
        monkeypatch.delenv(variable, raising=False)
    # The tests of rows run over both transports; the others over httpx's own, whatever is installed.
    monkeypatch.setenv("BULKSTATUS_TRANSPORT", "httpx")
    return home
