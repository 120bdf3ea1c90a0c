"""Asks a fake in process, as the engine would ask its provider, and hands out what came so that it can be changed."""

import traceback
from collections.abc import Callable, Container, Mapping
from datetime import UTC, datetime
from pathlib import PurePath
from typing import Any, Generic, NamedTuple, ParamSpec, TypeGuard, TypeVar, cast
from urllib.parse import quote, unquote, urlsplit

from bulkstatus.adapter import Adapter, Call, Page, Request, Response, Secret
from bulkstatus.errors import BulkStatusError
from bulkstatus.testing._fake import Fake, FakeRequest, FakeResponse
from bulkstatus.testing.contract import _todo
from bulkstatus.testing.contract._todo import Todo

P = ParamSpec("P")
T = TypeVar("T")

SOURCE = "contract"
_PACKAGE = PurePath(__file__).parents[2]
_LONGEST_CHAIN = 200
_MOST_TOKENS = 5


class Broken(Exception):
    """A promise does not hold. `seen` says what was seen, without anything secret."""

    def __init__(self, seen: str, todo: Todo | None = None) -> None:
        super().__init__(seen)
        self.seen = seen
        self.todo = todo


class Step(NamedTuple):
    """A call of a chain, and what the fake truly answered."""

    call: Call[Any]
    response: Response


class Trail(NamedTuple, Generic[T]):
    """A question with all its requests: the steps in order, and the answer."""

    steps: tuple[Step, ...]
    answer: T


class Driver:
    """One adapter and one fake, without a client between them."""

    def __init__(self, fake: Fake[Any], adapter: Adapter) -> None:
        self.fake = fake
        self.adapter = adapter
        self._auth = adapter.auth()
        self.asked: list[Request] = []
        """Every request but those for tokens."""

    def ask(self, call: Call[T]) -> T:
        """The answer to a call. Raises what the adapter raises, and Broken for what is no error of ours."""
        return self.trail(call).answer

    def trail(self, call: Call[T]) -> Trail[T]:
        """As `ask`, with every step on the way."""
        steps: list[Step] = []
        for _ in range(_LONGEST_CHAIN):
            response = self.send(call.request)
            steps.append(Step(call, response))
            result = self.read(call, response)
            if not isinstance(result, Call):
                return Trail(tuple(steps), result)
            call = cast("Call[T]", result)
        raise Broken(f"{_LONGEST_CHAIN} calls led from one to another", _todo.PAGES)

    def reread(
        self, step: Step, body: bytes, *, status: int | None = None, headers: Mapping[str, str] | None = None
    ) -> Any:  # noqa: ANN401 - whatever the call is about
        """What the adapter makes of another answer to `step`; calls that it leads to are answered truly."""
        response = Response(
            status=step.response.status if status is None else status,
            headers=step.response.headers if headers is None else dict(headers),
            body=body,
            received_at=step.response.received_at,
            source=SOURCE,
            provider=self.adapter.provider,
            value_limit=step.call.request.value_limit,
        )
        result = self.read(step.call, response)
        return self.ask(result) if is_call(result) else result

    def read(self, call: Call[T], response: Response) -> T | Call[T]:
        """Read an answer; what is raised besides errors of ours breaks the promise that nothing is."""
        try:
            return call.read(response)
        except BulkStatusError:
            raise
        except Exception as error:  # noqa: BLE001 - that is the point
            seen = f"{type(error).__name__} from {place_of(error)}"
        raise Broken(seen, _todo.MEMBERS)

    def send(self, request: Request, *, token: bool = False) -> Response:
        """Have the fake answer one request."""
        headers = {"accept": "application/json", **{name.lower(): value for name, value in request.headers}}
        body = b""
        if not token:
            self.asked.append(request)
            headers |= {name.lower(): value for name, value in self.credentials().items()}
        if request.form is not None:
            headers["content-type"] = "application/x-www-form-urlencoded"
            pairs = ((name, as_text(value)) for name, value in request.form)
            body = "&".join(
                f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in pairs
            ).encode()
        asked = FakeRequest(
            method=request.method,
            path=path_of(request),
            query=dict(request.query),
            headers=headers,
            body=body,
        )
        _, reply = self.fake.receive(asked)
        return self._response(reply(), request)

    def _response(self, reply: FakeResponse, request: Request) -> Response:
        return Response(
            status=reply.status,
            headers={name.lower(): value for name, value in reply.headers.items()},
            body=reply.body,
            received_at=datetime.fromtimestamp(self.fake.clock(), UTC),
            source=SOURCE,
            provider=self.adapter.provider,
            value_limit=request.value_limit,
        )

    def credentials(self) -> dict[str, str]:
        """The headers of the adapter's scheme, tokens fetched."""
        for secret in self._auth.secrets:
            secret.load()
        for _ in range(_MOST_TOKENS):
            call = self._auth.renewal(self.fake.clock())
            if call is None:
                return self._auth.headers()
            self.read(call, self.send(call.request, token=True))
        raise Broken("the scheme of auth() asks for one token after another", _todo.SECRETS)

    def told(self, error: BulkStatusError) -> str:
        """An error to an answer that nobody has changed, in words for a message: what was asked, without credentials."""
        kind = f"{type(error).__name__} to its adapter"
        try:
            secrets = self.secrets()
        except Exception:  # noqa: BLE001 - without them nothing can be taken out of a text
            return kind
        path = path_of(self.asked[-1]) if self.asked else ""
        asked = f", asked for GET {path}" if path and not any(secret in path for secret in secrets) else ""
        return f"{kind}{asked}: {error.redact(secrets)}"

    def secrets(self) -> frozenset[str]:
        """Everything that must not be seen: settings that are Secrets, what auth() loads, and what its headers carry."""
        sent = {value.rpartition(" ")[2] for value in self.credentials().values()}
        headers = {value for value in sent if "@" not in value}  # a mail address beside a key is no secret
        settings = (getattr(self.adapter, name) for name in type(self.adapter).__struct_fields__)
        held = [value for value in (*settings, *self._auth.secrets) if isinstance(value, Secret)]
        return frozenset(headers | {secret.reveal() for secret in held})


