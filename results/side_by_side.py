"""Time tactics beside torch: the same tensors, CUDA graphs, in rounds of rotating order."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

Tensors: TypeAlias = list[Any]
Operator: TypeAlias = Callable[[Tensors, Tensors], Any]
"""Launches on torch's current stream, given inputs and outputs, which may be more than its own."""

ROTATE_BYTES = 160 << 20
"""Tensor sets are rotated over more than twice the 60 MB L2 of an H200."""

TORCH_NAMES = {
    "fp64": "float64",
    "fp32": "float32",
    "fp16": "float16",
    "bf16": "bfloat16",
    "fp8e4nv": "float8_e4m3fn",
    "fp8e5": "float8_e5m2",
    "i64": "int64",
    "i32": "int32",
    "i16": "int16",
    "i8": "int8",
    "u8": "uint8",
    "i1": "bool",
}


def described(problem: Any) -> dict[str, list[tuple[list[int], str]]]:
    """The shape and torch's data type of every tensor that a launch takes, scratch memory too."""
    groups = {"inputs": problem.kernel.inputs, "outputs": problem.kernel.outputs}
    return {
        group: [(list(problem.shape(t)), TORCH_NAMES[problem.dtype(t)]) for t in tensors.values()]
        for group, tensors in groups.items()
    }


def skipped(problem: Any) -> dict[str, Any]:
    """What a dry run records in the place of times: the tensors that would have been timed."""
    return {"skipped": "a dry run, without torch", "tensors": described(problem)}


def make(problem: Any) -> tuple[Tensors, Tensors]:
    """Random inputs, distributed as the tuner's own, and outputs."""
    import torch

    def drawn(tensor: Any, shape: list[int], name: str) -> Any:
        kind = getattr(torch, name)
        if kind.is_floating_point:
            wide = torch.float32 if kind.itemsize == 1 else kind
            return torch.randn(shape, dtype=wide, device="cuda").to(kind)
        low, high = (0, problem.sizes()[tensor.positions]) if tensor.positions else (-8, 9)
        return torch.randint(low, high, shape, dtype=kind, device="cuda")

    tensors = described(problem)
    inputs = [drawn(t, *d) for t, d in zip(problem.kernel.inputs.values(), tensors["inputs"], strict=True)]
    return inputs, [torch.empty(s, dtype=getattr(torch, name), device="cuda") for s, name in tensors["outputs"]]


class Tactic:
    """A tactic's PTX, loaded into torch's context when first launched, as TensorRT would launch it."""

    def __init__(self, problem: Any, config: Mapping[str, Any], artifact: Any = None) -> None:
        """Name a tactic; its code is compiled when first launched, unless it is given."""
        self._problem, self._config, self._artifact = problem, config, artifact
        self._function: Any = None
        self._launch = problem.launch(config)
        self._outputs = len(problem.kernel.outputs)
        self.results = len(problem.kernel.results)

    def __call__(self, inputs: Tensors, outputs: Tensors) -> None:
        """Launch; outputs beyond the kernel's own, such as the scratch memory of others, are left alone."""
        import torch
        from cuda.bindings import driver

        if self._function is None:
            self._function = self._load()
        outputs = outputs[: self._outputs]
        values = [t.data_ptr() for t in inputs], list(self._launch.args), [t.data_ptr() for t in outputs]
        types = [ctypes.c_void_p] * len(inputs), [ctypes.c_int] * len(values[1]), [ctypes.c_void_p] * len(outputs)
        arguments = (sum(map(tuple, values), ()), sum(map(tuple, types), ()))
        stream = torch.cuda.current_stream().cuda_stream
        grid, block, shared = self._launch.grid, self._artifact.block, self._artifact.shared_bytes
        _ok(driver.cuLaunchKernel(self._function, *grid, *block, shared, stream, arguments, 0))

    def _load(self) -> Any:
        import torch
        from cuda.bindings import driver

        from tuner.compile.pipeline import compile_tactic
        from tuner.gpu.target import Target

        torch.cuda.current_stream()  # takes the context
        if self._artifact is None:
            target = Target(torch.cuda.get_device_capability(), disassemble=False)
            self._artifact = compile_tactic(self._problem, self._config, target)
        module = _ok(driver.cuModuleLoadData(self._artifact.ptx.encode()))
        function = _ok(driver.cuModuleGetFunction(module, self._artifact.entry.encode()))
        attribute = driver.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
        _ok(driver.cuFuncSetAttribute(function, attribute, self._artifact.shared_bytes))
        return function


def _ok(result: tuple[Any, ...]) -> Any:
    if result[0] != 0:
        raise RuntimeError(str(result[0]))
    return result[1] if len(result) == 2 else result[1:]


def side_by_side(
    candidates: Mapping[str, Operator],
    make: Callable[[], tuple[Tensors, Tensors]],
    rounds: int = 60,
    batch_us: float = 2000.0,
) -> dict[str, list[float]]:
    """Time candidates in rounds, in rotating order: microseconds per launch, one sample per round.

    Each candidate is a CUDA graph of launches that rotate over tensor sets beyond twice the L2.

    Args:
        candidates: name → function of inputs and outputs that launches on torch's current stream.
        make: makes a set of inputs and outputs.
        rounds: samples per candidate.
        batch_us: device time of one sample.
    """
    import torch

    first = make()
    size = sum(t.numel() * t.element_size() for group in first for t in group)
    sets = [first, *(make() for _ in range(max(1, -(-ROTATE_BYTES // size))))]
    graphs: dict[str, tuple[Any, int]] = {}
    for name, launch in candidates.items():
        for inputs, outputs in sets:
            launch(inputs, outputs)
        torch.cuda.synchronize()
        once = _graph(launch, sets, len(sets))
        _replay_us(once)
        us = min(_replay_us(once) for _ in range(3)) / len(sets)
        count = max(len(sets), round(batch_us / us / len(sets)) * len(sets))
        graphs[name] = (_graph(launch, sets, count), count)
    names = list(graphs)
    for _ in range(3 * len(names)):  # bring the clocks to where the rounds will be
        for name in names:
            _replay_us(graphs[name][0])
    samples: dict[str, list[float]] = {name: [] for name in names}
    for r in range(rounds):
        for i in range(len(names)):
            name = names[(r + i) % len(names)]
            graph, count = graphs[name]
            samples[name].append(_replay_us(graph) / count)
    return samples


def _graph(launch: Operator, sets: list[Any], count: int) -> Any:
    import torch

    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for i in range(count):
            launch(*sets[i % len(sets)])
    return graph


def _replay_us(graph: Any) -> float:
    import torch

    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    begin.record()
    graph.replay()
    end.record()
    end.synchronize()
    return float(begin.elapsed_time(end)) * 1e3
