"""Bodies that are not the JSON they should be, on a real socket, for every adapter."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from answers import DONE, LISTING, REFS, RUNNING, adapters, command, config, providers, record, using
from bulkstatus import State
from bulkstatus.adapter import Call, ListQuery, OperationQuery, Response
from bulkstatus.errors import BulkStatusError, ProtocolError
from support import run_script

row = pytest.mark.row


def nested(depth):
    """A value of so many levels."""
    return b"[" * depth + b"]" * depth


# Each makes the body that a provider sends in the place of its record.
NO_ANSWER = {
    "lists that never close": ("B48", lambda _: b"[" * 1_100),
    "objects that never close": ("B49", lambda _: b'{"a":' * 100_000),
    "depth 65 where nobody reads": ("B50", lambda name: record(name, b'"ignored":' + nested(65))),
    "nothing": ("B51", lambda _: b""),
    "blanks": ("B52", lambda _: b" \r\n\t "),
    "a text that does not end": ("B53", lambda name: record(name)[: record(name).index(b'"', 12) - 1]),
    "more behind the end": ("B54", lambda name: record(name) + b" x"),
    "a byte order mark": ("B55", lambda name: b"\xef\xbb\xbf" + record(name)),
    "UTF-16": ("B56", lambda name: record(name).decode().encode("utf-16")),
    "a byte that is no text, in a value": ("B57", lambda name: record(name, word=b'"run\xffning"')),
    "a raw escape, in a value": ("B58", lambda name: record(name, word=b'"\x1b[31mrunning"')),
    "null": ("B61", lambda _: b"null"),
    "a list": ("B62", lambda _: b"[]"),
    "a text": ("B63", lambda _: b'"str"'),
    "NaN": ("B77", lambda name: record(name, b'"count":NaN')),
    "Infinity": ("B77", lambda name: record(name, b'"count":Infinity')),
    "a surrogate with nothing after it": ("B78", lambda name: record(name, word=b'"\\ud800"')),
    "half a pair of surrogates": ("B79", lambda name: record(name, word=b'"\\udc00x"')),
}
CASES = [pytest.param(name, marks=row(number)) for name, (number, _) in NO_ANSWER.items()]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.unrecorded
def test_what_is_no_answer_tells_no_state(case, kind, transport, quick):
    """Each provider is asked once more, and then it could not be understood: a bulk, a list, what is in a bulk."""
    _, body = NO_ANSWER[case]

    def ask(call):
        for name, ref in REFS.items():
            with pytest.raises(ProtocolError, match="not understood") as caught:
                call("get", ref)
            assert (caught.value.reason, caught.value.source) == ("bad_payload", name)
        report = call("list")
        assert {failure.source: failure.reason for failure in report.failures} == dict.fromkeys(
            LISTING, "bad_payload"
        )
        assert report.statuses == ()
        for name in LISTING:
            with pytest.raises(ProtocolError, match="not understood"):
                call("operations", REFS[name])

    with providers(lambda name, _: body(name)) as world:
        using(kind, world.adapters, ask)
    assert {name: len(world.fake.asked(name)) for name in REFS} == {
        "weavr": 6,
        "cloudflare": 2,
        "druid": 6,
        "plain": 2,
    }


@row("B48", "B49", "B50")
@pytest.mark.parametrize("name", REFS)
@pytest.mark.parametrize("depth", [65, 66, 1_000, 100_000])
def test_the_bound_is_of_the_whole_body(name, depth):
    """A level too many is one wherever it stands: in a member that is read, in one that is not, in none at all."""
    call = adapters("http://127.0.0.1:1")[name].status(REFS[name].partition(":")[2])
    for body in (
        nested(depth),
        b'{"a":' * depth,
        record(name, b'"ignored":' + nested(depth)),
        record(name, word=nested(depth)),
        record(name, b'"ignored":["]","\\"]",{"[":' + nested(depth) + b"}]"),
    ):
        with pytest.raises(ProtocolError, match="64 levels"):
            call.read(Response.now(200, body))


SMALL_STACK = """
import sys, threading
from answers import REFS, providers, record, using
from bulkstatus import Policy
from bulkstatus.errors import ProtocolError

threading.stack_size(int(sys.argv[1]))
deep = lambda depth: b'{"a":' * depth + b"1" + b"}" * depth
pad = b'"pad":"' + b"y" * int(sys.argv[2]) + b'"'
bodies = []
for depth in (1, 60, 65, 1_000, 50_000):
    bodies.append((depth, lambda name, depth=depth: record(name, pad + b',"more":' + deep(depth))))
    bodies.append((depth, lambda name, depth=depth: record(name, pad, word=deep(depth))))

def ask(call):
    for depth, body in bodies:
        world.fake._answer_to = lambda name, _: body(name)
        for name, ref in REFS.items():
            try:
                said = call("get", ref).state
            except ProtocolError as error:
                said = error.reason
            print(depth, said)

with providers(None) as world:
    using("blocking", world.adapters, ask, policy=Policy(attempts=1))
