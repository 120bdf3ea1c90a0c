"""All that waits and watches want of one source, made into one plan."""

from datetime import UTC, datetime, timedelta
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from bulkstatus import (
    AuthError,
    BulkStatus,
    ConfigError,
    DeadlineExceeded,
    NotFound,
    PollPolicy,
    ProtocolError,
    RateLimited,
    Ref,
    RequestRejected,
    State,
    Unavailable,
    Verdict,
)
from bulkstatus._budget import Budget
from bulkstatus._desk import Desk
from bulkstatus._plan import OPEN, Look, Sweep
from bulkstatus._record import KnownBulk
from bulkstatus._subscription import Subscription
from bulkstatus._sweep import Swept
from bulkstatus._track import Terms
from bulkstatus.adapter import Call, Limit, Request
from support import Plain

BIRTH = datetime(2026, 1, 1, tzinfo=UTC)
DOWN = Unavailable("down")
WHOLE_SOURCE = [
    DOWN,
    RateLimited("slow down"),
    AuthError("refused"),
    DeadlineExceeded("late"),
    ConfigError("no such secret"),
]
ONE_BULK = [ProtocolError("odd"), RequestRejected("no")]


class Listed(Plain, frozen=True, kw_only=True):
    """A plain provider with one list of all its bulks."""

    rows_per_page: ClassVar[int | None] = 10

    def listing(self, query):
        return (Call(Request.to(self.base_url, "bulks"), lambda response: None),)


class Sorted(Listed, frozen=True, kw_only=True):
    """A plain provider with a list for each state, which is asked for the states that are wanted."""

    def listing(self, query):
        states = State if query.states is None else query.states
        return tuple(
            Call(Request.to(self.base_url, "bulks", state), lambda response: None) for state in states
        )


class Confirming(Listed, frozen=True, kw_only=True):
    """A plain provider whose list leaves something open, which is asked for by itself."""

    def confirm(self, row):
        return Call(Request.to(self.base_url, "bulks", row.id, "rest"), lambda response: row)


class Unlistable(Listed, frozen=True, kw_only=True):
    """A plain provider whose adapter cannot make its list."""

    def listing(self, query):
        raise ValueError("no")


class Slow(Plain, frozen=True, kw_only=True):
    """A plain provider that wants to be asked seldom."""

    poll_floor: ClassVar[float] = 7.0


def at(seconds):
    """The moment `seconds` after the beginning."""
    return BIRTH + timedelta(seconds=seconds)


def status(id, state=State.RUNNING, seen=0.0, **more):
    """An answer about a bulk, or its row in the list."""
    return BulkStatus(source="s", provider="plain", id=id, state=state, observed_at=at(seen), **more)


class Office:
    """A desk at work, its clock, and the waits at it."""

    def __init__(self, kind=Plain, *, limits=()):
        self.now = 0.0
        self.budget = Budget(limits)
        self.desk = Desk(
            "s", kind(base_url="https://plain.test"), budget=lambda: self.budget, chance=lambda: 0.5
        )

    def wait(self, *ids, until="all", polling="default", timeout=None, scan=False, detail=False, **terms):
        subscription = Subscription(
            terms=Terms(**terms),
            polling=PollPolicy.of(polling),
            until=until,
            began=self.now,
            deadline=None if timeout is None else self.now + timeout,
            scan=scan,
            detail=detail,
        )
        self.desk.subscribe(subscription, ids, self.now)
        return subscription

    def take_all(self):
        """All that is to be asked now, unanswered."""
        return list(iter(lambda: self.desk.take(self.now), None))

    def next(self):
        """Let time pass until something is to be asked, and take it."""
        moment = self.desk.next_at(self.now)
        assert moment is not None, "nothing is planned"
        self.now = max(self.now, moment)
        question = self.desk.take(self.now)
        assert question is not None
        return question

    def answer(self, question, state=State.RUNNING, **more):
        """Answer about one bulk, or with a list that holds all that were looked for."""
        if isinstance(question, Look):
            self.desk.looked(question, status(question.id, state, self.now, **more), self.now, at(self.now))
        else:
            self.list(question, *(status(id, state, self.now, **more) for id in question.ids))

    def list(self, question, *rows, cost=1):
        """Answer with a list of these rows."""
        self.desk.swept(question, Swept({row.id: row for row in rows}, cost), self.now, at(self.now))

    def fail(self, question, error):
        """Let a question go wrong."""
        failed = self.desk.look_failed if isinstance(question, Look) else self.desk.sweep_failed
        failed(question, error, self.now, at(self.now))

    def see(self, state=State.RUNNING, **more):
        """Answer all that is to be asked now."""
        for question in self.take_all():
            self.answer(question, state, **more)

    def due(self, id):
        return self.desk.plan.due_at(id)


def told(subscription):
    """What a wait was told since it last read."""
    return [(change.kind, change.ref, change.verdict) for change in subscription.read()]


# --- several who wait ---


