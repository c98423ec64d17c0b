"""Gather rows of a table and sum those of each bag; with one index per bag, the token embedding."""

import triton
import triton.language as tl

from tuner import Constraint, Kernel, Launch, Tensor, Tolerance, cdiv, itemsize, powers_of_two


@triton.jit
def embedding(table_ptr, index_ptr, B, L, D, y_ptr, BAGS: tl.constexpr, BLOCK_D: tl.constexpr):
    bags = tl.program_id(0) * BAGS + tl.arange(0, BAGS)
    columns = tl.program_id(1) * BLOCK_D + tl.arange(0, BLOCK_D)
    inside = bags < B
    mask = inside[:, None] & (columns < D)[None, :]
    total = tl.zeros([BAGS, BLOCK_D], tl.float32)
    for i in range(L):
        rows = tl.load(index_ptr + bags.to(tl.int64) * L + i, mask=inside, other=0).to(tl.int64)
        total += tl.load(table_ptr + rows[:, None] * D + columns[None, :], mask=mask, other=0.0)
    y_ptrs = y_ptr + bags.to(tl.int64)[:, None] * D + columns[None, :]
    tl.store(y_ptrs, total.to(y_ptr.dtype.element_ty), mask=mask)


kernel = Kernel(
    id="example::embedding",
    source=embedding,
    inputs={"table": Tensor("T", "V D"), "index": Tensor("i32", "*B L", positions="V")},
    outputs={"y": Tensor("T", "*B D")},
    dtypes={"T": ("bf16", "fp16", "fp32")},
    params=[powers_of_two("BAGS", 1, 16), powers_of_two("BLOCK_D", 128, 8192), powers_of_two("num_warps", 1, 16)],
    constraints=[
        Constraint(
            "thread_has_work",
            lambda BAGS, BLOCK_D, num_warps: BAGS * BLOCK_D >= 32 * num_warps * 4,
            "threads would hold fewer than 4 elements, too few for wide loads",
        ),
        Constraint(
            "registers_per_thread",
            lambda BAGS, BLOCK_D, num_warps: BAGS * BLOCK_D <= 32 * num_warps * 64,
            "a thread would keep more than 64 sums in registers",
        ),
        Constraint(
            "block_within_row",
            lambda BLOCK_D, D: BLOCK_D < 2 * D or BLOCK_D <= 1024,
            "more than half of a large block would lie beyond the row",
        ),
    ],
    default={"BAGS": 1, "BLOCK_D": 1024, "num_warps": 4},
    launch=lambda B, L, D, BAGS, BLOCK_D: Launch(grid=(cdiv(B, BAGS), cdiv(D, BLOCK_D)), args=(B, L, D)),
    reference=lambda table, index: table[index].sum(axis=-2),
    # A sum in fp32 is off by 2^-24 of a partial sum, which stays below 64 for up to 256 rows of unit variance, at each
    # of its steps: 2^-10 if all erred the same way, sqrt(256) times 2^-18 as they do. Then one rounding to T.
    tolerances={
        "fp32": Tolerance(rtol=2**-23, atol=2**-14),
        "fp16": Tolerance(rtol=2**-10, atol=2**-14),
        "bf16": Tolerance(rtol=2**-7, atol=2**-14),
    },
    # Indices, the rows they name, each for itself, and the sums.
    bytes=lambda B, L, D, T: 4 * B * L + (B * L + B) * D * itemsize(T),
    flops=lambda B, L, D: B * L * D,
    tiles={"B": "BAGS", "D": "BLOCK_D"},
)
