"""The doors: what each exports is there, nothing more is, and opening one costs no more than it must."""

import importlib
import subprocess
import sys
import types
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOORS = ["bulkstatus", "bulkstatus.adapter", "bulkstatus.errors", "bulkstatus.testing"]
ADAPTERS = sorted(
    folder.name for folder in (ROOT / "adapters").iterdir() if (folder / "__init__.py").exists()
)


def run(code, *options):
    """Run code in a fresh interpreter; what it prints."""
    done = subprocess.run(
        [sys.executable, *options, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("door", [*DOORS, *ADAPTERS])
def test_every_exported_name_is_there(door):
    """`__all__` is sorted, holds nothing twice, and every name in it can be reached."""
    module = importlib.import_module(door)
    assert sorted(module.__all__) == sorted(set(module.__all__))
    for name in module.__all__:
        assert getattr(module, name) is not None


@pytest.mark.parametrize("door", [*DOORS, *ADAPTERS])
def test_everything_public_is_exported(door):
    """A name without an underscore that is ours, and is not a module, is in `__all__`."""
    module = importlib.import_module(door)
    ours = {
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and not isinstance(value, types.ModuleType)
        and str(getattr(value, "__module__", door)).startswith("bulkstatus")
        and name != "TYPE_CHECKING"
    }
    imported_to_define = {"printable"} if door == "bulkstatus.errors" else set()
    assert ours - imported_to_define <= set(module.__all__)


@pytest.mark.parametrize("door", DOORS)
def test_a_star_import_gives_exactly_the_exported_names(door):
    """In a fresh interpreter, lazy names too."""
    code = f"""
import {door} as door
names = {{}}
exec("from {door} import *", names)
assert set(names) - {{"__builtins__"}} == set(door.__all__), set(names) ^ set(door.__all__)
"""
    run(code)


def test_lazy_names_are_listed_before_they_are_loaded():
    """`dir` shows them, so completion in a shell finds `Client`."""
    code = "import bulkstatus; print(set(bulkstatus.__all__) <= set(dir(bulkstatus)))"
    assert run(code) == "True"


def test_a_name_that_is_not_there_is_an_attribute_error():
    """As with any module."""
    import bulkstatus

    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = bulkstatus.Nothing
    assert not hasattr(bulkstatus, "Nothing")


def test_every_lazy_name_is_where_the_table_says():
    """Each comes from a module of ours, and is loaded once."""
    import bulkstatus

    assert set(bulkstatus._LAZY) <= set(bulkstatus.__all__)
    for name in bulkstatus._LAZY:
        assert getattr(bulkstatus, name) is getattr(bulkstatus, name)


@pytest.mark.parametrize("door", ["bulkstatus", "bulkstatus.adapter", "bulkstatus.errors", *ADAPTERS])
def test_a_door_imports_no_http_client(door):
    """Start-up stays quick: httpx, stamina and asyncio are loaded by the first client."""
    code = f"""
import sys, {door}
print(sorted({{"httpx", "httpcore", "stamina", "tenacity", "anyio", "keyring", "rich", "dateutil"}} & set(sys.modules)))
"""
    assert run(code) == "[]"


def test_listing_providers_imports_none_of_them():
    """Names come from entry points alone."""
    code = """
import sys, bulkstatus
words = [provider.word for provider in bulkstatus.providers()]
print(words, [name for name in sys.modules if name.startswith("bulkstatus_")])
"""
    assert run(code) == f"{[name.removeprefix('bulkstatus_') for name in ADAPTERS]} []"


@pytest.mark.parametrize("door", [*DOORS, *ADAPTERS])
def test_every_exported_class_and_function_is_documented(door):
    """A docstring of its own."""
    module = importlib.import_module(door)
    for name in module.__all__:
        value = getattr(module, name)
        if isinstance(value, type | types.FunctionType):
            assert (value.__doc__ or "").strip(), name


def test_all_errors_are_on_the_front_door():
    """Whoever imports `bulkstatus` can catch everything it raises."""
    import bulkstatus
    from bulkstatus import errors

    classes = {name for name in errors.__all__ if isinstance(getattr(errors, name), type)}
    assert classes <= set(bulkstatus.__all__)


@pytest.mark.skipif(find_spec("importlinter") is None, reason="needs import-linter, of the group `check`")
def test_the_arrows_between_modules_point_one_way(tmp_path):
    """The contracts in pyproject.toml hold."""
    program = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [program, "--no-cache"], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout
