"""Tokens, and the places where credentials are kept: nothing is refused that was not, and no secret goes astray."""

import json
import os
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import anyio
import keyring.errors
import pytest

from bulkstatus import (
    AsyncClient,
    AuthError,
    BulkStatusError,
    Client,
    Policy,
    ProtocolError,
    RateLimited,
    RequestRejected,
    State,
    Unavailable,
    read_config,
)
from bulkstatus.adapter import Call, Request, status_error
from bulkstatus.testing import FakeResponse, Life, ManualClock, load_fake, serve
from canaries import frames
from commands import PROGRAM, command
from rings import ring_of
from support import Plain, Scripted, ask, raw_server, reply

_SECRET = "S3CR3T-canary-of-client"
_TOKEN = "S3CR3T-canary-as-issued"
_TOKEN_PATH = "/oauth2/token"
posix = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX")


@contextmanager
def provider(respond=None):
    """A plain provider on a socket that gives out tokens, and an adapter that fetches them there."""
    fake = Scripted(respond)
    with serve(fake) as url:
        yield fake, Plain(base_url=url, token_url=url)


def at_once(kind, adapter, count):
    """What `count` questions that begin together come to: statuses and errors."""
    found = []
    if kind == "blocking":
        start = threading.Barrier(count)

        def one(client):
            start.wait()
            try:
                found.append(client.get("plain:a1"))
            except BulkStatusError as error:
                found.append(error)

        with Client({"plain": adapter}) as client:
            threads = [threading.Thread(target=one, args=(client,)) for _ in range(count)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        return found

    async def question(client):
        try:
            found.append(await client.get("plain:a1"))
        except BulkStatusError as error:
            found.append(error)

    async def main():
        async with AsyncClient({"plain": adapter}) as client, anyio.create_task_group() as group:
            for _ in range(count):
                group.start_soon(question, client)

    anyio.run(main)
    return found


def ask_many(kind, adapter, refs):
    """What `get_many` says of `refs`: questions that begin at one moment."""
    if kind == "blocking":
        with Client({"plain": adapter}) as client:
            return client.get_many(refs)

    async def main():
        async with AsyncClient({"plain": adapter}) as client:
            return await client.get_many(refs)

    return anyio.run(main)


def druid(tmp_path, url):
    """A configuration with one DRUID at `url`, whose secret is in the variable DRUID_SECRET."""
    path = tmp_path / "bulkstatus.toml"
    path.write_text(
        f'[sources.crm]\nprovider = "druid"\napi_base_url = "{url}"\nclient_id = "env:DRUID_ID"\n'
        'client_secret = "env:DRUID_SECRET"\n'
    )
    return path


def ask_druid(tmp_path, url, *words):
    """`bulkstatus get` of a bulk at a DRUID at `url`, as a process."""
    return command(
        *(words or ("get", "crm:d-1", "-o", "name")),
        *("--config", druid(tmp_path, url)),
        canaries=[_SECRET, _TOKEN],
        DRUID_ID="druid-id",
        DRUID_SECRET=_SECRET,
    )


# --- tokens that end ---


@pytest.fixture
def later(monkeypatch):
    """The engine's clock, which stands still unless it is set."""
    clock = SimpleNamespace(seconds=0.0)
    monkeypatch.setattr("bulkstatus._engine.now", lambda: clock.seconds)
    return clock


def ask_twice(kind, adapter, between):
    """Two questions of one client, with `between` called in the middle."""
    if kind == "blocking":
        with Client({"plain": adapter}) as client:
            first = client.get("plain:a1")
            between()
            return first, client.get("plain:a1")

    async def main():
        async with AsyncClient({"plain": adapter}) as client:
            first = await client.get("plain:a1")
            between()
            return first, await client.get("plain:a1")

    return anyio.run(main)


@pytest.mark.row("F71")
@pytest.mark.parametrize(("after", "tokens"), [(3_569, 1), (3_570, 2), (3_600, 2), (90_000, 2)])
def test_a_token_is_renewed_before_it_ends(kind, transport, later, after, tokens):
    """Thirty seconds early: the provider, which counts as strictly, never sees one that has ended."""
    refused = []

    def respond(request):
        if request.path == "/token":
            issued.append(later.seconds)
            return FakeResponse.json({"access_token": f"t{len(issued)}", "expires_in": 3600})
        number = int(request.headers["authorization"].removeprefix("Bearer t"))
        if later.seconds - issued[number - 1] >= 3600:
            refused.append(number)
            return FakeResponse(status=401)
        return FakeResponse.json({"id": "a1", "status": "running"})

    issued = []
    with provider(respond) as (_, adapter):
        ask_twice(kind, adapter, lambda: setattr(later, "seconds", after))
    assert len(issued) == tokens
    assert refused == []


@pytest.mark.row("F76")
@pytest.mark.parametrize(
    ("expires_in", "renewed"),
    [
        (-5, 15),
        (0, 15),
        (1e18, 86_370),
        (10**400, 86_370),
        ("soon", 270),
        ("-5", 270),
        ("9" * 10_000, 270),
        (True, 270),
        (None, 270),
        (..., 270),
        ("7200", 7_170),
    ],
    ids=lambda value: str(value)[:12],
)
@pytest.mark.unrecorded
def test_the_life_of_a_token_is_kept_within_bounds(kind, transport, later, expires_in, renewed):
    """Half a minute to a day; five minutes where it is unsaid or unreadable."""
    fake = Scripted()
    fake.token_reply = {} if expires_in is ... else {"expires_in": expires_in}
    with serve(fake) as url:
        adapter = Plain(base_url=url, token_url=url)
        ask_twice(kind, adapter, lambda: setattr(later, "seconds", renewed - 1))
        assert fake.tokens == 1
        later.seconds = 0
        ask_twice(kind, adapter, lambda: setattr(later, "seconds", renewed))
        assert fake.tokens == 3


@pytest.mark.row("F72")
def test_a_revoked_token_is_replaced_once(kind, transport):
    """The question is asked again with the new one, and is answered."""
    with provider() as (fake, adapter):
        fake.revoked = {"Bearer t1"}
        (status,) = ask(kind, adapter)
    assert status.state is State.RUNNING
    assert fake.paths() == ["/token", "/bulks/a1", "/token", "/bulks/a1"]


@pytest.mark.row("F72")
def test_a_token_that_is_refused_again_is_an_auth_error(kind, transport):
    """One renewal, one more try, and no third."""
    with provider() as (fake, adapter):
        fake.revoked = {"Bearer t1", "Bearer t2"}
        with pytest.raises(AuthError) as caught:
            ask(kind, adapter)
    assert caught.value.status == 401
    assert fake.paths() == ["/token", "/bulks/a1", "/token", "/bulks/a1"]


@pytest.mark.row("F72")
def test_a_token_that_is_revoked_under_fifty_questions_is_replaced_once(kind, transport):
    """Whoever was refused takes the token that another had renewed."""
    with provider() as (fake, adapter):
        fake.revoked = {"Bearer t1"}
        found = at_once(kind, adapter, 50)
    assert [status.state for status in found] == [State.RUNNING] * 50
    assert fake.tokens == 2


@pytest.mark.row("F72")
def test_the_command_line_tells_a_refusal_by_its_code(tmp_path, transport):
    """4, after one renewal."""
    fake = Scripted(
        lambda request: (
            FakeResponse.json({"access_token": _TOKEN, "token_type": "bearer"})
            if request.path == _TOKEN_PATH
            else FakeResponse(status=401)
        )
    )
    with serve(fake) as url:
        done = ask_druid(tmp_path, url)
    assert (done.code, done.out) == (4, "")
    assert "credentials" in done.err
    assert fake.paths().count(_TOKEN_PATH) == 2


@pytest.mark.row("F73")
def test_fifty_first_questions_cost_one_token(kind, transport):
    """Those who come while it is fetched wait for it."""
    with provider() as (fake, adapter):
        found = at_once(kind, adapter, 50)
    assert [status.state for status in found] == [State.RUNNING] * 50
    assert fake.tokens == 1
    assert fake.paths().count("/bulks/a1") == 50


# --- token endpoints that give none ---


@pytest.mark.row("F74")
@pytest.mark.parametrize(
    ("status", "error"),
    [
        (408, Unavailable),
        (429, RateLimited),
        (500, Unavailable),
        (502, Unavailable),
        (503, Unavailable),
        (504, Unavailable),
    ],
)
def test_an_outage_of_the_token_endpoint_is_no_refusal(kind, transport, quick, status, error):
    """Two attempts, then the question could not be asked; the bulk's own address was never asked."""
    body = b'{"error":"invalid_client"}'  # not even when it says so
    answer = FakeResponse(status=status, body=body)
    with provider(lambda _: answer) as (fake, adapter), pytest.raises(error) as caught:
        ask(kind, adapter)
    assert fake.paths() == ["/token"] * 2
    assert caught.value.status == status
    assert caught.value.retryable


@pytest.mark.row("F74")
@pytest.mark.parametrize("how", ["no answer", "no reply", "cut"])
def test_a_token_endpoint_that_breaks_off_is_no_refusal(kind, transport, quick, how):
    """A timeout, a connection that ends, half a token: twice, then the question could not be asked."""

    def hang(connection):
        connection.recv(1)  # until the client gives up

    step = {
        "no answer": hang,
        "no reply": lambda connection: None,
        "cut": reply(b'{"access_token":"S3CR3T-canary-cut-off"', length=5000),
    }[how]
    with raw_server(step) as server:
        adapter = Plain(base_url=server.url, token_url=server.url)
        with pytest.raises(Unavailable) as caught:
            ask(kind, adapter, policy=Policy(request_timeout=1.0 if how == "no answer" else 20.0))
    assert [request.split(b" HTTP")[0] for request in server.requests] == [b"POST /token"] * 2
    assert "S3CR3T" not in frames(caught.value)


@pytest.mark.row("F74")
def test_a_token_endpoint_that_recovers_at_once_is_forgiven(kind, transport, quick):
    """The second attempt gives the token, and the answer comes."""

    def respond(request):
        if request.path == "/token":
            return FakeResponse(status=503) if fakes[0].paths() == ["/token"] else FakeResponse.json(token)
        return FakeResponse.json({"id": "a1", "status": "done"})

    token = {"access_token": "t", "token_type": "bearer"}
    fakes = []
    with provider(respond) as (fake, adapter):
        fakes.append(fake)
        (status,) = ask(kind, adapter)
    assert status.state is State.SUCCEEDED
    assert fake.paths() == ["/token", "/token", "/bulks/a1"]


@pytest.mark.row("F74")
def test_an_outage_is_shared_by_all_who_wait_for_the_token(kind, transport, quick):
    """Fifty questions cost two requests, and not a hundred."""
    refs = [f"plain:a{number}" for number in range(50)]
    with provider(lambda _: FakeResponse(status=503)) as (fake, adapter):
        report = ask_many(kind, adapter, refs)
    assert {failure.kind for failure in report.failures} == {"unavailable"}
    assert len(report.failures) == 50
    assert fake.paths() == ["/token"] * 2


@pytest.mark.row("F74")
@pytest.mark.parametrize("status", [503, 404, 422])
@pytest.mark.unrecorded
def test_the_command_line_tells_an_outage_from_a_refusal(tmp_path, transport, status):
    """7, could not observe, and not 4, which sends people to change credentials that are good."""
    fake = Scripted(lambda _: FakeResponse(status=status))
    with serve(fake) as url:
        done = ask_druid(tmp_path, url)
    assert (done.code, done.out) == (7, "")
    assert set(fake.paths()) == {_TOKEN_PATH}


@pytest.mark.row("F75")
@pytest.mark.parametrize("status", [400, 401, 403])
def test_refused_client_credentials_are_told_at_once(kind, transport, status):
    """One request; the endpoint's words in one harmless line, without the secret that it repeats."""

    def respond(request):
        words = f"no such\x1b[31m client\n{request.form['client_secret']}"
        return FakeResponse.json({"error": "invalid_client", "error_description": words}, status)

    with provider(respond) as (fake, adapter), pytest.raises(AuthError) as caught:
        ask(kind, adapter)
    error = caught.value
    assert (error.reason, error.status, error.retryable) == ("client_credentials", status, False)
    assert error.detail == r"invalid_client: no such\x1b[31m client\n***"
    assert fake.paths() == ["/token"]
    assert fake.requests[0].form["client_secret"] not in frames(error)


@pytest.mark.row("F75")
@pytest.mark.parametrize("status", [404, 405, 409, 410, 413, 415, 422, 451, 501])
def test_no_other_status_is_a_refusal_of_credentials(kind, transport, quick, status):
    """It speaks of the address or the request: the question could not be asked."""
    answer = FakeResponse.json({"error": "invalid_client"}, status)
    with provider(lambda _: answer) as (fake, adapter), pytest.raises(BulkStatusError) as caught:
        ask(kind, adapter)
    assert caught.value.kind in ("protocol", "rejected")
    assert caught.value.status == status
    assert set(fake.paths()) == {"/token"}
    assert len(fake.paths()) <= 2
    if status in (404, 410):
        assert "no token endpoint at this address; check the base URL" in str(caught.value)


@pytest.mark.row("F75")
def test_the_command_line_shows_a_refusal_in_one_harmless_line(tmp_path, transport):
    """4, after one request."""
    words = {"error": "invalid_client", "error_description": f"\x1b]0;x\x07 {_SECRET} is wrong"}
    fake = Scripted(lambda _: FakeResponse.json(words, 401))
    with serve(fake) as url:
        done = ask_druid(tmp_path, url)
    assert (done.code, done.out) == (4, "")
    assert r"invalid_client: \x1b]0;x\x07 *** is wrong" in done.err
    assert "\x1b" not in done.err
    assert fake.paths() == [_TOKEN_PATH]


BAD_REPLIES = {
    "HTML": b"<html>S3CR3T-canary</html>",
    "empty": b"",
    "cut JSON": b'{"access_token":"S3CR3T-canary',
    "NaN": b'{"access_token":"S3CR3T-canary","expires_in":NaN}',
    "a list": ["S3CR3T-canary"],
    "no token": {"token_type": "bearer", "expires_in": 3600},
    "null": {"access_token": None},
    "a number": {"access_token": 42},
    "an empty token": {"access_token": ""},
    "mac": {"access_token": "S3CR3T-canary", "token_type": "mac"},
    "DPoP": {"access_token": "S3CR3T-canary", "token_type": "DPoP"},
    "line break": {"access_token": "S3CR3T-canary\n"},
    "a header": {"access_token": "S3CR3T-canary\r\nX-Evil: 1"},
    "blank": {"access_token": "S3CR3T canary"},
    "bidi": {"access_token": "S3CR3T-canary\u202e"},
    "1 MiB": {"access_token": "S3CR3T-canary" * 80_660},
}


@pytest.mark.row("F76")
@pytest.mark.parametrize("case", BAD_REPLIES)
def test_an_answer_without_a_usable_token_is_an_auth_error(kind, transport, case):
    """One request, nothing sent to the bulk's address, and nothing of the answer in the error or behind it."""
    value = BAD_REPLIES[case]
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    answer = FakeResponse(body=body)
    with provider(lambda _: answer) as (fake, adapter), pytest.raises(AuthError) as caught:
        ask(kind, adapter)
    assert caught.value.reason == "bad_token_reply"
    assert fake.paths() == ["/token"]
    assert "S3CR3T" not in frames(caught.value)


@pytest.mark.row("F76")
def test_the_command_line_says_that_the_token_endpoint_gave_none(tmp_path, transport):
    """4, with the setting to look at."""
    fake = Scripted(lambda _: FakeResponse.json({"access_token": _TOKEN, "token_type": "mac"}))
    with serve(fake) as url:
        done = ask_druid(tmp_path, url)
    assert (done.code, done.out) == (4, "")
    assert "check auth_base_url" in done.err


@pytest.mark.row("F77")
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_of_the_token_endpoint_gets_the_secret_nowhere(kind, transport, status):
    """It is sent once, to the address that was set; the other address hears nothing at all."""
    other = Scripted()
    with serve(other) as elsewhere:
        answer = FakeResponse(status=status, headers={"Location": f"{elsewhere}/token"})
        with provider(lambda _: answer) as (fake, adapter), pytest.raises(ProtocolError) as caught:
            ask(kind, adapter)
    assert caught.value.reason == "redirect_refused"
    assert elsewhere.removeprefix("http://") in str(caught.value)
    assert other.requests == []
    (sent,) = fake.requests
    assert (sent.method, sent.path, sent.form["client_secret"]) == ("POST", "/token", "plain-secret")


@pytest.mark.row("F77")
def test_the_command_line_does_not_follow_a_redirect_of_the_token_endpoint(tmp_path, transport):
    """7, with the host it led to."""
    other = Scripted()
    with serve(other) as elsewhere:
        fake = Scripted(lambda _: FakeResponse(status=307, headers={"Location": f"{elsewhere}/token"}))
        with serve(fake) as url:
            done = ask_druid(tmp_path, url)
    assert (done.code, done.out) == (7, "")
    assert elsewhere.removeprefix("http://") in done.err
    assert other.requests == []
    assert fake.paths() == [_TOKEN_PATH]


class Quoting(Plain, frozen=True, kw_only=True):
    """One whose errors quote the provider."""

    def status(self, id):
        def read(response):
            raise status_error(response, detail=response.body.decode())

        return Call(Request.to(self.base_url, "bulks", id), read)


def test_the_secret_behind_a_token_is_not_quoted():
    """Also where the provider of the bulks repeats it, which is never sent it by us."""
    answers = iter(
        [FakeResponse.json({"access_token": _TOKEN}), FakeResponse(status=400, body=b"not plain-secret")]
    )
    with (
        serve(Scripted(lambda _: next(answers))) as url,
        Client({"s": Quoting(base_url=url, token_url=url)}) as client,
        pytest.raises(RequestRejected) as caught,
    ):
        client.get("s:a1")
    assert "not ***" in str(caught.value)


# --- commands ---


@pytest.fixture
def edge(tmp_path):
    """A Cloudflare on a socket, and a function that asks it with a token from wherever a reference says."""
    fake = load_fake("cloudflare")(token="good-token", clock=ManualClock())
    fake.add("aa11", Life.of((0, "completed")))

    def write(reference):
        path = tmp_path / "bulkstatus.toml"
        path.write_text(
            f'[sources.edge]\nprovider = "cloudflare"\nbase_url = "{url}"\ntoken = {json.dumps(reference)}\n'
            'account_id = "023e105f4ecef8ad9ca31a8372d0c353"\n'
        )
        return path

    def get(kind, reference):
        adapter = read_config(write(reference)).build()["edge"]
        return ask(kind, adapter, "plain:aa11")[0]

    with serve(fake) as url:
        yield SimpleNamespace(fake=fake, write=write, get=get)


def python(tmp_path, code):
    """A reference to a command that runs `code`."""
    script = tmp_path / "helper.py"
    script.write_text(code)
    return f"cmd:{sys.executable} {script}"


@pytest.mark.row("F78")
@pytest.mark.parametrize("ending", ["", "\\n", "\\r\\n"])
def test_one_line_break_at_the_end_of_what_a_command_prints_is_dropped(kind, edge, tmp_path, ending):
    """`echo` writes it."""
    code = f"import sys; sys.stdout.buffer.write(b'good-token{ending}')"
    assert edge.get(kind, python(tmp_path, code)).state is State.SUCCEEDED


FAILING = {
    "fails": ("print('S3CR3T-canary'); sys.stderr.write('locked\\x1b[31m'); sys.exit(3)", "status 3"),
    "tells it on stderr": (
        "print('S3CR3T-canary'); sys.stderr.write('x' * 195 + ' S3CR3T-canary is locked'); sys.exit(1)",
        "status 1",
    ),
    "ends by a signal": ("print('S3CR3T-canary', flush=True); os.kill(os.getpid(), 9)", "status -9"),
    "1 MB": ("os.write(1, b'S3CR3T' * 180_000)", "64 KiB"),
    "1 MB and fails": ("os.write(1, b'S3CR3T' * 180_000); sys.exit(1)", "64 KiB"),
    "prompts on stdin": ("input('password: ')\nprint('S3CR3T-canary')", "status 1"),
    "prompts on the terminal": ("open('/dev/tty', 'r+').read(1)\nprint('S3CR3T-canary')", "status 1"),
    "nothing": ("pass", "printed no secret"),
    "only a line break": ("print()", "printed no secret"),
}


@posix
@pytest.mark.row("F78")
@pytest.mark.parametrize("case", FAILING)
def test_a_command_that_gives_no_secret_is_an_auth_error(kind, edge, tmp_path, case):
    """Its complaint is shown, harmless; what it printed is not, nor is it in the frames. Nothing is sent."""
    code, words = FAILING[case]
    with pytest.raises(AuthError, match=words) as caught:
        edge.get(kind, python(tmp_path, f"import os, sys\n{code}"))
    assert "edge.token" in str(caught.value)
    assert str(caught.value).isprintable()
    assert "S3CR3T" not in frames(caught.value)
    assert edge.fake.requests == []
    if case == "fails":
        assert r"locked\x1b[31m" in caught.value.detail


def is_alive(number):
    """True while a process runs; not for one that has ended and is not yet collected."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.row("F78")
def test_a_command_that_hangs_is_ended_with_all_it_started(kind, edge, tmp_path, monkeypatch):
    """After ten seconds; they pass here once it has begun to hang, and what it wrote has been read."""
    numbers = tmp_path / "numbers"
    looks = []

    def monotonic():
        looks.extend([1] if numbers.exists() else [])
        return 0.0 if len(looks) < 3 else 10.1

    monkeypatch.setattr("bulkstatus._program.time", SimpleNamespace(monotonic=monotonic))
    code = (
        "import os, subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "print('S3CR3T-canary', flush=True); sys.stderr.write('waiting for the vault'); sys.stderr.flush()\n"
        f"open({str(tmp_path / 'new')!r}, 'w').write(f'{{os.getpid()}} {{child.pid}}')\n"
        f"os.rename({str(tmp_path / 'new')!r}, {str(numbers)!r})\n"
        "time.sleep(600)\n"
    )
    with pytest.raises(AuthError, match="gave no secret within 10 s: waiting for the vault") as caught:
        edge.get(kind, python(tmp_path, code))
    assert "S3CR3T" not in frames(caught.value)
    itself, child = map(int, numbers.read_text().split())
    assert not is_alive(itself)
    with guard(10) as still:
        while is_alive(child):
            still()


@contextmanager
def guard(seconds):
    """A guard against a loop without end: what it gives rests a moment, and fails when the time is over."""
    ends = threading.Event()
    timer = threading.Timer(seconds, ends.set)
    timer.start()
    try:

        def still():
            assert not ends.wait(0.01), "not within its time"

        yield still
    finally:
        timer.cancel()


@posix
@pytest.mark.row("F78")
@pytest.mark.parametrize("session", ["its own", "the command's"])
def test_what_a_command_leaves_behind_keeps_nobody_waiting(kind, edge, tmp_path, session):
    """An agent that it started holds its pipes open: the secret is taken when the command has ended."""
    code = (
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], "
        f"start_new_session={session == 'its own'})\n"
        f"open({str(tmp_path / 'number')!r}, 'w').write(str(child.pid))\n"
        "print('good-token')\n"
    )
    try:
        assert edge.get(kind, python(tmp_path, code)).state is State.SUCCEEDED
    finally:
        os.kill(int((tmp_path / "number").read_text()), 9)


@posix
@pytest.mark.row("F78")
def test_a_long_complaint_costs_neither_the_secret_nor_memory(kind, edge, tmp_path):
    """A helper may be as talkative on stderr as it likes."""
    code = "import os; [os.write(2, b'x' * 65536) for _ in range(64)]; print('good-token')"
    assert edge.get(kind, python(tmp_path, code)).state is State.SUCCEEDED


@pytest.mark.row("F78")
@pytest.mark.parametrize("case", ["fails", "1 MB"])
def test_the_command_line_tells_a_failing_command_by_its_code(edge, tmp_path, case):
    """4; the complaint is there, the output is not."""
    path = edge.write(python(tmp_path, f"import os, sys\n{FAILING[case][0]}"))
    done = command("get", "edge:aa11", "-o", "name", "--config", path, canaries=["S3CR3T"])
    assert (done.code, done.out) == (4, "")
    assert FAILING[case][1] in done.err
    assert "\x1b" not in done.err


@posix
@pytest.mark.row("F78")
def test_a_command_cannot_ask_at_the_terminal_that_one_sits_at(edge, tmp_path):
    """It has none, though bulkstatus has: a password that is typed there would be nobody's to give."""
    pexpect = pytest.importorskip("pexpect")
    code = "import sys\ntty = open('/dev/tty', 'r+b', buffering=0)\ntty.write(b'PASSWORD?')\ntty.read(1)"
    words = ["get", "edge:aa11", "--config", str(edge.write(python(tmp_path, code)))]
    child = pexpect.spawn(PROGRAM, words, timeout=50, encoding="utf-8", env={**os.environ, "COLUMNS": "500"})
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 4
    assert "'/dev/tty'" in child.before
    assert "PASSWORD?" not in child.before.replace("b'PASSWORD?'", "")


@posix
@pytest.mark.row("F78")
@pytest.mark.parametrize(
    ("name", "entry"),
    [
        ("./helper", "."),
        ("bin/helper", ""),
        ("../wt/helper", "."),
        ("bin/../helper", "."),
        ("helper", ""),
        ("helper", "."),
        ("helper", "bin"),
        ("helper", "./bin"),
    ],
)
@pytest.mark.unrecorded
def test_a_command_never_comes_from_the_working_directory(edge, tmp_path, monkeypatch, name, entry):
    """Not by its own path and not by an entry of PATH: a folder that was checked out runs nothing."""
    folder = tmp_path / "wt"
    for place in (folder / "helper", folder / "bin" / "helper"):
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(f"#!/bin/sh\ntouch {tmp_path / 'ran'}\necho good-token\n")
        place.chmod(0o755)
    monkeypatch.setenv("PATH", os.pathsep.join([entry, "/usr/bin", "/bin", entry]))
    done = command("get", "edge:aa11", "-o", "name", "--config", edge.write(f"cmd:{name}"), cwd=folder)
    assert (done.code, done.out) == (2, "")
    assert "bulkstatus.toml:4: sources.edge.token refers to the command" in done.err
    assert ("depends on the working directory" in done.err) is (name != "helper")
    assert not (tmp_path / "ran").exists()
    assert edge.fake.requests == []


@posix
@pytest.mark.row("F78")
@pytest.mark.parametrize("name", ["{home}/bin/helper", "~/bin/helper", "helper"])
def test_a_command_is_found_by_its_full_path_and_in_the_full_paths_of_path(
    kind, edge, tmp_path, monkeypatch, name
):
    """And runs in the configuration's folder, so that what it names itself is found there, not where one stands."""
    place = Path.home() / "bin" / "helper"
    place.parent.mkdir()
    place.write_text("#!/bin/sh\ncat token\n")
    place.chmod(0o755)
    (tmp_path / "token").write_text("good-token")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "token").write_text("wrong")
    monkeypatch.chdir(elsewhere)
    monkeypatch.setenv("PATH", os.pathsep.join(["relative", str(place.parent), "/usr/bin", "/bin"]))
    assert edge.get(kind, f"cmd:{name.format(home=Path.home())}").state is State.SUCCEEDED


