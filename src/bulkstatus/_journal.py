"""The journal: bulks that were asked for, what was seen of them, and every step once."""

import os
import socket
import sqlite3
from collections.abc import Callable, Collection, Generator, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from bulkstatus import _ledger, _rows, _times, _waits
from bulkstatus._drift import Drift
from bulkstatus._file import JournalFile
from bulkstatus._ledger import Facts
from bulkstatus._model import Ref
from bulkstatus._record import (
    JournalStats,
    KnownBulk,
    Miss,
    Odd,
    Place,
    Pruned,
    Sighting,
    Transition,
    WaitRecord,
    WaitTerms,
)
from bulkstatus._rows import AT_ONCE, placeholders, to_moment, to_text
from bulkstatus._sqlite import default_journal_path
from bulkstatus._tally import unpinned
from bulkstatus._usual import LATEST, RAN_TO_AN_END, Usual, usual
from bulkstatus._waits import HeldWait
from bulkstatus.errors import ConfigError, JournalError

T = TypeVar("T")

_PAGE = 2_000
_MOST = 2**63 - 1
_AGES = 100 * 365.25 * 86_400


class Journal:
    """A record of bulks on this machine: an SQLite file that any number of processes and threads may use at once.

    `path` is the file; None for `$BULKSTATUS_JOURNAL`, else `journal.db` in the user's folder for state. Nothing is
    opened before it is needed. The file is made with mode 0600, its folder with 0700. Hand it to a client
    (`Client(..., journal=...)`) to have what that sees recorded, and read it from anywhere.

    Every method may raise JournalError. A damaged file is moved aside, never deleted, and a new one begun: whoever reads
    is told so by an error, and what is recorded goes into the new one. A file of a newer version, or of another program,
    is left as it is.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        self._file = JournalFile((default_journal_path() if path is None else Path(path)).absolute())

    @property
    def path(self) -> Path:
        """The file."""
        return self._file.path

    @property
    def moved_to(self) -> Path | None:
        """Where a damaged file was moved by this object, or None."""
        return self._file.moved_to

    def __repr__(self) -> str:
        return f"Journal({str(self.path)!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        # No news to anybody: what a method said was written had been written when it returned.
        with suppress(Exception):
            self.close()

    def close(self) -> None:
        """Close the file. It is opened again when it is needed."""
        self._file.close()

    # --- what callers read ---

    def cursor(self) -> str:
        """Where the journal ends now: `changes(after=...)` gives what comes later."""
        return self._file.read(lambda db: _rows.name_of(db).cursor(_rows.last_step(db)))

    def changes(self, after: str | None = None, *, limit: int = 1_000) -> tuple[Transition, ...]:
        """The steps behind the cursor `after`, or from the beginning, in the order they were recorded; at most `limit`.

        Each step carries its own cursor. Whoever keeps that of the last step it has dealt with, and hands it in the
        next time, sees each step once.

        Raises ConfigError for what is no cursor of this journal, for one behind which steps have been pruned since it
        was given, and for a limit that is none.
        """
        _check_limit(limit)

        def read(db: sqlite3.Connection) -> tuple[Transition, ...]:
            journal = _rows.name_of(db)
            number = 0 if after is None else _rows.place(db, journal, after)
            where = "WHERE t.seq > ? ORDER BY t.seq LIMIT ?"
            return tuple(_rows.steps(db, where, (number, limit), journal=journal))

        return self._file.read(read)

    def history(self, ref: str | Ref, *, limit: int = 1_000) -> tuple[Transition, ...]:
        """The last `limit` steps of one bulk, the oldest first; empty for one that is not known."""
        _check_limit(limit)
        wanted = Ref.parse(ref)

        def read(db: sqlite3.Connection) -> tuple[Transition, ...]:
            journal = _rows.name_of(db)
            found: list[Transition] = []
            for number, _ in _rows.bulks(db, "WHERE s.source = ? AND b.id = ?", wanted):
                where = "WHERE t.bulk_id = ? ORDER BY t.seq DESC LIMIT ?"
                found += _rows.steps(db, where, (number, limit), journal=journal)
            return tuple(sorted(found, key=lambda step: _rows.number(step.cursor))[-limit:])

        return self._file.read(read)

    def find(self, ref: str | Ref) -> tuple[KnownBulk, ...]:
        """The bulk `ref` as the journal knows it; several where the source has stood for several accounts."""
        wanted = Ref.parse(ref)
        where = "WHERE s.source = ? AND b.id = ?"
        return self._file.read(lambda db: tuple(bulk for _, bulk in _rows.bulks(db, where, wanted)))

    def all_changes(self) -> Generator[Transition]:
        """Every step that is kept, a page at a time: nobody is held up, and little is held in memory.

        Raises JournalError when the journal is replaced meanwhile.
        """

        def page(db: sqlite3.Connection, after: int) -> list[tuple[int, Transition]]:
            where = "WHERE t.seq > ? ORDER BY t.seq LIMIT ?"
            found = _rows.steps(db, where, (after, _PAGE), journal=_rows.name_of(db))
            return [(_rows.number(step.cursor), step) for step in found]

        return self._pages(page)

    def all_bulks(self) -> Generator[KnownBulk]:
        """Every bulk that is known, a page at a time. Raises JournalError when it is replaced meanwhile."""

        def page(db: sqlite3.Connection, after: int) -> list[tuple[int, KnownBulk]]:
            return [*_rows.bulks(db, "WHERE b.bulk_id > ? ORDER BY b.bulk_id LIMIT ?", (after, _PAGE))]

        return self._pages(page)

    def _pages(self, page: Callable[[sqlite3.Connection, int], list[tuple[int, T]]]) -> Generator[T]:
        """All rows that `page` gives behind a number, of one file: half of one and half of another are nothing whole."""
        last, journal = 0, None
        while True:

            def read(db: sqlite3.Connection, after: int = last) -> tuple[str, list[tuple[int, T]]]:
                return _rows.name_of(db).id, page(db, after)

            name, rows = self._file.read(read)
            if journal not in (None, name):
                raise JournalError(
                    f"the journal {self.path} was replaced while it was read", reason="corrupt"
                )
            if not rows:
                return
            yield from (row for _, row in rows)
            last, journal = rows[-1][0], name

    def waits(self, *, open_only: bool = True) -> tuple[WaitRecord, ...]:
        """The waits that were recorded, the latest first; only those that have not ended unless told otherwise."""
        return self._file.read(lambda db: _rows.waits(db, "ended_at IS NULL" if open_only else "1"))

    def drift(
        self, *, sources: Collection[str] | None = None, pins: Mapping[str, Collection[str]] | None = None
    ) -> tuple[Drift, ...]:
        """What sources answered that their adapters do not know, of all sources or of those named; see Drift.

        `pins` are the words that each source's configuration gives a meaning by now: they are left out.
        """
        found = unpinned(self._file.read(_rows.drifts), pins or {})
        names = _names(sources)
        return tuple(one for one in found if names is None or one.source in names)

    def clear_drift(self, *, sources: Collection[str] | None = None) -> int:
        """Forget the drift of all sources, or of those named; how many rows of it there were."""
        names = _names(sources)
        return self._file.write(lambda db: _ledger.forget_drift(db, names))

    def stats(self) -> JournalStats:
        """How much there is."""

        def read(db: sqlite3.Connection) -> JournalStats:
            number, tracked, over, ended, gone = db.execute(
                "SELECT count(*), count(tracked_at), count(coalesce(ended_at, gone_at)), count(ended_at),"
                " count(gone_at) FROM bulks"
            ).fetchone()
            steps, oldest, newest = db.execute(
                "SELECT count(*), (SELECT observed_at FROM transitions ORDER BY seq LIMIT 1),"
                " (SELECT observed_at FROM transitions ORDER BY seq DESC LIMIT 1) FROM transitions"
            ).fetchone()
            (waits,) = db.execute("SELECT count(*) FROM waits WHERE ended_at IS NULL").fetchone()
            (version,) = db.execute("PRAGMA user_version").fetchone()
            return JournalStats(
                path=str(self.path),
                schema=version,
                size=self._file.size(),
                bulks=number,
                tracked=tracked,
                unfinished=number - over,
                ended=ended,
                gone=gone,
                transitions=steps,
                open_waits=waits,
                oldest=to_moment(oldest),
                newest=to_moment(newest),
                cursor=_rows.name_of(db).cursor(_rows.last_step(db)),
            )

        return self._file.read(read)

    # --- what the facade reads and writes ---

    def track(
        self,
        place: Place,
        ids: Iterable[str],
        *,
        note: str | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> None:
        """Keep the bulks `ids` in mind. `note` replaces an earlier one, and `labels` those of the same names.

        Raises ConfigError for a note or a label that is too long, or cannot be printed.
        """
        at, those = _times.utc_now(), tuple(ids)
        self._file.write(lambda db: _ledger.track(db, place, those, at=at, note=note, labels=labels or {}))

    def untrack(self, place: Place, ids: Iterable[str]) -> tuple[str, ...]:
        """Keep the bulks `ids` in mind no longer; what was seen of them stays. Those that were tracked are given."""
        those = tuple(ids)
        return self._file.write(lambda db: _ledger.untrack(db, place, those))

    def known(self, place: Place, ids: Sequence[str]) -> dict[str, KnownBulk]:
        """What is known of the bulks `ids`."""

        def read(db: sqlite3.Connection) -> dict[str, KnownBulk]:
            found: dict[str, KnownBulk] = {}
            for start in range(0, len(ids), AT_ONCE):
                part = ids[start : start + AT_ONCE]
                where = f"WHERE s.source = ? AND s.realm = ? AND b.id IN ({placeholders(len(part))})"
                values = (place.source, place.realm, *part)
                found.update((bulk.id, bulk) for _, bulk in _rows.bulks(db, where, values, pins=place.pins))
            return found

        return self._file.read(read)

    def tracked(self, place: Place, labels: Mapping[str, str] | None = None) -> list[KnownBulk]:
        """The bulks of `place` that are tracked and bear all `labels`, those that were asked for first before others."""
        where = "WHERE s.source = ? AND s.realm = ? AND b.tracked_at IS NOT NULL"
        values = [place.source, place.realm]
        for label in (labels or {}).items():
            where += " AND EXISTS (SELECT 1 FROM labels l WHERE l.bulk_id = b.bulk_id AND l.key = ? AND l.value = ?)"
            values += label

        def read(db: sqlite3.Connection) -> list[KnownBulk]:
            return [bulk for _, bulk in _rows.bulks(db, where, values, pins=place.pins)]

        return sorted(self._file.read(read), key=lambda bulk: str(bulk.tracked_at))

    def usual(self, place: Place, action: str | None) -> Usual | None:
        """How long bulks of this place and action usually take; None while too few of them have ended."""
        query = (
            "SELECT duration FROM bulks WHERE source_id ="
            " (SELECT source_id FROM sources WHERE source = ? AND realm = ?) AND action IS ?"
            f" AND duration IS NOT NULL AND state IN ({placeholders(len(RAN_TO_AN_END))})"
            " ORDER BY ended_at DESC LIMIT ?"
        )
        values = (place.source, place.realm, action, *RAN_TO_AN_END, LATEST)
        return self._file.read(lambda db: usual([row[0] for row in db.execute(query, values)]))

    def record(
        self, answers: Iterable[Sighting | Miss | Odd], *, observer: str | None = None
    ) -> dict[Ref, Facts]:
        """Take in what was seen, all of it or nothing, and give what is known now of what was seen.

        Steps that another process has recorded already are not recorded again. An unfinished bulk that was never met
        is taken up; one that had ended before it was met is not, unless it was asked for by name.
        """
        who, seen = observer or _whoami(), tuple(answers)

        def write(db: sqlite3.Connection) -> dict[Ref, Facts]:
            found: dict[Ref, Facts] = {}
            for answer in seen:
                if isinstance(answer, Odd):
                    _ledger.noticed(db, answer)
                elif isinstance(answer, Miss):
                    _ledger.missed(db, answer, who)
                elif (facts := _ledger.saw(db, answer, who)) is not None:
                    found[Ref(answer.place.source, answer.status.id)] = facts
            return found

        return self._file.write(write, again=True)

    def begin_wait(self, refs: Sequence[str], terms: WaitTerms) -> HeldWait:
        """Record that a wait begins. It stays open until it is ended, also when this process dies."""
        return _waits.begin(self._file, refs, terms, _whoami())

    def resume_wait(self, number: int | None = None) -> HeldWait:
        """Take over a wait: `number`, or the last unfinished one that no process waits for.

        One whose deadline has passed is given as long again as it was at first.

        Raises ConfigError when there is none, and JournalError with the reason `busy` when another process waits for
        it.
        """
        return _waits.take_over(self._file, number, _whoami())

    def is_held(self, wait: WaitRecord) -> bool:
        """True while a process waits for it; one that died does not."""
        return _waits.is_held(self._file, wait)

    # --- keeping it small ---

    def prune(self, older_than: float) -> Pruned:
        """Take out what ended, or was forgotten by its provider, more than `older_than` seconds ago, and its steps.

        So is what was only met, and has not been seen since; drift that was not either; and waits that began so long
        ago, but for those that a process waits for. What is tracked and has not ended stays. The file keeps its size until `vacuum`.
        """
        if not 0 <= older_than <= _AGES:
            raise ConfigError(f"older_than is a number of seconds, at most a century, not {older_than!r}")
        before = to_text(_times.utc_now() - timedelta(seconds=older_than))
        bulks = transitions = 0
        while (batch := self._file.write(lambda db: _ledger.prune_some(db, before))).bulks:
            bulks += batch.bulks
            transitions += batch.transitions
        drift = self._file.write(lambda db: _ledger.prune_drift(db, before))
        waits = _waits.prune(self._file, before)
        return Pruned(bulks=bulks, transitions=transitions, waits=waits, drift=drift)

    def vacuum(self) -> int:
        """Give back the room that pruning left; how many bytes that saved."""

        def work(db: sqlite3.Connection) -> int:
            before = self._file.size()
            db.execute("VACUUM")
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            return before - self._file.size()

        return self._file.use(work)


def _check_limit(limit: int) -> None:
    if not 0 < limit <= _MOST:
        raise ConfigError(f"limit is a number, 1 or more, not {limit!r}")


def _names(sources: Collection[str] | None) -> Collection[str] | None:
    return [sources] if isinstance(sources, str) else sources


def _whoami() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"
