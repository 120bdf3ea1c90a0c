"""The DRUID adapter, handed requests to build and bytes to read."""

import json
from datetime import UTC, datetime

import msgspec
import pytest

from bulkstatus.adapter import (
    MIB,
    Call,
    Confirms,
    IdGrammar,
    Listing,
    ListQuery,
    OperationQuery,
    Operations,
    Page,
    Probe,
    Response,
    State,
)
from bulkstatus.errors import (
    AuthError,
    ConfigError,
    NotFound,
    ProtocolError,
    RateLimited,
    RequestRejected,
    Unavailable,
)
from bulkstatus_druid import Druid

ID = "019a0a00-1111-7222-8333-444455556666"
API = "https://graph.example.com"
AUTH = "https://auth.example.com"
CREATED = "2026-01-14T22:00:00Z"
UPDATED = "2026-01-14T22:41:03Z"
WHEN = datetime(2026, 1, 14, 22, 41, 3, tzinfo=UTC)
NOT_READ = "item results not read"


def druid(**settings):
    """An adapter with good settings, or with these."""
    given = {
        "api_base_url": API,
        "auth_base_url": AUTH,
        "client_id": "app",
        "client_secret": "hush|hush",
    }
    return Druid(**{**given, **settings})


def reply(value, status=200, headers=None):
    """A reply with `value` as its JSON body, or as its bytes."""
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    return Response.now(status, body, headers, source="crm", provider="druid")


def row(status="completed", **fields):
    """A bulk as the provider would send it."""
    return {"bulkId": ID, "status": status, "createdOn": CREATED, "updatedOn": UPDATED, **fields}


def envelope(content, **result):
    """The common form of all answers."""
    return {"content": content, "result": {"status": 200, "message": "OK", **result}}


def get(content, *results, adapter=None):
    """Read a status and then the pages of results it asks for; the requests, and what came of them."""
    call = (adapter or druid()).status(ID)
    requests, outcome = [], call
    for value in (content, *results):
        assert isinstance(outcome, Call)
        requests.append(outcome.request)
        outcome = outcome.read(value if isinstance(value, Response) else reply(value))
    return requests, outcome


def list_page(content, **settings):
    """The page read from a listing."""
    (call,) = druid(**settings).listing(ListQuery())
    return call.read(reply(content))


def listed(content, **settings):
    """The statuses read from a listing."""
    return list_page(content, **settings).items


class TestSettings:
    def test_it_can_list_operate_confirm_and_probe(self):
        """The adapter has every capability that the core asks for by type."""
        for capability in (Listing, Operations, Confirms, Probe):
            assert isinstance(druid(), capability)
        assert (druid().limits, druid().poll_floor, druid().poll_ceiling) == ((), 5.0, 60.0)
        assert [(limit.requests, limit.seconds) for limit in druid().allowed()] == [(300, 60)]
        assert druid().counted_by == ("client_id",)
        assert druid().rows_per_page is None

    @pytest.mark.parametrize(
        ("given", "api", "auth"),
        [
            ({}, API, AUTH),
            ({"auth_base_url": None}, API, API),
            ({"api_base_url": None}, AUTH, AUTH),
            ({"api_base_url": f"{API}/"}, API, AUTH),
        ],
    )
    def test_one_base_url_serves_for_both(self, given, api, auth):
        """Whichever base URL is missing takes the value of the other."""
        adapter = druid(**given)
        assert adapter.status(ID).request.base_url == api
        assert adapter.auth().renewal(0.0).request.base_url == auth
        assert set(adapter.base_urls()) == {api, auth}
        assert len(adapter.base_urls()) == len({api, auth})

    @pytest.mark.parametrize(
        ("given", "words"),
        [
            ({"api_base_url": None, "auth_base_url": None}, "api_base_url or auth_base_url"),
            ({"api_base_url": "http://graph.example.com"}, "api_base_url"),
            ({"auth_base_url": ""}, "auth_base_url"),
            ({"from_header": "a\r\nX: y"}, "from_header"),
            ({"from_header": ""}, "from_header"),
            ({"from_header": "é"}, "from_header"),
            ({"from_header": "x" * 257}, "from_header"),
            ({"accept_language": " es"}, "accept_language"),
            ({"client_secret": "two words"}, "client_secret"),
            ({"state_map": {"archiving": "gone"}}, "archiving"),
        ],
    )
    def test_impossible_settings_are_refused_by_name(self, given, words):
        """A setting that cannot be right is named before anything is sent."""
        with pytest.raises(ConfigError, match=words):
            druid(**given)

    def test_credentials_are_never_shown(self):
        """Neither the id nor the secret of the app is in any repr."""
        adapter = druid(client_id="app-4711")
        shown = repr(adapter) + repr(adapter.auth()) + repr(adapter.auth().renewal(0.0).request)
        assert "hush" not in shown
        assert "app-4711" not in shown

    @pytest.mark.parametrize("id", ["a", ID, "A.b_c:d~e-f", "0" * 128])
    def test_ids_are_opaque(self, id):
        """Any one word of unreserved characters can be an id."""
        assert druid().id_grammar.check(id) == id

    @pytest.mark.parametrize(
        "id", ["", " ", "a/b", "a%2fb", "../x", "..", "-rf", "a\n", "a?x=1", "\uff11\uff12", "0" * 129]
    )
    def test_what_cannot_be_an_id_is_refused(self, id):
        """Nothing that could change a path gets near a URL."""
        assert isinstance(druid().id_grammar, IdGrammar)
        with pytest.raises(ConfigError):
            druid().id_grammar.check(id)


