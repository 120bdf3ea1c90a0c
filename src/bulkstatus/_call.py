"""Requests, the functions that read their replies, and pages. Nothing here sends anything."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from itertools import repeat
from typing import Generic, Self, TypeVar

import msgspec

from bulkstatus._model import H, attach
from bulkstatus._secrets import Secret
from bulkstatus._urls import join_path
from bulkstatus.errors import ConfigError

T = TypeVar("T")
MIB = 1024 * 1024
MOST_VALUES = 100_000
"""How many JSON values an answer may hold where its request does not say: what they decode to stays below 32 MiB."""


_HEADER_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,1022}[\x21-\x7e])?")


def _header(name: str, value: str) -> str:
    if _HEADER_VALUE.fullmatch(value) is None:
        raise ConfigError(f"{value[:80]!a} cannot be sent as {name}: letters, digits and signs of ASCII can")
    return value


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """A request an adapter wants sent: a GET, or a POST when it has a `form`.

    `path` is relative to `base_url`, begins with a slash, and has every segment percent-encoded. `form` is sent as
    `application/x-www-form-urlencoded`; Secrets in it are revealed only while it is sent. `body_limit` is the most
    that is read of the reply, in bytes after decompression, and `value_limit` the most JSON values that `decode`
    takes from it: a few bytes of JSON become a hundred of memory.
    """

    base_url: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    form: tuple[tuple[str, str | Secret], ...] | None = None
    body_limit: int = 8 * MIB
    value_limit: int = MOST_VALUES

    @classmethod
    def to(
        cls,
        base_url: str,
        *segments: str,
        query: Mapping[str, str | int | None] | None = None,
        headers: Mapping[str, str | None] | None = None,
        form: Mapping[str, str | Secret] | None = None,
        body_limit: int = 8 * MIB,
        value_limit: int = MOST_VALUES,
    ) -> Self:
        """Address `segments` below `base_url`, each encoded as one path segment.

        Query values and headers of None are left out. Raises ConfigError for a segment that would change the path's
        meaning (empty, `.`, `..`), and for a header whose value is not visible ASCII with blanks between. Credentials
        do not go into headers here: `auth` keeps those.
        """
        return cls(
            base_url=base_url,
            path=join_path(segments),
            query=tuple((key, str(value)) for key, value in (query or {}).items() if value is not None),
            headers=tuple(
                (name, _header(name, value)) for name, value in (headers or {}).items() if value is not None
            ),
            form=None if form is None else tuple(form.items()),
            body_limit=body_limit,
            value_limit=value_limit,
        )

    @property
    def method(self) -> str:
        """`POST` with a form, `GET` without."""
        return "GET" if self.form is None else "POST"


class Response(msgspec.Struct, frozen=True, kw_only=True):
    """A reply as it arrived: status, headers with lower-case names, the whole body, and when it was there (UTC).

    `source` and `provider` say who was asked, for the records that are read from it. `value_limit` is the request's.
    """

    status: int
    headers: dict[str, str] = {}
    body: bytes = b""
    received_at: datetime
    source: str = ""
    provider: str = ""
    value_limit: int = MOST_VALUES

    def __repr__(self) -> str:
        # The body may hold personal data, and frames hold replies.
        return f"Response(status={self.status}, {len(self.body)} bytes)"

    @classmethod
    def now(
        cls,
        status: int = 200,
        body: bytes | str = b"",
        headers: Mapping[str, str] | None = None,
        *,
        source: str = "source",
        provider: str = "",
    ) -> Self:
        """Make a reply received at this moment: what an adapter's tests need."""
        return cls(
            status=status,
            headers={name.lower(): value for name, value in (headers or {}).items()},
            body=body.encode() if isinstance(body, str) else body,
            received_at=datetime.now(UTC),
            source=source,
            provider=provider,
        )


class Call(msgspec.Struct, Generic[T], frozen=True):
    """A request and the function that reads its reply.

    Reading gives the result, or another call where a provider needs two. It raises an error of
    `bulkstatus.errors` when the reply is not an answer.
    """

    request: Request
    read: Callable[[Response], "T | Call[T]"]


class Page(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """One page of a listing, with the way to the others.

    A provider that pages by *cursor* sets `next` to the call for the following page, None at the end, and `cursor`
    to what that call is made of: the same cursor twice is an endless listing, and an error.

    A provider that pages by *offset* sets `at` (a call for the page at any offset), `offset` (where this page
    begins), `received` (rows in the answer, also those left out of `items`), and `total` where it said so. Pages are
    then read side by side. `moving` says that rows may come, go or change places while pages are read; then
    neighbouring pages are read with an overlap, so that no row slips between them.

    Pages by *number* are pages by offset: `at` makes the number of the offset, which is a multiple of the page's size
    as long as `moving` is left out. All are read once more when `total` says that rows came or went meanwhile.

    `left_out` counts records of the answer that could not become items, because nothing in them says which bulk they
    are about: the listing then ends in an error after its items, and is never taken for complete.
    """

    items: tuple[T, ...]
    next: Call["Page[T]"] | None = None
    cursor: str | None = None
    at: Callable[[int], Call["Page[T]"]] | None = None
    offset: int = 0
    received: int = 0
    total: int | None = None
    moving: bool = False
    left_out: int = 0


class RawRows:
    """The records of a page as received, cut out of its body only when somebody asks for one."""

    __slots__ = ("_body", "_rows", "_split")

    def __init__(self, body: bytes, split: Callable[[bytes], list[msgspec.Raw]]) -> None:
        self._body = body
        self._split = split
        self._rows: list[msgspec.Raw] | None = None

    def row(self, index: int) -> Callable[[], bytes]:
        """A function that gives record `index` as bytes, for `carrying(raw=...)`."""
        return partial(self._read, index)

    def rows(self, number: int) -> Iterator[Callable[[], bytes]]:
        """Such a function for each of the first `number` records."""
        return map(partial, repeat(self._read, number), range(number))

    def attach(self, items: Iterable[H], number: int) -> tuple[H, ...]:
        """Give each of `items`, made of the page's `number` records in their order, its record as `raw`.

        Raises ValueError when there are more or fewer items: some would have the record of another.
        """
        return attach(items, self, number)

    def give(self, name: str, number: int) -> bytes | None:
        """What a record that was made of row `number` has under this name."""
        return self._read(number) if name == "raw" else None

    def _read(self, index: int) -> bytes:
        if self._rows is None:
            self._rows = self._split(self._body)
        return bytes(self._rows[index])


class ListQuery(msgspec.Struct, frozen=True, kw_only=True):
    """What a listing is asked for. `states` is None for all. Adapters narrow by what their provider can filter."""

    states: frozenset[str] | None = None


class OperationQuery(msgspec.Struct, frozen=True, kw_only=True):
    """What a listing of operations is asked for: states (None for all) and one position (None for all)."""

    states: frozenset[str] | None = None
    sequence: int | None = None

    def __post_init__(self) -> None:
        sequence: object = self.sequence
        if sequence is not None and (
            not isinstance(sequence, int) or isinstance(sequence, bool) or sequence < 0
        ):
            raise ConfigError(f"sequence is a whole number that is not negative, not {sequence!r}")
