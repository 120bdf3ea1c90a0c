"""Names, connections and what goes over them, spoiled for real: by a resolver, by sockets, by a proxy on loopback."""

import errno
import gc
import socket
import struct
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from typing import ClassVar
from urllib.parse import urlsplit

import anyio
import pytest

from bulkstatus import AsyncClient, BulkStatusError, Client, Policy, PollPolicy, State, Unavailable, Verdict
from bulkstatus.testing import FakeResponse, serve
from reliability.toxics import bandwidth, black_hole, cut_after, latency, sliced, toxic_proxy
from support import GOOD_BODY, Plain, Scripted, ask, dripping, held_port, raw_server, reply, run_script

pytestmark = pytest.mark.usefixtures("quick", "transport")

NAME = "plain.localhost"
ID = "7be1c3f09a5d4e21b6c8d7f00a94e152"


def at(port: int, host: str = NAME) -> Plain:
    """The provider at a port of this machine."""
    return Plain(base_url=f"http://{host}:{port}")


# --- names ---


@pytest.mark.parametrize(
    "case",
    [
        pytest.param("unknown", marks=pytest.mark.row("F01")),
        pytest.param("for now", marks=pytest.mark.row("F02")),
    ],
)
def test_a_name_that_cannot_be_looked_up(names, kind, case):
    """A host that does not exist is tried twice and blamed on base_url; a resolver in trouble is tried four times."""
    number, attempts, reason, words = {
        "unknown": (socket.EAI_NONAME, 2, "dns", "the host api.nowhere.test does not exist; check base_url"),
        "for now": (socket.EAI_AGAIN, 4, "connect", "cannot look up the host api.nowhere.test"),
    }[case]
    names.known["api.nowhere.test"] = socket.gaierror(number, "no")
    with pytest.raises(Unavailable) as caught:
        ask(kind, Plain(base_url="https://api.nowhere.test"))
    assert (caught.value.reason, caught.value.message) == (reason, words)
    assert names.asked == ["api.nowhere.test"] * attempts


HANGING = """
    import socket, sys, threading
    from bulkstatus import Policy, Unavailable
    from support import Plain, ask

    def hang(*args, **kwargs):
        threading.Event().wait(600)

    socket.getaddrinfo = hang
    try:
        ask(sys.argv[1], Plain(base_url="https://api.nowhere.test"), policy=Policy(request_timeout=0.5, attempts=2))
    except Unavailable as error:
        print(error)
"""


@pytest.mark.row("F03")
@pytest.mark.unrecorded
def test_a_lookup_that_hangs_holds_up_nobody(kind):
    """The request ends by its total deadline; so do the client's close, the loop, and the process."""
    done = run_script(HANGING, kind)
    assert done.stderr == ""
    assert done.stdout == "plain (plain): no complete answer within 0.5 s\n"
    assert done.returncode == 0


