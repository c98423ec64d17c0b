"""Run one block of a kernel's PTX on integers alone, to learn what its text does not say.

How often a loop runs, which side of a branch a problem takes, which bytes each warp touches: all of it
follows from integer arithmetic on the launch's arguments and the thread's index. So that arithmetic is
carried out for all threads of one block at once; whatever depends on loaded or floating-point values
stays unknown. A branch on something unknown is not taken; one that threads disagree on goes where most
of them go. What is left is the sequence of instructions a warp executes and the memory it asks for.

Instructions are those of "PTX ISA" (NVIDIA). Sectors (32 bytes) and bank conflicts (32 banks of 4 bytes,
served 128 bytes at a time) are those of the "CUDA C++ Best Practices Guide".
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from tuner.compile import ptx
from tuner.compile.artifact import Artifact

if TYPE_CHECKING:
    import numpy as np

    Value: TypeAlias = "int | np.ndarray[Any, Any] | None"
"""Of a register: the same for all threads, one per thread, or unknown."""

MAX_STEPS = 400_000
"""Instructions after which a trace is cut off. A GEMM with K = 8192 and 700 per iteration stays below."""

SECTOR = 32
_TENSOR_SHIFT = 40
"""Each pointer argument starts at its own multiple of this power of two, far from every other."""


@dataclass(frozen=True, eq=False)
class Instruction:
    """One line of PTX.

    Attributes:
        parts: the opcode split at its dots.
        kind: "load", "async", "store", "atomic" (global memory); "shared_load", "shared_store"; "mma",
            "wgmma"; "special" (reciprocals, exponentials and their kin); "shuffle"; "barrier"; "commit", "wait";
            "branch"; "exit"; "alu"; "free" (no machine instruction).
        guard: the predicate register in front, or None.
        unless: whether the guard is negated.
        writes, reads: registers.
        operands: as written, destinations first.
        address: registers and offsets between brackets, in order.
        bytes: per thread, of a memory access.
        shape: m, n and k of a tensor instruction that says them.
    """

    parts: tuple[str, ...]
    kind: str
    guard: str | None
    unless: bool
    writes: tuple[str, ...]
    reads: tuple[str, ...]
    operands: tuple[str, ...]
    address: tuple[tuple[str, int], ...]
    bytes: int
    shape: tuple[int, int, int] | None


@dataclass(frozen=True)
class Access:
    """What one execution of a memory instruction asks for, all warps of the block together.

    Attributes:
        tensor: position of the pointer argument, or -1 for shared memory and where it is unknown.
        bytes: that threads read or write.
        sectors: 32-byte sectors, counted once per warp; 0 for shared memory.
        wavefronts: 128-byte passes through the SM's memory pipe.
        run_bytes: mean length of the contiguous stretches that the block touches; 0 for shared memory.
    """

    tensor: int
    bytes: int
    sectors: int
    wavefronts: int
    run_bytes: float


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
        static: instructions in the text.
        complete: whether the end was reached, every branch on the way having been decided.
    """

    steps: Sequence[Step]
    static: int
    complete: bool

    def counts(self) -> Iterator[tuple[Step, int]]:
        """Each distinct step and how often it occurs."""
        times = Counter(map(id, self.steps))
        yield from ((step, times[i]) for i, step in {id(s): s for s in self.steps}.items())


