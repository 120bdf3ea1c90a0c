"""The tree of errors."""

import copy
import inspect
import pickle
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkstatus import Failure, Outcome, Result, Verdict, errors
from bulkstatus.errors import (
    AuthError,
    BulkStatusError,
    ConfigError,
    DeadlineExceeded,
    JournalError,
    NotFound,
    ProtocolError,
    RateLimited,
    RequestRejected,
    Unavailable,
    VerdictError,
    error_for_kind,
)

KINDS = {
    "config": ConfigError,
    "auth": AuthError,
    "not_found": NotFound,
    "rate_limited": RateLimited,
    "unavailable": Unavailable,
    "protocol": ProtocolError,
    "rejected": RequestRejected,
    "deadline": DeadlineExceeded,
    "journal": JournalError,
}
EVERY = (BulkStatusError, *KINDS.values())
every = pytest.mark.parametrize("cls", EVERY, ids=lambda cls: cls.__name__)

words = st.none() | st.text(max_size=40)
attributes = st.fixed_dictionaries(
    {},
    optional={
        "source": st.text(max_size=20),
        "provider": st.text(max_size=20),
        "id": words,
        "status": st.none() | st.integers(0, 999),
        "code": words,
        "detail": words,
        "reason": words,
        "request_id": words,
        "retryable": st.none() | st.booleans(),
        "retry_after": st.none() | st.floats(0, 1e9),
    },
)


class HouseError(NotFound):
    """A branch of somebody else's making."""


def test_all_lists_every_class_of_the_module_and_the_way_to_find_one():
    """`__all__` is the tree and `error_for_kind`, no more and no less."""
    tree = (*EVERY, VerdictError)
    classes = {name for name, value in vars(errors).items() if inspect.isclass(value) and value in tree}
    assert set(errors.__all__) == classes | {"error_for_kind"}
    assert len(classes) == len(tree)


@pytest.mark.parametrize(("kind", "cls"), [*KINDS.items(), ("verdict", VerdictError)])
def test_a_kind_and_its_class_find_each_other(kind, cls):
    """Every branch has one kind, derives from the base, and is found by its kind."""
    assert cls.kind == kind
    assert error_for_kind(kind) is cls
    assert issubclass(cls, BulkStatusError)


def test_an_unknown_kind_gives_the_base():
    """A kind from a newer release still makes an error that can be caught."""
    assert error_for_kind("solar_flare") is BulkStatusError


@pytest.mark.parametrize(
    ("cls", "builtin"),
    [(ConfigError, ValueError), (NotFound, LookupError), (DeadlineExceeded, TimeoutError)],
)
def test_a_branch_is_also_the_builtin_a_caller_would_expect(cls, builtin):
    """`except ValueError`, `LookupError` and `TimeoutError` catch what their names promise."""
    assert issubclass(cls, builtin)


@pytest.mark.parametrize(("cls", "builtin"), [(Unavailable, OSError), (AuthError, PermissionError)])
def test_no_branch_is_a_builtin_by_accident(cls, builtin):
    """Only three branches have a second parent."""
    assert not issubclass(cls, builtin)


@every
def test_defaults_say_nothing(cls):
    """An error knows only what it was told."""
    error = cls("it went wrong")
    assert (error.message, error.source, error.provider) == ("it went wrong", "", "")
    told = (
        error.id,
        error.status,
        error.code,
        error.detail,
        error.reason,
        error.request_id,
        error.retry_after,
    )
    assert told == (None,) * 7
    assert str(error) == "it went wrong"


@pytest.mark.parametrize(
    ("cls", "retryable"),
    [
        (BulkStatusError, False),
        (ConfigError, False),
        (AuthError, False),
        (NotFound, False),
        (RateLimited, True),
        (Unavailable, True),
        (ProtocolError, False),
        (RequestRejected, False),
        (DeadlineExceeded, True),
    ],
)
def test_whether_asking_again_can_help_has_a_default_and_can_be_said(cls, retryable):
    """Throttling, outages and our own deadline are worth another try; the giver of the error may know better."""
    assert cls("x").retryable is retryable
    assert cls("x", retryable=not retryable).retryable is (not retryable)


