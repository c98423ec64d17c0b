"""One GPU and the process that owns it: checks a tactic, times it, and outlives what it does."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from math import prod
from typing import Any, Concatenate, ParamSpec, Protocol, TypeAlias, TypeVar

from tuner.backends.cuda.bench import Bench, Evidence, LaunchPlan, StepLaunch, Workspace
from tuner.backends.cuda.cases import Case, judge
from tuner.backends.cuda.isolated import Factory, Isolated
from tuner.compile.artifact import Code, Loadable
from tuner.errors import UnavailableError
from tuner.frontends.dtypes import itemsize
from tuner.gate.inputs import poison
from tuner.gpu.driver import DriverError, LaunchShape
from tuner.kernel.problem import Problem
from tuner.outcome import Failure, FailureClass, TacticError
from tuner.search.tactic import Config
from tuner.workers.faults import WorkerDied, WorkerError, WorkerTimeout

P = ParamSpec("P")
T = TypeVar("T")

PLACE_S = 120.0
"""Longest time to allocate and fill a problem's tensors, or to load a module."""

LIMIT_FACTOR = 100
"""A launch that takes so many times the incumbent's time counts as hanging..."""

LIMIT_SLACK_S = 5.0
"""...after this much more, which also covers what a busy host does around a launch."""

SLOWEST_BYTES_PER_S, SLOWEST_FLOPS_PER_S = 1e9, 1e11
"""What any usable tactic reaches, where there is no incumbent yet; a thousandth of an H200."""


FAULTS = (DriverError, WorkerError, TacticError)
"""What a tactic that fails makes a station or runner raise."""

