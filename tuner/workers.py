"""Worker processes for work that may hang, crash or eat memory; what goes wrong costs one task.

Workers are spawned, never forked: a fork after CUDA or LLVM has started threads is not safe. As with
any spawned process, a script that tunes needs an ``if __name__ == "__main__":`` around its calls.
"""

from __future__ import annotations

import os
import resource
import signal
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from multiprocessing.context import SpawnContext, SpawnProcess
from typing import Any, TypeVar

from tuner.trial import Failure, FailureClass

T = TypeVar("T")

_START = threading.Lock()
_NICENESS = 10


class WorkerPool:
    """Runs tasks in worker processes, which start with the first task.

    Args:
        count: processes; 0 for one per core.
        memory_bytes: address space that a worker, and each program it runs, may take.
        died: the class of failure of a task whose worker died or ran out of memory.
        environment: variables that a worker has from its very start.
    """

    def __init__(
        self,
        count: int,
        *,
        memory_bytes: int,
        died: FailureClass,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._count = count or os.cpu_count() or 1
        self._memory_bytes = memory_bytes
        self._died = died
        self._context = _Context(environment or {})
        self._lock = threading.Lock()
        self._pool: Any = None

    def submit(self, function: Callable[..., T], *args: object, timeout_s: float) -> Future[T | Failure]:
        """Start a task.

        Args:
            function: of a module that the worker can import.
            *args: plain data.
            timeout_s: seconds from the moment a worker takes the task up; then the worker is killed.

        Returns:
            A future: what the function returns, or a `Failure` when it took too long, died or ran out of
            memory. It raises what the function raises.
        """
        task = self._started().schedule(function, args=args, timeout=timeout_s)
        answer: Future[T | Failure] = Future()

        def finish(done: Future[T]) -> None:
            if done.cancelled():
                answer.cancel()
                return
            error = done.exception()
            failure = None if error is None else self._failure(error, timeout_s)
            if failure is not None:
                answer.set_result(failure)
            elif error is not None:
                answer.set_exception(error)
            else:
                answer.set_result(done.result())

        task.add_done_callback(finish)
        return answer

    def close(self) -> None:
        """End all workers at once; unfinished tasks are cancelled."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.stop()
            pool.join()

    def _started(self) -> Any:
        from pebble import ProcessPool

        with self._lock:
            if self._pool is None:
                self._pool = ProcessPool(
                    max_workers=self._count,
                    initializer=_settle,
                    initargs=(self._memory_bytes, os.getpid()),
                    context=self._context,
                )
            return self._pool

    def _failure(self, error: BaseException, timeout_s: float) -> Failure | None:
        from pebble import ProcessExpired

        if isinstance(error, TimeoutError):
            return Failure(FailureClass.TIMEOUT, f"took longer than {timeout_s:g} s")
        if isinstance(error, MemoryError):
            return Failure(self._died, f"took more than {self._memory_bytes / 2**30:g} GiB of memory")
        if isinstance(error, ProcessExpired):
            return Failure(self._died, f"the worker process died: {_cause(error.exitcode)}")
        return None


class _Process(SpawnProcess):
    """A spawned process that has some variables before it imports anything."""

    def __init__(self, environment: Mapping[str, str], **options: Any) -> None:
        super().__init__(**options)
        self._variables = dict(environment)

    def start(self) -> None:
        with _START:
            before = {name: os.environ.get(name) for name in self._variables}
            os.environ.update(self._variables)
            try:
                super().start()
            finally:
                for name, value in before.items():
                    if value is None:
                        del os.environ[name]
                    else:
                        os.environ[name] = value


class _Context(SpawnContext):
    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    def Process(self, **options: Any) -> _Process:  # type: ignore[override]
        return _Process(self._environment, **options)


def _settle(memory_bytes: int, parent: int) -> None:
    """Make a new worker well behaved: limited, quiet, low in priority, and gone when its parent is."""
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)  # stdout belongs to the results of the command
    os.close(null)
    os.nice(_NICENESS)
    threading.Thread(target=_follow, args=(parent,), daemon=True).start()


def _follow(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def _cause(exitcode: int | None) -> str:
    if exitcode is not None and exitcode < 0:
        return signal.Signals(-exitcode).name
    return f"exit code {exitcode}"
