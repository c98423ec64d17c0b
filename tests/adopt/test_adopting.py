"""Host functions are declared by watching them, with torch and without."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from adoptable import SOURCE

TORCH = importlib.util.find_spec("torch") is not None


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(SOURCE)
    return tmp_path


def command(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "TUNER_CACHE": str(project / "cache.json")}
    program = [sys.executable, "-c", "from tuner.cli import main; main()", *arguments]
    return subprocess.run(program, cwd=project, env=environment, capture_output=True, text=True, timeout=600)


def adopted(project: Path, function: str, call: str) -> tuple[str, list[str]]:
    """The text of the declaration, and what is left to do."""
    done = command(
        project, "adopt", f"mine:{function}", "--call", call, "--id", "my::op", "--out", "kernels/op.py", "--json"
    )
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    assert document["files"] == ["kernels/op.py", "configs/op.toml", "tests/test_op.py"]
    return (project / "kernels/op.py").read_text(), document["todo"]


def test_sizes_strides_constants_attributes_and_directions_are_told_apart(project: Path) -> None:
    text, todo = adopted(project, "scale", "f(fp16[M=512, N=256], fp16[N], 1e-6)")

    assert '"x": Tensor("T", "M N"),' in text
    assert '"w": Tensor("T", "N"),' in text
    assert '"out": Tensor("T", "M N"),' in text
    assert 'dtypes={"T": ("fp16", "bf16",)}' in text
    assert 'attributes={"eps": 1e-06}' in text
    assert 'constants=lambda N: {"BLOCK": next_power_of_2(N)}' in text
    assert 'args={"out_stride": N, "x_stride": N, "n_cols": N}' in text
    assert any("if w is None" in line for line in todo)  # a branch that no run took
    assert not any("eps < 0" in line for line in todo)  # which only raises


def test_a_tensor_that_is_written_in_place_is_an_alias(project: Path) -> None:
    text, _ = adopted(project, "add_", "f(fp32[N=100000], fp32[N])")

    assert '"x_out": Alias("x"),' in text
    assert 'powers_of_two("BLOCK_SIZE", 256, 4096)' in text
    assert "grid=(cdiv(N, BLOCK_SIZE),)" in text


def test_an_output_that_is_filled_and_added_to_starts_there(project: Path) -> None:
    text, _ = adopted(project, "row_sums", "f(fp32[M=64, N=4096])")

    assert '"total": Tensor("fp32", "M", start=0),' in text
    assert "grid=(M, cdiv(N, BLOCK_SIZE),)" in text.replace("BLOCK_SIZE))", "BLOCK_SIZE),)")


def test_several_launches_are_a_chain_with_a_workspace(project: Path) -> None:
    text, _ = adopted(project, "peak", "f(fp32[M=64, N=8192])")

    assert "kernel = Chain(" in text
    assert '"partial": Tensor("fp32", "M cdiv(N, TILE)"),' in text
    assert text.index('"parts",') < text.index('"whole",')
    assert '"P": cdiv(N, TILE)' in text
    assert '"WIDE": next_power_of_2(cdiv(N, TILE))' in text
    assert 'powers_of_two("TILE", 64, 1024)' in text


def test_sizes_that_the_function_refuses_are_said_and_become_a_constraint(project: Path) -> None:
    text, todo = adopted(project, "whole_rows", "f(fp32[M=64, N=1024], fp32[M, N])")

    assert any("N: seen at multiples of 128 alone" in line and "rows are multiples of 128" in line for line in todo)
    assert 'Constraint("whole_N", lambda N: N % 128 == 0' in text


@pytest.mark.skipif(not TORCH, reason="operations are followed by torch's own tensors")
def test_what_no_kernel_does_is_left_to_do(project: Path) -> None:
    _, todo = adopted(project, "running", "f(fp32[M=64, N=1024])")

    assert any("cumsum" in line and "no kernel does it" in line for line in todo)


@pytest.mark.skipif(TORCH, reason="torch knows what it is")
def test_what_the_stand_in_for_torch_does_not_have_is_named(project: Path) -> None:
    done = command(
        project, "adopt", "mine:running", "--call", "f(fp32[M=64, N=1024])", "--id", "my::op", "--out", "op.py"
    )

    assert done.returncode == 2
    assert "Tensor.cumsum is not among what stands for torch; install torch" in done.stderr


def test_a_file_that_exists_is_not_overwritten(project: Path) -> None:
    (project / "configs").mkdir()
    (project / "configs/op.toml").write_text("mine")

    done = command(project, "adopt", "mine:add_", "--call", "f(fp32[N=99])", "--id", "my::op", "--out", "kernels/op.py")

    assert done.returncode == 2
    assert "configs/op.toml exists" in done.stderr
    assert (project / "configs/op.toml").read_text() == "mine"
    assert not (project / "kernels").exists()


@pytest.mark.parametrize(
    ("function", "call", "said"),
    [
        ("mine:skale", "f(fp16[N=9])", "did you mean 'scale'"),
        ("mine:scale", "f(fp16[M=9, N=9], fp16[N], -1.0)", "ValueError: eps is negative"),
        ("mine:scale", "f(fp16[M=9, N=9], None, 1.0)", "launched no Triton kernel"),
        ("nowhere:scale", "f(fp16[N=9])", "module nowhere cannot be imported"),
    ],
)
def test_what_cannot_be_watched_is_one_line(project: Path, function: str, call: str, said: str) -> None:
    done = command(project, "adopt", function, "--call", call, "--id", "my::op", "--out", "op.py")

    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.skipif(not TORCH, reason="the function itself is the reference only where torch is installed")
def test_what_is_written_tunes_and_is_verified_unedited(project: Path) -> None:
    adopted(project, "scale", "f(fp16[M=64, N=256], fp16[N], 1e-6)")

    done = command(project, "tune", "configs/op.toml", "--backend", "model", "--trials", "2", "--json")

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["jobs"][0]["winner"]["verified"] == "verified"


@pytest.mark.skipif(TORCH, reason="the reference is a line to fill in where torch is missing")
def test_without_torch_a_reference_is_all_that_is_to_fill_in(project: Path) -> None:
    text, _ = adopted(project, "scale", "f(fp16[M=64, N=256], fp16[N], 1e-6)")
    start, end = text.index("    # TODO: out in numpy"), text.index("kernel = Kernel(")
    (project / "kernels/op.py").write_text(f"{text[:start]}    return x * w + eps\n\n\n{text[end:]}")

    done = command(project, "tune", "configs/op.toml", "--backend", "model", "--trials", "2", "--json")

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["jobs"][0]["winner"]["verified"] == "verified"
