"""Child processes for work that may hang, crash or eat memory: what goes wrong costs one task.

A `Child` is a fresh interpreter with its own pipe, never a fork of this one: forking is not safe once
CUDA or LLVM has started threads, and a pipe shared by several children would be lost with the first that
is killed while it holds the lock. It never imports the main module, so a script needs no guard. A kernel
that a script declares itself is found by executing the script's file as a module, up to where it starts
to tune (`stop_in_child`).

A child leads a process group of its own. So Ctrl-C on a terminal reaches only the parent, which decides
what to do, and what kills a child also kills the assembler it was waiting for. When the parent is gone,
the kernel of the operating system kills the group, even one that hangs in native code.
"""

from __future__ import annotations

import os
import pickle
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from multiprocessing.connection import Pipe
from typing import Any, ParamSpec, TypeVar

from tuner.temporary import temporary_folder
from tuner.workers.environment import child_environment
from tuner.workers.faults import OUT_OF_MEMORY, WorkerDied, WorkerOutOfMemory, WorkerTimeout, stop_in_child
from tuner.workers.limits import UNLIMITED, Limits

P = ParamSpec("P")


T = TypeVar("T")


_PRINTED_BYTES = 2000
"""How much of what a child printed before its death is kept."""


_EXPIRY_S = 2.0
"""Longest time that a process takes from closing its pipe to its end."""


class Child:
    """One process that runs functions, one at a time, and the pipes to it, seen from the parent.

    One thread at a time sends and receives; any thread may kill it.

    Attributes:
        calls: how many tasks it was given.
    """

    def __init__(self, limits: Limits = UNLIMITED, environment: Mapping[str, str] | None = None) -> None:
        """Start the process; nobody waits for it.

        Args:
            limits: what it may take.
            environment: variables that it has from its very start, besides those of `child_environment`.
        """
        stop_in_child()
        self.calls = 0
        self._lock = threading.Lock()
        self._printed = os.memfd_create("stderr")
        self._connection, theirs = Pipe()
        lifeline, self._lifeline = Pipe(duplex=False)
        with theirs, lifeline:
            fds = theirs.fileno(), lifeline.fileno()
            serve = f"import sys; sys.path[:] = {_search_path()!r}; from tuner.workers.serving import serve; serve{fds}"
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", serve],
                # It is killed, so what it writes for a while has to be removed by this process.
                env={**child_environment(os.environ), "TMPDIR": str(temporary_folder()), **(environment or {})},
                pass_fds=fds,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,  # stdout belongs to the results of the command
                stderr=self._printed,
                process_group=0,
            )
        with suppress(OSError):  # whoever sends the first task is told that the process is gone
            self._connection.send_bytes(pickle.dumps((sys.argv, limits)))

    def idle(self) -> bool:
        """Whether a child without a task is still there: it sends nothing unasked, so all there can be is the end."""
        return not self._connection.poll()

    def send(self, task: bytes) -> None:
        """Hand over a task made by `task_of`.

        Raises:
            WorkerDied: when the process has ended.
        """
        self.calls += 1
        try:
            self._connection.send_bytes(task)
        except OSError:
            raise self._death() from None

    def receive(self, timeout_s: float) -> Any:
        """Return what the task returned, or raise what it raised.

        Raises:
            WorkerTimeout: when that takes longer than `timeout_s`; the process is killed.
            WorkerDied: when the process ends.
            WorkerOutOfMemory: when the task ran out of memory.
        """
        try:
            if not self._connection.poll(timeout_s):
                self.end()
                raise WorkerTimeout(f"no answer within {timeout_s:.1f} s")
            answer = self._connection.recv_bytes()
        except (OSError, EOFError):
            raise self._death() from None
        if answer == OUT_OF_MEMORY:
            raise WorkerOutOfMemory
        succeeded, value = pickle.loads(answer)
        if not succeeded:
            raise value
        return value

    def call(self, timeout_s: float, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a function of a module that the child can import; returns and raises as `receive` does."""
        self.send(task_of(function, *args, **kwargs))
        value: T = self.receive(timeout_s)
        return value

    def kill(self) -> None:
        """Begin to end the process and its children, if they are still there."""
        with self._lock:
            self._kill()

    def end(self) -> None:
        """Kill the process, if it is still there, with its children, and wait until it has ended."""
        with self._lock:
            self._kill()
            self._process.wait()

    def _kill(self) -> None:
        if self._process.returncode is None:  # not waited for yet, so nobody else has its number
            os.killpg(self._process.pid, signal.SIGKILL)

    def _death(self) -> WorkerDied:
        """How the process ended, after waiting for it to end in its own way: it has closed its pipe already."""
        with suppress(OSError):
            process = os.pidfd_open(self._process.pid)
            select.select([process], [], [], _EXPIRY_S)
            os.close(process)
        self.end()
        code = self._process.returncode
        size = os.fstat(self._printed).st_size
        printed = os.pread(self._printed, _PRINTED_BYTES, max(size - _PRINTED_BYTES, 0))
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return WorkerDied(how, printed.decode(errors="replace").strip())

    def __del__(self) -> None:
        with suppress(AttributeError):  # it was refused before it had one
            os.close(self._printed)


def task_of(function: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> bytes:
    """Make what `Child.send` hands over: a function of a module that the child can import, and plain data."""
    return pickle.dumps((function, args, kwargs))


def _search_path() -> list[str]:
    """Where a child looks for modules: where this process does, but for Python's own modules, which come first.

    So a file beside a script, or in the current folder, that is called like one of them is not taken for it.
    """
    library = os.path.dirname(os.__file__)  # noqa: PTH120
    own = (library, f"{library}/lib-dynload")
    return sorted(map(os.path.abspath, sys.path), key=lambda folder: folder not in own)
