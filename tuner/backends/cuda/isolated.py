"""A process that owns something fragile, and a warm spare to take its place when it breaks.

A kernel can loop forever, or spoil the context it runs in for good. So one process owns the context,
calls to it carry a time limit, and when it hangs, dies, or can no longer be trusted it is killed. A
spare that has done all the slow parts of starting already takes over, and the next spare starts.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from typing import Any, Protocol, TypeAlias

START_S = 60.0
"""Longest time to import, start the driver and take a context."""


class Served(Protocol):
    """What a worker owns. Its other methods are called by name."""

    def healthy(self) -> bool:
        """Whether it can be used again; asked after a method raised."""


Factory: TypeAlias = Callable[[], Served]


class WorkerError(Exception):
    """The process did not answer."""


class WorkerTimeout(WorkerError):  # noqa: N818
    """It did not answer in time, and was killed."""


class WorkerDied(WorkerError):  # noqa: N818
    """It ended in the middle of a call."""


class Worker:
    """One process that makes an object and calls its methods."""

    def __init__(self, factory: Factory) -> None:
        """Start the process; it makes the object without being waited for."""
        context = multiprocessing.get_context("spawn")
        self._connection, child = context.Pipe()
        self._process = context.Process(target=_serve, args=(child, factory), daemon=True)
        self._process.start()
        child.close()
        self._started = False

    def call(self, method: str, *args: Any, timeout_s: float) -> tuple[Any, bool]:
        """Call a method of the object.

        Returns:
            What it returned or the exception it raised, and whether the object is still healthy.

        Raises:
            WorkerTimeout: when that takes longer than `timeout_s`. The process is killed.
            WorkerDied: when the process ended.
        """
        if not self._started:
            made, _ = self._receive(START_S)
            if isinstance(made, Exception):
                raise made
            self._started = True
        try:
            self._connection.send((method, args))
        except OSError:
            raise self._death() from None
        return self._receive(timeout_s)

    def stop(self) -> None:
        """Begin to end the process, which takes the driver a while when it holds a context."""
        self._process.kill()

    def kill(self) -> None:
        """End the process and wait until it has ended: then the device is free of it."""
        self.stop()
        self._process.join()
        self._connection.close()

    def _receive(self, timeout_s: float) -> tuple[Any, bool]:
        if not self._connection.poll(timeout_s):
            self._process.kill()
            raise WorkerTimeout(f"no answer within {timeout_s:.1f} s")
        try:
            answer: tuple[Any, bool] = self._connection.recv()
        except (EOFError, OSError):
            raise self._death() from None
        return answer

    def _death(self) -> WorkerDied:
        self._process.join()
        code = self._process.exitcode
        how = signal.Signals(-code).name if code is not None and code < 0 else f"exit code {code}"
        return WorkerDied(f"the process ended with {how}")


class Isolated:
    """A worker that is replaced whenever it breaks. Used from one thread at a time.

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
        self._worker = Worker(factory)
        self._spare = Worker(factory) if spare else None
        self.replaced = 0

    def call(self, method: str, *args: Any, timeout_s: float) -> Any:
        """Call a method of the object; raises what it raised, or a `WorkerError`."""
        try:
            answer, healthy = self._worker.call(method, *args, timeout_s=timeout_s)
        except WorkerError:
            self.replace()
            raise
        if not healthy:
            self.replace()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def replace(self) -> None:
        """Kill the process and go on with a clean one."""
        self._worker.kill()
        self._worker = self._spare or Worker(self._factory)
        if self._spare is not None:
            self._spare = Worker(self._factory)
        self.replaced += 1

    def stop(self) -> None:
        """Begin to end the processes; `close` waits for them."""
        self._worker.stop()
        if self._spare is not None:
            self._spare.stop()

    def close(self) -> None:
        """End the processes."""
        self.stop()
        self._worker.kill()
        if self._spare is not None:
            self._spare.kill()


def _serve(connection: Connection, factory: Factory) -> None:
    """The main function of the process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends this process in its time
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        served = factory()
    except Exception as e:
        connection.send((e, False))
        return
    connection.send((None, True))
    with suppress(EOFError, OSError):
        while True:
            method, args = connection.recv()
            try:
                answer = (getattr(served, method)(*args), True)
            except Exception as e:
                answer = (e, served.healthy())
            connection.send(answer)


def _end_with_parent() -> None:
    """A process stuck in a kernel would not notice that nobody is there any more."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)
