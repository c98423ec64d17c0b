"""The simulated builder: networks of plugin layers, optimization profiles, timing caches."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import tensorrt as trt

from simulated import scenario
from simulated.strict import Misuse, make, strict
from tuner.qdp.rehearsal.bindings import NetworkTensor
from tuner.qdp.rehearsal.builder import Played, PlayedTensor, play

REAL = trt.tensorrt
MAGIC = b"simulated engine\n"
CACHE = b"simulated timings\n"


@strict(REAL.ITensor)
class ITensor(NetworkTensor):
    _name: str
    _shape: tuple[int, ...]
    _dtype: Any

    @property
    def name(self) -> str:
        return self._name

    @name.setter
    def name(self, value: str) -> None:
        self._name = value

    @property
    def shape(self) -> Any:
        return trt.Dims(self._shape)

    @property
    def dtype(self) -> Any:
        return self._dtype


@strict(REAL.IPluginV3Layer)
class IPluginV3Layer:
    _inputs: list[ITensor]
    _outputs: list[ITensor]
    _plugin: Any

    def get_output(self, index: int) -> ITensor | None:
        return self._outputs[index] if index < len(self._outputs) else None


@strict(REAL.IElementWiseLayer)
class IElementWiseLayer:
    _inputs: list[ITensor]
    _outputs: list[ITensor]
    _operation: str

    def get_output(self, index: int) -> ITensor | None:
        return self._outputs[index] if index < len(self._outputs) else None


@strict(REAL.INetworkDefinition)
class INetworkDefinition:
    _builder: Builder
    _inputs: list[ITensor]
    _outputs: list[ITensor]
    _layers: list[IPluginV3Layer | IElementWiseLayer]

    @property
    def num_inputs(self) -> int:
        return len(self._inputs)

    def get_input(self, index: int) -> ITensor | None:
        return self._inputs[index] if index < len(self._inputs) else None

    def add_input(self, name: str, dtype: Any, shape: Any) -> ITensor:
        if name in [t._name for t in self._inputs]:
            raise Misuse(f"two inputs are called {name!r}")
        self._inputs.append(make(ITensor, name=name, dtype=dtype, shape=tuple(shape)))
        return self._inputs[-1]

    def add_plugin(self, func: Callable[..., Any], aot: bool = False) -> IPluginV3Layer:
        if not aot:
            raise Misuse("the plugin is compiled ahead of time: add_plugin needs aot=True")
        inputs, _, plugin = func(trt.QuickPluginCreationRequest.STRICT_AOT)
        outputs = [
            make(ITensor, name=f"(Unnamed Layer {len(self._layers)}) {i}", dtype=None, shape=())
            for i in range(plugin.get_num_outputs())
        ]
        layer: IPluginV3Layer = make(IPluginV3Layer, inputs=inputs, outputs=outputs, plugin=plugin)
        self._layers.append(layer)
        return layer

    def add_elementwise(self, input1: ITensor, input2: ITensor, op: Any) -> IElementWiseLayer:
        output = make(ITensor, name=f"(Unnamed Layer {len(self._layers)})", dtype=None, shape=())
        layer: IElementWiseLayer = make(IElementWiseLayer, inputs=[input1, input2], outputs=[output], operation=op.name)
        self._layers.append(layer)
        return layer

    def mark_output(self, tensor: ITensor) -> None:
        if tensor in self._outputs:
            raise Misuse(f"{tensor._name!r} is an output already")
        self._outputs.append(tensor)


@strict(REAL.IOptimizationProfile)
class IOptimizationProfile:
    _shapes: dict[str, tuple[tuple[int, ...], ...]]

    def set_shape(self, input: str, min: Any, opt: Any, max: Any) -> None:  # noqa: A002
        shapes = (tuple(min), tuple(opt), tuple(max))
        if len({len(s) for s in shapes}) > 1 or not all(a <= b <= c for a, b, c in zip(*shapes, strict=True)):
            raise ValueError(f"{shapes} are not min <= opt <= max of one rank")
        self._shapes[input] = shapes


@strict(REAL.IHostMemory)
class IHostMemory:
    _data: bytes

    @property
    def nbytes(self) -> int:
        return len(self._data)

    def __bytes__(self) -> bytes:
        return self._data


@strict(REAL.ITimingCache)
class ITimingCache:
    _known: set[str]

    def serialize(self) -> IHostMemory:
        return make(IHostMemory, data=CACHE + json.dumps(sorted(self._known)).encode())  # type: ignore[no-any-return]


@strict(REAL.IBuilderConfig)
class IBuilderConfig:
    _builder: Builder
    _pools: dict[Any, int]
    _profiles: list[IOptimizationProfile]
    _cache: ITimingCache | None
    _verbosity: Any
    _previews: set[Any]

    def set_preview_feature(self, feature: Any, enable: bool) -> None:
        (self._previews.add if enable else self._previews.discard)(feature)

    @property
    def profiling_verbosity(self) -> Any:
        return self._verbosity

    @profiling_verbosity.setter
    def profiling_verbosity(self, value: Any) -> None:
        self._verbosity = value

    def set_memory_pool_limit(self, pool: Any, pool_size: int) -> None:
        self._pools[pool] = pool_size

    def add_optimization_profile(self, profile: IOptimizationProfile) -> int:
        self._profiles.append(profile)
        return len(self._profiles) - 1

    def create_timing_cache(self, serialized_timing_cache: bytes) -> ITimingCache | None:
        data = bytes(serialized_timing_cache)
        if data and not data.startswith(CACHE):
            return None
        return make(ITimingCache, known=set(json.loads(data[len(CACHE) :] or b"[]")))  # type: ignore[no-any-return]

    def set_timing_cache(self, cache: ITimingCache, ignore_mismatch: bool) -> bool:
        self._cache = cache
        return True

    def get_timing_cache(self) -> ITimingCache | None:
        return self._cache


@strict(REAL.Builder)
class Builder:
    def __init__(self, logger: Any) -> None:
        self._logger = logger

    def create_network(self, flags: int = 0) -> INetworkDefinition:
        if not flags & 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED):
            raise Misuse("the network is not strongly typed")
        return make(INetworkDefinition, builder=self, inputs=[], outputs=[], layers=[])  # type: ignore[no-any-return]

    def create_builder_config(self) -> IBuilderConfig:
        names_only = trt.ProfilingVerbosity.LAYER_NAMES_ONLY
        state = {"pools": {}, "profiles": [], "cache": None, "verbosity": names_only, "previews": set()}
        return make(IBuilderConfig, builder=self, **state)  # type: ignore[no-any-return]

    def create_optimization_profile(self) -> IOptimizationProfile:
        return make(IOptimizationProfile, shapes={})  # type: ignore[no-any-return]

    def build_serialized_network(self, network: INetworkDefinition, config: IBuilderConfig) -> IHostMemory | None:
        if network._builder is not self or config._builder is not self:
            raise Misuse("the network or its config comes from another builder")
        try:
            return make(IHostMemory, data=_build(network, config))  # type: ignore[no-any-return]
        except Exception as e:  # an error never leaves TensorRT's C++: it is logged
            print(e, file=sys.stderr)
            self._logger.log(trt.ILogger.Severity.ERROR, f"IBuilder::buildSerializedNetwork: {e}")
            return None


def _build(network: INetworkDefinition, config: IBuilderConfig) -> bytes:
    if not network._outputs:
        raise RuntimeError("Network must have at least one output")
    known: dict[ITensor, PlayedTensor] = {}
    for tensor in network._inputs:
        known[tensor] = _profiled(tensor, config)
    layers, codes = [], b""
    for layer in network._layers:
        if isinstance(layer, IElementWiseLayer):
            first, second = (known[t] for t in layer._inputs)
            if first != second:
                raise RuntimeError(f"elementwise inputs differ: {first} and {second}")
            known[layer._outputs[0]] = first
            described: dict[str, Any] = {"operation": layer._operation}
        else:
            described, code = _plugin(layer, known, config)
            codes += code
        numbers = {t: i for i, t in enumerate(known)}
        described["inputs"] = [numbers[t] for t in layer._inputs]
        described["outputs"] = [numbers[t] for t in layer._outputs]
        layers.append(described)
    io = dict.fromkeys(network._inputs, True) | dict.fromkeys(network._outputs, False)
    tensors = [
        {"name": t._name, "dtype": k.dtype, "shapes": [k.min, k.opt, k.max], "io": io.get(t)} for t, k in known.items()
    ]
    detailed = config._verbosity == trt.ProfilingVerbosity.DETAILED
    plan = {"tensors": tensors, "layers": layers, "detailed": detailed}
    return MAGIC + json.dumps(plan).encode() + b"\n" + codes


def _plugin(
    layer: IPluginV3Layer, known: dict[ITensor, PlayedTensor], config: IBuilderConfig
) -> tuple[dict[str, Any], bytes]:
    """Play a plugin and choose its tactic; adds its outputs to the known tensors."""
    attributes = dict(layer._plugin.attrs)
    plugin_id = f"{layer._plugin.plugin_namespace}::{layer._plugin.plugin_name}"
    rehearsal = play(plugin_id, [known[t] for t in layer._inputs], attributes)
    if rehearsal.broken:
        raise RuntimeError(f"{rehearsal.broken[0].rule}: {rehearsal.broken[0].message}")
    if rehearsal.aliases and trt.PreviewFeature.ALIASED_PLUGIN_IO_10_03 not in config._previews:
        raise RuntimeError(
            f"Aliased I/O used by plugin {plugin_id} but PreviewFeature::kALIASED_PLUGIN_IO_10_03 not enabled"
        )
    chosen = _fastest(rehearsal.played, config)
    for tensor, (dtype, shapes) in zip(layer._outputs, rehearsal.outputs, strict=True):
        known[tensor] = PlayedTensor(dtype, shapes["min"], shapes["opt"], shapes["max"])
    described = {"plugin": plugin_id, "attributes": attributes, "tactic": chosen.tactic, "aliases": rehearsal.aliases}
    return described, chosen.code.encode()


def _profiled(tensor: ITensor, config: IBuilderConfig) -> PlayedTensor:
    shapes = (tensor._shape,) * 3
    if -1 in tensor._shape:
        if not config._profiles or tensor._name not in config._profiles[0]._shapes:
            raise RuntimeError(
                f"Network has dynamic input {tensor._name}, but no optimization profile has been defined"
            )
        shapes = config._profiles[0]._shapes[tensor._name]  # type: ignore[assignment]
    if any(d not in (-1, e) for s in shapes for d, e in zip(tensor._shape, s, strict=True)):
        raise RuntimeError(f"the profile of {tensor._name} does not fit {tensor._shape}")
    return PlayedTensor(tensor._dtype.name, *shapes)


def _fastest(played: tuple[Played, ...], config: IBuilderConfig) -> Played:
    """Time every tactic that the cache does not know, and take the fastest."""
    for tactic in played:
        fault = scenario.fault(tactic.tactic)
        if not fault.endswith("at run"):
            scenario.suffer(fault)
        if fault == "refuse":
            raise RuntimeError(f"Could not find any implementation for tactic {tactic.tactic}")
        if config._cache is not None and str(tactic.tactic) not in config._cache._known:
            time.sleep(0.001)
            config._cache._known.add(str(tactic.tactic))
    return min(played, key=lambda p: scenario.builder_microseconds(p.tactic))