def test_two_who_wait_for_one_bulk_cost_one_request():
    """And both are told."""
    office = Office()
    waits = [office.wait("a"), office.wait("a")]
    (question,) = office.take_all()
    office.answer(question, State.SUCCEEDED)
    for wait in waits:
        assert told(wait) == [("state", "s:a", Verdict.SUCCEEDED)]
        assert wait.over
    assert office.desk.next_at(office.now) is None


def test_who_comes_while_it_is_being_asked_shares_the_answer():
    """Nothing more is sent."""
    office = Office()
    office.wait("a")
    (question,) = office.take_all()
    second = office.wait("a")
    assert office.take_all() == []
    office.answer(question)
    assert told(second) == [("state", "s:a", None)]


def test_who_comes_later_is_told_at_once():
    """The bulk is looked at again, and its status is new to the one who came."""
    office = Office()
    first = office.wait("a")
    office.see()
    office.now = 1.0
    second = office.wait("a")
    first.read()
    office.see()
    assert told(first) == []
    assert told(second) == [("state", "s:a", None)]


def test_the_most_eager_of_them_sets_the_pace():
    """Until it leaves."""
    office = Office()
    office.wait("a", polling="frugal")
    eager = office.wait("a", polling="eager")
    office.see()
    assert office.due("a") == pytest.approx(1.0)
    office.desk.unsubscribe(eager)
    office.now = 1.0
    office.see()
    assert office.due("a") == pytest.approx(1 + 4 * 2**0.5)


def test_the_provider_sets_the_least():
    """However eager anybody is."""
    office = Office(Slow)
    office.wait("a", polling="eager")
    office.see()
    assert office.due("a") == 7.0


def test_a_budget_that_runs_short_sets_the_pace():
    """All bulks of the source share what it sustains, up to the ceiling at once; the interval varies upwards only."""
    office = Office(limits=[Limit(10, 100)])
    office.wait("a", "b")
    for _ in range(10):
        office.budget.take(0.0)
    office.see()
    assert office.due("a") == pytest.approx(60 * 1.05)


def test_who_leaves_takes_nothing_from_others():
    """The last one who leaves ends it; an answer that comes after that is nobody's."""
    office = Office()
    first, second = office.wait("a"), office.wait("a", "b")
    questions = office.take_all()
    office.desk.unsubscribe(second)
    assert not office.desk.is_idle
    office.desk.unsubscribe(first)
    assert office.desk.is_idle
    for question in questions:
        office.answer(question)
    assert office.desk.next_at(office.now) is None
    assert told(first) == told(second) == []


@pytest.mark.parametrize("error", [*WHOLE_SOURCE, *ONE_BULK, NotFound("no")])
def test_what_goes_wrong_after_everybody_left_hurts_nobody(error):
    """Neither a look nor a list."""
    for kind in (Plain, Listed):
        office = Office(kind)
        wait = office.wait("a", "b")
        questions = office.take_all()
        office.desk.unsubscribe(wait)
        for question in questions:
            office.fail(question, error)
        assert office.desk.is_idle


def test_a_bulk_that_ended_is_not_looked_at_any_more():
    """The others are."""
    office = Office()
    office.wait("a", "b")
    for question in office.take_all():
        office.answer(question, State.SUCCEEDED if question.id == "a" else State.RUNNING)
    assert office.due("a") is None
    assert office.due("b") is not None


def test_who_waits_for_any_leaves_the_others_alone():
    """Once it is over, nothing more is asked for it."""
    office = Office()
    wait = office.wait("a", "b", until="any")
    first, second = office.take_all()
    office.answer(first, State.SUCCEEDED)
    office.answer(second)
    assert wait.over
    assert office.desk.next_at(office.now) is None


# --- lists ---


def test_what_a_list_says_of_an_end_is_confirmed_by_the_bulk_itself():
    """Nobody is told an end that only a list told."""
    office = Office(Listed)
    wait = office.wait("a", "b")
    question = office.next()
    office.list(question, status("a", State.FAILED, provisional=True), status("b"))
    assert told(wait) == [("state", "s:b", None)]
    assert office.take_all() == [Look("a")]
    office.answer(Look("a"), State.PARTIAL)
    assert told(wait) == [("state", "s:a", Verdict.PARTIAL)]


def test_what_is_missing_from_a_list_is_asked_for_by_its_id():
    """It is neither finished nor not found."""
    office = Office(Listed)
    wait = office.wait("a", "b")
    question = office.next()
    assert isinstance(question, Sweep)
    office.list(question, status("b"))
    assert office.take_all() == [Look("a")]
    assert told(wait) == [("state", "s:b", None)]


