"""How a source proves who it is. Nothing here sends anything.

A scheme gives headers; when it needs a token first, it gives the call that fetches one. The engine sends that call,
one at a time for each source, and asks `rejected` once when the provider answers 401, or an adapter says that another token may do (an AuthError whose reason
is `token`).
"""

import re
from base64 import b64encode
from collections.abc import Mapping
from http import HTTPStatus
from typing import Literal, Protocol

import msgspec

from bulkstatus._call import Call, Request, Response
from bulkstatus._reply import decode, status_error
from bulkstatus._secrets import Secret, SecretText, as_secret, fault_of
from bulkstatus._unseen import unseen
from bulkstatus.errors import (
    AuthError,
    BulkStatusError,
    ConfigError,
    NotFound,
    ProtocolError,
    RequestRejected,
)

_HEADER_NAME = re.compile(r"[A-Za-z0-9-]{1,64}")
_SHORTEST, _LONGEST, _UNSAID = 30.0, 86_400.0, 300.0
_EARLY = 30.0
_FAR = 10**15


class Auth(Protocol):
    """A scheme. Implementations hold mutable state, so each source has its own."""

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """The credentials behind it; the engine loads them (that may block) before it asks for headers."""
        ...

    def renewal(self, now: float) -> Call[None] | None:
        """The call that must be sent first, or None. `now` is in seconds on a monotonic clock."""
        ...

    def headers(self) -> dict[str, str]:
        """The headers that carry the credentials."""
        ...

    def rejected(self, sent: Mapping[str, str]) -> bool:
        """The provider refused a request with the headers `sent`; True when other ones can now be had."""
        ...


class _Static:
    """One header with a credential that is given, not fetched by us."""

    def __init__(self, header: str, prefix: str, secret: Secret) -> None:
        if _HEADER_NAME.fullmatch(header) is None:
            raise ConfigError(f"{header[:64]!r} cannot be the name of a header")
        self._header = header
        self._prefix = prefix
        self._secret = secret

    def __repr__(self) -> str:
        return f"<{self._header}: {self._prefix}***>"

    @property
    def secrets(self) -> tuple[Secret, ...]:
        return (self._secret,)

    def renewal(self, now: float) -> Call[None] | None:
        del now
        return None

    def headers(self) -> dict[str, str]:
        return {self._header: f"{self._prefix}{self._secret.reveal()}"}

    def rejected(self, sent: Mapping[str, str]) -> bool:
        if not self._secret.renewable:
            return False
        if self._secret.loaded and self.headers()[self._header] == sent.get(self._header):
            self._secret.forget()
        return True


@unseen
def bearer(token: SecretText, *, name: str = "token") -> Auth:
    """`Authorization: Bearer` (RFC 6750). A `token` that is a function is asked again after a 401."""
    return _Static("Authorization", "Bearer ", as_secret(token, name))


@unseen
def api_key(key: SecretText, *, header: str = "api-key", name: str = "api_key") -> Auth:
    """A key in a header of the provider's choice."""
    return _Static(header, "", as_secret(key, name))


class _Basic:
    """A user and a password, written as one text."""

    def __init__(self, user: Secret, password: Secret | None) -> None:
        self.secrets = (user,) if password is None else (user, password)

    def __repr__(self) -> str:
        return "<Authorization: Basic ***>"

    def renewal(self, now: float) -> Call[None] | None:
        del now
        return None

    @unseen
    def headers(self) -> dict[str, str]:
        user, *password = (secret.reveal() for secret in self.secrets)
        if ":" in user:
            raise ConfigError(
                f"{self.secrets[0].name} holds a colon, which ends it in this kind of credentials"
            )
        pair = f"{user}:{''.join(password)}"
        return {"Authorization": f"Basic {b64encode(pair.encode()).decode('ascii')}"}

    def rejected(self, sent: Mapping[str, str]) -> bool:
        renewable = [secret for secret in self.secrets if secret.renewable]
        if all(secret.loaded for secret in self.secrets) and self.headers().items() <= sent.items():
            for secret in renewable:
                secret.forget()
        return bool(renewable)


