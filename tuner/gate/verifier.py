"""Check tactics on the CPU before they are timed, each distinct computation once.

Tactics that differ in nothing the interpreter sees (`num_warps`, `num_stages`, …) share one run, and
verdicts are kept on disk, so that a second search interprets nothing.

What fails a tactic: a result that the reference does not confirm, an access outside the kernel's tensors, more
operations than any kernel needs at these sizes, an exception of its own, and the end of the process that interprets
it. Whatever else goes wrong says something about the interpreter and not about the kernel, whose code the compiler
checks: an operation it lacks, or a limit of time or memory. Then the tactic is `unverified`, with the reason, and so
it is where no small size is legal.

Small sizes cannot show an offset that does not fit 32 bits. Where a tensor has `LARGE_BYTES` or more, single
programs are followed at the problem's own size, for their addresses.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from typing import Any, Literal

import msgspec
from msgspec import Struct

from tuner.compile.blobs import Store
from tuner.errors import ConfigError, UnavailableError
from tuner.frontends.dtypes import itemsize
from tuner.frontends.python_source import source_hash
from tuner.gate import aggregates
from tuner.gate.inputs import make_inputs, tensors_of
from tuner.gate.instances import instances, own_sizes, programs, sizes_note
from tuner.gate.judge import VERSION, judge
from tuner.kernel.identity import drawn_text, kernel_hash, reference_hash
from tuner.kernel.parts import StepProblem
from tuner.kernel.problem import Problem
from tuner.kernel.problem_data import data_of
from tuner.kernel.references import LoadError, ProblemSpec
from tuner.outcome import VERIFIED, Failure, FailureClass
from tuner.search.tactic import Config
from tuner.workers.faults import machine_at_fault
from tuner.workers.pool import WorkerPool

_PACKAGES = ("triton", "numpy", "ml_dtypes")
"""What calculates."""

_ENVIRONMENT = {"TRITON_INTERPRET": "1", "OPENBLAS_NUM_THREADS": "1"}


MOST_OPERATIONS = 500_000
"""Operations of the interpreter in one launch, whatever the size of their blocks. Of the kernels that come with this
package the longest takes 98,307: a depthwise convolution, 14 rows to a program."""

LARGE_BYTES = 1 << 31
"""From this size of a tensor on, an offset into it can leave the range of 32-bit integers."""

_LAUNCH = 5
"""How many times the operations of one program at full size a launch at a small size may take."""

_OWN = 10
"""How many times the operations of a launch at a size of the problem's own a launch at a small size may take."""

_FAILURES = {"wrong": FailureClass.CORRECTNESS, "endless": FailureClass.TIMEOUT, "raised": FailureClass.RUNTIME}


class Verdict(Struct, frozen=True, forbid_unknown_fields=True):
    """What a check found.

    Attributes:
        kind: whether the tactic is right, could not be judged, or fails: with a wrong result or access, because it
            does not end, or because it raises or takes the process down.
        why: the reason, where it is not verified.
        checked: how it was looked at.
        lasting: whether another check would find the same. Only that is stored.
    """

    kind: Literal["verified", "unverified", "wrong", "endless", "raised"]
    why: str = ""
    checked: str = ""
    lasting: bool = True

    @property
    def verified(self) -> str:
        """The verdict as `Timing.verified` says it."""
        return VERIFIED if self.kind == "verified" else f"{self.kind}: {self.why}"

    def failure(self) -> Failure | None:
        """The failure of the trial, where it is one."""
        kind = _FAILURES.get(self.kind)
        return None if kind is None else Failure(kind, self.why, self.lasting)


@dataclass(frozen=True)
class _Effort:
    """With which inputs a tactic is checked, and how many operations a launch may take."""

    seed: int
    operations: int


