"""Tensor descriptors that host code makes are made in the kernel."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
from declare import HEAD

from tuner import Problem, Range
from tuner.compile.pipeline import compile_tactic
from tuner.compile.ptx import parse
from tuner.errors import ConfigError
from tuner.gate.verifier import Verifier
from tuner.gpu.target import Target
from tuner.kernel.loader import load_kernel

H100 = Target((9, 0), disassemble=False)

PRODUCT = (
    HEAD
    + """
def set_block_shapes(nargs):
    nargs["a_desc"].block_shape = [nargs["BLOCK"], nargs["BLOCK"]]


@triton.jit
def scaled_load(desc, row, column):
    return desc.load([row, column])


def prune(configs, named_args, **kwargs):
    return [c for c in configs if c.kwargs["BLOCK"] <= named_args["K"]]


@triton.autotune(
    configs=[triton.Config({"BLOCK": b}, num_warps=4, pre_hook=set_block_shapes) for b in (32, 64)],
    key=["K"],
    prune_configs_by={"early_config_prune": prune},
)
@triton.jit
def product(c_desc, a_desc, b_desc, K, BLOCK: tl.constexpr):
    row, column = tl.program_id(0) * BLOCK, tl.program_id(1) * BLOCK
    total = tl.zeros((BLOCK, BLOCK), tl.float32)
    for k in range(0, K, BLOCK):
        total = tl.dot(scaled_load(a_desc, row, k), b_desc.load([k, column]), total)
    c_desc.store([row, column], total.to(tl.float16))


kernel = Kernel.from_autotune(
    product,
    id="test::product",
    inputs={"a": Tensor("fp16", "M K"), "b": Tensor("fp16", "K N")},
    outputs={"c": Tensor("fp16", "M N")},
    descriptors={"a": ("BLOCK", "BLOCK"), "b": ("BLOCK", "BLOCK"), "c": ("BLOCK", "BLOCK")},
    launch=lambda M, N, K, BLOCK: Launch((cdiv(M, BLOCK), cdiv(N, BLOCK)), args={"K": K}),
    reference=lambda a, b: a @ b,
    tolerances={"fp16": Tolerance(2**-8, 2**-5)},
    whole_tiles={"N": "8", "K": "8"},
)
"""
)


def load(folder: Path, old: str = "", new: str = "") -> Problem:
    assert old in PRODUCT
    (folder / "product.py").write_text(PRODUCT.replace(old, new) if old else PRODUCT)
    return Problem.of(load_kernel("product.py", folder), {"M": Range(1, 256, 512), "N": 256, "K": 128})


def test_hooks_see_what_the_launch_passes(tmp_path: Path) -> None:
    kernel = load(tmp_path).kernel
    assert [Problem.of(kernel, {"M": 64, "N": 64, "K": k}).space.size for k in (32, 64)] == [1, 2]


def test_a_kernel_of_host_descriptors_is_compiled_and_right(tmp_path: Path) -> None:
    problem = load(tmp_path)
    tactic = problem.kernel.default
    artifact = compile_tactic(problem, tactic, H100)
    types = [p.type for p in parse(artifact.ptx).entry.params]
    assert types == ["u64", "u64", *["u32"] * 7, "u64", "u64"], "inputs; K and six extents; output and scratch"
    assert problem.launch(tactic).args == (128, 256, 128, 128, 256, 256, 256)
    assert "tensormap.replace" in artifact.ptx
    with closing(Verifier(problem, seed=0, store=None, workers=1, timeout_s=300, memory_bytes=2**32)) as gate:
        verdict = gate.submit(tactic).result()
        assert verdict.kind == "verified", verdict


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"a": ("BLOCK", "BLOCK")', '"a": ("BLOCK",)', "'a' the block shape .* another rank"),
        ('"a": ("BLOCK", "BLOCK")', '"a": ("BLOCK", "DEPTH")', "descriptors name 'DEPTH', which is no constant"),
        ("descriptors={", "tiles={} if True else {", "has a pre_hook.*descriptors="),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, old: str, new: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load(tmp_path, old, new)
