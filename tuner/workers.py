"""Worker processes for work that may hang, crash or eat memory: what goes wrong costs one task.

Each worker is a fresh interpreter with its own pipe, never a fork of this one: forking is not safe once
CUDA or LLVM has started threads, and a pipe shared by several workers would be lost with the first that
is killed while it holds the lock. The main module is not imported again, so scripts need no guard
unless they hold the kernel themselves.

A worker leads a process group of its own. So Ctrl-C on a terminal reaches only the parent, which decides
what to do, and what kills a worker also kills the assembler it was waiting for.
"""

from __future__ import annotations

import os
import pickle
import resource
import select
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import suppress
from multiprocessing.connection import Connection, Pipe
from typing import Any, TypeVar

from tuner.errors import ConfigError
from tuner.trial import Failure, FailureClass

T = TypeVar("T")

_NICENESS = 10
_PRINTED_BYTES = 2000
"""How much of what a worker printed before its death is kept."""

_EXPIRY_S = 2.0
"""Longest time that a process takes from closing its pipe to its end."""

_inside = False
"""Whether this process is a worker."""


class WorkerPool:
    """Runs tasks in worker processes, which start when there are tasks for them.

    Args:
        count: processes; 0 for one per core.
        memory_bytes: what a worker, and each program it runs, may take: private writable memory
            (RLIMIT_DATA). Address space (RLIMIT_AS) would also count the mapped libraries and what
            allocators reserve for every thread, and so vary with the number of cores.
        died: the class of failure of a task whose worker died or ran out of memory.
        environment: variables that workers have from their very start.
    """

    def __init__(
        self,
        count: int,
        *,
        memory_bytes: int,
        died: FailureClass,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._memory_bytes = memory_bytes
        self._died = died
        self._environment = dict(environment or {})
        self._threads = ThreadPoolExecutor(count or os.cpu_count() or 1, thread_name_prefix="tuner-worker")
        self._lock = threading.Lock()
        self._workers: set[_Worker] = set()
        self._idle: list[_Worker] = []
        self._closed = False

    def submit(self, function: Callable[..., T], *args: object, timeout_s: float) -> Future[T | Failure]:
        """Start a task.

        Args:
            function: of a module that the worker can import.
            *args: plain data.
            timeout_s: seconds from the moment a worker takes the task up; then the worker is killed.

        Returns:
            A future: what the function returns, or a `Failure` when it took too long, died or ran out of
            memory. It raises what the function raises.

        Raises:
            ConfigError: in a worker, where it means that importing a kernel file starts to tune.
        """
        if _inside:
            raise ConfigError('importing this file starts work; put that part under if __name__ == "__main__":')
        return self._threads.submit(self._run, pickle.dumps((function, args)), timeout_s)

    def close(self) -> None:
        """End all workers at once; the futures of unfinished tasks raise `CancelledError`."""
        with self._lock:
            self._closed = True
            for worker in self._workers:
                worker.end()
        self._threads.shutdown(cancel_futures=True)

    def _run(self, task: bytes, timeout_s: float) -> Any:
        worker = self._take()
        try:
            succeeded, value = worker.call(task, timeout_s)
        except (TimeoutError, OSError, EOFError) as e:
            if isinstance(e, TimeoutError):
                self._discard(worker)
                return Failure(FailureClass.TIMEOUT, f"took longer than {timeout_s:g} s")
            worker.expire()
            self._discard(worker)
            return Failure(self._died, worker.obituary())
        if isinstance(value, MemoryError):
            self._discard(worker)
            return Failure(self._died, f"took more than {self._memory_bytes / 2**30:g} GiB of memory")
        with self._lock:
            self._idle.append(worker)
        if not succeeded:
            raise value
        return value

    def _take(self) -> _Worker:
        """An idle worker, or a new one."""
        with self._lock:
            if self._closed:
                raise CancelledError
            while self._idle:
                worker = self._idle.pop()
                if worker.ready():
                    return worker
                worker.end()
                self._workers.remove(worker)
            worker = _Worker(self._memory_bytes, self._environment)
            self._workers.add(worker)
            return worker

    def _discard(self, worker: _Worker) -> None:
        with self._lock:
            if self._closed:
                raise CancelledError
            worker.end()
            self._workers.remove(worker)


class _Worker:
    """One process and the pipe to it, seen from the parent."""

    def __init__(self, memory_bytes: int, environment: Mapping[str, str]) -> None:
        self._connection, theirs = Pipe()
        self._printed = os.memfd_create("stderr")
        path, fd = list(map(os.fspath, sys.path)), theirs.fileno()
        start = f"import sys; sys.path[:] = {path!r}; from tuner.workers import serve; serve({fd}, {memory_bytes})"
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", start],
                env={**os.environ, **environment},
                pass_fds=[fd],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,  # stdout belongs to the results of the command
                stderr=self._printed,
                process_group=0,
            )

    def ready(self) -> bool:
        """Whether an idle worker is still there: it sends nothing unasked, so all there can be is the end."""
        return not self._connection.poll()

    def call(self, task: bytes, timeout_s: float) -> tuple[bool, Any]:
        """Whether a task returned, and what it returned or raised.

        Raises:
            TimeoutError: when that takes longer than `timeout_s`.
            OSError, EOFError: when the process ends.
        """
        self._connection.send_bytes(task)
        if not self._connection.poll(timeout_s):
            raise TimeoutError
        answer: tuple[bool, Any] = pickle.loads(self._connection.recv_bytes())
        return answer

    def expire(self) -> None:
        """Wait for a process that has closed its pipe to end in its own way, which the obituary tells."""
        with suppress(OSError):
            process = os.pidfd_open(self._process.pid)
            select.select([process], [], [], _EXPIRY_S)
            os.close(process)

    def end(self) -> None:
        """Kill the process with its children, unless that is done."""
        if self._process.returncode is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def obituary(self) -> str:
        """How an ended process ended, on the first line, and what it printed last."""
        code = self._process.returncode
        cause = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        size = os.fstat(self._printed).st_size
        printed = os.pread(self._printed, _PRINTED_BYTES, max(size - _PRINTED_BYTES, 0))
        return f"the worker process died: {cause}\n{printed.decode(errors='replace')}".strip()

    def __del__(self) -> None:
        os.close(self._printed)


