"""Inputs and outputs of a kernel: their shapes and types, and how exact an output has to be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from tuner.frontends.dtypes import DTYPES
from tuner.kernel.arith import Int
from tuner.kernel.expressions import Formula, read_extents


@dataclass(frozen=True)
class Tensor:
    """An input or output: its element type and its shape, row major and contiguous.

    Attributes:
        dtype: a data type (``"fp32"``) or a dtype variable (``"T"``).
        shape: extents separated by blanks, ``"M N"``. A name used twice is one size. A number is
            a fixed extent. A leading ``*M`` stands for any number of dimensions with M elements in
            all, so ``"*N"`` takes a tensor of any rank and ``"*M N"`` rows of N. An extent may be computed
            from dimensions and attributes with ``+ - * //``, ``cdiv(a, b)``, ``max(a, b)`` and ``min(a, b)``:
            ``"M cdiv(N, 128)"``, ``"B + 1"``, ``"H + 2*pad W + 2*pad"``.
        positions: for an input of integers that are positions along a dimension, such as the rows of a
            table to gather: that dimension. They run from 0 to below its size.
        scratch: for the last output: memory that blocks use while they run and nobody reads afterwards.
            What Triton asks of a launcher as global scratch, for `tl.make_tensor_descriptor`, lies there.
    """

    dtype: str
    shape: str
    positions: str = ""
    scratch: bool = False

    def __post_init__(self) -> None:
        read_extents(self.shape)

    @cached_property
    def variadic(self) -> bool:
        """Whether the first dimension stands for any number of them."""
        return read_extents(self.shape)[0]

    @cached_property
    def extents(self) -> tuple[Formula, ...]:
        """What is said of each dimension; of a variadic first one, of how many elements it has."""
        return read_extents(self.shape)[1]

    @cached_property
    def dims(self) -> tuple[str, ...]:
        """The extents, each as it is spelled."""
        first = "*" * self.variadic
        return tuple(f"{first * (i == 0)}{extent}" for i, extent in enumerate(self.extents))

    @cached_property
    def names(self) -> tuple[str, ...]:
        """What its extents name: dimensions, and attributes."""
        return tuple(dict.fromkeys(n for extent in self.extents for n in extent.names))

    def evaluate(self, scope: Mapping[str, Int]) -> tuple[Int, ...]:
        """Its extents for given values of what they name; a variadic first dimension is one.

        Raises:
            ZeroDivisionError: when an extent divides by zero.
        """
        return tuple(extent.evaluate(scope) for extent in self.extents)


@dataclass(frozen=True)
class Tolerance:
    """How far an output may be from the float64 reference: |out - ref| <= atol + rtol * |ref|."""

    rtol: float
    atol: float


def default_tolerance(dtype: str) -> Tolerance:
    """What an elementwise kernel meets: 4 units in the last place, and as much around zero."""
    epsilon = DTYPES[dtype].epsilon
    return Tolerance(rtol=4 * epsilon, atol=4 * epsilon)
