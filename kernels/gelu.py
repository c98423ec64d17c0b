"""GELU, element by element: exact with the error function, or the tanh approximation."""

import math

import numpy as np
import triton
import triton.language as tl

from tuner import Constraint, Kernel, Launch, Tensor, Tolerance, cdiv, choice, powers_of_two


@triton.jit
def gelu(
    x_ptr,
    n,
    y_ptr,
    approximate: tl.constexpr,
    BLOCK_SIZE: tl.constexpr,
    BLOCKS: tl.constexpr,
    LOADS: tl.constexpr,
    STORES: tl.constexpr,
):
    first = tl.program_id(0) * BLOCK_SIZE * BLOCKS
    # Nobody reads an element twice: it may leave the L2 before what others will want again.
    loaded: tl.constexpr = "" if LOADS == "normal" else LOADS
    stored: tl.constexpr = "" if STORES == "normal" else STORES
    for i in tl.static_range(BLOCKS):
        offsets = first + i * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)
        mask = offsets < n
        x = tl.load(x_ptr + offsets, mask=mask, eviction_policy=loaded).to(tl.float32)
        if approximate:
            # (1 + tanh(z)) / 2 is sigmoid(2 z), with z = sqrt(2 / pi) (x + 0.044715 x^3).
            y = x * tl.sigmoid(1.5957691216057308 * (x + 0.044715 * x * x * x))
        elif y_ptr.dtype.element_ty != tl.float32:
            # x / 2 (1 + erf(x / sqrt(2))) is x sigmoid(x p(x^2)). The polynomial was fitted for |x| < 5.6, where its
            # error is below half an ulp of fp16; beyond, results are x or smaller than 2^-20.
            u = tl.minimum(x * x, 31.0)
            p = 1.59494228 + u * (0.0738799069 + u * (-5.67920997e-4 + u * (-2.33616222e-5 + u * 8.18723527e-7)))
            y = x * tl.sigmoid(x * p)
        else:
            # x / 2 (1 + erf(x / sqrt(2))) is max(x, 0) - |x| tail, with tail = erfc(|x| / sqrt(2)) / 2. Its polynomial
            # is 7.1.26 of Abramowitz and Stegun; the device library's erf takes longer.
            z = tl.abs(x)
            t = 1 / (1 + 0.23164189 * z)
            polynomial = t * (
                0.127414796 + t * (-0.142248368 + t * (0.7107068705 + t * (-0.7265760135 + t * 0.5307027145)))
            )
            tail = polynomial * tl.exp2(-0.7213475204444817 * x * x)
            y = tl.maximum(x, 0) - z * tail
        tl.store(y_ptr + offsets, y.to(y_ptr.dtype.element_ty), mask=mask, eviction_policy=stored)


_erf = np.vectorize(math.erf, otypes=[np.float64])


def reference(x, approximate):
    if approximate:
        return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
    return 0.5 * x * (1 + _erf(x / np.sqrt(2)))


kernel = Kernel(
    id="example::gelu",
    source=gelu,
    inputs={"x": Tensor("T", "*N")},
    outputs={"y": Tensor("T", "*N")},
    dtypes={"T": ("fp16", "bf16", "fp32")},
    attributes={"approximate": False},
    params=[
        powers_of_two("BLOCK_SIZE", 128, 16384),
        choice("BLOCKS", 1, 2, 4),
        choice("LOADS", "normal", "evict_first"),
        choice("STORES", "normal", "evict_first"),
        powers_of_two("num_warps", 1, 16),
    ],
    constraints=[
        Constraint(
            "thread_has_work",
            lambda BLOCK_SIZE, num_warps: BLOCK_SIZE >= 32 * num_warps,
            "some threads of the block would have no element",
        ),
        Constraint(
            "registers_per_thread",
            lambda BLOCK_SIZE, num_warps: BLOCK_SIZE <= 32 * num_warps * 64,
            "a thread would keep more than 64 elements in registers",
        ),
    ],
    default={"BLOCK_SIZE": 1024, "BLOCKS": 1, "LOADS": "normal", "STORES": "normal", "num_warps": 4},
    launch=lambda N, BLOCK_SIZE, BLOCKS: Launch(grid=(cdiv(N, BLOCK_SIZE * BLOCKS),), args=(N,)),
    reference=reference,
    # fp32 inside: the argument of the sigmoid's exp is at most 32 or so and off by some 2^-23 of itself, the products
    # and the division by a few ulp: 2^-17 relative. The exact form's polynomial for erfc is off by 1.5e-7, which x / 2
    # makes at most 2^-20 absolute; its form for 16 bits by 2^-11.8 relative. Then one rounding to T.
    tolerances={
        "fp32": Tolerance(rtol=2**-17, atol=2**-20),
        "fp16": Tolerance(rtol=2**-10, atol=2**-20),
        "bf16": Tolerance(rtol=2**-7, atol=2**-20),
    },
    flops=lambda N: 9 * N,
    tiles={"N": "BLOCK_SIZE"},
)
