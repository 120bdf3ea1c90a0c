"""What the sources and the installed providers are, and whether they work."""

from collections.abc import Sequence
from pathlib import Path

from bulkstatus import BulkStatusError, Client, Failure, SourceHealth, load, printable, providers, read_config
from bulkstatus.cli import _exit
from bulkstatus.cli._options import Format, is_brief, opened
from bulkstatus.cli._output import cell, document, lines, table, table_csv, to_json
from bulkstatus.cli._text import failure_line, one_word, tell, tightest
from bulkstatus.errors import ConfigError

_COLUMNS = ("source", "provider", "reachable", "accepted", "limits", "left", "can")
_SHOWN = {True: "yes", False: "no", None: "?"}
_STYLES = {"yes": "green", "no": "red", "?": "yellow"}


def sources(path: Path | None, names: Sequence[str], form: Format, timeout: float | None) -> int:
    """Look at each source and write what was found; return the exit code."""
    found = look(path, names, timeout)
    if form == "json":
        document(found)
    elif form == "jsonl":
        lines(map(to_json, found))
    elif form == "name":
        lines(one_word(health.source) for health in found)
    else:
        rows = [_row(health) for health in found]
        if form == "csv":
            table_csv(_COLUMNS, [[cell(value) for value in row] for row in rows])
        else:
            table(_COLUMNS, rows, style=_style)
    failures = [health.failure for health in found if health.failure is not None]
    for failure in failures:
        tell(failure_line(failure))
    return _exit.for_failures(failures, [health.source for health in found if health.failure is None])


def look(path: Path | None, names: Sequence[str], timeout: float | None) -> list[SourceHealth]:
    """The health of every source of the configuration, also of those that cannot even be set up."""
    config = read_config(path)
    wanted = names or tuple(config.sources)
    usable: list[str] = []
    found: dict[str, SourceHealth] = {}
    for name in wanted:
        if name not in config.sources:
            config.build([name])  # raises, and names the nearest
        try:
            config.build([name])
            usable.append(name)
        except BulkStatusError as error:
            found[name] = _not_set_up(name, config.sources[name], error)
    if usable:
        with opened(Client(config.build(usable), _brief=is_brief(len(usable)))) as client:
            found.update({health.source: health for health in client.check(timeout=timeout)})
    return [found[name] for name in config.sources if name in found]


def _not_set_up(name: str, provider: str, error: BulkStatusError) -> SourceHealth:
    try:
        adapter = load(provider)
    except ConfigError:
        adapter = None
    return SourceHealth(
        source=name,
        provider=printable(provider, 64),
        base_urls=(),
        reachable=None,
        accepted=None,
        limits=() if adapter is None else adapter.limits,
        budget=(),
        listing=hasattr(adapter, "listing"),
        operations=hasattr(adapter, "operations"),
        failure=Failure.of(error.about(source=name, provider=printable(provider, 64))),
    )


def _row(health: SourceHealth) -> tuple[str, ...]:
    can = ("list", health.listing), ("operations", health.operations)
    return (
        health.source,
        health.provider,
        _SHOWN[health.reachable],
        _SHOWN[health.accepted],
        ", ".join(map(str, health.limits)) or "none documented",
        _left(health),
        ", ".join(["get", *(word for word, able in can if able)]),
    )


def _left(health: SourceHealth) -> str:
    if not health.base_urls:
        return ""  # it could not be set up, so what it would keep is not known
    allowance = tightest(health.budget)
    return "no limit" if allowance is None else str(allowance)


def _style(header: str, value: str) -> str:
    return _STYLES.get(value, "") if header in ("reachable", "accepted") else ""


def installed(form: Format) -> None:
    """Write the adapters that are installed. None of them is imported."""
    found = providers()
    records = [provider._asdict() for provider in found]
    if form == "json":
        document(records)
    elif form == "jsonl":
        lines(map(to_json, records))
    elif form == "name":
        lines(one_word(provider.word) for provider in found)
    else:
        rows = [(item.word, item.distribution, item.problem or "") for item in found]
        columns = ("provider", "distribution", "problem")
        if form == "csv":
            table_csv(columns, [[cell(value) for value in row] for row in rows])
        else:
            table(columns, rows, style=lambda header, value: "red" if header == "problem" and value else "")
