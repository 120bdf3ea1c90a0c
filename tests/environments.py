"""Distributions that are built, and fresh environments that they are installed into. Nothing comes from an index."""

import json
import os
import subprocess
import sys
import zipfile
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

# One of each distribution that an environment of bulkstatus[cli] with pytest needs.
_DEPENDENCIES = ("anyio", "cyclopts", "dateutil", "httpx", "msgspec", "pytest", "rich", "stamina")
_KEPT = ("PATH", "SYSTEMROOT", "TMPDIR", "HOME", "XDG_CONFIG_HOME")


def run(*command, cwd=None):
    """Run a program; its output, or its complaint as the failure."""
    done = subprocess.run(
        [*map(str, command)], cwd=cwd, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def build(source, out, kind):
    """Build one distribution of `source`, with the build backend at hand if there is one."""
    at_hand = ["--no-isolation"] if find_spec("hatchling") else []
    run(sys.executable, "-m", "build", f"--{kind}", *at_hand, "--outdir", out, source)
    (found,) = Path(out).iterdir()
    return found


def dependency_places():
    """The folders that hold what bulkstatus, its command line and its contract need: mostly one."""
    return sorted({str(Path(find_spec(name).origin).parents[1]) for name in _DEPENDENCIES})


def pack(folder, name, files, points):
    """A wheel of these files, made by hand, with the text `points` as its entry points."""
    module = name.replace("-", "_")
    wheel = folder / f"{module}-1.0-py3-none-any.whl"
    info = f"{module}-1.0.dist-info"
    contents = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: by hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": points,
    }
    record = "".join(f"{path},,\n" for path in [*contents, f"{info}/RECORD"])
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in {**contents, f"{info}/RECORD": record}.items():
            archive.writestr(path, text)
    return wheel


class Environment:
    """A virtual environment with wheels of ours in it, and the dependencies of this one in sight.

    Only by a line of a `.pth`: such a place comes after what is installed, and its own `.pth` files, by which an
    editable installation leads to the working tree, are not read.
    """

    def __init__(self, folder):
        self.folder = folder
        run(sys.executable, "-m", "venv", "--without-pip", folder)
        self.programs = folder / ("Scripts" if os.name == "nt" else "bin")
        self.python = self.programs / Path(sys.executable).name
        self.site = Path(
            run(self.python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
        )

    def install(self, *wheels):
        """Install wheels, and these alone."""
        options = ("--quiet", "--no-deps", "--no-index", "--disable-pip-version-check", "--no-compile")
        run(sys.executable, "-m", "pip", "--python", self.python, "install", *options, *wheels)

    def see_dependencies(self):
        """Let the environment see what bulkstatus and its command line need."""
        (self.site / "dependencies.pth").write_text("".join(f"{place}\n" for place in dependency_places()))

    def call(self, *words, cwd=None, **variables):
        """Run one of its programs, warnings being errors; what it wrote and its code."""
        program, *arguments = words
        done = subprocess.run(
            [str(self.programs / program), *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=300,
            stdin=subprocess.DEVNULL,
            cwd=cwd or self.folder,
            env=self.variables(**variables),
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return SimpleNamespace(code=done.returncode, out=done.stdout, err=done.stderr)

    def json(self, *words, **variables):
        """What `bulkstatus` prints as JSON, and its code."""
        done = self.call("bulkstatus", *words, "-o", "json", **variables)
        assert done.out, done.err
        return json.loads(done.out), done.code

    @contextmanager
    def served(self, script, *arguments):
        """Run a script that prints a line when it is ready and ends when its stdin does; give that line."""
        with subprocess.Popen(
            [str(self.python), "-c", script, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=self.variables(),
        ) as child:
            try:
                line = child.stdout.readline().strip()
                assert line, "the script did not begin"
                yield line
            finally:
                child.stdin.close()

    def variables(self, **variables):
        """What its programs find in their environment: nothing of whoever runs these tests."""
        kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
        return {
            **kept,
            "PYTHONWARNINGS": "error",
            "LC_ALL": "C.UTF-8",
            "BULKSTATUS_TRANSPORT": "httpx",
            **variables,
        }
