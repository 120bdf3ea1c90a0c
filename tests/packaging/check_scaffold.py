"""Hold what `bulkstatus new-adapter` writes, and what the guide makes of it, against the checkers it is set up for.

Run it in an environment with the group `check`: `.venv/bin/python tests/packaging/check_scaffold.py`.
"""

import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).parents[1]))

from bulkstatus.cli import _scaffold
from guide import follow

CHECKS = (
    ["ruff", "check", "--no-cache"],
    ["mypy", "--cache-dir", os.devnull],
    ["pyright", "--pythonpath", sys.executable],
)


def check(package, *checks):
    """Run checkers in the folder of a package; how many found something."""
    broken = 0
    for program, *options in checks:
        done = subprocess.run(
            [sys.executable, "-m", program, *options],
            cwd=package,
            env={**os.environ, "MYPYPATH": "src", "PYTHONPATH": "src"},
            check=False,
        )
        broken += done.returncode != 0
    return broken


def main():
    """Check both packages; the exit code."""
    with TemporaryDirectory() as folder:
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()):  # what comes next is not for us
            _scaffold.new_adapter("acme", Path(folder))
            guide = follow(Path(folder))
        scaffold = Path(folder) / "bulkstatus-acme"
        broken = check(scaffold, ["ruff", "format", "--check"], *CHECKS)
        # Blocks that are put in the place of others leave empty lines, as they do in an editor.
        broken += check(guide, ["ruff", "format", "--quiet"], *CHECKS)
    return min(broken, 1)


if __name__ == "__main__":
    sys.exit(main())
