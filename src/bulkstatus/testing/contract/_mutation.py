"""JSON documents with one place changed."""

import json
from collections.abc import Container, Iterator
from typing import Any, Final, TypeAlias, cast

Path: TypeAlias = tuple[str | int, ...]

SENTINEL: Final = "zz_never_heard_of"
EVIL: Final = "https://elsewhere.invalid/../x?y=1#z"


class Absent:
    """In the place of a value: the member is taken out."""

    def __repr__(self) -> str:
        return "absent"


ABSENT: Final = Absent()

ODD: Final[tuple[object, ...]] = (
    ABSENT,
    None,
    True,
    False,
    0,
    1,
    -1,
    1.5,
    2**60,
    10**30,
    "",
    " ",
    SENTINEL,
    EVIL,
    "\u202e\x1b[31m\x00",
    "x" * 20_000,
    [],
    [None],
    {},
    {"status": None, "id": 7},
)
"""What may stand where something else was documented."""


def places(value: object, at: Path = ()) -> Iterator[Path]:
    """The paths of all values in a document, containers before what is in them; of long arrays the ends only."""
    if at:
        yield at
    if isinstance(value, dict):
        for name, inner in cast("dict[str, object]", value).items():
            yield from places(inner, (*at, name))
    elif isinstance(value, list):
        rows = cast("list[object]", value)
        for index in sorted({*range(min(2, len(rows))), *range(max(0, len(rows) - 1), len(rows))}):
            yield from places(rows[index], (*at, index))


def value_at(document: object, path: Path) -> object:
    """What stands at `path`."""
    found: Any = document
    for key in path:
        found = found[key]
    return found


def changed(document: object, path: Path, value: object) -> object:
    """A copy with `value` at `path`, or without that member where it is ABSENT; what is beside the path is shared."""
    if not path:
        return value
    copy: Any = dict(cast("dict[str, object]", document)) if isinstance(document, dict) else None
    if copy is None:
        copy = list(cast("list[object]", document))
    if len(path) == 1 and value is ABSENT:
        del copy[path[0]]
    elif len(path) == 1:
        copy[path[0]] = value
    else:
        copy[path[0]] = changed(copy[path[0]], path[1:], value)
    return copy


def replaced(document: object, texts: Container[str], by: str) -> object:
    """A copy with `by` in the place of every value that is one of `texts`; names of members are left alone."""
    if isinstance(document, dict):
        members = cast("dict[str, object]", document)
        return {name: replaced(value, texts, by) for name, value in members.items()}
    if isinstance(document, list):
        return [replaced(value, texts, by) for value in cast("list[object]", document)]
    return by if isinstance(document, str) and document in texts else document


def written(document: object) -> bytes:
    """The document as JSON."""
    return json.dumps(document).encode()


def parsed(body: bytes) -> object:
    """The document in `body`, ABSENT where there is none."""
    try:
        return cast("object", json.loads(body))
    except (ValueError, RecursionError):
        return ABSENT


def is_leaf(value: object) -> bool:
    """True for what holds no other values."""
    return not isinstance(value, dict | list)


def shown(path: Path) -> str:
    """A path as it stands in messages: `$.rows[0].status`."""
    return "$" + "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path)


def of_other_types(value: object) -> tuple[object, ...]:
    """What is of another JSON type than `value`, and not null, which is often the same as absent."""
    others: tuple[object, ...] = (7, SENTINEL, True, [7], {"x": 7})
    return tuple(other for other in others if type(other) is not type(value))


def kind_of(value: object) -> str:
    """What a value is, in words that repeat nothing of what the provider sent."""
    if value is ABSENT:
        return "absent"
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, int | float):
        return f"the number {value}"
    if isinstance(value, str):
        return f"text of {len(value)} characters" if len(value) > 40 else f"the text {value!a}"  # noqa: PLR2004 - fits a line
    return "an array" if isinstance(value, list) else "an object"


def shape(value: object) -> object:
    """What a document has in common with others of its form: the names of its members, whatever they hold."""
    if isinstance(value, dict):
        members = cast("dict[str, object]", value)
        return frozenset((name, shape(inner)) for name, inner in members.items())
    if isinstance(value, list):
        return frozenset(map(shape, cast("list[object]", value)))
    return type(value).__name__
