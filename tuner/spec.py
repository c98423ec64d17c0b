"""A problem as plain data, for worker processes: a kernel holds functions, which cannot be sent."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from tuner.errors import ConfigError
from tuner.kernel import Attribute
from tuner.loader import KernelRef, ref_of
from tuner.problem import Problem, Range, Timed
from tuner.workers import out_of_memory


class LoadError(Exception):
    """Why a kernel that was imported where tuning started cannot be imported in a worker."""


@dataclass(frozen=True)
class ProblemSpec:
    """What a problem is made of; `load` makes it again, in any process."""

    kernel: KernelRef
    dims: tuple[tuple[str, tuple[Range, ...]], ...]
    dtypes: tuple[tuple[str, str], ...]
    attributes: tuple[tuple[str, Attribute], ...]
    timed: tuple[tuple[tuple[tuple[str, int | tuple[int, ...]], ...], float], ...] = ()

    @classmethod
    def of(cls, problem: Problem) -> ProblemSpec:
        return cls(
            ref_of(problem.kernel),
            tuple(problem.dims.items()),
            tuple(problem.dtypes.items()),
            tuple(problem.attributes.items()),
            tuple((tuple(shape.dims.items()), shape.weight) for shape in problem.timed),
        )

    def load(self) -> Problem:
        """Import the kernel and make the problem; once per process.

        Raises:
            LoadError: when the file is gone, raises on import, or no longer holds that kernel.
            ConfigError: when what the file declares is refused, or it starts to tune when imported: no
                tactic could do better.
        """
        try:
            return _load(self)
        except Exception as e:
            if out_of_memory(e) or (isinstance(e, ConfigError) and isinstance(e.__cause__, ConfigError | None)):
                raise
            why = e if isinstance(e, ConfigError) else f"{self.kernel.location}: {type(e).__name__}: {e}"
            raise LoadError(f"in a worker process, {why}") from e


@lru_cache(maxsize=64)
def _load(spec: ProblemSpec) -> Problem:
    timed = [Timed(dict(dims), weight) for dims, weight in spec.timed]
    return Problem.of(spec.kernel.load(), dict(spec.dims), dict(spec.dtypes), dict(spec.attributes), timed)
