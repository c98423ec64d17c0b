"""Kernels of unsloth, from its files as they are.

Its package asks for others that need a GPU when they are imported. These kernels take nothing of that, so the files are
imported beside stand-ins for the package's own first file and for its tools.
"""

import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import numpy as np

from tuner import Kernel, Launch, Tensor, cdiv, choice

root = Path(next(iter(find_spec("unsloth").submodule_search_locations)))
for name, folder in {"unsloth": root, "unsloth.kernels": root / "kernels"}.items():
    if name not in sys.modules:
        sys.modules[name] = ModuleType(name)
        sys.modules[name].__path__ = [str(folder)]
if "unsloth.kernels.utils" not in sys.modules:
    tools = sys.modules["unsloth.kernels.utils"] = ModuleType("unsloth.kernels.utils")
    tools.calculate_settings = tools.torch_gpu_device = tools.triton_tanh = None

from unsloth.kernels.geglu import _exact_forward_kernel  # noqa: E402
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


swiglu = Kernel(id="public::unsloth_swiglu", source=_fg_kernel, **gated(silu))
geglu = Kernel(id="public::unsloth_geglu", source=_exact_forward_kernel, **gated(gelu))
