"""Structs that take what is documented and nothing else."""

from __future__ import annotations

import json
from typing import Annotated, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkstatus._call import Response
from bulkstatus._closed import ClosedDecoder, closed, most_values


class Part(msgspec.Struct, frozen=True):
    """A struct inside another."""

    size: int | None = None


class Whole(msgspec.Struct, frozen=True, rename="camel"):
    """A record with members of all kinds."""

    whole_id: str | int | None = None
    parts: list[Part | None] | None = None
    tags: list[str] = []
    free: object = None
    table: dict[str, int] | None = None
    inner: Whole | None = None
    ratio: float = 0.5
    sure: bool | None = None
    place: Annotated[int, msgspec.Meta(ge=0)] | None = None


CLOSED = msgspec.json.Decoder(closed(Whole))
OPEN = msgspec.json.Decoder(Whole)


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'{"wholeId":7,"parts":[{"size":1},null],"tags":["a"],"ratio":2,"sure":true}',
        b'{"free":null,"table":null,"inner":null}',
        b'{"free":1,"place":0}',
        b'{"free":"a","sure":null}',
        b'{"free":[1,"a",{"b":null}]}',
        b'{"free":{"a":{"b":1},"c":[2.5]}}',
    ],
)
def test_what_is_as_documented_is_equal_to_what_the_struct_itself_reads(body):
    """On either side, with the same hash where it has one, and as one of the same kind."""
    found, plain = CLOSED.decode(body), OPEN.decode(body)
    assert found == plain
    assert plain == found
    assert isinstance(found, Whole)
    assert repr(found) == repr(plain)
    assert found != msgspec.structs.replace(plain, whole_id="other")
    assert found != body


def test_what_is_equal_does_not_differ():
    """Neither from what the struct itself reads, nor from one whose unread members are others."""
    found, other = (
        msgspec.json.decode(body, type=closed(Part, {Part: ("extra",)}))
        for body in (b'{"size":1,"extra":1}', b'{"size":1,"extra":2}')
    )
    assert not found != Part(size=1)  # noqa: SIM202 - what is asked is the other operator
    assert not Part(size=1) != found  # noqa: SIM202
    assert not found != other  # noqa: SIM202
    assert found == other
    assert found != Part(size=2)


class Named(msgspec.Struct, frozen=True):
    """A record that says by itself what is equal to it."""

    id: str | None = None
    seen: int | None = None

    def __eq__(self, other):
        return isinstance(other, Named) and self.id == other.id

    def __hash__(self):
        return hash(self.id)


def test_what_a_record_says_of_equality_holds_for_what_is_decoded():
    """Its own comparison is asked, on either side."""
    found = msgspec.json.decode(b'{"id":"a","seen":1}', type=closed(Named))
    assert found == Named(id="a", seen=2)
    assert Named(id="a", seen=2) == found
    assert found != Named(id="b", seen=1)


class Looked(msgspec.Struct, frozen=True, weakref=True):
    """A record that can be referred to weakly."""

    id: str | None = None


class Beside(msgspec.Struct, frozen=True, dict=True):
    """A record with room for what is not read."""

    id: str | None = None


class Required(msgspec.Struct, frozen=True, kw_only=True):
    """A record in which a member that has to be there follows one that may be absent."""

    note: str | None = None
    id: str


class Ordered(Required, frozen=True, array_like=True):
    """A record told apart by places, some of its members by name only."""

    first: int
    last: int | None = None


class Tagged(msgspec.Struct, frozen=True, tag_field="kind", tag="tagged"):
    """A record that says which it is."""

    id: str | None = None


class Loose(msgspec.Struct, frozen=True):
    """A record with a member that is a list, or anything else."""

    id: object | None = None
    parts: list[Part] | object = None


@pytest.mark.parametrize("kind", [Looked, Beside, Required, Tagged, Loose])
def test_records_of_any_making_can_be_closed(kind):
    """What an adapter chose for its records is none of the reader's business."""
    made = closed(kind, {kind: ("kind", 'a "quoted" name', "other")})
    assert msgspec.json.decode(b'{"id":"a","other":1}', type=made) == kind(id="a")


class Never(msgspec.Struct, frozen=True):
    """A record whose members are never null, of types that nothing bounds."""

    labels: dict[str, str] = {}
    kinds: list[Literal["a", "b"]] = []
    both: dict[str, int] | list[int] = []


