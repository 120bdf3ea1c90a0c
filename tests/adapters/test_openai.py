"""The OpenAI adapter: bytes in, statuses out."""

import json
from datetime import UTC, datetime

import pytest

from bulkstatus.adapter import Call, Counts, ListQuery, Page, Probe, Response, State
from bulkstatus.errors import (
    AuthError,
    ConfigError,
    NotFound,
    ProtocolError,
    RateLimited,
    RequestRejected,
    Unavailable,
)
from bulkstatus_openai import OpenAI

ID = "batch_67c4cbe3b79881908feda6cb417cea47"
KEY = "S3CR3T-openai-key"
NOW = 1_760_000_000
WINDOW = 86_400
ALL = ListQuery()


def openai(**settings):
    """An adapter with a key."""
    return OpenAI(**{"api_key": KEY, **settings})


def batch(**members):
    """A batch as the documentation shows it; a member of ... is left out."""
    whole = {
        "id": ID,
        "object": "batch",
        "endpoint": "/v1/chat/completions",
        "errors": None,
        "input_file_id": "file-abc123",
        "completion_window": "24h",
        "status": "completed",
        "output_file_id": "file-cvaTdG",
        "error_file_id": None,
        "created_at": NOW - 500,
        "in_progress_at": NOW - 400,
        "expires_at": NOW - 500 + WINDOW,
        "finalizing_at": NOW - 300,
        "completed_at": NOW - 200,
        "failed_at": None,
        "expired_at": None,
        "cancelling_at": None,
        "cancelled_at": None,
        "request_counts": {"total": 100, "completed": 100, "failed": 0},
        "metadata": {"customer_id": "user_123456789"},
    }
    return {name: value for name, value in {**whole, **members}.items() if value is not ...}


def answer(body, status=200, **headers):
    """An answer with a JSON body."""
    text = body if isinstance(body, str | bytes) else json.dumps(body)
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response.now(status, text, {"Content-Type": "application/json", **names}, provider="openai")


def status(*, adapter=None, **members):
    """The status that a batch with these members is read as."""
    return (adapter or openai()).status(ID).read(answer(batch(**members)))


def rows(*batches, **members):
    """A page of the list."""
    found = {"object": "list", "data": list(batches), "has_more": False, **members}
    return {name: value for name, value in found.items() if value is not ...}


def page(body, adapter=None):
    """The first page of the list, read from `body`."""
    [call] = (adapter or openai()).listing(ALL)
    read = call.read(answer(body))
    assert isinstance(read, Page)
    return read


def at(seconds):
    """A moment in UTC."""
    return datetime.fromtimestamp(seconds, UTC)


def why(found):
    """The evidence as one text."""
    return "\n".join(found.evidence)


@pytest.mark.parametrize(
    ("word", "state", "phase"),
    [
        ("validating", State.QUEUED, None),
        ("in_progress", State.RUNNING, None),
        ("finalizing", State.RUNNING, "finalizing"),
        ("cancelling", State.RUNNING, "cancelling"),
        ("completed", State.SUCCEEDED, None),
        ("expired", State.EXPIRED, None),
        ("cancelled", State.CANCELLED, None),
        ("IN_PROGRESS", State.RUNNING, None),
        ("archived", State.UNKNOWN, None),
        ("", State.UNKNOWN, None),
        (None, State.UNKNOWN, None),
        (..., State.UNKNOWN, None),
        (7, State.UNKNOWN, None),
    ],
)
def test_every_word(word, state, phase):
    """Each documented word has its state; any other is unknown, and kept."""
    found = status(status=word)
    assert (found.state, found.phase) == (state, phase)
    assert found.native_state == (word if isinstance(word, str) else None)


def test_a_batch_that_failed_ran_nothing():
    """`failed` is what a refused input file leads to, with zeros for counts and the file's faults."""
    faults = [{"code": "invalid_json_line", "message": "not parseable", "param": None, "line": 3}]
    counts = {"total": 0, "completed": 0, "failed": 0}
    members = {"output_file_id": None, "errors": {"object": "list", "data": faults}}
    found = status(status="failed", request_counts=counts, **members)
    assert (found.state, found.counts) == (State.FAILED, None)
    assert found.error == "line 3: invalid_json_line: not parseable"


