from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from tuner import Problem
from tuner.backends.select import BackendChoice, open_backend
from tuner.backends.setting import BackendSetting
from tuner.backends.table import BACKENDS
from tuner.compile.blobs import Store
from tuner.compile.options import CompileOptions
from tuner.errors import ConfigError, UnavailableError
from tuner.gpu.present import available
from tuner.kernel.loader import load_kernel

ROOT = Path(__file__).parents[2]
NO_GPU = available() is not None


PROBLEM = Problem.of(load_kernel("increment.py", ROOT / "kernels"), {"N": 4096})


@pytest.mark.skipif(not NO_GPU, reason="there is a GPU")
def test_auto_takes_the_model_without_a_gpu_and_says_why() -> None:
    choice = BackendChoice.of("auto")
    assert choice.name == "model"
    assert choice.why == f"no measuring here: {available()}"


@pytest.mark.skipif(not NO_GPU, reason="there is a GPU")
def test_cuda_without_a_gpu_is_unavailable() -> None:
    with pytest.raises(UnavailableError, match=r"the cuda backend does not work here: .*tuner doctor"):
        BackendChoice.of("cuda")


@pytest.mark.skipif(importlib.util.find_spec("tensorrt") is not None, reason="TensorRT is installed")
def test_tensorrt_that_is_not_installed_is_unavailable_and_what_to_install_is_said() -> None:
    with pytest.raises(
        UnavailableError, match=r"the tensorrt backend does not work here: .*; pip install .*tuner doctor"
    ):
        BackendChoice.of("tensorrt")


@pytest.mark.gpu
@pytest.mark.skipif(NO_GPU, reason="there is no GPU")
def test_auto_measures_with_a_gpu_and_says_why() -> None:
    choice = BackendChoice.of("auto")
    assert choice.name in ("cuda", "tensorrt") and choice.why.startswith("a GPU is present")


@pytest.mark.parametrize("name", ["modle", "", "CUDA"])
def test_an_unknown_backend_is_refused_with_the_known_ones(name: str) -> None:
    with pytest.raises(ConfigError, match="unknown backend") as e:
        BackendChoice.of(name)
    assert any(known in str(e.value) for known in BACKENDS)


@pytest.mark.parametrize(("name", "table"), [("replay", None), ("model", Path("t.csv")), ("auto", Path("t.csv"))])
def test_replay_and_a_table_belong_together(name: str, table: Path | None) -> None:
    with pytest.raises(ConfigError, match="belong together"):
        BackendChoice.of(name, table=table)


def test_the_model_predicts_for_the_target_of_the_job(tmp_path: Path) -> None:
    setting = BackendSetting("a100", compile=CompileOptions(workers=1))
    backend = open_backend(BackendChoice.of("model"), PROBLEM, setting, Store(tmp_path))
    try:
        origin = backend.origin
        assert (origin.backend, origin.kind, origin.capability) == ("model", "prediction", (8, 0))
        assert "A100" in origin.device
    finally:
        backend.close()


def test_replay_opens_its_table(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("BLOCK_SIZE,num_warps,time_us\n256,4,3.5\n")
    backend = open_backend(BackendChoice.of("replay", table=path), PROBLEM, BackendSetting(), Store(tmp_path))
    origin = backend.origin
    assert (origin.backend, origin.kind, origin.device) == ("replay", "measurement", "unknown device")
    assert origin.environment["table"] == "table"
    backend.close()
