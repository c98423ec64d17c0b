"""`pytest --tuner-baseline FILE` as another project runs it."""

from __future__ import annotations

import subprocess
import sys

import pytest
from workspace import KERNEL, STORE, Workspace


@pytest.fixture
def recorded(workspace: Workspace) -> Workspace:
    workspace.write(trials=2)
    assert workspace.tune().code == 0
    run = workspace.run("check", "job.toml", "--baseline", "baseline.json", "--backend", "model", "--update")
    assert run.code == 0, run.err
    return workspace


def run_pytest(workspace: Workspace, *arguments: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-v", *arguments]
    done = subprocess.run(
        command, cwd=workspace.folder, env=workspace.environment, capture_output=True, text=True, timeout=120
    )
    return done.returncode, done.stdout + done.stderr


def test_each_rule_of_each_record_is_a_test(recorded: Workspace) -> None:
    (recorded.folder / "test_own.py").write_text("def test_own() -> None:\n    pass\n")
    code, out = run_pytest(recorded, "--tuner-baseline", "baseline.json", ".")
    assert code == 0, out
    assert "test_own" in out and "test::scale[N=4194304 T=fp32 factor=2.0 on NVIDIA H200: spills] PASSED" in out

    recorded.write(KERNEL.replace(STORE, f"    tl.debug_barrier()\n{STORE}"), trials=2)
    code, out = run_pytest(recorded, "--tuner-baseline", "baseline.json", "-k", "barriers or spills")
    assert code == 1, out
    assert "barriers] FAILED" in out and "spills] PASSED" in out
    assert "each barrier lasts as long as the slowest warp" in out
    assert "Traceback" not in out

    recorded.write(KERNEL, trials=2)
    job = recorded.folder / "job.toml"
    job.write_text(job.read_text().replace("4194304", "8192"))
    roundabout = f"../{recorded.folder.name}/baseline.json"
    code, out = run_pytest(recorded, "--tuner-baseline", roundabout, "-k", "recorded")
    assert code == 1 and "no longer holds the recorded problem" in out


def test_a_damaged_baseline_is_one_line(recorded: Workspace) -> None:
    (recorded.folder / "baseline.json").write_text("{")
    code, out = run_pytest(recorded, "--tuner-baseline", "baseline.json")
    assert code == 2
    assert "damaged or no baseline" in out and "Traceback" not in out
