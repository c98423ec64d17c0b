"""Add a constant to every element: the plugin of TensorRT's custom-operations guide, tuned."""

import triton
import triton.language as tl

from tuner import Constraint, Kernel, Launch, Tensor, cdiv, powers_of_two


@triton.jit
def increment(x_ptr, n, y_ptr, amount: tl.constexpr, BLOCK_SIZE: tl.constexpr):
    offsets = tl.program_id(0) * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)
    mask = offsets < n
    x = tl.load(x_ptr + offsets, mask=mask)
    tl.store(y_ptr + offsets, x + amount, mask=mask)


kernel = Kernel(
    id="example::increment",
    source=increment,
    inputs={"x": Tensor("T", "*N")},
    outputs={"y": Tensor("T", "*N")},
    dtypes={"T": ("fp32", "fp16", "bf16")},
    attributes={"amount": 1},
    params=[powers_of_two("BLOCK_SIZE", 64, 16384), powers_of_two("num_warps", 1, 32)],
    constraints=[
        Constraint(
            "thread_has_work",
            lambda BLOCK_SIZE, num_warps: BLOCK_SIZE >= 32 * num_warps,
            "some threads of the block would have no element",
        ),
    ],
    default={"BLOCK_SIZE": 256, "num_warps": 4},
    launch=lambda N, BLOCK_SIZE: Launch(grid=(cdiv(N, BLOCK_SIZE),), args=(N,)),
    reference=lambda x, amount: x + amount,
    tiles={"N": "BLOCK_SIZE"},
)
