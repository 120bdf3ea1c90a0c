"""Between the journal's rows and what callers get, and from cursors to places in it."""

import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from sys import intern
from typing import NamedTuple

import msgspec

from bulkstatus._drift import Drift, pin
from bulkstatus._model import BulkStatus, Counts, State
from bulkstatus._outcome import Verdict
from bulkstatus._record import KnownBulk, Transition, WaitRecord, WaitTerms
from bulkstatus._tally import in_order
from bulkstatus.errors import ConfigError

AT_ONCE = 500
"""So many values go into one statement: SQLite takes 999 and more."""

_STATUS = msgspec.json.Decoder(BulkStatus)
_COUNTS = msgspec.json.Decoder(Counts)
_TERMS = msgspec.json.Decoder(WaitTerms)
_REFS = msgspec.json.Decoder(tuple[str, ...])
_VERDICTS = msgspec.json.Decoder(dict[str, Verdict])

_BULK = """
    SELECT b.bulk_id, s.source, s.provider, s.realm, b.id, b.status, b.note, b.tracked_at, b.first_seen_at,
           b.moved_at, b.ended_at, b.gone_at, b.duration, b.pins, b.doubted
    FROM bulks b JOIN sources s USING (source_id)
"""
_STEP = """
    SELECT t.seq, s.source, s.provider, b.id, t.kind, t.from_state, t.to_state, t.from_word, t.to_word, t.phase,
           t.counts, t.observed_at, t.observer, t.regressed, t.passed_over
    FROM transitions t JOIN bulks b USING (bulk_id) JOIN sources s USING (source_id)
"""


def to_status(text: object) -> BulkStatus | None:
    """A status that was kept; None where there is none, or it says what this version does not know."""
    try:
        return None if text is None else _STATUS.decode(str(text))
    except msgspec.ValidationError:
        return None


def to_json(value: object) -> str:
    """A value as it is kept."""
    return msgspec.json.encode(value).decode()


def to_text(moment: datetime) -> str:
    """A time as it is kept: of one length, so that the order of the texts is the order of the times."""
    text = moment.astimezone(UTC).isoformat(timespec="microseconds")
    return f"{text.removesuffix('+00:00')}Z"  # in a seventh of the time that a format takes


def to_moment(text: object) -> datetime | None:
    """A time that was kept; None where there is none, or nobody can read it."""
    try:
        return datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None


def placeholders(number: int) -> str:
    """So many question marks, for a list of values in a statement."""
    return ", ".join("?" * number)


def bulks(
    db: sqlite3.Connection, where: str, values: Iterable[str | int], *, pins: str | None = None
) -> Iterator[tuple[int, KnownBulk]]:
    """Bulks, each with its number in the file; `pins` is how words are read now."""
    found = db.execute(f"{_BULK} {where}", tuple(values))
    while rows := found.fetchmany(AT_ONCE):
        labels = _labels_of(db, [row[0] for row in rows])
        for row in rows:
            yield row[0], _bulk(row, labels.get(row[0], {}), pins)


def _labels_of(db: sqlite3.Connection, bulk_ids: Sequence[int]) -> dict[int, dict[str, str]]:
    found: dict[int, dict[str, str]] = {}
    for start in range(0, len(bulk_ids), AT_ONCE):
        part = bulk_ids[start : start + AT_ONCE]
        query = f"SELECT bulk_id, key, value FROM labels WHERE bulk_id IN ({placeholders(len(part))})"
        for bulk_id, key, value in db.execute(query, part):
            found.setdefault(bulk_id, {})[key] = value
    return found


def _bulk(row: Sequence[object], labels: Mapping[str, str], pins: str | None) -> KnownBulk:
    _, source, provider, realm, id, text, note, tracked, first, moved, ended, gone, duration, *read = row
    status = to_status(text)
    gone_at = to_moment(gone)
    if status is not None and gone_at is not None:
        status = status.changed(gone_at=gone_at)
    return KnownBulk(
        ref=f"{source}:{id}",
        source=intern(
            str(source)
        ),  # one text for all rows: of a hundred thousand they were a tenth of the memory
        provider=intern(str(provider)),
        realm=intern(str(realm)),
        id=str(id),
        status=status,
        note=note if isinstance(note, str) else None,
        labels=labels,
        tracked_at=to_moment(tracked),
        first_seen_at=to_moment(first),
        moved_at=to_moment(moved),
        ended_at=to_moment(ended),
        gone_at=gone_at,
        duration=duration if isinstance(duration, float) else None,
        is_current=pins in (None, read[0]) and not read[1],
    )


def steps(
    db: sqlite3.Connection, where: str, values: Iterable[str | int], *, journal: "Name"
) -> list[Transition]:
    """Steps, each with its cursor."""
    return [_step(row, journal) for row in db.execute(f"{_STEP} {where}", tuple(values))]


def _step(row: Sequence[object], journal: "Name") -> Transition:
    seq, source, provider, id, kind, from_state, to_state, from_word, to_word, phase, *rest = row
    counts, observed_at, observer, regressed, over = rest
    return msgspec.convert(
        {
            "cursor": journal.cursor(seq),
            "ref": f"{source}:{id}",
            "source": source,
            "provider": provider,
            "kind": kind,
            "from_state": _state(from_state),
            "to_state": _state(to_state),
            "from_word": from_word,
            "to_word": to_word,
            "phase": phase,
            "counts": _COUNTS.decode(counts) if isinstance(counts, str) else None,
            "observed_at": observed_at,
            "observer": observer,
            "regressed": bool(regressed),
            "passed_over": tuple(str(over).split()),
        },
        Transition,
    )


