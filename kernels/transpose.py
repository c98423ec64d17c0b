"""Transpose a matrix tile by tile, so that reads and writes are both contiguous."""

import triton
import triton.language as tl

from tuner import Constraint, Kernel, Launch, Tensor, Tolerance, cdiv, powers_of_two


@triton.jit
def transpose(x_ptr, M, N, y_ptr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr):
    rows = tl.program_id(1) * BLOCK_M + tl.arange(0, BLOCK_M)
    columns = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    tile = tl.load(
        x_ptr + rows.to(tl.int64)[:, None] * N + columns[None, :],
        mask=(rows < M)[:, None] & (columns < N)[None, :],
    )
    tl.store(
        y_ptr + columns.to(tl.int64)[:, None] * M + rows[None, :],
        tl.trans(tile),
        mask=(columns < N)[:, None] & (rows < M)[None, :],
    )


kernel = Kernel(
    id="example::transpose",
    source=transpose,
    inputs={"x": Tensor("T", "M N")},
    outputs={"y": Tensor("T", "N M")},
    dtypes={"T": ("fp16", "bf16", "fp32")},
    params=[powers_of_two("BLOCK_M", 8, 256), powers_of_two("BLOCK_N", 8, 256), powers_of_two("num_warps", 1, 16)],
    constraints=[
        Constraint(
            "thread_has_work",
            lambda BLOCK_M, BLOCK_N, num_warps: BLOCK_M * BLOCK_N >= 32 * num_warps,
            "some threads of the block would have no element",
        ),
        Constraint(
            "registers_per_thread",
            lambda BLOCK_M, BLOCK_N, num_warps: BLOCK_M * BLOCK_N <= 32 * num_warps * 64,
            "a thread would keep more than 64 elements in registers",
        ),
    ],
    default={"BLOCK_M": 32, "BLOCK_N": 32, "num_warps": 4},
    launch=lambda M, N, BLOCK_M, BLOCK_N: Launch(grid=(cdiv(N, BLOCK_N), cdiv(M, BLOCK_M)), args=(M, N)),
    reference=lambda x: x.T,
    # Elements are moved and never changed.
    tolerances={name: Tolerance(rtol=0, atol=0) for name in ("fp16", "bf16", "fp32")},
    tiles={"M": "BLOCK_M", "N": "BLOCK_N"},
)
