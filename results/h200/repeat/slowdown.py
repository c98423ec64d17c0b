"""Increment with a planted slowdown: EXTRA thousandths more blocks do the first ones' work again."""

import triton
import triton.language as tl

from tuner import Kernel, Launch, Tensor, cdiv, choice


@triton.jit
def slowed(x_ptr, n, blocks, y_ptr, EXTRA: tl.constexpr, BLOCK_SIZE: tl.constexpr):
    offsets = (tl.program_id(0) % blocks) * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)
    mask = offsets < n
    tl.store(y_ptr + offsets, tl.load(x_ptr + offsets, mask=mask) + 1, mask=mask)


kernel = Kernel(
    id="study::slowed",
    source=slowed,
    inputs={"x": Tensor("T", "*N")},
    outputs={"y": Tensor("T", "*N")},
    dtypes={"T": ("fp32",)},
    params=[choice("EXTRA", 0, 30, 40), choice("BLOCK_SIZE", 2048), choice("num_warps", 8)],
    default={"EXTRA": 0, "BLOCK_SIZE": 2048, "num_warps": 8},
    launch=lambda N, BLOCK_SIZE, EXTRA: Launch(
        grid=(cdiv(N, BLOCK_SIZE) + cdiv(N, BLOCK_SIZE) * EXTRA // 1000,), args=(N, cdiv(N, BLOCK_SIZE))
    ),
    reference=lambda x: x + 1,
    tiles={"N": "BLOCK_SIZE"},
)
