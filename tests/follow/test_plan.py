"""When which bulk is looked at, and whether in its list or by its id."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from bulkstatus import State
from bulkstatus._plan import OPEN, Look, Plan, Sweep

RUNNING = frozenset({State.RUNNING})
IDS = [f"b{number}" for number in range(8)]


def plan_of(*ids, listings=0, now=0.0):
    """A plan that follows `ids`, with so many listings for any states."""
    plan = Plan(listings if callable(listings) else lambda _: listings)
    for id in ids:
        plan.add(id, now)
    return plan


def settle(plan, question, now, wait=10.0, *, known=State.RUNNING, missing=(), cost=1):
    """Answer `question` as a desk would: every bulk is there but those `missing` from the list."""
    if isinstance(question, Look):
        plan.settle(question.id, now, wait, known=known)
        return
    for id in question.ids:
        if id in missing:
            plan.again(id, now)
        else:
            plan.settle(id, now, wait, known=known)
    plan.swept(question, now, cost=cost, found=len(set(question.ids) - set(missing)))


def take_all(plan, now):
    """All that the plan gives at a moment, unanswered."""
    return list(iter(lambda: plan.take(now), None))


def followed(count, listings, *, wait=10.0, states=(State.RUNNING,)):
    """A plan with bulks in the given states that are due again at `wait`."""
    plan = Plan(lambda _: 0)
    for number in range(count):
        plan.add(f"b{number}", 0.0)
    for number, look in enumerate(take_all(plan, 0.0)):
        plan.settle(look.id, 0.0, wait, known=states[number % len(states)])
    plan._listings = listings if callable(listings) else lambda _: listings
    return plan


# --- one by one ---


def test_what_is_added_is_looked_at_at_once():
    """And then not again before it is due."""
    plan = plan_of("a")
    assert plan.take(0.0) == Look("a")
    assert plan.take(0.0) is None
    assert plan.next_at() is None
    plan.settle("a", 1.0, 10.0, known=State.RUNNING)
    assert (plan.next_at(), plan.due_at("a")) == (11.0, 11.0)
    assert plan.take(10.9) is None
    assert plan.take(11.0) == Look("a")


@given(waits=st.lists(st.floats(0, 100), min_size=1, max_size=20), late=st.floats(0, 200))
def test_looks_come_in_the_order_they_fall_due(waits, late):
    """The one that is most overdue first, and none that is not due."""
    plan = plan_of(*map(str, range(len(waits))))
    for look in take_all(plan, 0.0):
        plan.settle(look.id, 0.0, waits[int(look.id)], known=State.RUNNING)
    taken = [waits[int(look.id)] for look in take_all(plan, late)]
    assert taken == sorted(wait for wait in waits if wait <= late)
    assert len(plan.overdue(200.0)) == len(waits) - len(taken)


def test_what_is_asked_for_by_its_id_has_no_precedence_over_what_is_due_longer():
    """Nor the other way round."""
    for alone, waits in (("a", (10.0, 5.0)), ("b", (5.0, 10.0))):
        plan = plan_of("a", "b")
        for look, wait in zip(take_all(plan, 0.0), waits, strict=True):
            if look.id == alone:
                plan.again(look.id, 0.0, after=wait)
            else:
                plan.settle(look.id, 0.0, wait, known=State.RUNNING)
        assert plan.take(20.0) == Look("a" if waits[0] < waits[1] else "b")


def test_adding_again_makes_it_due_at_once():
    """Somebody else wants to know it too."""
    plan = followed(1, 0)
    plan.add("b0", 3.0)
    assert len(plan) == 1
    assert plan.take(3.0) == Look("b0")


def test_adding_what_is_being_asked_for_asks_nothing_more():
    """The answer that is on its way will do."""
    plan = plan_of("a")
    plan.take(0.0)
    plan.add("a", 1.0)
    assert plan.take(100.0) is None
    assert plan.is_asked("a")


def test_what_is_dropped_is_never_asked_for():
    """Nor do answers to it bring it back."""
    plan = plan_of("a", "b")
    first = plan.take(0.0)
    plan.drop(first.id)
    plan.settle(first.id, 1.0, 5.0, known=State.RUNNING)
    plan.again(first.id, 1.0)
    plan.retry(first.id, 1.0)
    assert (first.id in plan, plan.due_at(first.id)) == (False, None)
    assert [look.id for look in take_all(plan, 100.0)] == ["b"]


@pytest.mark.parametrize("listings", [0, 1])
def test_what_is_dropped_and_added_while_it_is_asked_for_is_not_forgotten(listings):
    """Whatever becomes of the question that is on its way."""
    plan = plan_of("a", "b", listings=listings)
    question = plan.take(0.0)
    plan.drop("a")
    plan.add("a", 1.0)
    settle(plan, question, 2.0, wait=5.0)
    taken = []
    for now in (2.0, 7.0, 20.0):
        for found in take_all(plan, now):
            taken += [found.id] if isinstance(found, Look) else found.ids
            settle(plan, found, now, wait=100.0)
    assert "a" in taken


@given(dropped=st.booleans())
def test_a_bulk_is_not_asked_for_twice_at_once_also_after_it_was_dropped(dropped):
    """Who leaves and comes back while an answer is on its way waits for that answer."""
    plan = plan_of("a")
    plan.take(0.0)
    if dropped:
        plan.drop("a")
    plan.add("a", 1.0)
    assert plan.take(1.0) is None


def test_what_could_not_be_asked_for_stays_due():
    """`retry` leaves it where it was."""
    plan = plan_of("a")
    plan.take(0.0)
    plan.retry("a", 3.0)
    assert plan.overdue(3.0) == ["a"]
    assert plan.take(3.0) == Look("a")


# --- lists ---


@given(count=st.integers(1, 12), listings=st.integers(0, 12))
def test_a_list_is_read_only_where_that_takes_fewer_requests(count, listings):
    """More bulks than listings; else each by its id."""
    question = plan_of(*map(str, range(count)), listings=listings).take(0.0)
    assert isinstance(question, Sweep) is (0 < listings < count)
    if isinstance(question, Sweep):
        assert sorted(question.ids) == sorted(map(str, range(count)))
        assert not question.scan


def test_what_is_in_the_second_half_of_its_wait_is_taken_along():
    """A look ahead of time costs nothing where the list is read anyway; what was just seen is left."""
    plan = followed(4, 1)
    plan.add("b0", 5.0)
    assert set(plan.take(5.0).ids) == {"b0", "b1", "b2", "b3"}
    plan = followed(4, 1)
    plan.add("b0", 4.9)
    assert plan.take(4.9) == Look("b0")


def test_what_a_list_did_not_hold_is_asked_for_by_its_id():
    """Missing from a list is not finished; however many there are."""
    plan = plan_of("a", "b", "c", "d", listings=1)
    settle(plan, plan.take(0.0), 1.0, missing=("a", "b", "c"))
    assert {look.id for look in take_all(plan, 1.0)} == {"a", "b", "c"}
    for id in "abc":
        plan.settle(id, 2.0, 8.0, known=State.RUNNING)
    assert isinstance(plan.take(11.0), Sweep)


def test_what_a_list_costs_is_learned():
    """Ten pages are not read for ten bulks, but for eleven."""
    for count, kind in ((10, Look), (11, Sweep)):
        plan = plan_of(*map(str, range(count)), listings=1)
        settle(plan, plan.take(0.0), 1.0, known=State.UNKNOWN, cost=10)
        assert isinstance(plan.take(11.0), kind)


def test_a_list_that_turned_out_to_hold_none_of_them_is_left_alone_for_a_while():
    """For ten minutes; then it is tried again."""
    plan = plan_of(*IDS, listings=1)
    settle(plan, plan.take(0.0), 0.0, missing=IDS)
    for now in (0.0, 300.0, 599.0):
        questions = take_all(plan, now)
        assert {type(question) for question in questions} == {Look}
        for question in questions:
            settle(plan, question, now, known=State.UNKNOWN)
    assert isinstance(plan.take(609.0), Sweep)


def test_a_list_that_cannot_be_read_is_left_alone_for_a_while():
    """For five minutes where the fault is the list's own; where it may be the source's, until that is known."""
    for for_now, kinds in ((False, [Look, Look, Sweep]), (True, [Look, Sweep, Sweep])):
        plan = plan_of(*IDS, listings=1)
        question = plan.take(0.0)
        plan.broke_off(0.0, for_now=for_now)
        for id in question.ids:
            plan.retry(id, 0.0)
        seen = []
        for now in (1.0, 299.0, 310.0):
            questions = take_all(plan, now)
            seen.append(type(questions[0]))
            for found in questions:
                settle(plan, found, now, cost=1)
            plan.list_again(now)
        assert seen == kinds


def test_a_list_of_the_states_they_were_seen_in_is_read_where_that_is_shorter():
    """Queued ones will have moved on to running; a word nobody knows may be in any state."""
    for states, narrowed in (
        ((State.RUNNING,), RUNNING),
        ((State.PAUSED,), frozenset({State.PAUSED})),
        ((State.QUEUED,), frozenset({State.QUEUED, State.RUNNING})),
        ((State.RUNNING, None), OPEN),
        ((State.RUNNING, State.UNKNOWN), None),
    ):
        plan = followed(8, lambda key: 7 if key is None else 1, states=states)
        assert plan.take(10.0).states == narrowed


def test_while_a_list_is_read_nothing_else_of_it_is():
    """What falls due meanwhile may be in it; what is to be asked by id is asked."""
    plan = plan_of(*IDS, listings=1)
    question = plan.take(0.0)
    plan.add("new", 1.0)
    assert plan.take(1.0) is None
    plan.add("late", 1.0)
    plan.again("late", 1.0)
    assert plan.take(1.0) == Look("late")
    settle(plan, question, 2.0)
    assert plan.take(2.0) == Look("new")


def test_a_few_bulks_are_asked_for_one_by_one_for_what_a_list_does_not_say():
    """Up to `detail`; with one more the list is read."""
    for count, kind in ((3, Look), (4, Sweep)):
        plan = plan_of(*map(str, range(count)), listings=1)
        plan.detail = 3
        assert isinstance(plan.take(0.0), kind)


def test_a_round_takes_as_many_requests_as_its_cheapest_way():
    """One each, or the list's pages."""
    assert plan_of().round(0.0) == 0
    assert plan_of(*IDS).round(0.0) == len(IDS)
    plan = plan_of(*IDS, listings=lambda key: 1 if key is None else 0)
    assert plan.round(0.0) == 1
    settle(plan, plan.take(0.0), 0.0, cost=5)
    assert plan.round(0.0) == 5
    plan.broke_off(0.0, for_now=False)
    assert plan.round(0.0) == len(IDS)


