"""The language of scenarios: steps in Python and in TOML, what they come to, and what is said about those that cannot be."""

import re
import tomllib

import pytest

from bulkstatus.adapter import State
from bulkstatus.cli._fake import EXAMPLE
from bulkstatus.errors import ConfigError
from bulkstatus.testing import (
    BulkScript,
    Fakes,
    Fault,
    Scenario,
    SourceScript,
    cancelled,
    delayed,
    dropped,
    expired,
    failed,
    load_fake,
    outage,
    partial,
    paused,
    queued,
    refused,
    running,
    says,
    succeeded,
    throttled,
    vanished,
)
from bulkstatus.testing._play import part
from bulkstatus.testing._scenario import _step

WEAVR, CLOUDFLARE, DRUID = map(load_fake, ("weavr", "cloudflare", "druid"))
ID = "112233445566778899"


def scenario(*steps, more=""):
    """The text of a scenario with one bulk, a step a line from line 4 on."""
    lines = ",\n".join(f"  {step}" for step in steps)
    return f'[sources.payments]\nprovider = "weavr"\nbulks.{ID} = [\n{lines},\n]\n{more}'


PAIRS = [
    ('{ state = "queued", for = 2 }', queued(2)),
    ('{ state = "running", for = "1m30s", done = 4 }', running(90, done=4)),
    ('{ state = "paused", for = "0.5s" }', paused(0.5)),
    ('{ state = "succeeded" }', succeeded()),
    ('{ state = "partial", failed = 3 }', partial(failed=3)),
    ('{ state = "failed", for = 1 }', failed(1)),
    ('{ state = "cancelled", failed = 2 }', cancelled(failed=2)),
    ('{ state = "expired" }', expired()),
    ('{ word = "ARCHIVING", for = "2h" }', says("ARCHIVING", 7200)),
    ('{ vanish = "3s" }', vanished(3)),
    ("{ vanish = true }", vanished()),
    ("{ status = 429, retry_after = 1 }", throttled(retry_after=1)),
    ('{ status = 429, for = "8s" }', throttled(8)),
    ("{ status = 503, times = 2 }", outage(times=2)),
    ('{ status = 502, html = "<h1>down" }', outage(status=502, html="<h1>down")),
    ('{ status = 500, body = "é", for = 2, times = 3 }', Fault(status=500, body="é".encode(), seconds=2, times=3)),
    ("{ status = 401 }", refused()),
    ("{ drop = true }", dropped()),
    ('{ delay = "2s", for = 10 }', delayed(2, seconds=10)),
    ('{ status = 418, headers = { X-Pot = "tea" }, where = "/operations" }',
     Fault(status=418, headers={"X-Pot": "tea"}, where="/operations")),
]  # fmt: skip


@pytest.mark.parametrize(("text", "step"), PAIRS, ids=[text for text, _ in PAIRS])
def test_a_step_is_the_same_in_toml_and_in_python(text, step):
    """TOML is read into what the constructors make."""
    assert _step(tomllib.loads(f"step = {text}")["step"], 1) == step


def test_a_life_is_what_its_steps_say():
    """Times add up, trouble takes none, equal neighbours are one stage, a bulk that vanished has no word."""
    mine = part(
        WEAVR,
        [
            queued(2),
            running(10),
            throttled(retry_after=1),
            running(5),
            vanished(3),
            says("ODD", 2),
            outage(8),
            partial(failed=3),
        ],
    )
    assert [(stage.at, stage.word) for stage in mine.life.stages] == [
        (0, "SUBMITTED"),
        (2, "RUNNING"),
        (17, None),
        (20, "ODD"),
        (22, "PARTIALLY_COMPLETED"),
    ]
    assert [(fault.status, fault.after, fault.seconds, fault.times) for fault in mine.troubles] == [
        (429, 12, None, 1),
        (503, 22, 8, None),
    ]
    assert (mine.total, mine.failed) == (100, 3)


