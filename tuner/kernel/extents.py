"""The extents of a kernel's tensors: how dimensions follow from them, and whether sizes leave them elements."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tuner.errors import ConfigError
from tuner.kernel.expressions import Formula
from tuner.kernel.tensor import Tensor


@dataclass(frozen=True)
class Solution:
    """How a dimension follows from an extent of an input.

    Attributes:
        dim: the dimension.
        tensor: the input.
        axis: of the extent, counted from the last, which is -1.
        formula: of the extent, called `VALUE`, of attributes and of dimensions that were solved before.
    """

    dim: str
    tensor: str
    axis: int
    formula: Formula


def solve_dims(inputs: Mapping[str, Tensor], attributes: Collection[str]) -> tuple[Solution, ...]:
    """Return how each dimension of the inputs follows, in an order in which one after the other can be calculated.

    An extent that is the dimension itself comes before one that has to be solved, such as ``B + 1``. Left out is a
    dimension whose extents are any number, ``*N``: it is their product.

    Raises:
        ConfigError: for a dimension that does not follow from any extent.
    """
    known = {*attributes, *(t.extents[0].names[0] for t in inputs.values() if t.variadic)}
    extents = [
        (name, axis - len(tensor.extents), extent)
        for name, tensor in inputs.items()
        for axis, extent in enumerate(tensor.extents)
    ]
    found: list[Solution] = []
    for plain in (True, False):
        progress = True
        while progress:
            progress = False
            for name, axis, extent in extents:
                unknown = [n for n in extent.names if n not in known]
                formula = extent.solve(unknown[0]) if len(unknown) == 1 and extent.plain >= plain else None
                if formula is not None:
                    found.append(Solution(unknown[0], name, axis, formula))
                    known.add(unknown[0])
                    progress = True
    for name, _, extent in extents:
        for dim in extent.names:
            if dim not in known:
                raise ConfigError(
                    f"dimension {dim!r} does not follow from the inputs: {extent} of {name!r} is the same for several "
                    f"sizes, or leaves another dimension open; give an input an extent {dim!r}, or one such as "
                    f"'{dim} + 1' or '2*{dim}'"
                )
    return tuple(found)


def check_extents(tensors: Iterable[tuple[str, Tensor]], scopes: Sequence[Mapping[str, Any]]) -> None:
    """Refuse sizes that leave a computed extent without elements.

    Args:
        tensors: by name.
        scopes: what the extents name, at several places of the dimensions' ranges.

    Raises:
        ConfigError: naming the tensor, the extent and the sizes.
    """
    for name, tensor in tensors:
        for extent in (e for e in tensor.extents if not e.plain and e.names):
            for scope in scopes:
                try:
                    value = extent.number(scope)
                except ZeroDivisionError:
                    value = 0
                if value < 1:
                    at = " ".join(f"{n}={scope[n]}" for n in extent.names)
                    raise ConfigError(f"extent {extent} of {name!r} is {value} at {at}; it has to be 1 at least")


def check_profile(inputs: Mapping[str, Tensor], ends: Sequence[Mapping[str, Any]]) -> None:
    """Refuse ranges that no optimization profile can say: an input's extent that shrinks as its dimensions grow.

    Args:
        inputs: by name.
        ends: what the extents name, at the least, usual and largest sizes.

    Raises:
        ConfigError: naming the input and the extent.
    """
    for name, tensor in inputs.items():
        for extent in tensor.extents:
            values = [extent.number(scope) for scope in ends]
            if values != sorted(values):
                raise ConfigError(
                    f"extent {extent} of input {name!r} shrinks as its dimensions grow, which an optimization profile "
                    "cannot say; give them one size instead of a range"
                )
