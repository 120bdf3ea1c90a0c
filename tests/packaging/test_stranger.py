"""Adapters by strangers, in distributions of their own: built, installed beside bulkstatus, found, proven and used.

In a fresh environment, by real processes, with nothing of the working tree in sight.
"""

import textwrap
from types import SimpleNamespace

import pytest

from environments import Environment, build, pack

WORDS = ("cloudflare", "druid", "weavr")
# A fake on a socket, with one job that ends while somebody waits, and one that has ended.
SERVE = """
import sys
from bulkstatus.testing import Life, load_fake, serve
fake = load_fake(sys.argv[1])()
fake.place(fake.bulk_id(0), Life.of((0, "waiting"), (0.2, "active"), (1, "done")), total=10, failed=2)
fake.place(fake.bulk_id(1), Life.of((0, "done")), total=7)
with serve(fake) as url:
    print(url, flush=True)
    sys.stdin.read()
"""
# Not ours in any way: one module, another name for the distribution, no list, no fake; its own kind of everything.
FLAT_PROJECT = """
[build-system]
requires = ["hatchling>=1.26"]
build-backend = "hatchling.build"

[project]
name = "Globex.Tools"
version = "3.2"
dependencies = ["bulkstatus"]

[project.entry-points."bulkstatus.adapters"]
globex = "globex:Imports"

[tool.hatch.build.targets.wheel]
include = ["globex.py"]
"""
FLAT_MODULE = """
from typing import ClassVar

import msgspec

from bulkstatus.adapter import (
    Adapter, Auth, BulkStatus, Call, IdGrammar, Reader, Request, Response, SecretText, State, Vocabulary, api_key,
    from_epoch,
)

WORDS = Vocabulary("globex import", {"open": State.RUNNING, "closed": State.SUCCEEDED})


class Import(msgspec.Struct, frozen=True):
    state: str | None = None
    closed: int | None = None


IMPORT = Reader(Import)


class Imports(Adapter, frozen=True, kw_only=True):
    provider: ClassVar[str] = "globex"
    id_grammar: ClassVar[IdGrammar] = IdGrammar("[0-9]{1,9}", "digits")

    key: SecretText
    url: str

    def auth(self) -> Auth:
        return api_key(self.key, header="X-Key")

    def base_urls(self) -> tuple[str, ...]:
        return (self.url,)

    def status(self, id: str) -> Call[BulkStatus]:
        def read(response: Response) -> BulkStatus:
            record, notes = IMPORT.read(response)
            state, why = WORDS.decide(record.state, None, self.state_map)
            ended, odd = from_epoch(record.closed, "ms", label="closed", now=response.received_at)
            return BulkStatus(
                source=response.source, provider="globex", id=id, state=state, native_state=record.state,
                finished_at=ended, observed_at=response.received_at, evidence=(*why, *notes, *filter(None, [odd])),
            )

        return Call(Request.to(self.url, "import", query={"no": id}), read)
"""
SERVE_GLOBEX = """
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        allowed = self.headers["X-Key"] == "k-globex" and self.path == "/import?no=42"
        body = b'{"state": "closed", "closed": 1772355600000}' if allowed else b"{}"
        self.send_response(200 if allowed else 403)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass

server = HTTPServer(("127.0.0.1", 0), Handler)
import threading
threading.Thread(target=server.serve_forever, daemon=True).start()
print(f"http://127.0.0.1:{server.server_address[1]}", flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def stranger(wheel, tmp_path_factory):
    """An environment with bulkstatus, and the package that its own command wrote, built into a wheel and installed."""
    folder = tmp_path_factory.mktemp("stranger")
    environment = Environment(folder / "environment")
    environment.install(wheel)
    environment.see_dependencies()
    written = environment.call("bulkstatus", "new-adapter", "acme", cwd=folder)
    assert (written.code, written.out) == (0, "bulkstatus-acme\n")
    environment.install(build(folder / "bulkstatus-acme", folder / "dist", "wheel"))
    return SimpleNamespace(environment=environment, package=folder / "bulkstatus-acme", folder=folder)


def configured(folder, **sources):
    """A configuration file with these sources, each given by the lines of its table."""
    file = folder / "bulkstatus.toml"
    file.write_text("".join(f"[sources.{name}]\n{textwrap.dedent(text)}\n" for name, text in sources.items()))
    return file


def acme(url):
    """The lines of a source at the fake of the scaffold's provider."""
    return f'provider = "acme"\nbase_url = "{url}"\ntoken = "env:ACME_TOKEN"'


