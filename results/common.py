"""What the studies share: their arguments, what they say of the machine, and running the command."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dry

RESULTS = Path(__file__).resolve().parent
ROOT = RESULTS.parent


class Arguments(argparse.ArgumentParser):
    """The arguments of a study: `--out` and `--dry`, and what it adds."""

    def __init__(self, description: str | None) -> None:
        super().__init__(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
        self.add_argument("--out", type=Path, help="folder for what is found")
        self.add_argument(
            "--dry", action="store_true", help="a small run that measures nothing, without a GPU, to see that all works"
        )

    def read(self, simulated: dry.Simulated | None = None) -> argparse.Namespace:
        """Parse the command line; for a dry run, begin it.

        Args:
            simulated: what the GPU of a dry run is; the increment's by default.
        """
        given = self.parse_args()
        if given.dry:
            given.out = given.out or Path(tempfile.mkdtemp(prefix="dry-run-of-a-study-"))
            if given.out.resolve().is_relative_to(RESULTS):
                self.error(f"a dry run finds nothing worth keeping; choose an --out that is not in {RESULTS}")
            print(f"dry run: the numbers in {given.out} mean nothing", file=sys.stderr)
            dry.start(simulated or dry.Simulated())
        elif given.out is None:
            self.error("--out FOLDER is missing: where to keep what is found")
        given.out.mkdir(parents=True, exist_ok=True)
        return given


def machine() -> dict[str, Any]:
    """Device, driver, clocks, versions and date; of a dry run, that it is one."""
    names = ("qdp-tuner", "torch", "triton", "cuda-bindings", "optuna", "numpy")
    return {
        "gpu": _gpu(),
        "versions": {name: _version(name) for name in names},
        "commit": os.environ.get("STUDY_COMMIT", ""),
        "cpus": os.cpu_count(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _gpu() -> dict[str, str]:
    if dry.running():
        return {"name": "none: a dry run"}
    fields = "name,driver_version,clocks.sm,clocks.mem,temperature.gpu,power.draw,power.limit"
    query = ["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader"]
    smi = subprocess.run(query, capture_output=True, text=True, check=True).stdout.strip()
    return dict(zip(fields.split(","), smi.split(", "), strict=True))


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "from the working tree" if package == "qdp-tuner" else "not installed"


def write(path: Path, data: Any) -> None:
    """Keep a study's raw data."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data, indent=1) + "\n")


def write_lines(path: Path, rows: Iterable[Any]) -> None:
    """Keep a study's raw data as a JSON list, one line per row."""
    path.write_text("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")


def markdown(head: Sequence[str], lines: Iterable[Sequence[object]]) -> str:
    """A table of a README."""
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join(f"| {' | '.join(map(str, cells))} |" for cells in rows)


def config(name: str) -> Path:
    """A shipped config; in a dry run that of a small vector, with few trials."""
    found = next((ROOT / "configs").rglob(f"{name}.toml"))
    return dry.smaller(found, {"N": dry.SIZE}) if dry.running() else found


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `tuner` in a process of its own."""
    tuner = [sys.executable, "-c", "from tuner.cli import main; main()"]
    return subprocess.run([*tuner, *arguments], capture_output=True, text=True, cwd=ROOT)


def tune(config: Path, folder: Path, *options: str, backend: str = "cuda") -> dict[str, Any]:
    """Run ``tuner tune`` on one problem; its job with wall-clock seconds and the finalists' samples, or the error."""
    places = ["--out", str(folder), "--cache", str(folder / "tactics.json")]
    started = time.perf_counter()
    done = command("tune", str(config), "--backend", backend, *places, "--json", *options)
    seconds = time.perf_counter() - started
    if done.returncode:
        return {"config": config.stem, "seconds": seconds, "error": done.stderr.strip()}
    summary = json.loads((folder / "summary.json").read_text())
    return {"config": config.stem, "seconds": seconds, **summary["jobs"][0]}


def open_cuda(problem: Any) -> Any:
    """The cuda backend for a problem, as a tune opens it. The caller closes it."""
    from tuner.backends.select import BackendChoice, open_backend
    from tuner.backends.setting import BackendSetting
    from tuner.compile.blobs import Store, default_folder

    return open_backend(BackendChoice.of("cuda"), problem, BackendSetting(), Store(default_folder()))
