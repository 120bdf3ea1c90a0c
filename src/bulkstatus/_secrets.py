"""Credentials that do not show themselves."""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn, TypeAlias, TypeVar

from bulkstatus._unseen import unseen
from bulkstatus.errors import ConfigError

V = TypeVar("V")

_LEGAL = re.compile(r"[\x21-\x7e]+")
_HEADER = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")
_MAX_LENGTH = 16_384


class Secret:
    """A credential: a text, or a function that fetches it and may be asked again after the provider refuses it.

    Neither `repr` nor `str` shows it, it does not pickle, and comparing is by identity. `name` is the setting it
    came from; errors use it in the value's place.
    """

    __slots__ = ("_fetch", "_value", "name", "renewable")

    @unseen
    def __init__(
        self, value: str | Callable[[], str], name: str = "secret", *, renewable: bool | None = None
    ) -> None:
        self.name = name
        self.renewable = callable(value) if renewable is None else renewable
        """True when a refused value can be fetched anew."""
        self._fetch: Callable[[], str] | None = None
        self._value: str | None = None
        if callable(value):
            self._fetch = value
        else:
            self._value = _checked(value, name)

    @property
    def loaded(self) -> bool:
        """False when `load` has to be called before `reveal`."""
        return self._value is not None

    @unseen
    def load(self) -> None:
        """Fetch the value if it is not there. May block.

        Raises ConfigError when it cannot be a credential, and whatever the fetching function raises.
        """
        if self._value is None and self._fetch is not None:
            self._value = _checked(self._fetch(), self.name)

    def forget(self) -> None:
        """Drop a value that was refused, when it can be fetched anew."""
        if self.renewable:
            self._value = None

    def reveal(self) -> str:
        """Return the credential itself, to be put into a request and nowhere else."""
        self.load()
        if self._value is None:  # pragma: no cover - load sets it or raises
            raise ConfigError(f"{self.name} is not set")
        return self._value

    def __repr__(self) -> str:
        return "Secret(***)"

    def __str__(self) -> str:
        return "***"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is not written anywhere, so it cannot be pickled")

    def __getstate__(self) -> NoReturn:
        # Python 3.11 gives every object one that tells its slots.
        raise TypeError("a Secret is not written anywhere, so it has no state to give")


class Masked(dict[str, V]):
    """A mapping that holds credentials. Its repr shows the keys alone, for frames whose locals somebody prints."""

    def __repr__(self) -> str:
        return f"<{', '.join(self)}: ***>"


if TYPE_CHECKING:
    SecretText: TypeAlias = str | Callable[[], str] | Secret
    """What a setting that holds a credential accepts: a text, a function that returns it, or a Secret."""
else:
    # msgspec converts by the run-time annotation, and a custom type cannot stand in a union with str.
    SecretText = Secret


@unseen
def as_secret(value: SecretText, name: str) -> Secret:
    """Return `value` as a Secret called `name`."""
    return value if isinstance(value, Secret) else Secret(value, name)


def _checked(value: str, name: str) -> str:
    """Return `value`; raise ConfigError, which names the setting and never the value, if it is no credential."""
    fault = fault_of(value)
    if fault is not None:
        raise ConfigError(f"{name} {fault}")
    return value


def is_header_value(value: str) -> bool:
    """True for what may stand in a header as a credential: printable ASCII, and no blank at an end."""
    return _HEADER.fullmatch(value) is not None


def fault_of(value: object) -> str | None:
    """What keeps `value` from being sent as a credential, as the end of a sentence that never holds it; None if nothing.

    A credential is printable ASCII without blanks: a stray line break would end a header, and is what a careless copy
    leaves behind.
    """
    if not isinstance(value, str):
        return "must be a text"
    if not value:
        return "is empty"
    if len(value) > _MAX_LENGTH:
        return f"is longer than {_MAX_LENGTH} characters, so it cannot be a credential"
    if _LEGAL.fullmatch(value) is None:
        fault = (
            "a line break" if "\n" in value or "\r" in value else "a blank" if " " in value else "a character"
        )
        where = "" if fault != "a character" else " outside printable ASCII"
        return f"holds {fault}{where}; a credential is one word. Remove it and try again"
    return None