class TestRequests:
    def test_gets_name_a_content_type(self):
        """Every GET carries Content-Type and Accept, and no other header unless it is configured."""
        expected = {"Accept": "application/json", "Content-Type": "application/json"}
        (listing,) = druid().listing(ListQuery())
        for call in (
            druid().status(ID),
            listing,
            druid().operations(ID, OperationQuery()),
            druid().probe(),
        ):
            assert dict(call.request.headers) == expected
            assert call.request.method == "GET"

    def test_optional_headers(self):
        """`From` and `Accept-Language` are sent when they are set."""
        headers = dict(druid(from_header="2342-main", accept_language="es-ES").status(ID).request.headers)
        assert headers["From"] == "2342-main"
        assert headers["Accept-Language"] == "es-ES"

    def test_paths(self):
        """The three calls go where the provider's pages say."""
        (listing,) = druid().listing(ListQuery())
        base = "/activityid/v1/user/bulk"
        assert listing.request.path == base
        assert listing.request.query == ()
        assert druid().status(ID).request.path == f"{base}/{ID}"
        assert druid().operations(ID, OperationQuery()).request.path == f"{base}/{ID}/results"
        assert druid().probe().request.path == base

    def test_no_answer_may_be_large(self):
        """Every answer is bounded at 8 MiB."""
        (listing,) = druid().listing(ListQuery())
        calls = (listing, druid().status(ID), druid().operations(ID, OperationQuery()), druid().probe())
        assert {call.request.body_limit for call in calls} == {8 * MIB}

    def test_the_token_is_asked_for_in_the_form(self):
        """Client credentials travel in the form body to the token host."""
        request = druid().auth().renewal(0.0).request
        assert (request.base_url, request.path, request.method) == (AUTH, "/oauth2/token", "POST")
        form = {name: getattr(value, "reveal", lambda value=value: value)() for name, value in request.form}
        assert form == {"grant_type": "client_credentials", "client_id": "app", "client_secret": "hush|hush"}

    @pytest.mark.parametrize("status", [200, 400])
    def test_a_token_error_is_one_whatever_its_status(self, status):
        """The vendor's SDKs know the error body with HTTP 400 and with HTTP 200."""
        body = {"error": "Client credentials are not valid", "type": "InvalidGrantException"}
        with pytest.raises(AuthError, match="Client credentials are not valid"):
            druid().auth().renewal(0.0).read(reply(body, status))


class TestWords:
    @pytest.mark.parametrize(
        ("word", "state"),
        [
            ("received", State.QUEUED),
            ("scheduled", State.QUEUED),
            ("processing", State.RUNNING),
            ("PROCESSING", State.RUNNING),
            ("failed", State.FAILED),
            ("archiving", State.UNKNOWN),
            ("\x1b[31m", State.UNKNOWN),
        ],
    )
    def test_a_word_means_a_state(self, word, state):
        """Each documented word has its state; any other is unknown, and kept."""
        requests, status = get(envelope(row(word)))
        assert len(requests) == 1
        assert (status.state, status.native_state) == (state, word)
        assert (status.source, status.provider, status.id) == ("crm", "druid", ID)
        assert status.counts is None
        assert status.evidence

    @pytest.mark.parametrize("word", [None, "", 5, {"a": 1}, True])
    def test_a_word_that_is_no_text_is_unknown(self, word):
        """A status that is not there, or not text, fails nothing."""
        _, status = get(envelope(row(word)))
        assert (status.state, status.native_state) == (State.UNKNOWN, None)
        assert any("no status word" in line for line in status.evidence)
        assert any("not text" in line for line in status.evidence) == (word not in (None, ""))

    def test_failed_says_that_some_may_be_done(self):
        """A failed bulk may have updated users, and says so."""
        _, status = get(envelope(row("failed")))
        assert any("Some users may have been updated" in line for line in status.evidence)

    def test_a_pin_teaches_a_word(self):
        """state_map reads a word that the adapter does not know."""
        _, status = get(envelope(row("archiving")), adapter=druid(state_map={"archiving": State.RUNNING}))
        assert status.state is State.RUNNING
        assert status.finished_at is None

    @pytest.mark.parametrize("state", [State.SUCCEEDED, State.RUNNING, State.FAILED])
    def test_a_pin_on_completed_skips_the_results(self, state):
        """With completed pinned, the pin decides and no results are asked for."""
        requests, status = get(envelope(row()), adapter=druid(state_map={"completed": state}))
        assert len(requests) == 1
        assert (status.state, status.provisional) == (state, False)
        assert not any(NOT_READ in line or "Some users" in line for line in status.evidence)