class Verifier:
    """Tells whether the tactics of one problem are correct.

    Args:
        problem: what is tuned.
        seed: of the random inputs.
        store: keeps verdicts for other runs; None keeps them for this object's life only.
        workers: processes; 0 for one per core. None starts before something must be run.
        timeout_s: how long one tactic may take; where it takes more, it is unverified for now. A backstop: what
            does not end is ended by the count of its operations, which is the same on a busy machine.
        memory_bytes: how much private memory it may take.
        operations: how many operations each of its launches may take.
        pool: processes to use, which are not closed with this object; by default its own.
    """

    def __init__(
        self,
        problem: Problem,
        *,
        seed: int,
        store: Store | None,
        workers: int,
        timeout_s: float,
        memory_bytes: int,
        operations: int = MOST_OPERATIONS,
        pool: WorkerPool | None = None,
    ) -> None:
        self._problem = problem
        self._effort = _Effort(seed, operations)
        self._store = store
        self._timeout_s = timeout_s
        self._pool, self._shared = pool or checking_pool(workers, memory_bytes), pool is not None
        self._answers: dict[str, Future[Verdict]] = {}
        self._lock = threading.Lock()

    def submit(self, config: Config) -> Future[Verdict]:
        """Start checking a tactic, or return the future of one that computes the same.

        Returns:
            A future. It raises `ConfigError` when the kernel's reference does not fit its declaration.
        """
        languages = (s.problem.source(s.config) for s in self._problem.steps(config))
        compiled = next((source.language for source in languages if not source.interpreted), None)
        if compiled is not None:
            unverified: Future[Verdict] = Future()
            # For now: a GPU may judge this very code at any time.
            unverified.set_result(Verdict("unverified", f"{compiled} runs on a GPU only", lasting=False))
            return unverified
        key = _key(self._problem, config, self._effort)
        with self._lock:
            if key in self._answers:
                return self._answers[key]
            answer = self._answers[key] = Future()
        known = self._store.get(key, Verdict) if self._store else None
        if known:
            answer.set_result(known)
            return answer
        spec = ProblemSpec.of(self._problem)
        attempt = partial(self._pool.submit, _check, spec, dict(config), self._effort, key, timeout_s=self._timeout_s)
        attempt().add_done_callback(lambda done: self._checked(key, answer, done, attempt))
        return answer

    def close(self) -> None:
        """Stop its own worker processes; the futures of what is not checked yet raise `CancelledError`."""
        if not self._shared:
            self._pool.close()

    def _checked(
        self,
        key: str,
        answer: Future[Verdict],
        done: Future[Verdict | Failure],
        again: Callable[[], Future[Verdict | Failure]] | None,
    ) -> None:
        """Take what a worker found; where it died, which may have come from outside, have it look once more."""
        try:
            result = done.result()
            verdict = _lost(result) if isinstance(result, Failure) else result
            if verdict.kind == "raised" and not verdict.lasting and again is not None:
                again().add_done_callback(lambda done: self._checked(key, answer, done, None))
                return
            if verdict.lasting and self._store:
                self._store.put(key, verdict)
            answer.set_result(verdict)
        except Exception as e:  # an answer that never comes would be waited for without end
            answer.set_exception(e)


def checking_pool(workers: int, memory_bytes: int) -> WorkerPool:
    """Make the processes that check tactics; see `Verifier` for the arguments."""
    return WorkerPool(
        workers,
        memory_bytes=memory_bytes,
        died=FailureClass.RUNTIME,
        exhausted=FailureClass.TIMEOUT,  # a limit, as that of time
        environment=_ENVIRONMENT,
    )


def _lost(failure: Failure) -> Verdict:
    """What is known of a tactic whose worker gave no verdict: nothing that lasts."""
    if failure.kind is FailureClass.RUNTIME:
        return Verdict("raised", f"the kernel took the interpreter down: {failure.message}", lasting=False)
    return Verdict("unverified", f"the interpreter {failure.message}", lasting=False)


