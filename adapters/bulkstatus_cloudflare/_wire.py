"""What is read of Cloudflare's answers. Nothing here is checked: Cloudflare's own schemas cannot be satisfied.

In the description that Cloudflare publishes (https://github.com/cloudflare/api-schemas) the answer for 4XX has to
have `success` true and false at once, so no field is held to its documented type before it is looked at.
"""

from collections.abc import Iterator
from typing import NamedTuple, cast

import msgspec

from bulkstatus.adapter import Reader, Response, decode, is_collecting, note_members, whole_seconds

_MAX_CODE_DIGITS = 9
_MAX_HEADER = 512


class Result(msgspec.Struct, frozen=True):
    """The bulk itself. `operation_id` is what the write call names it, and was seen in the place of `id`."""

    id: object = None
    operation_id: object = None
    status: object = None
    completed: object = None
    error: object = None


class Envelope(msgspec.Struct, frozen=True):
    """What is around every answer of the API. A `result` that is no object is kept as it is."""

    success: object = None
    errors: object = None
    result: Result | list[object] | str | int | float | bool | None = None


class _Whole(msgspec.Struct, frozen=True):
    result: msgspec.Raw = msgspec.Raw(b"null")


# Beside what is read: `messages` stands in most answers, `result_info` in those of calls that page.
_USUAL = Reader(Envelope, unread=("messages", "result_info"))
_ENVELOPE = msgspec.json.Decoder(Envelope)
_WHOLE = msgspec.json.Decoder(_Whole)
_RESULT_MEMBERS = frozenset(Result.__struct_encode_fields__)


def read_result(response: Response) -> Envelope:
    """The envelope of an answer that should hold a result; what is new in it is said, if it does.

    Raises ProtocolError for what is no JSON object, or beyond the bounds of its request.
    """
    usual = _USUAL.as_documented(response)
    if usual is not None:
        return usual
    envelope = read_envelope(response)
    if is_collecting() and not tells_failure(envelope):
        note_members("envelope", response.body, _USUAL.documented)
        note_members("result", _WHOLE.decode(response.body).result, _RESULT_MEMBERS)
    return envelope


def read_envelope(response: Response) -> Envelope:
    """The same for an error, in which nothing is looked for."""
    return decode(response, _ENVELOPE.decode)


def tells_failure(envelope: Envelope) -> bool:
    """True for an answer that says that it is no success, or has errors and does not say what it is."""
    return envelope.success is False or (envelope.success is None and any(read_faults(envelope.errors)))


class Fault(NamedTuple):
    """One entry of `errors`, or of an entry's `error_chain`."""

    code: int | None
    text: str


def read_faults(errors: object) -> Iterator[Fault]:
    """All entries of `errors` in their order, each followed by its chain; entries that are no objects are left out."""
    if not isinstance(errors, list):
        return
    for item in cast("list[object]", errors):
        if isinstance(item, dict):
            entry = cast("dict[str, object]", item)
            text = entry.get("message")
            yield Fault(_code(entry.get("code")), text if isinstance(text, str) else "")
            yield from read_faults(entry.get("error_chain"))


def _code(value: object) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= _MAX_CODE_DIGITS:
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


class Policy(NamedTuple):
    """One item of a `Ratelimit` or `Ratelimit-Policy` header: its name, and its numbers by parameter."""

    name: str
    numbers: dict[str, float]


def policies(header: str) -> list[Policy]:
    """Read a header that is a structured-field list (RFC 9651): `"default";r=0;t=30, "burst";r=5;t=2`.

    Numbers that cannot be read are left out. https://developers.cloudflare.com/fundamentals/api/reference/limits/
    """
    found: list[Policy] = []
    for item in header[:_MAX_HEADER].split(","):
        pairs = [pair.partition("=") for pair in item.split(";")]
        name = next((key.strip().strip('"') for key, equals, _ in pairs if not equals), "")
        read = ((key.strip().lower(), whole_seconds(value)) for key, _, value in pairs)
        found.append(Policy(name, {key: number for key, number in read if number is not None}))
    return found


def seconds_to_reset(header: str) -> float | None:
    """Read a `Ratelimit` header: the seconds after which requests are free again, or None.

    Of the policies that have no request left (`r=0`) the one that resets last counts; when none is used up, the
    first of all.
    """
    told = [policy.numbers for policy in policies(header) if "t" in policy.numbers]
    used_up = [numbers["t"] for numbers in told if numbers.get("r") == 0]
    return max(used_up) if used_up else min((numbers["t"] for numbers in told), default=None)


def least_left(header: str, policy_header: str) -> tuple[int, int | None, float] | None:
    """Of a `Ratelimit` header the policy with the fewest requests left: how many, of how many if told, for how long."""
    told = [policy for policy in policies(header) if {"r", "t"} <= policy.numbers.keys()]
    if not told:
        return None
    name, numbers = min(told, key=lambda policy: policy.numbers["r"])
    quota = next((of.numbers.get("q") for of in policies(policy_header) if of.name == name), None)
    return int(numbers["r"]), None if quota is None else int(quota), numbers["t"]
