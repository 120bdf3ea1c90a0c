"""Scenarios: which sources there are, what their bulks go through, what goes wrong; in Python and in TOML."""

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Self, TypeAlias, cast

import msgspec

from bulkstatus._adapter import SOURCE_NAME
from bulkstatus._config import line_of, parse_toml, read_text, shown_path
from bulkstatus._paths import expanded
from bulkstatus._text import nearest, printable
from bulkstatus._times import read_duration
from bulkstatus.adapter import State
from bulkstatus.errors import ConfigError
from bulkstatus.testing._fake import Fake, Fault
from bulkstatus.testing._play import Part, StepError, fault_of, part
from bulkstatus.testing._registry import load_fake
from bulkstatus.testing._steps import InState, Step, Vanished

_LONGEST_NAME = 64
_DURATIONS = frozenset({"for", "vanish", "delay", "after", "retry_after"})
_TIME = 'a time, such as 2, "2s" or "3m"'
_SHAPES = {
    **dict.fromkeys(_DURATIONS, _TIME),
    "vanish": f"{_TIME}; or true, for good",
    **dict.fromkeys(("done", "failed", "times", "status"), "a whole number"),
    **dict.fromkeys(("word", "body", "html", "where"), "a text in quotes"),
    "headers": 'a table of texts, such as { Server = "edge" }',
    "drop": "true or false",
}
"""What each key of a step takes."""
_KINDS: tuple[type[Step], ...] = (InState, Vanished, Fault)
_Table: TypeAlias = Mapping[str, object]


