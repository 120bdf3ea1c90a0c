"""References to secrets: where a credential is kept, written in the place of the credential."""

import os
import re
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

from bulkstatus._paths import NotAFile, expanded, read_file
from bulkstatus._program import LIMIT, output_of, words_of
from bulkstatus._secrets import Secret
from bulkstatus._text import printable
from bulkstatus._unseen import unseen
from bulkstatus.errors import AuthError, BulkStatusError, ConfigError

_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]{0,63}")
_LONGEST_PATH = 300
# Unlocking a keyring may ask its owner for a password, in a window.
_KEYRING_TIMEOUT = 60.0


class SecretReader:
    """Turns references to secrets into Secrets. Those that cost nothing are read, and so checked, at once.

    `folder` is the configuration's: relative paths are below it, never below the working directory. `mode` is the
    configuration's own, and `plaintext` says whether it may hold a secret in clear.
    """

    def __init__(self, config: Path, folder: Path, mode: int, *, plaintext: bool) -> None:
        self._config = config
        self._folder = folder
        self._mode = mode
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
            read = partial(_environment, rest) if scheme == "env" else partial(_file, self._path(rest))
            secret = Secret(read, name, renewable=scheme == "file")
            secret.load()
            return secret
        if colon and scheme == "cmd":
            return Secret(partial(_command, name, words_of(rest), self._folder), name)
        if colon and scheme == "keyring":
            return Secret(partial(_keyring, name, *_keyring_entry(rest)), name)
        if self._plaintext:
            if os.name == "posix" and self._mode & 0o077:
                raise ConfigError(
                    f"holds a secret in clear, and others may read the file: chmod 600 {self._config}"
                )
            return Secret(text, name)
        raise ConfigError(
            "holds a secret in clear; use env:NAME, file:PATH, cmd:COMMAND or keyring:SERVICE/USER, "
            "or set allow_plaintext = true in this source"
        )

    def _path(self, name: str) -> Path:
        return self._folder / expanded(name)


def _file(path: Path) -> str:
    shown = printable(str(path), _LONGEST_PATH)
    try:
        data, _ = read_file(path, LIMIT)
    except NotAFile:
        raise ConfigError(f"refers to {shown}, which is not a file") from None
    except OSError as error:
        raise ConfigError(f"refers to the file {shown}, which cannot be read: {error.strerror}") from None
    if len(data) > LIMIT:
        raise ConfigError(f"refers to the file {shown}, which holds more than 64 KiB, so it is no credential")
    return _text_of(data, f"refers to the file {shown}, which holds")


def _environment(variable: str) -> str:
    # A NUL can be in no name, and asking for one raises.
    value = None if "\0" in variable else os.environ.get(variable)
    if value:
        return value
    fault = "not set" if value is None else "empty"
    # What does not look like a name may be the secret itself, put there by mistake.
    which = f" {variable!r}" if _VARIABLE.fullmatch(variable) else ""
    raise ConfigError(f"refers to an environment variable{which} that is {fault}")


def _text_of(data: bytes, subject: str) -> str:
    try:
        text = data.decode("ascii")
    except UnicodeDecodeError:
        raise ConfigError(f"{subject} characters outside ASCII, so it is no credential") from None
    return text.removesuffix("\r\n" if text.endswith("\r\n") else "\n")


def _command(name: str, words: list[str], folder: Path) -> str:
    try:
        data = output_of(words, folder)
    except AuthError as error:
        error.message = f"{name}: {error.message}"
        raise
    return _text_of(data, f"{name}: {printable(Path(words[0]).name, 64)!r} prints")


def _keyring_entry(entry: str) -> tuple[str, str]:
    service, _, user = entry.rpartition("/")
    if not service or not user:
        raise ConfigError("refers to the keyring in another form than keyring:SERVICE/USER")
    return service, user


def _keyring(name: str, service: str, user: str) -> str:
    """Ask the keyring on a thread that need not come back: it may wait for its owner to unlock it."""
    found: list[str | BulkStatusError] = []
    asking = threading.Thread(
        target=lambda: found.append(_asked(service, user)), name="bulkstatus-keyring", daemon=True
    )
    asking.start()
    asking.join(_KEYRING_TIMEOUT)
    answer = found[0] if found else _unread(f"gave no answer within {_KEYRING_TIMEOUT:g} s")
    if isinstance(answer, BulkStatusError):
        answer.message = f"{name}: {answer.message}"
        raise answer
    return answer


def _asked(service: str, user: str) -> str | BulkStatusError:
    """What the keyring says; what went wrong is returned, for its text may hold the secret."""
    try:
        import keyring
    except ImportError:
        return AuthError(
            "keyring: needs the extra: pip install 'bulkstatus[keyring]'; or use env: or file:",
            reason="secret",
        )
    try:
        value = keyring.get_password(service, user)
    except Exception as error:  # noqa: BLE001 - a keyring is a plug-in, and some raise what their own store raises
        return _unread(f"cannot be read ({type(error).__name__})")
    if value:
        return value
    fault = "no entry" if value is None else "an empty entry"
    return _unread(f"has {fault} {service[:64]!r} for {user[:64]!r}")


def _unread(fault: str) -> AuthError:
    return AuthError(f"the keyring {fault}; env: and file: work without one", reason="secret")
