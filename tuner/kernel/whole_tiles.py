"""Dimensions that tiles have to divide: kernels that mask nothing at the end of a row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tuner.kernel.expressions import Formula, read_formula
from tuner.search.constraints import Constraint


def read_whole_tiles(whole_tiles: Mapping[str, str | int]) -> dict[str, Formula]:
    """Read what each dimension is a multiple of.

    Raises:
        ConfigError: for a text that is no formula.
    """
    return {dim: read_formula(str(unit), f"whole_tiles of {dim!r}:") for dim, unit in whole_tiles.items()}


def keep_whole(dim: str, unit: Formula) -> Constraint:
    """Make the constraint that a dimension is a multiple of a positive formula of parameters and attributes."""

    def holds(**values: Any) -> bool:
        step: Any = unit.evaluate(values)
        return bool(step > 0 and values[dim] % step == 0)

    return Constraint(f"whole_tiles_{dim}", holds, f"{dim} is no multiple of {unit}", (dim, *unit.names))
