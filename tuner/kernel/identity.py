"""What identifies a kernel: the hash that its cache entries and verdicts are kept under."""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING

from tuner.frontends.python_source import source_text

if TYPE_CHECKING:
    from tuner.kernel.kernel import Kernel

VERSION = 2
"""Of how the hash is made. 1: values by their type where they were no plain ones; sources of modules by name."""

_HASH = re.compile(r"(?:(\d+):)?[0-9a-f]{64}")


def kernel_hash(kernel: Kernel) -> str:
    """The identity of what a kernel computes and how it is launched: `VERSION`, a colon and hexadecimal digits.

    It covers the source and the launch with everything they refer to, and the tensors. It covers neither
    the space, the constraints and the default, nor the reference, nor names of files, nor which other
    data types a dtype variable may stand for.

    Raises:
        ConfigError: when the source of a function, or something that it refers to, cannot be read.
    """
    tensors = [[[name, t.dtype, *t.dims] for name, t in group.items()] for group in (kernel.inputs, kernel.outputs)]
    parts = [_text(kernel), source_text(kernel.launch), tensors]
    if kernel.constants is not None:
        parts.append(source_text(kernel.constants))
    return f"{VERSION}:{hashlib.sha256(json.dumps(parts).encode()).hexdigest()}"


def reference_hash(kernel: Kernel) -> str:
    """The identity of what a kernel's results are held against: the reference, and how far they may be from it.

    Raises:
        ConfigError: when the source of a function, or something that it refers to, cannot be read.
    """
    tolerances = {name: source_text(t) if callable(t) else repr(t) for name, t in kernel.tolerances.items()}
    positions = [t.positions for t in kernel.inputs.values()]
    parts = [source_text(kernel.reference), dict(sorted(tolerances.items())), positions]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _text(kernel: Kernel) -> str:
    """What identifies the source, or all alternatives."""
    if kernel.alternatives:
        return json.dumps({name: kernel_hash(k) for name, k in kernel.alternatives.items()})
    return kernel.code.text()


def made_before(source: str, now: str) -> bool:
    """Whether a kernel hash was made by an older version of `kernel_hash` than another, so that they do not compare."""
    versions = [int(m[1] or 1) if (m := _HASH.fullmatch(s)) else None for s in (source, now)]
    return versions[0] is not None and versions[1] is not None and versions[0] < versions[1]
