"""Spaces are counted, ranked and drawn without walking the full product."""

from __future__ import annotations

import random
from collections import Counter
from itertools import pairwise

import pytest

from tuner.errors import ConfigError
from tuner.search.constraints import Constraint
from tuner.search.params import Param, choice, integers, powers_of_two
from tuner.search.space import Space
from tuner.search.tactic import Value, canonical

TILES = Space(
    (powers_of_two("BLOCK", 64, 1024), powers_of_two("num_warps", 1, 32), choice("layout", "row", "col")),
    (
        Constraint("busy", lambda BLOCK, num_warps: BLOCK >= 32 * num_warps, "threads would idle"),
        Constraint("row_only", lambda num_warps, layout: layout == "row" or num_warps > 1, "one warp reads rows"),
    ),
)


def brute_force(space: Space) -> list[dict[str, object]]:
    points: list[dict[str, object]] = [{}]
    for p in space.params:
        points = [{**point, p.name: v} for point in points for v in p.values]
    return [q for q in points if all(c.holds(**{n: q[n] for n in c.names}) for c in space.constraints)]


def chain(length: int, calls: Counter[str]) -> Space:
    """Parameters of ten values each, neighbours of which are constrained."""

    def near(a: str, b: str) -> Constraint:
        def holds(**values: int) -> bool:
            calls[a] += 1
            return abs(values[a] - values[b]) <= 1

        return Constraint(f"{a}_near_{b}", holds, "neighbours differ by one at most", (a, b))

    params = tuple(integers(f"p{i}", 0, 9) for i in range(length))
    return Space(params, tuple(near(a.name, b.name) for a, b in pairwise(params)))


def test_size_counts_what_iteration_yields_and_brute_force_finds() -> None:
    assert list(TILES) == brute_force(TILES)
    assert TILES.size == len(TILES) == len(brute_force(TILES))
    assert TILES.product == 5 * 6 * 2


def test_counting_local_constraints_does_not_enumerate_the_product() -> None:
    calls: Counter[str] = Counter()
    space = chain(12, calls)
    assert space.product == 10**12
    ways = [1] * 10  # of ending in each value, one parameter after the other
    for _ in range(11):
        ways = [sum(ways[j] for j in (i - 1, i, i + 1) if 0 <= j < 10) for i in range(10)]
    assert space.size == sum(ways)  # that it ends shows that the product is not walked
    assert sum(calls.values()) == 11 * 10 * 10  # each constraint once for each pair of values


def test_a_constraint_is_asked_once_about_what_it_looks_at() -> None:
    calls: Counter[str] = Counter()
    space = chain(4, calls)
    points = list(space)
    asked = calls.total()
    assert all(point in space for point in points)
    assert [space.rank(p) for p in points] == list(range(space.size))
    assert all(p in space for point in points for p in space.neighbours(point))
    assert calls.total() == asked == 3 * 10 * 10


def test_a_size_beyond_64_bits_is_counted_ranked_and_drawn() -> None:
    space = Space(tuple(integers(f"p{i}", 0, 9) for i in range(30)))
    assert space.size == 10**30
    assert space.rank(space.point(123456789 * 10**20)) == 123456789 * 10**20
    points = space.sample(random.Random(3), 50)
    assert len({space.rank(p) for p in points}) == 50
    assert points == space.sample(random.Random(3), 50)


def test_rank_and_point_are_inverse() -> None:
    assert [TILES.rank(TILES.point(i)) for i in range(TILES.size)] == list(range(TILES.size))
    space = chain(12, Counter())
    for point in space.sample(random.Random(1), 20):
        assert space.point(space.rank(point)) == point


def test_encode_and_decode_are_inverse() -> None:
    for point in TILES:
        assert TILES.decode(TILES.encode(point)) == point


def test_a_rank_outside_the_space_is_an_index_error() -> None:
    with pytest.raises(IndexError, match="outside a space of"):
        TILES.point(TILES.size)


def test_samples_are_distinct_legal_and_even() -> None:
    drawn = Counter(TILES.rank(p) for seed in range(400) for p in TILES.sample(random.Random(seed), 5))
    assert len(TILES.sample(random.Random(0), 10**6)) == TILES.size
    assert set(drawn) == set(range(TILES.size))
    expected = 400 * 5 / TILES.size
    chi_square = sum((n - expected) ** 2 / expected for n in drawn.values())
    assert chi_square < 2 * TILES.size
    for seed in range(20):
        points = TILES.sample(random.Random(seed), 10)
        assert len({TILES.rank(p) for p in points}) == 10


def test_neighbours_are_the_legal_points_one_parameter_away_nearest_values_first() -> None:
    here: dict[str, Value] = {"BLOCK": 512, "num_warps": 4, "layout": "row"}
    found = list(TILES.neighbours(here))
    assert sorted(map(str, found)) == sorted(str(p) for p in TILES if sum(p[n] != here[n] for n in TILES.names) == 1)
    blocks = [p["BLOCK"] for p in found if p["BLOCK"] != 512]
    assert blocks == [256, 1024, 128]


