"""Arithmetic in the text of a declaration, such as the extents of a shape: ``"M cdiv(N, 2) H + 2*pad"``.

A formula is read once and evaluated on any kind of integer (`tuner.kernel.arith`): on numbers where a problem has
sizes, and on symbolic ones where TensorRT evaluates it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from tuner.errors import ConfigError
from tuner.kernel.arith import Int, Operator, combine

Operation: TypeAlias = "tuple[Operator, Node, Node]"
Node: TypeAlias = "int | str | Operation"
"""A number, a name, or an operator with what it is applied to."""

VALUE = ""
"""The name of a formula's own value in what `Formula.solve` returns."""

_FUNCTIONS: tuple[Operator, ...] = ("cdiv", "max", "min")
_BINDS: Mapping[str, int] = {"+": 1, "-": 1, "*": 2, "//": 2}
_TOKEN = re.compile(r"\s*(\d+|[A-Za-z_]\w*|//|[-+*(),])")
_HALF_A_PRODUCT = re.compile(r"[\w)]\s+\*\w")
"""``M *N``, which may be meant as a product or as a second dimension of any rank."""


@dataclass(frozen=True)
class Formula:
    """Arithmetic on named integers: ``+ - * //``, ``cdiv``, ``max``, ``min``, numbers and parentheses.

    Attributes:
        node: what it consists of.
    """

    node: Node

    @property
    def names(self) -> tuple[str, ...]:
        """What it names, each once, in order of appearance."""
        return tuple(dict.fromkeys(_names(self.node)))

    @property
    def plain(self) -> bool:
        """Whether it is nothing but a name."""
        return isinstance(self.node, str)

    def evaluate(self, scope: Mapping[str, Any]) -> Int:
        """Its value, with the names that it uses from `scope`, integers of any kind.

        Raises:
            ZeroDivisionError: as the arithmetic does.
        """
        return _evaluate(self.node, scope)

    def number(self, scope: Mapping[str, Any]) -> int:
        """Its value as `evaluate` gives it, where all that it names is a number."""
        value = self.evaluate(scope)
        assert isinstance(value, int)
        return value

    def solve(self, name: str) -> Formula | None:
        """How a name follows from the value of this formula, which is called `VALUE`, and the other names.

        None where it does not: where it occurs several times, or within `cdiv`, `//`, `max` or `min`, which have
        one value for several sizes. A value that no size leads to, such as 5 for ``2*N``, gives a size whose formula
        has another value.
        """
        if list(_names(self.node)).count(name) != 1:
            return None
        solved = _solve(self.node, name, VALUE)
        return None if solved is None else Formula(solved)

    def __str__(self) -> str:
        return _spell(self.node, 0)


def read_formula(text: str, where: str) -> Formula:
    """Read one formula.

    Raises:
        ConfigError: when it is none; begins with `where`.
    """
    where = f"{where} {text!r}"
    formulas = _Reader(text, where).several()
    if len(formulas) != 1:
        raise ConfigError(f"{where}: expected one formula, such as 'N' or 'cdiv(N, 2)'")
    return formulas[0]


def read_extents(text: str) -> tuple[bool, tuple[Formula, ...]]:
    """Read the extents of a shape, which blanks separate.

    Returns:
        Whether the first stands for any number of dimensions (``*N``), and all of them.

    Raises:
        ConfigError: when it is no shape.
    """
    variadic, where = text.lstrip().startswith("*"), f"shape {text!r}"
    if _HALF_A_PRODUCT.search(text):
        raise ConfigError(f"{where}: only the first dimension may be a *name; for a product write 'M*N'")
    extents = _Reader(text.lstrip()[1:] if variadic else text, where).several()
    if variadic and not (extents and extents[0].plain):
        raise ConfigError(f"{where}: what follows a leading * is a name, with a blank behind it")
    for extent in extents:
        if isinstance(extent.node, int) and extent.node < 1:
            raise ConfigError(f"{where}: an extent is at least 1")
    return variadic, extents


