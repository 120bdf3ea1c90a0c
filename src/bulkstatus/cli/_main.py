"""What every command has in common: signals, what becomes of errors, and how the process ends."""

import atexit
import errno
import gc
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from types import ModuleType
from typing import NoReturn, cast

from bulkstatus import BulkStatusError, Failure
from bulkstatus.cli import _exit
from bulkstatus.cli._text import STDIN, failure_line, say, settle_stderr, tell

_LINE = 4096
_LAST_WORDS = 0.1
_A_MOMENT = 0.01
_ENDING = ("SIGTERM", "SIGHUP")
_OUTPUT = (errno.EPIPE, errno.ENOSPC, errno.EFBIG, errno.EIO, errno.EDQUOT)


def run(tokens: Sequence[str], *, alone: bool) -> int:
    """Run the command that `tokens` name, as `bulkstatus.cli.main` promises. Return its exit code.

    `alone` says that the process was started for it, so that what counts for the whole process may be decided here.
    """
    if alone:
        # httpx does without a command line of its own, two fifths of its import's time, where there is none.
        cast("dict[str, ModuleType | None]", sys.modules).setdefault("httpx._main", None)
    return ended(lambda: _run(tokens, alone=alone))


def ended(work: Callable[[], int]) -> int:
    """The exit code that `work` returns; or the end of the process, when a signal or its output ends it."""
    try:
        try:
            code = work()
            sys.stdout.flush()
            settle_stderr()
        except BrokenPipeError:
            raise
        except OSError as error:
            by_signal = _exit.for_signal(error)  # as when the terminal is gone
            if by_signal is None:
                say(f"cannot write the output: {error.strerror}")
            _leave(by_signal or _exit.BLIND)
    except (KeyboardInterrupt, _exit.Ended) as signalled:
        _leave(_exit.for_signal(signalled) or _exit.INTERRUPTED)
    except BrokenPipeError:
        _leave(_exit.BROKEN_PIPE)
    return code


def _prepare() -> None:
    """Make stdout take any text, and SIGTERM and SIGHUP end the command as tidily as an interrupt."""
    if sys.stdout is None:  # closed by whoever started us (`>&-`)
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - it stays open to the end
        atexit.register(sys.stdout.close)
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="backslashreplace")

    def end(number: int, _frame: object) -> NoReturn:
        raise _exit.Ended(_exit.SIGNALLED + number)

    for number in filter(None, map(_number, _ENDING)):
        # One that whoever started us has ignored stays so, as under nohup.
        if signal.getsignal(number) is not signal.SIG_IGN:
            with suppress(ValueError):  # not on the main thread: signals are somebody else's
                signal.signal(number, end)


def _raise_again(lost: "sys.UnraisableHookArgs") -> None:
    """Send a signal once more whose exception came where Python can only drop it, as in a callback of the importer."""
    error = lost.exc_value
    code = _exit.for_signal(error) if isinstance(error, KeyboardInterrupt | _exit.Ended) else None
    if code is None:
        sys.__unraisablehook__(lost)
        return

    def send() -> None:
        time.sleep(_A_MOMENT)  # until the callback is over
        # To the thread that may be waiting for something: only there does it end that.
        signal.pthread_kill(threading.main_thread().ident or 0, code - _exit.SIGNALLED)

    threading.Thread(target=send, daemon=True).start()


def _number(name: str) -> signal.Signals | None:
    return getattr(signal, name, None)  # Windows has no SIGHUP


def _leave(code: int) -> NoReturn:
    """End the process now. What still runs on other threads is not waited for: it may hang on a name server."""
    for number in filter(None, (signal.SIGINT, *map(_number, _ENDING))):
        with suppress(ValueError):  # as below; one more would end this with a traceback
            signal.signal(number, signal.SIG_IGN)
    # Nor is a reader that takes nothing, such as a pager which shows its first page.
    flushing = threading.Thread(target=_flush, daemon=True)
    flushing.start()
    flushing.join(_LAST_WORDS)
    os._exit(code)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):  # a stream may be closed, or None
            stream.flush()


def _run(tokens: Sequence[str], *, alone: bool) -> int:
    _prepare()
    if alone and hasattr(signal, "pthread_kill"):  # Windows has none
        sys.unraisablehook = _raise_again
    with _uncollected() if alone else nullcontext():
        from cyclopts import CycloptsError

        from bulkstatus.cli._app import app

    try:
        code = app(
            [STDIN if token == "-" else token for token in tokens],  # noqa: S105 - no password
            exit_on_error=False,
            print_error=False,
        )
    except CycloptsError as error:
        _explain_usage(tokens, str(error))
        return _exit.USAGE
    except BulkStatusError as error:
        say(failure_line(Failure.of(error)))
        return _exit.for_kind(error.kind)
    except SystemExit as error:
        # rich ends the process with 1 when the reader of the help has gone.
        return _exit.BROKEN_PIPE if error.code == 1 else _exit.OK
    except Exception as error:  # the last resort: one line in place of a traceback
        if isinstance(error, OSError) and error.errno in _OUTPUT:
            raise
        _explain_bug(error)
        return _exit.BUG
    return code if isinstance(code, int) else _exit.OK


@contextmanager
def _uncollected() -> Generator[None]:
    """Have what is made here taken for what stays to the end of the process.

    Imports leave much and no garbage: looking for cycles in it, now and at the end, takes a sixth of a short command.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_on:
            gc.enable()


def _explain_usage(tokens: Sequence[str], why: str) -> None:
    from bulkstatus.cli._app import command_of

    words = " ".join(("bulkstatus", *command_of(tokens)))
    say(f"{' '.join(why.replace(STDIN, '-').split())} See '{words} --help'.", limit=_LINE)


def _explain_bug(error: Exception) -> None:
    from bulkstatus.cli._options import is_verbose

    if is_verbose():
        for line in "".join(traceback.format_exception(error)).splitlines():
            tell(line, limit=_LINE)
    hint = "please report it" if is_verbose() else "run again with -v for the traceback"
    say(f"internal error ({type(error).__name__}); {hint}")
