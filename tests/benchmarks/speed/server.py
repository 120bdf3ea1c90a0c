"""The servers that are asked, in processes of their own: granian with one worker, which answers quicker than anybody asks.

Paths: `/client/v4/...` gives a Cloudflare envelope with the id that was asked for, `/multi/bulks` pages of Weavr bulks.
`/0` and `/20` before them say how many milliseconds each answer takes; a second number how many rows a listing has.
`/connections` gives how many connections asked since it was asked last.
"""

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import httpx

TOTAL = 100_000
"""How many bulks, and how many operations of one, the paged listings have."""

_PEERS: set[tuple[str, int]] = set()


def _row(number: int) -> dict[str, object]:
    return {
        "bulkId": str(112233445566000000 + number),
        "status": "RUNNING",
        "submittedItemsCount": 250,
        "executionStart": 1_767_225_600_123,
        "operation": "/transfers",
        "mode": "ON_FAILURE_CONTINUE",
    }


def _operation(number: int) -> dict[str, object]:
    return {
        "operationId": f"9{number:017d}",
        "sequence": number + 1,
        "method": "POST",
        "path": "/transfers",
        "status": "COMPLETED",
        "requestPayload": json.dumps({"description": "x" * 150, "amount": number}),
        "responsePayload": json.dumps({"id": f"7{number:017d}"}),
    }


_MADE: dict[tuple[str, int, int, int], bytes] = {}


def _page(array: str, offset: int, limit: int, total: int) -> bytes:
    key = (array, offset, limit, total)
    if key in _MADE:
        return _MADE[key]
    make = _row if array == "bulkProcesses" else _operation
    rows = [make(number) for number in range(offset, min(offset + limit, total))]
    made = json.dumps({"count": total, "responseCount": len(rows), array: rows}).encode()
    if total <= TOTAL:  # more would fill the memory
        _MADE[key] = made
    return made


def body_of(path: str, query: str) -> bytes:
    """What is answered."""
    if path == "/connections":
        opened = len(_PEERS)
        _PEERS.clear()
        return b"%d" % opened
    last = path.rpartition("/")[2]
    if "/client/v4/" in path:
        result = {"id": last, "status": "running"}
        return json.dumps({"result": result, "success": True, "errors": [], "messages": []}).encode()
    if last in ("bulks", "operations"):
        asked = parse_qs(query)
        offset, limit = (int(asked.get(name, ["0"])[0]) for name in ("offset", "limit"))
        array = "bulkProcesses" if last == "bulks" else "operations"
        second = path.split("/")[2]
        return _page(array, offset, limit or 10, int(second) if second.isdigit() else TOTAL)
    return json.dumps(_row(int(last) - 112233445566000000)).encode()


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """The application, ASGI."""
    if scope["type"] != "http":
        return
    delay = scope["path"].split("/")[1]
    if delay.isdigit():
        _PEERS.add(tuple(scope["client"]))
        if int(delay):
            await asyncio.sleep(int(delay) / 1000)
    body = body_of(scope["path"], scope["query_string"].decode())
    length = str(len(body)).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", length)]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def opened(base: str) -> int:
    """How many connections asked the server at `base` since this was asked last."""
    with httpx.Client() as client:
        return int(client.get(f"{base}/connections").content)


@contextmanager
def running(*options: str, scheme: str = "http") -> Generator[str]:
    """The server's address, as long as it runs. `options` are granian's."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = ("--interface", "asgi", "--workers", "1", "--no-ws", "--log-level", "error", *options)
    command = [sys.executable, "-m", "granian", *options, "--port", str(port), "--backlog", "2048"]
    command.append("benchmarks.speed.server:app")
    path = os.pathsep.join(filter(None, [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH")]))
    process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": path})
    try:
        _wait_for(port, process)
        yield f"{scheme}://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(300):
        if process.poll() is not None:
            raise RuntimeError(f"the server ended with {process.returncode}")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError("the server does not answer")
