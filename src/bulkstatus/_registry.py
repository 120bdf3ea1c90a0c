"""Adapters found by name, through entry points, without importing any until it is used."""

from importlib.metadata import EntryPoint, entry_points
from typing import NamedTuple

from bulkstatus._adapter import Adapter
from bulkstatus._text import printable
from bulkstatus.errors import ConfigError

GROUP = "bulkstatus.adapters"


class Provider(NamedTuple):
    """An adapter that is installed: its word, and the distribution (name and version) it came with."""

    word: str
    distribution: str
    problem: str | None = None


def providers() -> tuple[Provider, ...]:
    """Every installed adapter, by name, nothing imported. A word that two distributions claim has a `problem`."""
    found: list[Provider] = []
    for word, points in sorted(_by_word().items()):
        names = sorted({_distribution(point) for point in points})
        problem = f"claimed by {' and by '.join(names)}: uninstall one" if len(points) > 1 else None
        found.append(Provider(word, ", ".join(names), problem))
    return tuple(found)


def load(word: str) -> type[Adapter]:
    """Import the adapter called `word`.

    Raises ConfigError when there is none, when two distributions claim the word, and when it cannot be imported or
    is not an adapter; the message names the distribution. Other adapters are not touched.
    """
    points = _by_word().get(word, [])
    if not points:
        known = ", ".join(provider.word for provider in providers()) or "none"
        raise ConfigError(f"no adapter is installed for provider {word[:64]!r} (installed: {known})")
    if len(points) > 1:
        names = " and by ".join(sorted({_distribution(point) for point in points}))
        raise ConfigError(f"provider {word!r} is claimed by {names}: uninstall one")
    point = points[0]
    try:
        loaded: object = point.load()
    except Exception as error:
        why = printable(f"{type(error).__name__}: {error}", 200)
        raise ConfigError(
            f"the adapter {word!r} of {_distribution(point)} cannot be imported: {why}"
        ) from error
    if not (isinstance(loaded, type) and issubclass(loaded, Adapter)):
        raise ConfigError(f"the adapter {word!r} of {_distribution(point)} is not a subclass of Adapter")
    return loaded


def _by_word() -> dict[str, list[EntryPoint]]:
    grouped: dict[str, dict[tuple[str, str], EntryPoint]] = {}
    for point in entry_points(group=GROUP):
        # One distribution may be found twice on the path; the same object under the same name is no clash.
        grouped.setdefault(point.name, {})[_distribution(point), point.value] = point
    return {word: list(points.values()) for word, points in grouped.items()}


def _distribution(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist is not None else "an unknown distribution"
