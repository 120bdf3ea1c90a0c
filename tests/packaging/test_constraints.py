"""The versions that the tests are run with: the oldest that are allowed, and the newest that were tried."""

import re
import tomllib
from itertools import chain
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PINS = ROOT / "tests" / "constraints"
_PIN = re.compile(r"([a-z0-9-]+)==([0-9][0-9a-z.]*)")
_LOWER = re.compile(r"([a-z0-9-]+)>=([0-9.]+)(,<[0-9.]+)?")


def pins(name):
    """The lines of a constraints file that are no comments, as names and versions."""
    lines = [line for line in (PINS / name).read_text().splitlines() if not line.startswith("#")]
    found = [_PIN.fullmatch(line) for line in lines]
    assert all(found), lines
    return {match[1]: match[2] for match in found}


def lower_bounds():
    """The lower bound of every dependency, those of the extras too."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *chain.from_iterable(project["optional-dependencies"].values())]
    found = [_LOWER.fullmatch(line) for line in wanted]
    assert all(found), wanted
    return {match[1]: match[2] for match in found}


def numbers(version):
    """A version as numbers, those that say nothing left out."""
    return tuple(map(int, re.findall(r"\d+", version.removesuffix(".0").removesuffix(".0"))))


def test_the_oldest_versions_are_those_that_are_allowed():
    """What `oldest.txt` installs is the lower bound of each dependency in pyproject.toml, no more and no less."""
    assert {name: numbers(version) for name, version in pins("oldest.txt").items()} == {
        name: numbers(version) for name, version in lower_bounds().items()
    }


def test_the_newest_versions_are_not_older_than_allowed():
    """`newest.txt` names every dependency, each at its lower bound or above."""
    newest = pins("newest.txt")
    for name, version in lower_bounds().items():
        assert numbers(newest[name]) >= numbers(version), name


@pytest.mark.parametrize("name", ["oldest.txt", "newest.txt"])
def test_constraints_hold_no_address(name):
    """Where packages come from is the business of whoever installs them."""
    assert "://" not in (PINS / name).read_text()
