"""Providers' times."""

from datetime import UTC, datetime, timedelta, timezone

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkstatus._drift import collecting
from bulkstatus._times import (
    column_of_epochs,
    column_of_texts,
    from_epoch,
    from_epochs,
    from_epochs_of,
    from_text,
)

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
EARLIEST, LATEST = datetime(2000, 1, 1, tzinfo=UTC), NOW.replace(year=2036)
UNITS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
units = st.sampled_from(sorted(UNITS))
plausible = st.datetimes(datetime(2000, 1, 1), datetime(2035, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001 - hypothesis takes naive bounds


def text(value, **options):
    """What `from_text` makes of a value of the field `completed`."""
    return from_text(value, label="completed", now=NOW, **options)


def epoch(value, unit="ms"):
    """What `from_epoch` makes of a value of the field `completed`."""
    return from_epoch(value, unit, label="completed", now=NOW)


def short(value):
    """A name for a parameter, however long it is; huge integers cannot be written at all."""
    return f"{value.bit_length()}bits" if isinstance(value, int) else ascii(value)[:32]


def check(reading):
    """What holds for every reading: aware UTC within reason, or None."""
    when, note = reading
    if when is not None:
        assert when.tzinfo is UTC
        assert EARLIEST <= when <= LATEST + timedelta(days=1)
    assert note is None or (note.isprintable() and len(note) < 200)


class TestText:
    """RFC 3339 and the common forms of ISO 8601."""

    @pytest.mark.parametrize(
        ("value", "when"),
        [
            ("2026-01-01T10:20:30Z", datetime(2026, 1, 1, 10, 20, 30, tzinfo=UTC)),
            ("2026-01-01T10:20:30z", datetime(2026, 1, 1, 10, 20, 30, tzinfo=UTC)),
            ("2026-01-01t10:20:30Z", datetime(2026, 1, 1, 10, 20, 30, tzinfo=UTC)),
            ("2026-01-01t10:20:30z", datetime(2026, 1, 1, 10, 20, 30, tzinfo=UTC)),
            ("2026-01-01 10:20:30Z", datetime(2026, 1, 1, 10, 20, 30, tzinfo=UTC)),
            ("2026-01-01T10:20Z", datetime(2026, 1, 1, 10, 20, tzinfo=UTC)),
            ("2026-01-01T10:20:30.5Z", datetime(2026, 1, 1, 10, 20, 30, 500000, tzinfo=UTC)),
            ("2026-01-01T10:20:30,5Z", datetime(2026, 1, 1, 10, 20, 30, 500000, tzinfo=UTC)),
            ("2026-01-01T10:20:30.123456Z", datetime(2026, 1, 1, 10, 20, 30, 123456, tzinfo=UTC)),
            ("2026-01-01T10:20:30+00:00", datetime(2026, 1, 1, 10, 20, 30, tzinfo=UTC)),
            ("2026-01-01T10:20:30-00:00", datetime(2026, 1, 1, 10, 20, 30, tzinfo=UTC)),
            ("2026-01-01T10:20:30+02:00", datetime(2026, 1, 1, 8, 20, 30, tzinfo=UTC)),
            ("2026-01-01T10:20:30+0200", datetime(2026, 1, 1, 8, 20, 30, tzinfo=UTC)),
            ("2026-01-01T10:20:30-05:30", datetime(2026, 1, 1, 15, 50, 30, tzinfo=UTC)),
            ("2024-02-29T00:00:00Z", datetime(2024, 2, 29, tzinfo=UTC)),
            ("2025-12-31T24:00:00Z", datetime(2026, 1, 1, tzinfo=UTC)),
            ("2016-12-31T23:59:60Z", datetime(2016, 12, 31, 23, 59, 59, tzinfo=UTC)),
            ("2016-12-31T23:59:60.5Z", datetime(2016, 12, 31, 23, 59, 59, 500000, tzinfo=UTC)),
            ("2017-01-01T00:59:60+01:00", datetime(2016, 12, 31, 23, 59, 59, tzinfo=UTC)),
            ("2000-01-01T00:00:00Z", EARLIEST),
        ],
    )
    def test_a_full_time_with_a_zone_is_read(self, value, when):
        """The moment is exact, in UTC, and nothing is remarked on."""
        found, note = text(value)
        assert (found, note) == (when, None)
        assert found.tzinfo is UTC

    @pytest.mark.parametrize("digits", ["1234567", "123456789", "999999999", "000000999"])
    def test_fractions_beyond_a_microsecond_are_cut_off(self, digits):
        """Nine digits are not rounded: a time never moves forward."""
        found, note = text(f"2026-01-01T10:20:30.{digits}Z")
        assert found == datetime(2026, 1, 1, 10, 20, 30, int(digits[:6]), tzinfo=UTC)
        assert note is None

    @pytest.mark.parametrize("digits", ["1234567", "123456789", "999999999"])
    def test_fractions_are_cut_off_in_the_rare_forms_too(self, digits):
        """Lower-case z, hour 24 and leap seconds go another way and end the same."""
        micros = int(digits[:6])
        assert text(f"2026-01-01t10:20:30.{digits}z")[0] == datetime(
            2026, 1, 1, 10, 20, 30, micros, tzinfo=UTC
        )
        assert text(f"2016-12-31T23:59:60.{digits}Z")[0] == datetime(
            2016, 12, 31, 23, 59, 59, micros, tzinfo=UTC
        )

    @pytest.mark.parametrize("value", [None, ""])
    def test_no_time_is_no_time(self, value):
        """Null and empty mean "not set", which is nothing to remark on."""
        assert text(value) == (None, None)

    @pytest.mark.parametrize(
        "value",
        [
            "2026-01-01",
            "20260101T000000Z",
            "20260101",
            "2026-W01-1",
            "2026-W01-1T00:00:00Z",
            "2026-001T00:00:00Z",
            "2026-01-01T00Z",
            "2026-01-01T00:00:00+25:00",
            "2026-01-01T00:00:00-25:00",
            "2026-01-01T00:00:00+00:60",
            "2026-01-01T00:00:00+1",
            "2026-01-01T00:00:00 Z",
            "2026-01-01T00:00:00.Z",
            "2026-01-01T00:00:00.1234567890Z",
            "0000-01-01T00:00:00Z",
            "10000-01-01T00:00:00Z",
            "+2026-01-01T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-00-01T00:00:00Z",
            "2026-02-30T00:00:00Z",
            "2025-02-29T00:00:00Z",
            "2026-01-01T25:00:00Z",
            "2026-01-01T24:00:01Z",
            "2026-01-01T00:60:00Z",
            "2026-01-01T00:00:61Z",
            "Jan",
            "12",
            "10/11/12",
            "2026-01-01 00:00 EST",
            "2026-01-01T00:00:00 UTC",
            "Thu, 01 Jan 2026 00:00:00 GMT",
            "1767225600000",
            "now",
            " 2026-01-01T00:00:00Z",
            "2026-01-01T00:00:00Z ",
            "2026-01-01T00:00:00Z\n",
            "2026-01-01T00:00:00\x00Z",
            "\uff12\uff10\uff12\uff16-01-01T00:00:00Z",
            "2026\u201101\u201101T00:00:00Z",
            "\ud800",
            "2026-01-01T00:00:00Z" * 100_000,
        ],
        ids=short,
    )
    def test_anything_else_is_none_with_evidence(self, value):
        """What no provider documents is not guessed at; one printable sentence names the field."""
        found, note = text(value)
        assert found is None
        assert note.startswith("completed ")
        assert note.isprintable()
        assert len(note) < 200

    @pytest.mark.parametrize("value", [0, 12, 1.5, True, b"2026-01-01T00:00:00Z", [], {}])
    def test_what_is_no_text_is_none_with_evidence(self, value):
        """A value of any other type is no time, and raises nothing."""
        assert text(value) == (None, "completed (of another type) is not a time that can be read.")

    def test_without_a_zone_there_is_no_time(self):
        """A naive time is None with evidence where no zone is promised."""
        found, note = text("2026-01-01T00:00:00")
        assert found is None
        assert "no time zone" in note
        assert note.startswith("completed ")

    @pytest.mark.parametrize(
        "value", ["2026-01-01T00:00:00", "2026-01-01 00:00:00", "2026-01-01T00:00:00.000"]
    )
    def test_without_a_zone_utc_is_taken_where_promised_and_said(self, value):
        """With `naive_is_utc` the time is UTC and the evidence says that it was taken so."""
        found, note = text(value, naive_is_utc=True)
        assert found == datetime(2026, 1, 1, tzinfo=UTC)
        assert found.tzinfo is UTC
        assert "UTC" in note

    def test_a_zone_that_is_there_is_not_overridden(self):
        """`naive_is_utc` is about naive times only."""
        assert text("2026-01-01T02:00:00+02:00", naive_is_utc=True) == (
            datetime(2026, 1, 1, tzinfo=UTC),
            None,
        )

    @pytest.mark.parametrize(
        "value",
        [
            "9999-12-31T23:59:59-23:59",
            "9999-12-31T24:00:00Z",
            "0001-01-01T00:00:00+23:59",
            "9999-12-31T23:59:59Z",
            "0001-01-01T00:00:00Z",
            "1970-01-01T00:00:00Z",
            "1999-12-31T23:59:59.999999Z",
            "2000-01-01T00:30:00+01:00",
            "2036-02-01T00:00:00Z",
        ],
    )
    @pytest.mark.parametrize("naive_is_utc", [True, False])
    def test_an_implausible_time_is_none_with_evidence(self, value, naive_is_utc):
        """Before 2000, more than ten years ahead, or off the calendar: not believed, never an OverflowError."""
        found, note = text(value, naive_is_utc=naive_is_utc)
        assert found is None
        assert note.startswith("completed ")

    def test_ten_years_ahead_are_counted_from_the_reading(self):
        """What is implausible today may be plausible later."""
        assert text("2034-06-01T00:00:00Z")[0] is not None
        value, later = "2040-06-01T00:00:00Z", NOW.replace(year=2031)
        assert text(value)[0] is None
        assert from_text(value, label="x", now=later)[0] == datetime(2040, 6, 1, tzinfo=UTC)

    @given(plausible, st.integers(-23 * 60 - 59, 23 * 60 + 59))
    def test_what_was_written_is_read(self, when, minutes):
        """A time written with any offset is the same moment in UTC."""
        written = when.astimezone(timezone(timedelta(minutes=minutes))).isoformat()
        assert text(written) == (when, None)
        assert text(when.strftime("%Y-%m-%dT%H:%M:%S.%fZ")) == (when, None)

    @pytest.mark.parametrize(
        "value",
        [
            "2026-01-01T00:00:00.Z",
            "2026-01-01T00:00:00.1234567.9Z",
            "2026-01-01T00:00:00.12x456Z",
            "2026-01-01T000000.1Z",
            "2026-W01-1T00:00:00Z",
            "2026-01-01T00:00:00ZZ",
            "2026-01-01T00:00:0\u0660Z",
            "2026-02-30T00:00:00Z",
        ],
    )
    def test_what_only_looks_like_the_usual_form_is_not_read(self, value):
        """Python's own parser takes some of these, or is not sure."""
        when, note = text(value)
        assert when is None
        assert "is not a time that can be read" in note

    @given(st.text(st.characters(exclude_categories=())), st.booleans())
    def test_any_text_gives_a_time_or_none(self, value, naive_is_utc):
        """Nothing is raised, and evidence can be printed."""
        check(text(value, naive_is_utc=naive_is_utc))

    @given(
        st.from_regex(
            r"\A[0-9]{4}-[01][0-9]-[0-3][0-9][Tt ][0-2][0-9]:[0-6][0-9](:[0-6][0-9]([.,][0-9]{1,9})?)?([Zz]|[+-][0-9]{2}:?[0-9]{2})?\Z"
        ),
        st.booleans(),
    )
    def test_anything_that_looks_like_a_time_gives_a_time_or_none_with_evidence(self, value, naive_is_utc):
        """Impossible dates, hours and offsets raise nothing, and a time that is not used is explained."""
        reading = text(value, naive_is_utc=naive_is_utc)
        check(reading)
        assert reading[0] is not None or reading[1]


class TestEpoch:
    """Counts since 1970, in a unit that is known."""

    @pytest.mark.parametrize(
        ("value", "unit"),
        [
            (1_767_225_600, "s"),
            (1_767_225_600_000, "ms"),
            (1_767_225_600_000_000, "us"),
            (1_767_225_600_000_000_000, "ns"),
            ("1767225600", "s"),
            ("1767225600000", "ms"),
            ("0001767225600000", "ms"),
        ],
    )
    def test_the_unit_is_the_one_that_was_said(self, value, unit):
        """Integers and digits are read alike, exactly."""
        found, note = epoch(value, unit)
        assert (found, note) == (datetime(2026, 1, 1, tzinfo=UTC), None)
        assert found.tzinfo is UTC

    @pytest.mark.parametrize(
        ("value", "unit", "micros"),
        [
            (1_767_225_600_123, "ms", 123_000),
            (1_767_225_600_000_001, "us", 1),
            (1_767_225_600_000_001_999, "ns", 1),
            (1_767_225_600_999, "ms", 999_000),
        ],
    )
    def test_fractions_of_a_second_are_exact(self, value, unit, micros):
        """No float comes between, and nanoseconds are cut off."""
        assert epoch(value, unit)[0] == datetime(2026, 1, 1, 0, 0, 0, micros, tzinfo=UTC)

    @pytest.mark.parametrize("value", [None, "", 0, "0", "000"])
    def test_null_empty_and_zero_mean_not_set(self, value):
        """No time, and nothing to remark on: not January 1970."""
        assert epoch(value) == (None, None)

    @pytest.mark.parametrize(
        "value",
        [
            "soon",
            "-1",
            "+1",
            "1.5",
            "1e12",
            " 1767225600000",
            "1_767",
            "\u0661\u0667",
            "\u00b2",
            "0x10",
            "\ud800",
            "9" * 21,
            "9" * 100_000,
        ],
        ids=short,
    )
    def test_a_text_that_is_not_digits_is_none_with_evidence(self, value):
        """Only ASCII digits are digits, and only so many of them."""
        found, note = epoch(value)
        assert found is None
        assert note.startswith("completed ")
        assert note.isprintable()
        assert len(note) < 200

    @pytest.mark.parametrize(
        ("value", "unit"),
        [
            (1_767_225_600, "ms"),
            (1_767_225_600_000, "s"),
            (1_767_225_600_000_000, "ms"),
            (1_767_225_600_000, "us"),
            (-1, "ms"),
            (1, "s"),
            (946_684_799, "s"),
            (2_100_000_000, "s"),
            (2**63, "ms"),
            (-(2**63), "s"),
            (10**400, "ns"),
            (-(10**5_000), "s"),
            ("99999999999999999999", "s"),
        ],
        ids=short,
    )
    def test_a_wrong_unit_or_a_wild_number_is_none_with_evidence(self, value, unit):
        """Before 2000 or more than ten years ahead is not believed; the evidence names field and unit."""
        found, note = epoch(value, unit)
        assert found is None
        assert note.startswith("completed ")
        assert f"epoch {unit}" in note
        assert len(note) < 200

    @pytest.mark.parametrize(
        "value", [1.5, 1_767_225_600_000.0, float("nan"), float("inf"), True, b"1767225600000", [], {}]
    )
    def test_what_is_neither_digits_nor_a_whole_number_is_none_with_evidence(self, value):
        """Also a float that would be one: nothing says how exact it is."""
        assert epoch(value) == (None, "completed (of another type) is not an epoch time.")

    def test_the_bounds_are_those_of_the_calendar(self):
        """The first second of 2000 is believed."""
        assert epoch(946_684_800, "s") == (EARLIEST, None)

    @given(plausible, units)
    def test_what_was_written_is_read(self, when, unit):
        """A count made from a time gives that time back, as exactly as the unit allows."""
        micros = (when - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
        value = micros * UNITS[unit] // 10**6
        found, note = epoch(value, unit)
        step = (
            timedelta(seconds=1)
            if unit == "s"
            else timedelta(milliseconds=1)
            if unit == "ms"
            else timedelta(0)
        )
        assert note is None
        assert timedelta(0) <= when - found <= step
        assert epoch(str(value), unit) == (found, None)

    @given(st.none() | st.integers() | st.text(st.characters(exclude_categories=())), units)
    def test_any_value_gives_a_time_or_none(self, value, unit):
        """Nothing is raised, and evidence can be printed."""
        check(epoch(value, unit))


class Times(msgspec.Struct):
    """A record with a time for each step."""

    made: object = None
    ran: object = None
    over: object = None
    id: object = "j1"


class TestEpochs:
    """Several times of one record."""

    def test_those_that_are_set_and_can_be_read(self):
        """By the names of their fields; what is odd about the others is said as `from_epoch` says it."""
        times, odd = from_epochs(
            Times(made=1_760_000_000, over="soon"), ("made", "ran", "over"), "s", now=NOW
        )
        assert times == {"made": datetime.fromtimestamp(1_760_000_000, UTC)}
        assert odd == (from_epoch("soon", "s", label="over", now=NOW)[1],)

    def test_only_those_that_are_asked_for(self):
        """And none of another unit."""
        assert from_epochs(Times(made=1_760_000_000_000), ("made",), "ms", now=NOW)[0].keys() == {"made"}
        assert from_epochs(Times(made=1_760_000_000_000), ("ran",), "s", now=NOW) == ({}, ())


def never(value):
    """For columns that have to be read without looking at a value by itself."""
    raise AssertionError(value)


def bounds(unit):
    """The counts next to what is still plausible, and a few between."""
    per_second = UNITS[unit]
    edges = [
        int(EARLIEST.timestamp()) * per_second,
        int((NOW + timedelta(days=3653)).timestamp()) * per_second,
    ]
    near = [edge + step for edge in edges for step in (-1, 0, 1)]
    return [*near, int(NOW.timestamp()) * per_second + 1, 1_760_000_000 * per_second + per_second // 3]


plain_texts = st.builds(
    lambda when, digits, zone: (
        f"{when:%Y-%m-%dT%H:%M:%S}{f'.{when.microsecond:06}789'[: digits + 1] if digits else ''}{zone}"
    ),
    plausible,
    st.integers(0, 9),
    st.sampled_from(["Z", "Z", "Z", "z", "+00:00", "+02:00", "-0330", ""]),
)
odd_texts = st.sampled_from(
    [
        "",
        "x",
        "Z,",
        "2026-01-01T00:00Z",
        "2026-W01-1T00:00:00Z",
        "2026-01-01T24:00:00Z",
        "1999-12-31T23:59:59Z",
        "2036-01-03T03:04:05Z",
        "2036-01-03T03:04:05.000001Z",
        "2026-01-01T00:00:60Z",
        "2026-01-01 00:00:00Z",
    ]
)


class TestColumns:
    """What one member of all records of a page tells."""

    @given(st.data(), units)
    def test_numbers_are_read_as_each_of_them_would_be(self, data, unit):
        """The time, and what is to be said of it, to the last microsecond and at the bounds; and the same is drift."""
        number = plausible.map(lambda when: int(when.timestamp() * UNITS[unit]))
        odd = st.sampled_from([0, -1, 10**40, "", "1760000000", "x", True, 1.5, [], *bounds(unit)])
        values = data.draw(st.lists(st.none() | number | number | odd, max_size=6))
        with collecting() as at_once:
            column = column_of_epochs(values, unit, now=NOW, each=lambda value: epoch(value, unit))
        with collecting() as alone:
            readings = [epoch(value, unit) for value in values]
        assert [(when, column.odd.get(at)) for at, when in enumerate(column.times)] == readings
        assert all(when is None or when.tzinfo is UTC for when in column.times)
        assert column.odd.keys() <= set(range(len(values)))
        assert at_once.found() == alone.found()

    @given(
        st.lists(st.none() | plain_texts | plain_texts | odd_texts | st.integers(), max_size=6), st.booleans()
    )
    def test_texts_are_read_as_each_of_them_would_be(self, values, naive_is_utc):
        """Whatever their forms, how many digits they have, and which zones."""
        with collecting() as at_once:
            column = column_of_texts(
                values, now=NOW, each=lambda value: text(value, naive_is_utc=naive_is_utc)
            )
        with collecting() as alone:
            readings = [text(value, naive_is_utc=naive_is_utc) for value in values]
        assert [(when, column.odd.get(at)) for at, when in enumerate(column.times)] == readings
        assert all(when is None or when.tzinfo is UTC for when in column.times)
        assert at_once.found() == alone.found()

    @pytest.mark.parametrize("unit", sorted(UNITS))
    def test_numbers_at_the_bounds_are_read_as_each_of_them_would_be(self, unit):
        """The last that is plausible and the first that is not, on either side."""
        for value in bounds(unit):
            column = column_of_epochs([value] * 2, unit, now=NOW, each=lambda value: epoch(value, unit))
            assert (column.times[1], column.odd.get(1)) == epoch(value, unit)

    @pytest.mark.parametrize(
        "value",
        ["1999-12-31T23:59:59.999999Z", "2000-01-01T00:00:00Z"]
        + [f"2036-01-03T03:04:05{rest}Z" for rest in ("", ".000001", ".0000001", ".9999999")],
    )
    def test_texts_at_the_bounds_are_read_as_each_of_them_would_be(self, value):
        """Digits that a time has no room for are cut off, and do not make it a later one."""
        column = column_of_texts([value] * 2, now=NOW, each=text)
        assert (column.times[1], column.odd.get(1)) == text(value)

    @pytest.mark.parametrize("unit", ["s", "ms", "us"])
    def test_plain_numbers_are_not_looked_at_by_themselves(self, unit):
        """Nor are those that are not set; ten years ahead are plausible for both."""
        values = [
            None,
            1_760_000_000 * UNITS[unit],
            int((NOW + timedelta(days=3653)).timestamp()) * UNITS[unit],
        ]
        for column in ([], [None, None], values, values[1:]):
            found = column_of_epochs(column, unit, now=NOW, each=never)
            assert found.times == [epoch(value, unit)[0] for value in column]
            assert not found.odd

    def test_plain_texts_are_not_looked_at_by_themselves(self):
        """The usual form with any number of digits up to six."""
        values = [f"2026-01-01T00:00:00{'.123456'[:length]}Z" for length in (0, 2, 3, 4, 5, 6, 7)]
        for column in ([], [None, None], values, [None, *values]):
            found = column_of_texts(column, now=NOW, each=never)
            assert found.times == [text(value)[0] for value in column]
            assert not found.odd

    @given(
        st.lists(st.lists(st.none() | st.sampled_from([1_760_000_000, 0, "x", 7]), min_size=3, max_size=3))
    )
    def test_times_of_many_records_are_those_of_each(self, rows):
        """By the names of their fields, with what is odd about the others."""
        records = [Times(*row) for row in rows]
        names = ("made", "ran", "over")
        assert list(from_epochs_of(records, names, "s", now=NOW)) == [
            from_epochs(record, names, "s", now=NOW) for record in records
        ]

    @pytest.mark.parametrize("number", [0, 1, 3])
    def test_every_record_gets_its_times_also_where_there_are_none(self, number):
        """No names, no times: still one answer for each record."""
        records = [Times(1_760_000_000, None, None)] * number
        assert list(from_epochs_of(records, (), "s", now=NOW)) == [({}, ())] * number
