"""Promises about requests: what ids may do to them, where they go, and how often."""

import math
from urllib.parse import unquote

from bulkstatus import AsyncClient
from bulkstatus.adapter import Adapter, Limit, Listing, Metered, Remaining, Request, Response, Secret
from bulkstatus.errors import BulkStatusError, ConfigError
from bulkstatus.testing.contract import _todo
from bulkstatus.testing.contract._driver import SOURCE, Broken, fault_of, outcome, page_in
from bulkstatus.testing.contract._facade import ask
from bulkstatus.testing.contract._mutation import EVIL, changed, is_leaf, parsed, places, value_at, written
from bulkstatus.testing.contract._promise import Promises, promise
from bulkstatus.testing.contract._questions import questions

ESCAPES = (
    "..",
    ".",
    "../..",
    "a/b",
    "/",
    "//elsewhere.invalid/x",
    "%2e%2e",
    "%2F",
    "a%00b",
    "?x=1",
    "a?x=1",
    "a&x=1",
    "#",
    "a#b",
    "a b",
    " ",
    "a\\b",
    "a\r\nX-Evil: 1",
    "a\x00",
    "\u202e",
    "\u00e9",
    "\u0663",
    "\uff11\uff12",
    "a;b=c",
    "a:b@c",
    "x" * 10_000,
    "1" * 10_000,
)
_FIRST = 4


