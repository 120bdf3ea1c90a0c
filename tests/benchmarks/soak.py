"""Hours of watching in which one request in twenty goes wrong: what leaks, what is missed, what is told wrongly.

python tests/benchmarks/soak.py                      20 minutes, 200 bulks, 5 % faults, both transports side by side
python tests/benchmarks/soak.py --minutes 1440       a day
python tests/benchmarks/soak.py --check              ends with 1 when a goal is missed

The fakes of the three providers run in a process of their own, on loopback. For each transport another process waits
for 200 bulks through one client with a journal; a bulk that has ended is replaced by a new one. What each bulk went
through is known beforehand, and is compared with the verdict, with the changes that were told, and with the journal.
"""

import argparse
import asyncio
import gc
import json
import logging
import multiprocessing
import os
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))  # as pytest does: this file may be run by itself

from bulkstatus import AsyncClient
from bulkstatus.testing import Fault, Life, load_fake, serve

PROVIDERS = ("weavr", "cloudflare", "druid")
# Of twelve bulks. Cloudflare has no list and says with each answer what is left of 1,200 requests in five minutes: the
# looks at more bulks would become rarer than their steps.
_SHARES = ("weavr",) * 6 + ("cloudflare",) + ("druid",) * 5
TRANSPORTS = ("httpx", "aiohttp")
_SAMPLE_EVERY = 5.0
_MIB = 1024 * 1024
# What a process takes until its caches, its pools and its journal have their size.
_WARM = 360.0
_LONGEST_WAIT = 600.0
_GOALS = {"growth": 5.0, "files": 2, "threads": 2}


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - a command line


# --- the providers, in a process of their own ---


class Plan(NamedTuple):
    """What will become of one bulk: its provider, its words with their times, and how that has to be told."""

    provider: str
    steps: tuple[tuple[float, str], ...]
    states: tuple[str, ...]
    failing: int

    def owed(self) -> tuple[str, ...]:
        """The states that stood for longer than the longest time between two looks, and the end."""
        kept = []
        for ((begin, _), (until, _)), state in zip(pairwise(self.steps), self.states, strict=False):
            if until - begin > 15 + 4.4 * (1 + until) ** 0.5:
                kept.append(state)
        return (*kept, self.states[-1])


_ENDS = {
    "weavr": (
        ("COMPLETED", "succeeded", 0),
        ("PARTIALLY_COMPLETED", "partial", 7),
        ("FAILED", "failed", 0),
        ("CANCELLED", "cancelled", 0),
    ),
    "cloudflare": (("completed", "succeeded", 0), ("failed", "failed", 0)),
    "druid": (("completed", "succeeded", 0), ("completed", "partial", 3), ("failed", "failed", 0)),
}
_BEGINS = {
    "weavr": (("SUBMITTED", "queued"), ("RUNNING", "running")),
    "cloudflare": (("pending", "queued"), ("running", "running")),
    "druid": (("received", "queued"), ("processing", "running")),
}


def made_up(provider: str, dice: random.Random) -> Plan:
    """A life of about a minute."""
    word, state, failing = dice.choice(_ENDS[provider])
    (first, queued), (second, running) = _BEGINS[provider]
    begun = dice.uniform(2, 50)
    ended = begun + dice.uniform(5, 70)
    return Plan(provider, ((0.0, first), (begun, second), (ended, word)), (queued, running, state), failing)


def _fault(dice: random.Random) -> Fault:
    """One of the things that go wrong in a day."""
    return dice.choice(
        (
            Fault(status=500),
            Fault(status=503, headers={"Retry-After": "1"}),
            Fault(status=429, headers={"Retry-After": "1"}),
            Fault(status=502, body=b"<html>bad gateway", headers={"Content-Type": "text/html"}),
            Fault(status=200, body=b"<html>please log in", headers={"Content-Type": "text/html"}),
            Fault(status=200, body=b'{"id": "cut'),
            Fault(status=200, body=b"{}", headers={"Content-Length": "7"}),
            Fault(drop=True),
            Fault(delay=dice.uniform(0.2, 3)),
        )
    )


def _shaky(provider: str, share: float, seed: int):
    """The fake of a provider that lets so large a share of all requests go wrong."""
    base = load_fake(provider)
    dice = random.Random(f"{provider} {seed}")

    class Shaky(base):
        asked = faulty = 0

        def _take_fault(self, path: str) -> Fault | None:
            self.asked += 1
            if len(self.requests) > 1_000:
                del self.requests[:500]  # the log of a day does not fit into memory
            if dice.random() >= share:
                return super()._take_fault(path)
            self.faulty += 1
            return _fault(dice)

    return Shaky()


