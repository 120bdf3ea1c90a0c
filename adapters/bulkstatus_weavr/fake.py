"""A Weavr that exists for tests and for the demo. It follows the public documentation, quirks included.

https://api.weavr.io/products/multi/openapi/manage/bulks.md
"""

import json
import math
import re
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from itertools import chain, pairwise
from typing import ClassVar, Self

import msgspec

from bulkstatus.adapter import State
from bulkstatus.testing import Fake, FakeBulk, FakeRequest, FakeResponse, Life
from bulkstatus_weavr._adapter import Weavr

_ENDS = frozenset({"COMPLETED", "PARTIALLY_COMPLETED", "FAILED", "CANCELLED"})
_BULK_WORDS = ("SUBMITTED", "RUNNING", "PAUSED", "COMPLETED", "PARTIALLY_COMPLETED", "FAILED", "CANCELLED")
_OPERATION_WORDS = ("SUBMITTED", "RUNNING", "COMPLETED", "FAILED", "CANCELLED")
_FIRST_ID = 112233445566778899
_PER_MINUTE, _MINUTE = 100, 60
_DEFAULT_LIMIT = 10  # undocumented; small, so that a client which relies on it is found out
_INT32, _INT64 = 2**31 - 1, 2**63 - 1
_WHOLE = {"offset": (0, _INT32), "limit": (1, 100), "sequence": (0, _INT64)}
_OLD_MEMBERS = ("bulkId", "status", "submittedItemsCount")
_PATH = re.compile(r"/multi/bulks(?:/([^/]+)(/operations)?)?")

Members = dict[str, object]


class WeavrBulk(FakeBulk, frozen=True, kw_only=True):
    """A bulk of the fake; the operations that neither succeed nor fail never run."""

    action: str
    mode: str

    def members(self, now: float) -> Members:
        """The record as a list has it."""
        word, started = self.word(now), self.began("RUNNING")
        members: Members = {"bulkId": self.id, "status": word, "submittedItemsCount": self.total}
        if started is not None and now >= started:
            members["executionStart"] = round(started * 1000)
        if word in _ENDS:
            members["executionFinish"] = round(self.since(now) * 1000)
        return members | {"operation": self.action, "mode": self.mode}

    def operation(self, position: int, word: str) -> Members:
        """One of its operations; positions are counted from 0 and sequences from 1 (undocumented)."""
        asked = {"description": f"Salary of Ada Example {position + 1}", "amount": 500 + position}
        members: Members = {
            "operationId": f"9{self.id[-9:]:0>9}{position + 1:08d}",
            "sequence": position + 1,
            "method": "POST",
            "path": self.action,
            "status": word,
            "requestPayload": json.dumps(asked),
        }
        if word == "COMPLETED":
            members["responsePayload"] = json.dumps({"id": f"7{position + 1:017d}"})
        if word == "FAILED":
            refusal = {"errorCode": "FUNDS_INSUFFICIENT", "message": "Ada Example has too little"}
            members["responsePayload"] = json.dumps(refusal)
        return members


