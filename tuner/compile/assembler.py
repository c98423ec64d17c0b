"""Assemble PTX into machine code with a compiler's own tools, and learn what it takes."""

from __future__ import annotations

import functools
import re
import struct
import subprocess
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from tuner.compile.artifact import Artifact, Resources
from tuner.compile.ptx import Module
from tuner.compile.resources import read_resources, with_counts
from tuner.errors import UnavailableError
from tuner.gpu.catalog import OLDEST_PTX, SHARED_LIMIT_KIB, architecture_name, parse_architecture
from tuner.gpu.target import Target
from tuner.outcome import FailureClass, TacticError


@dataclass(frozen=True)
class Assembler:
    """A ptxas and what it is called with.

    Attributes:
        path: the program.
        arguments: all but the architecture, the input and the output; "-v" among them.
        disassembler: the nvdisasm that can read what it writes; None: instructions are not counted.
    """

    path: str
    arguments: tuple[str, ...]
    disassembler: str | None


def assemble(module: Module, assembler: Assembler) -> tuple[bytes, Resources]:
    """Machine code for the module's target, and what its only entry takes.

    Raises:
        TacticError: when a tool fails.
    """
    with tempfile.TemporaryDirectory(prefix="tuner-") as folder:
        Path(folder, "kernel.ptx").write_text(module.text)
        gpu = f"--gpu-name={module.target}"
        log = _run(folder, assembler.path, *assembler.arguments, gpu, "kernel.ptx", "-o", "kernel.cubin").stderr
        nvdisasm = assembler.disassembler
        cubin = Path(folder, "kernel.cubin").read_bytes()
        if not is_whole(cubin):
            raise TacticError(
                FailureClass.COMPILE,
                f"ptxas left {len(cubin)} bytes that are no whole cubin; see that {tempfile.gettempdir()} has room",
                lasting=False,
            )
        sass = None if nvdisasm is None else _run(folder, nvdisasm, "-c", "kernel.cubin").stdout
        return cubin, read_resources(log, sass, module.entry.name)


def disassembled(artifact: Artifact) -> Artifact:
    """The artifact with all that its machine code tells, where so far only what the assembler prints was read.

    Where no disassembler is at hand, or it fails, the artifact is returned as it is.
    """
    named = parse_architecture(artifact.target)
    if artifact.resources.instructions or named is None:
        return artifact
    try:
        with tempfile.TemporaryDirectory(prefix="tuner-") as folder:
            Path(folder, "kernel.cubin").write_bytes(artifact.cubin)
            sass = _run(folder, ptxas(Target(named.capability)).disassembler, "-c", "kernel.cubin").stdout
    except (TacticError, OSError):
        return artifact
    return replace(artifact, resources=with_counts(artifact.resources, sass))


def is_whole(elf: bytes) -> bool:
    """Tell whether a 64-bit little-endian ELF file has all that its headers name.

    On a full disk ptxas writes what fits and reports success.
    """
    if len(elf) < _ELF_HEADER.size or elf[:6] != b"\x7fELF\x02\x01":
        return False
    header = _ELF_HEADER.unpack_from(elf)
    tables = [(header[i], header[j] * header[k]) for i, j, k in ((5, 9, 10), (6, 11, 12))]  # programs, sections
    if any(at + size > len(elf) for at, size in tables):
        return False
    sections = [_ELF_SECTION.unpack_from(elf, header[6] + i * header[11]) for i in range(header[12])]
    return all(s[1] == _NOBITS or s[4] + s[5] <= len(elf) for s in sections)


_ELF_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_ELF_SECTION = struct.Struct("<IIQQQQIIQQ")
_NOBITS = 8
"""The type of a section that takes no place in the file."""


def assembler_version(path: str) -> str:
    """The full version of a ptxas, for example "12.8.93"."""
    version = re.search(r"V(\d[\d.]*)", _run(".", path, "--version").stdout)
    return version[1] if version else "unknown"


def check_shared_memory(size: int, capability: tuple[int, int]) -> None:
    """Refuse a block that asks for more shared memory, in bytes, than a device gives to one block.

    Raises:
        TacticError: when the limit is known and exceeded.
    """
    limit = SHARED_LIMIT_KIB.get(capability)
    if limit is not None and size > limit * 1024:
        raise TacticError(
            FailureClass.COMPILE,
            f"needs {size} bytes of shared memory; a block on compute capability {capability[0]}.{capability[1]} "
            f"may use {limit * 1024}: use smaller tiles or fewer stages",
        )


def _run(folder: str, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a tool.

    Raises:
        TacticError: when it fails; lasting only where it says what is wrong with the source.
        MemoryError: when it says that it had too little memory.
        OSError: when it cannot be started.
    """
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        printed = (done.stderr + done.stdout).strip()
        if "Memory allocation failure" in printed:
            raise MemoryError
        cause = re.search(r"^.*(?:error|fatal)\s*:\s*(.*)$", printed, re.MULTILINE)
        what = cause[1] if cause else f"exit status {done.returncode}"
        message = f"{Path(command[0]).name}: {what}\n{printed}"
        raise TacticError(FailureClass.COMPILE, message, lasting=_is_verdict(done.returncode, printed))
    return done


_MACHINE = re.compile(r"could not open|cannot open|can't open|not readable|no space|input/output|i/o error", re.I)
"""What tools say about files, not about the source."""


def _is_verdict(status: int, printed: str) -> bool:
    """Whether a tool that failed has judged the source.

    A signal (a negative status, or one above 128 from a shell) may come from outside, for example when the
    machine runs out of memory; and what has no error to tell did not get as far as the source.
    """
    told = re.search(r"^ptxas\b.*\b(?:error|fatal)\s*:", printed, re.MULTILINE)
    return status > 0 and status not in _SIGNALLED and told is not None and not _MACHINE.search(printed)


_SIGNALLED = range(129, 129 + 64)
"""With which status a shell ends whose command was ended by a signal."""


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
    return _ptxas(architecture_name(target.capability).number)


def newest_ptx(target: Target) -> tuple[int, int]:
    """The newest PTX version that both the assembler and the driver take.

    Raises:
        UnavailableError: when the driver is too old for the device.
    """
    newest = ptxas(target).newest_ptx
    if target.max_ptx is None or target.max_ptx >= newest:
        return newest
    oldest = OLDEST_PTX.get(target.capability)
    if oldest is not None and target.max_ptx < oldest:
        raise UnavailableError(
            f"compute capability {_dotted(target.capability)} needs PTX {_dotted(oldest)}, and the driver takes "
            f"{_dotted(target.max_ptx)} at most; update the driver"
        )
    return target.max_ptx


@functools.cache
def _ptxas(arch: int) -> Ptxas:
    from triton import knobs
    from triton.backends.nvidia.compiler import get_ptxas, ptx_get_version

    tool = get_ptxas(arch)
    major, minor = divmod(ptx_get_version(tool.version), 10)
    return Ptxas(tool.path, assembler_version(tool.path), (major, minor), knobs.nvidia.nvdisasm.path)


def _dotted(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"
