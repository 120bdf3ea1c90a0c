"""A provider that nobody has: its adapter keeps the contract, and so does its fake. Pages by cursor, times in RFC 3339."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import ClassVar

import msgspec

from bulkstatus.adapter import (
    Adapter,
    Auth,
    BaseUrl,
    BulkOperation,
    BulkStatus,
    Call,
    Counts,
    IdGrammar,
    Limit,
    ListQuery,
    OperationQuery,
    Page,
    PageReader,
    Reader,
    Request,
    Response,
    Rows,
    SecretText,
    State,
    Vocabulary,
    bad_shape,
    bearer,
    clean_counts,
    from_text,
    is_unread,
    status_error,
    wrong_id,
)
from bulkstatus.errors import BulkStatusError
from bulkstatus.testing import Fake, FakeBulk, FakeRequest, FakeResponse

WORDS = Vocabulary(
    "depot job",
    {
        "waiting": State.QUEUED,
        "active": State.RUNNING,
        "done": State.SUCCEEDED,
        "failed": State.FAILED,
        "stopped": State.CANCELLED,
    },
)
ITEM_WORDS = Vocabulary("depot item", {"ok": State.SUCCEEDED, "bad": State.FAILED, "open": State.QUEUED})
TOKEN = "depot-token-0123456789"
SIZE = 4


class Job(msgspec.Struct, frozen=True):
    id: str | None = None
    status: str | None = None
    created: str | None = None
    ended: str | None = None
    total: int | None = None
    good: int | None = None
    failed: int | None = None


class Jobs(msgspec.Struct, frozen=True):
    jobs: list[Job] | None = None
    next: str | None = None


class Item(msgspec.Struct, frozen=True):
    number: int | None = None
    status: str | None = None
    input: str | None = None


class Items(msgspec.Struct, frozen=True):
    items: list[Item] | None = None
    next: str | None = None


class Said(msgspec.Struct, frozen=True):
    code: str | None = None
    message: str | None = None


class Refusal(msgspec.Struct, frozen=True):
    error: Said | None = None


JOB = Reader(Job)
JOBS = PageReader(Jobs, "jobs", row=JOB)
ITEMS = PageReader(Items, "items", row=Reader(Item))
REFUSAL = Reader(Refusal)


class Depot(Adapter, frozen=True, kw_only=True):
    """Jobs of the depot."""

    provider: ClassVar[str] = "depot"
    id_grammar: ClassVar[IdGrammar] = IdGrammar(r"job-[0-9]{1,20}", "job- and 1 to 20 digits")
    limits: ClassVar[tuple[Limit, ...]] = (Limit(10, 1), Limit(100, 60))
    poll_floor: ClassVar[float] = 1.0
    poll_ceiling: ClassVar[float] = 30.0
    rows_per_page: ClassVar[int | None] = SIZE

    base_url: BaseUrl
    token: SecretText

    def auth(self) -> Auth:
        return bearer(self.token)

    def status(self, id: str) -> Call[BulkStatus]:
        def read(response: Response) -> BulkStatus:
            self.check(response)
            job, notes = JOB.read(response)
            self.check_id(response, asked=id, got=job.id)
            return self.bulk(response, id, job, notes).carrying(raw=response.body)

        return Call(self.request("jobs", id), read)

    def listing(self, query: ListQuery) -> tuple[Call[Page[BulkStatus]], ...]:
        return (self.page(None),)

    def page(self, cursor: str | None) -> Call[Page[BulkStatus]]:
        def read(response: Response) -> Page[BulkStatus]:
            self.check(response)
            rows = JOBS.read(response)
            if not rows.found:
                raise bad_shape(response, "it holds no jobs")
            items = (
                self.bulk(response, row.id or "", row, notes).carrying(raw=raw) for row, notes, raw in rows
            )
            after = self.following(response, rows)
            return Page(items=tuple(items), next=self.page(after) if after else None, cursor=after)

        return Call(self.request("jobs", query={"limit": SIZE, "after": cursor}), read)

    def operations(self, id: str, query: OperationQuery) -> Call[Page[BulkOperation]]:
        return self.items(id, None)

    def items(self, id: str, cursor: str | None) -> Call[Page[BulkOperation]]:
        def read(response: Response) -> Page[BulkOperation]:
            self.check(response)
            rows = ITEMS.read(response)
            if not rows.found:
                raise bad_shape(response, "it holds no items")
            items = (self.item(row).carrying(request=row.input, raw=raw) for row, _, raw in rows)
            after = self.following(response, rows)
            return Page(items=tuple(items), next=self.items(id, after) if after else None, cursor=after)

        return Call(self.request("jobs", id, "items", query={"limit": SIZE, "after": cursor}), read)

    def following(self, response: Response, rows: Rows) -> str | None:
        if is_unread(rows.notes, "next"):
            raise bad_shape(response, "`next` cannot be read")
        return rows.page.next

    def request(self, *segments: str, query: Mapping[str, str | int | None] | None = None) -> Request:
        return Request.to(self.base_url, *segments, query=query)

    def check(self, response: Response) -> None:
        if response.status != 200:
            raise self.error(response)
        if refusal(response) is not None:
            raise bad_shape(response, "it holds an error")

    def error(self, response: Response) -> BulkStatusError:
        said = refusal(response) or Said()
        return status_error(response, detail=said.message, own=said.code is not None)

    def check_id(self, response: Response, *, asked: str, got: str | None) -> None:
        if got != asked:
            raise wrong_id(response, asked=asked, got=got)

    def bulk(self, response: Response, id: str, job: Job, notes: tuple[str, ...]) -> BulkStatus:
        told = self.told(job)
        unread = sum(is_unread(notes, member) for member in ("good", "failed"))
        state, why = self.decide(job, told, unread)
        counts, doubts = self.counts(told)
        created, odd_created = self.time(job.created, "created", response)
        ended, odd_ended = self.time(job.ended, "ended", response)
        return BulkStatus(
            source=response.source,
            provider=self.provider,
            id=id,
            state=state,
            native_state=job.status,
            counts=counts,
            created_at=created,
            finished_at=ended,
            observed_at=response.received_at,
            evidence=(*why, *doubts, *filter(None, (odd_created, odd_ended)), *notes),
        )

    def told(self, job: Job) -> Counts:
        return Counts(total=job.total, succeeded=job.good, failed=job.failed)

    def decide(self, job: Job, told: Counts, unread: int) -> tuple[State, tuple[str, ...]]:
        return WORDS.decide(job.status, told, self.state_map, unread=unread)

    def counts(self, told: Counts) -> tuple[Counts, tuple[str, ...]]:
        return clean_counts(told)

    def time(self, value: str | None, label: str, response: Response) -> tuple[datetime | None, str | None]:
        return from_text(value, label=label, now=response.received_at)

    def item(self, item: Item) -> BulkOperation:
        state, _ = ITEM_WORDS.read(item.status, {})
        return BulkOperation(sequence=item.number, state=state, native_state=item.status)


def refusal(response: Response) -> Said | None:
    """What the depot says is wrong, in its own form."""
    return REFUSAL.glean(response).error


class DepotFake(Fake[FakeBulk]):
    """Answers as the depot would."""

    word = "depot"
    prefix = "/v1"
    states: ClassVar[Mapping[State, str]] = {
        State.QUEUED: "waiting",
        State.RUNNING: "active",
        State.SUCCEEDED: "done",
        State.PARTIAL: "done",
        State.FAILED: "failed",
        State.CANCELLED: "stopped",
    }

    def bulk_id(self, number):
        return f"job-{number}"

    def place(self, id, life, *, total=100, failed=0):
        self.put(
            FakeBulk(
                id=id, born=self.clock(), life=life, total=total, succeeding=total - failed, failing=failed
            )
        )

    def adapter(self, base_url):
        return Depot(base_url=base_url, token=TOKEN, budget=())

    @classmethod
    def demo(cls, *, clock=None):
        fake = cls() if clock is None else cls(clock=clock)
        fake.add_demo()
        return fake

    def add_demo(self):
        from bulkstatus.testing import Life

        self.place(self.bulk_id(1), Life.of((0, "waiting"), (3, "active"), (9, "done")), total=10)
        self.place(self.bulk_id(2), Life.of((0, "active"), (12, "done")), total=10, failed=3)

    def answer(self, request: FakeRequest) -> FakeResponse:
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            return fault(401, "unauthorized")
        _, _, *path = request.path.split("/")
        if path == ["jobs"]:
            return page("jobs", [self.members(bulk) for bulk in reversed(self.known())], "id", request)
        bulk = self.find(path[1]) if len(path) > 1 else None
        if bulk is None:
            return fault(404, "no_such_job")
        if path[2:] == ["items"]:
            return page("items", self.entries(bulk), "number", request)
        return FakeResponse.json(self.members(bulk))

    def members(self, bulk):
        now, (_, good, bad) = self.clock(), self.progress(bulk)
        word = bulk.word(now)
        members = {"id": bulk.id, "status": word, "created": rfc3339(bulk.born), "total": bulk.total}
        members |= {"good": 0 if word in ("failed", "stopped") else good, "failed": bad}
        if word in ("done", "failed", "stopped"):
            members["ended"] = rfc3339(bulk.since(now))
        return members

    def entries(self, bulk):
        done, good, _ = self.progress(bulk)
        words = ["ok"] * good + ["bad"] * (done - good) + ["open"] * (bulk.total - done)
        return [
            {"number": number, "status": word, "input": f"pay the keeper of shelf {number}"}
            for number, word in enumerate(words, 1)
        ]


def rfc3339(when: float) -> str:
    """As the depot writes times."""
    return datetime.fromtimestamp(when, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def fault(status: int, code: str) -> FakeResponse:
    """An error in the depot's own form."""
    return FakeResponse.json({"error": {"code": code, "message": "the depot says no"}}, status)


def page(array: str, rows: list[dict], key: str, request: FakeRequest) -> FakeResponse:
    """A page of rows after the one that the cursor names."""
    keys = [str(row[key]) for row in rows]
    after = request.query.get("after")
    begin = keys.index(after) + 1 if after in keys else 0
    size = int(request.query["limit"])
    cut = rows[begin : begin + size]
    more = keys[begin + size - 1] if begin + size < len(rows) else None
    return FakeResponse(
        body=json.dumps({array: cut, "next": more}).encode(), headers={"Content-Type": "application/json"}
    )
