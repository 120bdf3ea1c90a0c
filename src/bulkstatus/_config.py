"""The configuration file: which sources there are, and where their credentials are kept."""

import difflib
import os
import re
import shlex
import shutil
import stat
import subprocess
import sys
import threading
import tomllib
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import IO, Any, cast

import msgspec

from bulkstatus._adapter import SOURCE_NAME, Adapter
from bulkstatus._registry import load
from bulkstatus._secrets import Secret
from bulkstatus._text import nearest, printable
from bulkstatus._unseen import unseen
from bulkstatus.errors import AuthError, ConfigError

_MIB = 1024 * 1024
_SECRET_LIMIT = 64 * 1024
_COMMAND_TIMEOUT = 10.0
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]{0,63}")
_OWN_KEYS = ("provider", "allow_plaintext")


def default_path() -> Path:
    """Where the configuration is looked for: `$BULKSTATUS_CONFIG`, else the user's configuration folder.

    Never the working directory: a folder somebody checked out must not be able to run commands or send credentials.
    """
    named = os.environ.get("BULKSTATUS_CONFIG")
    return Path(named).expanduser() if named else _user_folder() / "bulkstatus" / "bulkstatus.toml"


def _user_folder() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("APPDATA") or Path.home() / "AppData" / "Roaming")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support"
    named = os.environ.get("XDG_CONFIG_HOME", "")
    return Path(named) if Path(named).is_absolute() else Path.home() / ".config"


class Config:
    """A configuration file that was read: tables of settings, not yet adapters."""

    def __init__(self, path: Path, text: str, tables: dict[str, dict[str, object]]) -> None:
        self.path = path
        self._text = text
        self._tables = tables

    @property
    def sources(self) -> dict[str, str]:
        """The names of the sources, each with its provider's word."""
        return {name: str(table["provider"]) for name, table in self._tables.items()}

    @unseen
    def build(self, names: Collection[str] | None = None) -> dict[str, Adapter]:
        """The adapters of all sources, or of those in `names`, credentials that can be read at once checked.

        Raises ConfigError, with file, line and the nearest right name, for what is wrong. Other sources than those
        named are not looked at.
        """
        for name in names or ():
            if name not in self._tables:
                raise ConfigError(
                    f"there is no source {name[:64]!r} in {self.path}{nearest(name, self._tables)}"
                )
        return {name: self._adapter(name) for name in self._tables if names is None or name in names}

    def _adapter(self, name: str) -> Adapter:
        table = self._tables[name]
        try:
            cls = load(str(table["provider"]))
        except ConfigError as error:
            raise self._error(name, "provider", error.message, whole=True) from error
        settings = {key: value for key, value in table.items() if key not in _OWN_KEYS}
        for key in settings:
            if key not in cls.__struct_fields__:
                known = (*cls.__struct_fields__, *_OWN_KEYS)
                raise self._error(name, key, f"is not a setting of {cls.provider}{nearest(key, known)}")
        for field in msgspec.structs.fields(cls):
            if field.required and field.name not in settings:
                raise self._error(name, None, f"{field.name} is missing; {cls.provider} needs it")
        secrets = _SecretReader(self.path, plaintext=table.get("allow_plaintext") is True)
        converted: dict[str, Any] = {
            key: self._convert(name, cls, key, value, secrets) for key, value in settings.items()
        }
        try:
            return cls(**converted)
        except ConfigError as error:
            raise self._error(name, _named_in(error.message, settings), error.message, whole=True) from None

    @unseen
    def _convert(
        self, name: str, cls: type[Adapter], key: str, value: object, secrets: "_SecretReader"
    ) -> object:
        field = next(field for field in msgspec.structs.fields(cls) if field.name == key)
        try:
            return msgspec.convert(value, field.type, dec_hook=secrets.hook(f"{name}.{key}"))
        except msgspec.ValidationError as error:
            cause = error.__cause__
            if isinstance(cause, ConfigError | AuthError):
                raise self._error(name, key, cause.message.removeprefix(f"{name}.{key} ")) from None
            raise self._error(name, key, f"cannot be used: {printable(str(error), 200)}") from None

    def _error(self, name: str, key: str | None, why: str, *, whole: bool = False) -> ConfigError:
        """An error at a key of a source; with `whole`, one whose sentence names the setting itself."""
        subject = f"sources.{name}:" if whole or key is None else f"sources.{name}.{key}"
        return ConfigError(f"{self.path}:{_line_of(self._text, name, key)}: {subject} {why}")


