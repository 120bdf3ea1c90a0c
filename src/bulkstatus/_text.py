"""Text from elsewhere, made safe to show."""

import difflib
import json
import re
from collections.abc import Iterable
from urllib.parse import quote

_LIMIT = 512
SHORTEST_SECRET = 6
_MOST_KEPT = 4_096
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)


class _Escapes(dict[int, str]):
    """What each character is shown as, for str.translate; kept, since the same few come again and again."""

    def __missing__(self, number: int) -> str:
        character = chr(number)
        shown = (
            character
            if character.isprintable()
            else character.encode("unicode_escape", "surrogatepass").decode("ascii")
        )
        if len(self) < _MOST_KEPT:
            self[number] = shown
        return shown


_ESCAPES = _Escapes()


def printable(text: str, limit: int = _LIMIT) -> str:
    r"""Return `text` as one harmless line of at most `limit` characters.

    Whatever moves, hides or reorders other text on a terminal (control, bidirectional, zero-width and unassigned
    characters, surrogates, line separators) is replaced by a visible escape (`\x1b`, `\u202e`), never dropped, so what
    was really sent can still be read. Text that was cut ends in an ellipsis.
    """
    if len(text) <= limit and text.isprintable():
        return text
    shown = text[:limit].translate(_ESCAPES)
    return shown if len(shown) <= limit and len(text) <= limit else f"{shown[: max(0, limit - 1)]}…"


def spellings(secrets: Iterable[str]) -> list[str]:
    """Secrets as they may stand in what repeats them: as they are, or as forms and URLs write them, the longest first.

    Taken out in that order, one that is the beginning of another leaves no end of that other.
    """
    found: set[str] = set()
    for secret in secrets:
        written = {quote(secret), quote(secret, safe="")}
        lower = {re.sub("%[0-9A-F]{2}", lambda digits: digits[0].lower(), text) for text in written}
        found |= {secret, *written, *lower}
    return sorted(found, key=len, reverse=True)


def telling(secrets: Iterable[str]) -> list[str]:
    """The spellings of those secrets that are to be taken out of what is shown.

    What is shorter than 6 characters is left alone: it protects nothing, and stands in half of all sentences.
    """
    return spellings(secret for secret in secrets if len(secret) >= SHORTEST_SECRET)


def toml_key(text: str) -> str:
    """A printable text as a key of TOML: as it is where it may stand so, else in quotes."""
    # It needs no escapes but those that JSON and TOML have in common.
    return (
        text if _BARE_KEY.fullmatch(text) else json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
    )


def nearest(word: str, known: Iterable[str]) -> str:
    """The end of a sentence that says `word` is none of `known`: the one that was probably meant, or all of them."""
    names = list(known)
    close = difflib.get_close_matches(word, names, n=1)
    return f"; did you mean {close[0]!r}?" if close else f" (there are: {', '.join(names)})"
