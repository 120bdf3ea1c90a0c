"""From the steps of a scenario to the life of a fake's bulk."""

import re
from collections.abc import Sequence
from math import isfinite
from typing import Any, NamedTuple

import msgspec

from bulkstatus._text import printable
from bulkstatus.adapter import State
from bulkstatus.errors import ConfigError
from bulkstatus.testing._fake import Fake, Fault, Life, Stage
from bulkstatus.testing._steps import InState, Step, Vanished

TOTAL = 100
_MOST_ITEMS = 1_000_000
# A century in seconds: with more, moments could not be written as dates any more.
_LONGEST = 36_525 * 86_400.0
_HEADER = re.compile(r"[\w!#$%&'*+.^`|~-]+", re.ASCII)
_HEADER_VALUE = re.compile(r"[\x20-\x7e]*")


class StepError(ConfigError):
    """A step that cannot be; `step` is its position, counted from 1, or None for the bulk as a whole."""

    def __init__(self, message: str, step: int | None = None) -> None:
        super().__init__(message if step is None else f"step {step}: {message}")
        self.step = step


class Part(NamedTuple):
    """A bulk as a fake takes it up, and what goes wrong in its life."""

    life: Life
    total: int
    failed: int
    troubles: tuple[Fault, ...]

    def begin(self, fake: Fake[Any], id: str) -> None:
        """Let it be born now."""
        fake.place(id, self.life, total=self.total, failed=self.failed)
        for trouble in self.troubles:
            fake.fail(copied(trouble), about=id)


def copied(fault: Fault, *, speed: float = 1.0) -> Fault:
    """A fault of its own to strike, as time passes `speed` times quicker."""
    seconds = None if fault.seconds is None else fault.seconds / speed
    return msgspec.structs.replace(fault, after=fault.after / speed, seconds=seconds)


def part(
    fake: type[Fake[Any]], steps: Sequence[Step], *, total: int | None = None, speed: float = 1.0
) -> Part:
    """What `steps` come to at the provider of `fake`.

    Raises StepError for what cannot be there: a state that it has no word for, a count that it does not tell, a
    contradiction.
    """
    if not any(isinstance(step, InState) for step in steps):
        raise StepError("a life needs a step that says what the bulk is, such as running for 10 s")
    if not fake.counts and total is not None:
        raise StepError(f"{fake.word} tells no counts, so that nobody would see a total: leave it out")
    items = TOTAL if total is None else total
    if not 0 <= items <= _MOST_ITEMS:
        raise StepError(f"total is 0 to {_MOST_ITEMS:,}, not {items:,}")
    lasting = [number for number, step in enumerate(steps, 1) if not isinstance(step, Fault)]
    failing = _failing(fake, steps, items)
    ends_failed = _last(steps).state is State.FAILED
    stages: list[Stage] = []
    troubles: list[Fault] = []
    age = 0.0
    for number, step in enumerate(steps, 1):
        if isinstance(step, Fault):
            why = fault_of(step)
            if why is not None:
                raise StepError(why, number)
            troubles.append(_begun(step, age, speed))
            continue
        done = _done(fake, step, number, items, ends_failed=ends_failed)
        if done is None and stages and isinstance(step, InState) and step.state is State.PAUSED:
            done = stages[-1].done  # what stood still before goes on standing still
        stage = Stage(age, _word(fake, step, number), done)
        if not stages or stages[-1][1:] != stage[1:]:
            stages.append(stage)
        age += _lasts(step, number, is_last=number == lasting[-1]) / speed
        if age > _LONGEST:
            raise StepError("by its end the bulk would be older than a century", number)
    return Part(Life(tuple(stages)), items, failing, tuple(troubles))


def _begun(fault: Fault, age: float, speed: float) -> Fault:
    mine = copied(fault, speed=speed)
    mine.after += age
    return mine


def _word(fake: type[Fake[Any]], step: InState | Vanished, number: int) -> str | None:
    if isinstance(step, Vanished):
        return None
    if (step.word is None) == (step.state is None):
        raise StepError("it needs a state, or a word of the provider's, and not both", number)
    if step.state is None:
        return step.word
    if step.state not in fake.states:
        known = ", ".join(fake.states)
        raise StepError(
            f"{fake.word} has no word for {str(step.state)!r}; its bulks can be {known}, or say a word of your own "
            f"(word = {'ARCHIVING'!r})",
            number,
        )
    return fake.states[step.state]


