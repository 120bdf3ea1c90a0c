"""Errors without the frames behind them, where those hold credentials."""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from bulkstatus.errors import BulkStatusError

P = ParamSpec("P")
T = TypeVar("T")


def unseen(function: Callable[P, T]) -> Callable[P, T]:
    """`function`, whose errors come without the frames behind it.

    Those hold what it was given and what it read, and error trackers send the locals of every frame.
    """

    @wraps(function)
    def call(*arguments: P.args, **options: P.kwargs) -> T:
        try:
            return function(*arguments, **options)
        except BulkStatusError as error:
            failure = error.with_traceback(None)
        failure.__cause__ = failure.__context__ = None
        del arguments, options
        raise failure

    return call
