"""The journal's file in use: opened when it is needed, shared by threads, replaced when it is found damaged."""

import os
import sqlite3
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from bulkstatus import _sqlite
from bulkstatus._sqlite import transaction, translated
from bulkstatus.errors import JournalError

T = TypeVar("T")


class JournalFile:
    """A file that any number of threads and processes read and write. Every method may raise JournalError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.moved_to: Path | None = None
        """Where a damaged file was moved by this object, or None."""
        self._guard = threading.RLock()
        self._db: sqlite3.Connection | None = None
        self._pid = os.getpid()
        self._identity: tuple[int, int] | None = None

    def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """What `work` gives, which sees one state of the file. Reading waits for no writer."""

        def reading(db: sqlite3.Connection) -> T:
            db.execute("BEGIN")
            try:
                return work(db)
            finally:
                db.execute("ROLLBACK")

        return self.use(reading)

    def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """What `work` gives, all of it written or nothing; it is on the disk then."""

        def writing(db: sqlite3.Connection) -> T:
            with transaction(db):
                return work(db)

        return self.use(writing)

    def use(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """What `work` gives; when the file turns out to be damaged, once more with a new one."""
        with self._guard:
            try:
                return self._try(work)
            except JournalError as error:
                if error.reason != "corrupt":
                    raise
            self.moved_to = _sqlite.move_aside(self.path, self._identity) or self.moved_to
            return self._try(work)

    def size(self) -> int:
        """In bytes, with what has not been merged into the file yet."""
        files = (self.path, self.path.with_name(f"{self.path.name}-wal"))
        return sum(file.stat().st_size for file in files if file.exists())

    def close(self) -> None:
        """Close it. It is opened again when it is needed."""
        with self._guard:
            db, self._db = self._db, None
            if db is not None and self._pid == os.getpid():
                with suppress(sqlite3.Error):
                    db.close()

    def _try(self, work: Callable[[sqlite3.Connection], T]) -> T:
        with translated(self.path):
            try:
                return work(self._open())
            except sqlite3.Error:
                self.close()  # whatever is wrong with it, the next try begins anew
                raise

    def _open(self) -> sqlite3.Connection:
        if self._db is not None and self._pid != os.getpid():
            self._db = None  # the parent's: closing it here would give up its locks
        if self._db is not None and _sqlite.identity(self.path) != self._identity:
            self.close()  # moved aside, or replaced, by somebody else
        if self._db is None:
            self._pid = os.getpid()
            self._identity = _sqlite.identity(
                self.path
            )  # of the file that turns out to be damaged, if it does
            self._db = _sqlite.connect(self.path)
            self._identity = _sqlite.identity(self.path)
        return self._db