# -- in the worker -------------------------------------------------------------------------------


def serve(fd: int, memory_bytes: int) -> None:
    """The main function of a worker: answer tasks from a pipe until the other end is closed.

    Args:
        fd: this end of the pipe.
        memory_bytes: the limit, set here and inherited by every program that tasks run.
    """
    global _inside
    _inside = True
    connection = Connection(fd)
    os.set_inheritable(fd, False)
    resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.nice(_NICENESS)
    threading.Thread(target=_end_with_parent, args=(fd,), daemon=True).start()
    with suppress(EOFError, OSError):
        while True:
            task = connection.recv_bytes()
            os.ftruncate(2, 0)  # what earlier tasks printed explains nothing
            os.lseek(2, 0, os.SEEK_SET)
            connection.send_bytes(_answer(task))


def _answer(task: bytes) -> bytes:
    try:
        function, args = pickle.loads(task)
        return pickle.dumps((True, function(*args)))
    except Exception as e:
        e.add_note(traceback.format_exc())
        return _pickled(e)


def _pickled(error: Exception) -> bytes:
    """An exception as bytes; some cannot be made again from their arguments, and only their text is sent."""
    try:
        data = pickle.dumps((False, error))
        pickle.loads(data)
    except Exception:
        return pickle.dumps((False, RuntimeError(f"{type(error).__name__}: {error}")))
    return data


def _end_with_parent(fd: int) -> None:
    """Kill this process and its children once nobody holds the other end of the pipe."""
    closed = select.poll()
    closed.register(fd, 0)  # no event but the hang-up, which is always reported
    closed.poll()
    os.killpg(0, signal.SIGKILL)
