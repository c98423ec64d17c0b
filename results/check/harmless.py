"""Random edits of a kernel file that change how it reads and not what it does.

A transformation takes the text of a file and a random generator and returns another text, or None where it
finds no place. They work on the text, at positions that Python's syntax tree gives, so that what comes out
looks like what a person edits.
"""

from __future__ import annotations

import ast
import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

Transformation: TypeAlias = Callable[[str, random.Random], str | None]
Change: TypeAlias = tuple[ast.AST, str]

_WORDS = ("block", "lane", "piece", "chunk", "part", "span", "slot", "item", "value", "entry", "cell", "unit")
_REMARKS = ("one tile of a program", "see the launch", "the same for all threads", "in elements, not bytes", "fp32")
_POINTER_ARITHMETIC = ("offsets", "rows", "columns", "first", "a_ptrs", "b_ptrs", "c_ptrs")
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
        text, steps = files[kernel], []
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
    statement = rng.choice(list(_statements(_function(text))))
    return _insert(text, statement, f"# {rng.choice(_REMARKS)}")


def trailing_remark(text: str, rng: random.Random) -> str | None:
    """A comment at the end of a line."""
    lines = text.splitlines()
    n = rng.choice([s for s in _statements(_function(text)) if isinstance(s, ast.Assign | ast.AugAssign)]).end_lineno
    assert n
    lines[n - 1] += f"  # {rng.choice(_REMARKS)}"
    return "\n".join(lines) + "\n"


def docstring(text: str, rng: random.Random) -> str | None:
    """A docstring for the kernel function."""
    function = _function(text)
    return None if ast.get_docstring(function) else _insert(text, function.body[0], f'"""{rng.choice(_REMARKS)}."""')


def blank_line(text: str, rng: random.Random) -> str | None:
    """A blank line between two statements, or one at the top of the file."""
    return _insert(text, rng.choice(list(_statements(_function(text)))), "")


def reformat(text: str, rng: random.Random) -> str | None:
    """The function as `ast.unparse` lays it out: no comments, one line for each statement."""
    function = _function(text)
    return _splice(text, [(function, _unparse(function))])


def reword(text: str, rng: random.Random) -> str | None:
    """Another sentence at the top of the file."""
    return re.sub(r'^"""(.*?)"""', rf'"""\1 {rng.choice(_REMARKS).capitalize()}."""', text, count=1, flags=re.DOTALL)


# -- names -----------------------------------------------------------------------------------------


