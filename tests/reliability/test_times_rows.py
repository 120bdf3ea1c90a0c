"""Providers' times that cannot be right: each costs itself, and never becomes another time."""

import json
from datetime import UTC, datetime, timedelta
from typing import ClassVar

import msgspec
import pytest

from answers import DONE, REFS, RUNNING, adapters, command, config, providers, record, using
from bulkstatus import State
from bulkstatus.adapter import BulkStatus, Call, Request, Response, Vocabulary, decode, from_text
from bulkstatus_weavr import Weavr
from support import Plain

row = pytest.mark.row

TODAY = datetime.now(UTC).date()


class Dated(msgspec.Struct):
    """A bulk of a provider that tells when it ended."""

    id: str
    status: str
    ended: object = None


_DATED = msgspec.json.Decoder(Dated)


class Stranger(Plain, frozen=True, kw_only=True):
    """A stranger's adapter that reads one time."""

    words: ClassVar[Vocabulary] = Vocabulary(
        "dated bulk", {"running": State.RUNNING, "done": State.SUCCEEDED}
    )

    def status(self, id):
        def read(response):
            told = decode(response, _DATED.decode)
            state, why = self.words.decide(told.status, None, self.state_map)
            ended, odd = from_text(told.ended, label="ended", now=response.received_at)
            return BulkStatus(
                source=response.source,
                provider=self.provider,
                id=told.id,
                state=state,
                native_state=told.status,
                finished_at=ended,
                observed_at=response.received_at,
                evidence=(*why, *filter(None, [odd])),
            )

        return Call(Request.to(self.base_url, "bulks", id), read)


def sources(url):
    """Those that read times."""
    return {**adapters(url), "plain": Stranger(base_url=f"{url}/plain")}


# The members that hold times, and the fields they become.
MEMBERS = {
    "weavr": {"executionStart": "started_at", "executionFinish": "finished_at"},
    "cloudflare": {"completed": "finished_at"},
    "druid": {"createdOn": "created_at", "updatedOn": "updated_at"},
    "plain": {"ended": "finished_at"},
}
# A time of Cloudflare's counts only for a bulk that has ended.
WORDS = {**RUNNING, "cloudflare": DONE["cloudflare"]}

NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)
# What stands in the JSON, and what is read of it: of texts (Cloudflare and the stranger), by DRUID, by Weavr.
TIMES = {
    "naive": ("B81", "2026-01-01T00:00:00", None, NEW_YEAR, None),
    "a date": ("B82", "2026-01-01", None, None, None),
    "the basic form": ("B82", "20260101T000000Z", None, None, None),
    "a week date": ("B82", "2026-W01-1", None, None, None),
    "a week date with a time": ("B82", "2026-W01-1T00:00:00Z", None, None, None),
    "24:00": ("B82", "2025-12-31T24:00:00Z", NEW_YEAR, NEW_YEAR, None),
    "24:00 of a last day": ("B82", "9999-12-31T24:00:00Z", None, None, None),
    "24:01": ("B82", "2025-12-31T24:01:00Z", None, None, None),
    "a leap second": (
        "B82",
        "2016-12-31T23:59:60Z",
        datetime(2016, 12, 31, 23, 59, 59, tzinfo=UTC),
        datetime(2016, 12, 31, 23, 59, 59, tzinfo=UTC),
        None,
    ),
    "a second that is none": ("B82", "2025-12-31T23:59:61Z", None, None, None),
    "an offset of 25 hours": ("B82", "2026-01-01T00:00:00+25:00", None, None, None),
    "an offset of 24 hours": ("B82", "2026-01-01T00:00:00+24:00", None, None, None),
    "the year 0": ("B82", "0000-01-01T00:00:00Z", None, None, None),
    "the year 10000": ("B82", "10000-01-01T00:00:00Z", None, None, None),
    "nine digits": (
        "B83",
        "2026-01-01T00:00:00.123456789Z",
        NEW_YEAR.replace(microsecond=123456),
        NEW_YEAR.replace(microsecond=123456),
        None,
    ),
    "nine nines": (
        "B83",
        "2026-01-01T00:00:00.999999999Z",
        NEW_YEAR.replace(microsecond=999999),
        NEW_YEAR.replace(microsecond=999999),
        None,
    ),
    "ten digits": ("B83", "2026-01-01T00:00:00.1234567890Z", None, None, None),
    "seconds": ("B84", 1_767_225_600, None, None, None),
    "milliseconds": ("B84", 1_767_225_600_000, None, NEW_YEAR, NEW_YEAR),
    "milliseconds as text": ("B84", "1767225600000", None, NEW_YEAR, NEW_YEAR),
    "microseconds": ("B84", 1_767_225_600_000_000, None, None, None),
    "nanoseconds": ("B84", 1_767_225_600_000_000_000, None, None, None),
    "a fraction": ("B84", 1_767_225_600_000.5, None, None, None),
    "4,000 digits": ("B84", 10**3_999, None, None, None),
    "negative": ("B84", -1, None, None, None),
    "a month": ("B85", "Jan", None, None, None),
    "a number": ("B85", "12", None, None, None),
    "any order": ("B85", "10/11/12", None, None, None),
    "a zone by name": ("B85", "2026-01-01 00:00 EST", None, None, None),
    "now": ("B85", "now", None, None, None),
    "a truth value": ("B85", True, None, None, None),
    "a list": ("B85", ["2026-01-01T00:00:00Z"], None, None, None),
    "an object": ("B85", {"$date": "2026-01-01T00:00:00Z"}, None, None, None),
    "the end of the calendar": ("B86", "9999-12-31T23:59:59-23:59", None, None, None),
    "its beginning": ("B86", "0001-01-01T00:00:00+23:59", None, None, None),
    "eleven years ahead": (
        "B86",
        f"{datetime.now(UTC) + timedelta(days=4020):%Y-%m-%dT%H:%M:%SZ}",
        None,
        None,
        None,
    ),
    "eleven years ahead in milliseconds": (
        "B86",
        int((datetime.now(UTC) + timedelta(days=4020)).timestamp()) * 1_000,
        None,
        None,
        None,
    ),
}
ROWS = [pytest.param(number, marks=row(number)) for number in sorted({given[0] for given in TIMES.values()})]


