"""Fakes found by name, through entry points."""

from typing import Any, cast

from bulkstatus._registry import entry_points_of
from bulkstatus.errors import ConfigError
from bulkstatus.testing._fake import Fake

GROUP = "bulkstatus.fakes"


def fake_names() -> tuple[str, ...]:
    """The words of all providers that come with a fake, in order; nothing is imported."""
    return tuple(sorted({point.name for point, _ in entry_points_of(GROUP)[0]}))


def load_fake(word: str) -> type[Fake[Any]]:
    """Import the fake of provider `word`. Raises ConfigError when there is none."""
    for point, _ in entry_points_of(GROUP)[0]:
        if point.name == word:
            return cast("type[Fake[Any]]", point.load())
    raise ConfigError(
        f"no fake is installed for provider {word[:64]!r} (there are: {', '.join(fake_names())})"
    )