def rename_local(text: str, rng: random.Random) -> str | None:
    """Another name for a variable of the kernel function."""
    function = _function(text)
    parameters = {a.arg for a in function.args.args}
    names = {n.id for n in ast.walk(function) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    return _rename(text, function, rng.choice(sorted(names - parameters)), _new_name(text, rng))


def rename_parameter(text: str, rng: random.Random) -> str | None:
    """Another name for a run-time parameter of the kernel function."""
    function = _function(text)
    names = [a.arg for a in function.args.args if a.annotation is None]
    return _rename(text, function, rng.choice(names), _new_name(text, rng))


def rename_function(text: str, rng: random.Random) -> str | None:
    """Another name for the kernel function, and for what refers to it."""
    name = _function(text).name
    return re.sub(rf"\b(def {name}(?=\()|source={name}\b)", lambda m: m[0].replace(name, f"{name}_kernel"), text)


# -- equivalent code -------------------------------------------------------------------------------


def swap_lines(text: str, rng: random.Random) -> str | None:
    """Two neighbouring statements, neither of which uses what the other sets, in the other order."""
    pairs = [p for body in _bodies(_function(text)) for p in pairwise(body) if _independent(*p)]
    if not pairs:
        return None
    a, b = rng.choice(pairs)
    return _splice(text, [(a, _source(text, b)), (b, _source(text, a))])


def parenthesise(text: str, rng: random.Random) -> str | None:
    """Parentheses around an expression that do not change how it is read."""
    node = rng.choice(_expressions(_function(text), (ast.BinOp, ast.Compare, ast.Subscript)))
    return _splice(text, [(node, f"({_source(text, node)})")])


def commute(text: str, rng: random.Random) -> str | None:
    """`b + a` for `a + b`, `b * a` for `a * b`."""
    places = [n for n in _binops(_function(text)) if isinstance(n.op, ast.Add | ast.Mult | ast.BitAnd)]
    node = rng.choice(places)
    operator = {ast.Add: "+", ast.Mult: "*", ast.BitAnd: "&"}[type(node.op)]
    return _splice(text, [(node, f"({_operand(text, node.right)} {operator} {_operand(text, node.left)})")])


def mirror(text: str, rng: random.Random) -> str | None:
    """`b > a` for `a < b`."""
    places = [n for n in _expressions(_function(text), (ast.Compare,)) if isinstance(n.ops[0], ast.Lt)]
    if not places:
        return None
    node = rng.choice(places)
    return _splice(text, [(node, f"({_operand(text, node.comparators[0])} > {_operand(text, node.left)})")])


def associate(text: str, rng: random.Random) -> str | None:
    """`a + (b + c)` for `a + b + c`, in the arithmetic of addresses, where it is exact."""
    places = [
        n
        for place in _addresses(_function(text))
        for n in _binops(place)
        if isinstance(n.op, ast.Add) and isinstance(n.left, ast.BinOp) and isinstance(n.left.op, ast.Add)
    ]
    if not places:
        return None
    node = rng.choice(places)
    assert isinstance(node.left, ast.BinOp)
    a, b, c = (_operand(text, n) for n in (node.left.left, node.left.right, node.right))
    return _splice(text, [(node, f"{a} + ({b} + {c})")])


def name_constant(text: str, rng: random.Random) -> str | None:
    """A local constant for a number."""
    function = _function(text)
    places = [
        (s, n)
        for s in _simple(function)
        for n in _own_nodes(s)
        if isinstance(n, ast.Constant) and type(n.value) in (int, float) and not _is_index(function, n)
    ]
    if not places:
        return None
    statement, node = rng.choice(places)
    name = _new_name(text, rng)
    changed = _splice(text, [(node, name)])
    return _insert(changed, statement, f"{name}: tl.constexpr = {_source(text, node)}")


def split(text: str, rng: random.Random) -> str | None:
    """A statement in two, the first of which computes a part of the second."""
    places = [
        (s, n)
        for s in _simple(_function(text))
        for n in _own_nodes(s)
        if isinstance(n, _PURE) and not _writes(n) and not (isinstance(s, ast.Assign) and n is s.value)
    ]
    if not places:
        return None
    statement, node = rng.choice(places)
    name = _new_name(text, rng)
    return _insert(_splice(text, [(node, name)]), statement, f"{name} = {_one_line(_source(text, node))}")


def join(text: str, rng: random.Random) -> str | None:
    """A variable that only the next statement uses, and once, written out there."""
    function = _function(text)
    uses = [n.id for n in ast.walk(function) if isinstance(n, ast.Name)]
    places: list[tuple[ast.Assign, ast.Name]] = []
    for body in _bodies(function):
        for a, b in pairwise(body):
            target = a.targets[0] if isinstance(a, ast.Assign) else None
            if isinstance(target, ast.Name) and isinstance(b, ast.Assign | ast.Expr):
                read = [n for n in ast.walk(b) if isinstance(n, ast.Name) and n.id == target.id]
                if len(read) == 1 and uses.count(read[0].id) == 2:
                    places.append((a, read[0]))
    if not places:
        return None
    statement, name = rng.choice(places)
    changed = _splice(text, [(name, f"({_source(text, statement.value)})")])
    return _splice(changed, [(statement, "pass")]).replace(" " * statement.col_offset + "pass\n", "", 1)


def write_out(text: str, rng: random.Random) -> str | None:
    """`a = a + b` for `a += b`."""
    places = [s for s in _statements(_function(text)) if isinstance(s, ast.AugAssign)]
    if not places:
        return None
    node = rng.choice(places)
    target = _source(text, node.target)
    return _splice(text, [(node, f"{target} = {target} + ({_source(text, node.value)})")])


def extract_function(text: str, rng: random.Random) -> str | None:
    """A function of its own for an expression."""
    function = _function(text)
    places = [n for s in _simple(function) for n in _own_nodes(s) if isinstance(n, ast.BinOp) and not _writes(n)]
    if not places:
        return None
    node = rng.choice(places)
    constant = {a.arg for a in function.args.args if a.annotation is not None}
    names = sorted({n.id for n in ast.walk(node) if isinstance(n, ast.Name)} - {"tl", "float"})
    parameters = ", ".join(f"{n}: tl.constexpr" if n in constant else n for n in names)
    name = _new_name(text, rng)
    helper = f"@triton.jit\ndef {name}({parameters}):\n    return {_one_line(_source(text, node))}\n\n\n"
    changed = _splice(text, [(node, f"{name}({', '.join(names)})")])
    return changed.replace("@triton.jit\n", helper + "@triton.jit\n", 1)


def name_launch(text: str, rng: random.Random) -> str | None:
    """A named function in the place of the launch's lambda."""
    tree = ast.parse(text)
    found = [k.value for n in ast.walk(tree) if isinstance(n, ast.Call) for k in n.keywords if k.arg == "launch"]
    if not found or not isinstance(found[0], ast.Lambda):
        return None
    arguments = ", ".join(a.arg for a in found[0].args.args)
    definition = f"def launch({arguments}):\n    return {_one_line(_source(text, found[0].body))}\n\n\n"
    return _splice(text, [(found[0], "launch")]).replace("kernel = Kernel(", definition + "kernel = Kernel(", 1)


def reorder_declaration(text: str, rng: random.Random) -> str | None:
    """Two neighbouring lines of the declaration in the other order."""
    call = next(n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Call) and _source(text, n.func) == "Kernel")
    a, b = rng.choice(list(pairwise(call.keywords)))
    return _splice(text, [(a, _source(text, b)), (b, _source(text, a))])


