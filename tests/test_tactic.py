"""A tactic's id depends on its configuration and on nothing else."""

from __future__ import annotations

import pytest

from tuner.errors import ConfigError
from tuner.tactic import Tactic, by_id


@pytest.mark.parametrize(
    ("config", "expected"),
    [({"BLOCK_SIZE": 256, "num_warps": 4}, 949480609), ({"BLOCK_SIZE": 1024, "num_warps": 4}, 1262834028)],
)
def test_ids_that_caches_in_the_world_name_never_change(config: dict[str, int], expected: int) -> None:
    assert Tactic(config).id == expected


def test_the_order_of_parameters_does_not_matter() -> None:
    a, b = Tactic({"a": 1, "b": 2}), Tactic({"b": 2, "a": 1})
    assert a == b
    assert hash(a) == hash(b)
    assert a.id == b.id


def test_values_of_different_types_are_different_tactics() -> None:
    ids = {Tactic({"a": v}).id for v in (1, 1.0, True, "1")}
    assert len(ids) == 4


def test_ids_are_positive_and_fit_31_bits() -> None:
    assert all(0 < Tactic({"a": i}).id < 2**31 for i in range(2000))


def test_a_shared_id_is_refused_and_both_tactics_are_named() -> None:
    seen: dict[int, Tactic] = {}
    for i in range(200_000):  # by the birthday bound a pair turns up within some 60 000
        tactic = Tactic({"a": i})
        twin = seen.setdefault(tactic.id, tactic)
        if twin is not tactic:
            break
    assert twin is not tactic
    with pytest.raises(ConfigError, match=rf"\({twin}\) and \({tactic}\) share the id {tactic.id}"):
        by_id([twin, tactic])
    assert by_id([twin, Tactic(twin.config)]) == {twin.id: twin}