class TestCompleted:
    def test_no_failed_result_is_success(self):
        """A completed bulk is succeeded once the failed results were read and none was there."""
        (_, asked), status = get(envelope(row()), envelope([]))
        assert asked.path.endswith(f"/{ID}/results")
        assert dict(asked.query) == {"limit": "100", "failedOnly": "true"}
        assert (status.state, status.native_state, status.provisional) == (
            State.SUCCEEDED,
            "completed",
            False,
        )
        assert status.finished_at == status.updated_at == WHEN
        assert status.evidence[-1] == "The failed item results were read and none was found."
        assert not any(NOT_READ in line for line in status.evidence)
        assert json.loads(status.raw) == envelope(row())

    def test_a_failed_result_is_partial(self):
        """One failed user makes the bulk partial."""
        _, status = get(envelope(row()), envelope([{"objectId": "1"}]))
        assert (status.state, status.provisional) == (State.PARTIAL, False)
        assert status.finished_at == WHEN
        assert "partial" in status.evidence[-1]

    @pytest.mark.parametrize(
        "answer",
        [
            {"content": [], "result": {"status": 200}},
            {"content": []},
            {"content": {"results": []}},
            {"content": {"results": []}, "result": {"status": 200, "errors": []}},
            {"content": {"results": [], "total": 0, "limit": 100}, "result": {"message": "OK"}},
            {"content": {"results": [], "failed": 0, "failedOnly": True}, "result": {"status": 200}},
            {"content": {}, "result": {"status": 200}},
            {"content": {"total": 0, "lastId": None}, "result": {"status": 200}},
            {"content": {}, "result": {"elapsed": 1.5}},
            {"results": [], "size": 10, "ok": True},
            {"content": None, "results": [], "result": {"status": 200}},
        ],
    )
    def test_a_plain_answer_about_no_results_proves_success(self, answer):
        """An empty list, or an explicit content beside a result, says that no user failed."""
        _, status = get(envelope(row()), answer)
        assert status.state is State.SUCCEEDED

    @pytest.mark.parametrize(
        "answer",
        [
            {"result": {"status": 202}},
            {"result": {"status": 200}},
            {"result": {"message": "OK"}},
            {"content": None},
            {"content": None, "result": {"status": 200}},
            {"content": None, "result": {"status": 500.0}},
            {"lastId": None},
            {"lastId": "", "result": {"status": 200}},
            {"content": {}},
            {"content": {"total": 0}},
            {"content": {}, "result": None},
            {"content": {}, "result": {}},
            {"content": {}, "result": {"status": 204}},
            {"content": [], "result": "OK"},
            {"content": [], "result": "Internal error"},
            {"content": [], "result": {"status": 500.0}},
            {"content": [{"objectId": "1"}], "result": {"status": "ERROR"}},
            {"content": {"results": [], "failed": 3}, "result": {"status": 200}},
            {"content": {"results": [], "failed": 3.0}, "result": {"status": 200}},
            {"content": {"results": [], "total": 10}, "result": {"status": 200}},
            {"content": [], "totalCount": 2, "result": {"status": 200}},
            {"results": [], "errorCount": 1, "ok": True},
            {"content": [], "result": {"status": 202}},
            {"content": [], "result": {"status": "200"}},
            {"content": [], "result": {"status": "OK"}},
            {"content": [], "result": {"status": None}},
            {"content": [], "result": {"status": True}},
            {"results": [], "result": {"status": {"code": 200}}},
        ],
    )
    def test_an_answer_that_may_be_about_something_else_proves_nothing(self, answer):
        """Without a list or an explicit content, or beside any status but 200, success is not proven."""
        _, status = get(envelope(row()), answer)
        assert (status.state, status.native_state, status.provisional) == (
            State.UNKNOWN,
            "completed",
            False,
        )
        assert "success is not proven" in status.evidence[-1]
        assert (status.finished_at, status.updated_at) == (None, WHEN)
        assert not any(NOT_READ in line or "taken as the end" in line for line in status.evidence)

    @pytest.mark.parametrize("vague", [{"lastId": "c1"}, {"content": {}, "lastId": "c1"}])
    def test_every_page_has_to_be_plain(self, vague):
        """One page in between that may hide entries leaves success unproven, however plain the last one is."""
        _, status = get(envelope(row()), vague, {"content": [], "lastId": "c2"}, envelope([]))
        assert status.state is State.UNKNOWN
        assert "success is not proven" in status.evidence[-1]

    @pytest.mark.parametrize(
        "answer",
        [
            # users and the reasons
            {"content": {"oid1": "invalid e-mail"}, "result": {"status": 200}},
            {"content": {"oid1": {"error": "invalid e-mail"}}, "result": {"status": 200}},
            {"oid1": "invalid e-mail", "result": {"status": 200}},
            {"results": [], "byUser": {"x": "failed"}},
            {"content": [], "byUser": {"x": "failed"}},
            {"content": {"results": [], "byUser": {"x": "failed"}}, "result": {"status": 200}},
            {"content": {}, "byUser": {"x": "failed"}, "result": {"status": 200}},
            # counts alone
            {"content": {"failed": 3, "total": 10}, "result": {"status": 200}},
            {"content": {"failed": 0, "total": 10}, "result": {"status": 200}},
            {"failed": 3, "total": 10},
            {"failed": 3, "result": {"status": 200}},
            {"content": None, "failed": 3, "result": {"status": 200}},
            {"content": {}, "failed": 3, "result": {"status": 200}},
            # the record of a status call, in the place of results
            envelope(row()),
            row(),
            # errors that are not entries
            {"content": [], "result": {"status": 200, "errors": [{"message": "x"}]}},
            {"content": {}, "result": {"errors": "x"}},
            {"content": [{"objectId": "1"}], "result": {"errors": {"message": "x"}}},
        ],
    )
    def test_results_in_another_form_are_an_error(self, answer):
        """An object or values where a list of entries is expected are neither entries nor none."""
        with pytest.raises(ProtocolError) as caught:
            get(envelope(row()), answer)
        assert caught.value.reason == "bad_payload"
        with pytest.raises(ProtocolError):
            entries(answer)

    @pytest.mark.parametrize(
        "answer",
        [
            {"content": [], "results": [{"objectId": "1"}]},
            {"content": [], "errors": [{"objectId": "1"}], "result": {"status": 200}},
            {"content": {}, "results": [{"objectId": "1"}], "result": {"status": 200}},
            {"content": {"results": []}, "failed": [{"objectId": "1"}], "result": {"status": 200}},
            {"content": {"results": [], "errors": [{"objectId": "1"}]}, "result": {"status": 200}},
            {"results": [], "failed": [{"objectId": "1"}], "result": {"status": 202}},
        ],
    )
    def test_an_empty_list_does_not_hide_a_filled_one(self, answer):
        """Entries count wherever a list of them stands."""
        _, status = get(envelope(row()), answer)
        assert status.state is State.PARTIAL
        assert [item.response for item in entries(answer).items] == ['{"objectId": "1"}']

    @pytest.mark.parametrize(
        "empty",
        [
            {"content": [], "result": {"status": 200}, "lastId": "c1"},
            {"content": {"results": [], "lastId": "c1"}, "lastId": None},
            {"content": {"lastId": ""}, "result": {"lastId": "c1"}},
            {"content": None, "lastId": "c1"},
            {"lastId": "c1"},
        ],
    )
    def test_an_empty_page_with_a_cursor_is_not_the_end(self, empty):
        """Only a missing cursor ends the results, wherever it sits."""
        requests, status = get(envelope(row()), empty, envelope([{"objectId": "1"}]))
        assert dict(requests[2].query) == {"limit": "100", "failedOnly": "true", "last": "c1"}
        assert status.state is State.PARTIAL

    def test_a_number_is_a_cursor_too(self):
        """A cursor that comes as a number is followed, not taken for the end."""
        requests, status = get(envelope(row()), {"content": [], "lastId": 7}, {"content": []})
        assert dict(requests[2].query)["last"] == "7"
        assert status.state is State.SUCCEEDED

    def test_a_cursor_that_repeats_is_an_error(self):
        """Results that go in a circle prove nothing."""
        pages = [{"content": [], "lastId": last} for last in ("c1", "c2", "c1")]
        with pytest.raises(ProtocolError, match="do not end") as caught:
            get(envelope(row()), *pages)
        assert caught.value.reason == "endless"

    def test_too_many_pages_are_an_error(self, monkeypatch):
        """Results that go on for ever are given up."""
        monkeypatch.setattr("bulkstatus_druid._adapter._MAX_PAGES", 2)
        pages = [{"content": [], "lastId": str(number)} for number in range(1, 4)]
        with pytest.raises(ProtocolError, match="too many pages"):
            get(envelope(row()), *pages)

    @pytest.mark.parametrize(
        "gone",
        [
            reply({"result": {"status": 404}}, 404),
            reply({"result": {"message": "no such thing"}}, 404),
            reply({"result": {"status": 404}}),
            reply({"result": {"status": 410}}),
            reply({"result": {"errors": [{"message": "gone"}]}}, 410),
        ],
    )
    def test_results_that_are_gone_leave_it_unknown(self, gone):
        """Without its results a completed bulk is neither a success nor a failure."""
        _, status = get(envelope(row()), gone)
        assert (status.state, status.native_state) == (State.UNKNOWN, "completed")
        assert status.finished_at is None
        assert status.updated_at == WHEN
        assert "not proven" in status.evidence[-1]
        assert not status.provisional
        assert not any("taken as the end" in line for line in status.evidence)

    @pytest.mark.parametrize("http", [404, 410])
    @pytest.mark.parametrize(
        ("body", "kind"),
        [
            (b"<html>", "text/html"),
            (b"default backend - 404", "text/plain"),
            (b'{"result": {"message": "no"}}', "text/plain"),
            (b"", "application/json"),
            (b'{"message": "Not Found"}', "application/json"),
            (b'{"status": 404, "error": "Not Found", "path": "/activityid"}', "application/json"),
            (b'{"result": {}}', "application/json"),
            (b'{"result": {"status": 500}}', "application/json"),
            (b'{"content": null}', "application/json"),
        ],
    )
    def test_what_is_not_said_in_the_envelope_does_not_say_that_something_is_gone(self, body, kind, http):
        """A proxy's answer tells nothing of a bulk or of its results, so it decides nothing and is tried again."""
        denial = reply(body, http, {"Content-Type": kind})
        for answers in ([denial], [envelope(row()), denial]):
            with pytest.raises(Unavailable) as caught:
                get(*answers)
            assert (caught.value.reason, caught.value.status) == ("edge", http)

    @pytest.mark.parametrize(
        ("bad", "error"),
        [
            (reply(b"", 500), Unavailable),
            (reply({"result": {"status": 401}}), AuthError),
            (reply(b"", 429), RateLimited),
            (reply(b"<html>"), ProtocolError),
        ],
    )
    def test_other_errors_of_the_results_are_errors(self, bad, error):
        """Results that cannot be read now decide nothing."""
        with pytest.raises(error):
            get(envelope(row()), bad)

    def test_a_refused_limit_is_left_out(self):
        """A 400 with a limit is followed by one request without it, for the same page."""
        requests, status = get(
            envelope(row()), {"content": [], "lastId": "c1"}, reply(b"", 400), {"content": []}
        )
        assert dict(requests[2].query) == {"limit": "100", "failedOnly": "true", "last": "c1"}
        assert dict(requests[3].query) == {"failedOnly": "true", "last": "c1"}
        assert status.state is State.SUCCEEDED

    def test_a_second_400_is_the_answer(self):
        """Without a limit, 400 is a rejection."""
        with pytest.raises(RequestRejected):
            get(envelope(row()), reply(b"", 400), reply({"result": {"status": 400}}))

    def test_other_rejections_are_not_tried_again(self):
        """Only 400 can be the limit's fault."""
        with pytest.raises(RequestRejected) as caught:
            get(envelope(row()), reply(b"", 422))
        assert caught.value.status == 422


