"""Optuna's tree-structured Parzen estimator, the yardstick for our own samplers."""

from __future__ import annotations

import warnings

from optuna.exceptions import ExperimentalWarning
from optuna.samplers import TPESampler

from tuner.search.points import Points


def independent(points: Points, seed: int) -> TPESampler:
    """TPE that models each parameter by itself."""
    return TPESampler(seed=seed, multivariate=False)


def multivariate(points: Points, seed: int) -> TPESampler:
    """TPE that models all parameters together."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return TPESampler(seed=seed, multivariate=True, group=any(p.when for p in points.space.params))
