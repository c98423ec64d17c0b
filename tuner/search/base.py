"""How samplers see a space, and what those that propose whole points have in common."""

from __future__ import annotations

import random
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from tuner.search.points import Point, Points
from tuner.search.space import Space


def distributions(space: Space, ordered: bool) -> dict[str, BaseDistribution]:
    """Each parameter as the index of its value: a range where values have an order, else a choice.

    Args:
        space: the parameters.
        ordered: False makes every parameter a choice.
    """
    return {
        p.name: IntDistribution(0, len(p.values) - 1)
        if ordered and p.ordered
        else CategoricalDistribution(range(len(p.values)))
        for p in space.params
    }


class PointSampler(BaseSampler):
    """An Optuna sampler that proposes one open point at a time, knowing which are running.

    Attributes:
        points: what may be proposed; running points count as taken.
        rng: the only source of randomness.
        times: finished points in order of completion with their time in microseconds, None when failed.
    """

    def __init__(self, points: Points, seed: int) -> None:
        self.points = points
        self.rng = random.Random(seed)
        self.times: dict[Point, float | None] = {}
        self._distributions = distributions(points.space, ordered=True)

    @abstractmethod
    def propose(self) -> Point:
        """The open point to try next."""

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._distributions

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return dict(zip(search_space, self.propose(), strict=True))

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        raise AssertionError(f"{param_name} is part of every point")

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        point = tuple(trial.params.get(name, 0) for name in self.points.space.names)
        self.times[point] = values[0] if values else None
