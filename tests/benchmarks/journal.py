"""What the journal costs as it grows, how fast it is written, and that nothing is lost when processes are killed.

python tests/benchmarks/journal.py               reading at 10,000 and 100,000 steps, and the plans of its queries
python tests/benchmarks/journal.py --million     at 1,000,000 steps besides
python tests/benchmarks/journal.py --check       ends with 1 when a goal is missed
python tests/benchmarks/journal.py --writes      how many changes a second get written by 1 and by 8 processes
python tests/benchmarks/journal.py --kill 60     8 processes that watch 50 bulks, killed at random for so many seconds
"""

import argparse
import os
import random
import signal
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))  # as pytest does: this file may be run by itself

from bulkstatus._journal import Journal
from bulkstatus._model import BulkStatus, Counts, Ref, State
from bulkstatus._record import Place, Sighting, Transition
from bulkstatus._rows import to_json, to_text
from bulkstatus._times import Stamp

PLACE = Place("payments", "plain", "plain https://plain.example 1")
BIRTH = datetime(2026, 1, 1, tzinfo=UTC)
TRACKED = 10_000
ACTIONS = ("/transfers", "/cards", "/payments", "/accounts")
LIFE = (State.QUEUED, State.RUNNING, State.PAUSED, State.RUNNING, State.SUCCEEDED)


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - a command line


# --- a journal of some size ---


def made_up(id: str, state: State, observed_at: datetime, **more: object) -> BulkStatus:
    """A status as an adapter gives it."""
    return BulkStatus(
        source=PLACE.source,
        provider=PLACE.provider,
        id=id,
        state=state,
        native_state=state.value.upper(),
        observed_at=observed_at,
        **more,
    )


def populate(path: Path, steps: int, *, tracked: int = TRACKED) -> int:
    """A journal with so many steps of bulks that have ended, five each, and so many tracked ones that go on.

    How many bulks there are. Written by SQL: through the journal itself a million would take an hour, since each
    change is awaited from the disk.
    """
    with Journal(path) as journal:
        journal.changes(limit=1)
    ended = steps // len(LIFE)
    numbers = range(1, ended + tracked + 1)
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA synchronous = OFF")
        db.execute("BEGIN")
        # One account with most of all bulks, and some small ones.
        db.execute("INSERT INTO sources VALUES (1, ?, ?, ?)", PLACE[:3])
        for number in (2, 3):
            db.execute(
                "INSERT INTO sources VALUES (?, ?, ?, ?)",
                (number, f"edge{number}", "plain", f"plain https://plain.example {number}"),
            )
        marks = ", ".join("?" * 19)
        bulks = (_bulk(number, is_open=number > ended) for number in numbers)
        db.executemany(f"INSERT INTO bulks VALUES ({marks}, NULL, NULL, 0, 0)", bulks)
        marks = ", ".join("?" * 13)
        db.executemany(f"INSERT INTO transitions VALUES ({marks})", _steps(ended, tracked))
        db.execute("COMMIT")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    return len(numbers)


def _bulk(number: int, *, is_open: bool) -> tuple[object, ...]:
    began = BIRTH + timedelta(seconds=number)
    took = 30.0 + number % 97
    state = State.RUNNING if is_open else State.SUCCEEDED
    source = 1 if is_open or number % 10 else 2 + number // 10 % 2
    action = ACTIONS[0] if number % 3 else ACTIONS[number % len(ACTIONS)]
    ended = began + timedelta(seconds=took)
    status = made_up(
        str(number),
        state,
        ended,
        counts=Counts(total=100, succeeded=100, failed=0),
        created_at=began,
        started_at=began,
        finished_at=None if is_open else ended,
        action=action,
    )
    first, end = to_text(began), to_text(ended)
    return (
        *(number, source, str(number), None, first if is_open else None, first, end, end),
        *(None if is_open else end, None, None, None if is_open else took),
        *(state, state.value.upper(), action, to_json(status), "", "a-boot", float(number)),
    )