def test_a_row_of_a_bulk_that_is_being_asked_for_waits_for_its_own_record():
    """Which says more."""
    office = Office(Listed)
    wait = office.wait("a", "b")
    question = office.next()
    office.list(question, status("b"))
    (look,) = office.take_all()
    office.now = 100.0
    office.wait("c", "d")
    list_ = office.next()
    assert isinstance(list_, Sweep)
    office.list(list_, status("a", State.PAUSED, 100.0), *(status(id, seen=100.0) for id in "bcd"))
    assert told(wait) == [("state", "s:b", None)]
    office.answer(look, State.SUCCEEDED)
    assert told(wait) == [("state", "s:a", Verdict.SUCCEEDED)]


@pytest.mark.parametrize("error", ONE_BULK)
def test_a_list_that_cannot_be_read_leaves_each_to_its_id(error):
    """The source is not down for that, and the list is left alone for a while."""
    office = Office(Listed)
    wait = office.wait("a", "b")
    office.fail(office.next(), error)
    assert office.take_all() == [Look("a"), Look("b")]
    assert office.desk.plan.down_since is None
    assert told(wait) == []


def test_a_list_that_told_why_the_source_is_down_is_read_again_when_it_is_up():
    """A bulk that answers by its id tells; where the list alone fails again, it was the list's fault, and each is asked for."""
    office = Office(Listed)
    wait = office.wait(*"abcd")
    office.fail(office.next(), DOWN)
    look = office.next()
    assert isinstance(look, Look)
    office.answer(look)
    again = office.next()
    assert isinstance(again, Sweep)
    wait.read()
    office.fail(again, DOWN)
    assert {type(question) for question in office.take_all()} == {Look}
    assert wait.read() == []


def test_who_left_a_list_is_known_only_where_it_was_read_to_its_end():
    """Also of those that were not looked for in it: they are asked for at once, before they are due."""
    for whole in (False, True):
        office = Office(Sorted)
        office.wait("old")
        office.see(created_at=at(-3_000))
        office.wait(*"abc")
        office.see()
        question = office.next()
        assert (set(question.ids), question.states) == (set("abc"), frozenset({State.RUNNING}))
        assert office.desk.others(question) == ["old"]
        rows = {id: status(id, seen=office.now) for id in "abc"}
        office.desk.swept(question, Swept(rows, 1, whole), office.now, at(office.now))
        assert office.take_all() == ([Look("old")] if whole else [])


def test_nobody_is_missed_in_a_list_of_all_or_of_what_is_unfinished():
    """One of all tells of each what it looks for; a scan's takes in every row there is."""
    office = Office(Listed)
    office.wait("a")
    office.see()
    assert office.desk.others(Sweep(("b",), None)) == []
    assert office.desk.others(Sweep((), OPEN, scan=True)) == []


def test_a_row_that_leaves_something_open_is_used_once():
    """Whoever asks after that, or comes when all have left, has the bulk's own record read."""
    for leave in (False, True):
        office = Office(Confirming)
        wait = office.wait("a", "b")
        office.list(office.next(), status("a", State.SUCCEEDED, provisional=True), status("b"))
        (look,) = office.take_all()
        if leave:
            office.desk.unsubscribe(wait)
        else:
            assert office.desk.call(look).request.path.endswith("/rest")
        assert not office.desk.call(look).request.path.endswith("/rest")


def test_what_was_settled_for_one_while_the_list_was_read_can_still_be_followed_by_another():
    """An end that only the list told, of a bulk that nobody waited for any more at that moment."""
    office = Office(Listed)
    first = office.wait("a", "b", until="any")
    question = office.next()
    office.list(question, status("a", State.SUCCEEDED), status("b", State.FAILED, provisional=True))
    assert first.over
    second = office.wait("b")
    taken = office.take_all()
    assert taken == [Look("b")]
    office.answer(taken[0], State.FAILED)
    assert second.over


def test_an_adapter_that_fails_to_list_is_asked_for_each_bulk():
    """Its fault is nobody else's."""
    office = Office(Unlistable)
    office.wait("a", "b", "c")
    assert {type(question) for question in office.take_all()} == {Look}


# --- a source that cannot be asked ---


@pytest.mark.parametrize("error", WHOLE_SOURCE, ids=lambda error: error.kind)
@pytest.mark.parametrize("kind", [Plain, Listed])
def test_what_is_wrong_with_the_source_is_told_once(kind, error):
    """To each who waits, about the source and not about each bulk; and so is its end."""
    office = Office(kind)
    waits = [office.wait("a", "b"), office.wait("b", "c")]
    office.see()
    for wait in waits:
        wait.read()
    for _ in range(3):
        office.fail(office.next(), error)
        began = office.desk.down_at
    assert [told(wait) for wait in waits] == [[("unobservable", None, None)]] * 2
    assert (office.desk.failure.kind, office.desk.down_at) == (error.kind, began)
    office.answer(office.next())
    assert [told(wait)[0] for wait in waits] == [("observable", None, None)] * 2
    assert (office.desk.failure, office.desk.down_at) == (None, None)


