"""Python's search for garbage, paused while a large table is read."""

from __future__ import annotations

import gc
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

__all__ = ["without_collector"]

P = ParamSpec("P")
T = TypeVar("T")


def without_collector(function: Callable[P, T]) -> Callable[P, T]:
    """Pause the search for objects that refer to one another in a circle, while a function runs.

    The search goes through all rows each time their number has grown by a quarter, and takes a third of the time. It is needed only by functions that
    make many such circles, as parsers of XML do; all other memory is freed without it.

    Args:
        function: reads a table or a JSON file.

    Returns:
        the same function with the search paused; in whatever order several threads end, the search goes on afterwards.
    """

    @wraps(function)
    def paused(*args: P.args, **kwargs: P.kwargs) -> T:
        was_on = gc.isenabled()
        gc.disable()
        try:
            return function(*args, **kwargs)
        finally:
            if was_on:
                gc.enable()

    return paused
