"""How often a bulk is looked at."""

import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkstatus import ConfigError, PollPolicy

ages = st.floats(0, 1e7)
shares = st.floats(0, 1)
seconds = st.floats(0.01, 1e4)
policies = st.builds(
    PollPolicy,
    base=st.floats(0.01, 100),
    floor=st.none() | st.floats(0.01, 10),
    ceiling=st.none() | st.floats(10, 1e4),
    jitter=st.floats(0, 0.99),
)
STEADY = PollPolicy(jitter=0.0)
WIDE = {"floor": 1e-6, "ceiling": 1e9}


@pytest.mark.parametrize(("age", "interval"), [(0, 2), (3, 4), (8, 6), (99, 20), (899, 60)])
def test_the_interval_grows_with_the_root_of_the_age(age, interval):
    """`base * sqrt(1 + age)`, with 2 for a base."""
    assert STEADY.interval(age) == pytest.approx(interval)


@pytest.mark.parametrize(("preset", "base"), [("eager", 1.0), ("default", 2.0), ("frugal", 4.0)])
def test_presets_differ_by_their_base(preset, base):
    """Twice as eager is half the interval; nothing else differs."""
    assert PollPolicy.of(preset) == PollPolicy(base=base)


def test_a_policy_is_its_own():
    """`of` gives a policy back as it is."""
    policy = PollPolicy(base=3.0)
    assert PollPolicy.of(policy) is policy


@pytest.mark.parametrize("name", ["eagre", "", "EAGER", None, 3, 2.0, True, (), [], {}])
def test_what_names_no_policy_is_a_config_error(name):
    """Whatever it is, as callers may pass what they read from somewhere."""
    with pytest.raises(ConfigError, match="is no poll policy"):
        PollPolicy.of(name)


def test_a_preset_that_is_nearly_right_is_named():
    """A slip of the finger is understood."""
    with pytest.raises(ConfigError, match="eager"):
        PollPolicy.of("eagre")


@pytest.mark.parametrize("name", ["base", "floor", "ceiling"])
@pytest.mark.parametrize("value", [0, -1, math.inf, math.nan, "2", True, b"2"])
def test_times_that_cannot_be_are_refused_by_name(name, value):
    """Seconds are finite numbers above 0."""
    with pytest.raises(ConfigError, match=rf"PollPolicy\.{name} is a number of seconds above 0"):
        PollPolicy(**{name: value})


def test_a_base_is_needed():
    """Only `floor` and `ceiling` can be left to the adapter."""
    with pytest.raises(ConfigError, match=r"PollPolicy\.base"):
        PollPolicy(base=None)


@pytest.mark.parametrize("jitter", [-0.01, 1, 1.5, math.nan, "0.1", None, True])
def test_a_jitter_that_cannot_be_is_refused(jitter):
    """It is a share from 0 to below 1."""
    with pytest.raises(ConfigError, match=r"PollPolicy\.jitter"):
        PollPolicy(jitter=jitter)


def test_a_floor_above_the_ceiling_is_refused():
    """The two may be equal."""
    with pytest.raises(ConfigError, match="floor is above"):
        PollPolicy(floor=5, ceiling=4)
    assert PollPolicy(floor=5, ceiling=5, jitter=0).interval(1_000) == 5


def test_a_policy_cannot_be_changed():
    """Checked values stay as they are."""
    with pytest.raises(AttributeError):
        PollPolicy().base = 0
    with pytest.raises(ConfigError):
        msgspec.structs.replace(PollPolicy(), base=0)


# --- the three inputs ---


@given(policy=policies, age=ages)
def test_half_a_chance_is_no_jitter(policy, age):
    """The formula, for any base."""
    steady = msgspec.structs.replace(policy, floor=None, ceiling=None)
    assert steady.interval(age, **WIDE) == pytest.approx(policy.base * math.sqrt(1 + age))


