"""Adapters found by name, through entry points, without importing any until it is used."""

from copy import copy
from importlib.metadata import Distribution, EntryPoint, distribution, distributions
from typing import ClassVar, NamedTuple, cast

import msgspec

from bulkstatus._adapter import Adapter, IdGrammar
from bulkstatus._auth import Auth, all_of
from bulkstatus._call import Call, ListQuery, OperationQuery, Page
from bulkstatus._model import BulkOperation, BulkStatus
from bulkstatus._text import printable
from bulkstatus.errors import ConfigError

GROUP = "bulkstatus.adapters"


class Provider(NamedTuple):
    """An adapter that is installed: its word, and the distribution (name and version) it came with."""

    word: str
    distribution: str
    problem: str | None = None


def providers() -> tuple[Provider, ...]:
    """Every installed adapter, by name, nothing imported.

    A word that two distributions claim has a `problem`, and so has a distribution whose entry points cannot be read;
    its word is then "?".
    """
    found: list[Provider] = []
    for word, points in sorted(_by_word().items()):
        names = sorted({label for _, label in points})
        problem = f"claimed by {' and by '.join(names)}: uninstall one" if len(points) > 1 else None
        found.append(Provider(word, ", ".join(names), problem))
    broken = (
        Provider("?", label, "its entry points cannot be read: reinstall it")
        for label in entry_points_of(GROUP)[1]
    )
    return (*found, *broken)


def load(word: str) -> type[Adapter]:
    """Import the adapter called `word`.

    Raises ConfigError when there is none, when two distributions claim the word, and when it cannot be imported or
    is not an adapter; the message names the distribution, and the last three have the reason "adapter". Other adapters
    are not touched.
    """
    loaded, label = imported(GROUP, word, "adapter")
    if not (isinstance(loaded, type) and issubclass(loaded, Adapter)):
        raise ConfigError(f"the adapter {word!r} of {label} is not a subclass of Adapter", reason="adapter")
    return loaded


def imported(group: str, word: str, what: str) -> tuple[object, str]:
    """What the entry point `word` of a group names, a `what` of that provider; and its distribution.

    Raises ConfigError when there is none, when two distributions claim the word, and when it cannot be imported.
    """
    by_word = _by_word(group)
    points = by_word.get(word, [])
    if not points:
        known = ", ".join(sorted(by_word)) or "none"
        raise ConfigError(f"no {what} is installed for provider {word[:64]!r} (installed: {known})")
    if len(points) > 1:
        names = " and by ".join(sorted({label for _, label in points}))
        raise ConfigError(f"provider {word!r} is claimed by {names}: uninstall one", reason="adapter")
    point, label = points[0]
    try:
        return point.load(), label
    except (Exception, SystemExit) as error:
        why = printable(f"{type(error).__name__}: {error}", 200)
        message = f"the {what} {word!r} of {label} cannot be imported: {why}"
        raise ConfigError(message, reason="adapter") from error


def absent(word: str, why: ConfigError) -> Adapter:
    """What stands in the place of adapter `word`, which cannot be loaded: whatever is asked of it raises `why`."""
    kind = msgspec.defstruct(
        "Absent", [], bases=(_Absent,), namespace={"provider": word}, frozen=True, kw_only=True
    )
    return cast("Adapter", kind(why=why))


class _Absent(Adapter, frozen=True, kw_only=True):
    id_grammar: ClassVar[IdGrammar] = IdGrammar(".+", "anything")
    rows_per_page: ClassVar[int | None] = None

    why: ConfigError

    def auth(self) -> Auth:
        return all_of()

    def base_urls(self) -> tuple[str, ...]:
        return ()

    def status(self, id: str) -> Call[BulkStatus]:  # noqa: ARG002 - whatever the id
        raise copy(self.why)

    def listing(self, query: ListQuery) -> tuple[Call[Page[BulkStatus]], ...]:  # noqa: ARG002 - whatever is asked
        raise copy(self.why)

    def operations(self, id: str, query: OperationQuery) -> Call[Page[BulkOperation]]:  # noqa: ARG002 - likewise
        raise copy(self.why)

    def probe(self) -> Call[object]:
        raise copy(self.why)


def entry_points_of(group: str) -> tuple[list[tuple[EntryPoint, str]], list[str]]:
    """The entry points of a group, each with its distribution's name and version; and those that cannot be read.

    Distribution by distribution, because `importlib.metadata.entry_points` gives none at all when one of them has
    entry points that cannot be read. Of a distribution that is on the path twice, the first counts, as for imports.
    """
    found: list[tuple[EntryPoint, str]] = []
    broken: list[str] = []
    labels: set[str] = set()
    for candidate in distributions():
        label = "an unnamed distribution"
        try:
            if group not in (candidate.read_text("entry_points.txt") or ""):
                continue
            name = _name_of(candidate)
            if name:
                label = f"{name} {candidate.version}"
                if label in labels or distribution(name).version != candidate.version:
                    continue
                labels.add(label)
            found += ((point, label) for point in candidate.entry_points.select(group=group))
        except Exception:  # noqa: BLE001 - whatever is wrong with one distribution, the others are there
            broken.append(label)
    return found, broken


def _name_of(candidate: Distribution) -> str | None:
    try:
        return candidate.metadata["Name"]
    except Exception:  # noqa: BLE001 - without metadata it is None, TypeError or FileNotFoundError, by version
        return None


def _by_word(group: str = GROUP) -> dict[str, list[tuple[EntryPoint, str]]]:
    grouped: dict[str, list[tuple[EntryPoint, str]]] = {}
    for point, label in entry_points_of(group)[0]:
        grouped.setdefault(point.name, []).append((point, label))
    return grouped
