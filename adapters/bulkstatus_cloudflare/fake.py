"""A Cloudflare that exists for tests and for the demo.

It follows https://developers.cloudflare.com/api/resources/rules/subresources/lists/ and, where that is silent, the
answers that users of the API report.
"""

import json
import re
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import ClassVar, Self

from bulkstatus.adapter import State
from bulkstatus.testing import Fake, FakeBulk, FakeRequest, FakeResponse, Life
from bulkstatus_cloudflare._adapter import Cloudflare

_ENDED = frozenset({"completed", "failed"})
_QUOTA, _WINDOW = 1200, 300
_FIRST_ID = 0x7BE1C3F09A5D4E21B6C8D7F00A94E152
_ACCOUNT = "023e105f4ecef8ad9ca31a8372d0c353"
_FULL = "This list is at the maximum number of items"
_BEARER = re.compile(r"Bearer (?!cfk_|[0-9a-f]{37,45}$)[A-Za-z0-9_.-]+")
_KEY = re.compile(r"cfk_[A-Za-z0-9_-]+|[0-9a-f]{37,45}")
_PATH = re.compile(r"/client/v4/accounts/([0-9A-Za-z]{32})/rules/lists/bulk_operations/([^/]+)")
_Problem = tuple[int, str]


class CloudflareBulk(FakeBulk, frozen=True, kw_only=True):
    """A bulk of the fake; `error` is what it says once it has failed."""

    error: str


