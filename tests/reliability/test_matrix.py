"""Every fault at every step, for each way to ask and both clients, on virtual time.

Whatever fails, and whenever: no end is told that the provider did not tell, a wait is over by its deadline, and nothing
is sent to another origin. Where the fault passes in time, the bulk's own end is the verdict.
"""

import json
from itertools import product
from typing import NamedTuple

import httpx
import msgspec
import pytest

from bulkstatus import AsyncClient, BulkStatusError, Client, State, Verdict
from bulkstatus.testing import FakeTransport, Fault, Life
from bulkstatus_druid.fake import DruidFake
from bulkstatus_weavr.fake import WeavrFake
from support import NOT_THERE
from virtual import BIRTH, VirtualClock, run_virtually, virtual_clients

pytestmark = pytest.mark.unrecorded

ENDS_AT = 60.0
ID = "112233"
REF = f"s:{ID}"
ELSEWHERE = "https://elsewhere.test/"
_JSON = {"Content-Type": "application/json"}
_HTML = {"Content-Type": "text/html"}
# What a provider may say of another bulk, of no bulk, or beside the point: never that this one has ended.
_ASIDE = {
    "druid": {
        "another bulk": {"content": {"bulkId": "x", "status": "failed"}, "result": {"status": 200}},
        "a new word": {"content": {"bulkId": ID, "status": "archiving"}, "result": {"status": 200}},
        "an error inside": {"content": {"bulkId": ID, "status": "failed"}, "result": {"status": 503}},
        "an odd error inside": {"content": {"bulkId": ID, "status": "failed"}, "result": "Internal error"},
    },
    "weavr": {
        "another bulk": {"bulkId": "9", "status": "FAILED"},
        "a new word": {"bulkId": ID, "status": "ARCHIVING"},
        "an error inside": {"code": "INTERNAL", "message": "x", "status": "FAILED"},
        "an odd error inside": {"bulkId": ID, "status": "COMPLETED", "operationStatusCounts": []},
    },
}
FAULTS = {
    "500": Fault(status=500),
    "503 for 5 s": Fault(status=503, headers={"Retry-After": "5"}),
    "503 for a day": Fault(status=503, headers={"Retry-After": "86400"}),
    "429": Fault(status=429),
    "429 for 5 s": Fault(status=429, headers={"Retry-After": "5"}),
    "429 for a day": Fault(status=429, headers={"Retry-After": "86400"}),
    "dropped": Fault(drop=True),
    "slow": Fault(delay=4.0),
    "silent": Fault(delay=1_000.0),
    "400": Fault(status=400, body=b"{}", headers=_JSON),
    "401": Fault(status=401),
    "403": Fault(status=403),
    "403 of the edge": Fault(status=403, body=b"<html>", headers=_HTML),
    "404": Fault(status=404, body=NOT_THERE, headers=_JSON),
    "404 of a gateway": Fault(status=404, body=b"no such host", headers={"Content-Type": "text/plain"}),
    "410": Fault(status=410, body=NOT_THERE, headers=_JSON),
    "410 of nobody": Fault(status=410),
    "302": Fault(status=302, headers={"Location": ELSEWHERE}),
    "307": Fault(status=307, headers={"Location": ELSEWHERE}),
    "a page": Fault(status=200, body=b"<html>maintenance</html>", headers=_HTML),
    "nothing": Fault(status=200),
    "half an answer": Fault(
        status=200, body=b'{"content": {"bulkId": "112233", "status": "fail', headers=_JSON
    ),
    "204": Fault(status=204),
    "206": Fault(status=206, body=b'{"bulkId": "112233", "status": "FAILED"}', headers=_JSON),
    "304": Fault(status=304),
    "another bulk": None,
    "a new word": None,
    "an error inside": None,
    "an odd error inside": None,
}
OWN_DENIALS = {"404", "410"}
# After these nobody asks again, or not before a day has passed, or another credential is there.
FOR_GOOD = OWN_DENIALS | {"503 for a day", "429 for a day", "400", "401", "403", "302", "307"}
STEPS = ("token", "first poll", "later poll", "operations page 2", "last poll")
VERBS = ("get", "wait", "watch")


