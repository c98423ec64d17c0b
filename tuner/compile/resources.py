"""Read what a kernel takes from the logs of NVIDIA's own tools: `ptxas -v` and `nvdisasm -c`.

Opcodes are those of "CUDA Binary Utilities", chapter "Instruction Set Reference" (NVIDIA).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

from tuner.compile.artifact import Resources

_OPCODES = {
    "global_load": "LDG LD",
    "global_store": "STG ST",
    "async_copy": "LDGSTS UBLKCP UBLKPF UBLKRED UTMALDG UTMASTG UTMAPF UTMAREDG",
    "atomic": "ATOM ATOMG ATOMS RED REDG REDAS UATOMG",
    "shared_load": "LDS LDSM",
    "shared_store": "STS STSM",
    "local_load": "LDL",
    "local_store": "STL",
    "constant_load": "LDC LDCU ULDC",
    "tensor": "HMMA IMMA DMMA BMMA QMMA OMMA HGMMA IGMMA QGMMA BGMMA UTCHMMA UTCIMMA UTCQMMA UTCOMMA UTCMXQMMA",
    "fp32": "FADD FMUL FFMA FADD2 FMUL2 FFMA2 FADD32I FMUL32I FFMA32I FMNMX FMNMX3 FSEL FSET FSETP FSWZADD FCHK FRND",
    "fp16": "HADD2 HMUL2 HFMA2 HADD2_32 HFMA2_32I HMUL2_32I HMNMX2 VHMNMX HSET2 HSETP2",
    "fp64": "DADD DMUL DFMA DMNMX DSET DSETP",
    "special": "MUFU",
    "int": "IADD IADD3 IADD32I IMAD IMUL IABS IMNMX VIADD VIADDMNMX VIMNMX VIMNMX3 VABSDIFF VABSDIFF4 ISETP IDP IDP4A "
    "LEA LOP LOP3 LOP32I PLOP3 SHF SHL SHR BREV FLO POPC BMSK SGXT PRMT SEL MOV MOV32I CS2R P2R R2P ISCADD XMAD",
    "convert": "F2F F2FP F2I F2IP I2F I2FP I2I I2IP",
    "shuffle": "SHFL REDUX CREDUX",
    "barrier": "BAR SYNCS ERRBAR MEMBAR WARPGROUP UCGABAR_ARV UCGABAR_WAIT",
    "branch": "BRA BRX BRXU JMP JMX CALL RET EXIT BSSY BSYNC BREAK",
}
_CLASS_OF = {opcode: name for name, opcodes in _OPCODES.items() for opcode in opcodes.split()}

CLASSES = (*_OPCODES, "uniform", "other", "total")
"""The classes of instructions, all of them in each count. "uniform" runs once per warp, on the
uniform datapath."""

_INSTRUCTION = re.compile(
    r"^\s+/\*[0-9a-f]{4,}\*/\s+(?P<predicate>@!?U?P\w+\s+)?(?P<opcode>[A-Z]\w*(?:\.\w+)*)\s*(?P<operands>[^;]*);"
)
_LABEL = re.compile(r"^([\w.$]+):")
_TARGET = re.compile(r"\.L_[\w.]+")
_JUMPS = ("BRA", "BRX", "JMP", "JMX")
_ENDS = ("EXIT", "RET", *_JUMPS)


@dataclass(frozen=True)
class _SassInstruction:
    opcode: str
    jumps_to: tuple[str, ...]
    falls_through: bool

    @property
    def root(self) -> str:
        return self.opcode.split(".")[0]


@dataclass(frozen=True)
class _BasicBlock:
    """Instructions that run one after another, and the labels that lead to the first."""

    labels: tuple[str, ...]
    instructions: tuple[_SassInstruction, ...]


def read_resources(log: str, sass: str | None, entry: str) -> Resources:
    """Gather what the tools say about a kernel.

    Args:
        log: what `ptxas -v` printed while assembling it.
        sass: what `nvdisasm -c` printed about the result; None when it was not asked.
        entry: the kernel's name.
    """
    properties = re.search(rf"Function properties for {re.escape(entry)}\n(.*)\n", log)
    frame = properties[1] if properties else ""
    usage = log[properties.end() :] if properties else log
    stack = _number(r"(\d+) bytes stack frame", frame)
    cumulative = _number(r"(\d+) bytes cumulative stack size", usage)
    resources = Resources(
        registers=_number(r"Used (\d+) registers", usage),
        spill_store_bytes=_number(r"(\d+) bytes spill stores", frame),
        spill_load_bytes=_number(r"(\d+) bytes spill loads", frame),
        stack_bytes=stack,
        local_bytes=max(stack, cumulative, _number(r"(\d+) bytes lmem", usage)),
        shared_bytes=_number(r"(\d+) bytes smem", usage),
        barriers=_number(r"used (\d+) barriers", usage),
        instructions={},
        load_widths={},
        store_widths={},
        tensor_shapes={},
        loop_instructions={},
        loop_load_widths={},
        loop_store_widths={},
        loop_tensor_shapes={},
    )
    return resources if sass is None else with_counts(resources, sass)


def with_counts(resources: Resources, sass: str) -> Resources:
    """The resources of a kernel with what `nvdisasm -c` printed of its machine code counted."""
    blocks = [b for b in _blocks(sass) if not _is_padding(b)]
    everything = [i.opcode for b in blocks for i in b.instructions]
    loops = [i.opcode for b in _in_loops(blocks) for i in b.instructions]
    return replace(
        resources,
        instructions=_count(everything),
        load_widths=_widths(everything, ("LDG", "LD", "LDGSTS")),
        store_widths=_widths(everything, ("STG", "ST")),
        tensor_shapes=_tensor_shapes(everything),
        loop_instructions=_count(loops),
        loop_load_widths=_widths(loops, ("LDG", "LD", "LDGSTS")),
        loop_store_widths=_widths(loops, ("STG", "ST")),
        loop_tensor_shapes=_tensor_shapes(loops),
    )


def _number(pattern: str, text: str) -> int:
    match = re.search(pattern, text)
    return int(match[1]) if match else 0


def _class(opcode: str) -> str:
    root = opcode.split(".")[0]
    if root in _CLASS_OF:
        return _CLASS_OF[root]
    return "uniform" if root.startswith("U") or root in ("R2UR", "S2UR", "VOTEU") else "other"


def _count(opcodes: list[str]) -> dict[str, int]:
    return dict.fromkeys(CLASSES, 0) | Counter(map(_class, opcodes)) | {"total": len(opcodes)}


def _widths(opcodes: Iterable[str], roots: tuple[str, ...]) -> dict[int, int]:
    return dict(sorted(Counter(_width(o) for o in opcodes if o.split(".")[0] in roots).items()))


def _width(opcode: str) -> int:
    """Bytes per thread that a memory instruction moves."""
    widths = {"U8": 1, "S8": 1, "U16": 2, "S16": 2, "64": 8, "128": 16, "256": 32}
    return next((widths[m] for m in opcode.split(".")[1:] if m in widths), 4)


def _tensor_shapes(opcodes: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(o for o in opcodes if _class(o) == "tensor").items()))


def _blocks(sass: str) -> list[_BasicBlock]:
    """Split a listing at labels and behind jumps."""
    blocks: list[_BasicBlock] = []
    labels: list[str] = []
    instructions: list[_SassInstruction] = []
    for line in sass.splitlines():
        label = _LABEL.match(line)
        if label and instructions:
            blocks.append(_BasicBlock(tuple(labels), tuple(instructions)))
            labels, instructions = [], []
        if label:
            labels.append(label[1])
        instruction = _instruction(line)
        if instruction is None or instruction.root == "NOP":
            continue
        instructions.append(instruction)
        if instruction.jumps_to or not instruction.falls_through:
            blocks.append(_BasicBlock(tuple(labels), tuple(instructions)))
            labels, instructions = [], []
    return blocks if not instructions else [*blocks, _BasicBlock(tuple(labels), tuple(instructions))]


def _instruction(line: str) -> _SassInstruction | None:
    match = _INSTRUCTION.match(line)
    if match is None:
        return None
    root = match["opcode"].split(".")[0]
    targets = tuple(_TARGET.findall(line)) if root in _JUMPS else ()
    # A branch can also depend on a predicate among its operands: BRA.U UP0, `(.L_x_1).
    conditional = match["predicate"] or re.match(r"!?U?[PR]\w+,", match["operands"])
    return _SassInstruction(match["opcode"], targets, root not in _ENDS or bool(conditional))


def _is_padding(block: _BasicBlock) -> bool:
    """Whether this is the endless jump to itself that closes every kernel."""
    (first, *rest) = block.instructions
    return not rest and first.root == "BRA" and not first.falls_through and first.jumps_to[0] in block.labels


def _in_loops(blocks: list[_BasicBlock]) -> list[_BasicBlock]:
    """The blocks that can be reached from themselves.

    A backward jump alone does not make a loop: rarely taken code is placed at the end and jumps back.
    """
    at = {label: i for i, b in enumerate(blocks) for label in b.labels}
    following = [0] * len(blocks)
    for i, b in enumerate(blocks):
        last = b.instructions[-1]
        targets = [at[t] for t in last.jumps_to if t in at]
        if last.falls_through and i + 1 < len(blocks):
            targets.append(i + 1)
        following[i] = sum(1 << t for t in set(targets))
    # Warshall's transitive closure, each row a bit set.
    for middle in range(len(blocks)):
        for i in range(len(blocks)):
            if following[i] >> middle & 1:
                following[i] |= following[middle]
    return [b for i, b in enumerate(blocks) if following[i] >> i & 1]
