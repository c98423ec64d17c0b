"""Tune GPU kernels as tactics of TensorRT quickly deployable plugins."""

from typing import TYPE_CHECKING, Any

from tuner.arith import cdiv, maximum, minimum, next_power_of_2
from tuner.constraints import Constraint
from tuner.dtypes import itemsize
from tuner.kernel import Kernel
from tuner.launch import Launch
from tuner.params import Param, choice, integers, powers_of_two
from tuner.problem import Problem, Range, Timed
from tuner.space import Space
from tuner.tactic import Tactic
from tuner.tensor import Tensor, Tolerance

if TYPE_CHECKING:
    from tuner.cache import Cache
    from tuner.job import tune

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import what is heavy when it is first asked for."""
    if name == "tune":
        from tuner.job import tune

        return tune
    if name == "Cache":
        from tuner.cache import Cache

        return Cache
    raise AttributeError(f"module 'tuner' has no attribute {name!r}")


__all__ = [
    "Cache",
    "Constraint",
    "Kernel",
    "Launch",
    "Param",
    "Problem",
    "Range",
    "Space",
    "Tactic",
    "Tensor",
    "Timed",
    "Tolerance",
    "cdiv",
    "choice",
    "integers",
    "itemsize",
    "maximum",
    "minimum",
    "next_power_of_2",
    "powers_of_two",
    "tune",
]
