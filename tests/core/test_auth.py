"""How a source proves who it is, without sending anything."""

import json
import pickle
import re
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkstatus._auth import all_of, api_key, app_token, basic, bearer
from bulkstatus._call import Request, Response
from bulkstatus._secrets import Secret
from bulkstatus.errors import (
    AuthError,
    BulkStatusError,
    ConfigError,
    ProtocolError,
    RateLimited,
    RequestRejected,
    Unavailable,
)
from canaries import frames

ID, SECRET, TOKEN = "S3CR3T-id", "S3CR3T-secret", "S3CR3T-token"
TOKENS_AT = Request.to("https://auth.example.com", "oauth2", "token")
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def vault(*values):
    """A function that gives the values one after another."""
    left = list(values)
    return lambda: left.pop(0)


def app(**options):
    """A scheme that fetches its own tokens."""
    return app_token(TOKENS_AT, **{"client_id": ID, "client_secret": SECRET, **options})


def reply(value=None, status=200, **members):
    """A token endpoint's answer: `value` as it is, or an object with a token and `members`."""
    if value is None:
        value = {"access_token": TOKEN, "token_type": "bearer", "expires_in": 3600} | members
        value = {name: member for name, member in value.items() if member is not ...}
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    return Response(status=status, body=body, received_at=NOW)


def fetch(auth, response=None, *, now=0.0):
    """Let `auth` have a token."""
    call = auth.renewal(now)
    assert call is not None
    assert call.read(reply() if response is None else response) is None


def renews_at(auth, lowest, highest):
    """The second at which `auth` begins to ask for another token."""
    assert auth.renewal(lowest) is None
    assert auth.renewal(highest) is not None
    while highest - lowest > 1e-3:
        middle = (lowest + highest) / 2
        if auth.renewal(middle) is None:
            lowest = middle
        else:
            highest = middle
    return highest


def refused(response, **options) -> BulkStatusError:
    """The error that a token endpoint's answer is; it holds no secret in any form."""
    auth = app(**options)
    call = auth.renewal(0.0)
    with pytest.raises(BulkStatusError) as caught:
        call.read(response)
    error = caught.value
    assert "S3CR3T" not in str(error)
    assert "S3CR3T" not in repr(error)
    assert "S3CR3T" not in repr(vars(error))
    assert b"S3CR3T" not in pickle.dumps(error)
    assert "S3CR3T" not in frames(error)
    assert error.__cause__ is None
    assert error.__suppress_context__ or error.__context__ is None
    with pytest.raises(AuthError):
        auth.headers()
    return error


