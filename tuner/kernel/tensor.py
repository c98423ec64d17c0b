"""Inputs and outputs of a kernel: their shapes and types, and how exact an output has to be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tuner.errors import ConfigError
from tuner.frontends.dtypes import DTYPES
from tuner.kernel.arith import Int
from tuner.kernel.expressions import Formula, read_extents
from tuner.kernel.values import ValueRule, Values, below


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
            table to gather: that dimension. Short for ``values=below(that dimension)``.
        values: what an input holds when it is checked and timed: a rule such as ``ascending(0, "T")``
            (`tuner.kernel.values`), or a function of a random generator (`numpy.random.Generator`) and of the sizes
            and attributes by name that returns an array of the tensor's shape. Random by default. A launch may
            depend on sizes only, never on values.
        scratch: for the last output: memory that blocks use while they run and nobody reads afterwards.
            What Triton asks of a launcher as global scratch, for `tl.make_tensor_descriptor`, lies there.
        start: for an output: what every element holds when the kernel begins. TensorRT clears nothing, so a
            launch that fills the output comes before that of the kernel.
        unused: for an input: the code has no parameter for it. It is there for its shape.
    """

    dtype: str
    shape: str
    positions: str = ""
    scratch: bool = False
    start: float | None = None
    unused: bool = False
    values: Values | None = None

    def __post_init__(self) -> None:
        read_extents(self.shape)
        if self.positions and self.values is not None:
            raise ConfigError(f"positions={self.positions!r} is short for values=below(…): declare one of the two")
        if self.values is not None and not isinstance(self.values, ValueRule) and not callable(self.values):
            raise ConfigError(
                f"values={self.values!r} is neither a rule, such as ascending(0, 'T'), nor a function of (rng, dims)"
            )

    @cached_property
    def drawn(self) -> Values | None:
        """What it holds when it is checked and timed; None: random numbers."""
        return below(self.positions) if self.positions else self.values

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

    def evaluate(self, scope: Mapping[str, Any]) -> tuple[Int, ...]:
        """Its extents for given values of what they name; a variadic first dimension is one.

        Raises:
            ZeroDivisionError: when an extent divides by zero.
        """
        return tuple(extent.evaluate(scope) for extent in self.extents)

    def numbers(self, scope: Mapping[str, Any]) -> tuple[int, ...]:
        """Its extents as `evaluate` gives them, where all that they name are numbers."""
        return tuple(extent.number(scope) for extent in self.extents)


@dataclass(frozen=True)
class AddedScratch(Tensor):
    """Scratch memory that the declaration does not name: an output that no parameter of the code takes."""


@dataclass(frozen=True)
class Tolerance:
    """How far an output may be from the float64 reference: |out - ref| <= atol + rtol * |ref|."""

    rtol: float
    atol: float


def default_tolerance(dtype: str) -> Tolerance:
    """What an elementwise kernel meets: 4 units in the last place, and as much around zero."""
    epsilon = DTYPES[dtype].epsilon
    return Tolerance(rtol=4 * epsilon, atol=4 * epsilon)
