"""Reading a provider's records into small structs, so that an odd member costs that member and an odd row that row.

No provider promises what its next release sends. A record is decoded as a whole, which is quick; only where that fails
is it taken apart, and what cannot be read of it is treated as not said, with a sentence for the evidence.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import partial
from itertools import repeat
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

from bulkstatus._call import RawRows, Response
from bulkstatus._closed import ClosedDecoder
from bulkstatus._drift import is_collecting, note_members
from bulkstatus._model import H, attach
from bulkstatus._reply import decode, status_error
from bulkstatus.errors import BulkStatusError, ProtocolError

S = TypeVar("S", bound=msgspec.Struct)
P = TypeVar("P", bound=msgspec.Struct)

Notes = tuple[str, ...]
"""Sentences for the evidence."""
Refused = Callable[[Response], BulkStatusError]
"""Makes an error of an answer that is no 200."""

_ARRAY = msgspec.json.Decoder(list[msgspec.Raw] | None)
_OK = 200
_NOTHING = msgspec.Raw(b"null")


def is_unread(notes: Notes, member: str) -> bool:
    """True where `notes` say that `member`, by its name in the record, was sent and could not be read.

    That is not the same as a member that was not sent: counts that cannot be read leave open how a bulk ended.
    """
    return _unread(member) in notes


def _unread(member: str) -> str:
    return f"{member} is not of the documented type, so it is treated as not said."


class Reader(Generic[S]):
    """Reads answers that are one record, described by the struct `record`.

    The struct names the members that are read, each with a default, since any of them may be absent. `unread` names
    others that the provider documents: they are nothing new when they come. What neither names is drift, under the
    struct's name. An answer that is no 200 is not read: `refused` makes the error of it, to be raised.
    """

    def __init__(
        self,
        record: type[S],
        *,
        unread: Collection[str] = (),
        refused: Refused = status_error,
    ) -> None:
        self._name = record.__name__
        self.record = record
        self.refused = refused
        self._decoder = msgspec.json.Decoder(record)
        fields = _fields(record)
        # Made once: for each row anew, 40 kB of odd rows took seconds, in which no other source was served.
        self._members = [
            (field.name, field.encode_name, msgspec.json.Decoder[Any](field.type)) for field in fields
        ]
        self._apart = _cutter(fields)
        self.unread = frozenset(unread)
        self.documented = frozenset(field.encode_name for field in fields) | self.unread
        self._closed = ClosedDecoder(record, {record: self.unread})

    def read(self, response: Response, *, refused: Refused | None = None) -> tuple[S, Notes]:
        """The record, and what is to be said of members that could not be read.

        Raises what `refused` makes of an answer that is no 200 (the reader's, unless one is given here that knows what
        was asked), and ProtocolError when it is not a JSON object, or is beyond the bounds of its request.
        """
        if response.status != _OK:
            raise (refused or self.refused)(response)
        record = self._closed.decode(response)
        return (record, ()) if record is not None else decode(response, self._read)

    def as_documented(self, response: Response) -> S | None:
        """The record, where all of an answer is just as documented, so that nothing is to be said of it; None for any other.

        It is within the bounds of its request then, and the quickest to be read. The status is not looked at.
        """
        return self._closed.decode(response)

    def glean(self, response: Response) -> S:
        """What can be read of an answer of any status, and nothing where it is no JSON object: for the body of an error.

        What stands between us and a provider answers in HTML, in plain text, and in JSON of its own.
        """
        try:
            return decode(response, self._take)[0]
        except ProtocolError:
            return self.record()

    def _read(self, body: bytes) -> tuple[S, Notes]:
        self.note(body)
        return self._take(body)

    def _take(self, body: bytes) -> tuple[S, Notes]:
        try:
            return self._decoder.decode(body), ()
        except msgspec.ValidationError:
            return self.of_members(self._apart.decode(body))

    def note(self, record: bytes | msgspec.Raw) -> None:
        """Say what is new in a record."""
        note_members(self._name, record, self.documented)

    def of_row(self, row: msgspec.Raw) -> tuple[S, Notes]:
        """The record in one row of a page; one without anything in it when the row is not an object."""
        try:
            return self.of_members(self._apart.decode(row))
        except msgspec.ValidationError:
            return self.record(), ("The row is not a record.",)

    def of_members(self, members: object, *, but: Collection[str] = ()) -> tuple[S, Notes]:
        """The record made of those `members` that are of their types; the fields named in `but` are left alone."""
        kept: dict[str, Any] = {}
        notes: list[str] = []
        for name, encoded, decoder in self._members:
            raw = getattr(members, name)
            if raw is _NOTHING or name in but:
                continue
            try:
                kept[name] = decoder.decode(raw)
            except msgspec.ValidationError:
                notes.append(_unread(encoded))
        return self.record(**kept), tuple(notes)


class Row(NamedTuple, Generic[S]):
    """A record of a page, what is to be said of its odd members, and a function that gives it as received."""

    record: S
    notes: Notes
    raw: Callable[[], bytes]


_ROW: Callable[..., Row[Any]] = partial(tuple.__new__, Row)  # pyright: ignore[reportUnknownMemberType] - of any tuple


class Rows(Generic[P, S]):
    """An answer that is a page: `page` as a whole, and its rows in order when it is iterated over.

    `found` is false when the answer had no array of rows at all. `notes` speak of the page's own members: a cursor
    that was sent and could not be read (`is_unread`) is no end of the list. `records` are those of the rows, and
    `row_notes` what is to be said of odd members of some, by their place in it: nearly always nothing.
    """

    def __init__(
        self,
        page: P,
        records: list[S] | None,
        notes: Mapping[int, Notes],
        raw: RawRows,
        *,
        row: Reader[S],
        of_page: Notes = (),
    ) -> None:
        self.page = page
        self.notes = of_page
        self.found = records is not None
        self.records = records or []
        self.row_notes = notes
        self._raw = raw
        self._row = row

    def __len__(self) -> int:
        return len(self.records)

    def __iter__(self) -> Iterator[Row[S]]:
        number = len(self.records)
        notes = map(self.row_notes.get, range(number), repeat(())) if self.row_notes else repeat((), number)
        # Not through Row's own constructor, which is a function of Python's: it took a tenth of the reading of a list.
        return map(_ROW, zip(self.records, notes, self._raw.rows(number), strict=True))

    def attach(
        self, items: Iterable[H], *, request: str | None = None, response: str | None = None
    ) -> tuple[H, ...]:
        """Give each of `items`, made of the rows in their order, its row as received as `raw`.

        `request` and `response` name the fields of the record that are the payloads of an operation. All of it is read
        once somebody looks at it. Raises ValueError when there are more or fewer items than rows, and for a name that is
        none of the record's.
        """
        named = {"request": request, "response": response}
        rows = _Payloads(self._raw, self._row, named) if request or response else self._raw
        return attach(items, rows, len(self.records))


class _Payloads:
    """Rows as received, and which members of theirs are payloads. These are read anew, so that none is kept beside its row."""

    __slots__ = ("_fields", "_raw", "_row")

    def __init__(self, raw: RawRows, row: Reader[Any], fields: Mapping[str, str | None]) -> None:
        for field in fields.values():
            # Here, in front of whoever wrote it: looked up later, it would end the call of whoever looks at a payload.
            if field is not None and field not in row.record.__struct_fields__:
                raise ValueError(f"{row.record.__name__} has no field {field!r} to take a payload from")
        self._raw = raw
        self._row = row
        self._fields = fields

    def give(self, name: str, number: int) -> bytes | str | None:
        """The row, or a payload in it."""
        if name == "raw":
            return self._raw.give(name, number)
        field = self._fields.get(name)
        if field is None:
            return None
        record, _ = self._row.of_row(msgspec.Raw(self._raw.row(number)()))
        value: str | None = getattr(record, field)
        return value


class PageReader(Generic[P, S]):
    """Reads answers that are a page, described by the struct `page`, with rows described by the struct of `row`.

    `rows` names the field of `page` that holds them, of type `list[...] | None`; or several such fields, where the
    provider has had several names for it: the first that is there counts. `unread` is that of the page's own members.
    Of the rows, the first is looked at for new ones.
    """

    def __init__(self, page: type[P], *rows: str, row: Reader[S], unread: Collection[str] = ()) -> None:
        self._decoder = msgspec.json.Decoder(page)
        self._page = Reader(page, unread=unread)
        self._apart = _cutter(msgspec.structs.fields(page))
        self._row = row
        self._rows = rows
        self._closed = ClosedDecoder(page, {page: self._page.unread, row.record: row.unread})

    def read(self, response: Response, *, refused: Refused | None = None) -> Rows[P, S]:
        """The page. A row that is no record has nothing in it; without an id, it is counted as left out later.

        Raises what `refused` makes of an answer that is no 200 (the row's, unless one is given), and ProtocolError when it is not a JSON
        object, when its rows are not an array, and when it is beyond the bounds of its request.
        """
        if response.status != _OK:
            raise (refused or self._row.refused)(response)
        page = self._closed.decode(response)
        raw = RawRows(response.body, self._split)
        if page is not None:
            return Rows(page, self._records(page), {}, raw, row=self._row)
        page, records, notes, of_page = decode(response, self._read)
        return Rows(page, records, notes, raw, row=self._row, of_page=of_page)

    def _read(self, body: bytes) -> tuple[P, list[S] | None, Mapping[int, Notes], Notes]:
        try:
            page = self._decoder.decode(body)
        except msgspec.ValidationError:
            return self._read_apart(body)
        if is_collecting():
            self._note(body, self._split(body))
        return page, self._records(page), {}, ()

    def _records(self, page: P) -> list[S] | None:
        places: list[list[S] | None] = [getattr(page, name) for name in self._rows]
        return next((rows for rows in places if rows is not None), None)

    def _read_apart(self, body: bytes) -> tuple[P, list[S] | None, Mapping[int, Notes], Notes]:
        members = self._apart.decode(body)
        rows = self._arrays(members)
        self._note(body, rows or [])
        page, of_page = self._page.of_members(members, but=self._rows)
        if rows is None:
            return page, None, {}, of_page
        read = [self._row.of_row(row) for row in rows]
        return (
            page,
            [record for record, _ in read],
            {at: notes for at, (_, notes) in enumerate(read) if notes},
            of_page,
        )

    def _note(self, body: bytes, rows: list[msgspec.Raw]) -> None:
        self._page.note(body)
        for row in rows[:1]:
            self._row.note(row)

    def _arrays(self, members: object) -> list[msgspec.Raw] | None:
        places = (_ARRAY.decode(getattr(members, name)) for name in self._rows)
        return next((array for array in places if array is not None), None)

    def _split(self, body: bytes) -> list[msgspec.Raw]:
        return self._arrays(self._apart.decode(body)) or []


def _cutter(fields: Iterable[msgspec.structs.FieldInfo]) -> msgspec.json.Decoder[Any]:
    """A decoder that cuts an object into these members, undecoded. Others may be called anything, even what is no text."""
    members = [
        (field.name, msgspec.Raw, msgspec.field(name=field.encode_name, default=_NOTHING)) for field in fields
    ]
    return msgspec.json.Decoder(msgspec.defstruct("Members", members, frozen=True))


def _fields(record: type[msgspec.Struct]) -> tuple[msgspec.structs.FieldInfo, ...]:
    fields = msgspec.structs.fields(record)
    for field in fields:
        if field.required:
            raise TypeError(
                f"{record.__name__}.{field.name} has no default: give it one, since any member may be absent"
            )
    return fields
