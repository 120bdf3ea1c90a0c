"""Depots with one thing wrong each, for the promises that are about it."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import ClassVar, NamedTuple

import msgspec

from bulkstatus.adapter import (
    BulkOperation,
    BulkStatus,
    Call,
    Counts,
    IdGrammar,
    Page,
    Reader,
    Remaining,
    Request,
    State,
    bad_shape,
    bearer,
    decode,
    from_epoch,
    from_text,
    status_error,
)
from bulkstatus.errors import NotFound, RateLimited
from bulkstatus.testing.contract import _todo
from depot import ITEMS, JOB, JOBS, SIZE, TOKEN, WORDS, Depot, DepotFake, refusal


def fake_of(adapter: type[Depot]) -> type[DepotFake]:
    """A depot whose adapter is another one."""

    def make(self, base_url):
        return adapter(base_url=base_url, token=TOKEN, budget=())

    return type("WrongFake", (DepotFake,), {"adapter": make})


class Wrong(NamedTuple):
    """What is wrong with a depot: the promise that is broken, what is to be done, and the fake of the wrong adapter.

    One that `leaks` makes errors with its token in them.
    """

    promise: str
    todo: _todo.Todo
    fake: type[DepotFake]
    leaks: bool


WRONG: dict[str, Wrong] = {}
"""Each wrong adapter by its name."""


def wrong(promise: str, todo: _todo.Todo, *, leaks: bool = False) -> Callable[[type[Depot]], type[Depot]]:
    """Put a wrong adapter into the table."""

    def keep(adapter: type[Depot]) -> type[Depot]:
        WRONG[adapter.__name__] = Wrong(f"test_{promise}", todo, fake_of(adapter), leaks)
        return adapter

    return keep


def then(call: Call, change: Callable) -> Call:
    """As `call`, with what it reads changed."""
    return Call(call.request, lambda response: change(call.read(response)))


@wrong("an_unknown_word_is_unknown", _todo.WORDS)
class GuessesWords(Depot, frozen=True, kw_only=True):
    """Takes a word that it does not know for `running`."""

    def decide(self, job, told, unread):
        state, why = super().decide(job, told, unread)
        return (State.RUNNING if state is State.UNKNOWN and job.status else state), why


@wrong("nothing_odd_makes_a_bulk_missing", _todo.KNOWN_FORM)
class MissingWordIsMissing(Depot, frozen=True, kw_only=True):
    """Takes a record without a word for "no such job"."""

    def decide(self, job, told, unread):
        if not job.status:
            raise NotFound("nothing is known of it")
        return super().decide(job, told, unread)


@wrong("only_the_word_makes_an_end", _todo.NO_END)
class EndsByTime(Depot, frozen=True, kw_only=True):
    """Takes a bulk with an end time for ended, whatever its word."""

    def decide(self, job, told, unread):
        return (State.FAILED, ("It has an end.",)) if job.ended else super().decide(job, told, unread)


@wrong("nothing_odd_makes_an_end", _todo.NO_END)
class EndsWithoutCounts(Depot, frozen=True, kw_only=True):
    """Takes a bulk without counts for ended."""

    def decide(self, job, told, unread):
        return (State.FAILED, ("A guess.",)) if job.total is None else super().decide(job, told, unread)


@wrong("a_success_that_the_counts_deny_is_none", _todo.SUCCESS)
class OnlyFailuresCount(Depot, frozen=True, kw_only=True):
    """Looks at failures alone."""

    def decide(self, job, told, unread):
        return super().decide(job, told, unread) if told.failed else WORDS.read(job.status, self.state_map)


@wrong("nothing_odd_makes_a_success", _todo.SUCCESS)
class SucceedsWithoutWord(Depot, frozen=True, kw_only=True):
    """Takes a failed bulk that does not say when it was made for a success."""

    def decide(self, job, told, unread):
        if job.status == "failed" and not job.created:
            return State.SUCCEEDED, ("A guess.",)
        return super().decide(job, told, unread)


@wrong("no_word_is_unknown", _todo.WORDS)
class MissingWordRuns(Depot, frozen=True, kw_only=True):
    """Takes a bulk without a word for running."""

    def decide(self, job, told, unread):
        return super().decide(job, told, unread) if job.status else (State.RUNNING, ("No word.",))


@wrong("a_word_can_be_pinned", _todo.WORDS)
class IgnoresPins(Depot, frozen=True, kw_only=True):
    """Forgets the user's state_map."""

    def decide(self, job, told, unread):
        return WORDS.decide(job.status, told, {}, unread=unread)


