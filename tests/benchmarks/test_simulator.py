"""The simulator plays what the library does, and the library reaches its goals in it."""

from itertools import count

import anyio
import pytest

from benchmarks import simulate
from benchmarks.world import (
    DURATIONS,
    FIVE_MINUTES,
    HOUR,
    Fixed,
    Job,
    Limit,
    Loop,
    Provider,
    durations,
    excess,
    figures,
    fixed_alone,
    one_by_one,
    populate,
    solve,
    spread,
    together,
    walk_alone,
)
from bulkstatus._budget import Budget
from bulkstatus._follow import Follower
from bulkstatus._model import Ref, State
from bulkstatus._polling import PRESETS, PollPolicy
from bulkstatus._recorder import Recorder
from bulkstatus._subscription import Subscription
from bulkstatus._tasks import now
from bulkstatus._track import Terms
from virtual import run_virtually

pytestmark = pytest.mark.unrecorded


def uneven():
    """Latencies that are never the same: at one moment, the order of answers is nobody's promise."""
    number = count()
    return lambda: 0.2 + 0.05 * (0.618034 * next(number) % 1.0)


class StubEngine:
    """What a follower wants of an engine, for a scripted provider."""

    def __init__(self, provider, limits, group):
        self.moments = []
        self._unanswered = 0
        self._provider = provider
        self._latency = uneven()
        self._budget = Budget(limits)
        self._group = group

    def tasks(self):
        return self._group

    def budget(self, source):
        return self._budget

    def sent(self, source):
        return self._unanswered

    async def perform(self, source, call, *, id=None):
        if (pause := self._budget.wait(now())) > 0:
            await anyio.sleep(pause + 1e-9)
        self._budget.take(now())
        self.moments.append(now())
        self._unanswered += 1
        half = self._latency() / 2
        await anyio.sleep(half)
        answer = self._provider.answer(call.request, now(), now() + half)
        await anyio.sleep(half)
        self._unanswered -= 1
        self._budget.answered()
        return answer


def followed(provider, limits, timeout):
    """When the library's own follower sends its requests for one wait, and what comes of it."""

    async def main():
        async with anyio.create_task_group() as group:
            engine = StubEngine(provider, limits, group)
            follower = Follower(engine, {"sim": provider.adapter}, Recorder(None, {}), chance=lambda: 0.5)
            over = anyio.Event()
            wait = Subscription(
                terms=Terms(),
                polling=PollPolicy(),
                until="all",
                deadline=timeout,
                notify=lambda: over.set() if wait.over else None,
            )
            follower.subscribe(wait, [Ref("sim", job.id) for job in provider.jobs])
            with anyio.move_on_after(timeout):
                await over.wait()
            wait.end()
            follower.unsubscribe(wait)
            group.cancel_scope.cancel()
            return engine.moments, {ref.id: result.verdict for ref, result in wait.results.items()}

    return run_virtually(main)


@pytest.mark.parametrize("listing", [False, True], ids=["by id", "list"])
@pytest.mark.parametrize("provisional", [False, True], ids=["final", "provisional"])
@pytest.mark.parametrize("limits", [(), (Limit(40, 30),)], ids=["free", "limited"])
def test_the_loop_sends_what_the_follower_sends(listing, provisional, limits):
    """The simulated loop and the library's follower send their requests at the same moments, and agree on the end."""

    def provider():
        made = Provider(listing=listing, provisional=provisional, counts=True)
        populate(made, "lognormal", [0.0] * 30, seed=5)
        return made

    sent, verdicts = followed(provider(), limits, 400.0)
    loop = Loop(provider(), limits=limits, latency=uneven(), chance=lambda: 0.5)
    wait = loop.wait([job.id for job in loop.provider.jobs], timeout=400.0)
    loop.run()
    assert list(loop.sent) == pytest.approx(sent, abs=1e-3)
    assert {ref.id: result.verdict for ref, result in wait.results.items()} == verdicts


@pytest.mark.parametrize("law", DURATIONS)
def test_jobs_alone_are_looked_at_as_reckoned(law):
    """What is reckoned for jobs alone, in closed form and step by step, is what the desk does."""
    lasts = durations(law, 40, seed=3)
    arrivals = [index * 20_000.0 for index in range(40)]
    by_desk = one_by_one(Provider(), law, arrivals, Fixed(every=11), seed=3)
    requests, mean, relative = fixed_alone(lasts, 11, 0.2)
    assert (by_desk.requests, by_desk.mean, by_desk.relative) == pytest.approx((requests, mean, relative))
    steady = PollPolicy(jitter=0)
    by_desk = one_by_one(Provider(), law, arrivals, steady, seed=3)
    walked = walk_alone(lasts, steady, 0.2, floor=1.0, ceiling=60.0, seed=0)
    assert (by_desk.requests, by_desk.relative) == pytest.approx(walked, rel=1e-4)


