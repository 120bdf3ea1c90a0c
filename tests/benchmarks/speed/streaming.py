"""A bulk of 10,000 operations, streamed to JSONL by the command line, and what the journal writes in a second."""

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.journal import write_for
from benchmarks.speed.children import Cost, cost, in_child
from benchmarks.speed.measure import Fact, Spread

ROWS = 10_000
_ID = "112233445566000000"


def streamed(base: str, rows: int, transport: str) -> Cost:
    """`bulkstatus operations -o jsonl` of a bulk with so many, each of which is written."""
    with tempfile.TemporaryDirectory() as name:
        config, out = Path(name) / "bulkstatus.toml", Path(name) / "operations.jsonl"
        config.write_text(
            f'[sources.w]\nprovider = "weavr"\napi_key = "{"k" * 20}"\nauth_token = "{"t" * 20}"\n'
            f'base_url = "{base}/0/{rows}/multi"\nallow_plaintext = true\nbudget = []\n'
        )
        config.chmod(0o600)
        command = [sys.executable, "-m", "bulkstatus.cli", "operations", f"w:{_ID}", "-o", "jsonl"]
        environment = {**os.environ, "XDG_STATE_HOME": name, "BULKSTATUS_TRANSPORT": transport}
        found = cost([*command, "--config", str(config)], environment, str(out))
        with out.open("rb") as file:
            written = sum(1 for _ in file)
    if written != rows:
        raise RuntimeError(f"{written} rows in place of {rows}")
    return found


def measured(base: str, rounds: int) -> Iterator[Fact]:
    """Over both transports."""
    found: dict[str, list[Cost]] = {"httpx": [], "aiohttp": []}
    for _ in range(rounds):
        for transport, runs in found.items():
            runs.append(streamed(base, ROWS, transport))
    what = f"{ROWS:,} operations to JSONL, the whole command"
    for transport, runs in found.items():
        yield Fact(what, transport, Spread.of([run.time for run in runs]), "s")
        yield Fact(f"{what}: CPU", transport, Spread.of([run.cpu for run in runs]), "s")
        yield Fact(f"{what}: memory in all", transport, Spread.of([run.memory for run in runs]), "MiB")


def journal(rounds: int, seconds: float) -> Iterator[Fact]:
    """Steps written a second, each on the disk before it counts, by 1 and by 8 processes."""
    shapes = [(processes, batch) for processes in (1, 8) for batch in (1, 50)]
    rates: dict[tuple[int, int], list[float]] = {shape: [] for shape in shapes}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(rounds):
            for processes, batch in shapes:
                path = Path(folder) / f"{number}-{processes}-{batch}.db"
                rates[processes, batch].append(in_child(write_for, path, seconds, processes, batch))
    for (processes, batch), found in rates.items():
        writers = "1 process" if processes == 1 else f"{processes} processes"
        yield Fact(
            "steps written to the journal a second", f"{writers}, {batch} at a time", Spread.of(found), "1/s"
        )
