"""Which rows have come: what is told from few bytes is what a set of their keys would tell."""

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkstatus import _seen
from bulkstatus._seen import Seen


@pytest.mark.parametrize("few", [0, 1, 20])
@given(keys=st.lists(st.text("ab1", min_size=1, max_size=4), max_size=60), expected=st.integers(0, 60))
def test_what_has_come_is_what_a_set_would_say(few, keys, expected):
    """Of every key, when it comes and afterwards, before and after keys are given up for marks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_seen, "_FEW", few)
        patch.setattr(_seen, "_SHARE", 1)
        seen, plain = Seen(expected), set[str]()
        for key in keys:
            assert (key in seen) == (key in plain)
            assert seen.add(key) == (key not in plain)
            plain.add(key)
        assert all(key in seen for key in plain)
        assert "c" not in seen


_PLACES = _seen._FEWEST_PLACES


@given(
    st.lists(
        st.tuples(
            st.integers(0, 1), st.lists(st.integers(0, 1), min_size=_seen._WIDTH, max_size=_seen._WIDTH)
        ),
        max_size=80,
    )
)
def test_half_of_one_mark_and_half_of_the_next_are_no_mark(marks):
    """In one place, and made of two bytes so that halves of two marks are often a third."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_seen, "_SPAN", 3 * _seen._WIDTH)  # what is more than three is kept beside
        table, plain = _seen._Table(1), set[int]()
        for place, rest in marks:
            mark = int.from_bytes(rest) * _PLACES + place
            assert (mark in table) == (mark in plain)
            assert table.add(mark) == (mark not in plain)
            plain.add(mark)
        assert table.count == len(plain)


@pytest.mark.parametrize("mark", [0, 1, _PLACES - 1, 1 << 56, (1 << 64) - 1])
def test_marks_of_any_size_have_room(mark):
    """Of 64 bits, what their place leaves of them is written down."""
    table = _seen._Table(1)
    assert (table.add(mark), table.add(mark), mark in table) == (True, False, True)
    assert (mark ^ 1) not in table


@pytest.mark.parametrize("expected", [30_000, 100])
def test_more_than_were_expected_are_told_apart_too(expected, monkeypatch):
    """A provider may say too few, or rows may come meanwhile: another table takes them."""
    monkeypatch.setattr(_seen, "_SHARE", 16)
    seen = Seen(expected)
    keys = [str(number) for number in range(30_000)]
    assert all(seen.add(key) for key in keys)
    assert not any(seen.add(key) for key in keys)
    assert bool(seen._full) == (expected == 100)


@pytest.mark.parametrize("expected", [1_000_000, 10**18])
def test_a_million_rows_take_eight_bytes_each(expected):
    """All of it at once, as soon as keys are no longer kept, and nothing more with any row after that, nor for a lie."""
    seen = Seen(expected)
    for number in range(_seen._FEW + 1):
        seen.add(str(number))
    table = seen._table
    size = sys.getsizeof(table._marks) + sys.getsizeof(table._ends)
    assert not seen._keys
    for number in range(_seen._FEW + 1, 2 * _seen._FEW):
        seen.add(str(number))
    assert sys.getsizeof(table._marks) + sys.getsizeof(table._ends) == size < 8_000_000


@pytest.mark.parametrize(("expected", "width"), [(None, 64), (50, 32)])
def test_keys_are_kept_where_a_mark_might_go_unnoticed(expected, width, monkeypatch):
    """Without a total nothing would tell of a row that is missing; and 32 bits are the same for many."""
    monkeypatch.setattr(_seen, "_FEW", 5)
    monkeypatch.setattr(_seen, "_HASH_BITS", width)
    seen = Seen(expected)
    assert all(seen.add(str(number)) for number in range(50))
    assert (len(seen._keys), seen._table) == (50, None)


def test_two_that_are_taken_for_one_are_not_so_in_the_next_list(monkeypatch):
    """Each list has marks of its own, so to list again helps."""
    monkeypatch.setattr(_seen, "_FEW", 0)
    assert Seen(5)._mark("a") != Seen(5)._mark("a")
