"""The gate of mamba's SwiGLU, from its file as it is."""

import numpy as np
from mamba_ssm.ops.triton.k_activations import _swiglu_fwd_kernel

from tuner import Kernel, Launch, Tensor, cdiv

swiglu = Kernel.from_autotune(
    _swiglu_fwd_kernel,
    id="public::mamba_swiglu_gate",
    inputs={"X": Tensor("T", "M N"), "Y": Tensor("T", "M N")},
    outputs={"OUT": Tensor("T", "M N")},
    dtypes={"T": ("fp16",)},
    launch=lambda M, N, BLOCK_N: Launch(
        grid=(M, cdiv(N, BLOCK_N)),
        args={"stride_x_row": N, "stride_y_row": N, "stride_out_row": N, "ncols": N},
    ),
    reference=lambda X, Y: X / (1 + np.exp(-X)) * Y,
)
