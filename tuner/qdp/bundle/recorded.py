"""Launch arithmetic written down, so that it can be evaluated where this package is not installed."""

from __future__ import annotations

from typing import Any, TypeAlias

from tuner.kernel.arith import Expr, Int, Operator

Term: TypeAlias = int | str | list[Any]
"""A number, the name of a dimension, or [operator, term, term]."""


class WrittenExpr(Expr):
    """An integer that is only known by how it is computed."""

    def __init__(self, term: Term) -> None:
        self.term = term

    def apply(self, operator: Operator, left: Int, right: Int) -> WrittenExpr:
        return WrittenExpr([operator, term_of(left), term_of(right)])


def term_of(value: Int) -> Term:
    """How a value is computed."""
    if isinstance(value, int):
        return value
    assert isinstance(value, WrittenExpr)
    return value.term
