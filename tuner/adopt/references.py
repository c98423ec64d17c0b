"""The definition of a reference, as text: the function itself on Triton's interpreter, or a line to fill in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tuner.adopt.call import GivenTensor, HostCall
from tuner.adopt.found import INPUT, OUTPUT, Found
from tuner.adopt.tape import DataType


def reference(found: Found, call: HostCall, parameters: tuple[str, ...], owner: str, with_torch: bool) -> str:
    """Write the function `reference` of a declaration.

    Args:
        found: what is declared.
        call: what the function was called with.
        parameters: of the function.
        owner: the function, as the file imports it.
        with_torch: whether torch is installed, which running the function takes.
    """
    memory = {argument: name for name, argument in found.arguments.items()}
    takes = [t.name for t in found.of(INPUT)] + list(found.attributes)
    results = [t.result for t in found.of(OUTPUT)]
    head = f"def reference({', '.join(takes)}):"
    why = ""
    if not with_torch:
        why = "torch is not installed"
    elif any(r is None for r in results):
        why = "it does not return all of them"
    elif any(t.name not in memory.values() for t in found.of(INPUT)):
        why = "it makes an input itself"
    if why:
        names = ", ".join(t.name for t in found.of(OUTPUT))
        return (
            f"{head}\n    # TODO: {names} in numpy; the arguments are float64. The function itself cannot serve:\n"
            f"    # {why}.\n"
            f'    raise NotImplementedError("fill in the reference of {names}")'
        )
    arguments = []
    for name, value in call.bound(parameters).items():
        text = _value(name, value, found, memory)
        positional = name in parameters[: len(call.arguments)] or name.startswith("argument")
        arguments.append(text if positional else f"{name}={text}")
    spelt = ", ".join(arguments)
    chosen = f"({', '.join(map(str, results))},)" if len(results) > 1 else str(results[0])
    return (
        "# TODO: numpy would be faster, and say what is meant: this is the function itself, on Triton's interpreter,\n"
        f"# in float32.\nHOST = on_interpreter({owner}, results={chosen})\n\n\n{head}\n    return HOST({spelt})"
    )


def _value(name: str, value: Any, found: Found, memory: Mapping[str, str]) -> str:
    if isinstance(value, GivenTensor):
        return memory.get(name, "None")
    if name in found.scalars:
        return found.scalars[name]
    if isinstance(value, DataType):
        return f'DType("{value.name}")'
    if isinstance(value, list | tuple):
        inner = ", ".join(_value(f"{name}_{i}", v, found, memory) for i, v in enumerate(value))
        return f"[{inner}]" if isinstance(value, list) else f"({inner},)"
    return repr(value)
