"""Run the recorded code and today's in turns on one GPU.

Times of different days cannot be compared to a few per cent: drivers, clocks, temperature and neighbours move by more.
So the baseline keeps the winner's PTX, and both codes are assembled by the same driver, run in one process on the same
tensors, round by round (`tuner.timing.confirm`).

A regression is only what shows in time and in cycles, in a first process and again in a second one: by more than the
margin, which the interval of the effect excludes. Cycles are time multiplied by the SM clock that NVML reports after
that very batch, so that a lower clock is not taken for slower code. Whatever can be explained otherwise is
inconclusive: throttling, too much noise, no clock to read, two processes that disagree.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import Any, Literal, TypeAlias

from tuner.backends.cuda.backend import L2_SIZES
from tuner.backends.cuda.bench import Bench
from tuner.backends.cuda.cases import Case, make_case
from tuner.backends.cuda.isolated import Factory
from tuner.backends.cuda.station import FAULTS, Code, Runner, Station, failure
from tuner.backends.timing.plan import CONFIRMATION, Confirmation
from tuner.backends.timing.sampling import Series, confirm
from tuner.backends.timing.statistics import Relation, log_ratio_interval, relation
from tuner.gate.instances import device_instances
from tuner.gpu.conditions import Conditions, Nvml, Probe
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
        factory: makes its `tuner.cuda.bench.Bench`; another one simulates a device.
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
class Launchable:
    """A code and its launch at the problem's usual size.

    Attributes:
        ptx, entry, block, shared_bytes: as in `tuner.compile.artifact.Artifact`; the device's driver assembles the PTX.
        grid, integers: blocks along x, y and z, and the extra integers.
    """

    ptx: str
    entry: str
    block: tuple[int, int, int]
    shared_bytes: int
    grid: tuple[int, int, int]
    integers: tuple[int, ...]


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
    gpu: Gpu, problem: Problem, config: Config, recorded: Launchable, today: Launchable, seed: int, turned: bool
) -> Comparison:
    """Check both codes for correctness and time them in turns, in a process of their own.

    Args:
        gpu: where.
        problem: with today's kernel.
        config: the tactic.
        recorded, today: its code then and now.
        seed: of the random inputs.
        turned: whether today's code comes first in a round.

    Raises:
        FaultyError: when one of them does not run or is wrong.
        UnavailableError: when the tensors do not fit on the device.
    """
    usual = make_case(problem.at(problem.sizes()), seed, L2_SIZES * gpu.info.l2_bytes)
    awkward = [make_case(p, seed) for p in device_instances(problem, config)] if problem.dynamic else []
    station, clock = Station(gpu.factory, threading.Lock()), _Clock(gpu.probe)
    try:
        with _blaming("recorded"):
            old = _Recorded(station, recorded, config, usual)
            _require_right("recorded", old.check(usual))
        with _blaming("today's"):
            new = Runner(station, _code(today), config, usual, None)
            for case in (usual, *awkward):
                _require_right("today's", new.check(case))
        sides = [_Clocked("recorded", old, clock), _Clocked("today's", new, clock)]
        order = slice(None, None, -1) if turned else slice(None)
        before, now = confirm(sides[order], gpu.plan, lambda: clock.last)[order]
        cycles = [side.cycles(series) for side, series in zip(sides, (before, now), strict=True)]
    finally:
        station.close()
    low, high = log_ratio_interval(now.samples_us, before.samples_us, gpu.plan.alpha)
    return Comparison(
        recorded_us=before.median_us,
        today_us=now.median_us,
        low=math.exp(low),
        high=math.exp(high),
        time=relation(now.samples_us, before.samples_us, gpu.plan),
        cycles=relation(cycles[1], cycles[0], gpu.plan) if all(map(math.isfinite, chain(*cycles))) else None,
        throttled=before.throttled + now.throttled > 0,
    )


class _Clock:
    """Reads the conditions after each batch and remembers them."""

    def __init__(self, probe: Probe) -> None:
        self._probe = probe
        self.last: Conditions | None = None

    def read(self) -> float:
        """The SM clock in MHz; not a number where it is unknown."""
        self.last = self._probe()
        return math.nan if self.last is None else self.last.sm_mhz


class _Clocked:
    """A runner that notes the clock after each batch, and says whose errors are whose."""

    def __init__(self, side: Side, runner: Runner, clock: _Clock) -> None:
        self._side, self._runner, self._clock = side, runner, clock
        self._noted: list[tuple[float, float]] = []
        self.step = runner.step

    def run(self, launches: int) -> float:
        with _blaming(self._side):
            elapsed_us = self._runner.run(launches)
        self._noted.append((elapsed_us / launches, self._clock.read()))
        return elapsed_us

    def cycles(self, series: Series) -> list[float]:
        """Cycles of each sample; warm-up and rounds that were thrown away are noted too, and passed over."""
        noted = iter(self._noted)
        return [us * next(mhz for time_us, mhz in noted if time_us == us) for us in series.samples_us]


class _Recorded(Runner):
    """The recorded code, which is launched as it was when it was recorded."""

    def __init__(self, station: Station, recorded: Launchable, config: Config, case: Case) -> None:
        self._launch = LaunchShape(recorded.grid, recorded.block, recorded.shared_bytes), recorded.integers
        super().__init__(station, _code(recorded), config, case, None)

    def _how(self, problem: Problem) -> tuple[Any, ...]:
        return self._launch


def _code(code: Launchable) -> Code:
    return Code(code.ptx.encode(), code.entry, code.block, code.shared_bytes)


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
