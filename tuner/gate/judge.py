"""What a correct result is, and at which sizes to look: the same for an interpreter and for a GPU.

A tactic passes when, on random inputs and into outputs full of poison, it leaves in every element
what the float64 reference gives for the same inputs, within the kernel's tolerance. Wrong tactics
nearly always go wrong at an edge, where a tile hangs over the end of a dimension, so `instances` are
chosen for their edges.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tuner.errors import ConfigError
from tuner.frontends.dtypes import DTYPES
from tuner.gate.inputs import Array, poison
from tuner.kernel.problem import Problem
from tuner.kernel.tensor import Tensor, Tolerance
from tuner.search.call_by_name import call

VERSION = 7
"""Goes up whenever a verdict could change: with the instances, the inputs or the comparison."""


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
    if DTYPES[dtype].kind != "f" and expected.dtype.kind in "biu":
        error, allowed, right = _compare_integers(tolerance, got, expected)
        actual = got
    else:
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
    nan = actual != actual
    for fault, places in (("unwritten, or made of what was there before", untouched & wrong), ("NaN", nan & wrong)):
        if places.any():
            first = _place(places)
            return f"{_share(places)} {fault}, the first at {first} (expected {_number(expected[first])})"
    with np.errstate(all="ignore"):
        excess = np.where(wrong, error / np.maximum(allowed, np.finfo(np.float64).tiny), -1.0)
    worst = _place(excess)
    return (
        f"{_share(wrong)} off by more than the tolerance, the worst at {worst}: "
        f"{_number(actual[worst])} instead of {_number(expected[worst])}"
    )


def _compare_integers(tolerance: Tolerance, got: Array, expected: Array) -> tuple[Array, Array, Array]:
    """By how much integers are off, what is allowed, and which are right: exact in all 64 bits.

    As for floats, what the expected value becomes in the output's data type is right, too.
    """
    rounded = expected.astype(got.dtype)
    larger, smaller = np.maximum(got, rounded), np.minimum(got, rounded)
    # The difference of two integers of 64 bits needs 64 bits without a sign; in those it never wraps.
    error = larger.astype(np.uint64) - smaller.astype(np.uint64)
    allowed = tolerance.atol + tolerance.rtol * np.abs(rounded.astype(np.float64))
    return error.astype(np.float64), allowed, (error == 0) | (error <= np.floor(allowed).astype(np.uint64))


def _number(value: np.generic) -> str:
    return str(int(value)) if value.dtype.kind in "biu" else f"{value:.9g}"


def _share(places: Array) -> str:
    count = int(places.sum())
    return f"{count} of {places.size} elements {'is' if count == 1 else 'are'}"


def _place(values: Array) -> tuple[int, ...]:
    """The index of the largest value, the first of several."""
    return tuple(int(i) for i in np.unravel_index(int(np.argmax(values)), values.shape))
