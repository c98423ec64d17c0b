"""What identifies a kernel: the hash that its cache entries and verdicts are kept under."""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING

from tuner.frontends.python_source import source_text
from tuner.kernel.alias import Alias
from tuner.kernel.tensor import Tensor
from tuner.kernel.values import ValueRule

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
    # How large scratch memory is that no parameter takes follows from the space.
    outputs = {n: t for n, t in kernel.outputs.items() if not t.scratch or _takes(kernel, n)}
    tensors = [[[name, t.dtype, *t.dims, *_kind(t)] for name, t in group.items()] for group in (kernel.inputs, outputs)]
    parts = [_text(kernel), source_text(kernel.launch), tensors]
    if kernel.constants is not None:
        parts.append(source_text(kernel.constants))
    return f"{VERSION}:{hashlib.sha256(json.dumps(parts).encode()).hexdigest()}"


def reference_hash(kernel: Kernel) -> str:
    """The identity of what a kernel's results are held against.

    That is the reference, how far they may be from it, and the rules of the inputs' values.

    Raises:
        ConfigError: when the source of a function, or something that it refers to, cannot be read.
    """
    tolerances = {name: source_text(t) if callable(t) else repr(t) for name, t in kernel.tolerances.items()}
    parts = [source_text(kernel.reference), dict(sorted(tolerances.items())), drawn_text(kernel)]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def drawn_text(kernel: Kernel) -> list[str]:
    """What identifies the values that each input is given.

    Raises:
        ConfigError: when the source of a function, or something that it refers to, cannot be read.
    """
    values = [(t, t.values) for t in kernel.inputs.values()]
    return [t.positions if v is None else str(v) if isinstance(v, ValueRule) else source_text(v) for t, v in values]


def _text(kernel: Kernel) -> str:
    """What identifies the source, or all alternatives, or all launches in order."""
    if kernel.alternatives:
        return json.dumps({name: kernel_hash(k) for name, k in kernel.alternatives.items()})
    if kernel.parts:
        return json.dumps([[p.name, p.inputs, p.outputs, kernel_hash(p.kernel)] for p in kernel.parts])
    return kernel.code.text()


def _takes(kernel: Kernel, output: str) -> bool:
    """Whether the code, or that of every alternative, has a parameter for an output."""
    return all(output in k.passed[1].values() for k in kernel.alternatives.values() or (kernel,))


def _kind(tensor: Tensor) -> list[str]:
    """What a tensor holds when the kernel begins, and whether the code sees it, where that is not as usual."""
    alias = [f"alias of {tensor.input}"] if isinstance(tensor, Alias) else []
    start = [] if tensor.start is None else [f"starts at {tensor.start!r}"]
    return [*alias, *start, *(["unused"] if tensor.unused else [])]


def made_before(source: str, now: str) -> bool:
    """Whether a kernel hash was made by an older version of `kernel_hash` than another, so that they do not compare."""
    versions = [int(m[1] or 1) if (m := _HASH.fullmatch(s)) else None for s in (source, now)]
    return versions[0] is not None and versions[1] is not None and versions[0] < versions[1]
