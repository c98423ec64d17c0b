"""Product of int8 or fp8 matrices, with scales, bias and activation applied before it is stored."""

import numpy as np
import triton
import triton.language as tl

from tuner import Constraint, Kernel, Launch, Tensor, Tolerance, cdiv, choice, integers, powers_of_two


@triton.jit
def quantized_gemm(
    a_ptr,
    b_ptr,
    a_scale_ptr,
    b_scale_ptr,
    bias_ptr,
    M,
    N,
    c_ptr,
    K: tl.constexpr,
    silu: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    GROUP_M: tl.constexpr,
):
    # Walk down GROUP_M tiles before moving right: neighbours in time read the same columns of b.
    tiles_m = tl.cdiv(M, BLOCK_M)
    per_group = GROUP_M * tl.cdiv(N, BLOCK_N)
    group = tl.program_id(0) // per_group
    height = min(tiles_m - group * GROUP_M, GROUP_M)
    tile_m = group * GROUP_M + (tl.program_id(0) % per_group) % height
    tile_n = (tl.program_id(0) % per_group) // height

    # Rows and columns beyond the edge wrap around: they are computed and not stored, so loads need no mask.
    rows = (tile_m * BLOCK_M + tl.arange(0, BLOCK_M)) % M
    columns = (tile_n * BLOCK_N + tl.arange(0, BLOCK_N)) % N
    depth = tl.arange(0, BLOCK_K)
    a_ptrs = a_ptr + rows.to(tl.int64)[:, None] * K + depth[None, :]
    b_ptrs = b_ptr + columns.to(tl.int64)[None, :] * K + depth[:, None]
    integer: tl.constexpr = a_ptr.dtype.element_ty == tl.int8
    accumulator = tl.zeros([BLOCK_M, BLOCK_N], tl.int32 if integer else tl.float32)
    for k in range(0, K, BLOCK_K):
        if K % BLOCK_K == 0:
            a = tl.load(a_ptrs)
            b = tl.load(b_ptrs)
        else:
            a = tl.load(a_ptrs, mask=depth[None, :] < K - k, other=0.0)
            b = tl.load(b_ptrs, mask=depth[:, None] < K - k, other=0.0)
        if integer:
            accumulator = tl.dot(a, b, accumulator, out_dtype=tl.int32)
        else:
            # Hopper's tensor cores keep about 14 bits of a sum of fp8 products, so each step is added up outside.
            accumulator = tl.dot(a, b, accumulator, max_num_imprecise_acc=BLOCK_K)
        a_ptrs += BLOCK_K
        b_ptrs += BLOCK_K

    a_scale = tl.load(a_scale_ptr + rows)
    b_scale = tl.load(b_scale_ptr + columns)
    bias = tl.load(bias_ptr + columns).to(tl.float32)
    c = accumulator.to(tl.float32) * a_scale[:, None] * b_scale[None, :] + bias[None, :]
    if silu:
        c *= tl.sigmoid(c)
    rows = tile_m * BLOCK_M + tl.arange(0, BLOCK_M)
    columns = tile_n * BLOCK_N + tl.arange(0, BLOCK_N)
    c_ptrs = c_ptr + rows.to(tl.int64)[:, None] * N + columns[None, :]
    tl.store(c_ptrs, c.to(c_ptr.dtype.element_ty), mask=(rows < M)[:, None] & (columns < N)[None, :])


def reference(a, b, a_scale, b_scale, bias, silu):
    # Integers below 2^53 are exact in float64, whose product is much faster than that of integers.
    c = a.astype(np.float64) @ b.astype(np.float64).T * a_scale[:, None] * b_scale + bias
    return c / (1 + np.exp(-c)) if silu else c


kernel = Kernel(
    id="example::quantized_gemm",
    source=quantized_gemm,
    # One scale per token (row of a) and per output channel (row of b), which lies as layers keep their weights.
    inputs={
        "a": Tensor("Q", "M K"),
        "b": Tensor("Q", "N K"),
        "a_scale": Tensor("fp32", "M"),
        "b_scale": Tensor("fp32", "N"),
        "bias": Tensor("T", "N"),
    },
    outputs={"c": Tensor("T", "M N")},
    dtypes={"Q": ("fp8e4nv", "i8"), "T": ("bf16", "fp16")},
    attributes={"silu": False},
    params=[
        powers_of_two("BLOCK_M", 64, 256),
        powers_of_two("BLOCK_N", 64, 256),
        powers_of_two("BLOCK_K", 64, 256),
        choice("GROUP_M", 1, 4, 8, 16),
        choice("num_warps", 4, 8),
        integers("num_stages", 2, 5),
    ],
    constraints=[
        Constraint(
            "registers_per_thread",
            lambda BLOCK_M, BLOCK_N, num_warps, Q: BLOCK_M * BLOCK_N <= 32 * num_warps * (128 if Q == "i8" else 64),
            "a thread would keep more than 128 sums in registers; of fp8, those of a step and those of all",
        ),
        Constraint(
            "shared_memory",
            lambda BLOCK_M, BLOCK_N, BLOCK_K, num_stages: (BLOCK_M + BLOCK_N) * BLOCK_K * num_stages <= 227 * 1024,
            "the stages of the pipeline would not fit the 227 KiB of shared memory a block may have",
        ),
        Constraint(
            "enough_per_warp",
            lambda BLOCK_M, BLOCK_N, num_warps: BLOCK_M * BLOCK_N >= 32 * num_warps * 32,
            "a warp would have too small a tile for the widest tensor-core instructions",
        ),
    ],
    default={"BLOCK_M": 128, "BLOCK_N": 128, "BLOCK_K": 128, "GROUP_M": 8, "num_warps": 8, "num_stages": 3},
    launch=lambda M, N, BLOCK_M, BLOCK_N: Launch(grid=(cdiv(M, BLOCK_M) * cdiv(N, BLOCK_N),), args=(M, N)),
    reference=reference,
    # Sums of int8 are exact. Of fp8 with unit variance, partial sums in a step of 256 stay below 64; kept to 14 bits,
    # they lose up to 2^-7 for each 32 products and half of it on average, 2^-5 in a step. Signs differ from step to
    # step: sqrt(K / 256) times that, 2^-2 for K = 16384, times scales whose product is mostly below 4. Then one
    # rounding to T.
    tolerances={"bf16": Tolerance(rtol=2**-7, atol=1), "fp16": Tolerance(rtol=2**-10, atol=1)},
    flops=lambda M, N, K: 2 * M * N * K,
    tiles={"M": "BLOCK_M", "N": "BLOCK_N", "K": "BLOCK_K"},
)
