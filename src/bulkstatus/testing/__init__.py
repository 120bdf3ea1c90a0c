"""The door for tests: fakes of providers, what they go through, and clients that reach them.

::

    from bulkstatus.testing import Fakes, outage, partial, queued, running, throttled

    with Fakes() as fakes:
        ref = fakes.add("payments", "weavr", queued(2), running(10), throttled(retry_after=1), partial(failed=3))
        fakes.fail("payments", outage(8), after=5)
        print(fakes.client.wait([ref]).verdicts)

A fake follows the provider's documentation, not this library's code. Every fake can be told to fail, and keeps a log
of the requests it got. `serve` puts one on a real socket; `FakeTransport` answers in process. With pytest, the
fixture `bulkstatus_fakes` gives a `Fakes`.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bulkstatus.testing._fake import (
        Fake,
        FakeBulk,
        FakeRequest,
        FakeResponse,
        Fault,
        Life,
        ManualClock,
        Progress,
        Stage,
    )
    from bulkstatus.testing._fakes import Fakes
    from bulkstatus.testing._registry import fake_names, load_fake
    from bulkstatus.testing._scenario import BulkScript, Scenario, SourceScript
    from bulkstatus.testing._server import serve
    from bulkstatus.testing._steps import (
        InState,
        Vanished,
        cancelled,
        delayed,
        dropped,
        expired,
        failed,
        outage,
        partial,
        paused,
        queued,
        refused,
        running,
        says,
        succeeded,
        throttled,
        vanished,
    )
    from bulkstatus.testing._transport import FakeTransport

__all__ = [
    "BulkScript",
    "Fake",
    "FakeBulk",
    "FakeRequest",
    "FakeResponse",
    "FakeTransport",
    "Fakes",
    "Fault",
    "InState",
    "Life",
    "ManualClock",
    "Progress",
    "Scenario",
    "SourceScript",
    "Stage",
    "Vanished",
    "cancelled",
    "delayed",
    "dropped",
    "expired",
    "failed",
    "fake_names",
    "load_fake",
    "outage",
    "partial",
    "paused",
    "queued",
    "refused",
    "running",
    "says",
    "serve",
    "succeeded",
    "throttled",
    "vanished",
]

# Loaded at first use: the pytest plugin lies in this package, and is imported by every pytest that finds bulkstatus.
_MODULES = {
    "_fake": (
        "Fake",
        "FakeBulk",
        "FakeRequest",
        "FakeResponse",
        "Fault",
        "Life",
        "ManualClock",
        "Progress",
        "Stage",
    ),
    "_fakes": ("Fakes",),
    "_registry": ("fake_names", "load_fake"),
    "_scenario": ("BulkScript", "Scenario", "SourceScript"),
    "_server": ("serve",),
    "_transport": ("FakeTransport",),
}
_LAZY = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'bulkstatus.testing' has no attribute {name!r}")
    from importlib import import_module

    module = import_module(f"bulkstatus.testing.{_LAZY.get(name, '_steps')}")
    value: object = getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
