"""Softmax over rows that are too long for one block: first each part's maximum and sum, then the values.

Few long rows, as the logits of a large vocabulary, keep the whole GPU busy that way.
"""

import numpy as np
import triton
import triton.language as tl

from tuner import Chain, Constraint, Launch, Step, Tensor, Tolerance, cdiv, choice, powers_of_two


@triton.jit
def summarize(x_ptr, N, largest_ptr, total_ptr, TILE: tl.constexpr):
    row, part = tl.program_id(0), tl.program_id(1)
    at = part * TILE + tl.arange(0, TILE)
    x = tl.load(x_ptr + row.to(tl.int64) * N + at, mask=at < N, other=-float("inf")).to(tl.float32)
    largest = tl.max(x, axis=0)
    place = row * tl.num_programs(1) + part
    tl.store(largest_ptr + place, largest)
    tl.store(total_ptr + place, tl.sum(tl.exp(x - largest), axis=0))


@triton.jit
def normalize(x_ptr, largest_ptr, total_ptr, N, y_ptr, TILE: tl.constexpr, WIDTH: tl.constexpr):
    row, part = tl.program_id(0), tl.program_id(1)
    parts = tl.num_programs(1)
    # Every program merges the parts of its row again: there are few, and they come from the L2.
    largest = tl.full([WIDTH], -float("inf"), tl.float32)
    total = tl.zeros([WIDTH], tl.float32)
    for start in range(0, parts, WIDTH):
        of = start + tl.arange(0, WIDTH)
        other = tl.load(largest_ptr + row * parts + of, mask=of < parts, other=-float("inf"))
        both = tl.maximum(largest, other)
        weight = tl.where(largest == both, 1.0, tl.exp(largest - both))
        other_weight = tl.where(of < parts, tl.exp(other - both), 0.0)
        total = total * weight + tl.load(total_ptr + row * parts + of, mask=of < parts, other=0.0) * other_weight
        largest = both
    most = tl.max(largest, axis=0)
    scale = 1.0 / tl.sum(total * tl.exp(largest - most), axis=0)
    at = part * TILE + tl.arange(0, TILE)
    offset = row.to(tl.int64) * N
    x = tl.load(x_ptr + offset + at, mask=at < N).to(tl.float32)
    tl.store(y_ptr + offset + at, (tl.exp(x - most) * scale).to(y_ptr.dtype.element_ty), mask=at < N)


def reference(x):
    powers = np.exp(x - x.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


kernel = Chain(
    id="example::long_softmax",
    inputs={"x": Tensor("T", "M N")},
    workspace={"largest": Tensor("fp32", "M cdiv(N, TILE)"), "total": Tensor("fp32", "M cdiv(N, TILE)")},
    outputs={"y": Tensor("T", "M N")},
    dtypes={"T": ("fp16", "bf16", "fp32")},
    steps=[
        Step(
            "summarize",
            summarize,
            inputs=("x",),
            outputs=("largest", "total"),
            params=[powers_of_two("num_warps", 2, 16)],
            launch=lambda M, N, TILE: Launch(grid=(M, cdiv(N, TILE)), args=(N,)),
            # Maxima are exact; a sum of up to 16 Ki terms, added as a tree.
            tolerances={"fp32": Tolerance(rtol=2**-18, atol=0.0)},
        ),
        Step(
            "normalize",
            normalize,
            inputs=("x", "largest", "total"),
            outputs=("y",),
            params=[powers_of_two("num_warps", 2, 16), choice("WIDTH", 32, 128)],
            launch=lambda M, N, TILE: Launch(grid=(M, cdiv(N, TILE)), args=(N,)),
        ),
    ],
    params=[powers_of_two("TILE", 1024, 16384)],
    constraints=[
        Constraint(
            "registers_per_thread",
            lambda TILE, summarize_num_warps, normalize_num_warps: (
                TILE <= 32 * min(summarize_num_warps, normalize_num_warps) * 64
            ),
            "a thread would keep more than 64 elements in registers",
        ),
        Constraint(
            "thread_has_work",
            lambda TILE, summarize_num_warps, normalize_num_warps: (
                TILE >= 32 * max(summarize_num_warps, normalize_num_warps) * 8
            ),
            "threads would hold fewer than 8 elements, too few for wide loads",
        ),
    ],
    default={"TILE": 4096, "summarize_num_warps": 4, "normalize_num_warps": 4, "normalize_WIDTH": 32},
    reference=reference,
    # As for `kernels/softmax.py`: exponentials to 2^-21, a sum that cannot cancel, two roundings of the parts'.
    tolerances={
        "fp32": Tolerance(rtol=2**-18, atol=2**-126),
        "fp16": Tolerance(rtol=2**-10, atol=2**-24),
        "bf16": Tolerance(rtol=2**-7, atol=2**-126),
    },
    flops=lambda M, N: 5 * M * N,
    tiles={"N": "TILE"},
)
