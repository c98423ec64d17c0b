"""Attention forward, full or causal, with grouped queries: softmax(q k^T / sqrt(D)) v without storing the scores."""

import numpy as np
import triton
import triton.language as tl

from tuner import Constraint, Kernel, Launch, Tensor, Tolerance, cdiv, choice, integers, itemsize, powers_of_two


@triton.jit
def _attend(
    q,
    k_ptr,
    v_ptr,
    accumulator,
    total,
    top,
    rows,
    low,
    high,
    S,
    causal: tl.constexpr,
    MASKED: tl.constexpr,
    D: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    """Take in the keys and values from low up to high."""
    # The scores are powers of two, which is what the hardware computes: exp(s) = 2^(s log2(e)).
    scale: tl.constexpr = 1.4426950408889634 / D**0.5
    columns = tl.arange(0, BLOCK_N)
    offsets = columns[:, None] * D + tl.arange(0, D)[None, :]
    for start in range(low, high, BLOCK_N):
        # A pointer that moves and offsets that stay take fewer registers than a block of pointers.
        k_ptrs = k_ptr + start * D + offsets
        v_ptrs = v_ptr + start * D + offsets
        if MASKED:
            inside = start + columns < S
            k = tl.load(k_ptrs, mask=inside[:, None], other=0.0)
        else:
            k = tl.load(k_ptrs)
        scores = tl.dot(q, tl.trans(k))
        if MASKED:
            seen = inside[None, :]
            if causal:
                seen = seen & (start + columns[None, :] <= rows[:, None])
            scores = tl.where(seen, scores, float("-inf"))
        higher = tl.maximum(top, tl.max(scores, axis=1) * scale)
        weights = tl.exp2(scores * scale - higher[:, None])
        shrink = tl.exp2(top - higher)
        total = total * shrink + tl.sum(weights, axis=1)
        v = tl.load(v_ptrs, mask=inside[:, None], other=0.0) if MASKED else tl.load(v_ptrs)
        accumulator = tl.dot(weights.to(v.dtype), v, accumulator * shrink[:, None])
        top = higher
    return accumulator, total, top


@triton.jit
def attention(
    q_ptr,
    k_ptr,
    v_ptr,
    S,
    G,
    y_ptr,
    D: tl.constexpr,
    causal: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    # The last rows of a causal head see most keys: those of all heads start first, so that the short ones fill the end.
    head = tl.program_id(0)
    block = tl.num_programs(1) - 1 - tl.program_id(1) if causal else tl.program_id(1)
    q_ptr += head.to(tl.int64) * S * D
    y_ptr += head.to(tl.int64) * S * D
    k_ptr += (head // G).to(tl.int64) * S * D
    v_ptr += (head // G).to(tl.int64) * S * D
    first = block * BLOCK_M
    rows = first + tl.arange(0, BLOCK_M)
    offsets = rows[:, None] * D + tl.arange(0, D)[None, :]
    mask = rows[:, None] < S
    q = tl.load(q_ptr + offsets, mask=mask, other=0.0)
    accumulator = tl.zeros([BLOCK_M, D], tl.float32)
    total = tl.zeros([BLOCK_M], tl.float32)
    top = tl.full([BLOCK_M], float("-inf"), tl.float32)
    # Whole blocks of keys that every row sees need no mask; those on the diagonal or over the end come after.
    whole = first if causal else S // BLOCK_N * BLOCK_N
    end = min(first + BLOCK_M, S) if causal else S
    accumulator, total, top = _attend(
        q, k_ptr, v_ptr, accumulator, total, top, rows, 0, whole, S, causal, False, D, BLOCK_N
    )
    accumulator, total, top = _attend(
        q, k_ptr, v_ptr, accumulator, total, top, rows, whole, end, S, causal, True, D, BLOCK_N
    )
    y = accumulator / total[:, None]
    tl.store(y_ptr + offsets, y.to(y_ptr.dtype.element_ty), mask=mask)


def reference(q, k, v, causal):
    length, depth = q.shape[-2:]
    heads = q.reshape(-1, *q.shape[-3:])
    keys, values = k.reshape(-1, length, depth), v.reshape(-1, length, depth)
    y = np.empty_like(heads)
    for i, j in np.ndindex(heads.shape[:2]):  # head by head, for the scores of all would not fit the memory
        scores = heads[i, j] @ keys[i].T / np.sqrt(depth)
        if causal:
            scores[~np.tri(length, dtype=bool)] = -np.inf
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        y[i, j] = weights @ values[i] / weights.sum(axis=-1, keepdims=True)
    return y.reshape(q.shape)


kernel = Kernel(
    id="example::attention",
    source=attention,
    # B is batch x heads of k and v; G heads of q share one of them. So (batch, heads, S, D) is taken as it lies.
    inputs={"q": Tensor("T", "*B G S D"), "k": Tensor("T", "*B S D"), "v": Tensor("T", "*B S D")},
    outputs={"y": Tensor("T", "*B G S D")},
    dtypes={"T": ("bf16", "fp16")},
    attributes={"causal": True},
    params=[
        powers_of_two("BLOCK_M", 64, 256),
        powers_of_two("BLOCK_N", 32, 128),
        choice("num_warps", 4, 8, 16),
        integers("num_stages", 1, 4),
    ],
    constraints=[
        Constraint(
            "head_dimension",
            lambda D: D >= 16 and D & (D - 1) == 0,
            "the head dimension is no power of two, or less than a tensor-core instruction takes",
        ),
        Constraint(
            "whole_warp_groups",
            lambda BLOCK_M, num_warps: BLOCK_M >= 16 * num_warps,
            "a warp would have fewer than the 16 rows of a tensor-core instruction",
        ),
        Constraint(
            "diagonal",
            lambda BLOCK_M, BLOCK_N, causal: BLOCK_N <= BLOCK_M or not causal,
            "blocks of keys would not end where the diagonal of a block of queries begins",
        ),
        Constraint(
            "registers_per_thread",
            lambda BLOCK_M, BLOCK_N, num_warps, D: BLOCK_M * (D + BLOCK_N) <= 32 * num_warps * 160,
            "a thread would keep more than 160 scores and accumulators in registers, and spill",
        ),
        Constraint(
            "register_file",
            lambda BLOCK_M, BLOCK_N, D: BLOCK_M * (D + BLOCK_N) <= 40 * 1024,
            "scores and accumulators would leave too few of the 64 Ki registers of a multiprocessor for the rest",
        ),
        Constraint(
            "shared_memory",
            lambda BLOCK_M, BLOCK_N, num_stages, D, T: (
                (BLOCK_M + 2 * BLOCK_N * num_stages) * D * itemsize(T) <= 227 * 1024
            ),
            "queries and the stages of the pipeline would not fit the 227 KiB of shared memory a block may have",
        ),
    ],
    default={"BLOCK_M": 128, "BLOCK_N": 64, "num_warps": 8, "num_stages": 3},
    launch=lambda B, G, S, BLOCK_M: Launch(grid=(B * G, cdiv(S, BLOCK_M)), args=(S, G)),
    reference=reference,
    # Weights are rounded to T before they meet v, by half an ulp; the largest of a row is exactly 1. The others make up
    # at most half of the sum where few of them share it, and their errors average out where many do: half of 4, which
    # bounds |v| for unit variance. Scores in fp32 are off by far less. Then one rounding to T.
    tolerances={"fp16": Tolerance(rtol=2**-10, atol=2**-10), "bf16": Tolerance(rtol=2**-7, atol=2**-7)},
    flops=lambda B, G, S, D, causal: 4 * B * G * S * S * D // (2 if causal else 1),
    tiles={"S": "BLOCK_M"},
)
