"""Adapters written down as a configuration file, the credentials of fakes included, which are no secrets."""

import json
from collections.abc import Callable, Mapping
from typing import cast

import msgspec

from bulkstatus._config import UnshownText
from bulkstatus._secrets import Secret
from bulkstatus._text import toml_key
from bulkstatus.adapter import Adapter

HEADER = "# Written by bulkstatus.testing: it reaches fakes, and holds no secret."


def _revealed(name: str, secret: Secret) -> str:
    del name
    return secret.reveal()


def configuration(adapters: Mapping[str, Adapter], written: Callable[[str, Secret], str] = _revealed) -> str:
    """The text of a configuration whose sources are `adapters`; `written` is what stands for the credential of a setting."""
    sections = (_section(name, adapter, written) for name, adapter in adapters.items())
    return UnshownText("\n".join([HEADER, *sections]))


def _section(name: str, adapter: Adapter, written: Callable[[str, Secret], str]) -> str:
    fields = type(adapter).__struct_fields__
    told = ((field, getattr(adapter, field)) for field in fields)
    plain = {field: written(field, value) if isinstance(value, Secret) else value for field, value in told}
    settings: dict[str, object] = msgspec.to_builtins(plain)
    needed = {field: value for field, value in settings.items() if value not in (None, {})}
    lines = (
        f"{key} = {_written(value)}\n"
        for key, value in {"provider": adapter.provider, "allow_plaintext": True, **needed}.items()
    )
    return f"\n[sources.{toml_key(name)}]\n{''.join(lines)}"


def _written(value: object) -> str:
    """A value in TOML, whose strings, numbers and booleans are those of JSON."""
    if isinstance(value, dict):
        pairs = cast("dict[str, object]", value).items()
        return f"{{ {', '.join(f'{toml_key(key)} = {_written(each)}' for key, each in pairs)} }}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_written, cast('list[object]', value)))}]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