@wrong("every_word_of_the_provider_is_read", _todo.STATES)
class IgnoresCounts(Depot, frozen=True, kw_only=True):
    """Calls a bulk with failures a success."""

    def decide(self, job, told, unread):
        return WORDS.read(job.status, self.state_map)


@wrong("whatever_comes_is_read_or_an_error_of_ours", _todo.MEMBERS)
class NeedsMembers(Depot, frozen=True, kw_only=True):
    """Takes a member for granted."""

    def status(self, id):
        call = super().status(id)

        def read(response):
            return call.read(response).changed(action=json.loads(response.body)["created"][:0])

        return Call(call.request, read)


@wrong("new_members_change_nothing", _todo.MEMBERS)
class RefusesNewMembers(Depot, frozen=True, kw_only=True):
    """Cannot read an answer with a member that is new."""

    def check(self, response):
        super().check(response)
        decode(response, msgspec.json.Decoder(Strict).decode)


class Strict(msgspec.Struct, forbid_unknown_fields=True):
    id: object = None
    status: object = None
    created: object = None
    ended: object = None
    total: object = None
    good: object = None
    failed: object = None
    jobs: object = None
    items: object = None
    next: object = None


@wrong("a_true_record_leaves_no_doubt", _todo.UNREAD)
class ReadsNoTime(Depot, frozen=True, kw_only=True):
    """Reads times in another form than they have."""

    def time(self, value, label, response):
        return None, f"{label} is odd." if value else None


@wrong("wrong_credentials_are_an_auth_error", _todo.CREDENTIALS)
class SendsNothing(Depot, frozen=True, kw_only=True):
    """Signs in with something else than what is set."""

    def auth(self):
        return bearer(TOKEN)


@wrong("a_probe_accepts_good_credentials", _todo.CREDENTIALS)
class ProbesNothing(Depot, frozen=True, kw_only=True):
    """Looks for an address that is not there, to see whether it is let in."""

    def probe(self):
        return Call(self.request("who"), self.check)


@wrong("a_count_that_is_not_said_is_none", _todo.COUNTS)
class ZeroForUnknown(Depot, frozen=True, kw_only=True):
    """Shows a count that was not said as 0."""

    def counts(self, told):
        counts, doubts = super().counts(told)
        return msgspec.structs.replace(counts, failed=counts.failed or 0), doubts


@wrong("a_count_that_cannot_be_is_not_believed", _todo.COUNTS)
class BelievesCounts(Depot, frozen=True, kw_only=True):
    """Shows counts as they came."""

    def counts(self, told):
        return told, ()


@wrong("failures_that_cannot_be_counted_are_no_success", _todo.COUNTS)
class CleansFirst(Depot, frozen=True, kw_only=True):
    """Decides by counts that were cleaned: an impossible number of failures is then none at all."""

    def told(self, job):
        return Counts(total=job.total, failed=job.failed)

    def decide(self, job, told, unread):
        return super().decide(job, self.counts(told)[0], 0)


@wrong("times_are_aware_and_in_utc", _todo.TIMES)
class NaiveTimes(Depot, frozen=True, kw_only=True):
    """Reads times by itself, and keeps them as they are."""

    def time(self, value, label, response):
        try:
            return (datetime.fromisoformat(value) if value else None), None
        except ValueError:
            return None, f"{label} is odd."


@wrong("an_unreadable_time_costs_only_itself", _todo.TIMES)
class RaisesForTimes(Depot, frozen=True, kw_only=True):
    """Lets a time that cannot be read fail the record."""

    def time(self, value, label, response):
        when, doubt = super().time(value, label, response)
        if doubt:
            raise status_error(response, status=500)
        return when, doubt


