"""What is written into the journal, and by which rules. Each function works inside a transaction of its caller's."""

import sqlite3
from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import cache
from typing import NamedTuple

import msgspec

from bulkstatus._model import BulkStatus
from bulkstatus._record import (
    Last,
    Miss,
    Odd,
    Place,
    Pruned,
    Sighting,
    Weighed,
    contradicts,
    is_older,
    overlap,
    took,
    weigh,
)
from bulkstatus._rows import AT_ONCE, generation, placeholders, to_json, to_moment, to_status, to_text
from bulkstatus._tally import MOST, others
from bulkstatus._times import Stamp
from bulkstatus.errors import ConfigError

# Two answers that do not know a bulk have to lie so far apart, in seconds, before it counts as gone.
_APART = 4.0
_LONGEST_NOTE = 500
_LONGEST_LABEL = 100
_MOST_LABELS = 32


class Facts(msgspec.Struct, frozen=True, gc=False):
    """What the journal knows of a bulk beside its status: when it was first seen, and when it last moved."""

    first_seen_at: datetime | None
    moved_at: datetime | None


class _Row(NamedTuple):
    """A bulk as it is kept."""

    bulk_id: int
    status: str | None = None
    boot: str | None = None
    tick: float | None = None
    first_seen_at: str | None = None
    moved_at: str | None = None
    tracked_at: str | None = None
    missed_at: str | None = None
    missed_boot: str | None = None
    missed_tick: float | None = None
    gone_at: str | None = None
    wavers: int = 0
    doubted: int = 0
    pins: str | None = None

    def last(self) -> Last | None:
        status = to_status(self.status)
        if status is None or self.boot is None or self.tick is None:
            return None
        read = Stamp(self.boot, self.tick)
        return Last(status, read, self.gone_at is not None, bool(self.wavers), self.pins or "")


_ONE = f"SELECT {', '.join(_Row._fields)} FROM bulks WHERE source_id = ? AND id = ?"


def source(db: sqlite3.Connection, place: Place) -> int:
    """The number of a source, which is made where there is none."""
    values = (place.source, place.realm)
    query = "SELECT source_id FROM sources WHERE source = ? AND realm = ?"
    row = db.execute(query, values).fetchone()
    if row is None:
        db.execute("INSERT INTO sources (source, provider, realm) VALUES (?, ?, ?)", place[:3])
        row = db.execute(query, values).fetchone()
    return int(row[0])


def bulk(db: sqlite3.Connection, source_id: int, id: str) -> int:
    """The number of a bulk, which is made where there is none."""
    db.execute("INSERT INTO bulks (source_id, id) VALUES (?, ?) ON CONFLICT DO NOTHING", (source_id, id))
    query = "SELECT bulk_id FROM bulks WHERE source_id = ? AND id = ?"
    return int(db.execute(query, (source_id, id)).fetchone()[0])


def _row(db: sqlite3.Connection, source_id: int, id: str) -> _Row | None:
    row = db.execute(_ONE, (source_id, id)).fetchone()
    return None if row is None else _Row(*row)


def saw(db: sqlite3.Connection, seen: Sighting, observer: str) -> Facts | None:
    """Take in an answer; None for one that is not kept."""
    status = seen.status
    source_id = source(db, seen.place)
    row = _row(db, source_id, status.id)
    last = None if row is None else row.last()
    if status.provisional:
        # An end that only a list tells is kept once the bulk's own record says so; but it shows that the bulk is there.
        if row is not None and last is not None and not overlap(last, seen):
            _is_there(db, row, last, seen, observer)
        return None
    if row is None:
        if status.state.is_terminal and not seen.wanted:
            return None
        row = _Row(bulk(db, source_id, status.id))
    if seen.name is not None and seen.name != status.id:
        _rename(db, source_id, seen.name, row.bulk_id)
    at = to_text(status.observed_at)
    if seen.wanted:
        db.execute(
            "UPDATE bulks SET tracked_at = coalesce(tracked_at, ?) WHERE bulk_id = ?", (at, row.bulk_id)
        )
    weighed = weigh(last, seen)
    if weighed is None:
        if last is not None:
            _leave_out(db, row, last, seen, observer)
        return Facts(to_moment(row.first_seen_at), to_moment(row.moved_at))
    row = row._replace(first_seen_at=row.first_seen_at or at, moved_at=at if weighed.moved else row.moved_at)
    _keep(db, row, seen, weighed, last)
    if weighed.kind is not None:
        _add_step(db, row.bulk_id, last=last, weighed=weighed, observer=observer)
    return Facts(to_moment(row.first_seen_at), to_moment(row.moved_at))


