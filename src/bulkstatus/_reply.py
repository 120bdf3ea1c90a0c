"""Reading replies: JSON within bounds, and the error a status stands for."""

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TypeVar
from urllib.parse import urlsplit

import msgspec

from bulkstatus._call import Response
from bulkstatus._text import printable
from bulkstatus.errors import (
    AuthError,
    BulkStatusError,
    NotFound,
    ProtocolError,
    RateLimited,
    RequestRejected,
    Unavailable,
)

T = TypeVar("T")

MAX_DEPTH = 64
_NOT_BRACKETS = bytes(set(range(256)) - set(b'[]{}"'))
_NOT_PLACES = bytes(set(range(256)) - set(b'[{,"'))
_BLOCK = 64 * 1024
_ONE_BRACKET = bytes.maketrans(b"[]", b"{}")
_BETWEEN = re.compile(rb"\}\s{0,64},\s{0,64}\{")
_STRINGS = re.compile(rb'"[^"]*"')
_IMF_DATE = re.compile(r"[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT")
_MAX_DIGITS = 9
_PLACE = re.compile(r" - at `(\$(?:\.\w+|\[(?:[0-9]+|\.\.\.)\])*)`\Z", re.ASCII)
_MISSING = re.compile(r"Object missing required field `(\w+)`", re.ASCII)


def decode(response: Response, decoder: Callable[[bytes], T]) -> T:
    """Decode the body with `decoder` (the `decode` of a `msgspec.json.Decoder`).

    Raises ProtocolError, worth one more attempt, for anything that is not the JSON asked for. The message names the
    place and never repeats the provider's values.
    """
    opened = response.body.count(b"[") + response.body.count(b"{")
    if opened > MAX_DEPTH and _is_too_deep(response.body, opened):
        raise _bad_payload(response, f"its JSON is nested deeper than {MAX_DEPTH} levels")
    if not is_within(response, opened):
        _check_values(response)
    try:
        return decoder(response.body)
    except msgspec.ValidationError as error:
        why = _fault(str(error))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        kind = response.headers.get("content-type", "no content type").partition(";")[0]
        why = f"the body is not JSON ({printable(kind, 60)}, {len(response.body)} bytes)"
    # Out here, the decoder's own error is not behind it: that one quotes values.
    raise _bad_payload(response, why) from None


def _is_too_deep(body: bytes, opened: int) -> bool:
    """True for a body, with so many brackets opened in it, that is nested deeper than is read.

    A bracket that directly follows the one closed before it leads no deeper, and one directly behind a quotation mark
    stands in a string. Where few others are left, as in a list of records, none has to be looked at by itself.
    """
    between = _BETWEEN.search(body)
    if between is not None:
        opened -= body.count(between[0])
    if opened > MAX_DEPTH:
        opened -= body.count(b'"{')
    return opened > MAX_DEPTH and _depth(body) > MAX_DEPTH


def is_within(response: Response, opened: int | None = None, *, most: int | None = None) -> bool:
    """True where the body cannot hold more JSON values than its request allows, by what is quickly told of it.

    A value takes two bytes: its own and a comma, or the two brackets around it. `opened` is the number of its brackets,
    `most` how many values there are at most for each `{`, where the decoder takes no others.
    """
    body, limit = response.body, response.value_limit
    if len(body) // 2 < limit:
        return True
    if most is not None and body.count(b"{") * most <= limit:
        return True
    return (body.count(b"[") + body.count(b"{") if opened is None else opened) + body.count(b",") <= limit


def _check_values(response: Response) -> None:
    """Raises ProtocolError when the body holds more JSON values than its request allows.

    Every value but the first follows a comma or stands first in an array or an object, so those are counted, without
    what stands in strings. Three bytes (`{},`) have become 100 of memory.
    """
    if sum(map(_places, _outside_strings(response.body, _NOT_PLACES))) > response.value_limit:
        raise ProtocolError(
            f"the answer holds more than {response.value_limit:,} values",
            status=response.status,
            reason="response_too_large",
        )


def _places(body: bytes) -> int:
    return body.count(b",") + body.count(b"[") + body.count(b"{")


