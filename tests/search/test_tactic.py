"""A tactic's id depends on its configuration and on nothing else."""

from __future__ import annotations

import pytest

from tuner.errors import ConfigError
from tuner.search.params import choice, integers
from tuner.search.space import Space
from tuner.search.tactic import Tactic, Value, by_id, canonical


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"BLOCK_SIZE": 256, "num_warps": 4}, 949480609),
        ({"BLOCK_SIZE": 1024, "num_warps": 4}, 1262834028),
        ({"vector": True, "layout": "row", "scale": 0.5}, 2094569254),
        ({}, 1142124451),
    ],
)
def test_ids_that_caches_in_the_world_name_never_change(config: dict[str, Value], expected: int) -> None:
    assert Tactic(config).id == expected


def test_the_order_of_parameters_does_not_matter() -> None:
    a, b = Tactic({"a": 1, "b": 2}), Tactic({"b": 2, "a": 1})
    assert a == b
    assert hash(a) == hash(b)
    assert a.id == b.id
    assert canonical({"b": 2, "a": 1}) == a.key == '{"a":1,"b":2}'


def test_an_id_survives_edits_of_the_space() -> None:
    before = Space((choice("layout", "row", "col"), integers("a", 0, 3)))
    after = Space((integers("a", 0, 9), choice("layout", "wide", "col", "row")))
    ids = {Tactic(c).id for c in before}
    assert len(ids) == 8
    assert ids <= {Tactic(c).id for c in after}


def test_values_of_different_types_are_different_tactics() -> None:
    ids = {Tactic({"a": v}).id for v in (1, 1.0, True, "1")}
    assert len(ids) == 4


def test_ids_are_positive_and_fit_31_bits() -> None:
    assert all(0 < Tactic({"a": i}).id < 2**31 for i in range(2000))


def test_a_shared_id_is_refused_and_both_tactics_are_named() -> None:
    one, other = (Tactic({"BLOCK_SIZE": size, "num_warps": 4}) for size in (32117, 34242))  # found by trying
    assert one.id == other.id == 28807687
    assert one != other
    with pytest.raises(ConfigError) as caught:
        by_id([one, other])
    assert str(caught.value) == (
        "tactics (BLOCK_SIZE=32117 num_warps=4) and (BLOCK_SIZE=34242 num_warps=4) share the id 28807687; "
        "leave one of them out of the space with a constraint"
    )


def test_tactics_are_found_by_id_and_one_named_twice_is_no_collision() -> None:
    a, b = Tactic({"a": 1}), Tactic({"a": 2})
    assert by_id([a, b, Tactic({"a": 1})]) == {a.id: a, b.id: b}
