"""The requests that one credential may cost: our own limits, and the pauses its provider asks for."""

import itertools
from contextlib import suppress
from typing import ClassVar

import anyio
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkstatus import AsyncClient, Policy, RateLimited, Unavailable, Verdict
from bulkstatus._adapter import Remaining
from bulkstatus._budget import Allowance, Budget
from bulkstatus.adapter import Limit
from bulkstatus.testing import FakeResponse, FakeTransport, Fault, Life, ManualClock
from bulkstatus_weavr.fake import WeavrFake
from support import Plain, Scripted
from virtual import VirtualClock, run_virtually

limits = st.lists(st.builds(Limit, st.integers(1, 8), st.floats(0.1, 100)), min_size=1, max_size=3).map(tuple)


@pytest.fixture
def clock():
    """A clock moved by hand."""
    return ManualClock(1000.0)


@pytest.fixture
def budget():
    """A budget without limits of its own."""
    return Budget(())


def slow_down(seconds=None):
    """A 429, with or without a number."""
    return RateLimited("slow down", retry_after=seconds)


# --- pauses ---


def test_a_pause_is_kept_to_its_end(budget, clock):
    """It runs down with the clock, and then it is over."""
    budget.throttled(slow_down(10), clock())
    for advance, left in ((0, 10), (4, 6), (6, 0), (5, 0)):
        clock.advance(advance)
        assert budget.pause(clock()) == left


@pytest.mark.parametrize("later", [0, 1, 59, None])
def test_a_later_shorter_pause_does_not_shorten_an_earlier_longer_one(budget, clock, later):
    """Answers to requests that were under way together arrive in any order."""
    budget.throttled(slow_down(60), clock())
    clock.advance(1)
    budget.throttled(slow_down(later), clock())
    assert budget.pause(clock()) == max(59, later or 0)


def test_a_later_longer_pause_counts(budget, clock):
    """The longest of all that were asked for."""
    budget.throttled(slow_down(5), clock())
    budget.throttled(slow_down(50), clock())
    assert budget.pause(clock()) == 50


def test_an_answer_does_not_shorten_a_pause(budget, clock):
    """A question sent before the pause may be answered during it."""
    budget.throttled(slow_down(30), clock())
    budget.answered()
    assert budget.pause(clock()) == 30


@pytest.mark.parametrize("seconds", [3_601, 86_400, 1e9])
def test_a_pause_lasts_an_hour_at_most(budget, clock, seconds):
    """A mistaken header does not shut a source off for days."""
    budget.throttled(slow_down(seconds), clock())
    assert budget.pause(clock()) == 3_600


def test_without_a_number_pauses_double_up_to_a_minute(budget, clock):
    """1, 2, 4 ... 60 s, as long as each attempt after a pause is throttled again."""
    pauses = []
    for _ in range(9):
        budget.throttled(slow_down(), clock())
        pauses.append(budget.pause(clock()))
        clock.advance(pauses[-1])
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_a_burst_counts_once(budget, clock):
    """Eight 429s for eight requests that were under way together are one sign, not eight."""
    for _ in range(8):
        budget.throttled(slow_down(), clock())
        clock.advance(0.01)
    assert budget.pause(clock()) == pytest.approx(0.99)  # from the last of them on
    clock.advance(2)
    for _ in range(8):
        budget.throttled(slow_down(), clock())
    assert budget.pause(clock()) == 2


def test_an_answer_begins_the_doubling_anew(budget, clock):
    """Who was answered is no longer throttled."""
    for _ in range(5):
        budget.throttled(slow_down(), clock())
        clock.advance(budget.pause(clock()))
    budget.answered()
    budget.throttled(slow_down(), clock())
    assert budget.pause(clock()) == 1


def test_a_provider_that_throttles_for_days_is_still_asked_after_a_minute(budget, clock):
    """However often it asked to slow down, the guess stays a minute."""
    for _ in range(3_000):
        budget.throttled(slow_down(), clock())
        clock.advance(budget.pause(clock()))
    budget.throttled(slow_down(), clock())
    assert budget.pause(clock()) == 60


def test_a_pause_holds_back_a_budget_without_limits(budget, clock):
    """`wait` is the longer of the pause and the limits."""
    assert budget.wait(clock()) == 0
    budget.throttled(slow_down(7), clock())
    assert budget.wait(clock()) == 7


