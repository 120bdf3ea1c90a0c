"""Structs that take the documented members and no others: what they decode is shallow, and nothing in it is new.

Decoding into one of these answers in one pass what else takes several over the body: whether it is nested too deep, and
whether a member is in it that is not documented. Whatever is not just as documented is left to the lenient way.
"""

from collections.abc import Collection, Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, Generic, TypeVar, Union, cast, get_args, get_origin

import msgspec

from bulkstatus._call import Response
from bulkstatus._reply import is_within

S = TypeVar("S", bound=msgspec.Struct)

_PLAIN = (str, int, float, bool, NoneType)
_ANYTHING = (object, Any)
_Plain = str | int | float | bool | None
# Of fields that may hold anything, and of members that are not read: what is nested deeper is left to the lenient way.
_Shallow = _Plain | list[_Plain | dict[str, _Plain]] | dict[str, _Plain | list[_Plain] | dict[str, _Plain]]
# No value is one. Null is not for all: a member that may be any mapping, and never null, would be null.
_Nothing = Annotated[str, msgspec.Meta(pattern="(?!)")]

Unread = Mapping[type[msgspec.Struct], Collection[str]]
"""Of records, the documented members that are not read."""


class ClosedDecoder(Generic[S]):
    """Decodes answers that are a `record` and just as documented. `unread` are members that are not in the structs."""

    def __init__(self, record: type[S], unread: Unread) -> None:
        self._decoder = msgspec.json.Decoder(closed(record, unread))
        self._most = None if any(unread.values()) else most_values(record)

    def decode(self, response: Response) -> S | None:
        """The record, where all of the answer is as documented and within its bounds; None for any other."""
        if not is_within(response, most=self._most):
            return None
        try:
            return cast("S", self._decoder.decode(response.body))
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None


def closed(
    record: type[msgspec.Struct],
    unread: Unread = {},  # noqa: B006 - a mapping that nobody writes to
    within: frozenset[type[msgspec.Struct]] = frozenset(),
) -> type[msgspec.Struct]:
    """A subclass of `record` that is equal to it where the values are, and refuses members which it does not name.

    So do the structs in its fields. A field that may hold anything takes what is shallow here, and one of a type that
    nothing bounds (a mapping, a struct that it is `within`) takes null at most, where that is one of its types. Members
    that are `unread` may be there, if shallow.
    """
    names = record.__struct_fields__
    config = record.__struct_config__
    read = {field.encode_name for field in msgspec.structs.fields(record)} | {config.tag_field}
    fields: list[tuple[str, Any, Any]] = [
        (field.name, _closed_type(field.type, unread, within | {record}), _same(field))
        for field in msgspec.structs.fields(record)
    ]
    fields += [
        (f"_unread_{number}", _Shallow, msgspec.field(name=name, default=None))
        for number, name in enumerate(unread.get(record, ()))
        if name not in read and msgspec.json.encode(name) == f'"{name}"'.encode()  # no other can be a field's
    ]

    def plain(one: msgspec.Struct) -> msgspec.Struct:
        return record(**{name: getattr(one, name) for name in names})

    # By what the record itself has for each, whoever wrote that.
    def is_equal(self: msgspec.Struct, other: object) -> object:
        if self is other:
            return True
        return plain(self) == plain(other) if isinstance(other, record) else NotImplemented

    def differs(self: msgspec.Struct, other: object) -> object:
        equal = is_equal(self, other)
        return equal if equal is NotImplemented else not equal

    def hashed(self: msgspec.Struct) -> int:
        return hash(plain(self))

    def shown(self: msgspec.Struct) -> str:
        return repr(plain(self))

    members = {
        "__eq__": is_equal,
        "__ne__": differs,
        "__hash__": hashed,
        "__repr__": shown,
        "__doc__": record.__doc__,
    }
    return msgspec.defstruct(
        record.__name__,
        fields,
        bases=(record,),
        namespace=members,
        forbid_unknown_fields=True,
        kw_only=True,  # or none that is required could follow one that is not
        gc=bool(config.dict or config.weakref),  # those the collector has to look at
    )


def _same(field: msgspec.structs.FieldInfo) -> Any:  # noqa: ANN401 - what msgspec.field gives
    if field.default_factory is not msgspec.NODEFAULT:
        return msgspec.field(name=field.encode_name, default_factory=field.default_factory)
    return msgspec.field(name=field.encode_name, default=field.default)


def _closed_type(kind: Any, unread: Unread, within: frozenset[type[msgspec.Struct]]) -> Any:  # noqa: ANN401 - of all kinds
    if kind in _PLAIN or (get_origin(kind) is Annotated and get_args(kind)[0] in _PLAIN):
        return kind
    if kind in _ANYTHING:
        return _Shallow
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct) and kind not in within:
        return closed(kind, unread, within)
    origin, inner = get_origin(kind), get_args(kind)
    if origin is list:
        return list.__class_getitem__(_closed_type(inner[0], unread, within))
    return _closed_union(inner, unread, within) if origin in (Union, UnionType) else _Nothing


def _closed_union(inner: tuple[Any, ...], unread: Unread, within: frozenset[type[msgspec.Struct]]) -> Any:  # noqa: ANN401 - of all kinds
    if any(one in _ANYTHING for one in inner):
        # Beside anything, other types than null cannot be told from what is shallow.
        return _Shallow if all(one in (*_ANYTHING, NoneType) for one in inner) else None
    ones = [_closed_type(one, unread, within) for one in inner]
    return Union[tuple(one for one in ones if one is not _Nothing) or (_Nothing,)]  # noqa: UP007 - of as many as there are


def most_values(record: type[msgspec.Struct]) -> int | None:
    """How many JSON values there may be for each `{` of what is decoded into a closed `record`; None where not bounded.

    A member that comes twice is not counted twice: the second takes the place of the first.
    """
    return _most(record, frozenset())


def _most(kind: Any, within: frozenset[type[msgspec.Struct]], *, listed: bool = False) -> int | None:  # noqa: ANN401 - of all kinds
    """The same for a type. In a list only structs are bounded, each by its brace: of other values there may be any number."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        if kind.__struct_config__.array_like:
            return None
        if kind in within:
            return 1
        inside = [_most(field.type, within | {kind}) for field in msgspec.structs.fields(kind)]
        bounded = [most for most in inside if most is not None]
        return max(len(inside) + 1, *bounded, 1) if len(bounded) == len(inside) else None
    origin, inner = get_origin(kind), get_args(kind)
    if origin is list and not listed:
        return _most(inner[0], within, listed=True)
    if origin in (Union, UnionType) and not listed:
        bounds = [_most(one, within) for one in inner]
        return None if None in bounds else max(bound for bound in bounds if bound is not None)
    return None if listed or kind in _ANYTHING else 1
