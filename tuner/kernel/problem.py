"""A kernel at given shapes and data types: what is tuned, and what a cached tactic is good for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import inf, prod
from typing import Any, Literal, TypeAlias, TypeVar, cast

from tuner.errors import ConfigError, did_you_mean
from tuner.frontends.base import ALIGNMENT, NOTHING, IntegerFacts, Source, Specialization
from tuner.frontends.dtypes import itemsize
from tuner.frontends.words import DType
from tuner.gpu.target import Dim3
from tuner.kernel.arguments import launch_integers
from tuner.kernel.arith import Int, Multiple, divisibility
from tuner.kernel.constants import constants_of, resolve_attribute
from tuner.kernel.extents import check_extents, check_profile
from tuner.kernel.kernel import Attribute, Kernel
from tuner.kernel.launch import Launch
from tuner.kernel.parts import StepProblem, steps_of
from tuner.kernel.tensor import Tensor, Tolerance, default_tolerance
from tuner.search.call_by_name import call, describe
from tuner.search.space import Space
from tuner.search.tactic import Config, Tactic

T = TypeVar("T")
Which: TypeAlias = Literal["min", "opt", "max"]
WHICH: tuple[Which, ...] = ("min", "opt", "max")


@dataclass(frozen=True)
class Range:
    """The extent of a dimension as in a TensorRT optimization profile; fixed when all three agree."""

    min: int
    opt: int
    max: int

    def __post_init__(self) -> None:
        if not 0 < self.min <= self.opt <= self.max:
            raise ConfigError(f"expected 0 < min <= opt <= max, not ({self.min}, {self.opt}, {self.max})")

    @property
    def fixed(self) -> bool:
        return self.min == self.max

    def at(self, which: Which) -> int:
        return int(getattr(self, which))

    def __str__(self) -> str:
        return str(self.opt) if self.fixed else f"{self.min}:{self.opt}:{self.max}"


Extent: TypeAlias = int | Range
Dims: TypeAlias = Mapping[str, "Extent | tuple[Extent, ...]"]


@dataclass(frozen=True)
class Timed:
    """A shape within a problem's range that tactics are timed at.

    Attributes:
        dims: sizes of some dimensions, as for `Problem.of`; the others are at their optimum.
        weight: how much its time counts, beside those of the other shapes.
    """

    dims: Mapping[str, int | tuple[int, ...]]
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.weight < inf:
            raise ConfigError(f"weight {self.weight} is not a positive number")


@dataclass(frozen=True, eq=False)
class Problem:
    """A kernel with its dimensions, data types and attributes. Made by `Problem.of`.

    Attributes:
        kernel: the operator.
        dims: each dimension's ranges: one, or for a variadic dimension one per tensor dimension.
        dtypes: each dtype variable's data type.
        attributes: each attribute's value.
        timed: the shapes that tactics are timed at, all their dimensions given; none for the optimum alone.
    """

    kernel: Kernel
    dims: Mapping[str, tuple[Range, ...]]
    dtypes: Mapping[str, str]
    attributes: Mapping[str, Attribute]
    timed: tuple[Timed, ...] = ()

    @classmethod
    def of(
        cls,
        kernel: Kernel,
        dims: Dims,
        dtypes: Mapping[str, str] | None = None,
        attributes: Mapping[str, Attribute] | None = None,
        timed: Sequence[Timed] = (),
    ) -> Problem:
        """Complete and check a problem.

        Args:
            kernel: the operator.
            dims: an int, a `Range`, or (for a variadic dimension) a tuple of them, for each dimension.
            dtypes: data types for some dtype variables; the first one declared for the others.
            attributes: values for some attributes; the declared defaults for the others.
            timed: the shapes to time tactics at; none for the optimum alone.

        Raises:
            ConfigError: for a name that the kernel does not declare, a missing or non-positive
                dimension, a computed extent without elements, a data type the kernel does not support, a value
                of another type, or a timed shape outside the range.
        """
        _require(kernel.dims, dims, "dimension")
        missing = [d for d in kernel.dims if d not in dims]
        if missing:
            raise ConfigError(f"dims: {kernel.id} also needs {', '.join(missing)}")
        ranges = {d: _ranges(d, dims[d], d in kernel.variadic_dims) for d in kernel.dims}
        dtypes = dtypes or {}
        _require(kernel.dtypes, dtypes, "dtype variable")
        chosen = {v: dtypes.get(v, names[0]) for v, names in kernel.dtypes.items()}
        for variable, name in chosen.items():
            if name not in kernel.dtypes[variable]:
                raise ConfigError(
                    f"dtypes.{variable}: {name!r} is not supported{did_you_mean(name, kernel.dtypes[variable])}"
                )
        attributes = attributes or {}
        _require(kernel.attributes, attributes, "attribute")
        given = {n: resolve_attribute(kernel, n, v, chosen) for n, v in {**kernel.attributes, **attributes}.items()}
        shapes = tuple(Timed(_within(ranges, shape.dims), shape.weight) for shape in timed)
        for i, shape in enumerate(shapes):
            if any(shape.dims == other.dims for other in shapes[:i]):
                raise ConfigError(f"timed: {_spelled(shape.dims)} is listed twice; add up the weights")
        problem = cls(kernel, ranges, chosen, given, shapes)
        try:
            tensors = (*kernel.inputs.items(), *kernel.outputs.items())
            check_extents(tensors, [{**problem.scope(), **sizes} for sizes in problem.samples])
            check_profile(kernel.inputs, [problem.scope(which) for which in WHICH])
        except ConfigError as e:
            raise ConfigError(f"{kernel.id}: {e}") from None
        return problem

    @property
    def dynamic(self) -> bool:
        """Whether any dimension has a range."""
        return not all(r.fixed for ranges in self.dims.values() for r in ranges)

    def sizes(self, which: Which = "opt") -> dict[str, int]:
        """Each dimension's number of elements at one end, or at the optimum, of its range."""
        return {d: prod(r.at(which) for r in ranges) for d, ranges in self.dims.items()}

    def scope(self, which: Which = "opt") -> dict[str, Any]:
        """Every value that a function of a declaration may name, parameters excepted."""
        return {**self.sizes(which), **self.dtypes, **self.attributes}

    def at(self, sizes: Mapping[str, int | tuple[int, ...]]) -> Problem:
        """The same problem at other fixed sizes."""
        return Problem.of(self.kernel, dict(sizes), self.dtypes, self.attributes)

    @cached_property
    def usual(self) -> Problem:
        """The problem at the optimum of its range."""
        return self.at(_extents({d: tuple(r.opt for r in ranges) for d, ranges in self.dims.items()}))

    @cached_property
    def shares(self) -> tuple[tuple[Problem, float], ...]:
        """The fixed sizes that tactics are timed at, each with its share of the time that is compared.

        That time is the mean of the times, weighted by the shares, which add up to 1.
        """
        if not self.timed:
            return ((self.usual, 1.0),)
        total = sum(shape.weight for shape in self.timed)
        return tuple((self.at(shape.dims), shape.weight / total) for shape in self.timed)

    def dtype(self, tensor: Tensor) -> str:
        """The data type of a tensor of this problem."""
        return self.dtypes.get(tensor.dtype, tensor.dtype)

    def shape(self, tensor: Tensor, which: Which = "opt", pinned: Mapping[str, Any] = NOTHING) -> tuple[int, ...]:
        """The shape of a tensor of this problem.

        Args:
            tensor: an input, an output, or another one whose extents name what those may.
            which: at one end, or at the optimum, of the dimensions' ranges.
            pinned: values of what else its extents name, such as parameters that are set before a shape is asked for.
        """
        extents = tensor.numbers({**self.scope(which), **pinned})
        if not tensor.variadic:
            return extents
        return (*(r.at(which) for r in self.dims[tensor.extents[0].names[0]]), *extents[1:])

    @cached_property
    def space(self) -> Space:
        """The kernel's space with every tactic legal over the whole range of the dimensions."""
        return self.kernel.space.bind(*({**self.scope(), **sizes} for sizes in self.samples))

    @cached_property
    def samples(self) -> tuple[dict[str, int], ...]:
        """Each dimension's number of elements at places over the range that tell what holds in all of it.

        They are its optimum, ends and their neighbours, which divide by nothing in common, all dimensions in
        step; and each dimension at its smallest while the others are at their largest. One where nothing varies.
        """
        if not self.dynamic:
            return (self.sizes(),)
        steps: tuple[tuple[Which, int], ...] = (("min", 1), ("opt", 1), ("opt", -1), ("max", -1))
        ends = {which: self.sizes(which) for which in WHICH}
        beside = [
            {d: prod(min(max(r.at(which) + step, r.min), r.max) for r in ranges) for d, ranges in self.dims.items()}
            for which, step in steps
        ]
        mixed = [{**ends["max"], dim: ends["min"][dim]} for dim in self.dims]
        found = [ends["opt"], ends["min"], ends["max"], *beside, *mixed]
        return tuple(sizes for i, sizes in enumerate(found) if sizes not in found[:i])

    def steps(self, config: Config) -> tuple[StepProblem, ...]:
        """The launches of a configuration, in order, as problems of ordinary kernels; one of most operators, itself."""
        return steps_of(self, config)

    def source(self, config: Config) -> Source:
        """The code that a configuration runs."""
        return self.kernel.resolve(config)[0].code

    def constants(self, config: Config) -> dict[str, Any]:
        """The value of every constant of the code that a configuration runs, by name; data types as `DType`.

        Raises:
            ConfigError: when one is a dimension that has a range, nothing gives it a value, or a function raises.
            TacticError: when what a function returns differs within the range of a dimension.
        """
        return constants_of(self, config)

    def specialize(self, config: Config, capability: tuple[int, int], newest_ptx: tuple[int, int]) -> Specialization:
        """All that a front end is told of a tactic.

        Args:
            config: values of all tuned parameters.
            capability: compute capability of the device to compile for.
            newest_ptx: (major, minor) of the newest PTX that the assembler and the driver take.

        Raises:
            ConfigError, TacticError: as `constants` does.
        """
        kernel, own = self.kernel.resolve(config)
        integers = [(v, divisibility(v)) for v in self.argument_multiples(config)]
        constants = self.constants(config)
        block = self.launch(config).block
        return Specialization(
            inputs=tuple(self.dtype(kernel.inputs[name]) for name in kernel.passed[0].values()),
            outputs=tuple(self.dtype(kernel.outputs[name]) for name in kernel.passed[1].values()),
            dtypes=dict(self.dtypes),
            constants={n: str(v) if isinstance(v, DType) else v for n, v in constants.items()},
            types=tuple(n for n, v in constants.items() if isinstance(v, DType)),
            options={**kernel.code.options, **{n: v for n, v in own.items() if n in kernel.code.options}},
            integers=tuple(IntegerFacts(type(v) is int and v == 1, factor % ALIGNMENT == 0) for v, factor in integers),
            block=None if block is None else cast(Dim3, block),
            scratch=kernel.scratch is not None,
            appended=kernel.scratch is not None and len(kernel.passed[1]) < len(kernel.outputs),
            capability=capability,
            newest_ptx=newest_ptx,
        )

    def launch(self, config: Config, which: Which = "opt") -> Launch:
        """Grid and extra arguments of a tactic, as integers."""
        return self.evaluate(config, self.sizes(which))

    def evaluate(self, config: Config, sizes: Mapping[str, Int]) -> Launch:
        """Grid and extra arguments of a tactic on any kind of size; the grid is padded to three."""
        kernel, own = self.kernel.resolve(config)
        if kernel is not self.kernel:
            return replace(self, kernel=kernel).evaluate(own, sizes)
        scope = {**self.scope(), **sizes, **self.kernel.space.complete(config)}
        launch = self._call(f"the launch of ({Tactic(config)})", self.kernel.launch, scope)
        if not isinstance(launch, Launch):
            raise ConfigError(f"kernel {self.kernel.id!r}: launch must return a Launch, not {launch!r}")
        code = self.kernel.code
        try:
            integers = launch_integers(self.kernel, launch, scope)
        except ConfigError as e:
            raise ConfigError(f"kernel {self.kernel.id!r}: {e}") from None
        if not code.sized_by_launch and (launch.block or launch.shared_bytes):
            raise ConfigError(
                f"kernel {self.kernel.id!r}: {code.language} sets block and shared_bytes itself; "
                "leave them out of the Launch"
            )
        block = launch.block and (*launch.block, 1, 1)[:3]
        return Launch((*launch.grid, 1, 1)[:3], integers, block, launch.shared_bytes)

    def argument_multiples(self, config: Config) -> tuple[Int, ...]:
        """What divides each extra argument whatever the dimensions: an int where it is constant."""
        sizes: dict[str, Int] = {}
        for dim, ranges in self.dims.items():
            fixed = prod(r.opt for r in ranges if r.fixed)
            sizes[dim] = fixed if all(r.fixed for r in ranges) else Multiple(fixed)
        return self.evaluate(config, sizes).args

    def bytes(self, which: Which = "opt") -> int:
        """Bytes that must cross device memory."""
        if self.kernel.bytes is not None:
            return int(self._call("bytes", self.kernel.bytes, self.scope(which)))
        tensors = (*(t for t in self.kernel.inputs.values() if not t.unused), *self.kernel.results.values())
        return sum(prod(self.shape(t, which)) * itemsize(self.dtype(t)) for t in tensors)

    def tolerance(self, dtype: str) -> Tolerance:
        """How far an output of this data type may be from the reference."""
        declared = self.kernel.tolerances.get(dtype) or default_tolerance(dtype)
        if isinstance(declared, Tolerance):
            return declared
        found = self._call("tolerance", declared, self.scope())
        if not isinstance(found, Tolerance):
            raise ConfigError(
                f"kernel {self.kernel.id!r}: tolerance of {dtype} must return a Tolerance, not {found!r}; "
                f"see {describe(declared)}"
            )
        return found

    def flops(self, which: Which = "opt") -> int:
        """Floating-point operations."""
        return int(self._call("flops", self.kernel.flops, self.scope(which)))

    def _call(self, what: str, function: Callable[..., T], scope: Mapping[str, Any]) -> T:
        try:
            return call(function, scope)
        except ConfigError as e:
            raise ConfigError(f"kernel {self.kernel.id!r}: {e}") from None
        except Exception as e:
            why = f"{what} raised {type(e).__name__}: {e}; see {describe(function)}"
            raise ConfigError(f"kernel {self.kernel.id!r}: {why}") from e

    @cached_property
    def label(self) -> str:
        """The dimensions, data types and changed attributes in one line: ``M=8192 N=4096 T=fp16``."""
        dims = {d: "x".join(map(str, r)) for d, r in self.dims.items()}
        usual = {n: resolve_attribute(self.kernel, n, v, self.dtypes) for n, v in self.kernel.attributes.items()}
        changed = {n: v for n, v in self.attributes.items() if v != usual[n]}
        return " ".join(f"{k}={v}" for k, v in {**dims, **self.dtypes, **changed}.items())

    def __str__(self) -> str:
        return f"{self.kernel.id} {self.label}"


