"""Text from elsewhere, made safe to show."""

import difflib
import re
from collections.abc import Iterable

_LIMIT = 512

# Control characters (C0, DEL, C1), bidirectional controls (UAX #9), zero-width and invisible characters, line
# separators, interlinear annotations, surrogates and tag characters: whatever moves, hides or reorders other text
# on a terminal.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e0fff]"
)


def _escape(match: re.Match[str]) -> str:
    return match.group().encode("unicode_escape", "surrogatepass").decode("ascii")


def printable(text: str, limit: int = _LIMIT) -> str:
    r"""Return `text` as one harmless line of at most `limit` characters of the original.

    Control, bidirectional and zero-width characters are replaced by a visible escape (`\x1b`, `\u202e`), never
    dropped, so what a provider really sent can still be read. Text that was cut ends in an ellipsis.
    """
    cut = text if len(text) <= limit else text[:limit]
    shown = _UNSAFE.sub(_escape, cut)
    return shown if cut is text else f"{shown}…"


def nearest(word: str, known: Iterable[str]) -> str:
    """The end of a sentence that says `word` is none of `known`: the one that was probably meant, or all of them."""
    names = list(known)
    close = difflib.get_close_matches(word, names, n=1)
    return f"; did you mean {close[0]!r}?" if close else f" (there are: {', '.join(names)})"
