"""A kernel's run-time arguments by name, as hooks and heuristics look at them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from tuner.errors import ConfigError
from tuner.frontends.base import Source
from tuner.frontends.dtypes import itemsize
from tuner.kernel.tensor import Tensor
from tuner.search.call_by_name import describe


@dataclass(frozen=True)
class TensorArgument:
    """What stands for a tensor where a function looks at a kernel's arguments.

    Attributes:
        dtype: the data type's name, for example "fp16".
        shape: extents; a variadic dimension is one.
    """

    dtype: str
    shape: tuple[int, ...]

    def element_size(self) -> int:
        """Bytes per element."""
        return itemsize(self.dtype)

    def numel(self) -> int:
        """The number of elements."""
        return prod(self.shape)

    def dim(self) -> int:
        """The number of dimensions."""
        return len(self.shape)

    def size(self, axis: int) -> int:
        """The extent along a dimension."""
        return self.shape[axis]

    def stride(self, axis: int) -> int:
        """Elements from one place to the next along a dimension."""
        return prod(self.shape[axis % len(self.shape) + 1 :])


def name_arguments(
    source: Source,
    inputs: Mapping[str, Tensor],
    outputs: Mapping[str, Tensor],
    scope: Mapping[str, Any],
    integers: Sequence[Any],
) -> dict[str, Any]:
    """Return the run-time arguments of a source by the names of its parameters, tensors as `TensorArgument`.

    Args:
        source: one that names its `arguments`.
        inputs, outputs: the tensors.
        scope: the size of each dimension, and the data type that each dtype variable stands for.
        integers: the extra integers.
    """

    def argument(tensor: Tensor) -> TensorArgument:
        extents = (int(d) if d.isdigit() else int(scope[d.lstrip("*")]) for d in tensor.dims)
        return TensorArgument(scope.get(tensor.dtype, tensor.dtype), tuple(extents))

    values = (*map(argument, inputs.values()), *integers, *map(argument, outputs.values()))
    return dict(zip(source.arguments or (), values, strict=True))


def compute_heuristics(source: Source, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a source's heuristics, by name, from all its other arguments.

    Raises:
        ConfigError: when one raises.
    """
    known = dict(arguments)
    for name, heuristic in source.heuristics.items():
        try:
            known[name] = heuristic(known)
        except Exception as e:
            raise ConfigError(f"the heuristic {name} raised {type(e).__name__}: {e}; see {describe(heuristic)}") from e
    return {name: known[name] for name in source.heuristics}
