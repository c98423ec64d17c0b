"""Add to the residual stream and RMSNorm the sum: one pass over rows that fit in registers, two over longer ones."""

import numpy as np
import triton
import triton.language as tl

from tuner import Constraint, Kernel, Launch, Tensor, Tolerance, cdiv, powers_of_two


@triton.jit
def add_rms_norm(
    x_ptr, residual_ptr, weight_ptr, M, N, y_ptr, sum_ptr, eps: tl.constexpr, ROWS: tl.constexpr, BLOCK_N: tl.constexpr
):
    first = tl.program_id(0) * ROWS
    x_ptr += first.to(tl.int64) * N
    residual_ptr += first.to(tl.int64) * N
    y_ptr += first.to(tl.int64) * N
    sum_ptr += first.to(tl.int64) * N
    rows = tl.arange(0, ROWS)[:, None]
    columns = tl.arange(0, BLOCK_N)[None, :]
    inside = first + rows < M
    offsets = rows * N + columns
    if N <= BLOCK_N:  # the same for all programs, so it costs one branch
        mask = inside & (columns < N)
        x = tl.load(x_ptr + offsets, mask=mask, other=0.0).to(tl.float32)
        x += tl.load(residual_ptr + offsets, mask=mask, other=0.0).to(tl.float32)
        tl.store(sum_ptr + offsets, x.to(sum_ptr.dtype.element_ty), mask=mask)
        weight = tl.load(weight_ptr + columns, mask=columns < N).to(tl.float32)
        scale = tl.rsqrt(tl.sum(x * x, axis=1, keep_dims=True) / N + eps)
        tl.store(y_ptr + offsets, (x * scale * weight).to(y_ptr.dtype.element_ty), mask=mask)
    else:
        squares = tl.zeros([ROWS, BLOCK_N], tl.float32)
        for start in range(0, N, BLOCK_N):
            mask = inside & (start + columns < N)
            x = tl.load(x_ptr + start + offsets, mask=mask, other=0.0).to(tl.float32)
            x += tl.load(residual_ptr + start + offsets, mask=mask, other=0.0).to(tl.float32)
            tl.store(sum_ptr + start + offsets, x.to(sum_ptr.dtype.element_ty), mask=mask)
            squares += x * x
        scale = tl.rsqrt(tl.sum(squares, axis=1, keep_dims=True) / N + eps)
        # The sum is made again and not read back: what was stored is rounded.
        for start in range(0, N, BLOCK_N):
            mask = inside & (start + columns < N)
            x = tl.load(x_ptr + start + offsets, mask=mask).to(tl.float32)
            x += tl.load(residual_ptr + start + offsets, mask=mask).to(tl.float32)
            weight = tl.load(weight_ptr + start + columns, mask=start + columns < N).to(tl.float32)
            tl.store(y_ptr + start + offsets, (x * scale * weight).to(y_ptr.dtype.element_ty), mask=mask)


def reference(x, residual, weight, eps):
    total = x + residual
    return total / np.sqrt(np.mean(total * total, axis=-1, keepdims=True) + eps) * weight, total


kernel = Kernel(
    id="example::add_rms_norm",
    source=add_rms_norm,
    inputs={"x": Tensor("T", "*M N"), "residual": Tensor("T", "*M N"), "weight": Tensor("T", "N")},
    outputs={"y": Tensor("T", "*M N"), "sum": Tensor("T", "*M N")},
    dtypes={"T": ("bf16", "fp16", "fp32")},
    attributes={"eps": 1e-6},
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
            "a thread would keep more than 64 elements of each input in registers",
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
    # fp32 inside: x + residual is off by half an ulp, a sum of squares cannot cancel, so it is off by an ulp for each
    # level of its tree and each step of a thread, about 32 of them; rsqrt and the products add a few: 2^-18 relative.
    # Then one rounding to T; the smallest outputs are subnormal or flushed to zero.
    tolerances={
        "fp32": Tolerance(rtol=2**-18, atol=2**-126),
        "fp16": Tolerance(rtol=2**-10, atol=2**-24),
        "bf16": Tolerance(rtol=2**-7, atol=2**-126),
    },
    flops=lambda M, N: 5 * M * N,
    tiles={"M": "ROWS", "N": "BLOCK_N"},
)
