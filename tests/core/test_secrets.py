"""Credentials that do not show themselves."""

import copy
import json
import pickle
import traceback

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkstatus._secrets import Secret, as_secret, fault_of
from bulkstatus.errors import ConfigError

CANARY = "S3CR3T-canary"


def vault(*values):
    """A function that gives the values one after another, and the list of its calls."""
    calls = []

    def fetch():
        calls.append(1)
        return values[min(len(calls), len(values)) - 1]

    return fetch, calls


class TestHiding:
    """Nothing shows a secret but `reveal`."""

    def test_no_text_of_it_holds_the_value(self):
        """repr, str, formatting and containers show stars."""
        for secret in (Secret(CANARY, "token"), Secret(lambda: CANARY, "token")):
            secret.load()
            shown = (
                repr(secret),
                str(secret),
                f"{secret}",
                f"{secret!r}",
                repr([secret]),
                repr({"token": secret}),
            )
            assert not [text for text in shown if CANARY in text]
            assert "***" in repr(secret)
            assert str(secret) == "***"

    def test_it_is_written_nowhere(self):
        """pickle, copy, JSON and msgspec refuse it, and what they say does not hold the value."""
        secret = Secret(CANARY, "token")
        for write in (
            pickle.dumps,
            copy.copy,
            copy.deepcopy,
            json.dumps,
            msgspec.json.encode,
            msgspec.msgpack.encode,
            msgspec.to_builtins,
            vars,
            iter,
            len,
            bytes,
        ):
            with pytest.raises(TypeError) as caught:
                write(secret)
            assert CANARY not in str(caught.value)

    @pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
    def test_no_pickle_protocol_takes_it(self, protocol):
        """Not alone, and not inside something else."""
        with pytest.raises(TypeError):
            pickle.dumps({"a": Secret(CANARY)}, protocol)

    def test_comparing_is_by_identity(self):
        """Two secrets of one value are two secrets, so comparing tells nothing."""
        one, two = Secret(CANARY), Secret(CANARY)
        assert one != two
        assert one == one  # noqa: PLR0124 - identity is what is tested
        assert one != CANARY
        assert len({one, two}) == 2

    def test_revealing_gives_the_value(self):
        """The credential itself is there when it is needed."""
        assert Secret(CANARY).reveal() == CANARY
        assert Secret(lambda: CANARY).reveal() == CANARY


BAD = {
    "a line break at the end": "S3CR3T\n",
    "a header of one's own": "S3CR3T\r\nX-Evil: 1",
    "NUL": "S3CR3T\x00",
    "a blank before": " S3CR3T",
    "a blank after": "S3CR3T ",
    "a blank inside": "S3CR3T S3CR3T",
    "a tab": "S3CR3T\t",
    "an accent": "S3CR3T\xe9",
    "a bidirectional control": "S3CR3T\u202e",
    "a zero-width blank": "S3CR3T\u200b",
    "a byte-order mark": "\ufeffS3CR3T",
    "ESC": "S3CR3T\x1b[31m",
    "DEL": "S3CR3T\x7f",
    "64 KiB": "S3CR3T" * 11_000,
    "nothing": "",
}


