"""What the studies share: describe the machine, run the command, time tactics beside torch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
ROTATE_BYTES = 160 << 20
"""Tensor sets are rotated over more than twice the 60 MB L2 of an H200."""


def as_recorded(folder: str, name: str) -> Path:
    """A file of `kernels` or `configs` as it was for the tables: beside them, where it has since become another."""
    earlier = HERE / "tables" / name
    return earlier if earlier.exists() else ROOT / folder / name


def machine() -> dict[str, Any]:
    """Device, driver, clocks, versions and date."""
    import importlib.metadata

    fields = "name,driver_version,clocks.sm,clocks.mem,temperature.gpu,power.draw,power.limit"
    query = ["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader"]
    smi = subprocess.run(query, capture_output=True, text=True, check=True).stdout.strip()
    names = ("qdp-tuner", "torch", "triton", "cuda-bindings", "optuna", "numpy")
    versions = {}
    for name in names:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "from the working tree"
    return {
        "gpu": dict(zip(fields.split(","), smi.split(", "), strict=True)),
        "versions": versions,
        "commit": os.environ.get("STUDY_COMMIT", ""),
        "cpus": os.cpu_count(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def write(path: Path, data: Mapping[str, Any]) -> None:
    """Keep a study's raw data, one line per entry of a list of samples."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data, indent=1) + "\n")


def tune(config: Path, folder: Path, *options: str) -> dict[str, Any]:
    """Run ``tuner tune`` in a process of its own; its job with wall-clock seconds and the finalists' samples."""
    command = [sys.executable, "-c", "from tuner.cli import main; main()", "tune", str(config)]
    command += ["--backend", "cuda", "--out", str(folder), "--cache", str(folder / "tactics.json"), "--json", *options]
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    seconds = time.perf_counter() - started
    if done.returncode:
        return {"config": config.stem, "seconds": seconds, "error": done.stderr.strip()}
    summary = json.loads((folder / "summary.json").read_text())
    return {"config": config.stem, "seconds": seconds, **summary["jobs"][0]}


class Tactic:
    """A tactic's PTX, loaded into torch's context and launched as TensorRT would; compiled unless given."""

    def __init__(self, problem: Any, config: Mapping[str, Any], artifact: Any = None) -> None:
        import torch
        from cuda.bindings import driver

        from tuner.compile.pipeline import compile_tactic
        from tuner.gpu.target import Target

        torch.cuda.current_stream()
        if artifact is None:
            artifact = compile_tactic(problem, config, Target(torch.cuda.get_device_capability(), disassemble=False))
        self._driver = driver
        module = _ok(driver.cuModuleLoadData(artifact.ptx.encode()))
        self._function = _ok(driver.cuModuleGetFunction(module, artifact.entry.encode()))
        attribute = driver.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
        _ok(driver.cuFuncSetAttribute(self._function, attribute, artifact.shared_bytes))
        self._artifact = artifact
        self._launch = problem.launch(config)
        self._outputs = len(problem.kernel.outputs)
        self.results = len(problem.kernel.results)

    def __call__(self, inputs: list[Any], outputs: list[Any]) -> None:
        """Launch; outputs beyond the kernel's own, such as the scratch memory of others, are left alone."""
        import ctypes

        import torch

        outputs = outputs[: self._outputs]
        values = [t.data_ptr() for t in inputs], list(self._launch.args), [t.data_ptr() for t in outputs]
        types = [ctypes.c_void_p] * len(inputs), [ctypes.c_int] * len(values[1]), [ctypes.c_void_p] * len(outputs)
        arguments = (sum(map(tuple, values), ()), sum(map(tuple, types), ()))
        stream = torch.cuda.current_stream().cuda_stream
        grid, block, shared = self._launch.grid, self._artifact.block, self._artifact.shared_bytes
        _ok(self._driver.cuLaunchKernel(self._function, *grid, *block, shared, stream, arguments, 0))


def _ok(result: tuple[Any, ...]) -> Any:
    if result[0] != 0:
        raise RuntimeError(str(result[0]))
    return result[1] if len(result) == 2 else result[1:]


def side_by_side(
    candidates: Mapping[str, Callable[[list[Any], list[Any]], object]],
    make: Callable[[], tuple[list[Any], list[Any]]],
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


def _graph(launch: Callable[[list[Any], list[Any]], object], sets: list[Any], count: int) -> Any:
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
