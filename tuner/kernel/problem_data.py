"""A problem as plain data: the one description that files hold, and that is compared, joined and hashed.

`Problem.label` is for people. Two problems are the same when the `ProblemData.key` of both is.
"""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, TypeAlias

import msgspec
from msgspec import Meta, Struct

from tuner.kernel.kernel import Attribute, Kernel
from tuner.kernel.problem import Problem, Range

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
"""A dimension as configs and files write it: ``8192``, ``{min = 1, opt = 8, max = 64}`` or a list of these."""
Weight: TypeAlias = Annotated[float, Meta(gt=0, description="how much its time counts")]


class ShapeData(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A shape that tactics are timed at, with all its dimensions."""

    dims: dict[str, DimData]
    weight: Weight = 1.0


class ProblemData(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A kernel at given sizes, data types and attributes.

    Attributes:
        kernel: the plugin id, ``namespace::name``.
        dims: each dimension.
        dtypes: the data type of each dtype variable.
        attributes: the value of each attribute, those at their default too.
        timed: the shapes that tactics are timed at; none for the optimum alone.
    """

    kernel: str
    dims: dict[str, DimData]
    dtypes: dict[str, str] = {}
    attributes: dict[str, Attribute] = {}
    timed: tuple[ShapeData, ...] = ()

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What tells this problem from others: kernel, and dims, dtypes and attributes as JSON with sorted keys.

        1, 1.0 and true differ in it. The shapes that it is timed at are no part of it.
        """
        return self.kernel, sorted_json(self.dims), sorted_json(self.dtypes), sorted_json(self.attributes)

    @property
    def id(self) -> str:
        """The `key` as 12 hexadecimal digits, by which files of one results folder refer to the problem."""
        return hashlib.sha256(json.dumps(self.key).encode()).hexdigest()[:12]

    @property
    def values(self) -> dict[str, str]:
        """Each dimension, dtype variable and attribute by name, spelled for people."""
        dims = {name: "x".join(map(str, dim_from_data(dim))) for name, dim in self.dims.items()}
        return {name: str(value) for name, value in {**dims, **self.dtypes, **self.attributes}.items()}

    @property
    def label(self) -> str:
        """All of it but the kernel in one line, for people: ``M=8192 N=4096 T=fp16 eps=1e-06``."""
        return " ".join(f"{name}={value}" for name, value in self.values.items())


def data_of(problem: Problem) -> ProblemData:
    """Describe a problem as data."""
    return ProblemData(
        kernel=problem.kernel.id,
        dims={name: dim_to_data(ranges) for name, ranges in problem.dims.items()},
        dtypes=dict(problem.dtypes),
        attributes=dict(problem.attributes),
        timed=tuple(ShapeData(dict(shape.dims), shape.weight) for shape in problem.timed),
    )


def problem_from(data: ProblemData, kernel: Kernel) -> Problem:
    """The problem of a kernel that data describes, without the shapes that it is timed at.

    Raises:
        ConfigError: when the kernel does not declare a name, or does not support a value.
    """
    dims = {name: dim_from_data(dim) for name, dim in data.dims.items()}
    return Problem.of(kernel, dims, data.dtypes, data.attributes)


def sorted_json(value: Any) -> str:
    """Data as JSON with sorted keys and no spaces: the same text for the same data."""
    return json.dumps(msgspec.to_builtins(value), sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def dim_from_data(data: DimData) -> tuple[Range, ...]:
    """Read a dimension."""
    return tuple(_range(e) for e in (data if isinstance(data, tuple) else (data,)))


def dim_to_data(ranges: tuple[Range, ...]) -> DimData:
    """Write a dimension in its shortest form."""
    data: tuple[ExtentData, ...] = tuple(r.opt if r.fixed else RangeData(r.min, r.opt, r.max) for r in ranges)
    return data[0] if len(data) == 1 else data


def _range(data: ExtentData) -> Range:
    return Range(data.min, data.opt, data.max) if isinstance(data, RangeData) else Range(data, data, data)
