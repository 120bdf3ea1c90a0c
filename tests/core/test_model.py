"""The model: states, references, counts, statuses, operations, failures and reports."""

import copy
import pickle
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkstatus._model import (
    BulkOperation,
    BulkStatus,
    Counts,
    Failure,
    Ref,
    Report,
    Skipped,
    State,
    attach,
)
from bulkstatus._text import printable
from bulkstatus.errors import (
    AuthError,
    BulkStatusError,
    ConfigError,
    NotFound,
    ProtocolError,
    RateLimited,
    RequestRejected,
    Unavailable,
    error_for_kind,
)

NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
TERMINAL = {"succeeded", "partial", "failed", "cancelled", "expired"}

texts = st.text(max_size=30)
maybe_text = st.none() | texts
times = st.none() | st.datetimes(timezones=st.just(UTC))
maybe_count = st.none() | st.integers(0, 2**40)
counts = st.builds(Counts, **dict.fromkeys(Counts.__struct_fields__, maybe_count))
statuses = st.builds(
    BulkStatus,
    source=texts,
    provider=texts,
    id=texts,
    state=st.sampled_from(State),
    native_state=maybe_text,
    phase=maybe_text,
    counts=st.none() | counts,
    created_at=times,
    started_at=times,
    updated_at=times,
    finished_at=times,
    observed_at=st.datetimes(timezones=st.just(UTC)),
    action=maybe_text,
    on_failure=st.sampled_from((None, "stop", "continue")),
    error=maybe_text,
    evidence=st.lists(texts, max_size=3).map(tuple),
)
operations = st.builds(
    BulkOperation,
    id=maybe_text,
    sequence=st.none() | st.integers(0, 2**40),
    state=st.sampled_from(State),
    native_state=maybe_text,
    method=maybe_text,
    path=maybe_text,
    error=maybe_text,
)
failures = st.builds(
    Failure,
    source=texts,
    provider=texts,
    kind=texts,
    message=texts,
    retryable=st.booleans(),
    id=maybe_text,
    reason=maybe_text,
    status=st.none() | st.integers(0, 999),
    code=maybe_text,
    detail=maybe_text,
    request_id=maybe_text,
    retry_after=st.none() | st.floats(0, 1e9),
)
reports = st.builds(
    Report,
    statuses=st.lists(statuses, max_size=2).map(tuple),
    failures=st.lists(failures, max_size=2).map(tuple),
    skipped=st.lists(st.builds(Skipped, source=texts, provider=texts, reason=texts), max_size=2).map(tuple),
    complete=st.booleans(),
    observed_at=st.datetimes(timezones=st.just(UTC)),
)


def status(**fields: object) -> BulkStatus:
    """A status with fields that do."""
    told = {"source": "payments", "provider": "weavr", "id": "42", "state": State.RUNNING, "observed_at": NOW}
    return BulkStatus(**{**told, **fields})


def round_trip(value):
    """What is left of `value` after JSON."""
    return msgspec.json.decode(msgspec.json.encode(value), type=type(value))


class TestState:
    """The nine words."""

    def test_the_wire_values_are_frozen(self):
        """Nine words, in this spelling, in this order."""
        assert [str(state) for state in State] == [
            "queued",
            "running",
            "paused",
            "succeeded",
            "partial",
            "failed",
            "cancelled",
            "expired",
            "unknown",
        ]

    @pytest.mark.parametrize("state", State)
    def test_five_states_are_ends_and_unknown_is_not(self, state):
        """`is_terminal` is true for exactly the five words in the middle."""
        assert state.is_terminal is (state.value in TERMINAL)
        assert not State.UNKNOWN.is_terminal

    @pytest.mark.parametrize("state", State)
    def test_a_state_is_its_word(self, state):
        """A state compares with, formats as and is encoded as its word."""
        assert state == state.value
        assert f"{state}" == state.value
        assert msgspec.json.encode(state) == f'"{state.value}"'.encode()


