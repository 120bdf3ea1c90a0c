"""What providers tell of bulks that is odd in itself: new words, steps back, counts that do not add up, lists without end."""

import json
from datetime import timedelta

import anyio
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from bulkstatus import (
    AsyncClient,
    BulkStatus,
    Client,
    Counts,
    Journal,
    ProtocolError,
    State,
    Unavailable,
    Verdict,
)
from bulkstatus.cli._live import bar, progress_cell, status_table
from bulkstatus.testing import FakeResponse, FakeTransport, Fault, Life, serve
from bulkstatus_cloudflare.fake import CloudflareFake
from bulkstatus_druid.fake import DruidFake
from bulkstatus_weavr.fake import WeavrFake
from journal.looks import at, look
from reliability.command import command_line
from support import ask
from virtual import DRUID, LoggedDruid, World, run_virtually

CF = "7be1c3f09a5d4e21b6c8d7f00a94e152"
SITE = {
    "weavr": "https://one.test/multi",
    "cloudflare": "https://one.test/client/v4",
    "druid": "https://one.test",
}
JSON = {"Content-Type": "application/json"}


def says(body):
    """A fault by which a provider answers with this body."""
    return Fault(status=200, body=json.dumps(body).encode(), headers=JSON, times=None)


def told(fake, body, id, kind="async"):
    """What is made of a body in the place of a bulk's own record."""
    fault = says(body)
    fault.where = id
    fake.fail(fault)
    url = SITE[fake.word]
    (status,) = ask(kind, fake.adapter(url), f"plain:{id}", transport=FakeTransport({url: fake}))
    return status


def counted(word, total, *pairs, **more):
    """A bulk of Weavr's with these counts."""
    counts = [{"status": status, "count": number} for status, number in pairs]
    return {
        "bulkId": "1",
        "status": word,
        "submittedItemsCount": total,
        "operationStatusCounts": counts,
        **more,
    }


@pytest.fixture
def line(monkeypatch, tmp_path, capsys):
    """Run the command line in this process, over fakes on real sockets that it is given by source."""
    with command_line(monkeypatch, tmp_path, capsys) as call:
        yield call


def watched(prepare, refs, **options):
    """A watch on virtual time: its changes, its outcome, the world."""

    async def play():
        world = World()
        prepare(world)
        changes = []
        async with world.client() as client, client.watch(refs, **options) as watch:
            async for change in watch:
                changes.append(change)  # noqa: PERF401 - as they come
            return changes, watch.outcome(), world

    return run_virtually(play, longest=100_000)


def warnings_in(changes):
    """All warnings, in their order."""
    return [warning for change in changes for warning in change.warnings]


# --- words that nobody knows ---


@pytest.mark.row("F81")
@pytest.mark.parametrize("source", ["w", "c", "d"])
def test_a_new_word_is_unknown_and_said_once(source):
    """It is no end, however often it comes; the word is kept, and one warning names it."""

    def prepare(world):
        running = {"w": "RUNNING", "c": "running", "d": "processing"}[source]
        world.fakes[source].add("1" * 32, Life.of((0, running), (30, "ARCHIVING")))

    changes, outcome, world = watched(prepare, f"{source}:{'1' * 32}", timeout=900)
    (result,) = outcome
    assert result.verdict is Verdict.PENDING
    assert (result.status.state, result.status.native_state) == (State.UNKNOWN, "ARCHIVING")
    assert any("'ARCHIVING'" in line for line in result.status.evidence)
    assert warnings_in(changes) == ["unknown: the word 'ARCHIVING' does not tell how it stands"]
    assert len([at for at in world.fakes[source].arrivals if at > 60]) > 10


@pytest.mark.row("F81")
def test_a_new_word_is_said_once_though_its_counts_go_on():
    """Progress is told as it comes, and the word is not warned of again; another new word is."""

    def prepare(world):
        world.weavr.add("1", Life.of((0, "RUNNING")))
        for step, (word, done) in enumerate(
            [("ARCHIVING", 1), ("ARCHIVING", 2), ("ARCHIVING", 3), ("SHELVED", 3)]
        ):
            fault = says(counted(word, 9, ("COMPLETED", done)))
            world.at(step * 100.0, lambda fault=fault: (world.weavr.heal(), world.weavr.fail(fault)))

    changes, _, _ = watched(prepare, "w:1", timeout=500)
    assert [change.status.counts.succeeded for change in changes if change.kind == "progress"] == [2, 3]
    assert warnings_in(changes) == [
        "unknown: the word 'ARCHIVING' does not tell how it stands",
        "unknown: the word 'SHELVED' does not tell how it stands",
    ]