@pytest.mark.parametrize(
    ("faults", "text"),
    [
        ([{"message": "why"}], "why"),
        ([{"code": "empty_file", "line": None}], "empty_file"),
        ([{"code": 4, "message": "why", "line": 1}], "line 1: 4: why"),
        ([{"message": word} for word in "abcd"], "a; b; c"),
        ([{"message": "a\x1b[31mb"}], "a\\x1b[31mb"),
        ([], None),
        (None, None),
    ],
)
def test_what_is_wrong_with_the_input_file(faults, text):
    """The first three faults with what they tell, made harmless."""
    assert status(status="failed", errors={"data": faults}).error == text


@pytest.mark.parametrize("errors", ["why", ["why"], {"data": "why"}, {"data": [{"message": 7}]}])
def test_odd_errors_cost_nothing_else(errors):
    """Errors in a form that nobody documents are named, and the batch is read."""
    found = status(status="failed", request_counts=..., output_file_id=None, errors=errors)
    assert (found.state, found.error) == (State.FAILED, None)
    assert "errors is not of the documented type" in why(found)


@pytest.mark.parametrize(
    ("said", "state", "counts"),
    [
        ((100, 100, 0), State.SUCCEEDED, Counts(total=100, succeeded=100, failed=0)),
        ((100, 95, 5), State.PARTIAL, Counts(total=100, succeeded=95, failed=5)),
        ((9, 0, 9), State.FAILED, Counts(total=9, succeeded=0, failed=9)),
        # not accounted for, contradictory, impossible: no clean success
        ((100, 95, 0), State.UNKNOWN, Counts(total=100, succeeded=95, failed=0)),
        ((100, 0, 0), State.UNKNOWN, Counts(total=100, succeeded=0, failed=0)),
        ((10, 12, 0), State.UNKNOWN, Counts(total=10, succeeded=12, failed=0)),
        ((10, 10, -1), State.UNKNOWN, Counts(total=10, succeeded=10)),
        ((10, 2**70, 0), State.UNKNOWN, Counts(total=10, failed=0)),
        ((10, None, None), State.UNKNOWN, Counts(total=10)),
        ((None, 10, None), State.UNKNOWN, Counts(succeeded=10)),
        ((10, 10, None), State.SUCCEEDED, Counts(total=10, succeeded=10)),
        ((None, 10, 0), State.SUCCEEDED, Counts(succeeded=10, failed=0)),
        ((-5, 10, None), State.UNKNOWN, Counts(succeeded=10)),
        ((2**70, 10, 0), State.UNKNOWN, Counts(succeeded=10, failed=0)),
        ((None, None, 2), State.PARTIAL, Counts(failed=2)),
    ],
)
def test_counts_decide_how_a_completed_batch_went(said, state, counts):
    """`completed` is the end; the counts tell how it went, and where they do not fit, nobody knows."""
    found = status(request_counts=dict(zip(("total", "completed", "failed"), said, strict=True)))
    assert (found.state, found.counts) == (state, counts)


@pytest.mark.parametrize(
    "odd", ["100", [100], {"total": "100", "completed": 100, "failed": 0}, {"failed": 0.5}, True]
)
def test_counts_that_cannot_be_read_are_no_success(odd):
    """They were sent and are not known: that leaves open what became of requests."""
    found = status(request_counts=odd)
    assert (found.state, found.counts) == (State.UNKNOWN, None)
    assert "request_counts is not of the documented type" in why(found)


@pytest.mark.parametrize(
    ("word", "state"),
    [("validating", State.QUEUED), ("in_progress", State.RUNNING), ("completed", State.UNKNOWN)],
)
@pytest.mark.parametrize("counts", [{"total": 0, "completed": 0, "failed": 0}, {}, None, ...])
def test_zeros_and_nothing_are_not_said(word, state, counts):
    """Zeros, which stand there before requests are counted, and no counts are not "0 of 0", and show no success.

    LiteLLM calls Vertex AI's JOB_STATE_PARTIALLY_SUCCEEDED `completed`, without counts or error file, with an output file.
    """
    found = status(status=word, request_counts=counts)
    assert (found.state, found.counts) == (state, None)
    assert ("success is not proven" in why(found)) is (word == "completed")


