"""The fake DRUID, asked by hand and by the adapter."""

import json
import re
from datetime import UTC, datetime

import pytest

from bulkstatus.adapter import Call, ListQuery, OperationQuery, Response, State
from bulkstatus.errors import AuthError, NotFound
from bulkstatus.testing import FakeRequest, Fault, Life, ManualClock
from bulkstatus_druid import Druid
from bulkstatus_druid.fake import DruidFake

BASE = "https://druid.test"
PATH = "/activityid/v1/user/bulk"
DONE = Life.of((0, "completed"))
FORM = {
    "grant_type": "client_credentials",
    "client_id": "druid-demo-client",
    "client_secret": "druid-demo-secret",
}


@pytest.fixture
def clock():
    """A clock that moves when told to."""
    return ManualClock()


@pytest.fixture
def fake(clock):
    """A fake without bulks."""
    return DruidFake(clock=clock)


def send(fake, request, headers=()):
    """Hand one request to the fake and give its reply, as a network would."""
    kind = () if request.form is None else (("Content-Type", "application/x-www-form-urlencoded"),)
    form = [(name, value if isinstance(value, str) else value.reveal()) for name, value in request.form or ()]
    _, answer = fake.receive(
        FakeRequest(
            method=request.method,
            path=request.path,
            query=dict(request.query),
            headers={name.lower(): value for name, value in (*request.headers, *kind, *headers)},
            body="&".join(f"{name}={value}" for name, value in form).encode(),
        )
    )
    response = answer()
    return Response.now(response.status, response.body, response.headers, source="crm", provider="druid")


class Asker:
    """The least that can follow calls: a token when there is none, then one request after another."""

    def __init__(self, fake, adapter=None):
        self.fake = fake
        self.adapter = adapter or fake.adapter(BASE)
        self.auth = self.adapter.auth()

    def run(self, call):
        while isinstance(call, Call):
            renewal = self.auth.renewal(self.fake.clock())
            if renewal is not None:
                renewal.read(send(self.fake, renewal.request))
            call = call.read(send(self.fake, call.request, self.auth.headers().items()))
        return call

    def get(self, id):
        return self.run(self.adapter.status(id))

    def list(self):
        (call,) = self.adapter.listing(ListQuery())
        return self.run(call).items

    def operations(self, id, states=None):
        call, items, pages = self.adapter.operations(id, OperationQuery(states=states)), [], 0
        while call is not None:
            page = self.run(call)
            items.extend(page.items)
            call, pages = page.next, pages + 1
        return items, pages


def token(fake):
    """A good token answer."""
    request = fake.adapter(BASE).auth().renewal(0.0).request
    return json.loads(send(fake, request).body)


def ask(fake, path, query=None, **headers):
    """One GET with a good token, asked by hand."""
    json_only = {"content-type": "application/json", "accept": "application/json"}
    given = {"authorization": f"Bearer {token(fake)['access_token']}", **json_only}
    request = FakeRequest(method="GET", path=path, query=query or {}, headers={**given, **headers})
    answer = fake.answer(request)
    return answer.status, json.loads(answer.body)


