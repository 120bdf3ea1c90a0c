"""Providers' times to aware UTC datetimes, without guessing.

Every function returns a pair: the time, or None; and a sentence for the evidence when something was to be said.
None of them raises: a time that cannot be read never fails the record that holds it.
"""

import re
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from pathlib import Path
from types import MappingProxyType, NoneType
from typing import Any, Literal, NamedTuple

import msgspec

from bulkstatus._drift import unreadable_time
from bulkstatus._text import printable

EpochUnit = Literal["s", "ms", "us", "ns"]
Reading = tuple[datetime | None, str | None]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
_AHEAD = timedelta(days=3653)
# How many of a unit make how long a time; a datetime knows nothing below a microsecond.
_UNITS: dict[str, tuple[int, timedelta]] = {
    "s": (1, timedelta(seconds=1)),
    "ms": (1, timedelta(milliseconds=1)),
    "us": (1, timedelta(microseconds=1)),
    "ns": (1_000, timedelta(microseconds=1)),
}
_MAX_DIGITS = 20
_parsed = datetime.fromisoformat
_NOT_SET: Reading = (None, None)
_NONE_ODD: Mapping[int, str] = MappingProxyType({})
# How many of a unit make a second. Of a count whose time is plausible the quotient, a float, is exact to a fraction of
# a microsecond, and msgspec rounds; so not for what is finer than a microsecond, which is cut off.
_PER_SECOND = {unit: timedelta(seconds=1) // length for unit, (many, length) in _UNITS.items() if many == 1}
_TIMES = list[datetime | None]
_NO_KIND: frozenset[type] = frozenset({NoneType})
_INTEGERS: frozenset[type] = _NO_KIND | {int}
_LONGEST_EXACT = len("2026-06-01T12:00:00.123456Z")
_FIRST_SECOND = int(_EARLIEST.timestamp())
_FIRST_DAY = f"{_EARLIEST:%Y-%m-%d}"


def utc_now() -> datetime:
    """The moment, in UTC."""
    return datetime.now(UTC)


class Stamp(NamedTuple):
    """A moment that all processes of one machine put in the same order, whatever becomes of the clock on its wall.

    `boot` names the start of the machine, `tick` is the seconds since then.
    """

    boot: str
    tick: float

    def is_before(self, other: "Stamp") -> bool:
        """True when this moment is known to be earlier; what happened before the machine was started last is."""
        return self.boot != other.boot or self.tick < other.tick

    @classmethod
    def take(cls) -> "Stamp":
        """The moment."""
        boot = _boot()
        # Ticks of two starts of the machine cannot be compared, so without its name the clock on the wall has to do.
        return cls(boot, time.clock_gettime(_CLOCK) if boot and _CLOCK is not None else time.time())

    def since(self, earlier: "Stamp") -> float | None:
        """How many seconds lie between; None where the machine was started anew between the two."""
        return self.tick - earlier.tick if self.boot == earlier.boot else None


# Goes on while the machine is asleep, and is never set; on systems without it the clock on the wall has to do.
_CLOCK: int | None = getattr(time, "CLOCK_BOOTTIME", None)
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@cache
def _boot() -> str:
    try:
        return _BOOT_ID.read_text("ascii").strip() if _CLOCK is not None else ""
    except (OSError, ValueError):  # pragma: no cover - no Linux, or one without /proc
        return ""


_NUMBER = r"([0-9]{1,9}(?:\.[0-9]{1,9})?)"
_DURATION = re.compile(rf"(?:{_NUMBER}d)?(?:{_NUMBER}h)?(?:{_NUMBER}m)?(?:{_NUMBER}s?)?", re.ASCII)


def read_duration(text: str) -> float | None:
    """The seconds in a text such as `90`, `90s`, `3m`, `1h30m` or `2d`; None where it is none."""
    match = _DURATION.fullmatch(text)
    if match is None or not any(match.groups()):
        return None
    days, hours, minutes, rest = (float(part or 0) for part in match.groups())
    return days * 86_400 + hours * 3_600 + minutes * 60 + rest


# A full date and time; the parser behind it accepts far more (week dates, bare hours) than any provider documents.
_ISO = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:[.,][0-9]{1,9})?)?"
    r"(?P<zone>[Zz]|[+-][0-9]{2}:?[0-5][0-9])?"
)


