"""Waits for bulks of providers that fail in every way, and a judge who knows what the providers answered.

Each scenario follows from its number alone. `judge` gives a sentence for each verdict that the answers do not bear out.
"""

import random
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from benchmarks.world import FINALS, LATENCY, Job, Loop, Provider, durations, moment
from bulkstatus._adapter import Limit
from bulkstatus._call import Page
from bulkstatus._model import BulkStatus, State
from bulkstatus._outcome import Outcome, Verdict
from bulkstatus._polling import PRESETS
from bulkstatus._subscription import Subscription
from bulkstatus._track import Terms
from bulkstatus.errors import (
    AuthError,
    BulkStatusError,
    NotFound,
    ProtocolError,
    RateLimited,
    RequestRejected,
    Unavailable,
)

# The longest lead before a deadline is 10 s; what ended before that, and an answer's time, must have been seen.
_LAST_LOOK = 12.0
_KINDS = (
    "unavailable",
    "rate_limited",
    "auth",
    "not_found",
    "not_found_twice",
    "gone",
    "protocol",
    "rejected",
    "list_broken",
    "rows_missing",
    "stale",
    "unknown",
    "paused",
    "slow",
)


class Answer(NamedTuple):
    """What arrived about one bulk, as the how manieth answer of all: `state` for a status, `error` for a failure that names it."""

    order: int
    by_id: bool
    state: State | None
    provisional: bool = False
    error: str | None = None
    reason: str | None = None
    at: float = 0.0


