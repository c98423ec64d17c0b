"""Assemble PTX into machine code with a compiler's own tools, and learn what it takes."""

from __future__ import annotations

import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tuner.compile.artifact import CompileError, Resources
from tuner.compile.ptx import Module
from tuner.compile.resources import read_resources
from tuner.trial import FailureClass

SHARED_LIMIT_KIB = {
    (7, 5): 64,
    (8, 0): 163,
    (8, 6): 99,
    (8, 7): 163,
    (8, 9): 99,
    (9, 0): 227,
    (10, 0): 227,
    (10, 3): 227,
    (12, 0): 99,
    (12, 1): 99,
}
"""Shared memory one block may use, in KiB, by compute capability ("CUDA C++ Programming Guide",
chapter "Compute Capabilities")."""


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
        CompileError: when a tool fails.
    """
    with tempfile.TemporaryDirectory(prefix="tuner-") as folder:
        Path(folder, "kernel.ptx").write_text(module.text)
        gpu = f"--gpu-name={module.target}"
        log = _run(folder, assembler.path, *assembler.arguments, gpu, "kernel.ptx", "-o", "kernel.cubin").stderr
        nvdisasm = assembler.disassembler
        sass = None if nvdisasm is None else _run(folder, nvdisasm, "-c", "kernel.cubin").stdout
        return Path(folder, "kernel.cubin").read_bytes(), read_resources(log, sass, module.entry.name)


def assembler_version(path: str) -> str:
    """The full version of a ptxas, for example "12.8.93"."""
    version = re.search(r"V(\d[\d.]*)", _run(".", path, "--version").stdout)
    return version[1] if version else "unknown"


def check_shared_memory(size: int, capability: tuple[int, int]) -> None:
    """Refuse a block that asks for more shared memory, in bytes, than a device gives to one block.

    Raises:
        CompileError: when the limit is known and exceeded.
    """
    limit = SHARED_LIMIT_KIB.get(capability)
    if limit is not None and size > limit * 1024:
        raise CompileError(
            FailureClass.COMPILE,
            f"needs {size} bytes of shared memory; a block on compute capability {capability[0]}.{capability[1]} "
            f"may use {limit * 1024}: use smaller tiles or fewer stages",
        )


def _run(folder: str, *command: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        printed = (done.stderr + done.stdout).strip()
        if "Memory allocation failure" in printed:
            raise MemoryError
        cause = re.search(r"^.*(?:error|fatal)\s*:\s*(.*)$", printed, re.MULTILINE)
        what = cause[1] if cause else f"exit status {done.returncode}"
        # A signal may come from outside, for example when the machine runs out of memory.
        raise CompileError(FailureClass.COMPILE, f"{Path(command[0]).name}: {what}\n{printed}", done.returncode > 0)
    return done
