"""The private loop behind the blocking client: calls, interrupts, ends."""

import os
import subprocess
import sys
import textwrap
import threading
import time
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from bulkstatus._portal import LoopThread
from bulkstatus.testing import serve
from support import Scripted, raw_server

TESTS = Path(__file__).parents[1]


@pytest.fixture
def loop():
    """A running loop thread."""
    thread = LoopThread()
    yield thread
    thread.close()


def test_a_call_gives_what_the_coroutine_gives(loop):
    """And runs it elsewhere."""

    async def where():
        await anyio.lowlevel.checkpoint()
        return threading.current_thread().name

    assert loop.call(where) == "bulkstatus"


def test_a_call_raises_what_the_coroutine_raises(loop):
    """The error itself, not a wrapper."""

    async def fail():
        raise LookupError("x")

    with pytest.raises(LookupError, match="x"):
        loop.call(fail)


def test_an_async_context_is_entered_and_left_on_the_loop(loop):
    """Both ends run there, in one task."""
    tasks = []

    @asynccontextmanager
    async def resource():
        tasks.append(anyio.get_current_task().id)
        yield "it"
        tasks.append(anyio.get_current_task().id)

    with loop.enter(resource()) as found:
        assert found == "it"
    assert len(tasks) == 2
    assert len(set(tasks)) == 1


def test_the_thread_is_a_daemon_and_ends_when_closed():
    """A script that forgets to close still ends, and one that closes leaves no thread."""
    thread = LoopThread()
    assert thread._thread.daemon
    thread.close()
    assert not thread._thread.is_alive()


def test_the_stack_of_other_threads_is_left_as_it_was():
    """A large stack is for the loop alone."""
    before = threading.stack_size()
    LoopThread().close()
    assert threading.stack_size() == before


def test_deep_json_crashes_no_thread(loop):
    """B48 to B50: replies are decoded on the loop, whose stack is large enough for any depth that is let through."""
    from msgspec.json import Decoder

    from bulkstatus import ProtocolError
    from bulkstatus.adapter import Response, decode

    for body in ("[" * 100_000, '{"a":' * 100_000, '{"x":' + "[" * 65 + "]" * 65 + "}"):

        async def read(body=body):
            return decode(Response.now(200, body), Decoder().decode)

        with pytest.raises(ProtocolError):
            loop.call(read)


_SCRIPT = """
    import os, signal, sys, threading, time
    from bulkstatus import Client, Policy
    from support import Plain

    url, how = sys.argv[1:]

    def interrupt():
        time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGINT)

    with Client({"plain": Plain(base_url=url)}) as client:
        threading.Thread(target=interrupt, daemon=True).start()
        began = time.monotonic()
        try:
            if how == "get":
                client.get("plain:a1")
            elif how == "many":
                client.get_many(["plain:a1", "plain:a2"])
            else:
                client.check() and client.get("plain:a1", timeout=60)
        except KeyboardInterrupt:
            print(f"{time.monotonic() - began:.3f}")
            interrupted = time.monotonic()
    print(f"{time.monotonic() - interrupted:.3f}")
"""


def _run(script, *arguments):
    environment = {**os.environ, "PYTHONPATH": str(TESTS)}
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(script), *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        env=environment,
        check=False,
    )


@pytest.mark.skipif(sys.platform == "win32", reason="signals are another thing there")
@pytest.mark.parametrize("how", ["get", "many", "timeout"])
def test_an_interrupt_ends_a_question_under_way(how):
    """F60: Ctrl-C while a provider is silent ends the call and the client, each within a second, without noise."""
    stop = threading.Event()
    with raw_server(lambda connection: stop.wait(20) and None) as server:
        done = _run(_SCRIPT, server.url, how)
        stop.set()
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    until_interrupt, until_closed = map(float, done.stdout.split())
    assert until_interrupt < 0.5 + 1
    assert until_closed < 1


def test_a_script_that_forgets_to_close_ends():
    """The loop's thread does not keep the process alive."""
    script = """
        import sys
        from bulkstatus import Client
        from support import Plain
        client = Client({"plain": Plain(base_url=sys.argv[1])})
        print(client.get("plain:a1").state)
    """
    with serve(Scripted()) as url:
        began = time.monotonic()
        done = _run(
            script.replace("import sys", "import sys, warnings; warnings.simplefilter('default')"), url
        )
    assert (done.returncode, done.stdout.strip()) == (0, "running"), done.stderr
    assert time.monotonic() - began < 20
