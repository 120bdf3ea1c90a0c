"""Counts that are none, and listings with a million rows."""

import json

import msgspec
import pytest

from answers import REFS, adapters, command, config, providers, record, using
from bulkstatus import Counts, Policy, State
from bulkstatus.adapter import (
    BulkOperation,
    BulkStatus,
    Call,
    ListQuery,
    OperationQuery,
    Page,
    Request,
    Response,
    Vocabulary,
    clean_counts,
    decode,
)
from bulkstatus.errors import ProtocolError
from support import Plain, run_script

row = pytest.mark.row

# As they stand in the JSON; each of them a way in which a count is not one.
ODD = {
    "an exponent": ("B69", b"1e2"),
    "a fraction": ("B70", b"1.0"),
    "a text": ("B71", b'"1"'),
    "a truth value": ("B72", b"true"),
    "negative": ("B73", b"-1"),
    "2**63": ("B74", b"9223372036854775808"),
    "5,000 digits": ("B75", b"9" * 5_000),
    "4,000 digits": ("B75", b"9" * 4_000),
    "beyond a float": ("B77", b"1e999"),
}
CASES = [pytest.param(value, id=name, marks=row(number)) for name, (number, value) in ODD.items()]


def counted(*pairs):
    """The member of Weavr's answers that counts operations by their words."""
    entries = b",".join(b'{"status":"%s","count":%s}' % pair for pair in pairs)
    return b'"submittedItemsCount":250,"operationStatusCounts":[%s]' % entries


@pytest.mark.parametrize("value", CASES)
def test_a_count_that_is_none_proves_nothing(value, kind, transport):
    """An end beside it is not proven, in either direction; all else is read, and the evidence says so."""
    word = []
    # What JSON's own reader cannot hold costs all entries, not this one alone.
    one_is_left = value not in (b"9" * 5_000, b"1e999")

    def answer(_name, _request):
        return record("weavr", counted((b"COMPLETED", b"250"), (b"FAILED", value)), word=word[-1])

    def ask(call):
        for said, state in (
            (b'"COMPLETED"', State.UNKNOWN),
            (b'"FAILED"', State.PARTIAL if one_is_left else State.UNKNOWN),
            (b'"PARTIALLY_COMPLETED"', State.PARTIAL),
            (b'"CANCELLED"', State.CANCELLED),
            (b'"RUNNING"', State.RUNNING),
        ):
            word.append(said)
            status = call("get", "weavr:7")
            assert status.state is state
            assert status.counts == Counts(total=250, succeeded=250 if one_is_left else None)
            assert any("operationStatusCounts" in line for line in status.evidence)
            assert all(len(line) < 300 for line in status.evidence)

    with providers(answer) as world:
        using(kind, world.adapters, ask)


@pytest.mark.parametrize("value", CASES)
def test_a_total_that_is_none_is_not_said(value, kind, transport):
    """In a record and in a row of a list; the word stands, as it does without a total."""
    rows = b'{"bulkProcesses":[%s],"count":1}'

    def answer(name, request):
        one = record("weavr", b'"submittedItemsCount":' + value)
        if request.path.endswith("/bulks"):
            return rows % one
        return one if name == "weavr" else b"{}"

    def ask(call):
        for status in (call("get", "weavr:7"), *call("list", sources=["weavr"])):
            assert (status.state, status.counts) == (State.RUNNING, None)
            assert any("submittedItemsCount" in line or "total" in line for line in status.evidence)

    with providers(answer) as world:
        using(kind, world.adapters, ask)


@pytest.mark.parametrize("value", CASES)
@pytest.mark.parametrize("member", [b"count", b"responseCount"])
def test_a_length_of_a_list_that_is_none_is_not_believed(value, member):
    """The rows that came are what there is to go by."""
    (listing,) = adapters("http://127.0.0.1:1")["weavr"].listing(ListQuery())
    body = b'{"bulkProcesses":[%s],"%s":%s}' % (record("weavr"), member, value)
    if member == b"responseCount" and value in (b"9223372036854775808", b"9" * 4_000):
        with pytest.raises(ProtocolError, match="responseCount is larger"):
            listing.read(Response.now(200, body))
        return
    page = listing.read(Response.now(200, body))
    assert (len(page.items), page.received, page.total) == (1, 1, None)


@pytest.mark.parametrize("value", CASES)
def test_a_position_that_is_none_is_not_said(value):
    """The operation is told without one."""
    call = adapters("http://127.0.0.1:1")["weavr"].operations("7", OperationQuery())
    body = b'{"operations":[{"operationId":"1","status":"FAILED","sequence":%s}],"count":1}' % value
    (operation,) = call.read(Response.now(200, body)).items
    assert (operation.id, operation.state, operation.sequence) == ("1", State.FAILED, None)