# --- limits ---


def granted(budget, gaps, *, reserve=0.0):
    """The times at which requests went that were wanted after `gaps`, each as soon as the budget let it."""
    now, times = 0.0, []
    for gap in gaps:
        now += gap
        while (hold := budget.wait(now, reserve=reserve)) > 0:
            now += hold
        budget.take(now)
        times.append(now)
    return times


@given(limits=limits, gaps=st.lists(st.floats(0, 30), max_size=60))
def test_no_limit_is_ever_gone_over_in_any_window(limits, gaps):
    """Whoever sends when `wait` is 0 keeps all limits, whenever the provider's windows begin."""
    times = granted(Budget(limits), gaps)
    for limit in limits:
        for first, last in zip(times, times[limit.requests :], strict=False):
            assert last - first >= limit.seconds


@given(
    limits=limits,
    gaps=st.lists(st.floats(0, 30), max_size=40),
    reserve=st.floats(0, 0.9),
    waited=st.floats(0, 1),
)
def test_a_wait_is_as_short_as_it_may_be(limits, gaps, reserve, waited):
    """Before its end it is still a wait, and the reserve only makes it longer."""
    budget = Budget(limits)
    times = granted(budget, gaps, reserve=reserve)
    now = times[-1] if times else 0.0
    hold = budget.wait(now)
    assert hold <= budget.wait(now, reserve=reserve)
    if hold > 1e-6 and waited < 0.999:
        assert budget.wait(now + waited * hold) > 0


@given(limits=limits, gaps=st.lists(st.floats(0, 30), max_size=40), reserve=st.floats(0, 0.95))
def test_a_reserve_is_left_alone(limits, gaps, reserve):
    """Who keeps a reserve never takes the last of a limit, but for one request that is always allowed."""
    times = granted(Budget(limits), gaps, reserve=reserve)
    for limit in limits:
        most = max(1, int(limit.requests * (1 - reserve)))
        for first, last in zip(times, times[most:], strict=False):
            assert last - first >= limit.seconds


def test_a_reserve_is_there_for_others():
    """What a wait leaves, a single question may take at once."""
    budget = Budget((Limit(10, 60),))
    for _ in range(9):
        budget.take(0.0)
    assert budget.wait(0.0, reserve=0.1) > 0
    assert budget.wait(0.0) == 0


def test_windows_are_kept_a_little_longer_than_they_are():
    """Requests arrive later than they are sent, and not all equally so: 2 % are added, one second at most."""
    for seconds, kept in ((10, 10.2), (50, 51), (86_400, 86_401)):
        budget = Budget((Limit(1, seconds),))
        budget.take(0.0)
        assert budget.wait(0.0) == pytest.approx(kept)


@given(limits=limits, gaps=st.lists(st.floats(0, 30), max_size=40))
def test_what_is_left_is_what_may_be_sent_at_once(limits, gaps):
    """The least of all allowances, sent now, leaves nothing."""
    budget = Budget(limits)
    times = granted(budget, gaps)
    now = times[-1] if times else 0.0
    for _ in range(min(allowance.left for allowance in budget.left(now))):
        assert budget.wait(now) == 0
        budget.take(now)
    assert budget.wait(now) > 0
    assert min(allowance.left for allowance in budget.left(now)) == 0


def test_allowances_say_what_is_kept():
    """One for each limit, in the order given, as words too."""
    budget = Budget((Limit(2, 60), Limit(1000, 3600)))
    budget.take(0.0)
    assert budget.left(1.0) == (
        Allowance(requests=2, seconds=60, left=1),
        Allowance(requests=1000, seconds=3600, left=999),
    )
    assert [str(allowance) for allowance in budget.left(1.0)] == ["1 of 2 in 60 s", "999 of 1,000 in 3600 s"]
    assert budget.left(100.0)[0].left == 2


@pytest.mark.parametrize(
    ("used", "share"), [(0, 0), (49, 0), (50, 0), (60, 1 / 3), (70, 1), (80, 3), (100, 5)]
)
def test_spacing_begins_at_half_a_limit_and_sustains_it_at_seventy_percent(used, share):
    """0 while half is free; what makes the limit last when 70 % is used, and more than that beyond."""
    budget = Budget((Limit(100, 10),))
    for _ in range(used):
        budget.take(0.0)
    assert budget.spacing(0.0) == pytest.approx(share * 10.2 / 100)