TRANSFORMATIONS: dict[str, Transformation] = {
    t.__name__: t
    for t in (
        remark, trailing_remark, docstring, blank_line, reformat, reword, rename_local, rename_parameter,
        rename_function, swap_lines, parenthesise, commute, mirror, associate, name_constant, split, join, write_out,
        extract_function, name_launch, reorder_declaration,
    )
}  # fmt: skip


# -- finding places --------------------------------------------------------------------------------


def _function(text: str) -> ast.FunctionDef:
    """The kernel function: the last one under `@triton.jit`, since helpers are put before it."""
    return [
        n
        for n in ast.parse(text).body
        if isinstance(n, ast.FunctionDef) and any(ast.unparse(d) == "triton.jit" for d in n.decorator_list)
    ][-1]


def _bodies(node: ast.AST) -> Iterator[list[ast.stmt]]:
    for child in ast.walk(node):
        for name in ("body", "orelse"):
            body = getattr(child, name, None)
            if isinstance(body, list) and body:
                yield body


def _statements(function: ast.FunctionDef) -> Iterator[ast.stmt]:
    for body in _bodies(function):
        yield from (s for s in body if not (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant)))


def _simple(function: ast.FunctionDef) -> list[ast.stmt]:
    """Statements whose expressions are evaluated once, just there."""
    return [s for s in _statements(function) if isinstance(s, ast.Assign | ast.AugAssign | ast.Expr)]