@wrong("an_unreadable_time_costs_only_itself", _todo.TIMES)
class HidesOddTimes(Depot, frozen=True, kw_only=True):
    """Says nothing of a time that cannot be read."""

    def time(self, value, label, response):
        return from_text(value, label=label, now=response.received_at)[0], None


@wrong("a_gateway_s_404_says_nothing_of_a_bulk", _todo.OWN)
class TakesAny404(Depot, frozen=True, kw_only=True):
    """Takes any 404 for the provider's word."""

    def error(self, response):
        return status_error(response, own=True)


@wrong("a_bulk_the_provider_does_not_know_is_not_found", _todo.KNOWN_FORM)
class TakesNo404(Depot, frozen=True, kw_only=True):
    """Does not recognise how its provider says that there is no such bulk."""

    def error(self, response):
        return status_error(response)


@wrong("throttling_tells_the_pause", _todo.PAUSE)
class ForgetsThePause(Depot, frozen=True, kw_only=True):
    """Does not read Retry-After."""

    def error(self, response):
        return RateLimited("slow down", status=429) if response.status == 429 else super().error(response)


@wrong("refused_credentials_are_an_auth_error", _todo.STATUS)
class NothingIsRefused(Depot, frozen=True, kw_only=True):
    """Says of refused credentials that there is no such bulk."""

    def error(self, response):
        return NotFound("nothing", status=401) if response.status == 401 else super().error(response)


@wrong("a_success_without_an_answer_is_none", _todo.EMPTY)
class TakesAnythingForAList(Depot, frozen=True, kw_only=True):
    """Takes an answer without rows for an empty list."""

    def page(self, cursor):
        def read(response):
            self.check(response)
            rows = JOBS.read(response)
            return Page(items=tuple(self.bulk(response, row.id or "", row, notes) for row, notes, _ in rows))

        return Call(super().page(cursor).request, read)


@wrong("an_answer_about_another_bulk_is_refused", _todo.WRONG_ID)
class DoesNotLookAtIds(Depot, frozen=True, kw_only=True):
    """Takes the answer for one about the bulk it asked for."""

    def check_id(self, response, *, asked, got):
        pass


@wrong("an_answer_about_another_bulk_is_refused", _todo.WRONG_ID)
class FollowsIds(Depot, frozen=True, kw_only=True):
    """Asks for the items of the bulk that the answer names."""

    def status(self, id):
        def read(response):
            self.check(response)
            job, notes = JOB.read(response)
            found = self.bulk(response, job.id or id, job, notes)
            return Call(self.request("jobs", job.id or id, "items", query={"limit": SIZE}), lambda _: found)

        return Call(self.request("jobs", id), read)


@wrong("an_adapter_shows_no_credential", _todo.SECRETS)
class PlainToken(Depot, frozen=True, kw_only=True):
    """Keeps its token as plain text."""

    token: str

    def auth(self):
        return bearer(self.token)


@wrong("credentials_travel_in_headers_alone", _todo.SECRETS)
class TokenInQuery(Depot, frozen=True, kw_only=True):
    """Sends its token in the query."""

    def request(self, *segments, query=None):
        return super().request(*segments, query={**(query or {}), "key": self.token.reveal()})


@wrong("errors_hold_no_credential", _todo.SECRETS, leaks=True)
class TokenInErrors(Depot, frozen=True, kw_only=True):
    """Says in its errors what it sent."""

    def error(self, response):
        return status_error(response, detail=f"sent Bearer {self.token.reveal()}")


@wrong("a_provider_that_repeats_credentials_is_not_quoted", _todo.ECHO, leaks=True)
class LogsAnswers(Depot, frozen=True, kw_only=True):
    """Keeps the answer where nobody takes credentials out of it."""

    def error(self, response):
        failure = super().error(response)
        failure.add_note(response.body.decode())
        failure.kept = TOKEN
        return failure


@wrong("every_word_of_the_provider_is_read", _todo.UNREADABLE, leaks=True)
class ReadsNothing(Depot, frozen=True, kw_only=True):
    """Takes no answer, and says in its error and its path what it sent."""

    def status(self, id):
        def read(response):
            raise bad_shape(response, f"not for {TOKEN}")

        return Call(Request.to(self.base_url, "jobs", TOKEN), read)