@pytest.mark.parametrize(
    "body", [b'{"labels":null}', b'{"kinds":[null]}', b'{"both":null}', b'{"both":[null]}']
)
def test_null_is_taken_only_where_the_struct_takes_it(body):
    """Or a member that cannot be null would be, and nobody said that it was odd."""
    for kind in (Never, closed(Never)):
        with pytest.raises(msgspec.ValidationError):
            msgspec.json.decode(body, type=kind)
    assert msgspec.json.decode(b'{"kinds":[],"both":[1]}', type=closed(Never)) == Never(both=[1])


def test_places_stay_where_they_are():
    """In records without names."""
    body = b'[1,2,"n","i"]'
    assert msgspec.json.decode(body, type=closed(Ordered)) == msgspec.json.decode(body, type=Ordered)
    assert closed(Ordered).__struct_fields__ == Ordered.__struct_fields__


def test_a_member_may_be_named_as_read_and_as_not_read():
    """It is read then."""
    found = msgspec.json.decode(b'{"size":1,"b":2}', type=closed(Part, {Part: ("size", "b")}))
    assert found == Part(size=1)


def test_equal_ones_have_the_same_hash():
    """One stands for the other in a set."""
    kind = closed(Part)
    assert {kind(size=1)} == {Part(size=1)}


@pytest.mark.parametrize(
    "body",
    [
        b'{"new":1}',
        b'{"parts":[{"size":1,"new":1}]}',
        b'{"parts":[{"size":"1"}]}',
        b'{"wholeId":[]}',
        b'{"place":-1}',
        b'{"free":[[]]}',
        b'{"free":[{"a":[]}]}',
        b'{"free":{"a":{"b":{}}}}',
        b'{"table":{}}',
        b'{"inner":{}}',
        b"[]",
    ],
)
def test_anything_else_is_refused(body):
    """What is new, what is of another type, and what could be nested without end."""
    with pytest.raises(msgspec.ValidationError):
        CLOSED.decode(body)


class Row(msgspec.Struct, frozen=True):
    """A row of plain members."""

    id: str | None = None
    size: int | None = None
    part: Part | None = None


class Pair(msgspec.Struct, frozen=True, array_like=True):
    """Two values without a brace around them."""

    left: int | None = None
    right: int | None = None


class Pairs(msgspec.Struct, frozen=True):
    """Any number of them."""

    pairs: list[Pair] | None = None


class Table(msgspec.Struct, frozen=True):
    """Rows in groups, of which any number may be empty."""

    groups: list[list[Row]] | None = None


class Page(msgspec.Struct, frozen=True):
    """A page of such rows, or one alone."""

    rows: list[Row] | Row | None = None
    more: bool | None = None


@pytest.mark.parametrize(
    ("kind", "most"),
    [(Part, 2), (Row, 4), (Page, 4), (Whole, None), (Pairs, None), (Table, None)],
)
def test_values_are_bounded_by_braces_where_they_can_be(kind, most):
    """A list of other things than records, and what may hold anything, may be of any length."""
    assert most_values(kind) == most


parts = st.none() | st.fixed_dictionaries({}, optional={"size": st.integers(0, 9)})
rows = st.fixed_dictionaries(
    {}, optional={"id": st.text(max_size=2), "size": st.integers(0, 9), "part": parts}
)


def count(value):
    """How many JSON values there are in one."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + sum(map(count, inner))


@given(st.fixed_dictionaries({"rows": rows | st.lists(rows, max_size=9)}, optional={"more": st.booleans()}))
def test_what_is_decoded_is_within_its_bounds(page):
    """Where fewer values are allowed it is left to the lenient way; the outermost one is in no such count."""
    body = json.dumps(page, separators=(",", ":"))
    response, decoder = Response.now(200, body), ClosedDecoder(Page, {})
    for limit in (0, count(page) - 2):
        assert decoder.decode(msgspec.structs.replace(response, value_limit=limit)) is None
    assert decoder.decode(msgspec.structs.replace(response, value_limit=4 * body.count("{"))) is not None


@pytest.mark.parametrize(("kind", "one"), [(Pairs, '{"pairs":[%s]}'), (Table, '{"groups":[%s]}')])
def test_values_without_braces_are_held_to_the_bounds(kind, one):
    """A million empty lists are a million values, in however few braces they stand."""
    body = one % ",".join(["[]"] * 1_000)
    response = msgspec.structs.replace(Response.now(200, body), value_limit=100)
    assert ClosedDecoder(kind, {}).decode(response) is None
