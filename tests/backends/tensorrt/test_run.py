"""The study for machines with TensorRT runs to its end, here on a simulated one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from simulated import write_shims

ROOT = Path(__file__).parents[3]
SMI = "#!/bin/sh\necho Simulated GPU, 580.1, 1980 MHz, 2619 MHz, 40, 100.00 W, 700.00 W\n"


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    shims = write_shims(tmp_path / "shims")
    smi = tmp_path / "bin" / "nvidia-smi"
    smi.parent.mkdir()
    smi.write_text(SMI)
    smi.chmod(0o755)
    (tmp_path / "scenario.json").write_text(json.dumps({"kernel": str(ROOT / "kernels" / "softmax.py")}))
    return {
        **os.environ,
        "PYTHONPATH": shims,
        "PATH": f"{smi.parent}{os.pathsep}{os.environ['PATH']}",
        "SIMULATED_TENSORRT": str(tmp_path / "scenario.json"),
        "TUNER_COMPILE_CACHE": str(tmp_path / "compiled"),
    }


def test_the_study_records_choices_builds_and_the_network(tmp_path: Path, environment: dict[str, str]) -> None:
    study = ROOT / "results" / "tensorrt"
    network = (study / "masked_softmax.py").read_text().replace("(8192, 4096)", "(32, 4096)")
    (tmp_path / "masked_softmax.py").write_text(network)
    config = (study / "masked_softmax.toml").read_text()
    for old, new in (("../..", str(ROOT)), ("M = 8192", "M = 32"), ("trials = 64", "trials = 2")):
        assert old in config
        config = config.replace(old, new)
    (tmp_path / "small.toml").write_text(config)
    command = [sys.executable, str(study / "run.py"), str(tmp_path / "out.json"), str(tmp_path / "small.toml")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    recorded = json.loads((tmp_path / "out.json").read_text())
    assert recorded["machine"]["gpu"]["driver_version"] == "580.1"
    (config_record,) = recorded["configs"]
    engines = config_record["engines"]
    assert engines["chosen"] in engines["offered"]
    assert engines["inspector"]["Layers"][0]["LayerType"] == "PluginV3"
    assert len(engines["build_s"]) == len(engines["build_s_timing_cache"]) == 5
    assert set(engines["network_samples_us"]) == {"default", "winner"}
    assert all(f["samples_us"] for f in config_record["tensorrt"]["finalists"])