def test_time_passes_quicker_when_asked():
    """Every time of the scenario's own; not what the client is told, nor how long an answer takes."""
    fault = Fault(status=503, seconds=8, after=4, retry_after=2, delay=1)
    mine = part(WEAVR, [running(10), fault, succeeded()], speed=2)
    assert [stage.at for stage in mine.life.stages] == [0, 5]
    (begun,) = mine.troubles
    assert (begun.after, begun.seconds, begun.retry_after, begun.delay) == (7, 4, 2, 1)
    assert (fault.after, fault.seconds) == (4, 8)


@pytest.mark.parametrize(("total", "number"), [(None, 5), (2, 1), (1000, 50)])
def test_partial_without_a_number_has_some_that_fail(total, number):
    """At least one, and not all."""
    assert part(WEAVR, [partial()], total=total).failed == number


def test_a_bulk_that_failed_for_a_while_had_ended_nothing():
    """Its items end later, as its last step says; one that fails in the end needs no such thing."""
    mine = part(WEAVR, [failed(2), partial(failed=3)])
    assert [stage.done for stage in mine.life.stages] == [0, None]
    assert part(WEAVR, [failed()]).life.stages[0].done is None


def test_a_life_of_many_steps_is_read_in_one_go():
    """What was said of the end is looked up once, and not for each step."""
    reads = 0

    class Steps(list):
        def __reversed__(self):
            nonlocal reads
            reads += 1
            return super().__reversed__()

    part(WEAVR, Steps([failed(1)] * 500 + [succeeded()]))
    assert reads == 1


WRONG = [
    (WEAVR, [], {}, "a life needs a step that says what the bulk is"),
    (WEAVR, [outage()], {}, "a life needs a step"),
    (WEAVR, [running(), succeeded()], {}, "step 1: for how long?"),
    (WEAVR, [running(0), succeeded()], {}, "step 1: a step takes a number of seconds above 0, not 0"),
    (WEAVR, [running(float("nan")), succeeded()], {}, "step 1: a step takes"),
    (WEAVR, [running(1), vanished(), succeeded()], {}, "step 2: for how long?"),
    (WEAVR, [running(1), vanished(3)], {}, "step 2: the bulk comes back as what?"),
    (
        WEAVR,
        [expired()],
        {},
        "step 1: weavr has no word for 'expired'; its bulks can be queued, running, paused,",
    ),
    (CLOUDFLARE, [running(1), partial()], {}, "step 2: cloudflare has no word for 'partial'"),
    (CLOUDFLARE, [running(1, done=3), succeeded()], {}, "step 1: cloudflare tells no counts"),
    (CLOUDFLARE, [succeeded()], {"total": 3}, "cloudflare tells no counts"),
    (DRUID, [running(2, done=101), succeeded()], {}, "step 1: done = 101 of 100 items cannot be"),
    (
        WEAVR,
        [running(2), partial(failed=100)],
        {},
        "step 2: partial means that some items fail and some do not",
    ),
    (WEAVR, [partial(failed=0)], {}, "step 1: partial means"),
    (WEAVR, [partial()], {"total": 1}, "step 1: partial means"),
    (WEAVR, [partial()], {"total": -1}, "total is 0 to 1,000,000, not -1"),
    (WEAVR, [partial(1, failed=2), cancelled(failed=3)], {}, "step 2: failed = 3, and another step says 2"),
    (WEAVR, [cancelled(failed=101)], {}, "step 1: failed = 101 of 100 items cannot be"),
    (WEAVR, [partial(2), succeeded()], {}, "step 2: succeeded means that none fails, and 5 would"),
    (WEAVR, [partial(2), failed()], {}, "step 2: failed means that none succeeds, and 95 would"),
    (WEAVR, [Fault(), running()], {}, "step 1: what goes wrong?"),
    (WEAVR, [Fault(html="x", drop=True), running()], {}, "step 1: an answer in the place of the provider's"),
    (WEAVR, [outage(status=99), running()], {}, "step 1: status is 200 to 999, not 99"),
    (WEAVR, [outage(times=0), running()], {}, "step 1: times is 1 or more, not 0"),
    (WEAVR, [outage(times=-1), running()], {}, "step 1: times is 1 or more, not -1"),
    (WEAVR, [delayed(-1), running()], {}, "step 1: times are numbers of seconds"),
    (WEAVR, [delayed(1e300), running()], {}, "step 1: times are numbers of seconds, not below 0 and at most"),
    (WEAVR, [running(2e9), running(2e9, done=1), failed()], {}, "step 2: by its end the bulk would be older"),
    (
        WEAVR,
        [Fault(status=503, headers={"X\r\nY": "1"}), running()],
        {},
        r"step 1: 'X\\r\\nY' cannot be sent as a header",
    ),
    (
        WEAVR,
        [Fault(status=503, headers={"X": "\u20ac"}), running()],
        {},
        "step 1: 'X' cannot be sent as a header",
    ),
]


