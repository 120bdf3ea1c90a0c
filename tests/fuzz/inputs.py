"""The form of inputs: replies written as text, so that a corpus can be read, and changed by a mutator that knows JSON.

One reply is lines `name: value`, an empty line, and the body; several are divided by a line of four dashes. What is
not of this form is a body, so that any bytes are an input.
"""

import json
import random
from typing import NamedTuple

from bulkstatus.adapter import Response
from fuzz.oracles import NOW

BETWEEN = b"\n----\n"
_MOST_REPLIES = 6
_OURS = ("ask", "provider", "status", "pins", "unit")


class Reply(NamedTuple):
    """A reply, and what the input says beside it: which call is made, and with which settings."""

    response: Response
    options: dict[str, str]


def replies(data, provider="weavr"):
    """The replies that an input stands for; at least one."""
    return [_reply(part, provider) for part in data.split(BETWEEN)[:_MOST_REPLIES]]


def _reply(part, provider):
    head, found, body = part.partition(b"\n\n")
    if not found:
        head, body = b"", part
    options, headers = {}, {}
    for line in head.decode("latin-1").split("\n")[:16]:
        name, _, value = line.partition(":")
        place = options if name.strip() in _OURS else headers
        place[name.strip().lower()] = value.strip(" ")
    response = Response(
        status=_whole(options.get("status"), 200),
        headers=headers,
        body=body,
        received_at=NOW,
        source="source",
        provider=provider,
    )
    return Reply(response, options)


def _whole(text, otherwise):
    return int(text) if text and text.isascii() and text.isdigit() and len(text) <= 4 else otherwise


def text_of(data):
    """Bytes as text; those that are not UTF-8 become lone surrogates, as in the arguments of a process."""
    return data.decode("utf-8", "surrogateescape")


# --- changing an input ---


class _Token(str):
    """JSON that Python's writer would not write."""

    __slots__ = ()


class Members(list):
    """The members of an object, in order, each as often as it comes."""


ODD = (
    *(None, True, False, -1, 0, 1, 7, 2**31, 2**53 + 1, 2**63, 2**64, -(2**63) - 1, 1.5),
    *map(_Token, ("1e2", "1.0", "-0", "1e999", "NaN", "Infinity", "1" * 400, "1" * 5_000)),
    *map(_Token, ('"\\ud800"', '"\\u0000"', '"\\udc00x"', '"\xff"', "[" * 70 + "]" * 70, '"\x1b"')),
    *(
        "",
        " ",
        "0",
        "12",
        "-1",
        "1e3",
        "x" * 600,
        "\x1b[31mred",
        "\u202eabc",
        "a\nb",
        "\u200b",
        "=1+1",
        "../x",
    ),
    *(
        "COMPLETED",
        "FAILED",
        "CANCELLED",
        "SUBMITTED",
        "RUNNING",
        "PAUSED",
        "PARTIALLY_COMPLETED",
        "ARCHIVING",
    ),
    *("validating", "in_progress", "finalizing", "cancelling", "expired", "file-1", "Batch not found"),
    *("pending", "running", "completed", "failed", "received", "scheduled", "processing", " Completed "),
    *("2026-01-15T09:30:00Z", "9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59", "2026-01-15 09:30"),
    *("1760000000000", 1760000000000, 253402300799999, 10**20, "9" * 20),
    *([], {}, [None], [[]], [{}], {"status": 404}, [{"status": "FAILED", "count": 1}], [{"a": 1}]),
)
STATUSES = (
    200,
    200,
    200,
    201,
    204,
    206,
    304,
    307,
    400,
    401,
    403,
    404,
    409,
    410,
    423,
    429,
    500,
    501,
    503,
    504,
    999,
)
HEADERS = (
    "content-type: text/html",
    "content-type: application/json",
    "retry-after: 5",
    "retry-after: 99999999999",
    "retry-after: Wed, 21 Oct 2026 07:28:00 GMT",
    "retry-after: Fri, 31 Dec 9999 23:59:59 GMT",
    "location: https://u:p@elsewhere.test/x",
    "location: //[",
    "x-ratelimit-reset: 30",
    'ratelimit: "default";r=0;t=30, "burst";r=5;t=2',
    'ratelimit-policy: "default";q=1200;w=300',
    "cf-mitigated: challenge",
    "cf-ray: 8f\x1b[0m",
    "request-ref: \x9b",
    "date: Wed, 21 Oct 2026 07:28:00 GMT",
)