@unseen
def basic(
    user: SecretText,
    password: SecretText | None = None,
    *,
    name: str = "user",
    password_name: str = "password",  # noqa: S107 - the name of a setting
) -> Auth:
    """`Authorization: Basic` (RFC 7617), also for a key that is sent as the user, without a password.

    Those that are functions are asked again after a 401. A user that holds a colon is a ConfigError.
    """
    return _Basic(as_secret(user, name), None if password is None else as_secret(password, password_name))


class _All:
    """Several schemes on every request."""

    def __init__(self, parts: tuple[Auth, ...]) -> None:
        self._parts = parts

    def __repr__(self) -> str:
        return f"<{' + '.join(map(repr, self._parts))}>"

    @property
    def secrets(self) -> tuple[Secret, ...]:
        return tuple(secret for part in self._parts for secret in part.secrets)

    def renewal(self, now: float) -> Call[None] | None:
        return next((call for part in self._parts if (call := part.renewal(now)) is not None), None)

    def headers(self) -> dict[str, str]:
        return {name: value for part in self._parts for name, value in part.headers().items()}

    def rejected(self, sent: Mapping[str, str]) -> bool:
        # Every part is told; any() would stop at the first.
        return sum(part.rejected(sent) for part in self._parts) > 0


def all_of(*parts: Auth) -> Auth:
    """Send all the schemes' headers on every request."""
    return _All(parts)


class TokenReply(msgspec.Struct, frozen=True):
    """The members of a token answer that are read (RFC 6749, 5.1 and 5.2), all of them optional and unchecked."""

    access_token: object = None
    token_type: object = None
    expires_in: object = None
    expires_at: object = None
    error: object = None
    error_description: object = None

    def __repr__(self) -> str:
        # It stands in frames whose locals somebody prints.
        return "<an answer of a token endpoint>"


_TOKEN_REPLY = msgspec.json.Decoder(TokenReply)


class _AppToken:
    """OAuth 2 client credentials, sent in the form body; the token they give is kept in memory only."""

    def __init__(
        self,
        request: Request,
        client_id: Secret,
        client_secret: Secret,
        expires_at_unit: Literal["ms", "s"] | None,
    ) -> None:
        self._request = request
        self._client_id = client_id
        self._client_secret = client_secret
        self._expires_at_unit = expires_at_unit
        self._now = 0.0
        self._token: Secret | None = None
        self._renew_at = 0.0

    def __repr__(self) -> str:
        return "<Authorization: Bearer *** (client credentials)>"

    @property
    def secrets(self) -> tuple[Secret, ...]:
        return (self._client_id, self._client_secret)

    def renewal(self, now: float) -> Call[None] | None:
        if self._token is not None and now < self._renew_at:
            return None
        form = {
            "grant_type": "client_credentials",
            "client_id": self._client_id,
            "client_secret": self._client_secret,
        }
        request = msgspec.structs.replace(self._request, form=tuple(form.items()))

        def read(response: Response) -> None:
            self._keep(response, now)

        return Call(request, read)

    @unseen
    def _keep(self, response: Response, asked_at: float) -> None:
        try:
            reply = _read_token_reply(response)
        except BulkStatusError as error:
            raise error.redact(secret.reveal() for secret in self.secrets) from None
        fault = _unusable(reply)
        if fault is not None:
            raise _bad_token_reply(response, fault)
        lifetime = self._lifetime(reply, response)
        # Counted from the moment of asking, on the monotonic clock: no wall clock has to agree with the provider's.
        self._renew_at = asked_at + (lifetime - _EARLY if lifetime > 2 * _EARLY else lifetime / 2)
        self._token = Secret(str(reply.access_token), "access_token")

    def _lifetime(self, reply: TokenReply, response: Response) -> float:
        seconds = _number(reply.expires_in)
        if seconds is None and self._expires_at_unit is not None:
            ends = _number(reply.expires_at)
            if ends is not None:
                scale = 1000 if self._expires_at_unit == "ms" else 1
                seconds = ends / scale - response.received_at.timestamp()
        return min(_LONGEST, max(_SHORTEST, _UNSAID if seconds is None else seconds))

    def headers(self) -> dict[str, str]:
        if self._token is None:
            raise AuthError("there is no app token yet", reason="no_token")
        return {"Authorization": f"Bearer {self._token.reveal()}"}

    def rejected(self, sent: Mapping[str, str]) -> bool:
        if self._token is not None and sent.get("Authorization") == self.headers()["Authorization"]:
            self._token = None
            for secret in self.secrets:
                secret.forget()
        return True


