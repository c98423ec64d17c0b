"""What both parts of the study work on: the shipped kernels, their measured winners, and edited copies."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
import dry
from common import RESULTS, command
from recorded import as_recorded

from tuner.check.run import check_jobs
from tuner.check.setting import Setting, load_jobs, open_setting
from tuner.check.verdict import as_document
from tuner.gpu.catalog import find_device
from tuner.kernel.identity import kernel_hash
from tuner.outcome import VERIFIED, Origin, Timing
from tuner.search.tactic import Tactic
from tuner.store.cache import update
from tuner.store.entry import entry_of
from tuner.tuning.config import load_config

HERE = Path(__file__).resolve().parent
KERNELS = ("increment", "softmax", "rms_norm", "swiglu", "transpose", "gemm")
DEVICE = "NVIDIA H200"
"""What is compiled for, and what the GPU of a dry run says that it is."""


def sources() -> dict[str, str]:
    """The text of each kernel file by its name; of one, in a dry run."""
    names = KERNELS[:1] if dry.running() else KERNELS
    return {name: as_recorded("kernels", f"{name}.py").read_text() for name in names}


def winners() -> dict[str, tuple[Tactic, float]]:
    """The tactic that an H200 found fastest for each shipped config, with its microseconds."""
    jobs = json.loads((RESULTS / "h200" / "tune" / "data.json").read_text())["jobs"]
    return {j["config"]: (Tactic(j["winner"]["config"]), j["winner"]["time_us"]) for j in jobs}


def write_job(folder: Path, kernel: str, text: str, device: str = DEVICE) -> Path:
    """Write a kernel file and its config, the shipped one but for kernel file and target; returns the config.

    In a dry run, the problem is a small one too.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{kernel}.py").write_text(text)
    config = folder / f"{kernel}.toml"
    shipped = as_recorded("configs", f"{kernel}.toml").read_text()
    named = re.sub(r"^kernel = .*$", f'kernel = "{kernel}.py"', shipped, flags=re.MULTILINE)
    here = re.sub(r"^target = .*$", f'target = "{device}"', named, flags=re.MULTILINE)
    config.write_text(re.sub(r"N = \d+", f"N = {dry.SIZE}", here) if dry.running() else here)
    return config


def write_cache(path: Path, configs: Sequence[Path], device: str) -> None:
    """A tactic cache that holds the measured winner of each config, as a tune of it would have left."""
    gpu = find_device(device)
    entries = []
    for config in configs:
        problem = load_config(config).problems[0]
        winner, time_us = winners()[config.stem]
        entry = entry_of(
            problem,
            kernel_hash(problem.kernel),
            origin=Origin("cuda", "measurement", gpu.name, gpu.capability),
            confirmed={winner: Timing(time_us, "measurement", "median", (time_us,), verified=VERIFIED)},
            winner=winner,
            default=problem.kernel.default_tactic,
            ties=(),
            trials=1,
        )
        entries.append(entry)
    update(path, entries)


def record(folder: Path, device: str, backend: str) -> Setting:
    """Record the shipped kernels with the command; returns what `tuner check` is then made with."""
    configs = [write_job(folder / "shipped", name, text, device) for name, text in sources().items()]
    path, cache = folder / "baseline.json", folder / "tactics.json"
    write_cache(cache, configs, device)
    places = ["--baseline", str(path), "--cache", str(cache)]
    done = command("check", *map(str, configs), "--update", "--backend", "model", *places)
    if done.returncode:
        raise RuntimeError(f"the shipped kernels were not recorded: {done.stdout}{done.stderr}")
    return open_setting(path, backend=backend, cache=cache)


def check(config: Path, setting: Setting) -> dict[str, Any]:
    """What the command's ``--json`` prints for one config, less what passes; or the error."""
    started = time.perf_counter()
    try:
        document = as_document(check_jobs(load_jobs([config], setting), setting))
    except Exception as e:  # an edit that breaks the check is a finding, not the end of the study
        return {"verdict": "error", "message": f"{type(e).__name__}: {e}"}
    kept = [c for c in document["checks"] if c["verdict"] != "pass" or c["rule"] in ("code", "time")]
    return {"verdict": document["verdict"], "checks": kept, "seconds": round(time.perf_counter() - started, 3)}