class WeavrFake(Fake[WeavrBulk]):
    """Weavr Multi's reading calls for bulks, at the path `/multi`.

    `old_names` answers lists as documents up to 3.56 had them. `limits` turns on the limit of 100 calls a minute.
    """

    word: ClassVar[str] = "weavr"
    prefix: ClassVar[str] = "/multi"
    states: ClassVar[Mapping[State, str]] = {
        State.QUEUED: "SUBMITTED",
        State.RUNNING: "RUNNING",
        State.PAUSED: "PAUSED",
        State.SUCCEEDED: "COMPLETED",
        State.PARTIAL: "PARTIALLY_COMPLETED",
        State.FAILED: "FAILED",
        State.CANCELLED: "CANCELLED",
    }

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.time,
        api_key: str = "weavr-demo-key",
        auth_token: str = "weavr-demo-token",  # noqa: S107 - a fake's credential opens nothing
        old_names: bool = False,
        limits: bool = False,
    ) -> None:
        super().__init__(clock=clock)
        self.api_key = api_key
        self.auth_token = auth_token
        self.old_names = old_names
        self.limits = limits
        self._answers = 0
        self._window = -math.inf
        self._in_window = 0

    def add(
        self,
        id: str,
        life: Life,
        *,
        operations: int = 250,
        failing: int = 0,
        succeeding: int | None = None,
        action: str = "/transfers",
        mode: str = "ON_FAILURE_CONTINUE",
    ) -> None:
        """Add a bulk that is born now.

        `failing` operations fail, after `succeeding` ones went well. Without `succeeding` it is all the others,
        none if the life ends in FAILED ("none executed"), and half of them if it ends in no documented success.
        """
        if succeeding is None:
            last = life.stages[-1].word
            whole = last in ("RUNNING", "COMPLETED", "PARTIALLY_COMPLETED")
            succeeding = 0 if last == "FAILED" else (operations - failing) // (1 if whole else 2)
        self.put(
            WeavrBulk(
                id=id,
                born=self.clock(),
                life=life,
                total=operations,
                succeeding=succeeding,
                failing=failing,
                action=action,
                mode=mode,
            )
        )

    def place(self, id: str, life: Life, *, total: int = 100, failed: int = 0) -> None:
        self.add(id, life, operations=total, failing=failed)

    def bulk_id(self, number: int) -> str:
        return str(_FIRST_ID + number)

    def adapter(self, base_url: str) -> Weavr:
        budget = None if self.limits else ()
        return Weavr(base_url=base_url, api_key=self.api_key, auth_token=self.auth_token, budget=budget)

    @classmethod
    def demo(cls, *, clock: Callable[[], float] = time.time) -> Self:
        """Six bulks: one for each way to end, one that stays paused, one with a word that nobody documented."""
        fake = cls(clock=clock)
        submitted, running = (0.0, "SUBMITTED"), "RUNNING"
        ids = map(fake.bulk_id, range(6))
        fake.add(next(ids), Life.of(submitted, (1, running), (9, "COMPLETED")))
        fake.add(next(ids), Life.of(submitted, (2, running), (12, "PARTIALLY_COMPLETED")), failing=3)
        fake.add(next(ids), Life.of(submitted, (3, running), (6, "FAILED")), operations=40, action="/sends")
        fake.add(next(ids), Life.of(submitted, (1, running), (7.5, "CANCELLED")), operations=120)
        fake.add(
            next(ids), Life.of(submitted, (1.5, running), (10.5, "PAUSED")), operations=1_000, action="/users"
        )
        fake.add(next(ids), Life.of(submitted, (2.5, running), (14, "ARCHIVING")), mode="ON_FAILURE_STOP")
        return fake

    def answer(self, request: FakeRequest) -> FakeResponse:
        response = self._refusal(request) or self._reading(request)
        if request.path == "/multi/bulks" and response.status == HTTPStatus.OK:
            return response  # the one answer that is documented without request-ref
        self._answers += 1
        headers = {**response.headers, "request-ref": f"ref-{self._answers:06d}"}
        return msgspec.structs.replace(response, headers=headers)

    def _refusal(self, request: FakeRequest) -> FakeResponse | None:
        sent = request.headers.get("api-key"), request.headers.get("authorization")
        if sent != (self.api_key, f"Bearer {self.auth_token}"):
            return FakeResponse(status=401)
        wait = self._throttled()
        return None if wait is None else FakeResponse(status=429, headers=wait)

    def _reading(self, request: FakeRequest) -> FakeResponse:
        match = _PATH.fullmatch(request.path)
        if match is None:
            return _error(404, "There is nothing at this path.")
        if request.method != "GET":
            return _error(405, "This fake only answers questions.")
        id, operations = match.groups()
        invalid = _invalid(request.query, id, _OPERATION_WORDS if operations else _BULK_WORDS)
        if invalid:
            body = {"message": "Request validation failed", "syntaxErrors": {"invalidFields": invalid}}
            return FakeResponse.json(body, 400)
        if id is None:
            return self._list(request.query)
        bulk = self.find(id)
        if bulk is None:
            return _error(404, "Bulk process not found.")
        return self._operations(bulk, request.query) if operations else self._detail(bulk)

    def _throttled(self) -> dict[str, str] | None:
        now = self.clock()
        if not self.limits:
            return None
        if now >= self._window + _MINUTE:
            self._window, self._in_window = now, 0
        self._in_window += 1
        if self._in_window <= _PER_MINUTE:
            return None
        return {
            "x-ratelimit-limit": "100, 100;w=60, 1000;w=3600, 10000;w=86400",
            "x-ratelimit-reset": str(math.ceil(self._window + _MINUTE - now)),
        }

    def _list(self, query: Mapping[str, str]) -> FakeResponse:
        now, word = self.clock(), query.get("status")
        newest_first = reversed(self.known())
        found = [members for bulk in newest_first if word in (None, (members := bulk.members(now))["status"])]
        rows = found[_cut(query)]
        if self.old_names:
            rows = [{name: members[name] for name in _OLD_MEMBERS} for members in rows]
        array = "bulk_processes" if self.old_names else "bulkProcesses"
        return FakeResponse.json({"count": len(found), array: rows, "responseCount": len(rows)})

    def _detail(self, bulk: WeavrBulk) -> FakeResponse:
        now = self.clock()
        return FakeResponse.json({**bulk.members(now), "operationStatusCounts": self._counts(bulk)})

    def _spans(self, bulk: WeavrBulk) -> tuple[tuple[str, range], ...]:
        """The words of its operations, each with the positions (from 0) that have it."""
        word, (done, good, _) = bulk.word(self.clock()), self.progress(bulk)
        running = done + (word == "RUNNING" and done < bulk.succeeding + bulk.failing)
        edges = pairwise((0, good, done, running, bulk.total))
        # What becomes of operations that were never attempted is undocumented.
        words = ("COMPLETED", "FAILED", "RUNNING", "CANCELLED" if word == "CANCELLED" else "SUBMITTED")
        return tuple((each, range(*edge)) for each, edge in zip(words, edges, strict=True))

    def _counts(self, bulk: WeavrBulk) -> list[Members]:
        """The counts of its operations: those that are not 0, in an order that nobody may rely on."""
        counts: list[Members] = [
            {"status": word, "count": len(span)} for word, span in self._spans(bulk) if span
        ]
        turn = self.progress(bulk).done % len(counts) if counts else 0
        return counts[turn:] + counts[:turn]

    def _operations(self, bulk: WeavrBulk, query: Mapping[str, str]) -> FakeResponse:
        word = query.get("status")
        spans = [(each, span) for each, span in self._spans(bulk) if word in (None, each)]
        if "sequence" in query:
            position = int(query["sequence"]) - 1
            spans = [(each, range(position, position + 1)) for each, span in spans if position in span]
        count = sum(len(span) for _, span in spans)
        found = list(chain.from_iterable(((each, position) for position in span) for each, span in spans))
        rows = [bulk.operation(position, each) for each, position in found[_cut(query)]]
        return FakeResponse.json({"count": count, "operations": rows, "responseCount": len(rows)})


def _cut(query: Mapping[str, str]) -> slice:
    offset = int(query.get("offset", 0))
    return slice(offset, offset + int(query.get("limit", _DEFAULT_LIMIT)))


def _error(status: int, message: str) -> FakeResponse:
    return FakeResponse.json({"code": str(status), "message": message}, status)


def _invalid(query: Mapping[str, str], id: str | None, words: tuple[str, ...]) -> list[Members]:
    """What is wrong with a request, in the shape of a 400's `invalidFields`."""
    faults: list[Members] = []
    if id is not None and re.fullmatch("[0-9]+", id) is None:
        faults.append({"fieldName": "bulk_id", "error": "REGEX", "params": ["^[0-9]+$"]})
    for name, (least, most) in _WHOLE.items():
        text = query.get(name)
        if text is None:
            continue
        if re.fullmatch("-?[0-9]{1,19}", text) is None:
            faults.append({"fieldName": name, "error": "REGEX", "params": []})
        elif not least <= int(text) <= most:
            faults.append({"fieldName": name, "error": "RANGE", "params": [str(least), str(most)]})
    if query.get("status", words[0]) not in words:
        faults.append({"fieldName": "status", "error": "IN", "params": list(words)})
    return faults
