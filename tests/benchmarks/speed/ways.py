"""The ways to ask one question: the facade, what stands beside it, and the layers below it alone."""

import asyncio
import json
import os
import time
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from itertools import cycle
from typing import NamedTuple

from benchmarks.speed.children import Connections

ACCOUNT = "023e105f4ecef8ad9ca31a8372d0c353"
ID = "c" * 32
_PATH = f"accounts/{ACCOUNT}/rules/lists/bulk_operations/{ID}"
_HEADERS = {"Authorization": "Bearer t"}


class Run(NamedTuple):
    """What so many requests took: seconds of CPU and of time for each, and connections in all."""

    cpu: float
    time: float
    connections: int


Ask = Callable[[], Awaitable[object]]


async def _asked(ask: Ask, callers: int, requests: int) -> tuple[float, float]:
    left = requests

    async def caller() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            await ask()

    await asyncio.gather(*(ask() for _ in range(min(callers, 8))))
    cpu, began = time.process_time(), time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(callers)))
    return (time.process_time() - cpu) / requests, (time.perf_counter() - began) / requests


async def _httpx(url: str, callers: int, requests: int) -> tuple[float, float]:
    import httpx

    # As many connections as the facade keeps, callers waiting in front of them: httpx's own queue collapses.
    limits = httpx.Limits(max_connections=8, max_keepalive_connections=8, keepalive_expiry=60)
    gate = asyncio.Semaphore(8)
    async with httpx.AsyncClient(limits=limits, headers=_HEADERS) as client:

        async def ask() -> object:
            async with gate:
                answer = await client.get(f"{url}/{_PATH}")
            return json.loads(answer.content)["result"]["status"]

        return await _asked(ask, callers, requests)


async def _naive(url: str, callers: int, requests: int) -> tuple[float, float]:
    import httpx

    async with httpx.AsyncClient(headers=_HEADERS) as client:

        async def ask() -> object:
            return (await client.get(f"{url}/{_PATH}")).json()["result"]["status"]

        return await _asked(ask, callers, requests)


async def _sdk(url: str, callers: int, requests: int) -> tuple[float, float]:
    from cloudflare import AsyncCloudflare

    async with AsyncCloudflare(api_token="t", base_url=url) as client:
        get = client.rules.lists.bulk_operations.get
        return await _asked(lambda: get(ID, account_id=ACCOUNT), callers, requests)


async def _transport(url: str, callers: int, requests: int) -> tuple[float, float]:
    """What httpx's client stands on: most of a request, whoever asks."""
    import httpx

    limits = httpx.Limits(max_connections=8, max_keepalive_connections=8, keepalive_expiry=60)
    gate = asyncio.Semaphore(8)
    async with httpx.AsyncHTTPTransport(limits=limits) as transport:

        async def ask() -> object:
            async with gate:
                request = httpx.Request("GET", f"{url}/{_PATH}", headers=_HEADERS)
                answer = await transport.handle_async_request(request)
                return await answer.aread()

        return await _asked(ask, callers, requests)


async def _pools(url: str, callers: int, requests: int) -> tuple[float, float]:
    """The quickest that 32 connections of httpcore can be: small pools in turn, nothing read."""
    import httpcore

    gate, address, headers = asyncio.Semaphore(32), f"{url}/{_PATH}", list(_HEADERS.items())
    pools = [
        httpcore.AsyncConnectionPool(max_connections=8, max_keepalive_connections=8, keepalive_expiry=60)
        for _ in range(4)
    ]
    turns = cycle(pools)

    async def ask() -> object:
        async with gate:
            return await next(turns).request("GET", address, headers=headers)

    try:
        return await _asked(ask, callers, requests)
    finally:
        for pool in pools:
            await pool.aclose()


async def facade(url: str, callers: int, requests: int) -> tuple[float, float]:
    """One client of ours, asked by all callers: seconds of CPU and of time for each request."""
    from bulkstatus import AsyncClient, Policy
    from bulkstatus_cloudflare import Cloudflare

    adapter = Cloudflare(account_id=ACCOUNT, token="t" * 40, base_url=url, budget=())
    policy = Policy(connections=int(os.environ.get("BULKSTATUS_CONNECTIONS", "8")))
    async with AsyncClient({"edge": adapter}, policy=policy) as client:
        return await _asked(lambda: client.get(f"edge:{ID}"), callers, requests)


async def _unsent(url: str, callers: int, requests: int) -> tuple[float, float]:
    """The facade over a transport that answers without sending anything: what is added to a request."""
    import httpx

    from bulkstatus import AsyncClient
    from bulkstatus_cloudflare import Cloudflare

    async with httpx.AsyncClient() as peer:
        answer = await peer.get(f"{url}/{_PATH}")

    class Transport(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            return httpx.Response(200, headers=answer.headers, content=answer.content)

    adapter = Cloudflare(account_id=ACCOUNT, token="t" * 40, base_url=url, budget=())
    async with AsyncClient({"edge": adapter}, transport=Transport()) as client:
        return await _asked(lambda: client.get(f"edge:{ID}"), callers, requests)


_WAYS = {
    "raw httpx": _httpx,
    "httpx as it comes": _naive,
    "httpx's transport alone": _transport,
    "httpcore alone": _pools,
    "SDK": _sdk,
    "bulkstatus": facade,
    "bulkstatus, nothing sent": _unsent,
}


def measured(way: str, url: str, callers: int, requests: int) -> Run:
    """What a way takes with so many callers at once. For a process of its own."""
    connections = Connections()
    cpu, seconds = asyncio.run(_WAYS[way](url, callers, requests))
    return Run(cpu, seconds, connections.opened)


@contextmanager
def _blocking_httpx(url: str) -> Generator[Callable[[], object]]:
    import httpx

    with httpx.Client(headers=_HEADERS) as client:
        yield lambda: json.loads(client.get(f"{url}/{_PATH}").content)["result"]["status"]


@contextmanager
def _blocking_sdk(url: str) -> Generator[Callable[[], object]]:
    from cloudflare import Cloudflare

    with Cloudflare(api_token="t", base_url=url) as client:
        get = client.rules.lists.bulk_operations.get
        yield lambda: get(ID, account_id=ACCOUNT)


@contextmanager
def _blocking_facade(url: str) -> Generator[Callable[[], object]]:
    from bulkstatus import Client
    from bulkstatus_cloudflare import Cloudflare

    adapter = Cloudflare(account_id=ACCOUNT, token="t" * 40, base_url=url, budget=())
    with Client({"edge": adapter}) as client:
        yield lambda: client.get(f"edge:{ID}")


_BLOCKING = {"raw httpx": _blocking_httpx, "SDK": _blocking_sdk, "bulkstatus": _blocking_facade}


def blocked(way: str, url: str, requests: int) -> Run:
    """What a script takes that asks one question after another through a blocking client, all its threads counted."""
    connections = Connections()
    with _BLOCKING[way](url) as ask:
        for _ in range(8):
            ask()
        cpu, began = time.process_time(), time.perf_counter()
        for _ in range(requests):
            ask()
        taken = (time.process_time() - cpu) / requests, (time.perf_counter() - began) / requests
    return Run(*taken, connections.opened)
