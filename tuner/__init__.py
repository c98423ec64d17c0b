"""Tune GPU kernels as tactics of TensorRT quickly deployable plugins."""

from tuner.arith import cdiv, maximum, minimum, next_power_of_2
from tuner.dtypes import itemsize
from tuner.kernel import Kernel, Launch, Tensor, Tolerance
from tuner.problem import Problem, Range
from tuner.space import Constraint, Space, choice, integers, powers_of_two
from tuner.tactic import Tactic

__version__ = "0.1.0"

__all__ = [
    "Constraint",
    "Kernel",
    "Launch",
    "Problem",
    "Range",
    "Space",
    "Tactic",
    "Tensor",
    "Tolerance",
    "cdiv",
    "choice",
    "integers",
    "itemsize",
    "maximum",
    "minimum",
    "next_power_of_2",
    "powers_of_two",
]
