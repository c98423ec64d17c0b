"""One GPU and the process that owns it: checks a tactic, times it, and outlives what it does."""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from tuner.backends.cuda.bench import Evidence
from tuner.backends.cuda.cases import Case, judge
from tuner.backends.cuda.isolated import Factory, Isolated, WorkerDied, WorkerError, WorkerTimeout
from tuner.errors import UnavailableError
from tuner.gpu.driver import DriverError, LaunchShape
from tuner.kernel.problem import Problem
from tuner.outcome import Failure, FailureClass
from tuner.search.tactic import Config

PLACE_S = 120.0
"""Longest time to allocate and fill a problem's tensors, or to load a module."""

LIMIT_FACTOR = 100
"""A launch that takes so many times the incumbent's time counts as hanging..."""

LIMIT_SLACK_S = 1.0
"""...after this much more, which also covers what the host does around a launch."""

SLOWEST_BYTES_PER_S, SLOWEST_FLOPS_PER_S = 1e9, 1e11
"""What any usable tactic reaches, where there is no incumbent yet; a thousandth of an H200."""


@dataclass(frozen=True, eq=False)
class Code:
    """A tactic as it is launched: machine code, or PTX that the driver assembles when it loads it."""

    image: bytes
    entry: str
    block: tuple[int, int, int]
    shared_bytes: int


class Refused(Exception):  # noqa: N818
    """A tactic that cannot be made ready to run; carries the failure of its trial."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure)
        self.failure = failure


FAULTS = (DriverError, WorkerError, Refused)
"""What a tactic that fails makes a station or runner raise."""


class Station:
    """Runs tactics on one device. Each method is used from one thread at a time."""

    def __init__(self, factory: Factory, lock: threading.Lock) -> None:
        """Start the process that owns the device.

        Args:
            factory: makes a `Bench`.
            lock: held by whoever uses the device, in case two stations share one.
        """
        self.lock = lock
        self._cases: dict[int, Case] = {}
        self._sets: dict[tuple[int, int], int] = {}
        self._process = Isolated(factory)

    @property
    def generation(self) -> int:
        """How many processes have come and gone: what was loaded or placed in one is lost with it."""
        return self._process.replaced

    def call(self, method: str, *args: Any, timeout_s: float = PLACE_S) -> Any:
        """Call a method of the `Bench`."""
        return self._process.call(method, *args, timeout_s=timeout_s)

    def sets(self, case: Case) -> int:
        """How many copies of the case's tensors are on the device; places them if there are none.

        Raises:
            UnavailableError: when the device's memory does not hold even one.
        """
        self._cases[id(case)] = case  # keeps it alive, so that nothing else gets its id
        key = (self.generation, id(case))
        if key not in self._sets:
            try:
                self._sets[key] = int(self.call("place", id(case), case.workload))
            except DriverError as e:
                if e.name != "CUDA_ERROR_OUT_OF_MEMORY":
                    raise
                size = case.workload.size / 2**30
                raise UnavailableError(
                    f"{case.problem} takes {size:.2f} GiB, more than the GPU has free; use smaller dims"
                ) from e
        return self._sets[key]

    def restart(self) -> None:
        """Go on in a clean process, because memory may have been overwritten."""
        self._process.replace()

    def close(self) -> None:
        """End the process."""
        self._process.close()


class Runner:
    """A tactic on a station: the `Sampler` of its launches at the usual size.

    Attributes:
        step: launches that go together, one on each set of tensors.
        facts: numbers about making it ready, with the unit in the name.
    """

    methods = ("check", "time", "unload")
    """What the process that owns the device calls checking, timing and unloading."""
    slack_s = LIMIT_SLACK_S
    """Time that a call may take besides that of its launches."""

    def __init__(self, station: Station, code: Code, config: Config, case: Case, incumbent_us: float | None) -> None:
        """Load the tactic.

        Args:
            station: where it runs.
            code: the tactic.
            config: its configuration, for the grid.
            case: what it is timed on.
            incumbent_us: the best time so far, which time limits follow from.
        """
        self._station, self._code, self._config, self._case = station, code, config, case
        self._launch_s = _longest_launch_s(case.problem, incumbent_us)
        self._last_us: float | None = None
        self.facts: dict[str, float] = {}
        self.step = station.sets(case)
        self._generation = station.generation
        self._handle = self._load()

    def check(self, case: Case) -> str | None:
        """Launch at one size and judge what comes out; None when it is right."""
        self._station.sets(case)
        evidence: Evidence = self._station.call(
            self.methods[0], self._handle, id(case), *self._how(case.problem), timeout_s=self.slack_s + self._launch_s
        )
        fault = judge(case, evidence)
        if any(evidence.guards) or evidence.changed:
            self._station.restart()
        return fault

    def run(self, launches: int) -> float:
        expected_s = self._launch_s if self._last_us is None else 10 * self._last_us / 1e6
        elapsed_us: float = self._station.call(
            self.methods[1],
            self._handle,
            id(self._case),
            *self._how(self._case.problem),
            launches,
            timeout_s=self.slack_s + launches * expected_s,
        )
        self._last_us = elapsed_us / launches
        return elapsed_us

    def close(self) -> None:
        """Unload the tactic, unless the process that held it is gone."""
        if self._generation == self._station.generation:
            with suppress(DriverError, WorkerError):
                self._station.call(self.methods[2], self._handle)

    def _load(self) -> int:
        """Load the tactic; returns its handle."""
        code = self._code
        return int(self._station.call("load", code.image, code.entry, code.shared_bytes))

    def _how(self, problem: Problem) -> tuple[Any, ...]:
        """What a launch at this size takes besides tensors: grid, block and shared memory, and integers."""
        launch = problem.launch(self._config)
        x, y, z = (int(n) for n in launch.grid)  # type: ignore[arg-type]
        integers = tuple(int(a) for a in launch.args)  # type: ignore[arg-type]
        return LaunchShape((x, y, z), self._code.block, self._code.shared_bytes), integers


def failure(error: DriverError | WorkerError | Refused) -> Failure:
    """What a trial that ended this way is recorded as: no verdict on the code, for it may be the device's doing."""
    if isinstance(error, Refused):
        return error.failure
    if isinstance(error, WorkerTimeout):
        return Failure(FailureClass.TIMEOUT, f"the launch did not end: {error}", lasting=False)
    if isinstance(error, WorkerDied):
        return Failure(FailureClass.RUNTIME, f"the launch took the process down: {error}", lasting=False)
    return Failure(FailureClass.RUNTIME, f"the launch failed: {error}", lasting=False)


def _longest_launch_s(problem: Problem, incumbent_us: float | None) -> float:
    if incumbent_us is not None:
        return LIMIT_FACTOR * incumbent_us / 1e6
    return problem.bytes() / SLOWEST_BYTES_PER_S + problem.flops() / SLOWEST_FLOPS_PER_S
