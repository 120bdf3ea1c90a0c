"""One status for every bulk job.

::

    import bulkstatus

    with bulkstatus.Client.from_config() as client:
        for status in client.list(states={"running", "paused"}):
            print(status.ref, status.state)

Callers import from here and from `bulkstatus.errors`; authors of adapters from `bulkstatus.adapter`; tests from
`bulkstatus.testing`.
"""

TYPE_CHECKING = False  # importing that of `typing` costs a third of what Python itself takes to start
if TYPE_CHECKING:
    from bulkstatus._adapter import Limit
    from bulkstatus._blocking import Client, ListPages, Watch
    from bulkstatus._budget import Allowance
    from bulkstatus._client import AsyncClient, SourceHealth
    from bulkstatus._config import Config, default_path, read_config
    from bulkstatus._drift import Drift
    from bulkstatus._journal import Journal
    from bulkstatus._model import (
        BulkOperation,
        BulkStatus,
        Counts,
        Failure,
        Overdue,
        Ref,
        Report,
        Skipped,
        State,
        Stuck,
    )
    from bulkstatus._outcome import Change, Outcome, Result, Verdict, is_blocked
    from bulkstatus._pages import AsyncListPages
    from bulkstatus._polling import PollPolicy
    from bulkstatus._record import JournalStats, KnownBulk, Pruned, Transition, WaitRecord, WaitTerms
    from bulkstatus._registry import Provider, load, providers
    from bulkstatus._retry import Policy, log_retries
    from bulkstatus._schema import json_schema, with_payload
    from bulkstatus._sqlite import default_journal_path
    from bulkstatus._text import printable
    from bulkstatus._times import read_duration
    from bulkstatus._waits import HeldWait
    from bulkstatus._watch import AsyncWatch, BulkView, SourceView, WatchView
    from bulkstatus.errors import (
        AuthError,
        BulkStatusError,
        ConfigError,
        DeadlineExceeded,
        JournalError,
        NotFound,
        ProtocolError,
        RateLimited,
        RequestRejected,
        Unavailable,
        VerdictError,
    )

__version__ = "0.1.0"
"""The version of this library, as `bulkstatus --version` prints it and its metadata have it."""

__all__ = [
    "Allowance",
    "AsyncClient",
    "AsyncListPages",
    "AsyncWatch",
    "AuthError",
    "BulkOperation",
    "BulkStatus",
    "BulkStatusError",
    "BulkView",
    "Change",
    "Client",
    "Config",
    "ConfigError",
    "Counts",
    "DeadlineExceeded",
    "Drift",
    "Failure",
    "HeldWait",
    "Journal",
    "JournalError",
    "JournalStats",
    "KnownBulk",
    "Limit",
    "ListPages",
    "NotFound",
    "Outcome",
    "Overdue",
    "Policy",
    "PollPolicy",
    "ProtocolError",
    "Provider",
    "Pruned",
    "RateLimited",
    "Ref",
    "Report",
    "RequestRejected",
    "Result",
    "Skipped",
    "SourceHealth",
    "SourceView",
    "State",
    "Stuck",
    "Transition",
    "Unavailable",
    "Verdict",
    "VerdictError",
    "WaitRecord",
    "WaitTerms",
    "Watch",
    "WatchView",
    "default_journal_path",
    "default_path",
    "is_blocked",
    "json_schema",
    "load",
    "log_retries",
    "printable",
    "providers",
    "read_config",
    "read_duration",
    "with_payload",
]

# Loaded at first use: some import the HTTP client, and every pytest that finds our plugin imports this module.
_LAZY = {
    "Allowance": "_budget",
    "AsyncClient": "_client",
    "AsyncListPages": "_pages",
    "AsyncWatch": "_watch",
    "AuthError": "errors",
    "BulkOperation": "_model",
    "BulkStatus": "_model",
    "BulkStatusError": "errors",
    "BulkView": "_watch",
    "Change": "_outcome",
    "Client": "_blocking",
    "Config": "_config",
    "ConfigError": "errors",
    "Counts": "_model",
    "DeadlineExceeded": "errors",
    "Drift": "_drift",
    "Failure": "_model",
    "HeldWait": "_waits",
    "Journal": "_journal",
    "JournalError": "errors",
    "JournalStats": "_record",
    "KnownBulk": "_record",
    "Limit": "_adapter",
    "ListPages": "_blocking",
    "NotFound": "errors",
    "Outcome": "_outcome",
    "Overdue": "_model",
    "Policy": "_retry",
    "PollPolicy": "_polling",
    "ProtocolError": "errors",
    "Provider": "_registry",
    "Pruned": "_record",
    "RateLimited": "errors",
    "Ref": "_model",
    "Report": "_model",
    "RequestRejected": "errors",
    "Result": "_outcome",
    "Skipped": "_model",
    "SourceHealth": "_client",
    "SourceView": "_watch",
    "State": "_model",
    "Stuck": "_model",
    "Transition": "_record",
    "Unavailable": "errors",
    "Verdict": "_outcome",
    "VerdictError": "errors",
    "WaitRecord": "_record",
    "WaitTerms": "_record",
    "Watch": "_blocking",
    "WatchView": "_watch",
    "default_journal_path": "_sqlite",
    "default_path": "_config",
    "is_blocked": "_outcome",
    "json_schema": "_schema",
    "load": "_registry",
    "log_retries": "_retry",
    "printable": "_text",
    "providers": "_registry",
    "read_config": "_config",
    "read_duration": "_times",
    "with_payload": "_schema",
}


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name == "errors":  # without an import of its own, as in `except bulkstatus.errors.NotFound`
        return import_module("bulkstatus.errors")
    module = _LAZY.get(name)
    if module is None:
        raise AttributeError(f"module 'bulkstatus' has no attribute {name!r}")
    value: object = getattr(import_module(f"bulkstatus.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
