"""Checks and times tactics on GPUs, however they get onto them."""

from __future__ import annotations

import math
import threading
from collections.abc import Hashable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from queue import SimpleQueue
from statistics import median

from tuner.backends.base import as_they_end
from tuner.backends.cuda.bench import Bench
from tuner.backends.cuda.cases import Cases
from tuner.backends.cuda.mixed import Mixed
from tuner.backends.cuda.pace import Pace
from tuner.backends.cuda.prepared import Prepared
from tuner.backends.cuda.station import FAULTS, PLACE_S, Loader, Runner, Station, failure
from tuner.backends.timing.plan import Confirmation, Screening
from tuner.backends.timing.sampling import Series, confirm, screen
from tuner.backends.timing.statistics import indistinct, launch_bound, relation
from tuner.compile.artifact import Code
from tuner.compile.steps import CompiledSteps
from tuner.gpu.conditions import Nvml
from tuner.gpu.present import DeviceInfo
from tuner.outcome import Failure, FailureClass, Outcome, Timing
from tuner.search.tactic import Config


class Measurer:
    """Checks and times the tactics of one problem on one GPU, or on several of one model.

    Every tactic is checked at the full size and, where dimensions vary, at awkward sizes within their
    range, then screened, at the sizes and weights that the problem gives. Finalists are checked again on
    other random inputs, then confirmed side by side, all on the first device.
    """

    def __init__(
        self,
        devices: Sequence[DeviceInfo],
        stations: Sequence[Station],
        prepared: Prepared,
        cases: Cases,
        loader: Loader,
        screening: Screening,
        confirmation: Confirmation,
        pace: Pace,
    ) -> None:
        """Take over what it takes to measure. Processes are not closed with this object: the next problem needs them.

        Args:
            devices, stations: the GPUs, and the processes that own them, in the same order.
            prepared: the code of the tactics.
            cases: what to check and time them on.
            loader: how they get onto a device.
            screening, confirmation: how long and how precisely to time.
            pace: says how many tactics should be on the way.
        """
        self.pace = pace
        self._info, self._stations = devices[0], stations
        self._nvml = [Nvml(d.uuid) for d in devices]
        self._prepared, self._cases, self._loader = prepared, cases, loader
        self._screening, self._confirmation = screening, confirmation
        self._empty_us: float | None = None
        self._incumbent_us: float | None = None
        self._lock = threading.Lock()  # of the incumbent's time and of the programs
        self._programs: dict[Hashable, Future[Outcome]] = {}
        self._queue: SimpleQueue[tuple[Config, Future[CompiledSteps], Future[Outcome]] | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []

    def begin(self, config: Config) -> Future[Outcome]:
        """Begin to compile a tactic; what is compiled next is measured next, on whichever device is free."""
        outcome: Future[Outcome] = Future()
        if not self._threads:
            for pair in zip(self._stations, self._nvml, strict=True):
                self._threads.append(threading.Thread(target=self._work, args=pair, daemon=True))
                self._threads[-1].start()

        def ready(compiled: Future[CompiledSteps]) -> None:
            self.pace.ready(self._queue.qsize())
            self._queue.put((config, compiled, outcome))

        self._prepared.begin(config).add_done_callback(ready)
        return outcome

    def _work(self, station: Station, nvml: Nvml) -> None:
        """Measure what is compiled, until there is nothing more to come."""
        first = True
        while True:
            waited, order = self._queue.empty(), self._queue.get()
            if order is None:
                return
            config, compiled, outcome = order
            self.pace.taken(waited and not first)
            first = False
            if outcome.set_running_or_notify_cancel():
                try:
                    outcome.set_result(self._once(station, nvml, config, compiled.result()))
                except BaseException as e:  # whoever waits for it would wait forever
                    outcome.set_exception(e)

    def confirm(self, configs: Sequence[Config]) -> list[Outcome]:
        """Time the finalists in turns. One that fails now is left out, and the others start over.

        Of those that are the same code, launched in the same way, one is timed for all.
        """
        for config in configs:
            self._prepared.begin(config)
        compiled = [self._prepared.result(c) for c in configs]
        outcomes: dict[int, Outcome] = {i: r for i, r in enumerate(compiled) if isinstance(r, Failure)}
        first: dict[Hashable, int] = {}
        codes = {i: code for i, code in enumerate(compiled) if isinstance(code, Code)}
        same = {i: first.setdefault(self._program(configs[i], code), i) for i, code in codes.items()}
        while len(outcomes) < len(configs):
            outcomes |= {i: outcomes[j] for i, j in same.items() if j in outcomes}
            rest = {i: (configs[i], a) for i, a in codes.items() if same[i] == i and i not in outcomes}
            if not rest:
                continue
            try:
                outcomes.update(self._confirm(rest))
            except _FinalistFailed as e:
                outcomes[e.position] = e.failure
        return [outcomes[i] for i in range(len(configs))]

    def evaluate(self, configs: Sequence[Config]) -> Iterator[tuple[int, Outcome]]:
        """Yield outcomes as they come."""
        return as_they_end(self.begin, configs)

    def near(self, a: Timing, b: Timing) -> bool:
        """Whether two tactics that were screened, each on its own, may be equally fast."""
        half_widths = a.facts.get("half_width", 0.0) + b.facts.get("half_width", 0.0)
        return indistinct(a.time_us, b.time_us, half_widths)

    def tied(self, a: Timing, b: Timing) -> bool:
        """Whether two tactics that were confirmed together are equally fast, as far as that can be told."""
        return relation(a.samples_us, b.samples_us, self._confirmation) in ("tied", "open")

    def driver(self) -> str:
        """The version of the driver package, or "unknown"."""
        return self._nvml[0].driver()

    def close(self) -> None:
        """Finish what is being measured, and take the problem's tensors off the devices."""
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join()
        for station in self._stations:
            station.clear()

    def _once(self, station: Station, nvml: Nvml, config: Config, compiled: CompiledSteps) -> Outcome:
        """Check and screen a tactic, or say what another of the same code took that is launched in the same way."""
        if isinstance(compiled, Failure):
            return compiled
        program = self._program(config, compiled)
        with self._lock:
            twin, mine = self._programs.get(program), Future[Outcome]()
            if twin is None:
                self._programs[program] = mine
        if twin is not None:
            outcome = twin.result()
            if outcome.lasting and isinstance(outcome, Timing):
                return replace(outcome, facts={**outcome.facts, "measured_before": 1.0})
            return outcome if outcome.lasting else self._trial(station, nvml, config, compiled)
        try:
            outcome = self._trial(station, nvml, config, compiled)
        except BaseException as e:
            mine.set_exception(e)
            raise
        mine.set_result(outcome)
        if not outcome.lasting:
            with self._lock:
                del self._programs[program]
        return outcome

    def _program(self, config: Config, code: Code) -> Hashable:
        """What a device does for a tactic: the code, and how it is launched at every size that it is tried at."""
        sizes = [case.problem for case, _ in self._cases.timed()] + [c.problem for c in self._cases.to_check(config)]
        launches = [step.problem.launch(step.config) for problem in sizes for step in problem.steps(config)]
        shapes = [(artifact.block, artifact.shared_bytes) for artifact in code.steps]
        return code.digest, *shapes, *((x.grid, x.args) for x in launches)

    def _trial(self, station: Station, nvml: Nvml, config: Config, compiled: Code) -> Outcome:
        """Check one tactic, then screen it."""
        with station.lock:
            self._loader.refresh(station)
            try:
                with closing(self._runner(station, compiled, config)) as runner:
                    checked = 0
                    for case in self._cases.to_check(config):
                        fault = runner.check(case)
                        if fault is not None:
                            return Failure(FailureClass.CORRECTNESS, fault)
                        checked += case.checked
                    series = screen(runner, self._incumbent_us, self._screening, nvml.read)
                    facts = {**self._facts(station, compiled, series, runner.step), "checked_elements": float(checked)}
                    facts |= runner.facts
            except FAULTS as e:
                return failure(e)
        timing = _timing(series, facts)
        with self._lock:
            if self._incumbent_us is None or timing.time_us < self._incumbent_us:
                self._incumbent_us = timing.time_us
        return timing

    def _confirm(self, finalists: Mapping[int, tuple[Config, Code]]) -> dict[int, Outcome]:
        """Check finalists on other inputs and time them in turns; raises `_FinalistFailed`."""
        station, fresh = self._stations[0], self._cases.fresh()
        runners: dict[int, Runner | Mixed] = {}
        with station.lock:
            try:
                for i, (config, code) in finalists.items():
                    with _blaming(i):
                        runners[i] = self._runner(station, code, config)
                        fault = runners[i].check(fresh)
                    if fault is not None:
                        raise _FinalistFailed(i, Failure(FailureClass.CORRECTNESS, fault))
                blamed = [_Finalist(i, runner) for i, runner in runners.items()]
                all_series = confirm(blamed, self._confirmation, self._nvml[0].read)
                outcomes: dict[int, Outcome] = {}
                for (i, runner), series in zip(runners.items(), all_series, strict=True):
                    facts = self._facts(station, finalists[i][1], series, runner.step)
                    outcomes[i] = _timing(series, {**facts, "rounds": float(len(series.samples_us)), **runner.facts})
                return outcomes
            finally:
                for runner in runners.values():
                    runner.close()

    def _runner(self, station: Station, code: Code, config: Config) -> Runner | Mixed:
        """Make a tactic ready to be timed at every size that counts."""
        with ExitStack() as opened:
            parts = []
            for case, share in self._cases.timed():
                runner = self._loader.runner(station, code, config, case, self._incumbent_us)
                opened.callback(runner.close)
                parts.append((runner, share))
            opened.pop_all()
        return parts[0][0] if len(parts) == 1 else Mixed(parts)

    def _facts(self, station: Station, code: Code, series: Series, sets: int) -> dict[str, float]:
        """Numbers about a run."""
        if self._empty_us is None:
            self._empty_us = station.call(PLACE_S, Bench.empty_us)
        touched = min(station.sets(case) * case.workload.size for case, _ in self._cases.timed())
        facts: dict[str, float] = {
            "launches_per_sample": series.launches,
            "discarded_rounds": series.discarded,
            "throttled_rounds": series.throttled,
            "rotating_sets": sets,
            "rotated_l2_sizes": touched / self._info.l2_bytes,
            "empty_launch_us": self._empty_us,
            "launch_bound": launch_bound(series.median_us, self._empty_us),
            "stopped_early": series.stopped == "slow",
            "registers": max(a.resources.registers for a in code.steps),
            "spill_bytes": sum(a.resources.spill_store_bytes + a.resources.spill_load_bytes for a in code.steps),
            "shared_bytes": max(a.resources.shared_bytes + a.shared_bytes for a in code.steps),
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
        self._position, self._runner, self.step = position, runner, runner.step

    def run(self, launches: int) -> float:
        with _blaming(self._position):
            return self._runner.run(launches)


def _timing(series: Series, facts: Mapping[str, float]) -> Timing:
    half_width = series.half_width()
    known = {"half_width": half_width} if math.isfinite(half_width) else {}
    checked = "held against the reference on the GPU, at every size that is timed"
    return Timing(
        series.median_us, "measurement", "median", series.samples_us, facts={**facts, **known}, checked=checked
    )
