"""Files that a person names: what a name leads to, and what may be read of it."""

import os
import stat
from pathlib import Path

from bulkstatus.errors import ConfigError

_LONGEST_PATH = 300


class NotAFile(OSError):
    """A folder, a pipe, a device: nothing that can be read to its end."""


def expanded(name: str | Path) -> Path:
    """A path whose `~` is the user's folder. Raises ConfigError when that cannot be found, and for what is no path."""
    shown = repr(str(name)[:_LONGEST_PATH])
    try:
        path = Path(name).expanduser()
    except RuntimeError:
        raise ConfigError(f"the user's folder in {shown} is not known") from None
    if "\0" in str(path):
        raise ConfigError(f"{shown} is not a path")
    return path


def read_file(path: Path, limit: int) -> tuple[bytes, int]:
    """The first `limit` bytes of a file, and one more if there is one; and its mode.

    Raises OSError: NotAFile for what is none, which is neither waited for nor read.
    """
    # Opened without blocking, so that a pipe cannot hang us before it is seen to be one; a terminal is not taken over.
    flags = sum(getattr(os, name, 0) for name in ("O_RDONLY", "O_NONBLOCK", "O_NOCTTY", "O_BINARY"))
    descriptor = os.open(path, flags)
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            raise NotAFile
        with os.fdopen(descriptor, "rb", closefd=False) as stream:
            return stream.read(limit + 1), mode
    finally:
        os.close(descriptor)
