"""Run one block of a kernel's PTX on integers alone, to learn what its text does not say.

How often a loop runs, which side of a branch a problem takes, which bytes each warp touches: all of it
follows from integer arithmetic on the launch's arguments and the thread's index. So that arithmetic is
carried out for all threads of one block at once; whatever depends on loaded or floating-point values
stays unknown. A branch on something unknown is not taken; one that threads disagree on goes where most
of them go. What is left is the sequence of instructions a warp executes and the memory it asks for.

Sectors (32 bytes) and bank conflicts (32 banks of 4 bytes, served 128 bytes at a time) are those of the
"CUDA C++ Best Practices Guide" (NVIDIA).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

from tuner.backends.model.integers import compute, operand
from tuner.backends.model.program import Instruction, Program
from tuner.gpu.target import Dim3

if TYPE_CHECKING:
    import numpy as np

    from tuner.backends.model.integers import Value


MAX_STEPS = 400_000
"""Instructions after which a trace is cut off. A GEMM with K = 8192 and 700 per iteration stays below."""

SECTOR = 32
_TENSOR_SHIFT = 40
"""Each pointer argument starts at its own multiple of this power of two, far from every other."""


@dataclass(frozen=True)
class Access:
    """What one execution of a memory instruction asks for, all warps of the block together.

    Attributes:
        tensor: position of the pointer argument, or -1 for shared memory and where it is unknown.
        bytes: that threads read or write.
        sectors: 32-byte sectors, counted once per warp; 0 for shared memory.
        wavefronts: 128-byte passes through the SM's memory pipe.
    """

    tensor: int
    bytes: int
    sectors: int
    wavefronts: int


@dataclass(frozen=True)
class Step:
    """One execution of an instruction by a warp of the block."""

    instruction: Instruction
    access: Access | None


@dataclass(frozen=True)
class Trace:
    """What one block executes.

    Attributes:
        steps: in order.
        run_bytes: for each tensor, the mean length of the contiguous stretches that the block touches.
        static: instructions in the text.
        complete: whether the end was reached, every branch on the way having been decided.
    """

    steps: Sequence[Step]
    run_bytes: Mapping[int, float]
    static: int
    complete: bool

    def counts(self) -> Iterator[tuple[Step, int]]:
        """Each distinct step and how often it occurs."""
        times = Counter(map(id, self.steps))
        yield from ((step, times[i]) for i, step in {id(s): s for s in self.steps}.items())


def trace(program: Program, threads: Dim3, grid: Dim3, args: Sequence[int], block: Dim3) -> Trace:
    """Run one block.

    Args:
        program: the kernel.
        threads: per block, along x, y and z.
        grid: blocks along x, y and z.
        args: the extra integers of the launch.
        block: which block, along x, y and z.
    """
    import numpy as np

    x, y, z = threads
    index = np.arange(-(-x * y * z // 32) * 32, dtype=np.int64)
    registers = _launch(program, threads, grid, args, block)
    registers |= {
        "%tid.x": index if y * z == 1 else index % x,
        "%tid.y": 0 if y * z == 1 else index // x % y,
        "%tid.z": 0 if z == 1 else index // (x * y),
        "%laneid": index % 32,
        "%warpid": index // 32,
    }
    plain = [Step(i, None) for i in program.instructions]
    # Loops revisit an access with other addresses but the same pattern, so two visits tell them all.
    accesses: dict[int, list[Step]] = {}
    stretches: defaultdict[int, list[np.ndarray[Any, Any]]] = defaultdict(list)
    steps: list[Step] = []
    complete = True
    for position, guard in _execute(program, registers, index.size):
        instruction = program.instructions[position]
        if len(steps) == MAX_STEPS:
            complete = False
            break
        if instruction.kind == "branch":
            complete &= guard is not None
        if instruction.bytes:
            seen = accesses.setdefault(position, [])
            if not np.any(_active(instruction, registers, guard)):
                steps.append(Step(instruction, Access(-1, 0, 0, 0)))
                continue
            if len(seen) < 2:
                access, touched = _access(instruction, registers, guard, index.size)
                seen.append(Step(instruction, access))
                stretches[access.tensor].append(touched)
            steps.append(seen[-1])
        else:
            steps.append(plain[position])
    static = sum(i.kind != "free" for i in program.instructions)
    run_bytes = {t: _mean_length(np.concatenate(touched)) for t, touched in stretches.items() if t >= 0}
    return Trace(steps, run_bytes, static, complete)


def first_addresses(
    program: Program, threads: Dim3, grid: Dim3, args: Sequence[int], blocks: int
) -> dict[int, np.ndarray[Any, Any]]:
    """Where each of the first blocks begins to load from each tensor.

    The first thread of all those blocks is run at once, up to the end of the first pass through a loop.

    Args:
        program, threads, grid, args: as for `trace`.
        blocks: how many, in the order in which they are handed out.

    Returns:
        For each tensor, by the position of its pointer argument, the address in bytes in every block; tensors
        whose addresses are unknown are left out.
    """
    import numpy as np

    index = np.arange(min(blocks, grid[0] * grid[1] * grid[2]), dtype=np.int64)
    along = (index % grid[0], index // grid[0] % grid[1], index // (grid[0] * grid[1]))
    registers = _launch(program, threads, grid, args, along)
    registers |= dict.fromkeys(("%tid.x", "%tid.y", "%tid.z", "%laneid", "%warpid"), 0)
    found: dict[int, np.ndarray[Any, Any]] = {}
    for position, guard in _execute(program, registers, index.size):
        instruction = program.instructions[position]
        if instruction.kind == "branch" and _majority(guard):
            if program.labels.get(instruction.operands[-1], position) <= position:
                break
        elif instruction.kind in ("load", "async") and instruction.bytes:
            base, offset = instruction.address[-1]
            address = operand(base, registers)
            if address is not None:
                addresses = np.broadcast_to(np.asarray(address + offset, np.int64), index.shape)
                found.setdefault(int(addresses[0] >> _TENSOR_SHIFT) - 1, addresses)
    return found


def _launch(
    program: Program, threads: Dim3, grid: Dim3, args: Sequence[int], block: Sequence[Value]
) -> dict[str, Value]:
    """What registers and parameters hold when a block starts; every pointer gets addresses of its own."""
    registers: dict[str, Value] = {}
    for axis, ntid, ctaid, nctaid in zip("xyz", threads, block, grid, strict=True):
        registers |= {f"%ntid.{axis}": ntid, f"%ctaid.{axis}": ctaid, f"%nctaid.{axis}": nctaid}
    registers |= _cluster(program.cluster, block, grid)
    integers = iter(args)
    for position, param in enumerate(program.params):
        registers[param.name] = (position + 1) << _TENSOR_SHIFT if param.size == 8 else next(integers, None)
    return registers


def _cluster(size: Dim3, block: Sequence[Value], grid: Dim3) -> dict[str, Value]:
    """What the registers hold that tell a block its place in a cluster, and that of the cluster."""
    rank: Any = 0
    registers: dict[str, Value] = {}
    for axis, blocks, each, number in reversed(list(zip("xyz", size, block, grid, strict=True))):
        assert each is not None
        registers |= {f"%cluster_nctaid.{axis}": blocks, f"%nclusterid.{axis}": number // blocks}
        registers |= {f"%cluster_ctaid.{axis}": each % blocks, f"%clusterid.{axis}": each // blocks}
        rank = rank * blocks + each % blocks
    return {**registers, "%cluster_ctarank": rank, "%cluster_nctarank": prod(size)}


def _execute(program: Program, registers: dict[str, Value], threads: int) -> Iterator[tuple[int, Value]]:
    """Yield the position of each instruction about to be executed, and which threads execute it."""
    at = 0
    while at < len(program.instructions):
        instruction = program.instructions[at]
        guard = _guard(instruction, registers)
        position, at = at, at + 1
        if instruction.kind == "exit" and _majority(guard):
            return
        if isinstance(guard, int) and not guard:
            continue
        yield position, guard
        if instruction.kind == "branch" and _majority(guard):
            at = program.labels.get(instruction.operands[-1], at)
        elif instruction.bytes:
            registers.update(dict.fromkeys(instruction.writes))
        elif instruction.writes:
            compute(instruction, registers, threads, guard)


def _guard(instruction: Instruction, registers: Mapping[str, Value]) -> Value:
    """Which threads execute an instruction; None: unknown."""
    if instruction.guard is None:
        return 1
    value = registers.get(instruction.guard)
    return value if value is None or not instruction.unless else 1 - value


def _majority(guard: Value) -> bool:
    if guard is None or isinstance(guard, int):
        return bool(guard)
    return 2 * int(guard.sum()) > guard.size


# -- memory --------------------------------------------------------------------------------------


def _access(
    instruction: Instruction, registers: Mapping[str, Value], guard: Value, threads: int
) -> tuple[Access, np.ndarray[Any, Any]]:
    """What an instruction asks for, and the stretches of global memory it touches: beginning and end of each."""
    import numpy as np

    shared = instruction.kind.startswith("shared")
    base, offset = instruction.address[-1 if instruction.kind == "async" else 0]
    address = operand(base, registers) if instruction.kind != "bulk" else None
    active = np.broadcast_to(np.asarray(_active(instruction, registers, guard), bool), threads)
    width = instruction.bytes
    requested = int(active.sum()) * width
    nowhere = np.empty((0, 2), np.int64)
    if address is None:  # assume neighbours touch neighbours
        wavefronts = -(-requested // 128)
        return Access(-1, requested, 0 if shared else -(-requested // SECTOR), wavefronts), nowhere
    addresses = np.broadcast_to(np.asarray(address + offset, np.int64), threads)
    if shared:
        return Access(-1, requested, 0, _shared_wavefronts(addresses, active, width)), nowhere
    first, last = addresses // SECTOR, (addresses + width - 1) // SECTOR
    # 2**36 sectors are one tensor's share of the address space.
    warp = np.arange(threads) // 32 * (1 << (_TENSOR_SHIFT + 8))
    touched = (warp + first)[active]
    if (first != last).any():
        touched = np.concatenate([touched, (warp + last)[active]])
    sectors = np.unique(touched)
    wavefronts = max(np.unique(sectors // 4).size, -(-requested // 128))
    begin = np.unique(addresses[active])
    access = Access(int(begin[0] >> _TENSOR_SHIFT) - 1, requested, sectors.size, wavefronts)
    return access, _merge(np.stack([begin, begin + width], axis=1))


def _merge(stretches: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Stretches in order, those that touch or overlap made one."""
    import numpy as np

    begin, end = stretches[np.argsort(stretches[:, 0])].T
    reach = np.maximum.accumulate(end)
    new = np.flatnonzero(begin[1:] > reach[:-1]) + 1
    return np.stack([begin[np.r_[0, new]], reach[np.r_[new - 1, -1]]], axis=1)


