"""What an adapter is: settings, ids, limits and capabilities."""

import copy
import json
import pickle
from typing import ClassVar

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkstatus import adapter as door
from bulkstatus._adapter import (
    Adapter,
    BaseUrl,
    Confirms,
    IdGrammar,
    Limit,
    Listing,
    Operations,
    Probe,
    counted_as,
)
from bulkstatus._call import Call, Page, Request
from bulkstatus._model import State
from bulkstatus._secrets import Secret, SecretText
from bulkstatus._states import Vocabulary
from bulkstatus.errors import ConfigError

CANARY = "S3CR3T-canary"
GRAMMAR = IdGrammar(r"[A-Za-z0-9][A-Za-z0-9_-]*", "letters, digits, _ and -")
DIGITS = IdGrammar(r"\d{1,32}", "1 to 32 digits")
ANYTHING = IdGrammar(r".*", "anything")


class Plain(Adapter, frozen=True, kw_only=True):
    """An adapter with the least there can be."""

    provider: ClassVar[str] = "plain"
    id_grammar: ClassVar[IdGrammar] = GRAMMAR


class Limited(Plain, frozen=True, kw_only=True):
    """An adapter whose provider documents limits."""

    limits: ClassVar[tuple[Limit, ...]] = (Limit(100, 60), Limit(1000, 3600))


class Shared(Limited, frozen=True, kw_only=True):
    """An adapter that leaves some of them to others."""

    share: ClassVar[tuple[Limit, ...] | None] = (Limit(25, 60),)


class Unkept(Limited, frozen=True, kw_only=True):
    """An adapter that keeps no limit at all."""

    share: ClassVar[tuple[Limit, ...] | None] = ()


class Full(Adapter, frozen=True, kw_only=True):
    """An adapter with credentials of every kind and every capability."""

    provider: ClassVar[str] = "full"
    id_grammar: ClassVar[IdGrammar] = GRAMMAR
    rows_per_page: ClassVar[int | None] = 100

    base_url: str = "https://api.example.com"
    token: SecretText
    key: SecretText | None = None
    checked: list[str] = msgspec.field(default_factory=list)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.checked.append(self.base_url)

    def listing(self, query):
        return ()

    def operations(self, id, query):
        return Call(Request.to(self.base_url, id), lambda response: Page(items=()))

    def confirm(self, row):
        return None

    def probe(self):
        return Call(Request.to(self.base_url), lambda response: None)


def shown(value):
    """A name for a parameter."""
    return ascii(value)[:40]