class TestRef:
    """The address of a bulk."""

    @given(st.text(min_size=1).filter(lambda text: ":" not in text), st.text(min_size=1))
    def test_parsing_what_is_written_gives_the_same(self, source, id):
        """`Ref.parse(str(ref)) == ref`, colons in the id included."""
        ref = Ref(source, id)
        assert str(ref) == f"{source}:{id}"
        assert Ref.parse(str(ref)) == ref
        assert Ref.parse(ref) is ref

    def test_the_id_is_all_behind_the_first_colon(self):
        """Only the first colon divides."""
        assert Ref.parse("edge:a:b:c") == Ref("edge", "a:b:c") == ("edge", "a:b:c")

    @pytest.mark.parametrize("text", ["", ":", "edge", "edge:", ":42", "112233445566778899"])
    def test_half_a_reference_is_a_config_error(self, text):
        """Without a colon, or with nothing on one side of it, the error shows the text and how to write it."""
        with pytest.raises(ConfigError) as caught:
            Ref.parse(text)
        assert repr(text) in str(caught.value)
        assert "source:id" in str(caught.value)

    def test_the_error_shows_no_more_than_fits_and_nothing_raw(self):
        """A megabyte on stdin does not become a megabyte of error, and escapes stay escaped."""
        with pytest.raises(ConfigError) as caught:
            Ref.parse("\x1b\u202e" + "a" * 1_000_000)
        assert len(str(caught.value)) < 300
        assert str(caught.value).isprintable()


class TestCounts:
    """How many operations are in which state."""

    def test_nothing_is_said_by_default(self):
        """All six counts are None, and so is all that follows from them."""
        empty = Counts()
        assert [getattr(empty, name) for name in Counts.__struct_fields__] == [None] * 6
        assert Counts.__struct_fields__ == ("total", "queued", "running", "succeeded", "failed", "cancelled")
        assert (empty.finished, empty.unsaid, empty.progress) == (None, None, None)

    @pytest.mark.parametrize(
        ("said", "finished", "unsaid", "progress"),
        [
            ({"total": 10}, None, 10, None),
            ({"total": 0}, None, 0, None),
            ({"total": 0, "succeeded": 0}, 0, 0, None),
            ({"succeeded": 3}, 3, None, None),
            ({"total": 10, "succeeded": 0}, 0, 10, 0.0),
            ({"total": 10, "succeeded": 3, "failed": 1, "cancelled": 1}, 5, 5, 0.5),
            ({"total": 10, "queued": 6, "running": 4}, None, 0, None),
            ({"total": 10, "queued": 5, "running": 1, "succeeded": 4}, 4, 0, 0.4),
            ({"total": 4, "succeeded": 4}, 4, 0, 1.0),
            ({"total": 4, "succeeded": 9}, 9, 0, 1.0),
            ({"total": 4, "succeeded": 10**400}, 10**400, 0, 1.0),
            ({"queued": 1, "running": 2}, None, None, None),
        ],
    )
    def test_what_follows_from_the_counts(self, said, finished, unsaid, progress):
        """`finished` adds ended operations, `unsaid` is the rest of the total, `progress` is their share."""
        found = Counts(**said)
        assert (found.finished, found.unsaid, found.progress) == (finished, unsaid, progress)

    @given(st.builds(Counts, **dict.fromkeys(Counts.__struct_fields__, st.none() | st.integers())))
    def test_nothing_impossible_follows_from_impossible_counts(self, found):
        """Progress is from 0 to 1 or None, and the rest is never negative, whatever was counted."""
        assert found.progress is None or 0.0 <= found.progress <= 1.0
        assert found.unsaid is None or found.unsaid >= 0

    @given(counts)
    def test_none_stays_none(self, found):
        """After JSON a count that was not said is still not said, and 0 is still 0."""
        assert round_trip(found) == found
        assert repr(round_trip(found)) == repr(found)


