"""The words of a scenario: what a bulk is, for how long, and what goes wrong meanwhile."""

from typing import TypeAlias

import msgspec

from bulkstatus.adapter import State
from bulkstatus.testing._fake import Fault


class InState(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The bulk is in `state`, or in the provider's own `word`, for `seconds` (`for` in TOML); the last step needs none.

    `done` is how many of its items have ended by then, where that is not to follow from the time. `failed` is how
    many of all its items fail.
    """

    state: State | None = None
    word: str | None = None
    seconds: float | None = msgspec.field(default=None, name="for")
    done: int | None = None
    failed: int | None = None


class Vanished(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The provider does not know the bulk, for so many seconds; `true` as the last step: not any more."""

    vanish: float | bool


Step: TypeAlias = InState | Vanished | Fault


def queued(seconds: float | None = None, *, done: int | None = None) -> InState:
    """Accepted and not begun, for `seconds`."""
    return InState(state=State.QUEUED, seconds=seconds, done=done)


def running(seconds: float | None = None, *, done: int | None = None) -> InState:
    """Worked on, for `seconds`; its items end evenly over that time, or stand at `done`."""
    return InState(state=State.RUNNING, seconds=seconds, done=done)


def paused(seconds: float | None = None, *, done: int | None = None) -> InState:
    """Halted until somebody resumes it."""
    return InState(state=State.PAUSED, seconds=seconds, done=done)


def succeeded(seconds: float | None = None) -> InState:
    """Ended well."""
    return InState(state=State.SUCCEEDED, seconds=seconds)


def partial(seconds: float | None = None, *, failed: int | None = None) -> InState:
    """Ended, with `failed` of its items; without a number, with some."""
    return InState(state=State.PARTIAL, seconds=seconds, failed=failed)


def failed(seconds: float | None = None) -> InState:
    """Ended without success."""
    return InState(state=State.FAILED, seconds=seconds)


def cancelled(seconds: float | None = None, *, failed: int | None = None) -> InState:
    """Stopped for good."""
    return InState(state=State.CANCELLED, seconds=seconds, failed=failed)


def expired(seconds: float | None = None, *, failed: int | None = None) -> InState:
    """Given up by the provider."""
    return InState(state=State.EXPIRED, seconds=seconds, failed=failed)


def says(word: str, seconds: float | None = None, *, done: int | None = None) -> InState:
    """In the provider's own `word`, such as one that nobody documented."""
    return InState(word=word, seconds=seconds, done=done)


def vanished(seconds: float | None = None) -> Vanished:
    """Unknown to the provider for `seconds`; for ever without a number."""
    return Vanished(vanish=True if seconds is None else seconds)


def throttled(
    seconds: float | None = None, *, retry_after: float | None = None, times: int | None = None
) -> Fault:
    """The provider answers 429: once, so many `times`, or for `seconds`."""
    return _repeated(Fault(status=429, seconds=seconds, retry_after=retry_after), times)


def outage(
    seconds: float | None = None, *, status: int = 503, html: str | None = None, times: int | None = None
) -> Fault:
    """The provider cannot answer: once, so many `times`, or for `seconds`; with `html`, it is a gateway's page."""
    return _repeated(Fault(status=status, seconds=seconds, html=html), times)


def refused(seconds: float | None = None, *, status: int = 401, times: int | None = None) -> Fault:
    """The provider refuses the credentials: once, so many `times`, or for `seconds`."""
    return _repeated(Fault(status=status, seconds=seconds), times)


def dropped(seconds: float | None = None, *, times: int | None = None) -> Fault:
    """The connection is closed without an answer: once, so many `times`, or for `seconds`."""
    return _repeated(Fault(drop=True, seconds=seconds), times)


def delayed(delay: float, *, seconds: float | None = None, times: int | None = None) -> Fault:
    """The answer takes `delay` seconds: once, so many `times`, or for `seconds`."""
    return _repeated(Fault(delay=delay, seconds=seconds), times)


def _repeated(fault: Fault, times: int | None) -> Fault:
    if times is not None:
        fault.times = times
    return fault
