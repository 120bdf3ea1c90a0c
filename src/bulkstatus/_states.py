"""From a provider's word and counts to a state, with the evidence for it."""

from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import NamedTuple, TypeGuard

import msgspec

from bulkstatus._drift import unknown_word
from bulkstatus._model import Counts, State

_PLAUSIBLE = 1_000_000_000
# Above it, whoever reads our JSON with floating-point numbers would read another one (RFC 8259, 6).
_LARGEST = 2**53 - 1
_LONGEST_WORD = 80
_NONE: frozenset[str] = frozenset()
# Python 3.11 takes ten times as long for a member of an enumeration as for a name.
_SUCCEEDED, _PARTIAL, _FAILED, _CANCELLED = State.SUCCEEDED, State.PARTIAL, State.FAILED, State.CANCELLED
_UNKNOWN = State.UNKNOWN


class Decision(NamedTuple):
    """A state, and the sentences that say why."""

    state: State
    evidence: tuple[str, ...]


def fold(word: str) -> str:
    """Return `word` in one canonical case, with `_` for blanks and hyphens. Non-ASCII words are left alone."""
    return word.strip().upper().replace(" ", "_").replace("-", "_") if word.isascii() else word


class Vocabulary:
    """The words one provider uses for one kind of thing, and the state each stands for.

    `name` is how evidence speaks of it ("weavr bulk"). A word is looked up as it is, then folded. A word in neither
    form is `unknown`, which is not an end. With `counted` a word for success says only that a bulk is over: `decide`
    takes it for one where counts show how it went.
    """

    def __init__(self, name: str, table: Mapping[str, State], *, counted: bool = False) -> None:
        self.name = name
        self.counted = counted
        self.table = dict(table)
        self._folded = {fold(word): (word, state) for word, state in table.items()}
        self._read = lru_cache(maxsize=256)(self._read_word)
        self._usual = {word: self._read_word(word) for word in self.table if 0 < len(word) <= _LONGEST_WORD}

    def read(self, word: str | None, pins: Mapping[str, State]) -> Decision:
        """What the word alone says. `pins` are the user's own readings and come first.

        A word that is in neither is counted as drift of the source that is being read.
        """
        if not pins and (usual := self._usual.get(word or "")) is not None:
            return usual
        if not word:
            return Decision(_UNKNOWN, ("The provider sent no status word.",))
        if len(word) > _LONGEST_WORD:
            unknown_word(self.name, word)
            return Decision(
                _UNKNOWN, (f"{self.name} word of {len(word)} characters is not a documented one.",)
            )
        pinned = self._pinned(word, pins)
        if pinned:
            return Decision(pinned, (f"The configuration's state_map reads {word!r} as {pinned}.",))
        said = self._read(word)
        # Here, since what is remembered of a word is not read again.
        if said.state is _UNKNOWN and not self._knows(word):
            unknown_word(self.name, word)
        return said

    @staticmethod
    def _pinned(word: str, pins: Mapping[str, State]) -> State | None:
        if not pins:  # nearly always
            return None
        return pins.get(word) or {fold(key): state for key, state in pins.items()}.get(fold(word))

    def _knows(self, word: str) -> bool:
        return word in self.table or fold(word) in self._folded

    def _read_word(self, word: str) -> Decision:
        state = self.table.get(word)
        if state is not None:
            return Decision(state, (f"{self.name} word {word!r} means {state}.",))
        match = self._folded.get(fold(word))
        if match is not None:
            return Decision(
                match[1], (f"{self.name} word {word!r}, read as {match[0]!r}, means {match[1]}.",)
            )
        return Decision(
            _UNKNOWN,
            (f"{self.name} word {word!r} is not a documented one; pin it with state_map if you know it.",),
        )

    def decide(
        self,
        word: str | None,
        counts: Counts | None,
        pins: Mapping[str, State],
        *,
        unread: int = 0,
        some_succeeded: str | None = None,
        some_failed: str | None = None,
    ) -> Decision:
        """What word and counts say together; the rule of `settle` is applied to what `read` gives.

        `counts` are as they came: one that cannot be counts as one that could not be read. `unread` is how many
        operations, or entries about them, there were besides that no count could take up. `some_succeeded` and
        `some_failed` name a member that shows by itself that there are such, as that of a file of their results.
        """
        said = self.read(word, pins)
        if counts is None and not (unread or self.counted or some_succeeded or some_failed):
            return said
        if not said.state.is_terminal:  # `settle` leaves it, and what is below is about ends
            return said
        counts = counts or Counts()
        odd = _impossible(counts)
        if odd:
            counts, _ = clean_counts(counts)
        state, why = settle(said.state, counts, unread=unread + len(odd - {"total"}))
        sure = not self.counted or _shows_success(counts) or (word and self._pinned(word, pins))
        if some_failed and state is _SUCCEEDED and counts.failed is None:
            state, why = _PARTIAL, (*why, f"{some_failed} shows that some failed, uncounted: partial.")
        elif some_succeeded and state is _FAILED and counts.succeeded is None:
            state, why = (
                _PARTIAL,
                (*why, f"{some_succeeded} shows that some succeeded, uncounted: partial."),
            )
        elif state is _SUCCEEDED and not sure:
            state, why = _UNKNOWN, (*why, "No counts show how it went: success is not proven.")
        return Decision(state, said.evidence + why) if why else said

    def words(self, states: Collection[State], pins: Mapping[str, State]) -> tuple[str, ...] | None:
        """The provider's words for `states`, in the table's order.

        None when words cannot express the question: `unknown` is asked for, or pins move words between states.
        """
        if pins or _UNKNOWN in states:
            return None
        return tuple(word for word, state in self.table.items() if state in states)


