"""Run a tactic on the CPU, launch after launch, on tensors that all its launches share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tuner.gate import interpreter
from tuner.gate.inputs import Array, poisoned
from tuner.gate.judge import judge
from tuner.kernel.problem import Problem
from tuner.search.tactic import Config


class StepWrongError(Exception):
    """A launch leaves something else than its own reference."""


@dataclass(frozen=True, eq=False)
class Interpreted:
    """What the launches of a tactic leave in the operator's outputs, and how many operations they took together."""

    outputs: Mapping[str, Array]
    operations: int


def run_steps(problem: Problem, config: Config, inputs: Mapping[str, Array], limit: int) -> Interpreted:
    """Launch all steps of a tactic on the CPU, each as `interpreter.run` does.

    What no step has written is poisoned. An output that is an input begins with its values, and one that starts with
    a value with that.

    Args:
        problem: fixed sizes; its kernel must have been loaded with TRITON_INTERPRET=1.
        config: the tactic's configuration.
        inputs: of the operator; left as they are.
        limit: how many operations one launch may take.

    Raises:
        StepWrongError: a step that has a reference of its own is wrong.
        Exception: as from `interpreter.run`.
    """
    tensors, operations = dict(inputs), 0
    for step in problem.steps(config):
        kernel, fresh = step.problem.kernel, poisoned(step.problem)
        taken = {name: tensors[of] for name, of in zip(kernel.inputs, step.inputs, strict=True)}
        before = {name: array.copy() for name, array in taken.items()}
        written = {
            name: tensors.setdefault(of, fresh[name]) for name, of in zip(kernel.outputs, step.outputs, strict=True)
        }
        operations += interpreter.run(step.problem, step.config, before, written, limit)
        wrong = judge(step.problem, before, written) if step.judged else None
        if wrong:
            raise StepWrongError(f"step {step.name}: {wrong}")
    return Interpreted({name: tensors[name] for name in problem.kernel.outputs}, operations)
