"""The base of all fakes: log, faults, lives and clocks; and the fakes that are installed."""

import json
import subprocess
import sys
import threading
import types

import httpx
import pytest

from bulkstatus import testing as door
from bulkstatus.errors import ConfigError
from bulkstatus.testing import (
    Fake,
    FakeRequest,
    FakeResponse,
    FakeTransport,
    Fault,
    Life,
    ManualClock,
    fake_names,
    load_fake,
)
from support import Empty

FOUND = {"x-answer": "yes"}


class Echo(Empty):
    """A provider that answers with what it was asked."""

    word = "echo"
    prefix = "/v4"

    def answer(self, request):
        return FakeResponse.json(
            {
                "method": request.method,
                "path": request.path,
                "query": request.query,
                "body": request.body.decode(),
            },
            headers=FOUND,
        )


def get(path="/v4/bulks", **fields):
    """A GET as a fake gets it."""
    return FakeRequest(method="GET", path=path, **fields)


def answered(fake, path="/v4/bulks"):
    """The status of the fake's next answer; None when the connection is dropped."""
    fault, reply = fake.receive(get(path))
    return None if fault is not None and fault.drop else reply().status


class TestDoor:
    """The module that test authors import from."""

    def test_all_names_exist(self):
        """`__all__` is what the door holds, no more and no less; its modules aside."""
        for name in door.__all__:
            getattr(door, name)
        public = {
            name
            for name, value in vars(door).items()
            if not name.startswith("_") and not isinstance(value, types.ModuleType)
        }
        assert set(door.__all__) == public - {"TYPE_CHECKING"}


class TestMessages:
    """Requests and answers as a fake knows them."""

    def test_a_form_is_read_from_the_body(self):
        """Escapes are decoded and empty values kept."""
        request = FakeRequest(
            method="POST", path="/t", body=b"grant_type=client_credentials&a=b%26c+d&empty="
        )
        assert request.form == {"grant_type": "client_credentials", "a": "b&c d", "empty": ""}
        assert get().form == {}

    def test_an_answer_in_json_says_so(self):
        """Status and more headers are as given."""
        response = FakeResponse.json({"a": [1, None]}, 201, {"Retry-After": "5"})
        assert (response.status, json.loads(response.body)) == (201, {"a": [1, None]})
        assert response.headers == {"Content-Type": "application/json", "Retry-After": "5"}
        assert FakeResponse.json([]).status == 200

    def test_a_content_type_can_be_set(self):
        """A provider with an odd content type can be played."""
        response = FakeResponse.json({}, headers={"Content-Type": "text/json"})
        assert response.headers == {"Content-Type": "text/json"}

    def test_an_answer_is_an_empty_200_by_default(self):
        """Nothing has to be said."""
        assert FakeResponse() == FakeResponse(status=200, body=b"", headers={})


class TestManualClock:
    """A clock that moves when told to."""

    def test_it_stands_still_until_moved(self):
        """Calling it changes nothing; advancing adds seconds."""
        clock = ManualClock(100.0)
        assert (clock(), clock(), clock.now) == (100.0, 100.0, 100.0)
        clock.advance(2.5)
        assert clock() == 102.5

    def test_it_begins_at_a_plausible_time(self):
        """Times made from it are believed."""
        assert 946_684_800 < ManualClock()() < 4_102_444_800


class TestLife:
    """The words of a bulk's life."""

    LIFE = Life.of((0, "pending"), (2, "running"), (5.5, "completed"))

    @pytest.mark.parametrize(
        ("age", "word", "since"),
        [
            (-1, "pending", 0),
            (0, "pending", 0),
            (1.9, "pending", 0),
            (2, "running", 2),
            (5.4, "running", 2),
            (5.5, "completed", 5.5),
            (1e9, "completed", 5.5),
        ],
    )
    def test_each_word_holds_from_its_second_to_the_next(self, age, word, since):
        """Before its birth a bulk has its first word, after its last step its last."""
        assert self.LIFE.word(age) == word
        assert self.LIFE.since(age) == since

    @pytest.mark.parametrize(
        ("words", "age"),
        [
            ({"running"}, 2),
            ({"completed", "failed"}, 5.5),
            ({"running", "completed"}, 2),
            ({"failed"}, None),
            (set(), None),
        ],
    )
    def test_the_first_of_some_words(self, words, age):
        """The age at which one of them comes, or None if none does."""
        assert self.LIFE.first(frozenset(words)) == age


