"""`tuner check` on a real GPU: tune, record, then edit."""

from __future__ import annotations

import pytest
from workspace import KERNEL, Run, Workspace

from tuner.gpu.present import available

REASON = available()
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(REASON is not None, reason=REASON or "")]

LOAD = "tl.load(x_ptr + offsets, mask=mask)"
SIZE = ("4194304", "67108864")


def check(workspace: Workspace, *arguments: str) -> Run:
    return workspace.run("check", "job.toml", "--baseline", "baseline.json", "--backend", "cuda", "--json", *arguments)


def test_only_what_is_slower_is_a_regression_in_time(workspace: Workspace) -> None:
    job = workspace.folder / "job.toml"
    job.write_text(job.read_text().replace(*SIZE))
    tuned = workspace.run("tune", "job.toml", "--backend", "cuda", "--json")
    assert tuned.code == 0, tuned.err
    assert check(workspace, "--update").code == 0

    def verdicts(old: str, new: str) -> dict[str, str]:
        (workspace.folder / "kernel.py").write_text(KERNEL.replace(old, new))
        document = check(workspace).document
        return {c["rule"]: c["verdict"] for c in document["checks"] if not c["message"].startswith("default")}

    assert verdicts("offsets", "here")["time"] == "pass"
    assert verdicts(LOAD, f"{LOAD} * 0.5 * 2.0")["time"] == "pass"
    assert verdicts(LOAD, f"({LOAD} + 0.0 * tl.load(x_ptr + (offsets + n // 2) % n))")["time"] == "regression"
