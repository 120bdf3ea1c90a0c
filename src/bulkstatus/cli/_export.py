"""The whole of the journal, written elsewhere a row at a time."""

import csv
import io
import os
import stat
import sys
import tempfile
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Generic, NamedTuple, TextIO, TypeVar

import msgspec

from bulkstatus import ConfigError, Journal, KnownBulk, printable
from bulkstatus.cli._changes import COUNT_COLUMNS, STEP_COLUMNS, cells, flat_counts, flat_step
from bulkstatus.cli._options import ExportFormat, ExportKind, with_journal
from bulkstatus.cli._output import to_json
from bulkstatus.cli._text import say

T = TypeVar("T")

BULK_COLUMNS = (
    "ref",
    "source",
    "provider",
    "realm",
    "id",
    "state",
    "native_state",
    "phase",
    *COUNT_COLUMNS,
    "created_at",
    "started_at",
    "updated_at",
    "finished_at",
    "observed_at",
    "action",
    "error",
    "note",
    "labels",
    "tracked_at",
    "first_seen_at",
    "moved_at",
    "ended_at",
    "gone_at",
    "duration",
)
# What is neither a count nor a time nor a text.
_TYPES = {"regressed": "bool_", "duration": "float64"}
_BATCH = 4_000
_LONGEST_PATH = 4_096


class _Table(NamedTuple, Generic[T]):
    """What is exported: its columns, its records, and what gives the values of a record's columns."""

    columns: tuple[str, ...]
    records: Iterator[T]
    flat: Callable[[T], list[object]]

    def rows(self) -> Iterator[list[object]]:
        """The records as rows."""
        return map(self.flat, self.records)


def export(path: Path | None, kind: ExportKind, form: ExportFormat, to: Path | None) -> None:
    """Write all steps, or all bulks, of the journal in the file `path` to stdout, or to the file `to`.

    That file is there once it is whole; one that was there before stays until then.

    Raises ConfigError where it cannot be made, and for Parquet that goes to stdout or has no pyarrow.
    """

    def write(journal: Journal) -> None:
        if kind == "steps":
            _write(_Table(STEP_COLUMNS, journal.all_changes(), flat_step), form, to, journal.path)
        else:
            _write(_Table(BULK_COLUMNS, journal.all_bulks(), flat_bulk), form, to, journal.path)

    with_journal(path, write)
    if to is not None:
        say(f"written to {printable(str(to), _LONGEST_PATH)}")


def _write(table: _Table[T], form: ExportFormat, to: Path | None, journal: Path) -> None:
    if form == "parquet":
        if to is None:
            raise ConfigError("Parquet is written to a file only: name it with --to")
        write = _parquet(table)
        with _replacement(to, journal) as stream:
            write(stream)
    elif to is None:
        _write_text(sys.stdout, table, form)
    else:
        with _replacement(to, journal) as stream:
            text = io.TextIOWrapper(stream, encoding="utf-8", newline="")
            _write_text(text, table, form)
            text.detach()


def _write_text(stream: TextIO, table: _Table[T], form: ExportFormat) -> None:
    if form == "csv":
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(table.columns)
        writer.writerows(map(cells, table.rows()))
    else:
        stream.writelines(f"{to_json(record)}\n" for record in table.records)


def flat_bulk(bulk: KnownBulk) -> list[object]:
    """The values of a bulk, one for each of BULK_COLUMNS; its labels as one JSON object."""
    status = bulk.status
    facts: dict[str, object] = {}
    if status is not None:
        facts.update(msgspec.structs.asdict(status), **flat_counts(status.counts))
    facts.update(msgspec.structs.asdict(bulk))
    facts["labels"] = to_json(bulk.labels) if bulk.labels else None
    return [facts.get(name) for name in BULK_COLUMNS]


def _parquet(table: _Table[T]) -> Callable[[BinaryIO], None]:
    """What writes a table as Parquet. Raises ConfigError without pyarrow."""
    try:
        # By name: the extra may be absent where types are checked, and nothing in it has any then.
        arrow: Any = import_module("pyarrow")
        parquet: Any = import_module("pyarrow.parquet")
    except ImportError:
        raise ConfigError("Parquet needs pyarrow: pip install 'bulkstatus[parquet]'") from None
    schema = arrow.schema([(name, _type(arrow, name)) for name in table.columns])
    rows = table.rows()

    def write(stream: BinaryIO) -> None:
        with parquet.ParquetWriter(stream, schema) as writer:
            while batch := list(islice(rows, _BATCH)):
                arrays = map(arrow.array, zip(*batch, strict=True), schema.types)
                writer.write_batch(arrow.record_batch(list(arrays), schema=schema))

    return write


def _type(arrow: Any, column: str) -> object:  # noqa: ANN401 - a module that may be absent has no type
    if column.endswith("_at"):
        return arrow.timestamp("us", tz="UTC")
    name = "int64" if column in COUNT_COLUMNS else _TYPES.get(column, "string")
    return getattr(arrow, name)()


@contextmanager
def _replacement(file: Path, journal: Path) -> Generator[BinaryIO]:
    """A file that nobody else can read, and that takes the place of `file` once it is whole and on the disk."""
    _check(file, journal)
    try:
        descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=".bulkstatus-export-")
    except OSError as error:
        raise ConfigError(f"cannot write {file}: {error.strerror}") from None
    beside = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        beside.replace(file)
    except BaseException:
        with suppress(OSError):
            beside.unlink()
        raise


def _check(file: Path, journal: Path) -> None:
    """Raises ConfigError for what must not be replaced: a link, a device, the journal itself."""
    try:
        found = file.lstat()
    except FileNotFoundError:
        return
    except OSError as error:
        raise ConfigError(f"cannot write {file}: {error.strerror}") from None
    if not stat.S_ISREG(found.st_mode):
        raise ConfigError(f"{file} is not a plain file and was left as it is; name another with --to")
    own = (journal, journal.with_name(f"{journal.name}-wal"), journal.with_name(f"{journal.name}-shm"))
    if any(mine.exists() and os.path.samestat(mine.stat(), found) for mine in own):
        raise ConfigError(f"{file} is the journal itself and was left as it is; name another file with --to")