def from_epoch(value: object, unit: EpochUnit, *, label: str, now: datetime) -> Reading:
    """Read an epoch count in `unit` (an integer, or digits). Null, empty and 0 mean "not set", any other type nothing.

    `label` names the provider's field in the evidence. A time before 2000 or more than ten years after `now` is not
    believed: it is None with evidence, since a wrong unit looks just like that.
    """
    if value is None:
        return _NOT_SET
    number = value if type(value) is int else _whole(value)
    if not number:
        if number == 0 or value == "":
            return _NOT_SET
        return _unread(label, value, f"{label} {_shown(value)} is not an epoch time.")
    many, length = _UNITS[unit]
    try:
        when = _EPOCH + number // many * length
    except OverflowError:
        return _unread(label, value, f"{label} is far outside any plausible time for epoch {unit}.")
    if _EARLIEST <= when <= now or _is_plausible(when, now):
        return when, None
    told = f"{label} {number} (epoch {unit}) would be {when:%Y-%m-%d}"
    return _unread(label, value, f"{told}; that is not plausible, so it is not used.")


def _unread(label: str, value: object, why: str) -> Reading:
    unreadable_time(label, value)
    return None, why


def from_epochs(
    record: object, names: Iterable[str], unit: EpochUnit, *, now: datetime
) -> tuple[dict[str, datetime], tuple[str, ...]]:
    """Read the epoch counts that stand in the fields `names` of `record`, as `from_epoch` does.

    Gives the times that are set and can be read, by the names of their fields, and what is to be said of the others.
    """
    read = {name: from_epoch(getattr(record, name), unit, label=name, now=now) for name in names}
    times = {name: when for name, (when, _) in read.items() if when is not None}
    return times, tuple(odd for _, odd in read.values() if odd is not None)


def from_epochs_of(
    records: Collection[object], names: Iterable[str], unit: EpochUnit, *, now: datetime
) -> Iterator[tuple[dict[str, datetime], tuple[str, ...]]]:
    """What `from_epochs` gives for each of `records`, which are the rows of a page: read at once, they take a third."""
    columns = {
        name: column_of_epochs(
            [getattr(record, name) for record in records],
            unit,
            now=now,
            each=partial(from_epoch, unit=unit, label=name, now=now),
        )
        for name in names
    }
    odd = [column.odd for column in columns.values() if column.odd]
    times_of = zip(records, *(column.times for column in columns.values()), strict=True)
    for at, (_, *row) in enumerate(times_of):
        times = {name: when for name, when in zip(columns, row, strict=True) if when is not None}
        yield times, tuple([told[at] for told in odd if at in told]) if odd else ()


class Times(NamedTuple):
    """What the same member of several records tells: a time or None for each, and what is to be said of some, by place."""

    times: list[datetime | None]
    odd: Mapping[int, str]


def column_of_epochs(
    values: list[Any], unit: EpochUnit, *, now: datetime, each: Callable[[Any], Reading]
) -> Times:
    """Read the epoch counts that the records of a page have in one member: what `each`, reading one, gives for all of them.

    `each` is `from_epoch` with this unit, or accepts more than that. It is not asked where all are plainly right.
    """
    return _column(values, _plain_epochs(values, _PER_SECOND.get(unit), now), each)


def column_of_texts(values: list[Any], *, now: datetime, each: Callable[[Any], Reading]) -> Times:
    """The same for times as text; `each` is `from_text`, or accepts more than that."""
    return _column(values, _plain_texts(values, now), each)


def _column(values: list[Any], plain: list[datetime | None] | None, each: Callable[[Any], Reading]) -> Times:
    if plain is not None:
        return Times(plain, _NONE_ODD)
    read = [each(value) for value in values]
    return Times([when for when, _ in read], {at: odd for at, (_, odd) in enumerate(read) if odd is not None})


