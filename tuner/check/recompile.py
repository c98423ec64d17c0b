"""What today's source and compiler make of recorded tactics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

from tuner.backends.select import BackendChoice, open_backend
from tuner.check.facts import Facts, facts_of
from tuner.check.fingerprint import fingerprint
from tuner.compile.artifact import Artifact
from tuner.compile.blobs import Store
from tuner.errors import ConfigError
from tuner.gpu.catalog import architecture_name, find_device
from tuner.kernel.launch import Launch
from tuner.kernel.problem import Problem
from tuner.outcome import Failure, FailureClass
from tuner.search.tactic import Tactic
from tuner.tuning.config import Job


@dataclass(frozen=True)
class Recompiled:
    """A tactic as today's source compiles.

    Attributes:
        artifact: its code.
        launch: at the problem's usual size.
        fingerprint: of both.
        verified: what the correctness gate says without a GPU.
        facts: what the code takes, for the device it was compiled for.
    """

    artifact: Artifact
    launch: Launch
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
            artifact, launch = backend.compiled(legal[i].config), problem.launch(legal[i].config)
            assert artifact is not None
            facts = facts_of(artifact, launch, outcome)
            found[legal[i]] = Recompiled(artifact, launch, fingerprint(artifact, launch), outcome.verified, facts)
    return found


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
