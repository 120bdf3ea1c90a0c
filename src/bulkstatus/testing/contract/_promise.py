"""A promise: a test with what to do when it is broken, the level it belongs to, and whom it applies to."""

from collections.abc import Callable
from functools import wraps
from typing import Any, ClassVar, NamedTuple, TypeVar

import pytest

from bulkstatus.adapter import Adapter, Listing, Operations
from bulkstatus.errors import BulkStatusError
from bulkstatus.testing._fake import Fake, ManualClock
from bulkstatus.testing._summary import LEVELS, PROPERTY, Note
from bulkstatus.testing.contract._driver import Broken, place_of
from bulkstatus.testing.contract._scenes import Bench
from bulkstatus.testing.contract._todo import FAKE, FIRST, Todo

M = TypeVar("M", bound=Callable[..., None])

GET, PAGES, CLOCK = LEVELS
"""The levels: one bulk; lists and operations, as far as declared; control of the clock."""


class Promise(NamedTuple):
    """What a test of the contract is besides a function."""

    todo: Todo
    level: int
    needs: type | None
    states: bool

    def applies(self, adapter: Adapter, fake: type[Fake[Any]]) -> bool:
        """Whether it is a promise of this adapter at all, and can be tried with this fake."""
        if self.states and not fake.states:
            return False
        return self.needs is None or isinstance(adapter, self.needs)


def promise(
    todo: Todo, *, level: int = GET, needs: type | None = None, states: bool = False
) -> Callable[[M], M]:
    """Make a promise of a test. The first sentence of its docstring is what is promised.

    With `needs` it is one of adapters with that capability; with `states`, and at the level CLOCK, one that takes a fake
    whose bulks can be put in any state.
    """

    def decorate(test: M) -> M:
        sentence = (test.__doc__ or test.__name__).partition("\n")[0]

        @wraps(test)
        def run(*arguments: Any, **options: Any) -> None:  # noqa: ANN401 - whatever fixtures the test asks for
            __tracebackhide__ = True
            try:
                test(*arguments, **options)
            except Broken as broken:
                message = _message(sentence, broken.seen, broken.todo or todo)
            except BulkStatusError as error:
                # Of its text only the class is shown: a broken adapter may have put anything into it.
                place = f", reason {error.reason}" if error.reason else ""
                seen = f"{type(error).__name__} (HTTP {error.status}{place}) where an answer was due"
                message = _message(sentence, seen, todo)
            else:
                return
            pytest.fail(message, pytrace=False)

        vars(run)["promise"] = Promise(todo, level, needs, states or level == CLOCK)
        return run  # type: ignore[return-value] # wraps keeps the signature

    return decorate


def _message(sentence: str, seen: str, todo: Todo) -> str:
    return f"Promised: {sentence}\nSeen: {seen}\nTo do: {todo}"


class Promises:
    """What all groups of promises share: the fake, and what was learned with it."""

    fake: ClassVar[type[Fake[Any]]]
    """The fake of the adapter's provider."""

    _bench: ClassVar[Bench | None] = None
    _no_bench: ClassVar[Broken | None] = None
    """Why it cannot be made."""
    _adapter: ClassVar[Any] = None
    """An adapter to see what it declares; None where it cannot be made, which the first promise says."""
    _due: ClassVar[int] = 0
    """How many promises apply to it."""
    _left_out: ClassVar[list[int]] = []
    """The levels of those that its tests have taken out."""

    def __init_subclass__(cls, **options: Any) -> None:  # noqa: ANN401 - handed on
        super().__init_subclass__(**options)
        cls._bench = cls._no_bench = cls._adapter = None
        if getattr(cls, "fake", None) is None:
            return
        try:
            cls._adapter = cls.make_adapter(cls.make_fake(ManualClock()))
        except Exception:  # noqa: BLE001 - the first promise says so, and better than a failed import
            return
        mine = promises_of(cls)
        due = {name: held for base in cls.__mro__ for name, held in promises_of(base).items()}
        applying = {name: held for name, held in due.items() if held.applies(cls._adapter, cls.fake)}
        cls._due = len(applying)
        cls._left_out = [held.level for name, held in applying.items() if name not in mine]
        for name in mine.keys() - applying.keys():
            setattr(cls, name, None)  # pytest collects no test that is None

    @classmethod
    def make_fake(cls, clock: Callable[[], float]) -> Fake[Any]:
        """A fake without bulks. Override it for one that takes more than a clock."""
        return cls.fake(clock=clock)

    @classmethod
    def make_adapter(cls, fake: Fake[Any], base_url: str | None = None) -> Adapter:
        """An adapter that `fake` accepts. Override it where `fake.adapter` does not do."""
        return fake.adapter(f"https://contract.test{fake.prefix}" if base_url is None else base_url)

    @classmethod
    def bench(cls) -> Bench:
        """The fake with its bulks in every state, and what the adapter reads of them; tried once.

        Raises Broken when nothing can be read, with all that is known about it the first time.
        """
        if cls._no_bench is not None:
            raise Broken("nothing can be read of the fake's own answers", FIRST)
        if cls._bench is None:
            try:
                cls._bench = Bench(cls.make_fake, cls.make_adapter)
            except Broken as broken:
                cls._no_bench = broken
                raise
            except Exception as error:
                seen = f"{type(error).__name__} while the fake and its adapter were made"
                cls._no_bench = Broken(f"{seen}, from {place_of(error)}: {error}", FAKE)
                raise cls._no_bench from error
        return cls._bench

    @pytest.fixture(autouse=True)
    def _noted(self, request: pytest.FixtureRequest) -> None:
        """Tell the summary at the end which level this promise belongs to, and how far this adapter can come."""
        held: Promise | None = getattr(request.function, "promise", None)
        if held is not None:
            note = Note(
                self.fake.word, type(self).__name__, held.level, *self._reach(), self._due, self._left_out
            )
            request.node.user_properties.append((PROPERTY, list(note)))

    @classmethod
    def _reach(cls) -> tuple[str, str]:
        """What this adapter and its fake offer, and what is missing for the next level."""
        parts = ["get"]
        parts += ["list"] if isinstance(cls._adapter, Listing) else []
        parts += ["operations"] if isinstance(cls._adapter, Operations) else []
        if not cls.fake.states:
            return ", ".join(parts), "name the provider's words in the fake's `states`"
        return ", ".join([*parts, "clock"]), ""


def promises_of(cls: type) -> dict[str, Promise]:
    """The promises among the attributes of a class."""
    found = {name: getattr(getattr(cls, name, None), "promise", None) for name in dir(cls)}
    return {name: held for name, held in found.items() if isinstance(held, Promise)}
