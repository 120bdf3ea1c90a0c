"""What is odd in an answer: that it is noticed, only it, and what of it may be shown."""

import threading
import tomllib
from contextvars import copy_context
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulkstatus import State
from bulkstatus._drift import OTHERS, collecting, is_collecting, note_members, pin
from bulkstatus._samples import pattern, shown, time_shown
from bulkstatus._states import Vocabulary
from bulkstatus._tally import MOST, Tally
from bulkstatus.adapter import (
    PageReader,
    Reader,
    Response,
    from_epoch,
    from_text,
    new_fields,
    unknown_word,
    unreadable_time,
)

NOW = datetime(2026, 5, 1, tzinfo=UTC)
LATER = datetime(2026, 5, 2, tzinfo=UTC)
SECRET = "S3CR3T/drift-key"
WORDS = Vocabulary(
    "plain bulk", {"running": State.RUNNING, "lost": State.UNKNOWN, "all done": State.SUCCEEDED}
)


def found(do, *, secrets=(), is_pinned=lambda _: False):
    """What `do` says is odd."""
    with collecting() as odd:
        do()
    return odd.found(secrets, is_pinned=is_pinned)


def response(body: bytes) -> Response:
    """An answer with this body."""
    return Response(
        source="s",
        status=200,
        headers={},
        body=body,
        received_at=NOW,
    )


# --- words ---


@pytest.mark.parametrize("word", ["ARCHIVING", "runnin", "archiving", "\u5b8c\u4e86"])
def test_a_word_that_is_in_no_table_is_noticed_each_time(word):
    """Also when it was read before, and the reading is remembered."""
    for _ in range(2):
        (odd,) = found(lambda: WORDS.read(word, {}))
        assert odd == ("word", "plain bulk", word, word, word)


def test_a_word_that_is_too_long_to_be_one_is_noticed():
    """By its length alone: nobody can pin it, and it may be a sentence about somebody."""
    (odd,) = found(lambda: WORDS.decide("held for Jane Doe " * 9, None, {}))
    assert (odd.kind, odd.sample, odd.word) == ("word", "(a text of 162 characters)", None)


@pytest.mark.parametrize("word", ["running", "RUNNING", " Running", "lost", "All-Done", "", None])
def test_a_documented_word_is_not(word):
    """In whatever case; one that is documented to tell nothing neither, and no word at all."""
    assert found(lambda: WORDS.read(word, {})) == ()


def test_a_pinned_word_is_not():
    """In whatever case it is pinned; nor where an adapter looks it up without the pins, as ours do for operations."""
    assert found(lambda: WORDS.decide("ARCHIVING", None, {"archiving": State.RUNNING})) == ()
    assert found(lambda: WORDS.read("ARCHIVING", {}), is_pinned=lambda word: word == "ARCHIVING") == ()
    assert found(lambda: unknown_word("mode", "SLOW", pinnable=False), is_pinned=lambda _: True) != ()


def test_without_anybody_who_collects_nothing_happens():
    """Every function may be called anywhere."""
    unknown_word("v", "w")
    unreadable_time("t", "x")
    new_fields("r", {"a": 1})
    note_members("r", b"no JSON", ())
    assert not is_collecting()


def test_what_is_read_on_a_thread_is_noticed_there():
    """As the engine reads large answers: the thread has a copy of the context."""

    def on_thread():
        context = copy_context()
        thread = threading.Thread(target=context.run, args=(WORDS.read, "ARCHIVING", {}))
        thread.start()
        thread.join()

    assert [odd.sample for odd in found(on_thread)] == ["ARCHIVING"]


@pytest.mark.parametrize(
    "secret", ["QWxhZGRpbjpvcGVu1HNl3FtZTAx", "dG9rLTdjMWYtc2VjcmV0LXRoYXQ=", "sk-proj-aB3xYz7QmNpLkJh"]
)
def test_what_looks_like_a_credential_is_a_pattern(secret):
    """One that is not ours, or that was encoded: nothing here knows it."""
    for text in (secret, f"HELD:{secret}", f"by {secret}"):
        (word,) = found(lambda text=text: WORDS.read(text, {}))
        (name,) = found(lambda text=text: new_fields("r", {text: 1}))
        assert secret[:6] not in word.sample + name.sample
        assert word.word is None