# --- looking for all there are ---


def test_a_scan_reads_the_list_also_when_nothing_is_followed():
    """Once, when it is due; not while a list is being read."""
    plan = plan_of(listings=1)
    plan.scan(5.0)
    assert plan.next_at() == 5.0
    assert plan.take(4.9) is None
    question = plan.take(5.0)
    assert (question.ids, question.scan) == ((), True)
    plan.scan(6.0)
    assert plan.take(7.0) is None
    plan.swept(question, 7.0, cost=1, found=0)
    assert plan.take(7.0).scan


def test_a_scan_is_for_unfinished_bulks():
    """Where a provider can tell them apart, its whole history is not read to find them."""
    for listings in (1, 4):
        plan = plan_of(listings=lambda key, listings=listings: 1 if key is None else listings)
        plan.scan(0.0)
        assert plan.take(0.0).states == OPEN


def test_a_scan_takes_along_what_is_ripe():
    """They are in the list too."""
    plan = followed(2, 1)
    plan.scan(6.0)
    assert set(plan.take(6.0).ids) == {"b0", "b1"}


def test_a_scan_can_be_called_off():
    """When nobody scans any more."""
    plan = plan_of(listings=1)
    plan.scan(5.0)
    plan.scan(None)
    assert (plan.next_at(), plan.take(10.0)) == (None, None)


