"""The contract suite itself: a correct adapter passes, and each way to be wrong is caught by the promise about it."""

import inspect
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import msgspec
import pytest

from bulkstatus.adapter import State
from bulkstatus.testing import _summary as summary
from bulkstatus.testing.contract import AdapterContract, _promise, _todo
from bulkstatus.testing.contract._driver import place_of
from depot import JOB, TOKEN, Depot, DepotFake, fault
from depots import WRONG, fake_of

ROOT = Path(__file__).parents[2]


class TestDepot(AdapterContract):
    """An adapter and a fake that do as the guide says keep every promise."""

    fake = DepotFake


class Bare(DepotFake):
    """A fake that does not say by which words its bulks can be put in a state."""

    states: ClassVar[Mapping[State, str]] = {}


class TestBareFake(AdapterContract):
    """With such a fake the suite looks at the bulks of its demo, and leaves out what it cannot bring about."""

    fake = Bare


class Nameless(Depot, frozen=True, kw_only=True):
    """Tells operations that have neither an id nor a position."""

    def item(self, item):
        return msgspec.structs.replace(super().item(item), sequence=None)


@pytest.mark.parametrize("name", [name for name in dir(AdapterContract) if "operation" in name])
def test_operations_without_names_are_right(name):
    """A provider may tell what became of operations and not which they are: no promise takes that for a fault."""
    contract = type("Contract", (AdapterContract,), {"fake": fake_of(Nameless)})
    getattr(contract, name)(contract())


def broken(name: str, fake: type[DepotFake], request: pytest.FixtureRequest) -> str:
    """What the promise `name` says of a fake and its adapter."""
    contract = type("Contract", (AdapterContract,), {"fake": fake})
    promise = getattr(contract, name)
    assert promise is not None, f"{name} does not apply"
    wanted = {
        arg: request.getfixturevalue(arg) for arg in inspect.signature(promise).parameters if arg != "self"
    }
    with pytest.raises(pytest.fail.Exception) as caught:
        promise(contract(), **wanted)
    return str(caught.value)


@pytest.mark.parametrize("name", [name for name, wrong in WRONG.items() if not wrong.leaks])
def test_what_is_wrong_is_caught(name, request):
    """By the promise about it; the message says what was promised, what was seen and what to do, and no credential."""
    said = broken(WRONG[name].promise, WRONG[name].fake, request)
    assert re.fullmatch(r"Promised: .+\nSeen: .+\nTo do: .+", said), said
    assert said.endswith(f"To do: {WRONG[name].todo}")
    assert TOKEN not in said


def test_what_leaks_is_caught_and_not_shown(tmp_path):
    """Adapters whose errors hold credentials are caught, in a process of their own; what it prints holds none."""
    leaks = [name for name, wrong in WRONG.items() if wrong.leaks]
    lines = ["from bulkstatus.testing.contract import AdapterContract", "from depots import WRONG"]
    lines += [f"class Test{name}(AdapterContract):\n    fake = WRONG[{name!r}].fake" for name in leaks]
    (tmp_path / "test_leaks.py").write_text("\n".join(lines))
    printed = run_pytest(
        tmp_path, "-k", " or ".join(f"(Test{name} and {WRONG[name].promise})" for name in leaks)
    ).stdout
    assert f"{len(leaks)} failed" in printed
    for name in leaks:
        assert f"To do: {WRONG[name].todo}" in printed
    assert TOKEN not in printed


