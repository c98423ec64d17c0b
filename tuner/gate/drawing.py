"""Values that follow a rule of the declaration (`tuner.kernel.values`), or come from a function of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tuner.errors import ConfigError
from tuner.frontends.dtypes import DTYPES
from tuner.kernel.values import DrawFunction, ValueRule
from tuner.search.call_by_name import describe

Array = np.ndarray[Any, Any]


def draw_rule(
    rule: ValueRule, dtype: str, shape: tuple[int, ...], rng: np.random.Generator, scope: Mapping[str, Any]
) -> Array:
    """Draw elements that follow a rule.

    Args:
        rule: how they are distributed.
        dtype: the data type's name.
        shape: of the result. Where the rule is about elements together, those are along the last dimension.
        rng: a random generator.
        scope: what the rule's bounds may name.

    Raises:
        ConfigError: when no such values exist, or the data type does not hold them.
    """
    try:
        bounds = rule.evaluate(scope)
    except ZeroDivisionError:
        raise ConfigError(f"{rule} divides by zero") from None
    why = impossible(rule, bounds, shape)
    if why:
        raise ConfigError(why)
    numpy = DTYPES[dtype].numpy
    if rule.kind == "constant":
        return _converted(np.full(shape, bounds[0]), dtype, str(rule))
    if rule.kind in ("below", "lengths"):
        low, high = (0, bounds[0]) if rule.kind == "below" else (1, bounds[0] + 1)
        _require_room(rule, high - 1, dtype)
        return rng.integers(low, high, shape, dtype=numpy)
    width = shape[-1] if shape else 1
    rows = [_row(rule, bounds, width, rng) for _ in range(_count(shape[:-1]))]
    return _converted(np.array(rows, np.int64).reshape(shape), dtype, str(rule))


def largest(rule: ValueRule, scope: Mapping[str, Any]) -> Any:
    """The largest element that a rule for separate elements allows."""
    bound = rule.evaluate(scope)[0]
    return bound - 1 if rule.kind == "below" else bound


def impossible(rule: ValueRule, bounds: tuple[Any, ...], shape: tuple[int, ...]) -> str:
    """Why nothing of this shape follows a rule; "" where something does."""
    width = shape[-1] if shape else 1
    said = f"{rule.kind}({', '.join(map(str, bounds))})"
    if rule.kind == "ascending" and bounds[0] > bounds[1]:
        return f"{said} begins above its end"
    if rule.kind == "permutation" and width > bounds[0]:
        return f"{said} has fewer values than the {width} elements of a row"
    if rule.kind in ("below", "lengths") and bounds[0] < 1:
        return f"{said} allows no value"
    if rule.kind == "counts" and bounds[0] < 0:
        return f"{said} is negative"
    return ""


def call_function(
    function: DrawFunction, dtype: str, shape: tuple[int, ...], rng: np.random.Generator, scope: Mapping[str, Any]
) -> Array:
    """Have a function of a declaration make a tensor.

    Args:
        function: takes a random generator, and sizes and attributes by name.
        dtype, shape: of the tensor.
        rng, scope: what the function is given.

    Raises:
        ConfigError: when it raises, or returns another shape, or numbers that the data type does not hold.
    """
    where = describe(function)
    try:
        made = np.asarray(function(rng, dict(scope)))
    except Exception as e:
        raise ConfigError(f"the function raised {type(e).__name__}: {e}; see {where}") from e
    if made.shape != shape:
        raise ConfigError(f"the function returned shape {made.shape}, declared {shape}; see {where}")
    return _converted(made, dtype, f"what {where} returned")


def _row(rule: ValueRule, bounds: tuple[Any, ...], width: int, rng: np.random.Generator) -> Array:
    """Elements along the last dimension of a tensor."""
    if rule.kind == "permutation":
        return rng.permutation(bounds[0])[:width]
    if rule.kind == "counts":
        return np.diff(_ascending(0, bounds[0], width + 1, rng))
    return _ascending(bounds[0], bounds[1], width, rng)


def _ascending(low: int, high: int, width: int, rng: np.random.Generator) -> Array:
    values = np.sort(rng.integers(low, high, width, endpoint=True))
    values[-1:], values[:1] = high, low
    return values


def _count(shape: tuple[int, ...]) -> int:
    return int(np.prod(shape, dtype=np.int64))


def _require_room(rule: ValueRule, value: int, dtype: str) -> None:
    if value > np.iinfo(DTYPES[dtype].numpy).max:
        raise ConfigError(f"{rule} reaches {value}, which {dtype} does not hold")


def _converted(values: Array, dtype: str, what: str) -> Array:
    """The values in a data type; integers and booleans exactly."""
    with np.errstate(all="ignore"):
        converted = values.astype(DTYPES[dtype].numpy)
    if DTYPES[dtype].kind != "f" and not np.array_equal(converted, values):
        raise ConfigError(f"{what} has values that {dtype} does not hold")
    return converted
