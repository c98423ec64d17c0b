"""What a child process may take."""

from __future__ import annotations

import resource
from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """What a child may take.

    Attributes:
        memory_bytes: private writable memory (RLIMIT_DATA) of it and of each program it runs; None: no limit of
            its own. Address space (RLIMIT_AS) would also count the mapped libraries and what allocators reserve
            for every thread, and so vary with the number of cores.
        file_bytes: the largest file it may write; what it prints is kept in memory until the next task. None: no
            limit of its own.
    """

    memory_bytes: int | None = None
    file_bytes: int | None = None


UNLIMITED = Limits()


def keep_within(limits: Limits) -> None:
    """Set limits on this process, which every program that it runs inherits. None of them leaves a core file."""
    if limits.memory_bytes is not None:
        _lower(resource.RLIMIT_DATA, limits.memory_bytes)
    if limits.file_bytes is not None:
        _lower(resource.RLIMIT_FSIZE, limits.file_bytes)
    _lower(resource.RLIMIT_CORE, 0)


def _lower(what: int, value: int) -> None:
    """Lower a limit of this process and its children, unless it is lower already."""
    _, hard = resource.getrlimit(what)
    lowest = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(what, (lowest, lowest))
