"""C = A B as public repositories write it, under `@triton.autotune`, taken as it is."""

import triton
import triton.language as tl

from tuner import Kernel, Launch, Tensor, Tolerance, cdiv


def prune(configs, named_args, **kwargs):
    """Drop configs whose stages do not fit in shared memory."""
    size = named_args["a_ptr"].element_size()
    return [
        c
        for c in configs
        if size * c.num_stages * c.kwargs["BLOCK_K"] * (c.kwargs["BLOCK_M"] + c.kwargs["BLOCK_N"]) <= 227 * 1024
    ]


@triton.autotune(
    configs=[
        triton.Config({"BLOCK_M": m, "BLOCK_N": n, "BLOCK_K": k, "GROUP_M": 8}, num_stages=stages, num_warps=warps)
        for m, n, k, stages, warps in [
            (128, 128, 64, 3, 4),
            (128, 256, 64, 3, 8),
            (128, 256, 64, 4, 8),
            (256, 128, 64, 4, 8),
            (256, 128, 64, 5, 8),
            (64, 256, 32, 4, 4),
            (128, 128, 32, 4, 4),
            (64, 64, 64, 5, 4),
        ]
    ],
    key=["M", "N", "K"],
    prune_configs_by={"early_config_prune": prune},
)
@triton.heuristics({"EVEN_K": lambda args: args["K"] % args["BLOCK_K"] == 0})
@triton.jit
def matmul(
    a_ptr,
    b_ptr,
    c_ptr,
    M,
    N,
    K,
    stride_am,
    stride_ak,
    stride_bk,
    stride_bn,
    stride_cm,
    stride_cn,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    GROUP_M: tl.constexpr,
    EVEN_K: tl.constexpr,
    RELU: tl.constexpr = False,
):
    program = tl.program_id(0)
    tiles_m, tiles_n = tl.cdiv(M, BLOCK_M), tl.cdiv(N, BLOCK_N)
    group = program // (GROUP_M * tiles_n)
    rows = min(tiles_m - group * GROUP_M, GROUP_M)
    m = (group * GROUP_M + program % rows) * BLOCK_M + tl.arange(0, BLOCK_M)
    n = (program % (GROUP_M * tiles_n)) // rows * BLOCK_N + tl.arange(0, BLOCK_N)
    k = tl.arange(0, BLOCK_K)
    a_ptrs = a_ptr + (m % M)[:, None] * stride_am + k[None, :] * stride_ak
    b_ptrs = b_ptr + k[:, None] * stride_bk + (n % N)[None, :] * stride_bn
    total = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
    for start in range(0, K, BLOCK_K):
        if EVEN_K:
            a, b = tl.load(a_ptrs), tl.load(b_ptrs)
        else:
            a = tl.load(a_ptrs, mask=k[None, :] < K - start, other=0.0)
            b = tl.load(b_ptrs, mask=k[:, None] < K - start, other=0.0)
        total = tl.dot(a, b, total)
        a_ptrs += BLOCK_K * stride_ak
        b_ptrs += BLOCK_K * stride_bk
    if RELU:
        total = tl.maximum(total, 0.0)
    c_ptrs = c_ptr + m[:, None] * stride_cm + n[None, :] * stride_cn
    tl.store(c_ptrs, total.to(c_ptr.dtype.element_ty), mask=(m < M)[:, None] & (n < N)[None, :])


kernel = Kernel.from_autotune(
    matmul,
    id="example::matmul_autotuned",
    inputs={"a": Tensor("T", "M K"), "b": Tensor("T", "K N")},
    outputs={"c": Tensor("T", "M N")},
    dtypes={"T": ("fp16", "bf16")},
    launch=lambda M, N, K, BLOCK_M, BLOCK_N: Launch(
        grid=(cdiv(M, BLOCK_M) * cdiv(N, BLOCK_N),), args=(M, N, K, K, 1, N, 1, N, 1)
    ),
    reference=lambda a, b: a @ b,
    # As for kernels/gemm.py, whose sums have as many terms.
    tolerances={"fp16": Tolerance(rtol=2**-10, atol=2**-5), "bf16": Tolerance(rtol=2**-7, atol=2**-5)},
    flops=lambda M, N, K: 2 * M * N * K,
    tiles={"M": "BLOCK_M", "N": "BLOCK_N", "K": "BLOCK_K"},
)
