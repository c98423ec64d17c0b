"""Random edits of a kernel file that change how it reads and not what it does.

A transformation takes the text of a file and a random generator and returns another text, or None where it
finds no place. They work on the text, at positions that Python's syntax tree gives, so that what comes out
looks like what a person edits.
"""

from __future__ import annotations

import ast
import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

from syntax import (
    addresses,
    binops,
    bodies,
    expressions,
    independent,
    insert,
    is_index,
    kernel_function,
    new_name,
    one_line,
    operand,
    own_nodes,
    rename,
    simple,
    source,
    splice,
    statements,
    unparse,
    writes,
)

Transformation: TypeAlias = Callable[[str, random.Random], str | None]

_REMARKS = ("one tile of a program", "see the launch", "the same for all threads", "in elements, not bytes", "fp32")
_PURE = (ast.BinOp, ast.Compare, ast.Call)


@dataclass(frozen=True)
class Edit:
    """A kernel file after one to three transformations.

    Attributes:
        kernel: the file's name without its ending.
        steps: the transformations, in order.
        text: what the file holds now.
    """

    kernel: str
    steps: tuple[str, ...]
    text: str


def make_edits(files: dict[str, str], count: int, seed: int) -> list[Edit]:
    """Distinct edits, spread evenly over the files; the same for the same seed."""
    edits: list[Edit] = []
    texts = set(files.values())
    rng = random.Random(seed)
    names = sorted(files)
    while len(edits) < count:
        kernel = names[len(edits) % len(names)]
        text = files[kernel]
        steps: list[str] = []
        for name in rng.choices(list(TRANSFORMATIONS), k=rng.randint(1, 3)):
            changed = TRANSFORMATIONS[name](text, rng)
            if changed is not None and changed != text:
                text, steps = changed, [*steps, name]
        if text not in texts:
            texts.add(text)
            edits.append(Edit(kernel, tuple(steps), text))
    return edits


# -- layout and words ------------------------------------------------------------------------------


def remark(text: str, rng: random.Random) -> str | None:
    """A comment above a statement."""
    statement = rng.choice(list(statements(kernel_function(text))))
    return insert(text, statement, f"# {rng.choice(_REMARKS)}")


def trailing_remark(text: str, rng: random.Random) -> str | None:
    """A comment at the end of a line."""
    lines = text.splitlines()
    n = rng.choice(
        [s for s in statements(kernel_function(text)) if isinstance(s, ast.Assign | ast.AugAssign)]
    ).end_lineno
    assert n
    lines[n - 1] += f"  # {rng.choice(_REMARKS)}"
    return "\n".join(lines) + "\n"


def docstring(text: str, rng: random.Random) -> str | None:
    """A docstring for the kernel function."""
    function = kernel_function(text)
    return None if ast.get_docstring(function) else insert(text, function.body[0], f'"""{rng.choice(_REMARKS)}."""')


def blank_line(text: str, rng: random.Random) -> str | None:
    """A blank line between two statements, or one at the top of the file."""
    return insert(text, rng.choice(list(statements(kernel_function(text)))), "")


def reformat(text: str, rng: random.Random) -> str | None:
    """The function as `ast.unparse` lays it out: no comments, one line for each statement."""
    function = kernel_function(text)
    return splice(text, [(function, unparse(function))])


def reword(text: str, rng: random.Random) -> str | None:
    """Another sentence at the top of the file."""
    return re.sub(r'^"""(.*?)"""', rf'"""\1 {rng.choice(_REMARKS).capitalize()}."""', text, count=1, flags=re.DOTALL)


# -- names -----------------------------------------------------------------------------------------


