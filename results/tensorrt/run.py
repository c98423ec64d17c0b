"""Tune in engines, see what the builder chooses and what the timing cache is worth, and time a whole network.

python results/tensorrt/run.py OUT.json [CONFIG…]

Needs a GPU, TensorRT and `pip install '.[tensorrt]'`. Without configs it takes the shipped ones and the network
beside this file.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE.parent / "h200"))
from common import machine, write  # noqa: E402

CONFIGS = (*sorted((ROOT / "configs").rglob("*.toml")), HERE / "masked_softmax.toml")
BUILDS = 5
"""Engine builds with the timing cache, and as many without."""


def tune(config: Path, backend: str, folder: Path) -> dict[str, Any]:
    """Run ``tuner tune`` in a process of its own; its summary with raw samples, and every trial."""
    options = ["--backend", backend, "--out", str(folder), "--cache", str(folder / "tactics.json"), "--json"]
    command = [sys.executable, "-c", "from tuner.cli import main; main()", "tune", str(config), *options]
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    seconds = time.perf_counter() - started
    if done.returncode:
        return {"seconds": seconds, "error": done.stderr.strip()}
    job = json.loads((folder / "summary.json").read_text())["jobs"][0]
    return {"seconds": seconds, **job, "trials_csv": (folder / "trials.csv").read_text()}


def engines(path: Path, job: dict[str, Any]) -> dict[str, Any]:
    """Engines of the finalists: the builder's choice among them, build times, and the network's raw samples."""
    from tuner.backends.select import BackendChoice, open_backend
    from tuner.backends.tensorrt.backend import TensorrtBackend
    from tuner.compile.blobs import Store, default_folder
    from tuner.tuning.config import load_config

    config = load_config(path)
    finalists = [f["config"] for f in job["finalists"]]
    winner, default = job["winner"]["config"], job["default"]["config"]
    backend = open_backend(BackendChoice.of("tensorrt"), config.problems[0], config.setting, Store(default_folder()))
    assert isinstance(backend, TensorrtBackend)
    with closing(backend):
        chosen = backend.engine(finalists)
        found: dict[str, Any] = {
            "offered": [f["id"] for f in job["finalists"]],
            "chosen": chosen.chosen,
            "inspector": json.loads(chosen.layers),
            "engine_bytes": chosen.engine_bytes,
            "build_s": [backend.engine([winner], fresh=True).seconds for _ in range(BUILDS)],
            "build_s_timing_cache": [backend.engine([winner]).seconds for _ in range(BUILDS)],
        }
        if config.tensorrt.network is not None:
            pair = {"default": default, "winner": winner}
            series = backend.network_times(list(pair.values()))
            found["network_samples_us"] = {n: list(s.samples_us) for n, s in zip(pair, series, strict=True)}
        found["environment"] = dict(backend.origin.environment)
    return found


def study(path: Path) -> dict[str, Any]:
    """Everything about one config; the cuda backend's tune of it stands beside that in engines."""
    with tempfile.TemporaryDirectory() as folder:
        job = tune(path, "tensorrt", Path(folder, "tensorrt"))
        record: dict[str, Any] = {
            "config": path.stem,
            "tensorrt": job,
            "cuda": tune(path, "cuda", Path(folder, "cuda")),
        }
    if "error" not in job:
        try:
            record["engines"] = engines(path, job)
        except Exception as e:  # one config's failure is a finding, and must not lose the others'
            record["engines"] = {"error": f"{type(e).__name__}: {e}"}
    return record


def main() -> None:
    out = Path(sys.argv[1])
    records: list[dict[str, Any]] = []
    for path in map(Path, sys.argv[2:] or CONFIGS):
        records.append(study(path.resolve()))
        last = records[-1]
        print(f"{path.stem}: {last['tensorrt']['seconds']:.0f} s, {last['tensorrt'].get('error', 'ok')}", flush=True)
        write(out, {"machine": machine(), "configs": records})


if __name__ == "__main__":
    main()
