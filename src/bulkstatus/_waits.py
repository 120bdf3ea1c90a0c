"""Waits that outlive the process that began them, each in the hands of one process at a time."""

import os
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from bulkstatus import _rows, _sqlite, _times
from bulkstatus._file import JournalFile
from bulkstatus._outcome import Outcome
from bulkstatus._record import WaitRecord, WaitTerms
from bulkstatus._rows import to_json, to_text
from bulkstatus._sqlite import translated
from bulkstatus.errors import ConfigError, JournalError


class HeldWait:
    """A wait that this process has begun or taken over. `record` is what the journal holds of it."""

    def __init__(self, file: JournalFile, record: WaitRecord, descriptor: int | None) -> None:
        self.record = record
        self._file = file
        self._descriptor = descriptor

    def end(self, outcome: Outcome) -> None:
        """Record how it ended, and let go of it. Raises JournalError; it is left open then."""
        at, verdicts = to_text(_times.utc_now()), to_json(outcome.verdicts)

        def write(db: sqlite3.Connection) -> None:
            db.execute(
                "UPDATE waits SET ended_at = ?, verdicts = ? WHERE wait_id = ?",
                (at, verdicts, self.record.id),
            )

        try:
            self._file.write(write)
            with suppress(OSError):
                _lock(self._file.path, self.record.id).unlink()
        finally:
            self.leave()

    def leave(self) -> None:
        """Leave it open, for another process to go on with."""
        descriptor, self._descriptor = self._descriptor, None
        _let_go(descriptor)


def begin(file: JournalFile, refs: Sequence[str], terms: WaitTerms, waiter: str) -> HeldWait:
    """Record that a wait begins."""
    at = _times.utc_now()
    values = {
        "refs": to_json(tuple(refs)),
        "terms": to_json(terms),
        "begun_at": to_text(at),
        "deadline_at": None if terms.timeout is None else to_text(at + timedelta(seconds=terms.timeout)),
        "waiter": waiter,
    }

    def write(db: sqlite3.Connection) -> WaitRecord:
        marks = _rows.placeholders(len(values))
        made = db.execute(f"INSERT INTO waits ({', '.join(values)}) VALUES ({marks})", tuple(values.values()))
        return _rows.waits(db, "wait_id = ?", (made.lastrowid or 0,))[0]

    wait = file.write(write)
    return HeldWait(file, wait, _hold(file, wait))


def take_over(file: JournalFile, number: int | None, waiter: str) -> HeldWait:
    """Take over the wait `number`, or the last open one that no process waits for.

    One whose deadline has passed is given as long again as it was at first.

    Raises ConfigError when there is none, and JournalError with the reason `busy` when another process waits for it.
    """
    if number is not None:
        found = file.read(lambda db: _rows.waits(db, "wait_id = ?", (number,)))
        if not found:
            raise ConfigError(f"there is no wait {number} in the journal {file.path}")
        return _take(file, found[0], waiter)
    found = file.read(lambda db: _rows.waits(db, "ended_at IS NULL"))
    for wait in found:
        with suppress(JournalError):
            return _take(file, wait, waiter)
    if found:
        return _take(file, found[0], waiter)  # which says who waits for it
    raise ConfigError(
        "there is no wait to go on with: all have ended; name one that ended in time by its number"
    )


def _take(file: JournalFile, wait: WaitRecord, waiter: str) -> HeldWait:
    descriptor = _hold(file, wait)
    now, deadline = _times.utc_now(), wait.deadline_at
    if deadline is not None and deadline <= now and wait.terms.timeout is not None:
        deadline = now + timedelta(seconds=wait.terms.timeout)
    values: Mapping[str, str | None] = {
        "waiter": waiter,
        "deadline_at": None if deadline is None else to_text(deadline),
        "ended_at": None,
        "verdicts": None,
    }

    def write(db: sqlite3.Connection) -> WaitRecord:
        columns = ", ".join(f"{name} = ?" for name in values)
        db.execute(f"UPDATE waits SET {columns} WHERE wait_id = ?", (*values.values(), wait.id))
        return _rows.waits(db, "wait_id = ?", (wait.id,))[0]

    try:
        return HeldWait(file, file.write(write), descriptor)
    except BaseException:
        _let_go(descriptor)
        raise


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
                _lock(file.path, wait.id).unlink()
        finally:
            _let_go(descriptor)
    return pruned


def _hold(file: JournalFile, wait: WaitRecord) -> int | None:
    with translated(file.path):
        try:
            return _sqlite.take_lock(_lock(file.path, wait.id), wait=False)
        except BlockingIOError:
            why = f"wait {wait.id} is in the hands of another process ({wait.waiter})"
            raise JournalError(f"{why}; go on with it when that has ended", reason="busy") from None


def _lock(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.wait-{number}.lock")


def _let_go(descriptor: int | None) -> None:
    if descriptor is not None:
        os.close(descriptor)
