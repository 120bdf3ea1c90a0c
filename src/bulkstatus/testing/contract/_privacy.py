"""Promises about credentials: they are in the headers of requests, and nowhere else."""

import json
import logging
import pickle
from collections.abc import Container, Iterator
from itertools import product
from typing import Any

import msgspec
import pytest

from bulkstatus import AsyncClient
from bulkstatus.adapter import Listing, Operations, Request
from bulkstatus.errors import BulkStatusError
from bulkstatus.testing._fake import FakeRequest, FakeResponse
from bulkstatus.testing.contract import _todo
from bulkstatus.testing.contract._answers import GATEWAYS
from bulkstatus.testing.contract._driver import SOURCE, Broken, outcome
from bulkstatus.testing.contract._facade import ask
from bulkstatus.testing.contract._mutation import Path, changed, parsed, places, value_at, written
from bulkstatus.testing.contract._promise import Promises, promise
from bulkstatus.testing.contract._questions import not_found, questions
from bulkstatus.testing.contract._scenes import Bench

_SHORTEST = 6
_SHORTEST_IN_RECORDS = 16
_STATUSES = (400, 401, 403, 404, 409, 429, 500, 503)


class PrivacyPromises(Promises):
    """What is never shown."""

    @promise(_todo.SECRETS)
    def test_an_adapter_shows_no_credential(self) -> None:
        """The repr, the text and the pickle of an adapter, its auth and its calls hold no credential."""
        bench = self.bench()
        adapter, secrets = bench.adapter, _secrets(self.bench())
        call = adapter.status(bench.scenes[0].id)
        things = (adapter, adapter.auth(), call, call.request, *bench.scenes[0].trail.steps)
        for thing in things:
            for text in (repr(thing), str(thing), *_written(thing)):
                _check(text, secrets, f"a {type(thing).__name__} that is shown or written")

    @promise(_todo.SECRETS)
    def test_credentials_travel_in_headers_alone(self) -> None:
        """No request that an adapter makes has a credential in its path, its query or headers of its own."""
        for question in questions(self.bench()):
            request: Request = question.step.call.request
            parts = (request.base_url, request.path, *sum((*request.query, *request.headers), ()))
            for text in parts:
                _check(text, _secrets(self.bench()), f"the request of {question}")

    @promise(_todo.SECRETS)
    def test_errors_hold_no_credential(self) -> None:
        """No error that an adapter raises, of an answer or of its settings, holds a credential."""
        bench = self.bench()
        secrets = _secrets(bench)
        found = [
            (f"HTTP {status} to {question}", form._replace(status=status).to(question))
            for question in questions(bench)
            for status in (200, *_STATUSES)
            for form in GATEWAYS
        ]
        found += [(case.where, case.outcome) for case in bench.sweep]
        for where, error in found:
            if isinstance(error, BulkStatusError):
                for text in _texts(error):
                    _check(text, secrets, f"a {type(error).__name__}: {where}")
        refused = outcome(self.make_adapter, bench.fake, "http://api.example.com")
        if isinstance(refused, BulkStatusError):
            for text in _texts(refused):
                _check(text, secrets, "the error about a wrong base URL")

    @promise(_todo.ECHO)
    def test_a_provider_that_repeats_credentials_is_not_quoted(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Credentials that an error of the provider, or of its token endpoint, repeats are in no error of ours and no log."""
        bench = self.bench()
        own = parsed(not_found(bench).body)
        caplog.set_level(logging.DEBUG)
        for status, document, tokens in product(_STATUSES, ("", {"message": ""}, own), (False, True)):
            echo = Echo(bench, document, status)
            for error in _met(bench, echo, tokens=tokens):
                for text in _texts(error):
                    _check(text, echo.secrets, f"the error for HTTP {status} with the credentials in it")
            _check(caplog.text, echo.secrets, "the log")
            caplog.clear()

    @promise(_todo.ECHO)
    def test_a_record_that_repeats_credentials_is_not_shown(self) -> None:
        """Credentials of 16 characters and more that a record repeats are taken out: of fields, evidence and raw."""
        bench = self.bench()
        scene = bench.scenes[-1]
        roles = bench.roles[scene.name, 0]
        document = parsed(scene.trail.steps[0].response.body)
        echo = Echo(bench, document, 200, but=roles.word | roles.ids)
        found = outcome(
            ask, bench.adapter, bench.fake, lambda client: client.get(f"{SOURCE}:{scene.id}"), echo
        )
        shown = [str(found)] if isinstance(found, BulkStatusError) else [*_written(found), str(found.raw)]
        long = frozenset(
            text for text in echo.secrets if len(text) >= _SHORTEST_IN_RECORDS and not text.isdigit()
        )
        for text in (repr(found), *shown):
            _check(text, long, "a status whose record repeats the credentials")


class Echo:
    """Answers with the credentials of each request in the place of every text of `document`, but for some.

    `secrets` are those that were sent and all others.
    """

    def __init__(self, bench: Bench, document: object, status: int, *, but: Container[Path] = ()) -> None:
        self._document = document
        self._but = but
        self._status = status
        self._names = {name.lower() for name in bench.driver.credentials()}
        self.secrets = _secrets(bench)

    def __call__(self, request: FakeRequest, reply: FakeResponse) -> FakeResponse:
        """The answer."""
        del reply
        headers = {value.rpartition(" ")[2] for name, value in request.headers.items() if name in self._names}
        self.secrets |= headers
        sent = headers | {value for value in request.form.values() if value in self.secrets}
        echo = f"you sent {' and '.join(sorted(sent))}"
        body = written(_filled(self._document, echo, self._but)) if self._document else echo.encode()
        return FakeResponse(status=self._status, body=body, headers={"Content-Type": "application/json"})


def _filled(document: object, text: str, but: Container[Path]) -> object:
    """The document with `text` in the place of every text that it holds, except at some places."""
    for path in places(document):
        if isinstance(value_at(document, path), str) and path not in but:
            document = changed(document, path, text)
    return document


def _secrets(bench: Bench) -> frozenset[str]:
    found = bench.driver.secrets()
    return frozenset(text for text in found if len(text) >= _SHORTEST)


def _check(text: str, secrets: frozenset[str], where: str) -> None:
    if any(secret in text for secret in secrets):
        raise Broken(f"a credential stands in {where}")


def _met(bench: Bench, echo: Echo, *, tokens: bool) -> Iterator[BulkStatusError]:
    """All errors that clients meet where every answer is an echo; each asks once, since a 429 makes the next wait."""
    ref = f"{SOURCE}:{bench.scenes[0].id}"

    async def get(client: AsyncClient) -> None:
        await client.get(ref)

    async def list_(client: AsyncClient) -> None:
        (await client.list()).raise_for_failures()

    async def inside(client: AsyncClient) -> None:
        _ = [operation async for operation in client.operations(ref)]

    asked = [get]
    asked += [list_] if isinstance(bench.adapter, Listing) else []
    asked += [inside] if isinstance(bench.adapter, Operations) else []
    for question in asked:
        try:
            ask(bench.adapter, bench.fake, question, echo, tokens=tokens)
        except BulkStatusError as error:
            yield error


def _texts(error: BulkStatusError) -> Iterator[str]:
    """An error in all the ways in which it is shown or kept, and what is behind it."""
    yield from (str(error), repr(error), str(error.args), json.dumps(vars(error), default=repr))
    yield pickle.dumps(error).decode("latin-1")
    behind: BaseException | None = error.__cause__ or error.__context__
    while behind is not None:
        yield from (str(behind), repr(behind))
        behind = behind.__cause__ or behind.__context__


def _written(thing: Any) -> Iterator[str]:  # noqa: ANN401 - anything an adapter makes
    """A thing in the forms that programs write; those that it refuses are left out."""
    for write in (msgspec.json.encode, pickle.dumps):
        try:
            yield write(thing).decode("latin-1")
        except Exception:  # noqa: BLE001, S112 - what cannot be written shows nothing
            continue
