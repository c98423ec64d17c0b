"""Choose a backend that works here, and open it for a problem."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tuner.backends.base import Backend
from tuner.backends.table import AUTO, BACKENDS, first_present
from tuner.backends.tensorrt.options import TensorrtOptions
from tuner.compile.blobs import Store, default_folder
from tuner.compile.compiler import Compiler
from tuner.compile.options import CompileOptions
from tuner.errors import ConfigError, UnavailableError, did_you_mean
from tuner.gpu.catalog import find_device
from tuner.kernel.problem import Problem
from tuner.qdp.library import version

if TYPE_CHECKING:
    from tuner.backends.tensorrt.loader import EngineOptions

_GATE_TIMEOUT_S = 300.0
"""A backstop: the slowest check of a kernel that comes with this package takes 15 s on one busy core."""


@dataclass(frozen=True)
class BackendChoice:
    """A backend and why it was taken.

    Attributes:
        name: one of `tuner.backends.table.BACKENDS`.
        why: a clause for the user, "" when it was asked for.
        devices: ordinals of the GPUs to measure on, for a backend that does.
        table: for replay: the recorded table.
        warm: leave tensors in the L2 between launches, for a backend that measures.
    """

    name: str
    why: str = ""
    devices: tuple[int, ...] = (0,)
    table: Path | None = None
    warm: bool = False

    @classmethod
    def of(
        cls, name: str, devices: Sequence[int] = (0,), table: Path | None = None, warm: bool = False
    ) -> BackendChoice:
        """Check a backend's name; "auto" takes the first that works here.

        Raises:
            ConfigError: for an unknown name, or replay without a table.
            UnavailableError: for a backend that does not work here.
        """
        if name not in (AUTO, *BACKENDS):
            raise ConfigError(f"unknown backend {name!r}{did_you_mean(name, (AUTO, *BACKENDS))}")
        if (name == "replay") != (table is not None):
            raise ConfigError("--backend replay and --table FILE belong together: the table holds the times")
        if name == AUTO:
            first, why = first_present()
            return cls(first, why, tuple(devices), None, warm)
        missing = BACKENDS[name].missing()
        if missing is not None:
            raise UnavailableError(f"the {name} backend does not work here: {missing}; `tuner doctor` says more")
        return cls(name, "", tuple(devices), table, warm)


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


def open_backend(
    choice: BackendChoice,
    problem: Problem,
    setting: BackendSetting,
    store: Store,
    proofs: Mapping[str, str] | None = None,
) -> Backend:
    """Make the backend for a problem. The caller closes it.

    Args:
        choice: which one.
        problem: whose tactics it will time.
        setting: what it is opened with.
        store: keeps compiled tactics and verdicts.
        proofs: what GPUs have found correct, for which a backend that runs nothing takes their word: by the SHA-256
            of the PTX, how it was found.
    """
    if choice.name == "replay":
        from tuner.backends.replay import ReplayBackend
        from tuner.store.tables.table import read_table

        assert choice.table is not None
        return ReplayBackend(read_table(choice.table))
    if BACKENDS[choice.name].measures:
        from tuner.backends.cuda.backend import CudaBackend
        from tuner.gpu.present import describe

        devices = describe(choice.devices)
        compiler = Compiler.of(replace(devices[0].target, disassemble=False), setting.compile, store)
        if choice.name == "cuda":
            return CudaBackend(problem, devices, compiler, seed=setting.seed, warm=choice.warm)
        from tuner.backends.tensorrt.backend import TensorrtBackend

        options = _engine_options(setting.tensorrt, devices[0].name)
        return TensorrtBackend(problem, devices, compiler, options, seed=setting.seed, warm=choice.warm)
    from tuner.backends.model.backend import ModelBackend
    from tuner.gate.verifier import Verifier

    device = find_device(setting.target)
    verifier = Verifier(
        problem,
        seed=setting.seed,
        workers=setting.compile.workers,
        timeout_s=_GATE_TIMEOUT_S,
        memory_bytes=setting.compile.memory_mb << 20,
        store=store,
    )
    return ModelBackend(problem, device, Compiler.of(device.target, setting.compile, store), verifier, proofs)


def _engine_options(options: TensorrtOptions, device: str) -> EngineOptions:
    from tuner.backends.tensorrt.loader import EngineOptions
    from tuner.backends.tensorrt.order import Host

    name = re.sub(r"\W+", "-", f"{version()}-{device}").lower()
    profiles = {n: (s.min, s.opt, s.max) for n, s in options.shapes.items()}
    return EngineOptions(
        timing_cache=default_folder() / "tensorrt" / f"{name}.timing",
        host=Host(options.network, profiles) if options.network is not None else None,
        workspace_bytes=options.workspace_mb << 20,
        build_timeout_s=options.build_timeout_s,
    )
