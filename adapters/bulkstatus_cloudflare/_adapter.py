"""How a bulk operation on Cloudflare Lists stands.

https://developers.cloudflare.com/api/resources/rules/subresources/lists/subresources/bulk_operations/methods/get/
"""

import re
from collections.abc import Set as AbstractSet
from contextlib import suppress
from datetime import datetime
from functools import partial
from http import HTTPStatus
from typing import ClassVar

from bulkstatus.adapter import (
    MIB,
    Adapter,
    Auth,
    BaseUrl,
    BulkStatus,
    Call,
    IdGrammar,
    Limit,
    Remaining,
    Request,
    Response,
    Secret,
    SecretText,
    State,
    Vocabulary,
    all_of,
    api_key,
    as_secret,
    bad_shape,
    bearer,
    from_text,
    printable,
    retry_after,
    status_error,
    unreadable_time,
    wrong_id,
)
from bulkstatus.errors import (
    AuthError,
    BulkStatusError,
    ConfigError,
    NotFound,
    ProtocolError,
    RateLimited,
    RequestRejected,
)
from bulkstatus_cloudflare._wire import (
    Envelope,
    Result,
    least_left,
    read_envelope,
    read_faults,
    read_result,
    seconds_to_reset,
    tells_failure,
)

_BULK = Vocabulary(
    "cloudflare bulk",
    {
        "pending": State.QUEUED,
        "running": State.RUNNING,
        "completed": State.SUCCEEDED,
        "failed": State.FAILED,
    },
)

# Cloudflare publishes no list of error codes. These are the ones seen in public reports about its API, with HTTP
# 400, 401 and 403 (auth), 400 and 404 (identifiers), 429 and 200 (throttling): the status alone tells too little.
_MALFORMED = frozenset({6003, 6102, 6103, 6111})
_AUTH = frozenset({1000, 1001, 9106, 9109, 9300, 10000, 10001}) | _MALFORMED
# Codes of credentials that were good once, perhaps: a token that is fetched may be fetched anew, once.
_STALE = frozenset({1000, 9109, 9300, 10000})
_IDENTIFIER = 7003
# Beside 7003 or alone: the whole address leads nowhere, be it the id, the account or the base URL that is wrong.
_NO_ROUTE = 7000
_THROTTLE = frozenset({971, 10021, 10040, 10100})

_AUTH_MESSAGES = {
    10000: "the credentials were not accepted: a bad token, or one without the permission Account Filter Lists "
    "Read, or an account_id it does not reach; Cloudflare does not say which",
    10001: "the credentials were not accepted; this endpoint may want a token in place of email and api_key",
    9106: "no credentials arrived at the provider",
    9109: "the credentials may not be used for this, or not from this address",
}

_ACCOUNT_ID = re.compile(r"[A-Za-z0-9]{32}")
# https://developers.cloudflare.com/fundamentals/api/get-started/token-formats/
_GLOBAL_KEY = re.compile(r"cfk_.*|[0-9A-Fa-f]{37,45}")
_TOKEN_PREFIXES = ("cfut_", "cfat_")
_QUOTES = ("'", '"', "`")
_NOBODYS_ID = "0" * 32