def test_completed_without_counts_can_be_pinned():
    """Who knows that an API says `completed` of nothing but successes says so; an error file still has its say."""
    sure = openai(state_map={"Completed": State.SUCCEEDED})
    assert status(adapter=sure, request_counts=...).state is State.SUCCEEDED
    assert status(adapter=sure, request_counts=..., error_file_id="file-1").state is State.PARTIAL
    other = openai(state_map={"in_progress": State.RUNNING})
    assert status(adapter=other, request_counts=...).state is State.UNKNOWN


@pytest.mark.parametrize("counts", [{"total": 0, "completed": 0, "failed": 0}, {"failed": 3}, None, ...])
def test_a_failed_batch_with_an_output_file_is_partial(counts):
    """The file holds the results of requests that succeeded: who submits all of them again pays for those twice."""
    found = status(status="failed", request_counts=counts)
    assert found.state is State.PARTIAL
    assert "output_file_id shows" in why(found)
    assert status(status="failed", request_counts=counts, output_file_id="").state is State.FAILED


@pytest.mark.parametrize(
    "counts", [{"total": 0, "completed": 0, "failed": 0}, {"total": 10}, {"completed": 7}, ...]
)
def test_an_error_file_without_a_count_of_failures_is_partial(counts):
    """Copies may leave counts out; the file of requests with errors shows that not all went well."""
    found = status(request_counts=counts, error_file_id="file-HOWS94")
    assert found.state is State.PARTIAL
    assert "error_file_id shows" in why(found)
    assert status(request_counts=counts, error_file_id="").state is State.UNKNOWN


@pytest.mark.parametrize("word", ["expired", "cancelled"])
@pytest.mark.parametrize(
    ("member", "told"), [("output_file_id", True), ("error_file_id", True), ("x", False)]
)
def test_partial_output_is_said(word, member, told):
    """A batch that expired or was cancelled keeps the results of the requests that had ended."""
    members = {
        "output_file_id": None,
        member: "file-1",
        "request_counts": {"total": 9, "completed": 4, "failed": 0},
    }
    found = status(status=word, **members)
    assert found.state == word
    assert ("keep their results" in why(found)) is told
    assert "5 of 9 operations are not accounted for" in why(found)


def test_counts_grow_while_it_runs():
    """They tell the progress, and what they do not speak of has not ended."""
    found = status(status="in_progress", request_counts={"total": 100, "completed": 40, "failed": 2})
    assert found.counts == Counts(total=100, succeeded=40, failed=2)
    assert found.counts.progress == 0.42


ENDS = {
    "completed": "completed_at",
    "failed": "failed_at",
    "expired": "expired_at",
    "cancelled": "cancelled_at",
}


@pytest.mark.parametrize("word", ENDS)
def test_each_end_has_a_time(word):
    """The one of its own field, in epoch seconds and UTC; the other times stay what they are."""
    found = status(status=word, request_counts=..., **{"completed_at": None, ENDS[word]: NOW - 100})
    assert found.created_at == at(NOW - 500)
    assert found.started_at == at(NOW - 400)
    assert found.finished_at == found.updated_at == at(NOW - 100)


@pytest.mark.parametrize(
    ("word", "field"),
    [
        ("validating", "created_at"),
        ("in_progress", "in_progress_at"),
        ("finalizing", "finalizing_at"),
        ("cancelling", "cancelling_at"),
    ],
)
def test_each_step_has_a_time(word, field):
    """The last step that was taken is the last change that is known; a batch that goes on has no end."""
    times = dict.fromkeys(("in_progress_at", "finalizing_at", "completed_at"))
    found = status(status=word, **{**times, field: NOW - 50})
    assert (found.updated_at, found.finished_at) == (at(NOW - 50), None)


def test_an_end_beside_a_word_that_goes_on_is_not_used():
    """While the word says that it goes on, a time is no end; one whose success is not proven has ended all the same."""
    assert status(status="in_progress").finished_at is None
    assert status(status="completed", request_counts=7).finished_at == at(NOW - 200)


@pytest.mark.parametrize("odd", ["soon", True, 1.5, [], NOW * 1000, -5, 2**80])
def test_a_time_that_cannot_be_read_costs_only_itself(odd):
    """It is none, with a line of evidence that names it."""
    found = status(completed_at=odd)
    assert (found.state, found.finished_at) == (State.SUCCEEDED, None)
    assert "completed_at" in why(found)


