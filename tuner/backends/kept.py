"""What a job keeps open from one problem to the next: processes that take long to start."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Protocol, TypeVar, cast


class Closable(Protocol):
    """What is to be closed once."""

    def close(self) -> None:
        """Stop its processes."""


T = TypeVar("T", bound=Closable)


class Kept:
    """Things by name, each made when first asked for and closed with the job. Any thread may ask.

    Attributes:
        lanes: how many problems of the job are worked on at a time.
    """

    def __init__(self, lanes: int = 1) -> None:
        self.lanes = lanes
        self._things: dict[Hashable, Closable] = {}
        self._lock = threading.RLock()  # what is made may ask for another thing

    def get(self, name: Hashable, make: Callable[[], T]) -> T:
        """The thing of that name, made now if there is none yet."""
        with self._lock:
            if name not in self._things:
                self._things[name] = make()
            return cast(T, self._things[name])

    def close(self) -> None:
        """Close everything, what was made last first."""
        with self._lock:
            while self._things:
                self._things.popitem()[1].close()
