"""What a kernel takes is read from the vendor's tools: real compiles, and listings for rare shapes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tuner import Problem
from tuner.compile.artifact import Resources
from tuner.compile.pipeline import compile_tactic
from tuner.compile.resources import CLASSES, read_resources
from tuner.gpu.target import Target
from tuner.kernel.loader import load_kernel

KERNELS = """\
import triton
import triton.language as tl

from tuner import Kernel, Launch, Tensor, choice


@triton.jit
def gemm(a_ptr, b_ptr, K, c_ptr, B: tl.constexpr):
    o = tl.arange(0, B)[:, None] * B + tl.arange(0, B)[None, :]
    acc = tl.zeros((B, B), tl.float32)
    for k in range(0, K):
        acc = tl.dot(tl.load(a_ptr + o + k * B), tl.load(b_ptr + o + k * B), acc)
    tl.store(c_ptr + o, acc.to(tl.float16))


@triton.jit
def softmax(x_ptr, N, y_ptr, B: tl.constexpr):
    o = tl.arange(0, B)
    x = tl.load(x_ptr + o, mask=o < N, other=float("-inf")).to(tl.float32)
    e = tl.exp(x - tl.max(x, 0))
    tl.store(y_ptr + o, (e / tl.sum(e, 0)).to(tl.float16), mask=o < N)


@triton.jit
def total(x_ptr, N, y_ptr, B: tl.constexpr):
    o = tl.arange(0, B)
    acc = tl.zeros((B,), tl.float32)
    for start in range(0, N, B):
        acc += tl.load(x_ptr + start + o).to(tl.float32)
    tl.store(y_ptr + o, acc.to(tl.float16))


gemm_kernel = Kernel(
    id="test::gemm",
    source=gemm,
    inputs={"a": Tensor("fp16", "K"), "b": Tensor("fp16", "K")},
    outputs={"c": Tensor("fp16", "K")},
    params=[choice("B", 64), choice("num_warps", 4), choice("num_stages", 3), choice("maxnreg", 0, 48)],
    default={"B": 64, "num_warps": 4, "num_stages": 3, "maxnreg": 0},
    launch=lambda K: Launch((1,), (K,)),
    reference=lambda a, b: a,
)


def row(source):
    return Kernel(
        id="test::" + source.fn.__name__,
        source=source,
        inputs={"x": Tensor("fp16", "N")},
        outputs={"y": Tensor("fp16", "N")},
        params=[choice("B", 1024, 4096), choice("num_warps", 4)],
        default={"B": 1024, "num_warps": 4},
        launch=lambda N: Launch((1,), (N,)),
        reference=lambda x: x,
    )


