"""The Cloudflare adapter, fed with bytes."""

import json
import pickle
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkstatus.adapter import (
    Limit,
    Listing,
    Metered,
    Operations,
    Probe,
    Remaining,
    Response,
    Secret,
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
from bulkstatus_cloudflare import Cloudflare
from bulkstatus_cloudflare._wire import Fault, read_faults, seconds_to_reset

ACCOUNT = "023e105f4ecef8ad9ca31a8372d0c353"
ID = "7be1c3f09a5d4e21b6c8d7f00a94e152"
TOKEN = "cloudflare-test-token-0123456789"
GLOBAL_KEY = "0123456789abcdef0123456789abcdef01234"
PATH = f"/accounts/{ACCOUNT}/rules/lists/bulk_operations/{ID}"
UNSURE = "A failed bulk may or may not have changed the list; Cloudflare does not say."


def cloudflare(**settings):
    """An adapter with a token, unless settings say otherwise."""
    return Cloudflare(**{"account_id": ACCOUNT, "token": TOKEN, **settings})


def reply(body, status=200, headers=None):
    """A reply with `body` as JSON, or as it is."""
    text = body if isinstance(body, str | bytes) else json.dumps(body)
    headers = {"content-type": "application/json", "cf-ray": "8f1c2d3e4f5a6b7c-FRA", **(headers or {})}
    return Response.now(status, text, headers, source="edge", provider="cloudflare")


def read(body, status=200, headers=None, adapter=None):
    """What the adapter makes of a reply to its status call."""
    return (adapter or cloudflare()).status(ID).read(reply(body, status, headers))


def envelope(**result):
    """The documented answer with a result."""
    return {"result": {"id": ID, **result}, "success": True, "errors": [], "messages": []}


def refusal(*errors, **more):
    """The documented answer without a result."""
    return {"success": False, "errors": list(errors), "messages": [], "result": None, **more}


def problem(code, message="words"):
    """An entry of errors."""
    return {"code": code, "message": message}


class TestSettings:
    def test_a_token_is_enough(self):
        """A token goes out as a bearer, and the base URL is the API's own."""
        adapter = cloudflare()
        assert adapter.auth().headers() == {"Authorization": f"Bearer {TOKEN}"}
        assert adapter.base_urls() == ("https://api.cloudflare.com/client/v4",)

    def test_the_legacy_pair_is_enough(self):
        """Email and key go out in their two headers, and no bearer beside them."""
        adapter = cloudflare(token=None, email="ops@example.com", api_key=GLOBAL_KEY)
        assert adapter.auth().headers() == {"X-Auth-Email": "ops@example.com", "X-Auth-Key": GLOBAL_KEY}

    def test_the_facts_of_the_provider(self):
        """The documented limit is declared, and the capabilities are those Cloudflare has."""
        adapter = cloudflare()
        assert adapter.provider == "cloudflare"
        assert adapter.limits == (Limit(1200, 300),)
        assert adapter.allowed() == (Limit(20, 5), Limit(300, 300))
        assert (adapter.poll_floor, adapter.poll_ceiling) == (1.0, 30.0)
        assert isinstance(adapter, Probe)
        assert not isinstance(adapter, Listing)
        assert not isinstance(adapter, Operations)

    def test_a_base_url_keeps_its_path(self):
        """A proxy in front of the API is given with its path; a slash at its end does not count."""
        adapter = cloudflare(base_url="http://localhost:8080/client/v4/")
        assert adapter.status(ID).request.base_url == "http://localhost:8080/client/v4"

    @pytest.mark.parametrize(
        ("settings", "says"),
        [
            ({"account_id": ""}, "account_id must be exactly 32"),
            ({"account_id": ACCOUNT[:-1]}, "account_id must be exactly 32"),
            ({"account_id": ACCOUNT + "\n"}, "account_id must be exactly 32"),
            ({"account_id": "-" * 32}, "account_id must be exactly 32"),
            ({"account_id": "é" * 32}, "account_id must be exactly 32"),
            ({"account_id": None}, "account_id must be exactly 32"),
            ({"base_url": "http://api.cloudflare.com/client/v4"}, "base_url"),
            ({"token": None}, "set token, or email and api_key"),
            ({"token": None, "email": "ops@example.com"}, "api_key is missing"),
            ({"token": None, "api_key": GLOBAL_KEY}, "email is missing"),
            ({"email": "ops@example.com"}, "either token, or email and api_key"),
            ({"api_key": GLOBAL_KEY}, "either token, or email and api_key"),
            ({"email": "ops@example.com", "api_key": GLOBAL_KEY}, "either token, or email and api_key"),
            ({"token": ""}, "token is empty"),
            ({"token": f"{TOKEN}\n"}, "token holds a line break"),
            ({"token": f'"{TOKEN}"'}, "token is wrapped in quotation marks"),
            ({"token": f"{TOKEN}'"}, "token is wrapped in quotation marks"),
            ({"token": None, "email": "", "api_key": GLOBAL_KEY}, "email is empty"),
            ({"token": None, "email": "a b@example.com", "api_key": GLOBAL_KEY}, "email holds a blank"),
            ({"token": None, "email": "'ops@example.com'", "api_key": GLOBAL_KEY}, "email is wrapped"),
            ({"token": None, "email": "ops@example.com", "api_key": f"'{GLOBAL_KEY}"}, "api_key is wrapped"),
        ],
    )
    def test_settings_that_cannot_work_are_refused(self, settings, says):
        """A wrong setting is named before anything is sent, and no credential is in the message."""
        with pytest.raises(ConfigError, match=says) as caught:
            cloudflare(**settings)
        assert TOKEN not in str(caught.value)
        assert GLOBAL_KEY not in str(caught.value)

    def test_a_table_of_settings_is_converted(self):
        """The same type reads a table of a configuration file, and refuses unknown keys."""
        hook = {"dec_hook": lambda kind, value: kind(value)}
        table = {"account_id": ACCOUNT, "token": TOKEN, "state_map": {"archiving": "running"}}
        adapter = msgspec.convert(table, Cloudflare, **hook)
        assert adapter.state_map == {"archiving": State.RUNNING}
        with pytest.raises(msgspec.ValidationError, match="zone_id"):
            msgspec.convert({**table, "zone_id": "x"}, Cloudflare, **hook)

    def test_no_secret_is_shown(self):
        """Neither the adapter's repr nor that of its scheme holds a credential."""
        one = cloudflare()
        two = cloudflare(token=None, email="ops@example.com", api_key=GLOBAL_KEY)
        shown = repr((one, one.auth(), two, two.auth()))
        assert TOKEN not in shown
        assert GLOBAL_KEY not in shown

    @pytest.mark.parametrize("id", [ID, "a", "A-b_9", "x" * 128])
    def test_ids_that_may_be(self, id):
        """The documentation gives ids no length and no alphabet, so the grammar is wide."""
        assert Cloudflare.id_grammar.check(id) == id

    @pytest.mark.parametrize(
        "id", ["", "-rf", "a/b", "..", "a%2fb", "a b", "x" * 129, "é", "\uff11\uff12", "a\n", "a.b"]
    )
    def test_ids_that_cannot_be(self, id):
        """What could change a URL or a command line is refused."""
        with pytest.raises(ConfigError, match="not a bulk id"):
            Cloudflare.id_grammar.check(id)


class TestStatus:
    def test_the_request(self):
        """One GET, without a query, asks for one bulk."""
        request = cloudflare().status(ID).request
        assert (request.method, request.path, request.query, request.headers) == ("GET", PATH, (), ())

    @pytest.mark.parametrize(
        ("result", "state", "finished_at", "error"),
        [
            ({"status": "pending"}, State.QUEUED, None, None),
            ({"status": "running"}, State.RUNNING, None, None),
            (
                {"status": "completed", "completed": "2026-02-11T17:04:39Z"},
                State.SUCCEEDED,
                datetime(2026, 2, 11, 17, 4, 39, tzinfo=UTC),
                None,
            ),
            (
                {"status": "failed", "completed": "2026-02-11T17:05:02Z", "error": "The list is full"},
                State.FAILED,
                datetime(2026, 2, 11, 17, 5, 2, tzinfo=UTC),
                "The list is full",
            ),
        ],
    )
    def test_the_documented_words(self, result, state, finished_at, error):
        """Each of the four words is a state, and a failed bulk is an answer, not an exception."""
        status = read(envelope(**result))
        assert (status.state, status.native_state) == (state, result["status"])
        assert (status.finished_at, status.error) == (finished_at, error)
        assert (status.source, status.provider, status.id) == ("edge", "cloudflare", ID)
        assert (status.counts, status.created_at, status.started_at, status.updated_at) == (None,) * 4
        assert f"cloudflare bulk word {result['status']!r} means {state}." in status.evidence
        assert (UNSURE in status.evidence) is (state is State.FAILED)

    def test_the_record_travels_along(self):
        """The body as received is the raw record, and the moment of reading is the reply's."""
        response = reply(json.dumps(envelope(status="running")))
        status = cloudflare().status(ID).read(response)
        assert status.raw == response.body
        assert status.observed_at == response.received_at
        assert ACCOUNT not in repr(status)

    @pytest.mark.parametrize("word", ["Completed", "COMPLETED", " completed"])
    def test_case_does_not_count(self, word):
        """A word in another case has the same meaning, and stays as it was sent."""
        status = read(envelope(status=word))
        assert (status.state, status.native_state) == (State.SUCCEEDED, word)

    @pytest.mark.parametrize("word", ["archiving", "succeeded", "done", "\x1b[31mfailed", "completed!"])
    def test_an_unknown_word_is_unknown(self, word):
        """A word that is not documented is no end, and is kept."""
        status = read(envelope(status=word, completed="2026-02-11T17:04:39Z", error="why"))
        assert (status.state, status.native_state) == (State.UNKNOWN, word)
        assert (status.finished_at, status.error) == (None, None)
        assert not any("\x1b" in line for line in status.evidence)

    @pytest.mark.parametrize("result", [{}, {"status": None}, {"status": ""}])
    def test_no_word_is_unknown(self, result):
        """A bulk without a status word has an unknown state."""
        status = read(envelope(**result))
        assert status.state is State.UNKNOWN
        assert "The provider sent no status word." in status.evidence

    def test_a_pinned_word(self):
        """The configuration can explain a new word, and time and error are then read as its state wants."""
        adapter = cloudflare(state_map={"aborted": State.FAILED})
        status = read(
            envelope(status="aborted", completed="2026-02-11T17:04:39Z", error="why"), adapter=adapter
        )
        assert (status.state, status.native_state, status.error) == (State.FAILED, "aborted", "why")
        assert status.finished_at == datetime(2026, 2, 11, 17, 4, 39, tzinfo=UTC)

    @pytest.mark.parametrize(
        ("text", "when"),
        [
            ("2020-01-01T08:00:00Z", datetime(2020, 1, 1, 8, tzinfo=UTC)),
            ("2020-01-01t08:00:00z", datetime(2020, 1, 1, 8, tzinfo=UTC)),
            ("2021-10-01T05:20:00.12345Z", datetime(2021, 10, 1, 5, 20, 0, 123450, tzinfo=UTC)),
            ("2021-12-03T15:38:51.658387Z", datetime(2021, 12, 3, 15, 38, 51, 658387, tzinfo=UTC)),
            ("2021-12-03T15:38:51.535897932+01:00", datetime(2021, 12, 3, 14, 38, 51, 535897, tzinfo=UTC)),
        ],
    )
    def test_times_in_every_form_seen(self, text, when):
        """Fractions of 0 to 9 digits, Z in either case and offsets are read, and given in UTC."""
        assert read(envelope(status="completed", completed=text)).finished_at == when

    @pytest.mark.parametrize(
        ("completed", "says"),
        [
            ("", None),
            (None, None),
            ("yesterday", "completed 'yesterday' is not a time that can be read."),
            ("2026-02-11T17:04:39", "names no time zone"),
            ("0001-01-01T00:00:00Z", "not plausible"),
            (1770829479, "completed is not a text, so it is not used."),
            ({"at": 1}, "completed is not a text, so it is not used."),
        ],
    )
    def test_an_odd_time_costs_only_the_time(self, completed, says):
        """A completed bulk stays completed when its time cannot be read, and the evidence says why."""
        status = read(envelope(status="completed", completed=completed))
        assert (status.state, status.finished_at) == (State.SUCCEEDED, None)
        assert len(status.evidence) == (1 if says is None else 2)
        assert says is None or says in status.evidence[1]

    def test_a_completed_bulk_without_a_time(self):
        """A time that is missing altogether is simply not said."""
        assert read(envelope(status="completed")).finished_at is None

    def test_fields_that_do_not_fit_the_status(self):
        """The status decides: a pending bulk with a time and an error is pending, as an old example shows it."""
        status = read(envelope(status="pending", completed="2020-01-01T08:00:00Z", error="The list is full"))
        assert (status.state, status.finished_at, status.error) == (State.QUEUED, None, None)
        assert status.evidence[1:] == (
            "completed is filled in, but the bulk has not ended; it is not used.",
            "error is filled in, but counts only for a failed bulk.",
        )

    @pytest.mark.parametrize("error", ["", None])
    def test_an_empty_error_beside_completed(self, error):
        """An empty error on a completed bulk says nothing."""
        status = read(envelope(status="completed", error=error, error_count=0))
        assert (status.state, status.error, len(status.evidence)) == (State.SUCCEEDED, None, 1)

    @pytest.mark.parametrize(
        ("error", "says"),
        [
            (None, "The provider gave no reason."),
            ("", "The provider gave no reason."),
            ({"code": 7}, "error is not a text, so it is not used."),
            (7, "error is not a text, so it is not used."),
        ],
    )
    def test_a_failure_without_a_readable_reason(self, error, says):
        """A failed bulk stays failed whatever its reason looks like."""
        status = read(envelope(status="failed", error=error))
        assert (status.state, status.error) == (State.FAILED, None)
        assert status.evidence[1:] == (UNSURE, says)

    def test_a_reason_is_made_harmless(self):
        """The provider's text is one printable line of bounded length."""
        status = read(envelope(status="failed", error="full\r\n\x1b[2J" + "x" * 10_000))
        assert status.error.startswith("full\\r\\n\\x1b[2J")
        assert len(status.error) < 600

    def test_operation_id_stands_for_id(self):
        """Some answers name the id as the write call does."""
        body = {"success": True, "result": {"operation_id": ID, "status": "running"}}
        status = read(body)
        assert (status.id, status.state, len(status.evidence)) == (ID, State.RUNNING, 1)

    @pytest.mark.parametrize("id", [None, ""])
    def test_no_id_at_all(self, id):
        """An answer that does not repeat the id is taken for the one that was asked for, and that is said."""
        status = read({"success": True, "result": {"id": id, "status": "running"}})
        assert status.id == ID
        assert "The answer did not repeat the id." in status.evidence

    @pytest.mark.parametrize("name", ["id", "operation_id"])
    @pytest.mark.parametrize("other", ["c04d5e6f718293a4b5c6d7e8f9012345", ID.upper()])
    def test_another_id_is_an_error(self, name, other):
        """An answer about another bulk is refused; ids that differ in case are different ids."""
        with pytest.raises(ProtocolError, match="answered about") as caught:
            read({"success": True, "result": {name: other, "status": "completed"}})
        assert caught.value.reason == "id_mismatch"

    @pytest.mark.parametrize(
        "more",
        [{"messages": [problem(10000, "This API Token is valid and active")]}, {"errors": [problem(1000)]}],
    )
    def test_success_decides(self, more):
        """Entries in errors and messages are no failure while success is true, as in answers of mock servers."""
        assert read({**envelope(status="running"), **more}).state is State.RUNNING

    def test_short_envelopes(self):
        """Messages, errors and success may be absent when there is a result; a missing success is remarked on."""
        status = read({"result": {"id": ID, "status": "completed"}})
        assert status.state is State.SUCCEEDED
        assert "The answer did not say `success`; it was taken by its status." in status.evidence

    def test_the_last_of_two_keys_counts(self):
        """Of a key that comes twice, the last value is read."""
        body = '{"success":true,"result":{"status":"failed","status":"running"}}'
        assert read(body).state is State.RUNNING

    @pytest.mark.parametrize(
        ("body", "says"),
        [
            ("", "not JSON"),
            ("   ", "not JSON"),
            ("<html>maintenance</html>", "not JSON"),
            ('{"success":true,"result":{"status":"compl', "not JSON"),
            ("{} x", "not JSON"),
            (b"\xef\xbb\xbf{}", "not JSON"),
            (b'{"result":{"status":"\xff"}}', "not JSON"),
            ('{"result":{"status":"\\ud800"}}', "not"),
            ("null", "not of the documented type"),
            ("[]", "not of the documented type"),
            ('"completed"', "not of the documented type"),
            ("[" * 1100, "nested deeper"),
            ('{"x":' + "[" * 70 + "]" * 70 + "}", "nested deeper"),
            ({}, r"\$\.result"),
            ({"success": True}, r"\$\.result"),
            ({"success": True, "result": None}, r"\$\.result"),
            ({"success": True, "result": [{"status": "completed"}]}, r"\$\.result"),
            ({"success": True, "result": "completed"}, r"\$\.result"),
            ({"result": {"id": ID}}, r"\$\.success"),
            ({"success": "true", "result": {"status": "completed"}}, r"\$\.success"),
            ({"success": 0, "result": {"status": "completed"}}, r"\$\.success"),
            ({"success": True, "result": {"status": 4}}, r"\$\.result\.status"),
            ({"success": True, "result": {"id": 12345, "status": "completed"}}, r"\$\.result\.id"),
            (
                {"success": True, "result": {"operation_id": [], "status": "running"}},
                r"\$\.result\.operation_id",
            ),
        ],
    )
    def test_what_cannot_be_understood(self, body, says):
        """An answer that is not the documented one is an error worth one more attempt, and never a state."""
        with pytest.raises(ProtocolError, match=says) as caught:
            read(body)
        error = caught.value
        assert (error.reason, error.retryable) == ("bad_payload", True)
        assert error.request_id == "8f1c2d3e4f5a6b7c-FRA"

    @pytest.mark.parametrize("status", [201, 202, 299])
    def test_any_2xx_is_read(self, status):
        """Every status of success is read alike."""
        assert read(envelope(status="pending"), status).state is State.QUEUED

    def test_a_part_of_an_answer_is_none(self):
        """Nobody asked for a part, so 206 is not believed."""
        with pytest.raises(ProtocolError) as caught:
            read(envelope(status="completed"), 206)
        assert (caught.value.reason, caught.value.retryable) == ("protocol", True)

    def test_an_empty_204(self):
        """No content is no answer."""
        with pytest.raises(ProtocolError, match="not JSON"):
            read("", 204)


class TestErrors:
    @pytest.mark.parametrize(
        ("code", "status", "kind"),
        [
            (10000, 403, AuthError),
            (10000, 400, AuthError),
            (10000, 200, AuthError),
            (10001, 400, AuthError),
            (1000, 401, AuthError),
            (1001, 400, AuthError),
            (9106, 400, AuthError),
            (9109, 403, AuthError),
            (9300, 400, AuthError),
            (6003, 400, AuthError),
            (6111, 400, AuthError),
            (6103, 400, AuthError),
            (6102, 400, AuthError),
            (7003, 400, NotFound),
            (7003, 404, NotFound),
            (7000, 400, RequestRejected),
            (7000, 404, RequestRejected),
            (7000, 200, RequestRejected),
            (971, 429, RateLimited),
            (10100, 429, RateLimited),
            (10040, 429, RateLimited),
            (10040, 200, RateLimited),
            (10021, 429, RateLimited),
            ("10000", 403, AuthError),
        ],
    )
    def test_known_codes(self, code, status, kind):
        """A known code decides, whatever the HTTP status is."""
        with pytest.raises(kind) as caught:
            read(refusal(problem(code, "their words")), status)
        error = caught.value
        assert (error.status, error.code, error.detail) == (status, str(code), "their words")
        assert error.request_id == "8f1c2d3e4f5a6b7c-FRA"
        assert error.retryable is (kind is RateLimited)

    @pytest.mark.parametrize(
        ("status", "kind"),
        [
            (400, RequestRejected),
            (401, AuthError),
            (408, Unavailable),
            (409, RequestRejected),
            (422, RequestRejected),
            (429, RateLimited),
            (500, Unavailable),
            (503, Unavailable),
            (520, Unavailable),
            (529, Unavailable),
            (302, ProtocolError),
            (304, ProtocolError),
            (999, ProtocolError),
        ],
    )
    @pytest.mark.parametrize(
        "body",
        ["", "upstream error\nsecond line", refusal(problem(10026, "unheard of")), refusal(), {}, "[]"],
    )
    def test_the_status_where_no_code_is_known(self, body, status, kind):
        """Without a known code the HTTP status decides, with any body or none."""
        with pytest.raises(kind) as caught:
            read(body, status)
        assert caught.value.status == status
        assert caught.value.request_id == "8f1c2d3e4f5a6b7c-FRA"
        assert "second line" not in str(caught.value)

    @pytest.mark.parametrize("status", [500, 502, 503])
    def test_an_outage_knows_nothing_of_bulks(self, status):
        """The code for an id that is not there, under a status that says that Cloudflare cannot answer, is an outage."""
        with pytest.raises(Unavailable):
            read(refusal(problem(7003, "their words")), status)

    @pytest.mark.parametrize(("status", "kind"), [(404, NotFound), (410, NotFound), (403, AuthError)])
    @pytest.mark.parametrize("body", [refusal(problem(10026, "unheard of")), refusal()])
    def test_what_is_missing_or_forbidden_is_said_in_the_envelope(self, body, status, kind):
        """Cloudflare's own word has `success` in it."""
        with pytest.raises(kind):
            read(body, status)

    @pytest.mark.parametrize("status", [404, 410])
    @pytest.mark.parametrize(
        "body", ["", "upstream error", {}, "[]", {"message": "Not Found"}, {"success": True, "result": None}]
    )
    def test_what_others_say_is_no_word_about_a_bulk(self, body, status):
        """A gateway's 404, in JSON or not, does not say that there is no such bulk."""
        with pytest.raises(Unavailable) as caught:
            read(body, status)
        assert (caught.value.reason, caught.value.status) == ("edge", status)

    @pytest.mark.parametrize("body", ["error code: 1020", "[]", "<html>"])
    def test_a_403_that_is_no_json_object_is_of_the_edge(self, body):
        """It says nothing about the credentials."""
        with pytest.raises(Unavailable) as caught:
            read(body, 403)
        assert caught.value.reason == "edge"

    @pytest.mark.parametrize(
        "errors",
        [
            None,
            [],
            {},
            "words",
            [None],
            ["words"],
            [{}],
            [{"code": None, "message": None}],
            [{"error_chain": 5}],
        ],
    )
    def test_errors_in_any_shape(self, errors):
        """Entries that are missing or odd leave the class to the status and the detail unsaid."""
        with pytest.raises(RequestRejected) as caught:
            read(refusal(errors=errors), 400)
        assert (caught.value.code, caught.value.detail) == (None, None)

    def test_errors_absent(self):
        """An envelope that says only that it failed is a failure."""
        with pytest.raises(AuthError):
            read({"success": False}, 403)

    def test_an_unknown_failure_in_a_200(self):
        """An error under a good status is an error, never a state, and worth another attempt."""
        body = {**envelope(status="completed"), "success": False, "errors": [problem(5, "busy")]}
        with pytest.raises(RequestRejected, match="status that means success") as caught:
            read(body)
        assert (caught.value.code, caught.value.detail, caught.value.retryable) == ("5", "busy", True)

    def test_success_in_a_bad_status(self):
        """A result under an HTTP error is not read."""
        with pytest.raises(Unavailable):
            read(envelope(status="completed"), 500)

    def test_any_code_counts(self):
        """A known code behind unknown ones decides, and `code` is the first one."""
        with pytest.raises(AuthError) as caught:
            read(refusal(problem(1, "one"), problem(10000, "two")), 500)
        assert (caught.value.code, caught.value.detail) == ("1", "one; two")

    def test_the_chain_is_read(self):
        """The entries of error_chain count like the others and are part of the detail."""
        chain = [problem(6103, "bad key"), problem(6102, "bad email")]
        body = refusal({**problem(6003, "Invalid request headers"), "error_chain": chain})
        with pytest.raises(AuthError, match="cannot read the credentials") as caught:
            read(body, 400)
        assert (caught.value.code, caught.value.detail) == (
            "6003",
            "Invalid request headers; bad key; bad email",
        )
        with pytest.raises(AuthError):
            read(refusal({"message": "outer", "error_chain": [problem(6111)]}), 400)

    def test_10000_names_its_causes(self):
        """The code with three causes has a message that names all three."""
        with pytest.raises(AuthError) as caught:
            read({"success": False, "errors": [problem(10000, "Authentication error")]}, 403)
        for cause in ("token", "Account Filter Lists Read", "account_id"):
            assert cause in caught.value.message

    @pytest.mark.parametrize(
        ("settings", "hint"),
        [
            ({}, None),
            ({"token": GLOBAL_KEY}, "token looks like a global key"),
            ({"token": "cfk_abc"}, "token looks like a global key"),
            ({"token": "cfut_" + "a" * 40}, None),
            ({"token": Secret(lambda: TOKEN, "token")}, None),
            (
                {"token": None, "email": "ops@example.com", "api_key": "cfut_abc"},
                "api_key looks like an API token",
            ),
            ({"token": None, "email": "ops@example.com", "api_key": GLOBAL_KEY}, None),
        ],
    )
    def test_a_hint_on_mixed_up_credentials(self, settings, hint):
        """A malformed credential that looks like the other kind gets a hint, which does not hold it."""
        adapter = cloudflare(**settings)
        with pytest.raises(AuthError) as caught:
            read(refusal(problem(6003)), 400, adapter=adapter)
        expected = "the provider cannot read the credentials" + (f"; {hint}" if hint else "")
        assert caught.value.message.partition(",")[0] == expected
        for secret in filter(None, (settings.get("token"), settings.get("api_key"))):
            assert str(secret) not in str(caught.value)

    @pytest.mark.parametrize("quoted", [f'"{TOKEN}', f"{TOKEN}'"])
    def test_a_hint_on_quotes_in_a_fetched_token(self, quoted):
        """Quotes around a token that was fetched later are named when Cloudflare refuses it."""
        adapter = cloudflare(token=lambda: quoted)
        adapter.auth().headers()
        with pytest.raises(AuthError, match="token is wrapped in quotation marks") as caught:
            read(refusal(problem(6003)), 400, adapter=adapter)
        assert TOKEN not in str(caught.value)
        assert TOKEN.encode() not in pickle.dumps(caught.value)

    @pytest.mark.parametrize("code", [10001, 9106, 9109])
    def test_other_codes_with_words_of_their_own(self, code):
        """Codes with a known cause say more than that something was refused."""
        with pytest.raises(AuthError) as caught:
            read(refusal(problem(code)), 400)
        assert caught.value.message != "the credentials were not accepted"

    @pytest.mark.parametrize(
        ("headers", "wait"),
        [
            ({}, None),
            ({"Retry-After": "37"}, 37),
            ({"Retry-After": "37", "Ratelimit": '"default";r=0;t=5'}, 37),
            ({"Retry-After": "soon", "Ratelimit": '"default";r=0;t=30'}, 30),
            ({"Ratelimit": '"default";r=0;t=30, "burst";r=0;t=4'}, 30),
            ({"Ratelimit": '"default";r=0;t=200, "burst";r=9;t=4'}, 200),
            ({"Ratelimit": "nonsense"}, None),
        ],
    )
    @pytest.mark.parametrize(
        ("status", "body"),
        [
            (429, refusal(problem(971))),
            (200, refusal(problem(10040))),
            (429, "<html>slow down</html>"),
            (429, ""),
        ],
    )
    def test_the_pause_that_is_asked_for(self, status, body, headers, wait):
        """Retry-After counts; without one, the header that tells when requests are free again."""
        with pytest.raises(RateLimited) as caught:
            read(body, status, headers)
        assert caught.value.retry_after == wait
        assert caught.value.status == status

    def test_the_limits_of_other_answers_are_no_pause(self):
        """Every answer has a Ratelimit header; only throttling makes it a pause."""
        with pytest.raises(Unavailable) as caught:
            read("", 503, {"Ratelimit": '"default";r=900;t=250'})
        assert caught.value.retry_after is None

    def test_retry_after_of_an_outage(self):
        """An outage may ask for a pause as well."""
        with pytest.raises(Unavailable) as caught:
            read("", 503, {"Retry-After": "12"})
        assert caught.value.retry_after == 12

    @pytest.mark.parametrize(
        ("told", "policy", "left"),
        [
            ('"default";r=900;t=250', '"default";q=1200;w=300', Remaining(900, 1200, 250)),
            ('"default";r=900;t=250', "", Remaining(900, 1200, 250)),
            ('"default";r=0;t=30', '"default";q=1200;w=300', Remaining(0, 1200, 30)),
            (
                '"default";r=90;t=250, "burst";r=5;t=2',
                '"default";q=1200;w=300, "burst";q=40;w=5',
                Remaining(5, 40, 2),
            ),
            ('"default";r=900', '"default";q=1200;w=300', None),
            ('"default";t=250', "", None),
            ('"default";r=many;t=250', "", None),
            ("nonsense", "nonsense", None),
            ("", '"default";q=1200;w=300', None),
        ],
    )
    def test_what_is_left_is_read_from_every_answer(self, told, policy, left):
        """Of several policies the one with the fewest requests; nothing where the header does not say."""
        headers = {"ratelimit": told, "ratelimit-policy": policy}
        adapter = cloudflare()
        assert isinstance(adapter, Metered)
        for status in (200, 404, 503):
            assert adapter.remaining(Response.now(status, b"", headers)) == left
        assert adapter.remaining(Response.now(200)) is None

    @given(told=st.text(max_size=80), policy=st.text(max_size=80))
    def test_no_header_hurts_an_answer(self, told, policy):
        """Whatever stands in it."""
        headers = {"ratelimit": told, "ratelimit-policy": policy}
        found = cloudflare().remaining(Response.now(200, b"", headers))
        assert found is None or isinstance(found, Remaining)

    @pytest.mark.parametrize(
        ("body", "detail"),
        [
            ("", None),
            ("<!DOCTYPE html>\n<title>502</title>", None),
            ("\n error code: 1015 \nmore", "error code: 1015"),
            (b"\xff\x1b[31mred", "�\\x1b[31mred"),
            ("x" * 100_000, "x" * 511 + "…"),
        ],
    )
    def test_bodies_that_are_not_json(self, body, detail):
        """The first line of a plain body is the detail, printable and bounded; HTML says nothing."""
        with pytest.raises(Unavailable) as caught:
            read(body, 502, {"content-type": "text/plain"})
        assert caught.value.detail == detail

    def test_a_challenge_of_the_edge(self):
        """A 403 in HTML is the network edge, which may let the next request pass."""
        with pytest.raises(Unavailable) as caught:
            read("<html>Attention Required!</html>", 403, {"content-type": "text/html; charset=UTF-8"})
        assert (caught.value.reason, caught.value.retryable) == ("edge", True)

    def test_no_ray(self):
        """Without cf-ray there is no request id."""
        with pytest.raises(Unavailable) as caught:
            cloudflare().status(ID).read(Response.now(500))
        assert caught.value.request_id is None

    def test_a_hostile_ray(self):
        """The header is made printable and bounded like all other text."""
        with pytest.raises(ProtocolError) as caught:
            read("", 200, {"cf-ray": "\x1b[31m" + "x" * 1000})
        assert caught.value.request_id.startswith("\\x1b[31m")
        assert len(caught.value.request_id) < 140


class TestProbe:
    def test_not_found_means_accepted(self):
        """The probe asks for a bulk that nobody has; that it is not found shows that the credentials work."""
        call = cloudflare().probe()
        assert call.request.path.endswith("/bulk_operations/" + "0" * 32)
        assert call.read(reply(refusal(problem(7003)), 404)) is None
        assert call.read(reply(refusal(), 404)) is None

    def test_an_address_that_leads_nowhere_is_not_accepted(self):
        """As with a wrong base_url: no bulk was looked for, so that none was found proves nothing."""
        nowhere = reply(refusal(problem(7003), problem(7000)), 400)
        with pytest.raises(RequestRejected, match="check base_url"):
            cloudflare().probe().read(nowhere)
        with pytest.raises(RequestRejected, match="check base_url"):
            cloudflare().status(ID).read(nowhere)

    def test_an_answer_means_accepted(self):
        """A status for such an id would be as good."""
        body = {"success": True, "result": {"status": "pending"}}
        assert cloudflare().probe().read(reply(body)) is None

    @pytest.mark.parametrize(
        ("body", "status", "kind"),
        [
            (refusal(problem(10000)), 403, AuthError),
            (refusal(problem(971)), 429, RateLimited),
            ("", 503, Unavailable),
            ("<html>not here</html>", 404, Unavailable),
            ("", 404, Unavailable),
        ],
    )
    def test_everything_else_is_an_error(self, body, status, kind):
        """A refusal, an outage and a 404 that is not from the API do not pass for accepted credentials."""
        with pytest.raises(kind):
            cloudflare().probe().read(reply(body, status))


class TestWire:
    @pytest.mark.parametrize(
        ("entry", "fault"),
        [
            (problem(7003, "words"), Fault(7003, "words")),
            ({"code": "7003"}, Fault(7003, "")),
            ({"code": True, "message": 5}, Fault(None, "")),
            ({"code": 10.5}, Fault(None, "")),
            ({"code": "7" * 5000}, Fault(None, "")),
            ({"code": "seven"}, Fault(None, "")),
        ],
    )
    def test_entries(self, entry, fault):
        """Codes are integers or digits, and what is odd is left out."""
        assert list(read_faults([entry])) == [fault]

    @pytest.mark.parametrize(
        ("header", "seconds"),
        [
            ("", None),
            ('"default";r=50;t=30', 30),
            ('"default"; r=50 ; t=30', 30),
            ('"default";T=30', 30),
            ('"a";r=5;t=9,"b";r=3;t=7', 7),
            ('"a";r=0;t=9,"b";r=3;t=7', 9),
            ('"a,b";r=0;t=9', 9),
            ("t=5", 5),
            ('"a";t=-1', None),
            ('"a";t=1.5', None),
            ('"a";t=inf', None),
            ('"a";t=' + "9" * 400, None),
            ('"a";t', None),
            (";;;,,,===", None),
            ("x" * 100_000, None),
        ],
    )
    def test_the_ratelimit_header(self, header, seconds):
        """The policy that is used up tells the pause; whatever cannot be read is left out."""
        assert seconds_to_reset(header) == seconds
