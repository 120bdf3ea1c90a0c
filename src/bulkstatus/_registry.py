"""Adapters found by name, through entry points, without importing any until it is used."""

from collections.abc import Iterator
from importlib.metadata import EntryPoint, distributions
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
        names = sorted({distribution for _, distribution in points})
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
        names = " and by ".join(sorted({distribution for _, distribution in points}))
        raise ConfigError(f"provider {word!r} is claimed by {names}: uninstall one")
    point, distribution = points[0]
    try:
        loaded: object = point.load()
    except Exception as error:
        why = printable(f"{type(error).__name__}: {error}", 200)
        raise ConfigError(f"the adapter {word!r} of {distribution} cannot be imported: {why}") from error
    if not (isinstance(loaded, type) and issubclass(loaded, Adapter)):
        raise ConfigError(f"the adapter {word!r} of {distribution} is not a subclass of Adapter")
    return loaded


def entry_points_of(group: str) -> Iterator[tuple[EntryPoint, str]]:
    """The entry points of a group, each with the name and version of its distribution.

    Distribution by distribution, because `importlib.metadata.entry_points` gives none at all when one of them has
    entry points that cannot be read. Of a distribution that is on the path twice, the first counts, as for imports.
    """
    seen: set[str] = set()
    for distribution in distributions():
        text = distribution.read_text("entry_points.txt")
        if text is None or group not in text:
            continue
        try:
            name, points = distribution.name, distribution.entry_points.select(group=group)
            label = f"{name} {distribution.version}"
        except Exception:  # noqa: BLE001, S112 - whatever is wrong with one distribution, the others are there
            continue
        if name not in seen:
            seen.add(name)
            yield from ((point, label) for point in points)


def _by_word() -> dict[str, list[tuple[EntryPoint, str]]]:
    grouped: dict[str, list[tuple[EntryPoint, str]]] = {}
    for point, distribution in entry_points_of(GROUP):
        grouped.setdefault(point.name, []).append((point, distribution))
    return grouped