def _state(word: object) -> object:
    """A state that was kept; `unknown` for one of another version."""
    return word if word is None or word in State.__members__.values() else State.UNKNOWN


def waits(db: sqlite3.Connection, where: str, values: Iterable[str | int] = ()) -> tuple[WaitRecord, ...]:
    """Waits, the latest first; without those that this version does not understand."""
    query = (
        "SELECT wait_id, refs, terms, begun_at, deadline_at, waiter, ended_at, verdicts FROM waits"
        f" WHERE {where} ORDER BY wait_id DESC"
    )
    journal = name_of(db).id
    found = (_wait(row, journal) for row in db.execute(query, tuple(values)))
    return tuple(wait for wait in found if wait is not None)


def _wait(row: Sequence[object], journal: str) -> WaitRecord | None:
    try:
        return _read_wait(row, journal)
    except msgspec.DecodeError:
        return None


def _read_wait(row: Sequence[object], journal: str) -> WaitRecord:
    number, refs, terms, begun_at, deadline_at, waiter, ended_at, verdicts = row
    return msgspec.convert(
        {
            "id": number,
            "refs": _REFS.decode(str(refs)),
            "terms": msgspec.to_builtins(_TERMS.decode(str(terms))),
            "begun_at": begun_at,
            "deadline_at": to_moment(deadline_at),
            "waiter": waiter,
            "ended_at": to_moment(ended_at),
            "verdicts": None if verdicts is None else _VERDICTS.decode(str(verdicts)),
            "journal": journal,
        },
        WaitRecord,
    )


def drifts(db: sqlite3.Connection) -> tuple[Drift, ...]:
    """All drift, that of the accounts which a source has stood for taken together."""
    query = """
        SELECT s.source, s.provider, kind, place, form, min(sample), min(word), sum(count), min(first_seen),
               max(last_seen)
        FROM drift JOIN sources s USING (source_id) GROUP BY s.source, s.provider, kind, place, form
    """
    return in_order(_drift(row) for row in db.execute(query))


def _drift(row: Sequence[object]) -> Drift:
    source, provider, kind, where, _, sample, word, count, first_seen, last_seen = row
    return msgspec.convert(
        {
            "source": source,
            "provider": provider,
            "kind": kind,
            "where": where,
            "sample": sample,
            "count": count,
            "first_seen": first_seen,
            "last_seen": last_seen,
            "pin": pin(word) if isinstance(word, str) else None,
        },
        Drift,
    )


# --- cursors ---
#
# A cursor is the journal's name, how often steps had been pruned when it was given if that was ever, and the number of
# a step: `9f139286-5`, `9f139286.2-40`. What was pruned before it was given nobody has missed.


class Name(NamedTuple):
    """What tells a journal from others, and one time of it from another."""

    id: str
    generation: int

    def cursor(self, step: object) -> str:
        """The cursor behind a step."""
        return f"{self.id}.{self.generation}-{step}" if self.generation else f"{self.id}-{step}"


def name_of(db: sqlite3.Connection) -> Name:
    """The name that cursors which are given now bear."""
    (id,) = db.execute("SELECT value FROM meta WHERE key = 'id'").fetchone()
    return Name(id, generation(db))


def generation(db: sqlite3.Connection) -> int:
    """How often steps have been pruned."""
    (found,) = db.execute("SELECT coalesce(max(generation), 0) FROM prunes").fetchone()
    return int(found)


def last_step(db: sqlite3.Connection) -> int:
    """The number of the last step that was ever recorded."""
    row = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'transitions'").fetchone()
    return 0 if row is None else int(row[0])


def number(cursor: str) -> int:
    """The step that a cursor stands behind."""
    return int(cursor.rpartition("-")[2])


_CURSOR = re.compile(r"([0-9a-f]{8})(?:\.([0-9]{1,9}))?-([0-9]{1,18})", re.ASCII)


def place(db: sqlite3.Connection, journal: Name, text: str) -> int:
    """The step that the cursor `text` stands behind.

    Raises ConfigError for what is no cursor of this journal, and for one behind which steps have been pruned since it
    was given.
    """
    match = _CURSOR.fullmatch(text)
    if match is None:
        raise ConfigError(
            f"{text[:40]!r} is not a cursor: take one that 'changes' gave, such as {journal.cursor(0)}"
        )
    given, found, end = int(match[2] or 0), int(match[3]), last_step(db)
    if match[1] != journal.id or given > journal.generation or found > end:
        why = "is of another journal, or of one that this was restored from"
        raise ConfigError(
            f"the cursor {text} {why}; begin anew without it, or at the end with {journal.cursor(end)}"
        )
    (pruned_to,) = db.execute(
        "SELECT coalesce(max(last_step), 0) FROM prunes WHERE generation > ?", (given,)
    ).fetchone()
    if found < pruned_to:
        whole = f"{journal.cursor(found)} goes on with those that are left"
        raise ConfigError(f"steps behind the cursor {text} were pruned before they were read; {whole}")
    return found
