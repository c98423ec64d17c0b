"""Quantize to fp8 with one scale per token: the largest element of each row becomes the largest fp8 number."""

import numpy as np
import triton
import triton.language as tl

from tuner import Constraint, Kernel, Launch, Tensor, Tolerance, cdiv, powers_of_two


@triton.jit
def quantize_fp8(x_ptr, M, N, y_ptr, scale_ptr, ROWS: tl.constexpr, BLOCK_N: tl.constexpr):
    first = tl.program_id(0) * ROWS
    x_ptr += first.to(tl.int64) * N
    y_ptr += first.to(tl.int64) * N
    rows = tl.arange(0, ROWS)[:, None]
    columns = tl.arange(0, BLOCK_N)[None, :]
    inside = first + rows < M
    offsets = rows * N + columns
    # 448 is the largest number of e4m3. The floor keeps a row of zeros from 0 / 0.
    if N <= BLOCK_N:  # the same for all programs, so it costs one branch
        mask = inside & (columns < N)
        x = tl.load(x_ptr + offsets, mask=mask, other=0.0).to(tl.float32)
        scale = tl.maximum(tl.max(tl.abs(x), axis=1, keep_dims=True) / 448, 1e-30)
        tl.store(y_ptr + offsets, (x / scale).to(y_ptr.dtype.element_ty), mask=mask)
    else:
        largest = tl.zeros([ROWS, BLOCK_N], tl.float32)
        for start in range(0, N, BLOCK_N):
            mask = inside & (start + columns < N)
            x = tl.load(x_ptr + start + offsets, mask=mask, other=0.0).to(tl.float32)
            largest = tl.maximum(largest, tl.abs(x))
        scale = tl.maximum(tl.max(largest, axis=1, keep_dims=True) / 448, 1e-30)
        for start in range(0, N, BLOCK_N):
            mask = inside & (start + columns < N)
            x = tl.load(x_ptr + start + offsets, mask=mask).to(tl.float32)
            tl.store(y_ptr + start + offsets, (x / scale).to(y_ptr.dtype.element_ty), mask=mask)
    tl.store(scale_ptr + first + rows, scale, mask=inside)


def reference(x):
    scale = np.maximum(np.abs(x).max(axis=-1) / 448, 1e-30)
    return x / scale[..., None], scale


kernel = Kernel(
    id="example::quantize_fp8",
    source=quantize_fp8,
    inputs={"x": Tensor("T", "*M N")},
    outputs={"y": Tensor("fp8e4nv", "*M N"), "scale": Tensor("fp32", "*M")},
    dtypes={"T": ("bf16", "fp16", "fp32")},
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
            lambda ROWS, BLOCK_N, num_warps: ROWS * BLOCK_N <= 32 * num_warps * 128,
            "a thread would keep more than 128 elements in registers",
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
    # A maximum is exact, so the scale is off by the division: 2 ulp. The quotient is off by a few ulp of fp32 when it
    # is rounded to the nearest fp8, half of 2^-3 away at most, or half of the smallest subnormal, 2^-9.
    tolerances={
        "fp32": Tolerance(rtol=2**-22, atol=2**-126),
        "fp8e4nv": Tolerance(rtol=2**-4 + 2**-20, atol=2**-10),
    },
    flops=lambda M, N: 3 * M * N,
    tiles={"M": "ROWS", "N": "BLOCK_N"},
)
