"""The backend that times tactics on a GPU through CUDA's driver API, launched as TensorRT launches them."""

from __future__ import annotations

import importlib.metadata
import math
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from queue import SimpleQueue
from statistics import median
from typing import Protocol, TypeAlias

from tuner.backends.cuda.ahead import AheadCompiler
from tuner.backends.cuda.bench import Bench
from tuner.backends.cuda.cases import Case, make_case
from tuner.backends.cuda.isolated import Factory
from tuner.backends.cuda.mixed import Mixed
from tuner.backends.cuda.station import FAULTS, Code, Runner, Station, failure
from tuner.backends.timing.plan import CONFIRMATION, SCREENING, Confirmation, Screening
from tuner.backends.timing.sampling import Series, confirm, screen
from tuner.backends.timing.statistics import indistinct, launch_bound, relation
from tuner.compile.artifact import Artifact
from tuner.gate.instances import device_instances
from tuner.gpu.conditions import Nvml
from tuner.gpu.present import DeviceInfo, require_one_model
from tuner.kernel.problem import Problem
from tuner.outcome import Failure, FailureClass, Kind, Outcome, Timing
from tuner.search.tactic import Config, canonical

Ready: TypeAlias = "tuple[Artifact, Code] | Failure"

L2_SIZES = 2
"""A launch finds its tensors evicted when so many times the L2 was touched since they were used."""


class Compiles(Protocol):
    """What turns a configuration into PTX: `tuner.compile.compiler.Compiler`."""

    def submit(self, problem: Problem, config: Config) -> Future[Artifact | Failure]:
        """Begin to compile, or return the future of an earlier call."""

    def versions(self) -> Mapping[str, str]:
        """Names and versions of the tools."""

    def close(self) -> None:
        """Stop its processes."""