class TestAnswers:
    def test_content_may_be_a_list(self):
        """The row with the id is taken out of a list."""
        _, status = get(envelope([{"bulkId": "other", "status": "failed"}, None, row("processing")]))
        assert (status.id, status.state) == (ID, State.RUNNING)

    @pytest.mark.parametrize("content", [None, []])
    def test_empty_content_is_not_found(self, content):
        """200 with nothing in it means what 404 means."""
        with pytest.raises(NotFound, match="not found or expired"):
            get(envelope(content))

    def test_absent_content_is_not_found(self):
        """An envelope without content is an answer about nothing."""
        with pytest.raises(NotFound, match="deletes results after a configurable time"):
            get({"result": {"status": 200}})

    @pytest.mark.parametrize("content", [row("failed", bulkId="other"), [row("failed", bulkId="other")]])
    def test_an_answer_about_another_bulk_is_refused(self, content):
        """A status is never given to a bulk it is not about."""
        with pytest.raises(ProtocolError) as caught:
            get(envelope(content))
        assert caught.value.reason == "id_mismatch"

    def test_another_id_is_shown_harmlessly(self):
        """An id from elsewhere reaches the message without its control characters."""
        with pytest.raises(ProtocolError) as caught:
            get(envelope(row(bulkId="\x1b[31m")))
        assert "\x1b" not in str(caught.value)

    @pytest.mark.parametrize(
        "content", [row(bulkId=12345), row(bulkId=None), row(bulkId=""), {}, [1, "two"], "text", 7, True]
    )
    def test_content_that_cannot_be_understood(self, content):
        """An answer without an id, or of another type, is not an answer."""
        with pytest.raises(ProtocolError) as caught:
            get(envelope(content))
        assert caught.value.reason == "bad_payload"

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"   ",
            b"<html>",
            b"null",
            b"[]",
            b'"text"',
            b'{"content":',
            b"{} x",
            b"\xef\xbb\xbf{}",
            b'{"content":{"bulkId":"\xff"}}',
            b'{"content":{"bulkId":"\\ud800"}}',
            b'{"content":{"createdOn":NaN}}',
            b"[" * 1100,
            b'{"x":' + b"[" * 70 + b"]" * 70 + b"}",
        ],
    )
    def test_bodies_that_are_not_the_envelope(self, body):
        """What is not JSON, or not an object, is a protocol error and nothing worse."""
        with pytest.raises(ProtocolError):
            get(body)

    @pytest.mark.parametrize("number", ["1e999", "9" * 5000, "-" + "9" * 5000])
    def test_a_number_out_of_range_costs_that_field_only(self, number):
        """A time that is no number Python can hold leaves the record readable."""
        body = f'{{"content":{{"bulkId":"{ID}","status":"processing","createdOn":{number}}}}}'
        _, status = get(body.encode())
        assert (status.state, status.created_at) == (State.RUNNING, None)
        assert any("createdOn" in line for line in status.evidence)

    def test_the_last_of_two_equal_keys_counts(self):
        """Doubled keys are read as the decoder reads them."""
        body = f'{{"content":{{"bulkId":"{ID}","status":"failed","status":"received"}}}}'
        assert get(body.encode())[1].state is State.QUEUED

    def test_observed_at_is_the_last_reading(self):
        """The moment of observation is that of the reply that decided."""
        late = msgspec.structs.replace(reply(envelope([])), received_at=datetime(2026, 2, 1, tzinfo=UTC))
        assert get(envelope(row()), late)[1].observed_at == late.received_at
        assert get(envelope(row("failed")))[1].observed_at.tzinfo is UTC

    @pytest.mark.parametrize(
        "body",
        [
            b'{"result":{"status":200},"conten\xfft":{"bulkId":"b","status":"waiting"}}',
            b'{"conten\xfft":[{"bulkId":"b","status":"waiting"}],"result":{"status":200}}',
        ],
    )
    def test_content_whose_name_came_damaged_is_not_missed(self, body):
        """An answer that holds no bulk in sight says neither that there is none nor that the list is empty."""
        with pytest.raises(ProtocolError, match="not JSON"):
            get(body)
        with pytest.raises(ProtocolError, match="not JSON"):
            listed(body)


