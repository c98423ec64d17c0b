"""The gated linear unit of attorch, from its file as it is."""

import numpy as np
from attorch.glu_kernels import glu_forward_kernel

from tuner import Kernel, Launch, Tensor, cdiv

glu = Kernel.from_autotune(
    glu_forward_kernel,
    id="public::attorch_glu_gate",
    inputs={"input1": Tensor("T", "N"), "input2": Tensor("T", "N")},
    outputs={"output": Tensor("T", "N")},
    dtypes={"T": ("fp16",)},
    absent=("param",),
    constants=lambda: {"act_func": "sigmoid"},
    launch=lambda N, BLOCK_SIZE: Launch(grid=(cdiv(N, BLOCK_SIZE),), args={"size": N}),
    reference=lambda input1, input2: input1 / (1 + np.exp(-input2)),
)
