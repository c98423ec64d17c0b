"""Gaussian process regression over value indices, in numpy.

The formulas are those of Rasmussen and Williams, Gaussian Processes for Machine Learning (2006):
prediction and evidence from algorithm 2.1, the Matern covariance from equation 4.17.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from tuner.search.params import Param
from tuner.search.points import Point
from tuner.search.space import Space

Array: TypeAlias = NDArray[np.float64]

JITTER = 1e-6  # keeps a covariance of near-copies positive definite


class Features:
    """Turns points into rows of numbers in which near means alike.

    An ordered parameter is a column from 0 to 1: the logarithm of its value where values are positive,
    since tile sizes act by their ratios, else the value's place in the list. A whole number that is not
    always a power of two has another column, how often two divides it, since alignment and sizes that
    divide the problem's act by that. A parameter without order has one column per value, so that all its
    values are equally far apart.

    Attributes:
        owners: which length scale each column is measured by, numbered without gaps.
    """

    def __init__(self, space: Space) -> None:
        blocks = [(i, b) for i, p in enumerate(space.params) if len(p.values) > 1 for b in _columns(p)]
        self._blocks = blocks
        self.owners = np.repeat(np.arange(len(blocks)), [b.shape[1] for _, b in blocks])

    def __call__(self, points: list[Point]) -> Array:
        """One row per point."""
        indices = np.array(points)
        return np.concatenate([block[indices[:, i]] for i, block in self._blocks], axis=1)


def _columns(param: Param) -> list[Array]:
    """Groups of columns, one length scale each, with a row for each value."""
    if not param.ordered:
        return [np.eye(len(param.values)) / math.sqrt(2)]
    values = np.array(param.values, dtype=float)
    if values[0] <= 0:
        return [_from_0_to_1(np.arange(len(values), dtype=float))]
    groups = [_from_0_to_1(np.log(values))]
    whole = [v for v in param.values if isinstance(v, int)]
    twos = np.array([(v & -v).bit_length() for v in whole], dtype=float)
    if len(whole) > 3 and any(v & (v - 1) for v in whole) and np.ptp(twos) > 0:
        groups.append(_from_0_to_1(twos))
    return groups


def _from_0_to_1(column: Array) -> Array:
    scaled: Array = (column - column.min()) / np.ptp(column)
    return scaled[:, None]


@dataclass(frozen=True)
class Hyperparameters:
    """Natural logarithms of one length scale per group of columns, and of the noise over the signal variance."""

    scales: Array
    noise: float

    def penalty(self, centre: Hyperparameters) -> float:
        """Minus the log density, up to a constant, of a normal prior: deviation 1 for scales, 2 for noise."""
        return 0.5 * float(np.sum((self.scales - centre.scales) ** 2)) + 0.125 * (self.noise - centre.noise) ** 2


def covariance(a: Array, b: Array, column_scales: Array) -> Array:
    """Matern-5/2 covariance of unit variance between the rows of two feature matrices."""
    a, b = a / column_scales, b / column_scales
    squared = np.sum(a * a, axis=1)[:, None] + np.sum(b * b, axis=1) - 2 * (a @ b.T)
    distance = np.sqrt(5 * np.maximum(squared, 0))
    return np.asarray((1 + distance + distance * distance / 3) * np.exp(-distance))


class Posterior:
    """A Gaussian process of mean zero that has seen values `y` at rows `x`.

    Args:
        x: features, one row per observation.
        y: observed values, their mean removed.
        owners: the length scale of each column.
        hyper: length scales and noise.
    """

    def __init__(self, x: Array, y: Array, owners: NDArray[np.int64], hyper: Hyperparameters) -> None:
        self.x, self.y, self.owners, self.hyper = x, y, owners, hyper
        self._column_scales = np.exp(hyper.scales)[owners]
        n = len(y)
        # The last row of the factor of [[K, y], [y', big]] is the solution of L a = y: numpy has no triangular solve.
        bordered = np.empty((n + 1, n + 1))
        bordered[:n, :n] = covariance(x, x, self._column_scales)
        bordered[np.arange(n), np.arange(n)] += math.exp(hyper.noise) + JITTER
        bordered[n, :n] = bordered[:n, n] = y
        bordered[n, n] = 1 + float(y @ y) / JITTER
        factor = np.linalg.cholesky(bordered)
        self._factor, self._whitened = factor[:n, :n], factor[n, :n]
        self._variance = max(float(self._whitened @ self._whitened) / n, 1e-12)

    @property
    def evidence(self) -> float:
        """Log marginal likelihood with the signal variance at its optimum, up to a constant."""
        return -0.5 * len(self.y) * math.log(self._variance) - float(np.sum(np.log(np.diag(self._factor))))

    @cached_property
    def _inverse(self) -> Array:
        return np.asarray(np.linalg.inv(self._factor))

    def predict(self, rows: Array) -> tuple[Array, Array]:
        """Mean and standard deviation at each of some rows, noise left out."""
        whitened = covariance(rows, self.x, self._column_scales) @ self._inverse.T
        variance = np.maximum(1 - np.sum(whitened * whitened, axis=1), 1e-9) * self._variance
        return whitened @ self._whitened, np.sqrt(variance)

    def believing(self, rows: Array) -> Posterior:
        """As if the values at `rows` were known to be what is predicted there."""
        mean, _ = self.predict(rows)
        return Posterior(np.concatenate([self.x, rows]), np.concatenate([self.y, mean]), self.owners, self.hyper)
