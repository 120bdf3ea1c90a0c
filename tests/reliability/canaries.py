"""No secret and no personal data in anything that any test makes: looked for after each of them.

A secret is whatever the library took for a credential during the test, and every text with `MARK` in it, which is how
credentials are told in the output of other processes. Personal data is `PERSONAL`, which stands in every payload of the
fake of Weavr. Both are looked for in

- stdout and stderr, of this process and of those that a test starts,
- what is logged, at level DEBUG, by the library and by all below it, with the extra fields of each record,
- every error of the library that was made, and every error behind one: its text, repr, fields and pickle, and the
  locals of all frames of its traceback, as an error tracker sends them,
- the journals, exports and other files that lie in the folders of the test afterwards.

And no test may connect to anything but this machine, or to an address that is set aside for documentation.

What holds credentials by its nature is left out: the frames of the tests and of the fakes; configuration files,
programs and files without a suffix, which are how a test hands a credential over. A test that asks for payloads by
name is marked `payloads`, and may get them.
"""

import functools
import io
import ipaddress
import logging
import mmap
import os
import pickle
import subprocess
import sys
import traceback
from collections import Counter, deque
from pathlib import Path

import pytest
from _pytest.capture import CaptureFixture

from bulkstatus import _auth, _secrets, errors

MARK = "S3CR3T"
PERSONAL = "Ada Example"
# In the credentials of the fakes, with which the demo signs in, and in those of `support.Plain`.
_ALSO = ("-demo-", "plain-token", "plain-secret")
_SHORTEST = 8  # a shorter credential, or a plain word, stands in other texts by chance
_ADDRESS = "@"  # a mail address goes beside a key, and is no secret
_TESTS = str(Path(__file__).resolve().parents[1])
_FAKES = ("/bulkstatus/testing/", "/fake.py")
_GIVEN = frozenset({"", ".toml", ".py", ".pyc", ".sh"})
_SQLITE, _WAL = b"SQLite format 3\0", (b"\x37\x7f\x06\x82", b"\x37\x7f\x06\x83")
_MOST_ERRORS = 200
_MOST_ALIKE = 3
_MOST_RECORDS = 2_000
_DOCUMENTED = tuple(map(ipaddress.ip_network, ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24")))
_LOGGERS = ("bulkstatus", "httpx", "httpcore", "stamina", "aiohttp", "asyncio")


class _Watch:
    """What one test makes."""

    def __init__(self):
        self.secrets = set()
        self.errors = deque(maxlen=_MOST_ERRORS)
        self.alike = Counter()
        self.records = 0
        self.found = []
        self.payloads = False

    def needles(self):
        """What must not be found."""
        personal = () if self.payloads else (PERSONAL,)
        return (MARK, *_ALSO, *personal, *self.secrets)

    def look(self, text, where):
        """Look at a text."""
        for needle in self.needles():
            if needle in text:
                at = text.index(needle)
                self.found.append(f"{needle!r} in {where}: {text[max(0, at - 60) : at + 60]!r}")
                return


_watch = _Watch()


def inspect(text, where="output"):
    """Look for what must not be in `text`, which a test got from elsewhere: a terminal, a pipe."""
    _watch.look(text if isinstance(text, str) else text.decode("utf-8", "replace"), where)


# --- what is noted while a test runs ---


def _note_secrets(check):
    @functools.wraps(check)
    def noting(value):
        fault = check(value)
        if (
            fault is None
            and len(value) >= _SHORTEST
            and not value.isalpha()
            and not value.isdigit()
            and _ADDRESS not in value
        ):
            _watch.secrets.add(value)
        return fault

    return noting


def _note_errors(initialise):
    @functools.wraps(initialise)
    def noting(self, *arguments, **facts):
        initialise(self, *arguments, **facts)
        _watch.errors.append(self)

    return noting


def _note_processes(communicate):
    @functools.wraps(communicate)
    def noting(self, *arguments, **options):
        out, err = communicate(self, *arguments, **options)
        for name, text in (("stdout", out), ("stderr", err)):
            if text:
                inspect(text, f"{name} of {self.args}"[:200])
        return out, err

    return noting


class _Heard(io.TextIOWrapper):
    """The end of a pipe that is read a line at a time."""

    def readline(self, *size):
        line = super().readline(*size)
        inspect(line, "a line of a process")
        return line

    def read(self, *size):
        text = super().read(*size)
        inspect(text, "the output of a process")
        return text


def _note_lines(start):
    @functools.wraps(start)
    def noting(self, *arguments, **options):
        start(self, *arguments, **options)
        for name in ("stdout", "stderr"):
            pipe = getattr(self, name)
            if type(pipe) is io.TextIOWrapper:
                form = {"encoding": pipe.encoding, "errors": pipe.errors}
                setattr(self, name, _Heard(pipe.detach(), **form))

    return noting


def _note_captured(read):
    @functools.wraps(read)
    def noting(self):
        captured = read(self)
        for name, text in zip(("stdout", "stderr"), captured, strict=True):
            inspect(text, name)
        return captured

    return noting


class _Ear(logging.Filter):
    """Hears what a logger says at DEBUG; to everybody else it is as if the level had stayed what it was."""

    def filter(self, record):
        logger = logging.getLogger(record.name)
        _watch.records += 1
        if _watch.records > _MOST_RECORDS and logger.level == _OURS:
            logger.setLevel(logging.NOTSET)
        text = record.getMessage()
        if record.name.startswith(("bulkstatus", "stamina", "asyncio")):
            text = f"{text} {vars(record)!r}"
        if record.exc_info and record.exc_info[1] is not None:
            text += "".join(_shown(record.exc_info[1]))
        _watch.look(text, f"the log of {record.name}")
        return logger.level != _OURS or record.levelno >= logging.root.level


_EAR = _Ear()
_OURS = logging.DEBUG - 1  # a level that nobody else sets


def _loggers():
    import aiohttp.client  # noqa: F401 - so that its loggers are there
    import httpcore  # noqa: F401 - as above

    names = [name for name in logging.root.manager.loggerDict if name.partition(".")[0] in _LOGGERS]
    return [logging.getLogger(name) for name in {*names, *_LOGGERS}]


def pytest_configure(config):
    """Begin to listen."""
    config.addinivalue_line("markers", "payloads: asks for payloads by name, so personal data comes out")
    _secrets.fault_of = _auth.fault_of = _note_secrets(_secrets.fault_of)
    errors.BulkStatusError.__init__ = _note_errors(errors.BulkStatusError.__init__)
    subprocess.Popen.communicate = _note_processes(subprocess.Popen.communicate)
    subprocess.Popen.__init__ = _note_lines(subprocess.Popen.__init__)
    CaptureFixture.readouterr = _note_captured(CaptureFixture.readouterr)
    sys.addaudithook(_hear_of)
    config.stash[_HEARD] = _loggers()
    for logger in config.stash[_HEARD]:
        logger.addFilter(_EAR)


_HEARD = pytest.StashKey()


def _hear_of(event, arguments):
    """Note a connection to elsewhere; an audit hook, so that it hears of every one in this process."""
    if event == "socket.connect":
        address = arguments[1]
        if isinstance(address, tuple) and not _is_here(address[0]):
            _watch.found.append(f"a connection to {address}")


def _is_here(host):
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host in ("localhost", "")  # a name: the system looks it up, and says the address no more
    return address.is_loopback or address.is_unspecified or any(address in net for net in _DOCUMENTED)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item):
    """Begin anew with each test."""
    global _watch  # noqa: PLW0603 - the hooks are of the process, and so is what they tell
    _watch = _Watch()
    _watch.payloads = item.get_closest_marker("payloads") is not None
    for logger in item.config.stash[_HEARD]:
        logger.setLevel(_OURS)
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """A test that leaked has failed."""
    report = yield
    for phase, name, text in item._report_sections:
        if phase == call.when:
            _watch.look(text, f"captured {name}")
    while _watch.errors:
        _look_at_error(_watch.errors.popleft())
    if call.when == "call":
        for folder in {"tmp_path", "isolated"} & set(item.funcargs):
            _look_at_files(item.funcargs[folder])
    if _watch.found:
        report.outcome = "failed"
        report.longrepr = "\n".join(["it leaked:", *dict.fromkeys(_watch.found)])
        _watch.found.clear()
    return report


# --- what is looked at ---


def _look_at_error(error):
    # A few of those that were raised alike tell as much as a thousand.
    kind = (type(error), *((frame.f_code, line) for frame, line in traceback.walk_tb(error.__traceback__)))
    _watch.alike[kind] += 1
    if _watch.alike[kind] > _MOST_ALIKE:
        return
    for text in _shown(error):
        _watch.look(text, type(error).__name__)
    if type(error).__module__.startswith("bulkstatus"):
        _watch.look(pickle.dumps(error).decode("latin-1"), f"the pickle of {type(error).__name__}")


def _shown(error):
    """All that is told of an error and of those behind it."""
    seen, ahead = [], [error]
    while ahead:
        one = ahead.pop()
        if one is None or any(one is other for other in seen):
            continue
        seen.append(one)
        ahead += [one.__cause__, one.__context__, *getattr(one, "exceptions", ())]
        yield f"{one} {one!r} {vars(one)!r}"
        for frame, line in traceback.walk_tb(one.__traceback__):
            file = frame.f_code.co_filename
            if not file.startswith(_TESTS) and not any(part in file for part in _FAKES):
                for name, value in frame.f_locals.items():
                    yield f"{file}:{line} {name} = {_repr(value)}"


def _repr(value):
    try:
        return value if type(value) is str else repr(value)
    except Exception as error:  # noqa: BLE001 - what cannot be shown is not shown
        return f"<{type(error).__name__}>"


def _look_at_files(folder):
    for place, _, names in os.walk(folder):
        for name in names:
            file = Path(place, name)
            if file.is_file() and not file.is_symlink() and file.stat().st_size:
                _look_at_file(file)


def _look_at_file(file):
    try:
        with file.open("rb") as stream:
            if file.suffix in _GIVEN and not stream.read(16).startswith((_SQLITE, *_WAL)):
                return
            with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as held:
                for needle in _watch.needles():
                    if (at := held.find(needle.encode())) >= 0:
                        _watch.look(
                            held[max(0, at - 60) : at + 60].decode("latin-1"), f"the file {file.name}"
                        )
    except OSError:  # a test may have taken the right to read it
        return