def test_a_refusal_says_which_constraint_and_why() -> None:
    violated = TILES.violated({"BLOCK": 64, "num_warps": 4, "layout": "row"})
    assert violated is not None
    assert str(violated) == "busy: threads would idle"
    assert {"BLOCK": 64, "num_warps": 4, "layout": "row"} not in TILES
    said = r"\(BLOCK=64 layout=row num_warps=4\) is outside the space: busy: threads would idle"
    with pytest.raises(ConfigError, match=said):
        TILES.rank({"BLOCK": 64, "num_warps": 4, "layout": "row"})


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"BLOK": 64}, "unknown parameter 'BLOK'; did you mean 'BLOCK'?"),
        ({"BLOCK": 64}, "parameter 'num_warps' is missing; use one of"),
        ({"BLOCK": 65, "num_warps": 1, "layout": "row"}, r"BLOCK=65 is not in the space; use one of \[64, 128"),
        ({"BLOCK": 64.0, "num_warps": 1, "layout": "row"}, "BLOCK=64.0 is not in the space"),
    ],
)
def test_a_config_that_is_no_point_is_an_error_that_names_the_parameter(config: dict[str, int], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        TILES.encode(config)


def test_a_constraint_sees_every_scope() -> None:
    space = Space(
        (powers_of_two("BLOCK", 1, 64),),
        (Constraint("divides", lambda BLOCK, N: N % BLOCK == 0, "no masks here"),),
    )
    assert [p["BLOCK"] for p in space.bind({"N": 48})] == [1, 2, 4, 8, 16]
    assert [p["BLOCK"] for p in space.bind({"N": 48}, {"N": 20})] == [1, 2, 4]


def test_a_parameter_hides_a_dimension_of_the_same_name_and_some_constraints_look_at_no_parameter() -> None:
    no_tail = Constraint("no_tail", lambda N: N % 8 == 0, "rows are read in eights")
    space = Space((choice("BLOCK", 1, 2), choice("warps", 1, 2)), (no_tail,))
    assert space.bind({"N": 16}).size == 4
    assert space.bind({"N": 12}).size == 0
    assert list(space.bind({"N": 12})) == []
    assert space.bind({"N": 12}).violated({"BLOCK": 1, "warps": 2}) == no_tail
    assert [p["N"] for p in Space((choice("N", 4, 8),), (no_tail,)).bind({"N": 3})] == [8]


def test_a_constraint_that_names_nothing_known_or_raises_is_named() -> None:
    space = Space((choice("BLOCK", 1, 2),), (Constraint("even", lambda BLOCK, M: M % BLOCK == 0, "x"),))
    with pytest.raises(ConfigError, match="constraint 'even' names 'M', which is not declared"):
        space.bind({"N": 4})
    broken = Space((choice("BLOCK", 0, 2),), (Constraint("divides", lambda BLOCK: 4 % BLOCK == 0, "x"),))
    for ask in (lambda: broken.size, lambda: list(broken), lambda: broken.violated({"BLOCK": 0})):
        with pytest.raises(ConfigError, match=r"constraint 'divides' failed on \{'BLOCK': 0\}: ZeroDivisionError"):
            ask()
    assert {"BLOCK": 0} not in broken


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ((), "has no values"),
        ((1, 2, 1), "repeats a value"),
        ((1, 2.0), "mixes types"),
        ((1, True), "mixes types"),
        ((None,), "must be int, float, bool or str"),
    ],
)
def test_a_parameter_refuses_values_it_cannot_tell_apart(values: tuple[int, ...], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Param("BLOCK", values)


def test_a_space_refuses_a_parameter_declared_twice() -> None:
    with pytest.raises(ConfigError, match="declares a parameter twice"):
        Space((choice("A", 1), choice("A", 2)))


def test_shorthands_list_their_values() -> None:
    assert powers_of_two("A", 3, 32).values == (4, 8, 16, 32)
    assert integers("A", 2, 9, 3).values == (2, 5, 8)
    assert choice("A", 8, 2).ordered is False
    assert choice("A", 2, 8).ordered is True
    assert choice("A", "x", "y").ordered is False


def test_a_space_without_parameters_has_one_point() -> None:
    assert list(Space(())) == [{}]


CONDITIONAL = Space(
    (
        choice("way", "a", "b"),
        Param("x", (1, 2, 3), when=("way", ("a",))),
        Param("y", (1, 2), when=("way", ("b",))),
        choice("z", 0, 1),
    ),
    (Constraint("c", lambda way, x, z: way != "a" or x > z, "x must exceed z"),),
)


def test_a_parameter_that_applies_sometimes_is_part_of_those_configurations_only() -> None:
    points = list(CONDITIONAL)
    assert len(points) == CONDITIONAL.size == (2 * 3 - 1) + 2 * 2
    assert all(("x" in p) == (p["way"] == "a") and ("y" in p) == (p["way"] == "b") for p in points)
    assert [CONDITIONAL.rank(p) for p in points] == list(range(len(points)))
    assert [CONDITIONAL.decode(CONDITIONAL.encode(p)) for p in points] == points
    assert len({canonical(p) for p in CONDITIONAL.sample(random.Random(0), 20)}) == len(points)


def test_neighbours_never_differ_in_what_does_not_apply() -> None:
    assert list(CONDITIONAL.neighbours({"way": "b", "y": 1, "z": 0})) == [
        {"way": "a", "x": 1, "z": 0},
        {"way": "b", "y": 2, "z": 0},
        {"way": "b", "y": 1, "z": 1},
    ]


X = Param("x", (1, 2), when=("way", ("a",)))


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ((X, choice("way", "a", "b")), "'x' depends on 'way', which is not declared before it"),
        (
            (choice("way", "a", "b"), X, Param("y", (1, 2), when=("x", (1,)))),
            "'y' depends on 'x', which may not apply itself",
        ),
        ((choice("way", "c", "b"), X), "way='a' is not in the space"),
    ],
)
def test_a_parameter_depends_on_values_of_one_that_always_applies(params: tuple[Param, ...], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Space(params)


def test_a_parameter_that_does_not_apply_completes_a_configuration_with_its_first_value() -> None:
    assert CONDITIONAL.complete({"way": "b", "y": 2, "z": 1}) == {"way": "b", "x": 1, "y": 2, "z": 1}
