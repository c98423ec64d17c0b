"""Which level of the memory system serves a kernel's accesses, and how many bytes cross device memory.

Assumptions. Caches are cold. What blocks read again, or read together, comes from the L1 or L2 as far as these hold
what the resident blocks read; stores pass through. Blocks are alike: what one block touches, each of them does.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

from tuner.backends.model.trace import Trace
from tuner.frontends.dtypes import itemsize
from tuner.kernel.problem import Problem

if TYPE_CHECKING:
    import numpy as np

# Calibrated on one H200, see `tuner.backends.model.predict`.
L1_SHARE, L2_SHARE = 0.65, 0.3
"""Share of a cache that keeps what blocks read until it is read again. The rest is filled by what they read or write
meanwhile and nobody wants again; the L2 has two halves, besides, which copy from each other."""
RUN_OVERHEAD_BYTES = 12
"""Memory spends on each contiguous stretch the time of this many bytes more; none from `LONG_RUN_BYTES` on, where
neighbouring blocks and the L2 make whole pages of it."""
LONG_RUN_BYTES = 512


@dataclass(frozen=True)
class Traffic:
    """Where the bytes go. Tensors are named by the position of their pointer among the kernel's arguments.

    Attributes:
        moved: bytes that all blocks together load from and store to each tensor; under -1 those of which the
            trace does not know the tensor.
        crossing: bytes of each tensor that cross device memory.
        l2_share: for each tensor that is read, the share of its loads that the L1 passes on.
        cost_bytes: bytes that memory could move in long stretches in the time it takes for what crosses it; at
            least what the kernel declares.
    """

    moved: Mapping[int, float]
    crossing: Mapping[int, float]
    l2_share: Mapping[int, float]
    cost_bytes: float

    def dram_share(self, tensor: int) -> float:
        """Share of a tensor's loads that comes from device memory."""
        if tensor not in self.crossing:
            return 1.0
        return min(1.0, self.crossing[tensor] / self.moved[tensor])


def find_traffic(
    problem: Problem,
    trace: Trace,
    blocks: int,
    starts: Mapping[int, np.ndarray[tuple[int], np.dtype[np.int64]]],
    l1_bytes: float,
    l2_bytes: float,
) -> Traffic:
    """Work out where a kernel's bytes go.

    Args:
        problem: gives the sizes of the tensors and the bytes that must cross device memory.
        trace: what one block does.
        blocks: how many there are.
        starts: for each tensor that is read, where each block of the first wave begins.
        l1_bytes: size of the L1 that one block has to itself.
        l2_bytes: size of the L2.
    """
    import numpy as np

    sizes, moved = _tensor_bytes(problem), _moved(trace, blocks)
    wave = min(blocks, max((a.size for a in starts.values()), default=blocks))
    # In how many places of a tensor the blocks of a wave begin, for each of these blocks: 1 when no two share one.
    distinct = {t: np.unique(a).size / wave for t, a in starts.items() if t in sizes and moved[t]}
    l2_share = _l2_share(sizes, moved, distinct, blocks, wave, l1_bytes)
    loaded = {t: moved[t] * share for t, share in l2_share.items()}
    crossing = _crossing(sizes, moved, loaded, distinct, blocks / wave, L2_SHARE * l2_bytes)
    return Traffic(
        moved=moved,
        crossing=crossing,
        l2_share=l2_share,
        cost_bytes=_cost_bytes(trace, problem.bytes(), moved, crossing),
    )


def _tensor_bytes(problem: Problem) -> dict[int, float]:
    """The size of each tensor, by the position of its pointer among the kernel's arguments."""
    kernel = problem.kernel
    inputs, outputs = list(kernel.inputs.values()), list(kernel.outputs.values())
    first_output = len(inputs) + len(problem.launch(kernel.default).args)
    tensors = dict(enumerate(inputs)) | dict(enumerate(outputs, first_output))
    return {i: float(prod(problem.shape(t)) * itemsize(problem.dtype(t))) for i, t in tensors.items()}


def _moved(run: Trace, blocks: int) -> dict[int, float]:
    moved: defaultdict[int, float] = defaultdict(float)
    for step, times in run.counts():
        if step.access is not None and step.access.sectors:
            moved[step.access.tensor] += times * step.access.bytes * blocks
    return moved


def _crossing(
    sizes: Mapping[int, float],
    moved: Mapping[int, float],
    loaded: Mapping[int, float],
    distinct: Mapping[int, float],
    waves: float,
    l2_bytes: float,
) -> dict[int, float]:
    """Bytes of each tensor that cross device memory.

    Each byte once, when the L2 keeps what the resident blocks read until they, or the next wave of blocks, read it
    again; when it keeps nothing, all that a wave reads, once for all blocks that look at the same place, in every
    wave. `loaded` are the bytes that the L2 is asked for.
    """
    kept = {
        t: sizes[t] / waves if share == 1 else min(sizes[t], moved[t] / waves * share) for t, share in distinct.items()
    }
    lost = 1 - _kept_share(sum(kept.values()), l2_bytes)
    again = {t: max(0.0, loaded[t] * share - sizes[t]) for t, share in distinct.items()}
    return {t: min(size, moved[t]) + lost * again.get(t, 0.0) for t, size in sizes.items() if moved[t]}


def _l2_share(
    sizes: Mapping[int, float],
    moved: Mapping[int, float],
    distinct: Mapping[int, float],
    blocks: int,
    wave: int,
    l1_bytes: float,
) -> dict[int, float]:
    """Share of the loads from each tensor that the L1 passes on: all but what a block reads again, and but what all
    blocks read, as far as `l1_bytes` hold what one block reads."""
    once = {t: min(moved[t] / blocks, sizes[t] / blocks if share == 1 else sizes[t]) for t, share in distinct.items()}
    fits = _kept_share(sum(once.values()), L1_SHARE * l1_bytes)
    needed = {t: 0.0 if share * wave <= 1 else once[t] * blocks / moved[t] for t, share in distinct.items()}
    return {t: 1 - fits * (1 - n) for t, n in needed.items()}


def _kept_share(wanted: float, capacity: float) -> float:
    """Share of what is wanted again that a cache still has: of twice its capacity nothing, as the oldest goes first."""
    return min(1.0, max(0.0, 2 - wanted / max(capacity, 1.0)))


def _cost_bytes(trace: Trace, declared: int, moved: Mapping[int, float], crossing: Mapping[int, float]) -> float:
    # Where blocks share what they read, the stretches are not those of a single block.
    cost = sum(
        amount * (_run_cost(trace.run_bytes[t]) if t in trace.run_bytes and amount > moved[t] / 2 else 1.0)
        for t, amount in crossing.items()
    )
    missed = declared / sum(crossing.values()) if crossing else 1.0
    return max(cost * max(missed, 1.0), declared)


def _run_cost(run_bytes: float) -> float:
    if run_bytes >= LONG_RUN_BYTES:
        return 1.0
    return 1 + RUN_OVERHEAD_BYTES / run_bytes