class Cloudflare(Adapter, frozen=True, kw_only=True):
    """The bulk operations of one Cloudflare account.

    `account_id` is the account's 32 letters and digits. Give either `token`, an API token with the permission
    Account Filter Lists Read, or `email` and `api_key`, the legacy global key and its owner. `base_url` is for
    proxies in front of the API and keeps its path.

    Raises ConfigError, before anything is sent, for settings that cannot work. There is no listing at the provider:
    bulks are asked for by id. https://developers.cloudflare.com/waf/tools/lists/lists-api/
    """

    provider: ClassVar[str] = "cloudflare"
    # Every published example is 32 hex digits, but the documentation promises neither length nor alphabet.
    id_grammar: ClassVar[IdGrammar] = IdGrammar(
        r"(?!-)[A-Za-z0-9_-]{1,128}",
        "1 to 128 letters, digits, hyphens and underscores, not beginning with a hyphen",
    )
    limits: ClassVar[tuple[Limit, ...]] = (Limit(1200, 300),)
    # A quarter: the user's dashboard and all their other tools draw on the same 1,200, and going over blocks them all
    # for 5 minutes (https://developers.cloudflare.com/fundamentals/api/reference/limits/). And never many at once.
    share: ClassVar[tuple[Limit, ...] | None] = (Limit(20, 5), Limit(300, 300))
    account_by: ClassVar[tuple[str, ...]] = ("account_id",)
    poll_floor: ClassVar[float] = 1.0
    poll_ceiling: ClassVar[float] = 30.0

    account_id: str
    token: SecretText | None = None
    email: str | None = None
    api_key: SecretText | None = None
    base_url: BaseUrl = "https://api.cloudflare.com/client/v4"

    def __post_init__(self) -> None:
        super().__post_init__()
        if _ACCOUNT_ID.fullmatch(str(self.account_id)) is None:
            raise ConfigError("account_id must be exactly 32 letters and digits, as the dashboard shows it")
        _check_one_way(token=self.token, email=self.email, key=self.api_key)
        for name in ("token", "email", "api_key"):
            _check_quotes(getattr(self, name), name)

    def auth(self) -> Auth:
        if self.email is not None and self.api_key is not None:
            return all_of(
                api_key(self.email, header="X-Auth-Email", name="email"),
                api_key(self.api_key, header="X-Auth-Key"),
            )
        if self.token is None:  # pragma: no cover - refused when the adapter was made
            raise ConfigError("token is not set")
        return bearer(self.token)

    def status(self, id: str) -> Call[BulkStatus]:
        """The call for bulk `id`. A failed bulk is an answer; its reading raises only when there is none.

        Raises NotFound for ids that Cloudflare cannot route, AuthError, RateLimited and the rest of
        `bulkstatus.errors`, each with Cloudflare's code, words and `cf-ray`.
        """
        return Call(self._request(id), partial(self._read, id))

    def remaining(self, response: Response) -> Remaining | None:
        """What the answer's `Ratelimit` header says is left to this user, whatever they use the API with.

        Told since 2025-09: https://developers.cloudflare.com/changelog/2025-09-03-rate-limiting-improvement
        """
        headers = response.headers
        told = least_left(headers.get("ratelimit", ""), headers.get("ratelimit-policy", ""))
        if told is None:
            return None
        left, of, seconds = told
        return Remaining(left, self.limits[0].requests if of is None else of, seconds)

    def probe(self) -> Call[None]:
        """The status call with an id of 32 zeros: "not found" means that the credentials were accepted.

        Cloudflare has no cheaper proof of a permission. It answers some wrong account ids like a wrong bulk id, so
        this proves the credentials and not the account.
        """

        def read(response: Response) -> None:
            with suppress(NotFound):
                self._read(_NOBODYS_ID, response)

        return Call(self._request(_NOBODYS_ID), read)

    def _request(self, id: str) -> Request:
        path = ("accounts", self.account_id, "rules", "lists", "bulk_operations", id)
        return Request.to(self.base_url, *path, body_limit=MIB)

    def _read(self, id: str, response: Response) -> BulkStatus:
        try:
            result, evidence = self._accepted(response)
            return self._bulk(id, result, evidence, response)
        except BulkStatusError as error:
            # https://developers.cloudflare.com/fundamentals/reference/cloudflare-ray-id/
            ray = response.headers.get("cf-ray")
            error.request_id = None if ray is None else printable(ray, 128)
            raise

    def _accepted(self, response: Response) -> tuple[Result, tuple[str, ...]]:
        """The result, where the answer is one; otherwise the error is raised."""
        if not _is_ok(response):
            raise self._failure(response, _envelope(response))
        envelope = read_result(response)
        if tells_failure(envelope):
            raise self._failure(response, envelope)
        result = envelope.result
        if not isinstance(result, Result):
            raise bad_shape(response, "the value at `$.result` is not an object")
        if envelope.success is True:
            return result, ()
        # Some stand-ins for the API leave `success` out.
        if envelope.success is None and result.status:
            return result, ("The answer did not say `success`; it was taken by its status.",)
        raise bad_shape(response, "the value at `$.success` is not true")

    def _bulk(self, id: str, result: Result, evidence: tuple[str, ...], response: Response) -> BulkStatus:
        got = _text(response, "id", result.id) or _text(response, "operation_id", result.operation_id)
        # Exactly: the documentation gives ids no pattern, so two that differ in case may be two bulks.
        if got and got != id:
            raise wrong_id(response, asked=id, got=got)
        if not got:
            evidence += ("The answer did not repeat the id.",)
        word = _text(response, "status", result.status)
        state, why = _BULK.read(word, self.state_map)
        finished_at, about_time = _finished(result.completed, state, response)
        error, about_error = _reason(result.error, state)
        return BulkStatus(
            source=response.source,
            provider=self.provider,
            id=id,
            state=state,
            native_state=word,
            finished_at=finished_at,
            observed_at=response.received_at,
            error=error,
            evidence=why + evidence + about_time + about_error,
        ).carrying(raw=response.body)

    def _failure(self, response: Response, envelope: Envelope | None) -> BulkStatusError:
        """The error that an answer without a result stands for; a known code counts more than the HTTP status."""
        faults = tuple(read_faults(envelope.errors)) if envelope else ()
        codes = frozenset(fault.code for fault in faults if fault.code is not None)
        code = next((str(fault.code) for fault in faults if fault.code is not None), None)
        texts = "; ".join(fault.text for fault in faults if fault.text)
        detail = (texts if envelope else _first_line(response.body)) or None

        if codes & _AUTH:
            message = self._auth_message(codes)
            reason = "token" if codes & _STALE else None
            return AuthError(message, status=response.status, code=code, detail=detail, reason=reason)
        if _NO_ROUTE in codes:
            message = "the provider knows no such address; check base_url, account_id and the bulk's id"
            return RequestRejected(message, status=response.status, code=code, detail=detail)
        if _IDENTIFIER in codes and response.status < HTTPStatus.INTERNAL_SERVER_ERROR:
            message = "no such bulk in this account, or not an id at all"
            return NotFound(message, status=response.status, code=code, detail=detail)
        if codes & _THROTTLE or response.status == HTTPStatus.TOO_MANY_REQUESTS:
            wait = _pause(response)
            asked = "" if wait is None else f"; it asks to wait {wait:g} s"
            message = f"the provider is throttling requests{asked}"
            return RateLimited(message, status=response.status, code=code, detail=detail, retry_after=wait)
        if _is_ok(response):
            # Undocumented, and what is known to come this way (throttling) passes.
            message = "the provider reports an error under a status that means success"
            return RequestRejected(message, status=response.status, code=code, detail=detail, retryable=True)
        # The API says of every failure that it is no success; gateways that answer in JSON have other forms.
        own = envelope is not None and envelope.success is False
        return status_error(response, code=code, detail=detail, own=own)

    def _auth_message(self, codes: AbstractSet[int]) -> str:
        if codes & _MALFORMED:
            return f"the provider cannot read the credentials{self._hint()}"
        known = (text for code, text in _AUTH_MESSAGES.items() if code in codes)
        return next(known, "the credentials were not accepted")

    def _hint(self) -> str:
        """What is odd about the look of the credentials; never the credentials."""
        token, key = _loaded(self.token), _loaded(self.api_key)
        for name, value in (("token", token), ("api_key", key)):
            if value.startswith(_QUOTES) or value.endswith(_QUOTES):
                return f"; {name} is wrapped in quotation marks"
        if _GLOBAL_KEY.fullmatch(token):
            return "; token looks like a global key, which belongs in api_key, with email beside it"
        if key.startswith(_TOKEN_PREFIXES):
            return "; api_key looks like an API token, which belongs in token"
        return ""


