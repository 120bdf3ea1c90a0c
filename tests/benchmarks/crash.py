"""Processes that wait for the same bulks and are killed at random: what the journal holds afterwards.

python tests/benchmarks/crash.py                        eight processes, fifty bulks, a minute of killing
python tests/benchmarks/crash.py --kills 0              the same, and nobody is killed
python tests/benchmarks/crash.py --seconds 600 --processes 4 --bulks 200

Three fakes are served on loopback. Each process is the command line, `bulkstatus wait ... -o jsonl`; one that is killed
goes on with `bulkstatus resume`. Ends with 1 unless every step that a bulk took stands in the journal once and in
order, every line that a process wrote before it was killed is among them, and every wait ended with right verdicts.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from bulkstatus import Journal
from bulkstatus.testing import Life, load_fake, serve

# Each word long enough for any process to see it, however slow its looks are.
_SHORTEST = 14.0
_LIVES = {
    "weavr": (
        ("SUBMITTED", "RUNNING", "PAUSED", "RUNNING", "COMPLETED"),
        ("SUBMITTED", "RUNNING", "CANCELLED"),
    ),
    "cloudflare": (("pending", "running", "completed"), ("pending", "running", "failed")),
    "druid": (("received", "processing", "completed"), ("received", "processing", "failed")),
}
# A fifth at Cloudflare: all processes together keep within its 1,200 requests in five minutes then, as the fake does.
_TURNS = ("weavr", "druid", "weavr", "druid", "cloudflare")
_SOURCES = {"weavr": "payments", "cloudflare": "edge", "druid": "crm"}
_CREDENTIALS = {
    "KEY": "S3CR3T-crash-key",
    "TOKEN": "S3CR3T-crash-token",
    "CF": "S3CR3T-crash-cf",
    "ID": "S3CR3T-crash-id",
    "SECRET": "S3CR3T-crash-secret",
}


class Bulk(NamedTuple):
    """A bulk and the words it goes through."""

    ref: str
    words: tuple[str, ...]


def fill(fakes: dict[str, object], number: int, seconds: float, chance: random.Random) -> list[Bulk]:
    """Bulks whose lives take all of the time."""
    made: list[Bulk] = []
    for index in range(number):
        word = _TURNS[index % len(_TURNS)]
        words = chance.choice(_LIVES[word])
        id = f"{index + 1:032x}" if word == "cloudflare" else str(index + 1)
        step = max(_SHORTEST, seconds / len(words))
        begins = [0.0, *(step * (turn + chance.uniform(-0.3, 0.3)) for turn in range(1, len(words)))]
        fakes[word].add(id, Life.of(*zip(begins, words, strict=True)))
        made.append(Bulk(f"{_SOURCES[word]}:{id}", words))
    return made


class Waiters:
    """The processes, each with the number of its wait."""

    def __init__(self, folder: Path, environment: dict[str, str], journal: Journal) -> None:
        self._folder = folder
        self._environment = environment
        self._journal = journal
        self.running: dict[int, subprocess.Popen[bytes]] = {}
        self.outputs: list[Path] = []
        self.codes: list[int] = []

    def begin(self, number: int, refs: str) -> None:
        """Start so many that wait for the same bulks, and give them time to record that they do."""
        started = {}
        for _ in range(number):
            process = self._start("wait", "-", "--pace", "eager", "-o", "jsonl", stdin=refs)
            started[process.pid] = process
        while len(self.running) < number:
            time.sleep(0.1)
            for wait in self._journal.waits():
                self.running[wait.id] = started[int(wait.waiter.rpartition(":")[2])]

    def _start(self, *words: str, stdin: str = "") -> subprocess.Popen[bytes]:
        output = self._folder / f"out-{len(self.outputs)}.jsonl"
        self.outputs.append(output)
        with output.open("wb") as stream, output.with_suffix(".err").open("wb") as errors:
            process = subprocess.Popen(
                [sys.executable, "-m", "bulkstatus.cli", *words],
                stdin=subprocess.PIPE,
                stdout=stream,
                stderr=errors,
                env=self._environment,
            )
        process.stdin.write(stdin.encode())
        process.stdin.close()
        return process

    def kill_one(self, chance: random.Random) -> bool:
        """Kill one and go on with what it waited for; False when none runs."""
        self.reap()
        if not self.running:
            return False
        number = chance.choice(list(self.running))
        self.running[number].kill()
        self.running[number].wait()
        self.running[number] = self._start("resume", str(number), "-o", "jsonl")
        return True

    def reap(self) -> None:
        """Take note of those that have ended."""
        for number, process in list(self.running.items()):
            if process.poll() is not None:
                del self.running[number]
                self.codes.append(process.returncode)


def configuration(urls: dict[str, str]) -> str:
    """A configuration that reaches the fakes."""
    return f"""
