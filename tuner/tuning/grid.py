"""Grids of shapes: ``M = { powers_of_two = [1, 4096] }`` or ``M = { values = [1, 7, 64] }``, many problems at once."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from tuner.errors import ConfigError, did_you_mean
from tuner.kernel.problem_data import Size

AXES = ("powers_of_two", "values")
MOST = 1024
"""Problems of one grid. More than that is a slip of the pen rather than a wish."""


def expand(dims: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the dims of every problem of a grid, the last dimension changing fastest; as they are where none is one.

    Args:
        dims: as a config writes them.

    Raises:
        ConfigError: naming the dimension, for an axis that is empty or not made of sizes, or too large a grid.
    """
    axes = {dim: _sizes(dim, data) for dim, data in dims.items() if _is_axis(data)}
    count = 1
    for sizes in axes.values():
        count *= len(sizes)
    if count > MOST:
        raise ConfigError(f"dims: a grid of {count} problems; {MOST} are allowed")
    for point in itertools.product(*axes.values()):
        yield {**dims, **dict(zip(axes, point, strict=True))}


def _is_axis(data: Any) -> bool:
    """Whether this is a table that is no range."""
    return isinstance(data, Mapping) and bool(data) and not any(bound in data for bound in ("min", "opt", "max"))


def _sizes(dim: str, data: Mapping[str, Any]) -> list[int]:
    if len(data) > 1:
        raise ConfigError(f"dims.{dim}: {' and '.join(data)} do not go together; an axis is {' or '.join(AXES)}")
    ((axis, given),) = data.items()
    if axis not in AXES:
        raise ConfigError(f"dims.{dim}: unknown key {axis!r}{did_you_mean(axis, (*AXES, 'min', 'opt', 'max'))}")
    try:
        sizes = msgspec.convert(given, list[Size])
    except msgspec.ValidationError as e:
        raise ConfigError(f"dims.{dim}.{axis}: {str(e).replace('`', '').lower()}") from e
    if axis == "powers_of_two":
        if len(sizes) != 2:
            raise ConfigError(f"dims.{dim}.{axis}: expected [smallest, largest], not {given}")
        sizes = [size for i in range(63) if sizes[0] <= (size := 1 << i) <= sizes[1]]
    if not sizes or len(set(sizes)) < len(sizes):
        raise ConfigError(f"dims.{dim}.{axis}: {given} holds {'a size twice' if sizes else 'no size'}")
    return sizes
