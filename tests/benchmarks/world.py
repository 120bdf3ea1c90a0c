"""Providers that play a script, and a loop on virtual time that asks them what the library's desk wants to know.

The loop plays `bulkstatus._follow` without asyncio: a heap of events instead of tasks, so a day of a million bulks
passes in minutes. `test_simulator.py` checks that both send the same requests at the same moments.
"""

import heapq
import math
import random
from array import array
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from statistics import NormalDist, fmean, median, quantiles
from typing import Any, ClassVar, NamedTuple

from bulkstatus._adapter import Limit
from bulkstatus._budget import Budget
from bulkstatus._call import Call, ListQuery, Page
from bulkstatus._desk import LONG_HOLD, Desk
from bulkstatus._follow import _SIDE_BY_SIDE, _TICK
from bulkstatus._model import BulkStatus, Counts, Ref, State
from bulkstatus._outcome import Verdict
from bulkstatus._plan import OPEN, Look, Sweep
from bulkstatus._polling import PollPolicy
from bulkstatus._subscription import Subscription, Until
from bulkstatus._sweep import Swept, sweep
from bulkstatus._track import Terms
from bulkstatus.errors import BulkStatusError, NotFound, RateLimited

BIRTH = datetime(2026, 1, 1, tzinfo=UTC)
SOURCE = "sim"
LATENCY = 0.2
ROWS_PER_PAGE = 100
HOUR, DAY = 3_600.0, 86_400.0
# What one provider of bulks documents: 1,200 requests in 5 minutes.
FIVE_MINUTES = (Limit(1_200, 300),)
_OPERATIONS = 1_000
_NEVER = float("inf")

# --- durations ---


def _lognormal(share: float) -> float:
    return 60.0 * math.exp(1.5 * NormalDist().inv_cdf(share))


def _pareto(share: float) -> float:
    return min(4 * HOUR, 2.0 * (1.0 - share) ** (-1 / 0.9))


def _log_uniform(share: float) -> float:
    return 2.0 * (2 * HOUR) ** share


DURATIONS = {"lognormal": _lognormal, "Pareto": _pareto, "log-uniform": _log_uniform}


def durations(law: str, number: int, seed: int) -> list[float]:
    """`number` durations in seconds, one out of each of as many equal shares of the law, shuffled.

    Drawn freely, a few hundred from laws with such long tails have a mean of their own.
    """
    rng = random.Random(seed)
    found = [DURATIONS[law]((i + rng.uniform(0.001, 0.999)) / number) for i in range(number)]
    rng.shuffle(found)
    return found


def moment(now: float) -> datetime:
    """The UTC time at `now`."""
    return BIRTH + timedelta(seconds=now)


# --- the provider ---


class Job:
    """One bulk: it appears, perhaps queues, runs and ends."""

    __slots__ = ("appears", "begins", "created_at", "ends", "final", "id", "index", "started_at")

    def __init__(
        self, index: int, appears: float, ends: float, final: State, *, begins: float | None = None
    ) -> None:
        self.index = index
        self.id = str(index)
        self.appears = appears
        self.begins = appears if begins is None else begins
        self.ends = ends
        self.final = final
        self.created_at = moment(appears)
        self.started_at = moment(self.begins)

    def state(self, now: float) -> State:
        if now >= self.ends:
            return self.final
        return State.RUNNING if now >= self.begins else State.QUEUED

    def counts(self, now: float) -> Counts | None:
        if now < self.begins:
            return None
        share = min(1.0, (now - self.begins) / (self.ends - self.begins))
        return Counts(total=_OPERATIONS, succeeded=int(share * _OPERATIONS))


class ById:
    """The adapter of a provider that is asked for one bulk at a time. Its requests are what `Provider` reads."""

    provider: ClassVar[str] = "scripted"

    def __init__(self, floor: float, ceiling: float) -> None:
        self.poll_floor = floor
        self.poll_ceiling = ceiling

    def status(self, id: str) -> Call[BulkStatus]:
        return Call(id, _unread)


class WithList(ById):
    """The adapter of one with a list besides."""

    rows_per_page: ClassVar[int | None] = ROWS_PER_PAGE

    def listing(self, query: ListQuery) -> tuple[Call[Page[BulkStatus]], ...]:
        return (_page_call(query.states, 0),)


