"""What backends are opened with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tuner.backends.kept import Kept
from tuner.backends.tensorrt.options import TensorrtOptions
from tuner.compile.blobs import Store
from tuner.compile.options import CompileOptions
from tuner.kernel.problem import Problem


@dataclass(frozen=True)
class BackendSetting:
    """What a backend is opened with, the same for every problem of a job.

    Attributes:
        target: the GPU to compile and predict for where it is not present; a name that `find_device` knows.
        seed: of the random inputs that tactics are checked on.
        compile: what a compile may take.
        tensorrt: how engines are built.
    """

    target: str = "h200"
    seed: int = 0
    compile: CompileOptions = field(default_factory=CompileOptions)
    tensorrt: TensorrtOptions = field(default_factory=TensorrtOptions)


@dataclass(frozen=True)
class Opening:
    """All that a backend may need to know when it is opened for a problem.

    Attributes:
        problem: whose tactics it will time.
        setting: what is the same for every problem of a job.
        store: keeps compiled tactics and verdicts.
        devices: ordinals of the GPUs to measure on.
        warm: whether to leave tensors in the L2 between launches.
        table: the recorded table to answer from.
        kept: what this job keeps open from one problem to the next; None: all that is opened ends with the backend.
        proofs: what GPUs have found correct, for which a backend that runs nothing takes their word: by the SHA-256
            of the PTX, how it was found.
    """

    problem: Problem
    setting: BackendSetting
    store: Store
    devices: tuple[int, ...] = (0,)
    warm: bool = False
    table: Path | None = None
    kept: Kept | None = None
    proofs: Mapping[str, str] = field(default_factory=dict)
