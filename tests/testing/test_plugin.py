"""The pytest plugin, as users get it: pytest in a process of its own, with a test of theirs."""

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from bulkstatus.cli._fake import EXAMPLE
from bulkstatus.testing import plugin

pytest_plugins = ["pytester"]

# What the README and the page for users show.
_ROOT = Path(__file__).parents[2]


def _shown(page: str) -> str:
    """The first example on a page that tests a runbook."""
    blocks = re.findall(r"```python\n(.*?)```", (_ROOT / page).read_text(), re.DOTALL)
    return next(block for block in blocks if "def test_my_runbook" in block)


RUNBOOK = _shown("docs/how-to/test-your-tools.md")
README = _shown("README.md")

MARKED = """
import time

import pytest
from bulkstatus import State


@pytest.mark.bulkstatus(scenario="scenario.toml")
def test_a_file(bulkstatus_fakes):
    assert len(bulkstatus_fakes.refs) == 3
    bulkstatus_fakes.advance(600)
    states = [status.state for status in bulkstatus_fakes.client.get_many(bulkstatus_fakes.refs)]
    assert states == ["partial", "paused", "succeeded"]


@pytest.mark.bulkstatus(scenario="scenario.toml", sockets=True)
def test_sockets(bulkstatus_fakes):
    assert all(url.startswith("http://127.0.0.1:") for url in bulkstatus_fakes.urls.values())
    assert bulkstatus_fakes.clock is time.time
    assert bulkstatus_fakes.client.list(sources=["payments"]).complete


@pytest.mark.bulkstatus(real_time=True)
def test_real_time(bulkstatus_fakes):
    assert bulkstatus_fakes.clock is time.time


@pytest.mark.bulkstatus(socket=True)
def test_a_misspelt_option(bulkstatus_fakes):
    pass


@pytest.mark.bulkstatus(scenario="none.toml")
def test_a_file_that_is_not_there(bulkstatus_fakes):
    pass


def test_without_a_client(bulkstatus_fakes):
    pass
"""


def play(pytester, *options):
    """Run pytest on test files of a user's, warnings being errors."""
    pytester.makepyfile(test_runbook=RUNBOOK, test_readme=README, test_marked=MARKED)
    (pytester.path / "scenario.toml").write_text(EXAMPLE)
    return pytester.runpytest_subprocess("-W", "error", "--strict-markers", "--strict-config", *options)


def test_a_users_runbook_survives_what_providers_do(pytester):
    """A 429, an outage and a vanished bulk, in ten lines, without an option; also in a worker of pytest-xdist.

    A marker chooses the scenario and the time; what it does not take, and a file that is not there, are errors of that
    test, which say so.
    """
    done = play(pytester, "-n", "1")
    done.assert_outcomes(passed=6, errors=2)
    done.stdout.fnmatch_lines_random(
        [
            "*takes scenario=, sockets=, real_time=, speed=, longest=, and not socket*",
            "*there is no scenario at*none.toml*",
        ]
    )


def test_it_can_be_left_out(pytester):
    """As any plugin: then there is no such fixture."""
    done = play(pytester, "-p", "no:bulkstatus", "-p", "no:xdist", "test_runbook.py")
    done.assert_outcomes(errors=1)
    done.stdout.fnmatch_lines(["*fixture 'bulkstatus_fakes' not found*"])


def test_it_costs_a_run_that_does_not_use_it_next_to_nothing():
    """Neither the HTTP client nor any fake is loaded, nor asyncio."""
    code = """
import sys, bulkstatus.testing.plugin
heavy = {"httpx", "anyio", "stamina", "asyncio", "http.server", "cyclopts", "rich", "unittest.mock"}
print(sorted(name for name in sys.modules if name in heavy or name.startswith(("bulkstatus_", "bulkstatus.testing._"))))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_fixture_works_here(bulkstatus_fakes):
    """Also in tests that run in the process of those that look at them."""
    from bulkstatus.testing import succeeded

    ref = bulkstatus_fakes.add("edge", "cloudflare", succeeded())
    assert bulkstatus_fakes.client.wait([ref]).succeeded


@pytest.mark.bulkstatus(sockets=True)
def test_markers_reach_the_fixture(bulkstatus_fakes):
    """On sockets there is nothing to hand to a client of one's own."""
    assert bulkstatus_fakes.transport is None


def test_the_plugin_is_loaded_by_the_oldest_pytest_that_is_allowed(monkeypatch):
    """Every run of pytest loads it where bulkstatus is installed: a name that pytest 8.2 lacks would end them all."""
    monkeypatch.delattr(pytest, "TerminalReporter", raising=False)
    assert "pytest_terminal_summary" in runpy.run_path(plugin.__file__)
