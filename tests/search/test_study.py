import math
from collections.abc import Iterable

import pytest

from tuner.errors import ConfigError
from tuner.search import DEFAULT_SAMPLER, SAMPLERS, Search
from tuner.search.constraints import Constraint
from tuner.search.params import Param, choice, integers, powers_of_two
from tuner.search.points import Elsewhere
from tuner.search.space import Space
from tuner.search.tactic import Config, Value, canonical

SPACE = Space(
    (
        powers_of_two("BLOCK", 16, 512),
        choice("layout", "row", "column", "tiled"),
        integers("stages", 1, 6),
        choice("split", False, True),
        choice("fixed", 7),
    ),
    (Constraint("memory", lambda BLOCK, stages: BLOCK * stages <= 1024, "shared memory is limited"),),
)
DEFAULT: dict[str, Value] = {"BLOCK": 64, "layout": "row", "stages": 1, "split": False, "fixed": 7}
OTHER: dict[str, Value] = {**DEFAULT, "BLOCK": 128}


def time_us(config: Config) -> float | None:
    """A made-up cost with its minimum at BLOCK=256, layout=tiled, stages=4; one layout fails when split."""
    if config["layout"] == "column" and config["split"]:
        return None
    block, stages = config["BLOCK"], config["stages"]
    assert isinstance(block, int) and isinstance(stages, int)
    return 10 + (math.log2(block) - 8) ** 2 + (stages - 4) ** 2 + 3 * (config["layout"] != "tiled")


def new(sampler: str = DEFAULT_SAMPLER, seed: int = 0, budget: int = 60, seeds: Iterable[Config] = ()) -> Search:
    return Search(SPACE, DEFAULT, sampler=sampler, seed=seed, budget=budget, seeds=seeds)


def run(search: Search, trials: int, batch: int = 1) -> list[dict[str, Value]]:
    asked: list[dict[str, Value]] = []
    while len(asked) < trials:
        configs = search.ask(min(batch, trials - len(asked)))
        if not configs:
            break
        asked += configs
        for config in configs:
            search.tell(config, time_us(config))
    return asked


@pytest.mark.parametrize("batch", [1, 8])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_default_first_then_only_new_legal_configurations(sampler: str, batch: int) -> None:
    asked = run(new(sampler), 60, batch)
    assert asked[0] == DEFAULT
    assert len({canonical(c) for c in asked}) == 60
    assert all(c in SPACE for c in asked)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_same_answers_lead_to_the_same_questions(sampler: str) -> None:
    assert run(new(sampler, seed=3), 40, batch=4) == run(new(sampler, seed=3), 40, batch=4)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_seeds_differ(sampler: str) -> None:
    assert run(new(sampler, seed=1), 40) != run(new(sampler, seed=2), 40)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_batch_may_be_asked_for_while_another_runs(sampler: str) -> None:
    search = new(sampler)
    running = search.ask(8)
    asked = list(running)
    for _ in range(6):
        following = search.ask(8)
        for config in reversed(running):
            search.tell(config, time_us(config))
        running = following
        asked += following
    assert len({canonical(c) for c in asked}) == len(asked) == 56


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_space_is_exhausted_even_beyond_the_budget(sampler: str) -> None:
    small = Space((integers("a", 0, 6), integers("b", 0, 6)), (Constraint("sum", lambda a, b: a + b < 6, "a + b < 6"),))
    search = Search(small, {"a": 0, "b": 0}, sampler=sampler, seed=0, budget=5)
    asked: list[dict[str, Value]] = []
    while configs := search.ask(4):
        asked += configs
        for config in configs:
            search.tell(config, 1.0)
    assert sorted(map(canonical, asked)) == sorted(map(canonical, small))
    assert search.ask(1) == []


def test_a_space_within_the_budget_is_enumerated_with_the_default_first() -> None:
    search = new(budget=SPACE.size)
    asked = search.ask(10_000)
    assert asked[0] == DEFAULT
    assert sorted(map(canonical, asked)) == sorted(map(canonical, SPACE))
    assert search.ask(1) == []
    for config in asked:
        search.tell(config, time_us(config))


def test_seeds_follow_the_default_and_those_outside_the_space_are_left_out() -> None:
    stale: list[Config] = [{"BLOCK": 64}, {**DEFAULT, "BLOCK": 512, "stages": 6}, {**DEFAULT, "layout": "swizzled"}]
    search = new(seeds=[*stale, OTHER, DEFAULT, OTHER])
    asked = search.ask(3)
    assert asked[:2] == [DEFAULT, OTHER]
    assert asked[2] not in asked[:2]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_failures_only_do_not_stop_the_search(sampler: str) -> None:
    search = new(sampler)
    for _ in range(30):
        (config,) = search.ask(1)
        search.tell(config, None)
    assert len(search.ask(5)) == 5


