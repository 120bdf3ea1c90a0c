"""The engine: sends what adapters describe, and nothing else.

Questions run in tasks of the engine's own. A caller who stops waiting cancels no request, because a cancelled request
can cost httpx a connection of its pool for good (encode/httpcore#1093). When the engine's own deadline does cancel
one, the pool it ran in is retired.
"""

import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from copy import copy
from functools import partial
from types import TracebackType
from typing import Any, Generic, Self, TypeVar, cast

import anyio
import anyio.abc
import anyio.to_thread
import httpx

from bulkstatus._adapter import Adapter
from bulkstatus._call import Call, Request, Response
from bulkstatus._http import exchange, new_client
from bulkstatus._retry import Policy, Quota, with_retries
from bulkstatus._urls import origin
from bulkstatus.errors import AuthError, BulkStatusError, ConfigError, ProtocolError, RateLimited, Unavailable

T = TypeVar("T")

_LONGEST_CHAIN = 10_000
_UNAUTHORIZED = 401


class Pending(Generic[T]):
    """A question under way. Any number of callers may await its result, and stop awaiting it."""

    def __init__(self) -> None:
        self._done = anyio.Event()
        self._value: tuple[T] | None = None
        self._error: BulkStatusError | None = None

    async def result(self) -> T:
        """Wait for the answer. Raises the error the question ended with, anew for each caller."""
        await self._done.wait()
        if self._value is None:
            error = self._error or Unavailable(
                "the client was closed before the answer came", reason="closed"
            )
            raise copy(error) from error.__cause__
        return self._value[0]

    async def settle(self, line: "_Line", call: Call[T]) -> None:
        """Ask, and keep what comes of it. Run by the engine, once."""
        try:
            self._value = (await line.run(call),)
        except BulkStatusError as error:
            self._error = error
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Let the callers go, with what is there: a result, an error, or word that the client was closed."""
        self._done.set()


class _NoCredentials(Exception):
    """The credentials could not be had. Its retries are behind it, so the question's own do not begin."""

    def __init__(self, error: BulkStatusError) -> None:
        super().__init__()
        self.error = error


