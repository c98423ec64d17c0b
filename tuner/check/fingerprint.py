"""What a launch executes, and when two of them execute the same."""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Iterator, Sequence
from typing import cast

from tuner.compile.artifact import Artifact
from tuner.kernel.launch import Launch

_EXECUTED = re.compile(r"(\.text|\.nv\.constant[1-9]\d*|\.nv\.global\.init)(?=\.|$)")
"""Sections of a cubin with instructions, and with constants beside them; `.nv.constant0` holds the launch's parameters
and is filled when it starts. What follows is the name of the entry."""


def fingerprint_steps(launches: Sequence[tuple[Artifact, Launch]]) -> str:
    """What a tactic executes, launch after launch, as hexadecimal digits: the `fingerprint` of its only one."""
    each = [fingerprint(artifact, launch) for artifact, launch in launches]
    return each[0] if len(each) == 1 else hashlib.sha256("".join(each).encode()).hexdigest()


def fingerprint(artifact: Artifact, launch: Launch) -> str:
    """What a launch executes, as hexadecimal digits.

    Two tactics have the same exactly when the GPU runs the same machine code in the same blocks on the same
    integers. Machine code knows no names, comments and line numbers, so these never change it, and the order of
    independent lines does so only where the compiler kept that order.
    """
    digest = hashlib.sha256(repr((artifact.block, artifact.shared_bytes, launch.grid, launch.args)).encode())
    for name, data in sorted(_sections(artifact.cubin)):
        section = _EXECUTED.match(name)
        if section:
            digest.update(section[1].encode() + struct.pack("<Q", len(data)) + data)
    return digest.hexdigest()


def grid_of(launch: Launch) -> tuple[int, int, int]:
    """The grid of a launch at fixed sizes."""
    return cast(tuple[int, int, int], tuple(launch.grid))


def integers_of(launch: Launch) -> tuple[int, ...]:
    """The extra integers of a launch at fixed sizes."""
    return cast(tuple[int, ...], tuple(launch.args))


def _sections(elf: bytes) -> Iterator[tuple[str, bytes]]:
    """Name and content of each section of a 64-bit little-endian ELF file ("System V ABI", chapter 4)."""
    (table,) = struct.unpack_from("<Q", elf, 0x28)
    size, count, names = struct.unpack_from("<HHH", elf, 0x3A)
    headers = [struct.unpack_from("<IIQQQQ", elf, table + i * size) for i in range(count)]
    strings = headers[names][4]
    for name, _, _, _, offset, length in headers:
        start = strings + name
        yield elf[start : elf.index(b"\0", start)].decode(), elf[offset : offset + length]
