"""Engines on a station: built there, checked and timed like any other tactic."""

from __future__ import annotations

from math import prod

import numpy as np

from tuner.backends.cuda.bench import Input, Output, Workload
from tuner.backends.cuda.cases import TILE_ELEMENTS, Case
from tuner.backends.cuda.isolated import WorkerDied, WorkerTimeout
from tuner.backends.cuda.station import Code, Refused, Runner, Station
from tuner.backends.tensorrt.log import EngineError
from tuner.backends.tensorrt.order import Built, Order, Shape
from tuner.frontends.dtypes import DTYPES
from tuner.gate.inputs import draw
from tuner.kernel.problem import Problem
from tuner.outcome import Failure, FailureClass
from tuner.search.tactic import Config

FIRST_RUN_S = 20.0
"""Besides its own time, a first run may take as long as the driver takes to compile the plugin's PTX."""

NETWORK_RUN_S = 10.0
"""Longest run of a whole network."""


def build_engine(station: Station, order: Order, timeout_s: float) -> Built:
    """Build an engine in the station's process.

    Raises:
        Refused: when there is none: TensorRT refused, took too long, or took the process down.
        ConfigError: when the network cannot be made, whatever the tactic.
    """
    try:
        built: Built = station.call("build", order, timeout_s=timeout_s)
        return built
    except EngineError as e:
        raise Refused(Failure(FailureClass.COMPILE, str(e))) from e
    except WorkerTimeout as e:
        message = f"the engine build did not end: {e}; a longer time can be given as build_timeout_s in [tensorrt]"
        raise Refused(Failure(FailureClass.TIMEOUT, message)) from e
    except WorkerDied as e:
        raise Refused(Failure(FailureClass.RUNTIME, f"the engine build took the process down: {e}")) from e


class EngineRunner(Runner):
    """An engine whose only layer is the plugin."""

    methods = ("check_engine", "time_engine", "unload_engine")
    slack_s = FIRST_RUN_S

    def __init__(
        self, station: Station, built: Built, code: Code, config: Config, case: Case, incumbent_us: float | None
    ) -> None:
        """Take over an engine that was built on the station."""
        self._built = built
        super().__init__(station, code, config, case, incumbent_us)

    def check(self, case: Case) -> str | None:
        try:
            return super().check(case)
        except EngineError as e:
            raise Refused(Failure(FailureClass.RUNTIME, str(e))) from e

    def run(self, launches: int) -> float:
        try:
            return super().run(launches)
        except EngineError as e:
            raise Refused(Failure(FailureClass.RUNTIME, str(e))) from e

    def _load(self) -> int:
        return self._built.handle

    def _how(self, problem: Problem) -> tuple[tuple[Shape, ...]]:
        """The shapes of the inputs."""
        return (tuple(problem.shape(t) for t in problem.kernel.inputs.values()),)


class NetworkRunner(EngineRunner):
    """An engine of a whole network."""

    def __init__(self, station: Station, built: Built, code: Code, config: Config, case: Case) -> None:
        """Take over an engine that was built on the station; `case` comes from `network_case`."""
        super().__init__(station, built, code, config, case, None)
        self._launch_s = NETWORK_RUN_S

    def _how(self, problem: Problem) -> tuple[tuple[Shape, ...]]:
        return (tuple(t.shape for t in self._built.tensors if t.is_input),)


def network_case(problem: Problem, built: Built, seed: int, rotate_bytes: int) -> Case:
    """The tensors of a network, with random inputs. What comes out of it is not compared with anything."""
    rng = np.random.default_rng(seed)
    inputs, outputs = [], []
    for tensor in built.tensors:
        elements, dtype = prod(tensor.shape), DTYPES[tensor.dtype]
        if tensor.is_input:
            tile = draw(tensor.dtype, (min(elements, TILE_ELEMENTS),), rng)
            inputs.append(Input(elements * dtype.itemsize, tile.view(np.uint8)))
        else:
            outputs.append(Output(elements * dtype.itemsize, bytes(dtype.itemsize), False, np.empty(0, np.uint64)))
    return Case(problem, Workload(tuple(inputs), tuple(outputs), rotate_bytes), problem, {})
