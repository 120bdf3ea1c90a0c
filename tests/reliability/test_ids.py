"""Ids that are none, and answers about another id."""

from typing import ClassVar

import pytest

from answers import DONE, REFS, RUNNING, command, config, providers, record, using
from bulkstatus import Journal, Policy, PollPolicy, State, Verdict
from bulkstatus.adapter import BulkStatus, Call, IdGrammar, ListQuery, Page, Request
from bulkstatus.cli import main
from bulkstatus.errors import BulkStatusError, ConfigError, ProtocolError
from support import Caseless, Plain

row = pytest.mark.row

NO_IDS = {
    "B01": "",
    "B02": " ",
    "B03": "1" * 300,
    "B04": "1" * 70_000,
    "B05": ".",
    "B06": "..",
    "B07": "../admin",
    "B08": "a/b",
    "B09": "a%2fb",
    "B10": "%2e%2e",
    "B11": "a?x=1",
    "B12": "a#f",
    "B13": "a;b",
    "B14": "a\\b",
    "B15": "//evil.test/x",
    "B16": "https://evil.test",
    "B17": "a\r\nX: y",
    "B18": "1\x00",
    "B19": "\x1b[31m",
    "B20": "1\u202e",
    "B21": "\uff11\uff12\uff13",
    "B22": "-rf",
}
CASES = [pytest.param(id, id=number, marks=row(number)) for number, id in NO_IDS.items()]
# What stands in a segment of a path as it is. A grammar may still refuse it; one that does not may send it.
HARMLESS = ("a;b", "-rf")


class Loose(Plain, frozen=True, kw_only=True):
    """A stranger's adapter whose grammar lets everything pass, and that writes its paths and headers by hand."""

    id_grammar: ClassVar[IdGrammar] = IdGrammar(r"(?s:.*)", "anything")

    def status(self, id):
        """The call, as nobody should write it."""
        read = super().status("a1").read
        request = Request(base_url=self.base_url, path=f"/bulks/{id}", headers=(("X-Bulk", id),))
        return Call(request, read)


def sources(world):
    """Our adapters, and the stranger's."""
    return {**world.adapters, "loose": Loose(base_url=f"{world.url}/loose")}


@pytest.mark.parametrize("id", CASES)
def test_nothing_is_asked_about_what_is_no_id(id, kind, transport):
    """A ConfigError from everything that takes a reference, in one short harmless line, before a single request."""

    def ask(call):
        for name in world.adapters | ({} if id in HARMLESS else {"loose": None}):
            if name == "plain" and id == "-rf":
                continue  # its grammar has ids that begin with a hyphen
            ref = f"{name}:{id}"
            for method, given in (
                ("get", ref),
                ("get_many", [f"{name}:1", ref]),
                ("wait", [ref]),
                ("operations", ref),
                ("track", [ref]),
            ):
                with pytest.raises(ConfigError) as caught:
                    call(method, given)
                assert len(str(caught.value)) < 700
                assert str(caught.value).isprintable()

    with providers(lambda name, _: record(name)) as world:
        using(kind, sources(world), ask)
    assert world.fake.requests == []


@row("B13", "B22")
@pytest.mark.parametrize("id", HARMLESS)
def test_what_a_loose_grammar_lets_pass_is_one_segment(id, kind, transport):
    """`;` and a hyphen in front change no path: the provider is asked for just that."""

    class Plainly(Plain, frozen=True, kw_only=True):
        id_grammar: ClassVar[IdGrammar] = Loose.id_grammar

    def ask(call):
        with pytest.raises(ProtocolError):
            call("get", f"loose:{id}")

    with providers(lambda _name, _: record("plain")) as world:
        using(kind, {"loose": Plainly(base_url=f"{world.url}/loose")}, ask)
    assert world.fake.paths() == [f"/loose/bulks/{id.replace(';', '%3B')}"]


@row("B13")
def test_an_id_and_a_cursor_are_sent_as_they_were_written(kind, transport):
    """No transport writes them in another way: what is encoded stays so, in the path and in the query."""
    pages = [
        rb'{"result":{"status":200},"content":[{"a":1}],"lastId":"x/y:z=;&+ \u00e9"}',
        b'{"result":{"status":200},"content":[]}',
    ]

    def ask(call):
        assert len(call("operations", "druid:d:7~x")) == 1

    with providers(lambda _name, _: pages.pop(0)) as world:
        using(kind, world.adapters, ask)
    (_, first, second) = world.fake.requests
    assert first.path == second.path == "/druid/activityid/v1/user/bulk/d%3A7~x/results"
    assert second.query == {"limit": "100", "last": "x/y:z=;&+ \u00e9"}


WRITTEN_BY_HAND = {
    "B06": "/bulks/..",
    "B07": "/bulks/../admin",
    "B09": "/bulks/a%2fb/../c",
    "B11": "/bulks/a?x=1",
    "B12": "/bulks/a#f",
    "B14": "/bulks/a b",
    "B16": "@evil.test/x",
    "B17": "/bulks/a\r\nX: y",
    "B18": "/bulks/a\x00",
    "B19": "/bulks/\x1b[31m",
    "B21": "/bulks/\uff11",
}


