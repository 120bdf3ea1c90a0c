"""The guide on writing an adapter, as somebody follows it who does just what it says."""

import ast
import re
import subprocess
import sys
import textwrap
from pathlib import Path

from bulkstatus.cli import _scaffold

GUIDE = Path(__file__).parents[1] / "docs" / "writing-an-adapter.md"
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


def follow(folder):
    """Make the scaffold for Globex in `folder`, put every block of the guide at its place, and give the package."""
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


def complaints(package, *formatting):
    """What ruff has to say of a package once `ruff format` has run with these options; nothing where all is well."""
    said = ""
    for words in (["format", *formatting], ["check", "--no-cache"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *words, "."],
            cwd=package,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        said += done.stdout + done.stderr if done.returncode else ""
    return said
