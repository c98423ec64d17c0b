"""A kernel's run-time arguments by name, as hooks and heuristics look at them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tuner.errors import ConfigError
from tuner.frontends.base import Source
from tuner.kernel.stand_in import TensorArgument
from tuner.kernel.tensor import Tensor
from tuner.search.call_by_name import describe


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
        scope: the size of each dimension, the value of each attribute, and the data type behind each dtype variable.
        integers: the extra integers.
    """

    def argument(position: int, tensor: Tensor) -> TensorArgument:
        return TensorArgument(scope.get(tensor.dtype, tensor.dtype), tensor.numbers(scope), position)

    tensors = [argument(*pair) for pair in enumerate((*inputs.values(), *outputs.values()))]
    values = (*tensors[: len(inputs)], *integers, *tensors[len(inputs) :])
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