[sources.payments]
provider = "weavr"
base_url = "{urls["weavr"]}"
api_key = "env:KEY"
auth_token = "env:TOKEN"
budget = []
[sources.edge]
provider = "cloudflare"
base_url = "{urls["cloudflare"]}"
account_id = "023e105f4ecef8ad9ca31a8372d0c353"
token = "env:CF"
budget = []
[sources.crm]
provider = "druid"
api_base_url = "{urls["druid"]}"
client_id = "env:ID"
client_secret = "env:SECRET"
budget = []
"""


def judge(bulks: list[Bulk], waiters: Waiters, journal: Journal) -> list[str]:
    """What is wrong; nothing where all is well."""
    steps = list(journal.all_changes())
    seen: dict[str, list[str | None]] = {bulk.ref: [] for bulk in bulks}
    for step in steps:
        seen.setdefault(step.ref, []).append(step.to_word)
    return [
        *(
            f"{bulk.ref} went through {bulk.words}, and the journal has {seen[bulk.ref]}"
            for bulk in bulks
            if tuple(seen[bulk.ref]) != bulk.words
        ),
        *(f"{step.cursor} is marked as a step back" for step in steps if step.regressed),
        *_lost(waiters.outputs, {(step.ref, step.to_word) for step in steps}),
        *_waits(bulks, journal),
    ]


def _lost(outputs: list[Path], kept: set[tuple[str, str | None]]) -> Iterator[str]:
    """What processes told and the journal does not hold."""
    for output in outputs:
        for line in output.read_text().splitlines():
            if line.startswith('{"kind":"state"') and line.endswith("}"):
                change = json.loads(line)
                if (change["ref"], change["status"]["native_state"]) not in kept:
                    yield f"{output.name}: {change['ref']} was told and is not in the journal"


def _waits(bulks: list[Bulk], journal: Journal) -> Iterator[str]:
    """What is wrong with how the waits ended."""
    right = {bulk.ref: _verdict(bulk) for bulk in bulks}
    for wait in journal.waits(open_only=False):
        if wait.ended_at is None:
            yield f"wait {wait.id} is still open"
        elif wait.verdicts != right:
            yield f"wait {wait.id} ended with wrong verdicts"


def _verdict(bulk: Bulk) -> str:
    return {"completed": "succeeded"}.get(bulk.words[-1].lower(), bulk.words[-1].lower())


def play(arguments: argparse.Namespace) -> int:
    """Run it, print what came of it, and return the exit code."""
    chance = random.Random(arguments.seed)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        fakes = {
            "weavr": load_fake("weavr")(api_key="S3CR3T-crash-key", auth_token="S3CR3T-crash-token"),
            "cloudflare": load_fake("cloudflare")(token="S3CR3T-crash-cf"),
            "druid": load_fake("druid")(client_id="S3CR3T-crash-id", client_secret="S3CR3T-crash-secret"),
        }
        urls = {word: stack.enter_context(serve(fake)) for word, fake in fakes.items()}
        config = folder / "bulkstatus.toml"
        config.write_text(configuration(urls))
        journal = stack.enter_context(Journal(folder / "journal" / "journal.db"))
        environment = {
            **os.environ,
            **_CREDENTIALS,
            "BULKSTATUS_CONFIG": str(config),
            "BULKSTATUS_JOURNAL": str(journal.path),
        }
        bulks = fill(fakes, arguments.bulks, arguments.seconds, chance)
        waiters = Waiters(folder, environment, journal)
        refs = "\n".join(bulk.ref for bulk in bulks)
        waiters.begin(arguments.processes, refs)
        began, kills = time.monotonic(), 0
        while arguments.kills and time.monotonic() - began < arguments.seconds:
            time.sleep(chance.uniform(0, 2 / arguments.kills))
            kills += waiters.kill_one(chance)
        while waiters.running and time.monotonic() - began < 10 * arguments.seconds + 60:
            time.sleep(0.2)
            waiters.reap()
        for process in waiters.running.values():
            process.kill()
            process.wait()
        wrong = judge(bulks, waiters, journal)
        stats = journal.stats()
        print(  # noqa: T201 - a command line
            f"{arguments.processes} processes, {arguments.bulks} bulks, {kills} killed in {arguments.seconds:g} s:"
            f" {stats.transitions} steps of {sum(len(bulk.words) for bulk in bulks)}, {len(wrong)} wrong;"
            f" requests {sum(len(fake.requests) for fake in fakes.values())};"
            f" exit codes {dict(Counter(waiters.codes))}; {time.monotonic() - began:.0f} s"
        )
        for sentence in wrong[:20]:
            print(f"  {sentence}")  # noqa: T201 - as above
        if wrong and arguments.keep:
            subprocess.run(["cp", "-r", str(folder), arguments.keep], check=True)
    return 1 if wrong else 0


def main() -> int:
    """Read the arguments and play."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--bulks", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--kills", type=float, default=1.0, help="killed a second, on average; 0 for none")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--keep", help="where to keep everything when something is wrong")
    return play(parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
