"""The body of a PTX entry as instructions: what kind each is, and what it reads, writes and touches.

Instructions are those of "PTX ISA" (NVIDIA), as far as compilers of tile kernels emit them. One that is not known
counts as arithmetic.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tuner.compile import ptx
from tuner.gpu.target import Dim3


@dataclass(frozen=True, eq=False)
class Instruction:
    """One line of PTX.

    Attributes:
        parts: the opcode split at its dots.
        kind: "load", "async", "store", "atomic" (global memory); "bulk" (announces bytes that the tensor memory
            accelerator brings); "shared_load", "shared_store"; "mma", "wgmma"; "special" (reciprocals,
            exponentials and their kin); "shuffle"; "barrier"; "commit", "wait"; "branch"; "exit"; "alu"; "free"
            (no machine instruction).
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
class Program:
    """The instructions of a module's only entry.

    Attributes:
        params: what the launch passes.
        instructions: in the order of the text.
        labels: for each, the position of the instruction behind it.
        cluster: blocks of a cluster along x, y and z.
    """

    params: tuple[ptx.EntryParam, ...]
    instructions: tuple[Instruction, ...]
    labels: Mapping[str, int]
    cluster: Dim3 = (1, 1, 1)

    @classmethod
    def read(cls, text: str) -> Program:
        """Take the PTX of one kernel apart; `PtxError` when it is not that."""
        entry = ptx.parse(text).entry
        instructions: list[Instruction] = []
        labels: dict[str, int] = {}
        for statement in _statements(text[slice(*entry.body)]):
            if statement.endswith(":"):
                labels[statement[:-1]] = len(instructions)
            else:
                instructions.append(_instruction(statement))
        return cls(entry.params, tuple(instructions), labels, entry.cluster or (1, 1, 1))


_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/|(?<=\n)\s*\.(?:loc|file|pragma)[^\n]*", re.DOTALL)
_LABEL = re.compile(r"\s*([$\w]+:)\s*")
_STATEMENT = re.compile(r"(?:@(!?)(%?\w+)\s+)?([a-z][\w.:]*)\s*(.*)", re.DOTALL)
_REGISTER = re.compile(r"(?<![\w$])%?[A-Za-z_]\w*(?:\.[xyz])?")
_BRACKETS = re.compile(r"\[([^\]]*)\]")
_SHAPE = re.compile(r"m(\d+)n(\d+)k(\d+)")
_OPERAND = re.compile(r"\{[^}]*\}|\[[^\]]*\]|[^,\s]+")

_SPECIAL = ("ex2", "lg2", "rcp", "rsqrt", "sqrt", "sin", "cos", "tanh")
_FREE = ("ld.param", "cvta", "bar.warp", "pragma")


def _statements(body: str) -> Iterator[str]:
    """Labels (ending in a colon) and instructions; declarations and scopes are left out."""
    for line in _COMMENT.sub("", body).split(";"):
        line = line.strip()
        while True:
            if label := _LABEL.match(line):
                yield label[1]
                line = line[label.end() :]
            elif line[:1] == "}" or (line[:1] == "{" and "," not in line.split("}")[0]):
                line = line[1:].lstrip()
            else:
                break
        if _STATEMENT.match(line):
            yield line


def _instruction(statement: str) -> Instruction:
    match = _STATEMENT.match(statement)
    assert match is not None, statement
    unless, guard, opcode, rest = match.groups()
    parts = tuple(opcode.replace("::", ".").split("."))
    kind = _kind(opcode, parts, rest)
    operands = tuple(o for o in _OPERAND.findall(rest.replace("|", ",")))
    address = tuple(_address(text) for text in _BRACKETS.findall(rest))
    no_result = kind in ("store", "async", "bulk", "shared_store", "branch", "barrier", "commit", "exit", "wgmma")
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
        groups = {"commit_group": "commit", "wait_group": "wait", "wait_all": "wait"}
        return next((groups[p] for p in parts if p in groups), "async")
    if head == "mbarrier":
        return "bulk" if "expect_tx" in parts else "wait" if "try_wait" in parts else "alu"
    if head == "wgmma":
        return {"mma_async": "wgmma", "commit_group": "commit", "wait_group": "wait"}.get(parts[1], "free")
    if head == "mma":
        return "mma"
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
    if kind == "bulk":  # 0 where a register says how many
        return int(operands[-1], 0) if re.fullmatch(r"\d\w*", operands[-1]) else 0
    return 0