class TestToken:
    def test_what_a_token_answer_holds(self, fake, clock):
        """The documented members, expires_at in epoch milliseconds."""
        answer = token(fake)
        assert answer["token_type"] == "bearer"
        assert answer["expires_in"] == 2739
        assert answer["expires_at"] == (clock() + 2739) * 1000
        assert "|" in answer["access_token"]

    @pytest.mark.parametrize(
        "change", [{"client_id": "x"}, {"client_secret": "x"}, {"grant_type": "password"}]
    )
    def test_wrong_credentials(self, fake, change):
        """Anything but the right form is refused as the vendor's SDKs know it."""
        body = "&".join(f"{name}={value}" for name, value in {**FORM, **change}.items())
        form = {"content-type": "application/x-www-form-urlencoded"}
        answer = fake.answer(
            FakeRequest(method="POST", path="/oauth2/token", headers=form, body=body.encode())
        )
        assert answer.status == 400
        assert json.loads(answer.body)["type"] == "InvalidGrantException"

    def test_tokens_are_not_had_by_get(self, fake):
        """The token endpoint answers a POST only."""
        assert fake.answer(FakeRequest(method="GET", path="/oauth2/token")).status == 400

    def test_wrong_settings_reach_the_caller_as_auth_error(self, fake):
        """An adapter with another secret is told so."""
        other = Druid(api_base_url=BASE, client_id="druid-demo-client", client_secret="wrong")
        with pytest.raises(AuthError, match="not valid"):
            Asker(fake, other).get("b")

    def test_tokens_end_by_the_clock(self, clock):
        """A token past its life is refused with 401, and a new one is accepted."""
        fake = DruidFake(clock=clock, token_lifetime=100)
        fake.add("b", DONE)
        old = f"Bearer {token(fake)['access_token']}"
        assert ask(fake, PATH, authorization=old)[0] == 200
        clock.advance(100)
        status, body = ask(fake, PATH, authorization=old)
        assert (status, body["result"]["status"]) == (401, 401)
        assert ask(fake, PATH)[0] == 200

    def test_an_adapter_renews_before_the_end(self, clock):
        """Across several token lives no request is refused."""
        fake = DruidFake(clock=clock, token_lifetime=100)
        fake.add("b", DONE)
        asker = Asker(fake)
        for _ in range(5):
            assert asker.get("b").state is State.SUCCEEDED
            clock.advance(71)
        assert sum(request.path == "/oauth2/token" for request in fake.requests) == 5

    def test_revoked_tokens_are_refused(self, fake):
        """After a revocation the old token gives AuthError 401, and the scheme can get another."""
        fake.add("b", DONE)
        asker = Asker(fake)
        asker.get("b")
        fake.revoke()
        with pytest.raises(AuthError) as caught:
            asker.get("b")
        assert caught.value.status == 401
        assert asker.auth.rejected(asker.auth.headers())
        assert asker.get("b").state is State.SUCCEEDED

    @pytest.mark.parametrize("sent", ["", "Bearer", "Bearer x", "Basic x"])
    def test_other_authorization_is_refused(self, fake, sent):
        """Only a live token is let in."""
        assert ask(fake, PATH, authorization=sent)[0] == 401


class TestCalls:
    def test_content_type_is_required(self, fake):
        """A GET without Content-Type: application/json is a bad request."""
        assert ask(fake, PATH, **{"content-type": ""})[0] == 400

    def test_accept_is_required(self, fake):
        """So is the other header that the page demands."""
        assert ask(fake, PATH, accept="*/*")[0] == 400

    def test_a_token_is_asked_for_with_a_form(self, fake):
        """The same fields in a body that is not declared as a form are no request for a token."""
        body = "&".join(f"{name}={value}" for name, value in FORM.items()).encode()
        assert fake.answer(FakeRequest(method="POST", path="/oauth2/token", body=body)).status == 400

    def test_only_gets(self, fake):
        """The fake takes no updates."""
        headers = {
            "authorization": f"Bearer {token(fake)['access_token']}",
            "content-type": "application/json",
        }
        assert fake.answer(FakeRequest(method="POST", path=PATH, headers=headers)).status == 400

    def test_other_paths_are_not_there(self, fake):
        """What DRUID does not have is 404."""
        assert ask(fake, "/activityid/v1/user")[0] == 404

    def test_list_and_single(self, fake, clock):
        """The list is an array of all, a single status is an object; times are those of the status changes."""
        fake.add("a", Life.of((0, "received"), (4, "processing")))
        fake.add("b%", DONE)
        clock.advance(5)
        status, body = ask(fake, PATH)
        assert status == 200
        assert [item["bulkId"] for item in body["content"]] == list(fake.bulk_ids()) == ["a", "b%"]
        _, single = ask(fake, f"{PATH}/a")
        assert single["content"] == body["content"][0]
        assert ask(fake, f"{PATH}/b%25")[1]["content"]["bulkId"] == "b%"
        item = Asker(fake).get("a")
        assert item.state is State.RUNNING
        born = datetime.fromtimestamp(clock() - 5, UTC)
        assert (item.created_at - born).total_seconds() == 0
        assert (item.updated_at - born).total_seconds() == 4

    @pytest.mark.parametrize(
        ("form", "status", "inside"), [("http", 404, 404), ("body", 200, 404), ("content", 200, 200)]
    )
    def test_a_missing_bulk_is_told_in_three_forms(self, clock, form, status, inside):
        """However the provider says it, the adapter says NotFound."""
        fake = DruidFake(clock=clock, not_found=form)
        fake.add("b", DONE)
        fake.remove("b")
        assert fake.bulk_ids() == ()
        answered, body = ask(fake, f"{PATH}/b")
        assert (answered, body["result"]["status"]) == (status, inside)
        with pytest.raises(NotFound, match="not found or expired"):
            Asker(fake).get("b")


