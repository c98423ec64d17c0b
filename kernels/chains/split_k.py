"""Matrix product whose depth is split: few tiles and a long sum would leave most of the GPU idle.

Each part of the depth is summed by programs of its own into a workspace; a second launch adds the parts.
"""

import triton
import triton.language as tl

from tuner import Chain, Constraint, Launch, Step, Tensor, Tolerance, cdiv, choice, integers, itemsize, powers_of_two


@triton.jit
def product(
    a_ptr,
    b_ptr,
    M,
    N,
    K,
    partial_ptr,
    PARTS: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    rows = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)[:, None]
    columns = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)[None, :]
    part = tl.program_id(2)
    depth = tl.cdiv(tl.cdiv(K, BLOCK_K), PARTS) * BLOCK_K
    first = part * depth
    last = min(first + depth, K)
    along = tl.arange(0, BLOCK_K)
    a_ptr += rows.to(tl.int64) * K
    b_ptr += columns
    total = tl.zeros([BLOCK_M, BLOCK_N], tl.float32)
    for start in range(first, last, BLOCK_K):
        k = start + along
        a = tl.load(a_ptr + k[None, :], mask=(rows < M) & (k[None, :] < last), other=0.0)
        b = tl.load(b_ptr + k[:, None].to(tl.int64) * N, mask=(k[:, None] < last) & (columns < N), other=0.0)
        total = tl.dot(a, b, total)
    at = (part.to(tl.int64) * M + rows) * N + columns
    tl.store(partial_ptr + at, total, mask=(rows < M) & (columns < N))


@triton.jit
def add_parts(partial_ptr, M, N, c_ptr, PARTS: tl.constexpr, BLOCK: tl.constexpr):
    elements = tl.full([], 1, tl.int64) * M * N
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    mask = at < elements
    total = tl.zeros([BLOCK], tl.float32)
    for part in tl.static_range(PARTS):
        total += tl.load(partial_ptr + part * elements + at, mask=mask, other=0.0)
    tl.store(c_ptr + at, total.to(c_ptr.dtype.element_ty), mask=mask)


kernel = Chain(
    id="example::split_k",
    inputs={"a": Tensor("T", "M K"), "b": Tensor("T", "K N")},
    workspace={"partial": Tensor("fp32", "PARTS M N")},
    outputs={"c": Tensor("T", "M N")},
    dtypes={"T": ("fp16", "bf16")},
    steps=[
        Step(
            "product",
            product,
            inputs=("a", "b"),
            outputs=("partial",),
            params=[
                powers_of_two("BLOCK_M", 16, 128),
                powers_of_two("BLOCK_N", 32, 128),
                powers_of_two("BLOCK_K", 32, 128),
                choice("num_warps", 4, 8),
                integers("num_stages", 2, 5),
            ],
            launch=lambda M, N, K, PARTS, BLOCK_M, BLOCK_N: Launch(
                grid=(cdiv(M, BLOCK_M), cdiv(N, BLOCK_N), PARTS), args=(M, N, K)
            ),
        ),
        Step(
            "add",
            add_parts,
            inputs=("partial",),
            outputs=("c",),
            params=[powers_of_two("BLOCK", 256, 2048), choice("num_warps", 4)],
            launch=lambda M, N, BLOCK: Launch(grid=(cdiv(M * N, BLOCK),), args=(M, N)),
        ),
    ],
    params=[choice("PARTS", 2, 4, 8, 16)],
    constraints=[
        Constraint(
            "shared_memory",
            lambda product_BLOCK_M, product_BLOCK_N, product_BLOCK_K, product_num_stages, T: (
                (product_BLOCK_M + product_BLOCK_N) * product_BLOCK_K * product_num_stages * itemsize(T) <= 227 * 1024
            ),
            "the stages of the pipeline would not fit the 227 KiB of a multiprocessor",
            ("product_BLOCK_M", "product_BLOCK_N", "product_BLOCK_K", "product_num_stages", "T"),
        ),
        Constraint(
            "registers_per_thread",
            lambda product_BLOCK_M, product_BLOCK_N, product_num_warps: (
                product_BLOCK_M * product_BLOCK_N <= 32 * product_num_warps * 128
            ),
            "a thread would keep more than 128 accumulators in registers",
        ),
    ],
    default={
        "PARTS": 4,
        "product_BLOCK_M": 64,
        "product_BLOCK_N": 64,
        "product_BLOCK_K": 64,
        "product_num_warps": 4,
        "product_num_stages": 4,
        "add_BLOCK": 1024,
        "add_num_warps": 4,
    },
    reference=lambda a, b: a @ b,
    # As for `kernels/gemm.py`, for depths of up to 64 Ki: partial sums are eight times as large as at 1 Ki.
    tolerances={"fp16": Tolerance(rtol=2**-10, atol=2**-3), "bf16": Tolerance(rtol=2**-7, atol=2**-3)},
    flops=lambda M, N, K: 2 * M * N * K,
    tiles={"M": "product_BLOCK_M", "N": "product_BLOCK_N", "K": "product_BLOCK_K"},
)
