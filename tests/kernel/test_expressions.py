"""Arithmetic in the text of a declaration: what it reads, what it gives, and what follows backwards."""

from __future__ import annotations

import pytest

from tuner.errors import ConfigError
from tuner.kernel.arith import Multiple, divisibility
from tuner.kernel.expressions import VALUE, read_extents, read_formula

SCOPE = {"M": 7, "N": 100, "pad": 3}


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("M N", (7, 100)),
        ("M cdiv(N, 8)", (7, 13)),
        ("M + 1 2*N", (8, 200)),
        ("M - 1", (6,)),
        ("M -1", (6,)),
        ("M+2*pad N + 2 * pad 3", (13, 106, 3)),
        ("(N - M + 2*pad)//2 + 1", (50,)),
        ("N - (M - pad)", (96,)),
        ("N - M - pad", (90,)),
        ("N//(2*M)", (7,)),
        ("M (N + 1)", (7, 101)),
        ("max(M, min(N, 50)) cdiv(N, cdiv(M, 2))", (50, 25)),
        ("", ()),
    ],
)
def test_extents_are_read_and_evaluated(text: str, values: tuple[int, ...]) -> None:
    variadic, extents = read_extents(text)
    assert not variadic
    assert tuple(e.evaluate(SCOPE) for e in extents) == values
    again = read_extents(" ".join(map(str, extents)))[1]  # it is spelled as it can be read
    assert again == extents


def test_a_leading_star_is_any_number_of_dimensions() -> None:
    variadic, extents = read_extents("*M N + 1")
    assert variadic and [e.names for e in extents] == [("M",), ("N",)]


def test_what_divides_a_value_is_known_of_a_dynamic_one() -> None:
    assert divisibility(read_formula("8*N + 16", "x").evaluate({"N": Multiple(3)})) == 8
    assert divisibility(read_formula("N//4", "x").evaluate({"N": Multiple(64)})) == 16


@pytest.mark.parametrize("text", ["B + 1", "1 + B", "2*B", "B - 3", "500 - B", "2*(B + pad) - 1", "B*pad"])
@pytest.mark.parametrize("size", [1, 5, 64])
def test_a_dimension_follows_from_the_value_of_its_formula(text: str, size: int) -> None:
    formula = read_formula(text, "x")
    solved = formula.solve("B")
    assert solved is not None
    assert solved.evaluate({"pad": 3, VALUE: formula.evaluate({"pad": 3, "B": size})}) == size


@pytest.mark.parametrize("text", ["cdiv(B, 2)", "B//2", "max(B, 4)", "B + B", "B*B", "M", "2*cdiv(B, 2)"])
def test_a_dimension_does_not_follow_where_several_sizes_have_one_value(text: str) -> None:
    assert read_formula(text, "x").solve("B") is None


@pytest.mark.parametrize("text", ["", "M N", "2 *"])
def test_one_formula_is_asked_for(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^whole_tiles of 'S' '"):
        read_formula(text, "whole_tiles of 'S'")