class CloudflareFake(Fake[CloudflareBulk]):
    """One account with bulk operations on its lists, reached by one token or by one pair of email and global key."""

    word = "cloudflare"
    prefix = "/client/v4"
    states: ClassVar[Mapping[State, str]] = {
        State.QUEUED: "pending",
        State.RUNNING: "running",
        State.SUCCEEDED: "completed",
        State.FAILED: "failed",
    }
    counts = False

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.time,
        account_id: str = _ACCOUNT,
        token: str = "cloudflare-demo-token",  # noqa: S107 - it opens nothing but this fake
        email: str = "ops@example.com",
        api_key: str = "c" * 37,
    ) -> None:
        super().__init__(clock=clock)
        self.account_id = account_id
        self.token = token
        self.email = email
        self.api_key = api_key
        self._answers = self._answers_before = 0
        self._window = 0

    def add(self, id: str, life: Life, *, error: str | None = None) -> None:
        """Let bulk `id` be born now. `error` is what it says once it is `failed`; None for the documented example."""
        text = _FULL if error is None else error
        self.put(CloudflareBulk(id=id, born=self.clock(), life=life, error=text))

    def place(self, id: str, life: Life, *, total: int = 100, failed: int = 0) -> None:
        del total, failed  # Cloudflare tells neither
        self.add(id, life)

    def bulk_id(self, number: int) -> str:
        return f"{_FIRST_ID + number:032x}"

    def adapter(self, base_url: str) -> Cloudflare:
        return Cloudflare(account_id=self.account_id, token=self.token, base_url=base_url, budget=())

    @classmethod
    def demo(cls, *, clock: Callable[[], float] = time.time) -> Self:
        """Two bulks: one completes after 8 seconds, one fails after 12."""
        fake = cls(clock=clock)
        fake.add(
            "7be1c3f09a5d4e21b6c8d7f00a94e152", Life.of((0, "pending"), (2, "running"), (8, "completed"))
        )
        fake.add("c04d5e6f718293a4b5c6d7e8f9012345", Life.of((0, "pending"), (4, "running"), (12, "failed")))
        return fake

    def answer(self, request: FakeRequest) -> FakeResponse:
        self._answers += 1
        refusal = self._refusal(request.headers)
        if refusal is not None:
            return refusal
        match = _PATH.fullmatch(request.path)
        if request.method != "GET" or match is None:
            return self._failure(400, _unroutable(request.path), (7000, "No route for that URI"))
        account, id = match.groups()
        if account != self.account_id:
            return self._not_permitted()
        bulk = self.find(id)
        if bulk is None:
            # Undocumented, as is how long a finished bulk is kept. 7003 is what ids get that lead nowhere.
            return self._failure(404, _unroutable(request.path))
        return self._send(200, {"result": self._result(bulk), "success": True, "errors": [], "messages": []})

    def _refusal(self, headers: dict[str, str]) -> FakeResponse | None:
        bearer = headers.get("authorization")
        if bearer is not None:
            if _BEARER.fullmatch(bearer) is None:
                return self._malformed((6111, "Invalid format for Authorization header"))
            return None if bearer == f"Bearer {self.token}" else self._not_permitted()
        email, key = headers.get("x-auth-email"), headers.get("x-auth-key")
        if email is None or key is None:
            return self._failure(400, (9106, "Missing X-Auth-Key, X-Auth-Email or Authorization headers"))
        chain: list[_Problem] = []
        if "@" not in email:
            chain.append((6102, "Invalid format for X-Auth-Email header"))
        if _KEY.fullmatch(key) is None:
            chain.append((6103, "Invalid format for X-Auth-Key header"))
        if chain:
            return self._malformed(*chain)
        return None if (email, key) == (self.email, self.api_key) else self._not_permitted()

    def _result(self, bulk: CloudflareBulk) -> dict[str, str | None]:
        now = self.clock()
        result = {"id": bulk.id, "status": bulk.word(now)}
        if result["status"] in _ENDED:
            ended = datetime.fromtimestamp(bulk.since(now), UTC)
            result["completed"] = f"{ended:%Y-%m-%dT%H:%M:%SZ}"
        if result["status"] == "failed":
            result["error"] = bulk.error
        return result

    def _not_permitted(self) -> FakeResponse:
        # The short form, without `messages` and `result`.
        return self._send(
            403, {"success": False, "errors": [{"code": 10000, "message": "Authentication error"}]}
        )

    def _malformed(self, *chain: _Problem) -> FakeResponse:
        entry = {**_entry((6003, "Invalid request headers")), "error_chain": [_entry(link) for link in chain]}
        return self._send(400, {"success": False, "errors": [entry], "messages": [], "result": None})

    def _failure(self, status: int, *problems: _Problem) -> FakeResponse:
        entries = [_entry(problem) for problem in problems]
        return self._send(status, {"success": False, "errors": entries, "messages": [], "result": None})

    def _counted(self, now: float) -> int:
        """The answers of this window."""
        window = int(now) // _WINDOW
        if window != self._window:
            self._window, self._answers_before = window, self._answers - 1
        return self._answers - self._answers_before

    def _send(self, status: int, body: dict[str, object]) -> FakeResponse:
        now = self.clock()
        headers = {
            "Content-Type": "application/json",
            "Cache-Control": "no-store, no-cache, must-revalidate",
            "cf-cache-status": "DYNAMIC",
            "cf-ray": f"{self._answers:016x}-FRA",
            "Ratelimit": f'"default";r={max(1, _QUOTA - self._counted(now))};t={_WINDOW - int(now) % _WINDOW}',
            "Ratelimit-Policy": f'"default";q={_QUOTA};w={_WINDOW}',
            "Server": "cloudflare",
            # API clients get cookies too, and do best to ignore them.
            "Set-Cookie": f"__cf_bm={self._answers:032x}; path=/; HttpOnly; Secure; SameSite=None",
        }
        # Some of Cloudflare's services escape slashes in JSON.
        text = json.dumps(body, separators=(",", ":")).replace("/", "\\/")
        return FakeResponse(status=status, body=text.encode(), headers=headers)


def _entry(problem: _Problem) -> dict[str, object]:
    code, message = problem
    return {"code": code, "message": message}


def _unroutable(path: str) -> _Problem:
    shown = path.removeprefix(CloudflareFake.prefix)
    return 7003, f"Could not route to {shown}, perhaps your object identifier is invalid?"
