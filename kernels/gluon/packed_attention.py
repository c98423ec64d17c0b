"""Attention forward over packed sequences of any lengths, for Hopper in Gluon, and in Triton: full or causal.

Sequences lie one after another, and offsets say where each begins; a launch knows their number and sum alone. There are
as many tiles of rows as the lengths could need: sequence b owns those from offsets[b] // rows + b on, which are enough
for any length, and a program finds the sequence of a tile by halving. Tiles left over end at once. The Gluon kernel
divides its work as the one for equal lengths in `attention.py` does, with the barriers of that: a warp group loads, two
or three compute.

Values are finite: the tensor cores multiply a neighbour's values by the weight 0 where the last block of keys is not
full.
"""

from itertools import pairwise

import numpy as np
import triton
import triton.language as tl
from attention import ROWS, await_turn, make_barriers, pass_over, pass_turn
from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia.hopper import (
    fence_async_shared,
    mbarrier,
    tma,
    warpgroup_mma,
    warpgroup_mma_wait,
)

from tuner import (
    Constraint,
    Kernel,
    Launch,
    Tensor,
    Tolerance,
    alternatives,
    ascending,
    choice,
    integers,
    itemsize,
    minimum,
    powers_of_two,
)

# -- Gluon ---------------------------------------------------------------------------------------


@gluon.jit
def _tile(turn, offsets, N, B, H, causal: gl.constexpr, TILE: gl.constexpr, HEADS: gl.constexpr):
    """Head, first row, and begin and length of the sequence: HEADS heads side by side, long causal rows first.

    The first row is not below the length where the tile is one of those left over.
    """
    blocks = N // TILE + B
    tile = gl.program_id(0) + turn * gl.num_programs(0)
    group = tile // (HEADS * blocks)
    tile -= group * HEADS * blocks
    heads = min(H - group * HEADS, HEADS)
    block = tile // heads
    low = gl.to_tensor(0)
    high = B + 0
    while high - low > 1:
        middle = (low + high) // 2
        if gl.load(offsets + middle) // TILE + middle <= block:
            low = middle
        else:
            high = middle
    begin = gl.load(offsets + low)
    length = gl.load(offsets + low + 1) - begin
    block -= begin // TILE + low
    if causal:
        block = gl.cdiv(length, TILE) - 1 - block
        block = gl.where(block < 0, 1 << 20, block)
    return group * HEADS + tile % heads, block * TILE, begin, length


