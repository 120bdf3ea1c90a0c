"""Requests, replies, calls and pages."""

from datetime import UTC, datetime

import msgspec
import pytest

from bulkstatus._call import MIB, Call, ListQuery, OperationQuery, Page, RawRows, Request, Response
from bulkstatus._secrets import Secret
from bulkstatus.errors import ConfigError

BASE = "https://api.example.com/v4"


class TestRequest:
    """What an adapter wants sent."""

    def test_a_path_without_a_form_is_a_get(self):
        """Nothing but the address is needed."""
        request = Request.to(BASE, "bulks", "42")
        assert (request.method, request.base_url, request.path) == ("GET", BASE, "/bulks/42")
        assert (request.query, request.headers, request.form) == ((), (), None)
        assert request.body_limit == 8 * MIB == 8 * 1024 * 1024

    def test_a_form_makes_a_post(self):
        """An empty form is a form."""
        assert Request.to(BASE, "token", form={"a": "b"}).method == "POST"
        assert Request.to(BASE, "token", form={}).method == "POST"
        assert Request.to(BASE, "token", form={"a": "b", "c": "d"}).form == (("a", "b"), ("c", "d"))

    def test_each_segment_is_encoded_as_one(self):
        """A segment cannot become two, nor a query."""
        assert Request.to(BASE, "a/b", "c?d").path == "/a%2Fb/c%3Fd"

    @pytest.mark.parametrize("segment", ["", ".", ".."])
    def test_a_segment_that_moves_the_path_is_refused(self, segment):
        """The error comes before there is a request."""
        with pytest.raises(ConfigError):
            Request.to(BASE, "bulks", segment)

    def test_query_values_of_none_are_left_out(self):
        """Numbers are written out, order is kept, 0 and the empty text are values."""
        query = {"limit": 100, "state": None, "offset": 0, "q": ""}
        assert Request.to(BASE, "bulks", query=query).query == (("limit", "100"), ("offset", "0"), ("q", ""))

    @pytest.mark.parametrize("value", ["", " a", "a ", "a\nb", "a\r\nX: y", "\t", "é", "x" * 1025])
    def test_a_header_is_what_can_be_sent(self, value):
        """Nothing can be slipped in behind it; one of None is left out."""
        with pytest.raises(ConfigError, match="X-Project"):
            Request.to(BASE, "x", headers={"X-Project": value})
        assert Request.to(BASE, "x", headers={"X-Project": None, "Y": "a b"}).headers == (("Y", "a b"),)

    def test_headers_and_limit_are_kept(self):
        """They are handed on as given."""
        request = Request.to(BASE, "x", headers={"programme-id": "7"}, body_limit=64 * MIB)
        assert (request.headers, request.body_limit) == ((("programme-id", "7"),), 64 * MIB)

    def test_secrets_in_a_form_do_not_show(self):
        """A request can be logged."""
        request = Request.to(BASE, "token", form={"client_secret": Secret("S3CR3T-canary")})
        assert "S3CR3T" not in repr(request)
        with pytest.raises(TypeError):
            msgspec.json.encode(request)

    def test_it_cannot_be_changed(self):
        """A request is a value."""
        with pytest.raises(AttributeError):
            Request.to(BASE, "x").path = "/y"


class TestResponse:
    """A reply as it arrived."""

    def test_now_makes_a_reply_received_at_this_moment(self):
        """Header names are lower-case, text becomes bytes, the time is aware and in UTC."""
        before = datetime.now(UTC)
        response = Response.now(404, "\xe9", {"X-Request-ID": "A"}, source="edge", provider="cloudflare")
        assert (response.status, response.body, response.headers) == (404, b"\xc3\xa9", {"x-request-id": "A"})
        assert (response.source, response.provider) == ("edge", "cloudflare")
        assert before <= response.received_at <= datetime.now(UTC)
        assert response.received_at.tzinfo is UTC

    def test_now_needs_nothing(self):
        """The shortest reply is an empty 200."""
        response = Response.now()
        assert (response.status, response.body, response.headers) == (200, b"", {})
        assert Response.now(200, b"\xff").body == b"\xff"


class TestPage:
    """One page of a listing."""

    def test_a_page_without_a_way_on_is_the_last(self):
        """Only the items are required."""
        page = Page(items=(1, 2))
        assert (page.items, page.next, page.cursor, page.at, page.total) == ((1, 2), None, None, None, None)
        assert (page.offset, page.received, page.moving) == (0, 0, False)

    def test_a_call_is_a_request_and_its_reader(self):
        """Reading is a plain function of the reply."""
        call = Call(Request.to(BASE, "x"), lambda response: response.status)
        assert call.read(Response.now(204)) == 204


class TestRawRows:
    """Records of a page as received."""

    def test_a_body_is_cut_up_once_and_only_when_asked_for(self):
        """Making row functions costs nothing; reading any number of rows splits the body once."""
        bodies = []
        decoder = msgspec.json.Decoder(list[msgspec.Raw])

        def split(body):
            bodies.append(body)
            return decoder.decode(body)

        body = b'[{"id": 1,  "x": [1]}, {"id":2}]'
        rows = RawRows(body, split)
        first, second = rows.row(0), rows.row(1)
        assert bodies == []
        assert second() == b'{"id":2}'
        assert first() == b'{"id": 1,  "x": [1]}'
        assert first() == first()
        assert type(first()) is bytes
        assert bodies == [body]


class TestQueries:
    """What listings are asked for."""

    def test_by_default_everything_is_asked_for(self):
        """None is all."""
        assert ListQuery().states is None
        assert (OperationQuery().states, OperationQuery().sequence) == (None, None)

    @pytest.mark.parametrize("sequence", [0, 1, 10**9])
    def test_a_position_may_be_zero(self, sequence):
        """Providers count from 0 or from 1."""
        assert OperationQuery(sequence=sequence).sequence == sequence

    def test_a_negative_position_is_a_config_error(self):
        """The error shows the number."""
        with pytest.raises(ConfigError, match="-1"):
            OperationQuery(sequence=-1)