class TestChecking:
    """What can be a credential."""

    @pytest.mark.parametrize("value", BAD.values(), ids=BAD)
    def test_what_cannot_be_sent_is_a_config_error_without_the_value(self, value):
        """The error names the setting; neither its text, its traceback nor its pickle holds the value."""
        with pytest.raises(ConfigError) as caught:
            Secret(value, "auth_token")
        error = caught.value
        assert "auth_token" in str(error)
        whole = "".join(traceback.format_exception(error))
        for text in (str(error), repr(error), repr(vars(error)), whole):
            assert "S3CR3T" not in text
        assert b"S3CR3T" not in pickle.dumps(error)

    @pytest.mark.parametrize("value", BAD.values(), ids=BAD)
    def test_a_fetched_value_is_checked_alike(self, value):
        """A function's answer is not trusted more than a text."""
        secret = Secret(lambda: value, "auth_token")
        for use in (secret.load, secret.reveal):
            with pytest.raises(ConfigError) as caught:
                use()
            assert "auth_token" in str(caught.value)
            assert "S3CR3T" not in str(caught.value)
        assert not secret.loaded

    @pytest.mark.parametrize("value", [None, 42, b"S3CR3T", ["S3CR3T"]])
    def test_only_a_text_is_a_credential(self, value):
        """Bytes and None are refused, where given and where fetched, without being repeated."""
        for make in (lambda: Secret(value, "token"), Secret(lambda: value, "token").load):
            with pytest.raises(ConfigError) as caught:
                make()
            assert "S3CR3T" not in str(caught.value)

    def test_the_error_says_what_is_wrong(self):
        """A line break and a blank are called by name, as they are what a careless copy leaves behind."""
        for value, word in (
            ("a\n", "line break"),
            ("a\r", "line break"),
            ("a b", "blank"),
            ("\xe9", "ASCII"),
        ):
            with pytest.raises(ConfigError, match=word):
                Secret(value, "token")

    @pytest.mark.parametrize("length", [1, 16_384])
    def test_the_longest_and_the_shortest_are_taken(self, length):
        """From one character to 16,384."""
        assert Secret("a" * length).reveal() == "a" * length

    @given(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1))
    def test_printable_ascii_without_blanks_is_taken_as_it_is(self, value):
        """Every legal text is a credential and is not changed."""
        assert fault_of(value) is None
        assert Secret(value).reveal() == value

    @given(
        st.text(st.characters(exclude_categories=())).filter(
            lambda text: text and not all("!" <= char <= "~" for char in text)
        )
    )
    def test_anything_else_is_refused_without_being_repeated(self, value):
        """The same sentence for the same fault, whatever stands around it."""
        with pytest.raises(ConfigError) as caught:
            Secret(f"{value}{CANARY}", "token")
        assert CANARY not in str(caught.value)
        assert str(caught.value).isprintable()


class TestFetching:
    """A credential that a function fetches."""

    def test_nothing_is_fetched_before_it_is_needed(self):
        """Making a secret does not call the function; loading calls it once."""
        fetch, calls = vault("one", "two")
        secret = Secret(fetch, "token")
        assert (secret.loaded, len(calls)) == (False, 0)
        secret.load()
        secret.load()
        assert (secret.loaded, len(calls)) == (True, 1)
        assert secret.reveal() == secret.reveal() == "one"
        assert len(calls) == 1

    def test_revealing_loads(self):
        """A value that is not there yet is fetched."""
        assert Secret(vault("one")[0]).reveal() == "one"

    def test_a_forgotten_value_is_fetched_anew(self):
        """After `forget` the function is asked again."""
        secret = Secret(vault("one", "two")[0])
        assert secret.renewable
        secret.load()
        secret.forget()
        assert not secret.loaded
        assert secret.reveal() == "two"

    def test_a_text_is_not_forgotten(self):
        """There is nothing to fetch it from, so it stays."""
        secret = Secret("one")
        assert (secret.renewable, secret.loaded) == (False, True)
        secret.forget()
        assert secret.reveal() == "one"

    def test_a_function_may_be_declared_not_renewable(self):
        """What would give the same again is fetched once and kept."""
        fetch, calls = vault("one", "two")
        secret = Secret(fetch, renewable=False)
        assert secret.reveal() == "one"
        secret.forget()
        assert secret.reveal() == "one"
        assert len(calls) == 1

    def test_what_the_function_raises_comes_through(self):
        """A locked keyring is reported as it is, and the next attempt asks again."""
        answers = [RuntimeError("locked"), CANARY]

        def fetch():
            answer = answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer

        secret = Secret(fetch)
        with pytest.raises(RuntimeError, match="locked"):
            secret.load()
        assert not secret.loaded
        assert secret.reveal() == CANARY


def test_as_secret_wraps_texts_and_functions_and_keeps_secrets():
    """Settings accept all three; a Secret keeps its own name."""
    assert (as_secret(CANARY, "key").name, as_secret(CANARY, "key").reveal()) == ("key", CANARY)
    assert as_secret(lambda: CANARY, "key").renewable
    secret = Secret(CANARY, "own")
    assert as_secret(secret, "key") is secret
    assert secret.name == "own"
    assert Secret(CANARY).name == "secret"
