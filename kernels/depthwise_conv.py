"""Depthwise convolution of images with the channels last: stride 1, output of the same size, zeros around."""

import numpy as np
import triton
import triton.language as tl

from tuner import Constraint, Kernel, Launch, Tensor, Tolerance, cdiv, powers_of_two


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
    PIXELS: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    x_ptr += tl.program_id(1).to(tl.int64) * H * W * C
    y_ptr += tl.program_id(1).to(tl.int64) * H * W * C
    pixels = tl.program_id(0) * PIXELS + tl.arange(0, PIXELS)
    rows, columns = pixels // W, pixels % W
    channels = tl.program_id(2) * BLOCK_C + tl.arange(0, BLOCK_C)
    within = (channels < C)[None, :]
    offsets = pixels[:, None] * C + channels[None, :]
    total = tl.zeros([PIXELS, BLOCK_C], tl.float32)
    for r in tl.static_range(R):
        for s in tl.static_range(S):
            down, right = r - R // 2, s - S // 2
            row, column = rows + down, columns + right
            inside = (row >= 0) & (row < H) & (column >= 0) & (column < W)
            x = tl.load(x_ptr + offsets + (down * W + right) * C, mask=inside[:, None] & within, other=0.0)
            weight = tl.load(weight_ptr + (r * S + s) * C + channels[None, :], mask=within, other=0.0)
            total += x.to(tl.float32) * weight.to(tl.float32)
    mask = (pixels < H * W)[:, None] & within
    tl.store(y_ptr + offsets, total.to(y_ptr.dtype.element_ty), mask=mask)


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
    params=[powers_of_two("PIXELS", 4, 64), powers_of_two("BLOCK_C", 32, 512), powers_of_two("num_warps", 1, 8)],
    constraints=[
        Constraint(
            "thread_has_work",
            lambda PIXELS, BLOCK_C, num_warps: PIXELS * BLOCK_C >= 32 * num_warps * 4,
            "threads would hold fewer than 4 elements, too few for wide loads",
        ),
        Constraint(
            "registers_per_thread",
            lambda PIXELS, BLOCK_C, num_warps: PIXELS * BLOCK_C <= 32 * num_warps * 16,
            "a thread would keep more than 16 sums in registers, with the loads of all taps in flight for them",
        ),
        Constraint(
            "block_within_channels",
            lambda BLOCK_C, C: BLOCK_C < 2 * C or BLOCK_C <= 64,
            "more than half of a large block would lie beyond the channels",
        ),
    ],
    default={"PIXELS": 16, "BLOCK_C": 64, "num_warps": 4},
    launch=lambda B, H, W, C, PIXELS, BLOCK_C: Launch(grid=(cdiv(H * W, PIXELS), B, cdiv(C, BLOCK_C)), args=(H, W, C)),
    reference=reference,
    # R S products in fp32, each addition off by 2^-24 of a partial sum, which stays below 64 for up to 256 products of
    # unit variance: at most 49 times 2^-18 for a 7 x 7 kernel, 2^-14 where signs differ. Then one rounding to T.
    tolerances={
        "fp32": Tolerance(rtol=2**-23, atol=2**-14),
        "fp16": Tolerance(rtol=2**-10, atol=2**-14),
        "bf16": Tolerance(rtol=2**-7, atol=2**-14),
    },
    flops=lambda B, H, W, C, R, S: 2 * B * H * W * C * R * S,
    tiles={"W": "PIXELS", "C": "BLOCK_C"},
)