@pytest.mark.parametrize(("fake", "steps", "options", "why"), WRONG, ids=[why for *_, why in WRONG])
def test_steps_that_cannot_be_are_refused(fake, steps, options, why):
    """The error says which step, why, and what is possible."""
    with pytest.raises(ConfigError, match=re.escape(why)):
        part(fake, steps, **options)


RUNNING, DONE = '{ state = "running", for = "2s" }', '{ state = "succeeded" }'
ERRORS = [
    ("[sources.payments\n", "x.toml:1: not valid TOML"),
    ("[source.payments]\n", "x.toml: 'source' is not a section; did you mean 'sources'?"),
    ("\n", "x.toml: no sources; add a section such as [sources.payments]"),
    ('[sources."a b"]\nprovider = "weavr"', "x.toml:1: sources.a b: a source is named with letters"),
    ("[sources]\npayments = 3", "sources.payments: is not a section"),
    ("[sources.payments]\nbulks = {}", "x.toml:1: sources.payments: provider is missing"),
    ('[sources.payments]\nprovider = "wevr"', "x.toml:1: sources.payments: no fake is installed for provider 'wevr'"),
    ('[sources.payments]\nprovider = "weavr"\nbulk = 3', "sources.payments: 'bulk' is not a key of a source; did you mean 'bulks'?"),
    ('[sources.payments]\nprovider = "weavr"\nbulks = 3', "sources.payments: bulks is a table of lives"),
    ('[sources.payments]\nprovider = "weavr"\nbulks.abc = [{ state = "failed" }]',
     "x.toml:3: sources.payments.bulks.abc: 'abc' is no id of weavr (1 to 32 digits), such as 112233445566778899"),
    ('[sources.payments]\nprovider = "weavr"\n[sources.payments.bulks]\n1 = [{ state = "failed" }]\n2 = { lfe = 3 }',
     "x.toml:5: sources.payments.bulks.2: 'lfe' is not a key of a bulk; did you mean 'life'?"),
    ('[sources.payments]\nprovider = "weavr"\n[sources.payments.bulks.7]\nlife = []', "x.toml:3: sources.payments.bulks.7: life is a list of steps"),
    ('[sources.payments]\nprovider = "weavr"\nbulks.7 = { total = "3", life = [{ state = "failed" }] }', "bulks.7: total is a whole number"),
    (scenario(RUNNING, "3"), f"x.toml:3: sources.payments.bulks.{ID}: step 2: a step is a table"),
    (scenario(RUNNING, '{ state = "suceeded" }'), "x.toml:5: "),
    (scenario('{ state = "suceeded" }'), "step 1: 'suceeded' is not a state; did you mean 'succeeded'?"),
    (scenario('{ state = "paused", fro = 3 }', DONE), "x.toml:4: sources.payments.bulks.112233445566778899: step 1: 'fro' is not a key of a step; did you mean 'for'?"),
    (scenario('{ state = "paused", status = 503 }', DONE), "step 1: 'status' does not belong in a step with 'state'; put it into a step of its own"),
    (scenario('{ stat = "paused" }', DONE), "step 1: 'stat' is not a key of a step; did you mean 'state'?"),
    (scenario("{ for = 3 }", DONE), "step 1: it says neither what the bulk is"),
    (scenario('{ state = "running", for = "2 s" }', DONE), "step 1: for = '2 s' is not a duration"),
    (scenario(RUNNING, '{ status = "503" }', DONE), "x.toml:5: "),
    (scenario('{ status = "503" }', DONE), "step 1: status is a whole number"),
    (scenario("{ status = 503, headers = { Server = 3 } }", DONE), "step 1: headers is a table of texts"),
    (scenario("{ status = 503, after = true }", DONE), "step 1: after is a time, such as 2"),
    (scenario("{ vanish = [] }", DONE), 'step 1: vanish is a time, such as 2, "2s" or "3m"; or true, for good'),
    ("[sources.payments]\nprovider = 3", "provider is a text in quotes; write one such as"),
    (scenario(RUNNING, '{ state = "expired" }'), "x.toml:5: "),
    (scenario(DONE, more="trouble = 3"), "trouble is a list"),
    (scenario(DONE, more="trouble = [{ vanish = 3 }]"), "x.toml:6: sources.payments.trouble: step 1: 'vanish' is for the life of a bulk"),
    (scenario(DONE, more="trouble = [{ after = 3 }]"), "sources.payments.trouble: step 1: what goes wrong?"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "why"), ERRORS, ids=[f"{at}" for at in range(len(ERRORS))])
