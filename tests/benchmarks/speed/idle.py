"""Goal 14: what polls with a pause between them cost in connections and TLS contexts.

httpx closes what was idle for 5 s, so that each slower poll opens a connection. The server counts them, over TLS, with
pauses of a little more than that.
"""

import asyncio
import ssl
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import trustme
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from benchmarks.speed.children import in_child
from benchmarks.speed.measure import Fact, Goal, Spread
from benchmarks.speed.server import opened, running
from benchmarks.speed.ways import ACCOUNT, ID

PAUSE = 6.0
_SOURCES = 20


def _facade(url: str, pause: float, polls: int) -> None:
    from bulkstatus import AsyncClient
    from bulkstatus_cloudflare import Cloudflare

    adapter = Cloudflare(account_id=ACCOUNT, token="t" * 40, base_url=url, budget=())

    async def poll() -> None:
        async with AsyncClient({"edge": adapter}) as client:
            for number in range(polls):
                await asyncio.sleep(pause if number else 0)
                await client.get(f"edge:{ID}")

    asyncio.run(poll())


def _httpx(url: str, pause: float, polls: int) -> None:
    import httpx

    async def poll() -> None:
        async with httpx.AsyncClient() as client:
            for number in range(polls):
                await asyncio.sleep(pause if number else 0)
                await client.get(f"{url}/accounts/{ACCOUNT}/rules/lists/bulk_operations/{ID}")

    asyncio.run(poll())


def _contexts(url: str) -> int:
    """How many TLS contexts are made for the sources after the first one."""
    from bulkstatus import AsyncClient
    from bulkstatus_cloudflare import Cloudflare

    made = 0
    make = ssl.SSLContext.__new__

    def counted(kind: type[ssl.SSLContext], *arguments: Any, **options: Any) -> ssl.SSLContext:
        nonlocal made
        made += 1
        return make(kind, *arguments, **options)

    async def ask() -> int:
        sources = {
            f"edge{number}": Cloudflare(account_id=ACCOUNT, token="t" * 40, base_url=url, budget=())
            for number in range(_SOURCES)
        }
        async with AsyncClient(sources) as client:
            await client.get(f"edge0:{ID}")
            ssl.SSLContext.__new__ = counted  # type: ignore[assignment] - all are made by it
            report = await client.get_many(f"{name}:{ID}" for name in sources)
        async with AsyncClient(sources) as client:
            await client.get(f"edge1:{ID}")
        if report.failures:
            raise RuntimeError(str(report.failures[0]))
        return made

    return asyncio.run(ask())


def _certificate(folder: Path) -> tuple[str, ...]:
    """Options for the server; its authority is in `ca.pem`."""
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    (folder / "certificate.pem").write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    key = load_pem_private_key(issued.private_key_pem.bytes(), None)
    (folder / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return "--ssl-certificate", str(folder / "certificate.pem"), "--ssl-keyfile", str(folder / "key.pem")


def measured(pause: float, *, polls: int) -> Iterator[Goal | Fact]:
    """With so many seconds between so many polls."""
    with tempfile.TemporaryDirectory() as name:
        options = _certificate(Path(name))
        trusted = {"SSL_CERT_FILE": str(Path(name) / "ca.pem")}
        with running(*options, scheme="https") as base:
            url = f"{base}/0/client/v4"
            for transport in ("httpx", "aiohttp"):
                environment = {**trusted, "BULKSTATUS_TRANSPORT": transport}
                _counted(base, trusted)
                in_child(_facade, url, pause, polls, **environment)
                again = float(_counted(base, trusted) - 1)
                what = f"connections opened by {polls} polls {pause:g} s apart, after the first"
                yield Goal("14", what, transport, Spread.of([again]), 0, unit="")
                made = float(in_child(_contexts, url, **environment))
                what = f"TLS contexts made for {_SOURCES} sources and a second client, after the first"
                yield Goal("14", what, transport, Spread.of([made]), 0, unit="")
            _counted(base, trusted)
            in_child(_httpx, url, pause, polls, **trusted)
            again = float(_counted(base, trusted) - 1)
            what = f"connections opened by {polls} polls {pause:g} s apart, after the first"
            yield Fact(what, "raw httpx", Spread.of([again]), "")


def _counted(base: str, trusted: dict[str, str]) -> int:
    return in_child(opened, base, **trusted)