def _shows_success(counts: Counts) -> bool:
    return counts.succeeded is not None and (counts.total is not None or counts.failed is not None)


def settle(state: State, counts: Counts, *, unread: int = 0) -> tuple[State, tuple[str, ...]]:
    """Correct a finished state by the counts, and say so.

    Finished well, but operations failed or were cancelled: `partial`, or the bad end if it is certain that nothing
    succeeded. "Failed" with operations that succeeded: `partial`. Where counts contradict a finished word (none
    succeeded, or some were not carried out), or leave open what it claims (`unread` operations, or such as no count
    speaks of beside a claim that all went well), it is `unknown`.
    `cancelled` and `expired` stay what they are.
    """
    if state is _FAILED:
        return _settle_failed(counts, unread)
    if state in (_SUCCEEDED, _PARTIAL):
        return _settle_ended(state, counts, unread)
    if state.is_terminal:
        return state, _left_over(counts)
    return state, ()


def _settle_failed(counts: Counts, unread: int) -> tuple[State, tuple[str, ...]]:
    if counts.succeeded:
        why = f"{counts.succeeded} operations succeeded, so failed is partial."
        return _PARTIAL, (why, *_left_over(counts))
    if counts.running or unread:
        open_ones = f"{counts.running or 0} operations still run and {unread} could not be read"
        return _UNKNOWN, (f"{open_ones}, so it is not certain that nothing succeeded.",)
    return _FAILED, _left_over(counts)


def _settle_ended(state: State, counts: Counts, unread: int) -> tuple[State, tuple[str, ...]]:
    if counts.failed or counts.cancelled:
        return _settle_losses(state, counts, unread)
    if state is _PARTIAL:
        why = "The counts show no operation that failed; the bulk's own word stands."
        return state, (*((why,) if counts.finished is not None else ()), *_left_over(counts))
    doubt = _doubt(counts, unread)
    if doubt is not None:
        return _UNKNOWN, (f"{doubt}: success is not proven.",)
    return state, _left_over(counts)


def _doubt(counts: Counts, unread: int) -> str | None:
    """Why counts without a loss do not bear out that all went well; None where they do."""
    waiting = (counts.queued or 0) + (counts.running or 0)
    if unread:
        return f"What became of {unread} operations could not be read"
    if counts.succeeded == 0 and counts.total != 0:
        return "The counts show no operation that succeeded"
    if waiting:
        return f"The counts still show {waiting} operations that have not ended"
    if counts.finished is not None and counts.unsaid:
        return _unaccounted(counts)
    return None


