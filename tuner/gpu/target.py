"""What code is compiled for, and extents along three axes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

Dim3: TypeAlias = tuple[int, int, int]
"""Extents along x, y and z: a grid of blocks, or a block of threads."""


@dataclass(frozen=True)
class Target:
    """What to compile for.

    Attributes:
        capability: compute capability, for example (9, 0).
        max_ptx: the newest PTX language version the driver at hand accepts; None: no limit known.
        disassemble: whether to count instructions. nvdisasm takes 0.2 to 0.3 s to start, most of what
            a small kernel costs, and who measures needs no counts.
    """

    capability: tuple[int, int]
    max_ptx: tuple[int, int] | None = None
    disassemble: bool = True
