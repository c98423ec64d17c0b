"""What the process that owns a GPU does with engines: build, check, time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count

from tuner.backends.cuda.bench import Bench, Evidence
from tuner.backends.tensorrt.engine import Engine, Plan, build
from tuner.backends.tensorrt.inspection import chosen
from tuner.backends.tensorrt.log import EngineError, Log, make_logger, refusal
from tuner.backends.tensorrt.network import add_alone, add_host
from tuner.backends.tensorrt.offer import CurrentOffer
from tuner.backends.tensorrt.order import Built, Order, Shape
from tuner.gpu import driver
from tuner.kernel.references import ProblemSpec
from tuner.qdp.chains import register_chain
from tuner.qdp.library import require
from tuner.qdp.plugin import register
from tuner.search.tactic import Tactic
from tuner.store.files import write_atomic

MOST_SWITCHES = 64
"""Changes of shape before the process is replaced: TensorRT 11.1 and 11.2 leak a module at each
(NVIDIA/TensorRT, issue 4849)."""

LEAST_FREE = 0.1
"""Share of the device's memory that must be free for the process to go on."""


class EngineBench(Bench):
    """Owns the context of one device, and engines of one problem on it."""

    def __init__(self, ordinal: int, spec: ProblemSpec) -> None:
        super().__init__(ordinal)
        require()
        self._problem = spec.load()
        self._offer = CurrentOffer(self._problem)
        kernel = self._problem.kernel
        self._plugin = register_chain(kernel, self._offer) if kernel.parts else register(kernel, self._offer)
        self._log = Log()
        self._logger = make_logger(self._log)
        self._stream = driver.stream()
        self._engines: dict[int, _GraphedEngine] = {}
        self._numbers = count()
        self._switches = 0

    def build(self, order: Order) -> Built:
        """Build an engine and load it.

        Raises:
            EngineError: with everything that TensorRT and the plugin's functions said.
            ConfigError: when the network cannot be made, whatever the tactic.
        """
        self._offer.change(order.offered, order.codes)
        self._plugin.forget()
        self._log.take()
        cache = order.timing_cache
        before = cache.read_bytes() if cache.exists() and not order.fresh else b""
        if order.host is None:
            define = partial(add_alone, plugin=self._plugin, problem=self._problem)
        else:
            define = partial(add_host, plugin=self._plugin, host=order.host, logger=self._logger)
        kernel = self._problem.kernel
        names = (*kernel.inputs, *kernel.outputs) if order.host is None else ()
        try:
            plan = build(self._logger, define, self._plugin.configure, order.workspace_bytes, before)
            engine = Engine(self._logger, plan.data, names)
        except (EngineError, ValueError, TypeError, RuntimeError) as e:
            raise self._refusal("TensorRT builds no engine", e) from None
        if not (order.fresh and cache.exists()):
            cache.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(cache, plan.timing_cache)
        handle = next(self._numbers)
        self._engines[handle] = _GraphedEngine(engine)
        return self._report(handle, order, plan, engine, len(before))

    def check_engine(self, handle: int, key: int, shapes: Sequence[Shape]) -> Evidence:
        """Run once on poisoned outputs, and look at what came of it."""
        loaded, placed = self._engines[handle], self.placed[key]
        placed.poison()
        driver.synchronize()
        self._reshape(loaded, shapes)
        self._run(loaded.engine, placed.addresses()[0])
        driver.synchronize()
        return placed.evidence(self.probes)

    def time_engine(self, handle: int, key: int, shapes: Sequence[Shape], launches: int) -> float:
        """Microseconds that runs back to back take; their number is a multiple of that of the sets.

        What they change in place is restored before, in no time that counts.
        """
        loaded, placed = self._engines[handle], self.placed[key]
        sets = placed.addresses()
        self._reshape(loaded, shapes)
        if launches not in loaded.graphs:
            for addresses in sets:  # what a first run at a shape still has to do cannot be captured
                self._run(loaded.engine, addresses)
            driver.synchronize()

            def runs() -> None:
                for i in range(launches):
                    self._run(loaded.engine, sets[i % len(sets)])

            loaded.graphs[launches] = driver.CapturedGraph(self._stream, runs)
        placed.restore()
        return loaded.graphs[launches].run()

    def unload_engine(self, handle: int) -> None:
        """Forget what `build` gave the handle for."""
        loaded = self._engines.pop(handle)
        self._switches += loaded.engine.switches
        loaded.forget()

    def worn(self) -> bool:
        """Whether a new process should take over before TensorRT's leaks are felt."""
        free, total = driver.memory()
        return self._switches >= MOST_SWITCHES or free < LEAST_FREE * total

    def _reshape(self, loaded: _GraphedEngine, shapes: Sequence[Shape]) -> None:
        switches = loaded.engine.switches
        loaded.engine.reshape(shapes)
        if loaded.engine.switches != switches:
            loaded.forget()  # a graph holds what the engine runs at one shape

    def _run(self, engine: Engine, addresses: Sequence[int]) -> None:
        try:
            engine.enqueue(addresses, int(self._stream))
        except EngineError as e:
            raise self._refusal("TensorRT does not run the engine", e) from None

    def _refusal(self, what: str, error: Exception) -> EngineError:
        """Why there is no engine or no run: what the plugin raised, what TensorRT said, and the error itself."""
        said = (error.what, *error.causes) if isinstance(error, EngineError) else (f"{type(error).__name__}: {error}",)
        return refusal(what, [*self._plugin.errors], [*self._log.take(), *said])

    def _report(self, handle: int, order: Order, plan: Plan, engine: Engine, cache_bytes: int) -> Built:
        layers = engine.describe()
        known = {Tactic(c).id: code for c, code in order.codes}  # with the default, which should not be in there
        return Built(
            handle=handle,
            seconds=plan.seconds,
            engine_bytes=len(plan.data),
            timing_cache_bytes=cache_bytes,
            chosen=chosen(layers, plan.data, known),
            layers=layers,
            tensors=engine.tensors,
        )


@dataclass(eq=False)
class _GraphedEngine:
    """An engine and its graphs by number of runs."""

    engine: Engine
    graphs: dict[int, driver.CapturedGraph] = field(default_factory=dict)

    def forget(self) -> None:
        for graph in self.graphs.values():
            graph.close()
        self.graphs.clear()