def _settle_losses(state: State, counts: Counts, unread: int) -> tuple[State, tuple[str, ...]]:
    good, failed, cancelled = counts.succeeded, counts.failed or 0, counts.cancelled or 0
    lost = f"{failed} failed and {cancelled} were cancelled"
    if _none_succeeded(counts) and not unread:
        end = _FAILED if failed else _CANCELLED
        return end, (f"No operation succeeded, {lost}, so it is {end}.",)
    rest = "how many succeeded was not said" if good is None else f"{good} succeeded"
    why = f"Of the operations {lost}; {rest}: partial."
    return _PARTIAL, (*(() if state is _PARTIAL else (why,)), *_left_over(counts))


def _none_succeeded(counts: Counts) -> bool:
    """True when the counts leave no room for an operation that succeeded."""
    if counts.queued or counts.running:
        return False
    return (
        counts.unsaid in (0, None)
        if counts.succeeded == 0
        else counts.succeeded is None and counts.unsaid == 0
    )


def _left_over(counts: Counts) -> tuple[str, ...]:
    """Counts that do not fit a finished word: reported, while the provider's word for the bulk stands."""
    if counts.total == 0:
        return ("The bulk has 0 operations.",)
    waiting = (counts.queued or 0) + (counts.running or 0)
    if waiting:
        return (f"The counts still show {waiting} operations that have not ended, though the bulk has.",)
    if counts.finished is not None and counts.unsaid:
        return (f"{_unaccounted(counts)}.",)
    return ()


def _unaccounted(counts: Counts) -> str:
    return f"{counts.unsaid} of {counts.total} operations are not accounted for"


def clean_counts(counts: Counts) -> tuple[Counts, tuple[str, ...]]:
    """Take out counts that cannot be (negative, or beyond 2**53), and name those that do not add up.

    `decide` takes counts as they came: a count that is taken out leaves open what it was about.
    """
    odd = _impossible(counts)
    if not odd and _is_plain(counts):
        return counts, ()
    values: dict[str, int | None] = msgspec.structs.asdict(counts)
    evidence: list[str] = []
    for name, value in values.items():
        if value is None:
            continue
        if name in odd:
            shown = str(value) if abs(value) <= _LARGEST else "beyond 2**53"
            evidence.append(f"The count of {name} operations was {shown}; it is treated as not said.")
            values[name] = None
        elif value > _PLAUSIBLE:
            evidence.append(f"The count of {name} operations is implausibly high ({value}).")
    cleaned = Counts(**values) if evidence else counts
    said = sum(value for name, value in values.items() if name != "total" and value)
    if cleaned.total is not None and said > cleaned.total:
        evidence.append(f"The counts add up to {said}, more than the total of {cleaned.total}.")
    return cleaned, tuple(evidence)


def _is_plain(counts: Counts) -> bool:
    """True for counts, all of which can be, that leave nothing to be remarked on."""
    total, *others = msgspec.structs.astuple(counts)
    said: int = sum(filter(None, others))
    return said <= _PLAUSIBLE if total is None else said <= total <= _PLAUSIBLE


def _impossible(counts: Counts) -> frozenset[str]:
    """The names of the counts that were said and cannot be."""
    for value in msgspec.structs.astuple(counts):  # a list has many rows, and nearly never one of these
        if value is not None and (type(value) is not int or not 0 <= value <= _LARGEST):
            said = msgspec.structs.asdict(counts).items()
            return frozenset(name for name, value in said if value is not None and not can_be_count(value))
    return _NONE


def can_be_count(value: object) -> TypeGuard[int]:
    """True for a whole number that is neither negative nor too large to be told exactly."""
    if type(value) is not int and (not isinstance(value, int) or isinstance(value, bool)):
        return False
    return 0 <= value <= _LARGEST