class TestLog:
    """What a fake was asked."""

    def test_every_request_is_logged_in_order(self):
        """Also those that meet a fault."""
        fake = Echo()
        fake.fail(Fault(status=500, where="/b"))
        requests = [get("/a"), get("/b"), get("/c", query={"x": "1"}, headers={"accept": "y"})]
        for request in requests:
            fake.receive(request)
        assert fake.requests == requests

    def test_requests_of_many_threads_are_all_logged_and_take_each_fault_once(self):
        """The log and the faults can be shared."""
        fake = Echo()
        fake.fail(Fault(status=500, times=50))
        statuses = []

        def ask():
            statuses.extend(answered(fake) for _ in range(50))

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(fake.requests) == 200
        assert sorted(statuses) == [200] * 150 + [500] * 50

    def test_it_has_the_clock_it_was_given(self):
        """Fakes live on a clock that tests can move; demo takes one too."""
        clock = ManualClock()
        assert Echo(clock=clock).clock is clock
        assert Echo.demo(clock=clock).clock is clock
        assert Echo().clock() > 1_700_000_000


class TestFaults:
    """What goes wrong on demand."""

    def test_without_a_fault_the_fake_answers(self):
        """The answer is made when it is asked for, not before."""
        fault, reply = Echo().receive(get())
        assert fault is None
        assert json.loads(reply().body)["path"] == "/v4/bulks"

    def test_a_fault_strikes_once_by_default(self):
        """Then all is well again; `fail` gives the fault back."""
        fake, fault = Echo(), Fault(status=503, body=b"down", headers={"Retry-After": "2"})
        assert fake.fail(fault) is fault
        _, reply = fake.receive(get())
        assert reply() == FakeResponse(status=503, body=b"down", headers={"Retry-After": "2"})
        assert answered(fake) == 200

    def test_a_fault_strikes_as_often_as_it_says(self):
        """Three times is three times."""
        fake = Echo()
        fake.fail(Fault(status=500, times=3))
        assert [answered(fake) for _ in range(5)] == [500, 500, 500, 200, 200]

    def test_a_fault_without_a_number_strikes_until_it_is_healed(self):
        """None is for ever."""
        fake = Echo()
        fault = fake.fail(Fault(status=500, times=None))
        assert [answered(fake) for _ in range(10)] == [500] * 10
        fake.heal(fault)
        assert answered(fake) == 200

    def test_a_fault_strikes_where_it_says(self):
        """Only paths that contain `where` are touched, and only they count."""
        fake = Echo()
        fake.fail(Fault(status=500, where="/operations"))
        assert answered(fake, "/v4/bulks/1") == 200
        assert answered(fake, "/v4/bulks/1/operations") == 500
        assert answered(fake, "/v4/bulks/1/operations") == 200

    def test_faults_strike_one_after_another(self):
        """Of several that fit, the one given first goes first."""
        fake = Echo()
        fake.fail(Fault(status=429))
        fake.fail(Fault(status=500, times=2))
        assert [answered(fake) for _ in range(4)] == [429, 500, 500, 200]

    def test_healing_one_leaves_the_others(self):
        """The fault itself is meant, not one that looks like it."""
        fake = Echo()
        one = fake.fail(Fault(status=500, times=None))
        fake.fail(Fault(status=500, times=None))
        fake.heal(one)
        assert answered(fake) == 500
        fake.heal()
        assert answered(fake) == 200

    def test_healing_what_is_not_there_is_fine(self):
        """A fault that is gone is gone."""
        fake = Echo()
        fake.heal(Fault(status=500))
        fake.heal()
        assert answered(fake) == 200

    def test_a_fault_without_a_status_lets_the_answer_be(self):
        """It only slows it down; the caller is told, and waits."""
        fake = Echo()
        given = fake.fail(Fault(delay=3.0))
        fault, reply = fake.receive(get())
        assert fault is given
        assert reply().status == 200

    def test_a_dropped_connection_is_told(self):
        """The server or the transport closes it."""
        fake = Echo()
        fake.fail(Fault(drop=True))
        assert [answered(fake), answered(fake)] == [None, 200]


class TestInstalledFakes:
    """Fakes found by name."""

    def test_every_provider_of_ours_has_one(self):
        """They are named in order."""
        names = fake_names()
        assert {"cloudflare", "druid", "weavr"} <= set(names)
        assert list(names) == sorted(names)

    def test_naming_them_imports_nothing(self):
        """In a fresh interpreter the names are known before any fake is imported."""
        code = (
            "import sys; from bulkstatus.testing import fake_names; assert 'weavr' in fake_names(); "
            "assert not [name for name in sys.modules if name.startswith('bulkstatus_')]"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    @pytest.mark.parametrize("word", ["cloudflare", "druid", "weavr"])
    def test_a_fake_is_loaded_by_its_word(self, word):
        """It is a Fake of that word, and its demo has bulks."""
        loaded = load_fake(word)
        assert issubclass(loaded, Fake)
        assert loaded.word == word
        assert loaded.demo().bulk_ids()

    def test_a_word_without_a_fake_is_a_config_error(self):
        """The error names the fakes there are, and cuts what it was given."""
        with pytest.raises(ConfigError) as caught:
            load_fake("wevr\x1b" + "a" * 1_000_000)
        assert "weavr" in str(caught.value)
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 300

    @pytest.mark.parametrize(
        ("points", "why"),
        [
            (
                "odd = nowhere_at_all:Fake",
                "the fake 'odd' of strange 1.0 cannot be imported: ModuleNotFoundError",
            ),
            ("odd = json:loads", "the fake 'odd' of strange 1.0 is not a subclass of Fake with that word"),
            ("odd = bulkstatus_weavr.fake:WeavrFake", "is not a subclass of Fake with that word"),
            ("weavr = json:loads", "provider 'weavr' is claimed by bulkstatus"),
        ],
    )
    def test_a_broken_fake_hurts_only_itself(self, tmp_path, monkeypatch, points, why):
        """The error names its distribution; the others are there."""
        info = tmp_path / "strange-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: strange\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[bulkstatus.fakes]\n{points}\n")
        monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
        with pytest.raises(ConfigError, match=why):
            load_fake(points.partition(" ")[0])
        assert load_fake("druid").word == "druid"


