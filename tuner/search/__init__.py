"""Decide which configuration to try next."""

from tuner.search.samplers import DEFAULT_SAMPLER, SAMPLERS
from tuner.search.study import Search

__all__ = ["DEFAULT_SAMPLER", "SAMPLERS", "Search"]
