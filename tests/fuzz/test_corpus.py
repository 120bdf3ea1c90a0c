"""Every input that is kept, hand-made or found, holds what its target says. `run.py` looks for others."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fuzz.targets import TARGETS

HERE = Path(__file__).parent
KEPT = sorted(file for file in (HERE / "corpus").glob("*/*") if file.is_file())


@pytest.mark.parametrize("file", KEPT, ids=lambda file: f"{file.parent.name}-{file.name}")
def test_what_is_kept_holds(file):
    """Whatever was once found stays mended."""
    TARGETS[file.parent.name](file.read_bytes())


def test_every_target_has_a_corpus():
    """And every corpus a target."""
    assert {file.parent.name for file in KEPT} == set(TARGETS)


_PLANTED = '''
from bulkstatus._text import printable

def planted(data):
    """Fails for what begins with a capital."""
    assert not printable(data[:1].decode("latin-1")).isupper()

def sound(data):
    """Never fails."""

TARGETS = {"planted": planted, "sound": sound}
'''


@pytest.mark.parametrize("engine", ["atheris", "hypothesis"])
def test_a_run_keeps_what_it_finds(tmp_path, engine):
    """It says how many inputs each target had, keeps the one that a target failed for, and ends with 1."""
    if engine == "atheris":
        pytest.importorskip("atheris")
    (tmp_path / "planted_targets.py").write_text(_PLANTED)
    corpus = tmp_path / "corpus"
    command = [sys.executable, HERE / "run.py", "--runs", "300", "--corpus", corpus, "--engine", engine]
    found = subprocess.run(
        [*command, "--module", "planted_targets"],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    assert found.returncode == 1, found.stdout + found.stderr
    assert f"inputs by {engine}" in found.stdout
    (kept,) = (corpus / "planted").iterdir()
    assert kept.read_bytes()[:1].isupper()
    assert str(kept) in found.stdout
    counted = {line.split()[0]: line.split()[1::2] for line in found.stdout.splitlines() if line.strip()}
    assert counted["planted"][1] == "1"
    assert int(counted["sound"][0]) >= 300
    assert counted["sound"][1] == "0"
    assert list((corpus / "sound").iterdir()) == []