def test_while_the_source_is_down_all_that_was_due_is_stale():
    """What was not due is not: nobody would have looked."""
    office = Office()
    wait = office.wait("a", "b", "c")
    for question in office.take_all():
        seconds = 1e6 if question.id == "c" else 0.0
        office.answer(question, created_at=at(-seconds))
    office.now = 3.0
    question, *others = office.take_all()
    assert len(others) == 1
    office.fail(question, DOWN)
    office.fail(others[0], DOWN)
    stale = {result.ref: result.stale_since for result in wait.outcome(at(3))}
    assert stale == {"s:a": at(3), "s:b": at(3), "s:c": None}
    assert [result.verdict for result in wait.outcome(at(3))] == [Verdict.PENDING] * 3


def test_what_is_due_and_was_not_asked_is_stale_with_what_was():
    """One question speaks for all of its source, and names no bulk."""
    office = Office()
    wait = office.wait("a", "b", "c")
    office.fail(office.desk.take(0.0), Unavailable("down", id="a"))
    assert [result.stale_since for result in wait.outcome(at(0))] == [at(0)] * 3
    assert {result.failure.id for result in wait.outcome(at(0))} == {None}


def test_what_became_blind_is_not_asked_for_any_more():
    """Whether a question failed, or had no answer yet."""
    for answered in (True, False):
        office = Office()
        office.wait("a", "b", until="all", blind_after=10)
        office.see()
        office.now = 20.0
        look = office.desk.take(office.now)
        if answered:
            office.fail(look, DOWN)
        office.now = 30.0
        office.desk.review(office.now, at(office.now))
        assert look.id not in office.desk.plan


@pytest.mark.parametrize(
    ("seen", "last", "patience"), [(True, False, 5), (False, False, 5), (True, True, 1), (False, True, 0)]
)
def test_a_question_that_has_no_answer_for_long_is_as_good_as_one_that_failed(seen, last, patience):
    """At the end of a wait sooner, and at once where there was no answer at all."""
    office = Office()
    wait = office.wait("a")
    if seen:
        office.see()
    office.next()
    asked_at = office.now
    for waited, silent in ((patience, False), (patience + 0.5, True)):
        office.now = asked_at + waited
        office.desk.review(office.now, at(office.now), last=wait if last else None)
        (result,) = wait.outcome(at(0))
        assert result.stale_since == (at(asked_at) if silent else None)


@pytest.mark.parametrize(("seconds", "kinds"), [(60, []), (61, ["unobservable"])])
def test_a_pause_is_told_where_it_is_long(seconds, kinds):
    """What can be asked again within a minute is not stale for that."""
    office = Office()
    wait = office.wait("a")
    office.see()
    wait.read()
    office.now = 50.0
    office.desk.held(office.now + seconds, RateLimited("slow down"), office.now, at(office.now))
    assert [change.kind for change in wait.read()] == kinds
    assert (wait.outcome(at(0))["s:a"].stale_since is not None) is bool(kinds)


def test_an_outage_makes_bulks_blind_in_the_end():
    """Each so long after its own last good answer, and not before."""
    office = Office()
    wait = office.wait("a", "b", blind_after=100)
    office.see()
    while not wait.over:
        office.fail(office.next(), DOWN)
        assert office.now < 140
    assert office.now >= 100
    assert [result.verdict for result in wait.outcome(at(0))] == [Verdict.BLIND] * 2
    assert all(result.status is not None for result in wait.outcome(at(0)))


def test_who_comes_during_an_outage_waits_as_long_as_anybody():
    """That others have waited before makes nobody's patience shorter."""
    office = Office()
    office.wait("a", blind_after=1e6)
    while office.now < 200:
        office.fail(office.next(), DOWN)
    late = office.wait("a", blind_after=100)
    while office.now < 250:
        office.fail(office.next(), DOWN)
    assert told(late) == []
    assert not late.over


@pytest.mark.parametrize(
    ("error", "final"),
    [
        (AuthError("refused"), True),
        (ConfigError("no such secret"), True),
        (Unavailable("no", reason="tls_untrusted"), True),
        (Unavailable("no", reason="redirect_refused"), True),
        (AuthError("no token came", reason="bad_token_reply"), False),
        (ProtocolError("no such address", reason="no_token_endpoint"), False),
        (DOWN, False),
        (RateLimited("slow down"), False),
    ],
)
def test_what_every_question_will_meet_ends_waits_for_a_source_that_never_answered(error, final):
    """Once it answered anything, the fault may pass, and the wait goes on."""
    office = Office()
    wait = office.wait("a", "b")
    for question in office.take_all():
        office.fail(question, error)
    assert wait.over is final
    if final:
        assert [result.verdict for result in wait.outcome(at(0))] == [Verdict.BLIND] * 2
    answered = Office()
    wait = answered.wait("a", "b")
    first, second = answered.take_all()
    answered.fail(first, NotFound("no"))
    answered.fail(second, error)
    assert not any(change.verdict for change in wait.read())