class TestGivenCredentials:
    """Credentials that we do not fetch."""

    def test_a_bearer_token_is_sent_as_such(self):
        """RFC 6750, and nothing has to be fetched first."""
        auth = bearer(TOKEN)
        assert auth.headers() == {"Authorization": f"Bearer {TOKEN}"}
        assert auth.renewal(0.0) is None

    def test_a_key_is_sent_in_its_header(self):
        """`api-key`, or the header of the provider's choice."""
        assert api_key(TOKEN).headers() == {"api-key": TOKEN}
        assert api_key(TOKEN, header="X-Auth-Key").headers() == {"X-Auth-Key": TOKEN}
        assert api_key(TOKEN).renewal(1e9) is None

    @pytest.mark.parametrize("header", ["", "a b", "a:b", "a\r\nX-Evil", "\xe9", "a" * 65, "a\n"])
    def test_what_cannot_be_a_header_is_a_config_error(self, header):
        """A header cannot end the line it stands in."""
        with pytest.raises(ConfigError) as caught:
            api_key(TOKEN, header=header)
        assert str(caught.value).isprintable()
        assert TOKEN not in str(caught.value)

    @pytest.mark.parametrize("make", [bearer, api_key])
    def test_a_fixed_credential_that_is_refused_is_refused(self, make):
        """There is no other to be had."""
        auth = make(TOKEN)
        assert auth.rejected(auth.headers()) is False
        assert TOKEN in next(iter(auth.headers().values()))

    @pytest.mark.parametrize("make", [bearer, api_key])
    def test_a_function_is_asked_again_after_it_was_refused(self, make):
        """One call gives the first token, one more the next, and none between."""
        auth = make(vault("one", "two"))
        sent = auth.headers()
        assert next(iter(sent.values())).endswith("one")
        assert auth.headers() == sent
        assert auth.rejected(sent) is True
        assert not auth.secrets[0].loaded
        assert next(iter(auth.headers().values())).endswith("two")

    @pytest.mark.parametrize("make", [bearer, api_key])
    def test_a_newer_credential_is_kept_when_an_older_one_was_refused(self, make):
        """Of many requests refused at once, only the first costs a new token."""
        auth = make(vault("one", "two"))
        old = auth.headers()
        assert auth.rejected(old)
        new = auth.headers()
        assert auth.rejected(old) is True
        assert auth.headers() == new

    def test_a_user_and_a_password_are_one_credential(self):
        """Written as RFC 7617 has it; and a key that is sent as the user, without a password."""
        auth = basic("Aladdin", "sesame")
        assert auth.headers() == {"Authorization": "Basic QWxhZGRpbjpzZXNhbWU="}
        assert auth.renewal(0.0) is None
        assert basic("key").headers() == {"Authorization": "Basic a2V5Og=="}
        assert [secret.name for secret in basic("a", "b", name="id", password_name="key").secrets] == [
            "id",
            "key",
        ]
        assert auth.rejected(auth.headers()) is False
        assert "sesame" not in repr(auth)

    def test_a_password_that_is_a_function_is_asked_again_after_it_was_refused(self):
        """The user stays; of many requests refused at once, only the first costs a new one."""
        auth = basic("Aladdin", vault("one", "two"))
        old = auth.headers()
        assert auth.rejected(old) is True
        new = auth.headers()
        assert new != old
        assert auth.rejected(old) is True
        assert auth.headers() == new

    def test_a_user_with_a_colon_is_no_user(self):
        """The provider would take what is behind it for the password."""
        with pytest.raises(ConfigError, match="login holds a colon") as caught:
            basic(f"{TOKEN}:x", "y", name="login").headers()
        assert TOKEN not in str(caught.value)

    def test_a_refusal_before_anything_was_loaded_asks_for_nothing(self):
        """The next request fetches what it needs."""
        auth = bearer(vault("one"))
        assert auth.rejected({}) is True
        assert auth.headers() == {"Authorization": "Bearer one"}

    def test_the_secrets_behind_it_can_be_loaded_first(self):
        """The engine finds what may block, named as the setting."""
        auth = bearer(vault("one"), name="auth_token")
        (secret,) = auth.secrets
        assert (secret.name, secret.loaded) == ("auth_token", False)
        assert api_key(TOKEN, name="key").secrets[0].name == "key"
        given_secret = Secret(TOKEN, "own")
        assert bearer(given_secret).secrets == (given_secret,)

    @pytest.mark.parametrize("value", ["", "S3CR3T\n", "S3CR3T\r\nX-Evil: 1", "S3CR3T\u202e"])
    @pytest.mark.parametrize("make", [bearer, api_key])
    def test_what_cannot_be_sent_never_gets_into_a_header(self, make, value):
        """Given or fetched, the error names the setting and not the value."""
        for attempt in (lambda: make(value), lambda: make(lambda: value).headers()):
            with pytest.raises(ConfigError) as caught:
                attempt()
            assert "S3CR3T" not in str(caught.value)

    @pytest.mark.parametrize("make", [bearer, api_key])
    def test_its_repr_shows_the_header_and_no_value(self, make):
        """What is sent where can be logged; what it is cannot."""
        auth = make(TOKEN)
        assert next(iter(auth.headers())) in repr(auth)
        assert TOKEN not in repr(auth)
        assert TOKEN not in str(auth)
        with pytest.raises(TypeError):
            pickle.dumps(auth)