def as_text(value: str | Secret) -> str:
    """A value of a form, revealed."""
    return value.reveal() if isinstance(value, Secret) else value


def path_of(request: Request) -> str:
    """The path as the provider sees it."""
    return urlsplit(request.base_url).path.rstrip("/") + request.path


def fault_of(request: Request, base_urls: Container[str]) -> str | None:
    """What is wrong with a request that must stay below `base_urls` and change nothing; None if nothing is."""
    path = request.path
    segments = path.split("/")
    if request.base_url not in base_urls:
        return "goes to a base URL that is not among base_urls()"
    if not path.startswith("/") or any(character in path for character in "?#\\ "):
        return "has a path that is not one of encoded segments"
    if any(unquote(segment) in (".", "..") for segment in segments) or "" in segments[1:-1]:
        return "has a path with empty or dot segments"
    return None if request.method == "GET" else f"is a {request.method}, and not for a token"


def place_of(error: BaseException) -> str:
    """Where an exception comes from: the author's own line, never its text, which may repeat what was read."""
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [frame for frame in frames if _PACKAGE not in PurePath(frame.filename).parents]
    frame = (theirs or list(frames))[-1]
    return f"{PurePath(frame.filename).name}:{frame.lineno} ({frame.name})"


def is_page(found: object) -> TypeGuard[Page[Any]]:
    """True for a page."""
    return isinstance(found, Page)


def is_call(found: object) -> TypeGuard[Call[Any]]:
    """True for another call in the place of an answer."""
    return isinstance(found, Call)


def page_in(found: object) -> Page[Any] | None:
    """What was read, where it is a page."""
    return found if is_page(found) else None


def outcome(question: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T | BulkStatusError:
    """What a question comes to: its answer, or its error as a value. What breaks a promise is raised on."""
    try:
        return question(*arguments, **options)
    except BulkStatusError as error:
        return error
