"""The engine: sends what adapters describe, and nothing else.

Questions run in tasks of the engine's own. A caller who stops waiting cancels no request, because a cancelled request
can cost httpx a connection of its pool for good (encode/httpcore#1093). When the engine's own deadline does cancel
one, the pool it ran in is retired.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextvars import ContextVar
from copy import copy
from functools import partial
from types import TracebackType
from typing import Any, Generic, Self, TypeVar, cast

import anyio
import anyio.abc
import anyio.to_thread
import httpx

from bulkstatus._adapter import Adapter, Metered, addressed, counted_as
from bulkstatus._budget import Budget
from bulkstatus._call import Call, Page, Request, Response
from bulkstatus._credentials import Credentials, Headers, NoCredentials
from bulkstatus._drift import Collector, Oddity, collecting
from bulkstatus._fast import prepare
from bulkstatus._gate import Gate
from bulkstatus._http import Heads, exchange
from bulkstatus._model import BulkStatus
from bulkstatus._pools import Pools
from bulkstatus._retry import LONGEST_PAUSE, Policy, Quota, with_retries
from bulkstatus._states import fold
from bulkstatus._tasks import Home, NotOpen, now, within
from bulkstatus._times import Stamp
from bulkstatus._urls import check_base_url, origin
from bulkstatus.errors import AuthError, BulkStatusError, ConfigError, ProtocolError, RateLimited, Unavailable

T = TypeVar("T")

Witness = Callable[[str, object, Stamp, str | None], Awaitable[None]]
"""Hears of every answer: its source, what was read, when it was asked for, and by which id where it was by one."""
Notice = Callable[[str, tuple[Oddity, ...]], None]
"""Hears what was odd in an answer of a source, also in one that ended in an error."""

_LONGEST_CHAIN = 1_000
_UNAUTHORIZED = 401
# Reading a larger body takes long enough for other sources to notice, so it is done on another thread.
_LARGE = 512 * 1024
# Of pages that arrive together, one is read in each round of the loop, so that what waits for the first can go on, and
# ask for more, before the last is read.
_NOTICEABLE = 8 * 1024
_WORTH_SAYING = 5.0
_LOG = logging.getLogger("bulkstatus")


class Question:
    """A question, and how often it was asked; without the answer, which it outlives.

    The event loop keeps a timer that was cancelled, and with it the context it was set in, until a hundred have come
    together: so many pages would be kept.
    """

    __slots__ = ("asked", "attempts", "began", "done", "scope", "unwanted")

    def __init__(self) -> None:
        self.done = asyncio.Event()
        self.scope = anyio.CancelScope()
        """What the engine ends it by."""
        self.began = now()
        self.asked = Stamp.take()
        self.attempts = 0
        self.unwanted = False
        """True once nobody awaits the answer any more: what has not been sent need not be."""

    def abandon(self) -> None:
        """Let the callers go, with what is there: a result, an error, or word that the client was closed."""
        self.done.set()


class Pending(Generic[T]):
    """A question under way. Any number of callers may await its result, and stop awaiting it."""

    def __init__(self) -> None:
        self._value: tuple[T] | None = None
        self._error: BulkStatusError | None = None
        self._waiting = 0
        self.question = Question()

    async def result(self) -> T:
        """Wait for the answer. Raises the error the question ended with, anew for each caller."""
        self._waiting += 1
        try:
            await self.question.done.wait()
        finally:
            self._waiting -= 1
            if not self._waiting and not self.question.done.is_set():
                self.question.unwanted = True
        if self._value is None:
            error = self._error or Unavailable(
                "the client was closed before the answer came", reason="closed"
            )
            raise copy(error) from error.__cause__
        return self._value[0]

    async def settle(self, line: "_Line", call: Call[T]) -> None:
        """Ask, and keep what comes of it. Run by the engine, once."""
        try:
            with self.question.scope as scope:
                if not scope.cancel_called:  # else it would go on to where it first has to wait
                    self._value = (await line.run(call, self.question),)
        except BulkStatusError as error:
            # Its frames hold the answer, and this: a body of 8 MiB would stay until the collector of cycles comes by.
            self._error = error.with_traceback(None)
        finally:
            self.question.abandon()


class _Standstill(Exception):
    """An error that others have just met, so nothing was sent and nothing is retried."""

    def __init__(self, error: BulkStatusError) -> None:
        super().__init__()
        self.error = error


_asking: ContextVar[Question] = ContextVar("_asking")


class Engine:
    """The sources of one client, and the tasks that ask them. An async context manager, entered once.

    Where `fast` is False, requests go over httpx's own transport: for who asks once or twice, as importing that of
    aiohttp costs as much as a thousand requests save.
    """

    def __init__(
        self,
        adapters: Mapping[str, Adapter],
        *,
        policy: Policy,
        transport: httpx.AsyncBaseTransport | None = None,
        fast: bool = True,
        witness: Witness | None = None,
        notice: Notice | None = None,
    ) -> None:
        self._witness = witness
        self._fast = fast
        shared: dict[str, Budget] = {}
        self._lines = {
            name: _Line(name, adapter, policy, shared, transport=transport, fast=fast, notice=notice)
            for name, adapter in adapters.items()
        }
        self._tasks: anyio.abc.TaskGroup | None = None
        self._home: Home | None = None
        # Questions alone: a page that was taken from its Pending is not kept until the loop has come by once more.
        self._open: dict[asyncio.Task[None], Question] = {}
        self._broken: list[BaseException] = []
        self._ending = False

    async def __aenter__(self) -> Self:
        if self._tasks is not None:
            self._at_home()
            raise RuntimeError("this client is open already")
        if self._fast:
            prepare()
        self._home, self._ending = Home(), False
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        self._tasks.start_soon(self._end_questions)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._tasks is None:
            return
        tasks, self._tasks = self._tasks, None
        tasks.cancel_scope.cancel()
        try:
            await tasks.__aexit__(None, None, None)
        finally:  # a task that is being cancelled leaves the group by another cancellation
            for question in self._open.values():
                question.scope.cancel()
                question.abandon()  # a task that had not begun has no chance to say so itself
            self._open.clear()
            with anyio.CancelScope(shield=True):
                for line in self._lines.values():
                    await line.aclose()
            broken, self._broken = self._broken, []
            if broken:  # from here: an interrupt that a task raises breaks off the loop, and this with it
                raise BaseExceptionGroup("unhandled errors in questions", broken)

    def tasks(self) -> anyio.abc.TaskGroup:
        """The group that questions run in. Raises NotOpen when the engine is not open, or is so in another loop."""
        if self._tasks is None:
            raise NotOpen
        self._at_home()
        return self._tasks

    def _at_home(self) -> None:
        if self._home is not None:
            self._home.check("this client")

    def budget(self, source: str) -> Budget:
        """The budget that questions to `source` are counted against. Times in it are those of `_tasks.now`."""
        return self._lines[source].budget

    def sent(self, source: str) -> int:
        """How many requests to `source` have been sent and not been answered yet."""
        return self._lines[source].sent

    def start(self, source: str, call: Call[T]) -> Pending[T]:
        """Begin to ask `source`, in a task of the engine's, and return at once."""
        self.tasks()
        pending = Pending[T]()
        if self._ending:
            pending.question.scope.cancel()
        # No task of the group, which would cost more than all else that is done for a question here.
        task = asyncio.get_running_loop().create_task(pending.settle(self._lines[source], call))
        self._open[task] = pending.question
        task.add_done_callback(self._ended)
        return pending

    def _ended(self, task: asyncio.Task[None]) -> None:
        question = self._open.pop(task, None)
        if not task.cancelled():
            error = task.exception()
            if error is None:
                return
            self._broken.append(error)
        if question is not None:
            question.abandon()  # it may have been cancelled before it began
        if self._tasks is not None:
            self._tasks.cancel_scope.cancel()  # as for any task of the group that fails

    async def _end_questions(self) -> None:
        """Once the group ends, end all questions; it waits for them as it waits for this."""
        try:
            await asyncio.Event().wait()  # no timer: on virtual time, one would be what happens next
        finally:
            self._ending = True
            for question in self._open.values():
                question.scope.cancel()
            with anyio.CancelScope(shield=True):
                while self._open:
                    await asyncio.wait(self._open)

    async def perform(self, source: str, call: Call[T], *, id: str | None = None) -> T:
        """Ask `source` and wait for the answer. Raises an error of `bulkstatus.errors`, source and provider set.

        With `id` the answer has to be about that bulk: one about another raises ProtocolError. The witness, if there
        is one, hears of the answer before the caller does.
        """
        return await self.answer(source, self.start(source, call), id=id)

    async def answer(self, source: str, pending: Pending[T], *, id: str | None = None) -> T:
        """The answer to a question that `start` began; for the rest as `perform`."""
        answer = self._lines[source].checked(await pending.result(), id)
        if self._witness is not None:
            await self._witness(source, answer, pending.question.asked, id)
        return answer


