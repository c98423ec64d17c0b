"""What an assembler leaves is looked at before it is believed."""

from __future__ import annotations

from pathlib import Path

from tuner import Problem
from tuner.compile.assembler import is_whole
from tuner.compile.pipeline import compile_tactic
from tuner.gpu.target import Target
from tuner.kernel.loader import load_kernel

ROOT = Path(__file__).parents[2]


def test_a_cubin_that_was_cut_anywhere_is_not_whole() -> None:
    problem = Problem.of(load_kernel("kernels/increment.py", ROOT), {"N": 4096}, {"T": "fp32"})
    cubin = compile_tactic(problem, {"BLOCK_SIZE": 512, "num_warps": 4}, Target((9, 0), disassemble=False)).cubin
    assert is_whole(cubin)
    assert not any(is_whole(cubin[:length]) for length in range(len(cubin)))
    assert not is_whole(b"not an ELF file, but long enough to hold the header of one " * 4)
