"""Choose a backend that works here, and open it for a problem."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tuner.backends.base import Backend
from tuner.backends.tensorrt.options import TensorrtOptions
from tuner.compile.blobs import Store, default_folder
from tuner.compile.compiler import Compiler
from tuner.errors import ConfigError, UnavailableError, did_you_mean
from tuner.gpu.catalog import find_device
from tuner.gpu.driver import driver_version
from tuner.gpu.present import available
from tuner.kernel.problem import Problem
from tuner.qdp.library import lack, version
from tuner.tuning.config import Job

if TYPE_CHECKING:
    from tuner.backends.tensorrt.backend import EngineOptions

BACKENDS = ("tensorrt", "cuda", "model", "replay")
_GATE_TIMEOUT_S = 300.0
"""A backstop: the slowest check of a kernel that comes with this package takes 15 s on one busy core."""


@dataclass(frozen=True)
class BackendChoice:
    """A backend and why it was taken.

    Attributes:
        name: one of `BACKENDS`.
        why: a clause for the user, "" when it was asked for.
        devices: for tensorrt and cuda: ordinals of the GPUs to measure on.
        table: for replay: the recorded table.
        warm: for tensorrt and cuda: leave tensors in the L2 between launches.
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
        if name not in ("auto", *BACKENDS):
            raise ConfigError(f"unknown backend {name!r}{did_you_mean(name, ('auto', *BACKENDS))}")
        if (name == "replay") != (table is not None):
            raise ConfigError("--backend replay and --table FILE belong together: the table holds the times")
        no_gpu = available() if name in ("auto", "tensorrt", "cuda") else None
        no_engines = lack(None if no_gpu else driver_version()) if name in ("auto", "tensorrt") else None
        if name == "auto":
            if no_gpu is not None:
                return cls("model", f"no measuring here: {no_gpu}", tuple(devices), None, warm)
            if no_engines is None:
                return cls("tensorrt", f"a GPU and TensorRT {version()} are present", tuple(devices), None, warm)
            return cls("cuda", f"a GPU is present; no engines here: {no_engines.what}", tuple(devices), None, warm)
        reason = no_engines or no_gpu
        if reason is not None:
            raise UnavailableError(f"the {name} backend does not work here: {reason}; `tuner doctor` says more")
        return cls(name, "", tuple(devices), table, warm)


def open_backend(
    choice: BackendChoice, problem: Problem, config: Job, store: Store, proofs: Mapping[str, str] | None = None
) -> Backend:
    """Make the backend for a problem, with compile workers as the config says. The caller closes it.

    `proofs` is what GPUs have found correct, which a backend that runs nothing takes their word for: by the SHA-256
    of the PTX, how it was found.
    """
    if choice.name == "replay":
        from tuner.backends.replay import ReplayBackend
        from tuner.store.tables.table import read_table

        assert choice.table is not None
        return ReplayBackend(read_table(choice.table))
    if choice.name in ("tensorrt", "cuda"):
        from tuner.backends.cuda.backend import CudaBackend
        from tuner.gpu.present import describe

        devices = describe(choice.devices)
        compiler = Compiler.of(replace(devices[0].target, disassemble=False), config.compile, store)
        if choice.name == "cuda":
            return CudaBackend(problem, devices, compiler, seed=config.search.seed, warm=choice.warm)
        from tuner.backends.tensorrt.backend import TensorrtBackend

        options = _engine_options(config.tensorrt, devices[0].name)
        return TensorrtBackend(problem, devices, compiler, options, seed=config.search.seed, warm=choice.warm)
    from tuner.backends.model.backend import ModelBackend
    from tuner.gate.verifier import Verifier

    device = find_device(config.target)
    verifier = Verifier(
        problem,
        seed=config.search.seed,
        workers=config.compile.workers,
        timeout_s=_GATE_TIMEOUT_S,
        memory_bytes=config.compile.memory_mb << 20,
        store=store,
    )
    return ModelBackend(problem, device, Compiler.of(device.target, config.compile, store), verifier, proofs)


def _engine_options(options: TensorrtOptions, device: str) -> EngineOptions:
    from tuner.backends.tensorrt.backend import EngineOptions
    from tuner.backends.tensorrt.order import Host

    name = re.sub(r"\W+", "-", f"{version()}-{device}").lower()
    profiles = {n: (s.min, s.opt, s.max) for n, s in options.shapes.items()}
    return EngineOptions(
        timing_cache=default_folder() / "tensorrt" / f"{name}.timing",
        host=Host(options.network, profiles) if options.network is not None else None,
        workspace_bytes=options.workspace_mb << 20,
        build_timeout_s=options.build_timeout_s,
    )
