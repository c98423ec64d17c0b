"""A function around a Triton function, for arguments that neither a launch nor a constant can be.

TensorRT passes pointers and 32-bit integers; a constant is a Python number in the code. A run-time float or a wide
integer is neither: the author's program has a scalar of a certain type. The entry is launched in place of the
function, makes such scalars, and calls it; it costs no instruction, since the call is inlined.
"""

from __future__ import annotations

import importlib.util
import inspect
import tempfile
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from tuner.frontends.triton_arguments import annotated, long_name, parameters_of


def scalar_types(jit: Any, constants: Mapping[str, Any], integers: Sequence[str]) -> dict[str, str]:
    """The type of each parameter that arrives as a scalar of a type of its own, as Triton's launcher would pass it.

    Args:
        jit: the function.
        constants: what is compiled in, by name.
        integers: the parameters that take 32-bit integers of the launch.

    Returns:
        Those parameters with the names of their types, such as "fp32" and "i64".
    """
    found = {}
    for parameter in parameters_of(jit):
        name, kind = parameter.name, annotated(parameter)
        if parameter.is_constexpr or (name not in constants and name not in integers):
            continue
        if name in integers:
            if kind not in ("", "i32"):
                found[name] = kind
        elif isinstance(value := constants[name], int | float):
            if type(value) is int and value == 1 and not kind and not parameter.do_not_specialize:
                continue  # which the launcher makes a constant
            found[name] = kind or _natural(value)
    return found


def _natural(value: float) -> str:
    """The type that the launcher gives a number."""
    if isinstance(value, bool):
        return "u1"
    if isinstance(value, float):
        return "fp32"
    return "i32" if -(2**31) <= value < 2**31 else "i64" if value < 2**63 else "u64"


def extent_names(parameter: str, rank: int) -> tuple[str, ...]:
    """The parameters of an entry that take the extents of a tensor, which a descriptor is made of."""
    return tuple(f"{parameter}_extent_{axis}" for axis in range(rank))


def make_entry(
    jit: Any,
    constants: Mapping[str, Any],
    types: Mapping[str, str],
    blocks: Mapping[str, tuple[str | int, ...]],
) -> Any:
    """Return a function under `@triton.jit` with the same parameters, those in `constants` as constants of its own.

    Behind them come the extents of the tensors in `blocks`, of one after the other.

    Args:
        jit: the function to call.
        constants: what is compiled in, by name.
        types: what `scalar_types` found.
        blocks: the block shape of each parameter that is a descriptor: numbers and names of constants.
    """
    parameters = list(inspect.signature(jit.fn).parameters)
    extents = [name for p, block in blocks.items() for name in extent_names(p, len(block))]
    declared = ", ".join([*(f"{p}: _tl.constexpr" if p in constants else p for p in parameters), *extents])
    passed = ", ".join(
        _descriptor(p, blocks[p]) if p in blocks else _made(p, types.get(p), p in constants) for p in parameters
    )
    text = (
        "import triton\nimport triton.language as _tl\n\n\n"
        f"@triton.jit\ndef {jit.fn.__name__}({declared}):\n    _inner({passed})\n"
    )
    return _load(text, jit)


def _made(name: str, kind: str | None, constant: bool) -> str:
    """The argument for a parameter of the function."""
    if kind is None:
        return name
    dtype = f'_tl.dtype("{long_name(kind)}")'
    return f"_tl.full((), {name}, {dtype})" if constant else f"{name}.to({dtype})"


def _descriptor(name: str, block: tuple[str | int, ...]) -> str:
    """A descriptor of a row-major tensor, made in the kernel in place of the host's."""
    extents = extent_names(name, len(block))
    strides = [" * ".join([f"_tl.cast({e}, _tl.int64)" for e in extents[i + 1 :]]) for i in range(len(block) - 1)]
    shape, shown = ", ".join(extents), ", ".join(map(str, block))
    return f"_tl.make_tensor_descriptor({name}, [{shape}], [{', '.join([*strides, '1'])}], [{shown}])"


@lru_cache(maxsize=256)
def _load(text: str, jit: Any) -> Any:
    """The function that a text defines. Triton reads functions from files alone, and this one at once."""
    with tempfile.TemporaryDirectory(prefix="tuner-") as folder:
        path = Path(folder, "entry.py")
        path.write_text(text)
        spec = importlib.util.spec_from_file_location("tuner_entry", path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        module._inner = jit  # type: ignore[attr-defined]
        spec.loader.exec_module(module)
        return getattr(module, jit.fn.__name__)