class _Reader:
    """Reads formulas from left to right: one ends where no operator follows."""

    def __init__(self, text: str, where: str) -> None:
        self._text, self._where, self._place = text, where, 0

    def several(self) -> tuple[Formula, ...]:
        """All formulas of the text."""
        formulas = []
        while self._text[self._place :].strip():
            formulas.append(Formula(self._sum()))
        return tuple(formulas)

    def _sum(self) -> Node:
        return self._chain(("+", "-"), self._product)

    def _product(self) -> Node:
        return self._chain(("*", "//"), self._atom)

    def _chain(self, operators: tuple[Operator, ...], operand: Callable[[], Node]) -> Node:
        node = operand()
        while operator := next((o for o in operators if self._take(o)), None):
            node = (operator, node, operand())
        return node

    def _atom(self) -> Node:
        token = self._next()
        if token == "(":
            node = self._sum()
            self._expect(")")
            return node
        if token.isdigit():
            return int(token)
        if not token.isidentifier():
            raise self._wrong(f"expected a name, a number or a parenthesis, not {_shown(token)}")
        if not self._text.startswith("(", self._place):
            return token
        operator = next((f for f in _FUNCTIONS if f == token), None)
        if operator is None:
            raise self._wrong(f"{token!r} is no function; there is {', '.join(_FUNCTIONS)}")
        self._expect("(")
        left = self._sum()
        self._expect(",")
        right = self._sum()
        self._expect(")")
        return (operator, left, right)

    def _peek(self) -> tuple[str, int]:
        match = _TOKEN.match(self._text, self._place)
        if match is None:
            rest = self._text[self._place :].strip()
            if rest:
                raise self._wrong(f"{rest[0]!r} is no part of one; there are + - * // cdiv(a, b) max(a, b) min(a, b)")
            return "", len(self._text)
        return match[1], match.end()

    def _next(self) -> str:
        token, self._place = self._peek()
        return token

    def _take(self, token: str) -> bool:
        found, end = self._peek()
        if found == token:
            self._place = end
        return found == token

    def _expect(self, token: str) -> None:
        if not self._take(token):
            raise self._wrong(f"expected {token!r}, not {_shown(self._peek()[0])}")

    def _wrong(self, why: str) -> ConfigError:
        return ConfigError(f"{self._where}: {why}")


def _shown(token: str) -> str:
    return repr(token) if token else "the end"


def _names(node: Node) -> Iterator[str]:
    if isinstance(node, str):
        yield node
    elif isinstance(node, tuple):
        yield from _names(node[1])
        yield from _names(node[2])


def _evaluate(node: Node, scope: Mapping[str, Any]) -> Int:
    if isinstance(node, int):
        return node
    if isinstance(node, str):
        value: Int = scope[node]
        return value
    operator, left, right = node
    return combine(operator, _evaluate(left, scope), _evaluate(right, scope))


def _solve(node: Node, name: str, value: Node) -> Node | None:
    if not isinstance(node, tuple):
        return value
    operator, left, right = node
    within, other = (left, right) if name in _names(left) else (right, left)
    if operator == "+":
        return _solve(within, name, ("-", value, other))
    if operator == "*":
        return _solve(within, name, ("//", value, other))
    if operator == "-":
        return _solve(within, name, ("+", value, right) if within is left else ("-", left, value))
    return None


def _spell(node: Node, binds: int) -> str:
    if not isinstance(node, tuple):
        return str(node)
    operator, left, right = node
    if operator not in _BINDS:
        return f"{operator}({_spell(left, 0)}, {_spell(right, 0)})"
    own = _BINDS[operator]
    blank = " " * (own == 1)
    text = f"{_spell(left, own)}{blank}{operator}{blank}{_spell(right, own + 1)}"
    return f"({text})" if own < binds else text
