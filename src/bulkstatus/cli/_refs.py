"""References from the command line and from stdin."""

import re
import sys
from collections.abc import Iterable, Sequence

from bulkstatus import Config, ConfigError, Ref
from bulkstatus.cli._text import STDIN, say

MOST = 10_000
_MOST_BYTES = 4 * 1024 * 1024
_SEPARATORS = re.compile(r"[\s\0]+")
_CONTROL = re.compile(r"[\x01-\x08\x0e-\x1b\x7f]")


def references(words: Iterable[str]) -> list[str]:
    """The references meant by `words`, `-` replaced by those on stdin, each once.

    Raises ConfigError for more than 10,000, and when stdin is not text.
    """
    found: dict[str, None] = {}
    for word in words:
        found.update(dict.fromkeys(_from_stdin() if word == STDIN else [word]))
    if len(found) > MOST:
        raise ConfigError(f"more than {MOST:,} references; ask in several calls")
    return list(found)


def one_reference(word: str) -> str:
    """The reference meant by `word`. Raises ConfigError when stdin does not hold exactly one."""
    found = references([word])
    if len(found) != 1:
        raise ConfigError(f"one reference is needed here, and stdin has {len(found)}")
    return found[0]


def sources_of(refs: Iterable[str]) -> tuple[str, ...]:
    """The names of the sources that references name, each once. Raises ConfigError for what is no reference."""
    return tuple(dict.fromkeys(Ref.parse(ref).source for ref in refs))


def of_sources(refs: Sequence[str], names: Sequence[str], config: Config) -> list[str]:
    """Those of `refs` that belong to the sources `names`; how many do not is said on stderr.

    Raises ConfigError for a name that `config` does not hold.
    """
    unknown = [name for name in names if name not in config.sources]
    if unknown:
        config.build(unknown)  # raises, and names the nearest
    kept = [ref for ref in refs if Ref.parse(ref).source in names]
    if len(kept) < len(refs):
        say(f"{len(refs) - len(kept)} of {len(refs)} references are of other sources and were left out")
    return kept


def _from_stdin() -> list[str]:
    if sys.stdin is None:
        raise ConfigError("- reads references from stdin, and stdin is closed")
    if sys.stdin.isatty():
        say("reading references from the keyboard; end with Ctrl-D")
    data = sys.stdin.buffer.read(_MOST_BYTES + 1)
    if len(data) > _MOST_BYTES:
        raise ConfigError(f"stdin holds more than {MOST:,} references could need; ask in several calls")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = "\x01"
    if _CONTROL.search(text):
        raise ConfigError("stdin is not text: write references such as payments:112233, one a line")
    return [word for word in _SEPARATORS.split(text) if word]
