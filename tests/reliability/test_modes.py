"""Files that the command line writes are their owner's, whatever the umask says."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from bulkstatus.testing import Life, serve
from bulkstatus_weavr.fake import WeavrFake

KEY, TOKEN = "S3CR3T-modes-key", "S3CR3T-modes-token"
SCRIPT = """\
import json, os, sys
from pathlib import Path
os.umask(int(sys.argv[1], 8))
from bulkstatus import Journal
from bulkstatus.cli import main
codes = [main(words) for words in json.loads(sys.argv[2])]
with Journal() as journal:
    list(journal.all_bulks())
    modes = {
        str(path): path.stat().st_mode for path in Path.home().rglob("*") if not path.is_symlink()
    }
sys.stderr.write(json.dumps([codes, modes]))
"""


@pytest.mark.skipif(os.name != "posix", reason="modes are of POSIX")
@pytest.mark.parametrize("umask", ["000", "022", "077"])
def test_nobody_else_can_read_what_is_written(tmp_path, umask):
    """A first configuration, the journal with what SQLite puts beside it, exports, and every folder made for them."""
    home = tmp_path / "home"
    home.mkdir()
    fake = WeavrFake(api_key=KEY, auth_token=TOKEN)
    fake.add("1", Life.of((0, "COMPLETED")), operations=3)
    with serve(fake) as url:
        given = tmp_path / "bulkstatus.toml"
        given.write_text(
            f'[sources.payments]\nprovider = "weavr"\nbase_url = "{url}"\napi_key = "env:WEAVR_API_KEY"\n'
            'auth_token = "env:WEAVR_AUTH_TOKEN"\nbudget = []\n'
        )
        commands = [
            ["config", "init"],
            ["config", "init", str(home / "deep" / "er" / "staging.toml")],
            ["wait", "payments:1", "--config", str(given)],
            ["track", "payments:2", "--config", str(given)],
            *(
                ["journal", "export", kind, "-o", form, "--to", str(home / f"{kind}.{form}")]
                for kind in ("steps", "bulks")
                for form in ("csv", "jsonl", "parquet")
            ),
        ]
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, umask, json.dumps(commands)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(home),
                "BULKSTATUS_TRANSPORT": "httpx",
                "WEAVR_API_KEY": KEY,
                "WEAVR_AUTH_TOKEN": TOKEN,
            },
        )
    assert done.returncode == 0, done.stderr
    codes, modes = json.loads(done.stderr.splitlines()[-1])
    assert set(codes) == {0}
    names = {Path(path).name for path in modes}
    assert {"bulkstatus.toml", "staging.toml", "journal.db", "journal.db-wal", "journal.db-shm"} <= names
    assert {"steps.csv", "bulks.parquet", "deep", "er", ".config", ".local"} <= names
    open_to_others = {path: oct(mode) for path, mode in modes.items() if stat.S_IMODE(mode) & 0o077}
    assert open_to_others == {}
