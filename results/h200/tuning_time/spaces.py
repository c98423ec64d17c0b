"""The shipped kernels with their spaces cut to the configurations that all ways of tuning try."""

from __future__ import annotations

import dataclasses
import random
from pathlib import Path

from tuner import Constraint, Kernel
from tuner.search.tactic import canonical
from tuner.tuning.config import load_config

COUNTS = {"increment": 44, "softmax": 94, "gemm": 144}


def cut(name: str) -> Kernel:
    """The kernel of a shipped config with its default and as many other legal points, drawn with a fixed seed."""
    problem = load_config(Path(__file__).parents[3] / "configs" / f"{name}.toml").problems[0]
    kernel = problem.kernel
    points = problem.space.sample(random.Random(0), COUNTS[name] - 1)
    kept = {canonical(p) for p in (kernel.default, *points)}
    among = Constraint(
        "among_those_compared",
        lambda **config: canonical(config) in kept,
        "all ways of tuning try the same configurations",
        kernel.space.names,
    )
    return dataclasses.replace(kernel, constraints=[*kernel.constraints, among])


increment = cut("increment")
softmax = cut("softmax")
gemm = cut("gemm")