class Faulty(Provider):
    """A provider that fails at random, in the ways `kinds`, until `calm_from`; all down during `outages`."""

    def __init__(
        self,
        rng: random.Random,
        *,
        kinds: tuple[str, ...],
        rate: float,
        calm_from: float,
        outages: tuple[tuple[float, float], ...],
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.calm_from = calm_from
        self.disturbed_until = 0.0
        self.heard: dict[str, list[Answer]] = defaultdict(list)
        self.met: Counter[str] = Counter()
        self.asked: Counter[str] = Counter()
        self.answered = False
        self.order = 0
        self.refused = float("inf")
        """Which answer refused the credentials, if there was no better one before."""
        self._rng = rng
        self._kinds = kinds
        self._rate = rate
        self._outages = outages
        self._missing: Counter[str] = Counter()

    def delivered(self, answer: Any, now: float) -> None:
        self.order += 1
        if isinstance(answer, BulkStatusError):
            if answer.kind == "auth" and not self.answered:
                self.refused = min(self.refused, self.order)
            if answer.id is not None:
                self.asked[answer.id] -= 1
                self.answered = self.answered or answer.kind in ("not_found", "protocol", "rejected")
                self.heard[answer.id].append(
                    Answer(
                        self.order, by_id=True, state=None, error=answer.kind, reason=answer.reason, at=now
                    )
                )
            return
        self.answered = True
        rows = answer.items if isinstance(answer, Page) else (answer,)
        for row in rows:
            by_id = row is answer
            self.asked[row.id] -= by_id
            if not by_id and self.asked[row.id]:
                continue  # the library waits for the bulk's own record, which says more
            self.heard[row.id].append(
                Answer(self.order, by_id=by_id, state=row.state, provisional=row.provisional, at=now)
            )

    def latency(self, now: float) -> float:
        """How long an answer takes."""
        if "slow" in self._kinds and now < self.calm_from and self._rng.random() < self._rate / 4:
            self.met["slow"] += 1
            spike = self._rng.uniform(1.0, 20.0)
            self.disturbed_until = max(self.disturbed_until, now + spike)
            return spike
        return LATENCY

    def answer(self, request: Any, now: float, received: float) -> Any:
        if now >= self.calm_from:
            return super().answer(request, now, received)
        if any(since <= now < until for since, until in self._outages):
            self._meet("outage", received)
            raise Unavailable("down")
        kind = self._rng.choice(self._kinds) if self._rng.random() < self._rate else None
        id = request if isinstance(request, str) else None
        if id is not None and self._missing[id]:
            self._missing[id] -= 1
            kind = "not_found"
        if kind is not None:
            self._meet(kind, received)
            self._refuse(kind, id)
        answer = super().answer(request, now, received)
        if kind in _TWISTS:
            if isinstance(answer, Page):
                return msgspec.structs.replace(answer, items=self._rows(answer, kind, now, received))
            return self._twist(answer, kind, now, received)
        return answer

    def _meet(self, kind: str, received: float) -> None:
        self.met[kind] += 1
        self.disturbed_until = max(self.disturbed_until, received)

    def _refuse(self, kind: str, id: str | None) -> None:
        """Raise what `kind` means for a question about `id`, or for a page."""
        if kind == "rate_limited":
            raise RateLimited("slow down", retry_after=self._rng.choice((None, 0.0, 3.0, 30.0, 300.0)))
        if kind in ("protocol", "list_broken") and (id is None or kind == "protocol"):
            raise ProtocolError("nonsense")
        if kind in _ERRORS:
            raise _ERRORS[kind]("refused")
        if id is not None and kind in ("not_found", "not_found_twice", "gone"):
            self._missing[id] += kind == "not_found_twice"
            raise NotFound("there is no such bulk", reason="gone" if kind == "gone" else None)

    def _page_rows(self, page: Page[BulkStatus]) -> list[BulkStatus]:
        return [row for row in page.items if self._rng.random() < 0.5]

    def _rows(self, *arguments: Any) -> Any:
        if not isinstance(arguments[0], Page):
            return super()._rows(*arguments)
        page, kind, now, received = arguments
        if kind == "rows_missing":
            return tuple(self._page_rows(page))
        return tuple(
            self._twist(row, kind, now, received) if self._rng.random() < 0.5 else row for row in page.items
        )

    def _twist(self, status: BulkStatus, kind: str, now: float, received: float) -> BulkStatus:
        """The status as a provider would give it that says a new word, or what was true some time ago."""
        job = self.jobs[int(status.id)]
        if kind == "unknown":
            return msgspec.structs.replace(status, state=State.UNKNOWN, native_state="NEW", provisional=False)
        if kind == "paused" and job.state(now) is State.RUNNING:
            return msgspec.structs.replace(status, state=State.PAUSED, native_state="paused")
        if kind == "stale":
            before = max(job.appears, now - self._rng.expovariate(1 / 60))
            return self.status(job, before, received, listed=status.provisional)
        return status

    def status(self, job: Job, now: float, received: float, *, listed: bool = False) -> BulkStatus:
        status = super().status(job, now, received, listed=listed)
        if status.provisional and self._rng.random() < 0.3:
            word = self._rng.choice(FINALS)
            return msgspec.structs.replace(status, state=word, native_state=word.value)
        return status


_TWISTS = frozenset({"rows_missing", "stale", "unknown", "paused"})
_ERRORS: dict[str, Callable[[str], BulkStatusError]] = {
    "unavailable": Unavailable,
    "auth": AuthError,
    "rejected": RequestRejected,
}


class Given(NamedTuple):
    """When something was settled, and after how many answers."""

    at: float
    order: int


class Watched(Loop):
    """A loop that keeps the outcome of each wait, and when each verdict in it was given."""

    def __init__(self, provider: Faulty, **options: Any) -> None:
        super().__init__(provider, latency=lambda: provider.latency(self.now), **options)
        self.waits: list[Subscription] = []
        self.ends: dict[Subscription, tuple[Given, Outcome]] = {}
        self.given: dict[tuple[Subscription, str], Given] = {}
        self.held_until: dict[float, float] = {}
        held = self.desk.held

        def noted(until: float, error: Any, now: float, at: Any) -> None:
            self.held_until[now] = max(self.held_until.get(now, 0.0), until)
            held(until, error, now, at)

        self.desk.held = noted  # type: ignore[method-assign]

    def wait(self, *arguments: Any, **options: Any) -> Subscription:
        subscription = super().wait(*arguments, **options)
        self.waits.append(subscription)
        return subscription

    def _send(self, request: Any, then: Callable[[Any], None]) -> None:
        if isinstance(request, str):
            self.provider.asked[request] += 1
        super()._send(request, then)

    def forget_holds(self) -> None:
        """Begin anew to measure how long the budget holds up questions."""
        self.held = 0.0

    def ended(self, subscription: Subscription) -> None:
        self.ends[subscription] = Given(self.now, self.provider.order), subscription.outcome(moment(self.now))

    def _read(self) -> None:
        for subscription in self._rung:
            for known in subscription.results:
                self.given.setdefault((subscription, known.id), Given(self.now, self.provider.order))
        super()._read()


class Scenario(NamedTuple):
    """One scenario after it was played."""

    number: int
    loop: Watched
    provider: Faulty
    calm_from: float
    held_when_calm: float


def play(number: int) -> Scenario:
    """Play scenario `number`."""
    rng = random.Random(number)
    calm_from = rng.choice((0.0, 60.0, 200.0, 400.0, 800.0, 1e9))
    provider = Faulty(
        rng,
        kinds=tuple(rng.sample(_KINDS, rng.randint(1, len(_KINDS)))),
        rate=rng.choice((0.0, 0.02, 0.1, 0.3, 0.6)),
        calm_from=calm_from,
        outages=tuple((start, start + rng.expovariate(1 / 200)) for start in _some_times(rng)),
        listing=rng.random() < 0.6,
        counts=rng.random() < 0.5,
        provisional=rng.random() < 0.5,
        floor=rng.choice((1.0, 2.0, 5.0)),
        ceiling=rng.choice((30.0, 60.0)),
    )
    size = rng.choice((1, 2, 5, 20, 60))
    limits = rng.choice(((), (Limit(600, 60),), (Limit(20, 5), Limit(300, 300)), (Limit(30, 60),)))
    loop = Watched(provider, limits=limits, seed=number)
    _add_jobs(provider, rng, size)
    for _ in range(rng.randint(1, 4)):
        _add_wait(loop, rng)
    held: list[float] = []

    def calm_down() -> None:
        """The last pause that was asked for has to pass; what holds questions up after it is the budget."""
        held.append(loop.now + loop.budget.pause(loop.now))
        loop.at(held[0] + 0.001, loop.forget_holds)

    loop.at(calm_from, calm_down)
    loop.run(until=20_000.0)
    calm = max([calm_from, provider.disturbed_until, *held]) if held else 1e9
    return Scenario(number, loop, provider, calm, loop.held)


def _some_times(rng: random.Random) -> list[float]:
    return sorted(rng.uniform(0.0, 800.0) for _ in range(rng.choice((0, 0, 1, 2))))


def _add_jobs(provider: Faulty, rng: random.Random, size: int) -> None:
    appear = sorted(rng.choice((0.0, 0.0, rng.uniform(0.0, 30.0))) for _ in range(size))
    law = rng.choice(("lognormal", "Pareto", "log-uniform"))
    for index, lasts in enumerate(durations(law, size, rng.randrange(10**6))):
        begins = appear[index] + rng.choice((0.0, rng.uniform(0.0, 0.5) * lasts))
        ends = appear[index] + lasts
        provider.add(Job(index, appear[index], ends, rng.choice(FINALS), begins=begins))


def _add_wait(loop: Watched, rng: random.Random) -> None:
    ids = [job.id for job in loop.provider.jobs]
    loop.wait(
        rng.sample(ids, rng.randint(1, len(ids))),
        at=rng.uniform(0.0, 60.0),
        timeout=rng.choice((rng.uniform(60.0, 300.0), rng.uniform(300.0, 1_500.0))),
        policy=rng.choice(tuple(PRESETS.values())),
        until=rng.choice(("all", "all", "all", "any", "first_failure")),
        terms=Terms(
            stop_when_blocked=rng.random() < 0.2,
            blind_after=rng.choice((60.0, 600.0)),
            grace=rng.choice((0.0, 20.0)),
        ),
    )


# --- the judge ---


class Judgement(NamedTuple):
    """What is wrong with a scenario's verdicts, how many there were of each, and of how many the right one was due."""

    wrong: list[str]
    verdicts: Counter[str]
    due: int
    polls: int
    unasked: int
    """Bulks that are said to be blind though no question about them had failed yet."""


def judge(scenario: Scenario) -> Judgement:
    """Compare the verdicts of a scenario with what was answered, and with the truth."""
    loop, wrong, verdicts, due, unasked = scenario.loop, [], Counter[str](), 0, 0
    for subscription in loop.waits:
        end, outcome = loop.ends.get(subscription, (None, ()))
        if end is None or end.at > subscription.deadline:
            wrong.append(f"a wait that was to end at {subscription.deadline:.1f} did not")
            continue
        for result in outcome:
            id = result.ref.partition(":")[2]
            verdicts[result.verdict.value] += 1
            unasked += result.verdict is Verdict.BLIND and result.failure is None
            given = loop.given.get((subscription, id), end)
            fault = _unfounded(scenario, subscription, id, result.verdict, given)
            if fault is None and _is_due(scenario, subscription, id, result.verdict, given):
                due += 1
                if result.verdict.value != scenario.provider.jobs[int(id)].final.value:
                    fault = "the provider answered well until the deadline, and the bulk had ended"
            if fault is not None:
                wrong.append(f"{result.ref} {result.verdict} at {given.at:.1f}: {fault}")
    if loop.over_budget():
        wrong.append(f"{loop.over_budget()} requests beyond the budget")
    return Judgement(wrong, verdicts, due, len(loop.sent), unasked)


def _unfounded(
    scenario: Scenario, subscription: Subscription, id: str, verdict: Verdict, given: Given
) -> str | None:
    """Why the answers up to then do not bear out `verdict`; None when they do."""
    heard = [answer for answer in scenario.provider.heard[id] if answer.order <= given.order]
    # Told at once that nothing will be asked before the deadline: as good as the deadline.
    given_up = any(
        at <= given.at and subscription.deadline < until for at, until in scenario.loop.held_until.items()
    )
    over = given_up or (subscription, id) not in scenario.loop.given
    if verdict.is_end:
        job = scenario.provider.jobs[int(id)]
        said = any(answer.state == verdict.value and not answer.provisional for answer in heard)
        if not said or verdict.value != job.final.value:
            return "the provider never said so"
        return None
    check = _CHECKS[verdict]
    return check(scenario, heard, subscription, given, over=over)


def _pending(
    case: Scenario, heard: list[Answer], wait: Subscription, given: Given, *, over: bool
) -> str | None:
    seen = [a for a in heard if a.at >= wait.began and a.by_id and a.state and a.state.is_terminal]
    return "its end was read" if seen else None


def _blocked(
    case: Scenario, heard: list[Answer], wait: Subscription, given: Given, *, over: bool
) -> str | None:
    paused = any(answer.state is State.PAUSED for answer in heard)
    return None if paused and wait.terms.stop_when_blocked else "it was never paused"


def _missing(
    case: Scenario, heard: list[Answer], wait: Subscription, given: Given, *, over: bool
) -> str | None:
    looks = [answer for answer in heard if answer.by_id]
    # Where no grace is given, one answer has to do.
    enough = looks and looks[-1].error == "not_found" and not wait.terms.grace
    return None if enough or _is_lost(looks) else "it was not missed twice in a row"


def _gone(case: Scenario, heard: list[Answer], wait: Subscription, given: Given, *, over: bool) -> str | None:
    if not any(answer.state is not None for answer in heard):
        return "it was never there"
    return (
        None if _is_lost([answer for answer in heard if answer.by_id]) else "it was not missed twice in a row"
    )


def _is_lost(looks: list[Answer]) -> bool:
    """True when it was missed twice in a row, or missed after the provider had said that it is gone."""
    if not looks or looks[-1].error != "not_found":
        return False
    seen = max((index for index, look in enumerate(looks) if look.state is not None), default=-1)
    forgotten = any(look.reason == "gone" for look in looks[seen + 1 :])
    return forgotten or (len(looks) > 1 and looks[-2].error == "not_found")


def _blind(
    case: Scenario, heard: list[Answer], wait: Subscription, given: Given, *, over: bool
) -> str | None:
    good = [answer.at for answer in heard if answer.state is not None and not answer.provisional]
    seen_meanwhile = any(at > wait.began for at in good)
    hopeless = any(answer.error == "rejected" for answer in heard) or case.provider.refused <= given.order
    patience = wait.terms.blind_after - 1e-6  # times are sums of floats
    recently = any(at > given.at - patience for at in good)
    if not recently and given.at - wait.began >= patience:
        return None
    if over or (hopeless and not seen_meanwhile):
        return "it was seen meanwhile" if seen_meanwhile else None
    return "too soon"


_CHECKS = {
    Verdict.PENDING: _pending,
    Verdict.BLOCKED: _blocked,
    Verdict.NOT_FOUND: _missing,
    Verdict.GONE: _gone,
    Verdict.BLIND: _blind,
}


def _is_due(scenario: Scenario, subscription: Subscription, id: str, verdict: Verdict, given: Given) -> bool:
    """True when the bulk's own end had to be the verdict: it had ended, and could be asked for in time.

    Not so where the wait was over for other reasons, and where the budget did not let the questions through.
    """
    job = scenario.provider.jobs[int(id)]
    last = subscription.deadline - _LAST_LOOK
    early = not verdict.is_end and given.at < max(scenario.calm_from, subscription.deadline - 1e-6)
    return (
        subscription.until == "all"
        and not early
        and not scenario.held_when_calm
        and job.ends <= last
        and scenario.calm_from <= last
    )


def campaign(polls: int, first: int = 0, *, say: Callable[[str], None] = print) -> tuple[list[str], str]:
    """Play scenarios from number `first` on until so many requests were made; what was wrong, and a summary."""
    wrong: list[str] = []
    verdicts: Counter[str] = Counter()
    met: Counter[str] = Counter()
    made, due, unasked, number = 0, 0, 0, first
    while made < polls:
        scenario = play(number)
        found = judge(scenario)
        for sentence in found.wrong:
            wrong.append(f"scenario {number}: {sentence}")
            say(wrong[-1])
        verdicts += found.verdicts
        met += scenario.provider.met
        made += found.polls
        due += found.due
        unasked += found.unasked
        number += 1
    lines = [
        f"{made:,} requests in {number - first:,} scenarios, {sum(met.values()):,} faults",
        f"{sum(verdicts.values()):,} verdicts, {len(wrong)} of them wrong",
        f"the bulk's own end was due in {due:,} cases",
        f"blind without a failure, since the wait was over before the bulk was looked at: {unasked:,}",
        "verdicts: " + ", ".join(f"{name} {number:,}" for name, number in verdicts.most_common()),
        "faults: " + ", ".join(f"{name} {number:,}" for name, number in met.most_common()),
    ]
    return wrong, "\n".join(lines)