def _steps(ended: int, tracked: int) -> Iterator[tuple[object, ...]]:
    """The steps of the bulks that ended, a thousand of which went on side by side, and the first ones of the others."""
    seq = 0
    for start in range(1, ended + 1, 1_000):
        for stage in range(len(LIFE)):
            for number in range(start, min(start + 1_000, ended + 1)):
                seq += 1
                yield _step(seq, number, stage)
    for number in range(ended + 1, ended + tracked + 1):
        seq += 1
        yield _step(seq, number, 0)


def _step(seq: int, number: int, stage: int) -> tuple[object, ...]:
    state, before = LIFE[stage], LIFE[stage - 1] if stage else None
    at = to_text(BIRTH + timedelta(seconds=number + 10 * stage))
    counts = to_json(Counts(total=100, succeeded=50))
    words = (before and before.value.upper(), state.value.upper(), None)
    return seq, number, "state" if stage else "first", before, state, *words, counts, at, "host:1", 0, ""


# --- plans ---

Work = Callable[[Journal], object]
WRITING = "recording"


def readings(bulks: int) -> dict[str, Work]:
    """What readers ask, of a journal with so many bulks."""
    return {
        "changes": lambda journal: journal.changes(near_the_end(journal), limit=1_000),
        "changes from the beginning": lambda journal: journal.changes(limit=1_000),
        "history": lambda journal: journal.history(f"payments:{bulks // 2 + 1}"),
        "find": lambda journal: journal.find(f"payments:{bulks // 2 + 1}"),
        "known": lambda journal: journal.known(PLACE, [str(number) for number in range(1, 101)]),
        "tracked": lambda journal: journal.tracked(PLACE),
        "tracked by label": lambda journal: journal.tracked(PLACE, {"release": "42"}),
        "usual": lambda journal: journal.usual(PLACE, ACTIONS[0]),
        "usual without an action": lambda journal: journal.usual(PLACE, None),
        "a page of all bulks": lambda journal: next(journal.all_bulks(), None),
        WRITING: lambda journal: journal.record([_again(bulks)]),
    }


def near_the_end(journal: Journal) -> str:
    """The cursor a hundred steps before the end."""
    name, _, end = journal.cursor().rpartition("-")
    return f"{name}-{max(0, int(end) - 100)}"


def _again(bulks: int) -> Sighting:
    now = Stamp.take()
    return Sighting(PLACE, made_up(str(bulks), State.RUNNING, BIRTH), now, now)


def plans(journal: Journal, work: Work) -> list[tuple[str, list[str]]]:
    """Each statement that `work` carries out on a table, with the plan SQLite makes for it."""
    seen: list[str] = []
    journal.cursor()  # opened, and brought up to date
    journal._file.use(lambda db: db.set_trace_callback(seen.append))
    try:
        work(journal)
    finally:
        journal._file.use(lambda db: db.set_trace_callback(None))
    words = ("SELECT", "UPDATE", "INSERT", "DELETE")
    found = []
    with closing(sqlite3.connect(journal.path)) as db:
        for statement in dict.fromkeys(text.strip() for text in seen):
            if statement.upper().startswith(words):
                rows = db.execute(f"EXPLAIN QUERY PLAN {statement}").fetchall()
                found.append((" ".join(statement.split()), [row[3] for row in rows]))
    return found


_GROWING = {"b", "t", "l", "bulks", "transitions", "labels"}


def scans(plan: Sequence[str]) -> list[str]:
    """The lines of a plan that go through all of a table that grows, or sort what they have found."""
    return [
        line
        for line in plan
        if (line.startswith("SCAN ") and line.split()[1] in _GROWING) or line.startswith("USE TEMP B-TREE")
    ]


def faults(journal: Journal, bulks: int) -> list[str]:
    """What of the readings goes through a whole table, or sorts."""
    found = []
    for name, work in readings(bulks).items():
        for statement, plan in plans(journal, work):
            found += [f"{name}: {line}: {statement[:80]}" for line in scans(plan)]
    return found


# --- reading ---


