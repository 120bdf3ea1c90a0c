"""The contract suite itself: a correct adapter passes, and each way to be wrong is caught by the promise about it."""

import inspect
import re
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import pytest

from bulkstatus import _contract_summary as summary
from bulkstatus.adapter import State
from bulkstatus.testing.contract import AdapterContract, _promise, _todo
from depot import TOKEN, DepotFake
from depots import WRONG

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
            "an_outage_is_unavailable",
            "an_outage_is_waited_out",
            "any_question_about_operations_has_an_answer",
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
            "the_provider_s_word_is_kept",
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
from depot import DepotFake
from depots import WRONG
from bulkstatus_cloudflare.fake import CloudflareFake


class Bare(DepotFake):
    states = {}


class Guessing(WRONG["GuessesWords"].fake):
    word = "guessing"


class TestWhole(AdapterContract):
    fake = CloudflareFake


class TestGuessing(AdapterContract):
    fake = Guessing


class TestBare(AdapterContract):
    fake = Bare
"""
CONFTEST = """
def pytest_configure(config):
    from bulkstatus import _contract_summary

    if not config.pluginmanager.is_registered(_contract_summary):
        config.pluginmanager.register(_contract_summary)
"""


@pytest.mark.parametrize("options", [(), ("-n", "2")], ids=["alone", "xdist"])
def test_the_summary_tells_the_level(tmp_path, options):
    """One line for each adapter, also where other processes ran the tests; what does not apply is not there at all."""
    (tmp_path / "test_package.py").write_text(PACKAGE)
    (tmp_path / "conftest.py").write_text(CONFTEST)
    few = "unknown_word or listed_once or never_was"
    printed = run_pytest(tmp_path, "-k", few, *options).stdout
    for line in (
        "cloudflare: level 3 (get, clock), 2 promises held, 0 broken",
        (
            "depot: level 2 (get, list, operations), 3 promises held, 0 broken; "
            "for level 3: name the provider's words in the fake's `states`"
        ),
        (
            "guessing: level 0 (get, list, operations, clock), 3 promises held, 1 broken; "
            "for level 1: mend what is broken there"
        ),
    ):
        assert f"bulkstatus contract: {line}\n" in printed
    assert "1 failed, 8 passed" in printed  # and none skipped


def test_a_broken_promise_lowers_the_level():
    """The level is the highest below which nothing is broken."""
    kept = [summary._Kept(level, "get, list", "", held=level != 2) for level in (1, 2, 3)]
    assert summary._line("acme", kept) == (
        "bulkstatus contract: acme: level 1 (get, list), 2 promises held, 1 broken; "
        "for level 2: mend what is broken there"
    )


def test_a_fake_that_cannot_be_made_is_said_so(request):
    """The first promise tells what went wrong, and what a fake has to do."""

    def fail(self, base_url):
        raise KeyError("nothing")

    fake = type("NoFake", (DepotFake,), {"adapter": fail})
    said = broken("test_the_provider_s_word_is_kept", fake, request)
    assert "KeyError while the fake and its adapter were made" in said
    assert said.endswith(f"To do: {_todo.FAKE}")


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