class TestAllOf:
    """Several schemes on every request."""

    def test_every_header_is_sent(self):
        """Key and bearer go together."""
        auth = all_of(api_key("S3CR3T-key"), bearer(TOKEN))
        assert auth.headers() == {"api-key": "S3CR3T-key", "Authorization": f"Bearer {TOKEN}"}
        assert [secret.reveal() for secret in auth.secrets] == ["S3CR3T-key", TOKEN]
        assert auth.renewal(0.0) is None

    def test_a_token_that_is_missing_is_fetched_first(self):
        """The call of the part that needs one is the call of the whole."""
        auth = all_of(api_key("key"), app())
        fetch(auth)
        assert auth.headers() == {"api-key": "key", "Authorization": f"Bearer {TOKEN}"}
        assert auth.renewal(1.0) is None

    def test_two_parts_that_need_a_token_are_served_in_turn(self):
        """After the first call there is a second, after the second none."""
        auth = all_of(app(), app(client_id="other"))
        fetch(auth)
        fetch(auth)
        assert auth.renewal(0.0) is None

    def test_every_part_is_told_of_a_refusal(self):
        """Which credential was refused is not known, so all that can be renewed are."""
        auth = all_of(bearer(vault("one", "two")), api_key("fixed"), api_key(vault("a", "b"), header="X-Key"))
        sent = auth.headers()
        assert auth.rejected(sent) is True
        assert auth.headers() == {"Authorization": "Bearer two", "api-key": "fixed", "X-Key": "b"}

    def test_newer_credentials_are_kept(self):
        """A refusal of old headers touches no part that has moved on."""
        auth = all_of(bearer(vault("one", "two")), api_key(vault("a", "b"), header="X-Key"))
        old = auth.headers()
        auth.rejected(old)
        new = auth.headers()
        assert auth.rejected(old) is True
        assert auth.headers() == new

    def test_fixed_credentials_together_are_as_fixed(self):
        """Nothing to renew, nothing to try."""
        auth = all_of(api_key("a"), bearer("b"))
        assert auth.rejected(auth.headers()) is False

    def test_its_repr_shows_no_value(self):
        """All headers are named."""
        auth = all_of(api_key("S3CR3T-key"), bearer(TOKEN), app())
        assert "api-key" in repr(auth)
        assert "Authorization" in repr(auth)
        assert "S3CR3T" not in repr(auth)