class BulkScript(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A bulk: what it goes through from its birth on, and of how many items it is (100 unless said)."""

    life: tuple[Step, ...]
    total: int | None = None


class SourceScript(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A source: the word of its provider, its bulks by their ids, and trouble of the source as a whole."""

    provider: str
    bulks: dict[str, BulkScript] = {}
    trouble: tuple[Fault, ...] = ()

    def parts(self, *, speed: float = 1.0) -> dict[str, Part]:
        """What each bulk comes to. Raises StepError, ConfigError when there is no such fake."""
        fake = load_fake(self.provider)
        return {id: part(fake, bulk.life, total=bulk.total, speed=speed) for id, bulk in self.bulks.items()}


class Scenario(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Sources by their names."""

    sources: dict[str, SourceScript]

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Read a scenario from a TOML file.

        Raises ConfigError, with file, line and the nearest right name, for what cannot be read or played.
        """
        file = expanded(path)
        text, _ = read_text(file, "scenario", "'bulkstatus fake --example' prints one to begin with")
        return cls.parse(text, name=shown_path(file))

    @classmethod
    def parse(cls, text: str, *, name: str = "scenario") -> Self:
        """Read a scenario from TOML; `name` stands for the file in errors. Raises ConfigError."""
        found = parse_toml(text, name)
        for key in found:
            if key != "sources":
                raise ConfigError(
                    f"{name}: {printable(key, _LONGEST_NAME)!r} is not a section{nearest(key, ['sources'])}"
                )
        sources = found.get("sources")
        if not isinstance(sources, Mapping) or not sources:
            raise ConfigError(f"{name}: no sources; add a section such as [sources.payments]")
        reader = _Reader(name, text)
        tables = cast("Mapping[str, object]", sources)
        return cls(sources={source: reader.source(source, table) for source, table in tables.items()})


class _Reader:
    """Reads the parts of a scenario, and says where one is wrong."""

    def __init__(self, file: str, text: str) -> None:
        self._file = file
        self._text = text

    def source(self, name: str, table: object) -> SourceScript:
        if SOURCE_NAME.fullmatch(name) is None:
            raise self._error(
                name, None, "a source is named with letters, digits, '.', '_' and '-', 64 at most"
            )
        if not isinstance(table, Mapping):
            raise self._error(name, None, f"is not a section; write [sources.{name}]")
        told = cast("_Table", table)
        self._check_keys(name, None, told, SourceScript.__struct_fields__, "a source")
        provider = told.get("provider")
        if not isinstance(provider, str):
            is_missing = "provider" not in told
            why = f'provider is {"missing" if is_missing else "a text in quotes"}; write one such as provider = "weavr"'
            raise self._error(name, None, why)
        try:
            fake = load_fake(provider)()
        except ConfigError as error:
            raise self._error(name, None, error.message) from None
        bulks = told.get("bulks", {})
        if not isinstance(bulks, Mapping):
            raise self._error(name, None, "bulks is a table of lives by id, such as bulks.1122 = [ ... ]")
        return SourceScript(
            provider=provider,
            bulks={id: self._bulk(name, id, bulk, fake) for id, bulk in cast("_Table", bulks).items()},
            trouble=self._trouble(name, told.get("trouble", [])),
        )

    def _bulk(self, source: str, id: str, told: object, fake: Fake[Any]) -> BulkScript:
        grammar = fake.adapter(f"http://127.0.0.1:1{fake.prefix}").id_grammar
        if not grammar.fits(id):
            shown = printable(id, _LONGEST_NAME)
            raise self._error(
                source, id, f"{shown!r} is no id of {fake.word} ({grammar.words}), such as {fake.bulk_id(0)}"
            )
        table = cast("_Table", told) if isinstance(told, Mapping) else {"life": told}
        self._check_keys(source, id, table, BulkScript.__struct_fields__, "a bulk")
        life, total = table.get("life"), table.get("total")
        if not isinstance(life, list) or not life:
            raise self._error(
                source, id, 'life is a list of steps, such as [{ state = "running", for = "10s" }]'
            )
        if total is not None and (not isinstance(total, int) or isinstance(total, bool)):
            raise self._error(source, id, "total is a whole number of items")
        try:
            steps = tuple(_step(each, number) for number, each in enumerate(cast("list[object]", life), 1))
            part(type(fake), steps, total=total)
        except StepError as error:
            raise self._error(source, id, error.message, step=error.step) from None
        return BulkScript(life=steps, total=total)

    def _trouble(self, source: str, told: object) -> tuple[Fault, ...]:
        if not isinstance(told, list):
            raise self._error(
                source, None, 'trouble is a list, such as [{ status = 503, after = "5s", for = "8s" }]'
            )
        faults: list[Fault] = []
        for number, table in enumerate(cast("list[object]", told), 1):
            try:
                fault = _step(table, number, kinds=(Fault,))
            except StepError as error:
                raise self._error(source, "trouble", error.message) from None
            assert isinstance(fault, Fault)  # noqa: S101 - of the kinds that were asked for
            why = fault_of(fault)
            if why is not None:
                raise self._error(source, "trouble", f"step {number}: {why}")
            faults.append(fault)
        return tuple(faults)

    def _check_keys(
        self, source: str, id: str | None, table: _Table, known: Collection[str], what: str
    ) -> None:
        for key in table:
            if key not in known:
                shown = printable(key, _LONGEST_NAME)
                raise self._error(source, id, f"{shown!r} is not a key of {what}{nearest(key, known)}")

    def _error(self, source: str, key: str | None, why: str, *, step: int | None = None) -> ConfigError:
        name = printable(source, _LONGEST_NAME)
        part = (
            ""
            if key is None
            else ".trouble"
            if key == "trouble"
            else f".bulks.{printable(key, _LONGEST_NAME)}"
        )
        return ConfigError(f"{self._file}:{self._line(source, key, step)}: sources.{name}{part}: {why}")

    def _line(self, source: str, key: str | None, step: int | None) -> int:
        section = line_of(self._text, source, None)
        if key is None:
            return section
        found = (
            line_of(self._text, source, f"bulks.{key}"),
            line_of(self._text, source, key),
            line_of(self._text, f"{source}.bulks.{key}", None),
        )
        line = next((each for each in found if each not in (section, 1)), section)
        return line if step is None else self._line_of_step(line, step)

    def _line_of_step(self, line: int, step: int) -> int:
        """The line of a step where each has one of its own, else that of the bulk."""
        for number, text in enumerate(self._text.splitlines()[line:], line + 1):
            bare = text.strip()
            if bare.startswith("]") or re.match(r"\[|[\w.\"'-]+\s*=\s*\[?$", bare):
                break
            if bare.startswith("{"):
                step -= 1
                if not step:
                    return number
        return line


def _step(told: object, number: int, *, kinds: tuple[type[Step], ...] = _KINDS) -> Step:
    """One step, of one of these kinds. Raises StepError."""
    if not isinstance(told, Mapping) or not told:
        raise StepError('a step is a table, such as { state = "running", for = "10s" }', number)
    table = cast("_Table", told)
    kind = _kind(table, number, kinds)
    known = _keys(kind)
    for key in table:
        if key not in known:
            shown = printable(key, _LONGEST_NAME)
            elsewhere = any(key in _keys(other) for other in kinds)
            hint = "; put it into a step of its own" if elsewhere else nearest(key, known)
            raise StepError(
                f"{shown!r} does not belong in a step with {next(iter(table))!r}{hint}"
                if elsewhere
                else f"{shown!r} is not a key of a step{hint}",
                number,
            )
    _check_state(table.get("state"), number)
    try:
        return msgspec.convert(
            {key: _value(key, value, number) for key, value in table.items()}, kind, builtin_types=(bytes,)
        )
    except msgspec.ValidationError as error:
        key = next((key for key in table if f"`$.{key}" in str(error)), "")
        raise StepError(f"{key} is {_SHAPES.get(key) or 'something else'}", number) from None


def _kind(table: _Table, number: int, kinds: tuple[type[Step], ...]) -> type[Step]:
    life = next((key for key in ("state", "word", "vanish") if key in table), None)
    if life and InState not in kinds:
        raise StepError(f"{life!r} is for the life of a bulk: trouble is what goes wrong", number)
    if Vanished in kinds and "vanish" in table:
        return Vanished
    if InState in kinds and ("state" in table or "word" in table):
        return InState
    if any(key in _keys(Fault) - _keys(InState) for key in table):
        return Fault
    key = next(iter(table))
    known = sorted(frozenset[str]().union(*map(_keys, kinds)))
    if key in known:
        raise StepError(
            "it says neither what the bulk is (state, word, vanish) nor what goes wrong (status, drop, delay)",
            number,
        )
    raise StepError(f"{printable(key, _LONGEST_NAME)!r} is not a key of a step{nearest(key, known)}", number)


def _keys(kind: type[Step]) -> frozenset[str]:
    return frozenset(field.encode_name for field in msgspec.structs.fields(kind))


def _check_state(state: object, number: int) -> None:
    if state is not None and state not in State.__members__.values():
        shown = printable(str(state), _LONGEST_NAME)
        raise StepError(f"{shown!r} is not a state{nearest(str(state), map(str, State))}", number)


def _value(key: str, value: object, number: int) -> object:
    if key == "body" and isinstance(value, str):
        return value.encode()
    if key in _DURATIONS and isinstance(value, str):
        seconds = read_duration(value)
        if seconds is None:
            raise StepError(
                f'{key} = {printable(value, 40)!r} is not a duration: write 2, "2s", "3m" or "1h30m"', number
            )
        return seconds
    return value