@wrong("ids_cannot_escape", _todo.IDS)
class FormatsPaths(Depot, frozen=True, kw_only=True):
    """Writes ids into the path as they are."""

    def status(self, id):
        call = super().status(id) if self.id_grammar.fits(id) else super().status("job-1")
        return Call(Request(base_url=self.base_url, path=f"/jobs/{id}"), call.read)


@wrong("ids_that_cannot_be_are_never_sent", _todo.IDS)
class AnyId(Depot, frozen=True, kw_only=True):
    """Asks with another id than the one it was asked for."""

    id_grammar: ClassVar[IdGrammar] = IdGrammar(r".*", "anything")

    def status(self, id):
        return then(super().status("job-0"), lambda found: msgspec.structs.replace(found, id=id))


@wrong("ids_of_the_provider_are_accepted", _todo.IDS)
class NarrowGrammar(Depot, frozen=True, kw_only=True):
    """Refuses ids that its provider gives."""

    id_grammar: ClassVar[IdGrammar] = IdGrammar(r"job-[0-2]", "job- and 0, 1 or 2")


@wrong("requests_stay_where_they_belong", _todo.ORIGIN)
class FollowsLinks(Depot, frozen=True, kw_only=True):
    """Asks for the next page where the answer says."""

    def page(self, cursor):
        call = super().page(cursor)

        def read(response):
            found = call.read(response)
            if found.cursor and "://" in found.cursor:
                elsewhere = Request(base_url=found.cursor.split("/..")[0], path="/jobs")
                return msgspec.structs.replace(found, next=Call(elsewhere, call.read))
            return found

        return Call(call.request, read)


@wrong("requests_stay_where_they_belong", _todo.ORIGIN)
class Posts(Depot, frozen=True, kw_only=True):
    """Asks by POST."""

    def request(self, *segments, query=None):
        form = {"limit": "1"} if segments[-1:] == ("items",) else None
        return Request.to(self.base_url, *segments, query=query, form=form)


@wrong("credentials_go_nowhere_in_clear", _todo.URLS)
class AnyUrl(Depot, frozen=True, kw_only=True):
    """Takes any base URL."""

    base_url: str

    def base_urls(self):
        return (self.base_url,)


@wrong("a_list_without_end_ends", _todo.PAGES)
class EndlessCursor(Depot, frozen=True, kw_only=True):
    """Does not say what the next page is made of."""

    def page(self, cursor):
        return then(super().page(cursor), lambda found: msgspec.structs.replace(found, cursor=None))


@wrong("every_bulk_is_listed_once", _todo.PAGES)
class FirstPageOnly(Depot, frozen=True, kw_only=True):
    """Never asks for the next page."""

    def page(self, cursor):
        return then(super().page(cursor), lambda found: msgspec.structs.replace(found, next=None))


@wrong("bulks_that_come_meanwhile_hide_none", _todo.PAGES)
class DropsTheLast(Depot, frozen=True, kw_only=True):
    """Takes a page on which something is odd for the last: here, one whose first bulk is of a high number."""

    def page(self, cursor):
        def change(found):
            is_new = any(len(item.id) > len("job-99999") for item in found.items)
            return msgspec.structs.replace(found, next=None) if is_new or cursor else found

        return then(super().page(cursor), change)


@wrong("a_page_holds_what_is_declared", _todo.PAGES)
class WrongPageSize(Depot, frozen=True, kw_only=True):
    """Asks for other pages than it declares."""

    rows_per_page: ClassVar[int | None] = 2 * SIZE


@wrong("an_odd_row_costs_only_itself", _todo.ROWS)
class StrictRows(Depot, frozen=True, kw_only=True):
    """Drops a page for one odd row."""

    def page(self, cursor):
        call = super().page(cursor)

        def read(response):
            decode(response, msgspec.json.Decoder(StrictJobs).decode)
            return call.read(response)

        return Call(call.request, read)


class StrictJob(msgspec.Struct):
    id: str
    created: str


class StrictJobs(msgspec.Struct):
    jobs: list[StrictJob]