class Timing(NamedTuple):
    """What a reading took, in seconds: the median and the longest of some."""

    median: float
    longest: float


def timed(work: Callable[[], object], times: int) -> Timing:
    """What `work` takes, but for the first time."""
    work()
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return Timing(median(taken), max(taken))


def reading(folder: Path, sizes: Sequence[int], times: int) -> bool:
    """Print what reading takes at each size, and the plans; True when it does not grow, and nothing is scanned."""
    found: dict[int, dict[str, Timing]] = {}
    lines: list[str] = []
    for size in sizes:
        path = folder / f"{size}.db"
        began = time.perf_counter()
        bulks = populate(path, size)
        with Journal(path) as journal:
            took, stats = time.perf_counter() - began, journal.stats()
            _say(
                f"{stats.transitions:,} steps of {bulks:,} bulks: {stats.size:,} bytes, made in {took:.0f} s"
            )
            found[size] = {
                name: timed(lambda work=work: work(journal), times) for name, work in readings(bulks).items()
            }
            lines += [f"{size:,}: {fault}" for fault in faults(journal, bulks)]
            if size == sizes[-1]:
                print_plans(journal, bulks)
                analyse(journal)
                lines += [f"{size:,}, analysed: {fault}" for fault in faults(journal, bulks)]
    grown = print_timings(found)
    for line in lines:
        _say(f"SCANNED {line}")
    return not lines and not grown


def analyse(journal: Journal) -> None:
    """Let SQLite count what there is, by which it may choose other plans."""
    journal._file.use(lambda db: db.execute("ANALYZE").fetchall())
    journal.close()


def print_plans(journal: Journal, bulks: int) -> None:
    """Print the plan of each statement."""
    for name, work in readings(bulks).items():
        _say(f"\n{name}")
        distinct = {
            (statement.partition(" IN (")[0], *plan): (statement, plan)
            for statement, plan in plans(journal, work)
        }
        for statement, plan in distinct.values():
            _say(f"  {_short(statement)}")
            for line in plan:
                _say(f"    {line}")


def _short(statement: str) -> str:
    """A statement without the columns it names."""
    head, from_, tail = statement.partition(" FROM ")
    return f"{head.split(',')[0][:60]} ...{from_}{tail[:110]}" if from_ else statement[:90]


# A tree of a hundred times as many rows is one or two levels deeper, and the machine is never quite idle.
_MOST_GROWTH = 2.0
_NO_MATTER = 0.000_5


def print_timings(found: dict[int, dict[str, Timing]]) -> list[str]:
    """Print what each reading took at each size, and give those that grew with the file."""
    sizes = list(found)
    heads = " | ".join(f"{size:,}, ms (longest)" for size in sizes)
    _say(f"\n| | {heads} | largest / smallest | |\n|---|{'---:|' * (len(sizes) + 1)}---|")
    grown = []
    for name in found[sizes[0]]:
        taken = [found[size][name] for size in sizes]
        growth = taken[-1].median / taken[0].median
        word = "met" if growth <= _MOST_GROWTH or taken[-1].median < _NO_MATTER else "GREW"
        if name == WRITING:
            word = (
                "the disk's"  # most of it is waiting until it is written, and no disk takes as long each time
            )
        elif word != "met":
            grown.append(name)
        cells = " | ".join(f"{one.median * 1_000:.2f} ({one.longest * 1_000:.1f})" for one in taken)
        _say(f"| {name} | {cells} | {growth:.2f} | {word} |")
    return grown


# --- writing ---


@contextmanager
def children(work: Callable[[int], None], number: int) -> Iterator[list[int]]:
    """So many processes that do `work`, which must end by itself or be killed; all are waited for."""
    pids = [born(work, index) for index in range(number)]
    try:
        yield pids
    finally:
        for pid in pids:
            os.waitpid(pid, 0)