@pytest.mark.anyio
class TestTransport:
    """A fake in process."""

    async def test_a_request_reaches_the_fake_of_its_address(self):
        """Method, path, query, lower-case headers and body arrive; the answer is the fake's."""
        fake, other = Echo(), Echo()
        transport = FakeTransport({"https://echo.test/v4": fake, "https://other.test:8443": other})
        async with httpx.AsyncClient(transport=transport) as client:
            reply = await client.post("https://echo.test/v4/t", data={"a": "b c"}, headers={"X-Key": "k"})
            await client.get("https://other.test:8443/", params={"q": "", "r": "1"})
        assert (reply.status_code, reply.headers["x-answer"]) == (200, "yes")
        assert reply.json()["path"] == "/v4/t"
        (request,) = fake.requests
        assert (request.method, request.form, request.headers["x-key"]) == ("POST", {"a": "b c"}, "k")
        assert other.requests[0].query == {"q": "", "r": "1"}
        assert other.requests[0].path == "/"

    async def test_the_path_stays_percent_encoded(self):
        """A fake sees what was sent, as over a socket."""
        fake = Echo()
        async with httpx.AsyncClient(transport=FakeTransport({"https://echo.test": fake})) as client:
            await client.get("https://echo.test/v4/a%2Fb/%2E%2E/c%20d?x=%2F")
        assert fake.requests[0].path == "/v4/a%2Fb/%2E%2E/c%20d"
        assert fake.requests[0].query == {"x": "/"}

    @pytest.mark.parametrize("url", ["https://nobody.test/v4", "https://echo.test:8443/v4"])
    async def test_another_address_is_an_unknown_host(self, url):
        """Nothing leaves the process, and no fake is asked."""
        fake = Echo()
        async with httpx.AsyncClient(transport=FakeTransport({"https://echo.test": fake})) as client:
            with pytest.raises(httpx.ConnectError):
                await client.get(url)
        assert fake.requests == []

    async def test_a_fault_answers_in_the_fakes_place(self):
        """Status, body and headers are those of the fault."""
        fake = Echo()
        fake.fail(Fault(status=429, body=b"slow", headers={"Retry-After": "7"}))
        async with httpx.AsyncClient(transport=FakeTransport({"https://echo.test": fake})) as client:
            reply = await client.get("https://echo.test/")
            again = await client.get("https://echo.test/")
        assert (reply.status_code, reply.content, reply.headers["retry-after"]) == (429, b"slow", "7")
        assert again.status_code == 200

    async def test_a_dropped_connection_is_a_read_error(self):
        """As when the other side goes away."""
        fake = Echo()
        fake.fail(Fault(drop=True))
        async with httpx.AsyncClient(transport=FakeTransport({"https://echo.test": fake})) as client:
            with pytest.raises(httpx.ReadError):
                await client.get("https://echo.test/")
        assert len(fake.requests) == 1

    async def test_a_delay_comes_before_the_answer_is_made(self, monkeypatch):
        """The fake waits as long as told, on the event loop, and then answers for the time it is then."""
        clock = ManualClock(0.0)
        fake = Echo(clock=clock)
        fake.answer = lambda request: FakeResponse.json(clock())

        async def sleep(seconds):
            clock.advance(seconds)

        monkeypatch.setattr("bulkstatus.testing._transport.anyio.sleep", sleep)
        fake.fail(Fault(delay=3.0))
        async with httpx.AsyncClient(transport=FakeTransport({"https://echo.test": fake})) as client:
            assert (await client.get("https://echo.test/")).json() == 3.0
            assert (await client.get("https://echo.test/")).json() == 3.0

    async def test_a_body_is_still_to_be_read(self):
        """A reader that streams gets the bytes as from a network."""
        fake = Echo()
        transport = FakeTransport({"https://echo.test": fake})
        async with (
            httpx.AsyncClient(transport=transport) as client,
            client.stream("GET", "https://echo.test/v4") as reply,
        ):
            assert not reply.is_stream_consumed
            assert json.loads(await reply.aread())["path"] == "/v4"
