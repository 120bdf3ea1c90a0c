"""An OpenAI that exists for tests and for the demo.

It follows https://developers.openai.com/api/reference/resources/batches and
https://developers.openai.com/api/docs/guides/batch and, where those are silent (bodies of errors, a limit of 0), the
answers that users of the API report.
"""

import re
import time
from collections.abc import Callable, Mapping
from typing import ClassVar, Self
from urllib.parse import unquote

from bulkstatus.adapter import State
from bulkstatus.testing import Fake, FakeBulk, FakeRequest, FakeResponse, Life
from bulkstatus_openai._adapter import OpenAI

Members = dict[str, object]

_BATCHES = re.compile(r"/v1/batches(?:/(?P<id>[^/]+))?")
_DEFAULT_LIMIT, _MOST = 20, 100
_WINDOW = 86_400
_ENDS = ("completed", "failed", "expired", "cancelled")
# Words by which the requests of a batch have begun to run.
_RAN = frozenset({"in_progress", "finalizing", "cancelling", "completed", "expired", "cancelled"})
# The time that is set when a batch comes to a word.
_TIMES = {
    "in_progress": "in_progress_at",
    "finalizing": "finalizing_at",
    "completed": "completed_at",
    "failed": "failed_at",
    "expired": "expired_at",
    "cancelling": "cancelling_at",
    "cancelled": "cancelled_at",
}