@pytest.mark.parametrize("name", ["beneficiaryAddressLine1", "@type", "$ref", "x-request-id", "a.b", "größe"])
def test_the_name_of_a_field_is_shown(name):
    """Whatever programs use; only an `@` may be of an address."""
    (odd,) = found(lambda: new_fields("r", {name: 1}))
    assert odd.form == ("@aaaa" if name == "@type" else name)


def test_a_name_that_may_be_somebodys_is_a_pattern():
    """Objects may go by people's names, and those hold blanks."""
    (odd,) = found(lambda: new_fields("r", {"Jane Döe": 1}), secrets=["Döe Döe"])
    assert odd == ("field", "r", "Aaaa Aaa", "Aaaa Aaa (number)", None)


# --- times ---


@pytest.mark.parametrize(
    "value", [None, "", 0, "0", 1_770_000_000_000, "1770000000000"], ids=lambda value: repr(value)[:20]
)
def test_a_documented_epoch_is_not_noticed(value):
    """Nor one that is not set."""
    assert found(lambda: from_epoch(value, "ms", label="t", now=NOW)) == ()


@pytest.mark.parametrize(
    "value", [None, "", "2026-02-11T17:04:39Z", "2026-02-11 17:04", "2026-02-11T17:04:60z"]
)
def test_a_documented_time_is_not_noticed(value):
    """Nor one that is not set, nor one without a zone where that is UTC."""
    assert found(lambda: from_text(value, label="t", now=NOW, naive_is_utc=True)) == ()


@pytest.mark.parametrize(
    ("value", "sample"),
    [
        (10**19, "9" * 20),  # outside the calendar, and the length tells the unit
        (1_770_000_000, "1770000000"),  # seconds, where milliseconds were documented
        (-5, "-9"),
        (1.5, "number"),
        (True, "boolean"),
        ({"iban": "GB29NWBK60161331926819"}, "object, 33 bytes"),
        ("soon", "aaaa"),
        ("4111111111111111", "9" * 16),
    ],
)
def test_an_epoch_that_cannot_be_read_is_noticed(value, sample):
    """Whatever is wrong with it."""
    (odd,) = found(lambda: from_epoch(value, "ms", label="startedOn", now=NOW))
    assert (odd.kind, odd.where, odd.sample, odd.word) == ("time", "startedOn", sample, None)


@pytest.mark.parametrize(
    ("value", "sample"),
    [
        ("11.02.2026 17:04", "11.02.2026 17:04"),
        ("Wed, 11 Feb 2026 17:04:39 GMT", "Wed, 11 Feb 2026 17:04:39 GMT"),
        ("February 11, 2026", "February 11, 2026"),
        ("20260211T170439Z", "20260211T170439Z"),
        ("2026-02-11T17:04:39", "2026-02-11T17:04:39"),  # no zone
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
        ("2026-13-45T99:99:99Z", "2026-13-45T99:99:99Z"),
        ("1984-06-24", "9999-99-99"),  # of birth
        ("Jane Doe, 24 June", "Aaaa Aaa, 99 Aaaa"),
        ("jane.doe@example.com", "aaaa.aaa@aaaaaaa.aaa"),
        ("GB29NWBK60161331926819", "AA99AAAA99999999999999"),
        ("+44 20 7946 0958", "+99 99 9999 9999"),
        ("2026-02-11 Jane", "9999-99-99 Aaaa"),
        ("\u0408\u0430\u043d\u0435 \u0663\x1b[2J", "Aaaa 9?[9A"),
        ("x" * 5_000, "a" * 48 + "…"),
        (["2026-02-11"], "array, 14 bytes"),
    ],
)
def test_a_time_that_cannot_be_read_shows_its_digits_only_where_it_is_one(value, sample):
    """Of anything else no letter and no digit is left."""
    (odd,) = found(lambda: from_text(value, label="updatedOn", now=NOW))
    assert (odd.kind, odd.where, odd.sample) == ("time", "updatedOn", sample)