@wrong("an_odd_member_costs_only_itself", _todo.ROWS)
class StrictMembers(StrictRows, frozen=True, kw_only=True):
    """Drops a page for one odd member."""


@wrong("an_odd_row_costs_only_itself", _todo.ROWS)
class HidesOddRows(Depot, frozen=True, kw_only=True):
    """Leaves out rows without an id, and says nothing of it."""

    def page(self, cursor):
        def change(found):
            kept = tuple(item for item in found.items if self.id_grammar.fits(item.id))
            return msgspec.structs.replace(found, items=kept)

        return then(super().page(cursor), change)


@wrong("a_question_for_states_gets_all_that_are_in_them", _todo.LISTING)
class LosesPartial(Depot, frozen=True, kw_only=True):
    """Lists nothing for a state that its provider has no word for."""

    def listing(self, query):
        return () if query.states == {"partial"} else super().listing(query)


@wrong("the_list_and_the_bulk_itself_agree", _todo.CONFIRM)
class ListsOtherStates(Depot, frozen=True, kw_only=True):
    """Reads rows in another way than the bulk itself."""

    def page(self, cursor):
        def change(found):
            items = tuple(
                item.changed(state=State.SUCCEEDED) if item.state is State.PARTIAL else item
                for item in found.items
            )
            return msgspec.structs.replace(found, items=items)

        return then(super().page(cursor), change)


@wrong("a_provisional_row_can_be_settled", _todo.CONFIRM)
class NeverSettles(Depot, frozen=True, kw_only=True):
    """Marks rows as provisional, and has no call for them."""

    def page(self, cursor):
        def change(found):
            items = tuple(item.changed(provisional=item.state.is_terminal) for item in found.items)
            return msgspec.structs.replace(found, items=items)

        return then(super().page(cursor), change)

    def confirm(self, row: BulkStatus) -> Call[BulkStatus] | None:
        return None


@wrong("a_row_carries_its_record", _todo.RAW)
class RowsWithoutRecords(Depot, frozen=True, kw_only=True):
    """Does not keep what was received of a row."""

    def page(self, cursor):
        def change(found):
            items = tuple(msgspec.structs.replace(item) for item in found.items)
            return msgspec.structs.replace(found, items=items)

        return then(super().page(cursor), change)


@wrong("every_operation_is_told_once", _todo.OPERATIONS)
class FirstItemsOnly(Depot, frozen=True, kw_only=True):
    """Tells the first page of operations."""

    def items(self, id, cursor):
        return then(
            super().items(id, cursor), lambda found: msgspec.structs.replace(found, next=None, cursor=None)
        )


@wrong("payloads_are_not_shown", _todo.OPERATIONS)
class ShowsPayloads(Depot, frozen=True, kw_only=True):
    """Puts a payload into a field."""

    def item(self, item):
        return msgspec.structs.replace(super().item(item), error=item.input)


@wrong("an_odd_operation_costs_only_itself", _todo.MEMBERS)
class StrictItems(Depot, frozen=True, kw_only=True):
    """Drops a page of operations for an odd one."""

    def items(self, id, cursor):
        call = super().items(id, cursor)

        def read(response):
            rows = ITEMS.read(response)
            if any(notes for _, notes, _ in rows):
                raise status_error(response, status=500)
            return call.read(response)

        return Call(call.request, read)


@wrong("an_operation_with_an_unknown_word_is_unknown", _todo.WORDS)
class GuessesItems(Depot, frozen=True, kw_only=True):
    """Takes an operation in a word that it does not know for failed."""

    def item(self, item):
        found = super().item(item)
        state = State.FAILED if found.state is State.UNKNOWN else found.state
        return BulkOperation(sequence=found.sequence, state=state, native_state=found.native_state)


@wrong("limits_and_pace_are_declared_sanely", _todo.BUDGET)
class FloorAboveCeiling(Depot, frozen=True, kw_only=True):
    """Looks less often than it says at most."""

    poll_floor: ClassVar[float] = 90.0


@wrong("what_tells_accounts_apart_is_a_setting", _todo.BUDGET)
class WritesTokensDown(Depot, frozen=True, kw_only=True):
    """Tells accounts apart by their token, which the journal would write down."""

    account_by: ClassVar[tuple[str, ...]] = ("token",)


