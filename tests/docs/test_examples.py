"""Every example in the README and in docs/ runs, against the demo's fakes over an in-process transport."""

import io
import os
import re
import runpy
import shlex
import shutil
import sqlite3
import subprocess
import sys
import time
import tomllib
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pytest

import bulkstatus
from bulkstatus import _pools, _registry
from bulkstatus.cli import main
from bulkstatus.testing import Fakes, FakeTransport, ManualClock, Scenario, load_fake
from bulkstatus.testing._registry import GROUP as FAKES

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
SECRETS = {
    "WEAVR_API_KEY": "weavr-demo-key",
    "WEAVR_AUTH_TOKEN": "weavr-demo-token",
    "CLOUDFLARE_API_TOKEN": "cloudflare-demo-token",
    "CLOUDFLARE_API_KEY": "c" * 37,
    "DRUID_CLIENT_ID": "druid-demo-client",
    "DRUID_CLIENT_SECRET": "druid-demo-secret",
    "OPENAI_API_KEY": "openai-demo-key",
}
CONFIG = "bulkstatus.toml"
JOURNAL = "journal.db"
# The page about the journal, whose examples begin with one that has something to tell.
JOURNAL_PAGE = "docs/how-to/journal.md"
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    page: str
    line: int
    kind: str
    text: str
    output: str | None


def blocks(kind):
    """All code blocks of one kind, each with the `text` block that follows it at once."""
    found = []
    for page in PAGES:
        text = page.read_text()
        matches = list(_BLOCK.finditer(text))
        for index, match in enumerate(matches):
            if match[1] == kind:
                after = matches[index + 1] if index + 1 < len(matches) else None
                follows = (
                    after is not None and after[1] == "text" and text[match.end() : after.start()].isspace()
                )
                line = text.count("\n", 0, match.start()) + 1
                found.append(
                    Block(str(page.relative_to(ROOT)), line, kind, match[2], after[2] if follows else None)
                )
    return [pytest.param(block, id=f"{block.page}:{block.line}") for block in found]


def providers(clock):
    """The demo's fakes at the addresses of the README's configuration, and where their adapters look for them."""
    weavr, cloudflare, druid, openai = (
        load_fake(word).demo(clock=clock) for word in ("weavr", "cloudflare", "druid", "openai")
    )
    return FakeTransport(
        {
            "https://sandbox.weavr.io/multi": weavr,
            "https://api.cloudflare.com/client/v4": cloudflare,
            "https://graph.example.com": druid,
            "https://auth.example.com": druid,
            "https://api.openai.com/v1": openai,
        }
    )


def write_config(folder):
    """The README's configuration, as a file in `folder`."""
    (example,) = [block.values[0] for block in blocks("toml") if block.values[0].page == "README.md"]
    config = folder / CONFIG
    config.write_text(example.text)
    return config


@pytest.fixture
def world(tmp_path, monkeypatch):
    """The providers of the examples, a minute into the demo, the README's configuration for them, and no journal yet."""
    clock = ManualClock(time.time() - 60)
    transport = providers(clock)
    clock.advance(60)
    network = _pools.new_client

    def new_client(base_urls, *, transport: object = None, fakes=transport, **options):
        return network(base_urls, transport=transport or fakes, **options)

    monkeypatch.setattr(_pools, "new_client", new_client)
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("BULKSTATUS_CONFIG", str(write_config(tmp_path)))
    monkeypatch.setenv("BULKSTATUS_JOURNAL", str(tmp_path / JOURNAL))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def seen(tmp_path_factory):
    """A journal that has seen the demo at its fourth second and after its end, with labels and a wait left behind."""
    folder = tmp_path_factory.mktemp("seen")
    clock = ManualClock(time.time() - 60)
    transport = providers(clock)
    refs = [f"payments:11223344556677{number}" for number in (8899, 8900, 8901, 8902)]
    refs += ["edge:7be1c3f09a5d4e21b6c8d7f00a94e152", "edge:c04d5e6f718293a4b5c6d7e8f9012345"]
    with pytest.MonkeyPatch.context() as patched:
        for name, value in SECRETS.items():
            patched.setenv(name, value)
        config = write_config(folder)
        with bulkstatus.Client.from_config(config, transport=transport, journal=folder / JOURNAL) as client:
            for moment in (4, 56):
                clock.advance(moment)
                client.get_many(refs)
            client.track(refs[:2], labels={"release": "42"})
            client.begin_wait([refs[0], refs[4]], bulkstatus.WaitTerms(timeout=3_600.0)).leave()
    return folder / JOURNAL