def read_config(path: str | Path | None = None) -> Config:
    """Read a configuration file, `default_path()` when none is named.

    Raises ConfigError when there is none, when it is not TOML in UTF-8, and for keys that mean nothing.
    """
    file = default_path() if path is None else Path(path).expanduser()
    text = _read_text(file)
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file}: not valid TOML: {printable(str(error), 200)}") from None
    for key in document:
        if key != "sources":
            raise ConfigError(f"{file}: {key!r} is not a section{nearest(key, ['sources'])}")
    sources = document.get("sources")
    if not isinstance(sources, dict) or not sources:
        raise ConfigError(f"{file}: no sources; add a section such as [sources.payments]")
    tables = {
        name: _check_section(name, table, f"{file}:{_line_of(text, name, None)}: sources.{name}")
        for name, table in cast("dict[str, object]", sources).items()
    }
    return Config(file, text, tables)


def _check_section(name: str, table: object, where: str) -> dict[str, object]:
    """What can be said of a section without knowing its adapter. Raises ConfigError, which begins with `where`."""
    if not isinstance(table, dict):
        raise ConfigError(f"{where} is not a section; write [sources.{name}]")
    settings = cast("dict[str, object]", table)
    if SOURCE_NAME.fullmatch(name) is None:
        raise ConfigError(f"{where}: a source is named with letters, digits, '.', '_' and '-', 64 at most")
    provider = settings.get("provider")
    if provider is None:
        close = difflib.get_close_matches("provider", settings, n=1)
        hint = f" (is {close[0]!r} meant to be that?)" if close else ""
        raise ConfigError(f"{where}: provider is missing{hint}")
    if not isinstance(provider, str):
        raise ConfigError(f'{where}.provider must be a text, such as "weavr"')
    if not isinstance(settings.get("allow_plaintext", False), bool):
        raise ConfigError(f"{where}.allow_plaintext must be true or false")
    return settings


def _read_text(file: Path) -> str:
    try:
        if not stat.S_ISREG(file.stat().st_mode):
            raise ConfigError(f"{file} is not a file")
        with file.open("rb") as stream:
            data = stream.read(_MIB + 1)
    except FileNotFoundError:
        raise ConfigError(
            f"there is no configuration at {file}; 'bulkstatus config init' writes a starter"
        ) from None
    except OSError as error:
        raise ConfigError(f"cannot read the configuration {file}: {error.strerror}") from None
    if len(data) > _MIB:
        raise ConfigError(f"{file} is larger than 1 MiB, so it is not taken for a configuration")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise ConfigError(f"{file} is not UTF-8 text") from None


def _named_in(message: str, settings: Iterable[str]) -> str | None:
    return next((key for key in settings if message.startswith(key)), None)


def _line_of(text: str, source: str, key: str | None) -> int:
    """The line of a key, or of its section; the first line where neither is found as it is usually written."""
    section = 1
    inside = False
    for number, line in enumerate(text.splitlines(), 1):
        bare = line.strip().replace('"', "").replace("'", "").replace(" ", "")
        if bare.startswith("["):
            inside = bare.startswith((f"[sources.{source}]", f"[sources.{source}."))
            section = number if inside and section == 1 else section
        elif inside and key and bare.startswith(f"{key}="):
            return number
    return section


class _SecretReader:
    """Turns references to secrets into Secrets. Those that cost nothing are read, and so checked, at once."""

    def __init__(self, config: Path, *, plaintext: bool) -> None:
        self._config = config
        self._plaintext = plaintext

    def hook(self, name: str) -> Callable[[type, object], object]:
        """The msgspec hook that reads the setting `name`."""

        @unseen
        def read(kind: type, value: object) -> object:
            if kind is not Secret or not isinstance(value, str):
                raise ConfigError("must be a text")
            return self._secret(name, value)

        return read

    def _secret(self, name: str, text: str) -> Secret:
        scheme, colon, rest = text.partition(":")
        if colon and scheme in ("env", "file"):
            read = _environment if scheme == "env" else self._file
            secret = Secret(lambda: read(rest), name, renewable=scheme == "file")
            secret.load()
            return secret
        if colon and scheme in ("cmd", "keyring"):
            if scheme == "cmd":
                words = _command_words(rest)
                return Secret(lambda: _command(name, words), name)
            service, user = _keyring_entry(rest)
            return Secret(lambda: _keyring(name, service, user), name)
        if self._plaintext:
            if os.name == "posix" and self._config.stat().st_mode & 0o077:
                raise ConfigError(
                    f"holds a secret in clear, and others may read the file: chmod 600 {self._config}"
                )
            return Secret(text, name)
        raise ConfigError(
            "holds a secret in clear; use env:NAME, file:PATH, cmd:COMMAND or keyring:SERVICE/USER, "
            "or set allow_plaintext = true in this source"
        )

    def _file(self, name: str) -> str:
        path = self._config.parent / Path(name).expanduser()
        try:
            # Opened without blocking, so that a pipe cannot hang us before it is seen to be one.
            descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
            try:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    raise ConfigError(f"refers to {path}, which is not a file")
                data = os.read(descriptor, _SECRET_LIMIT + 1)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise ConfigError(f"refers to the file {path}, which cannot be read: {error.strerror}") from None
        return _text_of(data, f"the file {path}")


