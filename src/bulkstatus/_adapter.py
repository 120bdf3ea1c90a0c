"""What an adapter is: the settings of one provider, and the calls they make possible."""

import re
from collections.abc import Callable
from functools import cache
from hashlib import sha256
from typing import Annotated, Any, ClassVar, Protocol, TypeVar, get_args, get_type_hints, runtime_checkable
from urllib.parse import urlsplit

import msgspec

from bulkstatus._auth import Auth
from bulkstatus._call import Call, ListQuery, OperationQuery, Page, Response
from bulkstatus._model import BulkOperation, BulkStatus, State
from bulkstatus._secrets import Masked, Secret
from bulkstatus._text import nearest
from bulkstatus._unseen import unseen
from bulkstatus._urls import check_base_url, origin
from bulkstatus.errors import ConfigError

R = TypeVar("R")

_MAX_ID = 128
_SEGMENT = rf"[A-Za-z0-9._~!$&'()*+,;=:@-]{{1,{_MAX_ID}}}"
_ADDRESS = "an address of the provider's"

BaseUrl = Annotated[str, _ADDRESS]
"""A setting that holds a base URL: checked when the adapter is made, and where its requests may go."""

SOURCE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


class Limit(msgspec.Struct, frozen=True):
    """At most `requests` in any `seconds`. Raises ConfigError for numbers that cannot be."""

    requests: int
    seconds: float

    def __post_init__(self) -> None:
        requests: object = self.requests
        seconds: object = self.seconds
        if not isinstance(requests, int) or isinstance(requests, bool) or requests < 1:
            raise ConfigError(f"a limit is of 1 request or more, not {requests!r}")
        if not isinstance(seconds, int | float) or not 0 < seconds < float("inf"):
            raise ConfigError(f"a limit is for a number of seconds above 0, not {seconds!r}")

    def __str__(self) -> str:
        return f"{self.requests:,} in {self.seconds:g} s"


class Remaining(msgspec.Struct, frozen=True):
    """What a provider says is left: `left` of `of` requests, for the next `seconds`."""

    left: int
    of: int
    seconds: float


@cache
def _matching(pattern: str) -> Callable[[str], object]:
    """What tells whether a text matches a grammar's pattern and can be a segment, at one go where that can be had."""
    alone = re.compile(pattern, re.ASCII).fullmatch
    try:
        return re.compile(rf"(?!\.\.?\Z)(?={_SEGMENT}\Z)(?:{pattern})", re.ASCII).fullmatch
    except re.error:  # flags for the whole of a pattern stand at its beginning
        segment = re.compile(rf"(?!\.\.?\Z){_SEGMENT}").fullmatch
        return lambda text: segment(text) and alone(text)


class IdGrammar(msgspec.Struct, frozen=True):
    """What an id of a provider looks like: a pattern for the whole of it, and that pattern in words.

    Whatever the pattern allows, an id is at most 128 characters, all of them such as stand in a segment of a path as
    they are (RFC 3986, 3.3): letters, digits and `-._~!$&'()*+,;=:@`. `cased` is false for a provider to whom ids
    that differ in case are one; without its word for that they are two.
    """

    pattern: str
    words: str
    cased: bool = True

    def check(self, id: str) -> str:
        """Return `id`; raise ConfigError if it cannot be one, before it gets near a URL."""
        if self.fits(id):
            return id
        shown = repr(id) if len(id) <= _MAX_ID else f"{id[:32]!r}... ({len(id)} characters)"
        raise ConfigError(f"{shown} is not a bulk id here: {self.words}", reason="id")

    def fits(self, id: str) -> bool:
        """True for what can be an id."""
        return _matching(self.pattern)(id) is not None

    def key(self, id: str) -> str:
        """What two ids of one bulk have in common."""
        return id if self.cased else id.lower()


