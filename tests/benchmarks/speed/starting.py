"""Goal 13: what starting the command line costs, beside bare Python and the official client, and what it is spent on."""

import os
import re
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks.speed.children import Cost, cost
from benchmarks.speed.measure import Fact, Goal, Spread, ratios
from benchmarks.speed.ways import ACCOUNT, ID

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
            "get": (get, {**home, "BULKSTATUS_TRANSPORT": "httpx"}),
            _FAST: (get, {**home, "BULKSTATUS_TRANSPORT": ""}),
        }
        for command, environment in commands.values():
            cost(command, environment)
        costs: dict[str, list[Cost]] = {name: [] for name in commands}
        for _ in range(rounds):
            for name, (command, environment) in commands.items():
                costs[name].append(cost(command, environment))
        lasted = {name: [one.time for one in found] for name, found in costs.items()}
        yield Goal("13", "--version / bare Python", "", ratios(lasted, "--version", "python"), 2.5)
        for name in ("get", _FAST):
            where = name.removeprefix("get").removeprefix(", ")
            yield Goal("13", "one get / the SDK's process", where, ratios(lasted, name, "sdk"), 0.5)
        for name, found in costs.items():
            yield Fact(f"{name}: process", "", Spread.of(lasted[name]).scaled(1000), "ms")
            yield Fact(f"{name}: CPU", "", Spread.of([one.cpu for one in found]).scaled(1000), "ms")
            yield Fact(f"{name}: memory", "", Spread.of([one.memory for one in found]), "MiB")
        spent: dict[str, list[float]] = {}
        for _ in range(rounds):
            for package, seconds in _imports(*commands["get"]).items():
                spent.setdefault(package, []).append(seconds)
        for package, taken in sorted(spent.items(), key=lambda one: -max(one[1]))[:_SHOWN]:
            yield Fact("get: imports", package, Spread.of(taken).scaled(1000), "ms")
    # The server here speaks plain http, for which our command reads none.
    trusted = Spread.of([_trusting() for _ in range(rounds)])
    yield Fact("certificates to trust, once a process, over https: CPU", "", trusted.scaled(1000), "ms")


_FAST = "get, `fast` installed"
_SHOWN = 8
_IMPORT = re.compile(r"import time:\s*(\d+) \|\s*\d+ \|\s*([\w.]+)")


def _imports(command: Sequence[str], environment: Mapping[str, str]) -> dict[str, float]:
    """Seconds that a Python command spends in the modules of each package while they are imported, by its own account."""
    python, *rest = command
    done = subprocess.run(
        [python, "-X", "importtime", *rest], check=True, capture_output=True, text=True, env=environment
    )
    found: dict[str, float] = {}
    for microseconds, module in _IMPORT.findall(done.stderr):
        package = module.partition(".")[0]
        name = "the standard library" if package in sys.stdlib_module_names else package
        found[name] = found.get(name, 0.0) + int(microseconds) / 1e6
    return found


def _trusting() -> float:
    began = time.process_time()
    ssl.create_default_context()
    return time.process_time() - began
