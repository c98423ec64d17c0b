"""A simulated GPU for `example::increment`: the same methods as a `Bench`, and code that is a description.

The "PTX" is JSON: {"us": time per launch, "per_mebi": more for each 2**20 elements, "fault": what goes wrong,
"above": at more elements than this}.
"""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import fields
from typing import Any

import numpy as np

from tuner.backends.cuda.bench import Evidence, LaunchPlan, Workload
from tuner.compile.artifact import Artifact, Resources
from tuner.gpu.driver import DriverError
from tuner.kernel.problem import Problem
from tuner.outcome import Failure, FailureClass
from tuner.search.tactic import Config

SPOILING = ("CUDA_ERROR_ILLEGAL_ADDRESS", "CUDA_ERROR_MISALIGNED_ADDRESS")


class FakeBench:
    """Adds one, in the time that the code says and with the fault that it says."""

    def __init__(self) -> None:
        self._random = random.Random(os.getpid())
        self._placed: dict[int, Workload] = {}
        self._loaded: dict[int, dict[str, Any]] = {}
        self._spoilt = False

    def healthy(self) -> bool:
        return not self._spoilt

    def compile(self, ptx: str) -> None:
        if json.loads(ptx).get("fault") == "CUDA_ERROR_INVALID_PTX":
            raise DriverError("CUDA_ERROR_INVALID_PTX", "cuModuleLoadDataEx", "line 7; fatal: no such instruction")

    def place(self, key: int, workload: Workload) -> int:
        if workload.size > 1 << 30:
            raise DriverError("CUDA_ERROR_OUT_OF_MEMORY", "cuMemAlloc")
        self._placed[key] = workload
        return max(1, -(-workload.rotate_bytes // workload.size))

    def identity(self) -> tuple[int, int]:
        """The process, and how many workloads it holds."""
        return os.getpid(), len(self._placed)

    def clear(self) -> None:
        self._placed.clear()

    def load(self, image: bytes, entry: str, shared_bytes: int) -> int:
        if shared_bytes > 232448:
            raise DriverError("CUDA_ERROR_INVALID_VALUE", "cuFuncSetAttribute")
        handle = len(self._loaded)
        self._loaded[handle] = json.loads(image)
        return handle

    def check(self, handles: Sequence[int], key: int, plan: LaunchPlan) -> Evidence:
        workload, code = self._placed[key], self._loaded[handles[0]]
        (x,), (y,) = workload.inputs, workload.outputs
        elements = y.size // len(y.poison)
        fault = code.get("fault") if elements > code.get("above", 0) else None
        self._suffer(fault)
        values = x.tile.view(np.float32)[y.samples.astype(np.int64) % (len(x.tile) // 4)] + 1
        if fault == "wrong":
            values[-1] += 1
        return Evidence(
            unwritten=(3 if fault == "unwritten" else 0,),
            guards=(4 if fault == "out of bounds" else 0,),
            changed=(0,) if fault == "input" else (),
            samples=(values.tobytes(),),
        )

    def time(self, handles: Sequence[int], key: int, plan: LaunchPlan, launches: int) -> float:
        code = self._loaded[handles[0]]
        self._suffer(code.get("late"))
        (y,) = self._placed[key].outputs
        launch_us = float(code["us"]) + float(code.get("per_mebi", 0)) * y.size / len(y.poison) / 2**20
        return launch_us * launches * (1 + abs(self._random.gauss(0, 0.002)))

    def unload(self, handle: int) -> None:
        del self._loaded[handle]

    def empty_us(self) -> float:
        return 1.5

    def _suffer(self, fault: str | None) -> None:
        if self._spoilt:
            raise DriverError("CUDA_ERROR_ILLEGAL_ADDRESS", "cuLaunchKernel")
        if fault == "hang":
            time.sleep(600)
        if fault == "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        if fault is not None and fault.startswith("CUDA_"):
            self._spoilt = fault in SPOILING
            raise DriverError(fault, "cuCtxSynchronize")


class FakeCompiler:
    """Makes the code that a table of block sizes describes."""

    def __init__(self, codes: Mapping[int, Mapping[str, Any]]) -> None:
        self._codes = codes

    def submit(self, problem: Problem, config: Config) -> Future[Artifact | Failure]:
        future: Future[Artifact | Failure] = Future()
        code = self._codes[int(config["BLOCK_SIZE"])]
        if code.get("fault") == "compile":
            future.set_result(Failure(FailureClass.COMPILE, "no such intrinsic"))
        else:
            future.set_result(artifact(json.dumps(code), "increment", int(code.get("shared", 0))))
        return future

    def versions(self) -> dict[str, str]:
        return {"triton": "0.0"}

    def close(self) -> None:
        pass


def artifact(ptx: str, entry: str, shared_bytes: int = 0, block: tuple[int, int, int] = (128, 1, 1)) -> Artifact:
    """An artifact of which only what a launch needs is real."""
    nothing: dict[str, Any] = {f.name: {} if "Mapping" in str(f.type) else 0 for f in fields(Resources)}
    return Artifact(ptx, entry, block, shared_bytes, "sm_75", (7, 0), Resources(**nothing), b"", "none", 0.0)