def test_an_answer_that_nothing_is_there_shows_that_the_source_is_up():
    """Whatever it was about."""
    for error in (NotFound("no"), *ONE_BULK):
        office = Office()
        office.wait("a", "b")
        first, second = office.take_all()
        office.fail(first, DOWN)
        assert office.desk.plan.down_since is not None
        office.fail(second, error)
        assert office.desk.plan.down_since is None


# --- one bulk that cannot be looked at ---


@pytest.mark.parametrize("error", ONE_BULK, ids=lambda error: error.kind)
def test_a_bulk_that_cannot_be_looked_at_troubles_no_other(error):
    """It is told once, with the reference; the bulk is asked for again as often as before."""
    office = Office()
    wait = office.wait("a", "b")
    office.see()
    wait.read()
    for question in [office.next(), office.next()]:
        if question.id == "a":
            office.fail(question, error)
        else:
            office.answer(question)
    assert told(wait) == [("unobservable", "s:a", None)]
    assert office.desk.down_at is None
    assert office.due("a") > office.now
    while (question := office.next()).id != "a":
        office.answer(question)
    office.fail(question, error)
    assert told(wait) == []
    while (question := office.next()).id != "a":
        office.answer(question)
    office.answer(question, State.SUCCEEDED)
    assert told(wait) == [("observable", "s:a", None), ("state", "s:a", Verdict.SUCCEEDED)]


def test_a_question_that_is_refused_for_ever_is_not_waited_for():
    """Where the bulk was never seen."""
    office = Office()
    wait = office.wait("a")
    office.fail(office.next(), RequestRejected("no"))
    assert told(wait) == [("unobservable", "s:a", None), ("verdict", "s:a", Verdict.BLIND)]
    assert office.desk.next_at(office.now) is None


def test_a_question_that_is_refused_for_now_is_asked_again():
    """Also where the bulk was never seen."""
    office = Office()
    wait = office.wait("a")
    office.fail(office.next(), RequestRejected("busy", retryable=True))
    assert told(wait) == [("unobservable", "s:a", None)]
    assert office.next() == Look("a")


def test_the_most_patient_of_several_waits_says_how_often_an_unknown_bulk_is_looked_for():
    """The others have their verdict at the next of those looks."""
    office = Office()
    short, long = office.wait("a", grace=4), office.wait("a", grace=40)
    ends = {}
    while not long.over:
        office.fail(office.next(), NotFound("no"))
        ends.setdefault(short.over, []).append(office.now)
    assert ends == {False: [0], True: [10, 20, 30, 40]}


@pytest.mark.parametrize(("grace", "looks"), [(20, [0, 5, 10, 15, 20]), (0, [0]), (2, [0, 1, 2])])
def test_a_bulk_that_is_not_there_yet_is_looked_for_until_the_grace_ends(grace, looks):
    """Four times in it, and at its end; never faster than the provider wants."""
    office = Office()
    wait = office.wait("a", grace=grace)
    seen = []
    while not wait.over:
        question = office.next()
        seen.append(office.now)
        office.fail(question, NotFound("no"))
    assert seen == pytest.approx(looks)
    assert told(wait) == [("unobservable", "s:a", None), ("verdict", "s:a", Verdict.NOT_FOUND)]


def test_a_bulk_that_appears_in_the_grace_is_followed():
    """As any other."""
    office = Office()
    wait = office.wait("a")
    office.fail(office.next(), NotFound("no"))
    office.answer(office.next())
    assert told(wait) == [
        ("unobservable", "s:a", None),
        ("observable", "s:a", None),
        ("state", "s:a", None),
    ]


def test_a_bulk_that_was_seen_is_looked_for_once_more_before_it_is_gone():
    """After some seconds, as a replica may lag behind."""
    office = Office()
    wait = office.wait("a")
    office.see()
    office.fail(office.next(), NotFound("no"))
    missed = office.now
    assert not wait.over
    office.fail(office.next(), NotFound("no"))
    assert 1 <= office.now - missed <= 10
    assert wait.outcome(at(0)).verdicts == {"s:a": Verdict.GONE}


# --- looking for all there are ---


def test_a_scan_follows_what_is_unfinished():
    """What has ended is nobody's business."""
    office = Office(Listed)
    watch = office.wait(until=None, scan=True)
    question = office.next()
    assert question.scan
    office.list(question, status("a"), status("b", State.SUCCEEDED), status("c", State.PAUSED))
    assert told(watch) == [("state", "s:a", None), ("state", "s:c", None)]


def test_a_scan_finds_also_what_comes_later():
    """Looked for about every 30 seconds."""
    office = Office(Listed)
    watch = office.wait(until=None, scan=True)
    office.list(office.next())
    question = office.next()
    assert question.scan
    assert 25 <= office.now <= 35
    office.list(question, status("d", State.QUEUED, office.now))
    assert told(watch) == [("state", "s:d", None)]


