"""What the tests of the journal share: places, answers about bulks, and a look into the file."""

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bulkstatus import BulkStatus, Counts, State
from bulkstatus._drift import DriftKind, Oddity
from bulkstatus._record import Miss, Odd, Place, Sighting
from bulkstatus._times import Stamp

BIRTH = datetime(2026, 1, 1, tzinfo=UTC)
PLACE = Place("payments", "plain", "plain https://plain.example 1")
OTHER = Place("edge", "plain", "plain https://plain.example 2")
BOOT = "a-boot"


def at(seconds: float) -> datetime:
    """The moment `seconds` after the birth of all bulks here."""
    return BIRTH + timedelta(seconds=seconds)


def stamp(seconds: float) -> Stamp:
    """The same moment, as processes of one machine put it in order."""
    return Stamp(BOOT, seconds)


def status(state: State = State.RUNNING, id: str = "1", *, seen: float = 0.0, **more) -> BulkStatus:
    """An answer that was seen `seen` seconds after the birth."""
    facts = {"source": PLACE.source, "provider": PLACE.provider, "native_state": state.value.upper(), **more}
    return BulkStatus(id=id, state=state, observed_at=at(seen), **facts)


def look(
    state: State = State.RUNNING,
    seen: float = 0.0,
    *,
    asked: float | None = None,
    id: str = "1",
    place: Place = PLACE,
    wanted: bool = False,
    boot: str = BOOT,
    **more,
) -> Sighting:
    """An answer that was read at `seen`, asked for a tenth of a second before unless told otherwise."""
    answer = status(state, id, seen=seen, source=place.source, **more)
    began = seen - 0.1 if asked is None else asked
    return Sighting(place, answer, Stamp(boot, began), Stamp(boot, seen), wanted)


def miss(
    seen: float,
    *,
    id: str = "1",
    final: bool = False,
    asked: float | None = None,
    wall: float | None = None,
    boot: str = BOOT,
) -> Miss:
    """An answer at `seen` that does not know the bulk; `wall` is what the clock on the wall says then."""
    began = seen - 0.1 if asked is None else asked
    return Miss(PLACE, id, Stamp(boot, began), Stamp(boot, seen), at(seen if wall is None else wall), final)


def odd(
    form: str = "ARCHIVING",
    answers: int = 1,
    *,
    kind: DriftKind = "word",
    place: Place = PLACE,
    seen: float = 0.0,
    word: str | None = None,
) -> Odd:
    """Something odd that was seen in so many answers at that moment."""
    return Odd(place, Oddity(kind, "plain bulk", form, form, word), answers, at(seen), at(seen))


def counted(done: int, total: int = 9) -> Counts:
    """So many operations that have succeeded."""
    return Counts(succeeded=done, total=total)


def rows(path: Path, query: str) -> list[tuple]:
    """What a connection of its own reads in the file."""
    with closing(sqlite3.connect(path)) as db:
        return db.execute(query).fetchall()


def is_whole(path: Path) -> bool:
    """True when SQLite finds nothing wrong with the file."""
    return rows(path, "PRAGMA integrity_check") == [("ok",)] and not rows(path, "PRAGMA foreign_key_check")


def at_once(processes: int, work: Callable[[int], object]) -> list[int]:
    """Let so many forks of this process do their work from the same moment on, each by its number; their exit codes."""
    read, go = os.pipe()
    children = []
    for number in range(processes):
        child = os.fork()
        if not child:
            os.close(go)
            os.read(read, 1)
            work(number)
            os._exit(0)
        children.append(child)
    os.close(go)
    return [os.waitpid(child, 0)[1] for child in children]
