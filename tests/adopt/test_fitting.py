"""The arithmetic behind integers that were seen at several sizes."""

from collections.abc import Callable

import pytest

from tuner.adopt.fitting import Fitter
from tuner.adopt.sizes import POWER, choose, columns
from tuner.kernel.arith import cdiv, next_power_of_2

GIVEN = {"M": 8192, "N": 4096, "H": 32}
SIZES = columns(choose(GIVEN, {}))


@pytest.mark.parametrize(
    ("expected", "made"),
    [
        ("N", lambda M, N, H: N),
        ("M * N", lambda M, N, H: M * N),
        ("N * H", lambda M, N, H: N * H),
        ("N - 1", lambda M, N, H: N - 1),
        ("3 * N", lambda M, N, H: 3 * N),
        ("cdiv(N, TILE)", lambda M, N, H: cdiv(N, 128)),
        ("M * cdiv(N, TILE)", lambda M, N, H: M * cdiv(N, 128)),
        ("N // 2", lambda M, N, H: N // 2),
        ("minimum(M, 8000)", lambda M, N, H: min(M, 8000)),
        ("7", lambda M, N, H: 7),
    ],
)
def test_the_shortest_expression_with_these_values_is_found(expected: str, made: Callable[..., int]) -> None:
    seen = [made(*values) for values in zip(*SIZES.values(), strict=True)]

    assert Fitter(SIZES, {"TILE": (128,) * 5}).fit(seen) == expected


def test_powers_of_two_are_those_of_the_right_dimension() -> None:
    for name in GIVEN:
        seen = [next_power_of_2(n) for n in SIZES[name]]
        assert Fitter(SIZES).fit(seen, powers=True) == f"next_power_of_2({name})"


def test_what_nothing_explains_is_not_guessed() -> None:
    assert Fitter(SIZES).fit([3, 14, 159, 26, 53], powers=True) is None


def test_sizes_are_odd_and_share_no_factor_unless_they_have_to() -> None:
    runs = choose({"M": 8192, "N": 4096, "K": 1024, "D": 64}, {"K": 128, "D": POWER})[1:]

    assert all(run[d] % 2 for run in runs for d in "MN")
    assert len({run[d] for run in runs for d in "MN"}) == 2 * len(runs)
    assert all(run["K"] % 128 == 0 and run["D"] & (run["D"] - 1) == 0 for run in runs)
