"""What the simulated device and builder do, told by the file that SIMULATED_TENSORRT names."""

from __future__ import annotations

import json
import os
import signal
import time
from functools import cache
from pathlib import Path
from typing import Any

from tuner.kernel.kernel import Kernel
from tuner.kernel.loader import load_kernel


@cache
def told() -> dict[str, Any]:
    """The scenario.

    "kernel" is a file; "us", "builder_us" and "faults" go by tactic id; "overhead_us" is added to every run;
    a "silent" inspector names no tactics, and one that "reports" says another id for some; "version" is TensorRT's,
    "device" the GPU's name, and "devices" how many there are.
    `simulated.launches` says what kernels need that are launched without TensorRT.
    """
    path = os.environ.get("SIMULATED_TENSORRT")
    return dict(json.loads(Path(path).read_text())) if path else {}


@cache
def kernel() -> Kernel:
    """The kernel whose reference is computed."""
    return load_kernel(told()["kernel"], Path())


def microseconds(tactic: int) -> float:
    """How long a tactic takes."""
    return float(told().get("us", {}).get(str(tactic), 100 + tactic % 97))


def builder_microseconds(tactic: int) -> float:
    """How long the builder believes that it takes."""
    return float(told().get("builder_us", {}).get(str(tactic), microseconds(tactic)))


def fault(tactic: int) -> str:
    """What goes wrong with it: "hang", "crash", "refuse", "wrong", "crash at run", "fail at run", or ""."""
    return str(told().get("faults", {}).get(str(tactic), ""))


def suffer(fault: str) -> None:
    """Hang or crash."""
    if fault.startswith("hang"):
        time.sleep(600)
    if fault.startswith("crash"):
        os.kill(os.getpid(), signal.SIGSEGV)