class TestBulkStatus:
    """How one bulk stood."""

    def test_the_fields_are_those_of_the_published_format(self):
        """JSON has these names and no others."""
        assert list(msgspec.json.decode(msgspec.json.encode(status()))) == [
            "source",
            "provider",
            "id",
            "state",
            "native_state",
            "phase",
            "counts",
            "created_at",
            "started_at",
            "updated_at",
            "finished_at",
            "observed_at",
            "action",
            "on_failure",
            "error",
            "provisional",
            "evidence",
            "gone_at",
            "overdue",
            "stuck",
        ]

    def test_only_what_is_always_known_is_required(self):
        """Everything else is None, and there is no evidence."""
        found = status()
        assert found.evidence == ()
        required = {"source", "provider", "id", "state", "observed_at", "evidence", "provisional"}
        assert all(getattr(found, name) is None for name in found.__struct_fields__ if name not in required)
        with pytest.raises(TypeError):
            BulkStatus(source="payments", provider="weavr", id="42", state=State.RUNNING)

    def test_times_are_written_in_utc(self):
        """A time in JSON ends in Z."""
        written = msgspec.json.decode(msgspec.json.encode(status(created_at=NOW)))
        assert written["created_at"] == written["observed_at"] == "2026-01-02T03:04:05.678901Z"

    def test_the_reference_and_the_key_are_derived(self):
        """`ref` is source and id, `key` tells rows of a listing apart."""
        found = status(source="edge", id="a:b")
        assert found.ref == Ref("edge", "a:b")
        assert Ref.parse(str(found.ref)) == found.ref
        assert found.key == "a:b"

    def test_it_cannot_be_changed(self):
        """A status is a fact."""
        with pytest.raises(AttributeError):
            status().state = State.FAILED

    @given(statuses)
    def test_json_keeps_everything_but_what_travels_beside(self, found):
        """A status comes back from JSON equal, without the record as received."""
        found.carrying(raw=b'{"iban":"PII-CANARY"}')
        written = msgspec.json.encode(found)
        assert b"PII-CANARY" not in written
        assert set(msgspec.json.decode(written)) == set(BulkStatus.__struct_fields__)
        back = msgspec.json.decode(written, type=BulkStatus)
        assert back == found
        assert back.raw is None

    def test_a_newer_format_can_be_read(self):
        """Fields that a later release adds are no obstacle to this one."""
        later = {**msgspec.to_builtins(status()), "mood": "fine"}
        assert msgspec.convert(later, BulkStatus) == status()


@pytest.mark.parametrize("name", ["native_state", "action", "error"])
def test_a_text_without_end_is_cut(name):
    """Journals keep it for each step. What fits is verbatim, and a copy is the same."""
    assert getattr(status(**{name: "x" * 16_384}), name) == "x" * 16_384
    found = status(**{name: "x" * 10_000_000})
    assert getattr(found, name) == "x" * 16_383 + "…"
    assert found.changed() == found == round_trip(found)


def test_evidence_without_end_is_cut_in_the_middle():
    """Its beginning says how the state was derived, its end what else there is to be said."""
    assert len(status(evidence=tuple(map(str, range(50)))).evidence) == 50
    found = status(evidence=tuple(map(str, range(30_000))))
    assert found.evidence[:30] == tuple(map(str, range(30)))
    assert found.evidence[30:] == (
        "29960 more sentences are left out here.",
        *map(str, range(29_990, 30_000)),
    )
    assert found.changed() == found == round_trip(found)


class Rows:
    """Rows of an answer that tell what they are asked for."""

    def __init__(self):
        self.asked = []

    def give(self, name, number):
        self.asked.append((name, number))
        return f"{name} {number}".encode() if name == "raw" else f"{name} {number}"


