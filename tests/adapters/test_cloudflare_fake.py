"""The fake Cloudflare: it answers as documented, and the adapter understands it."""

import json

import pytest

from bulkstatus.adapter import Response, State
from bulkstatus.errors import AuthError, NotFound
from bulkstatus.testing import FakeRequest, Life, ManualClock, load_fake
from bulkstatus_cloudflare import Cloudflare
from bulkstatus_cloudflare.fake import CloudflareFake

BASE = "https://cloudflare.test/client/v4"
ACCOUNT = "023e105f4ecef8ad9ca31a8372d0c353"
BULKS = f"/client/v4/accounts/{ACCOUNT}/rules/lists/bulk_operations"
ID = "7be1c3f09a5d4e21b6c8d7f00a94e152"
BEARER = {"authorization": "Bearer cloudflare-demo-token"}


@pytest.fixture
def clock():
    """A clock that moves when told to."""
    return ManualClock()


@pytest.fixture
def fake(clock):
    """An account with one bulk, born now."""
    fake = CloudflareFake(clock=clock)
    fake.add(ID, Life.of((0, "pending"), (5, "running"), (60, "completed")))
    return fake


def ask(fake, path=f"{BULKS}/{ID}", headers=BEARER, method="GET"):
    """What the fake answers."""
    return fake.answer(FakeRequest(method=method, path=path, headers=headers))


def refusal(answer):
    """The status and the codes of an answer that is an error."""
    body = json.loads(answer.body)
    assert body["success"] is False
    return answer.status, [error["code"] for error in body["errors"]]


def look(fake, call, adapter=None):
    """Let the fake answer what the adapter asks, with the adapter's credentials."""
    auth = (adapter or fake.adapter(BASE)).auth()
    headers = {name.lower(): value for name, value in auth.headers().items()}
    answer = ask(fake, "/client/v4" + call.request.path, headers)
    return call.read(Response.now(answer.status, answer.body, answer.headers, source="edge"))


def test_it_is_found_by_its_word():
    """The fake is registered under the provider's word."""
    assert load_fake("cloudflare") is CloudflareFake
    assert (CloudflareFake.word, CloudflareFake.prefix) == ("cloudflare", "/client/v4")


def test_a_life(fake, clock):
    """A bulk goes through the words of its life, and has a time only when it has ended."""
    assert json.loads(ask(fake).body) == {
        "result": {"id": ID, "status": "pending"},
        "success": True,
        "errors": [],
        "messages": [],
    }
    clock.advance(5)
    assert json.loads(ask(fake).body)["result"] == {"id": ID, "status": "running"}
    clock.advance(600)
    ended = {"id": ID, "status": "completed", "completed": "2025-10-09T08:54:20Z"}
    assert json.loads(ask(fake).body)["result"] == ended


@pytest.mark.parametrize(
    ("error", "text"), [(None, "This list is at the maximum number of items"), ("why", "why")]
)
def test_a_failure(fake, error, text):
    """A failed bulk comes in an answer that succeeds, with its reason."""
    fake.add("f" * 32, Life.of((0, "failed")), error=error)
    answer = ask(fake, f"{BULKS}/{'f' * 32}")
    result = json.loads(answer.body)["result"]
    assert (answer.status, result["status"], result["error"]) == (200, "failed", text)
    assert "completed" in result


def test_removed_bulks_are_unknown(fake):
    """A bulk that is forgotten is answered like one that never was."""
    assert fake.bulk_ids() == (ID,)
    fake.remove(ID)
    fake.remove(ID)
    assert fake.bulk_ids() == ()
    assert refusal(ask(fake)) == (404, [7003])


@pytest.mark.parametrize(
    ("path", "method", "status", "codes"),
    [
        (f"{BULKS}/{'0' * 32}", "GET", 404, [7003]),
        (f"{BULKS}/", "GET", 400, [7003, 7000]),
        (BULKS, "GET", 400, [7003, 7000]),
        ("/elsewhere", "GET", 400, [7003, 7000]),
        (f"{BULKS}/{ID}", "POST", 400, [7003, 7000]),
        (f"{BULKS.replace(ACCOUNT, 'short')}/{ID}", "GET", 400, [7003, 7000]),
        (f"{BULKS.replace(ACCOUNT, 'a' * 32)}/{ID}", "GET", 403, [10000]),
    ],
)
def test_addresses_that_lead_nowhere(fake, path, method, status, codes):
    """Unknown bulks, other accounts and malformed paths have the codes that are reported for them."""
    assert refusal(ask(fake, path, method=method)) == (status, codes)