# --- a source that cannot be asked ---


@pytest.mark.parametrize(
    ("outage", "pause"),
    [(0, 2), (4, 2), (10, 5), (60, 30), (599, 30), (600, 30), (1_200, 60), (6_000, 300), (90_000, 300)],
)
def test_a_source_that_is_down_is_asked_more_and_more_seldom(outage, pause):
    """Half as long as it has been down already, 30 s at most; after ten minutes up to 5 minutes."""
    plan = plan_of("a")
    plan.down(0.0)
    plan.down(outage)
    assert plan.down_since == 0.0
    assert plan.next_at() == outage + pause
    assert plan.take(outage + pause - 0.1) is None
    assert plan.take(outage + pause) == Look("a")


@pytest.mark.parametrize("listings", [0, 1])
def test_a_source_that_is_down_is_asked_one_question_at_a_time(listings):
    """Whatever is due, and whether that is a list or a bulk."""
    plan = plan_of(*IDS, listings=listings)
    plan.down(0.0)
    assert len(take_all(plan, 100.0)) == 1
    assert plan.next_at() is None
    plan.press()
    assert plan.take(1_000.0) is None


def test_when_it_answers_all_that_is_due_is_asked_for():
    """At once."""
    plan = plan_of(*IDS)
    plan.down(0.0)
    question = plan.take(2.0)
    plan.up()
    settle(plan, question, 2.0)
    assert plan.down_since is None
    assert len(take_all(plan, 2.0)) == len(IDS) - 1


def test_a_deadline_lets_one_question_through():
    """One, and only where something is due."""
    plan = plan_of(*IDS)
    plan.down(0.0)
    plan.press()
    assert plan.next_at() == 0.0
    assert plan.take(1.0) is not None
    assert plan.take(1.0) is None


def test_a_deadline_lets_no_second_question_through():
    """What could not be asked before it waits until the next probe."""
    plan = plan_of("a", "b")
    first, second = take_all(plan, 0.0)
    for look in (first, second):
        plan.retry(look.id, 1.0)
    plan.down(1.0)
    plan.press()
    look = plan.take(1.1)
    plan.retry(look.id, 1.2)
    plan.down(1.2)
    assert plan.take(1.3) is None