def born(work: Callable[[int], None], number: int) -> int:
    """A process that does `work` and nothing else."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        work(number)
        code = 0
    finally:
        if code:
            sys.excepthook(*sys.exc_info())
        os._exit(code)


def write_for(path: Path, seconds: float, processes: int, batch: int) -> float:
    """How many steps a second so many processes write, each of so many bulks at a time, on the disk each time."""
    Journal(path).cursor()
    end = time.monotonic() + seconds

    def work(number: int) -> None:
        journal = Journal(path)
        turn = 0
        while time.monotonic() < end:
            turn += 1
            state = State.RUNNING if turn % 2 else State.PAUSED
            now = Stamp.take()
            at = BIRTH + timedelta(seconds=turn)
            journal.record(
                Sighting(PLACE, made_up(f"{number}-{index}", state, at), now, now) for index in range(batch)
            )
        journal.close()

    began = time.monotonic()
    with children(work, processes):
        pass
    taken = time.monotonic() - began
    with Journal(path) as journal:
        return journal.stats().transitions / taken


def writing(folder: Path, seconds: float) -> bool:
    """Print how fast it is written; True when none of it is below one change a second for each process."""
    _say("\n| processes | steps in one record() | steps a second |\n|---:|---:|---:|")
    slow = False
    for processes in (1, 8):
        for batch in (1, 50):
            rate = write_for(folder / f"w{processes}-{batch}.db", seconds, processes, batch)
            slow = slow or rate < processes
            _say(f"| {processes} | {batch} | {rate:,.0f} |")
    return not slow


# --- killing ---

STAGES = (State.QUEUED, State.RUNNING, State.SUCCEEDED)


class Storm(NamedTuple):
    """How a storm ended: what was seen of it, and what was wrong, in sentences."""

    kills: int
    steps: int
    returned: int
    wrong: list[str]


class Bulks:
    """Bulks that live by the clock: each generation of so many begins when the one before it has ended."""

    def __init__(self, number: int, lasts: float) -> None:
        self._number = number
        self._lasts = lasts
        self._began = Stamp.take().tick

    def ids(self, tick: float) -> list[str]:
        """Those of this generation and the last, so that each one's end is there to be seen."""
        now = int((tick - self._began) / self._lasts)
        return [f"{age}-{index}" for age in (now - 1, now) if age >= 0 for index in range(self._number)]

    def stage(self, id: str, tick: float) -> int:
        """Where a bulk is: each moves at moments of its own."""
        age, index = map(int, id.split("-"))
        share = (tick - self._began) / self._lasts - age
        first = 0.1 + 0.3 * index / self._number
        return (share >= first) + (share >= first + 0.4)


