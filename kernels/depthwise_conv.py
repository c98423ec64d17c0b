"""Depthwise convolution of images with the channels last: stride 1, output of the same size, zeros around."""

import numpy as np
import triton
import triton.language as tl

from tuner import Constraint, Kernel, Launch, Tensor, Tolerance, cdiv, choice, powers_of_two


@triton.jit
def _row(x_ptr, row, columns, offsets, within, H, W, C, S: tl.constexpr, COLUMNS: tl.constexpr):
    """The pixels of a row that COLUMNS outputs side by side are computed from; zeros where there are none."""
    inside = within & (row >= 0) & (row < H)
    pixels = ()
    for i in tl.static_range(COLUMNS + S - 1):
        column = columns + i - S // 2
        mask = inside & (column >= 0) & (column < W)
        pixels = pixels + (tl.load(x_ptr + (row * W + i - S // 2) * C + offsets, mask=mask, other=0.0),)
    return pixels


@triton.jit
def depthwise_conv(
    x_ptr,
    weight_ptr,
    H,
    W,
    C,
    y_ptr,
    R: tl.constexpr,
    S: tl.constexpr,
    ROWS: tl.constexpr,
    GROUPS: tl.constexpr,
    COLUMNS: tl.constexpr,
    BLOCK_C: tl.constexpr,
    HOLD: tl.constexpr,
):
    # A program walks down ROWS rows in GROUPS strips of COLUMNS columns; channels are neighbours in memory.
    x_ptr += tl.program_id(2).to(tl.int64) * H * W * C
    y_ptr += tl.program_id(2).to(tl.int64) * H * W * C
    strips = tl.cdiv(W, GROUPS * COLUMNS)
    first = tl.program_id(1) // strips * ROWS
    columns = (tl.program_id(1) % strips * GROUPS + tl.arange(0, GROUPS)[:, None]) * COLUMNS
    channels = tl.broadcast_to(tl.program_id(0) * BLOCK_C + tl.arange(0, BLOCK_C)[None, :], (GROUPS, BLOCK_C))
    within = channels < C
    offsets = columns * C + channels
    weights = ()
    if HOLD:  # in registers; else they come from the L1 for every row
        for i in tl.static_range(R * S):
            weights = weights + (tl.load(weight_ptr + i * C + channels, mask=within, other=0.0).to(tl.float32),)
    # A pixel is loaded once for all outputs of its strip: the sums of R rows are under way, and the oldest is complete
    # when its last tap is added. The next row is loaded ahead.
    zero = tl.zeros([GROUPS, BLOCK_C], tl.float32)
    totals = (zero,) * (R * COLUMNS)
    start = first - R // 2
    following = _row(x_ptr, start, columns, offsets, within, H, W, C, S, COLUMNS)
    for row in range(start, first + ROWS + (R - 1) // 2):
        pixels = following
        following = _row(x_ptr, row + 1, columns, offsets, within, H, W, C, S, COLUMNS)
        added = ()
        for r in tl.static_range(R):
            for i in tl.static_range(COLUMNS):
                total = totals[r * COLUMNS + i]
                for s in tl.static_range(S):
                    if HOLD:
                        weight = weights[(R - 1 - r) * S + s]
                    else:
                        taps = weight_ptr + ((R - 1 - r) * S + s) * C + channels
                        weight = tl.load(taps, mask=within, other=0.0).to(tl.float32)
                    total += pixels[i + s].to(tl.float32) * weight
                added = added + (total,)
        done = row - (R - 1) // 2
        if done >= first:
            for i in tl.static_range(COLUMNS):
                mask = within & (columns + i < W) & (done < H)
                tl.store(y_ptr + (done * W + i) * C + offsets, added[i].to(y_ptr.dtype.element_ty), mask=mask)
        totals = added[COLUMNS:] + (zero,) * COLUMNS


def reference(x, weight):
    rows, columns = weight.shape[0], weight.shape[1]
    height, width = x.shape[1], x.shape[2]
    around = [(0, 0), (rows // 2, (rows - 1) // 2), (columns // 2, (columns - 1) // 2), (0, 0)]
    padded = np.pad(x, around)
    y = np.zeros_like(x)
    for r, s in np.ndindex(rows, columns):
        y += padded[:, r : r + height, s : s + width] * weight[r, s]
    return y


kernel = Kernel(
    id="example::depthwise_conv",
    source=depthwise_conv,
    inputs={"x": Tensor("T", "B H W C"), "weight": Tensor("T", "R S C")},
    outputs={"y": Tensor("T", "B H W C")},
    dtypes={"T": ("fp16", "bf16", "fp32")},
    params=[
        choice("ROWS", 7, 14, 28, 56),  # images of such encoders are 7 x 7 to 224 x 224
        powers_of_two("GROUPS", 1, 16),
        choice("COLUMNS", 1, 2, 4),
        powers_of_two("BLOCK_C", 64, 256),
        choice("HOLD", False, True),
        powers_of_two("num_warps", 1, 4),
    ],
    constraints=[
        Constraint(
            "channels_per_thread",
            lambda GROUPS, BLOCK_C, num_warps: 4 <= GROUPS * BLOCK_C // (32 * num_warps) <= 8,
            "a thread would have fewer channels than wide loads bring, or more sums than registers",
        ),
        Constraint(
            "registers_per_thread",
            lambda GROUPS, COLUMNS, BLOCK_C, HOLD, num_warps, R, S: (
                GROUPS * BLOCK_C // (32 * num_warps) * (R * COLUMNS + 2 * (COLUMNS + S) + (R * S if HOLD else 0)) <= 240
            ),
            "a thread's sums, pixels and weights would not fit its registers",
        ),
    ],
    default={"ROWS": 14, "GROUPS": 2, "COLUMNS": 2, "BLOCK_C": 64, "HOLD": False, "num_warps": 1},
    launch=lambda B, H, W, C, ROWS, GROUPS, COLUMNS, BLOCK_C: Launch(
        grid=(cdiv(C, BLOCK_C), cdiv(H, ROWS) * cdiv(W, GROUPS * COLUMNS), B), args=(H, W, C)
    ),
    reference=reference,
    # R S products in fp32, each addition off by 2^-24 of a partial sum, which stays below 64 for up to 256 products of
    # unit variance: at most 49 times 2^-18 for a 7 x 7 kernel, 2^-14 where signs differ. Then one rounding to T.
    tolerances={
        "fp32": Tolerance(rtol=2**-23, atol=2**-14),
        "fp16": Tolerance(rtol=2**-10, atol=2**-14),
        "bf16": Tolerance(rtol=2**-7, atol=2**-14),
    },
    flops=lambda B, H, W, C, R, S: 2 * B * H * W * C * R * S,
    # C has no tile here: programs along it do the same, and walking over more of them takes an interpreter minutes.
    tiles={"H": "ROWS", "W": "COLUMNS"},
)
