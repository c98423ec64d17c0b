"""Tune in engines, see what the builder chooses and what the timing cache is worth, and time a whole network.

python results/tensorrt/run.py --out FOLDER [CONFIG…]

Needs a GPU, TensorRT and `pip install '.[tensorrt]'`. Without configs it takes the shipped ones and the network
beside this file; in a dry run that network alone, at a small size, in a simulated TensorRT.
"""

from __future__ import annotations

import json
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
import dry
from common import ROOT, Arguments, machine, tune, write

HERE = Path(__file__).resolve().parent
ROWS = 32
"""Of the dry run's problem."""
SIMULATED = dry.Simulated(str(ROOT / "kernels" / "softmax.py"), ("M", "N"), dtypes={"T": "fp16"})
CONFIGS = (*sorted((ROOT / "configs").rglob("*.toml")), HERE / "masked_softmax.toml")
BUILDS = 5
"""Engine builds with the timing cache, and as many without."""


def tuned(config: Path, backend: str, folder: Path) -> dict[str, Any]:
    """Tune with the command; its summary with raw samples, and every trial."""
    job = tune(config, folder, backend=backend)
    return job if "error" in job else {**job, "trials_csv": (folder / "trials.csv").read_text()}


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
        job = tuned(path, "tensorrt", Path(folder, "tensorrt"))
        record: dict[str, Any] = {
            "config": path.stem,
            "tensorrt": job,
            "cuda": tuned(path, "cuda", Path(folder, "cuda")),
        }
    if "error" not in job:
        try:
            record["engines"] = engines(path, job)
        except Exception as e:  # one config's failure is a finding, and must not lose the others'
            record["engines"] = {"error": f"{type(e).__name__}: {e}"}
    return record


def small() -> Path:
    """The network's config with few rows and trials."""
    network = (HERE / "masked_softmax.py").read_text().replace("(8192,", f"({ROWS},")
    (dry.folder() / "masked_softmax.py").write_text(network)
    text = (HERE / "masked_softmax.toml").read_text()
    for old, new in (("../..", str(ROOT)), ("M = 8192", f"M = {ROWS}"), ("trials = 64", f"trials = {dry.TRIALS}")):
        text = text.replace(old, new)
    config = dry.folder() / "masked_softmax.toml"
    config.write_text(text)
    return config


def main() -> None:
    arguments = Arguments(__doc__)
    arguments.add_argument("configs", type=Path, nargs="*")
    given = arguments.read(SIMULATED)
    records: list[dict[str, Any]] = []
    for path in [small()] if given.dry else given.configs or CONFIGS:
        records.append(study(path.resolve()))
        last = records[-1]
        print(f"{path.stem}: {last['tensorrt']['seconds']:.0f} s, {last['tensorrt'].get('error', 'ok')}", flush=True)
        write(given.out / "data.json", {"machine": machine(), "configs": records})


if __name__ == "__main__":
    main()
