"""The facade over a fake in process, whose answers can be changed on their way."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, cast

import anyio

from bulkstatus import AsyncClient, Policy
from bulkstatus.adapter import Adapter
from bulkstatus.testing._fake import Fake, FakeRequest, FakeResponse, Fault
from bulkstatus.testing._transport import FakeTransport
from bulkstatus.testing.contract._driver import SOURCE

T = TypeVar("T")

Change = Callable[[FakeRequest, FakeResponse], FakeResponse]
_ONCE = Policy(attempts=1)


class Between:
    """Stands before a fake and changes its answers, those about tokens left alone."""

    def __init__(self, fake: Fake[Any], change: Change) -> None:
        self._fake = fake
        self._change = change

    def receive(self, request: FakeRequest) -> tuple[Fault | None, Callable[[], FakeResponse]]:
        """As the fake would, with another answer."""
        fault, reply = self._fake.receive(request)
        if request.method != "GET":
            return fault, reply
        return fault, lambda: self._change(request, reply())


def transport(adapter: Adapter, fake: Fake[Any], change: Change | None = None) -> FakeTransport:
    """What leads all of the adapter's base URLs to the fake."""
    provider = fake if change is None else cast("Fake[Any]", Between(fake, change))
    return FakeTransport(dict.fromkeys(adapter.base_urls(), provider))


def ask(
    adapter: Adapter,
    fake: Fake[Any],
    question: Callable[[AsyncClient], Awaitable[T]],
    change: Change | None = None,
) -> T:
    """The answer of a client to a question, asked once."""

    async def main() -> T:
        client = AsyncClient({SOURCE: adapter}, transport=transport(adapter, fake, change), policy=_ONCE)
        async with client:
            return await question(client)

    return anyio.run(main)
