"""What a bundle holds of an operator of several launches: a plugin for each, and what their layers are given."""

from __future__ import annotations

from collections.abc import Sequence

from tuner.gpu.catalog import is_portable
from tuner.kernel.kernel import Attribute, Kernel
from tuner.kernel.parts import Part
from tuner.kernel.problem import Problem
from tuner.qdp.bundle.contents import (
    Held,
    bundled_tactic,
    describe,
    dims_of,
    plain,
    require_served,
    solutions_of,
    tensors_of,
    times_of,
    types_of,
    words_of,
)
from tuner.qdp.bundle.manifest import BundledChain, BundledChoice, BundledKernel, BundledProblem, BundledStep
from tuner.qdp.chains import step_attributes, usual
from tuner.qdp.tables import position, table
from tuner.search.tactic import Tactic


def bundled_chain(kernel: Kernel, held: Sequence[Held]) -> BundledChain:
    """Describe an operator of several launches for the manifest.

    Raises:
        ConfigError: when a word that no network can choose differs between the problems.
    """
    require_served(kernel, [h.problem for h in held])
    return BundledChain(
        inputs=tensors_of(kernel, kernel.inputs),
        outputs=tensors_of(kernel, kernel.outputs),
        attributes=plain(kernel, kernel.attributes),
        steps=tuple(BundledStep(part.kernel.id, part.inputs, part.outputs) for part in kernel.parts),
        problems=tuple(map(_choice, held)),
        solutions=solutions_of(kernel),
        tables=words_of(kernel),
    )


def bundled_steps(kernel: Kernel, held: Sequence[Held]) -> dict[str, BundledKernel]:
    """Describe the plugins of its launches, by id."""
    found = {}
    for i, part in enumerate(kernel.parts):
        problems = [h.problem.steps(h.entry.winner.config)[i].problem for h in held]
        bundled = [_step_problem(h, part, i) for h in held]
        distinct = [b for n, b in enumerate(bundled) if b not in bundled[:n]]
        found[part.kernel.id] = describe(part.kernel, problems, distinct, usual(part))
    return found


def step_values(part: Part, problem: Problem, config: dict[str, Attribute]) -> dict[str, Attribute]:
    """The attributes of a layer as its plugin takes them, words as their positions."""
    values = step_attributes(part, problem, config)
    return {name: position(table(part.kernel, name), name, value) for name, value in values.items()}


def _step_problem(held: Held, part: Part, number: int) -> BundledProblem:
    config, (winner, code) = held.entry.winner.config, held.tactics[0]
    step, entry, artifact = held.problem.steps(winner.config)[number], held.entry, code.steps[number]
    tactic = bundled_tactic(step.problem, Tactic(step.config), artifact, None)
    values = step_attributes(part, held.problem, config)
    types = part.kernel.chosen_dtypes
    return BundledProblem(
        problem=step.problem.label,
        device=entry.device,
        capability=entry.capability,
        portable=is_portable(artifact.target),
        types=types_of(step.problem),
        attributes={n: str(v) if isinstance(v, str) else v for n, v in values.items() if n not in types},
        dims=dims_of(step.problem),
        tactics=(tactic,),
        default=tactic,
        times=times_of(entry),
        verified=entry.verified,
        environment=entry.environment,
        compiler=artifact.compiler,
        source=entry.source,
    )


def _choice(held: Held) -> BundledChoice:
    problem, entry, (winner, code) = held.problem, held.entry, held.tactics[0]
    ends = {
        name: tuple(zip(problem.shape(tensor, "min"), problem.shape(tensor, "max"), strict=True))
        for name, tensor in problem.kernel.inputs.items()
    }
    return BundledChoice(
        problem=problem.label,
        device=entry.device,
        capability=entry.capability,
        portable=all(is_portable(artifact.target) for artifact in code.steps),
        types=types_of(problem),
        attributes=plain(problem.kernel, problem.attributes),
        dims=dims_of(problem),
        shapes=ends,
        config=dict(winner.config),
        steps=tuple(step_values(part, problem, dict(winner.config)) for part in problem.kernel.parts),
        time_us=winner.time_us,
        statistic=winner.statistic,
        times=times_of(entry),
        verified=entry.verified,
        environment=entry.environment,
        compiler=code.compilers,
        source=entry.source,
        data=entry.problem,
    )
