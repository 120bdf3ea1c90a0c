"""Structs that take the documented members and no others: what they decode is shallow, and nothing in it is new.

Decoding into one of these answers in one pass what else takes several over the body: whether it is nested too deep, and
whether a member is in it that is not documented. Whatever is not just as documented is left to the lenient way.
"""

from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

import msgspec

_PLAIN = (str, int, float, bool, NoneType)


def closed(
    record: type[msgspec.Struct], within: frozenset[type[msgspec.Struct]] = frozenset()
) -> type[msgspec.Struct]:
    """A subclass of `record` that is equal to it where the values are, and refuses members which it does not name.

    So do the structs in its fields. A field that may hold anything, or one of the structs it is `within`, takes only
    null here, as nothing bounds the rest.
    """
    fields: list[tuple[str, Any, Any]] = [
        (field.name, _closed_type(field.type, within | {record}), _same(field))
        for field in msgspec.structs.fields(record)
    ]

    def is_equal(self: msgspec.Struct, other: object) -> object:
        if not isinstance(other, record):
            return NotImplemented
        return msgspec.structs.astuple(self) == msgspec.structs.astuple(other)

    def hashed(self: msgspec.Struct) -> int:
        return hash(record(**msgspec.structs.asdict(self)))  # equal ones have to have the same

    members = {"__eq__": is_equal, "__hash__": hashed, "__doc__": record.__doc__}
    return msgspec.defstruct(
        record.__name__, fields, bases=(record,), namespace=members, forbid_unknown_fields=True
    )


def _same(field: msgspec.structs.FieldInfo) -> Any:  # noqa: ANN401 - what msgspec.field gives
    if field.default_factory is not msgspec.NODEFAULT:
        return msgspec.field(name=field.encode_name, default_factory=field.default_factory)
    return msgspec.field(name=field.encode_name, default=field.default)


def _closed_type(kind: Any, within: frozenset[type[msgspec.Struct]]) -> Any:  # noqa: ANN401 - of all kinds
    if kind in _PLAIN:
        return kind
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct) and kind not in within:
        return closed(kind, within)
    origin, inner = get_origin(kind), get_args(kind)
    if origin is list:
        return list.__class_getitem__(_closed_type(inner[0], within))
    if origin in (Union, UnionType):
        return Union[tuple(_closed_type(one, within) for one in inner)]  # noqa: UP007 - of as many as there are
    return None