class TestIdGrammar:
    """What an id looks like."""

    @pytest.mark.parametrize(
        "id", ["1", "a", "112233445566778899", "4da8780eeb215e6cb7f48dd981c4ea02", "a_b-C", "a" * 128]
    )
    def test_an_id_is_returned_as_it_is(self, id):
        """A good id is not changed."""
        assert GRAMMAR.check(id) == id

    @pytest.mark.parametrize(
        "id",
        [
            "",
            " ",
            "a" * 129,
            "a" * 300,
            "a" * 70_000,
            ".",
            "..",
            "../admin",
            "a/b",
            "a%2fb",
            "%2e%2e",
            "a?x=1",
            "a#f",
            "a;b",
            "a\\b",
            "//evil.test/x",
            "https://evil.test",
            "a\r\nX: y",
            "a\n",
            "\na",
            "\x00",
            "a\x00",
            "\x1b[31m",
            "\u202e",
            "\uff11\uff12\uff13",
            "\u0661",
            "-rf",
            "a b",
            " a",
            "\ud800",
        ],
        ids=shown,
    )
    def test_what_is_no_id_is_a_config_error(self, id):
        """Nothing odd gets near a URL; the error shows it escaped and cut, and says what an id looks like."""
        with pytest.raises(ConfigError) as caught:
            GRAMMAR.check(id)
        assert caught.value.reason == "id"
        assert "letters, digits, _ and -" in str(caught.value)
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 700

    @pytest.mark.parametrize("id", ["\uff11\uff12\uff13", "\u0661\u0662", "\u00b2", "12\n", "9" * 33])
    def test_digits_are_ascii_digits(self, id):
        """A pattern means ASCII, and the whole of the id."""
        assert DIGITS.check("9" * 32) == "9" * 32
        with pytest.raises(ConfigError):
            DIGITS.check(id)

    @pytest.mark.parametrize("pattern", ["(?i)[a-z.]+|#", "[A-Z.]+|#", r"([A-Z.])\1*|[A-Z]+|#"])
    def test_a_pattern_of_any_form_is_for_the_whole_of_an_id(self, pattern):
        """With flags at its beginning, with alternatives, with groups; what no segment can be is no id all the same."""
        grammar = IdGrammar(pattern, "letters")
        fits = {
            id: grammar.fits(id) for id in ("ABC", "...", "..", ".", "#", "A" * 128, "A" * 129, "A#", "A\n")
        }
        assert [id for id, does in fits.items() if does] == ["ABC", "...", "A" * 128]

    def test_case_matters_unless_the_provider_says_that_it_does_not(self):
        """Two ids that differ in case have a key each, or one together."""
        assert GRAMMAR.key("aB") == "aB"
        assert IdGrammar("[A-Za-z]+", "letters", cased=False).key("aB") == "ab"

    @pytest.mark.parametrize(
        "id",
        [
            ".",
            "..",
            "a" * 129,
            "",
            "a/b",
            "a\\b",
            "a%2f",
            "a?b",
            "a#b",
            "a b",
            "a\r",
            "a\x00",
            "\x1b",
            "\u0661",
        ],
    )
    def test_some_things_are_no_id_anywhere(self, id):
        """Dots that move a path, endless ids and what a segment of a path cannot hold, whatever the pattern allows."""
        assert ANYTHING.check("a.b") == "a.b"
        assert ANYTHING.check("a-b._~!$&'()*+,;=:@C9") == "a-b._~!$&'()*+,;=:@C9"
        with pytest.raises(ConfigError):
            ANYTHING.check(id)

    def test_a_long_id_is_cut_and_its_length_said(self):
        """A megabyte of id is one short line."""
        with pytest.raises(ConfigError) as caught:
            GRAMMAR.check("a" * 1_000_000)
        assert "1000000 characters" in str(caught.value)
        assert len(str(caught.value)) < 200

    @given(st.text(st.characters(exclude_categories=())))
    def test_any_text_is_an_id_or_a_config_error(self, id):
        """What passes is ASCII letters, digits, _ and - only."""
        try:
            assert GRAMMAR.check(id) == id
            assert id.isascii()
            assert id.replace("_", "a").replace("-", "a").isalnum()
        except ConfigError as error:
            assert str(error).isprintable()  # noqa: PT017 - passing is as right


class TestLimit:
    """A documented limit."""

    @pytest.mark.parametrize(
        ("limit", "text"),
        [(Limit(1200, 300.0), "1,200 in 300 s"), (Limit(5, 1), "5 in 1 s"), (Limit(1, 0.5), "1 in 0.5 s")],
    )
    def test_it_reads_as_a_sentence_would_say_it(self, limit, text):
        """Requests in seconds."""
        assert str(limit) == text