def _leave_out(db: sqlite3.Connection, row: _Row, last: Last, seen: Sighting, observer: str) -> None:
    """What an answer means that is not kept: that the bulk is there, or that the journal's own may be the older one."""
    if row.missed_at is not None and is_older(last, seen):
        _is_there(db, row, last, seen, observer)
    if contradicts(last, seen):
        # Of a copy that lags too: it may be no copy, and an end that is settled is not asked for again.
        db.execute("UPDATE bulks SET doubted = 1 WHERE bulk_id = ?", (row.bulk_id,))


def _is_there(db: sqlite3.Connection, row: _Row, last: Last, seen: Sighting, observer: str) -> None:
    """The provider knows a bulk, though it is not known how it stands: it is not missing, and no longer gone."""
    if last.gone:
        back = Weighed(last.status.changed(observed_at=seen.status.observed_at), "returned", moved=True)
        _add_step(db, row.bulk_id, last=last, weighed=back, observer=observer)
    if last.gone or row.missed_at is not None:
        db.execute(
            "UPDATE bulks SET gone_at = NULL, missed_at = NULL, boot = ?, tick = ? WHERE bulk_id = ?",
            (*seen.read, row.bulk_id),
        )


def _rename(db: sqlite3.Connection, source_id: int, name: str, bulk_id: int) -> None:
    """What was kept under the name that a bulk was asked for by is kept under the provider's own."""
    row = _row(db, source_id, name)
    if row is None or row.status is not None:
        return
    db.execute(
        "UPDATE bulks SET tracked_at = coalesce(tracked_at, ?), note = coalesce(note, (SELECT note FROM bulks WHERE"
        " bulk_id = ?)) WHERE bulk_id = ?",
        (row.tracked_at, row.bulk_id, bulk_id),
    )
    db.execute("UPDATE OR IGNORE labels SET bulk_id = ? WHERE bulk_id = ?", (bulk_id, row.bulk_id))
    db.execute("DELETE FROM bulks WHERE bulk_id = ?", (row.bulk_id,))


def _keep(db: sqlite3.Connection, row: _Row, seen: Sighting, weighed: Weighed, last: Last | None) -> None:
    status = weighed.status
    values: dict[str, object] = {
        "first_seen_at": row.first_seen_at,
        "observed_at": to_text(status.observed_at),
        "moved_at": row.moved_at,
        "missed_at": None,
        "gone_at": None,
        "wavers": row.wavers or weighed.regressed,
        "doubted": last is not None and overlap(last, seen) and _leaves_doubt(row, last, status),
        "state": status.state,
        "native_state": status.native_state,
        "action": status.action,
        "status": to_json(status),
        "pins": seen.place.pins,
        "boot": seen.read.boot,
        "tick": seen.read.tick,
    }
    if last is None or not (status.state.is_terminal and last.status.state.is_terminal):
        values |= _end(status, row, last)  # else what was said of the end stays
    db.execute(_update(tuple(values)), (*values.values(), row.bulk_id))


@cache
def _update(columns: tuple[str, ...]) -> str:
    return f"UPDATE bulks SET {', '.join(f'{name} = ?' for name in columns)} WHERE bulk_id = ?"


def _leaves_doubt(row: _Row, last: Last, status: BulkStatus) -> bool:
    """True after an answer that may be older than the last: it settles nothing, and an end it tells may be taken back."""
    return bool(row.doubted) or (status.state.is_terminal and not last.status.state.is_terminal)


