"""Promises about answers that are none: refusals, outages, gateways' pages, and answers about somebody else."""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from email.utils import format_datetime
from typing import Any, NamedTuple

import msgspec

from bulkstatus._adapter import addressed
from bulkstatus.adapter import BulkStatus, Call, Operations, Probe, Secret
from bulkstatus.errors import (
    AuthError,
    BulkStatusError,
    NotFound,
    RateLimited,
    Unavailable,
)
from bulkstatus.testing.contract import _todo
from bulkstatus.testing.contract._driver import Broken, Driver, outcome, page_in
from bulkstatus.testing.contract._mutation import Path, changed, parsed, shape, value_at, written
from bulkstatus.testing.contract._promise import PAGES, Promises, promise
from bulkstatus.testing.contract._questions import NOBODY, Question, not_found, operations_call, questions
from bulkstatus.testing.contract._scenes import name_of

_HTML = b"<!doctype html><html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"
_JSON, _TEXT, _PAGE = "application/json", "text/plain", "text/html; charset=utf-8"
_PAUSE = 7.0


class Reply(NamedTuple):
    """An answer that is none."""

    name: str
    status: int
    body: bytes = b""
    kind: str = _JSON
    headers: Mapping[str, str] = {}

    def to(self, question: Question) -> Any:  # noqa: ANN401 - whatever the adapter makes of it
        """What the adapter makes of it; its error as a value."""
        headers = {"content-type": self.kind, **self.headers}
        return outcome(question.driver.reread, question.step, self.body, status=self.status, headers=headers)


GATEWAYS = (
    # The forms of Kong, AWS API Gateway, FastAPI, Spring, Azure API Management, Apigee, nginx and RFC 9457.
    Reply("no body", 0),
    Reply("an empty object", 0, b"{}"),
    Reply("HTML", 0, _HTML, _PAGE),
    Reply("plain text", 0, b"404 page not found", _TEXT),
    Reply("HTML that is called JSON", 0, _HTML),
    Reply("Kong's JSON", 0, b'{"message": "no Route matched with those values"}'),
    Reply("a message and a request id", 0, b'{"message": "Not Found", "request_id": "8f3a"}'),
    Reply("an error text", 0, b'{"error": "not_found"}'),
    Reply("a detail", 0, b'{"detail": "Not Found"}'),
    Reply(
        "Spring's JSON",
        0,
        b'{"timestamp": "2026-03-01T09:00:00Z", "status": 404, "error": "Not Found", "path": "/x"}',
    ),
    Reply("Azure's JSON", 0, b'{"statusCode": 404, "message": "Resource not found"}'),
    Reply(
        "Apigee's JSON",
        0,
        b'{"fault": {"faultstring": "Unable to identify proxy", "detail": {"errorcode": "x"}}}',
    ),
    Reply(
        "problem details",
        0,
        b'{"type": "about:blank", "title": "Not Found", "status": 404}',
        "application/problem+json",
    ),
    Reply("an array", 0, b"[]"),
    Reply("null", 0, b"null"),
)
"""How proxies and gateways word an error; the status is put in."""

_NO_ANSWERS = (
    Reply("no body", 200),
    Reply("HTML", 200, _HTML, _PAGE),
    Reply("HTML that is called JSON", 200, _HTML),
    Reply("null", 200, b"null"),
    Reply("an array", 200, b"[]"),
    Reply("an empty object", 200, b"{}"),
    Reply("a text", 200, b'"ok"'),
    Reply("a number", 200, b"7"),
    Reply("a gateway's message", 200, b'{"message": "no Route matched with those values"}'),
    Reply("an error text", 200, b'{"error": "internal"}'),
    Reply("an error object", 200, b'{"error": {"message": "internal", "code": 500}}'),
    Reply("nesting without end", 200, b'{"a":' * 5_000),
    Reply("bytes that are no UTF-8", 200, b'{"id": "\xff\xfe"}'),
)