def _environment(variable: str) -> str:
    value = os.environ.get(variable)
    if value:
        return value
    fault = "not set" if value is None else "empty"
    # What does not look like a name may be the secret itself, put there by mistake.
    which = f" {variable!r}" if _VARIABLE.fullmatch(variable) else ""
    raise ConfigError(f"refers to an environment variable{which} that is {fault}")


def _text_of(data: bytes, what: str) -> str:
    if len(data) > _SECRET_LIMIT:
        raise ConfigError(f"{what} gives more than 64 KiB, so it is not a credential")
    try:
        text = data.decode("ascii")
    except UnicodeDecodeError:
        raise ConfigError(f"{what} gives characters outside ASCII, so it is not a credential") from None
    return text.removesuffix("\n").removesuffix("\r")


def _command_words(command: str) -> list[str]:
    """The command in words. Nothing is run, but what cannot be is found here, before anything is asked."""
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise ConfigError(f"holds a command that cannot be read: {error}") from None
    if not words:
        raise ConfigError("has nothing behind cmd:")
    if shutil.which(words[0]) is None:
        raise ConfigError(f"refers to the command {words[0][:64]!r}, which is not there or cannot be run")
    return words


def _command(name: str, words: list[str]) -> str:
    try:
        status, output, complaint = _run(words)
    except subprocess.TimeoutExpired:
        raise AuthError(
            f"{name}: {words[0]!r} gave no secret within {_COMMAND_TIMEOUT:g} s", reason="secret"
        ) from None
    except OSError as error:
        raise AuthError(f"{name}: {words[0]!r} cannot be run: {error.strerror}", reason="secret") from None
    if status and len(output) <= _SECRET_LIMIT:  # with more than that, it was ended by us
        said = printable(complaint.decode("utf-8", "replace").strip(), 200)
        raise AuthError(f"{name}: {words[0]!r} ended with status {status}", detail=said, reason="secret")
    text = _text_of(output, f"{name}: {words[0]!r}")
    if not text:
        raise AuthError(f"{name}: {words[0]!r} printed no secret", reason="secret")
    return text


def _run(words: list[str]) -> tuple[int, bytes, bytes]:
    """Run a program; its status and the beginnings of what it wrote. Too much output ends it, as does the time.

    Raises TimeoutExpired, and OSError when it cannot be run.
    """
    process = subprocess.Popen(  # noqa: S603 - the user's own command, from the user's own file, without a shell
        words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    output, complaint = bytearray(), bytearray()
    readers = [
        threading.Thread(target=_read_some, args=(process, stream, kept), daemon=True)
        for stream, kept in ((process.stdout, output), (process.stderr, complaint))
    ]
    for reader in readers:
        reader.start()
    try:
        process.wait(_COMMAND_TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise
    finally:
        for reader in readers:
            reader.join(1.0)  # no longer: a program it left behind may keep the pipes open
    return process.returncode, bytes(output), bytes(complaint)


def _read_some(process: subprocess.Popen[bytes], stream: IO[bytes], kept: bytearray) -> None:
    with stream:
        while chunk := stream.read(4096):
            kept += chunk
            if len(kept) > _SECRET_LIMIT:
                process.kill()
                return


def _keyring_entry(entry: str) -> tuple[str, str]:
    service, _, user = entry.rpartition("/")
    if not service or not user:
        raise ConfigError("refers to the keyring in another form than keyring:SERVICE/USER")
    return service, user


def _keyring(name: str, service: str, user: str) -> str:
    try:
        import keyring
        from keyring.errors import KeyringError
    except ImportError:
        raise AuthError(
            f"{name}: keyring: needs the extra: pip install 'bulkstatus[keyring]'; or use env: or file:",
            reason="secret",
        ) from None
    try:
        value = keyring.get_password(service, user)
    except KeyringError as error:
        why = type(error).__name__
        raise AuthError(
            f"{name}: the keyring cannot be read ({why}); env: and file: work without", reason="secret"
        ) from None
    if value is None:
        raise AuthError(f"{name}: the keyring has no entry {service!r} for {user!r}", reason="secret")
    return value
