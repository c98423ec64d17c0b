"""`tune` with a backend and a sampler of the caller's own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import optuna
import pytest

from tuner import Problem, tune
from tuner.backends.base import Backend
from tuner.kernel.loader import load_kernel
from tuner.outcome import Origin, Outcome, Timing
from tuner.search.base import PointSampler
from tuner.search.points import Point
from tuner.search.tactic import Config

PROBLEM = Problem.of(load_kernel("increment.py", Path(__file__).parents[2] / "kernels"), {"N": 4096})


class Stopwatch(Backend):
    """The larger the block, the faster: the least that a backend has to say."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.closed = False

    @property
    def origin(self) -> Origin:
        return Origin("stopwatch", "measurement", "Desk", environment={"battery": "new"})

    def evaluate(self, configs: Sequence[Config]) -> Iterator[tuple[int, Outcome]]:
        for i, config in enumerate(configs):
            self.asked.append(int(config["BLOCK_SIZE"]))
            yield i, Timing(1e6 / int(config["BLOCK_SIZE"]), "measurement", "median")

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def places(tmp_path: Path) -> dict[str, Any]:
    return {"out": tmp_path / "out", "cache": tmp_path / "tactics.json"}


def test_a_backend_is_used_as_it_is_and_left_open(places: dict[str, Any]) -> None:
    backend = Stopwatch()
    result = tune(PROBLEM, backend=backend, trials=100, **places)
    assert (result.origin.backend, result.origin.kind, result.origin.device) == ("stopwatch", "measurement", "Desk")
    assert result.winner.config["BLOCK_SIZE"] == max(backend.asked) == 16384
    assert result.origin.environment == {"battery": "new"}
    assert result.ties and result.code == {}  # the warps of a block make no difference to it
    assert not backend.closed


def test_a_function_opens_a_backend_for_the_problem_which_is_closed(places: dict[str, Any]) -> None:
    opened: list[tuple[Problem, Stopwatch]] = []

    def make(problem: Problem) -> Backend:
        opened.append((problem, Stopwatch()))
        return opened[0][1]

    tune(PROBLEM, backend=make, trials=5, **places)
    ((problem, backend),) = opened
    assert problem == PROBLEM
    assert len(set(backend.asked)) >= 2 and backend.closed


def test_a_sampler_of_optunas_proposes(places: dict[str, Any]) -> None:
    class Counting(optuna.samplers.RandomSampler):
        count = 0

        def sample_independent(self, *arguments: object) -> object:
            type(self).count += 1
            return super().sample_independent(*arguments)  # type: ignore[arg-type]

    result = tune(PROBLEM, backend=Stopwatch(), sampler=Counting(seed=0), trials=10, **places)
    assert len(result.trials) == 10
    assert Counting.count > 0


def test_a_sampler_made_for_the_space_proposes_whole_points(places: dict[str, Any]) -> None:
    seeds: list[int] = []

    class Last(PointSampler):
        def __init__(self, points: object, seed: int) -> None:
            super().__init__(points, seed)  # type: ignore[arg-type]
            seeds.append(seed)

        def propose(self) -> Point:
            return max(self.points.space.encode(c) for c in self.points.space if self.open(c))

        def open(self, config: Config) -> bool:
            return self.points.open(self.points.space.encode(config))

    result = tune(PROBLEM, backend=Stopwatch(), sampler=Last, seed=7, trials=3, **places)
    assert seeds == [7]
    assert [t.tactic.config["BLOCK_SIZE"] for t in result.trials] == [256, 16384, 16384]
