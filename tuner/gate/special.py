"""Special functions that numpy lacks, on float64 arrays."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from statistics import NormalDist

import numpy as np

from tuner.gate.inputs import Array

_ROOT_PI = math.sqrt(math.pi)


def elementwise(function: Callable[..., float]) -> Callable[..., Array]:
    """Return a function of Python floats as one of arrays: NaN where it has no value, infinite where it overflows."""

    def guarded(*values: float) -> float:
        try:
            return function(*values)
        except ValueError:
            return math.nan
        except OverflowError:
            return math.inf

    return np.vectorize(guarded, otypes=[np.float64])


erf, erfc = elementwise(math.erf), elementwise(math.erfc)
remainder = elementwise(math.remainder)


@elementwise
def tgamma(x: float) -> float:
    """The gamma function."""
    return math.copysign(math.inf, x) if x == 0 else math.gamma(x)


@elementwise
def lgamma(x: float) -> float:
    """The logarithm of its absolute value."""
    return math.inf if x <= 0 and x == math.floor(x) else math.lgamma(x)


@elementwise
def normcdfinv(p: float) -> float:
    """The inverse of the standard normal distribution."""
    return {0.0: -math.inf, 1.0: math.inf}[p] if p in (0.0, 1.0) else NormalDist().inv_cdf(p)


def normcdf(x: Array) -> Array:
    """The standard normal distribution."""
    return erfc(-x / math.sqrt(2)) / 2


def erfinv(y: Array) -> Array:
    """The inverse of `erf`."""
    x = normcdfinv((1 + y) / 2) / math.sqrt(2)
    improved = x - (erf(x) - y) * _ROOT_PI / 2 * np.exp(x * x)
    return np.where(np.abs(y) < 0.9, improved, x)


def erfcinv(y: Array) -> Array:
    """The inverse of `erfc`."""
    return -normcdfinv(y / 2) / math.sqrt(2)


def erfcx(x: Array) -> Array:
    """`erfc` scaled by exp(x²)."""
    square = 1 / (2 * x * x)
    far = (1 - square * (1 - 3 * square * (1 - 5 * square * (1 - 7 * square)))) / (x * _ROOT_PI)
    return np.where(x > 20, far, np.exp(x * x) * erfc(x))


def bessel_i(n: int, x: Array) -> Array:
    """The modified Bessel function of the first kind, of order 0 or 1, as a mean over half a circle."""
    angles = (np.arange(512) + 0.5) * (math.pi / 512)
    size = np.abs(x)[..., None]
    mean = (np.exp(size * (np.cos(angles) - 1)) * np.cos(n * angles)).mean(axis=-1)
    return np.asarray(np.where(x < 0, (-1.0) ** n, 1.0) * mean * np.exp(np.abs(x)))


def bessel_j(n: Array | int, x: Array) -> Array:
    """The Bessel function of the first kind of integer order, as a mean over half a circle."""
    n, x = np.broadcast_arrays(np.asarray(n, np.float64), x)
    angles = (np.arange(1024) + 0.5) * (math.pi / 1024)
    size, order = np.abs(x), np.abs(n)
    near = np.cos(order[..., None] * angles - size[..., None] * np.sin(angles)).mean(axis=-1)
    value = np.where(size > _far(order), _hankel(order, size)[0], near)
    return np.where(((x < 0) ^ (n < 0)) & (n % 2 == 1), -value, value)


def bessel_y(n: Array | int, x: Array) -> Array:
    """The Bessel function of the second kind of integer order, from its integrals."""
    n, x = np.broadcast_arrays(np.asarray(n, np.float64), x)
    order, size = np.abs(n), np.where(x > 0, x, np.nan)
    nodes, weights = _quadrature()
    angles = nodes * math.pi
    first = (np.sin(size[..., None] * np.sin(angles) - order[..., None] * angles) * weights).sum(axis=-1)
    end = np.arcsinh((800 + 100 * order) / size)[..., None]
    t, o = end * nodes, order[..., None]
    fall = -size[..., None] * np.sinh(t)
    both = np.exp(o * t + fall) + np.where(o % 2 == 1, -1, 1) * np.exp(-o * t + fall)
    near = first - (both * weights * end).sum(axis=-1) / math.pi
    value = np.where(size > _far(order), _hankel(order, size)[1], near)
    value = np.where(x == 0, -np.inf, value)
    return np.where((n < 0) & (n % 2 == 1), -value, value)


@cache
def _quadrature() -> tuple[Array, Array]:
    """Places between 0 and 1, and their weights. They take a while to find."""
    nodes, weights = np.polynomial.legendre.leggauss(400)
    return (nodes + 1) / 2, weights / 2


def _far(order: Array) -> Array:
    """Where the expansion for large arguments is exact enough."""
    return 60 + order**2


def _hankel(order: Array, x: Array) -> tuple[Array, Array]:
    """Bessel functions of both kinds for large arguments."""
    even, odd, term = np.ones_like(x), np.zeros_like(x), np.ones_like(x)
    for k in range(1, 9):
        term = term * (4 * order**2 - (2 * k - 1) ** 2) / (k * 8 * x)
        sign = -1 if k % 4 in (2, 3) else 1
        if k % 2:
            odd = odd + sign * term
        else:
            even = even + sign * term
    phase, scale = x - (order / 2 + 0.25) * math.pi, np.sqrt(2 / (math.pi * x))
    return scale * (even * np.cos(phase) - odd * np.sin(phase)), scale * (even * np.sin(phase) + odd * np.cos(phase))