@pytest.fixture
def prepared(world, seen):
    """What makes the world ready for a block: skips what cannot be had here, and lays out what the page began with."""

    def prepare(block):
        for package in ("duckdb", "pandas"):
            if f"import {package}" in block.text:
                pytest.importorskip(package)
        if block.page == JOURNAL_PAGE:
            shutil.copy(seen, world / JOURNAL)
        if "TYPE sqlite" in block.text:
            install_duckdb_extension()
        if ".parquet" in block.text:
            pytest.importorskip("pyarrow")
            assert main(["journal", "export", "-o", "parquet", "--to", "steps.parquet"]) == 0

    return prepare


def install_duckdb_extension():
    """DuckDB's reader of SQLite files, from a package and never from the network; skips where there is none."""
    duckdb = pytest.importorskip("duckdb")
    package = pytest.importorskip("duckdb_extension_sqlite_scanner")
    found = Path(package.__file__).parent.glob(f"extensions/v{duckdb.__version__}/*.duckdb_extension")
    extension = next(found, None)
    if extension is None:
        pytest.skip("the package holds no extension for this version of DuckDB")
    with duckdb.connect() as db:
        db.execute(f"INSTALL '{extension}'")


@pytest.mark.parametrize("block", blocks("python"))
def test_python_examples_run(block, prepared, capsys):
    """A Python example runs, and prints what the page says where the page says so."""
    prepared(block)
    capsys.readouterr()
    exec(compile(block.text, f"{block.page}:{block.line}", "exec"), {"__name__": "__main__"})
    printed = capsys.readouterr().out
    if block.output is not None:
        assert printed == block.output


def test_the_pipeline_of_the_pages_runs(world, monkeypatch, capsys):
    """What one command of a pipeline prints, the next one reads; every pipeline on a page is run."""
    lines = [line for block in blocks("sh") for line in block.values[0].text.splitlines() if " | " in line]
    assert lines
    for line in lines:
        printed = ""
        for part in line.split(" | "):
            monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(printed.encode())))
            # By then every bulk of the demo has ended or stopped, so another state is asked for in its place.
            words = shlex.split(part.replace("--state running", "--state paused"))
            assert words[0] == "bulkstatus"
            assert main(words[1:]) == 0
            printed = capsys.readouterr().out
        assert '"paused"' in printed


def test_every_other_command_of_the_pages_is_one_that_the_check_runs():
    """The set-up commands are run by .ci/run, word for word; nothing else stands in a block for a shell."""
    check = (ROOT / ".ci" / "run").read_text()
    lines = [
        line for block in blocks("sh") for line in block.values[0].text.splitlines() if " | " not in line
    ]
    assert len(set(lines)) == 2
    assert all(line.startswith("python3 -m venv .venv && .venv/bin/pip install -q ") for line in lines)
    assert "pytest" in check
    assert "bulkstatus demo" in check


def test_the_entry_point_of_the_guide_is_of_our_group():
    """The guide for authors names the groups that are read."""
    (block,) = [block.values[0] for block in blocks("ini")]
    points = tomllib.loads(block.text)["project"]["entry-points"]
    assert points == {
        _registry.GROUP: {"acme": "bulkstatus_acme:Acme"},
        FAKES: {"acme": "bulkstatus_acme.fake:AcmeFake"},
    }


# The page about scenarios, whose TOML is of those.
SCENARIO_PAGE = "docs/how-to/test-your-tools.md"


@pytest.mark.parametrize(
    "block", [block for block in blocks("toml") if block.values[0].page == SCENARIO_PAGE]
)
def test_scenarios_are_valid(block):
    """A scenario on a page can be played as it stands."""
    with Fakes(Scenario.parse(block.text)) as fakes:
        assert fakes.client.get_many(fakes.refs).complete


@pytest.mark.parametrize(
    "block", [block for block in blocks("toml") if block.values[0].page != SCENARIO_PAGE]
)
def test_configurations_are_valid(block, tmp_path, monkeypatch):
    """A configuration on a page is accepted as it stands."""
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    config = tmp_path / "bulkstatus.toml"
    config.write_text(block.text)
    built = bulkstatus.read_config(config).build()
    assert set(built) == set(tomllib.loads(block.text)["sources"])


@pytest.mark.parametrize("block", blocks("console"))
def test_commands_run(block, prepared, capsys):
    """A command on a page ends with 0, or with the status of a bulk that did not succeed where it asks for that."""
    prepared(block)
    exits = {"$ bulkstatus get payments:112233445566778900 --exit-status": 6}
    for line in block.text.splitlines():
        command = shlex.split(line.removeprefix("$ ").partition("|")[0])
        assert command[0] == "bulkstatus"
        code = main(command[1:])
        printed = capsys.readouterr()
        assert code == exits.get(line, 0), printed.err
        assert printed.out or "--to" in command


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash here")
@pytest.mark.parametrize("block", blocks("bash"))
def test_scripts_tell_each_step_once(block, prepared, world):
    """A script of a page tells every step when it is run first, and none again."""
    prepared(block)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])

    def run():
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block.text],
            env=os.environ | {"PATH": path},
            cwd=world,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.splitlines()

    with bulkstatus.Journal() as journal:
        steps = journal.changes()
    assert len(run()) == len(steps)
    assert run() == []


