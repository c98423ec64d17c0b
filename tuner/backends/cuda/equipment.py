"""The processes that measuring takes, which a job keeps from one problem to the next."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from tuner.backends.cuda.ahead import AheadCompiler
from tuner.backends.cuda.isolated import Factory
from tuner.backends.cuda.pace import Pace
from tuner.backends.cuda.station import Station
from tuner.compile.compiler import Compiler, Compiles
from tuner.gpu.present import DeviceInfo, require_one_model

Factories: TypeAlias = Sequence[Factory]


@dataclass(frozen=True)
class Equipment:
    """GPUs of one model, and the processes that own them and compile for them.

    Attributes:
        devices, stations: the GPUs and who owns them, in the same order.
        compiler: makes PTX.
        ahead: has the driver compile it; None leaves that to whoever loads it.
        pace: how many tactics should be on the way.
    """

    devices: tuple[DeviceInfo, ...]
    stations: tuple[Station, ...]
    compiler: Compiles
    ahead: AheadCompiler | None
    pace: Pace

    def forget(self) -> None:
        """Let go of what was compiled for a problem that is done; the store keeps it."""
        if isinstance(self.compiler, Compiler):
            self.compiler.forget()

    def close(self) -> None:
        """End all processes."""
        for station in self.stations:
            station.stop()
        if self.ahead is not None:
            self.ahead.close()
        self.compiler.close()
        for station in self.stations:
            station.close()


def equip(
    devices: Sequence[DeviceInfo], factories: Factories, compiler: Compiles, ahead: tuple[Factory, int] | None
) -> Equipment:
    """Start the processes.

    Args:
        devices: where to measure; one may be named twice, and then takes turns.
        factories: what makes each device's `Bench`.
        compiler: makes the PTX, for the target of these devices.
        ahead: what makes the `Bench` of a process that has the driver compile, and how many such; None for none.
    """
    require_one_model(devices)
    locks = {d.uuid: threading.Lock() for d in devices}
    stations = tuple(Station(f, locks[d.uuid]) for f, d in zip(factories, devices, strict=True))
    workers = compiler.workers if isinstance(compiler, Compiler) else 1
    pace = Pace(len(devices), workers)
    return Equipment(tuple(devices), stations, compiler, AheadCompiler(*ahead) if ahead else None, pace)


def quiet_workers(wanted: int, devices: int) -> int:
    """How many processes may compile while GPUs are measured.

    Who drives a GPU needs a core for its process, and one for the search, so that nothing delays a launch. With few
    cores there is no such choice.

    Args:
        wanted: what a config asks for; 0 leaves it to this function.
        devices: how many GPUs.
    """
    return wanted or max(1, len(os.sched_getaffinity(0)) - devices - 1)
