"""What a correct result is, and at which sizes to look: the same for an interpreter and for a GPU.

A tactic passes when, on random inputs and into outputs full of poison, it leaves in every element
what the float64 reference gives for the same inputs, within the kernel's tolerance. Wrong tactics
nearly always go wrong at an edge, where a tile hangs over the end of a dimension, so `instances` are
chosen for their edges.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from math import isqrt, prod
from typing import Any

import numpy as np

from tuner.dtypes import DTYPES
from tuner.errors import ConfigError
from tuner.names import call
from tuner.problem import Extent, Problem, Range, Which
from tuner.tactic import Config
from tuner.tensor import Tensor

Array = np.ndarray[Any, Any]
Extents = tuple[Extent, ...]

VERSION = 3
"""Goes up whenever a verdict could change: with the instances, the inputs or the comparison."""

MAX_ELEMENTS = 1 << 20
"""Elements in all tensors of an instance. Half as many take a softmax 0.05 to 0.1 s on the interpreter."""

_UNTILED = 3
"""The step assumed of a dimension without a tile. Odd, so that nothing divides by accident."""

_POISON_FLOAT, _POISON_INT = 0xFF, 0xA5
"""The byte that unwritten elements consist of: a NaN in every float type, an unlikely integer."""


# -- sizes ---------------------------------------------------------------------------------------


def instances(problem: Problem, config: Config) -> list[Problem]:
    """Small fixed sizes that reach every masked edge of a tactic, smallest first.

    A dimension with tile T is taken at 1, T // 2 + 1, T, 2 T and 2 T + 1: all dimensions in step, and
    each at 2 T + 1 while the others fit their tiles exactly. At 2 T a variadic dimension has two
    tensor dimensions. Sizes outside the problem's range are taken too; data types
    and attributes are the problem's, and so is a fixed dimension that the source takes as a constant.
    Of a problem whose dimensions vary, the `device_instances` are taken as well.

    Where the tactic is illegal at such sizes, the next multiples of 16 are taken: rows may have to be aligned.
    Left out are sizes at which it is illegal even so and those above `MAX_ELEMENTS`. If that leaves
    none, the problem itself is taken where it is that small. May be empty.
    """
    steps = {d: _Steps.of(problem, d, config) for d in problem.kernel.dims}
    cases: list[dict[str, Extents]] = [
        {d: s.one for d, s in steps.items()},
        {d: s.below for d, s in steps.items()},
        {d: s.exact for d, s in steps.items()},
        *({d: s.above if d == ragged else s.exact for d, s in steps.items()} for ragged in steps),
        {d: s.above for d, s in steps.items()},
        {d: s.several for d, s in steps.items()},
    ]
    within = _within(problem) if problem.dynamic else []
    legal = [_legal(problem, [case], config) or _legal(problem, [_aligned(case)], config) for case in cases]
    found = list({p.label: p for p in [*chain(*legal), *_legal(problem, within, config)]}.values())
    found = found or _legal(problem, [_at(problem, "opt")], config)
    return sorted((p for p in found if _elements(p) <= MAX_ELEMENTS), key=_elements)


def device_instances(problem: Problem, config: Config) -> list[Problem]:
    """Fixed sizes within the problem's range, for compiled code, which may rely on that range.

    The problem's smallest, usual and largest sizes, those it is timed at and, where dimensions vary,
    awkward ones between: in each range an odd size near the middle, one just above a power of two
    near the geometric mean, and the largest odd one, all dimensions in step; and where several vary,
    each at its smallest size while the others are at their largest. Only sizes at which the tactic is legal.
    """
    return _legal(problem, _within(problem), config)


@dataclass(frozen=True)
class _Steps:
    """The extents at which one dimension is looked at."""

    one: Extents
    below: Extents
    exact: Extents
    above: Extents
    several: Extents

    @classmethod
    def of(cls, problem: Problem, dim: str, config: Config) -> _Steps:
        kernel, ranges = problem.kernel, problem.dims[dim]
        if dim in kernel.constants and all(r.fixed for r in ranges):
            return cls(ranges, ranges, ranges, ranges, ranges)
        tile = int(kernel.space.complete(config)[kernel.tiles[dim]]) if dim in kernel.tiles else _UNTILED
        several = (2, tile) if dim in kernel.variadic_dims else (2 * tile,)
        return cls((1,), (tile // 2 + 1,), (tile,), (2 * tile + 1,), several)


def _legal(problem: Problem, cases: Sequence[Mapping[str, Extents]], config: Config) -> list[Problem]:
    """The problem at each of these extents where the tactic is legal, every one once."""
    found: dict[str, Problem] = {}
    for extents in cases:
        dims = {d: e if len(e) > 1 else e[0] for d, e in extents.items()}
        instance = Problem.of(problem.kernel, dims, problem.dtypes, problem.attributes)
        if config in instance.space:
            found.setdefault(instance.label, instance)
    return list(found.values())


def _aligned(case: Mapping[str, Extents]) -> dict[str, Extents]:
    """The next multiples of 16; what is fixed because it is compiled in stays."""
    return {d: tuple(-(-e // 16) * 16 if isinstance(e, int) else e for e in extents) for d, extents in case.items()}


def _at(problem: Problem, which: Which) -> dict[str, Extents]:
    return _each(problem, lambda extent: extent.at(which))


def _each(problem: Problem, place: Callable[[Range], int]) -> dict[str, Extents]:
    return {d: tuple(map(place, ranges)) for d, ranges in problem.dims.items()}


def _within(problem: Problem) -> list[dict[str, Extents]]:
    """Extents within the range, where code that relies on too much goes wrong."""
    low, high = _at(problem, "min"), _at(problem, "max")
    varying = [d for d, ranges in problem.dims.items() if not all(r.fixed for r in ranges)]
    return [
        low,
        *(_each(problem, place) for place in (_above_a_power, _odd, _last_odd)),
        *({**high, d: low[d]} for d in varying if len(varying) > 1),
        _at(problem, "opt"),
        *(_at(shape, "opt") for shape, _ in problem.shares),
        high,
    ]


def _odd(extent: Range) -> int:
    return extent.opt if extent.fixed else max(extent.min, (extent.min + extent.max) // 2 - 1 | 1)


def _above_a_power(extent: Range) -> int:
    size = (1 << isqrt(extent.min * extent.max).bit_length() - 1) + 1
    return extent.opt if extent.fixed else max(extent.min, min(size, extent.max))


def _last_odd(extent: Range) -> int:
    return extent.opt if extent.fixed else max(extent.min, extent.max - 2 | 1)


def _elements(problem: Problem) -> int:
    return sum(prod(problem.shape(t)) for t in _tensors(problem).values())


# -- inputs and outputs --------------------------------------------------------------------------


def make_inputs(problem: Problem, seed: int) -> dict[str, Array]:
    """Random inputs at the problem's usual sizes, in its data types.

    Floats are drawn from the standard normal distribution and rounded, integers from -8 to 8 (0 to 8
    when unsigned), booleans from both, positions along a dimension from all there are. They depend on
    the seed, the problem and the tensor's name.
    """
    return {name: _random(problem, name, t, seed) for name, t in problem.kernel.inputs.items()}


def poisoned(problem: Problem) -> dict[str, Array]:
    """Outputs filled with a pattern that no kernel writes by chance: for floats, a NaN."""
    outputs = {}
    for name, tensor in problem.kernel.outputs.items():
        dtype, shape = problem.dtype(tensor), problem.shape(tensor)
        pattern = np.full(prod(shape) * DTYPES[dtype].itemsize, poison(dtype), np.uint8)
        outputs[name] = pattern.view(DTYPES[dtype].numpy).reshape(shape)
    return outputs


def _random(problem: Problem, name: str, tensor: Tensor, seed: int) -> Array:
    digest = hashlib.sha256(f"{seed} {problem.label} {name}".encode()).digest()
    rng = np.random.default_rng(int.from_bytes(digest[:8], "big"))
    return draw_input(problem, tensor, problem.shape(tensor), rng)


def draw_input(problem: Problem, tensor: Tensor, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Random elements of an input of the problem, in any shape, distributed as `make_inputs` says."""
    return draw(problem.dtype(tensor), shape, rng, problem.sizes().get(tensor.positions))


