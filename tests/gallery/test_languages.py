"""The shipped kernels in other languages: each compiles, and is rehearsed and exported as any other."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from workspace import Workspace

from tuner import Problem, Range
from tuner.compile.pipeline import compile_tactic
from tuner.gpu.present import available
from tuner.gpu.target import Target
from tuner.kernel.problem import Dims
from tuner.tuning.config import load_config

NO_GPU = available()
FOLDER = Path(__file__).parents[2] / "configs" / "frontends"
NEEDS = {"numba": "numba_cuda", "cute": "cutlass.cute", "cuda": "cuda.bindings.nvrtc", "any": "cuda.bindings.nvrtc"}
CONFIGS = sorted(FOLDER.glob("*.toml"))


@pytest.fixture(params=CONFIGS, ids=lambda path: path.stem)
def config(request: pytest.FixtureRequest) -> Path:
    """A shipped config whose language is installed."""
    path: Path = request.param
    language = path.stem.rpartition("_")[2]
    if language in NEEDS:
        pytest.importorskip(NEEDS[language], reason=f"{NEEDS[language]} is not installed")
    return path


def test_the_default_and_others_compile_without_spills(config: Path) -> None:
    problem = load_config(config).problems[0]
    for tactic in [problem.kernel.default, *problem.space.sample(random.Random(1), 1)]:
        resources = compile_tactic(problem, tactic, Target((9, 0))).resources
        assert (tactic, resources.spill_store_bytes) == (tactic, 0)


def test_it_rehearses_clean(workspace: Workspace, config: Path) -> None:
    run = workspace.run("rehearse", str(config), "--tactics", "1", "--workers", "1", "--json")
    if run.code == 3 and "pip install" in run.err:
        pytest.skip(run.err)
    assert run.code == 0, run.out + run.err
    assert [b for line in run.document["rehearsals"] for b in line["broken"]] == []


@pytest.mark.gpu
@pytest.mark.skipif(NO_GPU is not None, reason=NO_GPU or "")
def test_it_is_correct_on_a_gpu(workspace: Workspace, config: Path) -> None:
    run = workspace.run("tune", str(config), "--backend", "cuda", "--trials", "8", "--json")
    assert run.code == 0, run.err
    for job in run.document["jobs"]:
        assert job["winner"]["verified"] == "verified"
        assert job["failures"] == {}


def test_it_is_tuned_without_a_gpu_and_says_what_was_not_checked(workspace: Workspace) -> None:
    run = workspace.run("tune", str(FOLDER / "increment_ptx.toml"), "--backend", "model", "--trials", "2", "--json")
    assert run.code == 0, run.err
    (job,) = run.document["jobs"]
    assert job["winner"]["verified"] == "unverified: PTX runs on a GPU only"


@pytest.mark.parametrize("D", [64, 128])
@pytest.mark.parametrize("attributes", [{"causal": False}, {"causal": True}, {"causal": True, "window": 512}])
def test_attention_in_gluon_keeps_everything_in_registers(D: int, attributes: dict[str, int]) -> None:
    kernel = load_config(FOLDER / "attention_gluon.toml").problems[0].kernel
    lengths = Range(1, 4096, 16384)
    problem = Problem.of(kernel, {"B": (1, 8), "G": 8, "S": lengths, "D": D}, {"T": "bf16"}, attributes)
    usual = {"source": "gluon", **kernel.alternatives["gluon"].default}
    for consumers, tactic in ((2, usual), (3, {**usual, "CONSUMERS": 3, "BLOCK_N": 8192 // D, "STAGES": 2})):
        artifact = compile_tactic(problem, tactic, Target((9, 0)))
        assert artifact.block == (128 * (consumers + 1), 1, 1)
        assert (tactic, artifact.resources.spill_store_bytes, artifact.resources.local_bytes) == (tactic, 0, 0)
        assert any(shape.startswith("HGMMA.64x") for shape in artifact.resources.loop_tensor_shapes)


@pytest.mark.parametrize("causal", [False, True])
def test_packed_attention_in_gluon_keeps_everything_in_registers(causal: bool) -> None:
    kernel = load_config(FOLDER / "packed_attention_gluon.toml").problems[0].kernel
    usual = {"source": "gluon", **kernel.alternatives["gluon"].default}
    for D, tactic in ((128, usual), (64, {**usual, "CONSUMERS": 3, "STAGES": 3})):
        sizes: Dims = {"B": Range(1, 8, 256), "N": Range(1, 16384, 65536), "H": 8, "G": 4, "D": D}
        artifact = compile_tactic(Problem.of(kernel, sizes, {"T": "bf16"}, {"causal": causal}), tactic, Target((9, 0)))
        assert (artifact.resources.spill_store_bytes, artifact.resources.local_bytes) == (0, 0)


def test_packed_attention_in_triton_is_right_on_the_interpreter(workspace: Workspace) -> None:
    config = FOLDER / "packed_attention_gluon.toml"
    run = workspace.run("tune", str(config), "--backend", "model", "--trials", "1", "--json")
    assert run.code == 0, run.err
    (job,) = run.document["jobs"]
    assert job["winner"]["verified"] == "verified"