def dated(name, value):
    """A record whose every time is `value`."""
    members = ",".join(f'"{member}":{json.dumps(value)}' for member in MEMBERS[name])
    return record(name, members.encode(), word=WORDS[name])


def check(name, status, value, when):
    """The times of a record are `when`, and where that is None a sentence about the field says why."""
    assert status.state is (State.SUCCEEDED if name == "cloudflare" else State.RUNNING)
    is_taken_as_utc = (name, value) == ("druid", TIMES["naive"][1])
    for member, field in MEMBERS[name].items():
        assert getattr(status, field) == when
        said = [line for line in status.evidence if line.startswith(f"{member} ")]
        assert len(said) == int(when is None or is_taken_as_utc)
        assert all(line.isprintable() and len(line) < 200 for line in said)
    times = (status.created_at, status.started_at, status.updated_at, status.finished_at)
    assert all(time is None or time.date() != TODAY for time in times)


@pytest.mark.parametrize("number", ROWS)
@pytest.mark.unrecorded
def test_an_odd_time_costs_itself(number, kind, transport):
    """It is None with a sentence about the field, or the one time it can be; the state is what the word says."""
    now = {}

    def ask(call):
        for in_row, value, text, druid, weavr in TIMES.values():
            if in_row == number:
                now["value"] = value
                expected = {"weavr": weavr, "cloudflare": text, "druid": druid, "plain": text}
                for name, when in expected.items():
                    check(name, call("get", REFS[name]), value, when)

    with providers(lambda name, _: dated(name, now["value"])) as world:
        using(kind, sources(world.url), ask)


@row("B84")
@pytest.mark.parametrize(("unit", "factor"), [("s", 1), ("ms", 10**3), ("us", 10**6), ("ns", 10**9)])
def test_the_unit_of_an_epoch_is_the_one_that_was_set(unit, factor):
    """What is in it is read exactly; what is in another is no time."""
    adapter = Weavr(base_url="http://127.0.0.1:1", api_key="k", auth_token="t", epoch_unit=unit)
    for given in (1, 10**3, 10**6, 10**9):
        body = record("weavr", b'"executionStart":%d' % (1_767_225_600 * given))
        status = adapter.status("7").read(Response.now(200, body))
        assert status.started_at == (NEW_YEAR if given == factor else None)
        assert any(line.startswith("executionStart ") for line in status.evidence) == (given != factor)


@row("B82", "B85", "B86")
def test_the_command_line_shows_no_time_where_there_is_none(tmp_path):
    """Null in JSON, the reason among the evidence, and exit code 0."""
    with providers(lambda name, _: dated(name, "9999-12-31T23:59:59-23:59")) as world:
        shown = command(
            config(world.url, tmp_path), "get", "weavr:7", "cloudflare:c7", "druid:d7", "-o", "json"
        )
    assert shown.code == 0
    for status in json.loads(shown.out)["statuses"]:
        for field in ("created_at", "started_at", "updated_at", "finished_at"):
            assert status.get(field) is None
        assert any("9999-12-31" in line for line in status["evidence"])