class Adapter(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The base of all adapters: a frozen struct of settings that builds calls and sends nothing.

    Subclass it with the provider's settings as fields; credentials are annotated `SecretText`. `state_map` pins
    words of the provider to states, for words that this release does not know. `budget` is how many requests these
    credentials may cost, for accounts with other limits than the documented ones; empty for no limit, None for what
    the adapter declares. Declare the class variables, write
    `auth` and `status`, and whichever of `Listing`, `Operations`, `Confirms` and `Probe` the provider
    can serve. Settings that are annotated `BaseUrl` are checked and brought into their plain form here; check others in
    `__post_init__`, after calling the base's.
    """

    provider: ClassVar[str]
    """The provider's one word: entry point, package suffix, docs page."""
    id_grammar: ClassVar[IdGrammar]
    limits: ClassVar[tuple[Limit, ...]] = ()
    """The provider's documented limits, tightest window first; empty when it documents none."""
    share: ClassVar[tuple[Limit, ...] | None] = None
    """What bulkstatus takes of them unless `budget` says otherwise; None for all of it."""
    counted_by: ClassVar[tuple[str, ...]] = ()
    """The settings, credentials among them, by which the provider counts requests: sources that have the same share
    one budget. Empty for all credentials."""
    account_by: ClassVar[tuple[str, ...]] = ()
    """The plain settings, beside the base URLs, that say whose bulks these are, so that the journal keeps those of one
    account apart from another's."""
    poll_floor: ClassVar[float] = 1.0
    """The shortest sensible time between two looks at one bulk, in seconds."""
    poll_ceiling: ClassVar[float] = 60.0
    """The longest sensible time between two looks at one bulk, in seconds."""

    state_map: dict[str, State] = {}
    budget: tuple[Limit, ...] | None = None

    def __post_init__(self) -> None:
        self._hide_credentials()
        for name in _url_fields(type(self)):
            url: str | None = getattr(self, name)
            if url is not None:
                msgspec.structs.force_setattr(self, name, check_base_url(url, setting=name))
        for word, state in self.state_map.items():
            if state not in State.__members__.values():
                raise ConfigError(
                    f"state_map: {word!r} is pinned to {state!r}{nearest(str(state), map(str, State))}"
                )
        pins = {word: State(state) for word, state in self.state_map.items()}
        msgspec.structs.force_setattr(self, "state_map", pins)

    @unseen
    def _hide_credentials(self) -> None:
        """Make Secrets of the credentials. All are taken out first: `self` is in the frames behind an error."""
        given = Masked({name: getattr(self, name) for name in _secret_fields(type(self))})
        for name in given:
            msgspec.structs.force_setattr(self, name, None)
        for name in given:
            if isinstance(given[name], Secret):
                msgspec.structs.force_setattr(self, name, given[name])
            elif given[name] is not None:
                msgspec.structs.force_setattr(self, name, Secret(given[name], name))

    def allowed(self) -> tuple[Limit, ...]:
        """The limits that bulkstatus keeps."""
        if self.budget is not None:
            return self.budget
        return self.limits if self.share is None else self.share

    def auth(self) -> Auth:
        """A new auth scheme for one source."""
        raise NotImplementedError

    def base_urls(self) -> tuple[str, ...]:
        """Every base URL that requests may go to: the settings that are annotated `BaseUrl`, unless you write it.

        Nothing is ever sent anywhere else.
        """
        urls = [url for name in _url_fields(type(self)) if (url := getattr(self, name)) is not None]
        if not urls:
            raise NotImplementedError
        return tuple(dict.fromkeys(urls))

    def status(self, id: str) -> Call[BulkStatus]:
        """The call that tells how bulk `id` stands. `id` has passed `id_grammar`."""
        raise NotImplementedError


def addressed(page: Page[R], grammar: IdGrammar) -> Page[R]:
    """The page without the rows that nobody could ask about, as their id can be none: those are counted as left out."""
    fit = tuple(row for row in page.items if not isinstance(row, BulkStatus) or grammar.fits(row.id))
    out = len(page.items) - len(fit)
    return msgspec.structs.replace(page, items=fit, left_out=page.left_out + out) if out else page


def realm(adapter: Adapter) -> str:
    """Whose bulks the ids of `adapter` name, in a form that may be shown and kept: no credential is in it."""
    account = [f"{name}={getattr(adapter, name)}" for name in adapter.account_by]
    urls = {
        f"{origin(url)}{urlsplit(url).path}" for url in adapter.base_urls()
    }  # a host is written in one way
    return " ".join([adapter.provider, *sorted(urls), *account])


def counted_as(adapter: Adapter) -> str | None:
    """What tells whose budget the requests of `adapter` are counted against: compare it, and show it to nobody.

    None while credentials that belong to it have not been fetched.
    """
    values = [adapter.provider, *sorted({origin(url) for url in adapter.base_urls()})]
    for name in adapter.counted_by or _secret_fields(type(adapter)):
        value = getattr(adapter, name)
        if isinstance(value, Secret):
            if not value.loaded:
                return None
            value = value.reveal()
        values.append(f"{name}={value}")
    return sha256("\n".join(values).encode("utf-8", "surrogateescape")).hexdigest()


def _secret_fields(cls: type[Adapter]) -> tuple[str, ...]:
    found = _SECRET_FIELDS.get(cls)
    if found is None:
        hints = get_type_hints(cls)
        found = tuple(
            name
            for name in cls.__struct_fields__
            if hints[name] is Secret or Secret in getattr(hints[name], "__args__", ())
        )
        _SECRET_FIELDS[cls] = found
    return found


_SECRET_FIELDS: dict[type[Adapter], tuple[str, ...]] = {}


@cache
def _url_fields(cls: type[Adapter]) -> tuple[str, ...]:
    hints = get_type_hints(cls, include_extras=True)
    # What is None too is a union, and its parts are annotated.
    return tuple(
        name
        for name in cls.__struct_fields__
        if any(
            _ADDRESS in getattr(hint, "__metadata__", ()) for hint in (hints[name], *get_args(hints[name]))
        )
    )


@runtime_checkable
class Listing(Protocol):
    """The provider can list its bulks."""

    rows_per_page: ClassVar[int | None]
    """How many bulks a page holds at most; None when one answer holds them all."""

    def listing(self, query: ListQuery) -> tuple[Call[Page[BulkStatus]], ...]:
        """The listings that together hold every bulk `query` asks for (more is allowed: the facade filters).

        They are read one after another; of a bulk that is in several, the last reading counts.
        """
        ...


@runtime_checkable
class Operations(Protocol):
    """The provider can list the operations inside a bulk."""

    def operations(self, id: str, query: OperationQuery) -> Call[Page[BulkOperation]]:
        """The first page of the operations of bulk `id` that `query` asks for (more is allowed).

        Raises ConfigError when the provider's records cannot answer the question at all.
        """
        ...


@runtime_checkable
class Confirms(Protocol):
    """A row of the provider's listing may say less than `status` would."""

    def confirm(self, row: BulkStatus) -> Call[BulkStatus] | None:
        """The call that turns a listing's `row` into what `status` would say, or None if it already is that."""
        ...


@runtime_checkable
class Probe(Protocol):
    """The provider has a cheap call that shows whether the credentials are accepted."""

    def probe(self) -> Call[Any]:
        """A call that succeeds when the credentials may read bulks; what it gives is left alone."""
        ...


@runtime_checkable
class Metered(Protocol):
    """The provider's answers tell how many requests are left, those of others with the same credentials counted."""

    def remaining(self, response: Response) -> Remaining | None:
        """What this answer says is left, or None when it does not."""
        ...