class TestHidden:
    """What travels along beside the fields."""

    def test_carrying_returns_the_same_object(self):
        """Adapters attach while they build."""
        found = status()
        assert found.carrying(raw=b"{}") is found
        assert found.raw == b"{}"

    def test_nothing_is_carried_by_default(self):
        """`raw`, `request` and `response` are None until attached."""
        operation = BulkOperation(state=State.FAILED)
        assert (status().raw, operation.raw, operation.request, operation.response) == (None,) * 4

    def test_a_lazy_record_is_cut_out_when_asked_for(self):
        """A function given as `raw` is called only by reading it."""
        asked = []

        def record() -> bytes:
            asked.append(1)
            return b'{"id":1}'

        found = status().carrying(raw=record)
        assert not asked
        assert found.raw == b'{"id":1}'
        assert asked

    def test_payloads_show_nowhere(self):
        """Personal data is in no repr, no str, no JSON, no field list, and not compared."""
        plain = BulkOperation(id="1", state=State.FAILED)
        full = BulkOperation(id="1", state=State.FAILED).carrying(
            raw=b'{"a":"PII-CANARY"}', request="PII-CANARY", response="PII-CANARY"
        )
        shown = (
            repr(full),
            str(full),
            f"{full}",
            repr([full]),
            str(msgspec.to_builtins(full)),
            str(msgspec.structs.asdict(full)),
            str(msgspec.structs.astuple(full)),
            msgspec.json.encode(full).decode(),
        )
        assert not [text for text in shown if "PII-CANARY" in text]
        assert (full.request, full.response) == ("PII-CANARY", "PII-CANARY")
        assert full == plain
        assert hash(full) == hash(plain)

    def test_what_is_attached_is_taken_from_the_rows_when_asked_for(self):
        """Each record asks for its own row; a value that it carries itself goes before, and a copy has all of it."""
        rows = Rows()
        one, two = attach([BulkOperation(state=State.FAILED) for _ in range(2)], rows, 2)
        assert not rows.asked
        two.carrying(response="of its own")
        for found in (two, two.changed(id="7")):
            assert (found.raw, found.request, found.response) == (b"raw 1", "request 1", "of its own")
        assert (one.raw, one.response) == (b"raw 0", "response 0")
        assert rows.asked == [("raw", 1), ("request", 1)] * 2 + [("raw", 0), ("response", 0)]

    def test_what_is_attached_shows_nowhere(self):
        """Not in repr, JSON or comparison, and it does not stand in the way of pickle and copy."""
        plain = BulkOperation(id="1", state=State.FAILED)
        (full,) = attach([BulkOperation(id="1", state=State.FAILED)], Rows(), 1)
        assert full == plain
        assert hash(full) == hash(plain)
        assert (repr(full), msgspec.json.encode(full)) == (repr(plain), msgspec.json.encode(plain))
        for back in (copy.copy(full), pickle.loads(pickle.dumps(full))):
            assert (back, back.raw, back.request) == (plain, None, None)

    def test_lazy_records_do_not_stand_in_the_way_of_pickle_and_copy(self):
        """A status from a listing can be pickled and copied, and still equals itself."""
        found = status().carrying(raw=lambda: b"{}")
        for back in (copy.copy(found), pickle.loads(pickle.dumps(found))):
            assert back == found


class TestBulkOperation:
    """One item inside a bulk."""

    def test_the_fields_are_those_of_the_published_format(self):
        """JSON has these names, the payloads not among them."""
        assert list(msgspec.json.decode(msgspec.json.encode(BulkOperation(state=State.QUEUED)))) == [
            "id",
            "sequence",
            "state",
            "native_state",
            "method",
            "path",
            "error",
        ]

    @pytest.mark.parametrize(
        ("id", "sequence", "key"),
        [("a", None, "a"), ("a", 3, "a"), (None, 0, "#0"), ("", 7, "#7"), (None, None, ""), ("", None, "")],
    )
    def test_the_key_is_the_id_or_the_position(self, id, sequence, key):
        """Rows are told apart by id, else by position (0 counts), else not at all."""
        assert BulkOperation(id=id, sequence=sequence, state=State.QUEUED).key == key

    @given(operations)
    def test_json_keeps_everything_but_the_payloads(self, found):
        """An operation comes back from JSON equal, without raw, request and response."""
        found.carrying(raw=b"PII-CANARY", request="PII-CANARY", response="PII-CANARY")
        written = msgspec.json.encode(found)
        assert b"PII-CANARY" not in written
        assert not {"raw", "request", "response"} & set(msgspec.json.decode(written))
        back = msgspec.json.decode(written, type=BulkOperation)
        assert back == found
        assert (back.raw, back.request, back.response) == (None,) * 3


FULL = {
    "source": "payments",
    "provider": "weavr",
    "id": "42",
    "status": 503,
    "code": "E1",
    "detail": "try later",
    "reason": "edge",
    "request_id": "8f",
    "retry_after": 2.5,
}


