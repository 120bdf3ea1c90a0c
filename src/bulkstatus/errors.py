"""Everything bulkstatus raises, under one base.

::

    BulkStatusError
    ├── ConfigError        a setting, an argument or a reference is wrong; nothing was sent   (also ValueError)
    ├── AuthError          the provider, or a secret's store, refused the credentials
    ├── NotFound           the provider does not know the bulk, or no longer does           (also LookupError)
    ├── RateLimited        the provider asks to slow down; `retry_after` says for how long
    ├── Unavailable        the provider could not be reached, or could not answer
    ├── ProtocolError      the answer was not understood
    ├── RequestRejected    the provider understood the request and refuses it
    ├── DeadlineExceeded   our own deadline came first                                      (also TimeoutError)
    ├── JournalError       the journal could not be read or written; says nothing about any bulk
    └── VerdictError       not every bulk of a wait succeeded; only `Outcome.raise_for_verdict` raises it

Apart from the last, none of these ever means that a *bulk* failed: that is a state, and comes back as one. An error
means that the question could not be asked or answered. Branches are for `except`; `reason` adds the fine print
(`tls_untrusted`, `redirect_refused`, ...), and `status`, `code` and `request_id` are what the provider's support
asks for. Every error pickles, and none holds a secret.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar, Self

from bulkstatus._text import SHORTEST_SECRET as _SHORTEST_SECRET
from bulkstatus._text import printable
from bulkstatus._text import telling as _telling

if TYPE_CHECKING:
    from bulkstatus._outcome import Outcome

__all__ = [
    "AuthError",
    "BulkStatusError",
    "ConfigError",
    "DeadlineExceeded",
    "JournalError",
    "NotFound",
    "ProtocolError",
    "RateLimited",
    "RequestRejected",
    "Unavailable",
    "VerdictError",
    "error_for_kind",
]

_LONGEST_MESSAGE = 4_096


class BulkStatusError(Exception):
    """The base of all errors of this library.

    `message` is a plain sentence on one line, whoever wrote it. `source` and `provider` say who was asked (empty when nobody was). `id` is the
    bulk it was about. `status` is the HTTP status, or the status the provider put into its body. `code` is the
    provider's own error code and `detail` its own words, made printable. `request_id` is what its support asks
    for. `retryable` says whether asking the same again later can help. `retry_after` is in seconds.
    """

    kind: ClassVar[str] = "error"
    default_retryable: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        source: str = "",
        provider: str = "",
        id: str | None = None,
        status: int | None = None,
        code: str | None = None,
        detail: str | None = None,
        reason: str | None = None,
        request_id: str | None = None,
        retryable: bool | None = None,
        retry_after: float | None = None,
    ) -> None:
        message = printable(message, _LONGEST_MESSAGE)
        super().__init__(message)
        self.message = message
        self.source = source
        self.provider = provider
        self.id = id
        self.status = status
        self.code = None if code is None else printable(code, 128)
        self.detail = None if detail is None else printable(detail)
        self.reason = reason
        self.request_id = None if request_id is None else printable(request_id, 128)
        self.retryable = self.default_retryable if retryable is None else retryable
        self.retry_after = retry_after

    def __str__(self) -> str:
        who = (
            f"{self.source} ({self.provider})"
            if self.source and self.provider
            else self.source or self.provider
        )
        what = f"{who}: {self.message}" if who else self.message
        if self.detail:
            what = f"{what}: {self.detail}"
        facts = [
            f"{label} {value}"
            for label, value in (("HTTP", self.status), ("code", self.code), ("request", self.request_id))
            if value is not None
        ]
        return f"{what} [{', '.join(facts)}]" if facts else what

    def about(self, *, source: str, provider: str, id: str | None = None) -> Self:
        """Say who was asked, where that is not yet known, and return the same error."""
        self.source = self.source or source
        self.provider = self.provider or provider
        self.id = self.id if self.id is not None else id
        return self

    def redact(self, secrets: Iterable[str]) -> Self:
        """Take every one of `secrets` out of the texts, and return the same error: providers repeat what they get.

        What is shorter than 6 characters is left alone: it protects nothing, and stands in half of all sentences.
        """
        for secret in _telling(secrets):
            for name in ("message", "detail", "code", "request_id"):
                text: str | None = getattr(self, name)
                if text:
                    setattr(self, name, _without(text, secret))
        self.args = (self.message,)
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.message), self.__dict__.copy()


def _without(text: str, secret: str) -> str:
    """The text with `***` in the place of a secret, also of one that the end of a text which was cut has cut."""
    text = text.replace(secret, "***")
    if text.endswith("…"):
        for length in range(len(secret) - 1, _SHORTEST_SECRET - 1, -1):
            if text.endswith(f"{secret[:length]}…"):
                return f"{text[: -length - 1]}***…"
    return text


def _rebuild(cls: type[BulkStatusError], message: str) -> BulkStatusError:
    return cls(message)


class ConfigError(BulkStatusError, ValueError):
    """A setting, an argument or a reference is wrong. Nothing was sent; the message names it."""

    kind = "config"


class AuthError(BulkStatusError):
    """The credentials were refused, or could not be had from where they are kept."""

    kind = "auth"


class NotFound(BulkStatusError, LookupError):
    """The provider does not know this bulk: never there, not visible to these credentials, or deleted since."""

    kind = "not_found"


class RateLimited(BulkStatusError):
    """The provider asks to slow down. `retry_after` is the pause in seconds it asked for, or None."""

    kind = "rate_limited"
    default_retryable = True


class Unavailable(BulkStatusError):
    """The provider could not be reached, or said that it cannot answer now."""

    kind = "unavailable"
    default_retryable = True


class ProtocolError(BulkStatusError):
    """The answer was not what the provider's documentation describes, so nothing is concluded from it."""

    kind = "protocol"


class RequestRejected(BulkStatusError):
    """The provider understood the request and will not carry it out."""

    kind = "rejected"


class DeadlineExceeded(BulkStatusError, TimeoutError):
    """The caller's own deadline came before the answer. Says nothing about the bulk."""

    kind = "deadline"
    default_retryable = True


class JournalError(BulkStatusError):
    """The journal could not be read or written. What is asked of providers goes on without it.

    `reason` is `locked`, `full`, `readonly`, `corrupt`, `newer`, `foreign`, `unusable`, `busy` (a wait that another
    process waits for) or `io`.
    """

    kind = "journal"


class VerdictError(BulkStatusError):
    """A wait is over and not every bulk succeeded. `outcome` says which did not, and how each stands.

    What `Outcome.raise_for_verdict` raises, and nothing else. Not every such bulk failed: one may go on, or could not
    be observed.
    """

    kind = "verdict"

    def __init__(
        self,
        message: str,
        *,
        outcome: "Outcome | None" = None,
        **facts: Any,  # noqa: ANN401 - those of the base, handed on as they are
    ) -> None:
        super().__init__(message, **facts)
        self.outcome = outcome


_BY_KIND: dict[str, type[BulkStatusError]] = {
    cls.kind: cls
    for cls in (
        ConfigError,
        AuthError,
        NotFound,
        RateLimited,
        Unavailable,
        ProtocolError,
        RequestRejected,
        DeadlineExceeded,
        JournalError,
        VerdictError,
    )
}


def error_for_kind(kind: str) -> type[BulkStatusError]:
    """Return the class that carries `kind`; the base for a kind that is not known here."""
    return _BY_KIND.get(kind, BulkStatusError)
