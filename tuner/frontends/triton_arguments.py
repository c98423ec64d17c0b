"""What a Triton function says of its run-time parameters: their types, and which Triton specializes."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from typing import Any

from tuner.errors import ConfigError

_NAMES = {"u1": "int1", "bf16": "bfloat16"}


_ASKED = re.compile(r"""(?:\[["'](\w+)["']\]|\b(\w+))\s*(?:\bis(?:\s+not)?\b|[=!]=)\s*None\b""")


def parameters_of(jit: Any) -> list[Any]:
    """Triton's description of each parameter; an interpreted function has none of its own."""
    from triton.runtime.jit import KernelParam

    found = getattr(jit, "params", None)
    if found is None:
        found = [KernelParam(i, p, False, False) for i, p in enumerate(inspect.signature(jit.fn).parameters.values())]
    return list(found)


def annotated(parameter: Any) -> str:
    """The type that a parameter is annotated with, such as "i64"; "" where Triton does not know it as one."""
    return str(parameter.annotation_type)


def check_scalars(jit: Any, names: Sequence[str]) -> None:
    """Refuse run-time parameters that a launch cannot pass: it passes integers, and pointers.

    Args:
        jit: the function.
        names: the parameters that take extra integers.

    Raises:
        ConfigError: for the first parameter that is declared as something else.
    """
    for parameter in parameters_of(jit):
        kind = annotated(parameter)
        if parameter.name in names and kind.startswith(("fp", "bf")):
            raise ConfigError(
                f"run-time parameter {parameter.name!r} is annotated {_spelt(kind)}; TensorRT's launch passes no "
                "floats: declare an attribute of that name, which is compiled in, or pass it in a tensor"
            )


def asked_for_none(jit: Any, heuristics: Mapping[str, Any]) -> frozenset[str]:
    """Return what the code or a heuristic compares with None, as ``bias is not None`` or ``args["bias"] is None``."""
    found: set[str] = set()
    for function in (jit.fn, *heuristics.values()):
        try:
            text = inspect.getsource(function)
        except (OSError, TypeError):  # whoever identifies the source says so
            continue
        found |= {a or b for a, b in _ASKED.findall(text)}
    return frozenset(found)


def unspecialized(jit: Any) -> tuple[frozenset[str], frozenset[str]]:
    """Return the parameters that Triton does not compile in when they are 1, and those it takes as unaligned."""
    own = jit.params
    return (
        frozenset(p.name for p in own if p.do_not_specialize),
        frozenset(p.name for p in own if p.do_not_specialize or p.do_not_specialize_on_alignment),
    )


def long_name(dtype: str) -> str:
    """The name of a data type in `tl.dtype`: "int64" for "i64"; those of floats are ours."""
    return "int1" if dtype == "u1" else re.sub(r"^(u?)i?(\d+)$", r"\1int\2", dtype)


def _spelt(kind: str) -> str:
    """A type as code names it: `tl.int64` for "i64"."""
    for short, long in (("i", "int"), ("u", "uint"), ("fp", "float")):
        if kind.startswith(short) and kind[len(short) :].isdigit():
            return "tl." + _NAMES.get(kind, long + kind[len(short) :])
    return "tl." + _NAMES.get(kind, kind)