# --- keyrings ---


@pytest.fixture
def ring():
    """A keyring that fails in every way, in place of the owner's."""
    entries = {
        "good": "good-token",
        "empty": "",
        "blank": "S3CR3T canary",
        "locked": keyring.errors.KeyringLocked("S3CR3T-canary"),
        "broken": RuntimeError("S3CR3T-canary"),
        "no service": keyring.errors.NoKeyringError("S3CR3T-canary"),
        "waiting": lambda: threading.Event().wait(30) or "",
    }
    with ring_of(entries) as made:
        yield made


@pytest.mark.row("F80")
def test_a_keyring_entry_is_used(kind, edge, ring):
    """What works."""
    assert edge.get(kind, "keyring:good/me").state is State.SUCCEEDED


@pytest.mark.row("F80")
@pytest.mark.parametrize("service", ["locked", "broken", "no service", "missing", "empty", "waiting"])
def test_a_keyring_that_gives_nothing_names_another_way(kind, edge, ring, monkeypatch, service):
    """Locked, broken, without the entry, without an answer: env: and file: work without one."""
    monkeypatch.setattr("bulkstatus._references._KEYRING_TIMEOUT", 0.3 if service == "waiting" else 60.0)
    with pytest.raises(AuthError, match="env: and file:") as caught:
        edge.get(kind, f"keyring:{service}/me")
    assert "edge.token" in str(caught.value)
    assert "S3CR3T" not in frames(caught.value)
    assert edge.fake.requests == []


@pytest.mark.row("F80")
def test_a_keyring_that_is_not_installed_names_the_extra(kind, edge, monkeypatch):
    """And another way."""
    monkeypatch.setitem(sys.modules, "keyring", None)
    with pytest.raises(AuthError, match=r"bulkstatus\[keyring\].*env: or file:"):
        edge.get(kind, "keyring:svc/me")


@pytest.mark.row("F80")
def test_the_command_line_tells_a_missing_keyring_by_its_code(edge):
    """4, with the alternative."""
    path = edge.write("keyring:svc/me")
    variables = {"PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring"}
    done = command("get", "edge:aa11", "-o", "name", "--config", path, **variables)
    assert (done.code, done.out) == (4, "")
    assert "env: and file:" in done.err
    assert edge.fake.requests == []