def watch(path: Path, notes: Path, bulks: Bulks, end: float, number: int) -> None:
    """Look at all bulks again and again, record what is seen, and note what `record` returned for."""
    dice = random.Random(f"{number} {os.getpid()}")
    out = os.open(notes, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    journal = Journal(path)
    while Stamp.take().tick < end:
        asked = Stamp.take()
        ids = dice.sample(bulks.ids(asked.tick), k=20)
        stages = {id: bulks.stage(id, asked.tick) for id in ids}
        time.sleep(dice.random() * 0.02)  # the answer is on its way, and others overtake it
        read = Stamp.take()
        at = datetime.now(UTC)
        facts = journal.record(
            Sighting(PLACE, made_up(id, STAGES[stage], at), asked, read, wanted=True)
            for id, stage in stages.items()
        )
        # What moved at this very moment was a step; all else had been recorded before, or overtaken.
        steps = {id: facts[Ref(PLACE.source, id)].moved_at == at for id in stages}
        lines = [f"{id} {stage} {at.isoformat() if steps[id] else '-'}\n" for id, stage in stages.items()]
        os.write(out, "".join(lines).encode())
    journal.close()


def storm(folder: Path, seconds: float, *, processes: int = 8, number: int = 50, lasts: float = 2.0) -> Storm:
    """Processes that watch the same bulks, one after another killed at random and begun again; how that ended."""
    path = folder / "journal.db"
    bulks = Bulks(number, lasts)
    end = Stamp.take().tick + seconds
    dice = random.Random(1)

    def work(index: int) -> None:
        watch(path, folder / f"{index}.notes", bulks, end, index)

    pids = [born(work, index) for index in range(processes)]
    kills, failed = 0, 0
    while Stamp.take().tick < end - 0.3:
        time.sleep(dice.random() * 0.1)
        index = dice.randrange(processes)
        os.kill(pids[index], signal.SIGKILL)
        kills += 1
        failed += not os.WIFSIGNALED(os.waitpid(pids[index], 0)[1])
        pids[index] = born(work, index)
    failed += sum(os.waitpid(pid, 0)[1] != 0 for pid in pids)
    return _judged(path, folder, kills, failed)


def _judged(path: Path, folder: Path, kills: int, failed: int) -> Storm:
    returned = {line for notes in folder.glob("*.notes") for line in notes.read_text().splitlines()}
    with Journal(path) as journal:
        steps = list(journal.all_changes())
        wrong = [f"{failed} processes failed"] if failed else []
        wrong += [*_faults(steps), *_losses(steps, returned)]
        if journal.moved_to or list(folder.glob("*.corrupt-*")):
            wrong.append("the file was found damaged")
    with closing(sqlite3.connect(path)) as db:
        health = db.execute("PRAGMA integrity_check").fetchall()
    if health != [("ok",)]:
        wrong.append(f"the file is damaged: {health[:3]}")
    return Storm(kills, len(steps), sum(not line.endswith("-") for line in returned), wrong)


def _faults(steps: Sequence[Transition]) -> list[str]:
    """What is wrong with the steps by themselves: twice, backwards, out of order."""
    twice = [
        step for step, times in Counter((step.ref, step.to_state) for step in steps).items() if times > 1
    ]
    found = [f"{len(twice)} steps are there twice: {twice[:3]}"] if twice else []
    furthest: dict[str, int] = {}
    for step in steps:
        stage = STAGES.index(step.to_state or State.QUEUED)
        if step.regressed or step.kind not in ("first", "state") or stage < furthest.get(step.ref, 0):
            found.append(f"a step goes back: {step}")
        furthest[step.ref] = stage
    numbers = [int(step.cursor.rpartition("-")[2]) for step in steps]
    if numbers != sorted(set(numbers)):
        found.append("the steps are out of order")
    return found


def _losses(steps: Sequence[Transition], returned: set[str]) -> list[str]:
    """What `record` returned for and is not there: the very step, or of all else that step or a later one."""
    kept = set()
    furthest: dict[str, int] = {}
    for step in steps:
        id, stage = step.ref.partition(":")[2], STAGES.index(step.to_state or State.QUEUED)
        kept.add(f"{id} {stage} {step.observed_at.isoformat()}")
        furthest[id] = stage
    lost = []
    for line in sorted(returned):
        id, stage, at = line.split()
        if line not in kept if at != "-" else furthest.get(id, -1) < int(stage):
            lost.append(line)
    return [f"{len(lost)} of {len(returned)} looks were lost: {lost[:3]}"] if lost else []


def killing(folder: Path, seconds: float) -> bool:
    """Print how a storm ended; True when nothing was wrong."""
    found = storm(folder, seconds)
    _say(
        f"{found.kills:,} kills in {seconds:.0f} s; {found.returned:,} looks returned as written; {found.steps:,} steps"
    )
    for line in found.wrong:
        _say(f"WRONG {line}")
    return not found.wrong


def main() -> int:
    """Run the command."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--million", action="store_true")
    words.add_argument("--check", action="store_true")
    words.add_argument("--writes", action="store_true")
    words.add_argument("--kill", type=float, metavar="SECONDS")
    asked = words.parse_args()
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if asked.kill:
            met = killing(folder, asked.kill)
        elif asked.writes:
            met = writing(folder, 5.0)
        else:
            sizes = [10_000, 100_000, *([1_000_000] if asked.million else [])]
            met = reading(folder, sizes, times=20)
    _say(f"\nTook {time.perf_counter() - began:.0f} s.")
    return 1 if (asked.check or asked.kill) and not met else 0


if __name__ == "__main__":
    sys.exit(main())
