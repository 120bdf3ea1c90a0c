"""The guide on writing an adapter, followed word by word: what it makes of the scaffold keeps the contract."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.util import find_spec

import pytest

from bulkstatus import adapter
from bulkstatus.cli import _scaffold
from bulkstatus.testing.contract import _todo
from guide import GUIDE, complaints, follow


@pytest.fixture(scope="module")
def followed(tmp_path_factory):
    """The scaffold for Globex, changed block by block as the guide has it."""
    return follow(tmp_path_factory.mktemp("guide"))


def run_tests(package, *options):
    """Run the tests of a package, warnings and all as its project file has it."""
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", *options],
        cwd=package,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(["src", *sys.path]), "PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_who_follows_the_guide_has_an_adapter_that_keeps_the_contract(followed):
    """Scaffold, then every block of the page at its place: the tests of the package pass, the contract among them."""
    done = run_tests(followed)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "::TestGlobex::test_" in done.stdout


def test_a_broken_promise_reads_as_the_guide_shows_it(followed, tmp_path):
    """The change that the page proposes breaks the promise that it prints, in these words, and no other."""
    package = shutil.copytree(followed, tmp_path / "broken")
    adapter = package / "src" / "bulkstatus_globex" / "_adapter.py"
    text = adapter.read_text()
    taken_out = re.findall(r"^ +if not rows\.found:\n.*\n", text, re.MULTILINE)
    assert len(taken_out) == 1
    adapter.write_text(text.replace(taken_out[0], ""))
    done = run_tests(package, "tests/test_contract.py")
    assert done.returncode == 1
    (sample,) = re.findall(r"^```text\n(Promised: .*?)^```$", GUIDE.read_text(), re.MULTILINE | re.DOTALL)
    assert " ".join(sample.split()) in " ".join(done.stdout.split())
    # Not counted by its words: pytest repeats them in its summary where the environment has `CI`.
    assert re.search(r"^=+ 1 failed, \d+ passed in ", done.stdout, re.MULTILINE)


def test_who_follows_the_guide_has_filled_in_all_code(followed):
    """No mark is left in what is Python."""
    for file in followed.rglob("*.py"):
        assert "FILL IN" not in file.read_text(), file


@pytest.mark.skipif(find_spec("ruff") is None, reason="needs ruff, of the group `check`")
def test_who_follows_the_guide_has_no_loose_ends(followed):
    """Once formatted, the linter finds nothing, such as names that are imported and not used."""
    assert complaints(followed, "--quiet") == ""


def test_the_guide_says_what_the_scaffold_has_in_its_project_file(tmp_path):
    """Its entry points are those of the scaffold for the same word."""
    _scaffold.new_adapter("acme", tmp_path)
    project = tomllib.loads((tmp_path / "bulkstatus-acme" / "pyproject.toml").read_text())["project"]
    (block,) = re.findall(r"^```ini\n(.*?)^```$", GUIDE.read_text(), re.MULTILINE | re.DOTALL)
    assert tomllib.loads(block)["project"]["entry-points"] == project["entry-points"]


def test_the_guide_names_everything_that_adapters_may_import():
    """A name of the door for adapter authors that is not on the page is found by nobody."""
    named = set(re.findall(r"\w+", GUIDE.read_text()))
    assert set(adapter.__all__) <= named


def test_what_the_contract_refers_to_is_in_the_guide():
    """A broken promise names a heading of this page."""
    headings = set(re.findall(r"^#+ (.+)$", GUIDE.read_text(), re.MULTILINE))
    referred = {value.heading for value in vars(_todo).values() if isinstance(value, _todo.Todo)}
    assert referred
    assert referred <= headings
