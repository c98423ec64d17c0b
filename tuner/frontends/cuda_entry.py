"""An entry of our own for a CUDA C++ kernel some of whose parameters TensorRT cannot pass.

Extra arguments are 32-bit integers. A float by value, a flag, a pointer that is absent and a small structure are
compiled in: the kernel becomes a function of the device, inlined into an entry that takes what is passed, in the
launch's order, and hands over constants for the rest. The kernel's own text stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tuner.frontends.cuda_signature import read_parameters, split

ENTRY = "tuner_entry"

DEVICE_ONLY = (
    "#undef __global__",
    "#define __global__ __device__ __forceinline__",
    "#undef __launch_bounds__",
    "#define __launch_bounds__(...)",
)
"""What comes before the kernel's text, so that it is a function that can be called."""

_STRUCT = r"\bstruct\s+(?:__align__\s*\([^)]*\)\s*|alignas\s*\([^)]*\)\s*)?{name}\s*{{([^{{}}()]*)}}"
_MEMBER = re.compile(r"\s*(.*[\w>*&]\s*[\s*&])(\w+)\s*(?:=[^,]*)?$", re.DOTALL)


@dataclass(frozen=True)
class Parameters:
    """What a kernel takes, with structures by value taken apart.

    Attributes:
        own: the kernel's parameters by name, each as it is spelt.
        members: for each that is a structure, its type and the names of its members.
        flat: all that can be passed or compiled in, by name, as it is spelt: members in the place of structures.
    """

    own: Mapping[str, str]
    members: Mapping[str, tuple[str, tuple[str, ...]]]
    flat: Mapping[str, str]


def parameters_of(code: str, name: str) -> Parameters | None:
    """Read what a kernel takes.

    Args:
        code: its text and that of the headers, without comments.
        name: the function's name, without template arguments.

    Returns:
        None where the text does not tell.
    """
    own = read_parameters(code, name)
    if own is None:
        return None
    members: dict[str, tuple[str, tuple[str, ...]]] = {}
    flat: dict[str, str] = {}
    for parameter, spelt in own.items():
        kind = re.sub(rf"\bconst\b|\b{parameter}$", "", spelt).strip()
        fields = _fields(code, kind)
        if fields and flat.keys().isdisjoint(fields) and own.keys().isdisjoint(fields):
            members[parameter] = kind, tuple(fields)
            flat |= fields
        else:
            flat[parameter] = spelt
    return Parameters(own, members, flat)


def _fields(code: str, kind: str) -> dict[str, str] | None:
    """The members of a plain structure by name, as they would be spelt as parameters; None for any other type."""
    match = re.search(_STRUCT.format(name=re.escape(kind)), code) if re.fullmatch(r"\w+", kind) else None
    if match is None:
        return None
    found: dict[str, str] = {}
    for declaration in filter(str.strip, match[1].split(";")):
        first, *others = split(declaration)
        member = _MEMBER.match(first)
        if member is None:
            return None
        for name in (member[2], *(other.partition("=")[0].strip() for other in others)):
            if not re.fullmatch(r"\w+", name):  # an array, or a pointer among values
                return None
            found[name] = f"{' '.join(member[1].split())} {name}"
    return found


def entry_text(
    code: str, name: str, entry: str, parameters: Parameters, passed: Sequence[str], values: Mapping[str, str]
) -> tuple[str, str]:
    """Write an entry that calls a kernel.

    Args:
        code: the kernel's text, without comments.
        name: its name, without namespace and template arguments.
        entry: its name as it is asked for, with both.
        parameters: what it takes.
        passed: those of the flat ones that are passed, in the launch's order.
        values: how to spell each of the others.

    Returns:
        The text, to be compiled after the kernel's, and what to ask for instead of the kernel.
    """
    declared = re.search(
        rf"(?:template\s*<(?P<template>[^;{{}}]*?)>\s*)?(?:extern\s*\"C\"\s*)?__global__\b(?P<between>[^;{{}}]*?)\b{name}\s*\(",
        code,
    )
    template = (declared and declared["template"]) or ""
    bounds = re.search(r"__launch_bounds__\s*(\([^)]*(?:\([^)]*\)[^)]*)*\))", declared["between"] if declared else "")
    plain, bracket, arguments = entry.partition("<")
    names = [re.findall(r"\w+", p.partition("=")[0])[-1] for p in split(template)] if template else []
    callee = f"{plain}<{', '.join(names)}>" if names else entry

    def given(own: str) -> str:
        if own in parameters.members:
            kind, fields = parameters.members[own]
            return f"{kind}{{{', '.join(map(given, fields))}}}"
        return own if own in passed else values[own]

    space = plain.rpartition("::")[0]
    text = "\n".join(
        (
            '#line 1 "the entry"',
            *([f"using namespace {space.removeprefix('::')};"] if space else []),
            f"template <{template}>" if names else 'extern "C"',
            f"__attribute__((global)) void {f'__attribute__((launch_bounds{bounds[1]}))' if bounds else ''}",
            f"{ENTRY}({', '.join(parameters.flat[p] for p in passed)})",
            f"{{ {callee}({', '.join(map(given, parameters.own))}); }}",
        )
    )
    return text, f"{ENTRY}{bracket}{arguments}" if names else ENTRY
