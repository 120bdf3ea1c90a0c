"""The fake OpenAI: it answers as documented, and the adapter understands it."""

import json

import pytest

from bulkstatus.adapter import ListQuery, Response, State
from bulkstatus.errors import AuthError, NotFound
from bulkstatus.testing import FakeRequest, Life, ManualClock, Stage, load_fake
from bulkstatus_openai import OpenAI
from bulkstatus_openai.fake import OpenAIFake

BASE = "https://openai.test/v1"
ID = "batch_67c4cbe3b79881908feda6cb417cea47"
BEARER = {"authorization": "Bearer openai-demo-key"}
BORN = 1_760_000_000
WHOLE = Life.of((0, "validating"), (10, "in_progress"), (110, "finalizing"), (120, "completed"))


@pytest.fixture
def clock():
    """A clock that moves when told to."""
    return ManualClock(float(BORN))


@pytest.fixture
def fake(clock):
    """A project without batches."""
    return OpenAIFake(clock=clock)


def ask(fake, path="/batches", headers=BEARER, method="GET", **query):
    """What the fake answers."""
    return fake.answer(FakeRequest(method=method, path=f"/v1{path}", query=query, headers=headers))


def told(fake, path="/batches", **query):
    """The JSON of an answer that is a 200."""
    answer = ask(fake, path, **query)
    assert answer.status == 200
    return json.loads(answer.body)


def refusal(answer):
    """The status, and the error that its body holds."""
    [error] = json.loads(answer.body).values()
    assert list(error) == ["message", "type", "param", "code"]
    assert error["type"] == "invalid_request_error"
    return answer.status, error["param"], error["code"]


def send(fake, call, adapter=None):
    """What the adapter makes of the fake's answer."""
    made = (adapter or fake.adapter(BASE)).auth().headers()
    headers = {name.lower(): value for name, value in made.items()}
    answer = ask(fake, call.request.path, headers, **dict(call.request.query))
    return call.read(Response.now(answer.status, answer.body, answer.headers, provider="openai"))


def test_the_fake_is_found_by_name():
    """The entry point leads to it."""
    assert load_fake("openai") is OpenAIFake
    assert (OpenAIFake.word, OpenAIFake.prefix) == ("openai", "/v1")


def test_a_batch_has_the_documented_members(fake):
    """All of them, whether or not they are set; https://developers.openai.com/api/reference/resources/batches."""
    fake.place(ID, WHOLE)
    assert sorted(told(fake, f"/batches/{ID}")) == [
        *("cancelled_at", "cancelling_at", "completed_at", "completion_window", "created_at", "endpoint"),
        *("error_file_id", "errors", "expired_at", "expires_at", "failed_at", "finalizing_at", "id"),
        *(
            "in_progress_at",
            "input_file_id",
            "metadata",
            "object",
            "output_file_id",
            "request_counts",
            "status",
        ),
    ]


def test_a_life(fake, clock):
    """Times are set as it comes to each word; counts are zeros at first, and then grow."""
    fake.place(ID, WHOLE, total=10, failed=2)
    seen = []
    for seconds in (0, 10, 50, 50, 10):
        clock.advance(seconds)
        members = told(fake, f"/batches/{ID}")
        times = [name for name, value in members.items() if name.endswith("_at") and value is not None]
        seen.append((members["status"], tuple(members["request_counts"].values()), times[2:]))
    assert seen == [
        ("validating", (0, 0, 0), []),
        ("in_progress", (10, 0, 0), ["in_progress_at"]),
        ("in_progress", (10, 5, 0), ["in_progress_at"]),
        ("finalizing", (10, 8, 2), ["in_progress_at", "finalizing_at"]),
        ("completed", (10, 8, 2), ["in_progress_at", "finalizing_at", "completed_at"]),
    ]
    assert (members["created_at"], members["completed_at"]) == (BORN, BORN + 120)
    assert members["expires_at"] == BORN + 86_400
    assert members["output_file_id"].startswith("file-")
    assert members["error_file_id"].startswith("file-")


@pytest.mark.parametrize(
    ("word", "counts", "files"),
    [
        ("completed", (10, 9, 1), (True, True)),
        ("failed", (0, 0, 0), (False, False)),
        ("expired", (10, 4, 1), (True, True)),
        ("cancelled", (10, 4, 1), (True, True)),
    ],
)
def test_the_ends(fake, word, counts, files):
    """A refused file runs nothing; what expires or is cancelled leaves the results of what had ended."""
    fake.place(ID, Life.of((0, word)), total=10, failed=1)
    members = told(fake, f"/batches/{ID}")
    assert tuple(members["request_counts"].values()) == counts
    assert (members["output_file_id"] is not None, members["error_file_id"] is not None) == files
    assert (members["errors"] is not None) is (word == "failed")
    assert [members[f"{each}_at"] for each in ("completed", "failed", "expired", "cancelled")].count(
        BORN
    ) == 1


def test_one_whose_requests_all_failed_has_no_output(fake):
    """It is `completed` all the same, and the adapter calls it failed."""
    fake.place(ID, Life.of((0, "completed")), total=9, failed=9)
    assert told(fake, f"/batches/{ID}")["output_file_id"] is None
    assert send(fake, fake.adapter(BASE).status(ID)).state is State.FAILED


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, None),
        ({"authorization": "Bearer other"}, "invalid_api_key"),
        ({"authorization": "openai-demo-key"}, "invalid_api_key"),
        ({**BEARER, "openai-organization": "org-other"}, "mismatched_organization"),
        ({**BEARER, "openai-project": "proj_other"}, "mismatched_project"),
    ],
)
def test_credentials_that_are_refused(fake, headers, code):
    """A 401 that says which, and not the whole key."""
    assert refusal(ask(fake, headers=headers)) == (401, None, code)


