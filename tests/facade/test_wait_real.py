"""`wait` and `watch` over real sockets, with both clients: a server that goes and comes back, threads, and leaving."""

import gc
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import anyio
import pytest

from bulkstatus import AsyncClient, Client, Policy, PollPolicy, Unavailable, Verdict
from bulkstatus.testing import Life, serve
from bulkstatus_cloudflare.fake import CloudflareFake
from bulkstatus_druid.fake import DruidFake
from bulkstatus_weavr.fake import WeavrFake
from support import held_port, run_script

ID = "7be1c3f09a5d4e21b6c8d7f00a94e152"
OFTEN = PollPolicy(base=0.2)


class Switch:
    """A fake on a port that stays its own, on and off."""

    def __init__(self, fake, port):
        self.fake = fake
        self._on = ExitStack()
        self._port = port
        self.url = self._on.enter_context(serve(fake, port=port))

    def off(self):
        """Close the socket and all its connections."""
        self._on.close()

    def on(self):
        """Listen again at the same address."""
        self._on.enter_context(serve(self.fake, port=self._port))


@pytest.fixture
def switch():
    """A Cloudflare with one bulk that ends when it is told to."""
    fake = CloudflareFake()
    fake.add(ID, Life.of((0, "running")))
    with held_port() as port:
        made = Switch(fake, port)
        yield made
        made.off()


def ask_both(kind, adapters, work):
    """Run `work(client, kind)` with a client of either kind; `work` is a coroutine function."""

    async def with_async():
        async with AsyncClient(adapters, policy=Policy(attempts=1)) as client:
            return await work(client)

    if kind == "async":
        return anyio.run(with_async)
    with Client(adapters, policy=Policy(attempts=1)) as client:
        return work(client)


def adapters_of(switch):
    """The source `c`."""
    return {"c": switch.fake.adapter(switch.url)}


def test_three_providers_are_waited_for_on_real_sockets():
    """Each bulk gets its verdict."""
    weavr, cloudflare, druid = WeavrFake(), CloudflareFake(), DruidFake()
    weavr.add("1", Life.of((0, "RUNNING"), (1.5, "COMPLETED")), operations=50)
    weavr.add("2", Life.of((0, "RUNNING"), (0.5, "FAILED")), operations=50)
    cloudflare.add(ID, Life.of((0, "running"), (1, "completed")))
    druid.add("b1", Life.of((0, "processing"), (0.1, "completed")))
    with ExitStack() as stack:
        adapters = {
            name: fake.adapter(stack.enter_context(serve(fake)))
            for name, fake in (("w", weavr), ("c", cloudflare), ("d", druid))
        }
        client = stack.enter_context(Client(adapters))
        outcome = client.wait(["w:1", "w:2", f"c:{ID}", "d:b1"], timeout=30, polling=OFTEN)
    assert list(map(str, outcome.verdicts.values())) == ["succeeded", "failed", "succeeded", "succeeded"]


def test_threads_that_wait_for_one_bulk_share_its_requests(switch):
    """Eight threads at one blocking client; all get the same end."""
    with Client(adapters_of(switch)) as client, ThreadPoolExecutor(8) as threads:
        watch = client.watch(f"c:{ID}")
        watch.changes()
        waits = [threads.submit(client.wait, f"c:{ID}", timeout=30, polling=OFTEN) for _ in range(8)]
        switch.fake.add(ID, Life.of((0, "running"), (1, "completed")))
        outcomes = [wait.result(40) for wait in waits]
        assert watch.changes(within=10)[-1].verdict is Verdict.SUCCEEDED
        assert watch.is_over
    assert {outcome[f"c:{ID}"].verdict for outcome in outcomes} == {Verdict.SUCCEEDED}
    assert len(switch.fake.requests) <= 30


def test_a_blocking_watch_is_read_with_for_and_left_by_break(switch):
    """Nobody polls for it after that, though the client stays open."""
    with Client(adapters_of(switch)) as client:
        with client.watch(f"c:{ID}", polling=OFTEN) as watch:
            for change in watch:
                assert change.status.native_state == "running"
                break
        assert client.get(f"c:{ID}").native_state == "running"
        sent = len(switch.fake.requests)
        time.sleep(3)
        assert len(switch.fake.requests) == sent


def test_a_blocking_watch_is_read_to_its_end(switch):
    """Then there is nothing more, and its outcome says how it ended."""
    switch.fake.add(ID, Life.of((0, "pending"), (1, "failed")))
    with Client(adapters_of(switch)) as client:
        watch = client.watch(f"c:{ID}", polling=OFTEN, timeout=30)
        changes = list(watch)
        assert list(watch) == []
        assert watch.outcome()[f"c:{ID}"].verdict is Verdict.FAILED
        assert watch.view().bulks[0].verdict is Verdict.FAILED
    assert [change.status.native_state for change in changes] == ["pending", "failed"]