def test_bulks_that_are_followed_put_off_no_scan():
    """However often the list is read for them, which may be a shorter list, or the beginning of it."""
    office = Office(Listed)
    office.wait(until=None, scan=True)
    office.list(office.next(), *(status(f"b{number}") for number in range(8)))
    question = office.next()
    while not (isinstance(question, Sweep) and question.scan) and office.now < 1_000:
        office.answer(question)
        question = office.next()
    assert office.now <= 40


def test_a_bulk_that_leaves_the_list_is_asked_for_and_ends():
    """Its end is told, and it is followed no more."""
    office = Office(Listed)
    watch = office.wait(until=None, scan=True)
    office.list(office.next(), status("a"))
    question = office.next()
    if isinstance(question, Sweep):
        office.list(question)
        question = office.next()
    office.answer(question, State.SUCCEEDED)
    assert told(watch) == [("state", "s:a", None), ("state", "s:a", Verdict.SUCCEEDED)]
    assert office.due("a") is None
    assert not watch.over


def test_a_scan_shows_also_what_others_wait_for():
    """A bulk that somebody named is unfinished like any other."""
    office = Office(Listed)
    office.wait("a")
    office.see()
    watch = office.wait(until=None, scan=True)
    question = office.next()
    office.list(question, status("a"), status("b"))
    assert {change.ref for change in watch.read()} == {"s:a", "s:b"}


def test_a_second_scan_shows_what_the_first_has_found():
    """Both follow all there is."""
    office = Office(Listed)
    office.wait(until=None, scan=True)
    office.list(office.next(), status("a"), status("b"))
    office.now = 5.0
    watch = office.wait(until=None, scan=True)
    question = office.next()
    office.list(question, status("a", seen=5.0), status("b", seen=5.0))
    assert {change.ref for change in watch.read()} == {"s:a", "s:b"}


def test_a_scan_with_detail_looks_at_a_few_bulks_one_by_one():
    """For the counts that a list may lack."""
    office = Office(Listed)
    office.wait(until=None, scan=True, detail=True)
    office.list(office.next(), status("a"), status("b"))
    assert {office.next(), office.next()} == {Look("a"), Look("b")}


def test_a_scan_forgets_bulks_that_ended():
    """A watch that goes on for months holds what goes on, and not all that ever ran."""
    office = Office(Listed)
    watch = office.wait(until=None, scan=True)
    for number in range(300):
        office.now = 100.0 * number
        office.list(office.next(), status(f"b{number}", seen=office.now))
        for question in office.take_all():
            office.answer(question, State.SUCCEEDED)
        watch.read()
    assert len(office.desk.plan) < 10
    assert len(office.desk._tracks) < 100


def test_a_scan_that_fails_is_made_again():
    """Whether the fault is the list's or the source's."""
    for error in (DOWN, ProtocolError("odd")):
        office = Office(Listed)
        watch = office.wait(until=None, scan=True)
        office.fail(office.next(), error)
        question = office.next()
        assert question.scan
        office.list(question, status("a"))
        assert ("state", "s:a", None) in told(watch)


def test_a_scan_whose_list_cannot_be_read_says_so():
    """Else a watch of everything that shows nothing looks like one with nothing to show."""
    office = Office(Listed)
    watch = office.wait(until=None, scan=True)
    for _ in range(3):
        office.fail(office.next(), ProtocolError("odd"))
    assert "unobservable" in [change.kind for change in watch.read()]


def test_when_nobody_scans_any_more_the_list_is_left_alone():
    """Also when a scan is under way at that moment."""
    office = Office(Listed)
    watch = office.wait(until=None, scan=True)
    question = office.next()
    office.desk.unsubscribe(watch)
    office.list(question, status("a"))
    assert office.desk.is_idle
    assert office.desk.next_at(0.0) is None


def test_what_cannot_be_listed_is_not_scanned():
    """A source without a list takes no part."""
    office = Office()
    office.wait(until=None, scan=True)
    assert office.desk.is_idle
    assert office.desk.listings(OPEN) == ()


# --- after an end ---


def test_a_bulk_that_moves_again_after_its_end_is_followed_by_who_watches_on():
    """With a warning, and to its second end; the first verdict stands."""
    office = Office(Listed)
    watch = office.wait(until=None, scan=True)
    office.list(office.next(), status("a"))
    office.now += 30.0
    office.list(office.next(), status("a", State.SUCCEEDED, office.now))
    watch.read()
    question = office.next()
    office.list(question, status("a", State.RUNNING, office.now))
    (change,) = watch.read()
    assert any("regressed" in warning for warning in change.warnings)
    assert office.due("a") is not None
    question = office.next()
    office.answer(question, State.FAILED)
    assert told(watch)[-1] == ("state", "s:a", None)
    assert watch.outcome(at(0)).verdicts == {"s:a": Verdict.SUCCEEDED}
    assert office.due("a") is None


