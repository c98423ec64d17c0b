"""Product of int8 or fp8 matrices, with scales, bias and activation applied before it is stored."""

import numpy as np
import triton
import triton.language as tl

from tuner import Constraint, Kernel, Launch, Tensor, Tolerance, cdiv, choice, integers, minimum, powers_of_two


@triton.jit
def quantized_gemm(
    a_ptr,
    b_ptr,
    a_scale_ptr,
    b_scale_ptr,
    bias_ptr,
    M,
    N,
    K,
    c_ptr,
    scratch_ptr,
    silu: tl.constexpr,
    fast: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    GROUP_M: tl.constexpr,
    PARTS: tl.constexpr,
):
    # Beyond the edges descriptors read zeros and store nothing, so loads of a and b and stores of c need no mask.
    a = tl.make_tensor_descriptor(a_ptr, [M, K], [K, 1], [BLOCK_M, BLOCK_K])
    b = tl.make_tensor_descriptor(b_ptr, [N, K], [K, 1], [BLOCK_N, BLOCK_K])
    c = tl.make_tensor_descriptor(c_ptr, [M, N], [N, 1], [BLOCK_M, BLOCK_N // PARTS])
    integer: tl.constexpr = a_ptr.dtype.element_ty == tl.int8
    tiles_m = tl.cdiv(M, BLOCK_M)
    tiles_n = tl.cdiv(N, BLOCK_N)
    per_group = GROUP_M * tiles_n
    # Flattened, the loops over tiles and depth are one pipeline: the next tile is loaded while this one is stored.
    for tile in tl.range(tl.program_id(0), tiles_m * tiles_n, tl.num_programs(0), flatten=True):
        # Walk down GROUP_M tiles before moving right: neighbours in time read the same rows of b.
        group = tile // per_group
        height = min(tiles_m - group * GROUP_M, GROUP_M)
        row = (group * GROUP_M + (tile % per_group) % height) * BLOCK_M
        column = (tile % per_group) // height * BLOCK_N
        total = tl.zeros([BLOCK_M, BLOCK_N], tl.int32 if integer else tl.float32)
        for k in range(0, K, BLOCK_K):
            if integer:
                total = tl.dot(a.load([row, k]), b.load([column, k]).T, total, out_dtype=tl.int32)
            elif fast:
                total = tl.dot(a.load([row, k]), b.load([column, k]).T, total)
            else:
                # Hopper's tensor cores keep about 14 bits of a sum of fp8 products, so each step is added up outside.
                total = tl.dot(a.load([row, k]), b.load([column, k]).T, total, max_num_imprecise_acc=BLOCK_K)
        rows = row + tl.arange(0, BLOCK_M)
        columns = column + tl.arange(0, BLOCK_N)
        a_scale = tl.load(a_scale_ptr + rows, mask=rows < M)
        b_scale = tl.load(b_scale_ptr + columns, mask=columns < N)
        bias = tl.load(bias_ptr + columns, mask=columns < N).to(tl.float32)
        result = total.to(tl.float32) * a_scale[:, None] * b_scale[None, :] + bias[None, :]
        if silu:
            result *= tl.sigmoid(result)
        if PARTS == 1:
            c.store([row, column], result.to(c_ptr.dtype.element_ty))
        else:
            left, right = result.reshape(BLOCK_M, 2, BLOCK_N // 2).permute(0, 2, 1).split()
            c.store([row, column], left.to(c_ptr.dtype.element_ty))
            c.store([row, column + BLOCK_N // 2], right.to(c_ptr.dtype.element_ty))


def reference(a, b, a_scale, b_scale, bias, silu):
    # Integers below 2^53 are exact in float64, whose product is much faster than that of integers.
    c = a.astype(np.float64) @ b.astype(np.float64).T * a_scale[:, None] * b_scale + bias
    return c / (1 + np.exp(-c)) if silu else c


def error(K, Q, fast):
    """Bound on the error of results before they are rounded to T, for inputs of unit variance.

    Sums of int8 are exact; scaled, they may cancel with the bias, which leaves 2^-22 of up to 2^19. Of a sum of fp8
    products that has come to s, the tensor cores lose up to 2^-13 s for each 32 products. Over K of them that is
    2^-13 K^1.5 / 48 for a sum of usual growth, s = sqrt(k), and a few times that for the largest of many. Added up
    outside after every 256 products at most, the losses of K / 256 steps have their own signs. The product of two
    scales is mostly below 4.
    """
    if Q == "i8":
        return 2**-3
    depth = K if fast else min(K, 256)
    return 4 * 2.5 * 2**-13 * depth**1.5 / 48 * max(K / depth, 1) ** 0.5


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
    # Each program keeps three descriptors of 128 bytes.
    outputs={"c": Tensor("T", "M N"), "scratch": Tensor("i8", "152064", scratch=True)},
    dtypes={"Q": ("fp8e4nv", "i8"), "T": ("bf16", "fp16")},
    # Fast sums of fp8 stay in the tensor cores, as inference usually has them; others are as exact as fp32 at a price.
    attributes={"silu": False, "fast": False},
    params=[
        powers_of_two("BLOCK_M", 64, 256),
        powers_of_two("BLOCK_N", 64, 256),
        powers_of_two("BLOCK_K", 64, 256),
        choice("GROUP_M", 4, 8, 16),
        choice("PARTS", 1, 2),
        choice("PROGRAMS", 132, 264, 396),  # one to three for each of the 132 multiprocessors of an H100 or H200
        choice("num_warps", 4, 8),
        integers("num_stages", 2, 5),
    ],
    constraints=[
        Constraint(
            "aligned_rows",
            lambda N, K: N % 8 == 0 and K % 16 == 0,
            "a descriptor takes rows of a multiple of 16 bytes",
        ),
        Constraint(
            "registers_per_thread",
            lambda BLOCK_M, BLOCK_N, num_warps, Q, fast: (
                BLOCK_M * BLOCK_N <= 32 * num_warps * (128 if fast or Q == "i8" else 64)
            ),
            "a thread would keep more than 128 sums in registers; of exact fp8, those of a step and those of all",
        ),
        Constraint(
            "shared_memory",
            lambda BLOCK_M, BLOCK_N, BLOCK_K, PARTS, PROGRAMS, num_stages: (
                (BLOCK_M + BLOCK_N) * BLOCK_K * num_stages + BLOCK_M * BLOCK_N // PARTS * 2
                <= 227 * 1024 * 132 // PROGRAMS
            ),
            "the stages of the pipeline and what is stored would not fit the 227 KiB of a multiprocessor",
        ),
        Constraint(
            "pipeline",
            lambda BLOCK_K, num_stages: BLOCK_K * num_stages >= 256,
            "too few loads would be under way to hide the latency of memory",
        ),
        Constraint(
            "wide_parts",
            lambda BLOCK_N, PARTS: BLOCK_N >= 128 * PARTS or PARTS == 1,
            "less than 256 bytes of a row would be stored at a time",
        ),
        Constraint(
            "enough_per_warp",
            lambda BLOCK_M, BLOCK_N, num_warps: BLOCK_M * BLOCK_N >= 32 * num_warps * 32,
            "a warp would have too small a tile for the widest tensor-core instructions",
        ),
    ],
    default={
        "BLOCK_M": 128,
        "BLOCK_N": 128,
        "BLOCK_K": 128,
        "GROUP_M": 8,
        "PARTS": 1,
        "PROGRAMS": 132,
        "num_warps": 8,
        "num_stages": 4,
    },
    launch=lambda M, N, K, BLOCK_M, BLOCK_N, PROGRAMS: Launch(
        grid=(minimum(PROGRAMS, cdiv(M, BLOCK_M) * cdiv(N, BLOCK_N)),), args=(M, N, K)
    ),
    reference=reference,
    # Then one rounding to T.
    tolerances={
        "bf16": lambda K, Q, fast: Tolerance(rtol=2**-7, atol=error(K, Q, fast)),
        "fp16": lambda K, Q, fast: Tolerance(rtol=2**-10, atol=error(K, Q, fast)),
    },
    flops=lambda M, N, K: 2 * M * N * K,
    tiles={"M": "BLOCK_M", "N": "BLOCK_N", "K": "BLOCK_K"},
)