class OpenAIFake(Fake[FakeBulk]):
    """One project with batches, reached by one key; `organization` and `project` are accepted and not needed."""

    word = "openai"
    prefix = "/v1"
    states: ClassVar[Mapping[State, str]] = {
        State.QUEUED: "validating",
        State.RUNNING: "in_progress",
        State.SUCCEEDED: "completed",
        State.PARTIAL: "completed",
        State.FAILED: "failed",
        State.CANCELLED: "cancelled",
        State.EXPIRED: "expired",
    }

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.time,
        api_key: str = "openai-demo-key",
        organization: str = "org-demo",
        project: str = "proj_demo",
    ) -> None:
        super().__init__(clock=clock)
        self.api_key = api_key
        self.organization = organization
        self.project = project
        self._answers = 0

    def place(self, id: str, life: Life, *, total: int = 100, failed: int = 0) -> None:
        """Let batch `id` be born now. In a life that is cancelled or expires, half of what succeeds has by then.

        A batch that `failed` never ran a request, so nothing of it succeeds or fails.
        """
        last = life.stages[-1].word
        good = {"failed": 0, "expired": (total - failed) // 2, "cancelled": (total - failed) // 2}
        self.put(
            FakeBulk(
                id=id,
                born=self.clock(),
                life=life,
                total=total,
                succeeding=good.get(last or "", total - failed),
                failing=0 if last == "failed" else failed,
            )
        )

    def bulk_id(self, number: int) -> str:
        return f"batch_{0x67C4CBE3B79881908FEDA6CB417C0000 + number:032x}"

    def adapter(self, base_url: str) -> OpenAI:
        return OpenAI(api_key=self.api_key, base_url=base_url, budget=())

    @classmethod
    def demo(cls, *, clock: Callable[[], float] = time.time) -> Self:
        """Four batches, born now: with failed requests, refused, expired and cancelled."""
        fake = cls(clock=clock)
        lives = (
            ((0, "validating"), (2, "in_progress"), (10, "finalizing"), (12, "completed")),
            ((0, "validating"), (4, "failed")),
            ((0, "validating"), (1, "in_progress"), (7, "finalizing"), (8, "expired")),
            ((0, "in_progress"), (5, "cancelling"), (9, "cancelled")),
        )
        for number, life in enumerate(lives):
            fake.place(fake.bulk_id(number), Life.of(*life), total=200, failed=6 if number == 0 else 0)
        return fake

    def answer(self, request: FakeRequest) -> FakeResponse:
        self._answers += 1
        match = _BATCHES.fullmatch(request.path)
        refusal = self._refusal(request.headers)
        if refusal is not None:
            return refusal
        if match is None or request.method != "GET":
            message = f"Invalid URL ({request.method} {request.path})"
            return self._error(404, message, code="unknown_url")
        if match["id"] is None:
            return self._list(request.query)
        id = unquote(match["id"])
        bulk = self.find(id)
        if bulk is None:
            return self._error(404, f"No batch found with id '{id}'.")
        return self._send(self._batch(bulk))

    def _refusal(self, headers: Mapping[str, str]) -> FakeResponse | None:
        sent = headers.get("authorization")
        if sent is None:
            return self._error(401, "You didn't provide an API key.")
        if sent != f"Bearer {self.api_key}":
            key = sent.removeprefix("Bearer ")
            shown = f"{key[:8]}{'*' * 8}{key[-4:]}" if len(key) > 16 else "*" * len(key)  # noqa: PLR2004 - as reported
            return self._error(401, f"Incorrect API key provided: {shown}.", code="invalid_api_key")
        for header, accepted in (
            ("openai-organization", self.organization),
            ("openai-project", self.project),
        ):
            if headers.get(header, accepted) != accepted:
                return self._error(
                    401, f"{header} does not match the API key.", code=f"mismatched_{header[7:]}"
                )
        return None

    def _list(self, query: Mapping[str, str]) -> FakeResponse:
        text = query.get("limit", str(_DEFAULT_LIMIT))
        if re.fullmatch("-?[0-9]{1,9}", text) is None:
            return self._invalid("limit", f"expected an integer, but got '{text}' instead.", "invalid_type")
        limit = int(text)
        if limit > _MOST:
            fault = f"integer above maximum value. Expected a value <= {_MOST}, but got {limit} instead."
            return self._invalid("limit", fault, "integer_above_max_value")
        if limit < 0:
            fault = f"integer below minimum value. Expected a value >= 0, but got {limit} instead."
            return self._invalid("limit", fault, "integer_below_min_value")
        newest_first = self.known()[::-1]
        after = query.get("after")
        if after is not None:
            places = [place for place, bulk in enumerate(newest_first, 1) if bulk.id == after]
            if not places:
                return self._error(404, f"No batch found with id '{after}'.", param="after")
            newest_first = newest_first[places[0] :]
        rows = [self._batch(bulk) for bulk in newest_first[:limit]]
        return self._send(
            {
                "object": "list",
                "data": rows,
                "first_id": rows[0]["id"] if rows else None,
                "last_id": rows[-1]["id"] if rows else None,
                "has_more": 0 < limit < len(newest_first),
            }
        )

    def _batch(self, bulk: FakeBulk) -> Members:
        now = self.clock()
        word = bulk.word(now) or ""
        ran = word in _RAN
        _, good, bad = self.progress(bulk)
        over = word in _ENDS
        number = bulk.id.removeprefix("batch_")
        members: Members = {
            "id": bulk.id,
            "object": "batch",
            "endpoint": "/v1/chat/completions",
            "errors": None,
            "input_file_id": f"file-in{number}",
            "completion_window": "24h",
            "status": word,
            "output_file_id": f"file-out{number}" if over and good else None,
            "error_file_id": f"file-err{number}" if over and bad else None,
            "created_at": int(bulk.born),
            "expires_at": int(bulk.born) + _WINDOW,
            "request_counts": {"total": bulk.total if ran else 0, "completed": good, "failed": bad},
            "metadata": None,
        }
        passed = {stage.word: stage.at for stage in reversed(bulk.life.stages) if bulk.born + stage.at <= now}
        for each, name in _TIMES.items():
            members[name] = int(bulk.born + passed[each]) if each in passed else None
        if word == "failed":
            fault = {
                "code": "invalid_json_line",
                "line": 1,
                "message": "This line is not parseable as valid JSON.",
                "param": None,
            }
            members["errors"] = {"object": "list", "data": [fault]}
        return members

    def _invalid(self, param: str, fault: str, code: str) -> FakeResponse:
        return self._error(400, f"Invalid '{param}': {fault}", param=param, code=code)

    def _error(
        self, status: int, message: str, *, param: str | None = None, code: str | None = None
    ) -> FakeResponse:
        error = {"message": message, "type": "invalid_request_error", "param": param, "code": code}
        return self._send({"error": error}, status)

    def _send(self, body: Members, status: int = 200) -> FakeResponse:
        headers = {
            "openai-version": "2020-10-01",
            "openai-processing-ms": "12",
            "x-request-id": f"req_{self._answers:032x}",
        }
        return FakeResponse.json(body, status, headers)
