"""Three providers on loopback, a configuration that reaches them, and the command line as a process."""

import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import pytest

from bulkstatus.testing import Life, load_fake, serve
from support import PATIENT

ESCAPES = "EVIL\x1b[31m\u202eword"
CANARIES = {
    "WEAVR_API_KEY": "S3CR3T-api-key-7c1f",
    "WEAVR_AUTH_TOKEN": "S3CR3T-auth-token-7c1f",
    "CF_TOKEN": "S3CR3T-cf-token-7c1f",
    "DRUID_ID": "S3CR3T-druid-id-7c1f",
    "DRUID_SECRET": "S3CR3T-druid-secret-7c1f",
}


def still(word):
    """A life that stays at one word."""
    return Life.of((0, word))


def config_text(weavr, cloudflare, druid):
    """A configuration with three sources at these base URLs."""
    return f"""
[sources.payments]
provider = "weavr"
base_url = "{weavr}"
api_key = "env:WEAVR_API_KEY"
auth_token = "env:WEAVR_AUTH_TOKEN"

[sources.edge]
provider = "cloudflare"
base_url = "{cloudflare}"
account_id = "023e105f4ecef8ad9ca31a8372d0c353"
token = "env:CF_TOKEN"

[sources.crm]
provider = "druid"
api_base_url = "{druid}"
client_id = "env:DRUID_ID"
client_secret = "env:DRUID_SECRET"
"""


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    """The fakes, their URLs, and the configuration file that names them."""
    weavr = load_fake("weavr")(api_key=CANARIES["WEAVR_API_KEY"], auth_token=CANARIES["WEAVR_AUTH_TOKEN"])
    weavr.add("1", still("COMPLETED"), operations=10)
    weavr.add("2", still("PARTIALLY_COMPLETED"), operations=250, failing=3)
    weavr.add("3", still("FAILED"), operations=4)
    weavr.add("4", still("RUNNING"), operations=100)
    weavr.add("5", still("PAUSED"), operations=7)
    weavr.add("6", still(ESCAPES), operations=5, action="=HYPERLINK(\x1b]0;x\x07)")
    weavr.add("7", still("COMPLETED"), operations=4_000)
    weavr.add("8", still("SUBMITTED"), operations=9)
    cloudflare = load_fake("cloudflare")(token=CANARIES["CF_TOKEN"])
    cloudflare.add("aa11", still("completed"))
    cloudflare.add("bb22", still("failed"), error="list is full\x1b[2J")
    druid = load_fake("druid")(client_id=CANARIES["DRUID_ID"], client_secret=CANARIES["DRUID_SECRET"])
    druid.add("d-1", still("completed"), users=5)
    with ExitStack() as stack:
        urls = [stack.enter_context(serve(fake)) for fake in (weavr, cloudflare, druid)]
        config = tmp_path_factory.mktemp("config") / "bulkstatus.toml"
        config.write_text(config_text(*urls))
        yield SimpleNamespace(weavr=weavr, cloudflare=cloudflare, druid=druid, urls=urls, config=config)


@pytest.fixture
def environment(world, isolated):
    """The variables a process of the command line gets."""
    kept = {name: os.environ[name] for name in ("PATH", "SYSTEMROOT") if name in os.environ}
    return {
        **kept,
        **CANARIES,
        "HOME": str(isolated),
        "XDG_CONFIG_HOME": str(isolated / ".config"),
        "BULKSTATUS_CONFIG": str(world.config),
        "BULKSTATUS_TRANSPORT": "httpx",
        "PYTHONWARNINGS": "error",
        "LC_ALL": "C.UTF-8",
    }


@pytest.fixture
def run(environment):
    """Run the command line as a process and give what it wrote and its code."""

    def call(*words, stdin="", **variables):
        done = subprocess.run(
            [*PATIENT, *map(str, words)],
            input=stdin if isinstance(stdin, bytes) else stdin.encode(),
            capture_output=True,
            timeout=90,
            env={name: value for name, value in {**environment, **variables}.items() if value is not None},
            check=False,
        )
        out, err = done.stdout.decode(), done.stderr.decode()
        assert "Traceback" not in err
        return SimpleNamespace(code=done.returncode, out=out, err=err)

    return call


@pytest.fixture
def process(environment):
    """Start the command line as a process whose stdout and stderr are read line by line."""
    started = []

    def start(*words, stdin=None):
        child = subprocess.Popen(
            [*PATIENT, *map(str, words)],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        started.append(child)
        return child

    yield start
    for child in started:
        child.kill()
        child.communicate()


@pytest.fixture
def here(monkeypatch, world, capsys):
    """Run the command line in this process: as `run`, and quicker."""
    from bulkstatus.cli import main

    monkeypatch.setenv("BULKSTATUS_CONFIG", str(world.config))
    for name, value in CANARIES.items():
        monkeypatch.setenv(name, value)

    def call(*words):
        code = main([str(word) for word in words])
        said = capsys.readouterr()
        return SimpleNamespace(code=code, out=said.out, err=said.err)

    return call


@pytest.fixture
def program():
    """The console script that is installed beside the interpreter."""
    return str(Path(sys.executable).with_name("bulkstatus"))
