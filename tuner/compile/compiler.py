"""Compile tactics in worker processes, each once, whether asked for twice or in another run."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol, TypeAlias, TypeVar

from tuner.compile.artifact import Artifact
from tuner.compile.blobs import Store
from tuner.compile.options import CompileOptions
from tuner.gpu.target import Target
from tuner.kernel.problem import Problem
from tuner.kernel.references import LoadError, ProblemSpec
from tuner.outcome import Failure, FailureClass, TacticError
from tuner.search.tactic import Config
from tuner.workers.faults import machine_at_fault, out_of_memory
from tuner.workers.pool import WorkerPool

Compiled: TypeAlias = Artifact | Failure
T = TypeVar("T")


class Compiles(Protocol):
    """What turns configurations into PTX: a `Compiler`, or what stands in for one."""

    def submit(self, problem: Problem, config: Config) -> Future[Compiled]:
        """Begin to compile, or return the future of an earlier call."""

    def versions(self) -> Mapping[str, str]:
        """Names and versions of the tools that what was submitted takes."""

    def close(self) -> None:
        """Stop its processes."""


@dataclass
class Counts:
    """What became of the tactics that were asked for.

    Attributes:
        compiled: made in a worker now.
        stored: taken from the store, failures too.
        failed: refused or lost, now or in the run that stored it.
    """

    compiled: int = 0
    stored: int = 0
    failed: int = 0


class Compiler:
    """Compiles tactics for one target. What a compiler refuses is remembered as what it accepts is.

    Whatever else keeps a tactic from being compiled (a limit, a process that was killed, a full disk) is tried
    once more, then a failure that is not lasting, and never stored.

    Args:
        target: what to compile for.
        store: keeps results for other runs; None keeps them for this object's life only.
        workers: processes; 0 for one per core. None starts before something must be compiled.
        timeout_s: how long one tactic may take.
        memory_bytes: how much private memory it may take.

    Attributes:
        workers: how many processes there are at most.
    """

    def __init__(
        self, target: Target, *, store: Store | None, workers: int, timeout_s: float, memory_bytes: int
    ) -> None:
        self.counts = Counts()
        self._target = target
        self._store = store
        self._timeout_s = timeout_s
        self.workers = workers or len(os.sched_getaffinity(0))
        self._pool = WorkerPool(self.workers, memory_bytes=memory_bytes, died=FailureClass.COMPILE)
        self._answers: dict[str, Future[Compiled]] = {}
        self._tools: dict[str, str] = {}
        self._lock = threading.Lock()

    @classmethod
    def of(cls, target: Target, options: CompileOptions, store: Store | None) -> Compiler:
        """A compiler within the limits that a config sets."""
        memory_bytes = options.memory_mb << 20
        return cls(target, store=store, workers=options.workers, timeout_s=options.timeout_s, memory_bytes=memory_bytes)

    def submit(self, problem: Problem, config: Config) -> Future[Compiled]:
        """Start compiling a tactic, or return the future of an earlier call.

        Raises:
            ConfigError, UnavailableError: when no tactic of the problem can be compiled.
        """
        from tuner.compile.pipeline import check_launch, compile_key, tools

        try:
            check_launch(problem, config)  # of these sizes, which are not in the key
            key = compile_key(problem, config, self._target)
        except TacticError as e:  # there is nothing that could be compiled
            return self._refused(e.failure)
        self._tools.update(tools(problem.source(config), self._target))
        with self._lock:
            if key in self._answers:
                return self._answers[key]
            answer = self._answers[key] = Future()
        known = self._load(key)
        if known is not None:
            self._finish(answer, known, stored=True)
            return answer
        attempt = partial(
            self._pool.submit, _compile, ProblemSpec.of(problem), dict(config), self._target, key,
            timeout_s=self._timeout_s,
        )  # fmt: skip
        attempt().add_done_callback(lambda done: self._attempted(key, answer, done, attempt))
        return answer

    def run(self, function: Callable[..., T], *args: object) -> Future[T | Failure]:
        """Run another function in the processes that compile; see `WorkerPool.submit`."""
        return self._pool.submit(function, *args, timeout_s=self._timeout_s)

    def versions(self) -> Mapping[str, str]:
        """Names and versions of the tools that what was submitted takes."""
        return dict(self._tools)

    def forget(self) -> None:
        """Let go of what is compiled, but for what the store keeps."""
        with self._lock:
            self._answers = {key: answer for key, answer in self._answers.items() if not answer.done()}

    def close(self) -> None:
        """Stop the worker processes; the futures of what is not compiled yet raise `CancelledError`."""
        self._pool.close()

    def _load(self, key: str) -> Compiled | None:
        if self._store is None:
            return None
        return self._store.get(key, Artifact) or self._store.get(key, Failure)

    def _refused(self, failure: Failure) -> Future[Compiled]:
        answer: Future[Compiled] = Future()
        self._finish(answer, failure, stored=False)
        return answer

    def _attempted(
        self, key: str, answer: Future[Compiled], done: Future[Compiled], again: Callable[[], Future[Compiled]] | None
    ) -> None:
        """Take the outcome of an attempt; where it says nothing about the code, make one more."""
        try:
            outcome = done.result()
            if _lasting(outcome):
                if self._store is not None:
                    self._store.put(key, outcome)
            elif again is not None:
                again().add_done_callback(lambda done: self._attempted(key, answer, done, None))
                return
        except Exception as e:  # an answer that never comes would be waited for without end
            answer.set_exception(e)
        else:
            self._finish(answer, outcome, stored=False)

    def _finish(self, answer: Future[Compiled], outcome: Compiled, stored: bool) -> None:
        with self._lock:
            self.counts.stored += stored
            self.counts.failed += isinstance(outcome, Failure)
            self.counts.compiled += not stored and isinstance(outcome, Artifact)
        answer.set_result(outcome)


def _lasting(outcome: Compiled) -> bool:
    return isinstance(outcome, Artifact) or outcome.lasting


def _compile(spec: ProblemSpec, config: Config, target: Target, key: str) -> Compiled:
    """Compile in a worker."""
    from tuner.compile.pipeline import compile_key, compile_tactic

    try:
        problem = spec.load()
    except LoadError as e:
        return Failure(FailureClass.COMPILE, str(e), lasting=False)
    try:
        if compile_key(problem, config, target) != key:
            message = f"{spec.kernel.location} was edited while it was being tuned; run again"
            return Failure(FailureClass.COMPILE, message, lasting=False)
        return compile_tactic(problem, config, target)
    except (TacticError, OSError) as e:
        if out_of_memory(e):
            raise
        if isinstance(e, OSError):
            return Failure(FailureClass.COMPILE, f"the machine failed, not the compiler: {e}", lasting=False)
        return replace(e.failure, lasting=e.failure.lasting and not machine_at_fault(e))