def test_the_scarcest_limit_spaces():
    """A limit for a day slows what goes on all day."""
    budget = Budget((Limit(100, 1), Limit(1_000, 86_400)))
    for number in range(1_000):
        budget.take(number * 10.0)
    assert budget.spacing(10_000.0) == pytest.approx(5 * 86_401 / 1_000)
    assert Budget(()).spacing(0.0) == 0


# --- who shares one ---


class Narrow(Plain, frozen=True, kw_only=True):
    """A plain provider that allows two requests in ten seconds."""

    limits: ClassVar[tuple[Limit, ...]] = (Limit(2, 10),)


A, B = "https://a.test", "https://b.test"


async def _times(sources, count, *, fakes=None, policy=None):
    """When the answers to `count` questions came, asked at once and in turn of each of `sources`."""
    fakes = fakes or {A: Scripted(), B: Scripted()}
    found = []

    async def one(client, source):
        await client.get(f"{source}:a1")
        found.append((source, round(anyio.current_time(), 3)))

    async with (
        AsyncClient(sources, transport=FakeTransport(fakes), policy=policy) as client,
        anyio.create_task_group() as group,
    ):
        for _, source in zip(range(count), itertools.cycle(sources), strict=False):
            group.start_soon(one, client, source)
    return sorted(found, key=lambda pair: pair[1])


def shared(first, second):
    """True when two sources are counted together: then the third and fourth of four questions have to wait."""

    async def main():
        return [at for _, at in await _times({"one": first, "two": second}, 4)]

    times = run_virtually(main)
    assert times in ([0, 0, 10.2, 10.2], [0, 0, 0, 0])
    return times[-1] > 0


def test_two_sources_of_one_credential_share_a_budget():
    """Also on different paths of one host."""
    assert shared(Narrow(base_url=A), Narrow(base_url=A))
    assert shared(Narrow(base_url=A + "/v1"), Narrow(base_url=A + "/v2"))


def test_other_credentials_and_other_hosts_have_budgets_of_their_own():
    """One is not slowed by the other."""
    assert not shared(Narrow(base_url=A), Narrow(base_url=A, token="another-token"))
    assert not shared(Narrow(base_url=A), Narrow(base_url=B))


def test_credentials_that_are_fetched_are_compared_once_they_are_there():
    """A function that gives the same token shares the budget with one that is written down."""
    assert shared(Narrow(base_url=A, token=lambda: "plain-token"), Narrow(base_url=A))
    assert not shared(Narrow(base_url=A, token=lambda: "another-token"), Narrow(base_url=A))


def test_the_strictest_budget_of_one_credential_holds():
    """Whichever of its sources is asked first, since the provider counts them together."""
    wide, narrow = Narrow(base_url=A, budget=(Limit(100, 10),)), Narrow(base_url=A)
    assert shared(narrow, wide)
    assert shared(wide, narrow)


def test_a_pause_is_for_all_sources_of_one_credential():
    """The provider throttles the credential, not our name for it."""
    fake = Scripted()
    fake.fail(Fault(status=429, headers={"Retry-After": "30"}))
    sources = {
        "one": Plain(base_url=A),
        "two": Plain(base_url=A),
        "other": Plain(base_url=A, token="other-token"),
    }

    async def main():
        async with AsyncClient(
            sources, transport=FakeTransport({A: fake}), policy=Policy(attempts=1)
        ) as client:
            with pytest.raises(RateLimited):
                await client.get("one:a1")
            await client.get("other:a1")
            at = anyio.current_time()
            await client.get("two:a1")
            return at, anyio.current_time()

    assert run_virtually(main) == (0, 30)


# --- when it is used up ---


def test_a_question_waits_its_turn_for_a_budget():
    """First come, first served, each as soon as it may."""

    async def main():
        return await _times({"one": Narrow(base_url=A)}, 6)

    assert [at for _, at in run_virtually(main)] == [0, 0, 10.2, 10.2, 20.4, 20.4]


