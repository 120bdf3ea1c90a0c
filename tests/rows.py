"""Numbered rows of faults and bad inputs: a test names those it shows (`@pytest.mark.row`), and the run keeps the count.

`pytest --rows FILE` writes what each row's tests came to as JSON; `tests/reliability/report.py` makes the tables of
docs/reliability.md from it.
"""

import json
import re
from pathlib import Path

import pytest

_NUMBER = re.compile(r"F\d\d|B\d{2,3}")
_PROPERTY = "row"


def pytest_addoption(parser):
    """The option that asks for the count."""
    parser.addoption("--rows", metavar="FILE", help="write what the tests of each numbered row came to")
    parser.addoption("--row", metavar="NUMBER", help="run only the tests of this row")


def pytest_configure(config):
    """The marker, and whoever keeps the count."""
    config.addinivalue_line("markers", "row(*numbers): shows these rows of docs/reliability.md")
    if config.getoption("--rows") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(_Ledger(Path(config.getoption("--rows"))), "row-ledger")


def pytest_collection_modifyitems(config, items):
    """Note on each test which rows it shows, by which client and over which transport."""
    for item in items:
        numbers = _rows_of(item)
        wrong = [number for number in numbers if _NUMBER.fullmatch(number) is None]
        if wrong:
            raise pytest.UsageError(f"{item.nodeid}: {wrong} are not numbers of rows")
        chosen = getattr(item, "callspec", None)
        chosen = {} if chosen is None else chosen.params
        for number in sorted(set(numbers)):
            item.user_properties.append(
                (_PROPERTY, [number, chosen.get("kind", ""), chosen.get("transport", "")])
            )
    only = config.getoption("--row")
    if only:
        others = [item for item in items if only not in _rows_of(item)]
        items[:] = [item for item in items if only in _rows_of(item)]
        config.hook.pytest_deselected(items=others)


def _rows_of(item):
    return [number for mark in item.iter_markers("row") for number in mark.args]


class _Ledger:
    """Takes down, in the process that hears of all tests, how those of each row ended."""

    def __init__(self, file):
        self._file = file
        self._rows = {}

    def pytest_runtest_logreport(self, report):
        if report.when != "call" and report.passed:
            return
        for name, value in report.user_properties:
            if name == _PROPERTY:
                number, kind, transport = value
                row = self._rows.setdefault(
                    number, {"passed": 0, "failed": 0, "skipped": 0, "kinds": [], "transports": []}
                )
                row[report.outcome] += 1
                if report.passed:
                    row["kinds"] = sorted({*row["kinds"], *filter(None, [kind])})
                    row["transports"] = sorted({*row["transports"], *filter(None, [transport])})

    def pytest_sessionfinish(self):
        self._file.write_text(json.dumps(dict(sorted(self._rows.items())), indent=1) + "\n")
