"""A fake's bulks in every state, what the adapter reads of each, and which member of its JSON has which effect."""

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any, NamedTuple

from bulkstatus.adapter import Adapter, BulkStatus, Call, Counts, Listing, ListQuery, Page, State
from bulkstatus.errors import BulkStatusError
from bulkstatus.testing._fake import Fake, Life, ManualClock
from bulkstatus.testing.contract import _todo
from bulkstatus.testing.contract._driver import Broken, Driver, Step, Trail
from bulkstatus.testing.contract._mutation import (
    ABSENT,
    ODD,
    SENTINEL,
    Path,
    changed,
    is_leaf,
    kind_of,
    parsed,
    places,
    shown,
    value_at,
    written,
)

TOTAL, SOME = 10, 3
TIMES = ("created_at", "started_at", "updated_at", "finished_at")
_LATER = 3_600.0
_MOST_PAGES = 200

MakeFake = Callable[[Callable[[], float]], Fake[Any]]
MakeAdapter = Callable[..., Adapter]


class Scene(NamedTuple):
    """A bulk that stands still, and all that was said about it. `state` is the one it was put in, where that is known."""

    name: str
    id: str
    state: State | None
    trail: Trail[BulkStatus]
    is_present: bool = True
    """False for what was seen at a time that is over."""

    @property
    def status(self) -> BulkStatus:
        """What the adapter reads of it."""
        return self.trail.answer


class Roles(NamedTuple):
    """Which members of a record tell what, found by what changing them does."""

    word: frozenset[Path]
    ids: frozenset[Path]
    times: dict[Path, frozenset[str]]
    numbers: dict[Path, frozenset[str]]
    """Whole numbers that tell counts, each with the names of those it changes."""
    counting: frozenset[Path]
    """All members that have to do with counts, words beside them too."""

    def touch(self, path: Path) -> bool:
        """Whether a member tells the word or counts, or holds one that does."""
        return any(
            told[: len(path)] == path or path[: len(told)] == told for told in self.word | self.counting
        )


class Case(NamedTuple):
    """One member of one answer changed, and what the adapter then says."""

    scene: Scene
    step: int
    path: Path
    value: object
    outcome: BulkStatus | BulkStatusError | Broken

    @property
    def where(self) -> str:
        """The change in words, for a message."""
        step = f" of answer {self.step + 1}" if self.step else ""
        return f"{self.scene.name}: {shown(self.path)}{step} {kind_of(self.value)}"

    @property
    def state(self) -> State | None:
        """The state, where it is not an error."""
        return self.outcome.state if isinstance(self.outcome, BulkStatus) else None

    @property
    def counts(self) -> Counts | None:
        """The counts, where it is not an error and there are any."""
        return self.outcome.counts if isinstance(self.outcome, BulkStatus) else None

    @property
    def said(self) -> str:
        """What came of it, in words for a message."""
        return said(self.outcome)


class Bench:
    """One adapter on its fake, with a bulk in each state."""

    def __init__(self, make_fake: MakeFake, make_adapter: MakeAdapter) -> None:
        self.make_fake = make_fake
        self.make_adapter = make_adapter
        self.driver = self.fresh()
        self.adapter = self.driver.adapter
        self.fake = self.driver.fake
        self.scenes = tuple(self._placed() if self.fake.states else self._shown())
        if not self.scenes:
            raise Broken("the fake holds no bulk that its adapter can be asked about", _todo.FAKE)

    def fresh(self, bulks: int = 0, *, clock: Callable[[], float] | None = None) -> Driver:
        """A driver with a fake of its own that holds `bulks` bulks, in all the states in turn."""
        fake = self.make_fake(ManualClock() if clock is None else clock)
        driver = Driver(fake, self.make_adapter(fake))
        states = list(fake.states)
        for number in range(bulks):
            place(fake, fake.bulk_id(number), states[number % len(states)])
        return driver

    def _placed(self) -> Iterator[Scene]:
        for number, (state, word) in enumerate(self.fake.states.items()):
            id = self.fake.bulk_id(number)
            place(self.fake, id, state)
            yield self._scene(f"a bulk in {word!r}", id, state)
        well = self.fake.states.get(State.SUCCEEDED)
        if well is not None and self.fake.counts:
            id = self.fake.bulk_id(len(self.fake.states))
            self.fake.place(id, Life.of((0.0, well)), total=TOTAL, failed=SOME)
            yield self._scene(f"a bulk in {well!r} of which {SOME} items failed", id, State.PARTIAL)

    def _shown(self) -> Iterator[Scene]:
        clock = ManualClock()
        fake = type(self.fake).demo(clock=clock)
        self.driver = Driver(fake, self.make_adapter(fake))
        self.adapter, self.fake = self.driver.adapter, fake
        for age in (0.0, _LATER):
            clock.advance(age)
            for number, bulk in enumerate(fake.known()):
                scene = self._scene(f"bulk {number + 1} of the demo after {age:.0f} s", bulk.id, None)
                yield scene._replace(is_present=age == _LATER)

    def _scene(self, name: str, id: str, state: State | None) -> Scene:
        try:
            trail = self.driver.trail(self.adapter.status(id))
            if any(parsed(step.response.body) is ABSENT for step in trail.steps):
                raise Broken(
                    f"{name}: the fake's answer is not JSON, and the contract changes JSON alone", _todo.FAKE
                )
            return Scene(name, id, state, trail)
        except BulkStatusError as error:
            raise Broken(
                f"{name}: the fake's own answer is {self.driver.told(error)}", _todo.UNREADABLE
            ) from None

    @property
    def present(self) -> tuple[Scene, ...]:
        """The scenes of bulks that the fake would tell in the same way now."""
        return tuple(scene for scene in self.scenes if scene.is_present)

    @cached_property
    def roles(self) -> dict[tuple[str, int], Roles]:
        """The roles of the members of each answer, by the scene's name and the number of the step."""
        return {
            (scene.name, number): _roles(self.driver, scene, step)
            for scene in self.scenes
            for number, step in enumerate(scene.trail.steps)
        }

    @cached_property
    def sweep(self) -> tuple[Case, ...]:
        """Every member of every answer about a bulk, changed into everything that it should not be."""
        return tuple(
            case
            for scene in self.scenes
            for number, step in enumerate(scene.trail.steps)
            for case in self._swept(scene, number, step)
        )

    def _swept(self, scene: Scene, number: int, step: Step) -> Iterator[Case]:
        document = parsed(step.response.body)
        for path in places(document):
            for value in ODD:
                yield self.case(scene, number, path, value)

    def case(self, scene: Scene, number: int, path: Path, value: object) -> Case:
        """What becomes of one changed member."""
        step = scene.trail.steps[number]
        body = written(changed(parsed(step.response.body), path, value))
        outcome: BulkStatus | BulkStatusError | Broken
        try:
            outcome = self.driver.reread(step, body)
        except (BulkStatusError, Broken) as error:
            outcome = error
        return Case(scene, number, path, value, outcome)

    def rows(self, driver: Driver, query: ListQuery | None = None) -> list[BulkStatus]:
        """All rows of a listing that stands still, pages followed one by one."""
        adapter = driver.adapter
        if not isinstance(adapter, Listing):
            raise TypeError("only for adapters that list")
        calls = adapter.listing(ListQuery() if query is None else query)
        return [row for call in calls for page in pages(driver, call) for row in page.items]


