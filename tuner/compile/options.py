"""What a compile may take."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from msgspec import Meta, Struct

Count: TypeAlias = Annotated[int, Meta(ge=1, le=10**9)]
Seconds: TypeAlias = Annotated[float, Meta(gt=0, le=10**9)]


class CompileOptions(Struct, frozen=True, forbid_unknown_fields=True):
    """What a compile may take.

    Attributes:
        timeout_s: seconds for one compile.
        memory_mb: megabytes of private memory for one compile process.
        workers: compile processes; 0: one per core.
    """

    timeout_s: Seconds = 60.0
    memory_mb: Count = 8192
    workers: Annotated[int, Meta(ge=0, le=1024)] = 0
