"""The journal's file: opened so that nobody else can read it, brought up to date, moved aside when it is broken.

What SQLite does and promises: https://www.sqlite.org/wal.html, https://www.sqlite.org/rescode.html.
"""

import os
import sqlite3
import stat
import sys
import threading
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex

import msgspec

from bulkstatus.errors import ConfigError, JournalError

if sys.platform != "win32":
    import fcntl

APPLICATION = 0x62756C6B  # "bulk": what tells our files from those of other programs
_BUSY = 5.0
_TICK = 0.02
_LARGEST_WAL = 64 * 1024 * 1024
# What SQLite reads beside the file, as it were a part of it; the last one only before the file changed to WAL.
_COMPANIONS = ("-wal", "-shm", "-journal")
_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH
_ELSEWHERE = "name another with --journal or $BULKSTATUS_JOURNAL"
# Closing any descriptor of a file gives up all POSIX locks of the process on it, SQLite's too, so files are made and
# opened one at a time (https://www.sqlite.org/howtocorrupt.html, 2.2).
OPENING = threading.Lock()

MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

    CREATE TABLE sources (
        source_id INTEGER PRIMARY KEY,
        source TEXT NOT NULL,
        provider TEXT NOT NULL,
        realm TEXT NOT NULL,
        UNIQUE (source, realm)
    );

    CREATE TABLE bulks (
        bulk_id INTEGER PRIMARY KEY,
        source_id INTEGER NOT NULL REFERENCES sources,
        id TEXT NOT NULL,
        note TEXT,
        tracked_at TEXT,
        first_seen_at TEXT,
        observed_at TEXT,
        moved_at TEXT,
        ended_at TEXT,
        missed_at TEXT,
        gone_at TEXT,
        duration REAL,
        state TEXT,
        native_state TEXT,
        action TEXT,
        status TEXT,
        pins TEXT,
        boot TEXT,
        tick REAL,
        missed_boot TEXT,
        missed_tick REAL,
        wavers INTEGER NOT NULL DEFAULT 0,
        doubted INTEGER NOT NULL DEFAULT 0,
        UNIQUE (source_id, id)
    );
    CREATE INDEX bulks_tracked ON bulks (source_id, bulk_id) WHERE tracked_at IS NOT NULL;
    CREATE INDEX bulks_took ON bulks (source_id, action, ended_at) WHERE duration IS NOT NULL;

    CREATE TABLE labels (
        bulk_id INTEGER NOT NULL REFERENCES bulks ON DELETE CASCADE,
        key TEXT NOT NULL,
        value TEXT NOT NULL,
        PRIMARY KEY (bulk_id, key)
    ) WITHOUT ROWID;

    CREATE TABLE transitions (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        bulk_id INTEGER NOT NULL REFERENCES bulks,
        kind TEXT NOT NULL,
        from_state TEXT,
        to_state TEXT,
        from_word TEXT,
        to_word TEXT,
        phase TEXT,
        counts TEXT,
        observed_at TEXT NOT NULL,
        observer TEXT NOT NULL,
        regressed INTEGER NOT NULL,
        passed_over TEXT NOT NULL
    );
    CREATE INDEX transitions_of_bulk ON transitions (bulk_id, seq);

    CREATE TABLE waits (
        wait_id INTEGER PRIMARY KEY AUTOINCREMENT,
        refs TEXT NOT NULL,
        terms TEXT NOT NULL,
        begun_at TEXT NOT NULL,
        deadline_at TEXT,
        waiter TEXT NOT NULL,
        ended_at TEXT,
        verdicts TEXT
    );

    CREATE TABLE prunes (generation INTEGER PRIMARY KEY, last_step INTEGER NOT NULL);
    """,
    """
    CREATE TABLE drift (
        source_id INTEGER NOT NULL REFERENCES sources,
        kind TEXT NOT NULL,
        place TEXT NOT NULL,
        form TEXT NOT NULL,
        sample TEXT NOT NULL,
        word TEXT,
        count INTEGER NOT NULL,
        first_seen TEXT NOT NULL,
        last_seen TEXT NOT NULL,
        PRIMARY KEY (source_id, kind, place, form)
    ) WITHOUT ROWID;
    """,
)
"""What makes each version of the schema from the one before it; the first from an empty file. No text in it holds a `;`."""


def default_journal_path() -> Path:
    """Where the command line keeps its journal: `$BULKSTATUS_JOURNAL`, else the user's folder for state.

    Raises ConfigError for a user without a home.
    """
    named = os.environ.get("BULKSTATUS_JOURNAL")
    try:
        return Path(named).expanduser() if named else _usual_path()
    except RuntimeError:  # no home, as in a container
        raise ConfigError(
            "there is no home folder to keep the journal in; name a file with --journal or $BULKSTATUS_JOURNAL"
        ) from None


def _usual_path() -> Path:
    return _state_folder() / "bulkstatus" / "journal.db"


def _is_usual(path: Path) -> bool:
    try:
        return path == _usual_path()
    except RuntimeError:
        return False


def _state_folder() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support"
    named = os.environ.get("XDG_STATE_HOME", "")
    return Path(named) if Path(named).is_absolute() else Path.home() / ".local" / "state"


def connect(path: Path) -> sqlite3.Connection:
    """Open the journal at `path`, made and brought up to date where that is needed.

    Raises JournalError for a file that cannot be used; one of a newer version, or of another program, is left as it is.
    """
    with OPENING, translated(path):
        _make(path)
        db = sqlite3.connect(path, timeout=_BUSY, isolation_level=None, check_same_thread=False)
        try:
            _prepare(db, path)
            _check(path)  # in a folder where everybody may make files, one may have come in between
        except BaseException:
            db.close()
            raise
        return db


def _make(path: Path) -> None:
    """Make an empty file that nobody else can read, unless there is one. SQLite gives its companions the same mode."""
    missing = [folder for folder in (path.parent, *path.parent.parents) if not folder.exists()]
    for folder in reversed(missing):
        folder.mkdir(mode=0o700, exist_ok=True)  # with `parents`, the mode would be for the last of them only
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
    with suppress(FileExistsError):
        os.close(os.open(path, flags, 0o600))
    _check(path)


def _check(path: Path) -> None:
    """Raises JournalError where somebody else may have written what would be read, or may put another file there.

    An end that stands in the journal is not asked for again, so whoever writes there decides what is answered. SQLite
    takes what lies in `-wal` for a part of the file, whoever made it.
    """
    for suffix in ("", *_COMPANIONS):
        with suppress(FileNotFoundError):
            _check_file(path.with_name(path.name + suffix), path)
    if sys.platform != "win32":
        _check_folder(path.parent.stat(), path)


def _check_file(file: Path, path: Path) -> None:
    found = file.lstat()
    what = "" if file == path else f"has a file {file.name} beside it that "
    if not stat.S_ISREG(found.st_mode):
        raise _unusable(path, f"{what}is not a plain file; {_remedy(what)}")
    if sys.platform == "win32":
        return
    if found.st_uid != os.geteuid():
        raise _unusable(path, f"{what}belongs to another user; {_remedy(what)}")
    if found.st_mode & _BY_OTHERS:
        raise _unusable(path, f"{what}may be written by other users; chmod 600 it, or {_ELSEWHERE}")


def _remedy(companion: str) -> str:
    return f"have it taken away, or {_ELSEWHERE}" if companion else _ELSEWHERE


def _check_folder(found: os.stat_result, path: Path) -> None:
    if found.st_uid not in (0, os.geteuid()):
        raise _unusable(path, f"is in a folder that belongs to another user; {_ELSEWHERE}")
    if found.st_mode & stat.S_IWOTH and not found.st_mode & stat.S_ISVTX:
        why = "is in a folder where every user may replace files"
        raise _unusable(path, f"{why}; chmod o-w the folder, or {_ELSEWHERE}")


def _unusable(path: Path, why: str, reason: str = "unusable") -> JournalError:
    return JournalError(f"the journal {path} {why}", reason=reason)


def _prepare(db: sqlite3.Connection, path: Path) -> None:
    # Each commit is on the disk when it returns: what was said to be written survives a loss of power too.
    for pragma in (
        "trusted_schema = OFF",
        "foreign_keys = ON",
        "synchronous = FULL",
        f"journal_size_limit = {_LARGEST_WAL}",
    ):
        db.execute(f"PRAGMA {pragma}")
    db.execute("BEGIN")  # all of it of one state: another process may be making the file
    try:
        _refuse_foreign(db, path)  # before anything is made beside it
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")
    if _version(db) != len(MIGRATIONS):
        # Changing to WAL does not wait for others as a transaction does, so those who make a file take turns.
        with locked(_lock_of(path)):
            _migrate(db, path)


def _refuse_foreign(db: sqlite3.Connection, path: Path) -> None:
    """Raises JournalError for a database of another program. Needs a transaction."""
    application, version = _pragma(db, "application_id"), _version(db)
    is_new = version == 0 and application in (0, APPLICATION) and _is_empty(db)
    if not (is_new or (version > 0 and application == APPLICATION)):
        raise _unusable(path, "is a database of another program; name another file", "foreign")


def _version(db: sqlite3.Connection) -> int:
    return _pragma(db, "user_version")


def _pragma(db: sqlite3.Connection, name: str) -> int:
    (value,) = db.execute(f"PRAGMA {name}").fetchone()
    return int(value)


def _migrate(db: sqlite3.Connection, path: Path) -> None:
    """Bring the schema up to date, all of it or nothing; whoever comes second finds it done."""
    if _version(db) == 0 and _pragma(db, "application_id") == 0 and _is_empty(db):
        _use_log(db)
    with transaction(db):
        version = _version(db)
        _refuse_foreign(db, path)
        if version > len(MIGRATIONS):
            why = f"was written by a newer version of bulkstatus (schema {version}, this one knows {len(MIGRATIONS)})"
            raise _unusable(path, f"{why}; upgrade, or name another file", "newer")
        for number, script in enumerate(MIGRATIONS[version:], version + 1):
            for statement in _statements(script):
                db.execute(statement)
            db.execute(f"PRAGMA user_version = {number}")
        if version == 0:
            db.execute(f"PRAGMA application_id = {APPLICATION}")
            db.execute("INSERT INTO meta VALUES ('id', ?)", (token_hex(4),))


def _use_log(db: sqlite3.Connection) -> None:
    """Change to WAL. SQLite does not wait here for a process that writes, as it does elsewhere."""
    ends = time.monotonic() + _BUSY
    while True:
        try:
            db.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > ends:
                raise
            time.sleep(_TICK)
        else:
            return


def _is_empty(db: sqlite3.Connection) -> bool:
    return db.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone() is None


def _statements(script: str) -> Sequence[str]:
    # executescript() would commit the transaction that all of it belongs to.
    return [statement for part in script.split(";") if (statement := part.strip())]


@contextmanager
def transaction(db: sqlite3.Connection) -> Generator[None]:
    """Write all of the block or nothing, alone among all processes."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            with suppress(sqlite3.Error):
                db.execute("ROLLBACK")
        raise


