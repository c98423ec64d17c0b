"""The gallery: spaces hold what is known to be fast, tactics compile to the code meant, results are right."""

from __future__ import annotations

import ast
import random
from pathlib import Path

import pytest

from tuner import Kernel, Problem, Range
from tuner.compile.pipeline import compile_tactic
from tuner.gate.verifier import Verifier
from tuner.gpu.target import Target
from tuner.kernel.loader import load_kernel
from tuner.kernel.problem import Dims
from tuner.search.tactic import Config
from tuner.tuning.config import load_config

ROOT = Path(__file__).parents[2]
NAMES = ("gemm", "increment", "rms_norm", "softmax", "swiglu", "transpose")
H200 = Target((9, 0))

SMALL: dict[str, Dims] = {
    "gemm": {"M": Range(1, 300, 600), "N": 192, "K": 80},
    "increment": {"N": Range(1, 5000, 10**6)},
    "rms_norm": {"M": Range(1, 40, 80), "N": Range(1, 600, 10000)},
    "softmax": {"M": Range(1, 40, 80), "N": Range(1, 600, 10000)},
    "swiglu": {"N": Range(1, 5000, 10**6)},
    "transpose": {"M": Range(1, 100, 500), "N": Range(1, 300, 700)},
}
"""Dynamic wherever the source takes the dimension as an argument."""


def kernel(name: str) -> Kernel:
    return load_kernel(f"kernels/{name}.py", ROOT)


def job(name: str) -> Problem:
    """The problem of a shipped config."""
    return load_config(ROOT / "configs" / f"{name}.toml").problems[0]


def gemm(m: int, n: int, k: int, warps: int, stages: int, parts: int = 1) -> Config:
    shape = {"BLOCK_M": m, "BLOCK_N": n, "BLOCK_K": k, "GROUP_M": 8, "PARTS": parts, "PROGRAMS": 132}
    return {**shape, "num_warps": warps, "num_stages": stages}


NORMAL: Config = {"LOADS": "normal", "STORES": "normal"}

GOOD: list[tuple[str, Config]] = [
    ("increment", {"BLOCK_SIZE": 1024, "num_warps": 4}),
    ("softmax", {"ROWS": 1, "BLOCK_N": 4096, **NORMAL, "num_warps": 8}),
    ("rms_norm", {"ROWS": 1, "BLOCK_N": 8192, "num_warps": 16}),
    ("swiglu", {"BLOCK_SIZE": 1024, "BLOCKS": 1, **NORMAL, "num_warps": 4}),
    ("transpose", {"BLOCK_M": 64, "BLOCK_N": 64, "num_warps": 4}),
    ("gemm", gemm(128, 256, 64, warps=8, stages=3)),
    ("gemm", gemm(128, 256, 64, warps=8, stages=4, parts=2)),
    ("gemm", gemm(64, 128, 64, warps=4, stages=4)),
]
"""Regions known to be fast at the shipped sizes on an H200, or from public tutorials."""


PARTS = (
    *("id", "source", "inputs", "outputs", "dtypes", "attributes", "params", "constraints", "default", "launch"),
    *("reference", "tolerances", "bytes", "flops", "tiles"),
)


@pytest.mark.parametrize("path", sorted((ROOT / "kernels").glob("*.py")), ids=lambda path: path.stem)
def test_each_file_of_the_gallery_declares_one_kernel_in_the_same_order_of_parts(path: Path) -> None:
    calls = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call)]
    (declared,) = ([k.arg for k in c.keywords] for c in calls if getattr(c.func, "id", None) == "Kernel")
    assert declared == [part for part in PARTS if part in declared]


@pytest.mark.parametrize(("name", "tactic"), GOOD)
def test_space_contains_tactics_known_to_be_fast(name: str, tactic: Config) -> None:
    assert tactic in job(name).space


@pytest.mark.parametrize("name", NAMES)
def test_space_is_worth_searching_and_can_be_exhausted(name: str) -> None:
    assert 40 <= job(name).space.size <= 1000