@gluon.jit
def _count(N, B, H, TILE: gl.constexpr):
    """How many tiles this program takes."""
    tiles = H * (N // TILE + B)
    return gl.cdiv(tiles - gl.program_id(0), gl.num_programs(0))


@gluon.jit
def _keys(first, count, length, causal: gl.constexpr, BLOCK_N: gl.constexpr):
    """How many blocks of keys some of `count` rows see."""
    return gl.cdiv(min(first + count, length) if causal else length, BLOCK_N)


@gluon.jit
def _load(
    q, k, v, offsets, tiles, bars, N, B, H, G,
    D: gl.constexpr, causal: gl.constexpr, BLOCK_N: gl.constexpr, STAGES: gl.constexpr,
    CONSUMERS: gl.constexpr, HEADS: gl.constexpr,
):  # fmt: skip
    """Bring the queries of every tile, then its keys and values, last block first."""
    q_s, k_s, v_s, _ = tiles
    q_full, q_empty, k_full, k_empty, v_full, v_empty = bars
    made = 0
    done = 0
    for turn in range(_count(N, B, H, ROWS * CONSUMERS)):
        head, first, begin, length = _tile(turn, offsets, N, B, H, causal, ROWS * CONSUMERS, HEADS)
        if first < length:
            for i in gl.static_range(CONSUMERS):
                mbarrier.wait(q_empty.index(i), (made & 1) ^ 1)
                mbarrier.expect(q_full.index(i), q.block_type.nbytes)
                row = begin + first + i * ROWS
                tma.async_copy_global_to_shared(q, [row, head * D], q_full.index(i), q_s.index(i))
            end = _keys(first, ROWS * CONSUMERS, length, causal, BLOCK_N)
            for n in range(end):
                row = begin + (end - 1 - n) * BLOCK_N
                slot = done % STAGES
                phase = ((done // STAGES) & 1) ^ 1
                mbarrier.wait(k_empty.index(slot), phase)
                mbarrier.expect(k_full.index(slot), k.block_type.nbytes)
                tma.async_copy_global_to_shared(k, [row, head // G * D], k_full.index(slot), k_s.index(slot))
                mbarrier.wait(v_empty.index(slot), phase)
                mbarrier.expect(v_full.index(slot), v.block_type.nbytes)
                tma.async_copy_global_to_shared(v, [row, head // G * D], v_full.index(slot), v_s.index(slot))
                done += 1
            made += 1


@gluon.jit
def _attend(
    y, y_ptr, offsets, tiles, bars, N, B, H, ME: gl.constexpr, D: gl.constexpr, causal: gl.constexpr,
    BLOCK_N: gl.constexpr, STAGES: gl.constexpr, CONSUMERS: gl.constexpr, HEADS: gl.constexpr, TURNS: gl.constexpr,
):  # fmt: skip
    """Compute rows ME * ROWS and following of every tile."""
    q_s, k_s, v_s, y_s = tiles
    q_full, q_empty, k_full, k_empty, v_full, v_empty = bars
    # The scores are powers of two, which is what the hardware computes: exp(s) = 2^(s log2(e)).
    scale: gl.constexpr = 1.4426950408889634 / D**0.5
    of_scores: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, BLOCK_N, 16])
    of_result: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, D, 16])
    of_weights: gl.constexpr = gl.DotOperandLayout(0, of_result, 2)
    dtype: gl.constexpr = q_s.dtype
    zero = gl.zeros([ROWS, BLOCK_N], gl.float32, of_scores)
    columns = gl.arange(0, BLOCK_N, gl.SliceLayout(0, of_scores))
    made = 0
    done = 0
    if TURNS and ME == CONSUMERS - 1:
        pass_turn(ME, CONSUMERS)  # the first turn is the first consumer's
    for turn in range(_count(N, B, H, ROWS * CONSUMERS)):
        head, first, begin, length = _tile(turn, offsets, N, B, H, causal, ROWS * CONSUMERS, HEADS)
        if first < length:
            tile_end = _keys(first, ROWS * CONSUMERS, length, causal, BLOCK_N)
            first += ME * ROWS
            end = tile_end
            if causal:
                end = min(gl.cdiv(first + ROWS, BLOCK_N), tile_end)
                done = pass_over(bars, done, tile_end - end, ME, STAGES, CONSUMERS, TURNS)
            mbarrier.wait(q_full.index(ME), made & 1)
            q = q_s.index(ME)
            # The last block of keys: only there rows end, in themselves or with the sequence.
            slot = done % STAGES
            phase = (done // STAGES) & 1
            mbarrier.wait(k_full.index(slot), phase)
            scores = warpgroup_mma(q, k_s.index(slot).permute((1, 0)), zero, use_acc=False, is_async=True)
            scores = warpgroup_mma_wait(0, deps=[scores])
            mbarrier.arrive(k_empty.index(slot), count=1)
            key = gl.expand_dims((end - 1) * BLOCK_N + columns, 0)
            if causal:
                rows = first + gl.arange(0, ROWS, gl.SliceLayout(1, of_scores))
                seen = key <= gl.expand_dims(rows, 1)
            else:
                seen = (key < length).broadcast_to([ROWS, BLOCK_N])
            scores = gl.where(seen, scores, float("-inf"))
            top = gl.max(scores, 1) * scale
            weights = gl.exp2(scores * scale - gl.expand_dims(top, 1))
            # Each thread adds up its own columns; the four of a row meet at the end.
            total = gl.sum(gl.reshape(weights, [ROWS, BLOCK_N // 8, 8]), 1)
            factors = gl.convert_layout(weights.to(dtype), of_weights)
            result = gl.zeros([ROWS, D], gl.float32, of_result)
            for _ in range(end - 1):
                before = slot
                before_phase = phase
                done += 1
                slot = done % STAGES
                phase = (done // STAGES) & 1
                mbarrier.wait(k_full.index(slot), phase)
                if TURNS:
                    await_turn(ME)
                scores = warpgroup_mma(q, k_s.index(slot).permute((1, 0)), zero, use_acc=False, is_async=True)
                mbarrier.wait(v_full.index(before), before_phase)
                result = warpgroup_mma(factors, v_s.index(before), result, is_async=True)
                if TURNS:
                    pass_turn(ME, CONSUMERS)
                scores = warpgroup_mma_wait(1, deps=[scores])
                mbarrier.arrive(k_empty.index(slot), count=1)
                higher = gl.maximum(top, gl.max(scores, 1) * scale)
                weights = gl.exp2(scores * scale - gl.expand_dims(higher, 1))
                shrink = gl.exp2(top - higher)
                top = higher
                part = gl.sum(gl.reshape(weights, [ROWS, BLOCK_N // 8, 8]), 1)
                total = (
                    total * gl.expand_dims(gl.convert_layout(shrink, gl.SliceLayout(1, total.type.layout)), 1) + part
                )
                factors = gl.convert_layout(weights.to(dtype), of_weights)
                # Long passed: a branch that keeps the assembler from waiting before the exponentials.
                mbarrier.wait(v_full.index(before), before_phase)
                result = warpgroup_mma_wait(0, deps=[result])
                mbarrier.arrive(v_empty.index(before), count=1)
                result = result * gl.expand_dims(gl.convert_layout(shrink, gl.SliceLayout(1, of_result)), 1)
            mbarrier.arrive(q_empty.index(ME), count=1)
            mbarrier.wait(v_full.index(slot), phase)
            result = warpgroup_mma(factors, v_s.index(slot), result, is_async=True)
            whole = gl.convert_layout(gl.sum(total, 1), gl.SliceLayout(1, of_result))
            tma.store_wait(0)  # of the tile before
            result = warpgroup_mma_wait(0, deps=[result])
            mbarrier.arrive(v_empty.index(slot), count=1)
            done += 1
            made += 1
            result = (result * gl.expand_dims(1.0 / whole, 1)).to(dtype)
            if first + ROWS <= length:
                y_s.index(ME).store(result)
                fence_async_shared()
                tma.async_copy_shared_to_global(y, [begin + first, head * D], y_s.index(ME))
            else:  # the rows beyond are a neighbour's
                row = gl.expand_dims(first + gl.arange(0, ROWS, gl.SliceLayout(1, of_result)), 1)
                column = gl.expand_dims(gl.arange(0, D, gl.SliceLayout(0, of_result)), 0)
                places = y_ptr + ((begin + row).to(gl.int64) * H + head) * D + column
                gl.store(places, result, mask=(row < length).broadcast_to([ROWS, D]))
    tma.store_wait(0)


@gluon.jit(do_not_specialize=["N", "B"])
def packed_attention_gluon(
    q_ptr, k_ptr, v_ptr, offsets_ptr, N, B, H, G, y_ptr,
    D: gl.constexpr, causal: gl.constexpr,
    BLOCK_N: gl.constexpr, STAGES: gl.constexpr, CONSUMERS: gl.constexpr, HEADS: gl.constexpr, TURNS: gl.constexpr,
    LOADER_REGISTERS: gl.constexpr,
):  # fmt: skip
    dtype: gl.constexpr = q_ptr.dtype.element_ty
    of_rows: gl.constexpr = gl.NVMMASharedLayout.get_default_for([ROWS, D], dtype)
    of_keys: gl.constexpr = gl.NVMMASharedLayout.get_default_for([BLOCK_N, D], dtype)
    # Heads lie side by side in a row. Rows beyond the last sequence are read as zeros.
    wide, narrow = H * D, H // G * D
    q = tma.make_tensor_descriptor(q_ptr, [N, wide], [wide, 1], [ROWS, D], of_rows)
    k = tma.make_tensor_descriptor(k_ptr, [N, narrow], [narrow, 1], [BLOCK_N, D], of_keys)
    v = tma.make_tensor_descriptor(v_ptr, [N, narrow], [narrow, 1], [BLOCK_N, D], of_keys)
    y = tma.make_tensor_descriptor(y_ptr, [N, wide], [wide, 1], [ROWS, D], of_rows)
    q_s = gl.allocate_shared_memory(dtype, [CONSUMERS, ROWS, D], of_rows)
    k_s = gl.allocate_shared_memory(dtype, [STAGES, BLOCK_N, D], of_keys)
    v_s = gl.allocate_shared_memory(dtype, [STAGES, BLOCK_N, D], of_keys)
    y_s = gl.allocate_shared_memory(dtype, [CONSUMERS, ROWS, D], of_rows)
    bars = make_barriers(STAGES, CONSUMERS)
    tiles = (q_s, k_s, v_s, y_s)
    at = offsets_ptr
    # What the loader leaves of the registers is shared among the consumers, in steps of 8.
    share: gl.constexpr = (512 - LOADER_REGISTERS) // CONSUMERS // 8 * 8
    if CONSUMERS == 2:
        gl.warp_specialize(
            [
                (_attend, (y, y_ptr, at, tiles, bars, N, B, H, 0, D, causal, BLOCK_N, STAGES, CONSUMERS, HEADS, TURNS)),
                (_attend, (y, y_ptr, at, tiles, bars, N, B, H, 1, D, causal, BLOCK_N, STAGES, CONSUMERS, HEADS, TURNS)),
                (_load, (q, k, v, at, tiles, bars, N, B, H, G, D, causal, BLOCK_N, STAGES, CONSUMERS, HEADS)),
            ],
            [4, 4],
            [share, LOADER_REGISTERS],
        )
    else:
        gl.warp_specialize(
            [
                (_attend, (y, y_ptr, at, tiles, bars, N, B, H, 0, D, causal, BLOCK_N, STAGES, CONSUMERS, HEADS, TURNS)),
                (_attend, (y, y_ptr, at, tiles, bars, N, B, H, 1, D, causal, BLOCK_N, STAGES, CONSUMERS, HEADS, TURNS)),
                (_attend, (y, y_ptr, at, tiles, bars, N, B, H, 2, D, causal, BLOCK_N, STAGES, CONSUMERS, HEADS, TURNS)),
                (_load, (q, k, v, at, tiles, bars, N, B, H, G, D, causal, BLOCK_N, STAGES, CONSUMERS, HEADS)),
            ],
            [4, 4, 4],
            [share, share, LOADER_REGISTERS],
        )


# -- Triton --------------------------------------------------------------------------------------


@triton.jit
def _attend_triton(
    q, k_ptr, v_ptr, state, rows, low, high, length, stride,
    causal: tl.constexpr, D: tl.constexpr, BLOCK_N: tl.constexpr, MASKED: tl.constexpr,
):  # fmt: skip
    """Take in the keys and values from low up to high."""
    scale: tl.constexpr = 1.4426950408889634 / D**0.5
    result, total, top = state
    columns = tl.arange(0, BLOCK_N)
    offsets = columns[:, None] * stride + tl.arange(0, D)[None, :]
    for start in range(low, high, BLOCK_N):
        at = tl.cast(start, tl.int64) * stride
        inside = start + columns < length
        if MASKED:
            k = tl.load(k_ptr + at + offsets, mask=inside[:, None], other=0.0)
            v = tl.load(v_ptr + at + offsets, mask=inside[:, None], other=0.0)
        else:
            k = tl.load(k_ptr + at + offsets)
            v = tl.load(v_ptr + at + offsets)
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
        result = tl.dot(weights.to(v.dtype), v, result * shrink[:, None])
        top = higher
    return result, total, top


@triton.jit
def packed_attention_triton(
    q_ptr, k_ptr, v_ptr, offsets_ptr, B, H, G, y_ptr,
    D: tl.constexpr, causal: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    head, block = tl.program_id(0), tl.program_id(1)
    low = 0
    high = B
    while high - low > 1:
        middle = (low + high) // 2
        if tl.load(offsets_ptr + middle) // BLOCK_M + middle <= block:
            low = middle
        else:
            high = middle
    begin = tl.load(offsets_ptr + low)
    length = tl.load(offsets_ptr + low + 1) - begin
    # The last rows of a causal sequence see most keys and start first.
    place = block - begin // BLOCK_M - low
    first = (tl.cdiv(length, BLOCK_M) - 1 - place if causal else place) * BLOCK_M
    if first < length and first >= 0:
        stride = H // G * D
        at = begin.to(tl.int64)
        k_ptr += at * stride + head // G * D
        v_ptr += at * stride + head // G * D
        rows = first + tl.arange(0, BLOCK_M)
        offsets = (at + rows)[:, None] * H * D + head * D + tl.arange(0, D)[None, :]
        mask = rows[:, None] < length
        q = tl.load(q_ptr + offsets, mask=mask, other=0.0)
        result = tl.zeros([BLOCK_M, D], tl.float32)
        total = tl.zeros([BLOCK_M], tl.float32)
        top = tl.full([BLOCK_M], float("-inf"), tl.float32)
        state = (result, total, top)
        # Whole blocks of keys that every row sees need no mask.
        whole = (first if causal else length) // BLOCK_N * BLOCK_N
        end = min(first + BLOCK_M, length) if causal else length
        state = _attend_triton(q, k_ptr, v_ptr, state, rows, 0, whole, length, stride, causal, D, BLOCK_N, False)
        state = _attend_triton(q, k_ptr, v_ptr, state, rows, whole, end, length, stride, causal, D, BLOCK_N, True)
        tl.store(y_ptr + offsets, (state[0] / state[1][:, None]).to(y_ptr.dtype.element_ty), mask=mask)


# -- both ----------------------------------------------------------------------------------------


def reference(q, k, v, offsets, causal):
    y = np.empty_like(q)
    for begin, end in pairwise(offsets):
        seen = np.tri(end - begin, dtype=bool) if causal else True
        for head, group in np.ndindex(q.shape[1:3]):
            scores = q[begin:end, head, group] @ k[begin:end, head].T / np.sqrt(q.shape[-1])
            scores = np.where(seen, scores, -np.inf)
            weights = np.exp(scores - scores.max(axis=-1, keepdims=True, initial=-np.inf))
            y[begin:end, head, group] = weights @ v[begin:end, head] / weights.sum(axis=-1, keepdims=True)
    return y


SHARED = {
    # Token by token, of B sequences together N; G heads of q share one of the H of k and v.
    "inputs": {
        "q": Tensor("T", "N H G D"),
        "k": Tensor("T", "N H D"),
        "v": Tensor("T", "N H D"),
        "offsets": Tensor("i32", "B + 1", values=ascending(0, "N")),
    },
    # Four descriptors of 128 bytes for each of at most 8192 programs.
    "outputs": {"y": Tensor("T", "N H G D"), "scratch": Tensor("i8", "4194304", scratch=True)},
    "dtypes": {"T": ("bf16", "fp16")},
    "attributes": {"causal": True},
    "reference": reference,
    # As of attention over equal lengths: weights are rounded to T, by half an ulp, then the result is.
    "tolerances": {"fp16": Tolerance(rtol=2**-10, atol=2**-10), "bf16": Tolerance(rtol=2**-7, atol=2**-7)},
    # Of equal lengths: what the lengths are is known to the offsets alone.
    "flops": lambda B, N, H, G, D, causal: 4 * H * G * N * -(-N // B) * D // (2 if causal else 1),
}

kernel = alternatives(
    "example::packed_attention",
    triton=Kernel(
        id="example::packed_attention_triton",
        source=packed_attention_triton,
        **SHARED,
        params=[
            powers_of_two("BLOCK_M", 64, 128),
            powers_of_two("BLOCK_N", 32, 128),
            choice("num_warps", 4, 8),
            integers("num_stages", 1, 4),
        ],
        constraints=[
            Constraint(
                "head_dimension",
                lambda D: D >= 16 and D & (D - 1) == 0,
                "the head dimension is no power of two, or less than a tensor-core instruction takes",
            ),
            Constraint(
                "registers_per_thread",
                lambda BLOCK_M, BLOCK_N, num_warps, D: BLOCK_M * (D + BLOCK_N) <= 32 * num_warps * 160,
                "a thread would keep more than 160 scores and accumulators in registers, and spill",
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
        launch=lambda B, N, H, G, BLOCK_M: Launch(grid=(H * G, N // BLOCK_M + B), args=(B, H * G, G)),
        tiles={"N": "BLOCK_M"},
    ),
    gluon=Kernel(
        id="example::packed_attention_gluon",
        source=packed_attention_gluon,
        **SHARED,
        params=[
            powers_of_two("BLOCK_N", 64, 128),
            integers("STAGES", 2, 4),
            choice("CONSUMERS", 2, 3),
            choice("HEADS", 1, 4, 16, 64),
            choice("TURNS", 0, 1),
            choice("LOADER_REGISTERS", 24, 40),
            choice("PROGRAMS", 132, 8192),  # one for each multiprocessor of an H100 or H200, or for each tile
        ],
        constraints=[
            Constraint(
                "head_dimension",
                lambda D: D == 64 or D == 128,
                "a row of queries is one or two of the 128 bytes that the memory accelerator swizzles",
            ),
            Constraint(
                "registers_per_thread",
                lambda BLOCK_N, CONSUMERS, D: D // 2 + BLOCK_N * 3 // 4 + 32 <= 480 // CONSUMERS,
                "a consumer would keep more scores, weights and results than it has registers, and spill",
            ),
            Constraint(
                "shared_memory",
                lambda BLOCK_N, CONSUMERS, STAGES, D, T: (
                    (128 * CONSUMERS + 2 * BLOCK_N * STAGES) * D * itemsize(T) <= 226 * 1024
                ),
                "queries, results and the stages of keys and values would not fit the 227 KiB that a block may have",
            ),
        ],
        default={
            "BLOCK_N": 128,
            "STAGES": 2,
            "CONSUMERS": 2,
            "HEADS": 1,
            "TURNS": 1,
            "LOADER_REGISTERS": 24,
            "PROGRAMS": 132,
        },
        launch=lambda B, N, H, G, CONSUMERS, PROGRAMS: Launch(
            grid=(minimum(PROGRAMS, H * G * (N // (64 * CONSUMERS) + B)),), args=(N, B, H * G, G)
        ),
    ),
)