def run_pytest(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the tests in a folder in a process of its own, which finds the depots."""
    command = [sys.executable, "-m", "pytest", "-ra", "-W", "error", "-p", "no:cacheprovider", *options]
    return subprocess.run(
        [*command, f"--rootdir={folder}", "-o", f"pythonpath={ROOT / 'tests'}", folder],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTEST_ADDOPTS": ""},  # how these tests are run is no concern of those
        timeout=120,  # a guard against a hang
        check=False,
    )


def test_every_promise_is_broken_by_somebody():
    """A promise that no wrong adapter breaks may be no promise at all; those without one are named here."""
    unbroken = set(_promise.promises_of(AdapterContract)) - {wrong.promise for wrong in WRONG.values()}
    assert unbroken == {
        f"test_{name}"
        for name in (
            # Kept by the core, whatever the adapter: here so that a fake, or a change of the core, cannot break them.
            "a_bulk_that_is_not_known_yet_is_waited_for",
            "a_bulk_that_never_was_is_not_found",
            "a_record_that_repeats_credentials_is_not_shown",
            "a_status_survives_json",
            "a_wait_tells_how_a_bulk_ends",
            "an_operation_survives_json",
            "an_outage_is_waited_out",
            "blocking_and_async_say_the_same",
            "bulks_that_go_meanwhile_hide_none",
            "errors_survive_being_kept",
            "failed_operations_can_be_asked_for",
            "many_bulks_are_one_report",
            "one_miss_ends_no_wait",
            "operations_of_a_bulk_the_provider_does_not_know_are_not_found",
            "operations_without_end_end",
            "other_statuses_are_errors",
            "settings_do_not_change",
            "throttling_is_waited_out",
            "whatever_comes_as_a_page_is_read_or_an_error_of_ours",
            "an_empty_page_is_no_end",
        )
    }


def test_what_to_do_names_a_heading_of_the_guide():
    """Each heading stands in docs/writing-an-adapter.md."""
    headings = set(re.findall(r"^## (.+)$", (ROOT / _todo.GUIDE).read_text(), re.MULTILINE))
    used = {todo.heading for todo in vars(_todo).values() if isinstance(todo, _todo.Todo)}
    assert used <= headings


def test_no_group_of_promises_hides_another_s_name():
    """All groups become one class, so each name stands in one of them."""
    groups = [cls for cls in AdapterContract.__mro__ if "Promises" in cls.__name__]
    names = [name for cls in groups for name, value in vars(cls).items() if inspect.isroutine(value)]
    assert sorted(names) == sorted(set(names))


PACKAGE = """
from bulkstatus.testing.contract import AdapterContract
from depots import WRONG
from bulkstatus_cloudflare.fake import CloudflareFake


class Guessing(WRONG["GuessesWords"].fake):
    word = "guessing"


class TestWhole(AdapterContract):
    fake = CloudflareFake


class TestGuessing(AdapterContract):
    fake = Guessing
"""


def test_the_summary_tells_the_level(tmp_path):
    """One line for each adapter, also where other processes ran the tests; what does not apply is not there at all."""
    (tmp_path / "test_package.py").write_text(PACKAGE)
    printed = run_pytest(tmp_path, "-n", "2", "-k", "TestWhole or unknown_word").stdout
    assert re.search(
        r"^bulkstatus contract: cloudflare: level 3 \(get, clock\), \d+ promises held, 0 broken$",
        printed,
        re.MULTILINE,
    )
    assert re.search(
        r"^bulkstatus contract: guessing: 2 of \d+ promises tried, 1 promises held, 1 broken$",
        printed,
        re.MULTILINE,
    )
    assert re.search(r"^=+ 1 failed, \d+ passed in .*$", printed, re.MULTILINE)  # and none skipped


@pytest.mark.parametrize(
    ("broken_at", "lacks", "left_out", "said"),
    [
        ((), "", [], "level 3 (get, list), 3 promises held, 0 broken"),
        ((), "words", [], "level 2 (get, list), 3 promises held, 0 broken; for level 3: words"),
        (
            (2,),
            "",
            [],
            "level 1 (get, list), 2 promises held, 1 broken; for level 2: mend what is broken there",
        ),
        (
            (1, 3),
            "words",
            [],
            "level 0 (get, list), 1 promises held, 2 broken; for level 1: mend what is broken there",
        ),
        (
            (),
            "",
            [3],
            "level 2 (get, list), 3 promises held, 0 broken, 1 left out; for level 3: keep what is left out there",
        ),
    ],
)
def test_the_level_is_what_holds_as_a_whole(broken_at, lacks, left_out, said):
    """The highest level up to which nothing is broken, nothing left out, and nothing missing in the fake."""
    due = 3 + len(left_out)
    tried = [
        (summary.Note("acme", "TestAcme", level, "get, list", lacks, due, left_out), level not in broken_at)
        for level in summary.LEVELS
    ]
    assert summary._line("acme", tried) == f"bulkstatus contract: acme: {said}"


def test_a_promise_that_is_taken_out_is_missed():
    """An author's class that sets a test to None is told so, and does not reach the level of that promise."""
    contract = type("Contract", (AdapterContract,), {"fake": DepotFake, "test_ids_cannot_escape": None})
    assert contract._left_out == [1]
    assert TestDepot._left_out == TestBareFake._left_out == []
    assert TestBareFake._due < TestDepot._due


def test_a_fake_that_cannot_be_made_is_said_so(request):
    """The first promise tells what went wrong, and what a fake has to do."""

    def fail(self, base_url):
        raise KeyError("nothing")

    fake = type("NoFake", (DepotFake,), {"adapter": fail})
    said = broken("test_the_provider_s_word_is_kept", fake, request)
    assert "KeyError while the fake and its adapter were made, from test_contract.py:" in said
    assert said.endswith(f"To do: {_todo.FAKE}")


class Elsewhere(DepotFake):
    """A fake that knows nothing of what its adapter asks for."""

    def answer(self, request):
        return fault(404, "no_such_path")


def test_what_nothing_can_be_asked_of_is_told_once():
    """The first promise of all says what was asked and what came; the others point to it."""
    contract = type("Contract", (AdapterContract,), {"fake": Elsewhere})
    first = next(name for name in vars(AdapterContract.__mro__[-3]) if name.startswith("test_"))
    assert first == "test_every_word_of_the_provider_is_read"  # pytest takes the last base first
    said = []
    for name in (first, "test_a_wait_tells_how_a_bulk_ends"):
        with pytest.raises(pytest.fail.Exception) as caught:
            getattr(contract, name)(contract())
        said.append(str(caught.value))
    assert "asked for GET /v1/jobs/job-0" in said[0]
    assert "[HTTP 404]" in said[0]
    assert said[0].endswith(f"To do: {_todo.UNREADABLE}")
    assert said[1].endswith(f"To do: {_todo.FIRST}")


def test_what_is_raised_is_placed_in_the_author_s_own_file():
    """Also where it came from a helper of ours that was given the wrong thing."""
    with pytest.raises(TypeError) as caught:
        JOB.of_row(7)
    assert place_of(caught.value).startswith("test_contract.py:")


def test_without_pytest_it_says_what_to_install():
    """The door for tests does not need pytest, and the contract says which extra does."""
    code = textwrap.dedent("""
        import sys
        sys.modules["pytest"] = None
        import bulkstatus.testing
        try:
            import bulkstatus.testing.contract
        except ImportError as error:
            print(error)
    """)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert "pip install 'bulkstatus[testing]'" in done.stdout
