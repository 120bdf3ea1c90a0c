"""Several processes and one journal: each step once, and none lost that was returned for, however they end."""

import json
import sys

import pytest

from bulkstatus._journal import Journal
from journal.looks import is_whole
from support import run_script

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="processes here are forked")

EIGHT = """
    import sys
    from bulkstatus import State
    from bulkstatus._journal import Journal
    from journal.looks import at_once, look

    STEPS = (State.QUEUED, State.RUNNING, State.PAUSED, State.RUNNING, State.PARTIAL)

    def work(number):
        with Journal(sys.argv[1]) as journal:
            for turn, state in enumerate(STEPS):
                # All ask at the same moment, and each hears at one of its own.
                seen = 10.0 * turn + number / 10
                journal.record(
                    [look(state, seen, asked=10.0 * turn - 1, id=str(id)) for id in range(50)],
                    observer=f"here:{number}",
                )

    print(at_once(8, work))
"""


@pytest.mark.row("F66")
def test_eight_processes_that_see_the_same_record_each_step_once(tmp_path):
    """In the order the bulks took them, whichever process was the first to see it."""
    done = run_script(EIGHT, str(tmp_path / "journal.db"))
    assert (done.stderr, done.stdout) == ("", f"{[0] * 8}\n")
    with Journal(tmp_path / "journal.db") as journal:
        steps = list(journal.all_changes())
        for id in range(50):
            history = [step.to_state.value for step in journal.history(f"payments:{id}")]
            assert history == ["queued", "running", "paused", "running", "partial"]
        assert len(steps) == 250
        assert not any(step.regressed for step in steps)
    assert is_whole(tmp_path / "journal.db")


STORM = """
    import json, pathlib, sys
    from benchmarks.journal import storm
    print(json.dumps(storm(pathlib.Path(sys.argv[1]), 2.0, processes=4, number=20, lasts=0.8)))
"""


@pytest.mark.row("F66")
def test_processes_that_are_killed_lose_nothing_that_was_returned_for(tmp_path):
    """And no step is there twice, none goes back, and the file is whole."""
    done = run_script(STORM, str(tmp_path))
    assert done.stderr == ""
    kills, steps, returned, wrong = json.loads(done.stdout)
    assert wrong == []
    assert steps >= returned > 0
    assert kills > 0
