"""Arithmetic of launches and shapes written down, so that it can be evaluated where this package is not installed."""

from __future__ import annotations

from typing import Any, TypeAlias

from tuner.kernel.arith import Expr, Int, Operator
from tuner.kernel.expressions import Formula
from tuner.kernel.tensor import Tensor

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


def formula_term(formula: Formula) -> Term:
    """How a formula is computed."""
    return term_of(formula.evaluate({name: WrittenExpr(name) for name in formula.names}))


def extent_terms(tensor: Tensor) -> tuple[Term, ...]:
    """How each extent is computed; a first one of any number of dimensions is ``*name``."""
    terms = tuple(map(formula_term, tensor.extents))
    return (f"*{terms[0]}", *terms[1:]) if tensor.variadic else terms
