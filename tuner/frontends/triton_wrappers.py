"""What stands around a Triton function: autotuners, heuristics, and the wrappers that projects write themselves.

They are found by what they offer, as Triton's launcher finds them, and not by their type: `fn` is what is wrapped,
`configs` make an autotuner, `values` heuristics.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tuner.errors import ConfigError
from tuner.frontends.base import Heuristic


@dataclass(frozen=True)
class Unwrapped:
    """A Triton function without what stands around it.

    Attributes:
        jit: the function under `@triton.jit`.
        autotuner: what holds its configs, if there is one.
        heuristics: those of all decorators.
    """

    jit: Any
    autotuner: Any
    heuristics: Mapping[str, Heuristic]


def is_gluon(function: Any) -> bool:
    """Tell whether a function is under `@gluon.jit`."""
    asked = getattr(function, "is_gluon", None)
    return callable(asked) and bool(asked())


def unwrap(function: Any) -> Unwrapped:
    """Take apart what a kernel file calls its kernel.

    Raises:
        ConfigError: when there is no function under `@triton.jit` inside, or there are two autotuners.
    """
    autotuner: Any = None
    heuristics: dict[str, Heuristic] = {}
    inner = function
    while hasattr(inner, "fn") and not inspect.isfunction(inner.fn):
        if isinstance(values := getattr(inner, "values", None), Mapping):
            heuristics.update(values)
        elif isinstance(getattr(inner, "configs", None), Sequence):
            if autotuner is not None:
                raise ConfigError(
                    "the source is under @triton.autotune twice, which Triton itself cannot launch: both set "
                    "num_warps; put all configs into one of them"
                )
            autotuner = inner
        inner = inner.fn
    if not hasattr(inner, "fn"):
        raise ConfigError(f"source must be a function under @triton.jit, or one of tuner.frontends, not {function!r}")
    return Unwrapped(inner, autotuner, heuristics)
