"""What is new in a provider's answers: words, fields and times that were not there when the adapter was written.

Whoever reads an answer says here what was odd in it. Somebody has to be collecting (`collecting`): the engine is,
around the reading of each answer. Otherwise all of it does nothing.
"""

from collections.abc import Callable, Collection, Mapping
from contextvars import ContextVar, Token
from datetime import datetime
from typing import Literal, NamedTuple

import msgspec

from bulkstatus._samples import kind_of, name_shown, shown, time_shown
from bulkstatus._text import printable, toml_key

DriftKind = Literal["word", "field", "time"]

OTHERS = "(others)"
"""The place, and the sample, of all that came when there was no room for more."""
_MOST_IN_ONE = 64
_LONGEST_WHERE = 80
_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Drift(msgspec.Struct, frozen=True, kw_only=True):
    """Something in a source's answers that its adapter does not know.

    `kind` is `word` (a status word without a meaning), `field` (a member that no documentation names) or `time` (one
    that could not be read). `where` is the vocabulary, the record or the field it stood in. `sample` shows it: the
    word; the field's name and type, never its value; a time, or what it looks like. Whatever may be about a person is
    shown as a pattern (`Aaa 99`), and credentials as `***`. `count` is in how many answers it was seen, `first_seen`
    and `last_seen` when, in UTC. `pin` is, for a word, the line of the source's configuration that gives it a meaning;
    the state in it, `running`, is to be replaced by the right one. It is None where no line can do that.

    A source that sends very many different things has a row `(others)` for those that there was no room for.
    """

    source: str
    provider: str
    kind: DriftKind
    where: str
    sample: str
    count: int
    first_seen: datetime
    last_seen: datetime
    pin: str | None = None


class Oddity(NamedTuple):
    """What was odd in an answer, in a form that may be shown and kept; where kind, place and form are one, it is one.

    `word` is the word itself where `state_map` can give it a meaning.
    """

    kind: DriftKind
    where: str
    form: str
    sample: str
    word: str | None = None


class Collector:
    """Keeps what is said to be odd in one answer: each thing once, and not more than a bounded number."""

    def __init__(self) -> None:
        self._words: dict[tuple[str, str, bool], None] = {}
        self._fields: dict[tuple[str, str], object] = {}
        self._times: dict[str, object] = {}

    def __bool__(self) -> bool:
        return bool(self._words or self._fields or self._times)

    def word(self, vocabulary: str, word: str, *, pinnable: bool) -> None:
        """An unknown word."""
        if len(self._words) < _MOST_IN_ONE:
            self._words[vocabulary, word, pinnable] = None

    def field(self, where: str, name: str, value: object) -> None:
        """A new field."""
        if len(self._fields) < _MOST_IN_ONE:
            self._fields.setdefault((where, name), value)

    def time(self, label: str, value: object) -> None:
        """A time that could not be read."""
        if len(self._times) < _MOST_IN_ONE:
            self._times.setdefault(label, value)

    def found(
        self, secrets: Collection[str] = (), *, is_pinned: Callable[[str], bool] = lambda _: False
    ) -> tuple[Oddity, ...]:
        """All of it without `secrets`, and without the words that the configuration reads already."""
        found: dict[tuple[str, str, str], Oddity] = {}
        for vocabulary, word, pinnable in self._words:
            if pinnable and is_pinned(word):
                continue
            sample, whole = shown(word, secrets)
            odd = Oddity("word", _place(vocabulary), sample, sample, word if pinnable and whole else None)
            found.setdefault(odd[:3], odd)
        for (where, name), value in self._fields.items():
            form = name_shown(name, secrets)
            odd = Oddity("field", _place(where), form, f"{form} ({kind_of(value)})")
            found.setdefault(odd[:3], odd)
        for label, value in self._times.items():
            form, sample = time_shown(value)
            odd = Oddity("time", _place(label), form, sample)
            found.setdefault(odd[:3], odd)
        return tuple(found.values())


def _place(where: str) -> str:
    return printable(where, _LONGEST_WHERE)


_COLLECTOR: ContextVar[Collector | None] = ContextVar("_COLLECTOR", default=None)


class collecting:  # noqa: N801 - reads as a statement where it is used
    """Collect what is said to be odd inside the block, also on a thread that the context is handed to."""

    __slots__ = ("_token",)
    _token: Token[Collector | None]

    def __enter__(self) -> Collector:
        collector = Collector()
        self._token = _COLLECTOR.set(collector)
        return collector

    def __exit__(self, *raised: object) -> None:
        _COLLECTOR.reset(self._token)


def is_collecting() -> bool:
    """True while somebody wants to know: worth asking before work is done to find out what is odd."""
    return _COLLECTOR.get() is not None


def unknown_word(vocabulary: str, word: str, *, pinnable: bool = True) -> None:
    """Say that `word` is not in a vocabulary; `Vocabulary.read` does so by itself.

    `pinnable` is false for words that the setting `state_map` does not speak of, as those for a mode.
    """
    collector = _COLLECTOR.get()
    if collector is not None:
        collector.word(vocabulary, word, pinnable=pinnable)


def unreadable_time(label: str, value: object) -> None:
    """Say that a field named `label` holds no time that can be read; `from_text` and `from_epoch` do so themselves."""
    collector = _COLLECTOR.get()
    if collector is not None:
        collector.time(label, value)


def new_fields(where: str, members: Mapping[str, object]) -> None:
    """Say that a record (`where` names its kind) has `members` that are not documented: names, and values or `Raw`.

    Of the values, only type and size are looked at.
    """
    collector = _COLLECTOR.get()
    if collector is not None:
        for name, value in members.items():
            collector.field(where, name, value)


def note_members(where: str, record: bytes | msgspec.Raw, documented: Collection[str]) -> None:
    """Say which members of a JSON object, as received, are none of `documented`; anything else has no members.

    For answers that no `Reader` reads: those do so by themselves.
    """
    if _COLLECTOR.get() is None:
        return
    try:
        members = _MEMBERS.decode(record)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return
    new = {name: value for name, value in members.items() if name not in documented}
    if new:
        new_fields(where, new)


def pin(word: str) -> str:
    """The line of a source's configuration that reads `word` as `running`, which is no end, until that is changed.

    With a dotted key, so that the lines for several words may stand below one another.
    """
    return f'state_map.{toml_key(word)} = "running"'