class TestTimes:
    @pytest.mark.parametrize(
        ("sent", "read"),
        [
            (UPDATED, WHEN),
            ("2026-01-14T23:41:03+01:00", WHEN),
            ("2026-01-14T23:41:03+0100", WHEN),
            ("2026-01-14 22:41:03Z", WHEN),
            ("2026-01-14T22:41:03.123456789Z", WHEN.replace(microsecond=123456)),
            ("1768430463000", WHEN),
            (1768430463000, WHEN),
        ],
    )
    def test_times_that_can_be_read(self, sent, read):
        """RFC 3339 and its kin, and digits as epoch milliseconds."""
        _, status = get(envelope(row("failed", updatedOn=sent)))
        assert status.updated_at == status.finished_at == read
        assert not any("updatedOn" in line and "end" not in line for line in status.evidence)

    def test_a_naive_time_is_utc_and_said_so(self):
        """A time without a zone is taken as UTC, with evidence."""
        _, status = get(envelope(row("processing", createdOn="2026-01-14T22:41:03")))
        assert status.created_at == WHEN
        assert any("createdOn names no time zone" in line for line in status.evidence)

    @pytest.mark.parametrize(
        "sent", [1768430463, "1768430463", -1, "soon", "2026-01-14", 1.5, True, [1], {"a": 1}, 10**24]
    )
    def test_times_that_cannot_be_read(self, sent):
        """An odd time is None with evidence; its unit is never guessed from its size."""
        _, status = get(envelope(row("failed", updatedOn=sent)))
        assert status.state is State.FAILED
        assert (status.updated_at, status.finished_at) == (None, None)
        assert any("updatedOn" in line for line in status.evidence)

    @pytest.mark.parametrize("sent", [None, "", 0, "0"])
    def test_times_that_are_not_set(self, sent):
        """An empty time is no time, and nothing to be said about."""
        _, status = get(envelope(row("failed", updatedOn=sent)))
        assert status.updated_at is None
        assert not any("updatedOn" in line for line in status.evidence)

    def test_the_end_is_the_last_status_change(self):
        """finished_at is updatedOn, with evidence, and only at an end."""
        _, ended = get(envelope(row("failed")))
        _, running = get(envelope(row("processing")))
        assert ended.finished_at == WHEN
        assert any("last status change" in line for line in ended.evidence)
        assert running.finished_at is None
        assert running.updated_at == WHEN


