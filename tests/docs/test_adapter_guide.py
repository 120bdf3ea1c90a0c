"""The guide on writing an adapter, followed word by word: what it makes of the scaffold keeps the contract."""

import ast
import os
import re
import subprocess
import sys
import textwrap
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest

from bulkstatus import adapter
from bulkstatus.cli import _scaffold
from bulkstatus.testing.contract import _todo

GUIDE = Path(__file__).parents[2] / "docs" / "writing-an-adapter.md"
_BLOCK = re.compile(r"^```py\n# (?P<head>[^\n]+)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
_HEAD = re.compile(
    r"(?P<file>[\w/]+\.py)(?:, in class (?P<within>\w+))?(?:, in the place of (?P<replaced>[^\n]+))?"
)


def names_of(node):
    """What a statement defines."""
    if isinstance(node, ast.ClassDef | ast.FunctionDef):
        return {node.name}
    if isinstance(node, ast.Expr):
        return {"its docstring"}
    targets = getattr(node, "targets", [getattr(node, "target", None)])
    return {target.id for target in targets if isinstance(target, ast.Name)}


def begin_of(node):
    """Its first line, decorators among it; counted from 0."""
    return min([node.lineno, *(each.lineno for each in getattr(node, "decorator_list", []))]) - 1


def put(text, code, *, within, replaced):
    """`text` with `code` in the place of what is `replaced` in it, as somebody would who follows the page."""
    lines, tree = text.splitlines(), ast.parse(text)
    body = tree.body
    if within:
        (found,) = [node for node in body if isinstance(node, ast.ClassDef) and node.name == within]
        body = found.body
    above = re.fullmatch(r"everything above (\w+)", replaced)
    if above:
        (end,) = [begin_of(node) for node in body if above[1] in names_of(node)]
        return "\n".join([*code.splitlines(), "", *lines[end:]]) + "\n"
    wanted = re.split(r", | and ", replaced)
    places = {name: node for node in body for name in names_of(node) if name in wanted}
    assert set(places) == set(wanted), replaced
    first = min(map(begin_of, places.values()))
    gone = {line for node in places.values() for line in range(begin_of(node), node.end_lineno)}
    # The mark above goes with what it asks for.
    while lines[first - 1].lstrip().startswith("#"):
        first -= 1
        gone.add(first)
    kept = [(number, line) for number, line in enumerate(lines) if number not in gone]
    before = [line for number, line in kept if number < first]
    return (
        "\n".join([*before, *code.splitlines(), *(line for number, line in kept if number >= first)]) + "\n"
    )


@pytest.fixture(scope="module")
def followed(tmp_path_factory):
    """The scaffold for Globex, changed block by block as the guide has it."""
    folder = tmp_path_factory.mktemp("guide")
    _scaffold.new_adapter("globex", folder)
    package = folder / "bulkstatus-globex"
    blocks = list(_BLOCK.finditer(GUIDE.read_text()))
    assert len(blocks) > 10
    for block in blocks:
        head = _HEAD.fullmatch(block["head"])
        assert head, block["head"]
        file = package / head["file"]
        assert file.exists(), file
        code = block["code"]
        if head["replaced"]:
            if head["within"]:
                assert code == textwrap.indent(textwrap.dedent(code), "    ")
            code = put(file.read_text(), code, within=head["within"], replaced=head["replaced"])
        file.write_text(code)
    return package


def test_who_follows_the_guide_has_an_adapter_that_keeps_the_contract(followed):
    """Scaffold, then every block of the page at its place: the tests of the package pass, the contract among them."""
    path = os.pathsep.join(["src", *sys.path])
    environment = {**os.environ, "PYTHONPATH": path, "PYTEST_ADDOPTS": ""}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider"],
        cwd=followed,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "::TestGlobex::test_" in done.stdout


def test_who_follows_the_guide_has_filled_in_all_code(followed):
    """No mark is left in what is Python."""
    for file in followed.rglob("*.py"):
        assert "FILL IN" not in file.read_text(), file


@pytest.mark.skipif(find_spec("ruff") is None, reason="needs ruff, of the group `check`")
def test_who_follows_the_guide_has_no_loose_ends(followed):
    """Once formatted, the linter finds nothing, such as names that are imported and not used."""
    for words in (["format", "--quiet"], ["check", "--no-cache"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *words, "."],
            cwd=followed,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


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
