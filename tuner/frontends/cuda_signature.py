"""What the signature of a CUDA C++ kernel says of its pointers, as far as the text tells without a compiler."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tuner.errors import ConfigError


def check_const(code: str, name: str, outputs: Sequence[str]) -> None:
    """Refuse a kernel that takes an output as a pointer to const.

    Args:
        code: the text without comments.
        name: the function's name, without template arguments.
        outputs: the tensors that its last parameters take.

    Raises:
        ConfigError: for the first such output. A signature that cannot be read, or that the text spells in several
            ways, says nothing.
    """
    parameters = _parameters(code, name)
    if parameters is None or len(parameters) < len(outputs):
        return
    for output, parameter in zip(outputs, parameters[len(parameters) - len(outputs) :], strict=True):
        pointee, star, _ = parameter.partition("*")
        if star and "*" not in parameter.replace("*", "", 1) and re.search(r"\bconst\b", pointee):
            raise ConfigError(
                f"{name} takes output {output!r} as '{parameter}', which is const; TensorRT passes inputs first, then "
                "integers, then outputs, so check the order of the parameters"
            )


def _parameters(code: str, name: str) -> tuple[str, ...] | None:
    """The declared parameters as they are spelt; None where there is no signature, or more than one."""
    found = set()
    for match in re.finditer(rf"__global__\b[^;{{}}]*?\b{re.escape(name)}\s*\(", code):
        parts, depth = [""], 0
        for character in code[match.end() :]:
            if depth == 0 and character == ")":
                break
            depth += (character in "(<[{") - (character in ")>]}")
            if character == "," and depth == 0:
                parts.append("")
            else:
                parts[-1] += character
        found.add(tuple(" ".join(p.split()) for p in parts if p.strip()))
    return found.pop() if len(found) == 1 else None