@wrong("what_is_left_of_limits_is_read_carefully", _todo.METERED)
class RaisesForHeaders(Depot, frozen=True, kw_only=True):
    """Reads a header as if it were always a number."""

    def remaining(self, response):
        return Remaining(int(response.headers.get("x-ratelimit-remaining", "5")), 10, 60.0)


@wrong("the_provider_has_one_word", _todo.FOUND)
class AnotherWord(Depot, frozen=True, kw_only=True):
    """Calls itself otherwise than its fake."""

    provider: ClassVar[str] = "depots"


@wrong("settings_come_from_a_configuration", _todo.SETTINGS)
class ChangesSettings(Depot, frozen=True, kw_only=True):
    """Adds to a setting each time it is made."""

    label: str = ""

    def __post_init__(self):
        super().__post_init__()
        msgspec.structs.force_setattr(self, "label", f"{self.label}x")


@wrong("a_bulk_that_vanishes_is_gone", _todo.WAIT)
class NeverGone(Depot, frozen=True, kw_only=True):
    """Takes "no such job" for an outage."""

    def error(self, response):
        return status_error(response, status=503 if response.status == 404 else None)


@wrong("a_status_carries_its_record", _todo.RAW)
class WithoutRecord(Depot, frozen=True, kw_only=True):
    """Does not keep what was received."""

    def status(self, id):
        return then(super().status(id), msgspec.structs.replace)


@wrong("no_bulks_are_an_empty_list", _todo.LISTING)
class NeverEmpty(Depot, frozen=True, kw_only=True):
    """Takes "there are no jobs" for an error."""

    def page(self, cursor):
        def change(found):
            if not found.items:
                raise NotFound("there are no jobs")
            return found

        return then(super().page(cursor), change)


@wrong("the_provider_s_word_is_kept", _todo.WORDS)
class LowersWords(Depot, frozen=True, kw_only=True):
    """Shows the provider's word in small letters."""

    def bulk(self, response, id, job, notes):
        found = super().bulk(response, id, job, notes)
        return found.changed(native_state=found.native_state and found.native_state.lower())


@wrong("a_word_can_be_pinned", _todo.WORDS)
class PinsNewWords(Depot, frozen=True, kw_only=True):
    """Looks into the user's state_map for words that it does not know."""

    def decide(self, job, told, unread):
        pins = {} if job.status in WORDS.table else self.state_map
        return WORDS.decide(job.status, told, pins, unread=unread)


@wrong("a_failure_that_the_counts_deny_is_none", _todo.FAILURE)
class FailsWithSuccesses(Depot, frozen=True, kw_only=True):
    """Does not look at counts where the word says that it failed."""

    def decide(self, job, told, unread):
        if job.status == "failed":
            return WORDS.read(job.status, self.state_map)
        return super().decide(job, told, unread)


@wrong("counts_say_what_became_of_items", _todo.COUNTS)
class CountsWhatIsDone(Depot, frozen=True, kw_only=True):
    """Shows all operations that have ended as succeeded."""

    def counts(self, told):
        counts, doubts = super().counts(told)
        if counts.succeeded is not None and counts.failed is not None:
            counts = msgspec.structs.replace(counts, succeeded=counts.finished)
        return counts, doubts


@wrong("times_are_in_their_order", _todo.TIMES)
class SwapsTimes(Depot, frozen=True, kw_only=True):
    """Takes the end for the beginning."""

    def bulk(self, response, id, job, notes):
        found = super().bulk(response, id, job, notes)
        if found.finished_at is None:
            return found
        return found.changed(created_at=found.finished_at, finished_at=found.created_at)


@wrong("a_bulk_that_goes_on_has_not_finished", _todo.NO_END)
class FinishedByNow(Depot, frozen=True, kw_only=True):
    """Takes the last time that there is for the end."""

    def bulk(self, response, id, job, notes):
        found = super().bulk(response, id, job, notes)
        return found.changed(finished_at=found.finished_at or found.created_at)