@unseen
def app_token(
    request: Request,
    *,
    client_id: SecretText,
    client_secret: SecretText,
    expires_at_unit: Literal["ms", "s"] | None = None,
) -> Auth:
    """OAuth 2 client credentials (RFC 6749, 4.4), the credentials in the form body and the token as a bearer.

    `request` says where tokens are had. A token is renewed 30 seconds before it ends and once after a 401. Its
    life is `expires_in` (30 seconds to 24 hours, 5 minutes when unsaid), or `expires_at` in `expires_at_unit`.
    """
    return _AppToken(
        request, as_secret(client_id, "client_id"), as_secret(client_secret, "client_secret"), expires_at_unit
    )


def _read_token_reply(response: Response) -> TokenReply:
    """What the token endpoint said. Raises AuthError where it refused the credentials, and what the status means else.

    RFC 6749, 5.2 refuses with 400 or 401, and 403 says as much. Any other status says nothing about the credentials.
    """
    if response.status == HTTPStatus.OK:
        reply = _decoded(response)
        if reply is None:
            raise _bad_token_reply(response, "is not a JSON object")
        if not reply.error:
            return reply
        raise _refused(response, reply)
    # Any JSON is good enough here: both readings of a 404 say that it is not the credentials.
    error = status_error(response, own=True)
    if isinstance(error, NotFound):
        # Not the error of its own class, which would say that a bulk is not there.
        raise ProtocolError(
            "there is no token endpoint at this address; check the base URL for authentication",
            status=response.status,
            reason="no_token_endpoint",
        )
    if isinstance(error, AuthError):
        raise _refused(response, _decoded(response) or TokenReply())
    if isinstance(error, RequestRejected) and response.status < HTTPStatus.INTERNAL_SERVER_ERROR:
        reply = _decoded(response) or TokenReply()
        if response.status == HTTPStatus.BAD_REQUEST:
            raise _refused(response, reply)
        raise status_error(response, detail=_words(reply))
    raise error


def _decoded(response: Response) -> TokenReply | None:
    """The answer, or None where it is not a JSON object. No error is left behind: its frames would hold the body."""
    try:
        return decode(response, _TOKEN_REPLY.decode)
    except ProtocolError:
        return None


def _words(reply: TokenReply) -> str | None:
    words = [text for text in (reply.error, reply.error_description) if isinstance(text, str)]
    return ": ".join(words) or None


def _refused(response: Response, reply: TokenReply) -> AuthError:
    return AuthError(
        "the token endpoint refused the client credentials",
        status=response.status,
        detail=_words(reply),
        reason="client_credentials",
    )


def _unusable(reply: TokenReply) -> str | None:
    """Why there is no token to be had from `reply`, or None. Raises nothing: a frame here holds the token."""
    token, kind = reply.access_token, reply.token_type
    if not isinstance(token, str) or not token or (isinstance(kind, str) and kind.lower() != "bearer"):
        return "holds no bearer access_token"
    fault = fault_of(token)
    return None if fault is None else f"cannot be used: access_token {fault}"


def _bad_token_reply(response: Response, why: str) -> AuthError:
    return AuthError(f"the token endpoint's answer {why}", status=response.status, reason="bad_token_reply")


def _number(value: object) -> float | None:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 20:  # noqa: PLR2004
        return float(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(min(max(value, -_FAR), _FAR))
    return None
