"""The journal's file in use: opened when it is needed, shared by threads, replaced when it is found damaged."""

import os
import sqlite3
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar
from weakref import WeakSet

import msgspec

from bulkstatus import _sqlite
from bulkstatus._sqlite import transaction, translated
from bulkstatus.errors import JournalError

T = TypeVar("T")

_MOMENT = 0.1
_OPEN: "WeakSet[JournalFile]" = WeakSet()
_FROZEN: "list[JournalFile]" = []


def _before_fork() -> None:
    """Close every file, and let no thread open one meanwhile.

    A child must not inherit a connection: closing its copy would give up the parent's locks, and as long as it is not
    closed, another one of the child would share its view of the log, which grows old
    (https://www.sqlite.org/howtocorrupt.html, 2.6).
    """
    for file in tuple(_OPEN):  # one that is made meanwhile has nothing open
        file.freeze()
        _FROZEN.append(file)
    _sqlite.OPENING.acquire()


def _after_fork() -> None:
    _sqlite.OPENING.release()
    while _FROZEN:
        _FROZEN.pop().thaw()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork)


class JournalFile:
    """A file that any number of threads and processes read and write. Every method may raise JournalError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.moved_to: Path | None = None
        """Where a damaged file was moved by this object, or None."""
        self._guard = threading.RLock()
        self._db: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None
        _OPEN.add(self)

    def freeze(self) -> None:
        """Close it, and keep all threads from it until `thaw`."""
        self._guard.acquire()
        self.close()

    def thaw(self) -> None:
        """Let threads have it again."""
        self._guard.release()

    def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """What `work` gives, which sees one state of the file. Reading waits for no writer."""

        def reading(db: sqlite3.Connection) -> T:
            db.execute("BEGIN")
            try:
                return work(db)
            finally:
                db.execute("ROLLBACK")

        return self.use(reading)

    def write(self, work: Callable[[sqlite3.Connection], T], *, again: bool = False) -> T:
        """What `work` gives, all of it written or nothing; it is on the disk then. `again` is that of `use`."""

        def writing(db: sqlite3.Connection) -> T:
            with transaction(db):
                return work(db)

        return self.use(writing, again=again)

    def use(self, work: Callable[[sqlite3.Connection], T], *, again: bool = False) -> T:
        """What `work` gives. A file that turns out to be damaged is moved aside, and a new one begun.

        That is raised then, so that nobody takes the new one for what was asked about; with `again`, `work` is done
        with the new one instead.
        """
        with self._guard:
            try:
                return self._try(work)
            except JournalError as error:
                if error.reason != "corrupt":
                    raise
            aside = _sqlite.move_aside(self.path, self._identity)
            self.moved_to = aside or self.moved_to
            if again:
                return self._try(work)
        kept = "another process has moved it away" if aside is None else f"it is kept as {aside.name}"
        raise JournalError(
            f"the journal {self.path} was damaged; {kept}, and a new one was begun", reason="corrupt"
        )

    def is_still(self, identity: tuple[int, int] | None) -> bool:
        """True while the file is the one of this identity."""
        return identity is not None and _sqlite.identity(self.path) == identity

    @property
    def identity(self) -> tuple[int, int] | None:
        """What tells this file from another at the same place."""
        return self._identity

    def size(self) -> int:
        """In bytes, with what has not been merged into the file yet."""
        files = (self.path, self.path.with_name(f"{self.path.name}-wal"))
        return sum(file.stat().st_size for file in files if file.exists())

    def close(self) -> None:
        """Close it, unless another thread is at work with it. It is opened again when it is needed."""
        if not self._guard.acquire(timeout=_MOMENT):
            return
        try:
            db, self._db = self._db, None
            if db is not None:
                with suppress(sqlite3.Error):
                    db.close()
        finally:
            self._guard.release()

    def _try(self, work: Callable[[sqlite3.Connection], T]) -> T:
        with translated(self.path):
            try:
                return work(self._open())
            except (sqlite3.Error, msgspec.DecodeError):
                self.close()  # whatever is wrong with it, the next try begins anew
                raise

    def _open(self) -> sqlite3.Connection:
        if self._db is not None and _sqlite.identity(self.path) != self._identity:
            self.close()  # moved aside, or replaced, by somebody else
        if self._db is None:
            self._identity = _sqlite.identity(
                self.path
            )  # of the file that turns out to be damaged, if it does
            self._db = _sqlite.connect(self.path)
            self._identity = _sqlite.identity(self.path)
        return self._db
