"""The fakes, read by code that is not ours: the providers' own clients see on a socket what our adapters see.

https://github.com/openai/openai-python and https://github.com/cloudflare/cloudflare-python, both told to hold every
answer against the provider's own schema.
"""

import os
from datetime import UTC, datetime

import cloudflare
import openai
import pytest

from bulkstatus import Client, Policy
from bulkstatus.errors import AuthError, NotFound, RateLimited
from bulkstatus.testing import Fault, Life, ManualClock, serve
from bulkstatus_cloudflare.fake import CloudflareFake
from bulkstatus_openai import OpenAI
from bulkstatus_openai.fake import OpenAIFake

NOW = 1_760_000_000.0
ONCE = Policy(attempts=1)
THROTTLED = Fault(status=429, headers={"Retry-After": "30", "Content-Type": "application/json"}, times=None)


@pytest.fixture(autouse=True)
def _nobodys_settings(monkeypatch):
    """Both clients read their settings from the environment too."""
    for name in os.environ:
        if name.startswith(("OPENAI_", "CLOUDFLARE_")):
            monkeypatch.delenv(name)


@pytest.fixture
def url(fake):
    """Where the fake of a class is served."""
    with serve(fake) as url:
        yield url


def moment(seconds):
    """A time of OpenAI's as the library has it."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


class TestOpenAI:
    """Batches, as `openai` reads them."""

    LIVES = (
        ((0, "validating"),),
        ((0, "validating"), (10, "in_progress"), (1000, "completed")),
        ((0, "validating"), (10, "in_progress"), (200, "finalizing")),
        ((0, "validating"), (10, "in_progress"), (200, "finalizing"), (300, "completed")),
        ((0, "validating"), (10, "failed")),
        ((0, "validating"), (10, "in_progress"), (400, "expired")),
        ((0, "validating"), (10, "in_progress"), (200, "cancelling")),
        ((0, "validating"), (10, "in_progress"), (200, "cancelling"), (300, "cancelled")),
    )

    @pytest.fixture
    def fake(self):
        """A batch in each word, one more with failed requests, and one of which all failed."""
        clock = ManualClock(NOW)
        fake = OpenAIFake(clock=clock)
        for number, life in enumerate(self.LIVES):
            fake.place(fake.bulk_id(number), Life.of(*life), total=120, failed=number % 2)
        fake.place("batch_some", Life.of((0, "completed")), total=9, failed=4)
        fake.place("batch_none", Life.of((0, "completed")), total=9, failed=9)
        clock.advance(500.0)
        return fake

    @pytest.fixture
    def theirs(self, url, fake):
        """The official client."""
        with openai.OpenAI(
            api_key=fake.api_key, base_url=url, max_retries=0, _strict_response_validation=True
        ) as client:
            yield client

    @pytest.fixture
    def ours(self, url, fake):
        """A client of this library."""
        with Client({"o": fake.adapter(url)}, policy=ONCE) as client:
            yield client

    def test_they_agree_on_every_batch(self, fake, theirs, ours):
        """On the word, all times, the counts and the errors; and the schema knows every member that the fake sends."""
        words = set()
        for id in fake.bulk_ids():
            batch, status = theirs.batches.retrieve(id), ours.get(f"o:{id}")
            assert batch.model_extra == {}
            assert (batch.id, batch.status, batch.endpoint) == (id, status.native_state, status.action)
            self.compare_times(batch, status)
            self.compare_counts(batch.request_counts, status)
            told = batch.errors.data if batch.errors else []
            assert (status.error is not None) == bool(told)
            assert all(error.message in status.error for error in told)
            words.add(batch.status)
        assert len(words) == 8

    def compare_times(self, batch, status):
        """Each end in its own field, and whichever of them is set is ours."""
        assert moment(batch.created_at) == status.created_at
        assert moment(batch.in_progress_at) == status.started_at
        ends = [batch.completed_at, batch.failed_at, batch.expired_at, batch.cancelled_at]
        [end] = [each for each in ends if each is not None] or [None]
        assert moment(end) == status.finished_at
        steps = [batch.created_at, batch.in_progress_at, batch.finalizing_at, batch.cancelling_at, end]
        assert moment(max(filter(None, steps))) == status.updated_at

    def compare_counts(self, counts, status):
        """Zeros before anything ran are not counts."""
        if status.counts is None:
            assert (counts.total, counts.completed, counts.failed) == (0, 0, 0)
        else:
            ours = status.counts
            assert (counts.total, counts.completed, counts.failed) == (
                ours.total,
                ours.succeeded,
                ours.failed,
            )

    def test_they_agree_on_the_list(self, fake, theirs, ours):
        """Its order, and that it is complete: the official client turns the pages itself."""
        newest_first = list(fake.bulk_ids())[::-1]
        assert [batch.id for batch in theirs.batches.list(limit=3)] == newest_first
        assert [batch.id for batch in theirs.batches.list()] == newest_first
        report = ours.list()
        assert report.complete
        assert sorted(status.id for status in report) == sorted(newest_first)

    def test_they_agree_that_there_is_none(self, theirs, ours):
        """A 404, with the same request id in the same place."""
        with pytest.raises(openai.NotFoundError) as theirs_caught:
            theirs.batches.retrieve("batch_nobody")
        with pytest.raises(NotFound) as ours_caught:
            ours.get("o:batch_nobody")
        assert theirs_caught.value.status_code == ours_caught.value.status == 404
        assert theirs_caught.value.body["message"] == ours_caught.value.detail
        assert theirs_caught.value.request_id.startswith("req_")
        assert ours_caught.value.request_id.startswith("req_")

    @pytest.mark.parametrize(
        "wrong", [{"api_key": "S3CR3T-not-the-key"}, {"organization": "org-other"}, {"project": "proj_other"}]
    )
    def test_they_agree_on_refused_credentials(self, url, fake, wrong):
        """A wrong key, or a right one with the id of another organization or project; the code is the same."""
        settings = {"api_key": fake.api_key, "base_url": url, **wrong}
        with (
            openai.OpenAI(max_retries=0, **settings) as theirs,
            pytest.raises(openai.AuthenticationError) as refused,
        ):
            theirs.batches.retrieve("batch_some")
        with Client({"o": OpenAI(**settings)}, policy=ONCE) as ours, pytest.raises(AuthError) as caught:
            ours.get("o:batch_some")
        assert refused.value.code == caught.value.code

    def test_they_agree_on_the_headers_that_say_who_asks(self, url, fake):
        """Organization and project are sent in the same headers, and let in."""
        settings = {
            "api_key": fake.api_key,
            "base_url": url,
            "organization": fake.organization,
            "project": fake.project,
        }
        before = len(fake.requests)
        with openai.OpenAI(max_retries=0, **settings) as theirs:
            theirs.batches.retrieve("batch_some")
        with Client({"o": OpenAI(**settings)}, policy=ONCE) as ours:
            ours.get("o:batch_some")
        one, two = fake.requests[before:]
        names = ("authorization", "openai-organization", "openai-project")
        assert one.path == two.path
        assert [one.headers[name] for name in names] == [two.headers[name] for name in names]

    def test_they_agree_on_being_throttled(self, fake, theirs, ours):
        """And on how long to wait."""
        fault = fake.fail(THROTTLED)
        try:
            with pytest.raises(openai.RateLimitError) as throttled:
                theirs.batches.retrieve("batch_some")
            with pytest.raises(RateLimited) as caught:
                ours.get("o:batch_some")
        finally:
            fake.heal(fault)
        assert float(throttled.value.response.headers["retry-after"]) == caught.value.retry_after == 30.0


class TestCloudflare:
    """Bulk operations on lists, as `cloudflare` reads them."""

    @pytest.fixture
    def fake(self):
        """A bulk in each word."""
        clock = ManualClock(NOW)
        fake = CloudflareFake(clock=clock)
        for number, word in enumerate(("pending", "running", "completed", "failed")):
            fake.place(fake.bulk_id(number), Life.of((0, "pending"), (10 + number, word)))
        clock.advance(100.0)
        return fake

    @pytest.fixture
    def ask(self, url, fake):
        """The official client's call, with the fake's credentials or others."""

        def get(id, *, account_id=fake.account_id, **credentials):
            settings = credentials or {"api_token": fake.token}
            with cloudflare.Cloudflare(
                base_url=url, max_retries=0, _strict_response_validation=True, **settings
            ) as client:
                return client.rules.lists.bulk_operations.get(id, account_id=account_id)

        return get

    @pytest.fixture
    def ours(self, url, fake):
        """A client of this library."""
        with Client({"c": fake.adapter(url)}, policy=ONCE) as client:
            yield client

    def test_they_agree_on_every_bulk(self, fake, ask, ours):
        """On the word, the time of the end and the error; and the schema knows every member that the fake sends."""
        words = []
        for id in fake.bulk_ids():
            bulk, status = ask(id), ours.get(f"c:{id}")
            assert bulk.model_extra == {}
            assert (bulk.id, bulk.status) == (id, status.native_state)
            ended = getattr(bulk, "completed", None)
            assert (None if ended is None else datetime.fromisoformat(ended)) == status.finished_at
            assert getattr(bulk, "error", None) == status.error
            words.append(bulk.status)
        assert words == ["pending", "running", "completed", "failed"]

    def test_they_agree_that_there_is_none(self, ask, ours):
        """A 404, with the same code."""
        id = "0" * 32
        with pytest.raises(cloudflare.NotFoundError) as missing:
            ask(id)
        with pytest.raises(NotFound) as caught:
            ours.get(f"c:{id}")
        assert missing.value.status_code == caught.value.status
        assert [str(error.code) for error in missing.value.errors] == [caught.value.code]

    def test_they_agree_on_refused_credentials(self, url, fake, ask):
        """A wrong token is a 403 with one code."""
        wrong = "S3CR3T-not-the-token"
        id = fake.bulk_id(0)
        with pytest.raises(cloudflare.PermissionDeniedError) as refused:
            ask(id, api_token=wrong)
        adapter = type(fake.adapter(url))(account_id=fake.account_id, token=wrong, base_url=url)
        with Client({"c": adapter}, policy=ONCE) as ours, pytest.raises(AuthError) as caught:
            ours.get(f"c:{id}")
        assert [str(error.code) for error in refused.value.errors] == [caught.value.code]

    def test_they_agree_on_the_global_key(self, url, fake, ask):
        """Both send it in the same two headers, with the address of its owner."""
        id = fake.bulk_id(3)
        pair = {"email": fake.email, "api_key": fake.api_key}
        before = len(fake.requests)
        theirs = ask(id, api_email=fake.email, api_key=fake.api_key)
        adapter = type(fake.adapter(url))(account_id=fake.account_id, base_url=url, **pair)
        with Client({"c": adapter}, policy=ONCE) as ours:
            assert ours.get(f"c:{id}").native_state == theirs.status
        one, two = fake.requests[before:]
        assert one.path == two.path
        for name in ("x-auth-email", "x-auth-key"):
            assert one.headers[name] == two.headers[name]

    def test_they_agree_on_being_throttled(self, fake, ask, ours):
        """And on how long to wait."""
        fault = fake.fail(THROTTLED)
        try:
            with pytest.raises(cloudflare.RateLimitError) as throttled:
                ask(fake.bulk_id(0))
            with pytest.raises(RateLimited) as caught:
                ours.get(f"c:{fake.bulk_id(0)}")
        finally:
            fake.heal(fault)
        assert float(throttled.value.response.headers["retry-after"]) == caught.value.retry_after == 30.0
