"""The configuration file: which sources there are, and where their credentials are kept."""

import difflib
import os
import re
import sys
import tomllib
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any, cast

import msgspec

from bulkstatus._adapter import SOURCE_NAME, Adapter
from bulkstatus._paths import NotAFile, expanded, read_file
from bulkstatus._references import SecretReader
from bulkstatus._registry import absent, load
from bulkstatus._secrets import Masked
from bulkstatus._text import nearest, printable
from bulkstatus._unseen import unseen
from bulkstatus.errors import AuthError, ConfigError

_MIB = 1024 * 1024
_LINE = re.compile(r"\(at line ([0-9]+), column [0-9]+\)", re.ASCII)
_END = " (at end of document)"
_LONGEST_NAME, _LONGEST_PATH = 64, 300
_OWN_KEYS = ("provider", "allow_plaintext")


def default_path() -> Path:
    """Where the configuration is looked for: `$BULKSTATUS_CONFIG`, else the user's configuration folder.

    Never the working directory: a folder somebody checked out must not be able to run commands or send credentials.
    Raises ConfigError when the environment gives no full path.
    """
    named = os.environ.get("BULKSTATUS_CONFIG")
    path = expanded(named) if named else _user_folder() / "bulkstatus" / "bulkstatus.toml"
    if not path.is_absolute():
        raise ConfigError(
            f"{'BULKSTATUS_CONFIG' if named else 'the folder for configurations'} is {str(path)[:_LONGEST_PATH]!r}, "
            "which depends on the working directory: give a full path, or --config"
        )
    return path


def _user_folder() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("APPDATA") or Path.home() / "AppData" / "Roaming")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support"
    named = os.environ.get("XDG_CONFIG_HOME", "")
    return Path(named) if Path(named).is_absolute() else Path.home() / ".config"