def test_text_from_the_provider_is_made_printable():
    """Escape sequences in a provider's code, words or request id cannot reach a terminal through an error."""
    error = Unavailable("down", code="\x1b[31mE1", detail="a\nFAKE ROW\u202e", request_id="r\x9b1")
    assert (error.code, error.detail, error.request_id) == (r"\x1b[31mE1", r"a\nFAKE ROW\u202e", r"r\x9b1")
    assert str(error).isprintable()


def test_text_from_the_provider_is_cut():
    """A provider cannot fill a log with one error."""
    error = Unavailable("down", code="c" * 10_000, detail="d" * 1_000_000, request_id="r" * 10_000)
    assert (len(error.code), len(error.detail), len(error.request_id)) == (128, 512, 128)


@pytest.mark.parametrize(
    ("given_attributes", "shown"),
    [
        ({}, "down"),
        ({"source": "edge"}, "edge: down"),
        ({"provider": "cloudflare"}, "cloudflare: down"),
        ({"source": "edge", "provider": "cloudflare"}, "edge (cloudflare): down"),
        ({"detail": "try later"}, "down: try later"),
        ({"status": 503}, "down [HTTP 503]"),
        (
            {"source": "edge", "status": 503, "code": "971", "request_id": "8f", "detail": "slow"},
            "edge: down: slow [HTTP 503, code 971, request 8f]",
        ),
        ({"status": 0, "code": ""}, "down [HTTP 0, code ]"),
        ({"id": "42", "reason": "edge", "retry_after": 3.0}, "down"),
    ],
)
def test_the_text_says_who_what_and_the_facts_support_asks_for(given_attributes, shown):
    """`str` holds source and provider, the sentence, the provider's words, and the known facts in brackets."""
    assert str(Unavailable("down", **given_attributes)) == shown


def test_about_fills_in_only_what_is_not_known():
    """The engine adds who was asked; an error that knows better keeps what it knows, the id 0-length too."""
    error = NotFound("gone", provider="weavr")
    assert error.about(source="payments", provider="other", id="1") is error
    assert (error.source, error.provider, error.id) == ("payments", "weavr", "1")
    error.about(source="else", provider="else", id="2")
    assert (error.source, error.provider, error.id) == ("payments", "weavr", "1")
    assert NotFound("gone", id="").about(source="s", provider="p", id="3").id == ""


class TestRedact:
    """Secrets that a provider repeated."""

    def test_a_secret_is_taken_out_of_every_text(self):
        """Message, detail, code and request id are searched; the rest of them stays."""
        text = "bad S3CR3T-one here"
        error = AuthError(
            text, detail=text, code=text, request_id=text, status=400, reason="client_credentials"
        )
        assert error.redact(["S3CR3T-one", "S3CR3T-two"]) is error
        texts = (error.message, error.detail, error.code, error.request_id)
        assert texts == ("bad *** here",) * 4
        assert error.args == ("bad *** here",)
        for shown in (str(error), repr(error), repr(vars(error))):
            assert "S3CR3T" not in shown
        assert b"S3CR3T" not in pickle.dumps(error)
        assert (error.status, error.reason) == (400, "client_credentials")

    def test_every_secret_in_every_place_is_taken_out(self):
        """Two secrets, one of them twice, are all gone."""
        error = AuthError("S3CR3T-one and S3CR3T-two and S3CR3T-one")
        assert str(error.redact(iter(["S3CR3T-one", "S3CR3T-two"]))) == "*** and *** and ***"

    def test_a_secret_at_the_end_of_a_cut_text_is_taken_out(self):
        """Where a text is cut within a secret, its beginning goes too."""
        secret = "S3CR3T-0123456789"
        for space in range(490, 520):
            error = AuthError("refused", detail="x" * space + secret).redact([secret])
            assert "S3CR3T" not in error.detail
            assert len(error.detail) <= 520

    @pytest.mark.parametrize("secrets", [("acme-app", "acme-app-S3CR3T"), ("acme-app-S3CR3T", "acme-app")])
    def test_a_secret_that_begins_as_another_leaves_no_end_of_it(self, secrets):
        """Whichever is named first."""
        error = AuthError("no acme-app-S3CR3T for acme-app").redact(secrets)
        assert error.message == "no *** for ***"

    def test_nothing_to_find_changes_nothing(self):
        """Texts that are not there stay None."""
        error = AuthError("refused")
        before = dict(vars(error))
        assert vars(error.redact(["S3CR3T-one"])) == before
        assert vars(error.redact([])) == before

    def test_what_protects_nothing_is_left_alone(self):
        """A credential of five characters would tear holes into sentences."""
        assert str(AuthError("the token was refused").redact(["token", "", "a"])) == "the token was refused"
        assert str(AuthError("the tokens were refused").redact(["tokens"])) == "the *** were refused"


