"""The largest element of each row and where it stands, the first of several: greedy decoding."""

import triton
import triton.language as tl

from tuner import Constraint, Kernel, Launch, Tensor, Tolerance, cdiv, powers_of_two


@triton.jit
def argmax(x_ptr, M, N, value_ptr, index_ptr, ROWS: tl.constexpr, BLOCK_N: tl.constexpr):
    first = tl.program_id(0) * ROWS
    x_ptr += first.to(tl.int64) * N
    rows = tl.arange(0, ROWS)[:, None]
    columns = tl.arange(0, BLOCK_N)[None, :]
    inside = first + rows < M
    offsets = rows * N + columns
    # Each column of the block keeps its own largest; they meet once, at the end.
    best = tl.full([ROWS, BLOCK_N], float("-inf"), tl.float32)
    where = tl.zeros([ROWS, BLOCK_N], tl.int32) + columns
    for start in range(0, N, BLOCK_N):
        mask = inside & (start + columns < N)
        x = tl.load(x_ptr + start + offsets, mask=mask, other=float("-inf")).to(tl.float32)
        larger = x > best
        best = tl.where(larger, x, best)
        where = tl.where(larger, start + columns, where)
    value = tl.max(best, axis=1, keep_dims=True)
    index = tl.min(tl.where(best == value, where, 2147483647), axis=1, keep_dims=True)
    tl.store(value_ptr + first + rows, value.to(value_ptr.dtype.element_ty), mask=inside)
    tl.store(index_ptr + first + rows, index, mask=inside)


kernel = Kernel(
    id="example::argmax",
    source=argmax,
    inputs={"x": Tensor("T", "*M N")},
    outputs={"value": Tensor("T", "*M"), "index": Tensor("i32", "*M")},
    dtypes={"T": ("fp32", "bf16", "fp16")},
    params=[
        powers_of_two("ROWS", 1, 16),
        powers_of_two("BLOCK_N", 256, 16384),
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
            lambda ROWS, BLOCK_N, num_warps: ROWS * BLOCK_N <= 32 * num_warps * 32,
            "a thread would keep more than 32 elements and as many indices in registers",
        ),
        Constraint(
            "register_file",
            lambda ROWS, BLOCK_N: ROWS * BLOCK_N <= 16384,
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
    reference=lambda x: (x.max(axis=-1), x.argmax(axis=-1)),
    # Elements are compared and never changed.
    tolerances={name: Tolerance(rtol=0, atol=0) for name in ("fp32", "bf16", "fp16", "i32")},
    tiles={"M": "ROWS", "N": "BLOCK_N"},
)