class CudaBackend:
    """Times tactics on one GPU, or on several of one model.

    Every tactic is checked at the full size and, where dimensions vary, at awkward sizes within their
    range, then screened, at the sizes and weights that the problem gives. Finalists are checked again on
    other random inputs, then confirmed side by side, all on the first device.
    """

    kind: Kind = "measurement"
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
        self._problem, self._compiler, self._seed = problem, compiler, seed
        self._screening, self._confirmation = screening, confirmation
        self.name = "cuda-warm" if warm else "cuda"  # times of one are never looked up for the other
        self._rotate_bytes = 0 if warm else L2_SIZES * devices[0].l2_bytes
        factories = factories or [partial(Bench, d.ordinal) for d in devices]
        locks = {d.uuid: threading.Lock() for d in devices}
        self._stations = [Station(f, locks[d.uuid]) for f, d in zip(factories, devices, strict=True)]
        processes = max(1, (os.cpu_count() or 4) // 4) if ahead_processes is None else ahead_processes
        self._ahead = AheadCompiler(factories[0], processes) if processes else None
        self._nvml = [Nvml(d.uuid) for d in devices]
        self._info = devices[0]
        self._ready: dict[str, Future[Ready]] = {}
        self._cases: dict[tuple[str, int], Case] = {}
        self._cases_lock = threading.Lock()
        self._empty_us: float | None = None
        self._incumbent_us: float | None = None
        self.device = devices[0].name
        self.capability: tuple[int, int] | None = devices[0].capability

    def prepare(self, configs: Sequence[Config]) -> None:
        for config in configs:
            self._prepared(config)

    def evaluate(self, configs: Sequence[Config]) -> Iterator[tuple[int, Outcome]]:
        """Whichever tactic is compiled next is measured next, on whichever device is free."""
        queue: SimpleQueue[int | None] = SimpleQueue()
        done: SimpleQueue[tuple[int, Outcome | Exception]] = SimpleQueue()
        stop = threading.Event()

        def work(station: Station, nvml: Nvml) -> None:
            while (i := queue.get()) is not None and not stop.is_set():
                try:
                    done.put((i, self._trial(station, nvml, configs[i], self._prepared(configs[i]).result())))
                except Exception as e:
                    done.put((i, e))

        threads = [
            threading.Thread(target=work, args=pair, daemon=True)
            for pair in zip(self._stations, self._nvml, strict=True)
        ]
        for thread in threads:
            thread.start()
        try:
            for i, config in enumerate(configs):
                self._prepared(config).add_done_callback(lambda _, i=i: queue.put(i))  # type: ignore[misc]
            for _ in configs:
                i, outcome = done.get()
                if isinstance(outcome, Exception):
                    raise outcome
                yield i, outcome
        finally:
            stop.set()
            for _ in threads:
                queue.put(None)
            for thread in threads:
                thread.join()

    def confirm(self, configs: Sequence[Config]) -> list[Outcome]:
        """Time the finalists in turns. One that fails now is left out, and the others start over."""
        self.prepare(configs)
        ready = [self._prepared(c).result() for c in configs]
        outcomes: dict[int, Outcome] = {i: r for i, r in enumerate(ready) if isinstance(r, Failure)}
        while len(outcomes) < len(configs):
            rest = [i for i in range(len(configs)) if i not in outcomes]
            try:
                outcomes.update(self._confirm({i: configs[i] for i in rest}, ready))
            except _FinalistFailed as e:
                outcomes[e.position] = e.failure
        return [outcomes[i] for i in range(len(configs))]

    def tied(self, a: Timing, b: Timing) -> bool:
        if "rounds" in a.facts and "rounds" in b.facts:
            return relation(a.samples_us, b.samples_us, self._confirmation) in ("tied", "open")
        half_widths = a.facts.get("half_width", 0.0) + b.facts.get("half_width", 0.0)
        return indistinct(a.time_us, b.time_us, half_widths)

    def compiled(self, config: Config) -> Artifact | None:
        ready = self._prepared(config).result()
        return None if isinstance(ready, Failure) else ready[0]

    def environment(self) -> Mapping[str, str]:
        return {
            **self._compiler.versions(),
            "device": self._info.name,
            "driver": self._nvml[0].driver(),
            "cuda": ".".join(map(str, self._info.cuda)),
            "cuda-bindings": importlib.metadata.version("cuda-bindings"),
            "cache": "cold" if self._rotate_bytes else "warm",
        }

    def close(self) -> None:
        if self._ahead is not None:
            self._ahead.close()
        for station in self._stations:
            station.close()
        self._compiler.close()

    def _prepared(self, config: Config) -> Future[Ready]:
        """The tactic's PTX, compiled by the driver too; begun at the first call."""
        key = canonical(config)
        if key in self._ready:
            return self._ready[key]
        ready: Future[Ready] = Future()
        self._ready[key] = ready

        def compiled(future: Future[Artifact | Failure]) -> None:
            with _settling(ready):
                artifact = future.result()
                if isinstance(artifact, Failure):
                    ready.set_result(artifact)
                elif self._ahead is None:
                    ready.set_result((artifact, _code(artifact)))
                else:
                    self._ahead.submit(artifact.ptx, lambda done: accepted(artifact, done))

        def accepted(artifact: Artifact, future: Future[Failure | None]) -> None:
            with _settling(ready):
                refused = future.result()
                ready.set_result(refused or (artifact, _code(artifact)))

        self._compiler.submit(self._problem, config).add_done_callback(compiled)
        return ready

    def _trial(self, station: Station, nvml: Nvml, config: Config, ready: Ready) -> Outcome:
        """Check one tactic, then screen it."""
        if isinstance(ready, Failure):
            return ready
        artifact, code = ready
        with station.lock:
            try:
                with closing(self._timed(station, artifact, code, config)) as runner:
                    checked = 0
                    for case in self._gate(config):
                        fault = runner.check(case)
                        if fault is not None:
                            return Failure(FailureClass.CORRECTNESS, fault)
                        checked += case.checked
                    series = screen(runner, self._incumbent_us, self._screening, nvml.read)
                    facts = {**self._facts(station, artifact, series, runner.step), "checked_elements": float(checked)}
                    facts |= runner.facts
            except FAULTS as e:
                return failure(e)
        timing = _timing(series, facts)
        if self._incumbent_us is None or timing.time_us < self._incumbent_us:
            self._incumbent_us = timing.time_us
        return timing

    def _confirm(self, configs: Mapping[int, Config], ready: Sequence[Ready]) -> dict[int, Outcome]:
        """Check finalists on other inputs and time them in turns; raises `_FinalistFailed`."""
        station = self._stations[0]
        fresh = self._case(self._problem.usual, self._seed + 1)
        runners: dict[int, Runner | Mixed] = {}
        artifacts: dict[int, Artifact] = {}
        with station.lock:
            try:
                for i, config in configs.items():
                    artifacts[i], code = _usable(ready[i])
                    with _blaming(i):
                        runners[i] = self._timed(station, artifacts[i], code, config)
                        fault = runners[i].check(fresh)
                    if fault is not None:
                        raise _FinalistFailed(i, Failure(FailureClass.CORRECTNESS, fault))
                samplers = [_Finalist(i, runner) for i, runner in runners.items()]
                all_series = confirm(samplers, self._confirmation, self._nvml[0].read)
                outcomes: dict[int, Outcome] = {}
                for finalist, series in zip(samplers, all_series, strict=True):
                    i = finalist.position
                    facts = self._facts(station, artifacts[i], series, finalist.step)
                    rounds = {"rounds": float(len(series.samples_us))}
                    outcomes[i] = _timing(series, {**facts, **rounds, **runners[i].facts})
                return outcomes
            finally:
                for runner in runners.values():
                    runner.close()

    def _timed(self, station: Station, artifact: Artifact, code: Code, config: Config) -> Runner | Mixed:
        """Make a tactic ready to be timed at every size that counts."""
        with ExitStack() as opened:
            parts = []
            for problem, share in self._problem.shares:
                runner = self._runner(station, artifact, code, config, self._case(problem, self._seed))
                opened.callback(runner.close)
                parts.append((runner, share))
            opened.pop_all()
        return parts[0][0] if len(parts) == 1 else Mixed(parts)

    def _runner(self, station: Station, artifact: Artifact, code: Code, config: Config, case: Case) -> Runner:
        """Make a tactic ready to be timed on a case."""
        return Runner(station, code, config, case, self._incumbent_us)

    def _gate(self, config: Config) -> list[Case]:
        """Every size to check a tactic at: the one it is timed at, and awkward ones within the range."""
        problems = {p.label: p for p in (self._problem.usual, *device_instances(self._problem, config))}
        return [self._case(p, self._seed) for p in problems.values()]

    def _case(self, problem: Problem, seed: int) -> Case:
        """The problem's inputs and reference, made once for all tactics. Only sizes that are timed rotate."""
        key = (problem.label, seed)
        with self._cases_lock:
            if key not in self._cases:
                timed = seed == self._seed and any(p.label == problem.label for p, _ in self._problem.shares)
                self._cases[key] = make_case(problem, seed, self._rotate_bytes if timed else 0)
            return self._cases[key]

    def _facts(self, station: Station, artifact: Artifact, series: Series, sets: int) -> dict[str, float]:
        """Numbers about a run."""
        if self._empty_us is None:
            self._empty_us = float(station.call("empty_us"))
        cases = [self._case(problem, self._seed) for problem, _ in self._problem.shares]
        touched = min(station.sets(case) * case.workload.size for case in cases)
        facts: dict[str, float] = {
            "launches_per_sample": series.launches,
            "discarded_rounds": series.discarded,
            "throttled_rounds": series.throttled,
            "rotating_sets": sets,
            "rotated_l2_sizes": touched / self._info.l2_bytes,
            "empty_launch_us": self._empty_us,
            "launch_bound": launch_bound(series.median_us, self._empty_us),
            "stopped_early": series.stopped == "slow",
            "registers": artifact.resources.registers,
            "spill_bytes": artifact.resources.spill_store_bytes + artifact.resources.spill_load_bytes,
            "shared_bytes": artifact.resources.shared_bytes + artifact.shared_bytes,
        }
        for name in ("sm_mhz", "memory_mhz", "temperature_c", "power_w"):
            if series.conditions:
                facts[name] = median(getattr(c, name) for c in series.conditions)
        return {name: float(value) for name, value in facts.items() if math.isfinite(value)}


class _FinalistFailed(Exception):  # noqa: N818
    """A finalist that fails ends the confirmation under way."""

    def __init__(self, position: int, failure: Failure) -> None:
        super().__init__(position, failure)
        self.position, self.failure = position, failure


@contextmanager
def _blaming(position: int) -> Iterator[None]:
    """Say whose doing an error of the device is."""
    try:
        yield
    except FAULTS as e:
        raise _FinalistFailed(position, failure(e)) from e


class _Finalist:
    """A runner whose errors say which finalist it is."""

    def __init__(self, position: int, runner: Runner | Mixed) -> None:
        self.position, self._runner, self.step = position, runner, runner.step

    def run(self, launches: int) -> float:
        with _blaming(self.position):
            return self._runner.run(launches)


def _code(artifact: Artifact) -> Code:
    """What a device loads: PTX, as TensorRT has it."""
    return Code(artifact.ptx.encode(), artifact.entry, artifact.block, artifact.shared_bytes)


@contextmanager
def _settling(future: Future[Ready]) -> Iterator[None]:
    """Hand an exception on to whoever waits for the future; without that they would wait forever."""
    try:
        yield
    except BaseException as e:
        future.set_exception(e)


def _usable(ready: Ready) -> tuple[Artifact, Code]:
    assert not isinstance(ready, Failure)
    return ready


def _timing(series: Series, facts: Mapping[str, float]) -> Timing:
    half_width = series.half_width()
    known = {"half_width": half_width} if math.isfinite(half_width) else {}
    checked = "held against the reference on the GPU, at every size that is timed"
    return Timing(
        series.median_us, "measurement", "median", series.samples_us, facts={**facts, **known}, checked=checked
    )
