"""Reading replies."""

import json
import math
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkstatus._call import Response
from bulkstatus._reply import (
    bad_shape,
    decode,
    retry_after,
    says_missing,
    status_error,
    whole_seconds,
    wrong_id,
)
from bulkstatus.errors import (
    AuthError,
    NotFound,
    ProtocolError,
    RateLimited,
    RequestRejected,
    Unavailable,
)

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class Row(msgspec.Struct):
    """A record with one required field."""

    id: str
    status: str = ""
    count: int | None = None


class Strict(msgspec.Struct, forbid_unknown_fields=True):
    """A record that lists its fields."""

    kind: Literal["a", "b"] = "a"


ROW = msgspec.json.Decoder(Row).decode
ROWS = msgspec.json.Decoder(list[Row]).decode
STRICT = msgspec.json.Decoder(Strict).decode
KINDS = msgspec.json.Decoder(Literal["a", "b"]).decode
ANYTHING = msgspec.json.Decoder().decode
RAW = msgspec.json.Decoder(list[msgspec.Raw]).decode
DECODERS = (ROW, ROWS, STRICT, KINDS, ANYTHING, RAW, msgspec.json.Decoder(dict[str, int]).decode)


def refused(body, decoder=ROW, **options) -> ProtocolError:
    """The error that reading `body` gives."""
    with pytest.raises(ProtocolError) as caught:
        decode(Response.now(200, body, **options), decoder)
    assert caught.value.reason == "bad_payload"
    assert caught.value.retryable
    assert caught.value.status == 200
    assert str(caught.value).isprintable()
    return caught.value


def shown(value):
    """A name for a parameter."""
    return ascii(value)[:40]


