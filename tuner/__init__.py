"""Tune GPU kernels as tactics of TensorRT quickly deployable plugins."""

from typing import TYPE_CHECKING, Any

from tuner.frontends.dtypes import itemsize
from tuner.frontends.words import DType, Word
from tuner.kernel.alias import Alias
from tuner.kernel.alternatives import alternatives
from tuner.kernel.arith import cdiv, maximum, minimum, next_power_of_2
from tuner.kernel.chain import Chain, Step
from tuner.kernel.kernel import Kernel
from tuner.kernel.launch import Launch
from tuner.kernel.loader import load_kernel
from tuner.kernel.problem import Problem, Range, Timed
from tuner.kernel.tensor import Tensor, Tolerance
from tuner.kernel.values import ascending, below, constant, counts, lengths, permutation
from tuner.search.constraints import Constraint
from tuner.search.params import Param, choice, integers, powers_of_two
from tuner.search.space import Space
from tuner.search.tactic import Tactic
from tuner.version import __version__

if TYPE_CHECKING:
    from tuner.store.cache import Cache
    from tuner.tuning.job import tune


def __getattr__(name: str) -> Any:
    """Import what is heavy when it is first asked for."""
    if name == "tune":
        from tuner.tuning.job import tune

        return tune
    if name == "Cache":
        from tuner.store.cache import Cache

        return Cache
    raise AttributeError(f"module 'tuner' has no attribute {name!r}")


__all__ = [
    "Alias",
    "Cache",
    "Chain",
    "Constraint",
    "DType",
    "Kernel",
    "Launch",
    "Param",
    "Problem",
    "Range",
    "Space",
    "Step",
    "Tactic",
    "Tensor",
    "Timed",
    "Tolerance",
    "Word",
    "__version__",
    "alternatives",
    "ascending",
    "below",
    "cdiv",
    "choice",
    "constant",
    "counts",
    "integers",
    "itemsize",
    "lengths",
    "load_kernel",
    "maximum",
    "minimum",
    "next_power_of_2",
    "permutation",
    "powers_of_two",
    "tune",
]
