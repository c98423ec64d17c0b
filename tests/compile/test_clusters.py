"""Clusters that the code states are launched as any grid is; all that a launch would have to describe is refused."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import pytest
from workspace import Workspace

from tuner import Problem, Range
from tuner.backends.model.predict import predict
from tuner.compile.compiler import Compiler
from tuner.compile.launch_rules import LaunchRuleError, check_cluster
from tuner.compile.pipeline import compile_tactic
from tuner.compile.ptx import parse
from tuner.gate.verifier import Verifier
from tuner.gpu.catalog import find_device
from tuner.gpu.target import Target
from tuner.kernel.loader import load_kernel
from tuner.outcome import FailureClass, TacticError
from tuner.qdp.offers import CompilingOffer, legal
from tuner.qdp.plugin import register
from tuner.qdp.rehearsal.kernels import rehearse

H100 = Target((9, 0))
PTX = """\
.version 8.7
.target sm_90a
.address_size 64
.visible .entry scale(.param .u64 x, .param .u32 n, .param .u64 y)
.reqntid 128
DIRECTIVE
{
    ret;
}
"""
TRITON = """
import triton
import triton.language as tl

from tuner import Kernel, Launch, Tensor, cdiv, choice


@triton.jit
def scale(x_ptr, n, y_ptr, B: tl.constexpr):
    for block in range(tl.program_id(0), tl.cdiv(n, B), tl.num_programs(0)):
        offsets = block * B + tl.arange(0, B)
        tl.store(y_ptr + offsets, tl.load(x_ptr + offsets, mask=offsets < n) * 2, mask=offsets < n)


kernel = Kernel(
    id="test::clustered",
    source=scale,
    inputs={"x": Tensor("fp32", "N")},
    outputs={"y": Tensor("fp32", "N")},
    params=[choice("B", 1024, 2048), choice("num_ctas", 1, 2, 4)],
    default={"B": 1024, "num_ctas": 2},
    launch=lambda N, B: Launch(grid=(cdiv(N, 2 * B),), args=(N,)),
    reference=lambda x: 2 * x,
    tiles={"N": "B"},
)
"""
CUDA = """
from tuner import Kernel, Launch, Tensor, cdiv, choice
from tuner.frontends import CudaCpp