class TestDecode:
    """JSON within bounds."""

    def test_an_answer_is_decoded(self):
        """What the decoder makes of the body is returned."""
        assert decode(Response.now(200, '{"id":"1"}'), ROW) == Row("1")

    def test_unknown_fields_are_ignored(self):
        """A provider may add fields."""
        assert decode(Response.now(200, '{"new":[{}],"id":"1"}'), ROW) == Row("1")

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"   ",
            b'{"id":"a',
            b'{"id":"1"} x',
            b'{"id":"1"} {"id":"2"}',
            b'\xef\xbb\xbf{"id":"1"}',
            '{"id":"1"}'.encode("utf-16"),
            '{"id":"1"}'.encode("utf-16-le"),
            b'{"id":"\xff"}',
            b'{"id":"a\x1b[31m"}',
            b'{"id":"\\ud800"}',
            b'{"id":"\\udc00x"}',
            b'{"id":"1","count":NaN}',
            b'{"id":"1","count":Infinity}',
            b'{"id":"1","count":01}',
            b"{'id':'1'}",
            b'{"id":"1",}',
            b"<html><body>Sign in</body></html>",
            b"\x1f\x8b\x08\x00",
            b"\x00",
            b"<" * 1_000_000,
        ],
        ids=shown,
    )
    def test_what_is_not_json_is_a_protocol_error(self, body):
        """Cut, doubled, wrongly encoded or no JSON at all: worth one more attempt, and never a crash."""
        error = refused(body)
        assert "not JSON" in str(error)
        assert f"{len(body)} bytes" in str(error)

    def test_the_content_type_is_named(self):
        """A login page instead of JSON is told by its content type, in one harmless line."""
        assert "text/html" in str(refused(b"<html>", headers={"Content-Type": "text/html; charset=utf-8"}))
        assert "no content type" in str(refused(b"<html>"))
        refused(b"<html>", headers={"Content-Type": "text/\x1b[31mhtml\u202e"})
        assert len(str(refused(b"<html>", headers={"Content-Type": "x" * 100_000}))) < 300

    @pytest.mark.parametrize("body", [b"null", b"[]", b'"str"', b"42", b"true"])
    def test_another_type_at_the_top_is_a_protocol_error(self, body):
        """An object is an object."""
        assert "$" in str(refused(body))

    @pytest.mark.parametrize(
        ("body", "place"),
        [
            (b'{"id":null}', "`$.id`"),
            (b'{"id":12345}', "`$.id`"),
            (b'{"id":["S3CR3T"]}', "`$.id`"),
            (b'{"id":"1","status":{"S3CR3T":1}}', "`$.status`"),
            (b'{"id":"1","count":1e2}', "`$.count`"),
            (b'{"id":"1","count":1.0}', "`$.count`"),
            (b'{"id":"1","count":"1"}', "`$.count`"),
            (b'{"id":"1","count":true}', "`$.count`"),
        ],
    )
    def test_a_field_of_another_type_is_named(self, body, place):
        """The error says where, not what was there."""
        error = refused(body)
        assert place in str(error)
        assert "S3CR3T" not in str(error)

    def test_a_missing_field_is_named(self):
        """A record without its id says that the id is what is wrong, and which record it is."""
        assert "`$[1].id`" in str(refused(b'[{"id":"1"},{}]', ROWS))
        assert "id" in str(refused(b"{}")).partition("not understood")[2]

    @pytest.mark.parametrize(
        "body", [b'{"id":"1","count":1e999}', b'{"id":"1","count":' + b"9" * 5_000 + b"}"], ids=shown
    )
    def test_a_number_beyond_all_bounds_is_a_protocol_error(self, body):
        """Infinity by exponent, and five thousand digits."""
        refused(body)

    @pytest.mark.parametrize(
        ("number", "count"), [(b"-0", 0), (b"0", 0), (b"-1", -1), (b"9223372036854775808", 2**63)]
    )
    def test_odd_numbers_are_numbers(self, number, count):
        """Minus zero is zero, and 2**63 is read; whether it can be is for others to say."""
        assert decode(Response.now(200, b'{"id":"1","count":' + number + b"}"), ROW).count == count

    @pytest.mark.parametrize(
        ("body", "row"),
        [
            (b'{"id":"1","status":"failed","status":"completed"}', Row("1", "completed")),
            (b'{"id":"\\u0000"}', Row("\x00")),
            (b'{"id":"1","status":"\\u001b[31msecret"}', Row("1", "\x1b[31msecret")),
            (b'{"id":"\\ud83c\\udf89"}', Row("\U0001f389")),
            (b' \r\n\t{"id":"1"}\n ', Row("1")),
        ],
    )
    def test_odd_but_legal_json_is_read(self, body, row):
        """Of doubled keys the last counts, and escaped control characters are data."""
        assert decode(Response.now(200, body), ROW) == row

    def test_bytes_that_are_no_text_in_a_key_are_ignored_with_it(self):
        """The required fields decide."""
        assert decode(Response.now(200, b'{"\xff":1,"id":"1"}'), ROW) == Row("1")
        refused(b'{"\xff":1}')

    @pytest.mark.parametrize(
        ("body", "decoder"),
        [
            (b'{"kind":"S3CR3T"}', STRICT),
            (b'{"kind":"x - at `S3CR3T`"}', STRICT),
            (b'{"S3CR3T":1}', STRICT),
            (b'{"x - at `S3CR3T`":1}', STRICT),
            (b'"S3CR3T"', KINDS),
            (b'"x - at S3CR3T"', KINDS),
            (b'{"a - at `S3CR3T`":"x"}', msgspec.json.Decoder(dict[str, int]).decode),
            (b'{"S3CR3T":"x"}', msgspec.json.Decoder(dict[str, int]).decode),
        ],
    )
    def test_no_value_or_name_of_the_provider_is_repeated(self, body, decoder):
        """Decoders that quote what they refuse do not get their words into the error."""
        error = refused(body, decoder)
        assert "S3CR3T" not in str(error)
        assert error.__cause__ is None
        assert error.__suppress_context__

    def test_what_follows_the_json_is_refused_too(self):
        """`{} x` is no answer, whatever the decoder asks for."""
        for decoder in DECODERS:
            refused(b"{} x", decoder)

    def test_a_stack_that_ends_is_a_protocol_error(self):
        """RecursionError is an answer that was not understood, like any other."""

        def endless(body: bytes) -> Any:
            raise RecursionError

        refused(b"{}", endless)

    @given(st.sampled_from(DECODERS), st.binary() | st.text().map(str.encode))
    def test_any_bytes_decode_or_are_a_protocol_error(self, decoder, body):
        """Nothing else is ever raised."""
        try:
            decode(Response.now(200, body), decoder)
        except ProtocolError as error:
            assert str(error).isprintable()  # noqa: PT017 - decoding is as right

    @given(
        st.sampled_from(DECODERS),
        st.lists(
            st.sampled_from([b"[", b"]", b"{", b"}", b'"', b"\\", b":", b",", b"1", b"a", b"\xff", b"1e999"])
        ).map(b"".join),
        st.integers(0, 80),
    )
    def test_any_heap_of_brackets_decodes_or_is_a_protocol_error(self, decoder, middle, depth):
        """Brackets that close nothing, quotes that never end and endless nesting included."""
        try:
            decode(Response.now(200, b"[" * depth + middle + b"]" * depth), decoder)
        except ProtocolError as error:
            assert error.reason == "bad_payload"  # noqa: PT017 - decoding is as right


