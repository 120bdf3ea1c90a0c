"""Text from elsewhere, made safe to show."""

import tomllib
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkstatus._text import nearest, printable, toml_key

UNSAFE = (
    *range(0x20),
    *range(0x7F, 0xA0),
    0x061C,
    *range(0x200B, 0x2010),
    0x2028,
    0x2029,
    *range(0x202A, 0x202F),
    *range(0x2060, 0x2065),
    *range(0x2066, 0x206A),
    0xFEFF,
    *range(0xFFF9, 0xFFFC),
    *range(0xD800, 0xE000),
    *range(0xE0000, 0xE0080),
)
UNSAFE_CHARACTERS = frozenset(map(chr, UNSAFE))
ANY_TEXT = st.text(st.characters(exclude_categories=()))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain words, 100 %", "plain words, 100 %"),
        ("", ""),
        ("Ünï cödé 日本語 🎉", "Ünï cödé 日本語 🎉"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("\x1b]8;;http://evil.test\x1b\\x", r"\x1b]8;;http://evil.test\x1b\x"),
        ("\x1b]52;c;AAAA\x07", r"\x1b]52;c;AAAA\x07"),
        ("\x1bPq#0\x1b\\", r"\x1bPq#0\x1b" + "\\"),
        ("\x1b]0;never ended", r"\x1b]0;never ended"),
        ("\x9b31m", r"\x9b31m"),
        ("a\rb", r"a\rb"),
        ("a\bb", r"a\x08b"),
        ("bell\x07", r"bell\x07"),
        ("a\nFAKE ROW", r"a\nFAKE ROW"),
        ("a\tb", r"a\tb"),
        ("a\x00b", r"a\x00b"),
        ("a\x7fb", r"a\x7fb"),
        ("abc\u202edef", r"abc\u202edef"),
        ("a\u200bb", r"a\u200bb"),
        ("a\u2028b\u2029c", r"a\u2028b\u2029c"),
        ("a\u061cb", r"a\u061cb"),
        ("\ufeffa", r"\ufeffa"),
        ("a\ufff9b", r"a\ufff9b"),
        ("\ud800", r"\ud800"),
        ("\U000e0041", r"\U000e0041"),
        ("[/foo]", "[/foo]"),
        ("[link=https://evil.test]x[/link]", "[link=https://evil.test]x[/link]"),
        (r"already \x1b escaped", r"already \x1b escaped"),
    ],
)
def test_what_moves_or_hides_text_is_shown_as_an_escape(text, shown):
    """Every attack on a terminal becomes visible text; everything else stays as it is."""
    assert printable(text) == shown


def test_every_unsafe_character_is_escaped_and_none_dropped():
    """Each control, bidi, zero-width, separator, annotation, surrogate and tag character has a visible escape."""
    for point in UNSAFE:
        shown = printable(f"a{chr(point)}b")
        assert shown.startswith("a\\"), hex(point)
        assert shown.endswith("b"), hex(point)
        assert shown.isascii(), hex(point)
        assert shown.isprintable(), hex(point)
        escaped = shown[1:-1]
        assert escaped.encode("ascii").decode("unicode_escape") == chr(point), hex(point)


def test_long_text_is_cut_and_says_so():
    """A megabyte becomes one line of the limit, its end an ellipsis; text of exactly the limit is whole."""
    assert printable("a" * 1_000_000) == "a" * 511 + "…"
    assert printable("a" * 512) == "a" * 512
    assert printable("abcdef", 3) == "ab…"
    assert printable("abc", 3) == "abc"
    assert printable("\x1b\x1b\x1b", 6) == r"\x1b\…"
    assert len(printable("a" + "\u0301" * 10_000)) == 512


@given(ANY_TEXT)
def test_nothing_unsafe_is_left(text):
    """The result never holds a control, bidi, invisible or surrogate character and can be encoded."""
    shown = printable(text)
    assert UNSAFE_CHARACTERS.isdisjoint(shown)
    assert not {unicodedata.category(char) for char in shown} & {"Cc", "Cs", "Zl", "Zp"}
    assert not any(
        unicodedata.bidirectional(char) in {"LRE", "RLE", "PDF", "LRO", "RLO", "LRI", "RLI", "FSI", "PDI"}
        for char in shown
    )
    shown.encode()


@given(ANY_TEXT)
def test_showing_twice_changes_nothing(text):
    """Text that was made safe is safe: a second pass leaves it alone."""
    once = printable(text)
    assert printable(once) == once


@given(st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=512))
def test_safe_text_is_returned_as_it_is(text):
    """ASCII that prints is never changed."""
    assert printable(text) == text


@given(ANY_TEXT, st.integers(1, 60))
def test_the_limit_holds_for_what_is_shown(text, limit):
    """However long the escapes are, at most `limit` characters are shown, and what is shown is the beginning."""
    shown = printable(text, limit)
    whole = printable(text, 10_000_000)
    assert len(shown) <= limit
    assert shown == (whole if len(whole) <= limit else f"{whole[: limit - 1]}…")


def test_nearest_names_the_word_that_was_probably_meant():
    """A typing error is answered with the right word, anything else with all the words there are."""
    assert nearest("wevr", ["weavr", "druid"]) == "; did you mean 'weavr'?"
    assert nearest("xyz", iter(["weavr", "druid"])) == " (there are: weavr, druid)"


@pytest.mark.parametrize(
    "key", ["payments", "eu.payments", "a b", 'say "no"', "back\\slash", "é", "a-b_c", "x\x7fy"]
)
def test_a_key_of_toml_is_read_as_it_was(key):
    """Bare where it may stand so, else in quotes."""
    written = toml_key(key)
    assert tomllib.loads(f"{written} = 1") == {key: 1}
    assert written.startswith('"') is not (key in ("payments", "a-b_c"))