class TestErrors:
    @pytest.mark.parametrize(
        ("status", "error", "words"),
        [
            (400, RequestRejected, "rejected"),
            (401, AuthError, "credentials"),
            (403, AuthError, "lacks the permission"),
            (404, NotFound, "not found or expired"),
            (410, NotFound, "no longer there"),
            (413, RequestRejected, "rejected"),
            (429, RateLimited, "throttling"),
            (500, Unavailable, "cannot answer"),
            (502, Unavailable, "cannot answer"),
            (504, Unavailable, "its own authorisation server"),
        ],
    )
    @pytest.mark.parametrize("inside", [True, False])
    def test_a_status_means_an_error(self, status, error, words, inside):
        """An error status counts in the HTTP reply and in `result.status` alike."""
        body = {"result": {"status": status, "message": "why \x1b[0m"}}
        answer = reply(body) if inside else reply(body, status)
        with pytest.raises(error, match=words) as caught:
            get(answer)
        assert type(caught.value) is error
        assert caught.value.status == status
        assert caught.value.detail == "why \\x1b[0m"

    def test_http_wins_over_the_body(self):
        """Of two error statuses the HTTP one counts."""
        with pytest.raises(Unavailable) as caught:
            get(reply({"result": {"status": 404}}, 503))
        assert caught.value.status == 503

    @pytest.mark.parametrize("content", ["text", 7, [None]])
    def test_an_error_in_the_body_wins_over_odd_content(self, content):
        """An error answer is read as one, whatever its content is."""
        with pytest.raises(AuthError):
            get({"content": content, "result": {"status": 401}})

    def test_a_success_status_in_between_is_no_answer(self):
        """A 2xx other than 200 is not what the provider documents, unless its body says what is wrong."""
        with pytest.raises(ProtocolError):
            get(reply({"content": row()}, 202))
        with pytest.raises(NotFound):
            get(reply({"result": {"status": 404}}, 202))

    def test_redirects_are_refused(self):
        """A redirect is an error that names the other host."""
        with pytest.raises(ProtocolError, match=r"evil\.test"):
            get(reply(b"", 302, {"Location": "https://evil.test/"}))

    def test_an_edge_challenge_is_no_permission_problem(self):
        """A 403 page of the network edge is not about the app's permissions."""
        with pytest.raises(Unavailable) as caught:
            get(reply(b"<html>", 403, {"Content-Type": "text/html"}))
        assert caught.value.reason == "edge"

    def test_retry_after_is_kept(self):
        """The pause that a 504 asks for is not lost."""
        with pytest.raises(Unavailable) as caught:
            get(reply(b"", 504, {"Retry-After": "7"}))
        assert (caught.value.retry_after, caught.value.retryable) == (7.0, True)

    @pytest.mark.parametrize(
        ("result", "detail"),
        [
            ({"message": "a", "errors": [{"details": "b"}]}, "a"),
            ({"message": "", "errors": [{"message": "c", "details": "b"}]}, "b"),
            ({"errors": [{"message": "c"}, {"details": "b"}]}, "b"),
            ({"errors": [7, {"message": "c"}]}, "c"),
            ({"errors": "x"}, None),
            ({"message": 5}, None),
            ({"message": None, "errors": []}, None),
        ],
    )
    def test_where_the_words_come_from(self, result, detail):
        """The text is `message`, else the details of an error, else its message."""
        with pytest.raises(RequestRejected) as caught:
            get({"result": {"status": "422", **result}})
        assert (caught.value.status, caught.value.detail) == (422, detail)

    @pytest.mark.parametrize(
        "body", [b"", b"<html>", b"null", b'{"result": 5}', b'{"result": 1e999}', b"[" * 99]
    )
    def test_error_bodies_may_be_anything(self, body):
        """Gateways send HTML or nothing; the HTTP status is enough."""
        with pytest.raises(Unavailable) as caught:
            get(reply(body, 502))
        assert caught.value.detail is None

    @pytest.mark.parametrize("status", [True, None, "ok", "0404", 200, {"a": 1}])
    def test_a_status_that_says_no_error(self, status):
        """What is no error status in the body leaves the answer as it is."""
        _, read = get({"content": row("received"), "result": {"status": status}})
        assert read.state is State.QUEUED

    @pytest.mark.parametrize("result", [None, 5, "OK", []])
    def test_result_may_be_anything(self, result):
        """An odd `result` fails nothing."""
        _, read = get({"content": row("received"), "result": result})
        assert read.state is State.QUEUED

    def test_the_list_is_not_said_to_be_expired(self):
        """404 on the list is about the address, not about a bulk."""
        (call,) = druid().listing(ListQuery())
        with pytest.raises(NotFound) as caught:
            call.read(reply({"result": {"status": 404}}, 404))
        assert "expired" not in caught.value.message


