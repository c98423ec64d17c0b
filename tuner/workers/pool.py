"""A pool of child processes: it runs tasks in them, and replaces those that break."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from typing import Any

from tuner.outcome import Failure, FailureClass
from tuner.workers.child import Child, T, task_of
from tuner.workers.faults import WorkerDied, WorkerOutOfMemory, WorkerTimeout, stop_in_child
from tuner.workers.limits import Limits


class WorkerPool:
    """Runs tasks in child processes, which start when there are tasks for them.

    Args:
        count: processes; 0 for one per core.
        memory_bytes: the private memory that a worker, and each program it runs, may take; see `Limits`.
        died: the class of failure of a task whose worker died.
        exhausted: the class of failure of one that ran out of memory; `died` by default.
        environment: variables that workers have from their very start.
    """

    def __init__(
        self,
        count: int,
        *,
        memory_bytes: int,
        died: FailureClass,
        exhausted: FailureClass | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        stop_in_child()
        self._limits = Limits(memory_bytes, file_bytes=1 << 30)
        self._died, self._exhausted = died, exhausted or died
        self._environment = dict(environment or {})
        self._threads = ThreadPoolExecutor(count or len(os.sched_getaffinity(0)), thread_name_prefix="tuner-worker")
        self._lock = threading.Lock()
        self._workers: set[Child] = set()
        self._idle: list[Child] = []
        self._closed = False

    def submit(self, function: Callable[..., T], *args: object, timeout_s: float) -> Future[T | Failure]:
        """Start a task.

        Args:
            function: of a module that the worker can import.
            *args: plain data.
            timeout_s: seconds from the moment a worker takes the task up; then the worker is killed.

        Returns:
            A future: what the function returns, or a `Failure` that is not lasting when it took too long, died or
            ran out of memory. It raises what the function raises.

        Raises:
            CancelledError: after `close`.
        """
        with self._lock:
            if self._closed:
                raise CancelledError
        return self._threads.submit(self._run, task_of(function, *args), timeout_s)

    def close(self) -> None:
        """End all workers at once; the futures of unfinished tasks raise `CancelledError`."""
        with self._lock:
            self._closed = True
            while self._workers:
                self._workers.pop().end()
        self._threads.shutdown(cancel_futures=True)

    def _run(self, task: bytes, timeout_s: float) -> Any:
        worker = self._take()
        try:
            worker.send(task)
            value = worker.receive(timeout_s)
        except WorkerTimeout:
            self._end(worker)
            return Failure(FailureClass.TIMEOUT, f"took longer than {timeout_s:g} s", lasting=False)
        except WorkerDied as e:
            self._end(worker)
            return Failure(self._died, f"the worker process died: {e.how}\n{e.printed}".strip(), lasting=False)
        except WorkerOutOfMemory:
            self._end(worker)
            if worker.calls > 1:  # a compiler keeps some memory of every task, so this one may not be to blame
                return self._run(task, timeout_s)
            memory = f"{(self._limits.memory_bytes or 0) / 2**30:g} GiB of memory"
            return Failure(self._exhausted, f"took more than {memory}", lasting=False)
        except Exception:
            self._keep(worker)
            raise
        self._keep(worker)
        return value

    def _take(self) -> Child:
        """An idle worker, or a new one."""
        with self._lock:
            if self._closed:
                raise CancelledError
            while self._idle:
                worker = self._idle.pop()
                if worker.idle():
                    return worker
                self._workers.remove(worker)
                worker.end()
            worker = Child(self._limits, self._environment)
            self._workers.add(worker)
            return worker

    def _keep(self, worker: Child) -> None:
        """Let a worker that has done its task do others."""
        with self._lock:
            self._idle.append(worker)

    def _end(self, worker: Child) -> None:
        """End a worker that is of no more use; the next task that needs one starts another."""
        with self._lock:
            if self._closed:
                raise CancelledError
            self._workers.remove(worker)
            worker.end()