How: TypeAlias = "Callable[[Problem], LaunchPlan]"
"""How a tactic is launched at a size."""


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

    def call(self, timeout_s: float, method: Callable[Concatenate[Any, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a method of the `Bench`; see `Isolated.call`."""
        return self._process.call(timeout_s, method, *args, **kwargs)

    def sets(self, case: Case) -> int:
        """How many copies of the case's tensors are on the device; places them if there are none.

        Raises:
            UnavailableError: when the device's memory does not hold even one.
        """
        self._cases[id(case)] = case  # keeps it alive, so that nothing else gets its id
        key = (self.generation, id(case))
        if key not in self._sets:
            try:
                self._sets[key] = self.call(PLACE_S, Bench.place, id(case), case.workload)
            except DriverError as e:
                if e.name != "CUDA_ERROR_OUT_OF_MEMORY":
                    raise
                size = case.workload.size / 2**30
                raise UnavailableError(
                    f"{case.problem} takes {size:.2f} GiB, more than the GPU has free; use smaller dims"
                ) from e
        return self._sets[key]

    def clear(self) -> None:
        """Take all tensors off the device, for those of another problem."""
        placed, self._cases, self._sets = bool(self._sets), {}, {}
        if placed:
            with self.lock, suppress(DriverError, WorkerError):  # after which the process is a new one
                self.call(PLACE_S, Bench.clear)

    def restart(self) -> None:
        """Go on in a clean process, because memory may have been overwritten."""
        self._process.replace()

    def stop(self) -> None:
        """Begin to end the process."""
        self._process.stop()

    def close(self) -> None:
        """End the process."""
        self._process.close()


class Loaded(Protocol):
    """A tactic on a station's device, ready to be launched.

    Attributes:
        slack_s: time that a call may take besides that of its launches.
        facts: numbers about making it ready, with the unit in the name.
    """

    slack_s: float
    facts: Mapping[str, float]

    def check(self, case: Case, timeout_s: float) -> Evidence:
        """Launch once at the size of a case that was placed, and look at what came of it."""

    def time(self, case: Case, launches: int, timeout_s: float) -> float:
        """Launch back to back on a case; returns the microseconds that all launches took together."""

    def unload(self) -> None:
        """Make room on the device."""


class LoadedCode:
    """PTX of each launch, loaded and launched as TensorRT does both: a `Loaded`."""

    slack_s = LIMIT_SLACK_S
    facts: Mapping[str, float] = {}

    def __init__(self, station: Station, steps: Sequence[Loadable], how: How) -> None:
        """Load the code of each launch; `how` says how they are launched at each size."""
        self._station, self._how = station, how
        self._handles: list[int] = []
        for code in steps:
            image = code.ptx.encode()
            self._handles.append(station.call(PLACE_S, Bench.load, image, code.entry, code.shared_bytes))

    def check(self, case: Case, timeout_s: float) -> Evidence:
        return self._station.call(timeout_s, Bench.check, self._handles, id(case), self._how(case.problem))

    def time(self, case: Case, launches: int, timeout_s: float) -> float:
        plan = self._how(case.problem)
        return self._station.call(timeout_s, Bench.time, self._handles, id(case), plan, launches)

    def unload(self) -> None:
        for handle in self._handles:
            self._station.call(PLACE_S, Bench.unload, handle)


def as_declared(steps: Sequence[Loadable], config: Config) -> How:
    """Launch as the kernel's declaration says."""

    def how(problem: Problem) -> LaunchPlan:
        launches = []
        for step, code in zip(problem.steps(config), steps, strict=True):
            launch = step.problem.launch(step.config)
            x, y, z = (int(n) for n in launch.grid)  # type: ignore[arg-type]
            integers = tuple(int(a) for a in launch.args)  # type: ignore[arg-type]
            launches.append((LaunchShape((x, y, z), code.block, code.shared_bytes), integers))
        return plan_launches(problem, config, launches)

    return how


def plan_launches(
    problem: Problem, config: Config, launches: Sequence[tuple[LaunchShape, tuple[int, ...]]]
) -> LaunchPlan:
    """Which tensors each launch of a tactic takes, at fixed sizes.

    Args:
        problem: at these sizes.
        config: the tactic.
        launches: for each step, how it is launched, and the extra integers.
    """
    names = [*problem.kernel.inputs, *problem.kernel.outputs]
    workspace: list[Workspace] = []
    steps = []
    for step, (shape, integers) in zip(problem.steps(config), launches, strict=True):
        for tensor, name in zip(step.problem.kernel.outputs.values(), step.outputs, strict=True):
            if name not in names:
                names.append(name)
                dtype = step.problem.dtype(tensor)
                size = prod(step.problem.shape(tensor)) * itemsize(dtype)
                workspace.append(Workspace(name, size, poison(dtype)))
        inputs, outputs = (tuple(map(names.index, group)) for group in (step.inputs, step.outputs))
        steps.append(StepLaunch(shape, integers, inputs, outputs))
    return LaunchPlan(tuple(steps), tuple(workspace))


class Runner:
    """A tactic on a station: the `Timeable` of its launches at one size.

    Attributes:
        step: launches that go together, one on each set of tensors.
        facts: numbers about making it ready, with the unit in the name.
    """

    def __init__(self, station: Station, load: Callable[[], Loaded], case: Case, launch_s: float) -> None:
        """Place the tensors, then load the tactic.

        Args:
            station: where it runs.
            load: puts the tactic on the station's device.
            case: what it is timed on.
            launch_s: the longest that a launch may take.
        """
        self._station, self._case, self._launch_s = station, case, launch_s
        self._last_us: float | None = None
        self.step = station.sets(case)
        self._generation = station.generation
        self._loaded = load()
        self.facts = self._loaded.facts

    def check(self, case: Case) -> str | None:
        """Launch at one size and judge what comes out; None when it is right."""
        self._station.sets(case)
        evidence = self._loaded.check(case, self._loaded.slack_s + self._launch_s)
        fault = judge(case, evidence)
        if any(evidence.guards) or evidence.changed or evidence.workspace:
            self._station.restart()
        return fault

    def run(self, launches: int) -> float:
        expected_s = self._launch_s if self._last_us is None else 10 * self._last_us / 1e6
        elapsed_us = self._loaded.time(self._case, launches, self._loaded.slack_s + launches * expected_s)
        self._last_us = elapsed_us / launches
        return elapsed_us

    def close(self) -> None:
        """Unload the tactic, unless the process that held it is gone."""
        if self._generation == self._station.generation:
            with suppress(DriverError, WorkerError):
                self._loaded.unload()


class Loader(ABC):
    """How tactics get onto a device."""

    @abstractmethod
    def runner(self, station: Station, code: Code, config: Config, case: Case, incumbent_us: float | None) -> Runner:
        """Make a tactic ready to be timed on a case.

        Args:
            station: where; its lock is held.
            code, config: the tactic.
            case: what it is timed on.
            incumbent_us: the best time so far, which time limits follow from; None while there is none.

        Raises:
            DriverError, WorkerError, TacticError: when the tactic is at fault.
        """

    def refresh(self, station: Station) -> None:  # noqa: B027
        """Give the station a new process if it needs one; called between trials, with the station's lock held."""


class CodeLoader(Loader):
    """Has the driver load the PTX, and launches it."""

    def runner(self, station: Station, code: Code, config: Config, case: Case, incumbent_us: float | None) -> Runner:
        steps = [artifact.loadable for artifact in code.steps]
        limit_s = longest_launch_s(case.problem, incumbent_us)
        return Runner(station, lambda: LoadedCode(station, steps, as_declared(steps, config)), case, limit_s)


def failure(error: DriverError | WorkerError | TacticError) -> Failure:
    """What a trial that ended this way is recorded as: no verdict on the code, for it may be the device's doing."""
    if isinstance(error, TacticError):
        return error.failure
    if isinstance(error, WorkerTimeout):
        return Failure(FailureClass.TIMEOUT, f"the launch did not end: {error}", lasting=False)
    if isinstance(error, WorkerDied):
        return Failure(FailureClass.RUNTIME, f"the launch took the process down: {error}", lasting=False)
    return Failure(FailureClass.RUNTIME, f"the launch failed: {error}", lasting=False)


def longest_launch_s(problem: Problem, incumbent_us: float | None) -> float:
    """Seconds after which a launch counts as hanging; `incumbent_us` is the best time so far, if there is one."""
    if incumbent_us is not None:
        return LIMIT_FACTOR * incumbent_us / 1e6
    return problem.bytes() / SLOWEST_BYTES_PER_S + problem.flops() / SLOWEST_FLOPS_PER_S
