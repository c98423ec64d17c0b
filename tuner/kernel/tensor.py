"""Inputs and outputs of a kernel: their shapes and types, and how exact an output has to be."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tuner.errors import ConfigError
from tuner.frontends.dtypes import DTYPES

_DIM = re.compile(r"\*?[A-Za-z_]\w*|[1-9]\d*")


@dataclass(frozen=True)
class Tensor:
    """An input or output: its element type and its shape, row major and contiguous.

    Attributes:
        dtype: a data type (``"fp32"``) or a dtype variable (``"T"``).
        shape: dimensions separated by blanks, ``"M N"``. A name used twice is one size. A number is
            a fixed extent. A leading ``*M`` stands for any number of dimensions with M elements in
            all, so ``"*N"`` takes a tensor of any rank and ``"*M N"`` rows of N.
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
        for i, dim in enumerate(self.dims):
            if not _DIM.fullmatch(dim) or (dim.startswith("*") and i):
                raise ConfigError(f"shape {self.shape!r}: {dim!r} is not a name, a number, or a leading *name")

    @property
    def dims(self) -> tuple[str, ...]:
        return tuple(self.shape.split())

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its dimensions."""
        return tuple(d.lstrip("*") for d in self.dims if not d.isdigit())


@dataclass(frozen=True)
class Tolerance:
    """How far an output may be from the float64 reference: |out - ref| <= atol + rtol * |ref|."""

    rtol: float
    atol: float


def default_tolerance(dtype: str) -> Tolerance:
    """What an elementwise kernel meets: 4 units in the last place, and as much around zero."""
    epsilon = DTYPES[dtype].epsilon
    return Tolerance(rtol=4 * epsilon, atol=4 * epsilon)
