"""The rotary embedding of flash-attention, from its file as it is."""

import numpy as np
from rotary import rotary_kernel

from tuner import Kernel, Launch, Tensor, cdiv, choice


def turned(X, COS, SIN):
    half = X.shape[-1] // 2
    left, right = X[..., :half], X[..., half:]
    cos, sin = COS[None, :, None, :], SIN[None, :, None, :]
    return np.concatenate([left * cos - right * sin, left * sin + right * cos], axis=-1)


rotary = Kernel(
    id="public::flash_rotary",
    source=rotary_kernel,
    inputs={"X": Tensor("T", "B S H 2*R"), "COS": Tensor("T", "S R"), "SIN": Tensor("T", "S R")},
    outputs={"OUT": Tensor("T", "B S H 2*R")},
    dtypes={"T": ("fp16",)},
    params=[choice("BLOCK_M", 4, 8), choice("BLOCK_H", 2, 4), choice("num_warps", 4, 8)],
    default={"BLOCK_M": 8, "BLOCK_H": 2, "num_warps": 4},
    absent=("CU_SEQLENS",),
    constants=lambda R: {
        "ROTARY_DIM": 2 * R,
        "IS_SEQLEN_OFFSETS_TENSOR": False,
        "IS_VARLEN": False,
        "INTERLEAVED": False,
        "CONJUGATE": False,
    },
    launch=lambda B, S, H, R, BLOCK_M, BLOCK_H: Launch(
        grid=(cdiv(H, BLOCK_H), cdiv(S, BLOCK_M), B),
        args={
            "SEQLEN_OFFSETS": 0,
            "seqlen": S,
            "nheads": H,
            "seqlen_ro": S,
            "stride_out_batch": S * H * 2 * R,
            "stride_out_seqlen": H * 2 * R,
            "stride_out_nheads": 2 * R,
            "stride_out_headdim": 1,
            "stride_x_batch": S * H * 2 * R,
            "stride_x_seqlen": H * 2 * R,
            "stride_x_nheads": 2 * R,
            "stride_x_headdim": 1,
        },
    ),
    reference=turned,
)
