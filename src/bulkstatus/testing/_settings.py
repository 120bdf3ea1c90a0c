"""Adapters written down as a configuration file, the credentials of fakes included, which are no secrets."""

import json
import re
from collections.abc import Mapping
from typing import cast

import msgspec

from bulkstatus._config import UnshownText
from bulkstatus._secrets import Secret
from bulkstatus.adapter import Adapter

HEADER = "# Written by bulkstatus.testing: it reaches fakes, and holds no secret."
_BARE = re.compile(r"[A-Za-z0-9_-]+")


def configuration(adapters: Mapping[str, Adapter]) -> str:
    """The text of a configuration whose sources are `adapters`."""
    return UnshownText("\n".join([HEADER, *(_section(name, adapter) for name, adapter in adapters.items())]))


def _section(name: str, adapter: Adapter) -> str:
    settings = {"provider": adapter.provider, "allow_plaintext": True, **_settings(adapter)}
    lines = (f"{key} = {_written(value)}\n" for key, value in settings.items())
    return f"\n[sources.{_key(name)}]\n{''.join(lines)}"


def _settings(adapter: Adapter) -> dict[str, object]:
    told = {field.name: getattr(adapter, field.name) for field in msgspec.structs.fields(type(adapter))}
    plain = cast("dict[str, object]", msgspec.to_builtins(told, enc_hook=_revealed))
    return {name: value for name, value in plain.items() if value not in (None, {})}


def _revealed(value: object) -> str:
    if isinstance(value, Secret):
        return value.reveal()
    raise NotImplementedError


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else _written(name)


def _written(value: object) -> str:
    """A value in TOML, whose strings, numbers and booleans are those of JSON."""
    if isinstance(value, dict):
        pairs = cast("dict[str, object]", value).items()
        return f"{{ {', '.join(f'{_key(key)} = {_written(each)}' for key, each in pairs)} }}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_written, cast('list[object]', value)))}]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
