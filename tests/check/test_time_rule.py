"""The `time` rule: recorded PTX and today's, both compiled by Triton, on a simulated GPU that reads them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from fake_bench import FakeBench
from workspace import Workspace

from tuner.backends.timing.plan import Confirmation
from tuner.check.measure import Gpu
from tuner.check.run import check_jobs
from tuner.check.setting import load_jobs, open_setting
from tuner.check.verdict import Check
from tuner.gpu.conditions import Conditions
from tuner.gpu.present import DeviceInfo

H200 = DeviceInfo(0, "NVIDIA H200", "GPU-0", (9, 0), 132, 1 << 20, (13, 0))
KERNEL = (Path(__file__).parents[2] / "kernels" / "increment.py").read_text()
STORE = "    tl.store("
BARRIER = (STORE, f"    tl.debug_barrier()\n{STORE}")
STREAMING = ("x + amount, mask=mask)", 'x + amount, mask=mask, cache_modifier=".cs")')


class BarrierBench(FakeBench):
    """Adds one as `FakeBench` does; every barrier in the PTX takes a tenth of the time without any."""

    def load(self, image: bytes, entry: str, shared_bytes: int) -> int:
        us = 100 + 10 * image.decode().count("bar.sync")
        return super().load(json.dumps({"us": us}).encode(), entry, shared_bytes)


def probe() -> Conditions:
    return Conditions(sm_mhz=1980, memory_mhz=3201, temperature_c=40, power_w=500)


@pytest.fixture
def recorded(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    for name, value in workspace.environment.items():
        monkeypatch.setenv(name, value)
    workspace.write(KERNEL, trials=2)
    job = workspace.folder / "job.toml"
    job.write_text(job.read_text().replace("4194304", "65536"))
    assert workspace.tune().code == 0
    run = workspace.run("check", "job.toml", "--baseline", "baseline.json", "--backend", "model", "--update")
    assert run.code == 0, run.err
    return workspace


def checks(
    workspace: Workspace, *replaced: tuple[str, str], info: DeviceInfo = H200, required: bool = False
) -> Mapping[str, Check]:
    """The winner's checks on a simulated GPU, by rule, after an edit."""
    text = KERNEL
    for old, new in replaced:
        assert old in text
        text = text.replace(old, new)
    (workspace.folder / "kernel.py").write_text(text)
    gpu = Gpu(info, BarrierBench, probe, Confirmation(margin=0.03, max_rounds=40, warmup_us=2_000))
    setting = replace(open_setting(workspace.folder / "baseline.json", backend="model"), gpu=gpu, required=required)
    return {c.rule: c for c in check_jobs(load_jobs((), setting), setting) if c.role != "default"}


def test_slower_code_is_a_regression_in_time_and_code_that_only_differs_is_not(recorded: Workspace) -> None:
    slower = checks(recorded, BARRIER)["time"]
    assert slower.verdict == "regression"
    assert "in time and in cycles, in two processes" in slower.message
    assert isinstance(slower.baseline, float) and isinstance(slower.now, float)
    assert slower.now / slower.baseline == pytest.approx(1.1, rel=0.01)

    other = checks(recorded, STREAMING)
    assert "code changed, facts equal" in other["code"].message
    assert other["time"].verdict == "pass" and "not slower by 3 %" in other["time"].message

    same = checks(recorded)
    assert same["time"].verdict == "pass" and "nothing to measure" in same["time"].message


def test_a_record_of_another_device_is_compared_on_compile_facts_and_says_so(recorded: Workspace) -> None:
    h100 = replace(H200, name="NVIDIA H100 80GB HBM3")
    found = checks(recorded, BARRIER, info=h100)
    assert found["barriers"].verdict == "regression"
    assert found["time"].verdict == "pass" and "compared on compile facts only" in found["time"].message
    assert checks(recorded, BARRIER, info=h100, required=True)["time"].verdict == "inconclusive"