def _unread(answer: Any) -> Any:
    return answer


def _page_call(states: frozenset[str] | None, offset: int) -> Call[Page[BulkStatus]]:
    return Call((states, offset), _unread)


class Provider:
    """Answers by id and, with `listing`, page by page, newest first, the total said.

    Jobs are added in the order in which they appear. With `provisional`, the rows of ended bulks may be corrected.
    """

    def __init__(
        self,
        *,
        listing: bool = False,
        counts: bool = False,
        provisional: bool = False,
        floor: float = 1.0,
        ceiling: float = 60.0,
    ) -> None:
        self.adapter = (WithList if listing else ById)(floor, ceiling)
        self.jobs: list[Job] = []
        self._counts = counts
        self._provisional = provisional
        self._open: list[int] = []
        self._shown = 0
        self._ending: list[tuple[float, int]] = []
        self._queues = False

    def add(self, job: Job) -> None:
        """One more bulk."""
        self.jobs.append(job)
        self._queues = self._queues or job.begins > job.appears

    def answer(self, request: Any, now: float, received: float) -> Any:
        """What the provider says at `now`, which arrives at `received`. Raises what the library would raise."""
        if isinstance(request, str):
            return self.look(request, now, received)
        return self.page(*request, now, received)

    def delivered(self, answer: Any, now: float) -> None:
        """An answer has arrived: for those who keep a record."""

    def look(self, id: str, now: float, received: float) -> BulkStatus:
        job = self.jobs[int(id)]
        if now < job.appears:
            raise NotFound("there is no such bulk")
        return self.status(job, now, received)

    def status(self, job: Job, now: float, received: float, *, listed: bool = False) -> BulkStatus:
        state = job.state(now)
        return BulkStatus(
            source=SOURCE,
            provider="scripted",
            id=job.id,
            state=state,
            native_state=state.value,
            counts=job.counts(now) if self._counts else None,
            created_at=job.created_at,
            started_at=job.started_at if now >= job.begins else None,
            observed_at=moment(received),
            provisional=listed and self._provisional and state.is_terminal,
        )

    def page(
        self, states: frozenset[str] | None, offset: int, now: float, received: float
    ) -> Page[BulkStatus]:
        self._advance(now)
        rows, total = self._rows(states, offset, now)
        return Page(
            items=tuple(self.status(self.jobs[index], now, received, listed=True) for index in rows),
            at=partial(_page_call, states),
            offset=offset,
            received=len(rows),
            total=total,
            moving=True,
        )

    def _advance(self, now: float) -> None:
        while self._shown < len(self.jobs) and self.jobs[self._shown].appears <= now:
            job = self.jobs[self._shown]
            self._open.append(job.index)
            heapq.heappush(self._ending, (job.ends, job.index))
            self._shown += 1
        while self._ending and self._ending[0][0] <= now:
            del self._open[bisect_left(self._open, heapq.heappop(self._ending)[1])]

    def _rows(self, states: frozenset[str] | None, offset: int, now: float) -> tuple[list[int], int]:
        found: range | list[int]
        if states is None:
            found = range(self._shown)
        elif states >= OPEN or (not self._queues and states <= OPEN and State.RUNNING in states):
            found = self._open
        else:
            found = [index for index in range(self._shown) if self.jobs[index].state(now) in states]
        end = max(0, len(found) - offset)
        return list(reversed(found[max(0, end - ROWS_PER_PAGE) : end])), len(found)


# --- the loop ---


class Told(NamedTuple):
    """A verdict and when it was given."""

    verdict: Verdict
    at: float


