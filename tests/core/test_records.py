"""Records are read leniently: an odd member costs that member, an odd row that row."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkstatus._call import Response
from bulkstatus._drift import collecting
from bulkstatus._model import BulkOperation, State
from bulkstatus._records import PageReader, Reader, is_unread
from bulkstatus.errors import AuthError, NotFound, ProtocolError, RequestRejected, Unavailable


class Sums(msgspec.Struct, frozen=True):
    """A struct inside another."""

    all: int | None = None
    bad: int | None = None


class Job(msgspec.Struct, frozen=True, rename="camel"):
    """A record with members of all kinds."""

    job_id: str = ""
    total: int | None = None
    sums: Sums | None = None
    tags: list[str] | None = None
    when: object = None


class Jobs(msgspec.Struct, frozen=True):
    """A page."""

    jobs: list[Job] | None = None
    older: list[Job] | None = msgspec.field(name="job_list", default=None)
    count: int | None = None
    jumps: bool | None = None


JOB = Reader(Job)
OWNED = Reader(Job, unread=("owner",))
JOBS = PageReader(Jobs, "jobs", "older", row=JOB)
ODD = "is not of the documented type, so it is treated as not said."

plain = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
anything = st.recursive(
    plain,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def answer(value, status=200):
    """An answer whose body is this text, or this value as JSON."""
    return Response.now(status, value if isinstance(value, str | bytes) else json.dumps(value))


def read(value):
    """What is read of one record, and what is said of it."""
    return JOB.read(answer(value))


def page(value):
    """What is read of a page."""
    return JOBS.read(answer(value))


class TestRecord:
    """One record."""

    def test_as_documented(self):
        """Nothing is to be said of it, whatever else it holds."""
        members = {
            "jobId": "j1",
            "total": 3,
            "sums": {"all": 3, "new": 1},
            "tags": ["a"],
            "when": [7],
            "new": {},
        }
        assert read(members) == (Job("j1", 3, Sums(3), ["a"], [7]), ())

    def test_null_and_absent_are_not_said(self):
        """Neither is odd."""
        assert read({}) == (Job(), ())
        assert read({"total": None, "sums": None, "when": None}) == (Job(), ())

    def test_null_where_no_null_is_documented_is_odd(self):
        """A member that must be text has its default, and is named."""
        assert read({"jobId": None, "total": 1}) == (Job(total=1), (f"jobId {ODD}",))

    @pytest.mark.parametrize(
        ("member", "value"),
        [
            ("jobId", 7),
            ("total", "3"),
            ("total", 1.5),
            ("total", True),
            ("sums", [1]),
            ("sums", {"all": "1"}),
            ("tags", ["a", 1]),
            ("tags", {}),
        ],
    )
    def test_an_odd_member_costs_only_itself(self, member, value):
        """It is not said, and named by its name in the record; all others are read."""
        whole = {"jobId": "j1", "total": 3, "sums": {"all": 3}, "tags": [], "when": 1}
        record, notes = read({**whole, member: value})
        assert notes == (f"{member} {ODD}",)
        expected, _ = read({name: value for name, value in whole.items() if name != member})
        assert record == expected

    def test_each_odd_member_is_named(self):
        """In the order of the struct."""
        assert read({"tags": 1, "total": "x", "jobId": "j"}) == (Job("j"), (f"total {ODD}", f"tags {ODD}"))

    def test_a_member_without_a_type_is_never_odd(self):
        """It is left to who reads it."""
        for value in ("soon", 1.5, [], {"a": 1}):
            assert read({"when": value}) == (Job(when=value), ())

    def test_a_name_that_comes_twice(self):
        """The last one counts, odd or not, as it does for every reader of JSON that does not refuse it."""
        assert read('{"total": 1, "total": 2}') == (Job(total=2), ())
        assert read('{"total": "x", "total": 2, "jobId": 1}') == (Job(total=2), (f"jobId {ODD}",))
        assert read('{"total": 1, "total": "x"}') == (Job(), (f"total {ODD}",))

    @pytest.mark.parametrize("name", [b"\xff\xfe", b"", b"a\\u0000", b"\xed\xa0\x80"])
    def test_names_that_are_no_text(self, name):
        """Members that are not read may be called anything, also where an odd one has the record taken apart."""
        body = b'{"%s": 1, "jobId": "j", "total": %s}'
        assert read(body % (name, b"3")) == (Job("j", 3), ())
        assert read(body % (name, b'"x"')) == (Job("j"), (f"total {ODD}",))
        [row] = page(b'{"%s": 1, "jobs": [%s]}' % (name, body % (name, b'"x"')))
        assert row.record == Job("j")

    @pytest.mark.parametrize("body", ["[]", "null", "7", '"x"', "", "<html>", "{", '{"total": }', b"\xff{}"])
    def test_what_is_no_object_is_an_error(self, body):
        """There is no record to be lenient with."""
        with pytest.raises(ProtocolError):
            read(body)

    def test_bounds(self):
        """Those of every answer: depth, and the number of values."""
        with pytest.raises(ProtocolError, match="deeper"):
            read(f'{{"total": "x", "when": {"[" * 70}{"]" * 70}}}')
        crowded = Response.now(200, json.dumps({"when": [1] * 50}))
        with pytest.raises(ProtocolError, match="more than 20 values"):
            JOB.read(msgspec.structs.replace(crowded, value_limit=20))

    def test_what_may_be_absent_has_a_default(self):
        """A struct that says otherwise is refused when the reader is made, with the name of the field."""

        class Strict(msgspec.Struct):
            id: str

        with pytest.raises(TypeError, match=r"Strict\.id has no default"):
            Reader(Strict)
        with pytest.raises(TypeError, match=r"Strict\.id has no default"):
            PageReader(Strict, "id", row=JOB)

    def test_what_is_documented(self):
        """The members that are read, by their names in the record, and those that are named as unread."""
        assert Reader(Job, unread=("owner",)).documented == {
            "jobId",
            "total",
            "sums",
            "tags",
            "when",
            "owner",
        }

    @given(st.dictionaries(st.sampled_from(["jobId", "total", "sums", "tags", "when", "new"]), anything))
    def test_no_member_can_break_it(self, members):
        """Each is read, or named and not said; an object is never refused."""
        record, notes = read(members)
        for name, field in (("jobId", "job_id"), ("total", "total"), ("tags", "tags")):
            value = members.get(name)
            wanted = getattr(Job(), field) if f"{name} {ODD}" in notes or name not in members else value
            assert getattr(record, field) == wanted


class TestAsDocumented:
    """The quick way, for answers in which nothing is odd."""

    @pytest.mark.parametrize(
        "body",
        [
            {},
            {"jobId": "j", "total": 1, "sums": {"all": 1}, "tags": ["a"], "owner": {"name": "x"}},
            {"when": [1, {"a": 2}], "owner": [1.5]},
        ],
    )
    def test_it_gives_the_record(self, body):
        """The same as is read in the other way, of which there is nothing to be said."""
        assert OWNED.as_documented(answer(body)) == OWNED.read(answer(body))[0]
        assert OWNED.read(answer(body))[1] == ()

    @pytest.mark.parametrize(
        "body",
        [{"new": 1}, {"total": "x"}, {"owner": {"a": {"b": {"c": 1}}}}, {"sums": {"new": 1}}, [], "", "{"],
    )
    def test_for_anything_else_there_is_none(self, body):
        """What is new or odd or deep, and what is no JSON object."""
        assert OWNED.as_documented(answer(body)) is None

    def test_members_that_are_not_read_are_nothing_new(self):
        """In either way; those that nobody documented are."""
        for body, new in (
            ({"owner": "x"}, False),
            ({"owner": {"a": {"b": {"c": 1}}}}, False),
            ({"boss": "x"}, True),
        ):
            with collecting() as odd:
                assert OWNED.read(answer(body)) == (Job(), ())
            assert bool(odd) is new

    def test_an_answer_beyond_its_bounds_is_none(self):
        """The values are counted before they are decoded."""
        rows = json.dumps({"jobs": [{"jobId": "a"}] * 100})
        response = Response.now(200, rows)
        assert len(JOBS.read(response)) == 100
        with pytest.raises(ProtocolError, match="more than 150 values"):
            JOBS.read(msgspec.structs.replace(response, value_limit=150))


class TestRefusals:
    """Answers that are no 200."""

    @pytest.mark.parametrize(
        ("status", "kind"), [(401, AuthError), (400, RequestRejected), (503, Unavailable)]
    )
    def test_they_are_not_read(self, status, kind):
        """Not even where the body looks like a record."""
        for call in (JOB.read, JOBS.read):
            with pytest.raises(kind):
                call(answer({"jobId": "j1", "jobs": []}, status))

    def test_who_knows_more_says_what_they_are(self):
        """Of a record, and of a page of such records."""
        reader = Reader(Job, refused=lambda response: NotFound(f"no {response.status}"))
        for call in (reader.read, PageReader(Jobs, "jobs", row=reader).read):
            with pytest.raises(NotFound, match="no 500"):
                call(answer("{}", 500))

    @pytest.mark.parametrize("status", [200, 404, 500])
    def test_their_bodies_can_be_gleaned(self, status):
        """Whatever the status: what is odd, or no JSON object at all, is not said."""
        assert JOB.glean(answer({"jobId": "j", "total": "x"}, status)) == Job("j")
        for body in ("<html>", "", "[]", "[" * 100):
            assert JOB.glean(answer(body, status)) == Job()


class TestUnread:
    """Whether a member was sent and could not be read."""

    def test_it_is_not_the_same_as_absent(self):
        """Counts that cannot be read leave open what those that were not sent do not."""
        for members, unread in (
            ({}, False),
            ({"sums": None}, False),
            ({"sums": {}}, False),
            ({"sums": 1}, True),
        ):
            _, notes = read({"total": "x", **members})
            assert is_unread(notes, "sums") is unread
            assert is_unread(notes, "total")

    def test_names_are_compared_whole(self):
        """`sum` is not `sums`."""
        _, notes = read({"sums": 1})
        assert not is_unread(notes, "sum")
        assert not is_unread(notes, "")


class TestPage:
    """A page of records."""

    def test_as_documented(self):
        """Its rows in order, each as it was received, and its own members."""
        found = page('{"count": 2, "jobs": [{"jobId": "a"},  {"jobId":"b","total":1}], "new": 1}')
        assert (found.found, len(found), found.page.count) == (True, 2, 2)
        assert [(row.record, row.notes, row.raw()) for row in found] == [
            (Job("a"), (), b'{"jobId": "a"}'),
            (Job("b", 1), (), b'{"jobId":"b","total":1}'),
        ]

    @pytest.mark.parametrize("odd", [{"jobId": "b", "total": "x"}, {"jobId": "b", "sums": [1]}])
    def test_an_odd_member_of_a_row(self, odd):
        """It costs that row that member; rows before and behind are read, and have nothing said of them."""
        rows = list(page({"jobs": [{"jobId": "a"}, odd, {"jobId": "c", "total": 3}]}))
        assert [row.record for row in rows] == [Job("a"), Job("b"), Job("c", 3)]
        assert [len(row.notes) for row in rows] == [0, 1, 0]
        assert json.loads(rows[1].raw()) == odd

    @pytest.mark.parametrize("odd", ["7", "null", "[]", '"x"', "true"])
    def test_a_row_that_is_no_record(self, odd):
        """It has nothing in it, and keeps its place, so that it is counted."""
        rows = list(page(f'{{"jobs": [{{"jobId": "a"}}, {odd}, {{"jobId": "c"}}]}}'))
        assert [row.record for row in rows] == [Job("a"), Job(), Job("c")]
        assert rows[1].notes == ("The row is not a record.",)
        assert rows[1].raw() == odd.encode()

    def test_an_odd_member_of_the_page(self):
        """It is not said, which is known; the rows are what they are."""
        found = page({"count": "two", "jumps": 1, "jobs": [{"jobId": "a"}]})
        assert (found.page.count, found.page.jumps) == (None, None)
        assert is_unread(found.notes, "count")
        assert page({"jobs": []}).notes == ()
        assert [row.record for row in found] == [Job("a")]

    @pytest.mark.parametrize("body", [{}, {"jobs": None}, {"count": 0}, {"count": "x"}])
    def test_no_rows_at_all(self, body):
        """Not the same as none: `found` tells the two apart."""
        assert (page(body).found, list(page(body))) == (False, [])
        assert (page({**body, "jobs": []}).found, len(page({**body, "jobs": []}))) == (True, 0)

    @pytest.mark.parametrize("count", [1, "x"])
    def test_the_first_name_that_is_there_counts(self, count):
        """Rows may have had another name before; null is not there. Also where a member is odd."""
        old, new = [{"jobId": "old"}], [{"jobId": "new"}]
        for body, ids in (
            ({"jobs": new, "job_list": old}, ["new"]),
            ({"jobs": None, "job_list": old}, ["old"]),
            ({"job_list": old}, ["old"]),
            ({"jobs": [], "job_list": old}, []),
        ):
            rows = list(page({"count": count, **body}))
            assert [row.record.job_id for row in rows] == ids
            assert [json.loads(row.raw())["jobId"] for row in rows] == ids

    @pytest.mark.parametrize("rows", [{}, "x", 7, {"jobId": "a"}])
    def test_rows_that_are_no_array_are_an_error(self, rows):
        """A list that cannot be read must not look like an empty one."""
        with pytest.raises(ProtocolError):
            page({"jobs": rows})

    @pytest.mark.parametrize("body", ["[]", "null", "", "<html>", '{"jobs": [{}'])
    def test_what_is_no_object_is_an_error(self, body):
        """As for a record."""
        with pytest.raises(ProtocolError):
            page(body)

    def test_items_have_their_rows_attached(self):
        """As received, whatever is odd about a row; and the payloads that are named, if they can be read."""
        rows = page('{"jobs": [{"jobId": "a",  "total": 1}, 7, {"jobId": "c", "tags": "x"}]}')
        items = rows.attach(BulkOperation(id=job.job_id, state=State.FAILED) for job in rows.records)
        assert [item.raw for item in items] == [
            b'{"jobId": "a",  "total": 1}',
            b"7",
            b'{"jobId": "c", "tags": "x"}',
        ]
        assert {(item.request, item.response) for item in items} == {(None, None)}
        assert rows.row_notes.keys() == {1, 2}
        named = rows.attach(items, request="job_id", response="tags")
        assert [(item.id, item.request, item.response) for item in named] == [
            ("a", "a", None),
            ("", "", None),
            ("c", "c", None),
        ]
        assert [item.raw for item in named] == [row.raw() for row in rows]

    @pytest.mark.parametrize("number", [0, 1, 3])
    def test_every_row_has_one_item(self, number):
        """A row without one, or an item without a row, would give all behind it the row of another."""
        rows = page({"jobs": [{"jobId": "a"}, {"jobId": "b"}]})
        with pytest.raises(ValueError, match=f"{number} items are attached to 2 rows"):
            rows.attach([BulkOperation(state=State.FAILED)] * number)

    def test_payloads_are_fields_of_the_record(self):
        """A name that is none fails when the page is read, not when somebody looks at the payload."""
        rows = page({"jobs": [{"jobId": "a"}]})
        with pytest.raises(ValueError, match="Job has no field 'jobId'"):
            rows.attach([BulkOperation(state=State.FAILED)], request="jobId")

    def test_names_that_come_twice(self):
        """The last array counts, for the records and for what they are cut out of."""
        [row] = page('{"jobs": [{"jobId": "a"}], "jobs": [{"jobId": "b", "total": "x"}]}')
        assert (row.record, row.raw()) == (Job("b"), b'{"jobId": "b", "total": "x"}')

    def test_an_odd_page_is_read_as_quickly_as_it_is_long(self):
        """Many odd rows in one page are all read, each with its own note."""
        rows = list(page({"jobs": [{"jobId": str(number), "total": "x"} for number in range(5_000)]}))
        assert len(rows) == 5_000
        assert {row.notes for row in rows} == {(f"total {ODD}",)}

    @given(
        st.lists(
            anything | st.dictionaries(st.sampled_from(["jobId", "total", "sums"]), anything), max_size=4
        )
    )
    def test_a_row_reads_the_same_alone_and_in_company(self, rows):
        """Whatever stands beside it."""
        found = list(page({"jobs": rows}))
        assert len(found) == len(rows)
        for row, value in zip(found, rows, strict=True):
            assert json.loads(row.raw()) == value
            if isinstance(value, dict):
                assert (row.record, row.notes) == read(value)
