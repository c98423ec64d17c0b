"""Random inputs, and outputs that show what was not written."""

from __future__ import annotations

import hashlib
import json
from math import prod
from typing import Any

import numpy as np

from tuner.errors import ConfigError
from tuner.frontends.dtypes import DTYPES
from tuner.gate.drawing import call_function, draw_rule
from tuner.kernel.problem import Problem
from tuner.kernel.problem_data import data_of
from tuner.kernel.tensor import Tensor
from tuner.kernel.values import ValueRule

Array = np.ndarray[Any, Any]

_POISON_FLOAT, _POISON_INT = 0xFF, 0xA5
"""The byte that unwritten elements consist of: a NaN in every float type, an unlikely integer."""


def make_inputs(problem: Problem, seed: int) -> dict[str, Array]:
    """Random inputs at the problem's usual sizes, in its data types.

    Where an input declares its values, they follow that. Otherwise floats are drawn from the standard normal
    distribution and rounded, integers from -8 to 8 (0 to 8 when unsigned), and booleans from both. They depend on
    the seed, the problem and the tensor's name.

    Raises:
        ConfigError: when no such values exist at these sizes, or a function of the declaration fails.
    """
    return {name: draw_input(problem, name, generator(problem, name, seed)) for name in problem.kernel.inputs}


def poisoned(problem: Problem) -> dict[str, Array]:
    """Outputs filled with a pattern that no kernel writes by chance: for floats, a NaN."""
    outputs = {}
    for name, tensor in problem.kernel.outputs.items():
        dtype, shape = problem.dtype(tensor), problem.shape(tensor)
        pattern = np.full(prod(shape) * DTYPES[dtype].itemsize, poison(dtype), np.uint8)
        outputs[name] = pattern.view(DTYPES[dtype].numpy).reshape(shape)
    return outputs


def generator(problem: Problem, what: str, seed: int) -> np.random.Generator:
    """A random generator of its own for each problem, each thing to draw for it, and each seed."""
    digest = hashlib.sha256(json.dumps([seed, data_of(problem).key, what]).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "big"))


def draw_input(problem: Problem, name: str, rng: np.random.Generator) -> Array:
    """Random elements of an input of the problem, in its shape, as `make_inputs` says.

    Raises:
        ConfigError: as from `make_inputs`.
    """
    tensor = problem.kernel.inputs[name]
    shape, dtype, rule = problem.shape(tensor), problem.dtype(tensor), tensor.drawn
    if rule is None:
        return draw(dtype, shape, rng)
    try:
        if isinstance(rule, ValueRule):
            return draw_rule(rule, dtype, shape, rng, problem.scope())
        return call_function(rule, dtype, shape, rng, problem.scope())
    except ConfigError as e:
        raise ConfigError(f"kernel {problem.kernel.id!r}: values of input {name!r} at {problem.label}: {e}") from e


def draw_part(problem: Problem, tensor: Tensor, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Random elements of an input in any shape: of one whose elements are drawn each on its own (`separate`)."""
    rule, dtype = tensor.drawn, problem.dtype(tensor)
    if rule is None:
        return draw(dtype, shape, rng)
    assert isinstance(rule, ValueRule) and rule.separate
    return draw_rule(rule, dtype, shape, rng, problem.scope())


def separate(tensor: Tensor) -> bool:
    """Whether the elements of an input are drawn each on its own, so that a part of it is as good as the whole."""
    rule = tensor.drawn
    return rule is None or (isinstance(rule, ValueRule) and rule.separate)


def draw(name: str, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Random elements of the named data type, of which nothing is declared; distributed as `make_inputs` says."""
    dtype = DTYPES[name]
    if dtype.kind == "f":
        drawn = np.float64 if dtype.itemsize == 8 else np.float32
        return rng.standard_normal(shape, dtype=drawn).astype(dtype.numpy)
    if dtype.numpy == np.bool_:
        return rng.integers(0, 2, shape).astype(np.bool_)
    return rng.integers(-8 if dtype.kind == "i" else 0, 9, shape, dtype=dtype.numpy)


def poison(dtype: str) -> int:
    """The byte that unwritten elements of this data type consist of."""
    return _POISON_FLOAT if DTYPES[dtype].kind == "f" else _POISON_INT


def tensors_of(problem: Problem) -> dict[str, Tensor]:
    return {**problem.kernel.inputs, **problem.kernel.outputs}
