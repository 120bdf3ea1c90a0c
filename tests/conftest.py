"""What all tests share: the event loop they run on, and an environment that holds nothing of its owner's."""

import functools
import gc
import inspect
import itertools
import os
import signal
import sys
import threading
import time
from contextlib import contextmanager

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


def pytest_collection_finish():
    """Keep the twelve thousand tests themselves out of what the collector goes through: a seventh of a second each time."""
    gc.collect()
    gc.freeze()


class _PatientSys:
    """`sys` for `threading`: a thread that begins while another one sets its trace function waits for its turn.

    CPython 3.11 raises RuntimeError there in place of waiting ("Cannot install a trace function while another ..."),
    and with coverage every thread sets one when it begins.
    """

    def __getattr__(self, name):
        return getattr(sys, name)

    @staticmethod
    def settrace(function):
        for _ in range(1_000):
            try:
                return sys.settrace(function)
            except RuntimeError:
                time.sleep(0.001)
        return sys.settrace(function)


threading._sys = _PatientSys()


@contextmanager
def _traced_by(tracer):
    before = sys.gettrace()
    sys.settrace(tracer)
    try:
        yield
    finally:
        sys.settrace(before)


@contextmanager
def _unrecorded():
    """Record nothing: neither here, nor on threads that begin meanwhile, nor in processes that do."""
    threads = threading.gettrace()
    with _traced_by(None), pytest.MonkeyPatch.context() as patch:
        for variable in ("COVERAGE_PROCESS_CONFIG", "COVERAGE_PROCESS_START"):
            patch.delenv(variable, raising=False)
        threading.settrace(None)
        try:
            yield
        finally:
            threading.settrace(threads)


@contextmanager
def _examples_recorded(handle):
    """Record a property's examples, and not how hypothesis makes them, which is more than half of the work."""
    tracer, inner = sys.gettrace(), handle.inner_test

    @functools.wraps(inner)
    def recorded(*arguments, **values):
        with _traced_by(tracer):
            return inner(*arguments, **values)

    handle.inner_test = recorded
    try:
        with _traced_by(None):
            yield
    finally:
        handle.inner_test = inner


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    """Record less where coverage is recorded, which makes what runs in Python two to four times as slow.

    pytest-cov's `no_cover` does not do for tests that are marked `unrecorded`: in a worker of pytest-xdist, which
    coverage's patch for subprocesses has been recording since it began, it ends one of two recordings, and the other
    goes on.
    """
    if sys.gettrace() is None:
        return (yield)
    if item.get_closest_marker("unrecorded") is not None:
        with _unrecorded():
            return (yield)
    handle = getattr(getattr(item, "obj", None), "hypothesis", None)
    if handle is not None and not inspect.iscoroutinefunction(handle.inner_test):
        with _examples_recorded(handle):
            return (yield)
    return (yield)


@pytest.fixture
def anyio_backend():
    """The library is for asyncio."""
    return "asyncio"


@pytest.fixture(scope="session")
def homes(tmp_path_factory):
    """Paths for one home after another: pytest's `mktemp` reads the names of all that there are to find the next."""
    folder = tmp_path_factory.mktemp("homes")
    return (folder / f"home{number}" for number in itertools.count())


@pytest.fixture(autouse=True)
def isolated(monkeypatch, homes):
    """A home with nothing in it, no configuration, no proxies."""
    home = next(homes)
    home.mkdir(mode=0o700)
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
