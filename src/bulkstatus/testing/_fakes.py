"""Fakes that play a scenario, and clients that reach them."""

import asyncio
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import anyio
import httpx
import msgspec

from bulkstatus import _blocking
from bulkstatus._adapter import SOURCE_NAME
from bulkstatus._client import AsyncClient
from bulkstatus._model import Ref
from bulkstatus._recorder import JournalOrPath
from bulkstatus._retry import Policy
from bulkstatus.adapter import Adapter
from bulkstatus.errors import ConfigError
from bulkstatus.testing import _virtual
from bulkstatus.testing._configuration import configuration
from bulkstatus.testing._fake import Fake, FakeRequest, FakeResponse, Fault
from bulkstatus.testing._play import copied, part
from bulkstatus.testing._registry import load_fake
from bulkstatus.testing._scenario import Scenario
from bulkstatus.testing._server import serve
from bulkstatus.testing._steps import Step
from bulkstatus.testing._transport import FakeTransport

T = TypeVar("T")
OnRequest = Callable[[str, FakeRequest, FakeResponse | None], object]

_FASTEST = 1e6
# The library's clocks are one for the whole process.
_VIRTUAL = threading.Lock()
_ON_REAL_TIME = (
    "these fakes are on virtual time, and this event loop is not: run the coroutine with fakes.run(main), or give the "
    "fakes real_time=True"
)


def _scenario(told: object) -> Scenario | None:
    if told is None or isinstance(told, Scenario):
        return told
    if isinstance(told, str | Path):
        return Scenario.read(told)
    raise ConfigError(f"scenario is a TOML file or a bulkstatus.testing.Scenario, not {type(told).__name__}")


