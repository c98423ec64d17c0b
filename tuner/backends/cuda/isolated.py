"""A process that owns something fragile, and a warm spare to take its place when it breaks.

A kernel can loop forever, or spoil the context it runs in for good. So one process owns the context,
calls to it carry a time limit, and when it hangs, dies, or can no longer be trusted it is killed. A
spare that has done all the slow parts of starting already takes over, and the next spare starts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, Protocol, TypeAlias, TypeVar

from tuner.workers.child import Child, task_of
from tuner.workers.faults import WorkerError

P = ParamSpec("P")
T = TypeVar("T")

START_S = 60.0
"""Longest time to import, start the driver and take a context."""


class Served(Protocol):
    """What a process owns; see `Isolated.call` for its other methods."""

    def healthy(self) -> bool:
        """Whether it can be used again; asked after a method raised."""


Factory: TypeAlias = Callable[[], Served]


class Isolated:
    """An object in a process of its own, which is replaced whenever it breaks. Used from one thread at a time.

    Attributes:
        replaced: how many times it was.
    """

    def __init__(self, factory: Factory, spare: bool = True) -> None:
        """Start the process, and its spare.

        Args:
            factory: makes the object in each process; must be picklable.
            spare: whether to keep a second process ready.
        """
        self._factory = factory
        self._owner = _Owner(factory)
        self._spare = _Owner(factory) if spare else None
        self.replaced = 0

    def call(self, timeout_s: float, method: Callable[Concatenate[Any, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a method of the object.

        Args:
            timeout_s: how long the call may take.
            method: of the object's class, or of one like it: the object's own method of that name is called.
            *args, **kwargs: picklable.

        Raises:
            WorkerError: when the process did not answer; another one has taken over.
            Exception: what the method raised. Another process has taken over if the object is not healthy any more.
        """
        try:
            return self._owner.call(timeout_s, method, *args, **kwargs)
        except WorkerError:
            self.replace()
            raise
        except Exception:
            if not self._healthy():
                self.replace()
            raise

    def replace(self) -> None:
        """Kill the process and go on with a clean one."""
        self._owner.child.end()
        self._owner = self._spare or _Owner(self._factory)
        if self._spare is not None:
            self._spare = _Owner(self._factory)
        self.replaced += 1

    def stop(self) -> None:
        """Begin to end the processes, which takes the driver a while when it holds a context."""
        self._owner.child.kill()
        if self._spare is not None:
            self._spare.child.kill()

    def close(self) -> None:
        """End the processes and wait until they have ended: then the device is free of them."""
        self.stop()
        self._owner.child.end()
        if self._spare is not None:
            self._spare.child.end()

    def _healthy(self) -> bool:
        try:
            return self._owner.call(START_S, Served.healthy)
        except Exception:  # it does not answer, or was never made
            return False


class _Owner:
    """A process that makes an object and calls its methods."""

    def __init__(self, factory: Factory) -> None:
        """Start the process; it makes the object without being waited for."""
        self.child = Child()
        self._started = False
        self.child.send(task_of(_make, factory))

    def call(self, timeout_s: float, method: Callable[Concatenate[Any, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a method of the object, as soon as there is one."""
        if not self._started:
            self._started = True
            self.child.receive(START_S)
        value: T = self.child.call(timeout_s, _call, method, *args, **kwargs)
        return value


# -- in the process ------------------------------------------------------------------------------

_served: Served


def _make(factory: Factory) -> None:
    """Make the object that later calls are for."""
    global _served
    _served = factory()


def _call(method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call the object's own method of that name, as ``object.method(…)`` would."""
    return getattr(_served, method.__name__)(*args, **kwargs)