def _check_one_way(*, token: SecretText | None, email: str | None, key: SecretText | None) -> None:
    if token is not None and (email is not None or key is not None):
        raise ConfigError(
            "set either token, or email and api_key, but not both: two ways at once are refused"
        )
    if email is not None and key is None:
        raise ConfigError("api_key is missing beside email; set it, or set token in place of both")
    if key is not None and email is None:
        raise ConfigError("email is missing beside api_key; set it, or set token in place of both")
    if token is None and email is None:
        raise ConfigError("there are no credentials: set token, or email and api_key")


def _check_quotes(value: SecretText | None, name: str) -> None:
    if value is None:
        return
    if _is_wrapped(as_secret(value, name)):
        raise ConfigError(f"{name} is wrapped in quotation marks; give the value without them")


def _is_wrapped(value: Secret) -> bool:
    shown = _loaded(value)
    return shown.startswith(_QUOTES) or shown.endswith(_QUOTES)


def _loaded(value: SecretText | None) -> str:
    """The credential if it is at hand, else an empty text; nothing is fetched for it."""
    return value.reveal() if isinstance(value, Secret) and value.loaded else ""


def _is_ok(response: Response) -> bool:
    """True for a success; not for 206, a part of an answer, since no parts are asked for."""
    # Plain numbers: comparing with members of HTTPStatus took a microsecond, a quarter of a whole reading.
    status = response.status
    return 200 <= status < 300 and status != 206  # noqa: PLR2004 - the class of RFC 9110, 15.3


