"""How a kernel is started: grid, block, shared memory and extra integers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tuner.errors import ConfigError
from tuner.kernel.arith import Expr, Int


@dataclass(frozen=True, init=False)
class Launch:
    """How a kernel is started.

    Attributes:
        grid: blocks along x, y and z; one to three entries.
        args: the extra integers (int32) that the kernel takes besides its tensors, in the order of its parameters.
        names: of the parameters that take them, where they were given by name, ``args={"n": N, "stride": N}``.
        block: threads per block along x, y and z, one to three entries; what the compiled code says when
            left out. Triton's follows from `num_warps`.
        shared_bytes: dynamic shared memory of a block. Triton's follows from the code.
    """

    grid: tuple[Int, ...]
    args: tuple[Int, ...]
    names: tuple[str, ...] | None
    block: tuple[int, ...] | None
    shared_bytes: int

    def __init__(
        self,
        grid: tuple[Int, ...],
        args: tuple[Int, ...] | Mapping[str, Int] = (),
        block: tuple[int, ...] | None = None,
        shared_bytes: int = 0,
        names: tuple[str, ...] | None = None,
    ) -> None:
        """Check it. `names` is for copies: whoever writes a launch gives `args` by name instead.

        Raises:
            ConfigError: for what is of another type or size.
        """
        values = tuple(args.values()) if isinstance(args, Mapping) else args
        names = tuple(args) if isinstance(args, Mapping) else names
        _check_integers("grid", grid, grid)
        _check_integers("args", args, values)
        if names is not None and len(names) != len(values):
            raise ConfigError(f"args={values!r} in a Launch are not as many as their names, {names!r}")
        if not 1 <= len(grid) <= 3:
            raise ConfigError(f"a Launch has a grid of 1 to 3 entries, not {len(grid)}")
        if block is not None:
            _check_block(block)
        if type(shared_bytes) is not int or shared_bytes < 0:
            raise ConfigError(f"shared_bytes={shared_bytes!r} in a Launch is not a number of bytes, {_FIXED}")
        for name, value in (
            ("grid", grid),
            ("args", values),
            ("names", names),
            ("block", block),
            ("shared_bytes", shared_bytes),
        ):
            object.__setattr__(self, name, value)


def _check_integers(name: str, given: Any, values: Any) -> None:
    # Floats may be listed for parameters whose value an attribute gives; `Problem.evaluate` refuses all others.
    kinds = int | Expr | float if name == "args" else int | Expr
    if not isinstance(values, tuple) or not all(isinstance(v, kinds) for v in values):
        raise ConfigError(f"{name}={given!r} in a Launch is not a tuple of integers, such as (cdiv(N, 64),)")


_FIXED = "made of parameters and attributes alone"


def _check_block(block: tuple[int, ...]) -> None:
    if not isinstance(block, tuple) or not 1 <= len(block) <= 3 or not all(type(n) is int and n > 0 for n in block):
        raise ConfigError(f"block={block!r} in a Launch is not a tuple of 1 to 3 positive integers, {_FIXED}")