def draw(name: str, shape: tuple[int, ...], rng: np.random.Generator, below: int | None = None) -> Array:
    """Random elements of the named data type, distributed as `make_inputs` says; integers under `below`, if given."""
    dtype = DTYPES[name]
    if dtype.kind == "f":
        drawn = np.float64 if dtype.itemsize == 8 else np.float32
        return rng.standard_normal(shape, dtype=drawn).astype(dtype.numpy)
    if dtype.numpy == np.bool_:
        return rng.integers(0, 2, shape).astype(np.bool_)
    if below is not None:
        return rng.integers(0, below, shape, dtype=dtype.numpy)
    return rng.integers(-8 if dtype.kind == "i" else 0, 9, shape, dtype=dtype.numpy)


def poison(dtype: str) -> int:
    """The byte that unwritten elements of this data type consist of."""
    return _POISON_FLOAT if DTYPES[dtype].kind == "f" else _POISON_INT


def _tensors(problem: Problem) -> dict[str, Tensor]:
    return {**problem.kernel.inputs, **problem.kernel.outputs}


# -- judgement -----------------------------------------------------------------------------------


def judge(problem: Problem, inputs: Mapping[str, Array], outputs: Mapping[str, Array]) -> str | None:
    """Compare outputs with the float64 reference.

    Where the reference itself is NaN or infinite, or becomes infinite in the output's data type, the
    output must be the same.

    Args:
        problem: the sizes, data types and attributes the kernel ran with.
        inputs: what it was given, as `make_inputs` shapes them.
        outputs: what it left in the `poisoned` outputs.

    Returns:
        None when everything is right, else one sentence about the first output that is not.

    Raises:
        ConfigError: the reference raises, or returns another number of outputs or another shape.
    """
    reference = expected(problem, inputs)
    for name, tensor in problem.kernel.results.items():
        fault = compare(problem, tensor, outputs[name], reference[name])
        if fault:
            return f"{name} is wrong at {problem.label}: {fault}"
    return None