class TestAppToken:
    """OAuth 2 client credentials."""

    def test_the_first_thing_is_a_token(self):
        """The call is a POST with the credentials in the form, to the given address and nowhere else."""
        call = app().renewal(0.0)
        assert (call.request.method, call.request.base_url) == ("POST", "https://auth.example.com")
        assert call.request.path == "/oauth2/token"
        assert call.request.query == ()
        form = dict(call.request.form)
        assert form["grant_type"] == "client_credentials"
        assert (form["client_id"].reveal(), form["client_secret"].reveal()) == (ID, SECRET)
        assert "S3CR3T" not in repr(call)
        assert "S3CR3T" not in repr(call.request)

    def test_without_a_token_there_are_no_headers(self):
        """An AuthError says so, instead of a request without credentials."""
        with pytest.raises(AuthError) as caught:
            app().headers()
        assert caught.value.reason == "no_token"

    def test_the_token_is_sent_as_a_bearer(self):
        """Reading the answer keeps the token, and then nothing has to be fetched."""
        auth = app()
        fetch(auth)
        assert auth.headers() == {"Authorization": f"Bearer {TOKEN}"}
        assert auth.renewal(0.0) is None

    @pytest.mark.parametrize("kind", ["bearer", "Bearer", "BEARER", None, ..., 7])
    def test_the_type_is_bearer_in_any_case_or_not_said(self, kind):
        """`token_type` is compared without case; one that is missing or no text is not held against the token."""
        auth = app()
        fetch(auth, reply(token_type=kind))
        assert auth.headers() == {"Authorization": f"Bearer {TOKEN}"}

    def test_a_token_is_renewed_30_seconds_before_it_ends(self):
        """Counted from the moment of asking, on the clock that was given."""
        auth = app()
        fetch(auth, reply(expires_in=3600), now=1_000.0)
        assert auth.renewal(1_000.0 + 3_569.9) is None
        assert auth.renewal(1_000.0 + 3_570.0) is not None
        assert auth.headers() == {"Authorization": f"Bearer {TOKEN}"}

    @pytest.mark.parametrize(
        ("expires_in", "life"),
        [
            (61, 61),
            (120, 120),
            (3600, 3600),
            (3600.5, 3600.5),
            ("3600", 3600),
            (86_400, 86_400),
            (86_401, 86_400),
            (1e18, 86_400),
            (10**18, 86_400),
            ("9" * 20, 86_400),
            (..., 300),
            (None, 300),
            ("soon", 300),
            ("", 300),
            ("-5", 300),
            ("1e9", 300),
            ("\u0663\u0666", 300),
            ("9" * 21, 300),
            (True, 300),
            ([3600], 300),
            ({"s": 3600}, 300),
        ],
    )
    def test_its_life_is_what_was_said_within_bounds(self, expires_in, life):
        """30 seconds to 24 hours; 5 minutes when unsaid or unreadable."""
        auth = app()
        fetch(auth, reply(expires_in=expires_in))
        assert renews_at(auth, 0.0, 1e6) == pytest.approx(life - 30, abs=0.01)

    @pytest.mark.parametrize("expires_in", [-5, 0, 1, 29.9, 30, 45, 60, -1e18, -(10**18)])
    def test_a_short_life_is_used_for_a_while_and_renewed_before_its_end(self, expires_in):
        """Under 30 seconds counts as 30: neither asked for again on every request, nor kept over its end."""
        auth = app()
        fetch(auth, reply(expires_in=expires_in))
        life = min(60, max(30, expires_in))
        assert 10 <= renews_at(auth, 0.0, 1e6) < life

    @pytest.mark.parametrize(
        "number",
        [b"-" + b"9" * 400, b"9" * 400, b"1e308", b"-1e308", b"1e-400"],
        ids=lambda number: number[:6],
    )
    def test_a_number_beyond_all_bounds_is_clamped_too(self, number):
        """No life is too long or too short to be counted."""
        auth = app()
        fetch(auth, reply(b'{"access_token":"%s","expires_in":%s}' % (TOKEN.encode(), number)))
        assert auth.headers() == {"Authorization": f"Bearer {TOKEN}"}
        assert 10 <= renews_at(auth, 0.0, 1e6) <= 86_400 - 30 + 0.01

    @pytest.mark.parametrize(("unit", "scale"), [("ms", 1000), ("s", 1)])
    def test_an_end_in_a_known_unit_is_as_good(self, unit, scale):
        """`expires_at` counts from the moment of receipt."""
        auth = app(expires_at_unit=unit)
        ends = int(NOW.timestamp() + 600) * scale
        for value in (ends, str(ends)):
            fetch(auth, reply(expires_in=..., expires_at=value))
            assert renews_at(auth, 0.0, 1e6) == pytest.approx(570, abs=0.01)
            auth.rejected(auth.headers())

    @pytest.mark.parametrize(
        ("options", "members", "life"),
        [
            ({"expires_at_unit": "ms"}, {"expires_in": 120, "expires_at": 0}, 120),
            ({"expires_at_unit": "ms"}, {"expires_in": ..., "expires_at": "soon"}, 300),
            ({"expires_at_unit": "ms"}, {"expires_in": ..., "expires_at": None}, 300),
            ({"expires_at_unit": "ms"}, {"expires_in": ...}, 300),
            ({"expires_at_unit": "s"}, {"expires_in": ..., "expires_at": 10**18}, 86_400),
            ({}, {"expires_in": ..., "expires_at": int(NOW.timestamp() + 600)}, 300),
        ],
    )
    def test_an_end_counts_only_where_its_unit_is_known_and_no_life_was_said(self, options, members, life):
        """`expires_in` goes first, and nobody guesses a unit from the size."""
        auth = app(**options)
        fetch(auth, reply(**members))
        assert renews_at(auth, 0.0, 1e6) == pytest.approx(life - 30, abs=0.01)

    def test_an_end_in_the_past_is_a_short_life(self):
        """A provider's clock that is behind does not make us ask for a token with every request."""
        auth = app(expires_at_unit="ms")
        fetch(auth, reply(expires_in=..., expires_at=1))
        assert 10 <= renews_at(auth, 0.0, 1e6) < 30

    def test_a_refused_token_is_replaced(self):
        """After a 401 the token is dropped and the next call fetches another."""
        auth = app()
        fetch(auth)
        assert auth.rejected(auth.headers()) is True
        with pytest.raises(AuthError):
            auth.headers()
        fetch(auth, reply(access_token="second"))
        assert auth.headers() == {"Authorization": "Bearer second"}

    def test_a_newer_token_is_kept_when_an_older_one_was_refused(self):
        """Of fifty requests refused at once, one costs a token request."""
        auth = app()
        fetch(auth)
        old = auth.headers()
        auth.rejected(old)
        fetch(auth, reply(access_token="second"))
        assert auth.rejected(old) is True
        assert auth.headers() == {"Authorization": "Bearer second"}
        assert auth.renewal(1.0) is None

    def test_a_refusal_before_the_first_token_changes_nothing(self):
        """The token is fetched as ever."""
        auth = app()
        assert auth.rejected({}) is True
        fetch(auth)
        assert auth.headers() == {"Authorization": f"Bearer {TOKEN}"}

    def test_renewable_client_credentials_are_fetched_anew_after_a_refusal(self):
        """A rotated client secret is picked up without a restart."""
        auth = app(client_secret=vault("one", "two"))
        for word in ("one", "two"):
            form = dict(auth.renewal(0.0).request.form)
            assert form["client_secret"].reveal() == word
            fetch(auth)
            auth.rejected(auth.headers())

    def test_a_failed_renewal_keeps_the_token_that_still_works(self):
        """Thirty seconds early is early enough for another attempt."""
        auth = app()
        fetch(auth)
        call = auth.renewal(3_580.0)
        with pytest.raises(Unavailable):
            call.read(reply(b"", status=503))
        assert auth.headers() == {"Authorization": f"Bearer {TOKEN}"}
        assert auth.renewal(3_581.0) is not None

    def test_the_secrets_behind_it_can_be_loaded_first(self):
        """Both of them, under their settings' names."""
        assert [secret.name for secret in app().secrets] == ["client_id", "client_secret"]

    def test_its_repr_shows_no_value(self):
        """Neither before nor after a token was had."""
        auth = app()
        assert "S3CR3T" not in repr(auth)
        fetch(auth)
        assert "S3CR3T" not in repr(auth)
        assert "Authorization" in repr(auth)


