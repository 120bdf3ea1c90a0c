"""Fakes on this machine for tools in any language: a scenario that is served until somebody ends it."""

import difflib
import os
import re
import stat
import sys
import tempfile
import threading
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Literal
from urllib.parse import urlencode

from bulkstatus import ConfigError, printable
from bulkstatus.cli._output import lines, on_terminal, table, to_json
from bulkstatus.cli._text import STDIN, say, tell
from bulkstatus.testing import FakeRequest, FakeResponse, Fakes, Scenario, fake_names, load_fake

FakeForm = Literal["table", "jsonl"]

EXAMPLE = """\
# A scenario for 'bulkstatus fake': providers that fail, flap, throttle and forget, on this machine.
#
#   bulkstatus fake scenario.toml --write-config fakes.toml
#   bulkstatus watch --config fakes.toml --no-journal
#
# A bulk is called by its provider's id, and is born when the fakes begin. Its life is a list of steps:
#   state, for       queued, running, paused, succeeded, partial, failed, cancelled or expired, and for how long
#                    ("2s", "3m" or seconds). The last step needs no time. `done` holds its count, `failed` is how
#                    many of its items fail
#   word, for        a word of the provider's own, such as one that nobody documented
#   vanish           the provider does not know it for so long; true, as the last step: for good
#   status, ...      what goes wrong from here on with requests about this bulk: a status with retry_after, body, html
#                    or headers; drop = true (the connection is closed); delay. Once, or so many `times`, or `for` so
#                    long. It takes no time of the life: the bulk goes on behind it

[sources.payments]
provider = "weavr"
# Of the source as a whole, after so long: an outage; credentials refused once, for its operations only.
trouble = [
  { status = 503, after = "20s", for = "8s" },
  { status = 401, after = "40s", where = "/operations" },
]

[sources.payments.bulks]
112233445566778899 = [
  { state = "queued", for = "2s" },
  { state = "running", for = "10s" },
  { status = 429, retry_after = 1 },
  { state = "running", for = "20s" },
  { vanish = "3s" },
  { state = "running", for = "2s" },
  { state = "partial", failed = 3 },
]
112233445566778900 = { total = 250, life = [
  { state = "running", for = "15s", done = 40 },
  { state = "paused" },
] }

[sources.edge]
provider = "cloudflare"
bulks.7be1c3f09a5d4e21b6c8d7f00a94e152 = [
  { state = "queued", for = "5s" },
  { status = 502, html = "<h1>Bad gateway</h1>", times = 2 },
  { word = "archiving", for = "5s" },
  { state = "succeeded" },
]
"""

# All other headers may carry credentials, as those of a provider that nobody here knows.
_SHOWN = frozenset(
    {"accept", "accept-encoding", "connection", "content-length", "content-type", "host", "user-agent"}
)
_SECRET = re.compile("key|token|secret|pass|sign|auth|cred", re.IGNORECASE)
_LONGEST_LINE = 2_000


def serve(what: str, *, port: int, speed: float, config: Path | None, log: bool, form: FakeForm) -> None:
    """Serve a scenario, or the demo of a provider, until a signal ends the process."""
    what = what.replace(STDIN, "-")
    demo = what in fake_names()
    if demo and speed != 1:
        raise ConfigError("--speed is for scenarios; a demo takes a quarter of a minute")
    if not (demo or Path(what).suffix or Path(what).exists()):
        close = difflib.get_close_matches(what, fake_names(), n=1)
        hint = f"; did you mean {close[0]!r}?" if close else f" (there are: {', '.join(fake_names())})"
        raise ConfigError(f"{printable(what, 300)!r} is no file, and no fake of that name is installed{hint}")
    scenario = None if demo else Scenario.read(what)
    with Fakes(scenario, sockets=True, speed=speed, port=port, on_request=_log if log else None) as fakes:
        if demo:
            fakes.put(what, load_fake(what).demo())
        if config is not None:
            _write(config, fakes.configuration)
        _show(fakes, form)
        if on_terminal():
            say("serving until Ctrl-C")
        _wait_for_a_signal()


def _wait_for_a_signal() -> None:
    threading.Event().wait()


def _show(fakes: Fakes, form: FakeForm) -> None:
    bulks: dict[str, list[str]] = {source: [] for source in fakes.urls}
    for ref in fakes.refs:
        bulks[ref.partition(":")[0]].append(ref)
    if form == "jsonl":
        records = [
            {"source": source, "provider": fakes[source].word, "base_url": url, "refs": bulks[source]}
            for source, url in fakes.urls.items()
        ]
        lines(map(to_json, records))
    else:
        rows: Sequence[tuple[str, ...]] = [
            (source, fakes[source].word, url, str(len(bulks[source]))) for source, url in fakes.urls.items()
        ]
        table(("source", "provider", "base url", "bulks"), rows)
    sys.stdout.flush()


def _log(source: str, request: FakeRequest, response: FakeResponse | None) -> None:
    """One line about a request: no body, and no header or parameter of the query that may be a credential."""
    told = {name: "***" if _SECRET.search(name) else value for name, value in request.query.items()}
    query = f"?{urlencode(told, safe='*')}" if told else ""
    headers = ", ".join(
        f"{name}: {value if name in _SHOWN else '***'}" for name, value in sorted(request.headers.items())
    )
    answer = "the connection was closed" if response is None else response.status
    moment = f"{datetime.now().astimezone():%H:%M:%S}"
    tell(
        f"{moment} {source} {request.method} {request.path}{query} -> {answer} ({headers})",
        limit=_LONGEST_LINE,
    )


def _write(path: Path, text: str) -> None:
    """Write a configuration, for its owner's eyes, whole or not at all; only one of our own is overwritten."""
    try:
        if not _may_be_written(path, text):
            raise ConfigError(
                f"{path} is already there, and 'bulkstatus fake' has not written it; it was left as it is"
            )
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
                stream.write(text)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}") from None


def _may_be_written(path: Path, text: str) -> bool:
    """True where nothing is, or a file that begins with the words that `text` does; a pipe is not opened, which would wait for a writer."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return True
    if not stat.S_ISREG(found.st_mode):
        return False
    with path.open("rb") as stream:
        mark = text.partition(":")[0].encode()
        return stream.read(len(mark)) == mark