@pytest.mark.parametrize("unset", [None, 0, "", ...])
def test_a_time_that_is_not_set(unset):
    """Null, absent, empty and 0 are the same, and nothing to speak of."""
    found = status(completed_at=unset)
    assert found.finished_at is None
    assert "completed_at" not in why(found)


def test_a_copy_with_the_fewest_members():
    """An id and a word are enough."""
    found = openai().status("b1").read(answer({"id": "b1", "status": "in_progress"}))
    assert (found.state, found.counts, found.created_at, found.action) == (State.RUNNING, None, None, None)
    assert found.evidence == ("openai batch word 'in_progress' means running.",)


def test_what_else_it_says():
    """The source, the endpoint as the action, and the record as it came."""
    body = json.dumps(batch(new={"member": 1}))
    found = openai().status(ID).read(answer(body))
    assert (found.provider, found.id, found.action) == ("openai", ID, "/v1/chat/completions")
    assert found.raw == body.encode()
    assert found.on_failure is None


@pytest.mark.parametrize("id", ["batch_other", ID.upper(), "", None, 7, ...])
def test_an_answer_about_another_batch_is_refused(id):
    """Or about none."""
    with pytest.raises(ProtocolError):
        status(id=id)


@pytest.mark.parametrize("body", ["[]", "null", '"x"', "<html>", "", '{"id":'])
def test_an_answer_that_is_no_batch(body):
    """Nothing is made up."""
    with pytest.raises(ProtocolError):
        openai().status(ID).read(answer(body))


class TestList:
    """Pages by a cursor."""

    def test_the_first_request(self):
        """The most that a page may hold is asked for, and no cursor."""
        [call] = openai().listing(ALL)
        assert (call.request.base_url, call.request.path) == ("https://api.openai.com/v1", "/batches")
        assert dict(call.request.query) == {"limit": "100"}

    def test_the_next_page_follows_the_last_id(self):
        """It is asked for after `last_id`, as long as there is more."""
        found = page(rows(batch(id="b2"), batch(id="b1"), has_more=True, last_id="b1"))
        assert [item.id for item in found.items] == ["b2", "b1"]
        assert isinstance(found.next, Call)
        assert dict(found.next.request.query) == {"limit": "100", "after": "b1"}
        assert found.cursor == "b1"

    def test_the_last_page(self):
        """No more is no next page, whatever `last_id` is."""
        assert page(rows(batch(), last_id=ID)).next is None
        assert page(rows()).items == ()

    def test_without_last_id_the_last_row_is_the_cursor(self):
        """As OpenAI's own client does it."""
        assert page(rows(batch(id="b2"), batch(id="b1"), has_more=True)).cursor == "b1"

    @pytest.mark.parametrize("unsaid", [..., None, "true", 1])
    def test_without_has_more_only_an_empty_page_is_the_end(self, unsaid):
        """A list is never cut short in silence."""
        assert page(rows(batch(id="b1"), has_more=unsaid)).next is not None
        assert page(rows(has_more=unsaid, last_id="b1")).next is None

    @pytest.mark.parametrize("data", [[], [{"status": "completed"}]])
    def test_more_without_a_cursor_is_no_answer(self, data):
        """There is more and nothing says where: an error, not the end."""
        with pytest.raises(ProtocolError, match="nothing says where"):
            page(rows(*data, has_more=True))

    @pytest.mark.parametrize("body", [{}, {"data": None}, {"data": {}}, {"error": {"message": "x"}}, []])
    def test_a_list_without_rows_is_no_list(self, body):
        """An answer without `data` is not an empty list."""
        with pytest.raises(ProtocolError):
            page(body)

    def test_an_odd_row_costs_only_itself(self):
        """The others are read; a row that names no batch is left for the engine to count."""
        found = page(rows(batch(id="b1", request_counts="x"), 7, batch(id="b3", status="expired")))
        assert [(item.id, item.state) for item in found.items] == [
            ("b1", State.UNKNOWN),
            ("", State.UNKNOWN),
            ("b3", State.EXPIRED),
        ]
        assert json.loads(found.items[2].raw)["id"] == "b3"
        assert found.items[1].raw == b"7"

    def test_a_row_says_what_get_says(self):
        """A list holds whole batches, so nothing has to be confirmed."""
        members = batch(request_counts={"total": 9, "completed": 8, "failed": 1})
        [row] = page(rows(members)).items
        alone = openai().status(ID).read(answer(members))
        assert (row.state, row.counts, row.evidence) == (alone.state, alone.counts, alone.evidence)
        assert not row.provisional

    def test_a_cursor_that_is_gone(self):
        """A 404 is about the batch after which the list goes on where it names that one; the engine makes no more of it."""
        found = page(rows(batch(id="b1"), has_more=True))
        body = refusal(message="No batch found with id 'b1'.", param="after")
        with pytest.raises(NotFound):
            found.next.read(answer(body, 404))
        with pytest.raises(Unavailable):
            found.next.read(answer({"message": "no Route matched"}, 404))
        with pytest.raises(Unavailable):  # nothing was asked about b1
            openai().listing(ALL)[0].read(answer(body, 404))

    def test_the_probe_is_the_shortest_list(self):
        """It reads a page and raises what a list raises."""
        adapter = openai()
        assert isinstance(adapter, Probe)
        call = adapter.probe()
        assert dict(call.request.query) == {"limit": "1"}
        call.read(answer(rows(batch(), has_more=True)))
        with pytest.raises(AuthError):
            call.read(answer(refusal(), 401))