def expected(problem: Problem, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """The reference's outputs by name, in float64, for inputs widened without rounding.

    Raises:
        ConfigError: the reference raises, or returns another number of outputs or another shape.
    """
    kernel = problem.kernel
    where = f"kernel {kernel.id!r}: reference at {problem.label}"
    wide = {n: _widen(a, problem.dtype(kernel.inputs[n])) for n, a in inputs.items()}
    try:
        with np.errstate(all="ignore"):
            result = call(kernel.reference, {**wide, **problem.attributes})
    except Exception as e:
        shapes = ", ".join(f"{n} {a.shape}" for n, a in inputs.items())
        raise ConfigError(f"{where} raised {type(e).__name__} for {shapes}: {e}") from e
    results = result if isinstance(result, tuple) else (result,)
    if len(results) != len(kernel.results):
        raise ConfigError(f"{where} returned {len(results)} arrays for {len(kernel.results)} outputs")
    outputs = {}
    for (name, tensor), array in zip(kernel.results.items(), results, strict=True):
        if np.shape(array) != problem.shape(tensor):
            raise ConfigError(
                f"{where} returned shape {np.shape(array)} for {name!r}, declared {problem.shape(tensor)}"
            )
        outputs[name] = np.asarray(array)
    return outputs


def _widen(array: Array, dtype: str) -> Array:
    """A copy of an input in the widest type of its kind; booleans stay what they are."""
    if DTYPES[dtype].kind == "f":
        return array.astype(np.float64)
    return array.copy() if array.dtype == np.bool_ else array.astype(np.int64)


def compare(problem: Problem, tensor: Tensor, got: Array, expected: Array) -> str | None:
    """Compare one output with what was expected; None, or what is wrong and where."""
    dtype = problem.dtype(tensor)
    tolerance = problem.tolerance(dtype)
    with np.errstate(all="ignore"):
        rounded = expected.astype(got.dtype).astype(np.float64)
        expected, actual = expected.astype(np.float64), got.astype(np.float64)
        allowed = tolerance.atol + tolerance.rtol * np.abs(expected)
        error = np.abs(actual - expected)
        same = (actual == rounded) | (np.isnan(actual) & np.isnan(rounded))
        # A comparison with NaN or between infinities is false, so that those must be the same.
        right = same | ((error <= allowed) & np.isfinite(expected))
    pattern = np.ascontiguousarray(got).reshape(-1).view(np.uint8).reshape(got.size, -1)
    untouched = (pattern == poison(dtype)).all(axis=-1).reshape(got.shape)
    if DTYPES[dtype].kind == "f":
        right &= ~untouched
    wrong = ~right
    if not wrong.any():
        return None
    for fault, places in (("never written", untouched & wrong), ("NaN", np.isnan(actual) & wrong)):
        if places.any():
            first = _place(places)
            return f"{_share(places)} {fault}, the first at {first} (expected {expected[first]:.9g})"
    with np.errstate(all="ignore"):
        excess = np.where(wrong, error / np.maximum(allowed, np.finfo(np.float64).tiny), -1.0)
    worst = _place(excess)
    return (
        f"{_share(wrong)} off by more than the tolerance, the worst at {worst}: "
        f"{actual[worst]:.9g} instead of {expected[worst]:.9g}"
    )


def _share(places: Array) -> str:
    count = int(places.sum())
    return f"{count} of {places.size} elements {'is' if count == 1 else 'are'}"


def _place(values: Array) -> tuple[int, ...]:
    """The index of the largest value, the first of several."""
    return tuple(int(i) for i in np.unravel_index(int(np.argmax(values)), values.shape))