@pytest.mark.row("F81")
@pytest.mark.parametrize(
    "word", [None, "", "\x1b[31mDONE", "Completed!", "完了", "COMPLETED\u200b", "A" * 5_000, "null"]
)
def test_no_odd_word_is_an_end(word, kind):
    """Missing, decorated, in another script, endless: unknown, and the first look already warns."""
    status = told(WeavrFake(), counted(word, 5, ("COMPLETED", 5)), "1", kind)
    assert (status.state, status.state.is_terminal, status.native_state) == (State.UNKNOWN, False, word)
    assert status.evidence


@pytest.mark.row("F81")
def test_the_command_line_tells_a_new_word_once(line):
    """`wait` ends with 8 at its deadline; the word stands in one warning, and in the last status."""
    fake = WeavrFake()
    fake.add("1", Life.of((0, "ARCHIVING")))
    done = line({"w": fake}, "wait", "w:1", "--timeout", "3s", "--no-journal")
    assert done.code == 8
    assert done.err.count("the word 'ARCHIVING' does not tell how it stands") == 1
    assert line({"w": fake}, "get", "w:1", "--exit-status").code == 7


# --- steps back ---


@pytest.mark.row("F82")
@pytest.mark.parametrize("second", ["COMPLETED", "FAILED"])
def test_the_first_verdict_stands_when_an_end_is_taken_back(second):
    """Ended, running again, ended again: one verdict, and each step back is said."""

    def prepare(world):
        steps = (0, "RUNNING"), (20, "COMPLETED"), (900, "RUNNING"), (2_000, second)
        world.weavr.add("1", Life.of(*steps), operations=10, succeeding=10)

    changes, outcome, _ = watched(prepare, "w:1", until=None, timeout=4_000)
    assert outcome.verdicts == {"w:1": Verdict.SUCCEEDED}
    assert [change.verdict for change in changes if change.verdict] == [Verdict.SUCCEEDED]
    assert [warning for warning in warnings_in(changes) if "regressed" in warning] == [
        "regressed: succeeded before, running now"
    ]
    states = [change.status.state for change in changes if change.kind == "state"]
    assert states[:3] == [State.RUNNING, State.SUCCEEDED, State.RUNNING]
    assert len(states) == 4


@pytest.mark.row("F82")
def test_an_end_that_is_taken_back_stands_as_regressed_in_the_journal(tmp_path, kind):
    """With every step of it; what is asked for afterwards is how it stands now."""
    fake = WeavrFake()
    path = tmp_path / "journal.db"

    async def work(call, words):
        for word in words:
            fake.add("1", Life.of((0, word)))
            await call("get", "s:1", fresh=True)
        return await call("history", "s:1")

    steps = with_client(
        kind, fake, lambda call: work(call, ["RUNNING", "COMPLETED", "RUNNING", "COMPLETED"]), path
    )
    assert [(step.to_state, step.regressed) for step in steps] == [
        (State.RUNNING, False),
        (State.SUCCEEDED, False),
        (State.RUNNING, True),
        (State.SUCCEEDED, False),
    ]


def with_client(kind, fake, work, journal=None):
    """Run the coroutine function `work` with `call(method, ...)` of a client over `fake`, whichever client it is."""
    url = SITE[fake.word]
    adapters, transport = {"s": fake.adapter(url)}, FakeTransport({url: fake})

    async def run():
        if kind == "async":
            async with AsyncClient(adapters, transport=transport, journal=journal) as client:
                return await work(lambda name, *args, **options: getattr(client, name)(*args, **options))
        with Client(adapters, transport=transport, journal=journal) as client:

            async def call(name, *args, **options):
                return await anyio.to_thread.run_sync(lambda: getattr(client, name)(*args, **options))

            return await work(call)

    return anyio.run(run)


class Copies(LoggedDruid):
    """A DRUID that may answer from a copy which has not heard of what was last."""

    stale = None
    """The record that the copy gives in place of the true one, as changes to it."""

    def _record(self, bulk):
        record = super()._record(bulk)
        return record if self.stale is None else {**record, **self.stale}


