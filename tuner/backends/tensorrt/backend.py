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

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from tuner.backends.cuda.backend import Compiles, CudaBackend, Ready
from tuner.backends.cuda.cases import Case
from tuner.backends.cuda.isolated import Factory, WorkerError
from tuner.backends.cuda.station import FAULTS, Code, Refused, Runner, Station
from tuner.backends.tensorrt.bench import EngineBench
from tuner.backends.tensorrt.order import Built, Host, Order
from tuner.backends.tensorrt.runner import EngineRunner, NetworkRunner, build_engine, network_case
from tuner.backends.timing.plan import CONFIRMATION, SCREENING, Confirmation, Screening
from tuner.backends.timing.sampling import Series, confirm
from tuner.compile.artifact import Artifact
from tuner.errors import ConfigError
from tuner.gpu.conditions import Nvml
from tuner.gpu.present import DeviceInfo
from tuner.kernel.problem import Problem
from tuner.kernel.references import ProblemSpec
from tuner.outcome import Failure, FailureClass, Outcome, Timing
from tuner.qdp.library import version
from tuner.search.tactic import Config, Tactic


@dataclass(frozen=True)
class EngineOptions:
    """How engines are built.

    Attributes:
        timing_cache: file that keeps the builder's own timings from one build to the next.
        host: a network around the plugin; None: there is none.
        workspace_bytes: scratch memory that the layers of the host may use.
        build_timeout_s: longest time for one build.
    """

    timing_cache: Path
    host: Host | None = None
    workspace_bytes: int = 1 << 30
    build_timeout_s: float = 300.0


class TensorrtBackend(CudaBackend):
    """Times tactics on one GPU, or on several of one model, each in an engine of its own."""

    def __init__(
        self,
        problem: Problem,
        devices: Sequence[DeviceInfo],
        compiler: Compiles,
        options: EngineOptions,
        *,
        seed: int = 0,
        warm: bool = False,
        screening: Screening = SCREENING,
        confirmation: Confirmation = CONFIRMATION,
        factories: Sequence[Factory] | None = None,
    ) -> None:
        """Start the processes that own the devices; as for the cuda backend, but for `options`."""
        spec = ProblemSpec.of(problem)
        super().__init__(
            problem,
            devices,
            compiler,
            seed=seed,
            warm=warm,
            screening=screening,
            confirmation=confirmation,
            factories=factories or [partial(EngineBench, d.ordinal, spec) for d in devices],
            ahead_processes=0,  # TensorRT takes PTX
        )
        self.name = "tensorrt-warm" if warm else "tensorrt"
        self._options = options
        self._compared = False
        self._network_seen = False

    def confirm(self, configs: Sequence[Config]) -> list[Outcome]:
        """Time the finalists in turns, let the builder choose among them, and time the network around them."""
        outcomes = super().confirm(configs)
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

    def engine(self, configs: Sequence[Config], fresh: bool = False) -> Built:
        """Build an engine whose builder chooses among these; its report.

        Args:
            configs: what the plugin offers.
            fresh: whether the builder begins without the timing cache.

        Raises:
            Refused: when there is none.
        """
        station = self._stations[0]
        with station.lock:
            built = self._build(station, replace(self._order(configs), fresh=fresh))
            station.call("unload_engine", built.handle)
        return built

    def builder_choice(self, configs: Sequence[Config]) -> Tactic | None:
        """What TensorRT's builder chooses when it is offered all these; None when it fails or does not tell."""
        try:
            chosen = self.engine(configs).chosen
        except FAULTS:
            return None
        return next((t for t in map(Tactic, configs) if t.id == chosen), None)

    def network_times(self, configs: Sequence[Config]) -> tuple[Series, ...]:
        """Time the whole network with each of these tactics, in turns.

        Raises:
            DriverError, WorkerError, Refused: when an engine of the network cannot be built or run.
        """
        station = self._stations[0]
        with station.lock, ExitStack() as open_runners:
            engines = [self._build_network(station, config) for config in configs]
            case = network_case(self._problem, engines[0], self._seed, self._rotate_bytes)
            runners = [
                open_runners.enter_context(closing(NetworkRunner(station, built, self._code(config), config, case)))
                for built, config in zip(engines, configs, strict=True)
            ]
            return confirm(runners, self._confirmation, self._nvml[0].read)

    def environment(self) -> Mapping[str, str]:
        host = self._options.host
        return {
            **super().environment(),
            "tensorrt": version(),
            **({"network": Path(host.location).name} if host is not None else {}),
        }

    def _trial(self, station: Station, nvml: Nvml, config: Config, ready: Ready) -> Outcome:
        with station.lock, suppress(WorkerError):  # after which the process is a new one
            if station.call("worn"):
                station.restart()
        return super()._trial(station, nvml, config, ready)

    def _runner(self, station: Station, artifact: Artifact, code: Code, config: Config, case: Case) -> Runner:
        """Build the tactic's engine. The first one is built twice, to see what the timing cache is worth."""
        facts: dict[str, float] = {}
        if not self._compared:
            fresh = self._build(station, replace(self._order([config]), fresh=True))
            station.call("unload_engine", fresh.handle)
            facts["build_s"] = fresh.seconds
            self._compared = True
        built = self._build(station, self._order([config]))
        if built.chosen not in (None, Tactic(config).id):
            station.call("unload_engine", built.handle)
            message = f"TensorRT built the default ({self._problem.kernel.default_tactic}) into the engine instead"
            raise Refused(Failure(FailureClass.COMPILE, message))
        if self._options.host is not None and not self._network_seen:
            self._see_network(station, config)
        runner = EngineRunner(station, built, code, config, case, self._incumbent_us)
        facts |= {
            "build_s_timing_cache": built.seconds,
            "timing_cache_bytes": float(built.timing_cache_bytes),
            "engine_bytes": float(built.engine_bytes),
            "tactic_confirmed": float(built.chosen is not None),
        }
        runner.facts = facts
        return runner

    def _build(self, station: Station, order: Order) -> Built:
        return build_engine(station, order, self._options.build_timeout_s)

    def _see_network(self, station: Station, config: Config) -> None:
        """Build the network with the first tactic that can be built: a mistake in it should not wait for the end."""
        try:
            built = self._build_network(station, config)
        except Refused as e:
            raise ConfigError(f"tensorrt.network: {e.failure.message}") from e
        station.call("unload_engine", built.handle)
        self._network_seen = True

    def _build_network(self, station: Station, config: Config) -> Built:
        return self._build(station, replace(self._order([config]), host=self._options.host))

    def _order(self, configs: Sequence[Config]) -> Order:
        """An engine of the plugin alone. The default's code goes along, in case TensorRT asks for tactic 0."""
        wanted = dict.fromkeys(map(Tactic, [*configs, self._problem.kernel.default]))
        outcomes = {t: self._prepared(t.config).result() for t in wanted}
        artifacts = tuple((t.config, o[0]) for t, o in outcomes.items() if not isinstance(o, Failure))
        return Order(tuple(configs), artifacts, None, self._options.workspace_bytes, self._options.timing_cache)

    def _code(self, config: Config) -> Code:
        ready = self._prepared(config).result()
        assert not isinstance(ready, Failure)
        return ready[1]
