"""Locales and encodings that cannot hold what is said: nothing breaks, and nothing is read in another way."""

import json
import os
import subprocess
import sys

import pytest

from bulkstatus.testing import Life, serve
from bulkstatus_weavr.fake import WeavrFake

pytestmark = pytest.mark.unrecorded

KEY, TOKEN = "S3CR3T-locale-key", "S3CR3T-locale-token"
LOCALES = {
    "C, and no UTF-8": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "POSIX": {"LC_ALL": "POSIX"},
    "Turkish": {"LANG": "tr_TR.UTF-8", "LC_ALL": "tr_TR.UTF-8"},
    "Turkish, and no UTF-8": {"LC_ALL": "tr_TR.ISO8859-9", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "no locale": {"PYTHONUTF8": "0"},
    "ASCII": {"LC_ALL": "C.UTF-8", "PYTHONIOENCODING": "ascii"},
    "ASCII, strictly": {"LC_ALL": "C.UTF-8", "PYTHONIOENCODING": "ascii:strict"},
    "a Windows console": {"LC_ALL": "C.UTF-8", "PYTHONIOENCODING": "cp1252"},
    "an old console": {"LC_ALL": "C.UTF-8", "PYTHONIOENCODING": "cp437"},
    "UTF-16": {"LC_ALL": "C.UTF-8", "PYTHONIOENCODING": "utf-16"},
}
WORD = "bekliyor İI\u0131i \U0001f600 é"
SCRIPT = """\
import json, os, sys
from bulkstatus.cli import main
for words in json.loads(sys.argv[1]):
    words = [os.fsdecode(word.encode()) for word in words]  # as Python reads its arguments in this locale
    print("=====", *words[:1], main(words), flush=True)
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A provider with words from elsewhere, in folders with names from elsewhere."""
    folder = tmp_path_factory.mktemp("Müşteri")
    fake = WeavrFake(api_key=KEY, auth_token=TOKEN)
    fake.add("1", Life.of((0, "PAUSED")), operations=5, action="/transfers/İ")
    fake.add("2", Life.of((0, WORD)), operations=5, action="日本語")
    fake.add("3", Life.of((0, "PARTIALLY_COMPLETED")), operations=5, failing=1)
    with serve(fake) as url:
        config = folder / "bulkstatus.toml"
        config.write_text(
            f'# für Ümit\n[sources.payments]\nprovider = "weavr"\nbase_url = "{url}"\n'
            'api_key = "env:WEAVR_API_KEY"\nauth_token = "env:WEAVR_AUTH_TOKEN"\nbudget = []\n',
            encoding="utf-8",
        )
        yield folder, config


@pytest.mark.row("B104")
@pytest.mark.parametrize("locale", LOCALES)
def test_no_command_breaks(world, isolated, locale):
    """Every form of every command says the same states, and exits with the same codes, whatever can be written."""
    folder, config = world
    commands = [
        *(
            ["get", "payments:1", "payments:2", "-o", form]
            for form in ("table", "json", "jsonl", "csv", "name")
        ),
        ["list"],
        ["operations", "payments:3"],
        ["explain", "payments:2"],
        ["history", "payments:2"],
        ["changes", "--limit", "2"],
        ["wait", "payments:2", "--timeout", "0.6"],
        ["track", "payments:1", "--note", "für Ümit"],
        ["get", "payments:İ"],
        ["list", "--state", "QUEUED"],
        ["sources"],
        ["config", "path"],
        ["journal", "export", "--to", str(folder / f"Ü-{sorted(LOCALES).index(locale)}.csv"), "-o", "csv"],
    ]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.strip(), json.dumps(commands)],
        capture_output=True,
        timeout=60,
        check=False,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(isolated),
            "BULKSTATUS_CONFIG": str(config),
            "BULKSTATUS_JOURNAL": str(folder / f"günlük-{sorted(LOCALES).index(locale)}.db"),
            "BULKSTATUS_TRANSPORT": "httpx",
            "WEAVR_API_KEY": KEY,
            "WEAVR_AUTH_TOKEN": TOKEN,
            "PYTHONWARNINGS": "error",
            **LOCALES[locale],
        },
    )
    encoding = LOCALES[locale].get("PYTHONIOENCODING", "utf-8").partition(":")[0]
    out = done.stdout.decode(encoding, "replace")
    err = done.stderr.decode(encoding, "replace")
    assert done.returncode == 0, err
    assert "Traceback" not in out + err
    assert "internal error" not in err
    codes = [line.split()[1:] for line in out.splitlines() if line.startswith("=====")]
    assert codes == [
        *([["get", "0"]] * 5),
        ["list", "0"],
        ["operations", "0"],
        ["explain", "0"],
        ["history", "0"],
        ["changes", "0"],
        ["wait", "8"],
        # A note that came in bytes which are no text in this locale is refused, and not guessed at.
        ["track", "2" if "no UTF-8" in locale else "0"],
        ["get", "2"],
        ["list", "2"],
        ["sources", "0"],
        ["config", "0"],
        ["journal", "0"],
    ]
    (line,) = [line for line in out.splitlines() if line.startswith('{"') and '"id":"2"' in line]
    assert json.loads(line)["native_state"] == WORD
    assert out.count("paused") >= 4