class TestListing:
    def test_rows(self):
        """The list gives every bulk, each with its own record."""
        rows = [row("processing"), row("failed", bulkId="b")]
        first, second = listed(envelope(rows))
        assert [(item.id, item.state) for item in (first, second)] == [
            (ID, State.RUNNING),
            ("b", State.FAILED),
        ]
        assert [json.loads(item.raw) for item in (first, second)] == rows

    def test_completed_says_that_results_were_not_read(self):
        """A completed row is succeeded, with the caveat."""
        (item,) = listed(envelope([row()]))
        assert (item.state, item.provisional) == (State.SUCCEEDED, True)
        assert item.finished_at == WHEN
        assert any(NOT_READ in line for line in item.evidence)

    @pytest.mark.parametrize(
        "body",
        [
            {"content": None},
            {"content": []},
            {"result": {"status": 200}},
            b'{"content": null, "result": {"elapsed": 1e999}}',
        ],
    )
    def test_a_list_may_be_empty(self, body):
        """Nothing held is an empty list in every form."""
        assert listed(body) == ()

    @pytest.mark.parametrize("body", [{}, {"ok": True}, {"result": None}])
    def test_an_answer_that_says_nothing_is_not_an_empty_list(self, body):
        """An object with neither content nor result is not the API's, so it does not mean that nothing is held."""
        with pytest.raises(ProtocolError, match="neither content nor result"):
            listed(body)

    def test_one_bulk_may_come_alone(self):
        """A content that is one object is a list of one."""
        (item,) = listed(envelope(row("received")))
        assert item.state is State.QUEUED
        assert json.loads(item.raw) == row("received")

    def test_odd_rows_do_not_sink_the_list(self):
        """Rows without an id are counted as left out; the others are there and keep their own records."""
        good = row("received", createdOn=1.5, updatedOn={"odd": []})
        page = list_page({"content": [None, row("failed"), 7, {"status": "failed"}, {**good, "bulkId": "b"}]})
        assert [item.id for item in page.items] == [ID, "b"]
        assert page.left_out == 3
        for item in page.items:
            assert json.loads(item.raw)["bulkId"] == item.id

    def test_content_of_another_type_is_an_error(self):
        """A text where the list belongs is not an empty list."""
        with pytest.raises(ProtocolError, match="content"):
            listed({"content": "none"})

    def test_probe_wants_an_answer_and_nothing_from_it(self):
        """The probe succeeds with any list and fails as the list does."""
        assert druid().probe().read(reply(envelope([row()]))) is None
        with pytest.raises(AuthError):
            druid().probe().read(reply(b"", 401))


class TestConfirm:
    @pytest.mark.parametrize("word", ["received", "processing", "failed", "archiving"])
    def test_rows_that_are_decided(self, word):
        """Only completed rows say less than a single look."""
        (item,) = listed(envelope([row(word)]))
        assert not item.provisional
        assert druid().confirm(item) is None

    def test_a_completed_row_is_decided_by_its_results(self):
        """Confirming a row gives what a single look at the bulk gives, without asking for it again."""
        (item,) = listed(envelope([row()]))
        call = druid().confirm(item)
        assert call.request.path.endswith("/results")
        confirmed = call.read(reply(envelope([{"objectId": "1"}])))
        _, single = get(envelope(row()), envelope([{"objectId": "1"}]))
        assert confirmed.raw == item.raw
        assert msgspec.structs.replace(confirmed, observed_at=single.observed_at) == single
        assert item.provisional
        assert not confirmed.provisional
        assert druid().confirm(confirmed) is None

    def test_a_pinned_row_is_decided(self):
        """A pin on completed needs no results."""
        (item,) = listed(envelope([row()]), state_map={"completed": "succeeded"})
        assert not item.provisional
        assert druid().confirm(item) is None

    def test_an_id_that_cannot_be_asked_for(self):
        """It is never put into a path."""
        (item,) = listed(envelope([row()]))
        odd = item.changed(id="..")
        assert odd.provisional
        assert druid().confirm(odd) is None


def entries(body, states=None):
    """A page of operations."""
    page = druid().operations(ID, OperationQuery(states=states)).read(reply(body))
    assert isinstance(page, Page)
    return page


