"""What identifies a kernel: the hash that its cache entries and verdicts are kept under."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from tuner.frontends.python_source import source_text

if TYPE_CHECKING:
    from tuner.kernel.kernel import Kernel


def kernel_hash(kernel: Kernel) -> str:
    """The identity of what a kernel computes and how it is launched, as hexadecimal digits.

    It covers the source and the launch with everything they call, and the tensors. It covers neither
    the space, the constraints and the default, nor the reference, nor names of files, nor which other
    data types a dtype variable may stand for.

    Raises:
        ConfigError: when the source of a function cannot be read.
    """
    tensors = [[[name, t.dtype, *t.dims] for name, t in group.items()] for group in (kernel.inputs, kernel.outputs)]
    parts = [_text(kernel), source_text(kernel.launch), tensors]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _text(kernel: Kernel) -> str:
    """What identifies the source, or all alternatives."""
    if kernel.alternatives:
        return json.dumps({name: kernel_hash(k) for name, k in kernel.alternatives.items()})
    return kernel.code.text()
