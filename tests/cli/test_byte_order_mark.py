"""Files that an editor saved with a byte order mark are read as if they had none."""

from __future__ import annotations

from codecs import BOM_UTF8
from pathlib import Path

from workspace import Workspace

from tuner.frontends.text import read


def mark(path: Path) -> None:
    path.write_bytes(BOM_UTF8 + path.read_bytes())


def test_config_kernel_table_cache_and_results_are_read(workspace: Workspace) -> None:
    for name in ("job.toml", "kernel.py", "table.csv"):
        mark(workspace.folder / name)
    run = workspace.replay()
    assert run.code == 0, run.err
    for name in ("tactics.json", "results/job/summary.json", "results/job/trials.csv"):
        mark(workspace.folder / name)
    shown = workspace.run("show", "--json")
    assert shown.code == 0 and run.job["winner"]["config"] == shown.document["entries"][0]["winner"]["config"]
    assert workspace.run("report", "results/job").code == 0
    assert workspace.replay("--trials", "4", "--out", "again").code == 0, "the cache is written anew"
    assert workspace.run("show").code == 0


def test_a_baseline_is_read(workspace: Workspace) -> None:
    assert workspace.tune("--trials", "2").code == 0
    made = workspace.run("check", "job.toml", "--baseline", "baseline.json", "--update")
    assert made.code == 0, made.err
    mark(workspace.folder / "baseline.json")
    checked = workspace.run("check", "job.toml", "--baseline", "baseline.json")
    assert checked.code == 0, checked.out + checked.err


def test_source_text_is_read(tmp_path: Path) -> None:
    (tmp_path / "kernel.cu").write_bytes(BOM_UTF8 + b"__global__ void k() {}")
    assert read(tmp_path / "kernel.cu") == "__global__ void k() {}"