class TestOperations:
    @pytest.mark.parametrize(
        ("states", "query"),
        [
            (None, {"limit": "100"}),
            (frozenset({"failed"}), {"limit": "100", "failedOnly": "true"}),
            (frozenset({State.FAILED}), {"limit": "100", "failedOnly": "true"}),
            (frozenset({"failed", "unknown"}), {"limit": "100"}),
            (frozenset({"unknown"}), {"limit": "100"}),
        ],
    )
    def test_what_is_asked_for(self, states, query):
        """The parameter failedOnly is sent exactly when failed operations alone are wanted."""
        assert dict(druid().operations(ID, OperationQuery(states=states)).request.query) == query

    @pytest.mark.parametrize("states", [{"succeeded"}, {"failed", "succeeded"}, {"running"}])
    def test_states_that_the_provider_cannot_tell(self, states):
        """Only failed entries can be asked for."""
        with pytest.raises(ConfigError, match="failed"):
            druid().operations(ID, OperationQuery(states=frozenset(states)))

    def test_positions_cannot_be_asked_for(self):
        """The results have no positions."""
        with pytest.raises(ConfigError, match="positions"):
            druid().operations(ID, OperationQuery(sequence=0))

    def test_an_entry_is_kept_as_it_is(self):
        """The entry travels as a payload: in no repr and no JSON."""
        entry = {"objectId": "4711", "errors": [{"message": "née"}]}
        (item,) = entries(envelope([entry]), frozenset({"failed"})).items
        assert (item.id, item.sequence, item.state) == (None, 0, State.FAILED)
        assert json.loads(item.response) == entry
        assert json.loads(item.raw) == entry
        assert "4711" not in repr(item)
        assert b"4711" not in msgspec.json.encode(item)

    def test_without_failed_only_nothing_is_guessed(self):
        """An entry of the full results has an unknown state, even if it looks like a failure."""
        (item,) = entries(envelope([{"errors": ["x"]}])).items
        assert (item.state, item.native_state) == (State.UNKNOWN, None)

    @pytest.mark.parametrize(
        "body",
        [
            {"content": [1, 2]},
            {"content": {"results": [1, 2]}},
            {"content": {"errors": [], "total": 2, "users": [1, 2]}},
            {"content": {"warnings": [9], "results": [1, 2]}},
            {"content": {"results": [], "failed": [1, 2], "meta": {}}},
            {"content": None, "results": [1, 2]},
            {"users": [1, 2], "result": {"status": 200}},
        ],
    )
    def test_where_entries_may_be(self, body):
        """Entries are found in content, in its results, or in the first list that holds any."""
        assert [item.response for item in entries(body).items] == ["1", "2"]

    def test_a_page_that_counts_entries_and_holds_none(self):
        """It is no empty page, unless the pages before it held them, or those behind it may."""
        counted = {"content": {"results": [], "total": 2}}
        with pytest.raises(ProtocolError, match="counts results and holds none"):
            entries(counted)
        following = entries({**counted, "lastId": "c1"}).next
        assert following is not None
        with pytest.raises(ProtocolError, match="counts results and holds none"):
            following.read(reply(counted))
        last = entries({"content": {"results": [1, 2], "total": 2}, "lastId": "c1"}).next
        assert last.read(reply(counted)).items == ()

    @pytest.mark.parametrize(
        "body",
        [
            {"result": {"status": 200}},
            {"content": None},
            {"content": []},
            {"content": {}},
            {"content": {"total": 0}},
        ],
    )
    def test_no_entries(self, body):
        """An answer without entries is an empty page."""
        page = entries(body)
        assert (page.items, page.next, page.cursor) == ((), None, None)

    @pytest.mark.parametrize(
        ("body", "words"),
        [
            ({}, "neither content nor result"),
            ({"ok": False}, "neither content nor result"),
            ({"result": None}, "neither content nor result"),
            ({"ok": True}, "something else than a list"),
        ],
    )
    def test_an_answer_that_says_nothing_is_not_an_empty_page(self, body, words):
        """An object with neither content nor result does not prove that no user failed."""
        with pytest.raises(ProtocolError, match=words):
            entries(body)

    @pytest.mark.parametrize(
        "body",
        [
            {"content": "none"},
            {"content": 5},
            {"content": {"4711": {"error": "x"}}},
            {"paging": {"lastId": "c1"}},
            {"content": [], "lastId": {"id": 1}},
            {"content": [], "lastId": False},
            {"content": [], "lastId": "c" * 1_025},
            {"content": [], "lastId": 1.5},
        ],
    )
    def test_results_that_cannot_be_understood(self, body):
        """What may hide entries or a cursor is an error, not an empty page."""
        with pytest.raises(ProtocolError):
            entries(body)

    def test_pages_follow_the_cursor(self):
        """Pages are chained by lastId and the entries counted on."""
        first = entries({"content": [1, 2], "lastId": "c1"}, frozenset({"failed"}))
        assert first.cursor == "c1"
        assert dict(first.next.request.query) == {"limit": "100", "last": "c1", "failedOnly": "true"}
        second = first.next.read(reply({"content": [3]}))
        assert [item.sequence for item in first.items + second.items] == [0, 1, 2]
        assert (second.next, second.cursor) == (None, None)

    def test_a_refused_limit_stays_left_out(self):
        """Once a limit was refused, the following pages are asked for without one."""
        call = druid().operations(ID, OperationQuery()).read(reply(b"", 400))
        assert call.request.query == ()
        page = call.read(reply({"content": [1], "lastId": "c1"}))
        assert dict(page.next.request.query) == {"last": "c1"}

    def test_missing_results_are_not_found(self):
        """Without results there is nothing to list, and the reasons it may have are named."""
        with pytest.raises(NotFound, match="has none yet"):
            druid().operations(ID, OperationQuery()).read(reply({"result": {"status": 404}}))

    def test_odd_bytes_in_an_entry_cost_that_entry_only(self):
        """A payload that is not UTF-8 is shown with replacements and kept as received."""
        (item,) = druid().operations(ID, OperationQuery()).read(reply(b'{"content":["\xff"]}')).items
        assert item.response == '"\ufffd"'
        assert item.raw == b'"\xff"'
