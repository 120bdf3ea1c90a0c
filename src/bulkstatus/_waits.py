"""Waits that outlive the process that began them, each in the hands of one process at a time."""

import os
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from weakref import WeakSet

from bulkstatus import _rows, _sqlite, _times
from bulkstatus._file import JournalFile
from bulkstatus._outcome import Outcome
from bulkstatus._record import WaitRecord, WaitTerms
from bulkstatus._rows import to_json, to_text
from bulkstatus._sqlite import translated
from bulkstatus.errors import ConfigError, JournalError

_MOST = 2**63 - 1
_HELD: "WeakSet[HeldWait]" = WeakSet()


def _let_go_in_child() -> None:
    """A wait stays in the hands of the process that began it: a lock that a child inherits would outlive it."""
    for held in tuple(_HELD):
        held.leave()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go_in_child)


class HeldWait:
    """A wait that this process has begun or taken over. `record` is what the journal holds of it."""

    def __init__(
        self, file: JournalFile, record: WaitRecord, descriptor: int | None, before: WaitRecord | None = None
    ) -> None:
        self.record = record
        self._file = file
        self._descriptor = descriptor
        self._before = before
        self._identity = file.identity
        _HELD.add(self)

    def __del__(self) -> None:
        self.leave()

    @property
    def is_kept(self) -> bool:
        """True while the journal that holds it is still in its place."""
        return self._file.is_still(self._identity)

    def end(self, outcome: Outcome) -> None:
        """Record how it ended, and let go of it. Raises JournalError; it is left open then."""
        self._write(ended_at=to_text(_times.utc_now()), verdicts=to_json(outcome.verdicts))

    def forget(self) -> None:
        """Let go of a wait that was begun in vain, and leave no trace of it. Raises JournalError."""

        def write(db: sqlite3.Connection) -> None:
            if _rows.name_of(db).id == self.record.journal:
                db.execute("DELETE FROM waits WHERE wait_id = ?", (self.record.id,))

        try:
            self._file.write(write)
            self._unlock()
        finally:
            self.leave()

    def put_back(self) -> None:
        """Let go of a wait that was taken over in vain: it is as it was before. Raises JournalError."""
        before = self._before
        if before is None:
            self.leave()
            return
        self._write(
            waiter=before.waiter,
            deadline_at=None if before.deadline_at is None else to_text(before.deadline_at),
            ended_at=None if before.ended_at is None else to_text(before.ended_at),
            verdicts=None if before.verdicts is None else to_json(before.verdicts),
        )

    def _write(self, **values: str | None) -> None:
        try:
            _update(self._file, self.record, values)
            self._unlock()
        finally:
            self.leave()

    def _unlock(self) -> None:
        with suppress(OSError):
            _lock(self._file.path, self.record).unlink()

    def leave(self) -> None:
        """Leave it open, for another process to go on with."""
        descriptor, self._descriptor = self._descriptor, None
        _let_go(descriptor)


def _update(file: JournalFile, wait: WaitRecord, values: Mapping[str, str | None]) -> WaitRecord | None:
    """Change a wait; None when it is not there any more, or the journal is another, whose numbers mean other waits."""

    def write(db: sqlite3.Connection) -> WaitRecord | None:
        if _rows.name_of(db).id != wait.journal:
            return None
        columns = ", ".join(f"{name} = ?" for name in values)
        db.execute(f"UPDATE waits SET {columns} WHERE wait_id = ?", (*values.values(), wait.id))
        return next(iter(_rows.waits(db, "wait_id = ?", (wait.id,))), None)

    return file.write(write)


def begin(file: JournalFile, refs: Sequence[str], terms: WaitTerms, waiter: str) -> HeldWait:
    """Record that a wait begins."""
    at = _times.utc_now()
    values = {
        "refs": to_json(tuple(refs)),
        "terms": to_json(terms),
        "begun_at": to_text(at),
        "deadline_at": _deadline(terms, at),
        "waiter": waiter,
    }
    held: list[int | None] = []

    def write(db: sqlite3.Connection) -> WaitRecord:
        marks = _rows.placeholders(len(values))
        made = db.execute(f"INSERT INTO waits ({', '.join(values)}) VALUES ({marks})", tuple(values.values()))
        record = _rows.waits(db, "wait_id = ?", (made.lastrowid or 0,))[0]
        held.append(_hold(file, record))  # before anybody else can see it
        return record

    try:
        return HeldWait(file, file.write(write, again=True), held[-1])
    except BaseException:
        for descriptor in held:
            _let_go(descriptor)
        raise