def test_a_wrong_key_is_shown_by_its_ends(fake):
    """As users report it; the adapter shows nothing of it."""
    key = "openai-other-key-that-is-long"
    body = ask(fake, headers={"authorization": f"Bearer {key}"}).body
    assert b"openai-o********long" in body
    with pytest.raises(AuthError) as caught:
        send(fake, fake.adapter(BASE).probe(), OpenAI(api_key=key))
    assert "openai-o" not in str(caught.value)


def test_the_adapter_it_gives_is_let_in(fake):
    """The settings it names reach it, with the ids of its organization and project too."""
    assert send(fake, fake.adapter(BASE).probe()).items == ()
    named = OpenAI(api_key=fake.api_key, organization=fake.organization, project=fake.project)
    assert send(fake, named.probe(), named).items == ()


@pytest.mark.parametrize(
    ("path", "method", "code"),
    [
        ("/batches/batch_none", "GET", None),
        ("/batches/a%20b", "GET", None),
        ("/files", "GET", "unknown_url"),
        ("/batches/a/b", "GET", "unknown_url"),
        ("/batches", "POST", "unknown_url"),
    ],
)
def test_what_is_not_there_is_a_404(fake, path, method, code):
    """A batch and an address are told apart by the code alone."""
    assert refusal(ask(fake, path, method=method)) == (404, None, code)


def test_a_batch_that_goes(fake, clock):
    """A stage without a word is not there, and not in the list."""
    fake.place(ID, Life.of((0, "in_progress"), (5, None)))
    clock.advance(6)
    assert told(fake)["data"] == []
    with pytest.raises(NotFound) as caught:
        send(fake, fake.adapter(BASE).status(ID))
    assert caught.value.request_id.startswith("req_")


class TestList:
    """https://developers.openai.com/api/reference/resources/batches/methods/list."""

    @pytest.fixture
    def fake(self, fake):
        """A project with 25 batches, the later ones with the higher numbers."""
        for number in range(25):
            fake.place(f"batch_{number}", WHOLE)
        return fake

    def test_it_is_the_newest_first_and_20_long(self, fake):
        """The default of `limit`."""
        page = told(fake)
        assert [row["id"] for row in page["data"]] == [f"batch_{number}" for number in range(24, 4, -1)]
        assert (page["object"], page["first_id"], page["last_id"]) == ("list", "batch_24", "batch_5")
        assert page["has_more"] is True

    def test_a_page_follows_a_batch(self, fake):
        """`after` names the last one of the page before; the last page has no more."""
        page = told(fake, after="batch_5", limit="5")
        assert [row["id"] for row in page["data"]] == ["batch_4", "batch_3", "batch_2", "batch_1", "batch_0"]
        assert page["has_more"] is False

    def test_new_batches_shift_no_page(self, fake):
        """A cursor is a place, not a number of rows."""
        fake.place("batch_new", WHOLE)
        assert told(fake, after="batch_5", limit="1")["first_id"] == "batch_4"

    def test_an_empty_page(self, fake):
        """After the last batch, and with a limit of 0 (which the documentation leaves out)."""
        for query in ({"after": "batch_0"}, {"limit": "0"}):
            page = told(fake, **query)
            assert (page["data"], page["first_id"], page["last_id"]) == ([], None, None)
            assert page["has_more"] is False

    @pytest.mark.parametrize(
        ("query", "error"),
        [
            ({"limit": "101"}, (400, "limit", "integer_above_max_value")),
            ({"limit": "-1"}, (400, "limit", "integer_below_min_value")),
            ({"limit": "ten"}, (400, "limit", "invalid_type")),
            ({"after": "batch_none"}, (404, "after", None)),
        ],
    )
    def test_bad_questions(self, fake, query, error):
        """They name the parameter."""
        assert refusal(ask(fake, **query)) == error

    def test_the_adapter_reads_all_of_it(self, fake):
        """Page by page, each batch once."""
        adapter = fake.adapter(BASE)
        for number in range(25, 230):
            fake.place(f"batch_{number}", WHOLE)
        [call] = adapter.listing(ListQuery())
        ids, pages = [], 0
        while call is not None:
            page = send(fake, call)
            ids += [row.id for row in page.items]
            call, pages = page.next, pages + 1
        assert ids == [f"batch_{number}" for number in range(229, -1, -1)]
        assert pages == 3


@pytest.mark.parametrize("state", OpenAIFake.states)
def test_its_words_are_read_as_the_states_they_are_named_for(fake, state):
    """Whoever scripts a state gets it, with failures where the word alone does not say it."""
    failed = 3 if state is State.PARTIAL else 0
    fake.place(ID, Life.of((0, fake.states[state])), total=10, failed=failed)
    assert send(fake, fake.adapter(BASE).status(ID)).state is state


def test_a_stage_can_say_how_far_it_is(fake):
    """Where the time is not to decide."""
    fake.place(ID, Life.of(Stage(0, "in_progress", 7)), total=10)
    assert told(fake, f"/batches/{ID}")["request_counts"] == {"total": 10, "completed": 7, "failed": 0}


def test_the_demo_ends_in_four_ways(clock):
    """Within 15 seconds."""
    fake = OpenAIFake.demo(clock=clock)
    clock.advance(15)
    found = [send(fake, fake.adapter(BASE).status(id)).state for id in fake.bulk_ids()]
    assert found == [State.PARTIAL, State.FAILED, State.EXPIRED, State.CANCELLED]
    assert all(OpenAI.id_grammar.fits(id) for id in fake.bulk_ids())
