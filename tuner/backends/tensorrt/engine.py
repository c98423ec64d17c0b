"""A TensorRT engine: built from a network, then run on a stream."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from tuner.backends.tensorrt.log import EngineError
from tuner.backends.tensorrt.order import Profile, Shape, TensorInfo
from tuner.qdp.dtypes import from_tensorrt

if TYPE_CHECKING:
    import tensorrt as trt

Define: TypeAlias = "Callable[[trt.INetworkDefinition], Mapping[str, Profile]]"
"""Fills an empty network; returns the shapes of dynamic inputs."""

Configure: TypeAlias = "Callable[[trt.IBuilderConfig], None]"
"""Tells a builder what the layers of the network need."""


@dataclass(frozen=True)
class Plan:
    """A serialized engine.

    Attributes:
        data: the engine.
        seconds: how long the builder took.
        timing_cache: what it measured, for later builds.
    """

    data: bytes
    seconds: float
    timing_cache: bytes


def build(
    logger: trt.ILogger, define: Define, configure: Configure, workspace_bytes: int, timing_cache: bytes = b""
) -> Plan:
    """Build an engine of a strongly typed network, with a description of every layer.

    Args:
        logger: is told what happens.
        define: fills the network.
        configure: tells the builder's config what its layers need.
        workspace_bytes: scratch memory that layers may use.
        timing_cache: what earlier builds measured; one of another device or version is started anew.

    Raises:
        EngineError: when there is no engine; why is in the log.
    """
    import tensorrt as trt

    builder = trt.Builder(logger)
    # The flag is ignored by TensorRT 11, where every network is strongly typed.
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    profiles = define(network)
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, workspace_bytes)
    configure(config)
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if profiles:
        profile = builder.create_optimization_profile()
        for name, shapes in profiles.items():
            profile.set_shape(name, *shapes)
        if config.add_optimization_profile(profile) < 0:
            raise EngineError("TensorRT refuses the optimization profile", ())
    cache = config.create_timing_cache(timing_cache)
    if cache is None or not config.set_timing_cache(cache, False):
        cache = config.create_timing_cache(b"")
        config.set_timing_cache(cache, False)
    started = time.perf_counter()
    plan = builder.build_serialized_network(network, config)
    seconds = time.perf_counter() - started
    if plan is None:
        raise EngineError("the engine is not built", ())
    return Plan(bytes(plan), seconds, bytes(config.get_timing_cache().serialize()))


class Engine:
    """An engine that is loaded, with one execution context."""

    def __init__(self, logger: trt.ILogger, data: bytes, names: Sequence[str] = ()) -> None:
        """Load a serialized engine.

        Args:
            logger: is told what happens.
            data: the engine.
            names: inputs and outputs in the order in which addresses and shapes will be given; those that
                it leaves out stay in TensorRT's order, of which nothing is documented.

        Raises:
            EngineError: when TensorRT cannot; why is in the log.
        """
        import tensorrt as trt

        self._runtime = trt.Runtime(logger)
        self._engine = self._runtime.deserialize_cuda_engine(data)
        if self._engine is None:
            raise EngineError("the engine is not loaded", ())
        self._context = self._engine.create_execution_context()
        if self._context is None:
            raise EngineError("the engine has no execution context", ())
        places = {name: place for place, name in enumerate(names)}
        self.tensors = tuple(sorted(self._tensors(), key=lambda t: (not t.is_input, places.get(t.name, len(places)))))
        self._shapes: dict[str, Shape] = {}
        self.switches = 0

    def describe(self) -> str:
        """Every layer, as JSON."""
        import tensorrt as trt

        inspector = self._engine.create_engine_inspector()
        return str(inspector.get_engine_information(trt.LayerInformationFormat.JSON))

    def reshape(self, shapes: Sequence[Shape]) -> None:
        """Set the shapes of the inputs, in order; `switches` counts how often that changed something."""
        named = {t.name: tuple(s) for t, s in zip(self._inputs(), shapes, strict=True)}
        if named == self._shapes:
            return
        for name, shape in named.items():
            if not self._context.set_input_shape(name, shape):
                raise EngineError(f"the engine refuses shape {shape} for input {name!r}", ())
        self.switches += bool(self._shapes)
        self._shapes = named

    def enqueue(self, addresses: Sequence[int], stream: int) -> None:
        """Start a run on a stream, with inputs, then outputs, at these addresses."""
        for tensor, address in zip(self.tensors, addresses, strict=True):
            if not self._context.set_tensor_address(tensor.name, address):
                raise EngineError(f"the engine refuses the address of {tensor.name!r}", ())
        if not self._context.execute_async_v3(stream):
            raise EngineError("the engine does not run", ())

    def _inputs(self) -> list[TensorInfo]:
        return [t for t in self.tensors if t.is_input]

    def _tensors(self) -> list[TensorInfo]:
        """All inputs and outputs; dynamic ones at the usual shape of the first profile."""
        import tensorrt as trt

        engine, context = self._engine, self._context
        names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
        inputs = {n for n in names if engine.get_tensor_mode(n) == trt.TensorIOMode.INPUT}
        shapes: dict[str, Any] = {}
        for name in sorted(names, key=lambda n: n not in inputs):  # outputs' shapes follow from the inputs'
            shape = tuple(engine.get_tensor_shape(name))
            if name in inputs and -1 in shape:
                shape = tuple(engine.get_tensor_profile_shape(name, 0)[1])
            if name in inputs:
                context.set_input_shape(name, shape)
            elif -1 in shape:
                shape = tuple(context.get_tensor_shape(name))
            shapes[name] = shape
        return [TensorInfo(n, from_tensorrt(engine.get_tensor_dtype(n)), shapes[n], n in inputs) for n in names]
