"""A fake in process, as an httpx transport."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

import anyio
import httpx

from bulkstatus.testing._fake import Fake, FakeRequest


class FakeTransport(httpx.AsyncBaseTransport):
    """Answers requests from fakes, by base URL: `FakeTransport({"https://weavr.test/multi": fake})`.

    Hand it to `Client(..., transport=...)`. A request to any other address fails like an unknown host.
    """

    def __init__(self, fakes: Mapping[str, Fake[Any]]) -> None:
        self._fakes: dict[tuple[str, int | None], Fake[Any]] = {}
        for url, fake in fakes.items():
            self.add(url, fake)

    def add(self, url: str, fake: Fake[Any]) -> None:
        """Answer requests to one more base URL."""
        self._fakes[httpx.URL(url).host, httpx.URL(url).port] = fake

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Let the fake answer."""
        fake = self._fakes.get((request.url.host, request.url.port))
        if fake is None:
            raise httpx.ConnectError(f"no fake at {request.url.host}", request=request)
        fault, reply = fake.receive(
            FakeRequest(
                method=request.method,
                path=request.url.raw_path.decode("ascii").partition("?")[0],
                query=dict(request.url.params.items()),
                headers={name.lower(): value for name, value in request.headers.items()},
                body=await request.aread(),
            )
        )
        if fault is not None and fault.delay:
            await anyio.sleep(fault.delay)
        if fault is not None and fault.drop:
            raise httpx.ReadError("connection dropped", request=request)
        response = reply()
        return httpx.Response(response.status, stream=_Body(response.body), headers=response.headers)


class _Body(httpx.AsyncByteStream):
    """A body still to be read, as from a network."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._body