class Config:
    """A configuration file that was read: tables of settings, not yet adapters. `mode` is the file's."""

    def __init__(self, path: Path, text: str, tables: "Masked[Masked[Any]]", *, mode: int) -> None:
        self.path = path
        self._text = text
        self._tables = tables
        self._mode = mode
        self._folder = (
            path.absolute().parent
        )  # now: the working directory may be another when a secret is read

    @property
    def sources(self) -> dict[str, str]:
        """The names of the sources, each with its provider's word."""
        return {name: str(table["provider"]) for name, table in self._tables.items()}

    @property
    def pins(self) -> dict[str, tuple[str, ...]]:
        """The words that the `state_map` of each source gives a meaning."""
        maps = {name: table.get("state_map") for name, table in self._tables.items()}
        return {
            name: tuple(cast("Masked[object]", words))
            for name, words in maps.items()
            if isinstance(words, Masked)
        }

    @unseen
    def build(self, names: Collection[str] | None = None) -> dict[str, Adapter]:
        """The adapters of all sources, or of those in `names`, credentials that can be read at once checked.

        Raises ConfigError, with file, line and the nearest right name, for what is wrong. Other sources than those
        named are not looked at. Where all are meant, one whose adapter cannot be loaded does not keep the others from
        being asked: whatever is asked of it raises that error.
        """
        for name in names or ():
            if name not in self._tables:
                raise ConfigError(
                    f"there is no source {name[:_LONGEST_NAME]!r} in {shown_path(self.path)}{nearest(name, self._tables)}"
                )
        if names is None:
            return {name: self._adapter(name) for name in self._tables}
        return {name: self._built(name) for name in self._tables if name in names}

    def _adapter(self, name: str) -> Adapter:
        """The adapter of a source, or one that raises in its place."""
        try:
            return self._built(name)
        except ConfigError as error:
            if error.reason != "adapter":
                raise
            return absent(str(self._tables[name]["provider"]), error)

    def _built(self, name: str) -> Adapter:
        table = self._tables[name]
        try:
            cls = load(str(table["provider"]))
        except ConfigError as error:
            found = self._error(name, "provider", error.message, whole=True)
            found.reason = error.reason
            raise found from error
        settings = Masked({key: value for key, value in table.items() if key not in _OWN_KEYS})
        for key in settings:
            if key not in cls.__struct_fields__:
                known = (*cls.__struct_fields__, *_OWN_KEYS)
                raise self._error(name, key, f"is not a setting of {cls.provider}{nearest(key, known)}")
        for field in msgspec.structs.fields(cls):
            if field.required and field.name not in settings:
                raise self._error(name, None, f"{field.name} is missing; {cls.provider} needs it")
        secrets = SecretReader(
            self.path, self._folder, self._mode, plaintext=table.get("allow_plaintext") is True
        )
        converted = {key: self._converted(name, cls, key, settings, secrets) for key in settings}
        try:
            return cls(**converted)
        except ConfigError as error:
            message = error.message
        raise self._error(name, _named_in(message, settings), message, whole=True)

    def _converted(
        self, name: str, cls: type[Adapter], key: str, settings: "Masked[Any]", secrets: SecretReader
    ) -> Any:  # noqa: ANN401 - whatever the adapter's field says
        field = next(field for field in msgspec.structs.fields(cls) if field.name == key)
        try:
            return msgspec.convert(settings[key], field.type, dec_hook=secrets.hook(f"{name}.{key}"))
        except msgspec.ValidationError as error:
            cause = error.__cause__
            why = (
                cause.message.removeprefix(f"{name}.{key} ")
                if isinstance(cause, ConfigError | AuthError)
                else f"cannot be used: {printable(str(error), 200)}"
            )
            del cause
        # Not inside `except`, which would keep the frames of the reading, and the secret with them, behind the error.
        raise self._error(name, key, why)

    def _error(self, name: str, key: str | None, why: str, *, whole: bool = False) -> ConfigError:
        """An error at a key of a source; with `whole`, one whose sentence names the setting itself."""
        subject = f"sources.{name}:" if whole or key is None else f"sources.{name}.{_named(key)}"
        return ConfigError(f"{shown_path(self.path)}:{line_of(self._text, name, key)}: {subject} {why}")