def test_a_strangers_adapter_is_found_like_ours(stranger):
    """By its word, with the distribution it came with; from the environment's own files."""
    found, code = stranger.environment.json("providers")
    assert code == 0
    assert {row["word"]: row["problem"] for row in found}.items() >= dict.fromkeys(("acme", *WORDS)).items()
    (ours,) = [row["distribution"] for row in found if row["word"] == "acme"]
    assert ours == "bulkstatus-acme 0.1.0"
    where = stranger.environment.call(
        "python", "-c", "import bulkstatus, bulkstatus_acme as a; print(bulkstatus.__file__, a.__file__)"
    )
    assert where.out.count(str(stranger.environment.site)) == 2


def test_the_package_passes_its_tests_where_it_is_installed(stranger):
    """The contract and the tests of its own, as the command wrote them, against the installed wheels."""
    done = stranger.environment.call(
        "python", "-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=stranger.package
    )
    assert done.code == 0, done.out[-3000:] + done.err[-3000:]
    assert "bulkstatus contract: acme: level 3 (get, list, clock)" in done.out
    assert "skipped" not in done.out.splitlines()[-1]


def test_a_strangers_source_is_listed_and_waited_for(stranger, tmp_path):
    """Configured from TOML, asked over a socket, with the exit codes that ours have: 0 for a list, 6 for a bulk in which items failed."""
    run = stranger.environment
    with run.served(SERVE, "acme") as url:
        file = configured(tmp_path, jobs=acme(url))
        settings = {"BULKSTATUS_CONFIG": str(file), "ACME_TOKEN": "acme-demo-token"}
        report, code = run.json("list", "--no-journal", **settings)
        assert code == 0
        assert report["complete"]
        assert {row["id"] for row in report["statuses"]} == {"job_005eed", "job_005eee"}
        outcome, code = run.json(
            "wait", "jobs:job_005eed", "--no-journal", "--pace", "eager", "--timeout", "2m", **settings
        )
        (result,) = outcome["results"]
        assert (result["verdict"], code) == ("partial", 6)
        assert result["status"]["counts"]["failed"] == 2
        assert result["status"]["native_state"] == "done"


def test_a_distribution_of_another_shape_is_as_good(stranger, tmp_path):
    """One module, a name unlike ours, no list and no fake: found by its word, configured, waited for."""
    source = tmp_path / "tools"
    source.mkdir()
    (source / "pyproject.toml").write_text(FLAT_PROJECT)
    (source / "globex.py").write_text(FLAT_MODULE)
    run = stranger.environment
    run.install(build(source, tmp_path / "dist", "wheel"))
    found, _ = run.json("providers")
    (row,) = [row for row in found if row["word"] == "globex"]
    assert row["problem"] is None
    assert row["distribution"].endswith(" 3.2")
    with run.served(SERVE_GLOBEX) as url:
        file = configured(tmp_path, gx=f'provider = "globex"\nurl = "{url}"\nkey = "env:GLOBEX_KEY"')
        settings = {"BULKSTATUS_CONFIG": str(file), "GLOBEX_KEY": "k-globex"}
        outcome, code = run.json("wait", "gx:42", "--no-journal", "--timeout", "1m", **settings)
        assert code == 0
        assert outcome["results"][0]["status"]["finished_at"] == "2026-03-01T09:00:00Z"
        listed = run.call("bulkstatus", "list", "--no-journal", **settings)
        assert (listed.code, listed.out) == (2, "")
        assert "gx: the provider has no list of bulks" in listed.err