def test_a_file_that_is_wrong_is_refused_with_its_line(text, why, tmp_path):
    """File, line, source, bulk and step are named, and the nearest right word."""
    path = tmp_path / "x.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        Scenario.read(path)
    told = str(caught.value).replace(str(tmp_path) + "/", "")
    assert why in told
    assert told.isprintable()
    assert told.startswith("x.toml:")


def test_a_file_that_is_not_there_is_refused(tmp_path):
    """With the command that prints one."""
    with pytest.raises(
        ConfigError, match=r"there is no scenario at .*'bulkstatus fake --example' prints one"
    ):
        Scenario.read(tmp_path / "none.toml")


def test_a_scenario_in_python_is_that_of_the_file():
    """The same structs, whichever way they are made."""
    text = f"""
[sources.payments]
provider = "weavr"
trouble = [{{ status = 503, after = "5s", for = "8s" }}]
bulks.{ID} = {{ total = 40, life = [{{ state = "running", for = 3 }}, {{ state = "partial" }}] }}
"""
    bulk = BulkScript(life=(running(3), partial()), total=40)
    trouble = Fault(status=503, after=5, seconds=8)
    source = SourceScript(provider="weavr", bulks={ID: bulk}, trouble=(trouble,))
    assert Scenario.parse(text) == Scenario(sources={"payments": source})


def test_the_example_is_played_to_its_ends():
    """What the command prints can be read, and its bulks end as it says."""
    with Fakes(Scenario.parse(EXAMPLE)) as fakes:
        first, second, third = fakes.refs
        outcome = fakes.client.wait(fakes.refs, timeout=600)
        states = {ref: outcome[ref].status.state for ref in fakes.refs}
        assert states == {first: State.PARTIAL, second: State.PAUSED, third: State.SUCCEEDED}
        assert outcome[first].status.counts.failed == 3
        assert outcome[second].status.counts.succeeded == 40


def test_a_scenario_is_played_anew_each_time():
    """What struck in one play strikes in the next: its faults are not used up."""
    played = Scenario(
        sources={
            "edge": SourceScript(
                provider="cloudflare",
                bulks={"0" * 32: BulkScript(life=(outage(), succeeded()))},
                trouble=(throttled(retry_after=1),),
            )
        }
    )
    for _ in range(2):
        with Fakes(played) as fakes:
            assert fakes.client.get(fakes.refs[0]).state is State.SUCCEEDED
            assert len(fakes.requests["edge"]) == 3
