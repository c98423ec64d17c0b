"""The backend that times tactics on a GPU through CUDA's driver API, launched as TensorRT launches them."""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace
from functools import partial

import msgspec

from tuner.backends.base import Backend
from tuner.backends.cuda.bench import Bench
from tuner.backends.cuda.cases import Cases
from tuner.backends.cuda.equipment import Equipment, equip, quiet_workers
from tuner.backends.cuda.measurer import Measurer
from tuner.backends.cuda.prepared import Prepared
from tuner.backends.cuda.station import CodeLoader
from tuner.backends.kept import Closable, Kept
from tuner.backends.model.predictor import Predictor
from tuner.backends.setting import Opening
from tuner.backends.timing.plan import CONFIRMATION, SCREENING, Confirmation, Screening
from tuner.compile.artifact import Code
from tuner.compile.compiler import Compiler, Compiles
from tuner.compile.steps import disassembled_steps
from tuner.errors import ConfigError
from tuner.gpu.catalog import find_device
from tuner.gpu.present import DeviceInfo, describe
from tuner.kernel.problem import Problem
from tuner.outcome import Failure, Origin, Outcome, Timing
from tuner.search.tactic import Config

L2_SIZES = 2
"""A launch finds its tensors evicted when so many times the L2 was touched since they were used."""


class CudaBackend(Backend):
    """Times tactics on one GPU, or on several of one model; how is said at `Measurer`."""

    steady = False

    def __init__(
        self,
        problem: Problem,
        equipment: Equipment,
        *,
        seed: int = 0,
        warm: bool = False,
        screening: Screening = SCREENING,
        confirmation: Confirmation = CONFIRMATION,
        predictor: Predictor | None = None,
        closes: Closable | None = None,
    ) -> None:
        """Measure with processes that are there.

        Args:
            problem: what to time.
            equipment: the devices and the processes that own them and compile for them.
            seed: of the random inputs.
            warm: time launches that find their tensors in the L2 rather than evicted from it.
            screening, confirmation: how long and how precisely to time.
            predictor: says what to try first; None: nothing does.
            closes: what is closed with the backend.
        """
        self._problem, self._equipment, self._warm, self._closes = problem, equipment, warm, closes
        self._predictor = predictor
        self._prepared = Prepared(problem, equipment.compiler, equipment.ahead)
        self._cases = Cases(problem, seed, rotated_bytes(equipment.devices[0], warm))
        self._measurer = Measurer(
            equipment.devices,
            equipment.stations,
            self._prepared,
            self._cases,
            CodeLoader(),
            screening,
            confirmation,
            equipment.pace,
        )
        self.most = equipment.pace.most

    @property
    def width(self) -> int:  # type: ignore[override]
        """As few as keep the GPUs busy."""
        return self._equipment.pace.limit

    @property
    def origin(self) -> Origin:
        equipment = self._equipment
        return origin("cuda", equipment.devices[0], equipment.compiler, self._measurer.driver(), self._warm)

    def prepare(self, configs: Sequence[Config]) -> None:
        for config in configs:
            self._prepared.begin(config)
        self._cases.begin(configs)

    def begin(self, config: Config) -> Future[Outcome]:
        return self._measurer.begin(config)

    def foresee(self, config: Config) -> Future[Outcome] | None:
        return None if self._predictor is None else self._predictor.submit(self._problem, config)

    def evaluate(self, configs: Sequence[Config]) -> Iterator[tuple[int, Outcome]]:
        return self._measurer.evaluate(configs)

    def near(self, a: Timing, b: Timing) -> bool:
        return self._measurer.near(a, b)

    def confirm(self, configs: Sequence[Config]) -> list[Outcome]:
        return self._measurer.confirm(configs)

    def tied(self, a: Timing, b: Timing) -> bool:
        return self._measurer.tied(a, b)

    def compiled(self, config: Config) -> Code | None:
        """The code of a tactic, disassembled: this is of winners, which somebody looks at."""
        found = self._prepared.result(config)
        return None if isinstance(found, Failure) else disassembled_steps(found)

    def close(self) -> None:
        self._measurer.close()
        self._equipment.forget()
        if self._closes is not None:
            self._closes.close()


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
    kept = opening.kept or Kept()
    equipment = kept.get(("cuda", opening.devices), lambda: _equipped(opening, kept))
    return CudaBackend(
        opening.problem,
        equipment,
        seed=opening.setting.seed,
        warm=opening.warm,
        predictor=predictor(equipment),
        closes=kept if opening.kept is None else None,
    )


def predictor(equipment: Equipment) -> Predictor | None:
    """What predicts for the GPUs that are measured; None where they are of no known model."""
    if not isinstance(equipment.compiler, Compiler):
        return None
    device = equipment.devices[0]
    for name in (device.name, "sm_{}{}".format(*device.capability)):
        with suppress(ConfigError):
            return Predictor(find_device(name), equipment.compiler)
    return None


def _equipped(opening: Opening, kept: Kept) -> Equipment:
    """Start the processes of a job on its GPUs.

    Those that have the driver compile are one for four CPUs: on 16, twice as many took longer to start than they saved.
    """
    devices = describe(opening.devices)
    factories = [partial(Bench, d.ordinal) for d in devices]
    assemblers = max(1, (os.cpu_count() or 4) // 4 // kept.lanes)
    return equip(devices, factories, measured_compiler(opening, devices, kept), (factories[0], assemblers))


def measured_compiler(opening: Opening, devices: Sequence[DeviceInfo], kept: Kept) -> Compiler:
    """The compiler that a job has for the GPUs that it measures; what their code is like is read of winners alone."""
    options = opening.setting.compile
    workers = quiet_workers(options.workers, len(devices) * kept.lanes)
    limited = msgspec.structs.replace(options, workers=workers)
    target = replace(devices[0].target, disassemble=False)
    return kept.get(("compiler", target), lambda: Compiler.of(target, limited, opening.store))
