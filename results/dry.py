"""Dry runs: a study from end to end on a simulated GPU, to see that it starts. What it finds means nothing.

The GPU is the one that the tests have: CUDA's driver and TensorRT's builder, simulated below everything that the tuner
does, so that all of a study runs but what needs torch. Processes that a study starts inherit it by the environment.
"""

from __future__ import annotations

import atexit
import json
import os
import sys
import tempfile
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SCENARIO = "SIMULATED_TENSORRT"
"""The variable that names the file that tells the simulated GPU what it is to do."""

TRIALS = 2
SIZE = 4096
"""Elements of the vectors that dry runs work on."""


@dataclass(frozen=True)
class Simulated:
    """What the simulated GPU runs.

    Attributes:
        kernel: the file of the kernel whose reference it computes, whatever code is launched.
        integers: the dimensions that a launch passes first.
        dims: sizes that it does not pass.
        dtypes: the kernel's data types.
        device: what it says that it is.
        devices: how many there are.
    """

    kernel: str = str(ROOT / "kernels" / "increment.py")
    integers: tuple[str, ...] = ("N",)
    dims: dict[str, int] = field(default_factory=dict)
    dtypes: dict[str, str] = field(default_factory=lambda: {"T": "fp32"})
    device: str = "Simulated GPU"
    devices: int = 1


def running() -> bool:
    """Whether this process, or the one that started it, was asked for a dry run."""
    return "STUDY_DRY" in os.environ


def start(gpu: Simulated) -> None:
    """Make this a dry run, and let this process and all that it starts find the simulated GPU."""
    if running():
        return
    loaded = [name for name in sys.modules if name.split(".")[0] in ("cuda", "tensorrt")]
    assert not loaded, f"imported before the dry run began: {loaded}"
    sys.path.append(str(ROOT / "tests" / "shared"))
    from simulated import write_shims

    (folder() / "scenario.json").write_text(json.dumps(asdict(gpu)))
    found = write_shims(folder() / "shims")
    sys.path.insert(0, str(folder() / "shims"))
    os.environ["PYTHONPATH"] = os.pathsep.join(p for p in (found, os.environ.get("PYTHONPATH", "")) if p)
    os.environ |= {"STUDY_DRY": "1", SCENARIO: str(folder() / "scenario.json"), "TUNER_CACHE": str(folder() / "cache")}


@cache
def folder() -> Path:
    """A folder that is gone when this process ends."""
    made = tempfile.TemporaryDirectory(prefix="dry-run-")
    atexit.register(made.cleanup)
    return Path(made.name)


def smaller(path: Path, dims: dict[str, int]) -> Path:
    """A copy of a config with fixed, small dimensions and few trials."""
    from dataclasses import replace

    from tuner.tuning.config import dump_config, load_config, with_overrides

    job = with_overrides(load_config(path), trials=TRIALS, finalists=2)
    made = folder() / path.name
    made.write_text(dump_config(replace(job, problems=(job.problems[0].at(dims),))))
    return made