def depth_of(value: object) -> int:
    """How deep a value is nested."""
    if isinstance(value, dict):
        return 1 + max(map(depth_of, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(depth_of, value), default=0)
    return 0


tricky = st.text(st.sampled_from('[]{}"\\/a\n\u00e9\U0001f389'), max_size=8)
documents = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | tricky,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(tricky, inner, max_size=4),
    max_leaves=12,
)


class TestDepth:
    """Nesting, bounded at 64 levels."""

    @pytest.mark.parametrize(
        "body",
        [
            b"[" * 1_100,
            b'{"a":' * 100_000,
            b"[" * 100_000 + b"]" * 100_000,
            b"[{" * 1_000_000,
            b"}" * 1_000,
            b'"' + b"[" * 1_000,
        ],
        ids=shown,
    )
    def test_a_bomb_is_a_protocol_error(self, body):
        """Brackets without end do not crash anything."""
        for decoder in (ROW, ANYTHING, RAW):
            refused(body, decoder)

    @pytest.mark.parametrize(
        "opened", [("[", "]"), ('{"a":', "}"), ('[{"a":', "}]")], ids=lambda pair: pair[0]
    )
    def test_64_levels_are_read_and_65_are_not(self, opened):
        """The bound is exact, for lists, objects and mixtures."""
        levels = len(opened[1])
        for depth, fits in ((64 // levels * levels, True), ((64 // levels + 1) * levels, False)):
            body = opened[0] * (depth // levels) + "1" + opened[1] * (depth // levels)
            assert depth_of(json.loads(body)) == depth
            if fits:
                assert decode(Response.now(200, body), ANYTHING) == json.loads(body)
            else:
                assert "64 levels" in str(refused(body, ANYTHING))

    def test_the_bound_holds_in_fields_that_nobody_reads(self):
        """Depth 65 inside an ignored field is depth 65."""
        for inner, fits in ((63, True), (64, False)):
            body = '{"id":"1","ignored":' + "[" * inner + "]" * inner + "}"
            if fits:
                assert decode(Response.now(200, body), ROW) == Row("1")
            else:
                refused(body)

    @pytest.mark.parametrize(
        "text",
        [
            "[" * 500,
            "{" * 500,
            '"' + "[" * 500,
            "\\" + "[" * 500,
            '\\"' + "{" * 500,
            "[\\" * 500,
            '["' * 500,
            "\\\\" * 500 + "[",
        ],
    )
    def test_brackets_inside_strings_are_text(self, text):
        """A path or a regular expression in a value is not nesting, however it is quoted and escaped."""
        body = json.dumps({"id": text, text: [text, text], "a": [text] * 3})
        assert decode(Response.now(200, body), ROW) == Row(text)

    def test_many_shallow_records_are_not_deep(self):
        """Ten thousand records side by side are a listing."""
        rows = [{"id": str(number), "tags": [[], {}]} for number in range(10_000)]
        assert len(decode(Response.now(200, json.dumps(rows)), ROWS)) == 10_000

    @given(
        documents,
        st.sampled_from((64, 65)),
        st.lists(st.booleans(), min_size=65, max_size=65),
        tricky,
        st.booleans(),
    )
    def test_the_bound_is_exact_whatever_stands_around(self, inner, depth, kinds, word, ascii_only):
        """Quotes, backslashes and brackets in keys and values neither hide a level nor add one."""
        value = inner
        for as_list in kinds:
            if depth_of(value) == depth:
                break
            value = [word, value, word] if as_list else {word: word, f"{word}x": value, f"{word}y": []}
        assert depth_of(value) == depth
        response = Response.now(200, json.dumps(value, ensure_ascii=ascii_only))
        if depth == 64:
            assert decode(response, ANYTHING) == value
        else:
            with pytest.raises(ProtocolError, match="64 levels"):
                decode(response, ANYTHING)

    @given(documents)
    def test_shallow_documents_are_read(self, value):
        """What fits decodes to what was written."""
        body = json.dumps([value, "[" * 70])
        assert decode(Response.now(200, body), ANYTHING) == [value, "[" * 70]


class TestOwnErrors:
    """Errors for JSON that decodes and is no answer."""

    def test_a_bad_shape_is_a_bad_payload(self):
        """It says why, and one more attempt may help."""
        error = bad_shape(Response.now(200), "it holds no result")
        assert isinstance(error, ProtocolError)
        assert (error.reason, error.status, error.retryable) == ("bad_payload", 200, True)
        assert "it holds no result" in str(error)

    def test_an_answer_about_another_bulk_is_a_protocol_error(self):
        """Nothing is concluded from it; both ids are named, the provider's cut and printable."""
        error = wrong_id(Response.now(200), asked="42", got="43")
        assert isinstance(error, ProtocolError)
        assert error.reason == "id_mismatch"
        assert "42" in str(error)
        assert "43" in str(error)
        assert len(str(wrong_id(Response.now(200), asked="42", got="4" * 100_000))) < 300
        assert str(wrong_id(Response.now(200), asked="42", got=43)) == str(error)

    @pytest.mark.parametrize("got", [None, ""])
    def test_an_answer_about_no_bulk_is_none(self, got):
        """Without an id it is no answer, and the provider is worth asking again."""
        error = wrong_id(Response.now(200), asked="42", got=got)
        assert (error.reason, error.retryable) == ("bad_payload", True)
        assert "a record without an id" in str(error)

    def test_the_other_id_is_made_printable(self):
        """An id is the provider's text, and reaches no terminal raw."""
        assert str(wrong_id(Response.now(200), asked="42", got="\x1b[2J\u202e43\n")).isprintable()


class TestRetryAfter:
    """The header of RFC 9110, 10.2.3."""

    @pytest.mark.parametrize(
        ("value", "seconds"),
        [
            ("0", 0.0),
            ("5", 5.0),
            (" 5 ", 5.0),
            ("\t5", 5.0),
            ("007", 7.0),
            ("86400", 86400.0),
            ("999999999", 999999999.0),
            ("5, 10", 10.0),
            ("10,5", 10.0),
            ("10, 10", 10.0),
        ],
    )
    def test_whole_seconds(self, value, seconds):
        """ASCII digits, nine at most; of several headers the largest."""
        assert retry_after({"retry-after": value}, now=NOW) == seconds

    @pytest.mark.parametrize(
        "value",
        [
            "",
            "   ",
            "abc",
            "-1",
            "1.5",
            "1e3",
            "inf",
            "nan",
            "+5",
            "\u0665",
            "\u00b2",
            "\uff15",
            "9" * 400,
            "9" * 10,
            "1_000",
            "0x10",
            "5s",
            "5;",
            "5,",
            ",",
            "5, abc",
            "5 10",
            "2026-01-02T03:05:05Z",
            "Fri, 02 Jan 2026 03:05:05",
            "Fri, 02 Jan 2026 03:05:05 EST",
            "Fri, 02 Jan 2026 03:05:05 +0100",
            "Wed, 99 Oct 2015 07:28:00 GMT",
            "Wed, 21 Xxx 2015 07:28:00 GMT",
            "Wed, 21 Oct 2015 25:28:00 GMT",
            "Wednesday, 21-Oct-15 07:28:00 GMT",
            "Wed Oct 21 07:28:00 2015",
            "Fri, 02 Jan 2026 03:05:05 GMT, 5",
            "\x1b[31m",
        ],
        ids=shown,
    )
    def test_anything_else_is_ignored(self, value):
        """No float, no other digits, no other date: as if the header were not there."""
        assert retry_after({"retry-after": value}, now=NOW) is None

    def test_without_the_header_nothing_is_asked_for(self):
        """None is not 0."""
        assert retry_after({}, now=NOW) is None

    def test_a_date_is_measured_against_the_replys_own_date(self):
        """A provider whose clock is off by a year still means one minute."""
        headers = {"retry-after": "Wed, 21 Oct 2015 07:29:00 GMT", "date": "Wed, 21 Oct 2015 07:28:00 GMT"}
        assert retry_after(headers, now=NOW) == 60.0

    @pytest.mark.parametrize(
        "date", [{}, {"date": ""}, {"date": "yesterday"}, {"date": "2026-01-02T03:04:05Z"}]
    )
    def test_without_a_date_of_its_own_the_moment_of_receipt_counts(self, date):
        """So does a Date that cannot be read."""
        assert retry_after({"retry-after": "Fri, 02 Jan 2026 03:05:05 GMT", **date}, now=NOW) == 60.0

    def test_a_date_in_the_past_is_no_wait(self):
        """Never negative."""
        assert retry_after({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, now=NOW) == 0.0

    @given(
        st.datetimes(datetime(1000, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - hypothesis takes naive bounds
        st.datetimes(datetime(1000, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - hypothesis takes naive bounds
    )
    def test_every_pair_of_dates_is_measured(self, asked, sent):
        """The difference in seconds, or 0; what nine digits cannot hold is ignored, as it is when written in digits."""
        asked, sent = asked.replace(microsecond=0), sent.replace(microsecond=0)
        headers = {
            "retry-after": format_datetime(asked, usegmt=True),
            "date": format_datetime(sent, usegmt=True),
        }
        wait = max(0.0, (asked - sent) / timedelta(seconds=1))
        assert retry_after(headers, now=NOW) == (wait if wait < 10**9 else None)

    @given(
        st.text(st.characters(exclude_categories=()))
        | st.from_regex(
            r"\A[A-Z][a-z]{2}, [0-9]{2} (Jan|Feb|[A-Z][a-z]{2}) [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT\Z"
        )
        | st.from_regex(r"\A[0-9 ,]{0,40}\Z"),
        st.none()
        | st.from_regex(r"\A[A-Z][a-z]{2}, [0-9]{2} (Jan|Feb) [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT\Z"),
    )
    def test_any_header_is_a_wait_or_nothing(self, value, date):
        """Nothing is raised, and no wait is negative, infinite or not a number."""
        headers = {"retry-after": value} | ({} if date is None else {"date": date})
        found = retry_after(headers, now=NOW)
        assert found is None or (found >= 0 and math.isfinite(found))
        assert found is None or isinstance(found, float)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("5", 5.0),
        (" 5 ", 5.0),
        ("999999999", 999999999.0),
        (None, None),
        ("", None),
        ("abc", None),
        ("-1", None),
        ("1.5", None),
        ("1e3", None),
        ("inf", None),
        ("\u0665", None),
        ("9999999999", None),
        ("5, 10", None),
    ],
)
def test_whole_seconds_are_digits_and_nothing_else(value, seconds):
    """A header in seconds is read like the digits of Retry-After, one value only."""
    assert whole_seconds(value) == seconds


EVERY_STATUS = [
    *((status, Unavailable, None, True) for status in (408, 425, 500, 502, 503, 504, *range(520, 525), 529)),
    *((status, Unavailable, None, True) for status in (506, 507, 508, 511, 525, 530, 598, 599)),
    *((status, RequestRejected, None, False) for status in (501, 505)),
    *(
        (status, RequestRejected, None, False)
        for status in (400, 402, 405, 406, 407, 414, 418, 422, 431, 451, 499)
    ),
    *((status, RequestRejected, None, True) for status in (409, 423)),
    (401, AuthError, None, False),
    (403, AuthError, None, False),
    (404, NotFound, None, False),
    (410, NotFound, "gone", False),
    (429, RateLimited, None, True),
    *((status, ProtocolError, "redirect_refused", False) for status in (300, 301, 302, 303, 307, 308)),
    *(
        (status, ProtocolError, "protocol", True)
        for status in (0, 99, 100, 101, 103, 199, 201, 204, 205, 206, 304, 600, 999, 2000)
    ),
]


class TestStatusError:
    """The error a status stands for."""

    @pytest.mark.parametrize(("status", "cls", "reason", "retryable"), EVERY_STATUS)
    def test_the_table(self, status, cls, reason, retryable):
        """Each status is one branch, worth another attempt or not; a bulk's state is never concluded from it."""
        error = status_error(Response.now(status), own=True)
        assert type(error) is cls
        assert (error.status, error.reason, error.retryable) == (status, reason, retryable)
        assert f"HTTP {status}" in str(error)

    @pytest.mark.parametrize(
        "headers",
        [
            {"Content-Type": "text/html; charset=UTF-8"},
            {"Content-Type": "TEXT/HTML"},
            {"cf-mitigated": "challenge"},
        ],
    )
    def test_a_403_of_the_network_edge_is_an_outage(self, headers):
        """A challenge page says nothing about the credentials."""
        error = status_error(Response.now(403, b"<html>", headers))
        assert type(error) is Unavailable
        assert (error.reason, error.retryable) == ("edge", True)
        assert "edge" in str(error)

    @pytest.mark.parametrize("status", [304, 307, 401, 404, 500, 999])
    def test_a_hint_is_added_to_the_message(self, status):
        """What the adapter knows about it follows the sentence, on every branch."""
        plain = status_error(Response.now(status)).message
        assert status_error(Response.now(status), hint="check the id").message == f"{plain}; check the id"

    def test_a_403_in_json_is_about_the_credentials(self):
        """The API's own refusal."""
        assert type(status_error(Response.now(403, b"{}", {"Content-Type": "application/json"}))) is AuthError

    @pytest.mark.parametrize("status", [404, 410])
    def test_html_is_no_word_of_the_provider_about_a_bulk(self, status):
        """A proxy's page must not read as "no such bulk": somebody may submit it again."""
        html = Response.now(status, b"<html>", {"Content-Type": "text/html; charset=utf-8"})
        error = status_error(html)
        assert (type(error), error.reason, error.retryable) == (Unavailable, "edge", True)
        assert "base_url" in str(error)

    @pytest.mark.parametrize("status", [404, 410])
    @pytest.mark.parametrize(
        ("body", "kind"),
        [
            (b"404 page not found", "text/plain"),
            (b"404 page not found", "application/json"),
            (b"{}", "text/plain"),
            (b"[]", "application/json"),
            (b'"not found"', "application/json"),
            (b"{", "application/json"),
            (b"[" * 1_000, "application/json"),
        ],
    )
    def test_what_is_no_json_object_is_no_word_of_the_provider(self, body, kind, status):
        """Text, whatever it is called, and what only looks like JSON: an outage, and no missing bulk."""
        response = Response.now(status, body, {"Content-Type": kind})
        for own in (True, False):
            error = status_error(response, own=own)
            assert (type(error), error.reason, error.retryable) == (Unavailable, "edge", True)

    @pytest.mark.parametrize(("status", "reason"), [(404, None), (410, "gone")])
    @pytest.mark.parametrize("body", [b"", b" ", b"{}", b'{"message": "none"}'])
    def test_the_adapter_says_what_its_providers_own_word_is(self, body, status, reason):
        """Told that it is one, a JSON object passes, and no body; left alone, none does."""
        response = Response.now(status, body, {"Content-Type": "application/json"})
        error = status_error(response, own=True)
        assert (type(error), error.reason) == (NotFound, reason)
        assert type(status_error(response)) is Unavailable

    @pytest.mark.parametrize("status", [400, 401, 403, 409, 429, 500])
    def test_whose_word_it_is_counts_only_for_what_is_not_there(self, status):
        """Any other status means the same whoever says it."""
        response = Response.now(status, b"{}", {"Content-Type": "application/json"})
        assert type(status_error(response, own=False)) is type(status_error(response, own=True))

    @pytest.mark.parametrize("status", [401, 500])
    def test_html_means_nothing_elsewhere(self, status):
        """Only 403, 404 and 410 are what an edge answers in the provider's place."""
        html = Response.now(status, b"<html>", {"Content-Type": "text/html"})
        assert type(status_error(html)) is type(status_error(Response.now(status)))

    def test_the_providers_own_words_travel_along(self):
        """Code, detail and request id are kept, made printable."""
        error = status_error(Response.now(500), code="E\x1b1", detail="bad\nluck", request_id="8f")
        assert (error.code, error.detail, error.request_id) == (r"E\x1b1", r"bad\nluck", "8f")

    @pytest.mark.parametrize(("status", "cls"), [(429, RateLimited), (404, NotFound), (503, Unavailable)])
    def test_a_status_in_the_body_counts_where_given(self, status, cls):
        """A provider that answers 200 and means 429 is taken at its word."""
        error = status_error(Response.now(200), status=status, own=True)
        assert type(error) is cls
        assert error.status == status

    @pytest.mark.parametrize("status", [401, 409, 429, 500, 503])
    def test_the_wait_asked_for_is_kept(self, status):
        """`Retry-After` is read, and the provider's own way of saying it goes first, 0 too."""
        response = Response.now(status, b"", {"Retry-After": "7"})
        assert status_error(response).retry_after == 7.0
        assert status_error(response, pause=30.0).retry_after == 30.0
        assert status_error(response, pause=0.0).retry_after == 0.0
        assert status_error(Response.now(status)).retry_after is None

    def test_throttling_says_how_long(self):
        """The text of a 429 holds the wait, if there is one."""
        assert "7 s" in str(status_error(Response.now(429, b"", {"Retry-After": "7"})))
        assert "wait" not in str(status_error(Response.now(429)))

    def test_a_date_in_retry_after_is_measured_against_the_reply(self):
        """The moment of receipt stands in for a missing Date."""
        response = Response(
            status=503, headers={"retry-after": "Fri, 02 Jan 2026 03:05:05 GMT"}, received_at=NOW
        )
        assert status_error(response).retry_after == 60.0

    @pytest.mark.parametrize(
        ("location", "host"),
        [
            ("https://login.example.com/x?token=S3CR3T#S3CR3T", "login.example.com"),
            ("https://login.example.com:8443/S3CR3T", "login.example.com:8443"),
            ("https://S3CR3T:S3CR3T@login.example.com/", "login.example.com"),
            ("http://api.example.com/", "api.example.com"),
            ("//evil.test/x", "evil.test"),
        ],
    )
    def test_a_redirect_shows_its_host_only(self, location, host):
        """Where it leads is worth knowing; path, query and user info are not."""
        error = status_error(Response.now(302, b"", {"Location": location}))
        assert f"redirect to {host} was" in str(error)
        assert "S3CR3T" not in str(error)

    @pytest.mark.parametrize(
        "location",
        [
            None,
            "",
            "/elsewhere",
            "file:///etc/passwd",
            "javascript:alert(1)",
            "https://[",
            "https://[x]/",
            "http://\u2100.test",
            "https://" + "a" * 100_000,
            "https://\x1b[31mevil\u202e.test/",
            "https://evil.test\x9b/",
        ],
        ids=shown,
    )
    def test_any_location_makes_the_same_error(self, location):
        """Missing, relative, invalid or hostile: refused in one printable line."""
        error = status_error(Response.now(307, b"", {} if location is None else {"Location": location}))
        assert type(error) is ProtocolError
        assert error.reason == "redirect_refused"
        assert str(error).isprintable()
        assert len(str(error)) < 300

    @given(
        st.sampled_from((307, 403, 429)) | st.integers(-1, 2_000),
        st.dictionaries(
            st.sampled_from(("location", "retry-after", "date", "content-type", "cf-mitigated")),
            st.text() | st.text().map("https://".__add__),
        ),
    )
    def test_every_status_is_an_error_that_can_be_shown(self, status, headers):
        """Whatever the headers hold, there is an error, and its text is one printable line."""
        error = status_error(Response.now(status, b"", headers))
        assert error.status == status
        assert str(error).isprintable()


class TestSaysMissing:
    """Where the form of an error does not tell whether a bulk is missing, its words have to."""

    @pytest.mark.parametrize(
        "words",
        [
            "No batch found with id 'b-1'.",
            "b-1 is not known",
            "There is no such batch: none of that name. No such batch exists",
            "batch_not_found None",
            "Batch object not found",
        ],
    )
    def test_words_about_the_bulk(self, words):
        """They name it, or say that there is no such thing."""
        assert says_missing(words, noun="batch", id="b-1")

    @pytest.mark.parametrize(
        "words",
        [
            "",
            "Not Found",
            "Invalid URL (GET /v1/batches/b-1)",
            "no route for /v1/batches/b-1",
            "No batch found with id 'b-12'.",
            "model not found",
        ],
    )
    def test_words_about_something_else(self, words):
        """An address, another bulk, or nothing."""
        assert not says_missing(words, noun="batch", id="b-1")

    def test_a_list_is_no_bulk(self):
        """Where none was asked for, none is missing."""
        assert not says_missing("No such batch exists", noun="batch", id=None)
