"""Attention forward for Hopper in Gluon, and in Triton: full, causal or within a window, with grouped queries.

The Gluon kernel stays on its multiprocessor and gives each warp group one task. One warp group loads: it brings
queries, keys and values through the tensor memory accelerator, as far ahead as there are stages. Two or three others
each compute 64 rows. A consumer starts the scores of the next keys before it multiplies the weights of the last ones,
so that its exponentials run beside its own products; and consumers take turns at the tensor cores, so that one
computes exponentials while another multiplies. Weights never leave the registers.
"""

import numpy as np
import triton
import triton.language as tl
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
    cdiv,
    choice,
    integers,
    itemsize,
    minimum,
    powers_of_two,
)

# -- Gluon ---------------------------------------------------------------------------------------

ROWS = gl.constexpr(64)
"""Queries of a consumer: the rows of a tensor-core instruction of a warp group."""


@gluon.jit
def _count(H, S, TILE: gl.constexpr):
    """How many tiles this program takes."""
    tiles = H * gl.cdiv(S, TILE)
    rounds = tiles // gl.num_programs(0)
    return rounds + (_place(rounds) < tiles - rounds * gl.num_programs(0)).to(gl.int32)


@gluon.jit
def _place(turn):
    """This program's place in a round: the order turns round each time, which evens out tiles that get shorter."""
    place = gl.program_id(0)
    if turn % 2 == 1:
        place = gl.num_programs(0) - 1 - place
    return place


@gluon.jit
def _tile(turn, H, S, causal: gl.constexpr, TILE: gl.constexpr, HEADS: gl.constexpr):
    """Head and first row of the tile of a turn: HEADS heads side by side, of causal ones the longest rows first."""
    tile = turn * gl.num_programs(0) + _place(turn)
    blocks = gl.cdiv(S, TILE)
    group = tile // (HEADS * blocks)
    tile -= group * HEADS * blocks
    heads = min(H - group * HEADS, HEADS)
    block = tile // heads
    if causal:
        block = blocks - 1 - block
    return group * HEADS + tile % heads, block * TILE


@gluon.jit
def _keys(first, count, S, causal: gl.constexpr, window: gl.constexpr, BLOCK_N: gl.constexpr):
    """The blocks of keys that some of `count` rows see: from the one returned first up to the other."""
    end = gl.cdiv(min(first + count, S) if causal else S, BLOCK_N)
    low = 0
    if window:
        low = gl.maximum(first - window + 1, 0) // BLOCK_N
    return low, end