softmax_kernel = row(softmax)
total_kernel = row(total)
"""

Compile = Callable[..., Resources]
TARGETS = {"sm_80": Target((8, 0)), "sm_89": Target((8, 9)), "sm_90": Target((9, 0))}


@pytest.fixture(scope="module")
def resources(tmp_path_factory: pytest.TempPathFactory) -> Compile:
    folder = tmp_path_factory.mktemp("kernels")
    (folder / "mine.py").write_text(KERNELS)

    def compile_(name: str, size: int, target: str, **config: int) -> Resources:
        kernel = load_kernel(f"mine.py:{name}_kernel", folder)
        problem = Problem.of(kernel, {kernel.dims[0]: size})
        return compile_tactic(problem, {**kernel.default, **config}, TARGETS[target]).resources

    return compile_


@pytest.mark.parametrize(("target", "opcode"), [("sm_80", "HMMA.16816.F32"), ("sm_90", "HGMMA.64x64x16.F32")])
def test_gemm_shows_its_tensor_instructions_in_the_loop(resources: Compile, target: str, opcode: str) -> None:
    gemm = resources("gemm", 64, target)
    assert gemm.tensor_shapes.keys() == {opcode}
    assert gemm.loop_tensor_shapes == gemm.tensor_shapes
    assert gemm.instructions["tensor"] == sum(gemm.tensor_shapes.values()) > 0
    # 64 x 64 x 64 on four warps: 64 instructions of 16 x 8 x 16 for each, or 4 of 64 x 64 x 16 for all.
    assert gemm.tensor_shapes[opcode] == (32 if target == "sm_80" else 4)


def test_pipelined_loop_copies_asynchronously_and_waits_at_barriers(resources: Compile) -> None:
    gemm = resources("gemm", 64, "sm_80")
    assert gemm.instructions["async_copy"] > gemm.loop_instructions["async_copy"] > 0
    assert set(gemm.load_widths) == set(gemm.loop_load_widths) == {16}
    assert gemm.loop_instructions["barrier"] >= 1 and gemm.barriers >= 1
    assert gemm.loop_instructions["global_store"] == 0 < gemm.instructions["global_store"]


def test_too_few_registers_spill(resources: Compile) -> None:
    spilling, fitting = resources("gemm", 64, "sm_80", maxnreg=48), resources("gemm", 64, "sm_80")
    assert spilling.registers <= 48
    assert min(spilling.spill_store_bytes, spilling.spill_load_bytes, spilling.stack_bytes, spilling.local_bytes) > 0
    assert spilling.instructions["local_store"] > 0 and spilling.instructions["local_load"] > 0
    assert fitting.spill_store_bytes == fitting.instructions["local_load"] == 0


@pytest.mark.parametrize("target", TARGETS)
def test_reduction_shuffles_and_goes_through_shared_memory(resources: Compile, target: str) -> None:
    softmax = resources("softmax", 1000, target)
    for name in ("shuffle", "barrier", "shared_load", "shared_store", "special", "fp32", "int", "convert", "branch"):
        assert softmax.instructions[name] > 0, name
    assert softmax.instructions["tensor"] == 0 and softmax.tensor_shapes == {}
    assert softmax.loop_instructions["total"] == 0
    assert tuple(softmax.instructions) == CLASSES
    assert softmax.instructions["total"] == sum(n for c, n in softmax.instructions.items() if c != "total")


@pytest.mark.parametrize("target", TARGETS)
def test_loop_over_a_row_counts_its_loads(resources: Compile, target: str) -> None:
    total = resources("total", 1 << 16, target)
    assert set(total.loop_load_widths) == {16}
    assert 0 < total.loop_instructions["total"] < total.instructions["total"]
    assert total.loop_store_widths == {} != total.store_widths


LISTING = """\
\t.headerflags @"EF_CUDA_SM90"
.text.f:
        /*0000*/                   LDG.E.U8.CONSTANT R2, desc[UR4][R2.64] ;
        /*0010*/                   LDG.E.S16 R2, desc[UR4][R2.64] ;
        /*0020*/                   LDG.E.LTC128B R2, desc[UR4][R2.64] ;
        /*0030*/                   LDG.E.ENL2.256 R2, R4, desc[UR4][R2.64] ;
        /*0040*/               @P0 BRA `(.L_x_3) ;
.L_x_1:
        /*0050*/                   STG.E.64 desc[UR4][R2.64], R4 ;
        /*0060*/                   BRA.U UP0, `(.L_x_1) ;
.L_x_2:
        /*0070*/                   FADD R1, R1, R1 ;
        /*0080*/                   EXIT ;
.L_x_3:
        /*0090*/                   MUFU.EX2 R1, R1 ;
        /*00a0*/                   DADD R2, R2, R2 ;
        /*00b0*/                   HFMA2.BF16_V2 R2, R2, R2, R2 ;
        /*00c0*/                   UIADD3 UR4, UR4, 0x1, URZ ;
        /*00d0*/                   BRA `(.L_x_2) ;
.L_x_4:
        /*00e0*/                   BRA `(.L_x_4);
        /*00f0*/                   NOP;
"""


def test_widths_come_from_modifiers() -> None:
    read = read_resources("", LISTING, "f")
    assert read.load_widths == {1: 1, 2: 1, 4: 1, 32: 1}
    assert read.store_widths == {8: 1}


def test_jump_back_from_rare_code_is_no_loop_and_padding_is_not_counted() -> None:
    read = read_resources("", LISTING, "f")
    assert read.loop_instructions["total"] == 2
    assert read.loop_store_widths == {8: 1} and read.loop_load_widths == {}
    assert read.instructions["total"] == 14
    assert [read.instructions[c] for c in ("special", "fp64", "fp16", "uniform", "branch")] == [1, 1, 1, 1, 4]


LOG = """\
ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function 'f' for 'sm_90a'
ptxas info    : Function properties for helper
    64 bytes stack frame, 8 bytes spill stores, 8 bytes spill loads
ptxas info    : Function properties for f
    16 bytes stack frame, 24 bytes spill stores, 20 bytes spill loads
ptxas info    : Used 40 registers, used 2 barriers, 80 bytes cumulative stack size, 512 bytes smem, 400 bytes cmem[0]
"""


def test_log_is_read_for_the_entry_alone() -> None:
    read = read_resources(LOG, "", "f")
    assert (read.registers, read.barriers, read.shared_bytes) == (40, 2, 512)
    assert (read.stack_bytes, read.spill_store_bytes, read.spill_load_bytes) == (16, 24, 20)
    assert read.local_bytes == 80
