"""A port that is made when it is first used: most commands use few, and each brings modules along."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar, cast

_T = TypeVar("_T")


class _Late:
    """Stands for what ``make`` returns; made once, whichever thread asks first."""

    def __init__(self, make: Callable[[], object]) -> None:
        self._make = make
        self._made: object | None = None
        self._lock = threading.Lock()

    def __getattr__(self, name: str) -> Any:
        with self._lock:
            if self._made is None:
                self._made = self._make()
        return getattr(self._made, name)


def late(make: Callable[[], _T]) -> _T:
    """Return what behaves like the result of ``make``, which is not called before something is asked of it."""
    return cast("_T", _Late(make))