@gluon.jit
def _load(
    q, k, v, tiles, bars, H, S, G,
    causal: gl.constexpr, window: gl.constexpr, BLOCK_N: gl.constexpr, STAGES: gl.constexpr,
    CONSUMERS: gl.constexpr, HEADS: gl.constexpr,
):  # fmt: skip
    """Bring the queries of every tile, then its keys and values, last block first."""
    q_s, k_s, v_s, _ = tiles
    q_full, q_empty, k_full, k_empty, v_full, v_empty = bars
    done = 0
    for turn in range(_count(H, S, ROWS * CONSUMERS)):
        head, first = _tile(turn, H, S, causal, ROWS * CONSUMERS, HEADS)
        for i in gl.static_range(CONSUMERS):
            mbarrier.wait(q_empty.index(i), (turn & 1) ^ 1)
            mbarrier.expect(q_full.index(i), q.block_type.nbytes)
            tma.async_copy_global_to_shared(q, [head, first + i * ROWS, 0], q_full.index(i), q_s.index(i))
        low, end = _keys(first, ROWS * CONSUMERS, S, causal, window, BLOCK_N)
        for n in range(low, end):
            row = (end - 1 - n + low) * BLOCK_N
            slot = done % STAGES
            phase = ((done // STAGES) & 1) ^ 1
            mbarrier.wait(k_empty.index(slot), phase)
            mbarrier.expect(k_full.index(slot), k.block_type.nbytes)
            tma.async_copy_global_to_shared(k, [head // G, row, 0], k_full.index(slot), k_s.index(slot))
            mbarrier.wait(v_empty.index(slot), phase)
            mbarrier.expect(v_full.index(slot), v.block_type.nbytes)
            tma.async_copy_global_to_shared(v, [head // G, row, 0], v_full.index(slot), v_s.index(slot))
            done += 1


@gluon.jit
def make_barriers(STAGES: gl.constexpr, CONSUMERS: gl.constexpr):
    """Barriers that say of queries, keys and values that they are there, and that their place is free."""
    q_full = gl.allocate_shared_memory(gl.int64, [CONSUMERS, 1], mbarrier.MBarrierLayout())
    q_empty = gl.allocate_shared_memory(gl.int64, [CONSUMERS, 1], mbarrier.MBarrierLayout())
    k_full = gl.allocate_shared_memory(gl.int64, [STAGES, 1], mbarrier.MBarrierLayout())
    k_empty = gl.allocate_shared_memory(gl.int64, [STAGES, 1], mbarrier.MBarrierLayout())
    v_full = gl.allocate_shared_memory(gl.int64, [STAGES, 1], mbarrier.MBarrierLayout())
    v_empty = gl.allocate_shared_memory(gl.int64, [STAGES, 1], mbarrier.MBarrierLayout())
    for i in gl.static_range(CONSUMERS):
        mbarrier.init(q_full.index(i), count=1)
        mbarrier.init(q_empty.index(i), count=1)
    for i in gl.static_range(STAGES):
        mbarrier.init(k_full.index(i), count=1)
        mbarrier.init(v_full.index(i), count=1)
        mbarrier.init(k_empty.index(i), count=CONSUMERS)
        mbarrier.init(v_empty.index(i), count=CONSUMERS)
    return q_full, q_empty, k_full, k_empty, v_full, v_empty


@gluon.jit
def await_turn(ME: gl.constexpr):
    """Wait until the consumer before has started its products: a named barrier of the two warp groups."""
    one = gl.full([128], 0, gl.int32, gl.BlockedLayout([1], [32], [4], [0]))
    if ME == 0:
        gl.inline_asm_elementwise("bar.sync 8, 256; mov.b32 $0, $1;", "=r,r", [one], gl.int32, False, 1)
    elif ME == 1:
        gl.inline_asm_elementwise("bar.sync 9, 256; mov.b32 $0, $1;", "=r,r", [one], gl.int32, False, 1)
    else:
        gl.inline_asm_elementwise("bar.sync 10, 256; mov.b32 $0, $1;", "=r,r", [one], gl.int32, False, 1)


@gluon.jit
def pass_turn(ME: gl.constexpr, CONSUMERS: gl.constexpr):
    """Let the next consumer start its products."""
    one = gl.full([128], 0, gl.int32, gl.BlockedLayout([1], [32], [4], [0]))
    if (ME + 1) % CONSUMERS == 0:
        gl.inline_asm_elementwise("bar.arrive 8, 256; mov.b32 $0, $1;", "=r,r", [one], gl.int32, False, 1)
    elif (ME + 1) % CONSUMERS == 1:
        gl.inline_asm_elementwise("bar.arrive 9, 256; mov.b32 $0, $1;", "=r,r", [one], gl.int32, False, 1)
    else:
        gl.inline_asm_elementwise("bar.arrive 10, 256; mov.b32 $0, $1;", "=r,r", [one], gl.int32, False, 1)


@gluon.jit
def pass_over(bars, done, count, ME: gl.constexpr, STAGES: gl.constexpr, CONSUMERS: gl.constexpr,
              TURNS: gl.constexpr):  # fmt: skip
    """Give back blocks of keys that other consumers see and this one does not."""
    _, _, k_full, k_empty, v_full, v_empty = bars
    for n in range(count):
        slot = (done + n) % STAGES
        phase = ((done + n) // STAGES) & 1
        mbarrier.wait(k_full.index(slot), phase)
        mbarrier.arrive(k_empty.index(slot), count=1)
        mbarrier.wait(v_full.index(slot), phase)
        mbarrier.arrive(v_empty.index(slot), count=1)
        if TURNS:
            await_turn(ME)
            pass_turn(ME, CONSUMERS)
    return done + count


@gluon.jit
def _attend(
    y, tiles, bars, H, S, ME: gl.constexpr, D: gl.constexpr, causal: gl.constexpr, window: gl.constexpr,
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
    done = 0
    if TURNS and ME == CONSUMERS - 1:
        pass_turn(ME, CONSUMERS)  # the first turn is the first consumer's
    for turn in range(_count(H, S, ROWS * CONSUMERS)):
        head, first = _tile(turn, H, S, causal, ROWS * CONSUMERS, HEADS)
        tile_low, tile_end = _keys(first, ROWS * CONSUMERS, S, causal, window, BLOCK_N)
        first += ME * ROWS
        low, end = tile_low, tile_end
        if causal:
            low, end = _keys(first, ROWS, S, causal, window, BLOCK_N)
            low, end = min(low, tile_end - 1), min(gl.cdiv(first + ROWS, BLOCK_N), tile_end)
            done = pass_over(bars, done, tile_end - end, ME, STAGES, CONSUMERS, TURNS)
        rows = first + gl.arange(0, ROWS, gl.SliceLayout(1, of_scores))
        mbarrier.wait(q_full.index(ME), turn & 1)
        q = q_s.index(ME).reshape([ROWS, D])
        # The last block of keys: only there rows end, in themselves or with the sequence.
        slot = done % STAGES
        phase = (done // STAGES) & 1
        mbarrier.wait(k_full.index(slot), phase)
        k = k_s.index(slot).reshape([BLOCK_N, D]).permute((1, 0))
        scores = warpgroup_mma(q, k, zero, use_acc=False, is_async=True)
        scores = warpgroup_mma_wait(0, deps=[scores])
        mbarrier.arrive(k_empty.index(slot), count=1)
        key = gl.expand_dims((end - 1) * BLOCK_N + columns, 0)
        if causal:
            seen = key <= gl.expand_dims(rows, 1)
            if window:
                seen = seen & (key > gl.expand_dims(rows, 1) - window)
        else:
            seen = (key < S).broadcast_to([ROWS, BLOCK_N])
        scores = gl.where(seen, scores, float("-inf"))
        top = gl.max(scores, 1) * scale
        if window:
            top = gl.maximum(top, -1e30)  # rows beyond the sequence may see nothing
        weights = gl.exp2(scores * scale - gl.expand_dims(top, 1))
        # Each thread adds up its own columns; the four of a row meet at the end.
        total = gl.sum(gl.reshape(weights, [ROWS, BLOCK_N // 8, 8]), 1)
        factors = gl.convert_layout(weights.to(dtype), of_weights)
        result = gl.zeros([ROWS, D], gl.float32, of_result)
        for n in range(low, end - 1):
            before = slot
            before_phase = phase
            done += 1
            slot = done % STAGES
            phase = (done // STAGES) & 1
            mbarrier.wait(k_full.index(slot), phase)
            k = k_s.index(slot).reshape([BLOCK_N, D]).permute((1, 0))
            if TURNS:
                await_turn(ME)
            scores = warpgroup_mma(q, k, zero, use_acc=False, is_async=True)
            mbarrier.wait(v_full.index(before), before_phase)
            result = warpgroup_mma(factors, v_s.index(before).reshape([BLOCK_N, D]), result, is_async=True)
            if TURNS:
                pass_turn(ME, CONSUMERS)
            scores = warpgroup_mma_wait(1, deps=[scores])
            mbarrier.arrive(k_empty.index(slot), count=1)
            if window:
                start = (end - 2 - n + low) * BLOCK_N
                if start < first + ROWS - window:
                    inside = gl.expand_dims(start + columns, 0) > gl.expand_dims(rows, 1) - window
                    scores = gl.where(inside, scores, float("-inf"))
            higher = gl.maximum(top, gl.max(scores, 1) * scale)
            weights = gl.exp2(scores * scale - gl.expand_dims(higher, 1))
            shrink = gl.exp2(top - higher)
            top = higher
            part = gl.sum(gl.reshape(weights, [ROWS, BLOCK_N // 8, 8]), 1)
            total = total * gl.expand_dims(gl.convert_layout(shrink, gl.SliceLayout(1, total.type.layout)), 1) + part
            factors = gl.convert_layout(weights.to(dtype), of_weights)
            # This has long been full. But the assembler would wait for the product above before the exponentials,
            # and it moves no wait across the branch that this is.
            mbarrier.wait(v_full.index(before), before_phase)
            result = warpgroup_mma_wait(0, deps=[result])
            mbarrier.arrive(v_empty.index(before), count=1)
            result = result * gl.expand_dims(gl.convert_layout(shrink, gl.SliceLayout(1, of_result)), 1)
        mbarrier.arrive(q_empty.index(ME), count=1)
        mbarrier.wait(v_full.index(slot), phase)
        result = warpgroup_mma(factors, v_s.index(slot).reshape([BLOCK_N, D]), result, is_async=True)
        whole = gl.convert_layout(gl.sum(total, 1), gl.SliceLayout(1, of_result))
        tma.store_wait(0)  # of the tile before
        result = warpgroup_mma_wait(0, deps=[result])
        mbarrier.arrive(v_empty.index(slot), count=1)
        done += 1
        if window:
            done = pass_over(bars, done, low - tile_low, ME, STAGES, CONSUMERS, TURNS)
        result = result * gl.expand_dims(1.0 / whole, 1)
        y_s.index(ME).reshape([ROWS, D]).store(result.to(dtype))
        fence_async_shared()
        tma.async_copy_shared_to_global(y, [head, first, 0], y_s.index(ME))
    tma.store_wait(0)


@gluon.jit(do_not_specialize=["S"])
def attention_gluon(
    q_ptr, k_ptr, v_ptr, H, S, G, y_ptr,
    D: gl.constexpr, causal: gl.constexpr, window: gl.constexpr,
    BLOCK_N: gl.constexpr, STAGES: gl.constexpr, CONSUMERS: gl.constexpr, HEADS: gl.constexpr, TURNS: gl.constexpr,
    LOADER_REGISTERS: gl.constexpr,
):  # fmt: skip
    dtype: gl.constexpr = q_ptr.dtype.element_ty
    of_rows: gl.constexpr = gl.NVMMASharedLayout.get_default_for([1, ROWS, D], dtype)
    of_keys: gl.constexpr = gl.NVMMASharedLayout.get_default_for([1, BLOCK_N, D], dtype)
    # A dimension of its own for heads: rows beyond a sequence are read as zeros and not written.
    each = S.to(gl.int64) * D
    q = tma.make_tensor_descriptor(q_ptr, [H, S, D], [each, D, 1], [1, ROWS, D], of_rows)
    k = tma.make_tensor_descriptor(k_ptr, [H // G, S, D], [each, D, 1], [1, BLOCK_N, D], of_keys)
    v = tma.make_tensor_descriptor(v_ptr, [H // G, S, D], [each, D, 1], [1, BLOCK_N, D], of_keys)
    y = tma.make_tensor_descriptor(y_ptr, [H, S, D], [each, D, 1], [1, ROWS, D], of_rows)
    q_s = gl.allocate_shared_memory(dtype, [CONSUMERS, 1, ROWS, D], of_rows)
    k_s = gl.allocate_shared_memory(dtype, [STAGES, 1, BLOCK_N, D], of_keys)
    v_s = gl.allocate_shared_memory(dtype, [STAGES, 1, BLOCK_N, D], of_keys)
    y_s = gl.allocate_shared_memory(dtype, [CONSUMERS, 1, ROWS, D], of_rows)
    bars = make_barriers(STAGES, CONSUMERS)
    tiles = (q_s, k_s, v_s, y_s)
    # What the loader leaves of the registers is shared among the consumers, in steps of 8.
    share: gl.constexpr = (512 - LOADER_REGISTERS) // CONSUMERS // 8 * 8
    if CONSUMERS == 2:
        gl.warp_specialize(
            [
                (_attend, (y, tiles, bars, H, S, 0, D, causal, window, BLOCK_N, STAGES, CONSUMERS, HEADS, TURNS)),
                (_attend, (y, tiles, bars, H, S, 1, D, causal, window, BLOCK_N, STAGES, CONSUMERS, HEADS, TURNS)),
                (_load, (q, k, v, tiles, bars, H, S, G, causal, window, BLOCK_N, STAGES, CONSUMERS, HEADS)),
            ],
            [4, 4],
            [share, LOADER_REGISTERS],
        )
    else:
        gl.warp_specialize(
            [
                (_attend, (y, tiles, bars, H, S, 0, D, causal, window, BLOCK_N, STAGES, CONSUMERS, HEADS, TURNS)),
                (_attend, (y, tiles, bars, H, S, 1, D, causal, window, BLOCK_N, STAGES, CONSUMERS, HEADS, TURNS)),
                (_attend, (y, tiles, bars, H, S, 2, D, causal, window, BLOCK_N, STAGES, CONSUMERS, HEADS, TURNS)),
                (_load, (q, k, v, tiles, bars, H, S, G, causal, window, BLOCK_N, STAGES, CONSUMERS, HEADS)),
            ],
            [4, 4, 4],
            [share, share, LOADER_REGISTERS],
        )


# -- Triton --------------------------------------------------------------------------------------


@triton.jit
def _attend_triton(
    q, k, v, kv, state, rows, low, high, S,
    causal: tl.constexpr, window: tl.constexpr, BLOCK_N: tl.constexpr, MASKED: tl.constexpr,
):  # fmt: skip
    """Take in the keys and values from low up to high."""
    D: tl.constexpr = q.shape[1]
    scale: tl.constexpr = 1.4426950408889634 / D**0.5
    result, total, top = state
    for start in range(low, high, BLOCK_N):
        scores = tl.dot(q, k.load([kv, start, 0]).reshape(BLOCK_N, D).T)
        if MASKED:
            keys = start + tl.arange(0, BLOCK_N)[None, :]
            seen = keys < S
            if causal:
                seen = seen & (keys <= rows[:, None])
            if window:
                seen = seen & (keys > rows[:, None] - window)
            scores = tl.where(seen, scores, float("-inf"))
        higher = tl.maximum(top, tl.max(scores, axis=1) * scale)
        weights = tl.exp2(scores * scale - higher[:, None])
        shrink = tl.exp2(top - higher)
        total = total * shrink + tl.sum(weights, axis=1)
        values = v.load([kv, start, 0]).reshape(BLOCK_N, D)
        result = tl.dot(weights.to(values.dtype), values, result * shrink[:, None])
        top = higher
    return result, total, top


@triton.jit
def attention_triton(
    q_ptr, k_ptr, v_ptr, H, S, G, y_ptr,
    D: tl.constexpr, causal: tl.constexpr, window: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    q = tl.make_tensor_descriptor(q_ptr, [H, S, D], [S * D, D, 1], [1, BLOCK_M, D])
    k = tl.make_tensor_descriptor(k_ptr, [H // G, S, D], [S * D, D, 1], [1, BLOCK_N, D])
    v = tl.make_tensor_descriptor(v_ptr, [H // G, S, D], [S * D, D, 1], [1, BLOCK_N, D])
    y = tl.make_tensor_descriptor(y_ptr, [H, S, D], [S * D, D, 1], [1, BLOCK_M, D])
    blocks = tl.cdiv(S, BLOCK_M)
    for tile in range(tl.program_id(0), H * blocks, tl.num_programs(0)):
        head = tile % H
        block = blocks - 1 - tile // H if causal else tile // H
        first = block * BLOCK_M
        rows = first + tl.arange(0, BLOCK_M)
        # What some rows see and others do not: the keys at both ends.
        end = min(first + BLOCK_M, S) if causal else S
        whole = first // BLOCK_N * BLOCK_N if causal else S // BLOCK_N * BLOCK_N
        low = max(first - window + 1, 0) // BLOCK_N * BLOCK_N if window else 0
        inner = min(tl.cdiv(max(first + BLOCK_M - window, 0), BLOCK_N) * BLOCK_N, whole) if window else 0
        queries = q.load([head, first, 0]).reshape(BLOCK_M, D)
        # Rows that have seen no key yet start at the least number rather than at minus infinity.
        result = tl.zeros([BLOCK_M, D], tl.float32)
        total = tl.zeros([BLOCK_M], tl.float32)
        top = tl.full([BLOCK_M], -1e30, tl.float32)
        state = (result, total, top)
        kv = head // G
        if window:
            state = _attend_triton(queries, k, v, kv, state, rows, low, inner, S, causal, window, BLOCK_N, True)
        state = _attend_triton(queries, k, v, kv, state, rows, inner, whole, S, causal, window, BLOCK_N, False)
        state = _attend_triton(queries, k, v, kv, state, rows, whole, end, S, causal, window, BLOCK_N, True)
        y.store([head, first, 0], (state[0] / state[1][:, None]).to(y_ptr.dtype.element_ty).reshape(1, BLOCK_M, D))


# -- both ----------------------------------------------------------------------------------------


def reference(q, k, v, causal, window):
    length, depth = q.shape[-2:]
    heads = q.reshape(-1, *q.shape[-3:])
    keys, values = k.reshape(-1, length, depth), v.reshape(-1, length, depth)
    seen = np.tri(length, dtype=bool) if causal else np.ones((length, length), bool)
    if window:
        seen &= ~np.tri(length, k=-window, dtype=bool)
    y = np.empty_like(heads)
    for i, j in np.ndindex(heads.shape[:2]):  # head by head, for the scores of all would not fit the memory
        scores = np.where(seen, heads[i, j] @ keys[i].T / np.sqrt(depth), -np.inf)
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        y[i, j] = weights @ values[i] / weights.sum(axis=-1, keepdims=True)
    return y.reshape(q.shape)


def flops(B, G, S, D, causal, window):
    pairs = S * S // (2 if causal else 1)
    if window:
        pairs = min(pairs, S * window)
    return 4 * B * G * pairs * D


SHARED = {
    # B is batch x heads of k and v; G heads of q share one of them. So (batch, heads, S, D) is taken as it lies.
    "inputs": {"q": Tensor("T", "*B G S D"), "k": Tensor("T", "*B S D"), "v": Tensor("T", "*B S D")},
    # Four descriptors of 128 bytes for each of at most 8192 programs.
    "outputs": {"y": Tensor("T", "*B G S D"), "scratch": Tensor("i8", "4194304", scratch=True)},
    "dtypes": {"T": ("bf16", "fp16")},
    "attributes": {"causal": True, "window": 0},
    "reference": reference,
    # Weights are rounded to T before they meet v, by half an ulp; the largest of a row is exactly 1. The others make up
    # at most half of the sum where few of them share it, and their errors average out where many do: half of 4, which
    # bounds |v| for unit variance. Scores in fp32 are off by far less. Then one rounding to T.
    "tolerances": {"fp16": Tolerance(rtol=2**-10, atol=2**-10), "bf16": Tolerance(rtol=2**-7, atol=2**-7)},
    "flops": flops,
}
WINDOW = Constraint("window_is_causal", lambda causal, window: causal or not window, "only causal rows have a window")

kernel = alternatives(
    "example::attention_any",
    triton=Kernel(
        id="example::attention_triton",
        source=attention_triton,
        **SHARED,
        params=[
            powers_of_two("BLOCK_M", 64, 256),
            powers_of_two("BLOCK_N", 32, 128),
            choice("num_warps", 4, 8, 16),
            integers("num_stages", 1, 4),
        ],
        constraints=[
            WINDOW,
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
                    (2 * BLOCK_M + 2 * BLOCK_N * num_stages) * D * itemsize(T) <= 227 * 1024
                ),
                "queries and the stages of the pipeline would not fit the 227 KiB of shared memory a block may have",
            ),
        ],
        default={"BLOCK_M": 128, "BLOCK_N": 64, "num_warps": 8, "num_stages": 3},
        launch=lambda B, G, S, BLOCK_M: Launch(grid=(minimum(8192, B * G * cdiv(S, BLOCK_M)),), args=(B * G, S, G)),
        tiles={"S": "BLOCK_M"},
    ),
    gluon=Kernel(
        id="example::attention_gluon",
        source=attention_gluon,
        **SHARED,
        params=[
            powers_of_two("BLOCK_N", 64, 128),
            integers("STAGES", 2, 4),
            choice("CONSUMERS", 2, 3),
            choice("HEADS", 1, 4, 16, 64),
            choice("TURNS", 0, 1),
            choice("LOADER_REGISTERS", 24, 40),
            choice(
                "PROGRAMS", 132, 8192
            ),  # one for each of the 132 multiprocessors of an H100 or H200, or for each tile
        ],
        constraints=[
            WINDOW,
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
        launch=lambda B, G, S, CONSUMERS, PROGRAMS: Launch(
            grid=(minimum(PROGRAMS, B * G * cdiv(S, 64 * CONSUMERS)),), args=(B * G, S, G)
        ),
    ),
)
