"""Fakes found by name, through entry points."""

from importlib.metadata import entry_points
from typing import cast

from bulkstatus.errors import ConfigError
from bulkstatus.testing._fake import Fake

GROUP = "bulkstatus.fakes"


def fake_names() -> tuple[str, ...]:
    """The words of all providers that come with a fake, in order; nothing is imported."""
    return tuple(sorted(entry_points(group=GROUP).names))


def load_fake(word: str) -> type[Fake]:
    """Import the fake of provider `word`. Raises ConfigError when there is none."""
    for point in entry_points(group=GROUP, name=word):
        return cast("type[Fake]", point.load())
    raise ConfigError(
        f"no fake is installed for provider {word[:64]!r} (there are: {', '.join(fake_names())})"
    )