def _envelope(response: Response) -> Envelope | None:
    """The envelope of an error, or None: edges and gateways answer with HTML, plain text or nothing."""
    try:
        return read_envelope(response)
    except ProtocolError:
        return None


def _first_line(body: bytes) -> str:
    """The first line of a body in plain text; the first line of HTML says nothing."""
    line, _, _ = body[:2048].decode("utf-8", "replace").strip().partition("\n")
    return "" if line.startswith("<") else line.strip()


def _pause(response: Response) -> float | None:
    wait = retry_after(response.headers, now=response.received_at)
    return seconds_to_reset(response.headers.get("ratelimit", "")) if wait is None else wait


def _text(response: Response, name: str, value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    raise bad_shape(response, f"the value at `$.result.{name}` is not of the documented type")


# An earlier form of the documentation shows a pending bulk with `completed` and `error` filled in, so both are held
# against the state first (https://github.com/cloudflare/api-schemas, before mid 2025).


def _finished(value: object, state: State, response: Response) -> tuple[datetime | None, tuple[str, ...]]:
    """When the bulk ended, if it did."""
    if value is None or value == "":
        return None, ()
    if not state.is_terminal:
        return None, ("completed is filled in, but the bulk has not ended; it is not used.",)
    if not isinstance(value, str):
        unreadable_time("completed", value)
        return None, ("completed is not a text, so it is not used.",)
    when, doubt = from_text(value, label="completed", now=response.received_at)
    return when, () if doubt is None else (doubt,)


def _reason(value: object, state: State) -> tuple[str | None, tuple[str, ...]]:
    """Why the bulk failed, if it did."""
    if state is not State.FAILED:
        told = value is not None and value != ""
        return None, ("error is filled in, but counts only for a failed bulk.",) if told else ()
    unsure = "A failed bulk may or may not have changed the list; Cloudflare does not say."
    if value in (None, ""):
        return None, (unsure, "The provider gave no reason.")
    if not isinstance(value, str):
        return None, (unsure, "error is not a text, so it is not used.")
    return printable(value), (unsure,)