def _providers(pipe, share: float, seed: int) -> None:
    """Serve the fakes and do what the watchers ask for, until told to end."""
    fakes = {provider: _shaky(provider, share, seed) for provider in PROVIDERS}
    with ExitStack() as stack:
        pipe.send({provider: stack.enter_context(serve(fake)) for provider, fake in fakes.items()})
        while (order := pipe.recv()) is not None:
            what, provider, id, steps, failing = order
            fake = fakes[provider]
            if what == "add":
                more = {"weavr": {"failing": failing}, "druid": {"failed": failing}, "cloudflare": {}}
                fake.add(id, Life.of(*steps), **more[provider])
            else:
                fake.remove(id)
            pipe.send(True)
        pipe.send({provider: (fake.asked, fake.faulty) for provider, fake in fakes.items()})


# --- one process that watches ---


class Watcher:
    """Waits for bulk after bulk and takes down what was told of each."""

    def __init__(self, client: AsyncClient, pipe, name: str, seed: int) -> None:
        self._client = client
        self._pipe = pipe
        self._turn = asyncio.Lock()
        self._thread = ThreadPoolExecutor(
            1
        )  # one, since each thread of a process has an arena of memory of its own
        self._name = name
        self._seed = seed
        self.found: Counter[str] = Counter()
        self.examples: list[str] = []

    async def _order(self, *order: object) -> None:
        async with self._turn:
            self._pipe.send(order)
            await asyncio.get_running_loop().run_in_executor(self._thread, self._pipe.recv)

    async def slot(self, number: int, until: float) -> None:
        """One of the bulks that are waited for at any time: another one takes its place when it has ended."""
        dice = random.Random(f"{self._name} {number} {self._seed}")
        generation = 0
        await asyncio.sleep(dice.uniform(0, 10))
        while time.monotonic() < until:
            plan = made_up(_SHARES[number % len(_SHARES)], dice)
            generation += 1
            # Ids that all three providers' grammars take: digits alone.
            id = f"{TRANSPORTS.index(self._name) + 1}{number:04d}{generation:06d}"
            await self._order("add", plan.provider, id, plan.steps, plan.failing)
            await self._watch(f"{plan.provider}:{id}", plan)
            await self._order("remove", plan.provider, id, (), 0)

    async def _watch(self, ref: str, plan: Plan) -> None:
        told: list[str] = []
        blind: list[str] = []

        async def note(change) -> None:
            self.found["changes"] += 1
            if change.status is not None and change.kind in ("state", "verdict"):
                told.append(str(change.status.state))
            if change.failure is not None:
                self.found["blind for a while"] += 1
                blind.append(f"{change.kind}: {change.failure.message}")

        outcome = await self._client.wait([ref], timeout=_LONGEST_WAIT, on_change=note)
        verdict = str(outcome[ref].verdict)
        kept = [str(step.to_state) for step in await self._client.history(ref)]
        await self._client.untrack([ref])
        self.found["ends"] += 1
        self._compare(ref, verdict == plan.states[-1], "wrong", f"{verdict}, not {plan.states[-1]}")
        for state in plan.owed():
            self._compare(ref, state in told, "missed", f"{state} not told: {told} {blind}")
            self._compare(ref, state in kept, "unkept", f"{state} not in the journal: {kept}")
        strange = sorted(set(told) - set(plan.states) - {"unknown"})
        self._compare(ref, not strange, "wrong", f"was never {strange}")

    def _compare(self, ref: str, holds: bool, what: str, example: str) -> None:  # noqa: FBT001 - what is compared
        if not holds:
            self.found[what] += 1
            if len(self.examples) < 20:
                self.examples.append(f"{ref}: {what}: {example}")


class _Count(logging.Handler):
    """Counts what asyncio and others report as an error that nobody handled."""

    def __init__(self, found: list[str]) -> None:
        super().__init__(logging.ERROR)
        self._found = found

    def emit(self, record: logging.LogRecord) -> None:
        self._found.append(record.getMessage()[:200])


async def _sample(samples: list[tuple[float, float, int, int, int]], until: float) -> None:
    process = psutil.Process()
    began = time.monotonic()
    while time.monotonic() < until:
        gc.collect()
        samples.append(
            (
                time.monotonic() - began,
                process.memory_info().rss / _MIB,
                process.num_fds(),
                threading.active_count(),
                len(gc.get_objects()),
            )
        )
        await asyncio.sleep(_SAMPLE_EVERY)


async def _soak(name: str, options: argparse.Namespace, pipe, urls: dict[str, str], folder: str):
    unhandled: list[str] = []
    logging.getLogger().addHandler(_Count(unhandled))
    sys.unraisablehook = lambda problem: unhandled.append(repr(problem.exc_value))
    threading.excepthook = lambda problem: unhandled.append(repr(problem.exc_value))
    sources = {provider: load_fake(provider)().adapter(urls[provider]) for provider in PROVIDERS}
    until = time.monotonic() + options.minutes * 60
    samples: list[tuple[float, float, int, int, int]] = []
    async with AsyncClient(sources, journal=Path(folder) / f"{name}.db") as client:
        watcher = Watcher(client, pipe, name, options.seed)
        # The last bulks end within two minutes of the time that was asked for.
        await asyncio.gather(
            _sample(samples, until),
            *(watcher.slot(number, until) for number in range(options.bulks)),
        )
    return watcher, samples, unhandled


