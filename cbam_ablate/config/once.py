"""Work done once for the same sections of many configs."""

from collections.abc import Callable
from typing import Any

Once = Callable[..., Any]
"""Calls a function with these arguments, or answers what it gave for the same section objects before."""


def each_time(work: Callable[..., Any], *arguments: Any) -> Any:
    return work(*arguments)


class Memo:
    """Does each piece of work once for the same objects, which stay alive; texts are the same if equal."""

    def __init__(self) -> None:
        self._done: dict[tuple[Any, ...], tuple[Any, ...]] = {}

    def __call__(self, work: Callable[..., Any], *arguments: Any) -> Any:
        key = (work, *[item if isinstance(item, str) else id(item) for item in arguments])
        done = self._done.get(key)
        if done is None:
            done = self._done[key] = (work(*arguments), arguments)
        return done[0]