def test_the_second_end_of_a_bulk_is_told_also_where_only_a_list_tells_it():
    """The bulk itself is asked, as at its first end."""
    office = Office(Listed)
    watch = office.wait(until=None, scan=True)
    office.list(office.next(), status("a"))
    for state in (State.SUCCEEDED, State.RUNNING):
        office.now += 30.0
        office.list(office.next(), status("a", state, office.now))
    office.now += 60.0
    question = office.next()
    assert "a" in question.ids
    office.list(question, status("a", State.FAILED, office.now, provisional=True))
    watch.read()
    assert office.take_all() == [Look("a")]
    office.answer(Look("a"), State.FAILED)
    assert told(watch) == [("state", "s:a", None)]


def test_a_watch_without_an_end_looks_at_its_bulks_also_after_theirs():
    """Seldom, but else it could never tell that one moves again."""
    office = Office()
    office.wait("a", until=None)
    office.see(State.SUCCEEDED)
    assert office.due("a") is not None


def test_a_wait_that_is_over_follows_no_bulk_that_moves_again():
    """Its verdict is final."""
    office = Office()
    wait = office.wait("a")
    office.see(State.SUCCEEDED)
    office.answer(Look("a"), State.RUNNING)
    assert wait.over
    assert office.due("a") is None


# --- deadlines ---


def test_before_a_deadline_all_that_goes_on_is_looked_at_once_more():
    """Early enough for the answers, so that the outcome is fresh."""
    office = Office()
    wait = office.wait("a", "b", timeout=1_000)
    for question in office.take_all():
        office.answer(question, created_at=at(-1e5))
    office.desk.took(0.5)
    seen = []
    while office.desk.next_at(office.now) < 1_000:
        question = office.next()
        seen.append((question.id, office.now))
        office.answer(question, created_at=at(-1e5))
    last = dict(seen)
    assert last.keys() == {"a", "b"}
    assert all(980 < now < 1_000 for now in last.values())
    assert not wait.over


@given(timeout=st.floats(0.1, 1e5), took=st.floats(0, 60), bulks=st.integers(1, 30))
def test_the_last_look_comes_in_the_last_fifth_and_ten_seconds(timeout, took, bulks):
    """However slow the answers are."""
    office = Office()
    office.wait(*(f"b{number}" for number in range(bulks)), timeout=timeout)
    office.see(created_at=at(-1e9))
    office.desk.took(took)
    edge = office.desk._deadlines.next_edge(office.desk.plan.round(0.0))
    assert timeout - edge <= min(10.0, timeout / 5) + 1e-6
    assert edge < timeout


def test_a_source_that_is_down_is_asked_once_more_before_a_deadline():
    """It may be up again."""
    office = Office()
    wait = office.wait("a", timeout=100)
    office.see()
    times = []
    while office.desk.next_at(office.now) < 100:
        question = office.next()
        times.append(office.now)
        office.fail(question, DOWN)
    assert any(90 <= now < 100 for now in times)
    assert not wait.over


def test_who_cannot_wait_until_something_may_be_sent_is_told_now():
    """Pending, and why; who has more time goes on, and so does the source's plan."""
    office = Office()
    short, long, endless = office.wait("a", timeout=60), office.wait("a", timeout=900), office.wait("a")
    office.see()
    for wait in (short, long, endless):
        wait.read()
    office.desk.held(600.0, RateLimited("pause", retry_after=600), office.now, at(0))
    assert told(short) == [("verdict", "s:a", Verdict.PENDING)]
    assert (short.over, long.over, endless.over) == (True, False, False)
    (result,) = short.outcome(at(0))
    assert (result.failure.kind, result.failure.retry_after) == ("rate_limited", 600)
    assert result.status is not None
    assert told(long) == told(endless) == []
    assert office.due("a") is not None


def test_the_deadline_of_who_left_counts_no_more():
    """Nobody is asked before it."""
    office = Office()
    office.wait("a")
    leaving = office.wait("a", timeout=3)
    office.see(created_at=at(-1e5))
    assert office.desk.next_at(0.0) < 3
    office.desk.unsubscribe(leaving)
    assert office.desk.next_at(0.0) > 50


# --- sleep ---


def test_when_the_machine_wakes_everything_is_due():
    """But for what is being asked."""
    office = Office()
    office.wait("a", "b", "c")
    questions = office.take_all()
    for question in questions[1:]:
        office.answer(question)
    office.now = 0.5
    office.desk.woke(0.5)
    assert {question.id for question in office.take_all()} == {question.id for question in questions[1:]}


def test_who_comes_after_an_end_is_told_it_too():
    """A list's word for it is not enough: the bulk is asked for anew, also while others watch on who know."""
    office = Office(Listed)
    office.wait("a", "b", until=None)
    office.list(office.next(), status("a"), status("b"))
    office.now = 10.0
    office.list(office.next(), status("a", State.SUCCEEDED, 10, provisional=True), status("b", seen=10))
    office.answer(office.next(), State.SUCCEEDED)
    late = office.wait("a", "b")
    office.list(office.next(), status("a", State.SUCCEEDED, 10, provisional=True), status("b", seen=10))
    look = office.next()
    assert look == Look("a")
    office.answer(look, State.SUCCEEDED)
    assert late.is_settled(Ref("s", "a"))