@pytest.mark.row("F03")
def test_lookups_that_hang_keep_no_other_source_from_being_looked_up(monkeypatch):
    """Fifty of them, more than an event loop has threads for; another source's name is looked up meanwhile."""
    release = threading.Event()
    real = socket.getaddrinfo

    def lookup(host, *args, **kwargs):
        if host == "api.nowhere.test":
            release.wait(30)
            raise socket.gaierror(socket.EAI_AGAIN, "no")
        return real(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", lookup)

    async def main(port):
        dead = {f"dead{number}": Plain(base_url="https://api.nowhere.test") for number in range(2)}
        sources = {**dead, "plain": at(port, "localhost")}
        policy = Policy(connections=25, attempts=1)
        async with AsyncClient(sources, policy=policy) as client, anyio.create_task_group() as group:
            for number in range(50):
                group.start_soon(client.get, f"dead{number % 2}:a{number}")
            await anyio.wait_all_tasks_blocked()
            status = await client.get("plain:a1")
            group.cancel_scope.cancel()
            return status

    with raw_server(reply()) as server:
        status = anyio.run(main, server.port)
    assert not release.is_set()
    release.set()
    assert status.id == "a1"


def test_a_name_of_this_machine_leads_to_no_other(names, kind):
    """Credentials go without TLS to names under localhost: an address elsewhere that a resolver gives is not used."""
    names.known[NAME] = ["192.0.2.1", "198.51.100.7"]
    with pytest.raises(Unavailable, match="check base_url"):
        ask(kind, at(80))


# --- connections ---


@pytest.mark.row("F04")
def test_a_refused_connection_is_tried_four_times(names, kind):
    """Nobody listens: four attempts, then it says which host cannot be connected to."""
    names.known[NAME] = ["127.0.0.1"]
    with held_port() as port, pytest.raises(Unavailable) as caught:
        ask(kind, at(port))
    assert (caught.value.reason, caught.value.message) == ("connect", f"cannot connect to {NAME}")
    assert caught.value.retryable
    assert len(names.asked) == 4


@pytest.mark.row("F05")
def test_a_black_hole_is_given_up_step_by_step(names, kind, short_connect):
    """What is dropped on its way is waited for no longer than a connection may take, four times."""
    names.known[NAME] = ["127.0.0.1"]
    with black_hole() as port, pytest.raises(Unavailable) as caught:
        ask(kind, at(port))
    assert (caught.value.reason, caught.value.message) == (
        "connect",
        f"no connection within 0.1 s to {NAME}",
    )
    assert len(names.asked) == 4


def _reset(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@pytest.mark.row("F06")
def test_a_reset_before_the_answer_is_tried_four_times(kind):
    """The server throws the connection away: as many requests as attempts, and no answer is made up."""
    with raw_server(_reset) as server, pytest.raises(Unavailable) as caught:
        ask(kind, Plain(base_url=server.url))
    assert (caught.value.reason, caught.value.message) == (
        "connection",
        "the exchange broke off with 127.0.0.1",
    )
    assert len(server.requests) == 4


@pytest.mark.row("F06")
@pytest.mark.parametrize("reset", [True, False], ids=["reset", "closed"])
@pytest.mark.parametrize("size", [10, 200], ids=["in the headers", "in the body"])
def test_an_answer_that_breaks_off_is_tried_four_times(kind, reset, size):
    """Whatever part of it came through is not read."""
    answer = reply(GOOD_BODY + b" " * 300)
    with (
        raw_server(answer) as server,
        toxic_proxy(server.port, cut_after(size, reset=reset)) as proxy,
        pytest.raises(Unavailable) as caught,
    ):
        ask(kind, Plain(base_url=proxy.url))
    assert caught.value.reason in {"connection", "framing"}
    assert proxy.connections == 4


def _silent(connection):
    connection.recv(1)


@pytest.mark.row("F07")
def test_a_server_that_never_answers_is_given_up_step_by_step(names, kind, short_read):
    """It accepts and is silent: no longer than a read may take, four times."""
    names.known[NAME] = ["127.0.0.1"]
    with raw_server(_silent) as server, pytest.raises(Unavailable) as caught:
        ask(kind, at(server.port))
    assert (caught.value.reason, caught.value.message) == ("timeout", f"no answer within 0.1 s from {NAME}")
    assert len(names.asked) == 4


HEAD = b"HTTP/1.1 200 X\r\nContent-Length: 100000\r\n\r\n"


@pytest.mark.parametrize(
    "case",
    [
        pytest.param("headers drip", marks=pytest.mark.row("F08")),
        pytest.param("body drips", marks=pytest.mark.row("F09")),
    ],
)
def test_a_server_that_never_finishes_meets_the_total_deadline(names, case, kind):
    """Bytes that keep coming do not keep a request alive; it ends, and is asked again."""
    names.known[NAME] = ["127.0.0.1"]
    ended = threading.Event()
    step = {
        "headers drip": dripping(ended.is_set, b"HTTP/1.1 200 X\r\nX: ", again=b"a"),
        "body drips": dripping(ended.is_set, HEAD, again=b" ", every=0.005),
    }[case]
    with raw_server(step) as server:
        with pytest.raises(Unavailable) as caught:
            ask(kind, at(server.port), policy=Policy(request_timeout=0.5, attempts=2))
        ended.set()
    assert (caught.value.reason, caught.value.message) == ("timeout", "no complete answer within 0.5 s")
    assert len(names.asked) == 2


@pytest.mark.row("F10")
def test_a_narrow_line_meets_the_total_deadline(names, kind):
    """A kilobyte a second for a hundred kilobytes: it ends, and is asked again."""
    names.known[NAME] = ["127.0.0.1"]
    with (
        raw_server(reply(GOOD_BODY + b" " * 100_000)) as server,
        toxic_proxy(server.port, bandwidth(1_000)) as proxy,
        pytest.raises(Unavailable) as caught,
    ):
        ask(kind, at(proxy.port), policy=Policy(request_timeout=0.5, attempts=2))
    assert (caught.value.reason, caught.value.message) == ("timeout", "no complete answer within 0.5 s")
    assert len(names.asked) == 2


@pytest.mark.row("F11")
def test_an_answer_in_slices_is_an_answer(kind):
    """A packet for every byte: read at the first attempt."""
    with raw_server(reply()) as server, toxic_proxy(server.port, sliced) as proxy:
        (status,) = ask(kind, Plain(base_url=proxy.url))
    assert (status.state, len(server.requests)) == (State.RUNNING, 1)


@pytest.mark.row("F12")
def test_a_slow_line_is_not_asked_twice(kind):
    """What is late, and within the limits of a step, is waited for."""
    with raw_server(reply()) as server, toxic_proxy(server.port, latency(0.15, 0.1)) as proxy:
        (status,) = ask(kind, Plain(base_url=proxy.url))
    assert (status.state, len(server.requests), proxy.connections) == (State.RUNNING, 1, 1)


# --- two families of addresses ---


@pytest.fixture
def dead_v6(request):
    """A server on 127.0.0.1 at whose port ::1 `refuses`, or `drops` what comes."""
    with ExitStack() as stack:
        for _ in range(20):
            server = stack.enter_context(raw_server(reply()))
            if request.param == "refuses":
                holder = stack.enter_context(socket.socket(socket.AF_INET6))
                hold = partial(holder.bind, ("::1", server.port))
            else:
                hold = partial(stack.enter_context, black_hole("::1", server.port))
            try:
                hold()
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    pytest.skip("this machine has no IPv6, not even to itself")
            else:
                break
        yield server


@pytest.mark.row("F20")
@pytest.mark.parametrize("dead_v6", ["refuses", "drops"], indirect=True)
@pytest.mark.parametrize("addresses", [["::1", "127.0.0.1"], ["::1", "::1", "127.0.0.1"]], ids=["1", "2"])
def test_the_other_family_is_tried_beside_one_that_is_dead(names, kind, dead_v6, addresses):
    """IPv6 leads nowhere and IPv4 works: an answer at the first attempt."""
    names.known[NAME] = addresses
    (status,) = ask(kind, at(dead_v6.port))
    assert (status.id, len(names.asked), len(dead_v6.requests)) == ("a1", 1, 1)


@pytest.mark.row("F20")
@pytest.mark.parametrize("dead_v6", ["drops"], indirect=True)
def test_addresses_that_all_lead_nowhere_share_one_limit(names, kind, dead_v6, short_connect):
    """Two black holes are not waited for one after the other: four attempts, then the name is told."""
    names.known[NAME] = ["::1", "::1"]
    with pytest.raises(Unavailable) as caught:
        ask(kind, at(dead_v6.port))
    assert caught.value.message == f"no connection within 0.1 s to {NAME}"
    assert len(names.asked) == 4


# --- an outage in the middle of a wait ---


class Often(Plain, frozen=True, kw_only=True):
    """A provider that may be asked ten times a second."""

    poll_floor: ClassVar[float] = 0.1


def wait(kind, adapter, **options):
    """Wait with a client of its own for one bulk."""
    policy = Policy(attempts=1)
    if kind == "blocking":
        with Client({"plain": adapter}, policy=policy) as client:
            return client.wait("plain:a1", **options)

    async def main():
        async with AsyncClient({"plain": adapter}, policy=policy) as client:
            return await client.wait("plain:a1", **options)

    return anyio.run(main)


@pytest.mark.row("F21")
def test_a_wait_goes_on_over_an_outage(kind):
    """It says once that it cannot look and once that it can again; the verdict is that of the later answer."""
    word, kinds, away = ["running"], [], threading.Event()
    fake = Scripted(lambda _: FakeResponse.json({"id": "a1", "status": word[0]}))
    with (
        serve(fake) as url,
        toxic_proxy(urlsplit(url).port) as proxy,
        ThreadPoolExecutor(1) as pool,
    ):

        def come_back():
            assert away.wait(20)
            word[0] = "done"
            proxy.up()

        def see(change):
            kinds.append(change.kind)
            if len(kinds) == 1:
                proxy.down()
            if change.kind == "unobservable":
                away.set()

        returning = pool.submit(come_back)
        adapter = Often(base_url=proxy.url)
        outcome = wait(kind, adapter, timeout=30, polling=PollPolicy(base=0.2), on_change=see)
        returning.result(20)
    assert outcome.verdicts == {"plain:a1": Verdict.SUCCEEDED}
    assert kinds == ["state", "unobservable", "observable", "state"]


# --- what the transports have in common ---


def leave(kind, adapter, policy, timeout):
    """Ask for so many seconds and then close the client."""
    if kind == "blocking":
        with Client({"plain": adapter}, policy=policy) as client:
            client.get("plain:a1", timeout=timeout)
        return

    async def main():
        async with AsyncClient({"plain": adapter}, policy=policy) as client:
            await client.get("plain:a1", timeout=timeout)

    anyio.run(main)


@pytest.mark.parametrize("ends", ["deadline", "close"])
@pytest.mark.unrecorded
def test_a_question_that_is_cut_off_leaves_no_socket_behind(names, kind, ends):
    """Cut off while connecting, in the handshake, in the answer: every socket is closed by whoever made it."""
    names.known[NAME] = ["127.0.0.1", "127.0.0.2"]
    policy = Policy(request_timeout=0.1 if ends == "deadline" else 20, attempts=1)
    with raw_server(_silent) as server, black_hole() as hole, black_hole("127.0.0.2", hole):
        for url in (
            f"http://127.0.0.1:{hole}",
            f"http://{NAME}:{hole}",
            f"https://127.0.0.1:{server.port}",
            server.url,
        ):
            with pytest.raises(BulkStatusError):
                leave(kind, Plain(base_url=url), policy, timeout=5 if ends == "deadline" else 0.1)
        gc.collect()  # a socket that was left to it would warn, and warnings fail here


@pytest.mark.row("F04", "F01")
def test_the_command_says_what_cannot_be_reached(command, names):
    """Exit code 7, no bulk on stdout, and a line that says what to look at."""
    with held_port() as port:
        code, out, err = command(f"http://127.0.0.1:{port}")
    assert (code, ID in out) == (7, False)
    assert "cannot connect to 127.0.0.1" in err
    names.known["api.nowhere.test"] = socket.gaierror(socket.EAI_NONAME, "no")
    code, out, err = command("https://api.nowhere.test")
    assert (code, ID in out) == (7, False)
    assert "the host api.nowhere.test does not exist; check base_url" in err