class UnshownText(str):
    """The text of a configuration, which may hold secrets in clear: it does not show itself in a frame."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "<a configuration>"


def read_config(path: str | Path | None = None) -> Config:
    """Read a configuration file, `default_path()` when none is named.

    Raises ConfigError when there is none, when it is not TOML in UTF-8, and for keys that mean nothing.
    """
    file = default_path() if path is None else expanded(path)
    shown = shown_path(file)
    text, mode = read_text(file)
    document = parse_toml(text, shown)
    for key in document:
        if key != "sources":
            line = _line_at(text, rf"""\s*(?:\[\s*)?["']?{re.escape(key)}\b""")
            raise ConfigError(f"{shown}:{line}: {_named(key)!r} is not a section{nearest(key, ['sources'])}")
    found: object = document.get("sources")
    sources = cast("Masked[object]", found) if isinstance(found, Masked) else None
    if not sources:
        raise ConfigError(f"{shown}: no sources; add a section such as [sources.payments]")
    for name in sources:
        fault = _fault_of(name, sources[name])
        if fault is not None:
            raise ConfigError(f"{shown}:{line_of(text, name, None)}: sources.{_named(name)}{fault}")
    return Config(file, text, cast("Masked[Masked[Any]]", sources), mode=mode)


def parse_toml(text: str, shown: str) -> "Masked[Any]":
    """What a file of settings holds. Raises ConfigError for what is not TOML."""
    try:
        return cast("Masked[Any]", _masked(tomllib.loads(text)))
    except (ValueError, RecursionError) as error:  # also for numbers and nesting that Python itself refuses
        why = "it is nested too deeply" if isinstance(error, RecursionError) else printable(str(error), 200)
    # Not inside `except`: the frames of the parser hold the text.
    found = _LINE.search(why)
    at_end = f":{text.count(chr(10)) + 1}" if why.endswith(_END) else ""
    where = f":{found[1]}" if found else at_end
    raise ConfigError(f"{shown}{where}: not valid TOML: {why}")


def _masked(value: object) -> object:
    """The same with tables that do not show their values."""
    if isinstance(value, dict):
        return Masked({key: _masked(item) for key, item in cast("dict[str, object]", value).items()})
    if isinstance(value, list):
        return [_masked(item) for item in cast("list[object]", value)]
    return value


def _fault_of(name: str, table: object) -> str | None:
    """What is wrong with a section, as far as that can be said without knowing its adapter: the end of a sentence."""
    if SOURCE_NAME.fullmatch(name) is None:
        return ": a source is named with letters, digits, '.', '_' and '-', 64 at most"
    if not isinstance(table, Masked):
        return f" is not a section; write [sources.{name}]"
    settings = cast("Masked[object]", table)
    if "provider" not in settings:
        close = difflib.get_close_matches("provider", settings, n=1)
        hint = f" (is {close[0]!r} meant to be that?)" if close else ""
        return f": provider is missing{hint}"
    if not isinstance(settings["provider"], str):
        return '.provider must be a text, such as "weavr"'
    if not isinstance(settings.get("allow_plaintext", False), bool):
        return ".allow_plaintext must be true or false"
    return None


def read_text(
    file: Path, what: str = "configuration", hint: str = "'bulkstatus config init' writes a starter"
) -> tuple[str, int]:
    """The text of a file of settings, and its mode. Raises ConfigError; `hint` says what helps where there is none."""
    shown = shown_path(file)
    try:
        data, mode = read_file(file, _MIB)
    except FileNotFoundError:
        raise ConfigError(f"there is no {what} at {shown}; {hint}") from None
    except NotAFile:
        raise ConfigError(f"{shown} is not a file") from None
    except OSError as error:
        raise ConfigError(f"cannot read the {what} {shown}: {error.strerror}") from None
    too_large = len(data) > _MIB
    text, line = ("", 0) if too_large else _decoded(data)
    del data  # it may hold secrets in clear, and this frame is behind the errors below
    if too_large:
        raise ConfigError(f"{shown} is larger than 1 MiB, so it is not taken for a {what}")
    if line:
        raise ConfigError(f"{shown}:{line}: not UTF-8 text")
    return text, mode


def _decoded(data: bytes) -> tuple[str, int]:
    """The text, and the first line that is none; 0 when all are."""
    try:
        return UnshownText(data.decode("utf-8-sig")), 0
    except UnicodeDecodeError as error:
        return "", data.count(b"\n", 0, error.start) + 1


def shown_path(path: Path) -> str:
    return printable(str(path), _LONGEST_PATH)


def _named(key: str) -> str:
    return printable(key, _LONGEST_NAME)


def _line_at(text: str, pattern: str) -> int:
    """The first line that begins as `pattern` says; the first of all when there is none."""
    found = re.compile(pattern)
    return next((number for number, line in enumerate(text.splitlines(), 1) if found.match(line)), 1)


def _named_in(message: str, settings: Iterable[str]) -> str | None:
    return next((key for key in settings if message.startswith(key)), None)


def line_of(text: str, source: str, key: str | None) -> int:
    """The line of a key, or of its section; the first line where neither is found as it is usually written."""
    section = 1
    header = ""
    for number, line in enumerate(text.splitlines(), 1):
        bare = line.strip().replace('"', "").replace("'", "").replace(" ", "")
        if bare.startswith("["):
            header = bare
        inside = header.startswith((f"[sources.{source}]", f"[sources.{source}."))
        begins = bare == header if inside else header == "[sources]" and bare.startswith(f"{source}=")
        if begins and section == 1:
            section = number
        elif inside and key and bare.startswith((f"{key}=", f"{key}.")):
            return number
    return section
