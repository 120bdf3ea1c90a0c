"""The arguments that several methods of the clients share. What they mean, and their defaults, is said at AsyncClient."""

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, TypedDict

from bulkstatus._polling import PollPolicy, Preset

if TYPE_CHECKING:
    from bulkstatus._subscription import Until


class ListArguments(TypedDict, total=False):
    """Those of `AsyncClient.list`."""

    sources: Collection[str] | None
    states: Collection[str] | None
    confirm: bool
    tracked: bool
    labels: Mapping[str, str] | None
    older_than: float | None
    newer_than: float | None
    fresh: bool
    timeout: float | None


class _Following(TypedDict, total=False):
    timeout: float | None
    stop_when_blocked: bool
    blind_after: float
    grace: float
    polling: PollPolicy | Preset
    fresh: bool


class WaitArguments(_Following, total=False):
    """Those of `AsyncClient.wait`, but for its references and its callback."""

    until: "Until"


class WatchArguments(_Following, total=False):
    """Those of `AsyncClient.watch`, but for its references."""

    sources: Collection[str] | None
    until: "Until | None"
    detail: bool
