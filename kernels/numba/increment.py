"""Add a constant to every element, in Numba."""

from numba import cuda

from tuner import Kernel, Launch, Tensor, cdiv, powers_of_two
from tuner.frontends import Numba


def increment(amount, VECTOR):
    def kernel(x, n, y):
        first = cuda.grid(1) * VECTOR
        for i in range(VECTOR):
            if first + i < n:
                y[first + i] = x[first + i] + amount

    return kernel


kernel = Kernel(
    id="example::increment_numba",
    source=Numba(increment),
    inputs={"x": Tensor("T", "*N")},
    outputs={"y": Tensor("T", "*N")},
    dtypes={"T": ("fp32", "i32")},
    attributes={"amount": 1},
    params=[powers_of_two("THREADS", 32, 1024), powers_of_two("VECTOR", 1, 8)],
    default={"THREADS": 256, "VECTOR": 1},
    launch=lambda N, THREADS, VECTOR: Launch(grid=(cdiv(N, THREADS * VECTOR),), args=(N,), block=(THREADS,)),
    reference=lambda x, amount: x + amount,
    tiles={"N": "THREADS"},
)