def test_times_of_one_form_are_one():
    """A field whose format has changed is one line, not one for each answer."""
    assert time_shown("11.02.2026 17:04")[0] == time_shown("12.03.2027 18:05")[0] == "99.99.9999 99:99"


# --- what may be shown of words and names ---


@pytest.mark.parametrize(
    ("text", "sample"),
    [
        ("ON HOLD", "ON HOLD"),
        ("jane.doe@example.com", "aaaa.aaa@aaaaaaa.aaa"),
        ("+44 20 7946 0958", "+99 99 9999 9999"),
        (f"BAD {SECRET}", "BAD ***"),
        ("BAD S3CR3T%2Fdrift-key", "BAD ***"),
        ("EVIL\x1b[31m\u202e", r"EVIL\x1b[31m\u202e"),
        ("\ud800", r"\ud800"),
        ("word " * 17, "(a text of 85 characters)"),
        (f"{'x' * 76}{SECRET}", "(a text of 92 characters)"),
    ],
)
def test_a_word_shows_neither_a_person_nor_a_credential(text, sample):
    """And can be pinned only when all of it is shown as it is. Nor does a name, with a blank in it only its pattern."""
    assert shown(text, [SECRET]) == (sample, sample == text)
    (odd,) = found(lambda: unknown_word("v", text), secrets=[SECRET])
    assert odd == ("word", "v", sample, sample, text if sample == text else None)
    (odd,) = found(lambda: new_fields("r", {text: None}), secrets=[SECRET])
    named = pattern(sample) if " " in text and len(text) <= 80 else sample
    assert odd.sample == f"{named} (null)"


@given(st.text() | st.text("aZ09@. -", min_size=40))
@settings(max_examples=60)
def test_whatever_is_sent_a_sample_is_one_short_harmless_line(text):
    """Of a word, and of a time that does not look like one."""
    line, whole = shown(text, [SECRET])
    assert len(line) <= 80
    assert line.isprintable()
    assert "@" not in line or not {*filter(str.isalnum, line)} - {"A", "a", "9"}
    assert not (whole and text) or tomllib.loads(pin(text)) == {"state_map": {text: "running"}}
    form, sample = time_shown(text)
    assert len(form) <= 49
    assert sample == form or sample.isascii()
    assert not {*filter(str.isalnum, form)} - {"A", "a", "9"}


@pytest.mark.parametrize(
    "word", ["ARCHIVING", "ON HOLD", 'say "no"', "back\\slash", "it's", "\u5b8c\u4e86", "a.b", "#"]
)
def test_a_pin_is_a_line_of_configuration(word):
    """It gives that word a meaning that is no end, beside those for other words."""
    text = f"[sources.payments]\n{pin(word)}\n{pin('OTHER')}\n"
    pins = tomllib.loads(text)["sources"]["payments"]["state_map"]
    assert pins == {word: "running", "OTHER": "running"}
    assert not State(pins[word]).is_terminal


# --- fields ---


class Job(msgspec.Struct, frozen=True, rename="camel"):
    """A record as an adapter has it."""

    id: str | None = None
    job_state: str | None = None


class Jobs(msgspec.Struct, frozen=True, rename="camel"):
    """A page of them."""

    data: list[Job] | None = None


JOB = Reader(Job, unread=("links",))
JOBS = PageReader(Jobs, "data", row=JOB, unread=("next",))


@pytest.mark.parametrize(
    ("value", "sample"),
    [
        (b'"jane.doe@example.com"', "text, 22 bytes"),
        (b'{"iban":"GB29NWBK60161331926819"}', "object, 33 bytes"),
        (b"[1,2]", "array, 5 bytes"),
        (b"4111111111111111", "number"),
        (b"true", "boolean"),
        (b"null", "null"),
    ],
)
@pytest.mark.parametrize("start", [b'{"id":"1"', b'{"id":7'], ids=["as documented", "odd"])
def test_a_new_field_is_told_by_name_and_type(value, sample, start):
    """Never by its value; also in a record that has to be taken apart."""
    body = start + b',"jobState":"x","links":[],"priority":' + value + b"}"
    (odd,) = found(lambda: JOB.read(response(body)))
    assert odd == ("field", "Job", "priority", f"priority ({sample})", None)


