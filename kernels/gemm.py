"""Matrix product with fp32 accumulation: programs that stay, and tiles brought by the tensor memory accelerator."""

import triton
import triton.language as tl

from tuner import (
    Constraint,
    Kernel,
    Launch,
    Tensor,
    Tolerance,
    cdiv,
    choice,
    integers,
    itemsize,
    minimum,
    powers_of_two,
)


@triton.jit
def gemm(
    a_ptr,
    b_ptr,
    M,
    N,
    K,
    c_ptr,
    scratch_ptr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    GROUP_M: tl.constexpr,
    PARTS: tl.constexpr,
):
    # Beyond the edges descriptors read zeros and store nothing, so nothing needs a mask.
    a = tl.make_tensor_descriptor(a_ptr, [M, K], [K, 1], [BLOCK_M, BLOCK_K])
    b = tl.make_tensor_descriptor(b_ptr, [K, N], [N, 1], [BLOCK_K, BLOCK_N])
    c = tl.make_tensor_descriptor(c_ptr, [M, N], [N, 1], [BLOCK_M, BLOCK_N // PARTS])
    tiles_m = tl.cdiv(M, BLOCK_M)
    tiles_n = tl.cdiv(N, BLOCK_N)
    per_group = GROUP_M * tiles_n
    # Flattened, the loops over tiles and depth are one pipeline: the next tile is loaded while this one is stored.
    for tile in tl.range(tl.program_id(0), tiles_m * tiles_n, tl.num_programs(0), flatten=True):
        # Walk down GROUP_M tiles before moving right: neighbours in time read the same columns of b.
        group = tile // per_group
        height = min(tiles_m - group * GROUP_M, GROUP_M)
        row = (group * GROUP_M + (tile % per_group) % height) * BLOCK_M
        column = (tile % per_group) // height * BLOCK_N
        total = tl.zeros([BLOCK_M, BLOCK_N], tl.float32)
        for k in range(0, K, BLOCK_K):
            total = tl.dot(a.load([row, k]), b.load([k, column]), total)
        if PARTS == 1:
            c.store([row, column], total.to(c_ptr.dtype.element_ty))
        else:
            left, right = total.reshape(BLOCK_M, 2, BLOCK_N // 2).permute(0, 2, 1).split()
            c.store([row, column], left.to(c_ptr.dtype.element_ty))
            c.store([row, column + BLOCK_N // 2], right.to(c_ptr.dtype.element_ty))


kernel = Kernel(
    id="example::gemm",
    source=gemm,
    inputs={"a": Tensor("T", "M K"), "b": Tensor("T", "K N")},
    # Each program keeps three descriptors of 128 bytes.
    outputs={"c": Tensor("T", "M N"), "scratch": Tensor("i8", "101376", scratch=True)},
    dtypes={"T": ("fp16", "bf16")},
    params=[
        powers_of_two("BLOCK_M", 64, 256),
        powers_of_two("BLOCK_N", 64, 256),
        powers_of_two("BLOCK_K", 32, 128),
        choice("GROUP_M", 4, 8, 16),
        choice("PARTS", 1, 2),
        choice("PROGRAMS", 132, 264),  # one or two for each of the 132 multiprocessors of an H100 or H200
        choice("num_warps", 4, 8),
        integers("num_stages", 2, 5),
    ],
    constraints=[
        Constraint(
            "aligned_rows",
            lambda N, K, T: N * itemsize(T) % 16 == 0 and K * itemsize(T) % 16 == 0,
            "a descriptor takes rows of a multiple of 16 bytes (kernels/autotune/matmul.py takes any)",
        ),
        Constraint(
            "registers_per_thread",
            lambda BLOCK_M, BLOCK_N, num_warps: BLOCK_M * BLOCK_N <= 32 * num_warps * 128,
            "a thread would keep more than 128 accumulators in registers",
        ),
        Constraint(
            "shared_memory",
            lambda BLOCK_M, BLOCK_N, BLOCK_K, PARTS, PROGRAMS, num_stages, T: (
                ((BLOCK_M + BLOCK_N) * BLOCK_K * num_stages + BLOCK_M * BLOCK_N // PARTS) * itemsize(T)
                <= 227 * 1024 * 132 // PROGRAMS
            ),
            "the stages of the pipeline and what is stored would not fit the 227 KiB of a multiprocessor",
        ),
        Constraint(
            "pipeline",
            lambda BLOCK_K, num_stages: BLOCK_K * num_stages >= 128,
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
        "BLOCK_K": 64,
        "GROUP_M": 8,
        "PARTS": 1,
        "PROGRAMS": 132,
        "num_warps": 8,
        "num_stages": 4,
    },
    launch=lambda M, N, K, BLOCK_M, BLOCK_N, PROGRAMS: Launch(
        grid=(minimum(PROGRAMS, cdiv(M, BLOCK_M) * cdiv(N, BLOCK_N)),), args=(M, N, K)
    ),
    reference=lambda a, b: a @ b,
    # Inputs are exact products in fp32; each of K additions is off by 2^-24 of a partial sum of about sqrt(K) for
    # operands of unit variance: 2^-5 bounds it for K up to 8192. Then one rounding to T.
    tolerances={"fp16": Tolerance(rtol=2**-10, atol=2**-5), "bf16": Tolerance(rtol=2**-7, atol=2**-5)},
    flops=lambda M, N, K: 2 * M * N * K,
    tiles={"M": "BLOCK_M", "N": "BLOCK_N", "K": "BLOCK_K"},
)
