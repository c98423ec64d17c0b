"""Add a constant to every element, in PTX with placeholders."""

from pathlib import Path

from tuner import Kernel, Launch, Tensor, cdiv, powers_of_two
from tuner.frontends import Ptx

kernel = Kernel(
    id="example::increment_ptx",
    source=Ptx(Path(__file__).with_name("increment.ptx")),
    inputs={"x": Tensor("fp32", "*N")},
    outputs={"y": Tensor("fp32", "*N")},
    attributes={"amount": 1.0},
    params=[powers_of_two("THREADS", 32, 1024), powers_of_two("ITEMS", 1, 8)],
    default={"THREADS": 256, "ITEMS": 1},
    launch=lambda N, THREADS, ITEMS: Launch(grid=(cdiv(N, THREADS * ITEMS),), args=(N,)),
    reference=lambda x, amount: x + amount,
    tiles={"N": "THREADS"},
)
