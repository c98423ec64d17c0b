"""How tactics get into engines, and engines onto a device."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tuner.backends.cuda.cases import Case
from tuner.backends.cuda.prepared import Prepared
from tuner.backends.cuda.station import PLACE_S, Loader, Runner, Station, longest_launch_s
from tuner.backends.tensorrt.bench import EngineBench
from tuner.backends.tensorrt.order import Built, Host, Order
from tuner.backends.tensorrt.runner import LoadedEngine, build_engine, declared_shapes, unload_engine
from tuner.compile.artifact import Code
from tuner.errors import ConfigError
from tuner.kernel.problem import Problem
from tuner.outcome import Failure, FailureClass, TacticError
from tuner.search.tactic import Config, Tactic
from tuner.workers.faults import WorkerError


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


class EngineBuilder:
    """Has engines of one problem built on stations."""

    def __init__(self, problem: Problem, prepared: Prepared, options: EngineOptions) -> None:
        """Build nothing yet; `prepared` holds the code of the tactics."""
        self._default, self._prepared, self._options = problem.kernel.default, prepared, options

    def alone(self, station: Station, configs: Sequence[Config], fresh: bool = False) -> Built:
        """Build an engine whose only layer is the plugin.

        Args:
            station: where; its lock is held.
            configs: what the plugin offers.
            fresh: whether the builder begins without the timing cache.

        Raises:
            TacticError: when there is none.
        """
        return self._build(station, configs, None, fresh)

    def network(self, station: Station, config: Config) -> Built:
        """Build the network around the plugin, with one tactic; as `alone`."""
        return self._build(station, [config], self._options.host, fresh=False)

    def _build(self, station: Station, configs: Sequence[Config], host: Host | None, fresh: bool) -> Built:
        """The default's code goes along, in case TensorRT asks for tactic 0."""
        wanted = dict.fromkeys(map(Tactic, [*configs, self._default]))
        outcomes = {t: self._prepared.result(t.config) for t in wanted}
        codes = tuple((t.config, o) for t, o in outcomes.items() if not isinstance(o, Failure))
        options = self._options
        order = Order(tuple(configs), codes, host, options.workspace_bytes, options.timing_cache, fresh)
        return build_engine(station, order, options.build_timeout_s)


class EngineLoader(Loader):
    """Builds an engine for each tactic, on the device and in the process that then runs it."""

    def __init__(self, problem: Problem, builder: EngineBuilder, has_network: bool) -> None:
        """Load nothing yet.

        Args:
            problem: what is tuned.
            builder: of its engines.
            has_network: whether there is a network around the plugin, which the first tactic is tried in.
        """
        self._problem, self._builder = problem, builder
        self._network_unseen = has_network
        self._compared = False

    def refresh(self, station: Station) -> None:
        with suppress(WorkerError):  # after which the process is a new one
            if station.call(PLACE_S, EngineBench.worn):
                station.restart()

    def runner(self, station: Station, code: Code, config: Config, case: Case, incumbent_us: float | None) -> Runner:
        """Build the tactic's engine. The first one is built twice, to see what the timing cache is worth."""
        facts: dict[str, float] = {}
        if not self._compared:
            fresh = self._builder.alone(station, [config], fresh=True)
            unload_engine(station, fresh)
            facts["build_s"] = fresh.seconds
            self._compared = True
        built = self._builder.alone(station, [config])
        if built.chosen not in (None, Tactic(config).id):
            unload_engine(station, built)
            default = self._problem.kernel.default_tactic
            raise TacticError(FailureClass.COMPILE, f"TensorRT built the default ({default}) into the engine instead")
        if self._network_unseen:
            self._see_network(station, config)
        facts |= {
            "build_s_timing_cache": built.seconds,
            "timing_cache_bytes": float(built.timing_cache_bytes),
            "engine_bytes": float(built.engine_bytes),
            "tactic_confirmed": float(built.chosen is not None),
        }
        limit_s = longest_launch_s(case.problem, incumbent_us)
        return Runner(station, lambda: LoadedEngine(station, built, declared_shapes, facts), case, limit_s)

    def _see_network(self, station: Station, config: Config) -> None:
        """Build the network with the first tactic that can be built: a mistake in it should not wait for the end."""
        try:
            built = self._builder.network(station, config)
        except TacticError as e:
            raise ConfigError(f"tensorrt.network: {e}") from e
        unload_engine(station, built)
        self._network_unseen = False
