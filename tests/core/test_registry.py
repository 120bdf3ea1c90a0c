"""Adapters found by name."""

import importlib
import importlib.metadata
import subprocess
import sys

import pytest

from bulkstatus import Client
from bulkstatus._adapter import Adapter
from bulkstatus._registry import GROUP, Provider, absent, load, providers
from bulkstatus.errors import ConfigError

ADAPTER = """
from typing import ClassVar
from bulkstatus.adapter import Adapter, IdGrammar

class Stranger(Adapter, frozen=True, kw_only=True):
    provider: ClassVar[str] = "stranger"
    id_grammar: ClassVar[IdGrammar] = IdGrammar("[0-9]+", "digits")
    colour: str = "blue"

VALUE = 42
"""


class Site:
    """A folder on the path, into which distributions can be put."""

    def __init__(self, folder):
        self.folder = folder

    def distribution(self, name, *, version="1.0", points="", text=None, metadata=True):
        """Put a distribution there that declares `points` in our group, or has `text` for all its entry points."""
        info = self.folder / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir(parents=True)
        if metadata:
            info.joinpath("METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        whole = f"[{GROUP}]\n{points}\n" if text is None else text
        info.joinpath("entry_points.txt").write_bytes(whole if isinstance(whole, bytes) else whole.encode())
        importlib.invalidate_caches()

    def module(self, name, source=ADAPTER):
        """Put a module there."""
        self.folder.joinpath(f"{name}.py").write_text(source)
        importlib.invalidate_caches()


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder at the end of the path; modules imported from it are forgotten afterwards."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.setattr(sys, "path", [*sys.path, str(folder)])
    monkeypatch.setattr(sys, "modules", sys.modules.copy())
    return Site(folder)


def found(word) -> Provider | None:
    """The provider called `word`."""
    return next((provider for provider in providers() if provider.word == word), None)


def refused(word) -> str:
    """The text of the error that loading `word` gives."""
    with pytest.raises(ConfigError) as caught:
        load(word)
    assert str(caught.value).isprintable()
    return str(caught.value)


def ours_still_work():
    """The adapters of this distribution are listed and load."""
    assert {"cloudflare", "druid", "openai", "weavr"} <= {provider.word for provider in providers()}
    for word in ("cloudflare", "druid", "openai", "weavr"):
        assert found(word).problem is None
        assert load(word).provider == word


def test_the_group_is_the_published_one():
    """Strangers write this name into their projects."""
    assert GROUP == "bulkstatus.adapters"


def test_our_own_adapters_are_found_like_anybodys():
    """Three words, sorted among the others, each with the distribution it came with."""
    ours_still_work()
    words = [provider.word for provider in providers()]
    assert words == sorted(words)
    assert found("weavr").distribution.startswith("bulkstatus ")


def test_a_strangers_adapter_is_as_good_as_ours(site):
    """A distribution of its own, found by its word, loaded by it, ready for settings."""
    site.module("stranger_adapter")
    site.distribution("bulkstatus-stranger", version="2.5", points="stranger = stranger_adapter:Stranger")
    assert found("stranger") == Provider("stranger", "bulkstatus-stranger 2.5", None)
    loaded = load("stranger")
    assert issubclass(loaded, Adapter)
    assert loaded(colour="red").colour == "red"
    assert load("stranger") is loaded
    ours_still_work()


def test_listing_imports_nothing(site):
    """A module that would fail, or do anything, is not touched by being listed."""
    site.module("listed_only", "raise RuntimeError('imported')")
    site.distribution("listed", points="listed = listed_only:Stranger")
    assert found("listed") == Provider("listed", "listed 1.0", None)
    assert "listed_only" not in sys.modules


def test_listing_imports_no_adapter_of_ours():
    """In a fresh interpreter, the names are known before any adapter is."""
    code = (
        "import sys; from bulkstatus._registry import providers; names = [p.word for p in providers()]; "
        "assert 'weavr' in names, names; "
        "assert not [name for name in sys.modules if name.startswith('bulkstatus_')]"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_loading_one_imports_no_other(site):
    """Only the adapter asked for is imported."""
    site.module("first_adapter")
    site.module("second_adapter")
    site.distribution("two", points="first = first_adapter:Stranger\nsecond = second_adapter:Stranger")
    load("first")
    assert "first_adapter" in sys.modules
    assert "second_adapter" not in sys.modules


def test_a_word_that_two_claim_is_named_with_both(site):
    """Neither is used: both distributions are named, in the list and in the error, and nothing is imported."""
    site.module("one_adapter")
    site.module("other_adapter")
    site.distribution("one-dist", version="1.0", points="doubled = one_adapter:Stranger")
    site.distribution("other-dist", version="2.0", points="doubled = other_adapter:Stranger")
    provider = found("doubled")
    error = refused("doubled")
    for name in ("one-dist 1.0", "other-dist 2.0"):
        assert name in provider.distribution
        assert name in provider.problem
        assert name in error
    assert "doubled" in error
    assert not {"one_adapter", "other_adapter"} & set(sys.modules)
    ours_still_work()


def test_a_stranger_cannot_take_over_a_word_of_ours(site):
    """A second claim to `weavr` disables the word, loudly, and no other."""
    site.module("evil_adapter")
    site.distribution("evil", points="weavr = evil_adapter:Stranger")
    assert "evil 1.0" in found("weavr").problem
    assert "evil 1.0" in refused("weavr")
    assert "evil_adapter" not in sys.modules
    assert load("druid").provider == "druid"


def test_one_distribution_found_twice_is_no_clash(site, tmp_path, monkeypatch):
    """The same folder, or a copy of the same version, twice on the path is one claim."""
    site.module("twice_adapter")
    site.distribution("twice", points="twice = twice_adapter:Stranger")
    copy = Site(tmp_path / "copy")
    copy.distribution("twice", points="twice = twice_adapter:Stranger")
    monkeypatch.setattr(sys, "path", [*sys.path, str(site.folder), str(copy.folder)])
    assert found("twice").problem is None
    assert load("twice").provider == "stranger"


BROKEN = {
    "a module that is not there": ("nowhere_adapter:Stranger", None, "nowhere_adapter"),
    "a name that is not there": ("broken_adapter:Nobody", ADAPTER, "Nobody"),
    "an import that fails": ("broken_adapter:Stranger", "import no_such_library_anywhere", "no_such_library"),
    "a module that does not compile": ("broken_adapter:Stranger", "def (", "SyntaxError"),
    "a module that raises": (
        "broken_adapter:Stranger",
        "raise RuntimeError('bo\\x1b[31mom\\n')",
        r"bo\x1b[31mom",
    ),
    "an object that is no adapter": ("broken_adapter:VALUE", ADAPTER, "not a subclass of Adapter"),
    "a class that is no adapter": ("broken_adapter:C", "class C: pass", "not a subclass of Adapter"),
    "a module": ("broken_adapter", ADAPTER, "not a subclass of Adapter"),
}


@pytest.mark.parametrize(("value", "source", "why"), BROKEN.values(), ids=BROKEN)
def test_a_broken_adapter_is_named_and_hurts_only_itself(site, value, source, why):
    """It is listed, loading it says which distribution and why, and all others work."""
    if source is not None:
        site.module("broken_adapter", source)
    site.distribution("broken-dist", version="0.1", points=f"broken = {value}")
    assert found("broken") == Provider("broken", "broken-dist 0.1", None)
    error = refused("broken")
    assert "'broken'" in error
    assert "broken-dist 0.1" in error
    assert why in error
    ours_still_work()


def test_the_cause_of_a_failed_import_is_kept(site):
    """Whoever writes the adapter sees the traceback."""
    site.module("raising_adapter", "raise RuntimeError('boom')")
    site.distribution("raising", points="raising = raising_adapter:Stranger")
    with pytest.raises(ConfigError) as caught:
        load("raising")
    assert isinstance(caught.value.__cause__, RuntimeError)


@pytest.mark.parametrize("value", ["not a reference!", "", ":", "a b:c", "mod:"])
def test_an_entry_point_that_cannot_be_read_hurts_only_itself(site, value):
    """It is an error when it is used, and no obstacle to anything else."""
    site.distribution("odd-dist", points=f"odd = {value}")
    assert "odd-dist 1.0" in refused("odd")
    ours_still_work()


@pytest.mark.parametrize("text", [f"[{GROUP}]\nno equals sign\n", "garbage", "", "[", f"[{GROUP}]\n= x:Y\n"])
def test_a_distribution_with_unreadable_entry_points_hurts_only_itself(site, text):
    """However broken one distribution is, the adapters of the others are found and load."""
    site.distribution("garbage-dist", text=text)
    ours_still_work()


def test_entry_points_that_are_no_text_hurt_only_themselves(site):
    """Bytes in no known encoding are no obstacle either."""
    site.distribution("binary-dist", text=f"[{GROUP}]\nbinary = x:Y".encode() + b"\xff\xfe\x00")
    ours_still_work()


@pytest.mark.parametrize("points", ["", "shadowed = new_adapter:Stranger"])
def test_of_a_distribution_that_is_there_twice_the_first_counts(site, tmp_path, monkeypatch, points):
    """As for imports, an older version further down the path is not there: neither as a clash, nor by itself."""
    site.distribution("shadow", version="2.0", points=points, text=None if points else "[console_scripts]\n")
    behind = Site(tmp_path / "behind")
    behind.distribution("shadow", version="1.0", points="shadowed = old_adapter:Stranger")
    monkeypatch.setattr(sys, "path", [*sys.path, str(behind.folder)])
    assert found("shadowed") == (Provider("shadowed", "shadow 2.0", None) if points else None)


def test_a_distribution_without_metadata_hurts_only_itself(site):
    """A removed package that left its folder behind is no obstacle."""
    site.module("left_adapter")
    site.distribution("left-behind", points="left = left_adapter:Stranger", metadata=False)
    ours_still_work()
    assert found("left") is not None


def test_a_word_that_nobody_claims_is_a_config_error(site):
    """The error names what there is."""
    error = refused("wevr")
    assert "'wevr'" in error
    for word in ("cloudflare", "druid", "openai", "weavr"):
        assert word in error


def test_a_hostile_word_is_shown_harmlessly():
    """The word comes from a file or a command line: cut, and escaped."""
    assert len(refused("\x1b[31m" + "a" * 1_000_000)) < 300


def test_with_no_adapter_at_all_the_error_says_none(monkeypatch):
    """A broken installation is recognised as one."""
    monkeypatch.setattr("bulkstatus._registry.distributions", lambda: ())
    assert providers() == ()
    assert "none" in refused("weavr")


QUESTIONS = {
    "get": lambda client: client.get("ghost:1"),
    "operations": lambda client: list(client.operations("ghost:1")),
    "list": lambda client: client.list().raise_for_failures(),
    "get_many": lambda client: client.get_many(["ghost:1", "ghost:2"]).raise_for_failures(),
}


@pytest.mark.parametrize("ask", QUESTIONS.values(), ids=QUESTIONS)
def test_whatever_is_asked_of_an_absent_adapter_says_why(ask):
    """Never that its provider shows no operations, or no list: nobody knows that."""
    ghost = absent("ghost", ConfigError("it cannot be imported", reason="adapter"))
    with Client({"ghost": ghost}) as client, pytest.raises(ConfigError, match="it cannot be imported"):
        ask(client)


def test_a_check_tells_of_an_absent_adapter():
    """A source that cannot be asked is no healthy one."""
    ghost = absent("ghost", ConfigError("it cannot be imported", reason="adapter"))
    with Client({"ghost": ghost}) as client:
        (health,) = client.check()
    assert (health.reachable, health.accepted, health.failure.reason) == (None, None, "adapter")
