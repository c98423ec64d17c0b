"""SwiGLU: silu(gate) * up, element by element."""

import numpy as np
import triton
import triton.language as tl

from tuner import Constraint, Kernel, Launch, Tensor, Tolerance, cdiv, choice, powers_of_two


@triton.jit
def swiglu(gate_ptr, up_ptr, n, y_ptr, BLOCK_SIZE: tl.constexpr, BLOCKS: tl.constexpr):
    first = tl.program_id(0) * BLOCK_SIZE * BLOCKS
    for i in tl.static_range(BLOCKS):
        offsets = first + i * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)
        mask = offsets < n
        gate = tl.load(gate_ptr + offsets, mask=mask).to(tl.float32)
        up = tl.load(up_ptr + offsets, mask=mask).to(tl.float32)
        y = gate * tl.sigmoid(gate) * up
        tl.store(y_ptr + offsets, y.to(y_ptr.dtype.element_ty), mask=mask)


kernel = Kernel(
    id="example::swiglu",
    source=swiglu,
    inputs={"gate": Tensor("T", "*N"), "up": Tensor("T", "*N")},
    outputs={"y": Tensor("T", "*N")},
    dtypes={"T": ("fp16", "bf16", "fp32")},
    params=[powers_of_two("BLOCK_SIZE", 128, 16384), choice("BLOCKS", 1, 2, 4), powers_of_two("num_warps", 1, 16)],
    constraints=[
        Constraint(
            "thread_has_work",
            lambda BLOCK_SIZE, num_warps: BLOCK_SIZE >= 32 * num_warps,
            "some threads of the block would have no element",
        ),
        Constraint(
            "registers_per_thread",
            lambda BLOCK_SIZE, num_warps: BLOCK_SIZE <= 32 * num_warps * 64,
            "a thread would keep more than 64 elements of each tensor in registers",
        ),
    ],
    default={"BLOCK_SIZE": 1024, "BLOCKS": 1, "num_warps": 4},
    launch=lambda N, BLOCK_SIZE, BLOCKS: Launch(grid=(cdiv(N, BLOCK_SIZE * BLOCKS),), args=(N,)),
    reference=lambda gate, up: gate / (1 + np.exp(-gate)) * up,
    # fp32 inside: exp is off by 2^-24 of its argument (at most 16 or so) and 2 ulp, the division by 2 ulp, the products
    # by half: 2^-18 relative. Then one rounding to T.
    tolerances={
        "fp32": Tolerance(rtol=2**-18, atol=2**-24),
        "fp16": Tolerance(rtol=2**-10, atol=2**-24),
        "bf16": Tolerance(rtol=2**-7, atol=2**-24),
    },
    flops=lambda N: 5 * N,
    tiles={"N": "BLOCK_SIZE"},
)