def test_the_same_seed_gives_the_same_figures():
    """A run is reproduced by its seed, and another seed gives another run."""

    def run(seed):
        return together(Provider(listing=True), "lognormal", 50, PollPolicy(), seed=seed)

    assert run(1) == run(1)
    assert run(1) != run(2)


def test_a_provider_shows_pages_of_what_stands_so_at_that_moment():
    """A page holds the bulks in the states asked for, newest first, with the total; later ones are not there yet."""
    provider = Provider(listing=True, provisional=True)
    for index in range(250):
        provider.add(
            Job(
                index,
                float(index),
                (200.0 if index < 200 else 1e6) if index % 2 else 1e6,
                State.FAILED,
                begins=index + 1.0,
            )
        )
    unfinished = frozenset({State.QUEUED, State.RUNNING, State.PAUSED})
    page = provider.page(unfinished, 0, 150.5, 150.5)
    assert [row.id for row in page.items[:2]] == ["150", "149"]
    assert (page.received, page.total, page.items[0].state) == (100, 151, State.QUEUED)
    page = provider.page(unfinished, 100, 220.0, 220.0)
    assert page.total == 121
    assert [row.id for row in page.items[-2:]] == ["2", "0"]
    everything = provider.page(None, 0, 220.0, 220.0)
    assert everything.total == 221
    assert {row.state for row in everything.items if row.provisional} == {State.FAILED}
    assert [row.id for row in provider.page(frozenset({State.FAILED}), 0, 220.0, 220.0).items[:1]] == ["199"]


def test_requests_that_come_too_early_are_counted():
    """One request more than a limit allows within its time is found, wherever it lies."""
    limit = Limit(3, 10)
    assert excess([0.0, 1.0, 2.0, 10.0, 11.0, 12.0], limit) == 0
    assert excess([0.0, 1.0, 2.0, 9.9, 11.0, 12.0], limit) == 1
    assert excess([0.0] * 5, limit) == 2


def test_a_job_nobody_saw_end_is_counted():
    """A job without its right verdict is missed, and its delay is in no mean."""
    provider = Provider()
    provider.add(Job(0, 0.0, 5.0, State.SUCCEEDED))
    provider.add(Job(1, 0.0, 5_000.0, State.SUCCEEDED))
    loop = Loop(provider)
    loop.wait(["0", "1"], timeout=60.0)
    loop.run()
    found = figures(loop)
    assert found.missed == 1
    assert 0 < found.mean < 10


def test_a_law_is_solved():
    """The number that gives a goal is found from either side."""
    assert solve(lambda number: number**2, 9.0, 100.0) == pytest.approx(3.0, rel=0.02)
    assert solve(lambda number: number**2, 9.0, 0.1) == pytest.approx(3.0, rel=0.02)


@pytest.mark.parametrize("law", DURATIONS)
def test_age_alone_saves_most_requests(law):
    """For 10 % mean relative delay, intervals by age take at most 0.4 times the requests of a fixed interval."""
    goal = simulate.by_age(law)
    assert goal.reached <= goal.most, goal


def test_counts_save_requests_and_time():
    """With counts it takes at most 0.35 times the requests of a fixed 5 s, and is no later."""
    for goal in simulate.by_counts():
        assert goal.reached <= goal.most, goal


def test_a_list_saves_requests_and_time():
    """A hundred jobs in a list take at most 0.15 times the requests of asking for each every 5 s, no later."""
    for goal in simulate.by_list():
        assert goal.reached <= goal.most, goal


def test_ten_thousand_jobs_an_hour_fit_into_a_budget():
    """10,000 jobs in an hour, under 1,200 requests in 5 minutes, are seen to end 10 s late in the mean at most."""
    goal = simulate.by_list_in_an_hour()
    assert goal.reached <= goal.most, goal


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("listing", [False, True], ids=["by id", "list"])
def test_a_tight_budget_is_kept(preset, listing):
    """However tight the budget, no window holds more requests than it allows, and every end is told in time."""
    found = one_by_one(
        Provider(listing=listing),
        "lognormal",
        spread(300, HOUR / 4, seed=2),
        PRESETS[preset],
        limits=(Limit(10, 5), Limit(FIVE_MINUTES[0].requests // 4, 300)),
    )
    assert (found.over_budget, found.throttled, found.missed) == (0, 0, 0)