class AnswerPromises(Promises):
    """What an answer without an answer in it comes to, whatever was asked."""

    @promise(_todo.STATUS)
    def test_refused_credentials_are_an_auth_error(self) -> None:
        """A 401 is an AuthError, and a 403 one too, unless it comes from a network edge."""
        for question in self._questions():
            for status, classes in ((401, (AuthError,)), (403, (AuthError, Unavailable))):
                for form in (b"", b'{"message": "Unauthorized"}'):
                    reply = Reply(f"HTTP {status}", status, form)
                    _expect(question, reply, classes)

    @promise(_todo.CREDENTIALS)
    def test_wrong_credentials_are_an_auth_error(self) -> None:
        """With another text in the place of any one credential, each question is an AuthError."""
        bench = self.bench()
        adapter = bench.adapter
        for name in type(adapter).__struct_fields__:
            secret = getattr(adapter, name)
            if not isinstance(secret, Secret):
                continue
            right = secret.reveal()
            other = Secret(right[:-1] + ("y" if right.endswith("x") else "x"), name)
            driver = Driver(bench.fake, msgspec.structs.replace(adapter, **{name: other}))
            asked: dict[str, Call[Any]] = {"status": driver.adapter.status(bench.present[0].id)}
            if isinstance(driver.adapter, Probe):
                asked["probe"] = driver.adapter.probe()
            for kind, call in asked.items():
                found = outcome(driver.ask, call)
                if not isinstance(found, AuthError):
                    raise Broken(f"{kind}() with a wrong {name} is {_named(found)}")

    @promise(_todo.CREDENTIALS, needs=Probe)
    def test_a_probe_accepts_good_credentials(self) -> None:
        """`probe` with the credentials of the fake raises nothing."""
        bench = self.bench()
        if isinstance(bench.adapter, Probe):
            bench.driver.ask(bench.adapter.probe())

    @promise(_todo.KNOWN_FORM)
    def test_a_bulk_the_provider_does_not_know_is_not_found(self) -> None:
        """The provider's own word that there is no such bulk is NotFound."""
        bench = self.bench()
        found = outcome(bench.driver.ask, bench.adapter.status(bench.fake.bulk_id(NOBODY)))
        if not isinstance(found, NotFound):
            raise Broken(f"status() of an id that the fake does not hold is {_named(found)}")

    @promise(_todo.KNOWN_FORM, level=PAGES, needs=Operations)
    def test_operations_of_a_bulk_the_provider_does_not_know_are_not_found(self) -> None:
        """Asked for what is inside a bulk that does not exist, the answer is NotFound and no empty list."""
        bench = self.bench()
        call = operations_call(bench.driver, bench.fake.bulk_id(NOBODY))
        found = outcome(bench.driver.ask, call)
        if not isinstance(found, NotFound):
            raise Broken(f"operations() of an id that the fake does not hold is {_named(found)}")

    @promise(_todo.OWN)
    def test_a_gateway_s_404_says_nothing_of_a_bulk(self) -> None:
        """A 404 or 410 that is not in the provider's own form is no NotFound: somebody may submit the bulk again."""
        own = shape(parsed(not_found(self.bench()).body))
        for question in self._questions():
            for form in GATEWAYS:
                if shape(parsed(form.body)) == own:
                    continue  # who words it as the provider does cannot be told from it
                for status in (404, 410):
                    found = form._replace(status=status).to(question)
                    if isinstance(found, NotFound) or not isinstance(found, BulkStatusError):
                        raise Broken(f"{question}: HTTP {status} with {form.name} is {_named(found)}")

    @promise(_todo.STATUS)
    def test_an_outage_is_unavailable(self) -> None:
        """A 500, 502, 503 or 504, whatever its body, is Unavailable and worth asking again."""
        own = Reply('the words of "no such bulk"', 0, not_found(self.bench()).body)
        for question in self._questions():
            for status in (500, 502, 503, 504):
                for form in (*GATEWAYS, own):
                    found = _expect(question, form._replace(status=status), (Unavailable,))
                    if not found.retryable:
                        raise Broken(f"{question}: HTTP {status} with {form.name} is not retryable")

    @promise(_todo.PAUSE)
    def test_throttling_tells_the_pause(self) -> None:
        """A 429 is RateLimited, with the pause that Retry-After asks for, in seconds or as a date."""
        for question in self._questions():
            sent = question.step.response.received_at.replace(microsecond=0)
            date = format_datetime(sent + timedelta(seconds=_PAUSE), usegmt=True)
            for value in ("7", date):
                headers = {"retry-after": value, "date": format_datetime(sent, usegmt=True)}
                for form in GATEWAYS[:5]:
                    reply = form._replace(status=429, headers=headers)
                    found = _expect(question, reply, (RateLimited,))
                    if found.retry_after != _PAUSE:
                        raise Broken(f"{question}: `Retry-After: {value}` is read as {found.retry_after} s")
            for value in ("soon", "-1", "9" * 30, ""):
                _expect(question, Reply("a 429", 429, headers={"retry-after": value}), (RateLimited,))

    @promise(_todo.STATUS)
    def test_other_statuses_are_errors(self) -> None:
        """A redirect, a refusal and a status that nobody knows are errors, and none of them is NotFound."""
        for question in self._questions():
            for status in (301, 302, 307, 400, 405, 409, 418, 422, 451, 599, 600):
                for form in GATEWAYS:
                    reply = form._replace(
                        status=status, headers={"location": "https://elsewhere.invalid/login?token=x"}
                    )
                    found = reply.to(question)
                    again = status == 400 and (isinstance(found, BulkStatus) or page_in(found) is not None)  # noqa: PLR2004 - asked anew without an option
                    if isinstance(found, NotFound) or not (isinstance(found, BulkStatusError) or again):
                        raise Broken(f"{question}: HTTP {status} with {form.name} is {_named(found)}")

    @promise(_todo.EMPTY)
    def test_a_success_without_an_answer_is_none(self) -> None:
        """HTTP 200 with HTML, with nothing, or with an error in it is neither an end nor an empty list."""
        bench = self.bench()
        own = Reply("the provider's own error", 200, not_found(bench).body)
        for question in self._questions():
            body = question.step.response.body
            cut = Reply("an answer that is cut off", 200, body[: len(body) // 2])
            for reply in (*_NO_ANSWERS, cut, own):
                if type(parsed(reply.body)) is type(parsed(body)) is list:
                    continue
                found = reply.to(question)
                fault = _fault_of(question, found)
                if isinstance(found, NotFound) and reply is not own:
                    fault = "is NotFound"
                # To the question whether the credentials are good, "no such bulk" is an answer.
                if fault is not None and not (question.kind == "probe" and reply is own):
                    raise Broken(f"{question}: HTTP 200 with {reply.name} {fault}")

    @promise(_todo.WRONG_ID)
    def test_an_answer_about_another_bulk_is_refused(self) -> None:
        """What is said of another bulk is not taken for this one, and leads to no question about that one."""
        bench = self.bench()
        others = [(scene, bench.fake.bulk_id(NOBODY)) for scene in bench.scenes]
        others += [
            (scene, f"{scene.id}{scene.id[-1]}") for scene in bench.scenes
        ]  # begins as the id asked for
        for scene, other in others:
            step = scene.trail.steps[0]
            roles = bench.roles[scene.name, 0]
            # All at once: a record may repeat its id.
            document: Any = parsed(step.response.body)
            for path in roles.ids:
                document = _with(document, path, other)
            if not roles.ids:
                continue
            bench.driver.asked.clear()
            found = outcome(bench.driver.reread, step, written(document))
            if any(other in request.path for request in bench.driver.asked):
                raise Broken(f"{scene.name}: the answer's id is another, and a request followed it")
            if isinstance(found, BulkStatus) and found.id == scene.id:
                raise Broken(
                    f"{scene.name}: the answer's id is another, and it is read as {name_of(found.state)}"
                )
            if isinstance(found, NotFound):
                raise Broken(f"{scene.name}: the answer's id is another, and that is NotFound")

    def _questions(self) -> Iterator[Question]:
        yield from questions(self.bench())


def _with(document: object, path: Path, id: str) -> object:
    was = value_at(document, path)
    return changed(document, path, int(id) if isinstance(was, int) and id.isdigit() else id)


def _expect(question: Question, reply: Reply, classes: tuple[type[BulkStatusError], ...]) -> BulkStatusError:
    found = reply.to(question)
    if isinstance(found, classes):
        return found
    wanted = " or ".join(cls.__name__ for cls in classes)
    raise Broken(f"{question}: HTTP {reply.status} with {reply.name} is {_named(found)}, not {wanted}")


def _fault_of(question: Question, found: object) -> str | None:
    """What is wrong with how a success without an answer is read; None if nothing is."""
    if isinstance(found, BulkStatusError):
        return None
    if isinstance(found, BulkStatus):
        return f"is read as {name_of(found.state)}" if found.state.is_terminal else None
    page = page_in(found)
    if page is not None:
        page = addressed(page, question.driver.adapter.id_grammar)
        return None if page.left_out else f"is a page of {len(page.items)} rows, of which none is left out"
    return "is accepted"


def _named(found: object) -> str:
    if isinstance(found, BulkStatusError):
        return type(found).__name__
    if isinstance(found, BulkStatus):
        return name_of(found.state)
    page = page_in(found)
    return "an answer" if page is None else f"a page of {len(page.items)} rows"
