"""The thread that works with the journal for one client, so that no event loop stands still for a disk."""

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Generic, TypeVar

from bulkstatus._journal import Journal
from bulkstatus._ledger import Facts
from bulkstatus._model import Ref
from bulkstatus._record import Miss, Odd, Sighting
from bulkstatus.errors import BulkStatusError, JournalError

T = TypeVar("T")
Answer = Sighting | Miss | Odd

_SHORTEST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0
_MOST_UNWRITTEN = 10_000
# What has just failed after seconds of waiting is not tried once more while a process wants to end.
_JUST_NOW = 3.0
_LOG = logging.getLogger("bulkstatus")
_OF_JOURNAL = {"of_journal": True}


class _Job(Generic[T]):
    """Something to be done, or answers to be written; and who waits for what comes of it."""

    def __init__(
        self,
        work: Callable[[Journal], T] | None,
        answers: Sequence[Answer] = (),
        *,
        undo: Callable[[T], object] | None = None,
        quiet: bool = True,
    ) -> None:
        self.work = work
        self.undo = undo
        self.quiet = quiet
        self.answers = answers
        self.future: Future[T] = Future()

    def give(self, value: T) -> None:
        if self.future.set_running_or_notify_cancel():
            self.future.set_result(value)
        elif self.undo is not None:
            self.undo(value)  # nobody waits for it any more

    def fail(self, error: BaseException) -> None:
        if self.future.set_running_or_notify_cancel():
            self.future.set_exception(error)


class Complaints:
    """What is wrong with a journal, said once for all who work with it, as a warning of the logger `bulkstatus`."""

    def __init__(self) -> None:
        self._said = False
        self._moved: Path | None = None

    def about(self, error: BulkStatusError) -> None:
        """It cannot be used."""
        if not self._said:
            self._said = True
            _LOG.warning("%s; the answers are given without it", error.message, extra=_OF_JOURNAL)

    def moved(self, journal: Journal) -> None:
        """It was damaged, and may have been moved aside."""
        if journal.moved_to is not None and journal.moved_to != self._moved:
            self._moved = journal.moved_to
            told = "the journal %s was damaged; it is kept as %s, and a new one was begun"
            _LOG.warning(told, journal.path, journal.moved_to.name, extra=_OF_JOURNAL)


class Scribe:
    """Works with the journal in the order it is told. What cannot be written is kept, and tried again.

    Whatever is wrong with the journal is said to `complaints`.
    """

    def __init__(self, journal: Journal, complaints: Complaints) -> None:
        self.journal = journal
        self._complaints = complaints
        self._jobs: queue.SimpleQueue[_Job[Any] | None] = queue.SimpleQueue()
        self._unwritten: list[Answer] = []
        self._pause = _SHORTEST_PAUSE
        self._again_at = 0.0
        self._failed_at: float | None = None
        self._ended: Future[None] = Future()
        threading.Thread(target=self._run, name="bulkstatus-journal", daemon=True).start()

    @property
    def is_down(self) -> bool:
        """True while the journal is left alone because it could not be used."""
        return time.monotonic() < self._again_at

    def write(self, answers: Sequence[Answer]) -> Future[dict[Ref, Facts]]:
        """Write answers, and give what is known then of those bulks; nothing while it cannot be written."""
        job = _Job[dict[Ref, Facts]](None, answers)
        self._jobs.put(job)
        return job.future

    def ask(
        self,
        work: Callable[[Journal], T],
        *,
        undo: Callable[[T], object] | None = None,
        quiet: bool = True,
    ) -> Future[T]:
        """Do something with the journal, behind all that was to be written before.

        Whoever asks hears of what goes wrong; unless `quiet`, it is said as a warning too. What has been done when
        nobody waits for it any more is handed to `undo`.
        """
        job = _Job(work, undo=undo, quiet=quiet)
        self._jobs.put(job)
        return job.future

    def end(self) -> Future[None]:
        """Write what is left, if that can be done, and end the thread."""
        self._jobs.put(None)
        return self._ended

    def complain(self, error: BulkStatusError) -> None:
        """Say what is wrong with the journal."""
        self._complaints.about(error)

    # --- on the thread ---

    def _run(self) -> None:
        jobs: list[_Job[Any] | None] = []
        while None not in jobs:
            jobs = self._take()
            writes: list[_Job[Any]] = []
            for job in jobs:
                if job is not None and job.work is None:
                    writes.append(job)
                    continue
                self._write(writes)
                writes = []
                if job is not None:
                    self._do(job)
            self._write(writes)
        if self._failed_at is None or time.monotonic() - self._failed_at > _JUST_NOW:
            self._again_at = 0.0
        self._write([])
        if self._ended.set_running_or_notify_cancel():
            self._ended.set_result(None)

    def _take(self) -> list[_Job[Any] | None]:
        """All there is to do, waiting for the first; nothing when it is time to try again."""
        within = max(0.0, self._again_at - time.monotonic()) if self._unwritten else None
        found: list[_Job[Any] | None] = []
        try:
            found.append(self._jobs.get(timeout=within))
            while True:
                found.append(self._jobs.get_nowait())
        except queue.Empty:
            return found

    def _do(self, job: _Job[Any]) -> None:
        if job.future.cancelled():
            return
        try:
            job.give(job.work(self.journal) if job.work is not None else None)
        except JournalError as error:
            if error.reason != "busy":  # which says nothing about the file
                self._rest()
            if not (job.quiet or error.reason == "corrupt"):  # that it was moved is said below
                self.complain(error)
            job.fail(error)
        except Exception as error:  # noqa: BLE001 - it is raised where the work was asked for
            if not job.quiet:
                self.complain(JournalError(f"the journal {self.journal.path}: {type(error).__name__}"))
            job.fail(error)
        self._complaints.moved(self.journal)

    def _write(self, jobs: Sequence[_Job[Any]]) -> None:
        self._unwritten += (answer for job in jobs for answer in job.answers)
        found: dict[Ref, Facts] = {}
        if self._unwritten and not self.is_down:
            try:
                found = self.journal.record(self._unwritten)
                self._unwritten.clear()
                self._pause = _SHORTEST_PAUSE
            except JournalError as error:
                self._rest()
                self.complain(error)
                del self._unwritten[:-_MOST_UNWRITTEN]
            except Exception:  # noqa: BLE001 - one record that cannot be read must not keep out the others
                found = self._one_by_one()
            self._complaints.moved(self.journal)
        for job in jobs:
            job.give(found)

    def _one_by_one(self) -> dict[Ref, Facts]:
        found: dict[Ref, Facts] = {}
        answers, self._unwritten = self._unwritten, []
        for answer in answers:
            try:
                found |= self.journal.record([answer])
            except Exception as error:  # noqa: BLE001 - as above
                why = error.message if isinstance(error, JournalError) else type(error).__name__
                self.complain(JournalError(f"the journal {self.journal.path} lost a record: {why}"))
        return found

    def _rest(self) -> None:
        self._failed_at = time.monotonic()
        self._again_at = time.monotonic() + self._pause
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)
