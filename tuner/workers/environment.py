"""Which environment variables a child process inherits."""

from __future__ import annotations

from collections.abc import Mapping

_COMPILERS = (
    "TRITON_", "LLVM_", "MLIR_", "NVPTX_", "AMDGCN_", "PTXAS_", "NVCC_", "NVRTC_", "CUDA_", "NUMBA_", "NUMBAPRO_",
    "CUTE_", "CUTLASS_",
)  # fmt: skip
"""How the names of variables begin by which compilers, interpreters and the CUDA driver change what they do."""


_TRITON = frozenset(
    {
        "ALLOW_LHS_TMEM_LAYOUT_CONVERSION",
        "DISABLE_FAST_REDUCTION",
        "DISABLE_LLVM_OPT",
        "DISABLE_MMA_V3",
        "DISABLE_MMA_V5",
        "DISABLE_PTXAS_OPT",
        "STORE_TMEM_TO_GLOBAL_BYPASS_SMEM",
        "USE_IR_LOC",
        "USE_TTGIR_LOC",
    }
)
"""Those of Triton whose names begin otherwise."""


_WHERE = frozenset(
    {
        "TRITON_PTXAS_PATH",
        "TRITON_PTXAS_BLACKWELL_PATH",
        "TRITON_NVDISASM_PATH",
        "TRITON_CUOBJDUMP_PATH",
        "TRITON_LIBCUDA_PATH",
        "TRITON_HOME",
        "TRITON_CACHE_DIR",
        "CUDA_VISIBLE_DEVICES",
        "CUDA_DEVICE_ORDER",
        "CUDA_HOME",
        "CUDA_PATH",
        "CUDA_CACHE_PATH",
        "CUDA_MPS_PIPE_DIRECTORY",
        "CUDA_MPS_LOG_DIRECTORY",
    }
)
"""Those that only say where something is; the versions of tools are in every key."""


def child_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that a child process inherits: all but those by which a compiler changes what it makes.

    What a child finds is stored, under a key that knows nothing of a shell's variables: with `TRITON_INTERPRET=1`
    left over from debugging nothing compiles, and with `DISABLE_LLVM_OPT=1` something else does.
    """
    return {name: value for name, value in environment.items() if not changes_compilers(name)}


def changes_compilers(variable: str) -> bool:
    """Tell whether compilers, interpreters or the driver behave otherwise with this environment variable."""
    return variable not in _WHERE and (variable in _TRITON or variable.startswith(_COMPILERS))