def test_a_budget_that_is_used_up_for_longer_than_anybody_waits_is_an_error():
    """It says so, and when it will not be; nothing is sent."""
    fake = Scripted()
    sources = {"one": Narrow(base_url=A, budget=(Limit(1, 600),))}

    async def main():
        async with AsyncClient(sources, transport=FakeTransport({A: fake})) as client:
            await client.get("one:a1")
            await anyio.sleep(100)
            with pytest.raises(RateLimited, match="nothing was sent") as caught:
                await client.get("one:a1")
            assert anyio.current_time() == 100
            return caught.value

    error = run_virtually(main)
    assert (error.reason, error.source, error.provider) == ("budget", "one", "plain")
    assert error.retry_after == pytest.approx(501)
    assert "1 in 600 s" in error.message
    assert len(fake.requests) == 1


def test_nobody_waits_for_a_budget_beyond_their_patience():
    """Also those who stand behind others: each is answered or told in time."""
    fake = Scripted()
    sources = {"one": Narrow(base_url=A, budget=(Limit(1, 10),))}
    ends = []

    async def one(client):
        with suppress(RateLimited):
            await client.get("one:a1")
        ends.append(anyio.current_time())

    async def main():
        policy = Policy(patience=60)
        async with (
            AsyncClient(sources, transport=FakeTransport({A: fake}), policy=policy) as client,
            anyio.create_task_group() as group,
        ):
            for _ in range(20):
                group.start_soon(one, client)

    run_virtually(main)
    assert len(ends) == 20
    assert max(ends) <= 61


def test_a_question_that_gives_up_waiting_takes_nothing_from_the_budget():
    """It is not sent, and the next one goes when it would have gone."""
    fake = Scripted()
    sources = {"one": Narrow(base_url=A, budget=(Limit(1, 10),))}

    async def main():
        async with AsyncClient(sources, transport=FakeTransport({A: fake})) as client:
            await client.get("one:a1")
            with pytest.raises(TimeoutError):
                await client.get("one:a1", timeout=5)
            await client.get("one:a1")
            return anyio.current_time()

    assert run_virtually(main) == pytest.approx(10.2)
    assert len(fake.requests) == 2


def test_a_request_for_a_token_is_counted_too():
    """It costs the same credential a request."""
    fake = Scripted()
    sources = {"one": Narrow(base_url=A, token_url=A)}

    async def main():
        return await _times(sources, 2, fakes={A: fake})

    assert [at for _, at in run_virtually(main)] == [0, 10.2]
    assert fake.paths() == ["/token", "/bulks/a1", "/bulks/a1"]


def test_each_retry_is_counted():
    """The provider counts requests, not questions."""
    fake = Scripted(lambda _: FakeResponse(status=500))
    sources = {"one": Narrow(base_url=A)}

    async def main():
        async with AsyncClient(
            sources, transport=FakeTransport({A: fake}), policy=Policy(attempts=3)
        ) as client:
            with pytest.raises(Unavailable):
                await client.get("one:a1")
            return anyio.current_time()

    assert run_virtually(main) > 10
    assert len(fake.requests) == 3


def test_a_pause_that_outlasts_a_waits_patience_makes_it_blind():
    """Also where the wait has no deadline: nothing is sent in an hour, and ten minutes were asked for."""
    fake = Scripted()

    async def main():
        async with AsyncClient({"one": Plain(base_url=A)}, transport=FakeTransport({A: fake})) as client:
            with anyio.move_on_after(0.1):
                await client.wait("one:a1")
            fake.fail(Fault(status=429, headers={"Retry-After": "3600"}, times=None))
            outcome = await client.wait("one:a1", blind_after=600)
            return outcome.verdicts, anyio.current_time()

    verdicts, ended = run_virtually(main)
    assert verdicts == {"one:a1": Verdict.BLIND}
    assert ended < 700


def test_a_wait_leaves_the_last_of_a_budget_to_single_questions():
    """A tenth of each limit: so many may still be asked at once, however long many bulks have been waited for."""
    fake = Scripted()
    sources = {"one": Plain(base_url=A, budget=(Limit(20, 600),))}

    async def main():
        async with AsyncClient(sources, transport=FakeTransport({A: fake})) as client:
            with anyio.move_on_after(30):
                await client.wait([f"one:a{number}" for number in range(40)])
            assert len(fake.requests) == 18
            await client.get("one:b1")
            await client.get("one:b2")
            return anyio.current_time()

    assert run_virtually(main) == pytest.approx(30)


