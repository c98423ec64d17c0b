"""Matrix product with fp32 accumulation, tiles visited in groups of rows that share the L2."""

import triton
import triton.language as tl

from tuner import Constraint, Kernel, Launch, Tensor, Tolerance, cdiv, choice, integers, itemsize, powers_of_two


@triton.jit
def gemm(
    a_ptr,
    b_ptr,
    M,
    N,
    c_ptr,
    K: tl.constexpr,
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
    b_ptrs = b_ptr + depth.to(tl.int64)[:, None] * N + columns[None, :]
    accumulator = tl.zeros([BLOCK_M, BLOCK_N], tl.float32)
    for k in range(0, K, BLOCK_K):
        if K % BLOCK_K == 0:
            a = tl.load(a_ptrs)
            b = tl.load(b_ptrs)
        else:
            a = tl.load(a_ptrs, mask=depth[None, :] < K - k, other=0.0)
            b = tl.load(b_ptrs, mask=depth[:, None] < K - k, other=0.0)
        accumulator = tl.dot(a, b, accumulator)
        a_ptrs += BLOCK_K
        b_ptrs += BLOCK_K * N

    rows = tile_m * BLOCK_M + tl.arange(0, BLOCK_M)
    columns = tile_n * BLOCK_N + tl.arange(0, BLOCK_N)
    c_ptrs = c_ptr + rows.to(tl.int64)[:, None] * N + columns[None, :]
    tl.store(c_ptrs, accumulator.to(c_ptr.dtype.element_ty), mask=(rows < M)[:, None] & (columns < N)[None, :])


kernel = Kernel(
    id="example::gemm",
    source=gemm,
    inputs={"a": Tensor("T", "M K"), "b": Tensor("T", "K N")},
    outputs={"c": Tensor("T", "M N")},
    dtypes={"T": ("fp16", "bf16")},
    params=[
        powers_of_two("BLOCK_M", 64, 256),
        powers_of_two("BLOCK_N", 64, 256),
        powers_of_two("BLOCK_K", 32, 128),
        choice("GROUP_M", 1, 4, 8, 16),
        choice("num_warps", 4, 8),
        integers("num_stages", 2, 5),
    ],
    constraints=[
        Constraint(
            "registers_per_thread",
            lambda BLOCK_M, BLOCK_N, num_warps: BLOCK_M * BLOCK_N <= 32 * num_warps * 128,
            "a thread would keep more than 128 accumulators in registers",
        ),
        Constraint(
            "shared_memory",
            lambda BLOCK_M, BLOCK_N, BLOCK_K, num_stages, T: (
                (BLOCK_M + BLOCK_N) * BLOCK_K * itemsize(T) * num_stages <= 227 * 1024
            ),
            "the stages of the pipeline would not fit the 227 KiB of shared memory a block may have",
        ),
        Constraint(
            "enough_per_warp",
            lambda BLOCK_M, BLOCK_N, num_warps: BLOCK_M * BLOCK_N >= 32 * num_warps * 32,
            "a warp would have too small a tile for the widest tensor-core instructions",
        ),
    ],
    default={"BLOCK_M": 128, "BLOCK_N": 128, "BLOCK_K": 64, "GROUP_M": 8, "num_warps": 4, "num_stages": 3},
    launch=lambda M, N, BLOCK_M, BLOCK_N: Launch(grid=(cdiv(M, BLOCK_M) * cdiv(N, BLOCK_N),), args=(M, N)),
    reference=lambda a, b: a @ b,
    # Inputs are exact products in fp32; each of K additions is off by 2^-24 of a partial sum of about sqrt(K) for
    # operands of unit variance: 2^-5 bounds it for K up to 8192. Then one rounding to T.
    tolerances={"fp16": Tolerance(rtol=2**-10, atol=2**-5), "bf16": Tolerance(rtol=2**-7, atol=2**-5)},
    flops=lambda M, N, K: 2 * M * N * K,
    tiles={"M": "BLOCK_M", "N": "BLOCK_N", "K": "BLOCK_K"},
)
