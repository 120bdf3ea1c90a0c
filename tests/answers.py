"""Answers of any bytes on a real socket, read through every adapter by one client, or by the command line as a process."""

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import anyio

from bulkstatus import AsyncClient, Client
from bulkstatus.adapter import Adapter
from bulkstatus.testing import FakeRequest, FakeResponse, serve
from bulkstatus_cloudflare import Cloudflare
from bulkstatus_druid import Druid
from bulkstatus_weavr import Weavr
from support import Plain, Scripted

REFS = {"weavr": "weavr:7", "cloudflare": "cloudflare:c7", "druid": "druid:d7", "plain": "plain:a1"}
LISTING = ("weavr", "druid")
"""Those that can list bulks, and what is inside one."""
_RECORDS = {
    "weavr": b'{"bulkId":"7","status":%s%s}',
    "cloudflare": b'{"success":true,"errors":[],"result":{"id":"c7","status":%s%s}}',
    "druid": b'{"result":{"status":200},"content":{"bulkId":"d7","status":%s%s}}',
    "plain": b'{"id":"a1","status":%s%s}',
}
RUNNING = {"weavr": b'"RUNNING"', "cloudflare": b'"running"', "druid": b'"processing"', "plain": b'"running"'}
DONE = {"weavr": b'"COMPLETED"', "cloudflare": b'"completed"', "druid": b'"completed"', "plain": b'"done"'}

Answer = Callable[[str, FakeRequest], bytes]


def record(name: str, more: bytes = b"", *, word: bytes | None = None) -> bytes:
    """The bulk of `REFS` as its provider tells it, running unless `word` is given; `more` are further members."""
    return _RECORDS[name] % (word or RUNNING[name], b"," + more if more else b"")


def adapters(url: str) -> dict[str, Adapter]:
    """An adapter of each kind, a stranger's among them, each at a path of its own below `url`."""
    return {
        "weavr": Weavr(base_url=f"{url}/weavr", api_key="k", auth_token="t"),
        "cloudflare": Cloudflare(base_url=f"{url}/cloudflare", account_id="0" * 32, token="t"),
        "druid": Druid(api_base_url=f"{url}/druid", client_id="i", client_secret="s"),
        "plain": Plain(base_url=f"{url}/plain"),
    }


class Providers(Scripted):
    """All providers on one socket. `answer_to` makes the body for whatever one of them is asked."""

    def __init__(self, answer_to: Answer) -> None:
        super().__init__(self._reply)
        self._answer_to = answer_to

    def _reply(self, request: FakeRequest) -> FakeResponse:
        name = request.path.split("/")[1]
        if request.path.endswith("/oauth2/token"):
            return FakeResponse.json({"access_token": "t", "token_type": "bearer", "expires_in": 3600})
        body = self._answer_to(name, request)
        return FakeResponse(body=body, headers={"Content-Type": "application/json"})

    def asked(self, name: str) -> list[str]:
        """The paths that a provider was asked for, those of tokens left out."""
        return [path for path in self.paths() if path.startswith(f"/{name}/") and "oauth2" not in path]


@contextmanager
def providers(answer_to: Answer) -> Generator[SimpleNamespace]:
    """Serve all providers; gives `fake`, `url` and `adapters`."""
    fake = Providers(answer_to)
    with serve(fake) as url:
        yield SimpleNamespace(fake=fake, url=url, adapters=adapters(url))


def using(kind: str, sources: dict[str, Adapter], ask: Callable[[Callable], None], **options) -> None:
    """Run `ask` with a function that asks a client of this kind: `call("get", "plain:a1")`.

    What comes row by row is given as a list, up to the row for which `last` is true.
    """
    if kind == "blocking":
        with Client(sources, **options) as client:

            def simply(method: str, *given, last=lambda _: False, **named) -> object:
                result = getattr(client, method)(*given, **named)
                return _until(last, result) if hasattr(result, "__next__") else result

            ask(simply)
        return

    async def main() -> None:
        async with AsyncClient(sources, **options) as client:

            async def one(method: str, given: tuple, last: Callable, named: dict) -> object:
                result = getattr(client, method)(*given, **named)
                return await _until_async(last, result) if hasattr(result, "__anext__") else await result

            def call(method: str, *given, last=lambda _: False, **named) -> object:
                return anyio.from_thread.run(one, method, given, last, named)

            await anyio.to_thread.run_sync(ask, call)

    anyio.run(main)


def _until(last: Callable[[object], bool], rows: Iterator) -> list:
    found = []
    for row in rows:
        found.append(row)
        if last(row):
            break
    return found


async def _until_async(last: Callable[[object], bool], rows: AsyncIterator) -> list:
    found = []
    async for row in rows:
        found.append(row)
        if last(row):
            break
    return found


def config(url: str, folder: Path) -> Path:
    """A configuration of the three providers at `url`."""
    file = folder / "bulkstatus.toml"
    file.write_text(f"""
[sources.weavr]
provider = "weavr"
base_url = "{url}/weavr"
api_key = "env:BULKSTATUS_TEST_KEY"
auth_token = "env:BULKSTATUS_TEST_KEY"

[sources.cloudflare]
provider = "cloudflare"
base_url = "{url}/cloudflare"
account_id = "{"0" * 32}"
token = "env:BULKSTATUS_TEST_KEY"

[sources.druid]
provider = "druid"
api_base_url = "{url}/druid"
client_id = "env:BULKSTATUS_TEST_KEY"
client_secret = "env:BULKSTATUS_TEST_KEY"
""")
    return file


def command(file: Path, *words: str, stdin: bytes = b"") -> SimpleNamespace:
    """Run the command line as a process, without a journal, and give what it wrote and its code."""
    kept = {name: os.environ[name] for name in ("PATH", "SYSTEMROOT", "HOME") if name in os.environ}
    done = subprocess.run(
        [sys.executable, "-m", "bulkstatus.cli", *words],
        input=stdin,
        capture_output=True,
        timeout=60,
        env={
            **kept,
            "BULKSTATUS_CONFIG": str(file),
            "BULKSTATUS_TEST_KEY": "canary-4d1b",
            "BULKSTATUS_TRANSPORT": "httpx",
            "PYTHONWARNINGS": "error",
            "LC_ALL": "C.UTF-8",
        },
        check=False,
    )
    out, err = done.stdout.decode(), done.stderr.decode()
    assert "Traceback" not in err
    assert "canary-4d1b" not in out + err
    return SimpleNamespace(code=done.returncode, out=out, err=err)
