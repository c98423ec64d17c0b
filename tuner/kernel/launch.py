"""How a kernel is started: grid, block, shared memory and extra integers."""

from __future__ import annotations

from dataclasses import dataclass

from tuner.errors import ConfigError
from tuner.kernel.arith import Expr, Int


@dataclass(frozen=True)
class Launch:
    """How a kernel is started.

    Attributes:
        grid: blocks along x, y and z; one to three entries.
        args: the extra integers (int32) the kernel takes between its inputs and its outputs.
        block: threads per block along x, y and z, one to three entries; what the compiled code says when
            left out. Triton's follows from `num_warps`.
        shared_bytes: dynamic shared memory of a block. Triton's follows from the code.
    """

    grid: tuple[Int, ...]
    args: tuple[Int, ...] = ()
    block: tuple[int, ...] | None = None
    shared_bytes: int = 0

    def __post_init__(self) -> None:
        for name, values in (("grid", self.grid), ("args", self.args)):
            if not isinstance(values, tuple) or not all(isinstance(v, int | Expr) for v in values):
                floats = isinstance(values, tuple) and any(isinstance(v, float) for v in values)
                raise ConfigError(
                    f"{name}={values!r} in a Launch is not a tuple of integers, such as (cdiv(N, 64),)"
                    + (_FLOATS if floats and name == "args" else "")
                )
        if not 1 <= len(self.grid) <= 3:
            raise ConfigError(f"a Launch has a grid of 1 to 3 entries, not {len(self.grid)}")
        if self.block is not None:
            _check_block(self.block)
        if type(self.shared_bytes) is not int or self.shared_bytes < 0:
            raise ConfigError(f"shared_bytes={self.shared_bytes!r} in a Launch is not a number of bytes, {_FIXED}")


_FLOATS = (
    "; TensorRT's launch passes no floats: compile it in as an attribute (tl.constexpr in Triton), "
    "or pass it in a tensor"
)
_FIXED = "made of parameters and attributes alone"


def _check_block(block: tuple[int, ...]) -> None:
    if not isinstance(block, tuple) or not 1 <= len(block) <= 3 or not all(type(n) is int and n > 0 for n in block):
        raise ConfigError(f"block={block!r} in a Launch is not a tuple of 1 to 3 positive integers, {_FIXED}")
