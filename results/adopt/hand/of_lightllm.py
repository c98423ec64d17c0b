"""SiLU times its gate, of lightllm, from its file as it is."""

import numpy as np
from silu_and_mul import _silu_and_mul_kernel

from tuner import Kernel, Launch, Tensor, cdiv, choice


def gated(input):  # noqa: A002
    half = input.shape[1] // 2
    return input[:, :half] / (1 + np.exp(-input[:, :half])) * input[:, half:]


silu = Kernel(
    id="public::lightllm_silu",
    source=_silu_and_mul_kernel,
    inputs={"input": Tensor("T", "M 2*N")},
    outputs={"output": Tensor("T", "M N")},
    dtypes={"T": ("fp16",)},
    params=[choice("BLOCK_M", 32, 64), choice("BLOCK_N", 64, 128), choice("num_warps", 4, 8)],
    default={"BLOCK_M": 64, "BLOCK_N": 128, "num_warps": 4},
    launch=lambda M, N, BLOCK_M, BLOCK_N: Launch(
        grid=(cdiv(M, BLOCK_M), cdiv(N, BLOCK_N)),
        args={
            "stride_input_m": 2 * N,
            "stride_input_n": 1,
            "stride_output_m": N,
            "stride_output_n": 1,
            "size_m": M,
            "size_n": N,
        },
    ),
    reference=gated,
)