class Case(NamedTuple):
    """A fault that a provider meets at a step of what is asked in one of three ways."""

    provider: str
    fault: str
    step: str
    verb: str

    @property
    def lasts(self):
        """From when to when, in seconds since the bulk's birth."""
        return {"token": (0, 45), "later poll": (20, 65), "last poll": (55, 1e9)}.get(self.step, (0, 45))

    @property
    def timeout(self):
        """Of a wait."""
        return 150.0 if self.step == "last poll" else 300.0

    def meets(self, request, moment):
        """True for a request that the fault hits."""
        begin, end = self.lasts
        of_token = "token" in request.path
        if self.step == "operations page 2":
            return not of_token and ("last" in request.query or "offset" in request.query)
        return begin <= moment < end and of_token is (self.step == "token")

    def answer(self):
        """The fault as the provider would have it."""
        aside = _ASIDE[self.provider].get(self.fault)
        if aside is None:
            return msgspec.structs.replace(FAULTS[self.fault])  # which is used up by being met
        return Fault(status=200, body=json.dumps(aside).encode(), headers=_JSON)


class _Ill:
    """A provider with one bulk, which a case makes ill. `later` is how much later it is than the loop thinks."""

    def __init__(self, case):
        self.case = case
        self.later = 0.0
        clock = VirtualClock()
        super().__init__(clock=lambda: clock() + self.later)

    def receive(self, request):
        _, reply = super().receive(request)
        if not self.case.meets(request, VirtualClock.moment() + self.later):
            return None, reply
        fault = self.case.answer()
        self.fail(fault)
        self.requests.pop()
        return super().receive(request)


class IllDruid(_Ill, DruidFake):
    """A DRUID: received, processing, and completed after a minute, with three pages of results."""

    site = "https://ill.test"

    def __init__(self, case):
        super().__init__(case)
        self.add(ID, Life.of((0, "received"), (5, "processing"), (ENDS_AT, "completed")), users=250)


class IllWeavr(_Ill, WeavrFake):
    """A Weavr: submitted, running, and completed after a minute, with three pages of operations."""

    site = "https://ill.test/multi"

    def __init__(self, case):
        super().__init__(case)
        self.add(ID, Life.of((0, "SUBMITTED"), (5, "RUNNING"), (ENDS_AT, "COMPLETED")), operations=250)


class Site(FakeTransport):
    """Where the requests go, and which hosts they were for."""

    def __init__(self, fakes):
        super().__init__(fakes)
        self.hosts = set()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Let the fake answer."""
        self.hosts.add((request.url.scheme, request.url.host, request.url.port))
        return await super().handle_async_request(request)


class Seen(NamedTuple):
    """What came of a case: statuses with the provider's time, verdicts, operations, errors, the last moment."""

    statuses: list
    verdicts: list
    operations: list
    errors: list
    ended: float
    hosts: set


def _moment(when):
    return (when - BIRTH).total_seconds()