def with_copies(steps, copies, **options):
    """A watch of DRUID's bulk that lives through `steps`, while `copies` (moment, record or None) answer."""

    async def play():
        world = World()
        fake = Copies(clock=world.clock)
        fake.arrivals, fake.told = [], []
        fake.add("b", Life.of(*steps))
        for moment, record in copies:
            world.at(moment, lambda record=record: setattr(fake, "stale", record))
        changes = []
        async with (
            AsyncClient({"d": fake.adapter(DRUID)}, transport=FakeTransport({DRUID: fake})) as client,
            client.watch("d:b", **options) as watch,
        ):
            async for change in watch:
                changes.append(change)  # noqa: PERF401 - as they come
            return changes, watch.outcome(), fake

    return run_virtually(play, longest=100_000)


OLD = {"status": "received", "updatedOn": "2026-01-01T00:00:00.000Z"}


@pytest.mark.row("F89")
def test_an_older_answer_is_left_out_with_one_warning():
    """A copy that lags for a minute changes nothing that was seen; the wait goes on to the bulk's own end."""
    steps = (0, "received"), (5, "processing"), (200, "completed")
    changes, outcome, _ = with_copies(steps, [(40, OLD), (95, None)], timeout=900)
    assert outcome.succeeded
    assert [change.status.state for change in changes if change.kind == "state"] == [
        State.QUEUED,
        State.RUNNING,
        State.SUCCEEDED,
    ]
    assert warnings_in(changes) == [
        "left out an older answer: queued as of 00:00:00 UTC, after running as of 00:00:05 UTC"
    ]
    (odd,) = (change for change in changes if change.warnings)
    assert (odd.kind, odd.status.state) == ("progress", State.RUNNING)


@pytest.mark.row("F89")
def test_what_is_still_said_after_two_minutes_is_believed():
    """A bulk that was really put back is seen to be, and said to have regressed."""
    steps = (0, "received"), (5, "processing"), (2_000, "completed")
    changes, outcome, _ = with_copies(steps, [(60, OLD)], timeout=900)
    assert outcome["d:b"].status.state is State.QUEUED
    warnings = warnings_in(changes)
    assert [warning.partition(":")[0] for warning in warnings] == ["left out an older answer", "regressed"]
    (back,) = (change for change in changes if any("regressed" in warning for warning in change.warnings))
    assert back.status.state is State.QUEUED
    assert 60 + 110 <= (back.observed_at - changes[0].observed_at).total_seconds() <= 60 + 300


@pytest.mark.row("F89")
@pytest.mark.parametrize(
    ("record", "state"),
    [
        ({"status": "received"}, State.QUEUED),  # its time did not go back
        ({"status": "received", "updatedOn": None}, State.QUEUED),
        ({"status": "failed", "updatedOn": OLD["updatedOn"]}, State.FAILED),  # its state did not
        (
            {"status": "archiving", "updatedOn": OLD["updatedOn"]},
            State.UNKNOWN,
        ),  # nobody knows whether it did
    ],
)
def test_only_what_goes_back_in_time_and_in_state_is_left_out(record, state):
    """Anything else is what the provider says now."""
    steps = (0, "received"), (5, "processing")
    changes, outcome, _ = with_copies(steps, [(40, record)], timeout=100)
    assert outcome["d:b"].status.state is state
    assert not any("older answer" in warning for warning in warnings_in(changes))


def seen(state, moment, updated, **more):
    """An answer of a provider that dates its bulks, read at `moment`."""
    return look(state, moment, updated_at=at(updated), **more)


@pytest.mark.row("F89")
def test_an_older_answer_is_left_out_of_the_journal(tmp_path):
    """For two minutes after the newer one; then it is a step back. In between, an end is kept, and asked for again."""
    with Journal(tmp_path / "journal.db") as journal:
        journal.record([seen(State.QUEUED, 0, 0), seen(State.SUCCEEDED, 20, 15, wanted=True)])
        for moment in (30, 60, 139):
            journal.record([seen(State.RUNNING, moment, 5)])
            (bulk,) = journal.find("payments:1")
            assert (bulk.status.state, bulk.is_settled) == (State.SUCCEEDED, False)
        journal.record([seen(State.SUCCEEDED, 140, 15)])
        (bulk,) = journal.find("payments:1")
        assert bulk.is_settled
        journal.record([seen(State.RUNNING, 259, 5)])
        assert [step.to_state for step in journal.history("payments:1")] == [State.QUEUED, State.SUCCEEDED]
        journal.record([seen(State.RUNNING, 261, 5)])
        assert [(step.to_state, step.regressed) for step in journal.history("payments:1")] == [
            (State.QUEUED, False),
            (State.SUCCEEDED, False),
            (State.RUNNING, True),
        ]


