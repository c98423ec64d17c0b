"""Check tactics on the CPU before they are timed, each distinct computation once.

Tactics that differ in nothing the interpreter sees (`num_warps`, `num_stages`, …) share one run, and
verdicts are kept on disk, so that a second search interprets nothing.

What fails a tactic: a result that the reference does not confirm, and an access outside the kernel's
tensors. Whatever else goes wrong says something about the interpreter and not about the kernel, whose
code the compiler checks: an operation it lacks, a crash, a timeout. Then the tactic is `unverified`,
with the reason, and so it is where no small size is legal.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import threading
from concurrent.futures import Future
from typing import Literal, TypeAlias

from msgspec import Struct

from tuner.compile.blobs import Store
from tuner.errors import UnavailableError
from tuner.frontends.python_source import source_hash
from tuner.gate.inputs import make_inputs, poisoned
from tuner.gate.instances import instances
from tuner.gate.judge import VERSION, judge
from tuner.kernel.identity import kernel_hash
from tuner.kernel.problem import Problem
from tuner.kernel.problem_data import data_of
from tuner.kernel.references import LoadError, ProblemSpec
from tuner.outcome import VERIFIED, Failure, FailureClass
from tuner.search.tactic import Config
from tuner.workers import WorkerPool

Answer: TypeAlias = str | Failure

_ENVIRONMENT = {"TRITON_INTERPRET": "1", "OPENBLAS_NUM_THREADS": "1"}


class Verdict(Struct, frozen=True, forbid_unknown_fields=True):
    """What is kept of a check: whether the tactic is correct, wrong or could not be run, and why."""

    kind: Literal["verified", "wrong", "unverified"]
    why: str = ""

    def answer(self) -> Answer:
        """The verdict as trials record it."""
        if self.kind == "wrong":
            return Failure(FailureClass.CORRECTNESS, self.why)
        return VERIFIED if self.kind == "verified" else f"unverified: {self.why}"


class Verifier:
    """Tells whether the tactics of one problem are correct.

    Args:
        problem: what is tuned.
        seed: of the random inputs.
        store: keeps verdicts for other runs; None keeps them for this object's life only.
        workers: processes; 0 for one per core. None starts before something must be run.
        timeout_s: how long one tactic may take; where it takes more, it is unverified.
        memory_bytes: how much private memory it may take.
    """

    def __init__(
        self, problem: Problem, *, seed: int, store: Store | None, workers: int, timeout_s: float, memory_bytes: int
    ) -> None:
        self._problem = problem
        self._seed = seed
        self._store = store
        self._timeout_s = timeout_s
        self._pool = WorkerPool(workers, memory_bytes=memory_bytes, died=FailureClass.RUNTIME, environment=_ENVIRONMENT)
        self._answers: dict[str, Future[Answer]] = {}
        self._lock = threading.Lock()

    def submit(self, config: Config) -> Future[Answer]:
        """Start checking a tactic, or return the future of one that computes the same.

        Returns:
            A future: "verified"; "unverified: " and why; or a `Failure` of class correctness. It raises
            `ConfigError` when the kernel's reference does not fit its declaration.
        """
        source = self._problem.source(config)
        if not source.interpreted:
            unverified: Future[Answer] = Future()
            unverified.set_result(Verdict("unverified", f"{source.language} runs on a GPU only").answer())
            return unverified
        key = _key(self._problem, config, self._seed)
        with self._lock:
            if key in self._answers:
                return self._answers[key]
            answer = self._answers[key] = Future()
        known = self._store.get(key, Verdict) if self._store else None
        if known:
            answer.set_result(known.answer())
            return answer
        spec = ProblemSpec.of(self._problem)
        task = self._pool.submit(_check, spec, dict(config), self._seed, key, timeout_s=self._timeout_s)
        task.add_done_callback(lambda done: self._checked(key, answer, done))
        return answer

    def close(self) -> None:
        """Stop the worker processes; the futures of what is not checked yet raise `CancelledError`."""
        self._pool.close()

    def _checked(self, key: str, answer: Future[Answer], done: Future[tuple[Verdict, bool] | Failure]) -> None:
        try:
            result = done.result()
            if isinstance(result, Failure):
                verdict, lasting = Verdict("unverified", f"the interpreter {result.message}"), False
            else:
                verdict, lasting = result
            if lasting and self._store:
                self._store.put(key, verdict)
            answer.set_result(verdict.answer())
        except Exception as e:  # an answer that never comes would be waited for without end
            answer.set_exception(e)


def _key(problem: Problem, config: Config, seed: int) -> str:
    """Everything that a verdict depends on, as one hash."""
    kernel, own = problem.kernel.resolve(config)
    outputs = {problem.dtype(t) for t in kernel.results.values()}
    checked = instances(problem, config)
    launches = [(data_of(p).key, p.launch(config)) for p in checked]
    parts = [
        [VERSION, importlib.metadata.version("triton"), seed],
        [kernel_hash(kernel), source_hash(problem.kernel.reference), [t.positions for t in kernel.inputs.values()]],
        {name: [[t.rtol, t.atol] for t in (p.tolerance(name) for p in checked)] for name in sorted(outputs)},
        [dict(problem.dtypes), dict(problem.attributes)],
        {name: value for name, value in sorted(own.items()) if name in kernel.constants},
        [[key, launch.grid, launch.args] for key, launch in launches],
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _check(spec: ProblemSpec, config: Config, seed: int, key: str) -> tuple[Verdict, bool]:
    """Check a tactic in a worker; says whether the verdict would be the same another time."""
    try:
        problem = spec.load()
    except LoadError as e:
        return Verdict("unverified", str(e)), False
    if _key(problem, config, seed) != key:
        return Verdict("unverified", f"{spec.kernel.location} was edited while it was being tuned"), False
    return _run(problem, config, seed), True


def _run(problem: Problem, config: Config, seed: int) -> Verdict:
    """Run a tactic at all its small sizes, up to the first fault."""
    from tuner.gate import interpreter

    sizes = instances(problem, config)
    for instance in sizes:
        inputs, outputs = make_inputs(instance, seed), poisoned(instance)
        try:
            interpreter.run(instance, config, inputs, outputs)
        except interpreter.AccessError as e:
            return Verdict("wrong", f"{e} at {instance.label}")
        except (interpreter.InterpretationError, UnavailableError) as e:
            return Verdict("unverified", f"the interpreter stopped with {e}")
        fault = judge(instance, inputs, outputs)
        if fault:
            return Verdict("wrong", fault)
    return Verdict("verified") if sizes else Verdict("unverified", "no small size is legal for this tactic")
