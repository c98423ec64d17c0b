"""How configs and caches write dimensions: ``8192``, ``{min = 1, opt = 8, max = 64}`` or a list of these."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from msgspec import Meta, Struct

from tuner.kernel.problem import Range

Size: TypeAlias = Annotated[int, Meta(ge=1, le=2**63 - 1, description="elements along one dimension")]


class RangeData(Struct, frozen=True, forbid_unknown_fields=True):
    """The extent of a dynamic dimension, as in a TensorRT optimization profile: 0 < min <= opt <= max."""

    min: Size
    opt: Size
    max: Size

    def __post_init__(self) -> None:
        if not self.min <= self.opt <= self.max:
            raise ValueError(f"expected min <= opt <= max, not {self.min}, {self.opt}, {self.max}")


ExtentData: TypeAlias = Size | RangeData
DimData: TypeAlias = ExtentData | Annotated[tuple[ExtentData, ...], Meta(min_length=1)]


def dim_from_data(data: DimData) -> tuple[Range, ...]:
    """Read a dimension."""
    return tuple(_range(e) for e in (data if isinstance(data, tuple) else (data,)))


def dim_to_data(ranges: tuple[Range, ...]) -> DimData:
    """Write a dimension in its shortest form."""
    data: tuple[ExtentData, ...] = tuple(r.opt if r.fixed else RangeData(r.min, r.opt, r.max) for r in ranges)
    return data[0] if len(data) == 1 else data


def _range(data: ExtentData) -> Range:
    return Range(data.min, data.opt, data.max) if isinstance(data, RangeData) else Range(data, data, data)