@pytest.mark.row("F89")
def test_an_older_answer_of_before_a_restart_is_told_by_the_clock_on_the_wall(tmp_path):
    """Ticks of two starts of a machine cannot be compared."""
    with Journal(tmp_path / "journal.db") as journal:
        journal.record([seen(State.RUNNING, 100, 50)])
        journal.record([seen(State.QUEUED, 150, 5, boot="another")])
        assert [step.to_state for step in journal.history("payments:1")] == [State.RUNNING]
        journal.record([seen(State.QUEUED, 400, 5, boot="another")])
        assert [step.regressed for step in journal.history("payments:1")] == [False, True]


@pytest.mark.row("F89")
def test_clients_with_a_journal_keep_the_newer_of_two_answers(tmp_path, kind):
    """One look after another, at copies of the provider that know less and less."""
    fake = Copies()
    fake.arrivals, fake.told = [], []
    fake.add("b", Life.of((0, "received"), (0.001, "processing")))
    path = tmp_path / "journal.db"

    async def work(call):
        first = await call("get", "s:b", fresh=True)
        fake.stale = {"status": "received", "updatedOn": f"{first.updated_at - timedelta(hours=1):%FT%TZ}"}
        await call("get", "s:b", fresh=True)
        return await call("history", "s:b")

    steps = with_client(kind, fake, work, path)
    assert [step.to_state for step in steps] == [State.RUNNING]


# --- counts ---

wild = st.none() | st.integers(-(10**30), 10**30) | st.integers(-3, 12)
wild_counts = st.builds(Counts, **dict.fromkeys(Counts.__struct_fields__, wild))


@pytest.mark.row("F83")
@given(wild_counts, st.integers(1, 30), st.booleans())
def test_no_counts_break_a_bar_or_a_share(counts, width, blocks):
    """Whatever they are: the share is none or from 0 to 1, and the bar has its width or is empty."""
    assert counts.progress is None or 0.0 <= counts.progress <= 1.0
    assert bar(counts, blocks=blocks, width=width).cell_len in (0, width)
    assert isinstance(progress_cell(counts, wide=True, blocks=blocks).plain, str)


@pytest.mark.row("F83")
@given(st.lists(wild_counts, min_size=1, max_size=3))
def test_no_counts_break_the_live_table(counts):
    """It is drawn."""
    console = Console(width=100, file=None, force_terminal=False, quiet=True)
    statuses = [
        BulkStatus(source="s", provider="p", id="1", state=State.RUNNING, observed_at=at(0), counts=each)
        for each in counts
    ]
    console.render_lines(status_table(statuses, console, at(0)))


ODD_COUNTS = {
    "more than the total": ((10, ("COMPLETED", 8), ("FAILED", 5)), 1.0, "add up to 13"),
    "a negative one": ((10, ("COMPLETED", 8), ("FAILED", -5)), 0.8, "no status and number"),
    "a negative total": ((-4, ("COMPLETED", 8)), None, "count of total operations was -4"),
    "a total of 0": ((0, ("COMPLETED", 8)), None, "add up to 8"),
    "an endless one": ((10, ("COMPLETED", 2**70)), None, "no status and number"),
}


@pytest.mark.row("F83")
@pytest.mark.parametrize("case", ODD_COUNTS)
def test_counts_that_do_not_add_up_are_said(case, kind):
    """The share stays within 0 and 1, and the evidence names what is odd."""
    (total, *pairs), progress, words = ODD_COUNTS[case]
    status = told(WeavrFake(), counted("RUNNING", total, *pairs), "1", kind)
    assert status.state is State.RUNNING
    assert status.counts.progress == progress
    assert any(words in sentence for sentence in status.evidence)


@pytest.mark.row("F83")
def test_counts_that_go_down_are_warned_of():
    """A total that shrinks, and operations that are not done any more."""

    def prepare(world):
        for moment, (total, done) in enumerate([(100, 50), (60, 50), (60, 20), (0, 0)]):
            fault = says(counted("RUNNING", total, ("COMPLETED", done)))
            world.at(moment * 100.0, lambda fault=fault: (world.weavr.heal(), world.weavr.fail(fault)))
        world.weavr.add("1", Life.of((0, "RUNNING")))

    changes, outcome, _ = watched(prepare, "w:1", timeout=400)
    assert outcome.verdicts == {"w:1": Verdict.PENDING}
    assert warnings_in(changes) == [
        "counts went down: total 100 before, 60 now",
        "counts went down: finished 50 before, 20 now",
        "counts went down: total 60 before, 0 now",
        "counts went down: finished 20 before, 0 now",
    ]


