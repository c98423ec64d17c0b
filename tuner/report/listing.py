"""The code that a job left: its PTX, and the machine code in its cubin, disassembled."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from tuner.compile.artifact import Resources
from tuner.compile.resources import read_resources
from tuner.errors import StorageError
from tuner.store.files import recorded_path
from tuner.store.results import SUMMARY, CodeFiles

_LONGEST = 400_000
"""Characters of a listing that a page has room for."""


@dataclass(frozen=True)
class Listing:
    """What can be read of a tactic's code.

    Attributes:
        texts: "PTX" and "SASS", those that are there.
        counts: instructions as counted in the SASS; the rest of it is empty. None without SASS.
        missing: why something is not there, a sentence each.
    """

    texts: dict[str, str]
    counts: Resources | None
    missing: tuple[str, ...]


def read_listing(folder: Path, code: CodeFiles) -> Listing:
    """Read the files that a record names. What is missing is said, not raised: the rest of a report stands."""
    texts: dict[str, str] = {}
    missing: list[str] = []
    counts = None
    try:
        texts["PTX"] = _cut(recorded_path(folder, code.ptx, SUMMARY).read_text())
    except (OSError, ValueError, StorageError) as e:
        missing.append(f"The PTX is not shown: {code.ptx} cannot be read ({e}).")
    try:
        sass = _disassemble(recorded_path(folder, code.cubin, SUMMARY))
        texts["SASS"], counts = _cut(sass), read_resources("", sass, code.entry)
    except (OSError, ValueError, StorageError, subprocess.SubprocessError) as e:
        missing.append(f"The SASS is not shown: {code.cubin} cannot be disassembled ({e}).")
    return Listing(texts, counts, tuple(missing))


def _disassemble(cubin: Path) -> str:
    from triton import knobs

    cubin.stat()  # says what is wrong with a file that is not there
    done = subprocess.run([knobs.nvidia.nvdisasm.path, "-c", str(cubin)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError((done.stderr or done.stdout).strip().splitlines()[0])
    return done.stdout


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}\n… {len(text) - _LONGEST} more characters"
