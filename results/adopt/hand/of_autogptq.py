"""The dequantisation of 4-bit weights of AutoGPTQ, from its file as it is."""

import numpy as np
from dequant import dequant_kernel_248

from tuner import Kernel, Launch, Tensor, below, cdiv


def dequantised(g_idx, scales, qweight, qzeros):
    def unpacked(words, axis):
        nibbles = words.astype(np.int64)[..., None] >> (4 * np.arange(8)) & 15
        rows, columns = words.shape
        return np.moveaxis(nibbles, -1, axis + 1).reshape(*((8 * rows, columns) if axis == 0 else (rows, 8 * columns)))

    groups = g_idx.astype(np.int64)
    return scales[groups] * (unpacked(qweight, 0) - unpacked(qzeros, 1)[groups] - 1)


dequant = Kernel.from_autotune(
    dequant_kernel_248,
    id="public::autogptq_dequant",
    inputs={
        "g_idx": Tensor("i32", "8*K", values=below("G")),
        "scales": Tensor("T", "G 8*N"),
        "qweight": Tensor("i32", "K 8*N"),
        "qzeros": Tensor("i32", "G N"),
    },
    outputs={"out": Tensor("T", "8*K 8*N")},
    dtypes={"T": ("fp16",)},
    constants=lambda G, N: {"maxq": 15, "bits": 4, "outfeatures": 8 * N, "num_groups": G},
    launch=lambda K, N, X_BLOCK: Launch(grid=(cdiv(64 * K * N, X_BLOCK),), args={"numels": 64 * K * N}),
    reference=dequantised,
    # It reads scales and weights without a mask.
    whole_tiles={"K": "cdiv(X_BLOCK, 64)"},
)
