"""Goal 13: what starting the command line costs, beside bare Python and the official client."""

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.speed.asking import ACCOUNT, ID
from benchmarks.speed.children import Cost, cost
from benchmarks.speed.measure import Fact, Goal, Spread, ratios

_SDK = """
import sys
from cloudflare import Cloudflare
client = Cloudflare(api_token="t" * 40, base_url=sys.argv[1])
print(client.rules.lists.bulk_operations.get(sys.argv[3], account_id=sys.argv[2]).status)
"""


def _compiled(folder: str) -> dict[str, str]:
    """An environment in which Python compiles what it imports once, into `folder`, as installers do.

    Where it writes no bytecode, a tree that was not installed would be compiled by every process, and its peers not.
    """
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": folder}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    return environment


def measured(base: str, rounds: int) -> Iterator[Goal | Fact]:
    """Each command in turn, round after round, after one that is not counted."""
    url = f"{base}/0/client/v4"
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "bulkstatus.toml"
        config.write_text(
            f'[sources.edge]\nprovider = "cloudflare"\naccount_id = "{ACCOUNT}"\ntoken = "{"t" * 40}"\n'
            f'base_url = "{url}"\nallow_plaintext = true\n'
        )
        config.chmod(0o600)
        home = {**_compiled(folder), "XDG_STATE_HOME": folder}
        ours = [sys.executable, "-m", "bulkstatus.cli"]
        get = [*ours, "get", f"edge:{ID}", "--config", str(config), "-o", "name", "--fresh"]
        commands: dict[str, tuple[list[str], dict[str, str]]] = {
            "python": ([sys.executable, "-c", "pass"], home),
            "--version": ([*ours, "--version"], home),
            "sdk": ([sys.executable, "-c", _SDK, url, ACCOUNT, ID], home),
            "get, httpx": (get, {**home, "BULKSTATUS_TRANSPORT": "httpx"}),
            "get, aiohttp": (get, {**home, "BULKSTATUS_TRANSPORT": "aiohttp"}),
        }
        for command, environment in commands.values():
            cost(command, environment)
        costs: dict[str, list[Cost]] = {name: [] for name in commands}
        for _ in range(rounds):
            for name, (command, environment) in commands.items():
                costs[name].append(cost(command, environment))
        lasted = {name: [one.time for one in found] for name, found in costs.items()}
        yield Goal("13", "--version / bare Python", "", ratios(lasted, "--version", "python"), 2.5)
        for name in ("get, httpx", "get, aiohttp"):
            where = name.removeprefix("get, ")
            yield Goal("13", "one get / the SDK's process", where, ratios(lasted, name, "sdk"), 0.5)
        for name, found in costs.items():
            yield Fact(f"{name}: process", "", Spread.of(lasted[name]).scaled(1000), "ms")
            yield Fact(f"{name}: CPU", "", Spread.of([one.cpu for one in found]).scaled(1000), "ms")
            yield Fact(f"{name}: memory", "", Spread.of([one.memory for one in found]), "MiB")
