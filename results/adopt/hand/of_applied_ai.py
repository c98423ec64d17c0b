"""The softmax of applied-ai, from its file as it is."""

import numpy as np
from softmax import _softmax_kernel_fwd

from tuner import Kernel, Launch, Tensor, choice, next_power_of_2


def normalised(input):  # noqa: A002
    powers = np.exp(input - input.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


softmax = Kernel(
    id="public::applied_softmax",
    source=_softmax_kernel_fwd,
    inputs={"input": Tensor("T", "M N")},
    outputs={"output": Tensor("T", "M N")},
    dtypes={"T": ("fp32",)},
    params=[choice("num_warps", 2, 4, 8)],
    default={"num_warps": 4},
    constants=lambda N: {"block_size": next_power_of_2(N)},
    launch=lambda M, N: Launch(grid=(M,), args={"output_row_stride": N, "input_row_stride": N, "n_cols": N}),
    reference=normalised,
)
