"""Functions get what they name, and a misspelt name is answered with the nearest one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tuner.errors import ConfigError, did_you_mean
from tuner.search.call_by_name import call, names_of, require_known


def test_a_function_asks_for_its_parameters_without_a_default() -> None:
    bound = 3
    assert names_of(lambda N, BLOCK, b=bound: N) == ("N", "BLOCK")
    assert call(lambda N, *, eps, b=bound: (N, eps, b), {"N": 1, "eps": 2, "b": 9, "unused": 0}) == (1, 2, 3)


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda *sizes: 0, r"<lambda> \(.*test_call_by_name\.py:\d+\) takes \*sizes; name each value"),
        (lambda **sizes: 0, r"takes \*\*sizes; name each value"),
        (lambda N, /: 0, r"takes N; name each value"),
        (max, "max does not say what it takes; write a function"),
        (3, "3 does not say what it takes"),
    ],
)
def test_a_function_that_does_not_name_what_it_takes_is_refused(function: Callable[..., Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        names_of(function)


def test_a_name_that_is_not_declared_is_an_error_that_says_where() -> None:
    require_known(lambda N: N, ["M", "N"], "launch")
    with pytest.raises(ConfigError, match="launch names 'blocksize', which is not declared; did you mean 'block_size'"):
        require_known(lambda blocksize: 0, ["N", "block_size"], "launch")


@pytest.mark.parametrize(
    ("name", "known", "hint"),
    [
        ("num_warp", ["num_stages", "num_warps"], "; did you mean 'num_warps'?"),
        ("zzz", ["b", "a"], "; there is a, b"),
        ("zzz", [], ""),
    ],
)
def test_a_hint_names_the_nearest_spelling_or_lists_what_there_is(name: str, known: list[str], hint: str) -> None:
    assert did_you_mean(name, known) == hint
