"""Run a program of the user's for the secret that it prints: without a shell, without a terminal, and not for long."""

import os
import selectors
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from bulkstatus._paths import expanded
from bulkstatus._text import printable
from bulkstatus.errors import AuthError, ConfigError

LIMIT = 64 * 1024
"""So much is read of what a program prints, in bytes; more is no credential."""
_TIMEOUT = 10.0
_STEP = 0.02
_LAST_MOMENT = 1.0
_SHORTEST_WORD = 4
_LONGEST_NAME = 64
_LONGEST_COMPLAINT = 200


def words_of(command: str) -> list[str]:
    """The words of `command`, the first of them the full path of its program. Nothing is run.

    A program is a name that is looked for in the folders of PATH, or a full path (`~/` is the user's own folder). What
    is run never depends on the working directory, which may be a folder that somebody else filled: so a path below it
    is refused, and entries of PATH that are empty or relative do not count. Raises ConfigError, as the end of a
    sentence, for what cannot be run.
    """
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise ConfigError(f"holds a command that cannot be read: {printable(str(error), 80)}") from None
    if not words:
        raise ConfigError("has nothing behind cmd:")
    if "\0" in command:
        raise ConfigError("holds a command with a NUL in it")
    return [_program(words[0]), *words[1:]]


def _program(name: str) -> str:
    path = expanded(name)
    if path.is_absolute():
        places = [path]
    elif path.name == name:
        # One folder after the other: for a bare name, which() looks into the working directory on Windows.
        places = [Path(folder) / name for folder in os.get_exec_path() if Path(folder).is_absolute()]
    else:
        raise ConfigError(
            f"refers to the command {name[:_LONGEST_NAME]!r}, which depends on the working directory: give its full "
            "path (~/ is your folder), or the bare name of a program in PATH"
        )
    found = next(filter(None, map(shutil.which, places)), None)
    if found is None:
        raise ConfigError(
            f"refers to the command {name[:_LONGEST_NAME]!r}, which is not there or cannot be run; of PATH, only full "
            "paths count"
        )
    return str(found)


def output_of(words: list[str], folder: Path) -> bytes:
    """What a program prints when it is run in `folder`; its input is empty and there is no terminal to ask at.

    Raises AuthError when it fails, prints nothing or too much, or takes too long: with its complaint, and without what
    it printed. What goes on in the last two cases is ended, with all that it started.
    """
    shown = repr(printable(Path(words[0]).name, 64))
    run = _Run()
    try:
        status = run.to_its_end(words, folder)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it cannot be passed on"
        raise AuthError(f"{shown} cannot be run: {why}", reason="secret") from None
    if len(run.output) > LIMIT:
        raise AuthError(f"{shown} prints more than 64 KiB, so it is no credential", reason="secret")
    if status is None:
        fault = f"gave no secret within {_TIMEOUT:g} s"
    elif status:
        fault = f"ended with status {status}"
    elif not run.output.rstrip(b"\r\n"):
        fault = "printed no secret"
    else:
        return bytes(run.output)
    raise AuthError(f"{shown} {fault}", detail=run.complaint() or None, reason="secret")


class _Run:
    """The beginnings of what a program writes. The repr shows nothing of that."""

    def __init__(self) -> None:
        self.output, self._errors = bytearray(), bytearray()

    def to_its_end(self, words: list[str], folder: Path) -> int | None:
        """Run a program and give its status; None when it was ended from here. Raises OSError when it cannot be run."""
        process = subprocess.Popen(  # noqa: S603 - the user's own command, from the user's own file, without a shell
            words,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # A session of its own has no terminal, so that it cannot ask for a password behind our back.
            start_new_session=True,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
        ends = time.monotonic() + _TIMEOUT
        with _closing(process):
            try:
                self._read(process, ends)
                return process.wait(max(0.0, ends - time.monotonic()))
            except subprocess.TimeoutExpired:
                _end(process)
                return None

    def complaint(self) -> str:
        """The end of what it wrote to stderr, made printable, without the words of its output."""
        text = self._errors.decode("utf-8", "replace").strip()
        for word in sorted(self.output.decode("utf-8", "replace").split(), key=len, reverse=True):
            if len(word) >= _SHORTEST_WORD:
                text = text.replace(word, "***")
        return printable(text if len(text) <= _LONGEST_COMPLAINT else f"…{text[1 - _LONGEST_COMPLAINT :]}")

    def _read(self, process: subprocess.Popen[bytes], ends: float) -> None:
        """Read until the program has ended and all that it wrote is here, whoever else keeps its pipes open.

        Raises TimeoutExpired when that takes too long, or is too much.
        """
        if sys.platform == "win32":  # pragma: no cover - pipes cannot be selected from there
            output, errors = process.communicate(timeout=max(0.0, ends - time.monotonic()))
            self.output += output
            self._errors += errors
            return
        with selectors.DefaultSelector() as selector:
            for stream, kept in ((process.stdout, self.output), (process.stderr, self._errors)):
                assert stream is not None  # noqa: S101 - narrows for the checkers: both are pipes
                os.set_blocking(stream.fileno(), False)
                selector.register(stream, selectors.EVENT_READ, kept)
            while selector.get_map():
                has_ended = process.poll() is not None  # asked first: what it wrote is then in the pipes
                ready = selector.select(0.0 if has_ended else _STEP)
                for key, _ in ready:
                    chunk = os.read(key.fd, 4096)
                    if not chunk:
                        selector.unregister(key.fileobj)
                    elif key.data is self.output or len(self._errors) < LIMIT:
                        key.data.extend(chunk)
                if has_ended and not ready:
                    return
                if len(self.output) > LIMIT or time.monotonic() > ends:
                    raise subprocess.TimeoutExpired(process.args, _TIMEOUT)


@contextmanager
def _closing(process: subprocess.Popen[bytes]) -> Generator[None]:
    """Close this end of the pipes afterwards."""
    try:
        yield
    finally:
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a program that goes on, with all that it started and that is still in its group.

    Of one that has ended the number may be another's by now; what it left behind writes into a closed pipe.
    """
    if process.poll() is None:
        if sys.platform == "win32":  # pragma: no cover - it has no groups
            process.kill()
        else:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
        try:
            process.wait(_LAST_MOMENT)
        except subprocess.TimeoutExpired:
            # One that runs as another user (sudo, pkexec) cannot be ended from here. When it ends, somebody must see it.
            threading.Thread(target=process.wait, name="bulkstatus-command", daemon=True).start()