def _mean_length(stretches: np.ndarray[Any, Any]) -> float:
    begin, end = _merge(stretches).T
    return float((end - begin).mean())


def _active(instruction: Instruction, registers: Mapping[str, Value], guard: Value) -> Any:
    """Which threads ask for memory, as far as is known."""
    active: Any = 1 if guard is None else guard
    if instruction.kind == "async" and len(instruction.operands) > 3:
        copied = operand(instruction.operands[3], registers)  # bytes; the rest of the width is filled with zeros
        if copied is not None:
            return active * (copied > 0)
    return active


def _shared_wavefronts(addresses: np.ndarray[Any, Any], active: np.ndarray[Any, Any], width: int) -> int:
    """Passes over the banks: for each 128 bytes that threads ask for together, the busiest bank's distinct words."""
    import numpy as np

    words = max(width // 4, 1)
    lanes = 32 // words
    word = (addresses // 4)[:, None] + np.arange(words)
    group = np.repeat(np.arange(len(addresses)) // lanes, words).reshape(word.shape)
    keys = np.unique((group[active] << 32) + word[active])
    if keys.size == 0:
        return 0
    banks = np.bincount((keys >> 32) * 32 + keys % 32, minlength=32 * (int(keys[-1] >> 32) + 1))
    return int(banks.reshape(-1, 32).max(axis=1).sum())