class RequestPromises(Promises):
    """What is sent, and what is not."""

    @promise(_todo.IDS)
    def test_ids_of_the_provider_are_accepted(self) -> None:
        """Every id that the provider gives fits the adapter's grammar of ids."""
        bench = self.bench()
        grammar = bench.adapter.id_grammar
        ids = [*map(bench.fake.bulk_id, range(_FIRST)), *bench.fake.bulk_ids()]
        odd = sum(not grammar.fits(id) for id in ids)
        if odd:
            raise Broken(f"{odd} of {len(ids)} ids that the fake gives do not fit id_grammar")
        if not grammar.words.strip():
            raise Broken("id_grammar has no words for its pattern, so nobody is told what an id looks like")

    @promise(_todo.IDS)
    def test_ids_cannot_escape(self) -> None:
        """An id that would lead elsewhere is refused before anything is sent, or is one segment of the path."""
        bench = self.bench()
        true = bench.fake.bulk_id(0)
        plain = bench.adapter.status(true).request
        for id in ESCAPES:
            call = outcome(bench.adapter.status, id)
            if not isinstance(call, BulkStatusError):
                _check_path(bench.adapter, id, call.request, plain, true)

    @promise(_todo.IDS)
    def test_ids_that_cannot_be_are_never_sent(self) -> None:
        """An id that does not fit the grammar is a ConfigError of the client's, and no request."""
        bench = self.bench()
        grammar = bench.adapter.id_grammar

        async def each(client: AsyncClient) -> None:
            for id in ESCAPES:
                try:
                    await client.get(f"{SOURCE}:{id}")
                except ConfigError:
                    continue
                except BulkStatusError as error:
                    if grammar.fits(id):
                        continue
                    raise Broken(f"the id {_shown(id)} was sent: {type(error).__name__}") from None
                raise Broken(f"the id {_shown(id)} has an answer")

        ask(bench.adapter, bench.fake, each)

    @promise(_todo.ORIGIN)
    def test_requests_stay_where_they_belong(self) -> None:
        """Requests go below base_urls() and only ask, whatever addresses stand in the answers."""
        bench = self.bench()
        allowed = frozenset(bench.adapter.base_urls())
        for question in questions(bench):
            fault = fault_of(question.step.call.request, allowed)
            if fault:
                raise Broken(f"the request of {question} {fault}")
            document = parsed(question.step.response.body)
            for path in places(document):
                if not is_leaf(value_at(document, path)):
                    continue
                driver = question.driver
                driver.asked.clear()
                body = written(changed(document, path, EVIL))
                page = page_in(outcome(driver.reread, question.step, body))
                if page is not None and page.next is not None:
                    outcome(driver.ask, page.next)
                faults = [fault for request in driver.asked if (fault := fault_of(request, allowed))]
                if faults:
                    raise Broken(f"a request after {question}, with an address in its answer, {faults[0]}")

    @promise(_todo.BUDGET)
    def test_limits_and_pace_are_declared_sanely(self) -> None:
        """Limits are there tightest window first, and looks are neither too fast nor endlessly far apart."""
        adapter = self.bench().adapter
        for name, limits in (("limits", adapter.limits), ("share", adapter.share or ())):
            windows = [limit.seconds for limit in limits]
            if not all(isinstance(limit, Limit) for limit in limits) or windows != sorted(windows):
                raise Broken(f"{name} is not a tuple of Limit, the tightest window first")
        floor, ceiling = adapter.poll_floor, adapter.poll_ceiling
        if not (0 < floor <= ceiling and math.isfinite(ceiling)):
            raise Broken(f"poll_floor is {floor} s and poll_ceiling {ceiling} s")
        size = getattr(adapter, "rows_per_page", None)
        if isinstance(adapter, Listing) and not (size is None or (isinstance(size, int) and size > 0)):
            raise Broken(f"rows_per_page is {size!r}")

    @promise(_todo.BUDGET)
    def test_what_tells_accounts_apart_is_a_setting(self) -> None:
        """`counted_by` and `account_by` name settings, and `account_by` no credential: it is written down."""
        adapter = self.bench().adapter
        known = type(adapter).__struct_fields__
        for name in (*adapter.counted_by, *adapter.account_by):
            if name not in known:
                raise Broken(f"{name!r} is not a setting")
        for name in adapter.account_by:
            if isinstance(getattr(adapter, name), Secret):
                raise Broken(f"account_by names {name!r}, which is a credential")

    @promise(_todo.METERED, needs=Metered)
    def test_what_is_left_of_limits_is_read_carefully(self) -> None:
        """`remaining` of an answer with odd headers is None, or numbers that can be; it never raises."""
        bench = self.bench()
        adapter = bench.adapter
        if not isinstance(adapter, Metered):
            raise TypeError("only for adapters that tell what is left")
        true = bench.scenes[0].trail.steps[0].response
        names = set(true.headers) | {"ratelimit", "ratelimit-policy", "x-ratelimit-remaining"}
        odd = ("", "x", "-1", "9" * 400, '"default";r=;t=', ",;=,", "\u0663", "1e9", "nan")
        replies = [true] + [_headed(true, dict.fromkeys(names, value)) for value in odd]
        for reply in replies:
            try:
                left = adapter.remaining(reply)
            except Exception as error:  # noqa: BLE001 - that is the point
                raise Broken(f"remaining() raised {type(error).__name__}") from None
            if left is not None and not _can_be(left):
                raise Broken("remaining() gives numbers that cannot be")


def _check_path(adapter: Adapter, id: str, request: Request, plain: Request, true: str) -> None:
    """Break the promise where the request for `id` differs from that for the id `true` by more than its segment."""
    fault = fault_of(request, adapter.base_urls())
    if fault:
        raise Broken(f"the request of status({_shown(id)}) {fault}")
    wanted = [id if unquote(segment) == true else unquote(segment) for segment in plain.path.split("/")]
    if [unquote(segment) for segment in request.path.split("/")] != wanted:
        raise Broken(f"status({_shown(id)}) asks for another path than that of the id as one segment")
    if len(request.query) != len(plain.query):
        raise Broken(f"status({_shown(id)}) asks with another query")


def _headed(response: Response, headers: dict[str, str]) -> Response:
    return Response(
        status=response.status, headers=headers, body=response.body, received_at=response.received_at
    )


def _can_be(left: Remaining) -> bool:
    return left.left >= 0 and left.of >= 0 and left.seconds >= 0 and math.isfinite(left.seconds)


def _shown(id: str) -> str:
    return f"{id!a}" if len(id) < 40 else f"{id[:4]!a}... ({len(id)} characters)"  # noqa: PLR2004 - fits a line
