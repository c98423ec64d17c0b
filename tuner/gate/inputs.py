"""Random inputs, and outputs that show what was not written."""

from __future__ import annotations

import hashlib
import json
from math import prod
from typing import Any

import numpy as np

from tuner.frontends.dtypes import DTYPES
from tuner.kernel.problem import Problem
from tuner.kernel.problem_data import data_of
from tuner.kernel.tensor import Tensor

Array = np.ndarray[Any, Any]

_POISON_FLOAT, _POISON_INT = 0xFF, 0xA5
"""The byte that unwritten elements consist of: a NaN in every float type, an unlikely integer."""


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
    return draw_input(problem, tensor, problem.shape(tensor), generator(problem, name, seed))


def generator(problem: Problem, what: str, seed: int) -> np.random.Generator:
    """A random generator of its own for each problem, each thing to draw for it, and each seed."""
    digest = hashlib.sha256(json.dumps([seed, data_of(problem).key, what]).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "big"))


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


def tensors_of(problem: Problem) -> dict[str, Tensor]:
    return {**problem.kernel.inputs, **problem.kernel.outputs}
