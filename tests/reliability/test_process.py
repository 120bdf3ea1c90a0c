"""Interrupts, signals, clocks, forks, functions of the caller's and event loops: a process lives and ends as it should."""

import asyncio
import json
import logging
import os
import pty
import select
import signal
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import ClassVar

import anyio
import pytest

from benchmarks.interrupts import SITUATIONS, interrupted
from bulkstatus import AsyncClient, Client, Policy, PollPolicy, Unavailable, Verdict
from bulkstatus.testing import FakeResponse, Life, serve
from bulkstatus_cloudflare.fake import CloudflareFake
from support import PATIENT, Plain, Scripted, ask, raw_server, reply, run_script

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="what a process is about is read from /proc")

# Generous: who exceeds it hangs.
LONG = 30.0


# --- F60: interrupts ---

ASKED = [situation for situation in SITUATIONS if not situation.startswith("(")]


@pytest.mark.row("F60")
@pytest.mark.parametrize("situation", ASKED)
@pytest.mark.unrecorded
def test_an_interrupt_ends_a_command_wherever_it_is(situation):
    """With 130 and no traceback, though nobody answers, and with the journal whole."""
    assert interrupted(situation, "command line", "httpx") < LONG


@pytest.mark.row("F60")
@pytest.mark.parametrize("situation", ["answer", "locked journal, write"])
@pytest.mark.unrecorded
def test_an_interrupt_ends_a_script_wherever_it_is(situation, kind, transport):
    """As KeyboardInterrupt, through a `with` statement that waits for nothing, and nothing complains at the end."""
    assert interrupted(situation, f"{kind} client", transport) < LONG


@pytest.mark.row("F60")
@pytest.mark.parametrize("situation", ["back-off", "dripping body", "locked journal, close", "watch"])
@pytest.mark.unrecorded
def test_an_interrupt_ends_a_blocking_script(situation):
    """The same, in the other situations."""
    assert interrupted(situation, "blocking client", "aiohttp") < LONG


# What a task that was cancelled leaves behind shows in the loop it ran in.
_CANCELLED = """
    import asyncio, gc, sys
    from bulkstatus import AsyncClient
    from support import Plain

    async def ask(url):
        async with AsyncClient({"plain": Plain(base_url=url)}) as client:
            await client.get("plain:a1")

    async def main(url):
        task = asyncio.create_task(ask(url))
        await asyncio.sleep(0.5)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            print("cancelled")
        gc.collect()
        print(len(asyncio.all_tasks()))

    asyncio.run(main(sys.argv[1]))
"""


@pytest.mark.row("F60")
@pytest.mark.unrecorded
def test_a_task_that_is_cancelled_closes_its_connections(transport):
    """No connection, no session and no task is left, whichever transport carried the request."""
    with raw_server(lambda connection: connection.recv(1)) as server:
        done = run_script(_CANCELLED, server.url)
    assert (done.returncode, done.stdout.split(), done.stderr) == (0, ["cancelled", "1"], "")


# --- F61: other signals ---


@pytest.fixture
def command(tmp_path):
    """Start the command line against a server that runs one bulk for ever; what is written comes by pipes."""
    fake = CloudflareFake(token="t")
    fake.add("aa", Life.of((0, "running")))
    started = []
    with serve(fake) as url:
        config = tmp_path / "bulkstatus.toml"
        config.write_text(
            '[sources.edge]\nprovider = "cloudflare"\naccount_id = "023e105f4ecef8ad9ca31a8372d0c353"\n'
            f'base_url = "{url}"\ntoken = "env:T"\n'
        )
        environment = {**os.environ, "T": "t", "BULKSTATUS_CONFIG": str(config)}

        def begin(*words, before=(), **more):
            pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
            child = subprocess.Popen([*before, *PATIENT, *words], env=environment, **{**pipes, **more})
            started.append(child)
            return child

        yield begin
    for child in started:
        child.kill()
        child.communicate()


@pytest.mark.parametrize(
    ("number", "code"),
    [
        pytest.param(signal.SIGINT, 130, marks=pytest.mark.row("F60")),
        pytest.param(signal.SIGTERM, 143, marks=pytest.mark.row("F61")),
        pytest.param(signal.SIGHUP, 129, marks=pytest.mark.row("F61")),
    ],
)
@pytest.mark.unrecorded
def test_a_signal_ends_a_wait_with_its_code(command, number, code):
    """What is known is told, the document names the code, and so does how to go on."""
    child = command("wait", "edge:aa", "-o", "json")
    assert "edge:aa" in child.stderr.readline()
    child.send_signal(number)
    out, err = child.communicate(timeout=LONG)
    assert child.returncode == code
    assert json.loads(out)["exit_code"] == code
    assert "bulkstatus resume 1" in err
    assert "Traceback" not in err


