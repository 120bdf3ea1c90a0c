"""The base of all fakes: a log, faults on demand, and lives on a clock."""

import json
import logging
import math
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Container, Mapping
from typing import ClassVar, Generic, NamedTuple, Self, TypeVar
from urllib.parse import parse_qsl, unquote

import msgspec

from bulkstatus.adapter import Adapter, State

_OPEN_END = 60.0
_LOG = logging.getLogger("bulkstatus.testing")


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

    def is_about(self, id: str) -> bool:
        """True when `id` is a segment of the path, or a value of the query."""
        return id in map(unquote, self.path.split("/")) or id in self.query.values()


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


_AS_LONG = -(2**62)  # a number that nobody writes


class Fault(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Something that goes wrong, `times` times (None: until removed), for paths that contain `where`.

    It answers with `status`, `body` or `html`, and `headers`; `retry_after` (seconds) is one of those. With `drop` the
    connection is closed without an answer. With `delay` the fake waits that many seconds first; a fault with a delay
    and no status only slows the ordinary answer down.

    It begins `after` so many seconds by the fake's clock, and strikes once; with `seconds` it ends so much later, and
    strikes every time until then unless `times` says otherwise.
    """

    status: int | None = None
    retry_after: float | None = None
    body: bytes = b""
    html: str | None = None
    headers: dict[str, str] = {}
    where: str = ""
    times: int | None = _AS_LONG
    drop: bool = False
    delay: float = 0.0
    after: float = 0.0
    seconds: float | None = msgspec.field(default=None, name="for")

    def __post_init__(self) -> None:
        if self.times == _AS_LONG:
            self.times = 1 if self.seconds is None else None

    def response(self) -> FakeResponse | None:
        """What stands in the place of the answer; None where that comes as ever."""
        if self.status is None:
            return None
        headers, body = dict(self.headers), self.body
        if self.html is not None:
            headers.setdefault("Content-Type", "text/html; charset=utf-8")
            body = self.html.encode()
        if self.retry_after is not None:
            headers.setdefault("Retry-After", f"{self.retry_after:.12g}")
        return FakeResponse(status=self.status, body=body, headers=headers)


class _Armed(NamedTuple):
    """A fault in its place: when it begins and ends, in epoch seconds, and the bulk that requests must be about."""

    fault: Fault
    begins: float
    ends: float
    id: str | None

    def meets(self, request: FakeRequest, now: float) -> bool:
        """True when it strikes `request`."""
        fault = self.fault
        if fault.times == 0 or fault.where not in request.path or not self.begins <= now < self.ends:
            return False
        return self.id is None or request.is_about(self.id)


class ManualClock:
    """A clock that moves when told to. Calling it gives the time in epoch seconds."""

    def __init__(self, now: float = 1_760_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        """Move the clock forward."""
        self.now += seconds


class Stage(NamedTuple):
    """From `at` seconds after its birth on, the provider calls a bulk `word`; None: it does not know it.

    `done` is how many of its items have then ended, where that is not to follow from the time.
    """

    at: float
    word: str | None
    done: int | None = None


class Life(msgspec.Struct, frozen=True):
    """A bulk's life in its provider's words: stages in rising order of time, the first from the birth on."""

    stages: tuple[Stage, ...]

    @classmethod
    def of(cls, *stages: Stage | tuple[float, str | None]) -> Self:
        """Write the stages down one by one: seconds since the birth, and the word from then on."""
        return cls(tuple(stage if isinstance(stage, Stage) else Stage(*stage) for stage in stages))

    def stage(self, age: float) -> Stage:
        """The stage at `age` seconds."""
        return next((stage for stage in reversed(self.stages) if age >= stage.at), self.stages[0])

    def word(self, age: float) -> str | None:
        """The word at `age` seconds; None while the provider does not know the bulk."""
        return self.stage(age).word

    def since(self, age: float) -> float:
        """The age at which the word of `age` began."""
        return self.stage(age).at

    def first(self, words: Container[str | None]) -> float | None:
        """The age at which one of `words` first comes, or None."""
        return next((stage.at for stage in self.stages if stage.word in words), None)

    def share(self, age: float, words: Container[str | None]) -> float | None:
        """How much of the time that is spent in `words` has gone by, from 0 to 1; None where none is spent there.

        A last stage that is one of them counts for a minute.
        """
        ends = [stage.at for stage in self.stages[1:]] + [self.stages[-1].at + _OPEN_END]
        spans = [(stage.at, end) for stage, end in zip(self.stages, ends, strict=True) if stage.word in words]
        whole = sum(end - begin for begin, end in spans)
        return sum(min(max(age - begin, 0.0), end - begin) for begin, end in spans) / whole if whole else None


class FakeBulk(msgspec.Struct, frozen=True, kw_only=True):
    """A bulk of a fake, born at `born` (epoch seconds). Of its `total` items `succeeding` succeed, then `failing` fail."""

    id: str
    born: float
    life: Life
    total: int = 100
    succeeding: int = 100
    failing: int = 0

    def word(self, now: float) -> str | None:
        """What the provider calls it; None while it does not know it."""
        return self.life.word(now - self.born)

    def since(self, now: float) -> float:
        """When that word began, in epoch seconds."""
        return self.born + self.life.since(now - self.born)

    def began(self, *words: str) -> float | None:
        """When one of `words` first comes, in epoch seconds, past or to come; None if never."""
        age = self.life.first(words)
        return None if age is None else self.born + age


class Progress(NamedTuple):
    """How many items of a bulk have ended, and how."""

    done: int
    succeeded: int
    failed: int


B = TypeVar("B", bound=FakeBulk)


class Fake(ABC, Generic[B]):
    """A provider that exists for tests and for the demo; its bulks are of type `B`.

    Subclasses answer requests as the provider's documentation says (`answer`), know the settings that reach them
    (`adapter`), and can fill themselves with bulks that show what the provider can do (`demo`). They name the
    provider's words (`states`), take up bulks as a scenario describes them (`place`), and find in `known` and `find`
    those that the provider knows at the moment.
    """

    word: ClassVar[str]
    """The provider's word."""
    prefix: ClassVar[str] = ""
    """The path that the provider's base URL ends in."""
    states: ClassVar[Mapping[State, str]] = {}
    """The provider's word for each state that its bulks can be in; two states may have one word, told apart by items."""
    counts: ClassVar[bool] = True
    """Whether the provider tells, in some way, how many items of a bulk succeeded and failed."""

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self.clock = clock
        self.requests: list[FakeRequest] = []
        self._bulks: dict[str, B] = {}
        self._faults: list[_Armed] = []
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
    def bulk_id(self, number: int) -> str:
        """An id such as the provider gives, another one for each number from 0 up."""

    @abstractmethod
    def place(self, id: str, life: Life, *, total: int = 100, failed: int = 0) -> None:
        """Let a bulk be born now, of `total` items of which `failed` fail.

        The others succeed, unless the life ends in a word by which none, or not all, have.
        """

    def put(self, bulk: B) -> None:
        """Take up a bulk, in the place of one with the same id."""
        with self._lock:
            self._bulks[bulk.id] = bulk

    def remove(self, id: str) -> None:
        """Forget a bulk, as a provider does when its retention ends; one that is not there stays so."""
        with self._lock:
            self._bulks.pop(id, None)

    def bulk_ids(self) -> tuple[str, ...]:
        """The ids of all bulks it holds, also of those that the provider does not know at the moment."""
        with self._lock:
            return tuple(self._bulks)

    def known(self) -> list[B]:
        """The bulks that the provider knows at the moment, the oldest first."""
        now = self.clock()
        with self._lock:
            return [bulk for bulk in self._bulks.values() if bulk.word(now) is not None]

    def find(self, id: str) -> B | None:
        """The bulk with that id, if the provider knows it at the moment."""
        with self._lock:
            bulk = self._bulks.get(id)
        return None if bulk is None or bulk.word(self.clock()) is None else bulk

    def progress(self, bulk: B) -> Progress:
        """How far a bulk is: as its stage says, else evenly over the time in words for running, all at an end.

        While it runs, one item at least has not ended.
        """
        age = self.clock() - bulk.born
        _, word, done = bulk.life.stage(age)
        most = bulk.succeeding + bulk.failing
        if done is None:
            done = self._done(bulk.life, age, most, word)
        done = min(done, most)
        good = min(done, bulk.succeeding)
        return Progress(done, good, done - good)

    def _done(self, life: Life, age: float, most: int, word: str | None) -> int:
        running = self._words(State.RUNNING)
        if word in self._words(*(state for state in State if state.is_terminal)):
            return most
        share = life.share(age, running)
        if share is None:
            share = float(word not in running | self._words(State.QUEUED))
        done = int(most * share)
        return min(done, most - 1) if word in running and most else done

    def _words(self, *states: State) -> frozenset[str | None]:
        return frozenset(self.states[state] for state in states if state in self.states)

    def fail(self, fault: Fault, *, about: str | None = None) -> Fault:
        """Make requests fail as `fault` says, from now on; returns it, for `heal`.

        With the id of a bulk in `about`, only requests that name it are meant, and not a list that holds it.
        """
        now = self.clock() if fault.after or fault.seconds is not None else -math.inf
        begins = now + fault.after
        ends = math.inf if fault.seconds is None else begins + fault.seconds
        with self._lock:
            self._faults.append(_Armed(fault, begins, ends, about))
        return fault

    def heal(self, fault: Fault | None = None) -> None:
        """Remove one fault, or all of them."""
        with self._lock:
            self._faults = [] if fault is None else [each for each in self._faults if each.fault is not fault]

    def receive(self, request: FakeRequest) -> tuple[Fault | None, Callable[[], FakeResponse]]:
        """Log `request`; return the fault it meets, if any, and the function that makes its answer."""
        with self._lock:
            self.requests.append(request)
            fault = self._take_fault(request)

        def reply() -> FakeResponse:
            spoiled = None if fault is None else fault.response()
            if spoiled is not None:
                return spoiled
            try:
                with self._lock:
                    return self.answer(request)
            except Exception:
                # Whoever asked takes it for a provider that broke off.
                _LOG.exception("the fake of %s cannot answer %s %s", self.word, request.method, request.path)
                raise

        return fault, reply

    def _take_fault(self, request: FakeRequest) -> Fault | None:
        now = self.clock() if self._faults else 0.0
        for armed in self._faults:
            if armed.meets(request, now):
                fault = armed.fault
                if fault.times is not None:
                    fault.times -= 1
                return fault
        return None
