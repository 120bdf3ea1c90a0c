"""What providers answer that no adapter knows: counted for each source, by every client, and shown without a person in it."""

import json

import pytest

from bulkstatus import AsyncClient, Client, ConfigError, Journal, JournalError, ProtocolError, State
from bulkstatus.testing import FakeResponse, Life, serve
from bulkstatus_cloudflare.fake import CloudflareFake
from bulkstatus_druid.fake import DruidFake
from bulkstatus_weavr.fake import WeavrFake
from journal.looks import rows
from support import Plain, Scripted

SECRET = "S3CR3T-drift-token-7c1f"
PERSON, IBAN = "jane.doe@example.com", "GB29NWBK60161331926819"


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """A busy disk is waited for: how long an answer waits for it is of no interest here."""
    monkeypatch.setattr("bulkstatus._recorder._MOMENT", 30.0)
    monkeypatch.setattr("bulkstatus._recorder._READING", 30.0)


def answering(*records):
    """A plain provider that answers with these, one after another; the last again and again."""
    left = list(records)

    def respond(_):
        record = left.pop(0) if len(left) > 1 else left[0]
        return record if isinstance(record, FakeResponse) else FakeResponse.json(record)

    return Scripted(respond)


def seen(drift):
    """What is told, by source, kind, place and sample, and how often."""
    return {(one.source, one.kind, one.where, one.sample): one.count for one in drift}


def test_a_word_of_the_demo_is_counted_where_there_is_a_journal_and_where_there_is_none(tmp_path):
    """Over a socket: by `get`, by `list` and in a wait, once for each answer."""
    fake = WeavrFake()
    for id in "12":
        fake.add(id, Life.of((0, "ARCHIVING")))
    with serve(fake) as url:
        for journal in (tmp_path / "journal.db", None):
            with Client({"payments": fake.adapter(url)}, journal=journal) as client:
                client.get("payments:1")
                client.list()
                (one,) = client.drift()
            assert (one.source, one.provider, one.kind) == ("payments", "weavr", "word")
            assert (one.where, one.sample, one.count) == ("weavr bulk", "ARCHIVING", 2)
            assert one.pin == 'state_map.ARCHIVING = "running"'
            assert one.first_seen <= one.last_seen
        with Journal(tmp_path / "journal.db") as journal:
            assert seen(journal.drift()) == {("payments", "word", "weavr bulk", "ARCHIVING"): 2}


def test_counts_of_clients_that_come_one_after_another_add_up(tmp_path):
    """Also of one that only closes: what it has not written yet is written then."""
    fake = answering({"id": "a1", "status": "ARCHIVING"})
    with serve(fake) as url:
        for _ in range(3):
            with Client({"s": Plain(base_url=url)}, journal=tmp_path / "journal.db") as client:
                client.get("s:a1")
                with pytest.raises(ProtocolError):
                    client.get("s:a2")  # an answer about another bulk, which is recorded nowhere
    with Journal(tmp_path / "journal.db") as journal:
        assert seen(journal.drift()) == {("s", "word", "plain bulk", "ARCHIVING"): 6}


def test_a_strangers_adapter_is_counted_without_its_help():
    """`Plain` knows nothing of drift; an answer on a thread, since it is large, counts too."""
    large = {"id": "a1", "status": "ARCHIVING", "padding": "x" * 600_000}
    fake = answering({"id": "a1", "status": "ARCHIVING"}, large, {"id": "a1", "status": "running"})
    with serve(fake) as url, Client({"s": Plain(base_url=url)}) as client:
        states = [client.get("s:a1").state for _ in range(3)]
        assert states == [State.UNKNOWN, State.UNKNOWN, State.RUNNING]
        assert seen(client.drift()) == {("s", "word", "plain bulk", "ARCHIVING"): 2}


@pytest.mark.parametrize("pins", [{"ARCHIVING": "queued"}, {"archiving": "paused"}])
def test_a_pin_ends_it(tmp_path, pins):
    """What was counted before is not shown any more, and nothing new is counted."""
    fake = WeavrFake()
    fake.add("1", Life.of((0, "ARCHIVING")), operations=3)
    with serve(fake) as url:
        plain = fake.adapter(url)
        pinned = type(plain)(
            base_url=plain.base_url, api_key=plain.api_key, auth_token=plain.auth_token, state_map=pins
        )
        with Client({"payments": plain}, journal=tmp_path / "journal.db") as client:
            client.get("payments:1")
            assert len(client.drift()) == 1
        with Client({"payments": pinned}, journal=tmp_path / "journal.db") as client:
            assert str(client.get("payments:1", fresh=True).state) == next(iter(pins.values()))
            list(client.operations("payments:1"))
            assert client.drift() == ()
        with Client({"payments": pinned}) as client:
            client.get("payments:1")
            assert client.drift() == ()
        with Journal(tmp_path / "journal.db") as journal:
            assert [one.count for one in journal.drift()] == [1]