@pytest.mark.parametrize(
    "path", [pytest.param(path, id=number, marks=row(number)) for number, path in WRITTEN_BY_HAND.items()]
)
def test_a_path_that_leads_elsewhere_is_not_sent(path, kind, transport):
    """Where an adapter writes it by hand, the engine holds the URL that would come of it against what was written."""

    class ByHand(Plain, frozen=True, kw_only=True):
        def status(self, id):
            return Call(Request(base_url=self.base_url, path=path), super().status(id).read)

    def ask(call):
        with pytest.raises(BulkStatusError) as caught:
            call("get", "plain:a1")
        assert caught.value.kind in ("config", "protocol")
        assert str(caught.value).isprintable()

    with providers(lambda name, _: record(name)) as world:
        using(kind, {"plain": ByHand(base_url=world.url)}, ask, policy=Policy(attempts=1))
    assert world.fake.requests == []


@row("B17", "B18", "B19")
@pytest.mark.parametrize("value", ["a\r\nX: y", "a\nX: y", "a\x00", "a\u202e"])
def test_a_header_that_is_two_is_not_sent(value, kind, transport):
    """Whatever an adapter puts into one, it stays one or is not sent."""

    class Heading(Plain, frozen=True, kw_only=True):
        def status(self, id):
            request = Request.to(self.base_url, "bulks", id, headers={"X-Bulk": value})
            return Call(request, super().status(id).read)

    def ask(call):
        with pytest.raises(BulkStatusError) as caught:
            call("get", "plain:a1")
        assert caught.value.kind in ("config", "protocol")

    with providers(lambda name, _: record(name)) as world:
        using(kind, {"plain": Heading(base_url=f"{world.url}/plain")}, ask, policy=Policy(attempts=1))
    assert world.fake.requests == []


@pytest.mark.parametrize("id", CASES)
@pytest.mark.unrecorded
def test_the_command_line_refuses_what_is_no_id(id, tmp_path, monkeypatch, capsys):
    """Exit code 2, one line on stderr without a control character, nothing on stdout, not one request."""
    monkeypatch.setenv("BULKSTATUS_TEST_KEY", "k")
    with providers(lambda name, _: record(name)) as world:
        file = str(config(world.url, tmp_path))
        for name in ("weavr", "cloudflare", "druid"):
            for words in (["get"], ["wait", "--timeout", "5"], ["operations"], ["explain"]):
                if (words, name) == (["operations"], "cloudflare"):
                    continue
                code = main([*words, f"{name}:{id}", "--config", file])
                said = capsys.readouterr()
                assert (code, said.out) == (2, "")
                assert said.err.rstrip("\n").isprintable()
                assert "is not a bulk id here" in said.err or "is not a reference" in said.err
    assert world.fake.requests == []


@row("B06", "B08", "B17", "B18", "B19", "B22")
@pytest.mark.unrecorded
def test_a_process_of_the_command_line_refuses_them(tmp_path):
    """As an argument and on stdin: 2, and not one request."""
    with providers(lambda name, _: record(name)) as world:
        file = config(world.url, tmp_path)
        for words, stdin in (
            (["get", "-rf"], b""),
            (["get", "druid:..", "cloudflare:a/b", "--no-journal"], b""),
            (["get", "druid:a\x1b[31m", "--no-journal"], b""),
            (["get", "-", "--no-journal"], b"weavr:7\r\nX: y\r\n"),
            (["get", "-", "--no-journal"], b"weavr:7\0x\0"),
        ):
            done = command(file, *words, stdin=stdin)
            assert (done.code, done.out) == (2, ""), words
            assert done.err
            assert all(line.isprintable() for line in done.err.splitlines())
    assert world.fake.requests == []


# --- answers about another bulk ---

ANOTHER = {
    "weavr": b'{"bulkId":"8","status":"COMPLETED"}',
    "cloudflare": b'{"success":true,"result":{"id":"c8","status":"completed"}}',
    "druid": b'{"content":{"bulkId":"d8","status":"completed"}}',
    "plain": b'{"id":"a2","status":"done"}',
}
# Nothing that these providers publish says that case does not matter.
OTHER_CASE = {
    "cloudflare": b'{"success":true,"result":{"id":"C7","status":"completed"}}',
    "druid": b'{"content":{"bulkId":"D7","status":"completed"}}',
    "plain": b'{"id":"A1","status":"done"}',
}


