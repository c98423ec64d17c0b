"""Sizes to run a function at: odd and without a common factor, so that what agrees at one parts at another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

PARTS = (1.07, 0.86, 1.35, 0.43)
"""Sizes at further runs, as parts of those that were given. Each dimension begins at another of them, so that no two
grow in step, and the powers of two above them neither."""

STEPS = (1, 16, 64, 128, 256)
"""What a dimension may have to be a multiple of. Odd multiples of these are tried in turn."""
POWER, FIXED = -1, 0
"""Steps of a dimension that has to be a power of two, or cannot change at all."""


def choose(given: Mapping[str, int], steps: Mapping[str, int]) -> list[dict[str, int]]:
    """The sizes of all runs, the given ones first.

    Args:
        given: the size of each dimension.
        steps: of each dimension, what it has to be a multiple of, `POWER` or `FIXED`.
    """
    runs = [dict(given)]
    taken: dict[int, set[int]] = {}
    for run in range(len(PARTS)):
        sizes: dict[str, int] = {}
        for position, (dim, size) in enumerate(given.items()):
            part = PARTS[(run + position) % len(PARTS)]
            step = steps.get(dim, 1)
            if step == FIXED:
                sizes[dim] = size
            elif step == POWER:
                sizes[dim] = max(1, size >> 1 if part < 1 else size << 1)
            else:
                used = taken.setdefault(step, set())
                factor = next(p for p in _near(max(size * part / step, 1.0)) if p not in used)
                used.add(factor)
                sizes[dim] = factor * step
        runs.append(sizes)
    return runs


def _near(target: float) -> Iterator[int]:
    """Odd primes, from the nearest on."""
    start = max(3, round(target))
    for distance in range(4 * start + 400):
        for candidate in {start + distance, start - distance}:
            if candidate >= 3 and _is_prime(candidate):
                yield candidate


def _is_prime(n: int) -> bool:
    if n % 2 == 0:
        return n == 2
    divisor = 3
    while divisor * divisor <= n:
        if n % divisor == 0:
            return False
        divisor += 2
    return True


def columns(runs: Sequence[Mapping[str, int]]) -> dict[str, tuple[int, ...]]:
    """Each dimension's size at every run."""
    return {dim: tuple(run[dim] for run in runs) for dim in runs[0]}
