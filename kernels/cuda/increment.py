"""Add a constant to every element, in CUDA C++."""

from pathlib import Path

from tuner import Constraint, Kernel, Launch, Tensor, cdiv, itemsize, powers_of_two
from tuner.frontends import CudaCpp

kernel = Kernel(
    id="example::increment_cuda",
    source=CudaCpp(Path(__file__).with_name("increment.cu"), entry="increment"),
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
    launch=lambda N, THREADS, VECTOR: Launch(grid=(cdiv(N, THREADS * VECTOR),), args=(N,), block=(THREADS,)),
    reference=lambda x, amount: x + amount,
    tiles={"N": "THREADS"},
)