def pages(driver: Driver, call: Call[Page[Any]]) -> Iterator[Page[Any]]:
    """The pages of something that stands still."""
    for _ in range(_MOST_PAGES):
        page = driver.ask(call)
        yield page
        if page.next is not None:
            call = page.next
        elif page.at is not None and page.received and page.offset + page.received != page.total:
            call = page.at(page.offset + page.received)
        else:
            return
    raise Broken(f"more than {_MOST_PAGES} pages", _todo.PAGES)


def place(fake: Fake[Any], id: str, state: State) -> None:
    """Let a bulk be born in `state`, of 10 items, of which 3 failed where some did."""
    fake.place(id, Life.of((0.0, fake.states[state])), total=TOTAL, failed=failing(state))


def failing(state: State) -> int:
    """How many of `TOTAL` items fail in a bulk that comes to `state`."""
    return {State.PARTIAL: SOME, State.FAILED: TOTAL}.get(state, 0)


def name_of(state: State | None) -> str:
    """A state in a message."""
    return "no state" if state is None else f"`{state}`"


def said(outcome: BulkStatus | BulkStatusError | Broken) -> str:
    """An outcome in a message, without the texts in it."""
    if isinstance(outcome, Broken):
        return outcome.seen
    if isinstance(outcome, BulkStatusError):
        return f"it is {type(outcome).__name__}"
    return f"the state is {name_of(outcome.state)}"


class _Trial:
    """Changes one member of an answer at a time, to see what it tells."""

    def __init__(self, driver: Driver, scene: Scene, step: Step) -> None:
        self.document = parsed(step.response.body)
        self.true = scene.status
        self._driver = driver
        self._step = step

    def read(self, path: Path, value: object) -> BulkStatus | None:
        """The status with `value` at `path`, None where there is an error."""
        try:
            found = self._driver.reread(self._step, written(changed(self.document, path, value)))
        except (BulkStatusError, Broken):
            return None
        return found if isinstance(found, BulkStatus) else None

    def tells_word(self, path: Path) -> bool:
        found = self.read(path, SENTINEL)
        is_text = isinstance(value_at(self.document, path), str)
        return is_text and found is not None and SENTINEL in (found.native_state or "")

    def times(self, path: Path) -> frozenset[str]:
        """The times that are gone without it."""
        without = self.read(path, ABSENT)
        if without is None:
            return frozenset()
        said = (name for name in TIMES if getattr(self.true, name) is not None)
        return frozenset(name for name in said if getattr(without, name) is None)

    def counts(self, path: Path) -> frozenset[str]:
        """The counts that change with it, where it is a whole number."""
        value = value_at(self.document, path)
        if not isinstance(value, int) or isinstance(value, bool):
            return frozenset()
        more = self.read(path, value + 1)
        return frozenset() if more is None else _moved(self.true, more)

    def counting(self, path: Path) -> bool:
        """Whether counts change when it is another or missing."""
        others = (self.read(path, SENTINEL), self.read(path, ABSENT))
        return any(found is not None and bool(_moved(self.true, found)) for found in others)


def _roles(driver: Driver, scene: Scene, step: Step) -> Roles:
    """Find the roles by trying: what a replaced or missing member changes in the status is what it tells."""
    trial = _Trial(driver, scene, step)
    leaves = [path for path in places(trial.document) if is_leaf(value_at(trial.document, path))]
    ids = frozenset(path for path in leaves if str(value_at(trial.document, path)) == scene.id)
    rest = [path for path in leaves if path not in ids]
    word = frozenset(filter(trial.tells_word, rest))
    rest = [path for path in rest if path not in word]
    times = {path: names for path in rest if (names := trial.times(path))}
    numbers = {path: names for path in rest if (names := trial.counts(path))}
    counting = frozenset(path for path in rest if path in numbers or trial.counting(path))
    return Roles(word, ids, times, numbers, counting)


def _moved(one: BulkStatus, other: BulkStatus) -> frozenset[str]:
    """The counts that differ."""
    names = Counts.__struct_fields__
    return frozenset(
        name for name in names if getattr(one.counts, name, None) != getattr(other.counts, name, None)
    )