class TestSettings:
    """A frozen struct of settings."""

    def test_credentials_become_secrets(self):
        """Texts, functions and Secrets are accepted; each is a Secret under its setting's name."""
        made = Secret(CANARY, "own")
        for token in (CANARY, lambda: CANARY, made):
            adapter = Full(token=token)
            assert isinstance(adapter.token, Secret)
            assert adapter.token.reveal() == CANARY
        assert Full(token=CANARY).token.name == "token"
        assert Full(token=made).token is made

    def test_a_credential_that_is_optional_stays_unset(self):
        """None is no credential; a text is one."""
        assert Full(token=CANARY).key is None
        assert Full(token=CANARY, key="k").key.reveal() == "k"
        assert Full(token=CANARY, key="k").key.name == "key"

    def test_a_function_is_not_called_while_settings_are_made(self):
        """Making an adapter fetches nothing."""
        asked = []
        Full(token=lambda: asked.append(1) or CANARY)
        assert not asked

    @pytest.mark.parametrize("value", ["", "S3CR3T\n", " S3CR3T", "S3CR3T\u202e", 42, b"S3CR3T"])
    def test_what_cannot_be_a_credential_is_a_config_error(self, value):
        """It names the setting and not the value."""
        with pytest.raises(ConfigError) as caught:
            Full(token=value)
        assert "token" in str(caught.value)
        assert "S3CR3T" not in str(caught.value)

    def test_no_text_of_it_holds_a_credential(self):
        """repr, dict and JSON of an adapter can go to a log."""
        adapter = Full(token=CANARY, key=CANARY)
        assert CANARY not in repr(adapter)
        assert CANARY not in str(adapter)
        assert CANARY not in repr(msgspec.structs.asdict(adapter))
        for write in (msgspec.json.encode, msgspec.to_builtins, json.dumps, pickle.dumps):
            with pytest.raises(TypeError) as caught:
                write(adapter)
            assert CANARY not in str(caught.value)

    def test_replacing_a_setting_keeps_the_credentials(self):
        """A copy with one setting changed has the same Secret, not a Secret of a Secret."""
        adapter = Full(token=CANARY)
        other = msgspec.structs.replace(adapter, base_url="https://other.example.com")
        assert other.token is adapter.token
        assert copy.copy(adapter).token is adapter.token

    def test_settings_cannot_be_changed(self):
        """An adapter is a value."""
        with pytest.raises(AttributeError):
            Full(token=CANARY).base_url = "https://evil.test"

    def test_unknown_settings_are_refused(self):
        """In code and from a table, in subclasses as in the base."""
        with pytest.raises(TypeError):
            Plain(tokn="x")
        with pytest.raises(msgspec.ValidationError, match="tokn"):
            msgspec.convert({"tokn": "x"}, Plain)

    def test_an_adapter_can_check_more(self):
        """`__post_init__` of a subclass runs after the base's."""
        assert Full(token=CANARY, checked=[]).checked == ["https://api.example.com"]


class TestStateMap:
    """Words that the user pins."""

    def test_by_default_nothing_is_pinned(self):
        """And two adapters do not share their pins."""
        one, two = Plain(), Plain()
        assert one.state_map == {}
        assert one.state_map is not two.state_map

    @pytest.mark.parametrize("pinned", [State.RUNNING, "running"])
    def test_a_pin_is_a_state_however_it_was_written(self, pinned):
        """The word `running` in code means what it means in a table: what is read from it is a State."""
        adapter = Plain(state_map={"ARCHIVING": pinned})
        assert adapter.state_map == {"ARCHIVING": State.RUNNING}
        decision = Vocabulary("plain bulk", {}).read("ARCHIVING", adapter.state_map)
        assert decision.state is State.RUNNING
        assert not decision.state.is_terminal

    def test_a_pin_from_a_table_is_a_state(self):
        """Settings from a file go through the same types."""
        adapter = msgspec.convert({"state_map": {"ARCHIVING": "running"}}, Plain)
        assert adapter.state_map["ARCHIVING"] is State.RUNNING

    @pytest.mark.parametrize("state", ["done", "", "Running", None, 5])
    def test_a_pin_to_something_else_is_a_config_error(self, state):
        """It names the word and what it was pinned to."""
        with pytest.raises(ConfigError) as caught:
            Plain(state_map={"ARCHIVING": state})
        assert "ARCHIVING" in str(caught.value)
        assert "state_map" in str(caught.value)