class _Play:
    """One case, with a client of either kind; `async` and blocking differ in how a call is made."""

    def __init__(self, case):
        self.case = case
        self.fake = (IllDruid if case.provider == "druid" else IllWeavr)(case)
        self.site = Site({self.fake.site: self.fake})
        self.adapters = {"s": self.fake.adapter(self.fake.site)}
        self.statuses, self.operations, self.errors = [], [], []
        self.outcome = None
        self.told_at = None

    def see(self, status):
        """Keep a status, and when it was seen by the provider's clock."""
        if status is not None:
            self.statuses.append((status, _moment(status.observed_at) + self.fake.later))

    def seen(self):
        """What came of it."""
        verdicts = [] if self.outcome is None else [result.verdict for result in self.outcome]
        ended = 0.0 if self.outcome is None else _moment(self.outcome.observed_at)
        if self.told_at is not None:
            ended = self.told_at
        for result in self.outcome or ():
            self.see(result.status)
        return Seen(self.statuses, verdicts, self.operations, self.errors, ended, self.site.hosts)

    @property
    def reads_operations(self):
        """True where the fault is in the operations."""
        return self.case.step == "operations page 2"

    async def as_async(self):
        """With the client that awaits."""
        async with AsyncClient(self.adapters, transport=self.site) as client:
            if self.case.verb == "get":
                for self.fake.later in (0.0, 25.0, 70.0):
                    try:
                        self.see(await client.get(REF))
                    except BulkStatusError as error:
                        self.errors.append(error)
            elif self.case.verb == "wait":
                self.outcome = await client.wait(REF, timeout=self.case.timeout)
            else:
                async with client.watch(REF, timeout=self.case.timeout) as watch:
                    async for change in watch:
                        self.see(change.status)
                    self.outcome = watch.outcome()
            if self.reads_operations:
                try:
                    async for operation in client.operations(REF):
                        self.operations.append(operation)
                except BulkStatusError as error:
                    self.errors.append(error)
        return self.seen()

    def as_blocking(self):
        """With the client that blocks."""
        with Client(self.adapters, transport=self.site) as client:
            if self.case.verb == "get":
                for self.fake.later in (0.0, 25.0, 70.0):
                    try:
                        self.see(client.get(REF))
                    except BulkStatusError as error:
                        self.errors.append(error)
            elif self.case.verb == "wait":
                self.outcome = client.wait(REF, timeout=self.case.timeout)
            else:
                with client.watch(REF, timeout=self.case.timeout) as watch:
                    for change in watch:
                        self.see(change.status)
                        # While this thread reads, the loop goes ahead.
                        self.told_at = _moment(change.observed_at)
                    self.outcome = watch.outcome()
            if self.reads_operations:
                try:
                    self.operations.extend(client.operations(REF))
                except BulkStatusError as error:
                    self.errors.append(error)
        return self.seen()


def play(case, kind):
    """What comes of a case with a client of that kind."""
    made = _Play(case)
    if kind == "async":
        return run_virtually(made.as_async, longest=10_000)
    with virtual_clients():
        return made.as_blocking()


# Weavr's token is given, not fetched; what is asked of it by `get` and `watch` takes the same ways as with DRUID.
CASES = [
    *(Case("druid", *each) for each in product(FAULTS, STEPS, VERBS)),
    *(Case("weavr", *each) for each in product(FAULTS, STEPS[1:], VERBS[1:2])),
]


def _is_true(status, at):
    """True for a status that the provider's timeline holds at that time, or that claims nothing."""
    if status.state is State.SUCCEEDED:
        return at >= ENDS_AT
    return not status.state.is_terminal


@pytest.mark.parametrize("kind", ["blocking", "async"])
@pytest.mark.parametrize("case", CASES, ids=", ".join)
def test_no_fault_at_any_step_makes_a_verdict(case, kind):
    """Only the provider does; and the deadline is kept, and no other origin is asked."""
    seen = play(case, kind)
    assert {(scheme, host) for scheme, host, _ in seen.hosts} == {("https", "ill.test")}
    for status, at in seen.statuses:
        assert _is_true(status, at), (status.state, at)
    for verdict in seen.verdicts:
        assert verdict in (Verdict.SUCCEEDED, Verdict.PENDING, Verdict.BLIND, Verdict.NOT_FOUND, Verdict.GONE)
        if verdict in (Verdict.NOT_FOUND, Verdict.GONE):
            assert case.fault in OWN_DENIALS
        if verdict is Verdict.SUCCEEDED and case.step == "last poll":
            assert case.fault == "slow"  # else nobody could know
    assert seen.ended <= case.timeout + 1.0
    if case.step == "operations page 2":
        assert len(seen.operations) in (100, 250)
        assert bool(seen.errors) is (len(seen.operations) == 100)
    if (
        case.verb != "get"
        and case.step != "last poll"
        and (case.fault not in FOR_GOOD or case.step == STEPS[3])
    ):
        assert seen.verdicts == [Verdict.SUCCEEDED]


def test_the_matrix_is_as_large_as_it_is_said_to_be():
    """Both clients counted."""
    assert 2 * len(CASES) >= 1_000