@wrong("a_status_says_whose_it_is_and_when", _todo.SOURCE)
class ItsOwnClock(Depot, frozen=True, kw_only=True):
    """Takes the time of the answer from the computer's clock."""

    def bulk(self, response, id, job, notes):
        return super().bulk(response, id, job, notes).changed(observed_at=datetime.now(UTC))


@wrong("an_outage_is_unavailable", _todo.STATUS)
class CodesAlone(Depot, frozen=True, kw_only=True):
    """Looks at the provider's code, whatever the status."""

    def error(self, response):
        said = refusal(response)
        missing = said is not None and said.code == "no_such_job"
        return NotFound("nothing", status=response.status) if missing else super().error(response)


@wrong("an_answer_about_another_bulk_is_refused", _todo.WRONG_ID)
class LooksAtBeginnings(Depot, frozen=True, kw_only=True):
    """Takes an id that begins as the one asked for."""

    def check_id(self, response, *, asked, got):
        super().check_id(response, asked=asked, got=asked if got and got.startswith(asked) else got)


@wrong("a_later_page_that_is_none_is_no_end", _todo.PAGES)
class EndsAtErrors(Depot, frozen=True, kw_only=True):
    """Takes "no such job", said of a cursor, for the end."""

    def page(self, cursor):
        call = super().page(cursor)

        def read(response):
            return Page(items=()) if cursor and response.status == 404 else call.read(response)

        return Call(call.request, read)


@wrong("a_question_for_states_knows_pins_and_new_words", _todo.LISTING)
class NothingIsUnknown(Depot, frozen=True, kw_only=True):
    """Lists nothing for `unknown`, which its provider has no word for."""

    def listing(self, query):
        return () if query.states == {"unknown"} else super().listing(query)


@wrong("a_question_for_states_knows_pins_and_new_words", _todo.LISTING)
class ListsWithoutPins(Depot, frozen=True, kw_only=True):
    """Asks for words by its own table, whatever the user's state_map."""

    def listing(self, query):
        return () if query.states == {"paused"} else super().listing(query)


@wrong("any_question_about_operations_has_an_answer", _todo.OPERATIONS)
class OnlyFailedItems(Depot, frozen=True, kw_only=True):
    """Takes every question for some states as one for the failed."""

    def operations(self, id, query):
        return self.items(id, None) if query.states is None else self.failed_items(self.items(id, None))

    def failed_items(self, call):
        def read(response):
            found = call.read(response)
            failed = tuple(item for item in found.items if item.state is State.FAILED)
            following = found.next and self.failed_items(found.next)
            return msgspec.structs.replace(found, items=failed, next=following)

        return Call(call.request, read)


@wrong("a_cursor_that_cannot_be_read_is_no_end", _todo.CURSOR)
class EndsAtOddCursors(Depot, frozen=True, kw_only=True):
    """Takes a cursor of another type than it expects for none."""

    def following(self, response, rows):
        return rows.page.next


class EpochJob(msgspec.Struct, frozen=True):
    id: str | None = None
    status: str | None = None
    created: object = None
    ended: object = None
    total: int | None = None
    good: int | None = None
    failed: int | None = None


@wrong("the_unit_of_a_time_is_not_guessed", _todo.TIMES)
class GuessesUnits(Depot, frozen=True, kw_only=True):
    """Reads a number as seconds or milliseconds by its size."""

    def status(self, id):
        def read(response):
            self.check(response)
            job, notes = EPOCH_JOB.read(response)
            return self.bulk(response, id, job, notes).carrying(raw=response.body)

        return Call(self.request("jobs", id), read)

    def time(self, value, label, response):
        unit = "s" if isinstance(value, int) and value < 10**11 else "ms"
        return from_epoch(value, unit, label=label, now=response.received_at)


EPOCH_JOB = Reader(EpochJob)


class EpochFake(fake_of(GuessesUnits)):
    """A depot that writes times as numbers."""

    def members(self, bulk):
        members = super().members(bulk)
        times = {name: members[name] for name in ("created", "ended") if name in members}
        return members | {name: int(datetime.fromisoformat(text).timestamp()) for name, text in times.items()}


WRONG["GuessesUnits"] = WRONG["GuessesUnits"]._replace(fake=EpochFake)