def _watch(name: str, options: argparse.Namespace, pipe, urls: dict[str, str], results) -> None:
    os.environ["BULKSTATUS_TRANSPORT"] = name
    with tempfile.TemporaryDirectory() as folder:
        watcher, samples, unhandled = asyncio.run(_soak(name, options, pipe, urls, folder))
    results.put((name, dict(watcher.found), watcher.examples, samples, unhandled))


# --- what came of it ---


def slope(samples: list[tuple[float, ...]], column: int) -> float:
    """By how much a column grows in an hour: the line that fits the samples best."""
    times = [sample[0] for sample in samples]
    values = [sample[column] for sample in samples]
    middle, level = sum(times) / len(times), sum(values) / len(values)
    spread = sum((at - middle) ** 2 for at in times)
    rise = sum((at - middle) * (value - level) for at, value in zip(times, values, strict=True))
    return 3600 * rise / spread if spread else 0.0


def figures(
    found: dict[str, int], samples: list[tuple[float, ...]], unhandled: list[str]
) -> dict[str, float]:
    """What a watcher came to."""
    warm = [sample for sample in samples if sample[0] >= min(_WARM, samples[-1][0] / 2)]
    last = warm[len(warm) // 2 :]
    return {
        "ends": found.get("ends", 0),
        "changes": found.get("changes", 0),
        "blind for a while": found.get("blind for a while", 0),
        "missed": found.get("missed", 0),
        "wrong": found.get("wrong", 0),
        "not in the journal": found.get("unkept", 0),
        "unhandled": len(unhandled),
        "MiB at first": round(samples[0][1], 1),
        "MiB warm": round(warm[0][1], 1),
        "MiB at last": round(samples[-1][1], 1),
        "growth, MiB an hour": round(slope(warm, 1), 1),
        "growth in the last half": round(slope(last, 1), 1),
        "objects more in an hour": round(slope(warm, 4)),
        "files": samples[-1][2] - warm[0][2],
        "threads": samples[-1][3] - warm[0][3],
    }


def missed_goals(name: str, row: dict[str, float]) -> list[str]:
    """The goals that a watcher's figures miss."""
    zero = [key for key in ("missed", "wrong", "not in the journal", "unhandled") if row[key]]
    bounds = (
        ("growth, MiB an hour", _GOALS["growth"]),
        ("files", _GOALS["files"]),
        ("threads", _GOALS["threads"]),
    )
    over = [key for key, most in bounds if row[key] > most]
    return [f"{name}: {key} is {row[key]}" for key in (*zero, *over)]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--minutes", type=float, default=20.0, help="how long")
    parser.add_argument("--bulks", type=int, default=200, help="how many are waited for at any time")
    parser.add_argument("--faults", type=float, default=0.05, help="the share of requests that go wrong")
    parser.add_argument("--transport", choices=(*TRANSPORTS, "both"), default="both")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write all samples there")
    parser.add_argument("--check", action="store_true", help="exit 1 when a goal is missed")
    return parser.parse_args()


def main() -> None:
    """The command."""
    options = _options()
    names = TRANSPORTS if options.transport == "both" else (options.transport,)
    spawn = multiprocessing.get_context("spawn")
    results = spawn.Queue()
    pipes, children = {}, []
    for name in names:
        ours, theirs = spawn.Pipe()
        servers = spawn.Process(target=_providers, args=(theirs, options.faults, options.seed))
        servers.start()
        pipes[name] = ours
        watcher = spawn.Process(target=_watch, args=(name, options, ours, ours.recv(), results))
        watcher.start()
        children += [servers, watcher]
    wrong = []
    rows, samples = {}, {}
    for _ in names:
        name, found, examples, taken, unhandled = results.get()
        pipes[name].send(None)
        counts = pipes[name].recv()
        row = {
            "requests": sum(asked for asked, _ in counts.values()),
            "faults": sum(faulty for _, faulty in counts.values()),
            **figures(found, taken, unhandled),
        }
        rows[name], samples[name] = row, taken
        wrong += missed_goals(name, row)
        for line in (*examples, *unhandled[:20]):
            _say(f"{name}: {line}")
    for child in children:
        child.join()
    _say(f"\n{options.minutes:g} minutes, {options.bulks} bulks, {options.faults:.0%} faults")
    _say("| " + " | ".join(["", *rows]) + " |\n|" + "---|" * (len(rows) + 1))
    for key in next(iter(rows.values())):
        _say(f"| {key} | " + " | ".join(f"{row[key]:,}" for row in rows.values()) + " |")
    if options.json:
        options.json.write_text(json.dumps({"figures": rows, "samples": samples}))
    for line in wrong:
        _say(f"MISSED {line}")
    sys.exit(bool(wrong and options.check))


if __name__ == "__main__":
    main()