class TestDeclarations:
    """What an adapter says about its provider."""

    def test_the_defaults_are_careful(self):
        """No limits known, a look every second at most, every minute at least, nothing but status."""
        assert (Plain.limits, Plain.poll_floor, Plain.poll_ceiling) == ((), 1.0, 60.0)

    def test_without_a_budget_all_that_the_provider_allows_is_kept(self):
        """The adapter's share comes before the documented limits, and the user's budget before both."""
        assert Plain().allowed() == ()
        assert Limited().allowed() == Limited.limits
        assert Shared().allowed() == Shared.share
        assert Shared(budget=(Limit(5, 1),)).allowed() == (Limit(5, 1),)

    def test_an_empty_budget_is_no_limit(self):
        """For an account that has none."""
        assert Shared(budget=()).allowed() == ()

    def test_a_share_of_nothing_is_no_limit(self):
        """An adapter may declare limits and keep none of them."""
        assert Unkept().allowed() == ()

    def test_a_budget_from_a_table_is_checked(self):
        """Numbers that cannot be limits are refused where they are read."""
        found = msgspec.convert({"budget": [{"requests": 5, "seconds": 1}]}, Shared)
        assert found.allowed() == (Limit(5, 1),)
        for requests, seconds in ((0, 1), (1, 0), (1, -5)):
            with pytest.raises((ConfigError, msgspec.ValidationError)):
                msgspec.convert({"budget": [{"requests": requests, "seconds": seconds}]}, Shared)

    def test_capabilities_are_asked_for_by_type(self):
        """An adapter has those whose methods it has."""
        for capability in (Listing, Operations, Confirms, Probe):
            assert isinstance(Full(token=CANARY), capability)
            assert not isinstance(Plain(), capability)

    def test_what_every_adapter_must_write_is_not_written_here(self):
        """`auth` and `status` have no default, and `base_urls` none without a `BaseUrl`."""
        adapter = Plain()
        for call in (adapter.auth, adapter.base_urls, lambda: adapter.status("1")):
            with pytest.raises(NotImplementedError):
                call()


class Addressed(Plain, frozen=True, kw_only=True):
    """An adapter with the setting that most have."""

    base_url: BaseUrl = "https://api.example.com/v1"


class TwoHosts(Addressed, frozen=True, kw_only=True):
    """One whose tokens may come from elsewhere."""

    auth_base_url: BaseUrl | None = None
    note: str = "http://plain.example.com"


class TestBaseUrl:
    """Settings that are annotated `BaseUrl` are looked after by the base."""

    def test_there_may_be_several(self):
        """Each that is set is checked by its own name; other settings are left alone."""
        assert TwoHosts().base_urls() == ("https://api.example.com/v1",)
        adapter = TwoHosts(auth_base_url="https://auth.example.com/")
        assert adapter.base_urls() == ("https://api.example.com/v1", "https://auth.example.com")
        with pytest.raises(ConfigError, match="auth_base_url"):
            TwoHosts(auth_base_url="http://auth.example.com")

    def test_it_is_where_requests_may_go(self):
        """In its plain form, also where it is the default."""
        assert Addressed().base_urls() == ("https://api.example.com/v1",)
        adapter = Addressed(base_url="https://eu.example.com/v2/")
        assert (adapter.base_url, adapter.base_urls()) == (
            "https://eu.example.com/v2",
            ("https://eu.example.com/v2",),
        )

    @pytest.mark.parametrize("url", ["http://api.example.com", "https://u:p@api.example.com", "ftp://x", ""])
    def test_what_cannot_be_one_is_refused(self, url):
        """By the name of the setting, when the adapter is made, in code as in a configuration."""
        with pytest.raises(ConfigError, match="base_url"):
            Addressed(base_url=url)
        with pytest.raises((ConfigError, msgspec.ValidationError), match="base_url"):
            msgspec.convert({"base_url": url}, Addressed)


