"""Increment with planted faults, one per value of FAULT; 0 is right. `right` leaves the others out."""

import dataclasses

import triton
import triton.language as tl

from tuner import Constraint, Kernel, Launch, Tensor, cdiv, choice, powers_of_two


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
    elif FAULT == 6:  # more shared memory than a block may have: eight stages of two tiles
        i, j, k = tl.arange(0, 128)[:, None], tl.arange(0, 128)[None, :], tl.arange(0, 64)
        total = tl.zeros((128, 128), tl.float32)
        for step in tl.range(0, n // 65536, num_stages=8):
            a = tl.load(x_ptr + step * 65536 + i * 64 + k[None, :])
            b = tl.load(x_ptr + step * 65536 + k[:, None] * 128 + j)
            total = tl.dot(a, b, total)
        tl.store(y_ptr + i * 128 + j, total, mask=i * 128 + j < n)
    elif FAULT == 7:  # stops itself
        tl.inline_asm_elementwise("{ trap; mov.b32 $0, 0; }", "=r,r", [offsets], tl.int32, is_pure=False, pack=1)
    else:
        tl.store(y_ptr + offsets, x + 1, mask=mask)


kernel = Kernel(
    id="study::faulty",
    source=faulty,
    inputs={"x": Tensor("T", "*N")},
    outputs={"y": Tensor("T", "*N")},
    dtypes={"T": ("fp32",)},
    params=[choice("FAULT", 0, 1, 2, 3, 4, 5, 6, 7), powers_of_two("BLOCK_SIZE", 512, 4096), choice("num_warps", 4)],
    default={"FAULT": 0, "BLOCK_SIZE": 512, "num_warps": 4},
    launch=lambda N, BLOCK_SIZE: Launch(grid=(cdiv(N, BLOCK_SIZE),), args=(N,)),
    reference=lambda x: x + 1,
    tiles={"N": "BLOCK_SIZE"},
)

right = dataclasses.replace(
    kernel, constraints=[Constraint("right", lambda FAULT: FAULT == 0, "only right tactics are tried", ("FAULT",))]
)