@pytest.mark.parametrize("id", [b'"1"', b"7"], ids=["as documented", "odd"])
def test_of_a_page_its_own_members_and_its_first_row_are_looked_at(id):
    """Not all rows: lists stay quick."""
    first, second = b'{"id":' + id + b',"links":1,"a":1}', b'{"id":"2","b":1}'
    body = b'{"data":[' + first + b"," + second + b'],"next":null,"took":3}'
    names = [(odd.where, odd.form) for odd in found(lambda: JOBS.read(response(body)))]
    assert names == [("Jobs", "took"), ("Job", "a")]


@pytest.mark.parametrize(
    "body", [b'{"data":[]}', b'{"data":null}', b'{"data":[1]}', b'{"data":[{"id":"1"}]}', b"{}"]
)
def test_a_documented_page_has_no_new_fields(body):
    """Nor has one without rows, or with what is no record."""
    assert found(lambda: JOBS.read(response(body))) == ()


def test_a_new_field_of_the_first_row_is_found_beside_rows_that_are_as_documented():
    """A page is decoded in another way as long as nothing in it is new."""
    plain = PageReader(Jobs, "data", row=Reader(Job))
    for body, names in (
        (b'{"data":[{"id":"1"},{"id":"2"}]}', []),
        (b'{"data":[{"id":"1","a":1},{"id":"2"}]}', ["a"]),
        (b'{"data":[{"id":"1"}],"b":[[]]}', ["b"]),
    ):
        assert [odd.form for odd in found(lambda body=body: plain.read(response(body)))] == names


# --- bounds ---


def test_one_answer_has_a_bounded_number_of_oddities():
    """A record with 100,000 members of random names costs no more than one with a few."""
    fields = {f"f{number}": 1 for number in range(1_000)}

    def do():
        new_fields("r", fields)
        for number in range(1_000):
            WORDS.read(f"w{number}", {})
            unreadable_time(f"t{number}", "x")

    assert len(found(do)) == 3 * 64


def test_one_source_has_a_bounded_number_of_oddities():
    """What there is no room for is counted together, and takes no room from other kinds and sources."""
    tally = Tally({"a": "plain", "b": "plain"})
    for number in range(MOST + 5):
        tally.add("a", found(lambda number=number: new_fields("r", {f"f{number}": 1})), NOW)
    tally.add("a", found(lambda: new_fields("r", {"f0": 1})), LATER)
    tally.add("a", found(lambda: WORDS.read("ARCHIVING", {})), LATER)
    tally.add("b", found(lambda: new_fields("r", {"f0": 1})), LATER)
    told = {(one.source, one.kind, one.sample): one for one in tally.drift()}
    assert len(told) == MOST + 3
    assert told["a", "field", OTHERS].count == 5
    assert told["a", "field", OTHERS].where == OTHERS
    assert (told["a", "field", "f0 (number)"].count, told["b", "field", "f0 (number)"].count) == (2, 1)
    assert told["a", "field", "f0 (number)"].first_seen == NOW
    assert told["a", "field", "f0 (number)"].last_seen == LATER
    assert told["a", "word", "ARCHIVING"].pin == 'state_map.ARCHIVING = "running"'


def test_a_word_is_counted_once_for_an_answer():
    """However many rows of a list have it, and however often an adapter looks it up."""
    tally = Tally({"a": "plain"})
    tally.add("a", found(lambda: [WORDS.read("ARCHIVING", {}) for _ in range(100)]), NOW)
    assert [one.count for one in tally.drift()] == [1]


def test_what_is_taken_is_taken_once():
    """So that no count is written twice."""
    tally = Tally({"a": "plain"})
    odd = found(lambda: WORDS.read("ARCHIVING", {}))
    tally.add("a", odd, NOW)
    tally.add("a", odd, LATER)
    assert [(row.oddity.sample, row.answers) for row in tally.take({"a": None})] == [("ARCHIVING", 2)]
    assert tally.take({"a": None}) == []
    tally.add("a", odd, LATER)
    assert [row.answers for row in tally.take({"a": None})] == [1]
    assert [one.count for one in tally.drift()] == [3]