"""


@row("B48", "B49", "B50")
@pytest.mark.parametrize("pad", [0, 600_000], ids=["small", "large"])
@pytest.mark.unrecorded
def test_no_depth_overflows_a_small_stack(pad):
    """Threads with 128 KiB, musl's default, read all that may be read; the rest is refused, and nothing crashes.

    A small body is read where the client runs, a large one on a thread of its own. 64 levels took less than 48 KiB in
    all (CPython 3.11, msgspec 0.23); the first stack they were too much for had 32.
    """
    done = run_script(SMALL_STACK, str(128 * 1024), str(pad))
    assert done.returncode == 0, done.stderr
    said = [line.split() for line in done.stdout.splitlines()]
    assert len(said) == 5 * 2 * len(REFS)
    passed_over = [line for number, line in enumerate(said) if number % 8 < 4]
    assert {outcome for depth, outcome in passed_over if int(depth) < 64} == {"running"}
    assert {outcome for depth, outcome in said if int(depth) < 64} == {"running", "unknown", "bad_payload"}
    assert {outcome for depth, outcome in said if int(depth) > 64} == {"bad_payload"}


@row("B59")
def test_a_key_that_is_no_text_is_passed_over(kind, transport, quick):
    """Nobody reads it, so what is required decides: the bulk runs, or nothing is known."""

    def ask(call):
        for ref in REFS.values():
            assert call("get", ref).state is State.RUNNING
        broken.append(True)
        for ref in REFS.values():
            with pytest.raises(ProtocolError, match="not understood"):
                call("get", ref)

    broken = []
    with providers(lambda name, _: b'{"\xff":1}' if broken else record(name, b'"\xff":1')) as world:
        using(kind, world.adapters, ask)


@row("B60")
def test_a_word_with_an_escape_is_unknown(kind, transport):
    """The word is kept as it came, and no sentence about it holds the escape."""

    def ask(call):
        for ref in REFS.values():
            status = call("get", ref)
            assert (status.state, status.native_state) == (State.UNKNOWN, "\x1b[31msecret")
            assert all(line.isprintable() for line in status.evidence)

    with providers(lambda name, _: record(name, word=b'"\\u001b[31msecret"')) as world:
        using(kind, world.adapters, ask)


@row("B80")
def test_an_escaped_nul_is_text(kind, transport):
    """It is data like any other: no known word, and no end."""

    def ask(call):
        for ref in REFS.values():
            status = call("get", ref)
            assert (status.state, status.native_state) == (State.UNKNOWN, "do\x00ne")
            assert all(line.isprintable() for line in status.evidence)

    with providers(lambda name, _: record(name, word=b'"do\\u0000ne"')) as world:
        using(kind, world.adapters, ask)


@row("B60", "B80")
@pytest.mark.parametrize("form", ["table", "json"])
def test_the_command_line_shows_such_a_word_escaped(form, tmp_path):
    """No control character reaches the terminal, and no state is made of it."""
    word = b'"\\u001b[31msecret\\u0000"'
    with providers(lambda name, _: record(name, word=word)) as world:
        shown = command(config(world.url, tmp_path), "get", "weavr:7", "druid:d7", "-o", form)
    assert shown.code == 0
    assert "\x1b" not in shown.out + shown.err
    assert "\x00" not in shown.out + shown.err
    assert "unknown" in shown.out
    assert "secret" in shown.out


@row("B48", "B51", "B58", "B61", "B65")
def test_the_command_line_could_not_look(tmp_path):
    """Exit code 7, a line for each bulk that says what came, nothing on stdout."""
    bodies = {"weavr": b"[" * 1_100, "cloudflare": b"", "druid": b"null"}
    with providers(lambda name, _: bodies[name]) as world:
        shown = command(
            config(world.url, tmp_path), "get", "weavr:7", "cloudflare:c7", "druid:d7", "-o", "name"
        )
    assert (shown.code, shown.out) == (7, "")
    assert shown.err.count("not understood") == 3
    assert "nested deeper than 64 levels" in shown.err


@row("B64")
def test_of_two_equal_members_the_last_counts(kind, transport):
    """JSON leaves it open; for every provider it is settled alike."""
    last_ends = []

    def answer(name, request):
        if request.path.endswith("/results"):
            return b'{"result":{"status":200},"content":[]}'
        first, last = (RUNNING, DONE) if last_ends else (DONE, RUNNING)
        return record(name, b'"status":' + last[name], word=first[name])

    def ask(call):
        for ref in REFS.values():
            assert call("get", ref).state is State.RUNNING
        last_ends.append(True)
        for ref in REFS.values():
            assert call("get", ref).state is State.SUCCEEDED

    with providers(answer) as world:
        using(kind, world.adapters, ask)


WITHOUT_ID = {
    "weavr": b'{"status":"COMPLETED"}',
    "druid": b'{"content":{"status":"completed"}}',
    "plain": b'{"status":"done"}',
}
ODD_ID = {
    "weavr": b'{"bulkId":%s,"status":"COMPLETED"}',
    "cloudflare": b'{"success":true,"result":{"id":%s,"status":"completed"}}',
    "druid": b'{"content":{"bulkId":%s,"status":"completed"}}',
    "plain": b'{"id":%s,"status":"done"}',
}
PLACES = {
    "weavr": "`$.bulkId`",
    "cloudflare": "`$.result.id`",
    "druid": "`$.content.bulkId`",
    "plain": "`$.id`",
}


@row("B65")
def test_an_answer_that_names_no_bulk_is_about_none(kind, transport, quick):
    """The id is missing, null, or of another type: no state, and the place is named. Cloudflare may leave it out."""
    body = {}

    def ask(call):
        for odd in (None, b"null", b"[]", b"{}", b"true", b"1.5"):
            for name, ref in REFS.items():
                if name == "cloudflare" and odd in (None, b"null"):
                    continue
                body[name] = WITHOUT_ID[name] if odd is None else ODD_ID[name] % odd
                with pytest.raises(ProtocolError, match="not understood") as caught:
                    call("get", ref)
                assert PLACES[name] in str(caught.value)
                assert caught.value.reason == "bad_payload"

    with providers(lambda name, _: body[name]) as world:
        using(kind, world.adapters, ask)


@row("B65")
def test_an_answer_of_cloudflare_without_an_id_says_so():
    """It is taken for the bulk asked about, as its users report such answers, and the evidence says so."""
    call = adapters("http://127.0.0.1:1")["cloudflare"].status("c7")
    for body in (b'{"success":true,"result":{"status":"running"}}', ODD_ID["cloudflare"] % b"null"):
        status = call.read(Response.now(200, body))
        assert "The answer did not repeat the id." in status.evidence


@row("B65")
def test_a_number_is_no_id_but_for_weavr(kind, transport, quick):
    """Weavr's ids are digits, and were seen both ways; anybody else's is text."""

    def ask(call):
        assert call("get", "weavr:7").state is State.RUNNING
        for name in ("cloudflare", "druid", "plain"):
            with pytest.raises(ProtocolError) as caught:
                call("get", REFS[name])
            assert PLACES[name] in str(caught.value)

    bodies = {**ODD_ID, "weavr": b'{"bulkId":%s,"status":"RUNNING"}'}
    with providers(lambda name, _: bodies[name] % b"7") as world:
        using(kind, world.adapters, ask)


scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from(["COMPLETED", "completed", "FAILED", "7", "c7", "d7", "2026-01-01T00:00:00Z", "\ud800"])
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
)
MEMBERS = {
    "weavr": [
        "bulkId",
        "status",
        "submittedItemsCount",
        "executionStart",
        "executionFinish",
        "operation",
        "mode",
        "operationStatusCounts",
        "operationId",
        "sequence",
        "method",
        "path",
        "requestPayload",
        "responsePayload",
        "count",
        "responseCount",
        "bulkProcesses",
        "bulk_processes",
        "operations",
        "errorCode",
        "code",
        "message",
        "syntaxErrors",
    ],
    "cloudflare": [
        "success",
        "errors",
        "result",
        "id",
        "operation_id",
        "status",
        "completed",
        "error",
        "code",
        "message",
        "error_chain",
    ],
    "druid": [
        "result",
        "content",
        "bulkId",
        "status",
        "createdOn",
        "updatedOn",
        "lastId",
        "results",
        "errors",
        "message",
        "details",
    ],
}


def shapes(name):
    """Bodies in which the documented members hold anything, also one inside another."""
    members = st.sampled_from(MEMBERS[name])
    inner = st.dictionaries(members, values, max_size=5)
    return st.dictionaries(members, values | inner | st.lists(inner, max_size=3), max_size=6)


def calls_of(name):
    """All that can be asked."""
    adapter = adapters("http://127.0.0.1:1")[name]
    id = REFS[name].partition(":")[2]
    calls = [adapter.status(id), adapter.probe()]
    if name in LISTING:
        calls += adapter.listing(ListQuery())
        calls += [
            adapter.operations(id, OperationQuery(states=states)) for states in (None, frozenset(["failed"]))
        ]
    return calls


@row("B51", "B57", "B65", "B69", "B77", "B82")
@pytest.mark.parametrize("name", MEMBERS)
@settings(max_examples=60)
@given(data=st.data())
@pytest.mark.unrecorded
def test_any_value_in_any_member_is_read_or_refused(name, data):
    """Whatever stands where, and under whatever status: an answer, or an error of ours, and never another one."""
    body = json.dumps(data.draw(shapes(name))).encode()
    status = data.draw(st.sampled_from([200, 200, 200, 201, 400, 401, 404, 409, 429, 500]))
    for call in calls_of(name):
        for _ in range(3):
            try:
                call = call.read(Response.now(status, body))  # noqa: PLW2901 - what follows is asked too
            except BulkStatusError as error:
                assert str(error).isprintable()  # noqa: PT017 - an answer is as right
                break
            if not isinstance(call, Call):
                break
