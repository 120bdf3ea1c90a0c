"""`bulkstatus fake`: scenarios served by a real process, and asked by the command line and by plain HTTP."""

import errno
import http.client
import json
import os
import re
import signal
import stat
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from bulkstatus import Client
from bulkstatus.testing import Scenario
from support import held_port

SCENARIO = """
[sources.payments]
provider = "weavr"

[sources.payments.bulks]
1 = [{ status = 429, retry_after = 7 }, { state = "partial", failed = 3 }]
2 = [{ state = "running", for = "2h" }, { state = "succeeded" }]

[sources.edge]
provider = "cloudflare"
bulks.7be1c3f09a5d4e21b6c8d7f00a94e152 = [{ state = "running", for = "0.2s" }, { state = "succeeded" }]

[sources.crm]
provider = "druid"
trouble = [{ status = 503, html = "<h1>down</h1>", where = "/anything" }]
"""


@pytest.fixture
def scenario(tmp_path):
    """A scenario of three providers, as a file."""
    path = tmp_path / "scenario.toml"
    path.write_text(SCENARIO)
    return path


@pytest.fixture
def serving(process):
    """Start the command and read the lines that name its sources; the process, and those lines as records."""

    def start(*words, sources):
        child = process("fake", *map(str, words), "-o", "jsonl")
        records = [json.loads(child.stdout.readline()) for _ in range(sources)]
        return child, {record["source"]: record for record in records}

    return start


