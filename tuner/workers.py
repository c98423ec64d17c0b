"""Worker processes for work that may hang, crash or eat memory: what goes wrong costs one task.

Each worker is a fresh interpreter with its own pipe, never a fork of this one: forking is not safe once
CUDA or LLVM has started threads, and a pipe shared by several workers would be lost with the first that
is killed while it holds the lock. The main module is not imported again, so scripts need no guard
unless they hold the kernel themselves.

A worker leads a process group of its own. So Ctrl-C on a terminal reaches only the parent, which decides
what to do, and what kills a worker also kills the assembler it was waiting for. When the parent is gone,
the kernel of the operating system kills the group, even one that hangs in native code.
"""

from __future__ import annotations

import fcntl
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
from tuner.outcome import Failure, FailureClass

T = TypeVar("T")

_NICENESS = 10
_PRINTED_BYTES = 2000
"""How much of what a worker printed before its death is kept."""

_FILE_BYTES = 1 << 30
"""How large a file a task may write: what it prints is kept in memory until the next task."""

_EXPIRY_S = 2.0
"""Longest time that a process takes from closing its pipe to its end."""

_inside = False
"""Whether this process is a worker."""


_COMPILERS = (
    "TRITON_", "LLVM_", "MLIR_", "NVPTX_", "AMDGCN_", "PTXAS_", "NVCC_", "NVRTC_", "CUDA_", "NUMBA_", "NUMBAPRO_",
    "CUTE_", "CUTLASS_",
)  # fmt: skip
"""How the names of variables begin by which compilers, interpreters and the CUDA driver change what they do."""

_TRITON = frozenset(
    {
        "ALLOW_LHS_TMEM_LAYOUT_CONVERSION",
        "DISABLE_FAST_REDUCTION",
        "DISABLE_LLVM_OPT",
        "DISABLE_MMA_V3",
        "DISABLE_MMA_V5",
        "DISABLE_PTXAS_OPT",
        "STORE_TMEM_TO_GLOBAL_BYPASS_SMEM",
        "USE_IR_LOC",
        "USE_TTGIR_LOC",
    }
)
"""Those of Triton whose names begin otherwise."""

_WHERE = frozenset(
    {
        "TRITON_PTXAS_PATH",
        "TRITON_PTXAS_BLACKWELL_PATH",
        "TRITON_NVDISASM_PATH",
        "TRITON_CUOBJDUMP_PATH",
        "TRITON_LIBCUDA_PATH",
        "TRITON_HOME",
        "TRITON_CACHE_DIR",
        "CUDA_VISIBLE_DEVICES",
        "CUDA_DEVICE_ORDER",
        "CUDA_HOME",
        "CUDA_PATH",
        "CUDA_CACHE_PATH",
        "CUDA_MPS_PIPE_DIRECTORY",
        "CUDA_MPS_LOG_DIRECTORY",
    }
)
"""Those that only say where something is; the versions of tools are in every key."""


def child_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that a child process inherits: all but those by which a compiler changes what it makes.

    What a child finds is stored, under a key that knows nothing of a shell's variables: with `TRITON_INTERPRET=1`
    left over from debugging nothing compiles, and with `DISABLE_LLVM_OPT=1` something else does.
    """
    return {name: value for name, value in environment.items() if not changes_compilers(name)}


def changes_compilers(variable: str) -> bool:
    """Tell whether compilers, interpreters or the driver behave otherwise with this environment variable."""
    return variable not in _WHERE and (variable in _TRITON or variable.startswith(_COMPILERS))


class WorkerPool:
    """Runs tasks in worker processes, which start when there are tasks for them.

    Args:
        count: processes; 0 for one per core.
        memory_bytes: what a worker, and each program it runs, may take: private writable memory
            (RLIMIT_DATA). Address space (RLIMIT_AS) would also count the mapped libraries and what
            allocators reserve for every thread, and so vary with the number of cores.
        died: the class of failure of a task whose worker died.
        exhausted: the class of failure of one that ran out of memory; `died` by default.
        environment: variables that workers have from their very start.

    Raises:
        ConfigError: in a worker, where it means that importing a kernel file starts to tune.
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
        if _inside:
            raise ConfigError('importing this file starts work; put that part under if __name__ == "__main__":')
        self._memory_bytes = memory_bytes
        self._died, self._exhausted = died, exhausted or died
        self._environment = dict(environment or {})
        self._threads = ThreadPoolExecutor(count or len(os.sched_getaffinity(0)), thread_name_prefix="tuner-worker")
        self._lock = threading.Lock()
        self._workers: set[_PoolWorker] = set()
        self._idle: list[_PoolWorker] = []
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
        return self._threads.submit(self._run, pickle.dumps((function, args)), timeout_s)

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
            answer = worker.call(task, timeout_s)
        except TimeoutError:
            self._end(worker)
            return Failure(FailureClass.TIMEOUT, f"took longer than {timeout_s:g} s", lasting=False)
        except (OSError, EOFError):
            worker.expire()
            self._end(worker)
            return Failure(self._died, worker.obituary(), lasting=False)
        if answer == _OUT_OF_MEMORY:
            self._end(worker)
            if worker.calls > 1:  # a compiler keeps some memory of every task, so this one may not be to blame
                return self._run(task, timeout_s)
            memory = f"{self._memory_bytes / 2**30:g} GiB of memory"
            return Failure(self._exhausted, f"took more than {memory}", lasting=False)
        with self._lock:
            self._idle.append(worker)
        succeeded, value = pickle.loads(answer)
        if not succeeded:
            raise value
        return value

    def _take(self) -> _PoolWorker:
        """An idle worker, or a new one."""
        with self._lock:
            if self._closed:
                raise CancelledError
            while self._idle:
                worker = self._idle.pop()
                if worker.ready():
                    return worker
                self._workers.remove(worker)
                worker.end()
            worker = _PoolWorker(self._memory_bytes, self._environment)
            self._workers.add(worker)
            return worker

    def _end(self, worker: _PoolWorker) -> None:
        """End a worker that is of no more use; the next task that needs one starts another."""
        with self._lock:
            if self._closed:
                raise CancelledError
            self._workers.remove(worker)
            worker.end()


