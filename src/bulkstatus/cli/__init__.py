"""The command line: `bulkstatus`.

It imports the public doors of the library only. stdout is data, stderr is everything else; the exit codes are those
of `_exit`. Modules that cost time (the HTTP client, rich) are imported by the commands that use them. This one imports
next to nothing, so that `--version`, which scripts ask first, costs little more than Python itself.
"""

import sys

from bulkstatus import __version__

TYPE_CHECKING = False  # importing that of `typing` costs a third of what Python itself takes to start
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

__all__ = ["main"]


def main(argv: "Sequence[str] | None" = None) -> int:
    """Run one command with the arguments `argv`, those of the process when None. Return its exit code.

    An interrupt (130), a termination (143), a terminal that was closed (129) and a reader that went away (141) end
    the process at once, with what was written kept.
    """
    tokens = sys.argv[1:] if argv is None else list(argv)
    if tokens == ["--version"]:
        return _say_version()
    from bulkstatus.cli._main import run

    return run(tokens, alone=argv is None)


def _say_version() -> int:
    try:
        print(__version__, flush=True)
    except (OSError, KeyboardInterrupt) as error:
        from bulkstatus.cli._main import ended

        why = error

        def fail() -> "NoReturn":
            raise why

        return ended(fail)
    return 0