def _require(known: Mapping[str, Any] | tuple[str, ...], given: Mapping[str, Any], what: str) -> None:
    for name in given:
        if name not in known:
            raise ConfigError(f"unknown {what} {name!r}{did_you_mean(name, known)}")


def _within(ranges: Mapping[str, tuple[Range, ...]], dims: Mapping[str, Any]) -> dict[str, int | tuple[int, ...]]:
    """All sizes of a timed shape."""
    _require(ranges, dims, "dimension")
    shape: dict[str, tuple[int, ...]] = {}
    for dim, held in ranges.items():
        given = dims.get(dim, tuple(r.opt for r in held))
        sizes = given if isinstance(given, tuple) else (given,)
        if len(sizes) != len(held):
            raise ConfigError(f"timed: {dim} has {len(held)} extents, not {len(sizes)}")
        for size, extent in zip(sizes, held, strict=True):
            if type(size) is not int or not extent.min <= size <= extent.max:
                raise ConfigError(f"timed: {dim}={size!r} is outside the range {extent}")
        shape[dim] = sizes
    return _extents(shape)


def _extents(shape: Mapping[str, tuple[int, ...]]) -> dict[str, int | tuple[int, ...]]:
    return {dim: sizes if len(sizes) > 1 else sizes[0] for dim, sizes in shape.items()}


def _spelled(dims: Mapping[str, int | tuple[int, ...]]) -> str:
    return " ".join(f"{d}={'x'.join(map(str, s if isinstance(s, tuple) else (s,)))}" for d, s in dims.items())


def _ranges(dim: str, value: Any, variadic: bool) -> tuple[Range, ...]:
    values = value if isinstance(value, tuple) else (value,)
    if len(values) != 1 and not variadic:
        raise ConfigError(f"dims.{dim}: one extent, not {len(values)}: only a *{dim} takes several")
    ranges = []
    for v in values:
        if type(v) is int and v <= 0:
            raise ConfigError(f"dims.{dim}: {v} is not a positive size")
        if type(v) is not int and not isinstance(v, Range):
            raise ConfigError(f"dims.{dim}: {v!r} is not a size")
        ranges.append(v if isinstance(v, Range) else Range(v, v, v))
    return tuple(ranges)