def mutated(data, number, longest):
    """Another input, made from `data`; the same for the same `number`."""
    rng = random.Random(number)
    parts = data.split(BETWEEN)
    if rng.random() < 0.1:
        parts.insert(rng.randrange(len(parts) + 1), rng.choice(parts))
    at = rng.randrange(len(parts))
    head, found, body = parts[at].partition(b"\n\n")
    if not found:
        head, body = b"", parts[at]
    if rng.random() < 0.25:
        head = _other_head(head, rng)
    else:
        body = _other_body(body, rng)
    parts[at] = head + b"\n\n" + body if head or found else body
    return BETWEEN.join(parts)[:longest]


def _other_head(head, rng):
    lines = head.decode("latin-1").split("\n")
    if rng.random() < 0.5:
        lines = [line for line in lines if not line.startswith("status:")]
        lines.append(f"status: {rng.choice(STATUSES)}")
    else:
        lines.append(rng.choice(HEADERS))
    return "\n".join(line for line in lines if line).encode("latin-1", "replace")


def _other_body(body, rng):
    try:
        value = json.loads(body.decode(), object_pairs_hook=Members)
    except (ValueError, RecursionError):
        return _other_bytes(body, rng)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        value = _other_value(value, rng)
    text = written(value).encode("utf-8", "surrogatepass")
    return _other_bytes(text, rng) if rng.random() < 0.05 else text


def _other_bytes(body, rng):
    at = rng.randrange(len(body) + 1)
    kind = rng.randrange(4)
    if kind == 0:
        return body[:at]
    if kind == 1:
        return body[:at] + rng.randbytes(rng.randrange(1, 4)) + body[at:]
    if kind == 2:
        return body[:at] + body[at + rng.randrange(1, 8) :]
    odd = rng.choice(ODD)
    return body[:at] + str(odd).encode("utf-8", "surrogatepass") + body[at:]


def _other_value(value, rng):
    """The value with one place in it, wherever that is, replaced, removed, doubled or added to."""
    if isinstance(value, str) and value.startswith("{") and rng.random() < 0.5:
        return _other_body(value.encode("utf-8", "surrogatepass"), rng).decode("utf-8", "replace")
    if not isinstance(value, list) or not value or rng.random() < 0.05:
        return rng.choice(ODD)
    at = rng.randrange(len(value))
    named = isinstance(value, Members)
    inner = value[at][1] if named else value[at]
    copy = type(value)(value)
    kind = rng.randrange(10)
    if kind == 0:
        del copy[at]
    elif kind == 1:
        copy.insert(rng.randrange(len(copy) + 1), (value[at][0], rng.choice(ODD)) if named else value[at])
    elif kind == 2 and named:
        copy[at] = (rng.choice([name for name, _ in value] + ["status", "id", "x"]), inner)
    else:
        other = _other_value(inner, rng)
        copy[at] = (value[at][0], other) if named else other
    return copy


def written(value):
    """The JSON of a value, members that are there twice and odd tokens included."""
    if isinstance(value, _Token):
        return str(value)
    if isinstance(value, Members):
        members = ",".join(f"{json.dumps(name)}:{written(inner)}" for name, inner in value)
        return f"{{{members}}}"
    if isinstance(value, list):
        return f"[{','.join(map(written, value))}]"
    return json.dumps(value)
