"""The gallery's operators of language models: known good tactics are in the space, compile as meant, and are right."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from tuner import Kernel, Problem
from tuner.compile.pipeline import compile_tactic
from tuner.gate.inputs import make_inputs
from tuner.gate.instances import instances
from tuner.gate.verifier import Verifier
from tuner.gpu.target import Target
from tuner.kernel.kernel import Attribute
from tuner.kernel.loader import load_kernel
from tuner.kernel.problem import Dims
from tuner.search.tactic import Config
from tuner.tuning.config import load_config

ROOT = Path(__file__).parents[2]
H200 = Target((9, 0))


def kernel(name: str) -> Kernel:
    return load_kernel(f"kernels/{name}.py", ROOT)


def problems(name: str) -> tuple[Problem, ...]:
    """The problems of a shipped config."""
    return load_config(ROOT / "configs" / f"{name}.toml").problems


def rows(rows: int, block: int, warps: int) -> Config:
    return {"ROWS": rows, "BLOCK_N": block, "num_warps": warps}


def tile(m: int, n: int, k: int, warps: int, stages: int, parts: int = 1, programs: int = 132) -> Config:
    shape = {"BLOCK_M": m, "BLOCK_N": n, "BLOCK_K": k, "GROUP_M": 8, "PARTS": parts, "PROGRAMS": programs}
    return {**shape, "num_warps": warps, "num_stages": stages}


def attend(m: int, n: int, warps: int, stages: int) -> Config:
    return {"BLOCK_M": m, "BLOCK_N": n, "num_warps": warps, "num_stages": stages}


def stream(block: int, blocks: int, warps: int, loads: str = "normal") -> Config:
    return {"BLOCK_SIZE": block, "BLOCKS": blocks, "LOADS": loads, "STORES": loads, "num_warps": warps}


GOOD: list[tuple[str, Config]] = [
    ("add_rms_norm", rows(1, 8192, 16)),
    ("layer_norm", rows(1, 8192, 16)),
    ("gelu", stream(1024, 1, 4)),
    ("rope", {"TOKENS": 1, "HEADS": 16, "num_warps": 4}),
    ("quantize_fp8", rows(1, 8192, 16)),
    ("attention", attend(128, 64, 8, 3)),
    ("attention", attend(128, 128, 8, 2)),
    ("attention", attend(64, 64, 4, 3)),
    ("quantized_gemm", tile(128, 128, 128, warps=8, stages=4)),
    ("quantized_gemm", tile(128, 256, 128, warps=8, stages=4, parts=2)),
    ("batched_gemm", tile(128, 256, 64, warps=8, stages=3)),
    ("argmax", rows(1, 8192, 16)),
    ("embedding", {"BAGS": 1, "BLOCK_D": 4096, "num_warps": 8}),
    ("depthwise_conv", {"ROWS": 14, "GROUPS": 2, "COLUMNS": 2, "BLOCK_C": 64, "HOLD": True, "num_warps": 1}),
]
"""From public tutorials and libraries for the same operators, or what moves 16 bytes per thread and access."""

NAMES = tuple(dict.fromkeys(name for name, _ in GOOD))


@pytest.mark.parametrize(("name", "tactic"), GOOD)
def test_space_contains_tactics_known_to_be_fast(name: str, tactic: Config) -> None:
    assert tactic in problems(name)[0].space


@pytest.mark.parametrize("name", NAMES)
def test_space_is_worth_searching_and_can_be_exhausted(name: str) -> None:
    for problem in problems(name):
        assert 25 <= problem.space.size <= 1000


SPILLED = {"attention": 64, "rope": 64}
"""Bytes that sampled tactics of these may spill; those of others may not. A thread that keeps more than its registers
hold spills 130 to 2100 bytes; one that just fits them may spill 16 words once, outside its loops."""


@pytest.mark.parametrize("name", NAMES)
def test_defaults_compile_without_spills_and_sampled_tactics_with_none_or_few(name: str) -> None:
    problem = problems(name)[0]
    assert compile_tactic(problem, problem.kernel.default, H200).resources.spill_store_bytes == 0
    for tactic in problem.space.sample(random.Random(7), 2):
        resources = compile_tactic(problem, tactic, H200).resources
        assert resources.spill_store_bytes <= SPILLED.get(name, 0), tactic


@pytest.mark.parametrize("name", ["add_rms_norm", "layer_norm", "gelu", "embedding"])
def test_results_leave_in_16_byte_accesses(name: str) -> None:
    problem = problems(name)[0]
    assert set(compile_tactic(problem, problem.kernel.default, H200).resources.store_widths) == {16}


@pytest.mark.parametrize(
    ("name", "dtypes", "instruction"),
    [
        ("attention", {"T": "bf16"}, "HGMMA"),
        ("batched_gemm", {"T": "bf16"}, "HGMMA"),
        ("quantized_gemm", {"Q": "fp8e4nv"}, "QGMMA"),
        ("quantized_gemm", {"Q": "i8"}, "IGMMA"),
    ],
)
def test_products_use_the_tensor_cores_of_whole_warp_groups(name: str, dtypes: Config, instruction: str) -> None:
    shipped = problems(name)[0]
    problem = Problem.of(shipped.kernel, shipped.sizes(), {k: str(v) for k, v in dtypes.items()})
    shapes = compile_tactic(problem, problem.kernel.default, H200).resources.loop_tensor_shapes
    assert shapes
    assert all(shape.startswith(instruction) for shape in shapes)


CASES: list[tuple[str, Dims, dict[str, str], dict[str, Attribute], Config]] = [
    ("add_rms_norm", {"M": 9, "N": 600}, {"T": "bf16"}, {"eps": 0.5}, rows(2, 256, 2)),
    ("layer_norm", {"M": 9, "N": 600}, {"T": "fp32"}, {"eps": 0.5}, rows(2, 256, 2)),
    ("gelu", {"N": 600}, {"T": "fp32"}, {}, stream(128, 2, 1, "evict_first")),
    ("gelu", {"N": 600}, {"T": "fp16"}, {}, stream(128, 1, 1)),
    ("gelu", {"N": 600}, {"T": "bf16"}, {}, stream(128, 2, 1, "evict_first")),
    ("gelu", {"N": 600}, {"T": "fp16"}, {"approximate": True}, stream(128, 1, 1)),
    ("rope", {"M": 5, "H": 6, "G": 3, "C": 40}, {"T": "bf16"}, {}, {"TOKENS": 2, "HEADS": 4, "num_warps": 1}),
    ("quantize_fp8", {"M": 9, "N": 600}, {"T": "bf16"}, {}, rows(2, 256, 2)),
    ("attention", {"B": 2, "G": 2, "S": 100, "D": 16}, {"T": "fp16"}, {"causal": True}, attend(64, 32, 4, 2)),
    ("attention", {"B": 2, "G": 2, "S": 100, "D": 16}, {"T": "bf16"}, {"causal": False}, attend(64, 32, 4, 2)),
    ("quantized_gemm", {"M": 70, "N": 80, "K": 96}, {"Q": "fp8e4nv"}, {"silu": True}, tile(64, 64, 64, 4, 4)),
    ("quantized_gemm", {"M": 70, "N": 80, "K": 96}, {"Q": "i8", "T": "fp16"}, {}, tile(64, 64, 64, 4, 4)),
    ("batched_gemm", {"B": 3, "M": 70, "N": 80, "K": 96}, {"T": "bf16"}, {}, tile(64, 64, 32, 4, 4)),
    ("argmax", {"M": 9, "N": 600}, {"T": "fp16"}, {}, rows(2, 256, 2)),
    ("embedding", {"V": 50, "D": 300, "B": 9, "L": 3}, {"T": "fp16"}, {}, {"BAGS": 2, "BLOCK_D": 128, "num_warps": 1}),
    (
        "depthwise_conv",
        {"B": 2, "H": 9, "W": 5, "C": 40, "R": 3, "S": 2},
        {"T": "fp16"},
        {},
        {"ROWS": 7, "GROUPS": 2, "COLUMNS": 2, "BLOCK_C": 64, "HOLD": True, "num_warps": 1},
    ),
    (
        "depthwise_conv",
        {"B": 2, "H": 9, "W": 5, "C": 40, "R": 2, "S": 3},
        {"T": "bf16"},
        {},
        {"ROWS": 7, "GROUPS": 4, "COLUMNS": 1, "BLOCK_C": 64, "HOLD": False, "num_warps": 1},
    ),
]
"""Small problems and tiles, so that a tactic crosses every edge in little time."""


@pytest.mark.parametrize(("name", "dims", "dtypes", "attributes", "tactic"), CASES)
def test_tactic_is_right_at_every_edge(
    name: str, dims: Dims, dtypes: dict[str, str], attributes: dict[str, Attribute], tactic: Config
) -> None:
    problem = Problem.of(kernel(name), dims, dtypes, attributes)
    verifier = Verifier(problem, seed=1, store=None, workers=1, timeout_s=100, memory_bytes=4 << 30)
    try:
        assert verifier.submit(tactic).result(timeout=120).verified == "verified"
    finally:
        verifier.close()


def test_positions_reach_every_row_of_a_table_and_none_beyond() -> None:
    for instance in instances(problems("embedding")[0], kernel("embedding").default):
        sizes = instance.sizes()
        index = make_inputs(instance, seed=1)["index"]
        assert index.min() >= 0
        assert index.max() < sizes["V"]
    large = kernel("embedding")
    many = Problem.of(large, {"V": 20, "D": 1, "B": 100, "L": 10})
    assert set(np.unique(make_inputs(many, seed=1)["index"])) == set(range(20))