@given(
    policy=policies,
    age=st.floats(-1e6, 1e9),
    more=st.fixed_dictionaries(
        {
            "rest": st.none() | st.floats(0, 1e9),
            "spacing": st.floats(0, 1e6),
            "floor": seconds,
            "ceiling": seconds,
            "chance": shares,
        }
    ),
)
def test_no_interval_is_below_a_floor(policy, age, more):
    """Neither the policy's nor the provider's, whatever else is asked for; and it is always a finite time."""
    interval = policy.interval(age, **more)
    assert math.isfinite(interval)
    assert interval >= max(more["floor"], policy.floor or 0.0)


@given(policy=policies, age=ages, floor=st.floats(0.01, 10), ceiling=st.floats(10, 1e4), chance=shares)
def test_no_interval_is_above_a_ceiling_by_more_than_the_jitter(policy, age, floor, ceiling, chance):
    """With the budget at ease, the lower of the policy's and the provider's ceiling bounds the interval."""
    interval = policy.interval(age, floor=floor, ceiling=ceiling, chance=chance)
    lowest = max(min(ceiling, policy.ceiling or ceiling), floor, policy.floor or 0.0)
    assert interval <= lowest * (1 + policy.jitter) * (1 + 1e-9)


def test_at_the_ceiling_intervals_vary_below_it():
    """Bulks that are old together do not fall due together either."""
    shortest, longest = (PollPolicy().interval(1e6, chance=chance) for chance in (0.0, 1.0))
    assert shortest < longest == pytest.approx(60)


@given(policy=policies, age=ages, chance=shares)
def test_jitter_stays_within_its_share(policy, age, chance):
    """Both ways alike, and in proportion."""
    wide = msgspec.structs.replace(policy, floor=None, ceiling=None)
    middle = wide.interval(age, **WIDE)
    interval = wide.interval(age, chance=chance, **WIDE)
    assert interval == pytest.approx(middle * (1 + policy.jitter * (2 * chance - 1)))


@given(age=ages, older=ages)
def test_an_older_bulk_is_never_looked_at_more_often(age, older):
    """The interval only grows."""
    young, old = sorted((age, older))
    assert STEADY.interval(young) <= STEADY.interval(old)


@pytest.mark.parametrize(
    ("rest", "interval"),
    [(0, 2.5), (10, 7), (20, 14), (50, 35), (57.15, 40), (1e9, 40)],
)
def test_where_counts_tell_the_rest_the_interval_follows_it(rest, interval):
    """Seven tenths of the rest, from an eighth of the age's interval (here 20 s) to twice it."""
    assert STEADY.interval(99, rest=rest) == pytest.approx(interval, rel=1e-3)


@given(base=st.floats(0.1, 10), age=ages, rest=st.floats(0, 1e9))
def test_the_rest_never_moves_the_interval_out_of_bounds(base, age, rest):
    """A stall makes counts lie: an eighth of the age's interval, and twice it, bound what they can do."""
    policy = PollPolicy(base=base, jitter=0)
    natural = policy.interval(age, **WIDE)
    by_rest = policy.interval(age, rest=rest, **WIDE)
    assert natural / 8 * (1 - 1e-9) <= by_rest <= natural * 2 * (1 + 1e-9)


@given(policy=policies, age=ages, rest=st.none() | st.floats(0, 1e6), spacing=seconds, ceiling=seconds)
def test_no_ceiling_goes_below_what_the_budget_sustains(policy, age, rest, spacing, ceiling):
    """A ceiling that the budget cannot pay for is not kept."""
    assert policy.interval(age, rest=rest, spacing=spacing, ceiling=ceiling) >= spacing * (1 - 1e-9)


def test_ceilings_and_floors_of_a_policy_stay_inside_the_providers():
    """A policy may be more careful than the adapter, not less."""
    assert PollPolicy(ceiling=0.5, jitter=0).interval(0, floor=5) == 5
    assert PollPolicy(floor=0.1, jitter=0, base=0.01).interval(0, floor=5) == 5
    assert PollPolicy(ceiling=1e4, jitter=0).interval(1e9, ceiling=60) == 60
    assert PollPolicy(ceiling=7, jitter=0).interval(1e9, ceiling=60) == 7
    assert PollPolicy(floor=90, jitter=0).interval(0, ceiling=60) == 90