def refusal(**members):
    """The body of an error."""
    error = {"message": "why", "type": "invalid_request_error", "param": None, "code": None, **members}
    return {"error": {name: value for name, value in error.items() if value is not ...}}


def refused(body, code, **headers):
    """The error that an answer is read as."""
    with pytest.raises(Exception) as caught:
        openai().status(ID).read(answer(body, code, **headers))
    return caught.value


class TestErrors:
    """Answers that are no 200."""

    @pytest.mark.parametrize(
        ("code", "kind"),
        [
            (400, RequestRejected),
            (401, AuthError),
            (403, AuthError),
            (404, NotFound),
            (409, RequestRejected),
            (429, RateLimited),
            (500, Unavailable),
            (503, Unavailable),
        ],
    )
    def test_by_their_status(self, code, kind):
        """With OpenAI's code, words and request id."""
        body = refusal(code="some_code", message=f"No batch found with id '{ID}'.")
        error = refused(body, code, x_request_id="req_1")
        assert type(error) is kind
        assert (error.status, error.code, error.request_id) == (code, "some_code", "req_1")

    def test_its_words(self):
        """The message is the detail; without a code the type stands for it."""
        error = refused(refusal(), 400)
        assert (error.detail, error.code) == ("why", "invalid_request_error")
        assert refused(refusal(code=4100), 400).code == "4100"

    def test_a_401_does_not_repeat_the_key(self):
        """OpenAI shows the two ends of a wrong key; here nothing of it is shown."""
        error = refused(refusal(message="Incorrect API key: S3CR3T-o****-key", code="invalid_api_key"), 401)
        assert (error.code, error.detail) == ("invalid_api_key", None)

    @pytest.mark.parametrize(
        "members",
        [
            {"message": f"No batch found with id '{ID}'."},
            {"message": f"No such Batch object: {ID}"},
            {"message": "Batch not found", "code": "batch_not_found"},
            {"message": f"{ID} is not there"},
            {"message": f"Batch job {ID}: none"},
            {"message": "none", "code": "batch_not_found"},
        ],
    )
    def test_a_missing_batch(self, members):
        """As OpenAI, and those who copied it, are reported to tell it."""
        assert type(refused(refusal(**members), 404)) is NotFound

    def test_an_id_that_looks_like_an_address(self):
        """The letters of an id say nothing of what a 404 is about."""
        body = refusal(message="No batch found with id 'bGurLs='.")
        with pytest.raises(NotFound):
            openai().status("bGurLs=").read(answer(body, 404))

    def test_a_pause(self):
        """`Retry-After` is heeded."""
        assert refused(refusal(), 429, retry_after="7").retry_after == 7.0

    @pytest.mark.parametrize(
        "body",
        [
            "<html>not found</html>",
            {"detail": "Not Found"},
            {"error": "not found"},
            refusal(type=...),  # so a gateway answers for an address that it does not know
            refusal(code="unknown_url"),
            refusal(message="Invalid URL (GET /v2/batches/batch_1)"),
            refusal(message="Unknown request URL", code="not_found"),
            refusal(message="Not Found", type="NotFoundError", code=404),  # vLLM, for any address
            {
                "type": "error",
                "error": {"type": "not_found_error", "message": "Not Found"},
            },  # Anthropic, likewise
            refusal(message=f"Cannot GET /v1/batches/{ID}"),
            refusal(message=f"Not found: batches/{ID}"),
            refusal(
                message="The model does not exist or you do not have access to it.", code="model_not_found"
            ),
            refusal(message="The batch API is not available in this region."),
            refusal(message=f"No batch found with id '{ID}0'."),
            refusal(message=None),
            {"object": "error", "message": "none"},
        ],
    )
    @pytest.mark.parametrize("code", [404, 410])
    def test_a_404_in_another_form_tells_nothing_of_the_batch(self, body, code):
        """Gateways, and a base_url that leads nowhere, are not taken for a missing batch."""
        assert type(refused(body, code)) is Unavailable

    @pytest.mark.parametrize(
        "body", [b"", "<html>", "[1]", {"error": None}, {"error": [1]}, {"error": {"code": []}}]
    )
    def test_any_body(self, body):
        """The status alone decides where the body says nothing."""
        assert type(refused(body, 503)) is Unavailable