@row("B101")
@pytest.mark.parametrize("answers", [ANOTHER, OTHER_CASE], ids=["another", "another case"])
def test_an_answer_about_another_bulk_is_none(answers, kind, transport, tmp_path):
    """No state is concluded from it, by whatever is asked, and the journal hears of neither bulk."""

    def ask(call):
        refs = [REFS[name] for name in answers]
        for ref in refs:
            with pytest.raises(ProtocolError) as caught:
                call("get", ref)
            assert caught.value.reason in ("id_mismatch", "adapter")
            assert not caught.value.retryable
        report = call("get_many", refs)
        assert (report.statuses, {failure.kind for failure in report.failures}) == ((), {"protocol"})
        outcome = call("wait", refs, timeout=0.3)
        assert outcome.verdicts == dict.fromkeys(refs, Verdict.BLIND)

    journal = tmp_path / "j.db"
    with providers(lambda name, _: answers[name]) as world:
        chosen = {name: world.adapters[name] for name in answers}
        using(kind, chosen, ask, journal=journal)
    with Journal(journal) as kept:
        assert (kept.changes(), list(kept.all_bulks())) == ((), [])


@row("B101")
def test_the_command_line_could_not_look_at_another_bulk(tmp_path):
    """Exit code 7, both ids named, no state on stdout."""
    with providers(lambda name, _: {**ANOTHER, **OTHER_CASE}[name]) as world:
        shown = command(
            config(world.url, tmp_path), "get", "weavr:7", "cloudflare:c7", "druid:d7", "-o", "name"
        )
    assert (shown.code, shown.out) == (7, "")
    for asked, got in (("7", "8"), ("c7", "C7"), ("d7", "D7")):
        assert f"asked about {asked}, answered about {got}" in shown.err


@row("B101")
def test_where_case_does_not_matter_the_answer_is_taken(kind, transport, tmp_path):
    """An adapter that says so gets the bulk, under the id as its provider writes it."""

    def ask(call):
        assert call("get", "plain:a1").id == "A1"
        assert [status.id for status in call("get_many", ["plain:a1"])] == ["A1"]
        assert call("wait", ["plain:a1"], timeout=20).verdicts == {"plain:a1": Verdict.SUCCEEDED}
        assert [status.id for status in call("list", tracked=True)] == ["A1"]

    with providers(lambda name, _: OTHER_CASE[name]) as world:
        using(kind, {"plain": Caseless(base_url=f"{world.url}/plain")}, ask, journal=tmp_path / "j.db")


class Lists(Plain, frozen=True, kw_only=True):
    """One that has a list, too: the rows are what `rows` say, all running."""

    id_grammar: ClassVar[IdGrammar] = IdGrammar(r"[A-Za-z0-9-]{1,32}", "letters, digits and hyphens")
    rows_per_page: ClassVar[int | None] = None
    rows: tuple[str, ...] = ()

    def listing(self, query: ListQuery):
        """All in one answer."""

        def read(response):
            return Page(
                items=tuple(
                    BulkStatus(
                        source=response.source,
                        provider=self.provider,
                        id=id,
                        state=State.RUNNING,
                        native_state="running",
                        observed_at=response.received_at,
                    )
                    for id in self.rows
                )
            )

        return (Call(Request.to(self.base_url, "bulks"), read),)


@row("B101")
def test_a_row_in_another_case_is_not_the_bulk_that_was_asked_for(kind, transport, tmp_path):
    """Whoever asked for a bulk that could not be read has not asked for its neighbours whose ids differ in case."""

    def ask(call):
        with pytest.raises(ProtocolError):
            call("get", "plain:aB")
        assert [status.id for status in call("list")] == ["Ab", "AB"]
        assert [bulk.id for bulk in call("tracked")] == []
        call("track", ["plain:aB"])
        call("list")
        assert [bulk.id for bulk in call("tracked")] == ["aB"]

    with providers(lambda name, _: record(name)) as world:
        adapter = Lists(base_url=f"{world.url}/plain", rows=("Ab", "AB"))
        using(kind, {"plain": adapter}, ask, journal=tmp_path / "j.db")


class Followed(Lists, frozen=True, kw_only=True):
    """One that may be looked at again at once."""

    poll_floor: ClassVar[float] = 0.02


@row("B06", "B08", "B17")
def test_what_a_list_calls_an_id_is_not_asked_for_either(kind, transport):
    """A row with an impossible id is left out, and the list says so; whoever follows all bulks follows the others."""
    ids = ("..", "a/b", "a\r\nX: y", "a1")
    looks = []

    def answer(name, request):
        looks.append(request.path)
        return record(name, word=DONE[name] if len(looks) > 3 else RUNNING[name])

    def ask(call):
        listed = call("list")
        assert [status.id for status in listed] == ["a1"]
        assert [failure.reason for failure in listed.failures] == ["left_out"]
        often = PollPolicy(base=0.02, floor=0.02)
        changes = call("watch", polling=often, timeout=30, last=lambda change: change.verdict is not None)
        assert {change.ref for change in changes} - {None} == {"plain:a1"}

    with providers(answer) as world:
        using(kind, {"plain": Followed(base_url=f"{world.url}/plain", rows=ids)}, ask)
    assert set(world.fake.paths()) == {"/plain/bulks", "/plain/bulks/a1"}