def test_what_is_being_asked_for_is_not_expected_in_a_list():
    """Its own record, which is on its way, says more."""
    plan = followed(3, 1)
    look = plan._begin_look(plan._due)
    assert sorted([*plan.seen_in(RUNNING), look.id]) == ["b0", "b1", "b2"]


def test_who_leaves_while_it_is_down_does_not_open_it_for_others():
    """A question that is under way still is, when the bulk it is about is no longer followed."""
    plan = plan_of(*IDS)
    plan.down(0.0)
    plan.drop(plan.take(2.0).id)
    assert plan.take(2.0) is None


# --- all of it, in any order ---


class Following(RuleBasedStateMachine):
    """Bulks come and go, answers come late, lists miss some, the source is down at times."""

    @initialize(listings=st.integers(0, 3), detail=st.sampled_from([0, 3]))
    def begin(self, listings, detail):
        self.plan = Plan(lambda _: listings)
        self.plan.detail = detail
        self.now = 0.0
        self.followed = set()
        self.flying = []

    def asked(self):
        return [id for question in self.flying for id in self.ids_of(question)]

    @staticmethod
    def ids_of(question):
        return (question.id,) if isinstance(question, Look) else question.ids

    @rule(id=st.sampled_from(IDS))
    def add(self, id):
        if id in self.followed or id not in self.asked():  # a test of its own is about those who come back
            self.plan.add(id, self.now)
            self.followed.add(id)

    @rule(id=st.sampled_from(IDS))
    def drop(self, id):
        self.plan.drop(id)
        self.followed.discard(id)

    @rule(seconds=st.floats(0, 400))
    def time_passes(self, seconds):
        self.now += seconds

    @rule()
    def wait_for_the_plan(self):
        self.now = max(self.now, self.plan.next_at() or 0.0)

    @rule()
    def scan(self):
        self.plan.scan(self.now + 1.0)

    @rule()
    def press(self):
        self.plan.press()

    @rule()
    def take(self):
        promised = self.plan.next_at()
        asked, down = self.asked(), self.plan.down_since is not None
        alone = not [question for question in self.flying if self.is_followed(question)]
        question = self.plan.take(self.now)
        assert (question is not None) is (promised is not None and promised <= self.now)
        if question is not None:
            assert alone or not down
            assert not set(self.ids_of(question)) & set(asked)
            assert set(self.ids_of(question)) <= self.followed
            self.flying.append(question)

    def is_followed(self, question):
        return isinstance(question, Sweep) or question.id in self.followed

    @precondition(lambda self: self.flying)
    @rule(data=st.data(), wait=st.floats(1, 60), state=st.sampled_from([None, *State]))
    def answer(self, data, wait, state):
        question = self.flying.pop(data.draw(st.integers(0, len(self.flying) - 1)))
        missing = data.draw(st.sets(st.sampled_from(IDS)))
        self.plan.up()
        settle(
            self.plan,
            question,
            self.now,
            wait,
            known=state,
            missing=missing,
            cost=data.draw(st.integers(1, 9)),
        )

    @precondition(lambda self: self.flying)
    @rule(data=st.data(), down=st.booleans(), after=st.floats(0, 10))
    def fail(self, data, down, after):
        question = self.flying.pop(data.draw(st.integers(0, len(self.flying) - 1)))
        for id in self.ids_of(question):
            if down:
                self.plan.retry(id, self.now)
            else:
                self.plan.again(id, self.now, after=after)
        if isinstance(question, Sweep):
            self.plan.broke_off(self.now, for_now=down)
        if down:
            self.plan.down(self.now)

    @invariant()
    def nothing_that_is_followed_is_forgotten(self):
        """It is due at some time, or being asked for, and never both."""
        if not hasattr(self, "plan"):
            return
        asked = self.asked()
        assert len(asked) == len(set(asked))
        assert len(self.plan) == len(self.followed)
        for id in self.followed:
            assert (self.plan.due_at(id) is None) is (id in asked)

    def teardown(self):
        """If answers come from now on, all of them are looked at soon."""
        if not hasattr(self, "plan"):
            return
        left = set(self.followed)
        for _ in range(200):
            if not left:
                return
            while self.flying:
                question = self.flying.pop()
                self.plan.up()
                settle(self.plan, question, self.now, 30.0)
            self.now = max(self.now, self.plan.next_at())
            question = self.plan.take(self.now)
            if question is not None:
                left -= set(self.ids_of(question))
                self.flying.append(question)
        raise AssertionError(f"never looked at: {left}")


TestFollowing = Following.TestCase
TestFollowing.settings = settings(stateful_step_count=60, max_examples=150)
