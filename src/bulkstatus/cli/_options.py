"""The options that commands share, and what becomes of their values."""

import logging
import re
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from bulkstatus import Client, ConfigError, log_retries, printable

LOG = "bulkstatus.cli"

Format = Literal["table", "json", "jsonl", "csv", "name"]

ConfigOption = Annotated[
    Path | None,
    Parameter(
        name="--config",
        help="The configuration file. Default: $BULKSTATUS_CONFIG, else bulkstatus.toml in your configuration folder.",
    ),
]
SourceOption = Annotated[
    tuple[str, ...],
    Parameter(name="--source", show_default=False, help="Only this source. May be given several times."),
]
StateOption = Annotated[
    tuple[str, ...],
    Parameter(name="--state", show_default=False, help="Only this state. May be given several times."),
]
OutputOption = Annotated[
    Format,
    Parameter(
        name=("--output", "-o"),
        help="The form of the output; name gives what the next command takes, one a line.",
    ),
]
VerboseOption = Annotated[
    bool, Parameter(name=("--verbose", "-v"), show_default=False, help="Log every request to stderr.")
]
TimeoutOption = Annotated[
    str | None,
    Parameter(
        name="--timeout",
        allow_leading_hyphen=True,
        help="How long to wait for answers in all: 90, 90s, 3m, 1h30m.",
    ),
]
ExitStatusOption = Annotated[
    bool,
    Parameter(
        name="--exit-status",
        show_default=False,
        help="Let the exit code tell the states: 0 succeeded, 3 failed, 6 partial, 7 unknown, 8 not ended, 9 blocked.",
    ),
]

_NUMBER = r"([0-9]{1,9}(?:\.[0-9]{1,9})?)"
_DURATION = re.compile(rf"(?:{_NUMBER}h)?(?:{_NUMBER}m)?(?:{_NUMBER}s?)?", re.ASCII)
_YEAR = 365 * 86_400.0


def seconds(text: str | None, option: str = "--timeout") -> float | None:
    """Read a duration (`90`, `90s`, `3m`, `1h30m`) as seconds; None stays None. Raises ConfigError."""
    if text is None:
        return None
    match = _DURATION.fullmatch(text)
    if match is not None and any(match.groups()):
        hours, minutes, rest = (float(part or 0) for part in match.groups())
        value = hours * 3_600 + minutes * 60 + rest
        if 0 < value <= _YEAR:
            return value
    raise ConfigError(f"{option} {text[:40]!r} is not a duration: write 90, 90s, 3m or 1h30m, more than 0")


def start_log(*, verbose: bool) -> None:
    """Log requests and retries to stderr, or nothing at all."""
    log_retries()
    root = logging.getLogger()
    if not verbose:
        root.addHandler(logging.NullHandler())
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Plain())
    # httpx says method, URL and status, and no header; its transport below would say headers, so it stays silent.
    for name, level in (("httpx", logging.INFO), ("stamina", logging.INFO), (LOG, logging.DEBUG)):
        logger = logging.getLogger(name)
        logger.setLevel(level)
        logger.addHandler(handler)


class _Plain(logging.Formatter):
    """One printable line a record."""

    def format(self, record: logging.LogRecord) -> str:
        text = record.getMessage()
        if record.name == "stamina":
            facts = vars(record)
            text = f"asking again in {facts.get('stamina.wait_for')} s after {facts.get('stamina.caused_by')}"
        return printable(f"{self.formatTime(record, '%H:%M:%S')} {text}", 1_000)


@contextmanager
def opened(client: Client) -> Generator[Client]:
    """The client, closed at the end; but left as it is when a signal ends the process, which must not wait."""
    try:
        yield client
    except (Exception, GeneratorExit):
        client.close()
        raise
    client.close()