def test_an_answer_that_ends_in_an_error_counts(tmp_path):
    """A bulk of another id, with a new field beside it."""
    odd = {"bulkId": "2", "status": "RUNNING", "retryPolicy": {"of": PERSON}}
    with serve(answering(odd)) as url:
        adapter = WeavrFake().adapter(url)
        with Client({"payments": adapter}, journal=tmp_path / "journal.db") as client:
            with pytest.raises(ProtocolError):
                client.get("payments:1")
            size = len(json.dumps(odd["retryPolicy"]))
            sample = f"retryPolicy (object, {size} bytes)"
            assert seen(client.drift()) == {("payments", "field", "Process", sample): 1}


def test_no_credential_and_no_person_is_in_a_sample(tmp_path):
    """Neither in what is given, nor in the journal's file, wherever a provider puts them."""
    records = [
        {"id": "a1", "status": f"HELD for {SECRET}"},
        {"id": "a1", "status": f"by {PERSON}"},
        {"id": "a1", "status": "x" * 70 + SECRET},
        {"id": "a1", "status": "OF tok-7c1f"},
    ]
    rich = {
        "bulkId": "1",
        "status": "RUNNING",
        "executionStart": f"{PERSON} {IBAN}",
        "executionFinish": SECRET,
        "mode": f"{SECRET} {IBAN}",
        PERSON: 1,
        SECRET: {"iban": IBAN},
        "payee": PERSON,
    }
    path = tmp_path / "journal.db"
    with serve(answering(*records)) as plain, serve(answering(rich)) as weavr:
        adapters = {
            "s": Plain(base_url=plain, token=SECRET),
            "w": type(WeavrFake().adapter(weavr))(base_url=weavr, api_key="k" * 20, auth_token=SECRET),
        }
        with Client(adapters, journal=path) as client:
            for ref in ("s:a1", "s:a1", "s:a1", "w:1"):
                client.get(ref, fresh=True)
            told = client.drift()
        # One as short as this stays in answers, where it may stand by chance.
        with Client(adapters | {"s": Plain(base_url=plain, token="tok-7c1f")}) as client:
            client.get("s:a1")
            client.get("w:1")
            alone = client.drift()
    assert {(one.kind, one.where, one.sample) for one in told} == {
        ("word", "plain bulk", "HELD for ***"),
        ("word", "plain bulk", "aa aaaa.aaa@aaaaaaa.aaa"),
        ("word", "plain bulk", "x" * 70 + "***"),
        ("word", "weavr mode", "*** AA99AAAA99999999999999"),
        ("time", "executionStart", "aaaa.aaa@aaaaaaa.aaa AA99AAAA99999999999999"),
        ("time", "executionFinish", "***"),
        ("field", "Process", "aaaa.aaa@aaaaaaa.aaa (number)"),
        ("field", "Process", f"*** (object, {len(json.dumps({'iban': IBAN}))} bytes)"),
        ("field", "Process", f"payee (text, {len(PERSON) + 2} bytes)"),
    }
    assert {one.sample for one in told if one.pin} == {"HELD for ***", "x" * 70 + "***"}
    ours = {(one.source, one.sample) for one in told if one.source == "w"}
    assert {(one.source, one.sample) for one in alone} == {*ours, ("s", "OF ***")}
    kept = repr(rows(path, "SELECT * FROM drift"))
    for text in (SECRET, PERSON, IBAN):
        assert text not in kept


def test_what_a_token_was_fetched_for_is_in_no_sample():
    """Nor is the token: a provider that repeats either shows `***`."""
    records = [
        {"access_token": "T" * 8},
        {"id": "a1", "status": "OF plain-secret"},
        {"id": "a1", "status": "T" * 8},
    ]
    with serve(answering(*records)) as url, Client({"s": Plain(base_url=url, token_url=url)}) as client:
        client.get("s:a1")
        client.get("s:a1", fresh=True)
        assert [one.sample for one in client.drift()] == ["***", "OF ***"]


def test_what_is_documented_is_no_drift():
    """Everything that the providers document is read, or named as unread: their fakes tell nothing new."""
    weavr, cloudflare, druid = WeavrFake(), CloudflareFake(), DruidFake()
    for number, word in enumerate(("SUBMITTED", "RUNNING", "PAUSED", "COMPLETED", "FAILED", "CANCELLED"), 1):
        weavr.add(str(number), Life.of((0, word)), operations=3)
    for number, word in enumerate(("pending", "running", "completed", "failed")):
        cloudflare.add(
            f"{number:032x}", Life.of((0, word)), **({"error": "full"} if word == "failed" else {})
        )
    for word in ("received", "scheduled", "processing", "completed", "failed"):
        druid.add(word, Life.of((0, word)), users=3)
    with serve(weavr) as w, serve(cloudflare) as c, serve(druid) as d:
        adapters = {"w": weavr.adapter(w), "c": cloudflare.adapter(c), "d": druid.adapter(d)}
        with Client(adapters) as client:
            found = client.list(sources=["w", "d"])
            refs = [str(status.ref) for status in found] + [f"c:{number:032x}" for number in range(4)]
            assert len(client.get_many(refs).statuses) == len(refs) == 15
            for ref in ("w:4", "d:completed"):
                assert list(client.operations(ref))
            client.check()
            assert client.drift() == ()


