"""What today's source and compiler make of recorded tactics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

from tuner.backends.model.predict import predict
from tuner.backends.select import BackendChoice, open_backend
from tuner.check.facts import Facts, facts_of, total
from tuner.check.fingerprint import fingerprint_steps
from tuner.compile.artifact import Code
from tuner.compile.blobs import Store
from tuner.errors import ConfigError
from tuner.gpu.catalog import Device, architecture_name, find_device
from tuner.kernel.launch import Launch
from tuner.kernel.problem import Problem
from tuner.outcome import Failure, FailureClass, Timing
from tuner.search.tactic import Tactic
from tuner.tuning.config import Job


@dataclass(frozen=True)
class Recompiled:
    """A tactic as today's source compiles.

    Attributes:
        code: of each launch, in order.
        launches: at the problem's usual size.
        fingerprint: of both.
        verified: what the correctness gate says without a GPU.
        facts: what the code takes, for the device it was compiled for.
    """

    code: Code
    launches: tuple[Launch, ...]
    fingerprint: str
    verified: str
    facts: Facts


def compile_today(
    problem: Problem, tactics: Sequence[Tactic], device: str, job: Job, store: Store, proofs: Mapping[str, str]
) -> Mapping[Tactic, Recompiled | Failure]:
    """Compile, check on the CPU and predict tactics for a device that need not be present.

    A tactic that is no longer in the space is a failure of class constraint.

    Args:
        problem: with today's kernel.
        tactics: what to compile.
        device: a name that `find_device` knows.
        job: what a compile may take, and the seed of the correctness gate's inputs.
        store: keeps compiled tactics.
        proofs: PTX that a GPU has found correct, as `open_backend` takes it.
    """
    found: dict[Tactic, Recompiled | Failure] = {}
    legal: list[Tactic] = []
    for tactic in dict.fromkeys(tactics):
        why = _illegal(problem, tactic)
        if why is None:
            legal.append(tactic)
        else:
            found[tactic] = Failure(FailureClass.CONSTRAINT, why)
    if not legal:
        return found
    setting = replace(job.setting, target=device)
    with closing(open_backend(BackendChoice("model"), problem, setting, store, proofs)) as backend:
        for i, outcome in backend.evaluate([t.config for t in legal]):
            if isinstance(outcome, Failure):
                found[legal[i]] = outcome
                continue
            code = backend.compiled(legal[i].config)
            assert code is not None
            found[legal[i]] = _recompiled(problem, legal[i], code, outcome, find_device(device))
    return found


def _recompiled(problem: Problem, tactic: Tactic, code: Code, predicted: Timing, device: Device) -> Recompiled:
    steps = list(zip(problem.steps(tactic.config), code.steps, strict=True))
    launches = tuple(step.problem.launch(step.config) for step, _ in steps)
    each = [predicted] if len(steps) == 1 else [predict(device, s.problem, s.config, a) for s, a in steps]
    parts = [facts_of(a, launch, p) for (_, a), launch, p in zip(steps, launches, each, strict=True)]
    executed = fingerprint_steps(list(zip(code.steps, launches, strict=True)))
    return Recompiled(code, launches, executed, predicted.verified, total(parts, predicted))


def target_of(device: str, capability: tuple[int, int]) -> str:
    """The name to compile and predict for: a recorded device, or the first known of its compute capability."""
    try:
        return find_device(device).name
    except ConfigError:
        return find_device(str(architecture_name(capability))).name


def _illegal(problem: Problem, tactic: Tactic) -> str | None:
    try:
        violated = problem.space.violated(tactic.config)
    except ConfigError as e:
        return str(e)
    return None if violated is None else str(violated)