class Counted(Adapter, frozen=True, kw_only=True):
    """An adapter whose provider counts by account, whatever the token."""

    provider: ClassVar[str] = "counted"
    id_grammar: ClassVar[IdGrammar] = GRAMMAR
    counted_by: ClassVar[tuple[str, ...]] = ("account",)

    account: str
    token: SecretText
    url: str = "https://api.example.com/v1"

    def base_urls(self):
        return (self.url,)


class Based(Full, frozen=True, kw_only=True):
    """An adapter with an address."""

    def base_urls(self):
        return (self.base_url,)


class TestCountedAs:
    """Whose budget the requests of a source are counted against."""

    def test_the_same_credentials_at_the_same_place_are_one(self):
        """Whatever else is set, and on whichever path."""
        one = counted_as(Based(token="token-one", base_url="https://api.example.com/v1"))
        assert one == counted_as(
            Based(token="token-one", base_url="https://api.example.com/v2", state_map={"X": State.FAILED})
        )

    @pytest.mark.parametrize(
        "other",
        [
            Based(token="token-two"),
            Based(token="token-one", key="key-one"),
            Based(token="token-one", base_url="https://eu.example.com"),
            Based(token="token-one", base_url="https://api.example.com:8443"),
            Counted(account="1", token="token-one"),
        ],
    )
    def test_other_credentials_places_or_providers_are_others(self, other):
        """Nothing is shared by accident."""
        assert counted_as(other) != counted_as(Based(token="token-one"))

    def test_settings_of_different_names_are_not_mixed_up(self):
        """The same text as another credential is another."""
        assert counted_as(Based(token="same-text")) != counted_as(Based(token="other", key="same-text"))

    def test_an_adapter_may_say_by_what_is_counted(self):
        """Then other credentials make no difference, and that setting does."""
        one = counted_as(Counted(account="1", token="token-one"))
        assert one == counted_as(Counted(account="1", token="token-two"))
        assert one != counted_as(Counted(account="2", token="token-one"))

    def test_until_credentials_are_fetched_it_is_not_known(self):
        """And asking does not fetch them."""
        adapter = Based(token=lambda: "token-one")
        assert counted_as(adapter) is None
        adapter.token.load()
        assert counted_as(adapter) == counted_as(Based(token="token-one"))

    def test_what_is_not_counted_by_need_not_be_fetched(self):
        """The account alone is enough."""
        found = counted_as(Counted(account="1", token=lambda: CANARY))
        assert found == counted_as(Counted(account="1", token="token-one"))

    def test_it_shows_no_credential(self):
        """It is a digest."""
        assert CANARY not in counted_as(Based(token=CANARY))


class TestDoor:
    """The module that adapter authors import from."""

    def test_all_names_exist_and_are_sorted_as_promised(self):
        """`__all__` is what the door holds, no more and no less."""
        assert len(set(door.__all__)) == len(door.__all__)
        # pytest adds names that no code can spell to modules whose assertions it rewrites.
        public = {name for name in vars(door) if name.isidentifier() and not name.startswith("_")}
        assert set(door.__all__) == public

    def test_nothing_that_sends_is_behind_it(self):
        """An author needs no network library."""
        for name in door.__all__:
            module = getattr(getattr(door, name), "__module__", "bulkstatus")
            assert module.partition(".")[0] in {"bulkstatus", "builtins", "typing"}


def test_a_copy_with_other_settings_is_checked_like_the_first():
    """`msgspec.structs.replace` goes the way of the constructor: a new credential is hidden, a wrong setting refused.

    So it is from msgspec 0.21 on; before, the credential would have been plain text in the repr.
    """
    copied = msgspec.structs.replace(Full(token="first"), token=CANARY)
    assert isinstance(copied.token, Secret)
    assert CANARY not in repr(copied)
    with pytest.raises(ConfigError, match="state_map"):
        msgspec.structs.replace(copied, state_map={"DONE": "suceeded"})
