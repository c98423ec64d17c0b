"""A small kernel in any language: doubles its input, as a declaration without its source."""

from __future__ import annotations

from typing import Any

from tuner import Kernel, Launch, Problem, Tensor, cdiv, choice


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
