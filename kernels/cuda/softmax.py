"""Softmax over the last dimension, in CUDA C++: a block keeps a row in registers.

The default is good for rows of up to 4096, others for up to 65536.
"""

from pathlib import Path

import numpy as np

from tuner import Constraint, Kernel, Launch, Tensor, Tolerance, itemsize, powers_of_two
from tuner.frontends import CudaCpp


def reference(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


kernel = Kernel(
    id="example::softmax_cuda",
    source=CudaCpp(Path(__file__).with_name("softmax.cu"), entry="softmax"),
    inputs={"x": Tensor("T", "*M N")},
    outputs={"y": Tensor("T", "*M N")},
    dtypes={"T": ("fp16", "bf16", "fp32")},
    params=[
        powers_of_two("THREADS", 32, 1024),
        powers_of_two("VECTOR", 1, 8),
        powers_of_two("CACHED", 1, 32),
    ],
    constraints=[
        Constraint(
            "vector_is_one_load",
            lambda VECTOR, T: VECTOR * itemsize(T) <= 16,
            "a thread loads at most 16 bytes at once",
        ),
        Constraint(
            "rows_are_whole_vectors",
            lambda VECTOR, N: N % VECTOR == 0,
            "rows would begin at addresses that a wide load cannot take",
        ),
        Constraint(
            "row_fits_in_the_block",
            lambda THREADS, VECTOR, CACHED, N: N <= THREADS * VECTOR * CACHED,
            "the block would not hold the row",
        ),
        Constraint(
            "threads_have_work",
            lambda THREADS, VECTOR, CACHED, N: THREADS * VECTOR * CACHED < 2 * N or THREADS * VECTOR * CACHED <= 4096,
            "more than half of a large block would lie beyond the row",
        ),
        Constraint(
            "registers_per_thread",
            lambda VECTOR, CACHED: VECTOR * CACHED <= 64,
            "a thread would keep more than 64 elements in registers",
        ),
    ],
    default={"THREADS": 256, "VECTOR": 1, "CACHED": 16},
    launch=lambda M, THREADS, N: Launch(grid=(M,), args=(N,), block=(THREADS,)),
    reference=reference,
    # As for the Triton kernel, with an exponential of 2 ulp and one more for its argument: exp2(x * log2(e)) of x up
    # to 16 is off by 16 * 2^-24 relative.
    tolerances={
        "fp32": Tolerance(rtol=2**-18, atol=2**-126),
        "fp16": Tolerance(rtol=2**-10, atol=2**-24),
        "bf16": Tolerance(rtol=2**-7, atol=2**-126),
    },
    flops=lambda M, N: 5 * M * N,
)