def trace(artifact: Artifact, grid: tuple[int, int, int], args: Sequence[int], block: tuple[int, int, int]) -> Trace:
    """Run one block.

    Args:
        artifact: the kernel; `Artifact.block` gives the threads.
        grid: blocks along x, y and z.
        args: the extra integers of the launch.
        block: which block, along x, y and z.
    """
    import numpy as np

    program = _Program.read(artifact.ptx)
    x, y, z = artifact.block
    threads = np.arange(-(-x * y * z // 32) * 32, dtype=np.int64)
    registers: dict[str, Value] = {
        "%tid.x": threads if y * z == 1 else threads % x,
        "%tid.y": 0 if y * z == 1 else threads // x % y,
        "%tid.z": 0 if z == 1 else threads // (x * y),
        "%laneid": threads % 32,
        "%warpid": threads // 32,
        "global_smem": 0,
    }
    for axis, ntid, ctaid, nctaid in zip("xyz", artifact.block, block, grid, strict=True):
        registers |= {f"%ntid.{axis}": ntid, f"%ctaid.{axis}": ctaid, f"%nctaid.{axis}": nctaid}
    program.pass_arguments(registers, args)
    return _run(program, registers, len(threads))


def first_addresses(
    artifact: Artifact, grid: tuple[int, int, int], args: Sequence[int], blocks: int
) -> dict[int, np.ndarray[Any, Any]]:
    """Where each of the first blocks begins to load from each tensor.

    The first thread of all those blocks is run at once, up to the end of the first pass through a loop.

    Args:
        artifact, grid, args: as for `trace`.
        blocks: how many, in the order in which they are handed out.

    Returns:
        For each tensor, by the position of its pointer argument, the address in bytes in every block; tensors
        whose addresses are unknown are left out.
    """
    import numpy as np

    program = _Program.read(artifact.ptx)
    index = np.arange(min(blocks, grid[0] * grid[1] * grid[2]), dtype=np.int64)
    registers: dict[str, Value] = dict.fromkeys(("%tid.x", "%tid.y", "%tid.z", "%laneid", "%warpid", "global_smem"), 0)
    along = (index % grid[0], index // grid[0] % grid[1], index // (grid[0] * grid[1]))
    for axis, ntid, ctaid, nctaid in zip("xyz", artifact.block, along, grid, strict=True):
        registers |= {f"%ntid.{axis}": ntid, f"%ctaid.{axis}": ctaid, f"%nctaid.{axis}": nctaid}
    program.pass_arguments(registers, args)
    found: dict[int, np.ndarray[Any, Any]] = {}
    at = 0
    with np.errstate(all="ignore"):
        while at < len(program.instructions):
            instruction = program.instructions[at]
            at += 1
            guard = _guard(instruction, registers)
            if instruction.kind == "branch" and _majority(guard):
                target = program.labels.get(instruction.operands[-1], at)
                if target < at:
                    break
                at = target
            elif instruction.kind == "exit" and _majority(guard):
                break
            elif instruction.kind in ("load", "async") and instruction.bytes:
                base, offset = instruction.address[-1]
                address = _operand(base, registers)
                if address is not None:
                    addresses = np.broadcast_to(np.asarray(address + offset, np.int64), index.shape)
                    found.setdefault(int(addresses[0] >> _TENSOR_SHIFT) - 1, addresses)
                registers.update(dict.fromkeys(instruction.writes))
            elif instruction.writes:
                _compute(instruction, registers, len(index), guard)
    return found


def _run(program: _Program, registers: dict[str, Value], threads: int) -> Trace:
    import numpy as np

    steps: list[Step] = []
    plain = [Step(i, None) for i in program.instructions]
    # Loops revisit an access with other addresses but the same pattern, so two visits tell them all.
    accesses: dict[int, list[Step]] = {}
    complete = True
    at = 0
    with np.errstate(all="ignore"):
        while at < len(program.instructions):
            if len(steps) >= MAX_STEPS:
                return Trace(steps, len(program.instructions), False)
            instruction = program.instructions[at]
            position, at = at, at + 1
            guard = _guard(instruction, registers)
            if instruction.kind == "branch":
                complete &= guard is not None
                steps.append(plain[position])
                if _majority(guard):
                    at = program.labels.get(instruction.operands[-1], at)
            elif instruction.kind == "exit":
                if _majority(guard):
                    break
            elif instruction.bytes:
                seen = accesses.setdefault(position, [])
                if len(seen) < 2:
                    seen.append(Step(instruction, _access(instruction, registers, guard, threads)))
                steps.append(seen[-1])
                registers.update(dict.fromkeys(instruction.writes))
            elif guard is not None and not _majority(guard) and np.ndim(guard) == 0:
                continue
            else:
                steps.append(plain[position])
                if instruction.writes:
                    _compute(instruction, registers, threads, guard)
    return Trace(steps, len(program.instructions), complete)


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


def _access(instruction: Instruction, registers: Mapping[str, Value], guard: Value, threads: int) -> Access:
    import numpy as np

    shared = instruction.kind.startswith("shared")
    base, offset = instruction.address[-1 if instruction.kind == "async" else 0]
    address = _operand(base, registers)
    active = np.ones(threads, bool) if guard is None else np.broadcast_to(np.asarray(guard, bool), threads)
    width = instruction.bytes
    if instruction.kind == "async" and len(instruction.operands) > 3:
        copied = _operand(instruction.operands[3], registers)  # zero: the rest is filled with zeros
        if copied is not None:
            active = active & np.broadcast_to(np.asarray(copied) > 0, threads)
    requested = int(active.sum()) * width
    if address is None:  # assume neighbours touch neighbours
        return Access(-1, requested, 0 if shared else -(-requested // SECTOR), -(-requested // 128), float(requested))
    addresses = np.broadcast_to(np.asarray(address + offset, np.int64), threads)
    if shared:
        return Access(-1, requested, 0, _shared_wavefronts(addresses, active, width), 0.0)
    if not active.any():
        return Access(-1, 0, 0, 0, 0.0)
    tensor = int(addresses[active][0] >> _TENSOR_SHIFT) - 1
    first, last = addresses // SECTOR, (addresses + width - 1) // SECTOR
    touched = np.concatenate([first, last]) if (first != last).any() else first
    mask = np.resize(active, touched.shape)
    warp = np.resize(np.arange(threads) // 32, touched.shape)[mask]
    touched = touched[mask]
    # 2**36 sectors are one tensor's share of the address space.
    sectors = np.unique(warp * (1 << (_TENSOR_SHIFT + 8)) + touched)
    lines = np.unique(sectors // 4).size
    everything = np.unique(addresses[active])
    runs = 1 + int((np.diff(everything) > width).sum())
    return Access(
        tensor,
        requested,
        sectors.size,
        max(lines, -(-requested // 128)),
        everything.size * width / runs,
    )


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


# -- integer arithmetic --------------------------------------------------------------------------


def _operand(text: str, registers: Mapping[str, Value]) -> Value:
    if text[0] in "%_" or text in registers:
        return registers.get(text)
    try:
        return int(text, 0)
    except ValueError:
        return None


def _compute(instruction: Instruction, registers: dict[str, Value], threads: int, guard: Value) -> None:
    """Write the results of one instruction; unknown unless all its operands are known integers."""
    import numpy as np

    parts, writes = instruction.parts, instruction.writes
    evaluate = _OPERATIONS.get(parts[0])
    result: Value = None
    if evaluate is not None and len(writes) == 1 and parts[-1] not in _FLOATS and parts[-2] not in _FLOATS:
        sources = [_operand(o, registers) for o in instruction.operands[1:]]
        if all(s is not None for s in sources):
            # The addend of mad.wide is twice as wide as its type says.
            wide = 2 if parts[1] == "wide" else len(sources)
            typed = [_typed(s, parts) for s in sources[:wide]]
            result = _wrap(evaluate(parts, typed + sources[wide:]), parts)
    if parts[0] == "ld":
        result = registers.get(instruction.address[0][0])
    if parts[0] == "shfl" and parts[2] == "idx" and instruction.operands[2].isdigit():
        source = _operand(instruction.operands[1], registers)
        if source is not None and np.ndim(source):
            assert not isinstance(source, int)
            result = np.repeat(source.reshape(-1, 32)[:, int(instruction.operands[2])], 32)
        else:
            result = source
    if parts[0] == "elect":
        result = (np.arange(threads) % 32 == 0).astype(np.int64)
    if isinstance(guard, np.ndarray) and result is not None:
        before = registers.get(writes[0])
        result = None if before is None else np.where(guard, result, before)
    for name in writes[:-1]:
        registers[name] = None
    registers[writes[-1]] = result


def _typed(value: Any, parts: tuple[str, ...]) -> Any:
    """Registers hold signed values; read one as an unsigned 32-bit operand where the type says so."""
    return value & 0xFFFFFFFF if "u32" in parts else value


def _wrap(value: Any, parts: tuple[str, ...]) -> Any:
    kind = parts[1] if parts[0] == "cvt" else parts[-1]
    if "wide" in parts or kind in ("pred", "b64", "s64", "u64") or parts[0] == "setp":
        return (value + (1 << 63)) % (1 << 64) - (1 << 63) if isinstance(value, int) else value
    bits = 16 if kind.endswith("16") else 32
    return ((value + (1 << (bits - 1))) & ((1 << bits) - 1)) - (1 << (bits - 1))


def _divide(a: Any, b: Any) -> Any:
    import numpy as np

    if isinstance(a, int) and isinstance(b, int):
        return 0 if b == 0 else abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)
    return np.where(b == 0, 0, np.sign(a) * np.sign(b) * (abs(a) // np.maximum(abs(b), 1)))


def _choose(condition: Any, a: Any, b: Any) -> Any:
    import numpy as np

    return (a if condition else b) if isinstance(condition, int) else np.where(condition, a, b)


_COMPARE: Mapping[str, Callable[[Any, Any], Any]] = {
    "eq": lambda a, b: a == b,
    "ne": lambda a, b: a != b,
    "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b,
    "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b,
    "lo": lambda a, b: a < b,
    "ls": lambda a, b: a <= b,
    "hi": lambda a, b: a > b,
    "hs": lambda a, b: a >= b,
}


def _compare(parts: tuple[str, ...], sources: list[Any]) -> Any:
    outcome = _COMPARE[parts[1]](sources[0], sources[1])
    outcome = int(outcome) if isinstance(outcome, bool) else outcome.astype("int64")
    if len(sources) == 3:  # setp.lt.and.s32 p, a, b, q
        return _OPERATIONS[parts[2]](("", "pred"), [outcome, sources[2]])
    return outcome


def _extract(parts: tuple[str, ...], sources: list[Any]) -> Any:
    value, position, length = sources
    field = (value >> position) & ((1 << length) - 1)
    if parts[-1].startswith("s"):
        field = ((field + (1 << (length - 1))) & ((1 << length) - 1)) - (1 << (length - 1))
    return field


def _bits(parts: tuple[str, ...], value: Any) -> Any:
    """A value before a logical right shift: its bits as an unsigned number."""
    return value & 0xFFFFFFFF if parts[-1].endswith("32") else value


def _multiply(parts: tuple[str, ...], a: Any, b: Any) -> Any:
    product = a * b
    return product >> int(parts[-1][1:]) if "hi" in parts else product


_Operation: TypeAlias = Callable[[tuple[str, ...], list[Any]], Any]
_OPERATIONS: Mapping[str, _Operation] = {
    "mov": lambda p, s: s[0],
    "cvt": lambda p, s: s[0],
    "cvta": lambda p, s: s[0],
    "add": lambda p, s: s[0] + s[1],
    "sub": lambda p, s: s[0] - s[1],
    "mul": lambda p, s: _multiply(p, s[0], s[1]),
    "mad": lambda p, s: _multiply(p, s[0], s[1]) + s[2],
    "neg": lambda p, s: -s[0],
    "abs": lambda p, s: abs(s[0]),
    "div": lambda p, s: _divide(s[0], s[1]),
    "rem": lambda p, s: s[0] - s[1] * _divide(s[0], s[1]),
    "min": lambda p, s: _choose(s[0] < s[1], s[0], s[1]),
    "max": lambda p, s: _choose(s[0] > s[1], s[0], s[1]),
    "and": lambda p, s: s[0] & s[1],
    "or": lambda p, s: s[0] | s[1],
    "xor": lambda p, s: s[0] ^ s[1],
    "not": lambda p, s: 1 - s[0] if p[-1] == "pred" else ~s[0],
    "shl": lambda p, s: s[0] << s[1],
    "shr": lambda p, s: s[0] >> s[1] if p[-1].startswith("s") else _bits(p, s[0]) >> s[1],
    "bfe": _extract,
    "selp": lambda p, s: _choose(s[2], s[0], s[1]),
    "setp": _compare,
}
_FLOATS = ("f16", "f16x2", "bf16", "bf16x2", "f32", "f64", "tf32", "e4m3x2", "e5m2x2")


# -- reading -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Program:
    params: tuple[ptx.Param, ...]
    instructions: tuple[Instruction, ...]
    labels: Mapping[str, int]

    @classmethod
    def read(cls, text: str) -> _Program:
        entry = ptx.parse(text).entry
        instructions: list[Instruction] = []
        labels: dict[str, int] = {}
        for statement in _statements(text[slice(*entry.body)]):
            if statement.endswith(":"):
                labels[statement[:-1]] = len(instructions)
            else:
                instructions.append(_instruction(statement))
        return cls(entry.params, tuple(instructions), labels)

    def pass_arguments(self, registers: dict[str, Value], args: Sequence[int]) -> None:
        """Give every pointer an address of its own and every integer its value."""
        integers = iter(args)
        for position, param in enumerate(self.params):
            registers[param.name] = (position + 1) << _TENSOR_SHIFT if param.size == 8 else next(integers, None)


_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/|(?<=\n)\s*\.(?:loc|file|pragma)[^\n]*", re.DOTALL)
_LABEL = re.compile(r"\s*([$\w]+:)\s*")
_STATEMENT = re.compile(r"(?:@(!?)(%?\w+)\s+)?([a-z][\w.:]*)\s*(.*)", re.DOTALL)
_REGISTER = re.compile(r"%\w+(?:\.[xyz])?")
_BRACKETS = re.compile(r"\[([^\]]*)\]")
_SHAPE = re.compile(r"m(\d+)n(\d+)k(\d+)")
_OPERAND = re.compile(r"\{[^}]*\}|\[[^\]]*\]|[^,\s]+")

_SPECIAL = ("ex2", "lg2", "rcp", "rsqrt", "sqrt", "sin", "cos", "tanh")
_FREE = ("ld.param", "cvta", "bar.warp", "pragma")


def _statements(body: str) -> Iterator[str]:
    """Labels (ending in a colon) and instructions; declarations and scopes are left out."""
    for line in _COMMENT.sub("", body).split(";"):
        while match := _LABEL.match(line):
            yield match[1]
            line = line[match.end() :]
        line = line.strip()
        while line[:1] == "}" or (line[:1] == "{" and "," not in line.split("}")[0]):
            line = line[1:].strip()
        if line and line[0] != ".":
            yield line


def _instruction(statement: str) -> Instruction:
    match = _STATEMENT.match(statement)
    assert match is not None, statement
    unless, guard, opcode, rest = match.groups()
    parts = tuple(opcode.replace("::", ".").split("."))
    kind = _kind(opcode, parts, rest)
    operands = tuple(o for o in _OPERAND.findall(rest.replace("|", ",")))
    address = tuple(_address(text) for text in _BRACKETS.findall(rest))
    no_result = kind in ("store", "async", "shared_store", "branch", "barrier", "commit", "wait", "exit", "wgmma")
    results = 0 if no_result or not operands or operands[0].startswith("[") else (2 if "|" in rest else 1)
    writes = tuple(r for o in operands[:results] for r in _REGISTER.findall(o))
    if kind == "wgmma":
        writes = tuple(_REGISTER.findall(operands[0]))
    reads = tuple(r for o in operands[results:] for r in _REGISTER.findall(o))
    shape = next((m for m in map(_SHAPE.fullmatch, parts) if m), None) if kind in ("mma", "wgmma") else None
    return Instruction(
        parts=parts,
        kind=kind,
        guard=guard,
        unless=bool(unless),
        writes=writes,
        reads=reads,
        operands=operands,
        address=address,
        bytes=_bytes(kind, parts, operands),
        shape=(int(shape[1]), int(shape[2]), int(shape[3])) if shape else None,
    )


def _address(text: str) -> tuple[str, int]:
    base, _, offset = text.replace(" ", "").partition("+")
    return base, int(offset, 0) if re.fullmatch(r"-?(0x)?[0-9a-fA-F]+", offset) else 0


def _kind(opcode: str, parts: tuple[str, ...], operands: str) -> str:
    head = parts[0]
    if opcode.startswith(_FREE) or (head == "mov" and "{" in operands):
        return "free"
    if head in ("ld", "st"):
        space = "shared" if "shared" in parts else "local" if "local" in parts else ""
        return {"ld": "load", "st": "store"}[head] if not space else f"{space}_{'load' if head == 'ld' else 'store'}"
    if head in ("ldmatrix", "stmatrix"):
        return "shared_load" if head == "ldmatrix" else "shared_store"
    if head in ("atom", "red"):
        return "shared_store" if "shared" in parts else "atomic"
    if head == "cp" and parts[1] == "async":
        return "commit" if "commit_group" in parts else "wait" if parts[2].startswith("wait") else "async"
    if head == "wgmma":
        return {"mma_async": "wgmma", "commit_group": "commit", "wait_group": "wait"}.get(parts[1], "free")
    if head in ("mma", "tcgen05"):
        return {"mma": "mma", "tcgen05": "wgmma" if parts[1] == "mma" else "alu"}[head]
    if head in ("bar", "barrier"):
        return "barrier"
    if head == "shfl" or head == "redux":
        return "shuffle"
    if head in _SPECIAL or (head == "div" and parts[-1] == "f32"):
        return "special"
    if head in ("bra", "brx"):
        return "branch"
    return "exit" if head in ("ret", "exit") else "alu"


def _bytes(kind: str, parts: tuple[str, ...], operands: tuple[str, ...]) -> int:
    if kind in ("load", "store", "shared_load", "shared_store", "atomic"):
        if parts[0] in ("ldmatrix", "stmatrix"):
            return 16
        vector = next((int(p[1:]) for p in parts if re.fullmatch(r"v[248]", p)), 1)
        return vector * int(re.sub(r"\D", "", parts[-1].split("x")[0])) // 8
    if kind == "async" and len(operands) > 2 and "bulk" not in parts:
        return int(operands[2], 0)
    return 0
