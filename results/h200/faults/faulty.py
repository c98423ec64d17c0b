"""Increment with planted faults, one per value of FAULT; 0 is right."""

import triton
import triton.language as tl

from tuner import Kernel, Launch, Tensor, cdiv, choice, powers_of_two


@triton.jit
def faulty(x_ptr, n, y_ptr, FAULT: tl.constexpr, BLOCK_SIZE: tl.constexpr):
    offsets = tl.program_id(0) * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)
    mask = offsets < n
    x = tl.load(x_ptr + offsets, mask=mask)
    if FAULT == 1:  # writes beyond the end
        tl.store(y_ptr + offsets, x + 1)
    elif FAULT == 2:  # never ends
        while tl.load(x_ptr, volatile=True) > float("-inf"):
            pass
        tl.store(y_ptr + offsets, x + 1, mask=mask)
    elif FAULT == 3:  # an illegal address
        tl.store(y_ptr + offsets + (1 << 40), x + 1, mask=mask)
    elif FAULT == 4:  # a misaligned address
        tl.store((y_ptr.to(tl.uint64) + 2).to(tl.pointer_type(tl.float32)) + offsets, x + 1, mask=mask)
    elif FAULT == 5:  # wrong at odd sizes only
        tl.store(y_ptr + offsets, x + 1, mask=offsets < n - n % 2)
    elif FAULT == 6:  # more shared memory than a block may have
        big = tl.arange(0, 256)[:, None] * 512 + tl.arange(0, 512)[None, :]
        tile = tl.trans(tl.load(x_ptr + big, mask=big < n))
        tl.store(y_ptr + tl.arange(0, 512)[:, None] * 256 + tl.arange(0, 256)[None, :], tile)
    else:
        tl.store(y_ptr + offsets, x + 1, mask=mask)


kernel = Kernel(
    id="study::faulty",
    source=faulty,
    inputs={"x": Tensor("T", "*N")},
    outputs={"y": Tensor("T", "*N")},
    dtypes={"T": ("fp32",)},
    params=[choice("FAULT", 0, 1, 2, 3, 4, 5, 6), powers_of_two("BLOCK_SIZE", 512, 4096), choice("num_warps", 4)],
    default={"FAULT": 0, "BLOCK_SIZE": 512, "num_warps": 4},
    launch=lambda N, BLOCK_SIZE: Launch(grid=(cdiv(N, BLOCK_SIZE),), args=(N,)),
    reference=lambda x: x + 1,
    tiles={"N": "BLOCK_SIZE"},
)