class TestFailure:
    """A source or bulk that could not be asked."""

    @pytest.mark.parametrize("retryable", [True, False])
    @pytest.mark.parametrize(
        "cls", [BulkStatusError, AuthError, ConfigError, NotFound, RateLimited, RequestRejected, Unavailable]
    )
    def test_an_error_described_and_made_again_is_the_same(self, cls, retryable):
        """Nothing an error carries is lost on the way through a report."""
        error = cls("it went wrong", retryable=retryable, **FULL)
        failure = Failure.of(error)
        assert failure.kind == cls.kind
        assert failure.message == "it went wrong"
        assert {name: getattr(failure, name) for name in FULL} == FULL
        back = failure.error()
        assert type(back) is cls
        assert vars(back) == vars(error)
        assert str(back) == str(error)

    def test_provider_text_is_not_cut_a_second_time(self):
        """Escapes make text longer; describing an error and making it again keeps every character shown."""
        error = ProtocolError("x", code="\x1b" * 100, request_id="\x1b" * 100, detail="\x1b" * 500)
        back = Failure.of(error).error()
        assert (back.code, back.request_id, back.detail) == (error.code, error.request_id, error.detail)

    def test_a_kind_from_a_newer_release_still_makes_an_error(self):
        """Reports written elsewhere can be raised here."""
        failure = Failure(source="s", provider="p", kind="solar_flare", message="m", retryable=False)
        assert type(failure.error()) is BulkStatusError

    @given(failures)
    def test_json_keeps_everything(self, failure):
        """A failure comes back from JSON equal."""
        assert round_trip(failure) == failure

    @given(failures)
    def test_every_failure_makes_an_error(self, failure):
        """Whatever a failure holds, its error is of its kind and about the same thing, its sentence one printable line."""
        error = failure.error()
        assert type(error) is error_for_kind(failure.kind)
        told = (error.message, error.source, error.id, error.status, error.retryable, error.retry_after)
        assert told == (
            printable(failure.message, 4_096),
            failure.source,
            failure.id,
            failure.status,
            failure.retryable,
            failure.retry_after,
        )


class TestReport:
    """The answer of a call over several."""

    DOWN = Failure(source="edge", provider="cloudflare", kind="unavailable", message="down", retryable=True)
    NO_KEY = Failure(source="crm", provider="druid", kind="auth", message="refused", retryable=False)

    def test_iterating_gives_the_statuses(self):
        """A report is its statuses, in order, and as long as they are many."""
        rows = (status(id="1"), status(id="2"))
        report = Report(statuses=rows, complete=True, observed_at=NOW)
        assert tuple(report) == rows
        assert len(report) == 2
        assert (report.failures, report.skipped) == ((), ())

    def test_without_failures_nothing_is_raised(self):
        """`raise_for_failures` is silent on a whole report, skipped sources or not."""
        skipped = (Skipped(source="edge", provider="cloudflare", reason="no listing"),)
        Report(statuses=(), skipped=skipped, complete=True, observed_at=NOW).raise_for_failures()

    def test_the_first_failure_is_raised_and_the_others_noted(self):
        """One error is raised, of the right branch, and no failure is silently missing."""
        report = Report(
            statuses=(status(),), failures=(self.DOWN, self.NO_KEY), complete=False, observed_at=NOW
        )
        with pytest.raises(Unavailable) as caught:
            report.raise_for_failures()
        assert str(caught.value) == "edge (cloudflare): down"
        assert caught.value.__notes__ == ["also: crm (druid): refused"]

    def test_a_single_failure_has_no_notes(self):
        """There is nothing to add to the only failure."""
        report = Report(statuses=(), failures=(self.NO_KEY,), complete=False, observed_at=NOW)
        with pytest.raises(AuthError) as caught:
            report.raise_for_failures()
        assert not getattr(caught.value, "__notes__", [])

    @given(reports)
    def test_json_keeps_everything_but_what_travels_beside(self, report):
        """A report comes back from JSON equal, and its records as received do not."""
        for row in report:
            row.carrying(raw=b"PII-CANARY")
        written = msgspec.json.encode(report)
        assert b"PII-CANARY" not in written
        assert set(msgspec.json.decode(written)) == {
            "statuses",
            "failures",
            "skipped",
            "complete",
            "observed_at",
        }
        assert msgspec.json.decode(written, type=Report) == report
