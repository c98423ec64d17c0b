"""What a compiler leaves behind: launchable PTX, machine code, and facts read from both."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Resources:
    """What the machine code of one kernel takes, as the vendor's tools report it.

    Attributes:
        registers: per thread.
        spill_store_bytes, spill_load_bytes: static bytes per thread moved to and from local memory
            because registers ran out.
        stack_bytes: stack frame per thread.
        local_bytes: local memory per thread, the stack frame included.
        shared_bytes: shared memory per block that the code declares itself (static); what the launch
            must add is `Artifact.shared_bytes`.
        barriers: named barriers used.
        instructions: static SASS instructions by class; "total" counts all of them. This and all
            that follows is empty where the machine code was not disassembled.
        load_widths, store_widths: static global loads and stores by bytes per thread. Loads include
            asynchronous copies to shared memory, except bulk (TMA) copies, which have no width.
        tensor_shapes: static tensor-core instructions as the machine spells them, for example
            "HMMA.16816.F32" (m, n, k run together) or "HGMMA.64x256x16.F32" (one per warp group).
            Those of compute capability 10 (UTCHMMA and others) do not spell their shape.
        loop_instructions, loop_load_widths, loop_store_widths, loop_tensor_shapes: as above, only
            those inside a loop.
    """

    registers: int
    spill_store_bytes: int
    spill_load_bytes: int
    stack_bytes: int
    local_bytes: int
    shared_bytes: int
    barriers: int
    instructions: Mapping[str, int]
    load_widths: Mapping[int, int]
    store_widths: Mapping[int, int]
    tensor_shapes: Mapping[str, int]
    loop_instructions: Mapping[str, int]
    loop_load_widths: Mapping[int, int]
    loop_store_widths: Mapping[int, int]
    loop_tensor_shapes: Mapping[str, int]


@dataclass(frozen=True)
class Loadable:
    """What a device loads of a tactic, and how its blocks are launched. `Artifact` says what the fields mean."""

    ptx: str
    entry: str
    block: tuple[int, int, int]
    shared_bytes: int


@dataclass(frozen=True)
class Artifact:
    """A tactic compiled for one target, ready to be launched as TensorRT launches it.

    Attributes:
        ptx: text whose only entry takes inputs, extra integers, outputs and nothing else.
        entry: the name of that entry.
        block: threads per block along x, y and z.
        shared_bytes: dynamic shared memory the launch asks for.
        target: the architecture in the PTX, for example "sm_90a".
        ptx_version: (major, minor) of the PTX language; a driver must know it.
        resources: read from the machine code assembled from this very PTX.
        cubin: that machine code.
        compiler: names and versions of the tools, for example "triton 3.6.0, ptxas 12.8.93".
        seconds: how long compiling took.
    """

    ptx: str
    entry: str
    block: tuple[int, int, int]
    shared_bytes: int
    target: str
    ptx_version: tuple[int, int]
    resources: Resources
    cubin: bytes
    compiler: str
    seconds: float

    @property
    def loadable(self) -> Loadable:
        """What a device loads: the PTX, as TensorRT hands it to the driver."""
        return Loadable(self.ptx, self.entry, self.block, self.shared_bytes)

    @property
    def digest(self) -> str:
        """SHA-256 of the PTX, as hexadecimal digits."""
        return hashlib.sha256(self.ptx.encode()).hexdigest()


@dataclass(frozen=True)
class Code:
    """What the launches of a tactic became, in order; most operators are one launch."""

    steps: tuple[Artifact, ...]

    @property
    def digest(self) -> str:
        """SHA-256 of the PTX of all of them, as hexadecimal digits: that of the only one, where there is one."""
        digests = [artifact.digest for artifact in self.steps]
        return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()

    @property
    def compilers(self) -> str:
        """Names and versions of the tools that made it."""
        return "; ".join(dict.fromkeys(artifact.compiler for artifact in self.steps))
