"""What the benchmark makes of its figures: spreads, goals, curves, tables, the plot. No figure itself is asserted."""

import xml.etree.ElementTree as ET

import pytest

from benchmarks import goals
from benchmarks.speed import picture, tables
from benchmarks.speed.measure import Curve, Fact, Goal, Spread, cpu_per_call, ratios
from benchmarks.speed.sampling import shares

MOST = Goal("1", "reading a page", "httpx", Spread(1.2, 1.1, 1.3), 1.3)
LEAST = Goal("4", "against models", "", Spread(12.0, 11.0, 13.0), 20, at_least=True)
NONE = Goal("14", "connections, again", "", Spread(0.0, 0.0, 0.0), 0, unit="")
CURVE = Curve("S1", "a get of each", "sources", "s of CPU", ((1, 0.002), (10, 0.02), (100, 2.0)))
CROWD = Fact("requests a second, 10 callers, 20 ms", "raw httpx", Spread(345.0, 340.0, 350.0), "1/s")
FACT = Fact("--version: memory", "", Spread(18.7, 18.7, 18.7), "MiB")
SHARE = Fact("reading a page", "`decode`", Spread(45.8, 45.8, 45.8), "%")
ALL = [MOST, LEAST, NONE, CURVE, CROWD, FACT, SHARE]
MACHINE = {"date": "2026-01-01", "cpus": 2, "python": "3.11.7", "system": "Linux"}


def test_a_spread_is_the_median_and_the_quarters_around_it():
    """Of one figure alone all three are that figure."""
    assert Spread.of([5.0, 1.0, 3.0, 2.0, 4.0]) == (3.0, 2.0, 4.0)
    assert Spread.of([7.0]) == (7.0, 7.0, 7.0)
    assert Spread.of([7.0]).scaled(2) == (14.0, 14.0, 14.0)


def test_ratios_are_taken_round_by_round():
    """A round in which the machine was slow for both says what it would have said otherwise."""
    figures = {"ours": [2.0, 20.0, 2.0], "theirs": [1.0, 10.0, 1.0]}
    assert ratios(figures, "ours", "theirs") == (2.0, 2.0, 2.0)


@pytest.mark.parametrize(
    ("figure", "bound", "at_least", "holds"),
    [(1.3, 1.3, False, True), (1.31, 1.3, False, False), (20, 20, True, True), (19.9, 20, True, False)],
)
def test_a_goal_holds_up_to_its_bound(figure, bound, at_least, holds):
    """The median counts, and the dot of the plot stands on the side that says so."""
    goal = Goal("1", "", "", Spread.of([figure]), bound, at_least=at_least)
    assert goal.holds is holds
    assert (picture.position(goal) <= 0) is holds


@pytest.mark.parametrize(("figure", "place"), [(0, -1.0), (1, 1.0)])
def test_a_goal_of_none_at_all_has_its_place_in_the_plot(figure, place):
    """A figure over a bound of 0 is at one edge or the other."""
    assert picture.position(NONE._replace(figure=Spread.of([figure]))) == place


@pytest.mark.parametrize(("power", "slope"), [(0, 0), (1, 1), (2, 2)])
def test_the_exponent_is_that_between_the_two_largest_sizes(power, slope):
    """What small sizes cost is mostly fixed, and says nothing about growth."""
    points = ((1, 50.0), *((size, 0.1 * size**power) for size in (100, 10_000)))
    assert Curve("S1", "", "", "s", points).slope == pytest.approx(slope)


def _busy():
    return sum(range(300_000))


def test_what_cpu_is_spent_on_counts_for_who_is_named():
    """A frame without a name counts for its caller, what nobody is named for for nobody, and all of it is all."""
    found = shares(_busy, 0.05, lambda frame: "busy" if frame.f_code is _busy.__code__ else None)
    assert next(iter(found)) == "busy"
    assert set(found) <= {"busy", "elsewhere"}
    assert sum(found.values()) == pytest.approx(1)
    assert set(shares(lambda: sum(range(300_000)), 0.05, lambda _: None)) == {"elsewhere"}


def test_each_candidate_has_its_turn_in_each_round():
    """As many figures as rounds for each, and none that could not divide another."""
    found = cpu_per_call({"one": lambda: sum(range(1_000)), "other": lambda: sum(range(2_000))}, 2)
    assert {name: len(taken) for name, taken in found.items()} == {"one": 2, "other": 2}
    assert all(taken > 0 for one in found.values() for taken in one)


def test_the_figures_survive_their_file():
    """What --json wrote, --from reads: the same lines, and on what they were measured."""
    assert goals.unpacked(goals.packed(ALL, MACHINE)) == (ALL, MACHINE)


def test_the_tables_replace_those_of_the_page_and_nothing_else():
    """A missed goal is marked, the marks stay, and a page without marks is refused."""
    page = "Before.\n<!-- figures: begin -->\nstale\n<!-- figures: end -->\nAfter.\n"
    made = tables.replaced(page, tables.document(ALL, MACHINE))
    assert made.startswith("Before.\n<!-- figures: begin -->\n")
    assert made.endswith("\n<!-- figures: end -->\nAfter.\n")
    assert "stale" not in made
    assert "2 of 3 goals hold" in made
    assert "| 4 | against models |  | 12 x (11 to 13) | ≥ 20 | **no** |" in made
    assert "| S1 | a get of each (sources) | s of CPU | 1: 0.002 · 10: 0.02 · 100: 2 | 2.00 |" in made
    assert "| reading a page | `decode` 46 % |" in made
    assert tables.replaced(made, "x") == tables.replaced(page, "x")
    with pytest.raises(ValueError, match="figures: begin"):
        tables.replaced("no marks", "x")


def test_of_many_goals_of_a_kind_the_worst_is_shown():
    """The table of the page stays short, and hides no miss."""
    many = [
        Goal("8", f"connections, {callers} callers, 0 ms", "httpx", Spread.of([figure]), 1.1)
        for callers, figure in ((1, 1.0), (10, 1.0), (50, 3.0), (200, 1.0))
    ]
    made = tables.document(many, MACHINE)
    assert "| 8 | connections, the worst of 4 | httpx | 3 x | ≤ 1.1 | **no** |" in made
    assert made.count("| 8 |") == 1


def test_the_plot_is_svg_with_a_dot_for_each_goal():
    """Every row of goals has a name, and its dots their figures as titles."""
    root = ET.fromstring(picture.drawn(ALL))
    names = {"svg": "http://www.w3.org/2000/svg"}
    assert len(root.findall("svg:circle", names)) == 3
    assert len(root.findall("svg:polyline", names)) == 1
    said = "".join(root.itertext())
    assert "reading a page httpx: 1.2 x, bound 1.3" in said
    assert picture.GOALS["14"] in said


def test_a_payload_is_read_in_each_way():
    """One round of one payload gives its goals: the official client's own models are among them."""
    decoding = pytest.importorskip("benchmarks.speed.decoding", reason="needs --group bench")
    (payload,) = (one for one in decoding.payloads() if one.what == "Cloudflare, one bulk")
    found = list(decoding.compared(payload, 1))
    assert [line.row for line in found if isinstance(line, Goal)] == ["2", "4"]
    assert any("its official client's models" in line.what for line in found)
    assert all(line.figure.median > 0 for line in found)
