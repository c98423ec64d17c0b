"""What the signature of a CUDA C++ kernel says of its pointers, as far as the text tells without a compiler."""

from __future__ import annotations

import re
from collections.abc import Mapping

from tuner.errors import ConfigError

_NAMED = re.compile(r"[\w>*&\]]\s*\b([A-Za-z_]\w*)(?:\s*\[[^\]]*\])?$")
_TYPES = frozenset({"int", "unsigned", "signed", "long", "short", "char", "float", "double", "bool", "const", "void"})


def read_parameters(code: str, name: str) -> dict[str, str] | None:
    """Return the parameters of a kernel by name, each as it is spelt.

    Args:
        code: the text without comments.
        name: the function's name, without template arguments.

    Returns:
        None where there is no signature, where the text spells it in several ways, or where one has no name.
    """
    parameters = _parameters(code, name) or ()
    names = [m[1] if (m := _NAMED.search(p)) else "" for p in parameters]
    if not names or "" in names or not _TYPES.isdisjoint(names) or len(set(names)) < len(names):
        return None
    return dict(zip(names, parameters, strict=True))


def check_const(parameters: Mapping[str, str], name: str, outputs: Mapping[str, str]) -> None:
    """Refuse a kernel that takes an output as a pointer to const.

    Args:
        parameters: what `read_parameters` found.
        name: the function's name.
        outputs: the tensors, each with the parameter that takes it.

    Raises:
        ConfigError: for the first such output.
    """
    for output, taker in outputs.items():
        parameter = parameters[taker]
        pointee, star, _ = parameter.partition("*")
        if star and "*" not in parameter.replace("*", "", 1) and re.search(r"\bconst\b", pointee):
            raise ConfigError(
                f"{name} takes output {output!r} as '{parameter}', which is const; name each tensor as the parameter "
                "that takes it, or have all inputs first and all outputs last"
            )


def _parameters(code: str, name: str) -> tuple[str, ...] | None:
    """The declared parameters as they are spelt; None where there is no signature, or more than one."""
    found = set()
    for match in re.finditer(rf"__global__\b[^;{{}}]*?\b{re.escape(name)}\s*\(", code):
        parts = split(code[match.end() :])
        found.add(tuple(" ".join(p.split()) for p in parts if p.strip()))
    return found.pop() if len(found) == 1 else None


def split(text: str) -> list[str]:
    """The parts between commas that are in no brackets, up to a parenthesis that closes more than was opened."""
    parts, depth = [""], 0
    for character in text:
        if depth == 0 and character == ")":
            break
        depth += (character in "(<[{") - (character in ")>]}")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return parts