@pytest.mark.parametrize("size", [1, 17, 4096, 100_000])
@pytest.mark.parametrize("name", NAMES)
def test_default_is_legal_at_every_size_and_dtype(name: str, size: int) -> None:
    declared = kernel(name)
    if name == "gemm":  # its rows must be aligned
        size = -(-size // 8) * 8
    for dtype in declared.dtypes["T"]:
        assert declared.default in Problem.of(declared, dict.fromkeys(declared.dims, size), {"T": dtype}).space


@pytest.mark.parametrize("name", NAMES)
def test_sampled_tactics_compile_without_spills(name: str) -> None:
    problem = job(name)
    for tactic in [problem.kernel.default, *problem.space.sample(random.Random(7), 3)]:
        resources = compile_tactic(problem, tactic, H200).resources
        assert (tactic, resources.spill_store_bytes) == (tactic, 0)


@pytest.mark.parametrize("name", ["rms_norm", "softmax"])
def test_blocks_beyond_the_register_file_are_refused_and_those_that_fill_it_do_not_spill(name: str) -> None:
    problem = Problem.of(kernel(name), {"M": 8192, "N": 32768})
    full: Config = {"ROWS": 1, "BLOCK_N": 32768, "num_warps": 32, **(NORMAL if name == "softmax" else {})}
    refused = problem.space.violated({**full, "ROWS": 2})
    assert refused is not None
    assert refused.name == "register_file"
    assert full in problem.space
    assert compile_tactic(problem, full, H200).resources.spill_store_bytes == 0


@pytest.mark.parametrize(("name", "tactic"), GOOD[:5])
@pytest.mark.parametrize("dtype", ["fp16", "fp32"])
def test_memory_is_crossed_in_16_byte_accesses(name: str, tactic: Config, dtype: str) -> None:
    problem = Problem.of(kernel(name), dict.fromkeys(kernel(name).dims, 16384), {"T": dtype})
    resources = compile_tactic(problem, tactic, H200).resources
    assert set(resources.load_widths) == {16}
    assert set(resources.store_widths) == {16}


def test_gemm_uses_the_tensor_cores_of_whole_warp_groups_and_the_tensor_memory_accelerator() -> None:
    artifact = compile_tactic(job("gemm"), gemm(128, 256, 64, warps=8, stages=3), H200)
    assert "wgmma.mma_async" in artifact.ptx
    assert "cp.async.bulk.tensor" in artifact.ptx


@pytest.mark.parametrize("name", ["gemm", "batched_gemm", "quantized_gemm"])
def test_products_refuse_rows_that_no_descriptor_takes(name: str) -> None:
    declared = kernel(name)
    for dim in ("N", "K"):
        problem = Problem.of(declared, {**dict.fromkeys(declared.dims, 64), dim: 63})
        refused = problem.space.violated(declared.default)
        assert refused is not None
        assert refused.name == "aligned_rows"


@pytest.mark.parametrize("name", NAMES)
def test_dynamic_dimensions_compile(name: str) -> None:
    problem = Problem.of(kernel(name), SMALL[name])
    compile_tactic(problem, problem.kernel.default, H200)


CASES = [(name, dtype) for name in NAMES for dtype in kernel(name).dtypes["T"]]


@pytest.mark.parametrize(("name", "dtype"), CASES)
def test_sampled_tactics_are_right_at_every_edge(name: str, dtype: str) -> None:
    declared = kernel(name)
    attributes = {"eps": 0.5} if name == "rms_norm" else {}  # large enough to matter in every dtype
    problem = Problem.of(declared, SMALL[name], {"T": dtype}, attributes)
    tactics = [declared.default, *problem.space.sample(random.Random(3), 2)]
    verifier = Verifier(problem, seed=1, store=None, workers=1, timeout_s=60, memory_bytes=4 << 30)
    try:
        answers = [verifier.submit(t) for t in tactics]
        assert [(t, a.result(timeout=120).verified) for t, a in zip(tactics, answers, strict=True)] == [
            (t, "verified") for t in tactics
        ]
    finally:
        verifier.close()
