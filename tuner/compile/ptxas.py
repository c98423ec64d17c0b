"""The assembler for a device, from Triton's wheel, and the PTX versions it and the driver take."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from tuner.compile.artifact import Target
from tuner.compile.assemble import assembler_version
from tuner.errors import UnavailableError

_OLDEST_PTX = {(9, 0): (8, 0), (10, 0): (8, 6), (10, 3): (8, 8), (12, 0): (8, 7), (12, 1): (8, 8)}
"""The PTX version that an architecture with its own features, as "sm_90a", appeared in ("PTX ISA", "Release Notes").
LLVM ends the process when asked for an older one."""


@dataclass(frozen=True)
class Ptxas:
    """An assembler.

    Attributes:
        path: the program.
        version: its full version, for example "12.8.93".
        newest_ptx: the newest PTX language version it reads.
        disassembler: the nvdisasm that reads what it writes.
    """

    path: str
    version: str
    newest_ptx: tuple[int, int]
    disassembler: str


def ptxas(target: Target) -> Ptxas:
    """The assembler for a target."""
    return _ptxas(architecture(target))


def newest_ptx(target: Target) -> tuple[int, int]:
    """The newest PTX version that both the assembler and the driver take.

    Raises:
        UnavailableError: when the driver is too old for the device.
    """
    newest = ptxas(target).newest_ptx
    if target.max_ptx is None or target.max_ptx >= newest:
        return newest
    oldest = _OLDEST_PTX.get(target.capability)
    if oldest is not None and target.max_ptx < oldest:
        raise UnavailableError(
            f"compute capability {_dotted(target.capability)} needs PTX {_dotted(oldest)}, and the driver takes "
            f"{_dotted(target.max_ptx)} at most; update the driver"
        )
    return target.max_ptx


def architecture(target: Target) -> int:
    """How tools write a compute capability: 90 for 9.0."""
    return target.capability[0] * 10 + target.capability[1]


@functools.cache
def _ptxas(arch: int) -> Ptxas:
    from triton import knobs
    from triton.backends.nvidia.compiler import get_ptxas, ptx_get_version

    tool = get_ptxas(arch)
    major, minor = divmod(ptx_get_version(tool.version), 10)
    return Ptxas(tool.path, assembler_version(tool.path), (major, minor), knobs.nvidia.nvdisasm.path)


def _dotted(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"