def _outside_strings(body: bytes, dropped: bytes) -> Iterator[bytes]:
    """`body` in parts, without its strings and without the bytes `dropped`, which are all but structure.

    In parts, since substituting in the whole keeps all the pieces until the last: 270 MiB for 8 MiB of short strings.
    """
    start, inside = 0, False
    while start < len(body):
        part = body[start : start + _BLOCK]
        half_an_escape = len(part) == _BLOCK and (_BLOCK - len(part.rstrip(b"\\"))) % 2
        part = part[:-1] if half_an_escape else part
        start += len(part)
        part = part.replace(b"\\\\", b"").replace(b'\\"', b"").translate(_ONE_BRACKET, dropped)
        part = b'"' + part if inside else part
        inside = part.count(b'"') % 2 == 1
        yield _STRINGS.sub(b"", part + b'"' if inside else part)


def _fault(message: str) -> str:
    """What msgspec's `message` says of the place and of a field that is missing; values are never repeated."""
    found = _PLACE.search(message)
    place = found[1] if found else "$"
    missing = _MISSING.match(message)
    if missing:
        return f"`{place}.{missing[1]}` is missing"
    return f"the value at `{place}` is not of the documented type"


def _bad_payload(response: Response, why: str) -> ProtocolError:
    message = f"the answer was not understood: {why}"
    return ProtocolError(message, status=response.status, reason="bad_payload", retryable=True)


def _depth(body: bytes) -> int:
    """How deep the brackets of `body` go, brackets inside strings not counted; an upper bound if it is not JSON."""
    structure = b"".join(_outside_strings(body, _NOT_BRACKETS))
    deepest = 0
    while structure and deepest <= MAX_DEPTH:
        shorter = structure.replace(b"{}", b"")
        if len(shorter) == len(structure):
            return deepest + len(structure)
        structure = shorter
        deepest += 1
    return deepest


def bad_shape(response: Response, why: str) -> ProtocolError:
    """The error for JSON that decodes but does not say what it must."""
    return _bad_payload(response, why)


def wrong_id(response: Response, *, asked: str, got: str | int | None) -> ProtocolError:
    """The error for an answer about another bulk than the one asked for; without an id, it is about none."""
    if got is None or got == "":
        return _bad_payload(response, "a record without an id")
    return ProtocolError(
        f"asked about {asked}, answered about {printable(str(got), 128)}",
        status=response.status,
        reason="id_mismatch",
    )


def retry_after(headers: Mapping[str, str], *, now: datetime) -> float | None:
    """Read `Retry-After` (RFC 9110, 10.2.3): whole seconds, or an HTTP date measured against the reply's own Date.

    Anything else is ignored, a pause of more than nine digits too. Of several values the largest counts. The result
    is in seconds and never negative.
    """
    value = headers.get("retry-after", "").strip()
    date = _imf_date(value)
    if date is not None:
        sent = _imf_date(headers.get("date", "").strip()) or now
        seconds = max(0.0, (date - sent).total_seconds())
        return seconds if seconds < 10**_MAX_DIGITS else None
    parts = [part.strip() for part in value.split(",")]
    if not all(_is_seconds(part) for part in parts):
        return None
    return float(max(int(part) for part in parts))


def whole_seconds(value: str | None) -> float | None:
    """Read a header that holds whole seconds; None for anything else."""
    text = (value or "").strip()
    return float(text) if _is_seconds(text) else None


def _is_seconds(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS


def _imf_date(text: str) -> datetime | None:
    if _IMF_DATE.fullmatch(text) is None:
        return None
    try:
        return parsedate_to_datetime(text).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


_TRANSIENT = frozenset({408, 425, 500, 502, 503, 504, *range(520, 525), 529})
_REFUSED_5XX = frozenset({HTTPStatus.NOT_IMPLEMENTED, HTTPStatus.HTTP_VERSION_NOT_SUPPORTED})
_CONFLICTS = frozenset({HTTPStatus.CONFLICT, HTTPStatus.LOCKED})
_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])


