"""What may be shown of what a provider sent: enough to report it by, and nothing of a person or a credential."""

import re
from collections.abc import Collection

import msgspec

from bulkstatus._text import printable, telling

_LONGEST = 80
_LONGEST_PATTERN = 48
# Words of a vocabulary and names of fields hold neither; addresses, numbers of cards and accounts, and ids do.
_MOST_DIGITS = 5
_PERSONAL = "@"
# A long run of small and capital letters with digits here and there is a credential, or one that was encoded.
_RUN = re.compile(r"[A-Za-z0-9+/=_.~-]{20,}", re.ASCII)
_MIXED = re.compile("(?=.*[a-z])(?=.*[A-Z]).*[0-9][^0-9].*[0-9]")
_KINDS = {"{": "object", "[": "array", '"': "text", "t": "boolean", "f": "boolean", "n": "null"}

_MONTHS = "Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec"
_MONTH = f"(?:{_MONTHS})[a-z]{{0,6}}"
# Years that stand for "no time", and those that a bulk may have been run in; a year of birth is mostly neither.
_YEAR = "(?:0000|0001|1900|1970|9999|20[0-9]{2})"
_DATE = (
    f"(?:{_YEAR}[-/.][0-9]{{1,2}}[-/.][0-9]{{1,2}}|[0-9]{{1,2}}[-/.][0-9]{{1,2}}[-/.]{_YEAR}"
    f"|[0-9]{{1,2}}[- ]{_MONTH}[- ,]{{1,2}}{_YEAR}|{_MONTH} [0-9]{{1,2}},? {_YEAR}|{_YEAR}[0-9]{{4}}(?=T))"
)
_CLOCK = "[0-9]{1,2}:?[0-9]{2}(?::?[0-9]{2}(?:[.,][0-9]{1,9})?)?(?: ?[AaPp][Mm])?"
_ZONE = "(?: ?(?:[Zz]|UTC|GMT|CES?T|[ECMP][SD]T|[+-][0-9]{2}:?[0-9]{2}))?"
_TIME = re.compile(
    rf"(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]{{0,6}},? )?{_DATE}(?:[Tt ,]{{1,2}}{_CLOCK}{_ZONE})?", re.ASCII
)
# 2000 to 2033, in seconds: later ones may as well be telephone numbers.
_EARLIEST, _LATEST = 946_684_800, 2_000_000_000
_UNITS = (1, 1_000, 1_000_000, 1_000_000_000)
_DIGITS = re.compile(r"[0-9]{9,20}", re.ASCII)


def shown(text: str, secrets: Collection[str]) -> tuple[str, bool]:
    """A word or a name as one printable line, and whether that is all of it, unchanged.

    Without `secrets`; and where it may be about a person, only its pattern. Of one that is too long to be a word, or
    a name, only that.
    """
    if len(text) > _LONGEST:
        return f"(a text of {len(text)} characters)", False
    clean = text
    for secret in telling(secrets):
        clean = clean.replace(secret, "***")
    if _is_telling(clean):
        clean = pattern(clean)
    line = printable(clean, _LONGEST)
    return line, line == text


def _is_telling(text: str) -> bool:
    """True for what may be about a person, or be a credential that nobody here knows."""
    if _PERSONAL in text or sum(map(str.isdigit, text)) > _MOST_DIGITS:
        return True
    return any(map(_MIXED.match, _RUN.findall(text)))


def name_shown(name: str, secrets: Collection[str]) -> str:
    """The name of a field, as `shown`; of one with a blank in it only the pattern: objects may go by people's names."""
    line, _ = shown(name, secrets)
    return pattern(line) if " " in name and len(name) <= _LONGEST else line


def pattern(text: str) -> str:
    """What `text` looks like: `Aaaa 99` for `June 24`. No letter and no digit of it is left."""
    return "".join(map(_sort, text[:_LONGEST_PATTERN])) + ("…" if len(text) > _LONGEST_PATTERN else "")


def _sort(character: str) -> str:
    if character.isdigit():
        return "9"
    if character.isalpha():
        return "A" if character.isupper() else "a"
    return character if character.isascii() and character.isprintable() else "?"


def time_shown(value: object) -> tuple[str, str]:
    """The form that a time has, and a sample of it: as it is if it looks like one, otherwise its form alone."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**20:
        value = str(value)
    if not isinstance(value, str):
        return (kind := kind_of(value)), kind
    form = pattern(value)
    return form, value if _looks_like_time(value) else form


def _looks_like_time(text: str) -> bool:
    if _DIGITS.fullmatch(text):
        return any(_EARLIEST <= int(text) // unit < _LATEST for unit in _UNITS)
    return _TIME.fullmatch(text) is not None


def kind_of(value: object) -> str:
    """The JSON type of a value, which may still be encoded, and the size of what has one: `object, 120 bytes`."""
    try:
        raw = bytes(value) if isinstance(value, msgspec.Raw) else msgspec.json.encode(value)
    except Exception:  # noqa: BLE001 - a stranger's adapter may hand in anything
        return "of no JSON type"
    kind = _KINDS.get(chr(raw[0]), "number") if raw else "null"
    return f"{kind}, {len(raw)} bytes" if kind in ("object", "array", "text") else kind
