"""The samplers by name. Optuna and numpy are imported when a sampler is made, not before."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from tuner.errors import ConfigError, did_you_mean
from tuner.search.points import Points

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler


@dataclass(frozen=True)
class Sampler:
    """Where a sampler's factory is, and how it sees parameters.

    Attributes:
        module: holds the function `factory(points, seed)`.
        factory: the name of that function.
        ordered: whether parameters with ordered values are integers to it, or all are categorical.
    """

    module: str
    factory: str
    ordered: bool = True

    def make(self, points: Points, seed: int) -> BaseSampler:
        """A sampler for the points of a space, with everything random drawn from `seed`."""
        factory: Callable[[Points, int], BaseSampler] = getattr(import_module(self.module), self.factory)
        return factory(points, seed)


@dataclass(frozen=True)
class GivenSampler:
    """A sampler object of Optuna's, or something that makes one, in the place of a `Sampler`.

    Attributes:
        given: the object, which is used as it is; or a function of the points of a space and a seed.
        ordered: as in `Sampler`.
    """

    given: BaseSampler | Callable[[Points, int], BaseSampler]
    ordered: bool = True

    def make(self, points: Points, seed: int) -> BaseSampler:
        """The sampler for the points of a space; `seed` is for what makes one, an object has its own."""
        from optuna.samplers import BaseSampler

        return self.given if isinstance(self.given, BaseSampler) else self.given(points, seed)


SAMPLERS: Mapping[str, Sampler] = {
    "random": Sampler("tuner.search.random", "RandomPoints"),
    "tpe-categorical": Sampler("tuner.search.tpe", "independent", ordered=False),
    "tpe": Sampler("tuner.search.tpe", "independent"),
    "tpe-multivariate": Sampler("tuner.search.tpe", "multivariate"),
    "bayes": Sampler("tuner.search.bayes", "BayesianSearch"),
    "local": Sampler("tuner.search.local", "LocalSearch"),
}

DEFAULT_SAMPLER = "bayes"


def find(name: str) -> Sampler:
    """The sampler of that name; `ConfigError` with the nearest name when there is none."""
    if name not in SAMPLERS:
        raise ConfigError(f"unknown sampler {name!r}{did_you_mean(name, SAMPLERS)}")
    return SAMPLERS[name]
