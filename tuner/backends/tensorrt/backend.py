"""The backend that times tactics inside TensorRT engines.

For each tactic an engine is built whose plugin offers nothing else, on the device and in the process
that then runs it, so that a build never disturbs a measurement and a build that crashes or hangs costs
one trial. The engine is checked and timed as the `cuda` backend does, with one run of the engine
(`execute_async_v3`) in the place of one launch.

Finalists get two more answers: which of them TensorRT's builder chooses when it is offered them all,
and, where the job names a network around the plugin, how long that takes with the default and with the
fastest finalist.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import partial
from pathlib import Path

from tuner.backends.base import Backend
from tuner.backends.cuda.backend import measured_compiler, origin, predictor, rotated_bytes
from tuner.backends.cuda.cases import Cases
from tuner.backends.cuda.equipment import Equipment, equip
from tuner.backends.cuda.measurer import Measurer
from tuner.backends.cuda.prepared import Prepared
from tuner.backends.cuda.station import FAULTS
from tuner.backends.kept import Closable, Kept
from tuner.backends.model.predictor import Predictor
from tuner.backends.setting import Opening
from tuner.backends.tensorrt.bench import EngineBench
from tuner.backends.tensorrt.loader import EngineBuilder, EngineLoader, EngineOptions
from tuner.backends.tensorrt.options import TensorrtOptions
from tuner.backends.tensorrt.order import Built, Host
from tuner.backends.tensorrt.runner import network_case, network_runner, unload_engine
from tuner.backends.timing.plan import CONFIRMATION, SCREENING, Confirmation, Screening
from tuner.backends.timing.sampling import Series, confirm
from tuner.compile.artifact import Code
from tuner.compile.blobs import default_folder
from tuner.compile.steps import disassembled_steps
from tuner.gpu.conditions import Nvml
from tuner.gpu.present import describe
from tuner.kernel.problem import Problem
from tuner.kernel.references import ProblemSpec
from tuner.outcome import Failure, Origin, Outcome, Timing
from tuner.qdp.library import version
from tuner.search.tactic import Config, Tactic


class TensorrtBackend(Backend):
    """Times tactics on one GPU, or on several of one model, each in an engine of its own."""

    steady = False

    def __init__(
        self,
        problem: Problem,
        equipment: Equipment,
        options: EngineOptions,
        *,
        seed: int = 0,
        warm: bool = False,
        screening: Screening = SCREENING,
        confirmation: Confirmation = CONFIRMATION,
        predictor: Predictor | None = None,
        closes: Sequence[Closable] = (),
    ) -> None:
        """Measure with processes that are there; as for the cuda backend, but for `options`.

        The stations of the equipment make an `EngineBench` of this very problem.
        """
        self._problem, self._info, self._options = problem, equipment.devices[0], options
        self._compiler, self._predictor = equipment.compiler, predictor
        self._seed, self._warm, self._confirmation = seed, warm, confirmation
        self._equipment, self._closes = equipment, closes
        self._station, self._probe = equipment.stations[0], Nvml(self._info.uuid).read
        self._prepared = Prepared(problem, equipment.compiler, ahead=None)  # TensorRT takes PTX
        self._builder = EngineBuilder(problem, self._prepared, options)
        loader = EngineLoader(problem, self._builder, options.host is not None)
        cases = Cases(problem, seed, rotated_bytes(self._info, warm))
        self._measurer = Measurer(
            equipment.devices,
            equipment.stations,
            self._prepared,
            cases,
            loader,
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
        host = self._options.host
        found = origin("tensorrt", self._info, self._compiler, self._measurer.driver(), self._warm)
        own = {"tensorrt": version(), **({"network": Path(host.location).name} if host is not None else {})}
        return replace(found, environment={**found.environment, **own})

    def prepare(self, configs: Sequence[Config]) -> None:
        for config in configs:
            self._prepared.begin(config)

    def begin(self, config: Config) -> Future[Outcome]:
        return self._measurer.begin(config)

    def foresee(self, config: Config) -> Future[Outcome] | None:
        return None if self._predictor is None else self._predictor.submit(self._problem, config)

    def evaluate(self, configs: Sequence[Config]) -> Iterator[tuple[int, Outcome]]:
        return self._measurer.evaluate(configs)

    def near(self, a: Timing, b: Timing) -> bool:
        return self._measurer.near(a, b)

    def confirm(self, configs: Sequence[Config]) -> list[Outcome]:
        """Time the finalists in turns, let the builder choose among them, and time the network around them."""
        outcomes = self._measurer.confirm(configs)
        timed = {i: o for i, o in enumerate(outcomes) if isinstance(o, Timing)}
        if not timed:
            return outcomes
        facts: dict[int, dict[str, float]] = {i: {} for i in timed}
        best = min(timed, key=lambda i: timed[i].time_us)
        choice = self.builder_choice([configs[i] for i in timed])
        for i in timed if choice is not None else ():
            agrees = next(j for j in timed if Tactic(configs[j]) == choice)
            facts[i]["builder_chose"] = float(i == agrees)
            facts[i]["builder_agrees"] = float(agrees == best or self.tied(timed[agrees], timed[best]))
        if self._options.host is not None:
            default = next((i for i in timed if Tactic(configs[i]) == self._problem.kernel.default_tactic), best)
            chosen = list(dict.fromkeys([default, best]))
            try:
                for i, series in zip(chosen, self.network_times([configs[i] for i in chosen]), strict=True):
                    facts[i] |= {"network_us": series.median_us, "network_rounds": float(len(series.samples_us))}
            except FAULTS:
                facts |= {i: {**facts[i], "network_failed": 1.0} for i in chosen}
        return [
            replace(o, facts={**o.facts, **facts[i]}) if isinstance(o, Timing) else o for i, o in enumerate(outcomes)
        ]

    def tied(self, a: Timing, b: Timing) -> bool:
        return self._measurer.tied(a, b)

    def compiled(self, config: Config) -> Code | None:
        found = self._prepared.result(config)
        return None if isinstance(found, Failure) else disassembled_steps(found)

    def close(self) -> None:
        self._measurer.close()
        for thing in self._closes:
            thing.close()

    def engine(self, configs: Sequence[Config], fresh: bool = False) -> Built:
        """Build an engine whose builder chooses among these; its report.

        Args:
            configs: what the plugin offers.
            fresh: whether the builder begins without the timing cache.

        Raises:
            TacticError: when there is none.
        """
        with self._station.lock:
            built = self._builder.alone(self._station, configs, fresh)
            unload_engine(self._station, built)
        return built

    def builder_choice(self, configs: Sequence[Config]) -> Tactic | None:
        """What TensorRT's builder chooses when it is offered all these; None when it fails or does not tell.

        Of an operator of several launches it chooses nothing: the layers are given a tactic.
        """
        if self._problem.kernel.parts:
            return None
        try:
            chosen = self.engine(configs).chosen
        except FAULTS:
            return None
        return next((t for t in map(Tactic, configs) if t.id == chosen), None)

    def network_times(self, configs: Sequence[Config]) -> tuple[Series, ...]:
        """Time the whole network with each of these tactics, in turns.

        Raises:
            DriverError, WorkerError, TacticError: when an engine of the network cannot be built or run.
        """
        station = self._station
        with station.lock, ExitStack() as open_runners:
            engines = [self._builder.network(station, config) for config in configs]
            case = network_case(self._problem, engines[0], self._seed, rotated_bytes(self._info, self._warm))
            runners = [open_runners.enter_context(closing(network_runner(station, built, case))) for built in engines]
            return confirm(runners, self._confirmation, self._probe)


def open_backend(opening: Opening) -> Backend:
    """Time engines on the GPUs that were named, which have to be of one model.

    The processes that own the GPUs have the problem's plugin registered, so that each problem starts its own.
    """
    devices, setting, kept = describe(opening.devices), opening.setting, opening.kept or Kept()
    compiler = measured_compiler(opening, devices, kept)
    spec = ProblemSpec.of(opening.problem)
    equipment = equip(devices, [partial(EngineBench, d.ordinal, spec) for d in devices], compiler, None)
    closes: list[Closable] = [*equipment.stations, *([kept] if opening.kept is None else [])]
    engines = _engine_options(setting.tensorrt, devices[0].name)
    return TensorrtBackend(
        opening.problem,
        equipment,
        engines,
        seed=setting.seed,
        warm=opening.warm,
        predictor=predictor(equipment),
        closes=closes,
    )


def _engine_options(options: TensorrtOptions, device: str) -> EngineOptions:
    name = re.sub(r"\W+", "-", f"{version()}-{device}").lower()
    profiles = {n: (s.min, s.opt, s.max) for n, s in options.shapes.items()}
    return EngineOptions(
        timing_cache=default_folder() / "tensorrt" / f"{name}.timing",
        host=Host(options.network, profiles) if options.network is not None else None,
        workspace_bytes=options.workspace_mb << 20,
        build_timeout_s=options.build_timeout_s,
    )
