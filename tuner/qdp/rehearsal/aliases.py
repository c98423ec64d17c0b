"""What a rehearsed plugin does in place, and whether its code is right where TensorRT puts a copy in between."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tuner.compile import ptx
from tuner.compile.pointers import PointerUse, pointer_uses
from tuner.qdp.rehearsal.builder import Played, Rehearsal


@dataclass(frozen=True)
class InPlace:
    """An output that lies in the memory of an input.

    TensorRT may put a copy in between, and no document says that both pointers are the same.

    Attributes:
        output, input: their places among the plugin's outputs and inputs.
        depends: whether some code reads the output, or adds to it, and so is right only where the two are the same
            memory; None where the code cannot be followed. Code that does not has to write every element.
    """

    output: int
    input: int
    depends: bool | None


def in_place(rehearsal: Rehearsal) -> tuple[InPlace, ...]:
    """What lies in the place of what, in the order of the outputs, judged by all code that was played."""
    return tuple(InPlace(o, i, _depends(rehearsal, o)) for o, i in rehearsal.aliases)


def explain(output: str | int, input: str | int, depends: bool | None) -> str:  # noqa: A002
    """One line about an output, for people."""
    said = {
        True: "its code reads the output or adds to it, so it is right only where TensorRT honours the alias",
        False: "its code does not read the output, so it is right without the alias too if it writes every element",
        None: "its code cannot be followed: if it reads the output, it is right only where TensorRT honours the alias",
    }
    return f"output {output} in the place of input {input}: {said[depends]}"


def _depends(rehearsal: Rehearsal, output: int) -> bool | None:
    found = [_reads(use) for played in rehearsal.played for use in _uses(played, rehearsal, output)]
    return True if True in found else None if None in found or not found else False


def _reads(use: PointerUse) -> bool | None:
    return True if use.may_read or use.may_add else None if use.hidden else False


def _uses(played: Played, rehearsal: Rehearsal, output: int) -> Iterator[PointerUse]:
    """How a tactic's code uses an output: inputs come first, then extra integers, then outputs."""
    try:
        uses = pointer_uses(ptx.parse(played.code))
    except ptx.PtxError:  # said elsewhere
        return
    position = rehearsal.inputs + len(played.launches["opt"].extra) + output
    if position < len(uses):
        yield uses[position]