class Loop:
    """Waits on virtual time. What a request met is kept in `sent` (when) and `answered` (how, by kind of error)."""

    def __init__(
        self,
        provider: Provider,
        *,
        limits: Iterable[Limit] = (),
        latency: Callable[[], float] = lambda: LATENCY,
        seed: int = 0,
        chance: Callable[[], float] | None = None,
    ) -> None:
        self.provider = provider
        self.limits = tuple(limits)
        self.budget = Budget(self.limits)
        self.desk = Desk(
            SOURCE, provider.adapter, budget=lambda: self.budget, chance=chance or random.Random(seed).random
        )
        self.now = 0.0
        self.sent = array("d")
        self.sweeps = 0
        self.answered: Counter[str] = Counter()
        self.told: dict[str, Told] = {}
        self.held = 0.0
        self.unanswered = 0
        """The longest time for which nothing could be sent while something was due."""
        self._latency = latency
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._number = count()
        self._until = _NEVER
        self._under_way = 0
        self._turns: deque[tuple[Any, Callable[[Any], None]]] = deque()
        self._begun: deque[Callable[[], None]] = deque()
        self._serving = False
        self._waiting: set[Subscription] = set()
        self._rung: dict[Subscription, None] = {}

    def at(self, time: float, action: Callable[[], None]) -> None:
        """Do something at `time`."""
        heapq.heappush(self._events, (time, next(self._number), action))

    def wait(
        self,
        ids: Iterable[str],
        *,
        at: float = 0.0,
        timeout: float | None = None,
        policy: PollPolicy | None = None,
        terms: Terms | None = None,
        until: Until | None = "all",
    ) -> Subscription:
        """Wait for the bulks `ids`, from `at` on."""
        subscription = Subscription(
            terms=terms or Terms(),
            polling=policy or PollPolicy(),
            until=until,
            began=at,
            deadline=None if timeout is None else at + timeout,
            notify=lambda: self._rung.setdefault(subscription, None),
        )
        wanted = tuple(ids)

        def begin() -> None:
            self._waiting.add(subscription)
            self.desk.subscribe(subscription, wanted, self.now)

        self.at(at, begin)
        if subscription.deadline is not None:
            self.at(subscription.deadline, subscription.end)
        return subscription

    def run(self, until: float = _NEVER) -> None:
        """Let time pass until nothing is left to do, or to `until`."""
        while True:
            next_event = self._events[0][0] if self._events else _NEVER
            time = min(next_event, self._until)
            if time == _NEVER or time > until:
                return
            self.now = max(self.now, time)
            if next_event <= self._until:
                heapq.heappop(self._events)[2]()
            self._read()
            self._work()

    def _read(self) -> None:
        """What the owners of waits do: read the changes, and go when it is over."""
        while self._rung:
            subscription, _ = self._rung.popitem()
            for change in subscription.read():
                if change.verdict is not None:
                    self.told.setdefault(change.ref.partition(":")[2], Told(change.verdict, self.now))
            if subscription.over and subscription in self._waiting:
                self._waiting.remove(subscription)
                self.ended(subscription)
                self.desk.unsubscribe(subscription)

    def ended(self, subscription: Subscription) -> None:
        """A wait is over: for those who want to know more than `told`."""

    def _work(self) -> None:
        while (until := self._act()) is None:
            pass
        self._until = until
        while self._begun:  # tasks run when the one that began them waits
            self._begun.popleft()()

    def _act(self) -> float | None:
        due = self.desk.next_at(self.now)
        if due is None or self._under_way >= _SIDE_BY_SIDE:
            return _NEVER
        hold = self.desk.hold(self.now, ahead=self._under_way)
        if hold > 0:
            self._hold(hold, due)
        if max(due, self.now + hold) > self.now:
            return max(due, self.now + min(hold, LONG_HOLD))
        question = self.desk.take(self.now)
        if question is None:
            return self.now + _TICK
        self._under_way += 1
        begin = self._look if isinstance(question, Look) else self._sweep
        self._begun.append(partial(begin, question))
        return None

    def _hold(self, hold: float, due: float) -> None:
        self.held = max(self.held, self.now + hold - max(due, self.now))
        error = self.desk.refusal(self.now, ahead=self._under_way)
        if self.desk.is_held(error, under_way=self._under_way, sent=self.unanswered):
            self.desk.held(self.now + hold, error, self.now, moment(self.now))

    def _look(self, look: Look) -> None:
        began = self.now

        def done(answer: Any) -> None:
            if isinstance(answer, BulkStatusError):
                self.desk.look_failed(look, answer, self.now, moment(self.now))
            else:
                self.desk.looked(look, answer, self.now, moment(self.now))
            self._done(began)

        self._send(self.desk.call(look).request, done)

    def _sweep(self, question: Sweep) -> None:
        began = self.now
        self.sweeps += 1
        rows: dict[str, BulkStatus] = {}
        walk = sweep(
            self.desk.listings(question.states),
            None if question.scan else question.ids,
            rows,
            others=self.desk.others(question),
        )

        def over(swept: Swept) -> None:
            self.desk.swept(question, swept, self.now, moment(self.now))
            self._done(began)

        def room(call: Any) -> None:
            """The next page is asked for when the budget has a request to spare."""
            hold = self.desk.hold(self.now)
            wanted = self.desk.goes_on(question)
            if wanted and hold > 0:
                self.at(self.now + min(hold, 30.0) + 1e-9, partial(room, call))
                return
            self.desk.asks(question, self.now)
            if wanted:
                self._send(call.request, step)
            else:
                over(Swept(rows, len(rows)))

        def step(answer: Any) -> None:
            if isinstance(answer, BulkStatusError):
                self.desk.sweep_failed(question, answer, self.now, moment(self.now))
                self._done(began)
                return
            try:
                call = next(walk) if answer is None else walk.send(answer)
            except StopIteration as end:
                over(end.value if answer is not None else Swept({}, 1))
            else:
                if answer is None:
                    self._send(call.request, step)
                else:
                    self.desk.turned(question, answer.items, self.now, moment(self.now))
                    room(call)

        step(None)

    def _done(self, began: float) -> None:
        self.desk.took(self.now - began)
        self._under_way -= 1

    def _send(self, request: Any, then: Callable[[Any], None]) -> None:
        self._turns.append((request, then))
        if not self._serving:
            self._serve()

    def _serve(self) -> None:
        """First come, first served, as the budget allows."""
        self._serving = False
        while self._turns:
            hold = self.budget.wait(self.now)
            if hold > 0:
                self._serving = True
                # The sum of two floats may lie a hair before the moment at which the budget opens.
                self.at(self.now + hold + 1e-9, self._serve)
                return
            request, then = self._turns.popleft()
            self.budget.take(self.now)
            self.sent.append(self.now)
            self.unanswered += 1
            latency = self._latency()
            self.at(self.now + latency / 2, partial(self._reach, request, then, self.now + latency))

    def _reach(self, request: Any, then: Callable[[Any], None], received: float) -> None:
        """The request is with the provider, who answers."""
        try:
            answer = self.provider.answer(request, self.now, received)
        except BulkStatusError as error:
            answer = error.about(source=SOURCE, provider="scripted")
            answer.id = answer.id or (request if isinstance(request, str) else None)
        self.at(received, partial(self._receive, answer, then))

    def _receive(self, answer: Any, then: Callable[[Any], None]) -> None:
        self.unanswered -= 1
        self.provider.delivered(answer, self.now)
        if isinstance(answer, BulkStatusError):
            self.answered[answer.kind] += 1
            if isinstance(answer, RateLimited):
                self.budget.throttled(answer, self.now)
        else:
            self.answered["ok"] += 1
            self.budget.answered()
        then(answer)

    def over_budget(self) -> int:
        """How many requests were sent beyond a limit, in any window as long as it says."""
        return sum(excess(self.sent, limit) for limit in self.limits)


