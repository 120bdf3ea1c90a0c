"""Bodies that grow: beyond their limit, without an end, or when they are inflated or decoded."""

import gzip
import json
import tracemalloc
import zlib
from contextlib import ExitStack
from functools import cache, partial
from pathlib import Path

import anyio
import httpx
import msgspec
import pytest

from bulkstatus import ProtocolError, State
from bulkstatus._body import read_body
from bulkstatus.adapter import ListQuery, OperationQuery, Response, decode
from bulkstatus_druid import Druid
from bulkstatus_weavr import Weavr
from support import GOOD_BODY, Plain, ask, raw_server, reply, run_script

MIB = 1024 * 1024
HEAD = b"HTTP/1.1 200 X\r\n"
GZIP = "Content-Encoding: gzip"


def packed_zeros(size: int) -> bytes:
    """So many MiB of zeros as gzip, a thousandth of it. One block over and over, and no trailer: nobody gets that far."""
    packer = zlib.compressobj(9, wbits=-15)
    return _GZIP_HEAD + (packer.compress(bytes(MIB)) + packer.flush(zlib.Z_FULL_FLUSH)) * size


def endless(block: bytes, *headers: str, first: bytes = b""):
    """A step that sends `block` for ever."""
    head = HEAD + "".join(f"{line}\r\n" for line in headers).encode() + b"\r\n"

    def send(connection):
        connection.sendall(head + first)
        while True:
            connection.sendall(block)

    return send


