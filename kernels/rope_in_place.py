"""Rotary position embedding in place: queries and keys are rotated where they lie, and nothing is allocated."""

import numpy as np
import triton
import triton.language as tl

from tuner import Alias, Constraint, Kernel, Launch, Tensor, Tolerance, cdiv, powers_of_two


@triton.jit
def _rotate(x_ptr, cos, sin, tokens, M, heads, H, C: tl.constexpr, BLOCK_C: tl.constexpr):
    pairs = tl.arange(0, BLOCK_C)[None, None, :]
    mask = (tokens < M) & (heads < H) & (pairs < C)
    first = (tokens.to(tl.int64) * H + heads) * (2 * C) + pairs
    a = tl.load(x_ptr + first, mask=mask).to(tl.float32)
    b = tl.load(x_ptr + first + C, mask=mask).to(tl.float32)
    tl.store(x_ptr + first, (a * cos - b * sin).to(x_ptr.dtype.element_ty), mask=mask)
    tl.store(x_ptr + first + C, (b * cos + a * sin).to(x_ptr.dtype.element_ty), mask=mask)


@triton.jit
def rope(q_ptr, k_ptr, cos_ptr, sin_ptr, M, H, G, C: tl.constexpr, TOKENS: tl.constexpr, HEADS: tl.constexpr):
    BLOCK_C: tl.constexpr = triton.next_power_of_2(C)
    tokens = tl.program_id(0) * TOKENS + tl.arange(0, TOKENS)[:, None, None]
    pairs = tl.arange(0, BLOCK_C)[None, None, :]
    mask = (tokens < M) & (pairs < C)
    angles = tokens.to(tl.int64) * C + pairs
    cos = tl.load(cos_ptr + angles, mask=mask)
    sin = tl.load(sin_ptr + angles, mask=mask)
    heads = tl.arange(0, HEADS)[None, :, None]
    for first in range(0, H, HEADS):
        _rotate(q_ptr, cos, sin, tokens, M, first + heads, H, C, BLOCK_C)
    for first in range(0, G, HEADS):
        _rotate(k_ptr, cos, sin, tokens, M, first + heads, G, C, BLOCK_C)


def reference(q, k, cos, sin):
    def rotate(x):
        a, b = x[..., 0, :], x[..., 1, :]
        c, s = cos[..., None, :], sin[..., None, :]
        return np.stack([a * c - b * s, b * c + a * s], axis=-2)

    return rotate(q), rotate(k)


kernel = Kernel(
    id="example::rope_in_place",
    source=rope,
    # A head of 2 C elements is two halves of C; element i of one half makes a pair with element i of the other.
    inputs={
        "q": Tensor("T", "*M H 2 C"),
        "k": Tensor("T", "*M G 2 C"),
        "cos": Tensor("fp32", "*M C"),
        "sin": Tensor("fp32", "*M C"),
    },
    outputs={"rotated_q": Alias("q"), "rotated_k": Alias("k")},
    dtypes={"T": ("bf16", "fp16", "fp32")},
    params=[powers_of_two("TOKENS", 1, 16), powers_of_two("HEADS", 1, 32), powers_of_two("num_warps", 1, 8)],
    constraints=[
        Constraint(
            "thread_has_work",
            lambda TOKENS, HEADS, num_warps, C: TOKENS * HEADS * C >= 32 * num_warps * 4,
            "threads would hold fewer than 4 pairs, too few for wide loads",
        ),
        Constraint(
            "registers_per_thread",
            lambda TOKENS, HEADS, num_warps, C: TOKENS * HEADS * C <= 32 * num_warps * 32,
            "a thread would keep more than 32 pairs with their cosines and sines in registers",
        ),
        Constraint(
            "block_within_heads",
            lambda HEADS, H: HEADS < 2 * H or HEADS <= 8,
            "more than half of a large block would lie beyond the heads",
        ),
    ],
    default={"TOKENS": 1, "HEADS": 8, "num_warps": 2},
    launch=lambda M, H, G, TOKENS, HEADS: Launch(grid=(cdiv(M, TOKENS),), args=(M, H, G)),
    reference=reference,
    # Two products in fp32 and their sum, which may cancel: off by 2^-23 of the products, which are at most 16 for
    # inputs and tables of unit variance. Then one rounding to T.
    tolerances={
        "fp32": Tolerance(rtol=2**-23, atol=2**-19),
        "fp16": Tolerance(rtol=2**-10, atol=2**-19),
        "bf16": Tolerance(rtol=2**-7, atol=2**-19),
    },
    flops=lambda M, H, G, C: 6 * M * (H + G) * C,
    tiles={"M": "TOKENS", "H": "HEADS", "G": "HEADS"},
)
