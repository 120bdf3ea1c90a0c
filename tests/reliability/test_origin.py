"""Nothing is ever sent to an address that is not a source's own, whatever a provider says of others."""

import json
import socket
import threading
from contextlib import suppress

import anyio
import pytest

from bulkstatus import AsyncClient, BulkStatusError, Client, Policy, printable
from bulkstatus.adapter import Call, Request
from bulkstatus.testing import Fake, FakeResponse, Life, serve
from bulkstatus_cloudflare.fake import CloudflareFake
from bulkstatus_druid.fake import DruidFake
from bulkstatus_weavr.fake import WeavrFake
from support import Plain, ask, raw_server, reply

BULK = "a" * 32


class Trap:
    """An address that counts who comes."""

    def __init__(self):
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.connections = 0
        self._thread = threading.Thread(target=self._count, daemon=True)
        self._thread.start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def _count(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            connection.close()

    def close(self):
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()


@pytest.fixture
def trap():
    """An address that nobody may come to. It is looked at when the test is over, whatever else the test says."""
    found = Trap()
    yield found
    found.close()
    assert found.connections == 0


def test_a_trap_counts(trap_that_is_visited):
    """Else it would prove nothing."""
    assert trap_that_is_visited.connections == 1


@pytest.fixture
def trap_that_is_visited():
    """A trap that somebody came to."""
    found = Trap()
    with socket.create_connection(("127.0.0.1", found.port)) as visitor:
        visitor.recv(1)  # until it was counted and let go
    found.close()
    return found


def headers(url):
    """What an answer names another address in: in every header that some client obeys, one place for a redirect each."""
    host = url.partition("//")[2]
    others = [
        f'Link: <{url}/bulks?page=2>; rel="next", <{url}/x>; rel="preload"',
        f"Refresh: 0; url={url}/",
        f"Content-Location: {url}/",
        f'Alt-Svc: http/1.1="{host}"; ma=3600, h2="{host}"',
        f'Report-To: {{"endpoints":[{{"url":"{url}/"}}]}}',
        "Set-Cookie: a=b; Domain=127.0.0.1; Path=/",
        f'Proxy-Authenticate: Basic realm="{url}"',
        f'WWW-Authenticate: Bearer realm="{url}/token",authorization_uri="{url}/"',
    ]
    targets = (
        f"{url}/bulks/a1",
        f"//{host}/bulks/a1",
        f"http://user:pass@{host}/",
        f"http:{host}",
        "/elsewhere",
    )
    return [[f"Location: {target}", *others] for target in targets]


@pytest.mark.parametrize("status", [200, 301, 302, 303, 307, 308, 401, 407, 503])
@pytest.mark.unrecorded
def test_an_address_in_a_header_is_not_asked(kind, transport, quick, trap, status):
    """Of whatever status: it is refused or left alone, never followed; no cookie comes back to any port either."""
    for lines in headers(trap.url):
        body = b'{"id":"a1","status":"running"}'
        with raw_server(reply(body, status, *lines)) as server, suppress(BulkStatusError):
            ask(kind, Plain(base_url=server.url), "plain:a1", "plain:a1", policy=Policy(attempts=2))
        assert server.requests
        for request in server.requests:
            assert request.startswith(b"GET /bulks/a1 HTTP/1.1\r\n")
            assert b"cookie" not in request.lower()


@pytest.mark.parametrize("status", [200, 302, 307, 308])
def test_a_token_endpoint_that_names_another_is_not_followed(kind, transport, quick, trap, status):
    """The secret goes to the endpoint that was configured, and nowhere else."""
    body = json.dumps(
        {
            "access_token": "S3CR3T-issued",
            "token_type": "bearer",
            "token_endpoint": trap.url,
            "issuer": trap.url,
        }
    ).encode()
    status_body = b'{"id":"a1","status":"running"}'
    with raw_server(reply(body, status, *headers(trap.url)[0]), reply(status_body)) as server:
        adapter = Plain(base_url=server.url, token_url=server.url)
        with suppress(BulkStatusError):
            ask(kind, adapter, policy=Policy(attempts=2))
    posts = [request for request in server.requests if request.startswith(b"POST")]
    assert len(posts) == 1


URLS = {
    "another address": "{trap}/x",
    "inside the network": "http://internal/",
    "metadata": "http://169.254.169.254/latest/meta-data/",
    "a file": "file:///etc/passwd",
    "a script": "javascript:fetch('{trap}')",
    "10 KB": "{trap}/" + "a" * 10_000,
    "a line break": "{trap}/\r\nX-Evil: 1",
    "another host of the same name": "//{host}/x",
    "an image": "<img src={trap}/x>",
}


@pytest.mark.row("B102")
@pytest.mark.parametrize("name", URLS)
@pytest.mark.unrecorded
def test_an_address_in_an_answer_is_shown_and_not_asked(kind, transport, trap, name):
    """In every text of a bulk and of its operations; it is one printable line, and the way to the next page is ours."""
    url = URLS[name].format(trap=trap.url, host=trap.url.partition("//")[2])
    weavr, edge, druid = WeavrFake(), CloudflareFake(), DruidFake()
    weavr.add("1", Life.of((0, "COMPLETED")), operations=250, action=url)
    weavr.add("2", Life.of((0, url)), operations=5, mode=url)
    edge.add(BULK, Life.of((0, "failed")), error=url)
    druid.add("d-1", Life.of((0, "completed")), users=250, failed=3)
    every = {
        "next": url,
        "url": url,
        "href": url,
        "links": {"next": url},
        "@odata.nextLink": url,
        "location": url,
    }
    with (
        serve(With(weavr, every)) as one,
        serve(With(edge, every)) as two,
        serve(With(druid, every)) as three,
    ):
        adapters = {"w": weavr.adapter(one), "c": edge.adapter(two), "d": druid.adapter(three)}
        found, number = look(kind, adapters)
    assert number == 250
    assert {str(status.ref): status.state for status in found} == {
        "w:1": "succeeded",
        "w:2": "unknown",
        f"c:{BULK}": "failed",
        "d:d-1": "partial",
    }
    shown = [found[0].action, found[2].error, *(line for status in found for line in status.evidence)]
    for text in map(printable, filter(None, shown)):
        assert text.isprintable()
        assert len(text) <= 512


class With(Fake):
    """A fake, and in each object of its answers the members `more`."""

    word = "with"

    def __init__(self, inner, more):
        super().__init__()
        self.inner, self.more, self.prefix = inner, more, inner.prefix

    def answer(self, request):
        response = self.inner.answer(request)
        if not response.body:
            return response
        return FakeResponse.json(self._with(json.loads(response.body)), response.status, response.headers)

    def _with(self, value):
        if isinstance(value, list):
            return [self._with(each) for each in value]
        if not isinstance(value, dict):
            return value
        return {**self.more, **{key: self._with(each) for key, each in value.items()}}

    def adapter(self, base_url):
        return self.inner.adapter(base_url)

    def bulk_ids(self):
        return self.inner.bulk_ids()

    def bulk_id(self, number):
        return f"a{number}"

    def place(self, id, life, *, total=100, failed=0):
        raise NotImplementedError

    @classmethod
    def demo(cls, *, clock=None):
        raise NotImplementedError


REFS = ("w:1", "w:2", f"c:{BULK}", "d:d-1")


def look(kind, adapters):
    """How the bulks stand, and how many operations the first has."""
    if kind == "blocking":
        with Client(adapters) as client:
            list(client.list())
            return [client.get(ref) for ref in REFS], len(list(client.operations("w:1")))

    async def main():
        async with AsyncClient(adapters) as client:
            await client.list()
            rows = [row async for row in client.operations("w:1")]
            return [await client.get(ref) for ref in REFS], len(rows)

    return anyio.run(main)


class Elsewhere(Plain, frozen=True, kw_only=True):
    """An adapter that asks another address than its own, in one of several ways."""

    other: str
    how: str = "call"

    def status(self, id):
        if self.how == "call":
            return Call(Request.to(self.other, "bulks", id), lambda _: None)
        if self.how == "next call":
            return Call(Request.to(self.base_url, "bulks", id), lambda _: super(Elsewhere, self).status(id))
        path = {"path": f"//{self.other.partition('//')[2]}/x", "address in the path": f"{self.other}/x"}[
            self.how
        ]
        return Call(Request(base_url=self.base_url, path=path), lambda _: None)


@pytest.mark.parametrize("how", ["call", "path", "address in the path"])
def test_an_adapter_asks_no_other_address(kind, transport, trap, how):
    """A stranger's adapter that was talked into it gets an error, and the credentials stay."""
    with raw_server(reply()) as server, pytest.raises(BulkStatusError) as caught:
        ask(kind, Elsewhere(base_url=server.url, other=trap.url, how=how))
    assert caught.value.kind in ("config", "protocol")
    assert all(request.startswith(b"GET //") for request in server.requests)