@pytest.fixture(scope="module")
def troubled(stranger, tmp_path_factory):
    """The same environment with five more distributions in it, none of which is well; taken out at the end."""
    folder = tmp_path_factory.mktemp("troubled")
    group = "[bulkstatus.adapters]\n"
    plain = (
        "from bulkstatus.adapter import Adapter\nclass Twin(Adapter, frozen=True):\n    provider = 'twin'\n"
    )
    wheels = [
        pack(folder, "raises", {"raises.py": "import no_such_module\n"}, f"{group}raises = raises:Adapter\n"),
        pack(folder, "leaves", {"leaves.py": "raise SystemExit(0)\n"}, f"{group}leaves = leaves:Adapter\n"),
        pack(folder, "no-adapter", {"no_adapter.py": "Thing = dict\n"}, f"{group}thing = no_adapter:Thing\n"),
        pack(folder, "twin-one", {"twin_one.py": plain}, f"{group}twin = twin_one:Twin\n"),
        pack(folder, "twin-two", {"twin_two.py": plain}, f"{group}twin = twin_two:Twin\n"),
        pack(folder, "garbled", {"garbled.py": ""}, ""),
    ]
    run = stranger.environment
    run.install(*wheels)
    # pip refuses such a wheel; a file is damaged after it was installed.
    (run.site / "garbled-1.0.dist-info" / "entry_points.txt").write_text(f"{group}no equals sign\n")
    return run


REASONS = {
    "raises": "cannot be imported: ModuleNotFoundError: No module named 'no_such_module'",
    "leaves": "cannot be imported: SystemExit: 0",
    "thing": "is not a subclass of Adapter",
    "twin": "claimed by twin-one 1.0 and by twin-two 1.0: uninstall one",
}


def test_what_is_wrong_with_a_distribution_is_said_of_it_alone(troubled):
    """`providers` imports nothing, so it tells what the metadata show: two that claim one word, and one that is damaged."""
    found, code = troubled.json("providers")
    problems = {row["word"]: row["problem"] for row in found if row["problem"]}
    assert code == 0
    assert problems == {
        "twin": "claimed by twin-one 1.0 and by twin-two 1.0: uninstall one",
        "?": "its entry points cannot be read: reinstall it",
    }
    (damaged,) = [row for row in found if row["word"] == "?"]
    assert damaged["distribution"] == "garbled 1.0"
    assert {"acme", "raises", "leaves", "thing", *WORDS} <= {row["word"] for row in found}


def test_broken_adapters_hurt_only_themselves(troubled, tmp_path):
    """The sources of the others are listed and waited for; each broken one is an error that says whose it is."""
    with troubled.served(SERVE, "acme") as url:
        broken = {word: f'provider = "{word}"' for word in REASONS}
        file = configured(tmp_path, jobs=acme(url), **broken)
        settings = {"BULKSTATUS_CONFIG": str(file), "ACME_TOKEN": "acme-demo-token"}
        report, code = troubled.json("list", "--source", "jobs", "--no-journal", **settings)
        assert (len(report["statuses"]), report["complete"], code) == (2, True, 0)
        report, code = troubled.json("list", "--no-journal", **settings)
        assert (len(report["statuses"]), report["complete"], code) == (2, False, 7)
        failures = {failure["source"]: failure for failure in report["failures"]}
        assert failures.keys() == REASONS.keys()
        for word, why in REASONS.items():
            assert why in failures[word]["message"]
            assert (failures[word]["kind"], failures[word]["provider"]) == ("config", word)
        outcome, code = troubled.json(
            "wait", "jobs:job_005eee", "--no-journal", "--timeout", "1m", **settings
        )
        assert (outcome["results"][0]["verdict"], code) == ("succeeded", 0)
        check = troubled.call("bulkstatus", "config", "check", **settings)
        assert check.code == 2
        assert check.out == "jobs (acme): ok\n"
        for word, why in REASONS.items():
            (line,) = [line for line in check.err.splitlines() if f"sources.{word}:" in line]
            assert why in line
            assert str(file) in line
        health, code = troubled.json("sources", **settings)
        assert {row["source"]: row["failure"] is None for row in health} == {
            "jobs": True,
            **dict.fromkeys(REASONS, False),
        }
        assert code == 7


def test_a_broken_source_is_wrong_usage_where_it_is_asked_for(troubled, tmp_path):
    """Nothing is sent, the code is 2, and the message names the file, the source, the distribution and the cause."""
    file = configured(tmp_path, here='provider = "raises"')
    done = troubled.call("bulkstatus", "get", "here:1", "--no-journal", BULKSTATUS_CONFIG=str(file))
    assert (done.code, done.out) == (2, "")
    assert f"{file}:2: sources.here: the adapter 'raises' of raises 1.0 {REASONS['raises']}" in done.err
