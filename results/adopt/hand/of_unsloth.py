"""Kernels of unsloth, from its files as they are.

Its package asks for others that need a GPU when they are imported. These kernels take nothing of that, so the files are
imported beside stand-ins for the package's own first file and for its tools.
"""

import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import numpy as np

from tuner import Kernel, Launch, Tensor, cdiv, choice, next_power_of_2

root = Path(next(iter(find_spec("unsloth").submodule_search_locations)))
for name, folder in {"unsloth": root, "unsloth.kernels": root / "kernels"}.items():
    if name not in sys.modules:
        sys.modules[name] = ModuleType(name)
        sys.modules[name].__path__ = [str(folder)]
if "unsloth.kernels.utils" not in sys.modules:
    tools = sys.modules["unsloth.kernels.utils"] = ModuleType("unsloth.kernels.utils")
    tools.calculate_settings = tools.torch_gpu_device = tools.triton_tanh = None

from unsloth.kernels.geglu import _exact_forward_kernel  # noqa: E402
from unsloth.kernels.rms_layernorm import _rms_layernorm_forward  # noqa: E402
from unsloth.kernels.swiglu import _fg_kernel  # noqa: E402


def gated(gate):
    return {
        "inputs": {"e": Tensor("T", "N"), "g": Tensor("T", "N")},
        "outputs": {"h": Tensor("T", "N")},
        "dtypes": {"T": ("fp16",)},
        "params": [choice("BLOCK_SIZE", 256, 512, 1024), choice("num_warps", 4, 8)],
        "default": {"BLOCK_SIZE": 1024, "num_warps": 4},
        "constants": lambda: {"LONG_INDEXING": 0},
        "launch": lambda N, BLOCK_SIZE: Launch(grid=(cdiv(N, BLOCK_SIZE),), args={"n_elements": N}),
        "reference": lambda e, g: gate(e) * g,
    }


def silu(e):
    return e / (1 + np.exp(-e))


def gelu(e):
    from math import erf

    return 0.5 * e * (1 + np.vectorize(erf, otypes=[float])(e / np.sqrt(2)))


def normalised(X, W, eps):
    r = 1 / np.sqrt((X * X).mean(axis=1) + eps)
    return X * r[:, None] * W, r


swiglu = Kernel(id="public::unsloth_swiglu", source=_fg_kernel, **gated(silu))
geglu = Kernel(id="public::unsloth_geglu", source=_exact_forward_kernel, **gated(gelu))
rms_norm = Kernel(
    id="public::unsloth_rms_norm",
    source=_rms_layernorm_forward,
    inputs={"X": Tensor("T", "M N"), "W": Tensor("T", "N")},
    outputs={"Y": Tensor("T", "M N"), "r": Tensor("fp32", "M")},
    dtypes={"T": ("fp16",)},
    params=[choice("num_warps", 2, 4, 8)],
    default={"num_warps": 4},
    attributes={"eps": 1e-6},
    constants=lambda N: {
        "Y_row_stride": N,
        "X_row_stride": N,
        "W_row_stride": 1,
        "r_row_stride": 1,
        "n_cols": N,
        "BLOCK_SIZE": next_power_of_2(N),
    },
    launch=lambda M: Launch(grid=(M,)),
    reference=normalised,
)
