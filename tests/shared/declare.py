"""A small kernel in any language: doubles its input, as a declaration without its source."""

from __future__ import annotations

from typing import Any

from tuner import Kernel, Launch, Problem, Tensor, cdiv, choice

HEAD = """\
import numpy as np
import triton
import triton.language as tl

from tuner import Kernel, Launch, Tensor, Tolerance, alternatives, cdiv

"""
"""How a file with a Triton kernel begins."""

MACROS = """
extern "C" __global__ void __launch_bounds__(THREADS) twice(const T* x, int n, T* y) {
    const int i = blockIdx.x * THREADS + threadIdx.x;
    if (i < n) y[i] = x[i] + x[i];
}
"""
"""The kernel in CUDA C++, its constants as macros."""


def declare(source: Any, **changes: Any) -> Kernel:
    """A kernel ``y = 2 x`` of blocks of `THREADS`, with `changes` to its declaration."""
    declared: dict[str, Any] = {
        "id": "test::double",
        "source": source,
        "inputs": {"x": Tensor("T", "*N")},
        "outputs": {"y": Tensor("T", "*N")},
        "dtypes": {"T": ("fp32", "fp16", "i32")},
        "params": [choice("THREADS", 64, 128)],
        "default": {"THREADS": 64},
        "launch": lambda N, THREADS: Launch((cdiv(N, THREADS),), (N,), block=(THREADS,)),
        "reference": lambda x: 2 * x,
    }
    return Kernel(**{**declared, **changes})


def double(source: Any, dtype: str = "fp32", **changes: Any) -> Problem:
    """The kernel at one size."""
    return Problem.of(declare(source, **changes), {"N": 1000}, {"T": dtype})
