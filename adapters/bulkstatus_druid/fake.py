"""A DRUID that exists for tests and for the demo; it plays the token host and the API host in one.

It follows the provider's public pages and the vendor's SDKs. What those leave open is made up here in the plainest
form: the shape of a result entry, the format of times (RFC 3339), an empty list for results before the end.
"""

import re
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import ClassVar, Literal, Self
from urllib.parse import unquote

import msgspec

from bulkstatus.adapter import State
from bulkstatus.testing import Fake, FakeBulk, FakeRequest, FakeResponse, Life
from bulkstatus_druid._adapter import Druid

LastIdIn = Literal["top", "content", "result"]
NotFoundForm = Literal["http", "body", "content"]

_BULKS = re.compile(r"/activityid/v1/user/bulk(?:/(?P<id>[^/]+)(?P<results>/results)?)?")
_CURSOR = re.compile(r"(?P<born>[0-9a-f]{8}-[0-9a-f]{4})-7000-8000-(?P<position>[0-9a-f]{12})")
_LIMIT = re.compile(r"[1-9][0-9]{0,3}")
_ENDS = frozenset({"completed", "failed"})
_PAGE = 100


class DruidBulk(FakeBulk, frozen=True, kw_only=True):
    """A bulk of the fake. Its results begin with `empty_pages` pages that hold nothing but a cursor."""

    empty_pages: int = 0
    forgotten: bool = False


class DruidFake(Fake[DruidBulk]):
    """A fake of DRUID's token endpoint and of its three bulk calls.

    It accepts `client_id` and `client_secret` and gives tokens that live `token_lifetime` seconds by `clock` (epoch
    seconds). `last_id_in` says where a page of results carries its cursor, `not_found` how a missing bulk is told:
    by HTTP 404, by `result.status` 404 under HTTP 200, or by a `content` of null.
    """

    word = "druid"
    prefix = ""
    states: ClassVar[Mapping[State, str]] = {
        State.QUEUED: "received",
        State.RUNNING: "processing",
        State.SUCCEEDED: "completed",
        State.PARTIAL: "completed",
        State.FAILED: "failed",
    }

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.time,
        client_id: str = "druid-demo-client",
        client_secret: str = "druid-demo-secret",  # noqa: S107 - a fake's secret guards nothing
        token_lifetime: float = 2739.0,
        last_id_in: LastIdIn = "top",
        not_found: NotFoundForm = "http",
    ) -> None:
        super().__init__(clock=clock)
        self.client_id = client_id
        self.client_secret = client_secret
        self.token_lifetime = token_lifetime
        self.last_id_in: LastIdIn = last_id_in
        self.not_found: NotFoundForm = not_found
        self._tokens: dict[str, float] = {}
        self._issued = 0

    def add(self, id: str, life: Life, *, users: int = 100, failed: int = 0, empty_pages: int = 0) -> None:
        """Add a bulk, born now, of `users` users; the first `failed` of them fail.

        Its results begin with `empty_pages` pages that hold nothing but a cursor.
        """
        self.put(
            DruidBulk(
                id=id,
                born=self.clock(),
                life=life,
                total=users,
                succeeding=users - failed,
                failing=failed,
                empty_pages=empty_pages,
            )
        )

    def place(self, id: str, life: Life, *, total: int = 100, failed: int = 0) -> None:
        self.add(id, life, users=total, failed=failed)

    def bulk_id(self, number: int) -> str:
        return f"019a0b1c-2d3e-7f40-8a51-{number:012x}"

    def forget_results(self, id: str) -> None:
        """Forget the results of a bulk and keep its status."""
        with self._lock:
            self.put(msgspec.structs.replace(self._bulks[id], forgotten=True))

    def revoke(self) -> None:
        """Make every token given so far invalid."""
        with self._lock:
            self._tokens.clear()

    def adapter(self, base_url: str) -> Druid:
        return Druid(
            api_base_url=base_url,
            auth_base_url=base_url,
            client_id=self.client_id,
            client_secret=self.client_secret,
            budget=(),
        )

    @classmethod
    def demo(cls, *, clock: Callable[[], float] = time.time) -> Self:
        """Four bulks, born now: clean, with failed users, failed, and with a word that nobody documented."""
        fake = cls(clock=clock)
        fake.add("019a0b1c-2d3e-7f40-8a51-62738495a6b7", _life(2, 4, 8, "completed"), users=250)
        fake.add("019a0a00-1111-7222-8333-444455556666", _life(1, 3, 10, "completed"), failed=7)
        fake.add("019a0a00-2222-7333-8444-555566667777", _life(1, 2, 6, "failed"), users=0)
        fake.add("019a0a00-3333-7444-8555-666677778888", _life(3, 5, 13, "archiving"))
        return fake

    def answer(self, request: FakeRequest) -> FakeResponse:
        """Answer as the provider's pages say."""
        if request.path == "/oauth2/token":
            return self._token(request)
        match = _BULKS.fullmatch(request.path)
        if match is None:
            return _fault(404, "not_found", "No such resource")
        if not self._accepts(request.headers.get("authorization", "")):
            return _fault(401, "invalid_token", "The token is missing, wrong or expired")
        # https://dru-id.com/developers/apis/bulk-api/bulk-get-status/ requires both, even on a GET.
        kinds = {request.headers.get("content-type"), request.headers.get("accept")}
        if request.method != "GET" or kinds != {"application/json"}:
            return _fault(
                400, "bad_request", "A GET with Content-Type and Accept: application/json was expected"
            )
        if match["id"] is None:
            return _success([self._record(bulk) for bulk in self.known()])
        return self._one(unquote(match["id"]), request.query, results=match["results"] is not None)

    def _one(self, id: str, query: dict[str, str], *, results: bool) -> FakeResponse:
        bulk = self.find(id)
        if bulk is None or (results and bulk.forgotten):
            return self._missing()
        return self._results(bulk, query) if results else _success(self._record(bulk))

    def _token(self, request: FakeRequest) -> FakeResponse:
        """https://dru-id.com/developers/apis/oauth-2/client-token/."""
        wanted = {
            "grant_type": "client_credentials",
            "client_id": self.client_id,
            "client_secret": self.client_secret,
        }
        kind = request.headers.get("content-type", "").partition(";")[0]
        if request.method != "POST" or kind != "application/x-www-form-urlencoded" or request.form != wanted:
            # The vendor's PHP SDK handles this body: https://github.com/dru-id/druid-php-sdk
            refusal = {"error": "Client credentials are not valid", "type": "InvalidGrantException"}
            return FakeResponse.json(refusal, 400)
        self._issued += 1
        ends = self.clock() + self.token_lifetime
        token = f"100000000000001|3|2.fake{self._issued}.{int(ends * 1000)}|signature."
        self._tokens[token] = ends
        return FakeResponse.json(
            {
                "access_token": token,
                "token_type": "bearer",
                "expires_in": int(self.token_lifetime),
                "expires_at": int(ends * 1000),
            }
        )

    def _accepts(self, authorization: str) -> bool:
        scheme, _, token = authorization.partition(" ")
        return scheme == "Bearer" and self.clock() < self._tokens.get(token, 0.0)

    def _record(self, bulk: DruidBulk) -> dict[str, str | None]:
        now = self.clock()
        return {
            "bulkId": bulk.id,
            "status": bulk.word(now),
            "createdOn": _text(bulk.born),
            "updatedOn": _text(bulk.since(now)),
        }

    def _missing(self) -> FakeResponse:
        if self.not_found == "content":
            return _success(None)
        return _fault(404, "not_found", "No bulk with that id", http=404 if self.not_found == "http" else 200)

    def _results(self, bulk: DruidBulk, query: dict[str, str]) -> FakeResponse:
        """https://dru-id.com/developers/apis/bulk-api/bulk-get-results/."""
        limit, only = query.get("limit", str(_PAGE)), query.get("failedOnly", "false")
        at = self._position(bulk, query["last"]) if "last" in query else 0
        if _LIMIT.fullmatch(limit) is None or only not in ("true", "false") or at is None:
            return _fault(400, "bad_request", "limit, last or failedOnly is not valid")
        users = bulk.failing if only == "true" else bulk.total
        if bulk.word(self.clock()) not in _ENDS:
            return _page([], None, self.last_id_in)
        begin = max(0, at - bulk.empty_pages)
        end = min(users, begin + int(limit)) if at >= bulk.empty_pages else begin
        following = end + bulk.empty_pages if at >= bulk.empty_pages else at + 1
        more = following < users + bulk.empty_pages
        entries = [_entry(index, failed=index < bulk.failing) for index in range(begin, end)]
        return _page(entries, _cursor(bulk, following) if more else None, self.last_id_in)

    def _position(self, bulk: DruidBulk, last: str) -> int | None:
        match = _CURSOR.fullmatch(last)
        if match is None or not _cursor(bulk, 0).startswith(match["born"]):
            return None
        return int(match["position"], 16)


