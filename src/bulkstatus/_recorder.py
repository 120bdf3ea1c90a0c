"""A client's side of the journal: it remembers what is seen, and no answer waits for it for long.

An answer is recorded before its caller hears of it, unless that takes longer than a moment: then as soon as it can be.
"""

import asyncio
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple, TypeVar, cast

import anyio
import msgspec

from bulkstatus import _times
from bulkstatus._adapter import Adapter, realm
from bulkstatus._call import Page
from bulkstatus._drift import Drift, Oddity
from bulkstatus._journal import Journal
from bulkstatus._ledger import Facts
from bulkstatus._model import BulkStatus, Ref, by_source
from bulkstatus._record import (
    KnownBulk,
    Miss,
    Place,
    Sighting,
    as_gone,
    began,
    position,
    served,
)
from bulkstatus._scribe import Answer, Complaints, Scribe
from bulkstatus._tally import Tally
from bulkstatus._times import Stamp
from bulkstatus._usual import Usual, overdue, stuck
from bulkstatus.errors import ConfigError, JournalError, NotFound

T = TypeVar("T")

_MOMENT = 0.25
_READING = 1.0
_LAST_WORDS, _LAST_WORDS_HURRIED = 6.0, 0.05
# What has not changed is written again after so many seconds, so that the journal tells when it was last looked at.
_SAME = 10.0
_USUAL_FOR = 60.0

JournalOrPath = Journal | str | os.PathLike[str]
_Key = tuple[str, str | None]


class _Noted(NamedTuple):
    """What was recorded of a bulk last, and when."""

    status: BulkStatus
    at: float