@pytest.mark.parametrize(
    ("headers", "status", "codes", "chain"),
    [
        ({}, 400, [9106], []),
        ({"x-auth-email": "ops@example.com"}, 400, [9106], []),
        ({"x-auth-key": "c" * 37}, 400, [9106], []),
        ({"authorization": "Bearer another-token"}, 403, [10000], []),
        ({"authorization": "Basic YTpi"}, 400, [6003], [6111]),
        ({"authorization": "Bearer 'quoted'"}, 400, [6003], [6111]),
        ({"authorization": "Bearer " + "c" * 37}, 400, [6003], [6111]),
        ({"authorization": "Bearer cfk_abc"}, 400, [6003], [6111]),
        ({"x-auth-email": "ops@example.com", "x-auth-key": "d" * 37}, 403, [10000], []),
        ({"x-auth-email": "dev@example.com", "x-auth-key": "c" * 37}, 403, [10000], []),
        ({"x-auth-email": "ops", "x-auth-key": "c" * 37}, 400, [6003], [6102]),
        ({"x-auth-email": "ops", "x-auth-key": "a-token"}, 400, [6003], [6102, 6103]),
    ],
)
def test_credentials_that_are_refused(fake, headers, status, codes, chain):
    """Missing, malformed and wrong credentials are told apart as Cloudflare does it."""
    answer = ask(fake, headers=headers)
    assert refusal(answer) == (status, codes)
    [error] = json.loads(answer.body)["errors"]
    assert [link["code"] for link in error.get("error_chain", [])] == chain


def test_the_short_form_of_a_refusal(fake):
    """The answer to a wrong token has neither messages nor a result."""
    assert set(json.loads(ask(fake, headers={"authorization": "Bearer x"}).body)) == {"success", "errors"}


@pytest.mark.parametrize("headers", [BEARER, {}])
def test_headers_of_every_answer(fake, headers):
    """Good answers and refusals have a ray, the limits and a cookie."""
    first, second = ask(fake, headers=headers), ask(fake, headers=headers)
    assert first.headers["cf-ray"] != second.headers["cf-ray"]
    assert first.headers["Content-Type"] == "application/json"
    assert first.headers["Ratelimit"].startswith('"default";r=1199;t=')
    assert second.headers["Ratelimit"].startswith('"default";r=1198;t=')
    assert first.headers["Ratelimit-Policy"] == '"default";q=1200;w=300'
    assert first.headers["Set-Cookie"].startswith("__cf_bm=")


def test_slashes_are_escaped(fake):
    """Slashes in JSON are escaped, as some services of Cloudflare do."""
    answer = ask(fake, f"{BULKS}/x")
    assert b"\\/accounts\\/" in answer.body
    assert f"/accounts/{ACCOUNT}/" in json.loads(answer.body)["errors"][0]["message"]


def test_its_adapter_is_accepted(fake, clock):
    """The adapter that the fake hands out reads it from the first word to the last."""
    adapter = fake.adapter(BASE)
    states = []
    for _ in range(3):
        states.append(look(fake, adapter.status(ID)).state)
        clock.advance(30)
    assert states == [State.QUEUED, State.RUNNING, State.SUCCEEDED]
    assert look(fake, adapter.probe()) is None
    with pytest.raises(NotFound):
        look(fake, adapter.status("nothing"))


def test_the_legacy_pair_is_accepted(fake):
    """Email and global key open the fake as a token does."""
    adapter = Cloudflare(account_id=ACCOUNT, email=fake.email, api_key=fake.api_key, base_url=BASE)
    assert look(fake, adapter.status(ID), adapter).state is State.QUEUED


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"token": "another-token"}, "Account Filter Lists Read"),
        ({"token": "c" * 37}, "token looks like a global key"),
        ({"account_id": "a" * 32, "token": "cloudflare-demo-token"}, "account_id"),
    ],
)
def test_what_the_adapter_says_of_refusals(fake, settings, says):
    """A wrong setting ends in an error that names it."""
    adapter = Cloudflare(**{"account_id": ACCOUNT, "base_url": BASE, **settings})
    for call in (adapter.status(ID), adapter.probe()):
        with pytest.raises(AuthError, match=says):
            look(fake, call, adapter)


def test_the_demo(clock):
    """The demo has one bulk that completes and one that fails, both over within 15 seconds."""
    fake = CloudflareFake.demo(clock=clock)
    adapter = fake.adapter(BASE)
    assert fake.bulk_ids() == (ID, "c04d5e6f718293a4b5c6d7e8f9012345")
    seen = {id: [] for id in fake.bulk_ids()}
    for _ in range(16):
        for id, states in seen.items():
            status = look(fake, adapter.status(id))
            if status.state not in states:
                states.append(status.state)
        clock.advance(1)
    assert list(seen.values()) == [
        [State.QUEUED, State.RUNNING, State.SUCCEEDED],
        [State.QUEUED, State.RUNNING, State.FAILED],
    ]
    assert status.error == "This list is at the maximum number of items"
