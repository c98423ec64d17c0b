"""Run the recorded code and today's in turns on one GPU.

Times of different days cannot be compared to a few per cent: drivers, clocks, temperature and neighbours move by more.
So the baseline keeps the winner's PTX, and both codes are assembled by the same driver, run in one process on the same
tensors, round by round (`tuner.backends.timing.sampling.confirm`).

A regression is only what shows in time and in cycles, in a first process and again in a second one: by more than the
margin, which the interval of the effect excludes. Cycles are time multiplied by the SM clock that NVML reports after
that very batch, so that a lower clock is not taken for slower code. Whatever can be explained otherwise is
inconclusive: throttling, too much noise, no clock to read, two processes that disagree.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, TypeAlias

from tuner.backends.cuda.backend import rotated_bytes
from tuner.backends.cuda.bench import Bench
from tuner.backends.cuda.cases import make_case
from tuner.backends.cuda.isolated import Factory
from tuner.backends.cuda.station import (
    FAULTS,
    LoadedCode,
    Runner,
    Station,
    as_declared,
    failure,
    longest_launch_s,
    plan_launches,
)
from tuner.backends.timing.plan import CONFIRMATION, Confirmation
from tuner.backends.timing.sampling import Series, confirm
from tuner.backends.timing.statistics import Relation, log_ratio_interval, relation
from tuner.compile.artifact import Loadable
from tuner.gate.instances import device_instances
from tuner.gpu.conditions import Nvml, Probe
from tuner.gpu.driver import LaunchShape
from tuner.gpu.present import DeviceInfo, describe
from tuner.kernel.problem import Problem
from tuner.outcome import Failure, FailureClass
from tuner.search.tactic import Config

Side: TypeAlias = Literal["recorded", "today's"]


@dataclass(frozen=True)
class Gpu:
    """Where and how to measure.

    Attributes:
        info: the device.
        factory: makes its `tuner.backends.cuda.bench.Bench`; another one simulates a device.
        probe: reads its clocks and throttling.
        plan: how long and how precisely; its margin is the check's.
    """

    info: DeviceInfo
    factory: Factory
    probe: Probe
    plan: Confirmation

    @classmethod
    def here(cls, margin: float) -> Gpu:
        """The first GPU of this machine; raises `UnavailableError` when there is none that works."""
        (info,) = describe((0,))
        return cls(info, partial(Bench, info.ordinal), Nvml(info.uuid).read, replace(CONFIRMATION, margin=margin))


@dataclass(frozen=True)
class RecordedCode:
    """The code of a launch that was recorded, and how it was launched at the problem's usual size.

    Attributes:
        code: the device's driver assembles its PTX.
        grid: blocks along x, y and z.
        integers: the extra integers.
    """

    code: Loadable
    grid: tuple[int, int, int]
    integers: tuple[int, ...]

    @property
    def launch(self) -> tuple[LaunchShape, tuple[int, ...]]:
        """Grid, block and shared memory, and integers: as recorded, whatever today's declaration says."""
        return LaunchShape(self.grid, self.code.block, self.code.shared_bytes), self.integers


@dataclass(frozen=True)
class Comparison:
    """Today's code against the recorded one, in one process.

    Attributes:
        recorded_us, today_us: medians.
        low, high: the interval of today's time over the recorded one's.
        time, cycles: what today's code is to the recorded one; cycles are None where clocks are unknown.
        throttled: whether rounds in which the device was throttled had to be kept.
    """

    recorded_us: float
    today_us: float
    low: float
    high: float
    time: Relation
    cycles: Relation | None
    throttled: bool

    @property
    def slower(self) -> bool:
        """Whether today's code is slower beyond doubt."""
        return self.time == "slower" and self.cycles == "slower" and not self.throttled

    def __str__(self) -> str:
        low, high = (f"{100 * (x - 1):+.1f} %" if math.isfinite(x) else "unknown" for x in (self.low, self.high))
        return f"{self.today_us:.4g} us beside {self.recorded_us:.4g} us ({low} to {high})"


class FaultyError(Exception):
    """A code that does not run, or runs wrong.

    Attributes:
        side: which one.
        failure: what happened.
    """

    def __init__(self, side: Side, failure: Failure) -> None:
        super().__init__(side, failure)
        self.side, self.failure = side, failure


def compare_codes(
    gpu: Gpu,
    problem: Problem,
    config: Config,
    recorded: Sequence[RecordedCode],
    today: Sequence[Loadable],
    seed: int,
    turned: bool,
) -> Comparison:
    """Check both codes for correctness and time them in turns, in a process of their own.

    Args:
        gpu: where.
        problem: with today's kernel.
        config: the tactic.
        recorded, today: the code of each of its launches, then and now.
        seed: of the random inputs.
        turned: whether today's code comes first in a round.

    Raises:
        FaultyError: when one of them does not run or is wrong.
        UnavailableError: when the tensors do not fit on the device.
    """
    usual = make_case(problem.at(problem.sizes()), seed, rotated_bytes(gpu.info, warm=False))
    awkward = [make_case(p, seed) for p in device_instances(problem, config)] if problem.dynamic else []
    limit_s = longest_launch_s(usual.problem, None)
    station = Station(gpu.factory, threading.Lock())
    try:
        with _blaming("recorded"):
            launches = [r.launch for r in recorded]
            before_code = [r.code for r in recorded]
            plan = partial(plan_launches, config=config, launches=launches)
            old = Runner(station, lambda: LoadedCode(station, before_code, plan), usual, limit_s)
            _require_right("recorded", old.check(usual))
        with _blaming("today's"):
            how = as_declared(today, config)
            new = Runner(station, lambda: LoadedCode(station, today, how), usual, limit_s)
            for case in (usual, *awkward):
                _require_right("today's", new.check(case))
        sides = [_Blamed("recorded", old), _Blamed("today's", new)]
        order = slice(None, None, -1) if turned else slice(None)
        before, now = confirm(sides[order], gpu.plan, gpu.probe, each_batch=True)[order]
    finally:
        station.close()
    before_cycles, now_cycles = _cycles(before), _cycles(now)
    low, high = log_ratio_interval(now.samples_us, before.samples_us, gpu.plan.alpha)
    return Comparison(
        recorded_us=before.median_us,
        today_us=now.median_us,
        low=math.exp(low),
        high=math.exp(high),
        time=relation(now.samples_us, before.samples_us, gpu.plan),
        cycles=relation(now_cycles, before_cycles, gpu.plan) if now_cycles and before_cycles else None,
        throttled=before.throttled + now.throttled > 0,
    )


class _Blamed:
    """A runner that says whose errors are whose."""

    def __init__(self, side: Side, runner: Runner) -> None:
        self._side, self._runner = side, runner
        self.step = runner.step

    def run(self, launches: int) -> float:
        with _blaming(self._side):
            return self._runner.run(launches)


def _cycles(series: Series) -> list[float] | None:
    """Millions of cycles of each sample, by the clock read after it; None where that is not known of each."""
    if len(series.conditions) != len(series.samples_us):
        return None
    cycles = [us * now.sm_mhz for us, now in zip(series.samples_us, series.conditions, strict=True)]
    return cycles if all(map(math.isfinite, cycles)) else None


def _require_right(side: Side, fault: str | None) -> None:
    if fault is not None:
        raise FaultyError(side, Failure(FailureClass.CORRECTNESS, fault))


@contextmanager
def _blaming(side: Side) -> Iterator[None]:
    """Say whose doing an error of the device is."""
    try:
        yield
    except FAULTS as e:
        raise FaultyError(side, failure(e)) from e