def excess(sent: "array[float] | list[float]", limit: Limit) -> int:
    """How many of the requests `sent` at these times came too early for `limit`."""
    gap = limit.requests
    return sum(sent[i] - sent[i - gap] < limit.seconds for i in range(gap, len(sent)))


# --- what a run shows ---


class Figures(NamedTuple):
    """What a run cost and how late it noticed. Delays in seconds, the relative one a share of the bulk's duration."""

    jobs: int
    requests: float
    """For each job."""
    mean: float
    median: float
    p95: float
    relative: float
    over_budget: int
    throttled: int
    missed: int
    """Jobs without their right verdict."""


def figures(loop: Loop) -> Figures:
    """What a run showed."""
    delays, shares, missed = [], [], 0
    for job in loop.provider.jobs:
        told = loop.told.get(job.id)
        if told is None or told.verdict.value != job.final.value:
            missed += 1
            continue
        delays.append(told.at - job.ends)
        shares.append((told.at - job.ends) / (job.ends - job.appears))
    number = len(loop.provider.jobs)
    return Figures(
        jobs=number,
        requests=len(loop.sent) / number,
        mean=fmean(delays) if delays else _NEVER,
        median=median(delays) if delays else _NEVER,
        p95=quantiles(delays, n=20)[-1] if len(delays) > 1 else sum(delays),
        relative=fmean(shares) if shares else _NEVER,
        over_budget=loop.over_budget(),
        throttled=loop.answered["rate_limited"],
        missed=missed,
    )


