"""How often a bulk is looked at: its age, its counts and the budget in, seconds out. No clock, no network."""

import math
from typing import Literal

import msgspec

from bulkstatus._text import nearest
from bulkstatus.errors import ConfigError

Preset = Literal["eager", "default", "frugal"]

_SHARE_OF_REST = 0.7
_SHORTEST_SHARE, _LONGEST_SHARE = 0.25, 4.0
_USUAL = 2.0
_EONS = 1e12


class PollPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How often one bulk is looked at. All times in seconds.

    The interval is `base * sqrt(1 + age)`: a bulk that has run for long is not about to end this second, and the
    share of its life by which its end is noticed late stays even. Where its counts tell how much is left, the
    interval follows that, between an eighth of the age's interval and twice it (for the default `base`).
    `floor` and `ceiling` bound it, inside what the provider's adapter declares; None leaves it to the adapter.
    `jitter` is the share by which intervals vary at random, so that many bulks do not fall due together.

    Raises ConfigError for values that cannot be.
    """

    base: float = _USUAL
    floor: float | None = None
    ceiling: float | None = None
    jitter: float = 0.1

    def __post_init__(self) -> None:
        for name in ("base", "floor", "ceiling"):
            value = getattr(self, name)
            if not (_is_number(value) and 0 < value < _EONS) and (name == "base" or value is not None):
                raise ConfigError(f"PollPolicy.{name} is a number of seconds above 0, not {value!r}")
        if not (_is_number(self.jitter) and 0 <= self.jitter < 1):
            raise ConfigError(f"PollPolicy.jitter is a share from 0 to below 1, not {self.jitter!r}")
        if self.floor is not None and self.ceiling is not None and self.floor > self.ceiling:
            raise ConfigError("PollPolicy.floor is above PollPolicy.ceiling")

    @classmethod
    def of(cls, policy: "PollPolicy | Preset") -> "PollPolicy":
        """The policy itself, or the one of that name. Raises ConfigError for a name that is none."""
        if isinstance(policy, PollPolicy):
            return policy
        name: object = policy
        found = PRESETS.get(name) if isinstance(name, str) else None
        if found is None:
            raise ConfigError(f"{str(policy)[:40]!r} is no poll policy{nearest(str(policy), PRESETS)}")
        return found

    def interval(
        self,
        age: float,
        *,
        rest: float | None = None,
        spacing: float = 0.0,
        floor: float = 1.0,
        ceiling: float = 60.0,
        chance: float = 0.5,
    ) -> float:
        """Seconds until the next look at a bulk that is `age` seconds old.

        `rest` estimates how long it still takes, None where nothing tells. `spacing` is what the request budget
        sustains between two looks at one bulk; no ceiling goes below it. `floor` and `ceiling` are the provider's.
        `chance`, from 0 to 1, places the result within the jitter.
        """
        natural = math.sqrt(1.0 + max(0.0, age))
        if rest is None:
            wait = self.base * natural
        else:
            share = min(max(_SHARE_OF_REST * rest, _SHORTEST_SHARE * natural), _LONGEST_SHARE * natural)
            wait = self.base / _USUAL * share
        least = floor if self.floor is None else max(floor, self.floor)
        most = max(least, ceiling if self.ceiling is None else min(ceiling, self.ceiling))
        # At the ceiling too intervals vary, below it.
        wait = min(max(wait, least), most / (1.0 + self.jitter)) * (1.0 + self.jitter * (2.0 * chance - 1.0))
        return max(least, wait, spacing * (1.0 + self.jitter * chance))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


PRESETS: dict[str, PollPolicy] = {
    "eager": PollPolicy(base=1.0),
    "default": PollPolicy(),
    "frugal": PollPolicy(base=4.0),
}