@pytest.mark.parametrize("block", blocks("sql"))
def test_queries_run(block, prepared, world):
    """A query on a page finds something in a journal."""
    prepared(block)
    with closing(sqlite3.connect(f"{(world / JOURNAL).as_uri()}?mode=ro", uri=True)) as db:
        assert db.execute(block.text).fetchall()


@pytest.mark.parametrize("block", blocks("sql"))
def test_queries_run_in_duckdb(block, prepared, world):
    """A query on a page finds the same in DuckDB as in SQLite."""
    prepared(block)
    install_duckdb_extension()
    import duckdb

    with closing(sqlite3.connect(f"{(world / JOURNAL).as_uri()}?mode=ro", uri=True)) as db:
        expected = db.execute(block.text).fetchall()
    with duckdb.connect() as db:
        db.execute(f"ATTACH '{world / JOURNAL}' AS journal (TYPE sqlite, READ_ONLY)")
        db.execute("USE journal")
        assert db.execute(block.text).fetchall() == expected


def test_the_tables_of_the_page_are_those_of_the_file(seen):
    """The page about the journal describes every column of every table that it holds, and no other."""
    text = (ROOT / JOURNAL_PAGE).read_text()
    told = {
        name: [column for row in rows.splitlines() for column in re.findall(r"`(\w+)`", row.split("|")[1])]
        for name, rows in re.findall(r"^`(\w+)`: [^\n]*\n\n((?:\|[^\n]*\n)+)", text, re.MULTILINE)
    }
    with closing(sqlite3.connect(f"{seen.as_uri()}?mode=ro", uri=True)) as db:
        tables = [row[0] for row in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        columns = {name: [row[1] for row in db.execute(f"PRAGMA table_info({name})")] for name in tables}
    assert told == {name: columns[name] for name in columns if name != "sqlite_sequence"}


def _shown(picture):
    """The texts in an SVG, blanks around them left out: how wide a column is depends on the version of rich."""
    texts = re.findall(r"<text [^>]*>([^<]*)</text>", picture)
    return [text for raw in texts if (text := raw.replace("&#160;", " ").strip())]


def test_the_picture_shows_what_the_demo_shows():
    """docs/demo.svg says what the demo's table says now; `.venv/bin/python tests/docs/demo_picture.py` draws it anew."""
    picture = runpy.run_path(str(ROOT / "tests" / "docs" / "demo_picture.py"))
    drawn = _shown(picture["draw"]())
    assert "payments:112233445566778899" in drawn
    assert _shown(picture["PICTURE"].read_text()) == drawn


def test_links_lead_somewhere():
    """A link from one page to another, or to a heading in it, has a target."""
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:)([^)]+)\)", page.read_text()):
            path, _, anchor = target.partition("#")
            linked = (page.parent / path).resolve() if path else page
            assert linked.exists(), f"{page.name}: {target}"
            if anchor:
                headings = re.findall(r"^#+ (.+)$", linked.read_text(), re.MULTILINE)
                slugs = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
                assert anchor in slugs, f"{page.name}: {target}"


def test_the_layout_names_every_module():
    """docs/development.md says what each module of the library is for, and names none that is not there."""
    text = (ROOT / "docs" / "development.md").read_text()
    (layout,) = re.findall(r"^```text\nsrc/bulkstatus/\n(.*?)^adapters/", text, re.MULTILINE | re.DOTALL)
    named = re.findall(r"\b\w+\.py\b", layout)
    assert sorted(named) == sorted(path.name for path in (ROOT / "src" / "bulkstatus").glob("*.py"))


@pytest.mark.parametrize(
    "record",
    [
        bulkstatus.BulkStatus,
        bulkstatus.BulkOperation,
        bulkstatus.Counts,
        bulkstatus.Report,
        bulkstatus.Failure,
        bulkstatus.Outcome,
        bulkstatus.Result,
        bulkstatus.Change,
        bulkstatus.Transition,
        bulkstatus.KnownBulk,
        bulkstatus.WaitRecord,
    ],
)
def test_the_reference_names_every_field(record):
    """A field of a record that callers get, and that is written as JSON, is in the reference."""
    named = set(re.findall(r"`(?:\w+\.)?(\w+)`", (ROOT / "docs" / "reference.md").read_text()))
    assert set(record.__struct_fields__) <= named


@pytest.mark.parametrize("word", ["weavr", "cloudflare", "druid", "openai"])
def test_provider_pages_have_one_shape(word):
    """All pages of providers have the same headings, so that a reader of one knows them all."""
    text = (ROOT / "docs" / "providers" / f"{word}.md").read_text()
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == [
        "Settings",
        "Authentication",
        "Words and states",
        "Times",
        "Limits",
        "Quirks",
        "Undocumented, and what we do",
    ]