def ask(url, path, method="GET", headers=None):
    """What a plain client gets."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=20)
    connection.request(method, parts.path + path, headers=headers or {})
    reply = connection.getresponse()
    found = reply.status, dict(reply.headers), reply.read()
    connection.close()
    return found


def test_a_scenario_is_served_to_any_tool(serving, scenario, tmp_path, run):
    """The configuration that it writes reaches it; its log tells every request and no credential; Ctrl-C ends it."""
    config = tmp_path / "fakes.toml"
    child, sources = serving(scenario, "--write-config", config, "--log", sources=3)
    assert sources["payments"] == {
        "source": "payments",
        "provider": "weavr",
        "base_url": sources["payments"]["base_url"],
        "refs": ["payments:1", "payments:2"],
    }
    assert stat.S_IMODE(config.stat().st_mode) == 0o600
    status, headers, _ = ask(sources["payments"]["base_url"], "/bulks/1", headers={"api-key": "S3CR3T-sent"})
    assert (status, headers["Retry-After"]) == (429, "7")
    assert ask(sources["crm"]["base_url"], "/anything")[::2] == (503, b"<h1>down</h1>")
    assert ask(sources["crm"]["base_url"], "/anything?limit=5&api_key=S3CR3T")[0] == 404
    refs = [ref for source in sources.values() for ref in source["refs"]]
    done = run("get", *refs, "--config", config, "--no-journal", "-o", "json", BULKSTATUS_CONFIG=None)
    states = {f"{row['source']}:{row['id']}": row["state"] for row in json.loads(done.out)["statuses"]}
    assert done.code == 0, done.err
    assert (states["payments:1"], states["payments:2"]) == ("partial", "running")
    done = run("wait", refs[2], "--config", config, "--no-journal", "-o", "name", "--timeout", "60s")
    assert (done.code, done.out) == (0, f"{refs[2]}\n")
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=60)
    assert (child.returncode, out) == (130, "")
    lines = err.splitlines()
    assert all(re.match(r"\d\d:\d\d:\d\d (payments|edge|crm) GET /", line) for line in lines)
    assert (
        "payments GET /multi/bulks/1 -> 429 (accept-encoding: identity, api-key: ***, host: 127.0.0.1:"
        in lines[0]
    )
    assert "GET /anything?limit=5&api_key=*** -> 404" in err
    assert not re.search("S3CR3T|-demo-", err)


def test_time_can_be_made_to_pass_quicker(serving, scenario, run, tmp_path):
    """Two hours in 8 ms, less than any client needs to begin; a termination ends it as the other commands."""
    config = tmp_path / "fakes.toml"
    child, _ = serving(scenario, "--speed", "900000", "--write-config", config, sources=3)
    done = run("get", "payments:2", "--config", config, "--no-journal", "--exit-status")
    assert done.code == 0, done.out + done.err
    child.terminate()
    assert child.communicate(timeout=60) == ("", "")
    assert child.returncode == 143


def test_a_provider_is_served_by_its_word(process):
    """Its demo, at the port that was asked for, as a table."""
    with held_port() as port:
        child = process("fake", "weavr", "--port", str(port))
        header, row = child.stdout.readline(), child.stdout.readline()
        assert header.split() == ["SOURCE", "PROVIDER", "BASE", "URL", "BULKS"]
        assert row.split() == ["weavr", "weavr", f"http://127.0.0.1:{port}/multi", "6"]
        assert ask(row.split()[2], "/bulks")[0] == 401
        child.terminate()
        assert child.wait(60) == 143


def test_what_is_asked_is_answered_while_it_serves(here, scenario, tmp_path, monkeypatch):
    """The same in this process: a table of the sources on a terminal or not, the file, the log."""
    config, states = tmp_path / "fakes.toml", []

    def ask():
        with Client.from_config(config) as client:
            states.append(client.get("payments:2").state)

    monkeypatch.setattr("bulkstatus.cli._fake._wait_for_a_signal", ask)
    monkeypatch.setattr("bulkstatus.cli._fake.on_terminal", lambda: True)
    done = here("fake", scenario, "--write-config", config, "--log")
    assert (done.code, states) == (0, ["running"])
    assert [line.split()[:2] for line in done.out.splitlines()[1:]] == [
        ["payments", "weavr"],
        ["edge", "cloudflare"],
        ["crm", "druid"],
    ]
    assert done.err.startswith("bulkstatus: serving until Ctrl-C\n")
    assert re.search(r"payments GET /multi/bulks/2 -> 200 \(.*authorization: \*\*\*", done.err)


def test_the_example_is_a_scenario(here):
    """What is printed can be served."""
    done = here("fake", "--example")
    assert done.code == 0
    assert set(Scenario.parse(done.out).sources) == {"payments", "edge"}


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ((), "name a scenario, or a provider"),
        (("wevr",), "'wevr' is no file, and no fake of that name is installed; did you mean 'weavr'?"),
        (("xyz",), "(there are: "),
        (("-",), "'-' is no file"),
        (("none.toml",), "there is no scenario at none.toml"),
        (("weavr", "--speed", "2"), "--speed is for scenarios"),
        (("weavr", "--port", "70000"), "cannot serve 'weavr' at port 70000"),
        (
            ("weavr", "--write-config", "/nowhere/at/all.toml"),
            "cannot write /nowhere/at/all.toml: No such file",
        ),
    ],
)
def test_what_cannot_be_served_is_refused(here, words, why):
    """With the exit code for usage, and what to do."""
    done = here("fake", *words)
    assert (done.code, done.out) == (2, "")
    assert why in done.err


def test_a_wrong_scenario_names_the_line_of_its_key(here, scenario):
    """As a wrong configuration does."""
    scenario.write_text(SCENARIO.replace("failed = 3", "faild = 3"))
    done = here("fake", scenario)
    assert (done.code, done.out) == (2, "")
    assert (
        f"{scenario}:6: sources.payments.bulks.1: step 2: 'faild' is not a key of a step; did you mean 'failed'?"
        in done.err
    )


def test_a_configuration_of_somebody_elses_is_left_alone(here, serving, tmp_path):
    """Only one that the command wrote itself is written anew."""
    config = tmp_path / "bulkstatus.toml"
    config.write_text("# mine\n")
    done = here("fake", "weavr", "--write-config", config)
    assert done.code == 2
    assert "is already there, and 'bulkstatus fake' has not written it" in done.err
    assert config.read_text() == "# mine\n"
    config.write_text("# Written by bulkstatus.testing, some time ago\n")
    serving("weavr", "--write-config", config, sources=1)
    assert "[sources.weavr]" in config.read_text()
    assert [path.name for path in tmp_path.iterdir()] == [config.name]


def test_what_is_no_file_is_left_alone(here, tmp_path):
    """A pipe is not waited for, and a folder stays one."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (pipe, tmp_path):
        done = here("fake", "weavr", "--write-config", path)
        assert done.code == 2
        assert "is already there" in done.err
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_link_is_replaced_and_what_it_leads_to_is_not(serving, tmp_path):
    """Somebody else's link in a shared folder leads no writing anywhere."""
    config, aim = tmp_path / "fakes.toml", tmp_path / "aim"
    config.symlink_to(aim)
    serving("weavr", "--write-config", config, sources=1)
    assert not config.is_symlink()
    assert stat.S_IMODE(config.stat().st_mode) == 0o600
    assert not aim.exists()


def test_nothing_is_left_of_a_configuration_that_cannot_be_written(here, tmp_path, monkeypatch):
    """The draft beside it goes too."""

    def full(path, target):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "replace", full)
    done = here("fake", "weavr", "--write-config", tmp_path / "fakes.toml")
    assert done.code == 2
    assert "No space left on device" in done.err
    assert list(tmp_path.iterdir()) == []
