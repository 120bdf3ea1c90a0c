"""One bulk in plain words: how it stands, why we say so, and what to do next."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime

from bulkstatus import BulkStatus, BulkStatusError, Counts, State, load, printable
from bulkstatus.cli._text import clock, late, section, span

_MEANS = {
    State.QUEUED: "accepted by the provider and not begun",
    State.RUNNING: "under way",
    State.PAUSED: "held; it goes on only when somebody resumes it",
    State.SUCCEEDED: "every operation went well, as far as the provider tells",
    State.PARTIAL: "some operations went well and some did not",
    State.FAILED: "no operation is known to have gone well",
    State.CANCELLED: "stopped before its end, on request",
    State.EXPIRED: "the provider gave it up because its time ran out",
    State.UNKNOWN: "the provider's word, or what stands behind it, could not be interpreted; it is not taken for an end",
}
_COUNTED = ("succeeded", "failed", "cancelled", "running", "queued")
_TIMES = ("created_at", "started_at", "updated_at", "finished_at")
_UNDOCUMENTED = re.compile(r"\bword\b.* is not a documented one\b", re.DOTALL)
_LONGEST_PIN = 80  # the library takes a longer word for no word, whatever is pinned
_ON_FAILURE = {
    "stop": "the provider stops at the first operation that fails",
    "continue": "the provider goes on after an operation that fails",
    None: "not said",
}


def explanation(status: BulkStatus, now: datetime | None = None) -> Iterator[str]:
    """The lines that explain a status."""
    now = now or datetime.now(UTC)
    end = "an end" if status.state.is_terminal else "not an end"
    yield f"{printable(str(status.ref))} ({printable(status.provider)})"
    yield _line("state", f"{status.state}, {end}: {_MEANS[status.state]}")
    yield _line("word", f"'{printable(status.native_state, 80)}'" if status.native_state else "not said")
    if status.phase:
        yield _line("phase", printable(status.phase))
    yield _line("action", printable(status.action) if status.action else "not said")
    yield _line("operations", counted(status.counts))
    yield _line("on failure", _ON_FAILURE[status.on_failure])
    yield _line("error", printable(status.error) if status.error else "none given")
    yield "times (UTC)"
    for name in _TIMES:
        moment: datetime | None = getattr(status, name)
        yield _line(name.removesuffix("_at"), _moment(moment, now))
    yield _line("looked at", _moment(status.observed_at, now))
    if status.gone_at is not None:
        yield _line("gone", f"the provider does not know it any more; found {_moment(status.gone_at, now)}")
    if late(status):
        yield _line("late", late(status))
    yield "evidence"
    yield from (f"  - {printable(sentence)}" for sentence in status.evidence or ("None was given.",))
    yield "next"
    yield from (f"  {sentence}" for sentence in advice(status))


def _line(label: str, text: str) -> str:
    return f"  {label:<11} {text}"


def _moment(moment: datetime | None, now: datetime) -> str:
    if moment is None:
        return "not said"
    passed = (now - moment).total_seconds()
    return f"{clock(moment)} ({span(passed)} ago)" if passed >= 0 else f"{clock(moment)} (in {span(-passed)})"


def counted(counts: Counts | None) -> str:
    """The counts in words; what the provider did not say is called so."""
    if counts is None:
        return "not said"
    total = "total not said" if counts.total is None else f"{counts.total} in all"
    said = [
        f"{value} {name}" if value is not None else f"{name} not said"
        for name, value in ((name, getattr(counts, name)) for name in _COUNTED)
    ]
    return f"{total}: {', '.join(said)}"


def advice(status: BulkStatus) -> Iterator[str]:
    """What to do next about a bulk."""
    ref = printable(str(status.ref))
    if status.gone_at is not None and not status.state.is_terminal:
        yield "Find out at the provider how it ended before anything is run again."
        yield f"bulkstatus history {ref}    # what was seen of it"
    elif status.state in (State.PARTIAL, State.FAILED) and shows_operations(status.provider):
        yield f"bulkstatus operations {ref} --state failed    # what failed, and why"
    elif status.state is State.SUCCEEDED:
        yield "Nothing."
    elif status.state is State.UNKNOWN:
        yield from _about_unknown(status)
    elif status.phase == "awaiting_action":
        yield "Somebody has to start it at the provider: it waits for that, however long."
    elif status.state is State.PAUSED:
        yield "Somebody has to resume or cancel it at the provider."
    elif not status.state.is_terminal:
        yield f"bulkstatus get {ref}    # look again"
    elif status.state is State.CANCELLED and shows_operations(status.provider):
        yield f"bulkstatus operations {ref} --state succeeded    # what was done all the same"
    else:
        yield "What it has done is not known here: check at the provider before anything is repeated."


def _about_unknown(status: BulkStatus) -> Iterator[str]:
    word = status.native_state
    undocumented = any(map(_UNDOCUMENTED.search, status.evidence))
    if not word:
        yield "Look again; if it stays without a word, ask the provider."
    elif undocumented and len(word) <= _LONGEST_PIN:
        pin = "".join(map(_in_toml, word))
        yield "If you know what the word means, say so in the configuration, for example:"
        yield section(printable(status.source))
        yield f'state_map = {{ "{pin}" = "running" }}'
    elif undocumented:
        yield "Ask the provider what its word means."
    else:
        yield "Ask the provider how it stands: the word is a known one, and what it claims is not proven."
        yield "Do not pin the word: every bulk that bears it would then be believed without a look."


def _in_toml(character: str) -> str:
    """A character as it is written in a text of TOML: one that can be seen, else by its number."""
    if character in '\\"':
        return f"\\{character}"
    return character if character.isprintable() else f"\\U{ord(character):08x}"


def shows_operations(provider: str) -> bool:
    """True when the adapter of this provider can list the operations inside a bulk."""
    return _can(provider, "operations")


def has_list(provider: str) -> bool:
    """True when the adapter of this provider can list its bulks."""
    return _can(provider, "listing")


def _can(provider: str, what: str) -> bool:
    try:
        return hasattr(load(provider), what)
    except BulkStatusError:
        return False
