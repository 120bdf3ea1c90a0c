"""Where a secret could come out that nobody prints on purpose."""

from pathlib import Path
from traceback import format_exception_only, walk_tb

_OURS = str(Path(__file__).parent)


def frames(error):
    """All that a traceback with locals shows, of the error and of every error behind it.

    The frames of the tests themselves are left out: they hold what the code has no right to show.
    """
    shown, seen = [], []
    queue = [error]
    while queue:
        one = queue.pop()
        if one is None or one in seen:
            continue
        seen.append(one)
        queue += [one.__cause__, one.__context__]
        for frame, line in walk_tb(one.__traceback__):
            code = frame.f_code
            if not code.co_filename.startswith(_OURS):
                shown += [f"{code.co_qualname}:{line}"]
                shown += [f"{name} = {value!r}" for name, value in frame.f_locals.items()]
        shown += [*format_exception_only(one), repr(one), str(one), repr(vars(one))]
    return "\n".join(["Traceback", *shown])