class TestBadTokenReplies:
    """Answers of a token endpoint that give no token."""

    @pytest.mark.parametrize(
        "value",
        [
            b"",
            b"<html>S3CR3T</html>",
            b'{"access_token":"S3CR3T',
            b'{"access_token":"S3CR3T\xff"}',
            b"[" * 100_000,
            [],
            ["S3CR3T"],
            42,
            {},
            {"token": "S3CR3T"},
            {"access_token": None},
            {"access_token": ""},
            {"access_token": 42},
            {"access_token": ["S3CR3T"]},
            {"access_token": "S3CR3T", "token_type": "mac"},
            {"access_token": "S3CR3T", "token_type": ""},
            {"access_token": "S3CR3T", "token_type": "DPoP"},
            {"access_token": "S3CR3T\n"},
            {"access_token": "S3CR3T\r\nX-Evil: 1"},
            {"access_token": "S3CR3T S3CR3T"},
            {"access_token": "S3CR3T\u202e"},
            {"access_token": "S3CR3T" * 11_000},
        ],
        ids=lambda value: ascii(value)[:40],
    )
    def test_an_answer_without_a_usable_token_is_an_auth_error(self, value):
        """HTML, no token, another type or a token that cannot be sent: `bad_token_reply`, and nothing repeated."""
        error = refused(reply(value))
        assert type(error) is AuthError
        assert (error.reason, error.status, error.retryable) == ("bad_token_reply", 200, False)
        assert str(error).isprintable()

    @pytest.mark.parametrize("status", [400, 401, 403])
    def test_refused_client_credentials_are_an_auth_error_at_once(self, status):
        """RFC 6749, 5.2: the provider's code and text are shown, made printable."""
        value = {"error": "invalid_client", "error_description": "no such\x1b[31m client\n"}
        error = refused(reply(value, status=status))
        assert type(error) is AuthError
        assert (error.reason, error.status, error.retryable) == ("client_credentials", status, False)
        assert error.detail == r"invalid_client: no such\x1b[31m client\n"
        assert str(error).isprintable()

    @pytest.mark.parametrize(
        ("value", "detail"),
        [
            ({"error": "invalid_client"}, "invalid_client"),
            ({"error_description": "no"}, "no"),
            ({"error": {"code": 1}, "error_description": ["no"]}, None),
            ({}, None),
            (b"", None),
            (b"<html>no</html>", None),
            (["no"], None),
        ],
    )
    def test_a_refusal_in_any_form_is_a_refusal(self, value, detail):
        """What cannot be read is left out."""
        error = refused(reply(value, status=400))
        assert (type(error), error.reason, error.detail) == (AuthError, "client_credentials", detail)

    def test_a_refusal_with_status_200_is_a_refusal(self):
        """Some endpoints answer 200 and mean no; a token beside it is not used."""
        error = refused(reply({"error": "invalid_client", "access_token": "S3CR3T"}))
        assert (type(error), error.reason) == (AuthError, "client_credentials")

    def test_an_empty_error_beside_a_token_is_none(self):
        """`error: ""` and `error: null` say nothing."""
        for nothing in ("", None):
            auth = app()
            fetch(auth, reply(error=nothing))
            assert auth.headers() == {"Authorization": f"Bearer {TOKEN}"}

    def test_an_endpoint_that_repeats_the_credentials_does_not_get_them_into_the_error(self):
        """A provider may quote what it was sent; an error holds no secret."""
        refused(
            reply(
                {"error": "invalid_client", "error_description": f"{ID} with {SECRET} is unknown"}, status=400
            )
        )

    @pytest.mark.parametrize(
        ("status", "cls"),
        [
            (408, Unavailable),
            (425, Unavailable),
            (429, RateLimited),
            (500, Unavailable),
            (502, Unavailable),
            (503, Unavailable),
            (529, Unavailable),
        ],
    )
    def test_an_endpoint_that_cannot_answer_is_not_a_refusal(self, status, cls):
        """An outage of the token endpoint can be retried and says nothing about the credentials."""
        for value in (b"", {"error": "server_error"}, b"<html>"):
            error = refused(reply(value, status=status))
            assert type(error) is cls
            assert error.retryable

    def test_throttling_keeps_the_wait(self):
        """`Retry-After` of the token endpoint is read."""
        response = Response(status=429, headers={"retry-after": "7"}, received_at=NOW)
        assert refused(response).retry_after == 7.0

    @pytest.mark.parametrize("status", [301, 302, 307, 308])
    def test_a_redirect_is_refused(self, status):
        """The secret is sent once, to one place; only the target's host is shown."""
        response = Response(status=status, headers={"location": "https://evil.test/x"}, received_at=NOW)
        error = refused(response)
        assert type(error) is ProtocolError
        assert error.reason == "redirect_refused"
        assert "evil.test" in str(error)

    @pytest.mark.parametrize(
        ("status", "cls"),
        [
            (204, ProtocolError),
            (201, ProtocolError),
            (405, RequestRejected),
            (409, RequestRejected),
            (413, RequestRejected),
            (422, RequestRejected),
            (451, RequestRejected),
            (501, RequestRejected),
            (999, ProtocolError),
        ],
    )
    def test_any_other_status_is_no_token_and_no_refusal(self, status, cls):
        """A token counts in a 200 only, and only 400, 401 and 403 speak of the credentials."""
        assert type(refused(reply(status=status))) is cls

    def test_the_words_beside_a_rejection_are_kept(self):
        """The endpoint's own, made printable."""
        value = {"error": "unsupported\x1b", "error_description": "no form"}
        assert refused(reply(value, status=422)).detail == r"unsupported\x1b: no form"

    @pytest.mark.parametrize("status", [404, 410])
    def test_an_endpoint_that_is_not_there_is_no_refusal(self, status):
        """Nor a bulk that is not found: the address is wrong."""
        error = refused(reply({"error": "not_found"}, status=status))
        assert type(error) is ProtocolError
        assert (error.reason, error.retryable) == ("no_token_endpoint", False)
        assert "base URL" in str(error)

    json_values = st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(),
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
        max_leaves=4,
    )

    @given(
        st.binary()
        | st.fixed_dictionaries(
            {},
            optional=dict.fromkeys(
                ("access_token", "token_type", "expires_in", "expires_at", "error", "error_description"),
                json_values,
            ),
        ),
        st.sampled_from((200, 400, 401, 500)),
        st.sampled_from((None, "ms", "s")),
    )
    def test_any_answer_is_a_token_or_an_error(self, value, status, unit):
        """Nothing else is ever raised, and a token that was taken is good for at least some seconds."""
        auth = app(expires_at_unit=unit)
        try:
            auth.renewal(0.0).read(reply(value, status=status))
        except BulkStatusError as error:
            assert str(error).isprintable()  # noqa: PT017 - a token is as right
        else:
            assert set(auth.headers()) == {"Authorization"}
            assert auth.renewal(10.0) is None
            assert auth.renewal(86_400.0) is not None


