"""What is known of a GPU before anything runs on it."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import triton

from tuner.backends.cuda import probes
from tuner.errors import ConfigError, UnavailableError
from tuner.gpu.catalog import newest_ptx
from tuner.gpu.conditions import Nvml
from tuner.gpu.driver import DriverError
from tuner.gpu.present import DeviceInfo, available, describe, require_one_model
from tuner.gpu.target import Target

GPU = DeviceInfo(0, "NVIDIA H200", "GPU-0", (9, 0), 132, 60 << 20, (13, 0))


@pytest.mark.parametrize(
    ("cuda", "ptx"),
    [
        ((11, 8), (7, 8)),
        ((12, 0), (8, 0)),
        ((12, 4), (8, 4)),
        ((12, 6), (8, 5)),
        ((12, 8), (8, 7)),
        ((12, 9), (8, 8)),
        ((13, 0), (9, 0)),
        ((13, 1), (9, 1)),
    ],
)
def test_the_newest_ptx_follows_from_the_driver(cuda: tuple[int, int], ptx: tuple[int, int]) -> None:
    assert newest_ptx(cuda) == ptx
    assert replace(GPU, cuda=cuda).target == Target((9, 0), ptx)


def test_models_do_not_mix() -> None:
    require_one_model([GPU, replace(GPU, ordinal=1, uuid="GPU-1")])
    with pytest.raises(ConfigError, match="GPU 0 is a NVIDIA H200 and GPU 1 a NVIDIA L4"):
        require_one_model([GPU, replace(GPU, ordinal=1, name="NVIDIA L4")])


def test_a_machine_without_a_driver_is_told_so() -> None:
    if available() is None:
        pytest.skip("this machine has a GPU")
    with pytest.raises(UnavailableError, match="the cuda backend does not work here: "):
        describe([0])


def test_conditions_of_an_unknown_gpu_are_unknown() -> None:
    nvml = Nvml("GPU-none")
    assert nvml.read() is None
    assert nvml.driver() == "unknown"


def test_a_driver_error_carries_the_drivers_name_and_log() -> None:
    assert str(DriverError("CUDA_ERROR_INVALID_PTX", "cuModuleLoadDataEx", "line 7")) == (
        "CUDA_ERROR_INVALID_PTX from cuModuleLoadDataEx: line 7"
    )


@pytest.mark.parametrize("size", [1, 2, 4, 8])
def test_the_probes_are_valid_ptx(size: int) -> None:
    ptxas = Path(triton.__file__).parent / "backends/nvidia/bin/ptxas"
    for text in (probes.count_ptx(size), probes.gather_ptx(size), probes.checksum_ptx(), probes.EMPTY_PTX):
        run = subprocess.run(
            [ptxas, "-arch", "sm_90", "-o", "/dev/null", "-"], input=text, capture_output=True, text=True, check=False
        )
        assert run.returncode == 0, run.stderr
