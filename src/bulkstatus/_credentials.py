"""The credentials of one source while it is used: fetched once for all who wait, renewed, kept out of sight."""

import re
from collections.abc import Awaitable, Callable, Iterable
from copy import copy
from functools import cached_property

import anyio
import anyio.to_thread
import msgspec

from bulkstatus._auth import Auth
from bulkstatus._call import Call, Response
from bulkstatus._secrets import Masked, Secret
from bulkstatus._text import spellings
from bulkstatus._unseen import unseen
from bulkstatus.errors import AuthError, BulkStatusError

# A secret shorter than this, or one of digits, may stand in a reply by chance; taking it out would change an id.
_TELLING = re.compile(r"(?=.*[^0-9]).{16,}", re.DOTALL)

_ESCAPE = re.compile(rb"\\(?:u00([2-7][0-9A-Fa-f])|.)", re.DOTALL)
# Each takes a third of a microsecond, and no other source is served meanwhile.
_MOST_ESCAPES = 20_000


class NoCredentials(Exception):
    """The credentials could not be had. Their own retries are behind it, so the question's do not begin."""

    def __init__(self, error: BulkStatusError) -> None:
        super().__init__()
        self.error = error


class Headers(Masked[str]):
    """Headers that carry credentials. `tries` says how often credentials had been fetched when they were given."""

    tries: int = 0

    def values_alone(self) -> list[str]:
        """The credentials without the word for their kind."""
        return [value.rpartition(" ")[2] for value in self.values()]

    @cached_property
    def _written(self) -> tuple[bytes, ...]:
        """As they may stand in a reply: found out once, since the same headers go with every request."""
        return tuple(
            text.encode()
            for value in spellings(filter(_TELLING.fullmatch, self.values_alone()))
            for text in _in_json(value)
        )

    def scrub(self, response: Response) -> Response:
        """The reply without credentials that the provider repeats in it."""
        body = _unescaped(response.body, self._written)
        for text in self._written:
            body = body.replace(text, b"***")  # the same object where there is nothing to replace
        return response if body is response.body else msgspec.structs.replace(response, body=body)


def _in_json(text: str) -> Iterable[str]:
    """As writers of JSON have it, some of which put a backslash before each slash; as it is comes last.

    Taken out in that order, a quotation mark at its beginning leaves no backslash behind.
    """
    quoted = text.replace("\\", r"\\").replace('"', r"\"")
    return dict.fromkeys(form for each in (quoted, text) for form in (each, each.replace("/", r"\/")))


def _unescaped(body: bytes, secrets: Iterable[bytes]) -> bytes:
    """`body` with plain characters in the place of their JSON escapes, where one of `secrets` comes to light by that.

    .NET's writer escapes the `+` of a token by default, others `&`, `<` and `=`. To JSON, both are the same text.
    """
    if b"\\u00" not in body or body.count(b"\\") > _MOST_ESCAPES:
        return body
    plain = _ESCAPE.sub(_unescape, body)
    return plain if any(secret in plain for secret in secrets) else body


def _unescape(escape: re.Match[bytes]) -> bytes:
    if escape[0] == rb"\/":
        return b"/"
    character = bytes.fromhex(escape[1].decode()) if escape[1] else b""
    if not character or character == b"\x7f":
        return escape[0]
    return b"\\" + character if character in b'"\\' else character


class Credentials:
    """Gives the headers of a source's scheme, after whatever has to be loaded or fetched for them.

    `fetch` sends a call for a token, `clock` gives monotonic seconds.
    """

    def __init__(
        self, auth: Auth, fetch: Callable[[Call[None]], Awaitable[None]], clock: Callable[[], float]
    ) -> None:
        self._auth = auth
        self._fetch = fetch
        self._clock = clock
        self._lock = anyio.Lock()
        self._tries = 0
        self._trying = False
        self._error: BulkStatusError | None = None
        self._given = Headers()

    @unseen
    def loaded(self) -> list[str]:
        """What the headers come from, such as the secret that a token was fetched for."""
        return [secret.reveal() for secret in self._auth.secrets if secret.loaded]

    def rejected(self, sent: Headers) -> bool:
        """The provider refused `sent`; True when others can be had.

        Of several questions with the same headers the first has them renewed. What was fetched since may be the
        same text again, so it is told by the count and not by comparing.
        """
        if sent.tries != self._tries or self._trying:
            return True
        return self._auth.rejected(sent)

    async def headers(self) -> Headers:
        """The headers to send, the same object as long as they say the same. Raises NoCredentials."""
        if not self._ready():
            tries = self._tries
            async with self._lock:
                if self._tries != tries and self._error is not None:
                    # Somebody else tried while this question waited its turn; the answer serves for both.
                    raise NoCredentials(copy(self._error))
                if not self._ready():
                    await self._try()
        said = Headers(self._auth.headers())
        if self._given != said or self._given.tries != self._tries:
            said.tries = self._tries
            self._given = said
        return self._given

    def _ready(self) -> bool:
        loaded = all(secret.loaded for secret in self._auth.secrets)
        return loaded and self._auth.renewal(self._clock()) is None

    async def _try(self) -> None:
        self._error = None
        self._trying = True
        try:
            await self._renew()
        except BulkStatusError as error:
            self._error = error
            raise NoCredentials(error) from error
        finally:
            self._tries += 1
            self._trying = False

    async def _renew(self) -> None:
        for secret in self._auth.secrets:
            if not secret.loaded:
                await anyio.to_thread.run_sync(_load, secret, abandon_on_cancel=True)
        # As of the beginning: a token that is slow in coming and ends soon is tried, not fetched for ever.
        began = self._clock()
        while (call := self._auth.renewal(began)) is not None:
            await self._fetch(call)


@unseen
def _load(secret: Secret) -> None:
    """Fetch a secret, on a thread of its own; whatever goes wrong there is a matter of these credentials alone."""
    error = _failure_of(secret)
    if error is not None:
        raise error


def _failure_of(secret: Secret) -> BulkStatusError | None:
    """What went wrong, returned: an error raised where another is handled keeps that one and its frames behind it."""
    try:
        secret.load()
    except BulkStatusError as error:
        return error
    except BaseException as error:  # noqa: BLE001 - a user's function; its text may hold the credential, and it may exit
        return AuthError(f"the credentials could not be fetched ({type(error).__name__})", reason="secret")
    return None