@row("B74")
def test_counts_that_add_up_to_more_than_can_be_are_not_believed(kind, transport):
    """Each by itself could be; their sum is taken for no count."""
    half = str(2**52).encode()
    member = counted((b"COMPLETED", b"250"), (b"FAILED", half), (b"FAILED", half))

    def ask(call):
        status = call("get", "weavr:7")
        assert (status.state, status.counts) == (State.UNKNOWN, Counts(total=250, succeeded=250))
        assert any("failed operations was beyond 2**53" in line for line in status.evidence)

    with providers(lambda name, _: record(name, member, word=b'"COMPLETED"')) as world:
        using(kind, world.adapters, ask)


@row("B74")
def test_a_count_that_may_be_right_is_kept_and_remarked_on(kind, transport):
    """More than a thousand million operations are told, with a line of evidence."""
    member = counted((b"COMPLETED", b"10000000000"))

    def ask(call):
        status = call("get", "weavr:7")
        assert status.counts == Counts(total=250, succeeded=10**10)
        assert any("implausibly high" in line for line in status.evidence)

    with providers(lambda name, _: record(name, member)) as world:
        using(kind, world.adapters, ask)


@row("B76")
def test_minus_zero_is_zero(kind, transport):
    """None failed, and the end stands."""

    def ask(call):
        status = call("get", "weavr:7")
        assert (status.state, status.counts) == (
            State.SUCCEEDED,
            Counts(total=250, succeeded=250, failed=0),
        )

    member = counted((b"COMPLETED", b"250"), (b"FAILED", b"-0"))
    with providers(lambda name, _: record(name, member, word=b'"COMPLETED"')) as world:
        using(kind, world.adapters, ask)


@row("B73", "B74")
@pytest.mark.parametrize("form", ["json", "csv"])
def test_the_command_line_writes_no_count_that_is_none(form, tmp_path):
    """Neither the number nor a state made of it is on stdout."""
    member = counted((b"COMPLETED", b"250"), (b"FAILED", b"-1"), (b"CANCELLED", b"9223372036854775808"))
    with providers(lambda name, _: record(name, member, word=b'"COMPLETED"')) as world:
        shown = command(config(world.url, tmp_path), "get", "weavr:7", "--exit-status", "-o", form)
    assert shown.code == 7
    assert "unknown" in shown.out
    assert "9223372036854775808" not in shown.out
    if form == "json":
        (status,) = json.loads(shown.out)["statuses"]
        assert (status["counts"]["failed"], status["counts"]["cancelled"]) == (None, None)


WORDS = Vocabulary("counting bulk", {"running": State.RUNNING, "done": State.SUCCEEDED})


class Job(msgspec.Struct):
    """A bulk of the counting provider."""

    id: str
    status: str
    total: int | None = None
    failed: int | None = None


_JOB = msgspec.json.Decoder(Job)


class Counting(Plain, frozen=True, kw_only=True):
    """A stranger's adapter with counts, written as the page on writing one has it."""

    def status(self, id):
        def read(response):
            job = decode(response, _JOB.decode)
            told = Counts(total=job.total, failed=job.failed)
            state, why = WORDS.decide(job.status, told, self.state_map)
            counts, odd = clean_counts(told)
            return BulkStatus(
                source=response.source,
                provider=self.provider,
                id=job.id,
                state=state,
                native_state=job.status,
                counts=counts,
                observed_at=response.received_at,
                evidence=(*why, *odd),
            )

        return Call(Request.to(self.base_url, "bulks", id), read)


@pytest.mark.parametrize("value", CASES)
@pytest.mark.parametrize("member", [b"failed", b"total"])
def test_a_strangers_count_is_none_or_the_answer_is(value, member, kind, transport, quick):
    """What is no whole number fails the answer, its place named; one that cannot be leaves the end open."""
    body = record("plain", b'"%s":%s' % (member, value), word=b'"done"')
    can_be_decoded = value in (b"-1", b"9223372036854775808", b"9" * 4_000)

    def ask(call):
        if can_be_decoded:
            status = call("get", "plain:a1")
            assert status.state is (State.UNKNOWN if member == b"failed" else State.SUCCEEDED)
            assert status.counts == Counts()
            assert any("treated as not said" in line for line in status.evidence)
        else:
            with pytest.raises(ProtocolError) as caught:
                call("get", "plain:a1")
            assert f"`$.{member.decode()}`" in str(caught.value)

    with providers(lambda _name, _: body) as world:
        using(kind, {"plain": Counting(base_url=f"{world.url}/plain")}, ask)


