"""Softmax over the last dimension: rows that fit in registers are read once, longer ones in blocks."""

import numpy as np
import triton
import triton.language as tl

from tuner import Constraint, Kernel, Launch, Tensor, Tolerance, cdiv, powers_of_two


@triton.jit
def softmax(x_ptr, M, N, y_ptr, ROWS: tl.constexpr, BLOCK_N: tl.constexpr):
    first = tl.program_id(0) * ROWS
    x_ptr += first.to(tl.int64) * N
    y_ptr += first.to(tl.int64) * N
    rows = tl.arange(0, ROWS)[:, None]
    columns = tl.arange(0, BLOCK_N)[None, :]
    inside = first + rows < M
    offsets = rows * N + columns
    if N <= BLOCK_N:  # the same for all programs, so it costs one branch
        mask = inside & (columns < N)
        x = tl.load(x_ptr + offsets, mask=mask, other=float("-inf")).to(tl.float32)
        e = tl.exp(x - tl.max(x, axis=1, keep_dims=True))
        y = e / tl.sum(e, axis=1, keep_dims=True)
        tl.store(y_ptr + offsets, y.to(y_ptr.dtype.element_ty), mask=mask)
    else:
        # The running maximum and sum of "Online normalizer calculation for softmax" (Milakov, Gimelshein, 2018).
        top = tl.full([ROWS, 1], float("-inf"), tl.float32)
        total = tl.zeros([ROWS, 1], tl.float32)
        for start in range(0, N, BLOCK_N):
            mask = inside & (start + columns < N)
            x = tl.load(x_ptr + start + offsets, mask=mask, other=float("-inf")).to(tl.float32)
            higher = tl.maximum(top, tl.max(x, axis=1, keep_dims=True))
            total = total * tl.exp(top - higher) + tl.sum(tl.exp(x - higher), axis=1, keep_dims=True)
            top = higher
        for start in range(0, N, BLOCK_N):
            mask = inside & (start + columns < N)
            x = tl.load(x_ptr + start + offsets, mask=mask).to(tl.float32)
            y = tl.exp(x - top) / total
            tl.store(y_ptr + start + offsets, y.to(y_ptr.dtype.element_ty), mask=mask)


def reference(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


kernel = Kernel(
    id="example::softmax",
    source=softmax,
    inputs={"x": Tensor("T", "*M N")},
    outputs={"y": Tensor("T", "*M N")},
    dtypes={"T": ("fp16", "bf16", "fp32")},
    params=[
        powers_of_two("ROWS", 1, 16),
        powers_of_two("BLOCK_N", 256, 32768),
        powers_of_two("num_warps", 1, 32),
    ],
    constraints=[
        Constraint(
            "thread_has_work",
            lambda ROWS, BLOCK_N, num_warps: ROWS * BLOCK_N >= 32 * num_warps * 4,
            "threads would hold fewer than 4 elements, too few for wide loads",
        ),
        Constraint(
            "registers_per_thread",
            lambda ROWS, BLOCK_N, num_warps: ROWS * BLOCK_N <= 32 * num_warps * 64,
            "a thread would keep more than 64 elements in registers",
        ),
        Constraint(
            "register_file",
            lambda ROWS, BLOCK_N: ROWS * BLOCK_N <= 32768,
            "a block would need more than the 64 Ki registers of a multiprocessor, and spill",
        ),
        Constraint(
            "block_within_row",
            lambda BLOCK_N, N: BLOCK_N < 2 * N or BLOCK_N <= 4096,
            "more than half of a large block would lie beyond the row",
        ),
    ],
    default={"ROWS": 1, "BLOCK_N": 4096, "num_warps": 8},
    launch=lambda M, N, ROWS: Launch(grid=(cdiv(M, ROWS),), args=(M, N)),
    reference=reference,
    # fp32 inside: x - max is off by 2^-24 of itself (inputs spread over up to 16), exp2 and the division by 2 ulp, the
    # sum by an ulp for each level of its tree: 2^-18 relative. Then one rounding to T; the smallest outputs are
    # subnormal or flushed to zero.
    tolerances={
        "fp32": Tolerance(rtol=2**-18, atol=2**-126),
        "fp16": Tolerance(rtol=2**-10, atol=2**-24),
        "bf16": Tolerance(rtol=2**-7, atol=2**-126),
    },
    flops=lambda M, N: 5 * M * N,
    tiles={"M": "ROWS", "N": "BLOCK_N"},
)