_WHY: dict[int | None, tuple[str, str]] = {
    sqlite3.SQLITE_IOERR_SHMSIZE: ("full", "cannot be written: the disk is full"),
    sqlite3.SQLITE_IOERR_WRITE: ("full", "cannot be written: the disk is full, or a file may not grow"),
    sqlite3.SQLITE_BUSY: ("locked", f"is locked by another process for more than {_BUSY:.0f} s"),
    sqlite3.SQLITE_LOCKED: ("locked", f"is locked by another process for more than {_BUSY:.0f} s"),
    sqlite3.SQLITE_FULL: ("full", "cannot be written: the disk is full"),
    sqlite3.SQLITE_READONLY: (
        "readonly",
        "cannot be written: it is read-only, or its -wal or -shm file is",
    ),
    sqlite3.SQLITE_PERM: ("readonly", "cannot be opened: permission denied"),
    sqlite3.SQLITE_CANTOPEN: ("unusable", "cannot be opened; check its folder"),
    sqlite3.SQLITE_CORRUPT: ("corrupt", "is damaged"),
    sqlite3.SQLITE_NOTADB: ("corrupt", "is not a database"),
}


@contextmanager
def translated(path: Path) -> Generator[None]:
    """Turn what SQLite and the system raise into a JournalError."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", None)
        if code is None and "decode" in str(error):
            raise _unusable(path, "is damaged", "corrupt") from None  # text in it is no UTF-8
        # Its text may quote what was to be written, so it is not repeated.
        name = getattr(error, "sqlite_errorname", type(error).__name__)
        reason, why = _WHY.get(code) or _WHY.get((code or 0) & 0xFF) or ("io", f"could not be used ({name})")
        raise _unusable(path, why, reason) from None
    except msgspec.ValidationError:
        raise _unusable(path, "holds what this version does not understand", "newer") from None
    except msgspec.DecodeError:
        raise _unusable(path, "is damaged", "corrupt") from None
    except UnicodeEncodeError:
        raise ConfigError("what is looked for in the journal is not text") from None
    except BlockingIOError:
        raise _unusable(path, *reversed(_WHY[sqlite3.SQLITE_BUSY])) from None
    except OSError as error:
        raise _unusable(path, f"cannot be opened: {error.strerror or type(error).__name__}") from None


def identity(path: Path) -> tuple[int, int] | None:
    """What tells the file that is at `path` now from one that was there before."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def move_aside(path: Path, broken: tuple[int, int] | None) -> Path | None:
    """Move a damaged journal out of the way, unless another process has done so already; where it is now.

    `broken` is the identity of the damaged file. Raises JournalError where it cannot be moved, and for a file that
    may never have been a journal: somebody named the wrong one.
    """
    if not (_lock_of(path).exists() or _is_usual(path)):
        raise _unusable(path, "is not a journal, or a damaged one; move it away, or name another", "foreign")
    with OPENING, translated(path), locked(_lock_of(path)):
        if broken is None or identity(path) != broken:
            return None
        moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
        aside = path.with_name(f"{path.name}.corrupt-{moment}")
        # The companions first: a new file must never meet the log of an old one.
        for companion in (*_COMPANIONS, ""):
            with suppress(FileNotFoundError):
                path.with_name(path.name + companion).rename(aside.with_name(aside.name + companion))
        _make(path)
        return aside


def _lock_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.lock")


@contextmanager
def locked(path: Path) -> Generator[None]:
    """Hold a lock among processes; one that dies gives it up. Raises BlockingIOError where that takes too long."""
    descriptor = take_lock(path, within=_BUSY)
    try:
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


def take_lock(path: Path, *, within: float = 0.0) -> int | None:
    """Take the lock that the file `path` stands for, and give its descriptor: closing it gives the lock up.

    Raises BlockingIOError when another process, or another descriptor of this one, still holds it after so many
    seconds. None where the system has no such locks.
    """
    if sys.platform == "win32":
        return None
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
    ends = time.monotonic() + within
    while True:
        descriptor = os.open(path, flags, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(descriptor).st_nlink:
                return descriptor
        except BlockingIOError:
            if time.monotonic() > ends:
                os.close(descriptor)
                raise
            time.sleep(_TICK)
        os.close(descriptor)  # held by another, or removed meanwhile by who held it
