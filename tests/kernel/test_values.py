"""Rules for what inputs hold, as a declaration says them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from declare import declare

from tuner import Tensor, ascending, below, constant, counts, lengths, permutation
from tuner.errors import ConfigError
from tuner.kernel.identity import kernel_hash, reference_hash


def uneven(rng: np.random.Generator, dims: dict[str, Any]) -> Any:
    return rng.integers(0, 2, dims["N"])


def even(rng: np.random.Generator, dims: dict[str, Any]) -> Any:
    return 2 * rng.integers(0, 2, dims["N"])


SOURCE_DTYPE = {"dtypes": {"T": ("i32",)}}


def of(values: Any) -> Any:
    return declare(
        _source(), inputs={"x": Tensor("T", "N", values=values)}, outputs={"y": Tensor("T", "N")}, **SOURCE_DTYPE
    )


def _source() -> Any:
    from tuner.frontends import CudaCpp

    return CudaCpp("void twice() {}", entry="twice")


@pytest.mark.parametrize(
    ("rule", "text", "names"),
    [
        (ascending(0, "T"), "ascending(0, T)", ("T",)),
        (ascending("a", "2*T - 1"), "ascending(a, 2*T - 1)", ("a", "T")),
        (lengths("L"), "lengths(L)", ("L",)),
        (counts("cdiv(T, 2)"), "counts(cdiv(T, 2))", ("T",)),
        (permutation("N"), "permutation(N)", ("N",)),
        (below(8), "below(8)", ()),
        (constant(7), "constant(7)", ()),
        (constant(0.5), "constant(0.5)", ()),
    ],
)
def test_a_rule_says_itself(rule: Any, text: str, names: tuple[str, ...]) -> None:
    assert (str(rule), rule.names) == (text, names)
    assert Tensor("i32", "N", values=rule).drawn == rule


def test_positions_are_short_for_below() -> None:
    assert Tensor("i32", "N", positions="V").drawn == below("V")
    with pytest.raises(ConfigError, match="declare one of the two"):
        Tensor("i32", "N", positions="V", values=below("V"))


@pytest.mark.parametrize("values", ["ascending", 3, [0, 1]])
def test_what_is_no_rule_is_refused(values: Any) -> None:
    with pytest.raises(ConfigError, match=r"is neither a rule, such as ascending\(0, 'T'\), nor a function"):
        Tensor("i32", "N", values=values)


@pytest.mark.parametrize("bound", [True, 1.5, None, "N +", "N M"])
def test_a_bound_is_a_number_or_arithmetic(bound: Any) -> None:
    with pytest.raises(ConfigError, match="below"):
        below(bound)


@pytest.mark.parametrize(
    ("inputs", "outputs", "said"),
    [
        ({"x": Tensor("T", "N", values=below("V"))}, {}, "tensor 'x': 'V' in values=below(V) is not a dimension"),
        ({"x": Tensor("fp32", "N", values=below("N"))}, {}, "tensor 'x': values=below(N) are integers, not fp32"),
        ({}, {"y": Tensor("T", "*N", values=below("N"))}, "output 'y': values are of inputs"),
    ],
)
def test_a_rule_that_does_not_fit_the_declaration_is_refused(inputs: Any, outputs: Any, said: str) -> None:
    both = {"inputs": inputs or {"x": Tensor("T", "*N")}, "outputs": outputs or {"y": Tensor("T", "N")}}
    with pytest.raises(ConfigError) as raised:
        declare(_source(), **both)
    assert said in str(raised.value)


def test_what_results_are_held_against_covers_the_rules_and_the_kernel_does_not() -> None:
    kernels = [of(v) for v in (None, below("N"), below(8), lengths("N"), even, uneven)]
    assert len({reference_hash(k) for k in kernels}) == len(kernels)
    assert len({kernel_hash(k) for k in kernels}) == 1