class Fakes:
    """Providers that play a scenario, with clients that reach them. Use it in a `with` statement.

    ::

        with Fakes() as fakes:
            ref = fakes.add("payments", "weavr", queued(2), running(10), throttled(retry_after=1), partial(failed=3))
            fakes.fail("payments", outage(8), after=5)
            assert fakes.client.wait([ref], timeout=1800).verdicts == {ref: "partial"}

    The fakes answer in this process, on virtual time: while somebody waits for the client time passes at once, and
    else it stands still, unless `advance` moves it. One call may take `longest` seconds of it. With `real_time` they
    are on the clock on the wall. With `sockets` they are that too, and are served over HTTP on 127.0.0.1: the first
    at `port`, the others at the ports behind it, or each at any that is free. A scenario's own time passes `speed`
    times quicker; `retry_after` and `delay` stay as they are. `on_request` is called with the source, each request
    over a socket, and what was answered (None: nothing).

    A bulk is born when it is added, those of `scenario` (or of that file) when the fakes begin.
    """

    def __init__(
        self,
        scenario: Scenario | str | Path | None = None,
        *,
        sockets: bool = False,
        real_time: bool = False,
        speed: float = 1.0,
        port: int = 0,
        longest: float = _virtual.LONGEST,
        on_request: OnRequest | None = None,
    ) -> None:
        if not 0 < speed < _FASTEST:
            raise ConfigError(f"speed is above 0 and below {_FASTEST:,.0f}, not {speed:g}")
        self._scenario = _scenario(scenario)
        self._sockets = sockets
        self._time = None if sockets or real_time else _virtual.VirtualTime()
        self._speed = speed
        self._port = port
        self._longest = longest
        self._on_request = on_request
        self._fakes: dict[str, Fake[Any]] = {}
        self._urls: dict[str, str] = {}
        self._transport = _Transport(needs_virtual=self._time is not None)
        self._client: _blocking.Client | None = None
        self._folder: Path | None = None
        self._stack = ExitStack()

    @property
    def clock(self) -> Callable[[], float]:
        """The fakes' time, in epoch seconds."""
        return time.time if self._time is None else self._time

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            if self._time is not None:
                if not _VIRTUAL.acquire(blocking=False):
                    raise RuntimeError(
                        "other fakes are on virtual time in this process: close them first, or give these real_time=True"
                    )
                stack.callback(_VIRTUAL.release)
                stack.enter_context(_virtual.virtual_clients(self._time, longest=self._longest))
            self._stack = stack.pop_all()
        try:
            if self._scenario is not None:
                self._play(self._scenario)
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        client, self._client = self._client, None
        with self._stack:  # also when the client's close is interrupted, the process has its own time again
            if client is not None:
                client.close()

    def _play(self, scenario: Scenario) -> None:
        parts = {name: script.parts(speed=self._speed) for name, script in scenario.sources.items()}
        for name, script in scenario.sources.items():
            fake = self._source(name, script.provider)
            for id, each in parts[name].items():
                each.begin(fake, id)
            for fault in script.trouble:
                fake.fail(copied(fault, speed=self._speed))

    def add(
        self, source: str, provider: str, *steps: Step, id: str | None = None, total: int | None = None
    ) -> str:
        """Let a bulk be born at `source`, whose provider's word is `provider`; return its reference.

        Without an `id` it gets one such as the provider gives; `total` is how many items it has, 100 unless said.
        Raises ConfigError for steps that the provider cannot go through, and for a source that the client in use does
        not know.
        """
        mine = part(load_fake(provider), steps, total=total, speed=self._speed)
        fake = self._source(source, provider)
        if id is None:
            taken = fake.bulk_ids()
            id = next(each for each in map(fake.bulk_id, range(len(taken) + 1)) if each not in taken)
        mine.begin(fake, fake.adapter(self._urls[source]).id_grammar.check(id))
        return str(Ref(source, id))

    def put(self, source: str, fake: Fake[Any]) -> None:
        """Take up a fake that was made by hand, as the provider of a new source."""
        if SOURCE_NAME.fullmatch(source) is None:
            raise ConfigError(
                f"{source[:64]!r} is no name of a source: letters, digits, '.', '_' and '-', 64 at most"
            )
        if source in self._fakes:
            raise ConfigError(f"there is a source {source!r} already")
        if self._client is not None:
            raise ConfigError(
                f"add {source!r} before the client is used: it knows the sources that it began with"
            )
        self._urls[source] = self._served(source, fake)
        self._fakes[source] = fake

    def _source(self, source: str, provider: str) -> Fake[Any]:
        fake = self._fakes.get(source)
        if fake is None:
            self.put(source, load_fake(provider)(clock=self.clock))
        elif fake.word != provider:
            raise ConfigError(f"source {source!r} is of {fake.word}, not of {provider!r}")
        return self._fakes[source]

    def _served(self, source: str, fake: Fake[Any]) -> str:
        number = len(self._fakes)
        if not self._sockets:
            url = f"https://fake{number}.test{fake.prefix}"
            self._transport.add(url, fake)
            return url
        port = self._port and self._port + number
        log = self._on_request
        told = None if log is None else partial(log, source)
        try:
            return self._stack.enter_context(serve(fake, port=port, on_request=told))
        except (OSError, OverflowError) as error:
            raise ConfigError(f"cannot serve {source!r} at port {port}: {error}") from None

    def __getitem__(self, source: str) -> Fake[Any]:
        """The fake of a source."""
        return self._fakes[source]

    @property
    def urls(self) -> dict[str, str]:
        """The base URL of each source."""
        return dict(self._urls)

    @property
    def refs(self) -> tuple[str, ...]:
        """The references of all bulks, also of those that their provider does not know at the moment."""
        return tuple(str(Ref(source, id)) for source, fake in self._fakes.items() for id in fake.bulk_ids())

    @property
    def requests(self) -> dict[str, list[FakeRequest]]:
        """What each source was asked so far."""
        return {source: list(fake.requests) for source, fake in self._fakes.items()}

    def fail(self, target: str, fault: Fault, *, after: float = 0.0) -> Fault:
        """Make requests to a source fail, or those about a bulk (`source:id`), from `after` seconds on.

        Returns the fault, for `heal`.
        """
        source, _, id = target.partition(":")
        struck = msgspec.structs.replace(fault, after=fault.after + after)
        return self._fakes[source].fail(copied(struck, speed=self._speed), about=id or None)

    def heal(self, source: str | None = None, fault: Fault | None = None) -> None:
        """End what goes wrong: one fault, all of a source, or all there is."""
        for name, fake in self._fakes.items():
            if source in (None, name):
                fake.heal(fault)

    @property
    def adapters(self) -> dict[str, Adapter]:
        """Adapters that reach the sources, with credentials that the fakes accept; for a client of your own."""
        return {source: fake.adapter(self._urls[source]) for source, fake in self._fakes.items()}

    @property
    def transport(self) -> httpx.AsyncBaseTransport | None:
        """What a client of your own needs to reach fakes in process; None over sockets."""
        return None if self._sockets else self._transport

    @property
    def client(self) -> _blocking.Client:
        """A blocking client of all sources, closed with the fakes. It keeps no journal. Raises ConfigError without any."""
        if not self._fakes:
            raise ConfigError("there are no sources yet: add a bulk first, or begin with a scenario")
        if self._client is None:
            self._client = _blocking.Client(self.adapters, transport=self.transport)
        return self._client

    def async_client(
        self, *, policy: Policy | None = None, journal: JournalOrPath | None = None
    ) -> AsyncClient:
        """A new awaiting client of all sources, to be used in an `async with` statement; on virtual time within `run`.

        Raises RuntimeError on an event loop whose time is another than that of the fakes.
        """
        self._transport.check_loop()
        return AsyncClient(self.adapters, transport=self.transport, policy=policy, journal=journal)

    def run(self, main: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run a coroutine function on an event loop that is on the fakes' time; return its result."""
        if self._time is None:
            return anyio.run(main)
        return _virtual.run(main, self._time, longest=self._longest)

    def advance(self, seconds: float) -> None:
        """Let virtual time pass, and all that a blocking client has planned meanwhile happen."""
        if self._time is None:
            raise RuntimeError("these fakes are on real time, which nobody can move")
        self._time.advance(seconds)

    @property
    def configuration(self) -> str:
        """The text of a configuration file that reaches the sources, credentials of the fakes included."""
        return configuration(self.adapters)

    @property
    def config(self) -> Path:
        """A configuration file that reaches the sources, written anew each time and removed at the end.

        For `Client.from_config` and for other processes, where the fakes are on sockets. In process, a client that is
        made from it needs `transport` too.
        """
        if self._folder is None:
            self._folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="bulkstatus-")))
        path = self._folder / "bulkstatus.toml"
        path.touch(mode=0o600)
        path.write_text(self.configuration, encoding="utf-8")
        return path


class _Transport(FakeTransport):
    """Fakes in process; those on virtual time answer on no other."""

    def __init__(self, *, needs_virtual: bool) -> None:
        super().__init__({})
        self._needs_virtual = needs_virtual

    def check_loop(self) -> None:
        """Raises RuntimeError on a loop whose time is another."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return
        if self._needs_virtual and not _virtual.is_virtual():
            raise RuntimeError(_ON_REAL_TIME)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Let the fake answer."""
        self.check_loop()
        return await super().handle_async_request(request)
