"""The options that commands share, and what becomes of their values."""

import difflib
import logging
import threading
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal, TypeVar, get_args

from cyclopts import Parameter, Token

from bulkstatus import Client, ConfigError, Journal, Watch, log_retries, read_duration
from bulkstatus.cli._text import say, tell

T = TypeVar("T")
Format = Literal["table", "json", "jsonl", "csv", "name"]
ExportKind = Literal["steps", "bulks"]
ExportFormat = Literal["jsonl", "csv", "parquet"]
StateWord = Literal[
    "queued", "running", "paused", "succeeded", "partial", "failed", "cancelled", "expired", "unknown"
]


def state_words(_hint: object, tokens: Sequence[Token]) -> tuple[str, ...]:
    """The states that `tokens` name. Raises ValueError, with a hint, for what is none."""
    words = [token.value for token in tokens]
    for text in words:
        if text not in get_args(StateWord):
            raise ValueError(f"{text[:80]!r} is not a state; {_state_hint(text.lower())}.")
    return tuple(words)


def _state_hint(text: str) -> str:
    states = get_args(StateWord)
    if "," in text:
        parts = (part.strip() for part in text[:80].split(","))
        return f"repeat the option: {' '.join(f'--state {part}' for part in parts if part)}"
    if text in states:
        return f"states are written in lower case: {text}"
    close = difflib.get_close_matches(text, states, n=1)
    return f"did you mean {close[0]!r}?" if close else f"there are {', '.join(states)}"


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
    tuple[StateWord, ...],
    Parameter(
        name="--state",
        converter=state_words,
        show_default=False,
        help="Only this state. May be given several times.",
    ),
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
_CODES = "Let the exit code tell the states: 0 succeeded, 3 failed, 5 gone, 6 partial, 7 unknown, 8 not ended, 9 blocked."
ExitStatusOption = Annotated[bool, Parameter(name="--exit-status", show_default=False, help=_CODES)]
ListExitStatusOption = Annotated[
    bool, Parameter(name="--exit-status", show_default=False, help=f"{_CODES} Implies --confirm.")
]

WaitTimeoutOption = Annotated[
    str | None,
    Parameter(
        name="--timeout",
        allow_leading_hyphen=True,
        help="How long to wait at most: 90, 90s, 3m, 1h30m. Default: for ever.",
    ),
]
UntilWord = Literal["all", "any", "first-failure"]
UntilOption = Annotated[
    UntilWord,
    Parameter(
        name="--until",
        help="What ends it: all have ended, any has, or the first ends otherwise than well.",
    ),
]
BlockedOption = Annotated[
    bool,
    Parameter(
        name="--stop-when-blocked",
        show_default=False,
        help="Wait no longer for a bulk that is paused or awaits somebody.",
    ),
]
BlindOption = Annotated[
    str,
    Parameter(
        name="--blind-after",
        allow_leading_hyphen=True,
        help="Give up a bulk that could not be looked at for so long.",
    ),
]
PaceWord = Literal["eager", "default", "frugal"]
PaceOption = Annotated[
    PaceWord,
    Parameter(name="--pace", help="How often to look; always within the providers' limits."),
]
VerdictOption = Annotated[
    bool,
    Parameter(
        name="--exit-status", show_default=False, help="Let the exit code tell the verdicts, as of wait."
    ),
]

JournalOption = Annotated[
    Path | None,
    Parameter(
        name="--journal",
        help="The journal's file. Default: $BULKSTATUS_JOURNAL, else journal.db in your folder for state.",
    ),
]
NoJournalOption = Annotated[
    bool,
    Parameter(name="--no-journal", show_default=False, help="Neither read the journal nor write to it."),
]
FreshOption = Annotated[
    bool,
    Parameter(
        name="--fresh", show_default=False, help="Ask also for bulks that the journal knows to have ended."
    ),
]
AgeOption = Annotated[
    str | None,
    Parameter(
        name="--older-than",
        allow_leading_hyphen=True,
        help="Only bulks that began so long ago, or earlier: 90s, 3m, 1h30m, 2d.",
    ),
]
NewerOption = Annotated[
    str | None,
    Parameter(
        name="--newer-than",
        allow_leading_hyphen=True,
        help="Only bulks that began so long ago, or later.",
    ),
]
LabelOption = Annotated[
    tuple[str, ...],
    Parameter(
        name="--label",
        show_default=False,
        help="A label such as release=42. May be given several times.",
    ),
]


def journal_of(path: Path | None, *, off: bool = False) -> Journal | None:
    """The journal in the file `path`, else in the usual one; None when it is switched `off`.

    Raises ConfigError when it is named and switched off at once.
    """
    if off and path is not None:
        raise ConfigError("--journal and --no-journal contradict each other: give one of them")
    if off:
        return None
    try:
        return Journal(path)
    except ConfigError as error:
        say(f"{error.message}; the answers are given without it")
        return None


