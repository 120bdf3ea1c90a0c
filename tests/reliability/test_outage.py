"""An outage in the middle of a long wait, on a clock that makes hours of it pass at once."""

import pytest

from bulkstatus import Verdict
from bulkstatus.testing import Fault, Life
from virtual import World, run_virtually

ID = "7be1c3f09a5d4e21b6c8d7f00a94e152"


@pytest.mark.row("F21")
def test_an_outage_of_ninety_seconds_in_a_wait_of_half_an_hour():
    """By the clock: nothing ends the wait, it warns once, and the end is the one that was read afterwards."""
    world = World()
    world.cloudflare.add(ID, Life.of((0, "running"), (200, "completed")))
    kinds = []

    async def main():
        world.at(100, lambda: world.cloudflare.fail(Fault(drop=True, times=None)))
        world.at(190, world.cloudflare.heal)
        async with world.client("c") as client:
            outcome = await client.wait(
                f"c:{ID}", timeout=1800, on_change=lambda change: kinds.append(change.kind)
            )
        return outcome, world.now

    outcome, ended = run_virtually(main)
    assert outcome.verdicts == {f"c:{ID}": Verdict.SUCCEEDED}
    assert kinds == ["state", "unobservable", "observable", "state"]
    assert 200 < ended < 600