class _PoolWorker:
    """One process and the pipes to it, seen from the parent.

    Attributes:
        calls: how many tasks it was given.
    """

    def __init__(self, memory_bytes: int, environment: Mapping[str, str]) -> None:
        self.calls = 0
        self._printed = os.memfd_create("stderr")
        self._connection, theirs = Pipe()
        lifeline, self._lifeline = Pipe(duplex=False)
        with theirs, lifeline:
            fds = theirs.fileno(), lifeline.fileno()
            path = list(map(os.fspath, sys.path))
            call = f"serve{(*fds, memory_bytes)}"
            self._process = subprocess.Popen(
                [sys.executable, "-c", f"import sys; sys.path[:] = {path!r}; from tuner.workers import serve; {call}"],
                env={**child_environment(os.environ), **environment},
                pass_fds=fds,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,  # stdout belongs to the results of the command
                stderr=self._printed,
                process_group=0,
            )

    def ready(self) -> bool:
        """Whether an idle worker is still there: it sends nothing unasked, so all there can be is the end."""
        return not self._connection.poll()

    def call(self, task: bytes, timeout_s: float) -> bytes:
        """What `serve` answers to a task.

        Raises:
            TimeoutError: when that takes longer than `timeout_s`.
            OSError, EOFError: when the process ends.
        """
        self.calls += 1
        self._connection.send_bytes(task)
        if not self._connection.poll(timeout_s):
            raise TimeoutError
        return self._connection.recv_bytes()

    def expire(self) -> None:
        """Wait for a process that has closed its pipe to end in its own way, which the obituary tells."""
        with suppress(OSError):
            process = os.pidfd_open(self._process.pid)
            select.select([process], [], [], _EXPIRY_S)
            os.close(process)

    def end(self) -> None:
        """Kill the process, if it is still there, with its children."""
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


def serve(tasks: int, lifeline: int, memory_bytes: int) -> None:
    """The main function of a worker: answer tasks until the parent is gone.

    Args:
        tasks: this end of the pipe that brings tasks and takes answers.
        lifeline: this end of a pipe that closes with the parent and carries nothing.
        memory_bytes: the limit, set here and inherited by every program that tasks run.
    """
    global _inside
    _inside = True
    for fd in (tasks, lifeline):
        os.set_inheritable(fd, False)
    _die_with(lifeline)
    _limit(resource.RLIMIT_DATA, memory_bytes)
    _limit(resource.RLIMIT_FSIZE, _FILE_BYTES)
    _limit(resource.RLIMIT_CORE, 0)
    os.nice(_NICENESS)
    connection = Connection(tasks)
    with suppress(EOFError, OSError):
        while True:
            task = connection.recv_bytes()
            os.ftruncate(2, 0)  # what earlier tasks printed explains nothing
            os.lseek(2, 0, os.SEEK_SET)
            connection.send_bytes(_answer(task))


def out_of_memory(error: BaseException | None) -> bool:
    """Whether an exception, or one that it was raised from, says that memory ran out."""
    while error is not None and not isinstance(error, MemoryError):
        error = error.__cause__
    return error is not None


def machine_at_fault(error: BaseException | None) -> bool:
    """Tell whether an exception, or one that led to it, comes of the machine: files, memory, a missing module.

    Such an exception says nothing about the task, which may succeed another time.
    """
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, (OSError, MemoryError, ImportError)):
            return True
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return False


def _answer(task: bytes) -> bytes:
    """Whether a task returned, and what it returned or raised, pickled."""
    try:
        function, args = pickle.loads(task)
        return pickle.dumps((True, function(*args)))
    except Exception as e:
        if out_of_memory(e):
            return _OUT_OF_MEMORY
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


_OUT_OF_MEMORY = pickle.dumps((False, MemoryError()))
"""Made before it is needed."""


def _die_with(lifeline: int) -> None:
    """Have this process group killed when the other end of a pipe closes.

    The signal that F_SETOWN (fcntl(2), "Managing signals") asks for needs nothing of this process, which
    may hold Python's lock in native code. PR_SET_PDEATHSIG would spare the children.
    """
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, -os.getpgrp())
    fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | fcntl.FASYNC)


def _limit(what: int, value: int) -> None:
    """Lower a limit of this process and its children, unless it is lower already."""
    _, hard = resource.getrlimit(what)
    lowest = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(what, (lowest, lowest))
