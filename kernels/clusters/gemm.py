"""Matrix product by clusters: the blocks of one share a tile, and Triton parts it among them."""

import triton
import triton.language as tl

from tuner import Constraint, Kernel, Launch, Tensor, Tolerance, cdiv, choice, integers, itemsize, powers_of_two


@triton.jit
def clustered_gemm(
    a_ptr,
    b_ptr,
    M,
    N,
    K,
    c_ptr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    a = tl.make_tensor_descriptor(a_ptr, [M, K], [K, 1], [BLOCK_M, BLOCK_K])
    b = tl.make_tensor_descriptor(b_ptr, [K, N], [N, 1], [BLOCK_K, BLOCK_N])
    c = tl.make_tensor_descriptor(c_ptr, [M, N], [N, 1], [BLOCK_M, BLOCK_N])
    row = tl.program_id(0) * BLOCK_M
    column = tl.program_id(1) * BLOCK_N
    total = tl.zeros([BLOCK_M, BLOCK_N], tl.float32)
    for k in range(0, K, BLOCK_K):
        total = tl.dot(a.load([row, k]), b.load([k, column]), total)
    c.store([row, column], total.to(c_ptr.dtype.element_ty))


kernel = Kernel(
    id="example::clustered_gemm",
    source=clustered_gemm,
    inputs={"a": Tensor("T", "M K"), "b": Tensor("T", "K N")},
    outputs={"c": Tensor("T", "M N")},
    dtypes={"T": ("fp16", "bf16")},
    params=[
        powers_of_two("BLOCK_M", 128, 256),
        powers_of_two("BLOCK_N", 64, 256),
        powers_of_two("BLOCK_K", 32, 128),
        choice("num_warps", 4, 8),
        integers("num_stages", 2, 4),
        choice("num_ctas", 1, 2),  # blocks of a cluster; the launch's grid counts clusters
    ],
    constraints=[
        Constraint(
            "aligned_rows",
            lambda N, K, T: N * itemsize(T) % 16 == 0 and K * itemsize(T) % 16 == 0,
            "a descriptor takes rows of a multiple of 16 bytes",
        ),
        Constraint(
            "registers_per_thread",
            lambda BLOCK_M, BLOCK_N, num_warps, num_ctas: BLOCK_M * BLOCK_N <= 32 * num_warps * num_ctas * 128,
            "a thread would keep more than 128 accumulators in registers",
        ),
        Constraint(
            "shared_memory",
            lambda BLOCK_M, BLOCK_N, BLOCK_K, num_stages, num_ctas, T: (
                ((BLOCK_M + num_ctas * BLOCK_N) * BLOCK_K * num_stages + BLOCK_M * BLOCK_N) * itemsize(T)
                <= 227 * 1024 * num_ctas
            ),
            "the stages of the pipeline and what is stored would not fit the 227 KiB that a block may have",
        ),
    ],
    default={"BLOCK_M": 256, "BLOCK_N": 128, "BLOCK_K": 64, "num_warps": 8, "num_stages": 3, "num_ctas": 2},
    launch=lambda M, N, K, BLOCK_M, BLOCK_N: Launch(grid=(cdiv(M, BLOCK_M), cdiv(N, BLOCK_N)), args=(M, N, K)),
    reference=lambda a, b: a @ b,
    # Inputs are exact products in fp32; each of K additions is off by 2^-24 of a partial sum of about sqrt(K) for
    # operands of unit variance: 2^-5 bounds it for K up to 8192. Then one rounding to T.
    tolerances={"fp16": Tolerance(rtol=2**-10, atol=2**-5), "bf16": Tolerance(rtol=2**-7, atol=2**-5)},
    flops=lambda M, N, K: 2 * M * N * K,
    tiles={"M": "BLOCK_M", "N": "BLOCK_N", "K": "BLOCK_K"},
)
