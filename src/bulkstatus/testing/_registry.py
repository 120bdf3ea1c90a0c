"""Fakes found by name, through entry points."""

from typing import Any, cast

from bulkstatus._registry import entry_points_of, imported
from bulkstatus.errors import ConfigError
from bulkstatus.testing._fake import Fake

GROUP = "bulkstatus.fakes"


def fake_names() -> tuple[str, ...]:
    """The words of all providers that come with a fake, in order; nothing is imported."""
    return tuple(sorted({point.name for point, _ in entry_points_of(GROUP)[0]}))


def load_fake(word: str) -> type[Fake[Any]]:
    """Import the fake of provider `word`.

    Raises ConfigError when there is none, when two distributions claim the word, and when it cannot be imported or is
    no fake of that provider; the message names the distribution.
    """
    loaded, label = imported(GROUP, word, "fake")
    fake = cast("type[Fake[Any]]", loaded)
    if isinstance(loaded, type) and issubclass(loaded, Fake) and getattr(fake, "word", None) == word:
        return fake
    raise ConfigError(f"the fake {word!r} of {label} is not a subclass of Fake with that word")