def _deadline(terms: WaitTerms, now: datetime) -> str | None:
    if terms.timeout is None:
        return None
    try:
        return to_text(now + timedelta(seconds=terms.timeout))
    except OverflowError:
        return None  # beyond the calendar


def take_over(file: JournalFile, number: int | None, waiter: str) -> HeldWait:
    """Take over the wait `number`, or the last unfinished one that no process waits for.

    One whose deadline has passed is given as long again as it was at first.

    Raises ConfigError when there is none, and JournalError with the reason `busy` when another process waits for it.
    """
    if number is not None and not 0 < number <= _MOST:
        raise ConfigError(f"there is no wait {number}: waits are counted from 1")
    where, values = ("1", ()) if number is None else ("wait_id = ?", (number,))
    found = file.read(lambda db: _rows.waits(db, where, values))
    if number is not None:
        if not found:
            raise ConfigError(f"there is no wait {number} in the journal {file.path}")
        return _take(file, found[0], waiter)
    unfinished = [wait for wait in found if wait.is_unfinished]
    # Those that died come before those that ran out of time.
    for wait in sorted(unfinished, key=lambda wait: wait.ended_at is not None):
        try:
            return _take(file, wait, waiter)
        except JournalError as error:
            if error.reason != "busy":
                raise
    if unfinished:
        return _take(file, unfinished[0], waiter)  # which says who waits for it
    raise ConfigError(f"there is no wait to go on with in the journal {file.path}")


def _take(file: JournalFile, wait: WaitRecord, waiter: str) -> HeldWait:
    descriptor = _hold(file, wait)
    try:
        before = _still_there(file, wait)
        now, deadline = _times.utc_now(), before.deadline_at
        passed = deadline is None or deadline <= now
        values = {
            "waiter": waiter,
            "deadline_at": _deadline(wait.terms, now) if passed else to_text(deadline or now),
            "ended_at": None,
            "verdicts": None,
        }
        return HeldWait(file, _update(file, before, values) or before, descriptor, before)
    except BaseException:
        _let_go(descriptor)
        raise


def _still_there(file: JournalFile, wait: WaitRecord) -> WaitRecord:
    """The wait as it is now that it is in our hands. Raises JournalError when it was ended or pruned meanwhile."""
    found = file.read(lambda db: _rows.waits(db, "wait_id = ?", (wait.id,)))
    if not found or (wait.ended_at is None and found[0].ended_at is not None):
        raise JournalError(f"wait {wait.id} has ended meanwhile", reason="busy")
    return found[0]


def is_held(file: JournalFile, wait: WaitRecord) -> bool:
    """True while a process waits for it."""
    try:
        _let_go(_hold(file, wait))
    except JournalError:
        return True
    return False


def prune(file: JournalFile, before: str) -> int:
    """Take out the waits that began before the time `before`, but for those that a process waits for; how many."""
    found = file.read(lambda db: _rows.waits(db, "begun_at < ?", (before,)))
    pruned = 0
    for wait in found:
        try:
            descriptor = _hold(file, wait)
        except JournalError:
            continue

        def write(db: sqlite3.Connection, number: int = wait.id) -> int:
            return db.execute("DELETE FROM waits WHERE wait_id = ?", (number,)).rowcount

        try:
            pruned += file.write(write)
            with suppress(OSError):
                _lock(file.path, wait).unlink()
        finally:
            _let_go(descriptor)
    return pruned


def _hold(file: JournalFile, wait: WaitRecord) -> int | None:
    with translated(file.path):
        try:
            return _sqlite.take_lock(_lock(file.path, wait))
        except BlockingIOError:
            why = f"wait {wait.id} is in the hands of another process ({wait.waiter})"
            raise JournalError(f"{why}; go on with it when that has ended", reason="busy") from None


def _lock(path: Path, wait: WaitRecord) -> Path:
    # With the journal's name: one that was moved aside may have a wait of the same number.
    return path.with_name(f"{path.name}.{wait.journal}.wait-{wait.id}.lock")


def _let_go(descriptor: int | None) -> None:
    if descriptor is not None:
        os.close(descriptor)