def _statuses(answer: object) -> Iterator[BulkStatus]:
    """The statuses in an answer."""
    rows = cast("Any", answer).items if isinstance(answer, Page) else (answer,)
    return (row for row in rows if isinstance(row, BulkStatus))


class _Line:
    """All between one source and its provider."""

    def __init__(
        self,
        name: str,
        adapter: Adapter,
        policy: Policy,
        shared: dict[str, Budget],
        *,
        transport: httpx.AsyncBaseTransport | None,
        fast: bool,
        notice: Notice | None,
    ) -> None:
        self._name = name
        self._notice = notice
        self._pinned = frozenset(map(fold, adapter.state_map))
        self._adapter = adapter
        self._meter = adapter if isinstance(adapter, Metered) else None  # asking that of a protocol is slow
        self._provider = adapter.provider
        self._policy = policy
        for url in adapter.base_urls():
            try:
                check_base_url(url, setting="base_url")  # credentials go there, whoever wrote the adapter
            except ConfigError as error:
                raise error.about(source=name, provider=adapter.provider) from None
        self._origins = frozenset(map(origin, adapter.base_urls()))
        # One more than questions may be under way: a token is fetched outside their number.
        self._pools = Pools(
            adapter.base_urls(), connections=policy.connections + 1, transport=transport, fast=fast
        )
        self._credentials = Credentials(adapter.auth(), self._fetch_token, now)
        self._heads = Heads()
        self._slots = anyio.Semaphore(policy.connections, fast_acquire=True)
        self._quota = Quota()
        self._gate = Gate(now)
        self._shared = shared
        self._budget = Budget(adapter.allowed())
        self._is_shared = False
        self._turn = anyio.Lock(fast_acquire=True)
        self._reading = anyio.Lock(fast_acquire=True)
        self.sent = 0
        """How many requests have been sent and not been answered yet."""

    async def aclose(self) -> None:
        await self._pools.aclose()

    @property
    def budget(self) -> Budget:
        """The budget of this source's credentials; its own until they are there to be compared with others'."""
        if not self._is_shared:
            key = counted_as(self._adapter)
            if key is not None:
                self._is_shared = True
                self._budget = self._shared.setdefault(key, self._budget)
                self._budget.keep(self._adapter.allowed())
        return self._budget

    def checked(self, answer: T, id: str | None) -> T:
        """The answer, without the rows of a page that nobody could ask about: those are counted as left out.

        Raises ProtocolError for an answer that is not about this source, or about bulk `id` if that was asked for,
        also where the adapter let it pass, or filled in a name of its own for the source.
        """
        if isinstance(answer, BulkStatus) and answer.source == self._name and id == answer.id:
            return answer
        key = self._adapter.id_grammar.key
        if id is not None and (not isinstance(answer, BulkStatus) or key(answer.id) != key(id)):
            why = "the adapter read something else than the bulk that was asked for"
        elif any(status.source != self._name for status in _statuses(answer)):
            why = "the adapter named another source than the one that was asked"
        else:
            if not isinstance(answer, Page):
                return answer
            return cast("T", addressed(cast("Page[Any]", answer), self._adapter.id_grammar))
        raise ProtocolError(why, source=self._name, provider=self._provider, reason="adapter")

    async def run(self, call: Call[T], question: Question) -> T:
        """Ask `call`, and those that follow from it, and give what they end in."""
        try:
            _asking.set(question)
            return await self._follow(call)
        except (NoCredentials, _Standstill) as final:
            raise final.error.about(source=self._name, provider=self._provider) from final.error.__cause__
        except BulkStatusError as error:
            error.about(source=self._name, provider=self._provider)
            raise
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a fault of one adapter ends no other's questions
            # Its text may quote a header, and so a credential.
            raise ProtocolError(
                f"the adapter's request cannot be sent ({type(error).__name__})",
                source=self._name,
                provider=self._provider,
                reason="adapter",
            ) from None

    async def _follow(self, call: Call[T]) -> T:
        ends = now() + self._policy.patience
        for _ in range(_LONGEST_CHAIN):
            result = await with_retries(partial(self._ask, call), self._policy, self._quota, name=self._name)
            self._quota.earn()
            if not isinstance(result, Call):
                return result
            call = cast("Call[T]", result)
            if now() > ends:
                break
        raise ProtocolError("the answers led from one to another and came to no end", reason="endless")

    async def _ask(self, call: Call[T]) -> T | Call[T]:
        """One attempt; two requests when the first showed that the credentials have to be renewed."""
        question = _asking.get()
        question.attempts += 1
        await self._headers()  # before the queue, so that all who stand in it share one failure
        if self._slots.value:
            self._slots.acquire_nowait()
        else:
            await self._slots.acquire()
        try:
            # Behind the semaphore, so that those who queue there see what others have learned meanwhile.
            self._stop_with_others(question)
            sent = await self._headers()  # once more, since others may have found them refused
            try:
                return await self._read(call, sent)
            except AuthError as error:
                another_may_do = error.status == _UNAUTHORIZED or error.reason == "token"
                if not another_may_do:
                    raise
                if not self._credentials.rejected(sent):
                    self._gate.learn(error)
                    raise
            # In the same place: at the end of the queue, all of it would be refused before the renewal is tried.
            try:
                return await self._read(call, await self._headers())
            except AuthError as error:
                self._gate.learn(error)
                raise
        finally:
            self._slots.release()

    async def _headers(self) -> Headers:
        try:
            return await self._credentials.headers()
        except NoCredentials as none:
            if isinstance(none.error, AuthError):
                self._gate.learn(none.error)
            raise

    def _stop_with_others(self, question: Question) -> None:
        """Raise what others have just met, where it would only happen again."""
        error = self._gate.standstill(question.began)
        if error is not None and (question.attempts == 1 or isinstance(error, AuthError)):
            raise _Standstill(error)

    async def _fetch_token(self, call: Call[None]) -> None:
        policy = Policy(
            attempts=min(2, self._policy.attempts),
            request_timeout=self._policy.request_timeout,
            patience=self._policy.patience,
        )
        await with_retries(partial(self._read, call, Headers()), policy, self._quota, name=self._name)

    async def _read(self, call: Call[T], credentials: Headers) -> T | Call[T]:
        try:
            response = credentials.scrub(await self._send(call.request, credentials))
            self._heed(response)
            result = await self._understand(call, response, credentials)
        except BulkStatusError as error:
            if isinstance(error, RateLimited) or error.retry_after is not None:
                self.budget.throttled(error, now())
            if isinstance(error, Unavailable) and error.reason != "abandoned":
                self._gate.learn(error)
            error.redact((*credentials.values_alone(), *self._credentials.loaded()))
            raise
        except _Standstill:
            raise
        except Exception as error:
            raise ProtocolError(
                f"the adapter could not read the answer ({type(error).__name__})", reason="adapter"
            ) from error
        self._gate.answered()
        self.budget.answered()
        return result

    async def _understand(self, call: Call[T], response: Response, credentials: Headers) -> T | Call[T]:
        """What the adapter reads in an answer; what it found odd there is passed on, whatever comes of it."""
        with collecting() as odd:
            try:
                size = len(response.body)
                if size > _LARGE:
                    return await anyio.to_thread.run_sync(call.read, response)
                if size > _NOTICEABLE:
                    async with self._reading:
                        await asyncio.sleep(0)
                        return call.read(response)
                return call.read(response)
            finally:
                if odd:
                    self._pass_on(odd, credentials)

    def _pass_on(self, odd: Collector, credentials: Headers) -> None:
        secrets = (*credentials.values_alone(), *self._credentials.loaded())
        found = odd.found(secrets, is_pinned=lambda word: fold(word) in self._pinned)
        if found and self._notice is not None:
            self._notice(self._name, found)

    def _heed(self, response: Response) -> None:
        """Take in what the provider says is left of its limits."""
        try:
            remaining = None if self._meter is None else self._meter.remaining(response)
            if remaining is not None:
                self.budget.told(remaining, now())
        except Exception:  # noqa: BLE001 - what an adapter makes of a header must not cost the answer
            _LOG.debug("%s: what is left of its limits could not be read", self._name)

    async def _send(self, request: Request, credentials: Mapping[str, str]) -> Response:
        if origin(request.base_url) not in self._origins:
            raise ConfigError("the adapter asked for an address outside its base URLs", reason="url")
        question = _asking.get()
        self._stop_with_others(question)
        await self._await_turn(question, asked_for=request.form is not None)
        try:
            self.sent += 1
            async with self._pools.borrow() as client:
                with within(self._policy.request_timeout):
                    return await exchange(
                        client,
                        request,
                        credentials,
                        heads=self._heads,
                        source=self._name,
                        provider=self._provider,
                    )
        except TimeoutError:
            pass  # raised below: in here it would keep the frames that were writing, and so the credentials
        finally:
            self.sent -= 1
        limit = self._policy.request_timeout
        raise Unavailable(f"no complete answer within {limit:g} s", reason="timeout")

    async def _await_turn(self, question: Question, *, asked_for: bool) -> None:
        """Wait until the budget has a request to spare, first come, first served, and take it.

        Raises RateLimited where that is longer than its patience, and Unavailable when nobody waits any more.
        `asked_for` is true for what others need too.
        """
        if not self._turn.locked() and self.budget.wait(now()) <= 0:
            self._take(question, asked_for=asked_for)
            return
        async with self._turn:
            while (pause := self.budget.wait(now())) > 0:
                waited = now() - question.began
                if pause > LONGEST_PAUSE or waited + pause > self._policy.patience:
                    raise _Standstill(self.budget.refusal(now()))
                if pause > _WORTH_SAYING:
                    _LOG.warning("%s: %s", self._name, self.budget.refusal(now()).message)
                await anyio.sleep(pause)
            self._take(question, asked_for=asked_for)

    def _take(self, question: Question, *, asked_for: bool) -> None:
        if question.unwanted and not asked_for:
            raise Unavailable("nobody waits for the answer any more", reason="abandoned", retryable=False)
        self.budget.take(now())
