"""The simulated runtime: engines compute what the kernel's reference does, in the time of their tactics."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import tensorrt as trt

from simulated import cuda, scenario
from simulated.builder import MAGIC, REAL
from simulated.strict import Misuse, make, strict
from tuner.frontends.dtypes import DTYPES
from tuner.kernel.parts import Part
from tuner.qdp.dtypes import from_tensorrt
from tuner.search.call_by_name import names_of


@strict(REAL.Runtime)
class Runtime:
    def __init__(self, logger: Any) -> None:
        self._logger = logger

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> ICudaEngine | None:
        data = bytes(serialized_engine)
        if not data.startswith(MAGIC):
            self._logger.log(trt.ILogger.Severity.ERROR, "the engine is of another version")
            return None
        return make(ICudaEngine, plan=json.loads(data.split(b"\n")[1]), logger=self._logger)  # type: ignore[no-any-return]


@strict(REAL.ICudaEngine)
class ICudaEngine:
    _plan: dict[str, Any]
    _logger: Any

    @property
    def num_io_tensors(self) -> int:
        return len(self._io())

    def get_tensor_name(self, index: int) -> str:
        return str(self._io()[index]["name"])

    def get_tensor_mode(self, name: str) -> Any:
        return trt.TensorIOMode.INPUT if self._tensor(name)["io"] else trt.TensorIOMode.OUTPUT

    def get_tensor_dtype(self, name: str) -> Any:
        return getattr(trt.DataType, self._tensor(name)["dtype"])

    def get_tensor_shape(self, name: str) -> Any:
        low, _, high = self._tensor(name)["shapes"]
        return trt.Dims([a if a == b else -1 for a, b in zip(low, high, strict=True)])

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[Any]:
        tensor = self._tensor(name)
        if profile_index != 0 or not tensor["io"]:
            raise Misuse(f"{name!r} has no profile {profile_index}")
        return [trt.Dims(s) for s in tensor["shapes"]]

    def create_execution_context(self) -> IExecutionContext:
        return make(IExecutionContext, engine=self, shapes={}, addresses={})  # type: ignore[no-any-return]

    def create_engine_inspector(self) -> EngineInspector:
        return make(EngineInspector, engine=self)  # type: ignore[no-any-return]

    def _io(self) -> list[dict[str, Any]]:
        """Inputs and outputs, in an order of their own, as TensorRT promises none."""
        return sorted((t for t in self._plan["tensors"] if t["io"] is not None), key=lambda t: t["name"], reverse=True)

    def _tensor(self, name: str) -> dict[str, Any]:
        return next(t for t in self._io() if t["name"] == name)


@strict(REAL.EngineInspector)
class EngineInspector:
    _engine: ICudaEngine

    def get_engine_information(self, format: Any) -> str:  # noqa: A002
        if format != trt.LayerInformationFormat.JSON:
            raise NotImplementedError
        plan = self._engine._plan
        layers: list[Any] = [layer.get("plugin", layer.get("operation")) for layer in plan["layers"]]
        if plan["detailed"]:
            layers = [_described(layer) for layer in plan["layers"]]
        return json.dumps({"Layers": layers})


def _described(layer: dict[str, Any]) -> dict[str, Any]:
    if "operation" in layer:
        return {"Name": layer["operation"], "LayerType": "ElementWise", "TacticValue": "0x0000000000000001"}
    tactic = int(scenario.told().get("reports", {}).get(str(layer["tactic"]), layer["tactic"]))
    named = {} if scenario.told().get("silent") else {"TacticValue": f"0x{tactic:016x}"}
    return {"Name": layer["plugin"], "LayerType": "PluginV3", **named}


@strict(REAL.IExecutionContext)
class IExecutionContext:
    _engine: ICudaEngine
    _shapes: dict[str, tuple[int, ...]]
    _addresses: dict[str, int]

    def set_input_shape(self, name: str, shape: Any) -> bool:
        low, _, high = self._engine._tensor(name)["shapes"]
        fits = len(shape) == len(low) and all(a <= d <= b for a, d, b in zip(low, shape, high, strict=True))
        if fits:
            self._shapes[name] = tuple(shape)
        return fits

    def get_tensor_shape(self, name: str) -> Any:
        return trt.Dims(self._run(compute=False)[self._number(name)][1])

    def set_tensor_address(self, name: str, memory: int) -> bool:
        self._engine._tensor(name)
        if memory % 256:
            raise Misuse(f"the address of {name!r} is not aligned to 256 bytes")
        self._addresses[name] = memory
        return True

    def execute_async_v3(self, stream_handle: int) -> bool:
        for tensor in self._engine._io():
            if tensor["name"] not in self._addresses:
                raise Misuse(f"{tensor['name']!r} has no address")
        self._check_places()
        if stream_handle == 0:
            raise Misuse("the default stream is synchronised by TensorRT, which no capture survives")
        tactics = [layer["tactic"] for layer in self._engine._plan["layers"] if "tactic" in layer]
        faults = [scenario.fault(t) for t in tactics]
        for fault in faults:
            if fault.endswith("at run"):
                scenario.suffer(fault)
        if "fail at run" in faults:
            self._engine._logger.log(trt.ILogger.Severity.ERROR, "IExecutionContext::enqueueV3: launch failed")
            return False
        us = sum(map(scenario.microseconds, tactics)) + scenario.told().get("overhead_us", 0.0)
        cuda.enqueue(stream_handle, us, lambda: self._write("wrong" in faults))
        return True

    def _write(self, wrong: bool) -> None:
        values = self._run(compute=True)
        for number, tensor in enumerate(self._engine._plan["tensors"]):
            if tensor["io"] is False:
                data, _ = values[number]
                data = np.ascontiguousarray(data + 1 if wrong else data)
                target = cuda.array(self._addresses[tensor["name"]], data.nbytes)
                assert target is not None, f"{tensor['name']!r} is written beyond its memory"
                target[:] = data.view(np.uint8).reshape(-1)

    def _check_places(self) -> None:
        """Where an output of the network lies in the place of an input of it, both have one address."""
        tensors = self._engine._plan["tensors"]
        for layer in self._engine._plan["layers"]:
            for output, source in layer.get("aliases", ()):
                one, other = tensors[layer["inputs"][source]], tensors[layer["outputs"][output]]
                if (
                    one["io"]
                    and other["io"] is False
                    and self._addresses[one["name"]] != self._addresses[other["name"]]
                ):
                    raise Misuse(f"{other['name']!r} lies in the place of {one['name']!r} and has another address")

    def _number(self, name: str) -> int:
        return next(i for i, t in enumerate(self._engine._plan["tensors"]) if t["name"] == name)

    def _run(self, compute: bool) -> dict[int, tuple[Any, tuple[int, ...]]]:
        """The value and shape of every tensor, by its number; values only when they are computed."""
        tensors, known = self._engine._plan["tensors"], dict[int, tuple[Any, tuple[int, ...]]]()
        for number, tensor in enumerate(tensors):
            if tensor["io"]:
                shape = self._shapes.get(tensor["name"])
                if shape is None and tensor["shapes"][0] != tensor["shapes"][2]:
                    raise Misuse(f"the shape of {tensor['name']!r} is not set")
                shape = shape or tuple(tensor["shapes"][0])
                known[number] = (self._read(tensor, shape) if compute else None, shape)
        named: dict[str, Any] = {}
        for layer in self._engine._plan["layers"]:
            arrays = [known[i][0] for i in layer["inputs"]]
            part = _part(layer)
            if part is not None:
                named |= {name: array for name, array in zip(part.inputs, arrays, strict=True) if name not in named}
                values = _step_values(part, named) if compute else ()
            else:
                values = self._values(layer, arrays) if compute else ()
            for i, number in enumerate(layer["outputs"]):
                low, _, high = tensors[number]["shapes"]
                # Layers of dynamic shapes keep that of their first input.
                shape = tuple(low) if low == high else known[layer["inputs"][0]][1]
                value = np.broadcast_to(values[i], shape).astype(_numpy(tensors[number])) if compute else None
                known[number] = (value, shape)
        return known

    def _values(self, layer: dict[str, Any], arrays: list[Any]) -> tuple[Any, ...]:
        """What a layer computes, in float64, for each output."""
        wide = [a.astype(np.float64) for a in arrays]
        if "operation" in layer:
            return ({"SUM": np.add, "PROD": np.multiply}[layer["operation"]](*wide),)
        kernel = scenario.kernel()
        named = dict(zip(kernel.inputs, wide, strict=True))
        computed = kernel.reference(**named, **layer["attributes"])
        return tuple(map(np.asarray, computed if isinstance(computed, tuple) else (computed,)))

    def _read(self, tensor: dict[str, Any], shape: tuple[int, ...]) -> Any:
        kind = _numpy(tensor)
        data = cuda.array(self._addresses[tensor["name"]], int(np.prod(shape)) * kind.itemsize)
        assert data is not None, f"{tensor['name']!r} is read beyond its memory"
        return data.view(kind).reshape(shape)


def _part(layer: dict[str, Any]) -> Part | None:
    """The launch of the scenario's kernel that a layer is, where that has several."""
    return next((part for part in scenario.kernel().parts if part.kernel.id == layer.get("plugin")), None)


def _step_values(part: Part, named: dict[str, Any]) -> tuple[Any, ...]:
    """What a step makes: the operator's results from its inputs, and nothing of use for what is between the steps."""
    kernel = scenario.kernel()
    if not {*part.outputs} & {*kernel.outputs}:
        return (np.zeros(()),) * len(part.outputs)
    wide = {name: named[name].astype(np.float64) for name in kernel.inputs if name in named}
    attributes = kernel.attributes
    computed = kernel.reference(**{n: v for n, v in {**wide, **attributes}.items() if n in names_of(kernel.reference)})
    results = dict(zip(kernel.results, computed if isinstance(computed, tuple) else (computed,), strict=True))
    return tuple(np.asarray(results[name]) for name in part.outputs)


def _numpy(tensor: dict[str, Any]) -> np.dtype[Any]:
    return DTYPES[from_tensorrt(getattr(trt.DataType, tensor["dtype"]))].numpy