class Engine:
    """The sources of one client, and the tasks that ask them. An async context manager, entered once."""

    def __init__(
        self,
        adapters: Mapping[str, Adapter],
        *,
        policy: Policy,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._lines = {name: _Line(name, adapter, policy, transport) for name, adapter in adapters.items()}
        self._tasks: anyio.abc.TaskGroup | None = None
        self._open: set[Pending[Any]] = set()

    async def __aenter__(self) -> Self:
        if self._tasks is not None:
            raise RuntimeError("this client is open already")
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._tasks is None:
            return
        tasks, self._tasks = self._tasks, None
        tasks.cancel_scope.cancel()
        await tasks.__aexit__(None, None, None)
        for pending in self._open:
            pending.abandon()  # a task that had not begun has no chance to say so itself
        self._open.clear()
        with anyio.CancelScope(shield=True):
            for line in self._lines.values():
                await line.aclose()

    def tasks(self) -> anyio.abc.TaskGroup:
        """The group that questions run in. Raises RuntimeError when the engine is not open."""
        if self._tasks is None:
            raise RuntimeError("the client is not open: use it in a with statement")
        return self._tasks

    def start(self, source: str, call: Call[T]) -> Pending[T]:
        """Begin to ask `source`, in a task of the engine's, and return at once."""
        tasks = self.tasks()
        pending = Pending[T]()
        self._open.add(pending)
        tasks.start_soon(self._settle, pending, self._lines[source], call)
        return pending

    async def _settle(self, pending: Pending[T], line: "_Line", call: Call[T]) -> None:
        await pending.settle(line, call)
        self._open.discard(pending)

    async def perform(self, source: str, call: Call[T]) -> T:
        """Ask `source` and wait for the answer. Raises an error of `bulkstatus.errors`, source and provider set."""
        return await self.start(source, call).result()


class _Pool:
    """An httpx client, and how many requests are in it."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client
        self.busy = 0
        self.retired = False


class _Line:
    """All between one source and its provider: its credentials, its pool, its pauses."""

    def __init__(
        self, name: str, adapter: Adapter, policy: Policy, transport: httpx.AsyncBaseTransport | None
    ) -> None:
        self._name = name
        self._provider = adapter.provider
        self._policy = policy
        self._auth = adapter.auth()
        self._base_urls = adapter.base_urls()
        self._origins = frozenset(map(origin, self._base_urls))
        self._transport = transport
        self._pool: _Pool | None = None
        self._slots = anyio.Semaphore(policy.connections)
        self._quota = Quota()
        self._auth_lock = anyio.Lock()
        self._renewals = 0
        self._renewal_error: BulkStatusError | None = None
        self._paused_until = 0.0

    async def aclose(self) -> None:
        if self._pool is not None:
            await self._pool.client.aclose()
            self._pool = None

    async def run(self, call: Call[T]) -> T:
        """Ask `call`, and those that follow from it, and give what they end in."""
        try:
            return await self._follow(call)
        except _NoCredentials as failure:
            raise failure.error.about(source=self._name, provider=self._provider) from failure.error.__cause__
        except BulkStatusError as error:
            error.about(source=self._name, provider=self._provider)
            raise
        except Exception as error:  # noqa: BLE001 - a fault of one adapter ends no other's questions
            # Its text may quote a header, and so a credential.
            raise ProtocolError(
                f"the adapter's request cannot be sent ({type(error).__name__})",
                source=self._name,
                provider=self._provider,
                reason="adapter",
            ) from None

    async def _follow(self, call: Call[T]) -> T:
        for _ in range(_LONGEST_CHAIN):
            result = await with_retries(partial(self._ask, call), self._policy, self._quota)
            self._quota.earn()
            if not isinstance(result, Call):
                return result
            call = cast("Call[T]", result)
        raise ProtocolError(
            f"no answer at the end of {_LONGEST_CHAIN} that led to one another", reason="endless"
        )

    async def _ask(self, call: Call[T]) -> T | Call[T]:
        """One attempt; two requests when the first showed that the credentials have to be renewed."""
        sent = await self._credentials()
        try:
            return await self._read(call, sent)
        except AuthError as error:
            another_may_do = error.status == _UNAUTHORIZED or error.reason == "token"
            if not another_may_do or not self._auth.rejected(sent):
                raise
        return await self._read(call, await self._credentials())

    async def _read(self, call: Call[T], credentials: Mapping[str, str]) -> T | Call[T]:
        response = await self._send(call.request, credentials)
        try:
            return call.read(response)
        except BulkStatusError as error:
            error.redact(value.rpartition(" ")[2] for value in credentials.values())
            if isinstance(error, RateLimited):
                # A throttled credential is throttled for every question, so the whole source waits.
                self._paused_until = max(self._paused_until, time.monotonic() + (error.retry_after or 0.0))
            raise
        except Exception as error:
            raise ProtocolError(
                f"the adapter could not read the answer ({type(error).__name__})",
                status=response.status,
                reason="adapter",
            ) from error

    async def _send(self, request: Request, credentials: Mapping[str, str]) -> Response:
        if origin(request.base_url) not in self._origins:
            raise ConfigError("the adapter asked for an address outside its base URLs", reason="url")
        async with self._slots:
            # Behind the semaphore, so that those who queue there see a pause that began meanwhile.
            await self._pause()
            return await self._exchange(request, credentials)

    async def _exchange(self, request: Request, credentials: Mapping[str, str]) -> Response:
        async with self._client() as pool:
            with anyio.move_on_after(self._policy.request_timeout):
                return await exchange(
                    pool.client, request, credentials, source=self._name, provider=self._provider
                )
            self._retire(pool)
        raise Unavailable(f"no complete answer within {self._policy.request_timeout:g} s", reason="timeout")

    async def _pause(self) -> None:
        """Wait while the provider wants no requests; raise RateLimited where that is longer than anybody waits."""
        pause = self._paused_until - time.monotonic()
        if pause > self._policy.patience:
            raise RateLimited(
                f"the provider asked for a pause, of which {pause:.0f} s are left; nothing was sent",
                retry_after=pause,
            )
        if pause > 0:
            await anyio.sleep(pause)

    @asynccontextmanager
    async def _client(self) -> AsyncGenerator[_Pool]:
        if self._pool is None:
            client = new_client(
                self._base_urls, connections=self._policy.connections, transport=self._transport
            )
            self._pool = _Pool(client)
        pool = self._pool
        pool.busy += 1
        try:
            yield pool
        except Unavailable as error:
            if error.reason == "pool":
                self._retire(pool)
            raise
        finally:
            pool.busy -= 1
            if pool.retired and not pool.busy and self._transport is None:
                with anyio.CancelScope(shield=True):
                    await pool.client.aclose()

    def _retire(self, pool: _Pool) -> None:
        pool.retired = True
        if self._pool is pool:
            self._pool = None

    async def _credentials(self) -> dict[str, str]:
        if not self._ready():
            renewals = self._renewals
            async with self._auth_lock:
                if self._renewals != renewals and self._renewal_error is not None:
                    # Somebody else tried while this question waited its turn; the answer serves for both.
                    raise _NoCredentials(copy(self._renewal_error))
                if not self._ready():
                    try:
                        await self._renew()
                    except BulkStatusError as error:
                        self._renewal_error = error
                        raise _NoCredentials(error) from error
                    finally:
                        self._renewals += 1
        return self._auth.headers()

    def _ready(self) -> bool:
        return (
            all(secret.loaded for secret in self._auth.secrets)
            and self._auth.renewal(time.monotonic()) is None
        )

    async def _renew(self) -> None:
        self._renewal_error = None
        try:
            for secret in self._auth.secrets:
                if not secret.loaded:
                    await anyio.to_thread.run_sync(secret.load, abandon_on_cancel=True)
            policy = Policy(
                attempts=min(2, self._policy.attempts),
                request_timeout=self._policy.request_timeout,
                patience=self._policy.patience,
            )
            while (call := self._auth.renewal(time.monotonic())) is not None:
                await with_retries(partial(self._read, call, {}), policy, self._quota)
        except BulkStatusError:
            raise
        except Exception as error:  # noqa: BLE001 - a function of the user's failed; its text may hold the credential
            raise AuthError(f"the credentials could not be fetched ({type(error).__name__})") from None