def _own_nodes(statement: ast.stmt) -> list[ast.AST]:
    """The expressions that a statement evaluates, without what stands for a type, a shape or an attribute."""
    value = getattr(statement, "value", None)
    return list(ast.walk(value)) if value is not None else []


def _expressions(function: ast.FunctionDef, kinds: tuple[type, ...]) -> list[ast.AST]:
    return [n for s in _simple(function) for n in _own_nodes(s) if isinstance(n, kinds)]


def _binops(node: ast.AST) -> list[ast.BinOp]:
    return [n for n in ast.walk(node) if isinstance(n, ast.BinOp)]


def _addresses(function: ast.FunctionDef) -> Iterator[ast.AST]:
    """Where addresses are computed: first arguments of loads and stores, and variables that hold offsets."""
    for node in ast.walk(function):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("tl.load", "tl.store"):
            yield node.args[0]
        elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) in _POINTER_ARITHMETIC:
            yield node.value


def _writes(node: ast.AST) -> bool:
    return any(isinstance(n, ast.Call) and ast.unparse(n.func) == "tl.store" for n in ast.walk(node))


def _is_index(function: ast.FunctionDef, node: ast.AST) -> bool:
    return any(isinstance(n, ast.Subscript) and node in ast.walk(n.slice) for n in ast.walk(function))


def _independent(a: ast.stmt, b: ast.stmt) -> bool:
    if not all(isinstance(s, ast.Assign | ast.AugAssign) for s in (a, b)):
        return False
    sets, uses = zip(*((_names(s, ast.Store), _names(s, ast.Load)) for s in (a, b)), strict=True)
    return not (sets[0] & (sets[1] | uses[1]) or sets[1] & uses[0])


def _names(statement: ast.stmt, context: type) -> set[str]:
    names = {n.id for n in ast.walk(statement) if isinstance(n, ast.Name) and isinstance(n.ctx, context)}
    return names | ({ast.unparse(statement.target)} if isinstance(statement, ast.AugAssign) else set())


# -- changing the text -----------------------------------------------------------------------------


def _source(text: str, node: ast.AST) -> str:
    return ast.get_source_segment(text, node) or ""


def _operand(text: str, node: ast.AST) -> str:
    source = _one_line(_source(text, node))
    return f"({source})" if isinstance(node, ast.BinOp | ast.Compare | ast.BoolOp) else source


def _one_line(source: str) -> str:
    return " ".join(source.split())


def _unparse(function: ast.FunctionDef) -> str:
    """Without the decorators, which stand before the position of a function."""
    function.decorator_list = []
    return ast.unparse(function)


def _splice(text: str, changes: Sequence[Change]) -> str:
    """Put other text in the places of nodes."""
    lines = text.splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    spans = [((n.lineno, n.col_offset), (n.end_lineno, n.end_col_offset), new) for n, new in changes]  # type: ignore[attr-defined]
    for (line, column), (end_line, end_column), new in sorted(spans, reverse=True):
        text = text[: starts[line - 1] + column] + new + text[starts[end_line - 1] + end_column :]
    return text


def _insert(text: str, statement: ast.stmt, line: str) -> str:
    """Put a line before a statement, as far to the right as it."""
    lines = text.splitlines()
    lines.insert(statement.lineno - 1, f"{' ' * statement.col_offset}{line}".rstrip())
    return "\n".join(lines) + "\n"


def _rename(text: str, function: ast.FunctionDef, old: str, new: str) -> str:
    nodes = [n for n in ast.walk(function) if isinstance(n, ast.Name) and n.id == old]
    changes: list[Change] = [(n, new) for n in nodes]
    changes += [(argument, new) for argument in function.args.args if argument.arg == old]
    return _splice(text, changes)


def _new_name(text: str, rng: random.Random) -> str:
    free = [f"{word}{n}" for n in ("", "_2", "_3", "_4") for word in _WORDS if not re.search(rf"\b{word}{n}\b", text)]
    return rng.choice(free[:6])
