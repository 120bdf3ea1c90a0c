"""The command line as a process, with a configuration of the test's own."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

PROGRAM = str(Path(sys.executable).with_name("bulkstatus"))


def command(*words, cwd=None, canaries=(), stdin=subprocess.DEVNULL, **environment):
    """Run `bulkstatus` with `words`; what it wrote and its code. None of the `canaries` may come out.

    The environment is the test's own, and `environment` on top; None takes a variable away.
    """
    variables = {**os.environ, "PYTHONWARNINGS": "error", "LC_ALL": "C.UTF-8", **environment}
    done = subprocess.run(
        [PROGRAM, *map(str, words)],
        stdin=stdin,
        capture_output=True,
        timeout=60,
        cwd=cwd,
        env={name: value for name, value in variables.items() if value is not None},
        check=False,
    )
    out, err = done.stdout.decode(), done.stderr.decode()
    assert "Traceback" not in err
    for secret in canaries:
        assert secret not in out + err
    return SimpleNamespace(code=done.returncode, out=out, err=err)
