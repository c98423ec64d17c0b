"""What an operator is made of: launches in order, each an ordinary kernel that takes some of its tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING

from tuner.search.tactic import Config, Value

if TYPE_CHECKING:
    from tuner.kernel.kernel import Kernel
    from tuner.kernel.problem import Problem, Range


@dataclass(frozen=True, eq=False)
class Part:
    """One launch of an operator.

    Attributes:
        name: of the step.
        kernel: an ordinary kernel of one launch.
        inputs, outputs: for each tensor of that kernel, in order, the name of the operator's tensor that it is. An
            output that changes an input in place is the same tensor of the operator, or one that begins as it is.
        params: for each parameter of that kernel, the operator's that sets it; others are at their default.
        pinned: those of its attributes that are parameters of the operator: more than this launch depends on them,
            other launches or the shape of a tensor.
        judged: whether the launch has a reference of its own, besides the operator's.
    """

    name: str
    kernel: Kernel
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    params: Mapping[str, str] = field(default_factory=dict)
    pinned: tuple[str, ...] = ()
    judged: bool = False

    def config(self, config: Config) -> dict[str, Value]:
        """What the kernel is tuned with in a configuration of the operator."""
        fixed = {name: value for name, value in self.kernel.default.items() if name not in self.params}
        return {**fixed, **{own: config[name] for own, name in self.params.items() if name in config}}


@dataclass(frozen=True, eq=False)
class StepProblem:
    """One launch of an operator at given shapes and data types, in one configuration.

    Attributes:
        name: of the step; "" where the operator is one launch.
        problem: of an ordinary kernel.
        config: of that kernel.
        inputs, outputs: for each tensor of that kernel, in order, the name of the operator's tensor that it is.
        judged: whether the launch has a reference of its own, besides the operator's.
    """

    name: str
    problem: Problem
    config: Config
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    judged: bool = False


def steps_of(problem: Problem, config: Config) -> tuple[StepProblem, ...]:
    """The launches of a configuration, in order; the problem itself where it is one launch."""
    kernel, own = problem.kernel.resolve(config)
    if not kernel.parts:
        return (StepProblem("", problem, config, tuple(problem.kernel.inputs), tuple(problem.kernel.outputs)),)
    return tuple(_step(problem, part, own) for part in kernel.parts)


def _step(problem: Problem, part: Part, config: Config) -> StepProblem:
    kernel = part.kernel
    values = {**problem.attributes, **{name: config[name] for name in part.pinned}}
    found = type(problem).of(
        kernel,
        {dim: _extents(problem.dims[dim], dim in kernel.variadic_dims) for dim in kernel.dims},
        {variable: problem.dtypes[variable] for variable in kernel.dtypes},
        {name: values[name] for name in kernel.attributes},
    )
    return StepProblem(part.name, found, part.config(config), part.inputs, part.outputs, part.judged)


def _extents(ranges: tuple[Range, ...], variadic: bool) -> Range | tuple[Range, ...]:
    """The ranges of a dimension; of one that the launch takes as one extent, how many elements it has."""
    if variadic or len(ranges) == 1:
        return ranges
    return type(ranges[0])(*(prod(r.at(which) for r in ranges) for which in ("min", "opt", "max")))