def test_closing_a_blocking_client_ends_the_waits_of_other_threads(switch):
    """With Unavailable, reason "closed"."""
    client = Client(adapters_of(switch))
    with ThreadPoolExecutor(4) as threads:
        waits = [threads.submit(client.wait, f"c:{ID}") for _ in range(4)]
        while len(switch.fake.requests) == 0:
            time.sleep(0.01)
        time.sleep(0.2)
        client.close()
        errors = [wait.exception(20) for wait in waits]
    assert [type(error) for error in errors] == [Unavailable] * 4
    assert {error.reason for error in errors} == {"closed"}


def test_a_blocking_client_waits_again_after_it_was_closed(switch):
    """It opens anew."""
    client = Client(adapters_of(switch))
    assert client.wait(f"c:{ID}", timeout=2)[f"c:{ID}"].verdict is Verdict.PENDING
    client.close()
    switch.fake.add(ID, Life.of((0, "running"), (1, "completed")))
    with client:
        assert client.wait(f"c:{ID}", timeout=30, polling=OFTEN).succeeded
    assert not [thread for thread in threading.enumerate() if thread.name == "bulkstatus"]


@pytest.mark.parametrize("reopened", [False, True])
def test_a_watch_whose_client_was_closed_says_so(switch, reopened):
    """Reading it raises Unavailable, reason "closed", as for a wait; its outcome is there, and it can be left."""
    with Client(adapters_of(switch)) as client:
        watch = client.watch(f"c:{ID}")
        (first,) = watch.changes()
        client.close()
        if reopened:
            client.get(f"c:{ID}")
        for read in (lambda: watch.changes(within=5), lambda: next(watch)):
            with pytest.raises(Unavailable) as caught:
                read()
            assert caught.value.reason == "closed"
        assert watch.is_over
        assert watch.outcome()[f"c:{ID}"].status == first.status
        watch.close()


# In a process of its own: what ends a loop's thread would end the tests with it.
_EXIT = """
import sys
from contextlib import suppress
from bulkstatus import Client
from support import Plain, Scripted
from bulkstatus.testing import FakeTransport

kind = {"SystemExit": SystemExit, "KeyboardInterrupt": KeyboardInterrupt}[sys.argv[1]]

def leave(change):
    raise kind("bye")

async def leave_awaited(change):
    raise kind("bye")

url = "https://plain.test"
on_change = leave_awaited if sys.argv[2] == "awaited" else leave
with Client({"plain": Plain(base_url=url)}, transport=FakeTransport({url: Scripted()})) as client:
    with suppress(kind):
        client.wait("plain:a1", timeout=0.5, on_change=on_change)
    print(client.get("plain:a1").state)
"""


@pytest.mark.row("F69")
@pytest.mark.parametrize("error", ["SystemExit", "KeyboardInterrupt"])
@pytest.mark.parametrize("form", ["plain", "awaited"])
def test_an_on_change_that_exits_does_not_end_the_client(error, form):
    """Whether the wait goes on or raises that: the client can still be asked, and closed."""
    done = run_script(_EXIT, error, form)
    assert (done.returncode, done.stdout) == (0, "running\n"), done.stderr[-300:]


def test_a_plain_on_change_may_use_the_blocking_client(switch):
    """It runs on a thread of its own, so the loop is free to answer."""
    switch.fake.add(ID, Life.of((0, "running"), (1, "completed")))
    found = []
    with Client(adapters_of(switch)) as client:
        outcome = client.wait(
            f"c:{ID}",
            timeout=30,
            polling=OFTEN,
            on_change=lambda change: found.append(client.get(change.ref)),
        )
    assert outcome.succeeded
    assert [status.native_state for status in found] == ["running", "completed"]


def test_a_blocking_watch_that_nobody_holds_is_polled_for_no_more(switch):
    """Leaving the loop is enough."""
    with Client(adapters_of(switch)) as client:
        for change in client.watch(f"c:{ID}", polling=OFTEN):
            assert change.status.native_state == "running"
            break
        gc.collect()
        assert client.get(f"c:{ID}").native_state == "running"
        sent = len(switch.fake.requests)
        time.sleep(3)
        assert len(switch.fake.requests) == sent


def test_a_server_that_is_not_there_is_told_and_the_deadline_kept(switch):
    """A wait against a closed port ends blind, and says why."""
    switch.off()
    with Client(adapters_of(switch), policy=Policy(attempts=1)) as client:
        outcome = client.wait(f"c:{ID}", timeout=2)
    result = outcome[f"c:{ID}"]
    assert result.verdict is Verdict.BLIND
    assert result.failure.kind == "unavailable"
    assert result.stale_since is not None