def test_a_request_for_tokens_is_not_changed():
    """Two schemes made from one request do not share their forms."""
    app().renewal(0.0)
    assert TOKENS_AT.form is None
    assert msgspec.structs.asdict(TOKENS_AT)["form"] is None


def test_a_scheme_whose_attributes_are_printed_shows_no_token():
    """Nor the credentials it was had for."""
    auth = app()
    fetch(auth)
    assert auth.headers() == {"Authorization": f"Bearer {TOKEN}"}
    assert not {ID, SECRET, TOKEN} & set(re.findall(r"S3CR3T-[a-z]+", repr(vars(auth))))


@pytest.mark.parametrize(
    "written",
    ["S3CR3T%2Fab%2Bcd%3Def", "S3CR3T%2fab%2bcd%3def", "S3CR3T/ab%2Bcd%3Def", "S3CR3T/ab+cd=ef"],
)
def test_a_secret_that_comes_back_as_it_was_written_in_the_form_is_taken_out(written):
    """A server that repeats the body of the request repeats it percent-encoded."""
    auth = app(client_secret="S3CR3T/ab+cd=ef")
    body = {"error": "invalid_request", "error_description": f"a=b&client_secret={written}&c=d"}
    with pytest.raises(AuthError) as caught:
        fetch(auth, reply(json.dumps(body).encode(), 400))
    assert caught.value.detail == "invalid_request: a=b&client_secret=***&c=d"
