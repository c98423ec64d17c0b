"""Studies side by side, one per GPU, through the real command on a simulated host of two."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SCRIPT = """
import sys
sys.path.insert(0, {results!r})
import dry
dry.start(dry.Simulated(devices=2))
from tuner.cli import main
main()
"""
CONFIG = """version = 1
kernel = "{kernel}"
{problems}
[search]
trials = 4
finalists = 2
"""


def tune(folder: Path, devices: str) -> subprocess.CompletedProcess[str]:
    script, config = folder / "run.py", folder / "job.toml"
    script.write_text(SCRIPT.format(results=str(ROOT / "results")))
    tables = "".join(f"[[problems]]\ndims = {{ N = {n} }}\n" for n in (64, 96, 128, 160))
    config.write_text(CONFIG.format(kernel=ROOT / "kernels" / "increment.py", problems=tables))
    places = ["--out", str(folder / "out"), "--cache", str(folder / "tactics.json"), "--json"]
    command = [sys.executable, str(script), "tune", str(config), "--backend", "cuda", "--devices", devices, *places]
    return subprocess.run(command, capture_output=True, text=True, env=dict(os.environ), check=False)


def test_every_problem_is_tuned_once_whoever_does_it(tmp_path: Path) -> None:
    done = tune(tmp_path, "0,1")
    assert done.returncode == 0, done.stderr
    jobs = json.loads(done.stdout)["jobs"]
    assert [(job["data"]["dims"]["N"], job["trials"]) for job in jobs] == [(n, 4) for n in (64, 96, 128, 160)]
    assert len(json.loads((tmp_path / "out" / "summary.json").read_text())["jobs"]) == 4
    again = tune(tmp_path, "0")
    assert [job["resumed"] for job in json.loads(again.stdout)["jobs"]] == [4] * 4


def test_a_gpu_that_is_not_there_is_named(tmp_path: Path) -> None:
    done = tune(tmp_path, "0,7")
    assert done.returncode != 0
    assert "there is no GPU 7; the driver sees 2" in done.stderr