def _end(status: BulkStatus, row: _Row, last: Last | None) -> dict[str, object]:
    if not status.state.is_terminal:
        return {"ended_at": None, "duration": None}
    return {
        "ended_at": to_text(status.finished_at or status.observed_at),
        "duration": took(status, None if last is None else to_moment(row.first_seen_at)),
    }


def missed(db: sqlite3.Connection, miss: Miss, observer: str) -> None:
    """Take in that the provider does not know a bulk: it is gone when it was seen before, and is missed twice."""
    row = _row(db, source(db, miss.place), miss.id)
    last = None if row is None else row.last()
    if row is None or last is None or last.gone:
        return
    if overlap(last, miss):
        return  # somebody has seen it since
    apart = _apart(row, miss)
    if not miss.final and (apart is None or abs(apart) < _APART):
        if apart is None or apart < 0:  # the earlier of the two counts
            db.execute(
                "UPDATE bulks SET missed_at = ?, missed_boot = ?, missed_tick = ? WHERE bulk_id = ?",
                (to_text(miss.at), *miss.read, row.bulk_id),
            )
        return
    db.execute(
        "UPDATE bulks SET gone_at = ?, boot = ?, tick = ? WHERE bulk_id = ?",
        (to_text(miss.at), *miss.read, row.bulk_id),
    )
    gone = Weighed(last.status.changed(observed_at=miss.at), "gone", moved=True)
    _add_step(db, row.bulk_id, last=last, weighed=gone, observer=observer)


def noticed(db: sqlite3.Connection, odd: Odd) -> None:
    """Count something odd; what there is no room for is counted together."""
    source_id, oddity = source(db, odd.place), odd.oddity
    query = "SELECT 1 FROM drift WHERE source_id = ? AND kind = ? AND place = ? AND form = ?"
    if db.execute(query, (source_id, *oddity[:3])).fetchone() is None:
        query = "SELECT count(*) FROM drift WHERE source_id = ? AND kind = ?"
        (number,) = db.execute(query, (source_id, oddity.kind)).fetchone()
        oddity = oddity if number < MOST else others(oddity)
    values = (source_id, *oddity, odd.answers, to_text(odd.first), to_text(odd.last))
    db.execute(
        f"INSERT INTO drift VALUES ({placeholders(len(values))}) ON CONFLICT DO UPDATE SET"
        " count = count + excluded.count, first_seen = min(first_seen, excluded.first_seen),"
        " last_seen = max(last_seen, excluded.last_seen)",
        values,
    )


def _apart(row: _Row, miss: Miss) -> float | None:
    """How many seconds lie between this miss and an earlier one; None without one."""
    if row.missed_at is None:
        return None
    ticks = miss.read.since(Stamp(row.missed_boot or "", row.missed_tick or 0.0))
    first = to_moment(row.missed_at) or miss.at
    return (miss.at - first).total_seconds() if ticks is None else ticks


def _add_step(
    db: sqlite3.Connection, bulk_id: int, *, last: Last | None, weighed: Weighed, observer: str
) -> None:
    kind = weighed.kind
    before = None if last is None else last.status
    after = None if kind == "gone" else weighed.status
    values = {
        "bulk_id": bulk_id,
        "kind": kind,
        "from_state": before and before.state,
        "to_state": after and after.state,
        "from_word": before and before.native_state,
        "to_word": after and after.native_state,
        "phase": after and after.phase,
        "counts": None if weighed.status.counts is None else to_json(weighed.status.counts),
        "observed_at": to_text(weighed.status.observed_at),
        "observer": observer,
        "regressed": weighed.regressed,
        "passed_over": " ".join(weighed.passed_over),
    }
    db.execute(_insert(tuple(values)), tuple(values.values()))


@cache
def _insert(columns: tuple[str, ...]) -> str:
    return f"INSERT INTO transitions ({', '.join(columns)}) VALUES ({placeholders(len(columns))})"