def status_error(  # noqa: C901, PLR0911 - one return a row of the table reads best
    response: Response,
    *,
    status: int | None = None,
    code: str | None = None,
    detail: str | None = None,
    request_id: str | None = None,
    pause: float | None = None,
    hint: str | None = None,
    own: bool = False,
) -> BulkStatusError:
    """The error that an HTTP status other than a usable 2xx stands for.

    `status` is the effective status where a provider repeats it in the body. `pause` is the provider's own request
    to wait, in seconds; without it `Retry-After` is read. `hint` is added to the message.

    `own` says that the adapter has recognised the form in which this provider tells its errors. Only then does a 404 or
    410 say that there is no such bulk: proxies and gateways answer them too, and somebody may submit again what is not
    found. HTML, plain text and what else is no JSON object never say so, whatever `own` says; no body at all may.
    """
    actual = response.status if status is None else status
    wait = pause if pause is not None else retry_after(response.headers, now=response.received_at)

    def error(
        cls: type[BulkStatusError], message: str, *, reason: str | None = None, retryable: bool | None = None
    ) -> BulkStatusError:
        return cls(
            message if hint is None else f"{message}; {hint}",
            status=actual,
            code=code,
            detail=detail,
            request_id=request_id,
            reason=reason,
            retryable=retryable,
            retry_after=wait,
        )

    if actual == HTTPStatus.FORBIDDEN and not _may_be_own(response):
        return error(
            Unavailable, "the network edge in front of the provider blocked the request", reason="edge"
        )
    if actual in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return error(AuthError, "the credentials were not accepted, or do not permit this")
    if actual in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE) and not (own and _may_be_own(response)):
        return error(
            Unavailable,
            "not found, but not in the provider's own words, so it tells nothing of the bulk; check base_url",
            reason="edge",
        )
    if actual == HTTPStatus.NOT_FOUND:
        return error(NotFound, "not found")
    if actual == HTTPStatus.GONE:
        return error(NotFound, "no longer there", reason="gone")
    if actual == HTTPStatus.TOO_MANY_REQUESTS:
        asked = "" if wait is None else f"; it asks to wait {wait:.0f} s"
        return error(RateLimited, f"the provider is throttling requests{asked}")
    if actual in _CONFLICTS:
        return error(RequestRejected, "the request conflicts with the present state", retryable=True)
    if actual in _TRANSIENT or (500 <= actual <= 599 and actual not in _REFUSED_5XX):  # noqa: PLR2004
        return error(Unavailable, "the provider cannot answer now")
    if 400 <= actual <= 599:  # noqa: PLR2004 - the classes of RFC 9110, 15
        return error(RequestRejected, "the provider rejected the request")
    if 300 <= actual <= 399 and actual != HTTPStatus.NOT_MODIFIED:  # noqa: PLR2004
        host = _host_of(response.headers.get("location", ""))
        target = f" to {host}" if host else ""
        return error(
            ProtocolError, f"a redirect{target} was not followed; check base_url", reason="redirect_refused"
        )
    return error(
        ProtocolError, "the answer has a status that means nothing here", reason="protocol", retryable=True
    )


def says_missing(words: str, *, noun: str, id: str | None) -> bool:
    """Whether the words of a 404 say that there is no bulk `id`, which the provider calls a `noun`.

    For providers whose 404 for an address that leads nowhere has the form of their other errors, so that form alone
    tells nothing: the words have to name the bulk, or say that there is no such `noun`, and may speak neither of a URL
    nor of a path. Without an `id`, as for a list, they never say it.
    """
    rest = words.replace(id, "").lower() if id else "url"
    if "url" in rest or "/" in rest:
        return False
    named = re.search(rf"(?<![\w/.-]){re.escape(id or '')}(?![\w-])", words)
    missing = (
        rf"\bno (?:such )?{noun} (?:found|exists)\b(?! with)|\b{noun}(?: job| object)?[ _]not[ _]found\b"
    )
    return named is not None or re.search(missing, words, re.IGNORECASE) is not None


def _host_of(url: str) -> str:
    try:
        return printable(urlsplit(url[:500]).netloc.rpartition("@")[2], 100)
    except ValueError:
        return ""


def _may_be_own(response: Response) -> bool:
    """False for what only a proxy, a gateway or a network edge answers where an API speaks JSON."""
    kind = response.headers.get("content-type", "").strip().lower()
    if kind.startswith("text/") or "cf-mitigated" in response.headers:
        return False
    if not response.body.strip():
        return True
    try:
        decode(response, _OBJECT.decode)
    except ProtocolError:
        return False
    return True