@pytest.mark.row("F83")
@pytest.mark.parametrize("case", ODD_COUNTS)
def test_the_command_line_shows_counts_that_do_not_add_up(line, case):
    """As a table, as CSV and as JSON, with exit code 0."""
    (total, *pairs), _, _ = ODD_COUNTS[case]
    fake = WeavrFake()
    fake.fail(says(counted("RUNNING", total, *pairs)))
    for form in ("table", "csv", "json"):
        done = line({"w": fake}, "get", "w:1", "-o", form)
        assert done.code == 0
        assert "running" in done.out


@pytest.mark.row("F84", "F85")
@pytest.mark.parametrize(
    ("total", "pairs", "state", "words"),
    [
        (10, [("COMPLETED", 9), ("FAILED", 1)], State.PARTIAL, "1 failed"),
        (10, [("COMPLETED", 9), ("CANCELLED", 1)], State.PARTIAL, "1 were cancelled"),
        (10, [("FAILED", 10)], State.FAILED, "No operation succeeded"),
        (10, [("SUBMITTED", 10)], State.UNKNOWN, "not proven"),
        (10, [("COMPLETED", 9), ("RUNNING", 1)], State.UNKNOWN, "not proven"),
        (10, [("COMPLETED", 0)], State.UNKNOWN, "not proven"),
        (10, [], State.UNKNOWN, "not proven"),
        (10, [("COMPLETED", 10)], State.SUCCEEDED, "means succeeded"),
        (0, [], State.SUCCEEDED, "0 operations"),
        (0, [("COMPLETED", 0)], State.SUCCEEDED, "0 operations"),
    ],
)
def test_completed_is_success_only_where_the_counts_bear_it_out(total, pairs, state, words, kind):
    """Failures make it partial; nothing done makes it unknown; nothing to do is success."""
    status = told(WeavrFake(), counted("COMPLETED", total, *pairs), "1", kind)
    assert status.state is state
    assert any(words in sentence for sentence in status.evidence)


@pytest.mark.row("F84", "F85")
def test_the_command_line_ends_by_what_was_done(line):
    """6 for a bulk with failures, 0 for one of nothing, 8 for one that is completed and yet not done."""
    fake = WeavrFake()
    cases = [
        (6, "60s", counted("COMPLETED", 4, ("COMPLETED", 3), ("FAILED", 1))),
        (0, "60s", counted("COMPLETED", 0)),
        (8, "3s", counted("COMPLETED", 4, ("SUBMITTED", 4))),
    ]
    for code, timeout, body in cases:
        fake.heal()
        fake.fail(says(body))
        assert line({"w": fake}, "wait", "w:1", "--timeout", timeout, "--no-journal").code == code


# --- completed, and the results say something else ---


@pytest.mark.row("F84")
def test_completed_with_failed_results_is_partial(kind, transport):
    """DRUID tells failures in its results alone."""
    fake = DruidFake()
    fake.add("b", Life.of((0, "completed")), failed=2)
    with serve(fake) as url:
        (status,) = ask(kind, fake.adapter(url), "plain:b")
    assert status.state is State.PARTIAL


UNREADABLE = {
    "an outage": (Fault(status=503, times=None), Unavailable),
    "a page": (
        Fault(status=200, body=b"<html>", headers={"Content-Type": "text/html"}, times=None),
        ProtocolError,
    ),
    "half of it": (Fault(status=200, body=b'{"content": [', headers=JSON, times=None), ProtocolError),
    "an error inside": (says({"content": [], "result": {"status": 500}}), Unavailable),
    "errors beside": (says({"content": [], "result": {"errors": [{"message": "x"}]}}), ProtocolError),
    "a gateway's 404": (Fault(status=404, body=b"not found", times=None), Unavailable),
    "its own 404": (says({"result": {"status": 404, "message": "none"}}), State.UNKNOWN),
    "nothing in it": (says({"result": {"status": 200}}), State.UNKNOWN),
    "a word for a result": (says({"content": [], "result": "Internal error"}), State.UNKNOWN),
    "failures and an error": (says({"content": [{"id": 1}], "result": {"status": "ERROR"}}), State.UNKNOWN),
}