def track(
    db: sqlite3.Connection,
    place: Place,
    ids: Iterable[str],
    *,
    at: datetime,
    note: str | None,
    labels: Mapping[str, str],
) -> None:
    """Keep bulks in mind. Raises ConfigError for a note or labels that are too long, or cannot be printed."""
    check_notes(note, labels)
    source_id = source(db, place)
    for id in ids:
        bulk_id = bulk(db, source_id, id)
        db.execute(
            "UPDATE bulks SET tracked_at = coalesce(tracked_at, ?), note = coalesce(?, note) WHERE bulk_id = ?",
            (to_text(at), note, bulk_id),
        )
        db.executemany(
            "INSERT INTO labels VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET value = excluded.value",
            [(bulk_id, key, value) for key, value in labels.items()],
        )
        (number,) = db.execute("SELECT count(*) FROM labels WHERE bulk_id = ?", (bulk_id,)).fetchone()
        if number > _MOST_LABELS:
            raise ConfigError(f"a bulk has at most {_MOST_LABELS} labels; {id} would have {number}")


def check_notes(note: str | None, labels: Mapping[str, str]) -> None:
    """Raises ConfigError for a note or labels that are too long, or cannot be printed."""
    if note is not None:
        _check_text("a note", note, _LONGEST_NOTE)
    if len(labels) > _MOST_LABELS:
        raise ConfigError(f"a bulk has at most {_MOST_LABELS} labels")
    for key, value in labels.items():
        _check_text("the name of a label", key, _LONGEST_LABEL)
        if "=" in key:
            raise ConfigError(f"the name of a label holds no '=': {key[:40]!r}")
        _check_text("a label", value, _LONGEST_LABEL)


def _check_text(what: str, text: str, most: int) -> None:
    if not text or len(text) > most or not text.isprintable():
        raise ConfigError(f"{what} is 1 to {most} printable characters, not {text[:40]!r}")


def untrack(db: sqlite3.Connection, place: Place, ids: Iterable[str]) -> tuple[str, ...]:
    """Keep bulks in mind no longer; those that were tracked are given."""
    source_id = source(db, place)
    query = "UPDATE bulks SET tracked_at = NULL WHERE source_id = ? AND id = ? AND tracked_at IS NOT NULL"
    return tuple(id for id in ids if db.execute(query, (source_id, id)).rowcount)


def forget_drift(db: sqlite3.Connection, sources: Iterable[str] | None) -> int:
    """Take out all drift, or that of some sources; how many rows."""
    if sources is None:
        return db.execute("DELETE FROM drift").rowcount
    query = "DELETE FROM drift WHERE source_id IN (SELECT source_id FROM sources WHERE source = ?)"
    return sum(db.execute(query, (name,)).rowcount for name in sources)


def prune_drift(db: sqlite3.Connection, before: str) -> int:
    """Take out what was seen last before the time `before`; how many rows."""
    return db.execute("DELETE FROM drift WHERE last_seen < ?", (before,)).rowcount


def prune_some(db: sqlite3.Connection, before: str) -> Pruned:
    """Take out some of the bulks that have been over since before the time `before`, with their steps.

    Each time is a generation of its own: a cursor that is given between two of them tells which it has seen.
    """
    rows = db.execute(
        # By our reading, not by the provider's time: an end of last year may have been seen today.
        "SELECT bulk_id FROM bulks WHERE gone_at < ?1 OR (ended_at IS NOT NULL AND moved_at < ?1)"
        " OR (tracked_at IS NULL AND coalesce(observed_at, '') < ?1) LIMIT ?2",
        (before, AT_ONCE),
    ).fetchall()
    ids = [bulk_id for (bulk_id,) in rows]
    within = f"WHERE bulk_id IN ({placeholders(len(ids))})"
    (last,) = db.execute(f"SELECT max(seq) FROM transitions {within}", ids).fetchone()
    if last is not None:
        db.execute("INSERT INTO prunes VALUES (?, ?)", (generation(db) + 1, last))
    number = db.execute(f"DELETE FROM transitions {within}", ids).rowcount
    db.execute(f"DELETE FROM bulks {within}", ids)
    return Pruned(bulks=len(ids), transitions=number, waits=0)
