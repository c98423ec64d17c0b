"""The backend that times tactics on a GPU through CUDA's driver API, launched as TensorRT launches them."""

from __future__ import annotations

import importlib.metadata
import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

from tuner.backends.base import Backend
from tuner.backends.cuda.ahead import AheadCompiler
from tuner.backends.cuda.bench import Bench
from tuner.backends.cuda.cases import Cases
from tuner.backends.cuda.isolated import Factory
from tuner.backends.cuda.measurer import Measurer
from tuner.backends.cuda.prepared import Prepared
from tuner.backends.cuda.station import CodeLoader, Station
from tuner.backends.setting import Opening
from tuner.backends.timing.plan import CONFIRMATION, SCREENING, Confirmation, Screening
from tuner.compile.artifact import Code
from tuner.compile.compiler import Compiler, Compiles
from tuner.gpu.present import DeviceInfo, describe, require_one_model
from tuner.kernel.problem import Problem
from tuner.outcome import Failure, Origin, Outcome, Timing
from tuner.search.tactic import Config

L2_SIZES = 2
"""A launch finds its tensors evicted when so many times the L2 was touched since they were used."""


class CudaBackend(Backend):
    """Times tactics on one GPU, or on several of one model; how is said at `Measurer`."""

    batch = 16
    ahead = True

    def __init__(
        self,
        problem: Problem,
        devices: Sequence[DeviceInfo],
        compiler: Compiles,
        *,
        seed: int = 0,
        warm: bool = False,
        screening: Screening = SCREENING,
        confirmation: Confirmation = CONFIRMATION,
        factories: Sequence[Factory] | None = None,
        ahead_processes: int | None = None,
    ) -> None:
        """Start the processes that own the devices.

        Args:
            problem: what to time.
            devices: where; one may be named twice, and then takes turns.
            compiler: makes the PTX, for the target of these devices. Closed with the backend.
            seed: of the random inputs.
            warm: time launches that find their tensors in the L2 rather than evicted from it.
            screening, confirmation: how long and how precisely to time.
            factories: what makes each device's `Bench`; another one simulates a device.
            ahead_processes: those that have the driver compile PTX ahead; by default one for four CPUs: on 16, twice as
                many took longer to start than they saved. 0 leaves it to whoever loads the PTX.
        """
        require_one_model(devices)
        self._info, self._compiler, self._warm = devices[0], compiler, warm
        factories = factories or [partial(Bench, d.ordinal) for d in devices]
        stations = open_stations(devices, factories)
        processes = max(1, (os.cpu_count() or 4) // 4) if ahead_processes is None else ahead_processes
        self._prepared = Prepared(problem, compiler, AheadCompiler(factories[0], processes) if processes else None)
        cases = Cases(problem, seed, rotated_bytes(devices[0], warm))
        self._measurer = Measurer(devices, stations, self._prepared, cases, CodeLoader(), screening, confirmation)

    @property
    def origin(self) -> Origin:
        return origin("cuda", self._info, self._compiler, self._measurer.driver(), self._warm)

    def prepare(self, configs: Sequence[Config]) -> None:
        for config in configs:
            self._prepared.begin(config)

    def evaluate(self, configs: Sequence[Config]) -> Iterator[tuple[int, Outcome]]:
        return self._measurer.evaluate(configs)

    def near(self, a: Timing, b: Timing) -> bool:
        return self._measurer.near(a, b)

    def confirm(self, configs: Sequence[Config]) -> list[Outcome]:
        return self._measurer.confirm(configs)

    def tied(self, a: Timing, b: Timing) -> bool:
        return self._measurer.tied(a, b)

    def compiled(self, config: Config) -> Code | None:
        found = self._prepared.result(config)
        return None if isinstance(found, Failure) else found

    def close(self) -> None:
        self._measurer.close()


def open_stations(devices: Sequence[DeviceInfo], factories: Sequence[Factory]) -> list[Station]:
    """Start a process for each device; two for the same device share its lock."""
    locks = {d.uuid: threading.Lock() for d in devices}
    return [Station(f, locks[d.uuid]) for f, d in zip(factories, devices, strict=True)]


def rotated_bytes(device: DeviceInfo, warm: bool) -> int:
    """How many bytes of tensors a timed launch should find evicted from the L2; 0 when it should find them there."""
    return 0 if warm else L2_SIZES * device.l2_bytes


def origin(name: str, device: DeviceInfo, compiler: Compiles, driver: str, warm: bool) -> Origin:
    """Where numbers measured on a GPU come from.

    Args:
        name: of the backend. Times of warm launches go by another name: one is never looked up for the other.
        device: the GPU.
        compiler: made the PTX.
        driver: version of the driver package.
        warm: whether launches find their tensors in the L2.
    """
    environment = {
        **compiler.versions(),
        "device": device.name,
        "driver": driver,
        "cuda": ".".join(map(str, device.cuda)),
        "cuda-bindings": importlib.metadata.version("cuda-bindings"),
        "cache": "warm" if warm else "cold",
    }
    return Origin(f"{name}-warm" if warm else name, "measurement", device.name, device.capability, environment)


def open_backend(opening: Opening) -> Backend:
    """Measure on the GPUs that were named, which have to be of one model."""
    devices = describe(opening.devices)
    setting = opening.setting
    compiler = Compiler.of(replace(devices[0].target, disassemble=False), setting.compile, opening.store)
    return CudaBackend(opening.problem, devices, compiler, seed=setting.seed, warm=opening.warm)