def _key(problem: Problem, config: Config, effort: _Effort) -> str:
    """Everything that a verdict depends on, as one hash."""
    kernel, _ = problem.kernel.resolve(config)
    outputs = {problem.dtype(t) for t in kernel.results.values()}
    small = instances(problem, config)
    checked = [*small, *own_sizes(problem, config, small)]
    parts = [
        [VERSION, [importlib.metadata.version(package) for package in _PACKAGES]],
        [effort.seed, effort.operations],
        [kernel_hash(kernel), source_hash(problem.kernel.reference), drawn_text(kernel)],
        {name: [[t.rtol, t.atol] for t in (p.tolerance(name) for p in checked)] for name in sorted(outputs)},
        [dict(problem.dtypes), dict(problem.attributes)],
        [_step_key(step) for step in problem.steps(config)],
        [[data_of(p).key, [_launched(step) for step in p.steps(config)]] for p in checked],
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _step_key(step: StepProblem) -> list[Any]:
    """What a verdict depends on of one launch, at whatever size."""
    kernel, own = step.problem.kernel.resolve(step.config)
    large = _large(step.problem)
    return [
        kernel.code.arguments,
        dict(step.problem.attributes),
        {name: value for name, value in sorted(own.items()) if name in kernel.constant_names},
        reference_hash(kernel) if step.judged else None,
        None if large is None else [data_of(large).key, _launched(replace(step, problem=large))],
    ]


def _launched(step: StepProblem) -> list[Any]:
    return [step.problem.programs(step.config), step.problem.launch(step.config).args]


def _check(spec: ProblemSpec, config: Config, effort: _Effort, key: str) -> Verdict:
    """Check a tactic in a worker."""
    aggregates.prepare()
    try:
        problem = spec.load()
    except LoadError as e:
        return Verdict("unverified", str(e), lasting=False)
    if _key(problem, config, effort) != key:
        return Verdict("unverified", f"{spec.kernel.location} was edited while it was being tuned", lasting=False)
    try:
        return _run(problem, config, effort)
    except OSError as e:
        return Verdict("unverified", f"the machine failed, not the kernel: {e}", lasting=False)


def _run(problem: Problem, config: Config, effort: _Effort) -> Verdict:
    """Run a tactic at all its small sizes, then single programs at a large one, up to the first fault."""
    from tuner.gate import interpreter

    checked_sizes, each = 0, 0.0
    small, brief = instances(problem, config), replace(effort, operations=effort.operations // _OWN)
    sizes = [(p, effort, False) for p in small] + [(p, brief, True) for p in own_sizes(problem, config, small)]
    for instance, allowed, own in sizes:
        count = programs(instance, config)
        if each * count > effort.operations * len(instance.steps(config)):
            continue  # so many programs would take more, whether or not each of them ends
        note = sizes_note(problem, instance)
        try:
            found = _interpret(instance, config, allowed)
        except ConfigError as e:
            if own:
                continue  # a reference that takes no such mixture
            raise ConfigError(f"{e}{note}") from e
        if isinstance(found, Verdict):
            if own and found.kind == "endless":
                continue  # a long loop over a size of the problem's own, which ended at small ones
            return msgspec.structs.replace(found, why=f"{found.why}{note}")
        checked_sizes, each = checked_sizes + 1, max(each, found / count)
    if not checked_sizes:
        return Verdict("unverified", "no small size is legal for this tactic")
    checked = f"interpreted at {checked_sizes} small size{'s' * (checked_sizes > 1)}"
    followed: dict[str, int] = {}
    for step in problem.steps(config):
        large = _large(step.problem)
        if large is None:
            continue
        made = [
            name for name, of in zip(large.kernel.inputs, step.inputs, strict=True) if of not in problem.kernel.inputs
        ]

        def follow(large: Problem = large, step: StepProblem = step, made: list[str] = made) -> None:
            limit = effort.operations // _LAUNCH
            programs = interpreter.follow(large, step.config, effort.seed, limit, made)
            followed[large.label] = followed.get(large.label, 0) + programs

        fault = _fault(large, follow)
        if fault and fault.kind == "wrong":
            hint = "offsets that do not fit 32 bits wrap around: widen them, as in tl.program_id(0).to(tl.int64)"
            return Verdict("wrong", f"{fault.why}; {hint}")
        if fault:
            why = f"offsets at full size could not be followed: {fault.why}"
            return Verdict("unverified", why, checked, fault.lasting)
    if not followed:
        return Verdict("verified", checked=f"{checked}; no tensor has {LARGE_BYTES} bytes")
    said = ", ".join(f"{programs} programs followed at {label}" for label, programs in followed.items())
    return Verdict("verified", checked=f"{checked}; offsets of {said}")


def _interpret(instance: Problem, config: Config, effort: _Effort) -> Verdict | int:
    """What is wrong with a tactic at small sizes; how many operations it took there, where nothing is."""
    from tuner.gate.launching import Interpreted, run_steps

    inputs = make_inputs(instance, effort.seed)
    found: list[Interpreted] = []
    if fault := _fault(instance, lambda: found.append(run_steps(instance, config, inputs, effort.operations))):
        return fault
    wrong = judge(instance, inputs, found[0].outputs)
    return Verdict("wrong", wrong) if wrong else found[0].operations


def _fault(instance: Problem, launch: Callable[[], object]) -> Verdict | None:
    """What an interpreted launch shows to be wrong before anybody looks at results; None: nothing."""
    from tuner.gate import interpreter
    from tuner.gate.launching import StepWrongError
    from tuner.gate.memory import AccessError

    try:
        launch()
    except StepWrongError as e:
        return Verdict("wrong", str(e))
    except AccessError as e:
        return Verdict("wrong", f"{e} at {instance.label}")
    except interpreter.TooLongError as e:
        return Verdict("endless", f"runs too long: {e} at {instance.label}")
    except interpreter.KernelRaisedError as e:
        return Verdict("raised", f"the kernel raised {e} at {instance.label}", lasting=not machine_at_fault(e))
    except (interpreter.InterpretationError, UnavailableError) as e:
        return Verdict("unverified", f"the interpreter stopped with {e}", lasting=not machine_at_fault(e))
    return None


def _large(problem: Problem) -> Problem | None:
    """The largest fixed sizes of the problem, where an offset could leave 32 bits there."""
    sizes = problem.at({d: prod(r.max for r in ranges) for d, ranges in problem.dims.items()})
    tensors = tensors_of(sizes).values()
    return sizes if any(prod(sizes.shape(t)) * itemsize(sizes.dtype(t)) >= LARGE_BYTES for t in tensors) else None