class TestResults:
    @pytest.mark.parametrize("last_id_in", ["top", "content", "result"])
    def test_all_pages_are_read(self, clock, last_id_in):
        """Every entry arrives once, wherever the cursor sits and however many empty pages come first."""
        fake = DruidFake(clock=clock, last_id_in=last_id_in)
        fake.add("b", DONE, users=230, failed=120, empty_pages=2)
        items, pages = Asker(fake).operations("b")
        assert ([item.sequence for item in items], pages) == (list(range(230)), 5)
        assert len({item.response for item in items}) == 230
        failed, pages = Asker(fake).operations("b", frozenset({"failed"}))
        assert (len(failed), pages) == (120, 4)
        assert {item.state for item in failed} == {State.FAILED}
        assert Asker(fake).get("b").state is State.PARTIAL

    @pytest.mark.parametrize(("failed", "state"), [(0, State.SUCCEEDED), (1, State.PARTIAL)])
    def test_empty_pages_decide_nothing(self, fake, failed, state):
        """A completed bulk is decided behind its empty pages."""
        fake.add("b", DONE, failed=failed, empty_pages=3)
        assert Asker(fake).get("b").state is state

    def test_cursors_look_like_uuid7(self, fake):
        """The cursor is a UUIDv7 in looks, absent on the last page."""
        fake.add("b", DONE, users=101)
        _, body = ask(fake, f"{PATH}/b/results")
        assert re.fullmatch(
            r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", body["lastId"]
        )
        _, body = ask(fake, f"{PATH}/b/results", {"last": body["lastId"]})
        assert len(body["content"]) == 1
        assert "lastId" not in body

    @pytest.mark.parametrize(
        "query",
        [
            {"limit": "0"},
            {"limit": "many"},
            {"last": "x"},
            {"last": "00000000-0000-7000-8000-000000000001"},
            {"failedOnly": "yes"},
        ],
    )
    def test_bad_parameters(self, fake, query):
        """A parameter that cannot be is a bad request."""
        fake.add("b", DONE)
        assert ask(fake, f"{PATH}/b/results", query)[0] == 400

    def test_a_refused_limit_is_left_out(self, fake):
        """A page refused once with a limit is had without one."""
        fake.add("b", DONE, users=150)
        fault = Fault(status=400, where="/results", times=1)
        fake.fail(fault)
        items, pages = Asker(fake).operations("b")
        assert (len(items), pages, fault.times) == (150, 2, 0)
        assert ["limit" in request.query for request in fake.requests[1:]] == [True, False, False]

    def test_results_before_the_end_are_empty(self, fake):
        """A bulk that is under way has no results yet."""
        fake.add("b", Life.of((0, "processing")), failed=5)
        assert Asker(fake).operations("b") == ([], 1)

    @pytest.mark.parametrize("form", ["http", "body", "content"])
    def test_forgotten_results_leave_success_unproven(self, clock, form):
        """With its results gone a completed bulk is unknown, in whichever form that is told."""
        fake = DruidFake(clock=clock, not_found=form)
        fake.add("b", DONE, failed=3)
        fake.forget_results("b")
        status = Asker(fake).get("b")
        assert (status.state, status.native_state) == (State.UNKNOWN, "completed")

    def test_forgotten_results_are_not_found(self, fake):
        """There is nothing to list once the results are gone."""
        fake.add("b", DONE)
        fake.forget_results("b")
        with pytest.raises(NotFound):
            Asker(fake).operations("b")


class TestDemo:
    def test_its_bulks_end_in_every_way(self, clock):
        """Within 15 seconds of birth the demo shows each end, and a word that nobody documented."""
        fake = DruidFake.demo(clock=clock)
        asker = Asker(fake)
        assert {item.native_state for item in asker.list()} == {"received"}
        seen = set()
        for _ in range(15):
            clock.advance(1)
            seen |= {item.native_state for item in asker.list()}
        assert seen == {"received", "scheduled", "processing", "completed", "failed", "archiving"}
        assert [asker.get(id).state for id in fake.bulk_ids()] == [
            State.SUCCEEDED,
            State.PARTIAL,
            State.FAILED,
            State.UNKNOWN,
        ]
        assert fake.bulk_ids()[:2] == (
            "019a0b1c-2d3e-7f40-8a51-62738495a6b7",
            "019a0a00-1111-7222-8333-444455556666",
        )
        assert asker.operations(fake.bulk_ids()[2]) == ([], 1)

    def test_it_runs_on_the_wall_clock_by_default(self):
        """Without a clock the demo lives in real time."""
        assert len(DruidFake.demo().bulk_ids()) == 4
