"""A list on its way: its rows as they become known."""

from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

import anyio
import anyio.abc
import msgspec

from bulkstatus._gather import Gathering
from bulkstatus._model import BulkStatus, Report
from bulkstatus._tasks import Home

Rows = tuple[BulkStatus, ...]

_MANY = 500


class AsyncListPages:
    """The rows of a list as they become known; made by `AsyncClient.list_pages`.

    Iterate over it with `async for`: each step gives some rows, at least one. Those that the journal knows to be
    settled come first, and no source waits for another. `report` is what `list` would have given, once all have come.
    Leave it early with `close`, or use it in an `async with` statement.
    """

    def __init__(
        self,
        gathering: Gathering,
        gather: Callable[[], Awaitable[object]],
        report: Callable[[], Report],
        tasks: anyio.abc.TaskGroup,
    ) -> None:
        self._home = Home()
        self._unread: deque[Rows] = deque()
        self._bell = anyio.Event()
        self._is_over = self._is_whole = False
        self._scope = anyio.CancelScope()
        self._gather = gather
        self._report = report
        self._failed: BaseException | None = None
        gathering.tell = self._tell
        tasks.start_soon(self._run)

    def _tell(self, rows: Rows) -> None:
        self._unread.append(rows)
        self._bell.set()

    async def _run(self) -> None:
        try:
            with self._scope:
                await self._gather()
                self._is_whole = True
        except Exception as error:  # noqa: BLE001 - raised where the rows are read
            self._failed = error
        finally:
            self._is_over = True
            self._bell.set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Rows:
        self._home.check("this list")
        while not self._unread:
            if self._failed is not None:
                raise self._failed
            if self._is_over:
                raise StopAsyncIteration
            self._bell = anyio.Event()
            await self._bell.wait()
        return self._unread.popleft()

    async def rows(self, within: float) -> Rows:
        """The next rows: the first that come, and if those are few what follows in the next `within` seconds.

        Empty at the end.
        """
        found: list[BulkStatus] = []
        with suppress(StopAsyncIteration):
            found += await self.__anext__()
            with anyio.move_on_after(within):
                while len(found) < _MANY:
                    found += await self.__anext__()
        return tuple(found)

    def report(self) -> Report:
        """All rows, and what could not be asked; not complete while it goes on, and when it was left early."""
        found = self._report()
        return found if self._is_whole else msgspec.structs.replace(found, complete=False)

    def close(self) -> None:
        """Ask for nothing more. What is under way goes on."""
        self._scope.cancel()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
