"""The private loop behind the blocking client: calls, interrupts, ends."""

import sys
import threading
from contextlib import asynccontextmanager
from contextvars import ContextVar

import anyio
import anyio.lowlevel
import pytest

from bulkstatus import Unavailable
from bulkstatus._portal import LoopThread
from bulkstatus.testing import serve
from support import Scripted, raw_server, run_script


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
    """Replies are decoded on the loop, whose stack is large enough for any depth that is let through."""
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
    from bulkstatus import Client
    from support import Plain

    url, how = sys.argv[1:]
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job may have been told to ignore it

    def interrupt():
        time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGINT)

    with Client({"plain": Plain(base_url=url)}) as client:
        threading.Thread(target=interrupt, daemon=True).start()
        try:
            if how == "get":
                client.get("plain:a1")
            elif how == "many":
                client.get_many(["plain:a1", "plain:a2"])
            else:
                client.check() and client.get("plain:a1", timeout=60)
        except KeyboardInterrupt:
            print("interrupted")
    print("closed")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals are another thing there")
@pytest.mark.parametrize("how", ["get", "many", "timeout"])
def test_an_interrupt_ends_a_question_under_way(how):
    """Ctrl-C while a provider is silent ends the call, and the client closes, without noise."""
    stop = threading.Event()
    with raw_server(lambda connection: stop.wait(60) and None) as server:
        done = run_script(
            _SCRIPT, server.url, how
        )  # not while the provider is silent: that is longer than it may take
        stop.set()
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout.split() == ["interrupted", "closed"]


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
        done = run_script(
            script.replace("import sys", "import sys, warnings; warnings.simplefilter('default')"), url
        )
    assert (done.returncode, done.stdout.strip()) == (0, "running"), done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="it has no such limit")
def test_a_loop_that_cannot_be_made_is_told_and_not_waited_for():
    """No more files may be opened: the error of the system comes out of the call, and no traceback of a thread."""
    done = run_script(
        """
        import errno, os, resource
        import anyio._backends._asyncio  # which takes no file any more, then
        from bulkstatus._portal import LoopThread

        resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
        while True:
            try:
                os.dup(0)
            except OSError:
                break
        try:
            LoopThread()
        except OSError as error:
            print(errno.errorcode[error.errno])
        """,
        strict=False,  # asyncio complains of the loop that it could not make
    )
    assert (done.returncode, done.stdout) == (0, "EMFILE\n")
    assert "in thread" not in done.stderr


_WHOSE = ContextVar("_WHOSE", default="nobody's")


def test_a_call_runs_in_the_callers_context(loop):
    """What the caller's log lines are bound to reaches the loop; nothing comes back, and no two calls meet."""
    _WHOSE.set("the caller's")

    async def whose():
        found = _WHOSE.get()
        _WHOSE.set("the loop's")
        await anyio.lowlevel.checkpoint()
        return found

    assert [loop.call(whose), loop.call(whose), _WHOSE.get()] == ["the caller's"] * 3


def test_calls_under_way_end_when_the_loop_is_closed():
    """The threads that wait are let go, after what the coroutines had to do at their end."""
    thread = LoopThread()
    begun, ended, told = threading.Semaphore(0), [], []

    async def endless():
        begun.release()
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.lowlevel.checkpoint()
                ended.append(True)

    def wait():
        try:
            thread.call(endless)
        except Unavailable as error:
            told.append(error.reason)

    waiting = [threading.Thread(target=wait) for _ in range(3)]
    for one in waiting:
        one.start()
        assert begun.acquire(timeout=30)
    thread.close()
    for one in waiting:
        one.join(30)
    assert (told, ended) == (["closed"] * 3, [True] * 3)
    with pytest.raises(Unavailable, match="closed"):
        thread.call(endless)


def test_a_call_that_came_too_late_to_be_run_lets_its_thread_go(loop):
    """When the loop has turned for the last time, nothing that was handed to it would ever be done."""

    async def nothing():
        raise AssertionError("nobody runs it")

    loop.run(lambda: setattr(loop, "_stopping", True))  # as `close` leaves it
    with pytest.raises(Unavailable, match="closed"):
        loop.call(nothing)