def rename_local(text: str, rng: random.Random) -> str | None:
    """Another name for a variable of the kernel function."""
    function = kernel_function(text)
    parameters = {a.arg for a in function.args.args}
    names = {n.id for n in ast.walk(function) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    return rename(text, function, rng.choice(sorted(names - parameters)), new_name(text, rng))


def rename_parameter(text: str, rng: random.Random) -> str | None:
    """Another name for a run-time parameter of the kernel function."""
    function = kernel_function(text)
    names = [a.arg for a in function.args.args if a.annotation is None]
    return rename(text, function, rng.choice(names), new_name(text, rng))


def rename_function(text: str, rng: random.Random) -> str | None:
    """Another name for the kernel function, and for what refers to it."""
    name = kernel_function(text).name
    return re.sub(rf"\b(def {name}(?=\()|source={name}\b)", lambda m: m[0].replace(name, f"{name}_kernel"), text)


# -- equivalent code -------------------------------------------------------------------------------


def swap_lines(text: str, rng: random.Random) -> str | None:
    """Two neighbouring statements, neither of which uses what the other sets, in the other order."""
    pairs = [p for body in bodies(kernel_function(text)) for p in pairwise(body) if independent(*p)]
    if not pairs:
        return None
    a, b = rng.choice(pairs)
    return splice(text, [(a, source(text, b)), (b, source(text, a))])


def parenthesise(text: str, rng: random.Random) -> str | None:
    """Parentheses around an expression that do not change how it is read."""
    node = rng.choice(expressions(kernel_function(text), (ast.BinOp, ast.Compare, ast.Subscript)))
    return splice(text, [(node, f"({source(text, node)})")])


def commute(text: str, rng: random.Random) -> str | None:
    """`b + a` for `a + b`, `b * a` for `a * b`."""
    places = [n for n in binops(kernel_function(text)) if isinstance(n.op, ast.Add | ast.Mult | ast.BitAnd)]
    node = rng.choice(places)
    operator = {ast.Add: "+", ast.Mult: "*", ast.BitAnd: "&"}[type(node.op)]
    return splice(text, [(node, f"({operand(text, node.right)} {operator} {operand(text, node.left)})")])


def mirror(text: str, rng: random.Random) -> str | None:
    """`b > a` for `a < b`."""
    places = [n for n in expressions(kernel_function(text), (ast.Compare,)) if isinstance(n.ops[0], ast.Lt)]
    if not places:
        return None
    node = rng.choice(places)
    return splice(text, [(node, f"({operand(text, node.comparators[0])} > {operand(text, node.left)})")])


def associate(text: str, rng: random.Random) -> str | None:
    """`a + (b + c)` for `a + b + c`, in the arithmetic of addresses, where it is exact."""
    places = [
        n
        for place in addresses(kernel_function(text))
        for n in binops(place)
        if isinstance(n.op, ast.Add) and isinstance(n.left, ast.BinOp) and isinstance(n.left.op, ast.Add)
    ]
    if not places:
        return None
    node = rng.choice(places)
    assert isinstance(node.left, ast.BinOp)
    a, b, c = (operand(text, n) for n in (node.left.left, node.left.right, node.right))
    return splice(text, [(node, f"{a} + ({b} + {c})")])


def name_constant(text: str, rng: random.Random) -> str | None:
    """A local constant for a number."""
    function = kernel_function(text)
    places = [
        (s, n)
        for s in simple(function)
        for n in own_nodes(s)
        if isinstance(n, ast.Constant) and type(n.value) in (int, float) and not is_index(function, n)
    ]
    if not places:
        return None
    statement, node = rng.choice(places)
    name = new_name(text, rng)
    changed = splice(text, [(node, name)])
    return insert(changed, statement, f"{name}: tl.constexpr = {source(text, node)}")


def split(text: str, rng: random.Random) -> str | None:
    """A statement in two, the first of which computes a part of the second."""
    places = [
        (s, n)
        for s in simple(kernel_function(text))
        for n in own_nodes(s)
        if isinstance(n, _PURE) and not writes(n) and not (isinstance(s, ast.Assign) and n is s.value)
    ]
    if not places:
        return None
    statement, node = rng.choice(places)
    name = new_name(text, rng)
    return insert(splice(text, [(node, name)]), statement, f"{name} = {one_line(source(text, node))}")


def join(text: str, rng: random.Random) -> str | None:
    """A variable that only the next statement uses, and once, written out there."""
    function = kernel_function(text)
    uses = [n.id for n in ast.walk(function) if isinstance(n, ast.Name)]
    places: list[tuple[ast.Assign, ast.Name]] = []
    for body in bodies(function):
        for a, b in pairwise(body):
            target = a.targets[0] if isinstance(a, ast.Assign) else None
            if isinstance(target, ast.Name) and isinstance(b, ast.Assign | ast.Expr):
                read = [n for n in ast.walk(b) if isinstance(n, ast.Name) and n.id == target.id]
                if len(read) == 1 and uses.count(read[0].id) == 2:
                    places.append((a, read[0]))
    if not places:
        return None
    statement, name = rng.choice(places)
    changed = splice(text, [(name, f"({source(text, statement.value)})")])
    return splice(changed, [(statement, "pass")]).replace(" " * statement.col_offset + "pass\n", "", 1)


def write_out(text: str, rng: random.Random) -> str | None:
    """`a = a + b` for `a += b`."""
    places = [s for s in statements(kernel_function(text)) if isinstance(s, ast.AugAssign)]
    if not places:
        return None
    node = rng.choice(places)
    target = source(text, node.target)
    return splice(text, [(node, f"{target} = {target} + ({source(text, node.value)})")])


def extract_function(text: str, rng: random.Random) -> str | None:
    """A function of its own for an expression."""
    function = kernel_function(text)
    places = [n for s in simple(function) for n in own_nodes(s) if isinstance(n, ast.BinOp) and not writes(n)]
    if not places:
        return None
    node = rng.choice(places)
    constant = {a.arg for a in function.args.args if a.annotation is not None}
    names = sorted({n.id for n in ast.walk(node) if isinstance(n, ast.Name)} - {"tl", "float"})
    parameters = ", ".join(f"{n}: tl.constexpr" if n in constant else n for n in names)
    name = new_name(text, rng)
    helper = f"@triton.jit\ndef {name}({parameters}):\n    return {one_line(source(text, node))}\n\n\n"
    changed = splice(text, [(node, f"{name}({', '.join(names)})")])
    return changed.replace("@triton.jit\n", helper + "@triton.jit\n", 1)


def name_launch(text: str, rng: random.Random) -> str | None:
    """A named function in the place of the launch's lambda."""
    tree = ast.parse(text)
    found = [k.value for n in ast.walk(tree) if isinstance(n, ast.Call) for k in n.keywords if k.arg == "launch"]
    if not found or not isinstance(found[0], ast.Lambda):
        return None
    arguments = ", ".join(a.arg for a in found[0].args.args)
    definition = f"def launch({arguments}):\n    return {one_line(source(text, found[0].body))}\n\n\n"
    return splice(text, [(found[0], "launch")]).replace("kernel = Kernel(", definition + "kernel = Kernel(", 1)


def reorder_declaration(text: str, rng: random.Random) -> str | None:
    """Two neighbouring lines of the declaration in the other order."""
    call = next(n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Call) and source(text, n.func) == "Kernel")
    a, b = rng.choice(list(pairwise(call.keywords)))
    return splice(text, [(a, source(text, b)), (b, source(text, a))])


TRANSFORMATIONS: dict[str, Transformation] = {
    t.__name__: t
    for t in (
        remark, trailing_remark, docstring, blank_line, reformat, reword, rename_local, rename_parameter,
        rename_function, swap_lines, parenthesise, commute, mirror, associate, name_constant, split, join, write_out,
        extract_function, name_launch, reorder_declaration,
    )
}  # fmt: skip
