"""Promises about an adapter's settings: what they are, where they come from, what they refuse."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from bulkstatus import _config, providers, read_config
from bulkstatus._registry import GROUP as ADAPTERS
from bulkstatus._registry import entry_points_of
from bulkstatus.adapter import Adapter, Secret
from bulkstatus.errors import ConfigError
from bulkstatus.testing._configuration import configuration
from bulkstatus.testing._registry import GROUP as FAKES
from bulkstatus.testing.contract import _todo
from bulkstatus.testing.contract._driver import SOURCE, Broken, outcome
from bulkstatus.testing.contract._promise import Promises, promise

_REFUSED = (
    "http://api.example.com",
    "http://10.0.0.7:8080",
    "https://user:pass@api.example.com",
    "https://api.example.com?x=1",
    "https://api.example.com#x",
    "ftp://api.example.com",
    "https://169.254.169.254",
    "api.example.com",
    "https://",
)


class SettingPromises(Promises):
    """What an adapter is made of."""

    @promise(_todo.FOUND)
    def test_the_provider_has_one_word(self) -> None:
        """Adapter, fake and entry points call the provider by one word of lower-case letters, digits and `_`."""
        word = self.bench().adapter.provider
        if word != self.fake.word:
            raise Broken(f"the adapter says {word!a} and the fake {self.fake.word!a}")
        if not (word.isascii() and word.isidentifier() and word == word.lower()):
            raise Broken(f"{word!a} is no such word")
        package = _package(type(self.bench().adapter).__module__)
        for group in (ADAPTERS, FAKES):
            points, _ = entry_points_of(group)
            words = {point.name for point, _ in points if _package(point.value) == package}
            if words and word not in words:
                raise Broken(f"the entry point in {group} is {', '.join(sorted(words))}, and the word {word}")

    @promise(_todo.SETTINGS)
    def test_settings_do_not_change(self) -> None:
        """An adapter is frozen, refuses settings that it does not know, and equals a copy of itself."""
        adapter = self.bench().adapter
        name = next(iter(type(adapter).__struct_fields__))
        try:
            setattr(adapter, name, getattr(adapter, name))
        except AttributeError:
            pass
        else:
            raise Broken("a setting can be set: declare the struct frozen=True")
        if msgspec.structs.replace(adapter) != adapter:
            raise Broken("a copy is another adapter")

    @promise(_todo.URLS)
    def test_credentials_go_nowhere_in_clear(self) -> None:
        """A base URL that is not https, beyond this machine, or that holds more than a place is a ConfigError."""
        fake = self.bench().fake
        for url in _REFUSED:
            found = outcome(self.make_adapter, fake, url)
            if not isinstance(found, ConfigError):
                raise Broken(f"{url} is accepted as base URL")
        for url in ("http://127.0.0.1:8080", "http://localhost:8080/v1", "https://api.example.com/v1"):
            found = outcome(self.make_adapter, fake, url)
            if not isinstance(found, Adapter):
                raise Broken(f"{url} is refused as base URL")
            if not all(base.startswith(url) for base in found.base_urls()):
                raise Broken(f"with {url} as base URL, base_urls() holds another")

    @promise(_todo.SETTINGS)
    def test_settings_come_from_a_configuration(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A table with these settings, credentials by reference, makes the same adapter."""
        adapter = self.bench().adapter

        def referred(name: str, secret: Secret) -> str:
            variable = f"BULKSTATUS_CONTRACT_{name.upper()}"
            monkeypatch.setenv(variable, secret.reveal())
            return f"env:{variable}"

        file = tmp_path / "bulkstatus.toml"
        file.write_text(configuration({SOURCE: adapter}, referred), encoding="utf-8")
        if adapter.provider not in {each.word for each in providers()}:
            # Not installed: the tests of a package may run before it is.
            monkeypatch.setattr(_config, "load", {adapter.provider: type(adapter)}.__getitem__)
        built = read_config(file).build()[SOURCE]
        for field in msgspec.structs.fields(adapter):
            if _plain(getattr(built, field.name)) != _plain(getattr(adapter, field.name)):
                raise Broken(f"{field.name} is another when it comes from a configuration")


def _package(place: str) -> str:
    """The outermost package of a module, or of what an entry point names."""
    return place.partition(":")[0].partition(".")[0]


def _plain(value: Any) -> Any:  # noqa: ANN401 - any setting
    return value.reveal() if isinstance(value, Secret) else value