def _life(scheduled: float, processing: float, end: float, word: str) -> Life:
    return Life.of((0, "received"), (scheduled, "scheduled"), (processing, "processing"), (end, word))


def _text(when: float) -> str:
    return datetime.fromtimestamp(when, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _cursor(bulk: DruidBulk, position: int) -> str:
    """A UUIDv7 in looks: the bulk's birth in its first 48 bits, the position in its last."""
    born = f"{int(bulk.born * 1000):012x}"
    return f"{born[:8]}-{born[8:]}-7000-8000-{position:012x}"


def _entry(index: int, *, failed: bool) -> dict[str, object]:
    entry: dict[str, object] = {"objectId": f"100000000{index:06d}", "status": 400 if failed else 200}
    if failed:
        entry["errors"] = [{"message": "invalid_value", "details": "email is not valid"}]
    return entry


def _page(entries: list[dict[str, object]], last: str | None, last_id_in: LastIdIn) -> FakeResponse:
    result: dict[str, object] = {"status": 200, "message": "OK"}
    content: dict[str, object] = {"results": entries}
    body: dict[str, object] = {"content": content if last_id_in == "content" else entries, "result": result}
    if last is not None:
        {"top": body, "content": content, "result": result}[last_id_in]["lastId"] = last
    return FakeResponse.json(body)


def _success(content: object) -> FakeResponse:
    return FakeResponse.json({"content": content, "result": {"status": 200, "message": "OK"}})


def _fault(status: int, message: str, details: str, *, http: int | None = None) -> FakeResponse:
    result = {"status": status, "elapsed": 3.2, "errors": [{"message": message, "details": details}]}
    return FakeResponse.json({"result": result}, http or status)