def _plain_epochs(values: list[Any], per_second: int | None, now: datetime) -> list[datetime | None] | None:
    """The times, where each of them is a plausible number or not set; None where one has to be looked at by itself."""
    kinds = set(map(type, values))
    if kinds <= _NO_KIND:
        return values
    if per_second is None or not kinds <= _INTEGERS:
        return None
    said = [value for value in values if value is not None] if NoneType in kinds else values
    latest = (now - _EPOCH + _AHEAD) // (timedelta(seconds=1) / per_second)
    if min(said) < _FIRST_SECOND * per_second or max(said) > latest:
        return None
    seconds = [value if value is None else value / per_second for value in values]
    return msgspec.convert(seconds, _TIMES, strict=False)


def _plain_texts(values: list[Any], now: datetime) -> list[datetime | None] | None:
    """The same for RFC 3339 in UTC with no more digits than a datetime has."""
    said = values if None not in values else [value for value in values if value is not None]
    if not said:
        return values
    try:
        if ",".join([*said, ""]).count("Z,") != len(said) or max(map(len, said)) > _LONGEST_EXACT:
            return None
        times = msgspec.convert(values, _TIMES)
    except (TypeError, msgspec.ValidationError):
        return None
    # In this form, the order of texts is that of their days; nine whole years ahead are surely plausible.
    return times if min(said) >= _FIRST_DAY and max(said) < str(now.year + 10) else None


def _whole(value: object) -> int | None:
    if isinstance(value, str):
        is_number = value.isascii() and value.isdigit() and len(value) <= _MAX_DIGITS
        return int(value) if is_number else None
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _shown(value: object) -> str:
    return f"'{printable(value, 60)}'" if isinstance(value, str) else "(of another type)"


def from_text(value: object, *, label: str, now: datetime, naive_is_utc: bool = False) -> Reading:
    """Read RFC 3339 or the common forms of ISO 8601. Fractions beyond a microsecond are cut off. No other type is read.

    A time without a zone is None with evidence, unless `naive_is_utc`: then it is taken as UTC, and said so.
    """
    # Nearly all write 2026-06-01T12:00:00.123Z. With these characters where they are, the parser takes only that form;
    # of a fraction without digits, or of more than it keeps, it is not sure.
    if isinstance(value, str) and value[4:17:3] == "--T::" and value[-1] == "Z":
        length = len(value)
        if length == 20 or (22 <= length <= 27 and value[19] == "."):  # noqa: PLR2004 - the lengths of that form
            try:
                usual = _parsed(value)
                if _EARLIEST <= usual <= now:
                    return usual, None
            except ValueError:
                pass  # what is odd about it is said below
    return _from_other_text(value, label, now, naive_is_utc=naive_is_utc)


def _from_other_text(value: object, label: str, now: datetime, *, naive_is_utc: bool) -> Reading:
    if value is None or value == "":
        return _NOT_SET
    match = _ISO.fullmatch(value) if isinstance(value, str) else None
    when = None if match is None else _parse(match[0])
    if when is None:
        return _unread(label, value, f"{label} {_shown(value)} is not a time that can be read.")
    note = None
    if when.tzinfo is None:
        if not naive_is_utc:
            return _unread(label, value, f"{label} {_shown(value)} names no time zone, so it is not used.")
        when, note = when.replace(tzinfo=UTC), f"{label} names no time zone; it is taken as UTC."
    try:
        when = when if when.tzinfo is UTC else when.astimezone(UTC)
    except OverflowError:
        return _unread(label, value, f"{label} {_shown(value)} is outside the calendar.")
    if _is_plausible(when, now):
        return when, note
    return _unread(label, value, f"{label} {_shown(value)} is not plausible as a time, so it is not used.")


def _parse(value: str) -> datetime | None:
    try:
        return _parsed(value)
    except ValueError:
        pass
    # Lower-case z, hour 24 and a leap second are legal and rare, so the slower parser is only paid for here.
    from dateutil.parser import isoparse

    leap = value[17:19] == "60"
    text = f"{value[:17]}59{value[19:]}" if leap else value
    try:
        return isoparse(text.replace("t", "T").replace(" ", "T"))
    except (ValueError, OverflowError):
        return None


def _is_plausible(when: datetime, now: datetime) -> bool:
    return when >= _EARLIEST and when - now <= _AHEAD
