"""A run that fails, or is stopped, takes nothing from what earlier runs left; and what it found is shown."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from workspace import KERNEL, STORE, Run, Workspace

GRID = """
version = 1
kernel = "kernel.py"

[problem]
dims = {{ N = {sizes} }}

[search]
trials = 3
shared_trials = 2
"""
PICKY = KERNEL.replace("grid=(cdiv(N, BLOCK),)", "grid=(cdiv(N, BLOCK) * (N != 1000001),)")
"""Cannot be launched at one size."""


@pytest.fixture
def grid(workspace: Workspace) -> Workspace:
    write(workspace, "{ values = [4096, 8192] }")
    return workspace


def write(workspace: Workspace, sizes: str) -> None:
    (workspace.folder / "job.toml").write_text(GRID.format(sizes=sizes))


def summary(workspace: Workspace) -> dict[str, int]:
    """Each problem's winner."""
    jobs = json.loads((workspace.folder / "results/job/summary.json").read_text())["jobs"]
    for job in jobs:
        for finalist in job["finalists"]:
            for name in ("ptx", "cubin"):
                assert not finalist.get("code") or (workspace.folder / "results/job" / finalist["code"][name]).exists()
    return {job["problem"]: job["winner"]["id"] for job in jobs}


def rows(workspace: Workspace) -> Mapping[str, int]:
    """How many trials each problem has."""
    with (workspace.folder / "results/job/trials.csv").open() as f:
        problems = [row["problem"].removeprefix("test::scale ") for row in csv.DictReader(f)]
    return {problem: problems.count(problem) for problem in problems}


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in ("summary.json", "trials.csv")}


def no_winner(workspace: Workspace) -> Run:
    """Tune a kernel that compiles for no size."""
    workspace.write(KERNEL.replace(STORE, f"    missing()\n{STORE}"))
    return workspace.tune()


def test_a_run_that_finds_nothing_leaves_what_was_found(workspace: Workspace) -> None:
    assert workspace.tune().code == 0
    before = contents(workspace.folder / "results/job")
    run = no_winner(workspace)
    assert (run.code, run.out) == (1, "")
    assert contents(workspace.folder / "results/job") == before


def test_a_problem_without_a_winner_does_not_take_the_others_along(grid: Workspace) -> None:
    (grid.folder / "kernel.py").write_text(PICKY)
    write(grid, "{ values = [4096, 8192, 1000001] }")
    run = grid.tune()
    assert run.code == 1
    assert [job["problem"] for job in run.document["jobs"]] == ["N=4096 T=fp32", "N=8192 T=fp32"]
    assert run.err.splitlines()[-1].startswith("error: test::scale N=1000001 T=fp32: no tactic is valid")
    assert sorted(summary(grid)) == ["N=4096 T=fp32", "N=8192 T=fp32"]
    assert len(rows(grid)) == 3
    assert len(json.loads((grid.folder / "tactics.json").read_text())["entries"]) == 2


def test_a_failed_run_keeps_the_problems_that_it_did_not_finish(grid: Workspace) -> None:
    assert grid.tune().code == 0
    found, trials = summary(grid), rows(grid)
    (grid.folder / "kernel.py").write_text(PICKY)
    write(grid, "{ values = [16384, 1000001] }")
    assert grid.tune().code == 1
    assert summary(grid).keys() == {*found, "N=16384 T=fp32"}
    assert rows(grid).keys() == {*trials, "N=1000001 T=fp32", "N=16384 T=fp32"}
    write(grid, "{ values = [16384] }")
    assert grid.tune().code == 0
    assert summary(grid).keys() == rows(grid).keys() == {"N=16384 T=fp32"}, "a whole run says what the job is about"


def test_the_winner_is_shown_when_the_cache_fails_later(workspace: Workspace) -> None:
    (workspace.folder / "kept").mkdir()
    hook = (  # what happens to the cache's folder while a search goes on
        "import os, shutil\n"
        "if os.path.isdir('results/job') and os.path.isdir('kept'):\n"
        "    shutil.rmtree('kept')\n"
        "    os.mknod('kept')\n"
    )
    workspace.write(KERNEL.replace("reference=lambda x, factor: x * factor", "reference=reference"))
    text = (workspace.folder / "kernel.py").read_text()
    function = "def reference(x, factor):\n" + "".join(f"    {line}\n" for line in hook.splitlines())
    (workspace.folder / "kernel.py").write_text(
        text.replace("kernel = Kernel(", f"{function}    return x * factor\n\n\nkernel = Kernel(")
    )
    run = workspace.run("tune", "job.toml", "--backend", "model", "--cache", "kept/tactics.json")
    assert run.code == 2
    assert "winner" in run.out and "Times are predictions" in run.out
    assert run.err.splitlines()[-1].startswith("error: ") and "kept/tactics.json cannot be written" in run.err
    assert "N=4194304 T=fp32" in summary(workspace)


@pytest.mark.parametrize("cache", ["/proc/none/tactics.json", "file/tactics.json"])
def test_a_cache_that_cannot_be_written_is_told_before_the_search(workspace: Workspace, cache: str) -> None:
    (workspace.folder / "file").touch()
    run = workspace.tune("--cache", cache)
    assert (run.code, run.out) == (2, "")
    assert "tactics.json cannot be" in run.err.splitlines()[-1]
    assert not (workspace.folder / "results/job/study.journal").exists()