def labels_of(words: Iterable[str]) -> dict[str, str]:
    """The labels that `words` such as `release=42` give. Raises ConfigError for what is none, or is said in two ways."""
    found: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not (key and equals and value):
            raise ConfigError(f"--label {word[:80]!r} is not a label: write NAME=VALUE, as in release=42")
        if found.setdefault(key, value) != value:
            raise ConfigError(f"--label {key[:80]!r} is given twice, with different values")
    return found


_MANY = 1_000


def is_brief(number: int | None) -> bool:
    """True where so few bulks or operations are asked for that the transport of the extra `fast` does not earn its import.

    None stands for any number.
    """
    return number is not None and number <= _MANY


_YEAR = 365 * 86_400.0


def seconds(text: str | None, option: str = "--timeout", *, most: float = _YEAR) -> float | None:
    """Read a duration (`90`, `90s`, `3m`, `1h30m`, `2d`) as at most `most` seconds; None stays None.

    Raises ConfigError.
    """
    if text is None:
        return None
    value = read_duration(text)
    if value is not None and 0 < value <= most:
        return value
    raise ConfigError(
        f"{option} {text[:40]!r} is not a duration: write 90, 90s, 3m, 1h30m or 2d, more than 0 and "
        f"at most {most / 86_400:g}d"
    )


class _Lines(logging.Handler):
    """One printable line a record, on stderr; with `verbose`, the time before it. `held` keeps them while a picture is drawn."""

    verbose = False
    held: list[str] | None = None

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.name == "stamina":
            facts = vars(record)
            text = f"asking again in {facts.get('stamina.wait_for')} s after {facts.get('stamina.caused_by')}"
        if getattr(record, "of_journal", False):  # about no source, so it says who speaks
            text = f"bulkstatus: {text}"
        if self.held is not None:
            self.held.append(text)
        else:
            tell(
                f"{_TIME.formatTime(record, '%H:%M:%S')} {text}" if self.verbose else text,
                limit=_LONGEST_LINE,
            )


def hold_log() -> None:
    """Keep what is logged: a line between two pictures would be drawn over, and spoil them."""
    _LINES.held = []


def release_log() -> None:
    """Write what was kept meanwhile, each line once, and all that comes at once again."""
    held, _LINES.held = _LINES.held or [], None
    for text in dict.fromkeys(held):
        tell(text, limit=_LONGEST_LINE)


_LONGEST_LINE = 1_000
_TIME = logging.Formatter()
_SILENCE = logging.NullHandler()
_LINES = _Lines()


_TAKEN_BY_STAMINA = ("structlog", "prometheus_client")


def start_log(*, verbose: bool) -> None:
    """Log requests and retries to stderr, or nothing but the library's own warnings."""
    if any(map(find_spec, _TAKEN_BY_STAMINA)):
        log_retries()  # which imports stamina: where neither is installed, it takes logging by itself at the first retry
    logging.getLogger().addHandler(_SILENCE)  # else Python prints the warnings that nobody handles
    _LINES.verbose = verbose
    names = {"bulkstatus": logging.WARNING}
    if verbose:
        # httpx says method, URL and status, and no header; its transport below would say headers, so it stays silent.
        names |= {"httpx": logging.INFO, "stamina": logging.INFO}
    for name, level in names.items():
        logger = logging.getLogger(name)
        logger.setLevel(level)
        logger.addHandler(_LINES)


def is_verbose() -> bool:
    """True once a log of requests was asked for."""
    return _LINES.verbose


def aside(work: Callable[[], T]) -> T:
    """What `work` gives, done on another thread, so that an interrupt need not wait until it is done."""
    done: Future[T] = Future()

    def run() -> None:
        try:
            done.set_result(work())
        except BaseException as error:  # noqa: BLE001 - raised where the result is taken
            done.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return done.result()


def with_journal(path: Path | None, work: Callable[[Journal], T]) -> T:
    """What `work` does with the journal in the file `path`, else in the usual one; an interrupt waits for no lock."""

    def run() -> T:
        with Journal(path) as journal:
            return work(journal)

    return aside(run)


@contextmanager
def left_by_signals(watch: Watch) -> Generator[Watch]:
    """The watch, closed at the end; but left as it is when a signal ends the process: its loop may not answer."""
    try:
        yield watch
    except (Exception, GeneratorExit):
        watch.close()
        raise
    watch.close()


@contextmanager
def opened(client: Client) -> Generator[Client]:
    """The client, closed at the end with its journal; but left as it is when a signal ends the process, which must not wait."""

    def close() -> None:
        client.close()
        if client.journal is not None:  # handed to it by us: left to the end of the process, it may stay open
            client.journal.close()

    try:
        yield client
    except (Exception, GeneratorExit):
        aside(close)
        raise
    aside(close)