def test_lists_that_a_watch_reads_leave_the_last_of_a_budget_too():
    """However many pages they have."""
    url = "https://weavr.test/multi"
    fake = WeavrFake(clock=VirtualClock())
    for number in range(5_000):
        fake.add(str(number), Life.of((0, "COMPLETED")))
    adapter = msgspec.structs.replace(fake.adapter(url), budget=(Limit(20, 600),))

    async def main():
        async with (
            AsyncClient({"one": adapter}, transport=FakeTransport({url: fake})) as client,
            client.watch() as watch,
        ):
            await watch.changes(within=30)

    run_virtually(main)
    assert len(fake.requests) <= 18


def test_a_limit_that_comes_later_counts_what_was_sent_before():
    """Also what a shorter limit has forgotten."""
    budget = Budget([Limit(10, 1), Limit(100, 1_000)])
    for number in range(5):
        budget.take(float(number))
    budget.left(50.0)
    budget.keep([Limit(20, 60), Limit(10, 1)])
    assert [str(allowance) for allowance in budget.left(50.0)] == [
        "10 of 10 in 1 s",
        "95 of 100 in 1000 s",
        "15 of 20 in 60 s",
    ]


# --- what the provider says is left ---


def test_what_the_provider_says_is_left_counts_down_until_its_window_ends(budget):
    """Others draw on the same limit, so its own count is better than ours."""
    budget.told(Remaining(left=2, of=100, seconds=30), 0.0)
    for _ in range(2):
        assert budget.wait(1.0) == 0
        budget.take(1.0)
    assert budget.wait(1.0) == 29
    assert budget.wait(30.0) == 0


def test_the_last_of_what_is_left_is_not_for_those_who_keep_a_reserve(budget):
    """A tenth of the whole, as with our own limits."""
    budget.told(Remaining(left=11, of=100, seconds=30), 0.0)
    assert budget.wait(0.0, reserve=0.1) == 0
    budget.take(0.0)
    assert budget.wait(0.0, reserve=0.1) == 30
    assert budget.wait(0.0) == 0


def test_what_the_provider_says_spaces_requests_too(budget):
    """0 while half is left; then the more, the less is left; over with its window."""
    for left, spacing in ((100, 0), (50, 0), (30, 30 / 30), (20, 3 * 30 / 20), (0, 5 * 30)):
        budget.told(Remaining(left=left, of=100, seconds=30), 0.0)
        assert budget.spacing(0.0) == pytest.approx(spacing)
    assert budget.spacing(30.0) == 0


@pytest.mark.parametrize(
    "remaining", [Remaining(left=0, of=0, seconds=30), Remaining(left=0, of=9, seconds=0)]
)
def test_what_cannot_be_is_not_believed(budget, remaining):
    """No limit, or no time."""
    budget.told(remaining, 0.0)
    assert budget.wait(0.0) == budget.spacing(0.0) == 0


def test_what_is_left_is_believed_for_an_hour_at_most(budget):
    """A mistaken header does not shut a source off for days."""
    budget.told(Remaining(left=0, of=9, seconds=86_400), 0.0)
    assert budget.wait(0.0) == 3_600


@given(limits=limits, left=st.integers(0, 20), gaps=st.lists(st.floats(0, 5), max_size=40))
def test_it_makes_no_limit_of_ours_wider(limits, left, gaps):
    """Whatever the provider says, our own limits hold, and no more goes in its window than it left."""
    budget = Budget(limits)
    budget.told(Remaining(left=left, of=20, seconds=60), 0.0)
    times = granted(budget, gaps)
    assert sum(at < 60 for at in times) <= left
    for limit in limits:
        for first, last in zip(times, times[limit.requests :], strict=False):
            assert last - first >= limit.seconds


def test_a_refusal_names_what_holds_requests_back(clock):
    """The pause, the provider's own count, or our limits; the last two are our own doing."""
    budget = Budget((Limit(2, 60),))
    budget.take(clock())
    assert "(2 in 60 s) is used up" in budget.refusal(clock(), reserve=0.5).message
    budget.told(Remaining(left=1, of=10, seconds=90), clock())
    refusal = budget.refusal(clock(), reserve=0.1)
    assert "1 of 10 requests left" in refusal.message
    assert (refusal.reason, refusal.retry_after) == ("budget", 90)
    budget.throttled(slow_down(5), clock())
    refusal = budget.refusal(clock())
    assert "asked for a pause" in refusal.message
    assert (refusal.reason, refusal.retry_after) == (None, 5)