# --- a million rows ---


class Shelf(msgspec.Struct):
    """A page of what is inside a bulk."""

    rows: list[str]
    next: int | None = None


_SHELF = msgspec.json.Decoder(Shelf)


class Shelves(Plain, frozen=True, kw_only=True):
    """A stranger's adapter for a bulk with many operations, page after page by a cursor."""

    body_limit: int = 2 * 1024 * 1024

    def operations(self, id: str, query: OperationQuery):
        """From the first page on."""
        return self._from(id, 0)

    def _from(self, id, cursor):
        def read(response):
            page = decode(response, _SHELF.decode)
            return Page(
                items=tuple(
                    BulkOperation(id=f"{cursor}.{number}", state=State.SUCCEEDED).carrying(response=text)
                    for number, text in enumerate(page.rows)
                ),
                next=None if page.next is None else self._from(id, page.next),
                cursor=None if page.next is None else str(page.next),
            )

        query = {"after": cursor}
        return Call(
            Request.to(self.base_url, "bulks", id, "operations", query=query, body_limit=self.body_limit),
            read,
        )


ROWS_A_PAGE = 1_000
STREAM = """
import json, sys, tracemalloc
sys.path.insert(0, sys.argv[2])
from answers import providers, using
from test_numbers import ROWS_A_PAGE, Shelves
from bulkstatus import AsyncClient, Client
import anyio

PAGES = 60
text = "x" * 250

def answer(name, request):
    page = int(request.query["after"])
    return json.dumps({"rows": [text] * ROWS_A_PAGE, "next": page + 1 if page + 1 < PAGES else None}).encode()

rows = 0

def take(operation):
    global rows
    rows += 1
    if rows == 5 * ROWS_A_PAGE:  # all that is made once has been made
        tracemalloc.start()

with providers(answer) as world:
    world.fake.requests = type("Forgetful", (list,), {"append": lambda *_: None})()
    sources = {"plain": Shelves(base_url=f"{world.url}/plain")}
    if sys.argv[1] == "blocking":
        with Client(sources) as client:
            for operation in client.operations("plain:a1"):
                take(operation)
    else:
        async def main():
            async with AsyncClient(sources) as client:
                async for operation in client.operations("plain:a1"):
                    take(operation)
        anyio.run(main)
print(rows, tracemalloc.get_traced_memory()[1])
"""


@row("B103")
@pytest.mark.unrecorded
def test_rows_without_end_take_no_more_memory_than_a_page(kind, transport):
    """60,000 operations, 18 MB of them, are taken one by one; memory holds a page or two of a third of a megabyte."""
    done = run_script(STREAM, kind, str(__file__).rpartition("/")[0])
    assert done.returncode == 0, done.stderr
    rows, peak = map(int, done.stdout.split())
    assert rows == 60 * ROWS_A_PAGE
    assert peak < 6 * 1024 * 1024


@row("B103")
def test_an_item_of_50_mb_ends_the_listing_behind_those_before_it(kind, transport):
    """What came before is given; then the answer is too large, and is asked for once."""
    huge = b'{"rows":["' + b"x" * 50_000_000 + b'"],"next":null}'

    def answer(_name, request):
        return b'{"rows":["a","b"],"next":1}' if request.query["after"] == "0" else huge

    def ask(call):
        with pytest.raises(ProtocolError, match="larger than 2,097,152 bytes") as caught:
            call("operations", "plain:a1", last=lambda operation: bool(given.append(operation.response)))
        assert caught.value.reason == "response_too_large"

    given = []
    with providers(answer) as world:
        using(kind, {"plain": Shelves(base_url=f"{world.url}/plain")}, ask, policy=Policy(attempts=4))
    assert given == ["a", "b"]
    assert len(world.fake.requests) == 2


@row("B103")
def test_the_command_line_writes_what_came_before_an_item_of_50_mb(tmp_path):
    """Two rows on stdout, the reason on stderr, exit code 7."""
    small = b'{"operations":[{"operationId":"1","status":"COMPLETED"},{"operationId":"2","status":"FAILED"}],"count":3}'
    huge = b'{"operations":[{"responsePayload":"' + b"x" * 50_000_000 + b'"}],"count":3}'
    with providers(lambda _name, request: huge if "offset" in request.query else small) as world:
        shown = command(config(world.url, tmp_path), "operations", REFS["weavr"], "-o", "jsonl")
    assert [json.loads(line)["id"] for line in shown.out.splitlines()] == ["1", "2"]
    assert shown.code == 7
    assert "larger than 8,388,608 bytes" in shown.err
