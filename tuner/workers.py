"""Child processes for work that may hang, crash or eat memory: what goes wrong costs one task.

A `Child` is a fresh interpreter with its own pipe, never a fork of this one: forking is not safe once
CUDA or LLVM has started threads, and a pipe shared by several children would be lost with the first that
is killed while it holds the lock. It never imports the main module, so a script needs no guard. A kernel
that a script declares itself is found by executing the script's file as a module, up to where it starts
to tune (`stop_in_child`).

A child leads a process group of its own. So Ctrl-C on a terminal reaches only the parent, which decides
what to do, and what kills a child also kills the assembler it was waiting for. When the parent is gone,
the kernel of the operating system kills the group, even one that hangs in native code.

A `WorkerPool` runs tasks in children, and replaces those that break.
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
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe
from typing import Any, ParamSpec, TypeVar

from tuner.errors import ConfigError
from tuner.outcome import Failure, FailureClass
from tuner.temporary import temporary_folder

P = ParamSpec("P")
T = TypeVar("T")

_PRINTED_BYTES = 2000
"""How much of what a child printed before its death is kept."""

_EXPIRY_S = 2.0
"""Longest time that a process takes from closing its pipe to its end."""

_inside = False
"""Whether this process is a child."""


class WorkInChild(BaseException):
    """Raised in a child by what starts work, so that a script is executed up to there and no further."""


def stop_in_child() -> None:
    """Raise `WorkInChild` in a child process. Whatever tunes or starts processes calls this first."""
    if _inside:
        raise WorkInChild


class WorkerError(Exception):
    """A child that did not answer. It is of no more use."""


class WorkerTimeout(WorkerError):  # noqa: N818
    """A child that did not answer in time, and was killed."""


class WorkerDied(WorkerError):  # noqa: N818
    """A child that ended before it answered.

    Attributes:
        how: a signal or an exit code.
        printed: the last it wrote to stderr.
    """

    def __init__(self, how: str, printed: str) -> None:
        super().__init__(how, printed)
        self.how, self.printed = how, printed

    def __str__(self) -> str:
        return f"the process ended with {self.how}\n{self.printed}".strip()


class WorkerOutOfMemory(WorkerError):  # noqa: N818
    """A child whose task ran out of memory."""

    def __str__(self) -> str:
        return "the process ran out of memory"


@dataclass(frozen=True)
class Limits:
    """What a child may take.

    Attributes:
        memory_bytes: private writable memory (RLIMIT_DATA) of it and of each program it runs; None: no limit of
            its own. Address space (RLIMIT_AS) would also count the mapped libraries and what allocators reserve
            for every thread, and so vary with the number of cores.
        file_bytes: the largest file it may write; what it prints is kept in memory until the next task. None: no
            limit of its own.
        niceness: how far it stands back behind other processes.
    """

    memory_bytes: int | None = None
    file_bytes: int | None = None
    niceness: int = 0


UNLIMITED = Limits()


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
            environment: variables that it has from its very start, besides those of this process.
        """
        stop_in_child()
        self.calls = 0
        self._lock = threading.Lock()
        self._printed = os.memfd_create("stderr")
        self._connection, theirs = Pipe()
        lifeline, self._lifeline = Pipe(duplex=False)
        with theirs, lifeline:
            fds = theirs.fileno(), lifeline.fileno()
            serve = f"import sys; sys.path[:] = {_search_path()!r}; from tuner.workers import serve; serve{fds}"
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", serve],
                # It is killed, so what it writes for a while has to be removed by this process.
                env={**os.environ, "TMPDIR": str(temporary_folder()), **(environment or {})},
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
        if answer == _OUT_OF_MEMORY:
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


class WorkerPool:
    """Runs tasks in child processes, which start when there are tasks for them.

    Args:
        count: processes; 0 for one per core.
        memory_bytes: the private memory that a worker, and each program it runs, may take; see `Limits`.
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
        stop_in_child()
        self._limits = Limits(memory_bytes, file_bytes=1 << 30, niceness=10)
        self._died = died
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
            A future: what the function returns, or a `Failure` when it took too long, died or ran out of
            memory. It raises what the function raises.
        """
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
            return Failure(FailureClass.TIMEOUT, f"took longer than {timeout_s:g} s")
        except WorkerDied as e:
            self._end(worker)
            return Failure(self._died, f"the worker process died: {e.how}\n{e.printed}".strip())
        except WorkerOutOfMemory:
            self._end(worker)
            if worker.calls > 1:  # a compiler keeps some memory of every task, so this one may not be to blame
                return self._run(task, timeout_s)
            return Failure(self._died, f"took more than {(self._limits.memory_bytes or 0) / 2**30:g} GiB of memory")
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


def _search_path() -> list[str]:
    """Where a child looks for modules: where this process does, but for Python's own modules, which come first.

    So a file beside a script, or in the current folder, that is called like one of them is not taken for it.
    """
    library = os.path.dirname(os.__file__)  # noqa: PTH120
    own = (library, f"{library}/lib-dynload")
    return sorted(map(os.path.abspath, sys.path), key=lambda folder: folder not in own)


# -- in the child --------------------------------------------------------------------------------


def serve(tasks: int, lifeline: int) -> None:
    """Answer tasks until the parent is gone: the main function of a child.

    Args:
        tasks: this end of the pipe that brings tasks and takes answers.
        lifeline: this end of a pipe that closes with the parent and carries nothing.
    """
    global _inside
    _inside = True
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # sent to all processes of a job, the parent decides
        signal.signal(number, signal.SIG_IGN)
    for fd in (tasks, lifeline):
        os.set_inheritable(fd, False)
    _die_with(lifeline)
    connection = Connection(tasks)
    with suppress(EOFError, OSError):
        sys.argv[:], limits = pickle.loads(connection.recv_bytes())
        _keep_within(limits)
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


def _answer(task: bytes) -> bytes:
    """Whether a task returned, and what it returned or raised, pickled."""
    try:
        function, args, kwargs = pickle.loads(task)
        return pickle.dumps((True, function(*args, **kwargs)))
    except WorkInChild:
        message = 'importing the kernel\'s module starts work; put that part under if __name__ == "__main__":'
        return pickle.dumps((False, ConfigError(message)))
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


def _keep_within(limits: Limits) -> None:
    """Set limits on this process, which every program that it runs inherits. None of them leaves a core file."""
    if limits.memory_bytes is not None:
        _lower(resource.RLIMIT_DATA, limits.memory_bytes)
    if limits.file_bytes is not None:
        _lower(resource.RLIMIT_FSIZE, limits.file_bytes)
    _lower(resource.RLIMIT_CORE, 0)
    os.nice(limits.niceness)


def _lower(what: int, value: int) -> None:
    """Lower a limit of this process and its children, unless it is lower already."""
    _, hard = resource.getrlimit(what)
    lowest = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(what, (lowest, lowest))
