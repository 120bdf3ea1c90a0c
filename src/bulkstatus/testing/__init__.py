"""The door for tests: fakes of providers, in process or on a loopback socket, and a clock to move them with.

A fake follows the provider's documentation, not this library's code. Every fake can be told to fail, and keeps a log
of the requests it got. `serve` puts one on a real socket; `FakeTransport` answers in process.
"""

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
from bulkstatus.testing._registry import fake_names, load_fake
from bulkstatus.testing._server import serve
from bulkstatus.testing._transport import FakeTransport

__all__ = [
    "Fake",
    "FakeBulk",
    "FakeRequest",
    "FakeResponse",
    "FakeTransport",
    "Fault",
    "Life",
    "ManualClock",
    "Progress",
    "Stage",
    "fake_names",
    "load_fake",
    "serve",
]
