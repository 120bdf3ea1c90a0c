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
    """Stands before a fake and changes its answers, those about tokens left alone unless `tokens` says otherwise."""

    def __init__(self, fake: Fake[Any], change: Change, *, tokens: bool = False) -> None:
        self._fake = fake
        self._change = change
        self._tokens = tokens

    def receive(self, request: FakeRequest) -> tuple[Fault | None, Callable[[], FakeResponse]]:
        """As the fake would, with another answer."""
        fault, reply = self._fake.receive(request)
        if request.method != "GET" and not self._tokens:
            return fault, reply
        return fault, lambda: self._change(request, reply())


def ask(
    adapter: Adapter,
    fake: Fake[Any],
    question: Callable[[AsyncClient], Awaitable[T]],
    change: Change | None = None,
    *,
    tokens: bool = False,
) -> T:
    """The answer of a client to a question, asked once; `change` is applied to the fake's answers."""
    provider = fake if change is None else cast("Fake[Any]", Between(fake, change, tokens=tokens))
    transport = FakeTransport(dict.fromkeys(adapter.base_urls(), provider))

    async def main() -> T:
        async with AsyncClient({SOURCE: adapter}, transport=transport, policy=_ONCE) as client:
            return await question(client)

    return anyio.run(main)