@pytest.mark.row("F86")
@pytest.mark.parametrize("case", UNREADABLE)
def test_completed_without_readable_results_is_no_success(case, kind, quick, monkeypatch):
    """Either nobody could look, or it is unknown: never succeeded."""
    monkeypatch.setattr("bulkstatus._budget._LONGEST_GUESS", 0.001)
    fault, expected = UNREADABLE[case]
    fake = DruidFake()
    fake.add("b", Life.of((0, "completed")))
    fake.fail(msgspec.structs.replace(fault, where="/results"))

    def get():
        url = SITE["druid"]
        return ask(kind, fake.adapter(url), "plain:b", transport=FakeTransport({url: fake}))[0]

    if isinstance(expected, State):
        status = get()
        assert (status.state, status.native_state) == (expected, "completed")
        assert "not proven" in status.evidence[-1]
    else:
        with pytest.raises(expected):
            get()


@pytest.mark.row("F86")
@pytest.mark.parametrize("case", UNREADABLE)
@pytest.mark.unrecorded
def test_a_wait_for_completed_without_readable_results_ends_without_success(case):
    """With pending or blind at its deadline; once the results can be read, with the verdict they give."""
    fault, _ = UNREADABLE[case]
    for healed, verdicts in ((None, {Verdict.PENDING, Verdict.BLIND}), (300.0, {Verdict.PARTIAL})):

        def prepare(world, healed=healed):
            world.druid.add("b", Life.of((0, "processing"), (20, "completed")), failed=1)
            mine = world.druid.fail(msgspec.structs.replace(fault, where="/results"))
            if healed is not None:
                world.at(healed, lambda: world.druid.heal(mine))

        _, outcome, _ = watched(prepare, "d:b", timeout=900, blind_after=900)
        assert outcome["d:b"].verdict in verdicts


@pytest.mark.row("F86")
def test_a_bulk_and_its_operations_are_told_as_the_provider_tells_each(kind):
    """The bulk's own counts decide about it; that its operations say something else is there to be read."""
    fake = WeavrFake()
    fake.add("1", Life.of((0, "COMPLETED")), operations=3)
    rows = [{"operationId": str(number), "sequence": number, "status": "FAILED"} for number in (1, 2, 3)]
    fault = says({"count": 3, "responseCount": 3, "operations": rows})
    fault.where = "operations"
    fake.fail(fault)

    async def work(call):
        found = call("operations", "s:1")
        if kind == "blocking":
            return await call("get", "s:1"), await anyio.to_thread.run_sync(list, await found)
        return await call("get", "s:1"), [operation async for operation in found]

    status, operations = with_client(kind, fake, work)
    assert status.state is State.SUCCEEDED
    assert {operation.state for operation in operations} == {State.FAILED}


# --- pages ---


class Paged(DruidFake):
    """A DRUID whose results are given page by page, as `page` makes them of a cursor."""

    def __init__(self, page):
        super().__init__()
        self.add("b", Life.of((0, "completed")))
        self._page = page

    def _results(self, bulk, query):
        entries, last = self._page(query.get("last"))
        return FakeResponse.json({"content": entries, "lastId": last, "result": {"status": 200}})


ENDLESS = {
    "a cursor that repeats": lambda last: ([{"user": last}], "a" if last is None else "b"),
    "two cursors in a circle": lambda last: ([{"user": last}], "b" if last == "a" else "a"),
    "pages without end": lambda last: ([{"user": last}], str(int(last or 0) + 1)),
    "empty pages without end": lambda last: ([], str(int(last or 0) + 1)),
}


@pytest.mark.row("F87")
@pytest.mark.parametrize("case", ENDLESS)
def test_operations_without_end_are_given_up(case, line, monkeypatch):
    """What was read is printed, the error says that it is not all, and the exit code is 7."""
    monkeypatch.setattr("bulkstatus._paging._MOST_PAGES", 20)
    monkeypatch.setattr("bulkstatus_druid._adapter._MAX_PAGES", 20)
    fake = Paged(ENDLESS[case])
    done = line({"d": fake}, "operations", "d:b", "-o", "jsonl")
    assert done.code == 7
    assert bool(done.out) is ("empty" not in case)
    assert "not all" in done.err
    assert len(fake.requests) <= (25 if "without end" in case else 5)


