"""Add a constant to every element, in CuTe DSL."""

import cutlass
from cutlass import cute

from tuner import Constraint, Kernel, Launch, Tensor, cdiv, itemsize, powers_of_two
from tuner.frontends import CuteDsl


@cute.kernel
def increment(
    x: cute.Pointer,
    n: cutlass.Int32,
    y: cute.Pointer,
    amount: cutlass.Constexpr,
    THREADS: cutlass.Constexpr,
    VECTOR: cutlass.Constexpr,
):
    thread, _, _ = cute.arch.thread_idx()
    block, _, _ = cute.arch.block_idx()
    place = block * THREADS + thread
    x = cute.make_tensor(x, n)
    y = cute.make_tensor(y, n)
    if (place + 1) * VECTOR <= n:
        mine = cute.local_tile(x, (VECTOR,), (place,))
        sums = cute.make_rmem_tensor((VECTOR,), x.element_type)
        cute.autovec_copy(mine, sums)
        sums.store(sums.load() + x.element_type(amount))
        cute.autovec_copy(sums, cute.local_tile(y, (VECTOR,), (place,)))
    else:
        for i in cutlass.range(place * VECTOR, n):
            y[i] = x[i] + x.element_type(amount)


@cute.jit
def launch(
    x: cute.Pointer,
    n: cutlass.Int32,
    y: cute.Pointer,
    amount: cutlass.Constexpr,
    THREADS: cutlass.Constexpr,
    VECTOR: cutlass.Constexpr,
):
    increment(x, n, y, amount, THREADS, VECTOR).launch(grid=(1, 1, 1), block=(THREADS, 1, 1))


kernel = Kernel(
    id="example::increment_cute",
    source=CuteDsl(launch),
    inputs={"x": Tensor("T", "*N")},
    outputs={"y": Tensor("T", "*N")},
    dtypes={"T": ("fp32", "fp16", "bf16")},
    attributes={"amount": 1},
    params=[powers_of_two("THREADS", 32, 1024), powers_of_two("VECTOR", 1, 8)],
    constraints=[
        Constraint(
            "vector_is_one_load",
            lambda VECTOR, T: VECTOR * itemsize(T) <= 16,
            "a thread loads at most 16 bytes at once",
        ),
    ],
    default={"THREADS": 256, "VECTOR": 1},
    launch=lambda N, THREADS, VECTOR: Launch(grid=(cdiv(N, THREADS * VECTOR),), args=(N,)),
    reference=lambda x, amount: x + amount,
    tiles={"N": "THREADS"},
)