@pytest.mark.row("F61")
def test_a_hangup_that_is_ignored_ends_nothing(command):
    """As under nohup: the command goes on, and a termination still ends it."""
    child = command("watch", "edge:aa", "-o", "jsonl", before=("nohup",), stdin=subprocess.DEVNULL)
    child.stdout.readline()  # the version
    assert "edge:aa" in child.stdout.readline()
    child.send_signal(signal.SIGHUP)
    child.send_signal(signal.SIGTERM)
    _, err = child.communicate(timeout=LONG)
    assert (child.returncode, "Traceback" in err) == (143, False)


@pytest.mark.row("F61")
def test_a_terminal_that_is_closed_ends_a_wait(command):
    """What can be written nowhere is no error: the code is that of the hangup, or of an output that is gone."""
    ours, theirs = pty.openpty()
    try:
        child = command(
            "wait",
            "edge:aa",
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            before=("setsid", "--ctty", "--wait"),
            text=False,
        )
        os.close(theirs)
        seen = b""
        while b"edge:aa" not in seen:
            assert select.select([ours], [], [], LONG)[0]
            seen += os.read(ours, 65_536)
    finally:
        os.close(ours)
    assert child.wait(LONG) == 129


@pytest.mark.row("F61")
def test_a_reader_that_goes_away_ends_a_watch_quietly(command):
    """`| head -1`: 141 and not a word."""
    child = command("changes", "--follow", "-o", "jsonl", stdout=subprocess.PIPE)
    child.stdout.close()
    child.stdout = None
    _, err = child.communicate(timeout=LONG)
    assert (child.returncode, err) == (141, "")


# --- F63: a clock that is wrong ---


def dated(ahead, pause):
    """A refusal by a server whose clock is `ahead` of ours, which names by its clock when to come again."""
    there = datetime.now(UTC) + ahead
    moments = (there, there + timedelta(seconds=pause))
    date, again = (format_datetime(moment, usegmt=True) for moment in moments)
    return reply(b"", 503, f"Date: {date}", f"Retry-After: {again}")


@pytest.mark.row("F63")
@pytest.mark.parametrize("ahead", [timedelta(days=1), timedelta(days=-1)])
def test_a_date_to_come_again_is_read_by_the_servers_own_clock(ahead, kind, transport):
    """A day of difference makes no day of waiting, and no waiting that is left out."""
    with raw_server(dated(ahead, 40)) as server, pytest.raises(Unavailable) as caught:
        ask(kind, Plain(base_url=server.url), policy=Policy(attempts=1))
    assert caught.value.retry_after == 40
    with raw_server(dated(ahead, 1), reply()) as server:
        (status,) = ask(kind, Plain(base_url=server.url))
        assert (status.state, len(server.requests)) == ("running", 2)


# --- F68: forks ---

_FORK = """
    import os, sys, threading, warnings
    warnings.simplefilter("ignore", DeprecationWarning)  # forking beside threads is what this is about
    from bulkstatus import Client, _recorder
    from support import Plain

    _recorder._MOMENT = _recorder._READING = 30.0  # a busy disk is waited for
    url, when, journal = sys.argv[1:]
    client = Client({"plain": Plain(base_url=url)}, journal=journal or None)
    if when != "new":
        client.get("plain:a1")
    if when == "busy":
        watch = client.watch("plain:a1")
        asking = threading.Thread(target=client.wait, args=["plain:a1"], kwargs={"timeout": 2})
        asking.start()
    children = []
    for number in range(2):
        child = os.fork()
        if not child:
            assert client.get(f"plain:child{number}").state == "running"
            assert client.get_many(["plain:a1", "plain:a2"]).complete
            assert [result.verdict for result in client.wait("plain:ended")] == ["succeeded"]
            if when == "busy":
                try:
                    watch.changes()
                except RuntimeError as error:
                    assert "before a fork" in str(error)
                else:
                    sys.exit("a watch of the parent's was read")
            if journal:
                assert client.history(f"plain:child{number}")
            if number:
                client.close()
            sys.exit(0)
        children.append(child)
        assert client.get(f"plain:parent{number}").state == "running"
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    if when == "busy":
        asking.join()
        watch.changes(within=0)
    assert client.get("plain:a1").state == "running"
    client.close()
    print(codes, client.get("plain:a1").state)
    client.close()
"""


