"""Softmax in Triton or in CUDA C++: the search chooses."""

from pathlib import Path

from tuner import alternatives, load_kernel

KERNELS = Path(__file__).parents[1]

kernel = alternatives(
    "example::softmax_any",
    triton=load_kernel("softmax.py", KERNELS),
    cuda=load_kernel("cuda/softmax.py", KERNELS),
)
