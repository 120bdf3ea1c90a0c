"""The base of all fakes: a log, faults on demand, and lives on a clock."""

import json
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import ClassVar, Self
from urllib.parse import parse_qsl

import msgspec

from bulkstatus.adapter import Adapter


class FakeRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request as a fake got it. `path` is still percent-encoded; header names are lower-case."""

    method: str
    path: str
    query: dict[str, str] = {}
    headers: dict[str, str] = {}
    body: bytes = b""

    @property
    def form(self) -> dict[str, str]:
        """The body read as a form."""
        return dict(parse_qsl(self.body.decode(), keep_blank_values=True))


class FakeResponse(msgspec.Struct, frozen=True, kw_only=True):
    """What a fake answers."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = {}

    @classmethod
    def json(cls, value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Self:
        """An answer with a JSON body."""
        body = json.dumps(value).encode()
        return cls(status=status, body=body, headers={"Content-Type": "application/json", **(headers or {})})


class Fault(msgspec.Struct, kw_only=True):
    """Something that goes wrong, `times` times (None: until removed), for paths that contain `where`.

    With `drop` the connection is closed without an answer. With `delay` the fake waits that many seconds first;
    a fault with a delay and no status only slows the ordinary answer down.
    """

    status: int | None = None
    body: bytes = b""
    headers: dict[str, str] = {}
    where: str = ""
    times: int | None = 1
    drop: bool = False
    delay: float = 0.0


class ManualClock:
    """A clock that moves when told to. Calling it gives the time in epoch seconds."""

    def __init__(self, now: float = 1_760_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        """Move the clock forward."""
        self.now += seconds


class Life(msgspec.Struct, frozen=True):
    """The words of a bulk's life: pairs of seconds since its birth, in rising order, and the word from then on."""

    steps: tuple[tuple[float, str], ...]

    @classmethod
    def of(cls, *steps: tuple[float, str]) -> Self:
        """Write the steps down one by one."""
        return cls(steps)

    def word(self, age: float) -> str:
        """The word at `age` seconds."""
        return next((word for at, word in reversed(self.steps) if age >= at), self.steps[0][1])

    def since(self, age: float) -> float:
        """The age at which the word of `age` began."""
        return next((at for at, _ in reversed(self.steps) if age >= at), self.steps[0][0])

    def first(self, words: frozenset[str]) -> float | None:
        """The age at which one of `words` first comes, or None."""
        return next((at for at, word in self.steps if word in words), None)


class Fake(ABC):
    """A provider that exists for tests and for the demo.

    Subclasses answer requests as the provider's documentation says (`answer`), know the settings that reach them
    (`adapter`), and can fill themselves with bulks that show what the provider can do (`demo`).
    """

    word: ClassVar[str]
    """The provider's word."""
    prefix: ClassVar[str] = ""
    """The path that the provider's base URL ends in."""

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self.clock = clock
        self.requests: list[FakeRequest] = []
        self._faults: list[Fault] = []
        self._lock = threading.RLock()

    @abstractmethod
    def answer(self, request: FakeRequest) -> FakeResponse:
        """What the provider would answer now."""

    @abstractmethod
    def adapter(self, base_url: str) -> Adapter:
        """An adapter with settings and credentials that this fake accepts at `base_url`.

        Without a budget, unless the fake keeps limits itself: a fake has nobody else to think of.
        """

    @classmethod
    @abstractmethod
    def demo(cls, *, clock: Callable[[], float] = time.time) -> Self:
        """A fake with a handful of bulks, born now, that end within 15 seconds in the ways the provider knows."""

    @abstractmethod
    def bulk_ids(self) -> tuple[str, ...]:
        """The ids of all bulks it holds."""

    def fail(self, fault: Fault) -> Fault:
        """Make requests fail as `fault` says; returns it, for `heal`."""
        with self._lock:
            self._faults.append(fault)
        return fault

    def heal(self, fault: Fault | None = None) -> None:
        """Remove one fault, or all of them."""
        with self._lock:
            self._faults = [] if fault is None else [other for other in self._faults if other is not fault]

    def receive(self, request: FakeRequest) -> tuple[Fault | None, Callable[[], FakeResponse]]:
        """Log `request`; return the fault it meets, if any, and the function that makes its answer."""
        with self._lock:
            self.requests.append(request)
            fault = self._take_fault(request.path)

        def reply() -> FakeResponse:
            if fault is not None and fault.status is not None:
                return FakeResponse(status=fault.status, body=fault.body, headers=fault.headers)
            with self._lock:
                return self.answer(request)

        return fault, reply

    def _take_fault(self, path: str) -> Fault | None:
        for fault in self._faults:
            if fault.where in path and fault.times != 0:
                if fault.times is not None:
                    fault.times -= 1
                return fault
        return None