@pytest.mark.row("F68")
@pytest.mark.parametrize(
    ("when", "journal"), [("new", ""), ("used", ""), ("busy", ""), ("busy", "journal.db")]
)
@pytest.mark.unrecorded
def test_a_forked_child_goes_on_with_a_blocking_client(when, journal, transport, tmp_path):
    """With connections of its own, and so does the parent, whether or not the child closes it; what was begun is the parent's."""

    def respond(request):
        id = request.path.rpartition("/")[2]
        return FakeResponse.json({"id": id, "status": "done" if id == "ended" else "running"})

    with serve(Scripted(respond)) as url:
        done = run_script(_FORK, url, when, str(tmp_path / journal) if journal else "", strict=False)
    assert (done.returncode, done.stdout) == (0, "[0, 0] running\n"), done.stderr
    assert done.stderr == ""


_FORK_OF_LOOP = """
    import asyncio, os, sys, warnings
    warnings.simplefilter("ignore", DeprecationWarning)
    from bulkstatus import AsyncClient
    from support import Plain

    client = AsyncClient({"plain": Plain(base_url=sys.argv[1])})

    async def again():
        await client.get("plain:a1")

    async def main():
        async with client:
            await client.get("plain:a1")
            child = os.fork()
            if not child:
                try:
                    asyncio.run(again())
                except RuntimeError as error:
                    print(error, flush=True)
                os._exit(0)
            os.waitpid(child, 0)
            print((await client.get("plain:a1")).state)

    asyncio.run(main())
"""


@pytest.mark.row("F68")
def test_a_forked_child_is_told_that_an_open_async_client_is_the_parents(transport):
    """It does not hang; the parent goes on."""
    with serve(Scripted()) as url:
        done = run_script(_FORK_OF_LOOP, url, strict=False)
    assert (done.returncode, done.stderr) == (0, "")
    told, state = done.stdout.splitlines()
    assert "belongs to the event loop it was opened in" in told
    assert state == "running"


@pytest.mark.row("F68")
@pytest.mark.unrecorded
def test_a_pool_of_processes_asks_with_its_parents_client(transport):
    """As multiprocessing does by default on Linux: each worker is a fork."""
    script = """
        import multiprocessing, sys, warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        from bulkstatus import Client
        from support import Plain

        def state(id):
            return str(client.get(f"plain:{id}").state)

        client = Client({"plain": Plain(base_url=sys.argv[1])})
        state("a1")
        with multiprocessing.get_context("fork").Pool(2) as pool:
            print(set(pool.map(state, [f"a{number}" for number in range(20)])), state("a1"))
            pool.close()
            pool.join()
        client.close()
    """
    with serve(Scripted()) as url:
        done = run_script(script, url, strict=False)
    assert (done.stdout, done.stderr) == ("{'running'} running\n", "")


# --- F69: functions of the caller's ---


class Often(Plain, frozen=True, kw_only=True):
    """A provider that may be asked twenty times a second."""

    poll_floor: ClassVar[float] = 0.05


def followed(kind, url, on_change, **options):
    """Wait for the bulk `a1` and give the outcome."""
    sources = {"plain": Often(base_url=url)}
    if kind == "blocking":
        with Client(sources) as client:
            return client.wait("plain:a1", on_change=on_change, **options)

    async def main():
        async with AsyncClient(sources) as client:
            return await client.wait("plain:a1", on_change=on_change, **options)

    return anyio.run(main)


class Ends(Scripted):
    """A bulk that runs until it has been asked for three times."""

    def answer(self, request):
        response = super().answer(request)
        return response if len(self.requests) < 3 else type(response).json({"id": "a1", "status": "done"})


@pytest.mark.row("F69")
@pytest.mark.parametrize("form", ["raises", "exits", "interrupts", "blocks"])
def test_whatever_a_function_of_the_callers_does_the_wait_goes_on(form, kind, transport, caplog):
    """The bulk is asked for again and again, and its end is the outcome; a warning says what was raised, not its text."""
    go_on = threading.Event()
    error = {"raises": ValueError, "exits": SystemExit, "interrupts": KeyboardInterrupt}.get(form)

    def on_change(change):
        if error is None:
            go_on.wait(60)
        else:
            raise error("hunter2")

    fake = Ends()
    with serve(fake) as url:
        outcome = followed(kind, url, on_change, timeout=LONG, polling=PollPolicy(base=0.05))
    go_on.set()
    assert outcome.verdicts == {"plain:a1": Verdict.SUCCEEDED}
    assert len(fake.requests) >= 3
    said = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert "hunter2" not in caplog.text
    if error is not None:
        assert f"on_change raised {error.__name__}; the wait goes on" in said


