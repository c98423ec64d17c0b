"""What a Triton function says of its run-time parameters: their types, and which Triton specializes."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from typing import Any

from tuner.errors import ConfigError

_NAMES = {"u1": "int1", "bf16": "bfloat16"}


def check_scalars(function: Any, names: Sequence[str], attributes: Mapping[str, Any]) -> None:
    """Refuse run-time parameters that a launch cannot pass: it passes 32-bit signed integers, and pointers.

    Args:
        function: the Python function.
        names: the parameters that take extra integers.
        attributes: the kernel's, whose values tell which of them would be floats.

    Raises:
        ConfigError: for the first parameter that is declared as, or named as, something else.
    """
    from triton.runtime.jit import KernelParam

    for name in names:
        # Triton's own reading: what it does not know as a type, it ignores.
        kind = KernelParam(0, inspect.signature(function).parameters[name], False, False).annotation_type
        if kind.startswith(("fp", "bf")) or (not kind and type(attributes.get(name)) is float):
            declared = f"is annotated {_spelt(kind)}" if kind else "takes the float attribute of that name"
            raise ConfigError(
                f"run-time parameter {name!r} {declared}; TensorRT's launch passes no floats: annotate it "
                "tl.constexpr, so that an attribute is compiled in, or pass it in a tensor"
            )
        if kind not in ("", "i32") and not kind.startswith("*"):
            raise ConfigError(
                f"run-time parameter {name!r} is annotated {_spelt(kind)}; TensorRT's launch passes 32-bit signed "
                f"integers: leave the annotation out and write {name}.to({_spelt(kind)}) in the code, or annotate it "
                "tl.constexpr"
            )


def unspecialized(jit: Any) -> tuple[frozenset[str], frozenset[str]]:
    """Return the parameters that Triton does not compile in when they are 1, and those it takes as unaligned."""
    own = jit.params
    return (
        frozenset(p.name for p in own if p.do_not_specialize),
        frozenset(p.name for p in own if p.do_not_specialize or p.do_not_specialize_on_alignment),
    )


def long_name(dtype: str) -> str:
    """The name of a data type in `tl.dtype`: "int64" for "i64"; those of floats are ours."""
    return re.sub(r"^(u?)i?(\d+)$", r"\1int\2", dtype)


def _spelt(kind: str) -> str:
    """A type as code names it: `tl.int64` for "i64"."""
    for short, long in (("i", "int"), ("u", "uint"), ("fp", "float")):
        if kind.startswith(short) and kind[len(short) :].isdigit():
            return "tl." + _NAMES.get(kind, long + kind[len(short) :])
    return "tl." + _NAMES.get(kind, kind)