class TestSettings:
    """What can be set."""

    def test_the_headers(self):
        """The key is a bearer; organization and project are sent where they are set, with every call."""
        assert openai().auth().headers() == {"Authorization": f"Bearer {KEY}"}
        adapter = openai(organization="org-1", project="proj_1")
        [listing] = adapter.listing(ALL)
        for call in (adapter.status(ID), listing, adapter.probe()):
            assert dict(call.request.headers) == {"OpenAI-Organization": "org-1", "OpenAI-Project": "proj_1"}
        assert openai().status(ID).request.headers == ()

    @pytest.mark.parametrize("value", ["a\nb", "a\rX: y", "é", "", " a", "a "])
    def test_no_header_can_be_slipped_in(self, value):
        """What cannot stand in a header is refused before anything is sent."""
        with pytest.raises(ConfigError, match="OpenAI-Project"):
            openai(project=value).status(ID)

    def test_the_address(self):
        """Any API of that shape; the path of its base URL is kept, a slash at its end is not."""
        adapter = openai(base_url="https://api.groq.test/openai/v1/")
        assert adapter.base_urls() == ("https://api.groq.test/openai/v1",)
        assert adapter.status("a.b:c=d").request.path == "/batches/a.b%3Ac%3Dd"
        with pytest.raises(ConfigError, match="base_url"):
            openai(base_url="http://api.openai.com/v1")

    @pytest.mark.parametrize(
        "id",
        [ID, "019a0b1c-2d3e-7f40-8a51-62738495a6b7", "batch-xyz", "7", "bGl0ZWxsbV9wcm94eQ==", "msg_1:2"],
    )
    def test_ids(self, id):
        """Ids of other APIs pass."""
        assert OpenAI.id_grammar.check(id) == id

    @pytest.mark.parametrize("id", ["", "a b", "a/b", "../a", "-a", "a?b", "a%2fb", "b" * 129, "é"])
    def test_what_is_no_id(self, id):
        """What could change the address is refused."""
        with pytest.raises(ConfigError):
            OpenAI.id_grammar.check(id)

    def test_the_key_is_not_shown(self):
        """Not in the adapter's repr, nor in its auth's."""
        adapter = openai(organization="org-1")
        assert KEY not in f"{adapter!r} {adapter.auth()!r}"

    def test_words_can_be_pinned(self):
        """A copy's own word is explained, and the counts still have their say."""
        adapter = openai(state_map={"archived": State.SUCCEEDED})
        assert status(adapter=adapter, status="archived").state is State.SUCCEEDED
        counts = {"total": 2, "completed": 1, "failed": 1}
        assert status(adapter=adapter, status="archived", request_counts=counts).state is State.PARTIAL