@every
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_every_error_pickles_with_all_its_attributes(cls, protocol):
    """A full error comes back from any pickle protocol as the same class with the same attributes and text."""
    error = cls(
        "it went wrong",
        source="payments",
        provider="weavr",
        id="42",
        status=503,
        code="E1",
        detail="try later",
        reason="edge",
        request_id="8f",
        retryable=not cls.default_retryable,
        retry_after=2.5,
    )
    error.add_note("also: edge")
    back = pickle.loads(pickle.dumps(error, protocol))
    assert type(back) is cls
    assert vars(back) == vars(error)
    assert back.__notes__ == ["also: edge"]
    assert str(back) == str(error)
    assert back.args == error.args == ("it went wrong",)


@given(cls=st.sampled_from((*EVERY, HouseError)), message=st.text(max_size=40), told=attributes)
def test_pickling_and_copying_lose_nothing(cls, message, told):
    """Whatever an error was told survives pickle, copy and deepcopy, in branches made elsewhere too."""
    error = cls(message, **told)
    for back in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert type(back) is cls
        assert vars(back) == vars(error)
        assert str(back) == str(error)


@given(told=attributes)
def test_provider_text_in_an_error_is_always_printable(told):
    """No code, detail or request id holds a control character, whatever the provider sent."""
    error = ProtocolError("x", **told)
    for text in (error.code, error.detail, error.request_id):
        assert text is None or not any(ord(char) < 32 or 0x7F <= ord(char) < 0xA0 for char in text)


def test_the_cause_can_be_chained_and_the_notes_kept():
    """An error is an ordinary exception: `from`, notes and `except` over branches work."""
    cause = OSError("boom")
    with pytest.raises(BulkStatusError) as caught:
        raise Unavailable("down") from cause
    assert caught.value.__cause__ is cause


def test_a_verdict_keeps_its_outcome_when_it_is_pickled_and_copied():
    """What raised it travels along, to another process too."""
    result = Result(ref="payments:1", verdict=Verdict.FAILED)
    outcome = Outcome(results=(result,), observed_at=datetime(2026, 1, 1, tzinfo=UTC))
    with pytest.raises(VerdictError) as caught:
        outcome.raise_for_verdict()
    for back in (pickle.loads(pickle.dumps(caught.value)), copy.copy(caught.value)):
        assert type(back) is VerdictError
        assert back.outcome == outcome
        assert str(back) == str(caught.value)


@pytest.mark.parametrize("cls", [*EVERY, VerdictError], ids=lambda cls: cls.__name__)
def test_every_error_can_be_told_as_a_failure_and_comes_back(cls):
    """A Failure of any kind of error gives an error of the same kind and words."""
    failure = Failure.of(cls("it went wrong").about(source="payments", provider="weavr", id="42"))
    back = failure.error()
    assert (type(back), str(back), back.id) == (cls, "payments (weavr): it went wrong", "42")