# --- all of it ---


@given(
    data=st.data(),
    kind=st.sampled_from([Plain, Listed]),
    until=st.sampled_from(["all", "any", "first_failure"]),
)
def test_whatever_happens_no_wait_is_forgotten(data, kind, until):
    """Answers and errors in any order: a wait is over, or something more will be asked for it, or is being asked."""
    office = Office(kind)
    wait = office.wait("a", "b", "c", until=until)
    flying = []
    for _ in range(data.draw(st.integers(1, 30))):
        if flying and data.draw(st.booleans()):
            question = flying.pop(data.draw(st.integers(0, len(flying) - 1)))
            state = data.draw(st.sampled_from([None, *State]))
            if state is None:
                office.fail(question, data.draw(st.sampled_from([*WHOLE_SOURCE, *ONE_BULK, NotFound("no")])))
            elif isinstance(question, Look):
                office.answer(question, state)
            else:
                there = data.draw(st.sets(st.sampled_from("abcd")))
                provisional = state.is_terminal and data.draw(st.booleans())
                office.list(
                    question,
                    *(status(id, state, office.now, provisional=provisional) for id in sorted(there)),
                )
        else:
            moment = office.desk.next_at(office.now)
            if moment is not None:
                office.now = max(office.now, moment)
                question = office.desk.take(office.now)
                assert question is not None
                flying.append(question)
        asked = {id for one in flying for id in ([one.id] if isinstance(one, Look) else one.ids)}
        for id in "abc":
            settled = wait.is_settled(Ref("s", id))
            assert settled or id in asked or office.due(id) is not None


# --- what the journal knows already ---


def known(id, state=State.RUNNING, *, first=-100.0, **more):
    """A bulk as the journal has it, first seen at `first`."""
    found = status(id, state, -50.0)
    return KnownBulk(
        ref=f"s:{id}",
        source="s",
        provider="plain",
        realm="plain",
        id=id,
        status=found,
        first_seen_at=at(first),
        **more,
    )


def recalled(office, *ids, bulks=(), **terms):
    """A wait whose bulks are asked for once it is said what is known of them."""
    subscription = Subscription(terms=Terms(**terms), polling=PollPolicy(), until="all", began=office.now)
    office.desk.subscribe(subscription, ids, office.now, recalls=True)
    assert office.take_all() == []
    office.desk.recall(ids, {bulk.id: bulk for bulk in bulks}, office.now, at(office.now))
    return subscription


def test_what_has_ended_is_told_and_not_asked_for():
    """The others are."""
    office = Office()
    wait = recalled(office, "a", "b", bulks=[known("a", State.SUCCEEDED)])
    assert wait.results[Ref("s", "a")].verdict is Verdict.SUCCEEDED
    assert office.take_all() == [Look("b")]


def test_what_was_seen_meanwhile_is_not_taken_back_by_what_is_remembered():
    """Another wait has had an answer: that is newer than anything the journal knows."""
    office = Office()
    first = office.wait("a")
    office.see()
    second = recalled(office, "a", bulks=[known("a", State.SUCCEEDED)])
    assert not first.results
    assert not second.results
    assert first.tracks[Ref("s", "a")].remembered is None


def test_the_age_of_a_bulk_is_that_since_it_was_first_seen():
    """However often it has been waited for since; so it is looked at as seldom as its age allows."""
    office = Office()
    wait = recalled(office, "a", bulks=[known("a", first=-500.0)])
    office.see()
    assert wait.tracks[Ref("s", "a")].age(office.now) == 500.0


def test_a_bulk_that_is_missing_and_was_seen_before_the_wait_is_gone():
    """After two misses, or after one where it was gone already; what is told is how it was seen last."""
    for before, misses in ((known("a"), 2), (known("a", gone_at=at(-10)), 1)):
        office = Office()
        bulk = before
        if before.gone_at is not None:
            bulk = structs.replace(before, status=before.status.changed(gone_at=before.gone_at))
        wait = recalled(office, "a", bulks=[bulk])
        for number in range(misses):
            assert not wait.results, number
            office.fail(office.next(), NotFound("no such bulk"))
            office.now += 5
        (result,) = wait.results.values()
        assert result.verdict is Verdict.GONE
        assert result.status.state is State.RUNNING
        assert result.status.gone_at is not None


def test_a_tracked_bulk_is_taken_up_once():
    """Though it is named again each time the journal is looked through."""
    office = Office(Slow)
    everything = office.wait(scan=True, until=None)
    for _ in range(3):
        office.desk.adopt(everything, known("a"), office.now, at(office.now))
    assert office.take_all() == [Look("a")]
    office.answer(Look("a"))
    office.desk.adopt(everything, known("a"), office.now, at(office.now))
    assert office.take_all() == []
    office.desk.unsubscribe(everything)
    assert office.desk.is_idle