def chunked(data: bytes) -> bytes:
    """One chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def swarm(unit: str) -> bytes:
    """8 MiB of JSON that is an array of `unit` over and over."""
    count = 8 * MIB // (len(unit) + 1) - 2
    return f"[{','.join([unit] * count)}]".encode()


_BLANKS = b" " * 65536
_GZIP_HEAD = gzip.compress(b"")[:10]
_EMPTY_BLOCK = b"\x00\x00\x00\xff\xff"  # of deflate, stored: inflates to nothing


@cache
def growing():
    """What is sent, and what comes of it: made once, and only where it is wanted."""
    zeros = packed_zeros(1024)
    packed_blanks = gzip.compress(b" " * (8 * MIB + 1))
    return {
        # B66: too much, or too many
        reply(b" " * (8 * MIB + 1)): "response_too_large",
        endless(_BLANKS, f"Content-Length: {1024 * MIB}"): "response_too_large",
        reply(swarm("{}")): "response_too_large",
        reply(swarm("[[],[]]")): "response_too_large",
        reply(swarm('{"a":{"b":[1]}}')): "response_too_large",
        # B67: a gigabyte in a megabyte, and again as a kilobyte in it
        reply(zeros, 200, GZIP): "response_too_large",
        reply(packed_blanks, 200, GZIP): "response_too_large",
        reply(gzip.compress(zeros), 200, f"{GZIP}, gzip"): "encoding",
        reply(gzip.compress(zeros), 200, GZIP, GZIP): "encoding",
        # B68: no end, chunks without an end, and gzip without an end that inflates to nothing
        endless(_BLANKS): "response_too_large",
        endless(chunked(_BLANKS), "Transfer-Encoding: chunked"): "response_too_large",
        endless(_EMPTY_BLOCK * 10_000, GZIP, first=_GZIP_HEAD): "response_too_large",
    }


# How much more memory a piece of work took at its worst, in MiB. The kernel keeps the most that a process ever had, and
# forgets it when told to; what `resource` tells begins with that of pytest, which started the process.
_GROWTH = """
    from contextlib import contextmanager
    from pathlib import Path

    def most():
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))

    @contextmanager
    def growth():
        Path("/proc/self/clear_refs").write_text("5")
        before = most()
        yield
        print((most() - before) // 1024)
"""
LINUX = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux tells it")


_CHILD = """
    import sys
    import msgspec
    from bulkstatus import BulkStatusError
    from bulkstatus.adapter import Call, decode
    from support import Plain, ask

    class Listing(Plain, frozen=True, kw_only=True):
        def status(self, id):
            call = super().status(id)
            return Call(call.request, lambda response: decode(response, msgspec.json.decode) and call.read(response))

    kind, good, *urls = sys.argv[1:]
    ask(kind, Listing(base_url=good))  # what a client costs by itself
    for url in urls:
        with growth():
            try:
                ask(kind, Listing(base_url=url))
                print("answered")
            except BulkStatusError as error:
                print(error.reason)
"""


@LINUX
@pytest.mark.row("B66", "B67", "B68")
@pytest.mark.unrecorded
def test_bodies_that_grow_are_given_up_within_bounded_memory(kind, transport):
    """An error after one request each, in a process that meanwhile never had 32 MiB more than before it."""
    steps = growing()
    with ExitStack() as stack:
        servers = [stack.enter_context(raw_server(step)) for step in steps]
        good = stack.enter_context(raw_server(reply()))
        done = run_script(_GROWTH + _CHILD, kind, good.url, *(server.url for server in servers))
    assert done.returncode == 0, done.stderr
    said, grown = done.stdout.split()[::2], done.stdout.split()[1::2]
    assert said == list(steps.values())
    assert [server.connections for server in servers] == [1] * len(servers)
    assert max(map(int, grown)) <= 32


BROKEN = {
    "cut": gzip.compress(GOOD_BODY)[:-6],
    "cut before anything came of it": _GZIP_HEAD,
    "a cut trailer": gzip.compress(GOOD_BODY)[:-1],
    "more behind it": gzip.compress(GOOD_BODY) + b"more",
    "a second member": gzip.compress(GOOD_BODY) + gzip.compress(b""),
    "nonsense": b"\x1f\x8bnonsense",
    "not gzip": GOOD_BODY,
    "a wrong checksum": gzip.compress(GOOD_BODY)[:-8] + bytes(4) + gzip.compress(GOOD_BODY)[-4:],
}


@pytest.mark.row("B67")
@pytest.mark.parametrize("case", BROKEN)
@pytest.mark.parametrize("sent", ["at once", "byte by byte"])
def test_compression_that_does_not_come_out_even_is_no_answer(case, sent, kind, transport, quick):
    """Whole JSON in it or not: asked for once more, and given up."""
    body = BROKEN[case]
    step = reply(body, 200, GZIP)
    if sent == "byte by byte":
        parts = b"".join(chunked(bytes([byte])) for byte in body) + chunked(b"")
        step = HEAD + f"{GZIP}\r\nTransfer-Encoding: chunked\r\n\r\n".encode() + parts
    with raw_server(step) as server, pytest.raises(ProtocolError) as caught:
        ask(kind, Plain(base_url=server.url))
    assert (caught.value.reason, server.connections) == ("encoding", 2)


@pytest.mark.row("B67")
@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, br", "gzip;q=1", "x-unknown", "identity, gzip"])
def test_an_encoding_that_was_not_asked_for_is_refused_at_once(encoding, kind, transport):
    """It is not guessed at."""
    step = reply(gzip.compress(GOOD_BODY), 200, f"Content-Encoding: {encoding}")
    with raw_server(step) as server, pytest.raises(ProtocolError, match="encoding") as caught:
        ask(kind, Plain(base_url=server.url))
    assert (caught.value.reason, server.connections) == ("encoding", 1)


@pytest.mark.row("B67")
@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", gzip.compress(GOOD_BODY)),
        ("GZIP", gzip.compress(GOOD_BODY)),
        ("deflate", zlib.compress(GOOD_BODY)),
        ("identity", GOOD_BODY),
        ("gzip", gzip.compress(GOOD_BODY, compresslevel=0)),
    ],
    ids=["gzip", "capitals", "deflate", "identity", "gzip that grew"],
)
def test_one_encoding_is_undone(encoding, body, kind, transport):
    """The one that was asked for, its sibling, and none."""
    with raw_server(reply(body, 200, f"Content-Encoding: {encoding}")) as server:
        assert ask(kind, Plain(base_url=server.url))[0].state is State.RUNNING


@pytest.mark.row("B66")
@pytest.mark.parametrize("size", [1000, 1001])
@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_the_limit_of_a_body_is_exact(size, pack, kind, transport):
    """Exactly the limit is read, a byte more is not; what counts is what it inflates to."""
    body = pack(GOOD_BODY + b" " * (size - len(GOOD_BODY)))
    headers = [GZIP] if pack is gzip.compress else []
    with raw_server(reply(body, 200, *headers)) as server:
        adapter = Plain(base_url=server.url, body_limit=1000)
        if size > 1000:
            with pytest.raises(ProtocolError, match="larger than 1,000 bytes"):
                ask(kind, adapter)
        else:
            assert ask(kind, adapter)[0].id == "a1"


def around():
    """What is sent without an end, though the body is small: headers, trailers, and what stands beside chunk sizes."""
    line = b"X: " + b"a" * 1000 + b"\r\n"
    chunks = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
    return [
        partial(_send_for_ever, first, block)
        for first, block in (
            (HEAD, line),
            (chunks + chunked(GOOD_BODY) + b"0\r\n", line),
            (chunks, b"1;" + b"a" * 1000 + b"\r\n \r\n"),
        )
    ]


def _send_for_ever(first, block, connection):
    connection.sendall(first)
    while True:
        connection.sendall(block)


_IN_A_SHORT_TIME = """
    import sys
    from bulkstatus import BulkStatusError, Policy
    from support import Plain, ask

    kind, good, *urls = sys.argv[1:]
    ask(kind, Plain(base_url=good))  # what a client costs by itself
    for url in urls:
        with growth():
            try:
                ask(kind, Plain(base_url=url), policy=Policy(request_timeout=2, attempts=1))
                print("answered")
            except BulkStatusError as error:
                print(error.reason)
"""


@LINUX
@pytest.mark.row("B68")
@pytest.mark.unrecorded
def test_what_is_around_a_body_ends_too(kind, transport):
    """By its size or by the time for a request, in a process that meanwhile never had 32 MiB more than before it."""
    with ExitStack() as stack:
        servers = [stack.enter_context(raw_server(step)) for step in around()]
        good = stack.enter_context(raw_server(reply()))
        done = run_script(_GROWTH + _IN_A_SHORT_TIME, kind, good.url, *(server.url for server in servers))
    assert done.returncode == 0, done.stderr
    said, grown = done.stdout.split()[::2], done.stdout.split()[1::2]
    assert len(said) == 3
    assert set(said) <= {"framing", "timeout", "response_too_large"}
    assert max(map(int, grown)) <= 32


# --- values ---

_ID = "7be1c3f09a5d4e21b6c8d7f00a94e152"
_ADAPTERS = f"""
    import sys
    from bulkstatus.adapter import ListQuery, OperationQuery, Response
    from bulkstatus_cloudflare import Cloudflare
    from bulkstatus_druid import Druid
    from bulkstatus_weavr import Weavr

    weavr = Weavr(base_url="https://weavr.test", api_key="k" * 8, auth_token="t" * 8)
    druid = Druid(api_base_url="https://druid.test", client_id="i" * 8, client_secret="s" * 8)
    edge = Cloudflare(account_id="a" * 32, token="t" * 8)
    CALLS = {{
        "weavr operations": weavr.operations("b1", OperationQuery()),
        "weavr list": weavr.listing(ListQuery())[0],
        "weavr bulk": weavr.status("b1"),
        "druid list": druid.listing(ListQuery())[0],
        "druid results": druid.operations("b1", OperationQuery()),
        "cloudflare": edge.status("{_ID}"),
    }}
"""
_SWARMS = """
    import msgspec
    from bulkstatus import BulkStatusError

    CASES = [
        ("weavr operations", '{"operations":[@]}', "{}"),
        ("weavr operations", '{"operations":[@]}', '{"operationId":#}'),
        ("weavr operations", '{"operations":[@]}', '{"sequence":"#"}'),
        ("weavr list", '{"bulkProcesses":[@]}', '{"bulkId":#}'),
        ("weavr list", '{"bulkProcesses":[@]}', '{"mode":[]}'),
        ("weavr bulk", '{"bulkId":"b1","operationStatusCounts":[@]}', '{"status":"a#"}'),
        ("druid list", '{"content":[@]}', '{"bulkId":"a#"}'),
        ("druid list", '{"content":[@]}', '{"bulkId":"a#","status":[]}'),
        ("druid results", '{"content":[@]}', "1"),
        ("druid results", '{"content":[@]}', '{"a#":[]}'),
        ("cloudflare", '{"errors":[@]}', '{"a#":{}}'),
    ]
    for name, around, unit in CASES:
        call = CALLS[name]
        limit = call.request.value_limit
        for most_values in (limit - 10, 2 * limit):
            count = most_values // (1 + sum(map(unit.count, ",[{")))
            rows = ",".join(unit.replace("#", str(number)) for number in range(count))
            response = Response.now(body=around.replace("@", rows))
            response = msgspec.structs.replace(response, value_limit=limit)
            del rows
            with growth():
                try:
                    call.read(response)
                    print("read")
                except BulkStatusError as error:
                    print(error.reason)
"""


@LINUX
@pytest.mark.row("B66")
@pytest.mark.unrecorded
def test_as_many_values_as_an_answer_may_hold_take_bounded_memory():
    """For each adapter the dearest that its limit lets through, and twice as many, which are refused."""
    done = run_script(_GROWTH + _ADAPTERS + _SWARMS)
    assert done.returncode == 0, done.stderr
    said, grown = done.stdout.split()[::2], done.stdout.split()[1::2]
    assert said[1::2] == ["response_too_large"] * 11
    assert "response_too_large" not in said[::2]
    assert max(map(int, grown)) <= 32


_WEAVR = Weavr(base_url="https://weavr.test", api_key="k" * 8, auth_token="t" * 8)
_TEXT = json.dumps({"items": [[n, {"n": n}] for n in range(500)]})
FULL = {
    "weavr list": (
        _WEAVR.listing(ListQuery())[0],
        {
            "bulkProcesses": [
                {
                    "bulkId": str(n),
                    "status": "RUNNING",
                    "submittedItemsCount": 10_000,
                    "executionStart": 1767225600000,
                    "executionFinish": 1767225600000,
                    "operation": "createUser",
                    "mode": "SEQUENTIAL",
                    "operationStatusCounts": [{"status": f"S{k}", "count": k} for k in range(8)],
                }
                for n in range(100)
            ],
            "count": 100,
            "responseCount": 100,
        },
    ),
    "weavr operations": (
        _WEAVR.operations("b1", OperationQuery()),
        {
            "operations": [
                {
                    "operationId": str(n),
                    "sequence": n,
                    "method": "POST",
                    "path": "/users",
                    "status": "COMPLETED",
                    "requestPayload": _TEXT,
                    "responsePayload": _TEXT,
                }
                for n in range(100)
            ],
            "count": 100,
            "responseCount": 100,
        },
    ),
    "druid list": (
        Druid(api_base_url="https://druid.test", client_id="i" * 8, client_secret="s" * 8).listing(
            ListQuery()
        )[0],
        {
            "content": [
                {
                    "bulkId": f"b{n}",
                    "status": "completed",
                    "createdOn": "1767225600000",
                    "updatedOn": "1767225600000",
                }
                for n in range(2_000)
            ]
        },
    ),
}


@pytest.mark.row("B66")
@pytest.mark.parametrize("case", FULL)
def test_a_full_page_has_a_fifth_of_the_values_it_may_have_at_most(case):
    """Whatever stands in its texts, such as the 3,000 values of a payload that is JSON written into a string."""
    call, page = FULL[case]
    response = msgspec.structs.replace(
        Response.now(body=json.dumps(page)), value_limit=call.request.value_limit // 5
    )
    (rows,) = (value for value in page.values() if isinstance(value, list))
    assert len(call.read(response).items) == len(rows)


@pytest.mark.row("B66")
@pytest.mark.parametrize("text", ["[,{" * 100, '",' * 100, "\\" * 65_535 + '",[', "\\" * 65_537 + '"[['])
def test_what_stands_in_texts_is_no_value(text):
    """Quotation marks, escapes and brackets in them, at the edges of what is looked at in one go as well."""
    decoder = msgspec.json.Decoder()
    value = ["x", text, {"y": [text]}, "z" * 131_070, text]
    body = json.dumps(value).encode()
    exact = msgspec.structs.replace(Response.now(body=body), value_limit=7)
    assert decode(exact, decoder.decode) == value
    with pytest.raises(ProtocolError, match="more than 6 values") as caught:
        decode(msgspec.structs.replace(exact, value_limit=6), decoder.decode)
    assert (caught.value.reason, caught.value.retryable) == ("response_too_large", False)


class Crumbs(httpx.AsyncByteStream):
    """Half a mebibyte in chunks of two bytes, as a server may cut it."""

    async def __aiter__(self):
        for _ in range(MIB // 4):
            yield b"  "


def test_a_body_in_crumbs_takes_no_more_memory_than_one_in_whole_pieces():
    """Sixty bytes are kept for none of the chunks."""
    reply = httpx.Response(200, stream=Crumbs())
    tracemalloc.start()
    body = anyio.run(read_body, reply, "", 8 * MIB)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(body) == MIB // 2
    assert peak < 3 * MIB