@pytest.mark.row("F87")
@pytest.mark.parametrize("case", ENDLESS)
def test_results_without_end_prove_nothing(case, kind, monkeypatch):
    """A look at a completed bulk has to see all of its failed results, unless it sees one."""
    monkeypatch.setattr("bulkstatus_druid._adapter._MAX_PAGES", 20)
    fake = Paged(lambda last: ([], ENDLESS[case](last)[1]))
    url = SITE["druid"]
    with pytest.raises(ProtocolError) as caught:
        ask(kind, fake.adapter(url), "plain:b", transport=FakeTransport({url: fake}))
    assert caught.value.reason == "endless"


class ShortWeavr(WeavrFake):
    """A Weavr that says there are 250 bulks and gives `pages` of them, then what `rest` says."""

    def __init__(self, rest):
        super().__init__()
        self._rest = rest

    def _list(self, query):
        offset = int(query.get("offset", 0))
        rows = range(offset, min(offset + 100, 150)) if offset < 150 else self._rest
        found = [{"bulkId": str(number + 1), "status": "RUNNING"} for number in rows]
        return FakeResponse.json({"count": 250, "responseCount": len(found), "bulkProcesses": found})


@pytest.mark.row("F87")
@pytest.mark.parametrize(
    "rest", [range(0), range(100), range(149, 150)], ids=["empty", "the same", "the last"]
)
def test_a_list_that_runs_empty_is_not_complete(rest, line):
    """The bulks that came are listed, and the report says that there are more (exit 7)."""
    fake = ShortWeavr(rest)
    done = line({"w": fake}, "list", "-o", "json")
    report = json.loads(done.out)
    assert done.code == 7
    assert len(report["statuses"]) == 150
    assert report["complete"] is False
    assert report["failures"][0]["reason"] in ("short_listing", "endless_listing")
    assert line({"w": fake}, "list", "--allow-incomplete", "-o", "name").code == 0


ODD_ANSWERS_TO_A_LIST = {
    "a 400": Fault(status=400, times=None),
    "a 404 of the provider's own": Fault(status=404, body=b'{"code": "X", "message": "x"}', times=None),
    "another object": Fault(body=b'{"hello": 1}', status=200, times=None),
    "no answer yet": Fault(delay=30, times=None),
}


@pytest.mark.row("F87")
@pytest.mark.parametrize("more", [[], ["--exit-status"]], ids=["by sight", "by verdict"])
@pytest.mark.parametrize("case", ODD_ANSWERS_TO_A_LIST)
def test_a_watch_of_everything_that_could_read_no_list_did_not_see_everything(case, more, line):
    """There may be bulks that nobody has heard of: exit 7, and why is said."""
    fake = WeavrFake()
    fake.add("7", Life.of((0, "RUNNING")))
    fake.fail(ODD_ANSWERS_TO_A_LIST[case])
    done = line({"w": fake}, "watch", "--timeout", "2s", "--no-journal", *more)
    assert done.code == 7
    assert done.err.startswith("w (weavr): ")


ODD_IDS = ["", " ", "1 2", "1\n2", "\x1b[31m1", "1\x00", "../1", "-1", "\u0661", "1" * 200, None, 5.5]


@pytest.mark.row("F87")
@pytest.mark.parametrize("odd", ODD_IDS, ids=repr)
@pytest.mark.parametrize("provider", ["weavr", "druid"])
def test_a_row_whose_id_cannot_be_asked_for_is_left_out_and_said(provider, odd, line):
    """The others are listed; the report is not complete, and nothing of the odd id is printed."""
    if provider == "weavr":
        fake, good = WeavrFake(), {"bulkId": "7", "status": "RUNNING"}
        rows = [{"bulkId": odd, "status": "RUNNING"}, good]
        body = {"count": 2, "responseCount": 2, "bulkProcesses": rows}
    else:
        fake, good = DruidFake(), {"bulkId": "7", "status": "processing"}
        body = {"content": [{"bulkId": odd, "status": "processing"}, good], "result": {"status": 200}}
    fault = says(body)
    fault.where = "bulk"
    fake.fail(fault)
    done = line({"s": fake}, "list", "-o", "json")
    report = json.loads(done.out)
    assert done.code == 7
    assert [status["id"] for status in report["statuses"]] == ["7"]
    assert (report["complete"], report["failures"][0]["reason"]) == (False, "left_out")
    assert "1 record" in done.err


