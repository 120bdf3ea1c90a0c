"""Every example in the README and in docs/ runs, against the demo's fakes over an in-process transport."""

import io
import re
import runpy
import shlex
import time
import tomllib
from pathlib import Path
from typing import NamedTuple

import pytest

import bulkstatus
from bulkstatus import _pools, _registry
from bulkstatus.testing import FakeTransport, ManualClock, load_fake

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
SECRETS = {
    "WEAVR_API_KEY": "weavr-demo-key",
    "WEAVR_AUTH_TOKEN": "weavr-demo-token",
    "CLOUDFLARE_API_TOKEN": "cloudflare-demo-token",
    "CLOUDFLARE_API_KEY": "c" * 37,
    "DRUID_CLIENT_ID": "druid-demo-client",
    "DRUID_CLIENT_SECRET": "druid-demo-secret",
}
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


@pytest.fixture
def world(tmp_path, monkeypatch):
    """The providers of the examples, a minute into the demo, and the README's configuration for them."""
    clock = ManualClock(time.time() - 60)
    weavr, cloudflare, druid = (
        load_fake(word).demo(clock=clock) for word in ("weavr", "cloudflare", "druid")
    )
    clock.advance(60)
    transport = FakeTransport(
        {
            "https://sandbox.weavr.io/multi": weavr,
            "https://api.cloudflare.com/client/v4": cloudflare,
            "https://graph.example.com": druid,
            "https://auth.example.com": druid,
        }
    )
    network = _pools.new_client

    def new_client(base_urls, *, connections, transport: object = None, fakes=transport):
        return network(base_urls, connections=connections, transport=transport or fakes)

    monkeypatch.setattr(_pools, "new_client", new_client)
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    config = tmp_path / "bulkstatus.toml"
    (example,) = [block.values[0] for block in blocks("toml") if block.values[0].page == "README.md"]
    config.write_text(example.text)
    monkeypatch.setenv("BULKSTATUS_CONFIG", str(config))
    return config


@pytest.mark.parametrize("block", blocks("python"))
def test_python_examples_run(block, world, capsys):
    """A Python example runs, and prints what the page says where the page says so."""
    exec(compile(block.text, f"{block.page}:{block.line}", "exec"), {"__name__": "__main__"})
    printed = capsys.readouterr().out
    if block.output is not None:
        assert printed == block.output


def test_the_pipeline_of_the_pages_runs(world, monkeypatch, capsys):
    """What one command of a pipeline prints, the next one reads; every pipeline on a page is run."""
    from bulkstatus.cli import main

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
    """The guide for authors names the group that is read."""
    (block,) = [block.values[0] for block in blocks("ini")]
    points = tomllib.loads(block.text)["project"]["entry-points"]
    assert points == {_registry.GROUP: {"acme": "bulkstatus_acme:Acme"}}


@pytest.mark.parametrize("block", blocks("toml"))
def test_configurations_are_valid(block, tmp_path, monkeypatch):
    """A configuration on a page is accepted as it stands."""
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    config = tmp_path / "bulkstatus.toml"
    config.write_text(block.text)
    built = bulkstatus.read_config(config).build()
    assert set(built) == set(tomllib.loads(block.text)["sources"])


@pytest.mark.parametrize("block", blocks("console"))
def test_commands_run(block, world, tmp_path, monkeypatch, capsys):
    """A command on a page ends with 0, or with the status of a bulk that did not succeed where it asks for that."""
    from bulkstatus.cli import main

    exits = {"$ bulkstatus get payments:112233445566778900 --exit-status": 6}
    for line in block.text.splitlines():
        command = shlex.split(line.removeprefix("$ ").partition("|")[0])
        assert command[0] == "bulkstatus"
        code = main(command[1:])
        printed = capsys.readouterr()
        assert code == exits.get(line, 0), printed.err
        assert printed.out


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


@pytest.mark.parametrize("word", ["weavr", "cloudflare", "druid"])
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
