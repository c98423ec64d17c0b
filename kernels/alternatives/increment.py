"""Add a constant to every element, in Triton or in CUDA C++: the search chooses."""

from pathlib import Path

from tuner import Kernel
from tuner.loader import load_kernel

KERNELS = Path(__file__).parents[1]

kernel = Kernel.alternatives(
    "example::increment_any",
    triton=load_kernel("increment.py", KERNELS),
    cuda=load_kernel("cuda/increment.py", KERNELS),
)