@pytest.mark.row("F87")
def test_a_watch_of_everything_says_that_rows_are_left_out():
    """Once while it lasts, and once when it is over; the other rows are followed."""

    def prepare(world):
        rows = [{"bulkId": "1 2", "status": "RUNNING"}, {"bulkId": "7", "status": "RUNNING"}]
        fault = says({"count": 2, "responseCount": 2, "bulkProcesses": rows})
        fault.where = "bulks"
        world.weavr.fail(fault)
        world.at(200.0, lambda: world.weavr.heal(fault))
        world.weavr.add("7", Life.of((0, "RUNNING")))

    changes, outcome, _ = watched(prepare, None, sources=["w"], timeout=500)
    assert list(outcome.verdicts) == ["w:7"]
    of_the_list = [change for change in changes if change.ref is None]
    assert [change.kind for change in of_the_list] == ["unobservable", "observable"]
    assert of_the_list[0].failure.reason == "left_out"


# --- answers about something else ---


@pytest.mark.row("F88")
@pytest.mark.parametrize(
    ("fake", "id", "body"),
    [
        (WeavrFake, "1", {"bulkId": "2", "status": "COMPLETED"}),
        (WeavrFake, "1", {"bulkId": "01", "status": "COMPLETED"}),
        (WeavrFake, "1", {"bulkId": 2, "status": "COMPLETED"}),
        (CloudflareFake, CF, {"success": True, "result": {"id": "0" * 32, "status": "completed"}}),
        (CloudflareFake, CF, {"success": True, "result": {"id": CF.upper(), "status": "completed"}}),
        (CloudflareFake, CF, {"success": True, "result": {"operation_id": "0" * 32, "status": "completed"}}),
        (DruidFake, "b", {"content": {"bulkId": "c", "status": "failed"}, "result": {"status": 200}}),
        (DruidFake, "b", {"content": [{"bulkId": "c", "status": "failed"}], "result": {"status": 200}}),
        (DruidFake, "b", {"content": {"bulkId": "B", "status": "failed"}, "result": {"status": 200}}),
    ],
)
@pytest.mark.usefixtures("transport")
def test_an_answer_about_another_bulk_is_refused(fake, id, body, kind):
    """Its end is nobody's; the error names both."""
    made = fake()
    made.fail(msgspec.structs.replace(says(body), where=id))
    with serve(made) as url, pytest.raises(ProtocolError) as caught:
        ask(kind, made.adapter(url), f"plain:{id}")
    assert caught.value.reason == "id_mismatch"
    assert id in caught.value.message


@pytest.mark.row("F88")
def test_the_command_line_ends_with_7_for_an_answer_about_another_bulk(line):
    """It could not look."""
    fake = WeavrFake()
    fake.fail(says({"bulkId": "2", "status": "COMPLETED"}))
    done = line({"w": fake}, "get", "w:1", "-o", "json")
    assert done.code == 7
    assert json.loads(done.out)["statuses"] == []


# --- bulks that wait for somebody ---


@pytest.mark.row("F90")
@pytest.mark.parametrize("word", ["PAUSED", "SUBMITTED"])
def test_a_bulk_that_waits_for_somebody_ends_a_wait_that_is_to_stop_there(word, line):
    """Paused, or not begun: 9 at once with `--stop-when-blocked`."""
    fake = WeavrFake()
    fake.add("1", Life.of((0, word)))
    stopped = line({"w": fake}, "wait", "w:1", "--timeout", "60s", "--stop-when-blocked", "--no-journal")
    assert stopped.code == 9


@pytest.mark.row("F90")
def test_a_bulk_that_waits_for_somebody_is_pending_at_the_deadline(line):
    """Where the wait is not to stop there; the last line says what the bulk waits for."""
    fake = WeavrFake()
    fake.add("1", Life.of((0, "PAUSED")))
    patient = line({"w": fake}, "wait", "w:1", "--timeout", "3s", "--no-journal")
    assert patient.code == 8
    assert "1 waits for somebody" in patient.out + patient.err


@pytest.mark.row("F90")
@pytest.mark.parametrize("word", ["PAUSED", "SUBMITTED"])
def test_blocked_is_a_verdict_of_both_clients(word, kind, transport):
    """Over real sockets."""
    fake = WeavrFake()
    fake.add("1", Life.of((0, word)))
    with serve(fake) as url:
        adapters = {"w": fake.adapter(url)}
        if kind == "blocking":
            with Client(adapters) as client:
                outcome = client.wait("w:1", timeout=60, stop_when_blocked=True)
        else:

            async def run():
                async with AsyncClient(adapters) as client:
                    return await client.wait("w:1", timeout=60, stop_when_blocked=True)

            outcome = anyio.run(run)
    assert outcome.verdicts == {"w:1": Verdict.BLOCKED}