def test_documented_answers_reach_nothing_that_counts(monkeypatch):
    """What is done for drift is done for what is odd: elsewhere none of it is called."""
    calls = []
    for place in ("_states.unknown_word", "_times.unreadable_time", "_drift.new_fields"):
        monkeypatch.setattr(f"bulkstatus.{place}", lambda *words, **more: calls.append(words))
    monkeypatch.setattr("bulkstatus._engine._Line._pass_on", lambda *words: calls.append(words))
    test_what_is_documented_is_no_drift()
    assert calls == []


@pytest.mark.parametrize(
    ("fake", "source", "body", "told"),
    [
        (
            CloudflareFake,
            "edge:" + "a" * 32,
            {
                "success": True,
                "errors": [],
                "messages": [],
                "took": 3,
                "result": {"id": "a" * 32, "status": "completed", "completed": 1, "error_count": 0},
            },
            {
                ("field", "envelope", "took (number)"),
                ("field", "result", "error_count (number)"),
                ("time", "completed", "9"),
            },
        ),
        (
            DruidFake,
            "crm:d-1",
            {
                "trace": "t",
                "result": {"status": 200, "message": "OK", "lang": "en"},
                "content": {"bulkId": "d-1", "status": "MERGING", "createdOn": True, "owner": PERSON},
            },
            {
                ("field", "envelope", "trace (text, 3 bytes)"),
                ("field", "result", "lang (text, 4 bytes)"),
                ("field", "bulk", f"owner (text, {len(PERSON) + 2} bytes)"),
                ("time", "createdOn", "boolean"),
                ("word", "druid bulk", "MERGING"),
            },
        ),
        (
            WeavrFake,
            "payments:1",
            {"bulkId": "1", "status": "RUNNING", "mode": "ON_FAILURE_ASK", "executionStart": 17},
            {("word", "weavr mode", "ON_FAILURE_ASK"), ("time", "executionStart", "99")},
        ),
    ],
    ids=["cloudflare", "druid", "weavr"],
)
def test_our_adapters_say_what_is_new(fake, source, body, told):
    """In the places where each of them has its own reading."""
    name = source.partition(":")[0]
    fakes = fake()

    class Odd(type(fakes)):
        def answer(self, request):
            return super().answer(request) if "token" in request.path else FakeResponse.json(body)

    odd = Odd()
    with serve(odd) as url, Client({name: odd.adapter(url)}) as client:
        client.get(source)
        assert {(one.kind, one.where, one.sample) for one in client.drift()} == told


class Counting(Journal):
    """A journal that knows how often it was written."""

    written = 0

    def record(self, answers, **more):
        self.written += 1
        return super().record(answers, **more)


def test_counting_costs_no_commit_of_its_own(tmp_path, monkeypatch):
    """It is written with what is recorded, else from time to time, and at the end."""
    odd = FakeResponse.json({"count": 0, "responseCount": 0, "operations": [], "took": 3})

    class Odd(WeavrFake):
        def answer(self, request):
            return odd if "operations" in request.path else super().answer(request)

    fake, journal = Odd(), Counting(tmp_path / "journal.db")
    fake.add("1", Life.of((0, "RUNNING")), operations=1)
    with serve(fake) as url, journal:
        monkeypatch.setattr("bulkstatus._recorder._SAME", 3_600.0)
        with Client({"w": fake.adapter(url)}, journal=journal) as client:
            for _ in range(5):
                assert list(client.operations("w:1")) == []
            assert journal.written == 0
            client.get("w:1")  # a step, and five counts
            assert journal.written == 1
            assert [one.count for one in journal.drift()] == [5]
            monkeypatch.setattr("bulkstatus._recorder._SAME", -1.0)  # that time is over
            assert list(client.operations("w:1")) == []
            client.untrack(["w:9"])  # done behind all that was to be written
            assert [one.count for one in journal.drift()] == [6]
            assert journal.written == 2
            monkeypatch.setattr("bulkstatus._recorder._SAME", 3_600.0)
            assert list(client.operations("w:1")) == []
        assert [one.count for one in journal.drift()] == [7]
        assert journal.written == 3


@pytest.mark.anyio
async def test_what_cannot_be_told_is_an_error(tmp_path):
    """Nobody shall take silence for nothing new: a journal that cannot be read, and a source that there is not."""
    adapters = {"s": Plain(base_url="http://127.0.0.1:9")}
    async with AsyncClient(adapters) as client:
        with pytest.raises(ConfigError, match="no source"):
            await client.drift(sources=["t"])
        assert await client.drift(sources=["s"]) == ()
    path = tmp_path / "journal.db"
    path.touch(mode=0o600)
    path.write_text("no journal " * 100)
    client = AsyncClient(adapters, journal=path)
    with pytest.raises(RuntimeError, match="open"):
        await client.drift()
    async with client:
        with pytest.raises(JournalError, match="not a journal"):
            await client.drift()
