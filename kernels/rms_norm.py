"""Root-mean-square normalisation of rows: x / sqrt(mean(x^2) + eps) * weight."""

import numpy as np
import triton
import triton.language as tl

from tuner import Constraint, Kernel, Launch, Tensor, Tolerance, cdiv, powers_of_two


@triton.jit
def rms_norm(
    x_ptr, weight_ptr, M, y_ptr, N: tl.constexpr, eps: tl.constexpr, ROWS: tl.constexpr, BLOCK_N: tl.constexpr
):
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)[:, None]
    x_ptr += row.to(tl.int64) * N
    y_ptr += row.to(tl.int64) * N
    columns = tl.arange(0, BLOCK_N)[None, :]
    if N <= BLOCK_N:  # the row stays in registers
        mask = (row < M) & (columns < N)
        x = tl.load(x_ptr + columns, mask=mask, other=0.0).to(tl.float32)
        weight = tl.load(weight_ptr + columns, mask=columns < N, other=0.0).to(tl.float32)
        scale = tl.rsqrt(tl.sum(x * x, axis=1, keep_dims=True) / N + eps)
        tl.store(y_ptr + columns, (x * scale * weight).to(y_ptr.dtype.element_ty), mask=mask)
    else:
        squares = tl.zeros([ROWS, BLOCK_N], tl.float32)
        for start in range(0, N, BLOCK_N):
            mask = (row < M) & (start + columns < N)
            x = tl.load(x_ptr + start + columns, mask=mask, other=0.0).to(tl.float32)
            squares += x * x
        scale = tl.rsqrt(tl.sum(squares, axis=1, keep_dims=True) / N + eps)
        for start in range(0, N, BLOCK_N):
            mask = (row < M) & (start + columns < N)
            x = tl.load(x_ptr + start + columns, mask=mask, other=0.0).to(tl.float32)
            weight = tl.load(weight_ptr + start + columns, mask=start + columns < N, other=0.0).to(tl.float32)
            tl.store(y_ptr + start + columns, (x * scale * weight).to(y_ptr.dtype.element_ty), mask=mask)


def reference(x, weight, eps):
    return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + eps) * weight


kernel = Kernel(
    id="example::rms_norm",
    source=rms_norm,
    inputs={"x": Tensor("T", "*M N"), "weight": Tensor("T", "N")},
    outputs={"y": Tensor("T", "*M N")},
    dtypes={"T": ("fp16", "bf16", "fp32")},
    attributes={"eps": 1e-6},
    params=[powers_of_two("ROWS", 1, 4), powers_of_two("BLOCK_N", 512, 16384), powers_of_two("num_warps", 1, 32)],
    constraints=[
        Constraint(
            "wide_loads",
            lambda ROWS, BLOCK_N, num_warps: ROWS * BLOCK_N >= 32 * num_warps * 8,
            "a thread would hold fewer than 8 elements, too few for 16-byte loads",
        ),
        Constraint(
            "registers_per_thread",
            lambda ROWS, BLOCK_N, num_warps: ROWS * BLOCK_N <= 32 * num_warps * 64,
            "a thread would keep more than 64 elements in registers",
        ),
        Constraint(
            "block_within_row",
            lambda BLOCK_N, N: BLOCK_N < 2 * N,
            "more than half of the block would lie beyond the row",
        ),
    ],
    default={"ROWS": 1, "BLOCK_N": 2048, "num_warps": 8},
    launch=lambda M, ROWS: Launch(grid=(cdiv(M, ROWS),), args=(M,)),
    reference=reference,
    # The sum of squares is off by an ulp of fp32 for each level of its tree and each step of the loop, rsqrt and
    # three products by a few more: 2^-18 relative. Then one rounding to T.
    tolerances={
        "fp32": Tolerance(rtol=2**-18, atol=2**-24),
        "fp16": Tolerance(rtol=2**-10, atol=2**-24),
        "bf16": Tolerance(rtol=2**-7, atol=2**-24),
    },
    flops=lambda M, N: 5 * M * N,
    tiles={"M": "ROWS", "N": "BLOCK_N"},
)
