"""What CPU is spent on: a clock interrupts the work each millisecond, and where it stands is counted.

Calls into C count for the Python function that makes them. Nothing is added to a call, so what is called often looks no
dearer than it is.
"""

import signal
import time
from collections import Counter
from collections.abc import Callable
from types import FrameType

_TICK = 0.001

Name = Callable[[FrameType], str | None]
"""What a frame counts for; None where its caller is to count."""


def shares(work: Callable[[], object], seconds: float, name: Name) -> dict[str, float]:
    """Of so many seconds of CPU, the share of each name, the largest first."""
    found: Counter[str] = Counter()

    def interrupted(_: int, frame: FrameType | None) -> None:
        while frame is not None and name(frame) is None:
            frame = frame.f_back
        found[(frame and name(frame)) or "elsewhere"] += 1

    before = signal.signal(signal.SIGPROF, interrupted)
    signal.setitimer(signal.ITIMER_PROF, _TICK, _TICK)
    try:
        began = time.process_time()
        while time.process_time() - began < seconds:
            work()
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
    total = found.total()
    return {one: count / total for one, count in found.most_common()}
