"""A problem as plain data, for worker processes: a kernel holds functions, which cannot be sent."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from tuner.kernel import Attribute
from tuner.loader import KernelRef, ref_of
from tuner.problem import Problem, Range


@dataclass(frozen=True)
class ProblemSpec:
    """What a problem is made of; `load` makes it again, in any process."""

    kernel: KernelRef
    dims: tuple[tuple[str, tuple[Range, ...]], ...]
    dtypes: tuple[tuple[str, str], ...]
    attributes: tuple[tuple[str, Attribute], ...]

    @classmethod
    def of(cls, problem: Problem) -> ProblemSpec:
        return cls(
            ref_of(problem.kernel),
            tuple(problem.dims.items()),
            tuple(problem.dtypes.items()),
            tuple(problem.attributes.items()),
        )

    def load(self) -> Problem:
        """Import the kernel and make the problem; once per process."""
        return _load(self)


@lru_cache(maxsize=64)
def _load(spec: ProblemSpec) -> Problem:
    return Problem.of(spec.kernel.load(), dict(spec.dims), dict(spec.dtypes), dict(spec.attributes))
