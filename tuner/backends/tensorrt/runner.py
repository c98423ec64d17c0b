"""Engines on a station: built there, checked and timed like any other tactic."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import prod

import numpy as np

from tuner.backends.cuda.bench import Evidence, Input, Output, Workload
from tuner.backends.cuda.cases import TILE_ELEMENTS, Case
from tuner.backends.cuda.station import PLACE_S, Runner, Station
from tuner.backends.tensorrt.bench import EngineBench
from tuner.backends.tensorrt.log import EngineError
from tuner.backends.tensorrt.order import Built, Order, Shape
from tuner.frontends.dtypes import DTYPES
from tuner.gate.inputs import draw
from tuner.kernel.problem import Problem
from tuner.outcome import FailureClass, TacticError
from tuner.workers.faults import WorkerDied, WorkerTimeout

FIRST_RUN_S = 20.0
"""Besides its own time, a first run may take as long as the driver takes to compile the plugin's PTX."""

NETWORK_RUN_S = 10.0
"""Longest run of a whole network."""


def build_engine(station: Station, order: Order, timeout_s: float) -> Built:
    """Build an engine in the station's process.

    Raises:
        TacticError: when there is none: TensorRT refused, took too long, or took the process down.
        ConfigError: when the network cannot be made, whatever the tactic.
    """
    try:
        return station.call(timeout_s, EngineBench.build, order)
    except EngineError as e:
        raise TacticError(FailureClass.COMPILE, str(e)) from e
    except WorkerTimeout as e:
        message = f"the engine build did not end: {e}; a longer time can be given as build_timeout_s in [tensorrt]"
        raise TacticError(FailureClass.TIMEOUT, message, lasting=False) from e
    except WorkerDied as e:
        raise TacticError(FailureClass.RUNTIME, f"the engine build took the process down: {e}", lasting=False) from e


class LoadedEngine:
    """An engine that was built on a station and is run there: a `Loaded`."""

    slack_s = FIRST_RUN_S

    def __init__(
        self,
        station: Station,
        built: Built,
        shapes: Callable[[Problem], Sequence[Shape]],
        facts: Mapping[str, float],
    ) -> None:
        """Take over an engine.

        Args:
            station: where it was built.
            built: the engine.
            shapes: those of its inputs, for a problem at one size.
            facts: numbers about making it.
        """
        self._station, self._built, self._shapes, self.facts = station, built, shapes, facts

    def check(self, case: Case, timeout_s: float) -> Evidence:
        shapes = self._shapes(case.problem)
        with _as_failure():
            return self._station.call(timeout_s, EngineBench.check_engine, self._built.handle, id(case), shapes)

    def time(self, case: Case, launches: int, timeout_s: float) -> float:
        shapes, handle = self._shapes(case.problem), self._built.handle
        with _as_failure():
            return self._station.call(timeout_s, EngineBench.time_engine, handle, id(case), shapes, launches)

    def unload(self) -> None:
        unload_engine(self._station, self._built)


def unload_engine(station: Station, built: Built) -> None:
    """Make room on the device."""
    station.call(PLACE_S, EngineBench.unload_engine, built.handle)


def declared_shapes(problem: Problem) -> tuple[Shape, ...]:
    """The shapes of the inputs of an engine whose only layer is the plugin."""
    return tuple(problem.shape(t) for t in problem.kernel.inputs.values())


def network_runner(station: Station, built: Built, case: Case) -> Runner:
    """Make an engine of a whole network ready to be timed; `case` comes from `network_case`."""
    shapes = tuple(t.shape for t in built.tensors if t.is_input)
    return Runner(station, lambda: LoadedEngine(station, built, lambda _: shapes, {}), case, NETWORK_RUN_S)


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


@contextmanager
def _as_failure() -> Iterator[None]:
    """Make what TensorRT says of a run the failure of the trial."""
    try:
        yield
    except EngineError as e:
        raise TacticError(FailureClass.RUNTIME, str(e), lasting=False) from e
