"""The pytest plugin: the fixture `bulkstatus_fakes`, and the level of the contract that each adapter keeps.

Every run of pytest loads it, where bulkstatus is installed, so it imports nothing before that is used.
"""

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from bulkstatus.testing import Fakes

_MARK = "bulkstatus"
_KNOWN = ("scenario", "sockets", "real_time", "speed", "longest")


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line(
        "markers",
        f"{_MARK}({', '.join(f'{name}=...' for name in _KNOWN)}): what the fixture bulkstatus_fakes is made with; a "
        "scenario is a TOML file beside the test's own, or a bulkstatus.testing.Scenario",
    )


@pytest.fixture
def bulkstatus_fakes(request: pytest.FixtureRequest) -> "Generator[Fakes]":
    """Fakes of bulk providers, in process and on virtual time unless the marker `bulkstatus` says otherwise."""
    from bulkstatus.testing import Fakes

    with Fakes(**_options(request)) as fakes:
        yield fakes


def pytest_terminal_summary(terminalreporter: "pytest.TerminalReporter") -> None:  # pytest 8.2 has none
    """Write what was found of each adapter."""
    from bulkstatus.testing import _summary

    for line in _summary.lines(terminalreporter.stats):
        terminalreporter.write_line(line)


def _options(request: pytest.FixtureRequest) -> dict[str, Any]:
    marker = request.node.get_closest_marker(_MARK)
    if marker is None:
        return {}
    wrong = [*map(repr, marker.args), *(name for name in marker.kwargs if name not in _KNOWN)]
    if wrong:
        known = ", ".join(f"{name}=" for name in _KNOWN)
        raise pytest.UsageError(f"@pytest.mark.{_MARK} takes {known}, and not {', '.join(wrong)}")
    options = dict(marker.kwargs)
    scenario = options.get("scenario")
    if isinstance(scenario, str):
        options["scenario"] = request.path.parent / scenario
    return options