kernel = Kernel(
    id="test::cuda_clustered",
    source=CudaCpp(
        'extern "C" __global__ void __cluster_dims__(4, 1, 1) twice(const float *x, int n, float *y) {'
        "  int i = blockIdx.x * 256 + threadIdx.x; if (i < n) y[i] = 2 * x[i]; }",
        entry="twice",
    ),
    inputs={"x": Tensor("fp32", "N")},
    outputs={"y": Tensor("fp32", "N")},
    params=[choice("EACH", 1, 4)],
    default={"EACH": 4},
    launch=lambda N, EACH: Launch(grid=(cdiv(N, 256 * EACH) * EACH,), args=(N,), block=(256,)),
    reference=lambda x: 2 * x,
)
"""


@pytest.fixture
def problem(tmp_path: Path) -> Problem:
    (tmp_path / "kernel.py").write_text(TRITON)
    return Problem.of(load_kernel("kernel.py", tmp_path), {"N": Range(1, 100_000, 10**6)})


@pytest.mark.parametrize(
    ("directive", "grid", "message"),
    [
        (".explicitcluster", (8, 1, 1), "needs a launch that describes its clusters"),
        (".maxclusterrank 4", (8, 1, 1), "needs a launch that describes its clusters"),
        (".blocksareclusters\n.reqnctapercluster 2", (8, 1, 1), "needs a launch that describes its clusters"),
        (".reqnctapercluster 16", (16, 1, 1), "clusters of 16 blocks"),
        (".reqnctapercluster 4", (6, 1, 1), "6 blocks along x, which are no whole clusters of 4"),
        (".reqnctapercluster 1, 2, 1", (6, 3, 1), "3 blocks along y"),
    ],
)
def test_what_an_ordinary_launch_cannot_start_is_refused(
    directive: str, grid: tuple[int, int, int], message: str
) -> None:
    with pytest.raises(LaunchRuleError, match=message) as error:
        check_cluster(parse(PTX.replace("DIRECTIVE", directive)).entry, grid)
    assert error.value.rule == "cluster"


@pytest.mark.parametrize(
    ("directive", "cluster"),
    [
        ("", None),
        (".reqnctapercluster 2", (2, 1, 1)),
        (".explicitcluster\n.reqnctapercluster 2, 4, 1", (2, 4, 1)),
    ],
)
def test_clusters_whose_shape_the_code_states_pass(directive: str, cluster: tuple[int, int, int] | None) -> None:
    entry = parse(PTX.replace("DIRECTIVE", directive)).entry
    check_cluster(entry, (8, 4, 1))
    assert entry.cluster == cluster


def test_a_program_of_triton_is_a_cluster_and_the_grid_counts_its_blocks(problem: Problem) -> None:
    for ctas in (1, 2, 4):
        config = {"B": 1024, "num_ctas": ctas}
        artifact = compile_tactic(problem, config, H100)
        assert artifact.cluster == (ctas, 1, 1)
        assert (parse(artifact.ptx).entry.cluster or (1, 1, 1)) == (ctas, 1, 1)
        assert problem.launch(config).grid == (49 * ctas, 1, 1)
        assert problem.programs(config) == (49, 1, 1)


def test_the_gate_runs_programs_whatever_the_size_of_a_cluster(problem: Problem) -> None:
    verifier = Verifier(problem, seed=0, store=None, workers=1, timeout_s=120, memory_bytes=4 << 30)
    try:
        one, two = (verifier.submit({"B": 1024, "num_ctas": n}) for n in (1, 2))
        assert one is two
        assert two.result(timeout=120).verified == "verified"
    finally:
        verifier.close()


def test_devices_without_clusters_refuse_it(problem: Problem) -> None:
    with pytest.raises(TacticError, match="num_ctas > 1 requires"):
        compile_tactic(problem, {"B": 1024, "num_ctas": 2}, Target((8, 0)))


def test_a_plugin_answers_with_the_multiplied_grid(layer: ModuleType, problem: Problem) -> None:
    compiler = Compiler(H100, store=None, workers=1, timeout_s=120, memory_bytes=4 << 30)
    try:
        offer = CompilingOffer(legal, compiler)
        register(problem.kernel, offer)
        rehearsal, broken = rehearse(problem, offer, H100)
    finally:
        compiler.close()
    assert not broken
    grids = {tuple(p.launches["max"].grid) for p in rehearsal.played}
    assert {(489, 1, 1), (978, 1, 1), (1956, 1, 1)} <= grids


def test_a_bundle_carries_it(workspace: Workspace) -> None:
    clustered = TRITON.replace('"num_ctas", 1, 2, 4', '"num_ctas", 2')
    (workspace.folder / "kernel.py").write_text(clustered)
    (workspace.folder / "job.toml").write_text(
        'version = 1\nkernel = "kernel.py"\ntarget = "h200"\n[problem]\ndims = { N = 100000 }\n[search]\ntrials = 2\n'
    )
    run = workspace.run("tune", "job.toml", "--backend", "model", "--out", "results")
    assert run.code == 0, run.err
    run = workspace.run("export", "job.toml", "--format", "bundle", "--out", "bundle")
    assert run.code == 0, run.err
    (served,) = json.loads((workspace.folder / "bundle" / "manifest.json").read_text())["kernels"].values()
    for tactic in (served["problems"][0]["default"], *served["problems"][0]["tactics"]):
        assert parse((workspace.folder / "bundle" / tactic["ptx"]).read_text()).entry.cluster == (2, 1, 1)
        assert tactic["grid"][0] == 2 * -(-100000 // (2 * tactic["config"]["B"]))


def test_cuda_clusters_are_counted_by_the_declared_grid(tmp_path: Path) -> None:
    pytest.importorskip("cuda.bindings.nvrtc")
    (tmp_path / "kernel.py").write_text(CUDA)
    kernel = load_kernel("kernel.py", tmp_path)
    whole, part = Problem.of(kernel, {"N": 100_000}), Problem.of(kernel, {"N": 100_000})
    artifact = compile_tactic(whole, {"EACH": 4}, H100)
    assert artifact.cluster == (4, 1, 1)
    with pytest.raises(TacticError, match="391 blocks along x, which are no whole clusters of 4") as error:
        compile_tactic(part, {"EACH": 1}, H100)
    assert error.value.kind is FailureClass.COMPILE


def test_the_model_knows_that_clusters_take_turns_on_fewer_multiprocessors(problem: Problem) -> None:
    fixed = problem.at({"N": 10**6})
    facts = {}
    for ctas in (1, 4):
        config = {"B": 1024, "num_ctas": ctas}
        timing = predict(find_device("h200"), fixed, config, compile_tactic(fixed, config, H100))
        facts[ctas] = timing.facts
    launched = {ctas: ctas * fixed.programs({"B": 1024, "num_ctas": ctas})[0] for ctas in facts}
    slots = {ctas: launched[ctas] / facts[ctas]["waves"] / facts[ctas]["blocks_per_sm"] for ctas in facts}
    assert slots[1] == pytest.approx(132)
    assert 120 <= slots[4] <= 132