def _lasts(step: InState | Vanished, number: int, *, is_last: bool) -> float:
    lasts = step.seconds if isinstance(step, InState) else step.vanish
    if is_last:
        if isinstance(step, Vanished) and not isinstance(step.vanish, bool):
            raise StepError(
                "the bulk comes back as what? Say it in a step behind this, or vanish for good", number
            )
        lasts = lasts if isinstance(lasts, float | int) and not isinstance(lasts, bool) else 1.0
    if lasts is None or isinstance(lasts, bool):
        raise StepError("for how long? Only the last step needs no time", number)
    if not (isfinite(lasts) and lasts > 0):
        raise StepError(f"a step takes a number of seconds above 0, not {lasts:g}", number)
    return lasts


def _done(
    fake: type[Fake[Any]], step: InState | Vanished, number: int, total: int, *, ends_failed: bool
) -> int | None:
    if isinstance(step, Vanished):
        return None
    if step.done is None:
        # Where a bulk "failed" for a while, its items had not ended: they do later, as its last step says.
        return 0 if step.state is State.FAILED and not ends_failed else None
    if not fake.counts:
        raise StepError(f"{fake.word} tells no counts, so that nobody would see `done`: leave it out", number)
    if step.state is not None and step.state.is_terminal:
        raise StepError(f"a bulk that is {step.state} has come as far as it does: leave `done` out", number)
    if not 0 <= step.done <= total:
        raise StepError(f"done = {step.done:,} of {total:,} items cannot be", number)
    return step.done


def _last(steps: Sequence[Step]) -> InState:
    return next(step for step in reversed(steps) if isinstance(step, InState))


def _failing(fake: type[Fake[Any]], steps: Sequence[Step], total: int) -> int:
    """How many items fail: as one step says, else some where the bulk is partial."""
    said: int | None = None
    for number, step in enumerate(steps, 1):
        if not isinstance(step, InState) or step.failed is None:
            continue
        if not fake.counts:
            raise StepError(
                f"{fake.word} tells no counts, so that nobody would see `failed`: leave it out", number
            )
        if said not in (None, step.failed):
            raise StepError(f"failed = {step.failed:,}, and another step says {said:,}: say it once", number)
        if not 0 <= step.failed <= total:
            raise StepError(f"failed = {step.failed:,} of {total:,} items cannot be", number)
        said = step.failed
    states = {step.state: number for number, step in enumerate(steps, 1) if isinstance(step, InState)}
    if State.PARTIAL in states:
        said = max(1, total // 20) if said is None else said
        if not 0 < said < total:
            raise StepError(
                f"partial means that some items fail and some do not; failed = {said:,} of {total:,} is neither",
                states[State.PARTIAL],
            )
    if said and State.SUCCEEDED in states:
        raise StepError(
            f"succeeded means that none fails, and {said:,} would: say partial", states[State.SUCCEEDED]
        )
    if said and said < total and _last(steps).state is State.FAILED:
        raise StepError(
            f"failed means that none succeeds, and {total - said:,} would: say partial", states[State.FAILED]
        )
    return said or 0


def fault_of(fault: Fault) -> str | None:
    """What is wrong with a fault, as a sentence; None if nothing."""
    if fault.status is None and not fault.drop and not fault.delay:
        return "what goes wrong? Give a status, drop = true or a delay"
    if fault.status is None and (fault.html is not None or fault.body or fault.retry_after is not None):
        return "an answer in the place of the provider's needs a status"
    if fault.status is not None and not 200 <= fault.status <= 999:  # noqa: PLR2004 - three digits, 1xx is no answer
        return f"status is 200 to 999, not {fault.status}"
    return _odd_number(fault) or _odd_header(fault)


def _odd_number(fault: Fault) -> str | None:
    if fault.times is not None and fault.times < 1:
        return f"times is 1 or more, not {fault.times}"
    times = (fault.delay, fault.after, fault.retry_after or 0.0, fault.seconds or 0.0)
    if not all(isfinite(time) and 0 <= time <= _LONGEST for time in times):
        return "times are numbers of seconds, not below 0 and at most a century"
    return None


def _odd_header(fault: Fault) -> str | None:
    wrong = next((name for name, value in fault.headers.items() if not _can_be_sent(name, value)), None)
    if wrong is not None:
        return (
            f"{printable(wrong, 64)!r} cannot be sent as a header: name and value are of ASCII, on one line"
        )
    return None


def _can_be_sent(name: str, value: str) -> bool:
    return _HEADER.fullmatch(name) is not None and _HEADER_VALUE.fullmatch(value) is not None