@pytest.mark.parametrize("useless", [math.nan, math.inf])
def test_a_time_that_is_not_finite_counts_as_a_failure(useless: float) -> None:
    asked = []
    for answer in (None, useless):
        search = new()
        for _ in range(20):
            (config,) = search.ask(1)
            search.tell(config, answer if config["split"] else time_us(config))
        asked.append(search.ask(4))
    assert asked[0] == asked[1]


def test_telling_twice_or_unasked_is_refused() -> None:
    search = new()
    (config,) = search.ask(1)
    search.tell(config, 1.0)
    with pytest.raises(ValueError, match="BLOCK"):
        search.tell(config, 1.0)
    with pytest.raises(ValueError, match="not asked for"):
        search.tell(OTHER, 1.0)


def test_an_unknown_sampler_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(ConfigError, match="'rondom'; did you mean 'random'"):
        new("rondom")


def test_a_default_outside_the_space_is_refused() -> None:
    with pytest.raises(ConfigError, match="shared memory is limited"):
        Search(SPACE, {**DEFAULT, "BLOCK": 512, "stages": 6}, seed=0, budget=10)


def test_a_space_without_legal_points_is_refused() -> None:
    empty = Space((integers("a", 0, 3),), (Constraint("never", lambda a: a > 9, "nothing is legal"),))
    with pytest.raises(ConfigError, match="no legal point"):
        Search(empty, {"a": 1}, seed=0, budget=10)


def test_a_large_space_is_never_enumerated() -> None:
    params = tuple(powers_of_two(f"p{i}", 1, 1 << 9) for i in range(12))
    large = Space(params, (Constraint("first", lambda p0, p1: p0 <= p1, "p0 <= p1"),))
    default = dict.fromkeys(large.names, 4)
    search = Search(large, default, seed=0, budget=100)
    for _ in range(4):
        for config in search.ask(8):
            assert config in large
            search.tell(config, float(sum(v for v in config.values() if isinstance(v, int))))


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("budget", [0, 1, 5])
def test_a_single_point_is_asked_for_once(sampler: str, budget: int) -> None:
    search = Search(Space((choice("a", 3),)), {"a": 3}, sampler=sampler, seed=0, budget=budget)
    assert search.ask(4) == [{"a": 3}]
    assert search.ask(4) == []


def test_the_default_sampler_finds_the_minimum_soon_and_spreads_a_batch() -> None:
    search = new(seed=5)
    assert min(t for t in map(time_us, run(search, 40, batch=8)) if t is not None) == 10.0
    batch = search.ask(8)
    assert len({(c["BLOCK"], c["stages"]) for c in batch}) > 4


CONDITIONAL = Space(
    (
        choice("source", "a", "b"),
        Param("block", (16, 32, 64, 128, 256), when=("source", ("a",))),
        Param("threads", (32, 64, 128, 256), when=("source", ("b",))),
        Param("vector", (1, 2, 4, 8), when=("source", ("b",))),
        integers("stages", 1, 4),
    )
)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_parameters_that_apply_sometimes_are_asked_for_only_then(sampler: str) -> None:
    default: dict[str, Value] = {"source": "a", "block": 16, "stages": 1}
    search = Search(CONDITIONAL, default, sampler=sampler, seed=0, budget=60)
    asked: list[dict[str, Value]] = []
    for _ in range(60):
        (config,) = search.ask(1)
        asked.append(config)
        cost = 1.0 if config["source"] == "b" and config["threads"] == 128 else 2.0
        search.tell(config, cost + int(config["stages"]) / 10)
    assert len({canonical(c) for c in asked}) == 60
    assert all(c in CONDITIONAL and ("block" in c) == (c["source"] == "a") for c in asked)
    assert {c["source"] for c in asked} == {"a", "b"}


def test_the_model_learns_from_other_shapes() -> None:
    """There the times are ten times as long, and the fastest tactic is a step away from this shape's."""
    space = Space((powers_of_two("BLOCK", 1, 1 << 15), integers("stages", 1, 16)))

    def time_us(config: Config, best: int) -> float:
        return 10 + abs(int(config["BLOCK"]).bit_length() - best) + 0.5 * abs(int(config["stages"]) - 5)

    there = {space.encode(c): 10 * time_us(c, best=9) for i, c in enumerate(space) if i % 5 == 0}

    def trials_until_best(elsewhere: Iterable[Elsewhere]) -> int:
        search = Search(space, {"BLOCK": 1, "stages": 16}, seed=0, budget=100, elsewhere=list(elsewhere))
        for count in range(1, 101):
            (config,) = search.ask(1)
            search.tell(config, time_us(config, best=8))
            if time_us(config, best=8) == 10:
                return count
        return 101

    assert trials_until_best([Elsewhere((1.0,), there)]) <= trials_until_best([]) // 2