class Recorder:
    """Remembers for one client. Without a journal nothing is known but the drift of this client."""

    def __init__(self, journal: JournalOrPath | None, adapters: Mapping[str, Adapter]) -> None:
        self._is_ours = not isinstance(journal, Journal)
        if journal is not None and not isinstance(journal, Journal):
            journal = Journal(journal)
        self.journal = journal
        self._grammars = {name: adapter.id_grammar for name, adapter in adapters.items()}
        self._places = (
            {} if journal is None else {name: _place(name, adapter) for name, adapter in adapters.items()}
        )
        self._drift = Tally({name: adapter.provider for name, adapter in adapters.items()})
        self._pins = {name: tuple(adapter.state_map) for name, adapter in adapters.items()}
        self._drift_at = time.monotonic()
        self._scribe: Scribe | None = None
        self._reader: Scribe | None = None
        self._wanted: set[Ref] = set()
        self._followed: set[Ref] = set()
        self._noted: dict[Ref, _Noted] = {}
        self._cleared_at = 0.0
        self._facts: dict[tuple[str, str], Facts] = {}
        self._usual: dict[_Key, tuple[float, Usual | None]] = {}

    @property
    def is_on(self) -> bool:
        """True when there is a journal."""
        return self.journal is not None

    @property
    def realms(self) -> dict[str, str]:
        """Whose bulks each source has, as text without any credential; empty without a journal."""
        return {name: place.realm for name, place in self._places.items()}

    def open(self) -> None:
        """Begin to remember."""
        if self.journal is not None:
            said = Complaints()
            self._scribe = Scribe(self.journal, said)
            # Apart from it: who reads waits for no writer, and so not for one that waits itself.
            self._reader = Scribe(Journal(self.journal.path), said)

    async def close(self, *, hurried: bool = False) -> None:
        """Write what is left to be written, waiting no longer than a journal that is locked can take.

        When `hurried`, only what can be written at once is waited for.
        """
        scribe, self._scribe = self._scribe, None
        reader, self._reader = self._reader, None
        if scribe is not None and reader is not None:
            with (
                anyio.CancelScope(shield=True),
                anyio.move_on_after(_LAST_WORDS_HURRIED if hurried else _LAST_WORDS),
            ):
                self._write_drift(scribe)
                await asyncio.wrap_future(reader.end())
                reader.journal.close()
                await asyncio.wrap_future(scribe.end())
                if self.journal is not None and self._is_ours:
                    self.journal.close()

    def _key(self, ref: Ref) -> Ref:
        """What the refs of one bulk have in common, in whatever case its provider writes the id."""
        return Ref(ref.source, self._grammars[ref.source].key(ref.id))

    # --- what is seen ---

    def wants(self, refs: Iterable[Ref]) -> None:
        """These were asked for by name, so they are tracked once they are seen."""
        if self.is_on:
            self._wanted.update(map(self._key, refs))

    def follows(self, refs: Iterable[Ref]) -> None:
        """These are waited for by name: they are tracked whenever they are seen, until `wants_no_more` says otherwise."""
        if self.is_on:
            self._followed.update(map(self._key, refs))

    def wants_no_more(self, refs: Iterable[Ref]) -> None:
        """These are tracked no longer."""
        keys = set(map(self._key, refs))
        self._wanted -= keys
        self._followed -= keys

    async def saw(self, source: str, answer: object, asked: Stamp, id: str | None = None) -> None:
        """Record what an answer tells of bulks, of the one that was asked for as `id` or of many.

        Other answers are none of its business.
        """
        if self._scribe is None:
            return
        place, read = self._places[source], Stamp.take()
        if isinstance(answer, BulkStatus):
            news = [answer]
        elif isinstance(answer, Page):
            rows = (row for row in cast("Any", answer).items if isinstance(row, BulkStatus))
            news = [row for row in rows if self._is_news(row, read)]
        else:
            return
        seen = [Sighting(place, status, asked, read, self._take_wanted(status), id) for status in news]
        if seen:
            self._note(news, read.tick)
            await self._record(seen)

    def _note(self, news: Iterable[BulkStatus], at: float) -> None:
        """Keep what was recorded, as long as rows are compared with it: each may keep the page alive that it came with."""
        self._noted.update((status.ref, _Noted(status, at)) for status in news)
        if at - self._cleared_at > _SAME:
            self._cleared_at = at
            self._noted = {ref: noted for ref, noted in self._noted.items() if at - noted.at <= _SAME}

    def _take_wanted(self, status: BulkStatus) -> bool:
        """True for a bulk that is waited for, and once for one that was asked for by name.

        A row that is not kept leaves that for a later one.
        """
        ref = self._key(status.ref)
        if ref in self._followed:
            return True
        if status.provisional or ref not in self._wanted:
            return False
        self._wanted.discard(ref)
        return True

    def _is_news(self, status: BulkStatus, read: Stamp) -> bool:
        """True for a row that says something else than the one before, or that was written long enough ago."""
        noted = self._noted.get(status.ref)
        if noted is None or read.tick - noted.at > _SAME or self._key(status.ref) in self._wanted:
            return True
        before = noted.status
        return position(before) != position(status) or any(
            getattr(before, name) != getattr(status, name) for name in ("counts", "updated_at", "finished_at")
        )

    async def _record(self, answers: Sequence[Answer]) -> None:
        if self._scribe is None:
            return
        keys = {
            (answer.place.source, answer.status.action)
            for answer in answers
            if isinstance(answer, Sighting) and not answer.status.state.is_terminal
        }
        stale = [key for key in keys if self._usual.get(key, (0.0, None))[0] < time.monotonic() - _USUAL_FOR]
        with anyio.move_on_after(_MOMENT):
            facts = await asyncio.wrap_future(self._write_drift(self._scribe, answers))
            self._facts.update(facts.items())
            if stale:
                self._usual.update(
                    await self._within(self._reader, lambda journal: self._learn(journal, stale)) or {}
                )

    def _learn(self, journal: Journal, keys: Iterable[_Key]) -> dict[_Key, tuple[float, Usual | None]]:
        moment = time.monotonic()
        return {key: (moment, journal.usual(self._places[key[0]], key[1])) for key in keys}

    async def missed(self, ref: Ref, error: NotFound, asked: Stamp) -> BulkStatus | None:
        """Record that the provider does not know a bulk; what was last seen of it, if it was, as of now gone."""
        if self._scribe is None:
            return None
        place, at = self._places[ref.source], _times.utc_now()
        miss = Miss(place, ref.id, asked, Stamp.take(), at, final=error.reason == "gone")
        self._noted.pop(ref, None)
        await self._record([miss])
        known = (await self.known([ref])).get(ref)
        if known is None or known.status is None:
            return None
        return as_gone(known.status.changed(gone_at=known.gone_at or at))

    def noticed(self, source: str, found: Iterable[Oddity]) -> None:
        """Count what was odd in an answer. It is written with what is recorded next, and now and then by itself."""
        self._drift.add(source, found, _times.utc_now())
        if self._scribe is not None and time.monotonic() - self._drift_at > _SAME:
            self._write_drift(self._scribe)

    def _write_drift(self, scribe: Scribe, answers: Sequence[Answer] = ()) -> Future[dict[Ref, Facts]]:
        """Write answers, and with them what has been counted: so it costs nothing of its own, mostly."""
        self._drift_at = time.monotonic()
        return scribe.write([*answers, *self._drift.take(self._places)])

    async def drift(self) -> tuple[Drift, ...]:
        """What is known of odd answers: by the journal, else by this client alone. Raises JournalError."""
        if self._scribe is None:
            return self._drift.drift()
        self._write_drift(self._scribe)
        return await self.do(partial(Journal.drift, pins=self._pins))

    # --- what is known ---

    async def known(self, refs: Sequence[Ref]) -> dict[Ref, KnownBulk]:
        """What the journal knows of bulks; nothing where it cannot be read."""
        wanted = by_source(refs)

        def read(journal: Journal) -> dict[Ref, KnownBulk]:
            return {
                Ref(source, id): bulk
                for source, ids in wanted.items()
                for id, bulk in journal.known(self._places[source], ids).items()
            }

        found = await self._within(self._reader, read) or {}
        self._facts.update((ref, Facts(bulk.first_seen_at, bulk.moved_at)) for ref, bulk in found.items())
        return found

    async def settled(self, refs: Sequence[Ref]) -> dict[Ref, BulkStatus]:
        """Those of the bulks that need not be asked for again, as the journal has them. They are tracked from now on."""
        known = await self.known(refs)
        found = {ref: status for ref, bulk in known.items() if (status := served(bulk)) is not None}
        met = [ref for ref in found if known[ref].tracked_at is None]
        if met:
            await self.try_to(partial(_track, bulks=[(self._places[ref.source], ref.id) for ref in met]))
        return found

    async def tracked(self, source: str, labels: Mapping[str, str] | None) -> list[KnownBulk]:
        """The tracked bulks of a source. Raises JournalError: without the journal there is nothing to list."""
        place = self._places[source]
        found = await self.look(lambda journal: journal.tracked(place, labels))
        self._facts.update(((source, bulk.id), Facts(bulk.first_seen_at, bulk.moved_at)) for bulk in found)
        return found

    def marked(self, status: BulkStatus) -> BulkStatus:
        """The status, marked as overdue or stuck where the journal's history says so."""
        if not self.is_on or status.state.is_terminal:
            return status
        facts = self._facts.get(status.ref)
        _, usual = self._usual.get((status.source, status.action), (0.0, None))
        late = overdue(status, self.began(status), usual)
        still = None if facts is None else stuck(status, facts.moved_at, usual)
        if late is None and still is None:
            return status
        return status.changed(overdue=late, stuck=still)

    def began(self, status: BulkStatus) -> datetime | None:
        """When a bulk began: by the provider, else when it was first seen, as far as that came up in this client."""
        facts = self._facts.get(status.ref)
        return began(status, None if facts is None else facts.first_seen_at)

    # --- what callers want of the journal itself ---

    async def do(self, work: Callable[[Journal], T], *, undo: Callable[[T], object] | None = None) -> T:
        """Have something written. Raises JournalError, and ConfigError where there is no journal."""
        return await asyncio.wrap_future(_there(self._scribe).ask(work, undo=undo))

    def place(self, source: str) -> Place:
        """Where the bulks of a source are. Raises ConfigError without a journal."""
        _there(self._scribe)
        return self._places[source]

    async def look(self, work: Callable[[Journal], T]) -> T:
        """Have something read. Raises as `do` does."""
        return await asyncio.wrap_future(_there(self._reader).ask(work))

    def complain(self, error: JournalError) -> None:
        """Say what is wrong with the journal, once."""
        if self._scribe is not None:
            self._scribe.complain(error)

    async def try_to(
        self, work: Callable[[Journal], T], *, undo: Callable[[T], object] | None = None
    ) -> T | None:
        """As `do`, within a second; None where that cannot be done, and then it is undone should it be done later."""
        return await self._within(self._scribe, work, undo=undo)

    @staticmethod
    async def _within(
        scribe: Scribe | None, work: Callable[[Journal], T], *, undo: Callable[[T], object] | None = None
    ) -> T | None:
        if scribe is None or scribe.is_down:
            return None
        with anyio.move_on_after(_READING):
            with suppress(Exception):  # the scribe says so
                return await asyncio.wrap_future(scribe.ask(work, undo=undo, quiet=False))
        return None


def _there(scribe: Scribe | None) -> Scribe:
    if scribe is None:
        raise ConfigError("this client has no journal: give it one, as in Client(..., journal=PATH)")
    return scribe


def _track(journal: Journal, bulks: Iterable[tuple[Place, str]]) -> None:
    for place, id in bulks:
        journal.track(place, [id])


def _place(source: str, adapter: Adapter) -> Place:
    pins = {word: str(state) for word, state in sorted(adapter.state_map.items())}
    return Place(source, adapter.provider, realm(adapter), msgspec.json.encode(pins).decode())