@pytest.mark.row("F69")
def test_a_coroutine_on_change_that_calls_its_blocking_client_is_told_what_to_do(caplog):
    """It would wait for itself for ever."""

    async def on_change(change):
        client.get("plain:a2")

    with serve(Ends()) as url, Client({"plain": Often(base_url=url)}) as client:
        often = PollPolicy(base=0.05)
        assert client.wait("plain:a1", on_change=on_change, timeout=LONG, polling=often).succeeded
    assert "on_change raised RuntimeError; the wait goes on" in caplog.text


# --- F70: event loops ---


def in_new_loop(function):
    """What a coroutine function gives in a loop of its own, which is closed then; what it raises, as text."""
    try:
        return asyncio.run(asyncio.wait_for(function(), LONG))
    except RuntimeError as error:
        return str(error)


@pytest.mark.row("F70")
def test_an_async_client_in_another_loop_says_so(transport):
    """Whatever is called; nothing is sent, nothing hangs, and where it was opened it goes on."""
    fake = Scripted()

    async def main():
        async with AsyncClient({"plain": Plain(base_url=url)}) as client:
            await client.get("plain:a1")
            watch = client.watch("plain:a1", polling=PollPolicy(floor=600.0))
            await watch.changes()
            asked = len(fake.requests)
            uses = (
                lambda: client.get("plain:a1"),
                lambda: client.get_many(["plain:a1"]),
                lambda: client.wait("plain:a1"),
                client.check,
                watch.changes,
                client.__aenter__,
                lambda: client.__aexit__(None, None, None),
            )
            told = [await asyncio.to_thread(in_new_loop, use) for use in uses]
            assert len(fake.requests) == asked
            watch.close()
            return told, (await client.get("plain:a1")).state

    with serve(fake) as url:
        told, state = asyncio.run(main())
    assert state == "running"
    assert len(told) == 7
    for text in told:
        assert "belongs to the event loop it was opened in, which is another" in text


@pytest.mark.row("F70")
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning", "ignore:Unclosed:ResourceWarning")
def test_an_async_client_whose_loop_was_closed_says_so():
    """It was never left, and cannot be any more."""
    script = """
        import asyncio, os, sys
        from bulkstatus import AsyncClient
        from support import Plain
        client = AsyncClient({"plain": Plain(base_url=sys.argv[1])})
        loop = asyncio.new_event_loop()
        loop.run_until_complete(client.__aenter__())
        loop.close()
        for use in (lambda: client.get("plain:a1"), client.__aenter__, lambda: client.wait("plain:a1")):
            try:
                asyncio.run(use())
            except RuntimeError as error:
                print(error, flush=True)
        os._exit(0)
    """
    with serve(Scripted()) as url:
        done = run_script(script, url)
    assert done.returncode == 0, done.stderr
    told = done.stdout.splitlines()
    assert len(told) == 3
    assert all("was opened in, which has been closed" in line for line in told)


@pytest.mark.row("F70")
def test_a_client_after_its_close(kind, transport):
    """The blocking one opens anew; the async one has to be opened by `async with`, and may be."""
    with serve(Scripted()) as url:
        if kind == "blocking":
            client = Client({"plain": Plain(base_url=url)})
            for _ in range(2):
                assert client.get("plain:a1").state == "running"
                client.close()
            return
        client = AsyncClient({"plain": Plain(base_url=url)})

        async def use():
            async with client:
                return (await client.get("plain:a1")).state

        for _ in range(2):
            assert in_new_loop(use) == "running"
            assert "use it in a with statement" in in_new_loop(lambda: client.get("plain:a1"))


@pytest.mark.row("F70")
def test_a_blocking_client_works_beside_any_loop(transport):
    """In a coroutine, which it holds up, and on threads of a loop, one after another."""
    with serve(Scripted()) as url, Client({"plain": Plain(base_url=url)}) as client:

        async def use():
            here = client.get("plain:a1").state
            return here, (await asyncio.to_thread(client.get, "plain:a1")).state

        for _ in range(2):
            assert asyncio.run(use()) == ("running", "running")
