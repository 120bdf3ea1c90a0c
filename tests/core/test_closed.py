"""Structs that take what is documented and nothing else."""

from __future__ import annotations

import msgspec
import pytest

from bulkstatus._closed import closed


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


CLOSED = msgspec.json.Decoder(closed(Whole))
OPEN = msgspec.json.Decoder(Whole)


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'{"wholeId":7,"parts":[{"size":1},null],"tags":["a"],"ratio":2,"sure":true}',
        b'{"free":null,"table":null,"inner":null}',
        b'{"free":1}',
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