FINALS = (State.SUCCEEDED, State.PARTIAL, State.FAILED, State.CANCELLED, State.EXPIRED)


def populate(provider: Provider, law: str, arrivals: Iterable[float], seed: int) -> list[Job]:
    """Give the provider a job for each of `arrivals`, which ascend."""
    times = list(arrivals)
    for index, (appears, lasts) in enumerate(zip(times, durations(law, len(times), seed), strict=True)):
        provider.add(Job(index, appears, appears + lasts, FINALS[index % len(FINALS)]))
    return provider.jobs


def spread(number: int, over: float, seed: int) -> list[float]:
    """`number` moments at random within `over` seconds, ascending."""
    rng = random.Random(seed)
    return sorted(rng.uniform(0.0, over) for _ in range(number))


def one_by_one(
    provider: Provider,
    law: str,
    arrivals: Iterable[float],
    policy: PollPolicy,
    *,
    seed: int = 1,
    **options: Any,
) -> Figures:
    """Each job has a wait of its own, from when it appears."""
    loop = Loop(provider, seed=seed, **options)
    for job in populate(provider, law, arrivals, seed):
        loop.wait((job.id,), at=job.appears, policy=policy)
    loop.run()
    return figures(loop)


def together(
    provider: Provider, law: str, number: int, policy: PollPolicy, *, seed: int = 1, **options: Any
) -> Figures:
    """All jobs begin at once, and one wait is for all of them."""
    loop = Loop(provider, seed=seed, **options)
    jobs = populate(provider, law, [0.0] * number, seed)
    loop.wait([job.id for job in jobs], policy=policy)
    loop.run()
    return figures(loop)


# --- what to compare with ---


class Fixed(PollPolicy, frozen=True, kw_only=True):
    """Looks every so many seconds, whatever is known."""

    every: float

    def interval(self, age: float, **_: Any) -> float:
        return self.every


class Doubling(PollPolicy, frozen=True, kw_only=True):
    """Looks after 1, 2, 4, ... seconds, and every minute from then on: at the age 2**n - 1 the wait is 2**n."""

    def interval(self, age: float, **_: Any) -> float:
        return min(60.0, 1.0 + age)


def fixed_alone(lasts: Iterable[float], every: float, latency: float) -> tuple[float, float, float]:
    """Requests, mean delay and mean relative delay of looking every `every` seconds at jobs alone, in closed form."""
    requests, delays, shares = [], [], []
    period = every + latency
    for duration in lasts:
        looks = max(0, math.ceil((duration - latency / 2) / period))
        delay = looks * period + latency - duration
        requests.append(looks + 1)
        delays.append(delay)
        shares.append(delay / duration)
    return fmean(requests), fmean(delays), fmean(shares)


def walk_alone(
    lasts: Iterable[float], policy: PollPolicy, latency: float, *, floor: float, ceiling: float, seed: int
) -> tuple[float, float]:
    """Requests and mean relative delay of looking at jobs alone as `policy` says, without a desk."""
    chance = random.Random(seed).random
    requests, shares = 0, []
    for duration in lasts:
        sent = 0.0
        while True:
            requests += 1
            received = sent + latency
            if sent + latency / 2 >= duration:
                break
            sent = received + policy.interval(received, floor=floor, ceiling=ceiling, chance=chance())
        shares.append((received - duration) / duration)
    return requests / len(shares), fmean(shares)


def solve(measure: Callable[[float], float], goal: float, guess: float) -> float:
    """The number for which `measure`, which grows with it, gives `goal`, within 1 %."""
    low, high = guess, guess
    while measure(low) > goal:
        low /= 2
    while measure(high) < goal:
        high *= 2
    while high / low > 1.01:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if measure(middle) > goal else (middle, high)
    return low


def ref(id: str) -> Ref:
    """The reference of a scripted job."""
    return Ref(SOURCE, id)
